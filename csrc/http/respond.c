/* SPDX-License-Identifier: Apache-2.0
 *
 * respond.c - answers, and what a handler reads of a request. */
#include "http/conn.h"

#include "base/clock.h"

#include <http_parser.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* ---- the request ---- */

enum oct_http_method oct_http_method(const struct oct_http_exchange *x)
{
    return x->in.method;
}

const char *oct_http_method_name(const struct oct_http_exchange *x)
{
    return x->in.method_name;
}

const char *oct_http_path(const struct oct_http_exchange *x)
{
    return x->in.head.data + x->in.target;
}

const char *oct_http_query(const struct oct_http_exchange *x)
{
    return x->in.query ? x->in.head.data + x->in.query : "";
}

const char *oct_http_header(const struct oct_http_exchange *x, const char *name)
{
    return oct_http_request_header(&x->in, name);
}

const char *oct_http_peer(const struct oct_http_exchange *x)
{
    return x->c->peer;
}

const char *oct_http_body(const struct oct_http_exchange *x, size_t *len)
{
    *len = x->in.body.len;
    return x->in.body.data ? x->in.body.data : "";
}

char *oct_http_take_body(struct oct_http_exchange *x, size_t *len)
{
    char *data = x->in.body.data;
    *len = x->in.body.len;
    *x->in.bodies_bytes -= x->in.body.cap;
    x->in.body = (struct oct_buf){0};
    return data;
}

int64_t oct_http_begin_us(const struct oct_http_exchange *x)
{
    return x->begin_us;
}

void oct_http_set_user(struct oct_http_exchange *x, void *user)
{
    x->user = user;
}

void *oct_http_user(const struct oct_http_exchange *x)
{
    return x->user;
}

int oct_http_status(const struct oct_http_exchange *x)
{
    return x->status;
}

/* ---- the answer ---- */

void oct_http_put(struct oct_http_conn *c, const void *data, size_t len)
{
    const bool was_empty = c->out_len == 0;
    if (c->is_doomed) {
        return;
    }
    /* libevent starts to write by a callback that it does without when memory ran out for it at the
     * connection's begin: so it is told again. */
    if (evbuffer_add(bufferevent_get_output(c->bev), data, len) != 0 ||
        (was_empty && bufferevent_enable(c->bev, EV_WRITE) != 0)) {
        oct_http_doom(c, OCT_HTTP_ABORTED);
    }
}

static const char *date_now(struct oct_http *h)
{
    const int64_t now = oct_clock_wall_s();
    if (now != h->date_s || !h->date[0]) {
        static const char days[] = "SunMonTueWedThuFriSat";
        static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
        const time_t t = (time_t)now;
        struct tm tm = {0};
        (void)gmtime_r(&t, &tm);
        (void)snprintf(h->date, sizeof h->date, "%.3s, %02d %.3s %04d %02d:%02d:%02d GMT",
                       days + tm.tm_wday * 3, tm.tm_mday, months + tm.tm_mon * 3, tm.tm_year + 1900,
                       tm.tm_hour, tm.tm_min, tm.tm_sec);
        h->date_s = now;
    }
    return h->date;
}

struct head {
    int status;
    const char *content_type; /* NULL: no body */
    const char *connection;   /* "close", "keep-alive" or NULL */
    bool is_chunked, has_length;
    size_t len;
    const struct oct_buf *more; /* whole lines; may be NULL */
};

static oct_status put_head(struct oct_http *h, const struct head *a, struct oct_buf *out)
{
    OCT_TRY(oct_buf_printf(out, "HTTP/1.1 %d %s\r\nDate: %s\r\n", a->status,
                           http_status_str((enum http_status)a->status), date_now(h)));
    if (a->content_type) {
        OCT_TRY(oct_buf_printf(out, "Content-Type: %s\r\n", a->content_type));
    }
    if (a->is_chunked) {
        OCT_TRY(oct_buf_printf(out, "Transfer-Encoding: chunked\r\n"));
    } else if (a->has_length) {
        OCT_TRY(oct_buf_printf(out, "Content-Length: %zu\r\n", a->len));
    }
    if (a->connection) {
        OCT_TRY(oct_buf_printf(out, "Connection: %s\r\n", a->connection));
    }
    if (a->more) {
        OCT_TRY(oct_buf_append(out, a->more->data, a->more->len));
    }
    return oct_buf_append(out, "\r\n", 2);
}

bool oct_http_refusal_text(struct oct_http *h, int status, const char *sentence, bool is_head,
                           struct oct_buf *out)
{
    struct oct_buf body = {.max_bytes = 64 << 10};
    const char *content_type = "text/plain; charset=utf-8";
    if (h->handler.error_body) {
        h->handler.error_body(h->handler.user, status, sentence, &body, &content_type);
    }
    oct_status st = OCT_OK;
    if (!body.len) {
        content_type = "text/plain; charset=utf-8";
        st = oct_buf_printf(&body, "%s\n", sentence);
    }
    const struct head a = {.status = status,
                           .content_type = content_type,
                           .connection = "close",
                           .has_length = true,
                           .len = body.len};
    st = st == OCT_OK ? put_head(h, &a, out) : st;
    st = st == OCT_OK && !is_head ? oct_buf_append(out, body.data, body.len) : st;
    oct_buf_free(&body);
    if (st != OCT_OK) {
        oct_error_clear();
    }
    return st == OCT_OK;
}

void oct_http_put_refusal(struct oct_http_conn *c, int status, const char *sentence, bool is_head)
{
    struct oct_buf out = {0};
    if (oct_http_refusal_text(c->h, status, sentence, is_head, &out)) {
        oct_http_put(c, out.data, out.len);
    } else {
        oct_http_doom(c, OCT_HTTP_ABORTED);
    }
    oct_buf_free(&out);
}

/* A line break in a header would let its sender write headers, or a whole answer, of his own. */
static bool is_header_text(const char *text)
{
    for (const char *p = text; *p; p++) {
        if (((unsigned char)*p < 0x20 && *p != '\t') || *p == 0x7f) {
            return false;
        }
    }
    return true;
}

void oct_http_add_header(struct oct_http_exchange *x, const char *name, const char *value)
{
    OCT_ASSERT(is_header_text(name) && *name && !strpbrk(name, ": \t") && is_header_text(value));
    OCT_ASSERT(x->status == 0 || x->c->is_doomed);
    if (oct_buf_printf(&x->headers, "%s: %s\r\n", name, value) != OCT_OK) {
        oct_error_clear();
        oct_http_doom(x->c, OCT_HTTP_ABORTED);
    }
}

/* Begins the answer; false if there is nobody to answer. */
static bool begin_answer(struct oct_http_exchange *x, int status, const char *content_type,
                         bool has_length, size_t len, const void *data)
{
    struct oct_http_conn *c = x->c;
    if (c->is_doomed) {
        return false;
    }
    OCT_ASSERT(x->status == 0 && status >= 200 && status <= 599);
    OCT_ASSERT(!content_type || is_header_text(content_type));
    const bool no_content = status == 204 || status == 304;
    OCT_ASSERT(!no_content || len == 0);
    x->status = status;
    x->has_no_body = no_content || x->in.method == OCT_HTTP_HEAD;
    x->is_chunked = !has_length && !x->in.is_1_0 && !no_content;
    c->must_close |= c->h->is_draining || (!has_length && x->in.is_1_0 && !no_content);
    /* An answer before the whole request is there: the rest of it is thrown away. on_head comes
     * before the body, so there the connection can only go on if there is none. */
    if (c->state < OCT_HTTP_CONN_ANSWER) {
        c->must_close |= x->in.has_body;
        c->state = OCT_HTTP_CONN_ANSWER;
        oct_http_wait_for(c, c->out_len ? OCT_HTTP_WAIT_STALL : OCT_HTTP_N_WAITS);
    }
    const struct head a = {.status = status,
                           .content_type = content_type,
                           .connection = c->must_close  ? "close"
                                         : x->in.is_1_0 ? "keep-alive"
                                                        : NULL,
                           .is_chunked = x->is_chunked,
                           .has_length = has_length && !no_content,
                           .len = len,
                           .more = &x->headers};
    /* One piece if it is small: one write of the kernel, and on TLS one record. */
    enum { SMALL = 16 << 10 };
    const bool is_small = data && len <= SMALL && !x->has_no_body;
    struct oct_buf out = {0};
    oct_status st = oct_buf_reserve(&out, 256 + x->headers.len + (is_small ? len : 0));
    st = st == OCT_OK ? put_head(c->h, &a, &out) : st;
    st = st == OCT_OK && is_small ? oct_buf_append(&out, data, len) : st;
    if (st == OCT_OK) {
        oct_http_put(c, out.data, out.len);
    } else {
        oct_error_clear();
        oct_http_doom(c, OCT_HTTP_ABORTED);
    }
    oct_buf_free(&out);
    if (data && len && !is_small && !x->has_no_body) {
        oct_http_put(c, data, len);
    }
    return !c->is_doomed;
}

void oct_http_respond(struct oct_http_exchange *x, int status, const char *content_type,
                      const void *data, size_t len)
{
    if (begin_answer(x, status, content_type, true, len, data)) {
        x->is_finished = true;
        oct_http_unsettle(x->c);
    }
}

void oct_http_start(struct oct_http_exchange *x, int status, const char *content_type)
{
    (void)begin_answer(x, status, content_type, false, 0, NULL);
}

/* A token's event is small: one piece of the output then, not three. */
static void put_chunk(struct oct_http_conn *c, const void *data, size_t len)
{
    char piece[2048];
    size_t n = (size_t)snprintf(piece, sizeof piece, "%zx\r\n", len);
    if (len <= sizeof piece - n - 2) {
        memcpy(piece + n, data, len);
        n += len;
    } else {
        oct_http_put(c, piece, n);
        oct_http_put(c, data, len);
        n = 0;
    }
    memcpy(piece + n, "\r\n", 2);
    oct_http_put(c, piece, n + 2);
}

void oct_http_write(struct oct_http_exchange *x, const void *data, size_t len)
{
    struct oct_http_conn *c = x->c;
    if (c->is_doomed || len == 0) {
        return;
    }
    OCT_ASSERT(x->status && !x->is_finished);
    if (x->has_no_body) {
        return;
    }
    if (x->is_chunked) {
        put_chunk(c, data, len);
    } else {
        oct_http_put(c, data, len);
    }
    x->was_full |= c->out_len > c->h->limits.out_bytes;
}

void oct_http_finish(struct oct_http_exchange *x)
{
    struct oct_http_conn *c = x->c;
    if (c->is_doomed) {
        return;
    }
    OCT_ASSERT(x->status && !x->is_finished);
    if (x->is_chunked && !x->has_no_body) {
        oct_http_put(c, "0\r\n\r\n", 5);
    }
    if (!c->is_doomed) {
        x->is_finished = true;
        oct_http_unsettle(c);
    }
}

void oct_http_abort(struct oct_http_exchange *x)
{
    oct_http_doom(x->c, OCT_HTTP_ABORTED);
}

bool oct_http_is_full(const struct oct_http_exchange *x)
{
    return x->c->out_len > x->c->h->limits.out_bytes;
}
