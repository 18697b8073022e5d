/* SPDX-License-Identifier: Apache-2.0
 *
 * leave.c - rows about requests that do not come to their end.
 *
 *   leave    n= clients ask for tokens= each and leave: streaming ones after the first event each,
 *            others after after_ms=. What the server makes for them is read from its own counters.
 *   prefill  rounds= in which one client leaves while its long prompt is read, beside others= that
 *            stream
 *   stop     n= in flight, every other one streaming, when SIGTERM goes to pid=; which of them are
 *            told how they ended */
#include "proof.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

enum { PATIENCE_US = 40000000 };

struct flight {
    struct tally tally;
    int n_tokens;
    size_t n_first;                    /* that got the first piece of their answer */
    uint64_t n_full, n_told, n_silent; /* whole; ended by an error that says so; neither */
};

static void on_body(void *user, struct client_conn *c)
{
    struct flight *f = user;
    if (c->tag) { /* the first piece of a stream */
        c->tag = 0;
        f->n_first++;
    }
}

static void on_end(void *user, struct client_conn *c, enum client_end how)
{
    struct flight *f = user;
    const bool stream = c->user != NULL;
    bool full = false, told = false;
    if (how == CLIENT_ANSWERED && c->status == 200) {
        if (stream) {
            full = strstr(c->body.data ? c->body.data : "", "data: [DONE]") &&
                   !strstr(c->body.data, "\"error\"");
            told = !full && stream_is_over(c->body.data);
        } else {
            char *text = completion_text(c->body.data, c->body.len, f->n_tokens);
            full = text != NULL;
            free(text);
        }
    } else if (how == CLIENT_ANSWERED) {
        told = true;
    }
    tally_add(&f->tally, c, how, full);
    *(full ? &f->n_full : told ? &f->n_told : &f->n_silent) += 1;
}

static struct client_conn *start(struct flight *f, struct client *k, const struct oct_buf *request,
                                 bool stream)
{
    struct client_conn *c = client_conn_create(k, 0);
    c->user = stream ? f : NULL;
    c->tag = stream;
    f->tally.n_sent++;
    client_send(c, request->data, request->len, arg_number("patience_ms", 40000) * 1000);
    return c;
}

static void turn_until(struct client *k, int64_t until_us)
{
    for (int64_t now = client_now_us(); now < until_us; now = client_now_us()) {
        client_turn(k, (int)((until_us - now + 999) / 1000));
    }
}

json_t *row_leave(const struct target *to)
{
    const int64_t n = arg_number("n", 8), after_us = arg_number("after_ms", 5) * 1000;
    const bool stream = arg_number("stream", 0) != 0;
    struct flight f = {.n_tokens = (int)arg_number("tokens", 1500)};
    const struct client_callbacks cb = {.user = &f, .on_end = on_end, .on_body = on_body};
    struct client *k = client_create(to->host, to->port, &cb);
    struct client_conn **conns = oct_calloc((size_t)n, sizeof *conns);
    struct oct_buf request = {0};
    OCT_ASSERT(conns);
    const int64_t begin = client_now_us();
    completion(to, prompts[1], f.n_tokens, stream, &request);
    for (int64_t i = 0; i < n; i++) {
        conns[i] = start(&f, k, &request, stream);
    }
    if (stream) {
        while (f.n_first < (size_t)n && client_n_busy(k) && client_now_us() < begin + PATIENCE_US) {
            client_turn(k, 10);
        }
    } else {
        turn_until(k, begin + after_us);
    }
    size_t received = 0;
    int64_t n_left = 0;
    for (int64_t i = 0; i < n; i++) {
        received += stream ? stream_events(conns[i]->body.data) : 0;
        if (conns[i]->busy) {
            client_leave(conns[i], i % 2 == 1);
            n_left++;
        }
    }
    const int64_t left = client_now_us();
    client_destroy(k);
    oct_buf_free(&request);
    oct_free(conns);
    json_t *o = json_pack("{s:I, s:I, s:I, s:I, s:f}", "n", (json_int_t)n, "left",
                          (json_int_t)n_left, "asked", (json_int_t)(n * f.n_tokens), "received",
                          (json_int_t)received, "seconds", (double)(left - begin) / 1e6);
    OCT_ASSERT(o);
    return o;
}

json_t *row_prefill(const struct target *to)
{
    const int64_t rounds = arg_number("rounds", 10), n_others = arg_number("others", 4);
    const int64_t after_us = arg_number("after_ms", 2) * 1000;
    const size_t prompt_bytes = (size_t)arg_number("prompt", 1800);
    struct flight f = {.n_tokens = (int)arg_number("tokens", 64)};
    const struct client_callbacks cb = {.user = &f, .on_end = on_end, .on_body = on_body};
    struct oct_buf other = {0}, aborted = {0};
    char *long_prompt = oct_calloc(1, prompt_bytes + 1);
    OCT_ASSERT(long_prompt);
    completion(to, prompts[2], f.n_tokens, true, &other);
    int64_t n_left = 0;
    for (int64_t r = 0; r < rounds; r++) {
        for (size_t i = 0; i < prompt_bytes; i++) { /* other text each time: nothing is cached */
            long_prompt[i] = (char)('a' + (i * i + (size_t)r * 7 + i / 26) % 26);
        }
        oct_buf_clear(&aborted);
        completion(to, long_prompt, f.n_tokens, r % 2 == 0, &aborted);
        struct client *k = client_create(to->host, to->port, &cb);
        for (int64_t i = 0; i < n_others; i++) {
            (void)start(&f, k, &other, true);
        }
        const size_t want = f.n_first + (size_t)n_others;
        const int64_t begin = client_now_us();
        while (f.n_first < want && client_n_busy(k) && client_now_us() < begin + PATIENCE_US) {
            client_turn(k, 10);
        }
        struct client_conn *a = start(&f, k, &aborted, false);
        f.tally.n_sent--; /* it is counted as one that left */
        turn_until(k, client_now_us() + after_us);
        if (a->busy) {
            client_leave(a, r % 2 == 1);
            n_left++;
        }
        while (client_n_busy(k)) {
            client_turn(k, 10);
        }
        client_destroy(k);
    }
    json_t *o =
        json_pack("{s:I, s:I, s:I, s:I}", "rounds", (json_int_t)rounds, "left", (json_int_t)n_left,
                  "others", (json_int_t)(rounds * n_others), "others_done", (json_int_t)f.n_full);
    OCT_ASSERT(o);
    tally_json(&f.tally, o);
    oct_buf_free(&other);
    oct_buf_free(&aborted);
    oct_free(long_prompt);
    return o;
}

json_t *row_stop(const struct target *to)
{
    const int64_t n = arg_number("n", 64), after_us = arg_number("after_ms", 100) * 1000;
    const pid_t pid = (pid_t)arg_number("pid", 0);
    struct flight f = {.n_tokens = (int)arg_number("tokens", 400)};
    const struct client_callbacks cb = {.user = &f, .on_end = on_end, .on_body = on_body};
    struct client *k = client_create(to->host, to->port, &cb);
    struct oct_buf plain = {0}, stream = {0};
    completion(to, prompts[3], f.n_tokens, false, &plain);
    completion(to, prompts[4], f.n_tokens, true, &stream);
    for (int64_t i = 0; i < n; i++) {
        (void)start(&f, k, i % 2 ? &stream : &plain, i % 2);
    }
    turn_until(k, client_now_us() + after_us);
    const size_t in_flight = client_n_busy(k);
    const struct flight before = f;
    const int64_t stop = client_now_us();
    OCT_ASSERT(pid > 1 && kill(pid, SIGTERM) == 0);
    while (client_n_busy(k)) {
        client_turn(k, 10);
    }
    const int64_t end = client_now_us();
    client_destroy(k);
    oct_buf_free(&plain);
    oct_buf_free(&stream);
    json_t *o = json_pack("{s:I, s:I, s:I, s:I, s:I, s:f}", "in_flight", (json_int_t)in_flight,
                          "full", (json_int_t)(f.n_full - before.n_full), "told",
                          (json_int_t)(f.n_told - before.n_told), "silent",
                          (json_int_t)(f.n_silent - before.n_silent), "stop_us", (json_int_t)stop,
                          "seconds", (double)(end - stop) / 1e6);
    OCT_ASSERT(o);
    tally_json(&f.tally, o);
    return o;
}
