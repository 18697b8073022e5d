/* SPDX-License-Identifier: Apache-2.0
 *
 * embed.h - contract of the embedding lookup.
 *
 *   out[t, c] = table[ids[t], c]
 *
 *   ids     [T] int32, each in 0..vocab-1 (the engine checks requests; the op trusts)
 *   table   [vocab, dim] dtype
 *   out     [T, dim] dtype, row stride dim
 *   T >= 1, dim >= 1; bases aligned to 16 bytes where dim allows
 *
 * Numerics  a copy: exact.
 * Cost      memory bound: 2 * T * dim elements.
 * Kernels   embed.cu: bf16, any dim; 16 bytes at a time where dim is a multiple of 8.
 * Oracle    csrc/cpu/embed.c.   Test: tests/cpu/test_embed.c, tests/cuda/test_cuda_embed.c */
#ifndef K_EMBED_H
#define K_EMBED_H

#include "types.h"

struct k_embed_args {
    k_ptr out, ids, table;
    int32_t rows, dim; /* rows: T */
    int32_t dtype;
    int32_t vocab;
};
K_STATIC_ASSERT(sizeof(struct k_embed_args) == 40, "same layout in C and CUDA");

#endif
