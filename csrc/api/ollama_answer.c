/* SPDX-License-Identifier: Apache-2.0
 *
 * ollama_answer.c - /api/generate and /api/chat as formats of a call: lines of JSON while the
 * answer grows, or one object. Times are nanoseconds; the model is always loaded, so load_duration
 * is 0. */
#include "api/ollama.h"

#include "api/call.h"
#include "api/json_text.h"
#include "base/clock.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

const char *oct_ollama_time(int64_t wall_s, char dst[OCT_OLLAMA_TIME_BYTES])
{
    const time_t t = (time_t)wall_s;
    struct tm tm;
    if (!gmtime_r(&t, &tm) ||
        strftime(dst, OCT_OLLAMA_TIME_BYTES, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0) {
        dst[0] = '\0';
    }
    return dst;
}

static oct_status put(struct oct_buf *out, const char *text)
{
    return oct_buf_append(out, text, strlen(text));
}

oct_status oct_ollama_write_error(const char *sentence, bool in_stream, struct oct_buf *out)
{
    OCT_TRY(put(out, "{\"error\":"));
    OCT_TRY(oct_json_text(out, sentence, strlen(sentence)));
    return put(out, in_stream ? "}\n" : "}");
}

/* ---- the body ---- */

/* The prompt, and how the answer begins. A strange prompt is all answer: nothing is split. */
static oct_status fill_ask(struct oct_call *c, struct oct_ollama_request *r)
{
    struct oct_openai_request *o = &r->openai;
    OCT_TRY(oct_call_alloc_prompts(c, 1));
    struct oct_prompt *p = &c->ask.prompts[0];
    OCT_TRY(oct_openai_prompt(c->api->engine, o, 0, &p->ids, &p->n));
    c->ask.sampling = o->sampling;
    c->ask.stream = r->stream;
    c->ask.keep_logprobs = o->n_top >= 0;
    return r->is_raw ? OCT_OK : oct_reasoning_begin(c->api, p->ids, p->n, &c->ask.thinking);
}

/* Who sends no prompt wants the model to be loaded, and it is. */
static oct_status reply_loaded(struct oct_call *c, const struct oct_ollama_request *r)
{
    char at[OCT_OLLAMA_TIME_BYTES];
    OCT_TRY(put(&c->reply, "{\"model\":"));
    OCT_TRY(oct_json_text(&c->reply, c->model, strlen(c->model)));
    return oct_buf_printf(
        &c->reply, ",\"created_at\":\"%s\",%s,\"done\":true,\"done_reason\":\"load\"}\n",
        oct_ollama_time(c->created_s, at),
        r->is_chat ? "\"message\":{\"role\":\"assistant\",\"content\":\"\"}" : "\"response\":\"\"");
}

static oct_status parse(struct oct_call *c, json_t *body, bool is_chat)
{
    struct oct_ollama_request *r = oct_arena_alloc(&c->arena, sizeof *r);
    if (!r) {
        return oct_no_memory("a request", sizeof *r);
    }
    OCT_TRY(oct_ollama_parse(is_chat, body, c->api->info.max_model_len, r));
    c->state = r;
    OCT_TRY(oct_ollama_check_model(c->api, r->model));
    c->model = r->model;
    return r->is_empty ? reply_loaded(c, r) : fill_ask(c, r);
}
static oct_status parse_chat(struct oct_call *c, json_t *body)
{
    return parse(c, body, true);
}
static oct_status parse_generate(struct oct_call *c, json_t *body)
{
    return parse(c, body, false);
}

static void free_state(struct oct_call *c)
{
    if (c->state) {
        oct_ollama_request_deinit(c->state);
    }
}

/* ---- the answer ---- */

static oct_status write_token(const struct oct_call *c, const struct oct_token_logprob *t,
                              struct oct_buf *out)
{
    char *text;
    size_t len;
    OCT_TRY(oct_engine_detokenize(c->api->engine, &t->token, 1, true, &text, &len));
    oct_status st = put(out, "{\"token\":");
    st = st == OCT_OK ? oct_json_text(out, text, len) : st;
    st = st == OCT_OK ? put(out, ",\"logprob\":") : st;
    st = st == OCT_OK ? oct_json_logprob(out, t->logprob) : st;
    st = st == OCT_OK ? put(out, ",\"bytes\":[") : st;
    for (size_t i = 0; st == OCT_OK && i < len; i++) {
        st = oct_buf_printf(out, i ? ",%u" : "%u", (unsigned)(unsigned char)text[i]);
    }
    oct_buffer_free(text);
    return st == OCT_OK ? put(out, "]") : st;
}

static oct_status write_logprobs(const struct oct_call *c, const struct oct_openai_answer *a,
                                 struct oct_buf *out)
{
    const struct oct_token_logprob *top = a->top;
    OCT_TRY(put(out, ",\"logprobs\":["));
    for (size_t i = 0; i < a->n_tokens; i++) {
        const struct oct_token_logprob t = {a->tokens[i].token, a->tokens[i].logprob};
        OCT_TRY(put(out, i ? "," : ""));
        OCT_TRY(write_token(c, &t, out));
        for (int32_t k = 0; k < a->tokens[i].n_top; k++, top++) {
            OCT_TRY(put(out, k ? "," : ",\"top_logprobs\":["));
            OCT_TRY(write_token(c, top, out));
            OCT_TRY(put(out, "}"));
        }
        OCT_TRY(put(out, a->tokens[i].n_top > 0 ? "]}" : "}"));
    }
    return put(out, "]");
}

static oct_status write_text(const char *key, const struct oct_buf *text, struct oct_buf *out)
{
    OCT_TRY(oct_buf_printf(out, "\"%s\":", key));
    return oct_json_text(out, text->data ? text->data : "", text->len);
}

/* {"model", "created_at", the texts and log probabilities; the object stays open. */
static oct_status write_object(const struct oct_call *c, const struct oct_openai_answer *a,
                               const struct oct_buf *thought, const struct oct_buf *answer,
                               struct oct_buf *out)
{
    const struct oct_ollama_request *r = c->state;
    char at[OCT_OLLAMA_TIME_BYTES];
    OCT_TRY(put(out, "{\"model\":"));
    OCT_TRY(oct_json_text(out, c->model, strlen(c->model)));
    OCT_TRY(oct_buf_printf(out, ",\"created_at\":\"%s\",%s",
                           oct_ollama_time(oct_clock_wall_s(), at),
                           r->is_chat ? "\"message\":{\"role\":\"assistant\"," : ""));
    OCT_TRY(write_text(r->is_chat ? "content" : "response", answer, out));
    if (thought->len > 0) {
        OCT_TRY(put(out, ","));
        OCT_TRY(write_text("thinking", thought, out));
    }
    OCT_TRY(put(out, r->is_chat ? "}" : ""));
    return c->ask.keep_logprobs && a && a->n_tokens > 0 ? write_logprobs(c, a, out) : OCT_OK;
}

/* A client divides by these. */
static int64_t ns_between(int64_t from_us, int64_t to_us)
{
    const int64_t us = from_us > 0 && to_us > from_us ? to_us - from_us : 1;
    return us * 1000;
}

static oct_status write_done(const struct oct_call *c, const struct oct_choice *ch,
                             struct oct_buf *out)
{
    const struct oct_openai_answer *a = &ch->answer;
    const int64_t now = oct_clock_us();
    return oct_buf_printf(
        out,
        ",\"done\":true,\"done_reason\":\"%s\",\"total_duration\":%" PRId64
        ",\"load_duration\":0,\"prompt_eval_count\":%d,\"prompt_eval_duration\":%" PRId64
        ",\"eval_count\":%d,\"eval_duration\":%" PRId64 "}",
        a->finish == OCT_FINISH_LENGTH ? "length" : "stop", ns_between(c->begin_us, now),
        a->n_prompt, ns_between(ch->started_us, ch->first_us), a->n_output,
        ns_between(ch->first_us, ch->last_us));
}

static oct_status split(struct oct_choice *ch, bool last, struct oct_buf *thought,
                        struct oct_buf *answer)
{
    const struct oct_openai_answer *a = &ch->answer;
    return oct_reasoning_split(&ch->split, a->text.data ? a->text.data : "", a->text.len, last,
                               thought, answer);
}

static oct_status begin(struct oct_call *c, struct oct_buf *out)
{
    (void)c, (void)out;
    return OCT_OK;
}

static oct_status piece(struct oct_call *c, struct oct_choice *ch, struct oct_buf *out)
{
    struct oct_buf thought = {0}, answer = {0};
    oct_status st = split(ch, ch->answer.finish != OCT_FINISH_NONE, &thought, &answer);
    if (st == OCT_OK && (thought.len + answer.len > 0 || ch->answer.n_tokens > 0)) {
        st = write_object(c, &ch->answer, &thought, &answer, out);
        st = st == OCT_OK ? put(out, ",\"done\":false}\n") : st;
    }
    oct_buf_free(&thought);
    oct_buf_free(&answer);
    return st;
}

static oct_status end(struct oct_call *c, struct oct_buf *out)
{
    const struct oct_buf none = {0};
    OCT_TRY(write_object(c, NULL, &none, &none, out));
    OCT_TRY(write_done(c, &c->choices[0], out));
    return put(out, "\n");
}

static oct_status whole(struct oct_call *c, struct oct_buf *out)
{
    struct oct_choice *ch = &c->choices[0];
    struct oct_buf thought = {0}, answer = {0};
    oct_status st = split(ch, true, &thought, &answer);
    st = st == OCT_OK ? write_object(c, &ch->answer, &thought, &answer, out) : st;
    st = st == OCT_OK ? write_done(c, ch, out) : st;
    oct_buf_free(&thought);
    oct_buf_free(&answer);
    return st;
}

static oct_status error(const struct oct_call *c, int http_status, const char *sentence,
                        bool in_stream, struct oct_buf *out)
{
    (void)c, (void)http_status;
    return oct_ollama_write_error(sentence, in_stream, out);
}

const struct oct_format oct_format_ollama_chat = {
    .whole_type = "application/json; charset=utf-8",
    .stream_type = "application/x-ndjson",
    .id_prefix = "ollama-",
    .parse = parse_chat,
    .begin = begin,
    .piece = piece,
    .end = end,
    .whole = whole,
    .error = error,
    .free = free_state,
};

const struct oct_format oct_format_ollama_generate = {
    .whole_type = "application/json; charset=utf-8",
    .stream_type = "application/x-ndjson",
    .id_prefix = "ollama-",
    .parse = parse_generate,
    .begin = begin,
    .piece = piece,
    .end = end,
    .whole = whole,
    .error = error,
    .free = free_state,
};
