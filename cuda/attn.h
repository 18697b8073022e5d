/* SPDX-License-Identifier: Apache-2.0
 *
 * attn.h - contract of causal attention over the paged cache, prefill chunks and decode rows in one
 * call, grouped query heads, optional sliding window, soft cap and sinks.
 *
 * Row t of sequence s = row_seq[t] at position p = positions[t]; head h reads key head g = h*G/H:
 *   keys     j in [max(0, p - window + 1), p]   (window 0: all of [0, p])
 *   z_j      = scale * q[t, h] . K[s, j, g];  if softcap > 0: softcap * tanh(z_j / softcap)
 *   w_j      = exp(z_j) / (sum_i exp(z_i) + (sinks ? exp(sinks[h]) : 0))
 *   out[t, h, :] = sum_j w_j * V[s, j, g]
 *
 *   q        [T, H, D] dtype, row stride q_stride elements (the query part of qkv rows)
 *   out      [T, H * D] dtype, row stride out_stride; not q. Both strides multiples of K_ROW_ALIGN
 *   kv       the cache; K and V of all visible positions, the row's own included, are written
 *   positions, row_seq  [T] int32. Rows of one sequence stand together, in ascending position.
 *   seqs     [n_seqs] struct k_seq: which rows are whose. A sequence without rows is skipped: no
 *            row of `out` is written for it.
 *   sinks    [H] fp32; 0: none
 *   rows, max_rows, max_keys   bounds known to the host: rows of all sequences together, T; rows of
 *            one sequence; position + 1 of any row
 *   H a multiple of G, scale > 0.
 *   Slots outside a row's visible keys may hold anything, NaN included, and page table entries
 *   whose page holds no visible key may be any number: neither is read into a result.
 *
 * Numerics  the canonical order: keys are walked in tiles of one page (K_PAGE_TOKENS, aligned to
 *           absolute positions) with online softmax in fp32 inside a split of K_ATTN_SPLIT_TOKENS
 *           tokens (aligned to absolute positions, starting from -inf, 0, 0); the running results
 *           of the splits are merged left to right. A tile or split without a visible key changes
 *           nothing. The sink joins the sum last. Hence a row's bits depend on its own keys and
 *           position alone: not on the batch, the chunk, the thread count, or whether the row was
 *           prefilled or decoded. On CUDA weights are rounded to bf16 before they meet V, in the
 *           sum as in the product (attn.cuh).
 * Cost      prefill 4*H*D FLOP per (row, visible key); decode 2*G*D elements per visible key.
 * Kernels   attn_prefill.cuh, attn_decode.cuh: bf16, D up to 256.
 * Oracle    csrc/cpu/attn.c.   Test: tests/cpu/test_attn.c, tests/cuda/test_cuda_attn.c */
#ifndef K_ATTN_H
#define K_ATTN_H

#include "paging.h"
#include "types.h"

enum { K_ATTN_SPLIT_TOKENS = 512 };

/* The rows of a sequence in a step. */
struct k_seq {
    int32_t row, n_rows; /* first of them, how many; 0: none (a place of a padded batch) */
};

struct k_attn_args {
    k_ptr out, q, positions, row_seq, seqs, sinks;
    struct k_paging kv;
    int64_t q_stride, out_stride;
    int32_t rows, n_heads; /* T, H; G and D are in kv */
    int32_t n_seqs, max_rows, max_keys;
    int32_t window; /* 0: none; else >= 1, the row's own position included */
    float scale;
    float softcap; /* 0: none */
};
K_STATIC_ASSERT(sizeof(struct k_attn_args) == 144, "same layout in C and CUDA");

#endif
