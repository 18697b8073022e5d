// SPDX-License-Identifier: Apache-2.0
// slow.h - ops done one lane at a time: directed rounding, conversions of every kind.
#ifndef VG_SLOW_H
#define VG_SLOW_H

#include "decode.h"
#include "ops.h"

enum vg_arith { VG_A_ADD, VG_A_SUB, VG_A_MUL, VG_A_FMA, VG_A_DIV, VG_A_RCP, VG_A_SQRT };
// imm: enum vg_arith; aux: enum vg_round; flags: VG_F_FTZ, VG_F_SAT.
int vg_round_f32(struct vg_warp *w, const struct vg_op *o, uint32_t m);
int vg_round_f64(struct vg_warp *w, const struct vg_op *o, uint32_t m);
// kind: source type; bytes: destination type (enum ptx_type); aux: rounding; flags. Two sources (a
// high, b low) for packed destinations of f32.
int vg_cvt(struct vg_warp *w, const struct vg_op *o, uint32_t m);
int vg_cvt_pack(struct vg_warp *w, const struct vg_op *o,
                uint32_t m);                 // cvt.pack.sat, c: carried on
uint32_t vg_f32_to_e4m3(float x, bool relu); // rn.satfinite
uint32_t vg_f32_to_e5m2(float x, bool relu);
float vg_e4m3_to_f32(uint32_t v);
float vg_e5m2_to_f32(uint32_t v);

#endif
