// SPDX-License-Identifier: Apache-2.0
// ops.h - the table of arithmetic ops: key, operand signature, handler. The files ops_*.c are
// compiled once per instruction set (VG_LEVEL); decode.c forms a key from an instruction and looks
// it up.
#ifndef VG_OPS_H
#define VG_OPS_H

#include <stdint.h>

#include "decode.h"

// Signature: one letter per operand in the order of the instruction. Upper case: written, lower
// case: read. R/r 32-bit row, D/d 64-bit row, P/p predicate row. They go to op->d, a, b, c, e in
// turn (the written one always to d). A second predicate of "p|q" goes to op->e.
struct vg_alu {
    const char *key, *sig;
    vg_fn fn;
    uint8_t count; // enum vg_count
};

// Row of the key for this machine's instruction set; NULL: there is none.
const struct vg_alu *vg_alu_find(const char *key);

// op->flags of ops with predicate sources: bit i negates source i (0: a).
// Rounding of slow paths, in op->aux.
enum vg_round { VG_RN, VG_RZ, VG_RM, VG_RP, VG_RNA };
// Bits of op->flags in the float ops and conversions.
enum {
    VG_F_FTZ = 1,
    VG_F_SAT = 2,
    VG_F_RELU = 4,
    VG_F_SATFINITE = 8,
    VG_F_INT = 16,
    VG_F_NAN = 32
};

// setp: op->aux says how the comparison combines with predicate c.
enum vg_bool { VG_BOOL_NONE, VG_BOOL_AND, VG_BOOL_OR, VG_BOOL_XOR };

#endif
