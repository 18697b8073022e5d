#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# promtool.sh - prints the path of promtool, Prometheus' checker of metrics and rules: the one of
# the PATH, else that of Debian's package prometheus (19 MB), fetched once to build/promtool/. The
# package is not installed: it would start a server. Nothing but apt-get is asked.
#
# Exit: 0 printed, 1 cannot be had (no Debian, no network).
set -euo pipefail
cd "$(dirname "$0")/.."
dir=$PWD/build/promtool

if command -v promtool; then
    exit 0
fi
if [[ ! -x $dir/promtool ]]; then
    command -v apt-get > /dev/null && command -v dpkg-deb > /dev/null || exit 1
    mkdir -p "$dir"
    work=$(mktemp -d "$dir/work.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    chmod 755 "$work"
    (cd "$work" && apt-get -qq download prometheus) > "$dir/log" 2>&1 || exit 1
    dpkg-deb --fsys-tarfile "$work"/prometheus_*.deb | tar -x -C "$work" ./usr/bin/promtool
    mv "$work/usr/bin/promtool" "$dir/promtool"
fi
echo "$dir/promtool"
