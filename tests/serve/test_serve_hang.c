/* SPDX-License-Identifier: Apache-2.0
 *
 * octavo serve on a device that hangs (builds with the fault plan): every client is told once,
 * /health says it, and the process ends in time although a thread never comes out of the device.
 * And on one that is only slow, which is no failure. */
#include "serve/server.h"
#include "serve/spawn.h"
#include "support/client.h"
#include "support/tiny.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

enum { PATH_BYTES = 512, N_CLIENTS = 12, HANG_MS = 600 };

static char *dir, model[PATH_BYTES];

static void write_model(void)
{
    if (!OCT_FAULTS) {
        cr_skip_test("the fault plan is in debug builds only");
    }
    struct oct_tiny t = oct_tiny_default(OCT_ARCH_LLAMA);
    t.max_positions = 4096;
    dir = oct_test_make_dir();
    oct_tiny_write_gguf(&t, dir, "tiny");
    (void)snprintf(model, sizeof model, "%s/tiny.gguf", dir);
}

static void remove_model(void)
{
    if (dir) {
        oct_test_remove_dir(dir);
    }
}

TestSuite(serve_hang, .init = write_model, .fini = remove_model, .timeout = 240);

/* The `op`-th op of the device, once it serves, is as `how` says. Four requests run, the rest wait;
 * /health is stuck after a quarter of a second. */
static void start(struct server *s, int op, const char *how, const char *const *more)
{
    char plan[64];
    (void)snprintf(plan, sizeof plan, "OCT_FAULT=dev_op@%d=%s", op, how);
    const char *const env[] = {plan, NULL};
    const char *args[16] = {model, "--max-num-seqs", "4", "--watchdog-timeout", "0.25"};
    for (int i = 0; more[i]; i++) {
        args[5 + i] = more[i];
    }
    server_start(s, args, env, NULL);
    server_ready(s);
}

/* ---- clients: every other one streams ---- */

struct crowd {
    struct client *k;
    struct client_conn *conns[N_CLIENTS];
    struct oct_buf requests[2]; /* whole, streamed */
    int n_whole, n_error;
    int64_t moved_ms; /* when the last token came, or they were sent */
    char wrong[512];
};

static int times(const char *text, const char *what)
{
    int n = 0;
    for (const char *p = text; (p = strstr(p, what)); p++) {
        n++;
    }
    return n;
}

static void on_end(void *user, struct client_conn *c, enum client_end end)
{
    struct crowd *w = user;
    const char *body = c->body.data ? c->body.data : "";
    const bool streamed = c->tag % 2 == 1, is_done = strstr(body, "data: [DONE]") != NULL;
    const int n_errors = times(body, "\"error\":{\"message\":\"the device hangs: step ");
    if (end == CLIENT_ANSWERED && n_errors == 1 &&
        (c->status == 503 ||
         (c->status == 200 && streamed && !strstr(body, "finish_reason\":\"")))) {
        w->n_error++;
    } else if (end == CLIENT_ANSWERED && n_errors == 0 && c->status == 200 &&
               (is_done || !streamed) && !strstr(body, "\"error\"")) {
        w->n_whole++;
    } else {
        (void)snprintf(w->wrong, sizeof w->wrong, "%s, status %d, %.400s", client_end_names[end],
                       c->status, body);
    }
}

static void on_body(void *user, struct client_conn *c)
{
    struct crowd *w = user;
    if (!strstr(c->body.data, "\"error\"")) {
        w->moved_ms = server_now_ms();
    }
}

static void crowd_start(struct crowd *w, const struct server *s, int max_tokens)
{
    const struct client_callbacks calls = {.user = w, .on_end = on_end, .on_body = on_body};
    *w = (struct crowd){.k = client_create("127.0.0.1", s->port, &calls),
                        .moved_ms = server_now_ms()};
    for (int i = 0; i < 2; i++) {
        char body[256];
        const int len = snprintf(body, sizeof body,
                                 "{\"prompt\": \"one two three\", \"max_tokens\": %d, "
                                 "\"ignore_eos\": true, \"stream\": %s}",
                                 max_tokens, i == 1 ? "true" : "false");
        client_post(&w->requests[i], "/v1/completions", body, (size_t)len);
    }
    for (int i = 0; i < N_CLIENTS; i++) {
        const struct oct_buf *q = &w->requests[i % 2];
        w->conns[i] = client_conn_create(w->k, 0);
        w->conns[i]->tag = i;
        client_send(w->conns[i], q->data, q->len, 60 * 1000 * 1000);
    }
}

/* Until all have ended; what /health said meanwhile. */
static void crowd_finish(struct crowd *w, struct server *s, bool *was_stuck)
{
    struct oct_buf b;
    *was_stuck = false;
    while (client_n_busy(w->k) > 0) {
        client_turn(w->k, 10);
        if (!*was_stuck && server_ask(s, "/health", "", NULL, &b) == 503) {
            *was_stuck = strstr(b.data, "\"stuck\"") != NULL;
        }
        if (!*was_stuck) {
            oct_buf_free(&b);
        }
    }
    if (*was_stuck) {
        oct_buf_free(&b);
    }
    for (int i = 0; i < N_CLIENTS; i++) {
        client_conn_destroy(w->conns[i]);
    }
    client_destroy(w->k);
    oct_buf_free(&w->requests[0]);
    oct_buf_free(&w->requests[1]);
    cr_assert_eq(w->n_whole + w->n_error, N_CLIENTS, "%d whole, %d errors; one was told: %s",
                 w->n_whole, w->n_error, w->wrong);
}

/* ---- */

static void health_is_dead(struct server *s)
{
    struct oct_buf b;
    cr_assert_eq(server_ask(s, "/health", "", NULL, &b), 503, "%s", s->err.data);
    cr_assert(strstr(b.data, "\"dead\"") && strstr(b.data, "the device hangs: step "), "%s",
              b.data);
    oct_buf_free(&b);
}

Test(serve_hang, every_client_is_told_and_the_process_ends_in_time)
{
    /* In the first prompt; while some decode; when some have had their answer. */
    static const struct {
        int op, max_tokens;
        bool some_end;
    } rows[] = {{1, 4000, false}, {700, 4000, false}, {500, 12, true}};
    static const char *const more[] = {"--hang-timeout", "0.6", NULL};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct server s;
        struct crowd w;
        bool was_stuck;
        start(&s, rows[i].op, "hang", more);
        crowd_start(&w, &s, rows[i].max_tokens);
        crowd_finish(&w, &s, &was_stuck);
        cr_assert(was_stuck, "op %d: %s", rows[i].op, s.err.data);
        cr_assert_eq(w.n_whole > 0, rows[i].some_end, "op %d: %d whole", rows[i].op, w.n_whole);
        cr_assert_geq(w.n_error, 4);
        health_is_dead(&s);
        cr_assert_eq(server_wait(&s), 4, "%s", s.err.data);
        const int64_t took_ms = server_now_ms() - w.moved_ms;
        /* deadline + 2 s; a sanitizer on a busy machine gets two more */
        cr_assert_leq(took_ms, HANG_MS + 2000 + 2000, "op %d: %lld ms: %s", rows[i].op,
                      (long long)took_ms, s.err.data);
        cr_assert(strstr(s.err.data, "the device has failed: the device hangs: step ") &&
                      strstr(s.err.data, "; launched last: "),
                  "%s", s.err.data);
        cr_assert(!strstr(s.err.data, "Sanitizer"), "%s", s.err.data);
        server_free(&s);
    }
}

Test(serve_hang, a_server_that_stays_says_so_and_can_be_stopped)
{
    static const char *const more[] = {"--hang-timeout", "0.6", "--no-exit-on-device-failure",
                                       NULL};
    struct server s;
    struct crowd w;
    struct oct_buf b;
    bool was_stuck;
    start(&s, 300, "hang", more);
    crowd_start(&w, &s, 4000);
    crowd_finish(&w, &s, &was_stuck);
    cr_assert_eq(w.n_error, N_CLIENTS);
    cr_assert_eq(server_ask(&s, "/v1/completions", "", "{\"prompt\": \"one\"}", &b), 503);
    cr_assert(strstr(b.data, "the engine has failed"), "%s", b.data);
    oct_buf_free(&b);
    (void)server_expect(&s, "the device has failed: the device hangs");
    health_is_dead(&s);
    cr_assert_eq(server_ask(&s, "/ready", "", NULL, NULL), 503);
    const int64_t begin_ms = server_now_ms();
    server_kill(&s, SIGTERM);
    cr_assert_eq(server_wait(&s), 0, "%s", s.err.data);
    cr_assert_leq(server_now_ms() - begin_ms, 4000, "%s", s.err.data);
    server_free(&s);
}

/* On the CPU nothing counts as hanging unless somebody said after how long it does. */
Test(serve_hang, a_slow_step_of_the_cpu_is_no_failure)
{
    static const char *const more[] = {NULL};
    struct server s;
    struct crowd w;
    bool was_stuck;
    start(&s, 700, "1200ms", more);
    crowd_start(&w, &s, 60);
    crowd_finish(&w, &s, &was_stuck);
    cr_assert(was_stuck, "%s", s.err.data);
    cr_assert_eq(w.n_whole, N_CLIENTS);
    cr_assert_eq(server_ask(&s, "/health", "", NULL, NULL), 200);
    server_stop(&s);
}
