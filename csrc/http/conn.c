/* SPDX-License-Identifier: Apache-2.0
 *
 * conn.c - the life of a connection: bytes come, an exchange begins, is answered and ends. */
#include "http/conn.h"

#include "base/clock.h"

#include <openssl/err.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

static void on_output(struct evbuffer *out, const struct evbuffer_cb_info *info, void *arg);

void oct_http_unsettle(struct oct_http_conn *c)
{
    if (!c->is_queued) {
        c->is_queued = true;
        TAILQ_INSERT_TAIL(&c->h->unsettled, c, unsettled);
    }
}

void oct_http_doom(struct oct_http_conn *c, enum oct_http_end how)
{
    if (!c->is_doomed) {
        c->is_doomed = true;
        c->fate = how;
        oct_http_wait_for(c, OCT_HTTP_N_WAITS);
        (void)bufferevent_disable(c->bev, EV_READ | EV_WRITE);
        oct_http_unsettle(c);
    }
}

/* ---- exchanges ---- */

static bool begin_exchange(struct oct_http_conn *c)
{
    struct oct_http_exchange *x = oct_calloc(1, sizeof *x);
    if (!x) {
        oct_http_doom(c, OCT_HTTP_ABORTED);
        return false;
    }
    x->c = c;
    x->begin_us = oct_clock_us();
    x->headers.max_bytes = 64 << 10; /* the handler's own headers; far more than it may need */
    oct_http_request_init(&x->in, &c->h->limits, &c->h->bodies_bytes);
    c->x = x;
    c->was_used = true;
    c->state = OCT_HTTP_CONN_HEAD;
    if (c->wait != OCT_HTTP_WAIT_HEAD) { /* the first of TLS has waited since its accept */
        oct_http_wait_for(c, OCT_HTTP_WAIT_HEAD);
    }
    return true;
}

/* The exchange is over; its answer may still wait for the reader. */
static void end_exchange(struct oct_http_conn *c, enum oct_http_end how)
{
    struct oct_http_exchange *x = c->x;
    struct oct_http *h = c->h;
    if (!x) {
        return;
    }
    c->x = NULL;
    h->stats.n_left += how == OCT_HTTP_LEFT;
    h->stats.n_stalled += how == OCT_HTTP_STALLED;
    if (x->is_seen) {
        h->stats.n_exchanges--;
        h->handler.on_end(h->handler.user, x, how);
    }
    oct_http_request_free(&x->in);
    oct_buf_free(&x->headers);
    oct_free(x);
}

/* This room refuses what the client sends: an answer, and the end of the connection. */
static void refuse(struct oct_http_conn *c, int status, const char *sentence)
{
    struct oct_http *h = c->h;
    const bool is_head = c->x && c->x->in.method == OCT_HTTP_HEAD;
    h->stats.n_malformed += status == 400;
    h->stats.n_timeouts += status == 408;
    if (c->x) {
        c->x->status = status;
        end_exchange(c, OCT_HTTP_BROKEN);
    }
    c->state = OCT_HTTP_CONN_LAST;
    c->must_close = true;
    oct_http_wait_for(c, OCT_HTTP_N_WAITS);
    oct_http_put_refusal(c, status, sentence, is_head);
    oct_http_unsettle(c);
}

/* ---- what comes in ---- */

static void drain_input(struct oct_http_conn *c)
{
    struct evbuffer *in = bufferevent_get_input(c->bev);
    (void)evbuffer_drain(in, evbuffer_get_length(in));
}

/* From here on the exchange is the handler's, to be answered now or later. */
static void hand_over(struct oct_http_conn *c)
{
    c->state = OCT_HTTP_CONN_ANSWER;
    oct_http_wait_for(c, c->out_len ? OCT_HTTP_WAIT_STALL : OCT_HTTP_N_WAITS);
}

static void on_head(struct oct_http_conn *c)
{
    struct oct_http *h = c->h;
    struct oct_http_exchange *x = c->x;
    x->is_seen = true;
    h->stats.n_requests++;
    h->stats.n_exchanges++;
    c->must_close |= !x->in.keep_alive;
    /* Until on_head has spoken the body is not read: what it answers is an early answer. */
    if (h->handler.on_head(h->handler.user, x) != 0) {
        OCT_ASSERT(x->status || c->is_doomed);
        return;
    }
    if (x->status || c->is_doomed || !x->in.has_body) {
        return;
    }
    c->state = OCT_HTTP_CONN_BODY;
    oct_http_wait_for(c, OCT_HTTP_WAIT_BODY);
    if (x->in.expects_continue && (x->in.is_chunked || x->in.left <= h->limits.body_bytes)) {
        static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
        oct_http_put(c, go_on, sizeof go_on - 1);
    }
}

/* Gives some bytes to the request that is being read; how many it took. */
static size_t read_request(struct oct_http_conn *c, const char *data, size_t len)
{
    struct oct_http *h = c->h;
    struct oct_http_exchange *x = c->x;
    size_t used;
    if (c->state == OCT_HTTP_CONN_BODY && len) {
        oct_http_wait_for(c, OCT_HTTP_WAIT_BODY);
    }
    switch (oct_http_request_parse(&x->in, data, len, &used)) {
    case OCT_HTTP_PARSED_MORE:
        break;
    case OCT_HTTP_PARSED_HEAD:
        on_head(c);
        if (x->status || c->is_doomed) { /* answered early: the body is not read */
            c->must_close |= x->in.has_body;
            hand_over(c);
        } else if (!x->in.has_body) {
            hand_over(c);
            h->handler.on_request(h->handler.user, x);
        } else { /* too large a body is refused before a byte of it */
            used += read_request(c, data + used, len - used);
        }
        break;
    case OCT_HTTP_PARSED_WHOLE:
        hand_over(c);
        h->handler.on_request(h->handler.user, x);
        break;
    case OCT_HTTP_PARSED_REFUSED:
        refuse(c, x->in.status, x->in.why);
        break;
    case OCT_HTTP_PARSED_NO_MEMORY:
        oct_http_doom(c, OCT_HTTP_ABORTED);
        break;
    }
    return used;
}

static void feed(struct oct_http_conn *c)
{
    struct evbuffer *in = bufferevent_get_input(c->bev);
    while (!c->is_doomed && c->state <= OCT_HTTP_CONN_BODY) {
        struct evbuffer_iovec piece;
        if (evbuffer_peek(in, -1, NULL, &piece, 1) < 1 || piece.iov_len == 0) {
            return;
        }
        if (c->state == OCT_HTTP_CONN_IDLE && !begin_exchange(c)) {
            return;
        }
        (void)evbuffer_drain(in, read_request(c, piece.iov_base, piece.iov_len));
    }
    if (c->is_doomed) {
        return;
    }
    /* We never stop reading, or we would not see the client leave. */
    c->must_close |= evbuffer_get_length(in) > (size_t)c->h->limits.n_pipelined;
    if (c->must_close) { /* nothing that follows will be answered */
        drain_input(c);
    }
}

/* ---- what goes out ---- */

static void start_linger(struct oct_http_conn *c);

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
    struct oct_http_conn *c = arg;
    (void)fd, (void)what;
    if (!c->is_doomed) {
        start_linger(c);
    }
}

/* TLS says that the answer ends here in a record of its own, which may have to wait for room in the
 * kernel; without it the client takes the answer for a cut one. */
static bool said_goodbye(struct oct_http_conn *c)
{
    const int r = SSL_shutdown(c->ssl);
    const bool must_wait = r < 0 && SSL_get_error(c->ssl, r) == SSL_ERROR_WANT_WRITE;
    ERR_clear_error();
    if (!must_wait) {
        return true;
    }
    c->state = OCT_HTTP_CONN_LAST;
    oct_http_wait_for(c, OCT_HTTP_WAIT_STALL);
    if (!c->goodbye) {
        c->goodbye = event_new(c->h->base, bufferevent_getfd(c->bev), EV_WRITE, on_writable, c);
    }
    if (!c->goodbye || event_add(c->goodbye, NULL) != 0) {
        oct_http_doom(c, OCT_HTTP_ABORTED);
    }
    return false;
}

/* The answer is out and was the last: says so to the client, and waits for its end of file, so that
 * no reset overtakes the answer. */
static void start_linger(struct oct_http_conn *c)
{
    if (c->has_left) {
        oct_http_doom(c, OCT_HTTP_DONE);
        return;
    }
    if (c->ssl && !said_goodbye(c)) {
        return;
    }
    const int fd = bufferevent_getfd(c->bev);
    if (fd >= 0) {
        (void)shutdown(fd, SHUT_WR);
    } else {
        (void)bufferevent_flush(c->bev, EV_WRITE, BEV_FINISHED);
    }
    c->state = OCT_HTTP_CONN_LINGER;
    oct_http_wait_for(c, OCT_HTTP_WAIT_LINGER);
    drain_input(c);
}

/* The whole answer has been handed to the kernel. */
static void answered(struct oct_http_conn *c)
{
    end_exchange(c, OCT_HTTP_DONE);
    if (c->is_doomed) {
        return;
    }
    if (c->must_close || c->has_left) {
        start_linger(c);
        return;
    }
    c->state = OCT_HTTP_CONN_IDLE;
    oct_http_wait_for(c, OCT_HTTP_WAIT_KEEP_ALIVE);
    feed(c);
}

static void free_conn(struct oct_http_conn *c)
{
    struct oct_http *h = c->h;
    oct_http_wait_for(c, OCT_HTTP_N_WAITS);
    const int fd = bufferevent_getfd(c->bev);
    if (fd < 0) { /* the other end of a pair is told nothing when this one is freed */
        (void)bufferevent_flush(c->bev, EV_WRITE, BEV_FINISHED);
    } else if (c->fate == OCT_HTTP_STALLED || c->fate == OCT_HTTP_ABORTED) {
        /* A reset: the kernel throws away what waits, and the client sees that it is not whole. */
        const struct linger now = {.l_onoff = 1};
        (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    }
    if (c->is_queued) {
        TAILQ_REMOVE(&h->unsettled, c, unsettled);
    }
    TAILQ_REMOVE(&h->all, c, all);
    if (c->is_refused) {
        h->n_refused_open--;
    } else {
        h->stats.n_connections--;
    }
    h->stats.out_bytes -= c->out_len;
    if (c->goodbye) {
        event_free(c->goodbye);
    }
    (void)evbuffer_remove_cb(bufferevent_get_output(c->bev), on_output, c);
    bufferevent_free(c->bev);
    oct_free(c);
}

static void settle(struct oct_http_conn *c)
{
    if (!c->is_doomed && c->out_len == 0) {
        if (c->state == OCT_HTTP_CONN_ANSWER && c->x->is_finished) {
            answered(c);
        } else if (c->state == OCT_HTTP_CONN_LAST) {
            start_linger(c);
        }
    }
    if (c->is_doomed) {
        end_exchange(c, c->fate);
        free_conn(c);
    }
}

void oct_http_settle_all(struct oct_http *h)
{
    struct oct_http_conn *c;
    while ((c = TAILQ_FIRST(&h->unsettled))) {
        TAILQ_REMOVE(&h->unsettled, c, unsettled);
        c->is_queued = false;
        settle(c);
    }
}

void oct_http_conn_deadline(struct oct_http_conn *c)
{
    switch (c->state) {
    case OCT_HTTP_CONN_HEAD:
        refuse(c, 408, "the request's head did not come in time");
        break;
    case OCT_HTTP_CONN_BODY:
        refuse(c, 408, "the request's body stopped coming");
        break;
    case OCT_HTTP_CONN_ANSWER:
    case OCT_HTTP_CONN_LAST:
        oct_http_doom(c, OCT_HTTP_STALLED);
        break;
    default: /* idle, lingering: nobody waits */
        oct_http_doom(c, OCT_HTTP_DONE);
        break;
    }
}

/* ---- libevent's callbacks ---- */

static void on_read(struct bufferevent *bev, void *arg)
{
    (void)bev;
    feed(arg);
}

static void on_write(struct bufferevent *bev, void *arg)
{
    struct oct_http_conn *c = arg;
    struct oct_http_exchange *x = c->x;
    (void)bev;
    if (c->is_doomed) {
        return;
    }
    if (x && x->was_full && !x->is_finished && c->out_len <= c->h->limits.out_bytes / 2) {
        x->was_full = false;
        if (c->h->handler.on_room) {
            c->h->handler.on_room(c->h->handler.user, x);
        }
    }
    if (c->out_len == 0) {
        oct_http_unsettle(c);
    }
}

static void on_event(struct bufferevent *bev, short what, void *arg)
{
    struct oct_http_conn *c = arg;
    (void)bev;
    if (c->is_doomed || (what & BEV_EVENT_CONNECTED)) {
        return;
    }
    const bool is_whole =
        c->state == OCT_HTTP_CONN_LAST || (c->state == OCT_HTTP_CONN_ANSWER && c->x->is_finished);
    if (is_whole && ((what & BEV_EVENT_EOF) || c->out_len == 0)) {
        c->has_left = c->must_close = true; /* perhaps it has closed its sending side only */
        oct_http_unsettle(c);
        return;
    }
    oct_http_doom(c, OCT_HTTP_LEFT);
}

/* Runs inside libevent whenever the output grows or shrinks: only counts. */
static void on_output(struct evbuffer *out, const struct evbuffer_cb_info *info, void *arg)
{
    struct oct_http_conn *c = arg;
    (void)out;
    c->out_len = info->orig_size + info->n_added - info->n_deleted;
    c->h->stats.out_bytes += info->n_added - info->n_deleted;
    if (c->is_doomed || c->state < OCT_HTTP_CONN_ANSWER || c->state > OCT_HTTP_CONN_LAST) {
        return;
    }
    if (c->out_len == 0) {
        oct_http_wait_for(c, OCT_HTTP_N_WAITS);
    } else if (info->n_deleted || info->orig_size == 0) {
        oct_http_wait_for(c, OCT_HTTP_WAIT_STALL);
    }
}

/* ---- opening ---- */

oct_status oct_http_conn_open(struct oct_http *h, struct bufferevent *bev, SSL *ssl,
                              const char *peer, bool refuse_it)
{
    struct oct_http_conn *c = oct_calloc(1, sizeof *c);
    if (!c || !evbuffer_add_cb(bufferevent_get_output(bev), on_output, c)) {
        oct_free(c);
        bufferevent_free(bev);
        return oct_no_memory("a connection", sizeof *c);
    }
    c->h = h;
    c->bev = bev;
    c->ssl = ssl;
    c->wait = OCT_HTTP_N_WAITS;
    c->must_close = h->is_draining;
    (void)snprintf(c->peer, sizeof c->peer, "%s", peer);
    TAILQ_INSERT_TAIL(&h->all, c, all);
    if (refuse_it) {
        c->is_refused = true;
        h->n_refused_open++;
    } else {
        h->stats.n_connections++;
    }
    bufferevent_setcb(bev, on_read, on_write, on_event, c);
    bufferevent_setwatermark(bev, EV_WRITE, h->limits.out_bytes / 2, 0);
    oct_http_wait_for(c, ssl ? OCT_HTTP_WAIT_HEAD : OCT_HTTP_WAIT_KEEP_ALIVE);
    if (bufferevent_enable(bev, EV_READ | EV_WRITE) != 0) {
        oct_http_doom(c, OCT_HTTP_ABORTED);
        return oct_no_memory("a connection's events", sizeof *c);
    }
    if (refuse_it) {
        refuse(c, 503, "the server has as many connections as it may; retry later");
    }
    return OCT_OK;
}

oct_status oct_http_attach(struct oct_http *h, struct bufferevent *bev, const char *peer)
{
    const bool is_full = h->stats.n_connections >= h->limits.n_connections;
    h->stats.n_accepted++;
    h->stats.n_refused += is_full;
    return oct_http_conn_open(h, bev, NULL, peer, is_full);
}
