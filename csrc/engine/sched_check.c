/* SPDX-License-Identifier: Apache-2.0
 *
 * sched_check.c - what the scheduler says of itself: figures, and every invariant asserted. */
#include "engine/sched_int.h"

void oct_sched_get_stats(const struct oct_sched *s, struct oct_sched_stats *out)
{
    *out = (struct oct_sched_stats){
        .n_waiting = s->n_waiting,
        .n_running = s->n_running,
        .n_pages = s->pages.n,
        .n_pages_used = s->pages.n - oct_pages_available(&s->pages),
        .n_pages_cached = s->pages.n_cached,
        .n_preemptions = s->n_preemptions,
        .n_prefix_queries_tokens = s->n_queries_tokens,
        .n_prefix_hit_tokens = s->n_hit_tokens,
    };
}

/* A list ends, its members are nobody's, and there are as many as counted. */
static void check_pages(const struct oct_pages *p)
{
    int32_t n = 0;
    for (int32_t i = p->free_head; i >= 0; i = p->page[i].next) {
        OCT_ASSERT(++n <= p->n_free && i < p->n);
        OCT_ASSERT(p->page[i].refs == 0 && p->page[i].block < 0);
    }
    OCT_ASSERT(n == p->n_free);
    n = 0;
    int32_t last = -1;
    for (int32_t i = p->cached_oldest; i >= 0; last = i, i = p->page[i].next) {
        OCT_ASSERT(++n <= p->n_cached && i < p->n);
        OCT_ASSERT(p->page[i].refs == 0 && p->page[i].block >= 0 && p->page[i].prev == last);
    }
    OCT_ASSERT(n == p->n_cached && last == p->cached_newest);
    n = 0;
    for (int32_t i = 0; i < p->n; i++) {
        OCT_ASSERT(p->page[i].refs >= 0);
        n += p->page[i].refs > 0;
    }
    OCT_ASSERT(n + p->n_free + p->n_cached == p->n);
}

/* What holds for a request whatever it does. */
static void check_seq(const struct oct_sched *s, const struct oct_seq *q)
{
    OCT_ASSERT(q->rank == (int64_t)q->id + (int64_t)q->priority * OCT_PRIORITY_STEP);
    OCT_ASSERT(q->n_tokens >= 1 && q->n_tokens <= q->max_tokens);
    OCT_ASSERT(q->n_picks >= 0 && q->n_preempted <= OCT_MAX_PREEMPTIONS);
    if (q->deadline_us) {
        OCT_ASSERT(q->heap_index < s->n_heap && s->heap[q->heap_index] == q);
    } else {
        OCT_ASSERT(q->heap_index < 0);
    }
}

static void check_waiting(const struct oct_sched *s)
{
    int32_t n = 0, n_queued = 0;
    for (int32_t i = 0; i < OCT_N_PRIORITIES; i++) {
        const struct oct_seq *last = NULL;
        for (const struct oct_seq *q = s->waiting[i].head; q; last = q, q = q->next) {
            OCT_ASSERT(++n <= s->n_waiting);
            n_queued += q->n_preempted == 0;
            check_seq(s, q);
            OCT_ASSERT(q->state == OCT_SEQ_WAITING && q->prev == last && q->run_index < 0);
            OCT_ASSERT(q->priority - OCT_PRIORITY_MIN == i && (!last || last->id < q->id));
            OCT_ASSERT(q->n_computed == 0 && q->n_in_flight == 0 && q->samples_in_flight == 0);
            OCT_ASSERT(q->n_blocks == 0 && q->n_held == 0 && q->n_target == 0 && !q->pinned);
        }
        OCT_ASSERT(s->waiting[i].tail == last);
    }
    OCT_ASSERT(n == s->n_waiting && n_queued == s->n_queued && n_queued <= s->max_waiting);
}

/* Pages stand exactly where rows in flight or to come can see. Returns how many it holds. */
static int32_t check_table(const struct oct_sched *s, const struct oct_seq *q)
{
    int32_t n = 0;
    OCT_ASSERT(q->n_blocks <= q->max_blocks);
    OCT_ASSERT((int64_t)q->n_blocks * K_PAGE_TOKENS >= q->n_computed + q->n_in_flight);
    for (int32_t g = 0; g < s->n_groups; g++) {
        const int32_t first = oct_first_visible_block(q->n_computed, s->windows[g]);
        for (int32_t b = 0; b < q->max_blocks; b++) {
            const int32_t page = q->pages[(int64_t)g * q->max_blocks + b];
            OCT_ASSERT((page >= 0) == (b >= first && b < q->n_blocks));
            OCT_ASSERT(page < 0 || s->pages.page[page].refs > 0);
            n += page >= 0;
        }
    }
    return n;
}

void oct_sched_check(const struct oct_sched *s)
{
    check_pages(&s->pages);
    if (s->prefix) {
        oct_prefix_check(s->prefix);
    }
    check_waiting(s);
    int32_t n = 0, n_promised = 0, n_pinned = 0;
    int64_t n_held = 0, n_refs = 0;
    const struct oct_seq *last = NULL;
    for (int32_t i = 0; i < s->n_slots; i++) {
        const struct oct_seq *q = s->running[i];
        if (!q) {
            continue;
        }
        n++;
        check_seq(s, q);
        OCT_ASSERT(q->state == OCT_SEQ_RUNNING && q->run_index == i);
        OCT_ASSERT(!last || oct_seq_before(last, q));
        last = q;
        OCT_ASSERT(q->n_computed + q->n_in_flight < oct_seq_known(q));
        OCT_ASSERT(q->n_held == check_table(s, q));
        n_held += q->n_held;
        n_promised += oct_seq_owed(q);
        n_pinned += q->pinned ? oct_seq_owed(q) : 0;
    }
    OCT_ASSERT(n == s->n_running && n <= s->max_num_seqs);
    OCT_ASSERT(n_promised == s->n_promised && n_pinned == s->n_promised_pinned);
    OCT_ASSERT(n_pinned <= oct_pages_available(&s->pages));
    for (int32_t i = 0; i < s->pages.n; i++) {
        n_refs += s->pages.page[i].refs;
    }
    OCT_ASSERT(n_refs == n_held);
    int32_t n_deadlines = 0;
    for (int32_t i = 0; i < s->n_heap; i++) {
        OCT_ASSERT(s->heap[i]->heap_index == i && s->heap[i]->deadline_us != 0);
        OCT_ASSERT(i == 0 || s->heap[(i - 1) / 2]->deadline_us <= s->heap[i]->deadline_us);
        n_deadlines += s->heap[i]->state == OCT_SEQ_WAITING || s->heap[i]->state == OCT_SEQ_RUNNING;
    }
    OCT_ASSERT(n_deadlines == s->n_heap);
}
