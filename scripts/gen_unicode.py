#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes csrc/text/unicode_table.c, the character classes that pre-tokenisers ask for.

    pip install unicodedata2==16.0.0
    scripts/gen_unicode.py [/usr/share/unicode/DerivedAge.txt] > csrc/text/unicode_table.c

Why 16.0: the expressions of Hugging Face `tokenizers` 0.23 run on Oniguruma 6.9.10, whose tables are
Unicode 16.0. Its NFC (unicode-normalization-alignments 0.1) is older: Unicode 9.0. A character younger
than that is a starter that composes with nothing there, and is made so here (DerivedAge.txt, from
Debian's package unicode-data, says how old a character is). What PCRE2 does not know yet is listed as
items of a character class, for expressions that no scanner runs.
"""

import sys

try:
    import unicodedata2 as ucd
except ImportError:
    import unicodedata as ucd

UNICODE = "16.0.0"
NFC_UNICODE = (9, 0)
PCRE2_UNICODE = (14, 0)  # of PCRE2 10.42, the oldest we build with
N_CODES = 0x110000
BLOCK = 128

CATEGORIES = "L Lu Ll Lt Lm Lo M Mn Mc N Nd Nl No P Pd Po S Sm So".split()

# Bits of oct_uni_class, as in csrc/text/unicode.h.
LETTER, NUMBER, MARK, PUNCT, SPACE, UPPER, LOWER, WORD = (1 << i for i in range(8))
# Bits of oct_uni_nfc.
NFC_SUSPECT, NFC_YOUNG = 1, 2

WHITE_SPACE = set([*range(9, 14), 0x20, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000])
# Alphabetic characters that are neither letters, marks nor Nl (circled and squared letters).
OTHER_ALPHABETIC = set([*range(0x24B6, 0x24EA), *range(0x1F130, 0x1F14A), *range(0x1F150, 0x1F16A), *range(0x1F170, 0x1F18A)])
JOIN_CONTROL = {0x200C, 0x200D}


def ages(path):
    """Code point -> (major, minor) of the Unicode version that assigned it."""
    age = {}
    for line in open(path, encoding="utf-8"):
        line = line.split("#")[0].strip()
        if line:
            span, version = (f.strip() for f in line.split(";"))
            first, _, last = span.partition("..")
            for c in range(int(first, 16), int(last or first, 16) + 1):
                age[c] = tuple(int(v) for v in version.split("."))
    return age


def char_class(c):
    cat = ucd.category(chr(c))
    bits = 0
    if cat[0] == "L":
        bits |= LETTER
    if cat[0] == "N":
        bits |= NUMBER
    if cat[0] == "M":
        bits |= MARK
    if cat[0] in "PS":
        bits |= PUNCT
    if c in WHITE_SPACE:
        bits |= SPACE
    if cat in ("Lu", "Lt", "Lm", "Lo") or cat[0] == "M":
        bits |= UPPER
    if cat in ("Ll", "Lm", "Lo") or cat[0] == "M":
        bits |= LOWER
    if cat[0] in "LM" or cat in ("Nd", "Nl", "Pc") or c in OTHER_ALPHABETIC or c in JOIN_CONTROL:
        bits |= WORD
    return bits


def nfc_classes(age):
    """Which characters may change, move or compose under NFC."""
    composes_second, composes_first = set(), set()
    flags = [0] * N_CODES
    for c in range(N_CODES):
        if 0xD800 <= c < 0xE000:
            continue
        d = ucd.decomposition(chr(c))
        if d and not d.startswith("<") and ucd.normalize("NFC", chr(c)) == chr(c):
            parts = [int(p, 16) for p in d.split()]
            if len(parts) == 2:
                composes_first.add(parts[0])
                composes_second.add(parts[1])
    composes_second.update(range(0x1161, 0x1176))  # Hangul vowels and finals
    composes_second.update(range(0x11A8, 0x11C3))
    for c in range(N_CODES):
        if 0xD800 <= c < 0xE000:
            continue
        mark = ucd.combining(chr(c)) != 0
        suspect = mark or c in composes_second or ucd.normalize("NFC", chr(c)) != chr(c)
        young = age.get(c, (99, 0)) > NFC_UNICODE
        if young and (suspect or c in composes_first):
            flags[c] = NFC_YOUNG
        elif suspect:
            flags[c] = NFC_SUSPECT
    return flags


def two_stage(values):
    blocks, index = {}, []
    for at in range(0, N_CODES, BLOCK):
        block = tuple(values[at : at + BLOCK])
        index.append(blocks.setdefault(block, len(blocks)))
    return index, list(blocks)


def print_array(kind, name, values):
    """One C array; a run of equal values is written as a GNU range designator."""
    print(f"const {kind} {name}[{len(values)}] = {{")
    line, at = "", 0
    while at < len(values):
        end = at
        while end < len(values) and values[end] == values[at]:
            end += 1
        if end - at > 5:
            items = [f"[{at}...{end - 1}]={values[at]},".replace("...", " ... ")]
        else:
            items = [f"{values[at]},"] * (end - at)
        for item in items:
            if len(line) + len(item) > 99:
                print(line)
                line = ""
            line += item
        at = end
    print(line + "};")


def young_items(age, category):
    """\\x{..}-\\x{..} of the category's characters that PCRE2's own tables lack."""
    codes = [
        c
        for c in range(N_CODES)
        if age.get(c, (99, 0)) > PCRE2_UNICODE and ucd.category(chr(c)).startswith(category)
    ]
    items, at = [], 0
    while at < len(codes):
        end = at
        while end + 1 < len(codes) and codes[end + 1] == codes[end] + 1:
            end += 1
        items.append(f"\\\\x{{{codes[at]:x}}}" + (f"-\\\\x{{{codes[end]:x}}}" if end > at else ""))
        at = end + 1
    return items


def main():
    if ucd.unidata_version != UNICODE:
        sys.exit(f"this Python knows Unicode {ucd.unidata_version}, the tables want {UNICODE}: pip install unicodedata2==16.0.0")
    age = ages(sys.argv[1] if len(sys.argv) > 1 else "/usr/share/unicode/DerivedAge.txt")
    print("/* SPDX-License-Identifier: Apache-2.0")
    print(" *")
    print(" * Written by scripts/gen_unicode.py; do not edit. Facts from the Unicode Character Database 16.0.")
    print(" * Value of code point c: <name>_block[<name>_index[c / 128] * 128 + c % 128]. */")
    print('#include "text/unicode.h"\n')
    print("// clang-format off")
    for name, values in (("class", [char_class(c) for c in range(N_CODES)]), ("nfc", nfc_classes(age))):
        index, blocks = two_stage(values)
        print_array("uint16_t" if len(blocks) > 256 else "uint8_t", f"oct_uni_{name}_index", index)
        print_array("uint8_t", f"oct_uni_{name}_block", [v for b in blocks for v in b])
        print(f"{name}: {len(blocks)} blocks", file=sys.stderr)
    print("const struct oct_uni_young oct_uni_young[] = {")
    for category in CATEGORIES:
        items = young_items(age, category)
        lines = ["".join(items[i : i + 5]) for i in range(0, len(items), 5)] or [""]
        print(f'{{"{category}",')
        print("\n".join(f'"{line}"' for line in lines) + "},")
    print("{NULL, NULL},\n};")
    print("// clang-format on")


if __name__ == "__main__":
    main()
