// SPDX-License-Identifier: Apache-2.0
// Branches, calls, returns, exits, traps; their decoding.
#include <string.h>

#include "builtin.h"
#include "count.h"
#include "dec.h"
#include "warp.h"

// ---- branches ----

static int jump(struct vg_warp *w, uint32_t target, uint32_t m)
{
    if (m == w->active) {
        w->budget -= target <= w->pc && w->budget > 0;
        w->pc = target;
        return VG_STEP_JUMP;
    }
    w->budget -= target <= w->pc && w->budget > 0;
    w->pc++;
    vg_park(w);
    for (; m; m &= m - 1) {
        w->lane_pc[vg_first(m)] = target;
    }
    return VG_STEP_JUMP;
}

static int op_bra(struct vg_warp *w, const struct vg_op *op, uint32_t m)
{
    return jump(w, (uint32_t)op->imm, m);
}

static int op_brx(struct vg_warp *w, const struct vg_op *op, uint32_t m)
{
    const uint32_t *index = vg_r(w, op->a);
    uint32_t pc = w->pc;
    for (uint32_t k = m; k; k &= k - 1) {
        unsigned l = vg_first(k);
        if (index[l] >= op->n_x) {
            struct vg_where at;
            vg_where_now(w, (int)l, &at);
            vg_finding(VG_OUT_OF_BOUNDS, &at, "brx.idx %u of %u targets", index[l], op->n_x);
            return VG_STEP_FAULT;
        }
    }
    w->pc = pc + 1;
    w->budget -= w->budget > 0;
    vg_park(w);
    for (uint32_t k = m; k; k &= k - 1) {
        unsigned l = vg_first(k);
        w->lane_pc[l] = op->x[index[l]];
    }
    return VG_STEP_JUMP;
}

// ---- calls ----

struct call { // op->ext
    uint32_t n_arg, n_ret;
    uint32_t *arg, *ret; // offsets in the caller's param bytes
    uint32_t callee;     // index in the program's code; UINT32_MAX: by the address in row a
    uint32_t func;       // index in the module
    uint32_t *code_of;   // by module function
    uint32_t n_funcs;
};

static const struct vg_code *code_at(const struct vg_warp *w, uint32_t i)
{
    return &w->cta->grid->program->code[i];
}

static int call_into(struct vg_warp *w, const struct call *c, uint32_t callee, uint32_t m)
{
    const struct vg_program *p = w->cta->grid->program;
    const struct vg_code *code = code_at(w, callee);
    if (w->depth >= p->max_depth || c->n_arg < code->func->n_param) {
        struct vg_where at;
        vg_where_now(w, (int)vg_first(m), &at);
        vg_finding(VG_TRAP, &at, "calls nested deeper than %u", p->max_depth);
        return VG_STEP_FAULT;
    }
    vg_fill_consts(w, code, w->depth + 1, m);
    for (uint32_t k = m; k; k &= k - 1) {
        unsigned l = vg_first(k);
        const uint8_t *from = vg_param_ptr(w, l, w->depth);
        uint8_t *to = vg_param_ptr(w, l, w->depth + 1);
        for (uint32_t i = 0; i < code->func->n_param; i++) {
            const struct ptx_var *v = code->func->param[i];
            memcpy(to + v->at, from + c->arg[i], v->bytes);
        }
        w->ret_pc[w->depth][l] = w->pc + 1;
    }
    return VG_STEP_DONE;
}

static int op_call(struct vg_warp *w, const struct vg_op *op, uint32_t m)
{
    const struct call *c = op->ext;
    int s = call_into(w, c, c->callee, m);
    if (s != VG_STEP_DONE) {
        return s;
    }
    uint32_t entry = code_at(w, c->callee)->first;
    if (m == w->active) {
        w->depth++;
        w->pc = entry;
        vg_set_frame(w);
        return VG_STEP_JUMP;
    }
    w->pc++;
    vg_park(w);
    for (; m; m &= m - 1) {
        unsigned l = vg_first(m);
        w->lane_pc[l] = entry;
        w->lane_depth[l]++;
    }
    return VG_STEP_JUMP;
}

static int op_call_indirect(struct vg_warp *w, const struct vg_op *op, uint32_t m)
{
    const struct call *c = op->ext;
    const uint64_t *target = vg_d(w, op->a);
    uint32_t entry[32];
    for (uint32_t k = m; k;) {
        unsigned l = vg_first(k);
        uint64_t index = target[l] & 0xffffffff;
        uint32_t same = 0;
        for (uint32_t j = k; j; j &= j - 1) {
            same |= target[vg_first(j)] == target[l] ? 1u << vg_first(j) : 0;
        }
        if (target[l] >> 32 != VG_FUNC_TAG >> 32 || index >= c->n_funcs ||
            c->code_of[index] == UINT32_MAX) {
            struct vg_where at;
            vg_where_now(w, (int)l, &at);
            vg_finding(VG_OUT_OF_BOUNDS, &at, "call of 0x%llx, which is no function",
                       (unsigned long long)target[l]);
            return VG_STEP_FAULT;
        }
        int s = call_into(w, c, c->code_of[index], same);
        if (s != VG_STEP_DONE) {
            return s;
        }
        for (uint32_t j = same; j; j &= j - 1) {
            entry[vg_first(j)] = code_at(w, c->code_of[index])->first;
        }
        k &= ~same;
    }
    w->pc++;
    vg_park(w);
    for (; m; m &= m - 1) {
        unsigned l = vg_first(m);
        w->lane_pc[l] = entry[l];
        w->lane_depth[l]++;
    }
    return VG_STEP_JUMP;
}

int vg_op_ret(struct vg_warp *w, const struct vg_op *op, uint32_t m)
{
    const struct ptx_func *f = op->ext;
    uint32_t active = w->active, up = w->depth - 1;
    w->pc++;
    vg_park(w);
    for (uint32_t k = m; k; k &= k - 1) {
        unsigned l = vg_first(k);
        uint32_t pc = w->ret_pc[up][l];
        const struct call *c = w->ops[pc - 1].ext;
        const uint8_t *from = vg_param_ptr(w, l, up + 1);
        uint8_t *to = vg_param_ptr(w, l, up);
        for (uint32_t i = 0; i < f->n_ret && i < c->n_ret; i++) {
            memcpy(to + c->ret[i], from + f->ret[i]->at, f->ret[i]->bytes);
        }
        w->lane_pc[l] = pc;
        w->lane_depth[l] = up;
    }
    (void)active;
    return VG_STEP_JUMP;
}

int vg_op_exit(struct vg_warp *w, const struct vg_op *op, uint32_t m)
{
    (void)op;
    w->pc++;
    vg_park(w);
    w->live &= ~m;
    w->blocked &= ~m;
    w->cta->live_threads -= (unsigned)__builtin_popcount(m);
    vg_progress(w->cta);
    return VG_STEP_JUMP;
}

static int op_trap(struct vg_warp *w, const struct vg_op *op, uint32_t m)
{
    struct vg_where at;
    vg_where_now(w, (int)vg_first(m), &at);
    vg_finding(VG_TRAP, &at, "%s executed", op->inst->tok[0]);
    return VG_STEP_FAULT;
}

static int op_builtin(struct vg_warp *w, const struct vg_op *op, uint32_t m)
{
    const struct call *c = op->ext;
    return vg_builtins[op->imm].fn(w, c->arg, c->ret, m);
}

// ---- decode ----

static bool is(const char *a, const char *b)
{
    return strcmp(a, b) == 0;
}

static uint32_t *param_offsets(struct vg_dec *dc, const struct ptx_operand *list, uint32_t *n)
{
    uint32_t *at = vg_dec_alloc(dc, (list->n_elem + 1) * sizeof(*at));
    for (uint32_t i = 0; i < list->n_elem; i++) {
        const struct ptx_operand *o = &list->elem[i];
        if (o->kind != PTX_O_VAR || o->var->space != PTX_PARAM ||
            (dc->f->is_entry && o->var->is_formal)) {
            vg_dec_fail(dc, dc->in, "call arguments must be .param variables");
            return at;
        }
        at[i] = (uint32_t)(o->var->at + (uint64_t)o->offset);
    }
    *n = list->n_elem;
    return at;
}

static void decode_call(struct vg_dec *dc)
{
    const struct ptx_inst *in = dc->in;
    struct call *c = vg_dec_alloc(dc, sizeof(*c));
    unsigned i = 0;
    if (in->n_op > 0 && in->op[0].kind == PTX_O_LIST) {
        c->ret = param_offsets(dc, &in->op[i++], &c->n_ret);
    }
    if (i >= in->n_op) {
        vg_dec_fail(dc, in, "no callee");
        return;
    }
    const struct ptx_operand *callee = &in->op[i++];
    if (i < in->n_op && in->op[i].kind == PTX_O_LIST) {
        c->arg = param_offsets(dc, &in->op[i], &c->n_arg);
    }
    if (callee->kind == PTX_O_REG) {
        uint32_t a = vg_dec_d(dc, callee);
        c->n_funcs = dc->mod->ptx->n_func;
        c->code_of = vg_dec_alloc(dc, (c->n_funcs + 1) * sizeof(uint32_t));
        memcpy(c->code_of, dc->code_of, c->n_funcs * sizeof(uint32_t));
        struct vg_op *op = vg_dec_op(dc, op_call_indirect, VG_N_WARP_CONTROL);
        op->a = a;
        op->ext = c;
        return;
    }
    const struct ptx_func *f = callee->kind == PTX_O_FUNC ? vg_dec_func(dc, callee->name) : NULL;
    if (!f) {
        vg_dec_fail(dc, in, "unknown callee");
        return;
    }
    if (f->is_decl) {
        for (unsigned b = 0; vg_builtins[b].name; b++) {
            if (is(vg_builtins[b].name, f->name) && c->n_arg >= vg_builtins[b].n_arg) {
                struct vg_op *op = vg_dec_op(dc, op_builtin, VG_N_WARP_CONTROL);
                op->imm = b;
                op->ext = c;
                return;
            }
        }
        vg_dec_fail(dc, in, "function %s has no body", f->name);
        return;
    }
    c->callee = dc->code_of[f->index];
    if (c->n_arg != f->n_param) {
        vg_dec_fail(dc, in, "%u arguments for %u parameters of %s", c->n_arg, f->n_param, f->name);
        return;
    }
    struct vg_op *op = vg_dec_op(dc, op_call, VG_N_WARP_CONTROL);
    op->ext = c;
}

static void decode_brx(struct vg_dec *dc)
{
    const struct ptx_inst *in = dc->in;
    const struct ptx_operand *t = in->n_op > 1 ? &in->op[1] : NULL;
    if (!t || t->kind != PTX_O_LABEL || t->target >= dc->f->n_table) {
        vg_dec_fail(dc, in, "no list of targets");
        return;
    }
    const struct ptx_table *table = &dc->f->table[t->target];
    uint32_t *x = vg_dec_alloc(dc, (table->n + 1) * sizeof(*x));
    memcpy(x, table->target, table->n * sizeof(*x));
    uint32_t a = vg_dec_r(dc, &in->op[0]);
    struct vg_op *op = vg_dec_op(dc, op_brx, VG_N_WARP_CONTROL);
    op->a = a;
    op->x = x;
    op->n_x = (uint16_t)table->n;
}

bool vg_dec_control(struct vg_dec *dc)
{
    const struct ptx_inst *in = dc->in;
    const char *op = in->tok[0];
    if (is(op, "bra")) {
        if (in->n_op != 1 || in->op[0].kind != PTX_O_LABEL) {
            vg_dec_fail(dc, in, "no target");
            return true;
        }
        vg_dec_op(dc, op_bra, VG_N_WARP_CONTROL)->imm = in->op[0].target;
    } else if (is(op, "brx")) {
        decode_brx(dc);
    } else if (is(op, "call")) {
        decode_call(dc);
    } else if (is(op, "ret")) {
        struct vg_op *o =
            vg_dec_op(dc, dc->f->is_entry ? vg_op_exit : vg_op_ret, VG_N_WARP_CONTROL);
        o->ext = dc->f;
    } else if (is(op, "exit")) {
        vg_dec_op(dc, vg_op_exit, VG_N_WARP_CONTROL);
    } else if (is(op, "trap") || is(op, "brkpt")) {
        vg_dec_op(dc, op_trap, VG_N_WARP_CONTROL);
    } else {
        return false;
    }
    return true;
}

void vg_dec_targets(struct vg_dec *dc, uint32_t first)
{
    for (uint32_t i = first; i < dc->n_ops; i++) {
        struct vg_op *op = &dc->ops[i];
        if (op->fn == op_bra) {
            op->imm = dc->first_op[op->imm];
        } else if (op->fn == op_brx) {
            uint32_t *x = vg_dec_alloc(dc, (op->n_x + 1u) * sizeof(*x));
            for (unsigned k = 0; k < op->n_x; k++) {
                x[k] = dc->first_op[op->x[k]];
            }
            op->x = x;
        } else if (op->fn == vg_op_ret && !op->ext) {
            op->ext = dc->f;
        }
    }
}
