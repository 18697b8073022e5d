/* SPDX-License-Identifier: Apache-2.0 */
#include "cuda/gemm_test.h"

#include "cpu/cpu.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

uint32_t gt_random(void)
{
    static uint64_t state = 88172645463325252u;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 32);
}

float gt_float(uint16_t bf16)
{
    const uint32_t bits = (uint32_t)bf16 << 16;
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

uint16_t gt_bf16(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static float number(const struct gt_case *c)
{
    const uint32_t r = gt_random();
    return c->whole_numbers ? (float)(r % 9) - 4 : (float)(int32_t)r * 0x1p-31f;
}

static int64_t padded_rows(const struct gt_case *c)
{
    return (c->m_max + K_GEMM_ROW_PAD - 1) / K_GEMM_ROW_PAD * K_GEMM_ROW_PAD;
}

static size_t out_bytes(const struct gt_case *c)
{
    return (size_t)(padded_rows(c) * c->out_stride * (c->f32 ? 4 : 2));
}

static uint16_t *nans(int64_t n)
{
    uint16_t *p = malloc((size_t)n * 2);
    memset(p, 0xff, (size_t)n * 2);
    return p;
}

static k_ptr put_packed(const struct gt_case *c, bool gate_up)
{
    const size_t bytes = k_gemm_packed_bytes(c->n, c->k);
    void *packed = malloc(bytes);
    k_gemm_pack(c->weight, c->n, c->k, gate_up, 0, k_gemm_n_panels(c->n), packed);
    const k_ptr p = kt_put(packed, bytes);
    free(packed);
    return p;
}

void gt_make(struct gt_case *c)
{
    const int64_t rows = padded_rows(c);
    c->in_stride = k_row_stride(c->k) + 8 * (gt_random() % 3);
    /* Logits have rows of any length. */
    c->out_stride =
        c->f32 ? c->n + (int64_t)(gt_random() % 3) : k_row_stride(c->n) + 8 * (gt_random() % 3);
    c->in = nans(rows * c->in_stride);
    c->weight = malloc((size_t)c->n * (size_t)c->k * 2);
    c->add = nans(rows * c->out_stride);
    c->b = malloc((size_t)c->n * sizeof *c->b);
    for (int64_t r = 0; r < c->m_max; r++) {
        for (int64_t k = 0; k < c->k; k++) {
            c->in[r * c->in_stride + k] = gt_bf16(number(c));
        }
        for (int64_t j = 0; j < c->n; j++) {
            c->add[r * c->out_stride + j] = gt_bf16(8 * number(c));
        }
    }
    for (int64_t i = 0; i < (int64_t)c->n * c->k; i++) {
        c->weight[i] = gt_bf16(number(c));
    }
    for (int64_t j = 0; j < c->n; j++) {
        c->b[j] = 8 * number(c);
    }
    c->d_in = kt_put(c->in, (size_t)(rows * c->in_stride) * 2);
    c->d_bias = kt_put(c->b, (size_t)c->n * sizeof *c->b);
    c->d_weight = put_packed(c, false);
    c->d_weight_silu = c->n % 16 == 0 ? put_packed(c, true) : 0;
    c->out = malloc(out_bytes(c));
    c->kept = malloc(out_bytes(c));
}

void gt_drop(struct gt_case *c)
{
    kt_free(c->d_in);
    kt_free(c->d_bias);
    kt_free(c->d_weight);
    if (c->d_weight_silu) {
        kt_free(c->d_weight_silu);
    }
    free(c->in);
    free(c->weight);
    free(c->add);
    free(c->b);
    free(c->oracle);
    free(c->magnitude);
    free(c->out);
    free(c->kept);
}

static k_ptr host(const void *p)
{
    return (k_ptr)(uintptr_t)p;
}

void gt_oracle(struct gt_case *c)
{
    struct oct_device *d = NULL;
    k_ptr w = 0;
    const struct oct_matrix_desc desc = {.n = c->n, .k = c->k, .dtype = K_BF16, .rows = c->weight};
    cr_assert_eq(oct_cpu_open(1, &d), OCT_OK);
    cr_assert_eq(oct_dev_matrix_create(d, &desc, &w), OCT_OK);
    c->oracle = malloc(out_bytes(c));
    memcpy(c->oracle, c->add, (size_t)(padded_rows(c) * c->out_stride) * 2);
    const struct k_gemm_args a = {.out = host(c->oracle),
                                  .in = host(c->in),
                                  .weight = w,
                                  .bias = c->bias ? host(c->b) : 0,
                                  .residual = c->residual ? host(c->oracle) : 0,
                                  .out_stride = c->out_stride,
                                  .in_stride = c->in_stride,
                                  .m = c->m_max,
                                  .n = c->n,
                                  .k = c->k,
                                  .dtype = K_BF16,
                                  .out_dtype = c->f32 ? K_F32 : K_BF16};
    cr_assert_eq(oct_dev_gemm(d, &a), OCT_OK);
    cr_assert_eq(oct_dev_sync(d), OCT_OK);
    oct_dev_matrix_destroy(d, w);
    oct_dev_close(d);

    c->magnitude = malloc((size_t)c->m_max * (size_t)c->n * sizeof *c->magnitude);
    float *w_abs = malloc((size_t)c->n * (size_t)c->k * sizeof *w_abs);
    for (int64_t i = 0; i < (int64_t)c->n * c->k; i++) {
        w_abs[i] = fabsf(gt_float(c->weight[i]));
    }
    for (int64_t r = 0; r < c->m_max; r++) {
        for (int64_t j = 0; j < c->n; j++) {
            float s = c->bias ? fabsf(c->b[j]) : 0;
            for (int64_t k = 0; k < c->k; k++) {
                s += fabsf(gt_float(c->in[r * c->in_stride + k])) * w_abs[j * c->k + k];
            }
            c->magnitude[r * c->n + j] = s;
        }
    }
    free(w_abs);
}

static struct k_launch last[K_MAX_LAUNCHES];
static int n_last;

int gt_launches(const struct k_launch **out)
{
    *out = last;
    return n_last;
}

static void launch(enum k_op op, const void *args, const struct gt_how *how)
{
    struct k_facts f = *kt_facts();
    const struct k_work w = kt_work();
    f.n_sms = how->n_sms ? how->n_sms : f.n_sms;
    kt_seed(how->seed);
    n_last = k_plan((int32_t)op, &f, &w, args, last);
    cr_assert_eq(n_last, 1);
    if (how->kernel >= 0) {
        cr_assert(k_gemm_replan(&f, &w, how->kernel, last));
    }
    kt_launch(last, n_last);
}

static struct k_gemm_args args_of(const struct gt_case *c, int32_t m, k_ptr out, k_ptr weight)
{
    return (struct k_gemm_args){.out = out,
                                .in = c->d_in,
                                .weight = weight,
                                .bias = c->bias ? c->d_bias : 0,
                                .residual = c->residual ? out : 0,
                                .out_stride = c->out_stride,
                                .in_stride = c->in_stride,
                                .m = m,
                                .n = c->n,
                                .k = c->k,
                                .dtype = K_BF16,
                                .out_dtype = c->f32 ? K_F32 : K_BF16};
}

void gt_run(struct gt_case *c, int32_t m, const struct gt_how *how)
{
    const size_t bytes = out_bytes(c);
    unsigned char *before = malloc(bytes);
    memset(before, 0xa5, bytes);
    if (c->residual) {
        memcpy(before, c->add, bytes);
    }
    const k_ptr out = kt_put(before, bytes);
    const struct k_gemm_args a = args_of(c, m, out, c->d_weight);
    launch(K_OP_gemm, &a, how);
    kt_get(c->out, out, bytes);
    kt_free(out);
    const int64_t es = c->f32 ? 4 : 2, end = padded_rows(c) * c->out_stride;
    for (int64_t i = 0; i < end; i++) {
        if (i / c->out_stride >= m || i % c->out_stride >= c->n) {
            cr_assert_arr_eq((char *)c->out + i * es, before + i * es, (size_t)es,
                             "%d x %d x %d: element %lld of row %lld was written", m, c->n, c->k,
                             (long long)(i % c->out_stride), (long long)(i / c->out_stride));
        }
    }
    free(before);
}

uint16_t *gt_run_silu(struct gt_case *c, int32_t m, const struct gt_how *how)
{
    const int32_t f = c->n / 2;
    const size_t bytes = (size_t)m * (size_t)f * 2;
    uint16_t *out = malloc(bytes);
    const k_ptr scratch = kt_room(out_bytes(c)), d_out = kt_room(bytes);
    const struct k_gemm_silu_args a = {
        .gemm = args_of(c, m, scratch, c->d_weight_silu),
        .act = {.out = d_out, .in = scratch, .rows = m, .dim = f, .dtype = K_BF16}};
    launch(K_OP_gemm_silu, &a, how);
    kt_get(out, d_out, bytes);
    kt_free(scratch);
    kt_free(d_out);
    return out;
}

/* How far a sum of k products may be from the CPU's, in units of the sum of the absolute values:
 * both are off from the exact one by at most half an ulp of 2^-23 for each addition on the way
 * there; on the CPU those are at most k, in a kernel 32 of a chunk, in each 16 of an MMA that may
 * cut instead of round, and one for each chunk and the bias. */
static float sum_bound(int32_t k)
{
    const float chunks = ceilf((float)k / K_GEMM_CHUNK);
    return (0.5f * (float)(k + 1) + 32 + 16 + 0.5f * (chunks + 1)) * 0x1p-23f;
}

void gt_compare_with_oracle(const struct gt_case *c, const char *what)
{
    for (int64_t r = 0; r < c->m_max; r++) {
        for (int64_t j = 0; j < c->n; j++) {
            const int64_t at = r * c->out_stride + j;
            float want, got;
            if (c->f32) {
                want = ((float *)c->oracle)[at];
                got = ((float *)c->out)[at];
            } else {
                want = gt_float(((uint16_t *)c->oracle)[at]);
                got = gt_float(((uint16_t *)c->out)[at]);
            }
            /* bf16: one unit, at most 2^-7 of the value, where a rounding goes the other way; two
             * with a residual, the first one of the product. */
            const float s = c->magnitude[r * c->n + j];
            float bound = s * sum_bound(c->k);
            if (!c->f32) {
                bound += fabsf(want) * 0x1p-7f;
            }
            if (c->residual) {
                bound += fabsf(want - gt_float(c->add[at])) * 0x1p-7f + fabsf(want) * 0x1p-7f;
            }
            bound = c->whole_numbers ? 0 : bound;
            cr_assert(fabsf(got - want) <= bound,
                      "%s, %d x %d x %d, %s%s%s: row %lld column %lld is %.9g, the CPU has %.9g, "
                      "bound %g",
                      what, c->m_max, c->n, c->k, c->f32 ? "fp32 " : "", c->bias ? "bias " : "",
                      c->residual ? "residual" : "", (long long)r, (long long)j, (double)got,
                      (double)want, (double)bound);
        }
    }
}

void gt_keep(struct gt_case *c)
{
    memcpy(c->kept, c->out, out_bytes(c));
}

void gt_compare_with_kept(const struct gt_case *c, int32_t m, const struct gt_how *how,
                          const char *what)
{
    const int64_t es = c->f32 ? 4 : 2;
    for (int64_t r = 0; r < m; r++) {
        const int64_t at = r * c->out_stride * es;
        cr_assert_arr_eq((char *)c->out + at, (char *)c->kept + at, (size_t)(c->n * es),
                         "%s, %s: row %lld of %d x %d x %d planned for %d SMs has other bits", what,
                         k_kernel_table[last[0].kernel].name, (long long)r, m, c->n, c->k,
                         how->n_sms);
    }
}

void gt_compare_with_act(const struct gt_case *c, const uint16_t *out, int32_t m, const char *what)
{
    const int32_t f = c->n / 2;
    const size_t bytes = (size_t)m * (size_t)f * 2;
    uint16_t *in = malloc(2 * bytes), *want = malloc(bytes);
    for (int64_t r = 0; r < m; r++) {
        memcpy(in + r * 2 * f, (uint16_t *)c->kept + r * c->out_stride, (size_t)f * 4);
    }
    struct k_launch l[K_MAX_LAUNCHES];
    struct k_silu_mul_args a = {.rows = m, .dim = f, .dtype = K_BF16};
    const struct k_work w = kt_work();
    if (k_plan(K_OP_silu_mul, kt_facts(), &w, &a, l) > 0) {
        a.in = kt_put(in, 2 * bytes);
        a.out = kt_room(bytes);
        kt_run(K_OP_silu_mul, &a);
        kt_get(want, a.out, bytes);
        cr_assert_arr_eq(out, want, bytes, "%s: %d x %d is not what silu_mul makes", what, m, f);
        kt_free(a.in);
        kt_free(a.out);
    }
    free(in);
    free(want);
}
