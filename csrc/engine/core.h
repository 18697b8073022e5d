/* SPDX-License-Identifier: Apache-2.0
 *
 * core.h - the engine's loop: mailbox, scheduler, runner and requests, owned by one thread. That is
 * the engine's own, or, for a manual engine, whoever calls oct_engine_step.
 *
 * One turn of the loop, step n being on the device:
 *   take the mail and pick step n+1; wait for n; take its tokens; drop what was cancelled or has
 *   passed its deadline; fill the batch with what is left of the pick; launch n+1; and while that
 *   runs send the events of n, callbacks included.
 * A turn allocates nothing, takes a constant number of locks, and makes system calls only to sleep
 * and to wake. (A token buffer that is nearly full grows while the device works: grow() below.) */
#ifndef OCT_ENGINE_CORE_H
#define OCT_ENGINE_CORE_H

#include "engine/mailbox.h"
#include "engine/runner.h"

/* One event on its way, with the arrays it borrows. */
struct oct_slot {
    struct oct_req *req;
    struct oct_event event;
    struct oct_token_logprob top[K_SAMPLE_MAX_TOP];
};

struct oct_core {
    struct oct_mailbox mail;
    struct oct_runner runner; /* owned */
    struct oct_sched *sched;  /* owned */
    int32_t max_num_seqs;
    oct_events_fn on_events; /* NULL: none */
    void *events_user;

    struct oct_pick *now, *next; /* [max_num_seqs], owned: the step on the device, the one after */
    int32_t n_now, n_next;
    bool in_flight;
    struct oct_slot *slots;           /* [max_num_seqs], owned */
    const struct oct_event **batched; /* [max_num_seqs], owned: the argument of on_events */
    int32_t n_slots;
    struct oct_req **growing; /* [max_num_seqs], owned: their token buffers are nearly full */
    int32_t n_growing;
    struct oct_req *live;                    /* taken and not ended; by live_next */
    struct oct_req *ended_head, *ended_tail; /* ended in this turn; by ended_next */
    struct oct_req *kept; /* by ended_next: the device hangs and may still read what is theirs */
    int32_t n_started;    /* left the queue, not told to the mailbox yet */
    struct oct_engine_stats stats; /* the parts that the mailbox does not count */
    oct_status dead;               /* as in the mailbox, without its lock */
    char dead_text[512];

    int32_t row_limit;  /* 0: none. With every_row: as many rows as there is room for logits */
    bool every_row;     /* out_rows lists the rows that are not sampled too, behind the others */
    uint64_t *step_ids; /* [max_num_seqs], owned: the request of each sequence of the batch */
};

struct oct_core_config {
    const struct oct_sched_config *sched;
    oct_events_fn on_events;
    void *events_user;
};

/* The runner is given away: closed by deinit, or on failure. */
OCT_CHECKED oct_status oct_core_init(struct oct_core *c, const struct oct_core_config *config,
                                     const struct oct_runner *runner);
/* After oct_core_end_all. {0} is fine. False: the device hangs, and c stays as it is for good, with
 * the runner and the requests that it may still be at. */
bool oct_core_deinit(struct oct_core *c);

/* One turn. sleep: while there is nothing to do, sleeps for mail first. A failure is the runner's
 * and final: every request has ended with it. *closing: oct_mailbox_close was called. */
OCT_CHECKED oct_status oct_core_turn(struct oct_core *c, bool sleep, bool *closing);
/* Ends every request, the ones in the mailbox too, and refuses later ones with `why`. Waits for the
 * step on the device first. */
void oct_core_end_all(struct oct_core *c, oct_finish how, oct_status why, const char *text);

#endif
