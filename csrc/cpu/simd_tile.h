/* SPDX-License-Identifier: Apache-2.0
 *
 * simd_tile.h - the register tile that matrix products and attention are built from, for files
 * compiled by oct_simd() (simd.h).
 *
 *   acc[i][j] += sum over k of a[i, k] * b[k, j]      i < mr <= TILE_ROWS, j < TILE_COLS
 *
 * Every sum starts from the given accumulator and runs over k in ascending order in one register
 * lane. So an element's bits depend on its own row of a, its column of b and k alone: not on mr,
 * nor on how a caller cuts rows and columns. tile_pairs() takes k two by two, as VDPBF16PS adds
 * them.
 *
 * b has rows of b_stride elements, of which TILE_COLS are used. */
#ifndef OCT_CPU_SIMD_TILE_H
#define OCT_CPU_SIMD_TILE_H

#include "cpu/simd_vec.h"

/* Two vectors of columns; as many rows as the registers hold (32 with AVX-512, else 16). */
enum { TILE_COLS = 2 * VF, TILE_ROWS = VF == 16 ? 12 : 6 };

#define TILE_MARK __attribute__((always_inline, unused)) static inline

TILE_MARK void tile_zero(const int mr, vf acc[TILE_ROWS][2])
{
    VF_UNROLL
    for (int i = 0; i < mr; i++) {
        acc[i][0] = vf_set1(0.0f);
        acc[i][1] = vf_set1(0.0f);
    }
}

TILE_MARK void tile_step_(const int mr, const float *a, int64_t a_stride, vf b0, vf b1,
                          vf acc[TILE_ROWS][2])
{
    VF_UNROLL
    for (int i = 0; i < mr; i++) {
        const vf x = vf_set1(a[i * a_stride]);
        acc[i][0] = vf_fma(x, b0, acc[i][0]);
        acc[i][1] = vf_fma(x, b1, acc[i][1]);
    }
}

TILE_MARK void tile_f32(const int mr, int64_t k, const float *a, int64_t a_stride, const float *b,
                        int64_t b_stride, vf acc[TILE_ROWS][2])
{
    for (int64_t kk = 0; kk < k; kk++, b += b_stride) {
        tile_step_(mr, a + kk, a_stride, vf_load(b), vf_load(b + VF), acc);
    }
}

/* b in bf16, widened as it is read. */
TILE_MARK void tile_widen(const int mr, int64_t k, const float *a, int64_t a_stride,
                          const uint16_t *b, int64_t b_stride, vf acc[TILE_ROWS][2])
{
    for (int64_t kk = 0; kk < k; kk++, b += b_stride) {
        tile_step_(mr, a + kk, a_stride, vf_load_bf16(b), vf_load_bf16(b + VF), acc);
    }
}

#if defined(__AVX512F__)
#define TILE_HAS_PAIRS 1
#define TILE_PAIRS_TARGET __attribute__((target("avx512bf16")))

TILE_MARK TILE_PAIRS_TARGET void tile_pair_step_(const int mr, const uint16_t *a, int64_t a_stride,
                                                 const bool half, const uint16_t *b,
                                                 vf acc[TILE_ROWS][2])
{
    const __m512bh b0 = (__m512bh)_mm512_loadu_si512(b);
    const __m512bh b1 = (__m512bh)_mm512_loadu_si512(b + 2 * VF);
    VF_UNROLL
    for (int i = 0; i < mr; i++) {
        int32_t pair;
        if (half) { /* the last of an odd k: what follows it in memory may be a NaN */
            pair = a[i * a_stride];
        } else {
            memcpy(&pair, a + i * a_stride, sizeof pair);
        }
        const __m512bh x = (__m512bh)_mm512_set1_epi32(pair);
        acc[i][0] = _mm512_dpbf16_ps(acc[i][0], x, b0);
        acc[i][1] = _mm512_dpbf16_ps(acc[i][1], x, b1);
    }
}

/* a and b in bf16; b is [(k + 1) / 2][TILE_COLS][2] without gaps, zero where an odd k ends. */
TILE_MARK TILE_PAIRS_TARGET void tile_pairs(const int mr, int64_t k, const uint16_t *a,
                                            int64_t a_stride, const uint16_t *b,
                                            vf acc[TILE_ROWS][2])
{
    for (int64_t kk = 0; kk + 1 < k; kk += 2) {
        tile_pair_step_(mr, a + kk, a_stride, false, b + kk * TILE_COLS, acc);
    }
    if (k % 2) {
        tile_pair_step_(mr, a + k - 1, a_stride, true, b + (k - 1) * TILE_COLS, acc);
    }
}
#else
#define TILE_HAS_PAIRS 0
#endif

/* acc = c * by, each row with a factor of its own. */
TILE_MARK void tile_load_scaled(const int mr, const float *c, int64_t c_stride, const float *by,
                                vf acc[TILE_ROWS][2])
{
    VF_UNROLL
    for (int i = 0; i < mr; i++) {
        const vf x = vf_set1(by[i]);
        acc[i][0] = vf_mul(vf_load(c + i * c_stride), x);
        acc[i][1] = vf_mul(vf_load(c + i * c_stride + VF), x);
    }
}

TILE_MARK void tile_store(const int mr, float *c, int64_t c_stride, vf acc[TILE_ROWS][2])
{
    VF_UNROLL
    for (int i = 0; i < mr; i++) {
        vf_store(c + i * c_stride, acc[i][0]);
        vf_store(c + i * c_stride + VF, acc[i][1]);
    }
}

/* One function for each height of a tile, and a table of them by height: TILE_EACH(X) gives
 * X(1) ... X(TILE_ROWS). Each is a function of its own, and small: gcc 12 spills the accumulators
 * when several are inlined into one. */
#if defined(__AVX512F__)
#define TILE_EACH(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12)
#else
#define TILE_EACH(X) X(1) X(2) X(3) X(4) X(5) X(6)
#endif

#endif
