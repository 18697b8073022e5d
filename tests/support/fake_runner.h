/* SPDX-License-Identifier: Apache-2.0
 *
 * fake_runner.h - an engine without a model: a runner whose next token is a function of every token
 * before it, as far as the page tables let it see them.
 *
 * Each slot of a page keeps the token written there, its position, its group of layers, and a hash
 * of that token with the hash found in the slot before: so much like keys and values, which depend
 * on the whole prefix. A sampled row reads every slot that its windows reach, in every group. A
 * wrong page, a stale prefix hit, a lost, doubled or reordered token changes what comes out; a slot
 * that holds something else than it should, or a page table without an entry that is needed,
 * aborts. */
#ifndef OCT_TEST_FAKE_RUNNER_H
#define OCT_TEST_FAKE_RUNNER_H

#include "engine/engine.h"

enum { FAKE_N_TOKENS = 256, FAKE_STOP_TOKEN = 2 };

struct fake_options {
    int32_t n_pages;                              /* 0: 64 */
    int32_t n_groups, windows[OCT_KV_MAX_GROUPS]; /* 0 groups: one, of full attention */
    int32_t max_num_seqs, max_num_batched_tokens, max_model_len,
        max_waiting; /* 0: 8, 64, 512, 1000 */
    bool manual, no_prefix_cache;
    oct_events_fn on_events;
    void *events_user;
    /* What goes wrong. Steps count from 1. */
    int32_t fail_launch, fail_wait; /* this step; 0: none */
    int32_t hang; /* this step is given up after its time, and goes on when the engine is closed */
    bool never_ends;         /* that one does not even then */
    int32_t nan_first_token; /* a prompt that begins with it gives NaN; 0: none */
    int32_t nan_position;    /* from this position on */
    int64_t delay_us;        /* each step takes so long */
    /* A sampled row reads one slot instead of all: for timing the engine. The slot's hash still
     * depends on the whole prefix. */
    bool quick;
};

/* The device fails in some step, one way or another. */
static inline bool fake_fails(const struct fake_options *o)
{
    return o->fail_launch || o->fail_wait || o->hang;
}

struct fake {
    oct_engine *e;
    struct oct_vocab *vocab;
    struct fake_runner *runner; /* the engine's; gone after fake_close */
};

/* Aborts if the engine does not open. */
void fake_open(const struct fake_options *o, struct fake *out);
/* The same with a status; on failure *out is not touched. */
OCT_CHECKED oct_status fake_try_open(const struct fake_options *o, struct fake *out);
void fake_close(struct fake *f);
/* Closes the engine from another place: only the rest. */
void fake_free(struct fake *f);

/* The answer to a prompt: n_out tokens. */
void fake_answer(const struct fake_options *o, const int32_t *prompt, int32_t n_prompt,
                 int32_t *out, int32_t n_out);
/* The logprob that comes with a token, one of the prompt too. Its alternatives, if asked for, are
 * all the token that fake_answer() gives there. */
float fake_logprob(int32_t token);

struct fake_counts {
    int64_t n_steps, n_rows;
};
struct fake_counts fake_get_counts(const struct fake *f);

#endif
