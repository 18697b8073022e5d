// SPDX-License-Identifier: Apache-2.0
//
// gemm_large.cu - products of many rows (prefill). Eight warps, one block an SM, four slots.
//
// The canonical order asks for two sets of accumulators: the chunk's and the running sum. That
// leaves no room for warp tiles of 64 x 64; a tile's size is what two sets and the fragments fit:
//
//   tile       warp tile  accumulators  k-tile: MMA  shared memory: reads + copies  from L2
//   128 x 64   32 x 32    2 x 32        512 clocks   512 + 192                      24 KB
//   128 x 128  32 x 64    2 x 64        1024         768 + 256                      32 KB
//   192 x 128  48 x 64    2 x 96        1536         896 + 320                      40 KB
//
// (A100: 8 clocks for an m16n8k16 in each of four sub-cores, 128 bytes a clock of shared memory.)
// 128 x 128 keeps shared memory as busy as the tensor cores, 192 x 128 leaves a fifth of it: it is
// the tile of large products, and takes 255 registers without spilling. The plan's estimate chooses
// (gemm.c); tiles that are left over after whole waves are cut along K.
//
// Of a warp's time in the loop the MMAs are 0.97 (64 wide), 0.99 and 0.98, by the control words.
#include "gemm.cuh"

K_GEMM_KERNEL(128, 64, 4, 2, 4)
K_GEMM_KERNEL(128, 128, 4, 2, 4)
K_GEMM_KERNEL(192, 128, 4, 2, 4)
