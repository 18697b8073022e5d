/* SPDX-License-Identifier: Apache-2.0
 *
 * jinja_ast.h - what a template is compiled to: tokens, nodes, scopes. Everything lives in one
 * arena and is read-only once oct_template_compile has returned. */
#ifndef OCT_TEXT_JINJA_AST_H
#define OCT_TEXT_JINJA_AST_H

#include "text/jinja_value.h"

/* Budgets of reliability rule R6, at load. */
enum {
    OCT_JINJA_MAX_SOURCE = 1 << 20,    /* bytes of a template */
    OCT_JINJA_MAX_AST_BYTES = 1 << 26, /* tokens and nodes of one template */
    OCT_JINJA_MAX_PARSE_DEPTH = 128,   /* brackets, operators and blocks inside each other */
};

enum oct_jtok_type {
    OCT_JT_EOF,
    OCT_JT_DATA,
    OCT_JT_VAR_BEGIN,
    OCT_JT_VAR_END,
    OCT_JT_BLOCK_BEGIN,
    OCT_JT_BLOCK_END,
    OCT_JT_NAME,
    OCT_JT_STRING,
    OCT_JT_INT,
    OCT_JT_FLOAT,
    OCT_JT_ADD,
    OCT_JT_SUB,
    OCT_JT_MUL,
    OCT_JT_DIV,
    OCT_JT_FLOORDIV,
    OCT_JT_MOD,
    OCT_JT_POW,
    OCT_JT_TILDE,
    OCT_JT_EQ,
    OCT_JT_NE,
    OCT_JT_LT,
    OCT_JT_LE,
    OCT_JT_GT,
    OCT_JT_GE,
    OCT_JT_ASSIGN,
    OCT_JT_DOT,
    OCT_JT_COLON,
    OCT_JT_PIPE,
    OCT_JT_COMMA,
    OCT_JT_SEMICOLON,
    OCT_JT_LPAREN,
    OCT_JT_RPAREN,
    OCT_JT_LBRACKET,
    OCT_JT_RBRACKET,
    OCT_JT_LBRACE,
    OCT_JT_RBRACE,
};

struct oct_jtok {
    uint8_t type;        /* enum oct_jtok_type */
    uint32_t line;       /* from 1 */
    uint32_t at, end;    /* bytes of the normalised source */
    struct oct_jv value; /* text of data, names and strings; numbers */
};

enum oct_jn_kind {
    /* expressions */
    OCT_JN_CONST,
    OCT_JN_NAME,  /* flags: enum oct_jn_ctx */
    OCT_JN_NSREF, /* a target only: name.value */
    OCT_JN_TUPLE,
    OCT_JN_LIST,
    OCT_JN_DICT, /* kids: key, value, key, value, ... */
    OCT_JN_COND, /* b if a else c; c may be NULL */
    OCT_JN_OR,
    OCT_JN_AND,
    OCT_JN_NOT,
    OCT_JN_NEG,
    OCT_JN_POS,
    OCT_JN_COMPARE, /* a, then kids: operands */
    OCT_JN_BIN,     /* a, then kids: operands of one precedence, left to right */
    OCT_JN_OPERAND, /* op a */
    OCT_JN_CONCAT,
    OCT_JN_ATTR,    /* a.value */
    OCT_JN_ITEM,    /* a[b] */
    OCT_JN_SLICE,   /* a[kids[0]:kids[1]:kids[2]], any of them NULL */
    OCT_JN_CALL,    /* a(kids[0..n_pos), keywords, *b, **c) */
    OCT_JN_FILTER,  /* a|fn(...); a is NULL in a filter block */
    OCT_JN_TEST,    /* a is fn(...) */
    OCT_JN_KEYWORD, /* name=a */
    /* statements */
    OCT_JN_BLOCK,       /* kids: statements */
    OCT_JN_OUTPUT,      /* kids: expressions; plain text is a CONST */
    OCT_JN_IF,          /* kids: test, block, test, block, ...; orelse */
    OCT_JN_FOR,         /* a: target, b: what is walked, c: filter; body, orelse */
    OCT_JN_SET,         /* a: target, b: value */
    OCT_JN_SETBLOCK,    /* a: target, b: filters or NULL; body */
    OCT_JN_MACRO,       /* kids[0..n_pos): parameters, rest: defaults; body */
    OCT_JN_CALLBLOCK,   /* as MACRO; b: the call */
    OCT_JN_GENERATION,  /* as CALLBLOCK without a call */
    OCT_JN_FILTERBLOCK, /* b: filters; body */
    OCT_JN_WITH,        /* kids: target, value, target, value, ...; body */
    OCT_JN_BREAK,
    OCT_JN_CONTINUE,
};

enum oct_jn_ctx { OCT_JN_LOAD, OCT_JN_STORE, OCT_JN_PARAM };

enum oct_jop {
    OCT_JOP_ADD,
    OCT_JOP_SUB,
    OCT_JOP_MUL,
    OCT_JOP_DIV,
    OCT_JOP_FLOORDIV,
    OCT_JOP_MOD,
    OCT_JOP_POW,
    OCT_JOP_EQ,
    OCT_JOP_NE,
    OCT_JOP_LT,
    OCT_JOP_LE,
    OCT_JOP_GT,
    OCT_JOP_GE,
    OCT_JOP_IN,
    OCT_JOP_NOTIN,
};

/* Where a variable lives: slot `slot` of the function `hops` levels out (0: the running one). A
 * function is the template itself, a macro, a call block or a recursive loop. */
struct oct_jref {
    uint32_t hops, slot;
};

enum oct_jload_how {
    OCT_JLOAD_RESOLVE, /* from the caller's variables or the globals, by name */
    OCT_JLOAD_ALIAS,   /* starts as a copy of an outer variable */
    OCT_JLOAD_UNSET,
};

/* Done to a slot whenever its scope is entered (for a loop body: at each turn). */
struct oct_jload {
    uint8_t how;
    uint32_t slot;
    uint32_t name;        /* RESOLVE */
    struct oct_jref from; /* ALIAS */
};

struct oct_jscope {
    struct oct_jload *loads;
    uint32_t n_loads;
    uint32_t loop_slot; /* slot of `loop`, OCT_JSLOT_NONE if the body does not use it */
};

#define OCT_JSLOT_NONE UINT32_MAX

struct oct_jfunc {
    uint32_t n_slots;
    uint32_t caller_slot, kwargs_slot, varargs_slot; /* OCT_JSLOT_NONE: not used by the body */
    bool explicit_caller;                            /* `caller` is a declared parameter */
};

struct oct_jn {
    uint8_t kind, op, flags;
    uint16_t depth; /* of the tree under this node; leaves have 1 */
    uint32_t line;
    uint32_t at, end; /* bytes of the source, for error messages */
    uint32_t name;    /* index into names */
    int32_t fn;       /* FILTER, TEST: row of the table; -1: unknown */
    uint32_t n_kids, n_pos;
    struct oct_jn **kids;
    struct oct_jn *a, *b, *c;
    struct oct_jn *body, *orelse; /* BLOCK nodes */
    struct oct_jv value;          /* CONST: the value; ATTR, FILTER, TEST: the name */
    struct oct_jref ref;          /* NAME, NSREF, MACRO */
    struct oct_jscope *scope;     /* of body */
    struct oct_jscope *scope2;    /* FOR: of the filter */
    struct oct_jscope *scope3;    /* FOR: of orelse */
    struct oct_jfunc *func;       /* MACRO, CALLBLOCK, GENERATION, recursive FOR */
};

struct oct_jname {
    const char *s;
    uint32_t len;
};

struct oct_template {
    struct oct_arena arena; /* owns everything below */
    const char *source;     /* newlines normalised; NUL-terminated */
    uint32_t source_len;
    /* All text that the template itself holds lies in one block, the source first, so that an
     * address tells whether a piece of text is the template's own (jinja_origin.c). */
    char *text;
    size_t text_used, text_size;
    struct oct_jn *root; /* BLOCK */
    struct oct_jscope *root_scope;
    struct oct_jfunc *root_func;
    struct oct_jname *names;
    uint32_t n_names;
    bool over_limit; /* while compiling: oct_jinja_alloc refused by its budget, not for want of
                        memory */
};

/* ---- compiling, in this order ---- */

/* Tokens of the source as given: newlines are normalised into t->source first. */
OCT_CHECKED oct_status oct_jinja_lex(struct oct_template *t, const char *source, size_t len,
                                     struct oct_jtok **tokens, uint32_t *n_tokens);
/* t->root and t->names. */
OCT_CHECKED oct_status oct_jinja_parse(struct oct_template *t, const struct oct_jtok *tokens);
/* Gives every name its slot: t->root_scope, t->root_func and the nodes' refs and scopes. */
OCT_CHECKED oct_status oct_jinja_resolve(struct oct_template *t);

/* Memory of a template being compiled: NULL and the error set if it is out. */
void *oct_jinja_alloc(struct oct_template *t, size_t size);
/* Room in the block of the template's own text, for a string constant. Of n bytes of source come at
 * most 3n by escapes, and as much again where neighbours are joined: it never runs out. */
char *oct_jinja_alloc_text(struct oct_template *t, size_t size);
/* OCT_FAIL(OCT_E_FORMAT) with the line and what the source says there. */
__attribute__((format(printf, 5, 6))) oct_status oct_jinja_fail(const struct oct_template *t,
                                                                uint32_t line, uint32_t at,
                                                                uint32_t end, const char *fmt, ...);
/* The source between at and end for a sentence: one line, cut to 60 bytes, quoted. dst: 80 bytes.
 */
const char *oct_jinja_snippet(const struct oct_template *t, uint32_t at, uint32_t end, char *dst);

#endif
