// SPDX-License-Identifier: Apache-2.0
// The grammar: module scope, function headers, bodies with nested scopes. Instructions are kept as
// spelled; names in operands are resolved here, labels when their scope ends.
#include "ptx.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ptx_lex.h"

enum { MAX_SCOPES = 64, BUCKETS = 1024 };

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
    struct sym *bucket[BUCKETS];
    unsigned scope;
    struct ptx_func *f; // being parsed
    struct list vars, funcs, regs, fvars, insts, tables, fixups, files;
    uint32_t loc_line, loc_file;
    char *err;
    size_t err_bytes;
    jmp_buf fail;
};

__attribute__((format(printf, 3, 4), noreturn)) static void fail(struct parser *p, uint32_t line,
                                                                 const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = snprintf(p->err, p->err_bytes, "PTX line %u: ", line);
    if (n > 0 && (size_t)n < p->err_bytes) {
        vsnprintf(p->err + n, p->err_bytes - (size_t)n, fmt, ap);
    }
    va_end(ap);
    longjmp(p->fail, 1);
}

static void *push(struct parser *p, struct list *l, size_t size)
{
    if (l->n == l->max) {
        uint32_t max = l->max ? l->max * 2 : l->local ? 8 : 64;
        void *data = l->local ? ptx_arena_get(p->arena, max * size) : realloc(l->data, max * size);
        if (l->local && l->n) {
            memcpy(data, l->data, l->n * size);
        }
        if (!data) {
            fail(p, p->t.line, "out of memory");
        }
        l->data = data;
        l->max = max;
    }
    void *e = (char *)l->data + l->n++ * size;
    memset(e, 0, size);
    return e;
}
// The list's elements in the arena; the list is emptied.
static void *settle(struct parser *p, struct list *l, size_t size)
{
    void *data = ptx_arena_get(p->arena, (l->n + 1) * size);
    if (l->n) {
        memcpy(data, l->data, l->n * size);
    }
    l->n = 0;
    return data;
}

// ---- tokens ----

static void next(struct parser *p)
{
    p->t = ptx_lex_next(&p->lex);
}
static bool is_punct(const struct parser *p, char c)
{
    return p->t.kind == PTX_T_PUNCT && p->t.value == (unsigned char)c;
}
static bool is_dot(const struct parser *p, const char *text)
{
    return p->t.kind == PTX_T_DOT && strcmp(p->t.text, text) == 0;
}
static bool take(struct parser *p, char c)
{
    if (!is_punct(p, c)) {
        return false;
    }
    next(p);
    return true;
}
static const char *tok_text(const struct parser *p, char buf[8])
{
    if (p->t.text) {
        return p->t.text;
    }
    snprintf(buf, 8, "%s", p->t.kind == PTX_T_END ? "the end" : "");
    if (p->t.kind == PTX_T_PUNCT) {
        buf[0] = (char)p->t.value;
        buf[1] = 0;
    }
    return buf[0] ? buf : "number";
}
static void want(struct parser *p, char c)
{
    char buf[8];
    if (!take(p, c)) {
        fail(p, p->t.line, "'%c' expected before \"%.60s\"", c, tok_text(p, buf));
    }
}
static const char *want_id(struct parser *p)
{
    char buf[8];
    if (p->t.kind != PTX_T_ID) {
        fail(p, p->t.line, "name expected before \"%.60s\"", tok_text(p, buf));
    }
    const char *s = p->t.text;
    next(p);
    return s;
}
static uint64_t want_int(struct parser *p)
{
    char buf[8];
    bool neg = take(p, '-');
    if (p->t.kind != PTX_T_INT) {
        fail(p, p->t.line, "number expected before \"%.60s\"", tok_text(p, buf));
    }
    uint64_t v = p->t.value;
    next(p);
    return neg ? 0 - v : v;
}

// ---- symbols ----

static struct sym **bucket_of(struct parser *p, const char *name)
{
    return &p->bucket[((uintptr_t)name >> 4) % BUCKETS];
}
static struct sym *find(struct parser *p, const char *name)
{
    for (struct sym *s = *bucket_of(p, name); s; s = s->next) {
        if (s->name == name) {
            return s;
        }
    }
    return NULL;
}
static struct sym *define(struct parser *p, const char *name, enum sym_kind kind)
{
    struct sym *s = ptx_arena_get(p->arena, sizeof(*s));
    struct sym **b = bucket_of(p, name);
    *s = (struct sym){.next = *b, .name = name, .kind = kind, .scope = p->scope};
    *b = s;
    return s;
}
// Resolves the labels of the scope that ends; unknown ones wait for the outer scope.
static void end_scope(struct parser *p)
{
    struct fixup *fx = p->fixups.data;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < p->fixups.n; i++) {
        struct sym *s = fx[i].scope == p->scope ? find(p, fx[i].name) : NULL;
        if (s && s->kind == SYM_LABEL && s->scope == p->scope) {
            if (fx[i].table != UINT32_MAX) {
                ((struct ptx_table *)p->tables.data)[fx[i].table].target[fx[i].entry] = s->index;
            } else {
                ((struct ptx_inst *)p->insts.data)[fx[i].inst].op[fx[i].op].target = s->index;
            }
            continue;
        }
        if (fx[i].scope == p->scope) {
            fx[i].scope--;
        }
        if (fx[i].scope == 0) {
            fail(p, fx[i].line, "unknown name \"%.100s\"", fx[i].name);
        }
        fx[kept++] = fx[i];
    }
    p->fixups.n = kept;
    for (int b = 0; b < BUCKETS; b++) {
        while (p->bucket[b] && p->bucket[b]->scope == p->scope) {
            p->bucket[b] = p->bucket[b]->next;
        }
    }
    p->scope--;
}

// ---- variables ----

static bool space_of(const char *text, enum ptx_space *space)
{
    static const struct {
        const char *name;
        enum ptx_space space;
    } rows[] = {{"global", PTX_GLOBAL}, {"shared", PTX_SHARED}, {"const", PTX_CONST},
                {"local", PTX_LOCAL},   {"param", PTX_PARAM},   {"shared::cta", PTX_SHARED}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (strcmp(rows[i].name, text) == 0) {
            *space = rows[i].space;
            return true;
        }
    }
    return false;
}

struct init { // an initialiser being filled
    struct parser *p;
    struct ptx_var *v;
    unsigned elem;
    uint64_t at;
    struct list relocs;
};

static void init_value(struct init *in)
{
    struct parser *p = in->p;
    struct ptx_var *v = in->v;
    if (in->at + in->elem > v->bytes) {
        fail(p, p->t.line, "too many initial values for %.100s", v->name);
    }
    uint64_t bits = 0;
    bool neg = take(p, '-');
    if (p->t.kind == PTX_T_ID) {
        struct ptx_reloc *r = push(p, &in->relocs, sizeof(*r));
        r->offset = in->at;
        const char *name = want_id(p);
        if (strcmp(name, "generic") == 0) {
            r->generic = true;
            want(p, '(');
            name = want_id(p);
            if (take(p, '+')) {
                r->addend = (int64_t)want_int(p);
            }
            want(p, ')');
        }
        r->symbol = name;
        if (take(p, '+')) {
            r->addend += (int64_t)want_int(p);
        } else if (is_punct(p, '-')) {
            r->addend += (int64_t)want_int(p);
        }
        if (in->elem != 8) {
            fail(p, p->t.line, "address of %.100s in less than 64 bits", name);
        }
    } else if (p->t.kind == PTX_T_INT) {
        bits = neg ? 0 - p->t.value : p->t.value;
        next(p);
    } else if (p->t.kind == PTX_T_F32 || p->t.kind == PTX_T_F64) {
        bits = p->t.value;
        bool f64 = p->t.kind == PTX_T_F64;
        if (f64 && in->elem == 4) {
            double d;
            memcpy(&d, &bits, 8);
            float f = (float)d;
            uint32_t u;
            memcpy(&u, &f, 4);
            bits = u;
        }
        bits ^= neg ? 1ull << (in->elem * 8 - 1) : 0;
        next(p);
    } else {
        fail(p, p->t.line, "initial value expected for %.100s", v->name);
    }
    memcpy(v->init + in->at, &bits, in->elem < 8 ? in->elem : 8);
    in->at += in->elem;
}

static void init_list(struct init *in, unsigned depth)
{
    struct parser *p = in->p;
    if (depth > 8) {
        fail(p, p->t.line, "initial values nested too deep");
    }
    if (!take(p, '{')) {
        init_value(in);
        return;
    }
    while (!take(p, '}')) {
        init_list(in, depth + 1);
        if (!take(p, ',') && !is_punct(p, '}')) {
            want(p, '}');
        }
    }
}

// After the space directive: attributes, type, names. formal: exactly one variable, returned.
static struct ptx_var *parse_vars(struct parser *p, enum ptx_space space, bool is_extern,
                                  bool formal, struct list *out)
{
    uint32_t align = 0, vec = 1;
    enum ptx_type type = PTX_NO_TYPE;
    while (p->t.kind == PTX_T_DOT) {
        const char *s = p->t.text;
        if (strcmp(s, "align") == 0) {
            next(p);
            align = (uint32_t)want_int(p);
            continue;
        }
        if (strcmp(s, "v2") == 0 || strcmp(s, "v4") == 0 || strcmp(s, "v8") == 0) {
            vec = (uint32_t)(s[1] - '0');
        } else if (strcmp(s, "attribute") == 0) {
            next(p);
            want(p, '(');
            while (!is_punct(p, ')') && p->t.kind != PTX_T_END) {
                next(p);
            }
            want(p, ')');
            continue;
        } else if (strcmp(s, "ptr") == 0 || strcmp(s, "global") == 0 || strcmp(s, "shared") == 0 ||
                   strcmp(s, "const") == 0 || strcmp(s, "local") == 0) {
            // attributes of a pointer parameter; its .align is not the parameter's
            next(p);
            if (is_dot(p, "align")) {
                next(p);
                (void)want_int(p);
            }
            continue;
        } else {
            type = ptx_type_named(s);
            if (type == PTX_NO_TYPE) {
                fail(p, p->t.line, "unknown type or attribute \".%.60s\"", s);
            }
        }
        next(p);
    }
    if (type == PTX_NO_TYPE) {
        fail(p, p->t.line, "variable without a type");
    }
    unsigned size = ptx_type_bytes(type);
    struct ptx_var *v = NULL;
    do {
        v = ptx_arena_get(p->arena, sizeof(*v));
        v->name = want_id(p);
        v->space = space;
        v->type = type;
        v->is_extern = is_extern;
        v->is_formal = formal;
        v->align = align ? align : size * vec;
        v->bytes = (uint64_t)size * vec;
        bool open = false;
        while (take(p, '[')) {
            uint64_t n = is_punct(p, ']') ? 0 : want_int(p);
            open |= n == 0;
            if (n && v->bytes > (1ull << 40) / n) {
                fail(p, p->t.line, "variable %.100s is too large", v->name);
            }
            v->bytes *= n;
            want(p, ']');
        }
        if (v->align == 0 || (v->align & (v->align - 1))) {
            fail(p, p->t.line, "alignment of %.100s is no power of two", v->name);
        }
        if (take(p, '=')) {
            if (open) {
                fail(p, p->t.line, "initial values need a size: %.100s", v->name);
            }
            struct init in = {.p = p, .v = v, .elem = size, .relocs = {.local = true}};
            v->init = ptx_arena_get(p->arena, v->bytes);
            init_list(&in, 0);
            v->n_relocs = in.relocs.n;
            v->relocs = settle(p, &in.relocs, sizeof(struct ptx_reloc));
        }
        // A second declaration of a module variable (extern, then the definition) is the same one.
        struct sym *old = p->scope == 0 ? find(p, v->name) : NULL;
        if (old && old->kind == SYM_VAR) {
            *old->var = *v;
            v = old->var;
        } else {
            if (strcmp(v->name, "_") != 0) {
                define(p, v->name, SYM_VAR)->var = v;
            }
            *(struct ptx_var **)push(p, out, sizeof(v)) = v;
        }
    } while (!formal && take(p, ','));
    return v;
}

// ---- registers ----

static void add_reg(struct parser *p, const char *name, enum ptx_type type)
{
    struct ptx_reg *r = push(p, &p->regs, sizeof(*r));
    r->name = name;
    r->type = type;
    define(p, name, SYM_REG)->index = p->regs.n - 1;
}

static void parse_regs(struct parser *p)
{
    enum ptx_type type = PTX_NO_TYPE;
    while (p->t.kind == PTX_T_DOT) {
        type = ptx_type_named(p->t.text);
        if (type == PTX_NO_TYPE) {
            fail(p, p->t.line, "registers of type .%.60s are not known", p->t.text);
        }
        next(p);
    }
    do {
        const char *name = want_id(p);
        if (take(p, '<')) {
            uint64_t n = want_int(p);
            want(p, '>');
            if (n > 1000000) {
                fail(p, p->t.line, "too many registers");
            }
            for (uint64_t i = 0; i < n; i++) {
                char buf[128];
                int len = snprintf(buf, sizeof(buf), "%.100s%u", name, (unsigned)i);
                add_reg(p, ptx_intern(p->arena, buf, (size_t)len), type);
            }
        } else {
            add_reg(p, name, type);
        }
    } while (take(p, ','));
    want(p, ';');
}

// ---- operands ----

static void parse_operand(struct parser *p, struct ptx_operand *o, unsigned depth);

static struct ptx_operand *operand_list(struct parser *p, char close, uint32_t *n, unsigned depth)
{
    struct list l = {.local = true};
    while (!take(p, close)) {
        struct ptx_operand o;
        parse_operand(p, &o, depth + 1);
        *(struct ptx_operand *)push(p, &l, sizeof(o)) = o;
        if (!take(p, ',') && !is_punct(p, close)) {
            want(p, close);
        }
    }
    *n = l.n;
    void *data = settle(p, &l, sizeof(struct ptx_operand));
    return data;
}

static int64_t parse_offset(struct parser *p)
{
    int64_t v = 0;
    for (;;) {
        if (take(p, '+')) {
            v += (int64_t)want_int(p);
        } else if (is_punct(p, '-')) {
            v += (int64_t)want_int(p);
        } else {
            return v;
        }
    }
}

static void named_operand(struct parser *p, struct ptx_operand *o)
{
    uint32_t line = p->t.line;
    const char *name = want_id(p);
    o->name = name;
    if (strcmp(name, "_") == 0) {
        o->kind = PTX_O_SINK;
    } else {
        struct sym *s = find(p, name);
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
                next(p);
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
    if (take(p, '|')) {
        const char *second = want_id(p);
        struct sym *s = find(p, second);
        if (strcmp(second, "_") == 0) {
            o->reg2 = PTX_REG2_SINK;
        } else if (s && s->kind == SYM_REG) {
            o->reg2 = (int32_t)s->index;
        } else {
            fail(p, line, "unknown register \"%.60s\"", second);
        }
    }
}

static void parse_operand(struct parser *p, struct ptx_operand *o, unsigned depth)
{
    char buf[8];
    if (depth > 4) {
        fail(p, p->t.line, "operand nested too deep");
    }
    *o = (struct ptx_operand){.reg = -1, .reg2 = PTX_REG2_NONE, .target = UINT32_MAX};
    if (take(p, '[')) {
        o->kind = PTX_O_ADDR;
        struct ptx_operand base;
        parse_operand(p, &base, depth + 1);
        if (base.kind == PTX_O_VAR) {
            o->offset = base.offset;
        } else if (base.kind == PTX_O_REG) {
            o->offset = parse_offset(p);
        } else if (base.kind != PTX_O_INT) {
            fail(p, p->t.line, "not an address");
        }
        uint32_t n = 0;
        struct ptx_operand *more = NULL;
        if (take(p, ',')) {
            more = operand_list(p, ']', &n, depth);
        } else {
            want(p, ']');
        }
        o->n_elem = n + 1;
        o->elem = ptx_arena_get(p->arena, (n + 1) * sizeof(*o));
        o->elem[0] = base;
        if (n) {
            memcpy(o->elem + 1, more, n * sizeof(*o));
        }
        return;
    }
    if (take(p, '{')) {
        o->kind = PTX_O_VEC;
        o->elem = operand_list(p, '}', &o->n_elem, depth);
        return;
    }
    if (take(p, '(')) {
        o->kind = PTX_O_LIST;
        o->elem = operand_list(p, ')', &o->n_elem, depth);
        return;
    }
    if (take(p, '!')) {
        o->neg = true;
        named_operand(p, o);
        return;
    }
    bool neg = take(p, '-');
    switch (p->t.kind) {
    case PTX_T_INT:
        o->kind = PTX_O_INT;
        o->imm = neg ? 0 - p->t.value : p->t.value;
        next(p);
        return;
    case PTX_T_F32:
    case PTX_T_F64:
        o->kind = p->t.kind == PTX_T_F32 ? PTX_O_F32 : PTX_O_F64;
        o->imm = p->t.value ^ (!neg ? 0 : o->kind == PTX_O_F32 ? 1ull << 31 : 1ull << 63);
        next(p);
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
    fail(p, p->t.line, "operand expected before \"%.60s\"", tok_text(p, buf));
}

// ---- instructions ----

static void add_fixup(struct parser *p, const char *name, uint32_t line, uint32_t inst, uint8_t op)
{
    struct fixup *fx = push(p, &p->fixups, sizeof(*fx));
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
    in.tok[in.n_tok++] = want_id(p);
    while (p->t.kind == PTX_T_DOT) {
        if (in.n_tok == PTX_MAX_TOKENS) {
            fail(p, p->t.line, "instruction with too many modifiers");
        }
        in.tok[in.n_tok++] = p->t.text;
        next(p);
    }
    while (!take(p, ';')) {
        if (in.n_op == PTX_MAX_OPERANDS) {
            fail(p, p->t.line, "%s with too many operands", in.tok[0]);
        }
        struct ptx_operand *o = &in.op[in.n_op];
        parse_operand(p, o, 0);
        note_addresses(o, 0);
        if (o->kind == PTX_O_LABEL && o->target == UINT32_MAX) {
            struct sym *s = find(p, o->name);
            if (!s) {
                add_fixup(p, o->name, in.ptx_line, p->insts.n, in.n_op);
            }
        }
        in.n_op++;
        if (!take(p, ',') && !is_punct(p, ';')) {
            // "[map, {c}], ..." and "call (r), f, (a)" use commas throughout: anything else is an
            // error
            want(p, ';');
        }
    }
    *(struct ptx_inst *)push(p, &p->insts, sizeof(in)) = in;
}

static void parse_table(struct parser *p, const char *name)
{
    bool prototype = is_dot(p, "callprototype");
    next(p);
    struct sym *s = define(p, name, SYM_TABLE);
    s->index = p->tables.n;
    struct ptx_table t = {.name = name, .is_prototype = prototype};
    struct list names = {.local = true};
    while (!take(p, ';')) {
        if (p->t.kind == PTX_T_END) {
            fail(p, p->t.line, "%.60s does not end", name);
        }
        if (!prototype && p->t.kind == PTX_T_ID) {
            *(const char **)push(p, &names, sizeof(char *)) = p->t.text;
        }
        next(p);
    }
    t.n = names.n;
    t.target = ptx_arena_get(p->arena, (t.n + 1) * sizeof(uint32_t));
    for (uint32_t i = 0; i < t.n; i++) {
        const char *label = ((const char **)names.data)[i];
        struct sym *l = find(p, label);
        if (l && l->kind == SYM_LABEL) {
            t.target[i] = l->index;
        } else {
            add_fixup(p, label, p->t.line, 0, 0);
            struct fixup *fx = (struct fixup *)p->fixups.data + p->fixups.n - 1;
            fx->table = p->tables.n;
            fx->entry = i;
        }
    }
    *(struct ptx_table *)push(p, &p->tables, sizeof(t)) = t;
}

static void parse_loc(struct parser *p)
{
    // .loc file line column [, function_name label, inlined_at file line column]
    uint32_t line = p->t.line;
    uint64_t v[2] = {0};
    for (int i = 0; i < 2; i++) {
        next(p);
        if (p->t.kind == PTX_T_INT && p->t.line == line) {
            v[i] = p->t.value;
        }
    }
    p->loc_file = (uint32_t)v[0];
    if (v[1]) { // line 0: the compiler's own code; the last known line says more
        p->loc_line = (uint32_t)v[1];
    }
    ptx_lex_skip_line(&p->lex);
    next(p);
}

static void parse_file(struct parser *p)
{
    next(p);
    uint64_t i = want_int(p);
    if (i < 100000 && p->t.kind == PTX_T_STR) {
        while (p->files.n <= i) {
            push(p, &p->files, sizeof(char *));
        }
        ((const char **)p->files.data)[i] = p->t.text;
    }
    uint32_t line = p->t.line;
    do {
        next(p);
    } while (p->t.line == line && (p->t.kind == PTX_T_INT || is_punct(p, ',')));
}

static void statement(struct parser *p)
{
    char buf[8];
    if (p->t.kind == PTX_T_DOT) {
        enum ptx_space space;
        if (is_dot(p, "reg")) {
            next(p);
            parse_regs(p);
        } else if (is_dot(p, "loc")) {
            parse_loc(p);
        } else if (is_dot(p, "file")) {
            parse_file(p);
        } else if (is_dot(p, "pragma")) {
            while (!is_punct(p, ';') && p->t.kind != PTX_T_END) {
                next(p);
            }
            want(p, ';');
        } else if (is_dot(p, "extern")) {
            next(p);
            next(p);
            parse_vars(p, PTX_SHARED, true, false, &p->fvars);
            want(p, ';');
        } else if (space_of(p->t.text, &space)) {
            next(p);
            parse_vars(p, space, false, false,
                       space == PTX_GLOBAL || space == PTX_CONST ? &p->vars : &p->fvars);
            want(p, ';');
        } else {
            fail(p, p->t.line, "unknown directive .%.60s", p->t.text);
        }
        return;
    }
    int32_t guard = -1;
    bool neg = false;
    if (take(p, '@')) {
        neg = take(p, '!');
        const char *name = want_id(p);
        struct sym *s = find(p, name);
        if (!s || s->kind != SYM_REG) {
            fail(p, p->t.line, "unknown guard \"%.60s\"", name);
        }
        guard = (int32_t)s->index;
    }
    if (p->t.kind != PTX_T_ID) {
        fail(p, p->t.line, "instruction expected before \"%.60s\"", tok_text(p, buf));
    }
    if (guard < 0) { // maybe a label
        struct ptx_lex saved = p->lex;
        struct ptx_tok id = p->t;
        next(p);
        if (take(p, ':')) {
            if (is_dot(p, "branchtargets") || is_dot(p, "callprototype")) {
                parse_table(p, id.text);
            } else {
                define(p, id.text, SYM_LABEL)->index = p->insts.n;
            }
            return;
        }
        p->lex = saved;
        p->t = id;
    }
    parse_inst(p, guard, neg);
}

static void parse_body(struct parser *p)
{
    want(p, '{');
    unsigned base = p->scope;
    p->scope++;
    while (p->scope > base) {
        if (take(p, '{')) {
            if (++p->scope >= MAX_SCOPES) {
                fail(p, p->t.line, "scopes nested too deep");
            }
        } else if (take(p, '}')) {
            end_scope(p);
        } else if (take(p, ';')) {
            continue;
        } else if (p->t.kind == PTX_T_END) {
            fail(p, p->t.line, "function %.100s does not end", p->f->name);
        } else {
            statement(p);
        }
    }
}

// ---- functions ----

static void parse_formals(struct parser *p, struct list *out)
{
    want(p, '(');
    while (!take(p, ')')) {
        if (!is_dot(p, "param")) {
            fail(p, p->t.line, "parameters must be in .param space");
        }
        next(p);
        parse_vars(p, PTX_PARAM, false, true, out);
        if (!take(p, ',') && !is_punct(p, ')')) {
            want(p, ')');
        }
    }
}

static void triple(struct parser *p, uint32_t v[3])
{
    v[0] = v[1] = v[2] = 1;
    for (int i = 0; i < 3; i++) {
        v[i] = (uint32_t)want_int(p);
        if (!take(p, ',')) {
            break;
        }
    }
}

static void parse_func(struct parser *p, bool entry)
{
    struct ptx_func *f = ptx_arena_get(p->arena, sizeof(*f));
    struct list params = {.local = true}, rets = {.local = true};
    f->is_entry = entry;
    f->ptx_line = p->t.line;
    next(p);
    p->scope++; // of the formals
    while (is_dot(p, "attribute")) {
        next(p);
        while (!take(p, ')')) {
            next(p);
        }
    }
    if (is_punct(p, '(')) {
        parse_formals(p, &rets);
    }
    f->name = want_id(p);
    if (is_punct(p, '(')) {
        parse_formals(p, &params);
    }
    f->n_param = params.n;
    f->param = settle(p, &params, sizeof(struct ptx_var *));
    f->n_ret = rets.n;
    f->ret = settle(p, &rets, sizeof(struct ptx_var *));
    while (p->t.kind == PTX_T_DOT) {
        const char *s = p->t.text;
        next(p);
        uint32_t v[3];
        if (strcmp(s, "maxntid") == 0) {
            triple(p, f->maxntid);
        } else if (strcmp(s, "reqntid") == 0) {
            triple(p, f->reqntid);
        } else if (strcmp(s, "reqnctapercluster") == 0) {
            triple(p, f->cluster);
        } else if (strcmp(s, "maxnreg") == 0) {
            triple(p, v);
            f->maxnreg = v[0];
        } else if (strcmp(s, "minnctapersm") == 0 || strcmp(s, "maxnctapersm") == 0) {
            triple(p, v);
            f->minnctapersm = v[0];
        } else if (strcmp(s, "maxclusterrank") == 0) {
            triple(p, v);
            f->max_cluster_rank = v[0];
        } else if (strcmp(s, "explicitcluster") == 0) {
            f->explicit_cluster = true;
        } else if (strcmp(s, "pragma") == 0) {
            next(p);
            take(p, ';');
        } else if (strcmp(s, "noreturn") != 0 && strcmp(s, "blocksareclusters") != 0 &&
                   strcmp(s, "abi_preserve") != 0 && strcmp(s, "abi_preserve_control") != 0) {
            fail(p, p->t.line, "unknown directive .%.60s of function %.100s", s, f->name);
        }
    }
    // The function's name belongs to the module, its formals to its own scope.
    unsigned scope = p->scope;
    struct sym *old = find(p, f->name);
    struct sym *s = old && old->kind == SYM_FUNC ? old : NULL;
    if (!s) {
        s = ptx_arena_get(p->arena, sizeof(*s));
        *s = (struct sym){.name = f->name, .kind = SYM_FUNC, .scope = 0};
        struct sym **b = bucket_of(p, f->name);
        while (*b && (*b)->scope > 0) {
            b = &(*b)->next;
        }
        s->next = *b;
        *b = s;
    }
    if (take(p, ';')) {
        f->is_decl = true;
        end_scope(p);
    } else {
        p->f = f;
        p->loc_line = p->loc_file = 0;
        parse_body(p);
        end_scope(p);
        f->n_reg = p->regs.n;
        f->reg = settle(p, &p->regs, sizeof(struct ptx_reg));
        f->n_var = p->fvars.n;
        f->var = settle(p, &p->fvars, sizeof(struct ptx_var *));
        f->n_inst = p->insts.n;
        f->inst = settle(p, &p->insts, sizeof(struct ptx_inst));
        f->n_table = p->tables.n;
        f->table = settle(p, &p->tables, sizeof(struct ptx_table));
        p->f = NULL;
    }
    p->scope = scope - 1;
    if (s->func && (f->is_decl || s->func->is_decl)) {
        // A declaration and its definition are one function, the definition's contents win.
        uint32_t index = s->func->index;
        if (!f->is_decl) {
            *s->func = *f;
            s->func->index = index;
        }
        return;
    }
    if (s->func) {
        fail(p, f->ptx_line, "function %.100s defined twice", f->name);
    }
    s->func = f;
    f->index = p->funcs.n;
    *(struct ptx_func **)push(p, &p->funcs, sizeof(f)) = f;
}

static void skip_section(struct parser *p)
{
    while (!is_punct(p, '{') && p->t.kind != PTX_T_END) {
        next(p);
    }
    // contents may hold anything but braces
    while (!is_punct(p, '}') && p->t.kind != PTX_T_END) {
        next(p);
    }
    next(p);
}

static void parse_module(struct parser *p)
{
    struct ptx_module *m = p->m;
    next(p);
    while (p->t.kind != PTX_T_END) {
        char buf[8];
        if (p->t.kind != PTX_T_DOT) {
            fail(p, p->t.line, "directive expected before \"%.60s\"", tok_text(p, buf));
        }
        const char *s = p->t.text;
        enum ptx_space space;
        if (strcmp(s, "version") == 0) {
            next(p);
            double v;
            memcpy(&v, &p->t.value, 8);
            m->version = (uint32_t)(v * 10 + 0.5);
            next(p);
        } else if (strcmp(s, "target") == 0) {
            next(p);
            m->target = want_id(p);
            if (strncmp(m->target, "sm_", 3) == 0) {
                m->sm = (uint32_t)strtoul(m->target + 3, NULL, 10);
            }
            while (take(p, ',')) {
                (void)want_id(p);
            }
        } else if (strcmp(s, "address_size") == 0) {
            next(p);
            if (want_int(p) != 64) {
                fail(p, p->t.line, "only 64-bit addresses are known");
            }
        } else if (strcmp(s, "file") == 0) {
            parse_file(p);
        } else if (strcmp(s, "section") == 0) {
            skip_section(p);
        } else if (strcmp(s, "loc") == 0) {
            parse_loc(p);
        } else if (strcmp(s, "pragma") == 0 || strcmp(s, "alias") == 0) {
            while (!is_punct(p, ';') && p->t.kind != PTX_T_END) {
                next(p);
            }
            want(p, ';');
        } else {
            bool is_extern = false;
            while (is_dot(p, "visible") || is_dot(p, "extern") || is_dot(p, "weak") ||
                   is_dot(p, "common")) {
                is_extern |= is_dot(p, "extern");
                next(p);
            }
            if (is_dot(p, "entry") || is_dot(p, "func")) {
                parse_func(p, is_dot(p, "entry"));
            } else if (p->t.kind == PTX_T_DOT && space_of(p->t.text, &space)) {
                next(p);
                parse_vars(p, space, is_extern, false, &p->vars);
                want(p, ';');
            } else {
                fail(p, p->t.line, "unknown directive .%.60s", tok_text(p, buf));
            }
        }
    }
    m->n_var = p->vars.n;
    m->var = settle(p, &p->vars, sizeof(struct ptx_var *));
    m->n_func = p->funcs.n;
    m->func = settle(p, &p->funcs, sizeof(struct ptx_func *));
    m->n_file = p->files.n;
    m->file = settle(p, &p->files, sizeof(char *));
}

struct ptx_module *ptx_parse(const char *text, size_t bytes, char *err, size_t err_bytes)
{
    struct ptx_arena *a = ptx_arena_new();
    struct parser *p = a ? calloc(1, sizeof(*p)) : NULL;
    if (!p) {
        ptx_arena_free(a);
        snprintf(err, err_bytes, "out of memory");
        return NULL;
    }
    p->arena = a;
    p->lex = (struct ptx_lex){.p = text, .end = text + bytes, .line = 1, .arena = a};
    p->err = err;
    p->err_bytes = err_bytes;
    p->m = ptx_arena_get(a, sizeof(*p->m));
    struct ptx_module *m = p->m;
    m->arena = a;
    bool ok = setjmp(p->fail) == 0;
    if (ok) {
        parse_module(p);
    }
    free(p->vars.data);
    free(p->funcs.data);
    free(p->regs.data);
    free(p->fvars.data);
    free(p->insts.data);
    free(p->tables.data);
    free(p->fixups.data);
    free(p->files.data);
    free(p);
    if (!ok) {
        ptx_arena_free(a);
        return NULL;
    }
    return m;
}

void ptx_free(struct ptx_module *m)
{
    if (m) {
        ptx_arena_free(m->arena);
    }
}
