/* SPDX-License-Identifier: Apache-2.0
 *
 * server.c - the loop: turns, deadlines, tasks of other threads. */
#include "http/conn.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- deadlines ---- */

static int64_t wait_length(const struct oct_http *h, enum oct_http_wait kind)
{
    const int64_t us[OCT_HTTP_N_WAITS] = {
        [OCT_HTTP_WAIT_HEAD] = h->limits.head_us,
        [OCT_HTTP_WAIT_BODY] = h->limits.body_idle_us,
        [OCT_HTTP_WAIT_STALL] = h->limits.write_stall_us,
        [OCT_HTTP_WAIT_KEEP_ALIVE] = h->limits.keep_alive_us,
        [OCT_HTTP_WAIT_LINGER] = h->limits.linger_us,
    };
    return us[kind];
}

void oct_http_wait_for(struct oct_http_conn *c, enum oct_http_wait kind)
{
    struct oct_http *h = c->h;
    if (c->wait != OCT_HTTP_N_WAITS) {
        TAILQ_REMOVE(&h->waiting[c->wait], c, waiting);
    }
    c->wait = kind;
    if (kind != OCT_HTTP_N_WAITS) {
        c->wait_since_us = oct_clock_us();
        TAILQ_INSERT_TAIL(&h->waiting[kind], c, waiting);
    }
}

/* When the next deadline is; 0: there is none. */
static int64_t next_deadline(const struct oct_http *h)
{
    int64_t next = h->accept_again_us;
    for (int i = 0; i < OCT_HTTP_N_WAITS; i++) {
        const struct oct_http_conn *c = TAILQ_FIRST(&h->waiting[i]);
        if (c) {
            const int64_t at = c->wait_since_us + wait_length(h, (enum oct_http_wait)i);
            next = !next || at < next ? at : next;
        }
    }
    return next;
}

static void sweep(struct oct_http *h)
{
    const int64_t now = oct_clock_us();
    if (h->accept_again_us && now >= h->accept_again_us) {
        h->accept_again_us = 0;
        oct_http_listeners_resume(h);
    }
    for (int i = 0; i < OCT_HTTP_N_WAITS; i++) {
        struct oct_http_conn *c;
        const int64_t length = wait_length(h, (enum oct_http_wait)i);
        while ((c = TAILQ_FIRST(&h->waiting[i])) && now - c->wait_since_us >= length) {
            oct_http_wait_for(c, OCT_HTTP_N_WAITS);
            oct_http_conn_deadline(c);
        }
    }
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    ((struct oct_http *)arg)->timer_us = 0;
}

/* Deadlines mostly move away, so the timer is left alone while it fires before the next of them. */
static oct_status set_timer(struct oct_http *h)
{
    const int64_t next = next_deadline(h);
    if (!next || (h->timer_us && h->timer_us <= next)) {
        return OCT_OK;
    }
    int64_t us = next - oct_clock_us();
    us = us < 0 ? 0 : us;
    const struct timeval tv = {.tv_sec = us / 1000000, .tv_usec = us % 1000000};
    if (event_add(h->timer, &tv) != 0) {
        return oct_no_memory("a timer of the HTTP server", sizeof tv);
    }
    h->timer_us = next;
    return OCT_OK;
}

/* ---- tasks ---- */

void oct_http_post(struct oct_http *h, struct oct_http_task *t)
{
    (void)pthread_mutex_lock(&h->lock);
    const bool is_first = !h->first_task && !t->is_posted;
    if (!t->is_posted) {
        t->is_posted = true;
        t->next = NULL;
        if (h->first_task) {
            h->last_task->next = t;
        } else {
            h->first_task = t;
        }
        h->last_task = t;
    }
    (void)pthread_mutex_unlock(&h->lock);
    if (is_first) {
        const uint64_t one = 1;
        while (write(h->wake_fd, &one, sizeof one) < 0 && errno == EINTR) {
        }
    }
}

static void on_wake(evutil_socket_t fd, short what, void *arg)
{
    uint64_t n;
    (void)what, (void)arg;
    while (read(fd, &n, sizeof n) < 0 && errno == EINTR) {
    }
}

/* Runs what has been posted so far; what those tasks post comes in the next turn. */
static void run_tasks(struct oct_http *h)
{
    (void)pthread_mutex_lock(&h->lock);
    struct oct_http_task *t = h->first_task;
    h->first_task = h->last_task = NULL;
    while (t) {
        struct oct_http_task *next = t->next;
        t->is_posted = false; /* from here on it may be posted again, or freed by its owner */
        (void)pthread_mutex_unlock(&h->lock);
        t->run(t);
        (void)pthread_mutex_lock(&h->lock);
        t = next;
    }
    (void)pthread_mutex_unlock(&h->lock);
}

static bool has_task(struct oct_http *h)
{
    (void)pthread_mutex_lock(&h->lock);
    const bool yes = h->first_task != NULL;
    (void)pthread_mutex_unlock(&h->lock);
    return yes;
}

/* ---- turns ---- */

oct_status oct_http_turn(struct oct_http *h, bool block)
{
    const bool may_sleep = block && TAILQ_EMPTY(&h->unsettled) && !has_task(h);
    if (may_sleep) {
        OCT_TRY(set_timer(h));
    }
    if (event_base_loop(h->base, may_sleep ? EVLOOP_ONCE : EVLOOP_ONCE | EVLOOP_NONBLOCK) < 0) {
        return OCT_FAIL(OCT_E_IO, "the event loop failed: %s", strerror(errno));
    }
    run_tasks(h);
    sweep(h);
    oct_http_settle_all(h);
    return OCT_OK;
}

oct_status oct_http_run(struct oct_http *h)
{
    while (!h->is_stopped) {
        OCT_TRY(oct_http_turn(h, true));
    }
    h->is_stopped = false;
    return OCT_OK;
}

void oct_http_stop(struct oct_http *h)
{
    h->is_stopped = true;
}

/* ---- the server ---- */

static void set_defaults(struct oct_http_limits *l)
{
    const struct oct_http_limits d = {
        .head_bytes = 32 << 10,
        .n_headers = 100,
        .body_bytes = 8 << 20,
        .bodies_bytes = 256 << 20,
        .n_chunks = 65536,
        .out_bytes = 256 << 10,
        .head_us = 10000000,
        .body_idle_us = 30000000,
        .write_stall_us = 30000000,
        .keep_alive_us = 75000000,
        .linger_us = 2000000,
        .n_connections = 10000,
        .n_pipelined = 64 << 10,
    };
#define DEFAULT(field) l->field = l->field ? l->field : d.field
    DEFAULT(head_bytes);
    DEFAULT(n_headers);
    DEFAULT(body_bytes);
    DEFAULT(bodies_bytes);
    DEFAULT(n_chunks);
    DEFAULT(out_bytes);
    DEFAULT(head_us);
    DEFAULT(body_idle_us);
    DEFAULT(write_stall_us);
    DEFAULT(keep_alive_us);
    DEFAULT(linger_us);
    DEFAULT(n_connections);
    DEFAULT(n_pipelined);
#undef DEFAULT
    /* A buffer of a body has one byte more than the body. */
    if (l->bodies_bytes <= l->body_bytes) {
        l->bodies_bytes = l->body_bytes + 1;
    }
    /* Some files are the program's own: the model while it loads, logs, listeners. */
    enum { OWN_FILES = 64 };
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur != RLIM_INFINITY) {
        const rlim_t most = files.rlim_cur > 2 * OWN_FILES ? files.rlim_cur - OWN_FILES : OWN_FILES;
        if ((rlim_t)l->n_connections > most) {
            l->n_connections = (int32_t)most;
        }
    }
}

static oct_status check_limits(const struct oct_http_limits *l)
{
    if (l->head_bytes > 16 << 20 || l->body_bytes > (size_t)1 << 40 || l->head_us < 0 ||
        l->body_idle_us < 0 || l->write_stall_us < 0 || l->keep_alive_us < 0 || l->linger_us < 0 ||
        l->n_connections < 0 || l->n_pipelined < 0) {
        return OCT_FAIL(OCT_E_ARG, "a limit of the HTTP server is negative, or over 16 MiB for a "
                                   "request's head or 1 TiB for its body");
    }
    return OCT_OK;
}

/* A base without threads (only oct_http_post is called from others) and without select and poll,
 * whose turns cost as much as there are connections. */
static struct event_base *new_base(void)
{
    struct event_config *cfg = event_config_new();
    struct event_base *base = NULL;
    if (cfg &&
        event_config_set_flag(cfg, EVENT_BASE_FLAG_NOLOCK | EVENT_BASE_FLAG_IGNORE_ENV) == 0 &&
        event_config_avoid_method(cfg, "select") == 0 &&
        event_config_avoid_method(cfg, "poll") == 0) {
        base = event_base_new_with_config(cfg);
    }
    if (cfg) {
        event_config_free(cfg);
    }
    return base;
}

static struct event *new_event(struct oct_http *h, int fd, event_callback_fn fn)
{
    const short what = fd < 0 ? 0 : EV_READ | EV_PERSIST;
    struct event *e = event_new(h->base, fd, what, fn, h);
    if (e && fd >= 0 && event_add(e, NULL) != 0) {
        event_free(e);
        e = NULL;
    }
    return e;
}

/* Writing to a client that has left would end the process: neither libevent nor OpenSSL asks the
 * kernel not to signal it. A handler that the program has set itself stays. */
static void ignore_sigpipe(void)
{
    struct sigaction now;
    if (sigaction(SIGPIPE, NULL, &now) == 0 && now.sa_handler == SIG_DFL) {
        now.sa_handler = SIG_IGN;
        (void)sigaction(SIGPIPE, &now, NULL);
    }
}

oct_status oct_http_create(const struct oct_http_limits *limits,
                           const struct oct_http_handler *handler, struct oct_http **out)
{
    oct_http_libraries_init();
    ignore_sigpipe();
    struct oct_http *h = oct_calloc(1, sizeof *h);
    if (!h) {
        return oct_no_memory("the HTTP server", sizeof *h);
    }
    oct_status st;
    h->limits = limits ? *limits : (struct oct_http_limits){0};
    h->handler = *handler;
    h->wake_fd = h->reserve_fd = -1;
    TAILQ_INIT(&h->all);
    TAILQ_INIT(&h->unsettled);
    for (int i = 0; i < OCT_HTTP_N_WAITS; i++) {
        TAILQ_INIT(&h->waiting[i]);
    }
    (void)pthread_mutex_init(&h->lock, NULL); /* cannot fail with default attributes */
    OCT_TRY_GOTO(check_limits(&h->limits), st, fail);
    set_defaults(&h->limits);
    h->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    h->reserve_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (h->wake_fd < 0 || h->reserve_fd < 0) {
        st = OCT_FAIL(OCT_E_IO, "the HTTP server cannot open its files: %s", strerror(errno));
        goto fail;
    }
    h->base = new_base();
    h->wake = h->base ? new_event(h, h->wake_fd, on_wake) : NULL;
    h->timer = h->wake ? new_event(h, -1, on_timer) : NULL;
    if (!h->timer) {
        st = OCT_FAIL(OCT_E_MEM, "the event loop cannot be set up: out of memory, or this system "
                                 "has no epoll");
        goto fail;
    }
    *out = h;
    return OCT_OK;
fail:
    oct_http_destroy(h);
    return st;
}

void oct_http_destroy(struct oct_http *h)
{
    if (!h) {
        return;
    }
    oct_http_listeners_close(h);
    struct oct_http_conn *c;
    /* clang-format off */
    TAILQ_FOREACH(c, &h->all, all) {
        oct_http_doom(c, c->x ? OCT_HTTP_ABORTED : OCT_HTTP_DONE);
    }
    /* clang-format on */
    oct_http_settle_all(h);
    struct event *events[] = {h->wake, h->timer};
    for (size_t i = 0; i < sizeof events / sizeof *events; i++) {
        if (events[i]) {
            event_free(events[i]);
        }
    }
    if (h->base) {
        event_base_free(h->base); /* runs what bufferevents have left to finalize */
    }
    const int fds[] = {h->wake_fd, h->reserve_fd};
    for (size_t i = 0; i < sizeof fds / sizeof *fds; i++) {
        if (fds[i] >= 0) {
            (void)close(fds[i]);
        }
    }
    (void)pthread_mutex_destroy(&h->lock);
    oct_free(h);
}

/* An idle connection that nothing is known to be on its way on: kept alive, and nothing has come.
 * One that is new was made for a request, which may be a moment behind it. */
static bool is_at_rest(const struct oct_http_conn *c)
{
    char byte;
    const int fd = bufferevent_getfd(c->bev);
    return c->state == OCT_HTTP_CONN_IDLE && c->was_used &&
           (fd < 0 || recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) <= 0);
}

void oct_http_close_listeners(struct oct_http *h)
{
    oct_http_listeners_accept_last(h);
    oct_http_listeners_close(h);
    h->is_draining = true;
    struct oct_http_conn *c;
    /* clang-format off */
    TAILQ_FOREACH(c, &h->all, all) {
        c->must_close = true;
        if (is_at_rest(c)) {
            oct_http_doom(c, OCT_HTTP_DONE);
        }
    }
    /* clang-format on */
}

struct event_base *oct_http_base(struct oct_http *h)
{
    return h->base;
}

void oct_http_get_stats(const struct oct_http *h, struct oct_http_stats *out)
{
    *out = h->stats;
}
