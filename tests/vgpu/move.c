// SPDX-License-Identifier: Apache-2.0
// mov in all its forms, special registers, address conversions.
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "count.h"
#include "dec.h"
#include "exec.h"
#include "ops.h"
#include "warp.h"

// ---- special registers ----

enum sreg {
    SR_TID, // x, y, z follow each other
    SR_NTID = SR_TID + 3,
    SR_CTAID = SR_NTID + 3,
    SR_NCTAID = SR_CTAID + 3,
    SR_CLUSTERID = SR_NCTAID + 3,
    SR_NCLUSTERID = SR_CLUSTERID + 3,
    SR_CLUSTER_CTAID = SR_NCLUSTERID + 3,
    SR_CLUSTER_NCTAID = SR_CLUSTER_CTAID + 3,
    SR_LANEID = SR_CLUSTER_NCTAID + 3,
    SR_WARPID,
    SR_NWARPID,
    SR_SMID,
    SR_NSMID,
    SR_GRIDID,
    SR_MASK_EQ,
    SR_MASK_LT,
    SR_MASK_LE,
    SR_MASK_GT,
    SR_MASK_GE,
    SR_CLOCK,
    SR_CLOCK_HI,
    SR_TIMER,
    SR_TIMER_HI,
    SR_CLUSTER_RANK,
    SR_CLUSTER_SIZE,
    SR_EXPLICIT_CLUSTER,
    SR_DYN_SMEM,
    SR_TOTAL_SMEM,
    SR_ENV_HIGH, // address of the grid's workspace, where cooperative groups keep the barrier
    SR_ENV_LOW,
    SR_ZERO
};
static const struct {
    const char *name;
    enum sreg id;
} sregs[] = {{"%tid.x", SR_TID},
             {"%tid.y", SR_TID + 1},
             {"%tid.z", SR_TID + 2},
             {"%ntid.x", SR_NTID},
             {"%ntid.y", SR_NTID + 1},
             {"%ntid.z", SR_NTID + 2},
             {"%ctaid.x", SR_CTAID},
             {"%ctaid.y", SR_CTAID + 1},
             {"%ctaid.z", SR_CTAID + 2},
             {"%nctaid.x", SR_NCTAID},
             {"%nctaid.y", SR_NCTAID + 1},
             {"%nctaid.z", SR_NCTAID + 2},
             {"%clusterid.x", SR_CLUSTERID},
             {"%clusterid.y", SR_CLUSTERID + 1},
             {"%clusterid.z", SR_CLUSTERID + 2},
             {"%nclusterid.x", SR_NCLUSTERID},
             {"%nclusterid.y", SR_NCLUSTERID + 1},
             {"%nclusterid.z", SR_NCLUSTERID + 2},
             {"%cluster_ctaid.x", SR_CLUSTER_CTAID},
             {"%cluster_ctaid.y", SR_CLUSTER_CTAID + 1},
             {"%cluster_ctaid.z", SR_CLUSTER_CTAID + 2},
             {"%cluster_nctaid.x", SR_CLUSTER_NCTAID},
             {"%cluster_nctaid.y", SR_CLUSTER_NCTAID + 1},
             {"%cluster_nctaid.z", SR_CLUSTER_NCTAID + 2},
             {"%laneid", SR_LANEID},
             {"%warpid", SR_WARPID},
             {"%nwarpid", SR_NWARPID},
             {"%smid", SR_SMID},
             {"%nsmid", SR_NSMID},
             {"%gridid", SR_GRIDID},
             {"%lanemask_eq", SR_MASK_EQ},
             {"%lanemask_lt", SR_MASK_LT},
             {"%lanemask_le", SR_MASK_LE},
             {"%lanemask_gt", SR_MASK_GT},
             {"%lanemask_ge", SR_MASK_GE},
             {"%clock", SR_CLOCK},
             {"%clock64", SR_CLOCK},
             {"%clock_hi", SR_CLOCK_HI},
             {"%globaltimer", SR_TIMER},
             {"%globaltimer_lo", SR_TIMER},
             {"%globaltimer_hi", SR_TIMER_HI},
             {"%cluster_ctarank", SR_CLUSTER_RANK},
             {"%cluster_nctarank", SR_CLUSTER_SIZE},
             {"%is_explicit_cluster", SR_EXPLICIT_CLUSTER},
             {"%dynamic_smem_size", SR_DYN_SMEM},
             {"%total_smem_size", SR_TOTAL_SMEM},
             {"%aggr_smem_size", SR_TOTAL_SMEM},
             {"%current_graph_exec", SR_ZERO},
             {"%envreg1", SR_ENV_HIGH},
             {"%envreg2", SR_ENV_LOW},
             {"%reserved_smem_offset_begin", SR_ZERO},
             {"%reserved_smem_offset_end", SR_TOTAL_SMEM}};

static uint64_t sreg_value(const struct vg_warp *w, uint64_t id, unsigned l)
{
    const struct vg_cta *c = w->cta;
    const struct vg_grid *g = c->grid;
    unsigned axis = (unsigned)(id % 3);
    if (id < SR_LANEID) {
        switch (id - axis) {
        case SR_TID:
            return w->tid[axis][l];
        case SR_NTID:
            return g->block[axis];
        case SR_CTAID:
            return c->id[axis];
        case SR_NCTAID:
            return g->grid[axis];
        case SR_CLUSTERID:
            return c->cluster ? c->cluster->id[axis] : c->id[axis];
        case SR_NCLUSTERID:
            return g->grid[axis] / g->cluster[axis];
        case SR_CLUSTER_CTAID:
            return c->id[axis] % g->cluster[axis];
        default:
            return g->cluster[axis];
        }
    }
    switch ((enum sreg)id) {
    case SR_LANEID:
        return l;
    case SR_WARPID:
        return w->id;
    case SR_NWARPID:
        return g->warps_per_cta;
    case SR_SMID:
        return c->linear % vg_sm_count(g->launch->device);
    case SR_NSMID:
        return vg_sm_count(g->launch->device);
    case SR_GRIDID:
        return g->id;
    case SR_MASK_EQ:
        return 1u << l;
    case SR_MASK_LT:
        return (1u << l) - 1;
    case SR_MASK_LE:
        return (2ull << l) - 1;
    case SR_MASK_GT:
        return (uint32_t) ~((2ull << l) - 1);
    case SR_MASK_GE:
        return ~((1u << l) - 1);
    case SR_CLOCK:
        return w->n_ops * 4;
    case SR_CLOCK_HI:
        return w->n_ops * 4 >> 32;
    case SR_TIMER:
    case SR_TIMER_HI: {
        struct timespec t;
        clock_gettime(CLOCK_REALTIME, &t);
        uint64_t ns = (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
        return id == SR_TIMER ? ns : ns >> 32;
    }
    case SR_CLUSTER_RANK:
        return c->rank;
    case SR_CLUSTER_SIZE:
        return g->cluster_ctas;
    case SR_EXPLICIT_CLUSTER:
        return c->cluster != NULL;
    case SR_DYN_SMEM:
        return c->dyn_bytes;
    case SR_TOTAL_SMEM:
        return c->smem_bytes;
    case SR_ENV_HIGH:
        return g->workspace >> 32;
    case SR_ENV_LOW:
        return (uint32_t)g->workspace;
    default:
        return 0;
    }
}

static int op_sreg_r(struct vg_warp *w, const struct vg_op *op, uint32_t m)
{
    uint32_t *d = vg_r(w, op->d);
    if (m == ~0u && op->imm >= SR_NTID && op->imm < SR_LANEID) { // one value for all lanes
        uint32_t v = (uint32_t)sreg_value(w, op->imm, 0);
        for (int l = 0; l < 32; l++) {
            d[l] = v;
        }
        return VG_STEP_DONE;
    }
    for (; m; m &= m - 1) {
        unsigned l = vg_first(m);
        d[l] = (uint32_t)sreg_value(w, op->imm, l);
    }
    return VG_STEP_DONE;
}
static int op_sreg_d(struct vg_warp *w, const struct vg_op *op, uint32_t m)
{
    uint64_t *d = vg_d(w, op->d);
    for (; m; m &= m - 1) {
        unsigned l = vg_first(m);
        d[l] = sreg_value(w, op->imm, l);
    }
    return VG_STEP_DONE;
}

// ---- packing ----

// Parts of `bytes` bytes in rows x become one register (kind: its bytes), low part first.
static int op_pack(struct vg_warp *w, const struct vg_op *op, uint32_t m)
{
    unsigned bytes = op->bytes, per = 8 / bytes;
    for (; m; m &= m - 1) {
        unsigned l = vg_first(m);
        uint64_t v[2] = {0};
        for (unsigned i = 0; i < op->n_x; i++) {
            uint64_t part = bytes == 8 ? vg_d(w, op->x[i])[l] : vg_r(w, op->x[i])[l];
            part &= ~0ull >> (64 - 8 * bytes);
            v[i / per] |= part << (i % per * bytes * 8);
        }
        if (op->kind == 4 || op->kind == 2) {
            vg_r(w, op->d)[l] = (uint32_t)v[0];
        } else {
            vg_d(w, op->d)[l] = v[0];
            if (op->kind == 16) {
                vg_d(w, op->d + 1)[l] = v[1];
            }
        }
    }
    return VG_STEP_DONE;
}
static int op_unpack(struct vg_warp *w, const struct vg_op *op, uint32_t m)
{
    unsigned bytes = op->bytes, per = 8 / bytes;
    for (; m; m &= m - 1) {
        unsigned l = vg_first(m);
        uint64_t v[2] = {0};
        if (op->kind == 4 || op->kind == 2) {
            v[0] = vg_r(w, op->a)[l];
        } else {
            v[0] = vg_d(w, op->a)[l];
            v[1] = op->kind == 16 ? vg_d(w, op->a + 1)[l] : 0;
        }
        for (unsigned i = 0; i < op->n_x; i++) {
            uint64_t part = v[i / per] >> (i % per * bytes * 8) & (~0ull >> (64 - 8 * bytes));
            if (bytes == 8) {
                vg_d(w, op->x[i])[l] = part;
            } else {
                vg_r(w, op->x[i])[l] = (uint32_t)part;
            }
        }
    }
    return VG_STEP_DONE;
}
static int op_pack_2x16(struct vg_warp *w, const struct vg_op *op, uint32_t m)
{
    const uint32_t *a = vg_r(w, op->x[0]), *b = vg_r(w, op->x[1]);
    uint32_t *d = vg_r(w, op->d), t[32];
    for (int l = 0; l < 32; l++) {
        t[l] = (a[l] & 0xffff) | b[l] << 16;
    }
    for (int l = 0; l < 32; l++) {
        d[l] = m >> l & 1 ? t[l] : d[l];
    }
    return VG_STEP_DONE;
}
static int op_unpack_2x16(struct vg_warp *w, const struct vg_op *op, uint32_t m)
{
    uint32_t a[32], *lo = vg_r(w, op->x[0]), *hi = vg_r(w, op->x[1]);
    memcpy(a, vg_r(w, op->a), sizeof(a));
    for (int l = 0; l < 32; l++) {
        lo[l] = m >> l & 1 ? a[l] & 0xffff : lo[l];
    }
    for (int l = 0; l < 32; l++) {
        hi[l] = m >> l & 1 ? a[l] >> 16 : hi[l];
    }
    return VG_STEP_DONE;
}
static int op_mov_q(struct vg_warp *w, const struct vg_op *op, uint32_t m)
{
    for (unsigned i = 0; i < 2; i++) {
        for (uint32_t k = m; k; k &= k - 1) {
            unsigned l = vg_first(k);
            vg_d(w, op->d + i)[l] = vg_d(w, op->a + i)[l];
        }
    }
    return VG_STEP_DONE;
}

// ---- addresses ----

// imm added: the frame's local memory begins where the call depth says.
static int op_local_address(struct vg_warp *w, const struct vg_op *op, uint32_t m)
{
    uint64_t v = op->imm + vg_local_base(w);
    for (; m; m &= m - 1) {
        unsigned l = vg_first(m);
        if (op->kind == 8) {
            vg_d(w, op->d)[l] = v;
        } else {
            vg_r(w, op->d)[l] = (uint32_t)v;
        }
    }
    return VG_STEP_DONE;
}
static int op_param_address(struct vg_warp *w, const struct vg_op *op, uint32_t m)
{
    for (; m; m &= m - 1) {
        vg_d(w, op->d)[vg_first(m)] = w->cta->grid->params_addr + op->imm;
    }
    return VG_STEP_DONE;
}
static int op_add_window(struct vg_warp *w, const struct vg_op *op, uint32_t m)
{
    const uint64_t *a = vg_d(w, op->a);
    uint64_t *d = vg_d(w, op->d), add = op->kind ? 0 - vg_window - op->imm : vg_window + op->imm;
    for (; m; m &= m - 1) {
        unsigned l = vg_first(m);
        d[l] = a[l] + add;
    }
    return VG_STEP_DONE;
}
static int op_isspacep(struct vg_warp *w, const struct vg_op *op, uint32_t m)
{
    const uint64_t *a = vg_d(w, op->a);
    uint32_t r = 0;
    for (uint32_t k = m; k; k &= k - 1) {
        unsigned l = vg_first(k);
        bool shared = vg_is_shared(a[l]), local = vg_is_local(a[l]), hit = false;
        uint32_t off;
        switch ((enum ptx_space)op->imm) {
        case PTX_SHARED:
            hit = shared && vg_shared_target(w->cta, (uint32_t)(a[l] - vg_window), &off) == w->cta;
            break;
        case PTX_SHARED_CLUSTER:
            hit = shared;
            break;
        case PTX_LOCAL:
            hit = local;
            break;
        case PTX_GLOBAL:
            hit = !shared && !local;
            break;
        default:
            break;
        }
        r |= (uint32_t)hit << l;
    }
    vg_p_set(w, op->d, r, m);
    return VG_STEP_DONE;
}
// mapa: the same offset in the CTA of rank b. kind: 8 generic 64-bit, 4 shared 32-bit, 12 shared
// 64-bit.
static int op_mapa(struct vg_warp *w, const struct vg_op *op, uint32_t m)
{
    for (; m; m &= m - 1) {
        unsigned l = vg_first(m);
        uint64_t a = op->kind == 4 ? vg_r(w, op->a)[l] : vg_d(w, op->a)[l];
        uint64_t s = op->kind == 8 ? a - vg_window : a;
        uint64_t r =
            vg_shared_cluster_addr(vg_r(w, op->b)[l] & 0xff, 0) + ((s & 0xffffff) - VG_SMEM_BASE);
        if (op->kind == 4) {
            vg_r(w, op->d)[l] = (uint32_t)r;
        } else {
            vg_d(w, op->d)[l] = op->kind == 8 ? r + vg_window : r;
        }
    }
    return VG_STEP_DONE;
}
static int op_getctarank(struct vg_warp *w, const struct vg_op *op, uint32_t m)
{
    for (; m; m &= m - 1) {
        unsigned l = vg_first(m);
        uint64_t a = op->kind == 4 ? vg_r(w, op->a)[l] : vg_d(w, op->a)[l];
        uint32_t s = (uint32_t)(op->kind == 8 ? a - vg_window : a), off;
        const struct vg_cta *t = vg_shared_target(w->cta, s, &off);
        vg_r(w, op->d)[l] = t ? t->rank : 0;
    }
    return VG_STEP_DONE;
}

// ---- decode ----

static bool is(const char *a, const char *b)
{
    return strcmp(a, b) == 0;
}

static struct vg_op *table_op(struct vg_dec *dc, const char *key)
{
    const struct vg_alu *row = vg_alu_find(key);
    return vg_dec_op(dc, row->fn, row->count);
}

static unsigned reg_bytes(struct vg_dec *dc, const struct ptx_operand *o)
{
    return o->kind == PTX_O_REG ? ptx_type_bytes(dc->f->reg[o->reg].type) : 0;
}

static void pack(struct vg_dec *dc, const struct ptx_operand *vec, const struct ptx_operand *whole,
                 enum ptx_type t, bool unpack)
{
    unsigned total = ptx_type_bytes(t), n = vec->n_elem;
    if (n == 0 || total % n || total / n == 0) {
        vg_dec_fail(dc, dc->in, "%u parts in %u bytes", n, total);
        return;
    }
    unsigned bytes = total / n;
    uint32_t *x = vg_dec_alloc(dc, (n + 1) * sizeof(*x));
    for (unsigned i = 0; i < n; i++) {
        x[i] = bytes == 8 ? vg_dec_d(dc, &vec->elem[i]) : vg_dec_r(dc, &vec->elem[i]);
    }
    uint32_t row = total >= 8 ? vg_dec_d(dc, whole) : vg_dec_r(dc, whole);
    vg_fn fn = unpack ? op_unpack : op_pack;
    if (n == 2 && total == 4) {
        fn = unpack ? op_unpack_2x16 : op_pack_2x16;
    }
    struct vg_op *op = vg_dec_op(dc, fn, VG_N_WARP_INT);
    op->bytes = (uint8_t)bytes;
    op->kind = (uint8_t)total;
    op->x = x;
    op->n_x = (uint16_t)n;
    op->d = op->a = row;
}

static void move_sreg(struct vg_dec *dc, const struct ptx_operand *to, const char *name)
{
    for (size_t i = 0; i < sizeof(sregs) / sizeof(sregs[0]); i++) {
        if (is(sregs[i].name, name)) {
            bool wide = vg_dec_is_wide(dc, to);
            uint32_t d = wide ? vg_dec_d(dc, to) : vg_dec_r(dc, to);
            struct vg_op *op = vg_dec_op(dc, wide ? op_sreg_d : op_sreg_r, VG_N_WARP_INT);
            op->d = d;
            op->imm = sregs[i].id;
            return;
        }
    }
    vg_dec_fail(dc, dc->in, "special register %s is not supported by the virtual GPU", name);
}

static void move_var(struct vg_dec *dc, const struct ptx_operand *to,
                     const struct ptx_operand *from)
{
    const struct ptx_var *v = from->var;
    bool wide = vg_dec_is_wide(dc, to);
    uint32_t d = wide ? vg_dec_d(dc, to) : vg_dec_r(dc, to);
    if (v->space == PTX_LOCAL) {
        struct vg_op *op = vg_dec_op(dc, op_local_address, VG_N_WARP_INT);
        op->d = d;
        op->kind = wide ? 8 : 4;
        op->imm = VG_LOCAL_BASE + v->at + (uint64_t)from->offset;
    } else if (v->space == PTX_PARAM && dc->f->is_entry && v->is_formal && wide) {
        struct vg_op *op = vg_dec_op(dc, op_param_address, VG_N_WARP_INT);
        op->d = d;
        op->imm = v->at + (uint64_t)from->offset;
        dc->prog->params_addressed = true;
    } else if (v->space == PTX_SHARED && v->is_extern) {
        uint32_t base = vg_dec_dyn_row(dc);
        if (from->offset) {
            uint32_t off = vg_dec_const32(dc, (uint32_t)from->offset);
            uint32_t sum = wide ? vg_dec_temp_r(dc) : d;
            struct vg_op *op = table_op(dc, "add.b32");
            op->d = sum;
            op->a = base;
            op->b = off;
            base = sum;
        }
        struct vg_op *op = table_op(dc, wide ? "cvt.u32.r64" : "mov.r");
        op->d = d;
        op->a = base;
    } else {
        uint32_t a = wide ? vg_dec_d(dc, from) : vg_dec_r(dc, from);
        struct vg_op *op = table_op(dc, wide ? "mov.d" : "mov.r");
        op->d = d;
        op->a = a;
    }
}

static void move(struct vg_dec *dc)
{
    const struct ptx_inst *in = dc->in;
    const struct ptx_operand *to = &in->op[0], *from = &in->op[1];
    enum ptx_type t = ptx_inst_type(in, 0);
    if (in->n_op != 2) {
        vg_dec_fail(dc, in, "two operands wanted");
    } else if (from->kind == PTX_O_VEC) {
        pack(dc, from, to, t, false);
    } else if (to->kind == PTX_O_VEC) {
        pack(dc, to, from, t, true);
    } else if (from->kind == PTX_O_SREG) {
        move_sreg(dc, to, from->name);
    } else if (from->kind == PTX_O_VAR) {
        move_var(dc, to, from);
    } else if (from->kind == PTX_O_FUNC) {
        const struct ptx_func *f = vg_dec_func(dc, from->name);
        uint32_t d = vg_dec_d(dc, to), a = vg_dec_const64(dc, VG_FUNC_TAG | (f ? f->index : 0));
        struct vg_op *op = table_op(dc, "mov.d");
        op->d = d;
        op->a = a;
    } else if (t == PTX_PRED) {
        uint32_t d = vg_dec_p(dc, to), a = vg_dec_p(dc, from);
        struct vg_op *op = table_op(dc, "mov.pred");
        op->d = d;
        op->a = a;
        op->flags = from->neg;
    } else if (reg_bytes(dc, to) == 16) {
        uint32_t d = vg_dec_d(dc, to), a = vg_dec_d(dc, from);
        struct vg_op *op = vg_dec_op(dc, op_mov_q, VG_N_WARP_INT);
        op->d = d;
        op->a = a;
    } else {
        struct ptx_operand src = *from;
        if (ptx_type_bytes(t) == 2 && src.kind == PTX_O_INT) {
            src.imm &= 0xffff;
        }
        bool wide = vg_dec_is_wide(dc, to);
        uint32_t d = wide ? vg_dec_d(dc, to) : vg_dec_r(dc, to);
        uint32_t a = wide ? vg_dec_d(dc, &src) : vg_dec_r(dc, &src);
        struct vg_op *op = table_op(dc, wide ? "mov.d" : "mov.r");
        op->d = d;
        op->a = a;
    }
}

static enum ptx_space space_token(const struct ptx_inst *in)
{
    return ptx_has(in, "global")                                 ? PTX_GLOBAL
           : ptx_has(in, "shared") || ptx_has(in, "shared::cta") ? PTX_SHARED
           : ptx_has(in, "shared::cluster")                      ? PTX_SHARED_CLUSTER
           : ptx_has(in, "local")                                ? PTX_LOCAL
           : ptx_has(in, "const")                                ? PTX_CONST
           : ptx_has(in, "param")                                ? PTX_PARAM
                                                                 : PTX_GENERIC;
}

static void convert_address(struct vg_dec *dc)
{
    const struct ptx_inst *in = dc->in;
    enum ptx_space s = space_token(in);
    if (ptx_inst_type(in, 0) != PTX_U64) {
        vg_dec_fail(dc, in, "only 64-bit addresses are supported");
        return;
    }
    uint32_t d = vg_dec_d(dc, &in->op[0]);
    struct ptx_operand from = in->op[1];
    if (from.kind == PTX_O_VAR &&
        (from.var->space == PTX_LOCAL || from.var->space == PTX_PARAM || from.var->is_extern)) {
        move_var(dc, &in->op[0], &from);
        from = in->op[0];
    }
    uint32_t a = vg_dec_d(dc, &from);
    bool window = s == PTX_SHARED || s == PTX_SHARED_CLUSTER || s == PTX_LOCAL;
    struct vg_op *op = window ? vg_dec_op(dc, op_add_window, VG_N_WARP_INT) : table_op(dc, "mov.d");
    op->d = d;
    op->a = a;
    op->kind = ptx_has(in, "to");
    op->imm = s == PTX_LOCAL ? VG_WINDOW_LOCAL : 0;
}

bool vg_dec_move(struct vg_dec *dc)
{
    const struct ptx_inst *in = dc->in;
    const char *op = in->tok[0];
    if (is(op, "mov")) {
        move(dc);
    } else if (is(op, "cvta")) {
        convert_address(dc);
    } else if (is(op, "isspacep")) {
        uint32_t d = vg_dec_p(dc, &in->op[0]), a = vg_dec_d(dc, &in->op[1]);
        struct vg_op *o = vg_dec_op(dc, op_isspacep, VG_N_WARP_INT);
        o->d = d;
        o->a = a;
        o->imm = space_token(in);
    } else if (is(op, "mapa") || is(op, "getctarank")) {
        bool map = is(op, "mapa"), shared = ptx_has(in, "shared::cluster");
        const struct ptx_operand *from = &in->op[1];
        bool wide = map ? vg_dec_is_wide(dc, &in->op[0]) : ptx_inst_type(in, 0) == PTX_U64;
        if (from->kind == PTX_O_VAR && (from->var->is_extern || !shared)) {
            vg_dec_fail(dc, in, "a register is wanted for the address");
            return true;
        }
        uint32_t d = map && wide ? vg_dec_d(dc, &in->op[0]) : vg_dec_r(dc, &in->op[0]);
        uint32_t a = wide ? vg_dec_d(dc, from) : vg_dec_r(dc, from);
        uint32_t b = map ? vg_dec_r(dc, &in->op[2]) : a;
        struct vg_op *o = vg_dec_op(dc, map ? op_mapa : op_getctarank, VG_N_WARP_INT);
        o->d = d;
        o->a = a;
        o->b = b;
        o->kind = !wide ? 4 : shared ? 12 : 8;
    } else {
        return false;
    }
    return true;
}
