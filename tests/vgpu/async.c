// SPDX-License-Identifier: Apache-2.0
// async.c - life of the asynchronous engine; the decoder's door to its instructions.
#include "async_impl.h"

#include <stdio.h>
#include <stdlib.h>

void *vg_async_alloc(size_t n)
{
    return vg_chk_alloc(n, 1);
}

uint32_t vg_async_random(struct vg_async *a)
{
    a->rng ^= a->rng << 13;
    a->rng ^= a->rng >> 7;
    a->rng ^= a->rng << 17;
    return (uint32_t)(a->rng >> 32);
}

void vg_async_open(struct vg_cta *c)
{
    struct vg_async *a = vg_async_alloc(sizeof(*a));
    const struct vg_launch *l = c->grid->launch;
    a->cta = c;
    a->rng =
        (l->seed + 1) * UINT64_C(0x9E3779B97F4A7C15) + c->linear * UINT64_C(0xD1B54A32D192ED03);
    a->rng |= 1;
    // One seed in four delivers data at once: what is used too early then has the right value, and
    // is found by its pending mark all the same; what is overwritten too early shows in the
    // results.
    a->eager = (l->checks & VG_CHECK_SCHED) && l->seed % 4 == 3;
    c->async = a;
    for (unsigned i = 0; i < c->n_warps; i++) {
        struct vg_async_warp *aw = vg_async_alloc(sizeof(*aw));
        aw->puts_end = &aw->puts;
        c->warps[i].async = aw;
        c->warps[i].watch = NULL;
    }
}

void vg_async_exit(struct vg_cta *c)
{
    struct vg_async *a = c->async;
    for (unsigned i = 0; i < c->n_warps; i++) {
        struct vg_warp *w = &c->warps[i];
        struct vg_async_warp *aw = w->async;
        struct vg_where where;
        unsigned n = vg_cpa_waiting(w, &where);
        if (n > 0) {
            vg_finding(VG_ASYNC_EXIT, &where, "the CTA ends with %u cp.async copies in flight", n);
        }
        for (struct vg_put *p = aw->puts; p; p = p->next) {
            if (!p->read_done) {
                vg_finding(
                    VG_ASYNC_EXIT, &p->where,
                    "the CTA ends before cp.async.bulk.wait_group: %u bytes of shared memory "
                    "at offset 0x%x are still to be read",
                    p->bytes, p->src_off);
            }
            vg_put_deliver(w, p);
        }
        vg_wg_exit(w);
    }
    for (unsigned i = 0; i < a->n_bar; i++) {
        const struct vg_bar *b = a->bar[i];
        for (const struct vg_xfer *x = b->xfers; x; x = x->next) {
            vg_finding(
                VG_ASYNC_EXIT, &x->where,
                "the CTA ends with a copy of %u bytes to shared memory offset 0x%x in flight: "
                "nobody waited for mbarrier 0x%x",
                x->bytes, x->dst_off, b->off);
        }
    }
}

void vg_async_close(struct vg_cta *c)
{
    struct vg_async *a = c->async;
    for (unsigned i = 0; i < c->n_warps; i++) {
        struct vg_async_warp *aw = c->warps[i].async;
        while (aw->puts) {
            struct vg_put *p = aw->puts;
            aw->puts = p->next;
            vg_put_free(p);
        }
        vg_wg_free(&c->warps[i]);
        free(aw->cpa);
        free(aw);
        c->warps[i].async = NULL;
        c->warps[i].watch = NULL;
    }
    for (unsigned i = 0; i < a->n_bar; i++) {
        vg_bar_free(a->bar[i]);
    }
    free(a->bar);
    free(a);
    c->async = NULL;
}

void vg_async_describe(struct vg_cta *c, char *buf, size_t n)
{
    size_t used = 0;
    buf[0] = 0;
    const struct vg_async *a = c->async;
    for (unsigned i = 0; a && i < a->n_bar && used < n; i++) {
        const struct vg_bar *b = a->bar[i];
        if (!b->live) {
            continue;
        }
        used +=
            (size_t)snprintf(buf + used, n - used,
                             "mbarrier at shared offset 0x%x: phase %llu, %lld of %u arrivals and "
                             "%lld bytes missing\n",
                             b->off, (unsigned long long)b->phase, (long long)b->pending,
                             b->expected, (long long)b->tx);
        for (const struct vg_xfer *x = b->xfers; x && used < n; x = x->next) {
            used += (size_t)snprintf(buf + used, n - used,
                                     "  copy of %u bytes to shared offset 0x%x in flight\n",
                                     x->bytes, x->dst_off);
        }
    }
}

// ---- fences that concern only this engine ----

// imm: the views it moves.
static int fence_proxy(struct vg_warp *w, const struct vg_op *op, uint32_t mask)
{
    vg_sync_fence_proxy(w, (unsigned)op->imm);
    if (op->flags) { // it has release semantics
        vg_sync_fence(w, mask, VG_SCOPE_GPU);
    }
    return VG_STEP_DONE;
}

static int fence_map_acquire(struct vg_warp *w, const struct vg_op *op, uint32_t mask)
{
    const struct vg_addr *at = op->ext;
    vg_sync_fence(w, mask, VG_SCOPE_GPU);
    for (uint32_t m = mask; m; m &= m - 1) {
        uint64_t addr = vg_lane_addr(w, *at, vg_first(m));
        if (addr % 64 != 0) {
            VG_FIND(w, (int)vg_first(m), VG_MISALIGNED,
                    "fence.proxy.tensormap of 0x%llx, which is not aligned to 64 bytes",
                    (unsigned long long)addr);
            return VG_STEP_FAULT;
        }
        vg_race_map_fence(w, addr);
    }
    return VG_STEP_DONE;
}

static int fence_mbarrier_init(struct vg_warp *w, const struct vg_op *op, uint32_t mask)
{
    (void)op;
    (void)mask;
    struct vg_async *a = w->cta->async;
    for (unsigned i = 0; i < a->n_bar; i++) {
        if (a->bar[i]->live && a->bar[i]->init_warp == w->id) {
            a->bar[i]->fenced = true;
        }
    }
    vg_sync_fence(w, mask, VG_SCOPE_CLUSTER);
    return VG_STEP_DONE;
}

static bool has_prefix(const struct ptx_inst *in, const char *what)
{
    bool yes = false;
    for (unsigned i = 1; i < in->n_tok; i++) {
        yes = yes || strncmp(in->tok[i], what, strlen(what)) == 0;
    }
    return yes;
}

static enum vg_decoded fence_decode(struct vg_dec *dc, const struct ptx_inst *in, struct vg_op *op)
{
    op->count = VG_N_WARP_SYNC;
    if (ptx_has(in, "mbarrier_init")) {
        op->fn = fence_mbarrier_init;
        return VG_DEC_OK;
    }
    if (!ptx_has(in, "proxy")) {
        return VG_DEC_NOT_MINE;
    }
    op->fn = fence_proxy; // .alias moves nothing
    if (has_prefix(in, "tensormap")) {
        op->imm = 1u << VG_VIEW_MAP;
        op->flags = ptx_has(in, "release");
        if (ptx_has(in, "acquire") && in->n_op >= 1) {
            struct vg_addr *at = vg_dec_alloc(dc, sizeof(*at));
            *at = vg_dec_addr(dc, &in->op[0]);
            op->ext = at;
            op->fn = fence_map_acquire;
        }
    } else if (has_prefix(in, "async")) {
        bool shared = has_prefix(in, "shared") || has_prefix(in, "sync_restrict");
        op->imm = shared                  ? 1u << VG_VIEW_SHARED
                  : ptx_has(in, "global") ? 1u << VG_VIEW_GLOBAL
                                          : 1u << VG_VIEW_SHARED | 1u << VG_VIEW_GLOBAL;
    }
    return vg_dec_failed(dc) ? VG_DEC_BAD : VG_DEC_OK;
}

enum vg_decoded vg_async_decode(struct vg_dec *dc, const struct ptx_inst *in, struct vg_op *op)
{
    const char *name = in->tok[0];
    if (strcmp(name, "mbarrier") == 0) {
        return vg_mbar_decode(dc, in, op);
    }
    if (strcmp(name, "fence") == 0) {
        return fence_decode(dc, in, op);
    }
    if (strcmp(name, "cp") != 0) {
        return VG_DEC_NOT_MINE;
    }
    bool reduce = ptx_has(in, "reduce");
    if (in->n_tok < 2 || (!ptx_has(in, "async") && !reduce)) {
        return VG_DEC_NOT_MINE;
    }
    if (!ptx_has(in, "bulk")) {
        return vg_cp_async_decode(dc, in, op);
    }
    return ptx_has(in, "tensor") ? vg_tma_decode(dc, in, op) : vg_bulk_decode(dc, in, op);
}
