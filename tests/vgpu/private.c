// SPDX-License-Identifier: Apache-2.0
#include "private.h"

#include <stdio.h>
#include <string.h>

#include "count.h"
#include "driver.h"
#include "order.h"

struct call {
    int (*fn)(void *arg, bool cancel);
    void *arg;
};

int vgpu_enqueue(void *stream, int (*fn)(void *arg, bool cancel), void *arg, const char *what)
{
    struct vg_call c = vg_call_begin("vgpu_enqueue", VG_NEED_CTX);
    CUstream s = NULL;
    CUresult r = c.r;
    if (r == CUDA_SUCCESS) {
        r = vg_stream_find(c.ctx, stream, &s);
    }
    if (r == CUDA_SUCCESS) {
        // int and enum vg_call_step have the same values and size.
        struct vg_work w = {
            .kind = VG_WORK_CALL,
            .ctx = s->ctx,
            .call = {.fn = (vg_call_fn)(void (*)(void))fn, .arg = arg, .what = what}};
        r = vg_submit(s, &w, NULL);
    }
    vg_call_end(&c);
    return (int)r;
}

bool vgpu_read(void *dst, uint64_t src, size_t bytes, bool *uninitialised)
{
    bool u = false;
    vg_order_note(src, bytes, false);
    bool ok = vg_mem_host_read(dst, src, bytes, &u);
    if (uninitialised != NULL) {
        *uninitialised = u;
    }
    return ok;
}

bool vgpu_peek(void *dst, uint64_t src, size_t bytes)
{
    bool ignored = false;
    return vg_mem_host_read(dst, src, bytes, &ignored);
}

bool vgpu_write(uint64_t dst, const void *src, size_t bytes)
{
    vg_order_note(dst, bytes, true);
    return vg_mem_host_write(dst, src, bytes);
}

bool vgpu_poison(uint64_t dst, size_t bytes)
{
    vg_order_note(dst, bytes, true);
    return vg_mem_fill(dst, VG_POISON_BYTE, 1, bytes);
}

bool vgpu_owns(uint64_t addr, size_t bytes, int *device)
{
    uint64_t base = 0, size = 0;
    int d = -1;
    if (!vg_mem_find(addr, &base, &size, &d) || bytes > size || addr - base > size - bytes) {
        return false;
    }
    if (device != NULL) {
        *device = d;
    }
    return true;
}

bool vgpu_mark_valid(uint64_t addr, size_t bytes)
{
    return vg_mem_mark_init(addr, bytes);
}

unsigned vgpu_findings(void)
{
    return vg_findings();
}

const char *vgpu_finding(unsigned i)
{
    static _Thread_local char text[1200];
    const struct vg_finding_rec *r = vg_finding_at(i);
    if (r == NULL) {
        return NULL;
    }
    snprintf(text, sizeof text, "%s: %s", vg_kind_name(r->kind), r->message);
    return text;
}

void vgpu_findings_clear(void)
{
    vg_findings_clear();
}

void vgpu_report(const char *kind, const char *message)
{
    vg_host_finding(strcmp(kind, "stream-order") == 0    ? VG_STREAM_ORDER
                    : strcmp(kind, "uninitialised") == 0 ? VG_UNINITIALISED
                    : strcmp(kind, "deadlock") == 0      ? VG_DEADLOCK
                                                         : VG_API,
                    "%s", message);
}

uint64_t vgpu_counter(const char *kernel, const char *counter)
{
    struct vg_counts c;
    uint64_t launches = vg_counts_kernel(kernel, &c);
    if (launches == 0 || strcmp(counter, "launches") == 0) {
        return launches;
    }
    return vg_counts_named(&c, counter);
}

void vgpu_counters_clear(void)
{
    vg_counts_clear();
}

void vgpu_counters(void)
{
    vg_counts_table(stderr);
}

unsigned vgpu_fault(const char *name, unsigned usual)
{
    pthread_mutex_lock(&vg_lock);
    unsigned code = vg_driver.init ? vg_fault_named(name, usual) : 0;
    pthread_mutex_unlock(&vg_lock);
    return code;
}

int vgpu_current_device(void)
{
    pthread_mutex_lock(&vg_lock);
    CUcontext ctx = vg_context_current();
    int d = ctx != NULL && vg_handle_is(ctx, VG_H_CONTEXT) ? ctx->device : -1;
    pthread_mutex_unlock(&vg_lock);
    return d;
}

uint64_t vgpu_seed(void)
{
    return vg_driver.seed;
}

void vgpu_set_seed(uint64_t seed)
{
    vg_driver.seed = seed;
}
