/* SPDX-License-Identifier: Apache-2.0
 *
 * gemm.c - which kernel multiplies, and how its tiles are shared out among the blocks. */
#include "kernels.h"

#include <stdbool.h>

/* One row a kernel: its tile, threads and stages (gemm_small.cu, gemm_large.cu), and the clocks of
 * an SM for a k-tile (64 of k), from which the plans choose. Few rows: 8 KB of weight at an SM's
 * share of memory. Many: 2048 (A100) multiply-adds a clock and what the loop loses to shared
 * memory. */
static const struct variant {
    int32_t kernel, rows, cols, threads, stages, clocks;
} variants[] = {
    {K_KERNEL_gemm_b16_16x64, 16, 64, 128, 8, 620},
    {K_KERNEL_gemm_b16_32x64, 32, 64, 128, 8, 620},
    {K_KERNEL_gemm_b16_64x64, 64, 64, 128, 6, 620},
    {K_KERNEL_gemm_b16_128x64, 128, 64, 256, 4, 720},
    {K_KERNEL_gemm_b16_128x128, 128, 128, 256, 4, 1200},
    {K_KERNEL_gemm_b16_192x128, 192, 128, 256, 4, 1700},
};
enum { N_VARIANTS = sizeof variants / sizeof *variants, N_SMALL = 3 };

/* Most workspace for partial sums. A product that wants more is cut less finely. */
static const uint64_t partial_cap = 32 << 20;
/* What an SM reads and writes of L2 in a clock; clocks of a tile's end for each element. */
enum { L2_BYTES = 40, EPILOGUE_SHARE = 16 };

static int32_t ceil_div(int32_t a, int32_t b)
{
    return (int32_t)(((int64_t)a + b - 1) / b);
}

static uint64_t tile_bytes(const struct variant *v)
{
    return 4 * (uint64_t)v->rows * (uint64_t)v->cols;
}

/* Shares the tiles of t out for the variant; returns an estimate of the clocks.
 * All SMs do whole tiles as long as there are enough for a wave; those that remain are cut along K
 * if that ends the product sooner, the adding up of the parts included. */
static int64_t share_out(const struct k_facts *f, const struct k_work *w, const struct variant *v,
                         struct k_gemm_task *t, uint32_t *grid)
{
    t->m_tiles = ceil_div(t->m, v->rows);
    t->n_tiles = ceil_div(t->n, v->cols);
    t->group = 1024 / v->cols;
    const int64_t tiles = (int64_t)t->m_tiles * t->n_tiles, waves = tiles / f->n_sms;
    const int64_t rest = tiles % f->n_sms, items = rest * t->n_chunks;
    const int64_t chunk = (int64_t)v->clocks * (K_GEMM_CHUNK / K_GEMM_TILE_K);
    const int64_t end = v->rows * v->cols / EPILOGUE_SHARE;
    const int64_t whole = (int64_t)v->clocks * t->k_tiles + end;
    const int64_t parts =
        chunk * ((items + f->n_sms - 1) / f->n_sms) + end +
        (int64_t)tile_bytes(v) * (t->n_chunks + 1) / L2_BYTES; /* put one, gather all */
    const uint64_t room = w->bytes > K_WORK_TICKET_BYTES ? w->bytes - K_WORK_TICKET_BYTES : 0;
    const uint64_t bytes = (uint64_t)items * tile_bytes(v);
    const bool cut = t->n_chunks > 1 && parts < whole && bytes <= room && bytes <= partial_cap &&
                     rest <= K_WORK_TICKET_BYTES / 4;
    t->split_tiles = cut ? (int32_t)rest : 0;
    const int64_t most = waves > 0 ? f->n_sms : cut ? items : tiles;
    *grid = (uint32_t)(most < f->n_sms ? most : f->n_sms);
    return waves * whole + (rest == 0 ? 0 : cut ? parts : whole);
}

static const struct variant *pick(const struct k_facts *f, const struct k_work *w,
                                  struct k_gemm_task t)
{
    const struct variant *best = NULL;
    int64_t least = 0;
    uint32_t grid;
    for (int i = 0; i < N_VARIANTS; i++) {
        const struct variant *v = &variants[i];
        if (i < N_SMALL) {
            if (t.m <= v->rows) {
                return v;
            }
            continue;
        }
        const int64_t clocks = share_out(f, w, v, &t, &grid);
        if (!best || clocks < least) {
            best = v;
            least = clocks;
        }
    }
    return best;
}

static void fill(const struct k_facts *f, const struct k_work *w, const struct variant *v,
                 struct k_gemm_task *t, struct k_launch *l)
{
    uint32_t grid;
    (void)share_out(f, w, v, t, &grid);
    l->kernel = v->kernel;
    l->grid[0] = grid;
    l->block[0] = (uint32_t)v->threads;
    l->smem_bytes = (uint32_t)(v->stages * (v->rows + v->cols) * K_GEMM_TILE_K * 2);
    K_LAUNCH_ARGS(l, *t);
}

bool k_gemm_replan(const struct k_facts *f, const struct k_work *w, int32_t kernel,
                   struct k_launch *l)
{
    struct k_gemm_task t;
    memcpy(&t, l->args, sizeof t);
    for (int i = 0; i < N_VARIANTS; i++) {
        if (variants[i].kernel == kernel) {
            fill(f, w, &variants[i], &t, l);
            return true;
        }
    }
    return false;
}

static int plan(const struct k_facts *f, const struct k_work *w, const struct k_gemm_args *a,
                k_ptr out, int64_t out_stride, int32_t flags, struct k_launch *l)
{
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
        .flags = flags,
    };
    const uint64_t m = (uint64_t)a->m, n = (uint64_t)a->n, k = (uint64_t)a->k;
    const uint64_t n_out = flags & K_GEMM_SILU ? n / 2 : n;
    *l = (struct k_launch){
        .grid = {1, 1, 1},
        .block = {1, 1, 1},
        .pdl = 1,
        .cost = {.read_bytes =
                     2 * (n * k + m * k) + (a->bias ? 4 * n : 0) + (a->residual ? 2 * m * n : 0),
                 .write_bytes = (flags & K_GEMM_OUT_F32 ? 4 : 2) * m * n_out,
                 .flops = 2 * m * n * k},
    };
    fill(f, w, pick(f, w, t), &t, l);
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
