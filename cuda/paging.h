/* SPDX-License-Identifier: Apache-2.0
 *
 * paging.h - where a key or value lies in the paged cache. One piece of arithmetic for all
 * backends.
 *
 * The pool is an array of pages. A page holds K_PAGE_TOKENS tokens of all layers of one group:
 *     page [layers_in_group][2: K then V][G][S][D8]     D8 = D rounded up to K_ROW_ALIGN
 * so that a (layer, K or V, head) tile [S][D8] is contiguous. The token at absolute position p of a
 * sequence lives in page table[p / S], slot p % S. */
#ifndef K_PAGING_H
#define K_PAGING_H

#include "types.h"

enum { K_PAGE_TOKENS = 64 };

struct k_paging {
    k_ptr pool;           /* address of page 0 */
    k_ptr page_table;     /* [B, table_stride] int32 page numbers; entries past a sequence's last
                             page, and those before its window, hold anything */
    int64_t page_stride;  /* elements from page to page */
    int64_t layer_offset; /* elements from a page's start to this layer's K tile of head 0 */
    int32_t table_stride; /* entries per sequence */
    int32_t n_kv_heads;   /* G */
    int32_t head_dim;     /* D */
    int32_t dtype;        /* enum k_dtype */
};
K_STATIC_ASSERT(sizeof(struct k_paging) == 48, "same layout in C and CUDA");

/* Elements from one token of a tile to the next. */
K_INLINE int64_t k_kv_row(const struct k_paging *p)
{
    return k_row_stride(p->head_dim);
}

/* Elements from the pool's start to the K tile [S, D8] of `head` in `page`; the V tile lies
 * k_kv_v_offset() further on. 64-bit: pools pass 2^31 elements. */
K_INLINE int64_t k_kv_tile(const struct k_paging *p, int32_t page, int32_t head)
{
    return (int64_t)page * p->page_stride + p->layer_offset +
           (int64_t)head * K_PAGE_TOKENS * k_kv_row(p);
}

K_INLINE int64_t k_kv_v_offset(const struct k_paging *p)
{
    return (int64_t)p->n_kv_heads * K_PAGE_TOKENS * k_kv_row(p);
}

#endif
