/* SPDX-License-Identifier: Apache-2.0
 *
 * jinja_origin.c - who wrote which byte of a rendered text: the template, or the caller whose
 * messages it shows. The tokenizer then lets control tokens come of the template's bytes only.
 *
 * Nothing in the interpreter carries marks along; where a string lies says it all. A template's own
 * text lies in one block. Strings that a render makes are copied by four functions only (put, take,
 * concat, repeat), and those copy the marks of what they copy, to beside the new string. All else
 * is the caller's: his JSON, and whatever a filter computed byte by byte. So a filter that forgets
 * a mark takes a token's power away, it never gives it. */
#include "text/jinja_run.h"

#include <string.h>

enum { FIRST_CHUNK = 16 << 10, LARGEST_CHUNK = 1 << 20 };

static void insert_chunk(struct oct_jorigin *o, const struct oct_jorigin_chunk *chunk)
{
    uint32_t at = o->n_chunks++;
    for (; at > 0 && (uintptr_t)o->chunk[at - 1].text > (uintptr_t)chunk->text; at--) {
        o->chunk[at] = o->chunk[at - 1];
    }
    o->chunk[at] = *chunk;
}

char *oct_jr_alloc_string(struct oct_jr *r, size_t size, char **marks)
{
    struct oct_jorigin *o = r->origin;
    *marks = NULL;
    if (!o) {
        return oct_jr_alloc(r, size, 1);
    }
    if (size > o->left || o->n_chunks == 0) {
        size_t chunk = o->next_size ? o->next_size : FIRST_CHUNK;
        o->next_size = chunk < LARGEST_CHUNK ? 2 * chunk : chunk;
        chunk = chunk < size ? size : chunk;
        if (o->n_chunks == OCT_JORIGIN_MAX_CHUNKS ||
            o->arena.used_bytes + r->arena.used_bytes > OCT_JINJA_MAX_MEMORY - chunk) {
            r->alloc_st = oct_jr_fail(r, OCT_E_LIMIT, "the template needs over %d MiB of memory",
                                      OCT_JINJA_MAX_MEMORY >> 20);
            return NULL;
        }
        char *text = oct_arena_alloc(&o->arena, 2 * chunk);
        if (!text) {
            r->alloc_st = oct_no_memory("rendering a chat template", 2 * chunk);
            return NULL;
        }
        insert_chunk(o, &(struct oct_jorigin_chunk){text, text + chunk, chunk});
        o->text = text;
        o->marks = text + chunk;
        o->left = chunk;
    }
    char *s = o->text;
    *marks = o->marks;
    o->text += size;
    o->marks += size;
    o->left -= size;
    return s;
}

/* The last chunk that begins at s or before it. */
static const struct oct_jorigin_chunk *chunk_of(const struct oct_jorigin *o, const char *s)
{
    uint32_t from = 0, to = o->n_chunks;
    while (from < to) {
        const uint32_t mid = (from + to) / 2;
        if ((uintptr_t)o->chunk[mid].text <= (uintptr_t)s) {
            from = mid + 1;
        } else {
            to = mid;
        }
    }
    return from > 0 ? &o->chunk[from - 1] : NULL;
}

void oct_jr_origin_of(const struct oct_jr *r, const char *s, size_t len, char *marks)
{
    const struct oct_template *t = r->t;
    if ((uintptr_t)s - (uintptr_t)t->text < t->text_size) {
        memset(marks, 1, len);
        return;
    }
    const struct oct_jorigin_chunk *c = chunk_of(r->origin, s);
    const uintptr_t at = c ? (uintptr_t)s - (uintptr_t)c->text : 0;
    if (c && at < c->size) {
        memcpy(marks, c->marks + at, len);
    } else {
        memset(marks, 0, len);
    }
}

oct_status oct_jr_origin_put(struct oct_jr *r, const char *s, size_t len)
{
    struct oct_buf *marks = &r->origin->out;
    const size_t at = r->out.len - len;
    marks->len = at; /* what was cut off r->out goes here too */
    OCT_TRY(oct_buf_reserve(marks, len));
    oct_jr_origin_of(r, s, len, marks->data + at);
    marks->len = at + len;
    return OCT_OK;
}

oct_status oct_jr_origin_own(struct oct_jr *r, struct oct_jv *v)
{
    char *marks;
    char *s = oct_jr_alloc_string(r, v->len, &marks);
    if (!s) {
        return oct_jr_out_of_memory(r);
    }
    memcpy(s, v->u.s, v->len);
    memset(marks, 1, v->len);
    v->u.s = s;
    return OCT_OK;
}
