/* SPDX-License-Identifier: Apache-2.0
 *
 * The promise that a request's bits do not depend on what runs beside it: logits of every position,
 * sampled tokens and the prompt's logprobs are compared byte for byte. No tolerance anywhere. */
#include "support/device.h"
#include "support/run.h"

#include "base/rng.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

enum { N_REQUESTS = 7, MAX_POSITIONS = 256, VOCAB = 300, MAX_OUTPUT = ON_CPU ? 20 : 5 };

static const size_t prompt_len[N_REQUESTS] = {1, 2, 17, 63, 64, 65, 150};

struct logits {
    uint64_t id[N_REQUESTS];
    int n_ids;
    float *rows[N_REQUESTS]; /* [MAX_POSITIONS, VOCAB] */
    bool seen[N_REQUESTS][MAX_POSITIONS];
};

static void keep(void *user, uint64_t request, int32_t position, const float *row, int32_t n)
{
    struct logits *l = user;
    cr_assert_eq(n, VOCAB);
    for (int i = 0; i < l->n_ids; i++) {
        if (l->id[i] == request) {
            cr_assert_not(l->seen[i][position], "position %d computed twice", position);
            l->seen[i][position] = true;
            memcpy(l->rows[i] + (size_t)position * VOCAB, row, VOCAB * sizeof *row);
        }
    }
}

static struct logits *logits_new(void)
{
    struct logits *l = calloc(1, sizeof *l);
    for (int i = 0; i < N_REQUESTS; i++) {
        l->rows[i] = calloc((size_t)MAX_POSITIONS * VOCAB, sizeof(float));
    }
    return l;
}

static void logits_free(struct logits *l)
{
    for (int i = 0; i < N_REQUESTS; i++) {
        free(l->rows[i]);
    }
    free(l);
}

static struct oct_sampling sampling_of(int i)
{
    struct oct_sampling s = OCT_SAMPLING_INIT;
    s.temperature = i % 2 ? 0.9f : 0.0f; /* half of them greedy */
    s.top_p = 0.95f;
    s.top_k = i % 3 ? 0 : 40;
    s.repetition_penalty = i % 4 ? 1.0f : 1.1f;
    s.has_seed = true;
    s.seed = 1000 + (uint64_t)i;
    s.max_tokens = MAX_OUTPUT;
    s.ignore_eos = true;
    s.n_logprobs = 3;
    s.n_prompt_logprobs = ON_CPU || i == 2 || i == 5 ? 2 : -1;
    return s;
}

/* Runs the requests of `mask` together in an engine of the given shape. On the virtual GPU each run
 * has a schedule of its own. */
static void run(const struct oct_tiny *t, unsigned mask, int threads, int seqs, int rows,
                struct logits *l, struct run_answer *answers)
{
    static uint64_t n_runs;
    struct oct_engine_options o = OCT_ENGINE_OPTIONS_INIT;
    o.n_threads = threads;
    o.max_num_seqs = seqs;
    o.max_num_batched_tokens = rows;
    oct_engine *e = run_open_tiny(t, &o);
    run_set_seed(++n_runs);
    if (l) {
        oct_engine_on_logits(e, keep, l);
        memset(l->id, 0, sizeof l->id); /* no request has id 0 */
        l->n_ids = N_REQUESTS;
    }
    for (int i = 0; i < N_REQUESTS; i++) {
        if (mask & 1u << i) {
            int32_t prompt[256];
            const struct oct_sampling s = sampling_of(i);
            run_random_prompt(77 + (uint64_t)i, prompt, prompt_len[i]);
            run_submit(e, prompt, prompt_len[i], &s, &answers[i]);
            if (l) {
                l->id[i] = answers[i].id;
            }
        }
    }
    run_to_end(e);
    oct_engine_close(e);
}

static void compare(const struct logits *a, const struct logits *b, unsigned mask,
                    const struct run_answer *x, const struct run_answer *y, const char *what)
{
    for (int i = 0; i < N_REQUESTS; i++) {
        if (!(mask & 1u << i)) {
            continue;
        }
        cr_assert_eq(y[i].n_ends, 1, "%s: request %d has not ended", what, i);
        cr_assert_eq(y[i].n_tokens, MAX_OUTPUT, "%s: request %d: %d tokens", what, i,
                     y[i].n_tokens);
        for (int k = 0; k < MAX_OUTPUT; k++) {
            cr_assert_eq(x[i].tokens[k], y[i].tokens[k], "%s: request %d token %d: %d and %d", what,
                         i, k, x[i].tokens[k], y[i].tokens[k]);
            cr_assert_eq(memcmp(&x[i].logprobs[k], &y[i].logprobs[k], sizeof(float)), 0,
                         "%s: request %d logprob %d: %.9g and %.9g", what, i, k,
                         (double)x[i].logprobs[k], (double)y[i].logprobs[k]);
        }
        for (int k = 0; k < (int)prompt_len[i]; k++) {
            cr_assert_eq(memcmp(&x[i].prompt[k], &y[i].prompt[k], sizeof x[i].prompt[k]), 0,
                         "%s: request %d prompt token %d: %.9g and %.9g", what, i, k,
                         (double)x[i].prompt[k].logprob, (double)y[i].prompt[k].logprob);
            cr_assert_eq(
                memcmp(x[i].prompt_top[k], y[i].prompt_top[k], 2 * sizeof x[i].prompt_top[k][0]), 0,
                "%s: request %d alternatives of prompt token %d", what, i, k);
        }
        if (!a || !b) {
            continue;
        }
        const int n = (int)prompt_len[i] + MAX_OUTPUT - 1;
        for (int p = 0; p < n; p++) {
            cr_assert(a->seen[i][p] && b->seen[i][p], "%s: request %d position %d missing", what, i,
                      p);
            const float *ra = a->rows[i] + (size_t)p * VOCAB, *rb = b->rows[i] + (size_t)p * VOCAB;
            for (int v = 0; v < VOCAB; v++) {
                cr_assert_eq(memcmp(ra + v, rb + v, sizeof(float)), 0,
                             "%s: request %d position %d logit %d: %.9g and %.9g", what, i, p, v,
                             (double)ra[v], (double)rb[v]);
            }
        }
    }
}

static void check_family(struct oct_tiny t, const char *dtype_name)
{
    struct logits *alone = logits_new();
    static struct run_answer want[N_REQUESTS];
    memset(want, 0, sizeof want);
    t.dtype = !strcmp(dtype_name, "f32") ? OCT_DTYPE_F32 : OCT_DTYPE_BF16;
    for (int i = 0; i < N_REQUESTS; i++) { /* each alone, its prompt in one piece */
        run(&t, 1u << i, 1, 256, 256, alone, want);
    }
    static const struct {
        unsigned mask;
        int threads, seqs, rows;
        bool logits;
    } shape[] = {
        {0x7f, 1, 16, 16, true},  {0x7f, 2, 7, 7, true},    {0x7f, 3, 16, 512, true},
        {0x55, 2, 3, 3, true},    {0x7f, 1, 1, 1, true},    {0x7f, 2, 16, 512, false},
        {0x7f, 2, 5, 37, false},  {0x6a, 3, 7, 100, false}, {0x7f, 2, 7, 65, false},
        {0x40, 2, 16, 64, false},
    };
    for (size_t k = 0; k < sizeof shape / sizeof *shape; k += ON_CPU ? 1 : 3) {
        static struct run_answer got[N_REQUESTS];
        memset(got, 0, sizeof got);
        struct logits *l = shape[k].logits ? logits_new() : NULL;
        char what[96];
        (void)snprintf(what, sizeof what, "%s %s threads=%d seqs=%d rows=%d", oct_arch_text(t.arch),
                       dtype_name, shape[k].threads, shape[k].seqs, shape[k].rows);
        run(&t, shape[k].mask, shape[k].threads, shape[k].seqs, shape[k].rows, l, got);
        compare(l ? alone : NULL, l, shape[k].mask, want, got, what);
        if (l) {
            logits_free(l);
        }
    }
    logits_free(alone);
}

Test(same_bits, llama_in_bf16, .timeout = 300)
{
    check_family(oct_tiny_default(OCT_ARCH_LLAMA), "bf16");
}

Test(same_bits, llama_in_f32, .timeout = 300)
{
    if (!ON_CPU) {
        cr_skip_test("the CUDA kernels compute in bfloat16 only");
    }
    check_family(oct_tiny_default(OCT_ARCH_LLAMA), "f32");
}

Test(same_bits, qwen3_in_bf16, .timeout = 300)
{
    struct oct_tiny t = oct_tiny_default(OCT_ARCH_QWEN3);
    t.head_dim = 24;
    t.n_heads = 6;
    t.n_kv_heads = 2;
    check_family(t, "bf16");
}

/* The same request under schedule after schedule, alone and in a batch. */
Test(same_bits, under_every_schedule_of_the_virtual_gpu, .timeout = 300)
{
    if (ON_CPU) {
        cr_skip_test("there is no schedule to choose");
    }
    enum { ALONE = 1 << 5, ALL = 0x7f, N_ROUNDS = 3 };
    static struct run_answer want[N_REQUESTS], got[N_REQUESTS];
    struct oct_tiny t = oct_tiny_default(OCT_ARCH_LLAMA);
    t.dtype = OCT_DTYPE_BF16;
    run(&t, ALL, 1, 16, 512, NULL, want);
    for (int round = 0; round < N_ROUNDS; round++) {
        memset(got, 0, sizeof got);
        run(&t, ALONE, 1, 1, 256, NULL, got);
        compare(NULL, NULL, ALONE, want, got, "alone");
        memset(got, 0, sizeof got);
        run(&t, ALL, 1, 5, 33 + 20 * round, NULL, got);
        compare(NULL, NULL, ALL, want, got, "in a batch");
    }
}

/* Rows that begin nowhere in particular. */
Test(same_bits, widths_that_are_no_multiples_of_anything, .timeout = 300)
{
    if (!ON_CPU) {
        cr_skip_test("the CUDA kernels need widths that are multiples of 8");
    }
    static const int32_t dims[][2] = {{61, 151}, {60, 160}, {64, 83}, {66, 162}};
    for (int i = 0; i < 8; i++) {
        struct oct_tiny t = oct_tiny_default(OCT_ARCH_QWEN3);
        t.head_dim = 18;
        t.dim = dims[i / 2][0];
        t.ff_dim = dims[i / 2][1];
        check_family(t, i % 2 ? "bf16" : "f32");
    }
}

Test(same_bits, mistral_with_a_window_in_bf16, .timeout = 300)
{
    struct oct_tiny t = oct_tiny_default(OCT_ARCH_MISTRAL);
    t.window = 33;
    check_family(t, "bf16");
}
