/* SPDX-License-Identifier: Apache-2.0
 *
 * attn_simd.h - attention of a block of rows, one copy for each instruction set. */
#ifndef OCT_CPU_ATTN_SIMD_H
#define OCT_CPU_ATTN_SIMD_H

#include "cpu/cpu_ops.h"

/* Some rows of one sequence with the query heads of one key head: what one thread works on. */
struct oct_attn_block {
    const struct k_attn_args *a;
    int32_t row0, n_rows; /* token rows of one sequence, in ascending position */
    int32_t head;         /* g */
    bool pairs;           /* the scores take bf16 two by two: K_BF16 and AVX512_BF16 */
    bool next_head;       /* the same thread goes on with head + 1 */
};

/* The running result of one query head is OCT_ATTN_HEAD floats, then sum_j exp(s_j - max) * v_j. */
enum { OCT_ATTN_MAX, OCT_ATTN_SUM, OCT_ATTN_HEAD = 16 };

/* Floats of a running result: OCT_ATTN_HEAD, then D rounded up to 32. */
static inline int64_t oct_attn_state(int32_t head_dim)
{
    return OCT_ATTN_HEAD + ((int64_t)head_dim + 31) / 32 * 32;
}

/* Bytes of scratch for a block of n_rows. */
static inline size_t oct_attn_scratch(const struct k_attn_args *a, int32_t n_rows)
{
    const int64_t per_key = a->n_heads / a->kv.n_kv_heads, heads = n_rows * per_key;
    const int64_t dim = oct_attn_state(a->kv.head_dim) - OCT_ATTN_HEAD;
    const int64_t tiles = 2 * K_PAGE_TOKENS * dim;
    const int64_t floats = tiles + heads * (dim + K_PAGE_TOKENS + 2 * (dim + OCT_ATTN_HEAD) + 3);
    return (size_t)floats * sizeof(float) + 16 * 64; /* each part starts on a line of its own */
}

/* The whole block: `out` of its rows and heads is written. */
OCT_SIMD_DECLARE(void, oct_simd_attn_block, (const struct oct_attn_block *b, char *scratch))

/* One split of the block. The result of row i, head h of the block goes to
 * results[(i * (H / G) + h) * stride], if the split holds a key that the row sees. */
OCT_SIMD_DECLARE(void, oct_simd_attn_split,
                 (const struct oct_attn_block *b, int32_t split, float *results, int64_t stride,
                  char *scratch))

/* Merges what oct_simd_attn_split() left, split by split, and writes `out`: the result of split s
 * lies at results + s * split_stride + (i * (H / G) + h) * stride. Overwritten. */
OCT_SIMD_DECLARE(void, oct_simd_attn_merge,
                 (const struct oct_attn_block *b, float *results, int64_t stride,
                  int64_t split_stride))

#endif
