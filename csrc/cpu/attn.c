/* SPDX-License-Identifier: Apache-2.0
 *
 * attn.c - cuts a step's rows into blocks for the threads; attn_simd.c computes them. */
#include "cpu/attn_simd.h"

#include "base/mem.h"

/* Lines (rows times query heads of one key head) that a block should have: enough to pay for
 * transposing a tile's keys, few enough that its results stay in the second cache. */
enum { BLOCK_LINES = 96, MIN_BLOCK_ROWS = 4 };

struct run {
    int32_t row0, n_rows;
};

/* Cuts the rows into blocks of at most `most` rows of one sequence. `runs` NULL: only counts. */
static int32_t cut(const struct k_attn_args *a, int32_t most, struct run *runs)
{
    const int32_t *seq = oct_host_ptr(a->row_seq);
    int32_t n = 0;
    for (int32_t row = 0; row < a->rows;) {
        int32_t end = row + 1;
        while (end < a->rows && end - row < most && seq[end] == seq[row]) {
            end++;
        }
        if (runs) {
            runs[n] = (struct run){row, end - row};
        }
        n++;
        row = end;
    }
    return n;
}

/* Splits that some row sees, from 0 on, and the (row, key) pairs that all rows see together. */
static int32_t count_splits(const struct k_attn_args *a, int64_t *pairs)
{
    const int32_t *positions = oct_host_ptr(a->positions);
    int32_t last = 0;
    *pairs = 0;
    for (int32_t t = 0; t < a->rows; t++) {
        const int32_t keys = positions[t] + 1;
        *pairs += a->window > 0 && keys > a->window ? a->window : keys;
        last = positions[t] > last ? positions[t] : last;
    }
    return last / K_ATTN_SPLIT_TOKENS + 1;
}

struct plan {
    const struct oct_cpu *d;
    const struct k_attn_args *a;
    const struct run *runs;
    int32_t most_rows, n_runs, n_splits;
    int threads;
    int64_t piece; /* items that a thread takes at once */
    bool pairs;
    /* What the splits leave when they are done one by one: [run][key head][split][line][state]. */
    float *results;
    int64_t state, split_stride, item_stride;
};

/* Item: a run of rows and a key head. The last rows of a sequence have most to do: they go first.
 */
static struct oct_attn_block block_of(const struct plan *p, int64_t item)
{
    const int32_t g = p->a->kv.n_kv_heads;
    const struct run *run = &p->runs[p->n_runs - 1 - (int32_t)(item / g)];
    return (struct oct_attn_block){
        .a = p->a,
        .row0 = run->row0,
        .n_rows = run->n_rows,
        .head = (int32_t)(item % g),
        .pairs = p->pairs,
        .next_head = p->piece > 1 && (int32_t)(item % g) + 1 < g,
    };
}

static void blocks(void *arg, int64_t begin, int64_t end, int thread)
{
    const struct plan *p = arg;
    for (int64_t item = begin; item < end; item++) {
        const struct oct_attn_block b = block_of(p, item);
        OCT_SIMD_PICK(p->d->simd, oct_simd_attn_block)(&b, oct_cpu_scratch(p->d, thread));
    }
}

static void splits(void *arg, int64_t begin, int64_t end, int thread)
{
    const struct plan *p = arg;
    for (int64_t i = begin; i < end; i++) {
        const int64_t item = i / p->n_splits, split = i % p->n_splits;
        const struct oct_attn_block b = block_of(p, item);
        float *to = p->results + item * p->item_stride + split * p->split_stride;
        OCT_SIMD_PICK(p->d->simd, oct_simd_attn_split)
        (&b, (int32_t)split, to, p->state, oct_cpu_scratch(p->d, thread));
    }
}

static void merges(void *arg, int64_t begin, int64_t end, int thread)
{
    const struct plan *p = arg;
    (void)thread;
    for (int64_t item = begin; item < end; item++) {
        const struct oct_attn_block b = block_of(p, item);
        OCT_SIMD_PICK(p->d->simd, oct_simd_attn_merge)
        (&b, p->results + item * p->item_stride, p->state, p->split_stride);
    }
}

oct_status oct_cpu_attn(struct oct_cpu *d, const struct k_attn_args *a)
{
    const int32_t g = a->kv.n_kv_heads, per_key = a->n_heads / g;
    int64_t seen;
    struct plan p = {
        .d = d,
        .a = a,
        .pairs = a->kv.dtype == K_BF16 && d->simd == OCT_SIMD_V4 && d->has_bf16_pairs,
        .state = oct_attn_state(a->kv.head_dim),
        .n_splits = count_splits(a, &seen),
    };
    OCT_ASSERT(g >= 1 && per_key >= 1 && a->n_heads % g == 0 && a->kv.head_dim >= 1);
    p.threads = oct_cpu_threads(d, seen * a->n_heads * a->kv.head_dim / 4);
    p.most_rows = per_key < BLOCK_LINES ? BLOCK_LINES / per_key : 1;
    p.n_runs = cut(a, p.most_rows, NULL);
    while (p.most_rows > MIN_BLOCK_ROWS && (int64_t)p.n_runs * g < 4 * p.threads) {
        p.most_rows /= 2;
        p.n_runs = cut(a, p.most_rows, NULL);
    }
    const bool by_split = p.n_splits > 1 && (int64_t)p.n_runs * g < 2 * p.threads;
    p.split_stride = (int64_t)p.most_rows * per_key * p.state;
    p.item_stride = p.split_stride * p.n_splits;

    const size_t runs_bytes = ((size_t)p.n_runs * sizeof(struct run) + 63) / 64 * 64;
    size_t results_bytes = 0;
    if (by_split) {
        results_bytes = (size_t)(p.item_stride * p.n_runs * g) * sizeof(float);
    }
    OCT_TRY(oct_cpu_shared_reserve(d, runs_bytes + results_bytes));
    OCT_TRY(oct_cpu_scratch_reserve(d, oct_attn_scratch(a, p.most_rows)));
    struct run *runs = (struct run *)(void *)d->shared;
    (void)cut(a, p.most_rows, runs);
    p.runs = runs;
    p.results = (float *)(void *)(d->shared + runs_bytes);
    struct oct_pool *pool = d->dev.pool;
    const int64_t n_items = (int64_t)p.n_runs * g;
    if (by_split) {
        /* Few rows with long pasts: a thread takes one split of an item, and the merge comes after.
         * The same functions in the same order as in a block: the same bits. */
        oct_pool_run(pool, p.threads, n_items * p.n_splits, 1, splits, &p);
        oct_pool_run(pool, p.threads, n_items, 1, merges, &p);
    } else {
        p.piece = p.n_runs >= 4 * p.threads ? g : 1;
        oct_pool_run(pool, p.threads, n_items, p.piece, blocks, &p);
    }
    return OCT_OK;
}
