/* SPDX-License-Identifier: Apache-2.0
 *
 * arch.h - what an architecture family is: one file with its weights and its forward pass, one row
 * in the table below. The forward is a straight list of op calls; it reads like the paper. */
#ifndef OCT_ARCH_ARCH_H
#define OCT_ARCH_ARCH_H

#include "arch/kv_layout.h"
#include "device/device.h"
#include "model/config.h"

/* The weights of one decoder layer on the device. Matrices are device matrix objects, vectors plain
 * arrays: norms [.] in the storage dtype, biases fp32. 0: the family has none. */
struct oct_layer {
    k_ptr attn_norm;             /* [C] */
    k_ptr qkv, qkv_bias;         /* [(H + 2G) * D, C]: q rows, then k, then v */
    k_ptr q_norm, k_norm;        /* [D] */
    k_ptr o, o_bias;             /* [C, H * D] */
    k_ptr mlp_norm;              /* [C] */
    k_ptr gate_up, gate_up_bias; /* [2F, C]: gate rows, then up */
    k_ptr down, down_bias;       /* [C, F] */
    int32_t window;              /* 0: full attention */
};

/* A model on its device. Immutable once loaded. */
struct oct_model {
    struct oct_model_config cfg;
    struct oct_device *dev; /* borrowed; outlives the model */
    const struct oct_arch *arch;
    int32_t dtype;            /* enum k_dtype of weights, activations and KV */
    int32_t max_positions;    /* rows of cos_sin */
    struct oct_kv_layout kv;  /* which layers share pages */
    k_ptr embed;              /* [V, C] */
    k_ptr final_norm;         /* [C] */
    k_ptr head;               /* [V, C], matrix object; a packed copy of embed when tied */
    k_ptr cos_sin;            /* [max_positions, 2, rot_dim / 2] fp32 */
    struct oct_layer *layers; /* [n_layers], owned */
};

/* The device arrays of one step, sized once for the largest step. The caller fills the first block
 * for each step; the forward fills the rest. */
struct oct_step {
    int32_t rows;                  /* T of this step, >= 1 */
    int32_t n_out;                 /* rows whose logits are wanted, 0..T */
    int32_t n_seqs;                /* sequences that rows belong to */
    int32_t max_rows, max_keys;    /* most rows of a sequence; most keys a row sees: position + 1 */
    int32_t table_stride;          /* page table entries per sequence */
    int64_t group_stride;          /* page table entries per group */
    k_ptr ids, positions, row_seq; /* [T] int32 */
    k_ptr seqs;                    /* [n_seqs] struct k_seq */
    k_ptr page_table;              /* [kv.n_groups, B, table_stride] int32: one table per group; an
                                      entry that no row's window of the group reaches is not read */
    k_ptr out_rows;                /* [n_out] int32 */
    k_ptr kv_pool;                 /* pages of kv.page_elems elements */

    k_ptr x;       /* [T, C] the residual stream */
    k_ptr h;       /* [T, C] normed rows */
    k_ptr qkv;     /* [T, (H + 2G) * D] */
    k_ptr attn;    /* [T, H * D] */
    k_ptr gate_up; /* [T, 2F] */
    k_ptr act;     /* [T, F] */
    k_ptr logits;  /* [n_out, V] fp32 */
};

struct oct_arch {
    enum oct_arch_id id;
    const char *name;
    /* Loads one layer. */
    oct_status (*load_layer)(struct oct_model *m, const struct oct_source *s, int layer);
    oct_status (*forward)(const struct oct_model *m, const struct oct_step *step);
    /* The end of the forward once more, for other out_rows of the same step. */
    oct_status (*head)(const struct oct_model *m, const struct oct_step *step);
};
extern const struct oct_arch oct_arch_llama, oct_arch_qwen2, oct_arch_qwen3, oct_arch_mistral;

const struct oct_arch *oct_arch_get(enum oct_arch_id id);

/* Called after each tensor; false stops the load with OCT_E_CANCELLED. */
typedef bool (*oct_load_progress_fn)(void *user, uint64_t done_bytes, uint64_t total_bytes);

/* Puts the weights on the device in `dtype`. On failure nothing stays allocated. */
OCT_CHECKED oct_status oct_model_load(const struct oct_source *s, const struct oct_model_config *c,
                                      struct oct_device *dev, int32_t dtype, int32_t max_positions,
                                      oct_load_progress_fn progress, void *user,
                                      struct oct_model **out);
void oct_model_destroy(struct oct_model *m); /* NULL is fine */

#endif
