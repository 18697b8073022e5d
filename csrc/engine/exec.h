/* SPDX-License-Identifier: Apache-2.0
 *
 * exec.h - runs one step on the device: the arrays of a step, laid out once and sized for the
 * largest step, the forward pass, the sampler. */
#ifndef OCT_ENGINE_EXEC_H
#define OCT_ENGINE_EXEC_H

#include "arch/arch.h"
#include "engine/plan.h"
#include "engine/request.h"

struct oct_exec {
    struct oct_model *model;     /* borrowed */
    const struct oct_plan *plan; /* borrowed */
    int32_t n_vocab;             /* ids that may be chosen: the tokenizer's, not the padding rows */
    struct oct_step step;        /* addresses of the device arrays */
    k_ptr block;                 /* device memory that holds them all */
    /* Host side of the arrays the engine fills. The CPU device reads them where they stand. */
    int32_t *ids, *positions, *row_seq, *page_table, *out_rows; /* inside host */
    struct k_sample_row *rows;                                  /* [max_num_seqs], owned */
    struct k_sample_out *out;                                   /* [max_num_seqs], owned */
    struct k_sample_top *top; /* [max_num_seqs, K_SAMPLE_MAX_TOP], owned */
    int32_t n_rows, n_seqs, n_out, n_sample;
    bool wants_top;
};

OCT_CHECKED oct_status oct_exec_init(struct oct_exec *x, struct oct_model *m,
                                     const struct oct_plan *plan, int32_t n_vocab);
void oct_exec_deinit(struct oct_exec *x);

/* Filling a step: begin, then one add per request, then run. */
void oct_exec_begin(struct oct_exec *x);
/* Adds r->step_rows tokens of r from r->n_computed on (their pages are taken). Sets r->step_out if
 * these complete what is known of the request: its next token is then sampled. False if its token
 * mask ended it; nothing was added. */
bool oct_exec_add(struct oct_exec *x, struct oct_req *r);
/* Wants the logits of the rows just added by `r` too, up to the room there is for logits. */
OCT_CHECKED oct_status oct_exec_forward(struct oct_exec *x);
/* Samples every complete request: x->out[step_out], x->top. Overwrites the logits. */
OCT_CHECKED oct_status oct_exec_sample(struct oct_exec *x);

/* Logits row i of the last forward, fp32 [vocab_size]; host memory devices only. */
const float *oct_exec_logits(const struct oct_exec *x, int32_t i);

#endif
