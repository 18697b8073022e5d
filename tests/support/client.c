/* SPDX-License-Identifier: Apache-2.0 */
#include "support/client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { N_EVENTS = 512, READ_BYTES = 65536, SWEEP_US = 20000, MAX_LINE = 65536 };

enum state { CLOSED, CONNECTING, HEAD, BY_LENGTH, CHUNK_SIZE, CHUNK, CHUNK_END, TRAILER, TO_END };

struct client {
    struct client_callbacks cb;
    struct sockaddr_in to;
    int epoll;
    struct client_conn *conns;
    size_t n_busy;
    int64_t swept_us;
};

const char *const client_end_names[CLIENT_N_ENDS] = {"answered", "cut", "timeout", "no connection"};

int64_t client_now_us(void)
{
    struct timespec t;
    OCT_ASSERT(clock_gettime(CLOCK_MONOTONIC, &t) == 0);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

struct client *client_create(const char *host, uint16_t port, const struct client_callbacks *cb)
{
    struct client *k = oct_calloc(1, sizeof *k);
    OCT_ASSERT(k);
    k->cb = *cb;
    k->to = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port)};
    OCT_ASSERT(inet_pton(AF_INET, host, &k->to.sin_addr) == 1);
    k->epoll = epoll_create1(EPOLL_CLOEXEC);
    OCT_ASSERT(k->epoll >= 0);
    return k;
}

void client_destroy(struct client *k)
{
    while (k->conns) {
        client_conn_destroy(k->conns);
    }
    (void)close(k->epoll);
    oct_free(k);
}

struct client_conn *client_conn_create(struct client *k, int source)
{
    struct client_conn *c = oct_calloc(1, sizeof *c);
    OCT_ASSERT(c);
    c->client = k;
    c->fd = -1;
    c->source = source;
    c->next = k->conns;
    if (k->conns) {
        k->conns->prev = c;
    }
    k->conns = c;
    return c;
}

static void disconnect(struct client_conn *c)
{
    if (c->fd >= 0) {
        (void)close(c->fd);
    }
    c->fd = -1;
    c->state = CLOSED;
}

static void not_busy(struct client_conn *c)
{
    if (c->busy) {
        c->busy = false;
        c->client->n_busy--;
    }
}

void client_conn_destroy(struct client_conn *c)
{
    not_busy(c);
    disconnect(c);
    *(c->prev ? &c->prev->next : &c->client->conns) = c->next;
    if (c->next) {
        c->next->prev = c->prev;
    }
    oct_buf_free(&c->body);
    oct_buf_free(&c->line);
    oct_free(c);
}

bool client_is_connected(const struct client_conn *c)
{
    return c->fd >= 0 && c->state != CONNECTING;
}

size_t client_n_busy(const struct client *k)
{
    return k->n_busy;
}

static void end(struct client_conn *c, enum client_end how)
{
    const struct client_callbacks *cb = &c->client->cb;
    const bool was_busy = c->busy;
    if (how != CLIENT_ANSWERED || c->close_after || c->out_off < c->out_len) {
        disconnect(c);
    } else {
        c->state = HEAD;
    }
    not_busy(c);
    c->end_us = client_now_us();
    if (was_busy) {
        cb->on_end(cb->user, c, how);
    }
}

/* Writes what is left of the request. What goes wrong is left to the next read: a server may refuse
 * and close before it has it all, and its answer is still to be read then. */
static void flush(struct client_conn *c)
{
    while (c->out_off < c->out_len) {
        const ssize_t n =
            send(c->fd, c->out + c->out_off, c->out_len - c->out_off, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0) {
            return;
        }
        c->out_off += (size_t)n;
    }
}

static void begin(struct client_conn *c, const char *out, size_t len)
{
    c->out = out;
    c->out_len = len;
    c->out_off = 0;
    c->status = 0;
    c->first_us = c->end_us = 0;
    c->has_length = c->is_chunked = c->close_after = false;
    oct_buf_clear(&c->body);
    oct_buf_clear(&c->line);
    c->start_us = client_now_us();
    c->reused = c->fd >= 0;
    if (c->fd >= 0) {
        c->state = HEAD;
        flush(c);
        return;
    }
    const struct client *k = c->client;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    OCT_ASSERT(c->fd >= 0);
    const int on = 1;
    (void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (c->source) {
        struct sockaddr_in from = {.sin_family = AF_INET};
        from.sin_addr.s_addr = htonl(0x7f000000u + (uint32_t)c->source);
        (void)setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
        OCT_ASSERT(bind(c->fd, (const struct sockaddr *)&from, sizeof from) == 0);
    }
    c->state = CONNECTING;
    if (connect(c->fd, (const struct sockaddr *)&k->to, sizeof k->to) && errno != EINPROGRESS) {
        disconnect(c); /* the next sweep says so: on_end is not called from client_send */
        return;
    }
    struct epoll_event ev = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = c};
    OCT_ASSERT(epoll_ctl(k->epoll, EPOLL_CTL_ADD, c->fd, &ev) == 0);
}

void client_send(struct client_conn *c, const char *request, size_t len, int64_t timeout_us)
{
    OCT_ASSERT(!c->busy);
    c->busy = true;
    c->client->n_busy++;
    begin(c, request, len);
    c->deadline_us = c->start_us + timeout_us;
}

void client_idle(struct client_conn *c, const char *part, size_t len)
{
    OCT_ASSERT(!c->busy);
    begin(c, part, len);
}

void client_leave(struct client_conn *c, bool reset)
{
    not_busy(c);
    if (c->fd >= 0 && reset) {
        const struct linger now = {.l_onoff = 1};
        (void)setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    }
    disconnect(c);
}

/* ---- what the server sends ---- */

static void keep(struct oct_buf *b, const char *data, size_t len)
{
    const oct_status st = oct_buf_append(b, data, len);
    OCT_ASSERT(!st);
}

/* Moves bytes up to and with a newline into c->line; how many were taken. */
static size_t take_line(struct client_conn *c, const char *data, size_t len, bool *whole)
{
    const char *nl = memchr(data, '\n', len);
    const size_t n = nl ? (size_t)(nl - data) + 1 : len;
    if (c->line.len < MAX_LINE) {
        keep(&c->line, data, n);
    }
    *whole = nl != NULL;
    return n;
}

/* What follows the head; true if nothing does. */
static bool end_of_head(struct client_conn *c)
{
    if (c->status / 100 == 1) { /* 100 Continue: the real one follows */
        c->status = 0;
        return false;
    }
    if (c->is_chunked) {
        c->state = CHUNK_SIZE;
        return false;
    }
    if (c->has_length) {
        c->state = BY_LENGTH;
        return c->left == 0;
    }
    c->state = TO_END;
    c->close_after = true;
    return c->status == 204 || c->status == 304;
}

static void header(struct client_conn *c, const char *line)
{
    const char *colon = strchr(line, ':');
    if (!colon) {
        return;
    }
    const size_t n = (size_t)(colon - line);
    const char *v = colon + 1 + strspn(colon + 1, " \t");
    if (n == 14 && !strncasecmp(line, "content-length", n)) {
        c->has_length = true;
        c->left = strtoull(v, NULL, 10);
    } else if (n == 17 && !strncasecmp(line, "transfer-encoding", n) && strcasestr(v, "chunked")) {
        c->is_chunked = true;
    } else if (n == 10 && !strncasecmp(line, "connection", n) && strcasestr(v, "close")) {
        c->close_after = true;
    }
}

/* One line of the head is in c->line; true if the answer is whole with it. */
static bool head_line(struct client_conn *c)
{
    while (c->line.len &&
           (c->line.data[c->line.len - 1] == '\n' || c->line.data[c->line.len - 1] == '\r')) {
        c->line.data[--c->line.len] = '\0';
    }
    bool whole = false;
    if (!c->status) {
        if (!strncmp(c->line.data, "HTTP/1.", 7) && c->line.len >= 12) {
            c->status = atoi(c->line.data + 9);
        }
    } else if (c->line.len == 0) {
        whole = end_of_head(c);
    } else {
        header(c, c->line.data);
    }
    return whole;
}

static size_t take_body(struct client_conn *c, const char *data, size_t len)
{
    const size_t n = c->state != TO_END && len > c->left ? (size_t)c->left : len;
    if (n && !c->first_us) {
        c->first_us = client_now_us();
    }
    keep(&c->body, data, n);
    c->left -= c->state == TO_END ? 0 : n;
    return n;
}

/* A line that is no part of the body is in c->line; true if the answer is whole with it. */
static bool end_of_line(struct client_conn *c)
{
    bool whole = false;
    if (c->state == HEAD) {
        whole = head_line(c);
    } else if (c->state == CHUNK_SIZE) {
        c->left = strtoull(c->line.data, NULL, 16);
        c->state = c->left ? CHUNK : TRAILER;
    } else if (c->state == CHUNK_END) {
        c->state = CHUNK_SIZE;
    } else {
        whole = c->line.len <= 2;
    }
    oct_buf_clear(&c->line);
    return whole;
}

/* Takes some bytes of the answer; true once it is whole. */
static bool take(struct client_conn *c, const char **data, size_t *len)
{
    bool whole = false;
    size_t n = 0;
    switch ((enum state)c->state) {
    case BY_LENGTH:
        n = take_body(c, *data, *len);
        whole = c->left == 0;
        break;
    case TO_END:
        n = take_body(c, *data, *len);
        break;
    case CHUNK:
        n = take_body(c, *data, *len);
        c->state = c->left ? CHUNK : CHUNK_END;
        break;
    case HEAD:
    case CHUNK_SIZE:
    case CHUNK_END:
    case TRAILER: {
        bool line;
        n = take_line(c, *data, *len, &line);
        whole = line && end_of_line(c);
        break;
    }
    case CLOSED:
    case CONNECTING:
        n = *len;
        break;
    }
    *data += n;
    *len -= n;
    return whole;
}

/* Reads until there is nothing more for now; c may be gone afterwards. */
static void receive(struct client_conn *c)
{
    static char part[READ_BYTES]; /* one thread */
    const struct client_callbacks *cb = &c->client->cb;
    for (;;) {
        const ssize_t n = recv(c->fd, part, sizeof part, MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
            return;
        }
        if (n <= 0) {
            const bool whole = n == 0 && c->state == TO_END && c->status;
            c->close_after = true;
            if (c->busy) {
                end(c, whole ? CLIENT_ANSWERED : CLIENT_CUT);
            } else {
                disconnect(c);
            }
            return;
        }
        if (!c->busy) {
            continue; /* an idler: what comes is not looked at */
        }
        const char *data = part;
        size_t len = (size_t)n, had = c->body.len;
        bool whole = false;
        while (len && !whole) {
            whole = take(c, &data, &len);
        }
        if (c->body.len > had && cb->on_body) {
            cb->on_body(cb->user, c);
            if (!c->busy || c->fd < 0) {
                return; /* it left */
            }
        }
        if (whole) {
            c->close_after |= len > 0; /* bytes behind an answer: out of step */
            end(c, CLIENT_ANSWERED);
            return;
        }
    }
}

static void handle(struct client_conn *c, uint32_t events)
{
    if (c->fd < 0) {
        return;
    }
    if (c->state == CONNECTING) {
        int error = 0;
        socklen_t len = sizeof error;
        (void)getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &len);
        if (error) {
            end(c, CLIENT_NO_CONNECT);
            return;
        }
        if (!(events & EPOLLOUT)) {
            return;
        }
        c->state = HEAD;
    }
    if (events & EPOLLOUT) {
        flush(c);
    }
    if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) {
        receive(c);
    }
}

static void sweep(struct client *k, int64_t now)
{
    k->swept_us = now;
    for (struct client_conn *c = k->conns, *next; c; c = next) {
        next = c->next;
        if (c->busy && c->fd < 0) {
            end(c, CLIENT_NO_CONNECT);
        } else if (c->busy && now > c->deadline_us) {
            const bool connected = c->state != CONNECTING;
            disconnect(c);
            end(c, connected ? CLIENT_TIMEOUT : CLIENT_NO_CONNECT);
        }
    }
}

void client_turn(struct client *k, int wait_ms)
{
    struct epoll_event ev[N_EVENTS];
    const int n = epoll_wait(k->epoll, ev, N_EVENTS, wait_ms);
    OCT_ASSERT(n >= 0 || errno == EINTR);
    for (int i = 0; i < n; i++) {
        handle(ev[i].data.ptr, ev[i].events);
    }
    const int64_t now = client_now_us();
    if (now - k->swept_us > SWEEP_US) {
        sweep(k, now);
    }
}

/* ---- conveniences ---- */

void client_post(struct oct_buf *out, const char *path, const char *json, size_t len)
{
    oct_status st = oct_buf_printf(out,
                                   "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: "
                                   "application/json\r\nContent-Length: %zu\r\n\r\n",
                                   path, len);
    st = st ? st : oct_buf_append(out, json, len);
    OCT_ASSERT(!st);
}

struct once {
    bool ended;
    enum client_end how;
};

static void on_once(void *user, struct client_conn *c, enum client_end how)
{
    (void)c;
    struct once *o = user;
    o->ended = true;
    o->how = how;
}

int client_once(const char *host, uint16_t port, const char *request, size_t len,
                int64_t timeout_us, char **body)
{
    struct once o = {0};
    const struct client_callbacks cb = {.user = &o, .on_end = on_once};
    struct client *k = client_create(host, port, &cb);
    struct client_conn *c = client_conn_create(k, 0);
    client_send(c, request, len, timeout_us);
    while (!o.ended) {
        client_turn(k, 10);
    }
    const int result = o.how == CLIENT_ANSWERED ? c->status : -1 - (int)o.how;
    if (body) {
        *body = oct_strndup(c->body.data ? c->body.data : "", c->body.len);
        OCT_ASSERT(*body);
    }
    client_destroy(k);
    return result;
}
