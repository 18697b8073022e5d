/* SPDX-License-Identifier: Apache-2.0
 *
 * What a caller of octavo.h may count on: refusals by name, stop conditions, cancelling, hooks, and
 * exactly one last event for every accepted request. */
#include "support/run.h"

#include "base/fault.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

static oct_engine *open_default(void)
{
    struct oct_engine_options o = OCT_ENGINE_OPTIONS_INIT;
    o.n_threads = 1;
    o.max_num_seqs = 4;
    o.max_num_batched_tokens = 64;
    const struct oct_tiny t = oct_tiny_default(OCT_ARCH_LLAMA);
    return run_open_tiny(&t, &o);
}

static struct oct_sampling greedy(int max_tokens)
{
    struct oct_sampling s = OCT_SAMPLING_INIT;
    s.temperature = 0;
    s.max_tokens = max_tokens;
    s.ignore_eos = true;
    return s;
}

static const int32_t prompt[] = {75, 104, 111, 111,
                                 114}; /* "Hello" in the tiny tokenizer's bytes */
enum { N_PROMPT = 5 };

Test(requests, a_field_out_of_range_is_refused_by_name, .timeout = 60)
{
    static const char *const no_stop[] = {""};
    static const int32_t bad_token[] = {300};
    static const struct oct_logit_bias twice[] = {{5, 1.0f}, {5, 2.0f}}, wild[] = {{5, 101.0f}};
    const struct oct_sampling ok = greedy(4);
    struct {
        struct oct_sampling s;
        const char *word;
    } row[26];
    size_t n = 0;
#define ROW(field, value, text) \
    row[n].s = ok; \
    row[n].s.field = value; \
    row[n++].word = text
    ROW(temperature, -0.1f, "temperature");
    ROW(temperature, 100.5f, "temperature");
    ROW(temperature, NAN, "temperature");
    ROW(top_p, 0.0f, "top_p");
    ROW(top_p, 1.01f, "top_p");
    ROW(min_p, 1.5f, "min_p");
    ROW(top_k, -2, "top_k");
    ROW(repetition_penalty, 0.0f, "repetition_penalty");
    ROW(repetition_penalty, INFINITY, "repetition_penalty");
    ROW(presence_penalty, 2.5f, "presence_penalty");
    ROW(frequency_penalty, -2.5f, "frequency_penalty");
    ROW(n_logprobs, 21, "n_logprobs");
    ROW(n_logprobs, -2, "n_logprobs");
    ROW(n_prompt_logprobs, 21, "n_prompt_logprobs");
    ROW(n_prompt_logprobs, -2, "n_prompt_logprobs");
    ROW(max_tokens, -1, "max_tokens");
    ROW(max_tokens, 252, "max_tokens");
    ROW(min_tokens, 5, "min_tokens");
    ROW(n_stop, 17, "stop strings");
    ROW(n_stop_token_ids, 65, "stop_token_ids");
    ROW(n_logit_bias, 1025, "logit_bias");
    ROW(size, 8, "OCT_SAMPLING_INIT");
#undef ROW
    row[n].s = ok;
    row[n].s.stop = no_stop;
    row[n].s.n_stop = 1;
    row[n++].word = "stop string";
    row[n].s = ok;
    row[n].s.stop_token_ids = bad_token;
    row[n].s.n_stop_token_ids = 1;
    row[n++].word = "stop_token_ids";
    row[n].s = ok;
    row[n].s.logit_bias = twice;
    row[n].s.n_logit_bias = 2;
    row[n++].word = "twice";
    row[n].s = ok;
    row[n].s.logit_bias = wild;
    row[n].s.n_logit_bias = 1;
    row[n++].word = "logit_bias";

    oct_engine *e = open_default();
    struct run_answer a = {0};
    for (size_t i = 0; i < n; i++) {
        struct oct_request r = OCT_REQUEST_INIT;
        r.prompt = prompt;
        r.n_prompt = N_PROMPT;
        r.sampling = &row[i].s;
        r.on_event = run_collect;
        r.user = &a;
        uint64_t id = 99;
        cr_assert_eq(oct_engine_submit(e, &r, &id), OCT_E_ARG, "row %zu (%s)", i, row[i].word);
        cr_assert_not_null(strstr(oct_last_error(), row[i].word), "row %zu: %s", i,
                           oct_last_error());
        cr_assert_eq(id, 99u, "an out-parameter was touched");
    }
    oct_engine_close(e);
    cr_assert_eq(a.n_events, 0);
}

Test(requests, a_bad_prompt_is_refused, .timeout = 60)
{
    static int32_t many[256];
    static const int32_t below[] = {5, -1}, above[] = {5, 300};
    static const struct {
        const int32_t *ids;
        size_t n;
        const char *word;
    } row[] = {
        {prompt, 0, "empty"}, {NULL, 3, "empty"},        {below, 2, "-1"},
        {above, 2, "300"},    {many, 256, "256 tokens"},
    };
    oct_engine *e = open_default();
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct oct_request r = OCT_REQUEST_INIT;
        uint64_t id;
        struct run_answer a = {0};
        r.prompt = row[i].ids;
        r.n_prompt = row[i].n;
        r.on_event = run_collect;
        r.user = &a;
        cr_assert_eq(oct_engine_submit(e, &r, &id), OCT_E_ARG, "row %zu", i);
        cr_assert_not_null(strstr(oct_last_error(), row[i].word), "row %zu: %s", i,
                           oct_last_error());
    }
    oct_engine_close(e);
}

Test(requests, max_tokens_ends_with_length_and_a_full_context_too, .timeout = 60)
{
    oct_engine *e = open_default();
    static struct run_answer a, b;
    struct oct_sampling s = greedy(7), all = greedy(0);
    run_submit(e, prompt, N_PROMPT, &s, &a);
    run_submit(e, prompt, N_PROMPT, &all, &b);
    run_to_end(e);
    oct_engine_close(e);
    cr_assert_eq(a.finish, OCT_FINISH_LENGTH);
    cr_assert_eq(a.n_tokens, 7);
    cr_assert_eq(a.n_output_tokens, 7);
    cr_assert_eq(a.n_prompt_tokens, N_PROMPT);
    cr_assert_eq(b.finish, OCT_FINISH_LENGTH);
    cr_assert_eq(b.n_tokens, 256 - N_PROMPT, "%d", b.n_tokens);
    cr_assert_eq(memcmp(a.tokens, b.tokens, 7 * sizeof *a.tokens), 0);
}

Test(requests, stop_tokens_and_min_tokens, .timeout = 60)
{
    oct_engine *e = open_default();
    static struct run_answer free_run, stopped, held;
    struct oct_sampling s = greedy(30);
    run_submit(e, prompt, N_PROMPT, &s, &free_run);
    run_to_end(e);
    const int32_t stop = free_run.tokens[4];
    int first = 0;
    while (free_run.tokens[first] != stop) {
        first++;
    }
    s.stop_token_ids = &stop;
    s.n_stop_token_ids = 1;
    run_submit(e, prompt, N_PROMPT, &s, &stopped);
    s.min_tokens = first + 5;
    run_submit(e, prompt, N_PROMPT, &s, &held);
    run_to_end(e);
    oct_engine_close(e);
    cr_assert_eq(stopped.finish, OCT_FINISH_STOP);
    cr_assert_eq(stopped.n_tokens, first + 1, "%d", stopped.n_tokens);
    cr_assert_geq(held.n_tokens, first + 5, "%d", held.n_tokens);
    for (int i = 0; i < first + 5; i++) {
        cr_assert_neq(held.tokens[i], stop, "token %d is the stop token below min_tokens", i);
    }
}

/* Lower-case letters only: the tiny model's text is then one character a token. */
static bool letters(void *user, const int32_t *output, size_t n, uint32_t *mask, size_t n_words)
{
    (void)user;
    (void)output;
    (void)n;
    memset(mask, 0, n_words * sizeof *mask);
    for (uint32_t t = 3 + 'a'; t <= 3 + 'z'; t++) {
        mask[t / 32] |= 1u << t % 32;
    }
    return true;
}

Test(requests, a_stop_string_ends_the_text_before_it, .timeout = 60)
{
    oct_engine *e = open_default();
    static struct run_answer whole, cut;
    struct oct_sampling s = greedy(40);
    s.temperature = 1.5f; /* a greedy tiny model repeats itself */
    s.has_seed = true;
    s.seed = 3;
    s.token_mask = letters;
    run_submit(e, prompt, N_PROMPT, &s, &whole);
    run_to_end(e);
    cr_assert_eq(whole.text_len, 40u, "text: %s", whole.text);
    const char stop[] = {whole.text[20], whole.text[21], whole.text[22], 0};
    const char *const stops[] = {"NEVER", stop};
    s.stop = stops;
    s.n_stop = 2;
    run_submit(e, prompt, N_PROMPT, &s, &cut);
    run_to_end(e);
    oct_engine_close(e);
    const char *found = strstr(whole.text, stop);
    cr_assert_eq(cut.finish, OCT_FINISH_STOP);
    cr_assert_eq(cut.text_len, (size_t)(found - whole.text), "\"%s\" and \"%s\"", cut.text,
                 whole.text);
    cr_assert_eq(memcmp(cut.text, whole.text, cut.text_len), 0);
}

Test(requests, logprobs_are_normalised_and_the_chosen_token_is_on_top_when_greedy, .timeout = 60)
{
    oct_engine *e = open_default();
    static struct run_answer a;
    struct oct_sampling s = greedy(10);
    s.n_logprobs = 20;
    run_submit(e, prompt, N_PROMPT, &s, &a);
    run_to_end(e);
    oct_engine_close(e);
    for (int i = 0; i < a.n_tokens; i++) {
        cr_assert_eq(a.n_top[i], 20);
        cr_assert_eq(a.top[i][0].token, a.tokens[i]);
        cr_assert_eq(a.top[i][0].logprob, a.logprobs[i]);
        double sum = 0;
        for (int k = 0; k < 20; k++) {
            sum += exp((double)a.top[i][k].logprob);
            cr_assert(k == 0 || a.top[i][k].logprob <= a.top[i][k - 1].logprob);
        }
        cr_assert(sum > 0 && sum <= 1.00001, "sum of 20 probabilities: %g", sum);
    }
}

static bool only_even(void *user, const int32_t *output, size_t n, uint32_t *mask, size_t n_words)
{
    (void)output;
    for (size_t i = 0; i < n_words; i++) {
        mask[i] = 0x55555555u;
    }
    return n < *(const size_t *)user;
}

Test(requests, a_token_mask_restricts_and_may_end_the_request, .timeout = 60)
{
    oct_engine *e = open_default();
    static struct run_answer a, b;
    size_t for_ever = 1000, three = 3;
    struct oct_sampling s = greedy(10);
    s.token_mask = only_even;
    s.token_mask_user = &for_ever;
    run_submit(e, prompt, N_PROMPT, &s, &a);
    s.token_mask_user = &three;
    run_submit(e, prompt, N_PROMPT, &s, &b);
    run_to_end(e);
    oct_engine_close(e);
    cr_assert_eq(a.n_tokens, 10);
    for (int i = 0; i < a.n_tokens; i++) {
        cr_assert_eq(a.tokens[i] % 2, 0, "token %d", a.tokens[i]);
    }
    cr_assert_eq(b.finish, OCT_FINISH_ERROR);
    cr_assert_eq(b.status, OCT_E_ARG);
    cr_assert_eq(b.n_tokens, 3);
}

struct meddler {
    oct_engine *e;
    struct run_answer own, other;
    int n_seen;
};

static void meddle(void *user, const struct oct_event *ev)
{
    struct meddler *m = user;
    run_collect(&m->own, ev);
    m->n_seen++;
    if (m->n_seen == 2) {
        struct oct_sampling s = greedy(3);
        run_submit(m->e, prompt, N_PROMPT, &s, &m->other);
    }
    if (m->n_seen == 4) {
        cr_assert_eq(oct_engine_cancel(m->e, ev->request), OCT_OK);
    }
}

Test(requests, a_callback_may_submit_and_cancel, .timeout = 60)
{
    static struct meddler m;
    m.e = open_default();
    struct oct_request r = OCT_REQUEST_INIT;
    const struct oct_sampling s = greedy(50);
    r.prompt = prompt;
    r.n_prompt = N_PROMPT;
    r.sampling = &s;
    r.on_event = meddle;
    r.user = &m;
    cr_assert_eq(oct_engine_submit(m.e, &r, &m.own.id), OCT_OK);
    run_to_end(m.e);
    cr_assert_eq(m.own.finish, OCT_FINISH_CANCELLED);
    cr_assert_eq(m.own.n_tokens, 4);
    cr_assert_eq(m.other.finish, OCT_FINISH_LENGTH);
    cr_assert_eq(m.other.n_tokens, 3);
    cr_assert_eq(oct_engine_cancel(m.e, m.own.id), OCT_E_NOTFOUND);
    oct_engine_close(m.e);
}

Test(requests, closing_ends_what_runs_and_what_waits, .timeout = 60)
{
    oct_engine *e = open_default();
    static struct run_answer a[9];
    const struct oct_sampling s = greedy(50);
    for (int i = 0; i < 9; i++) {
        run_submit(e, prompt, N_PROMPT, &s, &a[i]);
    }
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(oct_engine_step(e, NULL), OCT_OK);
    }
    oct_engine_close(e);
    for (int i = 0; i < 9; i++) {
        cr_assert_eq(a[i].n_ends, 1, "request %d", i);
        cr_assert_eq(a[i].finish, OCT_FINISH_CANCELLED, "request %d", i);
    }
}

Test(requests, pages_come_back_whatever_happens, .timeout = 60)
{
    oct_engine *e = open_default();
    static struct run_answer a[64];
    for (int i = 0; i < 64; i++) {
        struct oct_sampling s = greedy(1 + i * 3);
        run_submit(e, prompt, (size_t)(1 + i % N_PROMPT), &s, &a[i]);
    }
    size_t active = 1;
    for (int k = 0; active; k++) {
        cr_assert_eq(oct_engine_step(e, &active), OCT_OK);
        if (k % 5 == 0 && active) {
            const oct_status st = oct_engine_cancel(e, a[(k * 7) % 64].id);
            cr_assert(st == OCT_OK || st == OCT_E_NOTFOUND);
        }
    }
    for (int i = 0; i < 64; i++) {
        cr_assert_eq(a[i].n_ends, 1, "request %d has %d last events", i, a[i].n_ends);
    }
    struct oct_engine_stats s = {.size = sizeof s};
    oct_engine_get_stats(e, &s);
    cr_assert_eq(s.n_pages_used, 0, "%d pages are still used", s.n_pages_used);
    cr_assert_eq(s.n_submitted, 64u);
    cr_assert_eq(s.n_length + s.n_cancelled, 64u);
    oct_engine_close(e);
}

#if OCT_FAULTS
Test(requests, values_that_are_not_numbers_end_one_request_and_no_other, .timeout = 60)
{
    oct_engine *e = open_default();
    static struct run_answer a[3];
    const struct oct_sampling s = greedy(6);
    for (int i = 0; i < 3; i++) {
        run_submit(e, prompt, N_PROMPT, &s, &a[i]);
    }
    cr_assert_eq(oct_engine_step(e, NULL), OCT_OK);
    /* The head is the last product of a step and the sampler the op after it. */
    oct_fault_reset();
    cr_assert_eq(oct_engine_step(e, NULL), OCT_OK);
    const uint64_t ops = oct_fault_count(OCT_FAULT_DEV_OP);
    oct_fault_arm(OCT_FAULT_DEV_OP, ops - 1, false, OCT_FAULT_NAN);
    run_to_end(e);
    oct_fault_reset();
    oct_engine_close(e);
    cr_assert_eq(a[0].finish, OCT_FINISH_ERROR);
    cr_assert_eq(a[0].status, OCT_E_NUMERIC, "%s", a[0].error);
    for (int i = 1; i < 3; i++) {
        cr_assert_eq(a[i].finish, OCT_FINISH_LENGTH, "request %d", i);
        cr_assert_eq(a[i].n_tokens, 6);
    }
}

Test(requests, a_failing_device_ends_every_request_with_its_error_and_stays_dead, .timeout = 60)
{
    for (uint64_t k = 1; k < 40; k += 3) {
        oct_engine *e = open_default();
        static struct run_answer a[6];
        memset(a, 0, sizeof a);
        const struct oct_sampling s = greedy(6);
        for (int i = 0; i < 6; i++) {
            run_submit(e, prompt, N_PROMPT, &s, &a[i]);
        }
        oct_fault_reset();
        oct_fault_arm(OCT_FAULT_DEV_OP, k, false, OCT_FAULT_FAIL);
        oct_status st = OCT_OK;
        for (int i = 0; i < 100 && st == OCT_OK; i++) {
            st = oct_engine_step(e, NULL);
        }
        oct_fault_reset();
        cr_assert_eq(st, OCT_E_DEVICE, "k=%d", (int)k);
        for (int i = 0; i < 6; i++) {
            cr_assert_eq(a[i].n_ends, 1, "k=%d request %d", (int)k, i);
            cr_assert_eq(a[i].status, OCT_E_DEVICE);
        }
        struct oct_request r = OCT_REQUEST_INIT;
        uint64_t id;
        r.prompt = prompt;
        r.n_prompt = N_PROMPT;
        r.on_event = run_collect;
        cr_assert_eq(oct_engine_submit(e, &r, &id), OCT_E_DEVICE);
        cr_assert_eq(oct_engine_step(e, NULL), OCT_E_DEVICE);
        oct_engine_close(e);
    }
}
#endif
