// SPDX-License-Identifier: Apache-2.0
//
// norm.cu - RMSNorm with residual (norm.h).
//
// Bound by memory: x, add and weight are read once, 16 bytes a lane, and the row stays in registers
// between its sum and its output. A row belongs to a block of up to 512 threads with VECS (1, 2, 4)
// eights each, all loaded before the first is used: with the residual 2 to 8 loads of 16 bytes are
// under way in every thread, 1024 to 1536 threads an SM. Rows past 16384 elements loop and read x
// twice (it comes out of L2).
//
// Order of the sum, a function of dim alone (the plan picks threads and VECS by dim): a thread adds
// the squares of its eights in ascending order, lanes are added as neighbours, pairs of pairs and
// so on, then the warps one after the other.
#include "norm.h"
#include "vec8.cuh"

enum { kMaxWarps = 16 };

// The sum over the block, in every thread.
K_DEV float block_sum(float v)
{
    __shared__ float warps[kMaxWarps];
    v = k_group_sum<32>(v);
    const int n = (int)blockDim.x / 32;
    if (n == 1) {
        return v;
    }
    if (threadIdx.x % 32 == 0) {
        warps[threadIdx.x / 32] = v;
    }
    __syncthreads();
    float sum = warps[0];
    for (int i = 1; i < n; i++) {
        sum = __fadd_rn(sum, warps[i]);
    }
    return sum;
}

// store(x + add) of eight elements.
K_DEV uint4 add8(uint4 x, uint4 add)
{
    float f[8], g[8];
    k_unpack8(f, x);
    k_unpack8(g, add);
#pragma unroll
    for (int i = 0; i < 8; i++) {
        f[i] = __fadd_rn(f[i], g[i]);
    }
    return k_pack8(f);
}

struct row {
    uint16_t *x, *out;
    const uint16_t *add; // NULL: none
};

K_DEV row find_row(const k_rmsnorm_args &a)
{
    const int64_t r = blockIdx.x, from = a.row_ids ? k_at<const int32_t>(a.row_ids)[r] : r;
    return {k_at<uint16_t>(a.x) + from * a.dim, k_at<uint16_t>(a.out) + r * a.dim,
            a.add ? k_at<const uint16_t>(a.add) + from * a.dim : nullptr};
}

template <int VECS> K_DEV void rmsnorm(const k_rmsnorm_args &a)
{
    const int first = 8 * (int)threadIdx.x, step = 8 * (int)blockDim.x, dim = a.dim;
    const float eps = a.eps;
    uint4 x[VECS], add[VECS], weight[VECS];
    k_pdl_launch();
#pragma unroll
    for (int i = 0; i < VECS; i++) { // before the wait: nothing writes weights
        const int c = first + i * step;
        weight[i] = c < dim ? k_load16(k_at<const uint16_t>(a.weight) + c) : make_uint4(0, 0, 0, 0);
    }
    k_pdl_wait();
    const row r = find_row(a);
#pragma unroll
    for (int i = 0; i < VECS; i++) {
        const int c = first + i * step;
        x[i] = c < dim ? k_load16_once(r.x + c) : make_uint4(0, 0, 0, 0);
    }
    if (r.add) {
#pragma unroll
        for (int i = 0; i < VECS; i++) {
            const int c = first + i * step;
            add[i] = c < dim ? k_load16_once(r.add + c) : make_uint4(0, 0, 0, 0);
        }
#pragma unroll
        for (int i = 0; i < VECS; i++) {
            const int c = first + i * step;
            x[i] = add8(x[i], add[i]);
            if (c < dim) {
                k_store16(r.x + c, x[i]);
            }
        }
    }
    float sum = 0.0f;
#pragma unroll
    for (int i = 0; i < VECS; i++) {
        sum = k_add_squares8(sum, x[i]);
    }
    const float scale = k_rms_scale(block_sum(sum), dim, eps);
#pragma unroll
    for (int i = 0; i < VECS; i++) {
        const int c = first + i * step;
        if (c < dim) {
            k_store16(r.out + c, k_norm8(x[i], scale, weight[i]));
        }
    }
}

extern "C" __global__ void __launch_bounds__(128, 12)
    rmsnorm_b16_v1(const __grid_constant__ k_rmsnorm_args a)
{
    rmsnorm<1>(a);
}

extern "C" __global__ void __launch_bounds__(256, 5)
    rmsnorm_b16_v2(const __grid_constant__ k_rmsnorm_args a)
{
    rmsnorm<2>(a);
}

extern "C" __global__ void __launch_bounds__(512, 2)
    rmsnorm_b16_v4(const __grid_constant__ k_rmsnorm_args a)
{
    rmsnorm<4>(a);
}

extern "C" __global__ void __launch_bounds__(512, 2)
    rmsnorm_b16_long(const __grid_constant__ k_rmsnorm_args a)
{
    constexpr int kAtOnce = 2;
    const int first = 8 * (int)threadIdx.x, step = 8 * (int)blockDim.x, dim = a.dim;
    const float eps = a.eps;
    k_pdl_launch();
    k_pdl_wait();
    const row r = find_row(a);
    float sum = 0.0f;
    for (int at = first; at < dim; at += kAtOnce * step) {
        uint4 x[kAtOnce], add[kAtOnce];
#pragma unroll
        for (int i = 0; i < kAtOnce; i++) {
            const int c = at + i * step;
            const bool in = c < dim;
            x[i] = in ? k_load16(r.x + c) : make_uint4(0, 0, 0, 0);
            add[i] = in && r.add ? k_load16_once(r.add + c) : make_uint4(0, 0, 0, 0);
        }
#pragma unroll
        for (int i = 0; i < kAtOnce; i++) {
            const int c = at + i * step;
            if (r.add && c < dim) {
                x[i] = add8(x[i], add[i]);
                k_store16(r.x + c, x[i]);
            }
            sum = k_add_squares8(sum, x[i]);
        }
    }
    const float scale = k_rms_scale(block_sum(sum), dim, eps);
    for (int c = first; c < dim; c += step) { // what this thread itself read or wrote
        const uint4 weight = k_load16(k_at<const uint16_t>(a.weight) + c);
        k_store16(r.out + c, k_norm8(k_load16(r.x + c), scale, weight));
    }
}
