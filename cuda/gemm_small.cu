// SPDX-License-Identifier: Apache-2.0
//
// gemm_small.cu - products of few rows (decode): the weight is streamed once, at the speed of
// memory.
#include "gemm.cuh"

K_GEMM_KERNEL(16, 64, 1, 4, 8)
K_GEMM_KERNEL(32, 64, 2, 2, 8)
K_GEMM_KERNEL(64, 64, 2, 2, 6)
