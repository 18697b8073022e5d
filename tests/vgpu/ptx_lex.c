// SPDX-License-Identifier: Apache-2.0
#include "ptx_lex.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

// ---- arena with interned names ----

enum { CHUNK_BYTES = 64 * 1024 };

struct chunk {
    struct chunk *next;
    size_t used, bytes;
    _Alignas(16) unsigned char data[];
};
struct name {
    struct name *next;
    size_t n;
    char text[];
};
struct ptx_arena {
    struct chunk *chunk;
    struct name *bucket[4096];
};

struct ptx_arena *ptx_arena_new(void)
{
    return calloc(1, sizeof(struct ptx_arena));
}

void ptx_arena_free(struct ptx_arena *a)
{
    if (!a) {
        return;
    }
    for (struct chunk *c = a->chunk; c;) {
        struct chunk *next = c->next;
        free(c);
        c = next;
    }
    free(a);
}

void *ptx_arena_get(struct ptx_arena *a, size_t bytes)
{
    bytes = (bytes + 15) & ~(size_t)15;
    struct chunk *c = a->chunk;
    if (!c || c->bytes - c->used < bytes) {
        size_t room = bytes > CHUNK_BYTES ? bytes : CHUNK_BYTES;
        c = calloc(1, sizeof(*c) + room);
        if (!c) {
            abort();
        }
        c->bytes = room;
        c->next = a->chunk;
        a->chunk = c;
    }
    void *p = c->data + c->used;
    c->used += bytes;
    return p;
}

const char *ptx_intern(struct ptx_arena *a, const char *s, size_t n)
{
    uint32_t h = 2166136261u;
    for (size_t i = 0; i < n; i++) {
        h = (h ^ (unsigned char)s[i]) * 16777619u;
    }
    struct name **slot = &a->bucket[h % 4096];
    for (struct name *e = *slot; e; e = e->next) {
        if (e->n == n && memcmp(e->text, s, n) == 0) {
            return e->text;
        }
    }
    struct name *e = ptx_arena_get(a, sizeof(*e) + n + 1);
    e->n = n;
    memcpy(e->text, s, n);
    e->next = *slot;
    *slot = e;
    return e->text;
}

// ---- tokens ----

static bool is_name_start(int c)
{
    return isalpha(c) || c == '_' || c == '$' || c == '%';
}
static bool is_name(int c)
{
    return isalnum(c) || c == '_' || c == '$';
}
static int at(const struct ptx_lex *x, size_t i)
{
    return (size_t)(x->end - x->p) > i ? (unsigned char)x->p[i] : 0;
}

void ptx_lex_skip_line(struct ptx_lex *x)
{
    while (x->p < x->end && *x->p != '\n') {
        x->p++;
    }
}

static void skip_blank(struct ptx_lex *x)
{
    for (;;) {
        int c = at(x, 0);
        if (c == '\n') {
            x->line++;
            x->p++;
        } else if (x->p < x->end && (c == ' ' || c == '\t' || c == '\r' || c == 0)) {
            x->p++; // a 0 byte: the fatbin's PTX is padded with them
        } else if (c == '/' && at(x, 1) == '/') {
            ptx_lex_skip_line(x);
        } else if (c == '/' && at(x, 1) == '*') {
            x->p += 2;
            while (x->p < x->end && !(at(x, 0) == '*' && at(x, 1) == '/')) {
                x->line += at(x, 0) == '\n';
                x->p++;
            }
            x->p += x->end - x->p >= 2 ? 2 : x->end - x->p;
        } else {
            return;
        }
    }
}

static uint64_t digits(struct ptx_lex *x, unsigned base)
{
    uint64_t v = 0;
    for (;; x->p++) {
        int c = at(x, 0);
        unsigned d = isdigit(c)    ? (unsigned)(c - '0')
                     : isxdigit(c) ? (unsigned)(tolower(c) - 'a' + 10)
                                   : 99;
        if (d >= base) {
            return v;
        }
        v = v * base + d;
    }
}

static struct ptx_tok number(struct ptx_lex *x, struct ptx_tok t)
{
    int c1 = at(x, 1);
    t.kind = PTX_T_INT;
    if (at(x, 0) == '0' && (c1 == 'f' || c1 == 'F' || c1 == 'd' || c1 == 'D')) {
        t.kind = c1 == 'f' || c1 == 'F' ? PTX_T_F32 : PTX_T_F64;
        x->p += 2;
        t.value = digits(x, 16);
        return t;
    }
    const char *start = x->p;
    const char *q = start;
    while (q < x->end && isdigit((unsigned char)*q)) {
        q++;
    }
    bool dot = q + 1 < x->end && *q == '.' && isdigit((unsigned char)q[1]);
    if (dot || (q < x->end && (*q == 'e' || *q == 'E') && *start != '0')) {
        char buf[64];
        size_t n = 0;
        while (x->p < x->end && n + 1 < sizeof(buf) &&
               (isdigit(at(x, 0)) || strchr(".eE", at(x, 0)) ||
                (strchr("+-", at(x, 0)) && strchr("eE", x->p[-1])))) {
            buf[n++] = *x->p++;
        }
        buf[n] = 0;
        double v = strtod(buf, NULL);
        memcpy(&t.value, &v, 8);
        t.kind = PTX_T_F64;
        return t;
    }
    if (at(x, 0) == '0' && (c1 == 'x' || c1 == 'X')) {
        x->p += 2;
        t.value = digits(x, 16);
    } else if (at(x, 0) == '0' && (c1 == 'b' || c1 == 'B')) {
        x->p += 2;
        t.value = digits(x, 2);
    } else if (at(x, 0) == '0') {
        t.value = digits(x, 8);
    } else {
        t.value = digits(x, 10);
    }
    if (at(x, 0) == 'U') {
        x->p++;
    }
    return t;
}

struct ptx_tok ptx_lex_next(struct ptx_lex *x)
{
    skip_blank(x);
    struct ptx_tok t = {.line = x->line};
    if (x->p >= x->end) {
        return t;
    }
    int c = at(x, 0);
    const char *start = x->p;
    if (is_name_start(c)) {
        x->p++;
        while (is_name(at(x, 0))) {
            x->p++;
        }
        t.kind = PTX_T_ID;
        t.text = ptx_intern(x->arena, start, (size_t)(x->p - start));
    } else if (c == '.' && is_name(at(x, 1))) {
        x->p++;
        start++;
        while (is_name(at(x, 0)) || (at(x, 0) == ':' && at(x, 1) == ':')) {
            x->p += at(x, 0) == ':' ? 2 : 1;
        }
        t.kind = PTX_T_DOT;
        t.text = ptx_intern(x->arena, start, (size_t)(x->p - start));
    } else if (isdigit(c)) {
        t = number(x, t);
    } else if (c == '"') {
        start = ++x->p;
        while (x->p < x->end && *x->p != '"') {
            x->line += *x->p == '\n';
            x->p++;
        }
        t.kind = PTX_T_STR;
        t.text = ptx_intern(x->arena, start, (size_t)(x->p - start));
        x->p += x->p < x->end;
    } else {
        x->p++;
        t.kind = PTX_T_PUNCT;
        t.value = (uint64_t)c;
    }
    return t;
}
