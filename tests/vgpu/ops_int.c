// SPDX-License-Identifier: Apache-2.0
// Integer ops. Narrow values lie zero extended in 32-bit rows.
#include "lanes.h"

// clang-format off
#define R2(name, expr) VG_OP2(name, r, uint32_t, r, uint32_t, r, uint32_t, expr)
#define S2(name, expr) VG_OP2(name, r, uint32_t, r, int32_t, r, int32_t, expr)
#define D2(name, expr) VG_OP2(name, d, uint64_t, d, uint64_t, d, uint64_t, expr)
#define L2(name, expr) VG_OP2(name, d, uint64_t, d, int64_t, d, int64_t, expr)
#define R1(name, expr) VG_OP1(name, r, uint32_t, r, uint32_t, expr)
#define R3(name, expr) VG_OP3(name, r, uint32_t, r, uint32_t, r, uint32_t, r, uint32_t, expr)
#define S16(x) ((int32_t)(int16_t)(x))
#define U16(x) ((uint32_t)(uint16_t)(x))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

R2(add_b32, a + b)          D2(add_b64, a + b)          R2(add_b16, U16(a + b))
R2(sub_b32, a - b)          D2(sub_b64, a - b)          R2(sub_b16, U16(a - b))
R2(mul_lo_b32, a * b)       D2(mul_lo_b64, a * b)       R2(mul_lo_b16, U16(a * b))
R2(and_b32, a & b)          D2(and_b64, a & b)
R2(or_b32, a | b)           D2(or_b64, a | b)
R2(xor_b32, a ^ b)          D2(xor_b64, a ^ b)
R1(not_b32, ~a)             VG_OP1(not_b64, d, uint64_t, d, uint64_t, ~a)      R1(not_b16, U16(~a))
R1(cnot_b32, a == 0)        VG_OP1(cnot_b64, d, uint64_t, d, uint64_t, a == 0)
R1(neg_b32, 0 - a)          VG_OP1(neg_b64, d, uint64_t, d, uint64_t, 0 - a)   R1(neg_b16, U16(0 - a))
R1(abs_s32, (a ^ (0 - (a >> 31))) + (a >> 31))
VG_OP1(abs_s64, d, uint64_t, d, uint64_t, (a ^ (0 - (a >> 63))) + (a >> 63))
R1(abs_s16, U16(S16(a) < 0 ? 0 - a : a))
R2(min_u32, MIN(a, b))      D2(min_u64, MIN(a, b))      R2(min_s16, U16(MIN(S16(a), S16(b))))
R2(max_u32, MAX(a, b))      D2(max_u64, MAX(a, b))      R2(max_s16, U16(MAX(S16(a), S16(b))))
S2(min_s32, MIN(a, b))      L2(min_s64, MIN(a, b))
S2(max_s32, MAX(a, b))      L2(max_s64, MAX(a, b))
S2(min_relu_s32, MAX(MIN(a, b), 0))
S2(max_relu_s32, MAX(MAX(a, b), 0))

#define HALVES(lo, hi) (U16(lo) | (uint32_t)(hi) << 16)
R2(add_16x2, HALVES(a + b, (a >> 16) + (b >> 16)))
R2(min_u16x2, HALVES(MIN(U16(a), U16(b)), MIN(a >> 16, b >> 16)))
R2(max_u16x2, HALVES(MAX(U16(a), U16(b)), MAX(a >> 16, b >> 16)))
R2(min_s16x2, HALVES(MIN(S16(a), S16(b)), MIN(S16(a >> 16), S16(b >> 16))))
R2(max_s16x2, HALVES(MAX(S16(a), S16(b)), MAX(S16(a >> 16), S16(b >> 16))))
R2(min_relu_s16x2, HALVES(MAX(MIN(S16(a), S16(b)), 0), MAX(MIN(S16(a >> 16), S16(b >> 16)), 0)))
R2(max_relu_s16x2, HALVES(MAX(MAX(S16(a), S16(b)), 0), MAX(MAX(S16(a >> 16), S16(b >> 16)), 0)))

// Shift amounts past the width act as the width.
R2(shl_b32, b > 31 ? 0 : a << (b & 31))
VG_OP2(shl_b64, d, uint64_t, d, uint64_t, r, uint32_t, b > 63 ? 0 : a << (b & 63))
R2(shl_b16, b > 15 ? 0 : U16(a << (b & 15)))
R2(shr_u32, b > 31 ? 0 : a >> (b & 31))
VG_OP2(shr_u64, d, uint64_t, d, uint64_t, r, uint32_t, b > 63 ? 0 : a >> (b & 63))
R2(shr_u16, b > 15 ? 0 : a >> (b & 15))
VG_OP2(shr_s32, r, uint32_t, r, int32_t, r, uint32_t, a >> (b > 31 ? 31 : b))
VG_OP2(shr_s64, d, uint64_t, d, int64_t, r, uint32_t, a >> (b > 63 ? 63 : b))
R2(shr_s16, U16(S16(a) >> (b > 15 ? 15 : b)))

VG_OP2(mul_wide_u32, d, uint64_t, r, uint32_t, r, uint32_t, (uint64_t)a * b)
VG_OP2(mul_wide_s32, d, uint64_t, r, int32_t, r, int32_t, (int64_t)a * b)
R2(mul_wide_u16, U16(a) * U16(b))
R2(mul_wide_s16, S16(a) * S16(b))
R2(mul_hi_u32, ((uint64_t)a * b) >> 32)
S2(mul_hi_s32, (uint64_t)((int64_t)a * b) >> 32)
R2(mul_hi_u16, (U16(a) * U16(b)) >> 16)
R2(mul_hi_s16, U16((S16(a) * S16(b)) >> 16))
__extension__ typedef unsigned __int128 u128;
__extension__ typedef __int128 s128;
D2(mul_hi_u64, ((u128)a * b) >> 64)
L2(mul_hi_s64, (u128)((s128)a * b) >> 64)
VG_OP3(mad_lo_b32, r, uint32_t, r, uint32_t, r, uint32_t, r, uint32_t, a * b + c)
VG_OP3(mad_lo_b64, d, uint64_t, d, uint64_t, d, uint64_t, d, uint64_t, a * b + c)
R3(mad_lo_b16, U16(a * b + c))
VG_OP3(mad_wide_u32, d, uint64_t, r, uint32_t, r, uint32_t, d, uint64_t, (uint64_t)a * b + c)
VG_OP3(mad_wide_s32, d, uint64_t, r, int32_t, r, int32_t, d, uint64_t, (uint64_t)((int64_t)a * b) + c)
R3(mad_wide_u16, U16(a) * U16(b) + c)
R3(mad_wide_s16, (uint32_t)(S16(a) * S16(b)) + c)
R3(mad_hi_u32, (uint32_t)(((uint64_t)a * b) >> 32) + c)
VG_OP3(mad_hi_s32, r, uint32_t, r, int32_t, r, int32_t, r, uint32_t, (uint32_t)((uint64_t)((int64_t)a * b) >> 32) + c)
VG_OP3(mad_hi_u64, d, uint64_t, d, uint64_t, d, uint64_t, d, uint64_t, (uint64_t)(((u128)a * b) >> 64) + c)
VG_OP3(mad_hi_s64, d, uint64_t, d, int64_t, d, int64_t, d, uint64_t, (uint64_t)((u128)((s128)a * b) >> 64) + c)
static inline uint32_t clamp_s32(int64_t v)
{
    return (uint32_t)(v > INT32_MAX ? INT32_MAX : v < INT32_MIN ? INT32_MIN : v);
}
VG_OP3(mad_hi_sat_s32, r, uint32_t, r, int32_t, r, int32_t, r, int32_t, clamp_s32((((int64_t)a * b) >> 32) + c))
S2(add_sat_s32, clamp_s32((int64_t)a + b))
S2(sub_sat_s32, clamp_s32((int64_t)a - b))

#define S24(x) ((int64_t)(int32_t)((uint32_t)(x) << 8) >> 8)
#define U24(x) ((uint64_t)((x) & 0xffffff))
R2(mul24_lo_u32, U24(a) * U24(b))
R2(mul24_lo_s32, S24(a) * S24(b))
R2(mul24_hi_u32, (U24(a) * U24(b)) >> 16)
R2(mul24_hi_s32, (S24(a) * S24(b)) >> 16)
R3(mad24_lo_u32, U24(a) * U24(b) + c)
R3(mad24_lo_s32, (uint32_t)(S24(a) * S24(b)) + c)
R3(mad24_hi_u32, ((U24(a) * U24(b)) >> 16) + c)
R3(mad24_hi_s32, (uint32_t)((S24(a) * S24(b)) >> 16) + c)
VG_OP3(mad24_hi_sat_s32, r, uint32_t, r, int32_t, r, int32_t, r, int32_t, clamp_s32(((S24(a) * S24(b)) >> 16) + c))

R3(sad_u32, c + (a > b ? a - b : b - a))
VG_OP3(sad_s32, r, uint32_t, r, int32_t, r, int32_t, r, uint32_t, c + (a > b ? (uint32_t)a - (uint32_t)b : (uint32_t)b - (uint32_t)a))
R3(sad_u16, U16(c + (a > b ? a - b : b - a)))
R3(sad_s16, U16(c + (uint32_t)(S16(a) > S16(b) ? S16(a) - S16(b) : S16(b) - S16(a))))
VG_OP3(sad_u64, d, uint64_t, d, uint64_t, d, uint64_t, d, uint64_t, c + (a > b ? a - b : b - a))
VG_OP3(sad_s64, d, uint64_t, d, int64_t, d, int64_t, d, uint64_t, c + (a > b ? (uint64_t)a - (uint64_t)b : (uint64_t)b - (uint64_t)a))

// Division by zero: all ones, remainder the dividend, as the hardware's code sequence gives.
R2(div_u32, b ? a / b : ~0u)
R2(rem_u32, b ? a % b : a)
S2(div_s32, b == 0 ? -1 : b == -1 ? (int32_t)(0 - (uint32_t)a) : a / b)
S2(rem_s32, b == 0 ? a : b == -1 ? 0 : a % b)
D2(div_u64, b ? a / b : ~0ull)
D2(rem_u64, b ? a % b : a)
L2(div_s64, b == 0 ? -1 : b == -1 ? (int64_t)(0 - (uint64_t)a) : a / b)
L2(rem_s64, b == 0 ? a : b == -1 ? 0 : a % b)
R2(div_u16, U16(b) ? U16(a) / U16(b) : 0xffff)
R2(rem_u16, U16(b) ? U16(a) % U16(b) : U16(a))
R2(div_s16, U16(b) ? U16(S16(a) / S16(b)) : 0xffff)
R2(rem_s16, U16(b) ? U16(S16(a) % S16(b)) : U16(a))

R1(popc_b32, __builtin_popcount(a))
VG_OP1(popc_b64, r, uint32_t, d, uint64_t, __builtin_popcountll(a))
R1(clz_b32, a ? __builtin_clz(a) : 32)
VG_OP1(clz_b64, r, uint32_t, d, uint64_t, a ? __builtin_clzll(a) : 64)
static inline uint32_t brev32(uint32_t a)
{
    a = (a >> 1 & 0x55555555) | (a & 0x55555555) << 1;
    a = (a >> 2 & 0x33333333) | (a & 0x33333333) << 2;
    a = (a >> 4 & 0x0f0f0f0f) | (a & 0x0f0f0f0f) << 4;
    return __builtin_bswap32(a);
}
R1(brev_b32, brev32(a))
VG_OP1(brev_b64, d, uint64_t, d, uint64_t, (uint64_t)brev32((uint32_t)a) << 32 | brev32((uint32_t)(a >> 32)))
static inline uint32_t bfind(uint64_t a, unsigned width, bool shiftamt)
{
    if (a == 0) {
        return ~0u;
    }
    uint32_t at = 63 - (uint32_t)__builtin_clzll(a);
    return shiftamt ? width - 1 - at : at;
}
R1(bfind_u32, bfind(a, 32, o->flags))
R1(bfind_s32, bfind(a >> 31 ? ~a : a, 32, o->flags))
VG_OP1(bfind_u64, r, uint32_t, d, uint64_t, bfind(a, 64, o->flags))
VG_OP1(bfind_s64, r, uint32_t, d, uint64_t, bfind(a >> 63 ? ~a : a, 64, o->flags))

static inline uint64_t bfe(uint64_t a, uint32_t pos, uint32_t len, unsigned width, bool sign)
{
    pos &= 0xff;
    len &= 0xff;
    if (len == 0) {
        return 0;
    }
    uint32_t top = pos + len - 1 < width - 1 ? pos + len - 1 : width - 1;
    uint64_t fill = sign && (a >> top & 1) ? ~0ull : 0;
    uint64_t v = pos >= width ? 0 : a >> pos;
    uint32_t have = pos >= width ? 0 : width - pos;
    uint32_t keep = len < have ? len : have;
    uint64_t mask = keep >= 64 ? ~0ull : (1ull << keep) - 1;
    return (v & mask) | (fill & ~mask);
}
R3(bfe_u32, bfe(a, b, c, 32, false))
R3(bfe_s32, bfe(a, b, c, 32, true))
VG_OP3(bfe_u64, d, uint64_t, d, uint64_t, r, uint32_t, r, uint32_t, bfe(a, b, c, 64, false))
VG_OP3(bfe_s64, d, uint64_t, d, uint64_t, r, uint32_t, r, uint32_t, bfe(a, b, c, 64, true))
static inline uint64_t bfi(uint64_t a, uint64_t b, uint32_t pos, uint32_t len)
{
    pos &= 0xff;
    len &= 0xff;
    if (len == 0 || pos > 63) {
        return b;
    }
    uint64_t mask = (len >= 64 ? ~0ull : (1ull << len) - 1) << pos;
    return (b & ~mask) | (a << pos & mask);
}
VG_OP(bfi_b32)
{
    const uint32_t *a = vg_r(w, o->a), *b = vg_r(w, o->b), *pos = vg_r(w, o->c), *len = vg_r(w, o->e);
    VG_INTO(uint32_t, r);
    for (int l = 0; l < 32; l++) {
        y[l] = (uint32_t)bfi(a[l], b[l], pos[l], len[l]);
    }
    VG_DONE(r, uint32_t);
}
VG_OP(bfi_b64)
{
    const uint64_t *a = vg_d(w, o->a), *b = vg_d(w, o->b);
    const uint32_t *pos = vg_r(w, o->c), *len = vg_r(w, o->e);
    VG_INTO(uint64_t, d);
    for (int l = 0; l < 32; l++) {
        y[l] = bfi(a[l], b[l], pos[l], len[l]);
    }
    VG_DONE(d, uint64_t);
}
// nth set bit from base, up (n > 0) or down.
static inline uint32_t fns(uint32_t v, uint32_t base, int32_t n)
{
    if (n == 0) {
        return v >> (base & 31) & 1 ? base : ~0u;
    }
    for (int64_t at = base; at >= 0 && at < 32; at += n > 0 ? 1 : -1) {
        if (v >> at & 1) {
            n += n > 0 ? -1 : 1;
            if (n == 0) {
                return (uint32_t)at;
            }
        }
    }
    return ~0u;
}
VG_OP3(fns_b32, r, uint32_t, r, uint32_t, r, uint32_t, r, int32_t, fns(a, b, c))

static inline uint32_t prmt1(uint64_t v, uint32_t sel)
{
    uint32_t byte = (uint32_t)(v >> ((sel & 7) * 8)) & 0xff;
    return sel & 8 ? (byte & 0x80 ? 0xff : 0) : byte;
}
static inline uint32_t prmt(uint32_t a, uint32_t b, uint32_t c)
{
    uint64_t v = (uint64_t)b << 32 | a;
    return prmt1(v, c) | prmt1(v, c >> 4) << 8 | prmt1(v, c >> 8) << 16 | prmt1(v, c >> 12) << 24;
}
R3(prmt_b32, prmt(a, b, c))
R3(prmt_f4e, (uint32_t)(((uint64_t)b << 32 | a) >> ((c & 3) * 8)))
R3(prmt_b4e, prmt(a, b, (c & 3) == 0 ? 0x5670 : (c & 3) == 1 ? 0x6701 : (c & 3) == 2 ? 0x7012 : 0x0123))
R3(prmt_rc8, (a >> ((c & 3) * 8) & 0xff) * 0x01010101u)
R3(prmt_ecl, prmt(a, b, (c & 3) == 0 ? 0x3210 : (c & 3) == 1 ? 0x3211 : (c & 3) == 2 ? 0x3222 : 0x3333))
R3(prmt_ecr, prmt(a, b, (c & 3) == 0 ? 0x0000 : (c & 3) == 1 ? 0x1110 : (c & 3) == 2 ? 0x2210 : 0x3210))
R3(prmt_rc16, (a >> ((c & 1) * 16) & 0xffff) * 0x00010001u)

static inline uint32_t lop3(uint32_t a, uint32_t b, uint32_t c, uint32_t lut)
{
    uint32_t r = 0;
    r |= lut & 0x01 ? ~a & ~b & ~c : 0;
    r |= lut & 0x02 ? ~a & ~b & c : 0;
    r |= lut & 0x04 ? ~a & b & ~c : 0;
    r |= lut & 0x08 ? ~a & b & c : 0;
    r |= lut & 0x10 ? a & ~b & ~c : 0;
    r |= lut & 0x20 ? a & ~b & c : 0;
    r |= lut & 0x40 ? a & b & ~c : 0;
    r |= lut & 0x80 ? a & b & c : 0;
    return r;
}
R3(lop3_b32, lop3(a, b, c, (uint32_t)o->imm))

R3(shf_l_wrap, (uint32_t)((((uint64_t)b << 32 | a) << (c & 31)) >> 32))
R3(shf_r_wrap, (uint32_t)(((uint64_t)b << 32 | a) >> (c & 31)))
R3(shf_l_clamp, (uint32_t)((((uint64_t)b << 32 | a) << MIN(c, 32u)) >> 32))
R3(shf_r_clamp, (uint32_t)(((uint64_t)b << 32 | a) >> MIN(c, 32u)))
R2(bmsk_clamp, b == 0 || a > 31 ? 0 : (uint32_t)((b > 31 ? ~0ull : (1ull << b) - 1) << a))
R2(bmsk_wrap, (uint32_t)(((1ull << (b & 31)) - 1) << (a & 31)))
static inline uint32_t szext(uint32_t a, uint32_t n, bool sign)
{
    if (n == 0) {
        return 0;
    }
    if (n > 31) {
        return a;
    }
    uint32_t mask = (1u << n) - 1;
    return sign && (a >> (n - 1) & 1) ? a | ~mask : a & mask;
}
R2(szext_clamp_u32, szext(a, b, false))
R2(szext_clamp_s32, szext(a, b, true))
R2(szext_wrap_u32, szext(a, b & 31, false))
R2(szext_wrap_s32, szext(a, b & 31, true))

static inline int32_t byte_of(uint32_t v, int i, bool sign)
{
    uint32_t b = v >> (i * 8) & 0xff;
    return sign ? (int32_t)(int8_t)b : (int32_t)b;
}
static inline uint32_t dp4a(uint32_t a, uint32_t b, uint32_t c, bool sa, bool sb)
{
    for (int i = 0; i < 4; i++) {
        c += (uint32_t)(byte_of(a, i, sa) * byte_of(b, i, sb));
    }
    return c;
}
static inline uint32_t dp2a(uint32_t a, uint32_t b, uint32_t c, bool sa, bool sb, int at)
{
    for (int i = 0; i < 2; i++) {
        int32_t h = sa ? S16(a >> (16 * i)) : (int32_t)U16(a >> (16 * i));
        c += (uint32_t)(h * byte_of(b, at + i, sb));
    }
    return c;
}
R3(dp4a_uu, dp4a(a, b, c, false, false)) R3(dp4a_us, dp4a(a, b, c, false, true))
R3(dp4a_su, dp4a(a, b, c, true, false))  R3(dp4a_ss, dp4a(a, b, c, true, true))
R3(dp2a_lo_uu, dp2a(a, b, c, false, false, 0)) R3(dp2a_lo_us, dp2a(a, b, c, false, true, 0))
R3(dp2a_lo_su, dp2a(a, b, c, true, false, 0))  R3(dp2a_lo_ss, dp2a(a, b, c, true, true, 0))
R3(dp2a_hi_uu, dp2a(a, b, c, false, false, 2)) R3(dp2a_hi_us, dp2a(a, b, c, false, true, 2))
R3(dp2a_hi_su, dp2a(a, b, c, true, false, 2))  R3(dp2a_hi_ss, dp2a(a, b, c, true, true, 2))

// Carry chains: the condition code is one bit per lane. flags 1: reads it, 2: writes it.
#define CARRY(name, fd, td, wide, sum)                                                             \
    VG_OP(name)                                                                                    \
    {                                                                                              \
        const td *pa = vg_##fd(w, o->a), *pb = vg_##fd(w, o->b), *pc = vg_##fd(w, o->c);           \
        uint32_t out = 0;                                                                          \
        VG_INTO(td, fd);                                                                         \
        for (int l = 0; l < 32; l++) {                                                             \
            const wide a = pa[l], b = pb[l], c = pc[l], in = o->flags & 1 ? w->cc >> l & 1 : 0;    \
            (void)c;                                                                               \
            const wide s = sum;                                                                    \
            out |= (uint32_t)(s >> (sizeof(td) * 8) & 1) << l;                                     \
            y[l] = (td)s;                                                                          \
        }                                                                                          \
        if (o->flags & 2) {                                                                        \
            w->cc = (w->cc & ~m) | (out & m);                                                      \
        }                                                                                          \
        VG_DONE(fd, td);                                                                           \
    }
CARRY(addc_b32, r, uint32_t, uint64_t, a + b + in)
CARRY(addc_b64, d, uint64_t, u128, a + b + in)
CARRY(subc_b32, r, uint32_t, uint64_t, a - b - in)
CARRY(subc_b64, d, uint64_t, u128, a - b - in)
CARRY(madc_lo_b32, r, uint32_t, uint64_t, (uint32_t)(a * b) + c + in)
CARRY(madc_lo_b64, d, uint64_t, u128, (u128)(uint64_t)(a * b) + c + in)
CARRY(madc_hi_u32, r, uint32_t, uint64_t, ((a * b) >> 32) + c + in)
CARRY(madc_hi_u64, d, uint64_t, u128, ((a * b) >> 64) + c + in)
CARRY(madc_hi_s32, r, uint32_t, uint64_t, (uint64_t)(uint32_t)(((int64_t)(int32_t)a * (int32_t)b) >> 32) + c + in)
CARRY(madc_hi_s64, d, uint64_t, u128, (u128)(uint64_t)(((s128)(int64_t)a * (int64_t)b) >> 64) + c + in)

#define I(key, sig, fn) {key, sig, fn, VG_N_WARP_INT}
const struct vg_alu VG_PASTE(vg_alu_int, VG_LEVEL)[] = {
    I("add.b16", "Rrr", add_b16), I("add.b32", "Rrr", add_b32), I("add.b64", "Ddd", add_b64),
    I("sub.b16", "Rrr", sub_b16), I("sub.b32", "Rrr", sub_b32), I("sub.b64", "Ddd", sub_b64),
    I("mul.lo.b16", "Rrr", mul_lo_b16), I("mul.lo.b32", "Rrr", mul_lo_b32), I("mul.lo.b64", "Ddd", mul_lo_b64),
    I("and.b16", "Rrr", and_b32), I("and.b32", "Rrr", and_b32), I("and.b64", "Ddd", and_b64),
    I("or.b16", "Rrr", or_b32), I("or.b32", "Rrr", or_b32), I("or.b64", "Ddd", or_b64),
    I("xor.b16", "Rrr", xor_b32), I("xor.b32", "Rrr", xor_b32), I("xor.b64", "Ddd", xor_b64),
    I("not.b16", "Rr", not_b16), I("not.b32", "Rr", not_b32), I("not.b64", "Dd", not_b64),
    I("cnot.b16", "Rr", cnot_b32), I("cnot.b32", "Rr", cnot_b32), I("cnot.b64", "Dd", cnot_b64),
    I("neg.s16", "Rr", neg_b16), I("neg.s32", "Rr", neg_b32), I("neg.s64", "Dd", neg_b64),
    I("abs.s16", "Rr", abs_s16), I("abs.s32", "Rr", abs_s32), I("abs.s64", "Dd", abs_s64),
    I("min.u16", "Rrr", min_u32), I("min.u32", "Rrr", min_u32), I("min.u64", "Ddd", min_u64),
    I("min.s16", "Rrr", min_s16), I("min.s32", "Rrr", min_s32), I("min.s64", "Ddd", min_s64),
    I("max.u16", "Rrr", max_u32), I("max.u32", "Rrr", max_u32), I("max.u64", "Ddd", max_u64),
    I("max.s16", "Rrr", max_s16), I("max.s32", "Rrr", max_s32), I("max.s64", "Ddd", max_s64),
    I("min.relu.s32", "Rrr", min_relu_s32), I("max.relu.s32", "Rrr", max_relu_s32),
    I("add.u16x2", "Rrr", add_16x2), I("add.s16x2", "Rrr", add_16x2),
    I("min.u16x2", "Rrr", min_u16x2), I("max.u16x2", "Rrr", max_u16x2),
    I("min.s16x2", "Rrr", min_s16x2), I("max.s16x2", "Rrr", max_s16x2),
    I("min.relu.s16x2", "Rrr", min_relu_s16x2), I("max.relu.s16x2", "Rrr", max_relu_s16x2),
    I("shl.b16", "Rrr", shl_b16), I("shl.b32", "Rrr", shl_b32), I("shl.b64", "Ddr", shl_b64),
    I("shr.u16", "Rrr", shr_u16), I("shr.u32", "Rrr", shr_u32), I("shr.u64", "Ddr", shr_u64),
    I("shr.s16", "Rrr", shr_s16), I("shr.s32", "Rrr", shr_s32), I("shr.s64", "Ddr", shr_s64),
    I("mul.wide.u16", "Rrr", mul_wide_u16), I("mul.wide.s16", "Rrr", mul_wide_s16),
    I("mul.wide.u32", "Drr", mul_wide_u32), I("mul.wide.s32", "Drr", mul_wide_s32),
    I("mul.hi.u16", "Rrr", mul_hi_u16), I("mul.hi.s16", "Rrr", mul_hi_s16),
    I("mul.hi.u32", "Rrr", mul_hi_u32), I("mul.hi.s32", "Rrr", mul_hi_s32),
    I("mul.hi.u64", "Ddd", mul_hi_u64), I("mul.hi.s64", "Ddd", mul_hi_s64),
    I("mad.lo.b16", "Rrrr", mad_lo_b16), I("mad.lo.b32", "Rrrr", mad_lo_b32), I("mad.lo.b64", "Dddd", mad_lo_b64),
    I("mad.wide.u16", "Rrrr", mad_wide_u16), I("mad.wide.s16", "Rrrr", mad_wide_s16),
    I("mad.wide.u32", "Drrd", mad_wide_u32), I("mad.wide.s32", "Drrd", mad_wide_s32),
    I("mad.hi.u32", "Rrrr", mad_hi_u32), I("mad.hi.s32", "Rrrr", mad_hi_s32),
    I("mad.hi.u64", "Dddd", mad_hi_u64), I("mad.hi.s64", "Dddd", mad_hi_s64),
    I("mad.hi.sat.s32", "Rrrr", mad_hi_sat_s32),
    I("add.sat.s32", "Rrr", add_sat_s32), I("sub.sat.s32", "Rrr", sub_sat_s32),
    I("mul24.lo.u32", "Rrr", mul24_lo_u32), I("mul24.lo.s32", "Rrr", mul24_lo_s32),
    I("mul24.hi.u32", "Rrr", mul24_hi_u32), I("mul24.hi.s32", "Rrr", mul24_hi_s32),
    I("mad24.lo.u32", "Rrrr", mad24_lo_u32), I("mad24.lo.s32", "Rrrr", mad24_lo_s32),
    I("mad24.hi.u32", "Rrrr", mad24_hi_u32), I("mad24.hi.s32", "Rrrr", mad24_hi_s32),
    I("mad24.hi.sat.s32", "Rrrr", mad24_hi_sat_s32),
    I("sad.u16", "Rrrr", sad_u16), I("sad.s16", "Rrrr", sad_s16), I("sad.u32", "Rrrr", sad_u32),
    I("sad.s32", "Rrrr", sad_s32), I("sad.u64", "Dddd", sad_u64), I("sad.s64", "Dddd", sad_s64),
    I("div.u16", "Rrr", div_u16), I("div.s16", "Rrr", div_s16), I("rem.u16", "Rrr", rem_u16), I("rem.s16", "Rrr", rem_s16),
    I("div.u32", "Rrr", div_u32), I("div.s32", "Rrr", div_s32), I("rem.u32", "Rrr", rem_u32), I("rem.s32", "Rrr", rem_s32),
    I("div.u64", "Ddd", div_u64), I("div.s64", "Ddd", div_s64), I("rem.u64", "Ddd", rem_u64), I("rem.s64", "Ddd", rem_s64),
    I("popc.b32", "Rr", popc_b32), I("popc.b64", "Rd", popc_b64), I("clz.b32", "Rr", clz_b32), I("clz.b64", "Rd", clz_b64),
    I("brev.b32", "Rr", brev_b32), I("brev.b64", "Dd", brev_b64),
    I("bfind.u32", "Rr", bfind_u32), I("bfind.s32", "Rr", bfind_s32), I("bfind.u64", "Rd", bfind_u64), I("bfind.s64", "Rd", bfind_s64),
    I("bfe.u32", "Rrrr", bfe_u32), I("bfe.s32", "Rrrr", bfe_s32), I("bfe.u64", "Ddrr", bfe_u64), I("bfe.s64", "Ddrr", bfe_s64),
    I("bfi.b32", "Rrrrr", bfi_b32), I("bfi.b64", "Dddrr", bfi_b64), I("fns.b32", "Rrrr", fns_b32),
    I("prmt.b32", "Rrrr", prmt_b32), I("prmt.b32.f4e", "Rrrr", prmt_f4e), I("prmt.b32.b4e", "Rrrr", prmt_b4e),
    I("prmt.b32.rc8", "Rrrr", prmt_rc8), I("prmt.b32.ecl", "Rrrr", prmt_ecl), I("prmt.b32.ecr", "Rrrr", prmt_ecr),
    I("prmt.b32.rc16", "Rrrr", prmt_rc16), I("lop3.b32", "Rrrri", lop3_b32),
    I("shf.l.wrap.b32", "Rrrr", shf_l_wrap), I("shf.r.wrap.b32", "Rrrr", shf_r_wrap),
    I("shf.l.clamp.b32", "Rrrr", shf_l_clamp), I("shf.r.clamp.b32", "Rrrr", shf_r_clamp),
    I("bmsk.clamp.b32", "Rrr", bmsk_clamp), I("bmsk.wrap.b32", "Rrr", bmsk_wrap),
    I("szext.clamp.u32", "Rrr", szext_clamp_u32), I("szext.clamp.s32", "Rrr", szext_clamp_s32),
    I("szext.wrap.u32", "Rrr", szext_wrap_u32), I("szext.wrap.s32", "Rrr", szext_wrap_s32),
    I("dp4a.u32.u32", "Rrrr", dp4a_uu), I("dp4a.u32.s32", "Rrrr", dp4a_us), I("dp4a.s32.u32", "Rrrr", dp4a_su), I("dp4a.s32.s32", "Rrrr", dp4a_ss),
    I("dp2a.lo.u32.u32", "Rrrr", dp2a_lo_uu), I("dp2a.lo.u32.s32", "Rrrr", dp2a_lo_us), I("dp2a.lo.s32.u32", "Rrrr", dp2a_lo_su), I("dp2a.lo.s32.s32", "Rrrr", dp2a_lo_ss),
    I("dp2a.hi.u32.u32", "Rrrr", dp2a_hi_uu), I("dp2a.hi.u32.s32", "Rrrr", dp2a_hi_us), I("dp2a.hi.s32.u32", "Rrrr", dp2a_hi_su), I("dp2a.hi.s32.s32", "Rrrr", dp2a_hi_ss),
    I("addc.b32", "Rrr", addc_b32), I("addc.b64", "Ddd", addc_b64), I("subc.b32", "Rrr", subc_b32), I("subc.b64", "Ddd", subc_b64),
    I("madc.lo.b32", "Rrrr", madc_lo_b32), I("madc.lo.b64", "Dddd", madc_lo_b64),
    I("madc.hi.u32", "Rrrr", madc_hi_u32), I("madc.hi.u64", "Dddd", madc_hi_u64),
    I("madc.hi.s32", "Rrrr", madc_hi_s32), I("madc.hi.s64", "Dddd", madc_hi_s64),
    {0},
};
