/* SPDX-License-Identifier: Apache-2.0 */
#include "cpu/variants.h"

#include "base/fault.h"
#include "base/mem.h"

struct shape {
    int32_t m, n, k;
};

/* Operands of one product. Rows of in stand 3 elements apart, filled with NaN; rows of out 5. */
struct product {
    struct shape s;
    int32_t dtype, out_dtype;
    int64_t in_stride, out_stride;
    char *in, *weight, *out;
    float *bias; /* NULL: none */
};

static struct product make(struct shape s, int32_t dtype, int32_t out_dtype, bool bias,
                           uint64_t seed)
{
    struct rng rng = {seed};
    struct product p = {.s = s,
                        .dtype = dtype,
                        .out_dtype = out_dtype,
                        .in_stride = s.k + 3,
                        .out_stride = s.n + 5};
    p.in = nans(s.m * p.in_stride, dtype);
    p.weight = nans((int64_t)s.n * s.k, dtype);
    p.out = nans(s.m * p.out_stride, out_dtype);
    p.bias = bias ? malloc((size_t)s.n * sizeof(float)) : NULL;
    for (int64_t i = 0; i < s.m; i++) {
        for (int64_t k = 0; k < s.k; k++) {
            put(p.in, i * p.in_stride + k, rng_normal(&rng), dtype);
        }
    }
    for (int64_t i = 0; i < (int64_t)s.n * s.k; i++) {
        put(p.weight, i, rng_normal(&rng) * 0.1f, dtype);
    }
    for (int64_t i = 0; bias && i < s.n; i++) {
        p.bias[i] = rng_normal(&rng);
    }
    return p;
}

static void drop(struct product *p)
{
    free(p->in);
    free(p->weight);
    free(p->out);
    free(p->bias);
}

static k_ptr hold(struct oct_device *d, const struct product *p)
{
    const struct oct_matrix_desc m = {
        .n = p->s.n, .k = p->s.k, .dtype = p->dtype, .rows = p->weight};
    k_ptr w = 0;
    cr_assert_eq(oct_dev_matrix_create(d, &m, &w), OCT_OK, "%s", oct_last_error());
    return w;
}

/* Rows [from, from + m) of in to rows [0, m) of out. */
static void run(struct oct_device *d, const struct product *p, k_ptr w, int32_t from, int32_t m,
                char *out)
{
    const struct k_gemm_args a = {
        .out = addr(out),
        .in = addr(p->in + from * p->in_stride * k_dtype_bytes(p->dtype)),
        .weight = w,
        .bias = addr(p->bias),
        .out_stride = p->out_stride,
        .in_stride = p->in_stride,
        .m = m,
        .n = p->s.n,
        .k = p->s.k,
        .dtype = p->dtype,
        .out_dtype = p->out_dtype,
    };
    cr_assert_eq(oct_dev_gemm(d, &a), OCT_OK, "%s", oct_last_error());
}

/* Each of the K products is added with one rounding (the products of bf16 are exact), the bias with
 * another, all relative to what the sum of magnitudes can be: (K + 2) * 2^-24 * sum |a w|. Then one
 * rounding to the output's dtype. */
static void compare(const struct product *p, const char *name)
{
    for (int64_t i = 0; i < p->s.m; i++) {
        for (int64_t j = 0; j < p->s.n; j++) {
            double sum = p->bias ? (double)p->bias[j] : 0, size = fabs(sum);
            for (int64_t k = 0; k < p->s.k; k++) {
                const double x = (double)get(p->in, i * p->in_stride + k, p->dtype) *
                                 (double)get(p->weight, j * p->s.k + k, p->dtype);
                sum += x;
                size += fabs(x);
            }
            const double got = (double)get(p->out, i * p->out_stride + j, p->out_dtype);
            const double bound =
                (p->s.k + 2) * 0x1p-24 * size + fabs(sum) * half_ulp(p->out_dtype) * 1.01;
            cr_assert(fabs(got - sum) <= bound,
                      "%s M=%d N=%d K=%d dtype %d to %d: [%d, %d] is %.9g, not %.9g (+- %.3g)",
                      name, p->s.m, p->s.n, p->s.k, p->dtype, p->out_dtype, (int)i, (int)j, got,
                      sum, bound);
        }
        for (int64_t j = p->s.n; j < p->out_stride; j++) {
            cr_assert(isnan(get(p->out, i * p->out_stride + j, p->out_dtype)),
                      "%s M=%d N=%d K=%d: wrote behind row %d", name, p->s.m, p->s.n, p->s.k,
                      (int)i);
        }
    }
}

static const struct shape shapes[] = {{1, 1, 1},     {1, 1, 2},    {2, 3, 1},     {3, 31, 7},
                                      {5, 32, 16},   {6, 33, 17},  {7, 64, 64},   {11, 65, 33},
                                      {12, 100, 5},  {13, 7, 129}, {25, 63, 100}, {97, 37, 65},
                                      {193, 161, 8}, {1, 576, 96}, {4, 9, 1536},  {14, 21, 11008}};

Test(gemm, agrees_with_sums_in_double)
{
    for (int v = 0; v < N_VARIANTS; v++) {
        struct oct_device *d = open_variant(v, 2);
        for (size_t i = 0; d && i < sizeof shapes / sizeof *shapes; i++) {
            for (int kind = 0; kind < 6; kind++) {
                const int32_t dtype = kind < 4 ? K_BF16 : K_F32;
                const int32_t out = kind < 2 ? K_BF16 : K_F32;
                struct product p = make(shapes[i], dtype, out, kind % 2, 7 + i);
                const k_ptr w = hold(d, &p);
                run(d, &p, w, 0, p.s.m, p.out);
                compare(&p, variants[v].name);
                oct_dev_matrix_destroy(d, w);
                drop(&p);
            }
        }
        oct_dev_close(d);
    }
}

/* out = store(before + store(product)), in place and beside: built from what the op gives without.
 */
Test(gemm, a_residual_is_added_to_the_rounded_product)
{
    for (int v = 0; v < N_VARIANTS; v++) {
        struct oct_device *d = open_variant(v, 2);
        for (size_t i = 0; d && i < sizeof shapes / sizeof *shapes; i++) {
            const int32_t dtype = i % 2 ? K_F32 : K_BF16;
            struct product p = make(shapes[i], dtype, dtype, i % 3 == 0, 70 + i);
            const k_ptr w = hold(d, &p);
            const int64_t n = p.s.m * p.out_stride;
            char *before = nans(n, dtype), *got = nans(n, dtype);
            run(d, &p, w, 0, p.s.m, p.out);
            for (int64_t j = 0; j < n; j++) {
                const float x = (float)(j % 23) * 0.37f - 4;
                if (dtype == K_BF16) {
                    ((uint16_t *)(void *)before)[j] = oct_f32_to_bf16(x);
                } else {
                    ((float *)(void *)before)[j] = x;
                }
            }
            for (int in_place = 0; in_place < 2; in_place++) {
                char *out = in_place ? before : got;
                const struct k_gemm_args a = {.out = addr(out),
                                              .in = addr(p.in),
                                              .weight = w,
                                              .bias = addr(p.bias),
                                              .residual = addr(before),
                                              .out_stride = p.out_stride,
                                              .in_stride = p.in_stride,
                                              .m = p.s.m,
                                              .n = p.s.n,
                                              .k = p.s.k,
                                              .dtype = dtype,
                                              .out_dtype = dtype};
                cr_assert_eq(oct_dev_gemm(d, &a), OCT_OK);
            }
            for (int64_t j = 0; j < n; j++) {
                if (j % p.out_stride >= p.s.n) {
                    continue;
                }
                const float x = (float)(j % 23) * 0.37f - 4;
                float want = dtype == K_BF16 ? oct_bf16_to_f32(oct_f32_to_bf16(x)) : x;
                want += get(p.out, j, dtype);
                want = dtype == K_BF16 ? oct_bf16_to_f32(oct_f32_to_bf16(want)) : want;
                cr_assert(get(got, j, dtype) == want && get(before, j, dtype) == want,
                          "%s M=%d N=%d K=%d dtype %d: element %d is %.9g, in place %.9g, not %.9g",
                          variants[v].name, p.s.m, p.s.n, p.s.k, dtype, (int)j,
                          (double)get(got, j, dtype), (double)get(before, j, dtype), (double)want);
            }
            free(before);
            free(got);
            oct_dev_matrix_destroy(d, w);
            drop(&p);
        }
        oct_dev_close(d);
    }
}

/* M rows from row `from` on have the bits that they have among all rows on one thread. */
static void same_bits(struct oct_device *d, const struct product *p, k_ptr w, const char *all,
                      int32_t from, int32_t m, const char *name, int threads)
{
    const int64_t row = p->out_stride * k_dtype_bytes(p->out_dtype);
    run(d, p, w, from, m, p->out);
    for (int32_t i = 0; i < m; i++) {
        cr_assert(memcmp(p->out + i * row, all + (from + i) * row,
                         (size_t)(p->s.n * k_dtype_bytes(p->out_dtype))) == 0,
                  "%s N=%d K=%d dtype %d: row %d of M=%d from %d on %d threads has other bits",
                  name, p->s.n, p->s.k, p->dtype, i, m, from, threads);
    }
}

Test(gemm, a_row_has_the_same_bits_for_every_batch_and_thread_count)
{
    static const struct shape wide[] = {{512, 100, 70}, {512, 33, 1}, {512, 65, 577}};
    static const struct shape deep[] = {{14, 35, 11008}, {98, 70, 1536}};
    for (int v = 0; v < N_VARIANTS; v++) {
        for (int i = 0; i < 10; i++) {
            const int32_t dtype = i % 2 ? K_BF16 : K_F32;
            const struct shape s = i / 2 < 3 ? wide[i / 2] : deep[i / 2 - 3];
            struct product p = make(s, dtype, dtype, i % 2, 99 + (uint64_t)i);
            char *all = NULL;
            struct rng rng = {5};
            for (int threads = 1; threads <= 3; threads++) {
                struct oct_device *d = open_variant(v, threads);
                if (!d) {
                    break;
                }
                const k_ptr w = hold(d, &p);
                if (!all) {
                    all = nans(p.s.m * p.out_stride, dtype);
                    run(d, &p, w, 0, p.s.m, all);
                }
                /* Every M to past two of the tallest tiles and around a block, else a sample; at
                 * the top and at any place. */
                for (int32_t m = 1; m <= p.s.m; m += m < 26 || (m > 94 && m < 98) ? 1 : 23) {
                    same_bits(d, &p, w, all, 0, m, variants[v].name, threads);
                    same_bits(d, &p, w, all, rng_below(&rng, p.s.m - m + 1), m, variants[v].name,
                              threads);
                }
                same_bits(d, &p, w, all, 0, p.s.m, variants[v].name, threads);
                oct_dev_matrix_destroy(d, w);
                oct_dev_close(d);
            }
            free(all);
            drop(&p);
        }
    }
}

Test(gemm, a_product_allocates_nothing_after_the_first)
{
    for (int v = 0; v < N_VARIANTS; v++) {
        struct oct_device *d = open_variant(v, 2);
        if (!d) {
            continue;
        }
        struct product p = make((struct shape){50, 70, 30000}, K_BF16, K_BF16, false, 3);
        const k_ptr w = hold(d, &p);
        run(d, &p, w, 0, p.s.m, p.out);
        const uint64_t before = oct_mem_stats().n_allocs;
        for (int32_t m = 1; m <= p.s.m; m += 7) {
            run(d, &p, w, 0, m, p.out);
        }
        cr_assert_eq(oct_mem_stats().n_allocs, before, "%s", variants[v].name);
        oct_dev_matrix_destroy(d, w);
        oct_dev_close(d);
        drop(&p);
    }
}

Test(gemm, a_matrix_larger_than_any_memory_is_refused)
{
    struct oct_device *d = open_variant(0, 1);
    const char row = 0; /* never read */
    const struct oct_matrix_desc m = {.n = INT32_MAX, .k = INT32_MAX, .dtype = K_F32, .rows = &row};
    k_ptr w = 42;
    cr_assert_eq(oct_dev_matrix_create(d, &m, &w), OCT_E_LIMIT);
    cr_assert_eq(w, 42u);
    cr_assert_eq(d->table->matrix_bytes(d, INT32_MAX, INT32_MAX, K_F32), UINT64_MAX);
    const uint64_t plain = d->table->matrix_bytes(d, 100, 64, K_BF16);
    cr_assert(plain >= 100 * 64 * 2 && plain < 2 * 100 * 64 * 2, "%llu", (unsigned long long)plain);
    oct_dev_close(d);
}

#if OCT_FAULTS
Test(gemm, a_matrix_that_finds_no_memory_leaves_nothing)
{
    struct oct_device *d = open_variant(0, 1);
    struct product p = make((struct shape){1, 8, 8}, K_BF16, K_BF16, false, 1);
    const struct oct_matrix_desc m = {.n = 8, .k = 8, .dtype = K_BF16, .rows = p.weight};
    for (uint64_t k = 1; k <= 3; k++) {
        k_ptr w = 42;
        const struct oct_mem_stats before = oct_mem_stats();
        oct_fault_arm(OCT_FAULT_MEM, k, false, OCT_FAULT_FAIL);
        const oct_status st = oct_dev_matrix_create(d, &m, &w);
        oct_fault_reset();
        if (k == 3) { /* two allocations: the object and its panels */
            cr_assert_eq(st, OCT_OK);
            oct_dev_matrix_destroy(d, w);
        } else {
            cr_assert_eq(st, OCT_E_MEM, "k=%d", (int)k);
            cr_assert_eq(w, 42u);
        }
        const struct oct_mem_stats after = oct_mem_stats();
        cr_assert_eq(after.n_allocs - before.n_allocs, after.n_frees - before.n_frees);
    }
    oct_dev_close(d);
    drop(&p);
}
#endif
