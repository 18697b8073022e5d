/* SPDX-License-Identifier: Apache-2.0 */
#include "api/call.h"

#include "api/inbox.h"
#include "api/worker.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/rng.h"

#include <stdio.h>
#include <string.h>

/* ---- small things ---- */

oct_status oct_call_alloc_prompts(struct oct_call *c, size_t n)
{
    OCT_ASSERT(!c->ask.prompts && n >= 1 && n <= OCT_CALL_MAX_PROMPTS);
    c->ask.prompts = oct_calloc(n, sizeof *c->ask.prompts);
    if (!c->ask.prompts) {
        return oct_no_memory("prompts", n * sizeof *c->ask.prompts);
    }
    c->ask.n_prompts = n;
    return OCT_OK;
}

const char *oct_request_id(const struct oct_http_exchange *x)
{
    static const char fine[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    const char *id = oct_http_header(x, "x-request-id");
    const size_t len = id ? strlen(id) : 0;
    return len >= 1 && len <= 64 && strspn(id, fine) == len ? id : NULL;
}

static void make_id(struct oct_call *c)
{
    const char *given = oct_request_id(c->x);
    char random[33];
    uint32_t r[4];
    if (!given) {
        oct_rng_philox(c->api->id_seed, c->api->n_ids++, 0, r);
        (void)snprintf(random, sizeof random, "%08x%08x%08x%08x", r[0], r[1], r[2], r[3]);
        oct_http_add_header(c->x, "x-request-id", random);
    }
    (void)snprintf(c->id, sizeof c->id, "%s%s", c->format->id_prefix, given ? given : random);
}

/* What the outside is told of a status. OCT_E_UNSUPPORTED is the request's fault: a client that is
 * told 5xx tries again. */
static int http_code(oct_status st)
{
    return st == OCT_E_UNSUPPORTED ? 400 : st == OCT_E_CANCELLED ? 503 : oct_openai_http_code(st);
}

/* ---- its end ---- */

static void free_call(struct oct_call *c)
{
    struct oct_api *a = c->api;
    if (c->prev) {
        c->prev->next = c->next;
    } else {
        a->calls = c->next;
    }
    if (c->next) {
        c->next->prev = c->prev;
    }
    a->n_calls--;
    a->n_prompt_logprobs -= c->n_prompt_logprobs;
    if (c->format->free) {
        c->format->free(c);
    }
    for (size_t i = 0; i < c->n_choices; i++) {
        oct_openai_answer_deinit(&c->choices[i].answer);
    }
    for (size_t i = 0; i < c->ask.n_prompts; i++) {
        oct_buffer_free(c->ask.prompts[i].ids);
    }
    oct_free(c->ask.prompts);
    oct_free(c->choices);
    oct_free(c->body);
    oct_buf_free(&c->reply);
    oct_arena_free(&c->arena);
    oct_free(c);
}

static void free_if_done(struct oct_call *c)
{
    if (!c->x && !c->has_worker && c->n_running == 0) {
        free_call(c);
    }
}

/* The one cancel path: nothing more is submitted, and what runs ends with the step that runs. */
static void cancel_choices(struct oct_call *c)
{
    for (size_t i = 0; i < c->n_choices; i++) {
        struct oct_choice *ch = &c->choices[i];
        if (ch->state == OCT_CHOICE_RUNS) {
            /* it may have ended by itself: its last event is on the way */
            (void)!oct_engine_cancel(c->api->engine, ch->id);
        } else if (ch->state == OCT_CHOICE_WAITS) {
            ch->state = OCT_CHOICE_ENDED;
        }
    }
    c->n_waiting = 0;
}

static void send_error(struct oct_call *c, int code, const char *sentence)
{
    struct oct_buf *out = &c->api->out;
    oct_buf_clear(out);
    if (c->format->error(c, code, sentence, c->is_streaming, out) != OCT_OK) {
        if (c->is_streaming) { /* no memory to say why: a cut stream says that it is not whole */
            oct_http_abort(c->x);
            return;
        }
        oct_buf_clear(out);
    }
    if (c->is_streaming) {
        oct_http_write(c->x, out->data, out->len);
        oct_http_finish(c->x);
        return;
    }
    if (code == 429 || code == 503) {
        oct_http_add_header(c->x, "Retry-After", "1");
    }
    oct_http_respond(c->x, code, c->format->whole_type, out->data, out->len);
}

void oct_call_fail(struct oct_call *c, oct_status st, const char *sentence)
{
    if (c->is_answered) {
        return;
    }
    char copy[1024]; /* the sentence may be this thread's last one, which cancelling replaces */
    (void)snprintf(copy, sizeof copy, "%s", sentence && *sentence ? sentence : oct_status_text(st));
    c->is_answered = c->is_error = true;
    cancel_choices(c);
    send_error(c, http_code(st), copy);
}

static void log_end(const struct oct_call *c, enum oct_http_end how)
{
    const struct oct_api_config *o = &c->api->config;
    int64_t n_prompt = 0, n_output = 0;
    char line[512];
    if (!o->log || !o->log_requests) {
        return;
    }
    for (size_t i = 0; i < c->n_choices; i++) {
        n_prompt += i % (size_t)c->ask.n == 0 ? c->choices[i].answer.n_prompt : 0;
        n_output += c->choices[i].answer.n_output;
    }
    (void)snprintf(line, sizeof line,
                   "request %s %s %s status=%d choices=%zu prompt_tokens=%lld output_tokens=%lld "
                   "ms=%.1f",
                   c->id, c->route->path,
                   how != OCT_HTTP_DONE ? "left"
                   : c->is_error        ? "failed"
                                        : "done",
                   oct_http_status(c->x), c->n_choices, (long long)n_prompt, (long long)n_output,
                   (double)(oct_clock_us() - c->begin_us) * 1e-3);
    o->log(o->log_user, line);
}

void oct_call_on_end(struct oct_call *c, enum oct_http_end how)
{
    struct oct_api_counts *n = &c->api->counts;
    log_end(c, how);
    if (!c->is_answered) {
        cancel_choices(c);
    }
    if (!c->is_accepted) {
        n->n_refused += c->is_error ? 1 : 0;
    } else if (c->is_error) {
        n->n_failed++;
    } else if (how == OCT_HTTP_DONE) {
        n->n_done++;
    } else {
        n->n_left++;
    }
    c->is_answered = true;
    c->x = NULL;
    free_if_done(c);
}

void oct_call_worker_is_gone(struct oct_call *c)
{
    c->has_worker = false;
    free_if_done(c);
}

/* ---- to the engine ---- */

static oct_status submit_choice(struct oct_call *c, struct oct_choice *ch)
{
    const int32_t i = ch->index % c->ask.n;
    const struct oct_prompt *prompt = &c->ask.prompts[ch->index / c->ask.n];
    struct oct_sampling sampling = c->ask.sampling;
    sampling.seed += (uint64_t)i;
    sampling.n_prompt_logprobs = i == 0 ? sampling.n_prompt_logprobs : -1;
    struct oct_request q = OCT_REQUEST_INIT;
    q.prompt = prompt->ids;
    q.n_prompt = prompt->n;
    q.sampling = &sampling;
    q.priority = c->ask.priority;
    q.cache_salt = c->ask.cache_salt;
    q.cache_salt_len = c->ask.cache_salt ? strlen(c->ask.cache_salt) : 0;
    q.user = ch;
    if (c->ask.timeout_us > 0) {
        q.timeout_us = c->begin_us + c->ask.timeout_us - oct_clock_us();
        if (q.timeout_us <= 0) {
            return OCT_FAIL(OCT_E_DEADLINE, "the request's timeout passed before it could begin");
        }
    }
    OCT_TRY(oct_engine_submit(c->api->engine, &q, &ch->id));
    ch->state = OCT_CHOICE_RUNS;
    c->n_waiting--;
    c->n_running++;
    c->api->counts.n_accepted += c->is_accepted ? 0 : 1;
    c->is_accepted = true;
    return OCT_OK;
}

/* The first choice of every prompt at once; the others of a prompt when the first has its first
 * token, so that they find the prompt in the prefix cache. */
static void submit_due(struct oct_call *c)
{
    for (size_t i = 0; c->n_waiting > 0 && i < c->n_choices; i++) {
        struct oct_choice *ch = &c->choices[i];
        const struct oct_choice *first = &c->choices[i - i % (size_t)c->ask.n];
        const bool is_due = ch == first || first->state == OCT_CHOICE_ENDED || first->first_us != 0;
        if (ch->state == OCT_CHOICE_WAITS && is_due) {
            const oct_status st = submit_choice(c, ch);
            if (st == OCT_E_DEVICE) {
                oct_api_set_failed(c->api, st, oct_last_error());
            }
            if (st != OCT_OK) {
                oct_call_fail(c, st, oct_last_error());
                return;
            }
        }
    }
}

/* ---- the workers' jobs ---- */

static oct_status make_choices(struct oct_call *c)
{
    const size_t n = c->ask.n_prompts * (size_t)c->ask.n;
    c->choices = oct_calloc(n, sizeof *c->choices);
    if (!c->choices) {
        return oct_no_memory("choices", n * sizeof *c->choices);
    }
    for (size_t i = 0; i < n; i++) {
        c->choices[i].call = c;
        c->choices[i].index = (int32_t)i;
        c->choices[i].split.state = c->ask.thinking;
    }
    return OCT_OK;
}

static oct_status parse(struct oct_call *c)
{
    json_t *body = NULL;
    OCT_TRY(oct_json_parse(c->body, c->body_len, "the request's body", OCT_JSON_MAX_DEPTH,
                           OCT_JSON_NUL, &body));
    oct_free(c->body);
    c->body = NULL;
    oct_status st = json_is_object(body)
                        ? c->format->parse(c, body)
                        : OCT_FAIL(OCT_E_ARG, "the request's body must be a JSON object");
    json_decref(body);
    OCT_TRY(st);
    for (size_t i = 0; st == OCT_OK && i < c->ask.n_prompts; i++) {
        st = oct_call_check_prompt(c->api, c->ask.prompts[i].n);
    }
    return st == OCT_OK && c->ask.n_prompts > 0 ? make_choices(c) : st;
}

static void keep_sentence(struct oct_call *c, oct_status st)
{
    c->status = st;
    if (st != OCT_OK) {
        (void)snprintf(c->sentence, sizeof c->sentence, "%s", oct_last_error());
    }
}

static void job_parse(struct oct_call *c)
{
    oct_error_clear();
    keep_sentence(c, parse(c));
}

static void job_whole(struct oct_call *c)
{
    keep_sentence(c, c->format->whole(c, &c->reply));
}

static struct oct_call *call_of(struct oct_http_task *t)
{
    return (struct oct_call *)((char *)t - offsetof(struct oct_call, task));
}

/* False: there is nothing to go on with. */
static bool take_back(struct oct_call *c)
{
    c->has_worker = false;
    if (!c->x) {
        free_if_done(c);
        return false;
    }
    if (!c->is_answered && c->status != OCT_OK) {
        oct_call_fail(c, c->status, c->sentence);
    }
    return !c->is_answered;
}

static void send_reply(struct oct_call *c)
{
    c->is_answered = true;
    oct_http_respond(c->x, 200, c->format->whole_type, c->reply.data, c->reply.len);
}

static void after_whole(struct oct_http_task *t)
{
    if (take_back(call_of(t))) {
        send_reply(call_of(t));
    }
}

/* Prompts' log probabilities are there from the step that computes them until the call is freed:
 * many calls, each within its own bound, must not add up to all of the memory. */
static oct_status reserve_prompt_logprobs(struct oct_call *c)
{
    struct oct_api *a = c->api;
    uint64_t n = 0;
    for (size_t i = 0; i < c->ask.n_prompts && c->ask.sampling.n_prompt_logprobs >= 0; i++) {
        n += (uint64_t)c->ask.prompts[i].n * (1 + (uint64_t)c->ask.sampling.n_prompt_logprobs);
    }
    if (n > a->config.max_prompt_logprobs - a->n_prompt_logprobs) {
        return OCT_FAIL(OCT_E_BUSY,
                        "the log probabilities of prompts: %llu entries are asked for, and other "
                        "requests hold %llu of the %llu there may be; try again later",
                        (unsigned long long)n, (unsigned long long)a->n_prompt_logprobs,
                        (unsigned long long)a->config.max_prompt_logprobs);
    }
    c->n_prompt_logprobs = n;
    a->n_prompt_logprobs += n;
    return OCT_OK;
}

static void after_parse(struct oct_http_task *t)
{
    struct oct_call *c = call_of(t);
    if (!take_back(c)) {
        return;
    }
    if (c->ask.n_prompts == 0) {
        send_reply(c);
        return;
    }
    c->n_choices = c->n_waiting = c->ask.n_prompts * (size_t)c->ask.n;
    const oct_status st = reserve_prompt_logprobs(c);
    if (st != OCT_OK) {
        oct_call_fail(c, st, oct_last_error());
        return;
    }
    submit_due(c);
}

static void give(struct oct_call *c, void (*job)(struct oct_call *),
                 void (*after)(struct oct_http_task *))
{
    c->has_worker = true;
    c->task.run = after;
    oct_workers_give(c->api->workers, c->api->http, c, job);
}

/* ---- its beginning ---- */

static bool is_full(const struct oct_api *a)
{
    return a->n_calls >= (size_t)a->config.max_queued_requests + (size_t)a->info.max_num_seqs;
}

static void refuse(struct oct_api *a, struct oct_http_exchange *x, oct_status st,
                   const char *sentence)
{
    a->counts.n_refused++;
    oct_api_send_error(a, x, http_code(st), sentence);
}

void oct_call_begin(struct oct_api *a, const struct oct_route *r, struct oct_http_exchange *x)
{
    if (is_full(a)) {
        refuse(a, x, OCT_E_BUSY, "too many requests are waiting; try again later");
        return;
    }
    struct oct_call *c = oct_calloc(1, sizeof *c);
    if (!c) {
        refuse(a, x, OCT_E_MEM, "the server is out of memory");
        return;
    }
    c->api = a;
    c->route = r;
    c->format = r->format;
    c->x = x;
    c->begin_us = oct_clock_us();
    c->created_s = oct_clock_wall_s();
    c->model = a->config.model_names[0];
    c->ask.n = 1;
    c->ask.sampling = (struct oct_sampling)OCT_SAMPLING_INIT;
    c->body = oct_http_take_body(x, &c->body_len);
    make_id(c);
    c->next = a->calls;
    if (c->next) {
        c->next->prev = c;
    }
    a->calls = c;
    a->n_calls++;
    oct_http_set_user(x, c);
    if (!c->body) {
        oct_call_fail(c, OCT_E_ARG, "the request has no body; a JSON object is expected");
        return;
    }
    give(c, job_parse, after_parse);
}

/* ---- the engine's events ---- */

static void count_token(struct oct_api *a, struct oct_choice *ch, const struct oct_event *ev)
{
    if (ev->token < 0) {
        return;
    }
    if (ch->first_us == 0) {
        ch->first_us = ev->now_us;
        oct_metrics_first_token(a->metrics, ev->now_us - ev->submit_us);
    } else {
        oct_metrics_next_token(a->metrics, ev->now_us - ch->last_us);
    }
    ch->last_us = ev->now_us;
}

static void count_end(struct oct_api *a, const struct oct_choice *ch, const struct oct_event *ev)
{
    const int64_t submit = ch->submit_us, start = ch->started_us;
    const struct oct_metrics_request m = {
        .finish = ev->finish,
        .n_prompt_tokens = ev->n_prompt_tokens,
        .n_cached_tokens = ev->n_cached_tokens,
        .n_output_tokens = ev->n_output_tokens,
        .max_tokens = ch->call->ask.sampling.max_tokens,
        .queue_us = start ? start - submit : -1,
        .prefill_us = start && ch->first_us ? ch->first_us - start : -1,
        .decode_us = ch->first_us ? ch->last_us - ch->first_us : -1,
        .e2e_us = ev->now_us - submit,
    };
    oct_metrics_request(a->metrics, &m);
}

static void mark_fresh(struct oct_choice *ch)
{
    struct oct_call *c = ch->call;
    if (ch->is_fresh) {
        return;
    }
    if (!c->fresh) {
        c->next_fresh = c->api->fresh;
        c->api->fresh = c;
    }
    ch->is_fresh = true;
    ch->next_fresh = c->fresh;
    c->fresh = ch;
}

static void on_event(struct oct_api *a, struct oct_choice *ch, const struct oct_event *ev)
{
    struct oct_call *c = ch->call;
    OCT_ASSERT(ch->state == OCT_CHOICE_RUNS);
    if (ev->now_us != 0) { /* not one that was lost */
        ch->submit_us = ev->submit_us;
        ch->started_us = ev->start_us;
        ch->n_cached_tokens = ev->n_cached_tokens;
        count_token(a, ch, ev);
    }
    if (!c->is_answered) {
        struct oct_event seen = *ev;
        if (c->ask.drop_output) {
            seen.text_len = 0;
            seen.token = -1;
        }
        oct_openai_take(&ch->answer, &seen, c->ask.keep_logprobs);
    }
    if (ev->finish != OCT_FINISH_NONE) {
        ch->state = OCT_CHOICE_ENDED;
        c->n_running--;
        if (ev->now_us != 0) {
            count_end(a, ch, ev);
        }
        if (ev->status == OCT_E_DEVICE) {
            oct_api_set_failed(a, OCT_E_DEVICE, ev->error);
        }
    }
    mark_fresh(ch);
}

/* ---- to the client ---- */

static oct_status write_pieces(struct oct_call *c, struct oct_buf *out)
{
    if (!c->is_streaming) {
        OCT_TRY(c->format->begin(c, out));
    }
    for (size_t i = 0; i < c->n_choices; i++) {
        struct oct_choice *ch = &c->choices[i];
        if (!ch->has_piece) {
            continue;
        }
        ch->has_piece = false;
        OCT_TRY(c->format->piece(c, ch, out));
        ch->n_text_before += oct_openai_answer_flush(&ch->answer);
        if (ch->answer.finish != OCT_FINISH_NONE) {
            ch->is_told = true;
            c->n_told++;
        }
    }
    return c->n_told == c->n_choices ? c->format->end(c, out) : OCT_OK;
}

static size_t held_bytes(const struct oct_call *c)
{
    size_t n = 0;
    for (size_t i = 0; i < c->n_choices; i++) {
        const struct oct_openai_answer *a = &c->choices[i].answer;
        n += a->text.len + a->n_tokens * sizeof *a->tokens + a->n_tops * sizeof *a->top;
    }
    return n;
}

/* What came since the last time goes out, unless the reader is slow. A sequence that waits for its
 * reader would hold its pages of the KV cache, which others need more than this text its bytes. */
static void stream(struct oct_call *c)
{
    struct oct_buf *out = &c->api->out;
    if (c->is_streaming && oct_http_is_full(c->x)) {
        if (held_bytes(c) > OCT_CALL_MAX_HELD_BYTES) {
            oct_call_fail(c, OCT_E_LIMIT, "the client reads too slowly: over 1 MiB waits for it");
        }
        return;
    }
    oct_buf_clear(out);
    const oct_status st = write_pieces(c, out);
    if (st != OCT_OK) {
        oct_call_fail(c, st, oct_last_error());
        return;
    }
    if (!c->is_streaming) {
        c->is_streaming = true;
        oct_http_start(c->x, 200, c->format->stream_type);
    }
    if (out->len > 0) {
        oct_http_write(c->x, out->data, out->len);
    }
    if (c->n_told == c->n_choices) {
        c->is_answered = true;
        oct_http_finish(c->x);
    }
}

/* After the events of a turn. */
static void go_on(struct oct_call *c)
{
    const struct oct_openai_answer *failed = NULL;
    for (struct oct_choice *ch = c->fresh; ch; ch = ch->next_fresh) {
        ch->is_fresh = false;
        ch->has_piece = true;
        failed = ch->answer.status != OCT_OK ? &ch->answer : failed;
    }
    c->fresh = NULL;
    if (!c->is_answered && failed) {
        oct_call_fail(c, failed->status, failed->error);
    }
    if (!c->is_answered) {
        submit_due(c);
    }
    if (c->is_answered) {
        free_if_done(c);
    } else if (c->ask.stream) {
        stream(c);
    } else if (c->n_running + c->n_waiting == 0) {
        give(c, job_whole, after_whole);
    }
}

void oct_call_take_events(struct oct_api *a)
{
    oct_inbox_take(a->inbox, on_event);
    while (a->fresh) {
        struct oct_call *c = a->fresh;
        a->fresh = c->next_fresh;
        go_on(c);
    }
}

void oct_call_on_room(struct oct_call *c)
{
    if (!c->is_answered && c->is_streaming) {
        stream(c);
    }
}
