// SPDX-License-Identifier: Apache-2.0
// Statements of a function: scopes, instructions, operands. Instructions are kept as spelled; names
// in operands are resolved here, labels when their scope ends.
#include "ptx_parser.h"

#include <stdio.h>

// ---- operands ----

static void parse_operand(struct parser *p, struct ptx_operand *o, unsigned depth);

static struct ptx_operand *operand_list(struct parser *p, char close, uint32_t *n, unsigned depth)
{
    struct list l = {.local = true};
    while (!ptxp_take(p, close)) {
        struct ptx_operand o;
        parse_operand(p, &o, depth + 1);
        *(struct ptx_operand *)ptxp_push(p, &l, sizeof(o)) = o;
        if (!ptxp_take(p, ',') && !ptxp_is_punct(p, close)) {
            ptxp_want(p, close);
        }
    }
    *n = l.n;
    void *data = ptxp_settle(p, &l, sizeof(struct ptx_operand));
    return data;
}

static int64_t parse_offset(struct parser *p)
{
    int64_t v = 0;
    for (;;) {
        if (ptxp_take(p, '+')) {
            v += (int64_t)ptxp_want_int(p);
        } else if (ptxp_is_punct(p, '-')) {
            v += (int64_t)ptxp_want_int(p);
        } else {
            return v;
        }
    }
}

static void named_operand(struct parser *p, struct ptx_operand *o)
{
    uint32_t line = p->t.line;
    const char *name = ptxp_want_id(p);
    o->name = name;
    if (strcmp(name, "_") == 0) {
        o->kind = PTX_O_SINK;
    } else {
        struct sym *s = ptxp_find(p, name);
        if (!s && strcmp(name, "WARP_SZ") == 0) {
            o->kind = PTX_O_INT;
            o->imm = 32;
            return;
        }
        if (!s && name[0] == '%') {
            o->kind = PTX_O_SREG;
            if (p->t.kind == PTX_T_DOT) {
                char buf[64];
                int n = snprintf(buf, sizeof(buf), "%.40s.%.10s", name, p->t.text);
                o->name = ptx_intern(p->arena, buf, (size_t)n);
                ptxp_next(p);
            }
            return;
        }
        if (!s) {
            o->kind = PTX_O_LABEL;
            o->target = UINT32_MAX;
            return;
        }
        switch (s->kind) {
        case SYM_REG:
            o->kind = PTX_O_REG;
            o->reg = (int32_t)s->index;
            break;
        case SYM_VAR:
            o->kind = PTX_O_VAR;
            o->var = s->var;
            o->offset = parse_offset(p);
            return;
        case SYM_FUNC:
            o->kind = PTX_O_FUNC;
            return;
        case SYM_LABEL:
            o->kind = PTX_O_LABEL;
            o->target = s->index;
            return;
        case SYM_TABLE:
            o->kind = PTX_O_LABEL;
            o->target = s->index;
            return;
        }
    }
    if (ptxp_take(p, '|')) {
        const char *second = ptxp_want_id(p);
        struct sym *s = ptxp_find(p, second);
        if (strcmp(second, "_") == 0) {
            o->reg2 = PTX_REG2_SINK;
        } else if (s && s->kind == SYM_REG) {
            o->reg2 = (int32_t)s->index;
        } else {
            ptxp_fail(p, line, "unknown register \"%.60s\"", second);
        }
    }
}

static void parse_operand(struct parser *p, struct ptx_operand *o, unsigned depth)
{
    char buf[8];
    if (depth > 4) {
        ptxp_fail(p, p->t.line, "operand nested too deep");
    }
    *o = (struct ptx_operand){.reg = -1, .reg2 = PTX_REG2_NONE, .target = UINT32_MAX};
    if (ptxp_take(p, '[')) {
        o->kind = PTX_O_ADDR;
        struct ptx_operand base;
        parse_operand(p, &base, depth + 1);
        if (base.kind == PTX_O_VAR) {
            o->offset = base.offset;
        } else if (base.kind == PTX_O_REG) {
            o->offset = parse_offset(p);
        } else if (base.kind != PTX_O_INT) {
            ptxp_fail(p, p->t.line, "not an address");
        }
        uint32_t n = 0;
        struct ptx_operand *more = NULL;
        if (ptxp_take(p, ',')) {
            more = operand_list(p, ']', &n, depth);
        } else {
            ptxp_want(p, ']');
        }
        o->n_elem = n + 1;
        o->elem = ptx_arena_get(p->arena, (n + 1) * sizeof(*o));
        o->elem[0] = base;
        if (n) {
            memcpy(o->elem + 1, more, n * sizeof(*o));
        }
        return;
    }
    if (ptxp_take(p, '{')) {
        o->kind = PTX_O_VEC;
        o->elem = operand_list(p, '}', &o->n_elem, depth);
        return;
    }
    if (ptxp_take(p, '(')) {
        o->kind = PTX_O_LIST;
        o->elem = operand_list(p, ')', &o->n_elem, depth);
        return;
    }
    if (ptxp_take(p, '!')) {
        o->neg = true;
        named_operand(p, o);
        return;
    }
    bool neg = ptxp_take(p, '-');
    switch (p->t.kind) {
    case PTX_T_INT:
        o->kind = PTX_O_INT;
        o->imm = neg ? 0 - p->t.value : p->t.value;
        ptxp_next(p);
        return;
    case PTX_T_F32:
    case PTX_T_F64:
        o->kind = p->t.kind == PTX_T_F32 ? PTX_O_F32 : PTX_O_F64;
        o->imm = p->t.value ^ (!neg ? 0 : o->kind == PTX_O_F32 ? 1ull << 31 : 1ull << 63);
        ptxp_next(p);
        return;
    case PTX_T_ID:
        if (!neg) {
            named_operand(p, o);
            return;
        }
        break;
    default:
        break;
    }
    ptxp_fail(p, p->t.line, "operand expected before \"%.60s\"", ptxp_tok_text(p, buf));
}

// ---- instructions ----

static void add_fixup(struct parser *p, const char *name, uint32_t line, uint32_t inst, uint8_t op)
{
    struct fixup *fx = ptxp_push(p, &p->fixups, sizeof(*fx));
    *fx = (struct fixup){
        .name = name, .scope = p->scope, .inst = inst, .line = line, .table = UINT32_MAX, .op = op};
}

static void note_addresses(struct ptx_operand *o, unsigned depth)
{
    if (o->kind == PTX_O_VAR) {
        o->var->address_taken = true;
    }
    if (o->kind == PTX_O_VEC && depth < 4) {
        for (uint32_t i = 0; i < o->n_elem; i++) {
            note_addresses(&o->elem[i], depth + 1);
        }
    }
}

static void parse_inst(struct parser *p, int32_t guard, bool guard_neg)
{
    struct ptx_inst in = {.guard = guard,
                          .guard_neg = guard_neg,
                          .ptx_line = p->t.line,
                          .line = p->loc_line,
                          .file = p->loc_file};
    in.tok[in.n_tok++] = ptxp_want_id(p);
    while (p->t.kind == PTX_T_DOT) {
        if (in.n_tok == PTX_MAX_TOKENS) {
            ptxp_fail(p, p->t.line, "instruction with too many modifiers");
        }
        in.tok[in.n_tok++] = p->t.text;
        ptxp_next(p);
    }
    while (!ptxp_take(p, ';')) {
        if (in.n_op == PTX_MAX_OPERANDS) {
            ptxp_fail(p, p->t.line, "%s with too many operands", in.tok[0]);
        }
        struct ptx_operand *o = &in.op[in.n_op];
        parse_operand(p, o, 0);
        note_addresses(o, 0);
        if (o->kind == PTX_O_LABEL && o->target == UINT32_MAX) {
            struct sym *s = ptxp_find(p, o->name);
            if (!s) {
                add_fixup(p, o->name, in.ptx_line, p->insts.n, in.n_op);
            }
        }
        in.n_op++;
        if (!ptxp_take(p, ',') && !ptxp_is_punct(p, ';')) {
            // "[map, {c}], ..." and "call (r), f, (a)" use commas throughout: anything else is an
            // error
            ptxp_want(p, ';');
        }
    }
    *(struct ptx_inst *)ptxp_push(p, &p->insts, sizeof(in)) = in;
}

static void parse_table(struct parser *p, const char *name)
{
    bool prototype = ptxp_is_dot(p, "callprototype");
    ptxp_next(p);
    struct sym *s = ptxp_define(p, name, SYM_TABLE);
    s->index = p->tables.n;
    struct ptx_table t = {.name = name, .is_prototype = prototype};
    struct list names = {.local = true};
    while (!ptxp_take(p, ';')) {
        if (p->t.kind == PTX_T_END) {
            ptxp_fail(p, p->t.line, "%.60s does not end", name);
        }
        if (!prototype && p->t.kind == PTX_T_ID) {
            *(const char **)ptxp_push(p, &names, sizeof(char *)) = p->t.text;
        }
        ptxp_next(p);
    }
    t.n = names.n;
    t.target = ptx_arena_get(p->arena, (t.n + 1) * sizeof(uint32_t));
    for (uint32_t i = 0; i < t.n; i++) {
        const char *label = ((const char **)names.data)[i];
        struct sym *l = ptxp_find(p, label);
        if (l && l->kind == SYM_LABEL) {
            t.target[i] = l->index;
        } else {
            add_fixup(p, label, p->t.line, 0, 0);
            struct fixup *fx = (struct fixup *)p->fixups.data + p->fixups.n - 1;
            fx->table = p->tables.n;
            fx->entry = i;
        }
    }
    *(struct ptx_table *)ptxp_push(p, &p->tables, sizeof(t)) = t;
}

void ptxp_loc(struct parser *p)
{
    // .loc file line column [, function_name label, inlined_at file line column]
    uint32_t line = p->t.line;
    uint64_t v[2] = {0};
    for (int i = 0; i < 2; i++) {
        ptxp_next(p);
        if (p->t.kind == PTX_T_INT && p->t.line == line) {
            v[i] = p->t.value;
        }
    }
    p->loc_file = (uint32_t)v[0];
    if (v[1]) { // line 0: the compiler's own code; the last known line says more
        p->loc_line = (uint32_t)v[1];
    }
    ptx_lex_skip_line(&p->lex);
    ptxp_next(p);
}

void ptxp_file(struct parser *p)
{
    ptxp_next(p);
    uint64_t i = ptxp_want_int(p);
    if (i < 100000 && p->t.kind == PTX_T_STR) {
        while (p->files.n <= i) {
            ptxp_push(p, &p->files, sizeof(char *));
        }
        ((const char **)p->files.data)[i] = p->t.text;
    }
    uint32_t line = p->t.line;
    do {
        ptxp_next(p);
    } while (p->t.line == line && (p->t.kind == PTX_T_INT || ptxp_is_punct(p, ',')));
}

static void statement(struct parser *p)
{
    char buf[8];
    if (p->t.kind == PTX_T_DOT) {
        enum ptx_space space;
        if (ptxp_is_dot(p, "reg")) {
            ptxp_next(p);
            ptxp_regs(p);
        } else if (ptxp_is_dot(p, "loc")) {
            ptxp_loc(p);
        } else if (ptxp_is_dot(p, "file")) {
            ptxp_file(p);
        } else if (ptxp_is_dot(p, "pragma")) {
            while (!ptxp_is_punct(p, ';') && p->t.kind != PTX_T_END) {
                ptxp_next(p);
            }
            ptxp_want(p, ';');
        } else if (ptxp_is_dot(p, "extern")) {
            ptxp_next(p);
            ptxp_next(p);
            ptxp_vars(p, PTX_SHARED, true, false, &p->fvars);
            ptxp_want(p, ';');
        } else if (ptxp_space_of(p->t.text, &space)) {
            ptxp_next(p);
            ptxp_vars(p, space, false, false,
                      space == PTX_GLOBAL || space == PTX_CONST ? &p->vars : &p->fvars);
            ptxp_want(p, ';');
        } else {
            ptxp_fail(p, p->t.line, "unknown directive .%.60s", p->t.text);
        }
        return;
    }
    int32_t guard = -1;
    bool neg = false;
    if (ptxp_take(p, '@')) {
        neg = ptxp_take(p, '!');
        const char *name = ptxp_want_id(p);
        struct sym *s = ptxp_find(p, name);
        if (!s || s->kind != SYM_REG) {
            ptxp_fail(p, p->t.line, "unknown guard \"%.60s\"", name);
        }
        guard = (int32_t)s->index;
    }
    if (p->t.kind != PTX_T_ID) {
        ptxp_fail(p, p->t.line, "instruction expected before \"%.60s\"", ptxp_tok_text(p, buf));
    }
    if (guard < 0) { // maybe a label
        struct ptx_lex saved = p->lex;
        struct ptx_tok id = p->t;
        ptxp_next(p);
        if (ptxp_take(p, ':')) {
            if (ptxp_is_dot(p, "branchtargets") || ptxp_is_dot(p, "callprototype")) {
                parse_table(p, id.text);
            } else {
                ptxp_define(p, id.text, SYM_LABEL)->index = p->insts.n;
            }
            return;
        }
        p->lex = saved;
        p->t = id;
    }
    parse_inst(p, guard, neg);
}

void ptxp_body(struct parser *p)
{
    ptxp_want(p, '{');
    unsigned base = p->scope;
    p->scope++;
    while (p->scope > base) {
        if (ptxp_take(p, '{')) {
            if (++p->scope >= PTXP_SCOPES) {
                ptxp_fail(p, p->t.line, "scopes nested too deep");
            }
        } else if (ptxp_take(p, '}')) {
            ptxp_end_scope(p);
        } else if (ptxp_take(p, ';')) {
            continue;
        } else if (p->t.kind == PTX_T_END) {
            ptxp_fail(p, p->t.line, "function %.100s does not end", p->f->name);
        } else {
            statement(p);
        }
    }
}
