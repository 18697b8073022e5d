// SPDX-License-Identifier: Apache-2.0
// tcore.c - see tcore.h. One body in GNU vectors, compiled for three instruction sets; the CPU
// chooses.
#include "tcore.h"

#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#define VG_X86 1
#else
#define VG_X86 0
#endif

// ---- numbers ----

static uint32_t bits_of(float f)
{
    uint32_t u;
    memcpy(&u, &f, 4);
    return u;
}

static float float_of(uint32_t u)
{
    float f;
    memcpy(&f, &u, 4);
    return f;
}

float vg_bf16_to_float(uint16_t h)
{
    return float_of((uint32_t)h << 16);
}

uint16_t vg_float_to_bf16(float f)
{
    uint32_t u = bits_of(f);
    if ((u & 0x7FFFFFFF) > 0x7F800000) {
        return 0x7FFF; // the canonical NaN of cvt
    }
    return (uint16_t)((u + 0x7FFF + (u >> 16 & 1)) >> 16);
}

float vg_half_to_float(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, e = h >> 10 & 31, m = h & 0x3FF;
    if (e == 31) {
        return float_of(sign | 0x7F800000 | m << 13);
    }
    if (e == 0) {
        float f = (float)m * 0x1p-24f;
        return sign ? -f : f;
    }
    return float_of(sign | (e + 112) << 23 | m << 13);
}

uint16_t vg_float_to_half(float f)
{
    uint32_t u = bits_of(f), sign = u >> 16 & 0x8000;
    u &= 0x7FFFFFFF;
    if (u > 0x7F800000) {
        return 0x7FFF;
    }
    if (u >= 0x477FF000) { // 65520 and more round to infinity
        return (uint16_t)(sign | 0x7C00);
    }
    if (u < 0x38800000) { // below 2^-14: denormal, the float add rounds to a multiple of 2^-24
        float d = float_of(u) + 0.5f;
        return (uint16_t)(sign | (bits_of(d) - 0x3F000000));
    }
    uint32_t r = u + 0xFFF + (u >> 13 & 1);
    return (uint16_t)(sign | ((r - 0x38000000) >> 13));
}

float vg_e4m3_to_float(uint8_t b)
{
    unsigned e = b >> 3 & 15, m = b & 7;
    float f;
    if (e == 15 && m == 7) {
        return float_of(0x7FC00000);
    }
    f = e == 0 ? (float)m * 0x1p-9f : float_of((e + 120) << 23 | m << 20);
    return b & 0x80 ? -f : f;
}

float vg_e5m2_to_float(uint8_t b)
{
    return vg_half_to_float((uint16_t)(b << 8));
}

static inline __attribute__((always_inline)) unsigned per_word(enum ptx_type t)
{
    switch ((int)t) {
    case PTX_TF32:
    case PTX_F32:
        return 1;
    case PTX_F16:
    case PTX_BF16:
        return 2;
    case PTX_S8:
    case PTX_U8:
    case PTX_E4M3:
    case PTX_E5M2:
        return 4;
    case PTX_S4:
    case PTX_U4:
        return 8;
    default:
        return 0;
    }
}

unsigned vg_tc_per_reg(enum ptx_type t)
{
    return per_word(t);
}

static inline __attribute__((always_inline)) float element(enum ptx_type t, uint32_t word,
                                                           unsigned i)
{
    switch ((int)t) {
    case PTX_TF32:
    case PTX_F32:
        return float_of(word & 0xFFFFE000); // the low 13 bits are not looked at
    case PTX_F16:
        return vg_half_to_float((uint16_t)(word >> (16 * i)));
    case PTX_BF16:
        return float_of(i ? word & 0xFFFF0000 : word << 16);
    case PTX_S8:
        return (float)(int8_t)(word >> (8 * i));
    case PTX_U8:
        return (float)(uint8_t)(word >> (8 * i));
    case PTX_E4M3:
        return vg_e4m3_to_float((uint8_t)(word >> (8 * i)));
    case PTX_E5M2:
        return vg_e5m2_to_float((uint8_t)(word >> (8 * i)));
    case PTX_S4:
        return (float)((int32_t)(word << (28 - 4 * i)) >> 28);
    case PTX_U4:
        return (float)(word >> (4 * i) & 15);
    default:
        return 0;
    }
}

float vg_tc_element(enum ptx_type t, uint32_t word, unsigned i)
{
    return element(t, word, i);
}

// The type is a constant in each call, so that the element's switch folds away.
#define BY_TYPE(t, call) \
    switch ((int)(t)) { \
    case PTX_BF16: \
        call(PTX_BF16); \
        break; \
    case PTX_F16: \
        call(PTX_F16); \
        break; \
    case PTX_S8: \
        call(PTX_S8); \
        break; \
    case PTX_TF32: \
        call(PTX_TF32); \
        break; \
    default: \
        call(t); \
    }

static inline __attribute__((always_inline)) void
a_from_regs(enum ptx_type t, unsigned n_i, unsigned k, const uint32_t *const reg[], float *out)
{
    unsigned per = per_word(t), group = 4 * per;
    for (unsigned i = 0; i < n_i; i++) {
        for (unsigned x = 0; x < k; x++) {
            const uint32_t *r = reg[i + n_i * (x / group)];
            unsigned lane = x % group / per, el = x % per;
            float *o = out + (i * k + x) * 32;
            for (unsigned g = 0; g < 8; g++) {
                float f = element(t, r[4 * g + lane], el);
                o[4 * g] = o[4 * g + 1] = o[4 * g + 2] = o[4 * g + 3] = f;
            }
        }
    }
}

void vg_tc_a_from_regs(enum ptx_type t, unsigned n_i, unsigned k, const uint32_t *const reg[],
                       float *out)
{
#define CALL(type) a_from_regs(type, n_i, k, reg, out)
    BY_TYPE(t, CALL)
#undef CALL
}

static inline __attribute__((always_inline)) void
b_from_regs(enum ptx_type t, unsigned k, const uint32_t *const reg[], float *out)
{
    unsigned per = per_word(t), group = 4 * per;
    for (unsigned x = 0; x < k; x++) {
        const uint32_t *r = reg[x / group];
        unsigned lane = x % group / per, el = x % per;
        for (unsigned n = 0; n < 8; n++) {
            out[((n & 1) * k + x) * 4 + n / 2] = element(t, r[4 * n + lane], el);
        }
    }
}

void vg_tc_b_from_regs(enum ptx_type t, unsigned k, const uint32_t *const reg[], float *out)
{
#define CALL(type) b_from_regs(type, k, reg, out)
    BY_TYPE(t, CALL)
#undef CALL
}

void vg_tc_to_floats(enum ptx_type t, unsigned k, const uint32_t *word, float *out, unsigned step)
{
#define CALL(type) \
    for (unsigned x = 0; x < k; x++) { \
        out[x * step] = element(type, word[x / per_word(type)], x % per_word(type)); \
    }
    BY_TYPE(t, CALL)
#undef CALL
}

void vg_tc_a_words(unsigned n_i, unsigned k, const uint32_t *const reg[], uint32_t *out)
{
    for (unsigned i = 0; i < n_i; i++) {
        for (unsigned q = 0; q < k / 4; q++) {
            const uint32_t *r = reg[i + n_i * (q / 4)];
            uint32_t *o = out + (i * (k / 4) + q) * 32;
            for (unsigned g = 0; g < 8; g++) {
                uint32_t v = r[4 * g + q % 4];
                o[4 * g] = o[4 * g + 1] = o[4 * g + 2] = o[4 * g + 3] = v;
            }
        }
    }
}

void vg_tc_b_words(unsigned k, const uint32_t *const reg[], uint32_t *out)
{
    for (unsigned q = 0; q < k / 4; q++) {
        const uint32_t *r = reg[q / 4];
        for (unsigned n = 0; n < 8; n++) {
            out[((n & 1) * (k / 4) + q) * 4 + n / 2] = r[4 * n + q % 4];
        }
    }
}

// ---- the product ----

typedef float v4 __attribute__((vector_size(16), aligned(4)));
typedef float v16 __attribute__((vector_size(64), aligned(4)));

#define SPREAD(q) __builtin_shufflevector(q, q, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3)

static inline __attribute__((always_inline)) void
multiply(unsigned n_j, unsigned n_i, unsigned k, const float *a, const float *b, float *acc)
{
    for (unsigned j = 0; j < n_j; j++) {
        for (unsigned i = 0; i < n_i; i++) {
            const float *ai = a + (uint64_t)i * k * 32;
            const float *b0 = b + (uint64_t)j * 2 * k * 4, *b1 = b0 + (uint64_t)k * 4;
            v16 s00 = {0}, s01 = {0}, s10 = {0}, s11 = {0};
            for (unsigned x = 0; x < k; x++) {
                v16 lo = *(const v16 *)(const void *)(ai + x * 32);
                v16 hi = *(const v16 *)(const void *)(ai + x * 32 + 16);
                v4 q0 = *(const v4 *)(const void *)(b0 + x * 4);
                v4 q1 = *(const v4 *)(const void *)(b1 + x * 4);
                v16 w0 = SPREAD(q0), w1 = SPREAD(q1);
                s00 += lo * w0;
                s01 += hi * w0;
                s10 += lo * w1;
                s11 += hi * w1;
            }
            float *o = acc + (uint64_t)(j * n_i + i) * 64;
            *(v16 *)(void *)o = s00;
            *(v16 *)(void *)(o + 16) = s01;
            *(v16 *)(void *)(o + 32) = s10;
            *(v16 *)(void *)(o + 48) = s11;
        }
    }
}

static void multiply_base(unsigned n_j, unsigned n_i, unsigned k, const float *a, const float *b,
                          float *acc)
{
    multiply(n_j, n_i, k, a, b, acc);
}

#if VG_X86
__attribute__((target("avx2,fma"))) static void
multiply_avx2(unsigned n_j, unsigned n_i, unsigned k, const float *a, const float *b, float *acc)
{
    multiply(n_j, n_i, k, a, b, acc);
}

#define VG_512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")))

// Written out: gcc spreads a quad through memory.
VG_512 static void multiply_512(unsigned n_j, unsigned n_i, unsigned k, const float *a,
                                const float *b, float *acc)
{
    for (unsigned j = 0; j < n_j; j++) {
        const float *b0 = b + (uint64_t)j * 2 * k * 4, *b1 = b0 + (uint64_t)k * 4;
        for (unsigned i = 0; i < n_i; i++) {
            const float *ai = a + (uint64_t)i * k * 32;
            __m512 s00 = _mm512_setzero_ps(), s01 = s00, s10 = s00, s11 = s00;
            for (unsigned x = 0; x < k; x++) {
                __m512 lo = _mm512_loadu_ps(ai + x * 32), hi = _mm512_loadu_ps(ai + x * 32 + 16);
                __m512 w0 = _mm512_broadcast_f32x4(_mm_loadu_ps(b0 + x * 4));
                __m512 w1 = _mm512_broadcast_f32x4(_mm_loadu_ps(b1 + x * 4));
                s00 = _mm512_add_ps(s00, _mm512_mul_ps(lo, w0));
                s01 = _mm512_add_ps(s01, _mm512_mul_ps(hi, w0));
                s10 = _mm512_add_ps(s10, _mm512_mul_ps(lo, w1));
                s11 = _mm512_add_ps(s11, _mm512_mul_ps(hi, w1));
            }
            float *o = acc + (uint64_t)(j * n_i + i) * 64;
            _mm512_storeu_ps(o, s00);
            _mm512_storeu_ps(o + 16, s01);
            _mm512_storeu_ps(o + 32, s10);
            _mm512_storeu_ps(o + 48, s11);
        }
    }
}

// Four int8 products and their sum per 32-bit lane. vpdpbusd wants its first operand unsigned and
// its second signed: a signed A gets 128 added and 128 * sum(b) taken off; an unsigned B loses 128,
// and 128 * sum(a) is put back.
VG_512 static void dot_512(unsigned n_j, unsigned n_i, unsigned k, bool a_signed, bool b_signed,
                           const uint32_t *a, const uint32_t *b, int32_t *acc)
{
    const unsigned nk = k / 4;
    const __m512i flip = _mm512_set1_epi8((char)0x80), ones = _mm512_set1_epi8(1);
    const __m512i fa = a_signed ? flip : _mm512_setzero_si512();
    const __m512i fb = b_signed ? _mm512_setzero_si512() : flip;
    for (unsigned j = 0; j < n_j; j++) {
        for (unsigned i = 0; i < n_i; i++) {
            const uint32_t *ai = a + (uint64_t)i * nk * 32;
            const uint32_t *b0 = b + (uint64_t)j * 2 * nk * 4, *b1 = b0 + (uint64_t)nk * 4;
            __m512i s00 = _mm512_setzero_si512(), s01 = s00, s10 = s00, s11 = s00;
            __m512i sa0 = s00, sa1 = s00, sb0 = s00, sb1 = s00;
            for (unsigned x = 0; x < nk; x++) {
                __m512i lo = _mm512_xor_si512(_mm512_loadu_si512(ai + x * 32), fa);
                __m512i hi = _mm512_xor_si512(_mm512_loadu_si512(ai + x * 32 + 16), fa);
                __m512i w0 = _mm512_xor_si512(
                    _mm512_broadcast_i32x4(_mm_loadu_si128((const void *)(b0 + x * 4))), fb);
                __m512i w1 = _mm512_xor_si512(
                    _mm512_broadcast_i32x4(_mm_loadu_si128((const void *)(b1 + x * 4))), fb);
                s00 = _mm512_dpbusd_epi32(s00, lo, w0);
                s01 = _mm512_dpbusd_epi32(s01, hi, w0);
                s10 = _mm512_dpbusd_epi32(s10, lo, w1);
                s11 = _mm512_dpbusd_epi32(s11, hi, w1);
                if (a_signed) {
                    sb0 = _mm512_dpbusd_epi32(sb0, ones, w0);
                    sb1 = _mm512_dpbusd_epi32(sb1, ones, w1);
                }
                if (!b_signed) {
                    sa0 = _mm512_dpbusd_epi32(sa0, lo, ones);
                    sa1 = _mm512_dpbusd_epi32(sa1, hi, ones);
                }
            }
            // (a' - 128 [a signed]) * (b' + 128 [b unsigned]), both corrections on the primed sums:
            // the product of the two constants is added once per element.
            __m512i ca0 = _mm512_slli_epi32(sa0, 7), ca1 = _mm512_slli_epi32(sa1, 7);
            __m512i cb0 = _mm512_slli_epi32(sb0, 7), cb1 = _mm512_slli_epi32(sb1, 7);
            __m512i both = _mm512_set1_epi32(a_signed && !b_signed ? -16384 * (int)k : 0);
            int32_t *o = acc + (uint64_t)(j * n_i + i) * 64;
            s00 = _mm512_add_epi32(_mm512_sub_epi32(_mm512_add_epi32(s00, ca0), cb0), both);
            s01 = _mm512_add_epi32(_mm512_sub_epi32(_mm512_add_epi32(s01, ca1), cb0), both);
            s10 = _mm512_add_epi32(_mm512_sub_epi32(_mm512_add_epi32(s10, ca0), cb1), both);
            s11 = _mm512_add_epi32(_mm512_sub_epi32(_mm512_add_epi32(s11, ca1), cb1), both);
            _mm512_storeu_si512(o, s00);
            _mm512_storeu_si512(o + 16, s01);
            _mm512_storeu_si512(o + 32, s10);
            _mm512_storeu_si512(o + 48, s11);
        }
    }
}
#endif

static int level = -1; // 0 base, 1 AVX2, 2 AVX-512 with VNNI

__attribute__((constructor)) static void choose(void)
{
#if VG_X86
    __builtin_cpu_init();
    level = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                    __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
                    __builtin_cpu_supports("avx512vnni")
                ? 2
            : __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? 1
                                                                              : 0;
#else
    level = 0;
#endif
}

bool vg_tc_have_dot(void)
{
    return level == 2;
}

void vg_tc_multiply(unsigned n_j, unsigned n_i, unsigned k, const float *a, const float *b,
                    float *acc)
{
#if VG_X86
    if (level == 2) {
        multiply_512(n_j, n_i, k, a, b, acc);
        return;
    }
    if (level == 1) {
        multiply_avx2(n_j, n_i, k, a, b, acc);
        return;
    }
#endif
    multiply_base(n_j, n_i, k, a, b, acc);
}

void vg_tc_dot(unsigned n_j, unsigned n_i, unsigned k, bool a_signed, bool b_signed,
               const uint32_t *a, const uint32_t *b, int32_t *acc)
{
#if VG_X86
    dot_512(n_j, n_i, k, a_signed, b_signed, a, b, acc);
#else
    (void)n_j, (void)n_i, (void)k, (void)a_signed, (void)b_signed, (void)a, (void)b, (void)acc;
#endif
}
