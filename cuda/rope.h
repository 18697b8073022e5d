/* SPDX-License-Identifier: Apache-2.0
 *
 * rope.h - contract of QK-norm + rotary position embedding (Su et al., arXiv:2104.09864) + writing
 * K and V into the paged cache, one pass over the projected rows.
 *
 * For row t of sequence s = row_seq[t] at position p = positions[t], every query and key head x[D]:
 *   if norm weight:  x[d] = store(store(x[d] * rsqrt(mean_d(x^2) + eps)) * norm[d])
 *   i < R/2:         x'[i]       = x[i] * cos[p, i] - x[i + R/2] * sin[p, i]
 *                    x'[i + R/2] = x[i + R/2] * cos[p, i] + x[i] * sin[p, i]     (half-split pairs)
 *   i >= R:          x'[i] = x[i]
 * Queries go back to where they stood; keys and values go to slot p of sequence s in the cache.
 *
 *   qkv        [T, (H + 2G) * D] dtype: query heads, key heads, value heads; row stride qkv_stride
 *              elements, a multiple of K_ROW_ALIGN. The query part is overwritten; the key part is
 *              undefined afterwards
 *   q_norm, k_norm  [D] dtype; 0: no norm
 *   cos_sin    [max_positions, 2, R/2] fp32: cos then sin of each position, scaling included
 *   positions, row_seq  [T] int32, 0 <= p < max_positions
 *   kv         where the cache lies; the slot of every (s, p) here is owned by s alone
 *   R = rot_dim, even, 2 <= R <= D
 *
 * Numerics  fp32 inside, one rounding to dtype at each `store` and at the end; a row's bits depend
 *           on that row alone. On CUDA the squares are summed by a tree fixed by D (rope.cuh).
 * Cost      memory bound: 2 * T * (H + 2G) * D elements, and a row of angles for each token.
 * Kernels   rope.cu: bf16, D up to 256; 16 bytes at a time where k_rope_is_wide(). rope.cuh: one
 *           head, for attention kernels that take the queries unrotated; the same bits.
 * Oracle    csrc/cpu/rope.c.   Test: tests/cpu/test_rope.c, tests/cuda/test_cuda_rope.c */
#ifndef K_ROPE_H
#define K_ROPE_H

#include "paging.h"
#include "types.h"

struct k_rope_kv_args {
    k_ptr qkv, q_norm, k_norm, cos_sin, positions, row_seq;
    struct k_paging kv;
    int64_t qkv_stride;
    int32_t rows, n_heads; /* T, H; G and D are in kv */
    int32_t rot_dim, max_positions;
    float eps;
    int32_t pad_;
};
K_STATIC_ASSERT(sizeof(struct k_rope_kv_args) == 128, "same layout in C and CUDA");

/* Heads can be moved 16 bytes at a time, and pairs lie in whole such pieces. */
K_INLINE int k_rope_is_wide(int32_t head_dim, int32_t rot_dim)
{
    return head_dim % 8 == 0 && rot_dim % 16 == 0;
}

#endif
