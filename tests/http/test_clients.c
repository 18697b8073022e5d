/* SPDX-License-Identifier: Apache-2.0
 *
 * Clients that are slow, leave, or are many. Deadlines pass on the test's clock, so only in builds
 * that have one. */
#include "http/web.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define H "Host: a\r\n"
static const char get_late[] = "GET /late HTTP/1.1\r\n" H "\r\n";
static const char get_hello[] = "GET /hello HTTP/1.1\r\n" H "\r\n";

static void expect_hello(struct web *w, int fd)
{
    web_send(w, fd, get_hello);
    const char *answer = web_read(w, fd, "world", NULL);
    cr_assert_eq(web_status(answer), 200, "%s", answer);
}

/* ---- deadlines ---- */

#if OCT_FAULTS
Test(clients, a_head_must_come_within_its_time_however_often_a_byte_comes)
{
    struct web w;
    web_use_clock();
    web_open(&w, &(struct oct_http_limits){.head_us = 1000000}, NULL);
    const int fd = web_connect(&w), idle = web_connect(&w);
    web_pass(&w, 5000000); /* nobody waits for a first byte */
    web_send(&w, fd, "G");
    web_pass(&w, 600000);
    web_send(&w, fd, "E");
    web_pass(&w, 399999);
    cr_assert_eq(recv(fd, (char[1]){0}, 1, 0), -1);
    web_pass(&w, 1);
    bool closed;
    const char *answer = web_read(&w, fd, NULL, &closed);
    cr_assert_eq(web_status(answer), 408, "%s", answer);
    cr_assert(closed);
    expect_hello(&w, idle);
    struct oct_http_stats s;
    oct_http_get_stats(w.h, &s);
    cr_assert_eq(s.n_timeouts, 1u);
    (void)close(fd);
    (void)close(idle);
    web_close(&w);
}
#endif

#if OCT_FAULTS
Test(clients, a_body_must_keep_coming)
{
    struct web w;
    web_use_clock();
    web_open(&w, &(struct oct_http_limits){.body_idle_us = 1000000}, NULL);
    const int fd = web_connect(&w);
    web_send(&w, fd, "POST /echo HTTP/1.1\r\n" H "Content-Length: 10\r\n\r\n");
    for (int i = 0; i < 9; i++) {
        web_pass(&w, 999999);
        web_send(&w, fd, "x");
    }
    web_pass(&w, 999999);
    cr_assert_eq(w.n_ends, 0);
    web_pass(&w, 1);
    cr_assert_eq(w.ends[OCT_HTTP_BROKEN], 1);
    cr_assert_eq(w.last_status, 408);
    bool closed;
    const char *answer = web_read(&w, fd, NULL, &closed);
    cr_assert_eq(web_status(answer), 408, "%s", answer);
    cr_assert(closed);
    (void)close(fd);
    web_close(&w);
}
#endif

#if OCT_FAULTS
Test(clients, idle_connections_are_closed_and_lingering_ones_too)
{
    struct web w;
    web_use_clock();
    web_open(&w, &(struct oct_http_limits){.keep_alive_us = 3000000, .linger_us = 1000000}, NULL);
    const int fd = web_connect(&w), refused = web_connect(&w);
    expect_hello(&w, fd);
    web_pass(&w, 2999999);
    expect_hello(&w, fd); /* begins anew */
    web_send(&w, refused, "BAD");
    web_send(&w, refused, " / HTTP/1.1\r\n\r\n");
    bool closed;
    cr_assert_eq(web_status(web_read(&w, refused, NULL, &closed)), 400);
    cr_assert(closed);
    struct oct_http_stats s;
    web_pass(&w, 999999);
    oct_http_get_stats(w.h, &s);
    cr_assert_eq(s.n_connections, 2);
    web_pass(&w, 1); /* the client has not closed: given up */
    oct_http_get_stats(w.h, &s);
    cr_assert_eq(s.n_connections, 1);
    web_pass(&w, 1999999 - 1);
    cr_assert_eq(recv(fd, (char[1]){0}, 1, 0), -1);
    web_pass(&w, 2);
    cr_assert_eq(recv(fd, (char[1]){0}, 1, 0), 0);
    (void)close(fd);
    (void)close(refused);
    web_close(&w);
}
#endif

#if OCT_FAULTS
Test(clients, an_answer_that_takes_long_is_not_cut_while_nothing_waits_for_the_reader)
{
    struct web w;
    web_use_clock();
    web_open(&w, NULL, NULL);
    const int fd = web_connect(&w);
    web_send(&w, fd, get_late);
    web_until(&w, &w.n_requests, 1);
    web_pass(&w, 3600 * 1000000ll);
    oct_http_start(w.last, 200, "text/plain");
    web_pass(&w, 3600 * 1000000ll);
    oct_http_write(w.last, "slow", 4);
    web_pass(&w, 3600 * 1000000ll);
    oct_http_finish(w.last);
    cr_assert_not_null(strstr(web_read(&w, fd, "\r\n0\r\n\r\n", NULL), "4\r\nslow\r\n0\r\n\r\n"));
    cr_assert_eq(w.ends[OCT_HTTP_DONE], 1);
    (void)close(fd);
    web_close(&w);
}
#endif

/* ---- slow readers ---- */

#if OCT_FAULTS
Test(clients, a_reader_that_stops_costs_a_bounded_buffer_and_is_cut)
{
    enum { N = 50, OUT = 64 << 10 };
    struct web w;
    int fd[N];
    web_use_clock();
    web_open(&w, &(struct oct_http_limits){.out_bytes = OUT, .write_stall_us = 1000000}, NULL);
    for (int i = 0; i < N; i++) {
        fd[i] = web_connect(&w);
        const int bytes = i ? 2048 : 65536;
        cr_assert_eq(setsockopt(fd[i], SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes), 0);
        web_send(&w, fd[i], "GET /flood HTTP/1.1\r\n" H "\r\n");
    }
    web_turn_ms(&w, 50);
    struct oct_http_stats s;
    oct_http_get_stats(w.h, &s);
    cr_assert_gt(s.out_bytes, (size_t)N * OUT / 2, "%zu", s.out_bytes);
    cr_assert_leq(s.out_bytes, (size_t)N * (OUT + 5000), "%zu", s.out_bytes);
    /* One who reads a little at a time is kept, and gets more. */
    const size_t before = w.flooded;
    char some[32 << 10];
    size_t taken = 0;
    for (int i = 0; i < 30; i++) {
        web_now_us += 900000 / 10;
        for (int k = 0; k < 20; k++) {
            const ssize_t n = recv(fd[0], some, sizeof some, 0);
            taken += n > 0 ? (size_t)n : 0;
            web_turns(&w, 3);
        }
    }
    cr_assert_gt(taken, (size_t)OUT);
    cr_assert_gt(w.flooded, before);
    cr_assert_gt(w.n_rooms, 0);
    cr_assert_eq(w.ends[OCT_HTTP_STALLED], N - 1, "%d", w.ends[OCT_HTTP_STALLED]);
    const int live = web_connect(&w);
    expect_hello(&w, live);
    web_pass(&w, 1000001);
    cr_assert_eq(w.ends[OCT_HTTP_STALLED], N);
    oct_http_get_stats(w.h, &s);
    cr_assert_eq(s.n_stalled, (unsigned)N);
    cr_assert_eq(s.out_bytes, 0u);
    cr_assert_eq(s.n_exchanges, 0);
    for (int i = 0; i < N; i++) {
        (void)close(fd[i]);
    }
    (void)close(live);
    web_close(&w);
}
#endif

/* ---- clients that leave ---- */

enum phase { IN_HEAD, IN_BODY, WAITING, STREAMING, STALLED, N_PHASES };

static int client_in(struct web *w, enum phase p)
{
    const int fd = web_connect(w);
    const int before = w->n_requests;
    switch (p) {
    case IN_HEAD:
        web_send(w, fd, "GET /late HTT");
        break;
    case IN_BODY:
        web_send(w, fd, "POST /late HTTP/1.1\r\n" H "Content-Length: 10\r\n\r\nabc");
        break;
    case STALLED: {
        const int bytes = 2048;
        cr_assert_eq(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes), 0);
        web_send(w, fd, "GET /flood HTTP/1.1\r\n" H "\r\n");
        web_until(w, &w->n_requests, before + 1);
        break;
    }
    default:
        web_send(w, fd, get_late);
        web_until(w, &w->n_requests, before + 1);
        if (p == STREAMING) {
            oct_http_start(w->last, 200, "text/plain");
            oct_http_write(w->last, "first", 5);
            (void)web_read(w, fd, "first", NULL);
        }
        break;
    }
    web_turns(w, 10);
    return fd;
}

/* FIN, RST, and only the sending side shut: seen within 100 ms while nothing is written. */
Test(clients, leaving_is_noticed_in_every_phase)
{
    struct web w;
    web_open(&w, NULL, NULL);
    int n_left = 0, n_seen = 0;
    for (int p = 0; p < N_PHASES; p++) {
        for (int how = 0; how < 3; how++) {
            const int fd = client_in(&w, (enum phase)p);
            if (how == 0) {
                (void)close(fd);
            } else if (how == 1) {
                const struct linger now = {.l_onoff = 1};
                cr_assert_eq(setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now), 0);
                (void)close(fd);
            } else {
                (void)shutdown(fd, SHUT_WR);
            }
            n_left++;
            n_seen += p != IN_HEAD;
            struct oct_http_stats s;
            const int64_t limit = 100;
            for (int i = 0; i < limit / 2; i++) { /* 100 ms, in steps of 2 */
                web_turn_ms(&w, 2);
                oct_http_get_stats(w.h, &s);
                if ((int)s.n_left == n_left && w.ends[OCT_HTTP_LEFT] == n_seen) {
                    break;
                }
            }
            cr_assert_eq((int)s.n_left, n_left, "phase %d, how %d: %d", p, how, (int)s.n_left);
            cr_assert_eq(w.ends[OCT_HTTP_LEFT], n_seen, "phase %d, how %d", p, how);
            cr_assert_eq(s.n_connections, 0, "phase %d, how %d", p, how);
            if (how == 2) {
                (void)close(fd);
            }
        }
    }
    web_close(&w);
}

Test(clients, an_answer_that_is_complete_reaches_who_has_shut_his_sending_side)
{
    struct web w;
    web_open(&w, NULL, NULL);
    static const char *const paths[] = {"/hello", "/big", "/stream"};
    for (size_t i = 0; i < 3; i++) {
        const int fd = web_connect(&w);
        char text[100];
        (void)snprintf(text, sizeof text, "GET %s HTTP/1.0\r\n\r\n", paths[i]);
        cr_assert_gt(send(fd, text, strlen(text), 0), 0);
        (void)shutdown(fd, SHUT_WR);
        bool closed;
        const char *answer = web_read(&w, fd, NULL, &closed);
        cr_assert(closed, "%s", paths[i]);
        const size_t lens[] = {12, 1 << 20, 102400};
        cr_assert_eq(strlen(strstr(answer, "\r\n\r\n") + 4), lens[i], "%s", paths[i]);
        (void)close(fd);
    }
    cr_assert_eq(w.ends[OCT_HTTP_DONE], 3);
    web_close(&w);
}

/* ---- many ---- */

Test(clients, a_thousand_half_sent_bodies_do_not_disturb_a_live_request)
{
    enum { N = 1000 };
    static const char half[] = "POST /echo HTTP/1.1\r\n" H "Content-Length: 100000\r\n\r\nhalf";
    static int fd[N];
    struct web w;
    web_open(&w, NULL, NULL);
    for (int i = 0; i < N; i++) {
        fd[i] = web_connect(&w);
        cr_assert_gt(send(fd[i], half, sizeof half - 1, 0), 0);
        web_turns(&w, 1);
    }
    web_until(&w, &w.n_heads, N);
    const int live = web_connect(&w);
    for (int i = 0; i < 100; i++) {
        expect_hello(&w, live);
    }
    for (int i = 0; i < N; i++) {
        (void)close(fd[i]);
    }
    web_until(&w, &w.ends[OCT_HTTP_LEFT], N);
    (void)close(live);
    web_close(&w);
}

Test(clients, two_thousand_streams_are_open_on_one_thread)
{
    enum { N = 2000, PIECES = 20 };
    static int fd[N];
    static struct oct_http_exchange *x[N];
    struct web w;
    web_open(&w, NULL, NULL);
    for (int i = 0; i < N; i++) {
        fd[i] = web_connect(&w);
        cr_assert_gt(send(fd[i], get_late, sizeof get_late - 1, 0), 0);
        web_until(&w, &w.n_requests, i + 1);
        x[i] = w.last;
        oct_http_start(x[i], 200, "text/event-stream");
    }
    for (int k = 0; k < PIECES; k++) {
        for (int i = 0; i < N; i++) {
            char piece[64];
            oct_http_write(x[i], piece, (size_t)sprintf(piece, "data: %d of %d\n\n", k, i));
        }
        web_turns(&w, 1);
    }
    for (int i = 0; i < N; i++) {
        oct_http_finish(x[i]);
    }
    web_until(&w, &w.ends[OCT_HTTP_DONE], N);
    for (int i = 0; i < N; i++) {
        char want[64];
        const char *at = web_read(&w, fd[i], "\r\n0\r\n\r\n", NULL);
        for (int k = 0; k < PIECES; k++) {
            (void)snprintf(want, sizeof want, "\r\ndata: %d of %d\n\n\r\n", k, i);
            at = strstr(at, want);
            cr_assert_not_null(at, "stream %d, piece %d", i, k);
        }
        (void)close(fd[i]);
    }
    web_close(&w);
}

Test(clients, over_n_connections_a_new_one_is_told_503)
{
    struct web w;
    web_open(&w, &(struct oct_http_limits){.n_connections = 3}, NULL);
    int fd[3];
    for (int i = 0; i < 3; i++) {
        fd[i] = web_connect(&w);
        expect_hello(&w, fd[i]);
    }
    for (int i = 0; i < 200; i++) { /* more than get a goodbye with all honours */
        const int over = web_connect(&w);
        bool closed;
        const char *answer = web_read(&w, over, NULL, &closed);
        cr_assert_eq(web_status(answer), 503, "%d: %s", i, answer);
        cr_assert(closed);
        if (i % 2) {
            (void)close(over);
        }
    }
    expect_hello(&w, fd[1]);
    (void)close(fd[0]);
    struct oct_http_stats s;
    for (int i = 0; i < 1000; i++) {
        web_turns(&w, 1);
        oct_http_get_stats(w.h, &s);
        if (s.n_connections < 3) {
            break;
        }
    }
    fd[0] = web_connect(&w);
    expect_hello(&w, fd[0]);
    oct_http_get_stats(w.h, &s);
    cr_assert_eq(s.n_refused, 200u);
    cr_assert_eq(s.n_connections, 3);
    web_close(&w);
}

/* Real EMFILE: this process may open few files, the clients are in another. */
Test(clients, without_a_file_left_clients_are_told_and_it_recovers)
{
    struct web w;
    struct rlimit few = {40, 40};
    /* The cap on connections follows the limit; here it is the limit that must be met. */
    web_open(&w, &(struct oct_http_limits){.n_connections = 1000}, NULL);
    int to_child[2], to_parent[2];
    cr_assert_eq(pipe(to_child) | pipe(to_parent), 0);
    const pid_t child = fork();
    if (child == 0) {
        char c;
        int fd[100], n_503 = 0;
        struct web remote = {.port = w.port};
        for (int i = 0; i < 100; i++) {
            fd[i] = web_connect(&remote);
        }
        (void)!write(to_parent[1], "c", 1);
        for (int i = 0; i < 100; i++) { /* those without a file hear 503; the others nothing */
            char text[512] = "";
            struct pollfd p = {.fd = fd[i], .events = POLLIN};
            if (poll(&p, 1, i < 20 ? 0 : 300) > 0 && recv(fd[i], text, sizeof text - 1, 0) > 0) {
                n_503 += web_status(text) == 503;
            }
        }
        for (int i = 0; i < 100; i++) {
            (void)close(fd[i]);
        }
        (void)!write(to_parent[1], "d", 1);
        (void)!read(to_child[0], &c, 1);
        _exit(n_503);
    }
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
    char c = 0;
    struct pollfd p = {.fd = to_parent[0], .events = POLLIN};
    for (int i = 0; i < 20000 && c != 'd'; i++) {
        web_turns(&w, 1);
        if (poll(&p, 1, 1) > 0) {
            cr_assert_eq(read(to_parent[0], &c, 1), 1);
        }
    }
    web_turn_ms(&w, 50);
    struct oct_http_stats s;
    oct_http_get_stats(w.h, &s);
    cr_assert_eq(s.n_connections, 0);
    cr_assert_geq(s.n_refused, 60u);
    const int live = web_connect(&w);
    expect_hello(&w, live);
    (void)!write(to_child[1], "e", 1);
    int status;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFEXITED(status));
    cr_assert_geq(WEXITSTATUS(status), 60, "%d clients heard 503", WEXITSTATUS(status));
    (void)close(live);
    web_close(&w);
}

/* Who has connected has been let in, whether the server knows it yet or not. */
Test(clients, draining_closes_who_rests_and_answers_the_others)
{
    struct web w;
    bool closed;
    web_open(&w, NULL, NULL);
    struct web still = {.port = w.port}; /* the same server, whose loop does not turn meanwhile */
    const int rests = web_connect(&w), half = web_connect(&w), late = web_connect(&w);
    const int again = web_connect(&w), fresh = web_connect(&w);
    web_send(&w, late, get_late);
    web_until(&w, &w.n_requests, 1);
    web_send(&w, half, "GET /hello HTTP/1.1\r\n");
    web_send(&w, rests, get_hello);
    cr_assert_eq(web_status(web_read(&w, rests, "world", NULL)), 200);
    web_send(&w, again, get_hello);
    cr_assert_eq(web_status(web_read(&w, again, "world", NULL)), 200);
    web_turns(&w, 5);
    web_send(&still, again, get_hello);
    const int unknown = web_connect(&still);
    web_send(&still, unknown, get_hello);
    oct_http_close_listeners(w.h);
    cr_assert(web_is_closed(&w, rests));
    web_send(&w, half, H "\r\n");
    web_send(&w, fresh, get_hello);
    const int answered[] = {half, again, fresh, unknown};
    for (int i = 0; i < 4; i++) {
        const char *answer = web_read(&w, answered[i], NULL, &closed);
        cr_assert_eq(web_status(answer), 200, "%d: %s", i, answer);
        cr_assert(strstr(answer, "Connection: close") && closed, "%d: %s", i, answer);
    }
    cr_assert_not_null(w.last);
    oct_http_respond(w.last, 200, "text/plain", "done", 4);
    const char *answer = web_read(&w, late, NULL, &closed);
    cr_assert(strstr(answer, "Connection: close") && strstr(answer, "done") && closed, "%s",
              answer);
    const int fd[] = {rests, half, late, again, fresh, unknown};
    for (int i = 0; i < 6; i++) {
        (void)close(fd[i]);
    }
    web_turn_ms(&w, 20);
    struct oct_http_stats s;
    oct_http_get_stats(w.h, &s);
    cr_assert_eq(s.n_connections, 0);
    web_close(&w);
}

Test(clients, destroying_the_server_ends_every_exchange)
{
    struct web w;
    web_open(&w, NULL, NULL);
    int fd[N_PHASES];
    for (int p = 0; p < N_PHASES; p++) {
        fd[p] = client_in(&w, (enum phase)p);
    }
    web_close(&w);
    cr_assert_eq(w.ends[OCT_HTTP_ABORTED], N_PHASES - 1);
    for (int p = 0; p < N_PHASES; p++) {
        (void)close(fd[p]);
    }
}
