/* SPDX-License-Identifier: Apache-2.0
 *
 * bench_client.c - connections and HTTP; what an answer says is bench_client_answer.c's. */
#include "serve/bench_client.h"
#include "serve/bench_client_answer.h"

#include "base/clock.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <http_parser.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { MAX_HEADER = 64, MAX_KEPT_REQUEST = 64 << 10 };

struct connection {
    struct oct_client *client;
    struct connection *next, *prev; /* of all */
    struct connection *next_idle, *prev_idle;
    bool is_idle;
    struct bufferevent *bev;
    struct event *timer; /* of the call */
    http_parser parser;
    struct oct_call *call;  /* NULL: idle */
    struct oct_buf request; /* what was sent, in case it must be sent again */
    struct oct_sse sse;
    char field[MAX_HEADER], value[MAX_HEADER]; /* of the header that is read now, cut */
    size_t field_len, value_len;
    bool is_stream;
    bool was_used;  /* has answered before this call */
    bool got_bytes; /* of this answer */
    bool complete;
};

struct oct_client {
    struct event_base *base;
    const struct oct_target *target;
    const char *api_key;
    struct connection *all, *idle; /* idle: the last used first */
    struct oct_client_stats stats;
};

/* ---- life of a connection ---- */

static void set_idle(struct connection *c, bool idle)
{
    struct oct_client *client = c->client;
    if (c->is_idle == idle) {
        return;
    }
    c->is_idle = idle;
    if (idle) {
        c->prev_idle = NULL;
        c->next_idle = client->idle;
        if (client->idle) {
            client->idle->prev_idle = c;
        }
        client->idle = c;
        return;
    }
    if (c->prev_idle) {
        c->prev_idle->next_idle = c->next_idle;
    } else {
        client->idle = c->next_idle;
    }
    if (c->next_idle) {
        c->next_idle->prev_idle = c->prev_idle;
    }
}

static void close_connection(struct connection *c)
{
    struct oct_client *client = c->client;
    set_idle(c, false);
    if (c->prev) {
        c->prev->next = c->next;
    } else {
        client->all = c->next;
    }
    if (c->next) {
        c->next->prev = c->prev;
    }
    if (c->bev) {
        bufferevent_free(c->bev);
    }
    if (c->timer) {
        event_free(c->timer);
    }
    oct_buf_free(&c->request);
    oct_sse_deinit(&c->sse);
    oct_free(c);
    client->stats.n_open--;
}

/* The call is over; the connection lives on if it may. */
static void end_call(struct connection *c, enum oct_call_end end, bool keep)
{
    struct oct_call *call = c->call;
    call->end = end;
    call->end_us = oct_clock_us();
    c->call = NULL;
    (void)event_del(c->timer);
    if (keep) {
        c->was_used = true;
        if (c->request.cap > MAX_KEPT_REQUEST) {
            oct_buf_free(&c->request);
        }
        set_idle(c, true);
    } else {
        close_connection(c);
    }
    call->on_end(call);
}

__attribute__((format(printf, 2, 3))) static void cut(struct connection *c, const char *fmt, ...)
{
    char text[OCT_CALL_ERROR_BYTES];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (!c->call->saw_error) { /* the server's own sentence says more */
        oct_error_quote(c->call->error, sizeof c->call->error, text, strlen(text));
    }
    end_call(c, c->call->saw_error ? OCT_CALL_ERROR : OCT_CALL_CUT, false);
}

/* ---- the answer's grammar ---- */

static struct connection *of(http_parser *p)
{
    return p->data;
}

static void take_header(struct connection *c)
{
    struct oct_client_stats *s = &c->client->stats;
    if (c->field_len == 0) {
        return;
    }
    c->field[c->field_len] = c->value[c->value_len] = '\0';
    if (!strcasecmp(c->field, "content-type")) {
        c->is_stream = !strncasecmp(c->value, "text/event-stream", 17);
    } else if (!strcasecmp(c->field, "server") && !s->server[0]) {
        oct_error_quote(s->server, sizeof s->server, c->value, c->value_len);
    }
    c->field_len = c->value_len = 0;
}

static void put(char dst[MAX_HEADER], size_t *len, const char *at, size_t n)
{
    const size_t room = MAX_HEADER - 1 - *len;
    n = n < room ? n : room;
    memcpy(dst + *len, at, n);
    *len += n;
}

static int on_field(http_parser *p, const char *at, size_t n)
{
    struct connection *c = of(p);
    if (c->value_len > 0) {
        take_header(c);
    }
    put(c->field, &c->field_len, at, n);
    return 0;
}

static int on_value(http_parser *p, const char *at, size_t n)
{
    put(of(p)->value, &of(p)->value_len, at, n);
    return 0;
}

static int on_headers_complete(http_parser *p)
{
    struct connection *c = of(p);
    take_header(c);
    c->call->status = p->status_code;
    c->is_stream = c->is_stream && p->status_code == 200;
    return 0;
}

static int on_body(http_parser *p, const char *at, size_t n)
{
    struct connection *c = of(p);
    return c->is_stream ? oct_sse_take(&c->sse, at, n, c->call) : oct_body_take(c->call, at, n);
}

static int on_message_complete(http_parser *p)
{
    struct connection *c = of(p);
    if (p->status_code >= 100 && p->status_code < 200) {
        return 0; /* 100 Continue: the answer is still to come */
    }
    c->complete = true;
    http_parser_pause(p, 1);
    return 0;
}

static const http_parser_settings settings = {
    .on_header_field = on_field,
    .on_header_value = on_value,
    .on_headers_complete = on_headers_complete,
    .on_body = on_body,
    .on_message_complete = on_message_complete,
};

/* The message is whole: what became of the call? */
static void judge(struct connection *c, bool keep)
{
    struct oct_call *call = c->call;
    if (call->status != 200) {
        const bool refused = call->status == 429 || call->status == 503;
        oct_body_error(call);
        end_call(c, refused ? OCT_CALL_REFUSED : OCT_CALL_ERROR, keep);
    } else if (call->saw_error) {
        end_call(c, OCT_CALL_ERROR, keep);
    } else if (c->is_stream && !call->saw_finish && !call->saw_done) {
        cut(c, "the stream ended without a finish_reason or [DONE]");
    } else {
        end_call(c, OCT_CALL_DONE, keep);
    }
}

/* ---- events of a connection ---- */

static void send_request(struct connection *c)
{
    c->got_bytes = c->complete = c->is_stream = false;
    c->field_len = c->value_len = 0;
    oct_sse_reset(&c->sse);
    http_parser_init(&c->parser, HTTP_RESPONSE);
    c->parser.data = c;
    if (bufferevent_write(c->bev, c->request.data, c->request.len) != 0) {
        cut(c, "no memory to send the request");
    }
}

static void on_read(struct bufferevent *bev, void *arg)
{
    struct connection *c = arg;
    struct evbuffer *in = bufferevent_get_input(bev);
    if (!c->call) { /* nobody asked */
        close_connection(c);
        return;
    }
    c->got_bytes = true;
    c->sse.now_us = oct_clock_us(); /* one read, one time */
    size_t n;
    while ((n = evbuffer_get_contiguous_space(in)) > 0) {
        const char *data = (const char *)evbuffer_pullup(in, (ev_ssize_t)n);
        const size_t parsed = http_parser_execute(&c->parser, &settings, data, n);
        const enum http_errno e = HTTP_PARSER_ERRNO(&c->parser);
        if (c->complete) {
            (void)evbuffer_drain(in, parsed);
            const bool keep = http_should_keep_alive(&c->parser) && evbuffer_get_length(in) == 0;
            judge(c, keep);
            return;
        }
        (void)evbuffer_drain(in, n);
        if (e == HPE_CB_body) {
            cut(c, "%s", c->call->error);
            return;
        }
        if (e != HPE_OK || c->parser.upgrade) {
            cut(c, "the answer is not HTTP: %s", http_errno_description(e));
            return;
        }
    }
}

static oct_status connect_to(struct connection *c);

/* The server, or something on the way, has ended the connection. */
static void ended(struct connection *c, const char *why)
{
    struct oct_client *client = c->client;
    if (!c->call) {
        close_connection(c);
        return;
    }
    if (c->got_bytes) { /* a body may last until the connection ends */
        (void)http_parser_execute(&c->parser, &settings, NULL, 0);
        if (c->complete || c->call->saw_done) {
            judge(c, false);
            return;
        }
    } else if (c->was_used) {
        /* It had been idle, and the server's closing it has crossed our request: as every HTTP
         * client does, once more on a new connection. */
        bufferevent_free(c->bev);
        c->bev = NULL;
        c->was_used = false;
        client->stats.n_resent++;
        if (connect_to(c) == OCT_OK) {
            send_request(c);
        } else {
            cut(c, "%s", oct_last_error());
        }
        return;
    }
    cut(c, "%s %s", why, c->got_bytes ? "in the middle of the answer" : "before any answer");
}

static void on_event(struct bufferevent *bev, short what, void *arg)
{
    struct connection *c = arg;
    if (what & BEV_EVENT_CONNECTED) {
        const int on = 1; /* a Unix socket has no such option */
        (void)setsockopt(bufferevent_getfd(bev), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        return;
    }
    const int e = EVUTIL_SOCKET_ERROR();
    char why[128];
    const unsigned long tls = c->client->target->tls ? bufferevent_get_openssl_error(bev) : 0;
    if (tls) {
        (void)snprintf(why, sizeof why, "TLS: %s,", ERR_reason_error_string(tls));
    } else if (what & BEV_EVENT_EOF) {
        (void)snprintf(why, sizeof why, "the server closed the connection");
    } else {
        (void)snprintf(why, sizeof why, "the connection failed (%s)", strerror(e));
    }
    ended(c, why);
}

static void on_timeout(evutil_socket_t fd, short what, void *arg)
{
    struct connection *c = arg;
    (void)fd;
    (void)what;
    (void)snprintf(c->call->error, sizeof c->call->error, "no end within %g s",
                   (double)c->call->timeout_us / 1e6);
    end_call(c, OCT_CALL_TIMED_OUT, false);
}

/* ---- starting ---- */

static oct_status connect_to(struct connection *c)
{
    const struct oct_target *t = c->client->target;
    if (t->tls) {
        SSL *s = oct_target_tls(t);
        c->bev = s ? bufferevent_openssl_socket_new(
                         c->client->base, -1, s, BUFFEREVENT_SSL_CONNECTING, BEV_OPT_CLOSE_ON_FREE)
                   : NULL;
        if (c->bev) {
            bufferevent_openssl_set_allow_dirty_shutdown(c->bev, 1);
        }
    } else {
        c->bev = bufferevent_socket_new(c->client->base, -1, BEV_OPT_CLOSE_ON_FREE);
    }
    if (!c->bev) {
        return oct_no_memory("a connection", 1);
    }
    bufferevent_setcb(c->bev, on_read, NULL, on_event, c);
    if (bufferevent_enable(c->bev, EV_READ | EV_WRITE) != 0) {
        return oct_no_memory("a connection", 1);
    }
    c->client->stats.n_connects++;
    /* What fails at once is told twice, by the result and by the callback: not by us. */
    bufferevent_setcb(c->bev, NULL, NULL, NULL, NULL);
    const int failed = bufferevent_socket_connect(c->bev, (const struct sockaddr *)&t->address,
                                                  (int)t->address_len);
    const int e = errno;
    bufferevent_setcb(c->bev, on_read, NULL, on_event, c);
    return failed ? OCT_FAIL(OCT_E_IO, "no connection: %s", strerror(e)) : OCT_OK;
}

static struct connection *new_connection(struct oct_client *client)
{
    struct connection *c = oct_calloc(1, sizeof *c);
    if (!c) {
        return NULL;
    }
    c->client = client;
    c->timer = evtimer_new(client->base, on_timeout, c);
    if (!c->timer) {
        oct_free(c);
        return NULL;
    }
    oct_sse_init(&c->sse);
    c->next = client->all;
    if (client->all) {
        client->all->prev = c;
    }
    client->all = c;
    struct oct_client_stats *s = &client->stats;
    s->n_open++;
    s->max_open = s->n_open > s->max_open ? s->n_open : s->max_open;
    return c;
}

static oct_status write_request(struct connection *c, const char *path, const char *body,
                                size_t len)
{
    const struct oct_target *t = c->client->target;
    const char *key = c->client->api_key;
    struct oct_buf *b = &c->request;
    const bool v6 = strchr(t->host, ':') != NULL;
    oct_buf_clear(b);
    OCT_TRY(oct_buf_printf(b, "%s %s%s HTTP/1.1\r\nHost: %s%s%s:%u\r\nUser-Agent: octavo-bench\r\n",
                           body ? "POST" : "GET", t->prefix, path, v6 ? "[" : "", t->host,
                           v6 ? "]" : "", t->port));
    if (key) {
        OCT_TRY(oct_buf_printf(b, "Authorization: Bearer %s\r\n", key));
    }
    if (!body) {
        return oct_buf_append(b, "\r\n", 2);
    }
    OCT_TRY(
        oct_buf_printf(b, "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n", len));
    return oct_buf_append(b, body, len);
}

void oct_client_start(struct oct_client *client, const char *path, const char *body, size_t len,
                      struct oct_call *call)
{
    struct connection *c = client->idle ? client->idle : new_connection(client);
    call->n_prompt = call->n_output = -1;
    if (!c) {
        (void)snprintf(call->error, sizeof call->error, "no memory for a connection");
        call->end = OCT_CALL_CUT;
        call->end_us = oct_clock_us();
        call->on_end(call);
        return;
    }
    set_idle(c, false);
    c->call = call;
    oct_status st;
    OCT_TRY_GOTO(write_request(c, path, body, len), st, fail);
    if (!c->bev) {
        OCT_TRY_GOTO(connect_to(c), st, fail);
    }
    const struct timeval timeout = {.tv_sec = call->timeout_us / 1000000,
                                    .tv_usec = call->timeout_us % 1000000};
    (void)event_add(c->timer, &timeout);
    send_request(c);
    return;
fail:
    cut(c, "%s", oct_last_error());
}

/* ---- the client ---- */

oct_status oct_client_create(struct event_base *base, const struct oct_target *target,
                             const char *api_key, struct oct_client **out)
{
    for (const char *k = api_key; k && *k; k++) {
        if ((unsigned char)*k <= ' ' || (unsigned char)*k >= 0x7f) {
            return OCT_FAIL(OCT_E_ARG, "--api-key: a key is printable ASCII without spaces");
        }
    }
    struct oct_client *c = oct_calloc(1, sizeof *c);
    if (!c) {
        return oct_no_memory("the client", sizeof *c);
    }
    c->base = base;
    c->target = target;
    c->api_key = api_key;
    *out = c;
    return OCT_OK;
}

void oct_client_stop(struct oct_client *client)
{
    for (struct connection *c = client->all, *next; c; c = next) {
        next = c->next;
        if (c->call) {
            (void)snprintf(c->call->error, sizeof c->call->error, "the client stopped");
            end_call(c, OCT_CALL_LEFT, false);
        }
    }
}

void oct_client_destroy(struct oct_client *client)
{
    if (!client) {
        return;
    }
    oct_client_stop(client);
    while (client->all) {
        close_connection(client->all);
    }
    oct_free(client);
}

const struct oct_client_stats *oct_client_get_stats(const struct oct_client *c)
{
    return &c->stats;
}
