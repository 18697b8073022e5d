/* SPDX-License-Identifier: Apache-2.0
 *
 * jinja_parse.c - the statement half of the parser, and what both halves stand on. */
#include "text/jinja_parse.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- nodes, names, errors ---- */

void *oct_jinja_alloc(struct oct_template *t, size_t size)
{
    if (size > OCT_JINJA_MAX_AST_BYTES || t->arena.used_bytes > OCT_JINJA_MAX_AST_BYTES - size) {
        (void)OCT_FAIL(OCT_E_LIMIT, "the chat template needs over %d MiB once compiled",
                       OCT_JINJA_MAX_AST_BYTES >> 20);
        t->over_limit = true;
        return NULL;
    }
    void *p = oct_arena_alloc(&t->arena, size);
    if (!p) {
        (void)oct_no_memory("a chat template", size);
    }
    return p;
}

char *oct_jinja_alloc_text(struct oct_template *t, size_t size)
{
    OCT_ASSERT(size <= t->text_size - t->text_used);
    char *p = t->text + t->text_used;
    t->text_used += size;
    return p;
}

const char *oct_jinja_snippet(const struct oct_template *t, uint32_t at, uint32_t end, char *dst)
{
    char text[128];
    size_t n = 0;
    for (uint32_t i = at; i < end && n < sizeof text; i++) {
        text[n++] = t->source[i] == '\n' ? ' ' : t->source[i];
    }
    return oct_error_quote(dst, 64, text, n);
}

oct_status oct_jinja_fail(const struct oct_template *t, uint32_t line, uint32_t at, uint32_t end,
                          const char *fmt, ...)
{
    char quoted[80], why[300];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(why, sizeof why, fmt, ap);
    va_end(ap);
    if (at >= end) {
        return OCT_FAIL(OCT_E_FORMAT, "chat template, line %u: %s", line, why);
    }
    return OCT_FAIL(OCT_E_FORMAT, "chat template, line %u, '%s': %s", line,
                    oct_jinja_snippet(t, at, end, quoted), why);
}

oct_status oct_jparse_unexpected(const struct oct_jparser *p, const char *what)
{
    if (p->tok->type == OCT_JT_EOF) {
        return oct_jinja_fail(p->t, p->tok->line, 0, 0, "expected %s, got the end of the template",
                              what);
    }
    return oct_jinja_fail(p->t, p->tok->line, p->tok->at, p->tok->end, "expected %s here", what);
}

struct oct_jn *oct_jnode(struct oct_jparser *p, enum oct_jn_kind kind, const struct oct_jtok *from)
{
    struct oct_jn *n = oct_jinja_alloc(p->t, sizeof *n);
    if (n) {
        n->kind = (uint8_t)kind;
        n->line = from->line;
        n->at = from->at;
    }
    return n;
}

static void deepen(struct oct_jn *n, const struct oct_jn *child)
{
    if (child && child->depth >= n->depth) {
        n->depth = (uint16_t)(child->depth + 1);
    }
}

/* Chains of ".x" and "|x" are deep trees that need no recursion to read: they get twice the
 * parser's depth, which the evaluator's stack is sized for. */
oct_status oct_jnode_done(struct oct_jparser *p, struct oct_jn *n)
{
    n->depth = 1;
    deepen(n, n->a);
    deepen(n, n->b);
    deepen(n, n->c);
    deepen(n, n->body);
    deepen(n, n->orelse);
    for (uint32_t i = 0; i < n->n_kids; i++) {
        deepen(n, n->kids[i]);
    }
    n->end = p->tok[-1].end;
    if (n->depth > 2 * OCT_JINJA_MAX_PARSE_DEPTH) {
        return OCT_FAIL(OCT_E_LIMIT, "chat template, line %u: an expression over %d levels deep",
                        n->line, 2 * OCT_JINJA_MAX_PARSE_DEPTH);
    }
    return OCT_OK;
}

oct_status oct_jkids_add(struct oct_jkids *k, struct oct_jn *n)
{
    if (k->n == k->cap) {
        const uint32_t cap = k->cap ? k->cap * 2 : 8;
        struct oct_jn **data = oct_realloc_array(k->data, cap, sizeof *data);
        if (!data) {
            return oct_no_memory("a chat template", cap * sizeof *data);
        }
        k->data = data;
        k->cap = cap;
    }
    k->data[k->n++] = n;
    return OCT_OK;
}

oct_status oct_jkids_move(struct oct_jparser *p, struct oct_jkids *k, struct oct_jn *n)
{
    if (k->n) {
        n->kids = oct_jinja_alloc(p->t, k->n * sizeof *n->kids);
        if (!n->kids) {
            return OCT_E_MEM;
        }
        memcpy(n->kids, k->data, k->n * sizeof *n->kids);
        n->n_kids = k->n;
    }
    return OCT_OK;
}

oct_status oct_jparse_enter(struct oct_jparser *p)
{
    if (p->depth == OCT_JINJA_MAX_PARSE_DEPTH) {
        return OCT_FAIL(OCT_E_LIMIT, "chat template, line %u: nested more than %d levels deep",
                        p->tok->line, OCT_JINJA_MAX_PARSE_DEPTH);
    }
    p->depth++;
    return OCT_OK;
}

static uint32_t hash_name(const char *s, uint32_t len)
{
    uint32_t h = 2166136261u;
    for (uint32_t i = 0; i < len; i++) {
        h = (h ^ (unsigned char)s[i]) * 16777619u;
    }
    return h ^ h >> 15;
}

static oct_status grow_names(struct oct_jparser *p)
{
    const uint32_t cap = p->name_cap ? p->name_cap * 2 : 64;
    struct oct_jname *names = oct_jinja_alloc(p->t, cap * sizeof *names);
    uint32_t *index = names ? oct_calloc(2 * (size_t)cap, sizeof *index) : NULL;
    if (!index) {
        return names ? oct_no_memory("a chat template", cap * sizeof *index) : OCT_E_MEM;
    }
    if (p->t->n_names) {
        memcpy(names, p->t->names, p->t->n_names * sizeof *names);
    }
    p->t->names = names;
    p->name_cap = cap;
    oct_free(p->name_index);
    p->name_index = index;
    p->name_mask = 2 * cap - 1;
    for (uint32_t i = 0; i < p->t->n_names; i++) {
        uint32_t at = hash_name(names[i].s, names[i].len) & p->name_mask;
        while (index[at]) {
            at = (at + 1) & p->name_mask;
        }
        index[at] = i + 1;
    }
    return OCT_OK;
}

oct_status oct_jparse_name_id(struct oct_jparser *p, const char *s, uint32_t len, uint32_t *id)
{
    if (p->t->n_names == p->name_cap) {
        OCT_TRY(grow_names(p));
    }
    uint32_t at = hash_name(s, len) & p->name_mask;
    for (; p->name_index[at]; at = (at + 1) & p->name_mask) {
        const struct oct_jname *have = &p->t->names[p->name_index[at] - 1];
        if (have->len == len && memcmp(have->s, s, len) == 0) {
            *id = p->name_index[at] - 1;
            return OCT_OK;
        }
    }
    *id = p->t->n_names++;
    p->t->names[*id] = (struct oct_jname){s, len};
    p->name_index[at] = *id + 1;
    return OCT_OK;
}

bool oct_jparse_at_word(const struct oct_jparser *p, const char *word)
{
    return p->tok->type == OCT_JT_NAME && p->tok->value.len == strlen(word) &&
           memcmp(p->tok->value.u.s, word, p->tok->value.len) == 0;
}

bool oct_jparse_skip_word(struct oct_jparser *p, const char *word)
{
    const bool yes = oct_jparse_at_word(p, word);
    p->tok += yes;
    return yes;
}

bool oct_jparse_skip(struct oct_jparser *p, enum oct_jtok_type type)
{
    const bool yes = p->tok->type == type;
    p->tok += yes;
    return yes;
}

oct_status oct_jparse_expect(struct oct_jparser *p, enum oct_jtok_type type, const char *what)
{
    return oct_jparse_skip(p, type) ? OCT_OK : oct_jparse_unexpected(p, what);
}

/* ---- statements ---- */

static oct_status parse_body(struct oct_jparser *p, const char *const *ends, struct oct_jn **out);

/* Turns what was read into something assigned to. */
static oct_status make_target(struct oct_jparser *p, struct oct_jn *n)
{
    switch (n->kind) {
    case OCT_JN_NAME:
        n->flags = OCT_JN_STORE;
        return OCT_OK;
    case OCT_JN_NSREF:
        return OCT_OK;
    case OCT_JN_TUPLE:
        for (uint32_t i = 0; i < n->n_kids; i++) { /* no deeper than the parser went */
            OCT_TRY(make_target(p, n->kids[i]));
        }
        return OCT_OK;
    default:
        return oct_jinja_fail(p->t, n->line, n->at, n->end, "cannot be assigned to");
    }
}

static oct_status parse_target(struct oct_jparser *p, unsigned flags, const char *end_word,
                               struct oct_jn **out)
{
    OCT_TRY(oct_jparse_tuple(p, OCT_JTUPLE_SIMPLE | flags, end_word, out));
    return make_target(p, *out);
}

static oct_status parse_param(struct oct_jparser *p, struct oct_jn **out)
{
    struct oct_jn *n = oct_jnode(p, OCT_JN_NAME, p->tok);
    if (!n) {
        return OCT_E_MEM;
    }
    n->value = p->tok->value;
    OCT_TRY(oct_jparse_expect(p, OCT_JT_NAME, "a name"));
    OCT_TRY(oct_jparse_name_id(p, n->value.u.s, n->value.len, &n->name));
    n->flags = OCT_JN_PARAM;
    *out = n;
    return oct_jnode_done(p, n);
}

static oct_status parse_set(struct oct_jparser *p, struct oct_jn *n)
{
    static const char *const ends[] = {"endset", NULL};
    OCT_TRY(parse_target(p, OCT_JTUPLE_NAMESPACE, NULL, &n->a));
    if (oct_jparse_skip(p, OCT_JT_ASSIGN)) {
        n->kind = OCT_JN_SET;
        return oct_jparse_tuple(p, 0, NULL, &n->b);
    }
    n->kind = OCT_JN_SETBLOCK;
    OCT_TRY(oct_jparse_filters(p, NULL, false, &n->b));
    OCT_TRY(parse_body(p, ends, &n->body));
    oct_jparse_next(p);
    return OCT_OK;
}

static oct_status parse_for(struct oct_jparser *p, struct oct_jn *n)
{
    static const char *const ends[] = {"endfor", "else", NULL}, *const end[] = {"endfor", NULL};
    n->kind = OCT_JN_FOR;
    OCT_TRY(parse_target(p, 0, "in", &n->a));
    if (!oct_jparse_skip_word(p, "in")) {
        return oct_jparse_unexpected(p, "'in'");
    }
    OCT_TRY(oct_jparse_tuple(p, OCT_JTUPLE_NO_COND, "recursive", &n->b));
    if (oct_jparse_skip_word(p, "if")) {
        OCT_TRY(oct_jparse_expr(p, &n->c));
    }
    const uint32_t loops = p->loops;
    if (oct_jparse_skip_word(p, "recursive")) {
        n->func = oct_jinja_alloc(p->t, sizeof *n->func);
        if (!n->func) {
            return OCT_E_MEM;
        }
        p->loops = 0;
    }
    const uint32_t outer = p->loops;
    p->loops = outer + 1;
    OCT_TRY(parse_body(p, ends, &n->body));
    p->loops = outer; /* a break in the else part belongs to the loop around */
    if (oct_jparse_skip_word(p, "else")) {
        OCT_TRY(parse_body(p, end, &n->orelse));
    }
    p->loops = loops;
    oct_jparse_next(p);
    return OCT_OK;
}

static oct_status parse_if(struct oct_jparser *p, struct oct_jn *n)
{
    static const char *const ends[] = {"elif", "else", "endif", NULL}, *const end[] = {"endif",
                                                                                       NULL};
    struct oct_jkids kids = {0};
    oct_status st;
    n->kind = OCT_JN_IF;
    do {
        struct oct_jn *test, *body;
        OCT_TRY_GOTO(oct_jparse_tuple(p, OCT_JTUPLE_NO_COND, NULL, &test), st, done);
        OCT_TRY_GOTO(oct_jkids_add(&kids, test), st, done);
        OCT_TRY_GOTO(parse_body(p, ends, &body), st, done);
        OCT_TRY_GOTO(oct_jkids_add(&kids, body), st, done);
    } while (oct_jparse_skip_word(p, "elif"));
    if (oct_jparse_skip_word(p, "else")) {
        OCT_TRY_GOTO(parse_body(p, end, &n->orelse), st, done);
    }
    oct_jparse_next(p);
    st = oct_jkids_move(p, &kids, n);
done:
    oct_free(kids.data);
    return st;
}

static oct_status parse_with(struct oct_jparser *p, struct oct_jn *n)
{
    static const char *const end[] = {"endwith", NULL};
    struct oct_jkids kids = {0};
    oct_status st;
    n->kind = OCT_JN_WITH;
    while (p->tok->type != OCT_JT_BLOCK_END) {
        struct oct_jn *item;
        if (kids.n) {
            OCT_TRY_GOTO(oct_jparse_expect(p, OCT_JT_COMMA, "','"), st, done);
        }
        OCT_TRY_GOTO(parse_target(p, 0, NULL, &item), st, done);
        OCT_TRY_GOTO(oct_jkids_add(&kids, item), st, done);
        OCT_TRY_GOTO(oct_jparse_expect(p, OCT_JT_ASSIGN, "'='"), st, done);
        OCT_TRY_GOTO(oct_jparse_expr(p, &item), st, done);
        OCT_TRY_GOTO(oct_jkids_add(&kids, item), st, done);
    }
    OCT_TRY_GOTO(oct_jkids_move(p, &kids, n), st, done);
    OCT_TRY_GOTO(parse_body(p, end, &n->body), st, done);
    oct_jparse_next(p);
done:
    oct_free(kids.data);
    return st;
}

/* (a, b=1): parameters into kids[0..n_pos), the defaults of the last of them behind. */
static oct_status parse_signature(struct oct_jparser *p, struct oct_jn *n)
{
    struct oct_jkids kids = {0}, defaults = {0};
    oct_status st;
    OCT_TRY(oct_jparse_expect(p, OCT_JT_LPAREN, "'('"));
    while (p->tok->type != OCT_JT_RPAREN) {
        struct oct_jn *item;
        if (kids.n) {
            OCT_TRY_GOTO(oct_jparse_expect(p, OCT_JT_COMMA, "','"), st, done);
        }
        OCT_TRY_GOTO(parse_param(p, &item), st, done);
        for (uint32_t i = 0; i < kids.n; i++) {
            if (kids.data[i]->name == item->name || kids.n >= 255) {
                st = oct_jinja_fail(p->t, item->line, item->at, item->end,
                                    "a parameter named twice, or more than 255 of them");
                goto done;
            }
        }
        OCT_TRY_GOTO(oct_jkids_add(&kids, item), st, done);
        if (oct_jparse_skip(p, OCT_JT_ASSIGN)) {
            OCT_TRY_GOTO(oct_jparse_expr(p, &item), st, done);
            OCT_TRY_GOTO(oct_jkids_add(&defaults, item), st, done);
        } else if (defaults.n) {
            st = oct_jinja_fail(p->t, item->line, item->at, item->end,
                                "a parameter without a default behind one that has one");
            goto done;
        }
    }
    n->n_pos = kids.n;
    for (uint32_t i = 0; i < defaults.n; i++) {
        OCT_TRY_GOTO(oct_jkids_add(&kids, defaults.data[i]), st, done);
    }
    oct_jparse_next(p);
    st = oct_jkids_move(p, &kids, n);
done:
    oct_free(kids.data);
    oct_free(defaults.data);
    return st;
}

/* What macro, call and generation blocks have in common: a body that is a function. */
static oct_status parse_function_body(struct oct_jparser *p, struct oct_jn *n,
                                      const char *const *ends)
{
    n->func = oct_jinja_alloc(p->t, sizeof *n->func);
    if (!n->func) {
        return OCT_E_MEM;
    }
    const uint32_t loops = p->loops;
    p->loops = 0;
    OCT_TRY(parse_body(p, ends, &n->body));
    p->loops = loops;
    oct_jparse_next(p);
    return OCT_OK;
}

static oct_status parse_macro(struct oct_jparser *p, struct oct_jn *n)
{
    static const char *const end[] = {"endmacro", NULL};
    n->kind = OCT_JN_MACRO;
    n->value = p->tok->value;
    OCT_TRY(oct_jparse_expect(p, OCT_JT_NAME, "the name of the macro"));
    OCT_TRY(oct_jparse_name_id(p, n->value.u.s, n->value.len, &n->name));
    OCT_TRY(parse_signature(p, n));
    return parse_function_body(p, n, end);
}

static oct_status parse_call_block(struct oct_jparser *p, struct oct_jn *n)
{
    static const char *const end[] = {"endcall", NULL};
    n->kind = OCT_JN_CALLBLOCK;
    if (p->tok->type == OCT_JT_LPAREN) {
        OCT_TRY(parse_signature(p, n));
    }
    OCT_TRY(oct_jparse_expr(p, &n->b));
    if (n->b->kind != OCT_JN_CALL) {
        return oct_jinja_fail(p->t, n->line, n->b->at, n->b->end, "expected the call of a macro");
    }
    return parse_function_body(p, n, end);
}

static oct_status parse_generation(struct oct_jparser *p, struct oct_jn *n)
{
    static const char *const end[] = {"endgeneration", NULL};
    n->kind = OCT_JN_GENERATION;
    return parse_function_body(p, n, end);
}

static oct_status parse_filter_block(struct oct_jparser *p, struct oct_jn *n)
{
    static const char *const end[] = {"endfilter", NULL};
    n->kind = OCT_JN_FILTERBLOCK;
    OCT_TRY(oct_jparse_filters(p, NULL, true, &n->b));
    OCT_TRY(parse_body(p, end, &n->body));
    oct_jparse_next(p);
    return OCT_OK;
}

static oct_status parse_print(struct oct_jparser *p, struct oct_jn *n)
{
    struct oct_jkids kids = {0};
    oct_status st;
    n->kind = OCT_JN_OUTPUT;
    while (p->tok->type != OCT_JT_BLOCK_END) {
        struct oct_jn *item;
        if (kids.n) {
            OCT_TRY_GOTO(oct_jparse_expect(p, OCT_JT_COMMA, "','"), st, done);
        }
        OCT_TRY_GOTO(oct_jparse_expr(p, &item), st, done);
        OCT_TRY_GOTO(oct_jkids_add(&kids, item), st, done);
    }
    st = oct_jkids_move(p, &kids, n);
done:
    oct_free(kids.data);
    return st;
}

static oct_status parse_loop_control(struct oct_jparser *p, struct oct_jn *n)
{
    n->kind = p->tok[-1].value.len == 5 ? OCT_JN_BREAK : OCT_JN_CONTINUE;
    if (p->loops == 0) {
        return oct_jinja_fail(p->t, n->line, n->at, p->tok[-1].end, "outside of a loop");
    }
    return OCT_OK;
}

static oct_status parse_unsupported(struct oct_jparser *p, struct oct_jn *n)
{
    char quoted[80];
    return OCT_FAIL(OCT_E_UNSUPPORTED,
                    "chat template, line %u: {%% %s %%} is not supported in chat templates",
                    n->line, oct_jinja_snippet(p->t, n->at, p->tok[-1].end, quoted));
}

static oct_status parse_statement(struct oct_jparser *p, struct oct_jn **out)
{
    static const struct {
        const char *word;
        oct_status (*parse)(struct oct_jparser *p, struct oct_jn *n);
    } row[] = {
        {"if", parse_if},
        {"for", parse_for},
        {"set", parse_set},
        {"macro", parse_macro},
        {"call", parse_call_block},
        {"generation", parse_generation},
        {"filter", parse_filter_block},
        {"with", parse_with},
        {"print", parse_print},
        {"break", parse_loop_control},
        {"continue", parse_loop_control},
        {"block", parse_unsupported},
        {"extends", parse_unsupported},
        {"include", parse_unsupported},
        {"import", parse_unsupported},
        {"from", parse_unsupported},
        {"autoescape", parse_unsupported},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        if (oct_jparse_at_word(p, row[i].word)) {
            struct oct_jn *n = oct_jnode(p, OCT_JN_BLOCK, p->tok);
            if (!n) {
                return OCT_E_MEM;
            }
            oct_jparse_next(p);
            OCT_TRY(oct_jparse_enter(p));
            OCT_TRY(row[i].parse(p, n));
            oct_jparse_leave(p);
            OCT_TRY(oct_jnode_done(p, n));
            *out = n;
            return oct_jparse_expect(p, OCT_JT_BLOCK_END, "'%}'");
        }
    }
    return oct_jparse_unexpected(p, "a known tag");
}

static bool at_end_word(const struct oct_jparser *p, const char *const *ends)
{
    for (; ends && *ends; ends++) {
        if (oct_jparse_at_word(p, *ends)) {
            return true;
        }
    }
    return false;
}

/* Text and {{ }} that follow each other: one OUTPUT. */
static oct_status parse_output(struct oct_jparser *p, struct oct_jn **out)
{
    struct oct_jkids kids = {0};
    oct_status st = OCT_E_MEM;
    struct oct_jn *n = oct_jnode(p, OCT_JN_OUTPUT, p->tok), *item = NULL;
    if (!n) {
        return st;
    }
    while (p->tok->type == OCT_JT_DATA || p->tok->type == OCT_JT_VAR_BEGIN) {
        if (p->tok->type == OCT_JT_DATA) {
            item = oct_jnode(p, OCT_JN_CONST, p->tok);
            if (!item) {
                st = OCT_E_MEM;
                goto done;
            }
            item->value = p->tok->value;
            oct_jparse_next(p);
            OCT_TRY_GOTO(oct_jnode_done(p, item), st, done);
        } else {
            oct_jparse_next(p);
            OCT_TRY_GOTO(oct_jparse_tuple(p, 0, NULL, &item), st, done);
            OCT_TRY_GOTO(oct_jparse_expect(p, OCT_JT_VAR_END, "'}}'"), st, done);
        }
        OCT_TRY_GOTO(oct_jkids_add(&kids, item), st, done);
    }
    OCT_TRY_GOTO(oct_jkids_move(p, &kids, n), st, done);
    st = oct_jnode_done(p, n);
    *out = n;
done:
    oct_free(kids.data);
    return st;
}

/* Statements up to a tag out of `ends`, which stays current; NULL: to the end of the template. */
static oct_status parse_statements(struct oct_jparser *p, const char *const *ends,
                                   struct oct_jn **out)
{
    struct oct_jkids kids = {0};
    oct_status st = OCT_E_MEM;
    struct oct_jn *n = oct_jnode(p, OCT_JN_BLOCK, p->tok), *item = NULL;
    if (!n) {
        return st;
    }
    for (;;) {
        if (p->tok->type == OCT_JT_EOF) {
            if (ends) {
                while (strncmp(*ends, "end", 3) != 0) { /* one of them does */
                    ends++;
                }
                st = oct_jinja_fail(p->t, p->tok->line, 0, 0, "the template ends before {%% %s %%}",
                                    *ends);
                goto done;
            }
            break;
        }
        if (p->tok->type != OCT_JT_BLOCK_BEGIN) {
            OCT_TRY_GOTO(parse_output(p, &item), st, done);
        } else {
            oct_jparse_next(p);
            if (at_end_word(p, ends)) {
                break;
            }
            OCT_TRY_GOTO(parse_statement(p, &item), st, done);
        }
        OCT_TRY_GOTO(oct_jkids_add(&kids, item), st, done);
    }
    OCT_TRY_GOTO(oct_jkids_move(p, &kids, n), st, done);
    n->depth = 1;
    for (uint32_t i = 0; i < n->n_kids; i++) {
        deepen(n, n->kids[i]);
    }
    *out = n;
    st = OCT_OK;
done:
    oct_free(kids.data);
    return st;
}

static oct_status parse_body(struct oct_jparser *p, const char *const *ends, struct oct_jn **out)
{
    (void)oct_jparse_skip(p, OCT_JT_COLON);
    OCT_TRY(oct_jparse_expect(p, OCT_JT_BLOCK_END, "'%}'"));
    return parse_statements(p, ends, out);
}

oct_status oct_jinja_parse(struct oct_template *t, const struct oct_jtok *tokens)
{
    struct oct_jparser p = {.t = t, .tok = tokens};
    const oct_status st = parse_statements(&p, NULL, &t->root);
    oct_free(p.name_index);
    return st;
}
