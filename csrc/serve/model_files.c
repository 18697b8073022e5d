/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/model_files.h"

#include "base/json.h"

oct_status oct_model_files_open(const char *path, struct oct_model_files *out)
{
    struct oct_model_files m = {0};
    oct_status st;
    OCT_TRY_GOTO(oct_source_open(path, &m.source), st, fail);
    OCT_TRY_GOTO(oct_config_load(m.source, &m.config), st, fail);
    OCT_TRY_GOTO(oct_vocab_load(m.source, &m.config, &m.vocab), st, fail);
    *out = m;
    return OCT_OK;
fail:
    oct_model_files_close(&m);
    return st;
}

void oct_model_files_close(struct oct_model_files *m)
{
    oct_vocab_destroy(m->vocab);
    oct_source_close(m->source);
    *m = (struct oct_model_files){0};
}

void oct_model_chat_close(struct oct_model_chat *m)
{
    oct_templates_deinit(&m->templates);
    oct_free(m->bos_text);
    oct_free(m->eos_text);
    *m = (struct oct_model_chat){0};
}

static oct_status chat_of_directory(const char *path, struct oct_model_chat *m)
{
    json_t *config = NULL;
    bool said;
    oct_status st =
        oct_json_load(path, "tokenizer_config.json", OCT_JSON_MAX_CONFIG_BYTES, &config);
    if (st == OCT_E_NOTFOUND) {
        oct_error_clear();
        st = OCT_OK;
    }
    OCT_TRY(st);
    OCT_TRY_GOTO(oct_vocab_token_text(path, config, "bos_token", &m->bos_text, &said), st, done);
    OCT_TRY_GOTO(oct_vocab_token_text(path, config, "eos_token", &m->eos_text, &said), st, done);
    st = oct_templates_load_hf(path, config, &m->templates);
done:
    json_decref(config);
    return st;
}

/* The token whose id stands under `key`; nothing happens if there is none. */
static oct_status gguf_token(const struct oct_gguf *g, const char *key, char **out)
{
    const struct oct_gguf_kv *tokens = oct_gguf_find(g, "tokenizer.ggml.tokens");
    uint64_t id;
    const oct_status st = oct_gguf_u64(g, key, &id);
    if (st == OCT_E_NOTFOUND) {
        oct_error_clear();
        return OCT_OK;
    }
    OCT_TRY(st);
    if (!tokens || tokens->type != OCT_GGUF_ARRAY || tokens->elem_type != OCT_GGUF_STRING ||
        id >= tokens->n) {
        return OCT_FAIL(OCT_E_FORMAT, "key \"%s\" is %llu, which is no token of the file", key,
                        (unsigned long long)id);
    }
    *out = oct_strndup(tokens->v.strings[id].data, tokens->v.strings[id].len);
    return *out ? OCT_OK : oct_no_memory("a token's text", tokens->v.strings[id].len + 1);
}

static oct_status chat_of_gguf(const char *path, struct oct_model_chat *m)
{
    struct oct_source *s = NULL;
    OCT_TRY(oct_source_open(path, &s));
    OCT_ASSERT(s->gguf); /* it is a file */
    oct_status st = gguf_token(s->gguf, "tokenizer.ggml.bos_token_id", &m->bos_text);
    if (st == OCT_OK) {
        st = gguf_token(s->gguf, "tokenizer.ggml.eos_token_id", &m->eos_text);
    }
    if (st != OCT_OK) {
        oct_error_prefix("%s", path);
    } else {
        st = oct_templates_load_gguf(path, s->gguf, &m->templates);
    }
    oct_source_close(s);
    return st;
}

oct_status oct_model_chat_open(const char *path, struct oct_model_chat *out)
{
    struct oct_model_chat m = {0};
    bool is_dir;
    OCT_TRY(oct_path_kind(path, &is_dir));
    const oct_status st = is_dir ? chat_of_directory(path, &m) : chat_of_gguf(path, &m);
    if (st != OCT_OK) {
        oct_model_chat_close(&m);
        return st;
    }
    *out = m;
    return OCT_OK;
}
