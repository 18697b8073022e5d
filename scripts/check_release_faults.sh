#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# check_release_faults.sh [BUILD [DEBUG_BUILD]] - the release program holds no fault plan and runs
# the same with a plan in its environment. The same search must find the plan in the debug build.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "$0")/common.sh"
b=$(build_dir "${1:-}") || not_ok "no release build; run cmake --preset release-tests and build it"
debug=${2:-$root/build/debug}
scratch_dir

holds_plan() # program
{
    # Debug information names macros and enumerators; what runs does not.
    strip -o "$tmp/stripped" "$1"
    grep -qa OCT_FAULT "$tmp/stripped"
}
if holds_plan "$b/octavo"; then
    not_ok "$b/octavo contains the text OCT_FAULT"
fi
if holds_plan "$b/liboctavo.so"; then
    not_ok "$b/liboctavo.so contains the text OCT_FAULT"
fi
if [[ -x $debug/octavo ]] && ! holds_plan "$debug/octavo"; then
    not_ok "the search finds no plan in the debug build either, so it shows nothing"
fi

run() # plan out args...
{
    local plan=$1 out=$2
    shift 2
    OCT_FAULT=$plan "$b/octavo" "$@" > "$out.out" 2> "$out.err" < /dev/null && echo 0 > "$out.rc" ||
        echo $? > "$out.rc"
}
for args in --version --help "info $root/README.md" "info $root/no-such-model.gguf"; do
    for plan in mem@1,read@1 mem@1+,open@1+,read@1+,dev_alloc@1+,dev_op@1+; do
        # shellcheck disable=SC2086 # words on purpose
        run "" "$tmp/plain" $args
        # shellcheck disable=SC2086
        run "$plan" "$tmp/fault" $args
        for part in out err rc; do
            cmp -s "$tmp/plain.$part" "$tmp/fault.$part" ||
                not_ok "octavo $args differs ($part) with OCT_FAULT=$plan"
        done
    done
done
ok
