/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/request.h"

#include "base/clock.h"
#include "base/mem.h"

#include <string.h>

enum {
    TEXT_BYTES = 1024
}; /* more than one event's text: the longest piece and a held stop string */

oct_status oct_req_create(const struct oct_request *q, const struct oct_model_config *c,
                          const struct oct_vocab *v, int32_t n_vocab, int32_t max_model_len,
                          struct oct_req **out)
{
    if (q->size != sizeof *q) {
        return OCT_FAIL(OCT_E_ARG,
                        "struct oct_request says %u bytes, this library has %zu; fill it "
                        "with OCT_REQUEST_INIT",
                        q->size, sizeof *q);
    }
    if (!q->on_event) {
        return OCT_FAIL(OCT_E_ARG, "on_event is NULL; a request needs a callback");
    }
    if (q->n_prompt < 1 || !q->prompt) {
        return OCT_FAIL(OCT_E_ARG, "the prompt is empty; it needs at least one token");
    }
    if (q->n_prompt >= (size_t)max_model_len) {
        return OCT_FAIL(OCT_E_ARG,
                        "the prompt has %zu tokens; the context holds %d with at least one for the "
                        "answer",
                        q->n_prompt, max_model_len);
    }
    for (size_t i = 0; i < q->n_prompt; i++) {
        if (q->prompt[i] < 0 ||
            q->prompt[i] >= c->vocab_size) { /* every embedding row may be read */
            return OCT_FAIL(OCT_E_ARG, "prompt token %zu is %d; ids go from 0 to %d", i,
                            q->prompt[i], c->vocab_size - 1);
        }
    }
    struct oct_req *r = oct_calloc(1, sizeof *r);
    if (!r) {
        return oct_no_memory("a request", sizeof *r);
    }
    oct_status st;
    const int32_t n_prompt = (int32_t)q->n_prompt;
    OCT_TRY_GOTO(oct_sampler_init(&r->sampler, q->sampling, c, v, n_vocab, q->prompt, n_prompt,
                                  max_model_len),
                 st, fail);
    const int32_t total = n_prompt + r->sampler.max_tokens;
    r->max_pages = (total + K_PAGE_TOKENS - 1) / K_PAGE_TOKENS;
    r->tokens = oct_malloc((size_t)total * sizeof *r->tokens);
    r->pages = oct_malloc((size_t)r->max_pages * sizeof *r->pages);
    if (!r->tokens || !r->pages) {
        OCT_TRY_GOTO(oct_no_memory("a request's tokens", (size_t)total * 4), st, fail);
    }
    oct_detok_init(&r->detok, v->tokenizer, (const char *const *)r->sampler.stops,
                   r->sampler.n_stops, !r->sampler.keep_special);
    OCT_TRY_GOTO(oct_buf_reserve(&r->text, TEXT_BYTES), st, fail);
    OCT_TRY_GOTO(oct_buf_reserve(&r->detok.held, TEXT_BYTES), st, fail);
    memcpy(r->tokens, q->prompt, (size_t)n_prompt * sizeof *r->tokens);
    r->n_prompt = r->n_tokens = n_prompt;
    r->on_event = q->on_event;
    r->user = q->user;
    r->submit_us = oct_clock_us();
    *out = r;
    return OCT_OK;
fail:
    oct_req_destroy(r);
    return st;
}

void oct_req_destroy(struct oct_req *r)
{
    if (!r) {
        return;
    }
    oct_detok_deinit(&r->detok);
    oct_buf_free(&r->text);
    oct_sampler_deinit(&r->sampler);
    oct_free(r->tokens);
    oct_free(r->pages);
    oct_free(r);
}

void oct_req_send(struct oct_req *r, oct_finish finish, oct_status status, const char *error,
                  int32_t token, float logprob, const struct k_sample_top *top, int32_t n_top,
                  int64_t now_us)
{
    struct oct_token_logprob alternatives[K_SAMPLE_MAX_TOP];
    OCT_ASSERT(n_top <= K_SAMPLE_MAX_TOP);
    for (int32_t i = 0; i < n_top; i++) {
        alternatives[i] = (struct oct_token_logprob){top[i].token, top[i].logprob};
    }
    const struct oct_event ev = {
        .request = r->id,
        .finish = finish,
        .status = status,
        .error = error,
        .token = token,
        .logprob = logprob,
        .top = alternatives,
        .n_top = n_top,
        .text = r->text.data ? r->text.data : "",
        .text_len = r->text.len,
        .n_prompt_tokens = r->n_prompt,
        .n_output_tokens = oct_req_n_output(r),
        .submit_us = r->submit_us,
        .first_token_us = r->first_token_us,
        .now_us = now_us,
    };
    r->on_event(r->user, &ev);
}
