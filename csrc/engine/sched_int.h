/* SPDX-License-Identifier: Apache-2.0
 *
 * sched_int.h - what the files of the scheduler share. Not for others. */
#ifndef OCT_ENGINE_SCHED_INT_H
#define OCT_ENGINE_SCHED_INT_H

#include "engine/sched.h"

enum { OCT_N_PRIORITIES = OCT_PRIORITY_MAX - OCT_PRIORITY_MIN + 1 };

/* Requests of one priority that wait, in the order of their ids. */
struct oct_seq_list {
    struct oct_seq *head, *tail;
};

struct oct_sched {
    struct oct_pages pages;
    struct oct_prefix *prefix; /* owned; NULL: off */
    int32_t n_groups;
    int32_t windows[OCT_KV_MAX_GROUPS];
    bool has_windows;
    int32_t max_num_seqs, max_num_batched_tokens, max_waiting;

    struct oct_seq_list waiting[OCT_N_PRIORITIES];
    int32_t n_waiting; /* all that wait */
    int32_t n_queued;  /* those that were never preempted */

    /* By rank. Who leaves makes a hole (NULL), closed before the list is walked or added to. */
    struct oct_seq **running; /* [max_num_seqs], owned */
    int32_t n_slots, n_running;

    struct oct_seq **heap; /* by deadline, then id; [heap_cap], owned */
    int32_t n_heap, heap_cap;

    /* Pages promised to running requests and not held yet: of all, and of the pinned. The second is
     * never more than what is available; the first only bounds admission. */
    int32_t n_promised, n_promised_pinned;
    bool any_added;
    uint64_t last_id;
    uint64_t n_preemptions, n_queries_tokens, n_hit_tokens;
};

/* The order in which requests are served: by rank; of equals the one that came first. */
static inline bool oct_seq_before(const struct oct_seq *a, const struct oct_seq *b)
{
    return a->rank != b->rank ? a->rank < b->rank : a->id < b->id;
}

/* Pages promised to it that it does not hold. */
static inline int32_t oct_seq_owed(const struct oct_seq *q)
{
    return q->n_target > q->n_held ? q->n_target - q->n_held : 0;
}

/* Tokens that are known once every row in flight is done. */
static inline int32_t oct_seq_known(const struct oct_seq *q)
{
    return q->n_tokens + q->samples_in_flight;
}

/* Rows it can still be given now. A token past the last would be of no use: none are left then. */
static inline int32_t oct_seq_rows_left(const struct oct_seq *q)
{
    const int32_t known = oct_seq_known(q);
    return known < q->max_tokens ? known - q->n_computed - q->n_in_flight : 0;
}

/* ---- sched_queue.c ---- */
struct oct_seq *oct_queue_first(const struct oct_sched *s); /* smallest rank that waits; NULL */
void oct_queue_add(struct oct_sched *s, struct oct_seq *q);
void oct_queue_remove(struct oct_sched *s, struct oct_seq *q);
void oct_running_add(struct oct_sched *s, struct oct_seq *q);
void oct_running_remove(struct oct_sched *s, struct oct_seq *q);
void oct_running_close_holes(struct oct_sched *s);
void oct_heap_add(struct oct_sched *s, struct oct_seq *q); /* nothing if it has no deadline */
void oct_heap_remove(struct oct_sched *s, struct oct_seq *q);

/* ---- sched.c ---- */
/* Changes what it holds and was promised, and the sums over all. */
void oct_seq_account(struct oct_sched *s, struct oct_seq *q, int32_t n_held, int32_t n_target);
/* Gives all pages back, the last block first: of a chain of cached blocks the end is reused before
 * the beginning, without which it is worth nothing. */
void oct_seq_drop_pages(struct oct_sched *s, struct oct_seq *q);
/* Hashes the first n blocks of known tokens. */
void oct_seq_hash(const struct oct_sched *s, struct oct_seq *q, int32_t n);
/* Whether it hits and feeds the prefix cache. */
bool oct_seq_uses_cache(const struct oct_sched *s, const struct oct_seq *q);
/* Its picks are void from now on. */
void oct_seq_void_picks(struct oct_seq *q);

#endif
