#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes csrc/text/jinja_case.h: where Python's str.upper/lower/title, islower/isupper, isdigit and
isalnum differ from what utf8proc says of single code points. Run with Python 3.11 or later where
libutf8proc.so.2 is installed; the result does not change unless one of them does."""
import ctypes
import sys
import unicodedata

u = ctypes.CDLL("libutf8proc.so.2")
for f in ("utf8proc_toupper", "utf8proc_tolower", "utf8proc_totitle", "utf8proc_category"):
    getattr(u, f).argtypes = [ctypes.c_int32]
    getattr(u, f).restype = ctypes.c_int32
CAT = ["Cn", "Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd", "Nl", "No", "Pc", "Pd", "Ps",
       "Pe", "Pi", "Pf", "Po", "Sm", "Sc", "Sk", "So", "Zs", "Zl", "Zp", "Cc", "Cf", "Cs", "Co"]


def assigned(c):
    # A newer utf8proc knows more code points than Python; those are left to utf8proc.
    return unicodedata.category(chr(c)) not in ("Cn", "Cs")


def rows(method, single):
    out = []
    for c in range(0x110000):
        if not assigned(c):
            continue
        want = [ord(x) for x in getattr(chr(c), method)()]
        if want != [single(c)]:
            out.append((c, want))
    return out


def ranges(cps):
    out = []
    for c in cps:
        if out and out[-1][1] == c - 1:
            out[-1][1] = c
        else:
            out.append([c, c])
    return out


def table(name, data):
    print(f"static const struct case_row {name}[] = {{")
    for c, want in data:
        assert len(want) <= 3
        print("    {0x%04x, %d, {%s}}," % (c, len(want), ", ".join("0x%04x" % w for w in want)))
    print("};\n")


def range_table(name, cps):
    print(f"static const struct cp_range {name}[] = {{")
    for lo, hi in ranges(cps):
        print("    {0x%04x, 0x%04x}," % (lo, hi))
    print("};\n")


def main():
    cat = lambda c: CAT[u.utf8proc_category(c)]
    print("/* SPDX-License-Identifier: Apache-2.0\n *\n * jinja_case.h - made by "
          "scripts/gen_jinja_case.py: code points whose case or class in Python\n * is not what "
          f"utf8proc says. Unicode {unicodedata.unidata_version}. */")
    print("#ifndef OCT_TEXT_JINJA_CASE_H\n#define OCT_TEXT_JINJA_CASE_H\n\n#include <stdint.h>\n")
    print("// clang-format off")
    print("struct case_row {\n    uint32_t cp;\n    uint32_t n;\n    uint32_t to[3];\n};\n"
          "struct cp_range {\n    uint32_t lo, hi;\n};\n")
    table("upper_rows", rows("upper", u.utf8proc_toupper))
    table("lower_rows", rows("lower", u.utf8proc_tolower))
    table("title_rows", rows("title", u.utf8proc_totitle))
    every = [c for c in range(0x110000) if assigned(c)]
    # Other_Lowercase and Other_Uppercase: letters and signs with case but of another category.
    range_table("other_lower", [c for c in every if chr(c).islower() and cat(c) != "Ll"])
    range_table("other_upper", [c for c in every if chr(c).isupper() and cat(c) != "Lu"])
    # Digits that are no decimals (superscripts, circled digits).
    range_table("other_digit", [c for c in every if chr(c).isdigit() and cat(c) != "Nd"])
    # Case_Ignorable, for the final sigma: seen through str.lower() of a sigma behind "a" + c.
    ignorable = [c for c in every if ("a" + chr(c) + "\u03a3").lower()[-1] == "\u03c2"
                 and ("+" + chr(c) + "\u03a3").lower()[-1] == "\u03c3"]
    range_table("case_ignorable", ignorable)
    for c in every:
        k = cat(c)
        assert chr(c).isalpha() == (k[0] == "L"), hex(c)
        assert chr(c).isdecimal() == (k == "Nd"), hex(c)
        assert chr(c).isalnum() == (k[0] in "LN"), hex(c)
        assert chr(c).isprintable() == (c == 32 or k[0] not in "CZ"), hex(c)
        assert chr(c).islower() or k != "Ll", hex(c)
        assert chr(c).isupper() or k != "Lu", hex(c)
    print("// clang-format on\n#endif")
    return 0


if __name__ == "__main__":
    sys.exit(main())
