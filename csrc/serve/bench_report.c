/* SPDX-License-Identifier: Apache-2.0
 *
 * bench_report.c - results of `octavo bench serve` as a page: one file that asks nothing of the
 * network, plots first, then the numbers. The files are not trusted: what is missing is a dash, and
 * names are escaped. */
#include "serve/bench.h"
#include "serve/bench_plot.h"
#include "serve/bench_serve.h"

#include "base/io.h"
#include "base/json.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

extern char **environ;

enum {
    MAX_RESULTS = 64,
    MAX_POINTS = 256, /* of one result */
    MAX_RESULT_BYTES = 1 << 30,
    NAME_BYTES = 128,
    N_QUANTILES = 101,
};

struct series {
    char name[NAME_BYTES]; /* one for each result */
    const json_t *result;
    const json_t *points[MAX_POINTS]; /* of the section that is drawn now, by x */
    double x[MAX_POINTS];
    size_t n;
};
struct report {
    struct series *series; /* [n] */
    size_t n;
    const char *path;
    bool plots;
    bool no_png; /* rsvg-convert is not there */
    struct oct_buf page;
};

/* ---- reading ---- */

static double number(const json_t *o, const char *key)
{
    const json_t *v = json_object_get(o, key);
    return json_is_number(v) ? json_number_value(v) : NAN;
}

/* The q-th percentile, 0 to 100, of a metric. */
static double quantile(const json_t *point, const char *metric, size_t q)
{
    char key[64];
    (void)snprintf(key, sizeof key, "%s_quantiles_ms", metric);
    const json_t *v = json_array_get(json_object_get(point, key), q);
    return json_is_number(v) ? json_number_value(v) : NAN;
}

static const char *text_of(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));
    return s ? s : "";
}

static bool is_open_loop(const json_t *point)
{
    return json_is_number(json_object_get(point, "request_rate"));
}

static double x_of(const json_t *point)
{
    if (is_open_loop(point)) {
        return number(point, "request_rate");
    }
    const double c = number(point, "max_concurrency");
    return isfinite(c) ? c : number(point, "max_concurrent_requests");
}

static oct_status check(const json_t *result, const char *name)
{
    const json_t *points = json_object_get(result, "points");
    const size_t n = json_array_size(points);
    if (strcmp(text_of(result, "suite"), "serve") != 0 || n == 0) {
        return OCT_FAIL(OCT_E_FORMAT, "%s: this is not a result of octavo bench serve", name);
    }
    if (n > MAX_POINTS) {
        return OCT_FAIL(OCT_E_LIMIT, "%s: it has %zu measurements; a report takes %d", name, n,
                        MAX_POINTS);
    }
    return OCT_OK;
}

static void name_series(struct report *r)
{
    for (size_t i = 0; i < r->n; i++) {
        struct series *s = &r->series[i];
        const char *label = text_of(s->result, "label");
        char shown[NAME_BYTES - 16];
        oct_error_quote(shown, sizeof shown, *label ? label : "?", *label ? strlen(label) : 1);
        int same = 1;
        for (size_t k = 0; k < i; k++) {
            same += !strcmp(text_of(r->series[k].result, "label"), label);
        }
        if (same > 1) {
            (void)snprintf(s->name, sizeof s->name, "%s (%d)", shown, same);
        } else {
            (void)snprintf(s->name, sizeof s->name, "%s", shown);
        }
    }
}

/* The points of one kind, ordered by x. */
static size_t select_points(struct report *r, bool open_loop)
{
    size_t n = 0;
    for (size_t i = 0; i < r->n; i++) {
        struct series *s = &r->series[i];
        const json_t *all = json_object_get(s->result, "points");
        s->n = 0;
        for (size_t k = 0; k < json_array_size(all); k++) {
            const json_t *p = json_array_get(all, k);
            if (is_open_loop(p) != open_loop || !(x_of(p) > 0)) {
                continue;
            }
            size_t at = s->n++;
            for (; at > 0 && s->x[at - 1] > x_of(p); at--) {
                s->x[at] = s->x[at - 1];
                s->points[at] = s->points[at - 1];
            }
            s->x[at] = x_of(p);
            s->points[at] = p;
        }
        n += s->n;
    }
    return n;
}

/* ---- plots ---- */

static void base_path(const struct report *r, char *dst, size_t size)
{
    const size_t len = strlen(r->path);
    const bool html = len > 5 && !strcmp(r->path + len - 5, ".html");
    (void)snprintf(dst, size, "%.*s", (int)(html ? len - 5 : len), r->path);
}

/* rsvg-convert draws a PNG of it, if it is installed: a picture is wanted now and then, and a
 * library for it (librsvg with pango, fonts) is larger than this program. */
static void convert(struct report *r, const char *svg, const char *png)
{
    const char *const args[] = {"rsvg-convert", "--zoom", "2", "--output", png, svg, NULL};
    pid_t pid;
    int status = -1;
    const int e = posix_spawnp(&pid, args[0], NULL, NULL, (char *const *)(uintptr_t)args, environ);
    if (e == 0) {
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
        }
    }
    if (e != 0 || status != 0) {
        r->no_png = true;
        oct_note("octavo: no PNG: rsvg-convert (Debian's librsvg2-bin) %s",
                 e ? strerror(e) : "failed");
    }
}

static oct_status save_plot(struct report *r, const struct oct_plot *p)
{
    char base[2048], svg[2304], png[2304];
    struct oct_buf text = {0};
    base_path(r, base, sizeof base);
    (void)snprintf(svg, sizeof svg, "%s-%s.svg", base, p->id);
    (void)snprintf(png, sizeof png, "%s-%s.png", base, p->id);
    oct_status st = oct_plot_svg(p, true, &text);
    if (st == OCT_OK) {
        st = oct_file_replace(svg, text.data, text.len);
    }
    oct_buf_free(&text);
    if (st == OCT_OK && !r->no_png) {
        convert(r, svg, png);
    }
    return st;
}

static oct_status add_plot(struct report *r, const struct oct_plot *p)
{
    OCT_TRY(oct_buf_printf(&r->page, "<figure>"));
    OCT_TRY(oct_plot_svg(p, false, &r->page));
    OCT_TRY(oct_buf_printf(&r->page, "</figure>\n"));
    return r->plots ? save_plot(r, p) : OCT_OK;
}

struct canvas {
    struct oct_plot_line lines[2 * MAX_RESULTS];
    double y[2 * MAX_RESULTS][MAX_POINTS];
    char names[2 * MAX_RESULTS][NAME_BYTES + 32];
};

static void add_line(struct canvas *c, struct oct_plot *p, const struct series *s, int colour,
                     const char *suffix, bool dashed)
{
    const size_t i = p->n_lines++;
    (void)snprintf(c->names[i], sizeof c->names[i], "%s%s", s->name, suffix);
    c->lines[i] = (struct oct_plot_line){.name = c->names[i],
                                         .colour = colour,
                                         .dashed = dashed,
                                         .marks = true,
                                         .x = s->x,
                                         .y = c->y[i],
                                         .n = s->n};
}

static oct_status plot_rate(struct report *r, struct canvas *c, struct oct_plot p, const char *key)
{
    p.lines = c->lines;
    for (size_t i = 0; i < r->n; i++) {
        const struct series *s = &r->series[i];
        for (size_t k = 0; k < s->n; k++) {
            c->y[p.n_lines][k] = number(s->points[k], key);
        }
        add_line(c, &p, s, (int)i, "", false);
    }
    return add_plot(r, &p);
}

static oct_status plot_latency(struct report *r, struct canvas *c, struct oct_plot p,
                               const char *metric)
{
    p.lines = c->lines;
    for (size_t i = 0; i < r->n; i++) {
        const struct series *s = &r->series[i];
        for (int which = 0; which < 2; which++) {
            for (size_t k = 0; k < s->n; k++) {
                c->y[p.n_lines][k] = quantile(s->points[k], metric, which ? 99 : 50);
            }
            add_line(c, &p, s, (int)i, which ? ", P99" : ", median", which == 1);
        }
    }
    return add_plot(r, &p);
}

/* The whole distribution of a metric, at each result's last point. */
static oct_status plot_distribution(struct report *r, struct canvas *c, struct oct_plot p,
                                    const char *metric, bool open_loop)
{
    double part[N_QUANTILES];
    static_assert((int)N_QUANTILES <= (int)MAX_POINTS, "they share the canvas");
    p.lines = c->lines;
    for (size_t q = 0; q < N_QUANTILES; q++) {
        part[q] = (double)q;
    }
    for (size_t i = 0; i < r->n; i++) {
        const struct series *s = &r->series[i];
        if (s->n == 0) {
            continue;
        }
        const size_t l = p.n_lines++;
        for (size_t q = 0; q < N_QUANTILES; q++) {
            c->y[l][q] = quantile(s->points[s->n - 1], metric, q);
        }
        (void)snprintf(c->names[l], sizeof c->names[l], "%s, %g%s", s->name, s->x[s->n - 1],
                       open_loop ? " req/s" : " at once");
        c->lines[l] = (struct oct_plot_line){
            .name = c->names[l], .colour = (int)i, .x = c->y[l], .y = part, .n = N_QUANTILES};
    }
    return add_plot(r, &p);
}

static oct_status add_plots(struct report *r, bool open_loop)
{
    struct canvas *c = oct_calloc(1, sizeof *c);
    oct_status st;
    if (!c) {
        return oct_no_memory("the plots", sizeof *c);
    }
    double low = HUGE_VAL, high = 0;
    for (size_t i = 0; i < r->n; i++) {
        for (size_t k = 0; k < r->series[i].n; k++) {
            low = fmin(low, r->series[i].x[k]);
            high = fmax(high, r->series[i].x[k]);
        }
    }
    static const struct {
        const char *metric, *title, *id, *dist_title, *dist_id;
    } rows[] = {
        {"ttft", "Time to first token", "ttft", "Time to first token, distribution", "ttft-dist"},
        {"tpot", "Time per output token", "tpot", NULL, NULL},
        {"itl", "Inter-token latency", "itl", "Inter-token latency, distribution", "itl-dist"},
        {"e2el", "Whole answer", "e2el", NULL, NULL},
    };
    char id[48];
    const char *prefix = open_loop ? "rate-" : "";
    const struct oct_plot like = {
        .x_label = open_loop ? "request rate, 1/s" : "concurrent requests",
        .y_label = "ms",
        .ticks_at_x = true,
        .log_x = high >= 8 * low,
        .log_y = true,
        .id = id,
    };
    struct oct_plot p = like;
    (void)snprintf(id, sizeof id, "%sthroughput", prefix);
    p.title = "Output tokens per second";
    p.y_label = "tokens/s";
    p.log_y = false;
    OCT_TRY_GOTO(plot_rate(r, c, p, "output_throughput"), st, done);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        p = like;
        (void)snprintf(id, sizeof id, "%s%s", prefix, rows[i].id);
        p.title = rows[i].title;
        OCT_TRY_GOTO(plot_latency(r, c, p, rows[i].metric), st, done);
    }
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (!rows[i].dist_id) {
            continue;
        }
        p = (struct oct_plot){.id = id,
                              .title = rows[i].dist_title,
                              .x_label = "ms",
                              .y_label = "% that took no longer",
                              .log_x = true,
                              .y_max = 100};
        (void)snprintf(id, sizeof id, "%s%s", prefix, rows[i].dist_id);
        OCT_TRY_GOTO(plot_distribution(r, c, p, rows[i].metric, open_loop), st, done);
    }
done:
    oct_free(c);
    return st;
}

/* ---- tables ---- */

static oct_status cell(struct oct_buf *b, double v, int digits)
{
    return isfinite(v) ? oct_buf_printf(b, "<td>%.*f</td>", digits, v)
                       : oct_buf_printf(b, "<td>&#8211;</td>");
}

static oct_status name_cell(struct oct_buf *b, const char *tag, const char *text)
{
    OCT_TRY(oct_buf_printf(b, "<%s class=\"name\">", tag));
    OCT_TRY(oct_plot_escape(b, text));
    return oct_buf_printf(b, "</%s>", tag);
}

static const struct {
    const char *title, *key; /* key NULL: quantile q of metric */
    const char *metric;
    size_t q;
    int digits;
} columns[] = {
    {"done", "completed", NULL, 0, 0},
    {"failed", "failed", NULL, 0, 0},
    {"cut", "cut", NULL, 0, 0},
    {"timed out", "timed_out", NULL, 0, 0},
    {"req/s", "request_throughput", NULL, 0, 2},
    {"output tok/s", "output_throughput", NULL, 0, 2},
    {"total tok/s", "total_token_throughput", NULL, 0, 2},
    {"goodput req/s", "request_goodput", NULL, 0, 2},
    {"TTFT ms, median", NULL, "ttft", 50, 2},
    {"P99", NULL, "ttft", 99, 2},
    {"TPOT ms, median", NULL, "tpot", 50, 2},
    {"P99", NULL, "tpot", 99, 2},
    {"ITL ms, median", NULL, "itl", 50, 2},
    {"P99", NULL, "itl", 99, 2},
    {"whole answer ms, median", NULL, "e2el", 50, 2},
    {"P99", NULL, "e2el", 99, 2},
};
enum { N_COLUMNS = sizeof columns / sizeof *columns };

static oct_status add_table(struct report *r, bool open_loop)
{
    struct oct_buf *b = &r->page;
    OCT_TRY(oct_buf_printf(b,
                           "<div class=\"wide\"><table>\n<thead><tr><th class=\"name\">server"
                           "</th><th>%s</th>",
                           open_loop ? "req/s asked" : "at once"));
    for (int i = 0; i < N_COLUMNS; i++) {
        OCT_TRY(oct_buf_printf(b, "<th>%s</th>", columns[i].title));
    }
    OCT_TRY(oct_buf_printf(b, "<th>client CPU %%</th></tr></thead>\n<tbody>\n"));
    for (size_t i = 0; i < r->n; i++) {
        const struct series *s = &r->series[i];
        for (size_t k = 0; k < s->n; k++) {
            const json_t *p = s->points[k];
            OCT_TRY(oct_buf_printf(b, "<tr>"));
            OCT_TRY(name_cell(b, "th", s->name));
            OCT_TRY(oct_buf_printf(b, "<td>%.6g</td>", s->x[k]));
            for (int c = 0; c < N_COLUMNS; c++) {
                OCT_TRY(cell(b,
                             columns[c].key ? number(p, columns[c].key)
                                            : quantile(p, columns[c].metric, columns[c].q),
                             columns[c].digits));
            }
            OCT_TRY(cell(b, 100 * number(json_object_get(p, "client"), "cpu_share"), 1));
            OCT_TRY(oct_buf_printf(b, "</tr>\n"));
        }
    }
    return oct_buf_printf(b, "</tbody></table></div>\n");
}

/* How each result was made. */
static oct_status add_origins(struct report *r)
{
    static const char *const keys[] = {"date", "server", "model_id", "endpoint", "url"};
    struct oct_buf *b = &r->page;
    OCT_TRY(oct_buf_printf(b, "<h2>How it was measured</h2>\n<div class=\"wide\"><table>\n<thead>"
                              "<tr><th class=\"name\">result</th>"));
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        OCT_TRY(name_cell(b, "th", keys[i]));
    }
    OCT_TRY(oct_buf_printf(b, "<th class=\"name\">load</th></tr></thead>\n<tbody>\n"));
    for (size_t i = 0; i < r->n; i++) {
        const struct series *s = &r->series[i];
        OCT_TRY(oct_buf_printf(b, "<tr>"));
        OCT_TRY(name_cell(b, "th", s->name));
        for (size_t k = 0; k < sizeof keys / sizeof *keys; k++) {
            OCT_TRY(name_cell(b, "td", text_of(s->result, keys[k])));
        }
        struct oct_buf load = {0};
        const json_t *o = json_object_get(s->result, "load");
        oct_status st = o ? oct_json_append(&load, o, JSON_REAL_PRECISION(6)) : OCT_OK;
        if (st == OCT_OK) {
            st = name_cell(b, "td", load.data ? load.data : "");
        }
        oct_buf_free(&load);
        OCT_TRY(st);
        OCT_TRY(oct_buf_printf(b, "</tr>\n"));
    }
    return oct_buf_printf(b, "</tbody></table></div>\n");
}

/* ---- the page ---- */

static const char page_css[] =
    "body{background:var(--paper);color:var(--ink);font:15px/1.5 system-ui,sans-serif;"
    "max-width:1480px;margin:0 auto;padding:24px}"
    "h1{font-size:24px;margin:0 0 4px}h2{font-size:18px;margin:32px 0 8px}p{color:var(--soft)}"
    ".plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,480px),1fr));"
    "gap:16px}"
    "figure{margin:0;border:1px solid var(--grid);border-radius:8px;padding:8px}"
    "svg{width:100%;height:auto;display:block}.wide{overflow-x:auto}"
    "table{border-collapse:collapse;font-size:13px;font-variant-numeric:tabular-nums}"
    "th,td{padding:4px 8px;text-align:right;border-bottom:1px solid var(--grid)}"
    "thead th{color:var(--soft);font-weight:600;vertical-align:bottom}"
    "tbody th{font-weight:600;white-space:nowrap}.name{text-align:left}"
    "tbody tr:nth-child(odd){background:var(--row)}";

static oct_status make_page(struct report *r)
{
    struct oct_buf *b = &r->page;
    OCT_TRY(oct_buf_printf(b,
                           "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"/>\n"
                           "<meta name=\"viewport\" content=\"width=device-width, "
                           "initial-scale=1\"/>\n<title>octavo bench serve</title>\n"
                           "<style>%s%s</style></head>\n<body>\n<h1>Serving benchmark</h1>\n",
                           oct_plot_css, page_css));
    OCT_TRY(oct_buf_printf(
        b,
        "<p>Latencies count from when a request was planned, not from when the client sent it. "
        "Figures of answers that came whole; a request that was cut or timed out is lost.</p>\n"));
    for (int open_loop = 0; open_loop < 2; open_loop++) {
        if (select_points(r, open_loop == 1) == 0) {
            continue;
        }
        OCT_TRY(oct_buf_printf(b, "<h2>Over %s</h2>\n<div class=\"plots\">\n",
                               open_loop ? "the request rate" : "concurrent requests"));
        OCT_TRY(add_plots(r, open_loop == 1));
        OCT_TRY(oct_buf_printf(b, "</div>\n<h2>Numbers over %s</h2>\n",
                               open_loop ? "the request rate" : "concurrent requests"));
        OCT_TRY(add_table(r, open_loop == 1));
    }
    OCT_TRY(add_origins(r));
    return oct_buf_printf(b, "</body></html>\n");
}

oct_status oct_report_write(json_t *const *results, const char *const *names, size_t n,
                            const char *path, bool plots)
{
    struct report r = {.n = n, .path = path, .plots = plots};
    oct_status st = OCT_OK;
    if (n > MAX_RESULTS) {
        return OCT_FAIL(OCT_E_LIMIT, "%zu results; a report takes %d", n, MAX_RESULTS);
    }
    r.series = oct_calloc(n, sizeof *r.series);
    if (!r.series) {
        return oct_no_memory("a report", n * sizeof *r.series);
    }
    for (size_t i = 0; i < n; i++) {
        r.series[i].result = results[i];
        OCT_TRY_GOTO(check(results[i], names[i]), st, done);
    }
    name_series(&r);
    OCT_TRY_GOTO(make_page(&r), st, done);
    st = oct_file_replace(path, r.page.data, r.page.len);
done:
    oct_free(r.series);
    oct_buf_free(&r.page);
    return st;
}

/* ---- octavo bench report ---- */

oct_status oct_bench_report(const struct oct_params *p, const char *path, struct oct_output *out)
{
    json_t *results[MAX_RESULTS] = {0};
    const char *to = oct_param_str(p, OCT_P_OUTPUT, oct_param_str(p, OCT_P_REPORT, NULL));
    const size_t n = p->n_args > 1 ? p->n_args - 1 : 0;
    oct_status st = OCT_OK;
    (void)path; /* --model and OCTAVO_MODEL are not looked at */
    (void)out;  /* the page goes to a file */
    if (n == 0 || n > MAX_RESULTS) {
        return OCT_FAIL(OCT_E_ARG, "name 1 to %d results of octavo bench serve", MAX_RESULTS);
    }
    if (!to) {
        return OCT_FAIL(OCT_E_ARG, "where should the page go? Give -o PAGE.html");
    }
    for (size_t i = 0; i < n; i++) {
        OCT_TRY_GOTO(oct_json_read(p->args[1 + i], MAX_RESULT_BYTES, &results[i]), st, done);
    }
    OCT_TRY_GOTO(oct_report_write(results, p->args + 1, n, to, oct_param_bool(p, OCT_P_PLOTS)), st,
                 done);
    oct_note("octavo: the report is in %s", to);
done:
    for (size_t i = 0; i < n; i++) {
        json_decref(results[i]);
    }
    return st;
}
