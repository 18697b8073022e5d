/* SPDX-License-Identifier: Apache-2.0
 *
 * Every dense family, end to end: the tiny models of tests/golden on the CUDA backend beside the
 * CPU backend. Logits of every position of an 80-token text, read in chunks and one by one, and
 * greedy tokens; with the bits of one run compared to those of another, whatever the shape of the
 * steps. */
#include "device/cuda.h"
#include "support/golden.h"
#include "support/run.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N_GREEDY = 6 };

struct how {
    const char *device, *dtype;
    int rows;             /* of a step */
    const char *products; /* gemm_provider */
};

static struct oct_engine_options options_of(const struct how *h)
{
    struct oct_engine_options o = OCT_ENGINE_OPTIONS_INIT;
    o.device = h->device;
    o.dtype = h->dtype;
    o.gemm_provider = h->products;
    o.n_threads = 2;
    o.max_num_seqs = h->rows;
    o.max_num_batched_tokens = h->rows;
    o.prefix_cache = OCT_SWITCH_OFF;
    return o;
}

/* Logits of all positions of the golden's text. The caller frees. */
static float *logits_of(const struct oct_golden *g, const struct how *h)
{
    const struct oct_engine_options o = options_of(h);
    oct_engine *e = run_open_tiny(&g->tiny, &o);
    float *logits = run_logits(e, g->ids, g->n_positions, g->tiny.vocab_size);
    oct_engine_close(e);
    return logits;
}

static void run_greedy(const struct oct_golden *g, const struct how *h, struct run_answer *a)
{
    struct oct_engine_options o = options_of(h);
    oct_engine *e = run_open_tiny(&g->tiny, &o);
    memset(a, 0, sizeof *a);
    struct oct_sampling s = OCT_SAMPLING_INIT;
    s.temperature = 0;
    s.max_tokens = N_GREEDY;
    s.ignore_eos = true;
    s.n_logprobs = K_SAMPLE_MAX_TOP;
    run_submit(e, g->ids, (size_t)g->n_positions, &s, a);
    run_to_end(e);
    oct_engine_close(e);
    cr_assert_eq(a->n_tokens, N_GREEDY, "%s", a->error);
}

/* The CPU's greedy tokens, up to one that the CPU itself saw within `tie` of the other's choice:
 * from there on the two read different texts. Returns how many are equal. */
static int check_greedy(const struct oct_golden *g, const char *what, const char *products,
                        double tie)
{
    static struct run_answer cpu, cuda;
    run_greedy(g, &(struct how){"cpu", "bfloat16", 64, NULL}, &cpu);
    run_greedy(g, &(struct how){"cuda", NULL, 64, products}, &cuda);
    int n = 0;
    while (n < N_GREEDY && cpu.tokens[n] == cuda.tokens[n]) {
        n++;
    }
    if (n < N_GREEDY) {
        double gap = INFINITY;
        for (int i = 0; i < cpu.n_top[n]; i++) {
            if (cpu.top[n][i].token == cuda.tokens[n]) {
                gap = (double)(cpu.logprobs[n] - cpu.top[n][i].logprob);
            }
        }
        cr_expect_leq(gap, tie, "%s: token %d is %d, the CPU's %d, which it likes better by %g",
                      what, n, cuda.tokens[n], cpu.tokens[n], gap);
    }
    return n;
}

static double distance(const struct oct_golden *g, const float *a, const float *b, double *mean)
{
    const size_t n = (size_t)g->n_positions * (size_t)g->tiny.vocab_size;
    double most = 0, sum = 0;
    for (size_t i = 0; i < n; i++) {
        const double d = fabs((double)a[i] - (double)b[i]);
        cr_assert(!isnan(d), "logit %zu is not a number", i);
        most = d > most ? d : most;
        sum += d;
    }
    *mean = sum / (double)n;
    return most;
}

/* Two bf16 evaluations of one model round at the same places and differ in the order of fp32 sums,
 * which moves a rounding now and then. Each is as far from the exact model as the other; hence
 * their distances from fp32 are of one size (twice the CPU's bounds the maximum, which is one draw
 * from the tail, and 1.25 times the mean, which is an average over 25,000 logits). */
static int check_family(const char *arch, const char *name, const char *products)
{
    struct oct_golden *g = oct_golden_load(name);
    double cpu_mean, cuda_mean, mean;
    (void)setenv("VGPU_ARCH", arch, 1);
    (void)setenv("VGPU_MEM", "256M", 1);
    float *exact = logits_of(g, &(struct how){"cpu", "float32", 80, NULL});
    float *cpu = logits_of(g, &(struct how){"cpu", "bfloat16", 80, NULL});
    float *cuda = logits_of(g, &(struct how){"cuda", NULL, 80, products});
    const double cpu_error = distance(g, cpu, exact, &cpu_mean);
    const double cuda_error = distance(g, cuda, exact, &cuda_mean);
    cr_expect_leq(cuda_error, 2 * cpu_error, "%s on %s: logits off by %g, the CPU's by %g", name,
                  arch, cuda_error, cpu_error);
    cr_expect_leq(cuda_mean, 1.25 * cpu_mean,
                  "%s on %s: logits off by %g in the mean, the CPU's by %g", name, arch, cuda_mean,
                  cpu_mean);
    const double apart = distance(g, cuda, cpu, &mean);

    static const int chunks[] = {1, 7, 64};
    for (size_t i = 0; !products && i < sizeof chunks / sizeof *chunks; i++) {
        float *again = logits_of(g, &(struct how){"cuda", NULL, chunks[i], NULL});
        const size_t n = (size_t)g->n_positions * (size_t)g->tiny.vocab_size;
        for (size_t j = 0; j < n; j++) {
            cr_assert_eq(memcmp(again + j, cuda + j, sizeof(float)), 0,
                         "%s on %s: in chunks of %d logit %zu of position %zu is %.9g, else %.9g",
                         name, arch, chunks[i], j % (size_t)g->tiny.vocab_size,
                         j / (size_t)g->tiny.vocab_size, (double)again[j], (double)cuda[j]);
        }
        free(again);
    }

    /* Both of two logits may move by what was the most for any logit of the text. */
    char what[64];
    (void)snprintf(what, sizeof what, "%s on %s", name, arch);
    const int n = check_greedy(g, what, products, 2 * apart);
    free(exact);
    free(cpu);
    free(cuda);
    oct_golden_close(g);
    return n;
}

enum { N_TOGETHER = 9, N_ANSWERS = N_TOGETHER + 3 };

/* Steps as they are recorded: nine requests at once, for which a step of sixteen places is
 * recorded; then one request whose keys begin in the first length class (up to 512) and end in the
 * second, beside two short ones. */
static void run_steps(bool eager, struct run_answer *a)
{
    enum { N_LONG = 508 };
    static int32_t prompt[N_LONG];
    struct oct_tiny t = oct_tiny_default(OCT_ARCH_LLAMA);
    struct oct_engine_options o = options_of(&(struct how){"cuda", NULL, 128, NULL});
    struct oct_sampling s = OCT_SAMPLING_INIT;
    t.max_positions = 640;
    o.enforce_eager = eager;
    oct_engine *e = run_open_tiny(&t, &o);
    memset(a, 0, sizeof *a * N_ANSWERS);
    s.temperature = 0;
    s.ignore_eos = true;
    s.n_logprobs = 3;
    s.max_tokens = 10;
    run_random_prompt(5, prompt, N_LONG);
    for (int i = 0; i < N_TOGETHER; i++) {
        run_submit(e, prompt + 20 * i, (size_t)(5 + 7 * i), &s, &a[i]);
    }
    run_to_end(e);
    run_submit(e, prompt, N_LONG, &s, &a[N_TOGETHER]);
    for (int i = N_TOGETHER + 1; i < N_ANSWERS; i++) {
        run_submit(e, prompt + 3 * i, 9, &s, &a[i]);
    }
    run_to_end(e);
    oct_engine_close(e);
}

Test(cuda_model, recorded_steps_give_the_bits_of_launched_ones, .timeout = 300)
{
    static struct run_answer eager[N_ANSWERS], recorded[N_ANSWERS];
    (void)setenv("VGPU_ARCH", "a100", 1);
    (void)setenv("VGPU_MEM", "256M", 1);
    run_steps(true, eager);
    run_steps(false, recorded);
    for (int i = 0; i < N_ANSWERS; i++) {
        cr_assert(eager[i].n_tokens == 10 && recorded[i].n_tokens == 10, "%s", recorded[i].error);
        for (int k = 0; k < 10; k++) {
            cr_assert_eq(eager[i].tokens[k], recorded[i].tokens[k],
                         "request %d token %d: %d recorded, %d launched", i, k,
                         recorded[i].tokens[k], eager[i].tokens[k]);
            cr_assert_eq(memcmp(&eager[i].logprobs[k], &recorded[i].logprobs[k], sizeof(float)), 0,
                         "request %d logprob %d: %.9g recorded, %.9g launched", i, k,
                         (double)recorded[i].logprobs[k], (double)eager[i].logprobs[k]);
        }
    }
}

static void check_all(const char *arch, const char *const *names, const char *products)
{
    int n = 0, equal = 0;
    for (; names[n]; n++) {
        equal += check_family(arch, names[n], products);
    }
    (void)printf("%s: %d of %d greedy tokens are the CPU's\n", arch, equal, n * N_GREEDY);
    cr_assert_geq(equal, n * N_GREEDY * 3 / 4); /* the others stand behind a tie */
}

Test(cuda_model, every_family_on_a100, .timeout = 300)
{
    check_all("a100", oct_golden_names, NULL);
}

Test(cuda_model, every_family_on_h100, .timeout = 300)
{
    check_all("h100", oct_golden_names, NULL);
}

/* Kernels of a decode step of two requests, launched one by one. */
static int launches_of_a_step(const struct oct_tiny *t)
{
    struct oct_engine_options o = options_of(&(struct how){"cuda", NULL, 16, NULL});
    o.enforce_eager = true;
    oct_engine *e = run_open_tiny(t, &o);
    int n[2];
    for (int i = 0; i < 2; i++) { /* one step more the second time */
        static struct run_answer a[2];
        struct oct_sampling s = OCT_SAMPLING_INIT;
        int32_t prompt[4];
        memset(a, 0, sizeof a);
        s.temperature = 0;
        s.ignore_eos = true;
        s.max_tokens = 2 + i;
        run_random_prompt(3, prompt, 4);
        const uint64_t before = oct_cuda_counts(e->dev).launches;
        run_submit(e, prompt, 4, &s, &a[0]);
        run_submit(e, prompt + 1, 3, &s, &a[1]);
        run_to_end(e);
        n[i] = (int)(oct_cuda_counts(e->dev).launches - before);
    }
    oct_engine_close(e);
    return n[1] - n[0];
}

Test(cuda_model, a_layer_of_a_decode_step_is_at_most_seven_launches, .timeout = 300)
{
    static const enum oct_arch_id families[] = {OCT_ARCH_LLAMA, OCT_ARCH_QWEN2, OCT_ARCH_QWEN3,
                                                OCT_ARCH_MISTRAL};
    (void)setenv("VGPU_ARCH", "h100", 1);
    (void)setenv("VGPU_MEM", "256M", 1);
    for (size_t i = 0; i < sizeof families / sizeof *families; i++) {
        struct oct_tiny t = oct_tiny_default(families[i]);
        t.head_dim = 32; /* heads as real ones: on 16 bytes, rotated in eights */
        t.window = families[i] == OCT_ARCH_MISTRAL ? 16 : 0;
        t.n_layers = 1;
        const int one = launches_of_a_step(&t);
        t.n_layers = 3;
        const int layers = launches_of_a_step(&t) - one;
        cr_expect(layers == 14, "family %d: %d launches for two layers", (int)families[i], layers);
        /* Embedding, last norm, logits, three of the sampler. */
        cr_expect_eq(one - layers / 2, 6, "family %d: %d launches beside the layers",
                     (int)families[i], one - layers / 2);
    }
}

/* Without the bits of other chunks, which it does not promise. */
Test(cuda_model, products_by_cublaslt, .timeout = 300)
{
    static const char *const names[] = {"llama", "qwen2", "mistral",
                                        NULL}; /* the second has biases */
#ifndef OCT_TEST_CUBLASLT
    cr_skip_test("no stand-in of cuBLASLt: its header was not found");
#endif
    check_all("h100", names, "cublaslt");
}
