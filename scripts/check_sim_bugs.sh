#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# check_sim_bugs.sh - every bug of tests/sim/bugs still applies to the sources it changes.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "$0")/common.sh"
cd "$root"

why=$(python3 scripts/sim_bugs.py check 2>&1 > /dev/null) || not_ok "$(head -n 1 <<< "$why")"
ok
