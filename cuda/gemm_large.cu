// SPDX-License-Identifier: Apache-2.0
//
// gemm_large.cu - products of many rows (prefill).
#include "gemm.cuh"

K_GEMM_KERNEL(128, 64, 4, 2, 4)
K_GEMM_KERNEL(128, 128, 4, 2, 4)
K_GEMM_KERNEL(192, 128, 4, 2, 4)
