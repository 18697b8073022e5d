// SPDX-License-Identifier: Apache-2.0
// bar.sync, bar.arrive, bar.red (barrier.cta.*) and barrier.cluster.
#include "sync.h"

#include <string.h>

#include "check.h"
#include "count.h"
#include "exec.h"
#include "warp.h"

enum bar_kind { BAR_SYNC, BAR_ARRIVE, BAR_POPC, BAR_AND, BAR_OR };

static void complete(struct vg_cta *c, struct vg_barrier *b)
{
    b->out_popc = b->red_popc;
    b->out_and = b->red_and;
    b->out_or = b->red_or;
    if (c->grid->launch->checks & VG_CHECK_RACE) {
        vg_sync_barrier(c, b->warps, b->waiting);
    }
    c->counts->n[VG_N_BARRIERS]++;
    b->ticket++;
    b->expected = b->arrived = 0;
    b->warps = b->waiting = 0;
    b->has_count = false;
    b->red_popc = b->red_or = 0;
    b->red_and = 1;
    vg_progress(c);
}

static void check_complete(struct vg_cta *c, struct vg_barrier *b)
{
    if (b->arrived && b->arrived >= (b->has_count ? b->expected : c->live_threads)) {
        complete(c, b);
    }
}

static void cluster_check(struct vg_cluster *cl, struct vg_cta *c)
{
    unsigned live = 0;
    for (unsigned i = 0; i < cl->n; i++) {
        live += cl->cta[i]->live_threads;
    }
    if (cl->arrived && cl->arrived >= live) {
        cl->arrived = 0;
        cl->phase++;
        vg_progress(c);
    }
}

void vg_barriers_exit(struct vg_cta *c)
{
    for (unsigned i = 0; i < VG_BARRIERS; i++) {
        check_complete(c, &c->bar[i]);
    }
    if (c->cluster) {
        cluster_check(c->cluster, c);
    }
}

static int misuse(struct vg_warp *w, const char *what, unsigned v)
{
    struct vg_where at;
    vg_where_now(w, -1, &at);
    vg_finding(VG_BARRIER, &at, what, v);
    return VG_STEP_FAULT;
}

// a: row of the barrier's number, b: of the thread count (flags 1), c: predicate (flags 2:
// negated). flags 4: aligned.
static int op_bar(struct vg_warp *w, const struct vg_op *op, uint32_t m)
{
    struct vg_cta *c = w->cta;
    enum bar_kind kind = (enum bar_kind)op->imm;
    uint32_t id = vg_r(w, op->a)[vg_first(m)];
    if (id >= VG_BARRIERS) {
        return misuse(w, "barrier %u: there are 16", id);
    }
    struct vg_barrier *b = &c->bar[id];
    uint32_t fresh = m & ~w->bar_lanes, bit = 1u << w->id;
    if (fresh) {
        bool has_count = op->flags & 1;
        unsigned expected = has_count ? vg_r(w, op->b)[vg_first(m)] : 0;
        if (has_count && (expected == 0 || expected % 32)) {
            return misuse(w, "barrier for %u threads: not a multiple of the warp size", expected);
        }
        if (b->arrived && (b->has_count != has_count || b->expected != expected)) {
            return misuse(w, "barrier for %u threads, but others wait there for another number",
                          expected);
        }
        if (kind != BAR_ARRIVE && (b->warps & bit) && !(b->waiting & bit)) {
            return misuse(w, "barrier %u: this warp has arrived already", id);
        }
        uint32_t p = (w->p[op->c] ^ (op->flags & 2 ? ~0u : 0)) & fresh;
        if (b->arrived == 0) {
            b->red_and = 1;
        }
        b->has_count = has_count;
        b->expected = expected;
        b->arrived += has_count && (op->flags & 4) ? 32 : (unsigned)__builtin_popcount(fresh);
        b->warps |= bit;
        b->red_popc += (uint32_t)__builtin_popcount(p);
        b->red_and &= p == fresh;
        b->red_or |= p != 0;
        vg_progress(c);
        if (kind != BAR_ARRIVE) {
            b->waiting |= bit;
            w->bar_lanes |= fresh;
            for (uint32_t k = fresh; k; k &= k - 1) {
                w->bar_ticket[vg_first(k)] = b->ticket;
            }
        }
        check_complete(c, b);
        if (kind == BAR_ARRIVE) {
            return VG_STEP_DONE;
        }
    }
    for (uint32_t k = m; k; k &= k - 1) {
        if (w->bar_ticket[vg_first(k)] == b->ticket) {
            w->wait_on = &b->ticket;
            w->wait_value = b->ticket;
            return VG_STEP_BLOCK;
        }
    }
    w->bar_lanes &= ~m;
    if (kind == BAR_POPC) {
        for (uint32_t k = m; k; k &= k - 1) {
            vg_r(w, op->d)[vg_first(k)] = b->out_popc;
        }
    } else if (kind == BAR_AND || kind == BAR_OR) {
        vg_p_set(w, op->d, (kind == BAR_AND ? b->out_and : b->out_or) ? ~0u : 0, m);
    }
    return VG_STEP_DONE;
}

// imm: relaxed
static int op_cluster_arrive(struct vg_warp *w, const struct vg_op *op, uint32_t m)
{
    struct vg_cluster *cl = w->cta->cluster;
    if (w->cluster_phase > cl->phase) {
        return misuse(w, "barrier.cluster.arrive twice in phase %u", (unsigned)cl->phase);
    }
    w->cluster_phase = cl->phase + 1;
    cl->arrived += (unsigned)__builtin_popcount(m);
    if (!op->imm && (w->cta->grid->launch->checks & VG_CHECK_RACE)) {
        vg_sync_cluster_arrive(w);
    }
    vg_progress(w->cta);
    cluster_check(cl, w->cta);
    return VG_STEP_DONE;
}

static int op_cluster_wait(struct vg_warp *w, const struct vg_op *op, uint32_t m)
{
    struct vg_cluster *cl = w->cta->cluster;
    (void)op, (void)m;
    if (w->cluster_phase > cl->phase) {
        w->wait_on = &cl->phase;
        w->wait_value = cl->phase;
        return VG_STEP_BLOCK;
    }
    if (w->cta->grid->launch->checks & VG_CHECK_RACE) {
        vg_sync_cluster_wait(w);
    }
    return VG_STEP_DONE;
}

static bool decode_cluster(struct vg_dec *dc)
{
    const struct ptx_inst *in = dc->in;
    bool wait = ptx_has(in, "wait");
    struct vg_op *op = vg_dec_op(dc, wait ? op_cluster_wait : op_cluster_arrive, VG_N_WARP_SYNC);
    op->collect = VG_COLL_WARP;
    op->imm = ptx_has(in, "relaxed");
    dc->prog->uses_clusters = true;
    return true;
}

bool vg_dec_barrier(struct vg_dec *dc)
{
    const struct ptx_inst *in = dc->in;
    if (ptx_has(in, "cluster")) {
        return decode_cluster(dc);
    }
    bool red = ptx_has(in, "red"), arrive = ptx_has(in, "arrive");
    enum bar_kind kind = arrive                ? BAR_ARRIVE
                         : !red                ? BAR_SYNC
                         : ptx_has(in, "popc") ? BAR_POPC
                         : ptx_has(in, "and")  ? BAR_AND
                                               : BAR_OR;
    unsigned i = red ? 1 : 0, n = in->n_op;
    bool has_count = n > i + 1 + red;
    if (n < i + 1 + red) {
        vg_dec_fail(dc, in, "operands are missing");
        return true;
    }
    uint32_t d = kind == BAR_POPC ? vg_dec_r(dc, &in->op[0]) : red ? vg_dec_p(dc, &in->op[0]) : 0;
    uint32_t a = vg_dec_r(dc, &in->op[i]), b = has_count ? vg_dec_r(dc, &in->op[i + 1]) : a;
    const struct ptx_operand *p = red ? &in->op[n - 1] : NULL;
    uint32_t c = p ? vg_dec_p(dc, p) : VG_P_TRUE;
    struct vg_op *op = vg_dec_op(dc, op_bar, VG_N_WARP_SYNC);
    op->d = d;
    op->a = a;
    op->b = b;
    op->c = c;
    op->imm = kind;
    bool aligned = strcmp(in->tok[0], "bar") == 0 || ptx_has(in, "aligned");
    op->flags = (uint8_t)((has_count ? 1 : 0) | (p && p->neg ? 2 : 0) | (aligned ? 4 : 0));
    op->collect = aligned ? VG_COLL_WARP : VG_COLL_NONE;
    return true;
}
