/* SPDX-License-Identifier: Apache-2.0
 *
 * bench_serve_run.c - one point of a measurement. Open loop: requests arrive when the plan says,
 * whether or not others have been answered, and latencies count from the plan, so that a server (or
 * client) that stalls is not flattered. Closed loop: a request is planned when its predecessor has
 * ended. */
#include "serve/bench_serve.h"
#include "serve/interrupt.h"
#include "serve/progress.h"

#include "base/clock.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum {
    BEAT_US = 10000,
    N_LAGS = 4096, /* the last beats, for the 99th percentile */
    DRAW_US = 100000,
    NOTE_US = 10 * 1000000, /* where there is no terminal */
    SPARE_FILES = 32,
};

struct run {
    struct oct_bench_point *p;
    const struct oct_load *load;
    struct event_base *base;
    struct oct_client *client;
    struct event *fill, *arrival, *beat;
    int64_t *arrivals_us; /* [n] from the start; NULL: all at once */
    size_t n_due, n_started, n_ended;
    size_t in_flight;
    int64_t n_tokens; /* events with text so far, of ended requests */
    struct oct_buf body;
    int64_t beat_us, drawn_us;
    float lags_ms[N_LAGS];
    size_t n_lags;
    bool has_bar, failed;
};

/* ---- progress ---- */

static size_t n_done(const struct run *r)
{
    size_t n = 0;
    for (size_t i = 0; i < r->n_started; i++) {
        n += r->p->requests[i].ended && r->p->requests[i].call.end == OCT_CALL_DONE;
    }
    return n;
}

static void draw(struct run *r, int64_t now)
{
    if (now - r->drawn_us < (r->has_bar ? DRAW_US : NOTE_US)) {
        return;
    }
    r->drawn_us = now;
    const double s = (double)(now - r->p->start_us) / 1e6;
    const size_t bad = r->n_ended - n_done(r);
    char text[160], failures[48] = "";
    if (bad > 0) {
        (void)snprintf(failures, sizeof failures, ", %zu not answered", bad);
    }
    (void)snprintf(text, sizeof text, "%s: %zu of %zu, %.1f req/s, %zu in flight%s", r->p->title,
                   r->n_ended, r->p->n, s > 0 ? (double)r->n_ended / s : 0, r->in_flight, failures);
    if (r->has_bar) {
        oct_progress_draw_bar((double)r->n_ended / (double)r->p->n, text);
    } else {
        oct_note("octavo: %s", text);
    }
}

/* ---- requests ---- */

static void begin(struct run *r)
{
    struct oct_bench_point *p = r->p;
    struct oct_bench_request *q = &p->requests[r->n_started];
    const int64_t now = oct_clock_us();
    q->planned_us = r->arrivals_us       ? p->start_us + r->arrivals_us[r->n_started]
                    : p->max_concurrency ? now
                                         : p->start_us;
    q->start_us = now;
    q->call.timeout_us = p->timeout_us;
    q->call.keep_text = p->keep_text;
    if (oct_load_body(r->load, p->round, r->n_started, &r->body) != OCT_OK) {
        r->failed = true;
        (void)event_base_loopbreak(r->base);
        return;
    }
    r->n_started++;
    r->in_flight++;
    oct_client_start(r->client, p->endpoint, r->body.data, r->body.len, &q->call);
}

/* Starts what is due and may run. */
static void on_fill(evutil_socket_t fd, short what, void *arg)
{
    struct run *r = arg;
    const size_t most = r->p->max_concurrency ? (size_t)r->p->max_concurrency : SIZE_MAX;
    (void)fd;
    (void)what;
    while (!r->p->stopped && !r->failed && r->n_started < r->n_due && r->in_flight < most) {
        begin(r);
    }
    const size_t want = r->p->stopped ? r->n_started : r->p->n;
    if (r->n_ended == want) {
        (void)event_base_loopbreak(r->base);
    }
}

/* Called from inside the client, perhaps from inside oct_client_start: the next request is started
 * from the loop, or a server that refuses connections would make this a recursion. */
static void on_end(struct oct_call *call)
{
    struct run *r = call->user;
    struct oct_bench_request *q = (struct oct_bench_request *)(void *)call;
    q->ended = true;
    r->n_ended++;
    r->in_flight--;
    event_active(r->fill, EV_TIMEOUT, 0);
}

static void on_arrival(evutil_socket_t fd, short what, void *arg)
{
    struct run *r = arg;
    const int64_t now = oct_clock_us() - r->p->start_us;
    while (r->n_due < r->p->n && r->arrivals_us[r->n_due] <= now) {
        r->n_due++;
    }
    if (r->n_due < r->p->n) {
        const int64_t in_us = r->arrivals_us[r->n_due] - now;
        const struct timeval t = {.tv_sec = in_us / 1000000, .tv_usec = in_us % 1000000};
        (void)event_add(r->arrival, &t);
    }
    on_fill(fd, what, r);
}

static void on_beat(evutil_socket_t fd, short what, void *arg)
{
    struct run *r = arg;
    const struct timeval t = {.tv_usec = BEAT_US};
    const int64_t now = oct_clock_us();
    (void)fd;
    (void)what;
    const double late_ms = (double)(now - r->beat_us) / 1e3;
    r->beat_us = now + BEAT_US;
    if (late_ms > 0) {
        r->lags_ms[r->n_lags % N_LAGS] = (float)late_ms;
        r->n_lags++;
        r->p->lag_max_ms = late_ms > r->p->lag_max_ms ? late_ms : r->p->lag_max_ms;
    }
    draw(r, now);
    if (oct_interrupt_take()) {
        r->p->stopped = true;
        oct_client_stop(r->client);
        event_active(r->fill, EV_TIMEOUT, 0);
    }
    (void)event_add(r->beat, &t);
}

/* ---- a point ---- */

/* As many files as connections, where the system lets us. */
static void raise_file_limit(size_t n)
{
    struct rlimit l;
    if (getrlimit(RLIMIT_NOFILE, &l) == 0 && l.rlim_cur < n + SPARE_FILES) {
        l.rlim_cur = n + SPARE_FILES < l.rlim_max ? n + SPARE_FILES : l.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &l);
    }
}

static double cpu_seconds(void)
{
    struct rusage u;
    (void)getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

/* A loop whose timers are good to the microsecond: epoll alone would round to milliseconds. */
static struct event_base *new_base(void)
{
    struct event_config *config = event_config_new();
    struct event_base *base = NULL;
    if (config) {
        (void)event_config_set_flag(config, EVENT_BASE_FLAG_PRECISE_TIMER);
        base = event_base_new_with_config(config);
        event_config_free(config);
    }
    return base;
}

static oct_status prepare(struct run *r, const struct oct_target *target, const char *api_key)
{
    struct oct_bench_point *p = r->p;
    r->base = new_base();
    if (!r->base) {
        return oct_no_memory("the event loop", 1);
    }
    OCT_TRY(oct_client_create(r->base, target, api_key, &r->client));
    r->fill = event_new(r->base, -1, 0, on_fill, r);
    r->arrival = evtimer_new(r->base, on_arrival, r);
    r->beat = evtimer_new(r->base, on_beat, r);
    p->requests = oct_calloc(p->n, sizeof *p->requests);
    if (!r->fill || !r->arrival || !r->beat || !p->requests) {
        return oct_no_memory("the requests", p->n * sizeof *p->requests);
    }
    for (size_t i = 0; i < p->n; i++) {
        p->requests[i].call.on_end = on_end;
        p->requests[i].call.user = r;
    }
    if (p->rate > 0) {
        r->arrivals_us = oct_calloc(p->n, sizeof *r->arrivals_us);
        if (!r->arrivals_us) {
            return oct_no_memory("the arrivals", p->n * sizeof *r->arrivals_us);
        }
        oct_load_arrivals(r->load->seed, p->rate, p->burstiness, p->n, r->arrivals_us);
    } else {
        r->n_due = p->n;
    }
    raise_file_limit(p->max_concurrency && (size_t)p->max_concurrency < p->n
                         ? (size_t)p->max_concurrency
                         : p->n);
    return OCT_OK;
}

static int by_value(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static void finish(struct run *r, double cpu_s)
{
    struct oct_bench_point *p = r->p;
    int64_t last = p->start_us;
    for (size_t i = 0; i < r->n_started; i++) {
        const int64_t end = p->requests[i].call.end_us;
        last = end > last ? end : last;
    }
    p->duration_us = last - p->start_us > 0 ? last - p->start_us : 1;
    p->cpu_share = cpu_s / ((double)p->duration_us / 1e6);
    const size_t n = r->n_lags < N_LAGS ? r->n_lags : N_LAGS;
    qsort(r->lags_ms, n, sizeof *r->lags_ms, by_value);
    p->lag_p99_ms = n ? (double)r->lags_ms[n * 99 / 100] : 0;
    p->connections = *oct_client_get_stats(r->client);
    if (p->oracle) {
        for (size_t i = 0; i < r->n_started; i++) {
            const struct oct_call *call = &p->requests[i].call;
            const char *text = call->text.data ? call->text.data : "";
            p->requests[i].differs = call->end == OCT_CALL_DONE && strcmp(text, p->oracle[i]) != 0;
        }
    }
}

static void free_event(struct event *e)
{
    if (e) {
        event_free(e);
    }
}

oct_status oct_bench_point_run(struct oct_bench_point *p, const struct oct_load *load,
                               const struct oct_target *target, const char *api_key)
{
    struct run *r = oct_calloc(1, sizeof *r);
    oct_status st;
    if (!r) {
        return oct_no_memory("a measurement", sizeof *r);
    }
    r->p = p;
    r->load = load;
    r->has_bar = oct_terminal_has_style(2);
    OCT_TRY_GOTO(prepare(r, target, api_key), st, done);
    const double cpu = cpu_seconds();
    p->start_us = r->beat_us = r->drawn_us = oct_clock_us();
    event_active(r->arrivals_us ? r->arrival : r->fill, EV_TIMEOUT, 0);
    on_beat(-1, 0, r);
    if (event_base_dispatch(r->base) < 0) {
        st = OCT_FAIL(OCT_E_IO, "the event loop failed");
    } else if (r->failed) {
        st = OCT_E_MEM; /* its sentence is there */
    } else {
        finish(r, cpu_seconds() - cpu);
    }
done:
    if (r->has_bar) {
        oct_progress_erase_bar();
    }
    oct_client_destroy(r->client);
    free_event(r->fill);
    free_event(r->arrival);
    free_event(r->beat);
    if (r->base) {
        event_base_free(r->base);
    }
    oct_free(r->arrivals_us);
    oct_buf_free(&r->body);
    oct_free(r);
    return st;
}

void oct_bench_point_deinit(struct oct_bench_point *p)
{
    for (size_t i = 0; p->requests && i < p->n; i++) {
        oct_call_deinit(&p->requests[i].call);
    }
    oct_free(p->requests);
    p->requests = NULL;
}

/* ---- one request ---- */

static void on_answer(struct oct_call *call)
{
    (void)event_base_loopexit(call->user, NULL);
}

oct_status oct_bench_ask(const struct oct_target *target, const char *api_key, const char *path,
                         const struct oct_buf *body, int64_t timeout_us, struct oct_call *out)
{
    struct oct_client *client = NULL;
    oct_status st;
    *out = (struct oct_call){.keep_text = true, .timeout_us = timeout_us, .on_end = on_answer};
    struct event_base *base = new_base();
    if (!base) {
        return oct_no_memory("the event loop", 1);
    }
    out->user = base;
    OCT_TRY_GOTO(oct_client_create(base, target, api_key, &client), st, done);
    oct_client_start(client, path, body ? body->data : NULL, body ? body->len : 0, out);
    if (event_base_dispatch(base) < 0) {
        st = OCT_FAIL(OCT_E_IO, "the event loop failed");
    }
done:
    oct_client_destroy(client);
    event_base_free(base);
    return st;
}
