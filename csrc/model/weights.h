/* SPDX-License-Identifier: Apache-2.0
 *
 * weights.h - the tensors a dense decoder wants, by role instead of by name: each role's name in a
 * Hugging Face checkpoint and in GGUF, the shape it must have, and reading it into activations'
 * storage type in the layout our ops expect. */
#ifndef OCT_MODEL_WEIGHTS_H
#define OCT_MODEL_WEIGHTS_H

#include "base/pool.h"
#include "model/config.h"

/* id, name in Hugging Face checkpoints, name in GGUF. %d is the layer. */
// clang-format off
#define OCT_ROLES(X)                                                                               \
    X(EMBED,      "model.embed_tokens.weight",                        "token_embd.weight")         \
    X(FINAL_NORM, "model.norm.weight",                                "output_norm.weight")        \
    X(HEAD,       "lm_head.weight",                                   "output.weight")             \
    X(ROPE_FREQS, "",                                                 "rope_freqs.weight")         \
    X(ATTN_NORM,  "model.layers.%d.input_layernorm.weight",           "blk.%d.attn_norm.weight")   \
    X(Q,          "model.layers.%d.self_attn.q_proj.weight",          "blk.%d.attn_q.weight")      \
    X(K,          "model.layers.%d.self_attn.k_proj.weight",          "blk.%d.attn_k.weight")      \
    X(V,          "model.layers.%d.self_attn.v_proj.weight",          "blk.%d.attn_v.weight")      \
    X(O,          "model.layers.%d.self_attn.o_proj.weight",          "blk.%d.attn_output.weight") \
    X(Q_BIAS,     "model.layers.%d.self_attn.q_proj.bias",            "blk.%d.attn_q.bias")        \
    X(K_BIAS,     "model.layers.%d.self_attn.k_proj.bias",            "blk.%d.attn_k.bias")        \
    X(V_BIAS,     "model.layers.%d.self_attn.v_proj.bias",            "blk.%d.attn_v.bias")        \
    X(O_BIAS,     "model.layers.%d.self_attn.o_proj.bias",            "blk.%d.attn_output.bias")   \
    X(Q_NORM,     "model.layers.%d.self_attn.q_norm.weight",          "blk.%d.attn_q_norm.weight") \
    X(K_NORM,     "model.layers.%d.self_attn.k_norm.weight",          "blk.%d.attn_k_norm.weight") \
    X(MLP_NORM,   "model.layers.%d.post_attention_layernorm.weight",  "blk.%d.ffn_norm.weight")    \
    X(GATE,       "model.layers.%d.mlp.gate_proj.weight",             "blk.%d.ffn_gate.weight")    \
    X(UP,         "model.layers.%d.mlp.up_proj.weight",               "blk.%d.ffn_up.weight")      \
    X(DOWN,       "model.layers.%d.mlp.down_proj.weight",             "blk.%d.ffn_down.weight")    \
    X(GATE_BIAS,  "model.layers.%d.mlp.gate_proj.bias",               "blk.%d.ffn_gate.bias")      \
    X(UP_BIAS,    "model.layers.%d.mlp.up_proj.bias",                 "blk.%d.ffn_up.bias")        \
    X(DOWN_BIAS,  "model.layers.%d.mlp.down_proj.bias",               "blk.%d.ffn_down.bias")
// clang-format on

enum oct_role {
#define OCT_ROLE_ENUM(id, hf, gguf) OCT_ROLE_##id,
    OCT_ROLES(OCT_ROLE_ENUM)
#undef OCT_ROLE_ENUM
        OCT_N_ROLES
};

/* The tensor of a role, checked: present, of a dtype this build reads, of shape [rows, cols], or
 * [rows] when cols is 0. layer is ignored where the role has none. */
OCT_CHECKED oct_status oct_weights_find(const struct oct_source *s, enum oct_role role, int layer,
                                        int64_t rows, int64_t cols, const struct oct_tensor **out);
/* True if the checkpoint has the role's tensor at all. */
bool oct_weights_has(const struct oct_source *s, enum oct_role role, int layer);

enum oct_storage { OCT_STORE_BF16, OCT_STORE_F32 };

/* Reads all rows of t [rows, cols] (cols 1 for a vector) into dst, row-major, in storage type.
 * head_dim > 0: the rows are those of heads whose rotary pairs GGUF interleaved; they are put back
 * into half-split order, head by head. pool: threads that help; NULL: none. */
OCT_CHECKED oct_status oct_weights_read(const struct oct_source *s, const struct oct_tensor *t,
                                        int64_t rows, int64_t cols, int32_t head_dim,
                                        enum oct_storage store, struct oct_pool *pool, void *dst);

#endif
