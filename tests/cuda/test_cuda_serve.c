/* SPDX-License-Identifier: Apache-2.0
 *
 * `octavo serve --device cuda`, the program itself, on the virtual GPU with all checks: it answers,
 * the same alone and beside others; a device that fails or hangs is told to every client and to
 * /health, and ends the program with 4, unless it was told to stay. */
#include "serve/server.h"
#include "serve/spawn.h"
#include "support/tiny.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { N_CLIENTS = 6, PATH_BYTES = 512 };

static char *dir, model[PATH_BYTES];

static void write_model(void)
{
    struct oct_tiny t = oct_tiny_default(OCT_ARCH_LLAMA);
    dir = oct_test_make_dir();
    oct_tiny_write_gguf(&t, dir, "tiny");
    (void)snprintf(model, sizeof model, "%s/tiny.gguf", dir);
}

static void remove_model(void)
{
    oct_test_remove_dir(dir);
}

TestSuite(cuda_serve, .init = write_model, .fini = remove_model, .timeout = 240);

static void start(struct server *s, const char *arch, const char *fault, const char *flag)
{
    char arch_is[64], fault_is[64];
    (void)snprintf(arch_is, sizeof arch_is, "VGPU_ARCH=%s", arch);
    (void)snprintf(fault_is, sizeof fault_is, "VGPU_FAIL=%s", fault);
    const char *const env[] = {"LD_LIBRARY_PATH=" OCT_VGPU_DIR, "VGPU_MEM=256M", arch_is, fault_is,
                               NULL};
    const char *args[] = {model,      "--device",
                          "cuda",     "--dtype",
                          "bfloat16", "--max-model-len",
                          "128",      "--max-num-seqs",
                          "4",        "--max-num-batched-tokens",
                          "32",       "--kv-cache-bytes",
                          "4MiB",     flag,
                          NULL};
    server_start(s, args, env, NULL);
    server_ready(s);
}

/* ---- clients ---- */

struct client {
    struct server *s;
    int fd, seed, status;
    bool stream;
    struct oct_buf answer;
    pthread_t thread;
};

static void *ask(void *arg)
{
    struct client *c = arg;
    char body[256];
    (void)snprintf(body, sizeof body,
                   "{\"prompt\": \"%d: once upon a time\", \"max_tokens\": 12, \"ignore_eos\": "
                   "true, \"temperature\": 0.8, \"seed\": %d, \"stream\": %s}",
                   c->seed, c->seed, c->stream ? "true" : "false");
    c->status = server_ask_on(c->fd, "/v1/completions", "", body, &c->answer);
    return NULL;
}

static void ask_all(struct server *s, struct client *c, int n, bool stream)
{
    for (int i = 0; i < n; i++) {
        c[i] = (struct client){.s = s, .seed = i, .stream = stream, .fd = server_connect(s)};
        cr_assert_geq(c[i].fd, 0);
        cr_assert_eq(pthread_create(&c[i].thread, NULL, ask, &c[i]), 0);
    }
    for (int i = 0; i < n; i++) {
        cr_assert_eq(pthread_join(c[i].thread, NULL), 0);
    }
}

/* The text of a whole answer; freed with *root. */
static const char *text_of(const struct client *c, json_t **root)
{
    *root = json_loadb(c->answer.data ? c->answer.data : "", c->answer.len, JSON_ALLOW_NUL, NULL);
    const json_t *choice = json_array_get(json_object_get(*root, "choices"), 0);
    return json_string_value(json_object_get(choice, "text"));
}

static void answers(const char *arch)
{
    struct server s;
    struct client together[N_CLIENTS], alone;
    start(&s, arch, "", "--enforce-eager");
    ask_all(&s, together, N_CLIENTS, false);
    for (int i = 0; i < N_CLIENTS; i++) {
        json_t *a, *b;
        cr_assert_eq(together[i].status, 200, "%s", together[i].answer.data);
        alone = (struct client){.s = &s, .seed = i, .fd = server_connect(&s)};
        (void)ask(&alone);
        const char *x = text_of(&together[i], &a), *y = text_of(&alone, &b);
        cr_assert(x && y && *x, "%s", together[i].answer.data);
        cr_assert_str_eq(x, y, "%s: client %d hears \"%s\" beside others, \"%s\" alone", arch, i, x,
                         y);
        json_decref(a);
        json_decref(b);
        oct_buf_free(&together[i].answer);
        oct_buf_free(&alone.answer);
    }
    struct oct_buf health;
    cr_assert_eq(server_ask(&s, "/health", "", NULL, &health), 200, "%s", health.data);
    oct_buf_free(&health);
    server_kill(&s, SIGTERM);
    cr_assert_eq(server_wait(&s), 0, "%s", s.err.data);
    cr_assert(!strstr(s.err.data, "vgpu:"), "the virtual GPU found something: %s", s.err.data);
    server_free(&s);
}

Test(cuda_serve, it_answers_the_same_alone_and_beside_others_a100)
{
    answers("a100");
}

Test(cuda_serve, it_answers_the_same_alone_and_beside_others_h100)
{
    answers("h100");
}

/* ---- a device that fails ---- */

/* Every client is told; with a word that says it is the device. */
static void check_told(const struct client *c, int n)
{
    for (int i = 0; i < n; i++) {
        const char *a = c[i].answer.data ? c[i].answer.data : "";
        const bool by_status = c[i].status == 503 || c[i].status == 500;
        const bool by_event = c[i].status == 200 && c[i].stream && strstr(a, "\"error\"");
        cr_assert(by_status || by_event, "client %d: %d: %s", i, c[i].status, a);
        cr_assert(strstr(a, "CUDA_ERROR_") || strstr(a, "device") || strstr(a, "engine"),
                  "client %d: %s", i, a);
    }
}

Test(cuda_serve, a_fault_ends_every_request_and_the_program)
{
    struct server s;
    struct client c[N_CLIENTS];
    start(&s, "h100", "launch:150", "--enforce-eager");
    ask_all(&s, c, N_CLIENTS, true);
    check_told(c, N_CLIENTS);
    cr_assert_eq(server_wait(&s), 4, "%s", s.err.data);
    cr_assert(strstr(s.err.data, "CUDA_ERROR_"), "%s", s.err.data);
    server_free(&s);
    for (int i = 0; i < N_CLIENTS; i++) {
        oct_buf_free(&c[i].answer);
    }
}

Test(cuda_serve, a_server_that_stays_says_that_its_device_is_gone)
{
    struct server s;
    struct client c[N_CLIENTS];
    struct oct_buf b;
    start(&s, "a100", "lost:400", "--no-exit-on-device-failure");
    ask_all(&s, c, N_CLIENTS, false);
    check_told(c, N_CLIENTS);
    cr_assert_eq(server_ask(&s, "/health", "", NULL, &b), 503, "%s", b.data);
    cr_assert(strstr(b.data, "CUDA_ERROR_"), "%s", b.data);
    oct_buf_free(&b);
    cr_assert_eq(server_ask(&s, "/ready", "", NULL, &b), 503, "%s", b.data);
    oct_buf_free(&b);
    cr_assert_eq(server_ask(&s, "/v1/completions", "", "{\"prompt\": \"x\"}", &b), 503, "%s",
                 b.data);
    oct_buf_free(&b);
    server_kill(&s, SIGTERM);
    (void)server_wait(&s);
    server_free(&s);
    for (int i = 0; i < N_CLIENTS; i++) {
        oct_buf_free(&c[i].answer);
    }
}

Test(cuda_serve, a_kernel_that_hangs_ends_every_request_and_the_program)
{
    struct server s;
    struct client c[N_CLIENTS];
    start(&s, "h100", "hang:250", "--hang-timeout=2");
    ask_all(&s, c, N_CLIENTS, true);
    const int64_t told_ms = server_now_ms();
    check_told(c, N_CLIENTS);
    cr_assert_eq(server_wait(&s), 4, "%s", s.err.data);
    cr_assert_leq(server_now_ms() - told_ms, 2000, "%s", s.err.data);
    cr_assert(strstr(s.err.data, "the device hangs: step "), "%s", s.err.data);
    cr_assert(!strstr(s.err.data, "launched last: nothing"), "%s", s.err.data);
    server_free(&s);
    for (int i = 0; i < N_CLIENTS; i++) {
        cr_assert(strstr(c[i].answer.data, "the device hangs: step "), "client %d: %s", i,
                  c[i].answer.data);
        oct_buf_free(&c[i].answer);
    }
}

Test(cuda_serve, the_self_test_gives_the_same_beside_others)
{
    struct server s;
    struct client c[N_CLIENTS];
    struct oct_buf b = {0};
    double n = 0;
    start(&s, "h100", "", "--self-test-interval=0.001");
    ask_all(&s, c, N_CLIENTS, false);
    for (const int64_t give_up = server_now_ms() + SERVER_PATIENCE_MS; !(n >= 3);) {
        oct_buf_free(&b);
        cr_assert_eq(server_ask(&s, "/metrics", "", NULL, &b), 200);
        const char *at = strstr(b.data, "\noctavo_self_tests_total ");
        n = at ? strtod(strchr(at, ' '), NULL) : 0;
        cr_assert_lt(server_now_ms(), give_up, "%s", s.err.data);
        (void)usleep(50000);
    }
    cr_assert(strstr(b.data, "\noctavo_self_test_failures_total 0\n"), "%s", b.data);
    oct_buf_free(&b);
    server_stop(&s);
    for (int i = 0; i < N_CLIENTS; i++) {
        cr_assert_eq(c[i].status, 200, "%s", c[i].answer.data);
        oct_buf_free(&c[i].answer);
    }
}

/* ---- products by cuBLASLt ---- */

static int times(const char *text, const char *what)
{
    int n = 0;
    for (const char *p = text; (p = strstr(p, what)); p++) {
        n++;
    }
    return n;
}

Test(cuda_serve, who_multiplies_is_said_once)
{
#ifndef OCT_TEST_CUBLASLT
    cr_skip_test("no stand-in of cuBLASLt: its header was not found");
#endif
    static const char *const env[] = {"LD_LIBRARY_PATH=" OCT_VGPU_DIR, "VGPU_MEM=256M", NULL};
    const char *info[] = {"info",    model,      "--device",        "cuda",
                          "--dtype", "bfloat16", "--gemm-provider", "cublaslt",
                          NULL};
    const char *run[] = {"run",
                         model,
                         "--device",
                         "cuda",
                         "--dtype",
                         "bfloat16",
                         "--gemm-provider",
                         "cublaslt",
                         "--raw",
                         "-p",
                         "Once",
                         "-n",
                         "4",
                         "--max-model-len",
                         "64",
                         "--kv-cache-bytes",
                         "1MiB",
                         NULL};
    const char *const *lines[] = {info, run};
    for (int i = 0; i < 2; i++) {
        struct spawned s;
        spawn(&s, lines[i], NULL, env);
        cr_assert_eq(s.code, 0, "%s", s.err.data);
        cr_assert_eq(times(s.err.data, "by cuBLASLt: the bits of an answer may depend on"), 1, "%s",
                     s.err.data);
        cr_assert(i > 0 || strstr(s.out.data, "products by cuBLASLt 13.0.0"), "%s", s.out.data);
        spawned_free(&s);
    }
}
