// SPDX-License-Identifier: Apache-2.0
// async.cu - mistakes with cp.async and mbarrier, as sm_80 has them.
#include "bug.cuh"

FN int id()
{
    return blockIdx.x * blockDim.x + threadIdx.x;
}
typedef float tile[256]; // 64 threads x 16 bytes

FN void load(float *dst, const float *src)
{
    cp_async16(dst + 4 * threadIdx.x, src + 4 * threadIdx.x);
}
FN float sum4(const float *s)
{
    float r = 0;
    for (int i = 0; i < 4; i++) {
        r += s[i * 64 + (63 - threadIdx.x)];
    }
    return r;
}

KERNEL(cp_async_wait_too_weak)
{
    __shared__ alignas(16) tile s[2];
    load(s[0], a.in);
    cp_commit();
    load(s[1], a.in + 256);
    cp_commit();
    cp_wait<1 + BUG>();
    __syncthreads();
    a.out[id()] = sum4(s[0]);
    cp_wait<0>();
}
KERNEL(cp_async_no_wait)
{
    __shared__ alignas(16) tile s;
    load(s, a.in);
    cp_commit();
    if (!BUG) {
        cp_wait<0>();
    }
    __syncthreads();
    a.out[id()] = sum4(s);
    if (BUG) {
        cp_wait<0>();
    }
}
KERNEL(cp_async_no_commit)
{
    __shared__ alignas(16) tile s;
    load(s, a.in);
    if (!BUG) {
        cp_commit();
    }
    cp_wait<0>();
    __syncthreads();
    a.out[id()] = sum4(s);
    asm volatile("cp.async.wait_all;" ::: "memory");
}
KERNEL(cp_async_no_syncthreads)
{
    __shared__ alignas(16) tile s;
    load(s, a.in);
    cp_commit();
    cp_wait<0>();
    if (!BUG) {
        __syncthreads();
    }
    a.out[id()] = sum4(s);
}
KERNEL(cp_async_exit_in_flight)
{
    __shared__ alignas(16) tile s;
    load(s, a.in);
    cp_commit();
    if (!BUG) {
        cp_wait<0>();
    }
    a.out[id()] = 1;
}
KERNEL(cp_async_source_out_of_bounds)
{
    __shared__ alignas(16) tile s;
    load(s, a.in + (BUG ? 4096 - 64 * 2 : 0));
    cp_commit();
    cp_wait<0>();
    __syncthreads();
    a.out[id()] = sum4(s);
}
KERNEL(cp_async_misaligned)
{
    __shared__ alignas(16) tile s;
    load(s, a.in + BUG);
    cp_commit();
    cp_wait<0>();
    __syncthreads();
    a.out[id()] = sum4(s);
}
KERNEL(cp_async_refills_too_early) // two stages, the barrier at the end of the loop is gone
{
    __shared__ alignas(16) tile s[2];
    float sum = 0;
    load(s[0], a.in);
    cp_commit();
    for (int i = 0; i < 4; i++) {
        if (i < 3) {
            load(s[(i + 1) & 1], a.in + (i + 1) * 256);
        }
        cp_commit();
        cp_wait<1>();
        __syncthreads();
        sum += sum4(s[i & 1]);
        if (!BUG) {
            __syncthreads();
        }
    }
    a.out[id()] = sum;
}
KERNEL(cp_async_source_overwritten)
{
    __shared__ alignas(16) tile s;
    a.out[4 * id()] = a.out[4 * id() + 1] = a.out[4 * id() + 2] = a.out[4 * id() + 3] = 1;
    cp_async16(s + 4 * threadIdx.x, a.out + 4 * id());
    cp_commit();
    if (BUG) {
        a.out[4 * id() + 2] = 2;
    }
    cp_wait<0>();
    a.out[4 * id() + 2] = s[4 * threadIdx.x + 1];
}
KERNEL(store_into_cp_async_destination)
{
    __shared__ alignas(16) tile s;
    load(s, a.in);
    cp_commit();
    if (BUG && threadIdx.x == 5) {
        s[20] = 0;
    }
    cp_wait<0>();
    if (!BUG && threadIdx.x == 5) {
        s[20] = 0;
    }
    __syncthreads();
    a.out[id()] = sum4(s);
}
KERNEL(cp_async_mbarrier_not_waited)
{
    __shared__ alignas(16) tile s;
    __shared__ uint64_t bar;
    if (threadIdx.x == 0) {
        bar_init(&bar, blockDim.x);
    }
    __syncthreads();
    load(s, a.in);
    asm volatile("cp.async.mbarrier.arrive.noinc.shared.b64 [%0];" ::"r"(smem(&bar)) : "memory");
    if (!BUG || threadIdx.x < 32) {
        bar_wait(&bar, 0);
        a.out[id()] = sum4(s);
    } else {
        a.out[id()] = s[4 * threadIdx.x];
    }
    bar_wait(&bar, 0);
}

// Producer and consumer warp with one full and one empty barrier.
FN void pipe(const Args &a, int bug_parity, int bug_empty, int bug_full, int n_empty)
{
    __shared__ float s[32];
    __shared__ uint64_t full, empty;
    int w = threadIdx.x / 32, lane = threadIdx.x % 32;
    if (threadIdx.x == 0) {
        bar_init(&full, 32);
        bar_init(&empty, n_empty);
    }
    __syncthreads();
    if (w == 0) {
        for (int i = 0; i < 6; i++) {
            if (!bug_empty) {
                bar_wait(&empty, (i & 1) ^ 1);
            }
            s[lane] = a.in[i * 32 + lane];
            bar_arrive(&full);
        }
    } else {
        float sum = 0;
        for (int i = 0; i < 6; i++) {
            if (!bug_full) {
                bar_wait(&full, bug_parity ? 0 : i & 1);
            }
            sum += s[31 - lane];
            bar_arrive(&empty);
        }
        a.out[lane] = sum;
    }
}
KERNEL(mbarrier_parity_not_flipped)
{
    pipe(a, BUG, 0, 0, 32);
}
KERNEL(mbarrier_producer_does_not_wait)
{
    pipe(a, 0, BUG, 0, 32);
}
KERNEL(mbarrier_consumer_does_not_wait)
{
    pipe(a, 0, 0, BUG, 32);
}
KERNEL(mbarrier_count_too_high)
{
    pipe(a, 0, 0, 0, 32 + BUG);
}
KERNEL(mbarrier_not_initialised)
{
    __shared__ uint64_t bar;
    if (!BUG && threadIdx.x == 0) {
        bar_init(&bar, blockDim.x);
    }
    __syncthreads();
    bar_arrive(&bar);
    bar_wait(&bar, 0);
    a.out[id()] = 1;
}
KERNEL(mbarrier_init_not_synchronised)
{
    __shared__ uint64_t bar;
    if (threadIdx.x == 0) {
        bar_init(&bar, blockDim.x);
    }
    if (!BUG) {
        __syncthreads();
    } else {
        named_sync(1 + threadIdx.x / 32, 32);
        for (int i = 0; i < 64 && threadIdx.x >= 32; i++) {
            __nanosleep(100);
        }
    }
    bar_arrive(&bar);
    bar_wait(&bar, 0);
    a.out[id()] = 1;
}
KERNEL(mbarrier_overwritten)
{
    __shared__ alignas(16) uint64_t bar[8];
    float *scratch = (float *)bar;
    if (threadIdx.x == 0) {
        bar_init(&bar[0], blockDim.x);
    }
    __syncthreads();
    if (threadIdx.x < 8) {
        scratch[threadIdx.x + (BUG ? 1 : 2)] = 1;
    }
    __syncthreads();
    bar_arrive(&bar[0]);
    bar_wait(&bar[0], 0);
    a.out[id()] = 1;
}
KERNEL(mbarrier_too_many_arrivals)
{
    __shared__ uint64_t bar;
    if (threadIdx.x == 0) {
        bar_init(&bar, 64);
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        asm volatile(
            "{ .reg .b64 t; mbarrier.arrive.noComplete.shared.b64 t, [%0], %1; }" ::"r"(smem(&bar)),
            "r"(BUG ? 65 : 63)
            : "memory");
        bar_arrive(&bar);
    }
    bar_wait(&bar, 0);
    a.out[id()] = 1;
}
KERNEL(mbarrier_initialised_twice)
{
    __shared__ uint64_t bar;
    if (threadIdx.x == 0) {
        bar_init(&bar, blockDim.x);
        if (BUG) {
            bar_init(&bar, blockDim.x);
        }
    }
    __syncthreads();
    bar_arrive(&bar);
    bar_wait(&bar, 0);
    a.out[id()] = 1;
}
KERNEL(mbarrier_waits_two_phases_late) // the parity of a phase two back looks like the next one's
{
    __shared__ uint64_t bar;
    int w = threadIdx.x / 32;
    if (threadIdx.x == 0) {
        bar_init(&bar, 32);
    }
    __syncthreads();
    if (w == 1) {
        bar_wait(&bar, 1); // before the first phase: this warp has used the barrier
    }
    __syncthreads();
    if (w == 0) {
        for (int i = 0; i < 2; i++) {
            bar_arrive(&bar);
            bar_wait(&bar, i);
        }
    }
    __syncthreads();
    if (w == 1 && BUG) {
        bar_wait(&bar, 1);
    }
    a.out[id()] = 1;
}
