/* SPDX-License-Identifier: Apache-2.0 */
#include "cpu/act_simd.h"

#include "cpu/simd_vec.h"

/* x / (1 + exp(-x)) with an exponent that cannot overflow: for x < 0 the fraction is multiplied by
 * exp(x). One of the two terms of the numerator is zero. */
VF_INLINE vf silu(vf x)
{
    const vf zero = vf_set1(0);
    const vf minus = vf_sub(zero, x);
    const vf e = vf_exp(vf_sub(zero, vf_max(x, minus))); /* exp(-|x|) */
    const vf positive = vf_max(zero, x), negative = vf_sub(zero, vf_max(zero, minus));
    return vf_div(vf_fma(negative, e, positive), vf_add(vf_set1(1), e));
}

VF_INLINE void mul_bf16(uint16_t *out, const uint16_t *gate, const uint16_t *up)
{
    const vf s = vf_round_bf16(silu(vf_load_bf16(gate)));
    vf_store_bf16(out, vf_mul(s, vf_load_bf16(up)));
}

void OCT_SIMD(oct_simd_silu_mul_bf16)(uint16_t *out, const uint16_t *gate, const uint16_t *up,
                                      int32_t n)
{
    int32_t i = 0;
    for (; i + VF <= n; i += VF) {
        mul_bf16(out + i, gate + i, up + i);
    }
    if (i < n) {
        uint16_t g[VF] = {0}, u[VF] = {0}, o[VF];
        memcpy(g, gate + i, (size_t)(n - i) * sizeof *g);
        memcpy(u, up + i, (size_t)(n - i) * sizeof *u);
        mul_bf16(o, g, u);
        memcpy(out + i, o, (size_t)(n - i) * sizeof *o);
    }
}

void OCT_SIMD(oct_simd_silu_mul_f32)(float *out, const float *gate, const float *up, int32_t n)
{
    int32_t i = 0;
    for (; i + VF <= n; i += VF) {
        vf_store(out + i, vf_mul(silu(vf_load(gate + i)), vf_load(up + i)));
    }
    if (i < n) {
        float g[VF] = {0}, u[VF] = {0}, o[VF];
        memcpy(g, gate + i, (size_t)(n - i) * sizeof *g);
        memcpy(u, up + i, (size_t)(n - i) * sizeof *u);
        vf_store(o, vf_mul(silu(vf_load(g)), vf_load(u)));
        memcpy(out + i, o, (size_t)(n - i) * sizeof *o);
    }
}
