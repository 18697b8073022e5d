// SPDX-License-Identifier: Apache-2.0
// ptx_lex.h - characters of a PTX text to tokens; the arena of a module. Internal to the front end.
#ifndef VG_PTX_LEX_H
#define VG_PTX_LEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum ptx_tok_kind {
    PTX_T_END,
    PTX_T_ID,    // name, with % $ _
    PTX_T_DOT,   // .name[::name...]; text without the dot
    PTX_T_INT,   // value
    PTX_T_F32,   // 0f...: bits in value
    PTX_T_F64,   // 0d... or decimal: bits in value
    PTX_T_STR,   // text between the quotes
    PTX_T_PUNCT, // one character, in value
    PTX_T_BAD    // text says what is wrong
};

struct ptx_tok {
    enum ptx_tok_kind kind;
    const char *text; // interned; names, dots, strings
    uint64_t value;
    uint32_t line;
};

struct ptx_arena;
struct ptx_arena *ptx_arena_new(void);
void ptx_arena_free(struct ptx_arena *a);
void *ptx_arena_get(struct ptx_arena *a, size_t bytes); // zeroed
// One pointer per text: equal names compare equal as pointers.
const char *ptx_intern(struct ptx_arena *a, const char *s, size_t n);

struct ptx_lex {
    const char *p, *end;
    uint32_t line;
    struct ptx_arena *arena;
};
struct ptx_tok ptx_lex_next(struct ptx_lex *x);
void ptx_lex_skip_line(struct ptx_lex *x);

#endif
