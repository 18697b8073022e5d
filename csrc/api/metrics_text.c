/* SPDX-License-Identifier: Apache-2.0
 *
 * metrics_text.c - the metrics in Prometheus' text format 0.0.4. */
#include "api/metrics_int.h"

#include "api/api.h"
#include "cpu/machine.h"
#include "paging.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { LABEL_BYTES = 512 };

/* Appends to a buffer until something fails. */
struct writer {
    struct oct_buf *out;
    oct_status st;
    char vllm[LABEL_BYTES + 64]; /* what stands between the braces of each vllm: line */
};

__attribute__((format(printf, 2, 3))) static void put(struct writer *w, const char *fmt, ...)
{
    char line[LABEL_BYTES + 256];
    va_list args;
    if (w->st != OCT_OK) {
        return;
    }
    va_start(args, fmt);
    const int n = vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    OCT_ASSERT(n >= 0 && (size_t)n < sizeof line);
    w->st = oct_buf_append(w->out, line, (size_t)n);
}

static void head(struct writer *w, const char *name, const char *type, const char *help)
{
    put(w, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* A label's value: printable UTF-8, with what the format gives a meaning escaped. */
static void escape(char dst[LABEL_BYTES], const char *text)
{
    char clean[LABEL_BYTES / 2];
    size_t n = 0;
    (void)oct_error_quote(clean, sizeof clean, text, strlen(text));
    for (const char *s = clean; *s; s++) {
        if (*s == '"' || *s == '\\') {
            dst[n++] = '\\';
        }
        dst[n++] = *s;
    }
    dst[n] = '\0';
}

static void one(struct writer *w, const char *name, const char *type, const char *help,
                const char *labels, double value)
{
    head(w, name, type, help);
    put(w, "%s%s%s%s %.17g\n", name, *labels ? "{" : "", labels, *labels ? "}" : "", value);
}

static void gauge(struct writer *w, const char *name, const char *help, double value)
{
    one(w, name, "gauge", help, "", value);
}

static void counter(struct writer *w, const char *name, const char *help, double value)
{
    one(w, name, "counter", help, "", value);
}

static double seconds(uint64_t us)
{
    return (double)us * 1e-6;
}

/* ---- histograms ---- */

/* As Prometheus' Python client writes floats: "0.005", "2.5", "10.0". */
static void put_bound(char dst[32], int64_t v, bool is_time)
{
    if (!is_time || v % 1000000 == 0) {
        (void)snprintf(dst, 32, "%" PRId64 ".0", is_time ? v / 1000000 : v);
        return;
    }
    int n = snprintf(dst, 32, "%" PRId64 ".%06" PRId64, v / 1000000, v % 1000000);
    while (dst[n - 1] == '0') {
        dst[--n] = '\0';
    }
}

/* max_bound: bounds over it are left out. */
static void put_histogram(struct writer *w, const char *name, const char *labels,
                          enum oct_metrics_bounds which, int64_t max_bound,
                          const struct oct_histogram *h)
{
    const struct oct_bounds *b = oct_metrics_bounds(which);
    const bool is_time = which != OCT_BOUNDS_TOKENS;
    uint64_t below = 0;
    for (size_t i = 0; i < b->n && b->at[i] <= max_bound; i++) {
        char bound[32];
        put_bound(bound, b->at[i], is_time);
        below += h->counts[i];
        put(w, "%s_bucket{%s,le=\"%s\"} %" PRIu64 "\n", name, labels, bound, below);
    }
    put(w, "%s_bucket{%s,le=\"+Inf\"} %" PRIu64 "\n", name, labels, h->n);
    put(w, "%s_sum{%s} %.17g\n", name, labels, is_time ? seconds(h->sum) : (double)h->sum);
    put(w, "%s_count{%s} %" PRIu64 "\n", name, labels, h->n);
}

static void put_request_histograms(struct writer *w, const struct oct_metrics *m, int32_t max_len)
{
    static const struct {
        const char *name, *help;
        enum oct_metrics_bounds bounds;
    } rows[OCT_N_HISTS] = {
#define HIST_ROW(id, b, name, help) [OCT_HIST_##id] = {name, help, OCT_BOUNDS_##b},
        OCT_METRICS_HISTS(HIST_ROW)
#undef HIST_ROW
    };
    for (int i = 0; i < OCT_N_HISTS; i++) {
        head(w, rows[i].name, "histogram", rows[i].help);
        put_histogram(w, rows[i].name, w->vllm, rows[i].bounds,
                      rows[i].bounds == OCT_BOUNDS_TOKENS ? max_len : INT64_MAX, &m->hists[i]);
    }
    /* The name that vLLM had before 0.11, and older dashboards have. */
    static const char old[] = "vllm:time_per_output_token_seconds";
    head(w, old, "histogram", "Deprecated: vllm:inter_token_latency_seconds.");
    put_histogram(w, old, w->vllm, OCT_BOUNDS_PER_TOKEN, INT64_MAX, &m->hists[OCT_HIST_ITL]);
}

/* ---- the engine, in vLLM's names ---- */

static void put_vllm(struct writer *w, const struct oct_metrics *m,
                     const struct oct_metrics_view *v)
{
    const struct oct_engine_stats *s = v->engine;
    const double usage = s->n_pages > 0 ? (double)s->n_pages_used / s->n_pages : 0;
    const struct {
        const char *name, *type, *help;
        double value;
    } rows[] = {
        {"vllm:num_requests_running", "gauge", "Requests that take part in steps.", s->n_running},
        {"vllm:num_requests_waiting", "gauge", "Requests that wait for their turn.", s->n_waiting},
        {"vllm:kv_cache_usage_perc", "gauge",
         "Share of the KV cache that requests hold; 1 is all of it.", usage},
        {"vllm:gpu_cache_usage_perc", "gauge", "Deprecated: vllm:kv_cache_usage_perc.", usage},
        {"vllm:prefix_cache_queries_total", "counter",
         "Prompt tokens that were looked up in the prefix cache.",
         (double)s->n_prefix_query_tokens},
        {"vllm:prefix_cache_hits_total", "counter", "Of them, tokens that were found there.",
         (double)s->n_prefix_hit_tokens},
        {"vllm:num_preemptions_total", "counter", "Requests put back because pages ran out.",
         (double)s->n_preemptions},
        {"vllm:prompt_tokens_total", "counter", "Prompt tokens of requests that have begun.",
         (double)s->n_prompt_tokens},
        {"vllm:generation_tokens_total", "counter", "Generated tokens.",
         (double)s->n_output_tokens},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        one(w, rows[i].name, rows[i].type, rows[i].help, w->vllm, rows[i].value);
    }
    static const char *const reasons[OCT_N_ENDS] = {"stop", "length", "abort", "error"};
    head(w, "vllm:request_success_total", "counter", "Requests that have ended, by how.");
    for (int i = 0; i < OCT_N_ENDS; i++) {
        put(w, "vllm:request_success_total{%s,finished_reason=\"%s\"} %" PRIu64 "\n", w->vllm,
            reasons[i], m->ends[i]);
    }
    head(w, "vllm:cache_config_info", "gauge", "How the KV cache is cut; always 1.");
    put(w,
        "vllm:cache_config_info{engine=\"0\",block_size=\"%d\",num_gpu_blocks=\"%d\","
        "enable_prefix_caching=\"True\"} 1\n",
        K_PAGE_TOKENS, s->n_pages);
    put_request_histograms(w, m, v->info->max_model_len);
}

/* ---- the engine, in ours ---- */

static void put_info(struct writer *w, const struct oct_engine_info *f)
{
    char device[LABEL_BYTES];
    escape(device, f->device);
    head(w, "octavo_model_info", "gauge", "What runs; always 1.");
    put(w, "octavo_model_info{architecture=\"%s\",dtype=\"%s\",device=\"%s\"} 1\n", f->architecture,
        f->dtype, device);
    gauge(w, "octavo_load_duration_seconds", "Time the model took to load.",
          (double)f->load_us * 1e-6);
    gauge(w, "octavo_context_tokens", "Longest prompt and output together.", f->max_model_len);
    gauge(w, "octavo_running_requests_limit", "Requests that may run at once.", f->max_num_seqs);
    gauge(w, "octavo_threads", "CPU threads that compute.", f->n_threads);
    static const char name[] = "octavo_model_memory_bytes";
    head(w, name, "gauge", "Memory of the device that the engine reserved, by what for.");
    put(w, "%s{part=\"weights\"} %" PRIu64 "\n", name, f->weight_bytes);
    put(w, "%s{part=\"kv_cache\"} %" PRIu64 "\n", name, f->kv_cache_bytes);
    put(w, "%s{part=\"workspace\"} %" PRIu64 "\n", name, f->workspace_bytes);
}

/* What the engine holds is reserved when it is opened, and most of it is the KV cache: that counts
 * as used where requests hold its pages. Cached ones are given up when needed. */
static void put_device(struct writer *w, const struct oct_engine_info *f,
                       const struct oct_engine_stats *s)
{
    static const char name[] = "octavo_device_memory_bytes";
    if (f->device_memory_bytes == 0) {
        return;
    }
    const uint64_t others = f->device_others_bytes;
    const uint64_t page = s->n_pages > 0 ? f->kv_cache_bytes / (uint64_t)s->n_pages : 0;
    const uint64_t fixed = others + f->weight_bytes + f->workspace_bytes;
    head(w, name, "gauge",
         "Memory of the device: in all; what others held when it was opened; that, weights, "
         "workspace and the KV pages of requests; that, and all of the KV cache.");
    put(w, "%s{kind=\"total\"} %" PRIu64 "\n", name, f->device_memory_bytes);
    put(w, "%s{kind=\"others\"} %" PRIu64 "\n", name, others);
    put(w, "%s{kind=\"used\"} %" PRIu64 "\n", name, fixed + page * (uint64_t)s->n_pages_used);
    put(w, "%s{kind=\"reserved\"} %" PRIu64 "\n", name, fixed + f->kv_cache_bytes);
}

static void put_engine(struct writer *w, const struct oct_engine_stats *s)
{
    static const char pages[] = "octavo_kv_pages", phases[] = "octavo_step_seconds_total",
                      ends[] = "octavo_engine_requests_ended_total";
    head(w, pages, "gauge", "Pages of the KV cache; cached ones are given up when needed.");
    put(w, "%s{state=\"used\"} %d\n", pages, s->n_pages_used);
    put(w, "%s{state=\"cached\"} %d\n", pages, s->n_pages_cached);
    put(w, "%s{state=\"free\"} %d\n", pages, s->n_pages - s->n_pages_used - s->n_pages_cached);
    counter(w, "octavo_engine_requests_total", "Requests the engine has accepted.",
            (double)s->n_submitted);
    head(w, ends, "counter", "Requests of the engine that have ended, by how.");
    put(w, "%s{end=\"stopped\"} %" PRIu64 "\n", ends, s->n_stopped);
    put(w, "%s{end=\"length\"} %" PRIu64 "\n", ends, s->n_length);
    put(w, "%s{end=\"cancelled\"} %" PRIu64 "\n", ends, s->n_cancelled);
    put(w, "%s{end=\"expired\"} %" PRIu64 "\n", ends, s->n_expired);
    put(w, "%s{end=\"failed\"} %" PRIu64 "\n", ends, s->n_failed);
    counter(w, "octavo_steps_total", "Steps of the engine.", (double)s->n_steps);
    head(w, phases, "counter", "Time of the steps, by phase; deliver overlaps the next forward.");
    put(w, "%s{phase=\"schedule\"} %.17g\n", phases, seconds(s->schedule_us));
    put(w, "%s{phase=\"forward\"} %.17g\n", phases, seconds(s->forward_us));
    put(w, "%s{phase=\"sample\"} %.17g\n", phases, seconds(s->sample_us));
    put(w, "%s{phase=\"deliver\"} %.17g\n", phases, seconds(s->deliver_us));
    counter(w, "octavo_busy_seconds_total",
            "Time in which the device ran a step: its rate is the utilisation.",
            seconds(s->forward_us + s->sample_us));
    if (s->last_step_age_us >= 0) {
        gauge(w, "octavo_last_step_age_seconds", "Since a step has finished.",
              (double)s->last_step_age_us * 1e-6);
    }
}

/* ---- the service ---- */

static void put_state(struct writer *w, int state)
{
    static const char *const names[] = {
        [OCT_API_LOADING] = "loading",
        [OCT_API_READY] = "ready",
        [OCT_API_DRAINING] = "draining",
        [OCT_API_DEAD] = "dead",
    };
    head(w, "octavo_state", "gauge", "1 for the state the server is in, 0 for the others.");
    for (int i = 0; i < (int)(sizeof names / sizeof *names); i++) {
        put(w, "octavo_state{state=\"%s\"} %d\n", names[i], i == state);
    }
}

static void put_self_test(struct writer *w, const struct oct_metrics_self_test *t,
                          const struct oct_engine_info *f)
{
    counter(w, "octavo_self_tests_total", "Runs of the self-test that came to their end.",
            (double)t->n_runs);
    counter(w, "octavo_self_test_failures_total",
            "Of them, runs that gave other bits than the first: the device is not sound.",
            (double)t->n_failures);
    gauge(w, "octavo_self_test_interval_seconds", "Time between two runs.",
          (double)t->interval_us * 1e-6);
    if (t->last_success_s > 0) {
        gauge(w, "octavo_self_test_last_success_timestamp_seconds",
              "When a run last gave the same bits as the first, since 1970.",
              (double)t->last_success_s);
    }
    if (f && *t->digest) {
        char device[LABEL_BYTES];
        escape(device, f->device);
        head(w, "octavo_self_test_info", "gauge",
             "The digest of what the self-test gave first, for comparing machines; always 1.");
        put(w, "octavo_self_test_info{%s,", w->vllm);
        put(w, "device=\"%s\",", device);
        put(w, "dtype=\"%s\",version=\"%s\",digest=\"%s\"} 1\n", f->dtype, oct_version(),
            t->digest);
    }
}

static void put_counts(struct writer *w, const struct oct_api_counts *c)
{
    static const char ends[] = "octavo_calls_ended_total";
    counter(w, "octavo_calls_total", "Calls that were given to the engine.", (double)c->n_accepted);
    head(w, ends, "counter",
         "Calls that have ended: whole, with an error that was told, or because the client left; "
         "refused ones were told so before the engine saw them.");
    put(w, "%s{end=\"done\"} %" PRIu64 "\n", ends, c->n_done);
    put(w, "%s{end=\"failed\"} %" PRIu64 "\n", ends, c->n_failed);
    put(w, "%s{end=\"left\"} %" PRIu64 "\n", ends, c->n_left);
    put(w, "%s{end=\"refused\"} %" PRIu64 "\n", ends, c->n_refused);
}

static void put_http(struct writer *w, const struct oct_http_stats *h)
{
    static const char cut[] = "octavo_http_cut_total";
    gauge(w, "octavo_http_connections", "Open connections.", h->n_connections);
    gauge(w, "octavo_http_exchanges", "Requests that have not had the end of their answer.",
          h->n_exchanges);
    gauge(w, "octavo_http_waiting_output_bytes", "Output that waits for readers.",
          (double)h->out_bytes);
    counter(w, "octavo_http_connections_accepted_total", "Connections accepted.",
            (double)h->n_accepted);
    counter(w, "octavo_http_connections_refused_total",
            "Connections refused: over the limit, or no file left.", (double)h->n_refused);
    counter(w, "octavo_http_heads_total", "Requests whose head was read.", (double)h->n_requests);
    head(w, cut, "counter", "Requests that did not come to their end, by why.");
    put(w, "%s{why=\"malformed\"} %" PRIu64 "\n", cut, h->n_malformed);
    put(w, "%s{why=\"timeout\"} %" PRIu64 "\n", cut, h->n_timeouts);
    put(w, "%s{why=\"left\"} %" PRIu64 "\n", cut, h->n_left);
    put(w, "%s{why=\"stalled\"} %" PRIu64 "\n", cut, h->n_stalled);
}

static void put_routes(struct writer *w, const struct oct_metrics *m)
{
    static const char requests[] = "octavo_http_requests_total",
                      times[] = "octavo_http_request_duration_seconds";
    head(w, requests, "counter", "Requests answered, by route and status.");
    for (int i = 0; i < m->n_routes; i++) {
        const struct oct_route *r = &m->routes[i];
        for (int c = 0; c < OCT_ROUTE_CODES && r->codes[c].n > 0; c++) {
            char code[16] = "other";
            if (r->codes[c].status != 0) {
                (void)snprintf(code, sizeof code, "%d", r->codes[c].status);
            }
            put(w, "%s{route=\"%s\",code=\"%s\"} %" PRIu64 "\n", requests, r->name, code,
                r->codes[c].n);
        }
    }
    head(w, times, "histogram", "Time from a request's first byte to the end of its answer.");
    for (int i = 0; i < m->n_routes; i++) {
        char labels[LABEL_BYTES];
        if (m->routes[i].time.n > 0) {
            (void)snprintf(labels, sizeof labels, "route=\"%s\"", m->routes[i].name);
            put_histogram(w, times, labels, OCT_BOUNDS_ANSWER, INT64_MAX, &m->routes[i].time);
        }
    }
}

/* ---- the process ---- */

/* The resident pages out of /proc/self/statm; 0: unknown. */
static uint64_t resident_bytes(void)
{
    char text[128];
    unsigned long long size, resident;
    const int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    const ssize_t n = fd >= 0 ? read(fd, text, sizeof text - 1) : -1;
    if (fd >= 0) {
        (void)close(fd);
    }
    if (n <= 0) {
        return 0;
    }
    text[n] = '\0';
    return sscanf(text, "%llu %llu", &size, &resident) == 2
               ? (uint64_t)resident * (uint64_t)sysconf(_SC_PAGESIZE)
               : 0;
}

static void put_process(struct writer *w, const struct oct_metrics *m)
{
    struct rusage use;
    struct rlimit files;
    const uint64_t resident = resident_bytes();
    if (getrusage(RUSAGE_SELF, &use) == 0) {
        const double cpu = (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) +
                           (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec) * 1e-6;
        counter(w, "process_cpu_seconds_total", "CPU time of the process.", cpu);
    }
    if (resident > 0) {
        gauge(w, "process_resident_memory_bytes", "Resident memory of the process.",
              (double)resident);
    }
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        gauge(w, "process_max_fds", "Files the process may have open.", (double)files.rlim_cur);
    }
    gauge(w, "process_start_time_seconds", "When the process began, since 1970.",
          (double)m->start_wall_s);
    if (m->memory_bytes > 0) {
        gauge(w, "octavo_host_memory_total_bytes",
              "Memory of the machine, or of the control group if that has less.",
              (double)m->memory_bytes);
    }
}

/* Every vllm: that begins a name, or stands in a comment. */
static void make_plain(char *text, size_t len)
{
    static const char old[] = "vllm:";
    const size_t n = sizeof old - 1;
    bool is_comment = false;
    for (size_t i = 0; i + n <= len; i++) {
        const bool begins = i == 0 || text[i - 1] == '\n';
        is_comment = begins ? text[i] == '#' : is_comment;
        if ((begins || is_comment) && memcmp(text + i, old, n) == 0) {
            text[i + n - 1] = '_';
        }
    }
}

oct_status oct_metrics_render(const struct oct_metrics *m, const struct oct_metrics_view *v,
                              struct oct_buf *out)
{
    struct writer w = {.out = out};
    const size_t begin = out->len;
    char name[LABEL_BYTES];
    escape(name, v->model_name ? v->model_name : "");
    (void)snprintf(w.vllm, sizeof w.vllm, "model_name=\"%s\",engine=\"0\"", name);
    if (v->engine && v->info) {
        put_vllm(&w, m, v);
        put_device(&w, v->info, v->engine);
    }
    if (v->info) {
        put_info(&w, v->info);
    }
    if (v->engine) {
        put_engine(&w, v->engine);
    }
    put_state(&w, v->state);
    if (v->self_test) {
        put_self_test(&w, v->self_test, v->info);
    }
    if (v->counts) {
        put_counts(&w, v->counts);
    }
    if (v->http) {
        put_http(&w, v->http);
    }
    put_routes(&w, m);
    put_process(&w, m);
    head(&w, "octavo_build_info", "gauge", "The version; always 1.");
    put(&w, "octavo_build_info{version=\"%s\"} 1\n", oct_version());
    if (v->plain_names && w.st == OCT_OK) {
        make_plain(out->data + begin, out->len - begin);
    }
    return w.st;
}
