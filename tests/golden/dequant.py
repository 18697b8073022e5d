# SPDX-License-Identifier: Apache-2.0
"""Writes dequant.bin: random blocks of each quantised GGUF type and their values in fp32, computed
by gguf/quants.py of the Python package gguf (0.19), which ggml's authors keep equal to their C.

    python3 tests/golden/dequant.py tests/golden/dequant.bin

The file, for each type: name (8 bytes, NUL padded), u32 blocks, u32 bytes a block, u32 elements a
block, the blocks, the values. The first blocks have scales that betray: zero, minus zero, the
smallest and largest subnormal, the largest half, infinities, NaN."""
import struct
import sys

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize

# Type, byte offsets of its F16 scales.
TYPES = [("Q4_0", [0]), ("Q4_1", [0, 2]), ("Q5_0", [0]), ("Q5_1", [0, 2]), ("Q8_0", [0]),
         ("Q4_K", [0, 2]), ("Q5_K", [0, 2]), ("Q6_K", [208])]
SPECIAL = [0x0000, 0x8000, 0x0001, 0x83FF, 0x0400, 0x7BFF, 0x7C00, 0xFC00, 0x7E00]


def blocks(name, scales, n, rng):
    size = GGML_QUANT_SIZES[GGMLQuantizationType[name]][1]
    data = rng.integers(0, 256, (n, size), dtype=np.uint8)
    for k, at in enumerate(scales):
        for i in range(n):
            bits = SPECIAL[(i + 4 * k) % len(SPECIAL)] if i < len(SPECIAL) else None
            h = (np.array([bits], np.uint16) if bits is not None else
                 rng.normal(0, 0.02, 1).astype(np.float16).view(np.uint16))
            data[i, at:at + 2] = h.view(np.uint8)
    return data


def main():
    rng = np.random.default_rng(20240607)
    with open(sys.argv[1], "wb") as f, np.errstate(all="ignore"):
        for name, scales in TYPES:
            kind = GGMLQuantizationType[name]
            elems, size = GGML_QUANT_SIZES[kind]
            n = 12
            data = blocks(name, scales, n, rng)
            values = dequantize(data, kind).astype("<f4")
            f.write(struct.pack("<8sIII", name.encode(), n, size, elems))
            f.write(data.tobytes())
            f.write(values.tobytes())


if __name__ == "__main__":
    main()
