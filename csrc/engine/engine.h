/* SPDX-License-Identifier: Apache-2.0
 *
 * engine.h - inside the library: what an engine is made of. octavo.h is the door for everybody
 * else. */
#ifndef OCT_ENGINE_ENGINE_H
#define OCT_ENGINE_ENGINE_H

#include "engine/chat.h"
#include "engine/exec.h"
#include "engine/kv.h"

/* Sees the logits of every row of a step, before sampling: request, absolute position, fp32 [n].
 * For tests against a reference; slows the engine to max_num_seqs rows per step. */
typedef void (*oct_logits_fn)(void *user, uint64_t request, int32_t position, const float *logits,
                              int32_t n);

struct oct_engine {
    struct oct_model_config cfg;
    struct oct_plan plan;
    struct oct_vocab *vocab;
    struct oct_chat chat;
    struct oct_device *dev;
    struct oct_model *model;
    struct oct_exec exec;
    struct oct_kv_pool kv;
    int32_t n_vocab; /* ids that may be chosen */
    int32_t n_threads;
    int64_t load_us;

    struct oct_req **running; /* [max_num_seqs] in order of admission */
    int32_t n_running;
    struct oct_req *waiting_head, *waiting_tail; /* in order of submission */
    int32_t n_waiting;
    uint64_t next_id;
    bool in_step;

    oct_status dead; /* OCT_OK, or why the device stopped; then dead_text says it */
    char dead_text[512];

    oct_logits_fn on_logits; /* NULL: none */
    void *on_logits_user;
};

/* NULL turns it off. */
void oct_engine_on_logits(struct oct_engine *e, oct_logits_fn fn, void *user);

/* fcfs.c: chooses the rows of the next step and takes their pages. */
void oct_fcfs_admit(struct oct_engine *e);
/* Fills step_rows of every running request (0: not in this step); returns the number of rows. */
int32_t oct_fcfs_pick(struct oct_engine *e);

#endif
