/* SPDX-License-Identifier: Apache-2.0
 *
 * pages.h - the pool of KV pages: which are free, who counts on which. Only numbers live here; the
 * memory is the device's.
 *
 * A page is in one of three states. Used: one or more requests hold it. Cached: nobody holds it,
 * but the prefix cache (prefix.h) knows what it contains; it can be handed out again when nothing
 * is free, the one longest unused first. Free: nobody knows it. One thread owns the pool. Every
 * call but init costs a constant number of memory accesses. */
#ifndef OCT_ENGINE_PAGES_H
#define OCT_ENGINE_PAGES_H

#include "base/status.h"

struct oct_page {
    int32_t refs;       /* requests that hold it */
    int32_t block;      /* prefix block that knows it; -1: none */
    int32_t prev, next; /* in the free or the cached list; -1: end */
};

struct oct_pages {
    struct oct_page *page; /* [n], owned */
    int32_t n, n_free, n_cached;
    int32_t free_head; /* taken and given back here: memory stays warm */
    int32_t cached_oldest, cached_newest;
    /* Called when a cached page is about to be handed out: the block must forget it. */
    void (*forget)(void *user, int32_t page);
    void *forget_user;
};

OCT_CHECKED oct_status oct_pages_init(struct oct_pages *p, int32_t n);
void oct_pages_deinit(struct oct_pages *p);

/* Pages that oct_pages_take can still give: free and cached ones. */
static inline int32_t oct_pages_available(const struct oct_pages *p)
{
    return p->n_free + p->n_cached;
}
/* A page with one reference, out of the free ones, else the oldest cached. -1: none left. */
int32_t oct_pages_take(struct oct_pages *p);
/* One reference more: on a used page, or on a cached one, which becomes used. */
void oct_pages_hold(struct oct_pages *p, int32_t page);
/* One reference less; at none the page becomes cached (newest) if a block knows it, else free. */
void oct_pages_drop(struct oct_pages *p, int32_t page);
/* The block that knows it (on a used page that none knows); -1 takes the knowledge away (a cached
 * page becomes free). */
void oct_pages_set_block(struct oct_pages *p, int32_t page, int32_t block);

#endif
