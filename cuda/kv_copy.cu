// SPDX-License-Identifier: Apache-2.0
//
// kv_copy.cu - copies pages inside the pool (kv_copy.h).
//
// Grid: x pairs, y stretches of 8 KB of a page; 128 threads with four 16-byte loads under way each,
// 1536 threads an SM. A grid holds 65535 stretches along y: a page past 512 MB is walked in steps.
#include "kv_copy.h"
#include "ptx.cuh"

enum { kThreads = 128, kAtOnce = 4, kStretch = 16 * kThreads * kAtOnce };

extern "C" __global__ void __launch_bounds__(kThreads, 12)
    kv_copy_16(const __grid_constant__ k_kv_copy_args a)
{
    const int64_t page_bytes = a.page_bytes;
    char *const pool = k_at<char>(a.pool);
    k_pdl_launch();
    k_pdl_wait();
    const k_kv_copy_pair pair = k_at<const k_kv_copy_pair>(a.pairs)[blockIdx.x];
    const char *from = pool + pair.from * page_bytes;
    char *to = pool + pair.to * page_bytes;
    for (int64_t at = (int64_t)blockIdx.y * kStretch + 16 * threadIdx.x; at < page_bytes;
         at += (int64_t)gridDim.y * kStretch) {
        uint4 v[kAtOnce];
#pragma unroll
        for (int i = 0; i < kAtOnce; i++) {
            const int64_t c = at + 16 * i * kThreads;
            v[i] = c < page_bytes ? k_load16_once(from + c) : make_uint4(0, 0, 0, 0);
        }
#pragma unroll
        for (int i = 0; i < kAtOnce; i++) {
            const int64_t c = at + 16 * i * kThreads;
            if (c < page_bytes) {
                k_store16(to + c, v[i]);
            }
        }
    }
}
