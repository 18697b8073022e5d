/* SPDX-License-Identifier: Apache-2.0
 *
 * sample.c - sampling (cuda/sample.h). Whole-row passes are in sample_simd.c; here are the edits of
 * single logits, the search for the border of top-k and top-p, and the draw.
 *
 * The border is found without sorting the vocabulary: by a radix descent on the bits of the logits,
 * which looks closer and closer at the one bucket in which the count or the mass is reached. Masses
 * are exact (sample_simd.h), so that a bucket's sum is what walking its tokens would have given. */
#include "base/rng.h"
#include "cpu/cpu_ops.h"
#include "cpu/sample_simd.h"

#include <math.h>

enum {
    N_BUCKETS = 2048, /* 11 bits a level, the last one 10 */
    MAX_SMALL_K = 64, /* top-k up to here: a sorted list of k is quicker than buckets */
};

struct bucket {
    double mass;
    uint32_t n;
};

/* What one thread works with, cut from its scratch. */
struct work {
    float *edited;         /* [vocab] the row after bias, masks and penalties */
    float *w;              /* [vocab] weights */
    double *block;         /* [vocab / OCT_SAMPLE_BLOCK] sums of w */
    int32_t *near;         /* [vocab] tokens of the bucket looked at, ascending */
    struct bucket *bucket; /* [N_BUCKETS] */
};

static size_t align64(size_t bytes)
{
    return (bytes + 63) & ~(size_t)63;
}

static size_t work_bytes(int32_t vocab)
{
    const size_t v = (size_t)vocab;
    return 3 * align64(v * 4) + align64((v / OCT_SAMPLE_BLOCK + 1) * sizeof(double)) +
           N_BUCKETS * sizeof(struct bucket);
}

static struct work cut_work(char *p, int32_t vocab)
{
    const size_t v = (size_t)vocab;
    struct work k;
    k.edited = (void *)p;
    p += align64(v * sizeof *k.edited);
    k.w = (void *)p;
    p += align64(v * sizeof *k.w);
    k.near = (void *)p;
    p += align64(v * sizeof *k.near);
    k.block = (void *)p;
    p += align64((v / OCT_SAMPLE_BLOCK + 1) * sizeof *k.block);
    k.bucket = (void *)p;
    return k;
}

/* ---- steps 2 to 6: edits ---- */

static bool has_penalties(const struct k_sample_row *r)
{
    return r->n_counts > 0 && (r->repetition != 1 || r->frequency != 0 || r->presence != 0);
}

static bool has_edits(const struct k_sample_row *r)
{
    return r->n_bias > 0 || r->bitmask || r->n_banned > 0 || has_penalties(r);
}

static void edit(const struct oct_cpu *d, const struct k_sample_row *r, float *l, int32_t vocab)
{
    const struct k_sample_bias *bias = oct_host_ptr(r->bias);
    for (int32_t i = 0; i < r->n_bias; i++) {
        l[bias[i].token] += bias[i].value;
    }
    if (r->bitmask) {
        OCT_SIMD_PICK(d->simd, oct_simd_sample_mask)(l, vocab, oct_host_ptr(r->bitmask));
    }
    const int32_t *banned = oct_host_ptr(r->banned);
    for (int32_t i = 0; i < r->n_banned; i++) {
        l[banned[i]] = -INFINITY;
    }
    if (has_penalties(r)) {
        const struct k_sample_count *counts = oct_host_ptr(r->counts);
        for (int32_t i = 0; i < r->n_counts; i++) {
            float *at = &l[counts[i].token];
            const int32_t n = counts[i].n_output;
            *at = *at > 0 ? *at / r->repetition : *at * r->repetition;
            *at -= r->frequency * (float)n + (n > 0 ? r->presence : 0.0f);
        }
    }
}

/* ---- steps 8 and 9: the border ---- */

/* Larger floats have larger keys; -0 has the key of +0. Not for NaN. */
static uint32_t key_of(float f)
{
    const float positive_zero = f + 0.0f;
    uint32_t u;
    memcpy(&u, &positive_zero, sizeof u);
    return u >> 31 ? ~u : u | 0x80000000u;
}

/* Where to stop, walking down from the largest logit: at the first token at which both `count`
 * tokens and `mass` of weight are reached. */
struct limit {
    int64_t count;
    double mass;
};

/* The last token kept: everything larger is kept, and of its equals those up to its index. */
struct border {
    float value;
    int32_t last;
};

/* Walks buckets down from the largest. The bucket in which the limit is reached, with what lies
 * above it taken off the limit; -1 if it never is. */
static int find_bucket(const struct bucket *bucket, struct limit *limit, struct limit *above)
{
    for (int b = N_BUCKETS - 1; b >= 0; b--) {
        if (bucket[b].n == 0) {
            continue;
        }
        if (above->count + bucket[b].n >= limit->count &&
            above->mass + bucket[b].mass >= limit->mass) {
            return b;
        }
        above->count += bucket[b].n;
        above->mass += bucket[b].mass;
    }
    return -1;
}

/* The border of the k largest. */
static struct border small_border(const struct oct_cpu *d, const float *l, int32_t vocab, int32_t k)
{
    int32_t token[MAX_SMALL_K];
    float value[MAX_SMALL_K];
    const int32_t n = OCT_SIMD_PICK(d->simd, oct_simd_sample_top)(l, vocab, k, token, value);
    return (struct border){value[n - 1], token[n - 1]};
}

/* Finds the border among the tokens with w >= least. False: all of them are needed. */
static bool find_border(const struct work *k, const float *l, int32_t vocab, float least,
                        struct limit limit, struct border *out)
{
    static const struct {
        int shift, bits;
    } level[] = {{21, 11}, {10, 11}, {0, 10}};
    struct limit above = {0, 0};
    int32_t n = 0;
    for (int32_t t = 0; t < vocab; t++) {
        k->near[n] = t;
        n += k->w[t] >= least;
    }
    for (int i = 0; i < 3; i++) {
        const uint32_t mask = (1u << level[i].bits) - 1;
        memset(k->bucket, 0, N_BUCKETS * sizeof *k->bucket);
        for (int32_t j = 0; j < n; j++) {
            const uint32_t digit = key_of(l[k->near[j]]) >> level[i].shift & mask;
            struct bucket *b = &k->bucket[digit];
            b->mass += (double)k->w[k->near[j]];
            b->n++;
        }
        const int found = find_bucket(k->bucket, &limit, &above);
        if (found < 0) {
            return false;
        }
        int32_t n_inside = 0;
        for (int32_t j = 0; j < n; j++) {
            const int32_t t = k->near[j];
            k->near[n_inside] = t;
            n_inside += (key_of(l[t]) >> level[i].shift & mask) == (uint32_t)found;
        }
        n = n_inside;
    }
    /* What is left are equals, in ascending index. */
    int32_t j = 0;
    do {
        above.count++;
        above.mass += (double)k->w[k->near[j++]];
    } while (j < n && (above.count < limit.count || above.mass < limit.mass));
    *out = (struct border){l[k->near[j - 1]], k->near[j - 1]};
    return true;
}

/* ---- steps 7 to 11 ---- */

/* [0, 1), a multiple of 2^-52, so that u * total rounds to something below total. */
static double uniform(uint64_t seed, uint64_t step)
{
    uint32_t x[4];
    oct_rng_philox(seed, step, 0, x);
    return (double)((x[0] | (uint64_t)x[1] << 32) >> 12) * 0x1p-52;
}

/* The first token whose running sum exceeds target, which is below the sum of all. (Past 2^19
 * tokens of about equal weight, sums could round: the last token bounds the walk.) */
static int32_t walk(const struct work *k, int32_t vocab, double target)
{
    double sum = 0;
    int32_t b = 0;
    for (; !(sum + k->block[b] > target); b++) {
        sum += k->block[b];
    }
    int32_t t = b * OCT_SAMPLE_BLOCK;
    for (; t + 1 < vocab && !(sum + (double)k->w[t] > target); t++) {
        sum += (double)k->w[t];
    }
    return t;
}

static int32_t draw(const struct oct_cpu *d, const struct k_sample_row *r, const float *l,
                    int32_t vocab, float max, const struct work *k)
{
    const float least_positive = 0x1p-34f;
    /* 1 / temperature may overflow, but 0 * scale has to stay 0. */
    const float scale = fminf(1.0f / r->temperature, 0x1.fffffep127f);
    double total =
        OCT_SIMD_PICK(d->simd, oct_simd_sample_weights)(l, vocab, max, scale, k->w, k->block);
    struct border border;
    if (r->top_k > 0 && r->top_k < vocab) {
        const struct limit limit = {r->top_k, 0};
        bool found = r->top_k <= MAX_SMALL_K;
        if (found) {
            border = small_border(d, l, vocab, r->top_k);
        } else {
            found = find_border(k, l, vocab, least_positive, limit, &border);
        }
        if (found) {
            total = OCT_SIMD_PICK(d->simd, oct_simd_sample_keep)(l, vocab, border.value,
                                                                 border.last, 0, k->w, k->block);
        }
    }
    if (r->top_p < 1) {
        const struct limit limit = {1, (double)r->top_p * total};
        /* All that is lighter than this weighs less than what top_p leaves out, so the border is
         * above it. The 0.99 covers roundings, and that exp() need not be monotonic in its last
         * bit. */
        const double light = 0.99 * (total - limit.mass) / vocab;
        const float least = light > 0x1p-34 ? (float)light : least_positive;
        if (find_border(k, l, vocab, least, limit, &border)) {
            total = OCT_SIMD_PICK(d->simd, oct_simd_sample_keep)(l, vocab, border.value,
                                                                 border.last, 0, k->w, k->block);
        }
    }
    if (r->min_p > 0) {
        total = OCT_SIMD_PICK(d->simd, oct_simd_sample_keep)(l, vocab, -INFINITY, vocab, r->min_p,
                                                             k->w, k->block);
    }
    return walk(k, vocab, uniform(r->seed, r->step) * total);
}

/* ---- a row ---- */

static void sample_row(const struct oct_cpu *d, const struct k_sample_args *a, int64_t b,
                       char *scratch)
{
    const struct k_sample_row *r = (const struct k_sample_row *)oct_host_ptr(a->rows) + b;
    const float *raw = (const float *)oct_host_ptr(a->logits) + b * a->logits_stride;
    struct k_sample_out *out = (struct k_sample_out *)oct_host_ptr(a->out) + b;
    const int32_t vocab = a->vocab;
    const struct work k = cut_work(scratch, vocab);

    out->token = K_SAMPLE_NOT_A_NUMBER;
    bool bad;
    const float raw_max = OCT_SIMD_PICK(d->simd, oct_simd_sample_max)(raw, vocab, &bad);
    if (bad) {
        return;
    }
    const float *l = raw;
    float max = raw_max;
    if (has_edits(r)) {
        /* On a copy: the logprob of the token, known at the end, is that of the raw logit. */
        memcpy(k.edited, raw, (size_t)vocab * sizeof *raw);
        edit(d, r, k.edited, vocab);
        l = k.edited;
        max = OCT_SIMD_PICK(d->simd, oct_simd_sample_max)(l, vocab, &bad);
    }
    if (bad || max == -INFINITY) {
        return;
    }
    if (r->given) {
        out->token = r->given - 1;
    } else if (r->temperature == 0) {
        out->token = OCT_SIMD_PICK(d->simd, oct_simd_sample_find)(l, vocab, max);
    } else {
        out->token = draw(d, r, l, vocab, max, &k);
    }
    out->logprob = 0;
    if (r->n_top < 0) {
        return;
    }
    const double log_sum =
        log(OCT_SIMD_PICK(d->simd, oct_simd_sample_weights)(raw, vocab, raw_max, 1, k.w, k.block));
    out->logprob = (float)((double)raw[out->token] - (double)raw_max - log_sum);
    if (r->n_top > 0) {
        int32_t token[K_SAMPLE_MAX_TOP];
        float value[K_SAMPLE_MAX_TOP];
        struct k_sample_top *top = (struct k_sample_top *)oct_host_ptr(a->top) + b * a->max_top;
        const int32_t n =
            OCT_SIMD_PICK(d->simd, oct_simd_sample_top)(raw, vocab, r->n_top, token, value);
        for (int32_t i = 0; i < r->n_top; i++) {
            top[i].token = i < n ? token[i] : -1;
            top[i].logprob =
                i < n ? (float)((double)value[i] - (double)raw_max - log_sum) : -INFINITY;
        }
    }
}

struct op {
    const struct oct_cpu *d;
    const struct k_sample_args *a;
};

static void rows(void *arg, int64_t begin, int64_t end, int thread)
{
    const struct op *o = arg;
    for (int64_t b = begin; b < end; b++) {
        sample_row(o->d, o->a, b, oct_cpu_scratch(o->d, thread));
    }
}

oct_status oct_cpu_sample(struct oct_cpu *d, const struct k_sample_args *a)
{
    OCT_TRY(oct_cpu_scratch_reserve(d, work_bytes(a->vocab)));
    /* Rows differ in what they ask for: one at a time. */
    oct_pool_run(d->dev.pool, d->n_threads, a->n_rows, 1, rows, &(struct op){d, a});
    return OCT_OK;
}
