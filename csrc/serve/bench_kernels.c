/* SPDX-License-Identifier: Apache-2.0
 *
 * bench_kernels.c - every kernel family at the reference shapes: what the plan launches and must
 * move, how long that should take on an A100 and an H100 (kernel_model.h, "predicted"), and with a
 * GPU of ours how long it does take.
 *
 * Measured so: the ops of a case REPEAT_OPS times in one CUDA graph, replayed until some
 * milliseconds have passed, wall clock over the whole; the median of --repeat such rounds after one
 * to warm up. Inputs are random numbers, weights are not rotated: what fits in L2 stays there. With
 * cuBLASLt at hand, matrix products are measured a second time, by it, in the same way. */
#include "serve/bench.h"

#include "base/clock.h"
#include "engine/pick_device.h"
#include "kernels.h"
#include "serve/kernel_cases.h"
#include "serve/kernel_model.h"
#include "serve/kernel_tables.h"

#include <stdio.h>
#include <string.h>

enum { REPEAT_OPS = 10, ROUND_US = 20000, NAME_BYTES = 256 };

struct row {
    const struct oct_kernel_case *c;
    const struct oct_gpu *gpu;
    int n_launches;                      /* 0: an op of it has no kernel */
    char kernels[NAME_BYTES], shape[64]; /* of the launch that moves and computes most */
    double megabytes, gigaflops;         /* at least */
    double floor_us;
    struct oct_gpu_time time;
    double measured_us; /* 0: not measured */
    double cublas_us;   /* the same products by cuBLASLt; 0: not measured */
};

/* ---- predictions ---- */

static void describe(struct row *r, const struct k_launch *l, int n)
{
    uint64_t most = 0;
    for (int i = 0; i < n; i++) {
        const size_t at = strlen(r->kernels);
        (void)snprintf(r->kernels + at, sizeof r->kernels - at, "%s%s", at ? "+" : "",
                       k_kernel_table[l[i].kernel].name);
        const uint64_t work = l[i].cost.read_bytes + l[i].cost.write_bytes + l[i].cost.flops;
        if (work >= most) {
            most = work;
            (void)snprintf(r->shape, sizeof r->shape, "%ux%ux%u x %u", l[i].grid[0], l[i].grid[1],
                           l[i].grid[2], l[i].block[0] * l[i].block[1] * l[i].block[2]);
        }
    }
}

/* Attention's launches by the true lengths of the case's sequences. */
static void set_lengths(const struct oct_kernel_case *c, const struct oct_case_op *o,
                        struct k_launch *l, int n)
{
    struct k_attn_span spans[OCT_CASE_MAX_SEQS];
    const struct k_attn_args *a = o->op == K_OP_attn        ? &o->args.attn
                                  : o->op == K_OP_rope_attn ? &o->args.rope_attn.attn
                                                            : NULL;
    if (!a) {
        return;
    }
    OCT_ASSERT(a->n_seqs <= OCT_CASE_MAX_SEQS);
    for (int32_t i = 0; i < a->n_seqs; i++) {
        spans[i] = (struct k_attn_span){oct_case_rows_each(c), oct_case_keys(c, i)};
    }
    k_attn_true_cost(a, spans, l, n);
}

static void predict(struct row *r, const struct oct_case_ops *ops)
{
    const struct k_work work = {.base = (k_ptr)1 << 40, .bytes = (uint64_t)1 << 40};
    bool complete = true;
    for (int i = 0; i < ops->n; i++) {
        struct k_launch l[K_MAX_LAUNCHES];
        const struct oct_case_op *o = &ops->op[i];
        r->megabytes += o->bytes / 1e6;
        r->gigaflops += o->flops / 1e9;
        r->floor_us += oct_gpu_floor_us(r->gpu, o->bytes, o->flops);
        const int n = k_plan((int32_t)o->op, &r->gpu->facts, &work, &o->args, l);
        set_lengths(r->c, o, l, n);
        const struct oct_gpu_time t = oct_gpu_predict(r->gpu, l, n);
        oct_gpu_time_add(&r->time, &t);
        r->n_launches += n;
        describe(r, l, n);
        complete = complete && n > 0;
    }
    r->n_launches = complete ? r->n_launches : 0;
}

/* ---- measurements ---- */

struct gpu_memory {
    struct oct_device *d;
    uint16_t *noise; /* [NOISE_BYTES] */
    k_ptr matrices[OCT_CASE_MAX_OPS];
    int n_matrices;
};
enum { NOISE_BYTES = 8 << 20 };

static oct_status put(void *owner, const void *host, size_t bytes, k_ptr *out)
{
    struct gpu_memory *m = owner;
    OCT_TRY(oct_dev_alloc(m->d, bytes, out));
    if (host) {
        return oct_dev_upload(m->d, *out, host, bytes);
    }
    for (size_t at = 0; at < bytes; at += NOISE_BYTES) {
        const size_t n = bytes - at < NOISE_BYTES ? bytes - at : NOISE_BYTES;
        OCT_TRY(oct_dev_upload(m->d, *out + at, m->noise, n));
    }
    return OCT_OK;
}

static oct_status matrix(void *owner, int32_t n, int32_t k, bool gate_up, k_ptr *out)
{
    struct gpu_memory *m = owner;
    const size_t elements = (size_t)n * (size_t)k;
    uint16_t *rows = oct_calloc(elements, sizeof *rows);
    if (!rows) {
        return oct_no_memory("a weight to measure with", elements * sizeof *rows);
    }
    for (size_t at = 0; at < elements; at++) {
        rows[at] = m->noise[at % (NOISE_BYTES / 2)];
    }
    const oct_status st = oct_dev_matrix_create(
        m->d,
        &(struct oct_matrix_desc){
            .n = n, .k = k, .dtype = K_BF16, .rows = rows, .gate_up = gate_up},
        out);
    oct_free(rows);
    if (st == OCT_OK) {
        m->matrices[m->n_matrices++] = *out;
    }
    return st;
}

static oct_status run_ops(struct oct_device *d, const struct oct_case_ops *ops)
{
    for (int i = 0; i < ops->n; i++) {
        OCT_TRY(oct_dev_run(d, ops->op[i].op, &ops->op[i].args));
    }
    return OCT_OK;
}

/* REPEAT_OPS times the ops: from the graph, once it is there. */
static oct_status run_many(struct oct_device *d, const struct oct_case_ops *ops)
{
    enum oct_record record;
    bool again = true;
    OCT_TRY(oct_dev_record_begin(d, 1, &record));
    while (record != OCT_RECORD_REPLAY && again) {
        for (int i = 0; i < REPEAT_OPS; i++) {
            OCT_TRY(run_ops(d, ops));
        }
        again = false;
        if (record == OCT_RECORD_ON) {
            OCT_TRY(oct_dev_record_end(d, &again));
            record = OCT_RECORD_NO;
        }
    }
    return OCT_OK;
}

static oct_status time_round(struct oct_device *d, const struct oct_case_ops *ops, int n,
                             double *us)
{
    const int64_t start = oct_clock_us();
    for (int i = 0; i < n; i++) {
        OCT_TRY(run_many(d, ops));
    }
    OCT_TRY(oct_dev_sync(d));
    *us = (double)(oct_clock_us() - start) / (n * REPEAT_OPS);
    return OCT_OK;
}

static struct k_limits limits_of(const struct oct_kernel_case *c)
{
    struct k_limits l = {.max_rows = c->kind == OCT_CASE_LAYER ? c->n_seqs : c->rows,
                         .max_seqs = c->n_seqs ? c->n_seqs : c->rows,
                         .max_keys = c->keys ? c->keys : 1,
                         .n_heads = 32,
                         .n_kv_heads = 8,
                         .head_dim = 128,
                         .vocab = c->kind == OCT_CASE_SAMPLE ? c->n : 1};
    if (c->kind == OCT_CASE_ATTN) {
        l.max_rows = c->rows * c->n_seqs;
    } else if (c->kind == OCT_CASE_GEMM) {
        l.gemms[l.n_gemms].n = c->n;
        l.gemms[l.n_gemms++].k = c->k;
    } else if (c->kind == OCT_CASE_LAYER) {
        const int32_t shapes[][2] = {{6144, c->k}, {c->k, c->k}, {2 * c->n, c->k}, {c->k, c->n}};
        for (; l.n_gemms < 4; l.n_gemms++) {
            l.gemms[l.n_gemms].n = shapes[l.n_gemms][0];
            l.gemms[l.n_gemms].k = shapes[l.n_gemms][1];
        }
    }
    return l;
}

/* Memory that only counts what a case would take. */
struct count {
    struct oct_device *d;
    uint64_t bytes;
};

static oct_status count_put(void *owner, const void *host, size_t bytes, k_ptr *out)
{
    (void)host;
    ((struct count *)owner)->bytes += (bytes + 255) / 256 * 256;
    *out = (k_ptr)1 << 40;
    return OCT_OK;
}

static oct_status count_matrix(void *owner, int32_t n, int32_t k, bool gate_up, k_ptr *out)
{
    struct oct_device *d = ((struct count *)owner)->d;
    (void)gate_up;
    return count_put(owner, NULL, d->table->matrix_bytes(d, n, k, K_BF16), out);
}

static oct_status reserve(struct oct_device *d, const struct oct_kernel_case *c,
                          const struct k_limits *limits)
{
    struct oct_case_ops ops;
    struct count count = {d, oct_dev_work_bytes(d, limits) + 4096};
    const struct oct_case_memory counter = {&count, count_put, count_matrix};
    OCT_TRY(oct_kernel_case_make(c, &counter, &ops));
    return oct_dev_reserve(d, count.bytes);
}

static oct_status measure_on(struct oct_device *d, const struct oct_kernel_case *c, int rounds,
                             uint16_t *noise, double *us)
{
    struct gpu_memory m = {.d = d, .noise = noise};
    const struct oct_case_memory memory = {&m, put, matrix};
    const struct k_limits limits = limits_of(c);
    struct oct_case_ops ops;
    double first, time[OCT_BENCH_MAX_ROUNDS];
    int64_t ns[OCT_BENCH_MAX_ROUNDS];
    oct_status st;
    OCT_TRY(reserve(d, c, &limits));
    OCT_TRY(oct_dev_prepare(d, &limits));
    OCT_TRY_GOTO(oct_kernel_case_make(c, &memory, &ops), st, done);
    OCT_TRY_GOTO(time_round(d, &ops, 1, &first), st, done);
    OCT_TRY_GOTO(time_round(d, &ops, 1, &first), st, done);
    const double fit = ROUND_US / (first * REPEAT_OPS);
    for (int i = 0; i < rounds; i++) {
        OCT_TRY_GOTO(time_round(d, &ops, fit > 1 ? (int)fit : 1, &time[i]), st, done);
        ns[i] = (int64_t)(time[i] * 1e3);
    }
    *us = (double)oct_bench_median(ns, rounds) / 1e3;
done:
    for (int i = 0; i < m.n_matrices; i++) {
        oct_dev_matrix_destroy(d, m.matrices[i]);
    }
    return st;
}

oct_status oct_bench_measure_case(struct oct_device *d, const struct oct_kernel_case *c, int rounds,
                                  double *us)
{
    uint16_t *noise = oct_calloc(NOISE_BYTES / 2, sizeof *noise);
    if (!noise) {
        return oct_no_memory("numbers to measure with", NOISE_BYTES);
    }
    uint64_t state = 88172645463325252u;
    for (size_t i = 0; i < NOISE_BYTES / 2; i++) { /* bf16 from 2^-9 to 2^-5, either sign */
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        noise[i] = (uint16_t)(0x3b00u + (state >> 20 & 0x1ffu) + (state >> 40 & 0x8000u));
    }
    const oct_status st = measure_on(d, c, rounds, noise, us);
    oct_free(noise);
    return st;
}

/* ---- results ---- */

static oct_status print(struct oct_output *out, const char *line, int n)
{
    return oct_output_write(out, line, (size_t)n);
}

static oct_status print_row(struct oct_output *out, const struct row *r, bool beside_cublas)
{
    char line[512];
    int n = snprintf(line, sizeof line, "%-25s %-5s %10.2f %9.2f %9.1f ", r->c->name, r->gpu->name,
                     r->megabytes, r->gigaflops, r->floor_us);
    if (r->n_launches == 0) {
        n += snprintf(line + n, sizeof line - (size_t)n, "%10s\n", "no kernel");
        return print(out, line, n);
    }
    n += snprintf(line + n, sizeof line - (size_t)n, "%10.1f %5.0f%%  %-9s", r->time.us,
                  100 * r->floor_us / r->time.us, oct_gpu_limit_name(r->time.limit));
    if (r->measured_us > 0) {
        n += snprintf(line + n, sizeof line - (size_t)n, "%10.1f %5.0f%% %7.0f %8.1f",
                      r->measured_us, 100 * r->floor_us / r->measured_us,
                      r->megabytes * 1e3 / r->measured_us, r->gigaflops * 1e3 / r->measured_us);
    }
    if (r->cublas_us > 0) {
        n += snprintf(line + n, sizeof line - (size_t)n, " %9.1f %6.2f", r->cublas_us,
                      r->cublas_us / r->measured_us);
    } else if (beside_cublas) {
        n += snprintf(line + n, sizeof line - (size_t)n, " %9s %6s", "", "");
    }
    n += snprintf(line + n, sizeof line - (size_t)n, " %8d  %-20s\n", r->n_launches, r->shape);
    return print(out, line, n);
}

static oct_status print_head(struct oct_output *out, bool measures, bool beside_cublas)
{
    char line[512];
    int n = snprintf(line, sizeof line, "%-25s %-5s %10s %9s %9s %10s %6s  %-9s", "", "GPU",
                     "MB least", "GFLOP", "floor us", "predicted", "floor", "limit");
    if (measures) {
        n += snprintf(line + n, sizeof line - (size_t)n, "%10s %6s %7s %8s", "measured", "floor",
                      "GB/s", "TFLOP/s");
    }
    if (beside_cublas) { /* ratio: how many times as fast as cuBLAS */
        n += snprintf(line + n, sizeof line - (size_t)n, " %9s %6s", "cuBLAS us", "ratio");
    }
    n += snprintf(line + n, sizeof line - (size_t)n, " %8s  %s\n", "launches", "largest grid");
    return print(out, line, n);
}

static json_t *row_json(const struct row *r)
{
    json_t *o = json_pack("{s:s, s:s, s:f, s:f, s:f, s:i}", "case", r->c->name, "gpu", r->gpu->name,
                          "least_mb", r->megabytes, "gflop", r->gigaflops, "floor_us", r->floor_us,
                          "launches", r->n_launches);
    bool ok = o != NULL;
    if (ok && r->n_launches > 0) {
        json_t *more = json_pack("{s:f, s:s, s:s, s:s}", "predicted_us", r->time.us, "limit",
                                 oct_gpu_limit_name(r->time.limit), "kernels", r->kernels,
                                 "largest_grid", r->shape);
        ok = more && json_object_update(o, more) == 0;
        json_decref(more);
    }
    if (ok && r->measured_us > 0) {
        ok = json_object_set_new(o, "measured_us", json_real(r->measured_us)) == 0;
    }
    if (ok && r->cublas_us > 0) {
        ok = json_object_set_new(o, "cublas_us", json_real(r->cublas_us)) == 0 &&
             json_object_set_new(o, "ratio_to_cublas", json_real(r->cublas_us / r->measured_us)) ==
                 0;
    }
    if (!ok) {
        json_decref(o);
        o = NULL;
    }
    return o;
}

/* A device has all its memory for one case: each gets it anew. */
static oct_status measure(const struct oct_kernel_case *c, const char *device, const char *products,
                          int rounds, double *us)
{
    struct oct_device *d = NULL;
    OCT_TRY(oct_device_pick(device, 1, &d));
    oct_status st = oct_device_gemm_provider(d, products);
    if (st == OCT_OK) {
        st = oct_bench_measure_case(d, c, rounds, us);
    }
    oct_dev_close(d);
    return st;
}

/* Which of the models the device is (-1: the CPU, and nothing is measured), and whether there is a
 * cuBLASLt for it. */
static oct_status own_gpu(const char *device, int *gpu, bool *cublaslt)
{
    struct oct_device *d = NULL;
    OCT_TRY(oct_device_pick(device, 1, &d));
    *gpu = d->host_memory ? -1 : strstr(d->about, "sm_80") ? OCT_GPU_A100 : OCT_GPU_H100;
    *cublaslt = *gpu >= 0 && oct_device_gemm_provider(d, "cublaslt") == OCT_OK;
    oct_error_clear();
    oct_dev_close(d);
    return OCT_OK;
}

oct_status oct_bench_kernel_rows(const struct oct_kernel_case *cases, int n_cases,
                                 const char *device, int rounds, struct oct_output *out,
                                 json_t *results)
{
    int own;
    bool cublaslt;
    OCT_TRY(own_gpu(device, &own, &cublaslt));
    if (!results) {
        OCT_TRY(print_head(out, own >= 0, cublaslt));
    }
    for (int i = 0; i < n_cases; i++) {
        struct oct_case_ops ops;
        OCT_TRY(oct_kernel_case_make(&cases[i], &oct_case_nowhere, &ops));
        for (int gpu = 0; gpu < OCT_N_GPUS; gpu++) {
            struct row r = {.c = &cases[i], .gpu = oct_gpu_model(gpu)};
            predict(&r, &ops);
            if (gpu == own && r.n_launches > 0) {
                OCT_TRY(measure(r.c, device, "octavo", rounds, &r.measured_us));
            }
            if (r.measured_us > 0 && cublaslt && r.c->kind == OCT_CASE_GEMM) {
                OCT_TRY(measure(r.c, device, "cublaslt", rounds, &r.cublas_us));
            }
            if (!results) {
                OCT_TRY(print_row(out, &r, cublaslt));
            } else if (json_array_append_new(results, row_json(&r)) != 0) {
                return oct_no_memory("results", 1);
            }
        }
    }
    return OCT_OK;
}

oct_status oct_bench_kernels(const struct oct_params *p, const char *path, struct oct_output *out)
{
    const char *device = oct_param_str(p, OCT_P_DEVICE, "auto");
    const int rounds = (int)oct_param_int(p, OCT_P_REPEAT, 5);
    (void)path; /* no model */
    if (!oct_param_bool(p, OCT_P_JSON)) {
        OCT_TRY(
            oct_bench_kernel_rows(oct_kernel_cases, oct_n_kernel_cases, device, rounds, out, NULL));
        return oct_kernel_tables_print(out);
    }
    json_t *results = json_array();
    json_t *tables = oct_kernel_tables_json();
    json_t *o = NULL;
    oct_status st = results ? oct_bench_kernel_rows(oct_kernel_cases, oct_n_kernel_cases, device,
                                                    rounds, out, results)
                            : oct_no_memory("results", 1);
    if (st == OCT_OK) {
        o = tables ? json_pack("{s:s, s:O, s:O}", "suite", "kernels", "results", results, "kernels",
                               tables)
                   : NULL;
        st = o ? oct_output_json(out, o, false) : oct_no_memory("results", 1);
    }
    json_decref(o);
    json_decref(tables);
    json_decref(results);
    return st;
}
