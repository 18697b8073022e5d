// SPDX-License-Identifier: Apache-2.0
// Comparisons, selections, logic of predicates.
#include "lanes.h"

// clang-format off
static inline uint32_t combine(uint32_t t, uint32_t c, unsigned how)
{
    return how == VG_BOOL_NONE ? t : how == VG_BOOL_AND ? t & c : how == VG_BOOL_OR ? t | c : t ^ c;
}
// p and q of "setp p|q": the comparison and its complement, each combined with c.
static inline int put(struct vg_warp *w, const struct vg_op *o, uint32_t m, uint32_t t)
{
    uint32_t c = w->p[o->c] ^ (o->flags & 4 ? ~0u : 0);
    vg_p_set(w, o->d, combine(t, c, o->aux), m);
    if (o->e != VG_P_SINK) {
        vg_p_set(w, o->e, combine(~t, c, o->aux), m);
    }
    return VG_STEP_DONE;
}

#define CMP(name, f, t, conv, expr)                                                                \
    VG_OP(name)                                                                                    \
    {                                                                                              \
        const t *pa = VG_TYPED(const t, f, o->a), *pb = VG_TYPED(const t, f, o->b);                \
        uint32_t r = 0;                                                                            \
        VG_LANES                                                                                   \
        {                                                                                          \
            const __typeof__(conv(pa[l])) a = conv(pa[l]), b = conv(pb[l]);                        \
            (void)b;                                                                               \
            r |= (expr) ? 1u << l : 0;                                                             \
        }                                                                                          \
        return put(w, o, m, r);                                                                    \
    }
#define SAME(x) (x)
#define CMP6(sfx, f, t, conv)                                                                      \
    CMP(eq_##sfx, f, t, conv, a == b) CMP(ne_##sfx, f, t, conv, a != b && a == a && b == b)        \
    CMP(lt_##sfx, f, t, conv, a < b)  CMP(le_##sfx, f, t, conv, a <= b)                            \
    CMP(gt_##sfx, f, t, conv, a > b)  CMP(ge_##sfx, f, t, conv, a >= b)
#define CMP14(sfx, f, t, conv)                                                                     \
    CMP6(sfx, f, t, conv)                                                                          \
    CMP(equ_##sfx, f, t, conv, !(a < b) && !(a > b)) CMP(neu_##sfx, f, t, conv, !(a == b))         \
    CMP(ltu_##sfx, f, t, conv, !(a >= b)) CMP(leu_##sfx, f, t, conv, !(a > b))                     \
    CMP(gtu_##sfx, f, t, conv, !(a <= b)) CMP(geu_##sfx, f, t, conv, !(a < b))                     \
    CMP(num_##sfx, f, t, conv, a == a && b == b) CMP(nan_##sfx, f, t, conv, a != a || b != b)
#define S16(x) ((int32_t)(int16_t)(x))
CMP6(u32, r, uint32_t, SAME)
CMP6(s32, r, int32_t, SAME)
CMP6(s16, r, uint32_t, S16)
CMP6(u64, d, uint64_t, SAME)
CMP6(s64, d, int64_t, SAME)
CMP14(f32, r, float, SAME)
CMP14(ftz_f32, r, float, vg_ftz)
CMP14(f64, d, double, SAME)
CMP14(f16, r, uint32_t, vg_h2f)
CMP14(bf16, r, uint32_t, vg_b2f)

// Two halves: p from the low one, q from the high one.
static inline bool holds(unsigned cmp, float a, float b)
{
    switch (cmp) {
    case 0: return a == b;
    case 1: return a < b || a > b;
    case 2: return a < b;
    case 3: return a <= b;
    case 4: return a > b;
    case 5: return a >= b;
    case 6: return !(a < b) && !(a > b);
    case 7: return !(a == b);
    case 8: return !(a >= b);
    case 9: return !(a > b);
    case 10: return !(a <= b);
    case 11: return !(a < b);
    case 12: return a == a && b == b;
    default: return a != a || b != b;
    }
}
#define PAIR(name, conv)                                                                           \
    VG_OP(name)                                                                                    \
    {                                                                                              \
        const uint32_t *a = vg_r(w, o->a), *b = vg_r(w, o->b);                                     \
        uint32_t lo_bits = 0, hi_bits = 0, c = w->p[o->c] ^ (o->flags & 4 ? ~0u : 0);              \
        for (int l = 0; l < 32; l++) {                                                             \
            lo_bits |= (uint32_t)holds((unsigned)o->imm, conv(a[l] & 0xffff), conv(b[l] & 0xffff)) << l;     \
            hi_bits |= (uint32_t)holds((unsigned)o->imm, conv(a[l] >> 16), conv(b[l] >> 16)) << l; \
        }                                                                                          \
        vg_p_set(w, o->d, combine(lo_bits, c, o->aux), m);                                         \
        vg_p_set(w, o->e, combine(hi_bits, c, o->aux), m);                                         \
        return VG_STEP_DONE;                                                                       \
    }
PAIR(pair_f16x2, vg_h2f)
PAIR(pair_bf16x2, vg_b2f)

VG_OP(selp_r)
{
    const uint32_t *a = vg_r(w, o->a), *b = vg_r(w, o->b);
    uint32_t p = w->p[o->c] ^ (o->flags & 4 ? ~0u : 0);
    VG_INTO(uint32_t, r);
    VG_LANES
    {
        y[l] = p >> l & 1 ? a[l] : b[l];
    }
    VG_DONE(r, uint32_t);
}
VG_OP(selp_d)
{
    const uint64_t *a = vg_d(w, o->a), *b = vg_d(w, o->b);
    uint32_t p = w->p[o->c] ^ (o->flags & 4 ? ~0u : 0);
    VG_INTO(uint64_t, d);
    VG_LANES
    {
        y[l] = p >> l & 1 ? a[l] : b[l];
    }
    VG_DONE(d, uint64_t);
}
// set.f16x2: imm is the value of a true half; predicate c the low half, e the high one.
VG_OP(sel_halves)
{
    uint32_t p = w->p[o->c], q = w->p[o->e], v = (uint32_t)o->imm;
    VG_INTO(uint32_t, r);
    VG_LANES
    {
        y[l] = (p >> l & 1 ? v & 0xffff : 0) | (q >> l & 1 ? v & 0xffff0000 : 0);
    }
    VG_DONE(r, uint32_t);
}
VG_OP3(slct_r_s32, r, uint32_t, r, uint32_t, r, uint32_t, r, int32_t, c >= 0 ? a : b)
VG_OP3(slct_d_s32, d, uint64_t, d, uint64_t, d, uint64_t, r, int32_t, c >= 0 ? a : b)
VG_OP3(slct_r_f32, r, uint32_t, r, uint32_t, r, uint32_t, r, float, c >= 0 ? a : b)
VG_OP3(slct_d_f32, d, uint64_t, d, uint64_t, d, uint64_t, r, float, c >= 0 ? a : b)
VG_OP3(slct_r_ftz, r, uint32_t, r, uint32_t, r, uint32_t, r, float, vg_ftz(c) >= 0 ? a : b)
VG_OP3(slct_d_ftz, d, uint64_t, d, uint64_t, d, uint64_t, r, float, vg_ftz(c) >= 0 ? a : b)

#define PSRC(i, row) (w->p[row] ^ (o->flags & (1 << (i)) ? ~0u : 0))
#define PRED2(name, op)                                                                            \
    VG_OP(name)                                                                                    \
    {                                                                                              \
        vg_p_set(w, o->d, PSRC(0, o->a) op PSRC(1, o->b), m);                                      \
        return VG_STEP_DONE;                                                                       \
    }
PRED2(and_pred, &)
PRED2(or_pred, |)
PRED2(xor_pred, ^)
VG_OP(not_pred)
{
    vg_p_set(w, o->d, ~PSRC(0, o->a), m);
    return VG_STEP_DONE;
}
VG_OP(mov_pred)
{
    vg_p_set(w, o->d, PSRC(0, o->a), m);
    return VG_STEP_DONE;
}

VG_OP1(mov_r, r, uint32_t, r, uint32_t, a)
VG_OP1(mov_d, d, uint64_t, d, uint64_t, a)

// testp: aux is the class.
static inline bool testp(uint64_t u, unsigned man, unsigned exp, unsigned what)
{
    uint64_t e = u >> man & ((1ull << exp) - 1), f = u & ((1ull << man) - 1), top = (1ull << exp) - 1;
    switch (what) {
    case 0: return e != top;              // finite
    case 1: return e == top && f == 0;    // infinite
    case 2: return e != top || f == 0;    // number
    case 3: return e == top && f != 0;    // notanumber
    case 4: return e != top && e != 0;    // normal
    default: return e == 0 && f != 0;     // subnormal
    }
}
VG_OP(testp_f32)
{
    const uint32_t *a = vg_r(w, o->a);
    uint32_t r = 0;
    for (int l = 0; l < 32; l++) {
        r |= (uint32_t)testp(a[l], 23, 8, o->aux) << l;
    }
    vg_p_set(w, o->d, r, m);
    return VG_STEP_DONE;
}
VG_OP(testp_f64)
{
    const uint64_t *a = vg_d(w, o->a);
    uint32_t r = 0;
    for (int l = 0; l < 32; l++) {
        r |= (uint32_t)testp(a[l], 52, 11, o->aux) << l;
    }
    vg_p_set(w, o->d, r, m);
    return VG_STEP_DONE;
}

#define N VG_N_WARP_INT
#define F VG_N_WARP_F32
#define ROW6(k, sig, n)                                                                            \
    {"setp.eq." #k, sig, eq_##k, n}, {"setp.ne." #k, sig, ne_##k, n}, {"setp.lt." #k, sig, lt_##k, n}, \
    {"setp.le." #k, sig, le_##k, n}, {"setp.gt." #k, sig, gt_##k, n}, {"setp.ge." #k, sig, ge_##k, n}
#define ROW14(k, s, sig, n)                                                                        \
    {"setp.eq." s, sig, eq_##k, n}, {"setp.ne." s, sig, ne_##k, n}, {"setp.lt." s, sig, lt_##k, n}, \
    {"setp.le." s, sig, le_##k, n}, {"setp.gt." s, sig, gt_##k, n}, {"setp.ge." s, sig, ge_##k, n}, \
    {"setp.equ." s, sig, equ_##k, n}, {"setp.neu." s, sig, neu_##k, n}, {"setp.ltu." s, sig, ltu_##k, n}, \
    {"setp.leu." s, sig, leu_##k, n}, {"setp.gtu." s, sig, gtu_##k, n}, {"setp.geu." s, sig, geu_##k, n}, \
    {"setp.num." s, sig, num_##k, n}, {"setp.nan." s, sig, nan_##k, n}
const struct vg_alu VG_PASTE(vg_alu_pred, VG_LEVEL)[] = {
    ROW6(u32, "Prr", N), ROW6(s32, "Prr", N), ROW6(s16, "Prr", N), ROW6(u64, "Pdd", N), ROW6(s64, "Pdd", N),
    ROW14(f32, "f32", "Prr", F), ROW14(ftz_f32, "ftz.f32", "Prr", F), ROW14(f64, "f64", "Pdd", VG_N_WARP_F64),
    ROW14(f16, "f16", "Prr", VG_N_WARP_F16), ROW14(bf16, "bf16", "Prr", VG_N_WARP_F16),
    {"setp.f16x2", "Prr", pair_f16x2, VG_N_WARP_F16}, {"setp.bf16x2", "Prr", pair_bf16x2, VG_N_WARP_F16},
    {"selp.r", "Rrrp", selp_r, N}, {"selp.d", "Dddp", selp_d, N}, {"sel.halves", "R", sel_halves, N},
    {"slct.r.s32", "Rrrr", slct_r_s32, N}, {"slct.d.s32", "Dddr", slct_d_s32, N},
    {"slct.r.f32", "Rrrr", slct_r_f32, N}, {"slct.d.f32", "Dddr", slct_d_f32, N},
    {"slct.r.ftz.f32", "Rrrr", slct_r_ftz, N}, {"slct.d.ftz.f32", "Dddr", slct_d_ftz, N},
    {"and.pred", "Ppp", and_pred, N}, {"or.pred", "Ppp", or_pred, N}, {"xor.pred", "Ppp", xor_pred, N},
    {"not.pred", "Pp", not_pred, N}, {"mov.pred", "Pp", mov_pred, N},
    {"mov.r", "Rr", mov_r, N}, {"mov.d", "Dd", mov_d, N},
    {"testp.f32", "Pr", testp_f32, F}, {"testp.f64", "Pd", testp_f64, VG_N_WARP_F64},
    {0},
};
