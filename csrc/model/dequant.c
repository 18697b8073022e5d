/* SPDX-License-Identifier: Apache-2.0
 *
 * dequant.c - blocks of GGUF to fp32, bit for bit as ggml's reference does it: the same operations
 * in the same order, so no multiply-add may be contracted (CMakeLists.txt says so to the compiler).
 *
 * The layouts are those of ggml's block structs; a block is named s, its values y. Halves of a
 * nibble byte j are the values j (low) and j + n/2 (high). Scales are F16, and a scale times a
 * small integer is never an fp32 subnormal, so flush-to-zero modes change nothing here. */
#include "model/tensor.h"

#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "checkpoints are little-endian");

static float from_bits(uint32_t u)
{
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

static uint32_t to_bits(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return u;
}

/* Exact for every half; a NaN becomes quiet and keeps its payload, as the F16C instruction does it.
 * No branches, so that loops over it are vectorised. */
static inline float f16(uint16_t h)
{
    const uint32_t a = h & 0x7fffu;
    const uint32_t normal = (a << 13) + 0x38000000u; /* exponent 15 becomes 127 */
    /* A subnormal is a * 2^-24: put the bits below 0.5 and take 0.5 away. */
    const uint32_t subnormal = to_bits(from_bits(0x3f000000u + a) - 0.5f);
    const uint32_t special = 0x7f800000u | a << 13 | (uint32_t)(a > 0x7c00u) << 22;
    const uint32_t is_sub = 0u - (uint32_t)(a < 0x400u), is_special = 0u - (uint32_t)(a > 0x7bffu);
    const uint32_t u =
        (subnormal & is_sub) | (special & is_special) | (normal & ~(is_sub | is_special));
    return from_bits(u | (uint32_t)(h & 0x8000u) << 16);
}

static inline float scale_at(const uint8_t *s)
{
    uint16_t h;
    memcpy(&h, s, sizeof h);
    return f16(h);
}

static void dequant_f16(const uint8_t *restrict s, float *restrict y, size_t n)
{
    uint16_t h[32]; /* the source has no alignment; a copy of fixed length costs nothing */
    for (; n >= 32; n -= 32, s += 64, y += 32) {
        memcpy(h, s, sizeof h);
        for (int i = 0; i < 32; i++) {
            y[i] = f16(h[i]);
        }
    }
    for (size_t i = 0; i < n; i++) {
        y[i] = scale_at(s + 2 * i);
    }
}

static void dequant_bf16(const uint8_t *restrict s, float *restrict y, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint16_t h;
        memcpy(&h, s + 2 * i, sizeof h);
        y[i] = from_bits((uint32_t)h << 16);
    }
}

/* q4_0: f16 d; nibbles[16].  y = (q - 8) d */
static void dequant_q4_0(const uint8_t *restrict s, float *restrict y, size_t n)
{
    for (size_t b = 0; b < n; b++, s += 18, y += 32) {
        const float d = scale_at(s);
        const uint8_t *qs = s + 2;
        for (int j = 0; j < 16; j++) {
            y[j] = (float)((qs[j] & 15) - 8) * d;
            y[j + 16] = (float)((qs[j] >> 4) - 8) * d;
        }
    }
}

/* q4_1: f16 d, m; nibbles[16].  y = q d + m */
static void dequant_q4_1(const uint8_t *restrict s, float *restrict y, size_t n)
{
    for (size_t b = 0; b < n; b++, s += 20, y += 32) {
        const float d = scale_at(s), m = scale_at(s + 2);
        const uint8_t *qs = s + 4;
        for (int j = 0; j < 16; j++) {
            y[j] = (float)(qs[j] & 15) * d + m;
            y[j + 16] = (float)(qs[j] >> 4) * d + m;
        }
    }
}

/* 16 where bit j of the four bytes at qh is set, else 0. A multiplication copies a byte eight
 * times, a mask leaves bit k in copy k, and adding 127 carries any bit into the top. */
static inline void fifth_bits(const uint8_t *qh, uint8_t high[32])
{
    for (int k = 0; k < 4; k++) {
        uint64_t v = (uint64_t)qh[k] * 0x0101010101010101u & 0x8040201008040201u;
        v = ((v & 0x7f7f7f7f7f7f7f7fu) + 0x7f7f7f7f7f7f7f7fu) | v;
        v = v >> 3 & 0x1010101010101010u;
        memcpy(high + 8 * k, &v, sizeof v);
    }
}

/* q5_0: f16 d; fifth bits[4]; nibbles[16].  y = (q - 16) d */
static void dequant_q5_0(const uint8_t *restrict s, float *restrict y, size_t n)
{
    for (size_t b = 0; b < n; b++, s += 22, y += 32) {
        const float d = scale_at(s);
        const uint8_t *qs = s + 6;
        uint8_t high[32];
        fifth_bits(s + 2, high);
        for (int j = 0; j < 16; j++) {
            y[j] = (float)((qs[j] & 15) + high[j] - 16) * d;
            y[j + 16] = (float)((qs[j] >> 4) + high[j + 16] - 16) * d;
        }
    }
}

/* q5_1: f16 d, m; fifth bits[4]; nibbles[16].  y = q d + m */
static void dequant_q5_1(const uint8_t *restrict s, float *restrict y, size_t n)
{
    for (size_t b = 0; b < n; b++, s += 24, y += 32) {
        const float d = scale_at(s), m = scale_at(s + 2);
        const uint8_t *qs = s + 8;
        uint8_t high[32];
        fifth_bits(s + 4, high);
        for (int j = 0; j < 16; j++) {
            y[j] = (float)((qs[j] & 15) + high[j]) * d + m;
            y[j + 16] = (float)((qs[j] >> 4) + high[j + 16]) * d + m;
        }
    }
}

/* q8_0: f16 d; int8 q[32].  y = q d */
static void dequant_q8_0(const uint8_t *restrict s, float *restrict y, size_t n)
{
    for (size_t b = 0; b < n; b++, s += 34, y += 32) {
        const float d = scale_at(s);
        const uint8_t *qs = s + 2;
        for (int j = 0; j < 32; j++) {
            y[j] = (float)(int8_t)qs[j] * d;
        }
    }
}

/* The eight 6-bit scales and minima that q4_K and q5_K pack into 12 bytes: 0-3 and 4-7 hold the low
 * six bits of the first four; 8-11 the low nibbles of the last four, whose top two bits lie above
 * the first four. */
static inline void k_scales(const uint8_t *s, uint8_t scale[8], uint8_t min[8])
{
    for (int j = 0; j < 4; j++) {
        scale[j] = s[j] & 63;
        min[j] = s[j + 4] & 63;
        scale[j + 4] = (uint8_t)((s[j + 8] & 15) | (s[j] >> 6 << 4));
        min[j + 4] = (uint8_t)((s[j + 8] >> 4) | (s[j + 4] >> 6 << 4));
    }
}

/* q4_K: f16 d, dmin; scales[12]; nibbles[128]. Eight sub-blocks of 32, a pair shares 32 bytes (low
 * nibbles the first).  y = (d scale) q - dmin min */
static void dequant_q4_k(const uint8_t *restrict s, float *restrict y, size_t n)
{
    for (size_t b = 0; b < n; b++, s += 144, y += 256) {
        const float d = scale_at(s), dmin = scale_at(s + 2);
        uint8_t scale[8], min[8];
        k_scales(s + 4, scale, min);
        for (int c = 0; c < 4; c++) {
            const uint8_t *qs = s + 16 + 32 * c;
            const float d0 = d * (float)scale[2 * c], m0 = dmin * (float)min[2 * c];
            const float d1 = d * (float)scale[2 * c + 1], m1 = dmin * (float)min[2 * c + 1];
            float *to = y + 64 * c;
            for (int j = 0; j < 32; j++) {
                to[j] = d0 * (float)(qs[j] & 15) - m0;
                to[j + 32] = d1 * (float)(qs[j] >> 4) - m1;
            }
        }
    }
}

/* q5_K: f16 d, dmin; scales[12]; fifth bits[32]; nibbles[128]. As q4_K; bit i of byte j of the
 * fifth bits belongs to value j of sub-block i. */
static void dequant_q5_k(const uint8_t *restrict s, float *restrict y, size_t n)
{
    for (size_t b = 0; b < n; b++, s += 176, y += 256) {
        const float d = scale_at(s), dmin = scale_at(s + 2);
        const uint8_t *qh = s + 16;
        uint8_t scale[8], min[8];
        k_scales(s + 4, scale, min);
        for (int c = 0; c < 4; c++) {
            const uint8_t *qs = s + 48 + 32 * c;
            const float d0 = d * (float)scale[2 * c], m0 = dmin * (float)min[2 * c];
            const float d1 = d * (float)scale[2 * c + 1], m1 = dmin * (float)min[2 * c + 1];
            float *to = y + 64 * c;
            for (int j = 0; j < 32; j++) {
                const int h = qh[j] >> (2 * c);
                to[j] = d0 * (float)((qs[j] & 15) | (h & 1) << 4) - m0;
                to[j + 32] = d1 * (float)((qs[j] >> 4) | (h & 2) << 3) - m1;
            }
        }
    }
}

/* q6_K: low nibbles[128]; high pairs[64]; int8 scales[16]; f16 d. Two halves of 128 values; in each
 * the quarters of 32 take low nibbles of bytes 0-31, of 32-63, then the high nibbles of both, and
 * bits 0-1, 2-3, 4-5, 6-7 of the 32 high bytes; 16 values share a scale.  y = (d scale) (q - 32) */
static void dequant_q6_k(const uint8_t *restrict s, float *restrict y, size_t n)
{
    for (size_t b = 0; b < n; b++, s += 210, y += 256) {
        const float d = scale_at(s + 208);
        for (int half = 0; half < 2; half++) {
            const uint8_t *ql = s + 64 * half, *qh = s + 128 + 32 * half;
            const uint8_t *sc = s + 192 + 8 * half;
            float *to = y + 128 * half;
            for (int part = 0; part < 2; part++) { /* the values 16 part .. 16 part + 15 */
                const float d0 = d * (float)(int8_t)sc[part], d1 = d * (float)(int8_t)sc[part + 2];
                const float d2 = d * (float)(int8_t)sc[part + 4];
                const float d3 = d * (float)(int8_t)sc[part + 6];
                for (int j = 16 * part; j < 16 * part + 16; j++) {
                    const int a = ql[j], e = ql[j + 32], h = qh[j];
                    to[j] = d0 * (float)(((a & 15) | (h & 3) << 4) - 32);
                    to[j + 32] = d1 * (float)(((e & 15) | (h & 12) << 2) - 32);
                    to[j + 64] = d2 * (float)((a >> 4 | (h & 48)) - 32);
                    to[j + 96] = d3 * (float)((e >> 4 | (h & 192) >> 2) - 32);
                }
            }
        }
    }
}

void oct_dequant(enum oct_dtype t, const void *src, float *dst, size_t n)
{
    const struct oct_dtype_info *info = oct_dtype_info(t);
    OCT_ASSERT(info->used && n % info->block_elems == 0);
    const size_t n_blocks = n / info->block_elems;
    switch (t) {
    case OCT_DTYPE_F32:
        if (n) {
            memcpy(dst, src, n * sizeof *dst);
        }
        return;
    case OCT_DTYPE_F16:
        dequant_f16(src, dst, n);
        return;
    case OCT_DTYPE_BF16:
        dequant_bf16(src, dst, n);
        return;
    case OCT_DTYPE_Q4_0:
        dequant_q4_0(src, dst, n_blocks);
        return;
    case OCT_DTYPE_Q4_1:
        dequant_q4_1(src, dst, n_blocks);
        return;
    case OCT_DTYPE_Q5_0:
        dequant_q5_0(src, dst, n_blocks);
        return;
    case OCT_DTYPE_Q5_1:
        dequant_q5_1(src, dst, n_blocks);
        return;
    case OCT_DTYPE_Q8_0:
        dequant_q8_0(src, dst, n_blocks);
        return;
    case OCT_DTYPE_Q4_K:
        dequant_q4_k(src, dst, n_blocks);
        return;
    case OCT_DTYPE_Q5_K:
        dequant_q5_k(src, dst, n_blocks);
        return;
    case OCT_DTYPE_Q6_K:
        dequant_q6_k(src, dst, n_blocks);
        return;
    default:
        OCT_ASSERT(t == OCT_N_DTYPES); /* a dtype is marked as used and has no reader */
    }
}
