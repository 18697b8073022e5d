#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# assemble.sh PTXAS TEST...: gives the PTX texts that these tests load to ptxas, so that the virtual
# GPU is never tested with what the real assembler refuses. 77: there is no ptxas.
set -eu
ptxas=$1
shift
if ! [ -x "$ptxas" ]; then
    echo "skipped: no ptxas on this machine"
    exit 77
fi
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
for test in "$@"; do
    VGT_PTX=$dir "$test" > "$dir/log" 2>&1 || { cat "$dir/log"; exit 1; }
done
n=$(find "$dir" -name '*.ptx' | wc -l)
if [ "$n" -lt 300 ]; then
    echo "only $n texts came out of the tests"
    exit 1
fi
# -O0: the machine code is nobody's. Each failure prints its lines and the text.
find "$dir" -name '*.ptx' | xargs -P 2 -I{} sh -c \
    '"$0" -arch=sm_90a -O0 -o /dev/null "$1" > "$1.log" 2>&1 || touch "$1.bad"' "$ptxas" {}
bad=0
for f in "$dir"/*.bad; do
    [ -e "$f" ] || continue
    bad=$((bad + 1))
    cat "${f%.bad}.log"
    head -40 "${f%.bad}"
done
echo "$n texts, ptxas refuses $bad"
[ "$bad" -eq 0 ]
