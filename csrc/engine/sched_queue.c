/* SPDX-License-Identifier: Apache-2.0
 *
 * sched_queue.c - the three orders in which the scheduler keeps requests: those that wait, those
 * that run, those with a deadline. */
#include "engine/sched_int.h"

#include <string.h>

/* ---- waiting ---- */

struct oct_seq *oct_queue_first(const struct oct_sched *s)
{
    struct oct_seq *first = NULL;
    for (int32_t i = 0; i < OCT_N_PRIORITIES; i++) {
        struct oct_seq *q = s->waiting[i].head;
        if (q && (!first || oct_seq_before(q, first))) {
            first = q;
        }
    }
    return first;
}

void oct_queue_add(struct oct_sched *s, struct oct_seq *q)
{
    struct oct_seq_list *l = &s->waiting[q->priority - OCT_PRIORITY_MIN];
    /* A new request goes to the end. A preempted one goes among the preempted, which stand in
     * front; it is nearly always the first of them, for the largest rank is preempted first. */
    struct oct_seq *after = l->tail;
    if (after && after->id > q->id) {
        after = NULL;
        for (struct oct_seq *at = l->head; at->id < q->id; at = at->next) {
            after = at;
        }
    }
    q->prev = after;
    q->next = after ? after->next : l->head;
    *(after ? &after->next : &l->head) = q;
    *(q->next ? &q->next->prev : &l->tail) = q;
    s->n_waiting++;
    s->n_queued += q->n_preempted == 0;
}

void oct_queue_remove(struct oct_sched *s, struct oct_seq *q)
{
    struct oct_seq_list *l = &s->waiting[q->priority - OCT_PRIORITY_MIN];
    *(q->prev ? &q->prev->next : &l->head) = q->next;
    *(q->next ? &q->next->prev : &l->tail) = q->prev;
    q->prev = q->next = NULL;
    s->n_waiting--;
    s->n_queued -= q->n_preempted == 0;
}

/* ---- running ---- */

void oct_running_add(struct oct_sched *s, struct oct_seq *q)
{
    oct_running_close_holes(s);
    OCT_ASSERT(s->n_slots < s->max_num_seqs);
    int32_t at = s->n_slots++;
    for (; at > 0 && oct_seq_before(q, s->running[at - 1]); at--) {
        s->running[at] = s->running[at - 1];
        s->running[at]->run_index = at;
    }
    s->running[at] = q;
    q->run_index = at;
    s->n_running++;
}

void oct_running_remove(struct oct_sched *s, struct oct_seq *q)
{
    OCT_ASSERT(s->running[q->run_index] == q);
    s->running[q->run_index] = NULL;
    q->run_index = -1;
    s->n_running--;
}

void oct_running_close_holes(struct oct_sched *s)
{
    if (s->n_slots == s->n_running) {
        return;
    }
    int32_t kept = 0;
    for (int32_t i = 0; i < s->n_slots; i++) {
        struct oct_seq *q = s->running[i];
        if (q) {
            q->run_index = kept;
            s->running[kept++] = q;
        }
    }
    s->n_slots = kept;
}

/* ---- deadlines: a binary heap ---- */

static bool sooner(const struct oct_seq *a, const struct oct_seq *b)
{
    return a->deadline_us != b->deadline_us ? a->deadline_us < b->deadline_us : a->id < b->id;
}

static void heap_put(struct oct_sched *s, int32_t at, struct oct_seq *q)
{
    s->heap[at] = q;
    q->heap_index = at;
}

static void heap_up(struct oct_sched *s, int32_t at)
{
    struct oct_seq *q = s->heap[at];
    for (; at > 0 && sooner(q, s->heap[(at - 1) / 2]); at = (at - 1) / 2) {
        heap_put(s, at, s->heap[(at - 1) / 2]);
    }
    heap_put(s, at, q);
}

static void heap_down(struct oct_sched *s, int32_t at)
{
    struct oct_seq *q = s->heap[at];
    for (;;) {
        int32_t child = 2 * at + 1;
        if (child + 1 < s->n_heap && sooner(s->heap[child + 1], s->heap[child])) {
            child++;
        }
        if (child >= s->n_heap || !sooner(s->heap[child], q)) {
            break;
        }
        heap_put(s, at, s->heap[child]);
        at = child;
    }
    heap_put(s, at, q);
}

void oct_heap_add(struct oct_sched *s, struct oct_seq *q)
{
    if (q->deadline_us == 0) {
        return;
    }
    OCT_ASSERT(s->n_heap < s->heap_cap);
    s->heap[s->n_heap++] = q;
    heap_up(s, s->n_heap - 1);
}

void oct_heap_remove(struct oct_sched *s, struct oct_seq *q)
{
    const int32_t at = q->heap_index;
    if (at < 0) {
        return;
    }
    q->heap_index = -1;
    struct oct_seq *last = s->heap[--s->n_heap];
    if (last != q) {
        heap_put(s, at, last);
        heap_up(s, at);
        heap_down(s, last->heap_index);
    }
}

struct oct_seq *oct_sched_expired(const struct oct_sched *s, int64_t now_us)
{
    return s->n_heap > 0 && s->heap[0]->deadline_us <= now_us ? s->heap[0] : NULL;
}
