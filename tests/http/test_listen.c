/* SPDX-License-Identifier: Apache-2.0
 *
 * Where connections come from: addresses, Unix sockets, TLS. */
#include "http/cert.h"
#include "http/web.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static const char get_hello[] = "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n";

static void expect_error(oct_status got, oct_status want, const char *part)
{
    cr_assert_eq(got, want, "%d: %s", got, oct_last_error());
    cr_assert_not_null(strstr(oct_last_error(), part), "%s", oct_last_error());
}

/* ---- TCP ---- */

Test(listen, a_taken_port_and_an_unknown_host_are_told)
{
    struct web w, other;
    web_open(&w, NULL, NULL);
    web_open(&other, NULL, NULL);
    expect_error(oct_http_listen(other.h, "127.0.0.1", w.port, NULL, NULL), OCT_E_IO,
                 "Address already in use");
    expect_error(oct_http_listen(other.h, "no such host\n", 1, NULL, NULL), OCT_E_IO,
                 "no such host?");
    uint16_t port = 0;
    cr_assert_eq(oct_http_listen(other.h, "", 0, NULL, &port), OCT_OK, "%s", oct_last_error());
    cr_assert_neq(port, 0);
    other.port = port; /* all addresses, so also this one */
    cr_assert_eq(web_status(web_ask(&other, "GET /hello HTTP/1.0\r\n\r\n")), 200);
    web_close(&w);
    web_close(&other);
}

/* ---- Unix sockets ---- */

static int connect_unix(struct web *w, const char *path)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    (void)snprintf(a.sun_path, sizeof a.sun_path, "%s", path);
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (connect(fd, (const struct sockaddr *)&a, sizeof a) != 0) {
        (void)close(fd);
        return -1;
    }
    web_turns(w, 2);
    return fd;
}

Test(listen, a_unix_socket_replaces_a_stale_one_and_nothing_else)
{
    char dir[] = "/tmp/octavo-http-XXXXXX", path[64], file[64], too_long[200];
    cr_assert_not_null(mkdtemp(dir));
    (void)snprintf(path, sizeof path, "%s/socket", dir);
    (void)snprintf(file, sizeof file, "%s/file", dir);
    (void)umask(0);
    struct web w, other;
    web_open(&w, NULL, NULL);
    web_open(&other, NULL, NULL);
    cr_assert_eq(oct_http_listen_unix(w.h, path), OCT_OK, "%s", oct_last_error());
    struct stat st;
    cr_assert_eq(stat(path, &st), 0);
    cr_assert_eq(st.st_mode & 0777, 0600u, "%o", st.st_mode);
    const int fd = connect_unix(&w, path);
    web_send(&w, fd, get_hello);
    cr_assert_eq(web_status(web_read(&w, fd, "world", NULL)), 200);
    (void)close(fd);

    expect_error(oct_http_listen_unix(other.h, path), OCT_E_BUSY, "another server");
    (void)close(open(file, O_CREAT | O_WRONLY, 0600));
    expect_error(oct_http_listen_unix(other.h, file), OCT_E_IO, "not a socket");
    memset(too_long, 'x', sizeof too_long - 1);
    too_long[sizeof too_long - 1] = '\0';
    expect_error(oct_http_listen_unix(other.h, too_long), OCT_E_ARG, "1 to 107 bytes");
    expect_error(oct_http_listen_unix(other.h, ""), OCT_E_ARG, "1 to 107 bytes");
    expect_error(oct_http_listen_unix(other.h, "/no/such/directory/socket"), OCT_E_IO, "No such");

    /* Stale: bound, and nobody accepts any more. */
    oct_http_close_listeners(w.h);
    cr_assert_neq(stat(path, &st), 0);
    const int dead = socket(AF_UNIX, SOCK_STREAM, 0);
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    (void)snprintf(a.sun_path, sizeof a.sun_path, "%s", path);
    cr_assert_eq(bind(dead, (const struct sockaddr *)&a, sizeof a), 0);
    (void)close(dead);
    cr_assert_eq(oct_http_listen_unix(other.h, path), OCT_OK, "%s", oct_last_error());
    cr_assert_geq(connect_unix(&other, path), 0);

    /* Somebody else's by now: it stays when we go. */
    cr_assert_eq(unlink(path), 0);
    (void)close(open(path, O_CREAT | O_WRONLY, 0600));
    web_close(&w);
    web_close(&other);
    cr_assert_eq(stat(path, &st), 0);
    (void)unlink(path);
    (void)unlink(file);
    (void)rmdir(dir);
}

/* ---- TLS ---- */

static struct cert cert;

/* A client's session over a connected socket, both ends in this thread. */
static SSL *handshake(struct web *w, SSL_CTX *ctx, int fd)
{
    SSL *ssl = SSL_new(ctx);
    cr_assert(ssl && SSL_set_fd(ssl, fd));
    int r = 0;
    for (int i = 0; i < 1000 && (r = SSL_connect(ssl)) != 1; i++) {
        if (SSL_get_error(ssl, r) != SSL_ERROR_WANT_READ) {
            break;
        }
        web_turns(w, 1);
    }
    if (r != 1) {
        ERR_clear_error();
        SSL_free(ssl);
        return NULL;
    }
    return ssl;
}

/* All that comes until the server closes with a close_notify, or `end` has come. */
static size_t read_tls(struct web *w, SSL *ssl, char *to, size_t size, const char *end)
{
    size_t len = 0;
    for (int i = 0; i < 100000 && len < size - 1; i++) {
        web_turns(w, 1);
        const int n = SSL_read(ssl, to + len, (int)(size - 1 - len));
        if (n > 0) {
            len += (size_t)n;
            to[len] = '\0';
            if (end && strstr(to, end)) {
                break;
            }
        } else if (SSL_get_error(ssl, n) == SSL_ERROR_ZERO_RETURN) {
            break;
        } else {
            const int why = SSL_get_error(ssl, n);
            cr_assert_eq(why, SSL_ERROR_WANT_READ, "%d after %zu bytes: %s", why, len,
                         ERR_error_string(ERR_peek_last_error(), NULL));
        }
    }
    to[len] = '\0';
    return len;
}

Test(listen, tls_answers_keeps_and_says_goodbye)
{
    struct web w;
    struct oct_http_tls *t = NULL;
    cert_make(&cert);
    cr_assert_eq(oct_http_tls_create(cert.cert, cert.key, &t), OCT_OK, "%s", oct_last_error());
    web_open(&w, NULL, t);
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    int fd = web_connect(&w);
    SSL *ssl = handshake(&w, ctx, fd);
    static char text[2 << 20];
    cr_assert_not_null(ssl);
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(SSL_write(ssl, get_hello, sizeof get_hello - 1), (int)sizeof get_hello - 1);
        (void)read_tls(&w, ssl, text, sizeof text, "world");
        cr_assert_eq(web_status(text), 200, "%s", text);
    }
    static const char big[] = "GET /big HTTP/1.0\r\n\r\n";
    cr_assert_eq(SSL_write(ssl, big, sizeof big - 1), (int)sizeof big - 1);
    (void)read_tls(&w, ssl, text, sizeof text, NULL);
    cr_assert_eq(strlen(strstr(text, "\r\n\r\n") + 4), (size_t)1 << 20);
    cr_assert_eq(SSL_get_shutdown(ssl) & SSL_RECEIVED_SHUTDOWN, SSL_RECEIVED_SHUTDOWN);
    SSL_free(ssl);
    (void)close(fd);

    /* Leaves while its request waits. */
    static const char late[] = "GET /late HTTP/1.1\r\nHost: a\r\n\r\n";
    for (int i = 0; i < 2; i++) {
        fd = web_connect(&w);
        ssl = handshake(&w, ctx, fd);
        cr_assert_eq(SSL_write(ssl, late, sizeof late - 1), (int)sizeof late - 1);
        web_until(&w, &w.n_requests, 5 + i);
        if (i) {
            (void)SSL_shutdown(ssl);
        }
        (void)close(fd);
        web_until(&w, &w.ends[OCT_HTTP_LEFT], 1 + i);
        SSL_free(ssl);
    }

    /* A plain request, a client that speaks HTTP/2 only, old TLS: no answer, and closed. */
    fd = web_connect(&w);
    web_send(&w, fd, get_hello);
    cr_assert(web_is_closed(&w, fd));
    (void)close(fd);
    cr_assert_eq(SSL_CTX_set_alpn_protos(ctx, (const unsigned char *)"\x02h2", 3), 0);
    fd = web_connect(&w);
    cr_assert_null(handshake(&w, ctx, fd));
    cr_assert(web_is_closed(&w, fd));
    (void)close(fd);
    cr_assert_eq(SSL_CTX_set_alpn_protos(ctx, (const unsigned char *)"\x02h2\x08http/1.1", 12), 0);
    fd = web_connect(&w);
    ssl = handshake(&w, ctx, fd);
    cr_assert_not_null(ssl);
    const unsigned char *proto;
    unsigned proto_len;
    SSL_get0_alpn_selected(ssl, &proto, &proto_len);
    cr_assert_eq(proto_len, 8u);
    SSL_free(ssl);
    (void)close(fd);
    SSL_CTX_free(ctx);
    web_close(&w);
    oct_http_tls_destroy(t);
    cert_remove(&cert);
}

#if OCT_FAULTS
Test(listen, a_handshake_must_come_in_the_time_of_a_head)
{
    struct web w;
    struct oct_http_tls *t = NULL;
    web_use_clock();
    cert_make(&cert);
    cr_assert_eq(oct_http_tls_create(cert.cert, cert.key, &t), OCT_OK, "%s", oct_last_error());
    web_open(&w, &(struct oct_http_limits){.head_us = 1000000}, t);
    const int fd = web_connect(&w);
    web_send_bytes(&w, fd, "\x16\x03\x01", 3);
    web_pass(&w, 999999);
    cr_assert_eq(recv(fd, (char[1]){0}, 1, 0), -1);
    web_pass(&w, 1);
    cr_assert(web_is_closed(&w, fd));
    (void)close(fd);
    web_close(&w);
    oct_http_tls_destroy(t);
    cert_remove(&cert);
}
#endif

Test(listen, certificates_that_are_not_right_are_named)
{
    struct oct_http_tls *t = NULL;
    cert_make(&cert);
    expect_error(oct_http_tls_create("/no/such.pem", cert.key, &t), OCT_E_FORMAT, "/no/such.pem");
    expect_error(oct_http_tls_create(cert.cert, "/no/such.key", &t), OCT_E_FORMAT, "/no/such.key");
    expect_error(oct_http_tls_create(cert.key, cert.key, &t), OCT_E_FORMAT, "certificate");
    expect_error(oct_http_tls_create(cert.cert, cert.cert, &t), OCT_E_FORMAT, "key");
    expect_error(oct_http_tls_create(cert.cert, cert.other, &t), OCT_E_FORMAT, "key");
    cr_assert_null(t);
    oct_http_tls_destroy(NULL);
    cert_remove(&cert);
}
