/* SPDX-License-Identifier: Apache-2.0
 *
 * web.h - a server with a small handler, and raw clients, all in the test's own thread: a client's
 * bytes go out and come in while web_turn() turns the server's loop.
 *
 * What the handler does is the request's path:
 *   /hello        "hello, world" at once
 *   /echo         the body, at once
 *   /early        401 from on_head
 *   /cut          oct_http_abort in on_head
 *   /soon         nothing: the test answers web->last, which on_head has set
 *   /late         nothing: the test answers web->last
 *   /big          1 MiB at once
 *   /stream       100 chunks of 1 KiB, as long as there is room, at once
 *   /flood        chunks of 4 KiB until the exchange ends, as long as there is room
 *   /abort        a chunk, then oct_http_abort
 *   /none         204
 *   others        404, with a header that names the path */
#ifndef TESTS_HTTP_WEB_H
#define TESTS_HTTP_WEB_H

#include "http/http.h"

#include <stdbool.h>
#include <stddef.h>

struct web {
    struct oct_http *h; /* NULL: in another process; then nothing turns */
    uint16_t port;
    struct oct_http_exchange *last; /* of /late; NULL after its end */
    int n_heads, n_requests, n_ends, n_rooms;
    int ends[8];                /* by enum oct_http_end */
    enum oct_http_end last_end; /* and of the last of them */
    int last_status;
    size_t flooded; /* bytes that /flood has written */
    char last_header[256];
};

/* Listens at 127.0.0.1. Every failure of a helper fails the test. */
void web_open(struct web *w, const struct oct_http_limits *limits, struct oct_http_tls *tls);
void web_close(struct web *w);
void web_turns(struct web *w, int n);
void web_turn_ms(struct web *w, int ms); /* turns for so long, in real time */

/* A clock of the test's own, in microseconds; starts at 1 s. Only where OCT_FAULTS. */
extern int64_t web_now_us;
void web_use_clock(void);
void web_pass(struct web *w, int64_t us); /* moves that clock, and turns */

int web_connect(struct web *w);
void web_send(struct web *w, int fd, const char *text); /* with turns, all of it */
void web_send_bytes(struct web *w, int fd, const void *data, size_t len);
/* Reads until the text `end` has come, the server closes, or two seconds are over; NUL-terminated,
 * static, valid until the next call. end NULL: until it closes. *closed may be NULL. */
const char *web_read(struct web *w, int fd, const char *end, bool *closed);
/* One request on a connection of its own, which the client closes: its whole answer. */
const char *web_ask(struct web *w, const char *request);
int web_status(const char *answer);                           /* 0: not an answer */
bool web_is_closed(struct web *w, int fd);                    /* within a second */
void web_until(struct web *w, const int *counter, int value); /* a second at most, then fails */

#endif
