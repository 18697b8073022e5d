#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes tests/golden/tokenizer_*.json: what Hugging Face `tokenizers` makes of some hundred texts.

    pip install tokenizers==0.23.3
    scripts/golden_tokenizer.py [FOLDER with qwen3.json.xz, mistral.json.xz, ...  DEMO.gguf]

tokenizer_bytes.json and tokenizer_spm.json are two small vocabularies, trained here on the texts of
diff_tokenizer.py: byte-level, and SentencePiece-style with byte fallback. tokenizer_small.json holds
variants of them (members that replace those of the base) with texts and ids; tokenizer_real.json
texts and ids of the vocabularies in FOLDER and of the demo model, which are not part of this
repository.
"""

import json
import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from diff_tokenizer import POOLS, load, random_text  # noqa: E402
from package_vocabs import CL100K, O200K, QWEN35  # noqa: E402

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers  # noqa: E402

GOLDEN = Path(__file__).parent.parent / "tests" / "golden"
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
ODD = r"\s?\p{Lu}\p{Ll}*|\d{2,3}+|\p{P}+"  # no scanner knows it


def train(pre, alphabet, size, specials):
    tok = Tokenizer(models.BPE())
    tok.pre_tokenizer = pre
    trainer = trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet, show_progress=False, special_tokens=specials)
    texts = [p.replace("\0", "") for p in POOLS]  # the test's JSON parser takes no NUL in a key
    tok.train_from_iterator(texts * 3, trainer)
    return tok


def added(ids_and_texts, **flags):
    base = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return [{"id": i, "content": t, **base, **flags} for i, t in ids_and_texts]


def byte_base():
    tok = train(pre_tokenizers.ByteLevel(add_prefix_space=False), sorted(pre_tokenizers.ByteLevel.alphabet()), 640, [])
    tok.decoder = decoders.ByteLevel()
    return json.loads(tok.to_str())


def spm_base():
    tok = train(pre_tokenizers.Metaspace(), [], 500, [])
    d = json.loads(tok.to_str())
    names = ["<unk>", "<s>", "</s>"] + [f"<0x{i:02X}>" for i in range(256)]
    rest = sorted(d["model"]["vocab"], key=d["model"]["vocab"].get)
    d["model"]["vocab"] = {t: i for i, t in enumerate(names + rest)}
    d["model"].update(unk_token="<unk>", byte_fallback=True, fuse_unk=True)
    d["pre_tokenizer"] = None
    d["added_tokens"] = added(enumerate(names[:3]))
    prepend, replace = {"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
    d["normalizer"] = {"type": "Sequence", "normalizers": [prepend, replace]}
    d["decoder"] = {
        "type": "Sequence",
        "decoders": [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
            {"type": "ByteFallback"},
            {"type": "Fuse"},
            {"type": "Strip", "content": " ", "start": 1, "stop": 0},
        ],
    }
    bos = {"id": "<s>", "ids": [1], "tokens": ["<s>"]}
    single = [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]
    pair = single + [{"Sequence": {"id": "B", "type_id": 1}}]
    d["post_processor"] = {"type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": {"<s>": bos}}
    return d


def byte_level(prefix=False, regex=False):
    return {"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": True, "use_regex": regex}


def split(pattern, behavior="Isolated", invert=False, kind="Regex"):
    return {"type": "Split", "pattern": {kind: pattern}, "behavior": behavior, "invert": invert}


def sequence(*steps):
    return {"type": "Sequence", "pretokenizers": list(steps)}


def metaspace(scheme, cut):
    return {"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": cut}


def variants(byte, spm):
    """(name, base, members that replace the base's; "model" is merged)"""
    n, m = len(byte["model"]["vocab"]), len(spm["model"]["vocab"])
    nfc = {"type": "NFC"}
    cls = [{"SpecialToken": {"id": "<|a|>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "<|b|>", "type_id": 0}}]
    template = {
        "type": "TemplateProcessing",
        "single": cls,
        "pair": cls + [{"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {t: {"id": t, "ids": [i], "tokens": [t]} for t, i in (("<|a|>", n), ("<|b|>", n + 1))},
    }
    tags = added([(n, "<|a|>"), (n + 1, "<|b|>")])
    flags = (
        tags
        + added([(n + 2, "<l>")], lstrip=True)
        + added([(n + 3, "<r>")], rstrip=True)
        + added([(n + 4, "word"), (n + 5, "漢")], single_word=True, special=False)
        + added([(n + 6, "e\u0301t"), (n + 7, "<|a|>x"), (n + 8, "ab"), (n + 9, "abab  ")], normalized=True, special=False)
        + added([(n + 10, "<both>")], lstrip=True, rstrip=True, special=False)
        + added([(n + 11, " "), (n + 12, "<l><r>")], special=False, rstrip=True)
    )
    yield "gpt2", "bytes", {}
    yield "gpt2 with prefix space", "bytes", {"pre_tokenizer": byte_level(True, True)}
    yield "digits", "bytes", {"pre_tokenizer": sequence({"type": "Digits", "individual_digits": True}, byte_level(regex=True))}
    yield "runs of digits", "bytes", {"pre_tokenizer": sequence({"type": "Digits", "individual_digits": False}, byte_level(True, False))}
    yield "llama3", "bytes", {"pre_tokenizer": sequence(split(LLAMA3), byte_level()), "model": {"ignore_merges": True}, "added_tokens": tags, "post_processor": template}
    yield "nfc and flags", "bytes", {"normalizer": nfc, "pre_tokenizer": sequence(split(LLAMA3), byte_level()), "added_tokens": flags}
    yield "no words", "bytes", {"pre_tokenizer": byte_level(), "added_tokens": flags}
    for behavior in ("Isolated", "Removed", "MergedWithPrevious", "MergedWithNext", "Contiguous"):
        for invert in (False, True):
            yield f"{behavior} {invert}", "bytes", {"pre_tokenizer": sequence(split(ODD, behavior, invert), byte_level())}
    yield "empty matches", "bytes", {"pre_tokenizer": sequence(split("x*|(?=e)"), byte_level())}
    yield "literal", "bytes", {"pre_tokenizer": sequence(split("  ", "MergedWithNext", kind="String"), split("e", "Removed", kind="String"), byte_level())}
    yield "ruby", "bytes", {"pre_tokenizer": sequence(split(r"^\h+|\w+$|(?<=a)b|[\S\n]{1,2}+"), byte_level())}
    yield "mistral", "spm", {}
    yield "mistral with flags", "spm", {"added_tokens": spm["added_tokens"] + added([(m, "▁zq"), (m + 1, "then")], normalized=True, special=False)}
    yield "no fallback", "spm", {"model": {"byte_fallback": False}}
    yield "no fallback, no fusing", "spm", {"model": {"byte_fallback": False, "fuse_unk": False}}
    yield "no unk", "spm", {"model": {"byte_fallback": False, "unk_token": None}}
    yield "ignore_merges", "spm", {"model": {"ignore_merges": True}}
    for scheme in ("first", "always", "never"):
        for cut in (False, True):
            meta = metaspace(scheme, cut)
            yield f"metaspace {scheme} {cut}", "spm", {"normalizer": None, "pre_tokenizer": meta, "decoder": meta}
    fuse = {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, {"type": "Fuse"}]}
    yield "gemma", "spm", {"normalizer": spm["normalizer"]["normalizers"][1], "pre_tokenizer": split(" ", "MergedWithPrevious", kind="String"), "decoder": fuse}
    yield "joined", "spm", {"decoder": None}
    for name, pattern in (("qwen3.5", QWEN35), ("o200k", O200K), ("cl100k", CL100K), ("line ends", r"\s+$")):
        yield name, "bytes", {"normalizer": nfc, "pre_tokenizer": sequence(split(pattern), byte_level())}
    first = {**metaspace("first", False), "split": False}
    yield "llama-2 as transformers 5 has it", "spm", {"normalizer": None, "pre_tokenizer": first, "model": {"ignore_merges": False}}


def with_members(base, members):
    out = json.loads(json.dumps(base))
    for key, value in members.items():
        if key == "model":
            out["model"].update(value)
        else:
            out[key] = value
    return out


def cases(tok, r, n_texts, n_bytes, n_ids):
    """Texts with their ids, and ids with their text."""
    specials = [t.content for t in tok.get_added_tokens_decoder().values()]
    encode, decode = [], []
    top = max(tok.get_vocab(with_added_tokens=True).values()) + 1
    for i in range(n_texts + n_bytes):
        text, flags = random_text(r, specials), r.randrange(4)
        case = {"text": text}
        if i >= n_texts:
            raw = bytearray(text.encode()[:60])
            for _ in range(3):
                raw.insert(r.randrange(len(raw) + 1), r.randrange(128, 256))
            case, text = {"hex": raw.hex()}, raw.decode(errors="replace")
        tok.encode_special_tokens = not flags & 1
        ids = tok.encode(text, add_special_tokens=bool(flags & 2)).ids
        encode.append({**case, "flags": flags, "ids": ids})
    tok.encode_special_tokens = False
    for _ in range(n_ids):
        if r.randrange(2):
            ids = tok.encode(random_text(r, specials)[:40]).ids
        else:
            ids = [r.randrange(r.choice((300, top))) for _ in range(r.randrange(1, 12))]
        skip = bool(r.randrange(2))
        decode.append({"ids": ids, "skip": skip, "text": tok.decode(ids, skip_special_tokens=skip)})
    return {"encode": encode, "decode": decode}


def write(name, value):
    path = GOLDEN / name
    path.write_text(json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n")
    print(path.name, path.stat().st_size)


def main():
    byte, spm = byte_base(), spm_base()
    write("tokenizer_bytes.json", byte)
    write("tokenizer_spm.json", spm)
    small = []
    for i, (name, base, members) in enumerate(variants(byte, spm)):
        tok = Tokenizer.from_str(json.dumps(with_members(byte if base == "bytes" else spm, members)))
        small.append({"name": name, "base": base, "members": members, **cases(tok, random.Random(i), 4, 1, 2)})
    write("tokenizer_small.json", small)
    if len(sys.argv) > 2:
        real = []
        for i, name in enumerate(("qwen3", "mistral", "deepseek_v3", "gptoss", "demo")):
            tok = load(sys.argv[2] if name == "demo" else f"{sys.argv[1]}/{name}.json.xz")
            real.append({"name": name, **cases(tok, random.Random(1000 + i), 20, 4, 10)})
        write("tokenizer_real.json", real)


if __name__ == "__main__":
    main()
