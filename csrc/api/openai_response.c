/* SPDX-License-Identifier: Apache-2.0 */
#include "api/openai.h"

#include <stdio.h>
#include <string.h>

typedef struct oct_openai_answer answer;

/* Room for one more of items of `size` bytes. */
static bool grow(void **items, size_t n, size_t more, size_t *cap, size_t size)
{
    if (n + more <= *cap) {
        return true;
    }
    const size_t wanted = 2 * (n + more);
    void *p = oct_realloc_array(*items, wanted, size);
    if (!p) {
        return false;
    }
    *items = p;
    *cap = wanted;
    return true;
}

static oct_status take_token(answer *a, const struct oct_event *ev)
{
    void *tokens = a->tokens, *top = a->top;
    const bool ok = grow(&tokens, a->n_tokens, 1, &a->cap_tokens, sizeof *a->tokens);
    a->tokens = tokens;
    if (!ok || !grow(&top, a->n_tops, (size_t)ev->n_top, &a->cap_tops, sizeof *a->top)) {
        return oct_no_memory("log probabilities", a->n_tokens * sizeof *a->tokens);
    }
    a->top = top;
    if (ev->n_top > 0) {
        memcpy(a->top + a->n_tops, ev->top, (size_t)ev->n_top * sizeof *a->top);
    }
    a->n_tops += (size_t)ev->n_top;
    a->tokens[a->n_tokens].token = ev->token;
    a->tokens[a->n_tokens].n_top = ev->n_top;
    a->tokens[a->n_tokens].logprob = ev->logprob;
    a->tokens[a->n_tokens++].text_end = a->text.len;
    return OCT_OK;
}

void oct_openai_take(struct oct_openai_answer *a, const struct oct_event *ev, bool logprobs)
{
    a->finish = ev->finish;
    a->n_prompt = ev->n_prompt_tokens;
    a->n_output = ev->n_output_tokens;
    if (a->status != OCT_OK) {
        return; /* the first cause counts */
    }
    const char *error = ev->error;
    a->status = ev->status;
    if (a->status == OCT_OK) {
        a->status = oct_buf_append(&a->text, ev->text, ev->text_len);
        if (a->status == OCT_OK && logprobs && ev->token >= 0) {
            a->status = take_token(a, ev);
        }
        error = oct_last_error();
    }
    if (a->status != OCT_OK) {
        (void)snprintf(a->error, sizeof a->error, "%s",
                       error && *error ? error : oct_status_text(a->status));
    }
}

void oct_openai_answer_deinit(struct oct_openai_answer *a)
{
    oct_buf_free(&a->text);
    oct_free(a->tokens);
    oct_free(a->top);
    *a = (struct oct_openai_answer){0};
}

/* ---- log probabilities ---- */

/* Takes over *value; NULL is a failed allocation. */
static oct_status set(json_t *o, const char *key, json_t *value)
{
    return json_object_set_new(o, key, value) == 0 ? OCT_OK : oct_no_memory("a response", 1);
}

static oct_status push(json_t *list, json_t *value)
{
    return json_array_append_new(list, value) == 0 ? OCT_OK : oct_no_memory("a response", 1);
}

/* The text of one token, and its bytes as a list. *list may be NULL. */
static oct_status token_text(const oct_engine *e, int32_t token, char **text, size_t *len,
                             json_t **list)
{
    OCT_TRY(oct_engine_detokenize(e, &token, 1, true, text, len));
    if (list) {
        json_t *bytes = json_array();
        oct_status st = bytes ? OCT_OK : oct_no_memory("a response", 1);
        for (size_t i = 0; st == OCT_OK && i < *len; i++) {
            st = push(bytes, json_integer((unsigned char)(*text)[i]));
        }
        if (st != OCT_OK) {
            json_decref(bytes);
            oct_buffer_free(*text);
            return st;
        }
        *list = bytes;
    }
    return OCT_OK;
}

/* {"token", "logprob", "bytes"} */
static oct_status chat_token(const oct_engine *e, int32_t token, float logprob, json_t **out)
{
    char *text;
    size_t len;
    json_t *bytes;
    OCT_TRY(token_text(e, token, &text, &len, &bytes));
    json_t *o = json_pack("{s:s%, s:f, s:o}", "token", text, len, "logprob", (double)logprob,
                          "bytes", bytes);
    oct_buffer_free(text);
    *out = o;
    return o ? OCT_OK : oct_no_memory("a response", len);
}

/* {"content": [{..., "top_logprobs": [...]}, ...]} */
static oct_status chat_logprobs(const oct_engine *e, const answer *a, json_t *content)
{
    size_t at = 0;
    for (size_t i = 0; i < a->n_tokens; i++) {
        json_t *token = NULL;
        OCT_TRY(chat_token(e, a->tokens[i].token, a->tokens[i].logprob, &token));
        OCT_TRY(push(content, token)); /* owned by content from here on, as list is by token */
        json_t *list = json_array();
        OCT_TRY(set(token, "top_logprobs", list));
        for (int32_t t = 0; t < a->tokens[i].n_top; t++, at++) {
            json_t *other = NULL;
            OCT_TRY(chat_token(e, a->top[at].token, a->top[at].logprob, &other));
            OCT_TRY(push(list, other));
        }
    }
    return OCT_OK;
}

static oct_status set_by_token(const oct_engine *e, json_t *o, int32_t token, float logprob)
{
    char *text;
    size_t len;
    OCT_TRY(token_text(e, token, &text, &len, NULL));
    json_t *value = json_real((double)logprob);
    const oct_status st =
        json_object_setn_new(o, text, len, value) == 0 ? OCT_OK : oct_no_memory("a response", len);
    oct_buffer_free(text);
    return st;
}

/* {"tokens": [...], "token_logprobs": [...], "top_logprobs": [{...}], "text_offset": [...]} */
static oct_status text_logprobs(const oct_engine *e, const answer *a, json_t *o)
{
    json_t *tokens = json_array(), *logprobs = json_array(), *top = json_array(),
           *offsets = json_array();
    /* o owns them from here on, those too that come after a failure */
    const oct_status owned[] = {set(o, "tokens", tokens), set(o, "token_logprobs", logprobs),
                                set(o, "top_logprobs", top), set(o, "text_offset", offsets)};
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++) {
        OCT_TRY(owned[i]);
    }
    size_t at = 0, offset = 0;
    for (size_t i = 0; i < a->n_tokens; i++) {
        char *text;
        size_t len;
        OCT_TRY(token_text(e, a->tokens[i].token, &text, &len, NULL));
        json_t *s = json_stringn(text, len);
        oct_buffer_free(text);
        OCT_TRY(push(tokens, s));
        OCT_TRY(push(logprobs, json_real((double)a->tokens[i].logprob)));
        OCT_TRY(push(offsets, json_integer((json_int_t)offset)));
        offset = a->tokens[i].text_end;
        json_t *others = json_object();
        OCT_TRY(push(top, others));
        for (int32_t t = 0; t < a->tokens[i].n_top; t++, at++) {
            OCT_TRY(set_by_token(e, others, a->top[at].token, a->top[at].logprob));
        }
    }
    return OCT_OK;
}

/* ---- the whole ---- */

static const char *finish_reason(oct_finish f)
{
    switch (f) {
    case OCT_FINISH_STOP:
        return "stop";
    case OCT_FINISH_LENGTH:
        return "length";
    case OCT_FINISH_NONE:
    case OCT_FINISH_CANCELLED:
    case OCT_FINISH_ERROR:
        break;
    }
    OCT_ASSERT(false); /* these end as errors */
    return "";
}

static oct_status fill_choice(const oct_engine *e, const struct oct_openai_request *r,
                              const answer *a, json_t *choice)
{
    const bool chat = r->kind == OCT_OPENAI_CHAT;
    const char *text = a->text.data ? a->text.data : "";
    OCT_TRY(set(choice, "index", json_integer(0)));
    OCT_TRY(chat ? set(choice, "message",
                       json_pack("{s:s, s:s%}", "role", "assistant", "content", text, a->text.len))
                 : set(choice, "text", json_stringn(text, a->text.len)));
    json_t *logprobs = r->n_top < 0 ? json_null() : json_object();
    OCT_TRY(set(choice, "logprobs", logprobs));
    if (r->n_top >= 0 && chat) {
        json_t *content = json_array();
        OCT_TRY(set(logprobs, "content", content));
        OCT_TRY(chat_logprobs(e, a, content));
    } else if (r->n_top >= 0) {
        OCT_TRY(text_logprobs(e, a, logprobs));
    }
    return set(choice, "finish_reason", json_string(finish_reason(a->finish)));
}

oct_status oct_openai_response(const oct_engine *e, const struct oct_openai_request *r,
                               const struct oct_openai_answer *a, const char *model, const char *id,
                               int64_t created_s, json_t **out)
{
    const bool chat = r->kind == OCT_OPENAI_CHAT;
    json_t *choice = json_object();
    json_t *o = choice
                    ? json_pack("{s:s, s:s, s:I, s:s, s:[O], s:{s:i, s:i, s:i}}", "id", id,
                                "object", chat ? "chat.completion" : "text_completion", "created",
                                (json_int_t)created_s, "model", model, "choices", choice, "usage",
                                "prompt_tokens", a->n_prompt, "completion_tokens", a->n_output,
                                "total_tokens", a->n_prompt + a->n_output)
                    : NULL;
    const oct_status st =
        o ? fill_choice(e, r, a, choice) : oct_no_memory("a response", a->text.len);
    json_decref(choice);
    if (st != OCT_OK) {
        json_decref(o);
        return st;
    }
    *out = o;
    return OCT_OK;
}

int oct_openai_http_code(oct_status st)
{
    switch (st) {
    case OCT_OK:
        return 200;
    case OCT_E_ARG:
    case OCT_E_FORMAT:
    case OCT_E_LIMIT:
        return 400;
    case OCT_E_NOTFOUND:
        return 404;
    case OCT_E_BUSY:
        return 429;
    case OCT_E_CANCELLED:
        return 499;
    case OCT_E_UNSUPPORTED:
        return 501;
    case OCT_E_DEVICE:
    case OCT_E_MEM:
        return 503;
    case OCT_E_DEADLINE:
        return 504;
    case OCT_E_IO:
    case OCT_E_NUMERIC:
        break;
    }
    return 500;
}

oct_status oct_openai_error(oct_status st, const char *message, json_t **out)
{
    const int code = oct_openai_http_code(st);
    const char *type = code == 400 || code == 404 || code == 501 ? "invalid_request_error"
                       : code == 429                             ? "rate_limit_error"
                                                                 : "server_error";
    json_t *o = json_pack("{s:{s:s, s:s, s:n, s:i}}", "error", "message", message, "type", type,
                          "param", "code", code);
    if (!o) {
        return oct_no_memory("an error", strlen(message));
    }
    *out = o;
    return OCT_OK;
}
