#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# check_headers.sh - every header compiles alone, with gcc and with clang; what C++ and CUDA callers
# read (octavo.h and cuda/) compiles as C++ too.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "$0")/common.sh"
cd "$root"

gcc=$(first_of gcc-12 gcc) || not_ok "gcc is not installed"
gxx=$(first_of g++-12 g++) || not_ok "g++ is not installed"
clang=$(first_of clang-14 clang) || not_ok "clang-14 is not installed"
warn=(-Wall -Wextra -Wshadow -Wundef -Wconversion -Wsign-conversion -Werror)
flags=(-fsyntax-only -D_GNU_SOURCE -DOCT_VERSION='"0"' -Icsrc -Icuda "${warn[@]}")

mapfile -t headers < <(find csrc cuda -name '*.h' | sort)
[[ ${#headers[@]} -ge 20 ]] || not_ok "found only ${#headers[@]} headers"
for h in "${headers[@]}"; do
    plans=(0)
    if grep -q OCT_FAULTS "$h"; then
        plans=(0 1)
    fi
    for faults in "${plans[@]}"; do
        for cc in "$gcc" "$clang"; do
            if ! out=$(printf '#include "%s"\n' "$root/$h" |
                "$cc" -x c -std=c11 -DOCT_FAULTS="$faults" "${flags[@]}" - 2>&1); then
                not_ok "$h with $cc, OCT_FAULTS=$faults: $(grep -m1 error <<< "$out")"
            fi
        done
    done
    case $h in
        csrc/octavo.h | cuda/*)
            if ! out=$(printf '#include "%s"\n' "$root/$h" |
                "$gxx" -x c++ -std=c++17 "${flags[@]}" - 2>&1); then
                not_ok "$h as C++ with $gxx: $(grep -m1 error <<< "$out")"
            fi
            ;;
    esac
done
ok
