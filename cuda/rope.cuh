// SPDX-License-Identifier: Apache-2.0
//
// rope.cuh - QK-norm and rotation of one head in registers (rope.h), for the kernels of rope.cu and
// for attention kernels that take the queries unrotated: the same bits wherever it is done.
//
// A group of LANES lanes (8, 16 or 32, neighbours) holds a head of up to 8 * LANES elements: lane c
// of the group has elements 8c..8c+7 as one uint4. All 32 lanes of the warp call, each group with a
// head of its own (or with anything, for a result nobody uses):
//
//     const k_rope_angles t = k_rope_load_angles<kAny>(row of cos_sin, c, rot);  // once a token
//     const uint4 w = k_rope_load<kAny>(norm weight, c, dim);                    // once a kernel
//     const uint4 x = k_rope_load<kAny>(head, c, dim);
//     const uint4 y = k_rope_head<LANES, kAny>(x, w, has_norm, t, c, dim, rot, eps);
//
// kAny = false needs dim % 8 == 0, rot % 16 == 0 and heads aligned to 16 bytes: k_rope_is_wide().
// kAny = true takes every shape and is slower; its LANES is 32. Both give the same bits.
//
// The sum of squares is a tree fixed by dim alone: eights of elements in ascending order from zero,
// then neighbouring eights, then pairs of pairs. Eights past the head are zero and change nothing,
// so LANES does not matter.
#ifndef K_ROPE_CUH
#define K_ROPE_CUH

#include "vec8.cuh"

// cos of the lane's eight elements, and sin with the sign that its partner is added with.
struct k_rope_angles {
    float cos[8], sin[8];
};

// Eight elements of a head (or of a norm weight) of dim elements; zero past its end.
template <bool kAny> K_DEV uint4 k_rope_load(const uint16_t *head, int c, int dim)
{
    if constexpr (!kAny) {
        return 8 * c < dim ? k_load16(head + 8 * c) : make_uint4(0, 0, 0, 0);
    } else {
        uint32_t e[8];
#pragma unroll
        for (int i = 0; i < 8; i++) {
            e[i] = 8 * c + i < dim ? head[8 * c + i] : 0u;
        }
        return make_uint4(e[0] | e[1] << 16, e[2] | e[3] << 16, e[4] | e[5] << 16,
                          e[6] | e[7] << 16);
    }
}

// The elements of the eight that lie in a head of dim elements.
K_DEV void k_rope_store_any(uint16_t *head, uint4 v, int c, int dim)
{
    const uint32_t w[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
    for (int i = 0; i < 8; i++) {
        if (8 * c + i < dim) {
            head[8 * c + i] = (uint16_t)(w[i / 2] >> (16 * (i % 2)));
        }
    }
}

// cos_sin: the row of the token's position.
template <bool kAny> K_DEV k_rope_angles k_rope_load_angles(const float *cos_sin, int c, int rot)
{
    k_rope_angles t;
    const int half = rot / 2;
    if constexpr (kAny) {
#pragma unroll
        for (int i = 0; i < 8; i++) {
            const int e = 8 * c + i, at = e < half ? e : e - half;
            const bool in = e < rot;
            const float s = in ? cos_sin[half + at] : 0.0f;
            t.cos[i] = in ? cos_sin[at] : 1.0f;
            t.sin[i] = e < half ? -s : s;
        }
    } else {
        const bool low = 8 * c < half, in = 8 * c < rot;
        const float *from = cos_sin + (low ? 8 * c : 8 * c - half);
#pragma unroll
        for (int i = 0; i < 2; i++) {
            float4 k = make_float4(1.0f, 1.0f, 1.0f, 1.0f), s = make_float4(0, 0, 0, 0);
            if (in) {
                k = reinterpret_cast<const float4 *>(from)[i];
                s = reinterpret_cast<const float4 *>(from + half)[i];
            }
            const float ks[4] = {k.x, k.y, k.z, k.w}, ss[4] = {s.x, s.y, s.z, s.w};
#pragma unroll
            for (int j = 0; j < 4; j++) {
                t.cos[4 * i + j] = ks[j];
                t.sin[4 * i + j] = low ? -ss[j] : ss[j];
            }
        }
    }
    return t;
}

// One bit of a shift towards lower indices; what comes in at the end is never wanted.
template <int BY> K_DEV void k_rope_shift(float v[16], int shift)
{
#pragma unroll
    for (int i = 0; i + BY < 16; i++) {
        v[i] = shift & BY ? v[i + BY] : v[i];
    }
}

// Elements first..first+7 of a head of which lane c of 32 has 8c..8c+7; first is 8c plus the same
// number in all lanes.
K_DEV void k_rope_eight_at(float out[8], const float x[8], int first)
{
    float v[16];
    const int lane = first >> 3, shift = first & 7;
#pragma unroll
    for (int i = 0; i < 8; i++) {
        v[i] = __shfl_sync(0xffffffffu, x[i], lane & 31);
        v[i + 8] = __shfl_sync(0xffffffffu, x[i], (lane + 1) & 31);
    }
    k_rope_shift<4>(v, shift);
    k_rope_shift<2>(v, shift);
    k_rope_shift<1>(v, shift);
#pragma unroll
    for (int i = 0; i < 8; i++) {
        out[i] = v[i];
    }
}

// The elements that those of the lane are paired with; anything for those that are not rotated.
template <int LANES, bool kAny> K_DEV void k_rope_partners(float out[8], uint4 x, int c, int rot)
{
    const int half = rot / 2;
    if constexpr (!kAny) {
        const int from = 8 * c < half ? c + half / 8 : 8 * c < rot ? c - half / 8 : c;
        k_unpack8(out, make_uint4(__shfl_sync(0xffffffffu, x.x, from, LANES),
                                  __shfl_sync(0xffffffffu, x.y, from, LANES),
                                  __shfl_sync(0xffffffffu, x.z, from, LANES),
                                  __shfl_sync(0xffffffffu, x.w, from, LANES)));
    } else {
        float f[8], below[8];
        k_unpack8(f, x);
        k_rope_eight_at(out, f, 8 * c + half);
        k_rope_eight_at(below, f, 8 * c - half);
#pragma unroll
        for (int i = 0; i < 8; i++) {
            out[i] = 8 * c + i < half ? out[i] : below[i];
        }
    }
}

template <int LANES, bool kAny>
K_DEV uint4 k_rope_head(uint4 x, uint4 weight, bool has_norm, const k_rope_angles &t, int c,
                        int dim, int rot, float eps)
{
    static_assert(LANES == 32 || ((LANES == 8 || LANES == 16) && !kAny), "lanes of a head");
    if (__any_sync(0xffffffffu, has_norm)) {
        const float sum = k_group_sum<LANES>(k_add_squares8(0.0f, x));
        x = k_select8(has_norm, k_norm8(x, k_rms_scale(sum, dim, eps), weight), x);
    }
    float f[8], other[8], y[8];
    k_unpack8(f, x);
    k_rope_partners<LANES, kAny>(other, x, c, rot);
#pragma unroll
    for (int i = 0; i < 8; i++) {
        const float turned = __fmaf_rn(f[i], t.cos[i], __fmul_rn(other[i], t.sin[i]));
        y[i] = 8 * c + (kAny ? i : 0) < rot ? turned : f[i];
    }
    return k_pack8(y);
}

#endif
