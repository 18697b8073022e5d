/* SPDX-License-Identifier: Apache-2.0
 *
 * What idle connections cost: memory each, and what a live request beside them waits. Prints the
 * figures that csrc/http/README.md names. The clients are in a process of their own. */
#include "http/web.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifdef __SANITIZE_ADDRESS__
enum { N = 2000, IS_PLAIN = 0 }; /* its redzones and its quarantine are not our memory */
#else
enum { N = 10000, IS_PLAIN = 1 };
#endif

static const char get_hello[] = "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n";

static size_t resident_bytes(void)
{
    unsigned long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    cr_assert(f && fscanf(f, "%*u %lu", &pages) == 1);
    (void)fclose(f);
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Median and 99th percentile of a thousand requests on one connection, in microseconds. */
static void time_requests(struct web *w, double *p50, double *p99)
{
    enum { REQUESTS = 1000 };
    static double us[REQUESTS];
    const int fd = web_connect(w);
    for (int i = 0; i < REQUESTS; i++) {
        struct timespec a, b;
        char text[512];
        ssize_t n;
        (void)clock_gettime(CLOCK_MONOTONIC, &a);
        cr_assert_gt(send(fd, get_hello, sizeof get_hello - 1, 0), 0);
        while ((n = recv(fd, text, sizeof text, MSG_DONTWAIT)) < 0 && errno == EAGAIN) {
            cr_assert_eq(oct_http_turn(w->h, true), OCT_OK);
        }
        (void)clock_gettime(CLOCK_MONOTONIC, &b);
        cr_assert(n > 12 && !memcmp(text + n - 12, "hello, world", 12));
        us[i] = (double)(b.tv_sec - a.tv_sec) * 1e6 + (double)(b.tv_nsec - a.tv_nsec) / 1e3;
    }
    (void)close(fd);
    web_turns(w, 3);
    qsort(us, REQUESTS, sizeof *us, compare);
    *p50 = us[REQUESTS / 2];
    *p99 = us[REQUESTS * 99 / 100];
}

/* Opens n connections, each of which has had one answer; then waits to be told to go. */
static void crowd(uint16_t port, int to_parent, int from_parent)
{
    struct web remote = {.port = port};
    char text[512];
    int status = 0;
    for (int i = 0; i < N; i++) {
        const int fd = web_connect(&remote);
        status |= send(fd, get_hello, sizeof get_hello - 1, 0) < 0;
        status |= !strstr(web_read(&remote, fd, "world", NULL), "hello, world");
    }
    (void)!write(to_parent, status ? "x" : "c", 1);
    (void)!read(from_parent, text, 1);
    _exit(status);
}

Test(idle, connections_cost_little_memory_and_no_time, .timeout = 120)
{
    struct rlimit files;
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &files), 0);
    if (files.rlim_max < N + 300) {
        cr_skip_test("this process may open %llu files only", (unsigned long long)files.rlim_max);
    }
    files.rlim_cur = files.rlim_max;
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &files), 0);
    struct web w;
    double alone_p50, alone_p99, beside_p50, beside_p99;
    int to_parent[2], to_child[2];
    web_open(&w, &(struct oct_http_limits){.n_connections = N + 10}, NULL);
    time_requests(&w, &alone_p50, &alone_p99);
    cr_assert_eq(pipe(to_parent) | pipe(to_child), 0);
    const size_t before = resident_bytes();
    const pid_t child = fork();
    if (child == 0) {
        crowd(w.port, to_parent[1], to_child[0]);
    }
    struct oct_http_stats s = {0};
    while (s.n_requests < 1000u + N) {
        cr_assert_eq(oct_http_turn(w.h, true), OCT_OK);
        oct_http_get_stats(w.h, &s);
    }
    char c;
    web_turns(&w, 10);
    cr_assert(read(to_parent[0], &c, 1) == 1 && c == 'c');
    oct_http_get_stats(w.h, &s);
    cr_assert_eq(s.n_connections, (int)N);
    const size_t each = (resident_bytes() - before) / N;
    time_requests(&w, &beside_p50, &beside_p99);
    printf("%d idle connections: %zu bytes each; a request takes %.0f us (p99 %.0f) beside them, "
           "%.0f (p99 %.0f) alone\n",
           N, each, beside_p50, beside_p99, alone_p50, alone_p99);
    if (IS_PLAIN) {
        cr_assert_leq(each, (size_t)16384);
    }
    cr_assert_leq(beside_p99, 50000.0);
    (void)!write(to_child[1], "q", 1);
    int status;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert_eq(status, 0);
    for (int i = 0; i < 500 && s.n_connections; i++) {
        web_turn_ms(&w, 10);
        oct_http_get_stats(w.h, &s);
    }
    cr_assert_eq(s.n_connections, 0);
    web_close(&w);
}
