/* SPDX-License-Identifier: Apache-2.0
 *
 * kv.h - the pool of KV pages: who owns which page. A page is free or owned by one request. Only
 * numbers live here; the memory is the device's. One thread owns the pool. */
#ifndef OCT_ENGINE_KV_H
#define OCT_ENGINE_KV_H

#include "base/status.h"

struct oct_kv_pool {
    int32_t *free; /* owned; stack of free page numbers */
    int32_t n_free, n_pages;
    int32_t n_reserved; /* pages promised to running requests and not taken yet */
};

OCT_CHECKED oct_status oct_kv_pool_init(struct oct_kv_pool *p, int32_t n_pages);
void oct_kv_pool_deinit(struct oct_kv_pool *p);

/* Promises n pages to a request, so that it can always finish; false if that many are not left. */
bool oct_kv_reserve(struct oct_kv_pool *p, int32_t n);
/* Takes one page out of what was promised. */
int32_t oct_kv_take(struct oct_kv_pool *p);
/* Gives back n_taken pages and what of the promise was not taken. */
void oct_kv_release(struct oct_kv_pool *p, const int32_t *pages, int32_t n_taken,
                    int32_t n_untaken);

#endif
