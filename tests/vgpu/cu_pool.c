// SPDX-License-Identifier: Apache-2.0
//
// cu_pool.c - stream-ordered memory. The address is there at the call; using it before the
// allocation's place in the order, or after the free's, is a finding.
#include <string.h>

#include "alloc.h"
#include "driver.h"
#include "graph.h"
#include "order.h"

static CUresult alloc_async(CUcontext ctx, CUdeviceptr *dptr, size_t bytes, CUmemoryPool pool,
                            CUstream h)
{
    CUstream s = NULL;
    CUresult r = vg_stream_find(ctx, h, &s);
    if (r != CUDA_SUCCESS) {
        return r;
    }
    if (dptr == NULL || bytes == 0) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    struct vg_alloc *a = NULL;
    r = vg_alloc_new(ctx, pool->device, bytes, "cuMemAllocAsync", &a);
    if (r != CUDA_SUCCESS) {
        return r;
    }
    uint64_t base = a->base;
    a->graph = s->capture != NULL ? s->capture->graph : NULL;
    a->pool = a->graph == NULL ? pool : NULL;
    if (a->pool != NULL) {
        pool->used += bytes;
        pool->used_high = pool->used > pool->used_high ? pool->used : pool->used_high;
        pool->reserved_high = pool->used_high;
    }
    struct vg_work w = {.kind = VG_WORK_ALLOC, .ctx = ctx, .mem = {.addr = base, .bytes = bytes}};
    struct vg_op *op = NULL;
    r = vg_submit(s, &w, &op);
    if (r != CUDA_SUCCESS) {
        vg_alloc_drop(a);
        return r;
    }
    a->alloc_op = op;
    *dptr = base;
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuMemAllocAsync(CUdeviceptr *dptr, size_t bytesize, CUstream hStream)
{
    VG_ENTER(VG_NEED_CTX);
    return alloc_async(call.ctx, dptr, bytesize, vg_context_device(call.ctx)->pool, hStream);
}

CUresult CUDAAPI cuMemAllocFromPoolAsync(CUdeviceptr *dptr, size_t bytesize, CUmemoryPool pool,
                                         CUstream hStream)
{
    VG_ENTER(VG_NEED_CTX);
    VG_WANT(vg_handle_is(pool, VG_H_POOL));
    return alloc_async(call.ctx, dptr, bytesize, pool, hStream);
}

CUresult CUDAAPI cuMemFreeAsync(CUdeviceptr dptr, CUstream hStream)
{
    VG_ENTER(VG_NEED_CTX);
    CUstream s = NULL;
    CUresult r = vg_stream_find(call.ctx, hStream, &s);
    if (r != CUDA_SUCCESS) {
        return r;
    }
    struct vg_alloc *a = vg_alloc_of(dptr);
    if (a == NULL || a->base != dptr || a->device == VG_HOST_DEVICE) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    if (a->free_op != NULL) {
        vg_host_finding(VG_API, "cuMemFreeAsync of 0x%llx, which was freed before",
                        (unsigned long long)dptr);
        return CUDA_ERROR_INVALID_VALUE;
    }
    if (s->capture != NULL) {
        VG_WANT(a->graph == s->capture->graph);
        // The address belongs to the graph and comes back at its next launch: what a free node
        // does is to destroy the bytes.
        struct vg_work w = {.kind = VG_WORK_FILL,
                            .ctx = call.ctx,
                            .fill = {.dst = dptr,
                                     .value = VG_FRESH_BYTE,
                                     .elem_bytes = 1,
                                     .width = a->bytes,
                                     .height = 1}};
        return vg_submit(s, &w, NULL);
    }
    VG_WANT(a->graph == NULL);
    struct vg_work w = {
        .kind = VG_WORK_FREE, .ctx = call.ctx, .mem = {.addr = dptr, .bytes = a->bytes}};
    uint64_t bytes = a->bytes;
    struct vg_op *op = NULL;
    r = vg_submit(s, &w, &op);
    if (r != CUDA_SUCCESS) {
        return r;
    }
    a->free_op = op;
    for (struct vg_op *o = vg_pending(); o != NULL; o = o->next) {
        bool writes = false;
        if (o != op && vg_work_touches(&o->work, dptr, bytes, &writes) && !vg_op_ordered(o, op)) {
            vg_host_finding(VG_STREAM_ORDER,
                            "cuMemFreeAsync of 0x%llx in stream %u while %s in stream %u uses it, "
                            "and nothing orders them",
                            (unsigned long long)dptr, s->id, vg_work_name(&o->work), o->stream_id);
            break;
        }
    }
    return CUDA_SUCCESS;
}

// Called for every operation that is submitted.
void vg_pool_submitted(struct vg_op *op)
{
    struct vg_alloc *a;
    for (size_t i = 0; (a = vg_alloc_at(i)) != NULL; i++) {
        bool writes = false;
        if ((a->alloc_op == NULL && a->free_op == NULL) || a->graph != NULL ||
            !vg_work_touches(&op->work, a->base, a->bytes, &writes)) {
            continue;
        }
        if (a->free_op != NULL) {
            vg_host_finding(VG_STREAM_ORDER,
                            "%s in stream %u uses 0x%llx after cuMemFreeAsync of it",
                            vg_work_name(&op->work), op->stream_id, (unsigned long long)a->base);
        } else if (!vg_op_ordered(a->alloc_op, op)) {
            vg_host_finding(VG_STREAM_ORDER,
                            "%s in stream %u uses memory of cuMemAllocAsync in stream %u and "
                            "nothing orders them",
                            vg_work_name(&op->work), op->stream_id, a->alloc_op->stream_id);
        }
    }
}

// ---- pools ----

CUresult CUDAAPI cuMemPoolCreate(CUmemoryPool *pool, const CUmemPoolProps *poolProps)
{
    VG_ENTER(VG_NEED_INIT);
    VG_WANT(pool != NULL && poolProps != NULL);
    VG_WANT(poolProps->allocType == CU_MEM_ALLOCATION_TYPE_PINNED &&
            poolProps->location.type == CU_MEM_LOCATION_TYPE_DEVICE);
    if (poolProps->handleTypes != CU_MEM_HANDLE_TYPE_NONE) {
        return CUDA_ERROR_NOT_SUPPORTED;
    }
    if (poolProps->location.id < 0 || poolProps->location.id >= vg_driver.n_devices) {
        return CUDA_ERROR_INVALID_DEVICE;
    }
    CUmemoryPool p = vg_handle_new(VG_H_POOL, sizeof *p);
    if (p == NULL) {
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    p->device = poolProps->location.id;
    p->access = 1u << p->device;
    p->follow[0] = p->follow[1] = p->follow[2] = 1;
    p->max_bytes = poolProps->maxSize;
    *pool = p;
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuMemPoolDestroy(CUmemoryPool pool)
{
    VG_ENTER(VG_NEED_INIT);
    VG_WANT(vg_handle_is(pool, VG_H_POOL) && !pool->is_default);
    struct vg_device *d = &vg_driver.device[pool->device];
    if (d->pool == pool) {
        d->pool = d->default_pool;
    }
    vg_handle_kill(pool);
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuMemPoolTrimTo(CUmemoryPool pool, size_t minBytesToKeep)
{
    VG_ENTER(VG_NEED_INIT);
    (void)minBytesToKeep; // nothing is kept back
    VG_WANT(vg_handle_is(pool, VG_H_POOL));
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuMemPoolSetAttribute(CUmemoryPool pool, CUmemPool_attribute attr, void *value)
{
    VG_ENTER(VG_NEED_INIT);
    VG_WANT(vg_handle_is(pool, VG_H_POOL) && value != NULL);
    switch (attr) {
    case CU_MEMPOOL_ATTR_REUSE_FOLLOW_EVENT_DEPENDENCIES:
    case CU_MEMPOOL_ATTR_REUSE_ALLOW_OPPORTUNISTIC:
    case CU_MEMPOOL_ATTR_REUSE_ALLOW_INTERNAL_DEPENDENCIES:
        pool->follow[attr - CU_MEMPOOL_ATTR_REUSE_FOLLOW_EVENT_DEPENDENCIES] = *(int *)value != 0;
        return CUDA_SUCCESS;
    case CU_MEMPOOL_ATTR_RELEASE_THRESHOLD:
        memcpy(&pool->threshold, value, 8);
        return CUDA_SUCCESS;
    case CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH:
    case CU_MEMPOOL_ATTR_USED_MEM_HIGH: {
        uint64_t zero = 1;
        memcpy(&zero, value, 8);
        VG_WANT(zero == 0); // they can only be reset
        pool->used_high = pool->reserved_high = pool->used;
        return CUDA_SUCCESS;
    }
    default:
        return CUDA_ERROR_INVALID_VALUE;
    }
}

CUresult CUDAAPI cuMemPoolGetAttribute(CUmemoryPool pool, CUmemPool_attribute attr, void *value)
{
    VG_ENTER(VG_NEED_INIT);
    VG_WANT(vg_handle_is(pool, VG_H_POOL) && value != NULL);
    uint64_t v = 0;
    switch (attr) {
    case CU_MEMPOOL_ATTR_REUSE_FOLLOW_EVENT_DEPENDENCIES:
    case CU_MEMPOOL_ATTR_REUSE_ALLOW_OPPORTUNISTIC:
    case CU_MEMPOOL_ATTR_REUSE_ALLOW_INTERNAL_DEPENDENCIES:
        *(int *)value = pool->follow[attr - CU_MEMPOOL_ATTR_REUSE_FOLLOW_EVENT_DEPENDENCIES];
        return CUDA_SUCCESS;
    case CU_MEMPOOL_ATTR_RELEASE_THRESHOLD:
        v = pool->threshold;
        break;
    case CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT:
    case CU_MEMPOOL_ATTR_USED_MEM_CURRENT:
        v = pool->used;
        break;
    case CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH:
        v = pool->reserved_high;
        break;
    case CU_MEMPOOL_ATTR_USED_MEM_HIGH:
        v = pool->used_high;
        break;
    default:
        return CUDA_ERROR_INVALID_VALUE;
    }
    memcpy(value, &v, sizeof v);
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuMemPoolSetAccess(CUmemoryPool pool, const CUmemAccessDesc *map, size_t count)
{
    VG_ENTER(VG_NEED_INIT);
    VG_WANT(vg_handle_is(pool, VG_H_POOL) && map != NULL && count > 0);
    for (size_t i = 0; i < count; i++) {
        int d = map[i].location.id;
        if (map[i].location.type != CU_MEM_LOCATION_TYPE_DEVICE || d < 0 ||
            d >= vg_driver.n_devices) {
            return CUDA_ERROR_INVALID_DEVICE;
        }
        if (map[i].flags == CU_MEM_ACCESS_FLAGS_PROT_READWRITE) {
            pool->access |= 1u << d;
        } else {
            VG_WANT(d != pool->device);
            pool->access &= ~(1u << d);
        }
    }
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuMemPoolGetAccess(CUmemAccess_flags *flags, CUmemoryPool memPool,
                                    CUmemLocation *location)
{
    VG_ENTER(VG_NEED_INIT);
    VG_WANT(vg_handle_is(memPool, VG_H_POOL) && flags != NULL && location != NULL);
    VG_WANT(location->type == CU_MEM_LOCATION_TYPE_DEVICE && location->id >= 0 &&
            location->id < vg_driver.n_devices);
    *flags = (memPool->access >> location->id & 1) != 0 ? CU_MEM_ACCESS_FLAGS_PROT_READWRITE
                                                        : CU_MEM_ACCESS_FLAGS_PROT_NONE;
    return CUDA_SUCCESS;
}
