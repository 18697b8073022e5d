/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels.h"

#include "ops.h"

const struct k_kernel_row k_kernel_table[K_N_KERNELS] = {
#define ROW(module, name, args) {#name, K_MODULE_##module, sizeof(args)},
    K_KERNELS(ROW)
#undef ROW
};

const char *const k_module_names[K_N_MODULES] = {
#define NAME(stem) #stem,
    K_MODULES(NAME)
#undef NAME
};

#if OCT_HAS_CUDA
/* Symbols of the objects that cmake/oct_cuda.cmake makes of the fatbins. */
#define DECLARE(stem) \
    extern const unsigned char k_fatbin_##stem[]; \
    extern const unsigned char k_fatbin_##stem##_end[];
K_MODULES(DECLARE)
#undef DECLARE

bool k_fatbin_of(int32_t module, struct k_fatbin *out)
{
    switch (module) {
#define CASE(stem) \
    case K_MODULE_##stem: \
        *out = (struct k_fatbin){k_fatbin_##stem, \
                                 (uint64_t)(k_fatbin_##stem##_end - k_fatbin_##stem)}; \
        return true;
        K_MODULES(CASE)
#undef CASE
    default:
        return false;
    }
}
#else
bool k_fatbin_of(int32_t module, struct k_fatbin *out)
{
    (void)module;
    (void)out;
    return false;
}
#endif

int k_plan(int32_t op, const struct k_facts *f, const struct k_work *w, const void *args,
           struct k_launch out[K_MAX_LAUNCHES])
{
    switch (op) {
#define CASE(name, type) \
    case K_OP_##name: \
        return k_plan_##name(f, w, args, out);
        K_OPS(CASE)
#undef CASE
    default:
        return 0;
    }
}

static uint64_t most(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

uint64_t k_work_bytes(const struct k_facts *f, const struct k_limits *l)
{
    return K_WORK_TICKET_BYTES +
           most(most(k_attn_work_bytes(f, l), k_gemm_work_bytes(f, l)), k_sample_work_bytes(f, l));
}
