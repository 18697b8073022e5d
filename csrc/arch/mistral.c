/* SPDX-License-Identifier: Apache-2.0
 *
 * mistral.c - Mistral (Jiang et al., arXiv:2310.06825): Llama's decoder with a sliding window on
 * every layer where the configuration gives one (v0.1: 4096; later releases: none). The window is
 * part of oct_layer; attention does the rest. */
#include "arch/blocks.h"

const struct oct_arch oct_arch_mistral = {.id = OCT_ARCH_MISTRAL,
                                          .name = "mistral",
                                          .load_layer = oct_load_dense_layer,
                                          .forward = oct_forward_dense,
                                          .head = oct_block_head};
