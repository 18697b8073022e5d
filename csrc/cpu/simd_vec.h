/* SPDX-License-Identifier: Apache-2.0
 *
 * simd_vec.h - a vector of fp32 as wide as the machine, for files compiled by oct_simd() (simd.h).
 *
 * vf holds VF floats: 16 with AVX-512, 8 with AVX2 + FMA, else 4 of the compiler's own vectors.
 * Loads and stores need no alignment. vf_fma() rounds once where the machine can, and is a product
 * and a sum elsewhere; it is written out so that one machine does the same in every loop. */
#ifndef OCT_CPU_SIMD_VEC_H
#define OCT_CPU_SIMD_VEC_H

#include "cpu/cpu_ops.h"

#include <math.h>

#define VF_INLINE static inline __attribute__((always_inline, unused))

/* For an array that is written before it is read: the build fills locals with zeroes otherwise,
 * which counts where a product of a few microseconds has a tile on the stack. */
#define VF_UNSET __attribute__((uninitialized))

/* Full unrolling of a short loop over registers. */
#if defined(__clang__)
#define VF_UNROLL _Pragma("clang loop unroll(full)")
#else
#define VF_UNROLL _Pragma("GCC unroll 16")
#endif

#if defined(__AVX512F__)
#include <immintrin.h>
typedef __m512 vf;
enum { VF = 16 };
VF_INLINE vf vf_set1(float x)
{
    return _mm512_set1_ps(x);
}
VF_INLINE vf vf_load(const float *p)
{
    return _mm512_loadu_ps(p);
}
VF_INLINE void vf_store(float *p, vf x)
{
    _mm512_storeu_ps(p, x);
}
VF_INLINE vf vf_add(vf a, vf b)
{
    return _mm512_add_ps(a, b);
}
VF_INLINE vf vf_sub(vf a, vf b)
{
    return _mm512_sub_ps(a, b);
}
VF_INLINE vf vf_mul(vf a, vf b)
{
    return _mm512_mul_ps(a, b);
}
VF_INLINE vf vf_div(vf a, vf b)
{
    return _mm512_div_ps(a, b);
}
VF_INLINE vf vf_fma(vf a, vf b, vf c)
{
    return _mm512_fmadd_ps(a, b, c);
}
VF_INLINE vf vf_max(vf a, vf b)
{
    return _mm512_max_ps(a, b);
}
VF_INLINE vf vf_load_bf16(const uint16_t *p)
{
    const __m512i u = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)p));
    return _mm512_castsi512_ps(_mm512_slli_epi32(u, 16));
}
VF_INLINE void vf_store_bf16(uint16_t *p, vf x)
{
    const __m512i u = _mm512_castps_si512(x), high = _mm512_srli_epi32(u, 16);
    const __m512i odd = _mm512_and_si512(high, _mm512_set1_epi32(1));
    const __m512i sum = _mm512_add_epi32(u, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
    const __m512i quiet = _mm512_or_si512(high, _mm512_set1_epi32(0x40));
    const __mmask16 nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
    const __m512i r = _mm512_mask_mov_epi32(_mm512_srli_epi32(sum, 16), nan, quiet);
    _mm256_storeu_si256((__m256i *)p, _mm512_cvtepi32_epi16(r));
}
/* x as bf16 would hold it; a NaN stays as it is. */
VF_INLINE vf vf_round_bf16(vf x)
{
    const __m512i u = _mm512_castps_si512(x);
    const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(u, 16), _mm512_set1_epi32(1));
    const __m512i sum = _mm512_add_epi32(u, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
    const __mmask16 number = _mm512_cmp_ps_mask(x, x, _CMP_ORD_Q);
    const __m512i high = _mm512_set1_epi32(-0x10000);
    return _mm512_castsi512_ps(_mm512_mask_and_epi32(u, number, sum, high));
}
/* Lanes lo <= i < hi of a, `other` elsewhere; any lo and hi. */
VF_INLINE vf vf_keep(vf a, int lo, int hi, vf other)
{
    const __m512i i = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    const __mmask16 in = _mm512_cmpge_epi32_mask(i, _mm512_set1_epi32(lo)) &
                         _mm512_cmplt_epi32_mask(i, _mm512_set1_epi32(hi));
    return _mm512_mask_mov_ps(other, in, a);
}
/* a where x >= y, else 0; a where x or y is a NaN. */
VF_INLINE vf vf_zero_if_less(vf a, vf x, vf y)
{
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x, y, _CMP_NLT_UQ), a);
}
/* x rounded to an integer, and 2 to that power (|x| < 127). */
VF_INLINE vf vf_round_pow2(vf x, vf *pow2)
{
    const __m512i n = _mm512_cvtps_epi32(x);
    *pow2 = _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_add_epi32(n, _mm512_set1_epi32(127)), 23));
    return _mm512_cvtepi32_ps(n);
}

#elif defined(__AVX2__) && defined(__FMA__)
#include <immintrin.h>
typedef __m256 vf;
enum { VF = 8 };
VF_INLINE vf vf_set1(float x)
{
    return _mm256_set1_ps(x);
}
VF_INLINE vf vf_load(const float *p)
{
    return _mm256_loadu_ps(p);
}
VF_INLINE void vf_store(float *p, vf x)
{
    _mm256_storeu_ps(p, x);
}
VF_INLINE vf vf_add(vf a, vf b)
{
    return _mm256_add_ps(a, b);
}
VF_INLINE vf vf_sub(vf a, vf b)
{
    return _mm256_sub_ps(a, b);
}
VF_INLINE vf vf_mul(vf a, vf b)
{
    return _mm256_mul_ps(a, b);
}
VF_INLINE vf vf_div(vf a, vf b)
{
    return _mm256_div_ps(a, b);
}
VF_INLINE vf vf_fma(vf a, vf b, vf c)
{
    return _mm256_fmadd_ps(a, b, c);
}
VF_INLINE vf vf_max(vf a, vf b)
{
    return _mm256_max_ps(a, b);
}
VF_INLINE vf vf_load_bf16(const uint16_t *p)
{
    const __m256i u = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)p));
    return _mm256_castsi256_ps(_mm256_slli_epi32(u, 16));
}
VF_INLINE void vf_store_bf16(uint16_t *p, vf x)
{
    const __m256i u = _mm256_castps_si256(x), high = _mm256_srli_epi32(u, 16);
    const __m256i odd = _mm256_and_si256(high, _mm256_set1_epi32(1));
    const __m256i sum = _mm256_add_epi32(u, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
    const __m256i quiet = _mm256_or_si256(high, _mm256_set1_epi32(0x40));
    const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q));
    const __m256i r = _mm256_blendv_epi8(_mm256_srli_epi32(sum, 16), quiet, nan);
    const __m256i packed = _mm256_permute4x64_epi64(_mm256_packus_epi32(r, r), 0x08);
    _mm_storeu_si128((__m128i *)p, _mm256_castsi256_si128(packed));
}
VF_INLINE vf vf_round_bf16(vf x)
{
    const __m256i u = _mm256_castps_si256(x);
    const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(u, 16), _mm256_set1_epi32(1));
    const __m256i sum = _mm256_add_epi32(u, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
    const __m256i high = _mm256_and_si256(sum, _mm256_set1_epi32(-0x10000));
    return _mm256_blendv_ps(_mm256_castsi256_ps(high), x, _mm256_cmp_ps(x, x, _CMP_UNORD_Q));
}
VF_INLINE vf vf_keep(vf a, int lo, int hi, vf other)
{
    const __m256i i = _mm256_set_epi32(7, 6, 5, 4, 3, 2, 1, 0);
    const __m256i out = _mm256_or_si256(_mm256_cmpgt_epi32(_mm256_set1_epi32(lo), i),
                                        _mm256_cmpgt_epi32(i, _mm256_set1_epi32(hi - 1)));
    return _mm256_blendv_ps(a, other, _mm256_castsi256_ps(out));
}
VF_INLINE vf vf_zero_if_less(vf a, vf x, vf y)
{
    return _mm256_and_ps(_mm256_cmp_ps(x, y, _CMP_NLT_UQ), a);
}
VF_INLINE vf vf_round_pow2(vf x, vf *pow2)
{
    const __m256i n = _mm256_cvtps_epi32(x);
    *pow2 = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(n, _mm256_set1_epi32(127)), 23));
    return _mm256_cvtepi32_ps(n);
}

#else
typedef float vf __attribute__((vector_size(16)));
typedef int32_t vf_int_ __attribute__((vector_size(16)));
typedef uint32_t vf_uint_ __attribute__((vector_size(16)));
enum { VF = 4 };
VF_INLINE vf vf_set1(float x)
{
    return (vf){x, x, x, x};
}
VF_INLINE vf vf_load(const float *p)
{
    vf x;
    memcpy(&x, p, sizeof x);
    return x;
}
VF_INLINE void vf_store(float *p, vf x)
{
    memcpy(p, &x, sizeof x);
}
VF_INLINE vf vf_add(vf a, vf b)
{
    return a + b;
}
VF_INLINE vf vf_sub(vf a, vf b)
{
    return a - b;
}
VF_INLINE vf vf_mul(vf a, vf b)
{
    return a * b;
}
VF_INLINE vf vf_div(vf a, vf b)
{
    return a / b;
}
VF_INLINE vf vf_fma(vf a, vf b, vf c)
{
    return a * b + c;
}
VF_INLINE vf vf_select_(vf_int_ mask, vf a, vf b)
{
    return (vf)(((vf_int_)a & mask) | ((vf_int_)b & ~mask));
}
VF_INLINE vf vf_max(vf a, vf b) /* b if either is a NaN, as x86 has it */
{
    return vf_select_(a > b, a, b);
}
VF_INLINE vf vf_load_bf16(const uint16_t *p)
{
    return (vf){oct_bf16_to_f32(p[0]), oct_bf16_to_f32(p[1]), oct_bf16_to_f32(p[2]),
                oct_bf16_to_f32(p[3])};
}
VF_INLINE void vf_store_bf16(uint16_t *p, vf x)
{
    for (int i = 0; i < VF; i++) {
        p[i] = oct_f32_to_bf16(x[i]);
    }
}
VF_INLINE vf vf_round_bf16(vf x)
{
    const vf_uint_ u = (vf_uint_)x;
    const vf_uint_ sum = (u + ((u >> 16) & 1u) + 0x7fffu) & 0xffff0000u;
    return vf_select_(x == x, (vf)sum, x);
}
VF_INLINE vf vf_keep(vf a, int lo, int hi, vf other)
{
    const vf_int_ i = {0, 1, 2, 3};
    return vf_select_((i >= lo) & (i < hi), a, other);
}
VF_INLINE vf vf_zero_if_less(vf a, vf x, vf y)
{
    return (vf)((vf_int_)a & ~(x < y));
}
VF_INLINE vf vf_round_pow2(vf x, vf *pow2)
{
    /* Adding 1.5 * 2^23 leaves no bit below one: the sum is rounded to nearest even. A NaN stays
     * one, its power is of no use. */
    const vf big = vf_set1(12582912.0f);
    const vf n = (x + big) - big;
    const vf_uint_ bits = (vf_uint_)(x + big) - (vf_uint_)big; /* the integer itself */
    *pow2 = (vf)((bits + 127) << 23);
    return n;
}
#endif

/* Sum and maximum over the lanes, halves upon halves: v[i] with v[i + VF/2], and so on down. */
#if defined(__AVX2__) && defined(__FMA__)
VF_INLINE __m256 vf_half_sum_(vf x)
{
#if defined(__AVX512F__)
    return _mm256_add_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1));
#else
    return x;
#endif
}
VF_INLINE __m256 vf_half_max_(vf x)
{
#if defined(__AVX512F__)
    return _mm256_max_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1));
#else
    return x;
#endif
}
VF_INLINE float vf_sum(vf x)
{
    const __m256 h = vf_half_sum_(x);
    __m128 v = _mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
    v = _mm_add_ps(v, _mm_movehl_ps(v, v));
    return _mm_cvtss_f32(_mm_add_ss(v, _mm_shuffle_ps(v, v, 1)));
}
VF_INLINE float vf_max_lane(vf x)
{
    const __m256 h = vf_half_max_(x);
    __m128 v = _mm_max_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
    v = _mm_max_ps(v, _mm_movehl_ps(v, v));
    return _mm_cvtss_f32(_mm_max_ss(v, _mm_shuffle_ps(v, v, 1)));
}
#else
VF_INLINE float vf_sum(vf x)
{
    return (x[0] + x[2]) + (x[1] + x[3]);
}
VF_INLINE float vf_max_lane(vf x)
{
    const float even = x[0] > x[2] ? x[0] : x[2], odd = x[1] > x[3] ? x[1] : x[3];
    return even > odd ? even : odd;
}
#endif

/* VF words of 32 bits, whatever they hold. */
VF_INLINE vf vf_load_raw(const void *p)
{
    vf x;
    memcpy(&x, p, sizeof x);
    return x;
}

/* Rows of `dtype` to fp32 and back (rounded to nearest even). */
VF_INLINE void vf_load_row(float *dst, const void *src, int64_t n, int32_t dtype)
{
    if (dtype == K_F32) {
        memcpy(dst, src, (size_t)n * sizeof(float));
        return;
    }
    const uint16_t *from = src;
    int64_t i = 0;
    for (; i + VF <= n; i += VF) {
        vf_store(dst + i, vf_load_bf16(from + i));
    }
    for (; i < n; i++) {
        dst[i] = oct_bf16_to_f32(from[i]);
    }
}
VF_INLINE void vf_store_row(void *dst, const float *src, int64_t n, int32_t dtype)
{
    if (dtype == K_F32) {
        memcpy(dst, src, (size_t)n * sizeof(float));
        return;
    }
    uint16_t *to = dst;
    int64_t i = 0;
    for (; i + VF <= n; i += VF) {
        vf_store_bf16(to + i, vf_load(src + i));
    }
    for (; i < n; i++) {
        to[i] = oct_f32_to_bf16(src[i]);
    }
}

/* exp(x) for x <= 0 (up to 88), within 2 ulp; 0 below -87.3 (-inf too), NaN for NaN.
 * exp(x) = 2^n * exp(r), n = round(x / ln 2), |r| <= ln 2 / 2; ln 2 in two parts so that r is
 * exact. The polynomial is exp's Taylor series to r^7: the rest is r^8/8! < 6e-9, a tenth ulp. */
VF_INLINE vf vf_exp(vf x)
{
    const vf lowest = vf_set1(-87.3f);
    const vf y = vf_max(lowest, x); /* lowest first: a NaN in x comes through */
    vf pow2;
    const vf n = vf_round_pow2(vf_mul(y, vf_set1(1.44269504088896341f)), &pow2);
    vf r = vf_fma(n, vf_set1(-0.693359375f), y);
    r = vf_fma(n, vf_set1(2.12194440e-4f), r);
    vf p = vf_set1(1.98412698412698e-4f);
    p = vf_fma(p, r, vf_set1(1.38888888888889e-3f));
    p = vf_fma(p, r, vf_set1(8.33333333333333e-3f));
    p = vf_fma(p, r, vf_set1(4.16666666666667e-2f));
    p = vf_fma(p, r, vf_set1(1.66666666666667e-1f));
    p = vf_fma(p, r, vf_set1(0.5f));
    p = vf_fma(p, r, vf_set1(1.0f));
    p = vf_fma(p, r, vf_set1(1.0f));
    return vf_zero_if_less(vf_mul(p, pow2), x, lowest);
}

#endif
