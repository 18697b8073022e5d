/* SPDX-License-Identifier: Apache-2.0
 *
 * exec.h - the runner of a real model: the arrays of a step, laid out once and sized for the
 * largest step, the forward pass, the sampler; on a thread of its own, so that launch returns at
 * once. exec_step.c holds the arrays and the forward pass, exec_sample.c the sampler, exec.c the
 * thread.
 *
 * A device with memory of its own gets a step's arrays in one copy (and the used part of the page
 * tables), and steps in which every sequence has one row are recorded once for each size and then
 * replayed: the numbers that change from step to step stand in device memory. */
#ifndef OCT_ENGINE_EXEC_H
#define OCT_ENGINE_EXEC_H

#include "arch/arch.h"
#include "engine/plan.h"
#include "engine/runner.h"

#include <pthread.h>
#include <time.h>

/* Sees the logits of every row of a step, before sampling: request, absolute position, fp32 [n].
 * For tests against a reference; slows the engine to max_num_seqs rows per step. */
typedef void (*oct_logits_fn)(void *user, uint64_t request, int32_t position, const float *logits,
                              int32_t n);

struct oct_exec_config {
    int32_t n_vocab;         /* ids that may be chosen: the tokenizer's, not the padding rows */
    bool threaded;           /* with a thread of its own; else a step runs inside wait */
    bool enforce_eager;      /* nothing is recorded */
    int64_t step_timeout_us; /* threaded: a longer step hangs; 0: none does */
};

struct oct_exec {
    struct oct_model *model; /* borrowed */
    struct oct_exec_config config;
    struct oct_step step;   /* addresses of the device arrays */
    k_ptr block;            /* device memory that holds them all */
    struct oct_batch batch; /* what the engine fills stands inside block where the device can be
                               written to, else in `host` */
    bool launched;          /* a step is to be waited for */
    bool hangs;             /* a step took too long; the device thread may still be in it */
    struct timespec until;  /* of the step launched: when that will be so */
    void *left_behind;      /* the engine, if it was closed while the device hung; else NULL */
    int32_t max_num_seqs;   /* rows that there is room for the logits of */

    /* A device with memory of its own; all NULL or 0 on the CPU. */
    char *host;           /* pinned: the first input_bytes of block, then the page tables */
    uint64_t input_bytes; /* the small arrays that are copied whole */
    float *logits;        /* for on_logits; made when it is first needed */
    struct oct_exec_sampler {
        char *host;          /* pinned: rows, lists, results */
        k_ptr device;        /* the same */
        uint64_t list_bytes; /* room for the lists of some rows, at least of any one */
        uint64_t lists;      /* where they begin */
        uint64_t out, top;   /* where the results are */
        uint64_t total_bytes;
    } sampler;

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

OCT_CHECKED oct_status oct_exec_open(struct oct_model *m, const struct oct_plan *plan,
                                     const struct oct_exec_config *config, struct oct_exec **out);
/* NULL is fine. False: the device hangs and its thread is still inside a step; x and its model stay
 * as they are for good. */
bool oct_exec_close(struct oct_exec *x);

/* The runner behind which x stands; its close is oct_exec_close. */
struct oct_runner oct_exec_runner(struct oct_exec *x);

/* ---- sizes, for the memory plan; they are what the functions below allocate ---- */

/* Bytes of the step's arrays, and of what the sampler keeps on a device with memory of its own. */
uint64_t oct_exec_step_bytes(const struct oct_model_config *c, const struct oct_plan *p,
                             int32_t n_groups);
uint64_t oct_exec_sampler_bytes(const struct oct_model_config *c, const struct oct_plan *p);

/* ---- between the three files ---- */

OCT_CHECKED oct_status oct_exec_allocate(struct oct_exec *x, const struct oct_plan *plan);
void oct_exec_release(struct oct_exec *x);
OCT_CHECKED oct_status oct_exec_sampler_open(struct oct_exec *x, const struct oct_plan *plan);
void oct_exec_sampler_close(struct oct_exec *x);
/* Runs the step that the batch describes; its results are in the batch. */
OCT_CHECKED oct_status oct_exec_step(struct oct_exec *x);
/* Samples rows [first, end) of the batch, at most max_num_seqs, whose logits are on the way;
 * returns when the results are there. Overwrites the logits. */
OCT_CHECKED oct_status oct_exec_sample(struct oct_exec *x, int32_t first, int32_t end);

#endif
