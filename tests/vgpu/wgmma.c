// SPDX-License-Identifier: Apache-2.0
// wgmma.c - wgmma.mma_async and its fence, commit and wait.
//
// A wgmma belongs to four warps. Each warp queues it at issue; the first warp that waits for a
// group waits until all four have issued it, then executes it for all: shared memory is read at the
// last legal moment. Until a warp's own wait its accumulators (and A registers) are in flight: any
// other access is a finding, which vg_watch_touch sees.
#include "async_impl.h"

#include <stdio.h>
#include <stdlib.h>

enum { MAX_ROWS = 128, MAX_CHUNKS = 64 * 2 + 256 * 2 };

struct wgmma {
    enum ptx_type td, ta, tb;
    uint16_t n, k, n_d, shape;
    bool a_regs, sat, trans_a, trans_b;
    int8_t sign;                      // of the product: scale-a * scale-b
    uint32_t desc_a, desc_b, scale_d; // 64-bit rows, predicate row
    bool scale_neg, scale_const, scale_value;
    uint64_t macs;
    const struct vg_tensor *t;
    const uint32_t *d, *a;
};

struct entry {
    const struct wgmma *x;
    const struct vg_op *op;
    uint64_t desc_a, desc_b;
    bool scale_d, done;
    uint32_t group;
    uint32_t *r; // the warp's 32-bit rows
    uint32_t a[4][32];
    uint32_t chunk[MAX_CHUNKS]; // offsets of the 32-byte runs that this warp marked as being read
    unsigned n_chunk;
    struct vg_where where;
};

enum { ROW_KNOWN = 1, ROW_DIRTY = 2 };

struct vg_wg {
    struct entry **q; // entries not yet waited for, oldest first
    unsigned n, cap;
    uint64_t first; // number of q[0] since the start
    uint32_t commits;
    bool fenced, touched;
    uint32_t *base;            // rows that the tables below speak of
    uint8_t *row, *acc, *areg; // per row: flags, entries in flight that use it
    uint32_t n_rows;
};

static int op_mma(struct vg_warp *w, const struct vg_op *op, uint32_t mask);
static int op_fence(struct vg_warp *w, const struct vg_op *op, uint32_t mask);
static int op_commit(struct vg_warp *w, const struct vg_op *op, uint32_t mask);
static int op_wait(struct vg_warp *w, const struct vg_op *op, uint32_t mask);

static struct vg_wg *state(struct vg_warp *w)
{
    if (!w->async->wg) {
        w->async->wg = vg_async_alloc(sizeof(struct vg_wg));
        w->async->wg->base = w->r;
        w->watch = w->async->wg;
    }
    return w->async->wg;
}

static void know_row(struct vg_wg *g, uint32_t row)
{
    if (row >= g->n_rows) {
        uint32_t n = row + 64;
        uint8_t **t[3] = {&g->row, &g->acc, &g->areg};
        for (int i = 0; i < 3; i++) {
            uint8_t *p = vg_async_alloc(n);
            if (g->n_rows) {
                memcpy(p, *t[i], g->n_rows);
            }
            free(*t[i]);
            *t[i] = p;
        }
        g->n_rows = n;
    }
    g->row[row] |= ROW_KNOWN;
}

bool vg_watch_touch(struct vg_warp *w, const struct vg_op *op, uint32_t mask)
{
    (void)mask;
    struct vg_wg *g = w->watch;
    if (!g || g->base != w->r || op->fn == op_mma || op->fn == op_fence || op->fn == op_commit ||
        op->fn == op_wait) {
        return true;
    }
    for (unsigned i = 0; i < op->n_uses; i++) {
        const struct vg_use *u = &op->uses[i];
        if (u->file != VG_FILE_R || u->row >= g->n_rows || !g->row[u->row]) {
            continue;
        }
        if (g->acc[u->row]) {
            VG_FIND(w, -1, VG_WGMMA_IN_FLIGHT,
                    "%s of an accumulator register of a wgmma that was not waited for",
                    u->write ? "write" : "read");
        } else if (u->write && g->areg[u->row]) {
            VG_FIND(w, -1, VG_WGMMA_IN_FLIGHT,
                    "write of an A register of a wgmma that was not waited for");
        }
        // Compilers place copies where they like; ptxas fences those itself.
        if (u->write && strcmp(op->inst->tok[0], "mov") != 0) {
            g->row[u->row] |= ROW_DIRTY;
        }
    }
    return true;
}

// ---- operands in shared memory ----

// Offset of the 16-byte chunk: K-major: row, chunk of k; MN-major: k, chunk of 8 rows.
static inline __attribute__((always_inline)) uint32_t chunk_at(uint64_t desc, bool mn_major,
                                                               unsigned row, unsigned c)
{
    uint32_t start = (uint32_t)(desc & 0x3FFF) << 4, lead = (uint32_t)(desc >> 16 & 0x3FFF) << 4;
    uint32_t stride = (uint32_t)(desc >> 32 & 0x3FFF) << 4;
    unsigned mode = (unsigned)(desc >> 62);
    unsigned log = mode == 0 ? 0 : 4u - mode; // chunks per swizzled line: 1, 8 (mode 1), 4, 2
    uint32_t a = start;
    if (!mn_major) {
        if (mode == 0) {
            a += row / 8 * stride + row % 8 * 16 + c * lead;
        } else {
            a += row / 8 * stride + row % 8 * (16u << log) + c * 16;
        }
    } else { // row is k here, c counts chunks of 8 along M or N
        if (mode == 0) {
            a += c * stride + row % 8 * 16 + row / 8 * lead;
        } else {
            a += (c & ((1u << log) - 1)) * 16 + (c >> log) * lead + row % 8 * (16u << log) +
                 row / 8 * stride;
        }
    }
    // The base offset says in which 128-byte line of 1024 bytes the pattern of the swizzle begins.
    uint32_t line = (a >> 7) - (uint32_t)(desc >> 49 & 7);
    return a ^ (line & ((1u << log) - 1)) << 4;
}

static bool desc_fine(struct vg_warp *w, uint64_t desc, const char *which)
{
    unsigned mode = (unsigned)(desc >> 62);
    uint32_t start = (uint32_t)(desc & 0x3FFF) << 4;
    unsigned base = (unsigned)(desc >> 49 & 7);
    uint32_t line = mode == 0 ? 0 : 16u << (4 - mode);
    if (mode != 0 && ((start - base * 128) & (8 * line - 1)) >= line) {
        VG_FIND(
            w, -1, VG_WGMMA_ARGUMENT,
            "matrix descriptor of %s starts at shared address 0x%x, not in the first row of the "
            "%u-byte pattern of its swizzle (base offset %u)",
            which, start, 8 * line, base);
        return false;
    }
    if (start < VG_SMEM_BASE) {
        VG_FIND(w, -1, VG_WGMMA_ARGUMENT,
                "matrix descriptor of %s: address 0x%x is not shared memory", which, start);
        return false;
    }
    return true;
}

// Chunks of an operand: rows [row0, row0 + n) of M or N, all of K. out may be NULL.
static unsigned list_chunks(uint64_t desc, bool mn_major, unsigned row0, unsigned n, unsigned k,
                            unsigned k_bytes, uint32_t *out)
{
    unsigned m = 0;
    if (!mn_major) {
        for (unsigned r = row0; r < row0 + n; r++) {
            for (unsigned c = 0; c < k_bytes / 16; c++) {
                out[m++] = chunk_at(desc, false, r, c) - VG_SMEM_BASE;
            }
        }
    } else {
        for (unsigned x = 0; x < k; x++) {
            for (unsigned c = row0 / 8; c < (row0 + n) / 8; c++) {
                out[m++] = chunk_at(desc, true, x, c) - VG_SMEM_BASE;
            }
        }
    }
    return m;
}

// Neighbours become one run: out[i] = offset << 8 | chunks.
static unsigned merge(uint32_t *c, unsigned n)
{
    unsigned m = 0;
    for (unsigned i = 0; i < n; i++) {
        uint32_t off = c[i];
        if (m > 0) {
            uint32_t last = c[m - 1] >> 8, len = c[m - 1] & 0xFF;
            if (off == last + len * 16 && len < 255) {
                c[m - 1]++;
                continue;
            }
            if (len < 255 && last == off + 16) {
                c[m - 1] = off << 8 | (len + 1);
                continue;
            }
        }
        c[m++] = off << 8 | 1;
    }
    return m;
}

static bool check_operand(struct vg_warp *w, struct entry *e, uint64_t desc, bool mn_major,
                          unsigned row0, unsigned n, const char *which)
{
    const struct wgmma *x = e->x;
    uint32_t *c = e->chunk + e->n_chunk;
    unsigned m = list_chunks(desc, mn_major, row0, n, x->k, 32, c);
    const bool fine = vg_chunks_fine(w->cta, c, m);
    const struct vg_chk_grid *g = w->cta->grid->chk;
    if (fine && !g->bounds && !g->race) {
        return true;
    }
    m = merge(c, m);
    for (unsigned i = 0; i < m && !fine; i++) {
        uint32_t off = c[i] >> 8, bytes = (c[i] & 0xFF) * 16;
        if (!vg_range_shared(w, -1, w->cta, off, bytes, false, which)) {
            return false;
        }
    }
    if (g->race) {
        for (unsigned i = 0; i < m; i++) {
            vg_race_async_read(w, w->cta, c[i] >> 8, (c[i] & 0xFF) * 16, which);
        }
    }
    if (g->bounds) {
        for (unsigned i = 0; i < m; i++) {
            vg_shadow_reader(w->cta->chk->shadow + (c[i] >> 8), (c[i] & 0xFF) * 16, 1);
        }
        e->n_chunk += m;
    }
    return true;
}

static void unmark(struct vg_warp *w, struct entry *e)
{
    for (unsigned i = 0; i < e->n_chunk; i++) {
        vg_shadow_reader(w->cta->chk->shadow + (e->chunk[i] >> 8), (e->chunk[i] & 0xFF) * 16, -1);
    }
    e->n_chunk = 0;
}

// Rows of an operand as bytes in k order: out[n][32].
static void fetch(const struct vg_cta *c, const struct wgmma *x, uint64_t desc, bool mn_major,
                  unsigned n, uint8_t (*out)[32])
{
    if (!mn_major) {
        for (unsigned r = 0; r < n; r++) {
            memcpy(out[r], c->smem + (chunk_at(desc, false, r, 0) - VG_SMEM_BASE), 16);
            memcpy(out[r] + 16, c->smem + (chunk_at(desc, false, r, 1) - VG_SMEM_BASE), 16);
        }
        return;
    }
    for (unsigned k = 0; k < x->k; k++) {
        for (unsigned q = 0; q < n / 8; q++) {
            const uint8_t *s = c->smem + (chunk_at(desc, true, k, q) - VG_SMEM_BASE);
            for (unsigned i = 0; i < 8; i++) {
                memcpy(&out[q * 8 + i][2 * k], s + 2 * i, 2);
            }
        }
    }
}

// ---- arithmetic ----

struct scratch { // of one wgmma
    _Alignas(64) uint32_t acc[VG_TC_MAX_N / 8 * 4 * 32];
    uint32_t a[2 * VG_TC_MAX_STEPS * 32];
    uint32_t b[VG_TC_MAX_N * VG_TC_MAX_STEPS];
    uint32_t brow[256][8], arow[64][8];
    uint32_t areg[4][32];
};

// The fragment of 16 rows as registers hold it.
static void a_registers(const uint32_t (*row)[8], uint32_t (*reg)[32])
{
    for (unsigned r = 0; r < 16; r++) {
        memcpy(&reg[r / 8][r % 8 * 4], row[r], 16);
        memcpy(&reg[r / 8 + 2][r % 8 * 4], row[r] + 4, 16);
    }
}

static void execute(struct vg_cta *c, struct entry *const e[4])
{
    const struct wgmma *x = e[0]->x;
    const struct vg_tensor *t = x->t;
    static _Thread_local struct scratch room; // too large for the stack, too hot for malloc
    struct scratch *s = &room;
    const unsigned n_j = x->n / 8u, steps = vg_tc_steps(x->ta, x->k);
    fetch(c, x, e[0]->desc_b, x->trans_b, x->n, (uint8_t(*)[32])s->brow);
    t->b_from_rows(x->tb, n_j, s->brow[0], s->b);
    if (!x->a_regs) {
        fetch(c, x, e[0]->desc_a, x->trans_a, 64, (uint8_t(*)[32])s->arow);
    }
    for (unsigned i = 0; i < 4; i++) {
        if (!x->a_regs) {
            a_registers((const uint32_t(*)[8])s->arow + i * 16, s->areg);
        }
        const uint32_t(*from)[32] = (const uint32_t(*)[32])(x->a_regs ? e[i]->a : s->areg);
        const uint32_t *reg[4] = {from[0], from[1], from[2], from[3]};
        t->a_from_regs(x->ta, 2, x->k, reg, s->a);
        (x->td == PTX_S32 ? t->multiply_int : t->multiply_float)(n_j, 2, steps, s->a, s->b, s->acc);
        const unsigned wide = x->td == PTX_F16 ? 64 : 32; // of acc per register
        for (unsigned q = 0; q < x->n_d; q++) {
            uint32_t *d = e[i]->r + (size_t)x->d[q] * 32, *old = e[i]->scale_d ? d : NULL;
            if (x->td == PTX_F32) {
                t->add_f32(d, old, s->acc + q * wide, x->sign < 0);
            } else if (x->td == PTX_F16) {
                t->add_f16(d, old, s->acc + q * wide, x->sign < 0);
            } else {
                t->add_s32(d, old, s->acc + q * wide, x->sat);
            }
        }
        e[i]->done = true;
    }
    c->counts->n[VG_N_WGMMA_MACS] += x->macs;
    c->counts->shape[x->shape]++;
}

// ---- instructions ----

static bool uniform(struct vg_warp *w, uint32_t row)
{
    const uint64_t *d = vg_d(w, row);
    for (unsigned l = 1; l < 32; l++) {
        if (d[l] != d[0]) {
            VG_FIND(w, (int)l, VG_WGMMA_ARGUMENT, "the matrix descriptor differs between lanes");
            return false;
        }
    }
    return true;
}

static int op_mma(struct vg_warp *w, const struct vg_op *op, uint32_t mask)
{
    const struct wgmma *x = op->ext;
    if (!vg_tc_whole_warp(w, mask, "wgmma")) {
        return VG_STEP_FAULT;
    }
    if ((w->id | 3) >= w->cta->n_warps) {
        VG_FIND(w, -1, VG_COLLECTIVE, "wgmma needs a warpgroup of four warps");
        return VG_STEP_FAULT;
    }
    struct vg_wg *g = state(w);
    if (!g->fenced) {
        VG_FIND(w, -1, VG_WGMMA_FENCE, "the first wgmma.mma_async without a wgmma.fence before it");
        g->fenced = true;
    }
    struct entry *e = vg_async_alloc(sizeof(*e));
    e->x = x;
    e->op = op;
    e->r = w->r;
    e->group = g->commits;
    e->scale_d = x->scale_const ? x->scale_value : ((vg_p(w, x->scale_d) & 1) != 0) != x->scale_neg;
    vg_where_now(w, -1, &e->where);
    bool fine = uniform(w, x->desc_b) && (x->a_regs || uniform(w, x->desc_a));
    e->desc_b = vg_d(w, x->desc_b)[0];
    fine = fine && desc_fine(w, e->desc_b, "B");
    if (x->a_regs) {
        for (unsigned i = 0; i < 4; i++) {
            memcpy(e->a[i], vg_r(w, x->a[i]), 128);
        }
    } else {
        e->desc_a = vg_d(w, x->desc_a)[0];
        fine = fine && desc_fine(w, e->desc_a, "A") &&
               check_operand(w, e, e->desc_a, x->trans_a, (w->id & 3) * 16u, 16, "wgmma operand A");
    }
    // All four warps read B; where A is checked by each, one of them speaks for B.
    if (fine && (x->a_regs || (w->id & 3) == 0)) {
        fine = check_operand(w, e, e->desc_b, x->trans_b, 0, x->n, "wgmma operand B");
    }
    if (!fine) {
        unmark(w, e);
        free(e);
        return VG_STEP_FAULT;
    }
    bool dirty = false;
    for (unsigned i = 0; i < x->n_d; i++) {
        know_row(g, x->d[i]);
        dirty = dirty || (g->row[x->d[i]] & ROW_DIRTY);
        g->row[x->d[i]] &= (uint8_t)~ROW_DIRTY;
        g->acc[x->d[i]]++;
    }
    for (unsigned i = 0; x->a_regs && i < 4; i++) {
        know_row(g, x->a[i]);
        dirty = dirty || (g->row[x->a[i]] & ROW_DIRTY);
        g->row[x->a[i]] &= (uint8_t)~ROW_DIRTY;
        g->areg[x->a[i]]++;
    }
    if (dirty) {
        VG_FIND(w, -1, VG_WGMMA_FENCE,
                "registers of this wgmma were written since the last wgmma.fence");
    }
    if (g->n == g->cap) {
        g->cap = g->cap ? g->cap * 2 : 16;
        g->q = realloc(g->q, g->cap * sizeof(struct entry *));
        if (!g->q) {
            abort();
        }
    }
    g->q[g->n++] = e;
    vg_progress(w->cta);
    return VG_STEP_DONE;
}

static int op_fence(struct vg_warp *w, const struct vg_op *op, uint32_t mask)
{
    (void)op;
    if (!vg_tc_whole_warp(w, mask, "wgmma.fence")) {
        return VG_STEP_FAULT;
    }
    struct vg_wg *g = state(w);
    g->fenced = true;
    for (uint32_t i = 0; i < g->n_rows; i++) {
        g->row[i] &= (uint8_t)~ROW_DIRTY;
    }
    return VG_STEP_DONE;
}

static int op_commit(struct vg_warp *w, const struct vg_op *op, uint32_t mask)
{
    (void)op;
    if (!vg_tc_whole_warp(w, mask, "wgmma.commit_group")) {
        return VG_STEP_FAULT;
    }
    state(w)->commits++;
    vg_progress(w->cta);
    return VG_STEP_DONE;
}

static int op_wait(struct vg_warp *w, const struct vg_op *op, uint32_t mask)
{
    if (!vg_tc_whole_warp(w, mask, "wgmma.wait_group")) {
        return VG_STEP_FAULT;
    }
    struct vg_wg *g = state(w);
    unsigned due = 0;
    while (due < g->n && (uint64_t)g->q[due]->group + op->imm < g->commits) {
        due++;
    }
    struct vg_warp *const four = w - (w->id & 3);
    for (unsigned i = 0; i < due; i++) {
        if (g->q[i]->done) {
            continue;
        }
        uint64_t seq = g->first + i;
        struct entry *e[4];
        for (unsigned k = 0; k < 4; k++) {
            struct vg_wg *o = four[k].async->wg;
            if (!o || o->first + o->n <= seq || o->q[seq - o->first]->group >= o->commits) {
                return VG_STEP_BLOCK;
            }
            e[k] = o->q[seq - o->first];
        }
        for (unsigned k = 1; k < 4; k++) {
            if (e[k]->op != e[0]->op || e[k]->desc_b != e[0]->desc_b ||
                e[k]->desc_a != e[0]->desc_a || e[k]->scale_d != e[0]->scale_d) {
                VG_FIND(w, -1, VG_WGMMA_ARGUMENT,
                        "the four warps of the warpgroup issued different wgmma instructions");
                return VG_STEP_FAULT;
            }
        }
        execute(w->cta, e);
    }
    for (unsigned i = 0; i < due; i++) {
        struct entry *e = g->q[i];
        for (unsigned k = 0; k < e->x->n_d; k++) {
            g->acc[e->x->d[k]]--;
        }
        for (unsigned k = 0; e->x->a_regs && k < 4; k++) {
            g->areg[e->x->a[k]]--;
        }
        unmark(w, e);
        free(e);
    }
    memmove(g->q, g->q + due, (g->n - due) * sizeof(struct entry *));
    g->n -= due;
    g->first += due;
    vg_progress(w->cta);
    return VG_STEP_DONE;
}

void vg_wg_exit(struct vg_warp *w)
{
    struct vg_wg *g = w->async->wg;
    for (unsigned i = 0; g && i < g->n; i++) {
        vg_finding(VG_ASYNC_EXIT, &g->q[i]->where,
                   "the CTA ends with a wgmma that nobody waited for");
    }
}

void vg_wg_free(struct vg_warp *w)
{
    struct vg_wg *g = w->async->wg;
    if (!g) {
        return;
    }
    for (unsigned i = 0; i < g->n; i++) {
        free(g->q[i]);
    }
    free(g->q);
    free(g->row);
    free(g->acc);
    free(g->areg);
    free(g);
    w->async->wg = NULL;
}

static bool is_fp8(enum ptx_type t)
{
    return t == PTX_E4M3 || t == PTX_E5M2;
}

static bool allowed(const struct wgmma *x, unsigned m)
{
    unsigned n = x->n, k = x->k;
    if (m != 64 || n < 8 || n > 256 || n % 8 != 0) {
        return false;
    }
    if ((x->ta == PTX_S8 || x->ta == PTX_U8) && (x->tb == PTX_S8 || x->tb == PTX_U8)) {
        // n of 8, 16, 24 and multiples of 16 from 32 on
        return x->td == PTX_S32 && k == 32 && (n <= 32 || n % 16 == 0);
    }
    bool f32 = x->td == PTX_F32, f16 = x->td == PTX_F16;
    if (is_fp8(x->ta) && is_fp8(x->tb)) {
        return (f32 || f16) && k == 32;
    }
    if (x->ta != x->tb) {
        return false;
    }
    return (x->ta == PTX_F16 && (f32 || f16) && k == 16) || (x->ta == PTX_BF16 && f32 && k == 16) ||
           (x->ta == PTX_TF32 && f32 && k == 8);
}

static bool immediate(const struct ptx_operand *o, int64_t *v)
{
    *v = (int64_t)o->imm;
    return o->kind == PTX_O_INT;
}

enum vg_decoded vg_wgmma_decode(struct vg_dec *dc, const struct ptx_inst *in, struct vg_op *op)
{
    const char *what = in->n_tok > 1 ? in->tok[1] : "";
    op->collect = VG_COLL_WARP;
    op->count = VG_N_WARP_TENSOR;
    if (strcmp(what, "fence") == 0) {
        op->fn = op_fence;
        return VG_DEC_OK;
    }
    if (strcmp(what, "commit_group") == 0) {
        op->fn = op_commit;
        return VG_DEC_OK;
    }
    if (strcmp(what, "wait_group") == 0 && in->n_op == 1 && in->op[0].kind == PTX_O_INT) {
        op->fn = op_wait;
        op->imm = in->op[0].imm & 0xFF;
        return VG_DEC_OK;
    }
    struct wgmma *x = vg_dec_alloc(dc, sizeof(*x));
    unsigned m = 0, n = 0, k = 0;
    for (unsigned i = 1; i < in->n_tok; i++) {
        vg_tc_shape(in->tok[i], &m, &n, &k);
    }
    x->n = (uint16_t)(n <= 256 ? n : 0);
    x->k = (uint16_t)(k <= 32 ? k : 0);
    x->td = ptx_inst_type(in, 0);
    x->ta = ptx_inst_type(in, 1);
    x->tb = ptx_inst_type(in, 2);
    x->sat = ptx_has(in, "satfinite");
    x->sign = 1;
    if (strcmp(what, "mma_async") != 0 || ptx_has(in, "sp") || in->n_op < 4 || !allowed(x, m)) {
        vg_dec_fail(dc, in, "this form of wgmma is not supported");
        return VG_DEC_BAD;
    }
    unsigned nd, na;
    x->d = vg_dec_rows(dc, &in->op[0], &nd);
    x->a_regs = in->op[1].kind == PTX_O_VEC;
    if (x->a_regs) {
        x->a = vg_dec_rows(dc, &in->op[1], &na);
        if (na != 4) {
            vg_dec_fail(dc, in, "A takes 4 registers");
            return VG_DEC_BAD;
        }
    } else {
        x->desc_a = vg_dec_d(dc, &in->op[1]);
    }
    x->desc_b = vg_dec_d(dc, &in->op[2]);
    const struct ptx_operand *sd = &in->op[3];
    if (sd->kind == PTX_O_INT) {
        x->scale_const = true;
        x->scale_value = sd->imm != 0;
    } else {
        struct ptx_operand plain = *sd;
        plain.neg = false;
        x->scale_neg = sd->neg;
        x->scale_d = vg_dec_p(dc, &plain);
    }
    int64_t v;
    for (unsigned i = 4; i < in->n_op; i++) {
        bool ok = immediate(&in->op[i], &v);
        if (i <= 5) { // scale-a, scale-b
            ok = ok && (v == 1 || v == -1 || (uint32_t)v == UINT32_MAX);
            x->sign = (int8_t)(ok && v != 1 ? -x->sign : x->sign);
        } else { // trans-a (not with A in registers), trans-b
            ok = ok && (v == 0 || v == 1) && (x->ta == PTX_F16 || x->ta == PTX_BF16);
            bool is_b = x->a_regs || i == 7;
            *(is_b ? &x->trans_b : &x->trans_a) = ok && v == 1;
        }
        if (!ok) {
            vg_dec_fail(dc, in,
                        "operand %u must be an immediate of 1 or -1 (scale), 0 or 1 (transpose)",
                        i);
            return VG_DEC_BAD;
        }
    }
    unsigned want = x->td == PTX_F16 ? n / 4 : n / 2;
    if (nd != want) {
        vg_dec_fail(dc, in, "D takes %u registers", want);
        return VG_DEC_BAD;
    }
    x->t = vg_tensor();
    x->n_d = (uint16_t)nd;
    x->macs = (uint64_t)64 * n * k;
    char name[96];
    snprintf(name, sizeof(name), "wgmma.m64n%uk%u", n, k);
    vg_tc_name_types(in, name, sizeof(name));
    x->shape = (uint16_t)vg_count_shape_id(name);
    op->ext = x;
    op->fn = op_mma;
    return vg_dec_failed(dc) ? VG_DEC_BAD : VG_DEC_OK;
}
