/* SPDX-License-Identifier: Apache-2.0 */
#include "base/mem.h"
#include "base/rng.h"
#include "cpu/levels.h"

#include <string.h>

/* ---- a slow twin: the contract of cuda/sample.h read aloud, sorted whole, in double ---- */

struct ranked {
    float l;
    int32_t token;
};

static int by_rank(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    return x->l != y->l ? (x->l < y->l ? 1 : -1) : (x->token > y->token) - (x->token < y->token);
}

struct twin {
    int32_t token;
    double *p;         /* [vocab] chance of each token, when temperature > 0 */
    double *logprob;   /* [vocab] */
    struct ranked *by; /* [vocab] raw logits, most likely first */
    double margin;     /* how near the decisions were to going the other way, relative */
};

static void nearer(double *margin, double distance)
{
    *margin = fmin(*margin, fabs(distance));
}

static void twin_edit(const struct k_sample_row *r, float *l, int32_t vocab)
{
    const struct k_sample_bias *bias = (const void *)(uintptr_t)r->bias;
    const uint32_t *mask = (const void *)(uintptr_t)r->bitmask;
    const int32_t *banned = (const void *)(uintptr_t)r->banned;
    const struct k_sample_count *counts = (const void *)(uintptr_t)r->counts;
    for (int32_t i = 0; i < r->n_bias; i++) {
        l[bias[i].token] += bias[i].value;
    }
    for (int32_t t = 0; mask && t < vocab; t++) {
        if (!(mask[t / 32] >> (t % 32) & 1)) {
            l[t] = -INFINITY;
        }
    }
    for (int32_t i = 0; i < r->n_banned; i++) {
        l[banned[i]] = -INFINITY;
    }
    for (int32_t i = 0; i < r->n_counts; i++) {
        const int32_t t = counts[i].token, n = counts[i].n_output;
        l[t] = l[t] > 0 ? l[t] / r->repetition : l[t] * r->repetition;
        l[t] -= r->frequency * (float)n + (n > 0 ? r->presence : 0);
    }
}

static bool not_a_number(const float *l, int32_t vocab)
{
    for (int32_t t = 0; t < vocab; t++) {
        if (isnan(l[t]) || l[t] == INFINITY) {
            return true;
        }
    }
    return false;
}

static void rank(const float *l, int32_t vocab, struct ranked *by)
{
    for (int32_t t = 0; t < vocab; t++) {
        by[t] = (struct ranked){l[t], t};
    }
    qsort(by, (size_t)vocab, sizeof *by, by_rank);
}

/* Steps 8 to 11 on ranked tokens; p[] becomes the chance of each. */
static int32_t twin_draw(const struct k_sample_row *r, const struct ranked *by, int32_t vocab,
                         double *p, double *margin)
{
    const int32_t k = r->top_k > 0 && r->top_k < vocab ? r->top_k : vocab;
    double sum = 0, walked = 0, kept = 0;
    for (int32_t i = 0; i < vocab; i++) {
        const double x = ((double)by[i].l - (double)by[0].l) / (double)r->temperature;
        p[by[i].token] = i < k ? exp(x) : 0;
        sum += p[by[i].token];
    }
    for (int32_t i = 0; i < vocab && r->top_p < 1; i++) {
        double *at = &p[by[i].token];
        const double limit = (double)r->top_p * sum;
        if (i > 0) {
            nearer(margin, (walked - limit) / sum);
        }
        const bool keep = i == 0 || walked < limit;
        walked += *at;
        *at = keep ? *at : 0;
    }
    for (int32_t i = 0; i < vocab; i++) {
        double *at = &p[by[i].token];
        if (r->min_p > 0 && *at > 0 && i > 0 && by[i].l != by[0].l) {
            nearer(margin, *at / (double)r->min_p - 1);
        }
        *at = *at < (double)r->min_p ? 0 : *at;
        kept += *at;
    }
    uint32_t x[4];
    oct_rng_philox(r->seed, r->step, 0, x);
    const double u = (double)(((uint64_t)x[1] << 32 | x[0]) >> 12) / 4503599627370496.0;
    int32_t token = -1;
    double running = 0;
    for (int32_t t = 0; t < vocab; t++) {
        p[t] /= kept;
        running += p[t];
        if (p[t] > 0) {
            nearer(margin, running - u);
        }
        if (token < 0 && running > u && p[t] > 0) {
            token = t;
        }
    }
    return token;
}

static struct twin twin_sample(const struct k_sample_row *r, const float *raw, int32_t vocab)
{
    const size_t n = (size_t)vocab;
    struct twin w = {.token = K_SAMPLE_NOT_A_NUMBER, .margin = 1};
    w.p = calloc(n, sizeof *w.p);
    w.logprob = calloc(n, sizeof *w.logprob);
    w.by = malloc(n * sizeof *w.by);
    float *l = malloc(n * sizeof *l);
    struct ranked *by = malloc(n * sizeof *by);
    if (!not_a_number(raw, vocab)) {
        rank(raw, vocab, w.by);
        double sum = 0;
        for (int32_t t = 0; t < vocab; t++) {
            sum += exp((double)raw[t] - (double)w.by[0].l);
        }
        for (int32_t t = 0; t < vocab; t++) {
            w.logprob[t] = (double)raw[t] - (double)w.by[0].l - log(sum);
        }
        memcpy(l, raw, n * sizeof *l);
        twin_edit(r, l, vocab);
        if (!not_a_number(l, vocab)) {
            rank(l, vocab, by);
            if (by[0].l != -INFINITY) {
                w.token = r->given              ? r->given - 1
                          : r->temperature == 0 ? by[0].token
                                                : twin_draw(r, by, vocab, w.p, &w.margin);
            }
        }
    }
    free(l);
    free(by);
    return w;
}

static void twin_drop(struct twin *w)
{
    free(w->p);
    free(w->logprob);
    free(w->by);
}

/* ---- random cases ---- */

struct scene {
    int32_t vocab;
    float *logits;
    struct k_sample_row row;
    struct k_sample_bias bias[8];
    struct k_sample_count counts[8];
    int32_t banned[3];
    uint32_t *mask;
};

enum { N_KINDS = 9 };

static float random_logit(struct rng *rng, int kind)
{
    const float x = rng_normal(rng);
    switch (kind) {
    case 0:
        return x;
    case 1:
        return x * 8;
    case 2:
        return rintf(x * 2) / 2; /* ties everywhere */
    case 3:
        return rng_below(rng, 4) ? -INFINITY : x; /* most impossible */
    case 4:
        return -1.5f; /* all the same */
    case 5:
        return x * 1e37f; /* near the end of fp32 */
    case 6:
        return rng_below(rng, 500) ? x : 15 + x * 3; /* a few stand out */
    case 7:
        return 1 + (float)rng_below(rng, 2048) * 0x1p-23f; /* neighbours in fp32 */
    default:
        return rng_below(rng, 2) ? 0.0f : -0.0f; /* equal, with different bits */
    }
}

static float one_of(struct rng *rng, const float *list, int32_t n)
{
    return list[rng_below(rng, n)];
}
#define ONE_OF(rng, ...) \
    one_of(rng, (const float[]){__VA_ARGS__}, \
           (int32_t)(sizeof(const float[]){__VA_ARGS__} / sizeof(float)))

static struct scene make_scene(uint64_t seed)
{
    static const int32_t vocabs[] = {1, 2, 31, 32, 33, 63, 64, 65, 511, 512, 513, 1000, 5000};
    struct rng rng = {seed * 0x9E3779B97F4A7C15u + 1};
    struct scene s = {.vocab = vocabs[rng_below(&rng, 13)]};
    const int32_t v = s.vocab;
    const int kind = rng_below(&rng, N_KINDS);
    s.logits = malloc((size_t)v * sizeof *s.logits);
    for (int32_t t = 0; t < v; t++) {
        s.logits[t] = random_logit(&rng, kind);
    }
    s.logits[rng_below(&rng, v)] = 0.25f; /* one at least is possible */
    struct k_sample_row *r = &s.row;
    r->seed = rng_u64(&rng);
    r->step = (uint64_t)rng_below(&rng, 1000);
    r->n_top = (int32_t)ONE_OF(&rng, -1, 0, 1, 5, 20);
    r->temperature = ONE_OF(&rng, 0, 1e-40f, 0.01f, 0.8f, 1, 100);
    r->top_p = ONE_OF(&rng, 1, 1, 0.9999f, 0.95f, 0.5f, 0.01f, 1e-12f);
    r->top_k = (int32_t)ONE_OF(&rng, 0, 0, 1, 2, 40, 64, 65, 300, 5000, 100000);
    r->min_p = ONE_OF(&rng, 0, 0, 0.02f, 0.5f, 1);
    r->given = r->temperature == 0 && rng_below(&rng, 2) ? 1 + rng_below(&rng, v) : 0;
    r->repetition = r->frequency = r->presence = 1;
    if (rng_below(&rng, 2)) { /* distinct tokens, as the contract has it */
        const int32_t stride = v / 8 + 1, from = rng_below(&rng, stride);
        r->repetition = ONE_OF(&rng, 1, 1.3f, 0.7f);
        r->frequency = ONE_OF(&rng, 0, 0.5f, -0.5f);
        r->presence = ONE_OF(&rng, 0, 2, -2);
        for (int32_t t = from; t < v; t += stride) {
            s.counts[r->n_counts++] = (struct k_sample_count){t, rng_below(&rng, 4)};
        }
    }
    if (rng_below(&rng, 3) == 0) {
        const int32_t stride = v / 5 + 1;
        for (int32_t t = rng_below(&rng, stride); t < v; t += stride) {
            s.bias[r->n_bias++] = (struct k_sample_bias){t, rng_normal(&rng) * 10};
        }
    }
    if (rng_below(&rng, 3) == 0) {
        r->n_banned = 3;
        for (int i = 0; i < 3; i++) {
            s.banned[i] = rng_below(&rng, v);
        }
    }
    if (rng_below(&rng, 3) == 0) {
        const size_t words = ((size_t)v + 31) / 32;
        s.mask = malloc(words * sizeof *s.mask);
        for (size_t w = 0; w < words; w++) {
            s.mask[w] = rng_below(&rng, 3) ? (uint32_t)rng_u64(&rng) : rng_below(&rng, 2) ? ~0u : 0;
        }
    }
    return s;
}

static void point(struct scene *s) /* after the scene has its final place */
{
    s->row.counts = (k_ptr)s->counts;
    s->row.bias = (k_ptr)s->bias;
    s->row.banned = (k_ptr)s->banned;
    s->row.bitmask = (k_ptr)s->mask;
}

static void drop_scene(struct scene *s)
{
    free(s->logits);
    free(s->mask);
}

enum { MAX_TOP = K_SAMPLE_MAX_TOP };
struct answer {
    struct k_sample_out out;
    struct k_sample_top top[MAX_TOP + 1];
};

static void sample(struct oct_device *d, const struct k_sample_row *rows, int32_t n,
                   const float *logits, int64_t stride, int32_t vocab, struct k_sample_out *out,
                   struct k_sample_top *top, int32_t max_top)
{
    const struct k_sample_args a = {.out = (k_ptr)out,
                                    .top = (k_ptr)top,
                                    .logits = (k_ptr)logits,
                                    .rows = (k_ptr)rows,
                                    .logits_stride = stride,
                                    .n_rows = n,
                                    .vocab = vocab,
                                    .max_top = max_top};
    cr_assert_eq(oct_dev_sample(d, &a), OCT_OK);
    cr_assert_eq(oct_dev_sync(d), OCT_OK);
}

static struct answer sample_one(struct oct_device *d, const struct k_sample_row *row,
                                const float *logits, int32_t vocab)
{
    struct answer a;
    memset(&a, 0x5a, sizeof a);
    float *copy = malloc((size_t)vocab * sizeof *copy); /* the op may overwrite its logits */
    memcpy(copy, logits, (size_t)vocab * sizeof *copy);
    sample(d, row, 1, copy, vocab, vocab, &a.out, a.top, MAX_TOP);
    free(copy);
    return a;
}

/* Logprobs: the sum of up to 5,000 weights errs by 5000 * 2^-35 from their rounding and by some
 * 2^-22 from exp, the result by half an ulp of itself; below 2^-20 + 2^-23 * |logprob|. */
static bool same_logprob(float got, double want)
{
    return isinf(want) ? isinf(got) && got < 0
                       : fabs((double)got - want) <= 0x1p-20 + 0x1p-23 * fabs(want);
}

Test(sample, every_rule_matches_a_slow_twin_in_double, .timeout = 300)
{
    /* A weight's exponent x = (l - max) / T errs by |x| * 3 * 2^-24 and exp by 2^-22; |x| e^x is at
     * most 0.37, so what the decisions compare errs by less than 1e-6 of the sum, and a single
     * weight (min_p >= 0.02, so x > -4) by less than 1e-6 of itself. Nearer calls are not judged;
     * few may be so near. */
    const double judged_from = 2e-6;
    enum { N_SCENES = 4000 };
    for (int level = 0; level < N_LEVELS; level++) {
        struct oct_device *d = open_level(level, 1);
        int n_near = 0, n_drawn = 0, n_refused = 0;
        for (uint64_t seed = 1; d && seed <= N_SCENES; seed++) {
            struct scene s = make_scene(seed);
            point(&s);
            struct twin want = twin_sample(&s.row, s.logits, s.vocab);
            const struct answer got = sample_one(d, &s.row, s.logits, s.vocab);
            const bool drawn = s.row.temperature > 0 && want.token >= 0;
            const bool near = drawn && want.margin < judged_from;
            n_drawn += drawn;
            n_near += near;
            n_refused += want.token < 0;
            if (near) {
                cr_assert(got.out.token >= 0 && got.out.token < s.vocab);
            } else {
                cr_assert_eq(got.out.token, want.token,
                             "%s seed %d vocab %d: token %d, twin %d (T %g k %d p %g min_p %g)",
                             level_names[level], (int)seed, s.vocab, got.out.token, want.token,
                             (double)s.row.temperature, s.row.top_k, (double)s.row.top_p,
                             (double)s.row.min_p);
            }
            if (got.out.token >= 0) {
                const double lp = s.row.n_top < 0 ? 0 : want.logprob[got.out.token];
                cr_assert(same_logprob(got.out.logprob, lp), "seed %d: logprob %.9g, twin %.9g",
                          (int)seed, (double)got.out.logprob, lp);
                for (int32_t i = 0; i < s.row.n_top; i++) {
                    const bool there = i < s.vocab;
                    const int32_t token = there ? want.by[i].token : -1;
                    cr_assert_eq(got.top[i].token, token, "seed %d: top %d is %d, twin %d",
                                 (int)seed, i, got.top[i].token, token);
                    cr_assert(same_logprob(got.top[i].logprob,
                                           there ? want.logprob[token] : -(double)INFINITY),
                              "seed %d: top %d has %.9g", (int)seed, i, (double)got.top[i].logprob);
                }
            }
            /* What was not asked for is not written. */
            struct k_sample_top untouched;
            memset(&untouched, 0x5a, sizeof untouched);
            const int32_t n_written = got.out.token >= 0 && s.row.n_top > 0 ? s.row.n_top : 0;
            cr_assert_arr_eq(&got.top[n_written], &untouched, sizeof untouched, "seed %d",
                             (int)seed);
            twin_drop(&want);
            drop_scene(&s);
        }
        if (d) {
            cr_assert(n_drawn > N_SCENES / 2 && n_refused > 10 && n_near < n_drawn / 50,
                      "%d drawn, %d refused, %d too near to judge", n_drawn, n_refused, n_near);
        }
        oct_dev_close(d);
    }
}

/* ---- rules one by one ---- */

static struct k_sample_row plain_row(void)
{
    return (struct k_sample_row){
        .temperature = 1, .top_p = 1, .repetition = 1, .n_top = 0, .seed = 7};
}

Test(sample, a_row_that_is_not_a_number_is_refused_and_the_others_are_not)
{
    enum { V = 1000, B = 9 };
    struct oct_device *d = open_level((int)oct_simd_level(), 2);
    float *logits = malloc(sizeof(float) * V * B);
    for (int i = 0; i < V * B; i++) {
        logits[i] = (float)(i % 17);
    }
    logits[0 * V + 0] = NAN;
    logits[1 * V + V - 1] = NAN;
    logits[2 * V + 513] = INFINITY;
    logits[3 * V + 999] = -NAN;
    for (int t = 0; t < V; t++) {
        logits[4 * V + t] = -INFINITY;
        logits[8 * V + t] = t == 500 ? 3 : -INFINITY;
    }
    struct k_sample_row rows[B];
    static const uint32_t none[(V + 31) / 32];
    static const int32_t only[] = {500};
    static const struct k_sample_count past = {0, 1};
    for (int b = 0; b < B; b++) {
        rows[b] = plain_row();
        rows[b].temperature = b % 2 ? 0 : 0.5f;
        rows[b].n_top = 2;
    }
    rows[5].bitmask = (k_ptr)none; /* all masked */
    rows[6].counts = (k_ptr)&past; /* a penalty that overflows */
    rows[6].n_counts = 1;
    rows[6].repetition = 1e-30f;
    logits[6 * V] = 1e30f;
    rows[8].banned = (k_ptr)only; /* the last possible token is banned */
    rows[8].n_banned = 1;
    struct k_sample_out out[B];
    struct k_sample_top top[B][2];
    memset(out, 0x5a, sizeof out);
    memset(top, 0x5a, sizeof top);
    sample(d, rows, B, logits, V, V, out, top[0], 2);
    struct k_sample_out untouched;
    memset(&untouched, 0x5a, sizeof untouched);
    for (int b = 0; b < B; b++) {
        if (b == 7) {
            cr_assert_eq(out[b].token, 16 - 7 * V % 17 + 0, "token %d", out[b].token);
            continue;
        }
        cr_assert_eq(out[b].token, K_SAMPLE_NOT_A_NUMBER, "row %d: token %d", b, out[b].token);
        cr_assert_arr_eq(&out[b].logprob, &untouched.logprob, sizeof(float), "row %d", b);
        cr_assert_arr_eq(top[b], &untouched, sizeof untouched, "row %d", b);
    }
    free(logits);
    oct_dev_close(d);
}

Test(sample, equals_are_taken_by_lowest_index)
{
    enum { V = 5000 };
    float logits[V];
    for (int t = 0; t < V; t++) {
        logits[t] = t % 100 == 37 ? 2 : t % 2 ? 0.0f : -0.0f;
    }
    for (int level = 0; level < N_LEVELS; level++) {
        struct oct_device *d = open_level(level, 1);
        if (!d) {
            continue;
        }
        struct k_sample_row r = plain_row();
        r.temperature = 0;
        r.n_top = 20;
        struct answer a = sample_one(d, &r, logits, V);
        cr_assert_eq(a.out.token, 37);
        for (int i = 0; i < 20; i++) {
            cr_assert_eq(a.top[i].token, 37 + 100 * i);
        }
        /* top_k and top_p stop inside a run of equals; everything kept is drawn some time. */
        static const struct {
            int32_t top_k;
            float top_p;
            int32_t n_kept;
        } c[] = {{1, 1, 1}, {3, 1, 3}, {0, 1e-9f, 1}, {45, 0.5f, 23}, {49, 1, 49}, {100, 0.01f, 1}};
        for (size_t i = 0; i < sizeof c / sizeof *c; i++) {
            r = plain_row();
            r.top_k = c[i].top_k;
            r.top_p = c[i].top_p;
            int seen[50] = {0}, n_seen = 0;
            for (uint64_t step = 0; step < 1000; step++) {
                r.step = step;
                a = sample_one(d, &r, logits, V);
                cr_assert_eq(a.out.token % 100, 37, "case %zu: token %d", i, a.out.token);
                cr_assert_lt(a.out.token / 100, c[i].n_kept, "case %zu: token %d", i, a.out.token);
                n_seen += !seen[a.out.token / 100]++;
            }
            cr_assert_eq(n_seen, c[i].n_kept, "case %zu: %d of %d drawn", i, n_seen, c[i].n_kept);
        }
        oct_dev_close(d);
    }
}

/* Chi-square with fixed seeds; the twin above judges single draws, this one the numbers u behind
 * them. For f degrees of freedom the statistic has mean f and variance 2f; chance passes
 * f + 4 sqrt(2f) + 5 about once in 10^4 times. With 20 tokens, a tenth of the draws moved by 12 %
 * is seen: 30000 * 0.1 * 0.12^2 = 43 over a mean of 19 passes 19 + 25 + 5. */
Test(sample, draws_follow_the_distribution, .timeout = 120)
{
    enum { V = 300, N = 30000 };
    static const struct {
        float temperature, top_p, min_p;
        int32_t top_k;
    } c[] = {{1, 1, 0, 0},      {0.7f, 1, 0, 0}, {2, 0.9f, 0, 0},         {1, 1, 0, 20},
             {1, 0.8f, 0, 100}, {1, 1, 0.1f, 0}, {1.5f, 0.9f, 0.05f, 50}, {0.3f, 0.99f, 0, 0}};
    struct oct_device *d = open_level((int)oct_simd_level(), 1);
    struct rng rng = {17};
    float logits[V];
    for (int t = 0; t < V; t++) {
        logits[t] = rng_normal(&rng) * 1.5f;
    }
    for (size_t i = 0; i < sizeof c / sizeof *c; i++) {
        struct k_sample_row r = plain_row();
        r.temperature = c[i].temperature;
        r.top_p = c[i].top_p;
        r.min_p = c[i].min_p;
        r.top_k = c[i].top_k;
        r.n_top = -1;
        r.seed = 1000 + i;
        struct twin want = twin_sample(&r, logits, V);
        int32_t count[V] = {0};
        for (uint64_t step = 0; step < N; step++) {
            r.step = step;
            struct k_sample_out out;
            sample(d, &r, 1, logits, V, V, &out, NULL,
                   0); /* without edits nothing is overwritten */
            count[out.token]++;
        }
        double chi2 = 0, rest = 0;
        int freedom = -1, n_rest = 0;
        for (int t = 0; t < V; t++) {
            const double expected = want.p[t] * N;
            cr_assert(expected > 0 || count[t] == 0, "case %zu: token %d has no chance", i, t);
            if (expected >= 5) {
                chi2 += (count[t] - expected) * (count[t] - expected) / expected;
                freedom++;
            } else { /* the rare ones together */
                rest += expected;
                n_rest += count[t];
            }
        }
        if (rest >= 5) {
            chi2 += (n_rest - rest) * (n_rest - rest) / rest;
            freedom++;
        }
        cr_assert(freedom >= 3, "case %zu: %d", i, freedom);
        cr_assert(chi2 < freedom + 4 * sqrt(2.0 * freedom) + 5, "case %zu: chi2 %g for %d", i, chi2,
                  freedom);
        twin_drop(&want);
    }
    oct_dev_close(d);
}

Test(sample, a_draw_is_a_function_of_seed_and_step)
{
    enum { V = 1024 };
    static float logits[V]; /* equal: the token is the integer part of u * 1024 */
    struct oct_device *d = open_level((int)oct_simd_level(), 1);
    int n_same = 0, last = -1;
    for (uint64_t seed = 0; seed < 40; seed++) {
        for (uint64_t step = 0; step < 40; step++) {
            struct k_sample_row r = plain_row();
            r.seed = seed << 33 | 5;
            r.step = step;
            uint32_t x[4];
            oct_rng_philox(r.seed, step, 0, x);
            const int32_t want = (int32_t)(x[1] >> 22);
            const int32_t got = sample_one(d, &r, logits, V).out.token;
            cr_assert_eq(got, want, "seed %d step %d: %d, not %d", (int)seed, (int)step, got, want);
            n_same += got == last;
            last = got;
        }
    }
    cr_assert_lt(n_same, 10); /* 1.6 expected */
    oct_dev_close(d);
}

Test(sample, weights_are_rounded_to_multiples_of_2_to_the_minus_34)
{
    enum { V = 5000 };
    float logits[V];
    /* exp(-24.5) is below 2^-35 and counts as nothing; exp(-24) is 2^-34.62 and counts as 2^-34. */
    static const struct {
        float l;
        double weight;
    } c[] = {{-24.5f, 0}, {-24.0f, 0x1p-34}};
    for (int level = 0; level < N_LEVELS; level++) {
        struct oct_device *d = open_level(level, 1);
        for (size_t i = 0; d && i < 2; i++) {
            for (int t = 0; t < V; t++) {
                logits[t] = t ? c[i].l : 0;
            }
            struct k_sample_row r = plain_row();
            r.temperature = 0;
            const struct answer a = sample_one(d, &r, logits, V);
            const float want = (float)-log(1 + (V - 1) * c[i].weight);
            cr_assert_eq(a.out.logprob, want, "%s: %.9g, not %.9g", level_names[level],
                         (double)a.out.logprob, (double)want);
        }
        oct_dev_close(d);
    }
}

Test(sample, a_row_has_the_same_bits_alone_in_a_batch_and_with_any_threads, .timeout = 120)
{
    enum { B = 40, V = 1000, STRIDE = 1003 };
    struct scene scenes[B];
    struct k_sample_row rows[B];
    float *logits = malloc(sizeof(float) * B * STRIDE), *copy = malloc(sizeof(float) * B * STRIDE);
    uint64_t seed = 1;
    for (int b = 0; b < B; b++) {
        do {
            scenes[b] = make_scene(seed++);
            if (scenes[b].vocab != V) {
                drop_scene(&scenes[b]);
            }
        } while (scenes[b].vocab != V);
        point(&scenes[b]);
        rows[b] = scenes[b].row;
        memcpy(logits + b * STRIDE, scenes[b].logits, sizeof(float) * V);
        for (int pad = V; pad < STRIDE; pad++) {
            logits[b * STRIDE + pad] = NAN; /* between the rows: nobody's */
        }
    }
    for (int level = 0; level < N_LEVELS; level++) {
        for (int threads = 1; threads <= 3; threads++) {
            struct oct_device *d = open_level(level, threads);
            if (!d) {
                continue;
            }
            struct k_sample_out out[B];
            struct k_sample_top top[B][MAX_TOP];
            memset(out, 0x5a, sizeof out);
            memset(top, 0x5a, sizeof top);
            memcpy(copy, logits, sizeof(float) * B * STRIDE);
            sample(d, rows, B, copy, STRIDE, V, out, top[0], MAX_TOP);
            for (int b = 0; b < B; b++) {
                const struct answer a = sample_one(d, &rows[b], scenes[b].logits, V);
                cr_assert_arr_eq(&a.out, &out[b], sizeof a.out, "%s threads %d row %d",
                                 level_names[level], threads, b);
                cr_assert_arr_eq(a.top, top[b], sizeof top[b], "%s threads %d row %d",
                                 level_names[level], threads, b);
            }
            oct_dev_close(d);
        }
    }
    for (int b = 0; b < B; b++) {
        drop_scene(&scenes[b]);
    }
    free(logits);
    free(copy);
}

Test(sample, nothing_is_allocated_once_the_vocabulary_has_been_seen)
{
    enum { V = 49152 };
    struct oct_device *d = open_level((int)oct_simd_level(), 2);
    float *logits = malloc(sizeof(float) * V);
    struct rng rng = {23};
    for (int t = 0; t < V; t++) {
        logits[t] = rng_normal(&rng);
    }
    struct k_sample_row r = plain_row();
    r.temperature = 0; /* the first call is the simplest one */
    struct k_sample_out out;
    sample(d, &r, 1, logits, V, V, &out, NULL, 0);
    const uint64_t before = oct_mem_stats().n_allocs;
    r = plain_row();
    r.top_p = 0.9f;
    r.top_k = 30000;
    r.min_p = 0.01f;
    static const int32_t banned[] = {3};
    r.banned = (k_ptr)banned;
    r.n_banned = 1;
    for (r.step = 0; r.step < 10; r.step++) {
        sample(d, &r, 1, logits, V, V, &out, NULL, 0);
        cr_assert(out.token >= 0);
    }
    cr_assert_eq(oct_mem_stats().n_allocs, before);
    free(logits);
    oct_dev_close(d);
}
