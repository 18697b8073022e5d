/* SPDX-License-Identifier: Apache-2.0
 *
 * listen.c - where connections come from: TCP, Unix sockets, and what happens when there is no room
 * for one more. */
#include "http/conn.h"

#include "base/clock.h"
#include "base/fault.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    BACKLOG = 4096,
    N_ACCEPTS = 64,      /* in one turn: the other connections want their turn, too */
    N_REFUSED_OPEN = 64, /* that get a proper goodbye; more are told 503 and cut */
    MAX_ADDRESSES = 16,  /* of one name */
    /* Each way, of the kernel, for one connection (it doubles them). They grow to megabytes of its
     * memory on their own, for every reader that is slow. */
    SOCKET_BYTES = 128 << 10,
};
static const int64_t pause_us = 100000; /* without a file or memory for one more connection */

struct oct_http_listener {
    struct oct_http *h;
    struct oct_http_listener *next;
    struct oct_http_tls *tls; /* borrowed; NULL: plain */
    struct event *event;
    int fd;
    char *path; /* owned; of a Unix socket, else NULL */
    dev_t dev;  /* and of the file we made there */
    ino_t ino;
};

/* ---- accepting ---- */

static void name_peer(const struct sockaddr_storage *a, socklen_t len, char *out, size_t size)
{
    char host[48], port[8];
    if (a->ss_family == AF_UNIX) {
        (void)snprintf(out, size, "unix");
    } else if (getnameinfo((const struct sockaddr *)a, len, host, sizeof host, port, sizeof port,
                           NI_NUMERICHOST | NI_NUMERICSERV) != 0) {
        (void)snprintf(out, size, "unknown");
    } else {
        (void)snprintf(out, size, a->ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
    }
}

/* Tells a client at once, and without keeping anything of it, that there is no room. */
static void turn_away(struct oct_http_listener *l, int fd)
{
    struct oct_buf text = {0};
    if (!l->tls && oct_http_refusal_text(l->h, 503,
                                         "the server has as many connections as it may; retry "
                                         "later",
                                         false, &text)) {
        char drop[4096];
        (void)send(fd, text.data, text.len, MSG_NOSIGNAL | MSG_DONTWAIT);
        (void)shutdown(fd, SHUT_WR);
        /* What it has sent already would turn our close into a reset that overtakes the answer. */
        (void)recv(fd, drop, sizeof drop, MSG_DONTWAIT);
    }
    oct_buf_free(&text);
    (void)close(fd);
}

static void accepted(struct oct_http_listener *l, int fd, const char *peer)
{
    struct oct_http *h = l->h;
    const bool is_full = h->stats.n_connections >= h->limits.n_connections;
    h->stats.n_accepted++;
    h->stats.n_refused += is_full;
    if (is_full && (l->tls || h->n_refused_open >= N_REFUSED_OPEN)) {
        turn_away(l, fd);
        return;
    }
    SSL *ssl = NULL;
    struct bufferevent *bev = l->tls ? oct_http_tls_accept(l->tls, h->base, fd, &ssl)
                                     : bufferevent_socket_new(h->base, fd, BEV_OPT_CLOSE_ON_FREE);
    if (!bev) {
        (void)close(fd);
    } else if (oct_http_conn_open(h, bev, ssl, peer, is_full) != OCT_OK) {
        oct_error_clear();
    }
}

static void pause_accepting(struct oct_http *h)
{
    for (struct oct_http_listener *l = h->listeners; l; l = l->next) {
        (void)event_del(l->event);
    }
    h->accept_again_us = oct_clock_us() + pause_us;
}

void oct_http_listeners_resume(struct oct_http *h)
{
    for (struct oct_http_listener *l = h->listeners; l; l = l->next) {
        if (event_add(l->event, NULL) != 0) {
            h->accept_again_us = oct_clock_us() + pause_us;
        }
    }
}

static int accept_one(struct oct_http_listener *l, struct sockaddr_storage *from, socklen_t *len)
{
    *len = sizeof *from;
    if (oct_fault_hit(OCT_FAULT_ACCEPT)) {
        errno = EMFILE;
        return -1;
    }
    return accept4(l->fd, (struct sockaddr *)from, len, SOCK_NONBLOCK | SOCK_CLOEXEC);
}

/* No file is left: gives up the one kept for this, to tell the first in line, and takes it back. */
static void spend_reserve(struct oct_http_listener *l)
{
    struct oct_http *h = l->h;
    h->stats.n_refused++;
    if (h->reserve_fd >= 0) {
        (void)close(h->reserve_fd);
        const int fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            turn_away(l, fd);
        }
    }
    h->reserve_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (h->reserve_fd < 0) {
        pause_accepting(h);
    }
}

/* Up to n who have connected. 0, or why there are not more: EAGAIN, or what is wanting here. */
static int accept_some(struct oct_http_listener *l, int n)
{
    for (int i = 0; i < n; i++) {
        struct sockaddr_storage from;
        socklen_t len;
        const int fd = accept_one(l, &from, &len);
        if (fd >= 0) {
            char peer[64];
            name_peer(&from, len, peer, sizeof peer);
            accepted(l, fd, peer);
        } else if (errno == EAGAIN || errno == EMFILE || errno == ENFILE || errno == ENOBUFS ||
                   errno == ENOMEM) {
            return errno;
        } /* else this one connection is gone already: ECONNABORTED, EPROTO, EPERM, EINTR */
    }
    return 0;
}

static void on_accept(evutil_socket_t listen_fd, short what, void *arg)
{
    struct oct_http_listener *l = arg;
    (void)listen_fd, (void)what;
    const int why = accept_some(l, N_ACCEPTS);
    if (why == EMFILE || why == ENFILE) {
        spend_reserve(l);
    } else if (why == ENOBUFS || why == ENOMEM) {
        pause_accepting(l->h);
    }
}

/* ---- listening ---- */

/* Takes fd over, also on failure. path: given away. */
static oct_status add_listener(struct oct_http *h, int fd, struct oct_http_tls *tls, char *path)
{
    struct oct_http_listener *l = oct_calloc(1, sizeof *l);
    struct event *event = NULL;
    if (l) {
        event = event_new(h->base, fd, EV_READ | EV_PERSIST, on_accept, l);
    }
    if (!event || event_add(event, NULL) != 0) {
        if (event) {
            event_free(event);
        }
        oct_free(l);
        (void)close(fd);
        if (path) {
            (void)unlink(path);
            oct_free(path);
        }
        return oct_no_memory("a listener", sizeof *l);
    }
    *l = (struct oct_http_listener){
        .h = h, .next = h->listeners, .tls = tls, .event = event, .fd = fd, .path = path};
    struct stat st;
    if (path && lstat(path, &st) == 0) {
        l->dev = st.st_dev;
        l->ino = st.st_ino;
    }
    h->listeners = l;
    return OCT_OK;
}

void oct_http_listeners_accept_last(struct oct_http *h)
{
    for (struct oct_http_listener *l = h->listeners; l; l = l->next) {
        (void)accept_some(l, BACKLOG); /* the kernel has let them in: they get an answer from us */
    }
}

void oct_http_listeners_close(struct oct_http *h)
{
    while (h->listeners) {
        struct oct_http_listener *l = h->listeners;
        struct stat st;
        h->listeners = l->next;
        event_free(l->event);
        (void)close(l->fd);
        if (l->path && lstat(l->path, &st) == 0 && st.st_dev == l->dev && st.st_ino == l->ino) {
            (void)unlink(l->path); /* ours still, not another server's that came after */
        }
        oct_free(l->path);
        oct_free(l);
    }
    h->accept_again_us = 0;
}

/* A listening socket at one address, or -1 and errno. Connections inherit what is set here. */
static int listen_at(const struct addrinfo *a, bool is_any)
{
    const int fd =
        socket(a->ai_family, a->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, a->ai_protocol);
    if (fd < 0) {
        return -1;
    }
    const int on = 1, only_v6 = !is_any, bytes = SOCKET_BYTES, idle_s = 60, every_s = 10, n = 3;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    /* A client whose machine has gone sends nothing, not even an end: seen after 90 s. */
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof idle_s);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &every_s, sizeof every_s);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &n, sizeof n);
    if (a->ai_family == AF_INET6) {
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only_v6, sizeof only_v6);
    }
    if (bind(fd, a->ai_addr, a->ai_addrlen) != 0 || listen(fd, BACKLOG) != 0) {
        const int e = errno;
        (void)close(fd);
        errno = e;
        return -1;
    }
    return fd;
}

static uint16_t port_of(int fd)
{
    struct sockaddr_storage a;
    socklen_t len = sizeof a;
    if (getsockname(fd, (struct sockaddr *)&a, &len) != 0) {
        return 0;
    }
    return ntohs(a.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&a)->sin6_port
                                         : ((struct sockaddr_in *)&a)->sin_port);
}

static void set_port(struct addrinfo *a, uint16_t port)
{
    if (a->ai_family == AF_INET6) {
        ((struct sockaddr_in6 *)a->ai_addr)->sin6_port = htons(port);
    } else if (a->ai_family == AF_INET) {
        ((struct sockaddr_in *)a->ai_addr)->sin_port = htons(port);
    }
}

oct_status oct_http_listen(struct oct_http *h, const char *host, uint16_t port,
                           struct oct_http_tls *tls, uint16_t *bound_port)
{
    const struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_NUMERICSERV,
                                   .ai_socktype = SOCK_STREAM};
    struct addrinfo *list = NULL;
    char service[8], name[256];
    (void)snprintf(service, sizeof service, "%u", (unsigned)port);
    (void)oct_error_quote(name, sizeof name, host, strlen(host));
    const int e = getaddrinfo(*host ? host : NULL, service, &hints, &list);
    if (e != 0) {
        return OCT_FAIL(OCT_E_IO, "cannot listen at host \"%s\": %s", name, gai_strerror(e));
    }
    /* All addresses: one socket of IPv6 takes IPv4, too; where there is no IPv6, IPv4 alone. */
    const int first = *host ? AF_UNSPEC : AF_INET6;
    oct_status st = OCT_OK;
    int n = 0, why = EADDRNOTAVAIL;
    for (int pass = 0; pass < (*host ? 1 : 2) && n == 0 && st == OCT_OK; pass++) {
        for (struct addrinfo *a = list; a && n < MAX_ADDRESSES && st == OCT_OK; a = a->ai_next) {
            if (!*host && (a->ai_family == first) != (pass == 0)) {
                continue;
            }
            set_port(a, port);
            const int fd = listen_at(a, !*host);
            if (fd < 0) {
                why = errno;
                continue;
            }
            port = port_of(fd);
            st = add_listener(h, fd, tls, NULL);
            n++;
        }
    }
    freeaddrinfo(list);
    if (st == OCT_OK && n == 0) {
        return OCT_FAIL(OCT_E_IO, "cannot listen at %s port %u: %s; choose another host or port",
                        *host ? name : "any address", (unsigned)port, strerror(why));
    }
    if (st == OCT_OK && bound_port) {
        *bound_port = port;
    }
    return st;
}

/* Whether a socket file may be replaced: nobody accepts there. */
static oct_status check_stale(const char *name, const struct sockaddr_un *a)
{
    struct stat st;
    if (lstat(a->sun_path, &st) != 0) {
        return OCT_OK;
    }
    if (!S_ISSOCK(st.st_mode)) {
        return OCT_FAIL(OCT_E_IO,
                        "%s is there and is not a socket; remove it, or choose another "
                        "path",
                        name);
    }
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return OCT_FAIL(OCT_E_IO, "cannot open a socket: %s", strerror(errno));
    }
    const int r = connect(fd, (const struct sockaddr *)a, sizeof *a);
    const int e = errno;
    (void)close(fd);
    if (r != 0 && e == ECONNREFUSED) {
        return unlink(a->sun_path) == 0
                   ? OCT_OK
                   : OCT_FAIL(OCT_E_IO, "%s: the stale socket cannot be removed: %s", name,
                              strerror(errno));
    }
    return OCT_FAIL(OCT_E_BUSY, "%s: another server listens there; stop it, or choose another path",
                    name);
}

oct_status oct_http_listen_unix(struct oct_http *h, const char *path)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    char name[256];
    (void)oct_error_quote(name, sizeof name, path, strlen(path));
    if (!*path || strlen(path) >= sizeof a.sun_path) {
        return OCT_FAIL(OCT_E_ARG, "%s: the path of a Unix socket has 1 to %zu bytes", name,
                        sizeof a.sun_path - 1);
    }
    memcpy(a.sun_path, path, strlen(path) + 1);
    OCT_TRY(check_stale(name, &a));
    char *copy = oct_strdup(path);
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    /* The mode of the file to come, so that it is never open to others for a moment. */
    if (!copy || fd < 0 || fchmod(fd, 0600) != 0 ||
        bind(fd, (const struct sockaddr *)&a, sizeof a) != 0 || listen(fd, BACKLOG) != 0) {
        const oct_status st =
            copy ? OCT_FAIL(OCT_E_IO, "%s: cannot listen there: %s", name, strerror(errno))
                 : oct_no_memory("a path", strlen(path));
        if (fd >= 0) {
            (void)close(fd);
        }
        oct_free(copy);
        return st;
    }
    return add_listener(h, fd, NULL, copy);
}
