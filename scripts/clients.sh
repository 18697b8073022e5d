#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# clients.sh - prints the folder with the Python clients that tests/clients drive a server with
# (openai, ollama, lm-eval, guidellm), after fetching them from PyPI once: 140 MB, 40 s.
set -euo pipefail
cd "$(dirname "$0")/.."

list=tests/clients/requirements.txt
dir=build/clients
if [[ $# -gt 0 ]]; then
    sed -n '4,5s/^# \{0,1\}//p' "$0"
    [[ $1 == --help || $1 == -h ]] && exit 0
    exit 2
fi

want="$(python3 -V) $(sha256sum < "$list")"
if [[ ! -f $dir/.whole || $(< "$dir/.whole") != "$want" ]]; then
    rm -rf "$dir"
    mkdir -p "$dir"
    python3 -m pip install --quiet --no-compile --disable-pip-version-check --no-input --retries 2 \
        --root-user-action ignore --target "$dir" --no-deps -r "$list" >&2
    echo "$want" > "$dir/.whole"
fi
(cd "$dir" && pwd)
