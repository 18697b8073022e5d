#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# check_format.sh - every C file is as clang-format 14 would write it.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "$0")/common.sh"
cd "$root"

# Version 14 by name first: another version formats some lines in another way.
cf=$(first_of clang-format-14 clang-format) || not_ok "clang-format-14 is not installed"
dirs=()
for d in csrc cuda tests bench tools; do
    [[ -d $d ]] && dirs+=("$d")
done
mapfile -t files < <(find "${dirs[@]}" -type f \( -name '*.[ch]' -o -name '*.cu' -o -name '*.cuh' \) | sort)
[[ ${#files[@]} -ge 20 ]] || not_ok "found only ${#files[@]} files"
if ! out=$("$cf" --dry-run -Werror "${files[@]}" 2>&1); then
    names=$(grep -oE '^[^: ]+:[0-9]+' <<< "$out" | awk -F: '!seen[$1]++' | paste -sd ' ')
    not_ok "$cf would change $names"
fi
ok
