#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# quickstart.sh ["prompt"] - from a clone to an answer: installs what is missing, builds the
# release, fetches the demo model (SmolLM2-135M-Instruct, 94 MB) and asks it the prompt.
#
# A second run installs, builds and downloads nothing. The model is kept in $OCTAVO_CACHE, or
# $XDG_CACHE_HOME/octavo, or ~/.cache/octavo.
set -euo pipefail

case ${1:-} in
    --help | -h)
        sed -n '4,8s/^# \{0,1\}//p' "$0"
        exit 0
        ;;
esac
if [[ $# -gt 1 ]]; then
    echo "quickstart.sh: give the prompt as one argument, in quotes" >&2
    exit 2
fi
prompt=${1:-What is the capital of France?}
cd "$(dirname "$0")/.."

octavo=build/release/octavo

say()
{
    echo "quickstart: $*" >&2
}

# ---- build, unless the program is newer than everything it is made of ----

up_to_date()
{
    [[ -x $octavo ]] && [[ -z $(find CMakeLists.txt CMakePresets.json cmake csrc cuda \
        -newer "$octavo" -print -quit) ]]
}

if ! up_to_date; then
    scripts/deps.sh run
    # Compiling the kernels takes minutes, and they are of no use without a GPU.
    cuda=OFF
    [[ ! -e /dev/nvidiactl ]] || cuda=AUTO
    say "building (once, about a minute$([[ $cuda == OFF ]] || echo ", with CUDA kernels some more"))"
    mkdir -p build
    if ! { cmake --preset release -DOCT_CUDA=$cuda && cmake --build --preset release --target octavo; } > build/quickstart.log 2>&1; then
        tail -n 30 build/quickstart.log >&2
        say "the build failed; all of its output is in $PWD/build/quickstart.log"
        exit 1
    fi
    # Nothing to link does not touch the file; then the next run would ask again.
    touch -c "$octavo"
fi

model=$(scripts/demo_model.sh)
exec "$octavo" run "$model" -p "$prompt"
