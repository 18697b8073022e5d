// SPDX-License-Identifier: Apache-2.0
// Variables with their initial values, and registers.
#include "ptx_parser.h"

#include <stdio.h>

// ---- variables ----

bool ptxp_space_of(const char *text, enum ptx_space *space)
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
        ptxp_fail(p, p->t.line, "too many initial values for %.100s", v->name);
    }
    uint64_t bits = 0;
    bool neg = ptxp_take(p, '-');
    if (p->t.kind == PTX_T_ID) {
        struct ptx_reloc *r = ptxp_push(p, &in->relocs, sizeof(*r));
        r->offset = in->at;
        const char *name = ptxp_want_id(p);
        if (strcmp(name, "generic") == 0) {
            r->generic = true;
            ptxp_want(p, '(');
            name = ptxp_want_id(p);
            if (ptxp_take(p, '+')) {
                r->addend = (int64_t)ptxp_want_int(p);
            }
            ptxp_want(p, ')');
        }
        r->symbol = name;
        if (ptxp_take(p, '+')) {
            r->addend += (int64_t)ptxp_want_int(p);
        } else if (ptxp_is_punct(p, '-')) {
            r->addend += (int64_t)ptxp_want_int(p);
        }
        if (in->elem != 8) {
            ptxp_fail(p, p->t.line, "address of %.100s in less than 64 bits", name);
        }
    } else if (p->t.kind == PTX_T_INT) {
        bits = neg ? 0 - p->t.value : p->t.value;
        ptxp_next(p);
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
        ptxp_next(p);
    } else {
        ptxp_fail(p, p->t.line, "initial value expected for %.100s", v->name);
    }
    memcpy(v->init + in->at, &bits, in->elem < 8 ? in->elem : 8);
    in->at += in->elem;
}

static void init_list(struct init *in, unsigned depth)
{
    struct parser *p = in->p;
    if (depth > 8) {
        ptxp_fail(p, p->t.line, "initial values nested too deep");
    }
    if (!ptxp_take(p, '{')) {
        init_value(in);
        return;
    }
    while (!ptxp_take(p, '}')) {
        init_list(in, depth + 1);
        if (!ptxp_take(p, ',') && !ptxp_is_punct(p, '}')) {
            ptxp_want(p, '}');
        }
    }
}

// After the space directive: attributes, type, names. formal: exactly one variable, returned.
struct ptx_var *ptxp_vars(struct parser *p, enum ptx_space space, bool is_extern, bool formal,
                          struct list *out)
{
    uint32_t align = 0, vec = 1;
    enum ptx_type type = PTX_NO_TYPE;
    while (p->t.kind == PTX_T_DOT) {
        const char *s = p->t.text;
        if (strcmp(s, "align") == 0) {
            ptxp_next(p);
            align = (uint32_t)ptxp_want_int(p);
            continue;
        }
        if (strcmp(s, "v2") == 0 || strcmp(s, "v4") == 0 || strcmp(s, "v8") == 0) {
            vec = (uint32_t)(s[1] - '0');
        } else if (strcmp(s, "attribute") == 0) {
            ptxp_next(p);
            ptxp_want(p, '(');
            while (!ptxp_is_punct(p, ')') && p->t.kind != PTX_T_END) {
                ptxp_next(p);
            }
            ptxp_want(p, ')');
            continue;
        } else if (strcmp(s, "ptr") == 0 || strcmp(s, "global") == 0 || strcmp(s, "shared") == 0 ||
                   strcmp(s, "const") == 0 || strcmp(s, "local") == 0) {
            // attributes of a pointer parameter; its .align is not the parameter's
            ptxp_next(p);
            if (ptxp_is_dot(p, "align")) {
                ptxp_next(p);
                (void)ptxp_want_int(p);
            }
            continue;
        } else {
            type = ptx_type_named(s);
            if (type == PTX_NO_TYPE) {
                ptxp_fail(p, p->t.line, "unknown type or attribute \".%.60s\"", s);
            }
        }
        ptxp_next(p);
    }
    if (type == PTX_NO_TYPE) {
        ptxp_fail(p, p->t.line, "variable without a type");
    }
    unsigned size = ptx_type_bytes(type);
    struct ptx_var *v = NULL;
    do {
        v = ptx_arena_get(p->arena, sizeof(*v));
        v->name = ptxp_want_id(p);
        v->space = space;
        v->type = type;
        v->is_extern = is_extern;
        v->is_formal = formal;
        v->align = align ? align : size * vec;
        v->bytes = (uint64_t)size * vec;
        bool open = false;
        while (ptxp_take(p, '[')) {
            uint64_t n = ptxp_is_punct(p, ']') ? 0 : ptxp_want_int(p);
            open |= n == 0;
            if (n && v->bytes > (1ull << 40) / n) {
                ptxp_fail(p, p->t.line, "variable %.100s is too large", v->name);
            }
            v->bytes *= n;
            ptxp_want(p, ']');
        }
        if (v->align == 0 || (v->align & (v->align - 1))) {
            ptxp_fail(p, p->t.line, "alignment of %.100s is no power of two", v->name);
        }
        if (ptxp_take(p, '=')) {
            if (open) {
                ptxp_fail(p, p->t.line, "initial values need a size: %.100s", v->name);
            }
            struct init in = {.p = p, .v = v, .elem = size, .relocs = {.local = true}};
            v->init = ptx_arena_get(p->arena, v->bytes);
            init_list(&in, 0);
            v->n_relocs = in.relocs.n;
            v->relocs = ptxp_settle(p, &in.relocs, sizeof(struct ptx_reloc));
        }
        // A second declaration of a module variable (extern, then the definition) is the same one.
        struct sym *old = p->scope == 0 ? ptxp_find(p, v->name) : NULL;
        if (old && old->kind == SYM_VAR) {
            *old->var = *v;
            v = old->var;
        } else {
            if (strcmp(v->name, "_") != 0) {
                ptxp_define(p, v->name, SYM_VAR)->var = v;
            }
            *(struct ptx_var **)ptxp_push(p, out, sizeof(v)) = v;
        }
    } while (!formal && ptxp_take(p, ','));
    return v;
}

// ---- registers ----

void ptxp_add_reg(struct parser *p, const char *name, enum ptx_type type)
{
    struct ptx_reg *r = ptxp_push(p, &p->regs, sizeof(*r));
    r->name = name;
    r->type = type;
    ptxp_define(p, name, SYM_REG)->index = p->regs.n - 1;
}

void ptxp_regs(struct parser *p)
{
    enum ptx_type type = PTX_NO_TYPE;
    while (p->t.kind == PTX_T_DOT) {
        type = ptx_type_named(p->t.text);
        if (type == PTX_NO_TYPE) {
            ptxp_fail(p, p->t.line, "registers of type .%.60s are not known", p->t.text);
        }
        ptxp_next(p);
    }
    do {
        const char *name = ptxp_want_id(p);
        if (ptxp_take(p, '<')) {
            uint64_t n = ptxp_want_int(p);
            ptxp_want(p, '>');
            if (n > 1000000) {
                ptxp_fail(p, p->t.line, "too many registers");
            }
            for (uint64_t i = 0; i < n; i++) {
                char buf[128];
                int len = snprintf(buf, sizeof(buf), "%.100s%u", name, (unsigned)i);
                ptxp_add_reg(p, ptx_intern(p->arena, buf, (size_t)len), type);
            }
        } else {
            ptxp_add_reg(p, name, type);
        }
    } while (ptxp_take(p, ','));
    ptxp_want(p, ';');
}
