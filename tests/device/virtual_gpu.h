/* SPDX-License-Identifier: Apache-2.0
 *
 * virtual_gpu.h - what the tests of the CUDA device share. The library is what dlopen finds: the
 * virtual GPU's, by the test's DT_RPATH; its settings are read at the first call, and Criterion
 * runs each Test in a process of its own. */
#ifndef OCT_TESTS_DEVICE_VIRTUAL_GPU_H
#define OCT_TESTS_DEVICE_VIRTUAL_GPU_H

#include "device/cuda.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DONE(call) cr_assert_eq((call), OCT_OK, "%s: %s", #call, oct_last_error())

/* A call that must fail so, with these words in its sentence. */
#define FAILS(call, status, words) \
    do { \
        const oct_status st_ = (call); \
        cr_assert_eq(st_, (status), "%s: %d, expected %d (%s)", #call, st_, (status), \
                     oct_last_error()); \
        cr_assert(strstr(oct_last_error(), (words)), "\"%s\" does not say \"%s\"", \
                  oct_last_error(), (words)); \
    } while (0)

/* arch: "a100", "h100". fail: VGPU_FAIL, NULL for none. */
static inline void use_gpu(const char *arch, const char *fail)
{
    (void)setenv("VGPU_ARCH", arch, 1);
    (void)setenv("VGPU_MEM", "1G", 1);
    (void)setenv("VGPU_SEED", "7", 1);
    if (fail) {
        (void)setenv("VGPU_FAIL", fail, 1);
    }
}

static inline struct oct_device *open_gpu(void)
{
    struct oct_device *d = NULL;
    DONE(oct_cuda_open(0, 3, &d));
    return d;
}

/* Fails the test if a checker of the virtual GPU found something. */
static inline void no_findings(void)
{
    void *lib = dlopen("libcuda.so.1", RTLD_NOW);
    unsigned (*count)(void);
    const char *(*text)(unsigned);
    void *p = dlsym(lib, "vgpu_findings"), *q = dlsym(lib, "vgpu_finding");
    cr_assert(p && q, "not the virtual GPU");
    memcpy(&count, &p, sizeof count);
    memcpy(&text, &q, sizeof text);
    cr_assert_eq(count(), 0, "%s", text(0));
}

/* A workspace for nothing but small ops. */
static inline struct k_limits small_limits(void)
{
    return (struct k_limits){.max_rows = 16,
                             .max_seqs = 4,
                             .max_keys = 256,
                             .n_heads = 4,
                             .n_kv_heads = 2,
                             .head_dim = 64,
                             .vocab = 512};
}

#endif
