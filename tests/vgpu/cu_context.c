// SPDX-License-Identifier: Apache-2.0
//
// cu_context.c - primary and created contexts, the stack of each thread, limits.
#include <stdlib.h>

#include "callback.h"
#include "driver.h"

static CUcontext context_new(int device, bool primary, unsigned flags)
{
    CUcontext ctx = vg_handle_new(VG_H_CONTEXT, sizeof *ctx);
    if (ctx == NULL) {
        return NULL;
    }
    static uint64_t ids;
    ctx->device = device;
    ctx->primary = primary;
    ctx->flags = flags;
    ctx->id = ++ids;
    ctx->limits[CU_LIMIT_STACK_SIZE] = 1024;
    ctx->limits[CU_LIMIT_PRINTF_FIFO_SIZE] = 1 << 20;
    ctx->limits[CU_LIMIT_MALLOC_HEAP_SIZE] = 8 << 20;
    ctx->limits[CU_LIMIT_DEV_RUNTIME_SYNC_DEPTH] = 2;
    ctx->limits[CU_LIMIT_DEV_RUNTIME_PENDING_LAUNCH_COUNT] = 2048;
    ctx->limits[CU_LIMIT_MAX_L2_FETCH_GRANULARITY] = 64;
    ctx->legacy = vg_stream_create(ctx, 0, 0, true);
    return ctx->legacy != NULL ? ctx : NULL;
}

struct vg_device *vg_context_device(CUcontext ctx)
{
    return &vg_driver.device[ctx->device];
}

void vg_context_fail(CUcontext ctx, CUresult code)
{
    if (ctx->sticky == CUDA_SUCCESS) {
        ctx->sticky = code;
        pthread_cond_broadcast(&vg_cond);
    }
}

void vg_context_close(CUcontext ctx)
{
    vg_run_context(ctx);
    ctx->dead = true;
    while (ctx->modules != NULL) {
        vg_module_close(ctx->modules);
    }
    vg_memory_close(ctx);
    vg_handle_kill(ctx);
}

static bool device_ok(CUdevice dev)
{
    return dev >= 0 && dev < vg_driver.n_devices;
}

static bool flags_ok(unsigned flags)
{
    return (flags & ~(unsigned)CU_CTX_FLAGS_MASK) == 0 && (flags & CU_CTX_SCHED_MASK) != 3 &&
           (flags & CU_CTX_SCHED_MASK) <= 4;
}

// ---- primary contexts ----

CUresult CUDAAPI cuDevicePrimaryCtxRetain(CUcontext *pctx, CUdevice dev)
{
    VG_ENTER(VG_NEED_INIT);
    VG_WANT(pctx != NULL);
    if (!device_ok(dev)) {
        return CUDA_ERROR_INVALID_DEVICE;
    }
    struct vg_device *d = &vg_driver.device[dev];
    if (vg_driver.lost[dev] != CUDA_SUCCESS) {
        return vg_driver.lost[dev];
    }
    if (d->primary == NULL) {
        d->primary = context_new(dev, true, d->primary_flags);
        if (d->primary == NULL) {
            return CUDA_ERROR_OUT_OF_MEMORY;
        }
    }
    d->primary->refs++;
    *pctx = d->primary;
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuDevicePrimaryCtxRelease_v2(CUdevice dev)
{
    VG_ENTER(VG_NEED_INIT);
    if (!device_ok(dev)) {
        return CUDA_ERROR_INVALID_DEVICE;
    }
    struct vg_device *d = &vg_driver.device[dev];
    if (d->primary == NULL) {
        return CUDA_ERROR_INVALID_CONTEXT;
    }
    if (--d->primary->refs == 0) {
        CUcontext ctx = d->primary;
        d->primary = NULL;
        vg_context_close(ctx);
    }
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuDevicePrimaryCtxReset_v2(CUdevice dev)
{
    VG_ENTER(VG_NEED_INIT);
    if (!device_ok(dev)) {
        return CUDA_ERROR_INVALID_DEVICE;
    }
    struct vg_device *d = &vg_driver.device[dev];
    if (d->primary != NULL) {
        CUcontext ctx = d->primary;
        d->primary = NULL;
        vg_context_close(ctx);
    }
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuDevicePrimaryCtxSetFlags_v2(CUdevice dev, unsigned int flags)
{
    VG_ENTER(VG_NEED_INIT);
    if (!device_ok(dev)) {
        return CUDA_ERROR_INVALID_DEVICE;
    }
    VG_WANT(flags_ok(flags));
    vg_driver.device[dev].primary_flags = flags;
    if (vg_driver.device[dev].primary != NULL) {
        vg_driver.device[dev].primary->flags = flags;
    }
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuDevicePrimaryCtxGetState(CUdevice dev, unsigned int *flags, int *active)
{
    VG_ENTER(VG_NEED_INIT);
    if (!device_ok(dev)) {
        return CUDA_ERROR_INVALID_DEVICE;
    }
    VG_WANT(flags != NULL && active != NULL);
    *flags = vg_driver.device[dev].primary_flags;
    *active = vg_driver.device[dev].primary != NULL;
    return CUDA_SUCCESS;
}

// ---- created contexts ----

CUresult CUDAAPI cuCtxCreate_v4(CUcontext *pctx, CUctxCreateParams *ctxCreateParams,
                                unsigned int flags, CUdevice dev)
{
    VG_ENTER(VG_NEED_INIT);
    VG_WANT(pctx != NULL && flags_ok(flags));
    if (!device_ok(dev)) {
        return CUDA_ERROR_INVALID_DEVICE;
    }
    if (ctxCreateParams != NULL &&
        (ctxCreateParams->execAffinityParams != NULL || ctxCreateParams->cigParams != NULL)) {
        return CUDA_ERROR_UNSUPPORTED_EXEC_AFFINITY;
    }
    if (vg_driver.lost[dev] != CUDA_SUCCESS) {
        return vg_driver.lost[dev];
    }
    CUcontext ctx = context_new(dev, false, flags);
    if (ctx == NULL) {
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    CUresult r = vg_context_push(ctx);
    if (r == CUDA_SUCCESS) {
        *pctx = ctx;
    }
    return r;
}

CUresult CUDAAPI cuCtxDestroy_v2(CUcontext ctx)
{
    VG_ENTER(VG_NEED_INIT);
    if (!vg_handle_is(ctx, VG_H_CONTEXT) || ctx->dead) {
        return CUDA_ERROR_INVALID_CONTEXT;
    }
    if (ctx->primary) {
        return CUDA_ERROR_INVALID_CONTEXT; // cuDevicePrimaryCtxRelease is the way
    }
    if (vg_context_current() == ctx) {
        vg_context_pop();
    }
    vg_context_close(ctx);
    return CUDA_SUCCESS;
}

// ---- the stack ----

CUresult CUDAAPI cuCtxSetCurrent(CUcontext ctx)
{
    VG_ENTER(VG_NEED_INIT);
    if (ctx != NULL && (!vg_handle_is(ctx, VG_H_CONTEXT) || ctx->dead)) {
        return CUDA_ERROR_INVALID_CONTEXT;
    }
    return vg_context_set(ctx);
}

CUresult CUDAAPI cuCtxGetCurrent(CUcontext *pctx)
{
    VG_ENTER(VG_NEED_INIT);
    VG_WANT(pctx != NULL);
    *pctx = vg_context_current();
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuCtxPushCurrent_v2(CUcontext ctx)
{
    VG_ENTER(VG_NEED_INIT);
    if (!vg_handle_is(ctx, VG_H_CONTEXT) || ctx->dead) {
        return CUDA_ERROR_INVALID_CONTEXT;
    }
    return vg_context_push(ctx);
}

CUresult CUDAAPI cuCtxPopCurrent_v2(CUcontext *pctx)
{
    VG_ENTER(VG_NEED_INIT);
    CUcontext ctx = vg_context_pop();
    if (ctx == NULL) {
        return CUDA_ERROR_INVALID_CONTEXT;
    }
    if (pctx != NULL) {
        *pctx = ctx;
    }
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuCtxGetDevice(CUdevice *device)
{
    VG_ENTER(VG_ANY_CTX);
    VG_WANT(device != NULL);
    *device = call.ctx->device;
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuCtxGetFlags(unsigned int *flags)
{
    VG_ENTER(VG_ANY_CTX);
    VG_WANT(flags != NULL);
    *flags = call.ctx->flags;
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuCtxGetId(CUcontext ctx, unsigned long long *ctxId)
{
    VG_ENTER(VG_NEED_INIT);
    VG_WANT(ctxId != NULL);
    CUcontext c = ctx != NULL ? ctx : vg_context_current();
    if (c == NULL) {
        return CUDA_ERROR_INVALID_CONTEXT;
    }
    if (!vg_handle_is(c, VG_H_CONTEXT) || c->dead) {
        return CUDA_ERROR_CONTEXT_IS_DESTROYED;
    }
    *ctxId = c->id;
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuCtxGetApiVersion(CUcontext ctx, unsigned int *version)
{
    VG_ENTER(VG_NEED_INIT);
    VG_WANT(version != NULL);
    CUcontext c = ctx != NULL ? ctx : vg_context_current();
    if (c == NULL || !vg_handle_is(c, VG_H_CONTEXT)) {
        return CUDA_ERROR_INVALID_CONTEXT;
    }
    *version = 4;
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuCtxSynchronize(void)
{
    VG_ENTER(VG_NEED_CTX | VG_SYNCS);
    return vg_run_context(call.ctx);
}

CUresult CUDAAPI cuCtxSynchronize_v2(CUcontext ctx)
{
    VG_ENTER(VG_NEED_INIT);
    if (!vg_handle_is(ctx, VG_H_CONTEXT) || ctx->dead) {
        return CUDA_ERROR_INVALID_CONTEXT;
    }
    CUresult r = vg_capture_check_sync(ctx, "cuCtxSynchronize");
    return r == CUDA_SUCCESS ? vg_run_context(ctx) : r;
}

CUresult CUDAAPI cuCtxSetLimit(CUlimit limit, size_t value)
{
    VG_ENTER(VG_NEED_CTX);
    VG_WANT(limit >= 0 && limit < CU_LIMIT_MAX);
    if (limit == CU_LIMIT_PERSISTING_L2_CACHE_SIZE &&
        value > (size_t)vg_context_device(call.ctx)->facts->persisting_l2_bytes) {
        value = (size_t)vg_context_device(call.ctx)->facts->persisting_l2_bytes;
    }
    if (limit == CU_LIMIT_MAX_L2_FETCH_GRANULARITY) {
        VG_WANT(value <= 128);
    }
    call.ctx->limits[limit] = value;
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuCtxGetLimit(size_t *pvalue, CUlimit limit)
{
    VG_ENTER(VG_NEED_CTX);
    VG_WANT(pvalue != NULL && limit >= 0 && limit < CU_LIMIT_MAX);
    *pvalue = call.ctx->limits[limit];
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuCtxGetCacheConfig(CUfunc_cache *pconfig)
{
    VG_ENTER(VG_NEED_CTX);
    VG_WANT(pconfig != NULL);
    *pconfig = call.ctx->cache;
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuCtxSetCacheConfig(CUfunc_cache config)
{
    VG_ENTER(VG_NEED_CTX);
    VG_WANT(config <= CU_FUNC_CACHE_PREFER_EQUAL);
    call.ctx->cache = config;
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuCtxGetStreamPriorityRange(int *leastPriority, int *greatestPriority)
{
    VG_ENTER(VG_NEED_CTX);
    if (leastPriority != NULL) {
        *leastPriority = 0;
    }
    if (greatestPriority != NULL) {
        *greatestPriority = -5;
    }
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuCtxResetPersistingL2Cache(void)
{
    VG_ENTER(VG_NEED_CTX);
    return CUDA_SUCCESS;
}
