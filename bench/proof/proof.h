/* SPDX-License-Identifier: Apache-2.0
 *
 * proof.h - what the rows of the comparison share. Each row is a sub-command of proof_client that
 * loads a server through OpenAI's HTTP API, knows nothing else of it, and prints one JSON object of
 * what it saw: every request sent is in exactly one of its counts. */
#ifndef OCT_PROOF_H
#define OCT_PROOF_H

#include "support/client.h"

#include <jansson.h>

struct target {
    const char *host;
    uint16_t port;
    const char *model; /* its name in requests */
};

/* "name=value" arguments. */
const char *arg_text(const char *name, const char *otherwise);
int64_t arg_number(const char *name, int64_t otherwise);

/* Where requests ended. */
struct tally {
    uint64_t n_sent, n_ok; /* ok: status 200 and what was asked for */
    uint64_t n_wrong;      /* status 200 without it */
    uint64_t n_refused;    /* 429 and 503 */
    uint64_t n_errors;     /* any other status */
    uint64_t n_stale;      /* kept-alive connections that the server closed just then; sent again */
    uint64_t ends[CLIENT_N_ENDS];
};
/* ok: an answer of status 200 holds what was asked for. */
void tally_add(struct tally *t, const struct client_conn *c, enum client_end how, bool ok);
/* Adds its fields to o, and "lost": those without any answer, or with half of one. */
void tally_json(const struct tally *t, json_t *o);

/* Latencies. */
struct times {
    int64_t *us; /* owned */
    size_t n, cap;
};
void times_add(struct times *t, int64_t us);
/* Sorts; adds p50_ms, p99_ms, max_ms (null if there is none). */
void times_json(struct times *t, json_t *o);
void times_free(struct times *t);

enum { N_PROMPTS = 16 };
extern const char *const prompts[N_PROMPTS];
/* A whole HTTP request for n tokens behind a prompt; appended. */
void completion(const struct target *to, const char *prompt, int n_tokens, bool stream,
                struct oct_buf *out);
/* The text of a plain completion of exactly n tokens, given away (free); NULL if it is not one. */
char *completion_text(const char *body, size_t len, int n_tokens);
/* Events with text of a stream so far, and whether it has said that it is over: "[DONE]", or an
 * error. */
size_t stream_events(const char *body);
bool stream_is_over(const char *body);

json_t *row_load(const struct target *to);
json_t *row_live(const struct target *to);
json_t *row_leave(const struct target *to);
json_t *row_prefill(const struct target *to);
json_t *row_stop(const struct target *to);
json_t *row_bad(const struct target *to);
json_t *row_mutated(const struct target *to);
json_t *row_big(const struct target *to);

/* bad_list.c: bodies for /v1/completions, and raw bytes in place of a request. */
struct bad_body {
    const char *name, *path, *body;
    size_t len;
    bool may_accept; /* a server may take it as it is: only crashes and 5xx count */
};
extern const struct bad_body bad_bodies[];
extern const size_t n_bad_bodies;
struct bad_raw {
    const char *name, *bytes;
    size_t len;
    const char *after; /* NULL: nothing; else n_fill times an 'a', and this */
    size_t n_fill;
};
extern const struct bad_raw bad_raws[];
extern const size_t n_bad_raws;

#endif
