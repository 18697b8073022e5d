// SPDX-License-Identifier: Apache-2.0
//
// embed.cu - the embedding lookup (embed.h): a warp copies a row, or a part of one.
#include "embed.h"
#include "ptx.cuh"

// Grid: x over rows, four warps a block, one row each; y over stretches of 1024 elements of a row.
extern "C" __global__ void __launch_bounds__(128) embed_b16(const __grid_constant__ k_embed_args a)
{
    constexpr int kStretch = 1024;
    k_pdl_launch();
    const int row = (int)blockIdx.x * 4 + (int)threadIdx.x / 32, lane = (int)threadIdx.x % 32;
    const int from = (int)blockIdx.y * kStretch;
    const int to = min(from + kStretch, a.dim);
    if (row >= a.rows) {
        return;
    }
    k_pdl_wait();
    const int id = k_at<const int32_t>(a.ids)[row];
    const uint16_t *src = k_at<const uint16_t>(a.table) + (int64_t)id * a.dim;
    uint16_t *dst = k_at<uint16_t>(a.out) + (int64_t)row * a.dim;
    if (a.dim % 8 == 0) {
        for (int c = from + lane * 8; c < to; c += 256) {
            k_store16(dst + c, k_load16_once(src + c));
        }
    } else {
        for (int c = from + lane; c < to; c += 32) {
            dst[c] = src[c];
        }
    }
}
