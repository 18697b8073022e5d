/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/server.h"

#include "serve/spawn.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

int64_t server_now_ms(void)
{
    struct timespec t;
    cr_assert_eq(clock_gettime(CLOCK_MONOTONIC, &t), 0);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* ---- the process ---- */

static bool has(const char *const *args, const char *name)
{
    for (; *args; args++) {
        const size_t len = strlen(name);
        if (!strncmp(*args, name, len) && (!(*args)[len] || (*args)[len] == '=')) {
            return true;
        }
    }
    return false;
}

void server_start(struct server *s, const char *const *args, const char *const *env,
                  const char *err_to)
{
    static const char *const defaults[][2] = {
        {"--port", "0"}, {"--device", "cpu"}, {"--threads", "1"}, {"--self-test-interval", "0"}};
    const char *all[SPAWN_MAX_ARGS + 1] = {"serve"};
    int n = 1, err[2];
    for (const char *const *a = args; *a; a++) {
        cr_assert_lt(n, SPAWN_MAX_ARGS - 9);
        all[n++] = *a;
    }
    for (int i = 0; i < 4; i++) {
        if (!has(args, defaults[i][0])) {
            all[n++] = defaults[i][0];
            all[n++] = defaults[i][1];
        }
    }
    all[n] = NULL;
    *s = (struct server){.err_fd = -1};
    cr_assert_eq(oct_buf_reserve(&s->err, 1), OCT_OK);
    s->err.data[0] = '\0';
    cr_assert_eq(pipe2(err, O_CLOEXEC), 0);
    const int to = err_to ? open(err_to, O_WRONLY | O_CLOEXEC) : err[1];
    cr_assert_geq(to, 0, "%s: %s", err_to, strerror(errno));
    s->pid = fork();
    cr_assert_geq(s->pid, 0);
    if (s->pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* no test that fails leaves it behind */
        const int null = open("/dev/null", O_RDWR);
        (void)dup2(null, 0);
        (void)dup2(null, 1);
        (void)dup2(to, 2);
        spawn_become(all, env);
    }
    (void)close(err[1]);
    if (err_to) {
        (void)close(to);
        (void)close(err[0]);
    } else {
        s->err_fd = err[0];
    }
}

/* Takes what comes within wait_ms; false at the end. */
static bool look(struct server *s, int wait_ms)
{
    char part[4096];
    struct pollfd p = {.fd = s->err_fd, .events = POLLIN};
    if (s->err_fd < 0 || poll(&p, 1, wait_ms) != 1) {
        return s->err_fd >= 0;
    }
    const ssize_t n = read(s->err_fd, part, sizeof part);
    if (n > 0) {
        cr_assert_eq(oct_buf_append(&s->err, part, (size_t)n), OCT_OK);
        return true;
    }
    (void)close(s->err_fd);
    s->err_fd = -1;
    return false;
}

const char *server_expect(struct server *s, const char *text)
{
    const int64_t give_up = server_now_ms() + SERVER_PATIENCE_MS;
    for (;;) {
        const char *found = strstr(s->err.data, text);
        if (found) {
            return found + strlen(text);
        }
        const bool open = look(s, 100);
        cr_assert(open || strstr(s->err.data, text), "it ended before it said \"%s\": %s", text,
                  s->err.data);
        cr_assert_lt(server_now_ms(), give_up, "\"%s\" did not come: %s", text, s->err.data);
    }
}

void server_ready(struct server *s)
{
    (void)server_expect(s, "requests at once");
    const char *colon = strstr(s->err.data, "://");
    s->port = colon ? (uint16_t)atoi(strchr(colon + 3, ':') + 1) : 0;
}

void server_kill(struct server *s, int signal)
{
    cr_assert_eq(kill(s->pid, signal), 0);
}

int server_poll(struct server *s)
{
    int status;
    if (s->err_fd >= 0) {
        (void)look(s, 5);
    } else {
        (void)usleep(5000);
    }
    const pid_t ended = waitpid(s->pid, &status, WNOHANG);
    cr_assert(ended == 0 || ended == s->pid);
    if (ended == 0) {
        return -1;
    }
    while (look(s, 1000)) {
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

int server_wait(struct server *s)
{
    const int64_t give_up = server_now_ms() + SERVER_PATIENCE_MS;
    int code;
    while ((code = server_poll(s)) < 0) {
        if (server_now_ms() > give_up) {
            (void)kill(s->pid, SIGKILL);
            cr_assert_fail("the server did not end: %s", s->err.data);
        }
    }
    return code;
}

void server_free(struct server *s)
{
    if (s->err_fd >= 0) {
        (void)close(s->err_fd);
    }
    oct_buf_free(&s->err);
}

void server_stop(struct server *s)
{
    server_kill(s, SIGTERM);
    const int code = server_wait(s);
    cr_assert_eq(code, 0, "exit code %d: %s", code, s->err.data);
    server_free(s);
}

/* ---- a client ---- */

int server_connect(struct server *s)
{
    const struct sockaddr_in to = {.sin_family = AF_INET,
                                   .sin_port = htons(s->port),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_geq(fd, 0);
    if (connect(fd, (const struct sockaddr *)&to, sizeof to) != 0) {
        (void)close(fd);
        return -1;
    }
    return fd;
}

uint16_t server_fixed_port(void)
{
    unsigned first_given = 32768; /* by Linux, unless it is told otherwise */
    FILE *f = fopen("/proc/sys/net/ipv4/ip_local_port_range", "re");
    if (f) {
        (void)!fscanf(f, "%u", &first_given);
        (void)fclose(f);
    }
    enum { LOWEST = 10000, N_TRIES = 100 };
    cr_assert_gt(first_given, LOWEST + N_TRIES);
    for (unsigned i = 0; i < N_TRIES; i++) { /* tests beside this one begin elsewhere */
        const unsigned port = LOWEST + ((unsigned)getpid() * 7 + i) % (first_given - LOWEST);
        const struct sockaddr_in at = {.sin_family = AF_INET,
                                       .sin_port = htons((uint16_t)port),
                                       .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        const bool is_free = bind(fd, (const struct sockaddr *)&at, sizeof at) == 0;
        (void)close(fd);
        if (is_free) {
            return (uint16_t)port;
        }
    }
    cr_assert_fail("no port is free");
    return 0;
}

/* Undoes the chunks of a body, in place. */
static void join_chunks(struct oct_buf *b)
{
    char *to = b->data, *from = b->data, *end;
    for (;;) {
        const unsigned long n = strtoul(from, &end, 16);
        const char *line = strstr(end, "\r\n");
        if (n == 0 || !line || n > (size_t)(b->data + b->len - line)) {
            break;
        }
        memmove(to, line + 2, n);
        to += n;
        from = b->data + (line - b->data) + 2 + n + 2;
    }
    *to = '\0';
    b->len = (size_t)(to - b->data);
}

int server_ask_on(int fd, const char *path, const char *header, const char *body,
                  struct oct_buf *out)
{
    struct oct_buf q = {0}, r = {0};
    cr_assert_eq(oct_buf_printf(&q, "%s %s HTTP/1.1\r\nHost: octavo\r\nConnection: close\r\n%s",
                                body ? "POST" : "GET", path, header),
                 OCT_OK);
    if (body) {
        cr_assert_eq(
            oct_buf_printf(&q, "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
                           strlen(body), body),
            OCT_OK);
    } else {
        cr_assert_eq(oct_buf_printf(&q, "\r\n"), OCT_OK);
    }
    (void)signal(SIGPIPE, SIG_IGN);
    for (size_t done = 0; done < q.len;) {
        const ssize_t n = write(fd, q.data + done, q.len - done);
        if (n <= 0) {
            break;
        }
        done += (size_t)n;
    }
    oct_buf_free(&q);
    char part[4096];
    struct pollfd p = {.fd = fd, .events = POLLIN};
    while (poll(&p, 1, SERVER_PATIENCE_MS) == 1) {
        const ssize_t n = read(fd, part, sizeof part);
        if (n <= 0) {
            break;
        }
        cr_assert_eq(oct_buf_append(&r, part, (size_t)n), OCT_OK);
    }
    (void)close(fd);
    int status = 0;
    char *end = r.data ? strstr(r.data, "\r\n\r\n") : NULL;
    if (end && sscanf(r.data, "HTTP/1.1 %d", &status) == 1) {
        *end = '\0';
        const bool chunked = strcasestr(r.data, "transfer-encoding: chunked") != NULL;
        r.len -= (size_t)(end + 4 - r.data);
        memmove(r.data, end + 4, r.len + 1);
        if (chunked) {
            join_chunks(&r);
        }
    }
    if (out) {
        *out = r;
    } else {
        oct_buf_free(&r);
    }
    return status;
}

int server_ask(struct server *s, const char *path, const char *header, const char *body,
               struct oct_buf *out)
{
    const int fd = server_connect(s);
    if (fd < 0) {
        if (out) {
            *out = (struct oct_buf){0};
        }
        return 0;
    }
    return server_ask_on(fd, path, header, body, out);
}
