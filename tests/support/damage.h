/* SPDX-License-Identifier: Apache-2.0
 *
 * damage.h - every damaged version of one file, one after the other, in place. */
#ifndef OCT_TEST_DAMAGE_H
#define OCT_TEST_DAMAGE_H

#include "base/mem.h"

/* What to do with each version; `what` says how the file differs ("cut at 17"). */
typedef void (*oct_damage_fn)(void *user, const char *what);

struct oct_damage {
    const char *path;     /* the file; whole again afterwards */
    size_t header_bytes;  /* the part to damage */
    const uint64_t *cuts; /* more places to cut at */
    size_t n_cuts;
    uint32_t stride; /* 1: every version; n: every n-th, for costlier checks */
    oct_damage_fn fn;
    void *user;
};

struct oct_damage_counts {
    size_t cuts, flips, u32s, u64s;
};

/* The versions: the file cut at every byte of the header and at `cuts`; every bit of the header
 * flipped; 0, 1, 2^31-1, 2^31, 2^32-1 as u32 and those and 2^32, 2^63-1, 2^63, 2^64-1 as u64 at
 * every offset of the header. A version that is equal to the file is left out. */
struct oct_damage_counts oct_damage_file(const struct oct_damage *d);

#endif
