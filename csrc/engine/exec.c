/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/exec.h"

#include "base/clock.h"
#include "base/mem.h"
#include "engine/thread.h"

#include <stdio.h>

/* ---- memory ---- */

/* One device block holds every array of a step; each starts on a 256-byte boundary. */
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

static oct_status allocate(struct oct_exec *x, const struct oct_plan *plan)
{
    const struct oct_model *m = x->model;
    const struct oct_model_config *c = &m->cfg;
    const uint64_t width = (uint64_t)k_dtype_bytes(m->dtype);
    const uint64_t rows = padded(plan->max_num_batched_tokens), out = padded(plan->max_num_seqs);
    const uint64_t q = (uint64_t)c->n_heads * (uint64_t)c->head_dim;
    const uint64_t qkv = q + 2 * (uint64_t)c->n_kv_heads * (uint64_t)c->head_dim;
    const uint64_t dim = (uint64_t)c->dim, ff = (uint64_t)c->ff_dim;
    const uint64_t table =
        (uint64_t)m->kv.n_groups * (uint64_t)plan->max_num_seqs * (uint64_t)plan->blocks_per_seq;
    struct layout l = {0};
    struct oct_step *s = &x->step;
    *s = (struct oct_step){.table_stride = plan->blocks_per_seq,
                           .group_stride = (int64_t)plan->max_num_seqs * plan->blocks_per_seq};
    /* The sampler's lists are host arrays of the requests: a device with memory of its own packs
     * them first. */
    OCT_ASSERT(m->dev->host_memory);

    s->ids = carve(&l, rows * 4);
    s->positions = carve(&l, rows * 4);
    s->row_seq = carve(&l, rows * 4);
    s->seqs = carve(&l, (uint64_t)plan->max_num_seqs * sizeof(struct k_seq));
    s->out_rows = carve(&l, out * 4);
    s->page_table = carve(&l, table * 4);
    s->x = carve(&l, rows * dim * width);
    s->h = carve(&l, rows * dim * width);
    s->qkv = carve(&l, rows * row(qkv) * width);
    s->attn = carve(&l, rows * row(q) * width);
    s->gate_up = carve(&l, rows * row(2 * ff) * width);
    s->act = carve(&l, rows * row(ff) * width);
    s->logits = carve(&l, out * (uint64_t)c->vocab_size * 4);
    k_ptr *const all[] = {&s->ids,        &s->positions, &s->row_seq, &s->seqs, &s->out_rows,
                          &s->page_table, &s->x,         &s->h,       &s->qkv,  &s->attn,
                          &s->gate_up,    &s->act,       &s->logits};
    OCT_TRY(oct_dev_alloc(m->dev, l.bytes, &x->block));
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        *all[i] += x->block;
    }
    OCT_TRY(oct_dev_alloc(m->dev, plan->kv_cache_bytes, &s->kv_pool));

    const size_t n = (size_t)plan->max_num_seqs;
    struct oct_batch *b = &x->batch;
    *b = (struct oct_batch){
        .n_groups = m->kv.n_groups,
        .table_stride = s->table_stride,
        .group_stride = s->group_stride,
        .ids = (int32_t *)(uintptr_t)s->ids,
        .positions = (int32_t *)(uintptr_t)s->positions,
        .row_seq = (int32_t *)(uintptr_t)s->row_seq,
        .out_rows = (int32_t *)(uintptr_t)s->out_rows,
        .page_table = (int32_t *)(uintptr_t)s->page_table,
        .rows = oct_calloc(n, sizeof *b->rows),
        .out = oct_calloc(n, sizeof *b->out),
        .top = oct_calloc(n * K_SAMPLE_MAX_TOP, sizeof *b->top),
    };
    if (!b->rows || !b->out || !b->top) {
        return oct_no_memory("sampler rows", n * (sizeof *b->rows + sizeof *b->top));
    }
    return OCT_OK;
}

/* ---- a step ---- */

static void show_logits(const struct oct_exec *x)
{
    const struct oct_batch *b = &x->batch;
    const int32_t n = x->model->cfg.vocab_size;
    const float *logits = (const float *)(uintptr_t)x->step.logits;
    for (int32_t i = 0; i < b->n_out; i++) {
        const int32_t row = b->out_rows[i];
        x->on_logits(x->on_logits_user, x->step_ids[b->row_seq[row]], b->positions[row],
                     logits + (int64_t)i * n, n);
    }
}

/* Samples every complete request. Overwrites the logits. */
static oct_status sample(struct oct_exec *x)
{
    const struct oct_batch *b = &x->batch;
    if (b->n_sample == 0) {
        return OCT_OK;
    }
    const struct k_sample_args args = {
        .out = (k_ptr)(uintptr_t)b->out,
        .top = b->wants_top ? (k_ptr)(uintptr_t)b->top : 0,
        .logits = x->step.logits,
        .rows = (k_ptr)(uintptr_t)b->rows,
        .logits_stride = x->model->cfg.vocab_size,
        .n_rows = b->n_sample,
        .vocab = x->n_vocab,
        .max_top = K_SAMPLE_MAX_TOP,
    };
    OCT_TRY(oct_dev_sample(x->model->dev, &args));
    return oct_dev_sync(x->model->dev);
}

/* Which rows are whose, and the bounds of the step. */
static void describe_seqs(struct oct_exec *x)
{
    const struct oct_batch *b = &x->batch;
    struct oct_step *s = &x->step;
    struct k_seq *seqs = (struct k_seq *)(uintptr_t)s->seqs;
    s->n_seqs = b->n_seqs;
    s->max_rows = s->max_keys = 0;
    for (int32_t i = 0; i < b->n_rows; i++) {
        struct k_seq *q = &seqs[b->row_seq[i]];
        if (i == 0 || b->row_seq[i] != b->row_seq[i - 1]) {
            *q = (struct k_seq){.row = i};
        }
        q->n_rows++;
        s->max_rows = q->n_rows > s->max_rows ? q->n_rows : s->max_rows;
        s->max_keys = b->positions[i] >= s->max_keys ? b->positions[i] + 1 : s->max_keys;
    }
}

static oct_status run(struct oct_exec *x)
{
    struct oct_batch *b = &x->batch;
    const int64_t begin_us = oct_clock_us();
    x->step.rows = b->n_rows;
    x->step.n_out = b->n_out;
    describe_seqs(x);
    OCT_TRY(x->model->arch->forward(x->model, &x->step));
    OCT_TRY(oct_dev_sync(x->model->dev));
    const int64_t forward_us = oct_clock_us();
    if (x->on_logits) {
        show_logits(x);
    }
    OCT_TRY(sample(x));
    b->forward_us = forward_us - begin_us;
    b->sample_us = oct_clock_us() - forward_us;
    return OCT_OK;
}

/* ---- the device thread ---- */

static void lock(struct oct_exec *x)
{
    const int failed = pthread_mutex_lock(&x->lock);
    OCT_ASSERT(failed == 0);
}

static void unlock(struct oct_exec *x)
{
    const int failed = pthread_mutex_unlock(&x->lock);
    OCT_ASSERT(failed == 0);
}

static void *device_thread(void *arg)
{
    struct oct_exec *x = arg;
    lock(x);
    for (;;) {
        while (!x->wanted && !x->stop) {
            (void)pthread_cond_wait(&x->go, &x->lock);
        }
        if (x->stop) {
            break;
        }
        unlock(x);
        const oct_status st = run(x);
        lock(x);
        x->st = st;
        if (st != OCT_OK) {
            (void)snprintf(x->error, sizeof x->error, "%s", oct_last_error());
        }
        x->wanted = false;
        (void)pthread_cond_signal(&x->done);
    }
    unlock(x);
    return NULL;
}

static oct_status start_thread(struct oct_exec *x)
{
    /* These allocate nothing on Linux: they cannot fail for a reason of the world. */
    int failed = pthread_mutex_init(&x->lock, NULL);
    failed += pthread_cond_init(&x->go, NULL);
    failed += pthread_cond_init(&x->done, NULL);
    OCT_ASSERT(failed == 0);
    const oct_status st = oct_thread_start(&x->thread, "octavo-device", device_thread, x);
    x->has_thread = st == OCT_OK;
    return st;
}

static void stop_thread(struct oct_exec *x)
{
    lock(x);
    x->stop = true;
    (void)pthread_cond_signal(&x->go);
    unlock(x);
    const int failed = pthread_join(x->thread, NULL);
    OCT_ASSERT(failed == 0);
    (void)pthread_mutex_destroy(&x->lock);
    (void)pthread_cond_destroy(&x->go);
    (void)pthread_cond_destroy(&x->done);
}

/* ---- the runner ---- */

static struct oct_batch *get_batch(void *self)
{
    return &((struct oct_exec *)self)->batch;
}

static oct_status launch(void *self)
{
    struct oct_exec *x = self;
    OCT_ASSERT(!x->launched);
    x->launched = true;
    if (x->has_thread) {
        lock(x);
        x->wanted = true;
        (void)pthread_cond_signal(&x->go);
        unlock(x);
    }
    return OCT_OK;
}

static oct_status wait_here(struct oct_exec *x)
{
    const oct_status st = run(x);
    return st;
}

static oct_status wait(void *self)
{
    struct oct_exec *x = self;
    OCT_ASSERT(x->launched);
    x->launched = false;
    if (!x->has_thread) {
        return wait_here(x);
    }
    lock(x);
    while (x->wanted) {
        (void)pthread_cond_wait(&x->done, &x->lock);
    }
    const oct_status st = x->st;
    unlock(x);
    return st == OCT_OK ? OCT_OK : OCT_FAIL(st, "%s", x->error);
}

static void close_runner(void *self)
{
    oct_exec_close(self);
}

struct oct_runner oct_exec_runner(struct oct_exec *x)
{
    return (struct oct_runner){
        .self = x, .batch = get_batch, .launch = launch, .wait = wait, .close = close_runner};
}

/* ---- life ---- */

oct_status oct_exec_open(struct oct_model *m, const struct oct_plan *plan, int32_t n_vocab,
                         int32_t n_threads, bool threaded, struct oct_exec **out)
{
    struct oct_exec *x = oct_calloc(1, sizeof *x);
    if (!x) {
        return oct_no_memory("the step", sizeof *x);
    }
    x->model = m;
    x->n_vocab = n_vocab;
    x->n_threads = n_threads;
    oct_status st;
    OCT_TRY_GOTO(allocate(x, plan), st, fail);
    if (threaded) {
        OCT_TRY_GOTO(start_thread(x), st, fail);
    }
    *out = x;
    return OCT_OK;
fail:
    oct_exec_close(x);
    return st;
}

void oct_exec_close(struct oct_exec *x)
{
    if (!x) {
        return;
    }
    if (x->has_thread) {
        stop_thread(x);
    }
    oct_dev_free(x->model->dev, x->block);
    oct_dev_free(x->model->dev, x->step.kv_pool);
    oct_free(x->batch.rows);
    oct_free(x->batch.out);
    oct_free(x->batch.top);
    oct_free(x);
}
