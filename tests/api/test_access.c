/* SPDX-License-Identifier: Apache-2.0
 *
 * Who may call what, and when: keys, browsers' pages, paths, methods, and a server that is loading,
 * draining or dead. */
#include "api/service.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BODY "{\"prompt\":\"x\",\"max_tokens\":2}"

static int status_of(struct service *s, const char *method, const char *path, const char *headers,
                     const char *body)
{
    struct answer a = service_ask(s, method, path, headers, body);
    const int status = a.status;
    cr_assert(a.is_whole || !strcmp(method, "HEAD"), "%s %s: %d", method, path, status);
    answer_free(&a);
    return status;
}

Test(access, every_route_needs_a_key_but_four)
{
    static const char *const keys[] = {"first-key", "another"};
    struct service s = {.config = {.api_keys = keys, .n_api_keys = 2}};
    service_start(&s);
    static const struct {
        const char *method, *path, *body;
        int with, without;
    } row[] = {
        {"GET", "/health", NULL, 200, 200},
        {"GET", "/ready", NULL, 200, 200},
        {"GET", "/version", NULL, 200, 200},
        {"GET", "/", NULL, 200, 200},
        {"HEAD", "/health", NULL, 200, 200},
        {"GET", "/metrics", NULL, 200, 401},
        {"GET", "/v1/models", NULL, 200, 401},
        {"GET", "/v1/models/fake", NULL, 200, 401},
        {"POST", "/v1/completions", BODY, 200, 401},
        {"POST", "/v1/chat/completions",
         "{\"messages\":[{\"role\":\"u\",\"content\":\"x\"}],\"max_tokens\":1}", 200, 401},
        {"POST", "/tokenize", "{\"prompt\":\"x\"}", 200, 401},
        {"POST", "/detokenize", "{\"tokens\":[70]}", 200, 401},
        {"GET", "/nowhere", NULL, 404, 401},
        {"GET", "/v1/completions", NULL, 405, 401},
        {"DELETE", "/v1/models/fake", NULL, 405, 401},
        {"POST", "/health", BODY, 405, 401},
    };
    static const struct {
        const char *headers;
        bool fits;
    } header[] = {
        {"Authorization: Bearer first-key\r\n", true},
        {"authorization: bearer   another\r\n", true},
        {"x-api-key: another\r\n", true},
        {"", false},
        {"Authorization: Bearer first-ke\r\n", false},
        {"Authorization: Bearer first-keyfirst-key\r\n", false},
        {"Authorization: Bearer first-key \r\nX: y\r\n", true}, /* HTTP drops the space */
        {"Authorization: Bearer \r\n", false},
        {"Authorization: first-key\r\n", false},
        {"Authorization: Basic Zmlyc3Qta2V5\r\n", false},
        {"x-api-key: First-key\r\n", false},
        {"x-api-key: \r\n", false},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        for (size_t h = 0; h < sizeof header / sizeof *header; h++) {
            const int want = header[h].fits ? row[i].with : row[i].without;
            const int got =
                status_of(&s, row[i].method, row[i].path, header[h].headers, row[i].body);
            cr_expect_eq(got, want, "%s %s with \"%s\": %d, not %d", row[i].method, row[i].path,
                         header[h].headers, got, want);
        }
    }
    struct answer a = service_post(&s, "/v1/completions", BODY);
    char value[256];
    answer_expect_error(&a, 401, "API key");
    cr_assert_str_eq(answer_header(&a, "www-authenticate", value), "Bearer");
    cr_assert(!strstr(a.body.data, "first") && !strstr(a.body.data, "another"));
    answer_free(&a);
    service_stop(&s);
}

/* A body of a megabyte is refused before it is read. */
Test(access, the_key_is_asked_for_before_the_body)
{
    static const char *const keys[] = {"k"};
    struct service s = {.config = {.api_keys = keys, .n_api_keys = 1}};
    service_start(&s);
    static const char head[] = "POST /v1/completions HTTP/1.1\r\nHost: x\r\n"
                               "Content-Length: 1000000\r\n\r\n";
    const int fd = service_connect(&s);
    service_write(fd, head, sizeof head - 1); /* and not one byte of the body */
    struct answer a = service_read(fd);
    answer_expect_error(&a, 401, "API key");
    answer_free(&a);
    service_stop(&s);
}

Test(access, pages_of_other_origins_may_not_post)
{
    static const char *const allowed[] = {"https://app.example", "http://[::1]:3000"};
    static const char *const keys[] = {"k"};
    static const struct {
        const char *headers;
        int status;   /* no keys */
        int with_key; /* the server asks for one, and it was given */
        const char *allow;
    } row[] = {
        {"", 200, 200, ""},
        {"Origin: http://127.0.0.1:8000\r\nHost: 127.0.0.1:8000\r\n", 200, 200, ""},
        {"Origin: http://[::1]:8000\r\nHost: [::1]:8000\r\n", 200, 200, ""},
        {"Origin: http://localhost\r\nHost: localhost\r\n", 200, 200, ""},
        {"Origin: http://box:80\r\nHost: box:80\r\n", 200, 200, ""},
        {"Origin: https://gpu.local\r\nHost: GPU.local\r\n", 200, 200, ""},
        {"Origin: http://a.localhost:1\r\nHost: a.localhost:1\r\n", 200, 200, ""},
        {"Origin: https://app.example\r\nHost: 127.0.0.1:8000\r\n", 200, 200,
         "https://app.example"},
        {"Origin: http://[::1]:3000\r\nHost: x\r\n", 200, 200, "http://[::1]:3000"},
        {"Origin: https://evil.example\r\nHost: 127.0.0.1:8000\r\n", 403, 403, ""},
        {"Origin: http://127.0.0.1:8001\r\nHost: 127.0.0.1:8000\r\n", 403, 403, ""},
        {"Origin: null\r\nHost: 127.0.0.1:8000\r\n", 403, 403, ""},
        {"Origin: https://app.example.evil.example\r\nHost: x\r\n", 403, 403, ""},
        /* DNS rebinding: their name, our address */
        {"Origin: http://evil.example:8000\r\nHost: evil.example:8000\r\n", 403, 200, ""},
        {"Origin: http://1.2.3.4.evil.example\r\nHost: 1.2.3.4.evil.example\r\n", 403, 200, ""},
    };
    for (int with_key = 0; with_key < 2; with_key++) {
        struct service s = {.config = {.allowed_origins = allowed,
                                       .n_allowed_origins = 2,
                                       .api_keys = with_key ? keys : NULL,
                                       .n_api_keys = (size_t)with_key}};
        service_start(&s);
        for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
            char request[512], value[256];
            const char *host = strstr(row[i].headers, "Host") ? "" : "Host: x\r\n";
            (void)snprintf(request, sizeof request,
                           "POST /v1/completions HTTP/1.1\r\nConnection: close\r\n%s%s%s"
                           "Content-Length: %zu\r\n\r\n%s",
                           host, row[i].headers, with_key ? "x-api-key: k\r\n" : "", strlen(BODY),
                           BODY);
            const int fd = service_connect(&s);
            service_write(fd, request, strlen(request));
            struct answer a = service_read(fd);
            const int want = with_key ? row[i].with_key : row[i].status;
            cr_expect_eq(a.status, want, "%s: %d", row[i].headers, a.status);
            cr_expect_str_eq(answer_header(&a, "access-control-allow-origin", value), row[i].allow);
            answer_free(&a);
        }
        service_stop(&s);
    }
}

Test(access, browsers_may_ask_first)
{
    static const char *const allowed[] = {"*"};
    struct service s = {.config = {.allowed_origins = allowed, .n_allowed_origins = 1}};
    struct service none = {0};
    char value[256];
#define ASK "Origin: https://a.example\r\nAccess-Control-Request-Method: POST\r\n"
    service_start(&s);
    struct answer a = service_ask(&s, "OPTIONS", "/v1/completions", ASK, NULL);
    cr_assert_eq(a.status, 204);
    cr_assert_str_eq(answer_header(&a, "access-control-allow-origin", value), "*");
    cr_assert(strstr(answer_header(&a, "access-control-allow-methods", value), "POST"));
    cr_assert(strstr(answer_header(&a, "access-control-allow-headers", value), "authorization"));
    answer_free(&a);
    /* what a client says is not repeated in the head of an answer */
    a = service_ask(&s, "OPTIONS", "/v1/completions",
                    ASK "Access-Control-Request-Headers: x\tevil\r\nx-request-id: a b\r\n", NULL);
    cr_assert(a.status == 204 && !strstr(a.head, "evil") && !strstr(a.head, "a b"), "%s", a.head);
    answer_free(&a);
    service_stop(&s);
    service_start(&none);
    a = service_ask(&none, "OPTIONS", "/v1/completions", ASK, NULL);
    cr_assert_eq(a.status, 403);
    answer_free(&a);
    service_stop(&none);
}

Test(access, paths_and_methods_that_are_not_there_are_named)
{
    struct service s = {0};
    service_start(&s);
    struct answer a = service_ask(&s, "GET", "/v1/embeddings\x7f", "", NULL);
    cr_assert(a.status == 404 || a.status == 400, "%d", a.status);
    answer_free(&a);
    a = service_ask(&s, "GET", "/v1/nothing", "", NULL);
    answer_expect_error(&a, 404, "there is no /v1/nothing");
    answer_free(&a);
    a = service_ask(&s, "GET", "/v1/chat/completions", "", NULL);
    char value[256];
    answer_expect_error(&a, 405, "/v1/chat/completions answers POST");
    cr_assert_str_eq(answer_header(&a, "allow", value), "POST");
    answer_free(&a);
    a = service_ask(&s, "GET", "/api/delete", "", NULL);
    cr_assert_eq(a.status, 405, "%d %s", a.status, a.body.data);
    cr_assert_str_eq(answer_header(&a, "allow", value), "DELETE");
    answer_free(&a);
    a = service_ask(&s, "POST", "/v1/completions", "", NULL);
    cr_assert_eq(a.status, 400, "%d %s", a.status, a.body.data);
    answer_free(&a);
    service_stop(&s);
}

Test(access, request_ids_come_back)
{
    struct service s = {0};
    char value[256];
    service_start(&s);
    struct answer a = service_ask(&s, "POST", "/v1/completions", "x-request-id: my.id-7\r\n", BODY);
    json_t *j = answer_json(&a);
    cr_assert_str_eq(answer_header(&a, "x-request-id", value), "my.id-7");
    cr_assert_str_eq(str_at(j, "id"), "cmpl-my.id-7");
    json_decref(j);
    answer_free(&a);
    a = service_ask(&s, "POST", "/v1/completions", "x-request-id: not \"sane\"\r\n", BODY);
    j = answer_json(&a);
    char id[256];
    (void)snprintf(id, sizeof id, "cmpl-%s", answer_header(&a, "x-request-id", value));
    cr_assert_str_eq(str_at(j, "id"), id);
    cr_assert(strlen(id) == 5 + 32 && !strstr(id, "sane"), "%s", id);
    json_decref(j);
    answer_free(&a);
    service_stop(&s);
}

/* ---- states ---- */

static void drain(struct service *s, void *arg)
{
    (void)arg;
    oct_api_drain(s->api);
}

static void fail(struct service *s, void *arg)
{
    oct_api_set_failed(s->api, OCT_E_DEVICE, arg);
}

static void expect_503(struct service *s, const char *says)
{
    char value[256];
    static const char *const paths[] = {"/v1/completions", "/v1/chat/completions", "/tokenize"};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        struct answer a = service_post(s, paths[i], BODY);
        answer_expect_error(&a, 503, says);
        cr_assert(*answer_header(&a, "retry-after", value), "%s", paths[i]);
        answer_free(&a);
    }
    cr_assert_eq(status_of(s, "GET", "/v1/models", "", NULL), 200);
    cr_assert_eq(status_of(s, "GET", "/ready", "", NULL), 503);
}

Test(access, without_an_engine_it_is_later)
{
    struct service s = {.no_engine = true};
    service_start(&s);
    expect_503(&s, "loaded");
    cr_assert_eq(status_of(&s, "GET", "/health", "", NULL), 200);
    char why[] = "the file is not there";
    service_on_loop(&s, fail, why);
    expect_503(&s, "failed");
    cr_assert_eq(status_of(&s, "GET", "/health", "", NULL), 503);
    service_stop(&s);
}

Test(access, a_draining_server_takes_no_more)
{
    struct service s = {0};
    service_start(&s);
    cr_assert_eq(status_of(&s, "POST", "/v1/completions", "", BODY), 200);
    service_on_loop(&s, drain, NULL);
    expect_503(&s, "stopping");
    service_stop(&s);
}

/* R19: not one answer with tokens after the device has failed. */
Test(access, a_failed_device_is_the_end)
{
    for (int wait = 0; wait < 2; wait++) {
        struct service s = {
            .fake_options = {.fail_launch = wait ? 0 : 3, .fail_wait = wait ? 3 : 0}};
        service_start(&s);
        struct answer a =
            service_post(&s, "/v1/completions", "{\"prompt\":\"x\",\"max_tokens\":9}");
        answer_expect_error(&a, 503, "fake device");
        answer_free(&a);
        a = service_post(&s, "/v1/completions",
                         "{\"prompt\":\"x\",\"max_tokens\":9,\"stream\":true}");
        answer_expect_error(&a, 503, "failed");
        answer_free(&a);
        cr_assert_eq(status_of(&s, "GET", "/health", "", NULL), 503);
        const struct oct_api_counts n = service_counts(&s);
        cr_assert(n.n_accepted == 1 && n.n_failed == 1 && n.n_refused == 1,
                  "%llu accepted, %llu failed, %llu refused", (unsigned long long)n.n_accepted,
                  (unsigned long long)n.n_failed, (unsigned long long)n.n_refused);
        service_stop(&s);
    }
}
