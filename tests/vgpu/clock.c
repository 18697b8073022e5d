// SPDX-License-Identifier: Apache-2.0
// clock.c - vector clocks, and what moves them: barriers, fences, atomics, releases and acquires.
#include "chk.h"

#include <stdlib.h>
#include <string.h>

// ---- vector clocks ----

void vg_vc_init(struct vg_vc *v)
{
    *v = (struct vg_vc){0};
}

void vg_vc_free(struct vg_vc *v)
{
    free(v->vc);
    free(v->far);
    *v = (struct vg_vc){0};
}

void vg_vc_clear(struct vg_chk_grid *g, struct vg_vc *v)
{
    if (v->vc) {
        memset(v->vc, 0, (size_t)VG_VIEWS * g->n_agents * sizeof(uint32_t));
    }
    free(v->far);
    v->far = NULL;
}

static void join(uint32_t *to, const uint32_t *from, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        to[i] = to[i] > from[i] ? to[i] : from[i];
    }
}

static void join_far(const struct vg_chk_grid *g, uint32_t **to, const uint32_t *from)
{
    if (!from || g->n_far == 0) {
        return;
    }
    if (!*to) {
        *to = vg_chk_alloc((size_t)VG_FAR_VIEWS * g->n_far, sizeof(uint32_t));
    }
    join(*to, from, VG_FAR_VIEWS * g->n_far);
}

static void need(const struct vg_chk_grid *g, struct vg_vc *v)
{
    if (!v->vc) {
        v->vc = vg_chk_alloc((size_t)VG_VIEWS * g->n_agents, sizeof(uint32_t));
    }
}

static void publish(struct vg_warp *w, struct vg_vc *v)
{
    const struct vg_chk_grid *g = w->cta->grid->chk;
    need(g, v);
    join(v->vc, w->chk->vc, VG_VIEWS * g->n_agents);
    join_far(g, &v->far, w->chk->far);
}

void vg_clock_tick(struct vg_warp *w)
{
    struct vg_chk_warp *k = w->chk;
    uint32_t *now = w->cta->chk->now;
    if (*now < VG_CLOCK_MAX) { // a CTA that releases 8 million times goes unchecked
        k->prev = k->vc[k->agent];
        k->vc[k->agent] = ++*now;
    }
}

static uint32_t least(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

// Of an agent this warp knows everything up to a clock: the agent's next record bears its present
// clock, if that is the first one after what is known. All of it only grows, so a floor stays true.
uint32_t vg_clock_floor(struct vg_warp *w)
{
    struct vg_chk_warp *k = w->chk;
    if (!k->floor_stale) {
        return k->floor;
    }
    k->floor_stale = false;
    uint32_t f = k->full_sync - 1;
    const struct vg_cluster *cl = w->cta->cluster;
    for (unsigned r = 0; r < (cl ? cl->n : 1); r++) {
        const struct vg_chk_cta *c = cl ? cl->cta[r]->chk : w->cta->chk;
        for (unsigned i = 0; i < c->grid->n_warps; i++) {
            const struct vg_chk_warp *o = &c->warps[i];
            uint32_t known = k->vc[o->agent];
            if (o != k) {
                f = least(f, known >= o->prev ? o->vc[o->agent] - 1 : known);
            }
        }
        uint32_t known = k->vc[c->async_agent];
        f = least(f, known >= c->async_clock  ? *c->now
                     : known >= c->async_prev ? c->async_clock - 1
                                              : known);
    }
    k->floor = f > k->floor ? f : k->floor;
    return k->floor;
}

void vg_vc_release(struct vg_warp *w, struct vg_vc *v)
{
    if (w->cta->grid->chk->race) {
        publish(w, v);
        vg_clock_tick(w);
    }
}

void vg_vc_acquire(struct vg_warp *w, const struct vg_vc *v)
{
    const struct vg_chk_grid *g = w->cta->grid->chk;
    if (g->race && v->vc) {
        join(w->chk->vc, v->vc, VG_VIEWS * g->n_agents);
        w->chk->floor_stale = true;
        join_far(g, &w->chk->far, v->far);
    }
}

void vg_vc_join(const struct vg_chk_grid *g, struct vg_vc *to, const struct vg_vc *from)
{
    if (g->race && from->vc) {
        need(g, to);
        join(to->vc, from->vc, VG_VIEWS * g->n_agents);
        join_far(g, &to->far, from->far);
    }
}

void vg_vc_async(struct vg_chk_cta *c, struct vg_vc *v, uint32_t clock)
{
    if (c->grid->race) {
        need(c->grid, v);
        uint32_t *p = &v->vc[c->async_agent];
        *p = *p > clock ? *p : clock;
    }
}

uint32_t vg_async_tick(struct vg_chk_cta *c)
{
    c->async_prev = c->async_clock;
    *c->now += *c->now < VG_CLOCK_MAX;
    return c->async_clock = *c->now;
}

// ---- synchronisation hooks ----

static void sync_all(struct vg_chk_warp *k)
{
    k->full_sync = k->vc[k->agent];
    k->has_pair = false;
    k->floor_stale = true;
}

void vg_sync_barrier(struct vg_cta *cta, uint32_t arrived, uint32_t waiting)
{
    const struct vg_chk_grid *g = cta->grid->chk;
    if (!g->race) {
        return;
    }
    struct vg_vc all;
    vg_vc_init(&all);
    for (uint32_t m = arrived; m; m &= m - 1) {
        publish(&cta->warps[__builtin_ctz(m)], &all);
    }
    for (uint32_t m = arrived | waiting; m; m &= m - 1) {
        struct vg_warp *w = &cta->warps[__builtin_ctz(m)];
        if (waiting & m & -m) {
            vg_vc_acquire(w, &all);
        }
        vg_clock_tick(w);
        sync_all(w->chk);
    }
    vg_vc_free(&all);
}

// Lanes that the launch gave this warp; what an exited lane did is not ordered by those who go on.
static uint32_t born(const struct vg_warp *w)
{
    unsigned n = w->cta->grid->threads_per_cta - w->id * 32;
    return n >= 32 ? 0xFFFFFFFFu : (1u << n) - 1;
}

static void need_pairs(struct vg_chk_warp *k)
{
    if (!k->pair) {
        k->pair = vg_chk_alloc(32, sizeof(*k->pair));
    }
    if (!k->has_pair) {
        for (unsigned i = 0; i < 32 * 32; i++) {
            k->pair[i / 32][i % 32] = k->full_sync;
        }
        k->has_pair = true;
    }
}

void vg_sync_warp(struct vg_warp *w, uint32_t lanes)
{
    if (!w->cta->grid->chk->race) {
        return;
    }
    struct vg_chk_warp *k = w->chk;
    vg_clock_tick(w);
    if ((lanes | ~born(w)) == 0xFFFFFFFFu) {
        sync_all(k);
        return;
    }
    need_pairs(k);
    for (uint32_t a = lanes; a; a &= a - 1) {
        for (uint32_t b = lanes; b; b &= b - 1) {
            k->pair[__builtin_ctz(a)][__builtin_ctz(b)] = k->vc[k->agent];
        }
    }
}

void vg_sync_waited(struct vg_warp *w, uint32_t lanes)
{
    if (!w->cta->grid->chk->race) {
        return;
    }
    struct vg_chk_warp *k = w->chk;
    vg_clock_tick(w);
    if ((lanes | ~born(w)) == 0xFFFFFFFFu) {
        sync_all(k);
        return;
    }
    need_pairs(k);
    for (uint32_t a = lanes; a; a &= a - 1) {
        for (unsigned b = 0; b < 32; b++) {
            k->pair[__builtin_ctz(a)][b] = k->vc[k->agent];
        }
    }
}

static struct vg_vc *cluster_phase(struct vg_cta *cta, uint64_t phase)
{
    return cta->cluster->cta[0]->chk->cluster_sync[phase & 1];
}

void vg_sync_cluster_arrive(struct vg_warp *w)
{
    if (w->cta->grid->chk->race && w->cta->cluster) {
        struct vg_chk_cta *c = w->cta->chk;
        // Nobody can be two phases ahead, so two objects serve all phases; stale knowledge in them
        // only orders what an older phase has ordered already.
        vg_vc_release(w, cluster_phase(w->cta, c->cluster_arrived[w->id]++));
    }
}

void vg_sync_cluster_wait(struct vg_warp *w)
{
    if (w->cta->grid->chk->race && w->cta->cluster) {
        struct vg_chk_cta *c = w->cta->chk;
        vg_vc_acquire(w, cluster_phase(w->cta, c->cluster_waited[w->id]++));
        vg_sync_warp(w, 0xFFFFFFFFu);
    }
}

void vg_sync_fence(struct vg_warp *w, uint32_t mask, enum vg_scope scope)
{
    (void)mask;
    (void)scope;
    const struct vg_chk_grid *g = w->cta->grid->chk;
    if (!g->race) {
        return;
    }
    struct vg_chk_warp *k = w->chk;
    if (k->has_pending) {
        vg_vc_acquire(w, &k->pending);
        vg_vc_clear((struct vg_chk_grid *)(uintptr_t)g, &k->pending);
        k->has_pending = false;
    }
    publish(w, &k->fence);
    k->has_fence = true;
    vg_clock_tick(w);
}

void vg_sync_fence_proxy(struct vg_warp *w, unsigned views)
{
    const struct vg_chk_grid *g = w->cta->grid->chk;
    if (!g->race) {
        return;
    }
    struct vg_chk_warp *k = w->chk;
    for (unsigned v = VG_VIEW_ALL + 1; v < VG_VIEWS; v++) {
        if (!(views >> v & 1)) {
            continue;
        }
        memcpy(vg_view(g, k->vc, v), k->vc, g->n_agents * sizeof(uint32_t));
        if (k->far && v < VG_FAR_VIEWS) {
            memcpy(vg_far_view(g, k->far, v), k->far, g->n_far * sizeof(uint32_t));
        }
    }
    vg_clock_tick(w);
}

// The word's sync object takes and gives, by the rules of the memory model: a release publishes all
// the warp knows, a relaxed write what it knew at its last fence; an acquire learns at once, a
// relaxed read at the next fence.
static void exchange(struct vg_warp *w, struct vg_vc *v, bool reads, bool writes, bool acquire,
                     bool release)
{
    const struct vg_chk_grid *g = w->cta->grid->chk;
    struct vg_chk_warp *k = w->chk;
    if (reads && v->vc) {
        if (acquire) {
            vg_vc_acquire(w, v);
        } else {
            vg_vc_join(g, &k->pending, v);
            k->has_pending = true;
        }
    }
    if (writes) {
        if (release) {
            vg_vc_release(w, v);
        } else if (k->has_fence) {
            vg_vc_join(g, v, &k->fence);
        }
    }
}

void vg_sync_atomic_shared(struct vg_warp *w, struct vg_cta *target, const uint32_t off[32],
                           uint32_t mask, bool reads, bool writes, bool acquire, bool release)
{
    struct vg_chk_cta *c = target->chk;
    if (!c->grid->race) {
        return;
    }
    uint32_t last = UINT32_MAX;
    for (uint32_t m = mask; m; m &= m - 1) {
        uint32_t at = off[__builtin_ctz(m)] & ~3u;
        if (at == last) {
            continue;
        }
        last = at;
        unsigned i = 0;
        while (i < c->n_sync && c->sync[i].off != at) {
            i++;
        }
        if (i == c->n_sync) {
            if (!writes || (!release && !w->chk->has_fence)) {
                continue; // nothing to learn, nothing to tell
            }
            if (c->n_sync == c->cap_sync) {
                c->cap_sync = c->cap_sync ? c->cap_sync * 2 : 16;
                c->sync = realloc(c->sync, c->cap_sync * sizeof(*c->sync));
                if (!c->sync) {
                    abort();
                }
            }
            c->sync[c->n_sync++] = (struct vg_word_sync){.off = at};
        }
        exchange(w, &c->sync[i].vc, reads, writes, acquire, release);
    }
}

// What a sync object of global memory says of warps: by grid-wide number, in every view. Agents of
// the own cluster are translated on the way in and out.
static void far_in(struct vg_warp *w, uint32_t **far, const uint32_t *vc, const uint32_t *own_far)
{
    const struct vg_chk_grid *g = w->cta->grid->chk;
    if (g->n_far == 0) {
        return;
    }
    if (!*far) {
        *far = vg_chk_alloc((size_t)VG_FAR_VIEWS * g->n_far, sizeof(uint32_t));
    }
    unsigned first = (w->cta->linear - w->cta->rank) * g->n_warps;
    for (unsigned r = 0; r < g->cluster_ctas; r++) {
        uint32_t *to = *far + first + r * g->n_warps;
        const uint32_t *from = vc + r * (g->n_warps + 1);
        for (unsigned v = 0; v < VG_FAR_VIEWS; v++) {
            join(vg_far_view(g, to, v), vg_view(g, from, v), g->n_warps);
        }
    }
    if (own_far) {
        join(*far, own_far, VG_FAR_VIEWS * g->n_far);
    }
}

static void far_out(struct vg_warp *w, uint32_t *vc, const uint32_t *far)
{
    const struct vg_chk_grid *g = w->cta->grid->chk;
    unsigned first = (w->cta->linear - w->cta->rank) * g->n_warps;
    for (unsigned r = 0; r < g->cluster_ctas; r++) {
        const uint32_t *from = far + first + r * g->n_warps;
        uint32_t *to = vc + r * (g->n_warps + 1);
        for (unsigned v = 0; v < VG_FAR_VIEWS; v++) {
            join(vg_view(g, to, v), vg_far_view(g, from, v), g->n_warps);
        }
    }
}

bool vg_sync_atomic_global(struct vg_warp *w, const uint64_t addr[32], uint32_t mask, bool reads,
                           bool writes, bool acquire, bool release)
{
    struct vg_chk_grid *g = w->cta->grid->chk;
    if (!g->race) {
        return false;
    }
    struct vg_chk_warp *k = w->chk;
    uint64_t last = UINT64_MAX;
    bool released = false;
    pthread_mutex_lock(&g->lock);
    for (uint32_t m = mask; m; m &= m - 1) {
        uint64_t at = addr[__builtin_ctz(m)] & ~UINT64_C(3);
        if (at == last) {
            continue;
        }
        last = at;
        struct vg_gsync **slot = &g->gsync[(at >> 2) % g->n_gsync_buckets], *s = *slot;
        while (s && s->addr != at) {
            s = s->next;
        }
        bool tells = writes && (release || k->has_fence);
        if (!s) {
            if (!tells) {
                continue;
            }
            s = vg_chk_alloc(1, sizeof(*s));
            s->addr = at;
            s->next = *slot;
            *slot = s;
        }
        if (reads && s->vc.far) {
            if (acquire) {
                far_out(w, k->vc, s->vc.far);
                join_far(g, &k->far, s->vc.far);
            } else {
                need(g, &k->pending);
                far_out(w, k->pending.vc, s->vc.far);
                join_far(g, &k->pending.far, s->vc.far);
                k->has_pending = true;
            }
        }
        if (tells) {
            g->gsync_used = true;
            if (release) {
                far_in(w, &s->vc.far, k->vc, k->far);
                released = true;
            } else {
                far_in(w, &s->vc.far, k->fence.vc, k->fence.far);
            }
        }
    }
    pthread_mutex_unlock(&g->lock);
    return released;
}
