// SPDX-License-Identifier: Apache-2.0
// Kernels of test_vgpu_kernels.c: ordinary CUDA that the compiler turns into most of what the
// executor knows. Compiled to PTX for compute_80 and compute_90a when the tests are built.
#include <cassert>
#include <cooperative_groups.h>
#include <cstdint>
#include <cstdio>
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_fp8.h>

namespace cg = cooperative_groups;

extern "C" __global__ void vector_add(const float *a, const float *b, float *c, int n)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) {
        c[i] = a[i] + b[i];
    }
}

extern "C" __global__ void rmsnorm(const float *__restrict__ x, const float *__restrict__ w,
                                   float *__restrict__ y, int n)
{
    __shared__ float part[32];
    __shared__ float inverse;
    const float4 *in = reinterpret_cast<const float4 *>(x + (size_t)blockIdx.x * n);
    float4 *out = reinterpret_cast<float4 *>(y + (size_t)blockIdx.x * n);
    float s = 0;
    for (int i = threadIdx.x; i < n / 4; i += blockDim.x) {
        float4 v = in[i];
        s += v.x * v.x + v.y * v.y + v.z * v.z + v.w * v.w;
    }
    for (int o = 16; o; o >>= 1) {
        s += __shfl_xor_sync(~0u, s, o);
    }
    if ((threadIdx.x & 31) == 0) {
        part[threadIdx.x >> 5] = s;
    }
    __syncthreads();
    if (threadIdx.x < 32) {
        s = threadIdx.x < blockDim.x / 32 ? part[threadIdx.x] : 0;
        for (int o = 16; o; o >>= 1) {
            s += __shfl_xor_sync(~0u, s, o);
        }
        if (threadIdx.x == 0) {
            inverse = rsqrtf(s / n + 1e-6f);
        }
    }
    __syncthreads();
    for (int i = threadIdx.x; i < n / 4; i += blockDim.x) {
        float4 v = in[i], g = reinterpret_cast<const float4 *>(w)[i];
        out[i] = make_float4(v.x * inverse * g.x, v.y * inverse * g.y, v.z * inverse * g.z,
                             v.w * inverse * g.w);
    }
}

// Inclusive scan of one block.
extern "C" __global__ void scan(const int *in, int *out)
{
    __shared__ int warp_sum[32];
    int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, v = in[threadIdx.x];
    for (int o = 1; o < 32; o <<= 1) {
        int u = __shfl_up_sync(~0u, v, o);
        v += lane >= o ? u : 0;
    }
    if (lane == 31) {
        warp_sum[warp] = v;
    }
    __syncthreads();
    if (warp == 0 && lane < blockDim.x / 32) {
        unsigned mask = __activemask();
        int s = warp_sum[lane];
        for (int o = 1; o < blockDim.x / 32; o <<= 1) {
            int u = __shfl_up_sync(mask, s, o);
            s += lane >= o ? u : 0;
        }
        warp_sum[lane] = s;
    }
    __syncthreads();
    out[threadIdx.x] = v + (warp ? warp_sum[warp - 1] : 0);
}

extern "C" __global__ void histogram(const uint8_t *in, int n, unsigned *bins)
{
    __shared__ unsigned local[256];
    for (int i = threadIdx.x; i < 256; i += blockDim.x) {
        local[i] = 0;
    }
    __syncthreads();
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) {
        atomicAdd(&local[in[i]], 1u);
    }
    __syncthreads();
    for (int i = threadIdx.x; i < 256; i += blockDim.x) {
        if (local[i]) {
            atomicAdd(&bins[i], local[i]);
        }
    }
}

// Every block needs what the others wrote: the grid barrier spins.
extern "C" __global__ void grid_sums(int *data, int *out)
{
    cg::grid_group grid = cg::this_grid();
    int i = blockIdx.x * blockDim.x + threadIdx.x, n = gridDim.x * blockDim.x;
    data[i] = i;
    for (int round = 0; round < 3; round++) {
        grid.sync();
        int v = data[(i + blockDim.x) % n];
        grid.sync();
        data[i] = v + 1;
    }
    grid.sync();
    out[i] = data[n - 1 - i];
}

// A lock that the lanes of a warp fight for.
extern "C" __global__ void lock_step(int *lock, int *counter)
{
    while (atomicCAS(lock, 0, 1) != 0) {
    }
    __threadfence();
    int v = *(volatile int *)counter;
    *(volatile int *)counter = v + 1;
    __threadfence();
    atomicExch(lock, 0);
}

// The last block to finish adds up what the others left.
extern "C" __global__ void last_block(const float *in, float *part, unsigned *ticket, float *out)
{
    __shared__ bool last;
    float s = in[blockIdx.x * blockDim.x + threadIdx.x];
    s = __reduce_add_sync(~0u, (int)s);
    if (threadIdx.x == 0) {
        part[blockIdx.x] = s;
        __threadfence();
        last = atomicAdd(ticket, 1) == gridDim.x - 1;
    }
    __syncthreads();
    if (last) {
        __threadfence();
        float v = threadIdx.x < gridDim.x ? ((volatile float *)part)[threadIdx.x] : 0;
        for (int o = 16; o; o >>= 1) {
            v += __shfl_down_sync(~0u, v, o);
        }
        if (threadIdx.x == 0) {
            *out = v;
        }
    }
}

struct pair {
    int a;
    double b;
    char c[5];
};
__constant__ float table[4] = {1.5f, 2.5f, 3.5f, 4.5f};
__device__ int base = 7;
__device__ const char *const words[2] = {"one", "two"};

__noinline__ __device__ float choose(float x, int k)
{
    return k > 3 ? x * table[k & 3] : x + k;
}
__noinline__ __device__ pair deeper(pair p, int n)
{
    if (n <= 0) {
        return p;
    }
    p.a += n;
    p.b *= 2;
    p.c[n % 5] = (char)n;
    return deeper(p, n - 1);
}
__noinline__ __device__ int twice(int x)
{
    return 2 * x;
}
__noinline__ __device__ int plus3(int x)
{
    return x + 3;
}
__device__ int (*const functions[2])(int) = {twice, plus3};

extern "C" __global__ void calls(float *out, pair p, int n)
{
    int i = threadIdx.x;
    pair q = deeper(p, i % 4 + n);
    out[4 * i] = choose((float)q.b, i);
    out[4 * i + 1] = (float)(q.a + q.c[1] + base);
    out[4 * i + 2] = (float)functions[i & 1](i);
    out[4 * i + 3] = (float)words[i & 1][i % 3];
}

extern "C" __global__ void local_array(const int *in, int *out, int k)
{
    int a[16];
    for (int i = 0; i < 16; i++) {
        a[i] = in[threadIdx.x * 16 + i];
    }
    for (int i = 0; i < 16; i++) {
        int j = (i * k + threadIdx.x) & 15;
        int t = a[i];
        a[i] = a[j] + i;
        a[j] = t;
    }
    for (int i = 0; i < 16; i++) {
        out[threadIdx.x * 16 + i] = a[(i + k) & 15];
    }
}

extern "C" __global__ void branches(const int *in, int *out)
{
    int i = threadIdx.x, v = in[i];
    switch (v % 9) {
    case 0:
        v = v * 3;
        break;
    case 1:
        v = v - 11;
        break;
    case 2:
        v = v ^ 0x55;
        break;
    case 3:
        v = __popc(v) + 100;
        break;
    case 4:
        v = __clz(v);
        break;
    case 5:
        v = __brev(v);
        break;
    case 6:
        v = v / 7;
        break;
    case 7:
        v = v % 13;
        break;
    default:
        while (v > 5) {
            v = v & 1 ? v - 3 : v / 2;
        }
    }
    out[i] = v + (__any_sync(~0u, v > 1000) ? 1 : 0);
}

extern "C" __global__ void math(const float *in, float *out)
{
    int i = threadIdx.x;
    float x = in[i];
    out[8 * i] = expf(x);
    out[8 * i + 1] = logf(fabsf(x) + 1e-3f);
    out[8 * i + 2] = sinf(x * 1000.0f);
    out[8 * i + 3] = powf(fabsf(x), 2.5f);
    out[8 * i + 4] = erff(x);
    out[8 * i + 5] = tanhf(x);
    out[8 * i + 6] = (float)(sqrt((double)x * x + 1.0) / 3.0 + exp((double)x));
    out[8 * i + 7] = __fdividef(x, 3.0f) + __expf(x) + cbrtf(x);
}

extern "C" __global__ void halves(const float *in, float *out)
{
    int i = threadIdx.x;
    __half2 h = __floats2half2_rn(in[i], in[i + 1]);
    __nv_bfloat162 b = __floats2bfloat162_rn(in[i], in[i + 1]);
    h = __hfma2(h, h, __float2half2_rn(0.5f));
    b = __hfma2(b, b, __float2bfloat162_rn(0.5f));
    __nv_fp8_e4m3 e = __nv_fp8_e4m3(in[i]);
    __nv_fp8_e5m2 g = __nv_fp8_e5m2(in[i]);
    out[6 * i] = __low2float(h);
    out[6 * i + 1] = __high2float(h);
    out[6 * i + 2] = __low2float(b);
    out[6 * i + 3] = __high2float(b);
    out[6 * i + 4] = (float)e;
    out[6 * i + 5] = (float)g;
}

extern "C" __global__ void atomics(float *f, double *d, __half2 *h, __nv_bfloat162 *b, unsigned *u,
                                   unsigned long long *l)
{
    int i = threadIdx.x;
    atomicAdd(&f[0], 1.0f);
    atomicAdd(&d[0], 0.5);
    atomicAdd(&h[0], __floats2half2_rn(1.0f, 2.0f));
    atomicAdd(&b[0], __floats2bfloat162_rn(1.0f, 0.5f));
    atomicMax(&u[0], (unsigned)i);
    atomicMin(&u[1], (unsigned)i);
    atomicInc(&u[2], 10);
    atomicXor(&u[3], 1u << (i & 31));
    atomicOr(&u[4], 1u << (i & 31));
    atomicAdd(&l[0], (unsigned long long)i << 32);
    atomicCAS(&u[5], 0u, (unsigned)i + 1);
    atomicMax((int *)&u[6], -i);
}

extern "C" __global__ void speak(int n)
{
    if (threadIdx.x == 1) {
        printf("%s %d %5.2f|%-4u|%llx %c%%\n", "lane", n, 2.5, 7u, 0x123456789abcull, 'z');
    }
    assert(n != 13 || threadIdx.x != 3);
}

extern "C" __global__ void partition(const int *in, int *out)
{
    auto tile = cg::tiled_partition<16>(cg::this_thread_block());
    int v = in[threadIdx.x];
    auto same = cg::labeled_partition(tile, v % 3);
    unsigned m = __match_any_sync(~0u, v);
    out[threadIdx.x] = tile.shfl_down(v, 3) * 10000 + same.size() * 100 + __popc(m);
}

#if __CUDA_ARCH__ >= 900
// Each CTA sums over its cluster through distributed shared memory.
extern "C" __global__ void __cluster_dims__(4, 1, 1) cluster_sum(const int *in, int *out)
{
    __shared__ int mine[64];
    cg::cluster_group cluster = cg::this_cluster();
    mine[threadIdx.x] = in[blockIdx.x * 64 + threadIdx.x];
    cluster.sync();
    int s = 0;
    for (unsigned r = 0; r < cluster.num_blocks(); r++) {
        s += cluster.map_shared_rank(mine, r)[threadIdx.x];
    }
    *cluster.map_shared_rank(&mine[0], cluster.block_rank()) += 0;
    cluster.sync();
    out[blockIdx.x * 64 + threadIdx.x] = s;
}
#endif
