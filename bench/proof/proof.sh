#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# proof.sh [--quick] [ROW...] - octavo serve and llama.cpp's llama-server under the same trouble, in
# alternation on this machine; prints the table, in Markdown, with date, commit, machine, versions.
#
#   ROW      same load live leave prefill stop bad mutated big templates memory full_disk; all of them
#            where none is named
#   --quick  shorter and fewer rounds: under 4 minutes instead of under 15
#
# Builds what is missing, takes the peer from Debian (peer.sh; $LLAMA_SERVER names another program),
# writes the models. Raw results, logs and the table stay in build/proof/results/DATE. Keep the
# machine idle. Exits 77 with a sentence where the peer cannot be had.
set -euo pipefail
size=full
rows=()
for arg in "$@"; do
    case $arg in
        --quick) size=quick ;;
        -*)
            sed -n '4,14s/^# \{0,1\}//p' "$0"
            [[ $arg == --help || $arg == -h ]] && exit 0
            exit 2
            ;;
        *) rows+=("$arg") ;;
    esac
done
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
proof=build/proof
out=$proof/results/$(date -u +%Y-%m-%d-%H%M%S)
mkdir -p "$out"

{
    cmake --preset release
    cmake --build --preset release -j2 --target octavo proof_client proof_models
} > "$proof/build.log" 2>&1 || { echo "proof.sh: the build failed; see $proof/build.log" >&2; exit 1; }
build/release/bench/proof_models "$proof/models"

packages=
if [[ -z ${LLAMA_SERVER:-} ]]; then
    LLAMA_SERVER=$(bench/proof/peer.sh) || exit $?
    packages="Debian sid, $(grep -E '^(llama.cpp-tools|libggml0|libc6) ' "$proof/peer/versions" | paste -sd, | sed 's/,/, /g')"
fi
python3 bench/proof/proof.py --octavo build/release/octavo --llama "$LLAMA_SERVER" --packages "$packages" \
    --client build/release/bench/proof_client --models "$proof/models" --out "$out" --size $size "${rows[@]}"
echo "proof: raw results are in $out" >&2
