#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# nvcc_fatbin.sh NVCC CACHE SOURCE OUT - makes OUT.fatbin of SOURCE and OUT.ptxas, what the assembler
# said of each kernel. A source whose preprocessed text was compiled before comes out of CACHE.
# Fails on spills, local memory and the notes that mean that wgmma was serialised (C75xx).
set -euo pipefail
nvcc=$1 cache=$2 source=$3 out=$4

flags=(-std=c++17 -O3 -lineinfo -I"$(dirname "$source")" --expt-relaxed-constexpr
    -gencode "arch=compute_80,code=[sm_80,compute_80]"
    -gencode "arch=compute_90a,code=[sm_90a,compute_90a]"
    -Xcompiler "-Wall -Wextra -Wno-unknown-pragmas" -Werror all-warnings
    -Xptxas "-v,-warn-spills,-warn-lmem-usage,-Werror")
for arch in 80 90a; do
    "$nvcc" "${flags[@]:0:5}" -arch="compute_$arch" -E "$source"
done > "$out.$$.i"
hash=$({
    "$nvcc" --version
    printf '%s\n' "${flags[@]}"
    sha256sum < "$0"
    cat "$out.$$.i"
} | sha256sum | cut -d' ' -f1)
rm -f "$out.$$.i"

mkdir -p "$cache"
kept=$cache/$(basename "$source" .cu)-$hash
if [[ ! -f $kept.fatbin || ! -f $kept.ptxas ]]; then
    "$nvcc" "${flags[@]}" -fatbin -o "$kept.$$.fatbin" "$source" 2> "$kept.$$.ptxas" || {
        cat "$kept.$$.ptxas" >&2
        rm -f "$kept.$$".*
        exit 1
    }
    if grep -E 'C75[0-9][0-9]|error' "$kept.$$.ptxas" >&2; then
        rm -f "$kept.$$".*
        exit 1
    fi
    mv "$kept.$$.ptxas" "$kept.ptxas"
    mv "$kept.$$.fatbin" "$kept.fatbin"
fi
cp "$kept.ptxas" "$out.ptxas"
cp "$kept.fatbin" "$out.fatbin"
