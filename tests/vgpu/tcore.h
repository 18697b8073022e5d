// SPDX-License-Identifier: Apache-2.0
// tcore.h - the arithmetic of tensor instructions on rows of 32 lanes.
//
// A destination fragment is a list of rows; row (j, i, e) lane l holds D[l/4 + 8i][8j + 2(l%4) +
// e]. So for one k, A comes as a row of 32 lanes with A[l/4 + 8i][k] in lane l, B as a quad with
// B[k][8j + 2t + e] in t; the product is lane by lane. Everything but f64 is multiplied in float:
// products of two 8- to 11-bit numbers are exact there, integer sums stay below 2^24.
// Sums of floats run in ascending k from zero, the accumulator is added last; hardware may differ
// in the last bits.
#ifndef VG_TCORE_H
#define VG_TCORE_H

#include <stdbool.h>
#include <stdint.h>

#include "ptx.h"

enum { VG_TC_MAX_K = 64, VG_TC_MAX_N = 256 };

// Elements per 32-bit register of an operand type, 0: not one.
unsigned vg_tc_per_reg(enum ptx_type t);
// Element `i` of a packed word as float (f64 is not packed).
float vg_tc_element(enum ptx_type t, uint32_t word, unsigned i);

// k elements from packed words, `step` floats apart.
void vg_tc_to_floats(enum ptx_type t, unsigned k, const uint32_t *word, float *out, unsigned step);
// Large local arrays that need no zeroes (the build zeroes locals).
#if defined(__clang__) || __GNUC__ >= 12
#define VG_TC_RAW __attribute__((uninitialized))
#else
#define VG_TC_RAW
#endif

// Rows of A for one 16-row (n_i 2) or 8-row (n_i 1) fragment: out[i][k][32].
void vg_tc_a_from_regs(enum ptx_type t, unsigned n_i, unsigned k, const uint32_t *const reg[],
                       float *out);
// Quads of B for 8 columns: out[e][k][4].
void vg_tc_b_from_regs(enum ptx_type t, unsigned k, const uint32_t *const reg[], float *out);

// acc[(j*n_i + i)*2 + e][32] = sum over k. n_j groups of 8 columns; b[j][e][k][4].
void vg_tc_multiply(unsigned n_j, unsigned n_i, unsigned k, const float *a, const float *b,
                    float *acc);

// 8-bit integers without floats, where the CPU can (AVX-512 VNNI); false: use the float way.
// a[i][k/4][32] words of 4 bytes, b[j][e][k/4][4] words; sums are written to acc as int32.
bool vg_tc_have_dot(void);
void vg_tc_dot(unsigned n_j, unsigned n_i, unsigned k, bool a_signed, bool b_signed,
               const uint32_t *a, const uint32_t *b, int32_t *acc);
void vg_tc_a_words(unsigned n_i, unsigned k, const uint32_t *const reg[], uint32_t *out);
void vg_tc_b_words(unsigned k, const uint32_t *const reg[], uint32_t *out);

// ---- numbers ----
float vg_half_to_float(uint16_t h);
uint16_t vg_float_to_half(float f); // nearest even
float vg_bf16_to_float(uint16_t h);
uint16_t vg_float_to_bf16(float f); // nearest even
float vg_e4m3_to_float(uint8_t b);
float vg_e5m2_to_float(uint8_t b);

#endif
