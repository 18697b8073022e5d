// SPDX-License-Identifier: Apache-2.0
// ops_tensor.c - see tcore.h. GNU vectors of the instruction set's width; every level gives the
// same bits.
#include <stdbool.h>

#include "lanes.h"
#include "tcore.h"

#if defined(__AVX512F__)
enum { W = 16 };
#elif defined(__AVX2__)
enum { W = 8 };
#else
enum { W = 4 };
#endif
#if defined(__x86_64__)
#include <immintrin.h>
#endif

typedef uint32_t vu __attribute__((vector_size(W * 4), aligned(4), may_alias));
typedef int32_t vi __attribute__((vector_size(W * 4), aligned(4), may_alias));
typedef float vf __attribute__((vector_size(W * 4), aligned(4), may_alias));
typedef int16_t vh __attribute__((vector_size(W * 4), aligned(4), may_alias));
typedef uint32_t qu __attribute__((vector_size(16), aligned(4), may_alias));
typedef float qf __attribute__((vector_size(16), aligned(4), may_alias));
typedef int16_t qh __attribute__((vector_size(16), aligned(4), may_alias));
typedef uint16_t quh __attribute__((vector_size(16), aligned(4), may_alias));
typedef uint16_t vuh __attribute__((vector_size(W * 4), aligned(4), may_alias));

#define INLINE static inline __attribute__((always_inline))

// One lane of each quad, in all four.
// clang-format off
#if defined(__AVX512F__)
#define QUAD(v, t) __builtin_shufflevector(v, v, t, t, t, t, 4 + t, 4 + t, 4 + t, 4 + t, \
    8 + t, 8 + t, 8 + t, 8 + t, 12 + t, 12 + t, 12 + t, 12 + t)
#elif defined(__AVX2__)
#define QUAD(v, t) __builtin_shufflevector(v, v, t, t, t, t, 4 + t, 4 + t, 4 + t, 4 + t)
#else
#define QUAD(v, t) __builtin_shufflevector(v, v, t, t, t, t)
#endif
// clang-format on

// Four numbers in every quad of a vector. Written out: gcc spreads a quad through memory.
INLINE vf spread(const uint32_t *p)
{
#if defined(__AVX512F__)
    return (vf)_mm512_broadcast_f32x4(_mm_loadu_ps((const float *)(const void *)p));
#elif defined(__AVX2__)
    __m128 q = _mm_loadu_ps((const float *)(const void *)p);
    return (vf)_mm256_insertf128_ps(_mm256_castps128_ps256(q), q, 1);
#else
    return *(const vf *)(const void *)p;
#endif
}

// Sums of the products of neighbouring 16-bit numbers.
INLINE vi dot2(vi a, vi b)
{
#if defined(__AVX512F__)
    return (vi)_mm512_madd_epi16((__m512i)a, (__m512i)b);
#elif defined(__AVX2__)
    return (vi)_mm256_madd_epi16((__m256i)a, (__m256i)b);
#elif defined(__SSE2__)
    return (vi)_mm_madd_epi16((__m128i)a, (__m128i)b);
#else
    return (a << 16 >> 16) * (b << 16 >> 16) + (a >> 16) * (b >> 16);
#endif
}

// ---- numbers ----

// Steps in a packed word.
INLINE unsigned per_word(enum ptx_type t)
{
    switch ((int)t) {
    case PTX_TF32:
        return 1;
    case PTX_F16:
    case PTX_BF16:
    case PTX_S8:
    case PTX_U8:
        return 2;
    default:
        return 4;
    }
}

// Step `el` of packed words: a float's bits, or two 16-bit integers (bytes 0 and 2, then 1 and 3;
// of half bytes likewise). HALF and E4M3 shift exponent and mantissa into place and let a product
// with a power of two set the exponent's bias: exact, denormals too.
#define ELEMENT(name, u_t, f_t, h_t, uh_t) \
    INLINE u_t name##_half(u_t h) \
    { \
        u_t em = h & 0x7FFF; \
        u_t f = (u_t)((f_t)(em << 13) * 0x1p112f); \
        f |= (u_t)(em >= 0x7C00) & 0x7F800000; \
        return f | (h & 0x8000) << 16; \
    } \
    INLINE u_t name##_e4m3(u_t b) \
    { \
        u_t em = b & 0x7F; \
        u_t f = (u_t)((f_t)(em << 20) * 0x1p120f); \
        f |= (u_t)(em == 0x7F) & 0x7FC00000; \
        return f | (b & 0x80) << 24; \
    } \
    INLINE u_t name(enum ptx_type t, u_t w, int el) \
    { \
        switch ((int)t) { \
        case PTX_TF32: \
            return w & 0xFFFFE000; \
        case PTX_BF16: \
            return w >> 16 * el << 16; \
        case PTX_F16: \
            return name##_half(w >> 16 * el & 0xFFFF); \
        case PTX_E5M2: \
            return name##_half((w >> 8 * el & 0xFF) << 8); \
        case PTX_E4M3: \
            return name##_e4m3(w >> 8 * el & 0xFF); \
        case PTX_S8: \
            return (u_t)((h_t)w << (8 - 8 * el) >> 8); \
        case PTX_U8: \
            return (u_t)((uh_t)w << (8 - 8 * el) >> 8); \
        case PTX_S4: \
            return (u_t)((h_t)w << (12 - 4 * el) >> 12); \
        default: /* PTX_U4 */ \
            return (u_t)((uh_t)w << (12 - 4 * el) >> 12); \
        } \
    }
ELEMENT(element_v, vu, vf, vh, vuh)
ELEMENT(element_q, qu, qf, qh, quh)

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
    case PTX_U8: \
        call(PTX_U8); \
        break; \
    case PTX_TF32: \
        call(PTX_TF32); \
        break; \
    case PTX_E4M3: \
        call(PTX_E4M3); \
        break; \
    case PTX_E5M2: \
        call(PTX_E5M2); \
        break; \
    case PTX_S4: \
        call(PTX_S4); \
        break; \
    default: \
        call(PTX_U4); \
    }

// ---- operands ----

INLINE void a_regs(enum ptx_type t, unsigned n_i, unsigned k, const uint32_t *const reg[],
                   uint32_t *out)
{
    const unsigned per = per_word(t), steps = vg_tc_steps(t, k), groups = steps / (4 * per);
    for (unsigned i = 0; i < n_i; i++) {
        for (unsigned g = 0; g < groups; g++) {
            const uint32_t *r = reg[i + n_i * g];
            for (unsigned el = 0; el < per; el++) {
                uint32_t *o = out + (i * steps + g * 4 * per + el) * 32;
                for (unsigned c = 0; c < 32; c += W) {
                    vu v = element_v(t, *(const vu *)(const void *)(r + c), (int)el);
                    *(vu *)(void *)(o + c) = QUAD(v, 0);
                    *(vu *)(void *)(o + per * 32 + c) = QUAD(v, 1);
                    *(vu *)(void *)(o + per * 64 + c) = QUAD(v, 2);
                    *(vu *)(void *)(o + per * 96 + c) = QUAD(v, 3);
                }
            }
        }
    }
}

static void a_from_regs(enum ptx_type t, unsigned n_i, unsigned k, const uint32_t *const reg[],
                        uint32_t *out){
#define CALL(type) a_regs(type, n_i, k, reg, out)
    BY_TYPE(t, CALL)
#undef CALL
}

// Four words along k of 8 columns, `step` words apart, to quads of columns.
INLINE
    void b_group(enum ptx_type t, unsigned steps, const uint32_t *w, unsigned step, uint32_t *out)
{
    const unsigned per = per_word(t);
    for (unsigned el = 0; el < per; el++) {
        for (unsigned e = 0; e < 2; e++) {
            qu q0 = element_q(t, *(const qu *)(const void *)(w + e * step), (int)el);
            qu q1 = element_q(t, *(const qu *)(const void *)(w + (e + 2) * step), (int)el);
            qu q2 = element_q(t, *(const qu *)(const void *)(w + (e + 4) * step), (int)el);
            qu q3 = element_q(t, *(const qu *)(const void *)(w + (e + 6) * step), (int)el);
            qu a = __builtin_shufflevector(q0, q1, 0, 4, 1, 5);
            qu b = __builtin_shufflevector(q2, q3, 0, 4, 1, 5);
            qu c = __builtin_shufflevector(q0, q1, 2, 6, 3, 7);
            qu d = __builtin_shufflevector(q2, q3, 2, 6, 3, 7);
            uint32_t *o = out + (e * steps + el) * 4;
            *(qu *)(void *)o = __builtin_shufflevector(a, b, 0, 1, 4, 5);
            *(qu *)(void *)(o + per * 4) = __builtin_shufflevector(a, b, 2, 3, 6, 7);
            *(qu *)(void *)(o + per * 8) = __builtin_shufflevector(c, d, 0, 1, 4, 5);
            *(qu *)(void *)(o + per * 12) = __builtin_shufflevector(c, d, 2, 3, 6, 7);
        }
    }
}

INLINE void b_regs(enum ptx_type t, unsigned k, const uint32_t *const reg[], uint32_t *out)
{
    const unsigned per = per_word(t), steps = vg_tc_steps(t, k);
    for (unsigned g = 0; g < steps / (4 * per); g++) {
        b_group(t, steps, reg[g], 4, out + g * per * 16);
    }
}

static void b_from_regs(enum ptx_type t, unsigned k, const uint32_t *const reg[], uint32_t *out){
#define CALL(type) b_regs(type, k, reg, out)
    BY_TYPE(t, CALL)
#undef CALL
}

INLINE void b_rows(enum ptx_type t, unsigned n_j, const uint32_t *row, uint32_t *out)
{
    const unsigned per = per_word(t), steps = 8 * per; // 8 words along k
    for (unsigned j = 0; j < n_j; j++) {
        for (unsigned g = 0; g < 2; g++) {
            b_group(t, steps, row + j * 64 + g * 4, 8, out + j * steps * 8 + g * per * 16);
        }
    }
}

static void b_from_rows(enum ptx_type t, unsigned n_j, const uint32_t *row, uint32_t *out){
#define CALL(type) b_rows(type, n_j, row, out)
    BY_TYPE(t, CALL)
#undef CALL
}

// ---- products ----

// Two vectors of each row of the fragment at a time: eight sums in registers.
#define MULTIPLY(name, sum_t, load_b, plus) \
    INLINE void name##_of(unsigned n_i, unsigned steps, const uint32_t *a, const uint32_t *b, \
                          uint32_t *acc) \
    { \
        const uint32_t *b1 = b + steps * 4; \
        for (unsigned c = 0; c < 32; c += 2 * W) { \
            sum_t s[2][2][2] = {0}; \
            for (unsigned x = 0; x < steps; x++) { \
                sum_t w0 = load_b(b + x * 4), w1 = load_b(b1 + x * 4); \
                for (unsigned i = 0; i < n_i; i++) { \
                    const uint32_t *r = a + (i * steps + x) * 32 + c; \
                    sum_t lo = *(const sum_t *)(const void *)r; \
                    sum_t hi = *(const sum_t *)(const void *)(r + W); \
                    s[i][0][0] += plus(lo, w0); \
                    s[i][0][1] += plus(hi, w0); \
                    s[i][1][0] += plus(lo, w1); \
                    s[i][1][1] += plus(hi, w1); \
                } \
            } \
            for (unsigned i = 0; i < n_i; i++) { \
                for (unsigned e = 0; e < 2; e++) { \
                    *(sum_t *)(void *)(acc + (i * 2 + e) * 32 + c) = s[i][e][0]; \
                    *(sum_t *)(void *)(acc + (i * 2 + e) * 32 + c + W) = s[i][e][1]; \
                } \
            } \
        } \
    } \
    static void name(unsigned n_j, unsigned n_i, unsigned steps, const uint32_t *a, \
                     const uint32_t *b, uint32_t *acc) \
    { \
        for (unsigned j = 0; j < n_j; j++) { \
            if (n_i == 2) { \
                name##_of(2, steps, a, b + j * steps * 8, acc + j * 128); \
            } else { \
                name##_of(1, steps, a, b + j * steps * 8, acc + j * 64); \
            } \
        } \
    }
#define TIMES(x, y) ((x) * (y))
#define SPREAD_INT(p) ((vi)spread(p))
MULTIPLY(multiply_float, vf, spread, TIMES) MULTIPLY(multiply_int, vi, SPREAD_INT, dot2)

// The same for one group of 8 columns, with A as it comes in registers. B: quads in memory, or,
// where 32 lanes are two vectors, its registers.
#if defined(__AVX512F__)
// clang-format off
#define COLUMNS(e, t, lo, hi) __builtin_shufflevector(lo, hi, \
    4 * e + t, 8 + 4 * e + t, 16 + 4 * e + t, 24 + 4 * e + t, \
    4 * e + t, 8 + 4 * e + t, 16 + 4 * e + t, 24 + 4 * e + t, \
    4 * e + t, 8 + 4 * e + t, 16 + 4 * e + t, 24 + 4 * e + t, \
    4 * e + t, 8 + 4 * e + t, 16 + 4 * e + t, 24 + 4 * e + t)
// clang-format on
#define B_ARGUMENT const uint32_t *const breg[]
#define B_GROUP \
    vu vb[4][2]; \
    for (unsigned el = 0; el < per; el++) { \
        vb[el][0] = element_v(tb, *(const vu *)(const void *)breg[g], (int)el); \
        vb[el][1] = element_v(tb, *(const vu *)(const void *)(breg[g] + W), (int)el); \
    }
#define B_STEP(e, t, el) COLUMNS(e, t, vb[el][0], vb[el][1])
#else
#define B_ARGUMENT const uint32_t *b
#define B_GROUP const uint32_t *bg = b + g * 4 * per * 4
#define B_STEP(e, t, el) spread(bg + (e * steps + t * per + el) * 4)
#endif
#define MMA_STEPS(t, sum_t, plus) \
    for (unsigned el = 0; el < per; el++) { \
        sum_t w0 = (sum_t)B_STEP(0, t, el), w1 = (sum_t)B_STEP(1, t, el); \
        for (unsigned i = 0; i < n_i; i++) { \
            sum_t lo = (sum_t)QUAD(va[i][el][0], t), hi = (sum_t)QUAD(va[i][el][1], t); \
            s[i][0][0] += plus(lo, w0); \
            s[i][0][1] += plus(hi, w0); \
            s[i][1][0] += plus(lo, w1); \
            s[i][1][1] += plus(hi, w1); \
        } \
    }
#define MMA(name, sum_t, plus) \
    INLINE void name##_of(enum ptx_type ta, enum ptx_type tb, unsigned n_i, unsigned k, \
                          const uint32_t *const reg[], B_ARGUMENT, uint32_t *acc) \
    { \
        const unsigned per = per_word(ta), steps = vg_tc_steps(ta, k); \
        (void)tb; \
        for (unsigned c = 0; c < 32; c += 2 * W) { \
            sum_t s[2][2][2] = {0}; \
            for (unsigned g = 0; g < steps / (4 * per); g++) { \
                vu va[2][4][2]; \
                for (unsigned i = 0; i < n_i; i++) { \
                    const uint32_t *r = reg[i + n_i * g] + c; \
                    for (unsigned el = 0; el < per; el++) { \
                        va[i][el][0] = element_v(ta, *(const vu *)(const void *)r, (int)el); \
                        va[i][el][1] = element_v(ta, *(const vu *)(const void *)(r + W), (int)el); \
                    } \
                } \
                B_GROUP; \
                MMA_STEPS(0, sum_t, plus) \
                MMA_STEPS(1, sum_t, plus) \
                MMA_STEPS(2, sum_t, plus) \
                MMA_STEPS(3, sum_t, plus) \
            } \
            for (unsigned i = 0; i < n_i; i++) { \
                for (unsigned e = 0; e < 2; e++) { \
                    *(sum_t *)(void *)(acc + (i * 2 + e) * 32 + c) = s[i][e][0]; \
                    *(sum_t *)(void *)(acc + (i * 2 + e) * 32 + c + W) = s[i][e][1]; \
                } \
            } \
        } \
    }
    MMA(mma_float, vf, TIMES) MMA(mma_int, vi, dot2)

#if defined(__AVX512F__)
    // int8 with the instruction for it: the first operand of dpbusd is unsigned, so A has 128
    // added, and 128 * sum(b) is taken off.
    __attribute__((target("avx512vnni"))) static void mma_s8_vnni(const uint32_t *const reg[],
                                                                  const uint32_t *const breg[],
                                                                  uint32_t *acc)
{
    const __m512i flip = _mm512_set1_epi8((char)0x80);
    __m512i s[2][2][2], off[2] = {_mm512_setzero_si512(), _mm512_setzero_si512()};
    memset(s, 0, sizeof(s));
    for (unsigned g = 0; g < 2; g++) {
        __m512i va[2][2];
        vu b0 = *(const vu *)(const void *)breg[g], b1 = *(const vu *)(const void *)(breg[g] + 16);
        for (unsigned i = 0; i < 2; i++) {
            va[i][0] = _mm512_xor_si512(_mm512_loadu_si512(reg[i + 2 * g]), flip);
            va[i][1] = _mm512_xor_si512(_mm512_loadu_si512(reg[i + 2 * g] + 16), flip);
        }
#define STEP(t) \
    { \
        __m512i w0 = (__m512i)COLUMNS(0, t, b0, b1), w1 = (__m512i)COLUMNS(1, t, b0, b1); \
        off[0] = _mm512_dpbusd_epi32(off[0], flip, w0); \
        off[1] = _mm512_dpbusd_epi32(off[1], flip, w1); \
        for (unsigned i = 0; i < 2; i++) { \
            for (unsigned h = 0; h < 2; h++) { \
                __m512i x = _mm512_shuffle_epi32(va[i][h], (_MM_PERM_ENUM)(t * 0x55)); \
                s[i][0][h] = _mm512_dpbusd_epi32(s[i][0][h], x, w0); \
                s[i][1][h] = _mm512_dpbusd_epi32(s[i][1][h], x, w1); \
            } \
        } \
    }
        STEP(0)
        STEP(1)
        STEP(2)
        STEP(3)
#undef STEP
    }
    for (unsigned q = 0; q < 8; q++) {
        unsigned i = q / 4, e = q / 2 % 2, h = q % 2;
        _mm512_storeu_si512(acc + (i * 2 + e) * 32 + h * 16, _mm512_sub_epi32(s[i][e][h], off[e]));
    }
}
#endif

static void mma(enum ptx_type ta, enum ptx_type tb, unsigned n_i, unsigned k,
                const uint32_t *const ra[], const uint32_t *const rb[], uint32_t *acc)
{
    uint32_t b[2 * VG_TC_MAX_STEPS * 4] __attribute__((aligned(64)));
    bool same = ta == tb && n_i == 2;
#if defined(__AVX512F__)
    const uint32_t *const *from = rb;
    if (same && ta == PTX_S8 && k == 32 && __builtin_cpu_supports("avx512vnni")) {
        mma_s8_vnni(ra, rb, acc);
        return;
    }
#else
    const uint32_t *from = b;
    b_from_regs(tb, k, rb, b);
#endif
    if (same && ta == PTX_BF16 && k == 16) {
        mma_float_of(PTX_BF16, PTX_BF16, 2, 16, ra, from, acc);
    } else if (same && ta == PTX_F16 && k == 16) {
        mma_float_of(PTX_F16, PTX_F16, 2, 16, ra, from, acc);
    } else if (same && ta == PTX_S8 && k == 32) {
        mma_int_of(PTX_S8, PTX_S8, 2, 32, ra, from, acc);
    } else {
        uint32_t a[2 * VG_TC_MAX_STEPS * 32] __attribute__((aligned(64)));
        a_from_regs(ta, n_i, k, ra, a);
#if defined(__AVX512F__)
        b_from_regs(tb, k, rb, b);
#endif
        (vg_tc_is_int(ta) ? multiply_int : multiply_float)(1, n_i, vg_tc_steps(ta, k), a, b, acc);
    }
}

// ---- accumulators ----

static void add_f32(uint32_t *d, const uint32_t *c, const uint32_t *acc, bool negate)
{
    const float sign = negate ? -1.0f : 1.0f;
    if (!c) {
        VG_LANES
        {
            d[l] = vg_bits(vg_nan1(vg_float(acc[l]) * sign));
        }
        return;
    }
    VG_LANES
    {
        d[l] = vg_bits(vg_nan1(vg_float(acc[l]) * sign + vg_float(c[l])));
    }
}

static void add_f16(uint32_t *d, const uint32_t *c, const uint32_t *acc, bool negate)
{
    const float sign = negate ? -1.0f : 1.0f;
    if (!c) {
        VG_LANES
        {
            uint32_t lo = vg_f2h(vg_float(acc[l]) * sign),
                     hi = vg_f2h(vg_float(acc[l + 32]) * sign);
            d[l] = lo | hi << 16;
        }
        return;
    }
    VG_LANES
    {
        uint32_t lo = vg_f2h(vg_float(acc[l]) * sign + vg_h2f(c[l] & 0xFFFF));
        uint32_t hi = vg_f2h(vg_float(acc[l + 32]) * sign + vg_h2f(c[l] >> 16));
        d[l] = lo | hi << 16;
    }
}

static void add_s32(uint32_t *d, const uint32_t *c, const uint32_t *acc, bool saturate)
{
    if (!c) {
        memcpy(d, acc, 128);
        return;
    }
    if (!saturate) {
        VG_LANES
        {
            d[l] = acc[l] + c[l];
        }
        return;
    }
    VG_LANES // a sum whose sign differs from both summands' has passed the end
    {
        uint32_t sum = acc[l] + c[l], over = (sum ^ acc[l]) & (sum ^ c[l]);
        d[l] = over >> 31 ? 0x7FFFFFFF + (c[l] >> 31) : sum;
    }
}

extern const struct vg_tensor VG_PASTE(vg_tensor, VG_LEVEL);
const struct vg_tensor VG_PASTE(vg_tensor, VG_LEVEL) = {mma,         a_from_regs,    b_from_regs,
                                                        b_from_rows, multiply_float, multiply_int,
                                                        add_f32,     add_f16,        add_s32};
