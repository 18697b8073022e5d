/* SPDX-License-Identifier: Apache-2.0
 *
 * cuda_kernels.c - loads every kernel of kernels.h and checks it, so that nothing is loaded, and no
 * memory of the driver's taken, while steps run or are recorded. */
#include "device/cuda_device.h"

#include <stdio.h>

static oct_status refused(const struct oct_cuda *c, const char *module, oct_cu_result r)
{
    char number[32];
    return OCT_FAIL(
        OCT_E_UNSUPPORTED,
        "cuda:%d: the driver, for CUDA %d.%d, does not take the kernels of %s, compiled "
        "with nvcc %s (%s); update the driver, or build with an older nvcc",
        c->ordinal, c->cu->version / 1000, c->cu->version % 1000 / 10, module, OCT_NVCC_VERSION,
        oct_cu_error_name(c->cu, r, number, sizeof number));
}

static oct_status load_module(struct oct_cuda *c, int32_t i)
{
    struct k_fatbin f;
    OCT_ASSERT(k_fatbin_of(i, &f));
    const oct_cu_result r = c->cu->module_load_data(&c->modules[i], f.image);
    switch (r) {
    case OCT_CU_OK:
        return OCT_OK;
    case OCT_CU_INVALID_IMAGE:
    case OCT_CU_NO_BINARY_FOR_GPU:
    case OCT_CU_UNSUPPORTED_PTX_VERSION:
        return refused(c, k_module_names[i], r);
    case OCT_CU_OUT_OF_MEMORY:
        return OCT_FAIL(OCT_E_MEM, "cuda:%d: no device memory left for the kernels of %s",
                        c->ordinal, k_module_names[i]);
    default:
        return oct_cuda_die(c, r, "cuModuleLoadData");
    }
}

static oct_status load_kernel(struct oct_cuda *c, int i)
{
    const struct k_kernel_row *row = &k_kernel_table[i];
    oct_cu_function *f = &c->functions[i];
    OCT_CU(c, module_get_function, f, c->modules[row->module], row->name);
    if (c->cu->func_load) { /* else it was loaded with its module, or is by the questions below */
        OCT_CU(c, func_load, *f);
    }
    if (c->cu->func_get_param_info) {
        size_t offset, bytes;
        OCT_CU(c, func_get_param_info, *f, 0, &offset, &bytes);
        if (bytes != row->arg_bytes) {
            return OCT_FAIL(OCT_E_FORMAT,
                            "kernel %s takes %zu bytes of arguments, kernels.h says %u: the "
                            "kernels are not those of this build",
                            row->name, bytes, row->arg_bytes);
        }
    }
    int fixed;
    OCT_CU(c, func_get_attribute, &fixed, OCT_CU_FUNC_STATIC_SMEM, *f);
    OCT_CU(c, func_set_attribute, *f, OCT_CU_FUNC_MAX_DYNAMIC_SMEM,
           c->facts.smem_block_bytes - fixed);
    return OCT_OK;
}

oct_status oct_cuda_kernels_load(struct oct_cuda *c)
{
    for (int32_t i = 0; i < K_N_MODULES; i++) {
        OCT_TRY(load_module(c, i));
    }
    for (int i = 0; i < K_N_KERNELS; i++) {
        OCT_TRY(load_kernel(c, i));
    }
    return OCT_OK;
}

void oct_cuda_kernels_unload(struct oct_cuda *c)
{
    for (int32_t i = 0; i < K_N_MODULES; i++) {
        if (c->modules[i]) {
            (void)c->cu->module_unload(c->modules[i]);
        }
    }
}
