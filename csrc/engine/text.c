/* SPDX-License-Identifier: Apache-2.0
 *
 * text.c - the text calls of octavo.h: tokenize, detokenize, chat prompt. They touch only what is
 * immutable once the engine is open, so any thread may call them. */
#include "engine/engine.h"

#include "base/json.h"
#include "base/mem.h"

#include <string.h>

oct_status oct_engine_tokenize(const oct_engine *e, const char *text, size_t len, unsigned flags,
                               int32_t **ids, size_t *n)
{
    struct oct_ids list = {0};
    unsigned f = 0;
    f |= flags & OCT_TOKENIZE_SPECIAL ? (unsigned)OCT_ENCODE_SPECIAL : 0u;
    f |= flags & OCT_TOKENIZE_BOS_EOS ? (unsigned)OCT_ENCODE_BOS_EOS : 0u;
    const oct_status st = oct_tokenizer_encode(e->vocab->tokenizer, text, len, f, &list);
    if (st != OCT_OK) {
        oct_ids_free(&list);
        return st;
    }
    if (!list.data) { /* an empty text still gives a buffer to free */
        list.data = oct_malloc(0);
        if (!list.data) {
            return oct_no_memory("token ids", 0);
        }
    }
    *ids = list.data;
    *n = list.len;
    return OCT_OK;
}

/* Hands the buffer's memory to the caller, never NULL. */
static oct_status give_away(struct oct_buf *b, oct_status st, char **text, size_t *len)
{
    if (st == OCT_OK) {
        st = oct_buf_reserve(b, 0);
    }
    if (st != OCT_OK) {
        oct_buf_free(b);
        return st;
    }
    *text = b->data;
    *len = b->len;
    return OCT_OK;
}

oct_status oct_engine_detokenize(const oct_engine *e, const int32_t *ids, size_t n,
                                 bool keep_special, char **text, size_t *len)
{
    const int32_t n_tokens = oct_tokenizer_n_tokens(e->vocab->tokenizer);
    for (size_t i = 0; i < n; i++) {
        if (ids[i] < 0 || ids[i] >= n_tokens) {
            return OCT_FAIL(OCT_E_ARG, "token %zu is %d; ids go from 0 to %d", i, ids[i],
                            n_tokens - 1);
        }
    }
    struct oct_buf b = {0};
    const oct_status st = oct_tokenizer_decode(e->vocab->tokenizer, ids, n, !keep_special, &b);
    return give_away(&b, st, text, len);
}

/* A JSON text of a request; *out is the caller's. */
static oct_status parse(const char *what, const char *text, bool list, json_t **out)
{
    json_t *j;
    const oct_status st =
        oct_json_parse(text, strlen(text), what, OCT_JSON_MAX_DEPTH, OCT_JSON_NUL, &j);
    if (st != OCT_OK) {
        return st == OCT_E_FORMAT ? OCT_FAIL(OCT_E_ARG, "%s", oct_last_error()) : st;
    }
    if (list ? !json_is_array(j) : !json_is_object(j)) {
        json_decref(j);
        return OCT_FAIL(OCT_E_ARG, "%s: must be a JSON %s", what, list ? "list" : "object");
    }
    *out = j;
    return OCT_OK;
}

/* What transformers puts into a template's context, the caller's variables over it. */
static oct_status context(const oct_engine *e, json_t *messages, json_t *extra, json_t **out)
{
    json_t *vars = json_object();
    bool ok = vars && json_object_set(vars, "messages", messages) == 0 &&
              json_object_set_new(vars, "add_generation_prompt", json_true()) == 0;
    if (ok && e->vocab->bos_text) {
        ok = json_object_set_new(vars, "bos_token", json_string(e->vocab->bos_text)) == 0;
    }
    if (ok && e->vocab->eos_text) {
        ok = json_object_set_new(vars, "eos_token", json_string(e->vocab->eos_text)) == 0;
    }
    if (ok && extra) {
        ok = json_object_update(vars, extra) == 0;
    }
    if (!ok) {
        json_decref(vars);
        return oct_no_memory("the template's variables", 0);
    }
    *out = vars;
    return OCT_OK;
}

oct_status oct_engine_chat_prompt(const oct_engine *e, const char *messages_json,
                                  const char *vars_json, char **prompt, size_t *len)
{
    if (!e->chat) {
        return OCT_FAIL(OCT_E_UNSUPPORTED,
                        "the model has no chat template; send it plain text instead (--raw)");
    }
    oct_status st;
    json_t *messages = NULL, *extra = NULL, *vars = NULL;
    struct oct_buf b = {0};
    OCT_TRY_GOTO(parse("messages", messages_json, true, &messages), st, done);
    if (vars_json) {
        OCT_TRY_GOTO(parse("template variables", vars_json, false, &extra), st, done);
    }
    OCT_TRY_GOTO(context(e, messages, extra, &vars), st, done);
    st = give_away(&b, oct_template_render(e->chat, vars, -1, &b), prompt, len);
done:
    json_decref(messages);
    json_decref(extra);
    json_decref(vars);
    return st;
}

void oct_buffer_free(void *p)
{
    oct_free(p);
}
