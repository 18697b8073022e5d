/* SPDX-License-Identifier: Apache-2.0 */
#include "text/tokenizer.h"

#include "text/detok.h"
#include "text/tokenizer_int.h"
#include "text/unicode.h"

#include <string.h>

/* ---- life ---- */

oct_status oct_tokenizer_new(struct oct_tokenizer **out)
{
    struct oct_tokenizer *t = oct_calloc(1, sizeof *t);
    if (!t) {
        return oct_no_memory("a tokenizer", sizeof *t);
    }
    t->bos = t->eos = -1;
    t->bpe.tokens = &t->tokens;
    t->bpe.unk = -1;
    *out = t;
    return OCT_OK;
}

void oct_tokenizer_destroy(struct oct_tokenizer *t)
{
    if (!t) {
        return;
    }
    oct_tokens_deinit(&t->tokens);
    oct_bpe_deinit(&t->bpe);
    for (unsigned i = 0; i < t->n_normal; i++) {
        oct_free(t->normal[i].text);
        oct_free(t->normal[i].pattern);
    }
    oct_pretok_deinit(&t->pretok);
    oct_added_deinit(&t->added[0]);
    oct_added_deinit(&t->added[1]);
    oct_free(t->pieces);
    oct_free(t->piece_at);
    oct_free(t);
}

void oct_ids_free(struct oct_ids *ids)
{
    oct_free(ids->data);
    *ids = (struct oct_ids){0};
}

/* ---- normalising ---- */

oct_status oct_normal_add(struct oct_tokenizer *t, int kind, const char *pattern,
                          size_t pattern_len, const char *text, size_t text_len)
{
    if (t->n_normal == OCT_TOKENIZER_MAX_STEPS) {
        return OCT_FAIL(OCT_E_LIMIT, "normalizer: more than %d steps", OCT_TOKENIZER_MAX_STEPS);
    }
    struct oct_normal_step *step = &t->normal[t->n_normal];
    *step = (struct oct_normal_step){.kind = (unsigned)kind};
    step->text = oct_strndup(text, text_len);
    step->text_len = text_len;
    step->pattern = oct_strndup(pattern, pattern_len);
    step->pattern_len = pattern_len;
    t->n_normal++; /* destroy frees what there is */
    return step->text && step->pattern ? OCT_OK : oct_no_memory("a normaliser", text_len);
}

static oct_status replace_all(const unsigned char *s, size_t n, const char *from, size_t from_len,
                              const char *to, size_t to_len, struct oct_buf *out)
{
    for (size_t pos = 0; pos < n;) {
        const unsigned char *hit = from_len == 1 ? memchr(s + pos, from[0], n - pos)
                                                 : memmem(s + pos, n - pos, from, from_len);
        const size_t end = hit ? (size_t)(hit - s) : n;
        OCT_TRY(oct_buf_append(out, s + pos, end - pos));
        if (hit) {
            OCT_TRY(oct_buf_append(out, to, to_len));
        }
        pos = end + (hit ? from_len : 0);
    }
    return OCT_OK;
}

static oct_status normal_step(const struct oct_normal_step *step, const unsigned char *s, size_t n,
                              struct oct_buf *out)
{
    switch (step->kind) {
    case NORMAL_NFC:
        return oct_nfc(s, n, out);
    case NORMAL_PREPEND:
        if (n > 0) {
            OCT_TRY(oct_buf_append(out, step->text, step->text_len));
        }
        return oct_buf_append(out, s, n);
    case NORMAL_REPLACE:
        break;
    }
    return replace_all(s, n, step->pattern, step->pattern_len, step->text, step->text_len, out);
}

oct_status oct_normalize(const struct oct_tokenizer *t, const unsigned char *s, size_t n,
                         struct oct_buf *out)
{
    oct_status st = OCT_OK;
    struct oct_buf step[2] = {{0}, {0}}; /* what two steps in a row make */
    for (unsigned i = 0; i + 1 < t->n_normal; i++) {
        oct_buf_clear(&step[i & 1]);
        OCT_TRY_GOTO(normal_step(&t->normal[i], s, n, &step[i & 1]), st, done);
        s = (const unsigned char *)(step[i & 1].data ? step[i & 1].data : "");
        n = step[i & 1].len;
    }
    st = t->n_normal ? normal_step(&t->normal[t->n_normal - 1], s, n, out)
                     : oct_buf_append(out, s, n);
done:
    oct_buf_free(&step[0]);
    oct_buf_free(&step[1]);
    return st;
}

/* Normalising would change nothing, as a quick look tells. */
static bool is_normal(const struct oct_tokenizer *t, const unsigned char *s, size_t n)
{
    return t->n_normal == 0 ||
           (t->n_normal == 1 && t->normal[0].kind == NORMAL_NFC && oct_nfc_is_plain(s, n));
}

/* ---- encoding ---- */

struct encoding {
    const struct oct_tokenizer *t;
    unsigned flags;
    struct oct_bpe_run bpe;
    struct oct_pretok_work words;
    const char *own;                   /* marks of the whole text; NULL: none */
    struct oct_buf normal, normal_own; /* the normalised part and its marks */
    const unsigned char *part;
    bool part_at_start;
};

static oct_status on_word(void *user, const unsigned char *word, size_t len)
{
    struct encoding *e = user;
    return oct_bpe_word(&e->bpe, word, len);
}

static oct_status on_normal_part(void *user, const struct oct_added_part *part)
{
    struct encoding *e = user;
    if (part->token) {
        return oct_ids_push(e->bpe.out, part->token->id);
    }
    return oct_pretok_run_part(&e->t->pretok, &e->words, e->part + part->start,
                               part->end - part->start, e->part_at_start && part->start == 0,
                               on_word, e);
}

struct raw_text {
    struct encoding *e;
    const unsigned char *text;
};

static oct_status on_raw_part(void *user, const struct oct_added_part *part)
{
    const struct raw_text *raw = user;
    struct encoding *e = raw->e;
    if (part->token) {
        return oct_ids_push(e->bpe.out, part->token->id);
    }
    const unsigned char *s = raw->text + part->start;
    size_t n = part->end - part->start;
    struct oct_added_special special = {e->flags & OCT_ENCODE_SPECIAL,
                                        e->own ? e->own + part->start : NULL};
    if (!is_normal(e->t, s, n)) {
        oct_buf_clear(&e->normal);
        if (e->own && e->t->added[1].n_tokens > 0) {
            OCT_TRY(oct_normalize_marked(e->t, s, n, special.own, &e->normal, &e->normal_own));
            special.own = e->normal_own.data;
        } else {
            OCT_TRY(oct_normalize(e->t, s, n, &e->normal));
        }
        s = (const unsigned char *)e->normal.data;
        n = e->normal.len;
    }
    e->part = s;
    e->part_at_start = part->start == 0;
    return oct_added_split(&e->t->added[1], s, n, &special, on_normal_part, e);
}

static oct_status push_around(const struct oct_around *a, struct oct_ids *ids)
{
    for (size_t i = 0; i < a->n; i++) {
        OCT_TRY(oct_ids_push(ids, (uint32_t)a->ids[i]));
    }
    return OCT_OK;
}

static oct_status encode(const struct oct_tokenizer *t, const char *text, size_t len,
                         const char *own, unsigned flags, struct oct_ids *ids)
{
    enum { WORTH_REMEMBERING = 2048 }; /* bytes of text from which on words come back often */
    if (len > OCT_TOKENIZER_MAX_TEXT_BYTES) {
        return OCT_FAIL(OCT_E_LIMIT, "a text of %zu bytes; at most %d are encoded at once", len,
                        OCT_TOKENIZER_MAX_TEXT_BYTES);
    }
    oct_status st;
    const size_t len_before = ids->len;
    struct oct_buf repaired = {0};
    struct encoding e = {.t = t, .flags = flags, .bpe = {.bpe = &t->bpe, .out = ids}, .own = own};
    const unsigned char *s = (const unsigned char *)text;
    if (oct_utf8_valid_prefix(s, len) < len) {
        OCT_ASSERT(!own);
        OCT_TRY_GOTO(oct_utf8_repair(s, len, &repaired), st, done);
        s = (const unsigned char *)repaired.data;
        len = repaired.len;
    }
    if (len >= WORTH_REMEMBERING) {
        OCT_TRY_GOTO(oct_bpe_remember(&e.bpe), st, done);
    }
    if (flags & OCT_ENCODE_BOS_EOS) {
        OCT_TRY_GOTO(push_around(&t->before, ids), st, done);
    }
    struct raw_text raw = {.e = &e, .text = s};
    const struct oct_added_special special = {flags & OCT_ENCODE_SPECIAL, own};
    OCT_TRY_GOTO(oct_added_split(&t->added[0], s, len, &special, on_raw_part, &raw), st, done);
    st = flags & OCT_ENCODE_BOS_EOS ? push_around(&t->after, ids) : OCT_OK;
done:
    if (st != OCT_OK) {
        ids->len = len_before;
    }
    oct_bpe_run_deinit(&e.bpe);
    oct_pretok_work_deinit(&e.words);
    oct_buf_free(&e.normal);
    oct_buf_free(&e.normal_own);
    oct_buf_free(&repaired);
    return st;
}

oct_status oct_tokenizer_encode(const struct oct_tokenizer *t, const char *text, size_t len,
                                unsigned flags, struct oct_ids *ids)
{
    return encode(t, text, len, NULL, flags, ids);
}

oct_status oct_tokenizer_encode_marked(const struct oct_tokenizer *t, const char *text, size_t len,
                                       const char *own, struct oct_ids *ids)
{
    if (oct_utf8_valid_prefix((const unsigned char *)text, len) < len) {
        return OCT_FAIL(OCT_E_FORMAT,
                        "the rendered conversation is no UTF-8"); /* marks would slip */
    }
    return encode(t, text, len, own, OCT_ENCODE_SPECIAL, ids);
}

/* ---- asking ---- */

int32_t oct_tokenizer_n_tokens(const struct oct_tokenizer *t)
{
    return (int32_t)t->tokens.n_ids;
}

int32_t oct_tokenizer_find(const struct oct_tokenizer *t, const char *text, size_t len)
{
    return oct_tokens_find(&t->tokens, text, len);
}

bool oct_tokenizer_is_special(const struct oct_tokenizer *t, int32_t id)
{
    return id >= 0 && (uint32_t)id < t->tokens.n_ids && (t->tokens.flags[id] & OCT_TOKEN_SPECIAL);
}

const char *oct_tokenizer_piece(const struct oct_tokenizer *t, int32_t id, size_t *len)
{
    if (id < 0 || (uint32_t)id >= t->tokens.n_ids) {
        *len = 0;
        return "";
    }
    *len = t->piece_at[id + 1] - t->piece_at[id];
    return t->pieces + t->piece_at[id];
}

int32_t oct_tokenizer_bos(const struct oct_tokenizer *t)
{
    return t->bos;
}

int32_t oct_tokenizer_eos(const struct oct_tokenizer *t)
{
    return t->eos;
}

bool oct_tokenizer_adds_bos(const struct oct_tokenizer *t)
{
    return t->before.n > 0 && t->bos >= 0 && t->before.ids[0] == t->bos;
}

oct_status oct_tokenizer_decode(const struct oct_tokenizer *t, const int32_t *ids, size_t n,
                                bool skip_special, struct oct_buf *out)
{
    const size_t len_before = out->len;
    struct oct_detok d;
    oct_status st = OCT_OK;
    oct_detok_init(&d, t, NULL, 0, skip_special);
    for (size_t i = 0; i < n; i++) {
        if (ids[i] < 0 || (uint32_t)ids[i] >= t->tokens.n_ids) {
            st = OCT_FAIL(OCT_E_ARG, "token id %d at place %zu; this vocabulary has ids 0 to %u",
                          ids[i], i, t->tokens.n_ids - 1);
            goto done;
        }
        OCT_TRY_GOTO(oct_detok_add(&d, ids[i], out), st, done);
    }
    st = oct_detok_finish(&d, out);
done:
    oct_detok_deinit(&d);
    if (st != OCT_OK) {
        out->len = len_before;
        if (out->data) {
            out->data[out->len] = '\0';
        }
    }
    return st;
}
