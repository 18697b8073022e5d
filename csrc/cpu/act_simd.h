/* SPDX-License-Identifier: Apache-2.0
 *
 * act_simd.h - one row of SiLU times gate (cuda/act.h), for each instruction set. */
#ifndef OCT_CPU_ACT_SIMD_H
#define OCT_CPU_ACT_SIMD_H

#include "cpu/simd.h"

#include <stdint.h>

OCT_SIMD_DECLARE(void, oct_simd_silu_mul_bf16,
                 (uint16_t * out, const uint16_t *gate, const uint16_t *up, int32_t n))
OCT_SIMD_DECLARE(void, oct_simd_silu_mul_f32,
                 (float *out, const float *gate, const float *up, int32_t n))

#endif
