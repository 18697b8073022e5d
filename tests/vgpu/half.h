// SPDX-License-Identifier: Apache-2.0
//
// half.h - f16, bf16 and fp8 to and from float, round to nearest even; for the library stand-ins.
#ifndef VG_HALF_H
#define VG_HALF_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

static inline float vg_bf16_float(uint16_t h)
{
    uint32_t u = (uint32_t)h << 16;
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

static inline uint16_t vg_float_bf16(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    if ((u & 0x7FFFFFFF) > 0x7F800000) {
        return 0x7FFF;
    }
    return (uint16_t)((u + 0x7FFF + (u >> 16 & 1)) >> 16);
}

// A small float of `e` exponent and `m` mantissa bits. has_inf: the top exponent is infinity and
// NaN (f16, e5m2); else only all ones is NaN (e4m3).
static inline float vg_small_float(uint32_t v, unsigned e, unsigned m, bool has_inf)
{
    uint32_t sign = v >> (e + m) & 1, ex = v >> m & ((1u << e) - 1), man = v & ((1u << m) - 1);
    int bias = (1 << (e - 1)) - 1;
    float f;
    if (has_inf && ex == (1u << e) - 1) {
        f = man != 0 ? NAN : INFINITY;
    } else if (!has_inf && ex == (1u << e) - 1 && man == (1u << m) - 1) {
        f = NAN;
    } else if (ex == 0) {
        f = ldexpf((float)man, 1 - bias - (int)m);
    } else {
        f = ldexpf((float)(man | 1u << m), (int)ex - bias - (int)m);
    }
    return sign != 0 ? -f : f;
}

static inline uint32_t vg_float_small(float f, unsigned e, unsigned m, bool has_inf)
{
    int bias = (1 << (e - 1)) - 1;
    uint32_t sign = signbit(f) ? 1u << (e + m) : 0, top = (1u << e) - 1;
    uint32_t inf = has_inf ? top << m : (top << m | ((1u << m) - 1)); // e4m3: no infinity, NaN
    if (isnan(f)) {
        return has_inf ? (top << m | 1u << (m - 1)) : inf;
    }
    float a = fabsf(f);
    int ex = 0;
    if (a == 0) {
        return sign;
    }
    if (isinf(a)) {
        return sign | inf;
    }
    frexpf(a, &ex);
    ex -= 1; // a = 1.xxx * 2^ex
    int step = (ex < 1 - bias ? 1 - bias : ex) - (int)m;
    float q = rintf(ldexpf(a, -step)); // exact but for the rounding
    float r = ldexpf(q, step);
    float most = has_inf ? ldexpf((float)((2u << m) - 1), (int)top - 1 - bias - (int)m)
                         : ldexpf((float)((2u << m) - 2), (int)top - bias - (int)m);
    if (r > most) {
        return sign | inf;
    }
    frexpf(r, &ex);
    ex -= 1;
    if (ex < 1 - bias) {
        return sign | (uint32_t)q;
    }
    uint32_t man = (uint32_t)ldexpf(r, (int)m - ex) & ((1u << m) - 1);
    return sign | (uint32_t)(ex + bias) << m | man;
}

static inline float vg_f16_float(uint16_t h)
{
    return vg_small_float(h, 5, 10, true);
}

static inline uint16_t vg_float_f16(float f)
{
    return (uint16_t)vg_float_small(f, 5, 10, true);
}

#endif
