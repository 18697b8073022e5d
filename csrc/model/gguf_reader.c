/* SPDX-License-Identifier: Apache-2.0 */
#include "model/gguf_reader.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { FIRST_READ = 4 << 10, MAX_READ = 256 << 10, TEXT_CHUNK = 16 << 10 };

void oct_gr_what(struct oct_gguf_reader *r, const char *kind, struct oct_gguf_str name)
{
    char quoted[OCT_GR_QUOTED];
    (void)oct_error_quote(quoted, sizeof quoted, name.data, name.len);
    (void)snprintf(r->what, sizeof r->what, "%s \"%s\"", kind, quoted);
}

__attribute__((format(printf, 3, 4))) oct_status oct_gr_bad(const struct oct_gguf_reader *r,
                                                            oct_status st, const char *fmt, ...)
{
    char text[400];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return OCT_FAIL(st, "%s: %s %s", r->f->path, r->what, text);
}

oct_status oct_gr_need(const struct oct_gguf_reader *r, uint64_t n)
{
    if (n > oct_gr_left(r)) {
        return OCT_FAIL(OCT_E_FORMAT,
                        "%s: %s needs %" PRIu64 " bytes at byte %" PRIu64
                        ", but the file ends at byte %" PRIu64 "; it was cut short or is damaged",
                        r->f->path, r->what, n, r->pos, r->f->size_bytes);
    }
    return OCT_OK;
}

oct_status oct_gr_take(struct oct_gguf_reader *r, void *dst, size_t n)
{
    OCT_TRY(oct_gr_need(r, n));
    if (n > MAX_READ) {
        OCT_TRY(oct_file_read(r->f, r->pos, dst, n));
        r->pos += n;
        return OCT_OK;
    }
    uint64_t at = r->pos - r->window_at; /* pos never lies before the window */
    if (at > r->window_len || r->window_len - (size_t)at < n) {
        /* Each window is twice the one before: a short header costs a short read. */
        size_t want = r->window_len ? r->window_len * 2 : FIRST_READ;
        want = want > MAX_READ ? MAX_READ : want;
        want = want < n ? n : want;
        want = want > oct_gr_left(r) ? (size_t)oct_gr_left(r) : want;
        char *window = oct_realloc(r->window, want);
        if (!window) {
            return oct_no_memory("a file's header", want);
        }
        r->window = window;
        r->window_len = 0; /* nothing in it should the read fail */
        OCT_TRY(oct_file_read(r->f, r->pos, window, want));
        r->window_at = r->pos;
        r->window_len = want;
        at = 0;
    }
    memcpy(dst, r->window + at, n);
    r->pos += n;
    return OCT_OK;
}

oct_status oct_gr_u32(struct oct_gguf_reader *r, uint32_t *out)
{
    return oct_gr_take(r, out, sizeof *out);
}

oct_status oct_gr_u64(struct oct_gguf_reader *r, uint64_t *out)
{
    return oct_gr_take(r, out, sizeof *out);
}

void *oct_gr_alloc(struct oct_gguf_reader *r, size_t n)
{
    return oct_arena_alloc(&r->g->arena, n);
}

oct_status oct_gr_string(struct oct_gguf_reader *r, uint64_t max, struct oct_gguf_str *out)
{
    uint64_t len = 0; /* gcc does not see that a success sets it */
    OCT_TRY(oct_gr_u64(r, &len));
    if (len > max) {
        return oct_gr_bad(r, OCT_E_LIMIT,
                          "has a string of %" PRIu64 " bytes; at most %" PRIu64 " are read here",
                          len, max);
    }
    OCT_TRY(oct_gr_need(r, len));
    const size_t n = (size_t)len;
    char *text;
    if (n == 0) {
        *out = (struct oct_gguf_str){.data = "", .len = 0};
        return OCT_OK;
    }
    if (n + 1 > TEXT_CHUNK / 4) {
        text = oct_gr_alloc(r, n + 1);
    } else {
        if (r->text_left < n + 1) {
            r->text = oct_gr_alloc(r, TEXT_CHUNK);
            r->text_left = r->text ? TEXT_CHUNK : 0;
        }
        text = r->text;
        if (text) {
            r->text += n + 1;
            r->text_left -= n + 1;
        }
    }
    if (!text) {
        return oct_no_memory("a file's header", n + 1);
    }
    OCT_TRY(oct_gr_take(r, text, n)); /* the arena is zeroed: the NUL is there */
    *out = (struct oct_gguf_str){.data = text, .len = n};
    return OCT_OK;
}

oct_status oct_gr_name(struct oct_gguf_reader *r, const char *kind, uint64_t index, uint64_t max,
                       struct oct_gguf_str *out)
{
    (void)snprintf(r->what, sizeof r->what, "the name of %s %" PRIu64, kind, index);
    OCT_TRY(oct_gr_string(r, max, out));
    oct_gr_what(r, kind, *out);
    if (out->len == 0) {
        return oct_gr_bad(r, OCT_E_FORMAT, "(number %" PRIu64 ") has an empty name", index);
    }
    if (memchr(out->data, '\0', out->len)) {
        return oct_gr_bad(r, OCT_E_FORMAT, "has a NUL byte in its name");
    }
    return OCT_OK;
}
