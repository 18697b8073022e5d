// SPDX-License-Identifier: Apache-2.0
//
// Memory, copies, memsets, pools: right values, and the driver's errors for wrong arguments.
#include "cu_test.h"

Test(memory, allocation_is_bounded_by_the_device)
{
    setenv("VGPU_MEM", "1M", 1);
    cu_start();
    CUdeviceptr p = 0, q = 0;
    size_t before = 0, during = 0, total = 0;
    OK(cu.cuMemGetInfo(&before, &total));
    cr_assert_eq(total, 1u << 20, "%zu", total);
    FAILS(cu.cuMemAlloc(&p, 0), CUDA_ERROR_INVALID_VALUE);
    FAILS(cu.cuMemAlloc(NULL, 16), CUDA_ERROR_INVALID_VALUE);
    FAILS(cu.cuMemAlloc(&p, (size_t)2 << 20), CUDA_ERROR_OUT_OF_MEMORY);
    OK(cu.cuMemAlloc(&p, 600 << 10));
    cr_assert_eq(p % 512, 0);
    OK(cu.cuMemGetInfo(&during, NULL));
    cr_assert_leq(during, before - (600u << 10));
    FAILS(cu.cuMemAlloc(&q, 600 << 10), CUDA_ERROR_OUT_OF_MEMORY);
    FAILS(cu.cuMemFree(p + 512), CUDA_ERROR_INVALID_VALUE);
    OK(cu.cuMemFree(p));
    OK(cu.cuMemAlloc(&q, 600 << 10));
    cu_clean();
    FAILS(cu.cuMemFree(p), CUDA_ERROR_INVALID_VALUE);
    cu_found("api", "freed before");
}

Test(memory, copies_go_both_ways)
{
    cu_start();
    enum { N = 1000 };
    uint8_t host[N], back[N] = {0};
    for (unsigned i = 0; i < N; i++) {
        host[i] = (uint8_t)(i * 7);
    }
    CUdeviceptr a = 0, b = 0;
    OK(cu.cuMemAlloc(&a, N));
    OK(cu.cuMemAlloc(&b, N));
    OK(cu.cuMemcpyHtoD(a, host, N));
    memset(host, 0, N); // the source was taken at the call
    OK(cu.cuMemcpyDtoD(b, a, N));
    OK(cu.cuMemcpyDtoH(back, b, N));
    for (unsigned i = 0; i < N; i++) {
        cr_assert_eq(back[i], (uint8_t)(i * 7), "byte %u is %u", i, back[i]);
    }
    OK(cu.cuMemcpyHtoD(a, host, 0));
    cu_clean();
    FAILS(cu.cuMemcpyDtoH(back, a, N + 1), CUDA_ERROR_INVALID_VALUE);
    FAILS(cu.cuMemcpyHtoD((CUdeviceptr)(uintptr_t)host, back, N), CUDA_ERROR_INVALID_VALUE);
    FAILS(cu.cuMemcpyDtoH((void *)(uintptr_t)a, b, N), CUDA_ERROR_INVALID_VALUE);
}

Test(memory, memsets_write_every_width)
{
    cu_start();
    CUdeviceptr p = 0;
    uint32_t got[64];
    OK(cu.cuMemAlloc(&p, sizeof got));
    OK(cu.cuMemsetD8(p, 0x11, sizeof got));
    OK(cu.cuMemsetD16(p + 8, 0x2233, 2));
    OK(cu.cuMemsetD32(p + 16, 0x44556677, 2));
    OK(cu.cuMemsetD2D32(p + 64, 32, 0x99, 2, 3));
    OK(cu.cuMemcpyDtoH(got, p, sizeof got));
    cr_assert_eq(got[0], 0x11111111);
    cr_assert_eq(got[2], 0x22332233);
    cr_assert_eq(got[4], 0x44556677);
    cr_assert_eq(got[5], 0x44556677);
    cr_assert_eq(got[16], 0x99);
    cr_assert_eq(got[25], 0x99);
    cr_assert_eq(got[26], 0x11111111);
    cr_assert_eq(got[33], 0x99);
    cu_clean();
    FAILS(cu.cuMemsetD32(p + 2, 0, 1), CUDA_ERROR_INVALID_VALUE);
    FAILS(cu.cuMemsetD8(p, 0, sizeof got + 1), CUDA_ERROR_INVALID_VALUE);
    FAILS(cu.cuMemsetD2D32(p, 6, 0, 2, 2), CUDA_ERROR_INVALID_VALUE);
}

Test(memory, rectangles_are_copied)
{
    cu_start();
    CUdeviceptr p = 0;
    size_t pitch = 0;
    OK(cu.cuMemAllocPitch(&p, &pitch, 100, 8, 4));
    cr_assert_eq(pitch % 512, 0, "%zu", pitch);
    uint8_t host[8][100], back[4][10];
    for (unsigned y = 0; y < 8; y++) {
        for (unsigned x = 0; x < 100; x++) {
            host[y][x] = (uint8_t)(y * 100 + x);
        }
    }
    CUDA_MEMCPY2D c = {.srcMemoryType = CU_MEMORYTYPE_HOST,
                       .srcHost = host,
                       .srcPitch = 100,
                       .dstMemoryType = CU_MEMORYTYPE_DEVICE,
                       .dstDevice = p,
                       .dstPitch = pitch,
                       .WidthInBytes = 100,
                       .Height = 8};
    OK(cu.cuMemcpy2D(&c));
    CUDA_MEMCPY2D d = {.srcMemoryType = CU_MEMORYTYPE_DEVICE,
                       .srcDevice = p,
                       .srcPitch = pitch,
                       .srcXInBytes = 20,
                       .srcY = 3,
                       .dstMemoryType = CU_MEMORYTYPE_HOST,
                       .dstHost = back,
                       .dstPitch = 10,
                       .WidthInBytes = 10,
                       .Height = 4};
    OK(cu.cuMemcpy2D(&d));
    for (unsigned y = 0; y < 4; y++) {
        for (unsigned x = 0; x < 10; x++) {
            cr_assert_eq(back[y][x], host[y + 3][x + 20], "row %u column %u", y, x);
        }
    }
    d.Height = 6; // three rows past the end
    FAILS(cu.cuMemcpy2D(&d), CUDA_ERROR_INVALID_VALUE);
    d.Height = 1;
    d.dstPitch = 5;
    FAILS(cu.cuMemcpy2D(&d), CUDA_ERROR_INVALID_VALUE);
}

Test(memory, pointers_know_what_they_are)
{
    setenv("VGPU_DEVICES", "2", 1);
    CUcontext first = cu_start(), second = NULL;
    OK(cu.cuDevicePrimaryCtxRetain(&second, 1));
    OK(cu.cuCtxPushCurrent(second));
    CUdeviceptr p = 0, base = 0;
    OK(cu.cuMemAlloc(&p, 4096));
    OK(cu.cuCtxPopCurrent(NULL));
    void *pinned = NULL;
    OK(cu.cuMemHostAlloc(&pinned, 4096, CU_MEMHOSTALLOC_PORTABLE));
    int ordinal = -1;
    unsigned type = 0;
    CUcontext ctx = NULL;
    size_t size = 0;
    OK(cu.cuPointerGetAttribute(&ordinal, CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL, p + 5));
    OK(cu.cuPointerGetAttribute(&ctx, CU_POINTER_ATTRIBUTE_CONTEXT, p));
    OK(cu.cuPointerGetAttribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, p));
    OK(cu.cuMemGetAddressRange(&base, &size, p + 100));
    cr_assert(ordinal == 1 && ctx == second && type == CU_MEMORYTYPE_DEVICE && base == p &&
                  size == 4096,
              "device %d type %u size %zu", ordinal, type, size);
    OK(cu.cuPointerGetAttribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE,
                                (CUdeviceptr)(uintptr_t)pinned));
    cr_assert_eq(type, CU_MEMORYTYPE_HOST);
    int local = 0;
    FAILS(cu.cuPointerGetAttribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE,
                                   (CUdeviceptr)(uintptr_t)&local),
          CUDA_ERROR_INVALID_VALUE);
    OK(cu.cuMemFreeHost(pinned));
    FAILS(cu.cuMemFreeHost(pinned), CUDA_ERROR_INVALID_VALUE);
    (void)first;
    cu_clean();
}

Test(memory, host_memory_is_registered_once)
{
    cu_start();
    static uint8_t mine[8192];
    OK(cu.cuMemHostRegister(mine, 4096, 0));
    FAILS(cu.cuMemHostRegister(mine + 100, 10, 0), CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED);
    CUdeviceptr p = 0;
    OK(cu.cuMemHostGetDevicePointer(&p, mine, 0));
    OK(cu.cuMemHostUnregister(mine));
    FAILS(cu.cuMemHostUnregister(mine), CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED);
    FAILS(cu.cuMemHostGetDevicePointer(&p, mine, 0), CUDA_ERROR_INVALID_VALUE);
    cu_clean();
}

Test(memory, a_copy_of_bytes_that_nobody_wrote_is_found)
{
    cu_start();
    CUdeviceptr p = 0;
    uint32_t v[4];
    OK(cu.cuMemAlloc(&p, sizeof v));
    OK(cu.cuMemcpyDtoH(v, p, sizeof v));
    cr_assert_eq(v[0], 0xCBCBCBCBu);
    cu_found("uninitialised", "nothing wrote");
}

Test(memory, stream_ordered_memory_keeps_its_order)
{
    cu_start();
    CUstream a = NULL, b = NULL;
    OK(cu.cuStreamCreate(&a, CU_STREAM_NON_BLOCKING));
    OK(cu.cuStreamCreate(&b, CU_STREAM_NON_BLOCKING));
    CUdeviceptr p = 0;
    OK(cu.cuMemAllocAsync(&p, 1024, a));
    OK(cu.cuMemsetD8Async(p, 1, 1024, a));
    uint64_t used = 0;
    CUmemoryPool pool = NULL;
    OK(cu.cuDeviceGetDefaultMemPool(&pool, 0));
    OK(cu.cuMemPoolGetAttribute(pool, CU_MEMPOOL_ATTR_USED_MEM_CURRENT, &used));
    cr_assert_eq(used, 1024, "%lu", (unsigned long)used);
    OK(cu.cuMemFreeAsync(p, a));
    OK(cu.cuStreamSynchronize(a));
    OK(cu.cuMemPoolGetAttribute(pool, CU_MEMPOOL_ATTR_USED_MEM_CURRENT, &used));
    cr_assert_eq(used, 0);
    cu_clean();
    FAILS(cu.cuMemFreeAsync(p, a), CUDA_ERROR_INVALID_VALUE);
    OK(cu.cuMemAllocAsync(&p, 1024, a));
    OK(cu.cuMemsetD8Async(p, 1, 1024, b)); // nothing says that a is ahead
    cu_found("stream-order", "memory of cuMemAllocAsync");
    cu.vgpu_findings_clear();
    OK(cu.cuMemFreeAsync(p, a)); // b may not be done
    cu_found("stream-order", "cuMemFreeAsync of");
    cu.vgpu_findings_clear();
    OK(cu.cuMemsetD8Async(p, 1, 1024, b));
    cu_found("stream-order", "after cuMemFreeAsync");
}
