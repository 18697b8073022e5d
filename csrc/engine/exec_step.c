/* SPDX-License-Identifier: Apache-2.0
 *
 * exec_step.c - the arrays of a step and the forward pass over them. */
#include "engine/exec.h"

#include "base/clock.h"
#include "base/mem.h"

#include <string.h>

/* ---- layout ---- */

/* Places arrays one behind the other, each on a 256-byte boundary. */
struct layout {
    uint64_t bytes;
};

static uint64_t carve(struct layout *l, uint64_t bytes)
{
    const uint64_t at = l->bytes;
    l->bytes += (bytes + 255) / 256 * 256;
    return at;
}

static uint64_t padded(int32_t rows)
{
    return ((uint64_t)rows + K_GEMM_ROW_PAD - 1) / K_GEMM_ROW_PAD * K_GEMM_ROW_PAD;
}

/* Elements of a row of activations. */
static uint64_t row(uint64_t n)
{
    return (uint64_t)k_row_stride((int64_t)n);
}

/* Offsets of all arrays, the engine's first; *input_bytes: of these without the page tables. */
static uint64_t lay_out(const struct oct_model_config *c, const struct oct_plan *p,
                        int32_t n_groups, struct oct_step *s, uint64_t *input_bytes)
{
    const uint64_t width = (uint64_t)k_dtype_bytes(p->dtype);
    const uint64_t rows = padded(p->max_num_batched_tokens), out = padded(p->max_num_seqs);
    const uint64_t q = (uint64_t)c->n_heads * (uint64_t)c->head_dim;
    const uint64_t qkv = q + 2 * (uint64_t)c->n_kv_heads * (uint64_t)c->head_dim;
    const uint64_t dim = (uint64_t)c->dim, ff = (uint64_t)c->ff_dim;
    struct layout l = {0};
    *s = (struct oct_step){.table_stride = p->blocks_per_seq,
                           .group_stride = (int64_t)p->max_num_seqs * p->blocks_per_seq};
    s->ids = carve(&l, rows * 4);
    s->positions = carve(&l, rows * 4);
    s->row_seq = carve(&l, rows * 4);
    s->seqs = carve(&l, (uint64_t)p->max_num_seqs * sizeof(struct k_seq));
    s->out_rows = carve(&l, rows * 4);
    *input_bytes = l.bytes;
    s->page_table = carve(&l, (uint64_t)n_groups * (uint64_t)s->group_stride * 4);
    s->x = carve(&l, rows * dim * width);
    s->h = carve(&l, rows * dim * width);
    s->qkv = carve(&l, rows * row(qkv) * width);
    s->attn = carve(&l, rows * row(q) * width);
    s->gate_up = carve(&l, rows * row(2 * ff) * width);
    s->act = carve(&l, rows * row(ff) * width);
    s->logits = carve(&l, out * (uint64_t)c->vocab_size * 4);
    return l.bytes;
}

uint64_t oct_exec_step_bytes(const struct oct_model_config *c, const struct oct_plan *p,
                             int32_t n_groups)
{
    struct oct_step s;
    uint64_t input_bytes;
    return lay_out(c, p, n_groups, &s, &input_bytes);
}

/* ---- memory ---- */

oct_status oct_exec_allocate(struct oct_exec *x, const struct oct_plan *plan)
{
    const struct oct_model *m = x->model;
    struct oct_step *s = &x->step;
    const uint64_t bytes = lay_out(&m->cfg, plan, m->kv.n_groups, s, &x->input_bytes);
    const uint64_t inputs = s->x; /* where the activations begin */
    k_ptr *const all[] = {&s->ids,        &s->positions, &s->row_seq, &s->seqs, &s->out_rows,
                          &s->page_table, &s->x,         &s->h,       &s->qkv,  &s->attn,
                          &s->gate_up,    &s->act,       &s->logits};
    char *host;
    OCT_TRY(oct_dev_alloc(m->dev, bytes, &x->block));
    if (m->dev->host_memory) {
        host = (char *)(uintptr_t)x->block;
    } else {
        void *pinned;
        OCT_TRY(oct_dev_host_alloc(m->dev, inputs, &pinned));
        host = x->host = pinned;
    }
    const size_t n = (size_t)plan->max_num_batched_tokens;
    struct oct_batch *b = &x->batch;
    x->max_num_seqs = plan->max_num_seqs;
    *b = (struct oct_batch){
        .n_groups = m->kv.n_groups,
        .table_stride = s->table_stride,
        .group_stride = s->group_stride,
        .ids = (int32_t *)(void *)(host + s->ids),
        .positions = (int32_t *)(void *)(host + s->positions),
        .row_seq = (int32_t *)(void *)(host + s->row_seq),
        .out_rows = (int32_t *)(void *)(host + s->out_rows),
        .page_table = (int32_t *)(void *)(host + s->page_table),
        .seqs = (struct k_seq *)(void *)(host + s->seqs),
        .rows = oct_calloc(n, sizeof *b->rows),
        .out = oct_calloc(n, sizeof *b->out),
        .top = oct_calloc(n * K_SAMPLE_MAX_TOP, sizeof *b->top),
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        *all[i] += x->block;
    }
    OCT_TRY(oct_dev_alloc(m->dev, plan->kv_cache_bytes, &s->kv_pool));
    if (!b->rows || !b->out || !b->top) {
        return oct_no_memory("sampler rows", n * (sizeof *b->rows + sizeof *b->top));
    }
    return OCT_OK;
}

void oct_exec_release(struct oct_exec *x)
{
    struct oct_device *dev = x->model->dev;
    oct_dev_free(dev, x->step.kv_pool);
    oct_dev_free(dev, x->block);
    oct_dev_host_free(dev, x->host);
    oct_dev_host_free(dev, x->logits);
    oct_free(x->batch.rows);
    oct_free(x->batch.out);
    oct_free(x->batch.top);
}

/* ---- what the forward pass is told ---- */

/* Which rows are whose, and the bounds of the step. */
static void describe_seqs(struct oct_exec *x)
{
    const struct oct_batch *b = &x->batch;
    struct oct_step *s = &x->step;
    s->rows = b->n_rows;
    s->n_out = b->n_out < x->max_num_seqs ? b->n_out : x->max_num_seqs;
    s->n_seqs = b->n_seqs;
    s->max_rows = s->max_keys = 0;
    for (int32_t i = 0; i < b->n_rows; i++) {
        struct k_seq *q = &b->seqs[b->row_seq[i]];
        if (i == 0 || b->row_seq[i] != b->row_seq[i - 1]) {
            *q = (struct k_seq){.row = i};
        }
        q->n_rows++;
        s->max_rows = q->n_rows > s->max_rows ? q->n_rows : s->max_rows;
        s->max_keys = b->positions[i] >= s->max_keys ? b->positions[i] + 1 : s->max_keys;
    }
}

/* The size under which a step of so many rows is recorded. */
static int32_t bucket_of(int32_t n, int32_t most)
{
    const int32_t step = n <= 8 ? 1 : n <= 64 ? 8 : n <= 256 ? 16 : 64;
    const int32_t up = (n + step - 1) / step * step;
    return up < most ? up : most;
}

/* Fills a step of single rows up to a size that was recorded, or will be: with rows that belong to
 * no sequence. Token 0 is looked up for them and its products are thrown away. Returns the key. */
static uint64_t fill_up(struct oct_exec *x)
{
    const struct oct_batch *b = &x->batch;
    struct oct_step *s = &x->step;
    const int32_t n = bucket_of(b->n_rows, x->max_num_seqs);
    int32_t keys = K_ATTN_SPLIT_TOKENS;
    while (keys < s->max_keys) {
        keys *= 2;
    }
    const int32_t most_keys = s->table_stride * K_PAGE_TOKENS; /* the context, in whole pages */
    keys = keys < most_keys ? keys : most_keys;
    for (int32_t i = b->n_rows; i < n; i++) {
        b->ids[i] = b->positions[i] = b->row_seq[i] = 0;
        b->seqs[i] = (struct k_seq){0};
    }
    for (int32_t i = b->n_out; i < n; i++) {
        b->out_rows[i] = 0;
    }
    s->rows = s->n_seqs = s->n_out = n;
    s->max_keys = keys;
    return (uint64_t)n << 32 | (uint32_t)keys;
}

/* ---- a step ---- */

static oct_status put_inputs(struct oct_exec *x)
{
    struct oct_device *dev = x->model->dev;
    const struct oct_batch *b = &x->batch;
    const struct oct_step *s = &x->step;
    const size_t used = (size_t)((s->max_keys + K_PAGE_TOKENS - 1) / K_PAGE_TOKENS);
    const size_t stride = (size_t)s->table_stride, entry = sizeof *b->page_table;
    OCT_TRY(oct_dev_put(dev, x->block, x->host, x->input_bytes, 1, x->input_bytes));
    for (int32_t g = 0; g < b->n_groups; g++) {
        const size_t at = (size_t)(g * b->group_stride);
        OCT_TRY(oct_dev_put(dev, s->page_table + at * entry, b->page_table + at,
                            (used < stride ? used : stride) * entry, (size_t)b->n_seqs,
                            stride * entry));
    }
    return OCT_OK;
}

static oct_status forward(struct oct_exec *x)
{
    return x->model->arch->forward(x->model, &x->step);
}

static oct_status forward_there(struct oct_exec *x)
{
    struct oct_device *dev = x->model->dev;
    const bool fixed = x->step.max_rows == 1 && !x->on_logits && !x->config.enforce_eager;
    const uint64_t key = fixed ? fill_up(x) : 0;
    enum oct_record record = OCT_RECORD_NO;
    bool again = false;
    OCT_TRY(put_inputs(x));
    if (fixed) {
        OCT_TRY(oct_dev_record_begin(dev, key, &record));
    }
    if (record == OCT_RECORD_REPLAY) {
        return OCT_OK;
    }
    const oct_status st = forward(x);
    if (record == OCT_RECORD_NO) {
        return st;
    }
    const oct_status end = oct_dev_record_end(dev, &again);
    OCT_TRY(st);
    OCT_TRY(end);
    return again ? forward(x) : OCT_OK;
}

/* The n wanted rows from `first` on, whose logits are there. */
static oct_status show_logits(struct oct_exec *x, int32_t first, int32_t n_rows)
{
    struct oct_device *dev = x->model->dev;
    const struct oct_batch *b = &x->batch;
    const int32_t n = x->model->cfg.vocab_size;
    const size_t row_bytes = (size_t)n * sizeof(float);
    const float *logits = (const float *)(uintptr_t)x->step.logits;
    if (!dev->host_memory) {
        if (!x->logits) {
            void *p;
            OCT_TRY(oct_dev_host_alloc(dev, (size_t)x->max_num_seqs * row_bytes, &p));
            x->logits = p;
        }
        OCT_TRY(oct_dev_get(dev, x->logits, x->step.logits, (size_t)n_rows * row_bytes));
        OCT_TRY(oct_dev_sync(dev));
        logits = x->logits;
    }
    for (int32_t i = 0; i < n_rows; i++) {
        const int32_t at = b->out_rows[first + i];
        x->on_logits(x->on_logits_user, x->step_ids[b->row_seq[at]], b->positions[at],
                     logits + (int64_t)i * n, n);
    }
    return OCT_OK;
}

/* The logits of n wanted rows from `first` on: those of the first max_num_seqs come with the
 * forward pass, the others here, in the place of those before. */
static oct_status next_logits(struct oct_exec *x, int32_t first, int32_t n)
{
    struct oct_step s = x->step;
    s.out_rows += (k_ptr)first * sizeof(int32_t);
    s.n_out = n;
    return x->model->arch->head(x->model, &s);
}

oct_status oct_exec_step(struct oct_exec *x)
{
    struct oct_device *dev = x->model->dev;
    struct oct_batch *b = &x->batch;
    int64_t begin_us = oct_clock_us();
    int32_t first = 0;
    b->forward_us = b->sample_us = 0;
    describe_seqs(x);
    if (dev->host_memory) {
        OCT_TRY(forward(x));
    } else {
        OCT_TRY(forward_there(x));
    }
    do {
        const int32_t left = b->n_out - first, n = left < x->max_num_seqs ? left : x->max_num_seqs;
        if (first > 0) {
            OCT_TRY(next_logits(x, first, n));
        }
        /* Where the sampler's time is worth knowing: it is nothing beside a forward pass on the
         * CPU; on another device it goes on without a wait in between. */
        if (dev->host_memory || x->on_logits) {
            OCT_TRY(oct_dev_sync(dev));
        }
        const int64_t forward_us = oct_clock_us();
        if (x->on_logits) {
            OCT_TRY(show_logits(x, first, n));
        }
        OCT_TRY(oct_exec_sample(x, first, first + n < b->n_sample ? first + n : b->n_sample));
        const int64_t end_us = oct_clock_us();
        b->forward_us += (dev->host_memory ? forward_us : end_us) - begin_us;
        b->sample_us += dev->host_memory ? end_us - forward_us : 0;
        begin_us = end_us;
        first += n;
    } while (first < b->n_out);
    return OCT_OK;
}
