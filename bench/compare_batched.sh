#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# compare_batched.sh LLAMA_BATCHED_BENCH PEER.gguf [ROUNDS] - the demo model here and in llama.cpp on
# this machine, in alternation: tokens/s that 1, 8 and 32 requests get together while each writes 128
# tokens behind a prompt of 8, on two threads.
#
# LLAMA_BATCHED_BENCH is llama.cpp's llama-batched-bench; PEER.gguf as in compare_llamacpp.sh. Ours is
# `octavo bench model`, through the whole engine. Prints each round, then medians and the median of
# the rounds' ratios. Keep the machine idle.
set -euo pipefail

if [[ $# -lt 2 || $# -gt 3 ]]; then
    sed -n '4,11s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
peer=$1 peer_model=$2 rounds=${3:-3}
cd "$(dirname "$0")/.."
model=$(scripts/demo_model.sh)
octavo=build/release/octavo
[[ -x $octavo ]] || { echo "build it first: scripts/quickstart.sh" >&2; exit 2; }

# "1-row 8-row 32-row" in tokens/s
ours()
{
    "$octavo" bench model "$model" --threads 2 --repeat 1 --json 2> /dev/null | python3 -c '
import json, sys
speed = {r["batch"]: r["tokens_per_s"] for r in json.load(sys.stdin)["results"]}
print(*(f"{speed[n]:.1f}" for n in (1, 8, 32)))'
}

theirs()
{
    "$peer" -m "$peer_model" -c 8192 -b 512 -ub 512 -npp 8 -ntg 128 -npl 1,8,32 -t 2 -tb 2 \
        --output-format jsonl 2> /dev/null | python3 -c '
import json, sys
speed = {}
for line in sys.stdin:
    if line.startswith("{"):
        r = json.loads(line)
        speed[r["pl"]] = r["speed_tg"]
print(*(f"{speed[n]:.1f}" for n in (1, 8, 32)))'
}

all=()
for ((i = 1; i <= rounds; i++)); do
    a=$(ours) b=$(theirs)
    echo "round $i, tokens/s at 1, 8, 32 requests: octavo $a | llama.cpp $b"
    all+=("$a $b")
done
printf '%s\n' "${all[@]}" | python3 -c '
import statistics, sys
rows = [[float(x) for x in line.split()] for line in sys.stdin]
for i, n in enumerate((1, 8, 32)):
    a, b = [r[i] for r in rows], [r[3 + i] for r in rows]
    ratio = statistics.median(x / y for x, y in zip(a, b))
    print(f"{n:3} requests: octavo {statistics.median(a):.0f}, llama.cpp {statistics.median(b):.0f} tokens/s, "
          f"ratio {ratio:.2f}")'
