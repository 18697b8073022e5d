/* SPDX-License-Identifier: Apache-2.0
 *
 * service.h - the whole service over loopback sockets: the real HTTP server and service in a thread
 * of their own, over the real engine behind the fake runner (or over a tiny model), and a client
 * that blocks. */
#ifndef OCT_TESTS_API_SERVICE_H
#define OCT_TESTS_API_SERVICE_H

#include "api/api.h"
#include "support/fake_runner.h"

#include <jansson.h>
#include <pthread.h>

/* The fake model has no tokens for the merges of tests/support/tiny.c: no text of a test may hold
 * "he", "in", "re", "an" or " t". */
#define SERVICE_TEMPLATE \
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}" \
    "{% if add_generation_prompt %}<|im_start|>bot\n{% endif %}"

struct service {
    /* set before service_start; the rest {0} */
    struct oct_api_config config; /* without names: "fake" and "alias" */
    struct fake_options fake_options;
    struct oct_http_limits limits;
    const char *chat_template; /* NULL: SERVICE_TEMPLATE */
    const char *model_path;    /* a real model instead of the fake one */
    bool no_engine;            /* stays LOADING */

    struct fake fake;
    oct_engine *e;
    struct oct_api *api;
    struct oct_http *http;
    uint16_t port;
    pthread_t loop;
};
void service_start(struct service *s);
/* Waits until nothing runs, checks that every page and count is where it was, and ends all. */
void service_stop(struct service *s);
/* Ends all without waiting for anything. */
void service_end_now(struct service *s);
/* Runs fn on the loop's thread and waits for it. */
void service_on_loop(struct service *s, void (*fn)(struct service *s, void *arg), void *arg);
struct oct_api_counts service_counts(struct service *s);
struct oct_engine_stats service_stats(struct service *s);
/* Until the service has no call; false after 10 s. */
bool service_wait_idle(struct service *s);

/* What a client got. */
struct answer {
    int status; /* 0: no whole head came */
    bool is_whole;
    char *head;          /* "HTTP/1.1 200 OK\r\n..." with NUL */
    struct oct_buf body; /* without chunk marks */
};
void answer_free(struct answer *a);
/* The value of a header, in dst; "" if there is none. */
const char *answer_header(const struct answer *a, const char *name, char dst[256]);
/* The body as JSON; fails the test if it is none. The caller's. */
json_t *answer_json(const struct answer *a);
/* "error.message" of it, and its status. */
void answer_expect_error(const struct answer *a, int status, const char *part);

/* A connection of one's own; -1 fails the test. */
int service_connect(struct service *s);
void service_write(int fd, const void *data, size_t len);
/* The bytes of a request. headers: lines with \r\n, or "". body may be NULL. Given away: free. */
char *service_request(const char *method, const char *path, const char *headers, const char *body,
                      size_t body_len, size_t *len);
/* Reads to the end and closes. */
struct answer service_read(int fd);
struct answer service_ask(struct service *s, const char *method, const char *path,
                          const char *headers, const char *body);
struct answer service_post(struct service *s, const char *path, const char *body);
json_t *service_post_json(struct service *s, const char *path, const char *body); /* of a 200 */

/* The events of a stream: each `data: ` as JSON; the last must be [DONE]. */
struct events {
    json_t **item;
    size_t n;
};
struct events events_of(const struct answer *a);
void events_free(struct events *ev);

/* What the engine itself says to a prompt, greedy; given away: free. */
char *service_direct(struct service *s, const char *prompt, const struct oct_sampling *sampling,
                     size_t *len);

/* Dotted path: "choices.0.text". NULL if it is not there. */
const json_t *at(const json_t *j, const char *path);
const char *str_at(const json_t *j, const char *path);
long long int_at(const json_t *j, const char *path); /* -1 if it is not there */

#endif
