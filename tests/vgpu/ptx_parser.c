// SPDX-License-Identifier: Apache-2.0
// Tokens and symbols of a parse; see ptx_parser.h.
#include "ptx_parser.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void ptxp_fail(struct parser *p, uint32_t line, const char *fmt, ...)
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

void *ptxp_push(struct parser *p, struct list *l, size_t size)
{
    if (l->n == l->max) {
        uint32_t max = l->max ? l->max * 2 : l->local ? 8 : 64;
        void *data = l->local ? ptx_arena_get(p->arena, max * size) : realloc(l->data, max * size);
        if (l->local && l->n) {
            memcpy(data, l->data, l->n * size);
        }
        if (!data) {
            ptxp_fail(p, p->t.line, "out of memory");
        }
        l->data = data;
        l->max = max;
    }
    void *e = (char *)l->data + l->n++ * size;
    memset(e, 0, size);
    return e;
}
void *ptxp_settle(struct parser *p, struct list *l, size_t size)
{
    void *data = ptx_arena_get(p->arena, (l->n + 1) * size);
    if (l->n) {
        memcpy(data, l->data, l->n * size);
    }
    l->n = 0;
    return data;
}

// ---- tokens ----

const char *ptxp_tok_text(const struct parser *p, char buf[8])
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
void ptxp_want(struct parser *p, char c)
{
    char buf[8];
    if (!ptxp_take(p, c)) {
        ptxp_fail(p, p->t.line, "'%c' expected before \"%.60s\"", c, ptxp_tok_text(p, buf));
    }
}
const char *ptxp_want_id(struct parser *p)
{
    char buf[8];
    if (p->t.kind != PTX_T_ID) {
        ptxp_fail(p, p->t.line, "name expected before \"%.60s\"", ptxp_tok_text(p, buf));
    }
    const char *s = p->t.text;
    ptxp_next(p);
    return s;
}
uint64_t ptxp_want_int(struct parser *p)
{
    char buf[8];
    bool neg = ptxp_take(p, '-');
    if (p->t.kind != PTX_T_INT) {
        ptxp_fail(p, p->t.line, "number expected before \"%.60s\"", ptxp_tok_text(p, buf));
    }
    uint64_t v = p->t.value;
    ptxp_next(p);
    return neg ? 0 - v : v;
}

// ---- symbols ----

struct sym **ptxp_bucket_of(struct parser *p, const char *name)
{
    return &p->bucket[((uintptr_t)name >> 4) % PTXP_BUCKETS];
}
struct sym *ptxp_find(struct parser *p, const char *name)
{
    for (struct sym *s = *ptxp_bucket_of(p, name); s; s = s->next) {
        if (s->name == name) {
            return s;
        }
    }
    return NULL;
}
struct sym *ptxp_define(struct parser *p, const char *name, enum sym_kind kind)
{
    struct sym *s = ptx_arena_get(p->arena, sizeof(*s));
    struct sym **b = ptxp_bucket_of(p, name);
    *s = (struct sym){.next = *b, .name = name, .kind = kind, .scope = p->scope};
    *b = s;
    return s;
}
void ptxp_end_scope(struct parser *p)
{
    struct fixup *fx = p->fixups.data;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < p->fixups.n; i++) {
        struct sym *s = fx[i].scope == p->scope ? ptxp_find(p, fx[i].name) : NULL;
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
            ptxp_fail(p, fx[i].line, "unknown name \"%.100s\"", fx[i].name);
        }
        fx[kept++] = fx[i];
    }
    p->fixups.n = kept;
    for (int b = 0; b < PTXP_BUCKETS; b++) {
        while (p->bucket[b] && p->bucket[b]->scope == p->scope) {
            p->bucket[b] = p->bucket[b]->next;
        }
    }
    p->scope--;
}
