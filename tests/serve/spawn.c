/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/spawn.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <sys/prctl.h>
#include <unistd.h>

extern char **environ;

enum { PATIENCE_MS = 60000 }; /* a sanitizer on a busy machine */

_Noreturn void spawn_become(const char *const *args, const char *const *env)
{
    const char *argv[SPAWN_MAX_ARGS + 2] = {"octavo"};
    for (int i = 0; args[i]; i++) {
        argv[i + 1] = args[i];
    }
    for (char **e = environ; *e;) { /* unsetenv moves the rest down */
        char name[64];
        const size_t len = strcspn(*e, "=");
        const bool ours = !strncmp(*e, "OCTAVO_", 7) || !strncmp(*e, "OCT_FAULT=", 10);
        if (ours && len < sizeof name) {
            memcpy(name, *e, len);
            name[len] = '\0';
            (void)unsetenv(name);
        } else {
            e++;
        }
    }
    (void)setenv("TERM", "xterm", 1);
    (void)unsetenv("NO_COLOR");
    for (; env && *env; env++) {
        (void)putenv((char *)(uintptr_t)*env);
    }
    (void)signal(SIGPIPE, SIG_DFL);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that dies takes its server with it */
    (void)execv(OCT_BINARY, (char *const *)(uintptr_t)argv);
    _exit(99);
}

int spawn_wait(pid_t pid)
{
    int status;
    while (waitpid(pid, &status, 0) < 0) {
        cr_assert_eq(errno, EINTR);
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static int64_t now_ms(void)
{
    struct timespec t;
    cr_assert_eq(clock_gettime(CLOCK_MONOTONIC, &t), 0);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Appends what can be read; false at the end. */
static bool drain(int fd, struct oct_buf *b)
{
    char part[4096];
    const ssize_t n = read(fd, part, sizeof part);
    if (n > 0) {
        cr_assert_eq(oct_buf_append(b, part, (size_t)n), OCT_OK);
    }
    return n > 0 || (n < 0 && errno == EINTR);
}

void spawn(struct spawned *s, const char *const *args, const char *input, const char *const *env)
{
    int in[2], out[2], err[2];
    *s = (struct spawned){0};
    cr_assert(pipe2(in, O_CLOEXEC) == 0 && pipe2(out, O_CLOEXEC) == 0 &&
              pipe2(err, O_CLOEXEC) == 0);
    const pid_t pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0) {
        (void)dup2(in[0], 0);
        (void)dup2(out[1], 1);
        (void)dup2(err[1], 2);
        spawn_become(args, env);
    }
    (void)close(in[0]);
    (void)close(out[1]);
    (void)close(err[1]);
    /* Small inputs only: they fit into the pipe. A program that does not read them is fine. */
    (void)signal(SIGPIPE, SIG_IGN);
    const size_t len = input ? strlen(input) : 0;
    cr_assert_lt(len, 65536u);
    const ssize_t written = len ? write(in[1], input, len) : 0;
    cr_assert(written == (ssize_t)len || errno == EPIPE);
    (void)close(in[1]);
    struct pollfd fds[2] = {{.fd = out[0], .events = POLLIN}, {.fd = err[0], .events = POLLIN}};
    struct oct_buf *bufs[2] = {&s->out, &s->err};
    cr_assert_eq(oct_buf_reserve(&s->out, 1), OCT_OK);
    cr_assert_eq(oct_buf_reserve(&s->err, 1), OCT_OK);
    while (fds[0].fd >= 0 || fds[1].fd >= 0) {
        (void)poll(fds, 2, -1);
        for (int i = 0; i < 2; i++) {
            if (fds[i].fd >= 0 && fds[i].revents && !drain(fds[i].fd, bufs[i])) {
                (void)close(fds[i].fd);
                fds[i].fd = -1;
            }
        }
    }
    s->code = spawn_wait(pid);
}

void spawn_line(struct spawned *s, const char *line, const char *input)
{
    char *text = oct_strdup(line), *rest = text;
    const char *args[SPAWN_MAX_ARGS + 1] = {0};
    cr_assert_not_null(text);
    for (int n = 0; rest && *line; n++) {
        cr_assert_lt(n, SPAWN_MAX_ARGS);
        args[n] = strsep(&rest, "|");
    }
    spawn(s, args, input, NULL);
    oct_free(text);
}

void spawned_free(struct spawned *s)
{
    oct_buf_free(&s->out);
    oct_buf_free(&s->err);
}

void terminal_start(struct terminal *t, const char *const *args, const char *const *env)
{
    const struct winsize size = {.ws_row = 24, .ws_col = 80};
    *t = (struct terminal){0};
    t->pid = forkpty(&t->fd, NULL, NULL, &size);
    cr_assert_geq(t->pid, 0);
    if (t->pid == 0) {
        spawn_become(args, env);
    }
    cr_assert_eq(oct_buf_reserve(&t->screen, 1), OCT_OK);
}

void terminal_type(struct terminal *t, const char *keys)
{
    cr_assert_eq(write(t->fd, keys, strlen(keys)), (ssize_t)strlen(keys));
}

/* Takes what is shown within wait_ms; false if the terminal has closed. */
static bool terminal_look(struct terminal *t, int wait_ms)
{
    struct pollfd p = {.fd = t->fd, .events = POLLIN};
    if (poll(&p, 1, wait_ms) != 1) {
        return true;
    }
    const size_t from = t->screen.len;
    const bool open = drain(t->fd, &t->screen);
    size_t kept = from;
    for (size_t i = from; i < t->screen.len; i++) {
        if (t->screen.data[i] != '\r') {
            t->screen.data[kept++] = t->screen.data[i];
        }
    }
    t->screen.len = kept;
    t->screen.data[kept] = '\0';
    return open;
}

void terminal_expect(struct terminal *t, const char *text)
{
    const int64_t give_up = now_ms() + PATIENCE_MS;
    for (;;) {
        const char *found = strstr(t->screen.data + t->seen, text);
        if (found) {
            t->seen = (size_t)(found - t->screen.data) + strlen(text);
            return;
        }
        const bool open = terminal_look(t, 100);
        cr_assert(open || strstr(t->screen.data + t->seen, text),
                  "the program ended before it showed \"%s\"; the screen:\n%s", text,
                  t->screen.data);
        cr_assert_lt(now_ms(), give_up, "\"%s\" did not come; the screen:\n%s", text,
                     t->screen.data);
    }
}

void terminal_expect_some(struct terminal *t)
{
    const int64_t give_up = now_ms() + PATIENCE_MS;
    while (t->screen.len == t->seen) {
        cr_assert(terminal_look(t, 100), "the program ended before it showed anything");
        cr_assert_lt(now_ms(), give_up, "nothing came; the screen:\n%s", t->screen.data);
    }
    t->seen = t->screen.len;
}

int terminal_end(struct terminal *t)
{
    const int64_t give_up = now_ms() + PATIENCE_MS;
    while (terminal_look(t, 100)) {
        cr_assert_lt(now_ms(), give_up, "the program did not end; the screen:\n%s", t->screen.data);
    }
    return terminal_hang_up(t);
}

int terminal_hang_up(struct terminal *t)
{
    (void)close(t->fd);
    const int code = spawn_wait(t->pid);
    oct_buf_free(&t->screen);
    return code;
}

double spawn_json_number(const char *text, const char *path)
{
    json_error_t error;
    json_t *all = json_loads(text, JSON_REJECT_DUPLICATES, &error);
    cr_assert_not_null(all, "not JSON (%s): %s", error.text, text);
    char names[128];
    cr_assert_lt(strlen(path), sizeof names);
    strcpy(names, path);
    const json_t *at = all;
    char *rest = names;
    for (const char *name; (name = strsep(&rest, "."));) {
        at = json_object_get(at, name);
    }
    cr_assert(json_is_number(at), "%s is no number in %s", path, text);
    const double v = json_number_value(at);
    json_decref(all);
    return v;
}
