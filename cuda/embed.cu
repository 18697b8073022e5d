// SPDX-License-Identifier: Apache-2.0
//
// embed.cu - the embedding lookup (embed.h): a warp copies a row, or 1024 elements of one, with all
// of its loads under way at once.
#include "embed.h"
#include "ptx.cuh"

// Grid: x over rows, four warps a block, one row each; y over stretches of 1024 elements of a row.
extern "C" __global__ void __launch_bounds__(128) embed_b16(const __grid_constant__ k_embed_args a)
{
    constexpr int kAtOnce = 4, kStretch = 32 * 8 * kAtOnce;
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
        uint4 v[kAtOnce];
#pragma unroll
        for (int i = 0; i < kAtOnce; i++) {
            const int c = from + 8 * (32 * i + lane);
            v[i] = c < to ? k_load16_once(src + c) : make_uint4(0, 0, 0, 0);
        }
#pragma unroll
        for (int i = 0; i < kAtOnce; i++) {
            const int c = from + 8 * (32 * i + lane);
            if (c < to) {
                k_store16(dst + c, v[i]);
            }
        }
    } else {
        for (int c = from + lane; c < to; c += 32) {
            dst[c] = src[c];
        }
    }
}
