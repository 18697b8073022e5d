/* SPDX-License-Identifier: Apache-2.0
 *
 * cache.h - a paged cache for tests: pages in shuffled places, everything else a trap. Slots that
 * nobody wrote are NaN, page table entries that nobody asked for are -1 (page -1 is one more page
 * of NaN) and 2147480000 in turn. */
#ifndef OCT_TEST_CPU_CACHE_H
#define OCT_TEST_CPU_CACHE_H

#include "cpu/variants.h"

enum { CACHE_LAYERS = 2, CACHE_LAYER = 1, CACHE_TRAP = 2147480000 };

struct cache {
    int32_t n_seqs, n_pages, dtype;
    int32_t n_used; /* pages given out */
    int32_t *order; /* shuffled page numbers, in the order in which they are given out */
    int32_t *table; /* [n_seqs][stride] */
    char *block;    /* page -1, then the pool */
    char *pool;
    struct k_paging kv;
};

static inline bool cache_is_trap(int32_t page)
{
    return page == -1 || page == CACHE_TRAP;
}

static inline struct cache cache_make(int32_t n_seqs, int32_t max_tokens, int32_t heads,
                                      int32_t dim, int32_t dtype, uint64_t seed)
{
    struct rng rng = {seed};
    const int32_t stride = max_tokens / K_PAGE_TOKENS + 2;
    struct cache c = {.n_seqs = n_seqs, .n_pages = n_seqs * stride + 3, .dtype = dtype};
    const int64_t layer = 2 * (int64_t)heads * K_PAGE_TOKENS * k_row_stride(dim);
    c.order = malloc((size_t)c.n_pages * sizeof(int32_t));
    for (int32_t i = 0; i < c.n_pages; i++) {
        const int32_t j = rng_below(&rng, i + 1);
        c.order[i] = c.order[j];
        c.order[j] = i;
    }
    c.table = malloc((size_t)(n_seqs * stride) * sizeof(int32_t));
    for (int32_t i = 0; i < n_seqs * stride; i++) {
        c.table[i] = i % 2 ? CACHE_TRAP : -1;
    }
    c.block = nans((c.n_pages + 1) * layer * CACHE_LAYERS, dtype);
    c.pool = c.block + layer * CACHE_LAYERS * k_dtype_bytes(dtype);
    c.kv = (struct k_paging){
        .pool = addr(c.pool),
        .page_table = addr(c.table),
        .page_stride = layer * CACHE_LAYERS,
        .layer_offset = layer * CACHE_LAYER,
        .table_stride = stride,
        .n_kv_heads = heads,
        .head_dim = dim,
        .dtype = dtype,
    };
    return c;
}

static inline void cache_drop(struct cache *c)
{
    free(c->order);
    free(c->table);
    free(c->block);
}

/* Gives the page of (seq, pos) a place, if it has none. */
static inline void cache_map(struct cache *c, int32_t seq, int32_t pos)
{
    int32_t *entry = &c->table[seq * c->kv.table_stride + pos / K_PAGE_TOKENS];
    if (cache_is_trap(*entry)) {
        cr_assert(c->n_used < c->n_pages);
        *entry = c->order[c->n_used++];
    }
}

/* The first element of K (or V) of (seq, pos, head), whose page is mapped. */
static inline void *cache_at(const struct cache *c, int32_t seq, int32_t pos, int32_t head,
                             bool value)
{
    const int32_t page = c->table[seq * c->kv.table_stride + pos / K_PAGE_TOKENS];
    cr_assert(!cache_is_trap(page));
    const int64_t at =
        (int64_t)page * c->kv.page_stride + c->kv.layer_offset +
        ((value ? c->kv.n_kv_heads + head : head) * K_PAGE_TOKENS + pos % K_PAGE_TOKENS) *
            k_kv_row(&c->kv);
    return c->pool + at * k_dtype_bytes(c->dtype);
}

#endif
