/* SPDX-License-Identifier: Apache-2.0
 *
 * conn.h - what the files of this room share: the server, a connection, an exchange.
 *
 * A connection is in one state and waits for at most one deadline. Nothing is freed while anybody
 * may stand on it: who finds that a connection is over calls oct_http_doom, and oct_http_settle_all
 * ends it when the turn of the loop is over. That is also where answers that are complete are seen,
 * so no handler is ever called from inside a call of its own. */
#ifndef OCT_HTTP_CONN_H
#define OCT_HTTP_CONN_H

#include "http/parse.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <sys/queue.h>
#include <sys/types.h>

enum oct_http_conn_state {
    OCT_HTTP_CONN_IDLE,   /* no byte of the next request yet */
    OCT_HTTP_CONN_HEAD,   /* a head is coming */
    OCT_HTTP_CONN_BODY,   /* a body is coming */
    OCT_HTTP_CONN_ANSWER, /* the handler's turn, until its answer has left */
    OCT_HTTP_CONN_LAST,   /* what waits for the reader is the end; its bytes are thrown away */
    OCT_HTTP_CONN_LINGER, /* all is sent: until the client closes, too */
};

/* Every connection that waits is in the list of its kind. As a kind has one length, a list is
 * ordered by deadline, and a turn looks at five heads only. */
enum oct_http_wait {
    OCT_HTTP_WAIT_HEAD,
    OCT_HTTP_WAIT_BODY,
    OCT_HTTP_WAIT_STALL,
    OCT_HTTP_WAIT_KEEP_ALIVE,
    OCT_HTTP_WAIT_LINGER,
    OCT_HTTP_N_WAITS, /* waits for nothing */
};

struct oct_http_conn {
    struct oct_http *h;
    struct bufferevent *bev;     /* owned */
    SSL *ssl;                    /* the bufferevent's; NULL: plain */
    struct event *goodbye;       /* owned; TLS: its end waits for room in the kernel */
    struct oct_http_exchange *x; /* owned; from a request's first byte to its end */
    size_t out_len;              /* waits for the reader */
    int64_t wait_since_us;
    enum oct_http_wait wait;
    enum oct_http_conn_state state;
    enum oct_http_end fate;    /* doomed: how its exchange ends */
    bool is_doomed, is_queued; /* queued: in h->unsettled */
    bool must_close;           /* after what is being answered */
    bool was_used;             /* a request has begun on it */
    bool has_left;             /* has sent its end of file */
    bool is_refused;           /* told 503 for want of room; not in n_connections */
    TAILQ_ENTRY(oct_http_conn) all, waiting, unsettled;
    char peer[64];
};
TAILQ_HEAD(oct_http_conns, oct_http_conn);

struct oct_http_exchange {
    struct oct_http_conn *c;
    struct oct_http_request in;
    int64_t begin_us;
    void *user;
    struct oct_buf headers; /* lines that the handler added */
    int status;             /* 0: nothing answered */
    bool is_seen;           /* on_head has seen it, so on_end will */
    bool is_finished;       /* the answer is complete */
    bool is_chunked, has_no_body;
    bool was_full; /* so on_room is due */
};

struct oct_http_listener;

struct oct_http {
    struct oct_http_limits limits;
    struct oct_http_handler handler;
    struct event_base *base;
    struct event *wake;  /* the eventfd that oct_http_post writes to */
    struct event *timer; /* only wakes the loop; deadlines are judged by oct_clock_us() */
    int wake_fd;
    int reserve_fd; /* given up for a moment to tell a client that there is no file left for it */
    struct oct_http_conns all, unsettled, waiting[OCT_HTTP_N_WAITS];
    int64_t timer_us;                    /* when the timer fires; 0: not set */
    struct oct_http_listener *listeners; /* owned list */
    int64_t accept_again_us;             /* accepting is paused until then; 0: it is not */
    int32_t n_refused_open;              /* connections that are being told 503 */
    size_t bodies_bytes;
    struct oct_http_stats stats;
    bool is_stopped, is_draining;
    int64_t date_s; /* of date */
    char date[40];
    /* Guards the tasks below; no other lock is taken under it. */
    pthread_mutex_t lock;
    struct oct_http_task *first_task, *last_task;
};

/* ---- server.c ---- */

void oct_http_wait_for(struct oct_http_conn *c, enum oct_http_wait kind);

/* ---- conn.c ---- */

/* Takes bev over, also on failure. refuse: it is told 503 and closed. */
OCT_CHECKED oct_status oct_http_conn_open(struct oct_http *h, struct bufferevent *bev, SSL *ssl,
                                          const char *peer, bool refuse);
/* The connection is over: how its exchange ends, if there is one. The first word counts. */
void oct_http_doom(struct oct_http_conn *c, enum oct_http_end how);
/* Something about the connection is to be looked at before the turn ends. */
void oct_http_unsettle(struct oct_http_conn *c);
void oct_http_settle_all(struct oct_http *h);
void oct_http_conn_deadline(struct oct_http_conn *c);

/* ---- respond.c ---- */

/* Appends to what waits for the reader; dooms the connection if memory runs out. */
void oct_http_put(struct oct_http_conn *c, const void *data, size_t len);
/* A whole answer of this room's own, the last one of its connection. */
void oct_http_put_refusal(struct oct_http_conn *c, int status, const char *sentence, bool is_head);
/* The same as text, for a socket without a connection; false: no memory. */
bool oct_http_refusal_text(struct oct_http *h, int status, const char *sentence, bool is_head,
                           struct oct_buf *out);

/* ---- listen.c ---- */

void oct_http_listeners_close(struct oct_http *h);
void oct_http_listeners_resume(struct oct_http *h);
void oct_http_listeners_accept_last(struct oct_http *h); /* all that have connected by now */

/* ---- tls.c ---- */

/* A connection that begins with a handshake; *ssl belongs to it. NULL: no memory; fd stays open. */
struct bufferevent *oct_http_tls_accept(const struct oct_http_tls *t, struct event_base *base,
                                        int fd, SSL **ssl);
/* libevent and OpenSSL allocate through base/mem.h from now on, and print nothing. Once. */
void oct_http_libraries_init(void);

#endif
