/* SPDX-License-Identifier: Apache-2.0
 *
 * bench_serve.c - `octavo bench serve URL`: what the flags say, one measurement after another, and
 * where the results go. No sandbox is entered: the command reads no model, and it needs the
 * network. */
#include "serve/bench.h"
#include "serve/bench_serve.h"
#include "serve/interrupt.h"

#include "base/clock.h"
#include "base/io.h"
#include "base/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    MAX_POINTS = 64,
    DEFAULT_INPUT = 1024, /* vLLM's, as the next */
    DEFAULT_OUTPUT = 128,
    MAX_RESULT_BYTES = 1 << 30,
    WARMUP_ROUND = 1 << 20, /* its words are no measurement's */
};

struct sweep {
    const struct oct_params *p;
    const char *url;
    struct oct_target target;
    struct oct_load load;
    struct oct_result_options options;
    char model[256], label[128], server[64];
    json_t *extra;
    const char *api_key;
    size_t n; /* requests of a point */
    int32_t concurrency[MAX_POINTS];
    double rate[MAX_POINTS];
    size_t n_concurrency, n_rates;
    char **oracle; /* [n], owned */
    json_t *points;
    size_t n_points, n_done, n_lost, n_different;
    char first_error[OCT_CALL_ERROR_BYTES];
    bool stopped;
};

/* ---- flags ---- */

static oct_status bad_list(const char *flag, const char *text, const char *want)
{
    char shown[96];
    oct_error_quote(shown, sizeof shown, text, strlen(text));
    return OCT_FAIL(OCT_E_ARG, "%s: \"%s\" is not %s", flag, shown, want);
}

static oct_status parse_points(struct sweep *s)
{
    const char *text = oct_param_str(s->p, OCT_P_MAX_CONCURRENCY, NULL);
    if (!text) {
        s->n_concurrency = 1; /* no bound */
    }
    for (const char *t = text; t && *t;) {
        char *end;
        const long v = strtol(t, &end, 10);
        if (end == t || (*end && *end != ',') || v < 1 || v > 1000000 ||
            s->n_concurrency == MAX_POINTS) {
            return bad_list("--max-concurrency", text, "a list of numbers such as 1,8,32");
        }
        s->concurrency[s->n_concurrency++] = (int32_t)v;
        t = end + (*end == ',');
    }
    text = oct_param_str(s->p, OCT_P_REQUEST_RATE, "inf");
    for (const char *t = text; *t;) {
        char *end;
        const double v = strtod(t, &end);
        if (end == t || (*end && *end != ',') || !(v > 0) || (isfinite(v) && v > 1e6) ||
            s->n_rates == MAX_POINTS) {
            return bad_list("--request-rate", text, "a list of numbers such as 0.5,2,8, or inf");
        }
        s->rate[s->n_rates++] = isfinite(v) ? v : 0;
        t = end + (*end == ',');
    }
    return s->n_concurrency && s->n_rates
               ? OCT_OK
               : OCT_FAIL(OCT_E_ARG, "--max-concurrency or --request-rate is an empty list");
}

static oct_status parse_load(struct sweep *s)
{
    struct oct_load *l = &s->load;
    const char *input = oct_param_str(s->p, OCT_P_INPUT, NULL);
    const char *extra = oct_param_str(s->p, OCT_P_EXTRA_BODY, NULL);
    const bool fixed = oct_param_is_set(s->p, OCT_P_RANDOM_INPUT_LEN) ||
                       oct_param_is_set(s->p, OCT_P_RANDOM_OUTPUT_LEN);
    l->kind = input ? OCT_LOAD_FILE : fixed ? OCT_LOAD_RANDOM : OCT_LOAD_SHAREGPT;
    l->seed = (uint64_t)oct_param_int(s->p, OCT_P_SEED, 0);
    l->n_input = (int32_t)oct_param_int(s->p, OCT_P_RANDOM_INPUT_LEN, DEFAULT_INPUT);
    l->n_output = (int32_t)oct_param_int(s->p, OCT_P_RANDOM_OUTPUT_LEN, DEFAULT_OUTPUT);
    l->n_prefix = (int32_t)oct_param_int(s->p, OCT_P_RANDOM_PREFIX_LEN, 0);
    l->range_ratio = oct_param_float(s->p, OCT_P_RANDOM_RANGE_RATIO, 0);
    l->chat = strstr(oct_param_str(s->p, OCT_P_ENDPOINT, ""), "chat") != NULL;
    l->ignore_eos = oct_param_bool(s->p, OCT_P_IGNORE_EOS);
    l->temperature = oct_param_float(s->p, OCT_P_TEMPERATURE, 0);
    if (extra) {
        OCT_TRY(
            oct_json_parse(extra, strlen(extra), "--extra-body", OCT_JSON_MAX_DEPTH, 0, &s->extra));
        if (!json_is_object(s->extra)) {
            return OCT_FAIL(OCT_E_ARG, "--extra-body is not a JSON object");
        }
        l->extra = s->extra;
    }
    return input ? oct_load_read(l, input) : OCT_OK;
}

static oct_status parse(struct sweep *s)
{
    const struct oct_param_value *goodput = &s->p->values[OCT_P_GOODPUT];
    const struct oct_param_value *key = &s->p->values[OCT_P_API_KEY];
    s->api_key = key->n_list ? key->list[0] : NULL;
    s->n = (size_t)oct_param_int(s->p, OCT_P_NUM_PROMPTS, 100);
    OCT_TRY(oct_result_options_parse(oct_param_str(s->p, OCT_P_PERCENTILE_METRICS, ""),
                                     oct_param_str(s->p, OCT_P_METRIC_PERCENTILES, ""),
                                     goodput->list, goodput->n_list, &s->options));
    OCT_TRY(parse_points(s));
    OCT_TRY(parse_load(s));
    return oct_target_open(s->url, oct_param_str(s->p, OCT_P_UDS, NULL),
                           oct_param_bool(s->p, OCT_P_INSECURE), &s->target);
}

/* ---- the server's model ---- */

static oct_status read_models(struct sweep *s, const struct oct_call *answer)
{
    json_t *o = NULL;
    OCT_TRY(oct_json_parse(answer->text.data, answer->text.len, "the answer of /v1/models",
                           OCT_JSON_MAX_DEPTH, OCT_JSON_NUL, &o));
    const json_t *first = json_array_get(json_object_get(o, "data"), 0);
    const char *id = json_string_value(json_object_get(first, "id"));
    const bool ok = id && strlen(id) < sizeof s->model;
    if (ok) {
        (void)snprintf(s->model, sizeof s->model, "%s", id);
    }
    json_decref(o);
    return ok ? OCT_OK
              : OCT_FAIL(OCT_E_FORMAT, "%s: /v1/models names no model; give one with --model",
                         s->url);
}

static oct_status find_model(struct sweep *s)
{
    /* OCTAVO_MODEL is a path for other commands: only the flag counts. */
    const struct oct_param_value *v = &s->p->values[OCT_P_MODEL];
    if (v->set && v->origin == OCT_FROM_FLAG) {
        if (strlen(v->s) >= sizeof s->model) {
            return OCT_FAIL(OCT_E_ARG, "--model: the name is longer than %zu bytes",
                            sizeof s->model - 1);
        }
        (void)snprintf(s->model, sizeof s->model, "%s", v->s);
        return OCT_OK;
    }
    struct oct_call answer;
    enum { PATIENCE_US = 30000000 };
    OCT_TRY(oct_bench_ask(&s->target, s->api_key, "/v1/models", NULL, PATIENCE_US, &answer));
    oct_status st = OCT_OK;
    if (answer.end == OCT_CALL_DONE && answer.text.len > 0) {
        st = read_models(s, &answer);
    } else {
        st = OCT_FAIL(OCT_E_IO, "%s: /v1/models: %s", s->url,
                      *answer.error ? answer.error : "an empty answer");
    }
    oct_call_deinit(&answer);
    return st;
}

/* ---- points ---- */

static struct oct_bench_point new_point(const struct sweep *s, int32_t concurrency, double rate)
{
    return (struct oct_bench_point){
        .max_concurrency = concurrency,
        .rate = rate,
        .burstiness = oct_param_float(s->p, OCT_P_BURSTINESS, 1),
        .n = s->n,
        .endpoint = oct_param_str(s->p, OCT_P_ENDPOINT, ""),
        .timeout_us = (int64_t)(oct_param_float(s->p, OCT_P_TIMEOUT, 600) * 1e6),
        .keep_text = s->oracle || oct_param_bool(s->p, OCT_P_SAVE_DETAILED),
        .oracle = s->oracle,
    };
}

static oct_status warm_up(struct sweep *s, const struct oct_bench_point *like)
{
    struct oct_bench_point p = *like;
    p.n = (size_t)oct_param_int(s->p, OCT_P_NUM_WARMUPS, 0);
    if (p.n == 0) {
        return OCT_OK;
    }
    p.title = "warm-up";
    p.rate = 0;
    p.round = WARMUP_ROUND + (uint32_t)s->n_points;
    p.oracle = NULL;
    p.keep_text = false;
    oct_status st = oct_bench_point_run(&p, &s->load, &s->target, s->api_key);
    s->stopped = p.stopped;
    bool any = p.stopped;
    for (size_t i = 0; st == OCT_OK && i < p.n; i++) {
        any = any || p.requests[i].call.end == OCT_CALL_DONE;
    }
    if (st == OCT_OK && !any) {
        st = OCT_FAIL(OCT_E_IO, "%s: no warm-up request was answered: %s", s->url,
                      p.requests[0].call.error);
    }
    oct_bench_point_deinit(&p);
    return st;
}

static void note_ends(struct sweep *s, const struct oct_bench_point *p,
                      const struct oct_bench_result *r)
{
    s->n_done += r->ends[OCT_CALL_DONE];
    s->n_lost += oct_result_lost(r);
    s->n_different += r->n_different;
    s->stopped = p->stopped;
    for (size_t i = 0; i < p->n && !s->first_error[0]; i++) {
        if (p->requests[i].start_us) {
            memcpy(s->first_error, p->requests[i].call.error, sizeof s->first_error);
        }
    }
    if (!s->server[0]) {
        memcpy(s->server, p->connections.server, sizeof s->server);
    }
}

static oct_status run_point(struct sweep *s, int32_t concurrency, double rate,
                            struct oct_output *out)
{
    struct oct_bench_point p = new_point(s, concurrency, rate);
    struct oct_bench_result r;
    json_t *o = NULL;
    char title[64];
    oct_status st;
    if (rate > 0) {
        (void)snprintf(title, sizeof title, "%g req/s", rate);
    } else if (concurrency) {
        (void)snprintf(title, sizeof title, "concurrency %d", concurrency);
    } else {
        (void)snprintf(title, sizeof title, "all at once");
    }
    p.title = title;
    /* The oracle knows the answers to round 0. */
    p.round = s->oracle ? 0 : (uint32_t)s->n_points;
    OCT_TRY(warm_up(s, &p));
    if (s->stopped) {
        return OCT_OK;
    }
    OCT_TRY_GOTO(oct_bench_point_run(&p, &s->load, &s->target, s->api_key), st, done);
    OCT_TRY_GOTO(oct_result_make(&p, &s->load, &s->options, &r), st, done);
    note_ends(s, &p, &r);
    if (!oct_param_bool(s->p, OCT_P_JSON)) {
        OCT_TRY_GOTO(oct_result_print(&p, &r, &s->options, out), st, done);
    }
    OCT_TRY_GOTO(
        oct_result_json(&p, &r, &s->options, oct_param_bool(s->p, OCT_P_SAVE_DETAILED), &o), st,
        done);
    if (json_array_append_new(s->points, o) != 0) {
        st = oct_no_memory("results", 1);
    }
    s->n_points++;
done:
    oct_bench_point_deinit(&p);
    return st;
}

static oct_status run_points(struct sweep *s, struct oct_output *out)
{
    for (size_t r = 0; r < s->n_rates; r++) {
        for (size_t c = 0; c < s->n_concurrency && !s->stopped; c++) {
            OCT_TRY(run_point(s, s->concurrency[c], s->rate[r], out));
        }
    }
    return OCT_OK;
}

/* ---- the oracle ---- */

static oct_status copy_text(struct sweep *s, size_t i, const char *text)
{
    s->oracle[i] = oct_strdup(text ? text : "");
    return s->oracle[i] ? OCT_OK : oct_no_memory("the oracle's answers", 1);
}

/* One request at a time, before anything is measured. */
static oct_status ask_oracle(struct sweep *s)
{
    struct oct_bench_point p = new_point(s, 1, 0);
    oct_status st;
    p.title = "oracle";
    p.keep_text = true;
    p.oracle = NULL;
    OCT_TRY_GOTO(oct_bench_point_run(&p, &s->load, &s->target, s->api_key), st, done);
    s->stopped = p.stopped;
    for (size_t i = 0; i < s->n && !p.stopped; i++) {
        const struct oct_call *call = &p.requests[i].call;
        if (call->end != OCT_CALL_DONE) {
            OCT_TRY_GOTO(OCT_FAIL(OCT_E_IO, "%s: the oracle got no answer to request %zu: %s",
                                  s->url, i, call->error),
                         st, done);
        }
        OCT_TRY_GOTO(copy_text(s, i, call->text.data), st, done);
    }
done:
    oct_bench_point_deinit(&p);
    return st;
}

static oct_status read_oracle(struct sweep *s, const char *path)
{
    json_t *o = NULL;
    oct_status st;
    OCT_TRY(oct_json_read(path, MAX_RESULT_BYTES, &o));
    const json_t *point = json_array_get(json_object_get(o, "points"), 0);
    const json_t *requests = json_object_get(point, "requests");
    if (json_array_size(requests) < s->n) {
        OCT_TRY_GOTO(OCT_FAIL(OCT_E_ARG,
                              "%s: its first measurement has %zu answers, --num-prompts is %zu; "
                              "write it with --save-detailed",
                              path, json_array_size(requests), s->n),
                     st, done);
    }
    for (size_t i = 0; i < s->n; i++) {
        const json_t *q = json_array_get(requests, i);
        const char *end = json_string_value(json_object_get(q, "end"));
        if (!end || strcmp(end, "done") != 0) {
            OCT_TRY_GOTO(OCT_FAIL(OCT_E_ARG, "%s: its request %zu was not answered", path, i), st,
                         done);
        }
        OCT_TRY_GOTO(copy_text(s, i, json_string_value(json_object_get(q, "text"))), st, done);
    }
done:
    json_decref(o);
    return st;
}

static oct_status prepare_oracle(struct sweep *s)
{
    const char *what = oct_param_str(s->p, OCT_P_CHECK_ORACLE, NULL);
    if (!what) {
        return OCT_OK;
    }
    s->oracle = oct_calloc(s->n, sizeof *s->oracle);
    if (!s->oracle) {
        return oct_no_memory("the oracle's answers", s->n * sizeof *s->oracle);
    }
    return strcmp(what, "alone") ? read_oracle(s, what) : ask_oracle(s);
}

/* ---- results ---- */

static json_t *describe_load(const struct oct_load *l)
{
    switch (l->kind) {
    case OCT_LOAD_SHAREGPT:
        return json_pack("{s:s, s:f, s:f, s:f, s:f, s:i, s:i, s:i}", "kind", "sharegpt-like",
                         "prompt_median", OCT_SHAREGPT_PROMPT_MEDIAN, "prompt_sigma",
                         OCT_SHAREGPT_PROMPT_SIGMA, "output_median", OCT_SHAREGPT_OUTPUT_MEDIAN,
                         "output_sigma", OCT_SHAREGPT_OUTPUT_SIGMA, "min", OCT_SHAREGPT_MIN, "max",
                         OCT_SHAREGPT_MAX, "prefix", l->n_prefix);
    case OCT_LOAD_RANDOM:
        return json_pack("{s:s, s:i, s:i, s:f, s:i}", "kind", "random", "input_len", l->n_input,
                         "output_len", l->n_output, "range_ratio", l->range_ratio, "prefix",
                         l->n_prefix);
    case OCT_LOAD_FILE:
        break;
    }
    return json_pack("{s:s, s:I, s:i}", "kind", "file", "lines", (json_int_t)l->n_lines,
                     "output_len", l->n_output);
}

static struct tm utc_now(void)
{
    const time_t now = (time_t)oct_clock_wall_s();
    struct tm utc;
    (void)gmtime_r(&now, &utc);
    return utc;
}

static oct_status make_result(struct sweep *s, json_t **out)
{
    char date[32];
    const struct tm utc = utc_now();
    (void)strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%SZ", &utc);
    json_t *o = json_pack(
        "{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:f, s:b, s:o, s:O}", "suite", "serve",
        "octavo", oct_version(), "date", date, "label", s->label, "server", s->server, "url",
        s->url, "endpoint", oct_param_str(s->p, OCT_P_ENDPOINT, ""), "model_id", s->model, "seed",
        (json_int_t)s->load.seed, "temperature", s->load.temperature, "ignore_eos",
        s->load.ignore_eos, "load", describe_load(&s->load), "points", s->points);
    if (!o) {
        return oct_no_memory("results", 1);
    }
    *out = o;
    return OCT_OK;
}

/* LABEL-MODEL-TIME.json with nothing in it that a file name should not have. */
static void make_name(const struct sweep *s, char *dst, size_t size)
{
    char when[32];
    const char *base = strrchr(s->model, '/');
    const struct tm utc = utc_now();
    (void)strftime(when, sizeof when, "%Y%m%d-%H%M%S", &utc);
    (void)snprintf(dst, size, "%.60s-%.100s-%s.json", s->label, base ? base + 1 : s->model, when);
    for (char *c = dst; *c; c++) {
        const bool fine = (*c >= '0' && *c <= '9') || (*c >= 'a' && *c <= 'z') ||
                          (*c >= 'A' && *c <= 'Z') || *c == '.' || *c == '_';
        *c = fine && (c > dst || *c != '.') ? *c : '-';
    }
}

static oct_status save(const struct sweep *s, const json_t *result)
{
    char name[256];
    const char *path =
        oct_param_str(s->p, OCT_P_OUTPUT, oct_param_str(s->p, OCT_P_RESULT_FILENAME, NULL));
    if (!path &&
        (oct_param_bool(s->p, OCT_P_SAVE_RESULT) || oct_param_bool(s->p, OCT_P_SAVE_DETAILED))) {
        make_name(s, name, sizeof name);
        path = name;
    }
    if (!path) {
        return OCT_OK;
    }
    struct oct_buf text = {0};
    oct_status st = oct_json_append(&text, result, JSON_INDENT(1) | JSON_REAL_PRECISION(9));
    if (st == OCT_OK) {
        st = oct_file_replace(path, text.data, text.len);
    }
    oct_buf_free(&text);
    if (st == OCT_OK) {
        oct_note("octavo: results are in %s", path);
    }
    return st;
}

static oct_status report(const struct sweep *s, json_t *result)
{
    const char *path = oct_param_str(s->p, OCT_P_REPORT, NULL);
    if (!path) {
        return OCT_OK;
    }
    OCT_TRY(oct_report_write(&result, &s->url, 1, path, oct_param_bool(s->p, OCT_P_PLOTS)));
    oct_note("octavo: the report is in %s", path);
    return OCT_OK;
}

/* What the exit code says. */
static oct_status verdict(const struct sweep *s)
{
    if (s->n_lost > 0) {
        return OCT_FAIL(OCT_E_DEADLINE, "%zu requests were lost; the first that failed: %s",
                        s->n_lost, s->first_error);
    }
    if (s->n_different > 0) {
        return OCT_FAIL(OCT_E_NUMERIC, "%zu answers differ from the oracle's", s->n_different);
    }
    if (s->stopped) {
        return OCT_FAIL(OCT_E_CANCELLED, "stopped by Ctrl-C; the results are of what was done");
    }
    if (s->n_done == 0) {
        return OCT_FAIL(OCT_E_BUSY, "no request was answered; the first: %s", s->first_error);
    }
    return OCT_OK;
}

static oct_status measure(struct sweep *s, struct oct_output *out)
{
    json_t *result = NULL;
    oct_status st;
    OCT_TRY(parse(s));
    OCT_TRY(find_model(s));
    s->load.model = s->model;
    s->points = json_array();
    if (!s->points) {
        return oct_no_memory("results", 1);
    }
    OCT_TRY(prepare_oracle(s));
    OCT_TRY(run_points(s, out));
    const char *label = oct_param_str(s->p, OCT_P_LABEL, *s->server ? s->server : s->url);
    oct_error_quote(s->label, sizeof s->label, label, strlen(label));
    OCT_TRY(make_result(s, &result));
    if (oct_param_bool(s->p, OCT_P_JSON)) {
        OCT_TRY_GOTO(oct_output_json(out, result, false), st, done);
    }
    OCT_TRY_GOTO(save(s, result), st, done);
    OCT_TRY_GOTO(report(s, result), st, done);
    st = verdict(s);
done:
    json_decref(result);
    return st;
}

oct_status oct_bench_serve(const struct oct_params *p, const char *path, struct oct_output *out)
{
    struct sweep *s = oct_calloc(1, sizeof *s);
    if (!s) {
        return oct_no_memory("a measurement", sizeof *s);
    }
    s->p = p;
    s->url = p->n_args > 1 ? path : NULL; /* not what --model or OCTAVO_MODEL say */
    if (!s->url && oct_param_is_set(p, OCT_P_UDS)) {
        s->url = "http://localhost";
    }
    oct_status st = OCT_OK;
    if (s->url) {
        oct_interrupt_install(2);
        st = measure(s, out);
    } else {
        st = OCT_FAIL(OCT_E_ARG, "no server is given; name its URL, as in octavo bench serve "
                                 "http://127.0.0.1:8000");
    }
    for (size_t i = 0; s->oracle && i < s->n; i++) {
        oct_free(s->oracle[i]);
    }
    oct_free((void *)s->oracle);
    json_decref(s->points);
    json_decref(s->extra);
    oct_load_deinit(&s->load);
    oct_target_close(&s->target);
    oct_free(s);
    return st;
}
