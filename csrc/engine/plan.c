/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/plan.h"

#include "arch/kv_layout.h"
#include "engine/sched.h"
#include "ops.h"

#include <inttypes.h>
#include <string.h>

enum {
    DEFAULT_SEQS = 16,
    DEFAULT_BATCHED_TOKENS = 512,
    MAX_SEQS = 1024,
    MAX_BATCHED_TOKENS = 65536,
    DEFAULT_WAITING = 65536,
    MAX_WAITING = 1 << 20,
    MIN_MODEL_LEN = 2, /* one prompt token, one output token */
};

/* Everything below is bounded by config.h (C <= 2^16, F <= 2^20, V <= 2^24, L <= 2^10): no product
 * of these passes 2^63. */
static uint64_t layer_params(const struct oct_model_config *c)
{
    const uint64_t dim = (uint64_t)c->dim, d = (uint64_t)c->head_dim, ff = (uint64_t)c->ff_dim;
    const uint64_t q = (uint64_t)c->n_heads * d, kv = (uint64_t)c->n_kv_heads * d;
    uint64_t n = dim * (q + 2 * kv) + q * dim + 3 * dim * ff + 2 * dim;
    n += c->qkv_bias ? q + 2 * kv : 0;
    n += c->o_bias ? dim : 0;
    n += c->mlp_bias ? 2 * ff + dim : 0;
    n += c->qk_norm ? 2 * d : 0;
    return n;
}

static oct_status option(int32_t value, const char *name, int32_t fallback, int32_t min,
                         int32_t max, int32_t *out)
{
    if (value == 0) {
        *out = fallback;
        return OCT_OK;
    }
    if (value < min || value > max) {
        return OCT_FAIL(OCT_E_ARG, "%s is %d; it must be between %d and %d", name, value, min, max);
    }
    *out = value;
    return OCT_OK;
}

static oct_status pick_dtype(const struct oct_model_config *c, const char *name, int32_t *out)
{
    if (!name || !strcmp(name, "auto")) {
        *out = c->dtype == OCT_DTYPE_F32 ? K_F32 : K_BF16;
    } else if (!strcmp(name, "bfloat16") || !strcmp(name, "bf16")) {
        *out = K_BF16;
    } else if (!strcmp(name, "float32") || !strcmp(name, "f32")) {
        *out = K_F32;
    } else {
        return OCT_FAIL(OCT_E_ARG, "dtype is \"%.32s\"; it must be auto, bfloat16 or float32",
                        name);
    }
    return OCT_OK;
}

/* Blocks of K_PAGE_TOKENS that a request's tokens stand in. */
static uint64_t blocks_for(int32_t tokens)
{
    return ((uint64_t)tokens + K_PAGE_TOKENS - 1) / K_PAGE_TOKENS;
}

/* Pages with which a request of so many tokens can always go on by itself. */
static uint64_t pages_for(const struct oct_kv_layout *kv, int32_t tokens)
{
    return (uint64_t)oct_sched_pages_for(kv->n_groups, kv->windows, tokens);
}

/* The longest request, up to `most` tokens, that so many pages are enough for; 0: none. */
static int32_t longest_in(const struct oct_kv_layout *kv, uint64_t n_pages, int32_t most)
{
    int32_t fits = 0, too_long = most / K_PAGE_TOKENS + 2; /* in blocks */
    while (too_long - fits > 1) {
        const int32_t middle = fits + (too_long - fits) / 2;
        if (pages_for(kv, middle * K_PAGE_TOKENS) <= n_pages) {
            fits = middle;
        } else {
            too_long = middle;
        }
    }
    const int64_t tokens = (int64_t)fits * K_PAGE_TOKENS;
    return tokens < most ? (int32_t)tokens : most;
}

/* Activations of one step (arch.h, oct_step), logits, rotary table and step arrays. */
static uint64_t workspace(const struct oct_model_config *c, const struct oct_plan *p,
                          uint64_t n_groups)
{
    const uint64_t width = (uint64_t)k_dtype_bytes(p->dtype);
    const uint64_t rows = ((uint64_t)p->max_num_batched_tokens + K_GEMM_ROW_PAD - 1) /
                          K_GEMM_ROW_PAD * K_GEMM_ROW_PAD;
    const uint64_t out =
        ((uint64_t)p->max_num_seqs + K_GEMM_ROW_PAD - 1) / K_GEMM_ROW_PAD * K_GEMM_ROW_PAD;
    const uint64_t q = (uint64_t)c->n_heads * (uint64_t)c->head_dim;
    const uint64_t qkv = q + 2 * (uint64_t)c->n_kv_heads * (uint64_t)c->head_dim;
    return rows * width * (3 * (uint64_t)c->dim + qkv + q + 3 * (uint64_t)c->ff_dim) +
           out * 4 * (uint64_t)c->vocab_size +
           (uint64_t)p->max_model_len * 4 * (uint64_t)c->rope.rot_dim + 4 * (3 * rows + out) +
           4 * n_groups * (uint64_t)p->max_num_seqs * (uint64_t)p->blocks_per_seq;
}

/* How many pages, and with them the longest request. */
static oct_status plan_pages(struct oct_plan *p, const struct oct_engine_options *o,
                             const struct oct_kv_layout *kv, uint64_t memory_bytes)
{
    /* Default pool: the longest request, and another one's tokens, whatever its windows, for all
     * others; never over 40 % of memory. */
    uint64_t budget = (uint64_t)o->kv_cache_bytes;
    if (budget == 0) {
        const uint64_t others =
            p->max_num_seqs > 1 ? blocks_for(p->max_model_len) * (uint64_t)kv->n_groups : 0;
        budget = (pages_for(kv, p->max_model_len) + others) * p->page_bytes;
        const uint64_t most = memory_bytes ? memory_bytes / 10 * 4 : budget;
        budget = budget > most ? most : budget;
    }
    uint64_t pages = budget / p->page_bytes;
    pages = pages > INT32_MAX / 2 ? INT32_MAX / 2 : pages;
    const int32_t fits = longest_in(kv, pages, p->max_model_len);
    if (fits < MIN_MODEL_LEN) {
        return OCT_FAIL(OCT_E_MEM,
                        "the KV cache needs at least %d pages of %" PRIu64 " bytes; %" PRIu64
                        " bytes are allowed",
                        kv->n_groups, p->page_bytes, budget);
    }
    if (fits < p->max_model_len && o->max_model_len) {
        return OCT_FAIL(OCT_E_MEM,
                        "a request of %d tokens needs %" PRIu64 " bytes of KV cache; %" PRIu64
                        " are allowed; set max_model_len to %d or less, or give kv_cache_bytes",
                        p->max_model_len, pages_for(kv, p->max_model_len) * p->page_bytes, budget,
                        fits);
    }
    p->max_model_len = fits;
    p->n_pages = (int32_t)pages;
    p->kv_cache_bytes = pages * p->page_bytes;
    p->blocks_per_seq = (int32_t)blocks_for(p->max_model_len);
    return OCT_OK;
}

oct_status oct_plan_make(const struct oct_model_config *c, const struct oct_engine_options *o,
                         uint64_t memory_bytes, struct oct_plan *out)
{
    struct oct_plan p = {0};
    OCT_TRY(pick_dtype(c, o->dtype, &p.dtype));
    OCT_TRY(option(o->max_num_seqs, "max_num_seqs", DEFAULT_SEQS, 1, MAX_SEQS, &p.max_num_seqs));
    OCT_TRY(option(o->max_num_batched_tokens, "max_num_batched_tokens", DEFAULT_BATCHED_TOKENS, 1,
                   MAX_BATCHED_TOKENS, &p.max_num_batched_tokens));
    if (p.max_num_batched_tokens < p.max_num_seqs) {
        p.max_num_seqs = p.max_num_batched_tokens; /* each running request has a row in each step */
    }
    if (c->max_positions < MIN_MODEL_LEN) {
        return OCT_FAIL(OCT_E_FORMAT, "the model's context is %d tokens; at least %d are needed",
                        c->max_positions, MIN_MODEL_LEN);
    }
    OCT_TRY(option(o->max_model_len, "max_model_len", c->max_positions, MIN_MODEL_LEN,
                   c->max_positions, &p.max_model_len));
    OCT_TRY(option(o->max_waiting, "max_waiting", DEFAULT_WAITING, 1, MAX_WAITING, &p.max_waiting));
    if (o->kv_cache_bytes < 0) {
        return OCT_FAIL(OCT_E_ARG, "kv_cache_bytes is %" PRId64 "; it must not be negative",
                        o->kv_cache_bytes);
    }

    const uint64_t width = (uint64_t)k_dtype_bytes(p.dtype);
    const uint64_t ends = (uint64_t)c->vocab_size * (uint64_t)c->dim;
    const uint64_t layers = layer_params(c) * (uint64_t)c->n_layers;
    p.n_params = layers + ends * (c->tied ? 1 : 2) + (uint64_t)c->dim;
    p.weight_bytes = (layers + 2 * ends + (uint64_t)c->dim) * width;
    struct oct_kv_layout kv;
    OCT_TRY(oct_kv_layout_make(c, &kv));
    p.page_bytes = (uint64_t)kv.page_elems * width;
    p.kv_bytes_per_token = p.page_bytes * (uint64_t)kv.n_groups / K_PAGE_TOKENS;
    OCT_TRY(plan_pages(&p, o, &kv, memory_bytes));
    p.workspace_bytes = workspace(c, &p, (uint64_t)kv.n_groups);
    p.total_bytes = p.weight_bytes + p.kv_cache_bytes + p.workspace_bytes;
    if (memory_bytes && p.total_bytes > memory_bytes) {
        return OCT_FAIL(OCT_E_MEM,
                        "the model needs %" PRIu64 " MiB (weights %" PRIu64 ", KV cache %" PRIu64
                        ", workspace %" PRIu64 "); this machine has %" PRIu64
                        "; use a smaller model, --kv-cache-bytes or --max-model-len",
                        p.total_bytes >> 20, p.weight_bytes >> 20, p.kv_cache_bytes >> 20,
                        p.workspace_bytes >> 20, memory_bytes >> 20);
    }
    *out = p;
    return OCT_OK;
}
