#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# check_page.sh [BUILD] - the web page of `octavo serve`, in a headless Chromium, with the demo model
# (tests/clients/test_page.py).
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "$0")/common.sh"
b=$(build_dir "${1:-}") || not_ok "no release build; run cmake --preset release-tests and build it"

model=$("$root/scripts/demo_model.sh" 2> /dev/null) || skip "no demo model, and PyPI cannot be reached"
rc=0
out=$(PYTHONDONTWRITEBYTECODE=1 python3 "$root/tests/clients/test_page.py" "$b/octavo" "$model" 2>&1) || rc=$?
[[ $rc -ne 77 ]] || skip "$(tail -n1 <<< "$out")"
[[ $rc -eq 0 ]] || {
    echo "$out"
    not_ok "$(tail -n1 <<< "$out" | cut -c1-300)"
}
ok
