#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# check_rooms.sh - a room includes only itself and rooms above it; cuda/ includes nothing of csrc/
# and is seen from device/ down. Tests are exempt.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "$0")/common.sh"
cd "$root"

mapfile -t files < <(find csrc cuda -type f \( -name '*.[ch]' -o -name '*.cu' -o -name '*.cuh' \) | sort)
why=$(awk '
    BEGIN {
        n = split("base text model device cpu comm arch engine http api serve", name, " ")
        for (i = 1; i <= n; i++) rank[name[i]] = i
    }
    function bad(text) { print FILENAME ":" FNR ": " text }
    function in_cuda(name,    line, found) {
        found = (getline line < ("cuda/" name)) >= 0
        close("cuda/" name)
        return found
    }
    # Comments may hold an example; only a directive at the start of a line counts.
    /^[ \t]*#[ \t]*include[ \t]*"/ {
        split($0, q, "\"")
        inc = q[2]
        split(FILENAME, at, "/")
        room = at[2]
        if (inc ~ /\.\./) bad("includes \"" inc "\": name a header from its room")
        else if (at[1] == "cuda") {
            if (inc ~ /\//) bad("cuda/ includes \"" inc "\"")
            else if (!in_cuda(inc)) bad("\"" inc "\" is not in cuda/")
        } else if (room == "octavo.h") bad("the public header includes \"" inc "\"")
        else if (!(room in rank)) bad("csrc/" room " is not one of the rooms listed here")
        else if (inc == "octavo.h") next
        else if (inc !~ /\//) {
            if (!in_cuda(inc)) bad("\"" inc "\" is neither octavo.h nor in cuda/")
            else if (rank[room] < rank["device"])
                bad(room " includes \"" inc "\" of cuda/; device/ is the first that may")
        } else {
            split(inc, to, "/")
            if (!(to[1] in rank)) bad("\"" inc "\" is in no room")
            else if (rank[to[1]] > rank[room]) bad(room " includes \"" inc "\", which is below it")
        }
    }
' "${files[@]}")
[[ -z $why ]] || not_ok "$(head -n 5 <<< "$why" | paste -sd ';' | sed 's/;/; /g')"
[[ ${#files[@]} -ge 20 ]] || not_ok "found only ${#files[@]} files"
ok
