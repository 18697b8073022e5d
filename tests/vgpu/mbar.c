// SPDX-License-Identifier: Apache-2.0
// mbar.c - mbarrier objects: arrivals, transaction bytes, phases, waits. The object lives in a side
// table; its 8 bytes of shared memory hold a cookie, so that use before init and overwriting are
// seen.
#include "async_impl.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    MAX_COUNT = (1 << 20) - 1,
    MAX_TX = (1 << 20) - 1,
    // A waiter that looks in vain this often is parked until something happens to the barrier, so
    // that a deadlock is seen at once. try_wait may suspend; a loop that does other work after a
    // failed look has had its chance by then.
    MAX_POLLS = 256
};

struct mbar_ext {
    struct vg_sh_addr at;
    uint32_t state_row, arg_row; // destination or predicate; count, bytes, parity or state
    bool has_arg, sink;
    bool acquire, release;
    bool expect_tx, drop, no_complete, parity, remote;
};

static uint64_t cookie_of(uint32_t off)
{
    return UINT64_C(0x6D62617200000000) ^ ((uint64_t)off * UINT64_C(0x9E3779B97F4A7C15) >> 20);
}

static struct vg_bar *find(struct vg_async *a, uint32_t off)
{
    if (a->last < a->n_bar && a->bar[a->last]->off == off) {
        return a->bar[a->last];
    }
    for (unsigned i = 0; i < a->n_bar; i++) {
        if (a->bar[i]->off == off) {
            a->last = i;
            return a->bar[i];
        }
    }
    return NULL;
}

struct vg_bar *vg_bar_at(struct vg_warp *w, int lane, struct vg_cta *t, uint32_t off,
                         const char *what)
{
    if (off % 8 != 0) {
        VG_FIND(w, lane, VG_MISALIGNED, "%s: mbarrier at shared memory offset 0x%x", what, off);
        return NULL;
    }
    struct vg_bar *b = t->async ? find(t->async, off) : NULL;
    if (!b || !b->live) {
        VG_FIND(w, lane, VG_MBARRIER, "%s: shared memory offset 0x%x holds no initialised mbarrier",
                what, off);
        return NULL;
    }
    uint64_t now;
    memcpy(&now, t->smem + off, 8);
    if (now != b->cookie) {
        VG_FIND(w, lane, VG_MBARRIER,
                "%s: the mbarrier at shared memory offset 0x%x was overwritten by ordinary stores",
                what, off);
        memcpy(t->smem + off, &b->cookie, 8);
    }
    vg_race_range(w, t, off, 8, lane, VG_LOAD_STRONG);
    return b;
}

void vg_bar_async_use(struct vg_warp *w, int lane, struct vg_bar *b)
{
    const struct vg_chk_grid *g = w->cta->grid->chk;
    if (g->race && !b->fenced &&
        vg_view(g, w->chk->vc, VG_VIEW_SHARED)[b->init_agent] < b->init_clock) {
        VG_FIND(w, lane, VG_PROXY_FENCE,
                "a copy completes on the mbarrier at shared memory offset 0x%x, whose "
                "mbarrier.init was "
                "not followed by fence.mbarrier_init or fence.proxy.async",
                b->off);
        b->fenced = true; // once
    }
}

static void happened(struct vg_bar *b)
{
    b->events++;
    b->polls = 0;
    vg_progress(b->cta);
}

void vg_bar_late(struct vg_bar *b)
{
    happened(b);
}

void vg_bar_add_xfer(struct vg_bar *b, struct vg_xfer *x)
{
    happened(b);
    struct vg_xfer **p = &b->xfers;
    while (*p) {
        p = &(*p)->next;
    }
    x->next = NULL;
    *p = x;
}

void vg_bar_free(struct vg_bar *b)
{
    while (b->xfers) {
        struct vg_xfer *x = b->xfers;
        b->xfers = x->next;
        vg_xfer_free(x);
    }
    vg_vc_free(&b->cur);
    vg_vc_free(&b->done);
    free(b->late);
    free(b);
}

static void complete(struct vg_bar *b)
{
    if (b->pending != 0 || b->tx != 0) {
        return;
    }
    struct vg_chk_grid *g = b->cta->grid->chk;
    vg_vc_join(g, &b->done, &b->cur); // what earlier phases published stays published
    vg_vc_clear(g, &b->cur);
    b->phase++;
    b->pending = b->expected;
    happened(b);
}

static void seen(struct vg_warp *w, struct vg_bar *b)
{
    if (b->cta == w->cta) {
        b->seen[w->id] = b->phase + 1;
    }
}

// Arrival of `count` by a lane of w. false: over-arrival.
static bool arrive(struct vg_warp *w, int lane, struct vg_bar *b, uint32_t n, bool release,
                   bool drop, bool no_complete)
{
    if (n == 0 || n > MAX_COUNT || (int64_t)n > b->pending) {
        VG_FIND(
            w, lane, VG_MBARRIER,
            "arrival of %u on the mbarrier at shared memory offset 0x%x, whose phase %llu lacks "
            "only %lld of %u arrivals",
            n, b->off, (unsigned long long)b->phase, (long long)b->pending, b->expected);
        return false;
    }
    if (no_complete && (int64_t)n == b->pending && b->tx == 0) {
        VG_FIND(w, lane, VG_MBARRIER,
                "mbarrier.arrive.noComplete completes the phase of the mbarrier at offset 0x%x",
                b->off);
    }
    if (release) {
        vg_vc_release(w, &b->cur);
    }
    if (drop) {
        if (n > b->expected) {
            VG_FIND(w, lane, VG_MBARRIER, "arrive_drop of %u, expected count is %u", n,
                    b->expected);
            return false;
        }
        b->expected -= n;
    }
    b->pending -= n;
    seen(w, b);
    complete(b);
    happened(b);
    w->cta->counts->n[VG_N_MBAR_ARRIVE]++;
    return true;
}

static bool add_tx(struct vg_warp *w, int lane, struct vg_bar *b, uint32_t bytes)
{
    if (bytes > MAX_TX || b->tx + (int64_t)bytes > MAX_TX) {
        VG_FIND(w, lane, VG_MBARRIER, "expect_tx of %u bytes: more than %u in one phase", bytes,
                MAX_TX);
        return false;
    }
    b->tx += bytes;
    return true;
}

static int op_init(struct vg_warp *w, const struct vg_op *op, uint32_t mask)
{
    const struct mbar_ext *x = op->ext;
    for (uint32_t m = mask; m; m &= m - 1) {
        unsigned l = vg_first(m);
        struct vg_cta *t;
        uint32_t off[32];
        uint32_t n = vg_r(w, x->arg_row)[l];
        if (!vg_sh_lane(w, x->at, l, &t, &off[l]) ||
            !vg_check_shared(w, t, off, 1u << l, 8, VG_STORE)) {
            return VG_STEP_FAULT;
        }
        if (n == 0 || n > MAX_COUNT) {
            VG_FIND(w, (int)l, VG_MBARRIER, "mbarrier.init with a count of %u", n);
            return VG_STEP_FAULT;
        }
        struct vg_async *a = t->async;
        struct vg_bar *b = find(a, off[l]);
        if (b && b->live) {
            VG_FIND(w, (int)l, VG_MBARRIER,
                    "mbarrier.init of the live mbarrier at shared memory offset 0x%x", off[l]);
        }
        if (!b) {
            if (a->n_bar == a->cap_bar) {
                a->cap_bar = a->cap_bar ? a->cap_bar * 2 : 16;
                a->bar = realloc(a->bar, a->cap_bar * sizeof(struct vg_bar *));
                if (!a->bar) {
                    abort();
                }
            }
            b = vg_async_alloc(sizeof(*b));
            a->bar[a->n_bar++] = b;
        } else {
            memset(b->seen, 0, sizeof(b->seen));
            vg_vc_clear(w->cta->grid->chk, &b->cur);
            vg_vc_clear(w->cta->grid->chk, &b->done);
        }
        b->off = off[l];
        b->cta = t;
        b->live = true;
        b->expected = n;
        b->pending = n;
        b->tx = 0;
        b->phase = 0;
        b->n_late = 0;
        b->cookie = cookie_of(off[l]);
        b->init_warp = w->id;
        b->fenced = false;
        if (w->cta->grid->chk->race) {
            b->init_agent = w->chk->agent;
            b->init_clock = w->chk->vc[w->chk->agent];
        }
        memcpy(t->smem + off[l], &b->cookie, 8);
    }
    return VG_STEP_DONE;
}

static int op_inval(struct vg_warp *w, const struct vg_op *op, uint32_t mask)
{
    const struct mbar_ext *x = op->ext;
    for (uint32_t m = mask; m; m &= m - 1) {
        unsigned l = vg_first(m);
        struct vg_cta *t;
        uint32_t off[32];
        if (!vg_sh_lane(w, x->at, l, &t, &off[l])) {
            return VG_STEP_FAULT;
        }
        struct vg_bar *b = vg_bar_at(w, (int)l, t, off[l], "mbarrier.inval");
        if (!b || !vg_check_shared(w, t, off, 1u << l, 8, VG_STORE)) {
            return VG_STEP_FAULT;
        }
        if (b->xfers) {
            VG_FIND(w, (int)l, VG_MBARRIER,
                    "mbarrier.inval with copies in flight that complete on it");
        }
        b->live = false;
        memset(t->smem + off[l], VG_FRESH_BYTE, 8);
    }
    return VG_STEP_DONE;
}

static int op_arrive(struct vg_warp *w, const struct vg_op *op, uint32_t mask)
{
    const struct mbar_ext *x = op->ext;
    for (uint32_t m = mask; m; m &= m - 1) {
        unsigned l = vg_first(m);
        struct vg_cta *t;
        uint32_t off;
        if (!vg_sh_lane(w, x->at, l, &t, &off)) {
            return VG_STEP_FAULT;
        }
        struct vg_bar *b = vg_bar_at(w, (int)l, t, off, "mbarrier.arrive");
        if (!b) {
            return VG_STEP_FAULT;
        }
        uint32_t arg = x->has_arg ? vg_r(w, x->arg_row)[l] : 1;
        uint64_t token = b->phase << 20 | ((uint64_t)b->pending & MAX_COUNT);
        if (x->expect_tx && !add_tx(w, (int)l, b, arg)) {
            return VG_STEP_FAULT;
        }
        if (!arrive(w, (int)l, b, x->expect_tx ? 1 : arg, x->release, x->drop, x->no_complete)) {
            return VG_STEP_FAULT;
        }
        if (!x->sink) {
            vg_d(w, x->state_row)[l] = token;
        }
    }
    return VG_STEP_DONE;
}

// expect_tx (imm 0) and complete_tx (imm 1) on their own.
static int op_tx(struct vg_warp *w, const struct vg_op *op, uint32_t mask)
{
    const struct mbar_ext *x = op->ext;
    for (uint32_t m = mask; m; m &= m - 1) {
        unsigned l = vg_first(m);
        struct vg_cta *t;
        uint32_t off, n = vg_r(w, x->arg_row)[l];
        if (!vg_sh_lane(w, x->at, l, &t, &off)) {
            return VG_STEP_FAULT;
        }
        struct vg_bar *b = vg_bar_at(w, (int)l, t, off, "mbarrier.expect_tx");
        if (!b) {
            return VG_STEP_FAULT;
        }
        if (op->imm) {
            b->tx -= n;
            complete(b);
        } else if (!add_tx(w, (int)l, b, n)) {
            return VG_STEP_FAULT;
        }
        seen(w, b);
        happened(b);
    }
    return VG_STEP_DONE;
}

// What was waiting for somebody to look: late arrivals, then copies.
static void observe(struct vg_bar *b)
{
    uint64_t phase = b->phase;
    for (unsigned i = 0; i < b->n_late; i++) {
        struct vg_late_arrive a = b->late[i];
        vg_cpa_deliver(a.w, 1u << a.lane, a.seq, b);
        if (!arrive(a.w, (int)a.lane, b, 1, true, false, false)) {
            continue;
        }
        if (b->phase != phase) { // later ones belong to the next phase
            memmove(b->late, b->late + i + 1, (b->n_late - i - 1) * sizeof(*b->late));
            b->n_late -= i + 1;
            return;
        }
    }
    b->n_late = 0;
    while (b->xfers && b->phase == phase) {
        struct vg_xfer *x = b->xfers;
        b->xfers = x->next;
        if (!x->done_at_issue) {
            vg_xfer_deliver(b, x);
        }
        b->tx -= (int64_t)x->tx;
        vg_xfer_free(x);
        vg_progress(b->cta);
        complete(b);
    }
}

// The phase is over for this waiter.
static bool look(struct vg_warp *w, int lane, struct vg_bar *b, uint64_t arg, bool parity)
{
    if (parity) {
        if (arg > 1) {
            VG_FIND(w, lane, VG_MBARRIER, "phase parity %llu is neither 0 nor 1",
                    (unsigned long long)arg);
        }
        if (b->cta == w->cta && b->seen[w->id] && b->phase + 1 - b->seen[w->id] >= 2) {
            VG_FIND(w, lane, VG_MBARRIER,
                    "wait for parity %llu of the mbarrier at shared memory offset 0x%x: %llu "
                    "phases have "
                    "passed since this warp last used it, so the parity is ambiguous",
                    (unsigned long long)arg, b->off,
                    (unsigned long long)(b->phase + 1 - b->seen[w->id]));
        }
        if ((b->phase & 1) != (arg & 1)) {
            return true;
        }
    } else {
        uint64_t at = arg >> 20;
        if (at > b->phase || b->phase - at > 1) {
            VG_FIND(
                w, lane, VG_MBARRIER,
                "wait with a state of phase %llu, the mbarrier at shared memory offset 0x%x is in "
                "phase %llu: only the running and the last phase can be waited for",
                (unsigned long long)at, b->off, (unsigned long long)b->phase);
        }
        if (at < b->phase) {
            return true;
        }
    }
    uint64_t phase = b->phase;
    if (b->xfers || b->n_late) {
        struct vg_async *a = b->cta->async;
        if ((w->cta->grid->chk->checks & VG_CHECK_SCHED) && (vg_async_random(a) & 3) == 0) {
            vg_progress(b->cta); // not yet; it will come
            return false;
        }
        observe(b);
    }
    return b->phase != phase;
}

static int op_wait(struct vg_warp *w, const struct vg_op *op, uint32_t mask)
{
    const struct mbar_ext *x = op->ext;
    uint32_t yes = 0;
    struct vg_bar *last = NULL;
    uint64_t last_arg = 0;
    bool last_yes = false, one = true;
    for (uint32_t m = mask; m; m &= m - 1) {
        unsigned l = vg_first(m);
        struct vg_cta *t;
        uint32_t off;
        if (!vg_sh_lane(w, x->at, l, &t, &off)) {
            return VG_STEP_FAULT;
        }
        uint64_t arg = x->parity ? vg_r(w, x->arg_row)[l] : vg_d(w, x->arg_row)[l];
        if (!last || last->off != off || last->cta != t || arg != last_arg) {
            one = one && !last;
            last = vg_bar_at(w, (int)l, t, off, "mbarrier wait");
            if (!last) {
                return VG_STEP_FAULT;
            }
            last_arg = arg;
            last_yes = look(w, (int)l, last, arg, x->parity);
            if (last_yes) {
                seen(w, last);
                if (x->acquire) {
                    vg_vc_acquire(w, &last->done);
                }
                w->cta->counts->n[VG_N_MBAR_WAIT]++;
            }
        }
        if (last_yes) {
            yes |= 1u << l;
        }
    }
    if (yes) {
        vg_sync_waited(w, yes);
    }
    vg_p_set(w, x->state_row, yes, mask);
    if (yes == mask) {
        return VG_STEP_DONE;
    }
    if (!yes && one && last->polls++ >= MAX_POLLS) {
        w->wait_on = &last->events;
        w->wait_value = last->events;
        return VG_STEP_BLOCK;
    }
    return VG_STEP_YIELD;
}

static int op_pending(struct vg_warp *w, const struct vg_op *op, uint32_t mask)
{
    for (uint32_t m = mask; m; m &= m - 1) {
        unsigned l = vg_first(m);
        vg_r(w, op->d)[l] = (uint32_t)(vg_d(w, op->a)[l] & MAX_COUNT);
    }
    return VG_STEP_DONE;
}

static bool has_space(const struct ptx_inst *in)
{
    return ptx_has(in, "shared") || ptx_has(in, "shared::cta") || ptx_has(in, "shared::cluster");
}

enum vg_decoded vg_mbar_decode(struct vg_dec *dc, const struct ptx_inst *in, struct vg_op *op)
{
    struct mbar_ext *x = vg_dec_alloc(dc, sizeof(*x));
    const char *what = in->n_tok > 1 ? in->tok[1] : "";
    const struct ptx_operand *o = in->op;
    op->ext = x;
    op->count = VG_N_WARP_SYNC;
    x->acquire = x->release = !ptx_has(in, "relaxed");
    bool bad = false;
    if (strcmp(what, "init") == 0 && in->n_op == 2) {
        x->at = vg_dec_shared(dc, in, &o[0], has_space(in));
        x->arg_row = vg_dec_r(dc, &o[1]);
        op->fn = op_init;
    } else if (strcmp(what, "inval") == 0 && in->n_op == 1) {
        x->at = vg_dec_shared(dc, in, &o[0], has_space(in));
        op->fn = op_inval;
    } else if (strcmp(what, "pending_count") == 0 && in->n_op == 2) {
        op->d = vg_dec_r(dc, &o[0]);
        op->a = vg_dec_d(dc, &o[1]);
        op->fn = op_pending;
    } else if ((strcmp(what, "expect_tx") == 0 || strcmp(what, "complete_tx") == 0) &&
               in->n_op == 2) {
        x->at = vg_dec_shared(dc, in, &o[0], has_space(in));
        x->arg_row = vg_dec_r(dc, &o[1]);
        op->imm = what[0] == 'c';
        op->fn = op_tx;
    } else if (strcmp(what, "test_wait") == 0 || strcmp(what, "try_wait") == 0) {
        x->parity = ptx_has(in, "parity");
        bad = in->n_op < 3;
        if (!bad) {
            x->state_row = vg_dec_p(dc, &o[0]);
            x->at = vg_dec_shared(dc, in, &o[1], has_space(in));
            x->arg_row = x->parity ? vg_dec_r(dc, &o[2]) : vg_dec_d(dc, &o[2]);
        }
        op->fn = op_wait;
    } else if (strcmp(what, "arrive") == 0 || strcmp(what, "arrive_drop") == 0) {
        x->drop = what[6] == '_';
        x->expect_tx = ptx_has(in, "expect_tx");
        x->no_complete = ptx_has(in, "noComplete");
        unsigned at = in->n_op > 0 && o[0].kind == PTX_O_ADDR ? 0 : 1;
        x->sink = at == 0 || o[0].kind == PTX_O_SINK;
        bad = in->n_op < at + 1u || (x->expect_tx && in->n_op != at + 2u);
        if (!bad) {
            if (!x->sink) {
                x->state_row = vg_dec_d(dc, &o[0]);
            }
            x->at = vg_dec_shared(dc, in, &o[at], has_space(in));
            x->has_arg = in->n_op > at + 1u;
            if (x->has_arg) {
                x->arg_row = vg_dec_r(dc, &o[at + 1]);
            }
        }
        op->fn = op_arrive;
    } else {
        bad = true;
    }
    if (bad) {
        vg_dec_fail(dc, in, "this form of mbarrier is not supported");
        return VG_DEC_BAD;
    }
    return vg_dec_failed(dc) ? VG_DEC_BAD : VG_DEC_OK;
}
