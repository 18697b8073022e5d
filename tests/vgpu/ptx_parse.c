// SPDX-License-Identifier: Apache-2.0
// The grammar of a module and of function headers.
#include "ptx_parser.h"

#include <stdio.h>
#include <stdlib.h>

// ---- functions ----

static void parse_formals(struct parser *p, struct list *out)
{
    ptxp_want(p, '(');
    while (!ptxp_take(p, ')')) {
        if (!ptxp_is_dot(p, "param")) {
            ptxp_fail(p, p->t.line, "parameters must be in .param space");
        }
        ptxp_next(p);
        ptxp_vars(p, PTX_PARAM, false, true, out);
        if (!ptxp_take(p, ',') && !ptxp_is_punct(p, ')')) {
            ptxp_want(p, ')');
        }
    }
}

static void triple(struct parser *p, uint32_t v[3])
{
    v[0] = v[1] = v[2] = 1;
    for (int i = 0; i < 3; i++) {
        v[i] = (uint32_t)ptxp_want_int(p);
        if (!ptxp_take(p, ',')) {
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
    ptxp_next(p);
    p->scope++; // of the formals
    while (ptxp_is_dot(p, "attribute")) {
        ptxp_next(p);
        while (!ptxp_take(p, ')')) {
            ptxp_next(p);
        }
    }
    if (ptxp_is_punct(p, '(')) {
        parse_formals(p, &rets);
    }
    f->name = ptxp_want_id(p);
    if (ptxp_is_punct(p, '(')) {
        parse_formals(p, &params);
    }
    f->n_param = params.n;
    f->param = ptxp_settle(p, &params, sizeof(struct ptx_var *));
    f->n_ret = rets.n;
    f->ret = ptxp_settle(p, &rets, sizeof(struct ptx_var *));
    while (p->t.kind == PTX_T_DOT) {
        const char *s = p->t.text;
        ptxp_next(p);
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
            ptxp_next(p);
            ptxp_take(p, ';');
        } else if (strcmp(s, "noreturn") != 0 && strcmp(s, "blocksareclusters") != 0 &&
                   strcmp(s, "abi_preserve") != 0 && strcmp(s, "abi_preserve_control") != 0) {
            ptxp_fail(p, p->t.line, "unknown directive .%.60s of function %.100s", s, f->name);
        }
    }
    // The function's name belongs to the module, its formals to its own scope.
    unsigned scope = p->scope;
    struct sym *old = ptxp_find(p, f->name);
    struct sym *s = old && old->kind == SYM_FUNC ? old : NULL;
    if (!s) {
        s = ptx_arena_get(p->arena, sizeof(*s));
        *s = (struct sym){.name = f->name, .kind = SYM_FUNC, .scope = 0};
        struct sym **b = ptxp_bucket_of(p, f->name);
        while (*b && (*b)->scope > 0) {
            b = &(*b)->next;
        }
        s->next = *b;
        *b = s;
    }
    if (ptxp_take(p, ';')) {
        f->is_decl = true;
        ptxp_end_scope(p);
    } else {
        p->f = f;
        p->loc_line = p->loc_file = 0;
        ptxp_body(p);
        ptxp_end_scope(p);
        f->n_reg = p->regs.n;
        f->reg = ptxp_settle(p, &p->regs, sizeof(struct ptx_reg));
        f->n_var = p->fvars.n;
        f->var = ptxp_settle(p, &p->fvars, sizeof(struct ptx_var *));
        f->n_inst = p->insts.n;
        f->inst = ptxp_settle(p, &p->insts, sizeof(struct ptx_inst));
        f->n_table = p->tables.n;
        f->table = ptxp_settle(p, &p->tables, sizeof(struct ptx_table));
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
        ptxp_fail(p, f->ptx_line, "function %.100s defined twice", f->name);
    }
    s->func = f;
    f->index = p->funcs.n;
    *(struct ptx_func **)ptxp_push(p, &p->funcs, sizeof(f)) = f;
}

static void skip_section(struct parser *p)
{
    while (!ptxp_is_punct(p, '{') && p->t.kind != PTX_T_END) {
        ptxp_next(p);
    }
    // contents may hold anything but braces
    while (!ptxp_is_punct(p, '}') && p->t.kind != PTX_T_END) {
        ptxp_next(p);
    }
    ptxp_next(p);
}

static void parse_module(struct parser *p)
{
    struct ptx_module *m = p->m;
    ptxp_next(p);
    while (p->t.kind != PTX_T_END) {
        char buf[8];
        if (p->t.kind != PTX_T_DOT) {
            ptxp_fail(p, p->t.line, "directive expected before \"%.60s\"", ptxp_tok_text(p, buf));
        }
        const char *s = p->t.text;
        enum ptx_space space;
        if (strcmp(s, "version") == 0) {
            ptxp_next(p);
            double v;
            memcpy(&v, &p->t.value, 8);
            m->version = (uint32_t)(v * 10 + 0.5);
            ptxp_next(p);
        } else if (strcmp(s, "target") == 0) {
            ptxp_next(p);
            m->target = ptxp_want_id(p);
            if (strncmp(m->target, "sm_", 3) == 0) {
                m->sm = (uint32_t)strtoul(m->target + 3, NULL, 10);
            }
            while (ptxp_take(p, ',')) {
                (void)ptxp_want_id(p);
            }
        } else if (strcmp(s, "address_size") == 0) {
            ptxp_next(p);
            if (ptxp_want_int(p) != 64) {
                ptxp_fail(p, p->t.line, "only 64-bit addresses are known");
            }
        } else if (strcmp(s, "file") == 0) {
            ptxp_file(p);
        } else if (strcmp(s, "section") == 0) {
            skip_section(p);
        } else if (strcmp(s, "loc") == 0) {
            ptxp_loc(p);
        } else if (strcmp(s, "pragma") == 0 || strcmp(s, "alias") == 0) {
            while (!ptxp_is_punct(p, ';') && p->t.kind != PTX_T_END) {
                ptxp_next(p);
            }
            ptxp_want(p, ';');
        } else {
            bool is_extern = false;
            while (ptxp_is_dot(p, "visible") || ptxp_is_dot(p, "extern") ||
                   ptxp_is_dot(p, "weak") || ptxp_is_dot(p, "common")) {
                is_extern |= ptxp_is_dot(p, "extern");
                ptxp_next(p);
            }
            if (ptxp_is_dot(p, "entry") || ptxp_is_dot(p, "func")) {
                parse_func(p, ptxp_is_dot(p, "entry"));
            } else if (p->t.kind == PTX_T_DOT && ptxp_space_of(p->t.text, &space)) {
                ptxp_next(p);
                ptxp_vars(p, space, is_extern, false, &p->vars);
                ptxp_want(p, ';');
            } else {
                ptxp_fail(p, p->t.line, "unknown directive .%.60s", ptxp_tok_text(p, buf));
            }
        }
    }
    m->n_var = p->vars.n;
    m->var = ptxp_settle(p, &p->vars, sizeof(struct ptx_var *));
    m->n_func = p->funcs.n;
    m->func = ptxp_settle(p, &p->funcs, sizeof(struct ptx_func *));
    m->n_file = p->files.n;
    m->file = ptxp_settle(p, &p->files, sizeof(char *));
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
