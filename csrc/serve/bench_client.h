/* SPDX-License-Identifier: Apache-2.0
 *
 * bench_client.h - an HTTP/1.1 client for load: thousands of connections on one thread, kept alive,
 * with the times at which an OpenAI answer's tokens came. What a server sends is not trusted.
 *
 * A call ends exactly once, in one of enum oct_call_end, whatever the server does. */
#ifndef OCT_SERVE_BENCH_CLIENT_H
#define OCT_SERVE_BENCH_CLIENT_H

#include "base/mem.h"

#include <event2/event.h>
#include <sys/socket.h>

/* ---- where the server is (bench_client_url.c) ---- */

struct oct_target {
    char host[256];   /* as the Host header and a certificate name it */
    char prefix[256]; /* of every path; "" or "/something" */
    uint16_t port;
    bool tls;
    struct sockaddr_storage address;
    socklen_t address_len;
    struct ssl_ctx_st *ssl; /* owned; NULL: plain */
};
/* "http://host:port/prefix", "https://...", "host:port"; a "/v1" at the end is dropped. uds: the
 * Unix socket to connect to, or NULL. Resolves the name; OCT_E_ARG or OCT_E_NOTFOUND say why not.
 * insecure: any certificate will do. */
OCT_CHECKED oct_status oct_target_open(const char *url, const char *uds, bool insecure,
                                       struct oct_target *out);
void oct_target_close(struct oct_target *t);
/* A TLS session for one connection; NULL if memory runs out. */
struct ssl_st *oct_target_tls(const struct oct_target *t);

/* ---- calls ---- */

// clang-format off
#define OCT_CALL_ENDS(X)                                                                       \
    X(DONE,      "done",      "the whole answer came")                                         \
    X(REFUSED,   "refused",   "HTTP 429 or 503")                                               \
    X(ERROR,     "error",     "another HTTP status, or an error event in the stream")          \
    X(CUT,       "cut",       "no connection, or it ended or made no sense before the answer was whole") \
    X(TIMED_OUT, "timed_out", "not over within --timeout")                                     \
    X(LEFT,      "left",      "the client stopped (Ctrl-C)")
// clang-format on
enum oct_call_end {
#define OCT_CALL_END(id, name, text) OCT_CALL_##id,
    OCT_CALL_ENDS(OCT_CALL_END)
#undef OCT_CALL_END
        OCT_N_CALL_ENDS
};

enum { OCT_CALL_ERROR_BYTES = 200 };

struct oct_call {
    /* given */
    bool keep_text;
    int64_t timeout_us;
    void (*on_end)(struct oct_call *call); /* may be called from inside oct_client_start */
    void *user;
    /* what came back */
    enum oct_call_end end;
    int status;                       /* HTTP; 0: none came */
    char error[OCT_CALL_ERROR_BYTES]; /* why it is not DONE; printable */
    int64_t first_us, token_us;       /* of the first and the last event with some text in it */
    int64_t last_us; /* of the last event with a choice: tokens need not have a text */
    int64_t end_us;
    int32_t n_chunks;           /* events with some text in them */
    int64_t n_prompt, n_output; /* as the server counted; -1: it did not say */
    float *gaps_ms;             /* [n_chunks - 1] between those events; owned */
    size_t cap_gaps;
    struct oct_buf text; /* of the answer, if keep_text; of a body that is no stream: all of it */
    bool saw_finish, saw_done, saw_error;
};
void oct_call_deinit(struct oct_call *call);

struct oct_client;
/* target, base and api_key (NULL: none) are borrowed. */
OCT_CHECKED oct_status oct_client_create(struct event_base *base, const struct oct_target *target,
                                         const char *api_key, struct oct_client **out);
/* Ends every call that is under way as LEFT. */
void oct_client_stop(struct oct_client *c);
void oct_client_destroy(struct oct_client *c);

/* Sends a request on an idle connection or a new one: body[len] as JSON, or a GET if body is NULL.
 * A call that was started is borrowed until its on_end. */
void oct_client_start(struct oct_client *c, const char *path, const char *body, size_t len,
                      struct oct_call *call);

struct oct_client_stats {
    int64_t n_connects; /* connections opened */
    int64_t n_resent;   /* requests sent again, since the server had closed an idle connection */
    int32_t n_open, max_open;
    char server[64]; /* the header Server, as it came first; "" */
};
const struct oct_client_stats *oct_client_get_stats(const struct oct_client *c);

#endif
