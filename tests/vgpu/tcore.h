// SPDX-License-Identifier: Apache-2.0
// tcore.h - the arithmetic of tensor instructions on rows of 32 lanes (ops_tensor.c; wmma and f64
// have their own).
//
// A destination fragment is a list of rows; row (j, i, e) lane l holds D[l/4 + 8i][8j + 2(l%4) +
// e]. So for one step of k, A comes as a row of 32 lanes with A[l/4 + 8i][k] in lane l, B as a quad
// with B[k][8j + 2t + e] in t; the product is lane by lane. A step is one float or, of integers,
// two 16-bit numbers. 16- and 8-bit words come in the order of their numbers' places.
//
// The order of a sum, whatever the instruction set and whoever shares the tile:
//     d = c + (((0 + a0 b0) + a1 b1) + ... + an bn)    in ascending k, of f32
// where a product of bf16, f16, fp8 or tf32 numbers is exact but for underflow and overflow, and
// every + rounds to nearest even; every NaN becomes 0x7FFFFFFF. Hardware sums in another order and
// may differ in the last bits. Integers are exact.
#ifndef VG_TCORE_H
#define VG_TCORE_H

#include <stdbool.h>
#include <stdint.h>

#include "ptx.h"

enum { VG_TC_MAX_STEPS = 32, VG_TC_MAX_N = 256 };

// Elements per 32-bit register of an operand type, 0: not one.
unsigned vg_tc_per_reg(enum ptx_type t);
static inline bool vg_tc_is_int(enum ptx_type t)
{
    return t == PTX_S8 || t == PTX_U8 || t == PTX_S4 || t == PTX_U4;
}
// Steps that k elements make.
static inline unsigned vg_tc_steps(enum ptx_type t, unsigned k)
{
    return vg_tc_is_int(t) ? k / 2 : k;
}

// Large local arrays that need no zeroes (the build zeroes locals).
#if defined(__clang__) || __GNUC__ >= 12
#define VG_TC_RAW __attribute__((uninitialized))
#else
#define VG_TC_RAW
#endif

struct vg_tensor { // one per instruction set
    // acc of one group of 8 columns, operands as mma.sync has them: the next four in one.
    void (*mma)(enum ptx_type ta, enum ptx_type tb, unsigned n_i, unsigned k,
                const uint32_t *const ra[], const uint32_t *const rb[], uint32_t *acc);
    // Rows of A for one 16-row (n_i 2) or 8-row (n_i 1) fragment: out[i][step][32].
    void (*a_from_regs)(enum ptx_type t, unsigned n_i, unsigned k, const uint32_t *const reg[],
                        uint32_t *out);
    // Quads of B for 8 columns: out[e][step][4].
    void (*b_from_regs)(enum ptx_type t, unsigned k, const uint32_t *const reg[], uint32_t *out);
    // The same for n_j groups of 8 columns of 32 bytes along k: out[j][e][step][4].
    void (*b_from_rows)(enum ptx_type t, unsigned n_j, const uint32_t *row, uint32_t *out);
    // acc[(j*n_i + i)*2 + e][32] = sum over the steps: of float, of int32_t.
    void (*multiply_float)(unsigned n_j, unsigned n_i, unsigned steps, const uint32_t *a,
                           const uint32_t *b, uint32_t *acc);
    void (*multiply_int)(unsigned n_j, unsigned n_i, unsigned steps, const uint32_t *a,
                         const uint32_t *b, uint32_t *acc);
    // d = c + acc of one row; c NULL: nothing is added. f16: two rows of acc, packed c and d.
    void (*add_f32)(uint32_t *d, const uint32_t *c, const uint32_t *acc, bool negate);
    void (*add_f16)(uint32_t *d, const uint32_t *c, const uint32_t *acc, bool negate);
    void (*add_s32)(uint32_t *d, const uint32_t *c, const uint32_t *acc, bool saturate);
};
// The one in use; VGPU_SIMD chooses as in ops.c.
const struct vg_tensor *vg_tensor(void);
// Of level 0 (base), 1 (v3), 2 (v4): NULL when this CPU cannot (tests compare them).
const struct vg_tensor *vg_tensor_of(unsigned level);

// ---- numbers ----
// Element `i` of a packed word as float.
float vg_tc_element(enum ptx_type t, uint32_t word, unsigned i);
float vg_half_to_float(uint16_t h);
uint16_t vg_float_to_half(float f); // nearest even
float vg_bf16_to_float(uint16_t h);
uint16_t vg_float_to_bf16(float f); // nearest even
float vg_e4m3_to_float(uint8_t b);
float vg_e5m2_to_float(uint8_t b);

#endif
