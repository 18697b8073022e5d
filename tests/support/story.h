/* SPDX-License-Identifier: Apache-2.0
 *
 * story.h - what the callbacks were told about one request, for tests in which they run on another
 * thread: nothing is asserted while it is collected, but what is wrong is kept. */
#ifndef OCT_TEST_STORY_H
#define OCT_TEST_STORY_H

#include "support/fake_runner.h"

enum { STORY_TOKENS = 512 };

struct story {
    uint64_t id;
    int32_t prompt[STORY_TOKENS], n_prompt, max_tokens;
    int32_t tokens[STORY_TOKENS], n_tokens; /* the first ones, and how many there were */
    int n_events, n_ends;
    oct_finish finish;
    oct_status status;
    char error[200];
    int32_t n_cached_tokens;
    bool wants_prompt; /* set it to ask for the prompt's logprobs, with n_prompt_top alternatives */
    int32_t n_prompt_top;
    int n_prompts; /* events with them */
    struct oct_token_logprob prompt_logprobs[STORY_TOKENS],
        prompt_top[STORY_TOKENS]; /* the first */
    bool is_wrong; /* an event after the last one, another request's event, a wrong logprob */
};

/* The callback; user is the story. */
void story_event(void *story, const struct oct_event *ev);

/* A prompt of n tokens, a function of seed; shared: the first so many are a function of seed / 16
 * alone. None of them is `1`, which tests use to mark a prompt. */
void story_prompt(struct story *s, uint64_t seed, int32_t n, int32_t shared, int32_t max_tokens);
/* What it asks for: greedy, max_tokens, with logprobs. *sampling must live as long as the request
 * is read. */
struct oct_request story_request(struct story *s, struct oct_sampling *sampling);
OCT_CHECKED oct_status story_submit(oct_engine *e, struct story *s);

/* NULL, or what is wrong with a story that should have come to its end with all tokens. Static. */
const char *story_check(const struct story *s, const struct fake_options *o);
/* The same if it may have ended early: whatever tokens there are, are right. */
const char *story_check_prefix(const struct story *s, const struct fake_options *o);

#endif
