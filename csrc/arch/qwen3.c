/* SPDX-License-Identifier: Apache-2.0
 *
 * qwen3.c - Qwen3 dense (arXiv:2505.09388): no bias; every query and key head is RMS-normed over
 * its head_dim before it is rotated; head_dim stands in the configuration and need not be dim /
 * heads. */
#include "arch/blocks.h"

static oct_status load_layer(struct oct_model *m, const struct oct_source *s, int layer)
{
    struct oct_layer *w = &m->layers[layer];
    const int32_t d = m->cfg.head_dim;
    OCT_TRY(oct_load_dense_layer(m, s, layer));
    OCT_TRY(oct_load_vector(m, s, OCT_ROLE_Q_NORM, layer, d, false, &w->q_norm));
    return oct_load_vector(m, s, OCT_ROLE_K_NORM, layer, d, false, &w->k_norm);
}

const struct oct_arch oct_arch_qwen3 = {.id = OCT_ARCH_QWEN3,
                                        .name = "qwen3",
                                        .load_layer = load_layer,
                                        .forward = oct_forward_dense,
                                        .head = oct_block_head};
