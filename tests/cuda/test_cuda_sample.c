/* SPDX-License-Identifier: Apache-2.0
 *
 * The kernels of sampling against the CPU backend: the same tokens and the same logprobs, bit for
 * bit. Weights are integers made by the same operations on both sides, so that sums agree in any
 * order; a logprob is a difference in double, rounded to fp32 once. */
#include "cpu/levels.h"
#include "cuda/kernel_test.h"

#include <math.h>
#include <string.h>

enum { MAX_TOP = K_SAMPLE_MAX_TOP, N_KINDS = 10 };

/* The CPU backend fuses where the machine can; without FMA its weights have other bits. */
static struct oct_device *oracle(void)
{
    struct oct_device *d = open_level(OCT_SIMD_V3, 1);
    if (!d) {
        cr_skip_test("the oracle's exp() has the kernels' bits on machines with FMA only");
    }
    return d;
}

static float random_logit(struct rng *rng, int kind, int32_t t)
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
    case 8: /* two levels, each of near-equals: one bucket holds more than the list */
        return t % 7 ? (float)rng_below(rng, 64) * 0x1p-22f : 20;
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

/* A batch on the host, and where its parts lie on the device. */
struct batch {
    int32_t n_rows, vocab;
    int64_t stride;
    float *logits;
    struct k_sample_row *rows, *device_rows;
    struct k_sample_out *want, *got;
    struct k_sample_top *want_top, *got_top;
    void *lists[4096]; /* to free */
    k_ptr copies[4096];
    int32_t n_lists;
};

/* A list on the host and its copy on the device; offset past 16 bytes now and then. */
static void put_list(struct batch *b, const void *list, size_t bytes, k_ptr *host, k_ptr *device)
{
    void *copy = malloc(bytes);
    memcpy(copy, list, bytes);
    *host = (k_ptr)(uintptr_t)copy;
    *device = kt_put(copy, bytes);
    cr_assert_lt(b->n_lists, 4096);
    b->lists[b->n_lists] = copy;
    b->copies[b->n_lists++] = *device;
}

static void make_lists(struct rng *rng, struct batch *b, int32_t i)
{
    struct k_sample_row *h = &b->rows[i], *d = &b->device_rows[i];
    const int32_t v = b->vocab;
    if (rng_below(rng, 2)) { /* distinct tokens, as the contract has it */
        struct k_sample_count counts[600];
        const int32_t stride = v / 600 + 1 + rng_below(rng, v / 8 + 1);
        for (int32_t t = rng_below(rng, stride); t < v; t += stride) {
            counts[h->n_counts++] = (struct k_sample_count){t, rng_below(rng, 4)};
        }
        h->repetition = ONE_OF(rng, 1, 1.3f, 0.7f);
        h->frequency = ONE_OF(rng, 0, 0.5f, -0.5f);
        h->presence = ONE_OF(rng, 0, 2, -2);
        put_list(b, counts, (size_t)h->n_counts * sizeof *counts, &h->counts, &d->counts);
    }
    if (rng_below(rng, 3) == 0) {
        struct k_sample_bias bias[300];
        const int32_t stride = v / 300 + 1 + rng_below(rng, v / 4 + 1);
        for (int32_t t = rng_below(rng, stride); t < v; t += stride) {
            bias[h->n_bias++] = (struct k_sample_bias){t, rng_normal(rng) * 10};
        }
        put_list(b, bias, (size_t)h->n_bias * sizeof *bias, &h->bias, &d->bias);
    }
    if (rng_below(rng, 3) == 0) {
        int32_t banned[3];
        for (int j = 0; j < 3; j++) {
            banned[j] = rng_below(rng, v);
        }
        h->n_banned = 3;
        put_list(b, banned, sizeof banned, &h->banned, &d->banned);
    }
    if (rng_below(rng, 3) == 0) {
        const size_t words = ((size_t)v + 31) / 32;
        uint32_t *mask = malloc(words * sizeof *mask);
        for (size_t w = 0; w < words; w++) {
            mask[w] = rng_below(rng, 3) ? (uint32_t)rng_u64(rng) : rng_below(rng, 2) ? ~0u : 0;
        }
        put_list(b, mask, words * sizeof *mask, &h->bitmask, &d->bitmask);
        free(mask);
    }
}

static struct batch *make_batch(uint64_t seed, int32_t n_rows, int32_t vocab, int32_t padding)
{
    struct rng rng = {seed * 0x9E3779B97F4A7C15u + 1};
    struct batch *b = calloc(1, sizeof *b);
    b->n_rows = n_rows;
    b->vocab = vocab;
    b->stride = vocab + padding;
    const size_t n = (size_t)n_rows;
    b->logits = malloc(n * (size_t)b->stride * sizeof(float));
    memset(b->logits, 0xff, n * (size_t)b->stride * sizeof(float)); /* NaN between the rows */
    b->rows = calloc(n, sizeof *b->rows);
    b->device_rows = calloc(n, sizeof *b->rows);
    b->want = malloc(n * sizeof *b->want);
    b->got = malloc(n * sizeof *b->got);
    b->want_top = malloc(n * MAX_TOP * sizeof *b->want_top);
    b->got_top = malloc(n * MAX_TOP * sizeof *b->got_top);
    memset(b->want, 0x5a, n * sizeof *b->want);
    memset(b->want_top, 0x5a, n * MAX_TOP * sizeof *b->want_top);
    for (int32_t i = 0; i < n_rows; i++) {
        struct k_sample_row *r = &b->rows[i];
        float *l = b->logits + i * b->stride;
        const int kind = rng_below(&rng, N_KINDS);
        for (int32_t t = 0; t < vocab; t++) {
            l[t] = random_logit(&rng, kind, t);
        }
        l[rng_below(&rng, vocab)] = 0.25f; /* one at least is possible */
        if (rng_below(&rng, 40) == 0) {
            l[rng_below(&rng, vocab)] = ONE_OF(&rng, NAN, -NAN, INFINITY);
        }
        r->seed = rng_u64(&rng);
        r->step = rng_u64(&rng) >> rng_below(&rng, 64);
        r->n_top = (int32_t)ONE_OF(&rng, -1, -1, 0, 1, 5, 20);
        r->temperature = ONE_OF(&rng, 0, 1e-40f, 0.01f, 0.8f, 1, 1, 100);
        r->top_p = ONE_OF(&rng, 1, 1, 0.9999f, 0.95f, 0.5f, 0.01f, 1e-12f);
        r->top_k = (int32_t)ONE_OF(&rng, 0, 0, 1, 2, 40, 64, 65, 300, 5000, 100000);
        r->min_p = ONE_OF(&rng, 0, 0, 1e-5f, 0.02f, 0.5f, 1);
        r->given = r->temperature == 0 && rng_below(&rng, 2) ? 1 + rng_below(&rng, vocab) : 0;
        r->repetition = r->frequency = r->presence = 1;
        make_lists(&rng, b, i);
        const struct k_sample_row lists = b->device_rows[i];
        b->device_rows[i] = *r;
        b->device_rows[i].counts = lists.counts;
        b->device_rows[i].bias = lists.bias;
        b->device_rows[i].banned = lists.banned;
        b->device_rows[i].bitmask = lists.bitmask;
    }
    return b;
}

static void drop_batch(struct batch *b)
{
    for (int32_t i = 0; i < b->n_lists; i++) {
        free(b->lists[i]);
        kt_free(b->copies[i]);
    }
    free(b->logits);
    free(b->rows);
    free(b->device_rows);
    free(b->want);
    free(b->got);
    free(b->want_top);
    free(b->got_top);
    free(b);
}

static void run_oracle(struct oct_device *d, struct batch *b)
{
    const size_t bytes = (size_t)b->n_rows * (size_t)b->stride * sizeof(float);
    float *copy = malloc(bytes); /* the op may overwrite its logits */
    memcpy(copy, b->logits, bytes);
    const struct k_sample_args a = {.out = (k_ptr)(uintptr_t)b->want,
                                    .top = (k_ptr)(uintptr_t)b->want_top,
                                    .logits = (k_ptr)(uintptr_t)copy,
                                    .rows = (k_ptr)(uintptr_t)b->rows,
                                    .logits_stride = b->stride,
                                    .n_rows = b->n_rows,
                                    .vocab = b->vocab,
                                    .max_top = MAX_TOP};
    cr_assert_eq(oct_dev_sample(d, &a), OCT_OK);
    cr_assert_eq(oct_dev_sync(d), OCT_OK);
    free(copy);
}

/* Rows first .. first + n - 1 of the batch on the device, into got, as planned for a device of
 * those facts. Returns the length of the stretches. */
static int32_t run_planned(struct batch *b, int32_t first, int32_t n, const struct k_facts *f,
                           const struct k_work *w)
{
    const size_t floats = (size_t)n * (size_t)b->stride, rows = (size_t)n;
    const size_t top_bytes = rows * MAX_TOP * sizeof *b->got_top;
    struct k_sample_out *got = b->got + first;
    struct k_sample_top *top = b->got_top + (size_t)first * MAX_TOP;
    memset(got, 0x5a, rows * sizeof *got);
    memset(top, 0x5a, top_bytes);
    const struct k_sample_args a = {
        .out = kt_put(got, rows * sizeof *got),
        .top = kt_put(top, top_bytes),
        .logits = kt_put(b->logits + first * b->stride, floats * sizeof(float)),
        .rows = kt_put(b->device_rows + first, rows * sizeof *b->rows),
        .logits_stride = b->stride,
        .n_rows = n,
        .vocab = b->vocab,
        .max_top = MAX_TOP};
    struct k_launch launches[K_MAX_LAUNCHES];
    const int n_launches = k_plan_sample(f, w, &a, launches);
    cr_assert_eq(n_launches, 3);
    kt_launch(launches, n_launches);
    kt_get(got, a.out, rows * sizeof *got);
    kt_get(top, a.top, top_bytes);
    kt_free(a.out);
    kt_free(a.top);
    kt_free(a.logits);
    kt_free(a.rows);
    return (int32_t)(launches[0].smem_bytes / sizeof(float));
}

static void run_kernels(struct batch *b, int32_t first, int32_t n)
{
    const struct k_work w = kt_work();
    (void)run_planned(b, first, n, kt_facts(), &w);
}

/* Equal but for the sign of zero. */
static bool same(float a, float b)
{
    return memcmp(&a, &b, sizeof a) == 0 || a == b;
}

static void compare(const struct batch *b, const char *what)
{
    for (int32_t i = 0; i < b->n_rows; i++) {
        const struct k_sample_row *r = &b->rows[i];
        cr_assert_eq(b->got[i].token, b->want[i].token,
                     "%s, row %d of vocab %d: token %d, oracle %d (T %g k %d p %g min_p %g)", what,
                     i, b->vocab, b->got[i].token, b->want[i].token, (double)r->temperature,
                     r->top_k, (double)r->top_p, (double)r->min_p);
        cr_assert(same(b->got[i].logprob, b->want[i].logprob),
                  "%s, row %d of vocab %d: logprob %.9g, oracle %.9g", what, i, b->vocab,
                  (double)b->got[i].logprob, (double)b->want[i].logprob);
        for (int32_t j = 0; j < MAX_TOP; j++) { /* with what was not asked for and is untouched */
            const struct k_sample_top *g = &b->got_top[i * MAX_TOP + j],
                                      *w = &b->want_top[i * MAX_TOP + j];
            cr_assert(g->token == w->token && same(g->logprob, w->logprob),
                      "%s, row %d of vocab %d: top %d is %d %.9g, oracle %d %.9g", what, i,
                      b->vocab, j, g->token, (double)g->logprob, w->token, (double)w->logprob);
        }
    }
}

#if defined(__SANITIZE_ADDRESS__)
enum { ROUNDS = 1, MUCH = 8000 };
#else
enum { ROUNDS = 2, MUCH = 30000 };
#endif

static void match(const char *arch, uint64_t seed)
{
    static const struct {
        int32_t vocab, padding;
    } shapes[] = {{1, 0},   {2, 2},   {31, 1},   {32, 0},   {33, 7},   {65, 3},
                  {511, 1}, {512, 0}, {513, 11}, {1000, 0}, {3001, 3}, {300, 4}};
    struct oct_device *d = oracle();
    kt_open(arch, seed);
    for (int round = 0; round < ROUNDS; round++) {
        for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
            const int32_t v = shapes[i].vocab;
            const int32_t rows = MUCH / (v + 200);
            struct batch *b =
                make_batch(seed * 1000 + (uint64_t)round * 100 + i, rows, v, shapes[i].padding);
            kt_seed(seed + (uint64_t)round);
            run_oracle(d, b);
            run_kernels(b, 0, b->n_rows);
            compare(b, arch);
            drop_batch(b);
        }
    }
    oct_dev_close(d);
}

Test(sample, thousands_of_rows_as_the_cpu_backend_has_them_a100, .timeout = 300)
{
    match("a100", 1);
}

Test(sample, thousands_of_rows_as_the_cpu_backend_has_them_h100, .timeout = 300)
{
    match("h100", 2);
}

/* Long rows, cut into stretches of each length there is (more multiprocessors, shorter stretches);
 * and rows alone, which are cut otherwise than in their batch. */
static void match_long(const char *arch, uint64_t seed)
{
    struct oct_device *d = oracle();
    kt_open(arch, seed);
    struct batch *b = make_batch(seed + 7, 5, 17003, 1);
    run_oracle(d, b);
    for (int32_t n_sms = 1; n_sms <= 9; n_sms += 4) {
        struct k_facts f = *kt_facts();
        const struct k_work w = kt_work();
        f.n_sms = n_sms;
        const int32_t stretch = run_planned(b, 0, b->n_rows, &f, &w);
        cr_assert_eq(stretch, n_sms == 1 ? 8192 : n_sms == 5 ? 4096 : 2048, "%d", stretch);
        compare(b, arch);
    }
    for (int32_t i = 0; i < b->n_rows; i++) {
        run_kernels(b, i, 1);
    }
    compare(b, "alone");
    drop_batch(b);
    oct_dev_close(d);
}

Test(sample, long_rows_however_they_are_cut_a100, .timeout = 300)
{
    match_long("a100", 3);
}

Test(sample, long_rows_however_they_are_cut_h100, .timeout = 300)
{
    match_long("h100", 4);
}

/* Rows in which many tokens weigh nearly the same, with a border among them: lists that lie in
 * shared memory, that come there in parts, that are longer than there is room for, and of which one
 * block alone has too many. */
static void match_lists(const char *arch, uint64_t seed)
{
    enum { VOCAB = 20003, ASKS = 3 };
    /* of all tokens; and of those of the first block, which has more than it may list */
    static const int32_t percent[] = {1, 8, 30, 45, 60, 75};
    struct oct_device *d = oracle();
    kt_open(arch, seed);
    struct batch *b = make_batch(seed, ASKS * sizeof percent / sizeof *percent, VOCAB, 1);
    struct rng rng = {seed};
    for (int32_t i = 0; i < b->n_rows; i++) {
        struct k_sample_row *r = &b->rows[i];
        float *l = b->logits + i * b->stride;
        int32_t n = 0;
        for (int32_t t = 0; t < VOCAB; t++) {
            const bool near =
                rng_below(&rng, 100) < percent[i / ASKS] && (i / ASKS < 5 || t < 2048);
            l[t] = near ? -2 - (float)rng_below(&rng, 4096) * 0x1p-22f : -15 + rng_normal(&rng);
            n += near;
        }
        l[rng_below(&rng, VOCAB)] = 0;
        *r = (struct k_sample_row){.seed = r->seed, .n_top = 1, .temperature = 1, .repetition = 1};
        r->top_k = i % ASKS == 0 ? n / 2 : i % ASKS == 1 ? 0 : n * 3 / 4;
        r->top_p = i % ASKS == 0 ? 1 : 0.6f;
        r->min_p = i % ASKS == 1 ? 0 : 0.13525f; /* drops some of them: exp(-2) is 0.13534 */
        b->device_rows[i] = *r;
    }
    run_oracle(d, b);
    run_kernels(b, 0, b->n_rows);
    compare(b, arch);
    drop_batch(b);
    oct_dev_close(d);
}

Test(sample, however_many_tokens_lie_at_the_border, .timeout = 300)
{
    match_lists("a100", 5);
}

/* Borders as good as between two buckets: top_p is, but for 2^-14 to 2^-25 of it, the share of one
 * to three equal tokens before one to three less likely ones. The buckets' weights are known within
 * 2^-15; the token drawn says which side was right. */
static void match_edges(const char *arch, uint64_t seed)
{
    enum { VOCAB = 96, ROWS = 600, SPREAD = 31 };
    struct oct_device *d = oracle();
    kt_open(arch, seed);
    struct batch *b = make_batch(seed, ROWS, VOCAB, 0);
    struct rng rng = {seed};
    for (int32_t i = 0; i < ROWS; i++) {
        struct k_sample_row *r = &b->rows[i];
        float *l = b->logits + i * b->stride;
        const int32_t n = 1 + i % 3, n_less = 1 + i / 3 % 3, from = rng_below(&rng, SPREAD);
        const float less = -0.05f - (float)rng_below(&rng, 3000) * 1e-3f;
        for (int32_t t = 0; t < VOCAB; t++) {
            l[t] = -60; /* weighs nothing */
        }
        for (int32_t k = 0; k < n + n_less; k++) { /* 31 and 96 have no divisor in common */
            l[(from + SPREAD * k) % VOCAB] = k < n ? 0 : less;
        }
        *r = (struct k_sample_row){.seed = r->seed, .n_top = 1, .temperature = 1, .repetition = 1};
        const double share = n / (n + n_less * exp((double)less));
        const double off = ldexp(rng_below(&rng, 2) ? 1 : -1, -14 - rng_below(&rng, 12));
        r->top_p = (float)(share * (1 + off));
        b->device_rows[i] = *r;
    }
    run_oracle(d, b);
    run_kernels(b, 0, b->n_rows);
    compare(b, arch);
    drop_batch(b);
    oct_dev_close(d);
}

Test(sample, borders_between_buckets_are_on_the_right_side, .timeout = 300)
{
    match_edges("h100", 9);
}

/* The workspace that an engine reserves is enough for every batch within its limits, and just. */
Test(sample, work_bytes_are_what_the_plan_asks_for)
{
    static const struct k_facts facts[] = {K_FACTS_A100, K_FACTS_H100};
    static const int32_t vocabs[] = {1, 300, 49152, 151936, 1 << 19};
    for (size_t i = 0; i < 10; i++) {
        const struct k_facts *f = &facts[i % 2];
        const struct k_limits l = {.max_seqs = 300, .vocab = vocabs[i / 2]};
        const uint64_t bytes = K_WORK_TICKET_BYTES + k_sample_work_bytes(f, &l);
        struct k_launch out[K_MAX_LAUNCHES];
        int n_tight = 0;
        for (int32_t rows = 1; rows <= l.max_seqs; rows++) {
            const struct k_sample_args a = {
                .logits_stride = l.vocab, .n_rows = rows, .vocab = l.vocab};
            const struct k_work whole = {1 << 20, bytes}, less = {1 << 20, bytes - 1};
            cr_assert_eq(k_plan_sample(f, &whole, &a, out), 3, "%d rows of %d", rows, l.vocab);
            n_tight += k_plan_sample(f, &less, &a, out) == 0;
        }
        cr_assert_gt(n_tight, 0, "vocab %d: %llu bytes are never needed", l.vocab,
                     (unsigned long long)bytes);
        const struct k_sample_args long_rows = {.n_rows = 1, .vocab = (1 << 19) + 1};
        cr_assert_eq(k_plan_sample(f, &(struct k_work){1 << 20, 1u << 30}, &long_rows, out), 0);
    }
}
