// SPDX-License-Identifier: Apache-2.0
//
// cu_copy.c - copies. All of them become one kind of work; what differs is when the caller may go
// on:
//
//   from pageable memory   the source is read at the call, the bytes arrive in stream order (also
//                          for the synchronous call: the real one may return before they are there)
//   to pageable memory     the call returns when the bytes are there
//   from and to pinned     asynchronous calls read and write the host late, as the queue is run
//   device to device       never waits
#include <stdlib.h>
#include <string.h>

#include "driver.h"

enum end { END_ANY, END_HOST, END_DEVICE };

struct copy {
    struct vg_copy_work c;
    enum end dst, src; // what the call promised
};

static struct copy linear(uint64_t dst, uint64_t src, size_t bytes, enum end de, enum end se)
{
    return (struct copy){.c = {.dst = dst,
                               .src = src,
                               .width = bytes,
                               .height = 1,
                               .depth = 1,
                               .dst_pitch = bytes,
                               .src_pitch = bytes,
                               .dst_slice = bytes,
                               .src_slice = bytes},
                         .dst = de,
                         .src = se};
}

static CUresult check_end(uint64_t addr, uint64_t bytes, enum end e, enum vg_place *place)
{
    if (addr == 0 || addr + bytes < addr) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    *place = vg_place_of(addr, bytes, NULL);
    bool ok = *place == VG_PLACE_PINNED || (*place == VG_PLACE_DEVICE && e != END_HOST) ||
              (*place == VG_PLACE_PAGEABLE && e != END_DEVICE);
    if (!ok && *place == VG_PLACE_BAD) {
        char where[200];
        vg_mem_describe(addr, where, sizeof where);
        vg_host_finding(VG_API, "a copy of %llu bytes at 0x%llx leaves its allocation: %s",
                        (unsigned long long)bytes, (unsigned long long)addr, where);
    }
    return ok ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

static bool take_snapshot(struct vg_copy_work *c)
{
    size_t n = c->width * c->height * c->depth;
    c->snapshot = malloc(n);
    if (c->snapshot == NULL) {
        return false;
    }
    uint8_t *to = c->snapshot;
    for (uint64_t z = 0; z < c->depth; z++) {
        for (uint64_t y = 0; y < c->height; y++) {
            memcpy(to, (const void *)(uintptr_t)(c->src + z * c->src_slice + y * c->src_pitch),
                   c->width);
            to += c->width;
        }
    }
    return true;
}

// `h` is NULL for the synchronous calls, which go through the legacy stream.
static CUresult submit(CUcontext ctx, struct copy *k, bool async, CUstream h)
{
    struct vg_copy_work *c = &k->c;
    if (c->width == 0 || c->height == 0 || c->depth == 0) {
        return CUDA_SUCCESS;
    }
    CUstream s = ctx->legacy;
    CUresult r = async ? vg_stream_find(ctx, h, &s) : CUDA_SUCCESS;
    if (r == CUDA_SUCCESS) {
        r = check_end(c->dst, vg_copy_dst_extent(c), k->dst, &c->dst_place);
    }
    if (r == CUDA_SUCCESS) {
        r = check_end(c->src, vg_copy_src_extent(c), k->src, &c->src_place);
    }
    if (r != CUDA_SUCCESS) {
        return r;
    }
    bool from_pageable = c->src_place == VG_PLACE_PAGEABLE;
    bool to_pageable = c->dst_place == VG_PLACE_PAGEABLE;
    if (s->capture != NULL && (from_pageable || to_pageable)) {
        vg_capture_break(s, "an asynchronous copy of pageable memory");
        return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    }
    if (!async) {
        r = vg_capture_check_legacy(ctx, "a synchronous copy");
        if (r == CUDA_SUCCESS) {
            r = vg_capture_check_unsafe("a synchronous copy");
        }
        if (r == CUDA_SUCCESS && from_pageable) {
            r = vg_run_stream(s);
        }
        if (r != CUDA_SUCCESS) {
            return r;
        }
    }
    if (from_pageable && !take_snapshot(c)) {
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    struct vg_work w = {.kind = VG_WORK_COPY, .ctx = ctx, .copy = *c};
    bool device_only = c->dst_place == VG_PLACE_DEVICE && c->src_place == VG_PLACE_DEVICE;
    bool wait = to_pageable || (!async && !device_only && !from_pageable);
    struct vg_op *op = NULL;
    r = vg_submit(s, &w, wait ? &op : NULL);
    if (r == CUDA_SUCCESS && wait) {
        r = vg_run_until(ctx, op);
        vg_op_unref(op);
    }
    return r;
}

#define ADDR(p) ((uint64_t)(uintptr_t)(p))

CUresult CUDAAPI cuMemcpyHtoD_v2(CUdeviceptr dstDevice, const void *srcHost, size_t ByteCount)
{
    VG_ENTER(VG_NEED_CTX);
    struct copy k = linear(dstDevice, ADDR(srcHost), ByteCount, END_DEVICE, END_HOST);
    return submit(call.ctx, &k, false, NULL);
}

CUresult CUDAAPI cuMemcpyDtoH_v2(void *dstHost, CUdeviceptr srcDevice, size_t ByteCount)
{
    VG_ENTER(VG_NEED_CTX);
    struct copy k = linear(ADDR(dstHost), srcDevice, ByteCount, END_HOST, END_DEVICE);
    return submit(call.ctx, &k, false, NULL);
}

CUresult CUDAAPI cuMemcpyDtoD_v2(CUdeviceptr dstDevice, CUdeviceptr srcDevice, size_t ByteCount)
{
    VG_ENTER(VG_NEED_CTX);
    struct copy k = linear(dstDevice, srcDevice, ByteCount, END_DEVICE, END_DEVICE);
    return submit(call.ctx, &k, false, NULL);
}

CUresult CUDAAPI cuMemcpy(CUdeviceptr dst, CUdeviceptr src, size_t ByteCount)
{
    VG_ENTER(VG_NEED_CTX);
    struct copy k = linear(dst, src, ByteCount, END_ANY, END_ANY);
    return submit(call.ctx, &k, false, NULL);
}

CUresult CUDAAPI cuMemcpyHtoDAsync_v2(CUdeviceptr dstDevice, const void *srcHost, size_t ByteCount,
                                      CUstream hStream)
{
    VG_ENTER(VG_NEED_CTX);
    struct copy k = linear(dstDevice, ADDR(srcHost), ByteCount, END_DEVICE, END_HOST);
    return submit(call.ctx, &k, true, hStream);
}

CUresult CUDAAPI cuMemcpyDtoHAsync_v2(void *dstHost, CUdeviceptr srcDevice, size_t ByteCount,
                                      CUstream hStream)
{
    VG_ENTER(VG_NEED_CTX);
    struct copy k = linear(ADDR(dstHost), srcDevice, ByteCount, END_HOST, END_DEVICE);
    return submit(call.ctx, &k, true, hStream);
}

CUresult CUDAAPI cuMemcpyDtoDAsync_v2(CUdeviceptr dstDevice, CUdeviceptr srcDevice,
                                      size_t ByteCount, CUstream hStream)
{
    VG_ENTER(VG_NEED_CTX);
    struct copy k = linear(dstDevice, srcDevice, ByteCount, END_DEVICE, END_DEVICE);
    return submit(call.ctx, &k, true, hStream);
}

CUresult CUDAAPI cuMemcpyAsync(CUdeviceptr dst, CUdeviceptr src, size_t ByteCount, CUstream hStream)
{
    VG_ENTER(VG_NEED_CTX);
    struct copy k = linear(dst, src, ByteCount, END_ANY, END_ANY);
    return submit(call.ctx, &k, true, hStream);
}

// ---- between devices ----

static CUresult check_owner(CUdeviceptr p, size_t bytes, CUcontext owner)
{
    int device = -1;
    if (!vg_handle_is(owner, VG_H_CONTEXT) || owner->dead) {
        return CUDA_ERROR_INVALID_CONTEXT;
    }
    if (vg_place_of(p, bytes, &device) != VG_PLACE_DEVICE || device != owner->device) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    return CUDA_SUCCESS;
}

static CUresult peer_copy(CUcontext ctx, CUdeviceptr dst, CUcontext dst_ctx, CUdeviceptr src,
                          CUcontext src_ctx, size_t bytes, bool async, CUstream h)
{
    CUresult r = bytes > 0 ? check_owner(dst, bytes, dst_ctx) : CUDA_SUCCESS;
    if (r == CUDA_SUCCESS && bytes > 0) {
        r = check_owner(src, bytes, src_ctx);
    }
    // The synchronous call is ordered with all work of both sides.
    if (r == CUDA_SUCCESS && bytes > 0 && !async) {
        r = vg_run_context(src_ctx);
        r = r == CUDA_SUCCESS ? vg_run_context(dst_ctx) : r;
    }
    struct copy k = linear(dst, src, bytes, END_DEVICE, END_DEVICE);
    return r == CUDA_SUCCESS ? submit(ctx, &k, async, h) : r;
}

CUresult CUDAAPI cuMemcpyPeer(CUdeviceptr dstDevice, CUcontext dstContext, CUdeviceptr srcDevice,
                              CUcontext srcContext, size_t ByteCount)
{
    VG_ENTER(VG_NEED_CTX);
    return peer_copy(call.ctx, dstDevice, dstContext, srcDevice, srcContext, ByteCount, false,
                     NULL);
}

CUresult CUDAAPI cuMemcpyPeerAsync(CUdeviceptr dstDevice, CUcontext dstContext,
                                   CUdeviceptr srcDevice, CUcontext srcContext, size_t ByteCount,
                                   CUstream hStream)
{
    VG_ENTER(VG_NEED_CTX);
    return peer_copy(call.ctx, dstDevice, dstContext, srcDevice, srcContext, ByteCount, true,
                     hStream);
}

// ---- rectangles ----

struct rect_end {
    CUmemorytype type;
    const void *host;
    CUdeviceptr device;
    size_t x, y, z, pitch, height;
};

static bool rect_end(const struct rect_end *e, size_t width, size_t height, uint64_t *addr,
                     uint64_t *pitch, uint64_t *slice, enum end *promise)
{
    switch (e->type) {
    case CU_MEMORYTYPE_HOST:
        *addr = ADDR(e->host);
        *promise = END_HOST;
        break;
    case CU_MEMORYTYPE_DEVICE:
        *addr = e->device;
        *promise = END_DEVICE;
        break;
    case CU_MEMORYTYPE_UNIFIED:
        *addr = e->device;
        *promise = END_ANY;
        break;
    default:
        return false; // arrays
    }
    *pitch = e->pitch != 0 ? e->pitch : e->x + width;
    uint64_t rows = e->height != 0 ? e->height : e->y + height;
    if (*pitch < e->x + width || rows < e->y + height || *pitch > INT32_MAX || rows > INT32_MAX) {
        return false;
    }
    *slice = *pitch * rows;
    *addr += e->z * *slice + e->y * *pitch + e->x;
    return true;
}

static CUresult rect_copy(CUcontext ctx, const struct rect_end *dst, const struct rect_end *src,
                          size_t width, size_t height, size_t depth, bool async, CUstream h)
{
    struct copy k = {.c = {.width = width, .height = height, .depth = depth}};
    if (width > INT32_MAX || height > INT32_MAX || depth > INT32_MAX ||
        !rect_end(dst, width, height, &k.c.dst, &k.c.dst_pitch, &k.c.dst_slice, &k.dst) ||
        !rect_end(src, width, height, &k.c.src, &k.c.src_pitch, &k.c.src_slice, &k.src)) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    return submit(ctx, &k, async, h);
}

static CUresult copy_2d(CUcontext ctx, const CUDA_MEMCPY2D *p, bool async, CUstream h)
{
    if (p == NULL) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    struct rect_end dst = {p->dstMemoryType, p->dstHost, p->dstDevice, p->dstXInBytes,
                           p->dstY,          0,          p->dstPitch,  0};
    struct rect_end src = {p->srcMemoryType, p->srcHost, p->srcDevice, p->srcXInBytes,
                           p->srcY,          0,          p->srcPitch,  0};
    return rect_copy(ctx, &dst, &src, p->WidthInBytes, p->Height, 1, async, h);
}

CUresult CUDAAPI cuMemcpy2D_v2(const CUDA_MEMCPY2D *pCopy)
{
    VG_ENTER(VG_NEED_CTX);
    return copy_2d(call.ctx, pCopy, false, NULL);
}

CUresult CUDAAPI cuMemcpy2DUnaligned_v2(const CUDA_MEMCPY2D *pCopy)
{
    VG_ENTER(VG_NEED_CTX);
    return copy_2d(call.ctx, pCopy, false, NULL);
}

CUresult CUDAAPI cuMemcpy2DAsync_v2(const CUDA_MEMCPY2D *pCopy, CUstream hStream)
{
    VG_ENTER(VG_NEED_CTX);
    return copy_2d(call.ctx, pCopy, true, hStream);
}

CUresult vg_copy_of_3d(const CUDA_MEMCPY3D *p, struct vg_copy_work *out)
{
    struct rect_end dst = {p->dstMemoryType, p->dstHost, p->dstDevice, p->dstXInBytes,
                           p->dstY,          p->dstZ,    p->dstPitch,  p->dstHeight};
    struct rect_end src = {p->srcMemoryType, p->srcHost, p->srcDevice, p->srcXInBytes,
                           p->srcY,          p->srcZ,    p->srcPitch,  p->srcHeight};
    struct copy k = {.c = {.width = p->WidthInBytes, .height = p->Height, .depth = p->Depth}};
    if (p->srcLOD != 0 || p->dstLOD != 0 || k.c.width > INT32_MAX || k.c.height > INT32_MAX ||
        k.c.depth > INT32_MAX || k.c.width == 0 || k.c.height == 0 || k.c.depth == 0 ||
        !rect_end(&dst, k.c.width, k.c.height, &k.c.dst, &k.c.dst_pitch, &k.c.dst_slice, &k.dst) ||
        !rect_end(&src, k.c.width, k.c.height, &k.c.src, &k.c.src_pitch, &k.c.src_slice, &k.src)) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    CUresult r = check_end(k.c.dst, vg_copy_dst_extent(&k.c), k.dst, &k.c.dst_place);
    if (r == CUDA_SUCCESS) {
        r = check_end(k.c.src, vg_copy_src_extent(&k.c), k.src, &k.c.src_place);
    }
    *out = k.c;
    return r;
}

static CUresult copy_3d(CUcontext ctx, const CUDA_MEMCPY3D *p, bool async, CUstream h)
{
    if (p == NULL || p->srcLOD != 0 || p->dstLOD != 0) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    struct rect_end dst = {p->dstMemoryType, p->dstHost, p->dstDevice, p->dstXInBytes,
                           p->dstY,          p->dstZ,    p->dstPitch,  p->dstHeight};
    struct rect_end src = {p->srcMemoryType, p->srcHost, p->srcDevice, p->srcXInBytes,
                           p->srcY,          p->srcZ,    p->srcPitch,  p->srcHeight};
    return rect_copy(ctx, &dst, &src, p->WidthInBytes, p->Height, p->Depth, async, h);
}

CUresult CUDAAPI cuMemcpy3D_v2(const CUDA_MEMCPY3D *pCopy)
{
    VG_ENTER(VG_NEED_CTX);
    return copy_3d(call.ctx, pCopy, false, NULL);
}

CUresult CUDAAPI cuMemcpy3DAsync_v2(const CUDA_MEMCPY3D *pCopy, CUstream hStream)
{
    VG_ENTER(VG_NEED_CTX);
    return copy_3d(call.ctx, pCopy, true, hStream);
}
