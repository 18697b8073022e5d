#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# check_kernels.sh [--accept] [BUILD] - the machine code of every CUDA kernel passes the gates of
# scripts/kernels.py and is no worse than cuda/gates.tsv has it. --accept writes what was built as
# the new table (and the table in docs/kernels.md) instead.
#
# Needs nvdisasm and cuobjdump: of the folder OCT_CUDA_TOOLS, else those of cuda_toolkit.sh. Skips
# (exit 77) without them or without kernels.
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

tools=${OCT_CUDA_TOOLS:-$(scripts/cuda_toolkit.sh tools 2> /dev/null | tail -n 1)} || tools=
[[ -x $tools/nvdisasm && -x $tools/cuobjdump ]] ||
    skip "no nvdisasm and cuobjdump: scripts/cuda_toolkit.sh cannot fetch them"

said=$(python3 scripts/kernels.py "$what" --build "$b" --tools "$tools") || {
    echo "$said" >&2
    not_ok "$(tail -n 1 <<< "$said")"
}
echo "$said" >&2
ok
