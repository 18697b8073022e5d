/* SPDX-License-Identifier: Apache-2.0
 *
 * test_load.c - `octavo serve` under thousands of clients: none is forgotten, nothing is kept of
 * those that are gone, and what the server counts is what the clients saw. A sanitized build does
 * the same with fewer. */
#include "serve/server.h"
#include "serve/spawn.h"
#include "support/client.h"
#include "support/tiny.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <jansson.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
enum { SANITIZED = 1 };
#else
enum { SANITIZED = 0 };
#endif
enum { PATIENCE_US = 60000000, N_TOKENS = 4, N_PROMPTS = 5 };

static char *dir, model[256];

static void setup(void)
{
    struct oct_tiny t = oct_tiny_default(OCT_ARCH_LLAMA);
    struct rlimit files;
    t.max_positions = 2048;
    dir = oct_test_make_dir();
    oct_tiny_write_gguf(&t, dir, "tiny");
    (void)snprintf(model, sizeof model, "%s/tiny.gguf", dir);
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &files), 0);
    files.rlim_cur = files.rlim_max;
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &files), 0);
}

static void teardown(void)
{
    oct_test_remove_dir(dir);
}

TestSuite(load, .init = setup, .fini = teardown, .timeout = 120);

/* The server with 16 sequences; more arguments, NULL at the end. */
static void start(struct server *s, const char *const *more)
{
    const char *args[24] = {model, "--max-num-seqs", "16", "--kv-cache-bytes", "8MiB"};
    size_t n = 5;
    while (*more) {
        args[n++] = *more++;
    }
    server_start(s, args, NULL, NULL);
    server_ready(s);
}

static const char *const none[] = {NULL};

/* The sum of a metric over its labels that contain `label` ("": all). */
static double metric(struct server *s, const char *name, const char *label)
{
    struct oct_buf text = {0};
    cr_assert_eq(server_ask(s, "/metrics", "", NULL, &text), 200);
    double sum = 0;
    bool found = false;
    const size_t len = strlen(name);
    char *rest = text.data;
    for (char *line; (line = strsep(&rest, "\n"));) {
        const char *value = strrchr(line, ' ');
        if (!strncmp(line, name, len) && (line[len] == '{' || line[len] == ' ') &&
            strstr(line, label)) {
            sum += strtod(value, NULL);
            found = true;
        }
    }
    cr_assert(found, "/metrics does not say %s with %s", name, label);
    oct_buf_free(&text);
    return sum;
}

/* Waits until nothing runs or waits; false if it does not come to that in 20 s. */
static bool comes_to_rest(struct server *s)
{
    for (int i = 0; i < 2000; i++) {
        if (metric(s, "vllm:num_requests_running", "") == 0 &&
            metric(s, "vllm:num_requests_waiting", "") == 0) {
            return true;
        }
        (void)usleep(10000);
    }
    return false;
}

/* All calls that the engine took have ended, and each in one way. */
static void check_counts(struct server *s)
{
    const double taken = metric(s, "octavo_calls_total", "");
    const double ended = metric(s, "octavo_calls_ended_total", "") -
                         metric(s, "octavo_calls_ended_total", "\"refused\"");
    cr_assert_eq(taken, ended, "%g calls were taken and %g have ended", taken, ended);
}

static size_t resident_bytes(pid_t pid)
{
    char path[64], line[256];
    size_t kb = 0;
    (void)snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *f = fopen(path, "re");
    cr_assert_not_null(f);
    while (fgets(line, sizeof line, f)) {
        if (!strncmp(line, "VmRSS:", 6)) {
            kb = strtoul(line + 6, NULL, 10);
        }
    }
    (void)fclose(f);
    return kb * 1024;
}

/* Once it stays the same: the server gives memory back in its first quiet quarter second. */
static size_t resident_at_rest(pid_t pid)
{
    size_t bytes = resident_bytes(pid);
    for (int n_same = 0, i = 0; n_same < 6 && i < 200; i++) {
        (void)usleep(100000);
        const size_t now = resident_bytes(pid);
        n_same = now == bytes ? n_same + 1 : 0;
        bytes = now;
    }
    return bytes;
}

static int open_files(pid_t pid)
{
    char path[64];
    int n = 0;
    (void)snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
    DIR *d = opendir(path);
    cr_assert_not_null(d);
    while (readdir(d)) {
        n++;
    }
    (void)closedir(d);
    return n;
}

/* The server closes what a client has closed a moment later. */
static void expect_files(struct server *s, int want)
{
    int n = open_files(s->pid);
    for (int i = 0; i < 500 && n != want; i++) {
        (void)usleep(10000);
        n = open_files(s->pid);
    }
    cr_assert_eq(n, want, "%d files are open, %d were before", n, want);
}

static void make_request(struct oct_buf *out, const char *prompt, int n_tokens, bool stream)
{
    char body[256];
    const int n = snprintf(body, sizeof body,
                           "{\"model\":\"tiny.gguf\",\"prompt\":\"%s\",\"max_tokens\":%d,"
                           "\"temperature\":0,\"ignore_eos\":true,\"stream\":%s}",
                           prompt, n_tokens, stream ? "true" : "false");
    client_post(out, "/v1/completions", body, (size_t)n);
}

static const char *const prompts[N_PROMPTS] = {"the heron", "in the rain", "a mill", "tin",
                                               "here and there, then"};

/* The answer's text as JSON writes it; of a stream, of all its pieces. Given away: free. */
static char *text_of(const char *body, bool stream)
{
    struct oct_buf joined = {0};
    oct_status st = oct_buf_reserve(&joined, 1);
    const char *at = body;
    while (at) {
        at = stream ? strstr(at, "data: {") : at;
        if (!at) {
            break;
        }
        at += stream ? strlen("data: ") : 0;
        json_t *o = json_loads(at, JSON_DISABLE_EOF_CHECK | JSON_ALLOW_NUL, NULL);
        const json_t *choice = json_array_get(json_object_get(o, "choices"), 0);
        const json_t *text = json_object_get(choice, "text");
        if (text) {
            st = st ? st
                    : oct_buf_append(&joined, json_string_value(text), json_string_length(text));
        }
        json_decref(o);
        at = stream ? at : NULL;
    }
    cr_assert_eq(st, OCT_OK);
    json_t *all = json_stringn(joined.data, joined.len);
    char *text = json_dumps(all, JSON_ENCODE_ANY);
    json_decref(all);
    oct_buf_free(&joined);
    return text;
}

/* ---- many requests ---- */

struct crowd {
    struct oct_buf request[2 * N_PROMPTS]; /* plain, then streaming */
    char *alone[N_PROMPTS];
    long n_requests, n_sent, n_answered;
};

static void crowd_send(struct crowd *w, struct client_conn *c)
{
    c->tag = w->n_sent % (2 * N_PROMPTS);
    w->n_sent++;
    client_send(c, w->request[c->tag].data, w->request[c->tag].len, PATIENCE_US);
}

static void crowd_end(void *user, struct client_conn *c, enum client_end how)
{
    struct crowd *w = user;
    cr_assert(how == CLIENT_ANSWERED && c->status == 200, "request %ld: %s, status %d: %s",
              w->n_answered, client_end_names[how], c->status, c->body.data ? c->body.data : "");
    char *text = text_of(c->body.data, c->tag >= N_PROMPTS);
    cr_assert_str_eq(text, w->alone[c->tag % N_PROMPTS], "\"%s\" got another answer than alone",
                     prompts[c->tag % N_PROMPTS]);
    free(text);
    w->n_answered++;
    if (w->n_sent < w->n_requests) {
        crowd_send(w, c);
    }
}

Test(load, forty_thousand_requests_from_a_thousand_connections_are_all_answered)
{
    struct server s;
    struct crowd w = {0};
    const int n_conns = SANITIZED ? 200 : 1000;
    const long n_all = SANITIZED ? 1000 : 40000;
    start(&s, none);
    const int files = open_files(s.pid);
    for (int i = 0; i < N_PROMPTS; i++) {
        char *body;
        make_request(&w.request[i], prompts[i], N_TOKENS, false);
        make_request(&w.request[N_PROMPTS + i], prompts[i], N_TOKENS, true);
        cr_assert_eq(client_once("127.0.0.1", s.port, w.request[i].data, w.request[i].len,
                                 PATIENCE_US, &body),
                     200);
        w.alone[i] = text_of(body, false);
        oct_free(body);
    }
    const struct client_callbacks cb = {.user = &w, .on_end = crowd_end};
    struct client *k = client_create("127.0.0.1", s.port, &cb);
    struct client_conn **conns = oct_calloc((size_t)n_conns, sizeof *conns);
    cr_assert_not_null(conns);
    size_t bytes[4];
    /* Each wave begins with all at once; in the first they still have to connect, one by one, so
     * that only in the second all thousand are in work together. */
    const long waves[] = {n_conns, 2 * n_conns, n_all / 2, n_all};
    for (int wave = 0; wave < 4; wave++) {
        w.n_requests = waves[wave];
        for (int i = 0; i < n_conns; i++) {
            conns[i] = conns[i] ? conns[i] : client_conn_create(k, 0);
            crowd_send(&w, conns[i]);
        }
        while (client_n_busy(k)) {
            client_turn(k, 10);
        }
        bytes[wave] = resident_at_rest(s.pid);
    }
    oct_free(conns);
    cr_assert_eq(w.n_answered, n_all);
    if (!SANITIZED) { /* a sanitizer keeps what was freed */
        /* What a thousand connections hold settles into the holes of the heap, for some 20,000
         * requests. After that 50 bytes kept of each would show. */
        cr_assert(bytes[3] <= bytes[2] + (1u << 20) && bytes[3] <= bytes[0] + (4u << 20),
                  "%zu bytes after %ld answers, %zu after %ld, %zu after %ld, %zu after %ld",
                  bytes[0], waves[0], bytes[1], waves[1], bytes[2], waves[2], bytes[3], waves[3]);
    }
    client_destroy(k);
    expect_files(&s, files);
    cr_assert_eq(metric(&s, "vllm:generation_tokens_total", ""),
                 (double)(N_TOKENS * (n_all + N_PROMPTS)));
    cr_assert_eq(metric(&s, "octavo_calls_total", ""), (double)(n_all + N_PROMPTS));
    check_counts(&s);
    server_stop(&s);
    server_free(&s);
    for (int i = 0; i < N_PROMPTS; i++) {
        free(w.alone[i]);
        oct_buf_free(&w.request[i]);
        oct_buf_free(&w.request[N_PROMPTS + i]);
    }
}

/* ---- clients that leave ---- */

static uint64_t draw(uint64_t *state)
{
    uint64_t z = *state += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

static void ignore_end(void *user, struct client_conn *c, enum client_end how)
{
    (void)user;
    (void)c;
    (void)how;
}

/* Each client sends a request, or only a part of it, and is gone up to 20 ms later: before it is
 * read, queued, in the prompt, between tokens; streaming or not; by FIN or RST. */
Test(load, clients_that_leave_anywhere_leave_nothing_behind)
{
    enum { N_CLIENTS = 64 };
    struct server s;
    struct oct_buf request[2] = {0};
    const int n_leaves = SANITIZED ? 600 : 6000;
    uint64_t seed = 20261123;
    char *body;
    start(&s, none);
    make_request(&request[0], prompts[0], 1000, false);
    make_request(&request[1], prompts[1], 1000, true);
    struct oct_buf small = {0};
    make_request(&small, prompts[2], N_TOKENS, false);
    const int files = open_files(s.pid);
    const struct client_callbacks cb = {.on_end = ignore_end};
    struct client *k = client_create("127.0.0.1", s.port, &cb);
    struct client_conn *c[N_CLIENTS];
    int64_t leave_us[N_CLIENTS];
    for (int i = 0; i < N_CLIENTS; i++) {
        c[i] = client_conn_create(k, 2 + i % 8);
        leave_us[i] = -1;
    }
    for (int n_left = 0; n_left < n_leaves;) {
        for (int i = 0; i < N_CLIENTS; i++) {
            const int64_t now = client_now_us();
            if (leave_us[i] >= 0 && now >= leave_us[i]) {
                client_leave(c[i], draw(&seed) % 2);
                leave_us[i] = -1;
                n_left++;
            } else if (leave_us[i] < 0) {
                const struct oct_buf *r = &request[draw(&seed) % 2];
                if (draw(&seed) % 4 == 0) {
                    client_idle(c[i], r->data, (size_t)(draw(&seed) % r->len));
                } else {
                    client_send(c[i], r->data, r->len, PATIENCE_US);
                }
                leave_us[i] = now + (int64_t)(draw(&seed) % 20000);
            }
        }
        client_turn(k, 1);
    }
    client_destroy(k);
    cr_assert(comes_to_rest(&s), "requests of clients that left still run after 20 s");
    expect_files(&s, files);
    check_counts(&s);
    cr_assert_gt(metric(&s, "octavo_calls_ended_total", "left"), 0.0);
    cr_assert_eq(metric(&s, "octavo_http_exchanges", ""), 1.0, "more than the one that asks");
    /* Pages that hold only cached prefixes are free. */
    cr_assert_eq(metric(&s, "vllm:kv_cache_usage_perc", ""), 0.0);
    cr_assert_eq(client_once("127.0.0.1", s.port, small.data, small.len, PATIENCE_US, &body), 200);
    oct_free(body);
    server_stop(&s);
    server_free(&s);
    oct_buf_free(&request[0]);
    oct_buf_free(&request[1]);
    oct_buf_free(&small);
}

/* ---- more than it holds ---- */

struct flood {
    struct oct_buf request;
    long n_requests, n_sent, n_done, n_refused;
};

static void flood_send(struct flood *f, struct client_conn *c)
{
    f->n_sent++;
    client_send(c, f->request.data, f->request.len, PATIENCE_US);
}

static void flood_end(void *user, struct client_conn *c, enum client_end how)
{
    struct flood *f = user;
    cr_assert(how == CLIENT_ANSWERED && (c->status == 200 || c->status == 429), "%s, status %d",
              client_end_names[how], c->status);
    *(c->status == 200 ? &f->n_done : &f->n_refused) += 1;
    if (c->status == 429) {
        cr_assert(c->body.data && strstr(c->body.data, "\"error\""), "no reason: %s", c->body.data);
    }
    if (f->n_sent < f->n_requests) {
        flood_send(f, c);
    }
}

Test(load, ten_times_what_it_holds_is_refused_in_words_and_the_rest_is_done)
{
    static const char *const little[] = {"--max-queued-requests", "16", NULL};
    struct server s;
    struct flood f = {.n_requests = SANITIZED ? 1000 : 8000};
    start(&s, little);
    make_request(&f.request, prompts[3], 32, false);
    const struct client_callbacks cb = {.user = &f, .on_end = flood_end};
    struct client *k = client_create("127.0.0.1", s.port, &cb);
    for (int i = 0; i < 320; i++) { /* 16 run, 16 wait */
        flood_send(&f, client_conn_create(k, 0));
    }
    while (client_n_busy(k)) {
        client_turn(k, 10);
    }
    client_destroy(k);
    cr_assert_eq(f.n_done + f.n_refused, f.n_requests);
    cr_assert_gt(f.n_refused, 0);
    cr_assert_gt(f.n_done, 16);
    cr_assert_eq(metric(&s, "vllm:generation_tokens_total", ""), (double)(32 * f.n_done));
    check_counts(&s);
    server_stop(&s);
    server_free(&s);
    oct_buf_free(&f.request);
}

/* ---- connections ---- */

/* Files that this test may have open and the server may, beside what they need themselves. */
static int room_for_connections(int want)
{
    struct rlimit files;
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &files), 0);
    if (files.rlim_cur >= (rlim_t)want + 1024) {
        return want;
    }
    (void)fprintf(stderr, "only %llu files may be open: fewer connections\n",
                  (unsigned long long)files.rlim_cur);
    return files.rlim_cur > 1024 ? (int)files.rlim_cur - 1024 : 0;
}

Test(load, ten_thousand_idle_connections_are_cheap_and_one_more_is_told)
{
    enum { N_SPARE = 8 };
    struct server s;
    const int n = room_for_connections(SANITIZED ? 2000 : 10000);
    char limit[16];
    const char *const most[] = {"--max-connections", limit, NULL};
    if (n < 100) {
        cr_skip_test("too few files may be open");
    }
    (void)snprintf(limit, sizeof limit, "%d", n + N_SPARE);
    start(&s, most);
    const int files = open_files(s.pid);
    struct oct_buf request = {0};
    make_request(&request, prompts[4], N_TOKENS, false);
    cr_assert_eq(client_once("127.0.0.1", s.port, request.data, request.len, PATIENCE_US, NULL),
                 200);
    const size_t before = resident_bytes(s.pid);
    const struct client_callbacks cb = {.on_end = ignore_end};
    struct client *k = client_create("127.0.0.1", s.port, &cb);
    struct client_conn **idle = oct_calloc((size_t)n, sizeof *idle);
    cr_assert_not_null(idle);
    for (int i = 0; i < n; i++) {
        idle[i] = client_conn_create(k, 2 + i % 8);
        client_idle(idle[i], "", 0);
        const int64_t give_up = client_now_us() + PATIENCE_US;
        while (i >= 100 && !client_is_connected(idle[i - 100]) && client_now_us() < give_up) {
            client_turn(k, 1);
        }
    }
    expect_files(&s, files + n);
    const size_t each = (resident_bytes(s.pid) - before) / (size_t)n;
    cr_assert(SANITIZED || each <= 16384, "an idle connection costs %zu bytes", each);
    for (int i = 0; i < 20; i++) {
        cr_assert_eq(client_once("127.0.0.1", s.port, request.data, request.len, PATIENCE_US, NULL),
                     200, "request %d beside idle connections", i);
    }
    /* Those that are left, and one over the limit. */
    expect_files(&s, files + n);
    for (int i = 0; i < N_SPARE; i++) {
        client_idle(client_conn_create(k, 0), "", 0);
    }
    expect_files(&s, files + n + N_SPARE);
    char *body;
    cr_assert_eq(client_once("127.0.0.1", s.port, request.data, request.len, PATIENCE_US, &body),
                 503);
    cr_assert_neq(*body, '\0');
    oct_free(body);
    client_destroy(k);
    oct_free(idle);
    expect_files(&s, files);
    server_stop(&s);
    server_free(&s);
    oct_buf_free(&request);
}

/* Clients with a small window that ask for long streams and read nothing. */
Test(load, readers_that_read_nothing_cost_a_bounded_buffer)
{
    enum { N_READERS = SANITIZED ? 8 : 32 };
    struct server s;
    struct oct_buf request = {0}, small = {0};
    int fd[N_READERS];
    start(&s, none);
    make_request(&request, prompts[0], 1500, true);
    make_request(&small, prompts[1], N_TOKENS, false);
    cr_assert_eq(client_once("127.0.0.1", s.port, small.data, small.len, PATIENCE_US, NULL), 200);
    const size_t before = resident_bytes(s.pid);
    for (int i = 0; i < N_READERS; i++) {
        const struct sockaddr_in to = {.sin_family = AF_INET,
                                       .sin_port = htons(s.port),
                                       .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
        const int window = 2048;
        fd[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        cr_assert_geq(fd[i], 0);
        (void)setsockopt(fd[i], SOL_SOCKET, SO_RCVBUF, &window, sizeof window);
        cr_assert_eq(connect(fd[i], (const struct sockaddr *)&to, sizeof to), 0);
        cr_assert_eq(send(fd[i], request.data, request.len, MSG_NOSIGNAL), (ssize_t)request.len);
    }
    for (int i = 0; i < 20; i++) {
        cr_assert_eq(client_once("127.0.0.1", s.port, small.data, small.len, PATIENCE_US, NULL),
                     200, "request %d beside readers that read nothing", i);
    }
    /* 256 KiB wait for each at most, and what libevent and the heap need to hold them. */
    const size_t grown = resident_bytes(s.pid) - before;
    cr_assert(SANITIZED || grown <= N_READERS * (512u << 10), "%zu bytes for %d readers", grown,
              N_READERS);
    for (int i = 0; i < N_READERS; i++) {
        (void)close(fd[i]);
    }
    cr_assert(comes_to_rest(&s), "what was for readers that left still runs");
    check_counts(&s);
    server_stop(&s);
    server_free(&s);
    oct_buf_free(&request);
    oct_buf_free(&small);
}

/* ---- clocks ---- */

struct cut {
    int n_cut;
};

static void cut_end(void *user, struct client_conn *c, enum client_end how)
{
    struct cut *x = user;
    (void)c;
    x->n_cut += how != CLIENT_ANSWERED;
}

static int64_t *open_jump(const char *path)
{
    const int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    cr_assert(fd >= 0 && ftruncate(fd, sizeof(int64_t)) == 0);
    void *p = mmap(NULL, sizeof(int64_t), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    cr_assert_neq(p, MAP_FAILED);
    (void)close(fd);
    return p;
}

Test(load, a_wall_clock_that_jumps_changes_nothing)
{
    static const int64_t jumps_s[] = {3600, -3600, 315576000, -315576000, 0};
    char preload[512], file[300];
    const char *const env[] = {preload, file, NULL};
    const char *const args[] = {model, "--max-num-seqs", "16", "--watchdog-timeout", "5", NULL};
    if (SANITIZED) {
        cr_skip_test("a sanitizer wants to be preloaded first");
    }
    (void)snprintf(preload, sizeof preload, "LD_PRELOAD=%s", CLOCK_JUMP);
    (void)snprintf(file, sizeof file, "CLOCK_JUMP_FILE=%s/jump", dir);
    int64_t *ahead_s = open_jump(strchr(file, '=') + 1);
    struct server s;
    server_start(&s, args, env, NULL);
    server_ready(&s);
    struct oct_buf slow = {0}, quick = {0};
    make_request(&slow, prompts[0], 1500, true);
    static const char body[] = "{\"model\":\"tiny.gguf\",\"prompt\":\"a mill\",\"max_tokens\":4,"
                               "\"ignore_eos\":true,\"timeout\":30}";
    client_post(&quick, "/v1/completions", body, sizeof body - 1);
    struct cut x = {0};
    const struct client_callbacks cb = {.user = &x, .on_end = cut_end};
    struct client *k = client_create("127.0.0.1", s.port, &cb);
    struct client_conn *kept = client_conn_create(k, 0), *stream = client_conn_create(k, 0);
    client_send(kept, quick.data, quick.len, PATIENCE_US);
    while (client_n_busy(k)) {
        client_turn(k, 10);
    }
    for (size_t i = 0; i < sizeof jumps_s / sizeof *jumps_s; i++) {
        struct oct_buf health = {0};
        const int64_t begin = client_now_us();
        x.n_cut = 0;
        client_send(stream, slow.data, slow.len, PATIENCE_US);
        while (!stream->body.len && client_n_busy(k)) {
            client_turn(k, 1);
        }
        *ahead_s = jumps_s[i];
        client_send(kept, quick.data, quick.len, PATIENCE_US);
        cr_assert(kept->reused, "an idle connection was closed by a jump of the clock");
        while (client_n_busy(k)) {
            client_turn(k, 10);
        }
        cr_assert_eq(x.n_cut, 0);
        cr_assert(kept->status == 200 && stream->status == 200, "%d and %d after a jump to %lld s",
                  kept->status, stream->status, (long long)jumps_s[i]);
        cr_assert(strstr(stream->body.data, "[DONE]") && !strstr(stream->body.data, "\"error\""));
        cr_assert_lt(client_now_us() - begin, 30000000, "it waited for the clock");
        cr_assert_eq(server_ask(&s, "/health", "", NULL, &health), 200, "%s", health.data);
        oct_buf_free(&health);
        (void)usleep(300000); /* a tick of the server sees it too */
    }
    client_destroy(k);
    /* It did jump: what is shown to people has the other date. */
    char *answer;
    *ahead_s = 315576000;
    cr_assert_eq(client_once("127.0.0.1", s.port, quick.data, quick.len, PATIENCE_US, &answer),
                 200);
    cr_assert_gt(spawn_json_number(answer, "created"), (double)time(NULL) + 300000000);
    oct_free(answer);
    check_counts(&s);
    server_stop(&s);
    server_free(&s);
    (void)munmap(ahead_s, sizeof *ahead_s);
    oct_buf_free(&slow);
    oct_buf_free(&quick);
}
