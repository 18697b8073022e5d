/* SPDX-License-Identifier: Apache-2.0
 *
 * config.h - the hyperparameters of a model, read once from config.json or GGUF keys, checked once:
 * after oct_config_load every number is in range and the numbers fit each other, so that no later
 * code divides by zero or multiplies past 2^31. */
#ifndef OCT_MODEL_CONFIG_H
#define OCT_MODEL_CONFIG_H

#include "model/source.h"

enum oct_arch_id { OCT_ARCH_LLAMA, OCT_ARCH_QWEN2, OCT_ARCH_QWEN3, OCT_ARCH_MISTRAL };

enum oct_rope_kind { OCT_ROPE_DEFAULT, OCT_ROPE_LINEAR, OCT_ROPE_LLAMA3, OCT_ROPE_YARN };

struct oct_rope_config {
    enum oct_rope_kind kind;
    double theta;
    double factor;                            /* linear, llama3, yarn */
    double low_freq_factor, high_freq_factor; /* llama3 */
    double beta_fast, beta_slow;              /* yarn */
    double attention_factor;                  /* yarn: explicit; 0: from mscale or 0.1 ln f + 1 */
    double mscale, mscale_all_dim;            /* yarn; 0: absent */
    bool truncate;                            /* yarn: floor and ceil the ramp's ends */
    int32_t original_max_positions;           /* llama3, yarn */
    int32_t rot_dim;                          /* even, <= head_dim */
};

enum { OCT_MAX_STOP_TOKENS = 16 };

struct oct_model_config {
    enum oct_arch_id arch;
    char arch_name[64];                    /* as the file says it: "LlamaForCausalLM", "qwen2" */
    int32_t n_layers;                      /* 1..1024 */
    int32_t dim;                           /* C, 1..65536 */
    int32_t ff_dim;                        /* F, 1..1048576 */
    int32_t n_heads, n_kv_heads, head_dim; /* H, G, D: H % G == 0; H <= 1024; D even, <= 1024 */
    int32_t vocab_size;                    /* rows of the embedding, 1..2^24 */
    int32_t max_positions;                 /* what the model was trained for, 1..2^27 */
    int32_t window; /* sliding window in tokens; 0: none. All layers, unless window_from_layer */
    int32_t window_from_layer; /* layers >= this slide (Qwen2's max_window_layers); else 0 */
    bool tied;                 /* the head is the embedding */
    bool qkv_bias;             /* q, k, v have a bias */
    bool o_bias, mlp_bias; /* llama's attention_bias / mlp_bias; attention_bias sets qkv_bias too */
    bool qk_norm;
    float norm_eps;
    struct oct_rope_config rope;
    enum oct_dtype dtype;  /* the checkpoint's own (torch_dtype; GGUF: of the largest tensor) */
    bool rope_interleaved; /* GGUF llama/mistral: rows of q and k are permuted (formats 2.7) */
    int32_t stop_tokens[OCT_MAX_STOP_TOKENS]; /* eos ids, generation_config first */
    int32_t n_stop_tokens;
    /* Sampling the model's authors recommend (generation_config.json); NAN / -1: not said. */
    float temperature, top_p, min_p, repetition_penalty;
    int32_t top_k;
};

/* Fails with OCT_E_UNSUPPORTED for an architecture this build does not know (the sentence lists
 * those it does), OCT_E_FORMAT for a key that is absent, of the wrong type or out of range. */
OCT_CHECKED oct_status oct_config_load(const struct oct_source *s, struct oct_model_config *out);

/* "llama", "qwen2", ... */
const char *oct_arch_text(enum oct_arch_id id);

/* inv_freq[rot_dim / 2] in fp32 as transformers' modeling_rope_utils computes it, and the factor on
 * cos and sin. GGUF's rope_freqs.weight divides them further; the caller does that. */
void oct_rope_frequencies(const struct oct_rope_config *r, float *inv_freq,
                          float *attention_factor);

#endif
