// SPDX-License-Identifier: Apache-2.0
// lanes.h - what the ops_*.c share: loops over 32 lanes, writing under a mask. These files are
// compiled per instruction set with VG_LEVEL set to a suffix.
#ifndef VG_LANES_H
#define VG_LANES_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "count.h"
#include "ops.h"
#include "warp.h"

#define VG_PASTE2(a, b) a##_##b
#define VG_PASTE(a, b) VG_PASTE2(a, b)

// Lanes do not depend on each other: a row is read and written at the same lane only.
#ifdef __clang__
#define VG_LANES _Pragma("clang loop vectorize(assume_safety)") for (int l = 0; l < 32; l++)
#else
#define VG_LANES _Pragma("GCC ivdep") for (int l = 0; l < 32; l++)
#endif

#define VG_OP(name) static int name(struct vg_warp *w, const struct vg_op *o, uint32_t m)
#define VG_TYPED(type, file, row) ((type *)(void *)vg_##file(w, row))

static inline void vg_blend_r(uint32_t *d, const uint32_t *t, uint32_t m)
{
    VG_LANES
    {
        d[l] = m >> l & 1 ? t[l] : d[l];
    }
}
static inline void vg_blend_d(uint64_t *d, const uint64_t *t, uint32_t m)
{
    VG_LANES
    {
        d[l] = m >> l & 1 ? t[l] : d[l];
    }
}

// y: where the lanes go, the row itself when all lanes are on.
#define VG_INTO(type, file) \
    type t_[32] __attribute__((aligned(64))); \
    type *const d_ = VG_TYPED(type, file, o->d); \
    type *const y = m == ~0u ? d_ : t_
#define VG_DONE(file, word) \
    if (y == t_) { \
        vg_blend_##file((word *)(void *)d_, (const word *)(void *)t_, m); \
    } \
    return VG_STEP_DONE

// One, two, three sources; file letters and types of destination and sources. The expression sees
// a, b, c.
#define VG_OP1(name, fd, td, fa, ta, expr) \
    VG_OP(name) \
    { \
        const ta *pa = VG_TYPED(const ta, fa, o->a); \
        VG_INTO(td, fd); \
        VG_LANES \
        { \
            const ta a = pa[l]; \
            y[l] = (td)(expr); \
        } \
        VG_DONE(fd, VG_WORD_##fd); \
    }
#define VG_OP2(name, fd, td, fa, ta, fb, tb, expr) \
    VG_OP(name) \
    { \
        const ta *pa = VG_TYPED(const ta, fa, o->a); \
        const tb *pb = VG_TYPED(const tb, fb, o->b); \
        VG_INTO(td, fd); \
        VG_LANES \
        { \
            const ta a = pa[l]; \
            const tb b = pb[l]; \
            (void)a, (void)b; \
            y[l] = (td)(expr); \
        } \
        VG_DONE(fd, VG_WORD_##fd); \
    }
#define VG_OP3(name, fd, td, fa, ta, fb, tb, fc, tc, expr) \
    VG_OP(name) \
    { \
        const ta *pa = VG_TYPED(const ta, fa, o->a); \
        const tb *pb = VG_TYPED(const tb, fb, o->b); \
        const tc *pc = VG_TYPED(const tc, fc, o->c); \
        VG_INTO(td, fd); \
        VG_LANES \
        { \
            const ta a = pa[l]; \
            const tb b = pb[l]; \
            const tc c = pc[l]; \
            (void)a, (void)b, (void)c; \
            y[l] = (td)(expr); \
        } \
        VG_DONE(fd, VG_WORD_##fd); \
    }
#define VG_WORD_r uint32_t
#define VG_WORD_d uint64_t

// ---- float bits ----
static inline uint32_t vg_bits(float f)
{
    uint32_t u;
    memcpy(&u, &f, 4);
    return u;
}
static inline float vg_float(uint32_t u)
{
    float f;
    memcpy(&f, &u, 4);
    return f;
}
static inline uint64_t vg_bits64(double f)
{
    uint64_t u;
    memcpy(&u, &f, 8);
    return u;
}
static inline double vg_double(uint64_t u)
{
    double f;
    memcpy(&f, &u, 8);
    return f;
}
// Denormals become zeros of their sign.
static inline float vg_ftz(float x)
{
    uint32_t u = vg_bits(x);
    return vg_float((u & 0x7f800000) == 0 ? u & 0x80000000 : u);
}
// Every NaN result of f32 arithmetic is this one.
static inline float vg_nan1(float x)
{
    return x != x ? vg_float(0x7fffffff) : x;
}
static inline float vg_sat(float x)
{
    return x > 0 ? (x < 1 ? x : 1.0f) : 0.0f;
}

static inline float vg_h2f(uint32_t h) // f16 bits
{
    uint32_t s = (h & 0x8000) << 16, em = h & 0x7fff;
    uint32_t n = (em << 13) + 0x38000000;
    n = em >= 0x7c00 ? (em << 13) | 0x7f800000 : n;
    uint32_t den = vg_bits((float)(int32_t)em * 0x1p-24f);
    n = em < 0x400 ? den : n;
    return vg_float(n | s);
}
static inline uint32_t vg_f2h(float f) // nearest even
{
    uint32_t u = vg_bits(f), s = u >> 16 & 0x8000, a = u & 0x7fffffff;
    uint32_t r = a - 0x38000000;
    r = (r + 0xfff + (r >> 13 & 1)) >> 13;
    uint32_t den = vg_bits(vg_float(a) + 0.5f) - 0x3f000000;
    r = a < 0x38800000 ? den : r;
    r = a >= 0x47800000 ? 0x7c00 : r;
    return a > 0x7f800000 ? 0x7fff : r | s;
}
static inline float vg_b2f(uint32_t h) // bf16 bits
{
    return vg_float(h << 16);
}
static inline uint32_t vg_f2b(float f)
{
    uint32_t u = vg_bits(f);
    uint32_t r = (u + 0x7fff + (u >> 16 & 1)) >> 16;
    return (u & 0x7fffffff) > 0x7f800000 ? 0x7fff : r;
}
// To f32, round to odd: a later rounding to at most 22 bits is then right.
static inline float vg_d2f_odd(double d)
{
    float f = (float)d;
    double back = (double)f;
    uint32_t u = vg_bits(f);
    uint32_t adj = u + (fabs(back) < fabs(d) ? 1u : ~0u);
    bool inexact = back != d && d == d && (u & 1) == 0;
    return vg_float(inexact ? adj : u);
}
// a * b + c rounded to odd in double, for formats of few bits.
static inline double vg_fma_odd(double a, double b, double c)
{
    double p = a * b; // exact for the small formats
    double s = p + c;
    double bb = s - p;
    double e = (p - (s - bb)) + (c - bb);
    uint64_t u = vg_bits64(s);
    bool up = (e > 0) == (s > 0);
    uint64_t adj = u + (up ? 1u : ~0ull);
    bool inexact = e != 0 && e == e && fabs(s) < INFINITY && (u & 1) == 0;
    return vg_double(inexact ? adj : u);
}

#endif
