/* SPDX-License-Identifier: Apache-2.0
 *
 * What a client sees: answers, keep-alive, pipelining, HEAD, HTTP/1.0, 100-continue. */
#include "http/web.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

Test(http, a_request_is_answered_and_the_connection_kept)
{
    struct web w;
    web_open(&w, NULL, NULL);
    const int fd = web_connect(&w);
    for (int i = 0; i < 3; i++) {
        web_send(&w, fd, "GET /hello?a=b HTTP/1.1\r\nHost: a\r\nX-Test:  two words \t\r\n\r\n");
        bool closed;
        const char *answer = web_read(&w, fd, "world", &closed);
        cr_assert_eq(web_status(answer), 200, "%s", answer);
        cr_assert_not(closed);
        cr_assert_not_null(strstr(answer, "\r\nContent-Length: 12\r\n"), "%s", answer);
        cr_assert_not_null(strstr(answer, "\r\nContent-Type: text/plain\r\n"));
        cr_assert_not_null(strstr(answer, "\r\nDate: "));
        cr_assert_null(strstr(answer, "\r\nConnection:"));
        cr_assert_not_null(strstr(answer, "\r\n\r\nhello, world"));
        cr_assert_str_eq(w.last_header, "two words");
    }
    web_until(&w, &w.n_ends, 3);
    cr_assert_eq(w.ends[OCT_HTTP_DONE], 3);
    struct oct_http_stats s;
    oct_http_get_stats(w.h, &s);
    cr_assert_eq(s.n_accepted, 1u);
    cr_assert_eq(s.n_requests, 3u);
    cr_assert_eq(s.n_connections, 1);
    cr_assert_eq(s.n_exchanges, 0);
    cr_assert_eq(s.out_bytes, 0u);
    (void)close(fd);
    web_close(&w);
}

Test(http, bodies_come_sized_or_chunked_in_any_pieces)
{
    static const char *const requests[] = {
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\nhello world",
        "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        "5\r\nhello\r\n006;x=\"y z\"\r\n world\r\n0\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: a\r\ntransfer-encoding: Chunked\r\n\r\n"
        "B\r\nhello world\r\n0\r\nTrailer: is forgotten\r\n\r\n",
        "\r\nPOST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\nhello world",
        "POST /echo HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 11\r\n\r\nhello world",
    };
    struct web w;
    web_open(&w, NULL, NULL);
    for (size_t i = 0; i < sizeof requests / sizeof *requests; i++) {
        const size_t len = strlen(requests[i]);
        for (size_t piece = 1; piece <= len; piece += piece < 4 ? 1 : 37) {
            const int fd = web_connect(&w);
            for (size_t at = 0; at < len; at += piece) {
                web_send_bytes(&w, fd, requests[i] + at, len - at < piece ? len - at : piece);
            }
            bool closed;
            const char *answer = web_read(&w, fd, "hello world", &closed);
            cr_assert_eq(web_status(answer), 200, "%zu by %zu: %s", i, piece, answer);
            cr_assert_not_null(strstr(answer, "\r\n\r\nhello world"), "%zu: %s", i, answer);
            cr_assert_not(closed);
            (void)close(fd);
        }
    }
    web_close(&w);
}

Test(http, an_answer_in_pieces_is_chunked_or_ends_with_the_connection)
{
    struct web w;
    web_open(&w, NULL, NULL);
    const char *answer =
        web_ask(&w, "GET /stream HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    cr_assert_not_null(strstr(answer, "\r\nTransfer-Encoding: chunked\r\n"), "%.300s", answer);
    cr_assert_not_null(strstr(answer, "\r\nConnection: close\r\n"));
    cr_assert_null(strstr(answer, "Content-Length"));
    const char *p = strstr(answer, "\r\n\r\n") + 4;
    for (int i = 0; i < 100; i++) {
        cr_assert_eq(strncmp(p, "400\r\naaaa", 9), 0, "chunk %d: %.20s", i, p);
        p += 5 + 1024 + 2;
    }
    cr_assert_str_eq(p, "0\r\n\r\n");
    answer = web_ask(&w, "GET /stream HTTP/1.0\r\n\r\n");
    cr_assert_null(strstr(answer, "chunked"));
    cr_assert_not_null(strstr(answer, "\r\nConnection: close\r\n"));
    p = strstr(answer, "\r\n\r\n") + 4;
    cr_assert_eq(strspn(p, "a"), 102400u);
    cr_assert_eq(strlen(p), 102400u);
    cr_assert_eq(w.ends[OCT_HTTP_DONE], 2);
    web_close(&w);
}

Test(http, heads_and_empty_answers_have_no_body_and_keep_the_connection)
{
    static const struct {
        const char *request, *has, *lacks;
        int status;
    } row[] = {
        {"HEAD /hello HTTP/1.1\r\nHost: a\r\n\r\n", "\r\nContent-Length: 12\r\n", "hello", 200},
        {"HEAD /stream HTTP/1.1\r\nHost: a\r\n\r\n", "chunked", "aaa", 200},
        {"GET /none HTTP/1.1\r\nHost: a\r\n\r\n", "204 No Content", "Content-Length", 204},
        {"PUT /x%20y HTTP/1.1\r\nHost: a\r\n\r\n", "\r\nX-Path: /x%20y\r\n", "aaa", 404},
        {"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "\r\nX-Path: *\r\n", "aaa", 404},
        {"GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "\r\nConnection: keep-alive\r\n",
         "close", 200},
    };
    struct web w;
    web_open(&w, NULL, NULL);
    const int fd = web_connect(&w);
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        web_send(&w, fd, row[i].request);
        web_until(&w, &w.n_ends, (int)i + 1);
        const char *answer = web_read(&w, fd, "\r\n", NULL);
        cr_assert_eq(web_status(answer), row[i].status, "%zu: %s", i, answer);
        cr_assert_not_null(strstr(answer, row[i].has), "%zu: %s", i, answer);
        cr_assert_null(strstr(answer, row[i].lacks), "%zu: %s", i, answer);
    }
    (void)close(fd);
    web_close(&w);
}

Test(http, pipelined_requests_are_answered_one_at_a_time_in_order)
{
    enum { N = 200 };
    struct web w;
    web_open(&w, NULL, NULL);
    const int fd = web_connect(&w);
    char all[N * 80], *p = all;
    for (int i = 0; i < N; i++) {
        p += sprintf(p, "GET /%s%d HTTP/1.1\r\nHost: a\r\n\r\n", i == 100 ? "late?" : "no", i);
    }
    web_send(&w, fd, all);
    web_turns(&w, 400);
    cr_assert_eq(w.n_requests, 101, "%d", w.n_requests);
    cr_assert_not_null(w.last);
    cr_assert_str_eq(oct_http_query(w.last), "100");
    oct_http_respond(w.last, 200, "text/plain", "late", 4);
    web_turns(&w, 400);
    cr_assert_eq(w.n_ends, N);
    const char *at = web_read(&w, fd, "X-Path: /no199\r\n\r\nnot found\n", NULL);
    for (int i = 0; i < N; i++) {
        char want[32];
        (void)snprintf(want, sizeof want, i == 100 ? "\r\n\r\nlate" : "X-Path: /no%d\r\n", i);
        at = strstr(at, want);
        cr_assert_not_null(at, "answer %d", i);
    }
    (void)close(fd);
    web_close(&w);
}

/* A connection whose /late request waits, with n bytes of a second request sent behind it. */
static int sent_ahead(struct web *w, size_t n)
{
    static const char next[] = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 9000\r\n\r\n";
    static char junk[1 << 20];
    memset(junk, 'x', sizeof junk);
    const int fd = web_connect(w), before = w->n_requests;
    web_send(w, fd, "GET /late HTTP/1.1\r\nHost: a\r\n\r\n");
    web_until(w, &w->n_requests, before + 1);
    web_send(w, fd, next);
    for (n -= sizeof next - 1; n > sizeof junk; n -= sizeof junk) {
        web_send_bytes(w, fd, junk, sizeof junk);
    }
    web_send_bytes(w, fd, junk, n);
    cr_assert_not_null(w->last);
    return fd;
}

Test(http, who_sends_more_than_n_pipelined_ahead_loses_it)
{
    struct web w;
    web_open(&w, &(struct oct_http_limits){.n_pipelined = 4096}, NULL);
    int fd = sent_ahead(&w, 4096);
    oct_http_respond(w.last, 200, "text/plain", "late", 4);
    const char *answer = web_read(&w, fd, "late", NULL);
    cr_assert_null(strstr(answer, "Connection: close"), "%s", answer);
    web_until(&w, &w.n_heads, 2);
    (void)close(fd);
    web_until(&w, &w.ends[OCT_HTTP_LEFT], 1);

    fd = sent_ahead(&w, 4097);
    oct_http_respond(w.last, 200, "text/plain", "late", 4);
    answer = web_read(&w, fd, "late", NULL);
    cr_assert_not_null(strstr(answer, "Connection: close"), "%s", answer);
    cr_assert(web_is_closed(&w, fd));
    cr_assert_eq(w.n_heads, 3);
    (void)close(fd);

    fd = sent_ahead(&w, 3 << 20); /* and is still seen to leave */
    (void)close(fd);
    web_until(&w, &w.ends[OCT_HTTP_LEFT], 2);
    cr_assert_eq(w.n_heads, 4);
    web_close(&w);
}

Test(http, who_expects_a_word_before_the_body_gets_it)
{
    struct web w;
    web_open(&w, &(struct oct_http_limits){.body_bytes = 100}, NULL);
    int fd = web_connect(&w);
    web_send(&w, fd,
             "POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\n"
             "Content-Length: 4\r\n\r\n");
    cr_assert_str_eq(web_read(&w, fd, "\r\n\r\n", NULL), "HTTP/1.1 100 Continue\r\n\r\n");
    web_send(&w, fd, "body");
    cr_assert_not_null(strstr(web_read(&w, fd, "\r\n\r\nbody", NULL), "HTTP/1.1 200 OK\r\n"));
    (void)close(fd);
    /* Not who is refused before the body: by the handler, by a limit, or for what he expects. */
    static const struct {
        const char *request;
        int status;
    } row[] = {
        {"POST /early HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n",
         401},
        {"POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 101\r\n\r\n",
         413},
        {"POST /echo HTTP/1.1\r\nHost: a\r\nExpect: the-world\r\nContent-Length: 4\r\n\r\n", 417},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        const char *answer = web_ask(&w, row[i].request);
        cr_assert_eq(web_status(answer), row[i].status, "%zu: %s", i, answer);
        cr_assert_not_null(strstr(answer, "\r\nConnection: close\r\n"), "%zu", i);
    }
    web_close(&w);
}

Test(http, an_early_answer_reaches_a_client_that_still_sends)
{
    struct web w;
    web_open(&w, NULL, NULL);
    static char body[3 << 20];
    for (int i = 0; i < 5; i++) {
        const int fd = web_connect(&w);
        web_send(&w, fd, "POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 3145728\r\n\r\n");
        web_send_bytes(&w, fd, body, sizeof body);
        bool closed;
        const char *answer = web_read(&w, fd, NULL, &closed);
        cr_assert_eq(web_status(answer), 401, "%s", answer);
        cr_assert_not_null(strstr(answer, "\r\nWWW-Authenticate: Bearer\r\n"));
        cr_assert_not_null(strstr(answer, "\r\n\r\nno key\n"));
        cr_assert(closed);
        (void)close(fd);
    }
    cr_assert_eq(w.n_requests, 0);
    cr_assert_eq(w.ends[OCT_HTTP_DONE], 5);
    web_close(&w);
}

Test(http, an_answer_may_come_while_the_body_still_comes)
{
    struct web w;
    web_open(&w, NULL, NULL);
    int fd = web_connect(&w);
    web_send(&w, fd, "POST /soon HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf");
    cr_assert_not_null(w.last);
    oct_http_respond(w.last, 503, "text/plain", "stopping", 8);
    web_send(&w, fd, " more");
    bool closed;
    const char *answer = web_read(&w, fd, NULL, &closed);
    cr_assert_eq(web_status(answer), 503, "%s", answer);
    cr_assert(closed && strstr(answer, "\r\nConnection: close\r\n"), "%s", answer);
    cr_assert_eq(w.n_requests, 0);
    cr_assert_eq(w.ends[OCT_HTTP_DONE], 1);
    (void)close(fd);
    /* In on_head, to a request without a body: the connection stays. */
    fd = web_connect(&w);
    for (int i = 0; i < 2; i++) {
        web_send(&w, fd, "GET /early HTTP/1.1\r\nHost: a\r\n\r\n");
        answer = web_read(&w, fd, "no key\n", &closed);
        cr_assert(web_status(answer) == 401 && !closed, "%s", answer);
    }
    web_send(&w, fd, "POST /cut HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n");
    cr_assert(web_is_closed(&w, fd));
    cr_assert_eq(w.ends[OCT_HTTP_ABORTED], 1);
    (void)close(fd);
    web_close(&w);
}

/* A signal would end this process. */
Test(http, writing_to_a_client_that_has_reset_its_connection_harms_nobody)
{
    struct web w;
    web_open(&w, NULL, NULL);
    for (int i = 0; i < 20; i++) {
        const int fd = web_connect(&w);
        const struct linger now = {.l_onoff = 1};
        web_send(&w, fd, "GET /late HTTP/1.1\r\nHost: a\r\n\r\n");
        web_until(&w, &w.n_requests, i + 1);
        oct_http_start(w.last, 200, "text/plain");
        web_turns(&w, i % 3);
        cr_assert_eq(setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now), 0);
        (void)close(fd);
        while (w.last) {
            oct_http_write(w.last, "data", 4);
            web_turns(&w, 1);
        }
    }
    cr_assert_eq(w.ends[OCT_HTTP_LEFT], 20);
    web_close(&w);
}

Test(http, an_aborted_answer_is_seen_to_be_cut)
{
    struct web w;
    web_open(&w, NULL, NULL);
    const char *answer = web_ask(&w, "GET /abort HTTP/1.1\r\nHost: a\r\n\r\n");
    cr_assert_null(strstr(answer, "\r\n0\r\n"));
    cr_assert_eq(w.ends[OCT_HTTP_ABORTED], 1);
    web_close(&w);
}

static void braces(void *user, int status, const char *sentence, struct oct_buf *body,
                   const char **content_type)
{
    *content_type = "application/json";
    cr_assert_eq(
        oct_buf_printf(body, "{\"%s\":%d,\"why\":\"%s\"}", (const char *)user, status, sentence),
        OCT_OK);
}

Test(http, the_handler_words_what_this_room_refuses)
{
    struct web w;
    const struct oct_http_handler handler = {.user = (void *)"status", .error_body = braces};
    cr_assert_eq(oct_http_create(NULL, &handler, &w.h), OCT_OK);
    cr_assert_eq(oct_http_listen(w.h, "127.0.0.1", 0, NULL, &w.port), OCT_OK);
    const char *answer = web_ask(&w, "GET / HTTP/1.1\r\n\r\n");
    cr_assert_not_null(strstr(answer, "\r\nContent-Type: application/json\r\n"), "%s", answer);
    cr_assert_not_null(
        strstr(answer, "\r\n\r\n{\"status\":400,\"why\":\"the request has no Host header\"}"), "%s",
        answer);
    oct_http_destroy(w.h);
}

/* ---- tasks ---- */

struct count {
    struct oct_http_task task;
    struct oct_http *h;
    int n, again;
};

static void count(struct oct_http_task *t)
{
    struct count *c = (struct count *)t;
    c->n++;
    if (c->again-- > 0) {
        oct_http_post(c->h, t);
    }
}

static void stop(struct oct_http_task *t)
{
    oct_http_stop(((struct count *)t)->h);
}

Test(http, tasks_run_once_a_post_and_run_ends_when_told)
{
    struct web w;
    web_open(&w, NULL, NULL);
    struct count a = {{count, NULL, false}, w.h, 0, 3}, b = {{count, NULL, false}, w.h, 0, 0};
    struct count end = {{stop, NULL, false}, w.h, 0, 0};
    oct_http_post(w.h, &a.task);
    oct_http_post(w.h, &b.task);
    oct_http_post(w.h, &b.task);
    web_turns(&w, 1);
    cr_assert_eq(a.n, 1);
    cr_assert_eq(b.n, 1);
    oct_http_post(w.h, &end.task);
    cr_assert_eq(oct_http_run(w.h), OCT_OK);
    web_turns(&w, 3);
    cr_assert_eq(a.n, 4, "%d", a.n);
    web_close(&w);
}
