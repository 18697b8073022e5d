/* SPDX-License-Identifier: Apache-2.0
 *
 * Trouble: fields out of range, structs of other versions, steps that fail, values that are not
 * numbers, no memory. Every accepted request ends exactly once and says why; what is refused names
 * the field. */
#include "support/story.h"

#include "base/fault.h"

#include <criterion/criterion.h>
#include <stddef.h>
#include <string.h>

/* ---- what callers fill ---- */

Test(end, a_request_field_out_of_range_is_refused_by_name, .timeout = 60)
{
    static const int32_t ids[] = {5, 6};
    static const char salt[300];
    static const struct {
        const char *word;
        int32_t priority;
        int64_t timeout_us;
        size_t salt_len;
        const char *text;
        uint32_t flags;
        bool no_prompt, no_callback, null_salt;
    } row[] = {
        {.word = "priority", .priority = 9},
        {.word = "priority", .priority = -9},
        {.word = "timeout_us", .timeout_us = -1},
        {.word = "timeout_us", .timeout_us = INT64_MAX},
        {.word = "cache_salt_len", .salt_len = 257},
        {.word = "cache_salt is NULL", .salt_len = 3, .null_salt = true},
        {.word = "both prompt and text", .text = "a"},
        {.word = "tokenize_flags", .text = "a", .flags = 4, .no_prompt = true},
        {.word = "empty", .text = "", .no_prompt = true},
        {.word = "empty", .no_prompt = true},
        {.word = "on_event", .no_callback = true},
    };
    const struct fake_options o = {.manual = true};
    struct fake f;
    fake_open(&o, &f);
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct oct_request q = OCT_REQUEST_INIT;
        uint64_t id = 77;
        q.prompt = row[i].no_prompt ? NULL : ids;
        q.n_prompt = 2;
        q.on_event = row[i].no_callback ? NULL : story_event;
        q.priority = row[i].priority;
        q.timeout_us = row[i].timeout_us;
        q.cache_salt = row[i].null_salt ? NULL : salt;
        q.cache_salt_len = row[i].salt_len;
        q.text = row[i].text;
        q.text_len = row[i].text ? strlen(row[i].text) : 0;
        q.tokenize_flags = row[i].flags;
        cr_assert_eq(oct_engine_submit(f.e, &q, &id), OCT_E_ARG, "row %zu", i);
        cr_assert_not_null(strstr(oct_last_error(), row[i].word), "row %zu: %s", i,
                           oct_last_error());
        cr_assert_eq(id, 77u);
    }
    cr_assert_eq(oct_engine_submit(f.e, NULL, NULL), OCT_E_ARG);
    fake_close(&f);
}

Test(end, a_text_prompt_is_tokenized_with_or_without_special_tokens, .timeout = 60)
{
    static const char text[] = "ab<|im_end|>";
    const struct fake_options o = {.manual = true};
    struct fake f;
    fake_open(&o, &f);
    for (unsigned flags = 0; flags < 2; flags++) { /* 1: OCT_TOKENIZE_SPECIAL */
        static struct story s;
        int32_t *ids;
        size_t n;
        cr_assert_eq(oct_engine_tokenize(f.e, text, sizeof text - 1, flags, &ids, &n), OCT_OK);
        story_prompt(&s, 1, (int32_t)n, 0, 6);
        memcpy(s.prompt, ids, n * sizeof *ids);
        oct_buffer_free(ids);
        cr_assert_eq(s.prompt[n - 1] == 2, flags == 1);
        struct oct_sampling sampling;
        struct oct_request q = story_request(&s, &sampling);
        q.prompt = NULL;
        q.text = text;
        q.text_len = sizeof text - 1;
        q.tokenize_flags = flags;
        cr_assert_eq(oct_engine_submit(f.e, &q, &s.id), OCT_OK, "%s", oct_last_error());
        cr_assert_eq(oct_engine_drain(f.e, -1), OCT_OK);
        cr_assert_null(story_check(&s, &o), "flags %u", flags);
    }
    fake_close(&f);
}

/* A caller's struct, with `size` bytes of it known to the caller and `extra` bytes after ours. */
struct grown {
    struct oct_request q;
    unsigned char extra[16];
};

Test(end, structs_of_older_and_newer_callers, .timeout = 60)
{
    const uint32_t first = offsetof(struct oct_request, user) + sizeof(void *);
    const uint32_t ours = sizeof(struct oct_request);
    static const struct {
        int size; /* -1: first, -2: ours, -3: ours + 16; else itself */
        bool set_extra;
        oct_status st;
    } row[] = {
        {-1, false, OCT_OK},           {-2, false, OCT_OK},   {-3, false, OCT_OK},
        {-3, true, OCT_E_UNSUPPORTED}, {8, false, OCT_E_ARG}, {0, false, OCT_E_ARG},
        {1 << 30, false, OCT_E_ARG},
    };
    const struct fake_options o = {.manual = true};
    struct fake f;
    fake_open(&o, &f);
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        static struct story s;
        struct oct_sampling sampling;
        struct grown g;
        memset(&g, 0, sizeof g);
        story_prompt(&s, i, 5, 0, 3);
        g.q = story_request(&s, &sampling);
        g.q.size = row[i].size == -1   ? first
                   : row[i].size == -2 ? ours
                   : row[i].size == -3 ? ours + 16
                                       : (uint32_t)row[i].size;
        g.extra[9] = row[i].set_extra;
        if (row[i].size == -1) { /* what lies behind an older caller's struct is not looked at */
            memset((char *)&g.q + first, 0x55, ours - first);
        }
        cr_assert_eq(oct_engine_submit(f.e, &g.q, &s.id), row[i].st, "row %zu: %s", i,
                     oct_last_error());
        cr_assert_eq(oct_engine_drain(f.e, -1), OCT_OK);
        cr_assert(row[i].st != OCT_OK || !story_check(&s, &o), "row %zu", i);
    }
    struct {
        struct oct_engine_stats s;
        unsigned char after[8];
    } small;
    memset(&small, 0xaa, sizeof small);
    small.s.size = offsetof(struct oct_engine_stats, n_pages);
    oct_engine_get_stats(f.e, &small.s);
    cr_assert_eq(small.s.size, offsetof(struct oct_engine_stats, n_pages));
    cr_assert_eq(small.s.n_waiting, 0);
    cr_assert_eq(small.s.n_pages, (int32_t)0xaaaaaaaau, "written beyond the caller's struct");
    fake_close(&f);
}

Test(end, options_out_of_range_are_refused_by_name, .timeout = 60)
{
    struct oct_engine_options o[11];
    static const char *const word[] = {"max_waiting",   "max_waiting",  "prefix_cache",   "manual",
                                       "enforce_eager", "n_threads",    "model path",     "INIT",
                                       "sync_kernels",  "step_timeout", "step_timeout_us"};
    for (int i = 0; i < 11; i++) {
        o[i] = (struct oct_engine_options)OCT_ENGINE_OPTIONS_INIT;
        o[i].model_path = "no-such-model";
    }
    o[0].max_waiting = -1;
    o[1].max_waiting = (1 << 20) + 1;
    o[2].prefix_cache = 3;
    o[3].manual = 2;
    o[4].enforce_eager = 2;
    o[5].n_threads = -1;
    o[6].model_path = "";
    o[7].size = 16;
    o[8].sync_kernels = -1;
    o[9].step_timeout_us = -2;
    o[10].step_timeout_us = INT64_MAX;
    for (int i = 2; i < 11; i++) {
        oct_engine *e = NULL;
        cr_assert_eq(oct_engine_open(&o[i], &e), OCT_E_ARG, "row %d", i);
        cr_assert_not_null(strstr(oct_last_error(), word[i]), "row %d: %s", i, oct_last_error());
        cr_assert_null(e);
    }
    const struct oct_model_config c = {.vocab_size = 300,
                                       .dim = 64,
                                       .ff_dim = 64,
                                       .n_layers = 2,
                                       .n_heads = 4,
                                       .n_kv_heads = 2,
                                       .head_dim = 16,
                                       .max_positions = 256};
    for (int i = 0; i < 2; i++) {
        struct oct_plan plan;
        cr_assert_eq(oct_plan_make(&c, &o[i], NULL, false, &plan), OCT_E_ARG, "row %d", i);
        cr_assert_not_null(strstr(oct_last_error(), word[i]), "row %d: %s", i, oct_last_error());
    }
}

/* ---- a device that fails ---- */

enum failure { IN_LAUNCH, IN_WAIT, HANGS };

/* With a list for the sampler, which a device that hangs may read when it comes back. */
static oct_status submit_penalised(oct_engine *e, struct story *s)
{
    struct oct_sampling sampling;
    struct oct_request q = story_request(s, &sampling);
    sampling.presence_penalty = 0.5f;
    return oct_engine_submit(e, &q, &s->id);
}

static void fail_at(int32_t k, enum failure how, bool manual)
{
    enum { N = 12 };
    static struct story s[N];
    const struct fake_options o = {.manual = manual,
                                   .n_pages = 14,
                                   .fail_launch = how == IN_LAUNCH ? k : 0,
                                   .fail_wait = how == IN_WAIT ? k : 0,
                                   .hang = how == HANGS ? k : 0};
    struct fake f;
    int n = 0;
    fake_open(&o, &f);
    for (; n < N; n++) {
        story_prompt(&s[n], (uint64_t)n, 1 + n * 20, 0, 30);
        if (submit_penalised(f.e, &s[n]) != OCT_OK) { /* it may have failed already */
            cr_assert_eq(manual, false);
            break;
        }
    }
    const oct_status st = oct_engine_drain(f.e, -1);
    cr_assert(st == OCT_OK || (manual && st == OCT_E_DEVICE), "step %d: %s", k, oct_last_error());
    cr_assert_eq(story_submit(f.e, &s[0]), OCT_E_DEVICE, "step %d", k);
    cr_assert_not_null(strstr(oct_last_error(), "the fake device"), "%s", oct_last_error());
    if (manual) {
        cr_assert_eq(oct_engine_step(f.e, NULL), OCT_E_DEVICE);
    }
    struct oct_engine_stats t = {.size = sizeof t};
    oct_engine_get_stats(f.e, &t);
    fake_close(&f); /* of one that hangs the step comes back only here */
    cr_assert_eq(t.device_hangs, how == HANGS);
    int failed = 0;
    for (int i = 0; i < n; i++) {
        const bool whole = s[i].finish == OCT_FINISH_LENGTH;
        cr_assert_null(story_check_prefix(&s[i], &o), "step %d request %d", k, i);
        cr_assert(whole || (s[i].finish == OCT_FINISH_ERROR && s[i].status == OCT_E_DEVICE),
                  "step %d request %d ended with %d", k, i, (int)s[i].finish);
        cr_assert(whole || strstr(s[i].error, "the fake device"), "%s", s[i].error);
        failed += !whole;
    }
    cr_assert_eq(t.n_failed, (uint64_t)failed);
    cr_assert_eq(t.n_length, (uint64_t)(n - failed));
    cr_assert_eq(t.n_pages_used, 0);
}

Test(end, a_step_that_fails_ends_every_request_once_whichever_it_is, .timeout = 300)
{
    /* All requests together take 70 steps and more. */
    for (int32_t k = 1; k <= 70; k++) {
        fail_at(k, IN_WAIT, true);
        fail_at(k, IN_LAUNCH, true);
        fail_at(k, HANGS, true);
        fail_at(k, (enum failure)(k % 3), false);
    }
}

Test(end, values_that_are_not_numbers_end_one_request_and_are_not_cached, .timeout = 60)
{
    static const int32_t marked = 1; /* story_prompt never makes it */
    const struct fake_options o = {.manual = true,
                                   .nan_first_token = marked,
                                   .nan_position = 140,
                                   .n_groups = 2,
                                   .windows = {0, 50}};
    const struct fake_options sound = {.n_groups = 2, .windows = {0, 50}};
    struct fake f;
    static struct story s[5];
    fake_open(&o, &f);
    for (int i = 0; i < 5; i++) {
        story_prompt(&s[i], 3, 100, 0, i == 2 || i == 4 ? 90 : 60);
        s[i].prompt[0] = i == 2 || i == 4 ? marked : 10 + i;
    }
    for (int i = 0; i < 4; i++) {
        cr_assert_eq(story_submit(f.e, &s[i]), OCT_OK);
    }
    cr_assert_eq(oct_engine_drain(f.e, -1), OCT_OK);
    cr_assert_eq(story_submit(f.e, &s[4]), OCT_OK); /* the same prompt as the one that failed */
    cr_assert_eq(oct_engine_drain(f.e, -1), OCT_OK);
    for (int i = 0; i < 5; i++) {
        if (i == 2 || i == 4) {
            cr_assert_eq(s[i].finish, OCT_FINISH_ERROR);
            cr_assert_eq(s[i].status, OCT_E_NUMERIC, "%s", s[i].error);
            cr_assert_eq(s[i].n_tokens, 41, "%d", s[i].n_tokens); /* from positions 99 to 139 */
            cr_assert_null(story_check_prefix(&s[i], &sound));
        } else {
            cr_assert_null(story_check(&s[i], &sound));
        }
    }
    cr_assert_eq(s[4].n_cached_tokens, 0, "pages of values that are not numbers were used again");
    fake_close(&f);
}

/* In the middle of a prompt, where nobody looks unless its logprobs are asked for. */
Test(end, a_prompt_row_that_is_not_a_number_ends_its_request, .timeout = 60)
{
    const struct fake_options o = {
        .manual = true, .nan_first_token = 1, .nan_position = 70, .max_num_batched_tokens = 30};
    struct fake f;
    static struct story s[4];
    fake_open(&o, &f);
    for (int i = 0; i < 4; i++) {
        story_prompt(&s[i], (uint64_t)i, 100, 0, 8);
        s[i].wants_prompt = i < 3;
        s[i].n_prompt_top = i;
        s[i].prompt[0] = i == 1 ? 1 : 10 + i;
        cr_assert_eq(story_submit(f.e, &s[i]), OCT_OK);
    }
    cr_assert_eq(oct_engine_drain(f.e, -1), OCT_OK);
    fake_close(&f);
    for (int i = 0; i < 4; i++) {
        if (i == 1) {
            cr_assert_eq(s[i].status, OCT_E_NUMERIC, "%s", s[i].error);
            cr_assert(s[i].n_ends == 1 && s[i].n_tokens == 0 && s[i].n_prompts == 0);
        } else {
            cr_assert_null(story_check(&s[i], &o), "request %d: %s", i, story_check(&s[i], &o));
        }
    }
}

/* ---- no memory ---- */

#if OCT_FAULTS
static oct_status open_and_answer(bool manual, struct story *s, bool *submitted)
{
    const struct fake_options o = {.manual = manual};
    struct fake f;
    struct oct_sampling sampling;
    static const struct oct_logit_bias bias[] = {{5, 1.0f}};
    *submitted = false;
    story_prompt(s, 1, 70, 0, 5);
    OCT_TRY(fake_try_open(&o, &f));
    struct oct_request q = story_request(s, &sampling);
    sampling.frequency_penalty = 0.5f;
    sampling.stop = (const char *const[]){"never to be seen"};
    sampling.n_stop = 1;
    sampling.logit_bias = bias;
    sampling.n_logit_bias = 1;
    q.cache_salt = "x";
    q.cache_salt_len = 1;
    oct_status st = oct_engine_submit(f.e, &q, &s->id);
    *submitted = st == OCT_OK;
    if (st == OCT_OK) {
        st = oct_engine_drain(f.e, -1);
    }
    fake_close(&f);
    return st;
}

Test(end, the_kth_allocation_of_open_and_submit_fails, .timeout = 300)
{
    static struct story s;
    bool submitted;
    json_set_alloc_funcs(oct_malloc, oct_free); /* the tokenizer's file is part of opening */
    for (int manual = 0; manual < 2; manual++) {
        oct_fault_reset();
        cr_assert_eq(open_and_answer(manual, &s, &submitted), OCT_OK, "%s", oct_last_error());
        const uint64_t total = oct_fault_count(OCT_FAULT_MEM);
        cr_assert_gt(total, 50u);
        for (int forever = 0; forever < 2; forever++) {
            for (uint64_t k = 1; k <= total; k++) {
                oct_fault_reset();
                oct_error_clear();
                oct_fault_arm(OCT_FAULT_MEM, k, forever, OCT_FAULT_FAIL);
                const oct_status st = open_and_answer(manual, &s, &submitted);
                oct_fault_reset();
                cr_assert(st == OCT_OK || st == OCT_E_MEM, "k=%d: %s", (int)k, oct_last_error());
                cr_assert_eq(s.n_ends, submitted, "k=%d: a request was lost", (int)k);
                cr_assert(st == OCT_OK || strlen(oct_last_error()) > 10, "k=%d", (int)k);
            }
        }
        (void)printf("%s: %d allocations, each failed once and for good\n",
                     manual ? "manual" : "threaded", (int)total);
    }
}

Test(end, a_token_buffer_that_cannot_grow_ends_its_request_alone, .timeout = 120)
{
    static struct story s[2];
    const struct fake_options o = {
        .manual = true, .max_model_len = 12000, .n_pages = 400, .quick = true};
    struct fake f;
    fake_open(&o, &f);
    story_prompt(&s[0], 1, 20, 0, 11000);
    story_prompt(&s[1], 2, 20, 0, 500);
    cr_assert_eq(story_submit(f.e, &s[0]), OCT_OK);
    while (s[0].n_tokens < OCT_FIRST_TOKENS - 400) {
        cr_assert_eq(oct_engine_step(f.e, NULL), OCT_OK);
    }
    cr_assert_eq(story_submit(f.e, &s[1]), OCT_OK);
    cr_assert_eq(oct_engine_step(f.e, NULL), OCT_OK);
    oct_fault_reset();
    oct_fault_arm(OCT_FAULT_MEM, 1, false, OCT_FAULT_FAIL);
    cr_assert_eq(oct_engine_drain(f.e, -1), OCT_OK);
    oct_fault_reset();
    fake_close(&f);
    cr_assert_eq(s[0].finish, OCT_FINISH_ERROR);
    cr_assert_eq(s[0].status, OCT_E_MEM, "%s", s[0].error);
    cr_assert_eq(s[0].n_tokens, OCT_FIRST_TOKENS - 1, "%d: %s", s[0].n_tokens, s[0].error);
    cr_assert_null(story_check(&s[1], &o));
}

/* Two requests that grow, two that do not; the k-th allocation after they were submitted fails.
 * Returns how many there were. */
static uint64_t serve(uint64_t k, bool forever)
{
    enum { N = 4, LONG = 9000 };
    static struct story s[N];
    const struct fake_options o = {.manual = true,
                                   .max_model_len = 10000,
                                   .n_pages = 400,
                                   .max_num_batched_tokens = 16,
                                   .quick = true};
    static int32_t want[STORY_TOKENS];
    struct fake f;
    int n_failed = 0;
    fake_open(&o, &f);
    for (int i = 0; i < N; i++) {
        story_prompt(&s[i], (uint64_t)i, 30 + i, 0, i < 2 ? LONG : 400);
        s[i].wants_prompt = i % 2;
        s[i].n_prompt_top = 1;
        cr_assert_eq(story_submit(f.e, &s[i]), OCT_OK);
    }
    oct_fault_reset();
    if (k > 0) {
        oct_fault_arm(OCT_FAULT_MEM, k, forever, OCT_FAULT_FAIL);
    }
    cr_assert_eq(oct_engine_drain(f.e, -1), OCT_OK, "k=%d: %s", (int)k, oct_last_error());
    const uint64_t total = oct_fault_count(OCT_FAULT_MEM);
    oct_fault_reset();
    fake_close(&f);
    for (int i = 0; i < N; i++) {
        const bool failed = s[i].finish == OCT_FINISH_ERROR;
        fake_answer(&o, s[i].prompt, s[i].n_prompt, want, STORY_TOKENS);
        const int32_t n = s[i].n_tokens < STORY_TOKENS ? s[i].n_tokens : STORY_TOKENS;
        cr_assert(s[i].n_ends == 1 && !s[i].is_wrong, "k=%d request %d", (int)k, i);
        cr_assert_eq(memcmp(s[i].tokens, want, (size_t)n * sizeof *want), 0, "k=%d request %d",
                     (int)k, i);
        cr_assert(failed ? i < 2 && s[i].status == OCT_E_MEM : s[i].n_tokens == s[i].max_tokens,
                  "k=%d request %d: %d tokens, %s", (int)k, i, s[i].n_tokens, s[i].error);
        n_failed += failed;
    }
    cr_assert(n_failed == (k == 0    ? 0
                           : forever ? n_failed
                                     : 1) &&
                  (k == 0 || n_failed > 0),
              "k=%d: %d requests failed", (int)k, n_failed);
    return total;
}

Test(end, the_kth_allocation_while_serving_fails, .timeout = 120)
{
    const uint64_t total = serve(0, false);
    cr_assert_geq(total, 4u); /* each of the long ones has grown twice */
    for (int forever = 0; forever < 2; forever++) {
        for (uint64_t k = 1; k <= total; k++) {
            (void)serve(k, forever);
        }
    }
    (void)printf("%d allocations while serving, each failed once and for good\n", (int)total);
}
#endif
