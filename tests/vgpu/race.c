// SPDX-License-Identifier: Apache-2.0
// race.c - vector clocks, and races on shared memory: FastTrack with one clock per warp, the lane
// in each record (a missing __syncwarp), reads kept per agent. Words are the unit; a word that is
// accessed in parts is split into records per byte.
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
    free(v->pvc);
    free(v->far);
    *v = (struct vg_vc){0};
}

void vg_vc_clear(struct vg_chk_grid *g, struct vg_vc *v)
{
    if (v->vc) {
        memset(v->vc, 0, g->n_agents * sizeof(uint32_t));
        memset(v->pvc, 0, g->n_agents * sizeof(uint32_t));
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
        *to = vg_chk_alloc(g->n_far, sizeof(uint32_t));
    }
    join(*to, from, g->n_far);
}

static void need(const struct vg_chk_grid *g, struct vg_vc *v)
{
    if (!v->vc) {
        v->vc = vg_chk_alloc(g->n_agents, sizeof(uint32_t));
        v->pvc = vg_chk_alloc(g->n_agents, sizeof(uint32_t));
    }
}

static void publish(struct vg_warp *w, struct vg_vc *v)
{
    const struct vg_chk_grid *g = w->cta->grid->chk;
    need(g, v);
    join(v->vc, w->chk->vc, g->n_agents);
    join(v->pvc, w->chk->pvc, g->n_agents);
    join_far(g, &v->far, w->chk->far);
}

void vg_clock_tick(struct vg_warp *w)
{
    struct vg_chk_warp *k = w->chk;
    if (k->vc[k->agent] < VG_CLOCK_MAX) { // a warp that releases 16 million times goes unchecked
        k->vc[k->agent]++;
    }
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
        join(w->chk->vc, v->vc, g->n_agents);
        join(w->chk->pvc, v->pvc, g->n_agents);
        join_far(g, &w->chk->far, v->far);
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
    return c->async_clock++;
}

// ---- synchronisation hooks ----

static void sync_all(struct vg_chk_warp *k)
{
    k->full_sync = k->vc[k->agent];
    k->has_pair = false;
}

void vg_sync_barrier(struct vg_cta *cta, uint32_t arrived, uint32_t waiting)
{
    const struct vg_chk_grid *g = cta->grid->chk;
    cta->counts->n[VG_N_BARRIERS]++;
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

void vg_sync_fence_proxy_async(struct vg_warp *w)
{
    const struct vg_chk_grid *g = w->cta->grid->chk;
    if (g->race) {
        struct vg_chk_warp *k = w->chk;
        memcpy(k->pvc, k->vc, g->n_agents * sizeof(uint32_t));
        vg_clock_tick(w);
    }
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
            need(g, &k->pending);
            join(k->pending.vc, v->vc, g->n_agents);
            join(k->pending.pvc, v->pvc, g->n_agents);
            join_far(g, &k->pending.far, v->far);
            k->has_pending = true;
        }
    }
    if (writes) {
        if (release) {
            vg_vc_release(w, v);
        } else if (k->has_fence) {
            need(g, v);
            join(v->vc, k->fence.vc, g->n_agents);
            join(v->pvc, k->fence.pvc, g->n_agents);
            join_far(g, &v->far, k->fence.far);
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

// What a sync object of global memory says of warps: by grid-wide number. Agents of the own cluster
// are translated on the way in and out.
static void far_in(struct vg_warp *w, uint32_t **far, const uint32_t *vc, const uint32_t *own_far)
{
    const struct vg_chk_grid *g = w->cta->grid->chk;
    if (g->n_far == 0) {
        return;
    }
    if (!*far) {
        *far = vg_chk_alloc(g->n_far, sizeof(uint32_t));
    }
    unsigned first = w->cta->linear - w->cta->rank;
    for (unsigned r = 0; r < g->cluster_ctas; r++) {
        for (unsigned i = 0; i < g->n_warps; i++) {
            uint32_t *p = &(*far)[(first + r) * g->n_warps + i];
            uint32_t x = vc[r * (g->n_warps + 1) + i];
            *p = *p > x ? *p : x;
        }
    }
    if (own_far) {
        join(*far, own_far, g->n_far);
    }
}

static void far_out(struct vg_warp *w, uint32_t *vc, const uint32_t *far)
{
    const struct vg_chk_grid *g = w->cta->grid->chk;
    unsigned first = w->cta->linear - w->cta->rank;
    for (unsigned r = 0; r < g->cluster_ctas; r++) {
        for (unsigned i = 0; i < g->n_warps; i++) {
            uint32_t x = far[(first + r) * g->n_warps + i];
            uint32_t *p = &vc[r * (g->n_warps + 1) + i];
            *p = *p > x ? *p : x;
        }
    }
}

void vg_sync_atomic_global(struct vg_warp *w, const uint64_t addr[32], uint32_t mask, bool reads,
                           bool writes, bool acquire, bool release)
{
    struct vg_chk_grid *g = w->cta->grid->chk;
    if (!g->race) {
        return;
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
    if (released) {
        vg_clock_tick(w);
    }
    pthread_mutex_unlock(&g->lock);
}

// ---- records of shared memory ----

struct who { // the access at hand
    struct vg_warp *w;
    struct vg_chk_cta *t; // whose shared memory
    const uint32_t *vc;
    unsigned agent;
    uint32_t clock;
    bool writes, strong;
    enum vg_access kind;
    bool reported;
};

static uint64_t w_record(uint32_t clock, unsigned agent, unsigned lane, unsigned flags)
{
    return (uint64_t)clock << 32 | (uint64_t)agent << 16 | lane << 8 | flags;
}

static void agent_name(const struct vg_chk_cta *t, unsigned agent, char *buf, size_t n)
{
    unsigned per = t->grid->n_warps + 1, rank = agent / per, warp = agent % per;
    const char *cta = rank == t->cta->rank ? "" : " of another CTA of the cluster";
    if (warp == per - 1) {
        snprintf(buf, n, "an asynchronous copy");
    } else {
        snprintf(buf, n, "warp %u%s", warp, cta);
    }
}

static void report(struct who *a, uint32_t off, int lane, unsigned agent, int other_lane,
                   const char *did)
{
    if (a->reported) {
        return; // one finding per instruction
    }
    a->reported = true;
    const char *now = a->kind == VG_ATOMIC ? "atomic on" : a->writes ? "write to" : "read of";
    if (agent == a->agent) {
        if (other_lane >= 0) {
            VG_FIND(a->w, lane, VG_WARP_RACE,
                    "%s shared memory offset 0x%x, %s by lane %d of the same warp without "
                    "__syncwarp() between",
                    now, off, did, other_lane);
        } else {
            VG_FIND(a->w, lane, VG_WARP_RACE,
                    "%s shared memory offset 0x%x, %s by other lanes of the same warp without "
                    "__syncwarp() between",
                    now, off, did);
        }
        return;
    }
    char name[64];
    agent_name(a->t, agent, name, sizeof(name));
    VG_FIND(a->w, lane, VG_SHARED_RACE,
            "%s shared memory offset 0x%x, %s by %s with no barrier between", now, off, did, name);
}

// What lane `by` (-1: several) of the own warp did at this clock is known to `lane` (-1: to every
// lane).
static bool lane_knows(const struct vg_chk_warp *k, int lane, int by, uint32_t clock)
{
    if (clock < k->full_sync) {
        return true;
    }
    if (!k->has_pair) {
        return false;
    }
    for (int l = lane < 0 ? 0 : lane; l < (lane < 0 ? 32 : lane + 1); l++) {
        for (int b = by < 0 ? 0 : by; b < (by < 0 ? 32 : by + 1); b++) {
            if (b != l && clock >= k->pair[l][b]) {
                return false;
            }
        }
    }
    return true;
}

// Write record against the access by `lane` (-1: every lane).
static inline void check_w(struct who *a, uint64_t rec, uint32_t off, int lane)
{
    if (rec == 0 || (a->strong && (rec & VG_W_ATOMIC))) {
        return;
    }
    uint32_t clock = (uint32_t)(rec >> 32);
    unsigned agent = (unsigned)(rec >> 16 & 0xFFFF);
    if (agent == a->agent) {
        int by = (int)(rec >> 8 & 0xFF);
        by = by < 32 ? by : -1;
        if ((by != lane || by < 0) && !lane_knows(a->w->chk, lane, by, clock)) {
            report(a, off, lane, agent, by, "written");
        }
    } else if (clock > a->vc[agent]) {
        report(a, off, lane, agent, -1, "written");
    }
}

static inline void check_r(struct who *a, unsigned agent, uint32_t rec, uint32_t off, int lane)
{
    uint32_t clock = rec >> 8;
    if (clock == 0 || (a->strong && (rec & VG_R_STRONG))) {
        return;
    }
    if (agent == a->agent) {
        int by = (int)(rec & VG_R_LANE);
        by = rec & VG_R_MULTI ? -1 : by;
        if ((by != lane || by < 0) && !lane_knows(a->w->chk, lane, by, clock)) {
            report(a, off, lane, agent, by, "read");
        }
    } else if (clock > a->vc[agent]) {
        report(a, off, lane, agent, -1, "read");
    }
}

static inline uint32_t r_update(const struct who *a, uint32_t old, int lane)
{
    uint32_t fresh =
        a->clock << 8 | (lane < 0 ? VG_R_MULTI : (uint32_t)lane) | (a->strong ? VG_R_STRONG : 0);
    if (old >> 8 == a->clock) {
        if ((old & VG_R_MULTI) || (old & VG_R_LANE) != (fresh & VG_R_LANE)) {
            fresh |= VG_R_MULTI;
        }
        if (!(old & VG_R_STRONG)) {
            fresh &= ~(uint32_t)VG_R_STRONG;
        }
    }
    return fresh;
}

static bool is_far(const struct vg_chk_cta *t, unsigned agent)
{
    return agent - t->agent0 >= t->grid->n_warps;
}

static uint64_t read_bit(const struct vg_chk_cta *t, unsigned agent)
{
    return is_far(t, agent) ? VG_RMASK_FAR : UINT64_C(1) << (agent - t->agent0);
}

static uint32_t *r_array(struct vg_chk_cta *t, unsigned agent)
{
    if (!t->rrec[agent]) {
        t->rrec[agent] = vg_chk_alloc(t->n_words + 4u, sizeof(uint32_t));
    }
    return t->rrec[agent];
}

static uint32_t *r_bytes(struct vg_chk_cta *t, unsigned agent)
{
    if (!t->rbyte[agent]) {
        t->rbyte[agent] = vg_chk_alloc((size_t)t->n_words * 4, sizeof(uint32_t));
    }
    return t->rbyte[agent];
}

static uint64_t *w_bytes(struct vg_chk_cta *t)
{
    if (!t->wbyte) {
        t->wbyte = vg_chk_alloc((size_t)t->n_words * 4, sizeof(uint64_t));
    }
    return t->wbyte;
}

// Calls check_r for every agent that has read the word (or this byte of it).
static void check_readers(struct who *a, uint32_t word, unsigned byte0, unsigned bytes, int lane)
{
    struct vg_chk_cta *t = a->t;
    uint64_t mask = t->rmask[word / VG_RBLOCK_WORDS];
    unsigned n = t->grid->n_agents;
    for (unsigned v = 0; v < n && mask; v++) {
        if (!(mask & read_bit(t, v)) || !t->rrec[v]) {
            continue;
        }
        uint32_t rec = t->rrec[v][word];
        if (rec & VG_R_SPLIT) {
            for (unsigned b = byte0; b < byte0 + bytes; b++) {
                check_r(a, v, t->rbyte[v][word * 4 + b], word * 4 + b, lane);
            }
        } else {
            check_r(a, v, rec, word * 4, lane);
        }
    }
}

// One access within one word: bytes [byte0, byte0 + bytes).
static void check_word(struct who *a, uint32_t word, unsigned byte0, unsigned bytes, int lane)
{
    struct vg_chk_cta *t = a->t;
    uint64_t rec = t->wrec[word];
    if (rec & VG_W_SPLIT) {
        for (unsigned b = byte0; b < byte0 + bytes; b++) {
            check_w(a, t->wbyte[word * 4 + b], word * 4 + b, lane);
        }
    } else {
        check_w(a, rec, word * 4, lane);
    }
    if (a->writes) {
        check_readers(a, word, byte0, bytes, lane);
    }
}

static void record_write(struct who *a, uint32_t word, unsigned byte0, unsigned bytes, int lane)
{
    struct vg_chk_cta *t = a->t;
    uint64_t fresh =
        w_record(a->clock, a->agent, lane < 0 ? 63 : (unsigned)lane, a->strong ? VG_W_ATOMIC : 0);
    if (bytes == 4) {
        t->wrec[word] = fresh;
        return;
    }
    uint64_t *b = w_bytes(t) + word * 4;
    if (!(t->wrec[word] & VG_W_SPLIT)) {
        for (int i = 0; i < 4; i++) {
            b[i] = t->wrec[word];
        }
        t->wrec[word] = VG_W_SPLIT;
    }
    for (unsigned i = byte0; i < byte0 + bytes; i++) {
        b[i] = fresh;
    }
}

static void record_read(struct who *a, uint32_t word, unsigned byte0, unsigned bytes, int lane)
{
    struct vg_chk_cta *t = a->t;
    uint32_t *r = &r_array(t, a->agent)[word];
    t->rmask[word / VG_RBLOCK_WORDS] |= read_bit(t, a->agent);
    if (bytes == 4 && !(*r & VG_R_SPLIT)) {
        *r = r_update(a, *r, lane);
        return;
    }
    uint32_t *b = r_bytes(t, a->agent) + word * 4;
    if (!(*r & VG_R_SPLIT)) {
        for (int i = 0; i < 4; i++) {
            b[i] = *r;
        }
        *r = VG_R_SPLIT;
    }
    for (unsigned i = byte0; i < byte0 + bytes; i++) {
        b[i] = r_update(a, b[i], lane);
    }
}

static struct who who_is(struct vg_warp *w, struct vg_cta *target, enum vg_access kind)
{
    struct vg_chk_warp *k = w->chk;
    return (struct who){.w = w,
                        .t = target->chk,
                        .vc = k->vc,
                        .agent = k->agent,
                        .clock = k->vc[k->agent],
                        .writes = kind == VG_STORE || kind == VG_STORE_STRONG || kind == VG_ATOMIC,
                        .strong =
                            kind == VG_ATOMIC || kind == VG_LOAD_STRONG || kind == VG_STORE_STRONG,
                        .kind = kind};
}

// ---- words in a row: word0.., `per` words for each lane from lane0 on (per 0: all by lane0) ----

// True when no write record of the row can be in conflict, whatever the lane. One comparison per
// word where the records agree in agent and clock.
static bool row_written_fine(const struct who *a, uint32_t word0, unsigned n)
{
    const uint64_t *rec = a->t->wrec + word0;
    uint64_t known = 0; // record 0 is fine
    for (unsigned i = 0; i < n; i++) {
        uint64_t key = rec[i] >> 16;
        if (key != known || (rec[i] & VG_W_SPLIT)) {
            if (rec[i] & VG_W_SPLIT) {
                return false;
            }
            uint32_t clock = (uint32_t)(key >> 16);
            unsigned agent = (unsigned)(key & 0xFFFF);
            if (agent == a->agent ? clock >= a->w->chk->full_sync : clock > a->vc[agent]) {
                return false;
            }
            known = key;
        }
    }
    return true;
}

// The same for read records.
static bool row_read_fine(const struct who *a, uint32_t word0, unsigned n)
{
    struct vg_chk_cta *t = a->t;
    uint64_t mask = 0;
    for (unsigned b = word0 / VG_RBLOCK_WORDS; b <= (word0 + n - 1) / VG_RBLOCK_WORDS; b++) {
        mask |= t->rmask[b];
    }
    unsigned n_agents = t->grid->n_agents;
    for (unsigned v = 0; v < n_agents && mask; v++) {
        if (!(mask & read_bit(t, v)) || !t->rrec[v]) {
            continue;
        }
        const uint32_t *rec = t->rrec[v] + word0;
        uint32_t top = 0, any = 0;
        for (unsigned i = 0; i < n; i++) {
            top = rec[i] > top ? rec[i] : top;
            any |= rec[i];
        }
        if (any & VG_R_SPLIT) {
            return false;
        }
        uint32_t clock = top >> 8;
        if (v == a->agent ? clock >= a->w->chk->full_sync : clock > a->vc[v]) {
            return false;
        }
    }
    return true;
}

static void row(struct who *a, uint32_t word0, unsigned n, int lane0, unsigned per)
{
    struct vg_chk_cta *t = a->t;
    bool fine = row_written_fine(a, word0, n) && (!a->writes || row_read_fine(a, word0, n));
    if (!fine) {
        for (unsigned i = 0; i < n; i++) {
            check_word(a, word0 + i, 0, 4, per ? lane0 + (int)(i / per) : lane0);
        }
    }
    if (a->writes) {
        uint64_t fresh = w_record(a->clock, a->agent, 0, a->strong ? VG_W_ATOMIC : 0);
        for (unsigned i = 0; i < n; i++) {
            unsigned lane = per ? (unsigned)lane0 + i / per : lane0 < 0 ? 63 : (unsigned)lane0;
            t->wrec[word0 + i] = fresh | (uint64_t)lane << 8;
        }
        return;
    }
    uint32_t *r = r_array(t, a->agent) + word0;
    for (unsigned b = word0 / VG_RBLOCK_WORDS; b <= (word0 + n - 1) / VG_RBLOCK_WORDS; b++) {
        t->rmask[b] |= read_bit(t, a->agent);
    }
    for (unsigned i = 0; i < n; i++) {
        int lane = per ? lane0 + (int)(i / per) : lane0;
        if (r[i] & VG_R_SPLIT) {
            record_read(a, word0 + i, 0, 4, lane);
        } else {
            r[i] = r_update(a, r[i], lane);
        }
    }
}

void vg_race_shared(struct vg_warp *w, struct vg_cta *target, const uint32_t off[32], uint32_t mask,
                    unsigned bytes, enum vg_access kind)
{
    if (!w->cta->grid->chk->race) {
        return;
    }
    struct who a = who_is(w, target, kind);
    if (bytes >= 4) {
        unsigned per = bytes / 4;
        bool is_row = mask == 0xFFFFFFFFu;
        for (unsigned i = 1; i < 32 && is_row; i++) {
            is_row = off[i] == off[0] + i * bytes;
        }
        if (is_row) {
            row(&a, off[0] / 4, 32 * per, 0, per);
            return;
        }
        if (!a.writes) {
            for (uint32_t m = mask; m; m &= m - 1) {
                int lane = __builtin_ctz(m);
                row(&a, off[lane] / 4, per, lane, 0);
            }
            return;
        }
        // All checks before all records: lanes of one instruction do not race with each other.
        for (uint32_t m = mask; m; m &= m - 1) {
            int lane = __builtin_ctz(m);
            uint32_t word = off[lane] / 4;
            if (!row_written_fine(&a, word, per) || !row_read_fine(&a, word, per)) {
                for (unsigned i = 0; i < per; i++) {
                    check_word(&a, word + i, 0, 4, lane);
                }
            }
        }
        for (uint32_t m = mask; m; m &= m - 1) {
            int lane = __builtin_ctz(m);
            for (unsigned i = 0; i < per; i++) {
                record_write(&a, off[lane] / 4 + i, 0, 4, lane);
            }
        }
        return;
    }
    for (uint32_t m = mask; m; m &= m - 1) {
        int lane = __builtin_ctz(m);
        check_word(&a, off[lane] / 4, off[lane] % 4, bytes, lane);
    }
    for (uint32_t m = mask; m; m &= m - 1) {
        int lane = __builtin_ctz(m);
        if (a.writes) {
            record_write(&a, off[lane] / 4, off[lane] % 4, bytes, lane);
        } else {
            record_read(&a, off[lane] / 4, off[lane] % 4, bytes, lane);
        }
    }
}

void vg_race_range(struct vg_warp *w, struct vg_cta *target, uint32_t off, uint32_t bytes, int lane,
                   enum vg_access kind)
{
    if (!w->cta->grid->chk->race || bytes == 0) {
        return;
    }
    struct who a = who_is(w, target, kind);
    if (((off | bytes) & 3) == 0) {
        row(&a, off / 4, bytes / 4, lane, 0);
        return;
    }
    for (uint32_t at = off; at < off + bytes;) {
        uint32_t n = 4 - at % 4;
        n = n < off + bytes - at ? n : off + bytes - at;
        check_word(&a, at / 4, at % 4, n, lane);
        if (a.writes) {
            record_write(&a, at / 4, at % 4, n, lane);
        } else {
            record_read(&a, at / 4, at % 4, n, lane);
        }
        at += n;
    }
}

void vg_race_range_check_write(struct vg_warp *w, struct vg_cta *target, uint32_t off,
                               uint32_t bytes, int lane)
{
    if (!w->cta->grid->chk->race || bytes == 0) {
        return;
    }
    struct who a = who_is(w, target, VG_STORE);
    uint32_t first = off / 4, n = (off + bytes + 3) / 4 - first;
    if (!row_written_fine(&a, first, n) || !row_read_fine(&a, first, n)) {
        for (unsigned i = 0; i < n; i++) {
            check_word(&a, first + i, 0, 4, lane);
        }
    }
}

void vg_race_async_write(struct vg_chk_cta *c, uint32_t off, uint32_t bytes, uint32_t clock,
                         bool async_proxy)
{
    if (!c->grid->race || bytes == 0) {
        return;
    }
    uint64_t rec = w_record(clock, c->async_agent, 63, async_proxy ? VG_W_ASYNC : 0);
    for (uint32_t i = off / 4; i < (off + bytes + 3) / 4; i++) {
        c->wrec[i] = rec;
    }
}

void vg_race_async_read(struct vg_warp *w, struct vg_cta *target, uint32_t off, uint32_t bytes,
                        const char *what)
{
    if (!w->cta->grid->chk->race || bytes == 0) {
        return;
    }
    struct who a = who_is(w, target, VG_LOAD);
    struct vg_chk_cta *t = target->chk;
    uint32_t first = off / 4, n = (off + bytes + 3) / 4 - first;
    row(&a, first, n, -1, 0);
    uint64_t known = 0;
    for (uint32_t i = first; i < first + n; i++) {
        for (unsigned b = 0; b < 4; b++) {
            uint64_t rec = t->wrec[i];
            if (rec & VG_W_SPLIT) {
                rec = t->wbyte[i * 4 + b];
            } else if (b > 0) {
                break;
            }
            if (rec == 0 || (rec & VG_W_ASYNC) || rec >> 16 == known) {
                continue;
            }
            uint32_t clock = (uint32_t)(rec >> 32);
            unsigned agent = (unsigned)(rec >> 16 & 0xFFFF);
            if (clock > t->base && clock > w->chk->pvc[agent]) {
                char name[64];
                agent_name(t, agent, name, sizeof(name));
                VG_FIND(w, -1, VG_PROXY_FENCE,
                        "%s reads shared memory offset 0x%x, which %s wrote with no "
                        "fence.proxy.async since",
                        what, i * 4 + b, name);
                return;
            }
            known = rec >> 16;
        }
    }
}
