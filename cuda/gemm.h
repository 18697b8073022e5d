/* SPDX-License-Identifier: Apache-2.0
 *
 * gemm.h - contract of the matrix product with a weight.
 *
 *   out[m, n] = store( sum_k in[m, k] * weight[n, k] + bias[n] )
 *
 *   in      [M, K] dtype, row stride in_stride elements
 *   weight  [N, K], a matrix object of the device that runs the op (device.h, matrix_create): each
 *           backend keeps it in the layout it multiplies fastest
 *   bias    [N] fp32; 0: none
 *   out     [M, N] out_dtype, row stride out_stride elements; not in
 *   M >= 1.  Rows of in and out up to the next multiple of K_GEMM_ROW_PAD must be memory the op may
 *   read (any bits) and write: backends compute whole row blocks.
 *
 * Numerics  products and sums in fp32; the order of the sum over k is fixed by K and the device, so
 * a row has the same bits for every M and every thread count. Cost      2*M*N*K FLOP; N*K + M*K +
 * M*N elements. Oracle    csrc/cpu/gemm.c.   Test: tests/cpu/test_gemm.c */
#ifndef K_GEMM_H
#define K_GEMM_H

#include "types.h"

enum { K_GEMM_ROW_PAD = 16 };

struct k_gemm_args {
    k_ptr out, in, weight, bias;
    int64_t out_stride, in_stride;
    int32_t m, n, k;
    int32_t dtype;     /* of in and weight */
    int32_t out_dtype; /* dtype, or K_F32 (logits) */
    int32_t pad_;
};
K_STATIC_ASSERT(sizeof(struct k_gemm_args) == 72, "same layout in C and CUDA");

#endif
