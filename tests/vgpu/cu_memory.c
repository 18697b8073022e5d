// SPDX-License-Identifier: Apache-2.0
//
// cu_memory.c - device and pinned host allocations, and what a pointer is.
#include <stdlib.h>
#include <string.h>

#include "alloc.h"
#include "driver.h"
#include "order.h"

static struct vg_alloc **allocs; // device memory and cuMemHostAlloc
static size_t n_allocs, max_allocs;

struct registered {
    uint64_t base, bytes;
    unsigned flags;
    CUcontext ctx;
    struct registered *next;
};
static struct registered *registry;

// ---- the list of allocations ----

struct vg_alloc *vg_alloc_of(uint64_t addr)
{
    for (size_t i = 0; i < n_allocs; i++) {
        if (addr - allocs[i]->base < allocs[i]->bytes) {
            return allocs[i];
        }
    }
    return NULL;
}

struct vg_alloc *vg_alloc_at(size_t i)
{
    return i < n_allocs ? allocs[i] : NULL;
}

CUresult vg_alloc_new(CUcontext ctx, int device, uint64_t bytes, const char *what,
                      struct vg_alloc **out)
{
    struct vg_alloc *a = calloc(1, sizeof *a);
    if (a == NULL) {
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    if (n_allocs == max_allocs) {
        size_t more = max_allocs ? 2 * max_allocs : 64;
        struct vg_alloc **p = realloc(allocs, more * sizeof *p);
        if (p == NULL) {
            free(a);
            return CUDA_ERROR_OUT_OF_MEMORY;
        }
        allocs = p;
        max_allocs = more;
    }
    static uint64_t ids;
    a->base = vg_mem_alloc(device, bytes, device == VG_HOST_DEVICE ? 4096 : 512, what);
    if (a->base == 0) {
        free(a);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    a->bytes = bytes;
    a->device = device;
    a->ctx = ctx;
    a->id = ++ids;
    allocs[n_allocs++] = a;
    vg_order_forget(a->base, bytes);
    *out = a;
    return CUDA_SUCCESS;
}

void vg_alloc_drop(struct vg_alloc *a)
{
    vg_order_forget(a->base, a->bytes);
    if (a->pool != NULL) {
        a->pool->used -= a->bytes;
    }
    vg_mem_free(a->base);
    for (size_t i = 0; i < n_allocs; i++) {
        if (allocs[i] == a) {
            allocs[i] = allocs[--n_allocs];
            break;
        }
    }
    vg_op_unref(a->alloc_op);
    vg_op_unref(a->free_op);
    free(a);
}

void vg_memory_freed(uint64_t addr)
{
    struct vg_alloc *a = vg_alloc_of(addr);
    if (a != NULL) {
        vg_alloc_drop(a);
    }
}

void vg_memory_close(CUcontext ctx)
{
    for (size_t i = n_allocs; i-- > 0;) {
        if (allocs[i]->ctx == ctx) {
            vg_alloc_drop(allocs[i]);
        }
    }
    for (struct registered **r = &registry; *r != NULL;) {
        struct registered *dead = *r;
        if (dead->ctx == ctx) {
            *r = dead->next;
            free(dead);
        } else {
            r = &dead->next;
        }
    }
}

// ---- what a pointer is ----

bool vg_pinned_find(uint64_t addr, uint64_t *base, uint64_t *bytes, unsigned *flags)
{
    int device = vg_mem_device(addr);
    if (device == VG_HOST_DEVICE) {
        const struct vg_alloc *a = vg_alloc_of(addr);
        if (a != NULL) {
            *base = a->base;
            *bytes = a->bytes;
            *flags = a->flags;
        }
        return a != NULL;
    }
    for (const struct registered *r = registry; device < 0 && r != NULL; r = r->next) {
        if (addr - r->base < r->bytes) {
            *base = r->base;
            *bytes = r->bytes;
            *flags = r->flags;
            return true;
        }
    }
    return false;
}

enum vg_place vg_place_of(uint64_t addr, uint64_t bytes, int *device)
{
    uint64_t base = 0, size = 0;
    unsigned flags = 0;
    int d = vg_mem_device(addr), owner = -1;
    if (d < 0 || d == VG_HOST_DEVICE) {
        if (!vg_pinned_find(addr, &base, &size, &flags)) {
            return d < 0 ? VG_PLACE_PAGEABLE : VG_PLACE_BAD;
        }
        // A range that leaves registered memory is ordinary memory for the driver.
        if (bytes > size || addr - base > size - bytes) {
            return d < 0 ? VG_PLACE_PAGEABLE : VG_PLACE_BAD;
        }
        return VG_PLACE_PINNED;
    }
    if (!vg_mem_find(addr, &base, &size, &owner) || bytes > size || addr - base > size - bytes) {
        return VG_PLACE_BAD;
    }
    if (device != NULL) {
        *device = owner;
    }
    return VG_PLACE_DEVICE;
}

// ---- device memory ----

CUresult CUDAAPI cuMemGetInfo_v2(size_t *free_bytes, size_t *total)
{
    VG_ENTER(VG_NEED_CTX);
    uint64_t f = 0, t = 0;
    vg_mem_info(call.ctx->device, &f, &t);
    if (free_bytes != NULL) {
        *free_bytes = f;
    }
    if (total != NULL) {
        *total = t;
    }
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuMemAlloc_v2(CUdeviceptr *dptr, size_t bytesize)
{
    VG_ENTER(VG_NEED_CTX | VG_UNSAFE);
    VG_WANT(dptr != NULL && bytesize > 0);
    struct vg_alloc *a = NULL;
    CUresult r = vg_alloc_new(call.ctx, call.ctx->device, bytesize, "cuMemAlloc", &a);
    if (r == CUDA_SUCCESS) {
        *dptr = a->base;
    }
    return r;
}

CUresult CUDAAPI cuMemAllocPitch_v2(CUdeviceptr *dptr, size_t *pPitch, size_t WidthInBytes,
                                    size_t Height, unsigned int ElementSizeBytes)
{
    VG_ENTER(VG_NEED_CTX | VG_UNSAFE);
    VG_WANT(dptr != NULL && pPitch != NULL && WidthInBytes > 0 && Height > 0);
    VG_WANT(ElementSizeBytes == 4 || ElementSizeBytes == 8 || ElementSizeBytes == 16);
    size_t pitch = (WidthInBytes + 511) / 512 * 512;
    VG_WANT(pitch >= WidthInBytes && Height <= SIZE_MAX / pitch);
    struct vg_alloc *a = NULL;
    CUresult r = vg_alloc_new(call.ctx, call.ctx->device, pitch * Height, "cuMemAllocPitch", &a);
    if (r == CUDA_SUCCESS) {
        *dptr = a->base;
        *pPitch = pitch;
    }
    return r;
}

// The real call waits for the device. Work that still uses the memory is a mistake all the same:
// the wait is nowhere promised, and gone with cuMemFreeAsync.
static void check_queued_uses(const struct vg_alloc *a, const char *name)
{
    for (struct vg_op *o = vg_pending(); o != NULL; o = o->next) {
        bool writes = false;
        if (vg_work_touches(&o->work, a->base, a->bytes, &writes)) {
            vg_host_finding(VG_STREAM_ORDER,
                            "%s of %llu bytes at 0x%llx while %s in stream %u that uses them is "
                            "still queued",
                            name, (unsigned long long)a->bytes, (unsigned long long)a->base,
                            vg_work_name(&o->work), o->stream_id);
            return;
        }
    }
}

CUresult CUDAAPI cuMemFree_v2(CUdeviceptr dptr)
{
    VG_ENTER(VG_NEED_CTX | VG_UNSAFE);
    struct vg_alloc *a = vg_alloc_of(dptr);
    if (a == NULL || a->base != dptr || a->device == VG_HOST_DEVICE || a->graph != NULL) {
        if (vg_mem_was_freed(dptr)) {
            vg_host_finding(VG_API, "cuMemFree of 0x%llx, which was freed before",
                            (unsigned long long)dptr);
        }
        return CUDA_ERROR_INVALID_VALUE;
    }
    if (a->free_op != NULL) {
        vg_host_finding(VG_API, "cuMemFree of 0x%llx after cuMemFreeAsync of it",
                        (unsigned long long)dptr);
        return CUDA_ERROR_INVALID_VALUE;
    }
    check_queued_uses(a, "cuMemFree");
    CUresult r = vg_run_context(call.ctx);
    a = vg_alloc_of(dptr); // another thread may have been there
    if (a != NULL) {
        vg_alloc_drop(a);
    }
    return r;
}

CUresult CUDAAPI cuMemGetAddressRange_v2(CUdeviceptr *pbase, size_t *psize, CUdeviceptr dptr)
{
    VG_ENTER(VG_NEED_CTX);
    uint64_t base = 0, bytes = 0;
    int device = 0;
    if (!vg_mem_find(dptr, &base, &bytes, &device)) {
        return CUDA_ERROR_NOT_FOUND;
    }
    if (pbase != NULL) {
        *pbase = base;
    }
    if (psize != NULL) {
        *psize = bytes;
    }
    return CUDA_SUCCESS;
}

// ---- pinned host memory ----

static CUresult host_alloc(CUcontext ctx, void **pp, size_t bytes, unsigned flags, const char *what)
{
    struct vg_alloc *a = NULL;
    CUresult r = vg_alloc_new(ctx, VG_HOST_DEVICE, bytes, what, &a);
    if (r == CUDA_SUCCESS) {
        a->flags = flags;
        // The host writes without the shadow's knowledge.
        vg_mem_mark_init(a->base, bytes);
        *pp = (void *)(uintptr_t)a->base;
    }
    return r;
}

CUresult CUDAAPI cuMemHostAlloc(void **pp, size_t bytesize, unsigned int Flags)
{
    VG_ENTER(VG_NEED_CTX | VG_UNSAFE);
    VG_WANT(pp != NULL && bytesize > 0 && Flags < 8);
    return host_alloc(call.ctx, pp, bytesize, Flags, "cuMemHostAlloc");
}

CUresult CUDAAPI cuMemAllocHost_v2(void **pp, size_t bytesize)
{
    VG_ENTER(VG_NEED_CTX | VG_UNSAFE);
    VG_WANT(pp != NULL && bytesize > 0);
    return host_alloc(call.ctx, pp, bytesize, 0, "cuMemAllocHost");
}

CUresult CUDAAPI cuMemFreeHost(void *p)
{
    VG_ENTER(VG_NEED_CTX | VG_UNSAFE);
    struct vg_alloc *a = vg_alloc_of((uint64_t)(uintptr_t)p);
    if (a == NULL || a->base != (uint64_t)(uintptr_t)p || a->device != VG_HOST_DEVICE) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    check_queued_uses(a, "cuMemFreeHost");
    CUresult r = vg_run_context(call.ctx);
    a = vg_alloc_of((uint64_t)(uintptr_t)p);
    if (a != NULL) {
        vg_alloc_drop(a);
    }
    return r;
}

CUresult CUDAAPI cuMemHostGetDevicePointer_v2(CUdeviceptr *pdptr, void *p, unsigned int Flags)
{
    VG_ENTER(VG_NEED_CTX);
    VG_WANT(pdptr != NULL && p != NULL && Flags == 0);
    if (vg_place_of((uint64_t)(uintptr_t)p, 1, NULL) != VG_PLACE_PINNED) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    *pdptr = (CUdeviceptr)(uintptr_t)p;
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuMemHostGetFlags(unsigned int *pFlags, void *p)
{
    VG_ENTER(VG_NEED_CTX);
    VG_WANT(pFlags != NULL);
    const struct vg_alloc *a = vg_alloc_of((uint64_t)(uintptr_t)p);
    VG_WANT(a != NULL && a->device == VG_HOST_DEVICE);
    *pFlags = a->flags | CU_MEMHOSTALLOC_DEVICEMAP; // what unified addressing makes of it
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuMemHostRegister_v2(void *p, size_t bytesize, unsigned int Flags)
{
    VG_ENTER(VG_NEED_CTX | VG_UNSAFE);
    VG_WANT(p != NULL && bytesize > 0 && Flags < 16);
    if ((Flags & CU_MEMHOSTREGISTER_IOMEMORY) != 0) {
        return CUDA_ERROR_NOT_SUPPORTED;
    }
    uint64_t base = (uint64_t)(uintptr_t)p;
    VG_WANT(vg_mem_device(base) < 0 && base + bytesize > base);
    for (const struct registered *r = registry; r != NULL; r = r->next) {
        if (base < r->base + r->bytes && r->base < base + bytesize) {
            return CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED;
        }
    }
    struct registered *r = malloc(sizeof *r);
    if (r == NULL) {
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    *r = (struct registered){base, bytesize, Flags, call.ctx, registry};
    registry = r;
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuMemHostUnregister(void *p)
{
    VG_ENTER(VG_NEED_CTX | VG_UNSAFE);
    VG_WANT(p != NULL);
    for (struct registered **at = &registry; *at != NULL; at = &(*at)->next) {
        struct registered *r = *at;
        if (r->base != (uint64_t)(uintptr_t)p) {
            continue;
        }
        struct vg_alloc as = {.base = r->base, .bytes = r->bytes};
        check_queued_uses(&as, "cuMemHostUnregister");
        *at = r->next;
        free(r);
        return vg_run_context(call.ctx);
    }
    return CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED;
}

// ---- pointer attributes ----

static CUresult attribute(void *data, CUpointer_attribute attr, CUdeviceptr ptr)
{
    int device = -1;
    enum vg_place place = vg_place_of(ptr, 1, &device);
    if (place == VG_PLACE_PAGEABLE || place == VG_PLACE_BAD) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    uint64_t base = 0, bytes = 0;
    unsigned flags = 0;
    if (place == VG_PLACE_DEVICE) {
        vg_mem_find(ptr, &base, &bytes, &device);
    } else {
        vg_pinned_find(ptr, &base, &bytes, &flags);
    }
    const struct vg_alloc *a = vg_alloc_of(ptr);
    CUcontext ctx = a != NULL ? a->ctx : device >= 0 ? vg_driver.device[device].primary : NULL;
    switch (attr) {
    case CU_POINTER_ATTRIBUTE_CONTEXT:
        memcpy(data, &ctx, sizeof ctx);
        return ctx != NULL && (a == NULL || a->pool == NULL) ? CUDA_SUCCESS
                                                             : CUDA_ERROR_INVALID_VALUE;
    case CU_POINTER_ATTRIBUTE_MEMORY_TYPE:
        *(unsigned *)data = place == VG_PLACE_DEVICE ? CU_MEMORYTYPE_DEVICE : CU_MEMORYTYPE_HOST;
        return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_DEVICE_POINTER:
        memcpy(data, &ptr, sizeof ptr);
        return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_HOST_POINTER:
        if (place == VG_PLACE_DEVICE) {
            return CUDA_ERROR_INVALID_VALUE;
        }
        memcpy(data, &ptr, sizeof ptr);
        return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_BUFFER_ID:
        *(unsigned long long *)data = a != NULL ? a->id : base;
        return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_SYNC_MEMOPS:
    case CU_POINTER_ATTRIBUTE_IS_MANAGED:
    case CU_POINTER_ATTRIBUTE_IS_LEGACY_CUDA_IPC_CAPABLE:
    case CU_POINTER_ATTRIBUTE_IS_GPU_DIRECT_RDMA_CAPABLE:
        *(unsigned *)data = 0;
        return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL:
        *(int *)data = place == VG_PLACE_DEVICE ? device : a != NULL ? a->ctx->device : 0;
        return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_RANGE_START_ADDR:
        memcpy(data, &base, sizeof base);
        return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_RANGE_SIZE:
        *(size_t *)data = bytes;
        return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_MAPPED:
        *(unsigned *)data = 1;
        return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_ALLOWED_HANDLE_TYPES:
        *(unsigned long long *)data = 0;
        return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_ACCESS_FLAGS:
        *(unsigned *)data = CU_POINTER_ATTRIBUTE_ACCESS_FLAG_READWRITE;
        return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_MEMPOOL_HANDLE: {
        CUmemoryPool pool = a != NULL ? a->pool : NULL;
        memcpy(data, &pool, sizeof pool);
        return CUDA_SUCCESS;
    }
    default:
        return CUDA_ERROR_INVALID_VALUE;
    }
}

CUresult CUDAAPI cuPointerGetAttribute(void *data, CUpointer_attribute attr, CUdeviceptr ptr)
{
    VG_ENTER(VG_NEED_CTX);
    VG_WANT(data != NULL);
    return attribute(data, attr, ptr);
}

CUresult CUDAAPI cuPointerGetAttributes(unsigned int numAttributes, CUpointer_attribute *attributes,
                                        void **data, CUdeviceptr ptr)
{
    VG_ENTER(VG_NEED_CTX);
    VG_WANT(attributes != NULL && data != NULL && numAttributes > 0);
    for (unsigned i = 0; i < numAttributes; i++) {
        VG_WANT(data[i] != NULL);
        // Unknown pointers are no error here: the values are null.
        if (attribute(data[i], attributes[i], ptr) != CUDA_SUCCESS) {
            bool wide = attributes[i] == CU_POINTER_ATTRIBUTE_CONTEXT ||
                        attributes[i] == CU_POINTER_ATTRIBUTE_DEVICE_POINTER ||
                        attributes[i] == CU_POINTER_ATTRIBUTE_HOST_POINTER ||
                        attributes[i] == CU_POINTER_ATTRIBUTE_RANGE_START_ADDR ||
                        attributes[i] == CU_POINTER_ATTRIBUTE_RANGE_SIZE ||
                        attributes[i] == CU_POINTER_ATTRIBUTE_MEMPOOL_HANDLE;
            int unknown = attributes[i] == CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL ? -2 : 0;
            if (wide) {
                memset(data[i], 0, 8);
            } else {
                memcpy(data[i], &unknown, sizeof unknown);
            }
        }
    }
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuPointerSetAttribute(const void *value, CUpointer_attribute attr, CUdeviceptr ptr)
{
    VG_ENTER(VG_NEED_CTX);
    VG_WANT(value != NULL && attr == CU_POINTER_ATTRIBUTE_SYNC_MEMOPS);
    VG_WANT(vg_place_of(ptr, 1, NULL) == VG_PLACE_DEVICE);
    return CUDA_SUCCESS;
}
