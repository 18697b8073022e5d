// SPDX-License-Identifier: Apache-2.0
//
// vec8.cuh - eight bf16 elements in 16 bytes, the unit in which the elementwise kernels move and
// compute. Sums and products are spelled with their rounding (__fmaf_rn, ...), so that no compiler
// contracts them one way here and another way there: who includes this gets the same bits.
#ifndef K_VEC8_CUH
#define K_VEC8_CUH

#include "ptx.cuh"

K_DEV void k_unpack8(float f[8], uint4 v)
{
    const uint32_t w[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
    for (int i = 0; i < 4; i++) {
        f[2 * i] = k_bf16_lo(w[i]);
        f[2 * i + 1] = k_bf16_hi(w[i]);
    }
}

// Rounds to nearest even.
K_DEV uint4 k_pack8(const float f[8])
{
    return make_uint4(k_bf16_pair(f[0], f[1]), k_bf16_pair(f[2], f[3]), k_bf16_pair(f[4], f[5]),
                      k_bf16_pair(f[6], f[7]));
}

K_DEV uint4 k_select8(bool first, uint4 a, uint4 b)
{
    return make_uint4(first ? a.x : b.x, first ? a.y : b.y, first ? a.z : b.z, first ? a.w : b.w);
}

// sum + squares of the eight, in ascending order.
K_DEV float k_add_squares8(float sum, uint4 v)
{
    float f[8];
    k_unpack8(f, v);
#pragma unroll
    for (int i = 0; i < 8; i++) {
        sum = __fmaf_rn(f[i], f[i], sum);
    }
    return sum;
}

// The sum over a group of LANES neighbouring lanes, in each of them: neighbours first, then pairs
// of pairs. All lanes of the warp take part.
template <int LANES> K_DEV float k_group_sum(float v)
{
#pragma unroll
    for (int m = 1; m < LANES; m *= 2) {
        v = __fadd_rn(v, __shfl_xor_sync(0xffffffffu, v, m));
    }
    return v;
}

// 1 / sqrt(sum / n + eps), within 4 ulp.
K_DEV float k_rms_scale(float sum, int n, float eps)
{
    float r;
    asm("rsqrt.approx.f32 %0, %1;" : "=f"(r) : "f"(__fadd_rn(__fdividef(sum, (float)n), eps)));
    return r;
}

// store(store(x * scale) * weight): what RMSNorm makes of eight elements.
K_DEV uint4 k_norm8(uint4 x, float scale, uint4 weight)
{
    float f[8], w[8];
    k_unpack8(f, x);
#pragma unroll
    for (int i = 0; i < 8; i++) {
        f[i] = __fmul_rn(f[i], scale);
    }
    k_unpack8(f, k_pack8(f));
    k_unpack8(w, weight);
#pragma unroll
    for (int i = 0; i < 8; i++) {
        f[i] = __fmul_rn(f[i], w[i]);
    }
    return k_pack8(f);
}

#endif
