// SPDX-License-Identifier: Apache-2.0
//
// work.c - what a unit of work owns, what it is called in messages, which memory it touches.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "driver.h"
#include "graph.h"

bool vg_work_clone(struct vg_work *dst, const struct vg_work *src)
{
    *dst = *src;
    if (src->kind == VG_WORK_KERNEL && src->kernel.params != NULL) {
        dst->kernel.params = malloc(src->kernel.param_bytes + 1);
        if (dst->kernel.params == NULL) {
            return false;
        }
        memcpy(dst->kernel.params, src->kernel.params, src->kernel.param_bytes);
    }
    if (src->kind == VG_WORK_COPY && src->copy.snapshot != NULL) {
        size_t n = src->copy.width * src->copy.height * src->copy.depth;
        dst->copy.snapshot = malloc(n + 1);
        if (dst->copy.snapshot == NULL) {
            return false;
        }
        memcpy(dst->copy.snapshot, src->copy.snapshot, n);
    }
    if (src->kind == VG_WORK_CHILD) {
        dst->child = vg_graph_clone(src->child);
        return dst->child != NULL;
    }
    return true;
}

void vg_work_free(struct vg_work *w)
{
    if (w->kind == VG_WORK_KERNEL) {
        free(w->kernel.params);
    } else if (w->kind == VG_WORK_COPY) {
        free(w->copy.snapshot);
    } else if (w->kind == VG_WORK_CHILD && w->child != NULL) {
        vg_graph_close(w->child);
    }
    w->kind = VG_WORK_EMPTY;
}

const char *vg_work_name(const struct vg_work *w)
{
    static _Thread_local char text[160];
    switch (w->kind) {
    case VG_WORK_KERNEL:
        snprintf(text, sizeof text, "kernel %s", w->kernel.function->kernel->name);
        break;
    case VG_WORK_COPY:
        snprintf(text, sizeof text, "a copy of %llu bytes to 0x%llx",
                 (unsigned long long)(w->copy.width * w->copy.height * w->copy.depth),
                 (unsigned long long)w->copy.dst);
        break;
    case VG_WORK_FILL:
        snprintf(text, sizeof text, "a memset at 0x%llx", (unsigned long long)w->fill.dst);
        break;
    case VG_WORK_HOST:
        return "a host function";
    case VG_WORK_RECORD:
        return "an event record";
    case VG_WORK_FREE:
        return "cuMemFreeAsync";
    case VG_WORK_ALLOC:
        return "cuMemAllocAsync";
    case VG_WORK_CALL:
        return w->call.what;
    case VG_WORK_WAIT_VALUE:
        snprintf(text, sizeof text, "cuStreamWaitValue on 0x%llx",
                 (unsigned long long)w->value.addr);
        break;
    case VG_WORK_WRITE_VALUE:
        return "cuStreamWriteValue";
    case VG_WORK_CHILD:
        return "a child graph";
    case VG_WORK_EMPTY:
        return "an event wait";
    }
    return text;
}

// Bytes from the first to the last that a pitched rectangle touches.
static uint64_t extent(uint64_t width, uint64_t height, uint64_t depth, uint64_t pitch,
                       uint64_t slice)
{
    return width == 0 || height == 0 || depth == 0
               ? 0
               : (depth - 1) * slice + (height - 1) * pitch + width;
}

uint64_t vg_copy_dst_extent(const struct vg_copy_work *c)
{
    return extent(c->width, c->height, c->depth, c->dst_pitch, c->dst_slice);
}

uint64_t vg_copy_src_extent(const struct vg_copy_work *c)
{
    return extent(c->width, c->height, c->depth, c->src_pitch, c->src_slice);
}

static bool overlap(uint64_t a, uint64_t na, uint64_t b, uint64_t nb)
{
    return na > 0 && nb > 0 && a < b + nb && b < a + na;
}

bool vg_work_touches(const struct vg_work *w, uint64_t addr, uint64_t bytes, bool *writes)
{
    *writes = true;
    switch (w->kind) {
    case VG_WORK_COPY:
        if (overlap(w->copy.dst, vg_copy_dst_extent(&w->copy), addr, bytes)) {
            return true;
        }
        *writes = false;
        return w->copy.snapshot == NULL &&
               overlap(w->copy.src, vg_copy_src_extent(&w->copy), addr, bytes);
    case VG_WORK_FILL:
        return overlap(
            w->fill.dst,
            extent(w->fill.width * w->fill.elem_bytes, w->fill.height, 1, w->fill.pitch, 0), addr,
            bytes);
    case VG_WORK_KERNEL:
        // A pointer among the parameters: what it points to, the kernel may use.
        for (size_t i = 0; i + 8 <= w->kernel.param_bytes; i += 8) {
            uint64_t v;
            memcpy(&v, w->kernel.params + i, 8);
            if (v - addr < bytes) {
                return true;
            }
        }
        return false;
    case VG_WORK_WRITE_VALUE:
        return overlap(w->value.addr, w->value.bytes, addr, bytes);
    case VG_WORK_WAIT_VALUE:
        *writes = false;
        return overlap(w->value.addr, w->value.bytes, addr, bytes);
    case VG_WORK_FREE:
    case VG_WORK_ALLOC:
    case VG_WORK_EMPTY:
    case VG_WORK_HOST:
    case VG_WORK_RECORD:
    case VG_WORK_CALL:
    case VG_WORK_CHILD:
        break;
    }
    return false;
}
