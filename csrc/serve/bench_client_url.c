/* SPDX-License-Identifier: Apache-2.0
 *
 * bench_client_url.c - where a server is: its URL, its addresses, its certificate. */
#include "serve/bench_client.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

static oct_status bad_url(const char *url, const char *why)
{
    char shown[128];
    oct_error_quote(shown, sizeof shown, url, strlen(url));
    return OCT_FAIL(OCT_E_ARG, "\"%s\": %s; write it as http://127.0.0.1:8000", shown, why);
}

/* host, port and prefix of the text after the scheme. */
static oct_status split_url(const char *url, const char *rest, struct oct_target *t)
{
    const char *host = rest;
    size_t len = strcspn(rest, ":/");
    if (*rest == '[') { /* an IPv6 address */
        host = rest + 1;
        len = strcspn(host, "]");
        rest = host + len + (host[len] == ']');
    } else {
        rest += len;
    }
    if (len == 0 || len >= sizeof t->host) {
        return bad_url(url, "it names no host");
    }
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)host[i] <= ' ' || host[i] == '@' || host[i] == 0x7f) {
            return bad_url(url, "the host's name has a character that no name has");
        }
    }
    memcpy(t->host, host, len);
    t->host[len] = '\0';
    t->port = t->tls ? 443 : 80;
    if (*rest == ':') {
        char *end;
        const unsigned long port = strtoul(rest + 1, &end, 10);
        if (end == rest + 1 || rest[1] < '0' || rest[1] > '9' || port == 0 || port > 65535) {
            return bad_url(url, "the port is not a number from 1 to 65535");
        }
        t->port = (uint16_t)port;
        rest = end;
    }
    len = strlen(rest);
    while (len > 0 && rest[len - 1] == '/') {
        len--;
    }
    len -= len >= 3 && !memcmp(rest + len - 3, "/v1", 3) ? 3 : 0;
    if ((len > 0 && *rest != '/') || len >= sizeof t->prefix || strcspn(rest, " \t\r\n?#") < len) {
        return bad_url(url, "what follows the host is no path");
    }
    memcpy(t->prefix, rest, len);
    t->prefix[len] = '\0';
    return OCT_OK;
}

static oct_status resolve(struct oct_target *t)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_family = AF_UNSPEC};
    struct addrinfo *found = NULL;
    char port[8], shown[128];
    (void)snprintf(port, sizeof port, "%u", t->port);
    const int e = getaddrinfo(t->host, port, &hints, &found);
    if (e != 0) {
        oct_error_quote(shown, sizeof shown, t->host, strlen(t->host));
        return OCT_FAIL(OCT_E_NOTFOUND, "the host %s has no address: %s", shown, gai_strerror(e));
    }
    /* A name with several addresses ("localhost": ::1 and 127.0.0.1): the IPv4 one, since servers
     * that listen on only one listen there. */
    const struct addrinfo *best = found;
    for (const struct addrinfo *a = found; a; a = a->ai_next) {
        best = best->ai_family != AF_INET && a->ai_family == AF_INET ? a : best;
    }
    OCT_ASSERT(best->ai_addrlen <= sizeof t->address);
    memcpy(&t->address, best->ai_addr, best->ai_addrlen);
    t->address_len = best->ai_addrlen;
    freeaddrinfo(found);
    return OCT_OK;
}

static oct_status use_socket(struct oct_target *t, const char *path)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    const size_t len = strlen(path);
    if (len == 0 || len >= sizeof a.sun_path) {
        return OCT_FAIL(OCT_E_ARG, "--uds: a socket's path has 1 to %zu bytes",
                        sizeof a.sun_path - 1);
    }
    memcpy(a.sun_path, path, len + 1);
    memcpy(&t->address, &a, sizeof a);
    t->address_len = sizeof a;
    return OCT_OK;
}

static oct_status begin_tls(struct oct_target *t, bool insecure)
{
    t->ssl = SSL_CTX_new(TLS_client_method());
    if (!t->ssl) {
        return oct_no_memory("TLS", 1);
    }
    SSL_CTX_set_verify(t->ssl, insecure ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, NULL);
    if (!insecure && SSL_CTX_set_default_verify_paths(t->ssl) != 1) {
        return OCT_FAIL(OCT_E_IO, "the system's list of certificate authorities cannot be read; "
                                  "--insecure goes without");
    }
    return OCT_OK;
}

oct_status oct_target_open(const char *url, const char *uds, bool insecure, struct oct_target *out)
{
    struct oct_target t = {0};
    oct_status st;
    const char *rest = url;
    if (!strncmp(url, "https://", 8)) {
        t.tls = true;
        rest = url + 8;
    } else if (!strncmp(url, "http://", 7)) {
        rest = url + 7;
    } else if (strstr(url, "://")) {
        return bad_url(url, "only http and https are known");
    }
    OCT_TRY(split_url(url, rest, &t));
    OCT_TRY(uds ? use_socket(&t, uds) : resolve(&t));
    if (t.tls) {
        OCT_TRY_GOTO(begin_tls(&t, insecure), st, fail);
    }
    *out = t;
    return OCT_OK;
fail:
    oct_target_close(&t);
    return st;
}

void oct_target_close(struct oct_target *t)
{
    SSL_CTX_free(t->ssl);
    *t = (struct oct_target){0};
}

struct ssl_st *oct_target_tls(const struct oct_target *t)
{
    SSL *s = SSL_new(t->ssl);
    struct in6_addr any;
    const bool is_address =
        inet_pton(AF_INET, t->host, &any) == 1 || inet_pton(AF_INET6, t->host, &any) == 1;
    bool ok = s != NULL;
    if (ok && is_address) {
        ok = X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(s), t->host) == 1;
    } else if (ok) {
        ok = SSL_set_tlsext_host_name(s, t->host) == 1 && SSL_set1_host(s, t->host) == 1;
    }
    if (!ok) {
        SSL_free(s);
        return NULL;
    }
    return s;
}
