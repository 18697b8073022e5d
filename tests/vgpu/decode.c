// SPDX-License-Identifier: Apache-2.0
// Programs: the functions a kernel calls in an order with callees first, their registers as rows,
// their instructions handed to the families.
#include "decode.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cta.h"
#include "dec.h"
#include "slot.h"
#include "tensor.h"
#include "warp.h"

enum { RECURSION_DEPTH = 48, MAX_FUNCS = 4096 };

void vg_dec_fail(struct vg_dec *dc, const struct ptx_inst *in, const char *fmt, ...)
{
    if (dc->failed) {
        return;
    }
    dc->failed = true;
    char spelling[160];
    va_list ap;
    va_start(ap, fmt);
    int n = snprintf(dc->err, dc->err_bytes, "PTX line %u, %s: ", in ? in->ptx_line : 0,
                     in ? ptx_spell(in, spelling, sizeof(spelling)) : dc->entry->name);
    if (n > 0 && (size_t)n < dc->err_bytes) {
        vsnprintf(dc->err + n, dc->err_bytes - (size_t)n, fmt, ap);
    }
    va_end(ap);
}

bool vg_dec_failed(const struct vg_dec *dc)
{
    return dc->failed;
}

void *vg_dec_alloc(struct vg_dec *dc, size_t bytes)
{
    return ptx_arena_get(dc->arena, bytes);
}

static void *grow(void *data, uint32_t n, uint32_t *max, size_t size)
{
    if (n < *max) {
        return data;
    }
    *max = *max ? *max * 2 : 256;
    void *p = realloc(data, *max * size);
    if (!p) {
        abort();
    }
    return p;
}

// ---- rows ----

static enum vg_file file_of(enum ptx_type t)
{
    return t == PTX_PRED ? VG_FILE_P : ptx_type_bytes(t) >= 8 ? VG_FILE_D : VG_FILE_R;
}

static uint32_t new_row(struct vg_dec *dc, enum vg_file file, uint32_t n)
{
    uint32_t *next = file == VG_FILE_P   ? &dc->frame.n_p
                     : file == VG_FILE_D ? &dc->frame.n_d
                                         : &dc->frame.n_r;
    uint32_t row = *next;
    *next += n;
    return row;
}

uint32_t vg_dec_temp_p(struct vg_dec *dc)
{
    return new_row(dc, VG_FILE_P, 1);
}
uint32_t vg_dec_temp_r(struct vg_dec *dc)
{
    return new_row(dc, VG_FILE_R, 1);
}
uint32_t vg_dec_temp_d(struct vg_dec *dc)
{
    return new_row(dc, VG_FILE_D, 1);
}

static struct vg_dec_reg *reg_of(struct vg_dec *dc, int32_t reg)
{
    struct vg_dec_reg *r = &dc->reg[reg];
    if (r->row == UINT32_MAX) {
        enum ptx_type t = dc->f->reg[reg].type;
        r->file = (uint8_t)file_of(t);
        r->twin = ptx_type_bytes(t) == 16;
        r->row = new_row(dc, (enum vg_file)r->file, r->twin ? 2 : 1);
    }
    return r;
}

uint32_t vg_dec_const32(struct vg_dec *dc, uint32_t value)
{
    for (uint32_t i = 0; i < dc->n_c32; i++) {
        if (dc->c32[i].value == value && !dc->c32[i].is_dyn) {
            return dc->c32[i].row;
        }
    }
    dc->c32 = grow(dc->c32, dc->n_c32, &dc->max_c32, sizeof(*dc->c32));
    uint32_t row = new_row(dc, VG_FILE_R, 1);
    dc->c32[dc->n_c32++] = (struct vg_const32){.row = row, .value = value};
    return row;
}

uint32_t vg_dec_const64(struct vg_dec *dc, uint64_t value)
{
    for (uint32_t i = 0; i < dc->n_c64; i++) {
        if (dc->c64[i].value == value) {
            return dc->c64[i].row;
        }
    }
    dc->c64 = grow(dc->c64, dc->n_c64, &dc->max_c64, sizeof(*dc->c64));
    uint32_t row = new_row(dc, VG_FILE_D, 1);
    dc->c64[dc->n_c64++] = (struct vg_const64){row, value};
    return row;
}

bool vg_dec_is_imm(const struct ptx_operand *o)
{
    return o->kind == PTX_O_INT || o->kind == PTX_O_F32 || o->kind == PTX_O_F64;
}

// Address of a variable in its own space.
static uint64_t var_address(struct vg_dec *dc, const struct ptx_var *v)
{
    switch (v->space) {
    case PTX_GLOBAL:
    case PTX_CONST:
        return v->at;
    case PTX_SHARED:
        return VG_SMEM_BASE + v->at; // dynamic ones are patched at launch, see mov of an address
    case PTX_LOCAL:
        return VG_LOCAL_BASE + v->at;
    default:
        vg_dec_fail(dc, dc->in, "address of %s cannot be a constant", v->name);
        return 0;
    }
}

uint64_t vg_dec_imm(struct vg_dec *dc, const struct ptx_operand *o, unsigned bytes, bool is_float)
{
    (void)dc;
    if (o->kind == PTX_O_F64 && bytes == 4) {
        double d;
        memcpy(&d, &o->imm, 8);
        float f = (float)d;
        uint32_t u;
        memcpy(&u, &f, 4);
        return u;
    }
    if (o->kind == PTX_O_F32 && bytes == 8 && is_float) {
        uint32_t u = (uint32_t)o->imm;
        float f;
        memcpy(&f, &u, 4);
        double d = (double)f;
        uint64_t r;
        memcpy(&r, &d, 8);
        return r;
    }
    return o->imm;
}

uint32_t vg_dec_r(struct vg_dec *dc, const struct ptx_operand *o)
{
    switch (o->kind) {
    case PTX_O_REG: {
        struct vg_dec_reg *r = reg_of(dc, o->reg);
        if (r->file != VG_FILE_R) {
            vg_dec_fail(dc, dc->in, "register %s is not of 32 bits or less", o->name);
            return VG_R_SINK;
        }
        return r->row;
    }
    case PTX_O_SINK:
        return VG_R_SINK;
    case PTX_O_INT:
    case PTX_O_F32:
    case PTX_O_F64:
        return vg_dec_const32(dc, (uint32_t)vg_dec_imm(dc, o, 4, o->kind == PTX_O_F64));
    case PTX_O_VAR:
        return vg_dec_const32(dc, (uint32_t)(var_address(dc, o->var) + (uint64_t)o->offset));
    default:
        vg_dec_fail(dc, dc->in, "operand of 32 bits expected");
        return VG_R_SINK;
    }
}

uint32_t vg_dec_d(struct vg_dec *dc, const struct ptx_operand *o)
{
    switch (o->kind) {
    case PTX_O_REG: {
        struct vg_dec_reg *r = reg_of(dc, o->reg);
        if (r->file != VG_FILE_D) {
            vg_dec_fail(dc, dc->in, "register %s is not of 64 bits", o->name);
            return VG_D_SINK;
        }
        return r->row;
    }
    case PTX_O_SINK:
        return VG_D_SINK;
    case PTX_O_INT:
    case PTX_O_F32:
    case PTX_O_F64:
        return vg_dec_const64(dc, vg_dec_imm(dc, o, 8, true));
    case PTX_O_VAR:
        return vg_dec_const64(dc, var_address(dc, o->var) + (uint64_t)o->offset);
    default:
        vg_dec_fail(dc, dc->in, "operand of 64 bits expected");
        return VG_D_SINK;
    }
}

static uint32_t pred_row(struct vg_dec *dc, int32_t reg)
{
    struct vg_dec_reg *r = reg_of(dc, reg);
    if (r->file != VG_FILE_P) {
        vg_dec_fail(dc, dc->in, "register %s is no predicate", dc->f->reg[reg].name);
        return VG_P_SINK;
    }
    return r->row;
}

uint32_t vg_dec_p(struct vg_dec *dc, const struct ptx_operand *o)
{
    if (o->kind == PTX_O_SINK) {
        return VG_P_SINK;
    }
    if (o->kind == PTX_O_INT) { // "true" and "false" as numbers
        return o->imm ? VG_P_TRUE : VG_P_FALSE;
    }
    if (o->kind != PTX_O_REG) {
        vg_dec_fail(dc, dc->in, "predicate expected");
        return VG_P_SINK;
    }
    return pred_row(dc, o->reg);
}

uint32_t vg_dec_p2(struct vg_dec *dc, const struct ptx_operand *o)
{
    return o->reg2 >= 0 ? pred_row(dc, o->reg2) : VG_P_SINK;
}

bool vg_dec_is_wide(struct vg_dec *dc, const struct ptx_operand *o)
{
    return o->kind == PTX_O_REG && ptx_type_bytes(dc->f->reg[o->reg].type) >= 8;
}

struct vg_addr vg_dec_addr(struct vg_dec *dc, const struct ptx_operand *o)
{
    struct vg_addr a = {.wide = true};
    if (o->kind == PTX_O_REG) { // some forms take a bare register
        a.wide = vg_dec_is_wide(dc, o);
        a.row = a.wide ? vg_dec_d(dc, o) : vg_dec_r(dc, o);
        return a;
    }
    if (o->kind != PTX_O_ADDR) {
        vg_dec_fail(dc, dc->in, "address expected");
        return a;
    }
    const struct ptx_operand *base = &o->elem[0];
    if (base->kind == PTX_O_REG) {
        a.wide = vg_dec_is_wide(dc, base);
        a.row = a.wide ? vg_dec_d(dc, base) : vg_dec_r(dc, base);
        a.offset = o->offset;
    } else if (base->kind == PTX_O_VAR && base->var->space == PTX_LOCAL) {
        vg_dec_fail(dc, dc->in, "address of local %s in this place", base->var->name);
    } else if (base->kind == PTX_O_VAR && base->var->is_extern && base->var->space == PTX_SHARED) {
        // the dynamic base is known at launch: its row is filled there
        a.wide = false;
        a.row = vg_dec_dyn_row(dc);
        a.offset = base->offset;
    } else if (base->kind == PTX_O_VAR) {
        a.row = vg_dec_const64(dc, var_address(dc, base->var));
        a.offset = base->offset;
    } else {
        a.row = vg_dec_const64(dc, base->imm);
        a.offset = o->offset;
    }
    return a;
}

const uint32_t *vg_dec_rows(struct vg_dec *dc, const struct ptx_operand *o, unsigned *n)
{
    *n = o->kind == PTX_O_VEC ? o->n_elem : 1;
    uint32_t *rows = vg_dec_alloc(dc, (*n + 1) * sizeof(*rows));
    for (unsigned i = 0; i < *n; i++) {
        const struct ptx_operand *e = o->kind == PTX_O_VEC ? &o->elem[i] : o;
        rows[i] = vg_dec_is_wide(dc, e) ? vg_dec_d(dc, e) : vg_dec_r(dc, e);
    }
    return rows;
}

// Row that holds the shared address of dynamic shared memory; the launch fills it.
uint32_t vg_dec_dyn_row(struct vg_dec *dc)
{
    for (uint32_t i = 0; i < dc->n_c32; i++) {
        if (dc->c32[i].is_dyn) {
            return dc->c32[i].row;
        }
    }
    uint32_t row = new_row(dc, VG_FILE_R, 1);
    dc->c32 = grow(dc->c32, dc->n_c32, &dc->max_c32, sizeof(*dc->c32));
    dc->c32[dc->n_c32++] = (struct vg_const32){.row = row, .is_dyn = true};
    return row;
}

const char *vg_dec_spell(struct vg_dec *dc)
{
    char *buf = vg_dec_alloc(dc, 160);
    return ptx_spell(dc->in, buf, 160);
}

// ---- ops ----

struct vg_op *vg_dec_op(struct vg_dec *dc, vg_fn fn, unsigned count)
{
    dc->ops = grow(dc->ops, dc->n_ops, &dc->max_ops, sizeof(*dc->ops));
    struct vg_op *op = &dc->ops[dc->n_ops++];
    memset(op, 0, sizeof(*op));
    op->fn = fn;
    op->inst = dc->in;
    op->count = (uint8_t)count;
    op->guard = VG_P_TRUE;
    op->e = VG_P_SINK;
    if (dc->in && dc->in->guard >= 0) {
        op->guard = pred_row(dc, dc->in->guard);
        op->guard_xor = dc->in->guard_neg ? ~0u : 0;
    }
    return op;
}

// Families written against a plain op: they get a zeroed one, then it is appended.
static bool foreign(struct vg_dec *dc)
{
    struct vg_op op = {.inst = dc->in, .e = VG_P_SINK};
    enum vg_decoded r = vg_tensor_decode(dc, dc->in, &op);
    unsigned count = VG_N_WARP_TENSOR;
    if (r == VG_DEC_NOT_MINE) {
        op = (struct vg_op){.inst = dc->in, .e = VG_P_SINK};
        r = vg_async_decode(dc, dc->in, &op);
        count = VG_N_WARP_ASYNC;
    }
    if (r != VG_DEC_OK) {
        return r == VG_DEC_BAD;
    }
    struct vg_op *to = vg_dec_op(dc, op.fn, op.count ? op.count : count);
    op.guard = to->guard;
    op.guard_xor = to->guard_xor;
    op.count = to->count;
    *to = op;
    return true;
}

static void decode_inst(struct vg_dec *dc)
{
    uint32_t first = dc->n_ops;
    bool ok = vg_dec_control(dc) || (!dc->failed && vg_dec_move(dc)) ||
              (!dc->failed && vg_dec_memory(dc)) || (!dc->failed && vg_dec_collective(dc)) ||
              (!dc->failed && vg_dec_alu(dc)) || (!dc->failed && foreign(dc));
    if (!dc->failed && !ok) {
        vg_dec_fail(dc, dc->in, "instruction not supported by the virtual GPU");
    }
    if (dc->failed) {
        return;
    }
    if (dc->n_ops == first) { // no effect here (prefetch, pragma-like): keeps labels simple
        vg_dec_op(dc, vg_op_nop, VG_N_WARP_OTHER);
    }
    vg_dec_uses(dc, dc->in, &dc->ops[first]);
    for (uint32_t i = first + 1; i < dc->n_ops; i++) {
        dc->ops[i].uses = NULL; // checked once, with the first op
        dc->ops[i].n_uses = 0;
    }
}

int vg_op_nop(struct vg_warp *w, const struct vg_op *op, uint32_t mask)
{
    (void)w, (void)op, (void)mask;
    return VG_STEP_DONE;
}

static uint64_t align_up(uint64_t v, uint64_t align)
{
    return (v + align - 1) & ~(align - 1);
}

// Places the function's .local and .param variables; shared ones go into the program's block.
static void place_vars(struct vg_dec *dc)
{
    const struct ptx_func *f = dc->f;
    uint64_t param = 0, local = 0;
    for (uint32_t i = 0; i < f->n_var; i++) {
        struct ptx_var *v = f->var[i];
        if (v->space == PTX_LOCAL) {
            local = align_up(local, v->align);
            v->at = local;
            local += v->bytes;
        } else if (v->space == PTX_PARAM) {
            param = align_up(param, v->align > 16 ? v->align : 16);
            v->at = param;
            param += v->bytes;
        }
    }
    for (uint32_t i = 0; i < f->n_param + f->n_ret; i++) {
        struct ptx_var *v = i < f->n_param ? f->param[i] : f->ret[i - f->n_param];
        if (f->is_entry) {
            continue; // placed by the module
        }
        param = align_up(param, v->align > 16 ? v->align : 16);
        v->at = param;
        param += v->bytes;
    }
    if (local > 1 << 20 || param > 1 << 20) {
        vg_dec_fail(dc, NULL, "function %s needs too much local memory", f->name);
        return;
    }
    dc->frame.param_bytes = (uint32_t)align_up(param, 16);
    dc->frame.local_bytes = (uint32_t)align_up(local, 16);
}

static void decode_func(struct vg_dec *dc, const struct ptx_func *f)
{
    dc->f = f;
    dc->reg = calloc(f->n_reg + 1, sizeof(*dc->reg));
    dc->first_op = calloc(f->n_inst + 2, sizeof(*dc->first_op));
    if (!dc->reg || !dc->first_op) {
        abort();
    }
    for (uint32_t i = 0; i < f->n_reg; i++) {
        dc->reg[i].row = UINT32_MAX;
    }
    dc->n_c32 = dc->n_c64 = 0;
    dc->frame = (struct vg_frame){.n_r = 1, .n_d = 2, .n_p = 3};
    place_vars(dc);
    uint32_t first = dc->n_ops;
    for (uint32_t i = 0; i < f->n_inst && !dc->failed; i++) {
        dc->in = &f->inst[i];
        dc->first_op[i] = dc->n_ops;
        decode_inst(dc);
    }
    dc->first_op[f->n_inst] = dc->n_ops;
    dc->in = NULL;
    if (!dc->failed) { // falling off the end returns
        vg_dec_op(dc, f->is_entry ? vg_op_exit : vg_op_ret, VG_N_WARP_CONTROL);
        vg_dec_targets(dc, first);
        vg_dec_flow(dc, first);
        vg_dec_cas_loads(dc, first);
    }
    struct vg_code *c = &dc->prog->code[dc->prog->n_code++];
    *c = (struct vg_code){.func = f,
                          .first = first,
                          .n_ops = dc->n_ops - first,
                          .frame = dc->frame,
                          .n_c32 = dc->n_c32,
                          .n_c64 = dc->n_c64};
    c->c32 = vg_dec_alloc(dc, (dc->n_c32 + 1) * sizeof(*c->c32));
    c->c64 = vg_dec_alloc(dc, (dc->n_c64 + 1) * sizeof(*c->c64));
    if (dc->n_c32) {
        memcpy(c->c32, dc->c32, dc->n_c32 * sizeof(*c->c32));
    }
    if (dc->n_c64) {
        memcpy(c->c64, dc->c64, dc->n_c64 * sizeof(*c->c64));
    }
    free(dc->reg);
    free(dc->first_op);
    dc->reg = NULL;
    dc->first_op = NULL;
}

// ---- call graph ----

const struct ptx_func *vg_dec_func(struct vg_dec *dc, const char *name)
{
    for (uint32_t i = 0; i < dc->mod->ptx->n_func; i++) {
        if (strcmp(dc->mod->ptx->func[i]->name, name) == 0) {
            return dc->mod->ptx->func[i];
        }
    }
    return NULL;
}

struct walk {
    struct vg_dec *dc;
    uint8_t *state; // by function: 0 new, 1 open, 2 done
    uint32_t *height;
    const struct ptx_func **order;
    uint32_t n;
    bool recursive, indirect;
};

static void visit(struct walk *k, const struct ptx_func *f, unsigned depth)
{
    if (depth > MAX_FUNCS || f->is_decl || k->state[f->index] == 2) {
        return;
    }
    if (k->state[f->index] == 1) {
        k->recursive = true;
        return;
    }
    k->state[f->index] = 1;
    for (uint32_t i = 0; i < f->n_inst; i++) {
        const struct ptx_inst *in = &f->inst[i];
        bool call = strcmp(in->tok[0], "call") == 0, direct = false;
        for (unsigned o = 0; o < in->n_op; o++) {
            if (in->op[o].kind == PTX_O_FUNC) {
                const struct ptx_func *g = vg_dec_func(k->dc, in->op[o].name);
                direct = true;
                if (g) {
                    visit(k, g, depth + 1);
                    uint32_t h = k->height[g->index] + 1;
                    k->height[f->index] = h > k->height[f->index] ? h : k->height[f->index];
                }
            }
        }
        k->indirect |= call && !direct;
    }
    k->state[f->index] = 2;
    k->order[k->n++] = f;
}

// Shared variables of every function that may run, and of the module. Each is followed by a red
// zone of 128 bytes, which leaves banks as they are without it; none has an address yet.
static void lay_out_shared(struct vg_dec *dc, const struct ptx_func *const *order, uint32_t n_order)
{
    enum { RED = 128 };
    const struct ptx_module *m = dc->mod->ptx;
    struct vg_program *p = dc->prog;
    uint64_t shared = 0, span = 0;
    uint32_t most = 0;
    for (uint32_t i = 0; i <= n_order; i++) {
        most += i < n_order ? order[i]->n_var : m->n_var;
    }
    p->shared_var = vg_dec_alloc(dc, (most + 1) * sizeof(*p->shared_var));
    p->dyn_align = 16;
    for (uint32_t i = 0; i <= n_order; i++) {
        uint32_t n = i < n_order ? order[i]->n_var : m->n_var;
        struct ptx_var **vars = i < n_order ? order[i]->var : m->var;
        for (uint32_t v = 0; v < n; v++) {
            struct ptx_var *x = vars[v];
            if (x->space != PTX_SHARED) {
                continue;
            }
            if (x->is_extern) {
                p->dyn_align = x->align > p->dyn_align ? x->align : p->dyn_align;
                continue;
            }
            shared = align_up(shared, x->align);
            span = align_up(span, x->align);
            x->at = span;
            p->shared_var[p->n_shared_var++] =
                (struct vg_shared_var){x->name, (uint32_t)span, (uint32_t)x->bytes};
            shared += x->bytes;
            span += x->bytes + RED;
        }
    }
    if (shared > 256 * 1024) {
        vg_dec_fail(dc, NULL, "%llu bytes of static shared memory", (unsigned long long)shared);
    }
    p->shared_bytes = (uint32_t)shared;
    p->shared_span = (uint32_t)span;
}

static void decode_all(struct vg_dec *dc)
{
    const struct ptx_module *m = dc->mod->ptx;
    struct walk k = {.dc = dc,
                     .state = calloc(m->n_func + 1, 1),
                     .height = calloc(m->n_func + 1, sizeof(uint32_t)),
                     .order = calloc(m->n_func + 1, sizeof(void *))};
    if (!k.state || !k.height || !k.order) {
        abort();
    }
    visit(&k, dc->entry, 0);
    if (k.indirect) { // any function may be meant
        for (uint32_t i = 0; i < m->n_func; i++) {
            if (!m->func[i]->is_entry) {
                visit(&k, m->func[i], 0);
            }
        }
        // the entry stands last
        uint32_t at = 0;
        while (k.order[at] != dc->entry) {
            at++;
        }
        memmove(&k.order[at], &k.order[at + 1], (k.n - at - 1) * sizeof(*k.order));
        k.order[k.n - 1] = dc->entry;
    }
    dc->prog->max_depth = k.recursive || k.indirect ? RECURSION_DEPTH : k.height[dc->entry->index];
    dc->prog->code = vg_dec_alloc(dc, (k.n + 1) * sizeof(*dc->prog->code));
    lay_out_shared(dc, k.order, k.n);
    for (uint32_t i = 0; i < m->n_func; i++) {
        dc->code_of[i] = UINT32_MAX;
    }
    for (uint32_t i = 0; i < k.n; i++) {
        dc->code_of[k.order[i]->index] = i;
    }
    for (uint32_t i = 0; i < k.n && !dc->failed; i++) {
        decode_func(dc, k.order[i]);
    }
    free(k.state);
    free(k.height);
    free((void *)k.order);
}

struct vg_program *vg_decode(struct vg_module *m, const struct ptx_func *entry, char *err,
                             size_t err_bytes)
{
    struct ptx_arena *arena = ptx_arena_new();
    if (!arena) {
        snprintf(err, err_bytes, "out of memory");
        return NULL;
    }
    struct vg_dec dc = {
        .mod = m, .arena = arena, .entry = entry, .err = err, .err_bytes = err_bytes};
    dc.prog = vg_dec_alloc(&dc, sizeof(*dc.prog));
    dc.prog->arena = arena;
    dc.code_of = calloc(m->ptx->n_func + 1, sizeof(uint32_t));
    if (!dc.code_of) {
        abort();
    }
    decode_all(&dc);
    struct vg_program *p = dc.prog;
    free(dc.code_of);
    free(dc.c32);
    free(dc.c64);
    if (dc.failed) {
        free(dc.ops);
        ptx_arena_free(arena);
        return NULL;
    }
    p->ops = dc.ops;
    p->n_ops = dc.n_ops;
    for (uint32_t i = 0; i + 1 < p->n_code; i++) {
        const struct vg_frame *f = &p->code[i].frame;
        struct vg_frame *c = &p->callee;
        c->n_r = f->n_r > c->n_r ? f->n_r : c->n_r;
        c->n_d = f->n_d > c->n_d ? f->n_d : c->n_d;
        c->n_p = f->n_p > c->n_p ? f->n_p : c->n_p;
        c->param_bytes = f->param_bytes > c->param_bytes ? f->param_bytes : c->param_bytes;
        c->local_bytes = f->local_bytes > c->local_bytes ? f->local_bytes : c->local_bytes;
    }
    return p;
}

void vg_program_free(struct vg_program *p)
{
    if (p) {
        vg_slots_free(p->slots);
        free(p->ops);
        ptx_arena_free(p->arena);
    }
}
