// SPDX-License-Identifier: Apache-2.0
//
// execute.c - doing one operation, and what happens to host memory when it is submitted.
//
// Pinned memory is where forgotten waits hide. The destination of a queued copy is poisoned at the
// call, and the source is hashed at the call and again when the copy runs: a host that reads too
// early sees 0xA5, a host that writes too early is a finding.
#include <stdlib.h>
#include <string.h>

#include "callback.h"
#include "driver.h"
#include "graph.h"
#include "order.h"

// ---- at the call ----

static uint64_t hash_bytes(uint64_t h, const uint8_t *p, uint64_t n)
{
    while (n >= 8) {
        uint64_t v;
        memcpy(&v, p, 8);
        h = (h ^ v) * UINT64_C(0x9E3779B97F4A7C15);
        h ^= h >> 29;
        p += 8;
        n -= 8;
    }
    for (; n > 0; n--) {
        h = (h ^ *p++) * UINT64_C(0x100000001B3);
    }
    return h;
}

static uint64_t hash_source(const struct vg_copy_work *c)
{
    uint64_t h = 1;
    for (uint64_t z = 0; z < c->depth; z++) {
        for (uint64_t y = 0; y < c->height; y++) {
            h = hash_bytes(
                h, (const uint8_t *)(uintptr_t)(c->src + z * c->src_slice + y * c->src_pitch),
                c->width);
        }
    }
    return h | 1;
}

// Whether something that is pending may still touch a range of pinned memory lawfully.
static bool in_use(const struct vg_op *self, uint64_t addr, uint64_t bytes, bool writes_only)
{
    for (struct vg_op *o = vg_pending(); o != NULL; o = o->next) {
        bool writes = false;
        if (o == self) {
            continue;
        }
        if (o->work.kind == VG_WORK_HOST || o->work.kind == VG_WORK_WAIT_VALUE ||
            (vg_work_touches(&o->work, addr, bytes, &writes) && (writes || !writes_only))) {
            return true;
        }
    }
    return false;
}

void vg_work_submitted(struct vg_op *op)
{
    if (op->work.kind != VG_WORK_COPY || (vg_driver.checks & VG_CHECK_BOUNDS) == 0) {
        return;
    }
    struct vg_copy_work *c = &op->work.copy;
    uint64_t src_bytes = vg_copy_src_extent(c), dst_bytes = vg_copy_dst_extent(c);
    if (c->src_place == VG_PLACE_PINNED && c->snapshot == NULL &&
        !in_use(op, c->src, src_bytes, true)) {
        c->source_hash = hash_source(c);
    }
    if (c->dst_place == VG_PLACE_PINNED && c->height == 1 && c->depth == 1 &&
        !in_use(op, c->dst, dst_bytes, false)) {
        memset((void *)(uintptr_t)c->dst, VG_POISON_BYTE, c->width);
    }
}

// ---- when its turn has come ----

static bool copy_row(uint64_t dst, uint64_t src, const uint8_t *snap, uint64_t n, bool *uninit)
{
    bool dst_arena = vg_mem_device(dst) >= 0, src_arena = vg_mem_device(src) >= 0;
    if (snap != NULL) {
        src = (uint64_t)(uintptr_t)snap;
        src_arena = false;
    }

    if (dst_arena && src_arena) {
        return vg_mem_copy(dst, src, n);
    }
    if (dst_arena) {
        return vg_mem_host_write(dst, (const void *)(uintptr_t)src, n);
    }
    if (src_arena) {
        bool u = false;
        bool ok = vg_mem_host_read((void *)(uintptr_t)dst, src, n, &u);
        *uninit |= u;
        return ok;
    }
    memmove((void *)(uintptr_t)dst, (const void *)(uintptr_t)src, n);
    return true;
}

static bool run_copy(struct vg_op *op, CUresult *code)
{
    struct vg_copy_work *c = &op->work.copy;
    if (c->source_hash != 0 && vg_place_of(c->src, 1, NULL) == VG_PLACE_PINNED &&
        hash_source(c) != c->source_hash) {
        vg_host_finding(VG_STREAM_ORDER,
                        "the host changed pinned memory at 0x%llx while %s of it was queued in "
                        "stream %u: synchronise before reusing the buffer",
                        (unsigned long long)c->src, vg_work_name(&op->work), op->stream_id);
    }
    bool uninit = false;
    const uint8_t *snap = c->snapshot;
    for (uint64_t z = 0; z < c->depth; z++) {
        for (uint64_t y = 0; y < c->height; y++) {
            uint64_t dst = c->dst + z * c->dst_slice + y * c->dst_pitch;
            uint64_t src = c->src + z * c->src_slice + y * c->src_pitch;
            if (!copy_row(dst, src, snap, c->width, &uninit)) {
                vg_host_finding(VG_STREAM_ORDER,
                                "memory of %s in stream %u was freed before the copy ran",
                                vg_work_name(&op->work), op->stream_id);
                *code = CUDA_ERROR_ILLEGAL_ADDRESS;
                return false;
            }
            snap = snap != NULL ? snap + c->width : NULL;
        }
    }
    if (uninit && (vg_driver.checks & VG_CHECK_BOUNDS) != 0) {
        char where[160];
        vg_mem_describe(c->src, where, sizeof where);
        vg_host_finding(VG_UNINITIALISED,
                        "a copy of %llu bytes to the host reads device bytes that nothing wrote "
                        "(%s)",
                        (unsigned long long)(c->width * c->height * c->depth), where);
    }
    return true;
}

static bool run_fill(struct vg_op *op, CUresult *code)
{
    const struct vg_fill_work *f = &op->work.fill;
    for (uint64_t y = 0; y < f->height; y++) {
        uint64_t dst = f->dst + y * f->pitch;
        if (vg_mem_device(dst) < 0) { // registered host memory
            for (uint64_t i = 0; i < f->width; i++) {
                memcpy((uint8_t *)(uintptr_t)dst + i * f->elem_bytes, &f->value, f->elem_bytes);
            }
        } else if (!vg_mem_fill(dst, f->value, f->elem_bytes, f->width)) {
            vg_host_finding(VG_STREAM_ORDER, "memory of %s in stream %u was freed before it ran",
                            vg_work_name(&op->work), op->stream_id);
            *code = CUDA_ERROR_ILLEGAL_ADDRESS;
            return false;
        }
    }
    return true;
}

// The driver's code for what the kernel's last finding says.
static CUresult fault_code(void)
{
    unsigned n = vg_findings();
    const struct vg_finding_rec *r = n > 0 ? vg_finding_at(n - 1) : NULL;
    if (r == NULL) {
        return CUDA_ERROR_LAUNCH_FAILED;
    }
    switch (r->kind) {
    case VG_OUT_OF_BOUNDS:
    case VG_USE_AFTER_FREE:
        return CUDA_ERROR_ILLEGAL_ADDRESS;
    case VG_MISALIGNED:
        return CUDA_ERROR_MISALIGNED_ADDRESS;
    case VG_TRAP:
        return strstr(r->message, "assert") != NULL ? CUDA_ERROR_ASSERT : CUDA_ERROR_LAUNCH_FAILED;
    case VG_DEADLOCK:
        return CUDA_ERROR_LAUNCH_TIMEOUT;
    case VG_TENSORMAP:
        return CUDA_ERROR_ILLEGAL_INSTRUCTION;
    default:
        return CUDA_ERROR_LAUNCH_FAILED;
    }
}

// Devices whose memory kernels of a context must not touch.
static uint32_t hidden_from(CUcontext ctx)
{
    uint32_t seen = 1u << ctx->device | ctx->peers;
    for (int d = 0; d < vg_driver.n_devices; d++) {
        // Access to a pool is given by cuMemPoolSetAccess; it opens the whole device here.
        const struct CUmemPoolHandle_st *pools[2] = {vg_driver.device[d].default_pool,
                                                     vg_driver.device[d].pool};
        for (int i = 0; i < 2; i++) {
            if (pools[i] != NULL && (pools[i]->access >> ctx->device & 1) != 0) {
                seen |= 1u << d;
            }
        }
    }
    return ((1u << vg_driver.n_devices) - 1) & ~seen;
}

static bool run_kernel(struct vg_op *op, CUresult *code)
{
    const struct vg_kernel_work *k = &op->work.kernel;
    pthread_mutex_lock(&vg_lock);
    CUresult injected = vg_fault_launch();
    uint64_t number = ++vg_driver.n_launches;
    pthread_mutex_unlock(&vg_lock);
    if (injected != CUDA_SUCCESS) {
        *code = injected;
        return false;
    }
    struct vg_launch l = {
        .kernel = k->function->kernel,
        .device = op->work.ctx->device,
        .grid = {k->grid[0], k->grid[1], k->grid[2]},
        .block = {k->block[0], k->block[1], k->block[2]},
        .cluster = {k->cluster[0], k->cluster[1], k->cluster[2]},
        .dynamic_smem_bytes = k->dynamic_smem_bytes,
        .cooperative = k->cooperative,
        .pdl = k->pdl,
        .params = k->params,
        .param_bytes = k->param_bytes,
        .seed = vg_driver.seed * UINT64_C(0x9E3779B97F4A7C15) + number,
        .checks = vg_driver.checks,
        .hidden = hidden_from(op->work.ctx),
        .foot = op->seen != NULL ? op->seen->foot : NULL,
        .dep = op->seen != NULL ? &op->seen->dep : NULL,
    };
    struct vg_launch_stats stats = {.err = ""};
    switch (vg_launch_run(&l, &stats)) {
    case VG_OK:
        return true;
    case VG_FAULT:
        *code = fault_code();
        return false;
    case VG_UNSUPPORTED:
        vg_host_finding(VG_API, "kernel %s: %s", k->function->kernel->name, stats.err);
        *code = CUDA_ERROR_ILLEGAL_INSTRUCTION;
        return false;
    case VG_BAD_LAUNCH:
        vg_host_finding(VG_API, "kernel %s: %s", k->function->kernel->name, stats.err);
        *code = CUDA_ERROR_LAUNCH_FAILED;
        return false;
    }
    return true;
}

static enum vg_call_step run_wait_value(const struct vg_work *w)
{
    uint64_t v = 0;
    memcpy(&v, (const void *)(uintptr_t)w->value.addr, w->value.bytes);
    uint64_t mask = w->value.bytes == 8 ? UINT64_MAX : UINT32_MAX;
    uint64_t want = w->value.value & mask;
    bool met = false;
    switch (w->value.flags & 3) {
    case CU_STREAM_WAIT_VALUE_GEQ: // cyclic, as cuda.h has it
        met = w->value.bytes == 8 ? (int64_t)(v - want) >= 0
                                  : (int32_t)((uint32_t)v - (uint32_t)want) >= 0;
        break;
    case CU_STREAM_WAIT_VALUE_EQ:
        met = v == want;
        break;
    case CU_STREAM_WAIT_VALUE_AND:
        met = (v & want) != 0;
        break;
    default:
        met = (~(v | want) & mask) != 0;
        break;
    }
    return met ? VG_CALL_DONE : VG_CALL_AGAIN;
}

static void run_host(const struct vg_op *op)
{
    vg_callback_begin();
    if (op->work.host.callback != NULL) {
        op->work.host.callback(op->work.host.stream, op->work.ctx->sticky, op->work.host.arg);
    } else if (op->work.ctx->sticky == CUDA_SUCCESS) {
        op->work.host.fn(op->work.host.arg);
    }
    vg_callback_end();
}

enum vg_call_step vg_execute(struct vg_op *op, CUresult *code)
{
    struct vg_work *w = &op->work;
    bool ok = true;
    switch (w->kind) {
    case VG_WORK_KERNEL:
        ok = run_kernel(op, code);
        break;
    case VG_WORK_COPY:
        ok = run_copy(op, code);
        break;
    case VG_WORK_FILL:
        ok = run_fill(op, code);
        break;
    case VG_WORK_HOST:
        run_host(op);
        break;
    case VG_WORK_FREE:
        pthread_mutex_lock(&vg_lock);
        vg_memory_freed(w->mem.addr);
        pthread_mutex_unlock(&vg_lock);
        break;
    case VG_WORK_CALL: {
        bool cancel = w->ctx->sticky != CUDA_SUCCESS || w->ctx->dead;
        vg_order_calling(op);
        enum vg_call_step step = w->call.fn(w->call.arg, cancel);
        vg_order_calling(NULL);
        if (step == VG_CALL_FAILED) {
            *code = CUDA_ERROR_LAUNCH_FAILED;
        }
        return step;
    }
    case VG_WORK_WRITE_VALUE:
        if (vg_mem_device(w->value.addr) < 0) {
            memcpy((void *)(uintptr_t)w->value.addr, &w->value.value, w->value.bytes);
        } else {
            ok = vg_mem_host_write(w->value.addr, &w->value.value, w->value.bytes);
            *code = CUDA_ERROR_ILLEGAL_ADDRESS;
        }
        break;
    case VG_WORK_WAIT_VALUE:
        return run_wait_value(w);
    case VG_WORK_RECORD:
    case VG_WORK_ALLOC:
    case VG_WORK_EMPTY:
    case VG_WORK_CHILD:
        break;
    }
    return ok ? VG_CALL_DONE : VG_CALL_FAILED;
}
