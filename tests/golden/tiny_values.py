# SPDX-License-Identifier: Apache-2.0
"""Prints tiny_values.inc: some values of the tiny models of tests/support/tiny.h, by numpy.

    python3 tests/golden/tiny_values.py > tests/golden/tiny_values.inc
"""
import numpy as np

G = np.uint64(0x9E3779B97F4A7C15)


def fnv1a64(name):
    h = 0xCBF29CE484222325
    for b in name.encode():
        h = (h ^ b) * 0x100000001B3 % 2**64
    return h


def values(seed, name, cols, first, n):
    """Elements first .. first+n of a tensor as fp32; see tiny.h for the formula."""
    with np.errstate(over="ignore"):
        x = np.uint64(seed ^ fnv1a64(name)) + np.arange(first, first + n, dtype=np.uint64) * G
        z = x + G
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    u = (z >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-24)
    v = np.float32(2) * u - np.float32(1)
    if name.endswith("norm.weight"):
        return np.float32(1) + np.float32(0.1) * v
    if name == "model.embed_tokens.weight":
        return np.float32(0.5) * v
    if name.endswith(".bias"):
        return np.float32(0.1) * v
    return np.float32(1) / np.sqrt(np.float32(cols)) * v


CASES = [
    ("model.embed_tokens.weight", 64, 1, 0),
    ("model.embed_tokens.weight", 64, 0, 19196),
    ("model.layers.0.self_attn.q_proj.weight", 64, 1, 0),
    ("model.layers.0.self_attn.q_proj.weight", 60, 2**64 - 1, 4092),
    ("model.layers.1.mlp.down_proj.weight", 163, 7, 100),
    ("model.layers.11.self_attn.k_proj.bias", 0, 7, 3),
    ("model.layers.0.input_layernorm.weight", 0, 1, 0),
    ("model.layers.0.self_attn.q_norm.weight", 0, 3, 5),
    ("model.norm.weight", 0, 123456789, 60),
    ("lm_head.weight", 64, 1, 2**33),
]

print("/* Made by tests/golden/tiny_values.py: name, row length, seed, first element, bits. */")
for name, cols, seed, first in CASES:
    bits = values(seed, name, cols, first, 4).view(np.uint32)
    print('{"%s", %d, %du, %du, {%s}},' % (name, cols, seed, first,
                                             ", ".join("0x%08xu" % b for b in bits)))
