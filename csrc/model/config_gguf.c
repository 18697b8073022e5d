/* SPDX-License-Identifier: Apache-2.0
 *
 * The hyperparameters in GGUF metadata, read as llama.cpp reads them. A Mistral model says
 * architecture "llama" there. */
#include "model/config_read.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name, *prefix;
    enum oct_arch_id arch;
} archs[] = {
    {"llama", "llama.", OCT_ARCH_LLAMA},
    {"qwen2", "qwen2.", OCT_ARCH_QWEN2},
    {"qwen3", "qwen3.", OCT_ARCH_QWEN3},
};
enum { N_ARCHS = sizeof archs / sizeof archs[0] };

static oct_status find_arch(const struct oct_source *s, struct oct_model_config *c,
                            const char **prefix)
{
    struct oct_gguf_str name;
    oct_status st = oct_gguf_str(s->gguf, "general.architecture", &name);
    if (st == OCT_E_NOTFOUND) {
        return OCT_FAIL(OCT_E_FORMAT,
                        "%s: key \"general.architecture\" is absent; this file holds no model",
                        s->path);
    }
    if (st != OCT_OK) {
        oct_error_prefix("%s", s->path);
        return st;
    }
    char quoted[64];
    (void)oct_error_quote(quoted, sizeof quoted, name.data, name.len);
    for (size_t i = 0; i < N_ARCHS; i++) {
        if (strlen(archs[i].name) == name.len && !memcmp(archs[i].name, name.data, name.len)) {
            c->arch = archs[i].arch;
            (void)snprintf(c->arch_name, sizeof c->arch_name, "%s", quoted);
            *prefix = archs[i].prefix;
            return OCT_OK;
        }
    }
    return OCT_FAIL(OCT_E_UNSUPPORTED,
                    "%s: architecture \"%s\" is not supported; this build knows llama (also "
                    "Mistral), qwen2 and qwen3",
                    s->path, quoted);
}

/* ---- what is refused ---- */

/* Numbers that other models set to compute something else, and the value that means nothing. */
static const struct {
    const char *key;
    double harmless;
} refused[] = {
    {"expert_count", 0.0},
    {"attn_logit_softcapping", 0.0},
    {"final_logit_softcapping", 0.0},
    {"attention.clamp_kqv", 0.0},
    {"attention.max_alibi_bias", 0.0},
    {"attention.scale", 0.0},
    {"attention.temperature_scale", 0.0},
    {"attention.temperature_length", 0.0},
    {"logit_scale", 1.0},
    {"embedding_scale", 1.0},
    {"residual_scale", 1.0},
    {"rope.scaling.yarn_ext_factor", 1.0},
    {"rope.scaling.yarn_attn_factor", 1.0},
};

/* Keys whose mere presence means another computation. */
static const char *const refused_keys[] = {"rope.dimension_sections", "attention.causal",
                                           "use_parallel_residual"};

static oct_status refuse_unknown(const struct oct_gguf_keys *k)
{
    char name[128];
    const char *bad = NULL;
    for (size_t i = 0; i < sizeof refused / sizeof refused[0] && !bad; i++) {
        double v = refused[i].harmless;
        OCT_TRY(oct_gguf_key_num(k, refused[i].key, OCT_KEY_OPTIONAL, -1e30, 1e30, &v));
        bad = v != refused[i].harmless ? refused[i].key : NULL;
    }
    for (size_t i = 0; i < sizeof refused_keys / sizeof refused_keys[0] && !bad; i++) {
        (void)snprintf(name, sizeof name, "%s%s", k->prefix, refused_keys[i]);
        const struct oct_gguf_kv *kv = oct_gguf_find(k->g, name);
        const bool normal = !strcmp(refused_keys[i], "attention.causal") ? 1 : 0;
        bad =
            kv && !(kv->type == OCT_GGUF_BOOL && (kv->v.u != 0) == normal) ? refused_keys[i] : NULL;
    }
    if (!bad) {
        return OCT_OK;
    }
    return OCT_FAIL(OCT_E_UNSUPPORTED,
                    "%s: key \"%s%s\" asks for a computation that this build does not know; the "
                    "results would be wrong",
                    k->path, k->prefix, bad);
}

/* ---- sizes ---- */

static oct_status read_sizes(const struct oct_gguf_keys *k, struct oct_model_config *c)
{
    double eps = 0.0;
    OCT_TRY(oct_gguf_key_int(k, "block_count", OCT_KEY_REQUIRED, 1, OCT_MAX_LAYERS, &c->n_layers));
    OCT_TRY(oct_gguf_key_int(k, "embedding_length", OCT_KEY_REQUIRED, 1, OCT_MAX_DIM, &c->dim));
    OCT_TRY(oct_gguf_key_int(k, "feed_forward_length", OCT_KEY_REQUIRED, 1, OCT_MAX_FF_DIM,
                             &c->ff_dim));
    OCT_TRY(oct_gguf_key_int(k, "attention.head_count", OCT_KEY_REQUIRED, 1, OCT_MAX_HEADS,
                             &c->n_heads));
    c->n_kv_heads = c->n_heads;
    OCT_TRY(oct_gguf_key_int(k, "attention.head_count_kv", OCT_KEY_OPTIONAL, 1, OCT_MAX_HEADS,
                             &c->n_kv_heads));
    OCT_TRY(oct_gguf_key_int(k, "context_length", OCT_KEY_REQUIRED, 1, OCT_MAX_POSITIONS,
                             &c->max_positions));
    OCT_TRY(oct_gguf_key_num(k, "attention.layer_norm_rms_epsilon", OCT_KEY_REQUIRED, 1e-20, 1.0,
                             &eps));
    c->norm_eps = (float)eps;
    OCT_TRY(oct_gguf_key_int(k, "attention.key_length", OCT_KEY_OPTIONAL, 2, OCT_MAX_HEAD_DIM,
                             &c->head_dim));
    if (c->head_dim == 0) {
        c->head_dim = c->dim / c->n_heads;
        if (c->dim % c->n_heads != 0 || c->head_dim > OCT_MAX_HEAD_DIM) {
            return OCT_FAIL(OCT_E_FORMAT,
                            "%s: \"%sembedding_length\" %" PRId32
                            " over \"attention.head_count\" %" PRId32
                            " gives no head size from 2 to %d; the file is wrong or needs "
                            "\"attention.key_length\"",
                            k->path, k->prefix, c->dim, c->n_heads, OCT_MAX_HEAD_DIM);
        }
    }
    int32_t value_dim = c->head_dim;
    OCT_TRY(oct_gguf_key_int(k, "attention.value_length", OCT_KEY_OPTIONAL, 1, OCT_MAX_HEAD_DIM,
                             &value_dim));
    if (value_dim != c->head_dim) {
        return OCT_FAIL(OCT_E_UNSUPPORTED,
                        "%s: \"%sattention.value_length\" is %" PRId32 ", keys have %" PRId32
                        "; this build knows heads of one size",
                        k->path, k->prefix, value_dim, c->head_dim);
    }
    return OCT_OK;
}

/* The embedding's rows, else the list of tokens, else the number in the metadata. */
static oct_status read_vocab(const struct oct_source *s, const struct oct_gguf_keys *k,
                             struct oct_model_config *c)
{
    const struct oct_gguf_kv *tokens = oct_gguf_find(k->g, "tokenizer.ggml.tokens");
    const uint64_t n_tokens = tokens && tokens->type == OCT_GGUF_ARRAY ? tokens->n : 0;
    int32_t rows, said = 0;
    OCT_TRY(oct_config_embedding_rows(s, "token_embd.weight", c, &rows));
    OCT_TRY(oct_gguf_key_int(k, "vocab_size", OCT_KEY_OPTIONAL, 1, OCT_MAX_VOCAB, &said));
    if (n_tokens > OCT_MAX_VOCAB || (rows && n_tokens > (uint64_t)rows)) {
        return OCT_FAIL(OCT_E_FORMAT,
                        "%s: \"tokenizer.ggml.tokens\" has %" PRIu64
                        " tokens, the embedding %" PRId32
                        " rows; tokenizer and weights disagree in vocabulary",
                        k->path, n_tokens, rows);
    }
    if (rows && said && said != rows) {
        return OCT_FAIL(OCT_E_FORMAT,
                        "%s: \"%svocab_size\" is %" PRId32
                        " but tensor token_embd.weight has %" PRId32
                        " rows; metadata and weights disagree in vocabulary",
                        k->path, k->prefix, said, rows);
    }
    c->vocab_size = rows ? rows : n_tokens ? (int32_t)n_tokens : said;
    if (c->vocab_size == 0) {
        return OCT_FAIL(OCT_E_FORMAT,
                        "%s: has neither token_embd.weight nor \"tokenizer.ggml.tokens\" nor "
                        "\"%svocab_size\"; the size of the vocabulary is unknown",
                        k->path, k->prefix);
    }
    return OCT_OK;
}

/* Converters write no flags for these: the tensors say it. */
static void read_tensors(const struct oct_source *s, struct oct_model_config *c)
{
    c->tied = !oct_source_find(s, "output.weight");
    c->qkv_bias = c->arch == OCT_ARCH_QWEN2 || oct_source_find(s, "blk.0.attn_q.bias");
    c->o_bias = oct_source_find(s, "blk.0.attn_output.bias");
    c->mlp_bias = oct_source_find(s, "blk.0.ffn_down.bias");
    c->qk_norm = c->arch == OCT_ARCH_QWEN3;
    c->rope_interleaved = c->arch == OCT_ARCH_LLAMA;
}

static oct_status read_window(const struct oct_gguf_keys *k, struct oct_model_config *c)
{
    int32_t window = 0, pattern = 1;
    OCT_TRY(
        oct_gguf_key_int(k, "attention.sliding_window", OCT_KEY_OPTIONAL, 0, INT32_MAX, &window));
    if (window == 0 || window >= c->max_positions) {
        return OCT_OK; /* never reached inside the context */
    }
    /* Qwen's window holds for some layers only, and GGUF does not say which. */
    if (c->arch != OCT_ARCH_LLAMA) {
        return OCT_FAIL(OCT_E_UNSUPPORTED,
                        "%s: \"%sattention.sliding_window\" is %" PRId32
                        " and the file does not say for which layers; use the model's safetensors "
                        "files",
                        k->path, k->prefix, window);
    }
    OCT_TRY(oct_gguf_key_int(k, "attention.sliding_window_pattern", OCT_KEY_OPTIONAL, 1,
                             OCT_MAX_LAYERS, &pattern));
    if (pattern != 1) {
        return OCT_FAIL(OCT_E_UNSUPPORTED,
                        "%s: \"%sattention.sliding_window_pattern\" is %" PRId32
                        "; this build knows models whose layers all slide",
                        k->path, k->prefix, pattern);
    }
    c->window = window;
    return OCT_OK;
}

/* ---- rotary embedding ---- */

static oct_status read_rope_kind(const struct oct_gguf_keys *k, struct oct_rope_config *r)
{
    struct oct_gguf_str type = {"linear", 6}; /* so llama.cpp: a factor without a type is linear */
    char name[64], quoted[64];
    (void)snprintf(name, sizeof name, "%srope.scaling.type", k->prefix);
    oct_status st = oct_gguf_str(k->g, name, &type);
    if (st != OCT_OK && st != OCT_E_NOTFOUND) {
        oct_error_prefix("%s", k->path);
        return st;
    }
    double factor = 0.0;
    OCT_TRY(oct_gguf_key_num(k, "rope.scale_linear", OCT_KEY_OPTIONAL, 0.0, OCT_MAX_ROPE_FACTOR,
                             &factor)); /* the older spelling */
    OCT_TRY(oct_gguf_key_num(k, "rope.scaling.factor", OCT_KEY_OPTIONAL, 0.0, OCT_MAX_ROPE_FACTOR,
                             &factor));
    if (type.len == 4 && !memcmp(type.data, "none", 4)) {
        return OCT_OK;
    }
    if (type.len == 6 && !memcmp(type.data, "linear", 6)) {
        r->kind = factor > 0.0 && factor != 1.0 ? OCT_ROPE_LINEAR : OCT_ROPE_DEFAULT;
    } else if (type.len == 4 && !memcmp(type.data, "yarn", 4)) {
        r->kind = OCT_ROPE_YARN;
    } else {
        return OCT_FAIL(OCT_E_UNSUPPORTED,
                        "%s: key \"%s\" is \"%s\"; this build knows none, linear and yarn", k->path,
                        name, oct_error_quote(quoted, sizeof quoted, type.data, type.len));
    }
    if (r->kind != OCT_ROPE_DEFAULT && factor < 1.0) {
        return OCT_FAIL(OCT_E_FORMAT,
                        "%s: key \"%srope.scaling.factor\" is %g; it must be a number from 1 to %g",
                        k->path, k->prefix, factor, OCT_MAX_ROPE_FACTOR);
    }
    r->factor = r->kind == OCT_ROPE_DEFAULT ? 1.0 : factor;
    return OCT_OK;
}

static oct_status read_yarn(const struct oct_gguf_keys *k, struct oct_model_config *c)
{
    struct oct_rope_config *r = &c->rope;
    r->beta_fast = 32.0;
    r->beta_slow = 1.0;
    r->original_max_positions = c->max_positions;
    OCT_TRY(oct_gguf_key_num(k, "rope.scaling.yarn_beta_fast", OCT_KEY_OPTIONAL, 1e-6, 1e6,
                             &r->beta_fast));
    OCT_TRY(oct_gguf_key_num(k, "rope.scaling.yarn_beta_slow", OCT_KEY_OPTIONAL, 1e-6, 1e6,
                             &r->beta_slow));
    OCT_TRY(oct_gguf_key_int(k, "rope.scaling.original_context_length", OCT_KEY_OPTIONAL, 1,
                             OCT_MAX_POSITIONS, &r->original_max_positions));
    /* llama.cpp takes this as mscale_all_dim beside an mscale of 1. */
    OCT_TRY(oct_gguf_key_num(k, "rope.scaling.yarn_log_multiplier", OCT_KEY_OPTIONAL, 0.0, 1e3,
                             &r->mscale_all_dim));
    r->mscale = r->mscale_all_dim > 0.0 ? 1.0 : 0.0;
    return OCT_OK;
}

static oct_status read_rope(const struct oct_gguf_keys *k, struct oct_model_config *c)
{
    struct oct_rope_config *r = &c->rope;
    OCT_TRY(oct_gguf_key_num(k, "rope.freq_base", OCT_KEY_OPTIONAL, OCT_MIN_THETA, OCT_MAX_THETA,
                             &r->theta));
    double swa = r->theta;
    OCT_TRY(oct_gguf_key_num(k, "rope.freq_base_swa", OCT_KEY_OPTIONAL, OCT_MIN_THETA,
                             OCT_MAX_THETA, &swa));
    r->rot_dim = c->head_dim;
    OCT_TRY(oct_gguf_key_int(k, "rope.dimension_count", OCT_KEY_OPTIONAL, 2, OCT_MAX_HEAD_DIM,
                             &r->rot_dim));
    OCT_TRY(read_rope_kind(k, r));
    if (r->kind == OCT_ROPE_YARN) {
        OCT_TRY(read_yarn(k, c));
    }
    double scale = 1.0;
    OCT_TRY(oct_gguf_key_num(k, "rope.scaling.attn_factor", OCT_KEY_OPTIONAL, 1e-6, 1e6, &scale));
    if (scale != 1.0 || (c->window && swa != r->theta)) {
        return OCT_FAIL(OCT_E_UNSUPPORTED,
                        "%s: \"%srope.%s\" is %g; this build knows one rotary embedding for all "
                        "layers, unscaled",
                        k->path, k->prefix, scale != 1.0 ? "scaling.attn_factor" : "freq_base_swa",
                        scale != 1.0 ? scale : swa);
    }
    return OCT_OK;
}

/* ---- end tokens and sampling ---- */

static oct_status read_stops(const struct oct_gguf_keys *k, struct oct_model_config *c)
{
    static const char *const keys[] = {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id",
                                       "tokenizer.ggml.eom_token_id"};
    char where[512];
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        int32_t id = -1;
        OCT_TRY(oct_gguf_key_int(k, keys[i], OCT_KEY_OPTIONAL, 0, INT32_MAX, &id));
        if (id != -1) {
            (void)snprintf(where, sizeof where, "%s: \"%s\"", k->path, keys[i]);
            OCT_TRY(oct_config_add_stop(c, id, where));
        }
    }
    const struct oct_gguf_kv *list = oct_gguf_find(k->g, "tokenizer.ggml.eos_token_ids");
    for (uint64_t i = 0; list && list->type == OCT_GGUF_ARRAY && list->v.array && i < list->n;
         i++) {
        int64_t id;
        (void)snprintf(where, sizeof where, "%s: \"tokenizer.ggml.eos_token_ids\"", k->path);
        oct_status st = oct_gguf_array_i64(list, i, &id);
        if (st != OCT_OK) {
            oct_error_prefix("%s", where);
            return st;
        }
        OCT_TRY(oct_config_add_stop(c, id, where));
    }
    return OCT_OK;
}

static oct_status read_sampling(const struct oct_gguf_keys *k, struct oct_model_config *c)
{
    const struct {
        const char *key;
        double lo, hi;
        float *out;
    } keys[] = {
        {"general.sampling.temp", 0.0, 100.0, &c->temperature},
        {"general.sampling.top_p", 1e-9, 1.0, &c->top_p},
        {"general.sampling.min_p", 0.0, 1.0, &c->min_p},
        {"general.sampling.penalty_repeat", 1e-9, 10.0, &c->repetition_penalty},
    };
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        double v = NAN;
        OCT_TRY(oct_gguf_key_num(k, keys[i].key, OCT_KEY_OPTIONAL, keys[i].lo, keys[i].hi, &v));
        *keys[i].out = (float)v;
    }
    return oct_gguf_key_int(k, "general.sampling.top_k", OCT_KEY_OPTIONAL, 0, INT32_MAX, &c->top_k);
}

oct_status oct_config_from_gguf(const struct oct_source *s, struct oct_model_config *c)
{
    const struct oct_gguf_keys all = {s->gguf, s->path, ""};
    struct oct_gguf_keys k = all;
    OCT_TRY(find_arch(s, c, &k.prefix));
    OCT_TRY(refuse_unknown(&k));
    OCT_TRY(read_sizes(&k, c));
    OCT_TRY(read_vocab(s, &k, c));
    read_tensors(s, c);
    OCT_TRY(read_window(&k, c));
    OCT_TRY(read_rope(&k, c));
    OCT_TRY(read_stops(&all, c));
    return read_sampling(&all, c);
}
