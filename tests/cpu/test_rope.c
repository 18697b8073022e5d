/* SPDX-License-Identifier: Apache-2.0 */
#include "cpu/cache.h"

enum { MAX_POS = 300 };

/* One call's operands: rows of three sequences, neither in order of sequence nor of position. */
struct scene {
    int32_t rows, heads, kv_heads, dim, rot, dtype;
    bool norm;
    int64_t stride;
    int32_t *positions, *seqs;
    float *cos_sin;
    char *qkv, *q_norm, *k_norm;
    struct cache cache;
};
enum { N_SEQS = 3 };

static struct scene make(int32_t rows, int32_t heads, int32_t kv_heads, int32_t dim, int32_t rot,
                         int32_t dtype, bool norm)
{
    struct rng rng = {(uint64_t)(rows * 1000 + dim)};
    struct scene s = {.rows = rows,
                      .heads = heads,
                      .kv_heads = kv_heads,
                      .dim = dim,
                      .rot = rot,
                      .dtype = dtype,
                      .norm = norm};
    s.stride = (int64_t)(heads + 2 * kv_heads) * dim + 5;
    s.cache = cache_make(N_SEQS, MAX_POS, kv_heads, dim, dtype, 11);
    s.positions = malloc((size_t)rows * sizeof(int32_t));
    s.seqs = malloc((size_t)rows * sizeof(int32_t));
    s.qkv = nans(rows * s.stride, dtype);
    for (int32_t t = 0; t < rows; t++) { /* 67 and 300 have no common divisor: no slot twice */
        s.seqs[t] = t % N_SEQS;
        s.positions[t] = t / N_SEQS * 67 % MAX_POS;
        cache_map(&s.cache, s.seqs[t], s.positions[t]);
        for (int64_t i = 0; i < s.stride - 5; i++) {
            put(s.qkv, t * s.stride + i, 3 * rng_normal(&rng), dtype);
        }
    }
    s.cos_sin = malloc(MAX_POS * (size_t)rot * sizeof(float));
    for (int32_t p = 0; p < MAX_POS; p++) {
        for (int32_t i = 0; i < rot / 2; i++) {
            const double angle = p * pow(10000, -2.0 * i / rot);
            s.cos_sin[p * rot + i] = (float)cos(angle);
            s.cos_sin[p * rot + rot / 2 + i] = (float)sin(angle);
        }
    }
    s.q_norm = nans(dim, dtype);
    s.k_norm = nans(dim, dtype);
    for (int32_t i = 0; i < dim; i++) {
        put(s.q_norm, i, 1 + 0.3f * rng_normal(&rng), dtype);
        put(s.k_norm, i, 2 + 0.3f * rng_normal(&rng), dtype);
    }
    return s;
}

static void drop(struct scene *s)
{
    cache_drop(&s->cache);
    free(s->positions);
    free(s->seqs);
    free(s->cos_sin);
    free(s->qkv);
    free(s->q_norm);
    free(s->k_norm);
}

/* Rows [from, from + n), with qkv taken from (and changed in) `qkv`. */
static void run(struct oct_device *d, const struct scene *s, char *qkv, int32_t from, int32_t n)
{
    const struct k_rope_kv_args a = {
        .qkv = addr(qkv + from * s->stride * k_dtype_bytes(s->dtype)),
        .q_norm = s->norm ? addr(s->q_norm) : 0,
        .k_norm = s->norm ? addr(s->k_norm) : 0,
        .cos_sin = addr(s->cos_sin),
        .positions = addr(s->positions + from),
        .row_seq = addr(s->seqs + from),
        .kv = s->cache.kv,
        .qkv_stride = s->stride,
        .rows = n,
        .n_heads = s->heads,
        .rot_dim = s->rot,
        .max_positions = MAX_POS,
        .eps = 1e-5f,
    };
    cr_assert_eq(oct_dev_rope_kv(d, &a), OCT_OK, "%s", oct_last_error());
}

/* Head `src` normed and rotated, in double with the contract's roundings. */
static void twin(const struct scene *s, const void *src, int64_t first, const void *norm,
                 const float *cos_sin, double *out)
{
    double squares = 0;
    for (int32_t i = 0; i < s->dim; i++) {
        out[i] = (double)get(src, first + i, s->dtype);
        squares += out[i] * out[i];
    }
    for (int32_t i = 0; norm && i < s->dim; i++) {
        const float x = (float)(out[i] / sqrt(squares / s->dim + 1e-5));
        const float w = oct_round_to(x, s->dtype) * get(norm, i, s->dtype);
        out[i] = (double)oct_round_to(w, s->dtype);
    }
    for (int32_t i = 0; i < s->rot / 2; i++) {
        const double c = (double)cos_sin[i], n = (double)cos_sin[s->rot / 2 + i];
        const double a = out[i], b = out[i + s->rot / 2];
        out[i] = a * c - b * n;
        out[i + s->rot / 2] = b * c + a * n;
    }
}

/* The sum of squares may be off by (D + 3) * 2^-24, so the normed value by half that and a few
 * roundings more; that may tip each of its two roundings to dtype over to the next number (one ulp
 * each), and the rotation mixes two such values. At the end one rounding more. */
static double bound(const struct scene *s, double size)
{
    const double fp32 = (s->dim + 16) * 0x1p-24, ulp = 2 * half_ulp(s->dtype);
    return size * ((s->norm ? fp32 + 2 * ulp : 0x1p-22) + ulp / 2 * 1.01);
}

static void compare(const struct scene *s, const char *before, const char *name)
{
    double want[512];
    for (int32_t t = 0; t < s->rows; t++) {
        for (int32_t h = 0; h < s->heads + s->kv_heads; h++) {
            const bool key = h >= s->heads;
            twin(s, before, t * s->stride + (int64_t)h * s->dim,
                 !s->norm ? NULL
                 : key    ? s->k_norm
                          : s->q_norm,
                 s->cos_sin + s->positions[t] * s->rot, want);
            const void *got =
                key ? cache_at(&s->cache, s->seqs[t], s->positions[t], h - s->heads, false)
                    : s->qkv;
            for (int32_t i = 0; i < s->dim; i++) {
                const int32_t half = s->rot / 2;
                const int32_t partner = i < half ? i + half : i < s->rot ? i - half : i;
                const double x =
                    (double)get(got, key ? i : t * s->stride + (int64_t)h * s->dim + i, s->dtype);
                const double most = bound(s, fabs(want[i]) + fabs(want[partner]));
                cr_assert(fabs(x - want[i]) <= most,
                          "%s D=%d R=%d dtype %d: row %d head %d [%d] is %.9g, not %.9g (+- %.2g)",
                          name, s->dim, s->rot, s->dtype, t, h, i, x, want[i], most);
            }
        }
        for (int32_t g = 0; g < s->kv_heads; g++) {
            const int64_t es = k_dtype_bytes(s->dtype);
            const int64_t at = t * s->stride + (s->heads + s->kv_heads + g) * s->dim;
            cr_assert(memcmp(cache_at(&s->cache, s->seqs[t], s->positions[t], g, true),
                             before + at * es, (size_t)(s->dim * es)) == 0,
                      "%s D=%d: value of row %d head %d", name, s->dim, t, g);
        }
    }
}

/* As many slots hold a number as rows were written, in this layer and no other. */
static void count_slots(const struct scene *s, const char *name)
{
    const int64_t n = s->cache.n_pages * s->cache.kv.page_stride;
    int64_t written = 0;
    for (int64_t i = 0; i < n; i++) {
        written += !isnan(get(s->cache.pool, i, s->dtype));
    }
    cr_assert_eq(written, (int64_t)s->rows * 2 * s->kv_heads * s->dim, "%s: %lld elements", name,
                 (long long)written);
}

static const struct {
    int32_t rows, heads, kv_heads, dim, rot;
} shapes[] = {{1, 1, 1, 2, 2},     {7, 2, 1, 16, 16}, {13, 3, 3, 24, 24}, {40, 9, 3, 64, 64},
              {5, 4, 2, 80, 32},   {9, 8, 1, 96, 96}, {6, 2, 2, 128, 64}, {200, 4, 1, 128, 128},
              {3, 2, 1, 256, 256}, {8, 1, 1, 20, 6}};

static char *copy(const struct scene *s)
{
    const size_t bytes = (size_t)(s->rows * s->stride * k_dtype_bytes(s->dtype));
    char *p = malloc(bytes);
    memcpy(p, s->qkv, bytes);
    return p;
}

Test(rope, agrees_with_the_formula_in_double)
{
    for (int v = 0; v < N_VARIANTS; v++) {
        struct oct_device *d = open_variant(v, 2);
        for (size_t i = 0; d && i < sizeof shapes / sizeof *shapes; i++) {
            for (int kind = 0; kind < 4; kind++) {
                struct scene s =
                    make(shapes[i].rows, shapes[i].heads, shapes[i].kv_heads, shapes[i].dim,
                         shapes[i].rot, kind < 2 ? K_BF16 : K_F32, kind % 2);
                char *before = copy(&s);
                run(d, &s, s.qkv, 0, s.rows);
                compare(&s, before, variants[v].name);
                count_slots(&s, variants[v].name);
                free(before);
                drop(&s);
            }
        }
        oct_dev_close(d);
    }
}

Test(rope, a_row_has_the_same_bits_alone_and_on_any_thread_count)
{
    for (int v = 0; v < N_VARIANTS; v++) {
        struct scene s = make(200, 4, 2, 80, 64, K_BF16, true);
        char *before = copy(&s), *alone = copy(&s);
        const int64_t row = s.stride * 2, q = (int64_t)s.heads * s.dim * 2;
        const size_t pool = (size_t)(s.cache.n_pages * s.cache.kv.page_stride * 2);
        char *pool_alone = malloc(pool);
        struct oct_device *d = open_variant(v, 1);
        for (int32_t t = 0; d && t < s.rows; t++) {
            run(d, &s, alone, t, 1);
        }
        const bool can = d != NULL;
        oct_dev_close(d);
        memcpy(pool_alone, s.cache.pool, pool);
        for (int threads = 1; can && threads <= 3; threads++) {
            struct oct_device *many = open_variant(v, threads);
            memset(s.cache.pool, 0xff, pool);
            memcpy(s.qkv, before, (size_t)(s.rows * row));
            run(many, &s, s.qkv, 0, s.rows);
            oct_dev_close(many);
            for (int32_t t = 0; t < s.rows; t++) {
                cr_assert(memcmp(s.qkv + t * row, alone + t * row, (size_t)q) == 0,
                          "%s: queries of row %d on %d threads", variants[v].name, t, threads);
            }
            cr_assert(memcmp(s.cache.pool, pool_alone, pool) == 0, "%s: cache on %d threads",
                      variants[v].name, threads);
        }
        free(before);
        free(alone);
        free(pool_alone);
        drop(&s);
    }
}
