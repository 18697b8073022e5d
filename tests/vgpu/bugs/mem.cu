// SPDX-License-Identifier: Apache-2.0
// mem.cu - mistakes in plain memory accesses, and between CTAs.
#include "bug.cuh"

FN int id()
{
    return blockIdx.x * blockDim.x + threadIdx.x;
}

KERNEL(oob_read) // in has 4096 floats
{
    int i = id() + (BUG ? 4096 - 4 * 64 + 1 : 0);
    a.out[id()] = a.in[i];
}
KERNEL(oob_write)
{
    a.out[id() + (BUG ? 4096 - 4 * 64 + 1 : 0)] = 1;
}
KERNEL(oob_before)
{
    a.out[id()] = a.in[id() - BUG];
}
KERNEL(oob_far) // wrong row stride
{
    a.out[id()] = a.in[id() * (BUG ? 17 : 16)];
}
KERNEL(oob_shared)
{
    __shared__ float s[64];
    s[threadIdx.x + BUG] = a.in[id()];
    __syncthreads();
    a.out[id()] = s[threadIdx.x];
}
KERNEL(oob_next_shared_array) // into the array that happens to follow
{
    __shared__ float s[64];
    __shared__ float t[64];
    s[threadIdx.x] = a.in[id()];
    t[threadIdx.x] = a.in[id()];
    __syncthreads();
    a.out[id()] = *(volatile float *)&s[threadIdx.x + BUG] + *(volatile float *)&t[threadIdx.x];
}
extern __shared__ float dynamic[];
KERNEL(oob_dynamic_before) // from dynamic shared memory down into the static array
{
    __shared__ float s[64];
    s[threadIdx.x] = a.in[id()];
    dynamic[threadIdx.x] = a.in[id()];
    __syncthreads();
    a.out[id()] = s[63 - threadIdx.x] + *(volatile float *)&dynamic[(int)threadIdx.x - BUG];
}
KERNEL(oob_dynamic) // launched with 256 bytes of it
{
    dynamic[threadIdx.x + BUG] = a.in[id()];
    __syncthreads();
    a.out[id()] = dynamic[threadIdx.x];
}
KERNEL(oob_local)
{
    int t[4];
    for (int i = 0; i < 4; i++) {
        t[(i + threadIdx.x) & 3] = i;
    }
    a.out[id()] = (float)((volatile int *)t)[(threadIdx.x & 3) + (BUG && id() == 7 ? 4096 : 0)];
}
KERNEL(misaligned_global)
{
    const float4 *p = (const float4 *)(a.in + BUG);
    ((float4 *)a.out)[id()] = p[id()];
}
KERNEL(misaligned_shared)
{
    __shared__ alignas(16) float s[260];
    for (int i = threadIdx.x; i < 260; i += blockDim.x) {
        s[i] = a.in[i];
    }
    __syncthreads();
    float x, y;
    asm volatile("ld.shared.v2.f32 {%0, %1}, [%2];"
                 : "=f"(x), "=f"(y)
                 : "r"(smem(s + BUG + 2 * threadIdx.x))
                 : "memory");
    a.out[id()] = x + y;
}
KERNEL(uninit_global)
{
    if (!BUG || id() != 7) {
        a.out[id()] = 1;
    }
    __syncthreads();
    a.out[1024 + id()] = a.out[id()];
}
KERNEL(uninit_shared) // the halo is not loaded
{
    __shared__ float s[66];
    s[threadIdx.x + 1] = a.in[id()];
    if (!BUG && threadIdx.x == 0) {
        s[0] = s[65] = 0;
    }
    __syncthreads();
    a.out[id()] = s[threadIdx.x] + s[threadIdx.x + 2];
}
KERNEL(uninit_local)
{
    int t[8];
    for (int i = BUG; i < 8; i++) {
        t[(i + threadIdx.x) & 7] = i;
    }
    a.out[id()] = (float)((volatile int *)t)[(id() * 5) & 7];
}
// The compiler invents no such read, so these are written in PTX: the write is predicated.
KERNEL(uninit_register)
{
    uint32_t r, some = BUG ? threadIdx.x != 9 : 1;
    asm volatile("{ .reg .u32 t; .reg .pred p; setp.ne.u32 p, %1, 0;\n"
                 "@p mov.u32 t, 5;\n"
                 "add.u32 %0, t, %1; }"
                 : "=r"(r)
                 : "r"(some));
    a.out[id()] = (float)r;
}
KERNEL(uninit_register_of_a_loop) // the first round reads what only the second one has written
{
    uint32_t r, from = BUG ? 1 : 0;
    asm volatile("{ .reg .u32 t, i; .reg .pred p;\n"
                 "mov.u32 i, 0; mov.u32 %0, 0;\n"
                 "L_%=: setp.ge.u32 p, i, %1;\n"
                 "@p mov.u32 t, i;\n"
                 "add.u32 %0, %0, t;\n"
                 "add.u32 i, i, 1; setp.lt.u32 p, i, 3; @p bra L_%=; }"
                 : "=r"(r)
                 : "r"(from));
    a.out[id()] = (float)r;
}
KERNEL(uninit_predicate)
{
    uint32_t r, some = BUG ? threadIdx.x < 40 : 1;
    asm volatile("{ .reg .pred p, q; setp.ne.u32 p, %1, 0;\n"
                 "@p setp.eq.u32 q, %1, 1;\n"
                 "selp.u32 %0, 3, 4, q; }"
                 : "=r"(r)
                 : "r"(some));
    a.out[id()] = (float)r;
}
KERNEL(uninit_register64)
{
    uint64_t r, some = BUG ? threadIdx.x & 1 : 1;
    asm volatile("{ .reg .u64 t; .reg .pred p; setp.ne.u64 p, %1, 0;\n"
                 "@p mov.u64 t, 5;\n"
                 "mad.lo.u64 %0, t, 3, %1; }"
                 : "=l"(r)
                 : "l"(some));
    a.out[id()] = (float)r;
}
KERNEL(use_after_free)
{
    a.out[id()] = a.stale[id()];
}
KERNEL(nc_of_written) // __ldg of what another thread has written
{
    a.out[id()] = a.in[id()];
    __syncthreads();
    int j = blockIdx.x * blockDim.x + (threadIdx.x ^ 1);
    a.out[1024 + id()] = BUG ? __ldg(a.out + j) : *(volatile float *)(a.out + j);
}
KERNEL(ctas_write_one_word)
{
    if (threadIdx.x == 0) {
        a.out[BUG ? 0 : blockIdx.x] = (float)blockIdx.x;
    }
}
KERNEL(cta_reads_neighbour)
{
    a.out[id()] = a.in[id()];
    __syncthreads();
    a.out[1024 + id()] = a.out[(id() + (BUG ? blockDim.x : 0)) % (gridDim.x * blockDim.x)];
}
KERNEL(plain_beside_atomic)
{
    if (threadIdx.x == 0) {
        if (BUG && blockIdx.x == 1) {
            a.flags[0] = a.flags[0] + 1;
        } else {
            atomicAdd(a.flags, 1);
        }
    }
}
// The last CTA to finish adds up what the others wrote.
KERNEL(last_cta_without_fence)
{
    __shared__ int last;
    if (threadIdx.x == 0) {
        a.out[blockIdx.x] = a.in[blockIdx.x];
        if (!BUG) {
            __threadfence();
        }
        last = atomicAdd(a.flags, 1) == (int)gridDim.x - 1;
        __threadfence();
        if (last) {
            float s = 0;
            for (int i = 0; i < (int)gridDim.x; i++) {
                s += ((volatile float *)a.out)[i];
            }
            a.out[64] = s;
        }
    }
}
// A barrier of all CTAs by a counter.
FN void grid_barrier(int *count, int n)
{
    __syncthreads();
    if (threadIdx.x == 0) {
        __threadfence();
        atomicAdd(count, 1);
        while (*(volatile int *)count < n) {
        }
        __threadfence();
    }
    __syncthreads();
}
KERNEL(no_grid_barrier)
{
    a.out[id()] = a.in[id()];
    if (BUG) {
        __syncthreads();
    } else {
        grid_barrier(a.flags, gridDim.x);
    }
    int other = (id() + blockDim.x) % (gridDim.x * blockDim.x);
    a.out[1024 + id()] = a.out[other];
}
KERNEL(grid_barrier_count_wrong) // waits for one CTA more than there are
{
    a.out[id()] = a.in[id()];
    grid_barrier(a.flags, gridDim.x + BUG);
    a.out[1024 + id()] = a.out[(id() + blockDim.x) % (gridDim.x * blockDim.x)];
}
KERNEL(grid_barrier_of_too_many) // more CTAs than the device holds at once; wants 116 KiB each
{
    grid_barrier(a.flags, BUG ? gridDim.x : 1);
    if (threadIdx.x == 0) {
        a.out[blockIdx.x] = 1;
    }
}
// CTA 0 hands a value to CTA 1 through a flag.
KERNEL(flag_without_release)
{
    if (threadIdx.x != 0) {
        return;
    }
    if (blockIdx.x == 0) {
        a.out[5] = 3;
        if (BUG) {
            asm volatile("st.relaxed.gpu.global.s32 [%0], 1;" ::"l"(a.flags) : "memory");
        } else {
            asm volatile("st.release.gpu.global.s32 [%0], 1;" ::"l"(a.flags) : "memory");
        }
    } else if (blockIdx.x == 1) {
        int v;
        do {
            asm volatile("ld.acquire.gpu.global.s32 %0, [%1];" : "=r"(v) : "l"(a.flags) : "memory");
        } while (v == 0);
        a.out[6] = a.out[5];
        *a.flags = 0; // after the release, and after nothing else
    }
}
KERNEL(flag_without_acquire)
{
    if (threadIdx.x != 0) {
        return;
    }
    if (blockIdx.x == 0) {
        a.out[5] = 3;
        asm volatile("st.release.gpu.global.s32 [%0], 1;" ::"l"(a.flags) : "memory");
    } else if (blockIdx.x == 1) {
        int v;
        do {
            if (BUG) {
                asm volatile("ld.relaxed.gpu.global.s32 %0, [%1];"
                             : "=r"(v)
                             : "l"(a.flags)
                             : "memory");
            } else {
                asm volatile("ld.acquire.gpu.global.s32 %0, [%1];"
                             : "=r"(v)
                             : "l"(a.flags)
                             : "memory");
            }
        } while (v == 0);
        a.out[6] = a.out[5];
    }
}
