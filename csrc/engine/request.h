/* SPDX-License-Identifier: Apache-2.0
 *
 * request.h - a request from its submission to its last event. All memory it will need is allocated
 * when it is created; a step allocates nothing for it. */
#ifndef OCT_ENGINE_REQUEST_H
#define OCT_ENGINE_REQUEST_H

#include "engine/sampler.h"
#include "text/detok.h"

struct oct_req {
    struct oct_req *next; /* in the waiting list */
    uint64_t id;
    int32_t *tokens; /* owned, [n_prompt + max_tokens]: prompt, then output */
    int32_t n_prompt, n_tokens;
    int32_t n_computed; /* leading tokens whose K and V are in the cache */
    int32_t *pages;     /* owned, [max_pages] */
    int32_t n_pages, max_pages;
    struct oct_sampler sampler;
    struct oct_detok detok;
    struct oct_buf text; /* of the event being sent */
    oct_event_fn on_event;
    void *user;
    int64_t submit_us, first_token_us;
    bool cancelled;

    /* this step's part */
    int32_t step_rows; /* rows of this request in the step */
    int32_t step_out;  /* index of its logits row; -1: its prompt is not complete yet */
};

static inline int32_t oct_req_n_output(const struct oct_req *r)
{
    return r->n_tokens - r->n_prompt;
}

OCT_CHECKED oct_status oct_req_create(const struct oct_request *q, const struct oct_model_config *c,
                                      const struct oct_vocab *v, int32_t n_vocab,
                                      int32_t max_model_len, struct oct_req **out);
void oct_req_destroy(struct oct_req *r); /* NULL is fine */

/* Sends one event. `text` of the request and token -1 or the newest token go with it. */
void oct_req_send(struct oct_req *r, oct_finish finish, oct_status status, const char *error,
                  int32_t token, float logprob, const struct k_sample_top *top, int32_t n_top,
                  int64_t now_us);

#endif
