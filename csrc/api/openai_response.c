/* SPDX-License-Identifier: Apache-2.0 */
#include "api/openai.h"

#include "api/json_text.h"
#include "base/json.h"

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

static oct_status take_prompt(answer *a, const struct oct_event *ev)
{
    const size_t n = (size_t)ev->n_prompt_tokens, n_top = n * (size_t)ev->n_prompt_top;
    a->prompt = oct_malloc(n * sizeof *a->prompt);
    a->prompt_top = oct_malloc(n_top * sizeof *a->prompt_top);
    if (!a->prompt || !a->prompt_top) {
        return oct_no_memory("the prompt's log probabilities", (n + n_top) * sizeof *a->prompt);
    }
    memcpy(a->prompt, ev->prompt_logprobs, n * sizeof *a->prompt);
    if (n_top > 0) {
        memcpy(a->prompt_top, ev->prompt_top, n_top * sizeof *a->prompt_top);
    }
    a->n_prompt_top = ev->n_prompt_top;
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
        if (a->status == OCT_OK && ev->n_prompt_top >= 0 && !a->prompt) {
            a->status = take_prompt(a, ev);
        }
        error = oct_last_error();
    }
    if (a->status != OCT_OK) {
        (void)snprintf(a->error, sizeof a->error, "%s",
                       error && *error ? error : oct_status_text(a->status));
    }
}

size_t oct_openai_answer_flush(struct oct_openai_answer *a)
{
    const size_t chars = oct_utf8_chars(a->text.data, a->text.len);
    oct_buf_clear(&a->text);
    a->n_tokens = a->n_tops = 0;
    return chars;
}

void oct_openai_answer_deinit(struct oct_openai_answer *a)
{
    oct_buf_free(&a->text);
    oct_free(a->tokens);
    oct_free(a->top);
    oct_free(a->prompt);
    oct_free(a->prompt_top);
    *a = (struct oct_openai_answer){0};
}

/* ---- the whole ---- */

static oct_status put(struct oct_buf *out, const char *s)
{
    return oct_buf_append(out, s, strlen(s));
}

/* "null" while it runs. */
static const char *finish_reason(oct_finish f)
{
    switch (f) {
    case OCT_FINISH_NONE:
        return "null";
    case OCT_FINISH_STOP:
        return "\"stop\"";
    case OCT_FINISH_LENGTH:
        return "\"length\"";
    case OCT_FINISH_CANCELLED:
    case OCT_FINISH_ERROR:
        break;
    }
    OCT_ASSERT(false); /* these end as errors */
    return "";
}

/* {"id": ..., "choices": [ */
static oct_status write_head(const struct oct_openai_head *h, const char *object,
                             struct oct_buf *out)
{
    OCT_TRY(oct_buf_printf(out, "{\"id\":\"%s\",\"object\":\"%s\",\"created\":%lld,\"model\":",
                           h->id, object, (long long)h->created_s));
    OCT_TRY(oct_json_text(out, h->model, strlen(h->model)));
    return put(out, ",\"choices\":[");
}

static oct_status write_usage(const struct oct_openai_head *h, struct oct_buf *out)
{
    OCT_TRY(oct_buf_printf(
        out, ",\"usage\":{\"prompt_tokens\":%lld,\"completion_tokens\":%lld,\"total_tokens\":%lld",
        (long long)h->n_prompt, (long long)h->n_output, (long long)(h->n_prompt + h->n_output)));
    if (h->n_cached >= 0) {
        OCT_TRY(oct_buf_printf(out, ",\"prompt_tokens_details\":{\"cached_tokens\":%lld}",
                               (long long)h->n_cached));
    }
    return put(out, "}");
}

/* The newer name of vLLM's, and the older one that most clients know. */
static oct_status write_thought(const struct oct_openai_choice *c, struct oct_buf *out)
{
    OCT_TRY(put(out, "\"reasoning_content\":"));
    OCT_TRY(oct_json_text(out, c->thought, c->thought_len));
    OCT_TRY(put(out, ",\"reasoning\":"));
    return oct_json_text(out, c->thought, c->thought_len);
}

static oct_status write_message(const struct oct_openai_choice *c, struct oct_buf *out)
{
    OCT_TRY(put(out, "\"message\":{\"role\":\"assistant\",\"content\":"));
    OCT_TRY(oct_json_text(out, c->text, c->len));
    if (c->thought) {
        OCT_TRY(put(out, ","));
        OCT_TRY(write_thought(c, out));
    }
    return put(out, "}");
}

/* Members that are not there have not changed. */
static oct_status write_delta(const struct oct_openai_choice *c, bool begin, struct oct_buf *out)
{
    OCT_TRY(put(out, "\"delta\":{"));
    if (begin) {
        OCT_TRY(put(out, "\"role\":\"assistant\",\"content\":\"\""));
    } else {
        if (c->thought_len > 0) {
            OCT_TRY(write_thought(c, out));
        }
        if (c->len > 0 || (c->thought_len == 0 && c->answer->finish == OCT_FINISH_NONE)) {
            OCT_TRY(put(out, c->thought_len > 0 ? ",\"content\":" : "\"content\":"));
            OCT_TRY(oct_json_text(out, c->text, c->len));
        }
    }
    return put(out, "}");
}

static oct_status write_text(const struct oct_openai_choice *c, struct oct_buf *out)
{
    OCT_TRY(put(out, "\"text\":"));
    return oct_json_text(out, c->text, c->len);
}

oct_status oct_openai_write(const oct_engine *e, const struct oct_openai_head *h,
                            const struct oct_openai_choice *choices, size_t n, struct oct_buf *out)
{
    OCT_TRY(write_head(h, h->is_chat ? "chat.completion" : "text_completion", out));
    for (size_t i = 0; i < n; i++) {
        const struct oct_openai_choice *c = &choices[i];
        OCT_TRY(oct_buf_printf(out, "%s{\"index\":%d,", i ? "," : "", c->index));
        OCT_TRY(h->is_chat ? write_message(c, out) : write_text(c, out));
        OCT_TRY(put(out, ",\"logprobs\":"));
        OCT_TRY(oct_openai_write_logprobs(e, h->is_chat, c, out));
        OCT_TRY(oct_buf_printf(out, ",\"finish_reason\":%s}", finish_reason(c->answer->finish)));
    }
    OCT_TRY(put(out, "]"));
    OCT_TRY(write_usage(h, out));
    return put(out, "}");
}

oct_status oct_openai_write_chunk(const oct_engine *e, const struct oct_openai_head *h,
                                  const struct oct_openai_choice *c, bool begin, int usage,
                                  struct oct_buf *out)
{
    OCT_TRY(put(out, "data: "));
    OCT_TRY(write_head(h, h->is_chat ? "chat.completion.chunk" : "text_completion", out));
    if (c) {
        OCT_TRY(oct_buf_printf(out, "{\"index\":%d,", c->index));
        OCT_TRY(h->is_chat ? write_delta(c, begin, out) : write_text(c, out));
        OCT_TRY(put(out, ",\"logprobs\":"));
        OCT_TRY(begin ? put(out, "null") : oct_openai_write_logprobs(e, h->is_chat, c, out));
        OCT_TRY(oct_buf_printf(out, ",\"finish_reason\":%s}",
                               begin ? "null" : finish_reason(c->answer->finish)));
    }
    OCT_TRY(put(out, "]"));
    OCT_TRY(usage == 2 ? write_usage(h, out) : usage == 1 ? put(out, ",\"usage\":null") : OCT_OK);
    return put(out, "}\n\n");
}

oct_status oct_openai_response(const oct_engine *e, const struct oct_openai_request *r,
                               const struct oct_openai_answer *a, const char *model, const char *id,
                               int64_t created_s, json_t **out)
{
    const struct oct_openai_head h = {.is_chat = r->kind == OCT_OPENAI_CHAT,
                                      .id = id,
                                      .created_s = created_s,
                                      .model = model,
                                      .n_prompt = a->n_prompt,
                                      .n_output = a->n_output,
                                      .n_cached = -1};
    const struct oct_openai_choice c = {
        .answer = a, .text = a->text.data, .len = a->text.len, .logprobs = r->n_top >= 0};
    struct oct_buf text = {0};
    oct_status st = oct_openai_write(e, &h, &c, 1, &text);
    if (st == OCT_OK) {
        st = oct_json_parse(text.data, text.len, "a response", OCT_JSON_MAX_DEPTH, OCT_JSON_NUL,
                            out);
    }
    oct_buf_free(&text);
    return st;
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

static const char *error_type(int code)
{
    return code == 401                 ? "authentication_error"
           : code == 403               ? "permission_error"
           : code == 429               ? "rate_limit_error"
           : code < 500 || code == 501 ? "invalid_request_error"
                                       : "server_error";
}

oct_status oct_openai_write_error(int code, const char *message, struct oct_buf *out)
{
    OCT_TRY(put(out, "{\"error\":{\"message\":"));
    OCT_TRY(oct_json_text(out, message, strlen(message)));
    return oct_buf_printf(out, ",\"type\":\"%s\",\"param\":null,\"code\":%d}}", error_type(code),
                          code);
}

oct_status oct_openai_error(oct_status st, const char *message, json_t **out)
{
    const int code = oct_openai_http_code(st);
    json_t *o = json_pack("{s:{s:s, s:s, s:n, s:i}}", "error", "message", message, "type",
                          error_type(code), "param", "code", code);
    if (!o) {
        return oct_no_memory("an error", strlen(message));
    }
    *out = o;
    return OCT_OK;
}
