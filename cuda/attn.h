/* SPDX-License-Identifier: Apache-2.0
 *
 * attn.h - contract of causal attention over the paged cache, prefill chunks and decode rows in one
 * call, grouped query heads, optional sliding window.
 *
 * Row t of sequence s = row_seq[t] at position p = positions[t]; head h reads key head g = h*G/H:
 *   keys     j in [max(0, p - window + 1), p]   (window 0: all of [0, p])
 *   out[t, h, :] = sum_j softmax_j(scale * q[t, h] . K[s, j, g]) * V[s, j, g]
 *
 *   q        [T, H, D] dtype, row stride q_stride elements (the query part of qkv rows)
 *   out      [T, H * D] dtype, row stride H * D; not q
 *   kv       the cache; K and V of all visible positions, the row's own included, are written
 *   positions, row_seq  [T] int32. Rows of one sequence stand together, in ascending position.
 *   H a multiple of G.  Slots outside a row's visible keys may hold anything, NaN included, and
 * page table entries whose page holds no visible key may be any number: neither is read into a
 * result.
 *
 * Numerics  the canonical order: keys are walked in tiles of one page (K_PAGE_TOKENS, aligned to
 *           absolute positions) with online softmax in fp32 inside a split of K_ATTN_SPLIT_TOKENS
 *           tokens (aligned to absolute positions, starting from -inf, 0, 0); the running results
 * of the splits are merged left to right. A tile or split without a visible key changes nothing.
 * Hence a row's bits depend on its own keys and position alone: not on the batch, the chunk, the
 * thread count, or whether the row was prefilled or decoded. Cost      prefill 4*H*D FLOP per (row,
 * visible key); decode 2*G*D elements per visible key. Oracle    csrc/cpu/attn.c.   Test:
 * tests/cpu/test_attn.c */
#ifndef K_ATTN_H
#define K_ATTN_H

#include "paging.h"
#include "types.h"

enum { K_ATTN_SPLIT_TOKENS = 1024 };

struct k_attn_args {
    k_ptr out, q, positions, row_seq;
    struct k_paging kv;
    int64_t q_stride;
    int32_t rows, n_heads; /* T, H; G and D are in kv */
    int32_t window;        /* 0: none; else >= 1, the row's own position included */
    float scale;
};
K_STATIC_ASSERT(sizeof(struct k_attn_args) == 104, "same layout in C and CUDA");

#endif
