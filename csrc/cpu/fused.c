/* SPDX-License-Identifier: Apache-2.0
 *
 * fused.c - pairs of ops, one half after the other. */
#include "cpu/cpu_ops.h"

oct_status oct_cpu_gemm_silu(struct oct_cpu *d, const struct k_gemm_silu_args *a)
{
    OCT_TRY(oct_cpu_gemm(d, &a->gemm));
    return oct_cpu_silu_mul(d, &a->act);
}

oct_status oct_cpu_rope_attn(struct oct_cpu *d, const struct k_rope_attn_args *a)
{
    OCT_TRY(oct_cpu_rope_kv(d, &a->rope));
    return oct_cpu_attn(d, &a->attn);
}
