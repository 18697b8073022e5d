/* SPDX-License-Identifier: Apache-2.0
 *
 * server_sim.h - the simulation one storey higher: the real server (connections, HTTP, calls, one
 * inbox) over the real engine, in one thread, on a clock, a device, workers and clients that are
 * functions of one seed. Connections are pairs of libevent's bufferevents: no socket, no wait.
 *
 * Clients are plain, slow to read, slow to send, hostile, or leave, at any moment. Each knows what
 * it must be told: the answer is a function of its prompt. Whatever is lost, cut without a word,
 * doubled, reordered or left running ends the process with the line that repeats it. */
#ifndef OCT_TEST_SERVER_SIM_H
#define OCT_TEST_SERVER_SIM_H

#include "sim/seeds.h"
#include "support/fake_runner.h"

#include "api/api.h"

#include <event2/bufferevent.h>
#include <http_parser.h>

enum {
    SRV_MAX_CLIENTS = 24,
    SRV_MAX_REQUESTS = 3, /* of one connection */
    SRV_MAX_CHOICES = 3,
    SRV_MAX_TOKENS = 400, /* prompt and answer */
};

enum srv_kind { SRV_GENERATE, SRV_LOOK, SRV_HOSTILE };

struct srv_request {
    enum srv_kind kind;
    bool stream;
    int n; /* choices */
    int32_t n_prompt, max_tokens;
    bool is_nan;         /* its prompt makes the device give NaN */
    size_t end;          /* in the client's bytes */
    struct oct_buf text; /* what each choice must say */
};

struct srv_client {
    struct bufferevent *bev; /* NULL: not connected yet, or no more */
    bool is_over;            /* has all it will get */
    bool is_reading, is_slow_reader, is_slow_sender, leaves, pipelines;
    struct srv_request request[SRV_MAX_REQUESTS];
    int n_requests, at;   /* at: the one whose answer comes next */
    struct oct_buf bytes; /* all requests */
    size_t sent;
    int64_t connect_us;
    int64_t idle_us; /* when it connected, or got its last answer */
    http_parser parser;
    bool has_begun, is_complete; /* the answer that comes */
    struct oct_buf body;
};

struct srv {
    struct seed_chance chance;
    bool verbose;
    struct fake_options options;
    struct fake fake;
    struct oct_api *api;
    struct oct_http *http;
    struct srv_client client[SRV_MAX_CLIENTS];
    int n_clients, n_planned;
    bool is_draining, few_connections, small_queue;
    uint64_t n_full, n_full_late, n_errors, n_left, n_cut, n_turns, n_steps;
};

uint32_t srv_draw(struct srv *s, uint32_t limit);
bool srv_chance(struct srv *s, uint32_t percent);
int64_t srv_now_us(void);
__attribute__((noreturn, format(printf, 2, 3))) void srv_wrong(const struct srv *s, const char *fmt,
                                                               ...);

/* server_clients.c */
void srv_connect(struct srv *s); /* a new client, if one is planned */
void srv_act(struct srv *s, int i);
/* It leaves: the server is told. told false: it is only freed, the server never hears of it. */
void srv_leave(struct srv *s, struct srv_client *c, bool told);
/* Whoever is slow makes up for it: so that the end comes. */
void srv_hurry(struct srv *s, struct srv_client *c);
void srv_free_client(struct srv_client *c);

/* server_workers.c: takes the place of csrc/api/worker.c. Does the oldest job; false: none. */
bool srv_work(void);
size_t srv_n_jobs(void);

#endif
