/* SPDX-License-Identifier: Apache-2.0
 *
 * model_rows.c - speed of the forward pass and the sampler alone, without an engine: steps of one
 * size on a cache full of random pages.
 *
 *     model_rows MODEL [threads [rows ...]]
 *
 * `rows` 1 to 256: so many sequences decode a token each, at positions PAST, PAST + 1, ... ; a
 * number with a p in front (p512): one sequence reads that many tokens in one step. Prints the
 * median and the best of the steps, and the best time that all threads together had a core: where
 * others use the machine too, that says more than the clock. */
#include "arch/arch.h"
#include "base/clock.h"
#include "base/mem.h"
#include "cpu/cpu.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    PAST = 128,         /* tokens before the first step */
    STEPS = 128,        /* at most, of one size */
    STEPS_US = 3000000, /* not much longer than that either */
    MAX_ROWS = 512,
    MAX_SEQS = 256,
    PAGES_PER_SEQ = (PAST + STEPS) / K_PAGE_TOKENS + (MAX_ROWS / K_PAGE_TOKENS),
};

static struct oct_device *dev;
static struct oct_model *model;
static struct oct_step step;
static struct k_sample_row sample_rows[MAX_SEQS];
static struct k_sample_out sample_out[MAX_SEQS];

static void need(oct_status st)
{
    if (st != OCT_OK) {
        (void)fprintf(stderr, "model_rows: %s\n", oct_last_error());
        exit(1);
    }
}

static k_ptr room(int64_t elems, int64_t width)
{
    k_ptr p = 0;
    need(oct_dev_alloc(dev, (size_t)(elems * width), &p));
    return p;
}

static int32_t *ints(k_ptr p)
{
    return (int32_t *)(uintptr_t)p;
}

static uint32_t random_bits(void)
{
    static uint64_t x = 88172645463325252u; /* xorshift64 */
    x ^= x << 13, x ^= x >> 7, x ^= x << 17;
    return (uint32_t)(x >> 32);
}

static void load(const char *path, int threads)
{
    struct oct_source *src = NULL;
    struct oct_model_config c;
    need(oct_source_open(path, &src));
    need(oct_config_load(src, &c));
    need(oct_cpu_open(threads, &dev));
    need(oct_model_load(src, &c, dev, K_BF16, K_PAGE_TOKENS * PAGES_PER_SEQ, NULL, NULL, &model));
    oct_source_close(src);

    const int64_t q = (int64_t)c.n_heads * c.head_dim, kv = (int64_t)c.n_kv_heads * c.head_dim;
    const int64_t table = (int64_t)MAX_SEQS * PAGES_PER_SEQ;
    const int64_t n_pages = model->kv.n_groups * table;
    step = (struct oct_step){
        .table_stride = PAGES_PER_SEQ,
        .group_stride = table,
        .ids = room(MAX_ROWS, 4),
        .positions = room(MAX_ROWS, 4),
        .row_seq = room(MAX_ROWS, 4),
        .page_table = room(n_pages, 4),
        .out_rows = room(MAX_ROWS, 4),
        .kv_pool = room(n_pages * model->kv.page_elems, 2),
        .x = room((int64_t)MAX_ROWS * c.dim, 2),
        .h = room((int64_t)MAX_ROWS * c.dim, 2),
        .qkv = room(MAX_ROWS * (q + 2 * kv), 2),
        .attn = room(MAX_ROWS * q, 2),
        .gate_up = room((int64_t)MAX_ROWS * 2 * c.ff_dim, 2),
        .act = room((int64_t)MAX_ROWS * c.ff_dim, 2),
        .logits = room((int64_t)MAX_SEQS * c.vocab_size, 4),
    };
    for (int64_t i = 0; i < n_pages; i++) { /* pages in shuffled places */
        const int64_t j = random_bits() % (i + 1);
        ints(step.page_table)[i] = ints(step.page_table)[j];
        ints(step.page_table)[j] = (int32_t)i;
    }
    for (int i = 0; i < MAX_SEQS; i++) {
        sample_rows[i] = (struct k_sample_row){.n_top = -1, .top_p = 1, .repetition = 1};
    }
}

/* Keys and values of the first tokens of the sequences that take part. */
static void fill_cache(int n_seqs)
{
    uint16_t *pool = (uint16_t *)(uintptr_t)step.kv_pool;
    for (int g = 0; g < model->kv.n_groups; g++) {
        for (int s = 0; s < n_seqs; s++) {
            const int32_t *table =
                ints(step.page_table) + g * step.group_stride + (int64_t)s * PAGES_PER_SEQ;
            for (int p = 0; p < (PAST + STEPS) / K_PAGE_TOKENS + 1; p++) {
                uint16_t *page = pool + table[p] * model->kv.page_elems;
                for (int64_t i = 0; i < model->kv.page_elems; i++) {
                    const uint32_t r = random_bits(); /* of magnitude 1/4 to 4 */
                    page[i] = (uint16_t)((r & 0x807f) | (0x3e80 + (r >> 16 & 0x180)));
                }
            }
        }
    }
}

/* Time that this process had a core, all threads. */
static int64_t cpu_us(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void run_step(void)
{
    need(model->arch->forward(model, &step));
    const struct k_sample_args args = {
        .out = (k_ptr)(uintptr_t)sample_out,
        .logits = step.logits,
        .rows = (k_ptr)(uintptr_t)sample_rows,
        .logits_stride = model->cfg.vocab_size,
        .n_rows = step.n_out,
        .vocab = model->cfg.vocab_size,
    };
    need(oct_dev_sample(dev, &args));
    need(oct_dev_sync(dev));
}

static int by_size(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void measure(const char *what)
{
    const bool prompt = what[0] == 'p';
    const int rows = atoi(what + prompt);
    if (rows < 1 || rows > (prompt ? MAX_ROWS : MAX_SEQS)) {
        (void)fprintf(stderr, "model_rows: %s: give 1 to %d, or p1 to p%d\n", what, MAX_SEQS,
                      MAX_ROWS);
        exit(2);
    }
    step.rows = rows;
    step.n_out = prompt ? 1 : rows;
    fill_cache(prompt ? 1 : rows);
    for (int i = 0; i < rows; i++) {
        ints(step.ids)[i] = (int32_t)(random_bits() % (uint32_t)model->cfg.vocab_size);
        ints(step.row_seq)[i] = prompt ? 0 : i;
        ints(step.positions)[i] = prompt ? i : PAST;
        ints(step.out_rows)[i] = prompt ? rows - 1 : i;
    }
    run_step(); /* touches what is new */
    int64_t us[STEPS], all = 0, best_cpu = INT64_MAX;
    int n = 0;
    for (; n < STEPS && all < STEPS_US; n++) {
        const int64_t start = oct_clock_us(), cpu_start = cpu_us();
        run_step();
        const int64_t cpu = cpu_us() - cpu_start;
        us[n] = oct_clock_us() - start;
        best_cpu = cpu < best_cpu ? cpu : best_cpu;
        all += us[n];
        for (int i = 0; !prompt && i < rows; i++) {
            ints(step.positions)[i]++;
            ints(step.ids)[i] = sample_out[i].token;
        }
    }
    qsort(us, (size_t)n, sizeof *us, by_size);
    const double median = (double)us[n / 2], best = (double)us[0];
    (void)printf("%-5s %4d steps  median %8.3f ms %8.1f tokens/s  best %8.3f ms %8.1f tokens/s  "
                 "cpu %8.3f ms\n",
                 what, n, median / 1e3, rows * 1e6 / median, best / 1e3, rows * 1e6 / best,
                 (double)best_cpu / 1e3);
    (void)fflush(stdout);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        (void)fprintf(stderr, "model_rows MODEL [threads [rows ...]], rows as 1, 32 or p512\n");
        return 2;
    }
    static char *usual[] = {"1", "8", "32", "p512", NULL};
    load(argv[1], argc > 2 ? atoi(argv[2]) : 0);
    for (char **what = argc > 3 ? argv + 3 : usual; *what; what++) {
        measure(*what);
    }
    oct_model_destroy(model);
    const k_ptr blocks[] = {step.ids, step.positions, step.row_seq, step.page_table, step.out_rows,
                            step.x,   step.h,         step.qkv,     step.attn,       step.gate_up,
                            step.act, step.logits,    step.kv_pool};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) {
        oct_dev_free(dev, blocks[i]);
    }
    oct_dev_close(dev);
    return 0;
}
