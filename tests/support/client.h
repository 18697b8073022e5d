/* SPDX-License-Identifier: Apache-2.0
 *
 * client.h - an HTTP/1.1 client that holds thousands of connections on one thread, for load tests
 * and for comparing servers. It shares no code with our server. Every request ends in exactly one
 * call of on_end, whatever the server does; what goes wrong on this side (memory, epoll) is an
 * assertion. */
#ifndef OCT_TEST_CLIENT_H
#define OCT_TEST_CLIENT_H

#include "base/mem.h"

enum client_end {
    CLIENT_ANSWERED,   /* a whole HTTP answer; status says which */
    CLIENT_CUT,        /* the server closed or reset before the answer was whole */
    CLIENT_TIMEOUT,    /* no whole answer in time; the connection is closed */
    CLIENT_NO_CONNECT, /* no connection: refused, or none in time */
    CLIENT_N_ENDS
};
extern const char *const client_end_names[CLIENT_N_ENDS];

struct client;

struct client_conn {
    /* the caller's */
    void *user;
    int64_t tag;
    /* of the answer under way, or the last one */
    int status;          /* 0: no status line yet */
    struct oct_buf body; /* without chunk marks; NUL-terminated, NULL until something came */
    int64_t start_us, first_us, end_us; /* sent; first byte of the body (0: none); on_end */
    bool reused;                        /* not the first request of its connection */
    /* the rest is client.c's */
    struct client *client;
    struct client_conn *prev, *next;
    int fd, state, source;
    bool busy, has_length, is_chunked, close_after;
    const char *out; /* borrowed until on_end */
    size_t out_len, out_off;
    struct oct_buf line; /* of the head, or of a chunk's size */
    uint64_t left;
    int64_t deadline_us;
};

struct client_callbacks {
    void *user;
    /* The connection is idle (kept alive) or closed; it may be used again or destroyed here, no
     * other may. */
    void (*on_end)(void *user, struct client_conn *c, enum client_end end);
    /* Something of the body came. May be NULL. */
    void (*on_body)(void *user, struct client_conn *c);
};

/* host: an IPv4 address. */
struct client *client_create(const char *host, uint16_t port, const struct client_callbacks *cb);
void client_destroy(struct client *k); /* closes what is open, calls nothing */

/* source: the connection comes from 127.0.0.<source> (28,000 ports each); 0: any. */
struct client_conn *client_conn_create(struct client *k, int source);
void client_conn_destroy(struct client_conn *c);

/* Sends `len` bytes, which stay the caller's and must live until on_end. Connects first where there
 * is no connection. */
void client_send(struct client_conn *c, const char *request, size_t len, int64_t timeout_us);
/* Connects and sends nothing (or the part of a request that is given) and expects nothing, for
 * clients that idle; what comes is thrown away. */
void client_idle(struct client_conn *c, const char *part, size_t len);
/* As a client that leaves: closes at once; on_end is not called. reset: by RST. */
void client_leave(struct client_conn *c, bool reset);
bool client_is_connected(const struct client_conn *c);

/* Waits up to wait_ms for something to happen and handles it. */
void client_turn(struct client *k, int wait_ms);
size_t client_n_busy(const struct client *k);

int64_t client_now_us(void);

/* "POST path" with a JSON body, ready to send; appended. */
void client_post(struct oct_buf *out, const char *path, const char *json, size_t len);
/* One request on a connection of its own, waited for; the answer's body is given away in *body
 * (may be NULL; "" if there was none). Returns the status, or -1 - enum client_end. */
int client_once(const char *host, uint16_t port, const char *request, size_t len,
                int64_t timeout_us, char **body);

#endif
