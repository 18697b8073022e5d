/* SPDX-License-Identifier: Apache-2.0
 *
 * stub_all.c - every call of the driver that we know, doing nothing, weak: stub_cuda.c has the few
 * that answer. */
#include "device/cuda_driver.h"

#pragma GCC diagnostic ignored "-Wunused-parameter"

#define STUB(field, symbol, needed, parameters) \
    __attribute__((weak, visibility("default"))) \
    oct_cu_result stub_##field parameters __asm__(symbol); \
    oct_cu_result stub_##field parameters \
    { \
        return 0; \
    }
OCT_CU_CALLS(STUB)
