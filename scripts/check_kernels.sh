#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# check_kernels.sh [--accept] [BUILD] - the machine code of every CUDA kernel passes the gates of
# scripts/kernels.py and is no worse than cuda/gates.tsv has it. --accept writes what was built as
# the new table (and the table in docs/kernels.md) instead.
#
# Needs nvdisasm and cuobjdump: of OCT_CUDA_TOOLS, build/cuda-toolkit/bin, a CUDA toolkit, else
# fetched from PyPI into build/cuda-toolkit. Skips (exit 77) without them or without kernels.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "$0")/common.sh"
cd "$root"

what=check
if [[ ${1:-} == --accept ]]; then
    what=accept
    shift
fi

skip() # why
{
    echo "ok $check # SKIP $1"
    exit 77
}

python3 scripts/kernels.py self-test || not_ok "scripts/kernels.py fails its own test"
b=$(build_dir "${1:-}") || not_ok "no release build; run cmake --preset release-tests and build it"
compgen -G "$b/cuda/*.fatbin" > /dev/null || skip "no nvcc: no kernels were built"
[[ -x $b/tests/kernel_plans ]] || not_ok "no $b/tests/kernel_plans: build all of it"

tools_in() # folder
{
    [[ -x $1/nvdisasm && -x $1/cuobjdump ]]
}

fetched=$root/build/cuda-toolkit/bin
find_tools()
{
    local d
    for d in "${OCT_CUDA_TOOLS:-}" "$fetched" /usr/local/cuda/bin "$(dirname "$(command -v nvdisasm || echo /)")"; do
        if [[ -n $d ]] && tools_in "$d"; then
            echo "$d"
            return
        fi
    done
    scratch_dir
    for d in nvdisasm cuobjdump; do
        python3 -m pip download -q --disable-pip-version-check --no-deps -d "$tmp" \
            "nvidia-cuda-$d==13.5.37" > /dev/null 2>&1 || return 1
        python3 -m zipfile -e "$tmp/nvidia_cuda_$d"-*.whl "$tmp/$d"
        mkdir -p "$fetched"
        find "$tmp/$d" -type f -name "$d" -exec cp {} "$fetched/$d" \;
        chmod +x "$fetched/$d"
    done
    tools_in "$fetched" && echo "$fetched"
}
tools=$(find_tools) || skip "no nvdisasm and cuobjdump, and PyPI cannot be reached"

said=$(python3 scripts/kernels.py "$what" --build "$b" --tools "$tools") || {
    echo "$said" >&2
    not_ok "$(tail -n 1 <<< "$said")"
}
echo "$said" >&2
ok
