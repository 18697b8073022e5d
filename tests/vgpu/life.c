// SPDX-License-Identifier: Apache-2.0
// life.c - the state of the checks per grid and CTA: made, handed on to the next CTA, freed.
#include "chk.h"

#include <stdlib.h>
#include <string.h>

void *vg_chk_alloc(size_t n, size_t size)
{
    void *p = calloc(n ? n : 1, size);
    if (!p) {
        fprintf(stderr, "vgpu: out of host memory for check state\n");
        abort();
    }
    return p;
}

void vg_chk_grid_create(struct vg_grid *grid)
{
    struct vg_chk_grid *g = vg_chk_alloc(1, sizeof(*g));
    unsigned checks = grid->launch->checks;
    g->grid = grid;
    g->checks = checks;
    g->bounds = (checks & VG_CHECK_BOUNDS) != 0;
    g->race = (checks & VG_CHECK_RACE) != 0;
    g->count = (checks & VG_CHECK_COUNT) != 0;
    g->n_warps = grid->warps_per_cta;
    g->cluster_ctas = grid->cluster_ctas ? grid->cluster_ctas : 1;
    g->n_agents = g->cluster_ctas * (g->n_warps + 1);
    uint64_t n_far = (uint64_t)grid->n_ctas * g->n_warps;
    // Beyond this a vector of clocks is too large; whoever synchronises then counts as ordered.
    g->n_far = n_far <= 1u << 14 ? (unsigned)n_far : 0;
    g->launch = g->race ? vg_race_launch_id() : 0;
    g->epoch = g->count ? vg_traffic_epoch() : 0;
    pthread_mutex_init(&g->lock, NULL);
    g->n_gsync_buckets = 256;
    g->gsync = vg_chk_alloc(g->n_gsync_buckets, sizeof(*g->gsync));
    grid->chk = g;
}

static void cta_free(struct vg_chk_cta *c)
{
    struct vg_chk_grid *g = c->grid;
    for (unsigned i = 0; i < g->n_warps; i++) {
        struct vg_chk_warp *k = &c->warps[i];
        free(k->vc);
        free(k->far);
        free(k->pair);
        vg_vc_free(&k->fence);
        vg_vc_free(&k->pending);
    }
    for (unsigned i = 0; i < g->n_agents; i++) {
        if (c->rrec) {
            free(c->rrec[i]);
        }
        if (c->rbyte) {
            free(c->rbyte[i]);
        }
    }
    for (unsigned i = 0; i < c->n_sync; i++) {
        vg_vc_free(&c->sync[i].vc);
    }
    free(c->sync);
    free(c->rrec);
    free(c->rbyte);
    free(c->wclk);
    free(c->wwho);
    free(c->wbyte);
    free(c->block);
    free(c->shadow);
    free(c->warps);
    for (int i = 0; i < 2; i++) {
        if (c->cluster_sync[i]) {
            vg_vc_free(c->cluster_sync[i]);
            free(c->cluster_sync[i]);
        }
    }
    free(c);
}

void vg_chk_grid_destroy(struct vg_grid *grid)
{
    struct vg_chk_grid *g = grid->chk;
    if (!g) {
        return;
    }
    while (g->free_ctas) {
        struct vg_chk_cta *c = g->free_ctas;
        g->free_ctas = c->next_free;
        cta_free(c);
    }
    for (unsigned b = 0; b < g->n_gsync_buckets; b++) {
        while (g->gsync[b]) {
            struct vg_gsync *s = g->gsync[b];
            g->gsync[b] = s->next;
            vg_vc_free(&s->vc);
            free(s);
        }
    }
    free(g->gsync);
    pthread_mutex_destroy(&g->lock);
    free(g);
    grid->chk = NULL;
}

static struct vg_chk_cta *cta_new(struct vg_chk_grid *g, uint32_t smem_bytes)
{
    struct vg_chk_cta *c = vg_chk_alloc(1, sizeof(*c));
    c->grid = g;
    c->smem_bytes = smem_bytes;
    c->n_words = (smem_bytes + 3) / 4;
    c->shadow = vg_chk_alloc(smem_bytes + 64, 1);
    c->warps = vg_chk_alloc(g->n_warps, sizeof(*c->warps));
    if (g->race) {
        c->wclk = vg_chk_alloc(c->n_words + 4u, sizeof(*c->wclk));
        c->wwho = vg_chk_alloc(c->n_words + 4u, sizeof(*c->wwho));
        c->block = vg_chk_alloc(c->n_words / VG_RBLOCK_WORDS + 1, sizeof(*c->block));
        c->rrec = vg_chk_alloc(g->n_agents, sizeof(*c->rrec));
        c->rbyte = vg_chk_alloc(g->n_agents, sizeof(*c->rbyte));
        for (unsigned i = 0; i < g->n_warps; i++) {
            c->warps[i].vc = vg_chk_alloc(VG_VIEWS * g->n_agents, sizeof(uint32_t));
        }
    }
    return c;
}

static void forget_records(struct vg_chk_cta *c)
{
    struct vg_chk_grid *g = c->grid;
    memset(c->wclk, 0, c->n_words * sizeof(*c->wclk));
    memset(c->block, 0, (c->n_words / VG_RBLOCK_WORDS + 1) * sizeof(*c->block));
    for (unsigned i = 0; i < g->n_agents; i++) {
        if (c->rrec[i]) {
            memset(c->rrec[i], 0, c->n_words * sizeof(uint32_t));
        }
        if (c->rbyte[i]) {
            memset(c->rbyte[i], 0, (size_t)c->n_words * 4 * sizeof(uint32_t));
        }
    }
    if (c->wbyte) {
        memset(c->wbyte, 0, (size_t)c->n_words * 4 * sizeof(uint64_t));
    }
    c->base = 0;
}

// Variables and dynamic shared memory; what lies between is a red zone.
static void mark_addressable(struct vg_chk_cta *c)
{
    const struct vg_program *p = c->grid->grid->program;
    memset(c->shadow, 0, c->smem_bytes);
    for (uint32_t i = 0; i < p->n_shared_var; i++) {
        memset(c->shadow + p->shared_var[i].at, VG_SH_ADDR, p->shared_var[i].bytes);
    }
    memset(c->shadow + c->cta->dyn_offset, VG_SH_ADDR, c->cta->dyn_bytes);
}

void vg_chk_cta_open(struct vg_cta *cta)
{
    struct vg_chk_grid *g = cta->grid->chk;
    pthread_mutex_lock(&g->lock);
    struct vg_chk_cta *c = g->free_ctas;
    if (c) {
        g->free_ctas = c->next_free;
    }
    pthread_mutex_unlock(&g->lock);
    if (!c) {
        c = cta_new(g, cta->smem_bytes);
    } else if (g->race) {
        // Clocks go on where the last CTA stopped, so its records are history to everybody. In a
        // cluster the neighbours' clocks would not fit, so there the records are wiped.
        uint32_t top = *c->now;
        c->base = top;
        if (g->cluster_ctas > 1 || top > VG_CLOCK_MAX / 2) {
            forget_records(c);
        }
    }
    c->cta = cta;
    c->next_free = NULL;
    c->agent0 = cta->rank * (g->n_warps + 1);
    c->async_agent = c->agent0 + g->n_warps;
    mark_addressable(c);
    for (unsigned i = 0; i < c->n_sync; i++) {
        vg_vc_free(&c->sync[i].vc);
    }
    c->n_sync = 0;
    c->n_map_fences = 0;
    c->async_clock = c->async_prev = c->base;
    c->own_now = c->base + 1;
    c->now = &c->own_now;
    for (unsigned i = 0; i < g->n_warps; i++) {
        struct vg_chk_warp *k = &c->warps[i];
        k->agent = c->agent0 + i;
        k->far_agent = cta->linear * g->n_warps + i;
        if (g->race) {
            for (unsigned a = 0; a < VG_VIEWS * g->n_agents; a++) {
                k->vc[a] = c->base;
            }
            k->vc[k->agent] = c->base + 1;
            k->prev = k->floor = c->base;
            k->full_sync = c->base + 1;
            k->floor_stale = false;
            k->has_pair = false;
            free(k->far);
            k->far = NULL;
            vg_vc_clear(g, &k->fence);
            vg_vc_clear(g, &k->pending);
            k->has_fence = k->has_pending = false;
        }
        cta->warps[i].chk = k;
    }
    memset(c->cluster_arrived, 0, sizeof(c->cluster_arrived));
    memset(c->cluster_waited, 0, sizeof(c->cluster_waited));
    cta->chk = c;
    vg_async_open(cta);
}

void vg_chk_cluster_open(struct vg_cluster *cl)
{
    struct vg_chk_cta *first = cl->cta[0]->chk;
    for (int i = 0; i < 2; i++) {
        if (!first->cluster_sync[i]) {
            first->cluster_sync[i] = vg_chk_alloc(1, sizeof(struct vg_vc));
            vg_vc_init(first->cluster_sync[i]);
        }
        vg_vc_clear(first->grid, first->cluster_sync[i]);
    }
    for (unsigned r = 0; r < cl->n; r++) {
        cl->cta[r]->chk->now = &first->own_now;
    }
}

void vg_chk_cta_exit(struct vg_cta *cta)
{
    vg_async_exit(cta);
}

void vg_chk_cta_close(struct vg_cta *cta)
{
    struct vg_chk_cta *c = cta->chk;
    if (!c) {
        return;
    }
    vg_async_close(cta);
    struct vg_chk_grid *g = c->grid;
    pthread_mutex_lock(&g->lock);
    c->next_free = g->free_ctas;
    g->free_ctas = c;
    pthread_mutex_unlock(&g->lock);
    cta->chk = NULL;
}

void vg_chk_cta_describe(struct vg_cta *cta, char *buf, size_t n)
{
    vg_async_describe(cta, buf, n);
}
