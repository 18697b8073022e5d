/* SPDX-License-Identifier: Apache-2.0
 *
 * bf16.h - conversions between fp32 and bfloat16: round to nearest even, NaN stays a quiet NaN. */
#ifndef OCT_BASE_BF16_H
#define OCT_BASE_BF16_H

#include <stdint.h>
#include <string.h>

static inline float oct_bf16_to_f32(uint16_t h)
{
    const uint32_t bits = (uint32_t)h << 16;
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static inline uint16_t oct_f32_to_bf16(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    const uint32_t rounded = bits + 0x7fffu + ((bits >> 16) & 1u);
    const uint32_t nan = (bits >> 16) | 0x40u;
    return (uint16_t)((bits & 0x7fffffffu) > 0x7f800000u ? nan : rounded >> 16);
}

#endif
