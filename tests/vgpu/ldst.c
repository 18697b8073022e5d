// SPDX-License-Identifier: Apache-2.0
// ld, st in every space; fences. atom.c has the atomics.
#include <string.h>

#include "access.h"
#include "atom.h"
#include "count.h"
#include "dec.h"
#include "exec.h"
#include "rows.h"

// op->flags
enum {
    F_WIDE_ADDR = 1,
    F_WIDE_REG = 2,
    F_SIGNED = 4,
    F_STRONG = 8,
    F_ACQUIRE = 16,
    F_RELEASE = 32
};

static inline struct vg_addr addr_of(const struct vg_op *op)
{
    return (struct vg_addr){
        .row = op->a, .wide = op->flags & F_WIDE_ADDR, .offset = (int64_t)op->imm};
}

static inline const uint8_t *at(uint64_t host)
{
    return (const uint8_t *)(uintptr_t)host;
}

static inline uint64_t narrow(const uint8_t *p, unsigned bytes, bool is_signed)
{
    uint64_t v = 0;
    memcpy(&v, p, bytes);
    unsigned shift = 64 - 8 * bytes;
    return is_signed ? (uint64_t)((int64_t)(v << shift) >> shift) : v;
}

// The whole warp reads memory that follows lane by lane, or all lanes read the same place.
static bool load_line(struct vg_warp *w, const struct vg_op *op, const uint64_t host[32])
{
    const struct vg_rows *k = w->cta->grid->rows;
    unsigned n = op->n_x, bytes = op->bytes;
    bool wide = op->flags & F_WIDE_REG;
    if (bytes == 4 && !wide && n != 8) {
        uint32_t *d[4] = {0};
        for (unsigned i = 0; i < n; i++) {
            d[i] = vg_r(w, op->x[i]);
        }
        if (k->in_line(host, 4ull * n)) {
            k->load32(d, n, at(host[0]));
            return true;
        }
        if (k->in_line(host, 0)) {
            for (unsigned i = 0; i < n; i++) {
                uint32_t v;
                memcpy(&v, at(host[0] + 4ull * i), 4);
                for (int l = 0; l < 32; l++) {
                    d[i][l] = v;
                }
            }
            return true;
        }
    } else if (bytes == 8 && n <= 2 && k->in_line(host, 8ull * n)) {
        uint64_t *d[2] = {vg_d(w, op->x[0]), vg_d(w, op->x[n - 1])};
        k->load64(d, n, at(host[0]));
        return true;
    } else if (bytes == 2 && n == 1 && !wide && !(op->flags & F_SIGNED) && k->in_line(host, 2)) {
        k->load16(vg_r(w, op->x[0]), at(host[0]));
        return true;
    }
    return false;
}

static bool store_line(const struct vg_warp *w, const struct vg_op *op, const uint64_t host[32])
{
    const struct vg_rows *k = w->cta->grid->rows;
    unsigned n = op->n_x, bytes = op->bytes;
    bool wide = op->flags & F_WIDE_REG;
    uint8_t *to = (uint8_t *)(uintptr_t)host[0];
    if (bytes == 4 && !wide && n != 8 && k->in_line(host, 4ull * n)) {
        const uint32_t *s[4] = {0};
        for (unsigned i = 0; i < n; i++) {
            s[i] = vg_r(w, op->x[i]);
        }
        k->store32(to, n, s);
        return true;
    }
    if (bytes == 8 && n <= 2 && k->in_line(host, 8ull * n)) {
        const uint64_t *s[2] = {vg_d(w, op->x[0]), vg_d(w, op->x[n - 1])};
        k->store64(to, n, s);
        return true;
    }
    return false;
}

static void load_rows(struct vg_warp *w, const struct vg_op *op, const uint64_t host[32],
                      uint32_t m)
{
    if (m == ~0u && load_line(w, op, host)) {
        return;
    }
    for (unsigned i = 0; i < op->n_x; i++) {
        uint64_t skip = (uint64_t)i * op->bytes;
        if (op->bytes == 4 && !(op->flags & F_WIDE_REG)) {
            uint32_t *d = vg_r(w, op->x[i]);
            if (m == ~0u) {
                for (int l = 0; l < 32; l++) {
                    memcpy(&d[l], at(host[l] + skip), 4);
                }
            } else {
                for (uint32_t k = m; k; k &= k - 1) {
                    unsigned l = vg_first(k);
                    memcpy(&d[l], at(host[l] + skip), 4);
                }
            }
        } else if (op->bytes >= 8) {
            uint64_t *d = vg_d(w, op->x[i]);
            for (uint32_t k = m; k; k &= k - 1) {
                unsigned l = vg_first(k);
                memcpy(&d[l], at(host[l] + skip), 8);
                if (op->bytes == 16) {
                    memcpy(&d[l + 32], at(host[l] + skip + 8), 8);
                }
            }
        } else {
            bool is_signed = op->flags & F_SIGNED;
            for (uint32_t k = m; k; k &= k - 1) {
                unsigned l = vg_first(k);
                uint64_t v = narrow(at(host[l] + skip), op->bytes, is_signed);
                if (op->flags & F_WIDE_REG) {
                    vg_d(w, op->x[i])[l] = v;
                } else {
                    vg_r(w, op->x[i])[l] = (uint32_t)v & (uint32_t)op->e;
                }
            }
        }
    }
}

static void store_rows(const struct vg_warp *w, const struct vg_op *op, const uint64_t host[32],
                       uint32_t m)
{
    if (m == ~0u && store_line(w, op, host)) {
        return;
    }
    for (unsigned i = 0; i < op->n_x; i++) {
        uint64_t skip = (uint64_t)i * op->bytes;
        bool wide = op->flags & F_WIDE_REG;
        for (uint32_t k = m; k; k &= k - 1) {
            unsigned l = vg_first(k);
            uint8_t *p = (uint8_t *)(uintptr_t)(host[l] + skip);
            if (op->bytes == 4 && !wide) {
                memcpy(p, &vg_r(w, op->x[i])[l], 4);
            } else if (wide) {
                memcpy(p, &vg_d(w, op->x[i])[l], op->bytes < 8 ? op->bytes : 8);
                if (op->bytes == 16) {
                    memcpy(p + 8, &vg_d(w, op->x[i])[l + 32], 8);
                }
            } else {
                memcpy(p, &vg_r(w, op->x[i])[l], op->bytes);
            }
        }
    }
}

static inline struct vg_touch touch_of(const struct vg_op *op, bool store)
{
    return (struct vg_touch){.space = (enum ptx_space)op->kind,
                             .kind = (enum vg_access)op->aux,
                             .bytes = (unsigned)op->bytes * op->n_x,
                             .reads = !store,
                             .writes = store,
                             .strong = op->flags & F_STRONG,
                             .acquire = op->flags & F_ACQUIRE,
                             .release = op->flags & F_RELEASE};
}

static int op_ld(struct vg_warp *w, const struct vg_op *op, uint32_t m)
{
    uint64_t addr[32] = {0};
    struct vg_touch t = touch_of(op, false);
    w->polls += t.strong;
    vg_lane_addrs(w, addr_of(op), addr);
    if (!vg_touch(w, &t, addr, m, addr)) {
        return VG_STEP_FAULT;
    }
    load_rows(w, op, addr, m);
    return VG_STEP_DONE;
}

static int op_st(struct vg_warp *w, const struct vg_op *op, uint32_t m)
{
    uint64_t addr[32] = {0};
    struct vg_touch t = touch_of(op, true);
    vg_lane_addrs(w, addr_of(op), addr);
    if (!vg_touch(w, &t, addr, m, addr)) {
        return VG_STEP_FAULT;
    }
    store_rows(w, op, addr, m);
    if (t.space != PTX_LOCAL) {
        vg_progress(w->cta);
    }
    return VG_STEP_DONE;
}

// ---- parameters ----

// imm: offset in the kernel's parameter block, the same for every lane.
static int op_ld_kernel_param(struct vg_warp *w, const struct vg_op *op, uint32_t m)
{
    uint64_t host[32];
    for (int l = 0; l < 32; l++) {
        host[l] = (uint64_t)(uintptr_t)w->cta->grid->params + op->imm;
    }
    load_rows(w, op, host, m);
    return VG_STEP_DONE;
}
static int op_ld_param(struct vg_warp *w, const struct vg_op *op, uint32_t m)
{
    uint64_t host[32] = {0};
    for (uint32_t k = m; k; k &= k - 1) {
        unsigned l = vg_first(k);
        host[l] = (uint64_t)(uintptr_t)vg_param_ptr(w, l, w->depth) + op->imm;
    }
    load_rows(w, op, host, m);
    return VG_STEP_DONE;
}
static int op_st_param(struct vg_warp *w, const struct vg_op *op, uint32_t m)
{
    uint64_t host[32] = {0};
    for (uint32_t k = m; k; k &= k - 1) {
        unsigned l = vg_first(k);
        host[l] = (uint64_t)(uintptr_t)vg_param_ptr(w, l, w->depth) + op->imm;
    }
    store_rows(w, op, host, m);
    return VG_STEP_DONE;
}

// [local variable + offset]
static int op_local_frame(struct vg_warp *w, const struct vg_op *op, uint32_t m)
{
    struct vg_touch t = touch_of(op, op->c);
    uint64_t addr[32];
    for (int l = 0; l < 32; l++) {
        addr[l] = op->imm + vg_local_base(w);
    }
    if (!vg_touch(w, &t, addr, m, addr)) {
        return VG_STEP_FAULT;
    }
    if (op->c) {
        store_rows(w, op, addr, m);
    } else {
        load_rows(w, op, addr, m);
    }
    return VG_STEP_DONE;
}

// ---- fences ----

static int op_fence(struct vg_warp *w, const struct vg_op *op, uint32_t m)
{
    if (w->cta->grid->launch->checks & VG_CHECK_RACE) {
        vg_sync_fence(w, m, (enum vg_scope)op->imm);
    }
    return VG_STEP_DONE;
}

// ---- decode ----

static bool is(const char *a, const char *b)
{
    return strcmp(a, b) == 0;
}

static unsigned vector_length(const struct ptx_inst *in)
{
    return ptx_has(in, "v2") ? 2 : ptx_has(in, "v4") ? 4 : ptx_has(in, "v8") ? 8 : 1;
}

// Rows of the data operand, all in one file.
static const uint32_t *data_rows(struct vg_dec *dc, const struct ptx_operand *o, unsigned n,
                                 unsigned bytes, bool *wide)
{
    uint32_t *x = vg_dec_alloc(dc, (n + 1) * sizeof(*x));
    if ((o->kind == PTX_O_VEC ? o->n_elem : 1) != n) {
        vg_dec_fail(dc, dc->in, "%u registers wanted", n);
        return x;
    }
    *wide = bytes >= 8;
    for (unsigned i = 0; i < n; i++) {
        *wide |= vg_dec_is_wide(dc, o->kind == PTX_O_VEC ? &o->elem[i] : o);
    }
    for (unsigned i = 0; i < n; i++) {
        const struct ptx_operand *e = o->kind == PTX_O_VEC ? &o->elem[i] : o;
        x[i] = *wide ? vg_dec_d(dc, e) : vg_dec_r(dc, e);
    }
    return x;
}

static enum vg_access access_kind(const struct ptx_inst *in, bool store, unsigned *flags)
{
    bool strong = ptx_has(in, "volatile") || ptx_has(in, "relaxed") || ptx_has(in, "acquire") ||
                  ptx_has(in, "release") || ptx_has(in, "mmio");
    *flags |= strong ? F_STRONG : 0u;
    *flags |= ptx_has(in, "acquire") ? F_ACQUIRE : 0u;
    *flags |= ptx_has(in, "release") ? F_RELEASE : 0u;
    if (strong) {
        return store ? VG_STORE_STRONG : VG_LOAD_STRONG;
    }
    return store ? VG_STORE : ptx_has(in, "nc") ? VG_LOAD_NC : VG_LOAD;
}

static void load_store(struct vg_dec *dc, bool store)
{
    const struct ptx_inst *in = dc->in;
    enum ptx_type t = ptx_inst_type(in, 0);
    unsigned bytes = ptx_type_bytes(t), n = vector_length(in), flags = 0;
    if (in->n_op < 2 || bytes == 0) {
        vg_dec_fail(dc, in, "type or operands are missing");
        return;
    }
    const struct ptx_operand *data = &in->op[store ? 1 : 0], *where = &in->op[store ? 0 : 1];
    enum vg_access kind = access_kind(in, store, &flags);
    enum ptx_space space =
        ptx_has(in, "nc") && vg_space_of(in) == PTX_GENERIC ? PTX_GLOBAL : vg_space_of(in);
    bool wide = false;
    const uint32_t *x = data_rows(dc, data, n, bytes, &wide);
    const struct ptx_operand *base = where->kind == PTX_O_ADDR ? &where->elem[0] : NULL;
    const struct ptx_var *var = base && base->kind == PTX_O_VAR ? base->var : NULL;
    vg_fn fn = store ? op_st : op_ld;
    struct vg_addr a = {0};
    unsigned count = space == PTX_SHARED || space == PTX_SHARED_CLUSTER ? VG_N_WARP_SHARED
                     : space == PTX_LOCAL                               ? VG_N_WARP_LOCAL
                     : space == PTX_PARAM                               ? VG_N_WARP_OTHER
                                                                        : VG_N_WARP_GLOBAL;
    if (space == PTX_PARAM && var) {
        bool kernel = dc->f->is_entry && var->is_formal;
        fn = kernel ? op_ld_kernel_param : store ? op_st_param : op_ld_param;
        a.offset = (int64_t)var->at + base->offset;
        if (a.offset < 0 || base->offset < 0 ||
            (uint64_t)base->offset + (uint64_t)bytes * n > var->bytes) {
            vg_dec_fail(dc, in, "outside of parameter %s", var->name);
        }
    } else if (var && var->space == PTX_LOCAL) {
        fn = op_local_frame;
        space = PTX_LOCAL;
        a.offset = (int64_t)(VG_LOCAL_BASE + var->at) + base->offset;
    } else {
        space = space == PTX_PARAM ? PTX_GENERIC : space;
        a = vg_dec_addr(dc, where);
    }
    struct vg_op *op = vg_dec_op(dc, fn, count);
    unsigned reg_bytes = wide ? 8 : 4;
    if (!store && data->kind == PTX_O_REG) {
        reg_bytes = ptx_type_bytes(dc->f->reg[data->reg].type);
    }
    op->x = x;
    op->n_x = (uint16_t)n;
    op->bytes = (uint8_t)bytes;
    op->a = a.row;
    op->imm = (uint64_t)a.offset;
    op->kind = (uint8_t)space;
    op->aux = (uint8_t)kind;
    op->c = store;
    op->e = reg_bytes == 2 ? 0xffff : reg_bytes == 1 ? 0xff : ~0u;
    op->flags = (uint8_t)(flags | (a.wide ? F_WIDE_ADDR : 0u) | (wide ? F_WIDE_REG : 0u) |
                          (ptx_type_is_signed(t) ? F_SIGNED : 0u));
    if ((flags & F_STRONG) && space != PTX_SHARED && space != PTX_LOCAL && !ptx_has(in, "cta")) {
        dc->prog->talks = true;
    }
}

static void fence(struct vg_dec *dc)
{
    const struct ptx_inst *in = dc->in;
    enum vg_scope scope = ptx_has(in, "cta")                        ? VG_SCOPE_CTA
                          : ptx_has(in, "cluster")                  ? VG_SCOPE_CLUSTER
                          : ptx_has(in, "gpu") || ptx_has(in, "gl") ? VG_SCOPE_GPU
                                                                    : VG_SCOPE_SYS;
    vg_dec_op(dc, op_fence, VG_N_WARP_SYNC)->imm = scope;
    dc->prog->talks |= scope >= VG_SCOPE_GPU;
}

bool vg_dec_memory(struct vg_dec *dc)
{
    const struct ptx_inst *in = dc->in;
    const char *op = in->tok[0];
    if (is(op, "ld") || is(op, "ldu") || is(op, "st")) {
        if (ptx_has(in, "async")) {
            return false;
        }
        load_store(dc, is(op, "st"));
    } else if (is(op, "atom") || is(op, "red")) {
        return vg_dec_atomic(dc);
    } else if (is(op, "membar") || is(op, "fence")) {
        if (ptx_has(in, "proxy") || ptx_has(in, "mbarrier_init") || in->n_tok < 2 ||
            strncmp(in->tok[1], "proxy", 5) == 0) {
            return false;
        }
        fence(dc);
    } else if (is(op, "prefetch") || is(op, "prefetchu") || is(op, "applypriority") ||
               is(op, "discard")) {
        // Hints: nothing happens, and unlike real accesses they may name any address. A prefetch of
        // a tensor map is one, too.
    } else if (is(op, "createpolicy")) {
        uint32_t d = vg_dec_d(dc, &in->op[0]), v = vg_dec_const64(dc, 0x12f0000000000000ull);
        struct vg_op *o = vg_dec_op(dc, vg_op_copy_d, VG_N_WARP_OTHER);
        o->d = d;
        o->a = v;
    } else {
        return false;
    }
    return true;
}

int vg_op_copy_d(struct vg_warp *w, const struct vg_op *op, uint32_t m)
{
    for (; m; m &= m - 1) {
        unsigned l = vg_first(m);
        vg_d(w, op->d)[l] = vg_d(w, op->a)[l];
    }
    return VG_STEP_DONE;
}
