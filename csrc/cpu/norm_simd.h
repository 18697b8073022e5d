/* SPDX-License-Identifier: Apache-2.0
 *
 * norm_simd.h - one row of RMSNorm (cuda/norm.h), for each instruction set. */
#ifndef OCT_CPU_NORM_SIMD_H
#define OCT_CPU_NORM_SIMD_H

#include "cpu/simd.h"

#include <stdint.h>

/* Rows of dtype; add may be NULL, x is written only if it is not. */
OCT_SIMD_DECLARE(void, oct_simd_rmsnorm_row,
                 (void *out, void *x, const void *add, const void *weight, int32_t dim,
                  int32_t dtype, float eps))

#endif
