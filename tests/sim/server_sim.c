/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/server_sim.h"

#include "base/clock.h"
#include "base/rng.h"

#include <jansson.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef SIM_SEEDS
#define SIM_SEEDS 500
#endif

/* ---- chance and time ---- */

uint32_t srv_draw(struct srv *s, uint32_t limit)
{
    return seed_draw(&s->chance, limit);
}

bool srv_chance(struct srv *s, uint32_t percent)
{
    return srv_draw(s, 100) < percent;
}

int64_t srv_now_us(void)
{
    return seed_clock_us;
}

void srv_wrong(const struct srv *s, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    (void)fflush(stdout);
    (void)fprintf(stderr, "seed %llu, %lld us: ", (unsigned long long)s->chance.seed,
                  (long long)seed_clock_us);
    (void)vfprintf(stderr, fmt, ap);
    va_end(ap);
    seed_wrong("test_sim_server", s->chance.seed);
}

/* ---- a world ---- */

static void plan_engine(struct srv *s)
{
    struct fake_options *o = &s->options;
    o->manual = true;
    o->max_model_len = K_PAGE_TOKENS + (int32_t)srv_draw(s, 4 * K_PAGE_TOKENS);
    const int32_t least = (o->max_model_len + K_PAGE_TOKENS - 1) / K_PAGE_TOKENS;
    o->n_pages = least + (int32_t)srv_draw(s, (uint32_t)(4 * least));
    o->max_num_seqs = 1 + (int32_t)srv_draw(s, 8);
    o->max_num_batched_tokens = o->max_num_seqs + (int32_t)srv_draw(s, 2 * K_PAGE_TOKENS);
    o->max_waiting = srv_chance(s, 10) ? 1 + (int32_t)srv_draw(s, 3) : 1000;
    if (srv_chance(s, 10)) {
        const uint32_t how = srv_draw(s, 100);
        *(how < 40   ? &o->fail_launch
          : how < 80 ? &o->fail_wait
                     : &o->hang) = 1 + (int32_t)srv_draw(s, 150);
    }
    if (srv_chance(s, 15)) {
        o->nan_first_token = 3 + (int32_t)srv_draw(s, 3);
        o->nan_position = (int32_t)srv_draw(s, (uint32_t)o->max_model_len);
    }
}

static void must(const struct srv *s, oct_status st)
{
    if (st != OCT_OK) {
        srv_wrong(s, "the world cannot be made: %s", oct_last_error());
    }
}

static void open_world(struct srv *s)
{
    static const char *const names[] = {"fake"};
    struct oct_api_config config = {.model_names = names, .n_model_names = 1};
    struct oct_engine_options events = OCT_ENGINE_OPTIONS_INIT;
    struct oct_http_limits limits = {.body_bytes = 16 << 10, .out_bytes = 512 + srv_draw(s, 4096)};
    plan_engine(s);
    s->few_connections = srv_chance(s, 15);
    if (s->few_connections) {
        limits.n_connections = 1 + (int32_t)srv_draw(s, 4);
    }
    if (srv_chance(s, 15)) {
        config.max_queued_requests = 1 + (int32_t)srv_draw(s, 3);
    }
    s->small_queue = config.max_queued_requests || s->options.max_waiting < 1000;
    must(s, oct_api_create(&config, &s->api));
    must(s, oct_api_start(s->api));
    const struct oct_http_handler handler = oct_api_handler(s->api);
    must(s, oct_http_create(&limits, &handler, &s->http));
    oct_api_prepare_engine(s->api, s->http, &events);
    s->options.on_events = events.on_events;
    s->options.events_user = events.events_user;
    fake_open(&s->options, &s->fake);
    oct_api_set_engine(s->api, s->fake.e);
    s->n_planned = 1 + (int)srv_draw(s, SRV_MAX_CLIENTS);
}

static void turn(struct srv *s)
{
    s->n_turns++;
    must(s, oct_http_turn(s->http, false));
    oct_api_tick(s->api);
}

static void close_world(struct srv *s)
{
    for (int i = 0; i < s->n_clients; i++) {
        srv_leave(s, &s->client[i], false);
    }
    turn(s); /* libevent lets go of a freed end of a pair when its last callback has run */
    turn(s);
    oct_api_stop(s->api);
    oct_http_destroy(s->http);
    oct_engine_close(s->fake.e);
    oct_api_destroy(s->api); /* asserts that every call has ended once */
    fake_free(&s->fake);
    for (int i = 0; i < s->n_clients; i++) {
        srv_free_client(&s->client[i]);
    }
}

/* ---- what happens ---- */

static void step(struct srv *s)
{
    const oct_status st = oct_engine_step(s->fake.e, NULL);
    seed_clock_us += 500 + srv_draw(s, 3000);
    s->n_steps++;
    if (st != OCT_OK && !fake_fails(&s->options)) {
        srv_wrong(s, "a step failed: %s", oct_last_error());
    }
}

static void check(const struct srv *s)
{
    struct oct_api_counts n;
    struct oct_http_stats h;
    oct_api_get_counts(s->api, &n);
    oct_http_get_stats(s->http, &h);
    if (n.n_done + n.n_failed + n.n_left > n.n_accepted ||
        n.n_accepted > n.n_done + n.n_failed + n.n_left + oct_api_n_calls(s->api)) {
        srv_wrong(s, "%llu calls accepted; %llu done, %llu failed, %llu left, %zu not ended",
                  (unsigned long long)n.n_accepted, (unsigned long long)n.n_done,
                  (unsigned long long)n.n_failed, (unsigned long long)n.n_left,
                  oct_api_n_calls(s->api));
    }
    if (h.n_exchanges < 0 || h.n_connections < 0 || h.n_exchanges > SRV_MAX_CLIENTS) {
        srv_wrong(s, "%d exchanges on %d connections", h.n_exchanges, h.n_connections);
    }
}

static void drain(struct srv *s)
{
    if (s->verbose) {
        printf("%8lld drain\n", (long long)seed_clock_us);
    }
    s->is_draining = true;
    oct_api_drain(s->api);
    oct_http_close_listeners(s->http);
}

static void end_calls(struct srv *s)
{
    if (s->verbose) {
        printf("%8lld the calls that run are ended\n", (long long)seed_clock_us);
    }
    oct_api_end_calls(s->api, OCT_E_CANCELLED, "the server stops");
}

static void one_event(struct srv *s)
{
    const uint32_t kind = srv_draw(s, 1000);
    if (kind < 80) {
        srv_connect(s);
    } else if (kind < 400 && s->n_clients > 0) {
        srv_act(s, (int)srv_draw(s, (uint32_t)s->n_clients));
    } else if (kind < 650) {
        turn(s);
    } else if (kind < 780) {
        (void)srv_work();
    } else if (kind < 985) {
        step(s);
    } else if (kind < 994) {
        seed_clock_us += srv_draw(s, 200000);
    } else if (kind < 997) {
        seed_clock_us += srv_draw(s, 45000000); /* beyond most deadlines */
    } else if (kind < 998 && srv_chance(s, 20)) {
        s->is_draining ? end_calls(s) : drain(s);
    }
    check(s);
}

static bool all_over(const struct srv *s)
{
    for (int i = 0; i < s->n_clients; i++) {
        if (!s->client[i].is_over) {
            return false;
        }
    }
    return true;
}

static void finish(struct srv *s)
{
    for (int i = 0; !all_over(s); i++) {
        for (int k = 0; k < s->n_clients; k++) {
            srv_hurry(s, &s->client[k]);
        }
        while (srv_work()) {
        }
        step(s);
        turn(s);
        check(s);
        if (i > 50000) {
            srv_wrong(s, "no end: %zu calls, %zu jobs", oct_api_n_calls(s->api), srv_n_jobs());
        }
    }
    /* What was cancelled goes with the next steps; connections that nobody reads any more with
     * their deadline. Nothing else is to be done. */
    for (int i = 0; i < 6; i++) {
        while (srv_work()) {
        }
        step(s);
        turn(s);
        seed_clock_us += i == 3 ? 31000000 : 0;
    }
}

static void check_rest(struct srv *s)
{
    struct oct_api_counts n;
    struct oct_http_stats h;
    struct oct_engine_stats e = {.size = sizeof e};
    oct_api_get_counts(s->api, &n);
    oct_http_get_stats(s->http, &h);
    oct_engine_get_stats(s->fake.e, &e);
    if (oct_api_n_calls(s->api) != 0 || h.n_exchanges != 0 || h.out_bytes != 0 ||
        srv_n_jobs() != 0) {
        srv_wrong(s, "at rest: %zu calls, %d exchanges, %zu bytes that wait, %zu jobs",
                  oct_api_n_calls(s->api), h.n_exchanges, h.out_bytes, srv_n_jobs());
    }
    if (e.n_running != 0 || e.n_waiting != 0 || e.n_pages_used != 0) {
        srv_wrong(s, "at rest: %d requests run, %d wait, %d pages are used", e.n_running,
                  e.n_waiting, e.n_pages_used);
    }
    if (n.n_accepted != n.n_done + n.n_failed + n.n_left || n.n_done < s->n_full - s->n_full_late) {
        srv_wrong(s, "%llu accepted; %llu done, %llu failed, %llu left; clients saw %llu whole",
                  (unsigned long long)n.n_accepted, (unsigned long long)n.n_done,
                  (unsigned long long)n.n_failed, (unsigned long long)n.n_left,
                  (unsigned long long)s->n_full);
    }
}

/* ---- seeds ---- */

static struct totals {
    uint64_t full, errors, left, cut, turns, steps;
} all;

static void run(uint64_t seed, bool verbose)
{
    static struct srv world;
    struct srv *s = &world;
    memset(s, 0, sizeof *s);
    s->chance.seed = seed;
    s->chance.stream = 1;
    s->verbose = verbose;
    seed_clock_us = 1000000;
    open_world(s);
    if (verbose) {
        printf("seed %llu: %d pages, %d seqs, %d rows, %d tokens, %d clients%s%s\n",
               (unsigned long long)seed, s->options.n_pages, s->options.max_num_seqs,
               s->options.max_num_batched_tokens, s->options.max_model_len, s->n_planned,
               s->few_connections ? ", few connections" : "",
               s->small_queue ? ", small queue" : "");
    }
    const int n_events = 100 + (int)srv_draw(s, 1500);
    for (int i = 0; i < n_events; i++) {
        one_event(s);
    }
    if (!srv_chance(s, 10)) { /* else it is closed in the middle of everything */
        finish(s);
        check_rest(s);
    }
    close_world(s);
    all.full += s->n_full;
    all.errors += s->n_errors;
    all.left += s->n_left;
    all.cut += s->n_cut;
    all.turns += s->n_turns;
    all.steps += s->n_steps;
}

static void report(uint64_t n)
{
    const struct totals t = all;
    printf("%llu seeds, nothing wrong: %llu whole answers, %llu errors told, %llu clients left, "
           "%llu cut because they did not read; %llu turns, %llu steps\n",
           (unsigned long long)n, (unsigned long long)t.full, (unsigned long long)t.errors,
           (unsigned long long)t.left, (unsigned long long)t.cut, (unsigned long long)t.turns,
           (unsigned long long)t.steps);
}

int main(int argc, char **argv)
{
    const struct seed_program p = {
        .name = "test_sim_server",
        .about = "Runs the server through so many simulated lives; ends with 1 at the first that "
                 "goes wrong.",
        .n_seeds = SIM_SEEDS,
        .run = run,
        .report = report,
    };
    json_object_seed(1);
    return seed_main(&p, argc, argv);
}
