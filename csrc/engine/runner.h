/* SPDX-License-Identifier: Apache-2.0
 *
 * runner.h - what executes a step: the device behind exec.h, or a fake one in tests. The engine
 * fills the batch, launches it, does other work, and waits. One step at a time. */
#ifndef OCT_ENGINE_RUNNER_H
#define OCT_ENGINE_RUNNER_H

#include "base/status.h"
#include "ops.h"

/* One step's arrays. The runner owns them, sized for the largest step; the engine fills them
 * between wait and launch. */
struct oct_batch {
    int32_t n_rows, n_seqs;
    int32_t n_out, n_sample; /* n_out >= n_sample: rows for the sampler come first */
    int32_t n_groups;
    int64_t table_stride;               /* entries per sequence and group */
    int32_t *ids, *positions, *row_seq; /* [n_rows] */
    int32_t *page_table;  /* [n_groups, max_num_seqs, table_stride]; -1: not needed, never read */
    int64_t group_stride; /* entries between groups */
    int32_t *out_rows;    /* [n_out], up to n_rows: rows whose logits are wanted */
    struct k_seq *seqs;   /* [n_seqs], the runner's own: it finds out which rows are whose */
    struct k_sample_row *rows; /* [n_sample] */
    struct k_sample_out *out;  /* [n_sample], results */
    struct k_sample_top *top;  /* [n_sample, K_SAMPLE_MAX_TOP], results */
    bool wants_top;
    int64_t forward_us, sample_us; /* results: where the time went */
};

struct oct_runner {
    void *self;
    struct oct_batch *(*batch)(void *self);
    /* Starts the step described by the batch and returns. */
    oct_status (*launch)(void *self);
    /* Until its results are there. A failure is final for the runner. OCT_E_DEADLINE: it has taken
     * too long and may still be at it: what the batch's rows point to must stay until close. */
    oct_status (*wait)(void *self);
    /* False: the step of that deadline does not come back. What it uses is left behind. */
    bool (*close)(void *self);
};

#endif
