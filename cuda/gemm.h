/* SPDX-License-Identifier: Apache-2.0
 *
 * gemm.h - contract of the matrix product with a weight.
 *
 *   y[m, n]   = store( sum_k in[m, k] * weight[n, k] + bias[n] )
 *   out[m, n] = residual ? store( residual[m, n] + y[m, n] ) : y[m, n]
 *
 *   in        [M, K] dtype, row stride in_stride elements; on CUDA a multiple of K_ROW_ALIGN
 *   weight    [N, K], a matrix object of the device that runs the op (device.h, matrix_create):
 *             each backend keeps it in the layout it multiplies fastest
 *   bias      [N] fp32; 0: none
 *   residual  [M, N] dtype, row stride out_stride; may be out itself; 0: none; not with K_F32 out
 *   out       [M, N] out_dtype, row stride out_stride elements, on CUDA a multiple of K_ROW_ALIGN
 *             unless out_dtype is K_F32; not in
 *   M >= 1.  Rows of in and out up to the next multiple of K_GEMM_ROW_PAD must be memory the op may
 *   read (any bits) and write: backends compute whole row blocks. Elements of in past K may hold
 *   anything, NaN too.
 *
 * Numerics  products and sums in fp32; the order of the sum over k is fixed by K and the device, so
 *           a row has the same bits for every M and every thread count. On CUDA, one canonical
 *           order: K is cut into chunks of K_GEMM_CHUNK; each is summed from zero in
 *           ascending k by one kind of MMA instruction (m16n8k16, rows of in as A); chunk sums are
 *           added in ascending order in fp32, from zero; then the bias. Where the device was told
 *           to multiply with cuBLASLt, none of this holds (csrc/device/cuda_cublaslt.c).
 * Cost      2*M*N*K FLOP; N*K + M*K + M*N elements.
 * Oracle    csrc/cpu/gemm.c.   Test: tests/cpu/test_gemm.c, tests/cuda/test_cuda_gemm.c */
#ifndef K_GEMM_H
#define K_GEMM_H

#include "types.h"

enum { K_GEMM_ROW_PAD = 16, K_GEMM_CHUNK = 512 };

struct k_gemm_args {
    k_ptr out, in, weight, bias, residual;
    int64_t out_stride, in_stride;
    int32_t m, n, k;
    int32_t dtype;     /* of in, weight and residual */
    int32_t out_dtype; /* dtype, or K_F32 (logits) */
    int32_t pad_;
};
K_STATIC_ASSERT(sizeof(struct k_gemm_args) == 80, "same layout in C and CUDA");

#endif
