/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/core.h"

#include "base/clock.h"
#include "base/mem.h"

#include <stdio.h>
#include <string.h>

/* ---- life ---- */

static oct_status allocate(struct oct_core *c)
{
    const size_t n = (size_t)c->max_num_seqs;
    c->now = oct_calloc(n, sizeof *c->now);
    c->next = oct_calloc(n, sizeof *c->next);
    c->slots = oct_calloc(n, sizeof *c->slots);
    c->batched = oct_calloc(n, sizeof(struct oct_event *));
    c->growing = oct_calloc(n, sizeof(struct oct_req *));
    c->step_ids = oct_calloc(n, sizeof *c->step_ids);
    if (!c->now || !c->next || !c->slots || !c->batched || !c->growing || !c->step_ids) {
        return oct_no_memory("the events of a step", n * sizeof *c->slots);
    }
    return OCT_OK;
}

oct_status oct_core_init(struct oct_core *c, const struct oct_core_config *config,
                         const struct oct_runner *runner)
{
    oct_status st;
    *c = (struct oct_core){.runner = *runner,
                           .max_num_seqs = config->sched->max_num_seqs,
                           .on_events = config->on_events,
                           .events_user = config->events_user};
    OCT_TRY_GOTO(oct_sched_create(config->sched, &c->sched), st, fail);
    OCT_TRY_GOTO(allocate(c), st, fail);
    OCT_TRY_GOTO(oct_mailbox_init(&c->mail, config->sched->max_waiting), st, fail);
    return OCT_OK;
fail:
    (void)oct_core_deinit(c);
    return st;
}

static void destroy_all(struct oct_req *r)
{
    while (r) {
        struct oct_req *next = r->ended_next;
        oct_req_destroy(r);
        r = next;
    }
}

bool oct_core_deinit(struct oct_core *c)
{
    OCT_ASSERT(!c->live && !c->in_flight);
    oct_mailbox_deinit(&c->mail);
    if (c->runner.close && !c->runner.close(c->runner.self)) {
        return false;
    }
    destroy_all(c->kept);
    oct_sched_destroy(c->sched);
    oct_free(c->now);
    oct_free(c->next);
    oct_free(c->slots);
    oct_free(c->batched);
    oct_free(c->growing);
    oct_free(c->step_ids);
    *c = (struct oct_core){0};
    return true;
}

/* ---- a request comes, starts, ends ---- */

static void admit(struct oct_core *c, struct oct_req *posted)
{
    for (struct oct_req *r = posted; r; r = r->inbox_next) {
        r->live_prev = NULL;
        r->live_next = c->live;
        if (c->live) {
            c->live->live_prev = r;
        }
        c->live = r;
        const oct_status st = oct_sched_add(c->sched, &r->seq);
        OCT_ASSERT(st == OCT_OK); /* the mailbox counts more strictly */
    }
}

static void start(struct oct_core *c, struct oct_req *r)
{
    if (!r->started) {
        r->started = true;
        c->n_started++;
    }
}

static void count_end(struct oct_core *c, oct_finish how, oct_status st)
{
    switch (how) {
    case OCT_FINISH_STOP:
        c->stats.n_stopped++;
        break;
    case OCT_FINISH_LENGTH:
        c->stats.n_length++;
        break;
    case OCT_FINISH_CANCELLED:
        c->stats.n_cancelled++;
        break;
    case OCT_FINISH_ERROR:
    case OCT_FINISH_NONE:
        if (st == OCT_E_DEADLINE) {
            c->stats.n_expired++;
        } else {
            c->stats.n_failed++;
        }
        break;
    }
}

/* Its last event goes out at the end of this turn. trust: its values were numbers. */
static void end(struct oct_core *c, struct oct_req *r, oct_finish how, oct_status st,
                const char *error, bool trust)
{
    OCT_ASSERT(!r->is_ended && how != OCT_FINISH_NONE);
    r->is_ended = true;
    r->finish = how;
    r->status = st;
    (void)snprintf(r->error, sizeof r->error, "%s", error ? error : "");
    oct_sched_remove(c->sched, &r->seq, trust);
    start(c, r); /* or it never will: in any case it does not wait any more */
    if (r->live_prev) {
        r->live_prev->live_next = r->live_next;
    } else {
        c->live = r->live_next;
    }
    if (r->live_next) {
        r->live_next->live_prev = r->live_prev;
    }
    r->ended_next = NULL;
    if (c->ended_tail) {
        c->ended_tail->ended_next = r;
    } else {
        c->ended_head = r;
    }
    c->ended_tail = r;
    count_end(c, how, st);
}

/* ---- the step that has finished ---- */

/* The newest token's text, and whether it is the last. */
static oct_status read_token(struct oct_req *r, int32_t token, oct_finish *how)
{
    oct_sampler_add(&r->sampler, token);
    if (oct_sampler_is_stop(&r->sampler, token)) {
        *how = OCT_FINISH_STOP;
    } else {
        OCT_TRY(oct_detok_add(&r->detok, token, &r->text));
        if (r->detok.stopped >= 0) {
            *how = OCT_FINISH_STOP;
            return OCT_OK;
        }
        *how = oct_req_n_output(r) >= r->sampler.max_tokens ? OCT_FINISH_LENGTH : OCT_FINISH_NONE;
    }
    return *how == OCT_FINISH_NONE ? OCT_OK : oct_detok_finish(&r->detok, &r->text);
}

static void end_not_a_number(struct oct_core *c, struct oct_req *r, const struct oct_pick *p)
{
    end(c, r, OCT_FINISH_ERROR, OCT_E_NUMERIC,
        "the model's output is not a number here; the weights may be damaged, or the token "
        "mask forbids every token",
        false);
    oct_sched_done(c->sched, p, true, false);
}

static void take_token(struct oct_core *c, struct oct_req *r, const struct oct_pick *p,
                       const struct k_sample_out *o, const struct k_sample_top *top, int64_t now_us)
{
    if (o->token == K_SAMPLE_NOT_A_NUMBER) {
        end_not_a_number(c, r, p);
        return;
    }
    r->seq.wants_rows = false; /* it has had its prompt's */
    OCT_ASSERT(r->seq.n_tokens < r->cap_tokens);
    oct_finish how = OCT_FINISH_NONE;
    oct_buf_clear(&r->text);
    r->first_token_us = r->first_token_us ? r->first_token_us : now_us;
    r->tokens[r->seq.n_tokens++] = o->token;
    c->stats.n_output_tokens++;
    const oct_status st = read_token(r, o->token, &how);
    oct_sched_done(c->sched, p, true, true);
    if (st != OCT_OK) {
        end(c, r, OCT_FINISH_ERROR, st, oct_last_error(), true);
    } else if (how != OCT_FINISH_NONE) {
        end(c, r, how, OCT_OK, NULL, true);
    } else if (r->seq.n_tokens + 1 >= r->cap_tokens && r->cap_tokens < r->seq.max_tokens) {
        c->growing[c->n_growing++] = r; /* this step's place is left, the next one's is not */
    }
    r->last_event_sent = r->is_ended;
    struct oct_slot *s = &c->slots[c->n_slots++];
    const int32_t n_top = r->sampler.row.n_top > 0 ? r->sampler.row.n_top : 0;
    for (int32_t i = 0; i < n_top; i++) {
        s->top[i] = (struct oct_token_logprob){top[i].token, top[i].logprob};
    }
    s->req = r;
    oct_req_event(r, o->token, o->logprob, s->top, n_top, now_us, &s->event);
}

/* The n prompt rows of an entry from `first` on; false if one of them is not a number. */
static bool take_prompt(struct oct_req *r, int32_t first, int32_t n, const struct k_sample_out *o,
                        const struct k_sample_top *top)
{
    for (int32_t i = 0; i < n; i++) {
        if (o[i].token == K_SAMPLE_NOT_A_NUMBER) {
            return false;
        }
        oct_req_take_prompt_row(r, first + i, &o[i], top + (int64_t)i * K_SAMPLE_MAX_TOP);
    }
    return true;
}

/* What came of every entry of the step. */
static void take_step(struct oct_core *c, const struct oct_batch *b, int64_t now_us)
{
    int32_t n_sampled = 0;
    for (int32_t i = 0; i < c->n_now; i++) {
        const struct oct_pick *p = &c->now[i];
        struct oct_req *r = p->seq->owner;
        const struct k_sample_out *out = &b->out[n_sampled];
        const struct k_sample_top *top = &b->top[(int64_t)n_sampled * K_SAMPLE_MAX_TOP];
        int32_t first = 0;
        const int32_t n_prompt_rows = oct_req_prompt_rows(r, p, &first);
        n_sampled += n_prompt_rows + p->samples;
        if (oct_pick_is_void(p)) { /* preempted since: the same token comes again */
            oct_sched_done(c->sched, p, true, true);
        } else if (r->cancelled || r->no_memory) {
            if (r->cancelled) {
                end(c, r, OCT_FINISH_CANCELLED, OCT_E_CANCELLED, "cancelled", true);
            } else {
                end(c, r, OCT_FINISH_ERROR, OCT_E_MEM, "no memory for more tokens", true);
            }
            oct_sched_done(c->sched, p, true, true);
        } else if (!take_prompt(r, first, n_prompt_rows, out, top)) {
            end_not_a_number(c, r, p);
        } else if (p->samples) {
            take_token(c, r, p, out + n_prompt_rows,
                       top + (int64_t)n_prompt_rows * K_SAMPLE_MAX_TOP, now_us);
        } else {
            oct_sched_done(c->sched, p, true, true);
        }
    }
    c->n_now = 0;
}

static void drop(struct oct_core *c, struct oct_req *cancelled, int64_t now_us)
{
    for (struct oct_req *r = cancelled; r; r = r->cancel_next) {
        if (!r->is_ended) {
            end(c, r, OCT_FINISH_CANCELLED, OCT_E_CANCELLED, "cancelled", true);
        }
    }
    for (struct oct_seq *q; (q = oct_sched_expired(c->sched, now_us));) {
        struct oct_req *r = q->owner;
        char why[128];
        (void)snprintf(why, sizeof why,
                       "the deadline of %lld us has passed; %d tokens were generated",
                       (long long)r->timeout_us, oct_req_n_output(r));
        end(c, r, OCT_FINISH_ERROR, OCT_E_DEADLINE, why, true);
    }
}

/* ---- the next step ---- */

/* Adds an entry's row to those for the sampler: row `at` of its rows. */
static void add_sampled(struct oct_batch *b, const struct k_sample_row *row, int32_t at)
{
    b->wants_top = b->wants_top || row->n_top > 0;
    b->rows[b->n_sample] = *row;
    b->out_rows[b->n_sample++] = b->n_rows + at;
}

/* Adds an entry's rows to the batch; false if the request's token mask ended it: nothing is added.
 */
static bool add(struct oct_core *c, struct oct_batch *b, const struct oct_pick *p, int64_t now_us)
{
    struct oct_req *r = p->seq->owner;
    const struct oct_seq *q = p->seq;
    OCT_ASSERT(p->n_rows >= 1 && p->first + p->n_rows <= q->n_tokens);
    struct k_sample_row last;
    int32_t first = 0;
    if (p->samples) {
        OCT_ASSERT(p->first + p->n_rows == q->n_tokens);
        if (!oct_sampler_row(&r->sampler, r->tokens + r->n_prompt, oct_req_n_output(r), &last)) {
            return false;
        }
    }
    const int32_t n_prompt_rows = oct_req_prompt_rows(r, p, &first);
    for (int32_t i = first; i < first + n_prompt_rows; i++) {
        const struct k_sample_row row = oct_req_prompt_row(r, i);
        add_sampled(b, &row, i - p->first);
    }
    if (p->samples) {
        add_sampled(b, &last, p->n_rows - 1);
    }
    for (int32_t g = 0; g < b->n_groups; g++) {
        memcpy(b->page_table + g * b->group_stride + b->n_seqs * b->table_stride,
               q->pages + (int64_t)g * q->max_blocks, (size_t)q->n_blocks * sizeof *q->pages);
    }
    for (int32_t i = 0; i < p->n_rows; i++) {
        b->ids[b->n_rows + i] = q->tokens[p->first + i];
        b->positions[b->n_rows + i] = p->first + i;
        b->row_seq[b->n_rows + i] = b->n_seqs;
    }
    b->n_rows += p->n_rows;
    c->step_ids[b->n_seqs++] = q->id;
    if (!r->started) {
        c->stats.n_prompt_tokens += (uint64_t)r->n_prompt;
        r->start_us = now_us;
    }
    start(c, r);
    return true;
}

/* The hook for tests sees every row's logits: sampled rows first, the others behind them. */
static void add_other_rows(struct oct_batch *b)
{
    for (int32_t row = 0; row < b->n_rows; row++) {
        bool listed = false;
        for (int32_t i = 0; i < b->n_sample; i++) {
            listed = listed || b->out_rows[i] == row;
        }
        if (!listed) {
            b->out_rows[b->n_out++] = row;
        }
    }
}

/* Moves the pick that is still good from `next` to `now` and into the batch. */
static void fill(struct oct_core *c, struct oct_batch *b, int64_t now_us)
{
    b->n_rows = b->n_seqs = b->n_out = b->n_sample = 0;
    b->wants_top = false;
    for (int32_t i = 0; i < c->n_next; i++) {
        const struct oct_pick *p = &c->next[i];
        struct oct_req *r = p->seq->owner;
        if (oct_pick_is_void(p)) {
            oct_sched_done(c->sched, p, false, false);
        } else if (add(c, b, p, now_us)) {
            c->now[c->n_now++] = *p;
        } else {
            end(c, r, OCT_FINISH_ERROR, OCT_E_ARG, "the request's token mask gave up", true);
            oct_sched_done(c->sched, p, false, false);
        }
    }
    c->n_next = 0;
    b->n_out = b->n_sample;
    if (c->every_row) {
        add_other_rows(b);
    }
}

/* ---- events ---- */

static void dispatch(struct oct_core *c)
{
    size_t n = 0;
    for (int32_t i = 0; i < c->n_slots; i++) {
        const struct oct_slot *s = &c->slots[i];
        if (s->req->on_event) {
            s->req->on_event(s->req->user, &s->event);
        } else {
            c->batched[n++] = &s->event;
        }
    }
    if (n > 0) {
        c->on_events(c->events_user, c->batched, n);
    }
    c->n_slots = 0;
}

/* Sends what this turn brought: tokens first, then the ends that came without one. What ended is
 * freed. */
static void deliver(struct oct_core *c, int64_t now_us)
{
    dispatch(c);
    for (struct oct_req *r = c->ended_head; r; r = r->ended_next) {
        if (!r->last_event_sent) {
            if (c->n_slots == c->max_num_seqs) {
                dispatch(c);
            }
            struct oct_slot *s = &c->slots[c->n_slots++];
            s->req = r;
            oct_buf_clear(&r->text);
            oct_req_event(r, -1, 0, s->top, 0, now_us, &s->event);
            r->last_event_sent = true;
        }
    }
    dispatch(c);
}

static int32_t take_n_started(struct oct_core *c)
{
    const int32_t n = c->n_started;
    c->n_started = 0;
    return n;
}

static void free_ended(struct oct_core *c)
{
    struct oct_req *r = c->ended_head;
    if (r) {
        oct_mailbox_retire(&c->mail, r, &c->stats, take_n_started(c));
    }
    if (r && c->stats.device_hangs) {
        c->ended_tail->ended_next = c->kept;
        c->kept = r;
        r = NULL;
    }
    c->ended_head = c->ended_tail = NULL;
    destroy_all(r);
}

static void grow(struct oct_core *c)
{
    for (int32_t i = 0; i < c->n_growing; i++) {
        struct oct_req *r = c->growing[i];
        if (!r->is_ended && oct_req_grow(r) != OCT_OK) {
            r->no_memory = true; /* it has rows on the device: it ends when they are there */
        }
    }
    c->n_growing = 0;
}

/* Before events go out. */
static void read_stats(struct oct_core *c)
{
    struct oct_sched_stats s;
    oct_sched_get_stats(c->sched, &s);
    c->stats.n_running = s.n_running;
    c->stats.n_waiting = s.n_waiting;
    c->stats.n_pages = s.n_pages;
    c->stats.n_pages_used = s.n_pages_used;
    c->stats.n_pages_cached = s.n_pages_cached;
    c->stats.n_preemptions = s.n_preemptions;
    c->stats.n_prefix_query_tokens = s.n_prefix_queries_tokens;
    c->stats.n_prefix_hit_tokens = s.n_prefix_hit_tokens;
    if (c->ended_head) {
        oct_mailbox_publish(&c->mail, &c->stats, take_n_started(c));
    }
}

/* ---- a turn ---- */

static uint64_t between(int64_t from_us, int64_t to_us)
{
    return to_us > from_us ? (uint64_t)(to_us - from_us) : 0;
}

static oct_status fail(struct oct_core *c, oct_status st)
{
    char why[sizeof c->dead_text];
    c->stats.device_hangs = st == OCT_E_DEADLINE;
    if (c->stats.device_hangs) {
        st = OCT_E_DEVICE;
        (void)snprintf(why, sizeof why, "the device hangs: step %llu, %s",
                       (unsigned long long)c->stats.n_steps + 1, oct_last_error());
    } else {
        (void)snprintf(why, sizeof why, "%s", oct_last_error());
    }
    c->in_flight = false;
    oct_core_end_all(c, OCT_FINISH_ERROR, st, why);
    return OCT_FAIL(st, "%s", c->dead_text);
}

oct_status oct_core_turn(struct oct_core *c, bool sleep, bool *closing)
{
    struct oct_mail mail;
    oct_mailbox_take(&c->mail, &c->stats, take_n_started(c), sleep && !c->live && !c->in_flight,
                     &mail);
    admit(c, mail.posted);
    *closing = mail.closing;
    if (c->dead != OCT_OK) {
        return OCT_FAIL(c->dead, "%s", c->dead_text);
    }
    const int64_t begin_us = oct_clock_us();
    const bool was_in_flight = c->in_flight;
    struct oct_batch *b = c->runner.batch(c->runner.self);
    c->n_next = oct_sched_pick(c->sched, c->next, c->row_limit);
    int64_t now_us = oct_clock_us();
    c->stats.schedule_us += between(begin_us, now_us);
    if (c->in_flight) {
        const oct_status st = c->runner.wait(c->runner.self);
        if (st != OCT_OK) {
            return fail(c, st);
        }
        c->in_flight = false;
        now_us = oct_clock_us();
        c->stats.n_steps++;
        c->stats.last_step_age_us = now_us; /* the mailbox makes an age of it */
        c->stats.forward_us += (uint64_t)b->forward_us;
        c->stats.sample_us += (uint64_t)b->sample_us;
        take_step(c, b, now_us);
    }
    drop(c, mail.cancelled, now_us);
    const int64_t taken_us = oct_clock_us();
    fill(c, b, taken_us);
    const int64_t filled_us = oct_clock_us();
    OCT_ASSERT(c->n_now > 0 || was_in_flight || !c->live || c->ended_head); /* no standing still */
    if (c->n_now > 0) {
        const oct_status st = c->runner.launch(c->runner.self);
        if (st != OCT_OK) {
            return fail(c, st);
        }
        c->in_flight = true;
    }
    read_stats(c);
    grow(c);
    deliver(c, taken_us);
    const int64_t delivered_us = oct_clock_us();
    c->stats.schedule_us += between(taken_us, filled_us);
    c->stats.deliver_us += between(now_us, taken_us) + between(filled_us, delivered_us);
    free_ended(c);
    return OCT_OK;
}

static void drop_picks(struct oct_core *c, struct oct_pick *picks, int32_t *n)
{
    for (int32_t i = 0; i < *n; i++) {
        oct_sched_done(c->sched, &picks[i], false, false);
    }
    *n = 0;
}

void oct_core_end_all(struct oct_core *c, oct_finish how, oct_status why, const char *text)
{
    struct oct_mail mail;
    if (c->dead == OCT_OK) {
        c->dead = why;
        (void)snprintf(c->dead_text, sizeof c->dead_text, "%s", text);
    }
    oct_mailbox_kill(&c->mail, why, text);
    oct_mailbox_take(&c->mail, &c->stats, take_n_started(c), false, &mail);
    admit(c, mail.posted);
    if (c->in_flight) {
        /* everything ends, whatever it is */
        c->stats.device_hangs = c->runner.wait(c->runner.self) == OCT_E_DEADLINE;
        c->in_flight = false;
    }
    while (c->live) {
        end(c, c->live, how, why, text, false);
    }
    drop_picks(c, c->now, &c->n_now);
    drop_picks(c, c->next, &c->n_next);
    c->n_growing = 0;
    read_stats(c);
    deliver(c, oct_clock_us());
    free_ended(c);
}
