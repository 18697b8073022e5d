// SPDX-License-Identifier: Apache-2.0
//
// Registers, stack and occupancy: what the driver says of a kernel whose machine code came with its
// PTX is what `ptxas -v` said when it was compiled, and what cuda_occupancy.h makes of that.
#include <cuda_occupancy.h>

#include "cu_test.h"

struct said {
    int regs, stack, smem;
};

// What ptxas printed about a kernel for an architecture.
static struct said ptxas(const char *kernel, const char *arch)
{
    char want[200], line[500];
    snprintf(want, sizeof want, "'%s' for '%s'", kernel, arch);
    FILE *f = fopen(VG_REAL_DIR "/usage.txt", "r");
    CHECK(f != NULL, "no usage.txt");
    struct said s = {-1, -1, 0};
    bool mine = false;
    while (fgets(line, sizeof line, f) != NULL) {
        if (strstr(line, "Compiling entry function") != NULL) {
            mine = strstr(line, want) != NULL;
        }
        const char *used = strstr(line, "Used "), *frame = strstr(line, " bytes stack frame");
        const char *smem = strstr(line, " bytes smem");
        if (mine && frame != NULL) {
            s.stack = atoi(line + strspn(line, " "));
        }
        if (mine && used != NULL) {
            s.regs = atoi(used + 5);
            while (smem != NULL && smem > line && smem[-1] >= '0' && smem[-1] <= '9') {
                smem--;
            }
            s.smem = smem != NULL ? atoi(smem) : 0;
        }
    }
    fclose(f);
    CHECK(s.regs > 0 && s.stack >= 0, "%s is not in usage.txt", want);
    return s;
}

static int attribute(CUfunction f, CUfunction_attribute a)
{
    int v = -1;
    OK(cu.cuFuncGetAttribute(&v, a, f));
    return v;
}

static int device_attribute(CUdevice_attribute a)
{
    int v = -1;
    OK(cu.cuDeviceGetAttribute(&v, a, 0));
    return v;
}

static int toolkit_occupancy(CUfunction f, int threads, int dynamic_smem)
{
    struct cudaOccDeviceProp p = {
        .computeMajor = device_attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR),
        .computeMinor = device_attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR),
        .maxThreadsPerBlock = 1024,
        .maxThreadsPerMultiprocessor = 2048,
        .regsPerBlock = 65536,
        .regsPerMultiprocessor = 65536,
        .warpSize = 32,
        .sharedMemPerBlock = 49152,
        .sharedMemPerMultiprocessor =
            (size_t)device_attribute(CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR),
        .numSms = device_attribute(CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT),
        .sharedMemPerBlockOptin =
            (size_t)device_attribute(CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN),
        .reservedSharedMemPerBlock = 1024,
    };
    struct cudaOccFuncAttributes a = {
        .maxThreadsPerBlock = attribute(f, CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK),
        .numRegs = attribute(f, CU_FUNC_ATTRIBUTE_NUM_REGS),
        .sharedSizeBytes = (size_t)attribute(f, CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES),
        .partitionedGCConfig = PARTITIONED_GC_OFF,
        .shmemLimitConfig = FUNC_SHMEM_LIMIT_OPTIN,
        .maxDynamicSharedSizeBytes = 200 << 10,
        .numBlockBarriers = 1,
    };
    struct cudaOccDeviceState state = {.cacheConfig = CACHE_PREFER_NONE,
                                       .carveoutConfig = SHAREDMEM_CARVEOUT_MAX_SHARED};
    struct cudaOccResult r;
    CHECK(cudaOccMaxActiveBlocksPerMultiprocessor(&r, &p, &a, &state, threads,
                                                  (size_t)dynamic_smem) == CUDA_OCC_SUCCESS,
          "cuda_occupancy.h refuses %d threads", threads);
    return r.activeBlocksPerMultiprocessor;
}

static void check(const char *chip, const char *arch)
{
    static const char *const kernel[] = {"many", "stack", "few", "full"};
    setenv("VGPU_ARCH", chip, 1);
    cu_start();
    CUmodule m = NULL;
    CUlibrary lib = NULL;
    OK(cu.cuModuleLoad(&m, VG_REAL_DIR "/usage.fatbin"));
    static char image[1 << 20];
    FILE *file = fopen(VG_REAL_DIR "/usage.fatbin", "rb");
    CHECK(file != NULL && fread(image, 1, sizeof image, file) > 64, "no usage.fatbin");
    fclose(file);
    OK(cu.cuLibraryLoadData(&lib, image, NULL, NULL, 0, NULL, NULL, 0));
    for (size_t i = 0; i < sizeof kernel / sizeof kernel[0]; i++) {
        CUfunction f = NULL;
        CUkernel k = NULL;
        OK(cu.cuModuleGetFunction(&f, m, kernel[i]));
        OK(cu.cuLibraryGetKernel(&k, lib, kernel[i]));
        struct said s = ptxas(kernel[i], arch);
        int regs = attribute(f, CU_FUNC_ATTRIBUTE_NUM_REGS), from_library = -1;
        cr_expect_eq(regs, s.regs, "%s on %s: %d registers, ptxas: %d", kernel[i], arch, regs,
                     s.regs);
        OK(cu.cuKernelGetAttribute(&from_library, CU_FUNC_ATTRIBUTE_NUM_REGS, k, 0));
        cr_expect_eq(from_library, s.regs, "%s of the library: %d registers", kernel[i],
                     from_library);
        int stack = attribute(f, CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES);
        cr_expect_eq(stack, s.stack, "%s on %s: %d bytes of stack, ptxas: %d", kernel[i], arch,
                     stack, s.stack);
        int smem = attribute(f, CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES);
        cr_expect_eq(smem, s.smem, "%s on %s: %d bytes shared, ptxas: %d", kernel[i], arch, smem,
                     s.smem);
        int most = attribute(f, CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK);
        for (int threads = 1; threads <= most; threads += threads < 64 ? 9 : 37) {
            for (int dynamic = 0; dynamic <= 96 << 10; dynamic += 8191) {
                int got = -1, want = toolkit_occupancy(f, threads, dynamic);
                OK(cu.cuOccupancyMaxActiveBlocksPerMultiprocessor(&got, f, threads,
                                                                  (size_t)dynamic));
                cr_expect_eq(got, want, "%s on %s, %d threads, %d bytes: %d CTAs, toolkit: %d",
                             kernel[i], arch, threads, dynamic, got, want);
            }
        }
    }
    cu_clean();
}

Test(usage, an_a100_has_the_numbers_of_ptxas)
{
    check("a100", "sm_80");
}

Test(usage, an_h100_has_the_numbers_of_ptxas)
{
    check("h100", "sm_90a");
}
