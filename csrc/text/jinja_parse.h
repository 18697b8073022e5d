/* SPDX-License-Identifier: Apache-2.0
 *
 * jinja_parse.h - what the two halves of the parser share: jinja_parse.c reads statements,
 * jinja_expr.c expressions. */
#ifndef OCT_TEXT_JINJA_PARSE_H
#define OCT_TEXT_JINJA_PARSE_H

#include "text/jinja_ast.h"

/* Kids of a node while it is being read; moved into the arena when it is complete. */
struct oct_jkids {
    struct oct_jn **data; /* owned; oct_free */
    uint32_t n, cap;
};

struct oct_jparser {
    struct oct_template *t;
    const struct oct_jtok *tok; /* the current token; the last one is EOF */
    uint32_t depth;             /* of what is being read */
    uint32_t loops;             /* loops around the current statement, in the same function */
    uint32_t *name_index;       /* owned: hash table of name + 1 */
    uint32_t name_mask, name_cap;
};

enum oct_jtuple_flags {
    OCT_JTUPLE_SIMPLE = 1,    /* only names and literals: an assignment target */
    OCT_JTUPLE_NO_COND = 2,   /* no "a if b else c" */
    OCT_JTUPLE_PARENS = 4,    /* in parentheses: may be empty */
    OCT_JTUPLE_NAMESPACE = 8, /* ns.x is a target too */
};
/* Reads "a" or "a, b, ..."; end_word ends it besides brackets and the tag's end (NULL: none). */
OCT_CHECKED oct_status oct_jparse_tuple(struct oct_jparser *p, unsigned flags, const char *end_word,
                                        struct oct_jn **out);
OCT_CHECKED oct_status oct_jparse_expr(struct oct_jparser *p, struct oct_jn **out);
/* a|filter|filter: `inline_first`: the first name has no bar before it ({% filter upper %}). */
OCT_CHECKED oct_status oct_jparse_filters(struct oct_jparser *p, struct oct_jn *a,
                                          bool inline_first, struct oct_jn **out);

/* The caller sets kids and fields, then oct_jnode_done() checks the depth. */
struct oct_jn *oct_jnode(struct oct_jparser *p, enum oct_jn_kind kind, const struct oct_jtok *from);
OCT_CHECKED oct_status oct_jnode_done(struct oct_jparser *p, struct oct_jn *n);
OCT_CHECKED oct_status oct_jkids_add(struct oct_jkids *k, struct oct_jn *n);
OCT_CHECKED oct_status oct_jkids_move(struct oct_jparser *p, struct oct_jkids *k, struct oct_jn *n);

OCT_CHECKED oct_status oct_jparse_name_id(struct oct_jparser *p, const char *s, uint32_t len,
                                          uint32_t *id);
OCT_CHECKED oct_status oct_jparse_enter(struct oct_jparser *p);
static inline void oct_jparse_leave(struct oct_jparser *p)
{
    p->depth--;
}

/* The current token is the name `word`. */
bool oct_jparse_at_word(const struct oct_jparser *p, const char *word);
bool oct_jparse_skip_word(struct oct_jparser *p, const char *word);
bool oct_jparse_skip(struct oct_jparser *p, enum oct_jtok_type type);
OCT_CHECKED oct_status oct_jparse_expect(struct oct_jparser *p, enum oct_jtok_type type,
                                         const char *what);
static inline void oct_jparse_next(struct oct_jparser *p)
{
    p->tok += p->tok->type != OCT_JT_EOF;
}
/* "expected <what>, got ..." at the current token. */
oct_status oct_jparse_unexpected(const struct oct_jparser *p, const char *what);

#endif
