/* SPDX-License-Identifier: Apache-2.0
 *
 * The same promise as test_same_bits.c under load: many requests that come at random times, share
 * the beginnings of their prompts, are computed in chunks, find pages in the prefix cache, and are
 * preempted. Each one's tokens, logprobs and alternatives, the prompt's too, are those it has
 * alone, byte for byte. */
#include "support/device.h"
#include "support/run.h"

#include "base/rng.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

enum { MOST = 40, MAX_PROMPT = 190, MAX_OUTPUT = 40 };

/* What is asked for: a function of the request's number. */
struct load {
    const char *model, *dtype; /* dtype NULL: the model's */
    int n, max_prompt, max_output;
    int32_t max_model_len;
    bool windowed; /* gives pages back as it goes: a small load need not preempt */
};

static uint32_t draw(uint64_t seed, uint64_t i, uint32_t below)
{
    uint32_t r[4];
    oct_rng_philox(seed, i, 0, r);
    return r[0] % below;
}

static size_t prompt_of(const struct load *l, int i, int32_t *ids)
{
    const size_t n = 1 + draw(1, (uint64_t)i, (uint32_t)l->max_prompt);
    run_random_prompt(100 + (uint64_t)i, ids, n);
    if (i % 4 != 0) { /* three of four begin with one of two long texts */
        run_random_prompt((uint64_t)(i % 2), ids, n < 150 ? n : 150);
    }
    return n;
}

static struct oct_sampling sampling_of(const struct load *l, int i)
{
    struct oct_sampling s = OCT_SAMPLING_INIT;
    s.temperature = i % 2 ? 0.9f : 0.0f;
    s.top_p = 0.95f;
    s.repetition_penalty = i % 3 ? 1.0f : 1.1f;
    s.has_seed = true;
    s.seed = 4000 + (uint64_t)i;
    s.max_tokens = 1 + (int32_t)draw(2, (uint64_t)i, (uint32_t)l->max_output);
    s.ignore_eos = true;
    s.n_logprobs = 3;
    s.n_prompt_logprobs = i % 5 ? -1 : i % 3; /* some with none, one or two alternatives */
    return s;
}

static void submit(oct_engine *e, const struct load *l, int i, struct run_answer *a)
{
    int32_t ids[MAX_PROMPT];
    const struct oct_sampling s = sampling_of(l, i);
    run_submit(e, ids, prompt_of(l, i, ids), &s, a);
}

struct shape {
    int threads, seqs, rows;
    int blocks; /* pool: so many times K_PAGE_TOKENS tokens; 0: plenty */
    bool no_cache, manual, eager;
    bool preempts, hits; /* what must have happened */
};

static oct_engine *open_shape(const struct load *l, const struct shape *s, uint64_t block_bytes)
{
    struct oct_engine_options o = OCT_ENGINE_OPTIONS_INIT;
    oct_engine *e = NULL;
    o.model_path = l->model;
    o.dtype = l->dtype;
    o.n_threads = s->threads;
    o.max_num_seqs = s->seqs;
    o.max_num_batched_tokens = s->rows;
    o.max_model_len = l->max_model_len;
    o.kv_cache_bytes = (int64_t)block_bytes * s->blocks;
    o.prefix_cache = s->no_cache ? OCT_SWITCH_OFF : OCT_SWITCH_DEFAULT;
    o.manual = s->manual;
    o.device = OCT_TEST_DEVICE;
    o.enforce_eager = s->eager;
    cr_assert_eq(oct_engine_open(&o, &e), OCT_OK, "%s", oct_last_error());
    return e;
}

/* Each alone, one after the other, whole prompts, nothing cached. Returns what a block takes. */
static uint64_t run_alone(const struct load *l, struct run_answer *want)
{
    const struct shape alone = {
        .threads = 1, .seqs = 1, .rows = l->max_model_len, .no_cache = true, .manual = true};
    oct_engine *e = open_shape(l, &alone, 0);
    for (int i = 0; i < l->n; i++) {
        submit(e, l, i, &want[i]);
        cr_assert_eq(oct_engine_drain(e, -1), OCT_OK, "%s", oct_last_error());
    }
    const uint64_t block_bytes = e->plan.kv_bytes_per_token * K_PAGE_TOKENS;
    oct_engine_close(e);
    return block_bytes;
}

static void compare(const struct run_answer *x, const struct run_answer *y, const char *what, int i)
{
    cr_assert_eq(y->n_ends, 1, "%s: request %d has not ended", what, i);
    cr_assert_eq(y->n_tokens, x->n_tokens, "%s: request %d: %d tokens, %d alone", what, i,
                 y->n_tokens, x->n_tokens);
    for (int k = 0; k < x->n_tokens; k++) {
        cr_assert_eq(x->tokens[k], y->tokens[k], "%s: request %d token %d: %d, alone %d", what, i,
                     k, y->tokens[k], x->tokens[k]);
        cr_assert_eq(memcmp(&x->logprobs[k], &y->logprobs[k], sizeof(float)), 0,
                     "%s: request %d logprob %d: %.9g, alone %.9g", what, i, k,
                     (double)y->logprobs[k], (double)x->logprobs[k]);
        cr_assert_eq(memcmp(x->top[k], y->top[k], 3 * sizeof x->top[k][0]), 0,
                     "%s: request %d alternatives of token %d", what, i, k);
    }
    const bool asked = i % 5 == 0;
    cr_assert(x->n_prompts == asked && y->n_prompts == asked, "%s: request %d", what, i);
    for (int k = 0; asked && k < y->n_prompt_tokens; k++) {
        cr_assert_eq(memcmp(&x->prompt[k], &y->prompt[k], sizeof x->prompt[k]), 0,
                     "%s: request %d prompt token %d: %.9g, alone %.9g", what, i, k,
                     (double)y->prompt[k].logprob, (double)x->prompt[k].logprob);
        cr_assert_eq(memcmp(x->prompt_top[k], y->prompt_top[k],
                            (size_t)y->n_prompt_top * sizeof x->prompt_top[k][0]),
                     0, "%s: request %d alternatives of prompt token %d", what, i, k);
    }
}

static void check_shape(const struct load *l, const struct shape *s, uint64_t block_bytes,
                        const struct run_answer *want)
{
    static struct run_answer got[MOST];
    char what[96];
    (void)snprintf(what, sizeof what, "threads=%d seqs=%d rows=%d blocks=%d%s%s", s->threads,
                   s->seqs, s->rows, s->blocks, s->no_cache ? " no cache" : "",
                   s->manual ? " manual" : "");
    memset(got, 0, sizeof got);
    oct_engine *e = open_shape(l, s, block_bytes);
    run_set_seed(100 + (uint64_t)s->rows); /* another schedule than alone */
    for (int i = 0; i < l->n; i++) {
        submit(e, l, i, &got[i]);
        for (uint32_t k = draw(3, (uint64_t)i, 4); s->manual && k > 0; k--) {
            cr_assert_eq(oct_engine_step(e, NULL), OCT_OK, "%s", oct_last_error());
        }
    }
    cr_assert_eq(oct_engine_drain(e, -1), OCT_OK, "%s", oct_last_error());
    struct oct_engine_stats t = {.size = sizeof t};
    oct_engine_get_stats(e, &t);
    run_no_findings();
    oct_engine_close(e);
    for (int i = 0; i < l->n; i++) {
        compare(&want[i], &got[i], what, i);
    }
    (void)printf("%s: %d preemptions, %d of %d prompt tokens found\n", what, (int)t.n_preemptions,
                 (int)t.n_prefix_hit_tokens, (int)t.n_prefix_query_tokens);
    cr_assert(!s->preempts || t.n_preemptions > 0 || (l->windowed && !ON_CPU),
              "%s: nothing was preempted", what);
    cr_assert_eq(t.n_prefix_hit_tokens > 0, s->hits, "%s", what);
}

static void check_load(const struct load *l, const struct shape *shapes, size_t n_shapes)
{
    static struct run_answer want[MOST];
    memset(want, 0, sizeof want);
    const uint64_t block_bytes = run_alone(l, want);
    for (size_t k = 0; k < n_shapes; k++) {
        check_shape(l, &shapes[k], block_bytes, want);
    }
}

/* Preemptions are asked for of manual engines, whose steps do not depend on the time of day. */
static const struct shape shapes[] = {
    {.threads = 2, .seqs = 16, .rows = 512, .hits = true},
    {.threads = 1, .seqs = 40, .rows = 40, .manual = true, .hits = true},
    {.threads = 3, .seqs = 7, .rows = 33, .no_cache = true},
    {.threads = 2, .seqs = 12, .rows = 100, .blocks = 4, .hits = true},
    {.threads = 2,
     .seqs = 12,
     .rows = 100,
     .blocks = 4,
     .manual = true,
     .preempts = true,
     .hits = true},
    {.threads = 1,
     .seqs = 12,
     .rows = 19,
     .blocks = 4,
     .no_cache = true,
     .manual = true,
     .preempts = true},
    {.threads = 2, .seqs = 1, .rows = 64, .hits = true},
};

/* Of these, what the virtual GPU has time for. */
static const struct shape few[] = {
    {.threads = 1, .seqs = 10, .rows = 40, .manual = true, .hits = true},
    {.threads = 1,
     .seqs = 12,
     .rows = 100,
     .blocks = 4,
     .manual = true,
     .eager = true,
     .preempts = true,
     .hits = true},
};

static void check_tiny(struct oct_tiny t, const char *dtype)
{
    if (!ON_CPU && strcmp(dtype, "bfloat16") != 0) {
        cr_skip_test("the CUDA kernels compute in bfloat16 only");
    }
    char dir[256];
    run_make_dir(dir, sizeof dir);
    t.dtype = !strcmp(dtype, "float32") ? OCT_DTYPE_F32 : OCT_DTYPE_BF16;
    oct_tiny_write_hf(&t, dir);
    const struct load l = {.model = dir,
                           .dtype = dtype,
                           .n = ON_CPU ? MOST : 14,
                           .max_prompt = MAX_PROMPT,
                           .max_output = ON_CPU ? MAX_OUTPUT : 24,
                           .max_model_len = 256,
                           .windowed = t.window > 0};
    check_load(&l, ON_CPU ? shapes : few,
               ON_CPU ? sizeof shapes / sizeof *shapes : sizeof few / sizeof *few);
    run_remove_dir(dir);
}

Test(same_load, llama_in_bf16, .timeout = 300)
{
    check_tiny(oct_tiny_default(OCT_ARCH_LLAMA), "bfloat16");
}

Test(same_load, qwen3_in_f32, .timeout = 300)
{
    struct oct_tiny t = oct_tiny_default(OCT_ARCH_QWEN3);
    t.head_dim = 24;
    check_tiny(t, "float32");
}

Test(same_load, mistral_with_a_window, .timeout = 300)
{
    struct oct_tiny t = oct_tiny_default(OCT_ARCH_MISTRAL);
    t.window = 70;
    check_tiny(t, "bfloat16");
}

Test(same_load, qwen2_with_full_and_windowed_layers, .timeout = 300)
{
    struct oct_tiny t = oct_tiny_default(OCT_ARCH_QWEN2);
    t.n_layers = 4;
    t.window = 40;
    t.window_from_layer = 2;
    check_tiny(t, "bfloat16");
}

Test(same_load, the_demo_model, .timeout = 600)
{
    if (!ON_CPU) {
        cr_skip_test("135 million parameters under load take too long on the virtual GPU");
    }
#ifdef __SANITIZE_ADDRESS__
    cr_skip_test("135 million parameters under the sanitizer take too long; release builds run it");
#endif
    static const struct shape demo[] = {
        {.threads = 2, .seqs = 8, .rows = 128, .hits = true},
        {.threads = 1,
         .seqs = 12,
         .rows = 37,
         .blocks = 4,
         .manual = true,
         .preempts = true,
         .hits = true},
    };
    const struct load l = {.model = run_demo_path(),
                           .n = 12,
                           .max_prompt = MAX_PROMPT,
                           .max_output = 24,
                           .max_model_len = 256};
    check_load(&l, demo, sizeof demo / sizeof *demo);
}
