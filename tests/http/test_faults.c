/* SPDX-License-Identifier: Apache-2.0
 *
 * Memory that runs out at every allocation of libevent, http-parser, OpenSSL and ours: it costs
 * that connection and never the server. And the loop over in-memory pairs, the same each time. */
#include "http/web.h"

#include "base/clock.h"
#include "base/fault.h"

#include <criterion/criterion.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define H "Host: a\r\n"

#if OCT_FAULTS
static void nothing_on_end(void *user, struct oct_http_exchange *x, enum oct_http_end how)
{
    (void)user, (void)x, (void)how;
}

Test(http_faults, creating_and_listening_fail_cleanly_at_every_allocation)
{
    const struct oct_http_handler handler = {.on_end = nothing_on_end};
    struct oct_http *h;
    uint64_t k = 0, seen;
    do {
        h = NULL;
        oct_fault_reset();
        oct_fault_arm(OCT_FAULT_MEM, ++k, false, OCT_FAULT_FAIL);
        oct_status st = oct_http_create(NULL, &handler, &h);
        if (st == OCT_OK) {
            st = oct_http_listen(h, "127.0.0.1", 0, NULL, NULL);
        }
        seen = oct_fault_count(OCT_FAULT_MEM);
        oct_fault_reset();
        /* libevent does without some of what it asks for; then all is well. */
        cr_assert(st == OCT_OK || st == OCT_E_MEM, "k=%d: %s", (int)k, oct_last_error());
        oct_http_destroy(h);
    } while (seen >= k);
    cr_assert_gt(k, (uint64_t)10);
}

/* One connection: a few requests of every kind. How many answers came whole is all that may vary.
 */
static void script(struct web *w)
{
    static const char *const steps[][2] = {
        {"GET /hello HTTP/1.1\r\n" H "X-Test: a\r\n\r\n", "world"},
        {"POST /echo HTTP/1.1\r\n" H "Content-Length: 9\r\nExpect: 100-continue\r\n\r\nsome text",
         "some text"},
        {"POST /echo HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n"
         "3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n",
         "abcdef"},
        {"GET /nothing HTTP/1.1\r\n" H "\r\n", "not found\n"},
        {"GET /stream HTTP/1.1\r\n" H "\r\n", "\r\n0\r\n\r\n"},
        {"GET /abort HTTP/1.1\r\n" H "\r\n", "0\r\n\r\n"},
    };
    const int fd = web_connect(w);
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        bool closed;
        web_send(w, fd, steps[i][0]);
        const char *answer = web_read(w, fd, steps[i][1], &closed);
        if (closed) {
            break;
        }
        cr_assert_not_null(strstr(answer, steps[i][1]), "step %zu, after %d: %s", i,
                           (int)oct_fault_count(OCT_FAULT_MEM), answer);
    }
    (void)close(fd);
    const int bad = web_connect(w);
    web_send(w, bad, "GET / HTTP/1.1\r\n\r\n");
    (void)web_read(w, bad, NULL, NULL);
    (void)close(bad);
    web_turns(w, 5);
}

Test(http_faults, memory_that_runs_out_costs_one_connection_and_never_the_server)
{
    for (int forever = 0; forever < 2; forever++) {
        uint64_t k = 1;
        for (;;) {
            struct web w;
            web_open(&w, NULL, NULL);
            oct_fault_reset();
            /* for ever: until the client is done */
            oct_fault_arm(OCT_FAULT_MEM, k, forever, OCT_FAULT_FAIL);
            script(&w);
            const uint64_t seen = oct_fault_count(OCT_FAULT_MEM);
            oct_fault_reset();
            web_turns(&w, 5);
            cr_assert_eq(w.n_ends, w.n_heads, "k=%d", (int)k);
            const char *answer = web_ask(&w, "GET /hello HTTP/1.0\r\n\r\n");
            cr_assert_eq(web_status(answer), 200, "k=%d: %s", (int)k, answer);
            struct oct_http_stats s;
            oct_http_get_stats(w.h, &s);
            cr_assert_eq(s.n_connections + s.n_exchanges, 0, "k=%d", (int)k);
            cr_assert_eq(s.out_bytes, 0u, "k=%d", (int)k);
            web_close(&w);
            if (seen < k) {
                break; /* all went well: the k-th was not come to */
            }
            /* For ever: every point of the first request, and then some. */
            k += forever && k > 60 ? 37 : 1;
        }
        cr_assert_gt(k, (uint64_t)50);
    }
}

Test(http_faults, accepting_goes_on_after_failures)
{
    struct web w;
    web_open(&w, NULL, NULL);
    oct_fault_arm(OCT_FAULT_ACCEPT, 1, false, OCT_FAULT_FAIL);
    const char *answer = web_ask(&w, "GET /hello HTTP/1.0\r\n\r\n");
    cr_assert_eq(web_status(answer), 503, "%s", answer);
    answer = web_ask(&w, "GET /hello HTTP/1.0\r\n\r\n");
    cr_assert_eq(web_status(answer), 200, "%s", answer);
    oct_fault_reset();
    web_close(&w);
}
#endif

/* ---- in-memory pairs ---- */

struct peer {
    struct bufferevent *bev;
    struct oct_buf got;
    bool has_ended;
};

static void on_peer_read(struct bufferevent *bev, void *arg)
{
    struct peer *p = arg;
    char text[512];
    size_t n;
    while ((n = bufferevent_read(bev, text, sizeof text)) > 0) {
        cr_assert_eq(oct_buf_append(&p->got, text, n), OCT_OK);
    }
}

static void on_peer_event(struct bufferevent *bev, short what, void *arg)
{
    (void)bev;
    ((struct peer *)arg)->has_ended |= (what & BEV_EVENT_EOF) != 0;
}

static void join(struct web *w, struct peer *p)
{
    struct bufferevent *pair[2];
    *p = (struct peer){0};
    cr_assert_eq(bufferevent_pair_new(oct_http_base(w->h), BEV_OPT_CLOSE_ON_FREE, pair), 0);
    p->bev = pair[0];
    bufferevent_setcb(p->bev, on_peer_read, NULL, on_peer_event, p);
    cr_assert_eq(bufferevent_enable(p->bev, EV_READ | EV_WRITE), 0);
    cr_assert_eq(oct_http_attach(w->h, pair[1], "sim"), OCT_OK);
}

static void say(struct peer *p, const char *text)
{
    cr_assert_eq(bufferevent_write(p->bev, text, strlen(text)), 0);
}

static void part(struct peer *p)
{
    (void)bufferevent_flush(p->bev, EV_WRITE, BEV_FINISHED);
    bufferevent_free(p->bev);
    oct_buf_free(&p->got);
}

Test(http_pairs, requests_are_answered_streamed_left_and_timed_out)
{
    struct web w;
    struct peer p, q, r;
    web_use_clock();
    web_open(&w, &(struct oct_http_limits){.head_us = 1000000, .out_bytes = 10000}, NULL);
    join(&w, &p);
    say(&p, "GET /hello HTTP/1.1\r\n" H "\r\nGET /stream HTTP/1.1\r\n" H "\r\n");
    web_turns(&w, 5);
    cr_assert_eq(w.ends[OCT_HTTP_DONE], 2);
    cr_assert_not_null(strstr(p.got.data, "hello, world"));
    cr_assert_str_eq(p.got.data + p.got.len - 7, "\r\n0\r\n\r\n");
    /* Leaves while its request waits. */
    say(&p, "GET /late HTTP/1.1\r\n" H "\r\n");
    web_turns(&w, 3);
    cr_assert_not_null(w.last);
    cr_assert_str_eq(oct_http_peer(w.last), "sim");
    part(&p);
    web_turns(&w, 2);
    cr_assert_eq(w.ends[OCT_HTTP_LEFT], 1);
    /* Is refused, told, and let go when it goes. */
    join(&w, &q);
    say(&q, "GET / HTTP/9.9\r\n\r\n");
    web_turns(&w, 3);
    cr_assert_eq(web_status(q.got.data), 400);
    cr_assert(q.has_ended);
    part(&q);
    join(&w, &q);
    say(&q, "GET");
    web_pass(&w, 1000000);
    cr_assert_eq(web_status(q.got.data), 408);
    part(&q);
    /* Does not read: the bound holds, and it is cut. */
    join(&w, &r);
    bufferevent_setwatermark(r.bev, EV_READ, 0, 4096);
    (void)bufferevent_disable(r.bev, EV_READ);
    say(&r, "GET /flood HTTP/1.1\r\n" H "\r\n");
    web_turns(&w, 5);
    struct oct_http_stats s;
    oct_http_get_stats(w.h, &s);
    cr_assert_gt(s.out_bytes, 10000u);
    cr_assert_lt(s.out_bytes, 20000u);
    web_pass(&w, 30000000);
    cr_assert_eq(w.ends[OCT_HTTP_STALLED], 1);
    cr_assert(r.has_ended);
    part(&r);
    web_turns(&w, 3);
    oct_http_get_stats(w.h, &s);
    cr_assert_eq(s.n_connections, 0);
    web_close(&w);
}

/* A seeded play of many clients, twice: the same events in the same order. */
static uint64_t play(uint64_t seed)
{
    enum { N = 20 };
    struct web w;
    struct peer p[N] = {0};
    uint64_t state = seed, sum = 0;
    web_open(&w,
             &(struct oct_http_limits){
                 .head_us = 50000, .body_idle_us = 70000, .out_bytes = 4096, .n_pipelined = 300},
             NULL);
    for (int i = 0; i < 3000; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        struct peer *who = &p[(state >> 33) % N];
        static const char *const words[] = {
            "GET /hello HTTP/1.1\r\n" H "\r\n",
            "GET /stream HTTP/1.1\r\n" H "\r\n",
            "GET /none HTTP/1.1\r\n" H "\r\n",
            "POST /echo HTTP/1.1\r\n" H,
            "Content-Length: 5\r\n\r\n",
            "Transfer-Encoding: chunked\r\n\r\n",
            "5\r\nabcde\r\n0\r\n\r\n",
            "\r\n",
            "GET /late HTTP/1.1\r\n" H "\r\n",
            "GET /abort HTTP/1.0\r\n\r\n",
            "POST /echo HTTP/1.1\r\n" H "Content-Length: 500\r\n\r\n",
        };
        switch ((state >> 40) % 4) {
        case 0:
            if (who->bev) {
                sum = sum * 31 + who->got.len;
                part(who);
                who->bev = NULL;
            } else {
                join(&w, who);
            }
            break;
        default:
            if (who->bev && !who->has_ended) {
                say(who, words[(state >> 45) % (sizeof words / sizeof *words)]);
            }
            break;
        }
        web_now_us += (int64_t)(state >> 50) % 5000;
        web_turns(&w, 1);
        if (w.last && i % 7 == 0) {
            oct_http_respond(w.last, 200, "text/plain", "late", 4);
            w.last = NULL;
        }
        for (size_t k = 0; k < 8; k++) {
            sum = sum * 31 + (uint64_t)w.ends[k];
        }
        sum = sum * 31 + w.flooded + (uint64_t)w.n_rooms;
    }
    for (int i = 0; i < N; i++) {
        if (p[i].bev) {
            part(&p[i]);
        }
    }
    web_turns(&w, 3);
    cr_assert_gt(w.ends[OCT_HTTP_DONE], 20);
    cr_assert_gt(w.ends[OCT_HTTP_LEFT], 0);
    cr_assert_gt(w.ends[OCT_HTTP_BROKEN], 0);
    struct oct_http_stats s;
    oct_http_get_stats(w.h, &s);
    cr_assert_eq(s.n_connections + s.n_exchanges, 0);
    web_close(&w);
    return sum;
}

Test(http_pairs, the_same_seed_plays_the_same)
{
    web_use_clock();
    for (uint64_t seed = 1; seed <= 10; seed++) {
        const int64_t begin = web_now_us;
        const uint64_t first = play(seed);
        web_now_us = begin;
        cr_assert_eq(play(seed), first, "seed %d", (int)seed);
    }
}
