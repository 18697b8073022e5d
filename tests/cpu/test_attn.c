/* SPDX-License-Identifier: Apache-2.0 */
#include "cpu/cache.h"

#include "base/mem.h"

/* Sequences whose queries, keys and values are functions of (seq, position, head, d) alone, so that
 * any batch of their rows can be laid out, and any row be asked for again. */
struct model {
    int32_t heads, kv_heads, dim, window, dtype;
    float softcap;
    bool sinks;
};

static float number(uint64_t kind, int32_t seq, int32_t pos, int32_t head, int32_t d)
{
    struct rng rng = {(kind << 60) ^ ((uint64_t)seq << 50) ^ ((uint64_t)pos << 24) ^
                      ((uint64_t)head << 12) ^ (uint64_t)d ^ 0x9E3779B97F4A7C15u};
    (void)rng_u64(&rng);
    (void)rng_u64(&rng);
    /* Uniform with variance 1: cheaper than a normal one, and these are millions. */
    return (float)((rng_uniform(&rng) - 0.5) * 3.4641016);
}
enum { QUERY = 1, KEY, VALUE };

struct row {
    int32_t seq, pos;
};

/* A batch: its rows, the cache with what they see and no more, and the result. */
struct batch {
    const struct model *m;
    int32_t n;
    const struct row *rows;
    int32_t *positions, *seqs;
    int64_t q_stride;
    char *q, *out;
    struct cache cache;
};
enum { GUARD = 32 };

/* Sinks around the scores' size, one far above and one far below all of them. */
static float sink_of(int32_t head)
{
    return head % 4 == 2 ? 120.0f : head % 4 == 3 ? -200.0f : 0.75f * (float)(head % 8) - 2.0f;
}

static int32_t first_key(const struct model *m, int32_t pos)
{
    return m->window && pos >= m->window ? pos - m->window + 1 : 0;
}

static void write_slot(struct batch *b, int32_t seq, int32_t pos)
{
    const struct model *m = b->m;
    cache_map(&b->cache, seq, pos);
    for (int32_t g = 0; g < m->kv_heads; g++) {
        void *k = cache_at(&b->cache, seq, pos, g, false);
        void *v = cache_at(&b->cache, seq, pos, g, true);
        for (int32_t d = 0; d < m->dim; d++) {
            put(k, d, number(KEY, seq, pos, g, d), m->dtype);
            put(v, d, number(VALUE, seq, pos, g, d), m->dtype);
        }
    }
}

static struct batch make(const struct model *m, const struct row *rows, int32_t n)
{
    struct batch b = {.m = m, .n = n, .rows = rows};
    int32_t n_seqs = 0, last = 0;
    for (int32_t t = 0; t < n; t++) {
        n_seqs = rows[t].seq >= n_seqs ? rows[t].seq + 1 : n_seqs;
        last = rows[t].pos > last ? rows[t].pos : last;
    }
    b.cache = cache_make(n_seqs, last + 1, m->kv_heads, m->dim, m->dtype, 1 + (uint64_t)n);
    b.positions = malloc((size_t)n * sizeof(int32_t));
    b.seqs = malloc((size_t)n * sizeof(int32_t));
    b.q_stride = (m->heads + 2 * m->kv_heads) * (int64_t)m->dim + 3;
    b.q = nans(n * b.q_stride, m->dtype);
    const int64_t width = (int64_t)m->heads * m->dim;
    b.out = nans(n * width + 2 * GUARD, m->dtype);
    for (int32_t t = 0, written = -1; t < n; t++) {
        const struct row r = rows[t];
        b.positions[t] = r.pos;
        b.seqs[t] = r.seq;
        written = t > 0 && rows[t - 1].seq == r.seq ? written : -1;
        const int32_t first = first_key(m, r.pos);
        for (int32_t p = first > written ? first : written + 1; p <= r.pos; p++) {
            write_slot(&b, r.seq, p);
        }
        written = r.pos;
        for (int32_t h = 0; h < m->heads; h++) {
            for (int32_t d = 0; d < m->dim; d++) {
                put(b.q, t * b.q_stride + h * m->dim + d, number(QUERY, r.seq, r.pos, h, d),
                    m->dtype);
            }
        }
    }
    return b;
}

static void drop(struct batch *b)
{
    cache_drop(&b->cache);
    free(b->positions);
    free(b->seqs);
    free(b->q);
    free(b->out);
}

static char *out_row(const struct batch *b, int32_t t)
{
    return b->out + (GUARD + (int64_t)t * b->m->heads * b->m->dim) * k_dtype_bytes(b->m->dtype);
}

static void run(struct oct_device *d, const struct batch *b)
{
    float sinks[128];
    for (int32_t h = 0; h < b->m->heads; h++) {
        sinks[h] = sink_of(h);
    }
    const struct k_attn_args a = {
        .out = addr(out_row(b, 0)),
        .q = addr(b->q),
        .positions = addr(b->positions),
        .row_seq = addr(b->seqs),
        .kv = b->cache.kv,
        .q_stride = b->q_stride,
        .out_stride = (int64_t)b->m->heads * b->m->dim,
        .rows = b->n,
        .n_heads = b->m->heads,
        .window = b->m->window,
        .scale = 1 / sqrtf((float)b->m->dim),
        .softcap = b->m->softcap,
        .sinks = b->m->sinks ? addr(sinks) : 0,
    };
    cr_assert_eq(oct_dev_attn(d, &a), OCT_OK, "%s", oct_last_error());
}

/* One head of one row in double, against what the op wrote. What the op may be off:
 *   a score      D products and sums in fp32, (D + 2) * 2^-24 * sum |q k| * scale, =: e; the score
 *                itself and its distance to the maximum are rounded: 3 * 2^-24 * (|s| + |max|)
 *   a weight     exp turns the error of its argument into a relative one; exp itself 2 ulp, 2^-22;
 *                a correction and a rescaling for each tile and split, 2^-22 each
 *   sums         one rounding for each key in each of the two sums, 2^-24 each
 *   a soft cap   does not enlarge what the score is off, and adds 2^-22 of the cap itself
 *   a sink       one exponential and one rescaling more: within the three borders below; beside
 *                a large one the weights are too small for fp32, 2^-126
 * All of them relative to sum p |v|, numerator and denominator alike, hence twice. Then one
 * rounding to dtype. */
static void compare_head(const struct batch *b, int32_t t, int32_t h, const char *name)
{
    const struct model *m = b->m;
    const struct row r = b->rows[t];
    const int32_t first = first_key(m, r.pos), g = h / (m->heads / m->kv_heads);
    const double scale = (double)(1 / sqrtf((float)m->dim));
    const double cap = (double)m->softcap;
    static double s[4096];
    double max = -INFINITY, most = 0, off = 0, sum = 0;
    for (int32_t p = first; p <= r.pos; p++) {
        const void *k = cache_at(&b->cache, r.seq, p, g, false);
        double dot = 0, size = 0;
        for (int32_t d = 0; d < m->dim; d++) {
            const double x = (double)get(b->q, t * b->q_stride + h * m->dim + d, m->dtype) *
                             (double)get(k, d, m->dtype);
            dot += x;
            size += fabs(x);
        }
        s[p - first] = dot * scale;
        max = fmax(max, dot * scale);
        most = fmax(most, fabs(dot * scale));
        off = fmax(off, size * scale);
        if (m->softcap > 0) {
            s[p - first] = cap * tanh(dot * scale / cap);
        }
    }
    max = m->softcap > 0 ? cap * tanh(max / cap) : max;
    const double sink = m->sinks ? (double)sink_of(h) : -INFINITY;
    max = fmax(max, sink);
    sum = exp(sink - max);
    most = m->sinks ? fmax(most, fabs(sink)) : most;
    for (int32_t p = first; p <= r.pos; p++) {
        s[p - first] = exp(s[p - first] - max);
        sum += s[p - first];
    }
    const int32_t n = r.pos - first + 1;
    const double rel = 2 * ((m->dim + 2) * 0x1p-24 * off + 6 * 0x1p-24 * most + cap * 0x1p-22 +
                            (n / K_PAGE_TOKENS + 3) * 0x1p-22 + n * 0x1p-24);
    for (int32_t d = 0; d < m->dim; d++) {
        double want = 0, size = 0;
        for (int32_t p = first; p <= r.pos; p++) {
            const double v = (double)get(cache_at(&b->cache, r.seq, p, g, true), d, m->dtype);
            want += s[p - first] / sum * v;
            size += s[p - first] / sum * fabs(v);
        }
        const double got = (double)get(out_row(b, t), h * m->dim + d, m->dtype);
        const double bound = rel * size + (fabs(want) + rel * size) * half_ulp(m->dtype) + 0x1p-126;
        cr_assert(fabs(got - want) <= bound,
                  "%s H=%d G=%d D=%d window %d dtype %d: row %d (seq %d pos %d) head %d [%d] is "
                  "%.9g, not %.9g (+- %.3g)",
                  name, m->heads, m->kv_heads, m->dim, m->window, m->dtype, t, r.seq, r.pos, h, d,
                  got, want, bound);
    }
}

static void compare(const struct batch *b, const char *name)
{
    for (int32_t t = 0; t < b->n; t++) {
        for (int32_t h = 0; h < b->m->heads; h++) {
            compare_head(b, t, h, name);
        }
    }
    const int64_t width = (int64_t)b->n * b->m->heads * b->m->dim;
    for (int64_t i = 0; i < GUARD; i++) {
        cr_assert(isnan(get(b->out, i, b->m->dtype)), "%s: wrote before out", name);
        cr_assert(isnan(get(b->out, GUARD + width + i, b->m->dtype)), "%s: wrote behind out", name);
    }
}

/* Appends n rows of `seq` from position `pos` on. */
static int32_t add(struct row *rows, int32_t at, int32_t seq, int32_t pos, int32_t n)
{
    for (int32_t i = 0; i < n; i++) {
        rows[at + i] = (struct row){seq, pos + i};
    }
    return at + n;
}

/* Two prefill chunks, decode rows, a chunk that starts in the middle of a page, rows of one
 * sequence with a gap. Sequences are numbered as the engine may: in no order. */
static int32_t mixed(struct row *rows)
{
    int32_t n = add(rows, 0, 3, 0, 37);
    n = add(rows, n, 0, 63, 1);
    n = add(rows, n, 4, 64, 1);
    n = add(rows, n, 1, 100, 30);
    n = add(rows, n, 5, 0, 1);
    n = add(rows, n, 2, 130, 1);
    n = add(rows, n, 2, 190, 3);
    n = add(rows, n, 2, 400, 1); /* with a window: pages between that nobody sees */
    return n;
}

static const struct model models[] = {
    {1, 1, 16, 0, K_BF16, 0, false},    {2, 1, 24, 0, K_BF16, 0, false},
    {9, 3, 64, 0, K_BF16, 0, false},    {4, 4, 80, 0, K_F32, 0, false},
    {6, 2, 96, 64, K_BF16, 0, false},   {4, 1, 128, 63, K_BF16, 0, false},
    {5, 1, 64, 1, K_BF16, 0, false},    {6, 1, 32, 65, K_F32, 0, false},
    {7, 1, 48, 1000, K_BF16, 0, false}, {8, 1, 256, 0, K_BF16, 0, false},
    {16, 2, 20, 33, K_BF16, 0, false},  {2, 2, 7, 0, K_BF16, 0, false},
    {3, 1, 100, 2, K_F32, 0, false},    {1, 1, 1, 0, K_BF16, 0, false},
    {128, 1, 16, 0, K_BF16, 0, false},  {4, 2, 64, 0, K_BF16, 2, true},
    {4, 1, 96, 65, K_BF16, 0, true},    {4, 4, 24, 0, K_F32, 0.5f, false},
    {4, 4, 32, 1, K_F32, 50, true},
};
enum { N_MODELS = sizeof models / sizeof *models };

Test(attn, agrees_with_a_plain_softmax_in_double)
{
    struct row rows[100];
    const int32_t n = mixed(rows);
    for (int i = 0; i < N_MODELS; i++) {
        for (int v = 0; v < N_VARIANTS; v++) {
            struct oct_device *d = open_variant(v, 2);
            if (d) {
                struct batch b = make(&models[i], rows, n);
                run(d, &b);
                compare(&b, variants[v].name);
                drop(&b);
            }
            oct_dev_close(d);
        }
    }
}

/* Past the first and the second split of 1,024 tokens, and on their borders. */
Test(attn, agrees_beyond_the_borders_of_splits)
{
    static const struct model deep[] = {{3, 1, 32, 0, K_BF16, 1, true},
                                        {2, 2, 16, 1000, K_BF16, 0, false},
                                        {2, 1, 24, 1100, K_F32, 0, false}};
    static const struct row rows[] = {{0, 1022}, {0, 1023}, {0, 1024}, {0, 1025}, {0, 2047},
                                      {0, 2048}, {0, 2100}, {1, 2047}, {2, 3071}, {2, 3072}};
    const int32_t n = sizeof rows / sizeof *rows;
    for (int i = 0; i < 3; i++) {
        struct batch b = make(&deep[i], rows, n);
        struct batch one = make(&deep[i], rows + n - 1, 1);
        for (int v = 0; v < N_VARIANTS; v++) {
            for (int threads = 1; threads <= 3; threads += 2) {
                struct oct_device *d = open_variant(v, threads);
                if (d) {
                    run(d, &b);
                    compare(&b, variants[v].name);
                    run(d, &one);
                    compare(&one, variants[v].name);
                }
                oct_dev_close(d);
            }
        }
        drop(&b);
        drop(&one);
    }
}

static void expect_row(const struct batch *b, int32_t t, const char *want, const char *name,
                       const char *how, int threads)
{
    const size_t bytes = (size_t)((int64_t)b->m->heads * b->m->dim * k_dtype_bytes(b->m->dtype));
    cr_assert(memcmp(out_row(b, t), want, bytes) == 0,
              "%s D=%d window %d: seq %d pos %d has other bits %s, %d threads, %d rows", name,
              b->m->dim, b->m->window, b->rows[t].seq, b->rows[t].pos, how, threads, b->n);
}

Test(attn, a_row_has_the_same_bits_alone_and_in_a_mixed_batch)
{
    struct row rows[100];
    const int32_t n = mixed(rows);
    for (int i = 0; i < N_MODELS; i++) {
        for (int v = 0; v < N_VARIANTS; v++) {
            struct batch all = make(&models[i], rows, n);
            for (int threads = 1; threads <= 3; threads++) {
                struct oct_device *d = open_variant(v, threads);
                if (d) {
                    run(d, &all);
                    for (int32_t t = 0; t < n; t += threads) {
                        struct batch one = make(&models[i], rows + t, 1);
                        run(d, &one);
                        expect_row(&one, 0, out_row(&all, t), variants[v].name, "alone", threads);
                        drop(&one);
                    }
                }
                oct_dev_close(d);
            }
            drop(&all);
        }
    }
}

/* One sequence of 200 tokens, prefilled in chunks of any size: chunk 1 is decoding. */
Test(attn, the_chunk_size_does_not_move_bits)
{
    enum { LEN = 200 };
    static const struct model some[] = {{3, 1, 64, 0, K_BF16, 0, false},
                                        {4, 2, 24, 65, K_BF16, 0, false},
                                        {2, 1, 16, 63, K_F32, 0, false}};
    struct row rows[LEN];
    (void)add(rows, 0, 0, 0, LEN);
    for (int i = 0; i < 3; i++) {
        struct batch all = make(&some[i], rows, LEN);
        const size_t bytes =
            (size_t)((int64_t)LEN * some[i].heads * some[i].dim * k_dtype_bytes(some[i].dtype));
        for (int v = 0; v < N_VARIANTS; v++) {
            char *want = NULL;
            for (int threads = 1; threads <= 3; threads++) {
                struct oct_device *d = open_variant(v, threads);
                if (!d) {
                    break;
                }
                if (!want) {
                    run(d, &all);
                    want = malloc(bytes);
                    memcpy(want, out_row(&all, 0), bytes);
                }
                for (int32_t chunk = threads; chunk <= 130; chunk += threads) {
                    memset(out_row(&all, 0), 0xff, bytes);
                    for (int32_t at = 0; at < LEN; at += chunk) {
                        struct batch part = all; /* the same cache, some of the rows */
                        part.n = LEN - at < chunk ? LEN - at : chunk;
                        part.positions += at;
                        part.seqs += at;
                        part.q += at * all.q_stride * k_dtype_bytes(some[i].dtype);
                        part.out = out_row(&all, at) - GUARD * k_dtype_bytes(some[i].dtype);
                        run(d, &part);
                    }
                    for (int32_t t = 0; t < LEN; t++) {
                        expect_row(&all, t, want + (size_t)t * bytes / LEN, variants[v].name,
                                   "in chunks", threads * 1000 + chunk);
                    }
                }
                oct_dev_close(d);
            }
            free(want);
        }
        drop(&all);
    }
}

/* 70 rows around two borders of splits at once, and each of them alone on 1 to 3 threads: whole
 * blocks and single splits with a merge give the same bits. */
Test(attn, splits_done_apart_give_the_same_bits)
{
    static const struct model some[] = {{3, 1, 64, 0, K_BF16, 0, false},
                                        {2, 1, 24, 1500, K_BF16, 0, false},
                                        {2, 2, 16, 0, K_F32, 0, false}};
    struct row rows[70];
    (void)add(rows, 0, 0, 2010, 70);
    for (int i = 0; i < 3; i++) {
        struct batch all = make(&some[i], rows, 70);
        struct batch part[70];
        for (int32_t t = 0; t < 70; t += 7) {
            part[t] = make(&some[i], rows + t, 1);
        }
        for (int v = 0; v < N_VARIANTS; v++) {
            for (int threads = 1; threads <= 3; threads++) {
                struct oct_device *d = open_variant(v, threads);
                if (d && threads == 1) {
                    run(d, &all);
                }
                for (int32_t t = 0; d && t < 70; t += 7) {
                    run(d, &part[t]);
                    expect_row(&part[t], 0, out_row(&all, t), variants[v].name, "alone", threads);
                }
                oct_dev_close(d);
            }
        }
        for (int32_t t = 0; t < 70; t += 7) {
            drop(&part[t]);
        }
        drop(&all);
    }
}

/* A later row of the same chunk whose key and value are NaN: earlier rows must not notice. */
Test(attn, a_broken_later_row_does_not_reach_earlier_ones)
{
    const struct model m = {4, 2, 64, 0, K_BF16, 0, false};
    struct row rows[90];
    (void)add(rows, 0, 0, 20, 90);
    for (int v = 0; v < N_VARIANTS; v++) {
        struct oct_device *d = open_variant(v, 2);
        if (!d) {
            continue;
        }
        struct batch good = make(&m, rows, 90), bad = make(&m, rows, 90);
        for (int32_t g = 0; g < m.kv_heads; g++) {
            memset(cache_at(&bad.cache, 0, 75, g, false), 0xff, (size_t)m.dim * 2);
            memset(cache_at(&bad.cache, 0, 75, g, true), 0xff, (size_t)m.dim * 2);
        }
        run(d, &good);
        run(d, &bad);
        for (int32_t t = 0; t < 90; t++) {
            if (rows[t].pos < 75) {
                expect_row(&bad, t, out_row(&good, t), variants[v].name, "beside a NaN", 2);
            } else {
                cr_assert(isnan(get(out_row(&bad, t), 0, m.dtype)), "%s: row %d hides the NaN",
                          variants[v].name, t);
            }
        }
        drop(&good);
        drop(&bad);
        oct_dev_close(d);
    }
}

Test(attn, a_step_allocates_nothing_after_the_first)
{
    struct row rows[100];
    const int32_t n = mixed(rows);
    struct oct_device *d = NULL;
    cr_assert_eq(oct_cpu_open(2, &d), OCT_OK);
    struct batch b = make(&models[2], rows, n);
    run(d, &b);
    const uint64_t before = oct_mem_stats().n_allocs;
    for (int i = 0; i < 10; i++) {
        run(d, &b);
    }
    cr_assert_eq(oct_mem_stats().n_allocs, before);
    drop(&b);
    oct_dev_close(d);
}
