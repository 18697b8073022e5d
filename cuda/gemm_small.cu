// SPDX-License-Identifier: Apache-2.0
//
// gemm_small.cu - products of few rows (decode): the weight is streamed once, at the speed of
// memory. One panel of 64 rows of it at a time, so that panels x chunks of K make enough pieces for
// an even share of every SM: 4096 x 4096 is 512 of them, 5 for each of 103 SMs (of 108).
//
//   tile     slots x k-tile  of the weight on its way   warps (rows x places)
//   16 x 64  8 x 10 KB       56 KB an SM                1 x 4: 16 x 16 each
//   32 x 64  8 x 12 KB       56 KB                      2 x 2: 16 x 32
//   64 x 64  6 x 16 KB       40 KB                      2 x 2: 32 x 32
//
// An SM's share of memory is 8 KB in 610 clocks (A100; H100: 570). Its 8 KB need 256 clocks of
// tensor cores at 64 rows, 384 clocks of shared memory (reads 256, copies 128), and at 16 rows,
// where a warp's two chains of MMAs are short, some 230 clocks of latencies: none is the limit.
// `in` comes out of L2, once for each panel: as many bytes as the weight at 64 rows.
#include "gemm.cuh"

K_GEMM_KERNEL(16, 64, 1, 4, 8)
K_GEMM_KERNEL(32, 64, 2, 2, 8)
K_GEMM_KERNEL(64, 64, 2, 2, 6)
