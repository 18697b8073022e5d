// SPDX-License-Identifier: Apache-2.0
// Code that nobody here wrote, from the toolkit's headers: CUB, libcu++ barriers and pipelines,
// cooperative groups. Only the shells are ours.
#include <cooperative_groups.h>
#include <cooperative_groups/memcpy_async.h>
#include <cooperative_groups/reduce.h>
#include <cooperative_groups/scan.h>
#include <cub/block/block_load.cuh>
#include <cub/block/block_radix_sort.cuh>
#include <cub/block/block_reduce.cuh>
#include <cub/block/block_scan.cuh>
#include <cub/block/block_store.cuh>
#include <cub/warp/warp_reduce.cuh>
#include <cuda/barrier>
#include <cuda/functional>
#include <cuda/pipeline>
#include <mma.h>

namespace cg = cooperative_groups;

extern "C" __global__ void block_reduce(const int *in, int *out)
{
    typedef cub::BlockReduce<int, 128> reduce;
    __shared__ typename reduce::TempStorage t;
    int s = reduce(t).Sum(in[threadIdx.x]);
    if (threadIdx.x == 0) {
        *out = s;
    }
}

extern "C" __global__ void block_scan(const int *in, int *out)
{
    typedef cub::BlockScan<int, 128> scan;
    __shared__ typename scan::TempStorage t;
    int v;
    scan(t).ExclusiveSum(in[threadIdx.x], v);
    out[threadIdx.x] = v;
}

extern "C" __global__ void block_sort(const int *in, int *out)
{
    typedef cub::BlockRadixSort<int, 128, 4> sort;
    __shared__ typename sort::TempStorage t;
    int k[4];
    for (int i = 0; i < 4; i++) {
        k[i] = in[threadIdx.x * 4 + i];
    }
    sort(t).Sort(k);
    for (int i = 0; i < 4; i++) {
        out[threadIdx.x * 4 + i] = k[i];
    }
}

extern "C" __global__ void block_transpose(const float *in, float *out)
{
    typedef cub::BlockLoad<float, 128, 4, cub::BLOCK_LOAD_WARP_TRANSPOSE> load;
    typedef cub::BlockStore<float, 128, 4, cub::BLOCK_STORE_TRANSPOSE> store;
    __shared__ union {
        typename load::TempStorage l;
        typename store::TempStorage s;
    } t;
    float k[4];
    load(t.l).Load(in, k);
    __syncthreads();
    for (int i = 0; i < 4; i++) {
        k[i] = 2 * k[i] + threadIdx.x;
    }
    store(t.s).Store(out, k);
}

extern "C" __global__ void warp_max(const double *in, double *out)
{
    typedef cub::WarpReduce<double> reduce;
    __shared__ typename reduce::TempStorage t[4];
    double s = reduce(t[threadIdx.x / 32]).Reduce(in[threadIdx.x], cuda::maximum<>{});
    if (threadIdx.x % 32 == 0) {
        out[threadIdx.x / 32] = s;
    }
}

extern "C" __global__ void pipelined(const float *in, float *out, int n)
{
    __shared__ alignas(16) float buf[2][128];
    __shared__ cuda::pipeline_shared_state<cuda::thread_scope_block, 2> state;
    auto block = cg::this_thread_block();
    auto pipe = cuda::make_pipeline(block, &state);
    pipe.producer_acquire();
    cuda::memcpy_async(block, buf[0], in, cuda::aligned_size_t<16>(512), pipe);
    pipe.producer_commit();
    for (int i = 0; i < n; i++) {
        if (i + 1 < n) {
            pipe.producer_acquire();
            cuda::memcpy_async(block, buf[(i + 1) & 1], in + (i + 1) * 128,
                               cuda::aligned_size_t<16>(512), pipe);
            pipe.producer_commit();
        }
        pipe.consumer_wait();
        out[i * 128 + threadIdx.x] = buf[i & 1][127 - threadIdx.x];
        pipe.consumer_release();
    }
}

extern "C" __global__ void barriers(const int *in, int *out)
{
    __shared__ cuda::barrier<cuda::thread_scope_block> bar;
    __shared__ int s[128];
    if (threadIdx.x == 0) {
        init(&bar, blockDim.x);
    }
    __syncthreads();
    cuda::memcpy_async(&s[threadIdx.x], &in[threadIdx.x], 4, bar);
    bar.arrive_and_wait();
    out[threadIdx.x] = s[127 - threadIdx.x];
    auto token = bar.arrive();
    bar.wait(std::move(token));
}

extern "C" __global__ void groups(const int *in, int *out)
{
    auto tile = cg::tiled_partition<32>(cg::this_thread_block());
    __shared__ int s[128];
    int v = cg::reduce(tile, in[threadIdx.x], cg::plus<int>()) +
            cg::inclusive_scan(tile, in[threadIdx.x]);
    if (threadIdx.x & 1) {
        auto odd = cg::coalesced_threads();
        v += cg::reduce(odd, in[threadIdx.x], cg::less<int>());
    }
    cg::memcpy_async(cg::this_thread_block(), s, in, sizeof(s));
    cg::wait(cg::this_thread_block());
    out[threadIdx.x] = v + s[127 - threadIdx.x];
}

// 16x16 tiles through mma.h: f16 and bf16 with f32 sums, s8 with s32 sums.
template <typename T, typename S> __device__ void tile(const T *a, const T *b, S *c)
{
    using namespace nvcuda::wmma;
    fragment<matrix_a, 16, 16, 16, T, row_major> fa;
    fragment<matrix_b, 16, 16, 16, T, col_major> fb;
    fragment<accumulator, 16, 16, 16, S> fc;
    fill_fragment(fc, S(0));
    for (int i = 0; i < 2; i++) {
        load_matrix_sync(fa, a + 16 * i, 32);
        load_matrix_sync(fb, b + 16 * i, 32);
        mma_sync(fc, fa, fb, fc);
    }
    for (int i = 0; i < fc.num_elements; i++) {
        fc.x[i] = fc.x[i] * S(2);
    }
    store_matrix_sync(c, fc, 16, mem_row_major);
}
extern "C" __global__ void wmma_tiles(const int *in, float *out)
{
    __shared__ alignas(32) __half h[2][16 * 32];
    __shared__ alignas(32) __nv_bfloat16 b[2][16 * 32];
    __shared__ alignas(32) signed char s[2][16 * 32];
    __shared__ alignas(32) int sum[256];
    for (int i = threadIdx.x; i < 512; i += blockDim.x) {
        int v = in[i] % 16;
        h[0][i] = h[1][511 - i] = __float2half(v * 0.5f);
        b[0][i] = b[1][511 - i] = __float2bfloat16(v * 0.25f);
        s[0][i] = s[1][511 - i] = (signed char)v;
    }
    __syncthreads();
    if (threadIdx.x < 32) {
        tile(h[0], h[1], out);
    } else if (threadIdx.x < 64) {
        tile(b[0], b[1], out + 256);
    } else if (threadIdx.x < 96) {
        tile(s[0], s[1], sum);
    }
    __syncthreads();
    for (int i = threadIdx.x; i < 256; i += blockDim.x) {
        out[512 + i] = (float)sum[i];
    }
}
