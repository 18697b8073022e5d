// SPDX-License-Identifier: Apache-2.0
// atom.h - atomics on host memory, one element at a time; also for reductions of the async engine.
#ifndef VG_ATOM_H
#define VG_ATOM_H

#include "dec.h"
#include "ptx.h"

enum vg_atom {
    VG_AT_NONE,
    VG_AT_AND,
    VG_AT_OR,
    VG_AT_XOR,
    VG_AT_CAS,
    VG_AT_EXCH,
    VG_AT_ADD,
    VG_AT_INC,
    VG_AT_DEC,
    VG_AT_MIN,
    VG_AT_MAX
};

// New value of an element of type t that holds `old`.
uint64_t vg_atom_apply(enum vg_atom what, enum ptx_type t, uint64_t old, uint64_t b, uint64_t c);
enum vg_atom vg_atom_of(const struct ptx_inst *in);
// All global atomics of the process go through one lock.
void vg_atom_lock(void);
void vg_atom_unlock(void);

bool vg_dec_atomic(struct vg_dec *dc); // atom, red
int vg_op_copy_d(struct vg_warp *w, const struct vg_op *op, uint32_t mask);

#endif
