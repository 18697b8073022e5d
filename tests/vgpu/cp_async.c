// SPDX-License-Identifier: Apache-2.0
// cp_async.c - cp.async of 4, 8 and 16 bytes, its groups, and its arrival on an mbarrier.
#include "async_impl.h"
#include "quad.h"
#include "run.h"

#include <stdio.h>
#include <stdlib.h>

struct cpa_ext {
    struct vg_addr dst, src;
    struct vg_sh_addr sh;
    uint32_t src_row; // row of src-size
    bool has_src;
    uint8_t bytes;
};

uint64_t vg_cpa_seq(const struct vg_warp *w)
{
    return w->async->seq;
}

static struct vg_cpa *entry(struct vg_async_warp *aw, unsigned i)
{
    return &aw->cpa[(aw->first + i) % aw->cap_cpa];
}

unsigned vg_cpa_waiting(const struct vg_warp *w, struct vg_where *where)
{
    unsigned n = 0;
    if (w->async->n_cpa > 0) {
        const struct vg_cpa *e = entry(w->async, 0);
        vg_where_at(w, e->pc, e->mask ? __builtin_ctz(e->mask) : -1, where);
    }
    for (unsigned i = 0; i < w->async->n_cpa; i++) {
        n += (unsigned)__builtin_popcount(entry(w->async, i)->mask);
    }
    return n;
}

// The place of the next entry, which counts once aw->n_cpa does.
static struct vg_cpa *next_entry(struct vg_async_warp *aw)
{
    if (aw->n_cpa == aw->cap_cpa) {
        unsigned cap = aw->cap_cpa ? aw->cap_cpa * 2 : 8;
        struct vg_cpa *v = vg_async_alloc(cap * sizeof(*v));
        for (unsigned i = 0; i < aw->n_cpa; i++) {
            v[i] = *entry(aw, i);
        }
        free(aw->cpa);
        aw->cpa = v;
        aw->cap_cpa = cap;
        aw->first = 0;
    }
    return entry(aw, aw->n_cpa);
}

typedef uint8_t line __attribute__((vector_size(16), aligned(1), may_alias));

// Takes the sources as they are now, and makes the destinations unusable, or, eager, final.
static void take(struct vg_cpa *e, struct vg_cta *t, bool eager, bool bounds)
{
    if (e->whole) {
        for (unsigned l = 0; l < 32; l += 4) {
            const void *from = (const void *)(uintptr_t)e->src[l];
            if (e->quads) {
                memcpy(e->data[l], from, 64);
                continue;
            }
            for (unsigned i = l; i < l + 4; i++) {
                memcpy(e->data[i], (const void *)(uintptr_t)e->src[i], 16);
            }
        }
        const line poison = (line){0} + VG_POISON_BYTE;
        for (unsigned l = 0; l < 32; l++) {
            *(line *)(void *)(t->smem + e->off[l]) = eager ? *(line *)(void *)e->data[l] : poison;
        }
        for (unsigned l = 0; l < 32 && bounds; l++) {
            *(line *)(void *)(t->chk->shadow + e->off[l]) |= VG_SH_PENDING;
        }
        return;
    }
    for (uint32_t m = e->mask; m; m &= m - 1) {
        unsigned l = vg_first(m);
        memset(e->data[l], 0, 16);
        memcpy(e->data[l], (const void *)(uintptr_t)e->src[l], e->src_bytes[l]);
        uint8_t *to = t->smem + e->off[l];
        eager ? memcpy(to, e->data[l], e->bytes) : memset(to, VG_POISON_BYTE, e->bytes);
        if (bounds) {
            vg_shadow_pending(t->chk->shadow + e->off[l], e->bytes);
        }
    }
}

static int issue(struct vg_warp *w, const struct vg_op *op, uint32_t mask)
{
    const struct cpa_ext *x = op->ext;
    const struct vg_chk_grid *g = w->cta->grid->chk;
    struct vg_cta *t;
    struct vg_async_warp *aw = w->async;
    struct vg_cpa *e = next_entry(aw);
    uint32_t *off = e->off, *size = e->src_bytes;
    uint64_t *src = e->src;
    if (mask != 0xFFFFFFFFu) {
        memset(e->off, 0, sizeof(e->off)); // checks look at the others too, without heed
    }
    if (!vg_sh_lanes(w, x->sh, mask, &t, off)) {
        return VG_STEP_FAULT;
    }
    vg_lane_addrs(w, x->src, src);
    for (unsigned l = 0; l < 32; l += 4) { // wanted soon; neighbours mostly share a line
        __builtin_prefetch((const void *)(uintptr_t)src[l]);
    }
    uint32_t full = x->has_src ? 0 : mask, part = 0;
    uint64_t odd = 0;
    for (unsigned l = 0; l < 32; l++) {
        size[l] = x->bytes;
        odd |= mask >> l & 1 ? src[l] & (x->bytes - 1u) : 0;
    }
    for (uint32_t m = x->has_src ? mask : 0; m; m &= m - 1) {
        unsigned l = vg_first(m);
        uint32_t n = vg_r(w, x->src_row)[l];
        if (n > x->bytes) {
            VG_FIND(w, (int)l, VG_ASYNC_ARGUMENT, "cp.async: source size %u is more than %u", n,
                    x->bytes);
            n = x->bytes;
        }
        size[l] = n;
        if (n == x->bytes) {
            full |= 1u << l;
        } else if (n > 0) {
            part |= 1u << l;
        }
    }
    for (uint32_t m = odd ? mask : 0; m; m &= m - 1) {
        unsigned l = vg_first(m);
        if (src[l] & (x->bytes - 1u)) {
            VG_FIND(w, (int)l, VG_MISALIGNED, "misaligned %u-byte cp.async source at 0x%llx",
                    x->bytes, (unsigned long long)src[l]);
            return VG_STEP_FAULT;
        }
    }
    if (full && !vg_check_global(w, src, full, x->bytes, VG_LOAD)) {
        return VG_STEP_FAULT;
    }
    for (uint32_t m = part; m; m &= m - 1) {
        unsigned l = vg_first(m);
        if (!vg_range_global(w, (int)l, src[l], size[l], false, "cp.async source")) {
            return VG_STEP_FAULT;
        }
        vg_race_global_range(w, src[l], size[l], (int)l, VG_LOAD);
        vg_count_global_range(w, src[l], size[l], true, false);
    }
    // Bounds, alignment and bytes in flight of the destination; it counts as written at delivery.
    if (!vg_check_shared(w, t, off, mask, x->bytes, VG_STORE | VG_ACCESS_LOCAL_ORDER)) {
        return VG_STEP_FAULT;
    }
    vg_race_check_write(w, t, off, mask, x->bytes);
    aw->n_cpa++;
    e->seq = aw->seq++;
    e->mask = mask;
    e->bytes = x->bytes;
    e->whole = full == 0xFFFFFFFFu && x->bytes == 16;
    e->quads = e->whole && vg_are_quads(src);
    e->pc = w->pc;
    memcpy(e->group, aw->commits, sizeof(aw->commits));
    take(e, t, w->cta->async->eager, g->bounds);
    w->cta->counts->n[VG_N_CP_ASYNC_BYTES] += (uint64_t)__builtin_popcount(mask) * x->bytes;
    return VG_STEP_DONE;
}

// Whether every source still holds what was taken; if so, all 32 lanes' 16 bytes are put in place.
static bool put_whole(const struct vg_cpa *e, struct vg_cta *t)
{
    vg_quad differ = {0};
    line changed = {0};
    for (unsigned l = 0; e->quads && l < 32; l += 4) {
        differ |= *(const vg_quad *)(const void *)e->data[l] ^
                  *(const vg_quad *)(const void *)(uintptr_t)e->src[l];
    }
    for (unsigned l = 0; !e->quads && l < 32; l++) {
        changed |= *(const line *)(const void *)e->data[l] ^
                   *(const line *)(const void *)(uintptr_t)e->src[l];
    }
    uint64_t two[2];
    memcpy(two, &changed, 16);
    if ((two[0] | two[1]) || !vg_quad_is_zero(differ)) {
        return false;
    }
    for (unsigned l = 0; l < 32; l++) {
        memcpy(t->smem + e->off[l], e->data[l], 16);
        line *v = (line *)(void *)(t->chk->shadow + e->off[l]);
        *v = (*v & (uint8_t)~VG_SH_PENDING) | VG_SH_INIT;
    }
    return true;
}

// b: on behalf of this barrier, whose waiters alone know of the data; NULL: the lanes have waited.
static void deliver(struct vg_warp *w, struct vg_cpa *e, uint32_t lanes, struct vg_bar *b)
{
    lanes &= e->mask;
    if (!lanes) {
        return;
    }
    struct vg_cta *t = w->cta;
    const bool done = e->whole && lanes == 0xFFFFFFFFu && put_whole(e, t);
    for (uint32_t m = done ? 0 : lanes; m; m &= m - 1) {
        unsigned l = vg_first(m);
        const void *src = (const void *)(uintptr_t)e->src[l];
        bool whole = e->src_bytes[l] == 16; // sizes that compilers know
        if (e->src_bytes[l] && (whole ? memcmp(e->data[l], src, 16) != 0
                                      : memcmp(e->data[l], src, e->src_bytes[l]) != 0)) {
            VG_FIND(
                w, (int)l, VG_IN_FLIGHT_WRITE,
                "the source of a cp.async at 0x%llx was overwritten before the copy was waited for",
                (unsigned long long)e->src[l]);
        }
        uint8_t *shadow = t->chk->shadow + e->off[l];
        if (e->bytes == 16) {
            memcpy(t->smem + e->off[l], e->data[l], 16);
            line *v = (line *)(void *)shadow;
            *v = (*v & (uint8_t)~VG_SH_PENDING) | VG_SH_INIT;
        } else {
            memcpy(t->smem + e->off[l], e->data[l], e->bytes);
            vg_shadow_delivered(shadow, e->bytes);
        }
    }
    e->mask &= ~lanes;
    if (!b) {
        vg_race_shared(w, t, e->off, lanes, e->bytes, VG_STORE);
        return;
    }
    uint32_t clock = vg_async_tick(t->chk);
    for (uint32_t m = lanes; m; m &= m - 1) {
        vg_race_async_write(t->chk, e->off[vg_first(m)], e->bytes, clock, false);
    }
    vg_vc_async(t->chk, &b->cur, clock);
}

static void drop_done(struct vg_async_warp *aw)
{
    while (aw->n_cpa > 0 && entry(aw, 0)->mask == 0) {
        aw->first = (aw->first + 1) % aw->cap_cpa;
        aw->n_cpa--;
    }
}

void vg_cpa_deliver(struct vg_warp *w, uint32_t lanes, uint64_t below, struct vg_bar *b)
{
    struct vg_async_warp *aw = w->async;
    for (unsigned i = 0; i < aw->n_cpa; i++) {
        struct vg_cpa *e = entry(aw, i);
        if (e->seq < below) {
            deliver(w, e, lanes, b);
        }
    }
    drop_done(aw);
}

static int commit(struct vg_warp *w, const struct vg_op *op, uint32_t mask)
{
    (void)op;
    uint32_t *commits = w->async->commits;
    for (unsigned l = 0; l < 32; l++) {
        commits[l] += mask >> l & 1;
    }
    return VG_STEP_DONE;
}

// imm: groups that may stay open; UINT64_MAX: wait_all.
static int wait_group(struct vg_warp *w, const struct vg_op *op, uint32_t mask)
{
    struct vg_async_warp *aw = w->async;
    if (op->imm == UINT64_MAX) {
        vg_cpa_deliver(w, mask, UINT64_MAX, NULL);
        return VG_STEP_DONE;
    }
    const uint32_t open = (uint32_t)op->imm;
    for (unsigned i = 0; i < aw->n_cpa; i++) {
        struct vg_cpa *e = entry(aw, i);
        uint32_t due = 0;
        for (unsigned l = 0; l < 32; l++) {
            due |= (aw->commits[l] - e->group[l] > open ? 1u : 0u) << l;
        }
        due &= mask & e->mask;
        deliver(w, e, due, NULL);
    }
    drop_done(aw);
    return VG_STEP_DONE;
}

static int mbar_arrive(struct vg_warp *w, const struct vg_op *op, uint32_t mask)
{
    const struct cpa_ext *x = op->ext;
    for (uint32_t m = mask; m; m &= m - 1) {
        unsigned l = vg_first(m);
        struct vg_cta *t;
        uint32_t off;
        if (!vg_sh_lane(w, x->sh, l, &t, &off)) {
            return VG_STEP_FAULT;
        }
        struct vg_bar *b = vg_bar_at(w, (int)l, t, off, "cp.async.mbarrier.arrive");
        if (!b) {
            return VG_STEP_FAULT;
        }
        if (b->n_late == b->cap_late) {
            b->cap_late = b->cap_late ? b->cap_late * 2 : 64;
            b->late = realloc(b->late, b->cap_late * sizeof(*b->late));
            if (!b->late) {
                abort();
            }
        }
        if (op->flags) { // the form that counts itself: one more arrival is awaited in this phase
            b->pending++;
        }
        b->late[b->n_late++] = (struct vg_late_arrive){w, l, vg_cpa_seq(w), op->flags != 0};
        vg_bar_late(b);
        if (t == w->cta && b->seen[w->id] < b->phase + 1) {
            b->seen[w->id] = b->phase + 1;
        }
    }
    vg_progress(w->cta);
    return VG_STEP_DONE;
}

enum vg_decoded vg_cp_async_decode(struct vg_dec *dc, const struct ptx_inst *in, struct vg_op *op)
{
    op->count = VG_N_WARP_ASYNC;
    if (ptx_has(in, "commit_group")) {
        op->fn = commit;
        return VG_DEC_OK;
    }
    if (ptx_has(in, "wait_all")) {
        op->fn = wait_group;
        op->imm = UINT64_MAX;
        return VG_DEC_OK;
    }
    if (ptx_has(in, "wait_group")) {
        if (in->n_op != 1 || in->op[0].kind != PTX_O_INT) {
            vg_dec_fail(dc, in, "wait_group takes a number");
            return VG_DEC_BAD;
        }
        op->fn = wait_group;
        op->imm = in->op[0].imm & 0xFFFF;
        return VG_DEC_OK;
    }
    struct cpa_ext *x = vg_dec_alloc(dc, sizeof(*x));
    op->ext = x;
    if (ptx_has(in, "mbarrier")) {
        x->sh =
            vg_dec_shared(dc, in, &in->op[0], ptx_has(in, "shared") || ptx_has(in, "shared::cta"));
        op->flags = !ptx_has(in, "noinc");
        op->fn = mbar_arrive;
        return vg_dec_failed(dc) ? VG_DEC_BAD : VG_DEC_OK;
    }
    if (in->n_op < 3 || in->op[2].kind != PTX_O_INT ||
        (in->op[2].imm != 4 && in->op[2].imm != 8 && in->op[2].imm != 16) ||
        (ptx_has(in, "cg") && in->op[2].imm != 16)) {
        vg_dec_fail(dc, in, "cp.async copies 4, 8 or 16 bytes (.cg: 16)");
        return VG_DEC_BAD;
    }
    x->sh = vg_dec_shared(dc, in, &in->op[0], true);
    x->src = vg_dec_addr(dc, &in->op[1]);
    x->bytes = (uint8_t)in->op[2].imm;
    bool hint = ptx_has(in, "L2::cache_hint");
    unsigned optional = in->n_op - 3u - (hint ? 1u : 0u);
    if (optional == 1) {
        x->has_src = true;
        x->src_row = vg_dec_r(dc, &in->op[3]);
    } else if (optional != 0) {
        vg_dec_fail(dc, in, "too many operands");
        return VG_DEC_BAD;
    }
    op->fn = issue;
    return vg_dec_failed(dc) ? VG_DEC_BAD : VG_DEC_OK;
}
