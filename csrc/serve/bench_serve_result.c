/* SPDX-License-Identifier: Apache-2.0
 *
 * bench_serve_result.c - what vLLM's `bench serve` says of a run, by its definitions: TTFT to the
 * first token, ITL between the events that bring tokens, TPOT the time from the first token to the
 * last over the tokens after the first, E2EL to the last. Ours count from when the request was
 * planned. */
#include "serve/bench_serve.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name, *upper, *title;
} metrics[OCT_N_METRICS] = {
    [OCT_METRIC_TTFT] = {"ttft", "TTFT", "Time to First Token"},
    [OCT_METRIC_TPOT] = {"tpot", "TPOT", "Time per Output Token (excl. 1st token)"},
    [OCT_METRIC_ITL] = {"itl", "ITL", "Inter-token Latency"},
    [OCT_METRIC_E2EL] = {"e2el", "E2EL", "End-to-end Latency"},
};
static const char *const end_names[OCT_N_CALL_ENDS] = {
#define END_NAME(id, name, text) name,
    OCT_CALL_ENDS(END_NAME)
#undef END_NAME
};

const char *oct_metric_name(enum oct_metric m)
{
    return metrics[m].name;
}

/* ---- options ---- */

static bool find_metric(const char *name, size_t len, enum oct_metric *out)
{
    for (int i = 0; i < OCT_N_METRICS; i++) {
        if (strlen(metrics[i].name) == len && !memcmp(metrics[i].name, name, len)) {
            *out = (enum oct_metric)i;
            return true;
        }
    }
    return false;
}

static oct_status bad_list(const char *flag, const char *text, const char *want)
{
    char shown[96];
    oct_error_quote(shown, sizeof shown, text, strlen(text));
    return OCT_FAIL(OCT_E_ARG, "%s: \"%s\" is not %s", flag, shown, want);
}

static oct_status parse_goodput(const char *text, struct oct_result_options *o)
{
    for (const char *s = text; *s;) {
        const size_t len = strcspn(s, ":");
        enum oct_metric m;
        char *end = NULL;
        const double ms = s[len] ? strtod(s + len + 1, &end) : 0;
        if (!end || end == s + len + 1 || (*end && *end != ',') || !(ms > 0) || !isfinite(ms) ||
            !find_metric(s, len, &m) || m == OCT_METRIC_ITL) {
            return bad_list("--goodput", text, "a list such as ttft:500,tpot:50,e2el:5000");
        }
        o->goodput_ms[m] = ms;
        o->has_goodput = true;
        s = end + (*end == ',');
    }
    return OCT_OK;
}

oct_status oct_result_options_parse(const char *names, const char *percentiles,
                                    const char *const *goodput, size_t n_goodput,
                                    struct oct_result_options *out)
{
    struct oct_result_options o = {0};
    for (const char *s = names; *s;) {
        const size_t len = strcspn(s, ",");
        enum oct_metric m;
        if (!find_metric(s, len, &m)) {
            return bad_list("--percentile-metrics", names, "a list of ttft, tpot, itl and e2el");
        }
        o.shown[m] = true;
        s += len + (s[len] == ',');
    }
    for (const char *s = percentiles; *s;) {
        char *end;
        const double v = strtod(s, &end);
        if (end == s || (*end && *end != ',') || !(v >= 0 && v <= 100) ||
            o.n_percentiles == OCT_MAX_PERCENTILES) {
            return bad_list("--metric-percentiles", percentiles,
                            "a list of at most 16 numbers from 0 to 100, such as 50,90,99");
        }
        o.percentiles[o.n_percentiles++] = v;
        s = end + (*end == ',');
    }
    for (size_t i = 0; i < n_goodput; i++) {
        OCT_TRY(parse_goodput(goodput[i], &o));
    }
    *out = o;
    return OCT_OK;
}

/* ---- numbers ---- */

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double oct_quantile(const double *v, size_t n, double q)
{
    const double at = q * (double)(n - 1);
    const size_t low = (size_t)at;
    return low + 1 < n ? v[low] + (v[low + 1] - v[low]) * (at - (double)low) : v[n - 1];
}

static void summarise(double *v, size_t n, const struct oct_result_options *o,
                      struct oct_summary *s)
{
    *s = (struct oct_summary){.n = n};
    if (n == 0) {
        return;
    }
    qsort(v, n, sizeof *v, by_value);
    double sum = 0, squares = 0;
    for (size_t i = 0; i < n; i++) {
        sum += v[i];
    }
    s->mean = sum / (double)n;
    for (size_t i = 0; i < n; i++) {
        squares += (v[i] - s->mean) * (v[i] - s->mean);
    }
    s->std = sqrt(squares / (double)n);
    s->median = oct_quantile(v, n, 0.5);
    for (int i = 0; i < o->n_percentiles; i++) {
        s->percentiles[i] = oct_quantile(v, n, o->percentiles[i] / 100);
    }
    for (int i = 0; i <= 100; i++) {
        s->quantiles[i] = oct_quantile(v, n, i / 100.0);
    }
}

/* The server's count, or events where it gave none. */
static int64_t tokens_of(const struct oct_call *c)
{
    return c->n_output >= 0 ? c->n_output : c->n_chunks;
}

/* Milliseconds of request q; false: it has no such figure. */
static bool figure(const struct oct_bench_request *q, enum oct_metric m, double *ms)
{
    const struct oct_call *c = &q->call;
    const int64_t n = tokens_of(c);
    if (c->end != OCT_CALL_DONE || c->first_us == 0) {
        return false;
    }
    switch (m) {
    case OCT_METRIC_TTFT:
        *ms = (double)(c->first_us - q->planned_us) / 1e3;
        return true;
    case OCT_METRIC_TPOT:
        *ms = n > 1 ? (double)(c->last_us - c->first_us) / 1e3 / (double)(n - 1) : 0;
        return n > 1;
    case OCT_METRIC_E2EL:
        *ms = (double)(c->last_us - q->planned_us) / 1e3;
        return true;
    case OCT_METRIC_ITL:
    case OCT_N_METRICS:
        break;
    }
    return false;
}

static size_t collect(const struct oct_bench_point *p, enum oct_metric m, double *v)
{
    size_t n = 0;
    for (size_t i = 0; i < p->n; i++) {
        const struct oct_bench_request *q = &p->requests[i];
        if (m == OCT_METRIC_ITL) {
            const size_t gaps = q->call.end == OCT_CALL_DONE && q->call.n_chunks > 1
                                    ? (size_t)q->call.n_chunks - 1
                                    : 0;
            for (size_t k = 0; k < gaps; k++) {
                v[n++] = (double)q->call.gaps_ms[k];
            }
        } else {
            n += figure(q, m, &v[n]);
        }
    }
    return n;
}

static bool is_good(const struct oct_bench_request *q, const struct oct_result_options *o)
{
    for (int m = 0; m < OCT_N_METRICS; m++) {
        double ms;
        if (o->goodput_ms[m] > 0 && figure(q, (enum oct_metric)m, &ms) && ms > o->goodput_ms[m]) {
            return false;
        }
    }
    return q->call.end == OCT_CALL_DONE;
}

/* Tokens that came in each second; the most of them. */
static oct_status find_peak(const struct oct_bench_point *p, double *out)
{
    const size_t n = (size_t)(p->duration_us / 1000000) + 1;
    double *bins = oct_calloc(n, sizeof *bins);
    if (!bins) {
        return oct_no_memory("results", n * sizeof *bins);
    }
    *out = 0;
    for (size_t i = 0; i < p->n; i++) {
        const struct oct_call *c = &p->requests[i].call;
        double at = (double)(c->first_us - p->start_us) / 1e3;
        const double each = c->n_chunks ? (double)tokens_of(c) / c->n_chunks : 0;
        for (int32_t k = 0; c->end == OCT_CALL_DONE && k < c->n_chunks; k++) {
            at += k ? (double)c->gaps_ms[k - 1] : 0;
            const size_t bin = (size_t)(at / 1e3);
            bins[bin < n ? bin : n - 1] += each;
        }
    }
    for (size_t i = 0; i < n; i++) {
        *out = bins[i] > *out ? bins[i] : *out;
    }
    oct_free(bins);
    return OCT_OK;
}

/* v: room for two numbers a request. */
static size_t peak_concurrency(const struct oct_bench_point *p, double *v)
{
    size_t n = 0, most = 0, now = 0;
    double *starts = v, *ends = v + p->n;
    for (size_t i = 0; i < p->n; i++) {
        if (p->requests[i].start_us) {
            starts[n] = (double)p->requests[i].start_us;
            ends[n++] = (double)p->requests[i].call.end_us;
        }
    }
    qsort(starts, n, sizeof *v, by_value);
    qsort(ends, n, sizeof *v, by_value);
    for (size_t s = 0, e = 0; s < n;) {
        if (ends[e] <= starts[s]) {
            e++;
            now--;
        } else {
            s++;
            now++;
            most = now > most ? now : most;
        }
    }
    return most;
}

static void count(const struct oct_bench_point *p, const struct oct_load *load,
                  const struct oct_result_options *o, struct oct_bench_result *r)
{
    size_t n_good = 0;
    for (size_t i = 0; i < p->n; i++) {
        const struct oct_bench_request *q = &p->requests[i];
        if (!q->start_us) {
            r->n_never_sent++;
            continue;
        }
        OCT_ASSERT(q->ended); /* nothing is lost here: the loop ends when every call has */
        r->ends[q->call.end]++;
        if (q->call.end != OCT_CALL_DONE) {
            continue;
        }
        int32_t n_input, n_output;
        oct_load_lengths(load, i, &n_input, &n_output);
        r->n_input += q->call.n_prompt >= 0 ? q->call.n_prompt : n_input > 0 ? n_input : 0;
        r->n_output += tokens_of(&q->call);
        r->n_counted += q->call.n_output < 0;
        r->n_different += q->differs;
        n_good += is_good(q, o);
    }
    r->duration_s = (double)p->duration_us / 1e6;
    r->request_rate = (double)r->ends[OCT_CALL_DONE] / r->duration_s;
    r->output_rate = (double)r->n_output / r->duration_s;
    r->total_rate = (double)(r->n_input + r->n_output) / r->duration_s;
    r->goodput = (double)n_good / r->duration_s;
}

oct_status oct_result_make(const struct oct_bench_point *p, const struct oct_load *load,
                           const struct oct_result_options *o, struct oct_bench_result *out)
{
    size_t room = 2 * p->n, n_gaps = 0;
    for (size_t i = 0; i < p->n; i++) {
        n_gaps += p->requests[i].call.n_chunks > 1 ? (size_t)p->requests[i].call.n_chunks - 1 : 0;
    }
    room = n_gaps > room ? n_gaps : room;
    double *v = oct_calloc(room, sizeof *v);
    if (!v) {
        return oct_no_memory("results", room * sizeof *v);
    }
    *out = (struct oct_bench_result){0};
    count(p, load, o, out);
    for (int m = 0; m < OCT_N_METRICS; m++) {
        const size_t n = collect(p, (enum oct_metric)m, v);
        summarise(v, n, o, &out->metric[m]);
    }
    size_t n = 0;
    for (size_t i = 0; i < p->n; i++) {
        const struct oct_bench_request *q = &p->requests[i];
        if (q->start_us) {
            v[n++] = (double)(q->start_us - q->planned_us) / 1e3;
        }
    }
    summarise(v, n, o, &out->wait);
    out->peak_concurrency = peak_concurrency(p, v);
    const oct_status st = find_peak(p, &out->peak_output_rate);
    oct_free(v);
    return st;
}

size_t oct_result_lost(const struct oct_bench_result *r)
{
    return r->ends[OCT_CALL_CUT] + r->ends[OCT_CALL_TIMED_OUT];
}

/* ---- vLLM's block ---- */

enum { WIDTH = 50 };

static oct_status rule(struct oct_output *out, char c, const char *title)
{
    char line[WIDTH + 2];
    const size_t len = strlen(title);
    memset(line, c, WIDTH);
    memcpy(line + (WIDTH - len) / 2, title, len);
    line[WIDTH] = '\n';
    return oct_output_write(out, line, WIDTH + 1);
}

static oct_status whole(struct oct_output *out, const char *name, int64_t v)
{
    char line[128];
    const int n = snprintf(line, sizeof line, "%-40s %-10lld\n", name, (long long)v);
    return oct_output_write(out, line, (size_t)n);
}

static oct_status real(struct oct_output *out, const char *name, double v)
{
    char line[128];
    const int n = snprintf(line, sizeof line, "%-40s %-10.2f\n", name, v);
    return oct_output_write(out, line, (size_t)n);
}

/* "99", "99.9" */
static void percentile_name(double p, char dst[24])
{
    (void)snprintf(dst, 24, "%g", p);
}

static oct_status print_metric(const struct oct_result_options *o, enum oct_metric m,
                               const struct oct_summary *s, struct oct_output *out)
{
    char name[64];
    OCT_TRY(rule(out, '-', metrics[m].title));
    (void)snprintf(name, sizeof name, "Mean %s (ms):", metrics[m].upper);
    OCT_TRY(real(out, name, s->mean));
    (void)snprintf(name, sizeof name, "Median %s (ms):", metrics[m].upper);
    OCT_TRY(real(out, name, s->median));
    for (int i = 0; i < o->n_percentiles; i++) {
        char which[24];
        percentile_name(o->percentiles[i], which);
        (void)snprintf(name, sizeof name, "P%s %s (ms):", which, metrics[m].upper);
        OCT_TRY(real(out, name, s->percentiles[i]));
    }
    return OCT_OK;
}

static oct_status print_ends(const struct oct_bench_result *r, struct oct_output *out)
{
    static const char *const names[OCT_N_CALL_ENDS] = {
        [OCT_CALL_REFUSED] = "  refused (429, 503):",
        [OCT_CALL_ERROR] = "  error from the server:",
        [OCT_CALL_CUT] = "  cut:",
        [OCT_CALL_TIMED_OUT] = "  timed out:",
        [OCT_CALL_LEFT] = "  left by Ctrl-C:",
    };
    for (int i = 0; i < OCT_N_CALL_ENDS; i++) {
        if (names[i] && r->ends[i] > 0) {
            OCT_TRY(whole(out, names[i], (int64_t)r->ends[i]));
        }
    }
    return r->n_never_sent ? whole(out, "Never sent (Ctrl-C):", (int64_t)r->n_never_sent) : OCT_OK;
}

oct_status oct_result_print(const struct oct_bench_point *p, const struct oct_bench_result *r,
                            const struct oct_result_options *o, struct oct_output *out)
{
    size_t n_failed = 0;
    for (int i = 0; i < OCT_N_CALL_ENDS; i++) {
        n_failed += i == OCT_CALL_DONE ? 0 : r->ends[i];
    }
    OCT_TRY(rule(out, '=', " Serving Benchmark Result "));
    OCT_TRY(whole(out, "Successful requests:", (int64_t)r->ends[OCT_CALL_DONE]));
    OCT_TRY(whole(out, "Failed requests:", (int64_t)n_failed));
    OCT_TRY(print_ends(r, out));
    if (p->max_concurrency) {
        OCT_TRY(whole(out, "Maximum request concurrency:", p->max_concurrency));
    }
    if (p->rate > 0) {
        OCT_TRY(real(out, "Request rate configured (RPS):", p->rate));
    }
    OCT_TRY(real(out, "Benchmark duration (s):", r->duration_s));
    OCT_TRY(whole(out, "Total input tokens:", r->n_input));
    OCT_TRY(whole(out, "Total generated tokens:", r->n_output));
    if (r->n_counted) {
        OCT_TRY(whole(out, "  answers counted by events, not usage:", (int64_t)r->n_counted));
    }
    OCT_TRY(real(out, "Request throughput (req/s):", r->request_rate));
    if (o->has_goodput) {
        OCT_TRY(real(out, "Request goodput (req/s):", r->goodput));
    }
    OCT_TRY(real(out, "Output token throughput (tok/s):", r->output_rate));
    OCT_TRY(real(out, "Peak output token throughput (tok/s):", r->peak_output_rate));
    OCT_TRY(whole(out, "Peak concurrent requests:", (int64_t)r->peak_concurrency));
    OCT_TRY(real(out, "Total token throughput (tok/s):", r->total_rate));
    for (int m = 0; m < OCT_N_METRICS; m++) {
        if (o->shown[m]) {
            OCT_TRY(print_metric(o, (enum oct_metric)m, &r->metric[m], out));
        }
    }
    OCT_TRY(rule(out, '-', "This client"));
    OCT_TRY(real(out, "CPU (% of one core):", 100 * p->cpu_share));
    OCT_TRY(real(out, "P99 lag of its timers (ms):", p->lag_p99_ms));
    OCT_TRY(real(out, "Longest lag of its timers (ms):", p->lag_max_ms));
    if (p->rate > 0) {
        OCT_TRY(real(out, "Longest wait until sent (ms):", r->wait.quantiles[100]));
    }
    OCT_TRY(whole(out, "Connections opened:", p->connections.n_connects));
    if (p->connections.n_resent) {
        OCT_TRY(whole(out, "Requests sent again:", p->connections.n_resent));
    }
    if (p->oracle) {
        OCT_TRY(whole(out, "Answers that differ from the oracle:", (int64_t)r->n_different));
    }
    return rule(out, '=', "");
}

/* ---- JSON ---- */

static oct_status put(json_t *o, const char *key, json_t *value)
{
    return json_object_set_new(o, key, value) == 0 ? OCT_OK : oct_no_memory("results", 1);
}

static oct_status put_summary(json_t *o, const char *name, const struct oct_summary *s,
                              const struct oct_result_options *opt)
{
    char key[64], which[24];
    const struct {
        const char *what;
        double v;
    } row[] = {{"mean", s->mean}, {"median", s->median}, {"std", s->std}};
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        (void)snprintf(key, sizeof key, "%s_%s_ms", row[i].what, name);
        OCT_TRY(put(o, key, json_real(row[i].v)));
    }
    for (int i = 0; i < opt->n_percentiles; i++) {
        percentile_name(opt->percentiles[i], which);
        (void)snprintf(key, sizeof key, "p%s_%s_ms", which, name);
        OCT_TRY(put(o, key, json_real(s->percentiles[i])));
    }
    if (s->n == 0) {
        return OCT_OK;
    }
    json_t *q = json_array();
    bool ok = q != NULL;
    for (int i = 0; ok && i <= 100; i++) {
        ok = json_array_append_new(q, json_real(s->quantiles[i])) == 0;
    }
    if (!ok) {
        json_decref(q);
        return oct_no_memory("results", sizeof s->quantiles);
    }
    (void)snprintf(key, sizeof key, "%s_quantiles_ms", name);
    return put(o, key, q);
}

static json_t *one_request(const struct oct_bench_request *q, int64_t start_us)
{
    const struct oct_call *c = &q->call;
    json_t *itls = json_array();
    for (int32_t i = 0; itls && i + 1 < c->n_chunks; i++) {
        if (json_array_append_new(itls, json_real((double)c->gaps_ms[i] / 1e3)) != 0) {
            json_decref(itls);
            itls = NULL; /* json_pack then fails */
        }
    }
    double ttft = 0, e2el = 0;
    (void)figure(q, OCT_METRIC_TTFT, &ttft);
    (void)figure(q, OCT_METRIC_E2EL, &e2el);
    return json_pack("{s:s, s:i, s:f, s:f, s:f, s:f, s:I, s:I, s:i, s:o, s:s, s:s, s:b}", "end",
                     end_names[c->end], "status", c->status, "planned_s",
                     (double)(q->planned_us - start_us) / 1e6, "sent_s",
                     (double)(q->start_us - start_us) / 1e6, "ttft_s", ttft / 1e3, "latency_s",
                     e2el / 1e3, "prompt_tokens", (json_int_t)c->n_prompt, "output_tokens",
                     (json_int_t)tokens_of(c), "events", c->n_chunks, "itls_s", itls, "text",
                     c->text.data && c->end == OCT_CALL_DONE ? c->text.data : "", "error", c->error,
                     "differs", q->differs);
}

static oct_status put_requests(json_t *o, const struct oct_bench_point *p)
{
    json_t *all = json_array();
    bool ok = all != NULL;
    for (size_t i = 0; ok && i < p->n && p->requests[i].start_us; i++) {
        ok = json_array_append_new(all, one_request(&p->requests[i], p->start_us)) == 0;
    }
    if (!ok) {
        json_decref(all);
        return oct_no_memory("results", p->n);
    }
    return put(o, "requests", all);
}

/* {"HTTP 500: out of luck": 3, ...}: the first eight kinds. */
static oct_status put_errors(json_t *o, const struct oct_bench_point *p)
{
    json_t *errors = json_object();
    bool ok = errors != NULL;
    for (size_t i = 0; ok && i < p->n; i++) {
        const char *why = p->requests[i].call.error;
        if (!p->requests[i].start_us || !*why) {
            continue;
        }
        const json_t *n = json_object_get(errors, why);
        if (n || json_object_size(errors) < 8) {
            ok = json_object_set_new(errors, why, json_integer(json_integer_value(n) + 1)) == 0;
        }
    }
    if (!ok) {
        json_decref(errors);
        return oct_no_memory("results", p->n);
    }
    return put(o, "errors", errors);
}

oct_status oct_result_json(const struct oct_bench_point *p, const struct oct_bench_result *r,
                           const struct oct_result_options *opt, bool detailed, json_t **out)
{
    json_t *o = json_pack(
        "{s:o, s:o, s:f, s:I, s:f, s:I, s:I, s:I, s:f, s:o, s:f, s:f, s:f, s:I}", "max_concurrency",
        p->max_concurrency ? json_integer(p->max_concurrency) : json_null(), "request_rate",
        p->rate > 0 ? json_real(p->rate) : json_string("inf"), "burstiness", p->burstiness,
        "num_prompts", (json_int_t)p->n, "duration", r->duration_s, "completed",
        (json_int_t)r->ends[OCT_CALL_DONE], "total_input_tokens", (json_int_t)r->n_input,
        "total_output_tokens", (json_int_t)r->n_output, "request_throughput", r->request_rate,
        "request_goodput", opt->has_goodput ? json_real(r->goodput) : json_null(),
        "output_throughput", r->output_rate, "total_token_throughput", r->total_rate,
        "max_output_tokens_per_s", r->peak_output_rate, "max_concurrent_requests",
        (json_int_t)r->peak_concurrency);
    oct_status st = o ? OCT_OK : oct_no_memory("results", 1);
    OCT_TRY(st);
    size_t n_failed = 0;
    for (int i = 0; i < OCT_N_CALL_ENDS; i++) {
        n_failed += i == OCT_CALL_DONE ? 0 : r->ends[i];
        OCT_TRY_GOTO(put(o, i == OCT_CALL_DONE ? "done" : end_names[i],
                         json_integer((json_int_t)r->ends[i])),
                     st, fail);
    }
    OCT_TRY_GOTO(put(o, "failed", json_integer((json_int_t)n_failed)), st, fail);
    OCT_TRY_GOTO(put(o, "never_sent", json_integer((json_int_t)r->n_never_sent)), st, fail);
    OCT_TRY_GOTO(put(o, "counted_by_events", json_integer((json_int_t)r->n_counted)), st, fail);
    if (p->oracle) {
        OCT_TRY_GOTO(put(o, "different", json_integer((json_int_t)r->n_different)), st, fail);
    }
    for (int m = 0; m < OCT_N_METRICS; m++) {
        OCT_TRY_GOTO(put_summary(o, metrics[m].name, &r->metric[m], opt), st, fail);
    }
    OCT_TRY_GOTO(put_summary(o, "client_queue_time", &r->wait, opt), st, fail);
    OCT_TRY_GOTO(
        put(o, "client",
            json_pack("{s:f, s:f, s:f, s:I, s:i, s:I}", "cpu_share", p->cpu_share, "lag_p99_ms",
                      p->lag_p99_ms, "lag_max_ms", p->lag_max_ms, "connections",
                      (json_int_t)p->connections.n_connects, "connections_at_once",
                      p->connections.max_open, "sent_again", (json_int_t)p->connections.n_resent)),
        st, fail);
    OCT_TRY_GOTO(put_errors(o, p), st, fail);
    if (detailed) {
        OCT_TRY_GOTO(put_requests(o, p), st, fail);
    }
    *out = o;
    return OCT_OK;
fail:
    json_decref(o);
    return st;
}
