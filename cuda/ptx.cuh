// SPDX-License-Identifier: Apache-2.0
//
// ptx.cuh - one instruction a function, for sm_80 and sm_90a; addresses and bf16.
#ifndef K_PTX_CUH
#define K_PTX_CUH

#include "types.h"

#include <cuda_bf16.h>

#define K_DEV static __device__ __forceinline__

// ---- addresses ----

template <typename T> K_DEV T *k_at(k_ptr p)
{
    return reinterpret_cast<T *>(p);
}

K_DEV uint32_t k_smem(const void *p)
{
    return (uint32_t)__cvta_generic_to_shared(p);
}

// ---- 16-byte loads and stores ----

// What is read once: not kept in L1.
K_DEV uint4 k_load16_once(const void *p)
{
    uint4 v;
    asm volatile("ld.global.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
                 : "l"(p)
                 : "memory");
    return v;
}

K_DEV uint4 k_load16(const void *p)
{
    return *static_cast<const uint4 *>(p);
}

K_DEV void k_store16(void *p, uint4 v)
{
    *static_cast<uint4 *>(p) = v;
}

// Bytes, a multiple of 16 at a multiple of 16, to L2; on sm_80 nothing.
K_DEV void k_prefetch_l2(const void *p, uint32_t bytes)
{
#if __CUDA_ARCH__ >= 900
    asm volatile("cp.async.bulk.prefetch.L2.global [%0], %1;" ::"l"(p), "r"(bytes) : "memory");
#endif
}

// ---- bf16 ----

K_DEV float k_bf16_lo(uint32_t pair)
{
    return __uint_as_float(pair << 16);
}

K_DEV float k_bf16_hi(uint32_t pair)
{
    return __uint_as_float(pair & 0xffff0000u);
}

// Round to nearest even; lo is the element at the lower address.
K_DEV uint32_t k_bf16_pair(float lo, float hi)
{
    uint32_t pair;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(hi), "f"(lo));
    return pair;
}

// The contracts' store(): a float rounded to what bf16 can hold.
K_DEV float k_bf16_round(float f)
{
    return __bfloat162float(__float2bfloat16_rn(f));
}

// ---- cp.async ----

// 16 bytes to shared memory, past L1; of them src_bytes (0..16) are read, the others become zero.
K_DEV void k_cp_async16(uint32_t dst, const void *src, int src_bytes = 16)
{
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(dst), "l"(src),
                 "r"(src_bytes)
                 : "memory");
}

K_DEV void k_cp_async_commit()
{
    asm volatile("cp.async.commit_group;" ::: "memory");
}

// Until at most N groups of this thread are on their way. Others see the data after a barrier.
template <int N> K_DEV void k_cp_async_wait()
{
    asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}

// ---- matrices ----

// Four 8x8 tiles of 16-bit elements; lanes 8i..8i+7 give the addresses of tile i's rows.
K_DEV void k_ldmatrix4(uint32_t r[4], uint32_t row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(row)
                 : "memory");
}

K_DEV void k_ldmatrix4_trans(uint32_t r[4], uint32_t row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(row)
                 : "memory");
}

// d += a b: 16x8 fp32, 16x16 bf16 row-major, 16x8 bf16 column-major. Lane l, g = l / 4, c = l % 4:
// d[0..1] at (g, 2c..), d[2..3] at (g + 8, 2c..); a[0] (g, 2c..), a[1] (g + 8, 2c..), a[2] (g, 2c
// + 8..), a[3] (g + 8, 2c + 8..); b0 (k = 2c.., n = g), b1 (k = 2c + 8.., n = g).
K_DEV void k_mma_bf16(float d[4], const uint32_t a[4], uint32_t b0, uint32_t b1)
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, "
                 "{%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// ---- functions ----

// 2^x within 2 ulp; 2^-inf = 0.
K_DEV float k_exp2(float x)
{
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

// ---- flags between blocks ----

// Whoever loads the value sees all that this block wrote before the barrier before the store.
K_DEV void k_store_release(uint32_t *p, uint32_t v)
{
    asm volatile("st.release.gpu.global.u32 [%0], %1;" ::"l"(p), "r"(v) : "memory");
}

K_DEV uint32_t k_load_acquire(const uint32_t *p)
{
    uint32_t v;
    asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(v) : "l"(p) : "memory");
    return v;
}

// ---- programmatic dependent launch (sm_90; nothing on sm_80) ----

// Until the kernels before this one in the stream are done and what they wrote is visible. Before
// it a kernel touches nothing that another kernel writes, and writes nothing at all.
K_DEV void k_pdl_wait()
{
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

// The next kernel may start: it has its own wait. A matter of time, not of order.
K_DEV void k_pdl_launch()
{
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

#endif
