#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# check_install.sh [BUILD] - cmake --install puts the header, both libraries, the pkg-config file and
# the program, nothing else; a small program builds against them, shared and static, and runs.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "$0")/common.sh"
b=$(build_dir "${1:-}") || not_ok "no release build; run cmake --preset release-tests and build it"
scratch_dir

cmake --install "$b" --prefix "$tmp/usr" > "$tmp/log" 2>&1 || not_ok "cmake --install: $(tail -n1 "$tmp/log")"
pc=$(find "$tmp/usr" -name octavo.pc)
[[ -n $pc ]] || not_ok "octavo.pc is not installed"
lib=$(dirname "$(dirname "$pc")")
version=$(sed -n 's/^Version: //p' "$pc")
want=$(printf '%s\n' bin/octavo include/octavo.h "${lib#"$tmp/usr/"}"/{liboctavo.a,liboctavo.so,liboctavo.so.0,"liboctavo.so.$version",pkgconfig/octavo.pc} | sort)
got=$(cd "$tmp/usr" && find . -not -type d | sed 's|^\./||' | sort)
[[ $want == "$got" ]] || not_ok "installed files: $(diff <(echo "$want") <(echo "$got") | grep '^[<>]' | paste -sd ' ')"

cat > "$tmp/t.c" << 'END'
#include <octavo.h>
#include <stdio.h>
int main(void)
{
    struct oct_engine_options o = OCT_ENGINE_OPTIONS_INIT;
    oct_engine *e = NULL;
    o.model_path = "no-such-model.gguf";
    const oct_status st = oct_engine_open(&o, &e);
    printf("%s %d %d\n", oct_version(), st == OCT_OK, oct_last_error()[0] != 0);
    return e != NULL;
}
END
export PKG_CONFIG_PATH=$lib/pkgconfig
cc=$(first_of gcc-12 gcc cc) || not_ok "gcc is not installed"
# shellcheck disable=SC2046 # pkg-config prints words
"$cc" -std=c11 -Wall -Wextra -Werror "$tmp/t.c" -o "$tmp/shared" $(pkg-config --cflags --libs octavo) \
    2> "$tmp/log" || not_ok "shared: $(grep -m1 -E 'error|undefined' "$tmp/log")"
# shellcheck disable=SC2046
"$cc" -std=c11 -Wall -Wextra -Werror "$tmp/t.c" -o "$tmp/static" \
    $(pkg-config --static --cflags --libs octavo | sed 's/-loctavo/-l:liboctavo.a/') \
    2> "$tmp/log" || not_ok "static: $(grep -m1 -E 'error|undefined' "$tmp/log")"
if readelf -d "$tmp/static" | grep liboctavo > /dev/null; then
    not_ok "the static program still needs liboctavo.so"
fi

out=$(LD_LIBRARY_PATH=$lib "$tmp/shared" 2>&1) || not_ok "the shared program failed: $out"
[[ $out == "$version 0 1" ]] || not_ok "the shared program printed '$out', not '$version 0 1'"
out=$("$tmp/static" 2>&1) || not_ok "the static program failed: $out"
[[ $out == "$version 0 1" ]] || not_ok "the static program printed '$out', not '$version 0 1'"
out=$(env -u LD_LIBRARY_PATH "$tmp/usr/bin/octavo" --version 2>&1) || not_ok "the installed program failed: $out"
[[ $out == *"$version"* ]] || not_ok "octavo --version printed '$out'"

# The example of docs/api.md: it builds as written there, and answers where the demo model is.
# shellcheck disable=SC2046
"$cc" -std=c11 -Wall -Wextra -Werror "$root/docs/example.c" -o "$tmp/example" $(pkg-config --cflags --libs octavo) \
    2> "$tmp/log" || not_ok "docs/example.c: $(grep -m1 -E 'error|undefined' "$tmp/log")"
sed -n '/^```c$/,/^```$/p' "$root/docs/api.md" | sed '1d;$d' | cmp -s - "$root/docs/example.c" ||
    not_ok "docs/api.md does not show docs/example.c"
model=${OCTAVO_DEMO_MODEL:-${OCTAVO_CACHE:-${XDG_CACHE_HOME:-${HOME:-}/.cache}/octavo}/SmolLM2-135M-Instruct.Q4_1.gguf}
if [[ -f $model ]]; then
    out=$(LD_LIBRARY_PATH=$lib "$tmp/example" "$model" "What is the capital of France?" 2>&1) ||
        not_ok "docs/example.c failed: $out"
    [[ $out == *Paris* ]] || not_ok "docs/example.c printed '$out'"
fi
ok
