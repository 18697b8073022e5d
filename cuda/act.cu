// SPDX-License-Identifier: Apache-2.0
//
// act.cu - SiLU times up (act.h).
//
// Bound by memory: 16-byte loads and stores, each byte once. Grid: x rows, y stretches of 2048
// elements; 128 threads, two eights of gate and of up each: four loads under way in every thread,
// 2048 threads an SM, 128 KB.
#include "act.cuh"
#include "act.h"
#include "vec8.cuh"

enum { kThreads = 128, kAtOnce = 2 };

K_DEV uint4 silu_mul8(uint4 gate, uint4 up)
{
    float g[8], u[8];
    k_unpack8(g, gate);
    k_unpack8(u, up);
#pragma unroll
    for (int i = 0; i < 8; i++) {
        g[i] = k_silu(g[i]);
    }
    k_unpack8(g, k_pack8(g));
#pragma unroll
    for (int i = 0; i < 8; i++) {
        g[i] = __fmul_rn(g[i], u[i]);
    }
    return k_pack8(g);
}

extern "C" __global__ void __launch_bounds__(kThreads, 16)
    silu_mul_b16(const __grid_constant__ k_silu_mul_args a)
{
    const int64_t row = blockIdx.x;
    const int dim = a.dim;
    const int first = 8 * ((int)blockIdx.y * kThreads * kAtOnce + (int)threadIdx.x);
    const uint16_t *gates = k_at<const uint16_t>(a.in) + 2 * row * dim, *ups = gates + dim;
    uint16_t *out = k_at<uint16_t>(a.out) + row * dim;
    uint4 gate[kAtOnce], up[kAtOnce];
    k_pdl_launch();
    k_pdl_wait();
#pragma unroll
    for (int i = 0; i < kAtOnce; i++) {
        const int c = first + 8 * i * kThreads;
        gate[i] = c < dim ? k_load16_once(gates + c) : make_uint4(0, 0, 0, 0);
        up[i] = c < dim ? k_load16_once(ups + c) : make_uint4(0, 0, 0, 0);
    }
#pragma unroll
    for (int i = 0; i < kAtOnce; i++) {
        const int c = first + 8 * i * kThreads;
        if (c < dim) {
            k_store16(out + c, silu_mul8(gate[i], up[i]));
        }
    }
}
