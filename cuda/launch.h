/* SPDX-License-Identifier: Apache-2.0
 *
 * launch.h - what a plan answers: which kernels to launch for an op, how, and what that must cost.
 *
 * cuda/<family>.c plans: a pure function of the op's arguments and the device's facts, no driver,
 * no memory of its own. csrc/device launches what it says, tests and benches read the costs. A plan
 * may choose the variant by anything but the composition of the batch where that would change bits:
 * all variants of one op on one device give the same bits.
 *
 * Every kernel takes one struct by value; kernels.h lists them. */
#ifndef K_LAUNCH_H
#define K_LAUNCH_H

#include "types.h"

/* What a plan may know of a device. */
struct k_facts {
    int32_t sm; /* 80 or 90 */
    int32_t n_sms;
    int32_t smem_block_bytes; /* dynamic shared memory a block may opt in to: 166912, 232448 */
    int32_t smem_sm_bytes;
    int64_t l2_bytes;
};
#define K_FACTS_A100 \
    { \
        80, 108, 166912, 167936, 40 << 20 \
    }
#define K_FACTS_H100 \
    { \
        90, 132, 232448, 233472, 50 << 20 \
    }

/* Device memory for what kernels leave for each other inside one op: split partials and tickets.
 * The tickets (the first K_WORK_TICKET_BYTES) are zero between ops: whoever counts resets. */
enum { K_WORK_TICKET_BYTES = 64 * 1024 };
struct k_work {
    k_ptr base; /* aligned to 256 */
    uint64_t bytes;
};

/* Bounds of one engine, from which the workspace is sized. */
struct k_limits {
    int32_t max_rows, max_seqs; /* T of a step; sequences of a step */
    int32_t max_keys;           /* position + 1 */
    int32_t n_heads, n_kv_heads, head_dim;
    int32_t vocab;
    int32_t n_gemms;
    struct {
        int32_t n, k;
    } gemms[8];
};

enum { K_MAX_LAUNCHES = 4, K_LAUNCH_ARG_WORDS = 48 };

/* What a launch must at least move and compute, whatever the kernel does: reports and gates compare
 * with it. */
struct k_cost {
    uint64_t read_bytes, write_bytes; /* of global memory, each byte once */
    uint64_t flops;                   /* of tensor cores; 2 for a multiply-add */
    uint64_t warp_instructions;       /* where they may take longest; 0: not counted */
};

struct k_launch {
    int32_t kernel; /* enum k_kernel */
    uint32_t grid[3], block[3];
    uint32_t cluster;    /* blocks along x; 0 or 1: none */
    uint32_t smem_bytes; /* dynamic */
    /* May start while its predecessor drains (programmatic dependent launch, sm_90): the kernel
     * executes griddepcontrol.wait before it touches what another kernel of the stream writes or
     * reads. */
    uint32_t pdl;
    uint32_t arg_bytes; /* sizeof the kernel's struct */
    struct k_cost cost;
    uint64_t args[K_LAUNCH_ARG_WORDS];
};

#ifndef __cplusplus
#include <string.h>
/* Fills the argument part. */
#define K_LAUNCH_ARGS(launch, params) \
    do { \
        K_STATIC_ASSERT(sizeof(params) <= sizeof((launch)->args), "argument struct too large"); \
        memcpy((launch)->args, &(params), sizeof(params)); \
        (launch)->arg_bytes = sizeof(params); \
    } while (0)
#endif

/* One plan function for each op of ops.h:
 *     int k_plan_<op>(const struct k_facts *, const struct k_work *, const struct k_<op>_args *,
 *                     struct k_launch out[K_MAX_LAUNCHES])
 * Returns how many launches, in order; 0: this op with these arguments has no kernel (a dtype or a
 * shape; csrc/engine/plan.c refuses such models before they are loaded). In gemm and gemm_silu
 * `weight` is the address of the packed weight (gemm_pack.h). */

#endif
