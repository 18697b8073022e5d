/* SPDX-License-Identifier: Apache-2.0
 *
 * simd.h - one source, compiled once for each instruction set, chosen once at run time.
 *
 * A file X_simd.c that is listed with oct_simd(X_simd.c) in this room's CMakeLists.txt is compiled
 * three times, with the flags of x86-64-v4 (AVX-512), x86-64-v3 (AVX2 + FMA) and the plain target.
 * Its outer functions are named with OCT_SIMD():
 *
 *     x_simd.h    OCT_SIMD_DECLARE(void, oct_simd_scale, (float *x, int n, float by))
 *     x_simd.c    void OCT_SIMD(oct_simd_scale)(float *x, int n, float by) { ... }
 *     x.c         OCT_SIMD_PICK(d->simd, oct_simd_scale)(x, n, 2.0f);
 *
 * Everything else in such a file is static, and it includes only headers whose inline functions are
 * all static: a function shared with the rest of the program could be the wide copy, which a narrow
 * machine cannot run. One machine always picks the same copy, so that bits do not move. No ifunc
 * and no target_clones: they run before the sanitizers are ready.
 *
 * The flags say -ffp-contract=off: a compiler that fuses a*b+c in one loop and not in its twin
 * would break "same bits in every variant". Fuse where it matters with vf_fma() of simd_vec.h. */
#ifndef OCT_CPU_SIMD_H
#define OCT_CPU_SIMD_H

enum oct_simd_level {
    OCT_SIMD_BASE, /* what the target of the build has: SSE2 on x86-64 */
    OCT_SIMD_V3,   /* AVX2, FMA, BMI2, F16C */
    OCT_SIMD_V4,   /* AVX-512 F, BW, CD, DQ, VL */
};

/* The widest level of this machine. A device keeps it in `simd`; a test may lower it there, to run
 * the narrow copies on a wide machine. */
enum oct_simd_level oct_simd_level(void);

#if defined(__x86_64__)
#define OCT_SIMD_DECLARE(type, name, params) \
    type name##_base params; \
    type name##_v3 params; \
    type name##_v4 params;
#define OCT_SIMD_PICK(level, name) \
    ((level) == OCT_SIMD_V4 ? name##_v4 : (level) == OCT_SIMD_V3 ? name##_v3 : name##_base)
#else
#define OCT_SIMD_DECLARE(type, name, params) type name##_base params;
#define OCT_SIMD_PICK(level, name) ((void)(level), name##_base)
#endif

/* OCT_SIMD_SUFFIX comes from the build: base, v3 or v4. */
#ifdef OCT_SIMD_SUFFIX
#define OCT_SIMD_PASTE2_(name, suffix) name##_##suffix
#define OCT_SIMD_PASTE_(name, suffix) OCT_SIMD_PASTE2_(name, suffix)
#define OCT_SIMD(name) OCT_SIMD_PASTE_(name, OCT_SIMD_SUFFIX)
#endif

#endif
