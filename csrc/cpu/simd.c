/* SPDX-License-Identifier: Apache-2.0 */
#include "cpu/simd.h"

enum oct_simd_level oct_simd_level(void)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") ||
        !__builtin_cpu_supports("bmi") || !__builtin_cpu_supports("bmi2")) {
        return OCT_SIMD_BASE;
    }
    if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
        !__builtin_cpu_supports("avx512cd") || !__builtin_cpu_supports("avx512dq") ||
        !__builtin_cpu_supports("avx512vl")) {
        return OCT_SIMD_V3;
    }
    return OCT_SIMD_V4;
#else
    return OCT_SIMD_BASE;
#endif
}
