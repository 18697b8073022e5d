/* SPDX-License-Identifier: Apache-2.0
 *
 * How decode attention deals splits to blocks (attn_schedule.h), with the grids of its plan: every
 * split once, in order, and equal loads for traces of mixed lengths. That the kernel deals so is
 * what test_cuda_attn.c shows: a split too much or too few would change the bits. */
#include "attn_schedule.h"
#include "kernels.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

enum { MOST_SEQS = 512, MOST_BLOCKS = 264 };

struct trace {
    int32_t n, from, to; /* sequences; their lengths, evenly spread and shuffled */
    int32_t window, n_kv_heads;
};

static int32_t length(const struct trace *t, int i)
{
    const uint32_t mixed = (uint32_t)i * 2654435761u % (uint32_t)t->n;
    return t->from + (int32_t)((int64_t)mixed * (t->to - t->from) / (t->n > 1 ? t->n - 1 : 1));
}

/* Of the splits of a unit, the first `n`: their tiles. */
static int32_t tiles_of(struct k_attn_reach r, int32_t n)
{
    const int32_t end = (r.split0 + n) * K_ATTN_SPLIT_TILES - r.tile0;
    return n == 0 ? 0 : n == r.n_splits ? r.n_tiles : end;
}

/* Deals as the kernel does, fails the test where a split is missing or there twice, and says how
 * many tiles each block has. */
static int32_t deal(const struct trace *t, int32_t n_blocks, bool whole, int32_t *loads)
{
    int32_t total = 0;
    for (int i = 0; i < t->n; i++) {
        total += k_attn_reach_of(length(t, i) - 1, t->window).n_tiles * t->n_kv_heads;
    }
    cr_assert_eq(k_attn_stretch(total, n_blocks, 0), 0);
    cr_assert_eq(k_attn_stretch(total, n_blocks, n_blocks), total);
    memset(loads, 0, (size_t)n_blocks * sizeof *loads);
    int32_t begin = 0, b = 0, checked = 0;
    for (int i = 0; i < t->n; i++) {
        const struct k_attn_reach r = k_attn_reach_of(length(t, i) - 1, t->window);
        for (int sub = 0; sub < t->n_kv_heads; sub++, begin += r.n_tiles) {
            int32_t next = 0; /* split that nobody has yet */
            for (;; b++) {
                const int32_t at = k_attn_stretch(total, n_blocks, b);
                const int32_t end = k_attn_stretch(total, n_blocks, b + 1);
                const int32_t from = k_attn_splits_before(r, at - begin, whole);
                const int32_t to = k_attn_splits_before(r, end - begin, whole);
                if (at < begin + r.n_tiles && from < to) {
                    cr_assert_eq(from, next, "sequence %d, block %d begins at %d, not %d", i, b,
                                 from, next);
                    loads[b] += tiles_of(r, to) - tiles_of(r, from);
                    next = to;
                }
                if (end >= begin + r.n_tiles) {
                    break; /* the rest of its stretch is the next unit's */
                }
            }
            cr_assert_eq(next, r.n_splits, "sequence %d: %d of %d splits", i, next, r.n_splits);
            checked++;
        }
    }
    cr_assert_eq(checked, t->n * t->n_kv_heads);
    return total;
}

static const struct trace traces[] = {
    {64, 512, 8192, 0, 8},  {64, 512, 8192, 4096, 8}, {64, 512, 8192, 1024, 8},
    {64, 512, 8192, 0, 4},  {256, 512, 8192, 0, 8},   {16, 16384, 65536, 0, 8},
    {512, 64, 1024, 0, 8},  {256, 1, 512, 0, 8},      {64, 512, 8192, 128, 8},
    {1, 8192, 8192, 0, 8},  {1, 1, 1, 0, 1},          {7, 1, 700, 63, 3},
    {512, 64, 1024, 65, 8}, {40, 100, 5000, 512, 2},  {3, 513, 1025, 0, 1},
};

Test(attn_schedule, every_split_is_dealt_once)
{
    static const int32_t grids[] = {1, 2, 7, 100, 216, 264};
    static int32_t loads[MOST_BLOCKS];
    for (size_t i = 0; i < sizeof traces / sizeof *traces; i++) {
        for (size_t g = 0; g < sizeof grids / sizeof *grids; g++) {
            for (int whole = 0; whole < 2; whole++) {
                int64_t sum = 0;
                const int32_t total = deal(&traces[i], grids[g], whole, loads);
                for (int32_t b = 0; b < grids[g]; b++) {
                    sum += loads[b];
                }
                cr_assert_eq(sum, total, "trace %zu, %d blocks", i, grids[g]);
            }
        }
    }
}

static int32_t planned_blocks(const struct k_facts *f, const struct trace *t)
{
    struct k_launch l[K_MAX_LAUNCHES];
    const struct k_work w = {K_WORK_TICKET_BYTES, 1 << 30};
    const struct k_attn_args a = {
        .kv = {.n_kv_heads = t->n_kv_heads, .head_dim = 128, .dtype = K_BF16},
        .rows = t->n,
        .n_seqs = t->n,
        .n_heads = 4 * t->n_kv_heads,
        .max_rows = 1,
        .max_keys = t->to,
        .window = t->window,
        .scale = 1,
    };
    cr_assert_eq(k_plan_attn(f, &w, &a, l), 1);
    return (int32_t)l[0].grid[0];
}

/* A split is 8 tiles and is not cut: the block with most has at most 7 above its stretch. That is a
 * tenth where blocks have 10 full splits or more. */
Test(attn_schedule, no_block_has_much_more_than_its_share)
{
    static const struct {
        const char *name;
        struct k_facts f;
    } gpus[] = {{"A100", {.sm = 80, .n_sms = 108}}, {"H100", {.sm = 90, .n_sms = 132}}};
    static int32_t loads[MOST_BLOCKS];
    int n_big = 0;
    for (size_t i = 0; i < sizeof traces / sizeof *traces; i++) {
        for (size_t g = 0; g < 2; g++) {
            const struct trace *t = &traces[i];
            const int32_t n = planned_blocks(&gpus[g].f, t);
            cr_assert(n >= 1 && n <= MOST_BLOCKS);
            const int32_t total = deal(t, n, false, loads);
            int32_t most = 0;
            for (int32_t b = 0; b < n; b++) {
                most = loads[b] > most ? loads[b] : most;
            }
            const double mean = (double)total / n;
            const bool big = mean >= 10 * K_ATTN_SPLIT_TILES;
            (void)printf("%s: %3d sequences of %5d to %5d, window %4d, %d key heads: %6.1f tiles a "
                         "block, max/mean %.3f\n",
                         gpus[g].name, t->n, t->from, t->to, t->window, t->n_kv_heads, mean,
                         most / mean);
            cr_assert_leq(most, (total + n - 1) / n + K_ATTN_SPLIT_TILES - 1, "trace %zu", i);
            cr_assert(!big || most <= 1.10 * mean, "trace %zu on %s: %.3f", i, gpus[g].name,
                      most / mean);
            n_big += big;
        }
    }
    cr_assert_geq(n_big, 10);
}
