/* SPDX-License-Identifier: Apache-2.0 */
#include "api/access.h"
#include "api/inbox.h"
#include "api/routes.h"
#include "api/worker.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/rng.h"

#include <stdio.h>
#include <string.h>

enum {
    DEFAULT_WORKERS = 2,
    MAX_WORKERS = 16,
    DEFAULT_QUEUED = 4096,
    MAX_QUEUED = 1 << 20,
    DEFAULT_PROMPT_LOGPROBS = 1 << 24,
    DEFAULT_WATCHDOG_US = 60 * 1000 * 1000,
};

/* ---- start ---- */

static oct_status check_config(struct oct_api_config *c)
{
    OCT_ASSERT(c->n_model_names > 0);
    c->n_workers = c->n_workers ? c->n_workers : DEFAULT_WORKERS;
    c->max_queued_requests = c->max_queued_requests ? c->max_queued_requests : DEFAULT_QUEUED;
    c->max_prompt_logprobs =
        c->max_prompt_logprobs ? c->max_prompt_logprobs : DEFAULT_PROMPT_LOGPROBS;
    c->watchdog_us = c->watchdog_us ? c->watchdog_us : DEFAULT_WATCHDOG_US;
    c->reasoning_parser = c->reasoning_parser ? c->reasoning_parser : "auto";
    if (c->n_workers < 1 || c->n_workers > MAX_WORKERS) {
        return OCT_FAIL(OCT_E_ARG, "%d workers; it must be between 1 and %d", c->n_workers,
                        MAX_WORKERS);
    }
    if (c->max_queued_requests < 1 || c->max_queued_requests > MAX_QUEUED) {
        return OCT_FAIL(OCT_E_ARG, "%d queued requests; it must be between 1 and %d",
                        c->max_queued_requests, MAX_QUEUED);
    }
    if (strcmp(c->reasoning_parser, "auto") != 0 && strcmp(c->reasoning_parser, "none") != 0 &&
        strcmp(c->reasoning_parser, "think") != 0) {
        return OCT_FAIL(OCT_E_ARG, "the reasoning parser \"%s\" is none of auto, none, think",
                        c->reasoning_parser);
    }
    return OCT_OK;
}

static void wake(struct oct_http_task *t)
{
    oct_call_take_events(oct_inbox_api(t));
}

oct_status oct_api_create(const struct oct_api_config *config, struct oct_api **out)
{
    struct oct_api *a = oct_calloc(1, sizeof *a);
    oct_status st;
    if (!a) {
        return oct_no_memory("the service", sizeof *a);
    }
    a->config = *config;
    a->begin_us = oct_clock_us();
    a->created_s = oct_clock_wall_s();
    OCT_TRY_GOTO(check_config(&a->config), st, fail);
    OCT_TRY_GOTO(oct_rng_fresh_seed(&a->id_seed), st, fail);
    OCT_TRY_GOTO(oct_metrics_create(&a->metrics), st, fail);
    OCT_TRY_GOTO(oct_inbox_create(a, wake, &a->inbox), st, fail);
    *out = a;
    return OCT_OK;
fail:
    oct_inbox_destroy(a->inbox);
    oct_metrics_destroy(a->metrics);
    oct_free(a);
    return st;
}

oct_status oct_api_start(struct oct_api *a)
{
    OCT_ASSERT(!a->workers);
    return oct_workers_create(a->config.n_workers, &a->workers);
}

void oct_api_prepare_engine(struct oct_api *a, struct oct_http *h, struct oct_engine_options *o)
{
    a->http = h;
    oct_inbox_set_http(a->inbox, h);
    o->on_events = oct_inbox_put;
    o->events_user = a->inbox;
}

void oct_api_set_engine(struct oct_api *a, oct_engine *e)
{
    OCT_ASSERT(a->http && a->workers && a->state != OCT_API_READY);
    a->engine = e;
    a->info = (struct oct_engine_info){.size = sizeof a->info};
    oct_engine_get_info(e, &a->info);
    a->state = a->state == OCT_API_LOADING ? OCT_API_READY : a->state;
}

void oct_api_set_failed(struct oct_api *a, oct_status st, const char *sentence)
{
    if (a->state == OCT_API_DEAD) {
        return; /* the first cause counts */
    }
    a->state = OCT_API_DEAD;
    a->dead_status = st;
    (void)snprintf(a->dead_sentence, sizeof a->dead_sentence, "%s",
                   sentence && *sentence ? sentence : oct_status_text(st));
}

void oct_api_fail(struct oct_api *a, const char *sentence)
{
    oct_api_set_failed(a, OCT_E_DEVICE, sentence);
    oct_api_end_calls(a, OCT_E_DEVICE, sentence);
}

void oct_api_set_self_test(struct oct_api *a, const struct oct_metrics_self_test *t)
{
    a->self_test = t;
}

/* ---- end ---- */

static bool has_begun(const struct oct_call *c)
{
    for (size_t i = 0; i < c->n_choices; i++) {
        if (c->choices[i].first_us != 0) {
            return true;
        }
    }
    return false;
}

void oct_api_drain(struct oct_api *a)
{
    struct oct_engine_stats s = {.size = sizeof s};
    struct oct_call *next;
    a->state = a->state == OCT_API_DEAD ? OCT_API_DEAD : OCT_API_DRAINING;
    if (a->engine) {
        oct_engine_get_stats(a->engine, &s);
    }
    /* The newest first: the engine's queue is in order, so those are the ones that wait in it. */
    size_t n_waiting = s.n_waiting > 0 ? (size_t)s.n_waiting : 0;
    for (struct oct_call *c = a->calls; c; c = next) {
        next = c->next;
        if (c->is_accepted && (n_waiting == 0 || has_begun(c))) {
            continue;
        }
        n_waiting -= c->n_running < n_waiting ? c->n_running : n_waiting;
        oct_call_fail(c, OCT_E_CANCELLED, "the server is stopping; the request had not begun");
    }
}

size_t oct_api_n_calls(const struct oct_api *a)
{
    return a->n_calls;
}

void oct_api_end_calls(struct oct_api *a, oct_status why, const char *sentence)
{
    struct oct_call *next;
    for (struct oct_call *c = a->calls; c; c = next) {
        next = c->next;
        oct_call_fail(c, why, sentence);
    }
}

enum oct_api_state oct_api_state(const struct oct_api *a)
{
    return a->state;
}

void oct_api_get_counts(const struct oct_api *a, struct oct_api_counts *out)
{
    *out = a->counts;
}

void oct_api_stop(struct oct_api *a)
{
    struct oct_call *c = a->workers ? oct_workers_stop(a->workers) : NULL;
    while (c) {
        struct oct_call *next = c->next_job;
        oct_call_worker_is_gone(c);
        c = next;
    }
    oct_inbox_set_http(a->inbox, NULL);
    a->http = NULL;
}

void oct_api_destroy(struct oct_api *a)
{
    if (!a) {
        return;
    }
    oct_api_stop(a);
    oct_call_take_events(a); /* last words that came after the loop's end */
    struct oct_call *next;
    for (struct oct_call *c = a->calls; c; c = next) {
        next = c->next;
        oct_call_worker_is_gone(c); /* its task was posted and not run */
    }
    OCT_ASSERT(a->n_calls == 0);
    OCT_ASSERT(a->counts.n_accepted == a->counts.n_done + a->counts.n_failed + a->counts.n_left);
    oct_workers_destroy(a->workers);
    oct_inbox_destroy(a->inbox);
    oct_metrics_destroy(a->metrics);
    oct_buf_free(&a->out);
    oct_free(a);
}

/* ---- checks that formats share ---- */

oct_status oct_call_check_model(const struct oct_api *a, const char *name, const char **out)
{
    const struct oct_api_config *c = &a->config;
    for (size_t i = 0; i < c->n_model_names; i++) {
        if (!name || !strcmp(name, c->model_names[i])) {
            *out = c->model_names[i];
            return OCT_OK;
        }
    }
    char shown[200], all[512];
    size_t n = 0;
    all[0] = '\0';
    for (size_t i = 0; i < c->n_model_names && n < sizeof all; i++) {
        n += (size_t)snprintf(all + n, sizeof all - n, "%s%s", i ? ", " : "", c->model_names[i]);
    }
    return OCT_FAIL(OCT_E_NOTFOUND, "there is no model \"%s\"; there is %s",
                    oct_error_quote(shown, sizeof shown, name, strlen(name)), all);
}

oct_status oct_call_check_prompt(const struct oct_api *a, size_t n_tokens)
{
    if (n_tokens < 1) {
        return OCT_FAIL(OCT_E_ARG, "the prompt is empty; it needs at least one token");
    }
    if (n_tokens >= (size_t)a->info.max_model_len) {
        return OCT_FAIL(OCT_E_ARG,
                        "the prompt has %zu tokens; the context holds %d with at least one for the "
                        "answer",
                        n_tokens, a->info.max_model_len);
    }
    return OCT_OK;
}

/* ---- answers that are no calls ---- */

static const char no_memory_body[] =
    "{\"error\":{\"message\":\"the server is out of memory\",\"type\":\"server_error\","
    "\"param\":null,\"code\":503}}";

void oct_api_send_json(struct oct_api *a, struct oct_http_exchange *x, int status, json_t *value)
{
    struct oct_buf out = {0};
    (void)a;
    if (value && oct_json_append(&out, value, JSON_COMPACT) == OCT_OK) {
        oct_http_respond(x, status, "application/json", out.data, out.len);
    } else {
        oct_http_respond(x, 503, "application/json", no_memory_body, sizeof no_memory_body - 1);
    }
    oct_buf_free(&out);
    json_decref(value);
}

static const struct oct_format *format_of(const struct oct_http_exchange *x)
{
    const struct oct_route *other;
    const struct oct_route *r = oct_route_find(oct_http_path(x), oct_http_method(x), &other);
    return r ? r->format : other ? other->format : &oct_format_chat;
}

void oct_api_send_error(struct oct_api *a, struct oct_http_exchange *x, int status,
                        const char *sentence)
{
    struct oct_buf out = {0};
    (void)a;
    if (status == 429 || status == 503) {
        oct_http_add_header(x, "Retry-After", "1");
    }
    if (format_of(x)->error(NULL, status, sentence, false, &out) == OCT_OK) {
        oct_http_respond(x, status, "application/json", out.data, out.len);
    } else {
        oct_http_respond(x, status, "application/json", no_memory_body, sizeof no_memory_body - 1);
    }
    oct_buf_free(&out);
}

/* ---- the head of a request ---- */

static int refuse(struct oct_api *a, struct oct_http_exchange *x, int status, const char *sentence)
{
    a->counts.n_refused++;
    oct_api_send_error(a, x, status, sentence);
    return 1;
}

/* Nothing of the request is repeated in the answer's head: it may hold anything. */
static void allow_origin(struct oct_api *a, struct oct_http_exchange *x)
{
    const char *allowed = oct_access_allowed(&a->config, x);
    oct_http_add_header(x, "Access-Control-Allow-Origin", allowed);
    oct_http_add_header(x, "Access-Control-Expose-Headers", "x-request-id, retry-after");
    if (strcmp(allowed, "*") != 0) {
        oct_http_add_header(x, "Vary", "Origin");
    }
}

/* What a browser asks before it lets a page of another origin call. */
static int answer_preflight(struct oct_api *a, struct oct_http_exchange *x, enum oct_origin origin)
{
    if (origin == OCT_ORIGIN_FOREIGN) {
        return refuse(a, x, 403, "pages of this origin may not call; see --allowed-origins");
    }
    oct_http_add_header(x, "Access-Control-Allow-Methods", "GET, HEAD, POST, DELETE, OPTIONS");
    oct_http_add_header(x, "Access-Control-Allow-Headers", "*, authorization");
    oct_http_add_header(x, "Access-Control-Max-Age", "600");
    oct_http_respond(x, 204, "application/json", NULL, 0);
    return 1;
}

static int refuse_path(struct oct_api *a, struct oct_http_exchange *x,
                       const struct oct_route *other)
{
    char shown[128], sentence[256];
    if (other) {
        const char *method = other->method == OCT_HTTP_GET      ? "GET"
                             : other->method == OCT_HTTP_DELETE ? "DELETE"
                                                                : "POST";
        oct_http_add_header(x, "Allow", other->method == OCT_HTTP_GET ? "GET, HEAD" : method);
        (void)snprintf(sentence, sizeof sentence, "%s answers %s", other->path, method);
        return refuse(a, x, 405, sentence);
    }
    oct_error_quote(shown, sizeof shown, oct_http_path(x), strlen(oct_http_path(x)));
    (void)snprintf(sentence, sizeof sentence, "there is no %s", shown);
    return refuse(a, x, 404, sentence);
}

/* NULL, or why nothing can be asked of the engine now. */
static const char *not_now(const struct oct_api *a)
{
    switch (a->state) {
    case OCT_API_READY:
        return NULL;
    case OCT_API_LOADING:
        return "the model is still being loaded; try again later";
    case OCT_API_DRAINING:
        return "the server is stopping and takes no more requests";
    case OCT_API_DEAD:
        break;
    }
    return "the engine has failed; the server must be started again";
}

static int on_head(void *user, struct oct_http_exchange *x)
{
    struct oct_api *a = user;
    const struct oct_route *other;
    const struct oct_route *r = oct_route_find(oct_http_path(x), oct_http_method(x), &other);
    const enum oct_origin origin = oct_access_origin(&a->config, x);
    if (oct_request_id(x)) {
        oct_http_add_header(x, "x-request-id", oct_request_id(x));
    }
    if (origin == OCT_ORIGIN_ALLOWED) {
        allow_origin(a, x);
    }
    if (oct_http_method(x) == OCT_HTTP_OPTIONS &&
        oct_http_header(x, "access-control-request-method")) {
        return answer_preflight(a, x, origin);
    }
    if (!(r && r->flags & OCT_ROUTE_OPEN) && !oct_access_has_key(&a->config, x)) {
        oct_http_add_header(x, "WWW-Authenticate", "Bearer");
        return refuse(a, x, 401, "a valid API key is missing: Authorization: Bearer KEY");
    }
    if (!r) {
        return refuse_path(a, x, other);
    }
    if (r->method != OCT_HTTP_GET && origin == OCT_ORIGIN_FOREIGN) {
        return refuse(a, x, 403, "pages of this origin may not call; see --allowed-origins");
    }
    return r->flags & OCT_ROUTE_ENGINE && not_now(a) ? refuse(a, x, 503, not_now(a)) : 0;
}

static void on_request(void *user, struct oct_http_exchange *x)
{
    struct oct_api *a = user;
    const struct oct_route *other;
    const struct oct_route *r = oct_route_find(oct_http_path(x), oct_http_method(x), &other);
    if (r->flags & OCT_ROUTE_ENGINE && not_now(a)) { /* since its head was read */
        (void)refuse(a, x, 503, not_now(a));
    } else if (r->answer) {
        r->answer(a, x);
    } else {
        oct_call_begin(a, r, x);
    }
}

static void on_room(void *user, struct oct_http_exchange *x)
{
    (void)user;
    if (oct_http_user(x)) {
        oct_call_on_room(oct_http_user(x));
    }
}

static void on_end(void *user, struct oct_http_exchange *x, enum oct_http_end how)
{
    struct oct_api *a = user;
    const struct oct_route *other;
    const struct oct_route *r = oct_route_find(oct_http_path(x), oct_http_method(x), &other);
    oct_metrics_http(a->metrics, r ? r->path : "other", oct_http_status(x),
                     oct_clock_us() - oct_http_begin_us(x));
    if (oct_http_user(x)) {
        oct_call_on_end(oct_http_user(x), how);
    }
}

static void error_body(void *user, int status, const char *sentence, struct oct_buf *body,
                       const char **content_type)
{
    (void)user;
    *content_type = "application/json";
    if (oct_openai_write_error(status, sentence, body) != OCT_OK) {
        oct_buf_clear(body); /* an answer without a body, then */
    }
}

struct oct_http_handler oct_api_handler(struct oct_api *a)
{
    return (struct oct_http_handler){.user = a,
                                     .on_head = on_head,
                                     .on_request = on_request,
                                     .on_room = on_room,
                                     .on_end = on_end,
                                     .error_body = error_body};
}
