// SPDX-License-Identifier: Apache-2.0
// ptx_parser.h - the state of a parse, for ptx_parser.c (tokens, symbols), ptx_var.c (variables,
// registers), ptx_body.c (statements of a function) and ptx_parse.c (module, functions). Errors
// leave by longjmp; what was made by then lies in the arena.
#ifndef VG_PTX_PARSER_H
#define VG_PTX_PARSER_H

#include <setjmp.h>
#include <string.h>

#include "ptx.h"
#include "ptx_lex.h"

enum { PTXP_SCOPES = 64, PTXP_BUCKETS = 1024 };

enum sym_kind { SYM_REG, SYM_VAR, SYM_FUNC, SYM_LABEL, SYM_TABLE };
struct sym {
    struct sym *next;
    const char *name; // interned
    enum sym_kind kind;
    unsigned scope;
    uint32_t index; // register, instruction, table
    struct ptx_var *var;
    struct ptx_func *func;
};

// A label used before its definition.
struct fixup {
    const char *name;
    unsigned scope;
    uint32_t inst, line;
    uint32_t table, entry; // table != UINT32_MAX: an entry of .branchtargets
    uint8_t op;
};

struct list { // growing array of T
    void *data;
    uint32_t n, max;
    bool local; // grows in the arena: a parse that fails leaves nothing behind
};

struct parser {
    struct ptx_lex lex;
    struct ptx_tok t; // current token
    struct ptx_module *m;
    struct ptx_arena *arena;
    struct sym *bucket[PTXP_BUCKETS];
    unsigned scope;
    struct ptx_func *f; // being parsed
    struct list vars, funcs, regs, fvars, insts, tables, fixups, files;
    uint32_t loc_line, loc_file;
    char *err;
    size_t err_bytes;
    jmp_buf fail;
};

void ptxp_fail(struct parser *p, uint32_t line, const char *fmt, ...)
    __attribute__((format(printf, 3, 4), noreturn));
void *ptxp_push(struct parser *p, struct list *l, size_t size);
// The list's elements in the arena; the list is emptied.
void *ptxp_settle(struct parser *p, struct list *l, size_t size);

// ---- tokens ----
static inline void ptxp_next(struct parser *p)
{
    p->t = ptx_lex_next(&p->lex);
}
static inline bool ptxp_is_punct(const struct parser *p, char c)
{
    return p->t.kind == PTX_T_PUNCT && p->t.value == (unsigned char)c;
}
static inline bool ptxp_is_dot(const struct parser *p, const char *text)
{
    return p->t.kind == PTX_T_DOT && strcmp(p->t.text, text) == 0;
}
static inline bool ptxp_take(struct parser *p, char c)
{
    if (!ptxp_is_punct(p, c)) {
        return false;
    }
    ptxp_next(p);
    return true;
}
const char *ptxp_tok_text(const struct parser *p, char buf[8]); // for messages
void ptxp_want(struct parser *p, char c);
const char *ptxp_want_id(struct parser *p);
uint64_t ptxp_want_int(struct parser *p);

// ---- symbols ----
struct sym **ptxp_bucket_of(struct parser *p, const char *name);
struct sym *ptxp_find(struct parser *p, const char *name); // NULL: unknown
struct sym *ptxp_define(struct parser *p, const char *name, enum sym_kind kind);
// Resolves the labels of the scope that ends; unknown ones wait for the outer scope.
void ptxp_end_scope(struct parser *p);

// ---- grammar ----
bool ptxp_space_of(const char *text, enum ptx_space *space);
// After the space directive: attributes, type, names. formal: exactly one variable, returned.
struct ptx_var *ptxp_vars(struct parser *p, enum ptx_space space, bool is_extern, bool formal,
                          struct list *out);
void ptxp_regs(struct parser *p);
void ptxp_add_reg(struct parser *p, const char *name, enum ptx_type type);
void ptxp_loc(struct parser *p);
void ptxp_file(struct parser *p);
void ptxp_body(struct parser *p);

#endif
