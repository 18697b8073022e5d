// SPDX-License-Identifier: Apache-2.0
// tcore.c - numbers of tensor instructions one by one; see tcore.h.
#include "tcore.h"

#include <string.h>

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

unsigned vg_tc_per_reg(enum ptx_type t)
{
    switch ((int)t) {
    case PTX_TF32:
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

float vg_tc_element(enum ptx_type t, uint32_t word, unsigned i)
{
    switch ((int)t) {
    case PTX_TF32:
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
