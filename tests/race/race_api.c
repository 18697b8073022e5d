/* SPDX-License-Identifier: Apache-2.0
 *
 * The service with all its threads (the loop, workers, the engine) and clients that stream, wait,
 * and leave; then it ends while requests run. For ThreadSanitizer; that every answer is whole is
 * checked as well. */
#include "api/api.h"
#include "support/fake_runner.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CLIENTS = 6, REQUESTS = 40, MAX_ANSWER = 1 << 16 };

static uint16_t port;

struct client {
    pthread_t thread;
    int number;
    const char *wrong;
};

static int connect_to(void)
{
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&to, sizeof to) == 0) {
        return fd;
    }
    abort();
}

static int begin(const char *path, const char *body)
{
    char request[1024];
    const int n = snprintf(request, sizeof request,
                           "POST %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                           "Content-Length: %zu\r\n\r\n%s",
                           path, strlen(body), body);
    const int fd = connect_to();
    if (send(fd, request, (size_t)n, MSG_NOSIGNAL) != n) {
        abort();
    }
    return fd;
}

/* The whole answer, NUL-terminated. */
static void read_all(int fd, char *dst)
{
    size_t n = 0;
    ssize_t r;
    while (n + 1 < MAX_ANSWER && (r = recv(fd, dst + n, MAX_ANSWER - 1 - n, 0)) > 0) {
        n += (size_t)r;
    }
    dst[n] = '\0';
    (void)close(fd);
}

static const struct {
    const char *path, *body, *end;
} asked[] = {
    {"/v1/completions", "{\"prompt\":\"abc ddd\",\"max_tokens\":30,\"stream\":true,\"n\":2}",
     "data: [DONE]\n\n\r\n0\r\n\r\n"},
    {"/v1/completions", "{\"prompt\":[\"abc\",\"xyz\"],\"max_tokens\":20,\"logprobs\":2}", "]}"},
    {"/v1/chat/completions",
     "{\"messages\":[{\"role\":\"u\",\"content\":\"abc\"}],\"max_tokens\":20}", "}"},
    {"/tokenize", "{\"prompt\":\"abc\"}", "}"},
    {"/v1/completions", "{\"prompt\":\"abc\",\"max_tokens\":-1}", "}"},
    {"/metrics", "{}", "}"}, /* 405 */
};
enum { N_ASKED = sizeof asked / sizeof *asked };

static void *run_client(void *arg)
{
    struct client *c = arg;
    char *got = oct_malloc(MAX_ANSWER);
    for (int i = 0; got && i < REQUESTS; i++) {
        const int kind = (i + c->number) % N_ASKED;
        const int fd = begin(asked[kind].path, asked[kind].body);
        if (i % 5 == 4) { /* leaves */
            (void)usleep((unsigned)(i * 100));
            (void)close(fd);
            continue;
        }
        read_all(fd, got);
        if (!strstr(got, "HTTP/1.1 ") || !strstr(got, asked[kind].end)) {
            c->wrong = "an answer was not whole";
        }
    }
    oct_free(got);
    return NULL;
}

static void *run_loop(void *http)
{
    if (oct_http_run(http) != OCT_OK) {
        abort();
    }
    return NULL;
}

struct stop {
    struct oct_http_task task;
    struct oct_http *http;
};

static void stop(struct oct_http_task *t)
{
    oct_http_stop(((struct stop *)t)->http);
}

static void must(oct_status st)
{
    if (st != OCT_OK) {
        (void)fprintf(stderr, "%s\n", oct_last_error());
        abort();
    }
}

int main(void)
{
    static const char *const names[] = {"fake"};
    const struct oct_api_config config = {.model_names = names, .n_model_names = 1, .n_workers = 3};
    struct oct_engine_options o = OCT_ENGINE_OPTIONS_INIT;
    struct oct_api *api;
    struct oct_http *http;
    struct fake fake;
    struct client client[CLIENTS];
    pthread_t loop;
    int failed = 0, left[4];
    (void)signal(SIGPIPE, SIG_IGN);
    must(oct_api_create(&config, &api));
    must(oct_api_start(api));
    const struct oct_http_handler h = oct_api_handler(api);
    must(oct_http_create(NULL, &h, &http));
    must(oct_http_listen(http, "127.0.0.1", 0, NULL, &port));
    oct_api_prepare_engine(api, http, &o);
    fake_open(&(struct fake_options){.on_events = o.on_events,
                                     .events_user = o.events_user,
                                     .delay_us = 100},
              &fake);
    must(oct_chat_init(&fake.e->chat, fake.vocab,
                       "{% for m in messages %}{{ m.content }}{% endfor %}", NULL));
    oct_api_set_engine(api, fake.e);
    if (pthread_create(&loop, NULL, run_loop, http) != 0) {
        abort();
    }
    for (int i = 0; i < CLIENTS; i++) {
        client[i] = (struct client){.number = i};
        if (pthread_create(&client[i].thread, NULL, run_client, &client[i]) != 0) {
            abort();
        }
    }
    for (int i = 0; i < CLIENTS; i++) {
        pthread_join(client[i].thread, NULL);
        if (client[i].wrong) {
            (void)fprintf(stderr, "client %d: %s\n", i, client[i].wrong);
            failed = 1;
        }
    }
    for (int i = 0; i < 4; i++) { /* these run when everything ends */
        left[i] = begin(asked[i].path, asked[i].body);
    }
    (void)usleep(2000);
    struct stop s = {.task.run = stop, .http = http};
    oct_http_post(http, &s.task);
    pthread_join(loop, NULL);
    oct_api_stop(api);
    oct_http_destroy(http);
    fake_close(&fake);
    oct_api_destroy(api);
    for (int i = 0; i < 4; i++) {
        (void)close(left[i]);
    }
    return failed;
}
