/* SPDX-License-Identifier: Apache-2.0
 *
 * octavo serve as an operator uses it: how it starts, what it refuses, who may call, what it says
 * of itself, and what it says on standard error. */
#include "base/param.h"
#include "serve/server.h"
#include "serve/spawn.h"
#include "support/prometheus.h"
#include "support/tiny.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <jansson.h>
#include <netinet/in.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { PATH_BYTES = 512 };

static char *dir, model[PATH_BYTES];

static void write_model(void)
{
    struct oct_tiny t = oct_tiny_default(OCT_ARCH_QWEN2);
    dir = oct_test_make_dir();
    oct_tiny_write_gguf(&t, dir, "tiny");
    (void)snprintf(model, sizeof model, "%s/tiny.gguf", dir);
}

static void remove_model(void)
{
    oct_test_remove_dir(dir);
}

TestSuite(serve, .init = write_model, .fini = remove_model, .timeout = 120);

static const char *in_dir(char dst[PATH_BYTES], const char *name)
{
    (void)snprintf(dst, PATH_BYTES, "%s/%s", dir, name);
    return dst;
}

/* The model and these flags, '|' between them. */
static void start(struct server *s, const char *flags, const char *const *env, const char *err_to)
{
    const char *args[SPAWN_MAX_ARGS] = {model};
    char *text = oct_strdup(flags), *rest = text;
    for (int n = 1; rest && *flags; n++) {
        cr_assert_lt(n, SPAWN_MAX_ARGS - 1);
        args[n] = strsep(&rest, "|");
    }
    server_start(s, args, env, err_to);
    oct_free(text);
}

#define PROMPT "a secret of the prompt"
static const char completion[] =
    "{\"prompt\": \"" PROMPT "\", \"max_tokens\": 5, \"ignore_eos\": true}";

static bool has(const struct oct_buf *b, const char *text)
{
    return b->data && strstr(b->data, text);
}

static void expect(struct server *s, const char *path, const char *body, int status,
                   const char *text)
{
    struct oct_buf b;
    const int got = server_ask(s, path, "", body, &b);
    cr_assert_eq(got, status, "%s: %d, not %d: %s\n%s", path, got, status, b.data ? b.data : "",
                 s->err.data);
    cr_assert(has(&b, text), "%s: no %s in %s", path, text, b.data ? b.data : "");
    oct_buf_free(&b);
}

/* ---- a life ---- */

Test(serve, it_starts_answers_says_how_it_is_and_stops)
{
    struct server s;
    struct oct_buf b;
    start(&s, "--served-model-name|first|--served-model-name|second|--enable-log-requests", NULL,
          NULL);
    server_ready(&s);
    cr_assert(strstr(s.err.data, "octavo: ready in "), "%s", s.err.data);
    cr_assert(strstr(s.err.data, ", first on cpu (1 threads), float32, context 256 tokens, 32 "),
              "%s", s.err.data);
    expect(&s, "/health", NULL, 200, "\"status\":\"ready\"");
    expect(&s, "/ping", NULL, 200, "\"status\":\"ready\"");
    expect(&s, "/ping", "{}", 200, "\"status\":\"ready\"");
    expect(&s, "/ready", NULL, 200, "\"requests_running\":0");
    expect(&s, "/version", NULL, 200, "{\"version\":\"" OCT_VERSION "\"}");
    expect(&s, "/v1/models", NULL, 200, "\"second\"");
    expect(&s, "/v1/completions", completion, 200, "\"completion_tokens\":5");
    expect(&s, "/v1/completions", "{\"model\": \"second\", \"prompt\": \"x\", \"max_tokens\": 1}",
           200, "\"model\":\"second\"");
    expect(&s, "/v1/completions", "{\"model\": \"third\", \"prompt\": \"x\"}", 404,
           "first, second");
    expect(&s, "/v1/completions",
           "{\"stream\": true, \"prompt\": \"x\", \"max_tokens\": 3, \"ignore_eos\": true}", 200,
           "data: [DONE]");
    cr_assert_eq(server_ask(&s, "/metrics", "", NULL, &b), 200);
    cr_assert_gt(prometheus_check(b.data), 200u);
#define L "{model_name=\"first\",engine=\"0\"}"
    cr_assert_eq(prometheus_value(b.data, "vllm:generation_tokens_total" L), 9);
    cr_assert_eq(prometheus_value(b.data, "vllm:time_to_first_token_seconds_count" L), 3);
    cr_assert_eq(prometheus_value(b.data, "vllm:inter_token_latency_seconds_count" L), 6);
    cr_assert_eq(prometheus_value(b.data, "vllm:request_decode_time_seconds_count" L), 3);
    cr_assert_eq(prometheus_value(b.data, "vllm:request_queue_time_seconds_count" L), 3);
    cr_assert_eq(prometheus_value(b.data, "vllm:request_generation_tokens_sum" L), 9);
    cr_assert_eq(prometheus_value(b.data, "octavo_calls_ended_total{end=\"done\"}"), 3);
    cr_assert_eq(prometheus_value(b.data, "octavo_state{state=\"ready\"}"), 1);
    cr_assert_gt(prometheus_value(b.data, "octavo_busy_seconds_total"), 0);
    cr_assert_eq(prometheus_value(
                     b.data, "octavo_http_requests_total{route=\"/v1/completions\",code=\"404\"}"),
                 1);
    oct_buf_free(&b);
    (void)server_expect(&s, "output_tokens=5");
    cr_assert_null(strstr(s.err.data, PROMPT), "a prompt is in the log: %s", s.err.data);
    server_stop(&s);
}

Test(serve, prompts_share_their_beginning_unless_they_may_not)
{
    static const char *const flags[] = {"", "--no-enable-prefix-caching"};
    char body[600];
    (void)snprintf(body, sizeof body, "{\"max_tokens\": 2, \"prompt\": \"%0200d\"}", 0);
    for (int i = 0; i < 2; i++) {
        struct server s;
        struct oct_buf b;
        start(&s, flags[i], NULL, NULL);
        server_ready(&s);
        expect(&s, "/v1/completions", body, 200, "");
        expect(&s, "/v1/completions", body, 200, "");
        cr_assert_eq(server_ask(&s, "/metrics", "", NULL, &b), 200);
        const double hits = prometheus_value(
            b.data, "vllm:prefix_cache_hits_total{model_name=\"tiny.gguf\",engine=\"0\"}");
        cr_assert(i == 0 ? hits >= 128 : hits == 0, "%s: %g", flags[i], hits);
        oct_buf_free(&b);
        server_stop(&s);
    }
}

/* ---- what it refuses ---- */

Test(serve, what_is_not_right_is_said_and_the_exit_code_is_2)
{
    char file[PATH_BYTES], empty[PATH_BYTES], spaced[PATH_BYTES], taken[16];
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof to;
    const int other = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert(bind(other, (struct sockaddr *)&to, len) == 0 && listen(other, 1) == 0 &&
              getsockname(other, (struct sockaddr *)&to, &len) == 0);
    (void)snprintf(taken, sizeof taken, "%u", ntohs(to.sin_port));
    oct_test_write_file(dir, "file", "text\n", 5);
    oct_test_write_file(dir, "empty", "# nothing\n\n", 11);
    oct_test_write_file(dir, "spaced", "good\nnot good\n", 14);
    in_dir(file, "file");
    in_dir(empty, "empty");
    in_dir(spaced, "spaced");
    const struct {
        const char *flags[5];
        const char *says;
    } row[] = {
        {{"--port", taken}, taken},
        {{"--port", "65536"}, "[0, 65535]"},
        {{"--host", "no.such.host.invalid"}, "no.such.host.invalid"},
        {{"--host", "192.0.2.1"}, "192.0.2.1"},
        {{"--ssl-certfile", file}, "--ssl-keyfile is missing"},
        {{"--ssl-keyfile", file}, "--ssl-certfile"},
        {{"--ssl-certfile", file, "--ssl-keyfile", file}, file},
        {{"--ssl-certfile", "/nowhere", "--ssl-keyfile", file}, "/nowhere"},
        {{"--uds", file}, file},
        {{"--uds", "/nowhere/at/all"}, "/nowhere/at/all"},
        {{"--uds", "x", "--ssl-certfile", file}, "--ssl-keyfile is missing"},
        {{"--api-key-file", "/nowhere"}, "/nowhere"},
        {{"--api-key-file", empty}, "holds no key"},
        {{"--api-key-file", spaced}, "key 2 holds a space"},
        {{"--api-key", "sp ace"}, "key 1 holds a space"},
        {{"--api-key", ""}, "has 0 bytes"},
        {{"--served-model-name", ""}, "1 to 255 bytes"},
        {{"--served-model-name", "a\nb"}, "control character"},
        {{"--allowed-origins", "example.org"}, "is no origin"},
        {{"--allowed-origins", "https://example.org/"}, "is no origin"},
        {{"--chat-template", "{% if %}"}, "template"},
        {{"--max-body-bytes", "1"}, "--max-body-bytes"},
        {{"--watchdog-timeout", "0"}, "--watchdog-timeout"},
        {{"--device", "abacus"}, "abacus"},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        const char *args[8] = {model};
        struct server s;
        for (int k = 0; k < 5 && row[i].flags[k]; k++) {
            args[k + 1] = row[i].flags[k];
        }
        server_start(&s, args, NULL, NULL);
        const int code = server_wait(&s);
        cr_expect_eq(code, 2, "row %zu: %d: %s", i, code, s.err.data);
        cr_expect(strstr(s.err.data, row[i].says), "row %zu does not say %s: %s", i, row[i].says,
                  s.err.data);
        cr_expect_null(strstr(s.err.data, "sp ace"), "a key is shown: %s", s.err.data);
        server_free(&s);
    }
    const char *const missing[] = {"/nowhere.gguf", NULL};
    struct server s;
    server_start(&s, missing, NULL, NULL);
    cr_expect_eq(server_wait(&s), 2);
    cr_expect(strstr(s.err.data, "/nowhere.gguf"), "%s", s.err.data);
    server_free(&s);
    (void)close(other);
}

/* ---- who may call ---- */

Test(serve, without_a_key_only_what_is_public_is_told)
{
    char flags[PATH_BYTES + 64], file[PATH_BYTES];
    static const char *const env[] = {"OCTAVO_API_KEY=from-env", NULL};
    static const char *const good[] = {"from-env", "from-file", "second-of-file"};
    static const char *const bad[] = {"", "x", "from-envx", "from-en", "# no key"};
    static const char keys[] = "# no key\nfrom-file\r\n\n  second-of-file  \n";
    oct_test_write_file(dir, "keys", keys, sizeof keys - 1);
    (void)snprintf(flags, sizeof flags, "--verbose|--enable-log-requests|--api-key-file|%s",
                   in_dir(file, "keys"));
    struct server s;
    char header[128];
    start(&s, flags, env, NULL);
    server_ready(&s);
    expect(&s, "/health", NULL, 200, "ready");
    expect(&s, "/ready", NULL, 200, "ready");
    expect(&s, "/metrics", NULL, 401, "key");
    expect(&s, "/v1/models", NULL, 401, "key");
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        (void)snprintf(header, sizeof header, "Authorization: Bearer %s\r\n", good[i]);
        cr_assert_eq(server_ask(&s, "/v1/completions", header, completion, NULL), 200, "%s",
                     good[i]);
        cr_assert_eq(server_ask(&s, "/metrics", header, NULL, NULL), 200);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        (void)snprintf(header, sizeof header, "Authorization: Bearer %s\r\n", bad[i]);
        cr_assert_eq(server_ask(&s, "/v1/completions", header, completion, NULL), 401, "%s",
                     bad[i]);
    }
    cr_assert_null(strstr(s.err.data, "from-"), "a key is in the log: %s", s.err.data);
    server_stop(&s);
}

Test(serve, who_listens_beyond_the_machine_without_a_key_is_warned)
{
    static const struct {
        const char *flags;
        bool warns;
    } row[] = {{"--host|0.0.0.0", true},
               {"--host|0.0.0.0|--api-key|k", false},
               {"--host|127.0.0.5", false},
               {"--host|localhost", false}};
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct server s;
        start(&s, row[i].flags, NULL, NULL);
        server_ready(&s);
        cr_assert_eq(strstr(s.err.data, "warning: whoever reaches") != NULL, row[i].warns, "%s: %s",
                     row[i].flags, s.err.data);
        server_stop(&s);
    }
}

static int connect_unix(const char *path)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_lt(strlen(path), sizeof to.sun_path);
    memcpy(to.sun_path, path, strlen(path) + 1);
    if (connect(fd, (struct sockaddr *)&to, sizeof to) == 0) {
        return fd;
    }
    (void)close(fd);
    return -1;
}

/* Its file goes a moment after the server. */
static void expect_gone(const char *path)
{
    const int64_t give_up = server_now_ms() + SERVER_PATIENCE_MS;
    for (struct stat sb; lstat(path, &sb) == 0;) {
        cr_assert_lt(server_now_ms(), give_up, "%s is there still", path);
        (void)usleep(2000);
    }
}

/* Files that the server's child has open, which waits to remove the socket's file; -1: none. */
static int files_of_child(pid_t pid)
{
    char path[64];
    int child = 0, n = -3; /* "." and ".." */
    (void)snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)pid, (int)pid);
    FILE *f = fopen(path, "re");
    if (f && fscanf(f, "%d", &child) == 1) {
        (void)snprintf(path, sizeof path, "/proc/%d/fd", child);
        DIR *d = opendir(path); /* its memory holds keys: perhaps only root may look */
        for (n = -2; d && readdir(d);) {
            n++;
        }
        if (d) {
            (void)closedir(d);
        }
    }
    if (f) {
        (void)fclose(f);
    }
    return n < 0 ? -1 : n;
}

Test(serve, a_unix_socket_serves_and_a_live_one_is_left_alone)
{
    char path[PATH_BYTES], flags[PATH_BYTES + 16];
    struct server s, second;
    struct stat sb;
    (void)snprintf(flags, sizeof flags, "--uds|%s", in_dir(path, "socket"));
    start(&s, flags, NULL, NULL);
    (void)server_expect(&s, "requests at once");
    cr_assert(strstr(s.err.data, "unix:"), "%s", s.err.data);
    cr_assert(stat(path, &sb) == 0 && (sb.st_mode & 0077) == 0, "others may use it: %o",
              sb.st_mode);
    cr_assert_eq(server_ask_on(connect_unix(path), "/v1/completions", "", completion, NULL), 200);
    /* soon: the end of a pipe, and the file itself */
    const int64_t give_up = server_now_ms() + SERVER_PATIENCE_MS;
    for (int n = 0; (n = files_of_child(s.pid)) > 2; (void)usleep(5000)) {
        cr_assert_lt(server_now_ms(), give_up, "%d files", n);
    }
    start(&second, flags, NULL, NULL);
    cr_assert_eq(server_wait(&second), 2);
    cr_assert(strstr(second.err.data, path), "%s", second.err.data);
    server_free(&second);
    cr_assert_eq(server_ask_on(connect_unix(path), "/health", "", NULL, NULL), 200);
    server_stop(&s);
    expect_gone(path);
    start(&s, flags, NULL, NULL);
    (void)server_expect(&s, "requests at once");
    cr_assert_eq(server_ask_on(connect_unix(path), "/health", "", NULL, NULL), 200);
    server_kill(&s, SIGKILL);
    cr_assert_eq(server_wait(&s), 1000 + SIGKILL);
    expect_gone(path);
    server_free(&s);
    /* what is no more its own stays */
    start(&s, flags, NULL, NULL);
    (void)server_expect(&s, "requests at once");
    cr_assert_eq(unlink(path), 0);
    oct_test_write_file(dir, "socket", "x", 1);
    server_stop(&s);
    (void)usleep(100 * 1000); /* too short on a busy machine: then it is not seen, and no failure */
    cr_assert_eq(stat(path, &sb), 0, "another's file is gone");
}

/* ---- TLS ---- */

static void write_certificate(void)
{
    char path[PATH_BYTES];
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *x = X509_new();
    X509_NAME *name = X509_get_subject_name(x);
    FILE *f = fopen(in_dir(path, "key.pem"), "w");
    cr_assert(key && f && PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL) &&
              fclose(f) == 0);
    cr_assert(ASN1_INTEGER_set(X509_get_serialNumber(x), 1) &&
              X509_gmtime_adj(X509_getm_notBefore(x), -60) &&
              X509_gmtime_adj(X509_getm_notAfter(x), 3600) && X509_set_pubkey(x, key) &&
              X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                                         (const unsigned char *)"localhost", -1, -1, 0) &&
              X509_set_issuer_name(x, name) && X509_sign(x, key, EVP_sha256()));
    f = fopen(in_dir(path, "cert.pem"), "w");
    cr_assert(f && PEM_write_X509(f, x) && fclose(f) == 0);
    X509_free(x);
    EVP_PKEY_free(key);
}

Test(serve, https_after_the_files_have_gone)
{
    char flags[3 * PATH_BYTES], cert[PATH_BYTES], key[PATH_BYTES], answer[4096];
    struct server s;
    write_certificate();
    (void)snprintf(flags, sizeof flags, "--ssl-certfile|%s|--ssl-keyfile|%s",
                   in_dir(cert, "cert.pem"), in_dir(key, "key.pem"));
    start(&s, flags, NULL, NULL);
    server_ready(&s);
    cr_assert(strstr(s.err.data, "https://127.0.0.1:"), "%s", s.err.data);
    cr_assert(unlink(cert) == 0 && unlink(key) == 0);
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    SSL *ssl = SSL_new(ctx);
    const int fd = server_connect(&s);
    cr_assert(SSL_set_fd(ssl, fd) == 1 && SSL_connect(ssl) == 1, "no handshake");
    static const char ask[] = "GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    cr_assert_eq(SSL_write(ssl, ask, sizeof ask - 1), (int)sizeof ask - 1);
    int n = 0, got;
    while ((got = SSL_read(ssl, answer + n, (int)sizeof answer - 1 - n)) > 0) {
        n += got;
    }
    answer[n] = '\0';
    cr_assert(strstr(answer, "200 OK") && strstr(answer, "\"ready\""), "%s", answer);
    SSL_free(ssl);
    SSL_CTX_free(ctx);
    (void)close(fd);
    cr_assert_neq(server_ask(&s, "/health", "", NULL, NULL), 200, "plain HTTP is answered");
    server_stop(&s);
}

/* ---- limits ---- */

static bool is_closed(int fd)
{
    char byte;
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, SERVER_PATIENCE_MS) == 1 && recv(fd, &byte, 1, 0) == 0;
}

/* Until the server has seen that those of before have closed: the one that asks is left. */
static void wait_for_one_connection(struct server *s)
{
    const int64_t give_up = server_now_ms() + SERVER_PATIENCE_MS;
    for (double n = 0; n != 1; (void)usleep(5000)) {
        struct oct_buf b;
        cr_assert_lt(server_now_ms(), give_up, "%g connections", n);
        if (server_ask(s, "/metrics", "", NULL, &b) == 200) {
            n = prometheus_value(b.data, "octavo_http_connections");
        }
        oct_buf_free(&b);
    }
}

Test(serve, its_limits_are_those_of_the_flags)
{
    struct server s;
    char body[3000], flags[256] = "--max-body-bytes|2048|--max-connections|4|--timeout-keep-alive|"
                                  "1.5|--max-num-seqs|1|--max-queued-requests|1";
    start(&s, flags, NULL, NULL);
    server_ready(&s);
    (void)snprintf(body, sizeof body, "{\"max_tokens\": 1, \"prompt\": \"%02500d\"}", 0);
    expect(&s, "/v1/completions", body, 413, "larger");
    body[2000] = '\0';
    expect(&s, "/v1/completions", body, 400, "error");
    wait_for_one_connection(&s);
    int fd[5];
    for (int i = 0; i < 5; i++) { /* taken in this order */
        fd[i] = server_connect(&s);
        cr_assert_geq(fd[i], 0);
    }
    struct oct_buf b;
    cr_assert_eq(server_ask_on(fd[4], "/health", "", NULL, &b), 503, "%s", b.data ? b.data : "");
    oct_buf_free(&b);
    for (int i = 0; i < 4; i++) {
        cr_assert(is_closed(fd[i]), "an idle connection stays");
        (void)close(fd[i]);
    }
    wait_for_one_connection(&s);
    expect(&s, "/health", NULL, 200, "ready");
    /* one runs, one waits, the third is one too many */
    static const char slow[] = "{\"prompt\": \"x\", \"max_tokens\": 250, \"ignore_eos\": true, "
                               "\"n\": 1, \"stream\": true}";
    char request[400];
    const int len = snprintf(request, sizeof request,
                             "POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: "
                             "%zu\r\n\r\n%s",
                             sizeof slow - 1, slow);
    int n_busy = 0;
    for (int round = 0; round < 20 && n_busy == 0; round++) {
        wait_for_one_connection(&s);
        for (int i = 0; i < 3; i++) {
            fd[i] = server_connect(&s);
            cr_assert_eq(write(fd[i], request, (size_t)len), len);
        }
        for (int i = 0; i < 3; i++) {
            char answer[200] = "";
            struct pollfd p = {.fd = fd[i], .events = POLLIN};
            cr_assert_eq(poll(&p, 1, SERVER_PATIENCE_MS), 1);
            cr_assert_gt(recv(fd[i], answer, sizeof answer - 1, 0), 12);
            n_busy += strstr(answer, " 429 ") != NULL;
            cr_assert(strstr(answer, " 200 ") || strstr(answer, " 429 "), "%s", answer);
            (void)close(fd[i]);
        }
    }
    cr_assert_gt(n_busy, 0, "nobody was told 429");
    server_stop(&s);
}

/* More clients than files: it closes what it cannot keep, and serves again when they have left. */
Test(serve, without_files_it_goes_on_and_recovers)
{
    struct server s;
    int fd[100];
    struct rlimit before;
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    const struct rlimit soft = {64, before.rlim_max};
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &soft), 0);
    start(&s, "--max-connections|1", NULL, NULL); /* asks for 2049 files */
    server_ready(&s);
    server_stop(&s);
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &(struct rlimit){64, 64}), 0, "%s", strerror(errno));
    start(&s, "", NULL, NULL);
    server_ready(&s);
    expect(&s, "/health", NULL, 200, "ready");
    int n = 0;
    for (; n < 50; n++) { /* this process has 64 too */
        fd[n] = server_connect(&s);
        if (fd[n] < 0) {
            break;
        }
    }
    const pid_t more = fork();
    cr_assert_geq(more, 0);
    if (more == 0) { /* 50 more */
        for (int i = 0; i < n; i++) {
            (void)close(fd[i]);
        }
        for (int i = 0; i < 50; i++) {
            if (server_connect(&s) < 0) {
                break;
            }
        }
        (void)usleep(300 * 1000);
        _exit(0);
    }
    cr_assert_eq(spawn_wait(more), 0);
    for (int i = 0; i < n; i++) {
        (void)close(fd[i]);
    }
    int status = 0;
    const int64_t give_up = server_now_ms() + SERVER_PATIENCE_MS;
    while (status != 200 && server_now_ms() < give_up) {
        status = server_ask(&s, "/v1/completions", "", completion, NULL);
    }
    cr_assert_eq(status, 200, "%s", s.err.data);
    server_stop(&s);
}

/* ---- standard error ---- */

/* A request by a Unix socket: a server whose words nobody can read cannot tell its port, and one
 * that was free a moment ago may be another's by now. 0: it does not listen, or no answer. */
static int ask_unix(const char *path, const char *what, const char *body)
{
    const int fd = connect_unix(path);
    return fd < 0 ? 0 : server_ask_on(fd, what, "", body, NULL);
}

Test(serve, a_log_that_cannot_be_written_holds_up_nothing)
{
    char path[PATH_BYTES], flags[PATH_BYTES + 64];
    struct server s;
    /* a full disk */
    (void)snprintf(flags, sizeof flags, "--enable-log-requests|--uds|%s", in_dir(path, "full"));
    start(&s, flags, NULL, "/dev/full");
    const int64_t late = server_now_ms() + SERVER_PATIENCE_MS;
    while (ask_unix(path, "/ready", NULL) != 200) {
        cr_assert_lt(server_now_ms(), late);
        (void)usleep(20 * 1000);
    }
    for (int i = 0; i < 50; i++) {
        cr_assert_eq(ask_unix(path, "/v1/completions", completion), 200);
    }
    server_stop(&s);
    /* a reader that has gone */
    start(&s, "--enable-log-requests", NULL, NULL);
    server_ready(&s);
    (void)close(s.err_fd);
    s.err_fd = -1;
    for (int i = 0; i < 50; i++) {
        cr_assert_eq(server_ask(&s, "/v1/completions", "", completion, NULL), 200);
    }
    server_stop(&s);
    /* one that does not read: the pipe is full after 64 KiB, the ring after 256 more */
    start(&s, "--enable-log-requests", NULL, NULL);
    server_ready(&s);
    char long_id[64 + 32];
    (void)snprintf(long_id, sizeof long_id, "x-request-id: %060d\r\n", 1);
    for (int i = 0; i < 2500; i++) {
        cr_assert_eq(server_ask(&s, "/tokenize", long_id, "{\"prompt\": \"x\"}", NULL), 200);
    }
    (void)server_expect(&s, "request"); /* now it reads */
    int status = 0;
    const int64_t give_up = server_now_ms() + SERVER_PATIENCE_MS;
    while (!strstr(s.err.data, "lines of the log were lost") && server_now_ms() < give_up) {
        status = server_ask(&s, "/tokenize", long_id, "{\"prompt\": \"x\"}", NULL);
        cr_assert_eq(status, 200);
        (void)server_poll(&s);
    }
    cr_assert(strstr(s.err.data, "lines of the log were lost"));
    server_stop(&s);
}

Test(serve, a_log_of_json_is_json)
{
    struct server s;
    start(&s, "--log-format|json|--enable-log-requests|--host|0.0.0.0", NULL, NULL);
    (void)server_expect(&s, "requests at once");
    const char *colon = strstr(s.err.data, "http://0.0.0.0:");
    cr_assert_not_null(colon, "%s", s.err.data);
    s.port = (uint16_t)atoi(colon + strlen("http://0.0.0.0:"));
    cr_assert_eq(server_ask(&s, "/v1/completions", "x-request-id: id-1\r\n", completion, NULL),
                 200);
    server_kill(&s, SIGTERM);
    cr_assert_eq(server_wait(&s), 0);
    int n = 0;
    bool warned = false, told = false;
    for (char *rest = s.err.data, *line; (line = strsep(&rest, "\n")) && *line; n++) {
        json_error_t e;
        json_t *o = json_loads(line, JSON_REJECT_DUPLICATES, &e);
        cr_assert_not_null(o, "%s: %s", e.text, line);
        const char *level = json_string_value(json_object_get(o, "level"));
        const char *message = json_string_value(json_object_get(o, "message"));
        cr_assert(level && message && json_string_value(json_object_get(o, "time")), "%s", line);
        warned = warned || (!strcmp(level, "warning") && strstr(message, "--api-key"));
        told = told || strstr(message, "id-1") != NULL;
        json_decref(o);
    }
    cr_assert(n >= 4 && warned && told, "%d lines", n);
    server_free(&s);
    /* also of what ends it */
    start(&s, "--log-format|json|--host|no.such.host.invalid", NULL, NULL);
    cr_assert_eq(server_wait(&s), 2);
    json_t *o = json_loads(s.err.data, JSON_REJECT_DUPLICATES, NULL);
    cr_assert_not_null(o, "%s", s.err.data);
    cr_assert_str_eq(json_string_value(json_object_get(o, "level")), "error");
    json_decref(o);
    server_free(&s);
}
