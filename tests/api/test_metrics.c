/* SPDX-License-Identifier: Apache-2.0
 *
 * What /metrics says: the format, vLLM's names and bounds, and that the numbers are those that were
 * observed. */
#include "api/metrics_int.h"

#include "api/api.h"
#include "base/io.h"
#include "base/param.h"
#include "support/prometheus.h"
#include "support/writer.h"

#include <criterion/criterion.h>
#include <ctype.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static struct oct_metrics *m;

static void create(void)
{
    cr_assert_eq(oct_metrics_create(&m), OCT_OK);
}

static void destroy(void)
{
    oct_metrics_destroy(m);
}

TestSuite(metrics, .init = create, .fini = destroy);

static const struct oct_engine_stats stats = {
    .size = sizeof stats,
    .n_running = 3,
    .n_waiting = 4,
    .n_pages = 100,
    .n_pages_used = 25,
    .n_pages_cached = 50,
    .n_submitted = 17,
    .n_stopped = 4,
    .n_length = 3,
    .n_cancelled = 2,
    .n_failed = 1,
    .n_prompt_tokens = 1000,
    .n_output_tokens = 2000,
    .n_prefix_query_tokens = 900,
    .n_prefix_hit_tokens = 300,
    .n_preemptions = 5,
    .n_steps = 600,
    .schedule_us = 1000,
    .forward_us = 2500000,
    .sample_us = 500000,
    .deliver_us = 7000,
    .last_step_age_us = 1500000,
};
static const struct oct_engine_info info = {
    .size = sizeof info,
    .max_model_len = 2048,
    .max_num_seqs = 32,
    .n_threads = 2,
    .weight_bytes = 123456789012,
    .kv_cache_bytes = 50000,
    .workspace_bytes = 6,
    .load_us = 1234567,
    .architecture = "llama",
    .dtype = "bfloat16",
    .device = "a \"device\"",
    .device_memory_bytes = 200000000000,
    .device_others_bytes = 1000000000,
};
static const struct oct_http_stats http = {.n_accepted = 9, .n_connections = 2, .out_bytes = 77};
static const struct oct_api_counts counts = {.n_accepted = 8, .n_done = 5, .n_left = 2};
static const struct oct_metrics_self_test self_test = {.n_runs = 6,
                                                       .n_failures = 1,
                                                       .last_success_s = 1790000000,
                                                       .interval_us = 90000000,
                                                       .digest = "00ff"};

static char *render_as(const char *model, bool loaded, bool plain)
{
    struct oct_buf b = {.max_bytes = 1 << 20};
    const struct oct_metrics_view v = {
        .model_name = model,
        .engine = loaded ? &stats : NULL,
        .info = loaded ? &info : NULL,
        .http = &http,
        .counts = &counts,
        .state = loaded ? OCT_API_READY : OCT_API_LOADING,
        .plain_names = plain,
        .self_test = loaded ? &self_test : NULL,
    };
    cr_assert_eq(oct_metrics_render(m, &v, &b), OCT_OK, "%s", oct_last_error());
    cr_assert_gt(prometheus_check(b.data), 10u);
    return b.data;
}

static char *render(const char *model, bool loaded)
{
    return render_as(model, loaded, false);
}

static void expect(const char *text, const char *series, double want)
{
    const double got = prometheus_value(text, series);
    cr_assert(fabs(got - want) <= 1e-9 * fabs(want), "%s is %.17g, not %.17g, in\n%s", series, got,
              want, text);
}

#define L "{model_name=\"demo\",engine=\"0\"}"

Test(metrics, the_engine_is_shown_under_vllms_names)
{
    char *text = render("demo", true);
    expect(text, "vllm:num_requests_running" L, 3);
    expect(text, "vllm:num_requests_waiting" L, 4);
    expect(text, "vllm:kv_cache_usage_perc" L, 0.25);
    expect(text, "vllm:gpu_cache_usage_perc" L, 0.25);
    expect(text, "vllm:prefix_cache_queries_total" L, 900);
    expect(text, "vllm:prefix_cache_hits_total" L, 300);
    expect(text, "vllm:num_preemptions_total" L, 5);
    expect(text, "vllm:prompt_tokens_total" L, 1000);
    expect(text, "vllm:generation_tokens_total" L, 2000);
    expect(text, "octavo_kv_pages{state=\"free\"}", 25);
    expect(text, "octavo_busy_seconds_total", 3);
    expect(text, "octavo_step_seconds_total{phase=\"deliver\"}", 0.007);
    expect(text, "octavo_last_step_age_seconds", 1.5);
    expect(text, "octavo_load_duration_seconds", 1.234567);
    expect(text, "octavo_model_memory_bytes{part=\"weights\"}", 123456789012);
    expect(text, "octavo_device_memory_bytes{kind=\"total\"}", 200000000000);
    expect(text, "octavo_device_memory_bytes{kind=\"others\"}", 1000000000);
    expect(text, "octavo_device_memory_bytes{kind=\"used\"}", 124456789018 + 12500);
    expect(text, "octavo_device_memory_bytes{kind=\"reserved\"}", 124456789018 + 50000);
    expect(text, "octavo_engine_requests_ended_total{end=\"length\"}", 3);
    expect(text, "octavo_state{state=\"ready\"}", 1);
    expect(text, "octavo_state{state=\"loading\"}", 0);
    expect(text, "octavo_calls_ended_total{end=\"left\"}", 2);
    expect(text, "octavo_http_waiting_output_bytes", 77);
    cr_assert_gt(prometheus_value(text, "process_resident_memory_bytes"), 1e6);
    cr_assert_gt(prometheus_value(text, "octavo_host_memory_total_bytes"), 1e8);
    cr_assert(strstr(text, "device=\"a \\\"device\\\"\""), "the device's quotes are not escaped");
    oct_free(text);
}

Test(metrics, before_the_model_is_loaded_there_is_a_state_and_no_engine)
{
    char *text = render("demo", false);
    expect(text, "octavo_state{state=\"loading\"}", 1);
    cr_assert_null(strstr(text, "vllm:"));
    cr_assert(!prometheus_has(text, "octavo_steps_total"));
    cr_assert(prometheus_has(text, "octavo_http_connections"));
    oct_free(text);
}

Test(metrics, histograms_hold_what_was_observed)
{
    static const struct oct_metrics_request requests[] = {
        {OCT_FINISH_STOP, 10, 4, 5, 16, 2000, 300000, 400000, 702000},
        {OCT_FINISH_LENGTH, 2000, 0, 16, 16, 0, 1000001, 1500000, 2500001},
        {OCT_FINISH_CANCELLED, 7, 0, 0, 0, -1, -1, -1, 50},
        {OCT_FINISH_ERROR, 7, 0, 1, 9, 10, 20, 0, 30},
    };
    for (size_t i = 0; i < sizeof requests / sizeof *requests; i++) {
        oct_metrics_request(m, &requests[i]);
    }
    oct_metrics_first_token(m, 1000); /* equal to a bound: in it */
    oct_metrics_first_token(m, 1001);
    oct_metrics_first_token(m, 5000000000);
    oct_metrics_next_token(m, 20000);
    char *text = render("demo", true);
#define AT(name, le) name "_bucket{model_name=\"demo\",engine=\"0\",le=\"" le "\"}"
    expect(text, AT("vllm:time_to_first_token_seconds", "0.001"), 1);
    expect(text, AT("vllm:time_to_first_token_seconds", "0.005"), 2);
    expect(text, AT("vllm:time_to_first_token_seconds", "2560.0"), 2);
    expect(text, AT("vllm:time_to_first_token_seconds", "+Inf"), 3);
    expect(text, "vllm:time_to_first_token_seconds_sum" L, 5000.002001);
    expect(text, AT("vllm:inter_token_latency_seconds", "0.025"), 1);
    expect(text, AT("vllm:inter_token_latency_seconds", "0.01"), 0);
    expect(text, AT("vllm:time_per_output_token_seconds", "0.025"), 1);
    expect(text, AT("vllm:e2e_request_latency_seconds", "0.8"), 3);
    expect(text, "vllm:e2e_request_latency_seconds_count" L, 4);
    expect(text, "vllm:request_queue_time_seconds_count" L, 3);
    expect(text, AT("vllm:request_prefill_time_seconds", "1.0"), 2);
    expect(text, "vllm:request_inference_time_seconds_sum" L, 0.7 + 2.500001 + 0.00002);
    expect(text, "vllm:request_decode_time_seconds_count" L, 3);
    /* 400 ms / 4 and 1500 ms / 15; one token has no time per token */
    expect(text, AT("vllm:request_time_per_output_token_seconds", "0.1"), 2);
    expect(text, "vllm:request_time_per_output_token_seconds_count" L, 2);
    expect(text, AT("vllm:request_prompt_tokens", "10.0"), 3);
    expect(text, AT("vllm:request_prompt_tokens", "2000.0"), 4);
    /* no bound is over the model's context */
    cr_assert(isnan(prometheus_value(text, AT("vllm:request_prompt_tokens", "5000.0"))));
    expect(text, "vllm:request_generation_tokens_sum" L, 22);
    expect(text, "vllm:request_params_max_tokens_count" L, 3);
    static const char *const ends[] = {"stop", "length", "abort", "error"};
    for (int i = 0; i < 4; i++) {
        char series[128];
        (void)snprintf(series, sizeof series,
                       "vllm:request_success_total{model_name=\"demo\",engine=\"0\","
                       "finished_reason=\"%s\"}",
                       ends[i]);
        expect(text, series, 1);
    }
    oct_free(text);
}

Test(metrics, routes_and_codes_are_counted_within_bounds)
{
    static char names[2 * OCT_METRICS_ROUTES][16];
    oct_metrics_http(m, "/health", 200, 500);
    oct_metrics_http(m, "/health", 503, 1500);
    oct_metrics_http(m, "/health", 200, 90000000);
    char *text = render("demo", true);
    expect(text, "octavo_http_requests_total{route=\"/health\",code=\"200\"}", 2);
    expect(text, "octavo_http_requests_total{route=\"/health\",code=\"503\"}", 1);
    expect(text, "octavo_http_request_duration_seconds_bucket{route=\"/health\",le=\"0.001\"}", 1);
    expect(text, "octavo_http_request_duration_seconds_count{route=\"/health\"}", 3);
    oct_free(text);
    for (int i = 0; i < 2 * OCT_METRICS_ROUTES; i++) {
        (void)snprintf(names[i], sizeof names[i], "/r%d", i);
        for (int code = 100; code < 600; code++) {
            oct_metrics_http(m, names[i], code, 1);
        }
    }
    text = render("demo", true);
    const double others = OCT_METRICS_ROUTES + 2;
    expect(text, "octavo_http_request_duration_seconds_count{route=\"other\"}", others * 500);
    expect(text, "octavo_http_requests_total{route=\"/r0\",code=\"100\"}", 1);
    expect(text, "octavo_http_requests_total{route=\"/r0\",code=\"other\"}",
           500 - OCT_ROUTE_CODES + 1);
    cr_assert_lt(strlen(text), 200u * 1024, "%zu bytes", strlen(text));
    oct_free(text);
}

Test(metrics, a_name_cannot_break_the_format)
{
    static const char *const names[] = {"", "a\"b\\c", "line\nbreak", "\xff\xfe{}", "模型"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        oct_free(render(names[i], true));
    }
    char longest[5000];
    memset(longest, '"', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    oct_free(render(longest, true));
    char *text = render("a\"b\\c", true);
    expect(text, "vllm:num_requests_running{model_name=\"a\\\"b\\\\c\",engine=\"0\"}", 3);
    oct_free(text);
}

Test(metrics, the_last_minute_is_told_to_a_tenth)
{
    cr_assert_eq(oct_metrics_quantile_s(m, OCT_METRICS_ITL, 0.5), -1);
    for (int64_t us = 1; us <= 10000; us++) {
        oct_metrics_next_token(m, us * 100);
        oct_metrics_first_token(m, 7);
    }
    static const double shares[] = {0.01, 0.5, 0.9, 0.99, 1};
    for (size_t i = 0; i < sizeof shares / sizeof *shares; i++) {
        const double got = oct_metrics_quantile_s(m, OCT_METRICS_ITL, shares[i]);
        /* a cell is an eighth of a power of two wide, and its values are spread evenly here */
        cr_assert(fabs(got - shares[i]) <= shares[i] * 0.125, "%g: %g", shares[i], got);
        const double first = oct_metrics_quantile_s(m, OCT_METRICS_TTFT, shares[i]);
        cr_assert(first >= 7e-6 && first <= 8e-6, "%g: %g", shares[i], first);
    }
    cr_assert_eq(oct_metrics_quantile_s(m, OCT_METRICS_E2E, 0.5), -1);
}

Test(metrics, observing_allocates_nothing)
{
    const uint64_t before = oct_mem_stats().n_allocs;
    static const struct oct_metrics_request r = {OCT_FINISH_STOP, 1, 0, 2, 3, 4, 5, 6, 15};
    for (int64_t i = -3; i < 1000; i++) {
        oct_metrics_first_token(m, i * i * i);
        oct_metrics_next_token(m, INT64_MAX / 2 - i);
        oct_metrics_request(m, &r);
        oct_metrics_http(m, "/x", 200, i);
    }
    cr_assert_eq(oct_mem_stats().n_allocs, before);
}

/* promtool's linter dislikes one thing that vLLM's names have; nothing else may be said. */
Test(metrics, promtool_finds_nothing_but_the_colon)
{
    static const char *const args[] = {"check", "metrics", NULL};
    static char said[1 << 16];
    oct_metrics_first_token(m, 1000);
    oct_metrics_http(m, "/health", 200, 500);
    char *text = render("demo", true);
    const int code = promtool(args, text, said, sizeof said);
    oct_free(text);
    if (code == -1) {
        cr_skip_test("promtool is not installed (scripts/promtool.sh fetches it)");
    }
    cr_assert(code == 0 || code == 3, "exit %d: %s", code, said);
    for (char *line = said, *next; line && *line; line = next) {
        next = strchr(line, '\n');
        if (next) {
            *next++ = '\0';
        }
        cr_assert(!strncmp(line, "vllm:", 5) &&
                      strstr(line, " metric names should not contain ':'"),
                  "promtool says: %s", line);
    }
}

Test(metrics, promtool_finds_nothing_at_all_where_names_are_plain)
{
    static const char *const args[] = {"check", "metrics", NULL};
    static char said[1 << 16];
    oct_metrics_first_token(m, 1000);
    char *text = render_as("vllm:x", true, true);
    const char *series = "vllm_num_requests_running{model_name=\"vllm:x\",engine=\"0\"}";
    cr_expect(prometheus_has(text, series), "no %s in\n%s", series, text);
    const int code = promtool(args, text, said, sizeof said);
    oct_free(text);
    if (code == -1) {
        cr_skip_test("promtool is not installed (scripts/promtool.sh fetches it)");
    }
    cr_assert_eq(code, 0, "%s", said);
}

/* ---- what reads these metrics ---- */

static char *slurp(const char *path)
{
    struct oct_file f;
    char *text;
    size_t len;
    cr_assert_eq(oct_file_open(path, &f), OCT_OK, "%s", oct_last_error());
    cr_assert_eq(oct_file_slurp(&f, 1 << 20, &text, &len), OCT_OK, "%s", oct_last_error());
    oct_file_close(&f);
    return text;
}

/* A name that samples have, or that of a histogram. */
static bool is_printed(const char *rendered, const char *name)
{
    char count[160];
    (void)snprintf(count, sizeof count, "%s_count", name);
    return prometheus_has(rendered, name) || prometheus_has(rendered, count);
}

Test(metrics, the_self_test_is_shown_once_there_is_one)
{
    char *text = render("demo", true), *loading = render("demo", false);
    expect(text, "octavo_self_tests_total", 6);
    expect(text, "octavo_self_test_failures_total", 1);
    expect(text, "octavo_self_test_interval_seconds", 90);
    expect(text, "octavo_self_test_last_success_timestamp_seconds", 1790000000);
    cr_assert(strstr(text, "octavo_self_test_info{model_name=\"demo\",engine=\"0\",device=\"a "
                           "\\\"device\\\"\",dtype=\"bfloat16\",version=\""));
    cr_assert(strstr(text, ",digest=\"00ff\"} 1\n"));
    cr_assert(!strstr(loading, "octavo_self_test"));
    oct_free(text);
    oct_free(loading);
}

Test(metrics, dashboards_and_docs_speak_only_of_what_is_printed)
{
    static const char *const files[] = {
        OCT_SOURCE_DIR "/docs/dashboards/grafana.json",
        OCT_SOURCE_DIR "/docs/dashboards/alerts.yml",
        OCT_SOURCE_DIR "/docs/dashboards/alerts_test.yml",
        OCT_SOURCE_DIR "/docs/serving.md",
    };
    static const char *const prefixes[] = {"vllm:", "octavo_", "process_"};
    oct_metrics_http(m, "/health", 200, 500);
    char *rendered = render("demo", true);
    for (size_t f = 0; f < sizeof files / sizeof *files; f++) {
        char *text = slurp(files[f]);
        int n_names = 0;
        for (char *s = text; *s; s++) {
            for (int p = 0; p < 3; p++) {
                const bool begins = s == text || !(isalnum((unsigned char)s[-1]) || s[-1] == '_');
                if (!begins || strncmp(s, prefixes[p], strlen(prefixes[p])) != 0) {
                    continue;
                }
                char name[128];
                const size_t len = strspn(s, "abcdefghijklmnopqrstuvwxyz_:0123456789");
                if (len == strlen(prefixes[p])) {
                    continue; /* the prefix alone, in a sentence */
                }
                cr_assert_lt(len, sizeof name);
                memcpy(name, s, len);
                name[len] = '\0';
                cr_assert(is_printed(rendered, name), "%s speaks of %s", files[f], name);
                n_names++;
            }
        }
        cr_assert_gt(n_names, 5, "%s", files[f]);
        oct_free(text);
    }
    oct_free(rendered);
}

Test(metrics, the_grafana_dashboard_can_be_imported)
{
    char *text = slurp(OCT_SOURCE_DIR "/docs/dashboards/grafana.json");
    json_error_t e;
    json_t *all = json_loads(text, JSON_REJECT_DUPLICATES, &e), *panel, *target;
    cr_assert_not_null(all, "line %d: %s", e.line, e.text);
    size_t i, k, n_targets = 0;
    json_array_foreach(json_object_get(all, "panels"), i, panel)
    {
        const json_t *grid = json_object_get(panel, "gridPos");
        cr_assert_leq(json_integer_value(json_object_get(grid, "x")) +
                          json_integer_value(json_object_get(grid, "w")),
                      24);
        json_array_foreach(json_object_get(panel, "targets"), k, target)
        {
            const char *source =
                json_string_value(json_object_get(json_object_get(target, "datasource"), "uid"));
            cr_assert_str_eq(source, "${datasource}", "panel %zu asks one fixed source", i);
            cr_assert(json_is_string(json_object_get(target, "expr")));
            n_targets++;
        }
    }
    cr_assert_gt(n_targets, 20u);
    json_decref(all);
    oct_free(text);
}

/* Writes the dashboard's expressions as rules: promtool reads no dashboards. */
static void write_rules(const char *path)
{
    char *text = slurp(OCT_SOURCE_DIR "/docs/dashboards/grafana.json");
    json_t *all = json_loads(text, 0, NULL), *panel, *target;
    FILE *f = fopen(path, "w");
    cr_assert_not_null(f);
    (void)fprintf(f, "groups:\n- name: g\n  rules:\n");
    size_t i, k;
    json_array_foreach(json_object_get(all, "panels"), i, panel)
    {
        json_array_foreach(json_object_get(panel, "targets"), k, target)
        {
            const char *e = json_string_value(json_object_get(target, "expr"));
            (void)fprintf(f, "  - record: panel%zu_%zu\n    expr: >-\n      ", i, k);
            for (; *e; e++) {
                if (*e == '$') { /* a variable: any word does, and a range is five minutes */
                    e += strspn(e, "$abcdefghijklmnopqrstuvwxyz_") - 1;
                    (void)fputs(e[1] == ']' ? "5m" : "x", f);
                } else {
                    (void)fputc(*e, f);
                }
            }
            (void)fputc('\n', f);
        }
    }
    cr_assert_eq(fclose(f), 0);
    json_decref(all);
    oct_free(text);
}

Test(metrics, promtool_accepts_alerts_and_expressions, .timeout = 60)
{
    static char said[1 << 16];
    char *dir = oct_test_make_dir(), path[512];
    (void)snprintf(path, sizeof path, "%s/rules.yml", dir);
    write_rules(path);
    const char *const runs[][4] = {
        {"check", "rules", OCT_SOURCE_DIR "/docs/dashboards/alerts.yml", NULL},
        {"check", "rules", path, NULL},
        {"test", "rules", OCT_SOURCE_DIR "/docs/dashboards/alerts_test.yml", NULL},
    };
    int code = 0;
    for (size_t i = 0; i < sizeof runs / sizeof *runs && code == 0; i++) {
        code = promtool(runs[i], "", said, sizeof said);
    }
    oct_test_remove_dir(dir);
    if (code == -1) {
        cr_skip_test("promtool is not installed (scripts/promtool.sh fetches it)");
    }
    cr_assert_eq(code, 0, "%s", said);
}

Test(metrics, the_guide_names_every_flag_of_the_server)
{
    char *text = slurp(OCT_SOURCE_DIR "/docs/serving.md");
    for (int i = 0; i < OCT_N_PARAMS; i++) {
        const struct oct_param *row = oct_param_row((enum oct_param_id)i);
        char flag[96];
        (void)snprintf(flag, sizeof flag, "--%s", row->name);
        if (row->group == OCT_GROUP_SERVER) {
            cr_assert_not_null(strstr(text, flag), "docs/serving.md does not speak of %s", flag);
        }
    }
    oct_free(text);
}
