/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/mock_server.h"

#include "base/clock.h"

#include <criterion/criterion.h>
#include <arpa/inet.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <fcntl.h>
#include <jansson.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

struct client {
    struct mock *m;
    struct client *next, *prev;
    struct bufferevent *bev;
    struct event *timer;
    const struct mock_row *row;
    struct mock_request *request; /* NULL: none is answered now */
    int n_sent, n_tokens;
    bool closing;
};
struct mock_inside {
    struct event_base *base;
    struct evconnlistener *listener;
    struct client *clients;
    SSL_CTX *ssl;
    pthread_t thread;
    int wake[2];
    struct event *woken;
};

/* The thread is no test: a failed assertion of Criterion's would jump out of another stack. */
#define MUST(cond) \
    do { \
        if (!(cond)) { \
            (void)fprintf(stderr, "mock server, line %d: not so: %s\n", __LINE__, #cond); \
            abort(); \
        } \
    } while (0)

static void drop(struct client *c)
{
    if (c->request) {
        c->m->at_once--;
    }
    if (c->prev) {
        c->prev->next = c->next;
    } else {
        c->m->inside->clients = c->next;
    }
    if (c->next) {
        c->next->prev = c->prev;
    }
    event_free(c->timer);
    bufferevent_free(c->bev);
    free(c);
}

/* Drops it once all is written. */
static void close_later(struct client *c)
{
    c->closing = true;
    if (evbuffer_get_length(bufferevent_get_output(c->bev)) == 0) {
        (void)shutdown(bufferevent_getfd(c->bev), SHUT_WR);
        drop(c);
    }
}

static void on_written(struct bufferevent *bev, void *arg)
{
    struct client *c = arg;
    (void)bev;
    if (c->closing) {
        drop(c);
    }
}

static void send_text(struct client *c, const char *text)
{
    MUST(bufferevent_write(c->bev, text, strlen(text)) == 0);
}

static void send_chunk(struct client *c, const char *text)
{
    struct evbuffer *out = bufferevent_get_output(c->bev);
    if (c->row->kind == MOCK_UNTIL_CLOSE) {
        send_text(c, text);
        return;
    }
    const size_t len = strlen(text), step = c->row->kind == MOCK_SPLIT ? 3 : len;
    for (size_t at = 0; at < len; at += step) {
        const size_t n = len - at < step ? len - at : step;
        MUST(evbuffer_add_printf(out, "%zx\r\n%.*s\r\n", n, (int)n, text + at) >= 0);
    }
}

static void send_event(struct client *c, const char *json)
{
    char text[1024];
    const bool split = c->row->kind == MOCK_SPLIT;
    (void)snprintf(text, sizeof text, "%sdata:%s%s%s",
                   split ? ": ping\r\n\r\nevent: token\r\n" : "", split ? "" : " ", json,
                   split ? "\r\n\r\n" : "\n\n");
    send_chunk(c, text);
}

static void send_token(struct client *c)
{
    const struct mock_request *q = c->request;
    char text[32], json[256];
    const bool wrong = c->row->kind == MOCK_OTHER_TEXT && c->n_sent == 1;
    (void)snprintf(text, sizeof text, " w%llu",
                   (unsigned long long)((q->prompt_hash >> (c->n_sent % 48)) % 997 + wrong));
    if (q->chat) {
        if (c->n_sent == 0) { /* no token: only says who speaks */
            send_event(c, "{\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\","
                          "\"content\":\"\"},\"finish_reason\":null}]}");
        }
        (void)snprintf(json, sizeof json,
                       "{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"%s\"},"
                       "\"finish_reason\":null}],\"usage\":null}",
                       text);
    } else {
        (void)snprintf(json, sizeof json,
                       "{\"choices\":[{\"index\":0,\"text\":\"%s\",\"finish_reason\":null}]}",
                       text);
    }
    send_event(c, json);
}

static void end_request(struct client *c)
{
    c->m->at_once--;
    c->request = NULL;
}

static void finish(struct client *c)
{
    const enum mock_kind kind = c->row->kind;
    const struct mock_request *q = c->request;
    char json[256];
    (void)snprintf(json, sizeof json,
                   "{\"choices\":[{\"index\":0,\"%s,\"finish_reason\":\"length\"}]}",
                   q->chat ? "delta\":{}" : "text\":\"\"");
    send_event(c, json);
    if (kind != MOCK_NO_USAGE) {
        (void)snprintf(json, sizeof json,
                       "{\"choices\":[],\"usage\":{\"prompt_tokens\":%d,\"completion_tokens\":%d}}",
                       q->n_words, q->n_tokens);
        send_event(c, json);
    }
    if (kind != MOCK_NO_DONE) {
        send_event(c, "[DONE]");
    }
    end_request(c);
    if (kind == MOCK_CUT_DONE || kind == MOCK_UNTIL_CLOSE) {
        close_later(c);
        return;
    }
    send_text(c, "0\r\n\r\n");
    if (kind == MOCK_DROPS_IDLE || kind == MOCK_CLOSES) {
        close_later(c);
    }
}

static void wait_ms(struct client *c, int ms)
{
    const struct timeval t = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
    (void)event_add(c->timer, &t);
}

/* After two tokens; true if that was the end. */
static bool misbehave(struct client *c)
{
    switch (c->row->kind) {
    case MOCK_CUT:
        end_request(c);
        close_later(c);
        return true;
    case MOCK_NOT_JSON:
        send_event(c, "{\"choices\": [");
        return false;
    case MOCK_NO_END:
        send_text(c, "0\r\n\r\n");
        end_request(c);
        return true;
    case MOCK_ERROR_EVENT:
    case MOCK_ERROR_CUT:
        send_event(c, "{\"error\":{\"message\":\"the engine is on fire\",\"code\":500}}");
        end_request(c);
        if (c->row->kind == MOCK_ERROR_CUT) {
            close_later(c);
        } else {
            send_event(c, "[DONE]");
            send_text(c, "0\r\n\r\n");
        }
        return true;
    default:
        return false;
    }
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct client *c = arg;
    struct mock_request *q = c->request;
    (void)fd;
    (void)what;
    if (c->n_sent == 2 && misbehave(c)) {
        return;
    }
    if (c->n_sent == c->n_tokens) {
        finish(c);
        return;
    }
    send_token(c);
    q->last_us = oct_clock_us();
    q->first_us = c->n_sent == 0 ? q->last_us : q->first_us;
    c->n_sent++;
    q->n_tokens = c->n_sent;
    wait_ms(c, c->n_sent == c->n_tokens ? 0 : c->row->gap_ms);
}

static void begin(struct client *c)
{
    const struct mock_row *r = c->row;
    struct evbuffer *out = bufferevent_get_output(c->bev);
    switch (r->kind) {
    case MOCK_SILENT:
        return;
    case MOCK_NO_ANSWER:
        drop(c);
        return;
    case MOCK_NOT_HTTP:
        send_text(c, "+OK redis\r\n\r\n");
        return;
    case MOCK_STATUS: {
        static const char body[] = "{\"error\":{\"message\":\"out of luck\",\"type\":\"x\"}}";
        MUST(evbuffer_add_printf(out,
                                 "HTTP/1.1 %d Whatever\r\nContent-Type: application/json"
                                 "\r\nContent-Length: %zu\r\n\r\n%s",
                                 r->status, sizeof body - 1, body) >= 0);
        end_request(c);
        return;
    }
    default:
        break;
    }
    send_text(c, "HTTP/1.1 200 OK\r\nServer: mock/1\r\nContent-Type: text/event-stream\r\n");
    send_text(c, r->kind == MOCK_UNTIL_CLOSE ? "\r\n" : "Transfer-Encoding: chunked\r\n");
    if (r->kind != MOCK_UNTIL_CLOSE) {
        send_text(c, r->kind == MOCK_CLOSES ? "Connection: close\r\n\r\n" : "\r\n");
    }
    wait_ms(c, r->first_ms);
}

/* ---- requests ---- */

static void read_body(struct client *c, const char *head, const char *body, size_t len)
{
    struct mock *m = c->m;
    MUST(m->n_requests < MOCK_MAX_REQUESTS);
    struct mock_request *q = &m->requests[m->n_requests];
    json_t *o = json_loadb(body, len, 0, NULL);
    MUST(o); /* its body is JSON */
    q->got_us = oct_clock_us();
    q->chat = strstr(head, " /v1/chat/completions ") != NULL;
    const json_t *prompt = json_object_get(o, "prompt");
    if (q->chat) {
        prompt = json_object_get(json_array_get(json_object_get(o, "messages"), 0), "content");
    }
    const char *text = json_string_value(prompt);
    MUST(text);
    q->prompt_hash = 0xcbf29ce484222325u;
    q->n_words = 1;
    for (const char *s = text; *s; s++) {
        q->prompt_hash = (q->prompt_hash ^ (unsigned char)*s) * 0x100000001b3u;
        q->n_words += *s == ' ';
    }
    q->max_tokens = (int)json_integer_value(json_object_get(o, "max_tokens"));
    q->streamed =
        json_is_true(json_object_get(o, "stream")) &&
        json_is_true(json_object_get(json_object_get(o, "stream_options"), "include_usage"));
    q->greedy = json_number_value(json_object_get(o, "temperature")) <= 0;
    q->ignore_eos = json_is_true(json_object_get(o, "ignore_eos"));
    q->with_key = strstr(head, "\r\nAuthorization: Bearer secret\r\n") != NULL;
    json_decref(o);
    if (m->stall_ms && m->n_requests == m->stall_at) {
        (void)usleep((useconds_t)m->stall_ms * 1000);
    }
    c->row = &m->script[(size_t)m->n_requests % m->n_rows];
    c->n_tokens = c->row->n_tokens ? c->row->n_tokens : q->max_tokens;
    c->n_sent = 0;
    c->request = q;
    m->n_requests++;
    m->at_once++;
    m->max_at_once = m->at_once > m->max_at_once ? m->at_once : m->max_at_once;
    begin(c);
}

static void answer_models(struct client *c)
{
    static const char body[] = "{\"object\":\"list\",\"data\":[{\"id\":\"org/mock-model\"}]}";
    c->m->n_models++;
    MUST(evbuffer_add_printf(bufferevent_get_output(c->bev),
                             "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n%s", sizeof body - 1,
                             body) >= 0);
}

static void on_read(struct bufferevent *bev, void *arg)
{
    struct client *c = arg;
    struct evbuffer *in = bufferevent_get_input(bev);
    const struct evbuffer_ptr end = evbuffer_search(in, "\r\n\r\n", 4, NULL);
    if (end.pos < 0) {
        return;
    }
    const size_t n_head = (size_t)end.pos + 4, n_all = evbuffer_get_length(in);
    char *all = (char *)evbuffer_pullup(in, -1);
    const char *length = memmem(all, n_head, "Content-Length: ", 16);
    const size_t n_body = length ? strtoul(length + 16, NULL, 10) : 0;
    if (n_all < n_head + n_body) {
        return;
    }
    char *copy = malloc(n_head + n_body + 1);
    MUST(copy);
    memcpy(copy, all, n_head + n_body);
    copy[n_head + n_body] = '\0';
    (void)evbuffer_drain(in, n_head + n_body);
    if (!strncmp(copy, "GET ", 4)) {
        answer_models(c);
    } else {
        char *body = strdup(copy + n_head);
        copy[n_head] = '\0';
        read_body(c, copy, body, n_body);
        free(body);
    }
    free(copy);
}

static void on_event(struct bufferevent *bev, short what, void *arg)
{
    (void)bev;
    if (!(what & BEV_EVENT_CONNECTED)) {
        drop(arg);
    }
}

static void on_accept(struct evconnlistener *l, evutil_socket_t fd, struct sockaddr *a, int len,
                      void *arg)
{
    struct mock *m = arg;
    struct mock_inside *in = m->inside;
    struct client *c = calloc(1, sizeof *c);
    (void)l;
    (void)a;
    (void)len;
    MUST(c);
    c->m = m;
    c->bev = in->ssl
                 ? bufferevent_openssl_socket_new(in->base, fd, SSL_new(in->ssl),
                                                  BUFFEREVENT_SSL_ACCEPTING, BEV_OPT_CLOSE_ON_FREE)
                 : bufferevent_socket_new(in->base, fd, BEV_OPT_CLOSE_ON_FREE);
    c->timer = evtimer_new(in->base, on_timer, c);
    MUST(c->bev && c->timer);
    c->next = in->clients;
    if (c->next) {
        c->next->prev = c;
    }
    in->clients = c;
    m->n_connections++;
    bufferevent_setcb(c->bev, on_read, on_written, on_event, c);
    MUST(bufferevent_enable(c->bev, EV_READ | EV_WRITE) == 0);
}

/* ---- the server ---- */

static SSL_CTX *make_tls(void)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = X509_new();
    cr_assert(ctx && key && cert);
    (void)ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
    (void)X509_gmtime_adj(X509_getm_notBefore(cert), -3600);
    (void)X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
    X509_NAME *name = X509_get_subject_name(cert);
    (void)X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"localhost",
                                     -1, -1, 0);
    cr_assert(X509_set_issuer_name(cert, name) == 1 && X509_set_pubkey(cert, key) == 1 &&
              X509_sign(cert, key, EVP_sha256()) > 0);
    cr_assert(SSL_CTX_use_certificate(ctx, cert) == 1 && SSL_CTX_use_PrivateKey(ctx, key) == 1);
    X509_free(cert);
    EVP_PKEY_free(key);
    return ctx;
}

static void on_wake(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    (void)event_base_loopbreak(arg);
}

static void *serve(void *arg)
{
    struct mock *m = arg;
    (void)event_base_dispatch(m->inside->base);
    return NULL;
}

void mock_start(struct mock *m)
{
    struct mock_inside *in = calloc(1, sizeof *in);
    union {
        struct sockaddr any;
        struct sockaddr_in ip;
        struct sockaddr_un un;
    } a;
    socklen_t len;
    cr_assert_not_null(in);
    m->inside = in;
    memset(&a, 0, sizeof a);
    if (m->uds) {
        a.un.sun_family = AF_UNIX;
        cr_assert_lt(strlen(m->uds), sizeof a.un.sun_path);
        (void)snprintf(a.un.sun_path, sizeof a.un.sun_path, "%s", m->uds);
        len = sizeof a.un;
    } else {
        a.ip.sin_family = AF_INET;
        a.ip.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        len = sizeof a.ip;
    }
    in->base = event_base_new();
    cr_assert_not_null(in->base);
    in->listener = evconnlistener_new_bind(in->base, on_accept, m,
                                           LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 1024,
                                           &a.any, (int)len);
    cr_assert_not_null(in->listener, "no listener");
    if (!m->uds) {
        cr_assert_eq(getsockname(evconnlistener_get_fd(in->listener), &a.any, &len), 0);
        m->port = ntohs(a.ip.sin_port);
    }
    in->ssl = m->tls ? make_tls() : NULL;
    if (m->n_rows == 0) {
        m->n_rows = 1; /* the first row, all zero: answers at once */
    }
    cr_assert_eq(pipe2(in->wake, O_CLOEXEC), 0);
    in->woken = event_new(in->base, in->wake[0], EV_READ, on_wake, in->base);
    cr_assert(in->woken && event_add(in->woken, NULL) == 0);
    cr_assert_eq(pthread_create(&in->thread, NULL, serve, m), 0);
}

void mock_stop(struct mock *m)
{
    struct mock_inside *in = m->inside;
    cr_assert_eq(write(in->wake[1], "x", 1), 1);
    cr_assert_eq(pthread_join(in->thread, NULL), 0);
    while (in->clients) {
        drop(in->clients);
    }
    evconnlistener_free(in->listener);
    event_free(in->woken);
    event_base_free(in->base);
    SSL_CTX_free(in->ssl);
    (void)close(in->wake[0]);
    (void)close(in->wake[1]);
    free(in);
    m->inside = NULL;
}
