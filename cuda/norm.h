/* SPDX-License-Identifier: Apache-2.0
 *
 * norm.h - contract of RMSNorm with an optional residual (Zhang & Sennrich, arXiv:1910.07467).
 *
 *   if add:  x[r, :] = store(x[r, :] + add[r, :])       the residual stream, updated in place
 *   out[r, c] = store(x[r, c] * rsqrt(mean_c(x[r, :]^2) + eps)) * weight[c]
 *
 *   x       [rows, dim] dtype, row stride dim; read, and written if add != 0
 *   add     [rows, dim] dtype, row stride dim; 0: none
 *   weight  [dim] dtype
 *   out     [rows, dim] dtype, row stride dim; not x and not add
 *   row_ids [rows] int32: out row r is made from row row_ids[r] of x (add must be 0 then);
 *           0: row r from row r. Picks the rows whose logits are wanted.
 *   rows >= 1, dim >= 1
 *
 * Numerics  squares of the stored x are summed in fp32 in an order fixed by dim alone; the normed
 *           value is rounded to dtype before it is multiplied by the weight, the product again, as
 *           the Llama family does it.
 * Cost      memory bound: (2 + 2 * (add != 0)) * rows * dim elements + dim.
 * Kernels   norm.cu: bf16, dim a multiple of 8; a row in the registers of a block up to 16384.
 * Oracle    csrc/cpu/norm.c.   Test: tests/cpu/test_norm.c, tests/cuda/test_cuda_norm.c */
#ifndef K_NORM_H
#define K_NORM_H

#include "types.h"

struct k_rmsnorm_args {
    k_ptr out, x, add, weight, row_ids;
    int32_t rows, dim;
    int32_t dtype;
    float eps;
};
K_STATIC_ASSERT(sizeof(struct k_rmsnorm_args) == 56, "same layout in C and CUDA");

#endif
