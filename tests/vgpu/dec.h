// SPDX-License-Identifier: Apache-2.0
// dec.h - inside of the decoder: the program being made. For decode*.c only.
#ifndef VG_DEC_H
#define VG_DEC_H

#include "decode.h"
#include "exec.h"
#include "ptx_lex.h"

struct vg_module {
    struct ptx_module *ptx;
    int device;
    struct vg_kernel *kernel;
    struct vg_program **program; // by kernel, made at first launch
    char **program_err;          // by kernel: why there is none
    uint32_t n_kernels;
    uint64_t *blocks; // what vg_mem_alloc gave
    uint32_t n_blocks;
};

enum { VG_LOCAL_BASE = 16 }; // local address of a thread's first byte
// Address of a function as data: the tag and its index.
#define VG_FUNC_TAG 0x5f00000000000000ull

struct vg_dec_reg {
    uint32_t row; // UINT32_MAX: not met yet
    uint8_t file;
    bool twin; // .b128: two rows
};

struct vg_dec {
    struct vg_module *mod;
    struct vg_program *prog;
    struct ptx_arena *arena;
    const struct ptx_func *entry, *f;
    struct vg_code *code; // of f
    uint32_t f_index;
    struct vg_dec_reg *reg; // of f
    struct vg_op *ops;
    uint32_t n_ops, max_ops;
    uint32_t *first_op; // of f's instructions, n_inst + 1
    struct vg_const32 *c32;
    struct vg_const64 *c64;
    uint32_t n_c32, max_c32, n_c64, max_c64;
    struct vg_frame frame;
    uint32_t *code_of; // by function index, UINT32_MAX: not part of the program
    char *err;
    size_t err_bytes;
    bool failed;
    const struct ptx_inst *in; // being decoded
};

// Appends an op for dc->in: guard and counters filled, everything else zero. Valid until the next
// one.
struct vg_op *vg_dec_op(struct vg_dec *dc, vg_fn fn, unsigned count);
uint32_t vg_dec_temp_p(struct vg_dec *dc); // fresh rows
uint32_t vg_dec_temp_r(struct vg_dec *dc);
uint32_t vg_dec_temp_d(struct vg_dec *dc);
bool vg_dec_is_imm(const struct ptx_operand *o);
uint64_t vg_dec_imm(struct vg_dec *dc, const struct ptx_operand *o, unsigned bytes, bool is_float);
const char *vg_dec_spell(struct vg_dec *dc);

uint32_t vg_dec_dyn_row(struct vg_dec *dc);
const struct ptx_func *vg_dec_func(struct vg_dec *dc, const char *name);
void vg_dec_targets(struct vg_dec *dc, uint32_t first); // instruction indices to pcs, f's ops
int vg_op_nop(struct vg_warp *w, const struct vg_op *op, uint32_t mask);
int vg_op_exit(struct vg_warp *w, const struct vg_op *op, uint32_t mask);
int vg_op_ret(struct vg_warp *w, const struct vg_op *op, uint32_t mask);

// Families; false: not this family's instruction (or failed, see dc->failed).
bool vg_dec_alu(struct vg_dec *dc);
bool vg_dec_move(struct vg_dec *dc);
bool vg_dec_memory(struct vg_dec *dc);
bool vg_dec_control(struct vg_dec *dc);
bool vg_dec_collective(struct vg_dec *dc);

// flow.c: which registers are surely written before they are read; sets op->checked.
void vg_dec_flow(struct vg_dec *dc, uint32_t first);
// Loads that only fetch what an atom.cas compares with count as atomic accesses.
void vg_dec_cas_loads(struct vg_dec *dc, uint32_t first);
// Registers of an instruction as uses, into the arena.
void vg_dec_uses(struct vg_dec *dc, const struct ptx_inst *in, struct vg_op *op);

#endif
