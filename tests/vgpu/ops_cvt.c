// SPDX-License-Identifier: Apache-2.0
// The conversions that kernels do all the time, as vector loops; cvt.c has the general one.
#include "lanes.h"

// clang-format off
// Integer widening and narrowing: source kind to a row of 8, 16, 32, 64 bits.
#define INT_TO(src, fs, ts, conv)                                                                  \
    VG_OP1(src##_r8, r, uint32_t, fs, ts, (uint32_t)(uint8_t)conv(a))                              \
    VG_OP1(src##_r16, r, uint32_t, fs, ts, (uint32_t)(uint16_t)conv(a))                            \
    VG_OP1(src##_r32, r, uint32_t, fs, ts, (uint32_t)conv(a))                                      \
    VG_OP1(src##_r64, d, uint64_t, fs, ts, (uint64_t)conv(a))
#define AS_S8(x) ((int64_t)(int8_t)(x))
#define AS_S16(x) ((int64_t)(int16_t)(x))
#define AS_U8(x) ((uint64_t)(uint8_t)(x))
#define AS_U16(x) ((uint64_t)(uint16_t)(x))
#define AS_S32(x) ((int64_t)(int32_t)(x))
#define AS_IS(x) (x)
INT_TO(s8, r, uint32_t, AS_S8)
INT_TO(u8, r, uint32_t, AS_U8)
INT_TO(s16, r, uint32_t, AS_S16)
INT_TO(u16, r, uint32_t, AS_U16)
INT_TO(s32, r, uint32_t, AS_S32)
INT_TO(u32, r, uint32_t, AS_IS)
INT_TO(b64, d, uint64_t, AS_IS)

VG_OP1(f32_s32, r, float, r, int32_t, a)
VG_OP1(f32_u32, r, float, r, uint32_t, a)
VG_OP1(f32_s64, r, float, d, int64_t, a)
VG_OP1(f32_u64, r, float, d, uint64_t, a)
VG_OP1(f64_s32, d, double, r, int32_t, a)
VG_OP1(f64_u32, d, double, r, uint32_t, a)
VG_OP1(f64_s64, d, double, d, int64_t, a)
VG_OP1(f64_u64, d, double, d, uint64_t, a)
VG_OP1(f64_f32, d, double, r, float, a)
VG_OP1(f32_f64, r, float, d, double, vg_nan1((float)a))
VG_OP1(f32_f16, r, float, r, uint32_t, vg_h2f(a & 0xffff))
VG_OP1(f32_bf16, r, float, r, uint32_t, vg_b2f(a & 0xffff))
VG_OP1(f16_f32, r, uint32_t, r, float, vg_f2h(a))
VG_OP1(bf16_f32, r, uint32_t, r, float, vg_f2b(a))
VG_OP2(f16x2_f32, r, uint32_t, r, float, r, float, vg_f2h(a) << 16 | vg_f2h(b))
VG_OP2(bf16x2_f32, r, uint32_t, r, float, r, float, vg_f2b(a) << 16 | vg_f2b(b))

// f32 to s32, u32 with saturation, NaN to 0. The rounding trick of 1.5 * 2^23 holds below 2^22; above
// it rintf and friends are the compiler's.
static inline int32_t to_s32(float x)
{
    int32_t v = (int32_t)(x >= 2147483648.0f || x < -2147483648.0f || x != x ? 0.0f : x);
    v = x >= 2147483648.0f ? INT32_MAX : v;
    return x < -2147483648.0f ? INT32_MIN : v;
}
static inline uint32_t to_u32(float x)
{
    int64_t v = (int64_t)(x >= 4294967296.0f || x < 0.0f || x != x ? 0.0f : x);
    return x >= 4294967296.0f ? UINT32_MAX : (uint32_t)v;
}
VG_OP1(s32_f32_rzi, r, int32_t, r, float, to_s32(a))
VG_OP1(s32_f32_rni, r, int32_t, r, float, to_s32(__builtin_rintf(a)))
VG_OP1(s32_f32_rmi, r, int32_t, r, float, to_s32(__builtin_floorf(a)))
VG_OP1(s32_f32_rpi, r, int32_t, r, float, to_s32(__builtin_ceilf(a)))
VG_OP1(u32_f32_rzi, r, uint32_t, r, float, to_u32(a))
VG_OP1(u32_f32_rni, r, uint32_t, r, float, to_u32(__builtin_rintf(a)))
VG_OP1(f32_rni, r, float, r, float, vg_nan1(__builtin_rintf(a)))
VG_OP1(f32_rzi, r, float, r, float, vg_nan1(__builtin_truncf(a)))
VG_OP1(f32_rmi, r, float, r, float, vg_nan1(__builtin_floorf(a)))
VG_OP1(f32_rpi, r, float, r, float, vg_nan1(__builtin_ceilf(a)))
VG_OP1(f32_sat, r, float, r, float, vg_sat(a))

#define C VG_N_WARP_CVT
#define INT_ROWS(key, src, s) {"cvt." key ".r8", "R" s, src##_r8, C}, {"cvt." key ".r16", "R" s, src##_r16, C}, \
    {"cvt." key ".r32", "R" s, src##_r32, C}, {"cvt." key ".r64", "D" s, src##_r64, C}
const struct vg_alu VG_PASTE(vg_alu_cvt, VG_LEVEL)[] = {
    INT_ROWS("s8", s8, "r"), INT_ROWS("u8", u8, "r"), INT_ROWS("s16", s16, "r"), INT_ROWS("u16", u16, "r"),
    INT_ROWS("s32", s32, "r"), INT_ROWS("u32", u32, "r"), INT_ROWS("s64", b64, "d"), INT_ROWS("u64", b64, "d"),
    {"cvt.rn.f32.s32", "Rr", f32_s32, C}, {"cvt.rn.f32.u32", "Rr", f32_u32, C}, {"cvt.rn.f32.s64", "Rd", f32_s64, C},
    {"cvt.rn.f32.u64", "Rd", f32_u64, C}, {"cvt.rn.f64.s32", "Dr", f64_s32, C}, {"cvt.rn.f64.u32", "Dr", f64_u32, C},
    {"cvt.rn.f64.s64", "Dd", f64_s64, C}, {"cvt.rn.f64.u64", "Dd", f64_u64, C}, {"cvt.f64.f32", "Dr", f64_f32, C},
    {"cvt.rn.f32.f64", "Rd", f32_f64, C}, {"cvt.f32.f16", "Rr", f32_f16, C}, {"cvt.f32.bf16", "Rr", f32_bf16, C},
    {"cvt.rn.f16.f32", "Rr", f16_f32, C}, {"cvt.rn.bf16.f32", "Rr", bf16_f32, C}, {"cvt.rn.f16x2.f32", "Rrr", f16x2_f32, C},
    {"cvt.rn.bf16x2.f32", "Rrr", bf16x2_f32, C}, {"cvt.rzi.s32.f32", "Rr", s32_f32_rzi, C}, {"cvt.rni.s32.f32", "Rr", s32_f32_rni, C},
    {"cvt.rmi.s32.f32", "Rr", s32_f32_rmi, C}, {"cvt.rpi.s32.f32", "Rr", s32_f32_rpi, C}, {"cvt.rzi.u32.f32", "Rr", u32_f32_rzi, C},
    {"cvt.rni.u32.f32", "Rr", u32_f32_rni, C}, {"cvt.rni.f32.f32", "Rr", f32_rni, C}, {"cvt.rzi.f32.f32", "Rr", f32_rzi, C},
    {"cvt.rmi.f32.f32", "Rr", f32_rmi, C}, {"cvt.rpi.f32.f32", "Rr", f32_rpi, C}, {"cvt.sat.f32.f32", "Rr", f32_sat, C},
    {0},
};
