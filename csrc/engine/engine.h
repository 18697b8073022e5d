/* SPDX-License-Identifier: Apache-2.0
 *
 * engine.h - inside the library: what an engine is made of. octavo.h is the door for everybody
 * else. */
#ifndef OCT_ENGINE_ENGINE_H
#define OCT_ENGINE_ENGINE_H

#include "engine/chat.h"
#include "engine/core.h"
#include "engine/exec.h"

struct oct_engine {
    /* Immutable once it is open: any thread reads it. */
    struct oct_model_config cfg;
    struct oct_plan plan;
    struct oct_vocab *vocab;
    struct oct_chat chat;
    struct oct_req_context context;
    int32_t n_vocab; /* ids that may be chosen */
    int32_t n_threads;
    int64_t load_us;
    bool manual;

    struct oct_core core; /* the owner's, but for its mailbox */
    pthread_t thread;     /* the owner, unless manual */
    bool has_thread;

    /* A real model; all NULL behind another runner. */
    struct oct_vocab *own_vocab;
    struct oct_device *dev;
    struct oct_model *model;
    struct oct_exec *exec; /* the core's, as its runner */
};

/* What oct_engine_open makes of a model, for tests and simulations that bring their own runner. */
struct oct_engine_parts {
    const struct oct_model_config *cfg; /* copied; vocab_size and max_positions count */
    struct oct_vocab *vocab;            /* borrowed until close */
    int32_t n_vocab, max_model_len;
    struct oct_sched_config sched; /* max_model_len tokens fit its pages */
    bool manual;
    oct_events_fn on_events;
    void *events_user;
};
/* runner: given away, also on failure. */
OCT_CHECKED oct_status oct_engine_open_with(const struct oct_engine_parts *parts,
                                            const struct oct_runner *runner, oct_engine **out);

/* Shows fn every logit; NULL turns it off. While nothing runs, on the thread that steps. */
void oct_engine_on_logits(struct oct_engine *e, oct_logits_fn fn, void *user);

#endif
