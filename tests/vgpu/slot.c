// SPDX-License-Identifier: Apache-2.0
#include "slot.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "exec.h"
#include "mem.h"
#include "warp.h"

struct shape { // rows of one warp
    size_t r, d, p;
};

static struct shape shape_of(const struct vg_program *p)
{
    const struct vg_frame *e = &p->code[p->n_code - 1].frame, *c = &p->callee;
    return (struct shape){e->n_r + (size_t)p->max_depth * c->n_r,
                          e->n_d + (size_t)p->max_depth * c->n_d,
                          e->n_p + (size_t)p->max_depth * c->n_p};
}

static void *aligned(size_t bytes)
{
    void *p = aligned_alloc(128, (bytes + 127) / 128 * 128 + 128);
    if (!p) {
        abort();
    }
    return p;
}

static size_t round128(size_t n)
{
    return (n + 127) & ~(size_t)127;
}

static struct vg_slot *new_slot(const struct vg_grid *g, uint32_t smem_bytes)
{
    const struct vg_program *p = g->program;
    struct shape s = shape_of(p);
    struct vg_slot *slot = calloc(1, sizeof(*slot));
    unsigned n = g->warps_per_cta;
    struct vg_warp *warps = calloc(n, sizeof(*warps));
    if (!slot || !warps) {
        abort();
    }
    size_t rows = round128(s.r * 128) + round128(s.d * 256) + round128(s.p * 4);
    size_t defs = round128((s.r + s.d + s.p) * 4), rets = round128((p->max_depth + 1) * 128);
    size_t params = round128((size_t)g->param_stride * 32),
           local = round128((size_t)g->local_stride * 32);
    size_t bytes = rows + defs + rets + params + 2 * local;
    uint8_t *at = aligned(bytes * n);
    memset(at, 0, bytes * n);
    slot->rows = at;
    for (unsigned i = 0; i < n; i++, at += bytes) {
        struct vg_warp *w = &warps[i];
        uint8_t *q = at;
        w->r0 = (uint32_t *)(void *)q;
        q += round128(s.r * 128);
        w->d0 = (uint64_t *)(void *)q;
        q += round128(s.d * 256);
        w->p0 = (uint32_t *)(void *)q;
        q += round128(s.p * 4);
        w->def_r = (uint32_t *)(void *)q;
        w->def_d = w->def_r + s.r;
        w->def_p = w->def_d + s.d;
        q += defs;
        w->ret_pc = (uint32_t(*)[32])(void *)q;
        q += rets;
        w->param0 = q;
        q += params;
        w->local0 = q;
        w->local_shadow = q + local;
        w->ops = p->ops;
        w->id = i;
        w->cta = &slot->cta;
        for (unsigned l = 0; l < 32; l++) {
            unsigned t = i * 32 + l;
            w->tid[0][l] = t % g->block[0];
            w->tid[1][l] = t / g->block[0] % g->block[1];
            w->tid[2][l] = t / g->block[0] / g->block[1];
        }
    }
    slot->smem = aligned(smem_bytes + 64u);
    slot->smem_bytes = smem_bytes;
    memcpy(slot->block, g->block, sizeof(slot->block));
    slot->cta.smem = slot->smem;
    slot->cta.warps = warps;
    slot->cta.n_warps = n;
    return slot;
}

// ---- slots that wait for their next CTA, by program ----

static pthread_mutex_t free_lock = PTHREAD_MUTEX_INITIALIZER; // guards every program's free list
enum { MAX_KEPT = 64 };

static struct vg_slot *take(const struct vg_grid *g, uint32_t smem_bytes)
{
    struct vg_program *p = g->program;
    pthread_mutex_lock(&free_lock);
    struct vg_slot **at = &p->slots, *s;
    while ((s = *at) != NULL &&
           (s->smem_bytes != smem_bytes || memcmp(s->block, g->block, sizeof(s->block)) != 0)) {
        at = &s->free_next;
    }
    if (s) {
        *at = s->free_next;
        p->n_slots--;
    }
    pthread_mutex_unlock(&free_lock);
    return s;
}

static void keep(struct vg_program *p, struct vg_slot *s)
{
    pthread_mutex_lock(&free_lock);
    bool room = p->n_slots < MAX_KEPT;
    s->free_next = room ? p->slots : NULL;
    p->slots = room ? s : p->slots;
    p->n_slots += room;
    pthread_mutex_unlock(&free_lock);
    if (!room) {
        vg_slots_free(s);
    }
}

void vg_slots_free(struct vg_slot *list)
{
    while (list) {
        struct vg_slot *next = list->free_next;
        free(list->cta.warps);
        free(list->rows);
        free(list->smem);
        free(list);
        list = next;
    }
}

// Offset of dynamic shared memory: behind the static part, aligned as its declaration asks. Random
// schedules put it at an odd multiple of that (of 128 bytes at least), so that an alignment which
// was not declared is never there. Addresses stay below 256 KiB, which is all that a matrix
// descriptor can name.
static uint32_t dynamic_offset(const struct vg_grid *g, uint32_t bytes)
{
    const struct vg_program *p = g->program;
    uint32_t at = (p->shared_span + p->dyn_align - 1) & ~(p->dyn_align - 1), pad = 0;
    uint64_t seed = g->launch->seed;
    if ((g->launch->checks & VG_CHECK_SCHED) && bytes) {
        uint32_t unit = p->dyn_align > 128 ? p->dyn_align : 128;
        uint32_t address = VG_SMEM_BASE + at, up = (address + unit - 1) & ~(unit - 1);
        up += up / unit % 2 ? 0 : unit;
        pad = up - address + 2 * unit * (uint32_t)(vg_random(&seed) % 4);
    }
    return (uint64_t)at + pad + bytes + VG_SMEM_BASE <= 256 * 1024 ? at + pad : at;
}

static void start_warp(struct vg_warp *w, unsigned threads)
{
    struct vg_grid *g = w->cta->grid;
    const struct vg_program *p = g->program;
    const struct vg_code *entry = &p->code[p->n_code - 1];
    unsigned first = w->id * 32, n = threads > first ? threads - first : 0;
    w->live = n >= 32 ? ~0u : (1u << n) - 1;
    w->active = w->blocked = 0;
    w->depth = 0;
    w->pc = w->limit = 0;
    w->stirs = 0;
    w->n_ops = 0;
    w->wait_on = NULL;
    w->cc = 0;
    w->bar_lanes = 0;
    w->cluster_phase = 0;
    w->watch = NULL;
    w->dep_clock = 0;
    w->dep_after = false;
    w->rng = w->cta->rng + w->id * 0x9e3779b97f4a7c15ull;
    for (unsigned l = 0; l < 32; l++) {
        w->lane_pc[l] = entry->first;
        w->lane_depth[l] = 0;
    }
    vg_set_frame(w);
    vg_fill_consts(w, entry, 0, ~0u);
    if (g->local_stride) {
        memset(w->local0, VG_FRESH_BYTE, (size_t)g->local_stride * 32);
        memset(w->local_shadow, 0, (size_t)g->local_stride * 32);
    }
}

static struct vg_slot *open_cta(struct vg_grid *g, const unsigned id[3], unsigned rank,
                                struct vg_counts *counts, uint64_t *progress)
{
    uint32_t dyn = g->launch->dynamic_smem_bytes;
    uint32_t offset = dynamic_offset(g, dyn), bytes = offset + dyn;
    struct vg_slot *s = take(g, bytes);
    s = s ? s : new_slot(g, bytes);
    struct vg_cta *c = &s->cta;
    s->next = NULL;
    c->grid = g;
    c->cluster = NULL;
    memcpy(c->id, id, sizeof(c->id));
    c->linear = (id[2] * g->grid[1] + id[1]) * g->grid[0] + id[0];
    c->rank = rank;
    c->smem_bytes = bytes;
    c->dyn_offset = offset;
    c->dyn_bytes = dyn;
    c->live_threads = g->threads_per_cta;
    c->n_live = c->n_warps;
    memset(c->bar, 0, sizeof(c->bar));
    memset(c->smem, VG_FRESH_BYTE, bytes);
    c->counts = counts;
    c->progress = progress;
    uint64_t seed = g->launch->seed ^ (uint64_t)c->linear << 32;
    c->rng = vg_random(&seed);
    for (unsigned i = 0; i < c->n_warps; i++) {
        start_warp(&c->warps[i], g->threads_per_cta);
    }
    vg_chk_cta_open(c);
    return s;
}

struct vg_slot *vg_slot_open(struct vg_grid *g, unsigned unit, struct vg_counts *counts,
                             uint64_t *progress)
{
    const unsigned *cl = g->cluster;
    unsigned nx = g->grid[0] / cl[0], ny = g->grid[1] / cl[1];
    unsigned at[3] = {unit % nx, unit / nx % ny, unit / nx / ny};
    struct vg_slot *first = NULL, **tail = &first;
    for (unsigned rank = 0; rank < g->cluster_ctas; rank++) {
        unsigned in[3] = {rank % cl[0], rank / cl[0] % cl[1], rank / cl[0] / cl[1]};
        unsigned id[3] = {at[0] * cl[0] + in[0], at[1] * cl[1] + in[1], at[2] * cl[2] + in[2]};
        *tail = open_cta(g, id, rank, counts, progress);
        tail = &(*tail)->next;
    }
    if (g->cluster_ctas > 1 || g->program->uses_clusters) {
        struct vg_cluster *c = &first->cluster;
        *c = (struct vg_cluster){.n = g->cluster_ctas, .id = {at[0], at[1], at[2]}};
        unsigned i = 0;
        for (struct vg_slot *s = first; s; s = s->next) {
            s->cta.cluster = c;
            c->cta[i++] = &s->cta;
        }
        vg_chk_cluster_open(c);
    }
    return first;
}

void vg_slot_close(struct vg_grid *g, struct vg_slot *s)
{
    while (s) {
        struct vg_slot *next = s->next;
        vg_chk_cta_close(&s->cta);
        keep(g->program, s);
        s = next;
    }
}
