/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/plan.h"

#include "arch/arch.h"

#include <inttypes.h>
#include <string.h>

enum {
    DEFAULT_SEQS = 16,
    DEFAULT_BATCHED_TOKENS = 512,
    MAX_SEQS = 1024,
    MAX_BATCHED_TOKENS = 65536,
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

static uint64_t pages_for(uint64_t tokens)
{
    return (tokens + K_PAGE_TOKENS - 1) / K_PAGE_TOKENS;
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
           4 * n_groups * (uint64_t)p->max_num_seqs * (uint64_t)p->pages_per_seq;
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
    /* One page here is a page of each group. */
    p.page_bytes = (uint64_t)kv.n_groups * (uint64_t)kv.page_elems * width;
    p.kv_bytes_per_token = p.page_bytes / K_PAGE_TOKENS;

    /* Default pool: the longest request, and as much again for others; never over 40 % of memory.
     */
    uint64_t budget = (uint64_t)o->kv_cache_bytes;
    if (budget == 0) {
        budget = (p.max_num_seqs > 1 ? 2 : 1) * pages_for((uint64_t)p.max_model_len) * p.page_bytes;
        const uint64_t most = memory_bytes ? memory_bytes / 10 * 4 : budget;
        budget = budget > most ? most : budget;
    }
    uint64_t pages = budget / p.page_bytes;
    pages = pages > INT32_MAX / 2 / OCT_KV_MAX_GROUPS ? INT32_MAX / 2 / OCT_KV_MAX_GROUPS : pages;
    if (pages < 1) {
        return OCT_FAIL(OCT_E_MEM,
                        "the KV cache needs at least one page of %" PRIu64 " bytes; %" PRIu64
                        " are allowed",
                        p.page_bytes, budget);
    }
    if (pages < pages_for((uint64_t)p.max_model_len)) {
        const uint64_t fits = pages * K_PAGE_TOKENS;
        if (o->max_model_len) {
            return OCT_FAIL(
                OCT_E_MEM,
                "a request of %d tokens needs %" PRIu64 " bytes of KV cache; %" PRIu64
                " are allowed; set max_model_len to %" PRIu64 " or less, or give kv_cache_bytes",
                p.max_model_len, pages_for((uint64_t)p.max_model_len) * p.page_bytes, budget, fits);
        }
        p.max_model_len = (int32_t)fits;
    }
    p.n_pages = (int32_t)pages;
    p.kv_cache_bytes = pages * p.page_bytes;
    p.pages_per_seq = (int32_t)pages_for((uint64_t)p.max_model_len);
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
