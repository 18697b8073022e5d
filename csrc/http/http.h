/* SPDX-License-Identifier: Apache-2.0
 *
 * http.h - an HTTP/1.1 server on one thread, for requests that are answered at once, later, or as
 * a stream that lasts for minutes. It knows nothing of models.
 *
 * Sockets, TLS and the loop are libevent's (bufferevents); the grammar of a head is http-parser's,
 * behind a stricter check of ours (parse.h); ours are the limits, the life of a request and the
 * bounds on memory. Everything here runs on the thread that calls oct_http_run (or _turn), but for
 * oct_http_post.
 *
 * The life of a request ("exchange"): on_head once its head is there; unless that refuses,
 * on_request once its body is there too; then the handler answers, now or later, from the loop's
 * thread; and on_end, exactly once for every exchange that on_head has seen, when the answer has
 * been handed to the kernel, the client has left, or the connection was given up. After on_end the
 * exchange is gone. on_end never comes from inside a call of yours: what you call on an exchange
 * that has ended meanwhile does nothing, and on_end comes later, from the loop.
 *
 * A client that leaves is noticed at once, whatever the exchange is waiting for: we never stop
 * looking at the connection. One that only shuts down its sending side counts as one that left (as
 * it does for nginx); only an answer that is complete by then is still sent.
 */
#ifndef OCT_HTTP_HTTP_H
#define OCT_HTTP_HTTP_H

#include "base/mem.h"

struct oct_http;
struct oct_http_exchange;
struct bufferevent;

/* Zero means the default. */
struct oct_http_limits {
    size_t head_bytes;   /* 32 KiB; more is answered 431 */
    size_t n_headers;    /* 100; 431 */
    size_t body_bytes;   /* 8 MiB; more, declared or sent, is answered 413, and not read on */
    size_t bodies_bytes; /* 256 MiB, at least body_bytes: memory of all bodies of all connections
                            that have not been taken; over it the newest bytes are answered 503 */
    size_t n_chunks;     /* 65536 of a chunked body; 400 */
    size_t out_bytes;    /* 256 KiB waiting for a slow reader: oct_http_is_full */
    int64_t head_us; /* 10 s from a request's first byte (of a TLS connection: from its accept) to
                        the end of its head; 408 */
    int64_t body_idle_us;   /* 30 s without a byte of the body; 408 */
    int64_t write_stall_us; /* 30 s in which a reader takes nothing of what waits; cut */
    int64_t keep_alive_us;  /* 75 s between two requests; closed */
    int64_t linger_us;     /* 2 s in which what a refused client still sends is thrown away, so that
                              the answer reaches it */
    int32_t n_connections; /* 10000, less where the process may not open so many files; over it a
                              new connection is told 503 and closed */
    int32_t n_pipelined; /* 64 KiB. Requests of one connection are answered in order, one at a time;
                            who sends more than this behind the one that is answered loses it: the
                            connection closes after that answer */
};

enum oct_http_end {
    OCT_HTTP_DONE,    /* the whole answer has been handed to the kernel */
    OCT_HTTP_LEFT,    /* the client closed or reset the connection first */
    OCT_HTTP_STALLED, /* write_stall_us */
    OCT_HTTP_BROKEN, /* the body did not come whole (too slow, malformed, too large) and was refused
                      */
    OCT_HTTP_ABORTED, /* oct_http_abort, or the server closes */
};

struct oct_http_handler {
    void *user;
    /* The head is there. Return 0 to have the body read, or answer here (oct_http_respond) and
     * return 1: the body is then not read and the connection closes after the answer. */
    int (*on_head)(void *user, struct oct_http_exchange *x);
    void (*on_request)(void *user, struct oct_http_exchange *x);
    /* Output that was full has room again. May be NULL. */
    void (*on_room)(void *user, struct oct_http_exchange *x);
    void (*on_end)(void *user, struct oct_http_exchange *x, enum oct_http_end how);
    /* The sentence and HTTP status of what this room refuses by itself (400, 408, 413, 417, 431,
     * 503) as the body to send. May be NULL: a line of plain text. */
    void (*error_body)(void *user, int status, const char *sentence, struct oct_buf *body,
                       const char **content_type);
};

/* The process ignores SIGPIPE from then on, unless it has a handler of its own. */
OCT_CHECKED oct_status oct_http_create(const struct oct_http_limits *limits,
                                       const struct oct_http_handler *handler,
                                       struct oct_http **out);
/* Ends every exchange with OCT_HTTP_ABORTED. Tasks that are still posted are not run; no thread may
 * post any more. NULL is fine. */
void oct_http_destroy(struct oct_http *h);

/* ---- where connections come from ---- */

struct oct_http_tls;
/* PEM files; certificate chain and key. A sentence names the file that is not right. */
OCT_CHECKED oct_status oct_http_tls_create(const char *certificate_path, const char *key_path,
                                           struct oct_http_tls **out);
void oct_http_tls_destroy(struct oct_http_tls *t);

/* host: a name or address, "" for all; port 0: any free one, told in *bound_port (may be NULL). tls
 * borrowed as long as the server lives; NULL: plain. */
OCT_CHECKED oct_status oct_http_listen(struct oct_http *h, const char *host, uint16_t port,
                                       struct oct_http_tls *tls, uint16_t *bound_port);
/* A Unix socket. A stale one (nobody accepts there) is replaced, a live one or another file is
 * refused. Mode 0600 unless the umask says otherwise; removed by close_listeners. */
OCT_CHECKED oct_status oct_http_listen_unix(struct oct_http *h, const char *path);
/* Takes whoever has connected by now, then no more. Connections that were kept alive and have
 * nothing to read are closed; the others, new ones too, close after their next answer. */
void oct_http_close_listeners(struct oct_http *h);
/* One more connection, whose other end the caller holds (simulations, tests). Taken over, also on
 * failure. */
OCT_CHECKED oct_status oct_http_attach(struct oct_http *h, struct bufferevent *bev,
                                       const char *peer);
struct event_base *oct_http_base(struct oct_http *h);

/* ---- running ---- */

/* Until oct_http_stop. */
OCT_CHECKED oct_status oct_http_run(struct oct_http *h);
void oct_http_stop(struct oct_http *h); /* from the loop's thread; run returns */
/* One turn of the loop, for who has a loop or a clock of his own: handles what is there, and
 * deadlines by oct_clock_us(). block: sleeps for something first. */
OCT_CHECKED oct_status oct_http_turn(struct oct_http *h, bool block);

/* A piece of work for the loop's thread, embedded in whatever it is about; {0} at first. */
struct oct_http_task {
    void (*run)(struct oct_http_task *t);
    struct oct_http_task *next;
    bool is_posted;
};
/* From any thread: t->run(t) is called on the loop's thread soon. Allocates nothing; a task that is
 * posted already stays so. One system call if the loop sleeps. */
void oct_http_post(struct oct_http *h, struct oct_http_task *t);

struct oct_http_stats {
    uint64_t n_accepted, n_refused; /* connections; refused: over n_connections, or no file left */
    uint64_t n_requests;            /* whose head was read */
    uint64_t n_malformed, n_timeouts, n_left, n_stalled;
    int32_t n_connections, n_exchanges; /* now */
    size_t out_bytes;                   /* now, of all connections: waits for readers */
};
void oct_http_get_stats(const struct oct_http *h, struct oct_http_stats *out);

/* ---- the request ---- */

enum oct_http_method {
    OCT_HTTP_OTHER,
    OCT_HTTP_GET,
    OCT_HTTP_HEAD,
    OCT_HTTP_POST,
    OCT_HTTP_DELETE,
    OCT_HTTP_OPTIONS
};
enum oct_http_method oct_http_method(const struct oct_http_exchange *x);
const char *oct_http_method_name(const struct oct_http_exchange *x);
/* "/v1/models": no query, no fragment; percent escapes as they came. Valid until on_end, as are the
 * next three. */
const char *oct_http_path(const struct oct_http_exchange *x);
const char *oct_http_query(const struct oct_http_exchange *x); /* "" if there is none */
/* The first header of that name, whatever its case; NULL if there is none. */
const char *oct_http_header(const struct oct_http_exchange *x, const char *name);
const char *oct_http_peer(const struct oct_http_exchange *x); /* "127.0.0.1:40312", "unix" */
/* The body: data[len], NUL-terminated, "" if there is none. take_body gives it away (oct_free), for
 * other threads; NULL if there is none (any more). From on_request on. */
const char *oct_http_body(const struct oct_http_exchange *x, size_t *len);
char *oct_http_take_body(struct oct_http_exchange *x, size_t *len);
int64_t oct_http_begin_us(const struct oct_http_exchange *x); /* its first byte */
void oct_http_set_user(struct oct_http_exchange *x, void *user);
void *oct_http_user(const struct oct_http_exchange *x);

/* ---- the answer ---- */

/* One more header of the answer, before respond or start. Name and value are the program's own or
 * checked here: a control character is refused as a bug of ours (asserted). */
void oct_http_add_header(struct oct_http_exchange *x, const char *name, const char *value);
/* The whole answer. HEAD gets no body. Memory that runs out cuts the connection (on_end says so).
 */
void oct_http_respond(struct oct_http_exchange *x, int status, const char *content_type,
                      const void *data, size_t len);
/* An answer in pieces (chunked; for HTTP/1.0 until the connection closes). */
void oct_http_start(struct oct_http_exchange *x, int status, const char *content_type);
void oct_http_write(struct oct_http_exchange *x, const void *data, size_t len);
void oct_http_finish(struct oct_http_exchange *x);
/* Cuts the connection: the client sees that the answer is not whole. */
void oct_http_abort(struct oct_http_exchange *x);
/* True while more than out_bytes wait for the reader. Who streams holds back what comes then, and
 * goes on in on_room. */
bool oct_http_is_full(const struct oct_http_exchange *x);
int oct_http_status(const struct oct_http_exchange *x); /* of the answer; 0 before it */

#endif
