/* SPDX-License-Identifier: Apache-2.0
 *
 * fused.h - contracts of pairs of ops that a backend may run as one launch. Each is defined by its
 * two halves, run one after the other: the results have the same bits; only what lies between them
 * need not be written.
 *
 * gemm_silu   the product of a gate/up weight, then SiLU times up (gemm.h, act.h):
 *   gemm      its weight was made with matrix_desc.gate_up; no residual; out is scratch: undefined
 *             afterwards
 *   act       its `in` is gemm.out, its dim gemm.n / 2
 *
 * rope_attn   rotary positions and the cache's new keys and values, then attention (rope.h,
 * attn.h): rope, attn  the same rows, cache and layer. The qkv rows are undefined afterwards; the
 * cache is written as rope.h says
 *
 * Oracle  csrc/cpu/fused.c.   Test: the tests of the halves, and tests/cuda for one against both.
 */
#ifndef K_FUSED_H
#define K_FUSED_H

#include "act.h"
#include "attn.h"
#include "gemm.h"
#include "rope.h"

struct k_gemm_silu_args {
    struct k_gemm_args gemm;
    struct k_silu_mul_args act;
};

struct k_rope_attn_args {
    struct k_rope_kv_args rope;
    struct k_attn_args attn;
};

#endif
