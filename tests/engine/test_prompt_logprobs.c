/* SPDX-License-Identifier: Apache-2.0
 *
 * Logprobs of the prompt: against logits of the same model read by the hook; what they do to the
 * prefix cache; whoever does not ask gets none. That their bits depend on nothing but the request
 * is shown by test_same_bits.c and test_same_load.c, and under preemption with a fake runner by
 * test_api.c. */
#include "support/device.h"
#include "support/run.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { VOCAB = 300, N_PROMPT = ON_CPU ? 150 : 70 }; /* ids from OCT_TINY_N_TOKENS on: padding */

static oct_engine *open_engine(int seqs, int rows)
{
    struct oct_engine_options o = OCT_ENGINE_OPTIONS_INIT;
    struct oct_tiny t = oct_tiny_default(OCT_ARCH_QWEN3);
    t.head_dim = 24;
    o.n_threads = 1;
    o.max_num_seqs = seqs;
    o.max_num_batched_tokens = rows;
    t.dtype = OCT_DTYPE_BF16;
    return run_open_tiny(&t, &o);
}

static struct oct_sampling asking(int32_t n_top)
{
    struct oct_sampling s = OCT_SAMPLING_INIT;
    s.temperature = 0.7f; /* these, and what follows, leave the prompt's as they are */
    s.has_seed = true;
    s.frequency_penalty = 1.5f;
    s.max_tokens = 2;
    s.ignore_eos = true;
    s.n_prompt_logprobs = n_top;
    return s;
}

static const struct run_answer *ask(oct_engine *e, const int32_t *prompt, int32_t n, int32_t n_top)
{
    static struct run_answer a;
    const struct oct_sampling s = asking(n_top);
    memset(&a, 0, sizeof a);
    run_submit(e, prompt, (size_t)n, &s, &a);
    run_to_end(e);
    cr_assert_eq(a.finish, OCT_FINISH_LENGTH, "%s", a.error);
    return &a;
}

/* log softmax of the tokens that may be chosen. The engine's sum of at most 300 weights errs by 300
 * * 2^-35 and some 2^-22 from exp, its result by half an ulp of itself. */
static void check_row(const float *logits, const struct oct_token_logprob *own,
                      const struct oct_token_logprob *top, int n_top, int i)
{
    double sum = 0, most = -INFINITY;
    int n_larger = 0;
    for (int t = 0; t < OCT_TINY_N_TOKENS; t++) {
        most = fmax(most, (double)logits[t]);
    }
    for (int t = 0; t < OCT_TINY_N_TOKENS; t++) {
        sum += exp((double)logits[t] - most);
    }
    for (int k = -1; k < n_top; k++) {
        const struct oct_token_logprob *p = k < 0 ? own : &top[k];
        cr_assert(p->token >= 0 && (k < 0 || p->token < OCT_TINY_N_TOKENS));
        if (p->token >= OCT_TINY_N_TOKENS) { /* a padding row of the embedding: no token */
            cr_assert(isinf(p->logprob) && p->logprob < 0);
            continue;
        }
        const double want = (double)logits[p->token] - most - log(sum);
        cr_assert_leq(fabs((double)p->logprob - want), 0x1p-20 + 0x1p-23 * fabs(want),
                      "prompt token %d, alternative %d: %.9g, not %.9g", i, k, (double)p->logprob,
                      want);
    }
    for (int t = 0; n_top > 0 && t < OCT_TINY_N_TOKENS; t++) {
        n_larger += logits[t] > logits[top[n_top - 1].token];
    }
    cr_assert_leq(n_larger, n_top - (n_top > 0), "prompt token %d: not the most likely", i);
    for (int k = 1; k < n_top; k++) {
        const float a = logits[top[k - 1].token], b = logits[top[k].token];
        cr_assert(a > b || (a >= b && top[k - 1].token < top[k].token), "prompt token %d", i);
    }
}

Test(prompt_logprobs, are_those_of_the_model, .timeout = 120)
{
    static const struct {
        int seqs, rows, n_prompt, n_top;
    } row[] = {
        {4, 512, N_PROMPT, 5}, /* the head runs many times in a step */
        {256, 512, N_PROMPT, 20}, {3, 7, 64, 1}, {1, 1, 5, 0}, {16, 33, 2, 3}, {2, 64, 1, 4},
    };
    int32_t prompt[N_PROMPT];
    run_random_prompt(9, prompt, N_PROMPT);
    prompt[3] = OCT_TINY_N_TOKENS + 4;
    oct_engine *e = open_engine(N_PROMPT, N_PROMPT);
    float *logits = run_logits(e, prompt, N_PROMPT, VOCAB);
    oct_engine_close(e);
    for (size_t k = 0; k < sizeof row / sizeof *row; k++) {
        e = open_engine(row[k].seqs, row[k].rows);
        const struct run_answer *a = ask(e, prompt, row[k].n_prompt, row[k].n_top);
        oct_engine_close(e);
        cr_assert_eq(a->n_prompts, 1);
        cr_assert_eq(a->n_prompt_top, row[k].n_top);
        cr_assert(a->submit_us <= a->start_us && a->start_us <= a->first_token_us &&
                  a->submit_us > 0);
        cr_assert(a->prompt[0].token == prompt[0] && !(fabsf(a->prompt[0].logprob) > 0));
        for (int i = 0; i < row[k].n_top; i++) {
            cr_assert_eq(a->prompt_top[0][i].token, -1);
        }
        for (int i = 1; i < row[k].n_prompt; i++) {
            cr_assert_eq(a->prompt[i].token, prompt[i]);
            check_row(logits + (size_t)(i - 1) * VOCAB, &a->prompt[i], a->prompt_top[i],
                      row[k].n_top, i);
        }
    }
    free(logits);
}

Test(prompt_logprobs, take_nothing_from_the_prefix_cache_and_feed_it, .timeout = 120)
{
    int32_t prompt[N_PROMPT];
    run_random_prompt(11, prompt, N_PROMPT);
    oct_engine *e = open_engine(4, 512);
    static struct run_answer first;
    first = *ask(e, prompt, N_PROMPT, 2);
    cr_assert_eq(first.n_cached_tokens, 0);
    const struct run_answer *a = ask(e, prompt, N_PROMPT, -1);
    cr_assert_eq(a->n_cached_tokens, (N_PROMPT - 1) / K_PAGE_TOKENS * K_PAGE_TOKENS);
    cr_assert_eq(a->n_prompts, 0);
    cr_assert_eq(memcmp(a->tokens, first.tokens, 2 * sizeof *a->tokens), 0);
    a = ask(e, prompt, N_PROMPT, 2);
    cr_assert_eq(a->n_cached_tokens, 0);
    cr_assert_eq(memcmp(a->prompt, first.prompt, N_PROMPT * sizeof *a->prompt), 0);
    cr_assert_eq(memcmp(a->prompt_top, first.prompt_top, sizeof a->prompt_top), 0);
    oct_engine_close(e);
}

/* What an older program was compiled with ends before the field. */
Test(prompt_logprobs, are_not_for_older_callers, .timeout = 60)
{
    static struct run_answer a;
    static const int32_t prompt[] = {75, 104, 111};
    oct_engine *e = open_engine(4, 64);
    struct oct_sampling s = asking(3);
    s.size = offsetof(struct oct_sampling, n_prompt_logprobs);
    run_submit(e, prompt, 3, &s, &a);
    run_to_end(e);
    oct_engine_close(e);
    cr_assert(a.n_ends == 1 && a.n_prompts == 0 && a.n_tokens == 2);
}
