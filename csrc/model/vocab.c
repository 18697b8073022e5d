/* SPDX-License-Identifier: Apache-2.0 */
#include "model/vocab.h"

#include "base/mem.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum {
    MAX_TOKENIZER_BYTES = 128 << 20, /* the largest in use has 33 MB */
    MAX_CONFIG_BYTES = 16 << 20,
};

/* Tokens that end a turn in the templates of models whose files name another end token. */
static const char *const turn_ends[] = {
    "<|im_end|>", "<|eot_id|>",    "<|eom_id|>",      "<|end_of_text|>", "<|endoftext|>",
    "<|end|>",    "<end_of_turn>", "<|end_of_turn|>", "<|return|>",      "</s>",
};

static oct_status copy(const char *what, const char *text, size_t len, char **out)
{
    char *p = oct_strndup(text, len);
    if (!p) {
        return oct_no_memory(what, len + 1);
    }
    oct_free(*out);
    *out = p;
    return OCT_OK;
}

/* ---- Hugging Face ---- */

/* OCT_OK with *data NULL if there is no such file. */
static oct_status slurp_in(const struct oct_source *s, const char *name, size_t max_bytes,
                           char **data, size_t *len)
{
    struct oct_file f = {0};
    oct_status st = oct_file_open_in(s->path, name, &f);
    if (st == OCT_E_NOTFOUND) {
        oct_error_clear();
        *data = NULL;
        *len = 0;
        return OCT_OK;
    }
    OCT_TRY(st);
    st = oct_file_slurp(&f, max_bytes, data, len);
    oct_file_close(&f);
    return st;
}

oct_status oct_vocab_token_text(const char *dir, const json_t *tokenizer_config, const char *key,
                                char **out, bool *said)
{
    const json_t *v = json_object_get(tokenizer_config, key);
    *said = v != NULL;
    if (!v || json_is_null(v)) {
        return OCT_OK;
    }
    const json_t *text = json_is_object(v) ? json_object_get(v, "content") : v;
    if (!json_is_string(text)) {
        return OCT_FAIL(OCT_E_FORMAT,
                        "%s/tokenizer_config.json: key \"%s\" is not a string or an object with "
                        "\"content\"",
                        dir, key);
    }
    return copy(key, json_string_value(text), json_string_length(text), out);
}

/* Special tokens' pieces are their text. */
static oct_status text_of_id(const struct oct_tokenizer *t, int32_t id, char **out)
{
    if (id < 0) {
        return OCT_OK;
    }
    size_t len;
    const char *text = oct_tokenizer_piece(t, id, &len);
    return copy("a token's text", text, len, out);
}

static oct_status load_hf(const struct oct_source *s, struct oct_vocab *v)
{
    char *json = NULL, *config = NULL;
    size_t json_len, config_len;
    bool said_bos, said_eos;
    oct_status st;
    OCT_TRY_GOTO(slurp_in(s, "tokenizer.json", MAX_TOKENIZER_BYTES, &json, &json_len), st, done);
    if (!json) {
        st = OCT_FAIL(OCT_E_NOTFOUND,
                      "%s: has no tokenizer.json; save the model's tokenizer there "
                      "(AutoTokenizer.from_pretrained(...).save_pretrained in transformers)",
                      s->path);
        goto done;
    }
    OCT_TRY_GOTO(slurp_in(s, "tokenizer_config.json", MAX_CONFIG_BYTES, &config, &config_len), st,
                 done);
    st = oct_tokenizer_from_json(json, json_len, config, config_len, &v->tokenizer);
    if (st != OCT_OK) {
        oct_error_prefix("%s", s->path);
        goto done;
    }
    OCT_TRY_GOTO(
        oct_vocab_token_text(s->path, s->tokenizer_config, "bos_token", &v->bos_text, &said_bos),
        st, done);
    OCT_TRY_GOTO(
        oct_vocab_token_text(s->path, s->tokenizer_config, "eos_token", &v->eos_text, &said_eos),
        st, done);
    if (!said_bos) {
        OCT_TRY_GOTO(text_of_id(v->tokenizer, oct_tokenizer_bos(v->tokenizer), &v->bos_text), st,
                     done);
    }
    if (!said_eos) {
        OCT_TRY_GOTO(text_of_id(v->tokenizer, oct_tokenizer_eos(v->tokenizer), &v->eos_text), st,
                     done);
    }
    st = oct_templates_load_hf(s->path, s->tokenizer_config, &v->templates);
done:
    oct_free(json);
    oct_free(config);
    return st;
}

/* ---- GGUF ---- */

/* Arrays that struct oct_tokenizer_gguf borrows; freed when the tokenizer is built. */
struct lists {
    const char **tokens, **merges;
    size_t *token_lens, *merge_lens;
    int32_t *types;
    float *scores;
};

static oct_status gguf_strings(const struct oct_source *s, const char *key, const char ***texts,
                               size_t **lens, uint32_t *n)
{
    const struct oct_gguf_kv *kv = oct_gguf_find(s->gguf, key);
    *n = 0;
    if (!kv) {
        return OCT_OK;
    }
    if (kv->type != OCT_GGUF_ARRAY || kv->elem_type != OCT_GGUF_STRING || kv->n > INT32_MAX) {
        return OCT_FAIL(OCT_E_FORMAT, "%s: key \"%s\" is not a list of strings", s->path, key);
    }
    const size_t count = (size_t)kv->n;
    *texts = oct_realloc_array(NULL, count, sizeof **texts);
    *lens = oct_realloc_array(NULL, count, sizeof **lens);
    if (!*texts || !*lens) {
        return oct_no_memory(key, count * (sizeof **texts + sizeof **lens));
    }
    for (size_t i = 0; i < count; i++) {
        (*texts)[i] = kv->v.strings[i].data;
        (*lens)[i] = kv->v.strings[i].len;
    }
    *n = (uint32_t)count;
    return OCT_OK;
}

/* A list with one number per token; NULL if the key is absent. */
static oct_status per_token(const struct oct_source *s, const char *key, enum oct_gguf_type type,
                            uint32_t n_tokens, const struct oct_gguf_kv **out)
{
    const struct oct_gguf_kv *kv = oct_gguf_find(s->gguf, key);
    *out = kv;
    if (!kv) {
        return OCT_OK;
    }
    if (kv->type != OCT_GGUF_ARRAY || kv->elem_type != type || kv->n != n_tokens) {
        return OCT_FAIL(OCT_E_FORMAT,
                        "%s: key \"%s\" is not a list of %s with one for each of the %" PRIu32
                        " tokens",
                        s->path, key, type == OCT_GGUF_I32 ? "int32" : "float32", n_tokens);
    }
    return OCT_OK;
}

static oct_status gguf_types(const struct oct_source *s, uint32_t n, int32_t **out)
{
    const struct oct_gguf_kv *kv;
    OCT_TRY(per_token(s, "tokenizer.ggml.token_type", OCT_GGUF_I32, n, &kv));
    if (!kv) {
        return OCT_OK;
    }
    *out = oct_realloc_array(NULL, n, sizeof **out);
    if (!*out) {
        return oct_no_memory("token types", n * sizeof **out);
    }
    for (uint32_t i = 0; i < n; i++) {
        int64_t v;
        OCT_TRY(oct_gguf_array_i64(kv, i, &v));
        (*out)[i] = (int32_t)v;
    }
    return OCT_OK;
}

static oct_status gguf_scores(const struct oct_source *s, uint32_t n, float **out)
{
    const struct oct_gguf_kv *kv;
    OCT_TRY(per_token(s, "tokenizer.ggml.scores", OCT_GGUF_F32, n, &kv));
    if (!kv) {
        return OCT_OK;
    }
    *out = oct_realloc_array(NULL, n, sizeof **out);
    if (!*out) {
        return oct_no_memory("token scores", n * sizeof **out);
    }
    for (uint32_t i = 0; i < n; i++) {
        double v;
        OCT_TRY(oct_gguf_array_f64(kv, i, &v));
        (*out)[i] = (float)v;
    }
    return OCT_OK;
}

/* -1 if the key is absent. */
static oct_status gguf_id(const struct oct_source *s, const char *key, uint32_t n_tokens,
                          int32_t *out)
{
    uint64_t id;
    const oct_status st = oct_gguf_u64(s->gguf, key, &id);
    *out = -1;
    if (st == OCT_E_NOTFOUND) {
        return OCT_OK;
    }
    if (st != OCT_OK) {
        oct_error_prefix("%s", s->path);
        return st;
    }
    if (id >= n_tokens) {
        return OCT_FAIL(OCT_E_FORMAT,
                        "%s: key \"%s\" is %" PRIu64 "; the tokenizer has %" PRIu32 " tokens",
                        s->path, key, id, n_tokens);
    }
    *out = (int32_t)id;
    return OCT_OK;
}

static oct_status gguf_flag(const struct oct_source *s, const char *key, int *out)
{
    bool flag;
    const oct_status st = oct_gguf_bool(s->gguf, key, &flag);
    *out = st == OCT_OK ? flag : -1;
    if (st != OCT_OK && st != OCT_E_NOTFOUND) {
        oct_error_prefix("%s", s->path);
        return st;
    }
    return OCT_OK;
}

/* *out stays as it is if the key is absent. */
static oct_status gguf_text(const struct oct_source *s, const char *key, struct oct_gguf_str *out)
{
    const oct_status st = oct_gguf_str(s->gguf, key, out);
    if (st != OCT_OK && st != OCT_E_NOTFOUND) {
        oct_error_prefix("%s", s->path);
        return st;
    }
    return OCT_OK;
}

static oct_status fill_gguf(const struct oct_source *s, struct lists *l,
                            struct oct_tokenizer_gguf *g)
{
    struct oct_gguf_str model = {0}, pre = {0};
    OCT_TRY(gguf_text(s, "tokenizer.ggml.model", &model));
    OCT_TRY(gguf_text(s, "tokenizer.ggml.pre", &pre));
    OCT_TRY(gguf_strings(s, "tokenizer.ggml.tokens", &l->tokens, &l->token_lens, &g->n_tokens));
    if (!model.data || g->n_tokens == 0) {
        return OCT_FAIL(OCT_E_FORMAT,
                        "%s: has no \"tokenizer.ggml.model\" with \"tokenizer.ggml.tokens\"; "
                        "convert the model with its tokenizer",
                        s->path);
    }
    OCT_TRY(gguf_strings(s, "tokenizer.ggml.merges", &l->merges, &l->merge_lens, &g->n_merges));
    OCT_TRY(gguf_types(s, g->n_tokens, &l->types));
    OCT_TRY(gguf_scores(s, g->n_tokens, &l->scores));
    g->model = model.data;
    g->pre = pre.data;
    g->tokens = l->tokens;
    g->token_lens = l->token_lens;
    g->types = l->types;
    g->scores = l->scores;
    g->merges = l->merges;
    g->merge_lens = l->merge_lens;
    OCT_TRY(gguf_id(s, "tokenizer.ggml.bos_token_id", g->n_tokens, &g->bos));
    OCT_TRY(gguf_id(s, "tokenizer.ggml.eos_token_id", g->n_tokens, &g->eos));
    OCT_TRY(gguf_id(s, "tokenizer.ggml.unknown_token_id", g->n_tokens, &g->unk));
    OCT_TRY(gguf_id(s, "tokenizer.ggml.padding_token_id", g->n_tokens, &g->pad));
    OCT_TRY(gguf_flag(s, "tokenizer.ggml.add_bos_token", &g->add_bos));
    OCT_TRY(gguf_flag(s, "tokenizer.ggml.add_eos_token", &g->add_eos));
    return gguf_flag(s, "tokenizer.ggml.add_space_prefix", &g->add_space_prefix);
}

static oct_status load_gguf(const struct oct_source *s, struct oct_vocab *v)
{
    struct lists l = {0};
    struct oct_tokenizer_gguf g = {0};
    oct_status st;
    OCT_TRY_GOTO(fill_gguf(s, &l, &g), st, done);
    st = oct_tokenizer_from_gguf(&g, &v->tokenizer);
    if (st != OCT_OK) {
        oct_error_prefix("%s", s->path);
        goto done;
    }
    if (g.bos >= 0) {
        OCT_TRY_GOTO(copy("a token's text", g.tokens[g.bos], g.token_lens[g.bos], &v->bos_text), st,
                     done);
    }
    if (g.eos >= 0) {
        OCT_TRY_GOTO(copy("a token's text", g.tokens[g.eos], g.token_lens[g.eos], &v->eos_text), st,
                     done);
    }
    st = oct_templates_load_gguf(s->path, s->gguf, &v->templates);
done:
    oct_free(l.tokens);
    oct_free(l.token_lens);
    oct_free(l.merges);
    oct_free(l.merge_lens);
    oct_free(l.types);
    oct_free(l.scores);
    return st;
}

/* ---- both ---- */

static void add_stop(struct oct_vocab *v, int32_t id)
{
    const int32_t max = (int32_t)(sizeof v->stop_tokens / sizeof v->stop_tokens[0]);
    if (id < 0 || id >= oct_tokenizer_n_tokens(v->tokenizer) || v->n_stop_tokens == max) {
        return; /* rows past the tokenizer are never chosen */
    }
    for (int32_t i = 0; i < v->n_stop_tokens; i++) {
        if (v->stop_tokens[i] == id) {
            return;
        }
    }
    v->stop_tokens[v->n_stop_tokens++] = id;
}

static bool is_written(const struct oct_templates *t, const char *text)
{
    for (size_t i = 0; i < t->n; i++) {
        if (strstr(t->item[i].text, text)) {
            return true;
        }
    }
    return false;
}

static void collect_stops(const struct oct_model_config *c, struct oct_vocab *v)
{
    for (int32_t i = 0; i < c->n_stop_tokens; i++) {
        add_stop(v, c->stop_tokens[i]);
    }
    add_stop(v, oct_tokenizer_eos(v->tokenizer));
    for (size_t i = 0; i < sizeof turn_ends / sizeof turn_ends[0]; i++) {
        const int32_t id = oct_tokenizer_find(v->tokenizer, turn_ends[i], strlen(turn_ends[i]));
        if (id >= 0 && id != oct_tokenizer_bos(v->tokenizer) &&
            oct_tokenizer_is_special(v->tokenizer, id) && is_written(&v->templates, turn_ends[i])) {
            add_stop(v, id);
        }
    }
}

oct_status oct_vocab_load(const struct oct_source *s, const struct oct_model_config *c,
                          struct oct_vocab **out)
{
    oct_status st;
    struct oct_vocab *v = oct_calloc(1, sizeof *v);
    if (!v) {
        return oct_no_memory("the vocabulary", sizeof *v);
    }
    OCT_TRY_GOTO(s->kind == OCT_SOURCE_HF ? load_hf(s, v) : load_gguf(s, v), st, fail);
    const int32_t n = oct_tokenizer_n_tokens(v->tokenizer);
    if (n > c->vocab_size) {
        st = OCT_FAIL(OCT_E_FORMAT,
                      "%s: tokenizer and weights disagree in vocabulary: the tokenizer has %" PRId32
                      " tokens, the embedding %" PRId32
                      " rows; use the tokenizer that belongs to this model",
                      s->path, n, c->vocab_size);
        goto fail;
    }
    collect_stops(c, v);
    const int usual = oct_templates_pick(&v->templates, NULL, false);
    v->chat_template = usual < 0 ? NULL : v->templates.item[usual].text;
    *out = v;
    return OCT_OK;
fail:
    oct_vocab_destroy(v);
    return st;
}

void oct_vocab_destroy(struct oct_vocab *v)
{
    if (!v) {
        return;
    }
    oct_tokenizer_destroy(v->tokenizer);
    oct_templates_deinit(&v->templates);
    oct_free(v->bos_text);
    oct_free(v->eos_text);
    oct_free(v);
}
