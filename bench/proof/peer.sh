#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# peer.sh [PROGRAM] - takes llama.cpp as Debian sid packages it, without changing this system, and
# prints the path of a runnable PROGRAM of it (llama-server, the default; llama-quantize, ...).
#
# The packages come from the Debian mirror that this system uses (or $OCTAVO_PEER_MIRROR), checked
# with Debian's keyring through an apt configuration of their own, and are unpacked, not installed,
# into build/proof/peer. They bring the C library they were built with: the program is a small script
# that runs them with it. What came is in build/proof/peer/versions; a second call downloads nothing.
# Exits 77 with a sentence where there is no apt, no mirror or no such package.
set -euo pipefail
program=${1:-llama-server}
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
peer=$root/build/proof/peer
fs=$peer/root

skip()
{
    echo "peer.sh: skipped: $*" >&2
    exit 77
}

mirror()
{
    if [[ -n ${OCTAVO_PEER_MIRROR:-} ]]; then
        echo "$OCTAVO_PEER_MIRROR"
        return
    fi
    cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2> /dev/null | awk '
        match($0, /https?:\/\/[^ ]+\/debian\/?( |$)/) && !found {
            found = substr($0, RSTART, RLENGTH)
            sub(/[\/ ]*$/, "", found)
        }
        END { print found ? found : "http://deb.debian.org/debian" }'
}

fetch()
{
    local tool keyring=/usr/share/keyrings/debian-archive-keyring.gpg
    for tool in apt-get apt-cache dpkg-deb dpkg; do
        command -v $tool > /dev/null || skip "there is no $tool here"
    done
    [[ -r $keyring ]] || skip "there is no $keyring to check packages with"

    rm -rf "$peer"
    mkdir -p "$fs" "$peer"/apt/{lists/partial,cache/archives/partial,etc/apt.conf.d,etc/preferences.d}
    : > "$peer/apt/status" # nothing is installed there: apt names every library that is needed
    echo "deb [signed-by=$keyring] $(mirror) sid main" > "$peer/apt/sources.list"
    # A mirror that stands still has lists that are past their date; their signatures hold.
    cat > "$peer/apt/apt.conf" << END
Dir "$peer/apt";
Dir::State "$peer/apt";
Dir::State::status "$peer/apt/status";
Dir::State::lists "$peer/apt/lists";
Dir::Cache "$peer/apt/cache";
Dir::Etc "$peer/apt/etc";
Dir::Etc::sourcelist "$peer/apt/sources.list";
Dir::Etc::sourceparts "-";
APT::Architecture "$(dpkg --print-architecture)";
APT::Install-Recommends "false";
APT::Sandbox::User "";
Acquire::Languages "none";
Acquire::Check-Valid-Until "false";
Acquire::Check-Date "false";
Acquire::Retries "3";
Debug::NoLocking "true";
END
    export APT_CONFIG=$peer/apt/apt.conf
    apt-get -q update > "$peer/apt.log" 2>&1 || skip "$(mirror) cannot be read; see $peer/apt.log"
    apt-get -q -y --download-only --no-install-recommends install llama.cpp-tools \
        >> "$peer/apt.log" 2>&1 || skip "llama.cpp-tools of Debian sid cannot be had; see $peer/apt.log"
    local deb
    for deb in "$peer"/apt/cache/archives/*.deb; do
        dpkg-deb -x "$deb" "$fs"
        dpkg-deb -W --showformat='${Package} ${Version}\n' "$deb"
    done > "$peer/versions.part"
    rm -rf "$peer/apt"
    mv "$peer/versions.part" "$peer/versions"
}

[[ -s $peer/versions ]] || fetch
binary=$fs/usr/bin/$program
[[ -x $binary ]] || skip "llama.cpp-tools has no $program"
libs=$(dirname "$(find "$fs/usr/lib" -name 'libllama.so*' | head -n 1)")
loader=$(find "$libs" -name 'ld-linux*.so*' | head -n 1)
[[ -n $loader ]] || skip "the C library that came has no loader"
# ggml takes the fastest of its CPU libraries out of the folder of the process's file, which is the
# loader's.
ln -sf "$libs"/ggml/backends*/*.so "$libs"
mkdir -p "$peer/bin"
# exec: the script's process becomes the program's, so that signals and waits are about the program.
cat > "$peer/bin/$program.part" << END
#!/bin/bash
exec "$loader" --library-path "$libs:$libs/llama" "$binary" "\$@"
END
chmod +x "$peer/bin/$program.part"
mv "$peer/bin/$program.part" "$peer/bin/$program"
echo "$peer/bin/$program"
