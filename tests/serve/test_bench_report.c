/* SPDX-License-Identifier: Apache-2.0
 *
 * octavo bench report: the page is well-formed, asks for nothing from elsewhere, and its numbers
 * are those of the results. */
#include "serve/bench_plot.h"
#include "serve/bench_serve.h"
#include "serve/spawn.h"
#include "support/writer.h"

#include "base/io.h"

#include <criterion/criterion.h>
#include <ctype.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LINE = 2048, MAX_PAGE = 8 << 20 };

static char *dir;

static void set_up(void)
{
    dir = oct_test_make_dir();
}
static void tear_down(void)
{
    oct_test_remove_dir(dir);
}
TestSuite(bench_report, .init = set_up, .fini = tear_down);

/* ---- files ---- */

/* NUL-terminated; oct_free. NULL if there is none. */
static char *read_file(const char *name)
{
    char path[LINE];
    struct oct_file f = {0};
    char *text = NULL;
    size_t len;
    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    if (oct_file_open(path, &f) == OCT_OK) {
        cr_assert_eq(oct_file_slurp(&f, MAX_PAGE, &text, &len), OCT_OK);
        cr_assert_eq(strlen(text), len);
        oct_file_close(&f);
    }
    return text;
}

static json_t *quantiles(double middle)
{
    json_t *q = json_array();
    for (int i = 0; i <= 100; i++) {
        json_array_append_new(q, json_real(middle * (0.5 + i / 100.0)));
    }
    return q;
}

/* A point whose every number is told by `k`. */
static json_t *make_point(int concurrency, double rate, double k)
{
    json_t *o = json_pack(
        "{s:o, s:o, s:i, s:i, s:i, s:i, s:f, s:f, s:f, s:n, s:i, s:o, s:o, s:o, s:o, s:{s:f}}",
        "max_concurrency", concurrency ? json_integer(concurrency) : json_null(), "request_rate",
        rate > 0 ? json_real(rate) : json_string("inf"), "completed", (int)(100 * k), "failed", 3,
        "cut", 2, "timed_out", 1, "request_throughput", 1.25 * k, "output_throughput", 321.125 * k,
        "total_token_throughput", 642.5 * k, "request_goodput", "max_concurrent_requests", 77,
        "ttft_quantiles_ms", quantiles(40.5 * k), "tpot_quantiles_ms", quantiles(5.75 * k),
        "itl_quantiles_ms", quantiles(6.125 * k), "e2el_quantiles_ms", quantiles(812.5 * k),
        "client", "cpu_share", 0.031 * k);
    cr_assert_not_null(o);
    return o;
}

static json_t *make_result(const char *label, double k)
{
    json_t *points = json_array();
    for (int c = 1; c <= 64; c *= 4) { /* not in order */
        json_array_append_new(points, make_point(65 - c, 0, k * c));
    }
    json_array_append_new(points, make_point(0, 2.5, k));
    json_t *o = json_pack("{s:s, s:s, s:s, s:s, s:{s:s, s:f}, s:o}", "suite", "serve", "label",
                          label, "date", "2026-11-23T03:00:00Z", "model_id", "a<b>&\"c", "load",
                          "kind", "random", "range_ratio", 0.25, "points", points);
    cr_assert_not_null(o);
    return o;
}

static void save(const char *name, const json_t *o)
{
    char *text = json_dumps(o, 0);
    cr_assert_not_null(text);
    oct_test_write_file(dir, name, text, strlen(text));
    free(text);
}

/* octavo bench report dir/a.json [dir/b.json] flags */
static void report(struct spawned *s, const char *a, const char *b, const char *flags)
{
    char line[LINE];
    int n = snprintf(line, sizeof line, "bench|report|%s/%s", dir, a);
    if (b) {
        n += snprintf(line + n, sizeof line - (size_t)n, "|%s/%s", dir, b);
    }
    (void)snprintf(line + n, sizeof line - (size_t)n, "|-o|%s/page.html%s", dir, flags);
    spawn_line(s, line, NULL);
}

/* ---- what a page must be ---- */

/* Checks that elements are nested and closed, attributes quoted, references known: a page that
 * passes is XML after its first line. */
static void assert_well_formed(const char *page)
{
    static const char *const entities[] = {"amp;", "lt;", "gt;", "quot;", "#39;", "#8211;"};
    struct {
        const char *name;
        size_t len;
    } open[32];
    int depth = 0;
    const char *s = page;
    if (!strncmp(s, "<!DOCTYPE html>\n", 16)) {
        s += 16;
    }
    for (; *s; s++) {
        const int at = (int)(s - page);
        if (*s == '&') {
            bool known = false;
            for (size_t i = 0; i < sizeof entities / sizeof *entities; i++) {
                known = known || !strncmp(s + 1, entities[i], strlen(entities[i]));
            }
            cr_assert(known, "byte %d: %.20s", at, s);
        }
        cr_assert(*s != '>', "byte %d: a lone '>': %.20s", at, s);
        if (*s != '<') {
            cr_assert(depth > 0 || isspace((unsigned char)*s), "byte %d: text outside: %.20s", at,
                      s);
            continue;
        }
        const bool closes = s[1] == '/';
        const char *name = s + 1 + closes;
        size_t len = 0;
        while (isalnum((unsigned char)name[len])) {
            len++;
        }
        cr_assert(len > 0, "byte %d: %.20s", at, s);
        const char *end = name + len;
        while (*end && *end != '>') { /* attributes */
            if (*end == '"') {
                end = strchr(end + 1, '"');
                cr_assert_not_null(end, "byte %d: an attribute has no end", at);
            }
            cr_assert(*end != '<', "byte %d: %.40s", at, s);
            end++;
        }
        cr_assert(*end == '>', "byte %d: %.20s", at, s);
        if (closes) {
            depth--;
            cr_assert(depth >= 0 && open[depth].len == len && !memcmp(open[depth].name, name, len),
                      "byte %d: %.20s closes another", at, s);
        } else if (end[-1] != '/') {
            cr_assert_lt(depth, 32);
            open[depth].name = name;
            open[depth++].len = len;
        }
        s = end;
    }
    cr_assert_eq(depth, 0, "%d elements are open at the end", depth);
}

static void assert_self_contained(const char *page)
{
    static const char *const forbidden[] = {"<script", "<link",      "<iframe", "<img",
                                            "<object", " src=",      " href=",  "url(",
                                            "@import", "javascript:"};
    for (size_t i = 0; i < sizeof forbidden / sizeof *forbidden; i++) {
        cr_assert_null(strcasestr(page, forbidden[i]), "the page has %s", forbidden[i]);
    }
}

static double num(const json_t *o, const char *key)
{
    return json_number_value(json_object_get(o, key));
}

static double at(const json_t *o, const char *metric, size_t q)
{
    char key[64];
    (void)snprintf(key, sizeof key, "%s_quantiles_ms", metric);
    return json_number_value(json_array_get(json_object_get(o, key), q));
}

/* The row of a point, from the JSON, as the page must have it. */
static void assert_has_row(const char *page, const char *name, double x, const json_t *p)
{
    static const char *const metrics[] = {"ttft", "tpot", "itl", "e2el"};
    char row[LINE];
    int n = snprintf(row, sizeof row,
                     "<tr><th class=\"name\">%s</th><td>%.6g</td><td>%.0f</td><td>%.0f</td>"
                     "<td>%.0f</td><td>%.0f</td><td>%.2f</td><td>%.2f</td><td>%.2f</td>"
                     "<td>&#8211;</td>",
                     name, x, num(p, "completed"), num(p, "failed"), num(p, "cut"),
                     num(p, "timed_out"), num(p, "request_throughput"), num(p, "output_throughput"),
                     num(p, "total_token_throughput"));
    for (size_t i = 0; i < 4; i++) {
        n += snprintf(row + n, sizeof row - (size_t)n, "<td>%.2f</td><td>%.2f</td>",
                      at(p, metrics[i], 50), at(p, metrics[i], 99));
    }
    (void)snprintf(row + n, sizeof row - (size_t)n, "<td>%.1f</td></tr>\n",
                   100 * num(json_object_get(p, "client"), "cpu_share"));
    cr_assert(strstr(page, row), "no row %s", row);
}

static int count(const char *text, const char *what)
{
    int n = 0;
    for (const char *s = text; (s = strstr(s, what)); s += strlen(what)) {
        n++;
    }
    return n;
}

/* ---- tests ---- */

Test(bench_report, two_results_are_overlaid_with_the_numbers_that_they_have)
{
    struct spawned s;
    json_t *a = make_result("octavo", 1), *b = make_result("llama-server", 0.75);
    save("a.json", a);
    save("b.json", b);
    report(&s, "a.json", "b.json", "");
    cr_assert_eq(s.code, 0, "%s", s.err.data);
    cr_assert_eq(s.out.len, 0u);
    char *page = read_file("page.html");
    cr_assert_not_null(page);
    assert_well_formed(page);
    assert_self_contained(page);
    const json_t *results[] = {a, b};
    static const char *const names[] = {"octavo", "llama-server"};
    for (size_t r = 0; r < 2; r++) {
        const json_t *points = json_object_get(results[r], "points");
        for (size_t i = 0; i < json_array_size(points); i++) {
            const json_t *p = json_array_get(points, i);
            const json_t *rate = json_object_get(p, "request_rate");
            assert_has_row(
                page, names[r],
                json_is_number(rate) ? json_number_value(rate) : num(p, "max_concurrency"), p);
        }
    }
    /* Over concurrency and over the rate: throughput, four latencies, two distributions. */
    cr_assert_eq(count(page, "<svg "), 14);
    cr_assert_eq(count(page, "</svg>"), 14);
    /* Lines of two results: 2 of throughput, 2 x 2 x 4 of latencies, 2 x 2 of distributions. */
    cr_assert_eq(count(page, "<polyline "), 2 * (2 + 16 + 4));
    /* Dots tell what they are: four points over concurrency, one over the rate. */
    cr_assert_eq(count(page, "<circle "), (4 + 1) * (2 + 16));
    cr_assert(strstr(page, "<title>octavo at 61: 1284.5</title>"), "a dot's numbers");
    cr_assert(strstr(page, "a&lt;b&gt;&amp;&quot;c"), "the model's name");
    cr_assert(strstr(page, "prefers-color-scheme:dark"));
    oct_free(page);
    spawned_free(&s);
    json_decref(a);
    json_decref(b);
}

/* A file may say what it wants: it cannot put anything into the page but text. */
Test(bench_report, a_hostile_result_stays_text)
{
    static const char *const labels[] = {
        "<script>alert(1)</script>",
        "\"><img src=x onerror=y>",
        "a\x01\x1b[31m\xc2\x9b",
        "&#60;b&#62; ]]> <!-- -->",
        "",
        "very very very very very very very long \xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9"};
    for (size_t i = 0; i < sizeof labels / sizeof *labels; i++) {
        struct spawned s;
        json_t *a = make_result(labels[i], 1);
        json_t *p = json_array_get(json_object_get(a, "points"), 0);
        json_object_set_new(p, "output_throughput", json_string("<b>"));
        json_object_set_new(p, "ttft_quantiles_ms", json_string("x"));
        json_object_set_new(p, "tpot_quantiles_ms", json_pack("[f, n, s]", -1e308, "y"));
        json_object_set_new(p, "request_throughput", json_real(1e308));
        json_object_set_new(p, "completed", json_real(-1e300));
        json_object_set_new(p, "client", json_array());
        json_object_set_new(a, "date", json_pack("{s:s}", "a", "b"));
        save("a.json", a);
        report(&s, "a.json", "a.json", "");
        cr_assert_eq(s.code, 0, "%s: %s", labels[i], s.err.data);
        char *page = read_file("page.html");
        assert_well_formed(page);
        cr_assert_null(strstr(page, "<script"));
        cr_assert_null(strstr(page, "<img"));
        for (const char *c = page; *c; c++) {
            cr_assert(*c == '\n' || (unsigned char)*c >= ' ', "byte %d in the page", *c);
        }
        oct_free(page);
        spawned_free(&s);
        json_decref(a);
    }
}

Test(bench_report, any_numbers_make_a_page)
{
    static const double odd[] = {0, -1, 1e-300, 1e300, 5e-324, 1.7e308, 1, 1e9};
    enum { N = sizeof odd / sizeof *odd };
    for (size_t i = 0; i < N; i++) {
        for (size_t k = 0; k < N; k++) {
            const double x[] = {odd[i], 1, odd[k]}, y[] = {odd[k], odd[i], 2};
            for (int logs = 0; logs < 8; logs++) {
                struct oct_plot_line line = {.name = "n", .marks = true, .x = x, .y = y, .n = 3};
                const struct oct_plot p = {.id = "p",
                                           .title = "t",
                                           .x_label = "x",
                                           .y_label = "y",
                                           .log_x = logs & 1,
                                           .log_y = logs & 2,
                                           .ticks_at_x = logs & 4,
                                           .lines = &line,
                                           .n_lines = 1};
                struct oct_buf b = {.max_bytes = 1 << 20};
                cr_assert_eq(oct_plot_svg(&p, logs == 0, &b), OCT_OK, "%g, %g, %d", odd[i], odd[k],
                             logs);
                assert_well_formed(b.data);
                cr_assert_null(strstr(b.data, "nan"), "%g, %g, %d:\n%s", odd[i], odd[k], logs,
                               b.data);
                oct_buf_free(&b);
            }
        }
    }
}

Test(bench_report, what_is_no_result_is_named)
{
    static const struct {
        const char *text, *want;
    } row[] = {
        {"", "a.json"},
        {"[1]", "not a result"},
        {"{\"suite\": \"model\", \"points\": [{}]}", "not a result"},
        {"{\"suite\": \"serve\", \"points\": []}", "not a result"},
        {"{\"suite\": \"serve\"", "a.json"},
    };
    struct spawned s;
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        oct_test_write_file(dir, "a.json", row[i].text, strlen(row[i].text));
        report(&s, "a.json", NULL, "");
        cr_assert_eq(s.code, 2, "%s: %d %s", row[i].text, s.code, s.err.data);
        cr_assert(strstr(s.err.data, row[i].want), "%s: %s", row[i].text, s.err.data);
        spawned_free(&s);
    }
    cr_assert_null(read_file("page.html"), "a page of nothing");
    spawn_line(&s, "bench|report", NULL);
    cr_assert_eq(s.code, 2);
    cr_assert(strstr(s.err.data, "name 1 to"), "%s", s.err.data);
    spawned_free(&s);
    spawn_line(&s, "bench|report|x.json", NULL);
    cr_assert_eq(s.code, 2);
    cr_assert(strstr(s.err.data, "-o PAGE.html"), "%s", s.err.data);
    spawned_free(&s);
}

Test(bench_report, plots_are_files_too)
{
    struct spawned s;
    json_t *a = make_result("octavo", 1);
    save("a.json", a);
    json_decref(a);
    report(&s, "a.json", NULL, "|--plots");
    cr_assert_eq(s.code, 0, "%s", s.err.data);
    const bool has_png = strstr(s.err.data, "no PNG") == NULL;
    spawned_free(&s);
    static const char *const names[] = {"throughput", "ttft",      "tpot",         "itl",
                                        "e2el",       "ttft-dist", "rate-itl-dist"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char name[64];
        (void)snprintf(name, sizeof name, "page-%s.svg", names[i]);
        char *svg = read_file(name);
        cr_assert_not_null(svg, "no %s", name);
        assert_well_formed(svg);
        cr_assert(strstr(svg, " xmlns=\"http://www.w3.org/2000/svg\""), "%s", name);
        cr_assert_null(strstr(svg, "var("), "%s", name);
        oct_free(svg);
        if (!has_png) {
            continue;
        }
        char path[LINE];
        unsigned char head[24];
        (void)snprintf(path, sizeof path, "%s/page-%s.png", dir, names[i]);
        FILE *f = fopen(path, "rb");
        cr_assert_not_null(f, "no %s", path);
        cr_assert_eq(fread(head, 1, sizeof head, f), sizeof head);
        (void)fclose(f);
        cr_assert_eq(memcmp(head, "\x89PNG\r\n\x1a\n", 8), 0, "%s", path);
        cr_assert_eq(head[18] << 8 | head[19], 1280, "%s is %d wide", path,
                     head[18] << 8 | head[19]);
    }
    if (!has_png) {
        cr_skip_test("rsvg-convert is not installed: no PNG to look at");
    }
}
