/* SPDX-License-Identifier: Apache-2.0
 *
 * cuda_none.c - until the CUDA backend is linked: there is none. */
#include "device/cuda.h"

#include <stdio.h>

__attribute__((weak)) oct_status oct_cuda_open(int ordinal, int n_threads, struct oct_device **out)
{
    (void)ordinal;
    (void)n_threads;
    (void)out;
    return OCT_FAIL(OCT_E_UNSUPPORTED, "this build has no CUDA backend; use --device cpu");
}

__attribute__((weak)) bool oct_cuda_present(char *why, size_t n)
{
    if (why) {
        (void)snprintf(why, n, "this build has no CUDA backend");
    }
    return false;
}
