/* SPDX-License-Identifier: Apache-2.0
 *
 * blocks.h - the sentences that forwards and loaders of dense decoders are written in: one call is
 * one op, with the arguments that the model and the step already know. */
#ifndef OCT_ARCH_BLOCKS_H
#define OCT_ARCH_BLOCKS_H

#include "arch/arch.h"
#include "model/weights.h"

/* ---- loading ---- */

/* One weight matrix on the device, stacked from up to three tensors of the checkpoint (q, k, v). */
struct oct_stack {
    enum oct_role role, bias_role;
    int64_t rows;
    bool rotary_heads; /* rows are rotary heads: undo GGUF's interleaving where it was done */
};
OCT_CHECKED oct_status oct_load_stack(struct oct_model *m, const struct oct_source *s, int layer,
                                      const struct oct_stack *parts, int n_parts, int64_t cols,
                                      bool bias, k_ptr *matrix, k_ptr *bias_out);
OCT_CHECKED oct_status oct_load_vector(struct oct_model *m, const struct oct_source *s,
                                       enum oct_role role, int layer, int64_t n, bool as_f32,
                                       k_ptr *out);
/* The layer every dense decoder has: norms, qkv, o, gate/up, down, with the biases cfg names. */
OCT_CHECKED oct_status oct_load_dense_layer(struct oct_model *m, const struct oct_source *s,
                                            int layer);

/* ---- forward ---- */

/* x = embed[ids]. */
OCT_CHECKED oct_status oct_block_embed(const struct oct_model *m, const struct oct_step *s);
/* h = rmsnorm(x) * weight. */
OCT_CHECKED oct_status oct_block_norm(const struct oct_model *m, const struct oct_step *s,
                                      k_ptr weight);
/* qkv = h Wqkv + b; rotate and store K, V; attn = attention; x += attn Wo + b. */
OCT_CHECKED oct_status oct_block_attention(const struct oct_model *m, const struct oct_step *s,
                                           int layer);
/* x += (silu(h Wgate) * (h Wup)) Wdown. */
OCT_CHECKED oct_status oct_block_mlp(const struct oct_model *m, const struct oct_step *s,
                                     int layer);
/* logits = rmsnorm(x of the wanted rows) Whead. */
OCT_CHECKED oct_status oct_block_head(const struct oct_model *m, const struct oct_step *s);

/* A whole dense decoder, as the paper draws it. Families whose layers differ in more than their
 * weights write their own. */
OCT_CHECKED oct_status oct_forward_dense(const struct oct_model *m, const struct oct_step *s);

#endif
