// SPDX-License-Identifier: Apache-2.0
// ptx.h - PTX text as a tree: variables, functions, instructions with resolved operands. ptx_parse
// reads what nvcc emits and what people write in inline asm; it knows the grammar but not the
// instructions, those are known to decode.c. Everything hangs in one arena, freed by ptx_free.
#ifndef VG_PTX_H
#define VG_PTX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum ptx_type {
    PTX_NO_TYPE,
    PTX_PRED,
    PTX_B8,
    PTX_B16,
    PTX_B32,
    PTX_B64,
    PTX_B128,
    PTX_U8,
    PTX_U16,
    PTX_U32,
    PTX_U64,
    PTX_S8,
    PTX_S16,
    PTX_S32,
    PTX_S64,
    PTX_F16,
    PTX_F16X2,
    PTX_BF16,
    PTX_BF16X2,
    PTX_F32,
    PTX_F64,
    PTX_TF32,
    PTX_E4M3,
    PTX_E5M2,
    PTX_E4M3X2,
    PTX_E5M2X2,
    PTX_F32X2,
    PTX_S4,
    PTX_U4,
    PTX_B1,
    PTX_U16X2,
    PTX_S16X2
};

enum ptx_space {
    PTX_GENERIC,
    PTX_GLOBAL,
    PTX_SHARED,         // .shared, .shared::cta
    PTX_SHARED_CLUSTER, // .shared::cluster
    PTX_CONST,
    PTX_LOCAL,
    PTX_PARAM
};

// A variable: module level, function level (.shared, .local, .param) or a formal parameter.
struct ptx_var {
    const char *name;
    enum ptx_space space;
    enum ptx_type type;
    uint32_t align;
    uint64_t bytes; // 0 with is_extern: size known at launch (dynamic shared memory)
    bool is_extern;
    bool is_formal;           // parameter of the function (or its return value)
    bool address_taken;       // named outside of [brackets] in an instruction
    uint8_t *init;            // [bytes] or NULL: zeroes (.global, .const)
    struct ptx_reloc *relocs; // addresses inside init
    uint32_t n_relocs;
    uint64_t at; // decode/load: address (.global, .const), offset (.shared, .local, .param)
};
struct ptx_reloc {
    uint64_t offset;
    const char *symbol; // of a variable or a function
    int64_t addend;
    bool generic; // generic(symbol): else the address in the variable's own space
};

struct ptx_reg {
    const char *name; // "%r1", unique text; scoped names may repeat
    enum ptx_type type;
};

enum ptx_operand_kind {
    PTX_O_NONE,
    PTX_O_REG,   // reg, neg (!%p), reg2 >= 0: the second of "%p|%q" or "%r|%p"
    PTX_O_SINK,  // _
    PTX_O_SREG,  // special register: name, sreg suffix included ("%tid.x")
    PTX_O_INT,   // imm
    PTX_O_F32,   // imm: bits of 0f...
    PTX_O_F64,   // imm: bits of 0d... or of a decimal literal
    PTX_O_VAR,   // var + offset
    PTX_O_FUNC,  // function address: name
    PTX_O_LABEL, // name, target: index of an instruction (UINT32_MAX: a
                 // .branchtargets/.callprototype)
    PTX_O_VEC,   // elem[n_elem]
    PTX_O_ADDR,  // [base + offset]: elem[0] is REG, VAR or INT (absolute); offset;
                 // further elements of "[map, {c0, c1}]" or "[addr], [mbar]" forms are elem[1..]
    PTX_O_LIST   // (a, b, c) of call
};

struct ptx_operand {
    enum ptx_operand_kind kind;
    bool neg;
    int32_t reg, reg2; // index in the function's regs, -1: none. reg2 may be PTX_REG2_SINK
    uint64_t imm;
    int64_t offset;
    const char *name;
    struct ptx_var *var;
    uint32_t target;
    struct ptx_operand *elem;
    uint32_t n_elem;
};
enum { PTX_REG2_NONE = -1, PTX_REG2_SINK = -2 };

enum { PTX_MAX_TOKENS = 20, PTX_MAX_OPERANDS = 10 };

// One instruction: "ld.global.v4.f32" is tok {"ld", "global", "v4", "f32"}; "::" stays inside a
// token
// ("shared::cluster", "mbarrier::complete_tx::bytes").
struct ptx_inst {
    const char *tok[PTX_MAX_TOKENS];
    uint8_t n_tok, n_op;
    bool guard_neg;
    int32_t guard; // predicate register, -1: none
    struct ptx_operand op[PTX_MAX_OPERANDS];
    uint32_t ptx_line; // of the PTX text
    uint32_t line;     // .loc; 0: unknown
    uint32_t file;     // .loc file index
};

// .branchtargets list, or .callprototype.
struct ptx_table {
    const char *name;
    uint32_t *target; // instruction indices
    uint32_t n;
    bool is_prototype;
};

struct ptx_func {
    const char *name;
    bool is_entry, is_decl; // is_decl: no body (.extern vprintf, forward declaration)
    struct ptx_var **param;
    uint32_t n_param;
    struct ptx_var **ret;
    uint32_t n_ret;
    struct ptx_reg *reg;
    uint32_t n_reg;
    struct ptx_var **var; // .shared, .local and .param variables of the body
    uint32_t n_var;
    struct ptx_inst *inst;
    uint32_t n_inst;
    struct ptx_table *table;
    uint32_t n_table;
    uint32_t maxntid[3], reqntid[3], cluster[3]; // 0: not given
    uint32_t maxnreg, minnctapersm, max_cluster_rank;
    bool explicit_cluster;
    uint32_t ptx_line;
    uint32_t index; // in the module
};

struct ptx_module {
    uint32_t version;     // 9.0 -> 90
    uint32_t sm;          // 80, 90
    const char *target;   // "sm_90a"
    struct ptx_var **var; // module scope
    uint32_t n_var;
    struct ptx_func **func;
    uint32_t n_func;
    const char **file; // .file texts by index, NULL holes
    uint32_t n_file;
    void *arena;
};

// NULL: err holds one sentence with the PTX line. text need not end with 0.
struct ptx_module *ptx_parse(const char *text, size_t bytes, char *err, size_t err_bytes);
void ptx_free(struct ptx_module *m);

unsigned ptx_type_bytes(enum ptx_type t);      // 0: none or predicate; sub-byte types count 1
enum ptx_type ptx_type_named(const char *tok); // PTX_NO_TYPE: tok is no type
bool ptx_type_is_float(enum ptx_type t);
bool ptx_type_is_signed(enum ptx_type t);

// Whether the instruction's spelling holds this token (after the opcode).
bool ptx_has(const struct ptx_inst *in, const char *tok);
// The spelling joined by dots, for messages.
const char *ptx_spell(const struct ptx_inst *in, char *buf, size_t n);
// nth type token of the spelling (0 first); PTX_NO_TYPE: none
enum ptx_type ptx_inst_type(const struct ptx_inst *in, unsigned nth);

#endif
