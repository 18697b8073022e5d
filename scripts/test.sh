#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# test.sh [--quick] - builds everything, runs every test and ends with the line
#
#     N passed, N failed, N skipped
#
# What it does, two jobs at a time, all of it under build/:
#   install   what deps.sh misses; if PyPI can be reached, the demo model, and nvcc where there is
#             none
#   build     debug (ASan, UBSan, fault plan), release-tests, clang, fuzz, and tsan: the programs
#             of tests/race/ if there are any, else octavo
#   run       every test program of debug and release-tests, the programs of tsan, the checks
#             scripts/check_*.sh, and every fuzz target: its corpus, then OCT_FUZZ_SECONDS (30) more
# A build, a check and a fuzz target count as one test each. Output of what failed comes at the end;
# all of it is in build/test-results/.
#
#   --quick   release-tests and the checks only
#
# Environment: OCT_FUZZ_SECONDS (30), OCT_TEST_TIMEOUT (900 seconds for one test program).
# Exit: 0 all passed, 1 something failed, 2 wrong usage, 3 packages are missing.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
results=$root/build/test-results

quick=0
for arg in "$@"; do
    case $arg in
        --quick) quick=1 ;;
        --help | -h)
            sed -n '4,23s/^# \{0,1\}//p' scripts/test.sh
            exit 0
            ;;
        *)
            echo "test.sh: unknown argument $arg; see --help" >&2
            exit 2
            ;;
    esac
done

export OCT_FUZZ_SECONDS=${OCT_FUZZ_SECONDS:-30} OCT_TEST_TIMEOUT=${OCT_TEST_TIMEOUT:-900}
# Not detect_stack_use_after_return: gcc 12's fake stack is not aligned for 64-byte vectors.
export ASAN_OPTIONS=detect_leaks=1:strict_string_checks=1
export UBSAN_OPTIONS=print_stacktrace=1
export TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1
export results root

# ---- how one thing is run: each leaves NAME.log and NAME.count ("passed failed skipped") ----

record() # name passed failed skipped seconds
{
    echo "$2 $3 $4" > "$results/$1.count"
    local word=ok
    [[ $3 -eq 0 ]] || word=FAILED
    printf '%-44s %5d passed %3d failed %3d skipped %6.1f s  %s\n' "$1" "$2" "$3" "$4" "$5" "$word"
}

now()
{
    date +%s.%N
}

since() # start
{
    awk -v a="$1" -v b="$(now)" 'BEGIN { printf "%.1f", b - a }'
}

run_command() # name command...
{
    local name=$1 start rc=0 passed=0 failed=0 skipped=0
    shift
    start=$(now)
    "$@" > "$results/$name.log" 2>&1 < /dev/null || rc=$?
    case $rc in
        0) passed=1 ;;
        77)
            skipped=1
            echo "$name: $(tail -n1 "$results/$name.log")" > "$results/$name.skips"
            ;;
        *) failed=1 ;;
    esac
    record "$name" $passed $failed $skipped "$(since "$start")"
}

# A test program: Criterion's counts come from its TAP file; another program passes with 0 and skips
# with 77.
run_program() # build program
{
    local build=$1 exe=$2 name start rc=0 passed=0 failed=0 skipped=0
    name=$build.$(basename "$exe")
    local log=$results/$name.log tap=$results/$name.tap
    start=$(now)
    # Braces: what the shell says about a child that aborts belongs into the log.
    if ! nm "$exe" | awk '$3 == "main" { found = 1 } END { exit !found }'; then # Criterion brings its own
        { timeout -k 10 "$OCT_TEST_TIMEOUT" "$exe" -j1 --ignore-warnings --tap="$tap" < /dev/null ||
            rc=$?; } > "$log" 2>&1
        if [[ -f $tap ]]; then
            local planned
            planned=$(sed -n 's/^1\.\.//p' "$tap" | head -n1)
            skipped=$(grep -c '^ok .*# SKIP' "$tap" || true)
            passed=$(($(grep -c '^ok ' "$tap" || true) - skipped))
            failed=$(grep -c '^not ok ' "$tap" || true)
            # Tests that the program never came to.
            local lost=$((${planned:-0} - passed - failed - skipped))
            [[ $lost -le 0 ]] || failed=$((failed + lost))
            grep '^ok .*# SKIP' "$tap" | sed "s|^ok - |$name: |" > "$results/$name.skips" || true
        fi
        # It died before it could say so, or found nothing to run.
        [[ $((passed + failed + skipped)) -gt 0 && ($rc -eq 0 || $failed -gt 0) ]] || failed=$((failed + 1))
        # Criterion does not see what a sanitizer says when a test's process ends: a leak.
        local reports
        reports=$(grep -cE 'ERROR: [A-Za-z]+Sanitizer|runtime error:' "$log" || true)
        if [[ $failed -eq 0 && $reports -gt 0 ]]; then
            failed=$((reports < passed ? reports : passed))
            passed=$((passed - failed))
        fi
    else
        { timeout -k 10 "$OCT_TEST_TIMEOUT" "$exe" < /dev/null || rc=$?; } > "$log" 2>&1
        case $rc in
            0) passed=1 ;;
            77)
                skipped=1
                echo "$name: $(tail -n1 "$log")" > "$results/$name.skips"
                ;;
            *) failed=1 ;;
        esac
    fi
    [[ $rc -ne 124 && $rc -ne 137 ]] || echo "stopped after $OCT_TEST_TIMEOUT s" >> "$log"
    record "$name" "$passed" "$failed" "$skipped" "$(since "$start")"
}

run_check() # script [argument...]
{
    local name
    name=$(basename "$1" .sh)
    run_command "$name" "$@"
}

# Replays the committed corpus, then looks for more; what it finds stays under build/.
fuzz_session() # program
{
    local exe=$1 stem corpus work
    stem=$(basename "$exe")
    corpus=$root/tests/fuzz/corpus/${stem#fuzz_}
    work=$root/build/fuzz/work/$stem
    mkdir -p "$work" "$root/build/fuzz/artifacts"
    local common=(-artifact_prefix="$root/build/fuzz/artifacts/$stem-" -rss_limit_mb=2048 -timeout=25
        -print_final_stats=1)
    local dirs=("$work")
    [[ ! -d $corpus ]] || dirs+=("$corpus")
    if [[ -d $corpus ]]; then
        "$exe" "${common[@]}" -runs=0 "$corpus"
    fi
    "$exe" "${common[@]}" -max_total_time="$OCT_FUZZ_SECONDS" "${dirs[@]}"
}

job() # kind arguments...
{
    set -euo pipefail
    case $1 in
        program) run_program "$2" "$3" ;;
        check) run_check "${@:2}" ;;
        fuzz) run_command "fuzz.$(basename "$2")" fuzz_session "$2" ;;
    esac
}
export -f record now since run_command run_program run_check fuzz_session job

# Jobs come as lines of words on standard input; no path here holds a blank.
two_at_a_time()
{
    # shellcheck disable=SC2016 # $0 and $@ are the inner shell's
    xargs -r -P2 -L1 bash -c 'job "$0" "$@"'
}

build() # preset [target]
{
    cmake --preset "$1" && cmake --build --preset "$1" -j2 ${2:+--target "$2"}
}

build_counted() # preset [target]
{
    run_command "build.$1" build "$@"
    [[ $(cat "$results/build.$1.count") == "1 0 0" ]]
}

programs() # preset
{
    find "$root/build/$1/tests" -maxdepth 1 -type f -perm -u+x -name 'test_*' 2> /dev/null | sort |
        sed "s|^|program $1 |"
}

# ---- the run ----

begin=$(now)
# As root it installs, else it says what to run and ends with 3.
scripts/deps.sh test
rm -rf "$results"
mkdir -p "$results"
# Tests of the demo model skip without it, and say so.
scripts/demo_model.sh > "$results/demo_model.log" 2>&1 || echo "no demo model: see build/test-results/demo_model.log"
PROMTOOL=$(scripts/promtool.sh 2> "$results/promtool.log") || PROMTOOL= # its tests skip
export PROMTOOL

# Kernels are compiled where there is a compiler; a machine without one gets it from PyPI.
if [[ ! -x /usr/local/cuda/bin/nvcc && ! -x build/cuda-toolkit/bin/nvcc ]] && ! command -v nvcc > /dev/null; then
    scripts/cuda_toolkit.sh all > "$results/cuda_toolkit.log" 2>&1 ||
        echo "no CUDA compiler: the kernels' tests are left out; see build/test-results/cuda_toolkit.log"
fi

if build_counted release-tests; then
    programs release-tests | two_at_a_time
fi
if [[ $quick -eq 0 ]]; then
    if build_counted debug; then
        programs debug | two_at_a_time
    fi
    build_counted clang || true
    if [[ ! -f tests/race/CMakeLists.txt ]]; then
        build_counted tsan octavo || true # nothing to run yet; the preset must build all the same
    elif build_counted tsan race; then
        programs tsan | two_at_a_time
    fi
fi

for c in scripts/check_*.sh; do
    case $(basename "$c" .sh) in
        check_exports | check_install | check_kernels | check_page | check_clients) echo "check $root/$c $root/build/release-tests" ;;
        check_release_faults) echo "check $root/$c $root/build/release-tests $root/build/debug" ;;
        *) echo "check $root/$c" ;;
    esac
done | two_at_a_time

if [[ $quick -eq 0 ]] && build_counted fuzz; then
    find build/fuzz/fuzz -maxdepth 1 -type f -perm -u+x -name 'fuzz_*' | sort |
        sed "s|^|fuzz $root/|" | two_at_a_time
fi

# ---- what failed, what was skipped, the sums ----

passed=0 failed=0 skipped=0
for count in "$results"/*.count; do
    read -r p f s < "$count"
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
    [[ $f -gt 0 ]] || continue
    name=$(basename "$count" .count)
    echo
    echo "==== $name failed ===="
    [[ ! -f $results/$name.tap ]] || grep '^not ok ' "$results/$name.tap" || true
    tail -n 80 "$results/$name.log"
done
if cat "$results"/*.skips > "$results/skips" 2> /dev/null && [[ -s $results/skips ]]; then
    echo
    echo "==== skipped ===="
    cat "$results/skips"
fi
echo
echo "took $(since "$begin") s; output is in build/test-results/"
echo "$passed passed, $failed failed, $skipped skipped"
[[ $failed -eq 0 ]]
