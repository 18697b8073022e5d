/* SPDX-License-Identifier: Apache-2.0
 *
 * plan.h - how much memory an engine will take, decided before anything is allocated. Pure
 * arithmetic: `octavo info` prints it, oct_engine_open allocates exactly it. */
#ifndef OCT_ENGINE_PLAN_H
#define OCT_ENGINE_PLAN_H

#include "device/device.h"
#include "model/config.h"

struct oct_plan {
    int32_t dtype;         /* enum k_dtype of activations, weights and KV */
    int32_t max_model_len; /* tokens of one request, prompt and output */
    int32_t max_num_seqs, max_num_batched_tokens, max_waiting;
    int32_t n_pages;        /* KV pages in the pool, each of one group of layers (kv_layout.h) */
    int32_t blocks_per_seq; /* page table entries a sequence may need, in each group */
    uint64_t n_params;      /* of the checkpoint: tied heads counted once */
    uint64_t weight_bytes;  /* as the backend keeps them, embedding and head apart */
    uint64_t kv_bytes_per_token; /* while it is in every layer's window */
    uint64_t page_bytes, kv_cache_bytes;
    uint64_t workspace_bytes; /* activations, logits, rotary table, step arrays, the ops' own */
    uint64_t total_bytes;
    struct k_limits limits; /* what the ops of the device must be ready for */
};

/* OCT_E_ARG for an option out of range, OCT_E_MEM ("needs X, has Y") if it does not fit. dev NULL:
 * the CPU, whatever its memory. bounded: false: as if the device had memory without end. */
OCT_CHECKED oct_status oct_plan_make(const struct oct_model_config *c,
                                     const struct oct_engine_options *o, struct oct_device *dev,
                                     bool bounded, struct oct_plan *out);

#endif
