/* SPDX-License-Identifier: Apache-2.0
 *
 * cuda_cublaslt.c - matrix products by cuBLASLt in place of our kernels, where the caller asked for
 * it: weights stay row by row, a product is one cublasLtMatmul, the fused pair is the product and
 * then the kernel of silu_mul.
 *
 * The library thinks in columns, so its matrices are our transposed ones: A is the weight, [K, N]
 * by columns and taken transposed, B the input [K, M], C and D residual and output [N, M].
 *
 * Numerics: sums in fp32 in an order that the library chooses by the shape, M included: a row's
 * bits may depend on how many others there are. Product, bias and residual are added in fp32 and
 * rounded once, where gemm.h rounds the product first. A bias is rounded to bf16 before (the
 * library takes no other for bf16 results), but not for fp32 results. */
#include "device/cuda_device.h"

#include "base/bf16.h"
#include "base/mem.h"

#include <stdio.h>
#include <string.h>

enum {
    KEPT = 256,                /* products remembered: shapes of a model by powers of two of M */
    WORK_BYTES = 8 << 20,      /* enough for split sums on sm_80; */
    WORK_BYTES_SM90 = 32 << 20 /* what NVIDIA recommends from sm_90 on */
};

/* What the library's choice of an algorithm depends on. M by powers of two: the algorithm is chosen
 * for the largest of a bucket, so that its workspace is enough for all. */
struct product_key {
    int32_t m, n, k;
    int32_t out_dtype;
    int32_t out_align; /* bytes, 4 to 16 */
    bool bias, residual;
    bool exact; /* m is no bucket */
    bool pad_;
};

struct product {
    struct product_key key;
    oct_lt_desc desc;
    oct_lt_layout weight, in, out;
    struct oct_lt_algo algo;
    bool ran;     /* so its kernels are loaded, and it may be recorded */
    bool refused; /* for one M of the bucket: each is asked for by itself from now on */
};

struct oct_cuda_lt {
    const struct oct_lt *calls;
    oct_lt_handle handle;
    k_ptr work;
    uint64_t work_bytes;
    struct product kept[KEPT];
    int n, next; /* next: what is given up when all are taken */
};

/* ---- opening ---- */

static oct_status lt_failed(struct oct_cuda *c, const char *call, oct_lt_status s)
{
    return oct_cuda_die_of(c, call, oct_lt_status_name(s));
}

oct_status oct_cuda_use_cublaslt(struct oct_device *d)
{
    struct oct_cuda *c = oct_cuda_of(d);
    const struct oct_lt *calls;
    OCT_ASSERT(!c->arena.base && !c->lt);
    OCT_TRY(oct_lt_open(c->cu->version, &calls));
    OCT_TRY(oct_cuda_enter(c));
    struct oct_cuda_lt *lt = oct_calloc(1, sizeof *lt);
    if (!lt) {
        return oct_no_memory("cuBLASLt's products", sizeof *lt);
    }
    const oct_lt_status s = calls->create(&lt->handle);
    if (s != OCT_LT_OK) {
        oct_free(lt);
        return lt_failed(c, "cublasLtCreate", s);
    }
    lt->calls = calls;
    lt->work_bytes = c->facts.sm >= 90 ? WORK_BYTES_SM90 : WORK_BYTES;
    c->lt = lt;
    const size_t v = calls->version(), used = strlen(d->about);
    (void)snprintf(d->about + used, sizeof d->about - used, ", products by cuBLASLt %zu.%zu.%zu",
                   v / 10000, v / 100 % 100, v % 100);
    size_t free_bytes, total; /* the library has taken some */
    OCT_CU(c, mem_get_info, &free_bytes, &total);
    d->free_bytes = free_bytes;
    return OCT_OK;
}

uint64_t oct_cuda_lt_work_bytes(const struct oct_cuda *c)
{
    return c->lt ? c->lt->work_bytes : 0;
}

oct_status oct_cuda_lt_prepare(struct oct_cuda *c)
{
    return c->lt ? oct_cuda_take(c, c->lt->work_bytes, &c->lt->work) : OCT_OK;
}

static void drop(const struct oct_lt *calls, struct product *p)
{
    if (p->desc) {
        (void)calls->desc_destroy(p->desc);
    }
    const oct_lt_layout layouts[] = {p->weight, p->in, p->out};
    for (size_t i = 0; i < sizeof layouts / sizeof *layouts; i++) {
        if (layouts[i]) {
            (void)calls->layout_destroy(layouts[i]);
        }
    }
    *p = (struct product){0};
}

void oct_cuda_lt_close(struct oct_cuda *c)
{
    struct oct_cuda_lt *lt = c->lt;
    if (!lt) {
        return;
    }
    for (int i = 0; i < lt->n; i++) {
        drop(lt->calls, &lt->kept[i]);
    }
    (void)lt->calls->destroy(lt->handle);
    oct_free(lt);
    c->lt = NULL;
}

/* ---- weights ---- */

struct rows {
    const struct oct_matrix_desc *m;
    char *dst;
    size_t row_bytes;
    int64_t first; /* row at dst */
};

static void copy_rows(void *arg, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    const struct rows *r = arg;
    const size_t bytes = (size_t)r->m->k * sizeof(uint16_t);
    for (int64_t i = begin; i < end; i++) {
        char *to = r->dst + (size_t)i * r->row_bytes;
        memcpy(to, (const char *)r->m->rows + (size_t)(r->first + i) * bytes, bytes);
        memset(to + bytes, 0, r->row_bytes - bytes);
    }
}

static uint64_t weight_bytes(int32_t n, int32_t k)
{
    return (uint64_t)n * (uint64_t)k_row_stride(k) * sizeof(uint16_t);
}

static uint64_t bias_bytes(int32_t n)
{
    return (uint64_t)n * sizeof(uint16_t);
}

/* Each block of the arena by itself: as oct_cuda_take() rounds. */
uint64_t oct_cuda_lt_matrix_bytes(int32_t n, int32_t k)
{
    return (weight_bytes(n, k) + 255) / 256 * 256 + (bias_bytes(n) + 255) / 256 * 256;
}

static oct_status upload_rows(struct oct_cuda *c, const struct oct_matrix_desc *m, k_ptr dst)
{
    const size_t row_bytes = (size_t)k_row_stride(m->k) * sizeof(uint16_t);
    for (int64_t at = 0; at < m->n;) {
        void *buffer;
        size_t room;
        OCT_TRY(oct_cuda_stage(c, row_bytes, &buffer, &room));
        const int64_t fit = (int64_t)(room / row_bytes), left = m->n - at;
        const int64_t n = fit < left ? fit : left;
        oct_pool_run(c->dev.pool, INT32_MAX, n, 1 + (int64_t)((1 << 18) / row_bytes), copy_rows,
                     &(struct rows){m, buffer, row_bytes, at});
        OCT_TRY(oct_cuda_send(c, dst + (uint64_t)at * row_bytes, (size_t)n * row_bytes));
        at += n;
    }
    return OCT_OK;
}

static oct_status upload_bias(struct oct_cuda *c, const struct oct_matrix_desc *m, k_ptr dst)
{
    void *buffer;
    size_t room;
    OCT_TRY(oct_cuda_stage(c, bias_bytes(m->n), &buffer, &room));
    for (int32_t i = 0; i < m->n; i++) {
        ((uint16_t *)buffer)[i] = oct_f32_to_bf16(m->bias[i]);
    }
    return oct_cuda_send(c, dst, bias_bytes(m->n));
}

oct_status oct_cuda_lt_matrix_fill(struct oct_cuda *c, const struct oct_matrix_desc *m,
                                   struct oct_cuda_matrix *x)
{
    OCT_TRY(oct_cuda_take(c, weight_bytes(m->n, m->k), &x->packed));
    OCT_TRY(upload_rows(c, m, x->packed));
    if (m->bias) {
        OCT_TRY(oct_cuda_take(c, bias_bytes(m->n), &x->bias));
        OCT_TRY(upload_bias(c, m, x->bias));
    }
    return OCT_OK;
}

/* ---- choosing ---- */

/* A call of the library failed: "cublasLtMatmul of 5 x 4096 x 4096 to bfloat16". */
static oct_status product_failed(struct oct_cuda *c, const char *call, const struct k_gemm_args *a,
                                 oct_lt_status s)
{
    char what[128];
    (void)snprintf(what, sizeof what, "%s of [%d, %d] by [%d, %d] to %s%s%s", call, a->m, a->k,
                   a->n, a->k, a->out_dtype == K_F32 ? "float32" : "bfloat16",
                   a->bias ? ", with bias" : "", a->residual ? ", with residual" : "");
    return lt_failed(c, what, s);
}

static int32_t bucket_of(int32_t m)
{
    int32_t b = 1;
    while (b < m) {
        b *= 2;
    }
    return b;
}

/* The largest power of two up to 16 that divides both addresses. */
static int32_t alignment(k_ptr a, k_ptr b)
{
    const uint64_t bits = a | b | 16;
    return (int32_t)(bits & (~bits + 1));
}

static struct product_key key_of(const struct k_gemm_args *a, bool exact)
{
    struct product_key k;
    memset(&k, 0, sizeof k); /* compared as bytes */
    k.m = exact ? a->m : bucket_of(a->m);
    k.n = a->n;
    k.k = a->k;
    k.out_dtype = a->out_dtype;
    k.out_align = alignment(a->out, a->residual);
    k.bias = a->bias != 0;
    k.residual = a->residual != 0;
    k.exact = exact;
    return k;
}

static struct product *find(struct oct_cuda_lt *lt, const struct product_key *key)
{
    for (int i = 0; i < lt->n; i++) {
        if (!memcmp(&lt->kept[i].key, key, sizeof *key)) {
            return &lt->kept[i];
        }
    }
    return NULL;
}

static int lt_type(int32_t dtype)
{
    return dtype == K_F32 ? OCT_LT_F32 : OCT_LT_BF16;
}

#define SET(calls, kind, object, attr, value) \
    (calls)->kind##_set((object), (attr), &(value), sizeof(value))

/* Descriptors; the library's status. */
static oct_lt_status describe(const struct oct_lt *calls, const struct k_gemm_args *a,
                              const struct product_key *key, struct product *p)
{
    const int32_t transposed = OCT_LT_OP_T, type = lt_type(a->out_dtype);
    const uint32_t epilogue = OCT_LT_EPILOGUE_BIAS;
    const uint64_t m = (uint64_t)key->m, n = (uint64_t)a->n, k = (uint64_t)a->k;
    oct_lt_status s = calls->desc_create(&p->desc, OCT_LT_COMPUTE_F32, OCT_LT_F32);
    s = s ? s : SET(calls, desc, p->desc, OCT_LT_DESC_TRANSA, transposed);
    if (key->bias) {
        s = s ? s : SET(calls, desc, p->desc, OCT_LT_DESC_EPILOGUE, epilogue);
        s = s ? s : SET(calls, desc, p->desc, OCT_LT_DESC_BIAS_TYPE, type);
    }
    s = s ? s : calls->layout_create(&p->weight, OCT_LT_BF16, k, n, k_row_stride(a->k));
    s = s ? s : calls->layout_create(&p->in, OCT_LT_BF16, k, m, a->in_stride);
    return s ? s : calls->layout_create(&p->out, type, n, m, a->out_stride);
}

/* What changes from call to call; p is the same product. */
static oct_lt_status adjust(const struct oct_lt *calls, const struct k_gemm_args *a, k_ptr bias,
                            int32_t rows, struct product *p)
{
    const uint64_t m = (uint64_t)rows;
    oct_lt_status s = SET(calls, layout, p->in, OCT_LT_LAYOUT_COLS, m);
    s = s ? s : SET(calls, layout, p->in, OCT_LT_LAYOUT_LD, a->in_stride);
    s = s ? s : SET(calls, layout, p->out, OCT_LT_LAYOUT_COLS, m);
    s = s ? s : SET(calls, layout, p->out, OCT_LT_LAYOUT_LD, a->out_stride);
    if (bias) {
        s = s ? s : SET(calls, desc, p->desc, OCT_LT_DESC_BIAS_POINTER, bias);
    }
    return s;
}

static oct_lt_status prefer(const struct oct_lt *calls, uint64_t work_bytes, int32_t out_align,
                            oct_lt_pref *out)
{
    oct_lt_status s = calls->pref_create(out);
    if (s != OCT_LT_OK) {
        return s;
    }
    s = SET(calls, pref, *out, OCT_LT_PREF_WORKSPACE, work_bytes);
    for (int i = 0; i < 4; i++) { /* A, B, C, D; our rows are multiples of 16 bytes */
        const uint32_t align = i < 2 ? 16 : (uint32_t)out_align;
        s = s ? s : SET(calls, pref, *out, OCT_LT_PREF_ALIGN_A + i, align);
    }
    return s;
}

static oct_lt_status ask(struct oct_cuda_lt *lt, struct product *p)
{
    struct oct_lt_choice best = {0};
    oct_lt_pref pref = NULL;
    int n = 0;
    oct_lt_status s = prefer(lt->calls, lt->work_bytes, p->key.out_align, &pref);
    s = s ? s
          : lt->calls->choose(lt->handle, p->desc, p->weight, p->in, p->out, p->out, pref, 1, &best,
                              &n);
    if (pref) {
        (void)lt->calls->pref_destroy(pref);
    }
    s = s ? s : n < 1 ? OCT_LT_NOT_SUPPORTED : best.state;
    p->algo = best.algo;
    return s;
}

/* The product of this key, made if it is not known. */
static oct_status get(struct oct_cuda *c, const struct k_gemm_args *a, k_ptr bias,
                      const struct product_key *key, struct product **out)
{
    struct oct_cuda_lt *lt = c->lt;
    struct product *p = find(lt, key);
    if (!p) {
        struct product made = {.key = *key};
        oct_lt_status s = describe(lt->calls, a, key, &made);
        s = s ? s : adjust(lt->calls, a, bias, key->m, &made);
        s = s ? s : ask(lt, &made);
        if (s != OCT_LT_OK) {
            drop(lt->calls, &made);
            return product_failed(c, "cublasLtMatmulAlgoGetHeuristic", a, s);
        }
        if (lt->n < KEPT) {
            p = &lt->kept[lt->n++];
        } else {
            p = &lt->kept[lt->next];
            lt->next = (lt->next + 1) % KEPT;
            drop(lt->calls, p);
        }
        *p = made;
    }
    *out = p;
    return OCT_OK;
}

/* ---- multiplying ---- */

static oct_lt_status multiply(struct oct_cuda *c, const struct k_gemm_args *a, k_ptr weight,
                              k_ptr bias, struct product *p)
{
    const struct oct_cuda_lt *lt = c->lt;
    const float one = 1, beta = a->residual ? 1 : 0;
    const k_ptr residual = a->residual ? a->residual : a->out;
    const oct_lt_status s = adjust(lt->calls, a, bias, a->m, p);
    return s ? s
             : lt->calls->matmul(lt->handle, p->desc, &one, (const void *)(uintptr_t)weight,
                                 p->weight, (const void *)(uintptr_t)a->in, p->in, &beta,
                                 (const void *)(uintptr_t)residual, p->out,
                                 (void *)(uintptr_t)a->out, p->out, &p->algo,
                                 (void *)(uintptr_t)lt->work, lt->work_bytes, c->stream);
}

/* The library loads kernels when it first runs them, which a recording might not bear. */
static oct_status not_recorded_yet(struct oct_cuda *c)
{
    c->graphs.later = true;
    return OCT_OK;
}

oct_status oct_cuda_lt_gemm(struct oct_cuda *c, const struct k_gemm_args *a,
                            const struct oct_cuda_matrix *w)
{
    const k_ptr bias = !a->bias ? 0 : a->out_dtype == K_F32 ? a->bias : w->bias;
    OCT_ASSERT(a->dtype == K_BF16 && (bias || !a->bias) && !(a->residual && a->out_dtype == K_F32));
    struct product_key key = key_of(a, false);
    const struct product *known = find(c->lt, &key);
    if (known && known->refused) {
        key = key_of(a, true);
        known = find(c->lt, &key);
    }
    if (c->graphs.recording && (c->graphs.later || !known || !known->ran)) {
        return not_recorded_yet(c);
    }
    struct product *p;
    OCT_TRY(get(c, a, bias, &key, &p));
    oct_lt_status s = multiply(c, a, w->packed, bias, p);
    if (!key.exact && (s == OCT_LT_INVALID_VALUE || s == OCT_LT_NOT_SUPPORTED)) {
        /* Nothing was enqueued: the bucket's algorithm is not for this M. */
        p->refused = true;
        if (c->graphs.recording) {
            return not_recorded_yet(c);
        }
        key = key_of(a, true);
        OCT_TRY(get(c, a, bias, &key, &p));
        s = multiply(c, a, w->packed, bias, p);
    }
    c->counts.launches++;
    if (s != OCT_LT_OK && c->graphs.recording) {
        c->graphs.broken = true; /* nothing has run yet: it will be run without a record */
        return OCT_OK;
    }
    if (s != OCT_LT_OK) {
        return product_failed(c, "cublasLtMatmul", a, s);
    }
    p->ran = true;
    if (c->wait_each) {
        const oct_cu_result r = c->cu->stream_synchronize(c->stream);
        return r == OCT_CU_OK ? OCT_OK : oct_cuda_die(c, r, "cublasLtMatmul");
    }
    return OCT_OK;
}
