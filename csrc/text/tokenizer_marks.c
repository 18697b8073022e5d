/* SPDX-License-Identifier: Apache-2.0
 *
 * tokenizer_marks.c - normalising a text whose bytes are marked with who wrote them. Slower than
 * oct_normalize, and needed only where special tokens are looked for in the normalised text. */
#include "text/tokenizer_int.h"
#include "text/unicode.h"

#include <string.h>

struct marked {
    struct oct_buf text, own;
};

static oct_status append(struct marked *m, const void *text, const char *own, size_t n)
{
    OCT_TRY(oct_buf_append(&m->text, text, n));
    return oct_buf_append(&m->own, own, n);
}

/* n bytes that are all marked alike. */
static oct_status append_all(struct marked *m, const void *text, size_t n, char own)
{
    OCT_TRY(oct_buf_append(&m->text, text, n));
    OCT_TRY(oct_buf_reserve(&m->own, n));
    memset(m->own.data + m->own.len, own, n);
    m->own.len += n;
    return OCT_OK;
}

static bool all_own(const char *own, size_t n)
{
    return !memchr(own, 0, n);
}

static oct_status nfc(const unsigned char *s, const char *own, size_t n, struct marked *out)
{
    OCT_TRY(oct_nfc(s, n, &out->text));
    if (out->text.len == n && memcmp(out->text.data, s, n) == 0) {
        return oct_buf_append(&out->own, own, n);
    }
    OCT_TRY(oct_buf_reserve(&out->own, out->text.len));
    memset(out->own.data, all_own(own, n), out->text.len);
    out->own.len = out->text.len;
    return OCT_OK;
}

static oct_status replace(const struct oct_normal_step *step, const unsigned char *s,
                          const char *own, size_t n, struct marked *out)
{
    for (size_t pos = 0; pos < n;) {
        const unsigned char *hit = memmem(s + pos, n - pos, step->pattern, step->pattern_len);
        const size_t end = hit ? (size_t)(hit - s) : n;
        OCT_TRY(append(out, s + pos, own + pos, end - pos));
        pos = end;
        if (hit) {
            OCT_TRY(
                append_all(out, step->text, step->text_len, all_own(own + end, step->pattern_len)));
            pos += step->pattern_len;
        }
    }
    return OCT_OK;
}

static oct_status normal_step(const struct oct_normal_step *step, const unsigned char *s,
                              const char *own, size_t n, struct marked *out)
{
    oct_buf_clear(&out->text);
    oct_buf_clear(&out->own);
    if (n == 0) {
        return OCT_OK;
    }
    switch (step->kind) {
    case NORMAL_NFC:
        return nfc(s, own, n, out);
    case NORMAL_PREPEND:
        OCT_TRY(append_all(out, step->text, step->text_len, 1));
        return append(out, s, own, n);
    case NORMAL_REPLACE:
        break;
    }
    return replace(step, s, own, n, out);
}

oct_status oct_normalize_marked(const struct oct_tokenizer *t, const unsigned char *s, size_t n,
                                const char *own, struct oct_buf *out, struct oct_buf *out_own)
{
    struct marked m[2] = {0};
    oct_status st = OCT_OK;
    for (unsigned i = 0; i < t->n_normal; i++) {
        struct marked *to = &m[i & 1];
        OCT_TRY_GOTO(normal_step(&t->normal[i], s, own, n, to), st, done);
        s = (const unsigned char *)(to->text.data ? to->text.data : "");
        own = to->own.data ? to->own.data : "";
        n = to->text.len;
    }
    oct_buf_clear(out_own);
    OCT_TRY_GOTO(oct_buf_append(out, s, n), st, done);
    st = oct_buf_append(out_own, own, n);
done:
    for (int i = 0; i < 2; i++) {
        oct_buf_free(&m[i].text);
        oct_buf_free(&m[i].own);
    }
    return st;
}
