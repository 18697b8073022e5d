/* SPDX-License-Identifier: Apache-2.0
 *
 * The self-test: the same bits beside any load, other bits once a bit of a weight is flipped, and
 * what octavo serve makes of that. OCT_FLIPS=N flips so many bits, OCT_FLIP_MODEL=PATH those of
 * another model; the tables of docs/reliability.md are what it prints. */
#include "serve/self_test.h"
#include "serve/server.h"
#include "serve/spawn.h"
#include "support/client.h"
#include "support/prometheus.h"
#include "support/run.h"

#include "base/rng.h"
#include "cpu/gemm_simd.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef __SANITIZE_ADDRESS__
enum { FLIPS = 60, LOADS = 4 };
#else
enum { FLIPS = 1000, LOADS = 12 };
#endif

TestSuite(self_test, .timeout = 240);

static oct_engine *open_tiny(enum oct_arch_id arch, int64_t kv_cache_bytes)
{
    struct oct_tiny t = oct_tiny_default(arch);
    t.head_dim = arch == OCT_ARCH_QWEN3 ? 16 : t.head_dim;
    struct oct_engine_options o = OCT_ENGINE_OPTIONS_INIT;
    o.dtype = "bfloat16";
    o.n_threads = 1;
    o.max_num_seqs = 6;
    o.max_num_batched_tokens = 40;
    o.kv_cache_bytes = kv_cache_bytes;
    return run_open_tiny(&t, &o);
}

static oct_engine *open_model(const char *path)
{
    struct oct_engine_options o = OCT_ENGINE_OPTIONS_INIT;
    oct_engine *e = NULL;
    o.model_path = path;
    o.device = "cpu";
    o.dtype = "bfloat16";
    o.manual = 1;
    o.max_num_seqs = 1;
    cr_assert_eq(oct_engine_open(&o, &e), OCT_OK, "%s", oct_last_error());
    return e;
}

static enum oct_self_test_verdict run_test(struct oct_self_test *t, oct_engine *e,
                                           struct oct_self_test_result *r)
{
    uint64_t id;
    cr_assert_eq(oct_self_test_begin(t, e, &id), OCT_OK, "%s", oct_last_error());
    cr_assert_eq(oct_engine_wait(e, id, -1), OCT_OK, "%s", oct_last_error());
    cr_assert(oct_self_test_take(t, r));
    cr_assert(!oct_self_test_take(t, r), "taken twice");
    return r->verdict;
}

/* ---- beside others ---- */

Test(self_test, its_bits_do_not_depend_on_what_runs_beside_it)
{
    static struct run_answer a[LOADS][8];
    static struct oct_self_test t;
    struct oct_self_test_result r;
    /* so few pages that whoever is newest must give way now and then */
    oct_engine *e = open_tiny(OCT_ARCH_LLAMA, 96 * 1024);
    oct_self_test_init(&t, e);
    cr_assert_eq(run_test(&t, e, &r), OCT_SELF_TEST_FIRST, "%s", r.text);
    cr_assert_eq(strlen(r.digest), OCT_SELF_TEST_DIGEST_BYTES - 1u);
    cr_assert_eq(t.known.n, (size_t)OCT_SELF_TEST_WORDS);
    for (int i = 0; i < LOADS; i++) {
        for (int k = 0; k < 8; k++) {
            int32_t prompt[100];
            struct oct_sampling s = OCT_SAMPLING_INIT;
            s.max_tokens = 10 + 13 * k;
            s.ignore_eos = true;
            run_random_prompt((uint64_t)(8 * i + k), prompt, 100);
            run_submit(e, prompt, (size_t)(1 + 12 * k + i), &s, &a[i][k]);
        }
        for (int k = 0; k < 3 * i; k++) {
            cr_assert_eq(oct_engine_step(e, NULL), OCT_OK);
        }
        cr_assert_eq(run_test(&t, e, &r), OCT_SELF_TEST_SAME, "load %d: %s", i, r.text);
        cr_assert_str_eq(r.digest, t.digest);
        run_to_end(e);
    }
    struct oct_engine_stats stats = {.size = sizeof stats};
    oct_engine_get_stats(e, &stats);
    cr_assert_gt(stats.n_preemptions, 0u);
    oct_engine_close(e);
    oct_self_test_deinit(&t);
}

Test(self_test, a_small_context_and_a_device_that_cannot_say)
{
    const struct oct_tiny tiny = oct_tiny_default(OCT_ARCH_LLAMA);
    static struct oct_self_test t;
    struct oct_self_test_result r;
    for (int32_t len = 2; len <= 73; len += len < 10 ? 1 : 21) {
        struct oct_engine_options o = OCT_ENGINE_OPTIONS_INIT;
        o.max_model_len = len;
        o.max_num_seqs = 1;
        oct_engine *e = run_open_tiny(&tiny, &o);
        oct_self_test_init(&t, e);
        cr_assert_eq(run_test(&t, e, &r), OCT_SELF_TEST_FIRST, "context %d: %s", len, r.text);
        cr_assert_eq(run_test(&t, e, &r), OCT_SELF_TEST_SAME, "context %d: %s", len, r.text);
        cr_assert_leq(t.n_prompt + t.n_output, len);
        uint64_t id;
        cr_assert_eq(oct_self_test_begin(&t, e, &id), OCT_OK);
        cr_assert_eq(oct_engine_cancel(e, id), OCT_OK);
        run_to_end(e);
        cr_assert(oct_self_test_take(&t, &r) && r.verdict == OCT_SELF_TEST_NOT_RUN);
        oct_engine_close(e);
        oct_self_test_deinit(&t);
    }
}

/* ---- flipped bits ---- */

/* A tensor whose bits may be flipped. */
struct part {
    const char *name;
    char *data; /* a vector, or a table of rows; NULL: a matrix */
    const struct oct_cpu_matrix *matrix;
    int64_t rows, columns; /* of a table */
    int32_t bits;          /* of an element */
};

enum { MAX_PARTS = 512, N_KINDS = 3 };

struct parts {
    struct part part[MAX_PARTS];
    int n;
};

static void add_vector(struct parts *p, const char *name, k_ptr at, int64_t n, int32_t bits)
{
    if (at) {
        p->part[p->n++] = (struct part){
            .name = name, .data = (char *)(uintptr_t)at, .rows = 1, .columns = n, .bits = bits};
    }
}

static void add_matrix(struct parts *p, const char *name, k_ptr at)
{
    const struct oct_cpu_matrix *m = (const void *)(uintptr_t)at;
    p->part[p->n++] =
        (struct part){.name = name, .matrix = m, .rows = m->n, .columns = m->k, .bits = 16};
}

static void list_parts(const struct oct_model *m, int32_t n_vocab, struct parts *p)
{
    const struct oct_model_config *c = &m->cfg;
    const int64_t qkv = (int64_t)(c->n_heads + 2 * c->n_kv_heads) * c->head_dim;
    cr_assert_leq(9 * c->n_layers + 3, MAX_PARTS);
    p->n = 0;
    for (int i = 0; i < c->n_layers; i++) {
        const struct oct_layer *w = &m->layers[i];
        add_vector(p, "norm", w->attn_norm, c->dim, 16);
        add_vector(p, "norm", w->mlp_norm, c->dim, 16);
        add_vector(p, "q and k norm", w->q_norm, c->head_dim, 16);
        add_vector(p, "q and k norm", w->k_norm, c->head_dim, 16);
        add_vector(p, "bias", w->qkv_bias, qkv, 32);
        add_matrix(p, "qkv", w->qkv);
        add_matrix(p, "o", w->o);
        add_matrix(p, "gate and up", w->gate_up);
        add_matrix(p, "down", w->down);
    }
    add_vector(p, "norm", m->final_norm, c->dim, 16);
    add_matrix(p, "head", m->head);
    p->part[p->n - 1].rows = n_vocab;
    add_vector(p, "embedding", m->embed, c->dim, 16);
    p->part[p->n - 1].rows = n_vocab; /* as of the head, rows of no token have no effect */
}

/* The bytes of an element. */
static char *element(const struct part *p, int64_t row, int64_t column)
{
    const struct oct_cpu_matrix *m = p->matrix;
    if (!m) {
        return p->data + (row * p->columns + column) * p->bits / 8;
    }
    const int64_t in_panel = row % m->cols;
    const int64_t at =
        m->pairs ? (column / 2 * m->cols + in_panel) * 2 + column % 2 : column * m->cols + in_panel;
    return m->panels + row / m->cols * m->panel_bytes + at * 2;
}

static uint64_t draw(uint64_t *counter, uint64_t limit)
{
    uint32_t r[4];
    oct_rng_philox(20261123, (*counter)++, 0, r);
    return ((uint64_t)r[0] << 32 | r[1]) % limit;
}

/* By how much a bit weighs: sign and exponent, the upper half of the mantissa, the lower. */
static int kind_of(int32_t bit, int32_t bits)
{
    const int32_t mantissa = bits == 16 ? 7 : 23;
    return bit >= mantissa ? 0 : bit >= (mantissa + 1) / 2 ? 1 : 2;
}

enum place { LAYERS, HEAD, EMBEDDING, N_PLACES };

struct tally {
    int n[N_PLACES][N_KINDS], n_seen[N_PLACES][N_KINDS];
};

/* Flips n bits of this model, one after the other, evenly over all there are. */
static void flip_bits(oct_engine *e, int n, struct tally *y)
{
    static struct oct_self_test t;
    static struct parts p;
    struct oct_self_test_result r;
    uint64_t counter = (uint64_t)e->cfg.arch << 32, total = 0;
    list_parts(e->model, e->n_vocab, &p);
    for (int i = 0; i < p.n; i++) {
        total += (uint64_t)(p.part[i].rows * p.part[i].columns * p.part[i].bits);
    }
    oct_self_test_init(&t, e);
    cr_assert_eq(run_test(&t, e, &r), OCT_SELF_TEST_FIRST);
    cr_assert_eq(run_test(&t, e, &r), OCT_SELF_TEST_SAME);
    for (int i = 0; i < n; i++) {
        uint64_t at = draw(&counter, total);
        const struct part *x = p.part;
        for (; at >= (uint64_t)(x->rows * x->columns * x->bits); x++) {
            at -= (uint64_t)(x->rows * x->columns * x->bits);
        }
        const int32_t bit = (int32_t)(at % (uint64_t)x->bits);
        const int64_t index = (int64_t)(at / (uint64_t)x->bits);
        char *byte = element(x, index / x->columns, index % x->columns) + bit / 8;
        *byte = (char)(*byte ^ 1 << bit % 8);
        const bool is_seen = run_test(&t, e, &r) != OCT_SELF_TEST_SAME;
        *byte = (char)(*byte ^ 1 << bit % 8);
        const enum place place = !strcmp(x->name, "embedding") ? EMBEDDING
                                 : !strcmp(x->name, "head")    ? HEAD
                                                               : LAYERS;
        y->n[place][kind_of(bit, x->bits)]++;
        y->n_seen[place][kind_of(bit, x->bits)] += is_seen;
    }
    cr_assert_eq(run_test(&t, e, &r), OCT_SELF_TEST_SAME, "all is as before: %s", r.text);
    oct_engine_close(e);
    oct_self_test_deinit(&t);
}

Test(self_test, most_flipped_bits_of_weights_are_seen, .timeout = 3600)
{
    static const char *const kinds[N_KINDS] = {"sign and exponent", "upper mantissa",
                                               "lower mantissa"};
    static struct tally y;
    const char *flips = getenv("OCT_FLIPS");
    const int n = flips ? atoi(flips) : FLIPS;
    if (getenv("OCT_FLIP_MODEL")) {
        flip_bits(open_model(getenv("OCT_FLIP_MODEL")), n, &y);
    } else {
        flip_bits(open_tiny(OCT_ARCH_QWEN2, 1 << 20), n / 2, &y);
        flip_bits(open_tiny(OCT_ARCH_QWEN3, 1 << 20), n / 2, &y);
    }
    for (int k = 0; k < N_KINDS; k++) {
        (void)printf("%-18s seen: layers %d of %d, head %d of %d, embedding %d of %d\n", kinds[k],
                     y.n_seen[LAYERS][k], y.n[LAYERS][k], y.n_seen[HEAD][k], y.n[HEAD][k],
                     y.n_seen[EMBEDDING][k], y.n[EMBEDDING][k]);
    }
    /* of 20,000 it is 6 of 9,713, and 259 of 4,284 */
    const int hidden = y.n[LAYERS][0] + y.n[HEAD][0] - y.n_seen[LAYERS][0] - y.n_seen[HEAD][0];
    cr_assert_gt(y.n[LAYERS][0], n / 4);
    cr_assert_leq(hidden, 1 + n / 200);
    if (!getenv("OCT_FLIP_MODEL")) { /* of a larger model fewer: it has more to round away */
        cr_assert_gt(y.n_seen[LAYERS][2] * 5, y.n[LAYERS][2] * 4);
    }
}

/* ---- the server ---- */

static char *dir, path[512];

static void write_model(void)
{
    struct oct_tiny t = oct_tiny_default(OCT_ARCH_LLAMA);
    t.max_positions = 4096;
    dir = oct_test_make_dir();
    oct_tiny_write_gguf(&t, dir, "tiny");
    (void)snprintf(path, sizeof path, "%s/tiny.gguf", dir);
}

static void remove_model(void)
{
    oct_test_remove_dir(dir);
}

/* A run every quarter of a second: the server looks so often. Its first two are over. */
static void start(struct server *s, const char *const *env, const char *flag)
{
    const char *const args[] = {path, "--self-test-interval", "0.001", flag, NULL};
    server_start(s, args, env, NULL);
    server_ready(s);
    (void)server_expect(s, "self-test: two runs agree, digest ");
}

enum { N_STREAMS = 6 };

struct crowd {
    struct client *k;
    struct client_conn *conns[N_STREAMS];
    struct oct_buf request;
    int n_told; /* that the self-test failed */
    char last[400];
};

static void on_end(void *user, struct client_conn *c, enum client_end end)
{
    struct crowd *w = user;
    const char *body = c->body.data ? c->body.data : "";
    const char *error = strstr(body, "\"error\":{\"message\":\"the self-test gave other results");
    w->n_told += end == CLIENT_ANSWERED && error && !strstr(error + 1, "\"error\"");
    (void)snprintf(w->last, sizeof w->last, "%s, status %d, %.300s", client_end_names[end],
                   c->status, strlen(body) > 300 ? body + strlen(body) - 300 : body);
}

static void crowd_start(struct crowd *w, const struct server *s)
{
    static const char body[] = "{\"prompt\": \"one two three\", \"max_tokens\": 4000, "
                               "\"ignore_eos\": true, \"stream\": true}";
    const struct client_callbacks calls = {.user = w, .on_end = on_end};
    *w = (struct crowd){.k = client_create("127.0.0.1", s->port, &calls)};
    client_post(&w->request, "/v1/completions", body, sizeof body - 1);
    for (int i = 0; i < N_STREAMS; i++) {
        w->conns[i] = client_conn_create(w->k, 0);
        client_send(w->conns[i], w->request.data, w->request.len, 60 * 1000 * 1000);
    }
}

static void crowd_finish(struct crowd *w)
{
    for (int i = 0; i < N_STREAMS; i++) {
        client_conn_destroy(w->conns[i]);
    }
    client_destroy(w->k);
    oct_buf_free(&w->request);
}

static double metric(struct server *s, const char *name, struct oct_buf *text)
{
    struct oct_buf b;
    cr_assert_eq(server_ask(s, "/metrics", "", NULL, &b), 200);
    const double value = prometheus_value(b.data, name);
    if (text) {
        *text = b;
    } else {
        oct_buf_free(&b);
    }
    return value;
}

Test(self_test, a_server_runs_it_beside_others_and_the_command_gives_the_same, .init = write_model,
     .fini = remove_model)
{
    struct server s;
    struct crowd w;
    struct oct_buf text;
    struct spawned command;
    char digest[OCT_SELF_TEST_DIGEST_BYTES] = "", line[600];
    start(&s, NULL, NULL);
    crowd_start(&w, &s);
    while (metric(&s, "octavo_self_tests_total", NULL) < 5) {
        client_turn(w.k, 50);
        cr_assert_gt(client_n_busy(w.k), 0u, "the streams have ended: %s", w.last);
    }
    crowd_finish(&w);
    cr_assert_eq(metric(&s, "octavo_self_test_failures_total", &text), 0);
    const double ok_s =
        prometheus_value(text.data, "octavo_self_test_last_success_timestamp_seconds");
    cr_assert(ok_s > 1.7e9 && ok_s < 1e11, "%g", ok_s);
    cr_assert_float_eq(prometheus_value(text.data, "octavo_self_test_interval_seconds"), 0.06,
                       1e-9);
    const char *at = strstr(text.data, ",digest=\"");
    cr_assert(at && sscanf(at, ",digest=\"%32[0-9a-f]\"} 1", digest) == 1);
    oct_buf_free(&text);
    cr_assert_eq(server_ask(&s, "/health", "", NULL, NULL), 200);
    (void)snprintf(line, sizeof line, "digest %s", digest);
    cr_assert(strstr(s.err.data, line), "%s not in %s", line, s.err.data);
    server_stop(&s);

    const char *same[] = {"selftest", path, "--device", "cpu", "--expect", digest, NULL};
    spawn(&command, same, NULL, NULL);
    cr_assert_eq(command.code, 0, "%s", command.err.data);
    cr_assert_eq(strncmp(command.out.data, digest, strlen(digest)), 0, "%s", command.out.data);
    spawned_free(&command);
    digest[7] = digest[7] == '0' ? '1' : '0';
    const char *other[] = {"selftest", path, "--device", "cpu", "--expect", digest, "--json", NULL};
    spawn(&command, other, NULL, NULL);
    cr_assert_eq(command.code, 4);
    cr_assert(strstr(command.out.data, "\"digest\": \"") && strstr(command.err.data, digest), "%s",
              command.err.data);
    spawned_free(&command);
    other[5] = "0x12";
    spawn(&command, other, NULL, NULL);
    cr_assert_eq(command.code, 2);
    spawned_free(&command);
}

Test(self_test, a_flipped_weight_ends_every_request_and_the_program, .init = write_model,
     .fini = remove_model)
{
    if (!OCT_FAULTS) {
        cr_skip_test("the fault plan is in debug builds only");
    }
    static const char *const env[] = {"OCT_FAULT=dev_op@5000=flip", NULL};
    for (int stays = 0; stays < 2; stays++) {
        struct server s;
        struct crowd w;
        struct oct_buf b;
        start(&s, env, stays ? "--no-exit-on-device-failure" : NULL);
        crowd_start(&w, &s);
        while (client_n_busy(w.k) > 0) {
            client_turn(w.k, 50);
        }
        crowd_finish(&w);
        cr_assert_eq(w.n_told, N_STREAMS, "%d were told; one: %s: %s", w.n_told, w.last,
                     s.err.data);
        cr_assert_eq(server_ask(&s, "/health", "", NULL, &b), 503);
        cr_assert(strstr(b.data, "\"dead\"") && strstr(b.data, "not sound"), "%s", b.data);
        oct_buf_free(&b);
        (void)server_expect(&s, "self-test failed: from position ");
        if (!stays) {
            const int64_t told_ms = server_now_ms();
            cr_assert_eq(server_wait(&s), 4, "%s", s.err.data);
            cr_assert_leq(server_now_ms() - told_ms, 2000 + 2000, "%s", s.err.data);
            server_free(&s);
        } else {
            cr_assert_eq(metric(&s, "octavo_self_test_failures_total", NULL), 1);
            cr_assert_eq(server_ask(&s, "/v1/completions", "", "{\"prompt\": \"one\"}", NULL), 503);
            server_stop(&s);
        }
    }
}

Test(self_test, a_device_that_is_broken_from_the_start_is_seen_by_the_command, .init = write_model,
     .fini = remove_model)
{
    if (!OCT_FAULTS) {
        cr_skip_test("the fault plan is in debug builds only");
    }
    const char *const args[] = {"selftest", path, "--device", "cpu", NULL};
    const char *const env[] = {"OCT_FAULT=dev_op@250=flip", NULL};
    struct spawned command;
    spawn(&command, args, NULL, env);
    cr_assert_eq(command.code, 4, "%s", command.out.data);
    cr_assert(strstr(command.err.data, "two runs differ: from position "), "%s", command.err.data);
    spawned_free(&command);
}
