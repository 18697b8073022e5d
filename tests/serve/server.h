/* SPDX-License-Identifier: Apache-2.0
 *
 * server.h - `octavo serve` run as a user does, and asked. Whatever goes wrong here fails the
 * test. */
#ifndef OCT_TEST_SERVER_H
#define OCT_TEST_SERVER_H

#include "base/mem.h"

#include <sys/types.h>

struct server {
    pid_t pid;
    int err_fd;         /* its standard error; -1: it went elsewhere */
    struct oct_buf err; /* what came from there; NUL-terminated */
    uint16_t port;      /* 0 until it is ready */
};

enum { SERVER_PATIENCE_MS = 60000 };

/* octavo serve with these arguments (NULL at the end) and, unless they say otherwise, --port 0
 * --device cpu --threads 1 --self-test-interval 0 (what it counts is the test's). env: NULL or as
 * spawn(). err_to: a file that its standard error goes to; NULL: to s. */
void server_start(struct server *s, const char *const *args, const char *const *env,
                  const char *err_to);
/* Waits until its standard error has `text`; returns what follows it. */
const char *server_expect(struct server *s, const char *text);
/* Waits until it is ready, and learns its port. */
void server_ready(struct server *s);
/* Signals it. */
void server_kill(struct server *s, int signal);
/* Takes what it says, for a moment: -1 while it runs, else its exit code. */
int server_poll(struct server *s);
/* Waits for its end; the exit code, 1000 + signal if one killed it. */
int server_wait(struct server *s);
/* SIGTERM, its end, exit code 0. */
void server_stop(struct server *s);
void server_free(struct server *s); /* of one that has ended */

/* One request on a connection of its own. body NULL: GET. header: "Name: value\r\n" or "". The
 * status; the answer's body in out (may be NULL; to be freed by the caller). 0: no answer. */
int server_ask(struct server *s, const char *path, const char *header, const char *body,
               struct oct_buf *out);
/* The same on a connection that is made by the caller, and closed here. */
int server_ask_on(int fd, const char *path, const char *header, const char *body,
                  struct oct_buf *out);
int server_connect(struct server *s); /* -1: refused */
/* A port that is free, and that the kernel gives to nobody who asks for any: for a server that
 * must be found again where it was. */
uint16_t server_fixed_port(void);

int64_t server_now_ms(void);

#endif
