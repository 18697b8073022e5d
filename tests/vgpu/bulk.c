// SPDX-License-Identifier: Apache-2.0
// bulk.c - cp.async.bulk: copies between global and shared memory in one piece, reductions, bulk
// groups; and the queue that tensor copies (tma.c) share.
#include "async_impl.h"

#include <stdio.h>
#include <stdlib.h>

struct bulk_ext {
    struct vg_sh_addr dst_sh, src_sh, bar;
    struct vg_addr dst, src;
    uint32_t size_row, mask_row;
    bool multicast, has_mask;
    enum vg_red red;
    enum ptx_type type;
};

// ---- loads into shared memory ----

struct vg_xfer *vg_xfer_new(struct vg_warp *w, int lane, struct vg_cta *dst, uint32_t off,
                            uint32_t bytes)
{
    struct vg_xfer *x = vg_async_alloc(sizeof(*x));
    x->dst = dst;
    x->dst_off = off;
    x->bytes = x->tx = bytes;
    x->data = vg_async_alloc(bytes + 128);
    vg_where_now(w, lane, &x->where);
    return x;
}

void vg_xfer_free(struct vg_xfer *x)
{
    free(x->data);
    free(x);
}

void vg_xfer_issue(struct vg_warp *w, int lane, struct vg_bar *b, struct vg_xfer *x)
{
    const struct vg_chk_grid *g = w->cta->grid->chk;
    struct vg_chk_cta *c = x->dst->chk;
    vg_bar_async_use(w, lane, b);
    vg_race_range_check_write(w, x->dst, x->dst_off, x->bytes, lane);
    if (g->bounds) {
        vg_shadow_pending(c->shadow + x->dst_off, x->bytes);
    }
    if (x->dst->async->eager) {
        memcpy(x->dst->smem + x->dst_off, x->data, x->bytes);
    } else {
        memset(x->dst->smem + x->dst_off, VG_POISON_BYTE, x->bytes);
    }
    vg_bar_add_xfer(b, x);
    vg_progress(w->cta);
}

static bool source_changed(const struct vg_xfer *x)
{
    if (x->from_tile) {
        uint8_t *now = vg_async_alloc(x->bytes + 128);
        vg_tile_gather(&x->tile, x->dst_off + VG_SMEM_BASE, now);
        bool changed = memcmp(now, x->data, x->bytes) != 0;
        free(now);
        return changed;
    }
    const uint8_t *src =
        x->from_shared ? x->src_cta->smem + x->src : (const uint8_t *)(uintptr_t)x->src;
    return memcmp(src, x->data, x->bytes) != 0;
}

static bool unwritten(void *ctx, uint32_t off)
{
    const struct vg_xfer *x = ctx;
    for (uint32_t i = 0; i < 16; i++) {
        x->dst->chk->shadow[x->dst_off + off + i] &= (uint8_t)~VG_SH_INIT;
    }
    return true;
}

void vg_xfer_deliver(struct vg_bar *b, struct vg_xfer *x)
{
    if (source_changed(x)) {
        vg_finding(
            VG_IN_FLIGHT_WRITE, &x->where,
            "the source of an asynchronous copy to shared memory offset 0x%x was overwritten "
            "before the copy was waited for",
            x->dst_off);
    }
    if (x->from_shared) {
        vg_shadow_reader(x->src_cta->chk->shadow + x->src, x->bytes, -1);
    }
    struct vg_chk_cta *c = x->dst->chk;
    memcpy(x->dst->smem + x->dst_off, x->data, x->bytes);
    vg_shadow_delivered(c->shadow + x->dst_off, x->bytes);
    if (x->from_tile && x->bytes != x->tx) {
        vg_tile_pieces(&x->tile, x->dst_off + VG_SMEM_BASE, true, unwritten, x);
    }
    uint32_t clock = vg_async_tick(c);
    vg_race_async_write(c, x->dst_off, x->bytes, clock, true);
    vg_vc_async(c, &b->cur, clock);
}

// ---- stores out of shared memory ----

struct vg_put *vg_put_new(struct vg_warp *w, unsigned lane, uint32_t off, uint32_t bytes)
{
    struct vg_put *p = vg_async_alloc(sizeof(*p));
    p->lane = lane;
    p->group = w->async->bulk_commits[lane];
    p->src_off = off;
    p->bytes = bytes;
    p->byte_mask = 0xFFFF;
    p->data = vg_async_alloc(bytes + 128);
    memcpy(p->data, w->cta->smem + off, bytes);
    vg_where_now(w, (int)lane, &p->where);
    return p;
}

void vg_put_free(struct vg_put *p)
{
    free(p->data);
    free(p);
}

struct mark {
    struct vg_warp *w;
    struct vg_put *p;
};

static bool mark_pending(void *ctx, uint64_t addr, uint32_t bytes)
{
    (void)ctx;
    vg_shadow_pending(vg_shadow_global(addr), bytes);
    return true;
}

static bool mark_done(void *ctx, uint64_t addr, uint32_t bytes)
{
    const struct mark *m = ctx;
    vg_shadow_delivered(vg_shadow_global(addr), bytes);
    enum vg_access kind = m->p->red ? VG_ATOMIC : VG_STORE;
    vg_race_global_range(m->w, addr, bytes, (int)m->p->lane, kind | VG_ACCESS_ASYNC);
    vg_count_global_range(m->w, addr, bytes, kind == VG_ATOMIC, true);
    return true;
}

static void each_run(struct vg_put *p, vg_tile_run fn, void *ctx)
{
    if (p->is_tile) {
        vg_tile_runs(&p->tile, fn, ctx);
    } else if (p->byte_mask == 0xFFFF) {
        fn(ctx, p->dst, p->bytes);
    } else {
        for (uint32_t i = 0; i < p->bytes; i++) {
            if (p->byte_mask >> (i % 16) & 1) {
                fn(ctx, p->dst + i, 1);
            }
        }
    }
}

void vg_put_issue(struct vg_warp *w, struct vg_put *p)
{
    const struct vg_chk_grid *g = w->cta->grid->chk;
    vg_race_async_read(w, w->cta, p->src_off, p->bytes, "an asynchronous store");
    if (g->bounds) {
        vg_shadow_reader(w->cta->chk->shadow + p->src_off, p->bytes, 1);
        if (p->red == VG_RED_NONE) { // others may reduce into the same bytes meanwhile
            each_run(p, mark_pending, NULL);
        }
    }
    *w->async->puts_end = p;
    w->async->puts_end = &p->next;
}

void vg_put_read(struct vg_warp *w, struct vg_put *p)
{
    if (p->read_done) {
        return;
    }
    p->read_done = true;
    if (w->cta->grid->chk->bounds) {
        vg_shadow_reader(w->cta->chk->shadow + p->src_off, p->bytes, -1);
    }
    if (memcmp(p->data, w->cta->smem + p->src_off, p->bytes) != 0) {
        vg_finding(
            VG_IN_FLIGHT_WRITE, &p->where,
            "the source of an asynchronous store, shared memory offset 0x%x, was overwritten "
            "before cp.async.bulk.wait_group.read",
            p->src_off);
    }
}

void vg_put_deliver(struct vg_warp *w, struct vg_put *p)
{
    vg_put_read(w, p);
    if (p->is_tile) {
        vg_tile_scatter(&p->tile, p->src_off + VG_SMEM_BASE, p->data, p->red, p->type);
    } else if (p->red) {
        vg_red_apply(p->red, p->type, p->dst, p->data, p->bytes);
    } else {
        uint8_t *d = (uint8_t *)(uintptr_t)p->dst;
        for (uint32_t i = 0; i < p->bytes; i++) {
            if (p->byte_mask >> (i % 16) & 1) {
                d[i] = p->data[i];
            }
        }
    }
    struct mark m = {w, p};
    each_run(p, mark_done, &m);
    vg_progress(w->cta);
}

static int commit(struct vg_warp *w, const struct vg_op *op, uint32_t mask)
{
    (void)op;
    for (uint32_t m = mask; m; m &= m - 1) {
        w->async->bulk_commits[vg_first(m)]++;
    }
    return VG_STEP_DONE;
}

// imm: groups that may stay open; flags: .read.
static int wait_group(struct vg_warp *w, const struct vg_op *op, uint32_t mask)
{
    struct vg_async_warp *aw = w->async;
    struct vg_put **at = &aw->puts;
    while (*at) {
        struct vg_put *p = *at;
        bool due =
            (mask >> p->lane & 1) && (uint64_t)p->group + op->imm < aw->bulk_commits[p->lane];
        if (due && op->flags) {
            vg_put_read(w, p);
        }
        if (due && !op->flags) {
            vg_put_deliver(w, p);
            *at = p->next;
            vg_put_free(p);
        } else {
            at = &p->next;
        }
    }
    aw->puts_end = at;
    return VG_STEP_DONE;
}

// ---- reductions ----

static const struct {
    const char *name;
    enum vg_red red;
} red_names[] = {{"add", VG_RED_ADD}, {"min", VG_RED_MIN}, {"max", VG_RED_MAX},
                 {"inc", VG_RED_INC}, {"dec", VG_RED_DEC}, {"and", VG_RED_AND},
                 {"or", VG_RED_OR},   {"xor", VG_RED_XOR}};

enum vg_red vg_red_named(const struct ptx_inst *in)
{
    for (unsigned i = 0; i < sizeof(red_names) / sizeof(red_names[0]); i++) {
        if (ptx_has(in, red_names[i].name)) {
            return red_names[i].red;
        }
    }
    return VG_RED_NONE;
}

unsigned vg_red_bytes(enum ptx_type t)
{
    return ptx_type_bytes(t);
}

bool vg_red_allowed(enum vg_red red, enum ptx_type t)
{
    bool i32 = t == PTX_S32 || t == PTX_U32, i64 = t == PTX_S64 || t == PTX_U64;
    bool half = t == PTX_F16 || t == PTX_BF16;
    switch (red) {
    case VG_RED_ADD:
        return i32 || i64 || half || t == PTX_F32 || t == PTX_F64;
    case VG_RED_MIN:
    case VG_RED_MAX:
        return i32 || i64 || half;
    case VG_RED_INC:
    case VG_RED_DEC:
        return t == PTX_U32;
    case VG_RED_AND:
    case VG_RED_OR:
    case VG_RED_XOR:
        return t == PTX_B32 || t == PTX_B64 || i32 || i64;
    case VG_RED_NONE:
        break;
    }
    return false;
}

static uint64_t red_int(enum vg_red red, uint64_t a, uint64_t b, bool is_signed, unsigned bytes)
{
    if (is_signed && bytes == 4) {
        a = (uint64_t)(int64_t)(int32_t)a;
        b = (uint64_t)(int64_t)(int32_t)b;
    }
    bool less = is_signed ? (int64_t)a < (int64_t)b : a < b;
    switch (red) {
    case VG_RED_ADD:
        return a + b;
    case VG_RED_MIN:
        return less ? a : b;
    case VG_RED_MAX:
        return less ? b : a;
    case VG_RED_INC:
        return a >= b ? 0 : a + 1;
    case VG_RED_DEC:
        return a == 0 || a > b ? b : a - 1;
    case VG_RED_AND:
        return a & b;
    case VG_RED_OR:
        return a | b;
    case VG_RED_XOR:
        return a ^ b;
    case VG_RED_NONE:
        break;
    }
    return b;
}

static float red_float(enum vg_red red, float a, float b)
{
    if (red == VG_RED_ADD) {
        return a + b;
    }
    if (a != a || b != b) { // min and max return the number
        return a != a ? b : a;
    }
    return red == VG_RED_MIN ? (a < b ? a : b) : (a < b ? b : a);
}

void vg_red_apply(enum vg_red red, enum ptx_type t, uint64_t dst, const uint8_t *src,
                  uint32_t bytes)
{
    // One lock for all: reductions of CTAs on other host threads must not tear.
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    unsigned n = vg_red_bytes(t);
    uint8_t *d = (uint8_t *)(uintptr_t)dst;
    pthread_mutex_lock(&lock);
    for (uint32_t i = 0; i + n <= bytes; i += n) {
        if (t == PTX_F32) {
            float a, b;
            memcpy(&a, d + i, 4);
            memcpy(&b, src + i, 4);
            a = red_float(red, a, b);
            memcpy(d + i, &a, 4);
        } else if (t == PTX_F64) {
            double a, b;
            memcpy(&a, d + i, 8);
            memcpy(&b, src + i, 8);
            a += b;
            memcpy(d + i, &a, 8);
        } else if (t == PTX_F16 || t == PTX_BF16) {
            uint16_t a, b;
            memcpy(&a, d + i, 2);
            memcpy(&b, src + i, 2);
            if (t == PTX_F16) {
                a = vg_float_to_half(red_float(red, vg_half_to_float(a), vg_half_to_float(b)));
            } else {
                a = vg_float_to_bf16(red_float(red, vg_bf16_to_float(a), vg_bf16_to_float(b)));
            }
            memcpy(d + i, &a, 2);
        } else {
            uint64_t a = 0, b = 0;
            memcpy(&a, d + i, n);
            memcpy(&b, src + i, n);
            a = red_int(red, a, b, t == PTX_S32 || t == PTX_S64, n);
            memcpy(d + i, &a, n);
        }
    }
    pthread_mutex_unlock(&lock);
}

// ---- instructions ----

static bool size_fine(struct vg_warp *w, unsigned l, uint32_t bytes, uint64_t a, uint64_t b)
{
    if (bytes == 0 || bytes % 16 != 0) {
        VG_FIND(w, (int)l, VG_ASYNC_ARGUMENT, "cp.async.bulk of %u bytes: not a multiple of 16",
                bytes);
        return false;
    }
    if ((a | b) % 16 != 0) {
        VG_FIND(w, (int)l, VG_MISALIGNED,
                "cp.async.bulk between addresses not aligned to 16 bytes");
        return false;
    }
    return true;
}

static int load_global(struct vg_warp *w, const struct vg_op *op, uint32_t mask)
{
    const struct bulk_ext *x = op->ext;
    for (uint32_t m = mask; m; m &= m - 1) {
        unsigned l = vg_first(m);
        struct vg_cta *t, *tb;
        uint32_t off, boff, bytes = vg_r(w, x->size_row)[l];
        uint64_t src = vg_lane_addr(w, x->src, l);
        if (!vg_sh_lane(w, x->dst_sh, l, &t, &off) || !vg_sh_lane(w, x->bar, l, &tb, &boff) ||
            !size_fine(w, l, bytes, off, src) ||
            !vg_range_global(w, (int)l, src, bytes, false, "cp.async.bulk source")) {
            return VG_STEP_FAULT;
        }
        vg_race_global_range(w, src, bytes, (int)l, VG_LOAD | VG_ACCESS_ASYNC);
        vg_count_global_range(w, src, bytes, true, false);
        uint32_t ctas = x->multicast ? vg_r(w, x->mask_row)[l] & 0xFFFF : 0;
        for (unsigned r = 0; r < VG_MAX_CLUSTER; r++) {
            struct vg_cta *d = t, *db = tb;
            if (x->multicast) {
                if (!(ctas >> r & 1)) {
                    continue;
                }
                d = db = w->cta->cluster && r < w->cta->cluster->n ? w->cta->cluster->cta[r]
                         : r == 0 && !w->cta->cluster              ? w->cta
                                                                   : NULL;
                if (!d) {
                    VG_FIND(w, (int)l, VG_ASYNC_ARGUMENT, "multicast to CTA %u, which is not there",
                            r);
                    return VG_STEP_FAULT;
                }
            } else if (r > 0) {
                break;
            }
            if (d != db) {
                VG_FIND(w, (int)l, VG_ASYNC_ARGUMENT,
                        "destination and mbarrier of a bulk copy lie in different CTAs");
                return VG_STEP_FAULT;
            }
            struct vg_bar *b = vg_bar_at(w, (int)l, db, boff, "cp.async.bulk");
            if (!b ||
                !vg_range_shared(w, (int)l, d, off, bytes, true, "cp.async.bulk destination")) {
                return VG_STEP_FAULT;
            }
            struct vg_xfer *f = vg_xfer_new(w, (int)l, d, off, bytes);
            f->src = src;
            memcpy(f->data, (const void *)(uintptr_t)src, bytes);
            vg_xfer_issue(w, (int)l, b, f);
        }
        w->cta->counts->n[VG_N_BULK_BYTES] += bytes;
    }
    return VG_STEP_DONE;
}

// shared::cta -> shared::cluster, copy or integer reduction, completing on an mbarrier of the
// target.
static int load_shared(struct vg_warp *w, const struct vg_op *op, uint32_t mask)
{
    const struct bulk_ext *x = op->ext;
    for (uint32_t m = mask; m; m &= m - 1) {
        unsigned l = vg_first(m);
        struct vg_cta *t, *tb, *s;
        uint32_t off, boff, soff, bytes = vg_r(w, x->size_row)[l];
        if (!vg_sh_lane(w, x->dst_sh, l, &t, &off) || !vg_sh_lane(w, x->bar, l, &tb, &boff) ||
            !vg_sh_lane(w, x->src_sh, l, &s, &soff) || !size_fine(w, l, bytes, off, soff)) {
            return VG_STEP_FAULT;
        }
        if (t != tb || s != w->cta) {
            VG_FIND(w, (int)l, VG_ASYNC_ARGUMENT,
                    "destination and mbarrier of a bulk copy lie in different CTAs");
            return VG_STEP_FAULT;
        }
        struct vg_bar *b = vg_bar_at(w, (int)l, tb, boff, "cp.async.bulk");
        if (!b || !vg_range_shared(w, (int)l, s, soff, bytes, false, "cp.async.bulk source") ||
            !vg_range_shared(w, (int)l, t, off, bytes, true, "cp.async.bulk destination")) {
            return VG_STEP_FAULT;
        }
        vg_race_async_read(w, s, soff, bytes, "cp.async.bulk");
        struct vg_xfer *f = vg_xfer_new(w, (int)l, t, off, bytes);
        f->from_shared = true;
        f->src_cta = s;
        f->src = soff;
        memcpy(f->data, s->smem + soff, bytes);
        if (x->red) {
            // Reductions are done at issue: several may be on their way to the same bytes.
            vg_red_apply(x->red, x->type, (uint64_t)(uintptr_t)(t->smem + off), f->data, bytes);
            vg_xfer_free(f);
            uint32_t clock = vg_async_tick(t->chk);
            vg_vc_async(t->chk, &b->cur, clock);
            f = vg_xfer_new(w, (int)l, t, off, 0);
            f->from_shared = true;
            f->src_cta = s;
            f->src = soff;
            f->done_at_issue = true;
            f->tx = bytes;
            vg_bar_async_use(w, (int)l, b);
            vg_bar_add_xfer(b, f);
            vg_progress(w->cta);
        } else {
            vg_shadow_reader(s->chk->shadow + soff, bytes, 1);
            vg_xfer_issue(w, (int)l, b, f);
        }
        w->cta->counts->n[VG_N_BULK_BYTES] += bytes;
    }
    return VG_STEP_DONE;
}

static int store_global(struct vg_warp *w, const struct vg_op *op, uint32_t mask)
{
    const struct bulk_ext *x = op->ext;
    for (uint32_t m = mask; m; m &= m - 1) {
        unsigned l = vg_first(m);
        struct vg_cta *t;
        uint32_t off, bytes = vg_r(w, x->size_row)[l];
        uint64_t dst = vg_lane_addr(w, x->dst, l);
        if (!vg_sh_lane(w, x->src_sh, l, &t, &off) || !size_fine(w, l, bytes, off, dst) ||
            !vg_range_shared(w, (int)l, t, off, bytes, false, "cp.async.bulk source") ||
            !vg_range_global(w, (int)l, dst, bytes, true, "cp.async.bulk destination")) {
            return VG_STEP_FAULT;
        }
        struct vg_put *p = vg_put_new(w, l, off, bytes);
        p->dst = dst;
        p->red = x->red;
        p->type = x->type;
        if (x->has_mask) {
            p->byte_mask = (uint16_t)vg_r(w, x->mask_row)[l];
        }
        vg_put_issue(w, p);
        w->cta->counts->n[VG_N_BULK_BYTES] += bytes;
    }
    return VG_STEP_DONE;
}

static int prefetch(struct vg_warp *w, const struct vg_op *op, uint32_t mask)
{
    const struct bulk_ext *x = op->ext;
    for (uint32_t m = mask; m; m &= m - 1) {
        unsigned l = vg_first(m);
        uint64_t src = vg_lane_addr(w, x->src, l);
        uint32_t bytes = vg_r(w, x->size_row)[l];
        if (!size_fine(w, l, bytes, src, 0)) {
            return VG_STEP_FAULT;
        }
    }
    return VG_STEP_DONE;
}

enum vg_decoded vg_bulk_decode(struct vg_dec *dc, const struct ptx_inst *in, struct vg_op *op)
{
    op->count = VG_N_WARP_ASYNC;
    if (ptx_has(in, "commit_group")) {
        op->fn = commit;
        return VG_DEC_OK;
    }
    if (ptx_has(in, "wait_group")) {
        if (in->n_op != 1 || in->op[0].kind != PTX_O_INT) {
            vg_dec_fail(dc, in, "wait_group takes a number");
            return VG_DEC_BAD;
        }
        op->fn = wait_group;
        op->imm = in->op[0].imm & 0xFFFF;
        op->flags = ptx_has(in, "read");
        return VG_DEC_OK;
    }
    struct bulk_ext *x = vg_dec_alloc(dc, sizeof(*x));
    const struct ptx_operand *o = in->op;
    op->ext = x;
    if (ptx_has(in, "prefetch") && in->n_op >= 2) {
        x->src = vg_dec_addr(dc, &o[0]);
        x->size_row = vg_dec_r(dc, &o[1]);
        op->fn = prefetch;
        return vg_dec_failed(dc) ? VG_DEC_BAD : VG_DEC_OK;
    }
    if (ptx_has(in, "reduce")) {
        x->red = vg_red_named(in);
        x->type = ptx_inst_type(in, 0);
        if (!vg_red_allowed(x->red, x->type)) {
            vg_dec_fail(dc, in, "this reduction of this type is not supported");
            return VG_DEC_BAD;
        }
    }
    unsigned space =
        ptx_has(in, "reduce") ? 4 : 3; // cp.reduce.async.bulk.dst.src, cp.async.bulk.dst.src
    const char *dst = in->n_tok > space ? in->tok[space] : "";
    const char *src = in->n_tok > space + 1 ? in->tok[space + 1] : "";
    bool hint = ptx_has(in, "L2::cache_hint");
    if (in->n_op >= 4 && strncmp(dst, "shared", 6) == 0) {
        x->dst_sh = vg_dec_shared(dc, in, &o[0], true);
        x->size_row = vg_dec_r(dc, &o[2]);
        x->bar = vg_dec_shared(dc, in, &o[3], true);
        x->multicast = ptx_has(in, "multicast::cluster");
        if (x->multicast && in->n_op >= 5) {
            x->mask_row = vg_dec_r(dc, &o[4]);
        }
        if (strcmp(src, "global") == 0 && !x->red) {
            x->src = vg_dec_addr(dc, &o[1]);
            op->fn = load_global;
            return vg_dec_failed(dc) ? VG_DEC_BAD : VG_DEC_OK;
        }
        if (strcmp(src, "shared::cta") == 0) {
            x->src_sh = vg_dec_shared(dc, in, &o[1], true);
            op->fn = load_shared;
            return vg_dec_failed(dc) ? VG_DEC_BAD : VG_DEC_OK;
        }
    }
    if (in->n_op >= 3 && strcmp(dst, "global") == 0 && strcmp(src, "shared::cta") == 0) {
        x->dst = vg_dec_addr(dc, &o[0]);
        x->src_sh = vg_dec_shared(dc, in, &o[1], true);
        x->size_row = vg_dec_r(dc, &o[2]);
        x->has_mask = ptx_has(in, "cp_mask");
        if (x->has_mask && in->n_op >= 4u + hint) {
            x->mask_row = vg_dec_r(dc, &o[3 + hint]);
        }
        op->fn = store_global;
        return vg_dec_failed(dc) ? VG_DEC_BAD : VG_DEC_OK;
    }
    vg_dec_fail(dc, in, "this form of cp.async.bulk is not supported");
    return VG_DEC_BAD;
}
