/* SPDX-License-Identifier: Apache-2.0
 *
 * Matrix products by cuBLASLt, the stand-in of the virtual GPU: against the CPU backend on odd
 * shapes, recorded and replayed, and a library that fails. What must not be read is NaN, what must
 * not be written is compared. */
#include "device/virtual_gpu.h"

#include "base/bf16.h"
#include "base/mem.h"
#include "cpu/cpu.h"

#include <math.h>

enum { M_MAX = 65, ROWS = 80, FREE_BYTES = 1 << 20 };

struct shape {
    int32_t n, k;
    bool bias, residual, f32;
};

/* Operands on the host and on the device. */
struct rig {
    const struct shape *s;
    struct oct_device *d, *cpu;
    int64_t in_stride, out_stride;
    uint16_t *weight, *in, *add; /* add: the residual, in the place of out */
    float *bias, *magnitude;     /* [M_MAX, n]: sum of |in weight| + |bias| */
    k_ptr w, w_cpu, d_in, d_out, d_bias;
};

static float number(void)
{
    static uint64_t state = 88172645463325252u;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (float)(int32_t)(state >> 32) * 0x1p-31f;
}

static uint16_t *bf16_numbers(int64_t rows, int64_t cols, int64_t stride, int64_t of_rows)
{
    uint16_t *x = malloc((size_t)(of_rows * stride) * sizeof *x);
    memset(x, 0xff, (size_t)(of_rows * stride) * sizeof *x);
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t i = 0; i < cols; i++) {
            x[r * stride + i] = oct_f32_to_bf16(number());
        }
    }
    return x;
}

static size_t out_bytes(const struct rig *r)
{
    return (size_t)(ROWS * r->out_stride) * (r->s->f32 ? 4 : 2);
}

static k_ptr there(struct oct_device *d, const void *host, size_t bytes)
{
    k_ptr p;
    DONE(oct_dev_alloc(d, bytes, &p));
    DONE(oct_dev_upload(d, p, host, bytes));
    return p;
}

static void measure_magnitude(struct rig *r)
{
    const int32_t n = r->s->n, k = r->s->k;
    r->magnitude = malloc(sizeof *r->magnitude * (size_t)(M_MAX * n));
    for (int64_t m = 0; m < M_MAX; m++) {
        for (int64_t j = 0; j < n; j++) {
            float sum = r->s->bias ? fabsf(r->bias[j]) : 0;
            for (int64_t i = 0; i < k; i++) {
                sum += fabsf(oct_bf16_to_f32(r->in[m * r->in_stride + i]) *
                             oct_bf16_to_f32(r->weight[j * k + i]));
            }
            r->magnitude[m * n + j] = sum;
        }
    }
}

/* A device with the library and room for what a rig has. */
static struct oct_device *open_lt(const struct shape *s, uint64_t more)
{
    struct k_limits limits = small_limits();
    struct oct_device *d = open_gpu();
    limits.n_gemms = 1;
    limits.gemms[0].n = s->n;
    limits.gemms[0].k = s->k;
    const uint64_t before = oct_dev_work_bytes(d, &limits);
    DONE(oct_cuda_use_cublaslt(d));
    const uint64_t work = oct_dev_work_bytes(d, &limits);
    cr_assert_geq(work, before + (8 << 20), "the library's workspace is not in the plan");
    DONE(oct_dev_reserve(d, work + more + 2 * d->table->matrix_bytes(d, s->n, s->k, K_BF16)));
    DONE(oct_dev_prepare(d, &limits));
    cr_assert_eq(oct_cuda_counts(d).used_bytes, work);
    return d;
}

static void open_rig(struct rig *r, const struct shape *s)
{
    *r = (struct rig){.s = s, .in_stride = k_row_stride(s->k) + 8};
    r->out_stride = s->f32 ? s->n + 1 : k_row_stride(s->n) + 16;
    r->weight = bf16_numbers(s->n, s->k, s->k, s->n);
    r->in = bf16_numbers(M_MAX, s->k, r->in_stride, ROWS);
    r->add = bf16_numbers(M_MAX, s->n, r->out_stride, ROWS);
    r->bias = malloc(sizeof *r->bias * (size_t)s->n);
    for (int32_t i = 0; i < s->n; i++) {
        r->bias[i] = 8 * number();
    }
    measure_magnitude(r);
    const struct oct_matrix_desc desc = {s->n,      s->k,  K_BF16,
                                         r->weight, false, s->bias ? r->bias : NULL};
    DONE(oct_cpu_open(1, &r->cpu));
    DONE(oct_dev_matrix_create(r->cpu, &desc, &r->w_cpu));
    r->d = open_lt(s, FREE_BYTES);
    const uint64_t used = oct_cuda_counts(r->d).used_bytes;
    DONE(oct_dev_matrix_create(r->d, &desc, &r->w));
    const uint64_t taken = oct_cuda_counts(r->d).used_bytes - used,
                   said = r->d->table->matrix_bytes(r->d, s->n, s->k, K_BF16);
    cr_assert(taken <= said && (taken == said || !s->bias), "%llu bytes, %llu said",
              (unsigned long long)taken, (unsigned long long)said);
    r->d_in = there(r->d, r->in, (size_t)(ROWS * r->in_stride) * 2);
    r->d_bias = there(r->d, r->bias, sizeof *r->bias * (size_t)s->n);
    DONE(oct_dev_alloc(r->d, out_bytes(r), &r->d_out));
}

static void close_rig(struct rig *r)
{
    oct_dev_matrix_destroy(r->d, r->w);
    oct_dev_matrix_destroy(r->cpu, r->w_cpu);
    oct_dev_close(r->d);
    oct_dev_close(r->cpu);
    free(r->weight);
    free(r->in);
    free(r->add);
    free(r->bias);
    free(r->magnitude);
}

static struct k_gemm_args product(const struct rig *r, int32_t m)
{
    return (struct k_gemm_args){.out = r->d_out,
                                .in = r->d_in,
                                .weight = r->w,
                                .bias = r->s->bias ? r->d_bias : 0,
                                .residual = r->s->residual ? r->d_out : 0,
                                .out_stride = r->out_stride,
                                .in_stride = r->in_stride,
                                .m = m,
                                .n = r->s->n,
                                .k = r->s->k,
                                .dtype = K_BF16,
                                .out_dtype = r->s->f32 ? K_F32 : K_BF16};
}

/* What out holds before. */
static unsigned char *blank(const struct rig *r)
{
    unsigned char *p = malloc(out_bytes(r));
    memset(p, 0xa5, out_bytes(r));
    if (r->s->residual) {
        memcpy(p, r->add, out_bytes(r));
    }
    return p;
}

static float out_at(const struct rig *r, const void *out, int64_t at)
{
    return r->s->f32 ? ((const float *)out)[at] : oct_bf16_to_f32(((const uint16_t *)out)[at]);
}

/* The sum of k products: each side is off from the exact one by at most half a unit of 2^-23 of the
 * sum of absolute values for each of its k + 1 additions (the library may cut instead of round: a
 * whole one). A bf16 result: each side rounds once, by at most 2^-8 of its value; the CPU once more
 * where there is a residual, the product first. The library takes the bias in bf16: 2^-8 of it. */
static float bound_of(const struct rig *r, int64_t row, int64_t col, float want, float add)
{
    float b = r->magnitude[row * r->s->n + col] * 1.5f * (float)(r->s->k + 1) * 0x1p-23f;
    if (!r->s->f32) {
        b += fabsf(want) * 0x1p-7f * 1.01f;
        b += r->s->bias ? fabsf(r->bias[col]) * 0x1p-8f : 0;
        b += r->s->residual ? fabsf(want - add) * 0x1p-8f * 1.02f : 0;
    }
    return b;
}

static void compare(const struct rig *r, int32_t m)
{
    unsigned char *want = blank(r), *got = blank(r), *before = blank(r);
    struct k_gemm_args a = product(r, m);
    DONE(oct_dev_upload(r->d, r->d_out, got, out_bytes(r)));
    DONE(oct_dev_gemm(r->d, &a));
    DONE(oct_dev_download(r->d, got, r->d_out, out_bytes(r)));
    a.out = (k_ptr)(uintptr_t)want;
    a.in = (k_ptr)(uintptr_t)r->in;
    a.weight = r->w_cpu;
    a.bias = r->s->bias ? (k_ptr)(uintptr_t)r->bias : 0;
    a.residual = r->s->residual ? a.out : 0;
    DONE(oct_dev_gemm(r->cpu, &a));
    const size_t width = r->s->f32 ? 4 : 2;
    for (int64_t i = 0; i < ROWS * r->out_stride; i++) {
        const int64_t row = i / r->out_stride, col = i % r->out_stride;
        if (row >= m || col >= r->s->n) {
            cr_assert_arr_eq(got + (size_t)i * width, before + (size_t)i * width, width,
                             "[%d, %d]: row %d column %d was written", m, r->s->n, (int)row,
                             (int)col);
            continue;
        }
        const float w = out_at(r, want, i), g = out_at(r, got, i);
        const float b = bound_of(r, row, col, w, r->s->residual ? oct_bf16_to_f32(r->add[i]) : 0);
        cr_assert(fabsf(w - g) <= b,
                  "%d x %d x %d%s%s%s: [%d, %d] is %.9g, the CPU has %.9g, bound %g", m, r->s->n,
                  r->s->k, r->s->bias ? ", bias" : "", r->s->residual ? ", residual" : "",
                  r->s->f32 ? ", fp32" : "", (int)row, (int)col, (double)g, (double)w, (double)b);
    }
    free(want);
    free(got);
    free(before);
}

ParameterizedTestParameters(cuda_cublaslt, products_are_the_cpus)
{
    static struct shape shapes[] = {
        {8, 8, false, false, false},  {24, 40, true, false, false},  {40, 24, false, true, false},
        {88, 136, true, true, false}, {101, 72, false, false, true}, {56, 584, true, false, true},
        {72, 20, true, true, false}, /* rows of the weight are padded */
    };
    return cr_make_param_array(struct shape, shapes, sizeof shapes / sizeof *shapes);
}

ParameterizedTest(struct shape *s, cuda_cublaslt, products_are_the_cpus)
{
    struct rig r;
    use_gpu(s->n % 16 ? "a100" : "h100", NULL);
    open_rig(&r, s);
    for (int32_t m = 1; m <= M_MAX; m += m < 18 || m == 33 || m == 64 ? 1 : 15) {
        compare(&r, m);
    }
    close_rig(&r);
    no_findings();
}

Test(cuda_cublaslt, the_fused_pair_has_the_bits_of_its_halves)
{
    enum { N = 48, K = 72, M = 7 };
    static const struct shape s = {N, K, true, false, false};
    struct rig r;
    uint16_t halves[M * N / 2], fused[M * N / 2];
    k_ptr pair, act_out;
    use_gpu("h100", NULL);
    open_rig(&r, &s);
    const struct oct_matrix_desc desc = {N, K, K_BF16, r.weight, true, r.bias};
    DONE(oct_dev_matrix_create(r.d, &desc, &pair));
    DONE(oct_dev_alloc(r.d, sizeof halves, &act_out));
    struct k_gemm_silu_args both = {
        .gemm = product(&r, M),
        .act = {.out = act_out, .in = r.d_out, .rows = M, .dim = N / 2, .dtype = K_BF16}};
    both.gemm.out_stride = N; /* as silu_mul reads it */
    DONE(oct_dev_gemm(r.d, &both.gemm));
    DONE(oct_dev_silu_mul(r.d, &both.act));
    DONE(oct_dev_download(r.d, halves, act_out, sizeof halves));
    both.gemm.weight = pair;
    DONE(oct_dev_gemm_silu(r.d, &both));
    DONE(oct_dev_download(r.d, fused, act_out, sizeof fused));
    cr_assert_arr_eq(fused, halves, sizeof fused);
    oct_dev_matrix_destroy(r.d, pair);
    close_rig(&r);
    no_findings();
}

/* ---- recording ---- */

static oct_status record(struct rig *r, int32_t m, enum oct_record *how, bool *again)
{
    const struct k_gemm_args a = product(r, m);
    *again = false;
    OCT_TRY(oct_dev_record_begin(r->d, (uint64_t)m, how));
    if (*how == OCT_RECORD_REPLAY) {
        return OCT_OK;
    }
    OCT_TRY(oct_dev_gemm(r->d, &a));
    if (*how == OCT_RECORD_ON) {
        OCT_TRY(oct_dev_record_end(r->d, again));
    }
    return *again ? oct_dev_gemm(r->d, &a) : OCT_OK;
}

/* A product is recorded once it has run: the library loads its kernels then. */
Test(cuda_cublaslt, products_are_recorded_when_they_have_run_once)
{
    static const struct shape s = {40, 72, true, false, false};
    struct rig r;
    enum oct_record how;
    bool again;
    use_gpu("h100", NULL);
    open_rig(&r, &s);
    unsigned char *first = blank(&r), *replayed = blank(&r);
    DONE(record(&r, 5, &how, &again));
    cr_assert(how == OCT_RECORD_ON && again, "%d", how);
    DONE(oct_dev_download(r.d, first, r.d_out, out_bytes(&r)));
    DONE(record(&r, 5, &how, &again));
    cr_assert(how == OCT_RECORD_ON && !again, "%d", how);
    DONE(record(&r, 6, &how, &again)); /* of the same bucket: its kernels are there */
    cr_assert(how == OCT_RECORD_ON && !again, "%d", how);
    DONE(oct_dev_upload(r.d, r.d_out, replayed, out_bytes(&r)));
    DONE(record(&r, 5, &how, &again));
    cr_assert_eq(how, OCT_RECORD_REPLAY);
    DONE(oct_dev_download(r.d, replayed, r.d_out, out_bytes(&r)));
    for (int64_t row = 0; row < 5; row++) {
        cr_assert_arr_eq(replayed + row * r.out_stride * 2, first + row * r.out_stride * 2,
                         (size_t)s.n * 2, "row %d", (int)row);
    }
    const struct oct_cuda_counts n = oct_cuda_counts(r.d);
    cr_assert(n.records == 2 && n.replays == 1 && !n.records_off, "%d, %d, %d", (int)n.records,
              (int)n.replays, n.records_off);
    free(first);
    free(replayed);
    close_rig(&r);
    no_findings();
}

/* ---- failures ---- */

struct plan {
    char fail[64];
    int status; /* OCT_OK: it gets over it */
    char words[120];
};

ParameterizedTestParameters(cuda_cublaslt, a_library_that_fails_is_final)
{
    static struct plan plans[] = {
        {"cublasLtMatmul:3", OCT_E_DEVICE,
         "cublasLtMatmul of [5, 72] by [40, 72] to bfloat16, with bias: "
         "CUBLAS_STATUS_INTERNAL_ERROR"},
        {"cublasLtMatmul:3+=15", OCT_E_DEVICE, "CUBLAS_STATUS_NOT_SUPPORTED"},
        {"cublasLtMatmul:1=13", OCT_E_DEVICE, "CUBLAS_STATUS_EXECUTION_FAILED"},
        {"cublasLtMatmulAlgoGetHeuristic:1=15", OCT_E_DEVICE,
         "cublasLtMatmulAlgoGetHeuristic of [1, 72] by [40, 72] to bfloat16, with bias: "
         "CUBLAS_STATUS_NOT_SUPPORTED"},
        /* Not for this number of rows: it is asked for by itself, once. */
        {"cublasLtMatmul:3=15", OCT_OK, ""},
        {"cublasLtMatmul:4=7", OCT_OK, ""},
    };
    return cr_make_param_array(struct plan, plans, sizeof plans / sizeof *plans);
}

ParameterizedTest(struct plan *p, cuda_cublaslt, a_library_that_fails_is_final)
{
    static const struct shape s = {40, 72, true, false, false};
    struct rig r;
    oct_status st = OCT_OK;
    use_gpu("a100", p->fail);
    const struct oct_mem_stats before = oct_mem_stats();
    open_rig(&r, &s);
    for (int32_t m = 1; m <= 9 && st == OCT_OK; m += 2) {
        const struct k_gemm_args a = product(&r, m);
        st = oct_dev_gemm(r.d, &a);
        st = st != OCT_OK ? st : oct_dev_sync(r.d);
    }
    cr_assert_eq(st, p->status, "%s: %s", p->fail, oct_last_error());
    if (st == OCT_OK) {
        compare(&r, 5);
    } else {
        cr_assert(strstr(oct_last_error(), p->words), "\"%s\" does not say \"%s\"",
                  oct_last_error(), p->words);
        char first[512];
        (void)snprintf(first, sizeof first, "%s", oct_last_error());
        const struct k_gemm_args a = product(&r, 1);
        FAILS(oct_dev_sync(r.d), OCT_E_DEVICE, first);
        FAILS(oct_dev_gemm(r.d, &a), OCT_E_DEVICE, first);
    }
    close_rig(&r);
    const struct oct_mem_stats after = oct_mem_stats();
    cr_assert_eq(after.n_allocs - before.n_allocs, after.n_frees - before.n_frees);
    no_findings();
}

/* While a record is made nothing has run: the steps go on without records. */
Test(cuda_cublaslt, a_product_that_cannot_be_recorded_runs_by_itself)
{
    static const struct shape s = {40, 72, false, false, false};
    struct rig r;
    enum oct_record how;
    bool again;
    use_gpu("h100", "cublasLtMatmul:2");
    open_rig(&r, &s);
    DONE(record(&r, 5, &how, &again)); /* runs: call 1 */
    DONE(record(&r, 5, &how, &again)); /* call 2 is refused, 3 runs */
    cr_assert(how == OCT_RECORD_ON && again);
    DONE(record(&r, 5, &how, &again));
    cr_assert_eq(how, OCT_RECORD_NO);
    cr_assert(oct_cuda_counts(r.d).records_off);
    compare(&r, 5);
    close_rig(&r);
    no_findings();
}

Test(cuda_cublaslt, a_library_that_does_not_start_is_a_sentence)
{
    use_gpu("h100", "cublasLtCreate:1");
    struct oct_device *d = open_gpu();
    FAILS(oct_cuda_use_cublaslt(d), OCT_E_DEVICE, "cublasLtCreate: CUBLAS_STATUS_INTERNAL_ERROR");
    oct_dev_close(d);
}

Test(cuda_cublaslt, the_device_says_who_multiplies)
{
    use_gpu("h100", NULL);
    struct oct_device *d = open_gpu();
    cr_assert_null(strstr(d->about, "cuBLASLt"), "%s", d->about);
    DONE(oct_cuda_use_cublaslt(d));
    cr_assert_not_null(strstr(d->about, ", products by cuBLASLt 13.0.0"), "%s", d->about);
    oct_dev_close(d);
    no_findings();
}
