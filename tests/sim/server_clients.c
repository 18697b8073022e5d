/* SPDX-License-Identifier: Apache-2.0
 *
 * server_clients.c - who asks for what, in which way, and what each must be told. */
#include "sim/server_sim.h"

#include <event2/buffer.h>
#include <event2/event.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct srv *world; /* libevent's callbacks get the client alone */

static void must(oct_status st)
{
    if (st != OCT_OK) {
        srv_wrong(world, "the simulation itself: %s", oct_last_error());
    }
}

/* ---- what they ask ---- */

static void put_post(struct oct_buf *out, const char *path, const struct oct_buf *body)
{
    must(oct_buf_printf(out,
                        "POST %s HTTP/1.1\r\nHost: sim\r\nContent-Type: application/json\r\n"
                        "Content-Length: %zu\r\n\r\n",
                        path, body->len));
    must(oct_buf_append(out, body->data, body->len));
}

static void plan_generate(struct srv *s, struct srv_request *r, struct oct_buf *out)
{
    int32_t prompt[SRV_MAX_TOKENS], answer[SRV_MAX_TOKENS];
    struct oct_buf body = {0};
    const int32_t room =
        s->options.max_model_len < SRV_MAX_TOKENS ? s->options.max_model_len : SRV_MAX_TOKENS;
    r->n_prompt = 1 + (int32_t)srv_draw(s, (uint32_t)room / 2);
    r->max_tokens = 1 + (int32_t)srv_draw(s, (uint32_t)(srv_chance(s, 50) ? 8 : room / 2));
    r->stream = srv_chance(s, 60);
    r->n = srv_chance(s, 70) ? 1 : 1 + (int)srv_draw(s, SRV_MAX_CHOICES);
    must(oct_buf_printf(&body, "{\"max_tokens\":%d,\"n\":%d,\"stream\":%s,\"prompt\":[",
                        r->max_tokens, r->n, r->stream ? "true" : "false"));
    for (int32_t i = 0; i < r->n_prompt; i++) {
        prompt[i] = 3 + (int32_t)srv_draw(s, i < 16 ? 2 : 5);
        must(oct_buf_printf(&body, "%s%d", i ? "," : "", prompt[i]));
    }
    must(oct_buf_printf(&body, "]}"));
    put_post(out, "/v1/completions", &body);
    oct_buf_free(&body);
    r->is_nan = s->options.nan_first_token && prompt[0] == s->options.nan_first_token;
    fake_answer(&s->options, prompt, r->n_prompt, answer, r->max_tokens);
    char *text;
    size_t len;
    must(oct_engine_detokenize(s->fake.e, answer, (size_t)r->max_tokens, false, &text, &len));
    must(oct_buf_append(&r->text, text, len));
    oct_buffer_free(text);
}

static void plan_look(struct srv *s, struct oct_buf *out)
{
    static const char *const paths[] = {"/health", "/ready", "/metrics", "/v1/models", "/version"};
    must(oct_buf_printf(out, "GET %s HTTP/1.1\r\nHost: sim\r\n\r\n", paths[srv_draw(s, 5)]));
}

static void plan_hostile(struct srv *s, struct oct_buf *out)
{
    static const char *const raw[] = {
        "GARBAGE\r\n\r\n",
        "GET /health HTTP/1.1\r\n\r\n",
        "POST /v1/completions HTTP/1.1\r\nHost: sim\r\nContent-Length: 99999999\r\n\r\n{",
        "POST /v1/completions HTTP/1.1\r\nHost: sim\r\nContent-Length: 4\r\n"
        "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST /v1/completions HTTP/1.1\r\nHost: sim\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        "GET /nothing HTTP/1.1\r\nHost: sim\r\n\r\n",
        /* refused by its head; its body must not become the next request */
        "POST /nothing HTTP/1.1\r\nHost: sim\r\nContent-Length: 34\r\n\r\n"
        "GET /version HTTP/1.1\r\nHost: s\r\n\r\n",
        "DELETE /v1/completions HTTP/1.1\r\nHost: sim\r\n\r\n",
        "GET /health HTTP/1.1\r\nHost: sim\r\nX: \x01\r\n\r\n",
    };
    static const char *const bodies[] = {
        "{\"prompt\":",
        "[]",
        "{\"prompt\":[3],\"max_tokens\":-1}",
        "{\"prompt\":[3],\"n\":1000000}",
        "{\"prompt\":[300]}",
        "{\"prompt\":[3],\"model\":\"another\"}",
        "{\"prompt\":[3],\"logit_bias\":{\"3\":1e999}}",
        "{\"prompt\":\"\xff\xfe\"}",
        "{\"prompt\":[3],\"what_is_this\":1}",
        "{\"prompt\":[]}",
        "{\"messages\":[]}",
    };
    enum { N_RAW = sizeof raw / sizeof *raw, N_BODIES = sizeof bodies / sizeof *bodies };
    const uint32_t which = srv_draw(s, N_RAW + N_BODIES);
    if (which < N_RAW) {
        must(oct_buf_append(out, raw[which], strlen(raw[which])));
        return;
    }
    struct oct_buf body = {0};
    must(oct_buf_printf(&body, "%s", bodies[which - N_RAW]));
    put_post(out, "/v1/completions", &body);
    oct_buf_free(&body);
}

static void plan_client(struct srv *s, struct srv_client *c)
{
    c->n_requests = srv_chance(s, 60) ? 1 : 1 + (int)srv_draw(s, SRV_MAX_REQUESTS);
    c->is_slow_reader = srv_chance(s, 15);
    c->is_slow_sender = srv_chance(s, 15);
    c->leaves = srv_chance(s, 25);
    c->pipelines = srv_chance(s, 30);
    for (int i = 0; i < c->n_requests; i++) {
        struct srv_request *r = &c->request[i];
        const uint32_t kind = srv_draw(s, 100);
        r->kind = kind < 10 ? SRV_LOOK : kind < 22 ? SRV_HOSTILE : SRV_GENERATE;
        if (r->kind == SRV_GENERATE) {
            plan_generate(s, r, &c->bytes);
        } else if (r->kind == SRV_LOOK) {
            plan_look(s, &c->bytes);
        } else {
            plan_hostile(s, &c->bytes);
        }
        r->end = c->bytes.len;
    }
}

/* ---- what they are told ---- */

static const char *error_of(const json_t *o)
{
    const char *text = json_string_value(json_object_get(json_object_get(o, "error"), "message"));
    return text && *text ? text : NULL;
}

static bool may_fail(const struct srv *s, const struct srv_request *r)
{
    return s->is_draining || fake_fails(&s->options) || r->is_nan;
}

/* Whether the server may say that. */
static bool may_say(const struct srv *s, const struct srv_client *c, const struct srv_request *r,
                    int status)
{
    const bool is_hostile = r->kind == SRV_HOSTILE;
    switch (status) {
    case 200:
        return !is_hostile;
    case 429:
        return s->small_queue;
    case 503:
        return may_fail(s, r) || s->few_connections;
    case 500:
        return r->is_nan || fake_fails(&s->options);
    case 408:
        /* 10 s for a head, 30 s between bytes of a body */
        return srv_now_us() - c->connect_us >= 10000000;
    default:
        return is_hostile && status >= 400 && status < 500;
    }
}

static void check_choice(struct srv *s, const struct srv_request *r, const char *text, size_t len,
                         bool is_whole)
{
    if (len > r->text.len || (is_whole && len != r->text.len) ||
        (len > 0 && memcmp(text, r->text.data, len) != 0)) {
        srv_wrong(s, "a choice says %zu bytes, %s those of its oracle (%zu)", len,
                  is_whole ? "not" : "not the first of", r->text.len);
    }
}

/* What a connection that stalled still holds reaches its client when the pair is freed: a socket's
 * would not. Such a call has left, by the server's word. */
static void count_full(struct srv *s, const struct srv_client *c)
{
    s->n_full++;
    s->n_full_late += c->is_slow_reader ? 1 : 0;
}

static void check_whole(struct srv *s, const struct srv_client *c, const struct srv_request *r)
{
    json_t *o = json_loadb(c->body.data, c->body.len, JSON_ALLOW_NUL, NULL);
    const json_t *choices = json_object_get(o, "choices"), *usage = json_object_get(o, "usage");
    if (!o || json_array_size(choices) != (size_t)r->n ||
        json_integer_value(json_object_get(usage, "prompt_tokens")) != r->n_prompt ||
        json_integer_value(json_object_get(usage, "completion_tokens")) != r->n * r->max_tokens) {
        srv_wrong(s, "a whole answer is not: %.300s", c->body.data ? c->body.data : "");
    }
    for (size_t i = 0; i < (size_t)r->n; i++) {
        const json_t *choice = json_array_get(choices, i), *text = json_object_get(choice, "text");
        const char *why = json_string_value(json_object_get(choice, "finish_reason"));
        check_choice(s, r, json_string_value(text), json_string_length(text), true);
        if (json_integer_value(json_object_get(choice, "index")) != (json_int_t)i || !why ||
            strcmp(why, "length") != 0) {
            srv_wrong(s, "choice %zu: its index, or finish_reason %s", i, why ? why : "(none)");
        }
    }
    json_decref(o);
    count_full(s, c);
}

struct told {
    struct oct_buf text[SRV_MAX_CHOICES];
    bool has_ended[SRV_MAX_CHOICES];
    bool is_done, has_error;
};

static void take_event(struct srv *s, const struct srv_request *r, struct told *t, const char *line,
                       size_t len)
{
    if (t->is_done) {
        srv_wrong(s, "a stream goes on after [DONE]");
    }
    if (len == 6 && !memcmp(line, "[DONE]", 6)) {
        t->is_done = true;
        return;
    }
    json_t *o = json_loadb(line, len, JSON_ALLOW_NUL, NULL);
    const json_t *choice = json_array_get(json_object_get(o, "choices"), 0);
    const json_t *text = json_object_get(choice, "text");
    const json_int_t i = json_integer_value(json_object_get(choice, "index"));
    if (error_of(o)) {
        t->has_error = true;
    } else if (!json_is_string(text) || i < 0 || i >= r->n || t->has_ended[i] || t->has_error) {
        srv_wrong(s, "an event of a stream is not one: %.*s", (int)len, line);
    } else {
        must(oct_buf_append(&t->text[i], json_string_value(text), json_string_length(text)));
        t->has_ended[i] = json_is_string(json_object_get(choice, "finish_reason"));
    }
    json_decref(o);
}

/* is_cut: the connection ended before the answer did. */
static void check_stream(struct srv *s, const struct srv_client *c, const struct srv_request *r,
                         bool is_cut)
{
    struct told t = {0};
    const char *at = c->body.data ? c->body.data : "", *end = at + c->body.len;
    for (const char *stop; (stop = memmem(at, (size_t)(end - at), "\n\n", 2)); at = stop + 2) {
        if (stop - at < 6 || memcmp(at, "data: ", 6) != 0) {
            srv_wrong(s, "a stream holds what is no event: %.*s", (int)(stop - at), at);
        }
        take_event(s, r, &t, at + 6, (size_t)(stop - at) - 6);
    }
    if (!is_cut && (!t.is_done || at != end)) {
        srv_wrong(s, "a stream ends without [DONE]");
    }
    if (t.has_error && !may_fail(s, r)) {
        srv_wrong(s, "a stream ends with an error that has no cause: %.*s", (int)c->body.len,
                  c->body.data);
    }
    for (int i = 0; i < r->n; i++) {
        const bool is_whole = !is_cut && !t.has_error;
        check_choice(s, r, t.text[i].data, t.text[i].len, is_whole);
        if (is_whole && !t.has_ended[i]) {
            srv_wrong(s, "choice %d of a stream has no finish_reason", i);
        }
        oct_buf_free(&t.text[i]);
    }
    if (!is_cut && !t.has_error) {
        count_full(s, c);
    }
    s->n_errors += t.has_error ? 1 : 0;
}

static void check_answer(struct srv *s, const struct srv_client *c)
{
    const struct srv_request *r = &c->request[c->at];
    const int status = (int)c->parser.status_code;
    if (s->verbose) {
        printf("%8lld client %d: answer %d is %d, %zu bytes\n", (long long)srv_now_us(),
               (int)(c - s->client), c->at, status, c->body.len);
    }
    if (!may_say(s, c, r, status)) {
        srv_wrong(s, "client %d, request %d: status %d: %.300s", (int)(c - s->client), c->at,
                  status, c->body.data ? c->body.data : "");
    }
    if (status != 200) {
        json_t *o = json_loadb(c->body.data ? c->body.data : "", c->body.len, JSON_ALLOW_NUL, NULL);
        if (r->kind != SRV_LOOK && !error_of(o)) {
            srv_wrong(s, "status %d without a sentence: %.300s", status, c->body.data);
        }
        json_decref(o);
        s->n_errors++;
    } else if (r->kind == SRV_GENERATE) {
        r->stream ? check_stream(s, c, r, false) : check_whole(s, c, r);
    }
}

/* ---- a connection ---- */

static void hang_up(struct srv_client *c)
{
    if (c->bev) {
        (void)bufferevent_flush(c->bev, EV_WRITE, BEV_FINISHED);
        bufferevent_free(c->bev);
        c->bev = NULL;
    }
    c->is_over = true;
}

void srv_leave(struct srv *s, struct srv_client *c, bool told)
{
    if (c->bev && told) {
        if (s->verbose) {
            printf("%8lld client %d leaves\n", (long long)srv_now_us(), (int)(c - s->client));
        }
        s->n_left++;
        hang_up(c);
    } else if (c->bev) {
        bufferevent_free(c->bev);
        c->bev = NULL;
    }
}

static int on_begin(http_parser *p)
{
    ((struct srv_client *)p->data)->has_begun = true;
    return 0;
}

static int on_body(http_parser *p, const char *data, size_t len)
{
    must(oct_buf_append(&((struct srv_client *)p->data)->body, data, len));
    return 0;
}

static int on_complete(http_parser *p)
{
    ((struct srv_client *)p->data)->is_complete = true;
    http_parser_pause(p, 1); /* the next answer is another's */
    return 0;
}

static const http_parser_settings settings = {
    .on_message_begin = on_begin, .on_body = on_body, .on_message_complete = on_complete};

static void await_answer(struct srv_client *c)
{
    http_parser_init(&c->parser, HTTP_RESPONSE);
    c->parser.data = c;
    c->has_begun = c->is_complete = false;
    oct_buf_clear(&c->body);
}

static void answered(struct srv *s, struct srv_client *c)
{
    const bool goes_on = http_should_keep_alive(&c->parser) != 0;
    check_answer(s, c);
    c->at++;
    c->idle_us = srv_now_us();
    if (!goes_on || c->at == c->n_requests) {
        hang_up(c);
        return;
    }
    await_answer(c);
}

static void on_read(struct bufferevent *bev, void *arg)
{
    struct srv_client *c = arg;
    struct srv *s = world;
    struct evbuffer *in = bufferevent_get_input(bev);
    for (size_t len; c->bev && (len = evbuffer_get_length(in)) > 0;) {
        const char *data = (const char *)evbuffer_pullup(in, -1);
        const size_t used = http_parser_execute(&c->parser, &settings, data, len);
        const enum http_errno err = HTTP_PARSER_ERRNO(&c->parser);
        if (err != HPE_OK && err != HPE_PAUSED) {
            srv_wrong(s, "client %d: an answer is no HTTP (%s): %.*s", (int)(c - s->client),
                      http_errno_name(err), (int)len, data);
        }
        (void)evbuffer_drain(in, used);
        if (c->is_complete) {
            answered(s, c);
        }
    }
}

/* The server has closed. Where an answer was due, it must have had a reason that the client knows.
 */
static void on_event(struct bufferevent *bev, short what, void *arg)
{
    struct srv_client *c = arg;
    struct srv *s = world;
    const struct srv_request *r = &c->request[c->at];
    (void)bev, (void)what;
    on_read(c->bev, c);
    if (!c->bev) {
        return;
    }
    const size_t begin = c->at ? c->request[c->at - 1].end : 0;
    /* 75 s without a request: it closes, and cannot know that one is on its way */
    const bool was_idle = srv_now_us() - c->idle_us >= 75 * 1000000;
    if (c->has_begun) {
        if (!c->is_slow_reader) {
            srv_wrong(s, "client %d: answer %d is cut after %zu bytes", (int)(c - s->client), c->at,
                      c->body.len);
        }
        if (c->parser.status_code == 200 && r->kind == SRV_GENERATE && r->stream) {
            check_stream(s, c, r, true);
        }
        s->n_cut++;
    } else if (c->sent > begin && !s->is_draining && !was_idle && !c->is_slow_reader) {
        srv_wrong(s, "client %d: request %d is closed upon without a word", (int)(c - s->client),
                  c->at);
    }
    hang_up(c);
}

static void set_reading(struct srv_client *c, bool on)
{
    c->is_reading = on;
    if (c->bev) {
        (void)(on ? bufferevent_enable(c->bev, EV_READ) : bufferevent_disable(c->bev, EV_READ));
    }
}

void srv_connect(struct srv *s)
{
    if (s->n_clients == s->n_planned || s->is_draining) {
        return;
    }
    struct bufferevent *pair[2];
    struct srv_client *c = &s->client[s->n_clients++];
    world = s;
    plan_client(s, c);
    if (bufferevent_pair_new(oct_http_base(s->http), BEV_OPT_CLOSE_ON_FREE, pair) != 0) {
        srv_wrong(s, "no pair of connections");
    }
    c->bev = pair[1];
    c->connect_us = c->idle_us = srv_now_us();
    await_answer(c);
    bufferevent_setcb(c->bev, on_read, NULL, on_event, c);
    (void)bufferevent_enable(c->bev, EV_WRITE);
    set_reading(c, true);
    if (s->verbose) {
        printf("%8lld client %d: %d requests%s%s%s%s\n", (long long)srv_now_us(), s->n_clients - 1,
               c->n_requests, c->pipelines ? ", pipelined" : "",
               c->is_slow_reader ? ", reads slowly" : "", c->is_slow_sender ? ", sends slowly" : "",
               c->leaves ? ", leaves" : "");
    }
    must(oct_http_attach(s->http, pair[0], "sim"));
}

static void send_some(struct srv *s, struct srv_client *c, size_t most)
{
    const size_t upto = c->pipelines ? c->bytes.len : c->request[c->at].end;
    size_t n = upto - c->sent;
    n = n < most ? n : most;
    if (n > 0) {
        if (bufferevent_write(c->bev, c->bytes.data + c->sent, n) != 0) {
            srv_wrong(s, "a client cannot write");
        }
        c->sent += n;
    }
}

void srv_act(struct srv *s, int i)
{
    struct srv_client *c = &s->client[i];
    if (!c->bev) {
        return;
    }
    if (c->leaves && srv_chance(s, 6)) {
        srv_leave(s, c, true);
        return;
    }
    if (c->is_slow_reader && srv_chance(s, 40)) {
        set_reading(c, !c->is_reading);
    }
    send_some(s, c,
              c->is_slow_sender   ? 1 + srv_draw(s, 60)
              : srv_chance(s, 30) ? 1 + srv_draw(s, 400)
                                  : SIZE_MAX);
}

void srv_hurry(struct srv *s, struct srv_client *c)
{
    if (c->bev) {
        set_reading(c, true);
        send_some(s, c, SIZE_MAX);
    }
}

void srv_free_client(struct srv_client *c)
{
    oct_buf_free(&c->bytes);
    oct_buf_free(&c->body);
    for (int i = 0; i < c->n_requests; i++) {
        oct_buf_free(&c->request[i].text);
    }
}
