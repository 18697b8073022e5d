/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/request.h"

#include "base/clock.h"
#include "base/mem.h"
#include "engine/sized.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

enum {
    TEXT_BYTES = 1024,   /* more than one event's text: the longest piece and a held stop string */
    SCRATCH_BYTES = 128, /* of one run of bytes that are not text yet */
    FIRST_REQUEST_SIZE = offsetof(struct oct_request, user) + sizeof(void *),
    FIRST_SAMPLING_SIZE = offsetof(struct oct_sampling, n_prompt_logprobs),
};

/* The prompt's ids: the caller's, or those of its text (then *own is to be freed). */
static oct_status prompt_of(const struct oct_request *q, const struct oct_req_context *c,
                            struct oct_ids *own, const int32_t **ids, size_t *n)
{
    if (q->text && q->prompt) {
        return OCT_FAIL(OCT_E_ARG, "both prompt and text are set; give one of the two");
    }
    if (!q->text) {
        *ids = q->prompt;
        *n = q->prompt ? q->n_prompt : 0;
        return OCT_OK;
    }
    if (q->tokenize_flags & ~(unsigned)(OCT_TOKENIZE_SPECIAL | OCT_TOKENIZE_BOS_EOS)) {
        return OCT_FAIL(OCT_E_ARG, "tokenize_flags is %u; only the flags 1 and 2 exist",
                        q->tokenize_flags);
    }
    unsigned flags = 0;
    flags |= q->tokenize_flags & OCT_TOKENIZE_SPECIAL ? (unsigned)OCT_ENCODE_SPECIAL : 0u;
    flags |= q->tokenize_flags & OCT_TOKENIZE_BOS_EOS ? (unsigned)OCT_ENCODE_BOS_EOS : 0u;
    OCT_TRY(oct_tokenizer_encode(c->vocab->tokenizer, q->text, q->text_len, flags, own));
    *ids = own->data;
    *n = own->len;
    return OCT_OK;
}

static oct_status check(const struct oct_request *q, const struct oct_req_context *c,
                        const int32_t *prompt, size_t n_prompt)
{
    if (!q->on_event && !c->has_on_events) {
        return OCT_FAIL(OCT_E_ARG, "on_event is NULL; a request needs a callback, since the engine "
                                   "was opened without on_events");
    }
    if (n_prompt < 1) {
        return OCT_FAIL(OCT_E_ARG, "the prompt is empty; it needs at least one token");
    }
    if (n_prompt >= (size_t)c->max_model_len) {
        return OCT_FAIL(OCT_E_ARG,
                        "the prompt has %zu tokens; the context holds %d with at least one for the "
                        "answer",
                        n_prompt, c->max_model_len);
    }
    for (size_t i = 0; i < n_prompt; i++) { /* every embedding row may be read */
        if (prompt[i] < 0 || prompt[i] >= c->cfg->vocab_size) {
            return OCT_FAIL(OCT_E_ARG, "prompt token %zu is %d; ids go from 0 to %d", i, prompt[i],
                            c->cfg->vocab_size - 1);
        }
    }
    if (q->priority < OCT_PRIORITY_MIN || q->priority > OCT_PRIORITY_MAX) {
        return OCT_FAIL(OCT_E_ARG, "priority is %d; it must be between %d and %d", q->priority,
                        OCT_PRIORITY_MIN, OCT_PRIORITY_MAX);
    }
    if (q->timeout_us < 0 || q->timeout_us > INT64_MAX / 4) {
        return OCT_FAIL(OCT_E_ARG,
                        "timeout_us is %lld; it must be 0 (none) or a number of "
                        "microseconds up to %lld",
                        (long long)q->timeout_us, (long long)(INT64_MAX / 4));
    }
    if (q->cache_salt_len > OCT_MAX_SALT_BYTES) {
        return OCT_FAIL(OCT_E_ARG, "cache_salt_len is %zu; it must be at most %d",
                        q->cache_salt_len, OCT_MAX_SALT_BYTES);
    }
    if (q->cache_salt_len && !q->cache_salt) {
        return OCT_FAIL(OCT_E_ARG, "cache_salt is NULL; cache_salt_len says %zu bytes",
                        q->cache_salt_len);
    }
    return OCT_OK;
}

/* n_top: alternatives of each token; -1: nothing is asked for. */
static oct_status make_prompt_logprobs(struct oct_req *r, int32_t n_top)
{
    if (n_top < 0) {
        return OCT_OK;
    }
    const size_t n = (size_t)r->n_prompt;
    r->n_prompt_top = n_top < r->n_vocab ? n_top : r->n_vocab;
    const size_t tops = n * (size_t)r->n_prompt_top; /* < 2^31 * 20 */
    r->prompt_logprobs = oct_calloc(n, sizeof *r->prompt_logprobs);
    r->prompt_top = tops ? oct_calloc(tops, sizeof *r->prompt_top) : NULL;
    if (!r->prompt_logprobs || (tops && !r->prompt_top)) {
        return oct_no_memory("the prompt's logprobs", (n + tops) * sizeof *r->prompt_top);
    }
    for (size_t i = 0; i < n; i++) {
        r->prompt_logprobs[i].token = r->tokens[i];
    }
    for (int32_t i = 0; i < r->n_prompt_top; i++) {
        r->prompt_top[i] = (struct oct_token_logprob){-1, -INFINITY};
    }
    return OCT_OK;
}

/* Everything that is allocated; r is zeroed. */
static oct_status fill(struct oct_req *r, const struct oct_request *q,
                       const struct oct_req_context *c, const int32_t *prompt, int32_t n_prompt)
{
    struct oct_sampling sampling = OCT_SAMPLING_INIT;
    if (q->sampling) {
        OCT_TRY(oct_sized_read(&sampling, sizeof sampling, FIRST_SAMPLING_SIZE, q->sampling,
                               "oct_sampling", "OCT_SAMPLING_INIT"));
    }
    OCT_TRY(oct_sampler_init(&r->sampler, &sampling, c->cfg, c->vocab, c->n_vocab, prompt, n_prompt,
                             c->max_model_len));
    const int32_t total = n_prompt + r->sampler.max_tokens;
    r->cap_tokens = n_prompt + OCT_FIRST_TOKENS < total ? n_prompt + OCT_FIRST_TOKENS : total;
    r->tokens = oct_malloc((size_t)r->cap_tokens * sizeof *r->tokens);
    if (!r->tokens) {
        return oct_no_memory("a request's tokens", (size_t)r->cap_tokens * sizeof *r->tokens);
    }
    memcpy(r->tokens, prompt, (size_t)n_prompt * sizeof *r->tokens);
    oct_detok_init(&r->detok, c->vocab->tokenizer, (const char *const *)r->sampler.stops,
                   r->sampler.n_stops, !r->sampler.keep_special);
    OCT_TRY(oct_buf_reserve(&r->text, TEXT_BYTES));
    OCT_TRY(oct_buf_reserve(&r->detok.held, TEXT_BYTES));
    OCT_TRY(oct_buf_reserve(&r->detok.scratch, SCRATCH_BYTES));
    r->n_prompt = n_prompt;
    r->n_vocab = c->n_vocab;
    OCT_TRY(make_prompt_logprobs(r, sampling.n_prompt_logprobs));
    r->seq = (struct oct_seq){
        .priority = q->priority,
        .deadline_us = q->timeout_us ? r->submit_us + q->timeout_us : 0,
        .tokens = r->tokens,
        .n_tokens = n_prompt,
        .max_tokens = total,
        .use_prefix = true,
        .wants_rows = r->prompt_logprobs != NULL,
        .owner = r,
    };
    return oct_seq_init(c->sched, &r->seq, q->cache_salt, q->cache_salt_len);
}

oct_status oct_req_create(const struct oct_request *caller, const struct oct_req_context *c,
                          struct oct_req **out)
{
    struct oct_request q = OCT_REQUEST_INIT;
    OCT_TRY(oct_sized_read(&q, sizeof q, FIRST_REQUEST_SIZE, caller, "oct_request",
                           "OCT_REQUEST_INIT"));
    struct oct_ids own = {0};
    const int32_t *prompt = NULL;
    size_t n_prompt = 0;
    struct oct_req *r = NULL;
    const int64_t submit_us = oct_clock_us();
    oct_status st;
    OCT_TRY_GOTO(prompt_of(&q, c, &own, &prompt, &n_prompt), st, done);
    OCT_TRY_GOTO(check(&q, c, prompt, n_prompt), st, done);
    r = oct_calloc(1, sizeof *r);
    if (!r) {
        OCT_TRY_GOTO(oct_no_memory("a request", sizeof *r), st, done);
    }
    r->on_event = q.on_event;
    r->user = q.user;
    r->submit_us = submit_us;
    r->timeout_us = q.timeout_us;
    OCT_TRY_GOTO(fill(r, &q, c, prompt, (int32_t)n_prompt), st, done);
    *out = r;
done:
    oct_ids_free(&own);
    if (st != OCT_OK) {
        oct_req_destroy(r);
    }
    return st;
}

void oct_req_destroy(struct oct_req *r)
{
    if (!r) {
        return;
    }
    oct_seq_deinit(&r->seq);
    oct_detok_deinit(&r->detok);
    oct_buf_free(&r->text);
    oct_sampler_deinit(&r->sampler);
    oct_free(r->prompt_logprobs);
    oct_free(r->prompt_top);
    oct_free(r->tokens);
    oct_free(r);
}

int32_t oct_req_prompt_rows(const struct oct_req *r, const struct oct_pick *p, int32_t *first)
{
    if (!r->seq.wants_rows) {
        return 0;
    }
    const int32_t end = p->first + p->n_rows, last = r->n_prompt - 1; /* gives the first output */
    *first = p->first > r->seq.n_rows_taken ? p->first : r->seq.n_rows_taken;
    const int32_t n = (end < last ? end : last) - *first;
    return n > 0 ? n : 0;
}

struct k_sample_row oct_req_prompt_row(const struct oct_req *r, int32_t row)
{
    const int32_t token = r->tokens[row + 1];
    /* The embedding's padding rows may stand in a prompt; the sampler knows no such token. */
    return (struct k_sample_row){.given = token < r->n_vocab ? token + 1 : 1,
                                 .n_top = r->n_prompt_top,
                                 .top_p = 1,
                                 .repetition = 1};
}

void oct_req_take_prompt_row(struct oct_req *r, int32_t row, const struct k_sample_out *o,
                             const struct k_sample_top *top)
{
    struct oct_token_logprob *own = &r->prompt_logprobs[row + 1];
    OCT_ASSERT(row == r->seq.n_rows_taken);
    own->logprob = own->token < r->n_vocab ? o->logprob : -INFINITY;
    for (int32_t i = 0; i < r->n_prompt_top; i++) {
        r->prompt_top[(int64_t)(row + 1) * r->n_prompt_top + i] =
            (struct oct_token_logprob){top[i].token, top[i].logprob};
    }
    r->seq.n_rows_taken = row + 1;
}

oct_status oct_req_grow(struct oct_req *r)
{
    const int64_t twice = (int64_t)r->cap_tokens * 2;
    const int32_t cap = twice < r->seq.max_tokens ? (int32_t)twice : r->seq.max_tokens;
    int32_t *tokens = oct_realloc_array(r->tokens, (size_t)cap, sizeof *tokens);
    if (!tokens) {
        return oct_no_memory("a request's tokens", (size_t)cap * sizeof *tokens);
    }
    r->tokens = tokens;
    r->seq.tokens = tokens;
    r->cap_tokens = cap;
    return OCT_OK;
}

void oct_req_event(const struct oct_req *r, int32_t token, float logprob,
                   const struct oct_token_logprob *top, int32_t n_top, int64_t now_us,
                   struct oct_event *out)
{
    *out = (struct oct_event){
        .request = r->seq.id,
        .finish = r->finish,
        .status = r->status,
        .error = r->error[0] ? r->error : NULL,
        .token = token,
        .logprob = logprob,
        .top = top,
        .n_top = n_top,
        .text = r->text.data,
        .text_len = r->text.len,
        .n_prompt_tokens = r->n_prompt,
        .n_output_tokens = oct_req_n_output(r),
        .submit_us = r->submit_us,
        .first_token_us = r->first_token_us,
        .now_us = now_us,
        .user = r->user,
        .n_cached_tokens = r->seq.n_prefix_tokens,
        .n_prompt_top = -1,
        .start_us = r->start_us,
    };
    if (r->prompt_logprobs && token >= 0 && oct_req_n_output(r) == 1) {
        out->n_prompt_top = r->n_prompt_top;
        out->prompt_logprobs = r->prompt_logprobs;
        out->prompt_top = r->prompt_top;
    }
}
