/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/mailbox.h"

#include "base/clock.h"
#include "base/mem.h"

#include <stdio.h>
#include <string.h>

/* ---- life ---- */

static void lock(struct oct_mailbox *m)
{
    const int failed = pthread_mutex_lock(&m->lock);
    OCT_ASSERT(failed == 0);
}

static void unlock(struct oct_mailbox *m)
{
    const int failed = pthread_mutex_unlock(&m->lock);
    OCT_ASSERT(failed == 0);
}

/* Initialising these allocates nothing on Linux: it cannot fail for a reason of the world. */
static void init_lock(struct oct_mailbox *m)
{
    pthread_condattr_t monotonic;
    int failed = pthread_condattr_init(&monotonic);
    failed += pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    failed += pthread_mutex_init(&m->lock, NULL);
    failed += pthread_cond_init(&m->mail, &monotonic);
    failed += pthread_cond_init(&m->idle, &monotonic);
    for (int i = 0; i < OCT_MAIL_CONDS; i++) {
        failed += pthread_cond_init(&m->ended[i], &monotonic);
    }
    failed += pthread_condattr_destroy(&monotonic);
    OCT_ASSERT(failed == 0);
    m->has_lock = true;
}

oct_status oct_mailbox_init(struct oct_mailbox *m, int32_t max_waiting)
{
    uint32_t n = 256; /* ids are consecutive: chains stay even, four long at most when it is full */
    while (n < (uint32_t)max_waiting / 4) {
        n *= 2;
    }
    *m = (struct oct_mailbox){.next_id = 1, .n_buckets = n, .max_waiting = max_waiting};
    m->buckets = oct_calloc(n, sizeof(struct oct_req *));
    if (!m->buckets) {
        return oct_no_memory("the table of requests", n * sizeof(struct oct_req *));
    }
    init_lock(m);
    return OCT_OK;
}

void oct_mailbox_deinit(struct oct_mailbox *m)
{
    if (m->has_lock) {
        OCT_ASSERT(m->n_live == 0 && m->n_inside == 0);
        (void)pthread_mutex_destroy(&m->lock);
        (void)pthread_cond_destroy(&m->mail);
        (void)pthread_cond_destroy(&m->idle);
        for (int i = 0; i < OCT_MAIL_CONDS; i++) {
            (void)pthread_cond_destroy(&m->ended[i]);
        }
    }
    oct_free(m->buckets);
    *m = (struct oct_mailbox){0};
}

/* ---- the table of live requests ---- */

static struct oct_req **place_of(struct oct_mailbox *m, uint64_t id)
{
    struct oct_req **at = &m->buckets[id & (m->n_buckets - 1)];
    while (*at && (*at)->seq.id != id) {
        at = &(*at)->bucket_next;
    }
    return at;
}

static void forget(struct oct_mailbox *m, struct oct_req *r)
{
    struct oct_req **at = place_of(m, r->seq.id);
    OCT_ASSERT(*at == r);
    *at = r->bucket_next;
    if (r->cancel_at) { /* cancelled after its end: the owner need not hear of it */
        *r->cancel_at = r->cancel_next;
        if (r->cancel_next) {
            r->cancel_next->cancel_at = r->cancel_at;
        }
    }
    m->n_live--;
}

/* ---- callers ---- */

static oct_status accepts(const struct oct_mailbox *m)
{
    if (m->dead != OCT_OK) {
        return OCT_FAIL(m->dead, "%s", m->dead_text);
    }
    if (m->closing) {
        return OCT_FAIL(OCT_E_CANCELLED, "the engine is being closed");
    }
    if (m->n_waiting >= m->max_waiting) {
        return OCT_FAIL(OCT_E_BUSY, "%d requests wait already; try again later", m->n_waiting);
    }
    return OCT_OK;
}

static void leave(struct oct_mailbox *m)
{
    m->n_inside--;
    if (m->closing && m->n_inside == 0) {
        (void)pthread_cond_broadcast(&m->idle);
    }
}

oct_status oct_mailbox_enter(struct oct_mailbox *m)
{
    lock(m);
    const oct_status st = accepts(m);
    m->n_inside += st == OCT_OK;
    unlock(m);
    return st;
}

void oct_mailbox_leave(struct oct_mailbox *m)
{
    lock(m);
    leave(m);
    unlock(m);
}

oct_status oct_mailbox_post(struct oct_mailbox *m, struct oct_req *r, uint64_t *id)
{
    lock(m);
    const oct_status st = accepts(m); /* much may have happened since enter */
    if (st == OCT_OK) {
        r->seq.id = m->next_id++;
        *id = r->seq.id;
        struct oct_req **bucket = &m->buckets[r->seq.id & (m->n_buckets - 1)];
        r->bucket_next = *bucket;
        *bucket = r;
        r->inbox_next = NULL;
        if (m->inbox_tail) {
            m->inbox_tail->inbox_next = r;
        } else {
            m->inbox_head = r;
        }
        m->inbox_tail = r;
        m->n_live++;
        m->n_waiting++;
        m->n_inbox++;
        m->stats.n_submitted++;
        (void)pthread_cond_signal(&m->mail);
    }
    leave(m);
    unlock(m);
    return st;
}

oct_status oct_mailbox_cancel(struct oct_mailbox *m, uint64_t id)
{
    oct_status st = OCT_OK;
    lock(m);
    struct oct_req *r = *place_of(m, id);
    if (!r) {
        st = OCT_FAIL(OCT_E_NOTFOUND, "request %llu does not run; it may have ended",
                      (unsigned long long)id);
    } else if (!r->cancel_told) {
        r->cancel_told = true;
        r->cancel_next = m->cancels;
        r->cancel_at = &m->cancels;
        if (m->cancels) {
            m->cancels->cancel_at = &r->cancel_next;
        }
        m->cancels = r;
        (void)pthread_cond_signal(&m->mail);
    }
    unlock(m);
    return st;
}

static bool is_over(struct oct_mailbox *m, uint64_t id)
{
    return id ? !*place_of(m, id) : m->n_live == 0;
}

oct_status oct_mailbox_wait(struct oct_mailbox *m, uint64_t id, int64_t timeout_us)
{
    oct_status st = OCT_OK;
    lock(m);
    if (id >= m->next_id) {
        st = OCT_FAIL(OCT_E_NOTFOUND, "there is no request %llu", (unsigned long long)id);
        unlock(m);
        return st;
    }
    m->n_inside++;
    m->n_sleeping++;
    pthread_cond_t *cond = id ? &m->ended[id % OCT_MAIL_CONDS] : &m->idle;
    const struct timespec t = oct_clock_after(timeout_us > 0 ? timeout_us : 0);
    while (!is_over(m, id) && st == OCT_OK) {
        const int failed = timeout_us < 0 ? pthread_cond_wait(cond, &m->lock)
                                          : pthread_cond_timedwait(cond, &m->lock, &t);
        if (failed && !is_over(m, id)) {
            st = id ? OCT_FAIL(OCT_E_DEADLINE, "request %llu still runs after %lld us",
                               (unsigned long long)id, (long long)timeout_us)
                    : OCT_FAIL(OCT_E_DEADLINE, "%zu requests still run after %lld us", m->n_live,
                               (long long)timeout_us);
        }
    }
    m->n_sleeping--;
    leave(m);
    unlock(m);
    return st;
}

void oct_mailbox_get_stats(struct oct_mailbox *m, struct oct_engine_stats *out)
{
    lock(m);
    *out = m->stats;
    out->n_waiting += m->n_inbox;
    unlock(m);
    const int64_t last_us = out->last_step_age_us;
    out->last_step_age_us = last_us ? oct_clock_us() - last_us : -1;
}

size_t oct_mailbox_n_live(struct oct_mailbox *m)
{
    lock(m);
    const size_t n = m->n_live;
    unlock(m);
    return n;
}

bool oct_mailbox_is_owner(struct oct_mailbox *m)
{
    lock(m);
    const bool is = m->has_owner && pthread_equal(m->owner, pthread_self());
    unlock(m);
    return is;
}

/* ---- the owner ---- */

void oct_mailbox_set_owner(struct oct_mailbox *m, bool owns)
{
    lock(m);
    OCT_ASSERT(owns != m->has_owner); /* octavo.h: one thread steps, and not from a callback */
    m->has_owner = owns;
    m->owner = pthread_self();
    unlock(m);
}

static void publish(struct oct_mailbox *m, const struct oct_engine_stats *stats, int32_t n_started)
{
    const uint64_t submitted = m->stats.n_submitted;
    m->stats = *stats;
    m->stats.n_submitted = submitted;
    m->n_waiting -= n_started;
    OCT_ASSERT(m->n_waiting >= 0);
}

void oct_mailbox_take(struct oct_mailbox *m, const struct oct_engine_stats *stats,
                      int32_t n_started, bool sleep, struct oct_mail *out)
{
    lock(m);
    publish(m, stats, n_started);
    while (sleep && !m->inbox_head && !m->cancels && !m->closing) {
        (void)pthread_cond_wait(&m->mail, &m->lock);
    }
    *out =
        (struct oct_mail){.posted = m->inbox_head, .cancelled = m->cancels, .closing = m->closing};
    m->inbox_head = m->inbox_tail = m->cancels = NULL;
    m->n_inbox = 0;
    for (struct oct_req *r = out->cancelled; r; r = r->cancel_next) {
        r->cancel_at = NULL;
        r->cancelled = true;
    }
    unlock(m);
}

void oct_mailbox_publish(struct oct_mailbox *m, const struct oct_engine_stats *stats,
                         int32_t n_started)
{
    lock(m);
    publish(m, stats, n_started);
    unlock(m);
}

void oct_mailbox_retire(struct oct_mailbox *m, struct oct_req *ended,
                        const struct oct_engine_stats *stats, int32_t n_started)
{
    lock(m);
    publish(m, stats, n_started);
    for (struct oct_req *r = ended; r; r = r->ended_next) {
        forget(m, r);
        if (m->n_sleeping > 0) {
            (void)pthread_cond_broadcast(&m->ended[r->seq.id % OCT_MAIL_CONDS]);
        }
    }
    if (m->n_sleeping > 0 && m->n_live == 0) {
        (void)pthread_cond_broadcast(&m->idle);
    }
    unlock(m);
}

void oct_mailbox_kill(struct oct_mailbox *m, oct_status why, const char *text)
{
    lock(m);
    if (m->dead == OCT_OK) {
        m->dead = why;
        (void)snprintf(m->dead_text, sizeof m->dead_text, "%s", text);
    }
    unlock(m);
}

void oct_mailbox_close(struct oct_mailbox *m)
{
    lock(m);
    m->closing = true;
    (void)pthread_cond_signal(&m->mail);
    unlock(m);
}

void oct_mailbox_await_leave(struct oct_mailbox *m)
{
    lock(m);
    while (m->n_inside > 0) {
        (void)pthread_cond_wait(&m->idle, &m->lock);
    }
    unlock(m);
}
