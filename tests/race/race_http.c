/* SPDX-License-Identifier: Apache-2.0
 *
 * Threads post tasks at a loop that serves clients in other threads: each post is followed by a
 * run, and a run never comes twice for one post. */
#include "http/http.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { N_POSTERS = 4, N_POSTS = 20000, N_CLIENTS = 3, N_REQUESTS = 300 };

struct job {
    struct oct_http_task task;
    atomic_uint n_wanted; /* counted up before each post */
    unsigned n_seen;      /* the loop's: what n_wanted was in the last run */
    unsigned n_runs;
};

static struct oct_http *http;
static uint16_t port;
static struct job jobs[N_POSTERS];
static atomic_int n_running;
static struct oct_http_exchange *waiting; /* the loop's */
static struct oct_http_task answer_task;
static int n_requests, n_ends;

static int on_head(void *user, struct oct_http_exchange *x)
{
    (void)user, (void)x;
    return 0;
}

/* Answered by a task that the posters' runs post. */
static void on_request(void *user, struct oct_http_exchange *x)
{
    (void)user;
    n_requests++;
    oct_http_set_user(x, waiting);
    waiting = x;
}

static void on_end(void *user, struct oct_http_exchange *x, enum oct_http_end how)
{
    (void)user, (void)x;
    OCT_ASSERT(how == OCT_HTTP_DONE);
    n_ends++;
}

static void answer(struct oct_http_task *t)
{
    (void)t;
    while (waiting) {
        struct oct_http_exchange *x = waiting;
        waiting = oct_http_user(x);
        oct_http_respond(x, 200, "text/plain", "ok", 2);
    }
    if (atomic_load(&n_running) == 0) {
        oct_http_stop(http);
    }
}

static void run(struct oct_http_task *t)
{
    struct job *j = (struct job *)t;
    const unsigned wanted = atomic_load(&j->n_wanted);
    OCT_ASSERT(wanted >= j->n_seen);
    j->n_seen = wanted;
    j->n_runs++;
}

static void *poster(void *arg)
{
    struct job *j = arg;
    for (int i = 0; i < N_POSTS; i++) {
        atomic_fetch_add(&j->n_wanted, 1);
        oct_http_post(http, &j->task);
        oct_http_post(http, &answer_task);
    }
    return NULL;
}

static void *client(void *arg)
{
    static const char request[] = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    const struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    (void)arg;
    OCT_ASSERT(fd >= 0 && connect(fd, (const struct sockaddr *)&a, sizeof a) == 0);
    for (int i = 0; i < N_REQUESTS; i++) {
        char text[512];
        size_t len = 0;
        OCT_ASSERT(send(fd, request, sizeof request - 1, 0) == sizeof request - 1);
        do {
            oct_http_post(http, &answer_task);
            const ssize_t n = recv(fd, text + len, sizeof text - 1 - len, MSG_DONTWAIT);
            len += n > 0 ? (size_t)n : 0;
            text[len] = '\0';
        } while (!strstr(text, "\r\n\r\nok"));
    }
    (void)close(fd);
    atomic_fetch_sub(&n_running, 1);
    oct_http_post(http, &answer_task);
    return NULL;
}

int main(void)
{
    const struct oct_http_handler handler = {
        .on_head = on_head, .on_request = on_request, .on_end = on_end};
    pthread_t posters[N_POSTERS], clients[N_CLIENTS];
    answer_task.run = answer;
    OCT_ASSERT(oct_http_create(NULL, &handler, &http) == OCT_OK);
    OCT_ASSERT(oct_http_listen(http, "127.0.0.1", 0, NULL, &port) == OCT_OK);
    atomic_store(&n_running, N_CLIENTS);
    for (int i = 0; i < N_POSTERS; i++) {
        jobs[i].task.run = run;
        OCT_ASSERT(pthread_create(&posters[i], NULL, poster, &jobs[i]) == 0);
    }
    for (int i = 0; i < N_CLIENTS; i++) {
        OCT_ASSERT(pthread_create(&clients[i], NULL, client, NULL) == 0);
    }
    OCT_ASSERT(oct_http_run(http) == OCT_OK);
    for (int i = 0; i < N_CLIENTS; i++) {
        OCT_ASSERT(pthread_join(clients[i], NULL) == 0);
    }
    for (int i = 0; i < N_POSTERS; i++) {
        OCT_ASSERT(pthread_join(posters[i], NULL) == 0);
    }
    for (int i = 0; i < 10; i++) {
        OCT_ASSERT(oct_http_turn(http, false) == OCT_OK);
    }
    for (int i = 0; i < N_POSTERS; i++) {
        OCT_ASSERT(jobs[i].n_seen == N_POSTS);
        OCT_ASSERT(jobs[i].n_runs >= 1 && jobs[i].n_runs <= N_POSTS);
    }
    OCT_ASSERT(n_requests == N_CLIENTS * N_REQUESTS && n_ends == n_requests);
    oct_http_destroy(http);
    (void)puts("ok");
    return 0;
}
