// SPDX-License-Identifier: Apache-2.0
// f16 and bf16 arithmetic, single and packed. Sums and products are rounded once: f32 (or double,
// rounded to odd) holds more than twice the bits.
#include "lanes.h"

// clang-format off
static inline float pre_h(float x, unsigned fl) // .ftz of f16
{
    return (fl & VG_F_FTZ) && fabsf(x) < 0x1p-14f ? copysignf(0.0f, x) : x;
}
static inline float post(float x, unsigned fl)
{
    float sat = x > 0 ? (x < 1 ? x : 1.0f) : 0.0f;
    float relu = x < 0 ? 0.0f : x;
    x = fl & VG_F_SAT ? sat : x;
    return fl & VG_F_RELU ? relu : x;
}
static inline uint32_t out_h(float x, unsigned fl)
{
    return vg_f2h(pre_h(post(x, fl), fl));
}
static inline uint32_t out_b(float x, unsigned fl)
{
    return vg_f2b(post(x, fl));
}
#define IN_H(x) pre_h(vg_h2f((x) & 0xffff), fl)
#define IN_B(x) vg_b2f((x) & 0xffff)
// One op for f16, f16x2, bf16, bf16x2; expressions on floats A, B, C.
#define HALF(name, n, exph, expb)                                                                  \
    static inline uint32_t name##_h1(uint32_t ua, uint32_t ub, uint32_t uc, unsigned fl)           \
    {                                                                                              \
        const float A = IN_H(ua), B = IN_H(ub), C = IN_H(uc);                                      \
        (void)A, (void)B, (void)C;                                                                 \
        return out_h(exph, fl);                                                                    \
    }                                                                                              \
    static inline uint32_t name##_b1(uint32_t ua, uint32_t ub, uint32_t uc, unsigned fl)           \
    {                                                                                              \
        const float A = IN_B(ua), B = IN_B(ub), C = IN_B(uc);                                      \
        (void)A, (void)B, (void)C;                                                                 \
        return out_b(expb, fl);                                                                    \
    }                                                                                              \
    HALF_OP##n(name##_f16, name##_h1(a, b, c, o->flags))                                           \
    HALF_OP##n(name##_bf16, name##_b1(a, b, c, o->flags))                                          \
    HALF_OP##n(name##_f16x2, name##_h1(a, b, c, o->flags) | name##_h1(a >> 16, b >> 16, c >> 16, o->flags) << 16) \
    HALF_OP##n(name##_bf16x2, name##_b1(a, b, c, o->flags) | name##_b1(a >> 16, b >> 16, c >> 16, o->flags) << 16)
#define HALF_OP(name, nb, nc, expr)                                                                \
    VG_OP(name)                                                                                    \
    {                                                                                              \
        const uint32_t *pa = vg_r(w, o->a), *pb = nb ? vg_r(w, o->b) : pa, *pc = nc ? vg_r(w, o->c) : pa; \
        VG_INTO(uint32_t, r);                                                                      \
        VG_LANES                                                                                   \
        {                                                                                          \
            const uint32_t a = pa[l], b = pb[l], c = pc[l];                                        \
            y[l] = expr;                                                                           \
        }                                                                                          \
        VG_DONE(r, uint32_t);                                                                      \
    }
#define HALF_OP1(name, expr) HALF_OP(name, 0, 0, expr)
#define HALF_OP2(name, expr) HALF_OP(name, 1, 0, expr)
#define HALF_OP3(name, expr) HALF_OP(name, 1, 1, expr)
#define FMA_ODD vg_d2f_odd(vg_fma_odd((double)A, (double)B, (double)C))
HALF(add, 2, A + B, A + B)
HALF(sub, 2, A - B, A - B)
HALF(mul, 2, A * B, vg_d2f_odd((double)A * (double)B))
HALF(fma_, 3, FMA_ODD, FMA_ODD)
HALF(ex2, 1, (float)exp2((double)A), (float)exp2((double)A))
HALF(tanh_, 1, (float)tanh((double)A), (float)tanh((double)A))

#define U1(name, expr) VG_OP1(name, r, uint32_t, r, uint32_t, expr)
U1(neg1, a ^ 0x8000)
U1(neg2, a ^ 0x80008000)
U1(abs1, a & 0x7fff)
U1(abs2, a & 0x7fff7fff)

// flags: NaN wins, ftz (f16); imm: xorsign.abs; aux: max.
static inline uint32_t minmax1(uint32_t a, uint32_t b, bool bf, const struct vg_op *o)
{
    unsigned fl = o->flags;
    float x = bf ? IN_B(a) : IN_H(a), y = bf ? IN_B(b) : IN_H(b);
    if ((fl & VG_F_NAN) ? x != x || y != y : x != x && y != y) {
        return 0x7fff;
    }
    uint32_t sign = 0;
    if (o->imm) {
        sign = (a ^ b) & 0x8000;
        x = fabsf(x);
        y = fabsf(y);
    }
    bool lt = x < y || (x == y && signbit(x));
    float r = x != x ? y : y != y ? x : (o->aux ? !lt : lt) ? x : y;
    return (bf ? vg_f2b(r) : vg_f2h(r)) | sign;
}
#define MM(name, expr) VG_OP2(name, r, uint32_t, r, uint32_t, r, uint32_t, expr)
MM(minmax_f16, minmax1(a, b, false, o))
MM(minmax_bf16, minmax1(a, b, true, o))
MM(minmax_f16x2, minmax1(a, b, false, o) | minmax1(a >> 16, b >> 16, false, o) << 16)
MM(minmax_bf16x2, minmax1(a, b, true, o) | minmax1(a >> 16, b >> 16, true, o) << 16)

#define H VG_N_WARP_F16
#define ROWS(key, sig, fn) {key ".f16", sig, fn##_f16, H}, {key ".f16x2", sig, fn##_f16x2, H}, \
    {key ".bf16", sig, fn##_bf16, H}, {key ".bf16x2", sig, fn##_bf16x2, H}
const struct vg_alu VG_PASTE(vg_alu_half, VG_LEVEL)[] = {
    ROWS("add", "Rrr", add), ROWS("sub", "Rrr", sub), ROWS("mul", "Rrr", mul), ROWS("fma", "Rrrr", fma_),
    ROWS("ex2", "Rr", ex2), ROWS("tanh", "Rr", tanh_), ROWS("minmax", "Rrr", minmax),
    {"neg.f16", "Rr", neg1, H}, {"neg.bf16", "Rr", neg1, H}, {"neg.f16x2", "Rr", neg2, H}, {"neg.bf16x2", "Rr", neg2, H},
    {"abs.f16", "Rr", abs1, H}, {"abs.bf16", "Rr", abs1, H}, {"abs.f16x2", "Rr", abs2, H}, {"abs.bf16x2", "Rr", abs2, H},
    {0},
};
