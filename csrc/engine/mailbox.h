/* SPDX-License-Identifier: Apache-2.0
 *
 * mailbox.h - what passes between the threads that call an engine and the one that owns it:
 * requests and cancellations go in, the news of what ended comes out. One mutex guards all of it
 * and is held for a few memory accesses; nothing is allocated, and nothing is called back, while it
 * is held.
 *
 * Callers: enter, post, cancel, wait, drain, stats. The owner (core.h): take once a step, retire
 * when requests have ended. */
#ifndef OCT_ENGINE_MAILBOX_H
#define OCT_ENGINE_MAILBOX_H

#include "engine/request.h"

#include <pthread.h>

enum { OCT_MAIL_CONDS = 64 };

struct oct_mailbox {
    pthread_mutex_t lock; /* guards everything below; a leaf: no other lock is taken under it */
    pthread_cond_t mail;  /* the owner sleeps here while it has nothing to do */
    pthread_cond_t
        ended[OCT_MAIL_CONDS]; /* who waits for request id sleeps at id % OCT_MAIL_CONDS */
    pthread_cond_t idle;       /* who drains; and close, until nobody is inside */
    bool has_lock;             /* the six above are initialised */

    struct oct_req **buckets; /* every live request by id; owned, [n_buckets], a power of two */
    uint32_t n_buckets;
    struct oct_req *inbox_head, *inbox_tail; /* posted, not taken yet; by inbox_next */
    struct oct_req *cancels;                 /* cancelled, not told to the owner yet */
    uint64_t next_id;
    size_t n_live;                  /* accepted, and the last event's callback has not returned */
    int32_t n_waiting, max_waiting; /* accepted and never run yet */
    int32_t n_inbox;
    int32_t n_inside;   /* threads in a call */
    int32_t n_sleeping; /* of them, in wait or drain */
    bool closing;
    pthread_t owner; /* valid while has_owner: the thread that runs callbacks */
    bool has_owner;
    oct_status dead; /* OCT_OK, or why nothing is accepted any more; then dead_text says it */
    char dead_text[512];
    struct oct_engine_stats stats; /* as of the owner's last take or retire; submitted: now */
};

/* What the owner finds. */
struct oct_mail {
    struct oct_req *posted;    /* by inbox_next, in order of their ids */
    struct oct_req *cancelled; /* by cancel_next; they may be among the posted */
    bool closing;
};

OCT_CHECKED oct_status oct_mailbox_init(struct oct_mailbox *m, int32_t max_waiting);
void oct_mailbox_deinit(struct oct_mailbox *m); /* nobody inside, nothing live; {0} is fine */

/* ---- callers ---- */

/* Before the work of a submission: refuses it early (dead, closing, OCT_E_BUSY), else counts the
 * caller as inside until it posts or leaves. */
OCT_CHECKED oct_status oct_mailbox_enter(struct oct_mailbox *m);
void oct_mailbox_leave(struct oct_mailbox *m);
/* Accepts r, numbers it (r->seq.id) and leaves. On failure r stays the caller's. */
OCT_CHECKED oct_status oct_mailbox_post(struct oct_mailbox *m, struct oct_req *r, uint64_t *id);
OCT_CHECKED oct_status oct_mailbox_cancel(struct oct_mailbox *m, uint64_t id);
/* Until request id (0: every request) has ended. timeout_us < 0: for ever, 0: only looks.
 * OCT_E_DEADLINE: not yet. OCT_E_NOTFOUND: there was never such a request. */
OCT_CHECKED oct_status oct_mailbox_wait(struct oct_mailbox *m, uint64_t id, int64_t timeout_us);
void oct_mailbox_get_stats(struct oct_mailbox *m, struct oct_engine_stats *out);
size_t oct_mailbox_n_live(struct oct_mailbox *m);
/* True on the thread that runs callbacks now. */
bool oct_mailbox_is_owner(struct oct_mailbox *m);

/* ---- the owner ---- */

void oct_mailbox_set_owner(struct oct_mailbox *m, bool owns);
/* Takes what has come, and publishes stats. n_started: requests that left the queue since the last
 * take, publish or retire. sleep: if nothing has come, sleeps until something does. */
void oct_mailbox_take(struct oct_mailbox *m, const struct oct_engine_stats *stats,
                      int32_t n_started, bool sleep, struct oct_mail *out);
/* Publishes stats: before requests have their last event, so that who has his answer finds it
 * counted. */
void oct_mailbox_publish(struct oct_mailbox *m, const struct oct_engine_stats *stats,
                         int32_t n_started);
/* The requests of the list (by ended_next) have had their last event: they are forgotten and
 * whoever waits for them wakes. They are the owner's to free. */
void oct_mailbox_retire(struct oct_mailbox *m, struct oct_req *ended,
                        const struct oct_engine_stats *stats, int32_t n_started);
/* Nothing is accepted from now on, with this reason; the first reason stays. */
void oct_mailbox_kill(struct oct_mailbox *m, oct_status why, const char *text);
/* From any thread: asks the owner to end everything, and wakes it. */
void oct_mailbox_close(struct oct_mailbox *m);
/* Until no other thread is inside a call. Everything has ended, so they all leave. */
void oct_mailbox_await_leave(struct oct_mailbox *m);

#endif
