/* SPDX-License-Identifier: Apache-2.0
 *
 * kernels.h - the list of kernels: module (a .cu file), name, argument struct. The device layer
 * finds them by it when it opens a device and checks the sizes of their arguments. To add a
 * variant: its .cu file in CMakeLists.txt, its line in the list of its family's plan header, its
 * row in the plan.
 */
#ifndef K_KERNELS_H
#define K_KERNELS_H

#include "attn_plan.h"
#include "elementwise_plan.h"
#include "gemm_plan.h"
#include "sample_plan.h"

#include <stdbool.h>

/* One line a .cu file, X(stem). */
#define K_MODULES(X) \
    K_ELEMENTWISE_MODULES(X) \
    K_GEMM_MODULES(X) \
    K_ATTN_MODULES(X) \
    K_SAMPLE_MODULES(X)

/* X(module, kernel, argument struct) */
#define K_KERNELS(X) \
    K_ELEMENTWISE_KERNELS(X) \
    K_GEMM_KERNELS(X) \
    K_ATTN_KERNELS(X) \
    K_SAMPLE_KERNELS(X)

enum k_module {
#define K_MODULE_ENUM(stem) K_MODULE_##stem,
    K_MODULES(K_MODULE_ENUM)
#undef K_MODULE_ENUM
        K_N_MODULES
};

enum k_kernel {
#define K_KERNEL_ENUM(module, name, args) K_KERNEL_##name,
    K_KERNELS(K_KERNEL_ENUM)
#undef K_KERNEL_ENUM
        K_N_KERNELS
};

struct k_kernel_row {
    const char *name;
    int32_t module; /* enum k_module */
    uint32_t arg_bytes;
};
extern const struct k_kernel_row k_kernel_table[K_N_KERNELS];
extern const char *const k_module_names[K_N_MODULES];

/* An embedded fatbin: machine code and PTX of sm_80 and sm_90a. */
struct k_fatbin {
    const void *image;
    uint64_t bytes;
};
/* false: this build has no kernels, or there is no such module. */
bool k_fatbin_of(int32_t module, struct k_fatbin *out);

/* The plan of an op by its number, for the device layer. args: the op's struct, weights already as
 * packed addresses. */
int k_plan(int32_t op, const struct k_facts *f, const struct k_work *w, const void *args,
           struct k_launch out[K_MAX_LAUNCHES]);
/* Bytes of workspace that no op within the limits will exceed. */
uint64_t k_work_bytes(const struct k_facts *f, const struct k_limits *l);

#endif
