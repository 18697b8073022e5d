/* SPDX-License-Identifier: Apache-2.0
 *
 * llama.c - Llama (Touvron et al., arXiv:2302.13971; Llama 3, arXiv:2407.21783): pre-norm decoder,
 * grouped-query attention, rotary positions with optional llama3, linear or YaRN scaling, SwiGLU.
 * attention_bias and mlp_bias where a checkpoint asks for them. */
#include "arch/blocks.h"

const struct oct_arch oct_arch_llama = {.id = OCT_ARCH_LLAMA,
                                        .name = "llama",
                                        .load_layer = oct_load_dense_layer,
                                        .forward = oct_forward_dense,
                                        .head = oct_block_head};
