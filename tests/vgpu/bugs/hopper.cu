// SPDX-License-Identifier: Apache-2.0
// hopper.cu - mistakes with TMA, bulk copies, wgmma and clusters (sm_90a).
#include "bug.cuh"

FN int id()
{
    return blockIdx.x * blockDim.x + threadIdx.x;
}
FN void expect(uint64_t *b, uint32_t bytes)
{
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(smem(b)), "r"(bytes)
                 : "memory");
}
FN void tma_load(void *dst, const Map &map, int x, int y, uint64_t *bar)
{
    asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes "
                 "[%0], [%1, {%2, %3}], [%4];" ::"r"(smem(dst)),
                 "l"(&map), "r"(x), "r"(y), "r"(smem(bar))
                 : "memory");
}
FN void tma_store(const Map &map, int x, int y, const void *src)
{
    asm volatile(
        "cp.async.bulk.tensor.2d.global.shared::cta.tile.bulk_group [%0, {%1, %2}], [%3];" ::"l"(
            &map),
        "r"(x), "r"(y), "r"(smem(src))
        : "memory");
}
FN void bulk_load(void *dst, const void *src, uint32_t bytes, uint64_t *bar)
{
    asm volatile(
        "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::
            "r"(smem(dst)),
        "l"(src), "r"(bytes), "r"(smem(bar))
        : "memory");
}
FN void bulk_store(void *dst, const void *src, uint32_t bytes)
{
    asm volatile("cp.async.bulk.global.shared::cta.bulk_group [%0], [%1], %2;" ::"l"(dst),
                 "r"(smem(src)), "r"(bytes)
                 : "memory");
}
FN void bulk_commit()
{
    asm volatile("cp.async.bulk.commit_group;" ::: "memory");
}
FN void bulk_wait_read()
{
    asm volatile("cp.async.bulk.wait_group.read 0;" ::: "memory");
}
FN void bulk_wait()
{
    asm volatile("cp.async.bulk.wait_group 0;" ::: "memory");
}
FN void fence_init()
{
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}
FN void fence_async()
{
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}
FN void fence_async_global()
{
    asm volatile("fence.proxy.async.global;" ::: "memory");
}

enum { TILE = 16 * 32 * 4 };

// One tile through TMA; each argument is one mistake.
FN void one_tile(const Args &a, int no_wait, int bytes, int no_fence, int bad_map, int shift,
                 int exits)
{
    __shared__ alignas(1024) float s[2048];
    __shared__ uint64_t bar;
    if (threadIdx.x == 0) {
        bar_init(&bar, 1);
        if (!no_fence) {
            fence_init();
        }
    }
    __syncthreads();
    float *dst = s + shift;
    if (threadIdx.x == 0) {
        expect(&bar, bytes);
        tma_load(dst, bad_map ? *(const Map *)((const char *)&a.map + 64) : a.map, 0, 0, &bar);
    }
    if (exits) {
        a.out[id()] = 1;
        return;
    }
    if (!no_wait) {
        bar_wait(&bar, 0);
    }
    a.out[id()] = dst[threadIdx.x] + dst[511 - threadIdx.x];
    if (no_wait) {
        bar_wait(&bar, 0);
    }
}
KERNEL(tma_not_waited)
{
    one_tile(a, BUG, TILE, 0, 0, 0, 0);
}
KERNEL(tma_expects_too_much)
{
    one_tile(a, 0, TILE + BUG * 16, 0, 0, 0, 0);
}
KERNEL(tma_expects_too_little)
{
    one_tile(a, 0, TILE - BUG * 16, 0, 0, 0, 0);
}
KERNEL(tma_barrier_not_fenced)
{
    one_tile(a, 0, TILE, BUG, 0, 0, 0);
}
KERNEL(tma_map_garbage)
{
    one_tile(a, 0, TILE, 0, BUG, 0, 0);
}
KERNEL(tma_destination_misaligned)
{
    one_tile(a, 0, TILE, 0, 0, 4 * BUG, 0);
}
KERNEL(tma_exit_in_flight)
{
    one_tile(a, 0, TILE, 0, 0, 0, BUG);
}

// Warp 0 fills a stage per round, warp 1 uses it.
KERNEL(tma_producer_skips_empty)
{
    __shared__ alignas(1024) float s[512];
    __shared__ uint64_t full, empty;
    int w = threadIdx.x / 32, lane = threadIdx.x % 32;
    if (threadIdx.x == 0) {
        bar_init(&full, 1);
        bar_init(&empty, 1);
        fence_init();
    }
    __syncthreads();
    if (w == 0) {
        if (lane == 0) {
            for (int i = 0; i < 4; i++) {
                if (!BUG || i == 0) {
                    bar_wait(&empty, (i & 1) ^ 1);
                }
                expect(&full, TILE);
                tma_load(s, a.map, 0, 16 * i, &full);
            }
        }
    } else {
        float sum = 0;
        for (int i = 0; i < 4; i++) {
            bar_wait(&full, i & 1);
            sum += s[lane] + s[511 - lane];
            __syncwarp();
            if (lane == 0) {
                bar_arrive(&empty);
            }
        }
        a.out[lane] = sum;
    }
}

FN void store_tile(const Args &a, int no_fence, int no_read_wait, int no_wait, int hole)
{
    __shared__ alignas(1024) float s[512];
    for (int round = 0; round < 2; round++) {
        for (int i = threadIdx.x; i < 512; i += blockDim.x) {
            if (!hole || i != 77 || round != 0) {
                s[i] = a.in[i] + round;
            }
        }
        if (!no_fence) {
            fence_async();
        }
        __syncthreads();
        if (threadIdx.x == 0) {
            tma_store(a.map_out, 0, 16 * round, s);
            bulk_commit();
            if (round == 0 ? !no_read_wait : !no_wait) {
                bulk_wait_read();
            }
        }
        __syncthreads();
    }
}
KERNEL(tma_store_not_fenced)
{
    store_tile(a, BUG, 0, 0, 0);
}
KERNEL(tma_store_source_overwritten)
{
    store_tile(a, 0, BUG, 0, 0);
}
KERNEL(tma_store_exit_too_early)
{
    store_tile(a, 0, 0, BUG, 0);
}
KERNEL(tma_store_of_uninitialised)
{
    store_tile(a, 0, 0, 0, BUG);
}

FN void bulk_round_trip(const Args &a, uint32_t bytes, int no_wait)
{
    __shared__ alignas(128) float s[256];
    __shared__ uint64_t bar;
    if (threadIdx.x == 0) {
        bar_init(&bar, 1);
        fence_init();
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        expect(&bar, bytes);
        bulk_load(s, a.in, bytes, &bar);
    }
    bar_wait(&bar, 0);
    if (threadIdx.x == 0) {
        bulk_store(a.out, s, bytes);
        bulk_commit();
        if (!no_wait) {
            bulk_wait();
        }
        a.out[1024] = a.out[3];
        bulk_wait();
    }
}
KERNEL(bulk_size_odd)
{
    bulk_round_trip(a, BUG ? 1000 : 1008, 0);
}
KERNEL(bulk_store_read_back_too_early)
{
    bulk_round_trip(a, 1024, BUG);
}
KERNEL(bulk_wait_read_is_not_wait) // .read says nothing about the destination
{
    __shared__ alignas(128) float s[64];
    s[threadIdx.x] = a.in[threadIdx.x];
    fence_async();
    __syncthreads();
    if (threadIdx.x == 0) {
        bulk_store(a.out, s, 256);
        bulk_commit();
        if (BUG) {
            bulk_wait_read();
        } else {
            bulk_wait();
        }
        a.out[1024] = a.out[3];
    }
}

// ---- the two proxies and global memory ----
KERNEL(bulk_source_not_fenced) // the fence is one of shared memory only
{
    __shared__ alignas(128) float s[64];
    __shared__ uint64_t bar;
    if (threadIdx.x == 0) {
        bar_init(&bar, 1);
        fence_init();
    }
    a.out[threadIdx.x] = a.in[threadIdx.x];
    if (BUG) {
        fence_async();
    } else {
        fence_async_global();
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        expect(&bar, 256);
        bulk_load(s, a.out, 256, &bar);
    }
    bar_wait(&bar, 0);
    a.out[1024 + id()] = s[63 - threadIdx.x];
}
KERNEL(tma_source_of_other_cta_not_fenced) // CTA 0 writes a tile, CTA 1 loads it
{
    __shared__ alignas(1024) float s[512];
    __shared__ uint64_t bar;
    if (blockIdx.x == 0) {
        for (int i = threadIdx.x; i < 512; i += blockDim.x) {
            a.out[i] = a.in[i];
        }
        __syncthreads();
        if (threadIdx.x == 0) {
            asm volatile("st.release.gpu.global.s32 [%0], 1;" ::"l"(a.flags) : "memory");
        }
        return;
    }
    if (threadIdx.x == 0) {
        bar_init(&bar, 1);
        fence_init();
        int v;
        do {
            asm volatile("ld.acquire.gpu.global.s32 %0, [%1];" : "=r"(v) : "l"(a.flags) : "memory");
        } while (v == 0);
        if (!BUG) {
            fence_async_global();
        }
        expect(&bar, TILE);
        tma_load(s, a.map_out, 0, 0, &bar);
    }
    __syncthreads();
    bar_wait(&bar, 0);
    a.out[1024 + threadIdx.x] = s[511 - threadIdx.x];
}
KERNEL(bulk_reduction_over_unfenced_write) // zeroes by ordinary stores, then adds through TMA
{
    __shared__ alignas(128) float s[64];
    s[threadIdx.x] = a.in[threadIdx.x];
    a.out[threadIdx.x] = 0;
    fence_async();
    if (!BUG) {
        fence_async_global();
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        asm volatile(
            "cp.reduce.async.bulk.global.shared::cta.bulk_group.add.f32 [%0], [%1], %2;" ::"l"(
                a.out),
            "r"(smem(s)), "r"(256)
            : "memory");
        bulk_commit();
        bulk_wait();
    }
}
KERNEL(tma_source_overwritten) // the source of a load changes before anybody has waited for it
{
    __shared__ alignas(128) float s[64];
    __shared__ uint64_t bar;
    a.out[threadIdx.x] = a.in[threadIdx.x];
    fence_async_global();
    if (threadIdx.x == 0) {
        bar_init(&bar, 1);
        fence_init();
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        expect(&bar, 256);
        bulk_load(s, a.out, 256, &bar);
        if (BUG) {
            a.out[5] = 99;
        }
    }
    bar_wait(&bar, 0);
    if (!BUG && threadIdx.x == 0) {
        a.out[5] = 99;
    }
    a.out[1024 + threadIdx.x] = s[threadIdx.x];
}
// A tensor map that the kernel itself writes to global memory.
FN void map_of_kernel(const Args &a, int no_release, int no_acquire)
{
    __shared__ alignas(1024) float s[512];
    __shared__ uint64_t bar;
    if (threadIdx.x < 32) {
        a.flags[threadIdx.x] = ((const int *)&a.map_out)[threadIdx.x];
        if (!no_release) {
            asm volatile("fence.proxy.tensormap::generic.release.gpu;" ::: "memory");
        }
    }
    for (int i = threadIdx.x; i < 512; i += blockDim.x) {
        a.out[i] = a.in[i];
    }
    fence_async_global();
    if (threadIdx.x == 0) {
        bar_init(&bar, 1);
        fence_init();
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        if (!no_acquire) {
            asm volatile("fence.proxy.tensormap::generic.acquire.gpu [%0], 128;" ::"l"(a.flags)
                         : "memory");
        }
        expect(&bar, TILE);
        tma_load(s, *(const Map *)a.flags, 0, 0, &bar);
    }
    bar_wait(&bar, 0);
    a.out[1024 + threadIdx.x] = s[511 - threadIdx.x];
}
KERNEL(tensormap_not_released)
{
    map_of_kernel(a, BUG, 0);
}
KERNEL(tensormap_not_acquired)
{
    map_of_kernel(a, 0, BUG);
}

// ---- wgmma: 128 threads, A 64 x 32 s8 and B 8 x 32 s8, no swizzle ----
FN uint64_t desc(const void *p, uint32_t lead, uint32_t stride, uint64_t mode)
{
    return (smem(p) & 0x3FFFF) >> 4 | (uint64_t)(lead >> 4) << 16 | (uint64_t)(stride >> 4) << 32 |
           mode << 62;
}
FN void mma(int (&d)[4], uint64_t da, uint64_t db, int use_d)
{
    asm volatile("{ .reg .pred p; setp.ne.b32 p, %6, 0;\n"
                 "wgmma.mma_async.sync.aligned.m64n8k32.s32.s8.s8 {%0, %1, %2, %3}, %4, %5, p; }"
                 : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
                 : "l"(da), "l"(db), "r"(use_d));
}
FN void mma_fence()
{
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
FN void mma_commit()
{
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
template <int N> FN void mma_wait()
{
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(N) : "memory");
}
FN void use_wgmma(const Args &a, int no_wait, int no_fence, int no_proxy, int early_store,
                  int no_sync, int early_write, int misaligned)
{
    __shared__ alignas(1024) signed char sa[64 * 32 + 1024], sb[8 * 32];
    for (int i = threadIdx.x; i < 64 * 32 + 1024; i += blockDim.x) {
        sa[i] = (signed char)a.in[i];
    }
    for (int i = threadIdx.x; i < 8 * 32; i += blockDim.x) {
        sb[i] = (signed char)(a.in[i] - 40);
    }
    if (!no_proxy) {
        fence_async();
    }
    if (!no_sync) {
        __syncthreads();
    }
    int d[4] = {1, 2, 3, 4};
    if (!no_fence) {
        mma_fence();
    }
    uint64_t da = misaligned ? desc(sa + 128, 16, 256, 3) : desc(sa, 128, 256, 0);
    mma(d, da, desc(sb, 128, 256, 0), 1);
    mma_commit();
    if (early_store && threadIdx.x == 3) {
        sa[100] = 7;
    }
    if (no_wait) {
        a.out[id()] = (float)d[0];
        mma_wait<0>();
        return;
    }
    if (early_write) {
        asm volatile("add.s32 %0, %0, 1;" : "+r"(d[1]));
    }
    mma_wait<0>();
    asm volatile("" : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])::"memory");
    a.out[id()] = (float)(d[0] + d[1] + d[2] + d[3]);
}
KERNEL(wgmma_result_too_early)
{
    use_wgmma(a, BUG, 0, 0, 0, 0, 0, 0);
}
KERNEL(wgmma_no_fence)
{
    use_wgmma(a, 0, BUG, 0, 0, 0, 0, 0);
}
KERNEL(wgmma_operand_not_fenced)
{
    use_wgmma(a, 0, 0, BUG, 0, 0, 0, 0);
}
KERNEL(wgmma_operand_overwritten)
{
    use_wgmma(a, 0, 0, 0, BUG, 0, 0, 0);
}
KERNEL(wgmma_no_syncthreads)
{
    use_wgmma(a, 0, 0, 0, 0, BUG, 0, 0);
}
KERNEL(wgmma_accumulator_written)
{
    use_wgmma(a, 0, 0, 0, 0, 0, BUG, 0);
}
KERNEL(wgmma_descriptor_misaligned)
{
    use_wgmma(a, 0, 0, 0, 0, 0, 0, BUG);
}

KERNEL(wgmma_a_register_written) // A from registers, one changed while the product is on its way
{
    __shared__ alignas(1024) signed char sb[8 * 32];
    for (int i = threadIdx.x; i < 8 * 32; i += blockDim.x) {
        sb[i] = (signed char)(a.in[i] - 40);
    }
    fence_async();
    __syncthreads();
    int d0 = 0, d1 = 0, d2 = 0, d3 = 0, r0 = (int)threadIdx.x, r1 = 7, r2 = 9, r3 = 11;
    asm volatile("wgmma.fence.sync.aligned;\n"
                 "wgmma.mma_async.sync.aligned.m64n8k32.s32.s8.s8 {%0, %1, %2, %3}, "
                 "{%4, %5, %6, %7}, %8, 0;\n"
                 "wgmma.commit_group.sync.aligned;\n"
#if BUG
                 "add.s32 %5, %5, 1;\n"
#endif
                 "wgmma.wait_group.sync.aligned 0;\n"
                 : "+r"(d0), "+r"(d1), "+r"(d2), "+r"(d3), "+r"(r0), "+r"(r1), "+r"(r2), "+r"(r3)
                 : "l"(desc(sb, 128, 256, 0))
                 : "memory");
    a.out[id()] = (float)(d0 + d1 + d2 + d3 + r1);
}
KERNEL(wgmma_exit_in_flight)
{
    __shared__ alignas(1024) signed char sa[64 * 32], sb[8 * 32];
    for (int i = threadIdx.x; i < 64 * 32; i += blockDim.x) {
        sa[i] = (signed char)a.in[i];
    }
    for (int i = threadIdx.x; i < 8 * 32; i += blockDim.x) {
        sb[i] = (signed char)(a.in[i] - 40);
    }
    fence_async();
    __syncthreads();
    int d[4] = {0, 0, 0, 0};
    mma_fence();
    mma(d, desc(sa, 128, 256, 0), desc(sb, 128, 256, 0), 1);
    mma_commit();
    a.out[id()] = 1;
    if (!BUG) {
        mma_wait<0>();
    }
}
// Operand with a 128-byte swizzle in dynamic shared memory: its pattern begins at multiples of
// 1024, which the declaration must promise.
#if BUG
extern __shared__ __align__(128) signed char dynamic[];
#else
extern __shared__ __align__(1024) signed char dynamic[];
#endif
KERNEL(dynamic_shared_alignment_assumed)
{
    __shared__ alignas(16) signed char sb[8 * 32];
    for (int i = threadIdx.x; i < 64 * 128; i += blockDim.x) {
        dynamic[i] = (signed char)(i * 7);
    }
    for (int i = threadIdx.x; i < 8 * 32; i += blockDim.x) {
        sb[i] = (signed char)(a.in[i] - 40);
    }
    fence_async();
    __syncthreads();
    int d[4] = {0, 0, 0, 0};
    mma_fence();
    mma(d, desc(dynamic, 16, 1024, 1), desc(sb, 128, 256, 0), 1);
    mma_commit();
    mma_wait<0>();
    asm volatile("" : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])::"memory");
    a.out[id()] = (float)(d[0] + d[1] + d[2] + d[3]);
}

// ---- clusters of two CTAs ----
FN uint32_t cluster_rank()
{
    uint32_t r;
    asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(r));
    return r;
}
FN uint32_t remote(const void *p, uint32_t rank)
{
    uint32_t r;
    asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(r) : "r"(smem(p)), "r"(rank));
    return r;
}
FN void cluster_sync()
{
    asm volatile("barrier.cluster.arrive.release.aligned;\nbarrier.cluster.wait.acquire.aligned;" ::
                     : "memory");
}
KERNEL(cluster_no_barrier) // reads the neighbour's shared memory
{
    __shared__ float s[64];
    s[threadIdx.x] = a.in[id()];
    if (BUG) {
        __syncthreads();
    } else {
        cluster_sync();
    }
    float v;
    asm volatile("ld.shared::cluster.f32 %0, [%1];"
                 : "=f"(v)
                 : "r"(remote(&s[63 - threadIdx.x], cluster_rank() ^ 1))
                 : "memory");
    a.out[id()] = v;
    cluster_sync();
}
KERNEL(cluster_arrive_without_remote) // the consumer tells the wrong CTA that the slot is free
{
    __shared__ float s[64];
    __shared__ uint64_t full;
    uint32_t rank = cluster_rank();
    if (threadIdx.x == 0) {
        bar_init(&full, 64);
        fence_init();
    }
    cluster_sync();
    asm volatile("st.shared::cluster.f32 [%0], %1;" ::"r"(remote(&s[threadIdx.x], rank ^ 1)),
                 "f"(a.in[id()])
                 : "memory");
    asm volatile("mbarrier.arrive.release.cluster.shared::cluster.b64 _, [%0];" ::"r"(
                     remote(&full, BUG ? 0 : rank ^ 1))
                 : "memory");
    asm volatile("{ .reg .pred P;\n"
                 "W_%=: mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 P, [%0], 0;\n"
                 "@!P bra W_%=; }" ::"r"(smem(&full))
                 : "memory");
    a.out[id()] = s[63 - threadIdx.x];
    cluster_sync();
}
KERNEL(cluster_out_of_bounds)
{
    __shared__ float s[64];
    s[threadIdx.x] = a.in[id()];
    cluster_sync();
    float v;
    asm volatile("ld.shared::cluster.f32 %0, [%1];"
                 : "=f"(v)
                 : "r"(remote(&s[threadIdx.x], cluster_rank() ^ 1) + BUG * 65536)
                 : "memory");
    a.out[id()] = v;
    cluster_sync();
}
