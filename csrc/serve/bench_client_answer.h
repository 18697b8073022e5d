/* SPDX-License-Identifier: Apache-2.0
 *
 * bench_client_answer.h - what an OpenAI answer says: server-sent events, tokens and their times,
 * usage, errors. */
#ifndef OCT_SERVE_BENCH_CLIENT_ANSWER_H
#define OCT_SERVE_BENCH_CLIENT_ANSWER_H

#include "serve/bench_client.h"

/* Server-sent events out of a body that comes in any pieces. */
struct oct_sse {
    struct oct_buf line; /* not yet ended */
    struct oct_buf data; /* of the event that is read now */
    int64_t now_us;      /* when the bytes given next came */
};
void oct_sse_init(struct oct_sse *s);
void oct_sse_reset(struct oct_sse *s);
void oct_sse_deinit(struct oct_sse *s);

/* Both return 0, or 1 with the reason in call->error. */
int oct_sse_take(struct oct_sse *s, const char *at, size_t n, struct oct_call *call);
int oct_body_take(struct oct_call *call, const char *at, size_t n); /* of no stream: call->text */

/* Fills call->error from the body of an HTTP error. */
void oct_body_error(struct oct_call *call);

#endif
