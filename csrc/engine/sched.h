/* SPDX-License-Identifier: Apache-2.0
 *
 * sched.h - which rows of which requests run in the next step, and on which pages. Pure: it knows
 * no device, no clock, no text; the same calls in the same order give the same answers. One thread
 * owns it. No call allocates but create and oct_seq_init.
 *
 * Order. Requests are served by rank = id + priority * OCT_PRIORITY_STEP, the smallest first, of
 * equals the one that came first; ids grow with submission. Nobody is admitted before a waiting
 * request of smaller rank. So a request is overtaken by at most (its priority - OCT_PRIORITY_MIN) *
 * OCT_PRIORITY_STEP requests that came after it, whatever comes: nobody starves.
 *
 * A step. Running requests that wait for one token each get a row; then, by rank, prompts get
 * chunks of what is left of the token budget; then waiting requests are admitted while there are
 * places, rows and pages: all pages that their known tokens need, beside those promised to the
 * prompts that run, and the watermark (one page per group for each running request, at most a
 * sixteenth of the pool): what runs can go on for a page before anybody must give way. A chunk is
 * cut to the pages there are. When not even one row of a running request has a page, the running
 * request of largest rank is preempted, if that is not itself: it gives its pages back (the prefix
 * cache keeps what it can), waits again at its rank, and computes its tokens anew. A request that
 * is the largest itself keeps its pages and waits. In a pick that preempts nobody is admitted.
 *
 * Progress. The smallest rank among the running is never preempted, and whatever fits the model
 * fits the pool (oct_sched_pages_for). Nobody is preempted more than OCT_MAX_PREEMPTIONS times:
 * then it is admitted only with all the pages it can ever need, promised to it alone (pinned). In a
 * model with windowed layers a pinned request neither uses nor feeds the prefix cache, so that the
 * pages it gives back are its own to take again.
 *
 * Pipelining. oct_sched_pick may be called while steps picked before still run: it counts on their
 * rows being computed and on one token for each sampled row. oct_sched_done then says what came of
 * each; an entry whose request was removed or preempted meanwhile is void (oct_pick_is_void): it
 * must be left out of a batch not yet launched, and a token it gave must be dropped (after a
 * preemption the same token comes again).
 *
 * Steps run one after the other on the device, in the order of their picks. Hence pages may be
 * given back while a step that reads or writes them is still running: whoever gets them writes them
 * in a later step, and reads no slot that it has not written itself. For the same reason only rows
 * of finished steps (oct_sched_done) are made known to the prefix cache.
 *
 * The life of a request: oct_seq_init, oct_sched_add, then picks and dones, then oct_sched_remove
 * (at its end, whatever the state), oct_seq_deinit. */
#ifndef OCT_ENGINE_SCHED_H
#define OCT_ENGINE_SCHED_H

#include "engine/prefix.h"

enum {
    OCT_PRIORITY_MIN = -8,
    OCT_PRIORITY_MAX = 8,
    OCT_PRIORITY_STEP = 1024, /* one level of priority is worth so many submissions */
    OCT_MAX_PREEMPTIONS = 4,  /* of one request */
};

enum oct_seq_state { OCT_SEQ_NEW, OCT_SEQ_WAITING, OCT_SEQ_RUNNING, OCT_SEQ_REMOVED };

/* What the scheduler knows of a request. The fields of the first block are the caller's. */
struct oct_seq {
    uint64_t id;           /* > every id added before; set before _add */
    int32_t priority;      /* OCT_PRIORITY_MIN.._MAX; smaller is sooner */
    int64_t deadline_us;   /* on the caller's clock; 0: none */
    const int32_t *tokens; /* [max_tokens] prompt, then output; the caller appends before _done */
    int32_t n_tokens;      /* known so far; at first 1..max_tokens - 1 */
    int32_t max_tokens;    /* prompt and longest output together; the last one is never computed */
    bool use_prefix;       /* may hit and feed the prefix cache */
    bool wants_rows;       /* what the rows give is wanted, not their keys and values alone: of the
                              prefix cache only the first n_rows_taken tokens may be had. Both may
                              change at any time */
    int32_t n_rows_taken;  /* leading rows whose results the caller has */

    /* the scheduler's */
    enum oct_seq_state state;
    int64_t rank;
    int32_t n_computed;  /* leading tokens with keys and values in pages, finished steps only */
    int32_t n_in_flight; /* rows picked whose step has not finished */
    int32_t samples_in_flight; /* tokens these will give */
    int32_t n_picks;     /* entries handed out and not yet done, void ones too: after _remove the
                            seq may be freed when this is 0 */
    uint32_t generation; /* grows at preemption, removal and a skipped row: voids picks */
    int32_t n_blocks;    /* page slots in use in `pages`, per group */
    int32_t max_blocks;
    int32_t *pages;                /* owned, [n_groups, max_blocks]; -1: given back or not needed */
    struct oct_hash salt, *hashes; /* hashes owned, [max_blocks]; of the full blocks known */
    int32_t n_hashed, n_cached_blocks; /* blocks offered to the prefix cache so far */
    int32_t n_held;                    /* pages held, of all groups */
    int32_t n_target;        /* pages it was promised when it was admitted, those held included */
    bool pinned;             /* cannot be preempted; may rely on n_target pages */
    bool tainted;            /* its values are in doubt: it feeds the prefix cache no more */
    int32_t admit_wait;      /* picks until its admission is tried again */
    int32_t n_prefix_tokens; /* prompt tokens that were not computed thanks to the cache, the first
                                time it was admitted */
    int32_t n_preempted;     /* times */
    int32_t run_index;       /* in running; -1 */
    int32_t heap_index;      /* among deadlines; -1 */
    struct oct_seq *prev, *next; /* waiting list of its priority */
    void *owner;                 /* the caller's */
};

struct oct_pick {
    struct oct_seq *seq;
    uint32_t generation;
    int32_t first, n_rows; /* tokens [first, first + n_rows) */
    bool samples;          /* these complete what is (or will be) known: a token comes out */
};

struct oct_sched_config {
    int32_t n_pages, n_groups;
    int32_t windows[OCT_KV_MAX_GROUPS]; /* 0: full attention */
    int32_t max_num_seqs, max_num_batched_tokens;
    int32_t max_waiting; /* requests in the queue; up to max_num_seqs preempted ones do not count */
    bool prefix_cache;
    uint64_t hash_key_lo, hash_key_hi;
};

struct oct_sched_stats {
    int32_t n_waiting, n_running, n_pages, n_pages_used, n_pages_cached;
    uint64_t n_preemptions;
    /* Prompt tokens of requests admitted for the first time; those the prefix cache had of them. */
    uint64_t n_prefix_queries_tokens, n_prefix_hit_tokens;
};

struct oct_sched; /* opaque */

/* Pages with which a request of n_tokens computed tokens can always go on by itself: the pool has
 * at least as many for the longest request. A full group needs all blocks, a windowed one those
 * that the window and one row touch. */
int64_t oct_sched_pages_for(int32_t n_groups, const int32_t *windows, int32_t n_tokens);

OCT_CHECKED oct_status oct_sched_create(const struct oct_sched_config *c, struct oct_sched **out);
void oct_sched_destroy(struct oct_sched *s); /* every seq removed before; NULL is fine */

/* Fills the scheduler's part; the caller's part is set before. Allocates pages and hashes, and
 * hashes the prompt. Reads only what never changes in `s`: any thread may call it.
 * salt: of the tenant; may be empty. */
OCT_CHECKED oct_status oct_seq_init(const struct oct_sched *s, struct oct_seq *q, const void *salt,
                                    size_t salt_len);
void oct_seq_deinit(struct oct_seq *q); /* not while it is waiting, running or n_picks > 0 */

/* Queues it. OCT_E_BUSY if max_waiting are queued; it may then be deinitialised. A seq whose
 * max_tokens exceed the pool is the caller's bug (the plan bounds max_model_len by the pool). */
OCT_CHECKED oct_status oct_sched_add(struct oct_sched *s, struct oct_seq *q);

/* Chooses the next step: fills out[max_num_seqs], returns how many entries: running requests by
 * rank, first those with one row, then prompts; then those admitted. 0: nothing can run now
 * (everything is in flight or waits for what is, or nothing is there). row_limit: 0, or a smaller
 * token budget. */
int32_t oct_sched_pick(struct oct_sched *s, struct oct_pick *out, int32_t row_limit);

/* True if the entry's request was removed or preempted since it was picked. */
static inline bool oct_pick_is_void(const struct oct_pick *p)
{
    return p->generation != p->seq->generation;
}

/* The entry's step has finished (or, for a void or skipped one, will never run: ran = false; later
 * entries of a skipped one's request are then void). If it sampled, the caller has appended the
 * token and counted it in n_tokens. Call for every entry, in order, also when its request has just
 * been removed; before the removal, if the request ends with this step, so that the prefix cache
 * gets its last block. keep = false: what these rows wrote, and what follows from it, must not be
 * cached. */
void oct_sched_done(struct oct_sched *s, const struct oct_pick *p, bool ran, bool keep);

/* Takes it out, in any state. Its pages are dropped; pages of blocks known to the prefix cache stay
 * cached. trust = false: its values were not numbers. The blocks it computed or was given are
 * forgotten, and so are those of running requests that begin with the same block: nobody can say
 * where the trouble began. These feed the cache no more. The seq must stay in memory until _done
 * was called for every pick of it. */
void oct_sched_remove(struct oct_sched *s, struct oct_seq *q, bool trust);

/* The seq whose deadline is at or before now_us, the earliest first, then by id; NULL: none. It
 * comes again until it is removed. */
struct oct_seq *oct_sched_expired(const struct oct_sched *s, int64_t now_us);

void oct_sched_get_stats(const struct oct_sched *s, struct oct_sched_stats *out);
/* Asserts every invariant (pages held = pages counted, lists, order, heap): for tests. */
void oct_sched_check(const struct oct_sched *s);

#endif
