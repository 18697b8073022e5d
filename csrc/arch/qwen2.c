/* SPDX-License-Identifier: Apache-2.0
 *
 * qwen2.c - Qwen2 and Qwen2.5 (arXiv:2407.10671, 2412.15115), and the DeepSeek-R1 distillations
 * made from them: Llama's decoder with a bias on q, k and v (never in config.json: the family has
 * it), and a sliding window from a layer on where use_sliding_window says so. */
#include "arch/blocks.h"

static oct_status load_layer(struct oct_model *m, const struct oct_source *s, int layer)
{
    OCT_ASSERT(m->cfg.qkv_bias);
    return oct_load_dense_layer(m, s, layer);
}

const struct oct_arch oct_arch_qwen2 = {.id = OCT_ARCH_QWEN2,
                                        .name = "qwen2",
                                        .load_layer = load_layer,
                                        .forward = oct_forward_dense,
                                        .head = oct_block_head};
