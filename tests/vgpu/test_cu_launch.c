// SPDX-License-Identifier: Apache-2.0
//
// Modules and launches: every argument is checked, with the error of the real driver.
#include "cu_test.h"

static CUresult shape(CUfunction f, unsigned gx, unsigned gy, unsigned bx, unsigned by, unsigned bz,
                      unsigned smem, void **params)
{
    return cu.cuLaunchKernel(f, gx, gy, 1, bx, by, bz, smem, NULL, params, NULL);
}

Test(launch, wrong_shapes_are_refused)
{
    setenv("VGPU_ARCH", "a100", 1);
    cu_start();
    struct cu_kernels k = cu_kernels();
    CUdeviceptr p = 0;
    OK(cu.cuMemAlloc(&p, 4096));
    OK(cu.cuMemsetD8(p, 0, 4096));
    unsigned n = 16, v = 1;
    void *params[] = {&p, &n, &v};
    OK(shape(k.add, 1, 1, 32, 1, 1, 0, params));
    static const unsigned bad[][5] = {
        {0, 1, 32, 1, 1}, {1, 1, 0, 1, 1},      {1, 1, 1025, 1, 1},        {1, 1, 32, 33, 1},
        {1, 1, 1, 1, 65}, {1, 65536, 32, 1, 1}, {0x80000000u, 1, 32, 1, 1}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        CUresult r = shape(k.add, bad[i][0], bad[i][1], bad[i][2], bad[i][3], bad[i][4], 0, params);
        cr_assert_eq(r, CUDA_ERROR_INVALID_VALUE, "row %zu: %s", i, cu_name(r));
    }
    OK(shape(k.set, 1, 1, 256, 1, 1, 0, params));
    FAILS(shape(k.set, 1, 1, 257, 1, 1, 0, params), CUDA_ERROR_INVALID_VALUE); // .maxntid 256
    FAILS(shape(k.add, 1, 1, 32, 1, 1, 0, NULL), CUDA_ERROR_INVALID_VALUE);
    void *hole[] = {&p, NULL, &v};
    FAILS(shape(k.add, 1, 1, 32, 1, 1, 0, hole), CUDA_ERROR_INVALID_VALUE);
    FAILS(shape((CUfunction)(void *)&n, 1, 1, 32, 1, 1, 0, params), CUDA_ERROR_INVALID_HANDLE);
    // More than 48 KB of dynamic shared memory has to be asked for, and 163 KB is all there is.
    OK(shape(k.add, 1, 1, 32, 1, 1, 48 << 10, params));
    FAILS(shape(k.add, 1, 1, 32, 1, 1, (48 << 10) + 4, params), CUDA_ERROR_INVALID_VALUE);
    CUfunction_attribute most = CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
    FAILS(cu.cuFuncSetAttribute(k.add, most, (163 << 10) + 1), CUDA_ERROR_INVALID_VALUE);
    OK(cu.cuFuncSetAttribute(k.add, most, 163 << 10));
    OK(shape(k.add, 1, 1, 32, 1, 1, 163 << 10, params));
    OK(cu.cuCtxSynchronize());
    cu_clean();
}

Test(launch, parameters_come_as_a_buffer_too)
{
    cu_start();
    struct cu_kernels k = cu_kernels();
    CUdeviceptr p = 0;
    OK(cu.cuMemAlloc(&p, 64));
    struct {
        CUdeviceptr p;
        unsigned n, v;
    } block = {p, 16, 9};
    size_t size = sizeof block;
    void *extra[] = {CU_LAUNCH_PARAM_BUFFER_POINTER, &block, CU_LAUNCH_PARAM_BUFFER_SIZE, &size,
                     CU_LAUNCH_PARAM_END};
    OK(cu.cuLaunchKernel(k.set, 1, 1, 1, 32, 1, 1, 0, NULL, NULL, extra));
    block.v = 1; // it was copied at the call
    uint32_t got[16];
    OK(cu.cuMemcpyDtoH(got, p, sizeof got));
    cr_assert_eq(got[15], 9, "%u", got[15]);
    size = 8;
    FAILS(cu.cuLaunchKernel(k.set, 1, 1, 1, 32, 1, 1, 0, NULL, NULL, extra),
          CUDA_ERROR_INVALID_VALUE);
    size_t offset = 0, bytes = 0;
    OK(cu.cuFuncGetParamInfo(k.set, 2, &offset, &bytes));
    cr_assert(offset == 12 && bytes == 4, "%zu %zu", offset, bytes);
    FAILS(cu.cuFuncGetParamInfo(k.set, 3, &offset, &bytes), CUDA_ERROR_INVALID_VALUE);
    cu_clean();
}

static CUresult launch_ex(CUfunction f, unsigned grid, const CUlaunchAttribute *attrs, unsigned n,
                          void **params)
{
    CUlaunchConfig c = {.gridDimX = grid,
                        .gridDimY = 1,
                        .gridDimZ = 1,
                        .blockDimX = 32,
                        .blockDimY = 1,
                        .blockDimZ = 1,
                        .attrs = (CUlaunchAttribute *)(uintptr_t)attrs,
                        .numAttrs = n};
    return cu.cuLaunchKernelEx(&c, f, params, NULL);
}

Test(launch, attributes_are_checked)
{
    setenv("VGPU_ARCH", "h100", 1);
    cu_start();
    struct cu_kernels k = cu_kernels();
    CUdeviceptr p = 0;
    OK(cu.cuMemAlloc(&p, 4096));
    unsigned n = 16, v = 1;
    void *params[] = {&p, &n, &v};
    CUlaunchAttribute a = {.id = CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION};
    a.value.clusterDim.x = 2;
    a.value.clusterDim.y = a.value.clusterDim.z = 1;
    OK(launch_ex(k.set, 4, &a, 1, params));
    FAILS(launch_ex(k.set, 5, &a, 1, params), CUDA_ERROR_INVALID_CLUSTER_SIZE);
    a.value.clusterDim.x = 16;
    FAILS(launch_ex(k.set, 32, &a, 1, params), CUDA_ERROR_INVALID_CLUSTER_SIZE);
    OK(cu.cuFuncSetAttribute(k.set, CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED, 1));
    OK(launch_ex(k.set, 32, &a, 1, params));
    CUlaunchAttribute pdl = {.id = CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION};
    pdl.value.programmaticStreamSerializationAllowed = 1;
    OK(launch_ex(k.set, 4, &pdl, 1, params));
    CUlaunchAttribute coop = {.id = CU_LAUNCH_ATTRIBUTE_COOPERATIVE};
    coop.value.cooperative = 1;
    OK(launch_ex(k.set, 132, &coop, 1, params));
    FAILS(launch_ex(k.set, 1 << 20, &coop, 1, params), CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE);
    FAILS(cu.cuLaunchCooperativeKernel(k.set, 1 << 20, 1, 1, 32, 1, 1, 0, NULL, params),
          CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE);
    CUlaunchAttribute sync = {.id = CU_LAUNCH_ATTRIBUTE_SYNCHRONIZATION_POLICY};
    FAILS(launch_ex(k.set, 4, &sync, 1, params), CUDA_ERROR_INVALID_VALUE);
    FAILS(launch_ex(k.set, 4, NULL, 1, params), CUDA_ERROR_INVALID_VALUE);
    OK(cu.cuCtxSynchronize());
    cu_clean();
}

Test(launch, an_a100_has_neither_clusters_nor_pdl)
{
    setenv("VGPU_ARCH", "a100", 1);
    cu_start();
    struct cu_kernels k = cu_kernels();
    CUdeviceptr p = 0;
    unsigned n = 0, v = 1;
    void *params[] = {&p, &n, &v};
    CUlaunchAttribute a = {.id = CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION};
    a.value.clusterDim.x = 2;
    a.value.clusterDim.y = a.value.clusterDim.z = 1;
    FAILS(launch_ex(k.set, 4, &a, 1, params), CUDA_ERROR_INVALID_CLUSTER_SIZE);
    CUlaunchAttribute pdl = {.id = CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION};
    pdl.value.programmaticStreamSerializationAllowed = 1;
    FAILS(launch_ex(k.set, 4, &pdl, 1, params), CUDA_ERROR_NOT_SUPPORTED);
    CUtensorMap map;
    cuuint64_t dim = 64;
    cuuint32_t box = 64, step = 1;
    FAILS(cu.cuTensorMapEncodeTiled(&map, CU_TENSOR_MAP_DATA_TYPE_UINT8, 1, (void *)(uintptr_t)p,
                                    &dim, NULL, &box, &step, CU_TENSOR_MAP_INTERLEAVE_NONE,
                                    CU_TENSOR_MAP_SWIZZLE_NONE, CU_TENSOR_MAP_L2_PROMOTION_NONE,
                                    CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE),
          CUDA_ERROR_NOT_SUPPORTED);
}

Test(launch, images_that_do_not_fit_are_refused)
{
    setenv("VGPU_ARCH", "a100", 1);
    cu_start();
    CUmodule m = NULL;
    FAILS(cu.cuModuleLoadData(&m, "this is no PTX at all, nor anything else"),
          CUDA_ERROR_INVALID_IMAGE);
    FAILS(cu.cuModuleLoadData(&m, NULL), CUDA_ERROR_INVALID_VALUE);
    FAILS(cu.cuModuleLoadData(&m, ".version 8.0\n.target sm_90\n.address_size 64\n"
                                  ".visible .entry k()\n{\n ret;\n}\n"),
          CUDA_ERROR_INVALID_PTX);
    char log[256] = "";
    CUjit_option o[] = {CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES};
    void *values[] = {log, (void *)(uintptr_t)sizeof log};
    FAILS(cu.cuModuleLoadDataEx(&m,
                                ".version 8.0\n.target sm_80\n.address_size 64\n"
                                ".visible .entry k()\n{\n ret;\n",
                                2, o, values),
          CUDA_ERROR_INVALID_PTX);
    cr_assert(strlen(log) > 0, "the log is empty");
    struct cu_kernels k = cu_kernels();
    CUfunction f = NULL;
    FAILS(cu.cuModuleGetFunction(&f, k.module, "nobody"), CUDA_ERROR_NOT_FOUND);
    OK(cu.cuModuleUnload(k.module));
    FAILS(cu.cuModuleGetFunction(&f, k.module, "add"), CUDA_ERROR_INVALID_HANDLE);
    FAILS(cu_launch(k.add, 0, 0, 0, NULL), CUDA_ERROR_INVALID_HANDLE);
}

Test(launch, a_module_unloaded_under_queued_work_is_found)
{
    cu_start();
    struct cu_kernels k = cu_kernels();
    CUdeviceptr p = 0;
    OK(cu.cuMemAlloc(&p, 64));
    OK(cu_launch(k.set, p, 16, 3, NULL));
    OK(cu.cuModuleUnload(k.module));
    cu_found("stream-order", "cuModuleUnload");
}

Test(launch, a_library_serves_every_device)
{
    setenv("VGPU_DEVICES", "2", 1);
    cu_open();
    OK(cu.cuInit(0));
    CUlibrary lib = NULL;
    OK(cu.cuLibraryLoadData(&lib, cu_test_ptx, NULL, NULL, 0, NULL, NULL, 0));
    unsigned n = 0;
    OK(cu.cuLibraryGetKernelCount(&n, lib));
    cr_assert_eq(n, 2, "%u", n);
    CUkernel set = NULL;
    FAILS(cu.cuLibraryGetKernel(&set, lib, "nobody"), CUDA_ERROR_NOT_FOUND);
    OK(cu.cuLibraryGetKernel(&set, lib, "set"));
    for (int d = 0; d < 2; d++) {
        CUcontext ctx = NULL;
        OK(cu.cuDevicePrimaryCtxRetain(&ctx, d));
        OK(cu.cuCtxSetCurrent(ctx));
        CUdeviceptr p = 0;
        uint32_t got[16];
        OK(cu.cuMemAlloc(&p, sizeof got));
        OK(cu_launch((CUfunction)(void *)set, p, 16, 70 + (unsigned)d, NULL));
        OK(cu.cuMemcpyDtoH(got, p, sizeof got));
        cr_assert_eq(got[3], 70 + (unsigned)d, "device %d: %u", d, got[3]);
        CUfunction f = NULL;
        OK(cu.cuKernelGetFunction(&f, set));
        int threads = 0;
        OK(cu.cuFuncGetAttribute(&threads, CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK, f));
        cr_assert_eq(threads, 256, "%d", threads);
    }
    OK(cu.cuLibraryUnload(lib));
    cu_clean();
}

Test(launch, occupancy_follows_threads_and_shared_memory)
{
    setenv("VGPU_ARCH", "h100", 1);
    cu_start();
    struct cu_kernels k = cu_kernels();
    int n = 0, grid = 0, block = 0;
    OK(cu.cuOccupancyMaxActiveBlocksPerMultiprocessor(&n, k.add, 1024, 0));
    cr_assert(n == 1 || n == 2, "%d", n); // 2,048 threads; registers are an estimate
    OK(cu.cuFuncSetAttribute(k.add, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, 100 << 10));
    OK(cu.cuOccupancyMaxActiveBlocksPerMultiprocessor(&n, k.add, 128, 100 << 10));
    cr_assert_eq(n, 2, "%d", n); // 228 KB / (100 + 1)
    OK(cu.cuOccupancyMaxPotentialBlockSize(&grid, &block, k.set, NULL, 0, 0));
    cr_assert(block > 0 && block <= 256 && grid % 132 == 0, "%d %d", grid, block);
    FAILS(cu.cuOccupancyMaxActiveBlocksPerMultiprocessor(&n, k.add, 0, 0),
          CUDA_ERROR_INVALID_VALUE);
    size_t smem = 0;
    OK(cu.cuOccupancyAvailableDynamicSMemPerBlock(&smem, k.add, 2, 128));
    OK(cu.cuOccupancyMaxActiveBlocksPerMultiprocessor(&n, k.add, 128, smem));
    cr_assert_geq(n, 2, "%d with %zu", n, smem);
}
