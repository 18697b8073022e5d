/* SPDX-License-Identifier: Apache-2.0
 *
 * SiLU times up against the CPU. */
#include "cuda/elementwise_test.h"

static const struct {
    int32_t rows, dim;
} shapes[] = {{1, 8}, {3, 64}, {33, 96}, {5, 1536}, {2, 2048}, {7, 2056}, {4, 11008}, {1, 28672}};
enum { N_SHAPES = sizeof shapes / sizeof *shapes };

/* Gates of every size from 2^-40 to past where exp overflows. */
static uint16_t *make(int32_t rows, int32_t dim)
{
    struct rng rng = {3};
    const int64_t n = 2 * (int64_t)rows * dim;
    uint16_t *in = normal_bf16(&rng, n, 0, 1);
    for (int64_t i = 0; i < n; i++) {
        if (i % (2 * dim) < dim) {
            put(in, i, ldexpf(rng_normal(&rng), rng_below(&rng, 48) - 40), K_BF16);
        }
    }
    return in;
}

/* Both sides are right to 2^-19 before they round; that may tip the rounding of silu and that of
 * the product over to the next number, one unit (2^-7 at most) each, in few places. Below -87.3 the
 * exponential may be 0 on either side: |silu| < 1.1e-36. */
static void compare(const uint16_t *got, const uint16_t *want, const uint16_t *in, int32_t rows,
                    int32_t dim, const char *arch)
{
    int64_t n_off = 0;
    for (int64_t i = 0; i < (int64_t)rows * dim; i++) {
        const double g = (double)get(got, i, K_BF16), w = (double)get(want, i, K_BF16);
        const double up = (double)get(in, i / dim * 2 * dim + dim + i % dim, K_BF16);
        const double most = 2 * 0x1p-7 * fabs(w) + 1.1e-36 * fabs(up);
        cr_assert(fabs(g - w) <= most, "%s, %d x %d: element %lld is %g, not %g", arch, rows, dim,
                  (long long)i, g, w);
        n_off += fabs(g - w) > 1.1e-36 * fabs(up);
    }
    cr_assert(n_off * 50 <= (int64_t)rows * dim + 50, "%s, %d x %d: %lld elements differ", arch,
              rows, dim, (long long)n_off);
}

static void check_shape(struct oct_device *d, int32_t rows, int32_t dim, const char *arch)
{
    const size_t bytes = (size_t)rows * (size_t)dim * 2, row_bytes = (size_t)dim * 2;
    uint16_t *in = make(rows, dim), *want = malloc(bytes), *got = malloc(bytes);
    uint16_t *alone = malloc(row_bytes);
    struct k_silu_mul_args a = {
        .out = host(want), .in = host(in), .rows = rows, .dim = dim, .dtype = K_BF16};
    cr_assert_eq(oct_dev_silu_mul(d, &a), OCT_OK);
    a.in = kt_put(in, 2 * bytes);
    for (uint64_t seed = 1; seed <= N_SEEDS; seed++) {
        kt_seed(seed);
        a.out = kt_room(bytes);
        kt_run(K_OP_silu_mul, &a);
        kt_get(got, a.out, bytes);
        compare(got, want, in, rows, dim, arch);
        kt_free(a.out);
    }
    struct k_silu_mul_args one = a;
    one.rows = 1;
    one.in += (uint64_t)(rows - 1) * 2 * row_bytes;
    one.out = kt_room(row_bytes);
    kt_run(K_OP_silu_mul, &one);
    kt_get(alone, one.out, row_bytes);
    cr_assert_arr_eq(alone, got + (size_t)(rows - 1) * (size_t)dim, row_bytes,
                     "%s, %d x %d: last row alone", arch, rows, dim);
    kt_free(one.out);
    kt_free(a.in);
    free(in);
    free(want);
    free(got);
    free(alone);
}

static void check(const char *arch)
{
    kt_open(arch, 1);
    struct oct_device *d = open_oracle();
    for (size_t i = 0; i < N_SHAPES; i++) {
        check_shape(d, shapes[i].rows, shapes[i].dim, arch);
    }
    oct_dev_close(d);
}

Test(act, agrees_with_the_cpu_a100)
{
    check("a100");
}

Test(act, agrees_with_the_cpu_h100)
{
    check("h100");
}

Test(act, moves_no_more_than_it_must)
{
    enum { ROWS = 5, DIM = 8960 };
    kt_open("a100", 1);
    uint16_t *in = make(ROWS, DIM);
    const struct k_silu_mul_args a = {.out = kt_room(ROWS * DIM * 2),
                                      .in = kt_put(in, ROWS * DIM * 4),
                                      .rows = ROWS,
                                      .dim = DIM,
                                      .dtype = K_BF16};
    kt_run(K_OP_silu_mul, &a);
    check_traffic("silu_mul_b16", 1);
    free(in);
}

Test(act, infinities_and_nans_come_out_as_the_cpu_has_them)
{
    enum { N = 8 };
    const float edge = 3.0e38f;
    const float gates[N] = {INFINITY, -INFINITY, NAN, edge, -edge, 0.0f, -0.0f, 1.0f};
    uint16_t in[2 * N], want[N], got[N];
    kt_open("h100", 1);
    struct oct_device *d = open_oracle();
    for (int i = 0; i < N; i++) {
        put(in, i, gates[i], K_BF16);
        put(in, N + i, i == 7 ? NAN : 1.0f, K_BF16);
    }
    struct k_silu_mul_args a = {
        .out = host(want), .in = host(in), .rows = 1, .dim = N, .dtype = K_BF16};
    cr_assert_eq(oct_dev_silu_mul(d, &a), OCT_OK);
    a.in = kt_put(in, sizeof in);
    a.out = kt_room(sizeof got);
    kt_run(K_OP_silu_mul, &a);
    kt_get(got, a.out, sizeof got);
    for (int i = 0; i < N; i++) {
        const float g = get(got, i, K_BF16), w = get(want, i, K_BF16);
        cr_assert(isnan(w) ? isnan(g) : g == w, "silu(%g) is %g, not %g", (double)gates[i],
                  (double)g, (double)w);
    }
    oct_dev_close(d);
}
