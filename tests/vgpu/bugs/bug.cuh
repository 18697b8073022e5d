// SPDX-License-Identifier: Apache-2.0
// bug.cuh - what the corpus of injected bugs shares. Each file is compiled twice, with BUG 0 and 1;
// a kernel is right with 0 and has exactly one mistake with 1. All kernels take the same argument.
#ifndef VG_BUG_CUH
#define VG_BUG_CUH

#include <stdint.h>

struct alignas(64) Map {
    unsigned char bytes[128];
};
struct Args {
    Map map;            // in, as [64 rows][32 floats], box 16 rows x 32 floats, swizzle 128 B
    Map map_out;        // out, the same shape and box, no swizzle
    const float *in;    // [4096], i % 97
    float *out;         // [4096], never written before
    int *flags;         // [64], zero
    const float *stale; // like in; freed before the launch when BUG is 1
    int n;              // 1024
};

#define KERNEL(name) extern "C" __global__ void name(const __grid_constant__ Args a)
#define FN static __device__ __forceinline__

FN uint32_t smem(const void *p)
{
    return (uint32_t)__cvta_generic_to_shared(p);
}
FN void cp_async16(void *dst, const void *src)
{
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(smem(dst)), "l"(src) : "memory");
}
FN void cp_commit()
{
    asm volatile("cp.async.commit_group;" ::: "memory");
}
template <int N> FN void cp_wait()
{
    asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}
FN void bar_init(uint64_t *b, uint32_t n)
{
    asm volatile("mbarrier.init.shared.b64 [%0], %1;" ::"r"(smem(b)), "r"(n) : "memory");
}
FN void bar_arrive(uint64_t *b)
{
    asm volatile("{ .reg .b64 t; mbarrier.arrive.shared.b64 t, [%0]; }" ::"r"(smem(b)) : "memory");
}
// sm_80 has test_wait only
FN void bar_wait(uint64_t *b, uint32_t parity)
{
    asm volatile("{\n"
                 " .reg .pred P;\n"
                 "W_%=:\n"
#if __CUDA_ARCH__ >= 900
                 " mbarrier.try_wait.parity.shared::cta.b64 P, [%0], %1;\n"
#else
                 " mbarrier.test_wait.parity.shared.b64 P, [%0], %1;\n"
#endif
                 " @!P bra W_%=;\n"
                 "}\n" ::"r"(smem(b)),
                 "r"(parity)
                 : "memory");
}
FN void named_sync(int id, int n)
{
    asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(n) : "memory");
}
#endif
