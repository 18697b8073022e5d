#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# speed.sh [--quick] - output tokens/s and P99 time to the first token of octavo serve and llama.cpp's
# llama-server on the demo model, with 1, 8 and 32 requests at once, two threads each, in alternation;
# prints the table in Markdown.
#
# The peer runs the same weights as BF16 and as Q8_0, made from the demo file by its own
# llama-quantize; the load is `octavo bench serve`'s. The peer comes from Debian (peer.sh), or
# $LLAMA_SERVER and $LLAMA_QUANTIZE name its programs. Raw results stay in
# build/proof/speed/DATE. Keep the machine idle. 77: the peer cannot be had.
#
#   --quick  one round instead of five (12 minutes on two cores)
set -euo pipefail
rounds=5
case ${1:-} in
    --quick) rounds=1 ;;
    "") ;;
    *)
        sed -n '4,14s/^# \{0,1\}//p' "$0"
        [[ $1 == --help || $1 == -h ]] && exit 0
        exit 2
        ;;
esac
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
out=build/proof/speed/$(date -u +%Y-%m-%d-%H%M%S)
mkdir -p "$out"
{
    cmake --preset release
    cmake --build --preset release -j2 --target octavo
} > build/proof/build.log 2>&1 || { echo "speed.sh: the build failed; see build/proof/build.log" >&2; exit 1; }
[[ -n ${LLAMA_SERVER:-} ]] || LLAMA_SERVER=$(bench/proof/peer.sh) || exit $?
[[ -n ${LLAMA_QUANTIZE:-} ]] || LLAMA_QUANTIZE=$(bench/proof/peer.sh llama-quantize) || exit $?
demo=$(scripts/demo_model.sh)
models=()
for type in BF16 Q8_0; do
    file=build/proof/models/demo-$type.gguf
    mkdir -p build/proof/models
    if [[ ! -s $file ]]; then
        "$LLAMA_QUANTIZE" --allow-requantize "$demo" "$file.part" $type > "$out/quantize-$type.log" 2>&1
        mv "$file.part" "$file"
    fi
    models+=(--peer-model "$type=$file")
done
python3 bench/proof/speed.py --octavo build/release/octavo --llama "$LLAMA_SERVER" --demo "$demo" --rounds $rounds \
    --out "$out" "${models[@]}"
echo "speed: raw results are in $out" >&2
