// SPDX-License-Identifier: Apache-2.0
// quad.h - 16 bytes by each of 32 lanes, of which four neighbours touch 64 bytes in a row, as they
// do when a warp reads rows of a tile: 8 vectors in place of 32.
#ifndef VG_QUAD_H
#define VG_QUAD_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

typedef uint8_t vg_quad __attribute__((vector_size(64), aligned(1), may_alias));

static inline bool vg_are_quads(const uint64_t at[32])
{
    typedef uint64_t four __attribute__((vector_size(32), aligned(8), may_alias));
    const four step = {0, 16, 32, 48};
    four odd = {0};
    for (unsigned i = 0; i < 32; i += 4) {
        odd |= *(const four *)(const void *)(at + i) ^ (step + at[i]);
    }
    return !(odd[0] | odd[1] | odd[2] | odd[3]);
}

static inline bool vg_quad_is_zero(vg_quad v)
{
    typedef uint64_t eight __attribute__((vector_size(64)));
    const eight e = (eight)v;
    return !(e[0] | e[1] | e[2] | e[3] | e[4] | e[5] | e[6] | e[7]);
}

#endif
