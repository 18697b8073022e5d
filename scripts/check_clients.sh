#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# check_clients.sh [BUILD] - clients from PyPI, unchanged, on `octavo serve` with the demo model: all
# of tests/clients but the page.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "$0")/common.sh"
b=$(build_dir "${1:-}") || not_ok "no release build; run cmake --preset release-tests and build it"

model=$("$root/scripts/demo_model.sh" 2> /dev/null) || skip "no demo model, and PyPI cannot be reached"
clients=$("$root/scripts/clients.sh" 2> /dev/null) || skip "no clients, and PyPI cannot be reached"
run() # folder of clients, test
{
    local out
    out=$(PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$1 python3 "$root/tests/clients/$2" "$b/octavo" "$model" 2>&1) || {
        echo "$out"
        not_ok "$2: $(tail -n1 <<< "$out" | cut -c1-300)"
    }
    tail -n1 <<< "$out"
}
run "$clients" test_openai.py
run "$clients" test_ollama.py
run "$clients" test_lm_eval.py
run "$root/tests/clients/stand_in:$clients" test_guidellm.py
ok
