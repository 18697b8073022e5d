/* SPDX-License-Identifier: Apache-2.0
 *
 * rope_simd.h - one head of rope_kv, one copy for each instruction set. */
#ifndef OCT_CPU_ROPE_SIMD_H
#define OCT_CPU_ROPE_SIMD_H

#include "cpu/cpu_ops.h"

/* dst[0..dim) = rotated (normed src[0..dim)); norm NULL: no norm. cos_sin: cos[rot/2], then
 * sin[rot/2]. src and dst may be the same. x: dim floats of scratch. */
OCT_SIMD_DECLARE(void, oct_simd_rope_head,
                 (void *dst, const void *src, const void *norm, const float *cos_sin, int32_t dim,
                  int32_t rot, int32_t dtype, float eps, float *x))

#endif
