# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# common.sh - what the check scripts share; sourced, never run. A check prints exactly one line,
# "ok NAME" or "not ok NAME: why" (the last one, where it says more), and exits 0 or 1; 77 if it had to
# skip.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
check=$(basename "$0" .sh)

ok()
{
    echo "ok $check"
    exit 0
}

not_ok() # why
{
    echo "not ok $check: $1"
    exit 1
}

skip() # why
{
    echo "$check: $1"
    exit 77
}

# The folder of the build that a check looks at: the argument, or the first of the release builds.
build_dir() # [folder]
{
    local b
    for b in "${1:-}" "$root/build/release-tests" "$root/build/release"; do
        if [[ -n $b && -x $b/octavo ]]; then
            (cd "$b" && pwd)
            return
        fi
    done
    return 1
}

# A folder of our own under build/, removed at the end.
scratch_dir()
{
    mkdir -p "$root/build"
    tmp=$(mktemp -d "$root/build/$check.XXXXXX")
    trap 'rm -rf "$tmp"' EXIT
}

# First of the given programs that exists: Debian calls them clang and clang-14.
first_of()
{
    local p
    for p in "$@"; do
        if command -v "$p" > /dev/null; then
            echo "$p"
            return
        fi
    done
    return 1
}
