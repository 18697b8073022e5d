/* SPDX-License-Identifier: Apache-2.0
 *
 * sched.c - a request's life in the scheduler, but for the pick (sched_pick.c): it is added, its
 * rows are done, it is removed; what it holds meanwhile. */
#include "engine/sched_int.h"

#include "base/mem.h"

#include <string.h>

int64_t oct_sched_pages_for(int32_t n_groups, const int32_t *windows, int32_t n_tokens)
{
    const int64_t blocks = ((int64_t)n_tokens + K_PAGE_TOKENS - 1) / K_PAGE_TOKENS;
    int64_t n = 0;
    for (int32_t g = 0; g < n_groups; g++) {
        /* A row and the window - 1 tokens before it: these begin anywhere in a block. */
        const int64_t touched = ((int64_t)windows[g] + K_PAGE_TOKENS - 2) / K_PAGE_TOKENS + 1;
        n += windows[g] == 0 || touched > blocks ? blocks : touched;
    }
    return n;
}

oct_status oct_sched_create(const struct oct_sched_config *c, struct oct_sched **out)
{
    OCT_ASSERT(c->n_groups >= 1 && c->n_groups <= OCT_KV_MAX_GROUPS);
    OCT_ASSERT(c->max_num_seqs >= 1 && c->max_num_batched_tokens >= 1 && c->max_waiting >= 0);
    OCT_ASSERT(c->max_waiting < INT32_MAX / 2 && c->max_num_seqs < INT32_MAX / 8);
    struct oct_sched *s = oct_calloc(1, sizeof *s);
    if (!s) {
        return oct_no_memory("the scheduler", sizeof *s);
    }
    s->n_groups = c->n_groups;
    memcpy(s->windows, c->windows, sizeof s->windows);
    for (int32_t g = 0; g < c->n_groups; g++) {
        OCT_ASSERT(c->windows[g] >= 0);
        s->has_windows = s->has_windows || c->windows[g] > 0;
    }
    s->max_num_seqs = c->max_num_seqs;
    s->max_num_batched_tokens = c->max_num_batched_tokens;
    s->max_waiting = c->max_waiting;
    /* When one is added at most max_waiting + max_num_seqs wait, and max_num_seqs run. */
    s->heap_cap = c->max_waiting + 2 * c->max_num_seqs;
    oct_status st;
    OCT_TRY_GOTO(oct_pages_init(&s->pages, c->n_pages), st, fail);
    if (c->prefix_cache) {
        OCT_TRY_GOTO(oct_prefix_create(&s->pages, c->n_groups, c->windows, c->hash_key_lo,
                                       c->hash_key_hi, &s->prefix),
                     st, fail);
    }
    s->running = oct_calloc((size_t)c->max_num_seqs, sizeof(struct oct_seq *));
    s->heap = oct_calloc((size_t)s->heap_cap, sizeof(struct oct_seq *));
    if (!s->running || !s->heap) {
        st = oct_no_memory("the scheduler's lists",
                           ((size_t)s->heap_cap + (size_t)c->max_num_seqs) * sizeof(void *));
        goto fail;
    }
    *out = s;
    return OCT_OK;
fail:
    oct_sched_destroy(s);
    return st;
}

void oct_sched_destroy(struct oct_sched *s)
{
    if (!s) {
        return;
    }
    OCT_ASSERT(s->n_running == 0 && s->n_waiting == 0);
    oct_free(s->heap);
    oct_free(s->running);
    oct_prefix_destroy(s->prefix);
    oct_pages_deinit(&s->pages);
    oct_free(s);
}

/* ---- a request ---- */

oct_status oct_seq_init(const struct oct_sched *s, struct oct_seq *q, const void *salt,
                        size_t salt_len)
{
    OCT_ASSERT(q->n_tokens >= 1 && q->n_tokens < q->max_tokens);
    OCT_ASSERT(q->priority >= OCT_PRIORITY_MIN && q->priority <= OCT_PRIORITY_MAX);
    const int32_t blocks = (q->max_tokens - 2) / K_PAGE_TOKENS + 1; /* max_tokens - 1 >= 1 rows */
    const size_t n = (size_t)blocks * (size_t)s->n_groups;          /* < 2^25 * 2^4 */
    const bool hashed = s->prefix && q->use_prefix;
    int32_t *pages = oct_calloc(n, sizeof *pages);
    struct oct_hash *hashes = hashed ? oct_calloc((size_t)blocks, sizeof *hashes) : NULL;
    if (!pages || (hashed && !hashes)) {
        oct_free(pages);
        oct_free(hashes);
        return oct_no_memory("a request's page table",
                             n * sizeof *pages + (size_t)blocks * sizeof *hashes);
    }
    memset(pages, 0xff, n * sizeof *pages);
    *q = (struct oct_seq){
        .id = q->id,
        .priority = q->priority,
        .deadline_us = q->deadline_us,
        .tokens = q->tokens,
        .n_tokens = q->n_tokens,
        .max_tokens = q->max_tokens,
        .use_prefix = q->use_prefix,
        .wants_rows = q->wants_rows,
        .owner = q->owner,
        .state = OCT_SEQ_NEW,
        .max_blocks = blocks,
        .pages = pages,
        .hashes = hashes,
        .run_index = -1,
        .heap_index = -1,
    };
    if (hashed) {
        q->salt = oct_prefix_salt(s->prefix, salt, salt_len);
        oct_seq_hash(s, q, (q->n_tokens - 1) / K_PAGE_TOKENS);
    }
    return OCT_OK;
}

void oct_seq_deinit(struct oct_seq *q)
{
    OCT_ASSERT(q->state == OCT_SEQ_NEW || q->state == OCT_SEQ_REMOVED);
    OCT_ASSERT(q->n_picks == 0);
    oct_free(q->pages);
    oct_free(q->hashes);
    q->pages = NULL;
    q->hashes = NULL;
}

void oct_seq_hash(const struct oct_sched *s, struct oct_seq *q, int32_t n)
{
    for (; q->n_hashed < n; q->n_hashed++) {
        const struct oct_hash before = q->n_hashed > 0 ? q->hashes[q->n_hashed - 1] : q->salt;
        const int32_t *tokens = q->tokens + (int64_t)q->n_hashed * K_PAGE_TOKENS;
        q->hashes[q->n_hashed] = oct_prefix_extend(s->prefix, before, tokens);
    }
}

bool oct_seq_uses_cache(const struct oct_sched *s, const struct oct_seq *q)
{
    return s->prefix && q->use_prefix && !(q->pinned && s->has_windows);
}

void oct_seq_account(struct oct_sched *s, struct oct_seq *q, int32_t n_held, int32_t n_target)
{
    const int32_t before = oct_seq_owed(q);
    q->n_held = n_held;
    q->n_target = n_target;
    const int32_t more = oct_seq_owed(q) - before;
    s->n_promised += more;
    s->n_promised_pinned += q->pinned ? more : 0;
}

void oct_seq_drop_pages(struct oct_sched *s, struct oct_seq *q)
{
    for (int32_t b = q->n_blocks - 1; b >= 0; b--) {
        for (int32_t g = 0; g < s->n_groups; g++) {
            int32_t *page = &q->pages[(int64_t)g * q->max_blocks + b];
            if (*page >= 0) {
                oct_pages_drop(&s->pages, *page);
                *page = -1;
            }
        }
    }
    q->n_blocks = 0;
    q->n_cached_blocks = 0;
    oct_seq_account(s, q, 0, 0);
}

void oct_seq_void_picks(struct oct_seq *q)
{
    q->generation++;
    q->n_in_flight = 0;
    q->samples_in_flight = 0;
}

oct_status oct_sched_add(struct oct_sched *s, struct oct_seq *q)
{
    OCT_ASSERT(q->state == OCT_SEQ_NEW && (!s->any_added || q->id > s->last_id));
    OCT_ASSERT(oct_sched_pages_for(s->n_groups, s->windows, q->max_tokens - 1) <= s->pages.n);
    if (s->n_queued >= s->max_waiting || s->n_waiting >= s->max_waiting + s->max_num_seqs) {
        return OCT_FAIL(OCT_E_BUSY, "%d requests wait already; try again later", s->n_waiting);
    }
    s->any_added = true;
    s->last_id = q->id;
    q->rank = (int64_t)q->id + (int64_t)q->priority * OCT_PRIORITY_STEP;
    q->state = OCT_SEQ_WAITING;
    oct_queue_add(s, q);
    oct_heap_add(s, q);
    return OCT_OK;
}

/* ---- rows done ---- */

/* Makes the blocks known whose last row has finished. */
static void offer_blocks(struct oct_sched *s, struct oct_seq *q)
{
    if (!oct_seq_uses_cache(s, q) || q->tainted) {
        return;
    }
    const int32_t full = q->n_computed / K_PAGE_TOKENS;
    oct_seq_hash(s, q, full);
    for (; q->n_cached_blocks < full; q->n_cached_blocks++) {
        const int32_t b = q->n_cached_blocks;
        oct_prefix_insert(s->prefix, q->hashes[b], q->tokens + (int64_t)b * K_PAGE_TOKENS,
                          q->pages + b, q->max_blocks);
    }
}

/* Gives back what no row can see any more: rows in flight and to come are at n_computed or later.
 * The pages given back are those from the first one held to the last out of sight. */
static void drop_unseen(struct oct_sched *s, struct oct_seq *q)
{
    for (int32_t g = 0; g < s->n_groups; g++) {
        int32_t *page = q->pages + (int64_t)g * q->max_blocks;
        const int32_t end = oct_first_visible_block(q->n_computed, s->windows[g]);
        int32_t first = end;
        while (first > 0 && page[first - 1] >= 0) {
            first--;
        }
        for (int32_t b = first; s->windows[g] > 0 && b < end; b++) {
            oct_pages_drop(&s->pages, page[b]);
            page[b] = -1;
            oct_seq_account(s, q, q->n_held - 1, q->n_target);
        }
    }
}

void oct_sched_done(struct oct_sched *s, const struct oct_pick *p, bool ran, bool keep)
{
    struct oct_seq *q = p->seq;
    OCT_ASSERT(q->n_picks > 0);
    q->n_picks--;
    if (oct_pick_is_void(p)) {
        return;
    }
    OCT_ASSERT(q->state == OCT_SEQ_RUNNING && p->first == q->n_computed);
    if (!ran) {
        oct_seq_void_picks(q); /* later picks count on these rows */
        return;
    }
    q->n_computed += p->n_rows;
    q->n_in_flight -= p->n_rows;
    q->samples_in_flight -= p->samples;
    OCT_ASSERT(q->n_in_flight >= 0 && q->samples_in_flight >= 0);
    OCT_ASSERT(q->n_computed < q->n_tokens && q->n_tokens <= q->max_tokens);
    q->tainted = q->tainted || !keep;
    offer_blocks(s, q);
    drop_unseen(s, q);
}

/* ---- the end ---- */

/* By their hashes, not by their pages: a windowed group has given pages back that are cached now.
 */
static void distrust(struct oct_sched *s, struct oct_seq *q)
{
    const int32_t full = q->n_computed / K_PAGE_TOKENS;
    oct_seq_hash(s, q, full);
    for (int32_t b = 0; b < full; b++) {
        oct_prefix_forget(s->prefix, q->hashes[b], q->tokens + (int64_t)b * K_PAGE_TOKENS);
    }
    q->tainted = true;
}

/* Whether the computed tokens of both begin with one block: then one may have it from the other. */
static bool share_a_block(struct oct_sched *s, struct oct_seq *a, struct oct_seq *b)
{
    if (!b->hashes || a->n_computed < K_PAGE_TOKENS || b->n_computed < K_PAGE_TOKENS) {
        return false;
    }
    oct_seq_hash(s, a, 1);
    oct_seq_hash(s, b, 1);
    return a->hashes[0].lo == b->hashes[0].lo && a->hashes[0].hi == b->hashes[0].hi;
}

void oct_sched_remove(struct oct_sched *s, struct oct_seq *q, bool trust)
{
    if (q->state == OCT_SEQ_WAITING) {
        oct_queue_remove(s, q);
    } else if (q->state == OCT_SEQ_RUNNING) {
        oct_running_remove(s, q);
        if (!trust && q->hashes) {
            for (int32_t i = 0; i < s->n_slots; i++) {
                if (s->running[i] && share_a_block(s, q, s->running[i])) {
                    distrust(s, s->running[i]);
                }
            }
            distrust(s, q);
        }
        oct_seq_drop_pages(s, q);
    }
    oct_heap_remove(s, q);
    oct_seq_void_picks(q);
    q->pinned = false;
    q->state = OCT_SEQ_REMOVED;
}
