/* SPDX-License-Identifier: Apache-2.0
 *
 * attn_plan.h - kernels and plans of attention over the paged cache.
 *
 * attn_prefill takes the sequences with at least min_rows rows in this step, attn_decode those with
 * exactly one; both give a row the same bits. attn_decode_rope is rope_attn in one launch, for
 * steps in which no sequence has more than one row. _cap: with a soft cap. */
#ifndef K_ATTN_PLAN_H
#define K_ATTN_PLAN_H

#include "attn.h"
#include "fused.h"
#include "launch.h"

struct k_attn_prefill_args {
    struct k_attn_args a;
    float c;      /* log2 of a weight's factor for a score of 1 */
    float cap_in; /* what a product is multiplied by before the cap */
    int32_t min_rows;
    int32_t pad_;
};
K_STATIC_ASSERT(sizeof(struct k_attn_prefill_args) == 160, "same layout in C and CUDA");

struct k_attn_decode_args {
    struct k_attn_args a;
    k_ptr tickets, partials;
    k_ptr q_norm, k_norm, cos_sin; /* rope.h; a.q is qkv */
    float c, cap_in;
    int32_t max_items; /* places for partial results; with more items a block takes whole units */
    int32_t rot_dim;
    float eps;
    int32_t pad_;
};
K_STATIC_ASSERT(sizeof(struct k_attn_decode_args) == 208, "same layout in C and CUDA");

/* Dynamic shared memory; the kernels assert it. */
enum {
    K_ATTN_PREFILL_SMEM_D64 = 70704,
    K_ATTN_PREFILL_SMEM_D96 = 103472,
    K_ATTN_PREFILL_SMEM_D128 = 136240,
    K_ATTN_PREFILL_SMEM_D256 = 165424,
    K_ATTN_DECODE_SMEM_D64 = 68240,
    K_ATTN_DECODE_SMEM_D96 = 80528,
    K_ATTN_DECODE_SMEM_D128 = 80528,
    K_ATTN_DECODE_SMEM_D256 = 158608,
};

#define K_ATTN_MODULES(X) \
    X(attn_prefill) \
    X(attn_prefill_cap) \
    X(attn_decode) \
    X(attn_decode_cap) \
    X(attn_decode_rope)

#define K_ATTN_SIZES(X, module, name, args) \
    X(module, name##_bf16_d64, args) \
    X(module, name##_bf16_d96, args) \
    X(module, name##_bf16_d128, args) \
    X(module, name##_bf16_d256, args)

#define K_ATTN_KERNELS(X) \
    K_ATTN_SIZES(X, attn_prefill, attn_prefill, struct k_attn_prefill_args) \
    K_ATTN_SIZES(X, attn_prefill_cap, attn_prefill_cap, struct k_attn_prefill_args) \
    K_ATTN_SIZES(X, attn_decode, attn_decode, struct k_attn_decode_args) \
    K_ATTN_SIZES(X, attn_decode_cap, attn_decode_cap, struct k_attn_decode_args) \
    K_ATTN_SIZES(X, attn_decode_rope, attn_decode_rope, struct k_attn_decode_args)

int k_plan_attn(const struct k_facts *f, const struct k_work *w, const struct k_attn_args *a,
                struct k_launch out[K_MAX_LAUNCHES]);
int k_plan_rope_attn(const struct k_facts *f, const struct k_work *w,
                     const struct k_rope_attn_args *a, struct k_launch out[K_MAX_LAUNCHES]);
/* What a step has of one sequence: rows at the last n_rows of n_keys positions. */
struct k_attn_span {
    int32_t n_rows, n_keys;
};
/* Plans know the bounds of a step and say what it costs if every sequence reaches them. For whoever
 * knows its sequences, [a->n_seqs]: sets the costs of the launches that k_plan_attn or
 * k_plan_rope_attn answered for `a` to theirs. */
void k_attn_true_cost(const struct k_attn_args *a, const struct k_attn_span *spans,
                      struct k_launch *launches, int n);

/* Bytes of workspace past the tickets. */
uint64_t k_attn_work_bytes(const struct k_facts *f, const struct k_limits *l);

#endif
