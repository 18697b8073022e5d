// SPDX-License-Identifier: Apache-2.0
//
// attn.cuh - the canonical order of attn.h on the device. Prefill and decode differ in who computes
// what, never in the arithmetic of a line (a row and one of its query heads):
//
//   score    sum over d by mma m16n8k16, 16 d at a time in ascending order, from zero; with a soft
//            cap its tanh. In units of which one is a factor 2^c of the weight
//   tile     64 keys: m' = max(m, scores seen); weight = bf16(2^(c * score - c * m')); acc and sum
//            times 2^(c * (m - m')); acc += P V by mma, 16 keys at a time in ascending order. The
//            sum is one more column of V, of ones: the same instruction adds the same numbers in
//            the same order, so that nobody has to agree on an order of lanes
//   split    512 tokens, from m = -inf, sum = 0, acc = 0; sum = 0 means that no key was seen
//   merge    left to right: k_attn_merge
//   end      the sink joins; one reciprocal: k_attn_scale
//
// Keys that a line does not see have weight 0; their values are finite in shared memory (zero, or
// repaired, see attn_prefill.cu), so that they add nothing, and a factor of 1 changes nothing.
#ifndef K_ATTN_CUH
#define K_ATTN_CUH

#include "attn_plan.h"
#include "attn_schedule.h"
#include "ptx.cuh"

enum { K_ATTN_TILE = K_PAGE_TOKENS };
constexpr uint32_t kOnes = 0x3f803f80u; // two bf16

K_DEV float k_neg_inf()
{
    return __int_as_float((int)0xff800000u);
}

K_DEV float k_rcp(float x)
{
    float y;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

// A raw product to a score. cap_in: scale / softcap * 2 * log2(e). tanh|x| = (1 - e) / (1 + e), e =
// exp(-2|x|), within 2^-21.
template <bool kCap> K_DEV float k_attn_score(float s, float cap_in)
{
    if (!kCap) {
        return s;
    }
    const float e = k_exp2(-fabsf(__fmul_rn(s, cap_in)));
    const float t = __fmul_rn(__fadd_rn(1.0f, -e), k_rcp(__fadd_rn(1.0f, e)));
    return copysignf(t, s);
}

// What weights are relative to: c * m, or 0 while no key was seen.
K_DEV float k_attn_base(float m, float c)
{
    return m == k_neg_inf() ? 0.0f : __fmul_rn(m, c);
}

K_DEV float k_attn_weight(float score, float c, float base)
{
    return k_exp2(__fmaf_rn(score, c, -base));
}

// From the maximum before a tile to the one after it; 1 if it did not change.
K_DEV float k_attn_correction(float before, float after, float c)
{
    return before == after ? 1.0f : k_exp2(__fmul_rn(__fadd_rn(before, -after), c));
}

// Factors of run and next, and their maximum. A side that saw no key (sum 0) leaves the other as it
// is.
struct k_attn_factors {
    float run, next, m;
};

K_DEV k_attn_factors k_attn_merge_factors(float run_m, float run_sum, float next_m, float next_sum,
                                          float c)
{
    k_attn_factors f;
    f.m = fmaxf(run_m, next_m);
    f.run = k_exp2(__fmul_rn(__fadd_rn(run_m, -f.m), c));
    f.next = k_exp2(__fmul_rn(__fadd_rn(next_m, -f.m), c));
    if (run_sum == 0.0f) {
        f.run = 0.0f, f.next = 1.0f, f.m = next_m;
    }
    if (next_sum == 0.0f) {
        f.run = 1.0f, f.next = 0.0f, f.m = run_m;
    }
    return f;
}

K_DEV float k_attn_merge(float run, float next, const k_attn_factors &f)
{
    return __fmaf_rn(run, f.run, __fmul_rn(next, f.next));
}

// What acc is multiplied by in the end. sink in the same units as m * c: log2.
K_DEV float k_attn_scale(float m, float sum, float c, bool has_sink, float sink)
{
    if (!has_sink) {
        return k_rcp(sum);
    }
    const float base = __fmul_rn(m, c), most = fmaxf(base, sink);
    const float f = k_exp2(__fadd_rn(base, -most));
    return __fmul_rn(f, k_rcp(__fmaf_rn(sum, f, k_exp2(__fadd_rn(sink, -most)))));
}

constexpr float kLog2e = 1.4426950408889634f;

K_DEV int k_attn_first_key(int pos, int window)
{
    return window > 0 && pos >= window ? pos - window + 1 : 0;
}

// Bytes of the 16 at chunk ch of a row of head_dim elements that hold elements.
K_DEV int k_attn_chunk_bytes(int ch, int head_dim)
{
    return min(max(2 * head_dim - 16 * ch, 0), 16);
}

K_DEV float k_quad_max(float x)
{
    x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, 1));
    return fmaxf(x, __shfl_xor_sync(0xffffffffu, x, 2));
}

K_DEV int k_warp_inclusive(int x, int lane)
{
#pragma unroll
    for (int d = 1; d < 32; d *= 2) {
        const int y = __shfl_up_sync(0xffffffffu, x, d);
        x += lane >= d ? y : 0;
    }
    return x;
}

#endif
