/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/bench_sched.h"

#include "base/mem.h"
#include "engine/sched.h"

#include <stdlib.h>
#include <time.h>

enum {
    MAX_RUNNING = 1 << 16,
    MAX_STEPS = 1 << 20,
    MAX_FINISHED = 1 << 24,
    PROMPT = 100,          /* of those that ended: one block and a bit */
    LIVE_PROMPT = 16,      /* of those that are measured */
    PAGES_EACH = 8,        /* the pool: so many for each that runs */
    SPREAD = K_PAGE_TOKENS /* the running start at different places of a page */
};

struct bench {
    struct oct_sched *s;
    struct oct_seq *seqs; /* [n_running], owned */
    int32_t *tokens;      /* [n_running, max_tokens], owned */
    int32_t max_tokens;
    struct oct_pick *out; /* [n_running], owned */
    double *us;           /* [n_steps], owned */
    uint64_t id;
};

/* The clock of the engine counts microseconds; a step may take less. */
static double now_us(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void step(struct bench *b)
{
    const int32_t n = oct_sched_pick(b->s, b->out, 0);
    for (int32_t i = 0; i < n; i++) {
        struct oct_seq *q = b->out[i].seq;
        q->n_tokens += b->out[i].samples; /* the tokens are there already */
        oct_sched_done(b->s, &b->out[i], true, true);
    }
}

static oct_status add(struct bench *b, struct oct_seq *q, const int32_t *tokens, int32_t n_tokens,
                      int32_t max_tokens)
{
    *q = (struct oct_seq){.id = ++b->id,
                          .tokens = tokens,
                          .n_tokens = n_tokens,
                          .max_tokens = max_tokens,
                          .use_prefix = true};
    OCT_TRY(oct_seq_init(b->s, q, NULL, 0));
    const oct_status st = oct_sched_add(b->s, q);
    if (st != OCT_OK) {
        oct_seq_deinit(q);
        q->pages = NULL;
    }
    return st;
}

static void remove_one(struct bench *b, struct oct_seq *q)
{
    if (q->pages) {
        oct_sched_remove(b->s, q, true);
        oct_seq_deinit(q);
    }
}

/* Requests that come, run and go, each with another text. */
static oct_status pass_by(struct bench *b, int32_t n)
{
    int32_t tokens[PROMPT + 2] = {0};
    for (int32_t i = 0; i < n; i++) {
        struct oct_seq q;
        tokens[0] = i;
        OCT_TRY(add(b, &q, tokens, PROMPT, PROMPT + 2));
        while (q.n_tokens < q.max_tokens) {
            step(b);
        }
        remove_one(b, &q);
    }
    return OCT_OK;
}

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static oct_status measure(struct bench *b, int32_t n_running, int32_t n_finished, int32_t n_steps)
{
    OCT_TRY(pass_by(b, n_finished));
    for (int32_t i = 0; i < n_running; i++) {
        int32_t *tokens = b->tokens + (int64_t)i * b->max_tokens;
        for (int32_t k = 0; k < b->max_tokens; k++) {
            tokens[k] = i + k;
        }
        OCT_TRY(add(b, &b->seqs[i], tokens, LIVE_PROMPT + i % SPREAD, b->max_tokens));
    }
    step(b); /* prompts */
    step(b); /* warm */
    for (int32_t i = 0; i < n_steps; i++) {
        const double start = now_us();
        step(b);
        b->us[i] = now_us() - start;
    }
    return OCT_OK;
}

oct_status oct_bench_sched(int32_t n_running, int32_t n_finished, int32_t n_steps,
                           struct oct_bench_sched *out)
{
    if (n_running < 1 || n_running > MAX_RUNNING || n_finished < 0 || n_finished > MAX_FINISHED ||
        n_steps < 1 || n_steps > MAX_STEPS) {
        return OCT_FAIL(OCT_E_ARG,
                        "a bench of %d running, %d finished requests and %d steps; at most %d, %d "
                        "and %d, and one step at least",
                        n_running, n_finished, n_steps, MAX_RUNNING, MAX_FINISHED, MAX_STEPS);
    }
    struct bench b = {.max_tokens = LIVE_PROMPT + SPREAD + n_steps + 4};
    const int32_t blocks = b.max_tokens / K_PAGE_TOKENS + 1;
    const int64_t pages = (int64_t)n_running * (blocks + PAGES_EACH) + blocks;
    if (pages > INT32_MAX / 4) {
        return OCT_FAIL(OCT_E_ARG, "a bench of %d requests and %d steps needs %lld pages; use less",
                        n_running, n_steps, (long long)pages);
    }
    const struct oct_sched_config c = {.n_pages = (int32_t)pages,
                                       .n_groups = 1,
                                       .max_num_seqs = n_running,
                                       .max_num_batched_tokens =
                                           n_running * (LIVE_PROMPT + SPREAD) + PROMPT,
                                       .max_waiting = n_running,
                                       .prefix_cache = true,
                                       .hash_key_lo = 1,
                                       .hash_key_hi = 2};
    oct_status st;
    OCT_TRY(oct_sched_create(&c, &b.s));
    b.seqs = oct_calloc((size_t)n_running, sizeof *b.seqs);
    b.tokens = oct_calloc((size_t)n_running * (size_t)b.max_tokens, sizeof *b.tokens);
    b.out = oct_calloc((size_t)n_running, sizeof *b.out);
    b.us = oct_calloc((size_t)n_steps, sizeof *b.us);
    if (!b.seqs || !b.tokens || !b.out || !b.us) {
        st = oct_no_memory("the bench", (size_t)n_running * (size_t)b.max_tokens * sizeof(int32_t));
    } else {
        st = measure(&b, n_running, n_finished, n_steps);
    }
    for (int32_t i = 0; b.seqs && i < n_running; i++) {
        remove_one(&b, &b.seqs[i]);
    }
    if (st == OCT_OK) {
        qsort(b.us, (size_t)n_steps, sizeof *b.us, compare);
        *out = (struct oct_bench_sched){.n_running = n_running,
                                        .n_finished = n_finished,
                                        .n_steps = n_steps,
                                        .median_us = b.us[n_steps / 2],
                                        .p90_us = b.us[(int64_t)n_steps * 9 / 10],
                                        .max_us = b.us[n_steps - 1]};
    }
    oct_free(b.us);
    oct_free(b.out);
    oct_free(b.tokens);
    oct_free(b.seqs);
    oct_sched_destroy(b.s);
    return st;
}
