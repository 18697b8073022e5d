/* SPDX-License-Identifier: Apache-2.0
 *
 * request.h - a request from its submission to its last event.
 *
 * Whoever submits creates it, with all the memory that its prompt and the first OCT_FIRST_TOKENS of
 * its answer need. From then on it is the owner's of the engine (core.h), but for the fields that
 * the mailbox guards. */
#ifndef OCT_ENGINE_REQUEST_H
#define OCT_ENGINE_REQUEST_H

#include "engine/sampler.h"
#include "engine/sched.h"
#include "text/detok.h"

enum { OCT_FIRST_TOKENS = 4096, OCT_MAX_SALT_BYTES = 256 };

/* What the engine knows when it takes a request. Immutable. */
struct oct_req_context {
    const struct oct_model_config *cfg;
    const struct oct_vocab *vocab;
    const struct oct_sched *sched;
    int32_t n_vocab, max_model_len;
    bool has_on_events; /* a request needs no callback of its own */
};

struct oct_req {
    struct oct_seq seq; /* seq.tokens is `tokens` */
    int32_t *tokens;    /* owned, [cap_tokens]: prompt, then output */
    int32_t n_prompt;   /* the rest of seq.n_tokens is output */
    int32_t cap_tokens; /* grows up to seq.max_tokens: oct_req_grow */
    struct oct_sampler sampler;
    /* Logprobs of the prompt's tokens, the first seq.n_rows_taken + 1 of them; NULL: not asked for.
     * Owned, [n_prompt] and [n_prompt, n_prompt_top]. */
    struct oct_token_logprob *prompt_logprobs, *prompt_top;
    int32_t n_prompt_top;
    int32_t n_vocab; /* ids that may be chosen */
    struct oct_detok detok;
    struct oct_buf text;   /* of the event being sent */
    oct_event_fn on_event; /* NULL: the engine's on_events */
    void *user;
    int64_t submit_us, start_us, first_token_us;
    int64_t timeout_us; /* as asked for; 0: none */

    /* the owner's */
    struct oct_req *live_prev, *live_next, *ended_next;
    bool started;   /* has had rows in a step */
    bool cancelled; /* somebody wants it to end */
    bool no_memory; /* its tokens could not grow */
    bool is_ended, last_event_sent;
    oct_finish finish;
    oct_status status;
    char error[200];

    /* the mailbox's, under its lock */
    struct oct_req *bucket_next, *inbox_next, *cancel_next, **cancel_at;
    bool cancel_told;
};

static inline int32_t oct_req_n_output(const struct oct_req *r)
{
    return r->seq.n_tokens - r->n_prompt;
}

/* Checks every field and copies what it needs; an error names the field. */
OCT_CHECKED oct_status oct_req_create(const struct oct_request *q, const struct oct_req_context *c,
                                      struct oct_req **out);
void oct_req_destroy(struct oct_req *r); /* NULL is fine */

/* Of the rows of a pick those whose logprobs are wanted: *first and how many from there on. Row i
 * is asked for prompt token i + 1. */
int32_t oct_req_prompt_rows(const struct oct_req *r, const struct oct_pick *p, int32_t *first);
struct k_sample_row oct_req_prompt_row(const struct oct_req *r, int32_t row);
/* Row `row`, the first one that is not taken, gave this: top's [r->n_prompt_top]. */
void oct_req_take_prompt_row(struct oct_req *r, int32_t row, const struct k_sample_out *o,
                             const struct k_sample_top *top);

/* Room for twice the tokens. The scheduler must not be inside a call. */
OCT_CHECKED oct_status oct_req_grow(struct oct_req *r);

/* The event that says token (-1: none) with its logprobs, or how it ended. What it borrows is the
 * request's, and top's [n_top]. */
void oct_req_event(const struct oct_req *r, int32_t token, float logprob,
                   const struct oct_token_logprob *top, int32_t n_top, int64_t now_us,
                   struct oct_event *out);

#endif
