/* SPDX-License-Identifier: Apache-2.0
 *
 * sample_simd.h - the passes of sampling over a whole row of logits, for each instruction set.
 *
 * Weights are exp(), at most 1, rounded to a multiple of 2^-34: up to 2^19 of them add up in double
 * without any rounding, so that a sum is the same in whatever order it is made. */
#ifndef OCT_CPU_SAMPLE_SIMD_H
#define OCT_CPU_SAMPLE_SIMD_H

#include "cpu/simd.h"

#include <stdbool.h>
#include <stdint.h>

enum { OCT_SAMPLE_BLOCK = 512 }; /* tokens per partial sum */

/* The largest of l[n]; *bad is set if any of them is NaN or +inf (the maximum means nothing then).
 */
OCT_SIMD_DECLARE(float, oct_simd_sample_max, (const float *l, int32_t n, bool *bad))

/* The first i with l[i] == value; n if there is none. */
OCT_SIMD_DECLARE(int32_t, oct_simd_sample_find, (const float *l, int32_t n, float value))

/* w[i] = exp((l[i] - max) * scale), block[i / OCT_SAMPLE_BLOCK] = sums of w; their total. */
OCT_SIMD_DECLARE(double, oct_simd_sample_weights,
                 (const float *l, int32_t n, float max, float scale, float *w, double *block))

/* w[i] = 0 unless l[i] > border, or l[i] == border and i <= last, and w[i] >= least. Sums as above.
 */
OCT_SIMD_DECLARE(double, oct_simd_sample_keep,
                 (const float *l, int32_t n, float border, int32_t last, float least, float *w,
                  double *block))

/* l[i] = -inf where bit i % 32 of mask[i / 32] is 0. */
OCT_SIMD_DECLARE(void, oct_simd_sample_mask, (float *l, int32_t n, const uint32_t *mask))

/* The k largest of l[n] without NaN, largest first, equals by lowest index. How many: k or n. */
OCT_SIMD_DECLARE(int32_t, oct_simd_sample_top,
                 (const float *l, int32_t n, int32_t k, int32_t *token, float *value))

#endif
