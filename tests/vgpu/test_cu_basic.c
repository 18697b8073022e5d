// SPDX-License-Identifier: Apache-2.0
//
// Init, devices, contexts, errors, how functions are found.
#include "cu_test.h"

Test(driver, nothing_works_before_init)
{
    cu_open();
    int n = 0;
    FAILS(cu.cuDeviceGetCount(&n), CUDA_ERROR_NOT_INITIALIZED);
    FAILS(cu.cuInit(1), CUDA_ERROR_INVALID_VALUE);
    OK(cu.cuDriverGetVersion(&n));
    cr_assert_eq(n, 13000, "version %d", n);
    const char *s = NULL;
    OK(cu.cuGetErrorName(CUDA_ERROR_ILLEGAL_ADDRESS, &s));
    cr_assert_str_eq(s, "CUDA_ERROR_ILLEGAL_ADDRESS");
    OK(cu.cuGetErrorString(CUDA_ERROR_OUT_OF_MEMORY, &s));
    cr_assert_str_eq(s, "out of memory");
    FAILS(cu.cuGetErrorName((CUresult)12345, &s), CUDA_ERROR_INVALID_VALUE);
}

Test(driver, devices_report_as_the_chip_asked_for)
{
    static const struct {
        const char *arch;
        int major, sms, optin, cluster;
    } row[] = {{"a100", 8, 108, 166912, 0}, {"h100", 9, 132, 232448, 1}};
    for (size_t i = 0; i < 2; i++) {
        // One process, one driver: the second chip is looked at in a child of the test.
        setenv("VGPU_ARCH", row[i].arch, 1);
        setenv("VGPU_DEVICES", "3", 1);
        pid_t child = fork();
        if (child == 0) {
            cu_is_child = true;
            cu_open();
            int v[5] = {0};
            bool ok = cu.cuInit(0) == CUDA_SUCCESS && cu.cuDeviceGetCount(&v[0]) == CUDA_SUCCESS;
            cu.cuDeviceGetAttribute(&v[1], CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, 2);
            cu.cuDeviceGetAttribute(&v[2], CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, 2);
            cu.cuDeviceGetAttribute(&v[3], CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN,
                                    2);
            cu.cuDeviceGetAttribute(&v[4], CU_DEVICE_ATTRIBUTE_CLUSTER_LAUNCH, 2);
            ok = ok && v[0] == 3 && v[1] == row[i].major && v[2] == row[i].sms &&
                 v[3] == row[i].optin && v[4] == row[i].cluster;
            ok = ok && cu.cuDeviceGetAttribute(&v[0], (CUdevice_attribute)0, 0) ==
                           CUDA_ERROR_INVALID_VALUE;
            ok = ok && cu.cuDeviceGetAttribute(&v[0], CU_DEVICE_ATTRIBUTE_WARP_SIZE, 3) ==
                           CUDA_ERROR_INVALID_DEVICE;
            _exit(ok ? 0 : 1);
        }
        int status = -1;
        waitpid(child, &status, 0);
        cr_assert_eq(status, 0, "%s: the child says %d", row[i].arch, status);
    }
}

Test(driver, contexts_form_a_stack)
{
    cu_open();
    OK(cu.cuInit(0));
    CUdeviceptr p = 0;
    FAILS(cu.cuMemAlloc(&p, 16), CUDA_ERROR_INVALID_CONTEXT);
    CUcontext a = NULL, b = NULL, got = NULL;
    OK(cu.cuDevicePrimaryCtxRetain(&a, 0));
    OK(cu.cuDevicePrimaryCtxRetain(&b, 0));
    cr_assert_eq(a, b, "one primary context per device");
    OK(cu.cuCtxPushCurrent(a));
    OK(cu.cuMemAlloc(&p, 16));
    OK(cu.cuCtxCreate(&b, NULL, 0, 0));
    OK(cu.cuCtxGetCurrent(&got));
    cr_assert_eq(got, b);
    OK(cu.cuCtxPopCurrent(&got));
    cr_assert_eq(got, b);
    OK(cu.cuCtxGetCurrent(&got));
    cr_assert_eq(got, a);
    OK(cu.cuCtxDestroy(b));
    FAILS(cu.cuCtxPushCurrent(b), CUDA_ERROR_INVALID_CONTEXT);
    FAILS(cu.cuCtxDestroy(a), CUDA_ERROR_INVALID_CONTEXT);
    OK(cu.cuDevicePrimaryCtxRelease(0));
    OK(cu.cuMemFree(p));
    OK(cu.cuDevicePrimaryCtxRelease(0));
    FAILS(cu.cuMemAlloc(&p, 16), CUDA_ERROR_CONTEXT_IS_DESTROYED);
    FAILS(cu.cuDevicePrimaryCtxRelease(0), CUDA_ERROR_INVALID_CONTEXT);
    OK(cu.cuCtxPopCurrent(NULL));
    FAILS(cu.cuCtxPopCurrent(NULL), CUDA_ERROR_INVALID_CONTEXT);
}

Test(driver, invented_and_stale_handles_are_refused)
{
    cu_start();
    CUstream s = NULL;
    OK(cu.cuStreamCreate(&s, 0));
    OK(cu.cuStreamDestroy(s));
    FAILS(cu.cuStreamSynchronize(s), CUDA_ERROR_INVALID_HANDLE);
    FAILS(cu.cuStreamSynchronize((CUstream)(uintptr_t)0x1234560), CUDA_ERROR_INVALID_HANDLE);
    CUevent e = NULL;
    OK(cu.cuEventCreate(&e, 0));
    FAILS(cu.cuEventRecord((CUevent)(void *)s, NULL), CUDA_ERROR_INVALID_HANDLE);
    OK(cu.cuEventDestroy(e));
    FAILS(cu.cuEventRecord(e, NULL), CUDA_ERROR_INVALID_HANDLE);
    FAILS(cu.cuModuleUnload((CUmodule)(void *)e), CUDA_ERROR_INVALID_HANDLE);
    FAILS(cu.cuGraphDestroy((CUgraph)(void *)e), CUDA_ERROR_INVALID_VALUE);
}

Test(driver, functions_are_found_without_their_version)
{
    cu_open();
    OK(cu.cuInit(0));
    void *p = NULL;
    CUdriverProcAddressQueryResult q;
    OK(cu.cuGetProcAddress_v2("cuMemAlloc", &p, 13000, 0, &q));
    cr_assert_eq(p, dlsym(cu.lib, "cuMemAlloc_v2"));
    OK(cu.cuGetProcAddress_v2("cuCtxCreate", &p, 13000, 0, &q));
    cr_assert_eq(p, dlsym(cu.lib, "cuCtxCreate_v4"));
    OK(cu.cuGetProcAddress_v2("cuLaunchKernel", &p, 13000, 0, &q));
    cr_assert_eq(p, dlsym(cu.lib, "cuLaunchKernel"));
    FAILS(cu.cuGetProcAddress_v2("cuTexRefCreate", &p, 13000, 0, &q), CUDA_ERROR_NOT_FOUND);
    cr_assert_eq(q, CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND);
    cr_assert_null(p);
    FAILS(cu.cuGetProcAddress_v2("cuCtxCreate", &p, 11000, 0, &q), CUDA_ERROR_NOT_FOUND);
    cr_assert_eq(q, CU_GET_PROC_ADDRESS_VERSION_NOT_SUFFICIENT);
}

Test(driver, calls_fail_as_planned)
{
    setenv("VGPU_FAIL", "cuMemAlloc:2,cuStreamCreate:1+=801,lost:20=214", 1);
    cu_start();
    CUdeviceptr p = 0;
    CUstream s = NULL;
    OK(cu.cuMemAlloc(&p, 64));
    FAILS(cu.cuMemAlloc(&p, 64), CUDA_ERROR_OUT_OF_MEMORY);
    OK(cu.cuMemAlloc(&p, 64));
    FAILS(cu.cuStreamCreate(&s, 0), CUDA_ERROR_NOT_SUPPORTED);
    FAILS(cu.cuStreamCreate(&s, 0), CUDA_ERROR_NOT_SUPPORTED);
    CUresult r = CUDA_SUCCESS;
    int n = 0;
    while (r == CUDA_SUCCESS && n < 30) {
        r = cu.cuMemsetD8(p, 0, 64);
        n++;
    }
    cr_assert_eq(r, CUDA_ERROR_ECC_UNCORRECTABLE, "%s after %d", cu_name(r), n);
    FAILS(cu.cuCtxSynchronize(), CUDA_ERROR_ECC_UNCORRECTABLE);
}

Test(driver, a_forked_child_has_no_driver)
{
    cu_start();
    pid_t child = fork();
    if (child == 0) {
        int n = 0;
        _exit(cu.cuDeviceGetCount(&n) == CUDA_ERROR_NOT_INITIALIZED ? 0 : 1);
    }
    int status = -1;
    waitpid(child, &status, 0);
    cr_assert_eq(status, 0, "the child says %d", status);
}

Test(driver, the_list_of_functions_is_the_library)
{
    // Every exported cu symbol can be asked for by name: cu_list.h forgets none.
    cu_open();
    Dl_info info;
    cr_assert_neq(dladdr(dlsym(cu.lib, "cuInit"), &info), 0);
    char command[4200];
    snprintf(command, sizeof command, "nm -D --defined-only '%s'", info.dli_fname);
    FILE *f = popen(command, "r");
    cr_assert_not_null(f);
    char line[512], name[256];
    unsigned n = 0;
    while (fgets(line, sizeof line, f) != NULL) {
        if (sscanf(line, "%*s T %255s", name) != 1 || strncmp(name, "cu", 2) != 0) {
            continue;
        }
        n++;
        bool listed = false;
#define VG_IS(symbol, version) listed |= strcmp(name, #symbol) == 0;
        VG_CU_MAP(VG_IS)
#undef VG_IS
        cr_assert(listed, "%s is exported but not in cu_list.h", name);
    }
    pclose(f);
    cr_assert_gt(n, 200, "%u symbols", n);
}
