// SPDX-License-Identifier: Apache-2.0
//
// cu_memset.c - memsets, and the writes and waits of single words in a stream. The synchronous
// memsets of device memory do not wait either, as the real ones do not.
#include "driver.h"

static CUresult fill(CUcontext ctx, CUdeviceptr dst, uint32_t value, unsigned elem, size_t width,
                     size_t height, size_t pitch, bool async, CUstream h)
{
    CUstream s = ctx->legacy;
    CUresult r = async ? vg_stream_find(ctx, h, &s) : vg_capture_check_legacy(ctx, "a memset");
    if (r == CUDA_SUCCESS && !async) {
        r = vg_capture_check_unsafe("a synchronous memset");
    }
    if (r != CUDA_SUCCESS) {
        return r;
    }
    if (width == 0 || height == 0) {
        return CUDA_SUCCESS;
    }
    if (dst % elem != 0 || width > SIZE_MAX / elem || (height > 1 && pitch < width * elem) ||
        (height > 1 && pitch % elem != 0) || height > UINT32_MAX) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    enum vg_place place = vg_place_of(dst, (height - 1) * pitch + width * elem, NULL);
    if (place != VG_PLACE_DEVICE && place != VG_PLACE_PINNED) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    struct vg_work w = {.kind = VG_WORK_FILL,
                        .ctx = ctx,
                        .fill = {.dst = dst,
                                 .value = value,
                                 .elem_bytes = elem,
                                 .width = width,
                                 .height = height,
                                 .pitch = pitch}};
    struct vg_op *op = NULL;
    bool wait = !async && place == VG_PLACE_PINNED;
    r = vg_submit(s, &w, wait ? &op : NULL);
    if (r == CUDA_SUCCESS && wait) {
        r = vg_run_until(ctx, op);
        vg_op_unref(op);
    }
    return r;
}

CUresult CUDAAPI cuMemsetD8_v2(CUdeviceptr dst, unsigned char uc, size_t N)
{
    VG_ENTER(VG_NEED_CTX);
    return fill(call.ctx, dst, uc, 1, N, 1, 0, false, NULL);
}

CUresult CUDAAPI cuMemsetD16_v2(CUdeviceptr dst, unsigned short us, size_t N)
{
    VG_ENTER(VG_NEED_CTX);
    return fill(call.ctx, dst, us, 2, N, 1, 0, false, NULL);
}

CUresult CUDAAPI cuMemsetD32_v2(CUdeviceptr dst, unsigned int ui, size_t N)
{
    VG_ENTER(VG_NEED_CTX);
    return fill(call.ctx, dst, ui, 4, N, 1, 0, false, NULL);
}

CUresult CUDAAPI cuMemsetD2D8_v2(CUdeviceptr dst, size_t pitch, unsigned char uc, size_t Width,
                                 size_t Height)
{
    VG_ENTER(VG_NEED_CTX);
    return fill(call.ctx, dst, uc, 1, Width, Height, pitch, false, NULL);
}

CUresult CUDAAPI cuMemsetD2D16_v2(CUdeviceptr dst, size_t pitch, unsigned short us, size_t Width,
                                  size_t Height)
{
    VG_ENTER(VG_NEED_CTX);
    return fill(call.ctx, dst, us, 2, Width, Height, pitch, false, NULL);
}

CUresult CUDAAPI cuMemsetD2D32_v2(CUdeviceptr dst, size_t pitch, unsigned int ui, size_t Width,
                                  size_t Height)
{
    VG_ENTER(VG_NEED_CTX);
    return fill(call.ctx, dst, ui, 4, Width, Height, pitch, false, NULL);
}

CUresult CUDAAPI cuMemsetD8Async(CUdeviceptr dst, unsigned char uc, size_t N, CUstream hStream)
{
    VG_ENTER(VG_NEED_CTX);
    return fill(call.ctx, dst, uc, 1, N, 1, 0, true, hStream);
}

CUresult CUDAAPI cuMemsetD16Async(CUdeviceptr dst, unsigned short us, size_t N, CUstream hStream)
{
    VG_ENTER(VG_NEED_CTX);
    return fill(call.ctx, dst, us, 2, N, 1, 0, true, hStream);
}

CUresult CUDAAPI cuMemsetD32Async(CUdeviceptr dst, unsigned int ui, size_t N, CUstream hStream)
{
    VG_ENTER(VG_NEED_CTX);
    return fill(call.ctx, dst, ui, 4, N, 1, 0, true, hStream);
}

CUresult CUDAAPI cuMemsetD2D8Async(CUdeviceptr dst, size_t pitch, unsigned char uc, size_t Width,
                                   size_t Height, CUstream hStream)
{
    VG_ENTER(VG_NEED_CTX);
    return fill(call.ctx, dst, uc, 1, Width, Height, pitch, true, hStream);
}

CUresult CUDAAPI cuMemsetD2D16Async(CUdeviceptr dst, size_t pitch, unsigned short us, size_t Width,
                                    size_t Height, CUstream hStream)
{
    VG_ENTER(VG_NEED_CTX);
    return fill(call.ctx, dst, us, 2, Width, Height, pitch, true, hStream);
}

CUresult CUDAAPI cuMemsetD2D32Async(CUdeviceptr dst, size_t pitch, unsigned int ui, size_t Width,
                                    size_t Height, CUstream hStream)
{
    VG_ENTER(VG_NEED_CTX);
    return fill(call.ctx, dst, ui, 4, Width, Height, pitch, true, hStream);
}

// ---- single words ----

static CUresult word(CUcontext ctx, CUstream h, CUdeviceptr addr, uint64_t value, unsigned bytes,
                     unsigned flags, enum vg_work_kind kind)
{
    CUstream s = NULL;
    CUresult r = vg_stream_find(ctx, h, &s);
    if (r != CUDA_SUCCESS) {
        return r;
    }
    enum vg_place place = vg_place_of(addr, bytes, NULL);
    if (addr % bytes != 0 || (place != VG_PLACE_DEVICE && place != VG_PLACE_PINNED)) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    struct vg_work w = {.kind = kind,
                        .ctx = ctx,
                        .value = {.addr = addr, .value = value, .bytes = bytes, .flags = flags}};
    return vg_submit(s, &w, NULL);
}

CUresult CUDAAPI cuStreamWriteValue32_v2(CUstream stream, CUdeviceptr addr, cuuint32_t value,
                                         unsigned int flags)
{
    VG_ENTER(VG_NEED_CTX);
    VG_WANT((flags & ~(unsigned)CU_STREAM_WRITE_VALUE_NO_MEMORY_BARRIER) == 0);
    return word(call.ctx, stream, addr, value, 4, flags, VG_WORK_WRITE_VALUE);
}

CUresult CUDAAPI cuStreamWriteValue64_v2(CUstream stream, CUdeviceptr addr, cuuint64_t value,
                                         unsigned int flags)
{
    VG_ENTER(VG_NEED_CTX);
    VG_WANT((flags & ~(unsigned)CU_STREAM_WRITE_VALUE_NO_MEMORY_BARRIER) == 0);
    return word(call.ctx, stream, addr, value, 8, flags, VG_WORK_WRITE_VALUE);
}

CUresult CUDAAPI cuStreamWaitValue32_v2(CUstream stream, CUdeviceptr addr, cuuint32_t value,
                                        unsigned int flags)
{
    VG_ENTER(VG_NEED_CTX);
    VG_WANT(flags <= CU_STREAM_WAIT_VALUE_NOR);
    return word(call.ctx, stream, addr, value, 4, flags, VG_WORK_WAIT_VALUE);
}

CUresult CUDAAPI cuStreamWaitValue64_v2(CUstream stream, CUdeviceptr addr, cuuint64_t value,
                                        unsigned int flags)
{
    VG_ENTER(VG_NEED_CTX);
    VG_WANT(flags <= CU_STREAM_WAIT_VALUE_NOR);
    return word(call.ctx, stream, addr, value, 8, flags, VG_WORK_WAIT_VALUE);
}
