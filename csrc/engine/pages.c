/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/pages.h"

#include "base/mem.h"

oct_status oct_pages_init(struct oct_pages *p, int32_t n)
{
    OCT_ASSERT(n >= 1);
    struct oct_page *page = oct_calloc((size_t)n, sizeof *page);
    if (!page) {
        return oct_no_memory("the KV page list", (size_t)n * sizeof *page);
    }
    for (int32_t i = 0; i < n; i++) { /* low pages first: memory is touched as it is needed */
        page[i] = (struct oct_page){.block = -1, .prev = -1, .next = i + 1 < n ? i + 1 : -1};
    }
    *p = (struct oct_pages){
        .page = page, .n = n, .n_free = n, .cached_oldest = -1, .cached_newest = -1};
    return OCT_OK;
}

void oct_pages_deinit(struct oct_pages *p)
{
    oct_free(p->page);
    *p = (struct oct_pages){0};
}

static void free_push(struct oct_pages *p, int32_t page)
{
    p->page[page].next = p->free_head;
    p->free_head = page;
    p->n_free++;
}

static void cached_append(struct oct_pages *p, int32_t page)
{
    struct oct_page *g = &p->page[page];
    g->prev = p->cached_newest;
    g->next = -1;
    if (g->prev >= 0) {
        p->page[g->prev].next = page;
    } else {
        p->cached_oldest = page;
    }
    p->cached_newest = page;
    p->n_cached++;
}

static void cached_unlink(struct oct_pages *p, int32_t page)
{
    struct oct_page *g = &p->page[page];
    if (g->prev >= 0) {
        p->page[g->prev].next = g->next;
    } else {
        p->cached_oldest = g->next;
    }
    if (g->next >= 0) {
        p->page[g->next].prev = g->prev;
    } else {
        p->cached_newest = g->prev;
    }
    g->prev = g->next = -1;
    p->n_cached--;
}

int32_t oct_pages_take(struct oct_pages *p)
{
    int32_t page = p->free_head;
    if (page >= 0) {
        p->free_head = p->page[page].next;
        p->page[page].next = -1;
        p->n_free--;
    } else if (p->cached_oldest >= 0) {
        page = p->cached_oldest;
        p->forget(p->forget_user, page);
        cached_unlink(p, page);
        p->page[page].block = -1;
    } else {
        return -1;
    }
    OCT_ASSERT(p->page[page].refs == 0 && p->page[page].block < 0);
    p->page[page].refs = 1;
    return page;
}

void oct_pages_hold(struct oct_pages *p, int32_t page)
{
    OCT_ASSERT(page >= 0 && page < p->n);
    struct oct_page *g = &p->page[page];
    if (g->refs == 0) {
        OCT_ASSERT(g->block >= 0); /* a free page has nothing that anybody could want */
        cached_unlink(p, page);
    }
    g->refs++;
}

void oct_pages_drop(struct oct_pages *p, int32_t page)
{
    OCT_ASSERT(page >= 0 && page < p->n);
    struct oct_page *g = &p->page[page];
    OCT_ASSERT(g->refs > 0);
    if (--g->refs > 0) {
        return;
    }
    if (g->block >= 0) {
        cached_append(p, page);
    } else {
        free_push(p, page);
    }
}

void oct_pages_set_block(struct oct_pages *p, int32_t page, int32_t block)
{
    OCT_ASSERT(page >= 0 && page < p->n);
    struct oct_page *g = &p->page[page];
    OCT_ASSERT((g->block < 0) != (block < 0));
    OCT_ASSERT(g->refs > 0 || block < 0); /* only who holds a page knows what is in it */
    g->block = block;
    if (g->refs == 0) {
        cached_unlink(p, page);
        free_push(p, page);
    }
}
