// SPDX-License-Identifier: Apache-2.0
// decode.h - from PTX instructions to ops that the interpreter runs: handler, rows, immediates.
// Registers are rows of 32 lanes: 32-bit rows (of .pred-less types up to 32 bits, upper bits zero),
// 64-bit rows, predicate rows (one uint32_t mask each). Immediates are rows too, filled once, so
// every source operand is just a row. A .b128 register is two consecutive 64-bit rows (low, high).
#ifndef VG_DECODE_H
#define VG_DECODE_H

#include "ptx.h"

struct vg_warp;
struct vg_op;

// What a handler answers. The handler sees only lanes of mask (never 0).
enum vg_step {
    VG_STEP_DONE,  // go on with the next op
    VG_STEP_BLOCK, // not now: call me again later with the same lanes (or more)
    VG_STEP_FAULT, // the launch fails; the finding is already reported
    VG_STEP_JUMP,  // the handler has set pcs (control flow; executor's own ops only)
    VG_STEP_YIELD  // done, and let other warps run (nanosleep, failed try_wait)
};
typedef int (*vg_fn)(struct vg_warp *w, const struct vg_op *op, uint32_t mask);

enum vg_collect {
    VG_COLL_NONE,
    VG_COLL_MEMBER, // wait until all live lanes named by the 32-bit row op->member stand here
    VG_COLL_WARP    // wait until all live lanes of the warp stand here
};

enum vg_file { VG_FILE_R, VG_FILE_D, VG_FILE_P };
struct vg_use { // a register that an op reads or writes
    uint32_t row;
    uint8_t file; // enum vg_file
    bool write;
    bool tracked;     // the dataflow is unsure: checked at run time
    const char *name; // of the register
};

// Rows with a fixed meaning in every frame.
enum {
    VG_P_TRUE = 0,  // predicate row, all ones
    VG_P_SINK = 1,  // predicate row nobody reads
    VG_P_FALSE = 2, // predicate row, all zeros
    VG_R_SINK = 0,  // 32-bit row nobody reads
    VG_D_SINK = 0   // 64-bit rows 0 and 1: nobody reads (b128 sinks)
};

struct vg_op {
    vg_fn fn;
    uint32_t guard;      // predicate row (VG_P_TRUE: none)
    uint32_t guard_xor;  // 0, or ~0: negated
    uint32_t d, a, b, c; // rows; which file is the handler's knowledge
    uint32_t e, member;  // two more rows
    uint64_t imm;
    const uint32_t *x; // further rows (vectors, matrix fragments), in the program's arena
    const void *ext;   // handler's own data, in the program's arena
    const struct ptx_inst *inst;
    struct vg_use *uses;
    uint16_t n_uses, n_x;
    uint8_t collect;                 // enum vg_collect
    uint8_t count;                   // enum vg_count: the instruction's class
    uint8_t bytes, kind, flags, aux; // handler's own
    bool checked;                    // some use needs the definedness check at run time
    bool slow;                       // collect or checked: the executor looks closer
};

// Address operand: lane address = row (64 or 32 bits wide, zero extended) + offset.
struct vg_addr {
    uint32_t row;
    bool wide; // 64-bit row
    int64_t offset;
};

// ---- for the decoders of instruction families ----
// A decoder looks at in->tok[0] (and the rest); NOT_MINE leaves op alone; OK has filled fn and rows
// (guard, inst, uses are the caller's work); BAD has called vg_dec_fail.
enum vg_decoded { VG_DEC_NOT_MINE, VG_DEC_OK, VG_DEC_BAD };
struct vg_dec; // the program being made
enum vg_decoded vg_tensor_decode(struct vg_dec *dc, const struct ptx_inst *in, struct vg_op *op);
enum vg_decoded vg_async_decode(struct vg_dec *dc, const struct ptx_inst *in, struct vg_op *op);

// Row of a source: register, immediate (made a constant row, truncated to 32 bits), variable
// address, special register is not allowed. Of a destination: register or sink. Wrong width: fails
// the decode (check vg_dec_failed once at the end) and returns a sink row.
uint32_t vg_dec_r(struct vg_dec *dc, const struct ptx_operand *o);
uint32_t vg_dec_d(struct vg_dec *dc, const struct ptx_operand *o);
uint32_t vg_dec_p(struct vg_dec *dc, const struct ptx_operand *o); // not negated sources only
uint32_t vg_dec_p2(struct vg_dec *dc,
                   const struct ptx_operand *o); // second of "a|b": predicate row
uint32_t vg_dec_const32(struct vg_dec *dc, uint32_t value);
uint32_t vg_dec_const64(struct vg_dec *dc, uint64_t value);
struct vg_addr vg_dec_addr(struct vg_dec *dc, const struct ptx_operand *o); // PTX_O_ADDR, elem[0]
bool vg_dec_is_wide(struct vg_dec *dc, const struct ptx_operand *o); // register of 64 bits or more
// Rows of a vector operand (or a single one) as 32-bit rows; n_x in *n.
const uint32_t *vg_dec_rows(struct vg_dec *dc, const struct ptx_operand *o, unsigned *n);
void *vg_dec_alloc(struct vg_dec *dc, size_t bytes); // zeroed, lives as long as the program
void vg_dec_fail(struct vg_dec *dc, const struct ptx_inst *in, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
bool vg_dec_failed(const struct vg_dec *dc);

// ---- programs ----
struct vg_frame { // rows and bytes that one invocation of a function needs
    uint32_t n_r, n_d, n_p;
    uint32_t param_bytes, local_bytes; // per lane
};
struct vg_const32 {
    uint32_t row, value;
    bool is_dyn; // value is filled in at launch: shared address of dynamic shared memory
};
struct vg_const64 {
    uint32_t row;
    uint64_t value;
};
struct vg_code { // one function, in the program's op array
    const struct ptx_func *func;
    uint32_t first, n_ops;
    struct vg_frame frame;
    struct vg_const32 *c32;
    uint32_t n_c32;
    struct vg_const64 *c64;
    uint32_t n_c64;
};

// A kernel with all the functions it calls. Callees stand before callers.
struct vg_program {
    struct vg_op *ops;
    uint32_t n_ops;
    struct vg_code *code; // code[n_code - 1] is the entry
    uint32_t n_code;
    struct vg_frame callee; // largest frame of any callee
    uint32_t max_depth;     // nested calls; recursive programs get a fixed limit
    uint32_t shared_bytes;  // static shared memory, as a device lays it out
    uint32_t shared_span;   // as it is laid out here: with red zones between the variables
    struct vg_shared_var {  // static shared variables, in ascending order
        const char *name;
        uint32_t at, bytes;
    } * shared_var;
    uint32_t n_shared_var;
    uint32_t dyn_align;    // of the extern shared variable, at least 16
    bool talks;            // CTAs may wait for each other: atomics, strong or volatile accesses
    bool params_addressed; // cvta.param: parameters must lie in device memory
    bool uses_clusters;
    struct vg_slot *slots; // storage of finished CTAs, for the next ones (slot.c)
    unsigned n_slots;
    void *arena;
};

struct vg_module;
// NULL: err says which instruction, with its PTX line, is not supported.
struct vg_program *vg_decode(struct vg_module *m, const struct ptx_func *entry, char *err,
                             size_t err_bytes);
void vg_program_free(struct vg_program *p);

#endif
