/* SPDX-License-Identifier: Apache-2.0 */
#include "cpu/levels.h"

#include <stdio.h>
#include <string.h>

static const int32_t dims[] = {1, 2, 7, 15, 16, 17, 31, 64, 100, 576, 577, 1536, 4099};
enum { N_DIMS = sizeof dims / sizeof *dims, GUARD = 16 };

/* Operands of one call; every array has GUARD elements of 77 on both sides. */
struct operands {
    int32_t rows, x_rows, dim, dtype;
    char *block[4]; /* x, add, weight, out */
    int32_t *row_ids;
};
enum { X, ADD, WEIGHT, OUT };

static void *at(const struct operands *o, int which, int64_t i)
{
    return o->block[which] + (GUARD + i) * k_dtype_bytes(o->dtype);
}

static int64_t length(const struct operands *o, int which)
{
    return which == WEIGHT ? o->dim : (int64_t)o->dim * (which == OUT ? o->rows : o->x_rows);
}

static struct operands make(int32_t rows, int32_t x_rows, int32_t dim, int32_t dtype, uint64_t seed)
{
    struct operands o = {.rows = rows, .x_rows = x_rows, .dim = dim, .dtype = dtype};
    struct rng rng = {seed};
    for (int w = 0; w < 4; w++) {
        const int64_t n = length(&o, w);
        o.block[w] = malloc((size_t)((n + 2 * GUARD) * k_dtype_bytes(dtype)));
        for (int64_t i = -GUARD; i < n + GUARD; i++) {
            const bool inside = i >= 0 && i < n;
            /* Rows of very different size: a norm has to take that out. */
            const float scale = w == WEIGHT ? 1 : ldexpf(1, (int)(i / dim % 24) - 12);
            put(o.block[w], GUARD + i, inside ? rng_normal(&rng) * scale : 77, dtype);
        }
    }
    o.row_ids = malloc((size_t)rows * sizeof *o.row_ids);
    for (int32_t r = 0; r < rows; r++) {
        o.row_ids[r] = rng_below(&rng, x_rows);
    }
    return o;
}

static void drop(struct operands *o)
{
    for (int w = 0; w < 4; w++) {
        free(o->block[w]);
    }
    free(o->row_ids);
}

static void run(struct oct_device *d, const struct operands *o, bool add, bool pick, int32_t from,
                int32_t n, float eps)
{
    const int64_t first = (int64_t)from * o->dim;
    const struct k_rmsnorm_args a = {.out = (k_ptr)at(o, OUT, first),
                                     .x = (k_ptr)at(o, X, pick ? 0 : first),
                                     .add = add ? (k_ptr)at(o, ADD, first) : 0,
                                     .weight = (k_ptr)at(o, WEIGHT, 0),
                                     .row_ids = pick ? (k_ptr)(o->row_ids + from) : 0,
                                     .rows = n,
                                     .dim = o->dim,
                                     .dtype = o->dtype,
                                     .eps = eps};
    cr_assert_eq(oct_dev_rmsnorm(d, &a), OCT_OK);
    cr_assert_eq(oct_dev_sync(d), OCT_OK);
}

static void check_guards(const struct operands *o)
{
    for (int w = 0; w < 4; w++) {
        const int64_t n = length(o, w);
        for (int64_t i = 0; i < GUARD; i++) {
            cr_assert_eq(get(o->block[w], i, o->dtype), 77, "array %d before", w);
            cr_assert_eq(get(o->block[w], GUARD + n + i, o->dtype), 77, "array %d after", w);
        }
    }
}

/* Against double, rounded where the contract says so.
 * fp32: the sum of n squares in 16 partial sums errs by (n/16 + 5) * 2^-24 of itself at most, half
 * of it after the root; division, addition of eps, root, reciprocal and two products add under 6
 * half-ulps. bf16: that error may tip the rounding of the normed value (one ulp, 2^-7 of it at
 * most), and then that of the product (another), but seldom: fewer than 1 in 100 differ at all. */
static void compare(const struct operands *o, const struct operands *before, bool add, bool pick,
                    float eps, const char *what)
{
    const bool bf16 = o->dtype == K_BF16;
    const double bound = bf16 ? 2 * 0x1p-7 : ((o->dim / 16 + 5) / 2.0 + 6) * 0x1p-24;
    int64_t n_off = 0;
    for (int32_t r = 0; r < o->rows; r++) {
        const int64_t row = (int64_t)(pick ? o->row_ids[r] : r) * o->dim;
        double sum = 0;
        for (int32_t c = 0; c < o->dim; c++) {
            const float old = get(at(before, X, row), c, o->dtype);
            float x = old;
            if (add) {
                put(&x, 0, old + get(at(before, ADD, row), c, o->dtype), o->dtype);
                x = get(&x, 0, o->dtype);
            }
            const float stored = get(at(o, X, row), c, o->dtype);
            cr_assert_eq(stored, x, "%s: x[%d, %d] is %g, not %g", what, r, c, (double)stored,
                         (double)x);
            sum += (double)x * (double)x;
        }
        const double scale = 1 / sqrt(sum / o->dim + (double)eps);
        for (int32_t c = 0; c < o->dim; c++) {
            float normed = (float)((double)get(at(o, X, row), c, o->dtype) * scale);
            if (bf16) {
                normed = oct_bf16_to_f32(oct_f32_to_bf16(normed));
            }
            const float product = normed * get(at(o, WEIGHT, 0), c, o->dtype);
            const float want = bf16 ? oct_bf16_to_f32(oct_f32_to_bf16(product)) : product;
            const float got = get(at(o, OUT, (int64_t)r * o->dim), c, o->dtype);
            cr_assert(fabs((double)got - (double)want) <= bound * fabs((double)want),
                      "%s: out[%d, %d] is %.9g, not %.9g", what, r, c, (double)got, (double)want);
            n_off += got != want;
        }
    }
    const int64_t n = (int64_t)o->rows * o->dim;
    cr_assert(!bf16 || n_off * 100 <= n, "%s: %lld of %lld differ", what, (long long)n_off,
              (long long)n);
}

Test(norm, every_mode_matches_double_at_every_width, .timeout = 120)
{
    for (int level = 0; level < N_LEVELS; level++) {
        struct oct_device *d = open_level(level, 1);
        for (int i = 0; d && i < N_DIMS * 2; i++) {
            for (int mode = 0; mode < 3; mode++) { /* plain, residual, chosen rows */
                const int32_t dtype = i % 2 ? K_BF16 : K_F32;
                const int32_t dim = dims[i / 2], rows = 9, x_rows = mode == 2 ? 5 : 9;
                struct operands o = make(rows, x_rows, dim, dtype, 7u + (uint64_t)i);
                struct operands before = make(rows, x_rows, dim, dtype, 7u + (uint64_t)i);
                char what[80];
                (void)snprintf(what, sizeof what, "%s dim %d dtype %d mode %d", level_names[level],
                               dim, dtype, mode);
                run(d, &o, mode == 1, mode == 2, 0, rows, 1e-5f);
                check_guards(&o);
                compare(&o, &before, mode == 1, mode == 2, 1e-5f, what);
                drop(&o);
                drop(&before);
            }
        }
        oct_dev_close(d);
    }
}

Test(norm, a_row_has_the_same_bits_alone_in_a_batch_with_any_threads_and_level, .timeout = 120)
{
    for (int i = 0; i < N_DIMS * 2; i++) {
        const int32_t dtype = i % 2 ? K_BF16 : K_F32, dim = dims[i / 2], rows = 70;
        const size_t bytes = (size_t)((int64_t)rows * dim * k_dtype_bytes(dtype));
        struct operands first = make(rows, rows, dim, dtype, 99);
        bool have_first = false;
        for (int level = 0; level < N_LEVELS; level++) {
            for (int threads = 1; threads <= 3; threads++) {
                struct oct_device *d = open_level(level, threads);
                if (!d) {
                    continue;
                }
                struct operands o = make(rows, rows, dim, dtype, 99);
                if (!have_first) {
                    run(d, &first, true, false, 0, rows, 1e-6f);
                    have_first = true;
                }
                if (threads == 3) { /* row by row */
                    for (int32_t r = 0; r < rows; r++) {
                        run(d, &o, true, false, r, 1, 1e-6f);
                    }
                } else {
                    run(d, &o, true, false, 0, rows, 1e-6f);
                }
                cr_assert_arr_eq(at(&o, OUT, 0), at(&first, OUT, 0), bytes,
                                 "out: %s dim %d threads %d", level_names[level], dim, threads);
                cr_assert_arr_eq(at(&o, X, 0), at(&first, X, 0), bytes, "x: %s dim %d threads %d",
                                 level_names[level], dim, threads);
                drop(&o);
                oct_dev_close(d);
            }
        }
        drop(&first);
    }
}

Test(norm, a_row_of_zeros_gives_zeros_and_a_nan_stays_one)
{
    struct oct_device *d = open_level((int)oct_simd_level(), 1);
    struct operands o = make(3, 3, 20, K_F32, 5);
    for (int32_t c = 0; c < 20; c++) {
        put(at(&o, X, 0), c, 0, K_F32);
    }
    put(at(&o, X, 20), 19, NAN, K_F32);
    run(d, &o, false, false, 0, 3, 1e-5f);
    for (int32_t c = 0; c < 20; c++) {
        cr_assert_eq(get(at(&o, OUT, 0), c, K_F32), 0);
        cr_assert(isnan(get(at(&o, OUT, 20), c, K_F32)));
        cr_assert(isfinite(get(at(&o, OUT, 40), c, K_F32)));
    }
    drop(&o);
    oct_dev_close(d);
}
