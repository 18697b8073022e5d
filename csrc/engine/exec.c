/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/exec.h"

#include "base/mem.h"

#include <string.h>

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

oct_status oct_exec_init(struct oct_exec *x, struct oct_model *m, const struct oct_plan *plan,
                         int32_t n_vocab)
{
    const struct oct_model_config *c = &m->cfg;
    const uint64_t width = (uint64_t)k_dtype_bytes(m->dtype);
    const uint64_t rows = padded(plan->max_num_batched_tokens), out = padded(plan->max_num_seqs);
    const uint64_t q = (uint64_t)c->n_heads * (uint64_t)c->head_dim;
    const uint64_t qkv = q + 2 * (uint64_t)c->n_kv_heads * (uint64_t)c->head_dim;
    const uint64_t dim = (uint64_t)c->dim, ff = (uint64_t)c->ff_dim;
    const uint64_t table =
        (uint64_t)m->kv.n_groups * (uint64_t)plan->max_num_seqs * (uint64_t)plan->pages_per_seq;
    struct layout l = {0};
    struct oct_step s = {.table_stride = plan->pages_per_seq,
                         .group_stride = (int64_t)plan->max_num_seqs * plan->pages_per_seq};
    /* The sampler's lists are host arrays of the requests: a device with memory of its own packs
     * them first. */
    OCT_ASSERT(m->dev->host_memory);

    s.ids = carve(&l, rows * 4);
    s.positions = carve(&l, rows * 4);
    s.row_seq = carve(&l, rows * 4);
    s.out_rows = carve(&l, out * 4);
    s.page_table = carve(&l, table * 4);
    s.x = carve(&l, rows * dim * width);
    s.h = carve(&l, rows * dim * width);
    s.add = carve(&l, rows * dim * width);
    s.qkv = carve(&l, rows * qkv * width);
    s.attn = carve(&l, rows * q * width);
    s.gate_up = carve(&l, rows * 2 * ff * width);
    s.act = carve(&l, rows * ff * width);
    s.logits = carve(&l, out * (uint64_t)c->vocab_size * 4);
    k_ptr *const all[] = {&s.ids,     &s.positions, &s.row_seq, &s.out_rows, &s.page_table,
                          &s.x,       &s.h,         &s.add,     &s.qkv,      &s.attn,
                          &s.gate_up, &s.act,       &s.logits};

    oct_status st;
    struct oct_exec e = {.model = m, .plan = plan, .n_vocab = n_vocab};
    OCT_TRY_GOTO(oct_dev_alloc(m->dev, l.bytes, &e.block), st, fail);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        *all[i] += e.block;
    }
    OCT_TRY_GOTO(oct_dev_alloc(m->dev, plan->kv_cache_bytes, &s.kv_pool), st, fail);
    e.step = s;
    e.ids = (int32_t *)(uintptr_t)s.ids;
    e.positions = (int32_t *)(uintptr_t)s.positions;
    e.row_seq = (int32_t *)(uintptr_t)s.row_seq;
    e.out_rows = (int32_t *)(uintptr_t)s.out_rows;
    e.page_table = (int32_t *)(uintptr_t)s.page_table;
    const size_t n = (size_t)plan->max_num_seqs;
    e.rows = oct_calloc(n, sizeof *e.rows);
    e.out = oct_calloc(n, sizeof *e.out);
    e.top = oct_calloc(n * K_SAMPLE_MAX_TOP, sizeof *e.top);
    if (!e.rows || !e.out || !e.top) {
        OCT_TRY_GOTO(oct_no_memory("sampler rows", n * (sizeof *e.rows + sizeof *e.top)), st, fail);
    }
    *x = e;
    return OCT_OK;
fail:
    oct_exec_deinit(&e);
    return st;
}

void oct_exec_deinit(struct oct_exec *x)
{
    if (x->model) {
        oct_dev_free(x->model->dev, x->block);
        oct_dev_free(x->model->dev, x->step.kv_pool);
    }
    oct_free(x->rows);
    oct_free(x->out);
    oct_free(x->top);
    *x = (struct oct_exec){0};
}

void oct_exec_begin(struct oct_exec *x)
{
    x->n_rows = x->n_seqs = x->n_out = x->n_sample = 0;
    x->wants_top = false;
}

bool oct_exec_add(struct oct_exec *x, struct oct_req *r)
{
    const int32_t first = r->n_computed, n = r->step_rows;
    OCT_ASSERT(n >= 1 && first + n <= r->n_tokens && x->n_seqs < x->plan->max_num_seqs &&
               x->n_rows + n <= x->plan->max_num_batched_tokens);
    r->step_out = -1;
    if (first + n == r->n_tokens) {
        struct k_sample_row *row = &x->rows[x->n_sample];
        if (!oct_sampler_row(&r->sampler, r->tokens + r->n_prompt, oct_req_n_output(r), row)) {
            return false;
        }
        x->wants_top = x->wants_top || row->n_top > 0;
        x->out_rows[x->n_out++] = x->n_rows + n - 1;
        r->step_out = x->n_sample++;
    }
    /* A page of the request is one of each group, side by side in the pool. */
    const int32_t n_groups = x->model->kv.n_groups;
    for (int32_t g = 0; g < n_groups; g++) {
        int32_t *table =
            x->page_table + g * x->step.group_stride + (int64_t)x->n_seqs * x->step.table_stride;
        for (int32_t i = 0; i < r->n_pages; i++) {
            table[i] = r->pages[i] * n_groups + g;
        }
    }
    for (int32_t i = 0; i < n; i++) {
        x->ids[x->n_rows + i] = r->tokens[first + i];
        x->positions[x->n_rows + i] = first + i;
        x->row_seq[x->n_rows + i] = x->n_seqs;
    }
    x->n_rows += n;
    x->n_seqs++;
    return true;
}

oct_status oct_exec_forward(struct oct_exec *x)
{
    x->step.rows = x->n_rows;
    x->step.n_out = x->n_out;
    OCT_TRY(x->model->arch->forward(x->model, &x->step));
    return oct_dev_sync(x->model->dev);
}

oct_status oct_exec_sample(struct oct_exec *x)
{
    if (x->n_sample == 0) {
        return OCT_OK;
    }
    const struct k_sample_args args = {
        .out = (k_ptr)(uintptr_t)x->out,
        .top = x->wants_top ? (k_ptr)(uintptr_t)x->top : 0,
        .logits = x->step.logits,
        .rows = (k_ptr)(uintptr_t)x->rows,
        .logits_stride = x->model->cfg.vocab_size,
        .n_rows = x->n_sample,
        .vocab = x->n_vocab,
        .max_top = K_SAMPLE_MAX_TOP,
    };
    OCT_TRY(oct_dev_sample(x->model->dev, &args));
    return oct_dev_sync(x->model->dev);
}

const float *oct_exec_logits(const struct oct_exec *x, int32_t i)
{
    return (const float *)(uintptr_t)x->step.logits + (int64_t)i * x->model->cfg.vocab_size;
}
