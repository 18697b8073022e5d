/* SPDX-License-Identifier: Apache-2.0
 *
 * ops.h - the list of ops: name, argument struct. Both backends take the same struct. To add an op:
 * write its contract header, its function in csrc/cpu/, and one line here. */
#ifndef K_OPS_H
#define K_OPS_H

#include "act.h"
#include "attn.h"
#include "embed.h"
#include "fused.h"
#include "gemm.h"
#include "kv_copy.h"
#include "norm.h"
#include "rope.h"
#include "sample.h"

#define K_OPS(X) \
    X(embed, struct k_embed_args) \
    X(rmsnorm, struct k_rmsnorm_args) \
    X(gemm, struct k_gemm_args) \
    X(rope_kv, struct k_rope_kv_args) \
    X(attn, struct k_attn_args) \
    X(silu_mul, struct k_silu_mul_args) \
    X(gemm_silu, struct k_gemm_silu_args) \
    X(rope_attn, struct k_rope_attn_args) \
    X(kv_copy, struct k_kv_copy_args) \
    X(sample, struct k_sample_args)

enum k_op {
#define K_OP_ENUM(name, args) K_OP_##name,
    K_OPS(K_OP_ENUM)
#undef K_OP_ENUM
        K_N_OPS
};

#endif
