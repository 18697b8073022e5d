/* SPDX-License-Identifier: Apache-2.0
 *
 * sched_twin.h - the scheduler of sched.h a second time, slowly: arrays, searches and counting from
 * scratch; no lists, no heap, no hashes, no sums kept. It answers what the scheduler must answer.
 */
#ifndef TEST_SCHED_TWIN_H
#define TEST_SCHED_TWIN_H

#include "engine/sched.h"

enum {
    TWIN_REQS = 64,
    TWIN_PAGES = 64,
    TWIN_BLOCKS = 10,
    TWIN_GROUPS = 3,
    TWIN_TOKENS = TWIN_BLOCKS * K_PAGE_TOKENS,
    TWIN_SEQS = 16,
};

struct twin_req {
    uint64_t id;
    int32_t priority, n_tokens, max_tokens, salt;
    int64_t deadline;
    const int32_t *tokens; /* the test's */
    bool use_prefix, wants_rows;
    int32_t taken; /* rows whose results the caller has */
    enum oct_seq_state state;
    int32_t computed, flight, samples, blocks, offered, target, preempted, hit, wait;
    uint32_t generation;
    bool pinned, tainted;
    int32_t table[TWIN_GROUPS][TWIN_BLOCKS]; /* page or -1 */
};

struct twin_page {
    int32_t refs, group, n_prefix, salt;
    bool known; /* it holds the last block of prefix[0, n_prefix) */
    int32_t prefix[TWIN_TOKENS];
    uint64_t stamp; /* when the last holder left */
};

struct twin_pick {
    int32_t req, first, n_rows;
    bool samples;
};

struct twin {
    struct oct_sched_config c;
    int32_t wanted[TWIN_TOKENS + 1]; /* pages promised to a text of so many tokens */
    int32_t n_reqs;                  /* slots used; a slot is never used twice */
    struct twin_req req[TWIN_REQS];
    struct twin_page page[TWIN_PAGES];
    uint64_t clock;
    uint64_t preemptions, queries, hits;
    uint64_t undone; /* entries taken out of the pick that had just made them */
};

void twin_init(struct twin *t, const struct oct_sched_config *c);
/* The slot is r->... filled by the caller: the caller's fields of oct_seq, and the salt's number.
 */
bool twin_add(struct twin *t, int32_t req); /* false: the queue is full */
int32_t twin_pick(struct twin *t, struct twin_pick *out, int32_t row_limit);
/* `generation` as it was when the entry was picked. */
void twin_done(struct twin *t, const struct twin_pick *p, uint32_t generation, bool ran, bool keep);
void twin_remove(struct twin *t, int32_t req, bool trust);
int32_t twin_expired(const struct twin *t, int64_t now_us); /* -1: none */
int32_t twin_count(const struct twin *t, enum oct_seq_state state);
int32_t twin_held(const struct twin *t, int32_t req);
int32_t twin_unused_pages(const struct twin *t, bool known);

#endif
