/* SPDX-License-Identifier: Apache-2.0 */
#include "device/cuda_driver.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum {
    NEEDED_VERSION = 12000, /* cuLaunchKernelEx with clusters and dependent launches */
    TEXT_BYTES = 512,
};

static const struct {
    const char *symbol;
    size_t at; /* in struct oct_cu */
    bool needed;
} calls[] = {
#define ROW(field, symbol, needed, parameters) {symbol, offsetof(struct oct_cu, field), needed},
    OCT_CU_CALLS(ROW)
#undef ROW
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static struct oct_cu driver;
static oct_status result;            /* of opening it */
static char result_text[TEXT_BYTES]; /* its sentence: each thread that asks gets it */

const char *oct_cu_error_name(const struct oct_cu *cu, oct_cu_result r, char *dst, size_t n)
{
    const char *name = NULL;
    if (cu->get_error_name(r, &name) == OCT_CU_OK && name) {
        return name;
    }
    (void)snprintf(dst, n, "CUDA error %d", r);
    return dst;
}

static oct_status find_calls(void *lib)
{
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        void *f = dlsym(lib, calls[i].symbol);
        if (!f && calls[i].needed) {
            return OCT_FAIL(OCT_E_UNSUPPORTED,
                            "cuda: libcuda.so.1 has no %s; the NVIDIA driver is too old, one for "
                            "CUDA %d.%d or later is needed",
                            calls[i].symbol, NEEDED_VERSION / 1000, NEEDED_VERSION % 1000 / 10);
        }
        memcpy((char *)&driver + calls[i].at, &f, sizeof f);
    }
    return OCT_OK;
}

static oct_status start(void)
{
    char number[32];
    const oct_cu_result r = driver.init(0);
    if (r == OCT_CU_NO_DEVICE) {
        return OCT_FAIL(OCT_E_UNSUPPORTED,
                        "cuda: the driver sees no GPU; see what nvidia-smi says and what "
                        "CUDA_VISIBLE_DEVICES hides");
    }
    if (r == OCT_CU_SYSTEM_DRIVER_MISMATCH) {
        return OCT_FAIL(OCT_E_UNSUPPORTED,
                        "cuda: libcuda.so.1 and the kernel's NVIDIA driver are of different "
                        "versions; restart the machine after a driver update");
    }
    if (r != OCT_CU_OK) {
        return OCT_FAIL(OCT_E_DEVICE, "cuda: cuInit: %s",
                        oct_cu_error_name(&driver, r, number, sizeof number));
    }
    return OCT_OK;
}

static oct_status open_driver(void)
{
    void *lib = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!lib) {
        const char *why = dlerror();
        return OCT_FAIL(OCT_E_UNSUPPORTED,
                        "cuda: no NVIDIA driver: %s (a container gets it with --gpus all)",
                        why ? why : "libcuda.so.1 cannot be loaded");
    }
    OCT_TRY(find_calls(lib));
    if (driver.driver_get_version(&driver.version) != OCT_CU_OK) {
        driver.version = 0;
    }
    if (driver.version < NEEDED_VERSION) {
        return OCT_FAIL(OCT_E_UNSUPPORTED,
                        "cuda: the NVIDIA driver is too old: it is for CUDA %d.%d, %d.%d or later "
                        "is needed",
                        driver.version / 1000, driver.version % 1000 / 10, NEEDED_VERSION / 1000,
                        NEEDED_VERSION % 1000 / 10);
    }
    return start();
}

static void open_once(void)
{
    result = open_driver();
    if (result != OCT_OK) {
        (void)snprintf(result_text, sizeof result_text, "%s", oct_last_error());
    }
}

oct_status oct_cu_open(const struct oct_cu **out)
{
    (void)pthread_once(&once, open_once);
    if (result != OCT_OK) {
        return OCT_FAIL(result, "%s", result_text);
    }
    *out = &driver;
    return OCT_OK;
}
