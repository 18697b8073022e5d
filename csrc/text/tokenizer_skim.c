/* SPDX-License-Identifier: Apache-2.0
 *
 * The two large members of tokenizer.json, model.vocab and model.merges, are megabytes of small
 * strings: they are read here, straight into the tables, and the rest of the file goes through the
 * general JSON parser. */
#include "text/json_scan.h"
#include "text/tokenizer_int.h"
#include "text/unicode.h"

#include <stdio.h>
#include <string.h>

static bool same(const char *text, size_t len, const char *word)
{
    return len == strlen(word) && memcmp(text, word, len) == 0;
}

oct_status oct_skim_json(const char *json, size_t len, struct oct_skim *out)
{
    struct oct_skim s = {0};
    oct_status st = OCT_OK;
    const char *p = json, *end = json + len, *copied = json;
    size_t depth = 0;
    bool in_model = false;   /* depth is at least 2 and the member of depth 1 is "model" */
    bool expect_key = false; /* the next string is a key of the innermost object; depths 1 and 2 */
    const char *key = "";
    size_t key_len = 0;
    while (p < end) {
        const char c = *p;
        if (c == '"') {
            const char *past = oct_json_past_string(p + 1, end);
            if (!past) {
                break; /* the general parser says where */
            }
            if (expect_key) {
                key = p + 1;
                key_len = (size_t)(past - 1 - key);
                expect_key = false;
            }
            p = past;
            continue;
        }
        const char **part = NULL;
        if (depth == 2 && in_model) {
            part = c == '{' && same(key, key_len, "vocab")    ? &s.vocab
                   : c == '[' && same(key, key_len, "merges") ? &s.merges
                                                              : NULL;
        }
        if (part && !*part) {
            size_t n_strings;
            const char *past = oct_json_past_nested(p, end, &n_strings);
            if (!past) {
                break;
            }
            *part = p;
            *(part == &s.vocab ? &s.vocab_len : &s.merges_len) = (size_t)(past - p);
            *(part == &s.vocab ? &s.n_tokens : &s.n_merge_texts) = n_strings;
            OCT_TRY_GOTO(oct_buf_append(&s.rest, copied, (size_t)(p - copied)), st, fail);
            OCT_TRY_GOTO(oct_buf_append(&s.rest, c == '{' ? "{}" : "[]", 2), st, fail);
            copied = p = past;
            continue;
        }
        if (c == '{' || c == '[') {
            in_model = depth == 1 ? c == '{' && same(key, key_len, "model") : in_model && depth > 1;
            depth++;
            expect_key = c == '{' && (depth == 1 || (depth == 2 && in_model));
        } else if (c == '}' || c == ']') {
            depth -= depth > 0;
            expect_key = false;
        } else if (c == ',') {
            expect_key = depth == 1 || (depth == 2 && in_model);
        }
        p++;
    }
    OCT_TRY_GOTO(oct_buf_append(&s.rest, copied, (size_t)(end - copied)), st, fail);
    *out = s;
    return OCT_OK;
fail:
    oct_buf_free(&s.rest);
    return st;
}

/* ---- reading the parts ---- */

struct reader {
    const char *name; /* of the part, for sentences */
    const char *start, *p, *end;
    size_t index; /* of the entry */
    struct oct_buf decoded[2];
};
struct text {
    const char *data;
    size_t len;
};

static oct_status wrong(const struct reader *r, const char *what)
{
    return OCT_FAIL(OCT_E_FORMAT, "model.%s: entry %zu, byte %zu of it: %s", r->name, r->index,
                    (size_t)(r->p - r->start), what);
}

static char peek(struct reader *r)
{
    r->p = oct_json_past_space(r->p, r->end);
    return r->p < r->end ? *r->p : '\0';
}

static oct_status take(struct reader *r, char want)
{
    if (peek(r) != want) {
        char what[32];
        (void)snprintf(what, sizeof what, "'%c' expected", want);
        return wrong(r, what);
    }
    r->p++;
    return OCT_OK;
}

static oct_status hex4(struct reader *r, uint32_t *out)
{
    uint32_t value = 0;
    if (r->end - r->p < 4) {
        return wrong(r, "four hexadecimal digits expected");
    }
    for (int i = 0; i < 4; i++) {
        const char c = *r->p++;
        const int digit = c >= '0' && c <= '9'   ? c - '0'
                          : c >= 'a' && c <= 'f' ? c - 'a' + 10
                          : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                                 : -1;
        if (digit < 0) {
            return wrong(r, "four hexadecimal digits expected");
        }
        value = value << 4 | (uint32_t)digit;
    }
    *out = value;
    return OCT_OK;
}

/* After a backslash. */
static oct_status escape(struct reader *r, struct oct_buf *to)
{
    static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
    const char c = r->p < r->end ? *r->p++ : '\0';
    const char *at = c ? strchr(names, c) : NULL;
    if (at) {
        return oct_buf_append(to, &values[at - names], 1);
    }
    if (c != 'u') {
        return wrong(r, "an unknown escape");
    }
    uint32_t code, low;
    OCT_TRY(hex4(r, &code));
    if (code >= 0xd800 && code < 0xdc00) {
        if (r->end - r->p < 2 || r->p[0] != '\\' || r->p[1] != 'u') {
            return wrong(r, "half a surrogate pair");
        }
        r->p += 2;
        OCT_TRY(hex4(r, &low));
        if (low < 0xdc00 || low > 0xdfff) {
            return wrong(r, "half a surrogate pair");
        }
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    } else if (code >= 0xdc00 && code < 0xe000) {
        return wrong(r, "half a surrogate pair");
    }
    unsigned char bytes[4];
    return oct_buf_append(to, bytes, oct_utf8_put(code, bytes));
}

/* A string; out points into the file, or into decoded[which] if it has escapes. */
static oct_status take_string(struct reader *r, int which, struct text *out)
{
    OCT_TRY(take(r, '"'));
    struct oct_buf *to = &r->decoded[which];
    bool escaped = false;
    const char *from = r->p;
    for (;;) {
        r->p = oct_json_past_plain(r->p, r->end);
        if (r->p == r->end || *r->p == '"') {
            break;
        }
        if (*r->p != '\\') {
            return wrong(r, "a control character in a string");
        }
        if (!escaped) {
            oct_buf_clear(to);
        }
        escaped = true;
        OCT_TRY(oct_buf_append(to, from, (size_t)(r->p - from)));
        r->p++;
        OCT_TRY(escape(r, to));
        from = r->p;
    }
    if (r->p >= r->end) {
        return wrong(r, "a string without an end");
    }
    if (escaped) {
        OCT_TRY(oct_buf_append(to, from, (size_t)(r->p - from)));
        *out = (struct text){to->data, to->len};
    } else {
        *out = (struct text){from, (size_t)(r->p - from)};
    }
    r->p++;
    return OCT_OK;
}

static oct_status take_id(struct reader *r, uint64_t *out)
{
    char c = peek(r);
    if (c < '0' || c > '9' || (c == '0' && r->end - r->p > 1 && r->p[1] >= '0' && r->p[1] <= '9')) {
        return wrong(r, "an id expected, a whole number from 0 on");
    }
    uint64_t id = 0;
    for (; r->p < r->end && *r->p >= '0' && *r->p <= '9'; r->p++) {
        if (id > UINT32_MAX) {
            return wrong(r, "an id far too large");
        }
        id = id * 10 + (uint64_t)(*r->p - '0');
    }
    if (r->p < r->end && (*r->p == '.' || *r->p == 'e' || *r->p == 'E')) {
        return wrong(r, "an id expected, a whole number from 0 on");
    }
    *out = id;
    return OCT_OK;
}

/* The comma before the next entry (*more) or the closing bracket. */
static oct_status next_entry(struct reader *r, char close, bool *more)
{
    const char c = peek(r);
    if (c == close) {
        r->p++;
        *more = false;
        return OCT_OK;
    }
    *more = true;
    return r->index ? take(r, ',') : OCT_OK;
}

static oct_status expect_end(struct reader *r)
{
    return r->p == r->end ? OCT_OK : wrong(r, "the brackets do not match");
}

static void reader_deinit(struct reader *r)
{
    oct_buf_free(&r->decoded[0]);
    oct_buf_free(&r->decoded[1]);
}

oct_status oct_skim_vocab(const struct oct_skim *s, struct oct_tokens *tokens)
{
    oct_status st;
    struct oct_token_queue queue = {.tokens = tokens};
    struct reader r = {
        .name = "vocab", .start = s->vocab, .p = s->vocab, .end = s->vocab + s->vocab_len};
    OCT_TRY(take(&r, '{'));
    for (bool more;; r.index++) {
        OCT_TRY_GOTO(next_entry(&r, '}', &more), st, done);
        if (!more) {
            break;
        }
        struct text token = {0};
        uint64_t id = 0;
        OCT_TRY_GOTO(take_string(&r, 0, &token), st, done);
        OCT_TRY_GOTO(take(&r, ':'), st, done);
        OCT_TRY_GOTO(take_id(&r, &id), st, done);
        OCT_TRY_GOTO(oct_token_queue_put(&queue, id, token.data, token.len, OCT_TOKEN_MODEL), st,
                     done);
    }
    OCT_TRY_GOTO(oct_token_queue_flush(&queue), st, done);
    st = expect_end(&r);
done:
    reader_deinit(&r);
    return st;
}

/* "A B" or ["A", "B"]. *skip: a line of an old file's head. */
static oct_status take_merge(struct reader *r, struct text *left, struct text *right, bool *skip)
{
    *skip = false;
    if (peek(r) == '[') {
        r->p++;
        OCT_TRY(take_string(r, 0, left));
        OCT_TRY(take(r, ','));
        OCT_TRY(take_string(r, 1, right));
        return take(r, ']');
    }
    struct text both;
    OCT_TRY(take_string(r, 0, &both));
    if (both.len >= 8 && memcmp(both.data, "#version", 8) == 0) {
        *skip = true;
        return OCT_OK;
    }
    const char *space = memchr(both.data, ' ', both.len);
    if (!space || memchr(space + 1, ' ', (size_t)(both.data + both.len - space - 1))) {
        return wrong(r, "two tokens with one space between them expected");
    }
    *left = (struct text){both.data, (size_t)(space - both.data)};
    *right = (struct text){space + 1, both.len - left->len - 1};
    return OCT_OK;
}

oct_status oct_skim_merges(const struct oct_skim *s, struct oct_bpe *bpe)
{
    oct_status st;
    struct oct_merge_queue queue = {.bpe = bpe};
    struct reader r = {
        .name = "merges", .start = s->merges, .p = s->merges, .end = s->merges + s->merges_len};
    OCT_TRY(take(&r, '['));
    const char first = peek(&r); /* all entries are strings, or all are pairs */
    OCT_TRY(oct_pairs_init(&bpe->pairs, first == '[' ? s->n_merge_texts / 2 : s->n_merge_texts,
                           bpe->tokens->seed));
    uint32_t rank = 0;
    for (bool more;; r.index++) {
        OCT_TRY_GOTO(next_entry(&r, ']', &more), st, done);
        if (!more) {
            break;
        }
        struct text left = {0}, right = {0};
        bool skip;
        if (peek(&r) != first) {
            st = wrong(&r, "strings and pairs mixed");
            goto done;
        }
        OCT_TRY_GOTO(take_merge(&r, &left, &right, &skip), st, done);
        if (!skip) {
            OCT_TRY_GOTO(
                oct_merge_queue_put(&queue, left.data, left.len, right.data, right.len, rank), st,
                done);
            rank++;
        }
    }
    OCT_TRY_GOTO(oct_merge_queue_flush(&queue), st, done);
    st = expect_end(&r);
done:
    oct_buf_free(&queue.text);
    reader_deinit(&r);
    return st;
}
