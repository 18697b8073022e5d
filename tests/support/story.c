/* SPDX-License-Identifier: Apache-2.0 */
#include "support/story.h"

#include "base/rng.h"

#include <stdio.h>
#include <string.h>

void story_event(void *story, const struct oct_event *ev)
{
    struct story *s = story;
    s->is_wrong =
        s->is_wrong || s->n_ends > 0 || ev->user != s || ev->n_prompt_tokens != s->n_prompt;
    s->n_events++;
    if (ev->token >= 0) {
        if (s->n_tokens < STORY_TOKENS) {
            s->tokens[s->n_tokens] = ev->token;
        }
        s->n_tokens++;
        const float d = ev->logprob - fake_logprob(ev->token);
        s->is_wrong = s->is_wrong || d < 0 || d > 0 || ev->n_top != 1 || !ev->top ||
                      ev->top[0].token != ev->token;
    }
    if (ev->n_prompt_top >= 0) {
        s->n_prompts++;
        s->is_wrong = s->is_wrong || !s->wants_prompt || ev->n_prompt_top != s->n_prompt_top ||
                      s->n_tokens != 1;
        for (int32_t i = 0; i < s->n_prompt; i++) {
            s->prompt_logprobs[i] = ev->prompt_logprobs[i];
            for (int32_t k = 0; k < ev->n_prompt_top;
                 k++) { /* the fake runner's are all the same */
                s->prompt_top[i] = ev->prompt_top[i * ev->n_prompt_top + k];
                s->is_wrong = s->is_wrong ||
                              s->prompt_top[i].token != ev->prompt_top[i * ev->n_prompt_top].token;
            }
        }
    }
    s->is_wrong = s->is_wrong || ev->n_output_tokens != s->n_tokens ||
                  (s->n_tokens > 0 && ev->start_us < ev->submit_us) ||
                  (ev->start_us != 0 && ev->start_us > ev->now_us);
    s->n_cached_tokens = ev->n_cached_tokens;
    if (ev->finish != OCT_FINISH_NONE) {
        s->finish = ev->finish;
        s->status = ev->status;
        (void)snprintf(s->error, sizeof s->error, "%s", ev->error ? ev->error : "");
        s->n_ends++;
    }
}

void story_prompt(struct story *s, uint64_t seed, int32_t n, int32_t shared, int32_t max_tokens)
{
    memset(s, 0, sizeof *s);
    s->n_prompt = n;
    s->max_tokens = max_tokens;
    for (int32_t i = 0; i < n; i++) {
        uint32_t r[4];
        oct_rng_philox(i < shared ? seed / 16 : seed + 1000, (uint64_t)i, i < shared, r);
        s->prompt[i] = 3 + (int32_t)(r[0] % (FAKE_N_TOKENS - 3));
    }
}

struct oct_request story_request(struct story *s, struct oct_sampling *sampling)
{
    struct oct_request q = OCT_REQUEST_INIT;
    *sampling = (struct oct_sampling)OCT_SAMPLING_INIT;
    sampling->temperature = 0;
    sampling->max_tokens = s->max_tokens;
    sampling->n_logprobs = 1;
    sampling->n_prompt_logprobs = s->wants_prompt ? s->n_prompt_top : -1;
    q.prompt = s->prompt;
    q.n_prompt = (size_t)s->n_prompt;
    q.sampling = sampling;
    q.on_event = story_event;
    q.user = s;
    return q;
}

oct_status story_submit(oct_engine *e, struct story *s)
{
    struct oct_sampling sampling;
    const struct oct_request q = story_request(s, &sampling);
    return oct_engine_submit(e, &q, &s->id);
}

static const char *check_prompt(const struct story *s, const struct fake_options *o)
{
    const bool due = s->wants_prompt && s->n_tokens > 0;
    if (s->n_prompts != due) {
        return due ? "the prompt's logprobs never came" : "the prompt's logprobs came unasked";
    }
    for (int32_t i = 0; due && i < s->n_prompt; i++) {
        const struct oct_token_logprob *p = &s->prompt_logprobs[i];
        const float d = p->logprob - (i ? fake_logprob(p->token) : 0);
        int32_t want = -1;
        if (i > 0) {
            fake_answer(o, s->prompt, i, &want, 1);
        }
        if (p->token != s->prompt[i] || d < 0 || d > 0 ||
            (s->n_prompt_top > 0 && s->prompt_top[i].token != want)) {
            return "a logprob of the prompt is wrong";
        }
    }
    return NULL;
}

const char *story_check_prefix(const struct story *s, const struct fake_options *o)
{
    int32_t want[STORY_TOKENS];
    if (s->is_wrong) {
        return "an event is wrong";
    }
    if (s->n_ends != 1) {
        return s->n_ends ? "it ended twice" : "it has not ended";
    }
    if (s->n_tokens > s->max_tokens || s->n_tokens > STORY_TOKENS) {
        return "it has too many tokens";
    }
    fake_answer(o, s->prompt, s->n_prompt, want, s->n_tokens);
    if (memcmp(want, s->tokens, (size_t)s->n_tokens * sizeof *want) != 0) {
        return "its tokens are wrong";
    }
    return check_prompt(s, o);
}

const char *story_check(const struct story *s, const struct fake_options *o)
{
    if (s->finish != OCT_FINISH_LENGTH || s->n_tokens != s->max_tokens) {
        return s->error[0] ? s->error : "it ended early";
    }
    return story_check_prefix(s, o);
}
