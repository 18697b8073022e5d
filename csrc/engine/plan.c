/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/plan.h"

#include "arch/kv_layout.h"
#include "engine/exec.h"
#include "engine/sched.h"
#include "ops.h"

#include <inttypes.h>
#include <string.h>

enum {
    DEFAULT_SEQS = 16,
    DEFAULT_BATCHED_TOKENS = 512,
    DEFAULT_GPU_SEQS = 256,
    DEFAULT_GPU_BATCHED_TOKENS = 4096,
    MODEST_TOKENS = 1024,
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

static oct_status pick_dtype(const struct oct_model_config *c, const char *name, bool gpu,
                             int32_t *out)
{
    if (!name || !strcmp(name, "auto")) {
        *out = c->dtype == OCT_DTYPE_F32 && !gpu ? K_F32 : K_BF16;
    } else if (!strcmp(name, "bfloat16") || !strcmp(name, "bf16")) {
        *out = K_BF16;
    } else if (gpu && (!strcmp(name, "float32") || !strcmp(name, "f32"))) {
        return OCT_FAIL(OCT_E_UNSUPPORTED,
                        "the CUDA kernels compute in bfloat16; use --dtype auto, "
                        "or --device cpu for float32");
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

/* Arrays of one step, rotary table, and what the device's ops need. */
static uint64_t workspace(const struct oct_model_config *c, const struct oct_plan *p,
                          struct oct_device *dev, int32_t n_groups)
{
    uint64_t n = oct_exec_step_bytes(c, p, n_groups) +
                 (uint64_t)p->max_model_len * 4 * (uint64_t)c->rope.rot_dim;
    if (!dev->host_memory) {
        n += oct_exec_sampler_bytes(c, p) + oct_dev_work_bytes(dev, &p->limits);
    }
    return n;
}

static struct k_limits limits(const struct oct_model_config *c, const struct oct_plan *p)
{
    const int32_t q = c->n_heads * c->head_dim, kv = c->n_kv_heads * c->head_dim;
    return (struct k_limits){
        .max_rows = p->max_num_batched_tokens,
        .max_seqs = p->max_num_seqs,
        .max_keys = p->max_model_len,
        .n_heads = c->n_heads,
        .n_kv_heads = c->n_kv_heads,
        .head_dim = c->head_dim,
        .vocab = c->vocab_size,
        .n_gemms = 5,
        .gemms = {{q + 2 * kv, c->dim},
                  {c->dim, q},
                  {2 * c->ff_dim, c->dim},
                  {c->dim, c->ff_dim},
                  {c->vocab_size, c->dim}},
    };
}

/* Weights as the device keeps them: matrices in its own layout, each block aligned. */
static uint64_t weights(const struct oct_model_config *c, const struct oct_plan *p,
                        struct oct_device *dev)
{
    enum { ALIGN = 256, VECTORS = 12 }; /* of a layer: norms and biases */
    const uint64_t width = (uint64_t)k_dtype_bytes(p->dtype);
    const uint64_t vocab = (uint64_t)c->vocab_size, dim = (uint64_t)c->dim;
    if (dev->host_memory) {
        return (layer_params(c) * (uint64_t)c->n_layers + 2 * vocab * dim + dim) * width;
    }
    uint64_t layer = VECTORS * ALIGN + 4 * (2 * dim + 2 * (uint64_t)c->ff_dim) +
                     4 * (uint64_t)p->limits.gemms[0].n + 2 * dim * width +
                     2 * (uint64_t)c->head_dim * width;
    for (int i = 0; i < 4; i++) {
        layer +=
            dev->table->matrix_bytes(dev, p->limits.gemms[i].n, p->limits.gemms[i].k, p->dtype);
    }
    return layer * (uint64_t)c->n_layers +
           dev->table->matrix_bytes(dev, c->vocab_size, c->dim, p->dtype) + vocab * dim * width +
           2 * ALIGN + dim * width;
}

/* The default pool on the CPU: the longest request, and for all others as many tokens again, or
 * MODEST_TOKENS each, whatever their windows; never over 40 % of memory. */
static uint64_t modest_pool(const struct oct_plan *p, const struct oct_kv_layout *kv,
                            uint64_t memory_bytes)
{
    const uint64_t n = (uint64_t)p->max_num_seqs - 1, longest = blocks_for(p->max_model_len);
    const uint64_t each = blocks_for(MODEST_TOKENS) < longest ? blocks_for(MODEST_TOKENS) : longest;
    const uint64_t others = n == 0 ? 0 : n * each > longest ? n * each : longest;
    const uint64_t wish =
        (pages_for(kv, p->max_model_len) + others * (uint64_t)kv->n_groups) * p->page_bytes;
    const uint64_t most = memory_bytes ? memory_bytes / 10 * 4 : wish;
    return wish < most ? wish : most;
}

/* The default pool on a device of its own: what weights and workspace leave of its share, up to
 * what all requests could ever use. */
static uint64_t rest_pool(const struct oct_plan *p, const struct oct_engine_options *o,
                          const struct oct_kv_layout *kv, const struct oct_device *dev,
                          uint64_t workspace_bytes)
{
    const double share = o->gpu_memory_utilization > 0 ? o->gpu_memory_utilization : 0.9;
    const uint64_t ours = (uint64_t)((double)dev->memory_bytes * share);
    const uint64_t room = ours < dev->free_bytes ? ours : dev->free_bytes;
    const uint64_t taken = p->weight_bytes + workspace_bytes;
    const uint64_t most =
        pages_for(kv, p->max_model_len) * (uint64_t)p->max_num_seqs * p->page_bytes;
    const uint64_t left = room > taken ? room - taken : 0;
    return left < most ? left : most;
}

/* How many pages, and with them the longest request. default_bytes: where kv_cache_bytes says
 * nothing. */
static oct_status plan_pages(struct oct_plan *p, const struct oct_engine_options *o,
                             const struct oct_kv_layout *kv, uint64_t default_bytes)
{
    const uint64_t budget = o->kv_cache_bytes ? (uint64_t)o->kv_cache_bytes : default_bytes;
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

/* What the options say outright. */
static oct_status plan_options(const struct oct_model_config *c, const struct oct_engine_options *o,
                               const struct oct_device *dev, struct oct_plan *p)
{
    const bool gpu = !dev->host_memory;
    OCT_TRY(pick_dtype(c, o->dtype, gpu, &p->dtype));
    OCT_TRY(option(o->max_num_seqs, "max_num_seqs", gpu ? DEFAULT_GPU_SEQS : DEFAULT_SEQS, 1,
                   MAX_SEQS, &p->max_num_seqs));
    OCT_TRY(option(o->max_num_batched_tokens, "max_num_batched_tokens",
                   gpu ? DEFAULT_GPU_BATCHED_TOKENS : DEFAULT_BATCHED_TOKENS, 1, MAX_BATCHED_TOKENS,
                   &p->max_num_batched_tokens));
    if (p->max_num_batched_tokens < p->max_num_seqs) {
        p->max_num_seqs =
            p->max_num_batched_tokens; /* each running request has a row in each step */
    }
    if (c->max_positions < MIN_MODEL_LEN) {
        return OCT_FAIL(OCT_E_FORMAT, "the model's context is %d tokens; at least %d are needed",
                        c->max_positions, MIN_MODEL_LEN);
    }
    OCT_TRY(option(o->max_model_len, "max_model_len", c->max_positions, MIN_MODEL_LEN,
                   c->max_positions, &p->max_model_len));
    OCT_TRY(
        option(o->max_waiting, "max_waiting", DEFAULT_WAITING, 1, MAX_WAITING, &p->max_waiting));
    if (o->kv_cache_bytes < 0) {
        return OCT_FAIL(OCT_E_ARG, "kv_cache_bytes is %" PRId64 "; it must not be negative",
                        o->kv_cache_bytes);
    }
    if (!(o->gpu_memory_utilization >= 0 && o->gpu_memory_utilization <= 1)) {
        return OCT_FAIL(OCT_E_ARG, "gpu_memory_utilization is %g; it must be above 0 and at most 1",
                        o->gpu_memory_utilization);
    }
    if (o->kv_cache_dtype && strcmp(o->kv_cache_dtype, "auto") != 0 &&
        strcmp(o->kv_cache_dtype, p->dtype == K_F32 ? "float32" : "bfloat16") != 0) {
        return OCT_FAIL(OCT_E_ARG,
                        "kv_cache_dtype is \"%.32s\"; this version keeps the KV cache in the "
                        "model's dtype: auto, or %s",
                        o->kv_cache_dtype, p->dtype == K_F32 ? "float32" : "bfloat16");
    }
    return OCT_OK;
}

/* The kernels' own limits. */
static oct_status check_device(const struct oct_model_config *c, const struct oct_device *dev)
{
    if (dev->host_memory) {
        return OCT_OK;
    }
    if (c->dim % K_ROW_ALIGN || c->ff_dim % K_ROW_ALIGN || c->head_dim > 256) {
        return OCT_FAIL(OCT_E_UNSUPPORTED,
                        "the CUDA kernels need a width and a feed-forward width that are multiples "
                        "of %d and heads of at most 256; this model has %d, %d and %d; use "
                        "--device cpu",
                        (int)K_ROW_ALIGN, c->dim, c->ff_dim, c->head_dim);
    }
    return OCT_OK;
}

oct_status oct_plan_make(const struct oct_model_config *c, const struct oct_engine_options *o,
                         struct oct_device *dev, bool bounded, struct oct_plan *out)
{
    struct oct_device host = {.host_memory = true};
    struct oct_plan p = {0};
    dev = dev ? dev : &host;
    const uint64_t memory_bytes = bounded ? dev->memory_bytes : 0;
    OCT_TRY(check_device(c, dev));
    OCT_TRY(plan_options(c, o, dev, &p));

    const uint64_t width = (uint64_t)k_dtype_bytes(p.dtype);
    const uint64_t ends = (uint64_t)c->vocab_size * (uint64_t)c->dim;
    p.n_params =
        layer_params(c) * (uint64_t)c->n_layers + ends * (c->tied ? 1 : 2) + (uint64_t)c->dim;
    struct oct_kv_layout kv;
    OCT_TRY(oct_kv_layout_make(c, &kv));
    p.page_bytes = (uint64_t)kv.page_elems * width;
    p.kv_bytes_per_token = p.page_bytes * (uint64_t)kv.n_groups / K_PAGE_TOKENS;
    p.blocks_per_seq = (int32_t)blocks_for(p.max_model_len);
    p.limits = limits(c, &p);
    p.weight_bytes = weights(c, &p, dev);
    const uint64_t pool = dev->host_memory || !bounded
                              ? modest_pool(&p, &kv, memory_bytes)
                              : rest_pool(&p, o, &kv, dev, workspace(c, &p, dev, kv.n_groups));
    OCT_TRY(plan_pages(&p, o, &kv, pool));
    p.limits = limits(c, &p); /* the context may have become shorter */
    p.workspace_bytes = workspace(c, &p, dev, kv.n_groups);
    p.total_bytes = p.weight_bytes + p.kv_cache_bytes + p.workspace_bytes;
    const uint64_t has =
        bounded && !dev->host_memory && dev->free_bytes ? dev->free_bytes : memory_bytes;
    if (has && p.total_bytes > has) {
        return OCT_FAIL(OCT_E_MEM,
                        "the model needs %" PRIu64 " MiB (weights %" PRIu64 ", KV cache %" PRIu64
                        ", workspace %" PRIu64 "); this %s has %" PRIu64
                        "; use a smaller model, --kv-cache-bytes or --max-model-len",
                        p.total_bytes >> 20, p.weight_bytes >> 20, p.kv_cache_bytes >> 20,
                        p.workspace_bytes >> 20, dev->host_memory ? "machine" : "device",
                        has >> 20);
    }
    *out = p;
    return OCT_OK;
}
