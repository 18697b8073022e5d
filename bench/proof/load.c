/* SPDX-License-Identifier: Apache-2.0
 *
 * load.c - rows that load a server with requests that it should answer.
 *
 *   load   c= connections, each kept alive and never without a request, for seconds=; every answer
 *          is compared with what the same prompt gave alone
 *   live   requests= one after another, each on a new connection, beside n= clients of kind=
 *          none, idle (connected, silent), bodies or heads (half sent) */
#include "proof.h"

#include <stdlib.h>
#include <string.h>

enum { PATIENCE_US = 30000000 };

struct load {
    struct tally tally;
    struct times times;
    struct oct_buf request[N_PROMPTS];
    char *alone[N_PROMPTS]; /* its text; NULL: not seen yet */
    int n_tokens;
    int64_t until_us;
    uint64_t n_in_time, n_other_text;
    uint64_t next;
};

static void send_next(struct load *l, struct client_conn *c)
{
    c->tag = (int64_t)(l->next++ % N_PROMPTS);
    l->tally.n_sent++;
    client_send(c, l->request[c->tag].data, l->request[c->tag].len, PATIENCE_US);
}

static void load_end(void *user, struct client_conn *c, enum client_end how)
{
    struct load *l = user;
    if (how == CLIENT_CUT && c->reused && c->status == 0) {
        /* The server closed between two requests, as HTTP lets it: the same once more. */
        l->tally.n_stale++;
        client_send(c, l->request[c->tag].data, l->request[c->tag].len, PATIENCE_US);
        return;
    }
    char *text = how == CLIENT_ANSWERED && c->status == 200
                     ? completion_text(c->body.data, c->body.len, l->n_tokens)
                     : NULL;
    tally_add(&l->tally, c, how, text != NULL);
    if (text) {
        l->n_other_text += l->alone[c->tag] && strcmp(text, l->alone[c->tag]) != 0;
        l->n_in_time += c->end_us <= l->until_us;
        times_add(&l->times, c->end_us - c->start_us);
        free(text);
    }
    if (c->end_us < l->until_us && how != CLIENT_NO_CONNECT) {
        send_next(l, c);
    }
}

json_t *row_load(const struct target *to)
{
    struct load l = {.n_tokens = (int)arg_number("tokens", 16)};
    const int64_t n_conns = arg_number("c", 8), us = arg_number("ms", 4000) * 1000;
    for (int i = 0; i < N_PROMPTS; i++) {
        char *body;
        completion(to, prompts[i], l.n_tokens, false, &l.request[i]);
        if (client_once(to->host, to->port, l.request[i].data, l.request[i].len, PATIENCE_US,
                        &body) == 200) {
            l.alone[i] = completion_text(body, strlen(body), l.n_tokens);
        }
        oct_free(body);
    }
    const struct client_callbacks cb = {.user = &l, .on_end = load_end};
    struct client *k = client_create(to->host, to->port, &cb);
    const int64_t start = client_now_us();
    l.until_us = start + us;
    for (int64_t i = 0; i < n_conns; i++) {
        send_next(&l, client_conn_create(k, 0));
    }
    while (client_n_busy(k)) {
        client_turn(k, 10);
    }
    const int64_t end = client_now_us();
    client_destroy(k);
    json_t *o = json_pack("{s:I, s:f, s:f, s:I}", "c", (json_int_t)n_conns, "req_per_s",
                          (double)l.n_in_time * 1e6 / (double)us, "seconds",
                          (double)(end - start) / 1e6, "other_text", (json_int_t)l.n_other_text);
    OCT_ASSERT(o);
    tally_json(&l.tally, o);
    times_json(&l.times, o);
    times_free(&l.times);
    for (int i = 0; i < N_PROMPTS; i++) {
        oct_buf_free(&l.request[i]);
        free(l.alone[i]);
    }
    return o;
}

/* ---- live ---- */

/* Connects n clients that send `part` of a request and then nothing; how many are connected. */
static int64_t open_idlers(struct client *k, struct client_conn **idlers, int64_t n,
                           const char *part)
{
    const size_t len = strlen(part);
    const int64_t give_up = client_now_us() + PATIENCE_US;
    int64_t n_open = 0;
    for (int64_t i = 0; i < n; i++) {
        idlers[i] = client_conn_create(k, 2 + (int)(i % 8));
        client_idle(idlers[i], part, len);
        /* No faster than the server accepts. */
        while (i >= 200 && !client_is_connected(idlers[i - 200]) && client_now_us() < give_up) {
            client_turn(k, 1);
        }
    }
    do {
        client_turn(k, 1);
        n_open = 0;
        for (int64_t i = 0; i < n; i++) {
            n_open += client_is_connected(idlers[i]);
        }
    } while (n_open < n && client_now_us() < give_up);
    return n_open;
}

struct live {
    struct tally tally;
    struct times times;
    int n_tokens;
};

static void live_end(void *user, struct client_conn *c, enum client_end how)
{
    struct live *l = user;
    char *text = how == CLIENT_ANSWERED && c->status == 200
                     ? completion_text(c->body.data, c->body.len, l->n_tokens)
                     : NULL;
    tally_add(&l->tally, c, how, text != NULL);
    if (how == CLIENT_ANSWERED) {
        times_add(&l->times, c->end_us - c->start_us);
    }
    free(text);
}

json_t *row_live(const struct target *to)
{
    const char *kind = arg_text("kind", "none");
    const int64_t n = strcmp(kind, "none") ? arg_number("n", 1000) : 0;
    const int64_t n_requests = arg_number("requests", 100);
    const int64_t timeout_us = arg_number("timeout_ms", 15000) * 1000;
    const char *part = !strcmp(kind, "bodies")
                           ? "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: "
                             "application/json\r\nContent-Length: 1000\r\n\r\n{\"prompt\":"
                       : !strcmp(kind, "heads") ? "POST /v1/completions HTTP/1.1\r\nHost: loc"
                                                : "";
    struct live l = {.n_tokens = (int)arg_number("tokens", 16)};
    const struct client_callbacks cb = {.user = &l, .on_end = live_end};
    struct client *k = client_create(to->host, to->port, &cb);
    struct client_conn **idlers = oct_calloc((size_t)n + 1, sizeof *idlers);
    OCT_ASSERT(idlers);
    const int64_t start = client_now_us();
    const int64_t n_open = open_idlers(k, idlers, n, part);
    const int64_t opened = client_now_us();
    struct oct_buf request = {0};
    completion(to, prompts[0], l.n_tokens, false, &request);
    int64_t give_up = opened + 2 * timeout_us, n_kept = 0;
    for (int64_t i = 0; i < n_requests && client_now_us() < give_up; i++) {
        struct client_conn *c = client_conn_create(k, 0);
        l.tally.n_sent++;
        client_send(c, request.data, request.len, timeout_us);
        while (client_n_busy(k)) {
            client_turn(k, 10);
        }
        client_conn_destroy(c);
    }
    for (int64_t i = 0; i < n; i++) {
        n_kept += client_is_connected(idlers[i]);
    }
    client_destroy(k);
    json_t *o = json_pack("{s:s, s:I, s:I, s:f, s:I}", "kind", kind, "n", (json_int_t)n, "opened",
                          (json_int_t)n_open, "open_s", (double)(opened - start) / 1e6, "kept",
                          (json_int_t)n_kept);
    OCT_ASSERT(o);
    tally_json(&l.tally, o);
    times_json(&l.times, o);
    times_free(&l.times);
    oct_buf_free(&request);
    oct_free(idlers);
    return o;
}
