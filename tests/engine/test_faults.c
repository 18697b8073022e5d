/* SPDX-License-Identifier: Apache-2.0
 *
 * The k-th allocation, read, open and device allocation fail, for every k of loading a model and of
 * a short generation, once and from there on: a status with a sentence, nothing left behind (the
 * leak checker looks when the process ends), no crash. Every allocation of a submission, while
 * others run that must not notice. And a device that hangs, for good or for a while. */
#include "support/run.h"

#include "base/fault.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* Loads, generates 4 tokens, closes. */
static oct_status whole_life(const char *path, struct run_answer *a)
{
    struct oct_engine_options o = OCT_ENGINE_OPTIONS_INIT;
    struct oct_request r = OCT_REQUEST_INIT;
    struct oct_sampling s = OCT_SAMPLING_INIT;
    oct_engine *e = NULL;
    int32_t *ids = NULL;
    char *prompt = NULL;
    size_t n = 0, len = 0, active = 1;
    uint64_t id;
    o.model_path = path;
    o.device = "cpu";
    o.manual = 1;
    o.n_threads = 1;
    s.temperature = 0.7f;
    s.frequency_penalty = 0.1f;
    s.ignore_eos = true;
    s.max_tokens = 4;
    s.stop = (const char *const[]){"never"};
    s.n_stop = 1;
    memset(a, 0, sizeof *a);
    oct_status st = oct_engine_open(&o, &e);
    if (st == OCT_OK) {
        st = oct_engine_chat_prompt(e, "[{\"role\": \"user\", \"content\": \"Hi there\"}]", NULL,
                                    &prompt, &len);
    }
    if (st == OCT_OK) {
        st = oct_engine_chat_tokens(e, "[{\"role\": \"user\", \"content\": \"Hi there\"}]", NULL,
                                    &ids, &n);
    }
    if (st == OCT_OK) {
        r.prompt = ids;
        r.n_prompt = n;
        r.sampling = &s;
        r.on_event = run_collect;
        r.user = a;
        st = oct_engine_submit(e, &r, &id);
    }
    while (st == OCT_OK && active) {
        st = oct_engine_step(e, &active);
    }
    oct_buffer_free(ids);
    oct_buffer_free(prompt);
    oct_engine_close(e);
    return st;
}

static void every_k(const char *path, enum oct_fault_site site, const char *what)
{
    static struct run_answer a;
    json_set_alloc_funcs(oct_malloc, oct_free); /* jansson's values are part of loading */
    oct_fault_reset();
    cr_assert_eq(whole_life(path, &a), OCT_OK, "%s", oct_last_error());
    const uint64_t total = oct_fault_count(site);
    cr_assert_gt(total, 0u, "%s is never reached", what);
    cr_assert_eq(a.finish, OCT_FINISH_LENGTH);
    for (int forever = 0; forever < 2; forever++) {
        for (uint64_t k = 1; k <= total; k++) {
            oct_fault_reset();
            oct_error_clear();
            oct_fault_arm(site, k, forever, OCT_FAULT_FAIL);
            const oct_status st = whole_life(path, &a);
            oct_fault_reset();
            /* Either the failure came out as a status with a sentence, or as the request's last
             * event, or the call was one that may fail harmlessly. */
            cr_assert(st != OCT_OK || a.n_ends == 1, "%s k=%d: a request was lost", what, (int)k);
            cr_assert(st == OCT_OK || st == OCT_E_MEM || site != OCT_FAULT_MEM, "%s k=%d: %s", what,
                      (int)k, oct_last_error());
            if (st != OCT_OK) {
                cr_assert_gt(strlen(oct_last_error()), 10u, "%s k=%d: no sentence", what, (int)k);
            }
        }
    }
    (void)printf("%s: %d calls, each failed once and for good\n", what, (int)total);
}

Test(faults, of_a_hugging_face_model, .timeout = 600)
{
    char dir[256];
    struct oct_tiny t = oct_tiny_default(OCT_ARCH_QWEN3);
    t.n_shards = 2;
    t.n_layers = 1;
    t.head_dim = 16;
    run_make_dir(dir, sizeof dir);
    oct_tiny_write_hf(&t, dir);
    every_k(dir, OCT_FAULT_MEM, "mem");
    every_k(dir, OCT_FAULT_READ, "read");
    every_k(dir, OCT_FAULT_OPEN, "open");
    every_k(dir, OCT_FAULT_DEV_ALLOC, "dev_alloc");
    every_k(dir, OCT_FAULT_DEV_UPLOAD, "dev_upload");
    every_k(dir, OCT_FAULT_DEV_OP, "dev_op");
    every_k(dir, OCT_FAULT_DEV_SYNC, "dev_sync");
    run_remove_dir(dir);
}

Test(faults, of_a_gguf_model, .timeout = 600)
{
    char dir[256], path[300];
    struct oct_tiny t = oct_tiny_default(OCT_ARCH_LLAMA);
    t.dtype = OCT_DTYPE_Q8_0;
    t.n_layers = 1;
    run_make_dir(dir, sizeof dir);
    oct_tiny_write_gguf(&t, dir, "tiny");
    (void)snprintf(path, sizeof path, "%s/tiny.gguf", dir);
    every_k(path, OCT_FAULT_MEM, "mem");
    every_k(path, OCT_FAULT_READ, "read");
    every_k(path, OCT_FAULT_OPEN, "open");
    run_remove_dir(dir);
}

/* ---- submissions that fail while others run ---- */

enum { N_OTHERS = 8 };

static struct oct_sampling others_sampling(int i)
{
    struct oct_sampling s = OCT_SAMPLING_INIT;
    s.temperature = i % 2 ? 0.8f : 0.0f;
    s.has_seed = true;
    s.seed = (uint64_t)i;
    s.repetition_penalty = i % 3 ? 1.0f : 1.2f;
    s.max_tokens = 150;
    s.ignore_eos = true;
    s.n_logprobs = 2;
    s.n_prompt_logprobs = i % 4 ? -1 : 1;
    return s;
}

static void submit_others(oct_engine *e, struct run_answer *a)
{
    for (int i = 0; i < N_OTHERS; i++) {
        int32_t prompt[100];
        const struct oct_sampling s = others_sampling(i);
        run_random_prompt((uint64_t)i, prompt, (size_t)(5 + 12 * i));
        memset(&a[i], 0, sizeof a[i]);
        run_submit(e, prompt, (size_t)(5 + 12 * i), &s, &a[i]);
    }
}

static bool every_token(void *user, const int32_t *output, size_t n, uint32_t *mask, size_t n_words)
{
    (void)user, (void)output, (void)n, (void)mask, (void)n_words;
    return true;
}

/* One that allocates all that a request can. */
static oct_status submit_everything(oct_engine *e, struct run_answer *a, uint64_t *id)
{
    static const struct oct_logit_bias bias[] = {{5, 1.0f}, {6, -1.0f}};
    static const int32_t stop_ids[] = {9};
    struct oct_sampling s = OCT_SAMPLING_INIT;
    struct oct_request r = OCT_REQUEST_INIT;
    s.frequency_penalty = 0.5f;
    s.max_tokens = 10;
    s.ignore_eos = true;
    s.n_prompt_logprobs = 3;
    s.stop = (const char *const[]){"never to be seen", "nor this"};
    s.n_stop = 2;
    s.stop_token_ids = stop_ids;
    s.n_stop_token_ids = 1;
    s.logit_bias = bias;
    s.n_logit_bias = 2;
    s.token_mask = every_token;
    r.text = "a text that the caller's thread makes tokens of, long enough for a page of them";
    r.text_len = strlen(r.text);
    r.cache_salt = "salt";
    r.cache_salt_len = 4;
    r.sampling = &s;
    r.on_event = run_collect;
    r.user = a;
    return oct_engine_submit(e, &r, id);
}

static oct_engine *open_for_others(bool manual, const char *dir)
{
    struct oct_engine_options o = OCT_ENGINE_OPTIONS_INIT;
    oct_engine *e = NULL;
    o.model_path = dir;
    o.device = "cpu";
    o.n_threads = 1;
    o.max_num_batched_tokens = 32;
    o.manual = manual;
    cr_assert_eq(oct_engine_open(&o, &e), OCT_OK, "%s", oct_last_error());
    return e;
}

static void same_answers(const struct run_answer *x, const struct run_answer *y, const char *what)
{
    for (int i = 0; i < N_OTHERS; i++) {
        cr_assert_eq(y[i].finish, OCT_FINISH_LENGTH, "%s: request %d: %s", what, i, y[i].error);
        cr_assert_eq(y[i].n_tokens, 150, "%s: request %d", what, i);
        cr_assert_eq(memcmp(x[i].tokens, y[i].tokens, sizeof x[i].tokens), 0, "%s: request %d",
                     what, i);
        cr_assert_eq(memcmp(x[i].logprobs, y[i].logprobs, sizeof x[i].logprobs), 0,
                     "%s: request %d", what, i);
        cr_assert_eq(memcmp(x[i].prompt, y[i].prompt, sizeof x[i].prompt), 0, "%s: request %d",
                     what, i);
    }
}

/* Every allocation of a submission fails, once and from there on, again and again while the others
 * get their tokens. In a threaded engine these go on meanwhile: a step allocates nothing. */
static void refuse_among_others(bool manual, const char *dir, const struct run_answer *want)
{
    static struct run_answer got[N_OTHERS], extra;
    oct_engine *e = open_for_others(manual, dir);
    submit_others(e, got);
    if (manual) {
        cr_assert_eq(oct_engine_step(e, NULL), OCT_OK);
    }
    memset(&extra, 0, sizeof extra);
    oct_fault_reset();
    uint64_t id = 0;
    cr_assert_eq(submit_everything(e, &extra, &id), OCT_OK, "%s", oct_last_error());
    const uint64_t total = oct_fault_count(OCT_FAULT_MEM);
    cr_assert_geq(total, 15u);
    for (uint64_t k = 1; k <= 2 * total; k++) {
        const uint64_t untouched = id = 12345;
        oct_fault_reset();
        oct_error_clear();
        oct_fault_arm(OCT_FAULT_MEM, (k + 1) / 2, k % 2 == 0, OCT_FAULT_FAIL);
        const oct_status st = submit_everything(e, &extra, &id);
        oct_fault_reset();
        cr_assert_eq(st, OCT_E_MEM, "k=%d: %d", (int)k, (int)st);
        cr_assert_not_null(strstr(oct_last_error(), "bytes"), "k=%d: %s", (int)k, oct_last_error());
        cr_assert_eq(id, untouched);
        if (manual) {
            cr_assert_eq(oct_engine_step(e, NULL), OCT_OK, "%s", oct_last_error());
        }
    }
    cr_assert_eq(oct_engine_drain(e, -1), OCT_OK, "%s", oct_last_error());
    struct oct_engine_stats s = {.size = sizeof s};
    oct_engine_get_stats(e, &s);
    oct_engine_close(e);
    same_answers(want, got, manual ? "manual" : "threaded");
    cr_assert_eq(extra.n_ends, 1); /* the first, which was accepted */
    cr_assert_eq(extra.finish, OCT_FINISH_LENGTH, "%s", extra.error);
    cr_assert_eq(s.n_submitted, N_OTHERS + 1u);
    cr_assert_eq(s.n_length, N_OTHERS + 1u);
    (void)printf("submit: %d allocations, each failed once and for good beside %d requests\n",
                 (int)total, N_OTHERS);
}

Test(faults, of_submissions_while_others_run, .timeout = 300)
{
    static struct run_answer want[N_OTHERS];
    char dir[256];
    const struct oct_tiny t = oct_tiny_default(OCT_ARCH_LLAMA);
    run_make_dir(dir, sizeof dir);
    oct_tiny_write_hf(&t, dir);
    oct_engine *e = open_for_others(true, dir);
    submit_others(e, want);
    run_to_end(e);
    oct_engine_close(e);
    refuse_among_others(true, dir, want);
    refuse_among_others(false, dir, want);
    run_remove_dir(dir);
}

/* ---- a device that hangs ---- */

static int64_t now_ms(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Of the requests two run and the others wait; all but those that ended before are told. */
static void hang_at(const char *dir, uint64_t k, uint32_t for_ms)
{
    enum { N = 5, TIMEOUT_MS = 150 };
    static struct run_answer a[N];
    struct oct_engine_options o = OCT_ENGINE_OPTIONS_INIT;
    oct_engine *e = NULL;
    int n_failed = 0;
    o.model_path = dir;
    o.device = "cpu";
    o.n_threads = 1;
    o.max_num_seqs = 2;
    o.step_timeout_us = TIMEOUT_MS * 1000;
    cr_assert_eq(oct_engine_open(&o, &e), OCT_OK, "%s", oct_last_error());
    oct_fault_reset();
    if (for_ms) {
        oct_fault_arm_delay(OCT_FAULT_DEV_OP, k, for_ms);
    } else {
        oct_fault_arm(OCT_FAULT_DEV_OP, k, false, OCT_FAULT_HANG);
    }
    const int64_t begin_ms = now_ms();
    for (int i = 0; i < N; i++) {
        int32_t prompt[40];
        struct oct_sampling s = OCT_SAMPLING_INIT;
        s.max_tokens = 20;
        s.ignore_eos = true;
        s.presence_penalty = 0.5f; /* a list that the device reads */
        run_random_prompt((uint64_t)i, prompt, 40);
        memset(&a[i], 0, sizeof a[i]);
        run_submit(e, prompt, 40, &s, &a[i]);
    }
    cr_assert_eq(oct_engine_drain(e, 20 * 1000 * 1000), OCT_OK, "op %d: %s", (int)k,
                 oct_last_error());
    const int64_t told_ms = now_ms();
    struct oct_engine_stats t = {.size = sizeof t};
    struct oct_request q = OCT_REQUEST_INIT;
    uint64_t id;
    oct_engine_get_stats(e, &t);
    cr_assert_eq(t.device_hangs, 1);
    q.text = "x";
    q.text_len = 1;
    q.on_event = run_collect;
    cr_assert_eq(oct_engine_submit(e, &q, &id), OCT_E_DEVICE);
    cr_assert(strstr(oct_last_error(), "hangs"), "%s", oct_last_error());
    oct_engine_close(e);
    const int64_t closed_ms = now_ms();
    for (int i = 0; i < N; i++) {
        cr_assert_eq(a[i].n_ends, 1, "op %d, request %d: %d last events", (int)k, i, a[i].n_ends);
        if (a[i].finish != OCT_FINISH_LENGTH) {
            n_failed++;
            cr_assert(a[i].finish == OCT_FINISH_ERROR && a[i].status == OCT_E_DEVICE);
            cr_assert(strstr(a[i].error, "the device hangs: step ") &&
                          strstr(a[i].error, "sequences ") &&
                          strstr(a[i].error, "not done after 0.1 s; launched last: "),
                      "%s", a[i].error);
        }
    }
    cr_assert_gt(n_failed, 0);
    cr_assert_eq(t.n_failed, (uint64_t)n_failed);
    /* What came before may take long under a sanitizer; at op 1 it is nothing. */
    const int64_t slack_ms = 1500;
    cr_assert(told_ms - begin_ms >= TIMEOUT_MS);
    cr_assert(k > 1 || told_ms - begin_ms <= TIMEOUT_MS + slack_ms, "told after %d ms",
              (int)(told_ms - begin_ms));
    cr_assert_leq(closed_ms - told_ms, 250 + slack_ms, "closed after %d ms",
                  (int)(closed_ms - told_ms));
}

Test(faults, of_a_device_that_hangs, .timeout = 120)
{
    static const uint64_t ops[] = {1, 2, 23, 90, 211}; /* prefill, decode, others have ended */
    char dir[256];
    const struct oct_tiny t = oct_tiny_default(OCT_ARCH_LLAMA);
    run_make_dir(dir, sizeof dir);
    oct_tiny_write_hf(&t, dir);
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
        hang_at(dir, ops[i], 0);
        hang_at(dir, ops[i], 300); /* it comes back after all requests were told */
    }
    run_remove_dir(dir);
}
