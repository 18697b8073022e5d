/* SPDX-License-Identifier: Apache-2.0
 *
 * octavo serve under signals and faults: whatever happens, every client has the last word of its
 * answer, and the process ends in time with the right exit code. */
#include "serve/server.h"
#include "serve/spawn.h"
#include "support/client.h"
#include "support/tiny.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PATH_BYTES = 512, MAX_CLIENTS = 64 };

static char *dir, model[PATH_BYTES];

static void write_model(void)
{
    struct oct_tiny t = oct_tiny_default(OCT_ARCH_QWEN2);
    t.max_positions = 8192;
    dir = oct_test_make_dir();
    oct_tiny_write_gguf(&t, dir, "tiny");
    (void)snprintf(model, sizeof model, "%s/tiny.gguf", dir);
}

static void remove_model(void)
{
    oct_test_remove_dir(dir);
}

TestSuite(serve_signals, .init = write_model, .fini = remove_model, .timeout = 240);

/* ---- many clients, and how each of them ended ---- */

struct crowd {
    struct client *k;
    struct client_conn *conns[MAX_CLIENTS];
    struct oct_buf requests[2]; /* whole, streamed */
    int n, n_whole, n_error, n_refused, n_lost;
    int n_begun; /* streams that have a token */
    char lost[256];
};

/* The last word: a whole answer, an error with a reason, or a stream that ends with one of them. */
static void on_end(void *user, struct client_conn *c, enum client_end end)
{
    struct crowd *w = user;
    const char *body = c->body.data ? c->body.data : "";
    const bool streamed = c->tag % 2 == 1, done = strstr(body, "data: [DONE]") != NULL;
    const bool error = strstr(body, "\"error\":{\"message\":\"") != NULL;
    if (end == CLIENT_ANSWERED && c->status == 503 && error) {
        w->n_refused++;
    } else if (end == CLIENT_ANSWERED && c->status == 200 && streamed && error) {
        w->n_error++;
    } else if (end == CLIENT_ANSWERED && c->status == 200 && (streamed ? done : !error)) {
        w->n_whole++;
    } else {
        w->n_lost++;
        (void)snprintf(w->lost, sizeof w->lost, "%s, status %d, %.150s", client_end_names[end],
                       c->status, body);
    }
}

static void on_body(void *user, struct client_conn *c)
{
    struct crowd *w = user;
    if (c->user == NULL && c->tag % 2 == 1) {
        c->user = c; /* told */
        w->n_begun++;
    }
}

/* n requests for max_tokens tokens each, every other one streamed. */
static void crowd_start(struct crowd *w, struct server *s, int n, int max_tokens)
{
    const struct client_callbacks calls = {.user = w, .on_end = on_end, .on_body = on_body};
    *w = (struct crowd){.n = n};
    w->k = client_create("127.0.0.1", s->port, &calls);
    for (int i = 0; i < 2; i++) {
        char body[256];
        const int len = snprintf(body, sizeof body,
                                 "{\"prompt\": \"one two three\", \"max_tokens\": %d, "
                                 "\"ignore_eos\": true, \"stream\": %s}",
                                 max_tokens, i == 1 ? "true" : "false");
        client_post(&w->requests[i], "/v1/completions", body, (size_t)len);
    }
    for (int i = 0; i < n; i++) {
        const struct oct_buf *q = &w->requests[i % 2];
        w->conns[i] = client_conn_create(w->k, 0);
        w->conns[i]->tag = i;
        client_send(w->conns[i], q->data, q->len, 60 * 1000 * 1000);
    }
}

static void crowd_wait_begun(struct crowd *w, int n)
{
    const int64_t give_up = server_now_ms() + SERVER_PATIENCE_MS;
    while (w->n_begun < n) {
        client_turn(w->k, 10);
        cr_assert_lt(server_now_ms(), give_up, "%d of %d began", w->n_begun, n);
        cr_assert_eq(w->n_lost, 0, "%s", w->lost);
    }
}

static void crowd_finish(struct crowd *w)
{
    while (client_n_busy(w->k) > 0) {
        client_turn(w->k, 50);
    }
    for (int i = 0; i < w->n; i++) {
        client_conn_destroy(w->conns[i]);
    }
    client_destroy(w->k);
    oct_buf_free(&w->requests[0]);
    oct_buf_free(&w->requests[1]);
    cr_assert_eq(w->n_lost, 0, "%d of %d had no last word: %s", w->n_lost, w->n, w->lost);
    cr_assert_eq(w->n_whole + w->n_error + w->n_refused, w->n);
}

static void start(struct server *s, const char *const *env, const char *a, const char *b,
                  const char *c, const char *d)
{
    const char *const args[] = {
        model, "--kv-cache-bytes", "64MiB", "--max-model-len", "8192", a, b, c, d, NULL};
    server_start(s, args, env, NULL);
}

static bool has_faults(void)
{
    return OCT_FAULTS != 0;
}

/* ---- SIGTERM ---- */

Test(serve_signals, what_runs_may_finish_and_then_it_ends)
{
    struct server s;
    struct crowd w;
    start(&s, NULL, "--max-num-seqs", "64", "--shutdown-timeout", "60");
    server_ready(&s);
    crowd_start(&w, &s, MAX_CLIENTS, has_faults() ? 60 : 300);
    crowd_wait_begun(&w, MAX_CLIENTS / 2);
    server_kill(&s, SIGTERM);
    crowd_finish(&w);
    cr_assert_eq(w.n_whole, MAX_CLIENTS, "%d whole, %d errors, %d refused", w.n_whole, w.n_error,
                 w.n_refused);
    const int64_t done_ms = server_now_ms();
    cr_assert_eq(server_wait(&s), 0, "%s", s.err.data);
    cr_assert_lt(server_now_ms() - done_ms, 20000, "it waited for --shutdown-timeout");
    server_free(&s);
}

/* In the middle of it, again and again: those that cannot finish get an error that says why. */
Test(serve_signals, after_the_timeout_the_rest_gets_an_error)
{
    int64_t least_ms = INT64_MAX;
    for (int round = 0; round < 4; round++) {
        struct server s;
        struct crowd w;
        start(&s, NULL, "--max-num-seqs", "48", "--shutdown-timeout", "0.2");
        server_ready(&s);
        crowd_start(&w, &s, MAX_CLIENTS, 8000);
        crowd_wait_begun(&w, 1 + 7 * round);
        const int64_t begin_ms = server_now_ms();
        server_kill(&s, SIGTERM);
        crowd_finish(&w);
        cr_assert_eq(w.n_whole, 0);
        cr_assert_geq(w.n_error, 1 + 7 * round);
        cr_assert_eq(server_wait(&s), 0, "%s", s.err.data);
        const int64_t took_ms = server_now_ms() - begin_ms;
        least_ms = took_ms < least_ms ? took_ms : least_ms;
        server_free(&s);
    }
    /* drain + 1 s. A busy machine makes some rounds longer and none shorter. */
    cr_assert_lt(least_ms, has_faults() ? 5200 : 1200, "the quickest took %lld ms",
                 (long long)least_ms);
}

Test(serve_signals, a_second_signal_ends_them_at_once)
{
    struct server s;
    struct crowd w;
    start(&s, NULL, "--max-num-seqs", "32", "--shutdown-timeout", "600");
    server_ready(&s);
    crowd_start(&w, &s, 32, 8000);
    crowd_wait_begun(&w, 8);
    server_kill(&s, SIGINT);
    (void)server_expect(&s, "stopping");
    client_turn(w.k, 10);
    cr_assert_lt(w.n_whole + w.n_error, 32, "the first signal ended them");
    server_kill(&s, SIGTERM);
    crowd_finish(&w);
    cr_assert_geq(w.n_error, 8);
    cr_assert_eq(server_wait(&s), 0, "%s", s.err.data);
    cr_assert(strstr(s.err.data, "told twice"), "%s", s.err.data);
    server_free(&s);
}

Test(serve_signals, requests_that_have_not_begun_are_told_at_once)
{
    struct server s;
    struct crowd w;
    start(&s, NULL, "--max-num-seqs", "1", "--shutdown-timeout", "60");
    server_ready(&s);
    crowd_start(&w, &s, 16, has_faults() ? 3000 : 6000);
    crowd_wait_begun(&w, 1);
    /* The first is done, a streamed one runs, the others wait; these wait behind them. */
    struct crowd late;
    crowd_start(&late, &s, 8, 10);
    for (int i = 0; i < 20; i++) {
        client_turn(late.k, 5);
    }
    cr_assert_eq(late.n_begun, 0);
    server_kill(&s, SIGTERM);
    crowd_finish(&late);
    cr_assert_eq(late.n_refused, 8, "%d whole, %d errors, %d refused", late.n_whole, late.n_error,
                 late.n_refused);
    crowd_finish(&w);
    cr_assert_eq(server_wait(&s), 0, "%s", s.err.data);
    server_free(&s);
}

Test(serve_signals, while_it_drains_it_takes_nothing_new)
{
    struct server s;
    struct crowd w;
    struct oct_buf b;
    start(&s, NULL, "--max-num-seqs", "4", "--shutdown-timeout", "60");
    server_ready(&s);
    const int kept = server_connect(&s);
    crowd_start(&w, &s, 2, has_faults() ? 300 : 2000);
    crowd_wait_begun(&w, 1);
    server_kill(&s, SIGTERM);
    (void)server_expect(&s, "stopping");
    cr_assert_eq(server_connect(&s), -1, "it still listens");
    const int status = server_ask_on(kept, "/ready", "", NULL, &b);
    cr_assert(status == 503 || status == 0, "a connection from before was told %d", status);
    oct_buf_free(&b);
    crowd_finish(&w);
    cr_assert_eq(w.n_whole, 2);
    cr_assert_eq(server_wait(&s), 0, "%s", s.err.data);
    server_free(&s);
}

/* ---- kill -9 ---- */

Test(serve_signals, after_kill_9_the_same_command_serves_again)
{
    char socket_path[PATH_BYTES];
    (void)snprintf(socket_path, sizeof socket_path, "%s/s", dir);
    for (int round = 0; round < 3; round++) {
        struct server s;
        start(&s, NULL, "--uds", socket_path, NULL, NULL);
        (void)server_expect(&s, "requests at once");
        server_kill(&s, SIGKILL);
        cr_assert_eq(server_wait(&s), 1000 + SIGKILL);
        server_free(&s);
    }
    struct server s;
    char port[16];
    struct crowd w;
    (void)snprintf(port, sizeof port, "%u", server_fixed_port());
    start(&s, NULL, "--port", port, NULL, NULL);
    server_ready(&s);
    crowd_start(&w, &s, 8, 8000);
    crowd_wait_begun(&w, 2);
    server_kill(&s, SIGKILL);
    while (client_n_busy(w.k) > 0) { /* all see that the connection ended */
        client_turn(w.k, 50);
    }
    cr_assert_eq(w.n_lost, 8);
    cr_assert(strstr(w.lost, "cut") != NULL, "%s", w.lost);
    w.n_lost = 0;
    w.n_error = 8;
    crowd_finish(&w);
    cr_assert_eq(server_wait(&s), 1000 + SIGKILL);
    server_free(&s);
    start(&s, NULL, "--port", port, NULL, NULL);
    server_ready(&s);
    cr_assert_eq(server_ask(&s, "/ready", "", NULL, NULL), 200);
    server_stop(&s);
}

/* ---- a device that hangs or fails (builds with the fault plan) ---- */

static const char chat[] = "{\"prompt\": \"one\", \"max_tokens\": 8000, \"ignore_eos\": true}";

/* The number of ops a start takes is not ours to know: the k-th op of serving hangs or fails where
 * k is well past any warm-up. */
#define LATER "2000"

Test(serve_signals, a_device_that_hangs_is_seen_and_does_not_hold_up_the_end)
{
    if (!has_faults()) {
        cr_skip_test("the fault plan is in debug builds only");
    }
    static const char *const env[] = {"OCT_FAULT=dev_op@" LATER "=hang", NULL};
    struct server s;
    struct crowd w;
    struct oct_buf b;
    start(&s, env, "--watchdog-timeout", "0.5", "--shutdown-timeout", "0.5");
    server_ready(&s);
    cr_assert_eq(server_ask(&s, "/health", "", NULL, NULL), 200);
    crowd_start(&w, &s, 8, 8000);
    const int64_t give_up = server_now_ms() + SERVER_PATIENCE_MS;
    while (!strstr(s.err.data, "no step finishes")) {
        client_turn(w.k, 5);
        cr_assert_eq(server_poll(&s), -1, "%s", s.err.data);
        cr_assert_lt(server_now_ms(), give_up, "%s", s.err.data);
    }
    cr_assert_eq(server_ask(&s, "/health", "", NULL, &b), 503);
    cr_assert(strstr(b.data, "\"stuck\""), "%s", b.data);
    oct_buf_free(&b);
    cr_assert_eq(server_ask(&s, "/ready", "", NULL, NULL), 503);
    const int64_t begin_ms = server_now_ms();
    server_kill(&s, SIGTERM);
    crowd_finish(&w);
    cr_assert_eq(w.n_whole, 0);
    cr_assert_eq(server_wait(&s), 0, "%s", s.err.data);
    const int64_t took_ms = server_now_ms() - begin_ms;
    /* 0.5 s for requests, 0.7 and 0.2 for what hangs; 10 would be for a device that comes back */
    cr_assert_lt(took_ms, 8000, "%lld ms: %s", (long long)took_ms, s.err.data);
    server_free(&s);
}

Test(serve_signals, a_device_that_fails_is_told_to_all_and_the_process_ends_with_4)
{
    if (!has_faults()) {
        cr_skip_test("the fault plan is in debug builds only");
    }
    static const char *const env[] = {"OCT_FAULT=dev_op@" LATER "+", NULL};
    struct server s;
    struct crowd w;
    start(&s, env, NULL, NULL, NULL, NULL);
    server_ready(&s);
    crowd_start(&w, &s, 16, 8000);
    const int64_t begin_ms = server_now_ms();
    crowd_finish(&w);
    cr_assert_eq(w.n_whole, 0);
    cr_assert_eq(server_wait(&s), 4, "%s", s.err.data);
    cr_assert(strstr(s.err.data, "injected fault"), "%s", s.err.data);
    cr_assert_lt(server_now_ms() - begin_ms, 10000);
    server_free(&s);

    struct oct_buf b;
    start(&s, env, "--no-exit-on-device-failure", NULL, NULL, NULL);
    server_ready(&s);
    cr_assert_eq(server_ask(&s, "/v1/completions", "", chat, &b), 503, "%s", b.data);
    oct_buf_free(&b);
    cr_assert_eq(server_ask(&s, "/health", "", NULL, &b), 503);
    cr_assert(strstr(b.data, "\"dead\"") && strstr(b.data, "injected fault"), "%s", b.data);
    oct_buf_free(&b);
    cr_assert_eq(server_ask(&s, "/ready", "", NULL, NULL), 503);
    cr_assert_eq(server_ask(&s, "/v1/completions", "", chat, NULL), 503);
    server_stop(&s);
}

Test(serve_signals, a_model_that_does_not_load_leaves_health_ready_and_the_end_working)
{
    if (!has_faults()) {
        cr_skip_test("the fault plan is in debug builds only");
    }
    static const char *const env[] = {"OCT_FAULT=read@20=hang", NULL};
    struct server s;
    struct oct_buf b;
    int status = 0;
    char port[16];
    /* where it listens it says when it is ready, which it never is */
    const uint16_t number = server_fixed_port();
    (void)snprintf(port, sizeof port, "%u", number);
    start(&s, env, "--port", port, NULL, NULL);
    s.port = number;
    const int64_t give_up = server_now_ms() + SERVER_PATIENCE_MS;
    while (status == 0 && server_now_ms() < give_up) {
        (void)usleep(25000);
        status = server_ask(&s, "/health", "", NULL, NULL);
    }
    cr_assert_eq(status, 200, "%s", s.err.data);
    cr_assert_eq(server_ask(&s, "/ready", "", NULL, &b), 503);
    cr_assert(strstr(b.data, "\"loading\"") && strstr(b.data, "\"percent\""), "%s", b.data);
    oct_buf_free(&b);
    cr_assert_eq(server_ask(&s, "/v1/completions", "", chat, NULL), 503);
    server_stop(&s);
}
