#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes the golden files of tests/golden with Hugging Face transformers as the reference.

Not run in CI. Run it in a virtual environment with torch, transformers, tokenizers, gguf, numpy and
jinja2 from PyPI, on a CPU (the files say which versions made them):

    scripts/golden.py arch                     random tiny models of every family: logits
    scripts/golden.py rope                     frequencies of every kind of rotary embedding
    scripts/golden.py smollm2 --gguf FILE      the demo model: greedy continuations and logits

`arch` writes arch/<name>.json and arch/<name>.f32 per configuration. The weights are the formula of
tests/support/tiny.h, so that the C tests make the same checkpoint bit for bit. <name>.f32 is
little-endian fp32: first logits[n_positions][n_columns] for the vocabulary entries in "columns",
then logsumexp[n_positions] over the whole vocabulary. tests/support/golden.h reads both.
"""
import argparse
import json
import os
import platform
import sys

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import torch
import transformers

HERE = os.path.dirname(os.path.abspath(__file__))
OUT = os.path.join(HERE, "..", "tests", "golden")
N_POSITIONS, N_COLUMNS = 80, 48


def versions():
    return {
        "torch": torch.__version__.split("+")[0],
        "transformers": transformers.__version__,
        "machine": platform.machine(),
    }


def write_json(name, value):
    path = os.path.join(OUT, name)
    with open(path, "w", encoding="utf-8") as f:
        json.dump(value, f, ensure_ascii=False, separators=(",", ":"))
        f.write("\n")
    print(f"wrote {os.path.relpath(path)}: {os.path.getsize(path)} bytes")


# ---- the formula of tests/support/tiny.h ----

M64 = (1 << 64) - 1


def fnv1a64(name):
    h = 0xCBF29CE484222325
    for b in name.encode():
        h = ((h ^ b) * 0x100000001B3) & M64
    return h


def splitmix64(x):
    z = x + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def tiny_values(seed, name, shape):
    """fp32 array of `shape`; every operation is rounded to fp32 by itself."""
    n = int(np.prod(shape))
    start = np.uint64(seed ^ fnv1a64(name))
    x = start + np.arange(n, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    u = (splitmix64(x) >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-24)
    v = np.float32(2) * u - np.float32(1)
    if name.endswith("norm.weight"):
        v = np.float32(1) + np.float32(0.1) * v
    elif name == "model.embed_tokens.weight":
        v = np.float32(0.5) * v
    elif name.endswith(".bias"):
        v = np.float32(0.1) * v
    else:
        v = (np.float32(1) / np.sqrt(np.float32(shape[-1]))) * v
    assert v.dtype == np.float32
    return v.reshape(shape)


# ---- tiny models ----

BASE = {
    "seed": 1, "n_layers": 3, "dim": 96, "ff_dim": 200, "n_heads": 6, "n_kv_heads": 2,
    "head_dim": 0, "vocab_size": 320, "max_positions": 256, "window": 0, "window_from_layer": 0,
    "tied": False, "attention_bias": False, "mlp_bias": False, "norm_eps": 1e-5, "v5": False,
    "rope": {"kind": "default", "theta": 10000.0},
}  # fmt: skip

YARN = {
    "kind": "yarn", "theta": 10000.0, "factor": 4.0, "beta_fast": 8.0, "beta_slow": 1.0,
    "truncate": True, "original_max_positions": 64,
}  # fmt: skip

CONFIGS = {
    "llama": {"arch": "llama"},
    "llama_llama3": {
        "arch": "llama", "seed": 2, "dim": 120, "head_dim": 32, "n_heads": 5, "n_kv_heads": 1,
        "attention_bias": True, "mlp_bias": True, "tied": True,
        "rope": {"kind": "llama3", "theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0,
                 "high_freq_factor": 4.0, "original_max_positions": 64},
    },
    "llama_yarn": {"arch": "llama", "seed": 3, "n_kv_heads": 3, "v5": True, "rope": YARN},
    "llama_linear": {
        "arch": "llama", "seed": 4, "dim": 72, "n_heads": 3, "n_kv_heads": 3, "tied": True,
        "rope": {"kind": "linear", "theta": 10000.0, "factor": 2.5},
    },
    "qwen2": {
        "arch": "qwen2", "seed": 5, "dim": 112, "n_heads": 7, "n_kv_heads": 7, "ff_dim": 152,
        "norm_eps": 1e-6, "tied": True, "rope": {"kind": "default", "theta": 1000000.0},
    },
    "qwen2_window": {
        "arch": "qwen2", "seed": 6, "n_kv_heads": 1, "window": 16, "window_from_layer": 1,
        "v5": True,
    },
    "qwen3": {
        "arch": "qwen3", "seed": 7, "n_heads": 4, "n_kv_heads": 2, "head_dim": 40, "tied": True,
        "norm_eps": 1e-6, "rope": {"kind": "default", "theta": 1000000.0},
    },
    "qwen3_yarn": {
        "arch": "qwen3", "seed": 8, "n_heads": 3, "n_kv_heads": 1, "head_dim": 18, "v5": True,
        "rope": dict(YARN, truncate=False, beta_fast=32.0, mscale=0.7, mscale_all_dim=0.4),
    },
    "mistral": {"arch": "mistral", "seed": 9, "window": 16},
    "mistral_full": {
        "arch": "mistral", "seed": 10, "head_dim": 20, "n_heads": 8, "n_kv_heads": 4, "v5": True,
    },
}  # fmt: skip


def rope_parameters(rope):
    names = {"kind": "rope_type", "theta": "rope_theta",
             "original_max_positions": "original_max_position_embeddings"}  # fmt: skip
    return {names.get(k, k): v for k, v in rope.items()}


def hf_config(t):
    kwargs = {
        "hidden_size": t["dim"], "intermediate_size": t["ff_dim"],
        "num_hidden_layers": t["n_layers"], "num_attention_heads": t["n_heads"],
        "num_key_value_heads": t["n_kv_heads"], "vocab_size": t["vocab_size"],
        "max_position_embeddings": t["max_positions"], "rms_norm_eps": t["norm_eps"],
        "tie_word_embeddings": t["tied"], "rope_parameters": rope_parameters(t["rope"]),
        "bos_token_id": 0, "eos_token_id": 2, "pad_token_id": None,
        "attn_implementation": "eager",
    }  # fmt: skip
    if t["head_dim"]:
        kwargs["head_dim"] = t["head_dim"]
    if t["arch"] == "llama":
        kwargs |= {"attention_bias": t["attention_bias"], "mlp_bias": t["mlp_bias"]}
        return transformers.LlamaConfig(**kwargs)
    if t["arch"] == "mistral":
        return transformers.MistralConfig(sliding_window=t["window"] or None, **kwargs)
    cls = {"qwen2": transformers.Qwen2Config, "qwen3": transformers.Qwen3Config}[t["arch"]]
    return cls(use_sliding_window=t["window"] > 0, sliding_window=t["window"] or None,
               max_window_layers=t["window_from_layer"], **kwargs)  # fmt: skip


def tiny_model(t, config):
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    done = set()
    for name, p in model.named_parameters():  # a tied head is no parameter of its own
        with torch.no_grad():
            p.copy_(torch.from_numpy(tiny_values(t["seed"], name, tuple(p.shape))))
        done.add(name)
    assert ("lm_head.weight" in done) != t["tied"], "tied as asked for"
    return model.eval()


def arch_golden(name, t):
    config = hf_config(t)
    model = tiny_model(t, config)
    rng = np.random.default_rng(t["seed"])
    ids = rng.integers(0, t["vocab_size"], N_POSITIONS)
    columns = np.sort(rng.choice(t["vocab_size"], N_COLUMNS, replace=False))
    x = torch.from_numpy(ids)[None]
    with torch.no_grad():
        logits = model(x, use_cache=False).logits[0]
        exact = model.double()(x, use_cache=False).logits[0]
    assert logits.dtype == torch.float32 and logits.shape == (N_POSITIONS, t["vocab_size"])
    lse = torch.logsumexp(logits.double(), -1).float().numpy()
    top = torch.topk(logits, 2, -1)
    # A few weights by their bits: the C side checks that it makes the same checkpoint.
    weights = {}
    for n, shape in (("model.embed_tokens.weight", (t["vocab_size"], t["dim"])),
                     ("model.layers.1.mlp.down_proj.weight", (t["dim"], t["ff_dim"])),
                     ("model.layers.2.input_layernorm.weight", (t["dim"],)),
                     ("model.layers.0.self_attn.q_proj.bias", (t["dim"],))):  # fmt: skip
        v = tiny_values(t["seed"], n, shape).reshape(-1)
        weights[n] = {"in": shape[-1], "index": [0, 7, len(v) - 1],
                      "bits": [int(v[i].view(np.uint32)) for i in (0, 7, len(v) - 1)]}  # fmt: skip
    saved = json.loads(config.to_json_string(use_diff=True))
    saved["architectures"] = [type(model).__name__]
    saved["dtype"] = "float32"
    write_json(f"arch/{name}.json", {
        "made_by": "scripts/golden.py arch", "name": name, "versions": versions(),
        "tiny": t, "config": saved,
        "ids": ids.tolist(), "columns": columns.tolist(), "argmax": top.indices[:, 0].tolist(),
        "gap": [round(float(a - b), 6) for a, b in top.values],
        "max_abs_logit": float(logits.abs().max()),
        # how far the reference's own fp32 run is from its fp64 run, over all logits
        "fp32_error": float((logits.double() - exact).abs().max()),
        "weights": weights,
    })  # fmt: skip
    with open(os.path.join(OUT, "arch", f"{name}.f32"), "wb") as f:
        f.write(logits.numpy()[:, columns].astype("<f4").tobytes())
        f.write(lse.astype("<f4").tobytes())


def make_arch(args):
    for name, changes in CONFIGS.items():
        if not args.only or name in args.only:
            arch_golden(name, BASE | changes)


# ---- rotary embedding ----

ROPES = [
    {"kind": "default", "theta": 10000.0, "rot_dim": 64},
    {"kind": "default", "theta": 500000.0, "rot_dim": 128},
    {"kind": "default", "theta": 1000000.0, "rot_dim": 18},
    {"kind": "linear", "theta": 10000.0, "rot_dim": 40, "factor": 2.5},
    {"kind": "llama3", "theta": 500000.0, "rot_dim": 128, "factor": 8.0, "low_freq_factor": 1.0,
     "high_freq_factor": 4.0, "original_max_positions": 8192},
    {"kind": "llama3", "theta": 500000.0, "rot_dim": 64, "factor": 32.0, "low_freq_factor": 1.0,
     "high_freq_factor": 4.0, "original_max_positions": 8192},
    {"kind": "yarn", "theta": 1000000.0, "rot_dim": 128, "factor": 4.0, "beta_fast": 32.0,
     "beta_slow": 1.0, "truncate": True, "original_max_positions": 32768},
    {"kind": "yarn", "theta": 150000.0, "rot_dim": 64, "factor": 32.0, "beta_fast": 32.0,
     "beta_slow": 1.0, "truncate": False, "original_max_positions": 4096},
    {"kind": "yarn", "theta": 10000.0, "rot_dim": 64, "factor": 40.0, "beta_fast": 32.0,
     "beta_slow": 1.0, "truncate": True, "original_max_positions": 4096, "mscale": 0.707,
     "mscale_all_dim": 0.5},
    {"kind": "yarn", "theta": 10000.0, "rot_dim": 32, "factor": 4.0, "beta_fast": 32.0,
     "beta_slow": 1.0, "truncate": True, "original_max_positions": 64, "attention_factor": 1.25},
    # low == high after clamping: the singularity that the reference steps around
    {"kind": "yarn", "theta": 10000.0, "rot_dim": 16, "factor": 2.0, "beta_fast": 64.0,
     "beta_slow": 32.0, "truncate": True, "original_max_positions": 128},
]  # fmt: skip


def make_rope(args):
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

    cases = []
    for r in ROPES:
        params = rope_parameters({k: v for k, v in r.items() if k != "rot_dim"})
        config = transformers.LlamaConfig(hidden_size=r["rot_dim"] * 2, num_attention_heads=2,
                                          max_position_embeddings=131072,
                                          rope_parameters=params)  # fmt: skip
        e = LlamaRotaryEmbedding(config)
        bits = [int(v) for v in e.inv_freq.numpy().view(np.uint32)]
        cases.append({"rope": r, "attention_factor": float(e.attention_scaling),
                      "inv_freq_bits": bits})  # fmt: skip
    write_json("rope.json", {"made_by": "scripts/golden.py rope", "versions": versions(),
                             "cases": cases})  # fmt: skip


# ---- the demo model ----

CHATS = [
    "What is the capital of France?",
    "Write one sentence about the sea.",
    "How many legs does a spider have?",
    "Name three fruits.",
    "Translate \"good morning\" into Spanish.",
    "What is 12 plus 30?",
    "Why is the sky blue?",
    "Give me a short title for a story about a dragon.",
    "Who wrote Romeo and Juliet?",
    "Explain gravity to a child.",
]  # fmt: skip
RAW = [
    "Once upon a time",
    "The capital of Germany is",
    "def fibonacci(n):\n",
    "1, 2, 3, 4, 5,",
]
N_GREEDY, N_TOP = 24, 32


def gguf_tokenizer(reader):
    """The tokenizer of the file as Hugging Face's own library runs it (pre-tokenizer "smollm")."""
    import tokenizers
    from tokenizers import decoders, models, pre_tokenizers

    get = lambda key: reader.fields["tokenizer.ggml." + key].contents()
    assert get("model") == "gpt2" and get("pre") == "smollm"
    tokens, types = get("tokens"), get("token_type")
    merges = [tuple(m.split(" ")) for m in get("merges")]
    tok = tokenizers.Tokenizer(models.BPE({t: i for i, t in enumerate(tokens)}, merges))
    tok.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
    ])  # fmt: skip
    tok.decoder = decoders.ByteLevel()
    tok.add_special_tokens([t for t, kind in zip(tokens, types) if kind == 3])
    return tok, tokens


def gguf_model(reader, dtype):
    from gguf import dequantize

    get = lambda key: reader.fields[key].contents()
    assert get("general.architecture") == "llama"
    n_heads, n_kv = get("llama.attention.head_count"), get("llama.attention.head_count_kv")
    rows = {t.name: t for t in reader.tensors}
    config = transformers.LlamaConfig(
        hidden_size=get("llama.embedding_length"), num_hidden_layers=get("llama.block_count"),
        intermediate_size=get("llama.feed_forward_length"), num_attention_heads=n_heads,
        num_key_value_heads=n_kv, vocab_size=rows["token_embd.weight"].shape[1].item(),
        max_position_embeddings=get("llama.context_length"),
        rms_norm_eps=get("llama.attention.layer_norm_rms_epsilon"),
        rope_parameters={"rope_type": "default", "rope_theta": get("llama.rope.freq_base")},
        tie_word_embeddings="output.weight" not in rows, bos_token_id=1, eos_token_id=2,
        attn_implementation="eager",
    )  # fmt: skip
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    names = {"model.embed_tokens": "token_embd", "model.norm": "output_norm",
             "lm_head": "output"}  # fmt: skip
    parts = {"input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q",
             "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
             "self_attn.o_proj": "attn_output", "post_attention_layernorm": "ffn_norm",
             "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
             "mlp.down_proj": "ffn_down"}  # fmt: skip
    used = set()
    for name, p in model.named_parameters():
        base = name.removesuffix(".weight")
        if base.startswith("model.layers."):
            layer, part = base.removeprefix("model.layers.").split(".", 1)
            gguf_name = f"blk.{layer}.{parts[part]}.weight"
        else:
            part, gguf_name = base, names[base] + ".weight"
        t = rows[gguf_name]
        used.add(gguf_name)
        w = dequantize(t.data, t.tensor_type).reshape(tuple(p.shape)).astype(np.float32)
        if part in ("self_attn.q_proj", "self_attn.k_proj"):  # pairs (2i, 2i+1) back to halves
            heads = n_heads if part == "self_attn.q_proj" else n_kv
            w = w.reshape(heads, -1, 2, w.shape[-1]).swapaxes(1, 2).reshape(w.shape)
        with torch.no_grad():
            p.copy_(torch.from_numpy(np.ascontiguousarray(w)))
    assert used == set(rows), f"tensors left over: {set(rows) - used}"
    return model.to(dtype).eval()


def greedy(model, ids, eos):
    """Greedy continuation with a KV cache: [(id, gap between the two largest logits)]."""
    out, past, x = [], None, torch.tensor([ids])
    for _ in range(N_GREEDY):
        with torch.no_grad():
            r = model(x, past_key_values=past, use_cache=True)
        past = r.past_key_values
        top = torch.topk(r.logits[0, -1].float(), 2)
        out.append((int(top.indices[0]), round(float(top.values[0] - top.values[1]), 4)))
        if out[-1][0] == eos:
            break
        x = torch.tensor([[out[-1][0]]])
    return {"ids": [i for i, _ in out], "gaps": [g for _, g in out]}


def make_smollm2(args):
    import gguf
    import hashlib
    import jinja2
    import jinja2.sandbox

    reader = gguf.GGUFReader(args.gguf)
    tok, tokens = gguf_tokenizer(reader)
    env = jinja2.sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    template = env.from_string(reader.fields["tokenizer.chat_template"].contents())
    eos = reader.fields["tokenizer.ggml.eos_token_id"].contents()
    prompts = [{"text": text, "chat": True, "rendered": template.render(
        messages=[{"role": "user", "content": text}], add_generation_prompt=True,
        bos_token=tokens[1], eos_token=tokens[2])} for text in CHATS]  # fmt: skip
    prompts += [{"text": text, "chat": False, "rendered": text} for text in RAW]
    for p in prompts:
        p["ids"] = tok.encode(p.pop("rendered"), add_special_tokens=False).ids
    logits = {}
    for dtype in (torch.float32, torch.bfloat16):
        model = gguf_model(reader, dtype)
        key = {torch.float32: "fp32", torch.bfloat16: "bf16"}[dtype]
        for p in prompts:
            p[key] = greedy(model, p["ids"], eos)
            print(key, repr(p["text"]), "->", repr(tok.decode(p[key]["ids"])))
        with torch.no_grad():
            logits[key] = model(torch.tensor([prompts[0]["ids"]]), use_cache=False).logits[0].float()
    top = torch.topk(logits["fp32"], N_TOP, -1)
    pick = lambda x: [[round(float(v), 4) for v in row]
                      for row in torch.gather(x, -1, top.indices)]  # fmt: skip
    diff = (logits["fp32"] - logits["bf16"]).abs()
    with open(args.gguf, "rb") as f:
        digest = hashlib.sha256(f.read()).hexdigest()
    write_json("smollm2.json", {
        "made_by": "scripts/golden.py smollm2", "versions": versions(), "sha256": digest,
        "n_greedy": N_GREEDY, "eos": eos, "prompts": prompts,
        "logits": {"prompt": 0, "columns": top.indices.tolist(), "fp32": pick(logits["fp32"]),
                   "bf16": pick(logits["bf16"]),
                   "logsumexp_fp32": [round(v, 4) for v in logits["fp32"].logsumexp(-1).tolist()],
                   "logsumexp_bf16": [round(v, 4) for v in logits["bf16"].logsumexp(-1).tolist()],
                   # between the reference's own two runs, over the whole vocabulary
                   "max_abs_diff": float(diff.max()), "mean_abs_diff": float(diff.mean())},
    })  # fmt: skip


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    sub = p.add_subparsers(dest="what", required=True)
    a = sub.add_parser("arch", help="logits of random tiny models")
    a.add_argument("--only", nargs="*", choices=list(CONFIGS), help="some configurations")
    a.set_defaults(run=make_arch)
    sub.add_parser("rope", help="rotary frequencies").set_defaults(run=make_rope)
    s = sub.add_parser("smollm2", help="the demo model")
    s.add_argument("--gguf", required=True, help="SmolLM2-135M-Instruct.Q4_1.gguf")
    s.set_defaults(run=make_smollm2)
    args = p.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(2)
    os.makedirs(os.path.join(OUT, "arch"), exist_ok=True)
    args.run(args)


if __name__ == "__main__":
    sys.exit(main())
