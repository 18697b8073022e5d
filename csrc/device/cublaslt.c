/* SPDX-License-Identifier: Apache-2.0 */
#include "device/cublaslt.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *symbol;
    size_t at; /* in struct oct_lt */
} calls[] = {
#define ROW(field, symbol, parameters) {symbol, offsetof(struct oct_lt, field)},
    OCT_LT_CALLS(ROW)
#undef ROW
        {"cublasLtGetVersion", offsetof(struct oct_lt, version)},
};

/* The library has words for these too, but only newer ones export the function. */
static const struct {
    oct_lt_status code;
    const char *name;
} statuses[] = {
    {OCT_LT_OK, "CUBLAS_STATUS_SUCCESS"},
    {1, "CUBLAS_STATUS_NOT_INITIALIZED"},
    {3, "CUBLAS_STATUS_ALLOC_FAILED"},
    {OCT_LT_INVALID_VALUE, "CUBLAS_STATUS_INVALID_VALUE"},
    {8, "CUBLAS_STATUS_ARCH_MISMATCH"},
    {11, "CUBLAS_STATUS_MAPPING_ERROR"},
    {13, "CUBLAS_STATUS_EXECUTION_FAILED"},
    {14, "CUBLAS_STATUS_INTERNAL_ERROR"},
    {OCT_LT_NOT_SUPPORTED, "CUBLAS_STATUS_NOT_SUPPORTED"},
    {16, "CUBLAS_STATUS_LICENSE_ERROR"},
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct oct_lt library;
static bool loaded;

const char *oct_lt_status_name(oct_lt_status s)
{
    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++) {
        if (statuses[i].code == s) {
            return statuses[i].name;
        }
    }
    return "an unknown status";
}

oct_status oct_lt_load(const char *const *names, int n, struct oct_lt *out)
{
    struct oct_lt found = {0};
    char why[256] = "no name to look for";
    void *lib = NULL;
    for (int i = 0; i < n && !lib; i++) {
        lib = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
        if (!lib) {
            const char *said = dlerror();
            (void)snprintf(why, sizeof why, "%s", said ? said : names[i]);
        }
    }
    if (!lib) {
        return OCT_FAIL(OCT_E_UNSUPPORTED,
                        "cublaslt: no library: %s (it comes with the CUDA toolkit or PyPI's "
                        "nvidia-cublas; or use --gemm-provider octavo)",
                        why);
    }
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        void *f = dlsym(lib, calls[i].symbol);
        if (!f) {
            (void)dlclose(lib);
            return OCT_FAIL(OCT_E_UNSUPPORTED, "cublaslt: the library has no %s; it is too old",
                            calls[i].symbol);
        }
        memcpy((char *)&found + calls[i].at, &f, sizeof f);
    }
    *out = found;
    return OCT_OK;
}

oct_status oct_lt_open(int cuda_version, const struct oct_lt **out)
{
    static const char *const names[] = {"libcublasLt.so.13", "libcublasLt.so.12"};
    const int first = cuda_version >= 13000 ? 0 : 1; /* 13 needs a driver for CUDA 13 */
    (void)pthread_mutex_lock(&lock);
    const oct_status st = loaded ? OCT_OK : oct_lt_load(names + first, 2 - first, &library);
    loaded = st == OCT_OK;
    (void)pthread_mutex_unlock(&lock);
    if (st == OCT_OK) {
        *out = &library;
    }
    return st;
}
