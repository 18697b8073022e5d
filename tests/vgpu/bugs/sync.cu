// SPDX-License-Identifier: Apache-2.0
// sync.cu - mistakes with barriers and shared memory inside a CTA.
#include "bug.cuh"

FN int id()
{
    return blockIdx.x * blockDim.x + threadIdx.x;
}

KERNEL(no_syncthreads) // tree sum
{
    __shared__ float s[64];
    s[threadIdx.x] = a.in[id()];
    __syncthreads();
    for (int h = 32; h > 0; h /= 2) {
        if (threadIdx.x < h) {
            s[threadIdx.x] += s[threadIdx.x + h];
        }
        if (!BUG || h < 32) {
            __syncthreads();
        }
    }
    if (threadIdx.x == 0) {
        a.out[blockIdx.x] = s[0];
    }
}
KERNEL(no_second_syncthreads) // the tile is refilled while others still read it
{
    __shared__ float s[64];
    float sum = 0;
    for (int i = 0; i < 4; i++) {
        s[threadIdx.x] = a.in[i * 64 + threadIdx.x];
        __syncthreads();
        sum += s[63 - threadIdx.x];
        if (!BUG) {
            __syncthreads();
        }
    }
    a.out[id()] = sum;
}
KERNEL(no_syncwarp)
{
    __shared__ float s[64];
    s[threadIdx.x] = a.in[id()];
    if (!BUG) {
        __syncwarp();
    }
    a.out[id()] = s[threadIdx.x ^ 1];
}
KERNEL(no_syncwarp_war)
{
    __shared__ float s[64];
    s[threadIdx.x] = a.in[id()];
    __syncwarp();
    float x = s[threadIdx.x ^ 3];
    if (!BUG) {
        __syncwarp();
    }
    s[threadIdx.x] = x + 1;
    __syncwarp();
    a.out[id()] = s[threadIdx.x ^ 1];
}
KERNEL(shuffle_is_no_fence) // the value goes by shuffle, the array does not
{
    __shared__ float s[64];
    s[threadIdx.x] = a.in[id()];
    float x = __shfl_xor_sync(~0u, a.in[id()], 1);
    if (!BUG) {
        __syncwarp();
    }
    a.out[id()] = x + s[threadIdx.x ^ 1];
}
KERNEL(syncwarp_of_some)
{
    __shared__ float s[64];
    int lane = threadIdx.x % 32;
    s[threadIdx.x] = a.in[id()];
    if (BUG) {
        if (lane < 16) {
            __syncwarp(0xFFFF);
        } else {
            __syncwarp(0xFFFF0000u);
        }
        if (lane >= 16) {
            s[threadIdx.x] += 1;
        }
    } else {
        __syncwarp();
        if (lane >= 16) {
            s[threadIdx.x] += 1;
        }
        __syncwarp();
    }
    a.out[id()] = lane < 16 ? s[threadIdx.x ^ 16] : 0;
}
KERNEL(named_barriers_mixed) // each half must meet at its own barrier, then both
{
    __shared__ float s[64];
    int half = threadIdx.x / 32;
    s[threadIdx.x] = a.in[id()];
    if (BUG) {
        named_sync(1 + half, 32);
    } else {
        named_sync(1, 64);
    }
    a.out[id()] = s[63 - threadIdx.x];
}
KERNEL(barrier_count_too_high)
{
    __shared__ float s[64];
    s[threadIdx.x] = a.in[id()];
    named_sync(1, BUG ? 96 : 64);
    a.out[id()] = s[63 - threadIdx.x];
}
KERNEL(barrier_in_a_branch)
{
    __shared__ float s[64];
    s[threadIdx.x] = a.in[id()];
    if (!BUG || threadIdx.x < 32) {
        __syncthreads();
    }
    a.out[id()] = s[threadIdx.x];
    if (BUG && threadIdx.x >= 32) {
        s[threadIdx.x] = 1;
        named_sync(2, 64);
    } else {
        s[threadIdx.x] = 2;
        if (!BUG) {
            __syncthreads();
        }
    }
}
KERNEL(bytes_of_one_word) // warps own neighbouring bytes; one writes too wide
{
    __shared__ alignas(16) unsigned char s[256];
    int w = threadIdx.x / 32, lane = threadIdx.x % 32;
    if (BUG && w == 0) {
        *(unsigned short *)(s + 4 * lane) = 0x101;
    } else {
        s[4 * lane + w] = (unsigned char)(1 + w);
    }
    __syncthreads();
    a.out[id()] = s[4 * lane] + s[4 * lane + 1];
}
KERNEL(double_buffer_wrong_half)
{
    __shared__ float s[2][64];
    s[0][threadIdx.x] = a.in[threadIdx.x];
    __syncthreads();
    float sum = 0;
    for (int i = 0; i < 4; i++) {
        int now = i & 1, next = BUG ? now : now ^ 1;
        float v = a.in[(i + 1) * 64 + threadIdx.x];
        sum += s[now][63 - threadIdx.x];
        s[next][threadIdx.x] = v;
        __syncthreads();
    }
    a.out[id()] = sum;
}
KERNEL(read_beside_shared_atomic)
{
    __shared__ int s;
    if (threadIdx.x == 0) {
        s = 0;
    }
    __syncthreads();
    atomicAdd(&s, 1);
    if (!BUG) {
        __syncthreads();
    }
    a.out[id()] = (float)s;
}
KERNEL(flag_without_fence) // warp 0 hands data to warp 1 through a volatile flag
{
    __shared__ float s[32];
    __shared__ int flag;
    int w = threadIdx.x / 32, lane = threadIdx.x % 32;
    if (threadIdx.x == 0) {
        flag = 0;
    }
    __syncthreads();
    if (w == 0) {
        s[lane] = a.in[lane];
        __syncwarp();
        if (lane == 0) {
            if (!BUG) {
                __threadfence_block();
            }
            *(volatile int *)&flag = 1;
        }
    } else {
        while (*(volatile int *)&flag == 0) {
        }
        __threadfence_block();
        a.out[lane] = s[lane];
    }
}
KERNEL(broadcast_overwritten) // reduction scratch reused for the next value too early
{
    __shared__ float s[2];
    int w = threadIdx.x / 32, lane = threadIdx.x % 32;
    float r = 0;
    for (int i = 0; i < 3; i++) {
        if (lane == 0) {
            s[w] = a.in[i * 2 + w];
        }
        __syncthreads();
        r += s[0] + s[1];
        if (!BUG) {
            __syncthreads();
        }
    }
    a.out[id()] = r;
}
KERNEL(ldmatrix_too_early)
{
    __shared__ alignas(16) uint32_t s[64];
    s[threadIdx.x] = (uint32_t)a.in[threadIdx.x];
    if (!BUG) {
        __syncthreads();
    }
    uint32_t r0, r1;
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
                 : "=r"(r0), "=r"(r1)
                 : "r"(smem(s + (threadIdx.x % 16) * 4))
                 : "memory");
    a.out[id()] = (float)(r0 + r1);
}
KERNEL(ldmatrix_misaligned)
{
    __shared__ alignas(16) uint32_t s[128];
    s[threadIdx.x] = s[threadIdx.x + 64] = (uint32_t)a.in[threadIdx.x];
    __syncthreads();
    uint32_t r0;
    asm volatile("ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%0}, [%1];"
                 : "=r"(r0)
                 : "r"(smem(s + (threadIdx.x % 8) * 4 + (BUG ? 2 : 0)))
                 : "memory");
    a.out[id()] = (float)r0;
}
KERNEL(shuffle_from_exited_lane)
{
    int lane = threadIdx.x % 32;
    float x = a.in[id()];
    if (BUG && lane == 31) {
        return;
    }
    a.out[id()] = __shfl_xor_sync(BUG ? 0x7FFFFFFFu : ~0u, x, 1);
}
KERNEL(shuffle_mask_lacks_the_caller)
{
    float x = a.in[id()];
    a.out[id()] = __shfl_xor_sync(BUG ? 0xFFFFu : ~0u, x, 1);
}
KERNEL(shuffle_in_a_branch) // the mask names lanes that never come
{
    float x = a.in[id()];
    if (!BUG || threadIdx.x % 32 < 16) {
        x += __shfl_xor_sync(~0u, x, 1);
    } else {
        __syncwarp(~0u);
    }
    a.out[id()] = x;
}
KERNEL(barrier_number_out_of_range)
{
    __shared__ float s[64];
    s[threadIdx.x] = a.in[id()];
    named_sync(BUG ? (int)a.in[17] : 2, 64);
    a.out[id()] = s[63 - threadIdx.x];
}
