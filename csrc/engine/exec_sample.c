/* SPDX-License-Identifier: Apache-2.0
 *
 * exec_sample.c - the sampler's side of a step. The lists of a request (penalties, biases, masks)
 * are host arrays; a device with memory of its own gets them packed, as many rows at a time as
 * there is room for. */
#include "engine/exec.h"

#include "engine/sampler.h"

#include <string.h>

/* ---- room ---- */

enum {
    MAX_BANNED =
        OCT_SAMPLER_MAX_STOP_TOKENS + 2 * OCT_MAX_STOP_TOKENS, /* the request's, the model's */
    USUAL_LIST_BYTES = 16384, /* of one row: penalties of some 2,000 tokens */
};

static uint64_t up16(uint64_t n)
{
    return (n + 15) / 16 * 16;
}

/* The longest lists that a row can have. */
static uint64_t most_list_bytes(const struct oct_model_config *c, const struct oct_plan *p)
{
    const uint64_t distinct =
        (uint64_t)(p->max_model_len < c->vocab_size ? p->max_model_len : c->vocab_size);
    return up16(distinct * sizeof(struct k_sample_count)) +
           up16(OCT_SAMPLER_MAX_BIAS * sizeof(struct k_sample_bias)) +
           up16(MAX_BANNED * sizeof(int32_t)) + up16(((uint64_t)c->vocab_size + 31) / 32 * 4);
}

static struct oct_exec_sampler lay_out(const struct oct_model_config *c, const struct oct_plan *p)
{
    const uint64_t n = (uint64_t)p->max_num_seqs, most = most_list_bytes(c, p);
    struct oct_exec_sampler s = {.list_bytes = n * USUAL_LIST_BYTES};
    s.list_bytes = s.list_bytes > most ? s.list_bytes : most;
    s.lists = up16(n * sizeof(struct k_sample_row));
    s.out = s.lists + s.list_bytes;
    s.top = s.out + up16(n * sizeof(struct k_sample_out));
    s.total_bytes = s.top + up16(n * K_SAMPLE_MAX_TOP * sizeof(struct k_sample_top));
    return s;
}

uint64_t oct_exec_sampler_bytes(const struct oct_model_config *c, const struct oct_plan *p)
{
    return lay_out(c, p).total_bytes;
}

oct_status oct_exec_sampler_open(struct oct_exec *x, const struct oct_plan *plan)
{
    struct oct_device *dev = x->model->dev;
    if (dev->host_memory) {
        return OCT_OK;
    }
    void *pinned;
    x->sampler = lay_out(&x->model->cfg, plan);
    OCT_TRY(oct_dev_alloc(dev, x->sampler.total_bytes, &x->sampler.device));
    OCT_TRY(oct_dev_host_alloc(dev, x->sampler.total_bytes, &pinned));
    x->sampler.host = pinned;
    return OCT_OK;
}

void oct_exec_sampler_close(struct oct_exec *x)
{
    oct_dev_free(x->model->dev, x->sampler.device);
    oct_dev_host_free(x->model->dev, x->sampler.host);
}

/* ---- packing ---- */

/* Copies a list behind what is packed already; *list becomes its device address. False: no room. */
static bool pack_list(const struct oct_exec_sampler *s, uint64_t *at, k_ptr *list, uint64_t bytes)
{
    if (*list == 0 || bytes == 0) {
        *list = 0;
        return true;
    }
    if (bytes > s->list_bytes - *at) {
        return false;
    }
    memcpy(s->host + s->lists + *at, (const void *)(uintptr_t)*list, (size_t)bytes);
    *list = s->device + s->lists + *at;
    *at += up16(bytes);
    return true;
}

/* Packs rows [first, end), as many as there is room for; returns how many, *bytes of lists. */
static int32_t pack(const struct oct_exec *x, int32_t first, int32_t end_row, uint64_t *bytes)
{
    const struct oct_exec_sampler *s = &x->sampler;
    const struct oct_batch *b = &x->batch;
    struct k_sample_row *rows = (struct k_sample_row *)(void *)s->host;
    const uint64_t mask_bytes = ((uint64_t)x->config.n_vocab + 31) / 32 * 4;
    uint64_t at = 0;
    int32_t n = 0;
    for (; first + n < end_row; n++) {
        struct k_sample_row r = b->rows[first + n];
        uint64_t end = at;
        if (!pack_list(s, &end, &r.counts, (uint64_t)r.n_counts * sizeof(struct k_sample_count)) ||
            !pack_list(s, &end, &r.bias, (uint64_t)r.n_bias * sizeof(struct k_sample_bias)) ||
            !pack_list(s, &end, &r.banned, (uint64_t)r.n_banned * sizeof(int32_t)) ||
            !pack_list(s, &end, &r.bitmask, mask_bytes)) {
            break;
        }
        rows[n] = r;
        at = end;
    }
    OCT_ASSERT(n > 0); /* there is room for the longest lists of any row */
    *bytes = at;
    return n;
}

/* ---- sampling ---- */

/* n rows, the first of whose logits are the `at`th. */
static struct k_sample_args arguments(const struct oct_exec *x, int32_t at, int32_t n)
{
    const int64_t stride = x->model->cfg.vocab_size;
    return (struct k_sample_args){
        .logits = x->step.logits + (k_ptr)(at * stride) * sizeof(float),
        .logits_stride = stride,
        .n_rows = n,
        .vocab = x->config.n_vocab,
        .max_top = K_SAMPLE_MAX_TOP,
    };
}

static oct_status sample_here(struct oct_exec *x, int32_t first, int32_t end)
{
    const struct oct_batch *b = &x->batch;
    struct k_sample_args args = arguments(x, 0, end - first);
    args.out = (k_ptr)(uintptr_t)(b->out + first);
    args.top = b->wants_top ? (k_ptr)(uintptr_t)(b->top + (int64_t)first * K_SAMPLE_MAX_TOP) : 0;
    args.rows = (k_ptr)(uintptr_t)(b->rows + first);
    OCT_TRY(oct_dev_sample(x->model->dev, &args));
    return oct_dev_sync(x->model->dev);
}

/* Rows from `first` on, whose logits are the `at`th and those behind it; *n of them. */
static oct_status sample_some(struct oct_exec *x, int32_t first, int32_t end, int32_t at,
                              int32_t *n)
{
    struct oct_device *dev = x->model->dev;
    const struct oct_exec_sampler *s = &x->sampler;
    const struct oct_batch *b = &x->batch;
    uint64_t list_bytes;
    *n = pack(x, first, end, &list_bytes);
    const size_t count = (size_t)*n, top_bytes = count * K_SAMPLE_MAX_TOP * sizeof *b->top;
    const size_t row_bytes = count * sizeof(struct k_sample_row);
    struct k_sample_args args = arguments(x, at, *n);
    args.rows = s->device;
    args.out = s->device + s->out;
    args.top = b->wants_top ? s->device + s->top : 0;
    OCT_TRY(oct_dev_put(dev, s->device, s->host, row_bytes, 1, row_bytes));
    OCT_TRY(oct_dev_put(dev, s->device + s->lists, s->host + s->lists, list_bytes, 1, list_bytes));
    OCT_TRY(oct_dev_sample(dev, &args));
    OCT_TRY(oct_dev_get(dev, s->host + s->out, args.out, count * sizeof *b->out));
    OCT_TRY(oct_dev_get(dev, s->host + s->top, args.top, args.top ? top_bytes : 0));
    OCT_TRY(oct_dev_sync(dev));
    memcpy(b->out + first, s->host + s->out, count * sizeof *b->out);
    if (args.top) {
        memcpy(b->top + (int64_t)first * K_SAMPLE_MAX_TOP, s->host + s->top, top_bytes);
    }
    return OCT_OK;
}

oct_status oct_exec_sample(struct oct_exec *x, int32_t first, int32_t end)
{
    if (first >= end) {
        return x->model->dev->host_memory ? OCT_OK : oct_dev_sync(x->model->dev);
    }
    if (x->model->dev->host_memory) {
        return sample_here(x, first, end);
    }
    for (int32_t row = first, n; row < end; row += n) {
        OCT_TRY(sample_some(x, row, end, row - first, &n));
    }
    return OCT_OK;
}
