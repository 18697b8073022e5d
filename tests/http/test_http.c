/* SPDX-License-Identifier: Apache-2.0
 *
 * What a client sees: answers, keep-alive, pipelining, HEAD, HTTP/1.0, 100-continue. */
#include "http/web.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
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
