// SPDX-License-Identifier: Apache-2.0
//
// order.c - stream-order mistakes that can be seen when work is submitted: two streams touch the
// same bytes, one of them writes, and neither event nor synchronisation orders them.
//
// Ranges of copies and memsets are exact. Of a kernel only the pointers among its parameters are
// known, so a kernel conflicts with a copy that writes the very place a pointer points to. Races of
// kernels with kernels show in the results (the order of unordered work is random).
#include <string.h>

#include "driver.h"
#include "order.h"

enum { MAX_RECENT = 256, MAX_POINTERS = 64 };

struct recent {
    struct vg_op *op; // a reference
    uint64_t addr, bytes;
    bool writes, kernel;
};

static struct recent ring[MAX_RECENT];
static unsigned next;

static void note(struct vg_op *op, uint64_t addr, uint64_t bytes, bool writes, bool kernel)
{
    struct recent *r = &ring[next++ % MAX_RECENT];
    vg_op_unref(r->op);
    *r = (struct recent){vg_op_ref(op), addr, bytes, writes, kernel};
}

static void check(const struct vg_op *op, uint64_t addr, uint64_t bytes, bool writes, bool kernel)
{
    for (unsigned i = 0; i < MAX_RECENT; i++) {
        const struct recent *r = &ring[i];
        if (r->op == NULL || r->op == op || addr >= r->addr + r->bytes || r->addr >= addr + bytes ||
            (kernel && r->kernel)) {
            continue;
        }
        // What a kernel does through a pointer is not known here: only a write of the other side
        // makes it a conflict for sure.
        bool conflict = kernel ? r->writes : r->kernel ? writes : writes || r->writes;
        if (!conflict || vg_op_ordered(r->op, op) || r->op->work.ctx->dead) {
            continue;
        }
        char what[200], first[160];
        vg_mem_describe(addr, what, sizeof what);
        strncpy(first, vg_work_name(&r->op->work), sizeof first - 1);
        first[sizeof first - 1] = 0;
        vg_host_finding(VG_STREAM_ORDER,
                        "%s in stream %u and %s in stream %u touch the same memory (%s) and "
                        "nothing orders them: an event or a synchronise is missing",
                        first, r->op->stream_id, vg_work_name(&op->work), op->stream_id, what);
        return;
    }
}

static void touch(struct vg_op *op, uint64_t addr, uint64_t bytes, bool writes, bool kernel)
{
    if (bytes > 0) {
        check(op, addr, bytes, writes, kernel);
        note(op, addr, bytes, writes, kernel);
    }
}

void vg_order_submitted(struct vg_op *op)
{
    const struct vg_work *w = &op->work;
    if ((vg_driver.checks & VG_CHECK_BOUNDS) == 0) {
        return;
    }
    if (w->kind == VG_WORK_COPY) {
        if (w->copy.snapshot == NULL) {
            touch(op, w->copy.src, vg_copy_src_extent(&w->copy), false, false);
        }
        touch(op, w->copy.dst, vg_copy_dst_extent(&w->copy), true, false);
    } else if (w->kind == VG_WORK_FILL) {
        uint64_t n = w->fill.height > 0
                         ? (w->fill.height - 1) * w->fill.pitch + w->fill.width * w->fill.elem_bytes
                         : 0;
        touch(op, w->fill.dst, n, true, false);
    } else if (w->kind == VG_WORK_KERNEL) {
        unsigned n = 0;
        for (size_t i = 0; i + 8 <= w->kernel.param_bytes && n < MAX_POINTERS; i += 8) {
            uint64_t v;
            memcpy(&v, w->kernel.params + i, 8);
            if (vg_mem_device(v) >= 0) {
                touch(op, v, 1, false, true);
                n++;
            }
        }
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
}
