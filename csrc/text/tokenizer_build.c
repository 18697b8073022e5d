/* SPDX-License-Identifier: Apache-2.0
 *
 * What both builders of a tokenizer, tokenizer_json.c and tokenizer_gguf.c, share. */
#include "text/tokenizer_int.h"
#include "text/unicode.h"

#include <string.h>

/* Looks up the texts of a merge, which are near by now. */
static oct_status settle_merge(struct oct_bpe *b, const char *text,
                               const struct oct_queued_merge *m, uint32_t out[3])
{
    const char *right = text + m->left_len;
    const int32_t id[3] = {
        oct_tokens_find_hashed(b->tokens, text, m->left_len, m->hash[0]),
        oct_tokens_find_hashed(b->tokens, right, m->right_len, m->hash[1]),
        m->result >= 0
            ? m->result
            : oct_tokens_find_hashed(b->tokens, text, m->left_len + m->right_len, m->hash[2])};
    for (int i = 0; i < 3; i++) {
        if (id[i] < 0) {
            static const char *const which[] = {"the first", "the second", "what they make"};
            char quoted[2][80];
            return OCT_FAIL(
                OCT_E_FORMAT,
                "merge %u of the vocabulary joins \"%s\" and \"%s\", but %s is no token", m->rank,
                oct_error_quote(quoted[0], 80, text, m->left_len),
                oct_error_quote(quoted[1], 80, right, m->right_len), which[i]);
        }
        out[i] = (uint32_t)id[i];
    }
    if (oct_bpe_joins(text, m->left_len, right, m->right_len)) {
        b->cut = 0;
    }
    return OCT_OK;
}

oct_status oct_merge_queue_flush(struct oct_merge_queue *q)
{
    const size_t n = q->n;
    uint32_t ids[OCT_MERGES_AT_ONCE][3];
    q->n = 0;
    for (size_t i = 0; i < n; i++) {
        for (int k = 0; k < (q->merges[i].result < 0 ? 3 : 2); k++) {
            oct_tokens_prefetch(q->bpe->tokens, q->merges[i].hash[k], 2);
        }
    }
    for (size_t i = 0; i < n; i++) {
        OCT_TRY(settle_merge(q->bpe, q->text.data + q->merges[i].offset, &q->merges[i], ids[i]));
        oct_pairs_prefetch(&q->bpe->pairs, ids[i][0], ids[i][1]);
    }
    for (size_t i = 0; i < n; i++) {
        oct_pairs_put(&q->bpe->pairs, ids[i][0], ids[i][1], q->merges[i].rank, ids[i][2]);
        q->guess = ids[i][2];
    }
    oct_buf_clear(&q->text);
    return OCT_OK;
}

/* The guessed token, if that is what a merge makes, or the one after it; or -1. */
static int32_t guess_result(const struct oct_merge_queue *q, const char *both, size_t len)
{
    const struct oct_tokens *tokens = q->bpe->tokens;
    for (uint32_t id = q->guess; id <= q->guess + 1 && id < tokens->n_ids; id++) {
        size_t token_len;
        if (tokens->flags[id]) {
            const char *text = oct_tokens_text(tokens, id, &token_len);
            if (token_len == len && memcmp(text, both, len) == 0) {
                return (int32_t)id;
            }
        }
    }
    return -1;
}

oct_status oct_merge_queue_put(struct oct_merge_queue *q, const char *left, size_t left_len,
                               const char *right, size_t right_len, uint32_t rank)
{
    if (q->n == OCT_MERGES_AT_ONCE) {
        OCT_TRY(oct_merge_queue_flush(q));
    }
    const struct oct_tokens *tokens = q->bpe->tokens;
    struct oct_queued_merge *m = &q->merges[q->n];
    OCT_TRY(oct_buf_reserve(&q->text, left_len + right_len));
    char *both = q->text.data + q->text.len;
    memcpy(both, left, left_len);
    memcpy(both + left_len, right, right_len);
    *m = (struct oct_queued_merge){q->text.len, left_len, right_len, {0}, rank, -1};
    q->text.len += left_len + right_len;
    m->hash[0] = oct_tokens_hash(tokens, both, left_len);
    m->hash[1] = oct_tokens_hash(tokens, both + left_len, right_len);
    m->result = guess_result(q, both, left_len + right_len);
    if (m->result >= 0) {
        q->guess = (uint32_t)m->result;
    } else {
        m->hash[2] = oct_tokens_hash(tokens, both, left_len + right_len);
        oct_tokens_prefetch(tokens, m->hash[2], 1);
    }
    oct_tokens_prefetch(tokens, m->hash[0], 1);
    oct_tokens_prefetch(tokens, m->hash[1], 1);
    q->n++;
    return OCT_OK;
}

oct_status oct_tokenizer_add(struct oct_tokenizer *t, const struct oct_added *token,
                             bool normalized)
{
    oct_status st = OCT_OK;
    struct oct_buf normal = {0};
    size_t len;
    const char *text = oct_tokens_text(&t->tokens, token->id, &len);
    t->tokens.flags[token->id] |=
        (uint8_t)(OCT_TOKEN_ADDED | (token->special ? OCT_TOKEN_SPECIAL : 0));
    if (normalized && t->n_normal) {
        t->tokens.flags[token->id] |= OCT_TOKEN_NORMALIZED;
        OCT_TRY_GOTO(oct_normalize(t, (const unsigned char *)text, len, &normal), st, done);
        text = normal.data ? normal.data : "";
        len = normal.len;
    }
    t->added[normalized].seed = t->tokens.seed;
    st = oct_added_insert(&t->added[normalized], text, len, token);
done:
    oct_buf_free(&normal);
    return st;
}

void oct_tokenizer_set_around(struct oct_tokenizer *t, int add_bos, int add_eos)
{
    struct oct_around *b = &t->before, *a = &t->after;
    const bool has_bos = b->n && t->bos >= 0 && b->ids[0] == t->bos;
    const bool has_eos = a->n && t->eos >= 0 && a->ids[a->n - 1] == t->eos;
    if (add_bos == 1 && !has_bos && t->bos >= 0 && b->n < OCT_TOKENIZER_MAX_AROUND) {
        memmove(b->ids + 1, b->ids, b->n * sizeof *b->ids);
        b->ids[0] = t->bos;
        b->n++;
    } else if (add_bos == 0 && has_bos) {
        memmove(b->ids, b->ids + 1, --b->n * sizeof *b->ids);
    }
    if (add_eos == 1 && !has_eos && t->eos >= 0 && a->n < OCT_TOKENIZER_MAX_AROUND) {
        a->ids[a->n++] = t->eos;
    } else if (add_eos == 0 && has_eos) {
        a->n--;
    }
}

/* ---- pieces ---- */

/* The byte that "<0x0A>" stands for, or -1; the reference reads a sign, too. */
static int fallback_byte(const char *s, size_t len)
{
    if (len != 6 || memcmp(s, "<0x", 3) != 0 || s[5] != '>') {
        return -1;
    }
    int value = 0;
    for (int i = 3; i < 5; i++) {
        const char c = s[i];
        const int digit = c >= '0' && c <= '9'   ? c - '0'
                          : c >= 'a' && c <= 'f' ? c - 'a' + 10
                          : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                                 : -1;
        if (digit < 0 && !(i == 3 && c == '+')) {
            return -1;
        }
        value = value * 16 + (digit < 0 ? 0 : digit);
    }
    return value;
}

/* GPT-2's alphabet back to bytes; false if a character is not in it. */
static bool alphabet_bytes(const char *s, size_t len, struct oct_buf *out, oct_status *st)
{
    const size_t start = out->len;
    *st = oct_buf_reserve(out, len);
    if (*st != OCT_OK) {
        return false;
    }
    for (size_t i = 0; i < len;) {
        size_t step;
        const int byte = oct_char_byte(oct_utf8_get((const unsigned char *)s + i, &step));
        if (byte < 0) {
            out->len = start;
            return false;
        }
        out->data[out->len++] = (char)byte;
        i += step;
    }
    out->data[out->len] = '\0';
    return true;
}

static oct_status piece(struct oct_tokenizer *t, uint32_t id, const struct oct_replace *replace,
                        size_t n_replace, struct oct_buf *work, struct oct_buf *out)
{
    oct_status st = OCT_OK;
    size_t len;
    const char *text = oct_tokens_text(&t->tokens, id, &len);
    if (t->tokens.flags[id] & OCT_TOKEN_NORMALIZED) {
        oct_buf_clear(&work[0]);
        OCT_TRY(oct_normalize(t, (const unsigned char *)text, len, &work[0]));
        text = work[0].data ? work[0].data : "";
        len = work[0].len;
    }
    if (t->decoder.kind == DECODE_BYTES) {
        if (!(t->tokens.flags[id] & OCT_TOKEN_PLAIN) && alphabet_bytes(text, len, out, &st)) {
            return OCT_OK;
        }
        return st != OCT_OK ? st : oct_buf_append(out, text, len);
    }
    for (size_t i = 0; i < n_replace; i++) {
        struct oct_buf *to = &work[1 + (i & 1)];
        oct_buf_clear(to);
        for (size_t pos = 0; pos < len;) {
            const char *hit = memmem(text + pos, len - pos, replace[i].from, replace[i].from_len);
            const size_t end = hit ? (size_t)(hit - text) : len;
            OCT_TRY(oct_buf_append(to, text + pos, end - pos));
            if (hit) {
                OCT_TRY(oct_buf_append(to, replace[i].to, replace[i].to_len));
            }
            pos = end + (hit ? replace[i].from_len : 0);
        }
        text = to->data ? to->data : "";
        len = to->len;
    }
    const int byte = t->decoder.byte_fallback ? fallback_byte(text, len) : -1;
    if (byte >= 0) {
        t->tokens.flags[id] |= OCT_TOKEN_BYTE;
        return oct_buf_append(out, &(char){(char)byte}, 1);
    }
    return oct_buf_append(out, text, len);
}

oct_status oct_tokenizer_finish(struct oct_tokenizer *t, const struct oct_replace *replace,
                                size_t n_replace)
{
    oct_status st = OCT_OK;
    struct oct_buf out = {.max_bytes = UINT32_MAX}, work[3] = {{0}, {0}, {0}};
    const uint32_t n = t->tokens.n_ids;
    if (n == 0) {
        return OCT_FAIL(OCT_E_FORMAT, "the vocabulary is empty");
    }
    OCT_TRY(oct_bpe_finish(&t->bpe));
    t->piece_at = oct_malloc(((size_t)n + 1) * sizeof *t->piece_at);
    if (!t->piece_at) {
        return oct_no_memory("a vocabulary", (size_t)n * sizeof *t->piece_at);
    }
    OCT_TRY_GOTO(oct_buf_reserve(&out, t->tokens.text_len), st, done);
    for (uint32_t id = 0; id < n; id++) {
        t->piece_at[id] = (uint32_t)out.len;
        if (t->tokens.flags[id]) {
            OCT_TRY_GOTO(piece(t, id, replace, n_replace, work, &out), st, done);
        }
    }
    t->piece_at[n] = (uint32_t)out.len;
    t->pieces = out.data;
    out = (struct oct_buf){0};
done:
    oct_buf_free(&out);
    for (int i = 0; i < 3; i++) {
        oct_buf_free(&work[i]);
    }
    return st;
}
