/* SPDX-License-Identifier: Apache-2.0
 *
 * check.c - what must hold after every event. */
#include "sim/sim.h"

void sim_check(struct sim *s)
{
    struct oct_engine_stats st = {.size = sizeof st};
    oct_engine_get_stats(s->fake.e, &st);
    const uint64_t ended = s->n_stopped + s->n_length + s->n_cancelled + s->n_expired + s->n_failed;
    if (s->n_accepted != ended + (uint64_t)s->n_live || st.n_submitted != s->n_accepted) {
        sim_wrong(s, "%llu accepted (the engine says %llu), %llu ended, %d live",
                  (unsigned long long)s->n_accepted, (unsigned long long)st.n_submitted,
                  (unsigned long long)ended, s->n_live);
    }
    if (st.n_stopped != s->n_stopped || st.n_length != s->n_length ||
        st.n_cancelled != s->n_cancelled || st.n_expired != s->n_expired ||
        st.n_failed != s->n_failed) {
        sim_wrong(s, "the engine counts the ends otherwise: %llu %llu %llu %llu %llu",
                  (unsigned long long)st.n_stopped, (unsigned long long)st.n_length,
                  (unsigned long long)st.n_cancelled, (unsigned long long)st.n_expired,
                  (unsigned long long)st.n_failed);
    }
    struct oct_sched_stats p;
    oct_sched_get_stats(s->fake.e->core.sched,
                        &p); /* the engine's own are those of its last turn */
    if (p.n_pages != s->options.n_pages || p.n_pages_used < 0 || p.n_pages_cached < 0 ||
        p.n_pages_used + p.n_pages_cached > p.n_pages) {
        sim_wrong(s, "%d pages used and %d cached of %d", p.n_pages_used, p.n_pages_cached,
                  p.n_pages);
    }
    oct_sched_check(s->fake.e->core.sched);
    if (s->fake.e->core.mail.n_waiting > s->options.max_waiting) {
        sim_wrong(s, "%d requests wait, %d may", s->fake.e->core.mail.n_waiting,
                  s->options.max_waiting);
    }
}

void sim_note_queue(struct sim *s, struct sim_queue *q)
{
    q->n = 0;
    s->n_last_running = 0;
    for (const struct oct_req *r = s->fake.e->core.live; r; r = r->live_next) {
        if (r->seq.state == OCT_SEQ_WAITING) {
            q->id[q->n] = r->seq.id;
            q->rank[q->n++] = r->seq.rank;
        } else if (r->seq.state == OCT_SEQ_RUNNING) {
            s->last_running[s->n_last_running++] = r->seq.id;
        }
    }
}

static bool ran_before(const struct sim *s, uint64_t id)
{
    for (int i = 0; i < s->n_last_running; i++) {
        if (s->last_running[i] == id) {
            return true;
        }
    }
    return false;
}

static bool waited_before(const struct sim_queue *before, uint64_t id)
{
    for (int i = 0; i < before->n; i++) {
        if (before->id[i] == id) {
            return true;
        }
    }
    return false;
}

/* Who waits now (w) while r runs, though w has the better rank: w waited and r was let in before
 * it; or w ran and had to give way though r, which may be preempted too, goes on. */
static void check_pair(const struct sim *s, const struct sim_queue *before, const struct oct_seq *w,
                       const struct oct_seq *r)
{
    if (w->state != OCT_SEQ_WAITING || r->state != OCT_SEQ_RUNNING || w->rank > r->rank) {
        return;
    }
    if (waited_before(before, w->id) && !ran_before(s, r->id)) {
        sim_wrong(s, "request %llu was let in before %llu, which has the better rank",
                  (unsigned long long)r->id, (unsigned long long)w->id);
    }
    if (ran_before(s, w->id) && !r->pinned) {
        sim_wrong(s, "request %llu gave way while %llu, of worse rank, goes on",
                  (unsigned long long)w->id, (unsigned long long)r->id);
    }
}

void sim_check_order(struct sim *s, const struct sim_queue *before)
{
    for (const struct oct_req *r = s->fake.e->core.live; r; r = r->live_next) {
        for (const struct oct_req *w = s->fake.e->core.live; w; w = w->live_next) {
            check_pair(s, before, &w->seq, &r->seq);
        }
    }
}

void sim_check_idle(struct sim *s)
{
    struct oct_sched_stats st;
    oct_sched_get_stats(s->fake.e->core.sched, &st);
    if (s->n_live != 0 || st.n_running != 0 || st.n_waiting != 0 || st.n_pages_used != 0) {
        sim_wrong(s, "at rest: %d live, %d running, %d waiting, %d pages used", s->n_live,
                  st.n_running, st.n_waiting, st.n_pages_used);
    }
    for (int i = 0; i < s->n_clients; i++) {
        if (!s->client[i].ended) {
            sim_wrong(s, "request %llu never ended", (unsigned long long)s->client[i].id);
        }
    }
}
