/* SPDX-License-Identifier: Apache-2.0
 *
 * gemm.c - which kernel multiplies, and how its tiles are shared out among the blocks. */
#include "kernels.h"

#include <stdbool.h>

/* One row a kernel: its tile, threads and shared memory (gemm_small.cu, gemm_large.cu). */
static const struct variant {
    int32_t kernel, rows, cols, threads, stages;
} variants[] = {
    {K_KERNEL_gemm_b16_16x64, 16, 64, 128, 8},     {K_KERNEL_gemm_b16_32x64, 32, 64, 128, 8},
    {K_KERNEL_gemm_b16_64x64, 64, 64, 128, 6},     {K_KERNEL_gemm_b16_128x64, 128, 64, 256, 4},
    {K_KERNEL_gemm_b16_128x128, 128, 128, 256, 4},
};
enum { N_VARIANTS = sizeof variants / sizeof *variants };

/* Most workspace for partial sums. A product that wants more is cut less finely. */
static const uint64_t partial_cap = 32 << 20;

static int32_t ceil_div(int32_t a, int32_t b)
{
    return (int32_t)(((int64_t)a + b - 1) / b);
}

static const struct variant *pick(const struct k_facts *f, int32_t m, int32_t n)
{
    for (int i = 0; i < 3; i++) {
        if (m <= variants[i].rows) {
            return &variants[i];
        }
    }
    const bool fills = (int64_t)ceil_div(m, 128) * ceil_div(n, 128) >= f->n_sms;
    return &variants[fills ? 4 : 3];
}

static uint64_t tile_bytes(const struct variant *v)
{
    return 4 * (uint64_t)v->rows * (uint64_t)v->cols;
}

/* The tiles that do not make a whole wave of all SMs are cut along K when that ends the product
 * sooner by an eighth of a tile's time: what adding up the parts costs with the largest tile. */
static void share_out(const struct k_facts *f, const struct k_work *w, const struct variant *v,
                      struct k_gemm_task *t, uint32_t *grid)
{
    const int32_t tiles = t->m_tiles * t->n_tiles, rest = tiles % f->n_sms;
    const int64_t items = (int64_t)rest * t->n_chunks;
    const int64_t each = (items + f->n_sms - 1) / f->n_sms;
    const uint64_t room = w->bytes > K_WORK_TICKET_BYTES ? w->bytes - K_WORK_TICKET_BYTES : 0;
    const uint64_t bytes = (uint64_t)items * tile_bytes(v);
    const bool cut = 8 * (t->n_chunks - each) > t->n_chunks && bytes <= room &&
                     bytes <= partial_cap && rest <= K_WORK_TICKET_BYTES / 4;
    t->split_tiles = cut ? rest : 0;
    const int64_t most = tiles >= f->n_sms ? f->n_sms : cut ? items : tiles;
    *grid = (uint32_t)(most < f->n_sms ? most : f->n_sms);
}

static int plan(const struct k_facts *f, const struct k_work *w, const struct k_gemm_args *a,
                k_ptr out, int64_t out_stride, int32_t flags, struct k_launch *l)
{
    const struct variant *v = pick(f, a->m, a->n);
    struct k_gemm_task t = {
        .out = out,
        .in = a->in,
        .weight = a->weight,
        .bias = a->bias,
        .residual = a->residual,
        .tickets = w->base,
        .partials = w->base + K_WORK_TICKET_BYTES,
        .out_stride = out_stride,
        .in_stride = a->in_stride,
        .panel_bytes = (int64_t)k_gemm_panel_bytes(a->k),
        .m = a->m,
        .n = a->n,
        .k = a->k,
        .k_tiles = ceil_div(a->k, K_GEMM_TILE_K),
        .n_chunks = ceil_div(a->k, K_GEMM_CHUNK),
        .m_tiles = ceil_div(a->m, v->rows),
        .n_tiles = ceil_div(a->n, v->cols),
        .group = 1024 / v->cols,
        .flags = flags,
    };
    uint32_t grid;
    share_out(f, w, v, &t, &grid);
    const uint64_t m = (uint64_t)a->m, n = (uint64_t)a->n, k = (uint64_t)a->k;
    const uint64_t n_out = flags & K_GEMM_SILU ? n / 2 : n;
    *l = (struct k_launch){
        .kernel = v->kernel,
        .grid = {grid, 1, 1},
        .block = {(uint32_t)v->threads, 1, 1},
        .smem_bytes = (uint32_t)(v->stages * (v->rows + v->cols) * K_GEMM_TILE_K * 2),
        .pdl = 1,
        .cost = {.read_bytes =
                     2 * (n * k + m * k) + (a->bias ? 4 * n : 0) + (a->residual ? 2 * m * n : 0),
                 .write_bytes = (flags & K_GEMM_OUT_F32 ? 4 : 2) * m * n_out,
                 .flops = 2 * m * n * k},
    };
    K_LAUNCH_ARGS(l, t);
    return 1;
}

int k_plan_gemm(const struct k_facts *f, const struct k_work *w, const struct k_gemm_args *a,
                struct k_launch out[K_MAX_LAUNCHES])
{
    if (a->dtype != K_BF16) {
        return 0;
    }
    return plan(f, w, a, a->out, a->out_stride, a->out_dtype == K_F32 ? K_GEMM_OUT_F32 : 0, out);
}

int k_plan_gemm_silu(const struct k_facts *f, const struct k_work *w,
                     const struct k_gemm_silu_args *a, struct k_launch out[K_MAX_LAUNCHES])
{
    if (a->gemm.dtype != K_BF16 || a->gemm.out_dtype != K_BF16 || a->act.dtype != K_BF16) {
        return 0;
    }
    return plan(f, w, &a->gemm, a->act.out, a->act.dim, K_GEMM_SILU, out);
}

uint64_t k_gemm_work_bytes(const struct k_facts *f, const struct k_limits *l)
{
    uint64_t most = 0;
    for (int32_t i = 0; i < l->n_gemms; i++) {
        for (int v = 0; v < N_VARIANTS; v++) {
            if (v > 0 && l->max_rows <= variants[v - 1].rows) {
                break;
            }
            const uint64_t items =
                (uint64_t)(f->n_sms - 1) * (uint64_t)ceil_div(l->gemms[i].k, K_GEMM_CHUNK);
            const uint64_t bytes = items * tile_bytes(&variants[v]);
            most = bytes > most ? bytes : most;
        }
    }
    return most < partial_cap ? most : partial_cap;
}
