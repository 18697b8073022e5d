#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# check_reliability.sh - every test that docs/reliability.md names exists and is built, its table has
# the rows 1 to 39, and as many of them name a test as its text says.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "$0")/common.sh"
cd "$root"
page=docs/reliability.md

# Of each row: "FILE" and "FILE TEST" for what its fourth column names.
why=$(awk -F' *[|] *' '
    function bad(text) { print "row " $2 ": " text }
    function text_of(file,    line, all) {
        if (!(file in kept)) {
            while ((getline line < ("tests/" file)) > 0) all = all line "\n"
            close("tests/" file)
            kept[file] = all
        }
        return kept[file]
    }
    function is_built(file,    room, name, list, line) {
        room = name = file
        sub(/\/.*/, "", room)
        sub(/.*\//, "", name)
        list = "cat tests/" room "/CMakeLists.txt tests/" room "/*.cmake 2> /dev/null"
        while ((list | getline line) > 0) if (index(line, name)) { close(list); return 1 }
        close(list)
        return 0
    }
    /^[0-9]+ of [0-9]+ rows have a test/ { split($0, said, " ") }
    /^[|] [0-9]+ [|]/ {
        n_rows++
        if ($2 != n_rows) bad("comes as number " n_rows)
        n = split($5, word, "`")
        if (n > 1) n_shown++
        else if ($4 !~ /^(not yet|in part)/) bad("names no test and does not say why")
        file = ""
        has_test = 1
        for (i = 2; i <= n; i += 2) {
            if (word[i] ~ /\.c$/) {
                file = word[i]
                if (text_of(file) == "") bad("there is no tests/" file)
                else if (!is_built(file)) bad("tests/" file " is built by nothing")
                # a program of its own, or tests that follow
                if (i + 2 > n || word[i + 2] ~ /\.c$/)
                    if (!index(text_of(file), "int main(")) bad("tests/" file ": no test is named")
            } else {
                n_names++
                if (text_of(file) !~ ("Test\\([a-z0-9_]+,[ \n]+" word[i] "[,)]"))
                    bad("tests/" file " has no test " word[i])
            }
        }
    }
    END {
        if (n_rows != 39 || said[3] != 39) print n_rows + 0 " rows, not 39"
        if (said[1] != n_shown) print n_shown + 0 " rows name tests, but the page says " said[1]
        if (n_names < 50) print "only " n_names + 0 " tests are named"
    }
' "$page")
[[ -z $why ]] || not_ok "$page: $(head -n 5 <<< "$why" | paste -sd ';' | sed 's/;/; /g')"
ok
