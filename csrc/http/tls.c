/* SPDX-License-Identifier: Apache-2.0
 *
 * tls.c - certificates, and the two libraries' memory. */
#include "http/conn.h"

#include <event2/bufferevent_ssl.h>
#include <http_parser.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <string.h>

struct oct_http_tls {
    SSL_CTX *ctx;
};

/* ---- the libraries ---- */

/* libevent 2.1.12 crashes when memory runs out in the middle of making a TLS bufferevent. So what
 * it asks for there is set aside before. Eight small blocks are asked for; the largest, the
 * bufferevent itself, has less than 800 bytes. */
enum { N_ASIDE = 16, ASIDE_BYTES = 1024 };
static _Thread_local struct {
    void *block[N_ASIDE];
    int n;
    bool is_open;
} aside;

static void *event_malloc(size_t size)
{
    return aside.is_open && size <= ASIDE_BYTES && aside.n ? aside.block[--aside.n]
                                                           : oct_malloc(size);
}

static bool open_aside(void)
{
    while (aside.n < N_ASIDE) {
        void *p = oct_malloc(ASIDE_BYTES);
        if (!p) {
            return false;
        }
        aside.block[aside.n++] = p;
    }
    aside.is_open = true;
    return true;
}

static void close_aside(void)
{
    aside.is_open = false;
    while (aside.n) {
        oct_free(aside.block[--aside.n]);
    }
}

static void *ssl_malloc(size_t size, const char *file, int line)
{
    (void)file, (void)line;
    return size ? oct_malloc(size) : NULL; /* as OpenSSL's own does */
}

static void *ssl_realloc(void *p, size_t size, const char *file, int line)
{
    (void)file, (void)line;
    if (size == 0) {
        oct_free(p);
        return NULL;
    }
    return oct_realloc(p, size);
}

static void ssl_free(void *p, const char *file, int line)
{
    (void)file, (void)line;
    oct_free(p);
}

static void no_log(int severity, const char *text)
{
    (void)severity, (void)text; /* what failed comes back as a status */
}

static void on_fatal(int err)
{
    (void)err;
    oct_assert_failed_("libevent finds its own state in order", __FILE__, __LINE__);
}

static void init_once(void)
{
    event_set_mem_functions(event_malloc, oct_realloc, oct_free);
    event_set_log_callback(no_log);
    event_set_fatal_callback(on_fatal);
    /* Too late where the program has used OpenSSL before; then it keeps malloc. */
    (void)CRYPTO_set_mem_functions(ssl_malloc, ssl_realloc, ssl_free);
    http_parser_set_max_header_size(UINT32_MAX); /* ours is limits.head_bytes */
}

void oct_http_libraries_init(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, init_once);
}

/* ---- certificates ---- */

static oct_status tls_failed(const char *what, const char *path)
{
    const unsigned long e = ERR_peek_last_error();
    const char *reason = ERR_reason_error_string(e);
    char name[256];
    (void)oct_error_quote(name, sizeof name, path, strlen(path));
    const oct_status st =
        OCT_FAIL(OCT_E_FORMAT, "%s: %s: %s; give PEM files that belong together", name, what,
                 ERR_SYSTEM_ERROR(e) ? strerror(ERR_GET_REASON(e))
                 : reason            ? reason
                                     : "not readable");
    ERR_clear_error();
    return st;
}

/* A key with a password: nobody is there to type it. */
static int no_password(char *to, int size, int is_writing, void *user)
{
    (void)to, (void)size, (void)is_writing, (void)user;
    return 0;
}

/* HTTP/1.1 is what we speak; a client that wants something else only is told so. */
static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                   const unsigned char *in, unsigned in_len, void *user)
{
    (void)ssl, (void)user;
    for (unsigned i = 0; i < in_len && in[i] <= in_len - i - 1; i += 1u + in[i]) {
        if (in[i] == 8 && !memcmp(in + i + 1, "http/1.1", 8)) {
            *out = in + i + 1;
            *out_len = 8;
            return SSL_TLSEXT_ERR_OK;
        }
    }
    return SSL_TLSEXT_ERR_ALERT_FATAL;
}

oct_status oct_http_tls_create(const char *certificate_path, const char *key_path,
                               struct oct_http_tls **out)
{
    oct_http_libraries_init();
    struct oct_http_tls *t = oct_calloc(1, sizeof *t);
    if (!t || !(t->ctx = SSL_CTX_new(TLS_server_method()))) {
        ERR_clear_error();
        oct_free(t);
        return oct_no_memory("TLS", sizeof *t);
    }
    oct_status st;
    SSL_CTX *ctx = t->ctx;
    SSL_CTX_set_default_passwd_cb(ctx, no_password);
    SSL_CTX_set_alpn_select_cb(ctx, on_alpn, NULL);
    /* An idle connection gives its buffers back: 34 KB each. */
    (void)SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                    SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    (void)SSL_CTX_set_options(ctx, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION |
                                       SSL_OP_IGNORE_UNEXPECTED_EOF);
    (void)SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    if (SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) != 1) {
        st = tls_failed("TLS 1.2 cannot be set", certificate_path);
    } else if (SSL_CTX_use_certificate_chain_file(ctx, certificate_path) != 1) {
        st = tls_failed("the certificate cannot be used", certificate_path);
    } else if (SSL_CTX_use_PrivateKey_file(ctx, key_path, SSL_FILETYPE_PEM) != 1) {
        st = tls_failed("the key cannot be used", key_path);
    } else if (SSL_CTX_check_private_key(ctx) != 1) {
        st = tls_failed("the key does not belong to the certificate", key_path);
    } else {
        *out = t;
        return OCT_OK;
    }
    oct_http_tls_destroy(t);
    return st;
}

void oct_http_tls_destroy(struct oct_http_tls *t)
{
    if (t) {
        SSL_CTX_free(t->ctx);
        oct_free(t);
    }
}

struct bufferevent *oct_http_tls_accept(const struct oct_http_tls *t, struct event_base *base,
                                        int fd, SSL **out)
{
    SSL *ssl = SSL_new(t->ctx);
    struct bufferevent *bev = NULL;
    if (ssl && SSL_set_fd(ssl, fd) == 1 && open_aside()) {
        bev = bufferevent_openssl_socket_new(base, fd, ssl, BUFFEREVENT_SSL_ACCEPTING,
                                             BEV_OPT_CLOSE_ON_FREE);
        *out = ssl; /* given away, also on failure */
        ssl = NULL;
    }
    close_aside();
    SSL_free(ssl);
    ERR_clear_error();
    return bev;
}
