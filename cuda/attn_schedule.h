/* SPDX-License-Identifier: Apache-2.0
 *
 * attn_schedule.h - how attn_decode deals the work of a step to its blocks.
 *
 * A unit is a sequence, a key head and up to 16 of its query heads; an item is one split of a unit
 * and is never cut, because a split's bits are those of all of it. Splits differ: the last of a
 * sequence, and at a window the first, may hold one tile where others hold 8. So blocks get equal
 * stretches of *tiles*: those of all units stand in one row, block b has stretch b, and takes the
 * items whose first tile lies in it. No block has more than a split less a tile above its stretch,
 * and stretches differ by at most one tile. */
#ifndef K_ATTN_SCHEDULE_H
#define K_ATTN_SCHEDULE_H

#include "attn.h"

#include <stdbool.h>

enum { K_ATTN_SPLIT_TILES = K_ATTN_SPLIT_TOKENS / K_PAGE_TOKENS };

/* What a row sees of its sequence, in tiles and in splits. */
struct k_attn_reach {
    int32_t tile0, n_tiles;
    int32_t split0, n_splits;
};

K_INLINE struct k_attn_reach k_attn_reach_of(int32_t pos, int32_t window)
{
    const int32_t first = window > 0 && pos >= window ? pos - window + 1 : 0;
    struct k_attn_reach r;
    r.tile0 = first / K_PAGE_TOKENS;
    r.n_tiles = pos / K_PAGE_TOKENS - r.tile0 + 1;
    r.split0 = first / K_ATTN_SPLIT_TOKENS;
    r.n_splits = pos / K_ATTN_SPLIT_TOKENS - r.split0 + 1;
    return r;
}

/* Where block b's stretch of n tiles begins; b = n_blocks: n. */
K_INLINE int32_t k_attn_stretch(int32_t n, int32_t n_blocks, int32_t b)
{
    const int32_t rest = n % n_blocks;
    return b * (n / n_blocks) + (b < rest ? b : rest);
}

/* How many splits of a unit begin before its tile `at`, which may lie outside. whole: the unit is
 * one item. */
K_INLINE int32_t k_attn_splits_before(struct k_attn_reach r, int32_t at, bool whole)
{
    if (at <= 0) {
        return 0;
    }
    if (whole || at >= r.n_tiles) {
        return r.n_splits;
    }
    return (r.tile0 + at + K_ATTN_SPLIT_TILES - 1) / K_ATTN_SPLIT_TILES - r.split0;
}

#endif
