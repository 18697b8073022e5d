// SPDX-License-Identifier: Apache-2.0
// Built with -frounding-math: the host's rounding mode is switched around the work.
#include "slow.h"

#include <fenv.h>
#include <float.h>

#include "lanes.h"

static const int host_mode[] = {FE_TONEAREST, FE_TOWARDZERO, FE_DOWNWARD, FE_UPWARD, FE_TONEAREST};

int vg_round_f32(struct vg_warp *w, const struct vg_op *o, uint32_t m)
{
    const float *pa = VG_TYPED(const float, r, o->a), *pb = VG_TYPED(const float, r, o->b);
    const float *pc = VG_TYPED(const float, r, o->c);
    float *d = VG_TYPED(float, r, o->d);
    fesetround(host_mode[o->aux]);
    for (uint32_t left = m; left; left &= left - 1) {
        unsigned l = vg_first(left);
        float a = pa[l], b = pb[l], c = pc[l];
        if (o->flags & VG_F_FTZ) {
            a = vg_ftz(a);
            b = vg_ftz(b);
            c = vg_ftz(c);
        }
        volatile float x = a, y = b, r = 0;
        switch ((enum vg_arith)o->imm) {
        case VG_A_ADD:
            r = x + y;
            break;
        case VG_A_SUB:
            r = x - y;
            break;
        case VG_A_MUL:
            r = x * y;
            break;
        case VG_A_FMA:
            r = fmaf(x, y, c);
            break;
        case VG_A_DIV:
            r = x / y;
            break;
        case VG_A_RCP:
            r = 1.0f / x;
            break;
        case VG_A_SQRT:
            r = sqrtf(x);
            break;
        }
        float f = o->flags & VG_F_FTZ ? vg_ftz(r) : r;
        d[l] = o->flags & VG_F_SAT ? vg_sat(f) : vg_nan1(f);
    }
    fesetround(FE_TONEAREST);
    return VG_STEP_DONE;
}

int vg_round_f64(struct vg_warp *w, const struct vg_op *o, uint32_t m)
{
    const double *pa = VG_TYPED(const double, d, o->a), *pb = VG_TYPED(const double, d, o->b);
    const double *pc = VG_TYPED(const double, d, o->c);
    double *d = VG_TYPED(double, d, o->d);
    fesetround(host_mode[o->aux]);
    for (uint32_t left = m; left; left &= left - 1) {
        unsigned l = vg_first(left);
        volatile double x = pa[l], y = pb[l], r = 0;
        switch ((enum vg_arith)o->imm) {
        case VG_A_ADD:
            r = x + y;
            break;
        case VG_A_SUB:
            r = x - y;
            break;
        case VG_A_MUL:
            r = x * y;
            break;
        case VG_A_FMA:
            r = fma(x, y, pc[l]);
            break;
        case VG_A_DIV:
            r = x / y;
            break;
        case VG_A_RCP:
            r = 1.0 / x;
            break;
        case VG_A_SQRT:
            r = sqrt(x);
            break;
        }
        d[l] = r;
    }
    fesetround(FE_TONEAREST);
    return VG_STEP_DONE;
}

// ---- small floats ----

// A float format: mantissa bits, exponent bias, largest finite value; how it says NaN and infinity.
struct format {
    int man, bias;
    double max;
    uint32_t nan, inf; // inf 0: the format has none
    uint32_t sign;
};
static const struct format f16_format = {10, 15, 65504.0, 0x7fff, 0x7c00, 0x8000};
static const struct format bf16_format = {7, 127, 0x1.fep127, 0x7fff, 0x7f80, 0x8000};
static const struct format e4m3_format = {3, 7, 448.0, 0x7f, 0, 0x80};
static const struct format e5m2_format = {2, 15, 57344.0, 0x7f, 0x7c, 0x80};
static const struct format tf32_format = {10, 127, 0x1.ffcp127, 0x7fffffff, 0x7f800000 >> 13, 0};

// Scaled to an integer number of units in the last place, rounded there: exact in double.
static uint32_t to_format(double x, const struct format *f, enum vg_round mode, unsigned flags)
{
    if (x != x) {
        return flags & VG_F_SAT ? 0 : f->nan;
    }
    if ((flags & VG_F_RELU) && x < 0) {
        x = 0;
    }
    if (flags & VG_F_SAT) {
        x = x > 0 ? (x < 1 ? x : 1) : 0;
    }
    uint32_t sign = signbit(x) ? f->sign : 0;
    double a = fabs(x);
    if (a == INFINITY) {
        return (flags & VG_F_SATFINITE) || !f->inf ? to_format(f->max, f, VG_RN, 0) | sign
                                                   : f->inf | sign;
    }
    int e = 1 - f->bias;
    if (a != 0) {
        int top;
        (void)frexp(a, &top);
        e = top - 1 > e ? top - 1 : e;
    }
    double units = ldexp(a, f->man - e), whole = floor(units), rest = units - whole;
    bool up = false;
    switch (mode) {
    case VG_RN:
        up = rest > 0.5 || (rest == 0.5 && fmod(whole, 2) != 0);
        break;
    case VG_RNA:
        up = rest >= 0.5;
        break;
    case VG_RZ:
        break;
    case VG_RM:
        up = rest > 0 && sign;
        break;
    case VG_RP:
        up = rest > 0 && !sign;
        break;
    }
    whole += up;
    if (ldexp(whole, e - f->man) > f->max) {
        bool to_max = (flags & VG_F_SATFINITE) || !f->inf || mode == VG_RZ ||
                      (mode == VG_RM && !sign) || (mode == VG_RP && sign);
        return to_max ? to_format(f->max, f, VG_RN, 0) | sign : f->inf | sign;
    }
    uint32_t n = (uint32_t)whole; // implicit bit included, unless denormal
    return (n + ((uint32_t)(e + f->bias - 1) << f->man)) | sign;
}

static double from_format(uint32_t v, const struct format *f, unsigned exp_bits)
{
    uint32_t man = v & ((1u << f->man) - 1), e = v >> f->man & ((1u << exp_bits) - 1);
    double s = v & f->sign ? -1 : 1;
    uint32_t mag = v & (f->sign - 1);
    if (f->inf ? e == (1u << exp_bits) - 1 : mag == f->nan) {
        return f->inf && man == 0 ? s * INFINITY : NAN;
    }
    return e == 0 ? s * ldexp(man, 1 - f->bias - f->man)
                  : s * ldexp(man + (1u << f->man), (int)e - f->bias - f->man);
}

uint32_t vg_f32_to_e4m3(float x, bool relu)
{
    return to_format((double)x, &e4m3_format, VG_RN, VG_F_SATFINITE | (relu ? VG_F_RELU : 0u));
}
uint32_t vg_f32_to_e5m2(float x, bool relu)
{
    return to_format((double)x, &e5m2_format, VG_RN, VG_F_SATFINITE | (relu ? VG_F_RELU : 0u));
}
float vg_e4m3_to_f32(uint32_t v)
{
    return (float)from_format(v & 0xff, &e4m3_format, 4);
}
float vg_e5m2_to_f32(uint32_t v)
{
    return (float)from_format(v & 0xff, &e5m2_format, 5);
}

// ---- cvt ----

struct value {
    bool is_int, is_signed;
    uint64_t u; // integers, sign extended
    double f;
};

static bool is_wide(enum ptx_type t)
{
    return ptx_type_bytes(t) == 8;
}

static struct value load(enum ptx_type t, uint64_t bits)
{
    struct value v = {0};
    switch (t) {
    case PTX_F16:
        v.f = (double)vg_h2f(bits & 0xffff);
        return v;
    case PTX_BF16:
        v.f = (double)vg_b2f(bits & 0xffff);
        return v;
    case PTX_F32:
    case PTX_TF32:
        v.f = (double)vg_float((uint32_t)bits);
        return v;
    case PTX_F64:
        v.f = vg_double(bits);
        return v;
    case PTX_E4M3:
        v.f = from_format(bits & 0xff, &e4m3_format, 4);
        return v;
    case PTX_E5M2:
        v.f = from_format(bits & 0xff, &e5m2_format, 5);
        return v;
    default:
        break;
    }
    unsigned shift = 64 - 8 * ptx_type_bytes(t);
    v.is_int = true;
    v.is_signed = ptx_type_is_signed(t);
    v.u = v.is_signed ? (uint64_t)((int64_t)(bits << shift) >> shift) : bits << shift >> shift;
    return v;
}

static uint64_t clamp_int(enum ptx_type t, struct value v, bool sat)
{
    unsigned bits = 8 * ptx_type_bytes(t);
    uint64_t mask = bits == 64 ? ~0ull : (1ull << bits) - 1;
    if (!sat) {
        return v.u & mask;
    }
    if (ptx_type_is_signed(t)) {
        uint64_t max = mask >> 1;
        if (v.is_signed) {
            int64_t s = (int64_t)v.u, hi = (int64_t)max, lo = -hi - 1;
            return (uint64_t)(s > hi ? hi : s < lo ? lo : s) & mask;
        }
        return v.u > max ? max : v.u;
    }
    if (v.is_signed && (int64_t)v.u < 0) {
        return 0;
    }
    return v.u > mask ? mask : v.u;
}

static double round_int(double x, enum vg_round mode)
{
    return mode == VG_RZ ? trunc(x) : mode == VG_RM ? floor(x) : mode == VG_RP ? ceil(x) : rint(x);
}

static uint64_t float_to_int(enum ptx_type t, double x, enum vg_round mode)
{
    unsigned bits = 8 * ptx_type_bytes(t);
    uint64_t mask = bits == 64 ? ~0ull : (1ull << bits) - 1;
    bool is_signed = ptx_type_is_signed(t);
    if (x != x) {
        return 0;
    }
    double r = round_int(x, mode), top = ldexp(1, (int)bits - is_signed);
    if (r >= top) {
        return is_signed ? mask >> 1 : mask;
    }
    if (r < (is_signed ? -top : 0)) {
        return is_signed ? (mask >> 1) + 1 : 0;
    }
    return (r < 0 ? (uint64_t)(int64_t)r : (uint64_t)r) & mask;
}

static uint64_t store_float(enum ptx_type t, struct value v, enum vg_round mode, unsigned flags)
{
    double x = v.f;
    if (v.is_int) { // one rounding, from the integer itself
        fesetround(host_mode[mode]);
        volatile double d = v.is_signed ? (double)(int64_t)v.u : (double)v.u;
        volatile float f = v.is_signed ? (float)(int64_t)v.u : (float)v.u;
        fesetround(FE_TONEAREST);
        if (t == PTX_F32) {
            return vg_bits(flags & VG_F_SAT ? vg_sat(f) : f);
        }
        x = d;
        if (t != PTX_F64) { // up to 64 bits: keep what double would lose as a sticky bit
            double n = v.is_signed ? (double)(int64_t)v.u : (double)v.u;
            uint64_t back = fabs(n) >= 0x1p63 ? 0
                            : v.is_signed     ? (uint64_t)(int64_t)n
                                              : (uint64_t)n;
            x = n;
            if (back != v.u && fabs(n) < 0x1p63 && !(vg_bits64(n) & 1)) {
                bool up = v.is_signed ? (int64_t)v.u > (int64_t)back : v.u > back;
                x = nextafter(n, up ? INFINITY : -INFINITY);
            }
        }
    }
    if (flags & VG_F_INT) {
        x = round_int(x, mode);
        mode = VG_RN;
    }
    switch (t) {
    case PTX_F16:
        return to_format(x, &f16_format, mode, flags);
    case PTX_BF16:
        return to_format(x, &bf16_format, mode, flags);
    case PTX_E4M3:
        return to_format(x, &e4m3_format, mode, flags | VG_F_SATFINITE);
    case PTX_E5M2:
        return to_format(x, &e5m2_format, mode, flags | VG_F_SATFINITE);
    case PTX_TF32: {
        if (x != x) {
            return 0x7fffffff;
        }
        uint32_t n = to_format(fabs(x), &tf32_format, mode, flags & (unsigned)~VG_F_RELU);
        bool neg = signbit(x);
        if ((flags & VG_F_RELU) && neg) {
            return 0;
        }
        return n << 13 | (neg ? 0x80000000u : 0);
    }
    case PTX_F32: {
        fesetround(host_mode[mode]);
        volatile float f = (float)x;
        fesetround(FE_TONEAREST);
        float r = flags & VG_F_FTZ ? vg_ftz(f) : f;
        r = (flags & VG_F_RELU) && r < 0 ? 0.0f : r;
        return vg_bits(flags & VG_F_SAT ? vg_sat(r) : vg_nan1(r));
    }
    default:
        x = flags & VG_F_SAT ? (x > 0 ? (x < 1 ? x : 1) : 0) : x;
        return vg_bits64(x);
    }
}

static uint64_t convert(const struct vg_op *o, enum ptx_type to, enum ptx_type from, uint64_t bits)
{
    struct value v = load(from, bits);
    enum vg_round mode = (enum vg_round)o->aux;
    if (from == PTX_F32 && (o->flags & VG_F_FTZ)) {
        v.f = (double)vg_ftz((float)v.f);
    }
    if (ptx_type_is_float(to)) {
        return store_float(to, v, mode, o->flags);
    }
    return v.is_int ? clamp_int(to, v, o->flags & VG_F_SAT) : float_to_int(to, v.f, mode);
}

// Element type of a packed one; PTX_NO_TYPE: not packed.
static enum ptx_type half_of(enum ptx_type t)
{
    return t == PTX_F16X2    ? PTX_F16
           : t == PTX_BF16X2 ? PTX_BF16
           : t == PTX_E4M3X2 ? PTX_E4M3
           : t == PTX_E5M2X2 ? PTX_E5M2
                             : PTX_NO_TYPE;
}

int vg_cvt(struct vg_warp *w, const struct vg_op *o, uint32_t m)
{
    enum ptx_type from = (enum ptx_type)o->kind, to = (enum ptx_type)o->bytes;
    enum ptx_type to_half = half_of(to), from_half = half_of(from);
    for (uint32_t left = m; left; left &= left - 1) {
        unsigned l = vg_first(left);
        uint64_t a = is_wide(from) ? vg_d(w, o->a)[l] : vg_r(w, o->a)[l], r;
        if (to_half == PTX_NO_TYPE) {
            r = convert(o, to, from, a);
        } else {
            unsigned step = 8 * ptx_type_bytes(to_half);
            uint64_t lo, hi;
            if (from_half == PTX_NO_TYPE) { // two f32: a is the high one
                hi = convert(o, to_half, from, a);
                lo = convert(o, to_half, from, vg_r(w, o->b)[l]);
            } else {
                unsigned in = 8 * ptx_type_bytes(from_half);
                hi = convert(o, to_half, from_half, a >> in);
                lo = convert(o, to_half, from_half, a);
            }
            r = hi << step | lo;
        }
        if (is_wide(to)) {
            vg_d(w, o->d)[l] = r;
        } else {
            vg_r(w, o->d)[l] = (uint32_t)r;
        }
    }
    return VG_STEP_DONE;
}

// cvt.pack.sat.{u16,s16,u8,s8}.s32: a to the high part, b to the low one, c shifted up where given.
int vg_cvt_pack(struct vg_warp *w, const struct vg_op *o, uint32_t m)
{
    enum ptx_type to = (enum ptx_type)o->bytes;
    unsigned bits = 8 * ptx_type_bytes(to);
    for (uint32_t left = m; left; left &= left - 1) {
        unsigned l = vg_first(left);
        uint64_t a = clamp_int(to, load(PTX_S32, vg_r(w, o->a)[l]), true);
        uint64_t b = clamp_int(to, load(PTX_S32, vg_r(w, o->b)[l]), true);
        uint64_t c = o->flags ? (uint64_t)vg_r(w, o->c)[l] << (2 * bits) : 0;
        vg_r(w, o->d)[l] = (uint32_t)(a << bits | b | c);
    }
    return VG_STEP_DONE;
}
