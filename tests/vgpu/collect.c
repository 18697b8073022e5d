// SPDX-License-Identifier: Apache-2.0
// Warp collectives. The executor has gathered the lanes that the member mask names (as far as they
// live) before a handler runs.
#include <string.h>

#include "check.h"
#include "count.h"
#include "dec.h"
#include "exec.h"
#include "foot.h"
#include "lanes.h"
#include "sync.h"

enum shfl { SHFL_UP, SHFL_DOWN, SHFL_BFLY, SHFL_IDX };

static void missing_lane(struct vg_warp *w, unsigned lane, unsigned from)
{
    struct vg_where at;
    vg_where_now(w, (int)lane, &at);
    vg_finding(VG_COLLECTIVE, &at, "shfl.sync reads lane %u, which does not take part%s", from,
               w->live & 1u << from ? "" : " (it has exited)");
}

// a: value, b: lane or delta, c: clamp and segment mask, e: predicate.
static int op_shfl(struct vg_warp *w, const struct vg_op *op, uint32_t m)
{
    uint32_t a[32];
    const uint32_t *pb = vg_r(w, op->b), *pc = vg_r(w, op->c);
    uint32_t *d = vg_r(w, op->d), ok = 0;
    memcpy(a, vg_r(w, op->a), sizeof(a));
    if (m == ~0u && op->imm == SHFL_BFLY && op->flags) { // b and c are constants, the whole warp
        unsigned x = pb[0] & 31;
        for (unsigned l = 0; l < 32; l++) {
            d[l] = a[l ^ x];
        }
        w->p[op->e] = ~0u;
        return VG_STEP_DONE;
    }
    for (uint32_t k = m; k; k &= k - 1) {
        unsigned l = vg_first(k), b = pb[l] & 31, clamp = pc[l] & 31, seg = pc[l] >> 8 & 31;
        unsigned max = (l & seg) | (clamp & ~seg), from = l;
        bool p = false;
        switch ((enum shfl)op->imm) {
        case SHFL_UP:
            from = l - b;
            p = (int)from >= (int)max;
            break;
        case SHFL_DOWN:
            from = l + b;
            p = from <= max;
            break;
        case SHFL_BFLY:
            from = l ^ b;
            p = from <= max;
            break;
        case SHFL_IDX:
            from = (l & seg) | (b & ~seg);
            p = from <= max;
            break;
        }
        from = p ? from & 31 : l;
        ok |= (uint32_t)p << l;
        if (!(m >> from & 1)) {
            missing_lane(w, l, from);
            d[l] = 0xCBCBCBCB;
        } else {
            d[l] = a[from];
        }
    }
    vg_p_set(w, op->e, ok, m);
    return VG_STEP_DONE;
}

enum vote { VOTE_ALL, VOTE_ANY, VOTE_UNI, VOTE_BALLOT };

static int op_vote(struct vg_warp *w, const struct vg_op *op, uint32_t m)
{
    uint32_t p = (w->p[op->a] ^ (op->flags ? ~0u : 0)) & m;
    if (op->imm == VOTE_BALLOT) {
        uint32_t *d = vg_r(w, op->d);
        for (uint32_t k = m; k; k &= k - 1) {
            d[vg_first(k)] = p;
        }
        return VG_STEP_DONE;
    }
    bool r = op->imm == VOTE_ALL ? p == m : op->imm == VOTE_ANY ? p != 0 : p == 0 || p == m;
    vg_p_set(w, op->d, r ? ~0u : 0, m);
    return VG_STEP_DONE;
}

// kind 8: 64-bit values. imm: all (e: predicate), else any.
static int op_match(struct vg_warp *w, const struct vg_op *op, uint32_t m)
{
    uint64_t v[32] = {0};
    for (uint32_t k = m; k; k &= k - 1) {
        unsigned l = vg_first(k);
        v[l] = op->kind == 8 ? vg_d(w, op->a)[l] : vg_r(w, op->a)[l];
    }
    uint32_t *d = vg_r(w, op->d);
    uint32_t first = 0;
    for (uint32_t k = m; k; k &= k - 1) {
        unsigned l = vg_first(k);
        uint32_t same = 0;
        for (uint32_t j = m; j; j &= j - 1) {
            same |= v[vg_first(j)] == v[l] ? 1u << vg_first(j) : 0;
        }
        first = k == m ? same : first;
        d[l] = !op->imm ? same : first == m ? m : 0;
    }
    if (op->imm) {
        vg_p_set(w, op->e, first == m ? ~0u : 0, m);
    }
    return VG_STEP_DONE;
}

enum redux { RX_ADD, RX_MIN, RX_MAX, RX_AND, RX_OR, RX_XOR };

static int op_redux(struct vg_warp *w, const struct vg_op *op, uint32_t m)
{
    const uint32_t *a = vg_r(w, op->a);
    uint32_t r = a[vg_first(m)];
    for (uint32_t k = m & (m - 1); k; k &= k - 1) {
        uint32_t v = a[vg_first(k)];
        bool less = op->flags ? (int32_t)v < (int32_t)r : v < r;
        switch ((enum redux)op->imm) {
        case RX_ADD:
            r += v;
            break;
        case RX_MIN:
            r = less ? v : r;
            break;
        case RX_MAX:
            r = less ? r : v;
            break;
        case RX_AND:
            r &= v;
            break;
        case RX_OR:
            r |= v;
            break;
        case RX_XOR:
            r ^= v;
            break;
        }
    }
    uint32_t *d = vg_r(w, op->d);
    for (; m; m &= m - 1) {
        d[vg_first(m)] = r;
    }
    return VG_STEP_DONE;
}

static int op_elect(struct vg_warp *w, const struct vg_op *op, uint32_t m)
{
    unsigned leader = vg_first(m);
    uint32_t *d = vg_r(w, op->d);
    for (uint32_t k = m; k; k &= k - 1) {
        d[vg_first(k)] = leader;
    }
    vg_p_set(w, op->e, 1u << leader, m);
    return VG_STEP_DONE;
}

static int op_activemask(struct vg_warp *w, const struct vg_op *op, uint32_t m)
{
    for (uint32_t k = m; k; k &= k - 1) {
        vg_r(w, op->d)[vg_first(k)] = m;
    }
    return VG_STEP_DONE;
}

static int op_warp_sync(struct vg_warp *w, const struct vg_op *op, uint32_t m)
{
    (void)op;
    if (w->cta->grid->launch->checks & VG_CHECK_RACE) {
        vg_sync_warp(w, m);
    }
    return VG_STEP_DONE;
}

static int op_dep_wait(struct vg_warp *w, const struct vg_op *op, uint32_t m)
{
    (void)op;
    (void)m;
    vg_dep_wait(w); // who it waits for has run: what is left is to know that it waited
    return VG_STEP_DONE;
}

static int op_dep_trigger(struct vg_warp *w, const struct vg_op *op, uint32_t m)
{
    (void)op;
    (void)m;
    vg_dep_trigger(w);
    return VG_STEP_DONE;
}

static int op_yield(struct vg_warp *w, const struct vg_op *op, uint32_t m)
{
    (void)w, (void)op, (void)m;
    return VG_STEP_YIELD;
}

// ---- decode ----

static bool is(const char *a, const char *b)
{
    return strcmp(a, b) == 0;
}

static struct vg_op *collective(struct vg_dec *dc, vg_fn fn, uint32_t member)
{
    struct vg_op *op = vg_dec_op(dc, fn, VG_N_WARP_COLLECTIVE);
    op->collect = VG_COLL_MEMBER;
    op->member = member;
    return op;
}

static unsigned one_of(const struct ptx_inst *in, const char *const names[], unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        if (ptx_has(in, names[i])) {
            return i;
        }
    }
    return 0;
}

static void decode_shfl(struct vg_dec *dc)
{
    static const char *const modes[] = {"up", "down", "bfly", "idx"};
    const struct ptx_inst *in = dc->in;
    uint32_t r[5], q = vg_dec_p2(dc, &in->op[0]);
    for (unsigned i = 0; i < 5; i++) {
        r[i] = vg_dec_r(dc, &in->op[i]);
    }
    struct vg_op *op = collective(dc, op_shfl, r[4]);
    op->d = r[0];
    op->a = r[1];
    op->b = r[2];
    op->c = r[3];
    op->e = q;
    op->imm = one_of(in, modes, 4);
    op->flags = in->op[2].kind == PTX_O_INT && in->op[3].kind == PTX_O_INT &&
                (in->op[3].imm & 0x1f1f) == 31;
}

static void decode_vote(struct vg_dec *dc)
{
    static const char *const modes[] = {"all", "any", "uni", "ballot"};
    const struct ptx_inst *in = dc->in;
    unsigned mode = one_of(in, modes, 4);
    uint32_t d = mode == VOTE_BALLOT ? vg_dec_r(dc, &in->op[0]) : vg_dec_p(dc, &in->op[0]);
    uint32_t a = vg_dec_p(dc, &in->op[1]), member = vg_dec_r(dc, &in->op[2]);
    struct vg_op *op = collective(dc, op_vote, member);
    op->d = d;
    op->a = a;
    op->flags = in->op[1].neg;
    op->imm = mode;
}

static void decode_match(struct vg_dec *dc)
{
    const struct ptx_inst *in = dc->in;
    bool wide = ptx_type_bytes(ptx_inst_type(in, 0)) == 8;
    uint32_t d = vg_dec_r(dc, &in->op[0]), q = vg_dec_p2(dc, &in->op[0]);
    uint32_t a = wide ? vg_dec_d(dc, &in->op[1]) : vg_dec_r(dc, &in->op[1]);
    uint32_t member = vg_dec_r(dc, &in->op[2]);
    struct vg_op *op = collective(dc, op_match, member);
    op->d = d;
    op->a = a;
    op->e = q;
    op->kind = wide ? 8 : 4;
    op->imm = ptx_has(in, "all");
}

static void decode_redux(struct vg_dec *dc)
{
    static const char *const modes[] = {"add", "min", "max", "and", "or", "xor"};
    const struct ptx_inst *in = dc->in;
    if (ptx_inst_type(in, 0) == PTX_F32) {
        vg_dec_fail(dc, in, "f32 is not supported here (sm_100)");
        return;
    }
    uint32_t d = vg_dec_r(dc, &in->op[0]), a = vg_dec_r(dc, &in->op[1]);
    uint32_t member = vg_dec_r(dc, &in->op[2]);
    struct vg_op *op = collective(dc, op_redux, member);
    op->d = d;
    op->a = a;
    op->imm = one_of(in, modes, 6);
    op->flags = ptx_inst_type(in, 0) == PTX_S32;
}

bool vg_dec_collective(struct vg_dec *dc)
{
    const struct ptx_inst *in = dc->in;
    const char *op = in->tok[0];
    static const struct {
        const char *name;
        unsigned n_op;
        void (*decode)(struct vg_dec *dc);
    } rows[] = {{"shfl", 5, decode_shfl},
                {"vote", 3, decode_vote},
                {"match", 3, decode_match},
                {"redux", 3, decode_redux}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (is(op, rows[i].name)) {
            if (!ptx_has(in, "sync") || in->n_op != rows[i].n_op) {
                vg_dec_fail(dc, in, "only the .sync form is supported by the virtual GPU");
            } else {
                rows[i].decode(dc);
            }
            return true;
        }
    }
    if (is(op, "elect") && in->n_op == 2) {
        uint32_t d = vg_dec_r(dc, &in->op[0]), q = vg_dec_p2(dc, &in->op[0]);
        struct vg_op *o = collective(dc, op_elect, vg_dec_r(dc, &in->op[1]));
        o->d = d;
        o->e = q;
    } else if (is(op, "activemask")) {
        uint32_t d = vg_dec_r(dc, &in->op[0]);
        vg_dec_op(dc, op_activemask, VG_N_WARP_COLLECTIVE)->d = d;
    } else if (is(op, "bar") && ptx_has(in, "warp")) {
        struct vg_op *o = collective(dc, op_warp_sync, vg_dec_r(dc, &in->op[0]));
        o->count = VG_N_WARP_SYNC;
    } else if (is(op, "bar") || is(op, "barrier")) {
        return vg_dec_barrier(dc);
    } else if (is(op, "nanosleep")) {
        vg_dec_op(dc, op_yield, VG_N_WARP_OTHER);
    } else if (is(op, "griddepcontrol")) {
        vg_dec_op(dc, ptx_has(in, "wait") ? op_dep_wait : op_dep_trigger, VG_N_WARP_OTHER);
    } else if (is(op, "setmaxnreg") || is(op, "pmevent")) {
        // Registers are not counted.
        struct vg_op *o = vg_dec_op(dc, vg_op_nop, VG_N_WARP_OTHER);
        o->collect = is(op, "setmaxnreg") ? VG_COLL_WARP : VG_COLL_NONE;
    } else {
        return false;
    }
    return true;
}
