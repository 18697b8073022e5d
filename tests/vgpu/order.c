// SPDX-License-Identifier: Apache-2.0
//
// order.c - stream-order mistakes: two operations touch the same bytes, one of them writes, and
// neither stream, event, graph edge nor synchronisation orders them.
//
// Copies and memsets know their ranges when they are submitted and are compared with each other
// then. What a kernel touches is known when it has run (foot.h): it is compared with everything
// else that has run and is not ordered with it, whatever the order was in which they happened to
// run. So a race is found in every seed. With one stream there is nothing to find, and no footprint
// is taken.
//
// Programmatic dependent launch: such a kernel may start while its predecessor runs, from the
// moment when every CTA of that has called griddepcontrol.launch_dependents or exited, and only
// griddepcontrol.wait orders the two. Here the predecessor has run by then; the kernel's accesses
// are compared with the predecessor's footprint while it runs. A predecessor that did not wait
// itself hands on whom it may have overlapped.
#include "order.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_RECENT = 256, MAX_SEEN = 1024 };

struct recent {
    struct vg_op *op; // a reference
    uint64_t addr, bytes;
    bool writes;
};

static struct recent ring[MAX_RECENT];
static unsigned next;

static bool watching;
static struct vg_seen *seen[MAX_SEEN]; // references
static unsigned n_seen, sweep_at = 64;
static uint64_t swept_with; // what the host knew at the last sweep

void vg_order_watch(void)
{
    watching = (vg_driver.checks & VG_CHECK_BOUNDS) != 0;
}

static void found(const char *first, unsigned first_stream, const char *second,
                  unsigned second_stream, uint64_t addr, const char *how)
{
    char what[200];
    vg_mem_describe(addr, what, sizeof what);
    vg_host_finding(VG_STREAM_ORDER,
                    "%s in stream %u and %s in stream %u touch the same memory (%s%s) and nothing "
                    "orders them: an event or a synchronise is missing",
                    first, first_stream, second, second_stream, what, how);
}

// ---- copies and memsets, when they are submitted ----

static void touch(struct vg_op *op, uint64_t addr, uint64_t bytes, bool writes)
{
    for (unsigned i = 0; bytes > 0 && i < MAX_RECENT; i++) {
        const struct recent *r = &ring[i];
        if (r->op != NULL && r->op != op && addr < r->addr + r->bytes && r->addr < addr + bytes &&
            (writes || r->writes) && !vg_op_ordered(r->op, op) && !r->op->work.ctx->dead) {
            char first[160];
            strncpy(first, vg_work_name(&r->op->work), sizeof first - 1);
            first[sizeof first - 1] = 0;
            found(first, r->op->stream_id, vg_work_name(&op->work), op->stream_id, addr, "");
            break;
        }
    }
    if (bytes > 0) {
        struct recent *r = &ring[next++ % MAX_RECENT];
        vg_op_unref(r->op);
        *r = (struct recent){vg_op_ref(op), addr, bytes, writes};
    }
}

static uint64_t fill_extent(const struct vg_fill_work *f)
{
    return f->height > 0 ? (f->height - 1) * f->pitch + f->width * f->elem_bytes : 0;
}

void vg_order_submitted(struct vg_op *op)
{
    const struct vg_work *w = &op->work;
    if ((vg_driver.checks & VG_CHECK_BOUNDS) == 0) {
        return;
    }
    if (w->kind == VG_WORK_COPY) {
        if (w->copy.snapshot == NULL) {
            touch(op, w->copy.src, vg_copy_src_extent(&w->copy), false);
        }
        touch(op, w->copy.dst, vg_copy_dst_extent(&w->copy), true);
    } else if (w->kind == VG_WORK_FILL) {
        touch(op, w->fill.dst, fill_extent(&w->fill), true);
    }
}

// ---- everything, when it runs ----

static void unref(struct vg_seen *s)
{
    if (s == NULL || --s->refs > 0) {
        return;
    }
    for (unsigned i = 0; i < VG_DEP_MAX; i++) {
        unref(s->start[i]);
        unref(s->wait[i]);
    }
    vg_foot_free(s->foot);
    free(s);
}

static void add_start(struct vg_seen *s, struct vg_seen *other)
{
    if (s->dep.n_start < VG_DEP_MAX) {
        other->refs++;
        s->start[s->dep.n_start] = other;
        s->dep.start[s->dep.n_start].foot = other->foot;
        s->dep.start[s->dep.n_start++].name = other->name;
    }
}

static void add_wait(struct vg_seen *s, struct vg_seen *other)
{
    if (s->dep.n_wait < VG_DEP_MAX) {
        other->refs++;
        s->wait[s->dep.n_wait] = other;
        s->dep.wait[s->dep.n_wait].foot = other->foot;
        s->dep.wait[s->dep.n_wait++].name = other->name;
    }
}

// Who may still run when a dependent launch starts, and after it has waited for `p`.
static void overlap(struct vg_seen *s, struct vg_seen *p)
{
    if (p->dep.triggered) {
        add_start(s, p);
    }
    for (unsigned i = 0; i < p->dep.n_start; i++) {
        if (p->dep.triggered ? !p->dep.waited_first : !p->dep.waited) {
            add_start(s, p->start[i]);
        }
        if (!p->dep.waited) {
            add_wait(s, p->start[i]);
        }
    }
}

static void rows(struct vg_foot *f, uint64_t addr, uint64_t width, uint64_t height, uint64_t depth,
                 uint64_t pitch, uint64_t slice, enum vg_foot_plane plane)
{
    for (uint64_t z = 0; z < depth; z++) {
        for (uint64_t y = 0; y < height; y++) {
            vg_foot_range(f, addr + z * slice + y * pitch, width, plane);
        }
    }
}

void vg_order_begin(struct vg_op *op)
{
    const struct vg_work *w = &op->work;
    bool kernel = w->kind == VG_WORK_KERNEL || w->kind == VG_WORK_CALL;
    if (!watching || op->seen != NULL ||
        (!kernel && w->kind != VG_WORK_COPY && w->kind != VG_WORK_FILL)) {
        return;
    }
    struct vg_seen *s = calloc(1, sizeof *s);
    if (s == NULL) {
        return;
    }
    *s = (struct vg_seen){.refs = 1,
                          .foot = vg_foot_new(),
                          .timeline = op->timeline,
                          .tick = op->tick,
                          .stream_id = op->stream_id,
                          .kernel = kernel};
    strncpy(s->name, vg_work_name(w), sizeof s->name - 1);
    op->seen = s;
    if (w->kind == VG_WORK_COPY) {
        const struct vg_copy_work *c = &w->copy;
        if (c->snapshot == NULL) {
            rows(s->foot, c->src, c->width, c->height, c->depth, c->src_pitch, c->src_slice,
                 VG_FOOT_READ);
        }
        rows(s->foot, c->dst, c->width, c->height, c->depth, c->dst_pitch, c->dst_slice,
             VG_FOOT_WRITE);
    } else if (w->kind == VG_WORK_FILL) {
        rows(s->foot, w->fill.dst, w->fill.width * w->fill.elem_bytes, w->fill.height, 1,
             w->fill.pitch, 0, VG_FOOT_WRITE);
    }
    if (op->dep_pred != NULL && op->dep_pred->seen != NULL) {
        overlap(s, op->dep_pred->seen);
    }
}

// Drops what every operation to come is ordered after.
static void sweep(void)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < n_seen; i++) {
        if (vg_settled(seen[i]->timeline, seen[i]->tick)) {
            unref(seen[i]);
        } else {
            seen[kept++] = seen[i];
        }
    }
    n_seen = kept;
    sweep_at = 2 * kept < 64 ? 64 : 2 * kept < MAX_SEEN ? 2 * kept : MAX_SEEN;
}

void vg_order_ran(struct vg_op *op)
{
    struct vg_seen *s = op->seen;
    vg_op_unref(op->dep_pred);
    op->dep_pred = NULL;
    if (s == NULL) {
        return;
    }
    for (unsigned i = 0; i < n_seen; i++) {
        const struct vg_seen *o = seen[i];
        struct vg_foot_meet m;
        if ((!s->kernel && !o->kernel) || vg_op_knows(op, o->timeline, o->tick) ||
            !vg_foot_meets(o->foot, s->foot, &m)) {
            continue;
        }
        found(o->name, o->stream_id, s->name, s->stream_id, m.addr,
              m.first_writes && m.second_writes ? "; both write"
              : m.first_writes                  ? "; the first writes, the second reads"
                                                : "; the first reads, the second writes");
    }
    if (n_seen >= sweep_at && swept_with != vg_host_knowledge()) {
        swept_with = vg_host_knowledge();
        sweep();
    }
    if (n_seen == MAX_SEEN) { // nobody ever waits: forget the oldest
        unref(seen[0]);
        memmove(&seen[0], &seen[1], (MAX_SEEN - 1) * sizeof seen[0]);
        n_seen--;
    }
    s->refs++;
    seen[n_seen++] = s;
}

void vg_order_gone(struct vg_op *op)
{
    vg_op_unref(op->dep_pred);
    op->dep_pred = NULL;
    if (op->seen != NULL) {
        unref(op->seen);
        op->seen = NULL;
    }
}

void vg_order_forget(uint64_t addr, uint64_t bytes)
{
    for (unsigned i = 0; i < MAX_RECENT; i++) {
        struct recent *r = &ring[i];
        if (r->op != NULL && r->addr < addr + bytes && addr < r->addr + r->bytes) {
            vg_op_unref(r->op);
            r->op = NULL;
        }
    }
    for (unsigned i = 0; i < n_seen; i++) {
        vg_foot_forget(seen[i]->foot, addr, bytes);
    }
}

// ---- functions of vgpu_enqueue ----

static _Thread_local struct vg_op *calling;

void vg_order_calling(struct vg_op *op)
{
    calling = op;
}

void vg_order_note(uint64_t addr, uint64_t bytes, bool writes)
{
    if (calling != NULL && calling->seen != NULL &&
        vg_mem_device(addr) == calling->work.ctx->device) {
        vg_foot_range(calling->seen->foot, addr, bytes, writes ? VG_FOOT_WRITE : VG_FOOT_READ);
    }
}
