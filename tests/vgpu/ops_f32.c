// SPDX-License-Identifier: Apache-2.0
// f32 and f64 arithmetic, rounding to nearest; the approximate functions, computed more exactly
// than the hardware does.
#include "lanes.h"

// clang-format off
// plain, .ftz, .sat, .ftz.sat of one expression
#define F1V(op, expr)                                                                              \
    static inline float op##_f(float a) { return expr; }                                           \
    VG_OP1(op, r, float, r, float, vg_nan1(op##_f(a)))                                             \
    VG_OP1(op##_ftz, r, float, r, float, vg_nan1(vg_ftz(op##_f(vg_ftz(a)))))
#define F2V(op, expr)                                                                              \
    static inline float op##_f(float a, float b) { return expr; }                                  \
    VG_OP2(op, r, float, r, float, r, float, vg_nan1(op##_f(a, b)))                                \
    VG_OP2(op##_ftz, r, float, r, float, r, float, vg_nan1(vg_ftz(op##_f(vg_ftz(a), vg_ftz(b)))))  \
    VG_OP2(op##_sat, r, float, r, float, r, float, vg_sat(op##_f(a, b)))                           \
    VG_OP2(op##_ftz_sat, r, float, r, float, r, float, vg_sat(vg_ftz(op##_f(vg_ftz(a), vg_ftz(b)))))
F2V(add, a + b)
F2V(sub, a - b)
F2V(mul, a * b)
F2V(div, a / b)
#define FMA(a, b, c) __builtin_fmaf(a, b, c)
VG_OP3(fma_, r, float, r, float, r, float, r, float, vg_nan1(FMA(a, b, c)))
VG_OP3(fma_ftz, r, float, r, float, r, float, r, float, vg_nan1(vg_ftz(FMA(vg_ftz(a), vg_ftz(b), vg_ftz(c)))))
VG_OP3(fma_sat, r, float, r, float, r, float, r, float, vg_sat(FMA(a, b, c)))
VG_OP3(fma_ftz_sat, r, float, r, float, r, float, r, float, vg_sat(vg_ftz(FMA(vg_ftz(a), vg_ftz(b), vg_ftz(c)))))

VG_OP1(neg_f32, r, uint32_t, r, uint32_t, a ^ 0x80000000)
VG_OP1(abs_f32, r, uint32_t, r, uint32_t, a & 0x7fffffff)
VG_OP1(neg_ftz, r, float, r, float, -vg_ftz(a))
VG_OP1(abs_ftz, r, float, r, float, fabsf(vg_ftz(a)))
VG_OP2(copysign_f32, r, uint32_t, r, uint32_t, r, uint32_t, (a & 0x80000000) | (b & 0x7fffffff))
F1V(rcp, 1.0f / a)
F1V(root, __builtin_sqrtf(a))
F1V(rsqrt, 1.0f / __builtin_sqrtf(a))
VG_OP1(tanh_f32, r, float, r, float, vg_nan1(tanhf(a)))
VG_OP1(sin_f32, r, float, r, float, vg_nan1(sinf(a)))
VG_OP1(cos_f32, r, float, r, float, vg_nan1(cosf(a)))
VG_OP1(sin_ftz, r, float, r, float, vg_nan1(vg_ftz(sinf(vg_ftz(a)))))
VG_OP1(cos_ftz, r, float, r, float, vg_nan1(vg_ftz(cosf(vg_ftz(a)))))
VG_OP1(lg2_f32, r, float, r, float, vg_nan1(log2f(a)))
VG_OP1(lg2_ftz, r, float, r, float, vg_nan1(log2f(vg_ftz(a))))

// 2^a: 2^n by the exponent field in two steps (denormal results), 2^f by its Taylor series, |f| <= 1/2:
// the first term left out, f^8 ln(2)^8 / 8!, is below 2^-27.
static inline float exp2_lane(float a)
{
    float x = a > 130.0f ? 130.0f : a < -160.0f ? -160.0f : a;
    x = a != a ? 0.0f : x;
    float n = (x + 12582912.0f) - 12582912.0f;
    float f = x - n, p = 1.5252734e-5f;
    p = p * f + 1.5403530e-4f;
    p = p * f + 1.3333558e-3f;
    p = p * f + 9.6181291e-3f;
    p = p * f + 5.5504109e-2f;
    p = p * f + 2.4022651e-1f;
    p = p * f + 6.9314718e-1f;
    p = p * f + 1.0f;
    int32_t i = (int32_t)n, h = i >> 1;
    float s1 = vg_float((uint32_t)(h + 127) << 23), s2 = vg_float((uint32_t)(i - h + 127) << 23);
    p = p * s1 * s2;
    return a != a ? vg_float(0x7fffffff) : p;
}
VG_OP1(ex2_f32, r, float, r, float, exp2_lane(a))
VG_OP1(ex2_ftz, r, float, r, float, vg_ftz(exp2_lane(vg_ftz(a))))

// min, max: a NaN loses against a number, -0 is less than +0. flags: NaN wins, ftz; imm: xorsign.abs.
static inline bool lt_signed(float a, float b)
{
    return a < b || (a == b && (int32_t)vg_bits(a) < (int32_t)vg_bits(b));
}
static inline float min_f(float a, float b)
{
    float r = lt_signed(a, b) ? a : b;
    r = a != a ? b : r;
    return b != b ? a : r;
}
static inline float max_f(float a, float b)
{
    float r = lt_signed(a, b) ? b : a;
    r = a != a ? b : r;
    return b != b ? a : r;
}
VG_OP2(min_f32, r, float, r, float, r, float, vg_nan1(min_f(a, b)))
VG_OP2(max_f32, r, float, r, float, r, float, vg_nan1(max_f(a, b)))
static inline float minmax(float a, float b, bool max, unsigned flags, bool xorsign)
{
    if (flags & VG_F_FTZ) {
        a = vg_ftz(a);
        b = vg_ftz(b);
    }
    if ((flags & VG_F_NAN) && (a != a || b != b)) {
        return vg_float(0x7fffffff);
    }
    uint32_t sign = (vg_bits(a) ^ vg_bits(b)) & 0x80000000;
    if (xorsign) {
        a = fabsf(a);
        b = fabsf(b);
    }
    float r = vg_nan1(max ? max_f(a, b) : min_f(a, b));
    return xorsign && r == r ? vg_float(vg_bits(r) | sign) : r;
}
VG_OP(minmax_f32)
{
    const float *a = VG_TYPED(const float, r, o->a), *b = VG_TYPED(const float, r, o->b);
    VG_INTO(float, r);
    for (int l = 0; l < 32; l++) {
        y[l] = minmax(a[l], b[l], o->aux, o->flags, o->imm != 0);
    }
    VG_DONE(r, uint32_t);
}

VG_OP2(add_f64, d, double, d, double, d, double, a + b)
VG_OP2(sub_f64, d, double, d, double, d, double, a - b)
VG_OP2(mul_f64, d, double, d, double, d, double, a * b)
VG_OP2(div_f64, d, double, d, double, d, double, a / b)
VG_OP3(fma_f64, d, double, d, double, d, double, d, double, __builtin_fma(a, b, c))
VG_OP1(neg_f64, d, uint64_t, d, uint64_t, a ^ 1ull << 63)
VG_OP1(abs_f64, d, uint64_t, d, uint64_t, a & ~(1ull << 63))
VG_OP2(copysign_f64, d, uint64_t, d, uint64_t, d, uint64_t, (a & 1ull << 63) | (b & ~(1ull << 63)))
VG_OP1(rcp_f64, d, double, d, double, 1.0 / a)
VG_OP1(sqrt_f64, d, double, d, double, __builtin_sqrt(a))
VG_OP1(rsqrt_f64, d, double, d, double, 1.0 / __builtin_sqrt(a))
// The approximations look at the upper word only and clear the lower one.
#define UPPER(x) vg_double(vg_bits64(x) & 0xffffffff00000000ull)
VG_OP1(rcp_approx_f64, d, double, d, double, UPPER(1.0 / UPPER(a)))
VG_OP1(rsqrt_approx_f64, d, double, d, double, UPPER(1.0 / __builtin_sqrt(UPPER(a))))
static inline double min_d(double a, double b)
{
    bool lt = a < b || (a == b && vg_bits64(a) >> 63);
    return a != a ? b : b != b ? a : lt ? a : b;
}
static inline double max_d(double a, double b)
{
    bool lt = a < b || (a == b && vg_bits64(a) >> 63);
    return a != a ? b : b != b ? a : lt ? b : a;
}
VG_OP2(min_f64, d, double, d, double, d, double, min_d(a, b))
VG_OP2(max_f64, d, double, d, double, d, double, max_d(a, b))

#define F VG_N_WARP_F32
#define S VG_N_WARP_SFU
#define D VG_N_WARP_F64
#define ROW4(key, sig, fn) {key ".f32", sig, fn, F}, {key ".ftz.f32", sig, fn##_ftz, F}, \
    {key ".sat.f32", sig, fn##_sat, F}, {key ".ftz.sat.f32", sig, fn##_ftz_sat, F}
const struct vg_alu VG_PASTE(vg_alu_f32, VG_LEVEL)[] = {
    ROW4("add", "Rrr", add), ROW4("sub", "Rrr", sub), ROW4("mul", "Rrr", mul), ROW4("div", "Rrr", div),
    {"fma.f32", "Rrrr", fma_, F}, {"fma.ftz.f32", "Rrrr", fma_ftz, F}, {"fma.sat.f32", "Rrrr", fma_sat, F}, {"fma.ftz.sat.f32", "Rrrr", fma_ftz_sat, F},
    {"neg.f32", "Rr", neg_f32, F}, {"neg.ftz.f32", "Rr", neg_ftz, F}, {"abs.f32", "Rr", abs_f32, F}, {"abs.ftz.f32", "Rr", abs_ftz, F},
    {"copysign.f32", "Rrr", copysign_f32, F}, {"rcp.f32", "Rr", rcp, S}, {"rcp.ftz.f32", "Rr", rcp_ftz, S},
    {"sqrt.f32", "Rr", root, S}, {"sqrt.ftz.f32", "Rr", root_ftz, S}, {"rsqrt.f32", "Rr", rsqrt, S}, {"rsqrt.ftz.f32", "Rr", rsqrt_ftz, S},
    {"tanh.f32", "Rr", tanh_f32, S}, {"sin.f32", "Rr", sin_f32, S}, {"cos.f32", "Rr", cos_f32, S}, {"sin.ftz.f32", "Rr", sin_ftz, S},
    {"cos.ftz.f32", "Rr", cos_ftz, S}, {"lg2.f32", "Rr", lg2_f32, S}, {"lg2.ftz.f32", "Rr", lg2_ftz, S},
    {"ex2.f32", "Rr", ex2_f32, S}, {"ex2.ftz.f32", "Rr", ex2_ftz, S},
    {"min.f32", "Rrr", min_f32, F}, {"max.f32", "Rrr", max_f32, F}, {"minmax.f32", "Rrr", minmax_f32, F},
    {"add.f64", "Ddd", add_f64, D}, {"sub.f64", "Ddd", sub_f64, D}, {"mul.f64", "Ddd", mul_f64, D}, {"div.f64", "Ddd", div_f64, D},
    {"fma.f64", "Dddd", fma_f64, D}, {"neg.f64", "Dd", neg_f64, D}, {"abs.f64", "Dd", abs_f64, D}, {"copysign.f64", "Ddd", copysign_f64, D},
    {"rcp.f64", "Dd", rcp_f64, D}, {"sqrt.f64", "Dd", sqrt_f64, D}, {"rsqrt.f64", "Dd", rsqrt_f64, D}, {"rcp.approx.f64", "Dd", rcp_approx_f64, D},
    {"rsqrt.approx.f64", "Dd", rsqrt_approx_f64, D}, {"min.f64", "Ddd", min_f64, D}, {"max.f64", "Ddd", max_f64, D},
    {0},
};
