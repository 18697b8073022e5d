/* SPDX-License-Identifier: Apache-2.0
 *
 * exec.h - the runner of a real model: the arrays of a step, laid out once and sized for the
 * largest step, the forward pass, the sampler; on a thread of its own, so that launch returns at
 * once. */
#ifndef OCT_ENGINE_EXEC_H
#define OCT_ENGINE_EXEC_H

#include "arch/arch.h"
#include "engine/plan.h"
#include "engine/runner.h"

#include <pthread.h>

/* Sees the logits of every row of a step, before sampling: request, absolute position, fp32 [n].
 * For tests against a reference; slows the engine to max_num_seqs rows per step. */
typedef void (*oct_logits_fn)(void *user, uint64_t request, int32_t position, const float *logits,
                              int32_t n);

struct oct_exec {
    struct oct_model *model; /* borrowed */
    int32_t n_vocab;         /* ids that may be chosen: the tokenizer's, not the padding rows */
    int32_t n_threads;
    struct oct_step step;   /* addresses of the device arrays */
    k_ptr block;            /* device memory that holds them all */
    struct oct_batch batch; /* what the engine fills stands inside block: the CPU reads it there */
    bool launched;          /* a step is to be waited for */

    bool has_thread; /* else a step runs inside wait */
    pthread_t thread;
    pthread_mutex_t lock; /* guards the five below; a leaf */
    pthread_cond_t go, done;
    bool wanted, stop; /* run a step; leave */
    oct_status st;     /* of the step that is done */
    char error[1024];  /* its sentence: the device thread's, for the one that waits */

    oct_logits_fn on_logits; /* NULL: none. Called on the thread that runs the step */
    void *on_logits_user;
    const uint64_t *step_ids; /* borrowed: the request of each sequence of the batch */
};

/* threaded: with a thread of its own. n_threads: the CPU's in the forward pass. */
OCT_CHECKED oct_status oct_exec_open(struct oct_model *m, const struct oct_plan *plan,
                                     int32_t n_vocab, int32_t n_threads, bool threaded,
                                     struct oct_exec **out);
void oct_exec_close(struct oct_exec *x); /* NULL is fine */

/* The runner behind which x stands; its close is oct_exec_close. */
struct oct_runner oct_exec_runner(struct oct_exec *x);

#endif
