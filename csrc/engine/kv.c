/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/kv.h"

#include "base/mem.h"

oct_status oct_kv_pool_init(struct oct_kv_pool *p, int32_t n_pages)
{
    int32_t *free = oct_calloc((size_t)n_pages, sizeof *free);
    if (!free) {
        return oct_no_memory("the KV page list", (size_t)n_pages * sizeof *free);
    }
    for (int32_t i = 0; i < n_pages; i++) {
        free[i] = n_pages - 1 - i; /* low pages first: memory is touched as it is needed */
    }
    *p = (struct oct_kv_pool){.free = free, .n_free = n_pages, .n_pages = n_pages};
    return OCT_OK;
}

void oct_kv_pool_deinit(struct oct_kv_pool *p)
{
    oct_free(p->free);
    *p = (struct oct_kv_pool){0};
}

bool oct_kv_reserve(struct oct_kv_pool *p, int32_t n)
{
    if (n > p->n_free - p->n_reserved) {
        return false;
    }
    p->n_reserved += n;
    return true;
}

int32_t oct_kv_take(struct oct_kv_pool *p)
{
    OCT_ASSERT(p->n_reserved > 0 && p->n_free >= p->n_reserved);
    p->n_reserved--;
    return p->free[--p->n_free];
}

void oct_kv_release(struct oct_kv_pool *p, const int32_t *pages, int32_t n_taken, int32_t n_untaken)
{
    OCT_ASSERT(n_untaken <= p->n_reserved && p->n_free + n_taken <= p->n_pages);
    p->n_reserved -= n_untaken;
    for (int32_t i = 0; i < n_taken; i++) {
        OCT_ASSERT(pages[i] >= 0 && pages[i] < p->n_pages);
        p->free[p->n_free++] = pages[i];
    }
}
