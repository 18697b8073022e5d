/* SPDX-License-Identifier: Apache-2.0
 *
 * text_calls.c - /tokenize and /detokenize, in vLLM's shapes. They are calls whose whole answer is
 * made by the worker. */
#include "api/call.h"
#include "api/json_text.h"

#include <string.h>

enum { MAX_IDS = 1 << 20 };

/* ---- fields ---- */

static oct_status refuse_others(const json_t *body, const char *const *known, size_t n)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)body, key, value)
    {
        bool found = json_is_null(value);
        for (size_t i = 0; i < n; i++) {
            found = found || !strcmp(key, known[i]);
        }
        if (!found) {
            char shown[96];
            oct_error_quote(shown, sizeof shown, key, strlen(key));
            return OCT_FAIL(OCT_E_ARG, "there is no field \"%s\"", shown);
        }
    }
    return OCT_OK;
}

static oct_status read_flag(const json_t *body, const char *field, bool *out)
{
    const json_t *v = json_object_get(body, field);
    if (v && !json_is_null(v)) {
        if (!json_is_boolean(v)) {
            return OCT_FAIL(OCT_E_ARG, "%s must be true or false", field);
        }
        *out = json_is_true(v);
    }
    return OCT_OK;
}

static oct_status read_model(struct oct_call *c, const json_t *body)
{
    const json_t *v = json_object_get(body, "model");
    if (v && !json_is_null(v) && !json_is_string(v)) {
        return OCT_FAIL(OCT_E_ARG, "model must be a string");
    }
    return oct_call_check_model(c->api, json_string_value(v), &c->model);
}

/* ---- /tokenize ---- */

/* A conversation: the fields of a chat that matter for its prompt are checked by its own parser. */
static oct_status tokenize_chat(struct oct_call *c, const json_t *body, int32_t **ids, size_t *n)
{
    static const char *const fields[] = {"messages", "tools", "add_generation_prompt",
                                         "chat_template_kwargs", "continue_final_message"};
    json_t *chat = json_object();
    bool ok = chat != NULL;
    for (size_t i = 0; ok && i < sizeof fields / sizeof *fields; i++) {
        json_t *v = json_object_get(body, fields[i]);
        ok = !v || json_object_set(chat, fields[i], v) == 0;
    }
    struct oct_openai_request r = {0};
    oct_status st =
        ok ? oct_openai_parse(OCT_OPENAI_CHAT, chat, &r) : oct_no_memory("a conversation", 1);
    json_decref(chat);
    OCT_TRY(st);
    st = oct_openai_prompt(c->api->engine, &r, 0, ids, n);
    oct_openai_request_deinit(&r);
    return st;
}

static oct_status tokenize_text(struct oct_call *c, const json_t *body, int32_t **ids, size_t *n)
{
    const json_t *prompt = json_object_get(body, "prompt");
    bool special = true;
    OCT_TRY(read_flag(body, "add_special_tokens", &special));
    if (!json_is_string(prompt)) {
        return OCT_FAIL(OCT_E_ARG, "prompt must be a text, or messages a conversation");
    }
    return oct_engine_tokenize(
        c->api->engine, json_string_value(prompt), json_string_length(prompt),
        OCT_TOKENIZE_SPECIAL | (special ? (unsigned)OCT_TOKENIZE_BOS_EOS : 0), ids, n);
}

/* {"count", "max_model_len", "tokens": [...], "token_strs": [...] or null} */
static oct_status write_tokens(struct oct_call *c, const int32_t *ids, size_t n, bool strings)
{
    struct oct_buf *out = &c->reply;
    OCT_TRY(oct_buf_printf(out, "{\"count\":%zu,\"max_model_len\":%d,\"tokens\":[", n,
                           c->api->info.max_model_len));
    for (size_t i = 0; i < n; i++) {
        OCT_TRY(oct_buf_printf(out, i ? ",%d" : "%d", ids[i]));
    }
    OCT_TRY(oct_buf_printf(out, strings ? "],\"token_strs\":[" : "],\"token_strs\":null}"));
    for (size_t i = 0; strings && i < n; i++) {
        char *text;
        size_t len;
        OCT_TRY(oct_engine_detokenize(c->api->engine, &ids[i], 1, true, &text, &len));
        oct_status st = oct_buf_append(out, ",", i ? 1 : 0);
        st = st == OCT_OK ? oct_json_text(out, text, len) : st;
        oct_buffer_free(text);
        OCT_TRY(st);
    }
    return strings ? oct_buf_append(out, "]}", 2) : OCT_OK;
}

static oct_status parse_tokenize(struct oct_call *c, json_t *body)
{
    static const char *const known[] = {"model",
                                        "prompt",
                                        "messages",
                                        "add_special_tokens",
                                        "return_token_strs",
                                        "tools",
                                        "add_generation_prompt",
                                        "continue_final_message",
                                        "chat_template_kwargs"};
    bool strings = false;
    int32_t *ids = NULL;
    size_t n = 0;
    OCT_TRY(refuse_others(body, known, sizeof known / sizeof *known));
    OCT_TRY(read_model(c, body));
    OCT_TRY(read_flag(body, "return_token_strs", &strings));
    OCT_TRY(json_object_get(body, "messages") ? tokenize_chat(c, body, &ids, &n)
                                              : tokenize_text(c, body, &ids, &n));
    const oct_status st = write_tokens(c, ids, n, strings);
    oct_buffer_free(ids);
    return st;
}

/* ---- /detokenize ---- */

static oct_status write_text(struct oct_call *c, const int32_t *ids, size_t n)
{
    char *text;
    size_t len;
    OCT_TRY(oct_engine_detokenize(c->api->engine, ids, n, true, &text, &len));
    oct_status st = oct_buf_printf(&c->reply, "{\"prompt\":");
    st = st == OCT_OK ? oct_json_text(&c->reply, text, len) : st;
    oct_buffer_free(text);
    return st == OCT_OK ? oct_buf_append(&c->reply, "}", 1) : st;
}

static oct_status parse_detokenize(struct oct_call *c, json_t *body)
{
    static const char *const known[] = {"model", "tokens"};
    const json_t *tokens = json_object_get(body, "tokens");
    const size_t n = json_array_size(tokens);
    OCT_TRY(refuse_others(body, known, sizeof known / sizeof *known));
    OCT_TRY(read_model(c, body));
    if (!json_is_array(tokens) || n > MAX_IDS) {
        return OCT_FAIL(OCT_E_ARG, "tokens must be a list of token ids");
    }
    int32_t *ids = oct_arena_alloc(&c->arena, (n ? n : 1) * sizeof *ids);
    if (!ids) {
        return oct_no_memory("token ids", n * sizeof *ids);
    }
    for (size_t i = 0; i < n; i++) {
        const json_t *v = json_array_get(tokens, i);
        if (!json_is_integer(v) || json_integer_value(v) < 0 ||
            json_integer_value(v) >= c->api->info.vocab_size) {
            return OCT_FAIL(OCT_E_ARG, "tokens[%zu] must be a token id between 0 and %d", i,
                            c->api->info.vocab_size - 1);
        }
        ids[i] = (int32_t)json_integer_value(v);
    }
    return write_text(c, ids, n);
}

static oct_status error(const struct oct_call *c, int http_status, const char *sentence,
                        bool in_stream, struct oct_buf *out)
{
    (void)c, (void)in_stream;
    return oct_openai_write_error(http_status, sentence, out);
}

const struct oct_format oct_format_tokenize = {.whole_type = "application/json",
                                               .id_prefix = "tokenize-",
                                               .parse = parse_tokenize,
                                               .error = error};
const struct oct_format oct_format_detokenize = {.whole_type = "application/json",
                                                 .id_prefix = "detokenize-",
                                                 .parse = parse_detokenize,
                                                 .error = error};
