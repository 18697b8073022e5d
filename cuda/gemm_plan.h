/* SPDX-License-Identifier: Apache-2.0
 *
 * gemm_plan.h - kernels and plans of the matrix product.
 *
 * All kernels are one body (gemm.cuh) with tiles of different sizes; k_gemm_task says how the tiles
 * of a product are shared out among the blocks. A kernel is named after its tile, rows by columns
 * of the output. */
#ifndef K_GEMM_PLAN_H
#define K_GEMM_PLAN_H

#include "fused.h"
#include "gemm.h"
#include "gemm_pack.h"
#include "launch.h"

/* What every kernel of the family takes. The output is cut into m_tiles x n_tiles tiles, numbered
 * as gemm.cuh's tile_at() says. Tiles [0, split_tiles) are cut along K too: of their n_chunks
 * chunks of K_GEMM_CHUNK, split_tiles * n_chunks items in order, block b does [b * run, (b + 1) *
 * run). Of the other tiles it does split_tiles + b, + gridDim.x, and so on. No sharing out changes
 * bits.
 *
 * Sums go from the blocks before to the blocks after them: the block that ends a tile finishes it.
 * K_GEMM_HAND_ON: a block adds its chunks to what the block before it had of the tile, and leaves
 * one sum. Otherwise it leaves a tile's beginning as one sum, chunks from its middle one by one,
 * and waits only for what it finishes. In either case a block waits for blocks before it only. */
struct k_gemm_task {
    k_ptr out, in, weight, bias, residual;
    k_ptr tickets;  /* [gridDim.x] uint32, zero between ops; else: what the block leaves is there */
    k_ptr partials; /* [gridDim.x][slots] tiles of fp32, in the order of the registers */
    int64_t out_stride, in_stride;
    int64_t panel_bytes;
    int32_t m, n, k;
    int32_t k_tiles, n_chunks;
    int32_t m_tiles, n_tiles, split_tiles;
    int32_t run;   /* 1 .. n_chunks - 1 items, if split_tiles > 0 */
    int32_t slots; /* K_GEMM_HAND_ON: 1 and those that `keep` lacks; otherwise run */
    int32_t keep;  /* chunk sums that may wait in shared memory, behind the ring */
    int32_t group; /* columns of tiles that are walked together */
    int32_t flags; /* K_GEMM_* */
};
enum { K_GEMM_OUT_F32 = 1, K_GEMM_SILU = 2, K_GEMM_HAND_ON = 4 };

#define K_GEMM_MODULES(X) X(gemm_small) X(gemm_large)

#define K_GEMM_KERNELS(X) \
    X(gemm_small, gemm_b16_16x64, struct k_gemm_task) \
    X(gemm_small, gemm_b16_32x64, struct k_gemm_task) \
    X(gemm_small, gemm_b16_64x64, struct k_gemm_task) \
    X(gemm_large, gemm_b16_128x64, struct k_gemm_task) \
    X(gemm_large, gemm_b16_128x128, struct k_gemm_task) \
    X(gemm_large, gemm_b16_192x128, struct k_gemm_task)

int k_plan_gemm(const struct k_facts *f, const struct k_work *w, const struct k_gemm_args *a,
                struct k_launch out[K_MAX_LAUNCHES]);
int k_plan_gemm_silu(const struct k_facts *f, const struct k_work *w,
                     const struct k_gemm_silu_args *a, struct k_launch out[K_MAX_LAUNCHES]);
/* The same launch with another kernel of the family, for tests and benches. false: no such kernel.
 */
bool k_gemm_replan(const struct k_facts *f, const struct k_work *w, int32_t kernel,
                   struct k_launch *l);
/* Bytes of workspace past the tickets. */
uint64_t k_gemm_work_bytes(const struct k_facts *f, const struct k_limits *l);

#endif
