/* SPDX-License-Identifier: Apache-2.0
 *
 * RMSNorm kernels against the CPU. */
#include "cuda/elementwise_test.h"

static const struct {
    int32_t rows, dim;
    bool add, ids;
} shapes[] = {
    {1, 8, false, false},        {3, 64, true, false},    {5, 264, true, false},
    {7, 576, false, true},       {2, 1024, true, false},  {1, 1032, true, false},
    {9, 2048, false, true},      {4, 4096, true, false},  {3, 4104, false, false},
    {2, 5120, true, false},      {2, 8200, true, false},  {1, 16384, true, false},
    {2, 16392, true, false},     {1, 17000, false, true}, {300, 96, true, false},
    {2, 25 * 1024, true, false},
};
enum { N_SHAPES = sizeof shapes / sizeof *shapes, ALL_ROWS = 11 };

struct scene {
    int32_t rows, dim;
    bool has_add;
    int64_t n_x, n_out;
    uint16_t *x, *add, *weight;
    int32_t *ids; /* NULL: none */
};

static struct scene make(size_t i)
{
    struct rng rng = {(uint64_t)shapes[i].dim + 7};
    struct scene s = {.rows = shapes[i].rows, .dim = shapes[i].dim, .has_add = shapes[i].add};
    s.n_out = (int64_t)s.rows * s.dim;
    s.n_x = shapes[i].ids ? (int64_t)ALL_ROWS * s.dim : s.n_out;
    s.x = normal_bf16(&rng, s.n_x, 0, 5);
    s.add = normal_bf16(&rng, s.n_x, 0, 2);
    s.weight = normal_bf16(&rng, s.dim, 1, 0.3f);
    if (shapes[i].ids) {
        s.ids = malloc((size_t)s.rows * sizeof *s.ids);
        for (int32_t r = 0; r < s.rows; r++) {
            s.ids[r] = (5 * r + 3) % ALL_ROWS;
        }
    }
    return s;
}

static void drop(struct scene *s)
{
    free(s->x);
    free(s->add);
    free(s->weight);
    free(s->ids);
}

static struct k_rmsnorm_args put_scene(const struct scene *s)
{
    return (struct k_rmsnorm_args){
        .out = kt_room((size_t)s->n_out * 2),
        .x = kt_put(s->x, (size_t)s->n_x * 2),
        .add = s->has_add ? kt_put(s->add, (size_t)s->n_x * 2) : 0,
        .weight = kt_put(s->weight, (size_t)s->dim * 2),
        .row_ids = s->ids ? kt_put(s->ids, (size_t)s->rows * 4) : 0,
        .rows = s->rows,
        .dim = s->dim,
        .dtype = K_BF16,
        .eps = 1e-5f,
    };
}

static void free_args(const struct k_rmsnorm_args *a)
{
    kt_free(a->out);
    kt_free(a->x);
    kt_free(a->weight);
    if (a->add) {
        kt_free(a->add);
    }
    if (a->row_ids) {
        kt_free(a->row_ids);
    }
}

/* x in x, what comes out in out. */
static void run_oracle(struct oct_device *d, const struct scene *s, uint16_t *x, uint16_t *out)
{
    const struct k_rmsnorm_args a = {
        .out = host(out),
        .x = host(x),
        .add = s->has_add ? host(s->add) : 0,
        .weight = host(s->weight),
        .row_ids = host(s->ids),
        .rows = s->rows,
        .dim = s->dim,
        .dtype = K_BF16,
        .eps = 1e-5f,
    };
    cr_assert_eq(oct_dev_rmsnorm(d, &a), OCT_OK);
}

/* The two sums differ by (dim + 8) * 2^-24 of themselves at the most, in truth by much less, and
 * the two roots by 2^-21: that may tip the rounding of the normed value and that of the product
 * over to the next number, one unit (2^-7 at most) each, in few places. */
static void compare(const struct scene *s, const uint16_t *got, const uint16_t *want,
                    const char *arch)
{
    int64_t n_off = 0;
    for (int64_t i = 0; i < s->n_out; i++) {
        const double g = (double)get(got, i, K_BF16), w = (double)get(want, i, K_BF16);
        cr_assert(fabs(g - w) <= 2 * 0x1p-7 * fabs(w), "%s, %d x %d: element %lld is %g, not %g",
                  arch, s->rows, s->dim, (long long)i, g, w);
        n_off += g != w;
    }
    cr_assert(n_off * 50 <= s->n_out + 50, "%s, %d x %d: %lld elements differ", arch, s->rows,
              s->dim, (long long)n_off);
}

static void check_shape(struct oct_device *d, size_t i, const char *arch)
{
    struct scene s = make(i);
    const size_t x_bytes = (size_t)s.n_x * 2, out_bytes = (size_t)s.n_out * 2;
    uint16_t *x = malloc(x_bytes), *want = malloc(out_bytes);
    uint16_t *got_x = malloc(x_bytes), *got = malloc(out_bytes), *first = malloc(out_bytes);
    memcpy(x, s.x, x_bytes);
    run_oracle(d, &s, x, want);
    const struct k_rmsnorm_args a = put_scene(&s);
    for (uint64_t seed = 1; seed <= N_SEEDS; seed++) {
        kt_seed(seed);
        kt_write(a.x, s.x, x_bytes);
        kt_fill_nan(a.out, out_bytes);
        kt_run(K_OP_rmsnorm, &a);
        kt_get(got, a.out, out_bytes);
        kt_get(got_x, a.x, x_bytes);
        compare(&s, got, want, arch);
        cr_assert_arr_eq(got_x, x, x_bytes, "%s, %d x %d: x + add", arch, s.rows, s.dim);
        if (seed == 1) {
            memcpy(first, got, out_bytes);
        }
        cr_assert_arr_eq(got, first, out_bytes, "%s, %d x %d: seed %d", arch, s.rows, s.dim,
                         (int)seed);
    }
    /* The last row alone. */
    struct k_rmsnorm_args one = a;
    const uint64_t skip = (uint64_t)(s.rows - 1), row_bytes = (uint64_t)s.dim * 2;
    one.rows = 1;
    one.out += skip * row_bytes;
    one.row_ids += s.ids ? skip * 4 : 0;
    one.x += s.ids ? 0 : skip * row_bytes;
    one.add += s.has_add ? skip * row_bytes : 0;
    kt_write(a.x, s.x, x_bytes);
    kt_fill_nan(one.out, row_bytes);
    kt_run(K_OP_rmsnorm, &one);
    kt_get(got, one.out, row_bytes);
    cr_assert_arr_eq(got, first + skip * (size_t)s.dim, row_bytes, "%s, %d x %d: last row alone",
                     arch, s.rows, s.dim);
    free_args(&a);
    free(x);
    free(want);
    free(got);
    free(got_x);
    free(first);
    drop(&s);
}

static void check(const char *arch)
{
    kt_open(arch, 1);
    struct oct_device *d = open_oracle();
    for (size_t i = 0; i < N_SHAPES; i++) {
        check_shape(d, i, arch);
    }
    oct_dev_close(d);
}

Test(norm, agrees_with_the_cpu_a100)
{
    check("a100");
}

Test(norm, agrees_with_the_cpu_h100)
{
    check("h100");
}

/* The weight comes again for each row, out of a cache. One kernel a process: counters add up. */
static void check_moves(int32_t rows, int32_t dim, const char *kernel)
{
    const size_t bytes = (size_t)rows * (size_t)dim * 2;
    struct rng rng = {5};
    uint16_t *x = normal_bf16(&rng, (int64_t)bytes / 2, 0, 1);
    const struct k_rmsnorm_args a = {
        .out = kt_room(bytes),
        .x = kt_put(x, bytes),
        .add = kt_put(x, bytes),
        .weight = kt_put(x, (size_t)dim * 2),
        .rows = rows,
        .dim = dim,
        .dtype = K_BF16,
        .eps = 1e-5f,
    };
    kt_run(K_OP_rmsnorm, &a);
    check_traffic(kernel, 1.5);
    free(x);
}

Test(norm, moves_no_more_than_it_must)
{
    kt_open("h100", 1);
    check_moves(16, 1024, "rmsnorm_b16_v1");
    check_moves(8, 4096, "rmsnorm_b16_v2");
    check_moves(4, 8192, "rmsnorm_b16_v4");
}

Test(norm, refuses_what_it_has_no_kernel_for)
{
    struct k_launch out[K_MAX_LAUNCHES];
    const struct k_facts f = K_FACTS_H100;
    const struct k_rmsnorm_args good = {.rows = 1, .dim = 64, .dtype = K_BF16};
    struct k_rmsnorm_args a = good;
    cr_assert_eq(k_plan(K_OP_rmsnorm, &f, NULL, &a, out), 1);
    a.dtype = K_F32;
    cr_assert_eq(k_plan(K_OP_rmsnorm, &f, NULL, &a, out), 0);
    a = good;
    a.dim = 60;
    cr_assert_eq(k_plan(K_OP_rmsnorm, &f, NULL, &a, out), 0);
    a = good;
    a.add = a.row_ids = 256;
    cr_assert_eq(k_plan(K_OP_rmsnorm, &f, NULL, &a, out), 0);
}
