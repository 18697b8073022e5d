/* SPDX-License-Identifier: Apache-2.0
 *
 * gemm.c - which kernel multiplies, and how its tiles are shared out among the blocks. */
#include "kernels.h"

#include <stdbool.h>

/* One row a kernel: its tile, threads and stages (gemm_small.cu, gemm_large.cu), and the clocks of
 * an SM for a k-tile (64 of k), from which the plans choose: when all SMs work, and when few do.
 * Few rows: 8 KB of weight at an SM's share of memory; what one SM draws alone is known only on a
 * GPU, 500 is a guess between its share and the 230 that its own latencies take. Many: 2048 (A100)
 * multiply-adds a clock and what the loop loses to shared memory. */
static const struct variant {
    int32_t kernel, rows, cols, threads, stages, clocks, alone;
} variants[] = {
    {K_KERNEL_gemm_b16_16x64, 16, 64, 128, 8, 620, 500},
    {K_KERNEL_gemm_b16_32x64, 32, 64, 128, 8, 620, 500},
    {K_KERNEL_gemm_b16_64x64, 64, 64, 128, 6, 620, 500},
    {K_KERNEL_gemm_b16_128x64, 128, 64, 256, 4, 720, 720},
    {K_KERNEL_gemm_b16_128x128, 128, 128, 256, 4, 1200, 1200},
    {K_KERNEL_gemm_b16_192x128, 192, 128, 256, 4, 1650, 1650},
};
enum { N_VARIANTS = sizeof variants / sizeof *variants, N_SMALL = 3 };

/* Most workspace for partial sums. A product that wants more is cut less finely. */
static const uint64_t partial_cap = 32 << 20;
enum {
    L2_BYTES = 40,    /* that an SM reads or writes in a clock */
    L2_LATENCY = 500, /* of a sum that is read */
    HAND_OVER = 2000, /* from a block's last sum to another's having it: fence, flag, latencies */
    EPILOGUE_SHARE = 16, /* elements of a tile's end in a clock */
    SMEM_SPARE = 1024,   /* the driver's, of a block */
    CHUNK_TILES = K_GEMM_CHUNK / K_GEMM_TILE_K,
};

static int32_t ceil_div(int32_t a, int32_t b)
{
    return (int32_t)(((int64_t)a + b - 1) / b);
}

static int32_t least_of(int32_t a, int32_t b)
{
    return a < b ? a : b;
}

static int32_t most_of(int32_t a, int32_t b)
{
    return a > b ? a : b;
}

static int32_t tile_bytes(const struct variant *v)
{
    return 4 * v->rows * v->cols;
}

static int32_t ring_bytes(const struct variant *v)
{
    return v->stages * (v->rows + v->cols) * K_GEMM_TILE_K * 2;
}

/* Tiles that are cut along K, fewer than SMs. */
struct cut {
    int32_t tiles, n_chunks, k_tiles;
    bool late; /* whole tiles come first */
    /* what is chosen; see k_gemm_task */
    int32_t run, slots, keep;
    bool hand_on;
    int64_t clocks; /* an estimate */
};

static int64_t clocks_of(const struct k_facts *f, const struct variant *v, int32_t blocks,
                         int32_t k_tiles)
{
    const int64_t share = (int64_t)v->clocks * blocks / f->n_sms;
    return k_tiles * (share > v->alone ? share : v->alone);
}

static uint64_t cut_bytes(const struct variant *v, const struct cut *c)
{
    const int32_t blocks = ceil_div(c->tiles * c->n_chunks, c->run);
    return (uint64_t)blocks * (uint64_t)c->slots * (uint64_t)tile_bytes(v);
}

/* The cut into runs of c->run chunks: who adds, where sums wait, how long it takes.
 *
 * Whole pieces in a row end at the same time. Handing on adds them one after the other; otherwise
 * the last block adds all that lies in their middles. What was done before whole tiles waits for
 * nobody. */
static void measure(const struct k_facts *f, const struct variant *v, struct cut *c)
{
    const int32_t n = c->n_chunks, run = c->run, bytes = tile_bytes(v);
    const int64_t move = bytes / L2_BYTES;
    const int32_t links = (n - 1) / run - (c->late ? 1 : 0);
    const int32_t middles = n % run ? (n - 2) / run : n / run - 2;
    const int64_t get = move + L2_LATENCY, link = HAND_OVER + move + get;
    const int64_t chain = link * links + (c->late ? get : 0);
    const int64_t gather = (c->late ? 0 : HAND_OVER + move) + get * (1 + middles * run);
    c->hand_on = chain <= gather;
    /* Sums that wait: a block's own until those from before it are there. After whole tiles they
     * are, and what is left to others waits for nothing. */
    int32_t waiting = c->hand_on ? least_of(run - 1, n - run) : run - 1;
    if (c->late) {
        waiting = c->hand_on && middles > 0 ? least_of(run - 1, n - run - 1) : 0;
    }
    const int32_t room = (f->smem_block_bytes - SMEM_SPARE - ring_bytes(v)) / bytes;
    c->keep = least_of(waiting, most_of(room, 0));
    c->slots = c->hand_on ? 1 + waiting - c->keep : run;
    const int32_t blocks = ceil_div(c->tiles * n, run);
    c->clocks = clocks_of(f, v, blocks, least_of(run * CHUNK_TILES, c->k_tiles)) +
                v->rows * v->cols / EPILOGUE_SHARE + (c->hand_on ? chain : gather) +
                2 * move * (waiting - c->keep);
}

/* The best cut that fits; run 0: none is better than whole tiles. */
static struct cut best_cut(const struct k_facts *f, const struct variant *v, uint64_t room,
                           int32_t tiles, bool late, const struct k_gemm_task *t)
{
    const int32_t n = t->n_chunks, least = ceil_div(tiles * n, f->n_sms);
    const int32_t runs[] = {least, ceil_div(n, 3), ceil_div(n, 2)};
    struct cut best = {.run = 0,
                       .clocks =
                           clocks_of(f, v, tiles, t->k_tiles) + v->rows * v->cols / EPILOGUE_SHARE};
    for (int i = 0; i < 3; i++) {
        struct cut c = {
            .tiles = tiles, .n_chunks = n, .k_tiles = t->k_tiles, .late = late, .run = runs[i]};
        if (tiles == 0 || c.run < least || c.run >= n) {
            continue;
        }
        measure(f, v, &c);
        const uint64_t bytes = cut_bytes(v, &c);
        if (c.clocks < best.clocks && bytes <= room && bytes <= partial_cap) {
            best = c;
        }
    }
    return best;
}

/* Shares the tiles of t out for the variant; returns an estimate of the clocks.
 * All SMs do whole tiles as long as there are enough for a wave; those that remain are cut along K
 * if that ends the product sooner. */
static int64_t share_out(const struct k_facts *f, const struct k_work *w, const struct variant *v,
                         struct k_gemm_task *t, uint32_t *grid)
{
    t->m_tiles = ceil_div(t->m, v->rows);
    t->n_tiles = ceil_div(t->n, v->cols);
    t->group = 1024 / v->cols;
    const int64_t tiles = (int64_t)t->m_tiles * t->n_tiles, waves = tiles / f->n_sms;
    const int32_t rest = (int32_t)(tiles % f->n_sms);
    const int64_t wave = clocks_of(f, v, f->n_sms, t->k_tiles) + v->rows * v->cols / EPILOGUE_SHARE;
    const uint64_t room = w->bytes > K_WORK_TICKET_BYTES ? w->bytes - K_WORK_TICKET_BYTES : 0;
    const struct cut c = best_cut(f, v, room, rest, waves > 0, t);
    t->split_tiles = c.run > 0 ? rest : 0;
    t->run = c.run;
    t->slots = c.slots;
    t->keep = c.keep;
    t->flags = c.hand_on ? t->flags | K_GEMM_HAND_ON : t->flags & ~K_GEMM_HAND_ON;
    const int32_t blocks = c.run > 0 ? ceil_div(rest * t->n_chunks, c.run) : rest;
    *grid = (uint32_t)(waves > 0 ? f->n_sms : blocks);
    return waves * wave + (rest > 0 ? c.clocks : 0);
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
    l->smem_bytes = (uint32_t)(ring_bytes(v) + t->keep * tile_bytes(v));
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
        const struct k_gemm_task t = {.n_chunks = ceil_div(l->gemms[i].k, K_GEMM_CHUNK),
                                      .k_tiles = ceil_div(l->gemms[i].k, K_GEMM_TILE_K)};
        for (int v = 0; v < N_VARIANTS; v++) {
            if (v > 0 && l->max_rows <= variants[v - 1].rows) {
                break;
            }
            /* Few rows make one row of tiles, many any number. */
            const int32_t n_tiles = ceil_div(l->gemms[i].n, variants[v].cols);
            const bool one = v < N_SMALL;
            const int32_t first = one ? n_tiles % f->n_sms : 1;
            for (int32_t rest = first; rest < (one ? first + 1 : f->n_sms); rest++) {
                for (int late = 0; late < 2; late++) {
                    const struct cut c = best_cut(f, &variants[v], partial_cap, rest, late, &t);
                    const uint64_t bytes = c.run > 0 ? cut_bytes(&variants[v], &c) : 0;
                    most = bytes > most ? bytes : most;
                }
            }
        }
    }
    return most;
}
