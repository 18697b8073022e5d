/* SPDX-License-Identifier: Apache-2.0 */
#include "cpu/rope_simd.h"

#include "cpu/simd_vec.h"

static float sum_of_squares(const float *x, int32_t dim)
{
    vf sum = vf_set1(0.0f);
    int32_t i = 0;
    for (; i + VF <= dim; i += VF) {
        const vf v = vf_load(x + i);
        sum = vf_fma(v, v, sum);
    }
    float rest = 0.0f;
    for (; i < dim; i++) {
        rest += x[i] * x[i];
    }
    return vf_sum(sum) + rest;
}

static void norm_head(float *x, const void *weight, int32_t dim, int32_t dtype, float eps)
{
    const float by = 1.0f / sqrtf(sum_of_squares(x, dim) / (float)dim + eps);
    for (int32_t i = 0; i < dim; i++) {
        const float w = dtype == K_BF16 ? oct_bf16_to_f32(((const uint16_t *)weight)[i])
                                        : ((const float *)weight)[i];
        x[i] = oct_round_to(oct_round_to(x[i] * by, dtype) * w, dtype);
    }
}

static void rotate(float *x, const float *cos_sin, int32_t half)
{
    int32_t i = 0;
    for (; i + VF <= half; i += VF) {
        const vf c = vf_load(cos_sin + i), s = vf_load(cos_sin + half + i);
        const vf a = vf_load(x + i), b = vf_load(x + half + i);
        vf_store(x + i, vf_sub(vf_mul(a, c), vf_mul(b, s)));
        vf_store(x + half + i, vf_add(vf_mul(b, c), vf_mul(a, s)));
    }
    for (; i < half; i++) {
        const float c = cos_sin[i], s = cos_sin[half + i], a = x[i], b = x[half + i];
        x[i] = a * c - b * s;
        x[half + i] = b * c + a * s;
    }
}

void OCT_SIMD(oct_simd_rope_head)(void *dst, const void *src, const void *norm,
                                  const float *cos_sin, int32_t dim, int32_t rot, int32_t dtype,
                                  float eps, float *x)
{
    vf_load_row(x, src, dim, dtype);
    if (norm) {
        norm_head(x, norm, dim, dtype, eps);
    }
    rotate(x, cos_sin, rot / 2);
    vf_store_row(dst, x, dim, dtype);
}
