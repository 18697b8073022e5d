/* SPDX-License-Identifier: Apache-2.0
 *
 * bench_client_answer.c - a token has come when an event holds some text. vLLM's client also counts
 * events without any, such as the one that only names the role, which servers send before there is
 * a token. */
#include "serve/bench_client_answer.h"

#include "base/json.h"

#include <stdio.h>
#include <string.h>

enum {
    MAX_EVENT_BYTES = 4 << 20, /* one token with all its alternatives is far below */
    MAX_BODY_BYTES = 16 << 20,
    MAX_TEXT_BYTES = 64 << 20,
    MAX_EVENTS = 1 << 24, /* of one answer */
    MAX_DEPTH = 16,
};

void oct_sse_init(struct oct_sse *s)
{
    s->line.max_bytes = s->data.max_bytes = MAX_EVENT_BYTES;
}

void oct_sse_reset(struct oct_sse *s)
{
    oct_buf_clear(&s->line);
    oct_buf_clear(&s->data);
}

void oct_sse_deinit(struct oct_sse *s)
{
    oct_buf_free(&s->line);
    oct_buf_free(&s->data);
}

__attribute__((format(printf, 2, 3))) static int fail(struct oct_call *call, const char *fmt, ...)
{
    char text[OCT_CALL_ERROR_BYTES];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    oct_error_quote(call->error, sizeof call->error, text, strlen(text));
    return 1;
}

/* ---- JSON ---- */

static void take_usage(const json_t *o, struct oct_call *call)
{
    const json_t *usage = json_object_get(o, "usage");
    const json_t *prompt = json_object_get(usage, "prompt_tokens");
    const json_t *output = json_object_get(usage, "completion_tokens");
    if (json_is_integer(prompt)) {
        call->n_prompt = json_integer_value(prompt);
    }
    if (json_is_integer(output)) {
        call->n_output = json_integer_value(output);
    }
}

/* {"error": {"message"}} or {"error": "..."} or {"message"}; NULL: no error in it. */
static const char *error_of(const json_t *o)
{
    const json_t *e = json_object_get(o, "error");
    const json_t *text = json_is_object(e) ? json_object_get(e, "message") : e;
    if (json_is_string(text)) {
        return json_string_value(text);
    }
    return json_is_object(e) ? "an error without a message" : NULL;
}

static int take_text(const char *text, size_t len, struct oct_call *call)
{
    call->text.max_bytes = MAX_TEXT_BYTES;
    if (call->keep_text && oct_buf_append(&call->text, text, len) != OCT_OK) {
        return fail(call, "%s", oct_last_error());
    }
    return 0;
}

/* The text of a choice's event, or NULL. A tool call is output too, though not of the text. */
static const json_t *text_of(const json_t *choice, bool *has_more)
{
    static const char *const names[] = {"content", "reasoning_content", "reasoning"};
    const json_t *delta = json_object_get(choice, "delta");
    if (!delta) {
        return json_object_get(choice, "text");
    }
    *has_more = json_array_size(json_object_get(delta, "tool_calls")) > 0;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const json_t *text = json_object_get(delta, names[i]);
        if (json_string_length(text) > 0) {
            return text;
        }
    }
    return NULL;
}

static int take_token(struct oct_call *call, int64_t now_us)
{
    if (call->n_chunks == MAX_EVENTS) {
        return fail(call, "the answer has more than %d events and no end", MAX_EVENTS);
    }
    if (call->n_chunks == 0) {
        call->first_us = now_us;
    } else {
        const size_t at = (size_t)call->n_chunks - 1;
        if (at == call->cap_gaps) {
            const size_t cap = call->cap_gaps ? 2 * call->cap_gaps : 64;
            float *grown = oct_realloc_array(call->gaps_ms, cap, sizeof *grown);
            if (!grown) {
                return fail(call, "no memory for the answer's times");
            }
            call->gaps_ms = grown;
            call->cap_gaps = cap;
        }
        call->gaps_ms[at] = (float)(now_us - call->token_us) / 1e3f;
    }
    call->token_us = now_us;
    call->n_chunks++;
    return 0;
}

static int take_choice(const json_t *choice, struct oct_call *call, int64_t now_us)
{
    bool has_more = false;
    const json_t *text = text_of(choice, &has_more);
    const size_t len = json_string_length(text);
    if (len > 0 || has_more) {
        if (take_token(call, now_us) || take_text(json_string_value(text), len, call)) {
            return 1;
        }
    }
    if (json_is_string(json_object_get(choice, "finish_reason"))) {
        call->saw_finish = true;
        call->first_us = call->first_us ? call->first_us : now_us; /* no token had a text */
    }
    call->last_us = call->first_us ? now_us : 0;
    return 0;
}

static int take_event(struct oct_sse *s, struct oct_call *call)
{
    json_t *o = NULL;
    if (s->data.len == 6 && !memcmp(s->data.data, "[DONE]", 6)) {
        call->saw_done = true;
        return 0;
    }
    if (oct_json_parse(s->data.data, s->data.len, "an event", MAX_DEPTH, OCT_JSON_NUL, &o) !=
        OCT_OK) {
        return fail(call, "%s", oct_last_error());
    }
    int failed = 0;
    const char *error = error_of(o);
    if (error) {
        call->saw_error = true;
        (void)fail(call, "%s", error);
    } else {
        const json_t *choice = json_array_get(json_object_get(o, "choices"), 0);
        failed = choice ? take_choice(choice, call, s->now_us) : 0;
        take_usage(o, call);
    }
    json_decref(o);
    return failed;
}

/* ---- events ---- */

static int take_line(struct oct_sse *s, const char *line, size_t len, struct oct_call *call)
{
    len -= len > 0 && line[len - 1] == '\r';
    if (len == 0) {
        const int failed = s->data.len > 0 ? take_event(s, call) : 0;
        oct_buf_clear(&s->data);
        return failed;
    }
    if (len < 5 || memcmp(line, "data:", 5) != 0) {
        return 0; /* a comment, or the event's name */
    }
    const size_t skip = len > 5 && line[5] == ' ' ? 6 : 5;
    if ((s->data.len > 0 && oct_buf_append(&s->data, "\n", 1) != OCT_OK) ||
        oct_buf_append(&s->data, line + skip, len - skip) != OCT_OK) {
        return fail(call, "an event is too long: %s", oct_last_error());
    }
    return 0;
}

int oct_sse_take(struct oct_sse *s, const char *at, size_t n, struct oct_call *call)
{
    while (n > 0) {
        const char *newline = memchr(at, '\n', n);
        const size_t len = newline ? (size_t)(newline - at) : n;
        if (!newline || s->line.len > 0) {
            if (oct_buf_append(&s->line, at, len) != OCT_OK) {
                return fail(call, "a line is too long: %s", oct_last_error());
            }
        }
        if (!newline) {
            return 0;
        }
        const bool kept = s->line.len > 0;
        if (take_line(s, kept ? s->line.data : at, kept ? s->line.len : len, call)) {
            return 1;
        }
        oct_buf_clear(&s->line);
        at += len + 1;
        n -= len + 1;
    }
    return 0;
}

int oct_body_take(struct oct_call *call, const char *at, size_t n)
{
    call->text.max_bytes = MAX_BODY_BYTES;
    return oct_buf_append(&call->text, at, n) == OCT_OK ? 0 : fail(call, "%s", oct_last_error());
}

void oct_body_error(struct oct_call *call)
{
    json_t *o = NULL;
    const char *why = NULL;
    const size_t len = call->text.len;
    if (len > 0 &&
        oct_json_parse(call->text.data, len, "the answer", MAX_DEPTH, OCT_JSON_NUL, &o) == OCT_OK) {
        why = error_of(o);
    }
    if (!why && json_is_string(json_object_get(o, "message"))) {
        why = json_string_value(json_object_get(o, "message"));
    }
    (void)fail(call, "HTTP %d: %.*s", call->status, why ? 160 : (int)(len < 100 ? len : 100),
               why       ? why
               : len > 0 ? call->text.data
                         : "");
    json_decref(o);
    oct_buf_free(&call->text);
}

void oct_call_deinit(struct oct_call *call)
{
    oct_free(call->gaps_ms);
    oct_buf_free(&call->text);
    call->gaps_ms = NULL;
}
