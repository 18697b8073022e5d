/* SPDX-License-Identifier: Apache-2.0
 *
 * A tokenizer from GGUF's tokenizer.ggml.* keys: "gpt2" is byte-level BPE with merges and a named
 * pre-tokeniser, "llama" is SentencePiece BPE, whose merges follow from the scores. */
#include "text/tokenizer_int.h"
#include "text/unicode.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* tokenizer.ggml.token_type */
enum { TYPE_NORMAL = 1, TYPE_UNKNOWN, TYPE_CONTROL, TYPE_USER, TYPE_UNUSED, TYPE_BYTE };

static const char mark[] = "\xe2\x96\x81"; /* U+2581, a space in SentencePiece */
enum { MARK_LEN = sizeof mark - 1 };

static int type_of(const struct oct_tokenizer_gguf *g, uint32_t id)
{
    return g->types ? g->types[id] : TYPE_NORMAL;
}

static oct_status read_tokens(struct oct_tokenizer *t, const struct oct_tokenizer_gguf *g)
{
    size_t bytes = 0;
    for (uint32_t i = 0; i < g->n_tokens; i++) {
        bytes += g->token_lens[i] < OCT_TOKENS_MAX_TEXT ? g->token_lens[i] : OCT_TOKENS_MAX_TEXT;
    }
    struct oct_token_queue queue = {.tokens = &t->tokens};
    OCT_TRY(oct_tokens_init(&t->tokens, g->n_tokens, bytes));
    for (uint32_t i = 0; i < g->n_tokens; i++) {
        const char *text = g->tokens[i];
        const size_t len = g->token_lens[i];
        if (len == 0) {
            continue; /* a hole: files are padded so */
        }
        if (oct_utf8_valid_prefix((const unsigned char *)text, len) < len) {
            return OCT_FAIL(OCT_E_FORMAT, "tokenizer.ggml.tokens: token %u is not UTF-8", i);
        }
        const int type = type_of(g, i);
        OCT_TRY(oct_token_queue_put(
            &queue, i, text, len,
            type == TYPE_CONTROL || type == TYPE_USER || type == TYPE_UNKNOWN
                ? (uint8_t)(OCT_TOKEN_PLAIN | (type == TYPE_USER ? OCT_TOKEN_MODEL : 0))
                : OCT_TOKEN_MODEL));
    }
    return oct_token_queue_flush(&queue);
}

static oct_status read_added(struct oct_tokenizer *t, const struct oct_tokenizer_gguf *g)
{
    for (uint32_t i = 0; i < t->tokens.n_ids; i++) {
        const int type = type_of(g, i);
        if (t->tokens.flags[i] &&
            (type == TYPE_CONTROL || type == TYPE_USER || type == TYPE_UNKNOWN)) {
            OCT_TRY(oct_tokenizer_add(t, &(struct oct_added){.id = i, .special = type != TYPE_USER},
                                      false));
        }
    }
    return OCT_OK;
}

/* ---- "gpt2" ---- */

static oct_status build_bpe(struct oct_tokenizer *t, const struct oct_tokenizer_gguf *g,
                            bool *add_bos)
{
    oct_status st = OCT_OK;
    struct oct_pre_traits traits;
    struct oct_merge_queue queue = {.bpe = &t->bpe};
    OCT_TRY(oct_pretok_add_named(&t->pretok, g->pre, &traits));
    if (traits.nfc) {
        OCT_TRY(oct_normal_add(t, NORMAL_NFC, "", 0, "", 0));
    }
    *add_bos = traits.add_bos;
    t->bpe.ignore_merges = traits.ignore_merges;
    t->bpe.byte_level = true;
    t->decoder.kind = DECODE_BYTES;
    OCT_TRY(oct_pairs_init(&t->bpe.pairs, g->n_merges, t->tokens.seed));
    for (uint32_t i = 0; i < g->n_merges; i++) {
        /* The space that parts the two may not be the first byte: a token may begin with one. */
        const char *text = g->merges[i];
        const size_t len = g->merge_lens[i];
        const char *space = len > 1 ? memchr(text + 1, ' ', len - 1) : NULL;
        if (!space) {
            char quoted[80];
            st = OCT_FAIL(OCT_E_FORMAT,
                          "tokenizer.ggml.merges: entry %u, \"%s\", is not two tokens with a space "
                          "between them",
                          i, oct_error_quote(quoted, sizeof quoted, text, len));
            goto done;
        }
        OCT_TRY_GOTO(oct_merge_queue_put(&queue, text, (size_t)(space - text), space + 1,
                                         len - (size_t)(space - text) - 1, i),
                     st, done);
    }
    st = oct_merge_queue_flush(&queue);
done:
    oct_buf_free(&queue.text);
    return st;
}

/* ---- "llama" ---- */

struct scored {
    float score;
    uint32_t id;
};
static int by_score(const void *a, const void *b)
{
    const struct scored *x = a, *y = b;
    if (x->score != y->score) {
        return x->score > y->score ? -1 : 1;
    }
    return x->id < y->id ? -1 : 1;
}

/* Each way to cut a token into two tokens is a merge; its rank is the place of the token's score,
 * the highest first, and equal scores have equal ranks (the leftmost pair goes first then). */
static oct_status merges_of(struct oct_tokenizer *t, uint32_t id, uint32_t rank, bool count,
                            size_t *n)
{
    enum {
        MAX_MERGED_BYTES = 1024
    }; /* longer tokens are never met by merging pairs of real ones */
    size_t len;
    const char *text = oct_tokens_text(&t->tokens, id, &len);
    for (size_t at = oct_utf8_step((unsigned char)text[0]); at < len && len <= MAX_MERGED_BYTES;
         at += oct_utf8_step((unsigned char)text[at])) {
        const int32_t left = oct_tokens_find(&t->tokens, text, at);
        const int32_t right = left < 0 ? -1 : oct_tokens_find(&t->tokens, text + at, len - at);
        if (left < 0 || right < 0) {
            continue;
        }
        ++*n;
        if (!count) {
            if (oct_bpe_joins(text, at, text + at, len - at)) {
                t->bpe.cut = 0;
            }
            oct_pairs_put(&t->bpe.pairs, (uint32_t)left, (uint32_t)right, rank, id);
        }
    }
    return OCT_OK;
}

static oct_status build_spm(struct oct_tokenizer *t, const struct oct_tokenizer_gguf *g)
{
    if (!g->scores) {
        return OCT_FAIL(OCT_E_FORMAT,
                        "tokenizer.ggml.scores is missing; a \"llama\" vocabulary needs it");
    }
    oct_status st = OCT_OK;
    size_t n_scored = 0, n_merges = 0;
    struct scored *order = oct_malloc(t->tokens.n_ids * sizeof *order);
    if (!order) {
        return oct_no_memory("a vocabulary", t->tokens.n_ids * sizeof *order);
    }
    for (uint32_t i = 0; i < t->tokens.n_ids; i++) {
        const int type = type_of(g, i);
        if (!t->tokens.flags[i] ||
            (type != TYPE_NORMAL && type != TYPE_USER && type != TYPE_UNUSED)) {
            continue;
        }
        if (isnan(g->scores[i])) {
            st = OCT_FAIL(OCT_E_FORMAT, "tokenizer.ggml.scores: the score of token %u is no number",
                          i);
            goto done;
        }
        order[n_scored++] = (struct scored){g->scores[i], i};
        OCT_TRY_GOTO(merges_of(t, i, 0, true, &n_merges), st, done);
    }
    qsort(order, n_scored, sizeof *order, by_score);
    OCT_TRY_GOTO(oct_pairs_init(&t->bpe.pairs, n_merges, t->tokens.seed), st, done);
    t->bpe.cut = 1;
    uint32_t rank = 0;
    for (size_t i = 0; i < n_scored; i++) {
        if (i > 0 && order[i].score != order[i - 1].score) {
            rank++;
        }
        OCT_TRY_GOTO(merges_of(t, order[i].id, rank, false, &n_merges), st, done);
    }
    t->bpe.byte_fallback = true;
    t->bpe.fuse_unk = true;
    t->bpe.unk = g->unk >= 0 && (uint32_t)g->unk < t->tokens.n_ids ? g->unk : -1;
    if (g->add_space_prefix != 0) {
        OCT_TRY_GOTO(oct_normal_add(t, NORMAL_PREPEND, "", 0, mark, MARK_LEN), st, done);
    }
    OCT_TRY_GOTO(oct_normal_add(t, NORMAL_REPLACE, " ", 1, mark, MARK_LEN), st, done);
    t->decoder.kind = DECODE_PIECES;
    t->decoder.byte_fallback = true;
    t->decoder.strip_left = g->add_space_prefix != 0;
done:
    oct_free(order);
    return st;
}

/* ---- all of it ---- */

static oct_status special_id(const struct oct_tokenizer *t, const char *key, int32_t id,
                             int32_t *out)
{
    if (id >= 0 && (uint32_t)id >= t->tokens.n_ids) {
        return OCT_FAIL(OCT_E_FORMAT, "tokenizer.ggml.%s_token_id is %d; the vocabulary ends at %u",
                        key, id, t->tokens.n_ids - 1);
    }
    *out = id < 0 ? -1 : id;
    return OCT_OK;
}

static oct_status build(struct oct_tokenizer *t, const struct oct_tokenizer_gguf *g)
{
    const bool spm = g->model && strcmp(g->model, "llama") == 0;
    bool add_bos = spm;
    char quoted[100];
    if (!g->model || (!spm && strcmp(g->model, "gpt2") != 0)) {
        return OCT_FAIL(OCT_E_UNSUPPORTED,
                        "tokenizer.ggml.model is \"%s\"; octavo reads \"gpt2\" and \"llama\"",
                        g->model
                            ? oct_error_quote(quoted, sizeof quoted, g->model, strlen(g->model))
                            : "(absent)");
    }
    OCT_TRY(read_tokens(t, g));
    if (t->tokens.n_ids == 0) {
        return OCT_FAIL(OCT_E_FORMAT, "tokenizer.ggml.tokens is empty");
    }
    OCT_TRY(special_id(t, "bos", g->bos, &t->bos));
    OCT_TRY(special_id(t, "eos", g->eos, &t->eos));
    OCT_TRY(spm ? build_spm(t, g) : build_bpe(t, g, &add_bos));
    OCT_TRY(read_added(t, g));
    oct_tokenizer_set_around(t, g->add_bos >= 0 ? g->add_bos : add_bos, g->add_eos);
    const struct oct_replace replace = {mark, " ", MARK_LEN, 1};
    return oct_tokenizer_finish(t, &replace, spm ? 1 : 0);
}

oct_status oct_tokenizer_from_gguf(const struct oct_tokenizer_gguf *g, struct oct_tokenizer **out)
{
    struct oct_tokenizer *t;
    OCT_TRY(oct_tokenizer_new(&t));
    const oct_status st = build(t, g);
    if (st != OCT_OK) {
        oct_tokenizer_destroy(t);
        return st;
    }
    *out = t;
    return OCT_OK;
}
