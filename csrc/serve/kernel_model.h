/* SPDX-License-Identifier: Apache-2.0
 *
 * kernel_model.h - how long launches should take on a GPU that is not here: a stated model over
 * what their plan says (grid, block, bytes, products, instructions). Pure arithmetic.
 *
 *     time of an op   = sum over its launches of  launch + max(memory, products, instructions)
 *     memory          = bytes / bandwidth achieved by copies; no multiprocessor takes in more than
 *                       sm_bytes_per_clock. A launch that follows one of the same op finds what
 *                       that one touched in L2, if it was not more than L2 serves at full speed
 *     products        = waves of blocks over the multiprocessors, each block's share of the FLOPs
 *                       at the rate at which mma.sync issues
 *     instructions    = warp instructions over four schedulers, where a plan has counted them
 *
 * Left out: latencies inside a kernel, overlap between launches, power. So it is a figure to design
 * by and to compare a measurement with, not a promise. */
#ifndef OCT_SERVE_KERNEL_MODEL_H
#define OCT_SERVE_KERNEL_MODEL_H

#include "launch.h"

#include <stdbool.h>

enum { OCT_GPU_A100, OCT_GPU_H100, OCT_N_GPUS };

struct oct_gpu {
    const char *name;
    struct k_facts facts;
    double clock_ghz; /* that long kernels run at */
    double peak_gb_s, peak_tflops;
    double gb_s;            /* achieved by copies in device memory */
    double l2_gb_s;         /* achieved on what lies in L2, */
    int64_t l2_bytes;       /* up to so many bytes */
    double launch_us;       /* from kernel to kernel in a CUDA graph */
    double flops_per_clock; /* of a multiprocessor, bf16 products as mma.sync issues them */
    double sm_bytes_per_clock;
    double instructions_per_clock; /* of a multiprocessor */
};
const struct oct_gpu *oct_gpu_model(int gpu); /* static */

enum oct_gpu_limit { OCT_LIMIT_LAUNCH, OCT_LIMIT_MEMORY, OCT_LIMIT_PRODUCTS, OCT_LIMIT_ISSUE };
const char *oct_gpu_limit_name(enum oct_gpu_limit l);

struct oct_gpu_time {
    double us;
    double parts[4]; /* by enum oct_gpu_limit: launches, and of each the longest of the others */
    enum oct_gpu_limit limit; /* the largest part */
};
/* The launches of one op. */
struct oct_gpu_time oct_gpu_predict(const struct oct_gpu *g, const struct k_launch *l, int n);
/* a += b */
void oct_gpu_time_add(struct oct_gpu_time *a, const struct oct_gpu_time *b);

/* What no kernel can beat: the datasheet's bandwidth or products. */
double oct_gpu_floor_us(const struct oct_gpu *g, double bytes, double flops);

#endif
