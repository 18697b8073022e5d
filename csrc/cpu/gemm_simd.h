/* SPDX-License-Identifier: Apache-2.0
 *
 * gemm_simd.h - the inner part of a matrix product, one copy for each instruction set. */
#ifndef OCT_CPU_GEMM_SIMD_H
#define OCT_CPU_GEMM_SIMD_H

#include "cpu/cpu_ops.h"

/* A weight [n, k], cut into panels of `cols` columns of the product; the last is filled up with
 * zeroes. A panel is [k][cols], or with `pairs` (bf16 on a machine that multiplies pairs of them)
 * [(k + 1) / 2][cols][2]. */
struct oct_cpu_matrix {
    int32_t n, k;
    int32_t dtype;
    int32_t cols, n_panels;
    bool pairs;
    enum oct_simd_level simd; /* whose layout this is */
    int64_t panel_bytes;      /* a multiple of 64 */
    char *panels;             /* in slab; aligned to 256 */
    struct oct_cpu_slab *slab;
};

/* Columns of a panel. */
OCT_SIMD_DECLARE(int32_t, oct_simd_gemm_cols, (void))

/* Rows [row0, row1) of the product with panels [panel0, panel1). `wide` holds
 * OCT_GEMM_MAX_TILE_ROWS * k floats; only rows of bf16 without `pairs` need it. */
enum { OCT_GEMM_MAX_TILE_ROWS = 12 };
OCT_SIMD_DECLARE(void, oct_simd_gemm_block,
                 (const struct k_gemm_args *a, const struct oct_cpu_matrix *w, int32_t row0,
                  int32_t row1, int32_t panel0, int32_t panel1, float *wide))

#endif
