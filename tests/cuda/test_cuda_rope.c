/* SPDX-License-Identifier: Apache-2.0
 *
 * QK-norm, rotation and the writing of keys and values against the CPU. Pages have numbers near
 * 2^31 and lie in shuffled places; page table entries that nobody should read point nowhere;
 * elements between rows were never written, which the virtual GPU's checker would tell. */
#include "cpu/cache.h"
#include "cuda/elementwise_test.h"

#include <stdio.h>

enum { MAX_POS = 300, N_SEQS = 3, PAD = 16, FIRST_PAGE = 2147000000 };

static const struct {
    int32_t rows, heads, kv_heads, dim, rot;
    const char *kernel;
} shapes[] = {
    {1, 1, 1, 2, 2, "rope_kv_b16_any"},
    {7, 2, 1, 16, 16, "rope_kv_b16_d64"},
    {13, 3, 3, 24, 24, "rope_kv_b16_any"},
    {5, 4, 2, 18, 18, "rope_kv_b16_any"},
    {8, 1, 1, 20, 6, "rope_kv_b16_any"},
    {6, 2, 1, 21, 10, "rope_kv_b16_any"},
    {40, 9, 3, 64, 64, "rope_kv_b16_d64"},
    {5, 4, 2, 80, 32, "rope_kv_b16_d128"},
    {9, 8, 1, 96, 96, "rope_kv_b16_d128"},
    {4, 5, 2, 72, 72, "rope_kv_b16_any"},
    {6, 2, 2, 128, 64, "rope_kv_b16_d128"},
    {SANITIZED ? 5 : 60, 32, 8, 128, 128, "rope_kv_b16_d128"},
    {3, 2, 1, 256, 256, "rope_kv_b16_d256"},
    {2, 3, 1, 250, 250, "rope_kv_b16_any"},
    {2, 7, 3, 160, 48, "rope_kv_b16_d256"},
};

struct scene {
    int32_t rows, heads, kv_heads, dim, rot, norms;
    int64_t stride, width; /* width: elements of a row that mean something */
    int32_t *positions, *seqs;
    float *cos_sin;
    uint16_t *qkv, *q_norm, *k_norm;
    struct cache cache;
};

/* norms: bit 0 for queries, bit 1 for keys. */
static struct scene make(size_t i, int32_t norms)
{
    struct rng rng = {(uint64_t)(shapes[i].rows * 1000 + shapes[i].dim)};
    struct scene s = {.rows = shapes[i].rows,
                      .heads = shapes[i].heads,
                      .kv_heads = shapes[i].kv_heads,
                      .dim = shapes[i].dim,
                      .rot = shapes[i].rot,
                      .norms = norms};
    s.width = (int64_t)(s.heads + 2 * s.kv_heads) * s.dim;
    s.stride = k_row_stride(s.width) + PAD;
    s.cache = cache_make(N_SEQS, MAX_POS, s.kv_heads, s.dim, K_BF16, 11);
    s.positions = malloc((size_t)s.rows * sizeof(int32_t));
    s.seqs = malloc((size_t)s.rows * sizeof(int32_t));
    s.qkv = nans(s.rows * s.stride, K_BF16);
    for (int32_t t = 0; t < s.rows; t++) { /* 67 and 300 have no common divisor: no slot twice */
        s.seqs[t] = t % N_SEQS;
        s.positions[t] = (t / N_SEQS + 1) * 67 % MAX_POS;
        cache_map(&s.cache, s.seqs[t], s.positions[t]);
        for (int64_t e = 0; e < s.width; e++) {
            put(s.qkv, t * s.stride + e, 3 * rng_normal(&rng), K_BF16);
        }
    }
    s.cos_sin = malloc(MAX_POS * (size_t)s.rot * sizeof(float));
    for (int32_t p = 0; p < MAX_POS; p++) {
        for (int32_t e = 0; e < s.rot / 2; e++) {
            const double angle = p * pow(10000, -2.0 * e / s.rot);
            s.cos_sin[p * s.rot + e] = (float)cos(angle);
            s.cos_sin[p * s.rot + s.rot / 2 + e] = (float)sin(angle);
        }
    }
    s.q_norm = normal_bf16(&rng, s.dim, 1, 0.3f);
    s.k_norm = normal_bf16(&rng, s.dim, 2, 0.3f);
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

static struct k_rope_kv_args numbers(const struct scene *s)
{
    return (struct k_rope_kv_args){
        .kv = s->cache.kv,
        .qkv_stride = s->stride,
        .rows = s->rows,
        .n_heads = s->heads,
        .rot_dim = s->rot,
        .max_positions = MAX_POS,
        .eps = 1e-5f,
    };
}

/* What the CPU makes of a copy of qkv, and of the scene's cache. */
static uint16_t *run_oracle(struct oct_device *d, const struct scene *s)
{
    uint16_t *qkv = malloc((size_t)(s->rows * s->stride) * 2);
    memcpy(qkv, s->qkv, (size_t)(s->rows * s->stride) * 2);
    struct k_rope_kv_args a = numbers(s);
    a.qkv = host(qkv);
    a.q_norm = s->norms & 1 ? host(s->q_norm) : 0;
    a.k_norm = s->norms & 2 ? host(s->k_norm) : 0;
    a.cos_sin = host(s->cos_sin);
    a.positions = host(s->positions);
    a.row_seq = host(s->seqs);
    cr_assert_eq(oct_dev_rope_kv(d, &a), OCT_OK, "%s", oct_last_error());
    return qkv;
}

/* The scene in device memory. */
struct copy {
    struct k_rope_kv_args a;
    k_ptr pool;
    size_t pool_bytes;
    int32_t *table;
};

static struct copy put_scene(const struct scene *s)
{
    const struct k_paging *kv = &s->cache.kv;
    const size_t n_table = (size_t)(N_SEQS * kv->table_stride), ints = (size_t)s->rows * 4;
    struct copy c = {.a = numbers(s),
                     .pool_bytes = (size_t)(s->cache.n_pages * kv->page_stride) * 2,
                     .table = malloc(n_table * sizeof(int32_t))};
    for (size_t i = 0; i < n_table; i++) { /* traps stay what they are: far outside */
        const int32_t page = s->cache.table[i];
        c.table[i] = cache_is_trap(page) ? page : page + FIRST_PAGE;
    }
    c.pool = kt_room(c.pool_bytes);
    c.a.kv.pool = c.pool - (k_ptr)FIRST_PAGE * (k_ptr)kv->page_stride * 2;
    c.a.kv.page_table = kt_put(c.table, n_table * sizeof(int32_t));
    c.a.qkv = kt_room((size_t)(s->rows * s->stride) * 2);
    c.a.q_norm = s->norms & 1 ? kt_put(s->q_norm, (size_t)s->dim * 2) : 0;
    c.a.k_norm = s->norms & 2 ? kt_put(s->k_norm, (size_t)s->dim * 2) : 0;
    c.a.cos_sin = kt_put(s->cos_sin, MAX_POS * (size_t)s->rot * 4);
    c.a.positions = kt_put(s->positions, ints);
    c.a.row_seq = kt_put(s->seqs, ints);
    return c;
}

static void free_copy(struct copy *c)
{
    const k_ptr all[] = {c->pool,     c->a.kv.page_table, c->a.qkv,       c->a.q_norm,
                         c->a.k_norm, c->a.cos_sin,       c->a.positions, c->a.row_seq};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        if (all[i]) {
            kt_free(all[i]);
        }
    }
    free(c->table);
}

static void write_rows(const struct scene *s, const struct copy *c)
{
    for (int32_t t = 0; t < s->rows; t++) {
        kt_write(c->a.qkv + (uint64_t)(t * s->stride) * 2, s->qkv + t * s->stride,
                 (size_t)s->width * 2);
    }
    kt_fill_nan(c->pool, c->pool_bytes);
}

/* Queries of row t and, beside them, what went into the cache: [H][D], [2G][D]. */
static void read_row(const struct scene *s, const struct copy *c, const uint16_t *pool, int32_t t,
                     uint16_t *out)
{
    const size_t q = (size_t)(s->heads * s->dim), head = (size_t)s->dim;
    kt_get(out, c->a.qkv + (uint64_t)(t * s->stride) * 2, q * 2);
    for (int32_t g = 0; g < 2 * s->kv_heads; g++) {
        const bool value = g >= s->kv_heads;
        const uint16_t *at =
            cache_at(&s->cache, s->seqs[t], s->positions[t], value ? g - s->kv_heads : g, value);
        memcpy(out + q + (size_t)g * head, pool + (at - (const uint16_t *)(void *)s->cache.pool),
               head * 2);
    }
}

/* With a norm, sums that differ by (D + 8) * 2^-24 and roots by 2^-21 may tip each of its two
 * roundings over to the next number (2^-7 each at most); the rotation mixes two such values, and
 * may tip its own rounding. Without, the rotation's terms are the same and their sum is within
 * 2^-22 of their size before it is rounded. All of it in few places. */
static double bound(bool norm, double want, double size)
{
    return norm ? 3 * 0x1p-7 * size : 0x1p-7 * fabs(want) + 0x1p-22 * size;
}

static void compare_head(const struct scene *s, const uint16_t *got, const uint16_t *want,
                         bool norm, const char *where, int64_t *n_off)
{
    const int32_t half = s->rot / 2;
    for (int32_t i = 0; i < s->dim; i++) {
        const int32_t partner = i < half ? i + half : i < s->rot ? i - half : i;
        const double g = (double)get(got, i, K_BF16), w = (double)get(want, i, K_BF16);
        const double size = fabs(w) + fabs((double)get(want, partner, K_BF16));
        cr_assert(fabs(g - w) <= bound(norm, w, size), "%s, D=%d R=%d norms %d: [%d] is %g, not %g",
                  where, s->dim, s->rot, s->norms, i, g, w);
        *n_off += g != w;
    }
}

static void compare_row(const struct scene *s, const uint16_t *got, const uint16_t *oracle,
                        int32_t t, const char *arch, int64_t *n_off)
{
    char where[64];
    for (int32_t h = 0; h < s->heads + 2 * s->kv_heads; h++) {
        const int32_t g = h - s->heads;
        const uint16_t *want = oracle + t * s->stride + (int64_t)h * s->dim;
        if (g >= 0) {
            want =
                cache_at(&s->cache, s->seqs[t], s->positions[t], g % s->kv_heads, g >= s->kv_heads);
        }
        (void)snprintf(where, sizeof where, "%s, row %d of %d, head %d", arch, t, s->rows, h);
        if (g >= s->kv_heads) {
            cr_assert_arr_eq(got + (int64_t)h * s->dim, want, (size_t)s->dim * 2, "%s: value",
                             where);
        } else {
            compare_head(s, got + (int64_t)h * s->dim, want, s->norms & (g < 0 ? 1 : 2), where,
                         n_off);
        }
    }
}

/* Slots that the CPU did not write are as they were. */
static void check_untouched(const struct scene *s, const uint16_t *pool, const char *arch)
{
    const int64_t row = k_kv_row(&s->cache.kv), n = s->cache.n_pages * s->cache.kv.page_stride;
    const uint16_t *want = (const void *)s->cache.pool;
    for (int64_t i = 0; i < n; i += row) {
        for (int64_t e = 0; want[i] == 0xffff && e < row; e++) {
            cr_assert_eq(pool[i + e], 0xffff, "%s D=%d: element %lld of the cache", arch, s->dim,
                         (long long)(i + e));
        }
    }
}

static void check_alone(const struct scene *s, struct copy *c, const uint16_t *rows, uint16_t *pool,
                        const char *arch)
{
    const size_t n = (size_t)s->width;
    uint16_t *alone = malloc(n * 2);
    const struct k_rope_kv_args all = c->a;
    write_rows(s, c);
    for (int32_t t = 0; t < s->rows; t += 1 + s->rows / 4) {
        struct k_rope_kv_args one = all;
        one.rows = 1;
        one.qkv += (uint64_t)(t * s->stride) * 2;
        one.positions += (uint64_t)t * 4;
        one.row_seq += (uint64_t)t * 4;
        kt_run(K_OP_rope_kv, &one);
        kt_get(pool, c->pool, c->pool_bytes);
        read_row(s, c, pool, t, alone);
        cr_assert_arr_eq(alone, rows + (size_t)t * n, n * 2, "%s D=%d: row %d alone", arch, s->dim,
                         t);
    }
    free(alone);
}

/* All heads of a token in one block instead of spread as the plan has it. */
static void check_one_share(const struct scene *s, struct copy *c, const uint16_t *rows,
                            uint16_t *pool, const char *arch)
{
    const size_t n = (size_t)s->width;
    uint16_t *row = malloc(n * 2);
    struct k_launch l[K_MAX_LAUNCHES];
    const struct k_work w = kt_work();
    cr_assert_eq(k_plan(K_OP_rope_kv, kt_facts(), &w, &c->a, l), 1);
    l[0].grid[1] = 1;
    write_rows(s, c);
    kt_launch(l, 1);
    kt_get(pool, c->pool, c->pool_bytes);
    for (int32_t t = 0; t < s->rows; t++) {
        read_row(s, c, pool, t, row);
        cr_assert_arr_eq(row, rows + (size_t)t * n, n * 2, "%s D=%d: row %d by one block", arch,
                         s->dim, t);
    }
    free(row);
}

static void check_shape(struct oct_device *d, size_t i, int32_t norms, const char *arch)
{
    struct scene s = make(i, norms);
    struct copy c = put_scene(&s);
    const size_t n = (size_t)s.width;
    uint16_t *oracle = run_oracle(d, &s), *pool = malloc(c.pool_bytes);
    uint16_t *first = malloc((size_t)s.rows * n * 2), *row = malloc(n * 2);
    for (uint64_t seed = 1; seed <= N_SEEDS; seed++) {
        int64_t n_off = 0;
        kt_seed(seed);
        write_rows(&s, &c);
        kt_run(K_OP_rope_kv, &c.a);
        const struct k_launch *l;
        cr_assert_eq(kt_launches(&l), 1);
        cr_assert_str_eq(k_kernel_table[l->kernel].name, shapes[i].kernel);
        kt_get(pool, c.pool, c.pool_bytes);
        check_untouched(&s, pool, arch);
        for (int32_t t = 0; t < s.rows; t++) {
            read_row(&s, &c, pool, t, row);
            compare_row(&s, row, oracle, t, arch, &n_off);
            if (seed == 1) {
                memcpy(first + (size_t)t * n, row, n * 2);
            }
            cr_assert_arr_eq(row, first + (size_t)t * n, n * 2, "%s D=%d row %d: seed %d", arch,
                             s.dim, t, (int)seed);
        }
        cr_assert(n_off * 50 <= (int64_t)n * s.rows + 50, "%s D=%d: %lld elements differ", arch,
                  s.dim, (long long)n_off);
    }
    check_alone(&s, &c, first, pool, arch);
    check_one_share(&s, &c, first, pool, arch);
    free_copy(&c);
    free(oracle);
    free(pool);
    free(first);
    free(row);
    drop(&s);
}

static void check(const char *arch)
{
    kt_open(arch, 1);
    struct oct_device *d = open_oracle();
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        for (int32_t norms = 0; norms < 4; norms++) {
            check_shape(d, i, norms, arch);
        }
    }
    oct_dev_close(d);
}

Test(rope, agrees_with_the_cpu_a100, .timeout = 120)
{
    check("a100");
}

Test(rope, agrees_with_the_cpu_h100, .timeout = 120)
{
    check("h100");
}

/* Each head once. Here a group has one head, so that a warp of two reads beside their 512 bytes the
 * angles (1024, every sector by two instructions), both weights (512) and three numbers (96): out
 * of a cache. */
Test(rope, moves_no_more_than_it_must)
{
    kt_open("h100", 1);
    enum { SHAPE = 11 };
    struct scene s = make(SHAPE, 3);
    struct copy c = put_scene(&s);
    write_rows(&s, &c);
    kt_run(K_OP_rope_kv, &c.a);
    check_traffic("rope_kv_b16_d128", 4.2);
    free_copy(&c);
    drop(&s);
}
