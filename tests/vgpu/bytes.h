// SPDX-License-Identifier: Apache-2.0
//
// bytes.h - little-endian numbers at any address of a file in memory.
#ifndef VG_BYTES_H
#define VG_BYTES_H

#include <stdint.h>
#include <string.h>

static inline uint16_t vg_u16(const uint8_t *p)
{
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline uint32_t vg_u32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline uint64_t vg_u64(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

#endif
