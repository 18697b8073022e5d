/* SPDX-License-Identifier: Apache-2.0 */
#include "vocab_file.h"

#include "base/io.h"
#include "model/gguf.h"

#include <stdio.h>
#include <string.h>

enum { MAX_BYTES = 128 << 20 };

static bool ends_with(const char *s, const char *end)
{
    const size_t n = strlen(s), k = strlen(end);
    return n >= k && strcmp(s + n - k, end) == 0;
}

static oct_status read_xz(const char *path, char **data, size_t *len)
{
    char command[4096];
    struct oct_buf b = {.max_bytes = MAX_BYTES};
    oct_status st = OCT_OK;
    (void)snprintf(command, sizeof command, "xz -dc '%s'", path);
    FILE *pipe = popen(command, "r");
    if (!pipe) {
        return OCT_FAIL(OCT_E_IO, "cannot run xz");
    }
    char part[65536];
    for (size_t n; st == OCT_OK && (n = fread(part, 1, sizeof part, pipe)) > 0;) {
        st = oct_buf_append(&b, part, n);
    }
    if (pclose(pipe) != 0 && st == OCT_OK) {
        st = OCT_FAIL(OCT_E_IO, "xz -dc %s failed", path);
    }
    if (st != OCT_OK) {
        oct_buf_free(&b);
        return st;
    }
    *data = b.data;
    *len = b.len;
    return OCT_OK;
}

oct_status vocab_file_read(const char *path, char **data, size_t *len)
{
    struct oct_file f = {0};
    OCT_TRY(oct_file_open(path, &f));
    const oct_status st = ends_with(path, ".xz") ? read_xz(path, data, len)
                                                 : oct_file_slurp(&f, MAX_BYTES, data, len);
    oct_file_close(&f);
    return st;
}

/* ---- GGUF ---- */

static int32_t id_of(const struct oct_gguf *g, const char *key)
{
    uint64_t id;
    return oct_gguf_u64(g, key, &id) == OCT_OK && id < INT32_MAX ? (int32_t)id : -1;
}
static int switch_of(const struct oct_gguf *g, const char *key)
{
    bool on;
    return oct_gguf_bool(g, key, &on) == OCT_OK ? on : -1;
}
static const struct oct_gguf_kv *strings_of(const struct oct_gguf *g, const char *key)
{
    const struct oct_gguf_kv *kv = oct_gguf_find(g, key);
    return kv && kv->type == OCT_GGUF_ARRAY && kv->elem_type == OCT_GGUF_STRING ? kv : NULL;
}

static oct_status from_gguf(const struct oct_gguf *g, struct oct_tokenizer **out)
{
    struct oct_arena a = {0};
    struct oct_tokenizer_gguf v = {.bos = id_of(g, "tokenizer.ggml.bos_token_id"),
                                   .eos = id_of(g, "tokenizer.ggml.eos_token_id"),
                                   .unk = id_of(g, "tokenizer.ggml.unknown_token_id"),
                                   .pad = id_of(g, "tokenizer.ggml.padding_token_id"),
                                   .add_bos = switch_of(g, "tokenizer.ggml.add_bos_token"),
                                   .add_eos = switch_of(g, "tokenizer.ggml.add_eos_token"),
                                   .add_space_prefix =
                                       switch_of(g, "tokenizer.ggml.add_space_prefix")};
    struct oct_gguf_str model, pre;
    OCT_TRY(oct_gguf_str(g, "tokenizer.ggml.model", &model));
    v.model = model.data;
    v.pre = oct_gguf_str(g, "tokenizer.ggml.pre", &pre) == OCT_OK ? pre.data : NULL;
    const struct oct_gguf_kv *tokens = strings_of(g, "tokenizer.ggml.tokens");
    const struct oct_gguf_kv *merges = strings_of(g, "tokenizer.ggml.merges");
    const struct oct_gguf_kv *types = oct_gguf_find(g, "tokenizer.ggml.token_type");
    const struct oct_gguf_kv *scores = oct_gguf_find(g, "tokenizer.ggml.scores");
    if (!tokens) {
        return OCT_FAIL(OCT_E_NOTFOUND, "no vocabulary");
    }
    v.n_tokens = (uint32_t)tokens->n;
    v.n_merges = merges ? (uint32_t)merges->n : 0;
    const char **text = oct_arena_alloc(&a, (v.n_tokens + (size_t)v.n_merges) * sizeof *text);
    size_t *lens = oct_arena_alloc(&a, (v.n_tokens + (size_t)v.n_merges) * sizeof *lens);
    int32_t *type = oct_arena_alloc(&a, v.n_tokens * sizeof *type);
    float *score = oct_arena_alloc(&a, v.n_tokens * sizeof *score);
    oct_status st = OCT_OK;
    if (!text || !lens || !type || !score) {
        st = oct_no_memory("a vocabulary", v.n_tokens);
        goto done;
    }
    for (uint32_t i = 0; i < v.n_tokens; i++) {
        text[i] = tokens->v.strings[i].data;
        lens[i] = tokens->v.strings[i].len;
        int64_t t = 1;
        double s = 0;
        if (types) {
            OCT_TRY_GOTO(oct_gguf_array_i64(types, i, &t), st, done);
        }
        if (scores) {
            OCT_TRY_GOTO(oct_gguf_array_f64(scores, i, &s), st, done);
        }
        type[i] = (int32_t)t;
        score[i] = (float)s;
    }
    for (uint32_t i = 0; i < v.n_merges; i++) {
        text[v.n_tokens + i] = merges->v.strings[i].data;
        lens[v.n_tokens + i] = merges->v.strings[i].len;
    }
    v.tokens = text;
    v.token_lens = lens;
    v.merges = text + v.n_tokens;
    v.merge_lens = lens + v.n_tokens;
    v.types = types ? type : NULL;
    v.scores = scores ? score : NULL;
    st = oct_tokenizer_from_gguf(&v, out);
done:
    oct_arena_free(&a);
    return st;
}

oct_status vocab_file_open(const char *path, const char *config, struct oct_tokenizer **out)
{
    oct_status st;
    if (ends_with(path, ".gguf")) {
        struct oct_file f = {0};
        struct oct_gguf *g = NULL;
        OCT_TRY(oct_file_open(path, &f));
        OCT_TRY_GOTO(oct_gguf_open(&f, &g), st, done_gguf);
        st = from_gguf(g, out);
        oct_gguf_close(g);
    done_gguf:
        oct_file_close(&f);
        return st;
    }
    char *json = NULL, *config_json = NULL;
    size_t len = 0, config_len = 0;
    OCT_TRY(vocab_file_read(path, &json, &len));
    if (config) {
        OCT_TRY_GOTO(vocab_file_read(config, &config_json, &config_len), st, done);
    }
    st = oct_tokenizer_from_json(json, len, config_json, config_len, out);
done:
    oct_free(json);
    oct_free(config_json);
    return st;
}
