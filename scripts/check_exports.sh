#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# check_exports.sh [BUILD] - liboctavo.so and liboctavo.a export what octavo.h marks OCT_API, no
# more and no less, and octavo.map lists the same.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "$0")/common.sh"
cd "$root"
b=$(build_dir "${1:-}") || not_ok "no release build; run cmake --preset release-tests and build it"

header=$(tr '\n' ' ' < csrc/octavo.h | grep -oE 'OCT_API[^;()]*\boct_[a-z0-9_]+ *\(' |
    grep -oE 'oct_[a-z0-9_]+ *\($' | tr -d ' (' | sort -u)
map=$(grep -oE '^ +oct_[a-z0-9_]+;' csrc/octavo.map | tr -d ' ;' | sort -u)
# The version's own name (OCTAVO_0) is an absolute symbol, A.
shared=$(nm -D --defined-only "$b/liboctavo.so" | awk '$2 != "A" { sub(/@.*/, "", $3); print $3 }' | sort -u)
static=$(nm -g --defined-only "$b/liboctavo.a" 2> /dev/null | awk 'NF == 3 { print $3 }' | sort -u)

[[ $(wc -l <<< "$header") -ge 3 ]] || not_ok "cannot read csrc/octavo.h"
differ() # what names
{
    local d
    d=$(diff <(echo "$header") <(echo "$2") | sed -n 's/^</-/p; s/^>/+/p' | paste -sd ' ') || true
    [[ -z $d ]] || not_ok "$1 differs from octavo.h: $d"
}
differ octavo.map "$map"
differ liboctavo.so "$shared"
differ liboctavo.a "$static"
ok
