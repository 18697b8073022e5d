/* SPDX-License-Identifier: Apache-2.0 */
#include "cpu/levels.h"

#include <string.h>

static double silu(double x)
{
    return x / (1 + exp(-x));
}

static void run(struct oct_device *d, void *out, const void *in, int32_t rows, int32_t dim,
                int32_t dtype)
{
    const struct k_silu_mul_args a = {
        .out = (k_ptr)out, .in = (k_ptr)in, .rows = rows, .dim = dim, .dtype = dtype};
    cr_assert_eq(oct_dev_silu_mul(d, &a), OCT_OK);
    cr_assert_eq(oct_dev_sync(d), OCT_OK);
}

/* fp32: exp is right to 2 ulp (2^-22 of itself), and adds to both sides of the fraction; with the
 * roundings of sum, fraction and product under 6 * 2^-23. Below -87.3 exp is 0, so |silu| may be
 * off by 87.3 * exp(-87.3) = 1.1e-36. bf16: see test_norm.c. */
Test(act, silu_mul_matches_double_over_the_whole_range, .timeout = 120)
{
    static const int32_t dims[] = {1, 3, 4, 15, 16, 17, 33, 64, 1000, 1537};
    enum { GUARD = 16 };
    for (int level = 0; level < N_LEVELS; level++) {
        struct oct_device *d = open_level(level, 2);
        struct rng rng = {3};
        for (int i = 0; d && i < 20; i++) {
            const int32_t dtype = i % 2 ? K_BF16 : K_F32, dim = dims[i / 2], rows = 21;
            const size_t elem = (size_t)k_dtype_bytes(dtype);
            const int64_t n = (int64_t)rows * dim;
            char *in = malloc((size_t)n * 2 * elem);
            char *out = malloc(((size_t)n + 2 * GUARD) * elem);
            for (int64_t k = 0; k < 2 * n; k++) {
                const bool gate = k % (2 * dim) < dim;
                /* Gates of every size from 2^-40 to past where exp overflows. */
                const float wide = ldexpf(rng_normal(&rng), rng_below(&rng, 48) - 40);
                put(in, k, gate ? wide : rng_normal(&rng), dtype);
            }
            for (int64_t k = 0; k < n + 2 * GUARD; k++) {
                put(out, k, 77, dtype);
            }
            run(d, out + GUARD * elem, in, rows, dim, dtype);
            int64_t n_off = 0;
            for (int64_t k = 0; k < n; k++) {
                const float g = get(in, k / dim * 2 * dim + k % dim, dtype);
                const float u = get(in, k / dim * 2 * dim + dim + k % dim, dtype);
                float want = (float)silu((double)g);
                if (dtype == K_BF16) {
                    want = oct_bf16_to_f32(oct_f32_to_bf16(want));
                    want = oct_bf16_to_f32(oct_f32_to_bf16(want * u));
                } else {
                    want *= u;
                }
                const float got = get(out, GUARD + k, dtype);
                const double bound = dtype == K_BF16 ? 2 * 0x1p-7 : 6 * 0x1p-23;
                const double small = 1.1e-36 * fabs((double)u);
                cr_assert(fabs((double)got - (double)want) <= bound * fabs((double)want) + small,
                          "%s dim %d dtype %d: silu(%g) * %g is %.9g, not %.9g", level_names[level],
                          dim, dtype, (double)g, (double)u, (double)got, (double)want);
                n_off += fabs((double)got - (double)want) > small;
            }
            cr_assert(dtype != K_BF16 || n_off * 100 <= n, "%lld of %lld differ", (long long)n_off,
                      (long long)n);
            for (int64_t k = 0; k < GUARD; k++) {
                cr_assert_eq(get(out, k, dtype), 77, "before, dim %d", dim);
                cr_assert_eq(get(out, GUARD + n + k, dtype), 77, "after, dim %d", dim);
            }
            free(in);
            free(out);
        }
        oct_dev_close(d);
    }
}

Test(act, infinities_and_nans_come_out_as_the_formula_has_them)
{
    for (int level = 0; level < N_LEVELS; level++) {
        struct oct_device *d = open_level(level, 1);
        if (!d) {
            continue;
        }
        enum { N = 21 };
        float in[2 * N], out[N];
        for (int i = 0; i < N; i++) {
            in[i] = i % 3 == 0 ? NAN : i % 3 == 1 ? INFINITY : 1000;
            in[N + i] = 2;
        }
        in[N - 1] = -1000;
        run(d, out, in, 1, N, K_F32);
        for (int i = 0; i < N - 1; i++) {
            cr_assert(i % 3 == 0   ? isnan(out[i])
                      : i % 3 == 1 ? out[i] == INFINITY
                                   : out[i] == 2000,
                      "%s: out[%d] is %g", level_names[level], i, (double)out[i]);
        }
        cr_assert_eq(out[N - 1], 0, "silu(-1000) * 2 is %g", (double)out[N - 1]);
        oct_dev_close(d);
    }
}

Test(act, a_row_has_the_same_bits_alone_in_a_batch_and_with_any_threads)
{
    struct rng rng = {11};
    enum { ROWS = 60, DIM = 1537 };
    for (int i = 0; i < 2 * N_LEVELS; i++) {
        const int32_t dtype = i % 2 ? K_BF16 : K_F32;
        const size_t elem = (size_t)k_dtype_bytes(dtype);
        char *in = malloc(2 * elem * ROWS * DIM), *all = malloc(elem * ROWS * DIM);
        char *one = malloc(elem * ROWS * DIM);
        for (int64_t k = 0; k < 2 * ROWS * DIM; k++) {
            put(in, k, rng_normal(&rng) * 4, dtype);
        }
        for (int threads = 1; threads <= 3; threads++) {
            struct oct_device *d = open_level(i / 2, threads);
            if (!d) {
                continue;
            }
            run(d, all, in, ROWS, DIM, dtype);
            for (size_t r = 0; r < ROWS; r++) {
                run(d, one + r * DIM * elem, in + 2 * r * DIM * elem, 1, DIM, dtype);
            }
            cr_assert_arr_eq(all, one, elem * ROWS * DIM, "%s threads %d", level_names[i / 2],
                             threads);
            oct_dev_close(d);
        }
        free(in);
        free(all);
        free(one);
    }
}
