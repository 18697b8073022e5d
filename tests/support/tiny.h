/* SPDX-License-Identifier: Apache-2.0
 *
 * tiny.h - complete tiny models for tests, as a Hugging Face directory or as a GGUF file. Weights
 * are a pure function of (seed, Hugging Face name of the tensor, element index), so that a script
 * elsewhere can make the very same model, bit for bit.
 *
 * The formula. Integers are 64 bits and wrap; floats are fp32, each operation rounded by itself.
 *
 *   h     = fnv1a64(name)        h = 0xcbf29ce484222325; for each byte: h ^= byte;
 *                                h *= 0x100000001b3
 *   x     = (seed ^ h) + index * 0x9E3779B97F4A7C15
 *   z     = x + 0x9E3779B97F4A7C15                        splitmix64 of x
 *   z     = (z ^ z >> 30) * 0xBF58476D1CE4E5B9
 *   z     = (z ^ z >> 27) * 0x94D049BB133111EB
 *   z     =  z ^ z >> 31
 *   u     = float(z >> 40) * 2^-24                        in [0, 1), exact
 *   v     = 2 * u - 1                                     exact
 *   value = scale * v            matrices [out, in]: scale = 1 / sqrt(float(in));
 *                                model.embed_tokens.weight: 0.5; names ending in ".bias": 0.1
 *           1 + 0.1 * v          names ending in "norm.weight"
 *
 * index counts elements row-major from 0. Then the value is rounded to the dtype of the file: F32
 * as it is, BF16 and F16 to nearest even; norms and biases in a GGUF file stay F32; Q8_0 as ggml's
 * reference does it (d = max|x| / 127 in fp32, q = roundf(x * (1 / d)), d stored as F16).
 *
 * Tensors of layer i, P = "model.layers.<i>.": P input_layernorm.weight, P self_attn.q_proj.weight
 * [H*D, C], k_proj and v_proj [G*D, C], o_proj [C, H*D] (.bias beside them where the config says
 * so), P self_attn.q_norm.weight and k_norm.weight [D] (qwen3),
 * P post_attention_layernorm.weight, P mlp.gate_proj.weight and up_proj [F, C], down_proj [C, F].
 * And model.embed_tokens.weight [V, C], model.norm.weight, lm_head.weight [V, C] unless tied.
 *
 * The tokenizer (written when vocab_size >= OCT_TINY_N_TOKENS) is a byte-level BPE: ids 0..2 are
 * <|endoftext|>, <|im_start|>, <|im_end|>; 3 + b is the byte b; then the merges of tiny.c in order.
 * Rows above it are unused ([PAD<id>] in GGUF, as converters write them). The chat template is the
 * ChatML one; the model stops at <|im_end|>. */
#ifndef OCT_TEST_TINY_H
#define OCT_TEST_TINY_H

#include "model/config.h"
#include "support/writer.h"

enum { OCT_TINY_N_TOKENS = 3 + 256 + 6 };

struct oct_tiny {
    enum oct_arch_id arch;
    uint64_t seed;
    int32_t n_layers, dim, ff_dim, n_heads, n_kv_heads;
    int32_t head_dim; /* 0: dim / n_heads, and the key is left out */
    int32_t vocab_size, max_positions;
    int32_t window;            /* 0: none */
    int32_t window_from_layer; /* qwen2: max_window_layers */
    bool tied;
    bool attention_bias; /* llama: q, k, v and o have a bias. (qwen2 always has those of q, k, v) */
    bool mlp_bias;       /* llama */
    float norm_eps;
    struct oct_rope_config rope; /* kind, theta and that kind's numbers; rot_dim is not read */
    bool v5;                   /* config.json as transformers 5 spells it: rope_parameters, dtype */
    enum oct_dtype dtype;      /* safetensors: F32, BF16 or F16; GGUF: F32, F16, BF16 or Q8_0 */
    uint32_t n_shards;         /* safetensors: over 1, shards and an index. GGUF: a split set */
    const char *chat_template; /* NULL: the ChatML one */
};

/* 2 layers, dim 64, ff 160, 4 heads, 2 kv heads, vocab 300, 256 positions, theta 10000, F32. */
struct oct_tiny oct_tiny_default(enum oct_arch_id arch);

/* The n elements of a tensor from element `first`, before rounding to a dtype. in: length of a row,
 * used for matrices only. */
void oct_tiny_values(uint64_t seed, const char *hf_name, int32_t in, uint64_t first, float *dst,
                     size_t n);

/* The files, in memory; each is appended to out. */
void oct_tiny_config_json(const struct oct_tiny *t, struct oct_buf *out);
void oct_tiny_tokenizer_json(const struct oct_tiny *t, struct oct_buf *out);
void oct_tiny_tokenizer_config_json(const struct oct_tiny *t, struct oct_buf *out);
void oct_tiny_safetensors(const struct oct_tiny *t, uint32_t shard, struct oct_buf *out);
void oct_tiny_gguf(const struct oct_tiny *t, uint32_t shard, struct oct_buf *out);

/* Writes a Hugging Face directory's files (config, generation_config, weights, tokenizer) into dir,
 * which exists. */
void oct_tiny_write_hf(const struct oct_tiny *t, const char *dir);
/* Writes dir/name.gguf, or dir/name-0000i-of-0000n.gguf for a split set. */
void oct_tiny_write_gguf(const struct oct_tiny *t, const char *dir, const char *name);

#endif
