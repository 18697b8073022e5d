/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/sim.h"

#include "base/clock.h"
#include "base/rng.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef SIM_SEEDS
#define SIM_SEEDS 2000
#endif

/* ---- chance and time ---- */

uint32_t sim_draw(struct sim *s, uint32_t limit)
{
    return seed_draw(&s->chance, limit);
}

bool sim_chance(struct sim *s, uint32_t percent)
{
    return sim_draw(s, 100) < percent;
}

void sim_wrong(const struct sim *s, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    (void)fflush(stdout);
    (void)fprintf(stderr, "seed %llu, %lld us, %llu steps: ", (unsigned long long)s->chance.seed,
                  (long long)s->now_us, (unsigned long long)s->n_steps);
    (void)vfprintf(stderr, fmt, ap);
    va_end(ap);
    seed_wrong("test_sim", s->chance.seed);
}

/* ---- a world ---- */

static int32_t blocks_for(int32_t tokens)
{
    return (tokens + K_PAGE_TOKENS - 1) / K_PAGE_TOKENS;
}

/* Windows: none, less than a page, more, longer than any request. Not 1: the fake device reads the
 * token before. */
static int32_t draw_window(struct sim *s)
{
    static const int32_t windows[] = {0, 2, 17, 64, 65, 100, 128, 300, 5000};
    return windows[sim_draw(s, sizeof windows / sizeof *windows)];
}

static void plan_world(struct sim *s)
{
    struct fake_options *o = &s->options;
    o->manual = true;
    o->n_groups = sim_chance(s, 60) ? 1 : 2 + (int32_t)sim_draw(s, 2);
    for (int32_t g = 0; g < o->n_groups; g++) {
        o->windows[g] = sim_chance(s, 50) ? 0 : draw_window(s);
    }
    o->max_model_len = K_PAGE_TOKENS + (int32_t)sim_draw(s, 6 * K_PAGE_TOKENS);
    s->pressed = sim_chance(s, 30);
    const int32_t least = o->n_groups * blocks_for(o->max_model_len);
    o->n_pages =
        least + (int32_t)sim_draw(s, s->pressed || sim_chance(s, 50) ? 4 : (uint32_t)(4 * least));
    o->max_num_seqs = 1 + (int32_t)sim_draw(s, 8);
    if (s->pressed) {
        o->max_num_seqs = 2 + (int32_t)sim_draw(s, 12);
    }
    o->max_num_batched_tokens =
        o->max_num_seqs + (int32_t)sim_draw(s, sim_chance(s, 30) ? 4 : 3 * K_PAGE_TOKENS);
    o->max_waiting = sim_chance(s, 20) ? 1 + (int32_t)sim_draw(s, 4) : 1000;
    o->no_prefix_cache = sim_chance(s, 10);
    if (sim_chance(s, 10)) {
        const uint32_t how = sim_draw(s, 100);
        *(how < 40   ? &o->fail_launch
          : how < 80 ? &o->fail_wait
                     : &o->hang) = 1 + (int32_t)sim_draw(s, 200);
    }
    if (sim_chance(s, 10)) {
        o->nan_first_token = 3 + (int32_t)sim_draw(s, 3);
        o->nan_position = (int32_t)sim_draw(s, (uint32_t)o->max_model_len);
    }
    for (int b = 0; b < 3; b++) {
        for (int i = 0; i < SIM_MAX_TOKENS; i++) {
            s->base[b][i] = 3 + (int32_t)sim_draw(s, 3);
        }
    }
    s->n_planned = 1 + (int)sim_draw(s, sim_chance(s, 50) ? 6 : SIM_MAX_CLIENTS - 1);
}

static void advance_clock(struct sim *s, uint32_t us)
{
    s->now_us += us;
    seed_clock_us = s->now_us;
}

static void step(struct sim *s)
{
    struct sim_queue queue;
    size_t n_active;
    sim_note_queue(s, &queue);
    s->events_before = s->n_events + 1; /* who was accepted before this step */
    advance_clock(s, 1000 + sim_draw(s, 2000));
    const oct_status st = oct_engine_step(s->fake.e, &n_active);
    s->n_ended_in_step = 0;
    s->n_steps++;
    if (st != OCT_OK) {
        const bool meant = st == OCT_E_DEVICE && fake_fails(&s->options);
        if (!meant || s->n_live != 0) {
            sim_wrong(s, "a step failed with %d live: %s", s->n_live, oct_last_error());
        }
        s->dead = true;
        return;
    }
    if (n_active != (size_t)s->n_live) {
        sim_wrong(s, "%zu active, %d live", n_active, s->n_live);
    }
    sim_check_order(s, &queue);
    for (int i = 0; i < s->n_clients; i++) {
        const struct sim_client *c = &s->client[i];
        if (c->accepted && !c->ended && c->deadline_us > 0 && c->deadline_us <= s->now_us &&
            c->accepted_at < s->events_before) {
            sim_wrong(s, "request %llu lives on after its deadline", (unsigned long long)c->id);
        }
    }
}

static void one_event(struct sim *s)
{
    const uint32_t kind = sim_draw(s, 100);
    if (kind < 12) {
        for (uint32_t n = 1 + sim_draw(s, 3); n > 0; n--) {
            sim_submit(s);
        }
    } else if (kind < 14 && s->n_clients > 0) {
        sim_cancel(s, (int)sim_draw(s, (uint32_t)s->n_clients));
    } else if (kind < 16) {
        advance_clock(s, sim_draw(s, 100000));
    } else {
        step(s);
    }
    sim_check(s);
}

/* The oldest request has a row in every second step at least, and whatever is preempted starts over
 * while an older one goes on: so all is done within twice the tokens of all. */
static uint64_t most_steps(const struct sim *s)
{
    uint64_t tokens = 0;
    for (int i = 0; i < s->n_clients; i++) {
        tokens += (uint64_t)(s->client[i].n_prompt + s->client[i].max_tokens);
    }
    return 2 * tokens + 16;
}

static void finish(struct sim *s)
{
    const uint64_t before = s->n_steps;
    while (s->n_live > 0 && !s->dead) {
        step(s);
        sim_check(s);
        if (s->n_steps - before > most_steps(s)) {
            sim_wrong(s, "no end after %llu steps with %d live",
                      (unsigned long long)(s->n_steps - before), s->n_live);
        }
    }
}

static void add_up(const struct sim *s, struct sim_totals *t)
{
    struct oct_sched_stats st;
    oct_sched_get_stats(s->fake.e->core.sched, &st);
    t->requests += s->n_accepted;
    t->refused += s->n_refused;
    t->events += s->n_events;
    t->steps += s->n_steps;
    t->stopped += s->n_stopped;
    t->length += s->n_length;
    t->cancelled += s->n_cancelled;
    t->expired += s->n_expired;
    t->failed += s->n_failed;
    t->preemptions += st.n_preemptions;
    t->hit_tokens += st.n_prefix_hit_tokens;
}

static struct sim_totals all;

static void run(uint64_t seed, bool verbose)
{
    static struct sim world;
    struct sim *s = &world;
    memset(s, 0, sizeof *s);
    s->chance.seed = seed;
    s->verbose = verbose;
    s->now_us = 1000000;
    seed_clock_us = s->now_us;
    plan_world(s);
    if (verbose) {
        printf("seed %llu: %d pages, %d groups (windows %d %d %d), %d seqs, %d rows, %d tokens, %d "
               "requests\n",
               (unsigned long long)seed, s->options.n_pages, s->options.n_groups,
               s->options.windows[0], s->options.windows[1], s->options.windows[2],
               s->options.max_num_seqs, s->options.max_num_batched_tokens, s->options.max_model_len,
               s->n_planned);
    }
    fake_open(&s->options, &s->fake);
    const bool leave = sim_chance(s, 10); /* closed while requests run */
    while (s->n_clients < s->n_planned && !s->dead) {
        one_event(s);
    }
    if (leave) {
        add_up(s, &all);
        s->closing = true;
        oct_engine_close(s->fake.e);
        if (s->n_live != 0) {
            sim_wrong(s, "%d requests live after close", s->n_live);
        }
        fake_free(&s->fake);
        return;
    }
    finish(s);
    if (s->dead) { /* refuses from now on, and says so */
        s->n_planned = s->n_clients < SIM_MAX_CLIENTS ? s->n_clients + 1 : s->n_clients;
        sim_submit(s);
    }
    sim_check(s);
    sim_check_idle(s);
    add_up(s, &all);
    s->closing = true;
    fake_close(&s->fake);
}

static void report(uint64_t n)
{
    const struct sim_totals t = all;
    printf(
        "%llu seeds, nothing wrong: %llu requests (%llu refused), %llu steps, %llu events; ended: "
        "%llu stop, %llu length, %llu cancelled, %llu deadline, %llu failed; %llu preemptions, "
        "%llu tokens out of the prefix cache\n",
        (unsigned long long)n, (unsigned long long)t.requests, (unsigned long long)t.refused,
        (unsigned long long)t.steps, (unsigned long long)t.events, (unsigned long long)t.stopped,
        (unsigned long long)t.length, (unsigned long long)t.cancelled,
        (unsigned long long)t.expired, (unsigned long long)t.failed,
        (unsigned long long)t.preemptions, (unsigned long long)t.hit_tokens);
}

int main(int argc, char **argv)
{
    const struct seed_program p = {
        .name = "test_sim",
        .about = "Runs the engine through so many simulated lives; ends with 1 at the first that "
                 "goes wrong.",
        .n_seeds = SIM_SEEDS,
        .run = run,
        .report = report,
    };
    return seed_main(&p, argc, argv);
}
