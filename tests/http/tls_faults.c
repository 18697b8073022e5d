/* SPDX-License-Identifier: Apache-2.0
 *
 * Memory that runs out somewhere in a TLS handshake or the request behind it: that costs the
 * connection, and the next one is served. A program without Criterion, which has OpenSSL allocate
 * before we can have it do so through base/mem.h. The client is in this process, so some of the
 * failures are its own. */
#include "base/fault.h"
#include "http/cert.h"
#include "http/http.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Of about 3,000 allocations; 1 tries them all, in 26 s. */
enum { STEP = 13 };

static struct oct_http *http;
static uint16_t port;
static int n_heads, n_ends;

static int on_head(void *user, struct oct_http_exchange *x)
{
    (void)user, (void)x;
    n_heads++;
    return 0;
}

static void on_request(void *user, struct oct_http_exchange *x)
{
    (void)user;
    oct_http_respond(x, 200, "text/plain", "ok", 2);
}

static void on_end(void *user, struct oct_http_exchange *x, enum oct_http_end how)
{
    (void)user, (void)x, (void)how;
    n_ends++;
}

static void turns(int n)
{
    for (int i = 0; i < n; i++) {
        ERR_clear_error(); /* both ends share this thread's list of errors */
        OCT_ASSERT(oct_http_turn(http, false) == OCT_OK);
        ERR_clear_error();
    }
}

/* One connection with one request while allocation k fails (0: none); true if it was answered. */
static bool ask(SSL_CTX *ctx, uint64_t k, uint64_t *seen)
{
    static const char request[] = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    const struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    OCT_ASSERT(fd >= 0 && connect(fd, (const struct sockaddr *)&a, sizeof a) == 0);
    OCT_ASSERT(fcntl(fd, F_SETFL, O_NONBLOCK) == 0);
    SSL *ssl = SSL_new(ctx);
    OCT_ASSERT(ssl && SSL_set_fd(ssl, fd));
    char text[600];
    bool is_connected = false, is_answered = false;
    oct_fault_reset();
    if (k) {
        oct_fault_arm(OCT_FAULT_MEM, k, false, OCT_FAULT_FAIL);
    }
    for (int i = 0; i < 60 && !is_answered; i++) {
        int r;
        if (!is_connected) {
            r = SSL_connect(ssl);
            if (r == 1) {
                is_connected = true;
                r = SSL_write(ssl, request, sizeof request - 1);
            }
        } else {
            r = SSL_read(ssl, text, sizeof text);
            is_answered = r > 12 && !memcmp(text, "HTTP/1.1 200", 12);
        }
        if (r <= 0 && SSL_get_error(ssl, r) != SSL_ERROR_WANT_READ) {
            break;
        }
        turns(1);
    }
    *seen = oct_fault_count(OCT_FAULT_MEM);
    oct_fault_reset();
    SSL_free(ssl);
    (void)close(fd);
    turns(4);
    return is_answered;
}

int main(void)
{
    const struct oct_http_handler handler = {
        .on_head = on_head, .on_request = on_request, .on_end = on_end};
    struct oct_http_tls *t;
    struct cert cert;
    OCT_ASSERT(oct_http_create(NULL, &handler, &http) == OCT_OK); /* before OpenSSL allocates */
    cert_make(&cert);
    OCT_ASSERT(oct_http_tls_create(cert.cert, cert.key, &t) == OCT_OK);
    OCT_ASSERT(oct_http_listen(http, "127.0.0.1", 0, t, &port) == OCT_OK);
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    OCT_ASSERT(ctx);
    uint64_t k = 1, seen;
    for (;; k += STEP) {
        (void)ask(ctx, k, &seen);
        if (seen < k) {
            break; /* it did not come to the k-th */
        }
    }
    OCT_ASSERT(k > 1000); /* OpenSSL's are among them */
    OCT_ASSERT(ask(ctx, 0, &seen));
    struct oct_http_stats s;
    oct_http_get_stats(http, &s);
    OCT_ASSERT(s.n_connections == 0 && s.n_exchanges == 0 && n_heads == n_ends && n_heads > 0);
    oct_http_destroy(http);
    SSL_CTX_free(ctx);
    oct_http_tls_destroy(t);
    cert_remove(&cert);
    (void)puts("ok");
    return 0;
}
