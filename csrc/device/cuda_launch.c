/* SPDX-License-Identifier: Apache-2.0
 *
 * cuda_launch.c - runs an op: asks its plan, launches what it says. The only call site of
 * cuLaunchKernelEx. */
#include "device/cuda_device.h"
#include "device/nvtx.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    size_t arg_bytes;
} ops[K_N_OPS] = {
#define ROW(name, type) {#name, sizeof(type)},
    K_OPS(ROW)
#undef ROW
};

union op_args {
#define MEMBER(name, type) type name;
    K_OPS(MEMBER)
#undef MEMBER
};

/* What is behind the handle of a weight. */
static const struct oct_cuda_matrix *matrix_of(const struct k_gemm_args *a, bool gate_up)
{
    const struct oct_cuda_matrix *m = (const void *)(uintptr_t)a->weight;
    OCT_ASSERT(m && m->n == a->n && m->k == a->k && m->gate_up == gate_up);
    return m;
}

static oct_status failed(struct oct_cuda *c, oct_cu_result r, const char *kernel)
{
    char what[128];
    (void)snprintf(what, sizeof what, "kernel %s", kernel);
    return oct_cuda_die(c, r, what);
}

/* Programmatic launches can be recorded since CUDA 12.3 only; without them nothing is lost but
 * overlap, so older drivers do without. */
static bool may_overlap(const struct oct_cuda *c)
{
    return c->facts.sm >= 90 && c->cu->version >= 12030;
}

static oct_status launch(struct oct_cuda *c, const struct k_launch *l)
{
    const struct k_kernel_row *row = &k_kernel_table[l->kernel];
    OCT_ASSERT(l->arg_bytes == row->arg_bytes &&
               l->smem_bytes <= (uint32_t)c->facts.smem_block_bytes);
    struct oct_cu_launch_attr attrs[2] = {0};
    uint32_t n = 0;
    if (l->pdl && may_overlap(c)) {
        attrs[n].id = OCT_CU_ATTR_PDL;
        attrs[n++].value.pdl = 1;
    }
    if (l->cluster > 1) {
        attrs[n].id = OCT_CU_ATTR_CLUSTER;
        attrs[n++].value = (union oct_cu_launch_value){.cluster = {l->cluster, 1, 1}};
    }
    const struct oct_cu_launch_config config = {
        .grid = {l->grid[0], l->grid[1], l->grid[2]},
        .block = {l->block[0], l->block[1], l->block[2]},
        .smem_bytes = l->smem_bytes,
        .stream = c->stream,
        .attrs = attrs,
        .n_attrs = n,
    };
    uint64_t args[K_LAUNCH_ARG_WORDS]; /* the driver wants them writable */
    memcpy(args, l->args, sizeof args);
    void *params[] = {args};
    atomic_store_explicit(&c->dev.last_launch, row->name, memory_order_relaxed);
    oct_cu_result r = c->cu->launch_kernel_ex(&config, c->functions[l->kernel], params, NULL);
    c->counts.launches++;
    if (r != OCT_CU_OK && c->graphs.recording) {
        c->graphs.broken = true; /* nothing has run yet: record_end() has it run without a record */
        return OCT_OK;
    }
    if (r == OCT_CU_OK && c->wait_each) {
        r = c->cu->stream_synchronize(c->stream);
    }
    return r == OCT_CU_OK ? OCT_OK : failed(c, r, row->name);
}

static oct_status plan_and_launch(struct oct_cuda *c, enum k_op op, const void *args)
{
    union op_args a;
    memcpy(&a, args, ops[op].arg_bytes);
    if (op == K_OP_gemm) {
        a.gemm.weight = matrix_of(&a.gemm, false)->packed;
    } else if (op == K_OP_gemm_silu) {
        a.gemm_silu.gemm.weight = matrix_of(&a.gemm_silu.gemm, true)->packed;
    }
    struct k_launch launches[K_MAX_LAUNCHES];
    const int n = k_plan((int32_t)op, &c->facts, &c->work, &a, launches);
    if (n == 0) {
        return OCT_FAIL(OCT_E_UNSUPPORTED,
                        "cuda:%d: no kernel for op %s of this model (its types or shapes)",
                        c->ordinal, ops[op].name);
    }
    for (int i = 0; i < n; i++) {
        OCT_TRY(launch(c, &launches[i]));
    }
    return OCT_OK;
}

/* Products go to cuBLASLt, the rest to kernels. */
static oct_status multiply_or_launch(struct oct_cuda *c, enum k_op op, const void *args)
{
    if (op == K_OP_gemm) {
        const struct k_gemm_args *a = args;
        return oct_cuda_lt_gemm(c, a, matrix_of(a, false));
    }
    if (op == K_OP_gemm_silu) {
        const struct k_gemm_silu_args *a = args;
        OCT_TRY(oct_cuda_lt_gemm(c, &a->gemm, matrix_of(&a->gemm, true)));
        return plan_and_launch(c, K_OP_silu_mul, &a->act);
    }
    return plan_and_launch(c, op, args);
}

oct_status oct_cuda_run(struct oct_device *d, enum k_op op, const void *args)
{
    struct oct_cuda *c = oct_cuda_of(d);
    OCT_ASSERT((unsigned)op < K_N_OPS && c->work.base);
    OCT_TRY(oct_cuda_enter(c));
    oct_nvtx_push(ops[op].name);
    const oct_status st = c->lt ? multiply_or_launch(c, op, args) : plan_and_launch(c, op, args);
    oct_nvtx_pop();
    if (st != OCT_OK) {
        c->graphs.broken = true; /* if it was being recorded: a part is no record */
    }
    return st;
}
