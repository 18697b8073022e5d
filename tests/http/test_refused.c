/* SPDX-License-Identifier: Apache-2.0
 *
 * What is refused: requests that two readers could understand in two ways, and every limit, at it
 * and over it. */
#include "http/web.h"

#include "http/parse.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define H "Host: a\r\n"
#define CHUNKED "POST /echo HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n"

Test(refused, what_can_be_read_in_two_ways_is_400_and_closed)
{
    static const char *const row[] = {
        /* lines */
        "GET /hello HTTP/1.1\nHost: a\n\n",
        "GET /hello HTTP/1.1\r\nHost: a\n\r\n",
        "GET /hello HTTP/1.1\r\nHost: a\r\n\n",
        "GET /hello HTTP/1.1\r\nHost: a\rX: y\r\n\r\n",
        "GET /hello HTTP/1.1\rHost: a\r\n\r\n",
        "GET /hello HTTP/1.1\r\n" H "X: a\r\n folded\r\n\r\n",
        "GET /hello HTTP/1.1\r\n" H "X: a\r\n\tfolded\r\n\r\n",
        "GET /hello HTTP/1.1\r\n Host: a\r\n\r\n",
        "GET /hello HTTP/1.1\r\n" H "\r \n",
        "\rGET /hello HTTP/1.1\r\n" H "\r\n",
        "\n\nGET /hello HTTP/1.1\r\n" H "\r\n",
        "\r\n\r\nGET /hello HTTP/1.1\r\n" H "\r\n",
        /* names and values */
        "GET /hello HTTP/1.1\r\nHost : a\r\n\r\n",
        "GET /hello HTTP/1.1\r\nHost\t: a\r\n\r\n",
        "GET /hello HTTP/1.1\r\n" H "X y: z\r\n\r\n",
        "GET /hello HTTP/1.1\r\n" H ": z\r\n\r\n",
        "GET /hello HTTP/1.1\r\n" H "no colon\r\n\r\n",
        "GET /hello HTTP/1.1\r\n" H "X[]: z\r\n\r\n",
        "GET /hello HTTP/1.1\r\n" H "X\x80: z\r\n\r\n",
        "GET /hello HTTP/1.1\r\n" H "X: a\x01z\r\n\r\n",
        "GET /hello HTTP/1.1\r\n" H "X: a\x7fz\r\n\r\n",
        /* request lines */
        "GET http://a/hello HTTP/1.1\r\n" H "\r\n",
        "GET hello HTTP/1.1\r\n" H "\r\n",
        "GET * HTTP/1.1\r\n" H "\r\n",
        "OPTIONS *x HTTP/1.1\r\n" H "\r\n",
        "CONNECT a:80 HTTP/1.1\r\n" H "\r\n",
        "GET /hello#part HTTP/1.1\r\n" H "\r\n",
        "GET /hel\x80lo HTTP/1.1\r\n" H "\r\n",
        "GET /hel\x01lo HTTP/1.1\r\n" H "\r\n",
        "GET /hel\tlo HTTP/1.1\r\n" H "\r\n",
        "GET  /hello HTTP/1.1\r\n" H "\r\n",
        "GET /hello  HTTP/1.1\r\n" H "\r\n",
        "GET /hello HTTP/1.1 \r\n" H "\r\n",
        "GET\t/hello HTTP/1.1\r\n" H "\r\n",
        " GET /hello HTTP/1.1\r\n" H "\r\n",
        "GET /hello\r\n\r\n",
        "get /hello HTTP/1.1\r\n" H "\r\n",
        "BREW /hello HTTP/1.1\r\n" H "\r\n",
        "GETT /hello HTTP/1.1\r\n" H "\r\n",
        "GET /hello HTTP/1.2\r\n" H "\r\n",
        "GET /hello HTTP/2.0\r\n" H "\r\n",
        "GET /hello HTTP/0.9\r\n" H "\r\n",
        "GET /hello HTTP/1.10\r\n" H "\r\n",
        "GET /hello HTTP/1\r\n" H "\r\n",
        "GET /hello http/1.1\r\n" H "\r\n",
        "GET /hello ICE/1.0\r\n" H "\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "\x16\x03\x01\x02",
        "SSH-2.0-OpenSSH_9.2\r\n",
        /* Host */
        "GET /hello HTTP/1.1\r\n\r\n",
        "GET /hello HTTP/1.1\r\n" H H "\r\n",
        "GET /hello HTTP/1.0\r\n" H H "\r\n",
        "GET /hello HTTP/1.1\r\nHost: a b\r\n\r\n",
        "GET /hello HTTP/1.1\r\nHost: a, b\r\n\r\n",
        "GET /hello HTTP/1.1\r\nHost: a/b\r\n\r\n",
        "GET /hello HTTP/1.1\r\nHost: x@a\r\n\r\n",
        /* where the body ends */
        "POST /echo HTTP/1.1\r\n" H
        "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST /echo HTTP/1.1\r\n" H
        "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n0\r\n\r\n",
        "POST /echo HTTP/1.1\r\n" H "Content-Length: 1\r\nContent-Length: 1\r\n\r\nx",
        "POST /echo HTTP/1.1\r\n" H "Content-Length: 1\r\ncontent-length: 2\r\n\r\nxy",
        "POST /echo HTTP/1.1\r\n" H "Content-Length: 1, 1\r\n\r\nx",
        "POST /echo HTTP/1.1\r\n" H "Content-Length: +1\r\n\r\nx",
        "POST /echo HTTP/1.1\r\n" H "Content-Length: -1\r\n\r\nx",
        "POST /echo HTTP/1.1\r\n" H "Content-Length: 0x1\r\n\r\nx",
        "POST /echo HTTP/1.1\r\n" H "Content-Length: 1 1\r\n\r\nx",
        "POST /echo HTTP/1.1\r\n" H "Content-Length: 1.0\r\n\r\nx",
        "POST /echo HTTP/1.1\r\n" H "Content-Length: \r\n\r\nx",
        "POST /echo HTTP/1.1\r\n" H "Content-Length: 99999999999999999999\r\n\r\nx",
        "POST /echo HTTP/1.1\r\n" H "Content-Length: 18446744073709551617\r\n\r\nx",
        "POST /echo HTTP/1.1\r\n" H "Transfer-Encoding: gzip\r\n\r\nx",
        "POST /echo HTTP/1.1\r\n" H "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "POST /echo HTTP/1.1\r\n" H "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        "POST /echo HTTP/1.1\r\n" H "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        "POST /echo HTTP/1.1\r\n" H "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n",
        "POST /echo HTTP/1.1\r\n" H "Transfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n",
        "POST /echo HTTP/1.1\r\n" H "Transfer-Encoding:\r\n\r\n0\r\n\r\n",
        "POST /echo HTTP/1.1\r\n" H
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST /echo HTTP/1.1\r\n" H
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
        "POST /echo HTTP/1.0\r\n" H "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST /echo HTTP/1.1\r\n" H "Expect: 100-continue\r\nExpect: 100-continue\r\n\r\n",
        /* chunks */
        CHUNKED "\r\n",
        CHUNKED " 1\r\na\r\n0\r\n\r\n",
        CHUNKED "1 \r\na\r\n0\r\n\r\n",
        CHUNKED "+1\r\na\r\n0\r\n\r\n",
        CHUNKED "-1\r\na\r\n0\r\n\r\n",
        CHUNKED "0x1\r\na\r\n0\r\n\r\n",
        CHUNKED "g\r\na\r\n0\r\n\r\n",
        CHUNKED ";x\r\na\r\n0\r\n\r\n",
        CHUNKED "1\na\r\n0\r\n\r\n",
        CHUNKED "1\rXa\r\n0\r\n\r\n",
        CHUNKED "1;a\nb\r\na\r\n0\r\n\r\n",
        CHUNKED "1;a\x01\r\na\r\n0\r\n\r\n",
        CHUNKED "1\r\naXY0\r\n\r\n",
        CHUNKED "1\r\na\rX0\r\n\r\n",
        CHUNKED "1\r\na\n0\r\n\r\n",
        CHUNKED "1\r\nab\r\n0\r\n\r\n",
        CHUNKED "2\r\na\r\n0\r\n\r\n",
        CHUNKED "00000000000000001\r\na\r\n0\r\n\r\n",
        CHUNKED "0\r\n X: y\r\n\r\n",
        CHUNKED "0\r\nX y\r\n\r\n",
        CHUNKED "0\r\nX: y\n\r\n",
        CHUNKED "0\r\n\rX",
    };
    struct web w;
    web_open(&w, NULL, NULL);
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        const int fd = web_connect(&w);
        web_send(&w, fd, row[i]);
        /* What a smuggler would have answered next. */
        web_send(&w, fd, "GET /smuggled HTTP/1.1\r\n" H "\r\n");
        bool closed;
        const char *answer = web_read(&w, fd, NULL, &closed);
        cr_assert_eq(web_status(answer), 400, "row %zu: %s: %s", i, row[i], answer);
        cr_assert(closed, "row %zu", i);
        cr_assert_null(strstr(answer, "smuggled"), "row %zu: %s", i, answer);
        cr_assert_null(strstr(answer, "\nHTTP/1.1 "), "row %zu: two answers: %s", i, answer);
        cr_assert_eq(w.n_requests, 0, "row %zu: %s", i, row[i]);
        (void)close(fd);
    }
    struct oct_http_stats s;
    oct_http_get_stats(w.h, &s);
    cr_assert_eq(s.n_malformed, sizeof row / sizeof *row);
    cr_assert_eq(w.ends[OCT_HTTP_BROKEN], w.n_ends);
    web_close(&w);
}

Test(refused, a_nul_anywhere_in_a_head_is_400)
{
    static const char good[] = "GET /hello HTTP/1.1\r\nHost: a\r\nX: yz\r\n\r\n";
    const struct oct_http_limits limits = {.head_bytes = 1024, .n_headers = 10};
    for (size_t i = 0; i < sizeof good - 1; i++) {
        char bad[sizeof good];
        size_t bodies = 0, used;
        struct oct_http_request r;
        memcpy(bad, good, sizeof good);
        bad[i] = '\0';
        oct_http_request_init(&r, &limits, &bodies);
        cr_assert_eq(oct_http_request_parse(&r, bad, sizeof bad - 1, &used),
                     OCT_HTTP_PARSED_REFUSED, "NUL at %zu", i);
        cr_assert_eq(r.status, 400);
        cr_assert_lt(used, sizeof bad);
        oct_http_request_free(&r);
    }
}

/* ---- limits ---- */

enum { ROOM = 1 << 20 };

static char *repeat(char *to, const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        to += sprintf(to, "%s", text);
    }
    return to;
}

/* The status of a request whose head has `len` bytes. */
static int head_of(struct web *w, size_t len)
{
    static char text[ROOM];
    char *p = text + sprintf(text, "GET /hello HTTP/1.1\r\nConnection: close\r\n" H "X: ");
    p = repeat(p, "a", len - (size_t)(p - text) - 4);
    memcpy(p, "\r\n\r\n", 5);
    cr_assert_eq(strlen(text), len);
    return web_status(web_ask(w, text));
}

static int headers_of(struct web *w, size_t n)
{
    static char text[ROOM];
    char *p = text + sprintf(text, "GET /hello HTTP/1.1\r\nConnection: close\r\n" H);
    p = repeat(p, "X: y\r\n", n - 2);
    memcpy(p, "\r\n", 3);
    return web_status(web_ask(w, text));
}

static int body_of(struct web *w, size_t n, bool is_chunked)
{
    static char text[ROOM];
    char *p = text + sprintf(text, "POST /echo HTTP/1.1\r\nConnection: close\r\n" H);
    if (is_chunked) {
        p += sprintf(p, "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n%zx\r\n", n - 1);
    } else {
        p += sprintf(p, "Content-Length: %zu\r\n\r\na", n);
    }
    p = repeat(p, "b", n - 1);
    memcpy(p, is_chunked ? "\r\n0\r\n\r\n" : "", is_chunked ? 8 : 1);
    return web_status(web_ask(w, text));
}

static int chunks_of(struct web *w, size_t n)
{
    static char text[ROOM];
    char *p = text + sprintf(text, "POST /echo HTTP/1.1\r\nConnection: close\r\n" H
                                   "Transfer-Encoding: chunked\r\n\r\n");
    p = repeat(p, "1\r\na\r\n", n);
    memcpy(p, "0\r\n\r\n", 6);
    return web_status(web_ask(w, text));
}

/* n bytes of chunk extensions and trailers together. */
static int extra_of(struct web *w, size_t n)
{
    static char text[ROOM];
    char *p = text + sprintf(text, "POST /echo HTTP/1.1\r\nConnection: close\r\n" H
                                   "Transfer-Encoding: chunked\r\n\r\n1;");
    p = repeat(p, "x", n / 2);
    p += sprintf(p, "\r\na\r\n0\r\nX:");
    p = repeat(p, "y", n - n / 2 - 6);
    memcpy(p, "\r\n\r\n", 5);
    return web_status(web_ask(w, text));
}

Test(refused, each_limit_holds_at_it_and_over_it)
{
    struct web w;
    const struct oct_http_limits limits = {
        .head_bytes = 2000, .n_headers = 20, .body_bytes = 5000, .n_chunks = 30};
    web_open(&w, &limits, NULL);
    for (int i = 0; i < 2; i++) { /* small limits, then the defaults */
        const size_t head = i ? 32768 : 2000, n = i ? 100 : 20, chunks = i ? 65536 : 30;
        cr_assert_eq(head_of(&w, head), 200);
        cr_assert_eq(head_of(&w, head + 1), 431);
        cr_assert_eq(headers_of(&w, n), 200);
        cr_assert_eq(headers_of(&w, n + 1), 431);
        cr_assert_eq(chunks_of(&w, chunks), 200);
        cr_assert_eq(chunks_of(&w, chunks + 1), 400);
        cr_assert_eq(extra_of(&w, head), 200);
        cr_assert_eq(extra_of(&w, head + 1), 400);
        if (i == 0) {
            cr_assert_eq(body_of(&w, 5000, false), 200);
            cr_assert_eq(body_of(&w, 5001, false), 413);
            cr_assert_eq(body_of(&w, 5000, true), 200);
            cr_assert_eq(body_of(&w, 5001, true), 413);
            web_close(&w);
            web_open(&w, NULL, NULL);
        }
    }
    web_close(&w);
}

/* Declared: refused before a byte of it. A chunk's size of 64 bits and more is no way around. */
Test(refused, a_body_that_is_too_large_is_not_read)
{
    struct web w;
    web_open(&w, NULL, NULL);
    static const char *const row[] = {
        "POST /echo HTTP/1.1\r\n" H "Content-Length: 8388609\r\n\r\n",
        "POST /echo HTTP/1.1\r\n" H "Content-Length: 9223372036854775807\r\n\r\n",
        "POST /echo HTTP/1.1\r\n" H "Content-Length: 9999999999999999999\r\n\r\n",
        CHUNKED "800001\r\n",
        CHUNKED "7fffffffffffffff\r\n",
        CHUNKED "ffffffffffffffff\r\n",
        CHUNKED "ffffffffffffffffffffffff\r\n",
        CHUNKED "1\r\na\r\n800000\r\n",
        CHUNKED "1\r\na\r\nffffffffffffffff\r\n",
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        const char *answer = web_ask(&w, row[i]);
        cr_assert_eq(web_status(answer), 413, "row %zu: %s", i, answer);
        cr_assert_eq(w.last_end, OCT_HTTP_BROKEN);
        cr_assert_eq(w.last_status, 413);
    }
    cr_assert_eq(w.n_requests, 0);
    web_close(&w);
}

Test(refused, the_memory_of_all_bodies_together_is_bounded)
{
    struct web w;
    const struct oct_http_limits limits = {.body_bytes = 100000, .bodies_bytes = 250000};
    web_open(&w, &limits, NULL);
    static char body[99999];
    memset(body, 'y', sizeof body);
    int fd[3];
    for (int i = 0; i < 3; i++) {
        fd[i] = web_connect(&w);
        web_send(&w, fd[i], "POST /echo HTTP/1.1\r\n" H "Content-Length: 100000\r\n\r\n");
        web_send_bytes(&w, fd[i], body, sizeof body);
    }
    bool closed;
    const char *answer = web_read(&w, fd[2], NULL, &closed);
    cr_assert_eq(web_status(answer), 503, "%s", answer);
    cr_assert(closed);
    for (int i = 0; i < 2; i++) {
        web_send_bytes(&w, fd[i], "z", 1);
        cr_assert_eq(web_status(web_read(&w, fd[i], "z", NULL)), 200);
        web_until(&w, &w.ends[OCT_HTTP_DONE], i + 1);
    }
    /* All of it has been given back. */
    cr_assert_eq(body_of(&w, 100000, true), 200);
    for (int i = 0; i < 3; i++) {
        (void)close(fd[i]);
    }
    web_close(&w);
}

Test(refused, limits_that_make_no_sense_are_told)
{
    struct oct_http *h;
    const struct oct_http_handler handler = {0};
    cr_assert_eq(oct_http_create(&(struct oct_http_limits){.head_us = -1}, &handler, &h),
                 OCT_E_ARG);
    cr_assert_eq(
        oct_http_create(&(struct oct_http_limits){.head_bytes = (16 << 20) + 1}, &handler, &h),
        OCT_E_ARG);
    cr_assert_eq(oct_http_create(&(struct oct_http_limits){.head_bytes = 16 << 20}, &handler, &h),
                 OCT_OK);
    oct_http_destroy(h);
}
