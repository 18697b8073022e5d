// SPDX-License-Identifier: Apache-2.0
//
// libcu++: cuda::barrier and cuda::pipeline over asynchronous copies, cuda::atomic_ref; and the C
// primitives of cuda_pipeline.h.
#include <cooperative_groups.h>
#include <cuda/atomic>
#include <cuda/barrier>
#include <cuda/pipeline>
#include <cuda/ptx>
#include <cuda_pipeline.h>

namespace cg = cooperative_groups;

enum { TILE = 128 };

extern "C" __global__ void libcu_barrier(const int *in, int *out, int tiles)
{
    __shared__ int buffer[TILE];
#pragma nv_diag_suppress static_var_with_dynamic_init
    __shared__ cuda::barrier<cuda::thread_scope_block> bar;
    auto block = cg::this_thread_block();
    if (block.thread_rank() == 0) {
        init(&bar, block.size());
#if __CUDA_ARCH__ >= 900
        // As the programming guide has it: the copy engine must see the barrier's first value.
        cuda::ptx::fence_proxy_async(cuda::ptx::space_shared);
#endif
    }
    block.sync();
    int sum = 0;
    for (int t = 0; t < tiles; t++) {
        cuda::memcpy_async(block, buffer, in + t * TILE, cuda::aligned_size_t<16>(sizeof(buffer)),
                           bar);
        bar.arrive_and_wait();
        sum += buffer[(threadIdx.x * 7 + t) % TILE];
        block.sync();
    }
    out[threadIdx.x] = sum;
}

extern "C" __global__ void libcu_pipeline(const int *in, int *out, int tiles)
{
    constexpr int stages = 2;
    __shared__ int buffer[stages][TILE];
    __shared__ cuda::pipeline_shared_state<cuda::thread_scope_block, stages> state;
    auto block = cg::this_thread_block();
    auto pipe = cuda::make_pipeline(block, &state);
    int sum = 0;
    for (int t = 0, fetched = 0; t < tiles; t++) {
        for (; fetched < tiles && fetched < t + stages; fetched++) {
            pipe.producer_acquire();
            cuda::memcpy_async(block, buffer[fetched % stages], in + fetched * TILE,
                               cuda::aligned_size_t<16>(sizeof(buffer[0])), pipe);
            pipe.producer_commit();
        }
        pipe.consumer_wait();
        sum += buffer[t % stages][TILE - 1 - threadIdx.x];
        pipe.consumer_release();
    }
    out[threadIdx.x] = sum;
}

extern "C" __global__ void c_pipeline(const float4 *in, float4 *out)
{
    __shared__ float4 buffer[2][TILE];
    for (int s = 0; s < 2; s++) {
        __pipeline_memcpy_async(&buffer[s][threadIdx.x], &in[s * TILE + threadIdx.x],
                                sizeof(float4));
        __pipeline_commit();
    }
    __pipeline_wait_prior(1);
    __syncthreads();
    float4 a = buffer[0][TILE - 1 - threadIdx.x];
    __pipeline_wait_prior(0);
    __syncthreads();
    float4 b = buffer[1][TILE - 1 - threadIdx.x];
    out[threadIdx.x] = make_float4(a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w);
}

extern "C" __global__ void libcu_atomic(int *most, const int *in)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    cuda::atomic_ref<int, cuda::thread_scope_device> ref(*most);
    ref.fetch_max(in[i], cuda::memory_order_relaxed);
}
