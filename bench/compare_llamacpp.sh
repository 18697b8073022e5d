#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# compare_llamacpp.sh LLAMA_BENCH PEER.gguf [ROUNDS] - the demo model here and in llama.cpp on this
# machine, in alternation: tokens/s of a prompt of about 512 tokens and of 128 generated tokens, on
# two threads.
#
# LLAMA_BENCH is llama.cpp's llama-bench; PEER.gguf the demo model as it is to be run there, made from
# the file that scripts/demo_model.sh names with `llama-quantize --allow-requantize ... BF16` (or
# Q8_0). Prints each round, then the medians and the median ratio. Keep the machine idle.
set -euo pipefail

if [[ $# -lt 2 || $# -gt 3 ]]; then
    sed -n '4,12s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
peer=$1 peer_model=$2 rounds=${3:-5}
cd "$(dirname "$0")/.."
model=$(scripts/demo_model.sh)
octavo=build/release/octavo
[[ -x $octavo ]] || { echo "build it first: scripts/quickstart.sh" >&2; exit 2; }
prompt=$(head -c 2200 docs/security.md) # about 512 tokens of English

# Figures of one run: "prompt generated" in tokens/s, from the line on standard error.
ours()
{
    local pp tg
    pp=$("$octavo" run "$model" --raw --threads 2 -n 1 --temperature 0 -p "$prompt" 2>&1 > /dev/null |
        sed -n 's/.*prompt [0-9]* tokens, \([0-9.]*\) tokens.*/\1/p')
    tg=$("$octavo" run "$model" --raw --threads 2 -n 129 --ignore-eos --temperature 0 -p "Once upon" 2>&1 > /dev/null |
        sed -n 's/.*generated [0-9]* tokens, \([0-9.]*\) tokens.*/\1/p')
    echo "$pp $tg"
}

theirs()
{
    "$peer" -m "$peer_model" -t 2 -p 512 -n 128 -r 1 -o csv 2> /dev/null | python3 -c '
import csv, sys
rows = list(csv.DictReader(sys.stdin))
value = lambda key: next(r["avg_ts"] for r in rows if int(r[key]) > 0)
print("%.1f %.1f" % (float(value("n_prompt")), float(value("n_gen"))))'
}

for ((i = 0; i < rounds; i++)); do
    a=$(ours) b=$(theirs)
    echo "$a $b"
done | python3 -c '
import statistics, sys
rows = []
for line in sys.stdin:
    row = [float(x) for x in line.split()]
    rows.append(row)
    print("octavo prompt %7.1f generated %6.1f   llama.cpp prompt %7.1f generated %6.1f" % tuple(row), flush=True)
median = lambda f: statistics.median(f(r) for r in rows)
print("median  prompt %.1f and %.1f tokens/s, ratio %.2f   generated %.1f and %.1f, ratio %.2f" % (
    median(lambda r: r[0]), median(lambda r: r[2]), median(lambda r: r[0] / r[2]),
    median(lambda r: r[1]), median(lambda r: r[3]), median(lambda r: r[1] / r[3])))'
