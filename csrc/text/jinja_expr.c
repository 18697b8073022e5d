/* SPDX-License-Identifier: Apache-2.0
 *
 * jinja_expr.c - the expression half of the parser: Jinja's grammar, operators of one precedence
 * gathered into one node so that long chains are not deep. */
#include "text/jinja_parse.h"
#include "text/jinja_run.h"

#include <string.h>

enum prec {
    PREC_OR,
    PREC_AND,
    PREC_NOT,
    PREC_COMPARE,
    PREC_ADD,
    PREC_CONCAT,
    PREC_MUL,
    PREC_POW,
    PREC_NONE
};

struct op_row {
    uint8_t token, prec, op;
};

static oct_status parse_prec(struct oct_jparser *p, enum prec min, struct oct_jn **out);
static oct_status parse_unary(struct oct_jparser *p, bool with_filter, struct oct_jn **out);

/* The binary operator at the current token: its row, and how many tokens it has. */
static struct op_row binary_op(const struct oct_jparser *p, uint32_t *n_tokens)
{
    static const struct op_row row[] = {
        {OCT_JT_EQ, PREC_COMPARE, OCT_JOP_EQ}, {OCT_JT_NE, PREC_COMPARE, OCT_JOP_NE},
        {OCT_JT_LT, PREC_COMPARE, OCT_JOP_LT}, {OCT_JT_LE, PREC_COMPARE, OCT_JOP_LE},
        {OCT_JT_GT, PREC_COMPARE, OCT_JOP_GT}, {OCT_JT_GE, PREC_COMPARE, OCT_JOP_GE},
        {OCT_JT_ADD, PREC_ADD, OCT_JOP_ADD},   {OCT_JT_SUB, PREC_ADD, OCT_JOP_SUB},
        {OCT_JT_TILDE, PREC_CONCAT, 0},        {OCT_JT_MUL, PREC_MUL, OCT_JOP_MUL},
        {OCT_JT_DIV, PREC_MUL, OCT_JOP_DIV},   {OCT_JT_FLOORDIV, PREC_MUL, OCT_JOP_FLOORDIV},
        {OCT_JT_MOD, PREC_MUL, OCT_JOP_MOD},   {OCT_JT_POW, PREC_POW, OCT_JOP_POW},
    };
    *n_tokens = 1;
    if (p->tok->type == OCT_JT_NAME) {
        if (oct_jparse_at_word(p, "or")) {
            return (struct op_row){OCT_JT_NAME, PREC_OR, 0};
        }
        if (oct_jparse_at_word(p, "and")) {
            return (struct op_row){OCT_JT_NAME, PREC_AND, 0};
        }
        if (oct_jparse_at_word(p, "in")) {
            return (struct op_row){OCT_JT_NAME, PREC_COMPARE, OCT_JOP_IN};
        }
        const struct oct_jparser ahead = {.tok = p->tok + 1};
        if (oct_jparse_at_word(p, "not") && oct_jparse_at_word(&ahead, "in")) {
            *n_tokens = 2;
            return (struct op_row){OCT_JT_NAME, PREC_COMPARE, OCT_JOP_NOTIN};
        }
    }
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        if (row[i].token == p->tok->type) {
            return row[i];
        }
    }
    return (struct op_row){0, PREC_NONE, 0};
}

/* All operands of one precedence behind `left`. */
static oct_status parse_chain(struct oct_jparser *p, enum prec prec, const struct oct_jtok *from,
                              struct oct_jn **left)
{
    static const uint8_t kind[] = {
        [PREC_OR] = OCT_JN_OR,   [PREC_AND] = OCT_JN_AND,       [PREC_COMPARE] = OCT_JN_COMPARE,
        [PREC_ADD] = OCT_JN_BIN, [PREC_CONCAT] = OCT_JN_CONCAT, [PREC_MUL] = OCT_JN_BIN,
        [PREC_POW] = OCT_JN_BIN};
    struct oct_jkids kids = {0};
    oct_status st = OCT_E_MEM;
    struct oct_jn *n = oct_jnode(p, (enum oct_jn_kind)kind[prec], from);
    if (!n) {
        return st;
    }
    const bool wrap = n->kind == OCT_JN_COMPARE || n->kind == OCT_JN_BIN;
    if (wrap) {
        n->a = *left;
    } else {
        OCT_TRY_GOTO(oct_jkids_add(&kids, *left), st, done);
    }
    for (;;) {
        uint32_t n_tokens;
        const struct op_row row = binary_op(p, &n_tokens);
        if (row.prec != prec) {
            break;
        }
        const struct oct_jtok *op = p->tok;
        p->tok += n_tokens;
        struct oct_jn *right;
        OCT_TRY_GOTO(parse_prec(p, prec + 1, &right), st, done);
        if (wrap) {
            struct oct_jn *operand = oct_jnode(p, OCT_JN_OPERAND, op);
            if (!operand) {
                st = OCT_E_MEM;
                goto done;
            }
            operand->op = row.op;
            operand->a = right;
            OCT_TRY_GOTO(oct_jnode_done(p, operand), st, done);
            right = operand;
        }
        OCT_TRY_GOTO(oct_jkids_add(&kids, right), st, done);
    }
    OCT_TRY_GOTO(oct_jkids_move(p, &kids, n), st, done);
    OCT_TRY_GOTO(oct_jnode_done(p, n), st, done);
    *left = n;
done:
    oct_free(kids.data);
    return st;
}

static oct_status parse_prec(struct oct_jparser *p, enum prec min, struct oct_jn **out)
{
    const struct oct_jtok *from = p->tok;
    struct oct_jn *left;
    if (min <= PREC_NOT && oct_jparse_at_word(p, "not")) {
        oct_jparse_next(p);
        struct oct_jn *n = oct_jnode(p, OCT_JN_NOT, from);
        if (!n) {
            return OCT_E_MEM;
        }
        OCT_TRY(oct_jparse_enter(p));
        OCT_TRY(parse_prec(p, PREC_NOT, &n->a));
        oct_jparse_leave(p);
        OCT_TRY(oct_jnode_done(p, n));
        left = n;
    } else {
        OCT_TRY(parse_unary(p, true, &left));
    }
    for (;;) {
        uint32_t n_tokens;
        const struct op_row row = binary_op(p, &n_tokens);
        if (row.prec == PREC_NONE || row.prec < min) {
            *out = left;
            return OCT_OK;
        }
        OCT_TRY(parse_chain(p, (enum prec)row.prec, from, &left));
    }
}

/* a if b else c, a if b, ... */
static oct_status parse_cond(struct oct_jparser *p, struct oct_jn **out)
{
    const struct oct_jtok *from = p->tok;
    OCT_TRY(parse_prec(p, PREC_OR, out));
    while (oct_jparse_skip_word(p, "if")) {
        struct oct_jn *n = oct_jnode(p, OCT_JN_COND, from);
        if (!n) {
            return OCT_E_MEM;
        }
        n->b = *out;
        OCT_TRY(parse_prec(p, PREC_OR, &n->a));
        if (oct_jparse_skip_word(p, "else")) {
            OCT_TRY(oct_jparse_expr(p, &n->c));
        }
        OCT_TRY(oct_jnode_done(p, n));
        *out = n;
    }
    return OCT_OK;
}

oct_status oct_jparse_expr(struct oct_jparser *p, struct oct_jn **out)
{
    OCT_TRY(oct_jparse_enter(p));
    OCT_TRY(parse_cond(p, out));
    oct_jparse_leave(p);
    return OCT_OK;
}

static bool at_tuple_end(const struct oct_jparser *p, const char *end_word)
{
    return p->tok->type == OCT_JT_VAR_END || p->tok->type == OCT_JT_BLOCK_END ||
           p->tok->type == OCT_JT_RPAREN || (end_word && oct_jparse_at_word(p, end_word));
}

/* NSREF, when a dot follows a name in a target. */
static oct_status parse_target_name(struct oct_jparser *p, struct oct_jn *n)
{
    oct_jparse_next(p);
    if (p->tok->type != OCT_JT_NAME) {
        return oct_jparse_unexpected(p, "the name of an attribute");
    }
    n->kind = OCT_JN_NSREF;
    n->value = p->tok->value;
    oct_jparse_next(p);
    return oct_jnode_done(p, n);
}

/* name: a constant, a variable, or ns.attr of a target. */
static oct_status parse_name(struct oct_jparser *p, bool with_namespace, struct oct_jn **out)
{
    static const struct {
        char word[6];
        uint8_t type, value;
    } constant[] = {{"true", OCT_JV_BOOL, 1},  {"True", OCT_JV_BOOL, 1}, {"false", OCT_JV_BOOL, 0},
                    {"False", OCT_JV_BOOL, 0}, {"none", OCT_JV_NONE, 0}, {"None", OCT_JV_NONE, 0}};
    const struct oct_jtok *tok = p->tok;
    struct oct_jn *n = oct_jnode(p, OCT_JN_NAME, tok);
    if (!n) {
        return OCT_E_MEM;
    }
    *out = n;
    for (size_t i = 0; i < sizeof constant / sizeof *constant; i++) {
        if (oct_jparse_at_word(p, constant[i].word)) {
            n->kind = OCT_JN_CONST;
            n->value =
                constant[i].type == OCT_JV_BOOL ? oct_jv_bool(constant[i].value) : oct_jv_none();
            oct_jparse_next(p);
            return oct_jnode_done(p, n);
        }
    }
    OCT_TRY(oct_jparse_name_id(p, tok->value.u.s, tok->value.len, &n->name));
    n->value = tok->value;
    oct_jparse_next(p);
    if (with_namespace && p->tok->type == OCT_JT_DOT) {
        return parse_target_name(p, n);
    }
    return oct_jnode_done(p, n);
}

static oct_status parse_string(struct oct_jparser *p, struct oct_jn **out)
{
    const struct oct_jtok *tok = p->tok;
    struct oct_jn *n = oct_jnode(p, OCT_JN_CONST, tok);
    if (!n) {
        return OCT_E_MEM;
    }
    size_t len = 0;
    while (p->tok->type == OCT_JT_STRING) { /* adjacent strings are one */
        len += p->tok->value.len;
        oct_jparse_next(p);
    }
    n->value = tok->value;
    if (p->tok > tok + 1) {
        char *text = oct_jinja_alloc_text(p->t, len);
        n->value = oct_jv_strn(text, len);
        for (; tok < p->tok; tok++) {
            if (tok->value.len) {
                memcpy(text, tok->value.u.s, tok->value.len);
            }
            text += tok->value.len;
        }
    }
    *out = n;
    return oct_jnode_done(p, n);
}

/* [a, b] and {a: b}. */
static oct_status parse_display(struct oct_jparser *p, struct oct_jn **out)
{
    const bool dict = p->tok->type == OCT_JT_LBRACE;
    const enum oct_jtok_type close = dict ? OCT_JT_RBRACE : OCT_JT_RBRACKET;
    struct oct_jkids kids = {0};
    oct_status st = OCT_E_MEM;
    struct oct_jn *n = oct_jnode(p, dict ? OCT_JN_DICT : OCT_JN_LIST, p->tok);
    if (!n) {
        return st;
    }
    oct_jparse_next(p);
    while (p->tok->type != close) {
        if (kids.n) {
            OCT_TRY_GOTO(oct_jparse_expect(p, OCT_JT_COMMA, "','"), st, done);
            if (p->tok->type == close) {
                break;
            }
        }
        for (int i = 0; i <= dict; i++) {
            struct oct_jn *item;
            if (i == 1) {
                OCT_TRY_GOTO(oct_jparse_expect(p, OCT_JT_COLON, "':'"), st, done);
            }
            OCT_TRY_GOTO(oct_jparse_expr(p, &item), st, done);
            OCT_TRY_GOTO(oct_jkids_add(&kids, item), st, done);
        }
    }
    oct_jparse_next(p);
    OCT_TRY_GOTO(oct_jkids_move(p, &kids, n), st, done);
    st = oct_jnode_done(p, n);
    *out = n;
done:
    oct_free(kids.data);
    return st;
}

static oct_status parse_primary(struct oct_jparser *p, bool with_namespace, struct oct_jn **out)
{
    switch (p->tok->type) {
    case OCT_JT_NAME:
        return parse_name(p, with_namespace, out);
    case OCT_JT_STRING:
        return parse_string(p, out);
    case OCT_JT_INT:
    case OCT_JT_FLOAT: {
        struct oct_jn *n = oct_jnode(p, OCT_JN_CONST, p->tok);
        if (!n) {
            return OCT_E_MEM;
        }
        n->value = p->tok->value;
        oct_jparse_next(p);
        *out = n;
        return oct_jnode_done(p, n);
    }
    case OCT_JT_LPAREN:
        oct_jparse_next(p);
        OCT_TRY(oct_jparse_tuple(p, OCT_JTUPLE_PARENS, NULL, out));
        return oct_jparse_expect(p, OCT_JT_RPAREN, "')'");
    case OCT_JT_LBRACKET:
    case OCT_JT_LBRACE:
        return parse_display(p, out);
    default:
        return oct_jparse_unexpected(p, "an expression");
    }
}

oct_status oct_jparse_tuple(struct oct_jparser *p, unsigned flags, const char *end_word,
                            struct oct_jn **out)
{
    struct oct_jkids kids = {0};
    oct_status st = OCT_OK;
    const struct oct_jtok *from = p->tok;
    bool is_tuple = false;
    struct oct_jn *item = NULL;
    OCT_TRY(oct_jparse_enter(p));
    for (;;) {
        if (kids.n) {
            OCT_TRY_GOTO(oct_jparse_expect(p, OCT_JT_COMMA, "','"), st, done);
        }
        if (at_tuple_end(p, end_word)) {
            break;
        }
        OCT_TRY_GOTO(flags & OCT_JTUPLE_SIMPLE
                         ? parse_primary(p, (flags & OCT_JTUPLE_NAMESPACE) != 0, &item)
                     : flags & OCT_JTUPLE_NO_COND ? parse_prec(p, PREC_OR, &item)
                                                  : parse_cond(p, &item),
                     st, done);
        OCT_TRY_GOTO(oct_jkids_add(&kids, item), st, done);
        if (p->tok->type != OCT_JT_COMMA) {
            break;
        }
        is_tuple = true;
    }
    if (!is_tuple && kids.n == 1) {
        *out = item;
        goto done;
    }
    if (!is_tuple && !(flags & OCT_JTUPLE_PARENS)) {
        st = oct_jparse_unexpected(p, "an expression");
        goto done;
    }
    struct oct_jn *n = oct_jnode(p, OCT_JN_TUPLE, from);
    if (!n) {
        st = OCT_E_MEM;
        goto done;
    }
    OCT_TRY_GOTO(oct_jkids_move(p, &kids, n), st, done);
    st = oct_jnode_done(p, n);
    *out = n;
done:
    oct_jparse_leave(p);
    oct_free(kids.data);
    return st;
}

/* (a, *b, c=d, **e) into n: kids, n_pos, b, c. */
static oct_status parse_call_args(struct oct_jparser *p, struct oct_jn *n)
{
    struct oct_jkids kids = {0};
    oct_status st = OCT_OK;
    const struct oct_jtok *from = p->tok;
    OCT_TRY(oct_jparse_enter(p));
    oct_jparse_next(p);
    bool first = true;
    while (p->tok->type != OCT_JT_RPAREN) {
        if (!first) {
            OCT_TRY_GOTO(oct_jparse_expect(p, OCT_JT_COMMA, "','"), st, done);
            if (p->tok->type == OCT_JT_RPAREN) {
                break;
            }
        }
        first = false;
        bool in_order = true;
        struct oct_jn *arg;
        if (oct_jparse_skip(p, OCT_JT_MUL)) {
            in_order = !n->b && !n->c;
            OCT_TRY_GOTO(oct_jparse_expr(p, &n->b), st, done);
        } else if (oct_jparse_skip(p, OCT_JT_POW)) {
            in_order = !n->c;
            OCT_TRY_GOTO(oct_jparse_expr(p, &n->c), st, done);
        } else if (p->tok->type == OCT_JT_NAME && p->tok[1].type == OCT_JT_ASSIGN) {
            in_order = !n->c;
            arg = oct_jnode(p, OCT_JN_KEYWORD, p->tok);
            if (!arg) {
                st = OCT_E_MEM;
                goto done;
            }
            arg->value = p->tok->value;
            p->tok += 2;
            OCT_TRY_GOTO(oct_jparse_expr(p, &arg->a), st, done);
            OCT_TRY_GOTO(oct_jnode_done(p, arg), st, done);
            OCT_TRY_GOTO(oct_jkids_add(&kids, arg), st, done);
        } else {
            in_order = !n->b && !n->c && n->n_pos == kids.n;
            OCT_TRY_GOTO(oct_jparse_expr(p, &arg), st, done);
            OCT_TRY_GOTO(oct_jkids_add(&kids, arg), st, done);
            n->n_pos++;
        }
        if (!in_order) {
            st = oct_jinja_fail(p->t, from->line, from->at, p->tok->at,
                                "arguments of a call in the wrong order");
            goto done;
        }
    }
    oct_jparse_next(p);
    st = oct_jkids_move(p, &kids, n);
done:
    oct_jparse_leave(p);
    oct_free(kids.data);
    return st;
}

static oct_status parse_call(struct oct_jparser *p, const struct oct_jtok *from,
                             struct oct_jn **node)
{
    struct oct_jn *n = oct_jnode(p, OCT_JN_CALL, from);
    if (!n) {
        return OCT_E_MEM;
    }
    n->a = *node;
    OCT_TRY(parse_call_args(p, n));
    *node = n;
    return oct_jnode_done(p, n);
}

/* One index inside [ ]: an expression, or a slice with its parts in kids and a still NULL. */
static oct_status parse_index(struct oct_jparser *p, struct oct_jn **out, bool *is_slice)
{
    const struct oct_jtok *from = p->tok;
    struct oct_jn *part[3] = {NULL, NULL, NULL};
    *is_slice = false;
    if (p->tok->type != OCT_JT_COLON) {
        OCT_TRY(oct_jparse_expr(p, &part[0]));
        if (p->tok->type != OCT_JT_COLON) {
            *out = part[0];
            return OCT_OK;
        }
    }
    for (int i = 1; i <= 2 && oct_jparse_skip(p, OCT_JT_COLON); i++) {
        if (p->tok->type != OCT_JT_COLON && p->tok->type != OCT_JT_RBRACKET &&
            p->tok->type != OCT_JT_COMMA) {
            OCT_TRY(oct_jparse_expr(p, &part[i]));
        }
    }
    struct oct_jn *n = oct_jnode(p, OCT_JN_SLICE, from);
    if (n) {
        n->kids = oct_jinja_alloc(p->t, sizeof part);
    }
    if (!n || !n->kids) {
        return OCT_E_MEM;
    }
    memcpy(n->kids, part, sizeof part);
    n->n_kids = 3;
    *is_slice = true;
    *out = n;
    return oct_jnode_done(p, n);
}

static oct_status parse_subscript(struct oct_jparser *p, const struct oct_jtok *from,
                                  struct oct_jn **node)
{
    struct oct_jn *n = oct_jnode(p, OCT_JN_ITEM, from);
    if (!n) {
        return OCT_E_MEM;
    }
    n->a = *node;
    oct_jparse_next(p);
    bool is_slice;
    OCT_TRY(parse_index(p, &n->b, &is_slice));
    if (p->tok->type == OCT_JT_COMMA) {
        return oct_jinja_fail(p->t, p->tok->line, from->at, p->tok->end,
                              "an index with a comma is not supported");
    }
    OCT_TRY(oct_jparse_expect(p, OCT_JT_RBRACKET, "']'"));
    if (is_slice) {
        n->b->a = n->a; /* the slice node itself is the expression */
        n->b->at = n->at;
        n = n->b;
    }
    n->end = p->tok[-1].end;
    *node = n;
    return oct_jnode_done(p, n);
}

static oct_status parse_attr(struct oct_jparser *p, const struct oct_jtok *from,
                             struct oct_jn **node)
{
    oct_jparse_next(p);
    const struct oct_jtok *tok = p->tok;
    if (tok->type != OCT_JT_NAME && tok->type != OCT_JT_INT) {
        return oct_jparse_unexpected(p, "a name or number behind '.'");
    }
    struct oct_jn *n = oct_jnode(p, tok->type == OCT_JT_NAME ? OCT_JN_ATTR : OCT_JN_ITEM, from);
    if (!n) {
        return OCT_E_MEM;
    }
    n->a = *node;
    if (tok->type == OCT_JT_NAME) {
        n->value = tok->value;
    } else {
        n->b = oct_jnode(p, OCT_JN_CONST, tok);
        if (!n->b) {
            return OCT_E_MEM;
        }
        n->b->value = tok->value;
        n->b->depth = 1;
    }
    oct_jparse_next(p);
    *node = n;
    return oct_jnode_done(p, n);
}

static oct_status parse_postfix(struct oct_jparser *p, const struct oct_jtok *from,
                                struct oct_jn **node)
{
    for (;;) {
        switch (p->tok->type) {
        case OCT_JT_DOT:
            OCT_TRY(parse_attr(p, from, node));
            break;
        case OCT_JT_LBRACKET:
            OCT_TRY(parse_subscript(p, from, node));
            break;
        case OCT_JT_LPAREN:
            OCT_TRY(parse_call(p, from, node));
            break;
        default:
            return OCT_OK;
        }
    }
}

/* name or name.name...: of a filter or a test, into n->value. */
static oct_status parse_dotted(struct oct_jparser *p, struct oct_jn *n)
{
    const struct oct_jtok *tok = p->tok;
    OCT_TRY(oct_jparse_expect(p, OCT_JT_NAME, "the name of a filter or test"));
    n->value = tok->value;
    while (oct_jparse_skip(p, OCT_JT_DOT)) {
        OCT_TRY(oct_jparse_expect(p, OCT_JT_NAME, "a name behind '.'"));
        n->value = oct_jv_strn(p->t->source + tok->at, (size_t)(p->tok[-1].end - tok->at));
    }
    return OCT_OK;
}

oct_status oct_jparse_filters(struct oct_jparser *p, struct oct_jn *a, bool inline_first,
                              struct oct_jn **out)
{
    const struct oct_jtok *from = p->tok;
    *out = a;
    while (inline_first || p->tok->type == OCT_JT_PIPE) {
        if (!inline_first) {
            oct_jparse_next(p);
        }
        inline_first = false;
        struct oct_jn *n = oct_jnode(p, OCT_JN_FILTER, from);
        if (!n) {
            return OCT_E_MEM;
        }
        n->at = a ? a->at : from->at;
        n->a = *out;
        OCT_TRY(parse_dotted(p, n));
        n->fn = oct_jfilter_find(n->value.u.s, n->value.len);
        if (p->tok->type == OCT_JT_LPAREN) {
            OCT_TRY(parse_call_args(p, n));
        }
        OCT_TRY(oct_jnode_done(p, n));
        *out = n;
    }
    return OCT_OK;
}

static oct_status parse_test(struct oct_jparser *p, const struct oct_jtok *from,
                             struct oct_jn **node)
{
    oct_jparse_next(p);
    const bool negated = oct_jparse_skip_word(p, "not");
    struct oct_jn *n = oct_jnode(p, OCT_JN_TEST, from);
    if (!n) {
        return OCT_E_MEM;
    }
    n->a = *node;
    OCT_TRY(parse_dotted(p, n));
    n->fn = oct_jtest_find(n->value.u.s, n->value.len);
    switch (p->tok->type) {
    case OCT_JT_LPAREN:
        OCT_TRY(parse_call_args(p, n));
        break;
    case OCT_JT_NAME:
        if (oct_jparse_at_word(p, "else") || oct_jparse_at_word(p, "or") ||
            oct_jparse_at_word(p, "and")) {
            break;
        }
        if (oct_jparse_at_word(p, "is")) {
            return oct_jinja_fail(p->t, p->tok->line, n->at, p->tok->end,
                                  "tests cannot be chained with 'is'");
        }
        __attribute__((fallthrough));
    case OCT_JT_STRING:
    case OCT_JT_INT:
    case OCT_JT_FLOAT:
    case OCT_JT_LBRACKET:
    case OCT_JT_LBRACE: { /* one argument without parentheses */
        const struct oct_jtok *arg = p->tok;
        n->kids = oct_jinja_alloc(p->t, sizeof *n->kids);
        if (!n->kids) {
            return OCT_E_MEM;
        }
        n->n_kids = n->n_pos = 1;
        OCT_TRY(oct_jparse_enter(p));
        OCT_TRY(parse_primary(p, false, &n->kids[0]));
        OCT_TRY(parse_postfix(p, arg, &n->kids[0]));
        oct_jparse_leave(p);
        break;
    }
    default:
        break;
    }
    OCT_TRY(oct_jnode_done(p, n));
    *node = n;
    if (negated) {
        struct oct_jn *not = oct_jnode(p, OCT_JN_NOT, from);
        if (!not ) {
            return OCT_E_MEM;
        }
        not ->a = n;
        *node = not ;
        return oct_jnode_done(p, not );
    }
    return OCT_OK;
}

static oct_status parse_unary(struct oct_jparser *p, bool with_filter, struct oct_jn **out)
{
    const struct oct_jtok *from = p->tok;
    if (p->tok->type == OCT_JT_SUB || p->tok->type == OCT_JT_ADD) {
        struct oct_jn *n = oct_jnode(p, from->type == OCT_JT_SUB ? OCT_JN_NEG : OCT_JN_POS, from);
        if (!n) {
            return OCT_E_MEM;
        }
        oct_jparse_next(p);
        OCT_TRY(oct_jparse_enter(p));
        OCT_TRY(parse_unary(p, false, &n->a));
        oct_jparse_leave(p);
        OCT_TRY(oct_jnode_done(p, n));
        *out = n;
    } else {
        OCT_TRY(parse_primary(p, false, out));
    }
    OCT_TRY(parse_postfix(p, from, out));
    while (with_filter) {
        if (p->tok->type == OCT_JT_PIPE) {
            OCT_TRY(oct_jparse_filters(p, *out, false, out));
        } else if (oct_jparse_at_word(p, "is")) {
            OCT_TRY(parse_test(p, from, out));
        } else if (p->tok->type == OCT_JT_LPAREN) {
            OCT_TRY(parse_call(p, from, out));
        } else {
            break;
        }
    }
    return OCT_OK;
}
