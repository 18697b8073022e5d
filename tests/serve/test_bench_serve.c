/* SPDX-License-Identifier: Apache-2.0
 *
 * octavo bench serve against a server of ours that does what a script says (mock_server.h): what
 * the client reports is compared with what the server did. Times of the client are longer than the
 * server's by what the machine is busy with, so they are held from below, and from above by SLACK.
 */
#include "serve/bench_serve.h"
#include "serve/mock_server.h"
#include "serve/server.h"
#include "serve/spawn.h"
#include "support/tiny.h"

#include "base/clock.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LINE = 2048 };
static const double SLACK_MS = 400; /* two busy cores, a sanitizer */

static struct mock mock;
static char *dir;

static void set_up(void)
{
    dir = oct_test_make_dir();
    memset(&mock, 0, sizeof mock);
}
static void tear_down(void)
{
    oct_test_remove_dir(dir);
}
TestSuite(bench_serve, .init = set_up, .fini = tear_down, .timeout = 120);

/* Runs the client with `flags` ("--num-prompts|8") and reads its JSON. code: what it must end
 * with. */
static json_t *bench(const char *flags, int code)
{
    char line[LINE];
    struct spawned s;
    if (mock.uds) {
        (void)snprintf(line, sizeof line, "bench|serve|--uds|%s|--json|%s", mock.uds, flags);
    } else {
        (void)snprintf(line, sizeof line, "bench|serve|%s://127.0.0.1:%d|--json|%s",
                       mock.tls ? "https" : "http", mock.port, flags);
    }
    spawn_line(&s, line, NULL);
    cr_assert_eq(s.code, code, "%s: code %d\n%s%s", flags, s.code, s.out.data, s.err.data);
    json_t *o = json_loads(s.out.data, 0, NULL);
    cr_assert_not_null(o, "%s: %s%s", flags, s.out.data, s.err.data);
    spawned_free(&s);
    return o;
}

static const json_t *point(const json_t *o, size_t i)
{
    const json_t *p = json_array_get(json_object_get(o, "points"), i);
    cr_assert_not_null(p, "no point %zu", i);
    return p;
}

static double num(const json_t *o, const char *key)
{
    const json_t *v = json_object_get(o, key);
    cr_assert(json_is_number(v), "no number %s", key);
    return json_number_value(v);
}

static void is(const json_t *p, const char *key, double want)
{
    cr_assert_eq(num(p, key), want, "%s is %g, not %g", key, num(p, key), want);
}

/* ---- what is measured ---- */

static void compare_request(const struct mock_request *q, const json_t *r, const char *what)
{
    const double ttft = 1e3 * num(r, "ttft_s"), all = 1e3 * num(r, "latency_s");
    const double first = (double)(q->first_us - q->got_us) / 1e3;
    const double last = (double)(q->last_us - q->got_us) / 1e3;
    cr_assert_eq(num(r, "output_tokens"), q->n_tokens, "%s", what);
    cr_assert_eq(num(r, "prompt_tokens"), q->n_words, "%s", what);
    cr_assert_eq(num(r, "events"), q->n_tokens, "%s", what);
    cr_assert(ttft >= first && ttft < first + SLACK_MS, "%s: first token %g ms, the server's %g",
              what, ttft, first);
    cr_assert(all >= last && all < last + SLACK_MS, "%s: answer %g ms, the server's %g", what, all,
              last);
    double sum = 0;
    const json_t *itls = json_object_get(r, "itls_s");
    cr_assert_eq(json_array_size(itls), (size_t)q->n_tokens - 1, "%s", what);
    for (size_t i = 0; i < json_array_size(itls); i++) {
        sum += 1e3 * json_number_value(json_array_get(itls, i));
    }
    cr_assert(fabs(sum - (last - first)) < SLACK_MS, "%s: gaps %g ms, the server's %g", what, sum,
              last - first);
}

Test(bench_serve, each_request_is_told_as_it_was)
{
    char flags[LINE];
    mock.script[0] = (struct mock_row){.kind = MOCK_OK, .first_ms = 40, .gap_ms = 5};
    mock.script[1] = (struct mock_row){.kind = MOCK_SPLIT, .first_ms = 20, .gap_ms = 9};
    mock.n_rows = 2;
    for (int chat = 0; chat < 2; chat++) {
        mock.n_requests = mock.n_connections = mock.max_at_once = mock.n_models = 0;
        mock_start(&mock);
        (void)snprintf(flags, sizeof flags,
                       "--num-prompts|12|--max-concurrency|1|--random-input-len|20|"
                       "--random-output-len|10|--random-range-ratio|0.5|--save-detailed|"
                       "--ignore-eos|--api-key|secret|-o|%s/r.json|--endpoint|%s",
                       dir, chat ? "/v1/chat/completions" : "/v1/completions");
        json_t *o = bench(flags, 0);
        mock_stop(&mock);
        const json_t *p = point(o, 0), *all = json_object_get(p, "requests");
        cr_assert_eq(mock.n_requests, 12);
        cr_assert_eq(mock.n_connections, 2, "%d: one asks for the model, one is kept alive",
                     mock.n_connections);
        cr_assert_eq(mock.n_models, 1);
        cr_assert_eq(mock.max_at_once, 1);
        cr_assert_str_eq(json_string_value(json_object_get(o, "model_id")), "org/mock-model");
        cr_assert_str_eq(json_string_value(json_object_get(o, "label")), "mock/1");
        cr_assert_eq(json_array_size(all), 12u);
        double n_in = 0, n_out = 0;
        for (int i = 0; i < 12; i++) {
            char what[64];
            const struct mock_request *q = &mock.requests[i];
            (void)snprintf(what, sizeof what, "chat %d, request %d", chat, i);
            compare_request(q, json_array_get(all, (size_t)i), what);
            cr_assert(q->chat == chat && q->streamed && q->greedy && q->ignore_eos && q->with_key,
                      "%s", what);
            cr_assert(q->max_tokens >= 5 && q->max_tokens <= 15, "%d", q->max_tokens);
            cr_assert(q->n_words >= 10 && q->n_words <= 30, "%d", q->n_words);
            n_in += q->n_words;
            n_out += q->n_tokens;
        }
        is(p, "completed", 12);
        is(p, "failed", 0);
        is(p, "total_input_tokens", n_in);
        is(p, "total_output_tokens", n_out);
        is(p, "counted_by_events", 0);
        const double s = num(p, "duration");
        cr_assert(fabs(num(p, "output_throughput") * s - n_out) < 1e-3 * n_out);
        cr_assert(fabs(num(p, "request_throughput") * s - 12) < 1e-2);
        cr_assert(fabs(num(p, "total_token_throughput") * s - n_in - n_out) < 1e-3 * n_out);
        const double served = (double)(mock.requests[11].last_us - mock.requests[0].got_us) / 1e6;
        cr_assert(s >= served && s < served + SLACK_MS / 1e3, "%g s, the server %g", s, served);
        json_decref(o);
    }
}

Test(bench_serve, the_same_seed_is_the_same_load_and_another_point_has_other_words)
{
    uint64_t hashes[3][8];
    int words[3][8];
    static const char *const flags[] = {
        "--num-prompts|4|--max-concurrency|1,1|--seed|7",
        "--num-prompts|4|--max-concurrency|1,1|--seed|7",
        "--num-prompts|4|--max-concurrency|1,1|--seed|8",
    };
    mock.script[0] = (struct mock_row){.n_tokens = 2};
    for (int run = 0; run < 3; run++) {
        mock.n_requests = 0;
        mock_start(&mock);
        json_decref(bench(flags[run], 0));
        mock_stop(&mock);
        cr_assert_eq(mock.n_requests, 8);
        for (int i = 0; i < 8; i++) {
            hashes[run][i] = mock.requests[i].prompt_hash;
            words[run][i] = mock.requests[i].n_words;
        }
    }
    for (int i = 0; i < 8; i++) {
        cr_assert_eq(hashes[0][i], hashes[1][i], "request %d", i);
        cr_assert_neq(hashes[0][i], hashes[2][i], "request %d", i);
        cr_assert_eq(words[0][i], words[0][i % 4], "request %d", i);
    }
    cr_assert_neq(hashes[0][0], hashes[0][4], "a prefix cache would know the second point");
}

/* Every way in which a request can end, at once, over many connections. */
Test(bench_serve, every_request_is_accounted_for)
{
    static const struct {
        struct mock_row row;
        const char *end, *error;
    } rows[] = {
        {{.kind = MOCK_OK}, "done", ""},
        {{.kind = MOCK_NO_USAGE}, "done", ""},
        {{.kind = MOCK_NO_DONE}, "done", ""},
        {{.kind = MOCK_CLOSES}, "done", ""},
        {{.kind = MOCK_UNTIL_CLOSE}, "done", ""},
        {{.kind = MOCK_CUT_DONE}, "done", ""},
        {{.kind = MOCK_STATUS, .status = 429}, "refused", "HTTP 429: out of luck"},
        {{.kind = MOCK_STATUS, .status = 503}, "refused", "HTTP 503: out of luck"},
        {{.kind = MOCK_STATUS, .status = 400}, "error", "HTTP 400: out of luck"},
        {{.kind = MOCK_STATUS, .status = 500}, "error", "HTTP 500: out of luck"},
        {{.kind = MOCK_ERROR_EVENT}, "error", "the engine is on fire"},
        {{.kind = MOCK_ERROR_CUT}, "error", "the engine is on fire"},
        {{.kind = MOCK_CUT}, "cut", "in the middle of the answer"},
        {{.kind = MOCK_NO_ANSWER}, "cut", "before any answer"},
        {{.kind = MOCK_NO_END}, "cut", "without a finish_reason"},
        {{.kind = MOCK_NOT_HTTP}, "cut", "not HTTP"},
        {{.kind = MOCK_NOT_JSON}, "cut", "an event"},
        {{.kind = MOCK_SILENT}, "timed_out", "no end within 3 s"},
    };
    enum { N = sizeof rows / sizeof *rows, TIMES = 4 };
    char flags[LINE];
    for (size_t i = 0; i < N; i++) {
        mock.script[i] = rows[i].row;
        mock.script[i].n_tokens = 4;
    }
    mock.n_rows = N;
    mock_start(&mock);
    /* One at a time, on connections of their own: request i gets row i. */
    (void)snprintf(flags, sizeof flags,
                   "--num-prompts|%d|--max-concurrency|1|--timeout|3|--save-detailed|-o|%s/r.json|"
                   "--model|m",
                   (int)N, dir);
    json_t *o = bench(flags, 1);
    const json_t *p = point(o, 0), *all = json_object_get(p, "requests");
    for (size_t i = 0; i < N; i++) {
        const json_t *r = json_array_get(all, i);
        const char *end = json_string_value(json_object_get(r, "end"));
        const char *error = json_string_value(json_object_get(r, "error"));
        cr_assert_str_eq(end, rows[i].end, "row %zu: %s (%s)", i, end, error);
        cr_assert(strstr(error, rows[i].error), "row %zu: %s", i, error);
        cr_assert_eq(*error == '\0', !strcmp(end, "done"), "row %zu: %s", i, error);
    }
    is(p, "done", 6);
    is(p, "refused", 2);
    is(p, "error", 4);
    is(p, "cut", 5);
    is(p, "timed_out", 1);
    is(p, "failed", N - 6);
    is(p, "counted_by_events", 1);
    is(p, "total_output_tokens", 6 * 4);
    json_decref(o);

    /* All at once: whoever gets which row, the counts are the same. */
    (void)snprintf(flags, sizeof flags, "--num-prompts|%d|--timeout|3|--model|m", (int)(N * TIMES));
    o = bench(flags, 1);
    mock_stop(&mock);
    p = point(o, 0);
    cr_assert_eq(mock.n_requests, N * (TIMES + 1));
    is(p, "done", 6 * TIMES);
    is(p, "refused", 2 * TIMES);
    is(p, "error", 4 * TIMES);
    is(p, "cut", 5 * TIMES);
    is(p, "timed_out", TIMES);
    is(p, "never_sent", 0);
    json_decref(o);
}

Test(bench_serve, a_connection_that_the_server_drops_while_idle_loses_nothing)
{
    mock.script[0] = (struct mock_row){.kind = MOCK_DROPS_IDLE, .n_tokens = 3};
    mock_start(&mock);
    json_t *o = bench("--num-prompts|40|--max-concurrency|4", 0);
    mock_stop(&mock);
    const json_t *p = point(o, 0);
    is(p, "completed", 40);
    cr_assert_geq(mock.n_requests, 40);
    json_decref(o);
}

Test(bench_serve, thousands_of_connections_are_held_at_once)
{
    mock.script[0] = (struct mock_row){.n_tokens = 2, .first_ms = 2000, .gap_ms = 1};
    mock_start(&mock);
    json_t *o = bench("--num-prompts|2000|--random-input-len|5", 0);
    mock_stop(&mock);
    const json_t *p = point(o, 0);
    is(p, "completed", 2000);
    cr_assert_gt(mock.max_at_once, 1000, "%d", mock.max_at_once);
    is(p, "total_output_tokens", 4000);
    cr_assert_gt(num(json_object_get(p, "client"), "connections_at_once"), 1000.0);
    json_decref(o);
}

/* ---- when it is sent ---- */

Test(bench_serve, a_bound_on_concurrency_is_kept_and_used)
{
    mock.script[0] = (struct mock_row){.n_tokens = 3, .first_ms = 30, .gap_ms = 2};
    mock_start(&mock);
    json_t *o = bench("--num-prompts|24|--max-concurrency|2,6", 0);
    mock_stop(&mock);
    is(point(o, 0), "max_concurrent_requests", 2);
    is(point(o, 1), "max_concurrent_requests", 6);
    cr_assert_eq(mock.max_at_once, 6, "%d", mock.max_at_once);
    cr_assert_gt(num(point(o, 1), "request_throughput"), num(point(o, 0), "request_throughput"));
    json_decref(o);
}

/* The server sleeps once for 600 ms. Requests planned meanwhile have waited for it, though the
 * client could not even have connected: 300 requests/s, so about 180 of them, evenly from 600 ms
 * down to 0. A client that counts from sending on a free connection would hide that. */
Test(bench_serve, a_stall_is_seen_by_all_that_were_planned_in_it)
{
    mock.script[0] = (struct mock_row){.n_tokens = 1};
    mock.stall_at = 100;
    mock.stall_ms = 600;
    mock_start(&mock);
    json_t *o = bench("--num-prompts|400|--request-rate|300|--random-input-len|5", 0);
    mock_stop(&mock);
    const json_t *q = json_object_get(point(o, 0), "ttft_quantiles_ms");
    is(point(o, 0), "completed", 400);
    int slow = 0;
    for (size_t i = 0; i <= 100; i++) {
        slow += json_number_value(json_array_get(q, i)) > 300;
    }
    /* half of 180 of 400 are 22 %; a Poisson count of 90 has a deviation under 10 (2.5 %) */
    cr_assert(slow >= 14, "%d %% of the requests saw 300 ms", slow);
    cr_assert_geq(num(point(o, 0), "p99_ttft_ms"), 500.0);
    json_decref(o);
}

/* One at a time, 20 ms each, but 100 a second arrive: request i waits for about 10 i ms. */
Test(bench_serve, waiting_for_a_free_slot_counts)
{
    mock.script[0] = (struct mock_row){.n_tokens = 1, .first_ms = 20};
    mock_start(&mock);
    json_t *o = bench("--num-prompts|40|--request-rate|100|--burstiness|1000|--max-concurrency|1|"
                      "--random-input-len|5",
                      0);
    mock_stop(&mock);
    const json_t *p = point(o, 0);
    is(p, "max_concurrent_requests", 1);
    const double longest = num(p, "p99_ttft_ms");
    cr_assert(longest >= 350, "%g ms", longest);
    cr_assert(num(p, "p99_client_queue_time_ms") >= 330, "%g ms", longest);
    json_decref(o);
}

/* ---- what else it can do ---- */

Test(bench_serve, prompts_come_from_a_file)
{
    static const char text[] = "{\"prompt\": \"one two three\", \"max_tokens\": 3}\n"
                               "\n"
                               "{\"body\": {\"prompt\": \"a b\", \"output_tokens\": 2}}\n";
    char flags[LINE];
    oct_test_write_file(dir, "in.jsonl", text, sizeof text - 1);
    mock_start(&mock);
    (void)snprintf(flags, sizeof flags,
                   "--num-prompts|5|--max-concurrency|1|--input|%s/in.jsonl|--extra-body|"
                   "{\"temperature\": 0.5}",
                   dir);
    json_decref(bench(flags, 0));
    (void)snprintf(flags, sizeof flags,
                   "--num-prompts|2|--max-concurrency|1|--input|%s/in.jsonl|--endpoint|"
                   "/v1/chat/completions",
                   dir);
    json_decref(bench(flags, 0));
    mock_stop(&mock);
    cr_assert_eq(mock.n_requests, 7);
    for (int i = 0; i < 7; i++) {
        const bool even = (i < 5 ? i : i - 5) % 2 == 0;
        cr_assert_eq(mock.requests[i].n_words, even ? 3 : 2, "request %d", i);
        cr_assert_eq(mock.requests[i].max_tokens, even ? 3 : 2, "request %d", i);
        cr_assert_eq(mock.requests[i].greedy, i >= 5, "request %d", i);
        cr_assert_eq(mock.requests[i].chat, i >= 5, "request %d", i);
    }
}

Test(bench_serve, warm_ups_are_not_counted)
{
    mock.script[0] = (struct mock_row){.n_tokens = 2};
    mock_start(&mock);
    json_t *o = bench("--num-prompts|5|--max-concurrency|1|--num-warmups|3", 0);
    mock_stop(&mock);
    cr_assert_eq(mock.n_requests, 8);
    is(point(o, 0), "completed", 5);
    json_decref(o);
}

Test(bench_serve, an_oracle_sees_one_wrong_token)
{
    char flags[LINE];
    mock.script[0] = (struct mock_row){.n_tokens = 5};
    mock_start(&mock);
    json_t *o = bench("--num-prompts|10|--max-concurrency|5|--check-oracle|alone", 0);
    is(point(o, 0), "different", 0);
    json_decref(o);
    (void)snprintf(flags, sizeof flags,
                   "--num-prompts|10|--max-concurrency|5|--save-detailed|-o|%s/good.json", dir);
    json_decref(bench(flags, 0));
    mock_stop(&mock);

    mock.n_requests = 0;
    mock.script[1] = (struct mock_row){.kind = MOCK_OTHER_TEXT, .n_tokens = 5};
    mock.n_rows = 2; /* ten requests alone, so five of the next ten are wrong, and five were */
    mock_start(&mock);
    (void)snprintf(flags, sizeof flags,
                   "--num-prompts|10|--max-concurrency|5|--check-oracle|%s/good.json", dir);
    o = bench(flags, 1);
    mock_stop(&mock);
    is(point(o, 0), "different", 5);
    is(point(o, 0), "completed", 10);
    json_decref(o);
}

Test(bench_serve, goodput_counts_those_that_keep_to_all_bounds)
{
    mock.script[0] = (struct mock_row){.n_tokens = 3, .gap_ms = 1};
    mock.script[1] = (struct mock_row){.n_tokens = 3, .first_ms = 1500, .gap_ms = 1};
    mock.script[2] = (struct mock_row){.n_tokens = 3, .gap_ms = 1500};
    mock.n_rows = 3;
    mock_start(&mock);
    json_t *o = bench("--num-prompts|9|--goodput|ttft:1000,tpot:1000", 0);
    mock_stop(&mock);
    const double good = num(point(o, 0), "request_goodput") * num(point(o, 0), "duration");
    cr_assert(fabs(good - 3) < 0.01, "%g requests", good);
    json_decref(o);
}

Test(bench_serve, a_unix_socket_and_tls_will_do)
{
    char path[LINE];
    struct spawned s;
    mock.script[0] = (struct mock_row){.n_tokens = 3};
    (void)snprintf(path, sizeof path, "%s/s", dir);
    mock.uds = path;
    mock_start(&mock);
    json_t *o = bench("--num-prompts|5|--max-concurrency|2", 0);
    is(point(o, 0), "completed", 5);
    json_decref(o);
    mock_stop(&mock);

    mock.uds = NULL;
    mock.tls = true;
    mock_start(&mock);
    o = bench("--num-prompts|5|--max-concurrency|2|--insecure", 0);
    is(point(o, 0), "completed", 5);
    json_decref(o);
    char line[LINE];
    (void)snprintf(line, sizeof line, "bench|serve|https://127.0.0.1:%d|--num-prompts|1",
                   mock.port);
    spawn_line(&s, line, NULL);
    mock_stop(&mock);
    cr_assert_eq(s.code, 2, "%d: %s", s.code, s.err.data);
    cr_assert(strstr(s.err.data, "certificate verify failed"), "%s", s.err.data);
    spawned_free(&s);
}

Test(bench_serve, the_block_is_vllms)
{
    static const char *const want[] = {
        "============ Serving Benchmark Result ============\n",
        "\nSuccessful requests:                     6         \n",
        "\nMaximum request concurrency:             2         \n",
        "\nBenchmark duration (s):                  ",
        "\nTotal input tokens:                      ",
        "\nTotal generated tokens:                  18        \n",
        "\nRequest throughput (req/s):              ",
        "\nOutput token throughput (tok/s):         ",
        "\nTotal token throughput (tok/s):          ",
        "\n---------------Time to First Token----------------\nMean TTFT (ms):                 ",
        "\nMedian TTFT (ms):                        ",
        "\nP90 TTFT (ms):                           ",
        "\nP99.5 TTFT (ms):                         ",
        "\n-----Time per Output Token (excl. 1st token)------\nMean TPOT (ms):                 ",
        "\n---------------Inter-token Latency----------------\nMean ITL (ms):                  ",
        "\n----------------End-to-end Latency----------------\nMean E2EL (ms):                 ",
        "\n==================================================\n",
    };
    char line[LINE];
    struct spawned s;
    mock.script[0] = (struct mock_row){.n_tokens = 3};
    mock_start(&mock);
    (void)snprintf(line, sizeof line,
                   "bench|serve|127.0.0.1:%d/v1/|--num-prompts|6|--max-concurrency|2|"
                   "--percentile-metrics|ttft,tpot,itl,e2el|--metric-percentiles|90,99.5",
                   mock.port);
    spawn_line(&s, line, NULL);
    mock_stop(&mock);
    cr_assert_eq(s.code, 0, "%s", s.err.data);
    const char *at = s.out.data;
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        const char *found = strstr(at, want[i]);
        cr_assert_not_null(found, "no %s in\n%s", want[i], s.out.data);
        at = found + strlen(want[i]) - 1; /* the newline may begin the next */
    }
    spawned_free(&s);
}

Test(bench_serve, ctrl_c_ends_it_with_what_there_is)
{
    struct terminal t;
    char url[64];
    mock.script[0] = (struct mock_row){.n_tokens = 2};
    mock.script[1] = (struct mock_row){.kind = MOCK_SILENT};
    mock.n_rows = 2;
    mock_start(&mock);
    (void)snprintf(url, sizeof url, "http://127.0.0.1:%d", mock.port);
    const char *const args[] = {"bench", "serve", url, "--num-prompts", "10", "--max-concurrency",
                                "1",     NULL};
    terminal_start(&t, args, NULL);
    terminal_expect(&t, "1 of 10");
    terminal_type(&t, "\x03");
    terminal_expect(&t, "left by Ctrl-C:                        1");
    terminal_expect(&t, "Never sent (Ctrl-C):                     8");
    terminal_expect(&t, "stopped by Ctrl-C");
    cr_assert_eq(terminal_end(&t), 130);
    mock_stop(&mock);
}

Test(bench_serve, what_is_wrong_is_named)
{
    static const struct {
        const char *line, *want;
    } row[] = {
        {"bench|serve", "no server is given"},
        {"bench|serve|ftp://x", "only http and https"},
        {"bench|serve|http://:80", "names no host"},
        {"bench|serve|http://127.0.0.1:99999", "the port is not"},
        {"bench|serve|http://127.0.0.1:80?x", "is no path"},
        {"bench|serve|http://a b", "no name has"},
        {"bench|serve|http://127.0.0.1:1", "Connection refused"},
        {"bench|serve|http://127.0.0.1:1|--max-concurrency|1,x", "--max-concurrency"},
        {"bench|serve|http://127.0.0.1:1|--max-concurrency|0", "--max-concurrency"},
        {"bench|serve|http://127.0.0.1:1|--request-rate|-1", "--request-rate"},
        {"bench|serve|http://127.0.0.1:1|--request-rate|nan", "--request-rate"},
        {"bench|serve|http://127.0.0.1:1|--goodput|itl:5", "--goodput"},
        {"bench|serve|http://127.0.0.1:1|--goodput|ttft", "--goodput"},
        {"bench|serve|http://127.0.0.1:1|--percentile-metrics|ttft,x", "--percentile-metrics"},
        {"bench|serve|http://127.0.0.1:1|--metric-percentiles|101", "--metric-percentiles"},
        {"bench|serve|http://127.0.0.1:1|--extra-body|[1]", "--extra-body"},
        {"bench|serve|http://127.0.0.1:1|--extra-body|{", "--extra-body"},
        {"bench|serve|http://127.0.0.1:1|--input|/nowhere/in", "/nowhere/in"},
        {"bench|serve|http://127.0.0.1:1|--api-key|a b", "--api-key"},
        {"bench|serve|http://127.0.0.1:1|--model|m|--check-oracle|/nowhere/r", "/nowhere/r"},
        {"bench|serve|--uds|/nowhere/socket", "No such file"},
        {"bench|serve|a|b", "does not know what to do with \"b\""},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct spawned s;
        spawn_line(&s, row[i].line, NULL);
        cr_assert_eq(s.code, 2, "%s: %d %s", row[i].line, s.code, s.err.data);
        cr_assert(strstr(s.err.data, row[i].want), "%s: %s", row[i].line, s.err.data);
        spawned_free(&s);
    }
}

/* Our own server, with more requests than it runs at once, in both ways of sending them: none is
 * lost, and each answer has the bits that it has alone. */
Test(bench_serve, octavo_serve_loses_nothing_and_answers_as_if_alone)
{
    static const char *const loads[] = {
        "--max-concurrency|1,16|--endpoint|/v1/completions",
        "--request-rate|200|--endpoint|/v1/chat/completions",
    };
    struct oct_tiny t = oct_tiny_default(OCT_ARCH_QWEN2);
    char model[LINE], flags[LINE];
    struct server server;
    oct_tiny_write_gguf(&t, dir, "tiny");
    (void)snprintf(model, sizeof model, "%s/tiny.gguf", dir);
    const char *const args[] = {model, "--max-num-seqs", "4", NULL};
    server_start(&server, args, NULL, NULL);
    server_ready(&server);
    mock.port = server.port;
    for (size_t i = 0; i < sizeof loads / sizeof *loads; i++) {
        (void)snprintf(flags, sizeof flags,
                       "--num-prompts|32|--random-input-len|3|--random-output-len|12|--ignore-eos|"
                       "--check-oracle|alone|%s",
                       loads[i]);
        json_t *o = bench(flags, 0);
        for (size_t k = 0; k < json_array_size(json_object_get(o, "points")); k++) {
            const json_t *p = point(o, k);
            is(p, "completed", 32);
            is(p, "failed", 0);
            is(p, "different", 0);
            is(p, "counted_by_events", 0);
            is(p, "total_output_tokens", 32 * 12);
        }
        json_decref(o);
    }
    server_stop(&server);
    server_free(&server);
}
