// SPDX-License-Identifier: Apache-2.0
// tma.c - tensor copies: boxes of 1 to 5 dimensions, swizzles, out-of-bounds fill.
#include "async_impl.h"

#include <stdio.h>
#include <stdlib.h>

// ---- boxes ----

static unsigned box_count(const struct vg_tensormap *m, unsigned d)
{
    unsigned s = d == 0 ? 1 : m->elem_stride[d]; // dimension 0 has no stride
    return (m->box[d] + s - 1u) / s;
}

uint32_t vg_tile_bytes(const struct vg_tensormap *m)
{
    uint32_t n = vg_tensormap_elem_bytes(m->type);
    for (unsigned d = 0; d < m->rank; d++) {
        n *= box_count(m, d);
    }
    return n;
}

// Bytes from one row of the box to the next in shared memory.
static uint32_t row_pitch(const struct vg_tensormap *m)
{
    return m->swizzle == VG_TM_SWIZZLE_NONE ? m->box[0] * vg_tensormap_elem_bytes(m->type)
                                            : 16u << m->swizzle;
}

uint32_t vg_tile_span(const struct vg_tensormap *m)
{
    uint32_t n = row_pitch(m);
    for (unsigned d = 1; d < m->rank; d++) {
        n *= box_count(m, d);
    }
    return n;
}

struct rows { // walk over the rows of a box
    const struct vg_tile *t;
    unsigned elem, inner, n_rows;
    unsigned at[5];
    unsigned row;
    bool inside;     // the row lies inside the tensor in dimensions 1..
    uint64_t base;   // address of element 0 of dimension 0 in this row
    uint32_t lo, hi; // elements of the box inside the tensor in dimension 0
};

static void rows_place(struct rows *r)
{
    const struct vg_tensormap *m = &r->t->map;
    r->inside = r->lo < r->hi;
    r->base = m->base;
    for (unsigned d = 1; d < m->rank; d++) {
        int64_t c = (int64_t)r->t->at[d] + (int64_t)r->at[d] * m->elem_stride[d];
        if (c < 0 || c > (int64_t)m->size[d]) {
            r->inside = false;
            return;
        }
        r->base += (uint64_t)c * m->stride[d - 1];
    }
}

static void rows_begin(struct rows *r, const struct vg_tile *t)
{
    const struct vg_tensormap *m = &t->map;
    memset(r, 0, sizeof(*r));
    r->t = t;
    r->elem = vg_tensormap_elem_bytes(m->type);
    r->inner = m->box[0] * r->elem;
    r->n_rows = 1;
    for (unsigned d = 1; d < m->rank; d++) {
        r->n_rows *= box_count(m, d);
    }
    int64_t x = t->at[0], end = (int64_t)m->size[0] + 1;
    int64_t lo = x < 0 ? -x : 0, hi = end - x;
    hi = hi > m->box[0] ? m->box[0] : hi;
    r->lo = lo > m->box[0] ? m->box[0] : (uint32_t)lo;
    r->hi = hi < (int64_t)r->lo ? r->lo : (uint32_t)hi;
    rows_place(r);
}

static bool rows_next(struct rows *r)
{
    if (++r->row == r->n_rows) {
        return false;
    }
    for (unsigned d = 1; d < r->t->map.rank; d++) {
        if (++r->at[d] < box_count(&r->t->map, d)) {
            break;
        }
        r->at[d] = 0;
    }
    rows_place(r);
    return true;
}

static uint64_t row_addr(const struct rows *r)
{
    return r->base + (uint64_t)((int64_t)r->t->at[0] + (int64_t)r->lo) * r->elem;
}

bool vg_tile_runs(const struct vg_tile *t, vg_tile_run fn, void *ctx)
{
    struct rows r;
    rows_begin(&r, t);
    do {
        if (r.inside && !fn(ctx, row_addr(&r), (r.hi - r.lo) * r.elem)) {
            return false;
        }
    } while (rows_next(&r));
    return true;
}

// Where 16-byte chunk at box offset `pos` lies; XOR of address bits 4.. with bits 7...
static uint32_t swizzled(unsigned swizzle, uint32_t smem_addr, uint32_t pos)
{
    uint32_t a = smem_addr + pos;
    uint32_t mask = (1u << swizzle) - 1; // none 0, 32 B 1, 64 B 3, 128 B 7
    return (a ^ ((a >> 7 & mask) << 4)) - smem_addr;
}

bool vg_tile_pieces(const struct vg_tile *t, uint32_t smem_addr, bool pad, vg_tile_piece fn,
                    void *ctx)
{
    const struct vg_tensormap *m = &t->map;
    uint32_t inner = m->box[0] * vg_tensormap_elem_bytes(m->type), pitch = row_pitch(m);
    for (uint32_t pos = 0; pos < vg_tile_span(m); pos += pitch) {
        for (uint32_t i = pad ? inner : 0; i < (pad ? pitch : inner); i += 16) {
            if (!fn(ctx, swizzled(m->swizzle, smem_addr, pos + i))) {
                return false;
            }
        }
    }
    return true;
}

static void fill_bytes(const struct vg_tensormap *m, uint8_t *p, uint32_t bytes)
{
    memset(p, 0, bytes);
    if (m->fill != 1) {
        return;
    }
    unsigned elem = vg_tensormap_elem_bytes(m->type);
    uint64_t nan = m->type == VG_TM_F16    ? 0x7FFF
                   : m->type == VG_TM_BF16 ? 0x7FFF
                   : m->type == VG_TM_F64  ? UINT64_C(0x7FFFFFFFFFFFFFFF)
                                           : 0x7FFFFFFF;
    for (uint32_t i = 0; i < bytes; i += elem) {
        memcpy(p + i, &nan, elem);
    }
}

void vg_tile_gather(const struct vg_tile *t, uint32_t smem_addr, uint8_t *out)
{
    const struct vg_tensormap *m = &t->map;
    struct rows r;
    uint8_t line[256 * 8];
    memset(out, VG_POISON_BYTE, vg_tile_span(m));
    rows_begin(&r, t);
    do {
        uint32_t pos = r.row * row_pitch(m);
        if (!r.inside || r.lo > 0 || r.hi < m->box[0]) {
            fill_bytes(m, line, r.inner);
        }
        if (r.inside) {
            memcpy(line + r.lo * r.elem, (const void *)(uintptr_t)row_addr(&r),
                   (r.hi - r.lo) * r.elem);
        }
        if (m->swizzle == VG_TM_SWIZZLE_NONE) {
            memcpy(out + pos, line, r.inner);
        } else {
            for (uint32_t i = 0; i < r.inner; i += 16) {
                memcpy(out + swizzled(m->swizzle, smem_addr, pos + i), line + i, 16);
            }
        }
    } while (rows_next(&r));
}

void vg_tile_scatter(const struct vg_tile *t, uint32_t smem_addr, const uint8_t *data,
                     enum vg_red red, enum ptx_type type)
{
    const struct vg_tensormap *m = &t->map;
    struct rows r;
    uint8_t line[256 * 8];
    rows_begin(&r, t);
    do {
        if (!r.inside) {
            continue;
        }
        uint32_t pos = r.row * row_pitch(m);
        for (uint32_t i = 0; i < r.inner; i += 16) {
            memcpy(line + i, data + swizzled(m->swizzle, smem_addr, pos + i), 16);
        }
        const uint8_t *from = line + r.lo * r.elem;
        uint32_t n = (r.hi - r.lo) * r.elem;
        if (red) {
            vg_red_apply(red, type, row_addr(&r), from, n);
        } else {
            memcpy((void *)(uintptr_t)row_addr(&r), from, n);
        }
    } while (rows_next(&r));
}

// ---- instructions ----

struct tma_ext {
    struct vg_sh_addr sh, bar;
    struct vg_addr map;
    uint32_t coord[5], mask_row;
    unsigned rank;
    bool multicast;
    enum vg_red red;
};

// The map and coordinates of a lane; false: fault.
static bool read_map(struct vg_warp *w, const struct tma_ext *x, unsigned l, struct vg_tile *t)
{
    uint64_t addr = vg_lane_addr(w, x->map, l);
    if (addr % 64 != 0) {
        VG_FIND(w, (int)l, VG_TENSORMAP, "tensor map at 0x%llx is not aligned to 64 bytes",
                (unsigned long long)addr);
        return false;
    }
    if (!vg_arena_of(addr)) {
        VG_FIND(w, (int)l, VG_TENSORMAP,
                "tensor map at 0x%llx lies neither in parameters, constant nor global memory",
                (unsigned long long)addr);
        return false;
    }
    if (!vg_range_global(w, (int)l, addr, sizeof(t->map), false, "tensor map")) {
        return false;
    }
    vg_race_map_use(w, addr, (int)l);
    memcpy(&t->map, (const void *)(uintptr_t)addr, sizeof(t->map));
    if (!vg_tensormap_valid(&t->map)) {
        VG_FIND(w, (int)l, VG_TENSORMAP,
                "the 128 bytes at 0x%llx are no tensor map of cuTensorMapEncodeTiled",
                (unsigned long long)addr);
        return false;
    }
    if (t->map.rank != x->rank) {
        VG_FIND(w, (int)l, VG_TENSORMAP, "instruction of %u dimensions, tensor map of %u", x->rank,
                t->map.rank);
        return false;
    }
    for (unsigned d = 0; d < x->rank; d++) {
        t->at[d] = (int32_t)vg_r(w, x->coord[d])[l];
    }
    return true;
}

static bool smem_fine(struct vg_warp *w, unsigned l, uint32_t off, const struct vg_tensormap *m)
{
    uint32_t at = off + VG_SMEM_BASE;
    // The hardware asks for 128 bytes; with a swizzle pattern a tile that is read back by wgmma
    // needs the pattern's own alignment, which the matrix descriptor's check sees.
    if (at % 128 != 0) {
        VG_FIND(w, (int)l, VG_MISALIGNED,
                "shared memory side of a tensor copy at offset 0x%x is not aligned to 128 bytes",
                off);
        return false;
    }
    (void)m;
    return true;
}

struct run_ctx {
    struct vg_warp *w;
    unsigned lane;
    bool write;
    enum vg_access kind;
};

static bool check_run(void *ctx, uint64_t addr, uint32_t bytes)
{
    const struct run_ctx *c = ctx;
    for (uint32_t i = 0; i < bytes; i += 64) { // read after the checks
        __builtin_prefetch((const void *)(uintptr_t)(addr + i));
    }
    if (!vg_range_global(c->w, (int)c->lane, addr, bytes, c->write,
                         c->write ? "tensor store" : "tensor load")) {
        return false;
    }
    if (!c->write) {
        vg_race_global_range(c->w, addr, bytes, (int)c->lane, c->kind);
        vg_count_global_range(c->w, addr, bytes, true, false);
    }
    return true;
}

static int tma_load(struct vg_warp *w, const struct vg_op *op, uint32_t mask)
{
    const struct tma_ext *x = op->ext;
    for (uint32_t m = mask; m; m &= m - 1) {
        unsigned l = vg_first(m);
        struct vg_tile tile = {0};
        struct vg_cta *t, *tb;
        uint32_t off, boff;
        if (!read_map(w, x, l, &tile) || !vg_sh_lane(w, x->sh, l, &t, &off) ||
            !vg_sh_lane(w, x->bar, l, &tb, &boff) || !smem_fine(w, l, off, &tile.map)) {
            return VG_STEP_FAULT;
        }
        struct run_ctx rc = {w, l, false, VG_LOAD | VG_ACCESS_ASYNC};
        if (!vg_tile_runs(&tile, check_run, &rc)) {
            return VG_STEP_FAULT;
        }
        uint32_t bytes = vg_tile_bytes(&tile.map), span = vg_tile_span(&tile.map);
        uint32_t ctas = x->multicast ? vg_r(w, x->mask_row)[l] & 0xFFFF : 1;
        if (ctas == 0) {
            VG_FIND(w, (int)l, VG_ASYNC_ARGUMENT, "multicast to no CTA");
        }
        for (unsigned r = 0; r < VG_MAX_CLUSTER; r++) {
            if (!(ctas >> r & 1)) {
                continue;
            }
            struct vg_cta *d = t, *db = tb;
            if (x->multicast) {
                d = db = w->cta->cluster && r < w->cta->cluster->n ? w->cta->cluster->cta[r]
                         : r == 0 && !w->cta->cluster              ? w->cta
                                                                   : NULL;
            }
            if (!d || d != db) {
                VG_FIND(w, (int)l, VG_ASYNC_ARGUMENT,
                        d ? "destination and mbarrier of a tensor copy lie in different CTAs"
                          : "multicast to a CTA that is not there");
                return VG_STEP_FAULT;
            }
            struct vg_bar *b = vg_bar_at(w, (int)l, db, boff, "tensor load");
            if (!b || !vg_range_shared(w, (int)l, d, off, span, true, "tensor load destination")) {
                return VG_STEP_FAULT;
            }
            struct vg_xfer *f = vg_xfer_new(w, (int)l, d, off, span);
            f->from_tile = true;
            f->tx = bytes;
            f->tile = tile;
            vg_tile_gather(&tile, off + VG_SMEM_BASE, f->data);
            vg_xfer_issue(w, (int)l, b, f);
        }
        w->cta->counts->n[VG_N_TMA_LOAD_BYTES] += bytes;
    }
    return VG_STEP_DONE;
}

static enum ptx_type map_type(unsigned type)
{
    static const uint8_t of[] = {PTX_B8,  PTX_B16, PTX_U32,  PTX_S32, PTX_U64, PTX_S64, PTX_F16,
                                 PTX_F32, PTX_F64, PTX_BF16, PTX_F32, PTX_F32, PTX_F32};
    return (enum ptx_type)of[type];
}

struct piece_ctx {
    struct vg_warp *w;
    unsigned lane;
    struct vg_cta *t;
    uint32_t off;
};

static bool check_piece(void *ctx, uint32_t off)
{
    const struct piece_ctx *c = ctx;
    return vg_range_shared(c->w, (int)c->lane, c->t, c->off + off, 16, false,
                           "tensor store source");
}

static int tma_store(struct vg_warp *w, const struct vg_op *op, uint32_t mask)
{
    const struct tma_ext *x = op->ext;
    for (uint32_t m = mask; m; m &= m - 1) {
        unsigned l = vg_first(m);
        struct vg_tile tile = {0};
        struct vg_cta *t;
        uint32_t off;
        if (!read_map(w, x, l, &tile) || !vg_sh_lane(w, x->sh, l, &t, &off) ||
            !smem_fine(w, l, off, &tile.map)) {
            return VG_STEP_FAULT;
        }
        uint32_t span = vg_tile_span(&tile.map);
        struct run_ctx rc = {w, l, true, VG_STORE};
        struct piece_ctx pc = {w, l, t, off};
        bool narrow = span != vg_tile_bytes(&tile.map);
        if (!(narrow ? vg_tile_pieces(&tile, off + VG_SMEM_BASE, false, check_piece, &pc)
                     : vg_range_shared(w, (int)l, t, off, span, false, "tensor store source")) ||
            !vg_tile_runs(&tile, check_run, &rc)) {
            return VG_STEP_FAULT;
        }
        enum ptx_type type = map_type(tile.map.type);
        if (x->red && !vg_red_allowed(x->red, type)) {
            VG_FIND(w, (int)l, VG_ASYNC_ARGUMENT,
                    "this reduction is not defined for the tensor map's data type %u",
                    tile.map.type);
            return VG_STEP_FAULT;
        }
        struct vg_put *p = vg_put_new(w, l, off, span);
        p->is_tile = true;
        p->tile = tile;
        p->red = x->red;
        p->type = type;
        vg_put_issue(w, p);
        w->cta->counts->n[VG_N_TMA_STORE_BYTES] += vg_tile_bytes(&tile.map);
    }
    return VG_STEP_DONE;
}

static int tma_prefetch(struct vg_warp *w, const struct vg_op *op, uint32_t mask)
{
    for (uint32_t m = mask; m; m &= m - 1) {
        struct vg_tile tile = {0};
        if (!read_map(w, op->ext, vg_first(m), &tile)) {
            return VG_STEP_FAULT;
        }
    }
    return VG_STEP_DONE;
}

// "[map, {c0, c1, ...}]"
static bool decode_map(struct vg_dec *dc, struct tma_ext *x, const struct ptx_operand *o)
{
    if (o->kind != PTX_O_ADDR || o->n_elem != 2) {
        return false;
    }
    x->map = vg_dec_addr(dc, o);
    const struct ptx_operand *c = &o->elem[1];
    unsigned n = c->kind == PTX_O_VEC ? c->n_elem : 1;
    if (n != x->rank) {
        return false;
    }
    for (unsigned d = 0; d < n; d++) {
        x->coord[d] = vg_dec_r(dc, c->kind == PTX_O_VEC ? &c->elem[d] : c);
    }
    return true;
}

enum vg_decoded vg_tma_decode(struct vg_dec *dc, const struct ptx_inst *in, struct vg_op *op)
{
    struct tma_ext *x = vg_dec_alloc(dc, sizeof(*x));
    const struct ptx_operand *o = in->op;
    bool fine = false;
    op->ext = x;
    op->count = VG_N_WARP_ASYNC;
    for (unsigned r = 1; r <= 5; r++) {
        char tok[3] = {(char)('0' + r), 'd', 0};
        x->rank = ptx_has(in, tok) ? r : x->rank;
    }
    bool odd = false; // im2col and the gather forms
    for (unsigned i = 1; i < in->n_tok; i++) {
        odd = odd || strncmp(in->tok[i], "im2col", 6) == 0 || strncmp(in->tok[i], "tile::", 6) == 0;
    }
    if (x->rank == 0 || odd) {
        vg_dec_fail(dc, in, "only tiled tensor copies of 1 to 5 dimensions are supported");
        return VG_DEC_BAD;
    }
    if (ptx_has(in, "prefetch")) {
        fine = in->n_op >= 1 && decode_map(dc, x, &o[0]);
        op->fn = tma_prefetch;
    } else if (ptx_has(in, "bulk_group")) {
        if (ptx_has(in, "reduce")) {
            x->red = vg_red_named(in);
        }
        fine = in->n_op >= 2 && decode_map(dc, x, &o[0]) && (!ptx_has(in, "reduce") || x->red);
        if (fine) {
            x->sh = vg_dec_shared(dc, in, &o[1], true);
        }
        op->fn = tma_store;
    } else {
        fine = in->n_op >= 3 && decode_map(dc, x, &o[1]);
        if (fine) {
            x->sh = vg_dec_shared(dc, in, &o[0], true);
            x->bar = vg_dec_shared(dc, in, &o[2], true);
            x->multicast = ptx_has(in, "multicast::cluster");
            if (x->multicast) {
                fine = in->n_op >= 4;
                if (fine) {
                    x->mask_row = vg_dec_r(dc, &o[3]);
                }
            }
        }
        op->fn = tma_load;
    }
    if (!fine) {
        vg_dec_fail(dc, in, "this form of tensor copy is not supported");
        return VG_DEC_BAD;
    }
    return vg_dec_failed(dc) ? VG_DEC_BAD : VG_DEC_OK;
}
