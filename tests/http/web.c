/* SPDX-License-Identifier: Apache-2.0 */
#include "http/web.h"

#include "base/clock.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static const char text[] = "text/plain";

/* ---- the handler ---- */

static int on_head(void *user, struct oct_http_exchange *x)
{
    struct web *w = user;
    w->n_heads++;
    const char *v = oct_http_header(x, "x-test");
    (void)snprintf(w->last_header, sizeof w->last_header, "%s", v ? v : "(none)");
    if (!strcmp(oct_http_path(x), "/early")) {
        oct_http_add_header(x, "WWW-Authenticate", "Bearer");
        oct_http_respond(x, 401, text, "no key\n", 7);
        return 1;
    }
    if (!strcmp(oct_http_path(x), "/cut")) {
        oct_http_abort(x);
        return 1;
    }
    if (!strcmp(oct_http_path(x), "/soon")) {
        w->last = x;
    }
    return 0;
}

static void flood(struct web *w, struct oct_http_exchange *x)
{
    static const char block[4096];
    /* A pair takes all at once and is never full. */
    for (int i = 0; i < 1000 && !oct_http_is_full(x); i++) {
        oct_http_write(x, block, sizeof block);
        w->flooded += sizeof block;
    }
}

static void stream(struct oct_http_exchange *x)
{
    static char block[1024];
    memset(block, 'a', sizeof block);
    oct_http_start(x, 200, "text/event-stream");
    for (int i = 0; i < 100; i++) {
        oct_http_write(x, block, sizeof block);
    }
    oct_http_finish(x);
}

static void big(struct oct_http_exchange *x)
{
    enum { N = 1 << 20 };
    char *block = calloc(1, N);
    memset(block, 'b', N);
    oct_http_respond(x, 200, text, block, N);
    free(block);
}

static void on_request(void *user, struct oct_http_exchange *x)
{
    struct web *w = user;
    const char *path = oct_http_path(x);
    w->n_requests++;
    if (!strcmp(path, "/hello")) {
        oct_http_respond(x, 200, text, "hello, world", 12);
    } else if (!strcmp(path, "/echo")) {
        size_t len;
        const char *body = oct_http_body(x, &len);
        oct_http_respond(x, 200, text, body, len);
    } else if (!strcmp(path, "/late")) {
        w->last = x;
    } else if (!strcmp(path, "/big")) {
        big(x);
    } else if (!strcmp(path, "/stream")) {
        stream(x);
    } else if (!strcmp(path, "/flood")) {
        oct_http_start(x, 200, text);
        flood(w, x);
    } else if (!strcmp(path, "/abort")) {
        oct_http_start(x, 200, text);
        oct_http_write(x, "half", 4);
        oct_http_abort(x);
    } else if (!strcmp(path, "/none")) {
        oct_http_respond(x, 204, NULL, NULL, 0);
    } else {
        oct_http_add_header(x, "X-Path", path);
        oct_http_respond(x, 404, text, "not found\n", 10);
    }
}

static void on_room(void *user, struct oct_http_exchange *x)
{
    struct web *w = user;
    w->n_rooms++;
    flood(w, x);
}

static void on_end(void *user, struct oct_http_exchange *x, enum oct_http_end how)
{
    struct web *w = user;
    w->n_ends++;
    w->ends[how]++;
    w->last_end = how;
    w->last_status = oct_http_status(x);
    if (w->last == x) {
        w->last = NULL;
    }
}

/* ---- the server ---- */

void web_open(struct web *w, const struct oct_http_limits *limits, struct oct_http_tls *tls)
{
    *w = (struct web){0};
    const struct oct_http_handler handler = {.user = w,
                                             .on_head = on_head,
                                             .on_request = on_request,
                                             .on_room = on_room,
                                             .on_end = on_end};
    cr_assert_eq(oct_http_create(limits, &handler, &w->h), OCT_OK, "%s", oct_last_error());
    cr_assert_eq(oct_http_listen(w->h, "127.0.0.1", 0, tls, &w->port), OCT_OK, "%s",
                 oct_last_error());
}

void web_close(struct web *w)
{
    oct_http_destroy(w->h);
    cr_assert_eq(w->n_ends, w->n_heads, "%d heads, %d ends", w->n_heads, w->n_ends);
    w->h = NULL;
}

void web_turns(struct web *w, int n)
{
    for (int i = 0; i < n && w->h; i++) {
        cr_assert_eq(oct_http_turn(w->h, false), OCT_OK, "%s", oct_last_error());
    }
}

static int64_t real_ms(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

void web_turn_ms(struct web *w, int ms)
{
    const int64_t end = real_ms() + ms;
    do {
        web_turns(w, 1);
        (void)poll(NULL, 0, 1);
    } while (real_ms() < end);
}

int64_t web_now_us;

#if OCT_FAULTS
static int64_t now_us(void *arg)
{
    return *(int64_t *)arg;
}
#endif

void web_use_clock(void)
{
#if OCT_FAULTS
    web_now_us = 1000000;
    oct_clock_set_test(now_us, &web_now_us);
#else
    cr_assert_fail("this build has no clock for tests");
#endif
}

void web_pass(struct web *w, int64_t us)
{
    web_turns(w, 5); /* what has arrived, arrived before */
    web_now_us += us;
    web_turns(w, 5);
}

/* ---- clients ---- */

int web_connect(struct web *w)
{
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const struct sockaddr_in a = {.sin_family = AF_INET,
                                  .sin_port = htons(w->port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    cr_assert_geq(fd, 0, "%s", strerror(errno));
    cr_assert_eq(connect(fd, (const struct sockaddr *)&a, sizeof a), 0, "%s", strerror(errno));
    cr_assert_eq(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    web_turns(w, 2);
    return fd;
}

void web_send_bytes(struct web *w, int fd, const void *data, size_t len)
{
    const char *p = data;
    const int64_t end = real_ms() + 2000;
    while (len) {
        const ssize_t n = send(fd, p, len, MSG_NOSIGNAL);
        if (n > 0) {
            p += n;
            len -= (size_t)n;
        } else if (errno != EAGAIN || real_ms() > end) {
            return; /* the server has closed; its answer says why */
        }
        web_turns(w, 1);
    }
    web_turns(w, 2);
}

void web_send(struct web *w, int fd, const char *request)
{
    web_send_bytes(w, fd, request, strlen(request));
}

const char *web_read(struct web *w, int fd, const char *end, bool *closed)
{
    static char buf[4 << 20];
    size_t len = 0;
    const int64_t until = real_ms() + 2000;
    if (closed) {
        *closed = false;
    }
    buf[0] = '\0';
    while (len < sizeof buf - 1 && real_ms() < until) {
        web_turns(w, 1);
        const ssize_t n = recv(fd, buf + len, sizeof buf - 1 - len, 0);
        if (n == 0 || (n < 0 && errno != EAGAIN)) {
            if (closed) {
                *closed = true;
            }
            break;
        }
        if (n < 0) {
            struct pollfd p = {.fd = fd, .events = POLLIN};
            (void)poll(&p, 1, 1);
            continue;
        }
        len += (size_t)n;
        buf[len] = '\0';
        /* Texts that end an answer stand at its end. */
        if (end && len >= strlen(end) && strstr(buf + (len > 4096 ? len - 4096 : 0), end)) {
            break;
        }
    }
    return buf;
}

const char *web_ask(struct web *w, const char *request)
{
    const int fd = web_connect(w);
    web_send(w, fd, request);
    const char *answer = web_read(w, fd, NULL, NULL);
    (void)close(fd);
    web_turns(w, 3);
    return answer;
}

int web_status(const char *answer)
{
    return strncmp(answer, "HTTP/1.1 ", 9) ? 0 : atoi(answer + 9);
}

bool web_is_closed(struct web *w, int fd)
{
    const int64_t until = real_ms() + 1000;
    char byte[256];
    while (real_ms() < until) {
        web_turns(w, 1);
        const ssize_t n = recv(fd, byte, sizeof byte, 0);
        if (n == 0 || (n < 0 && errno != EAGAIN)) {
            return true;
        }
        (void)poll(NULL, 0, 1);
    }
    return false;
}

void web_until(struct web *w, const int *counter, int value)
{
    const int64_t until = real_ms() + 1000;
    for (int i = 1; *counter != value && real_ms() < until; i++) {
        web_turns(w, 1);
        if (i % 16 == 0) {
            (void)poll(NULL, 0, 1);
        }
    }
    cr_assert_eq(*counter, value, "is %d, not %d", *counter, value);
}
