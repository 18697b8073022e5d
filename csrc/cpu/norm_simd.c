/* SPDX-License-Identifier: Apache-2.0 */
#include "cpu/norm_simd.h"

#include "cpu/simd_vec.h"

/* Element c goes to partial sum c % LANES whatever the vector is wide, products are not fused, and
 * the partial sums are folded in halves: every instruction set gives the same bits. */
enum { LANES = 16, REGS = LANES / VF };

VF_INLINE vf load(const void *p, int32_t c, bool bf16)
{
    return bf16 ? vf_load_bf16((const uint16_t *)p + c) : vf_load((const float *)p + c);
}

VF_INLINE void store(void *p, int32_t c, vf v, bool bf16)
{
    if (bf16) {
        vf_store_bf16((uint16_t *)p + c, v);
    } else {
        vf_store((float *)p + c, v);
    }
}

VF_INLINE float load_one(const void *p, int32_t c, bool bf16)
{
    return bf16 ? oct_bf16_to_f32(((const uint16_t *)p)[c]) : ((const float *)p)[c];
}

VF_INLINE void store_one(void *p, int32_t c, float v, bool bf16)
{
    if (bf16) {
        ((uint16_t *)p)[c] = oct_f32_to_bf16(v);
    } else {
        ((float *)p)[c] = v;
    }
}

VF_INLINE vf round_to(vf v, bool bf16)
{
    return bf16 ? vf_round_bf16(v) : v;
}

/* Adds `add` to x if there is one; the sum of the squares of what is stored. */
VF_INLINE float sum_of_squares(void *x, const void *add, int32_t dim, bool bf16)
{
    vf acc[REGS];
    VF_UNROLL
    for (int r = 0; r < REGS; r++) {
        acc[r] = vf_set1(0);
    }
    int32_t c = 0;
    for (; c + LANES <= dim; c += LANES) {
        VF_UNROLL
        for (int r = 0; r < REGS; r++) {
            const int32_t at = c + r * VF;
            vf v = load(x, at, bf16);
            if (add) {
                v = round_to(vf_add(v, load(add, at, bf16)), bf16);
                store(x, at, v, bf16);
            }
            acc[r] = vf_add(acc[r], vf_mul(v, v));
        }
    }
    float lane[LANES];
    VF_UNROLL
    for (int r = 0; r < REGS; r++) {
        vf_store(lane + r * VF, acc[r]);
    }
    for (int i = 0; c < dim; c++, i++) {
        if (add) {
            store_one(x, c, load_one(x, c, bf16) + load_one(add, c, bf16), bf16);
        }
        const float v = load_one(x, c, bf16);
        lane[i] += v * v;
    }
    for (int n = LANES / 2; n > 0; n /= 2) {
        for (int i = 0; i < n; i++) {
            lane[i] += lane[i + n];
        }
    }
    return lane[0];
}

VF_INLINE void row(void *out, void *x, const void *add, const void *weight, int32_t dim, float eps,
                   bool bf16)
{
    const float mean = sum_of_squares(x, add, dim, bf16) / (float)dim;
    const float scale = 1.0f / sqrtf(mean + eps);
    int32_t c = 0;
    for (; c + VF <= dim; c += VF) {
        const vf v = round_to(vf_mul(load(x, c, bf16), vf_set1(scale)), bf16);
        store(out, c, vf_mul(v, load(weight, c, bf16)), bf16);
    }
    for (; c < dim; c++) {
        const float v = load_one(x, c, bf16) * scale;
        const float rounded = bf16 ? oct_bf16_to_f32(oct_f32_to_bf16(v)) : v;
        store_one(out, c, rounded * load_one(weight, c, bf16), bf16);
    }
}

void OCT_SIMD(oct_simd_rmsnorm_row)(void *out, void *x, const void *add, const void *weight,
                                    int32_t dim, int32_t dtype, float eps)
{
    if (dtype == K_BF16) {
        row(out, x, add, weight, dim, eps, true);
    } else {
        row(out, x, add, weight, dim, eps, false);
    }
}
