/* SPDX-License-Identifier: Apache-2.0
 *
 * sim.h - the deterministic simulation: the real engine (mailbox, scheduler, prefix cache, page
 * pool, requests) on a clock, a device, clients and faults that are all functions of one seed, in
 * one thread. After every event every invariant is checked; what goes wrong ends the process with
 * the line that repeats it.
 *
 * The device is tests/support/fake_runner.c: its next token is a function of all tokens before it,
 * read through the page tables, so a wrong, stale, lost, doubled or reordered token shows at once.
 */
#ifndef OCT_TEST_SIM_H
#define OCT_TEST_SIM_H

#include "sim/seeds.h"
#include "support/fake_runner.h"

enum {
    SIM_MAX_CLIENTS = 48,
    SIM_MAX_TOKENS = 640, /* prompt and answer */
    SIM_MAX_STOPS = 1,
};

/* One request as its client sees it. */
struct sim_client {
    uint64_t id; /* 0: not accepted yet */
    bool accepted, ended, cancelled, token_mask_gives_up;
    bool wants_prompt; /* its logprobs */
    int32_t prompt[SIM_MAX_TOKENS], n_prompt;
    int32_t oracle[SIM_MAX_TOKENS], n_oracle; /* the answer if nothing stops it */
    int32_t n_got;                            /* tokens so far */
    int32_t n_got_at_cancel, gives_up_after, n_top;
    int32_t max_tokens, stop_token; /* stop_token -1: none */
    int32_t priority, salt;         /* salt 0: none */
    int64_t deadline_us;            /* on the simulated clock; 0: none */
    int32_t n_cached;
    bool prefix_known;              /* n_cached was told */
    bool distrusted;                /* ended because its values were not numbers */
    uint64_t accepted_at, ended_at; /* event numbers */
    int32_t cancels_in_callback;    /* index of a client to cancel with the next event; -1: none */
    bool submits_in_callback;
};

struct sim {
    struct seed_chance chance;
    bool verbose;
    struct fake_options options;
    struct fake fake;
    int64_t now_us;
    struct sim_client client[SIM_MAX_CLIENTS];
    int n_clients, n_planned, n_live;
    int32_t base[3][SIM_MAX_TOKENS]; /* prompts begin with parts of these */
    bool dead;                       /* the device failed */
    bool closing;
    bool pressed; /* few pages, long answers */
    uint64_t n_accepted, n_refused, n_steps, n_events;
    uint64_t events_before;
    int n_ended_in_step; /* not forgotten by the engine before the step is over */
    uint64_t n_stopped, n_length, n_cancelled, n_expired, n_failed;
    uint64_t last_running[SIM_MAX_CLIENTS];
    int n_last_running;
};

/* In [0, limit). */
uint32_t sim_draw(struct sim *s, uint32_t limit);
bool sim_chance(struct sim *s, uint32_t percent);

/* Says what is wrong and how to repeat it, and ends the process with 1. */
__attribute__((noreturn, format(printf, 2, 3))) void sim_wrong(const struct sim *s, const char *fmt,
                                                               ...);

/* clients.c */
void sim_submit(struct sim *s); /* a new client, if one is planned */
void sim_cancel(struct sim *s, int i);
void sim_event(void *user, const struct oct_event *ev);

/* check.c */
void sim_check(struct sim *s);
/* waiting[n]: requests in the queue before a step; checks who was let in before whom. */
struct sim_queue {
    uint64_t id[SIM_MAX_CLIENTS];
    int64_t rank[SIM_MAX_CLIENTS];
    int n;
};
void sim_note_queue(struct sim *s, struct sim_queue *q);
void sim_check_order(struct sim *s, const struct sim_queue *before);
/* Nothing runs any more. */
void sim_check_idle(struct sim *s);

/* What all lives together saw: a simulation in which nothing happens proves nothing. */
struct sim_totals {
    uint64_t requests, refused, events, steps, stopped, length, cancelled, expired, failed;
    uint64_t preemptions, hit_tokens;
};

#endif
