/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/bench_plot.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum {
    WIDTH = 640,
    HEIGHT = 320, /* without the legend */
    LEFT = 70,
    RIGHT = 20,
    TOP = 40,
    BOTTOM = 52,
    LEGEND_ROW = 20,
    LEGEND_COLUMNS = 2,
    MAX_TICKS = 16,
    LABEL_GAP = 34, /* pixels between tick labels on x */
};

#define SHAPES \
    ".plot text{font:12px system-ui,sans-serif;fill:var(--ink)}" \
    ".plot .title{font-size:14px;font-weight:600}.plot .soft{fill:var(--soft)}" \
    ".plot .grid{stroke:var(--grid);stroke-width:1}.plot .axis{stroke:var(--soft)}" \
    ".plot .line{fill:none;stroke-width:2;stroke-linejoin:round}" \
    ".plot .dash{stroke-dasharray:6 4}"

const char oct_plot_css[] =
    ":root{--paper:#fff;--ink:#1b1f24;--soft:#656d76;--grid:#e3e7eb;--row:#f6f8fa;"
    "--s0:#1f6feb;--s1:#d9480f;--s2:#2b8a3e;--s3:#9c36b5;--s4:#0b7285;--s5:#c2255c;--s6:#846358;"
    "--s7:#5c940d}"
    "@media(prefers-color-scheme:dark){:root{--paper:#0f1318;--ink:#e6e9ec;--soft:#9aa4ae;"
    "--grid:#2a313a;--row:#171c23;--s0:#6ea8fe;--s1:#ff922b;--s2:#69db7c;--s3:#da77f2;"
    "--s4:#3bc9db;--s5:#f783ac;--s6:#d0b8a8;--s7:#c0eb75}}" SHAPES
    ".s0{stroke:var(--s0)}.s1{stroke:var(--s1)}.s2{stroke:var(--s2)}.s3{stroke:var(--s3)}"
    ".s4{stroke:var(--s4)}.s5{stroke:var(--s5)}.s6{stroke:var(--s6)}.s7{stroke:var(--s7)}"
    ".f0{fill:var(--s0)}.f1{fill:var(--s1)}.f2{fill:var(--s2)}.f3{fill:var(--s3)}"
    ".f4{fill:var(--s4)}.f5{fill:var(--s5)}.f6{fill:var(--s6)}.f7{fill:var(--s7)}";

/* Renderers of SVG files know no variables. */
static const char alone_css[] =
    ".plot text{font:12px sans-serif;fill:#1b1f24}.plot .title{font-size:14px;font-weight:600}"
    ".plot .soft{fill:#656d76}.plot .grid{stroke:#e3e7eb;stroke-width:1}.plot .axis{stroke:#656d76}"
    ".plot .line{fill:none;stroke-width:2;stroke-linejoin:round}.plot .dash{stroke-dasharray:6 4}"
    ".s0{stroke:#1f6feb}.s1{stroke:#d9480f}.s2{stroke:#2b8a3e}.s3{stroke:#9c36b5}"
    ".s4{stroke:#0b7285}.s5{stroke:#c2255c}.s6{stroke:#846358}.s7{stroke:#5c940d}"
    ".f0{fill:#1f6feb}.f1{fill:#d9480f}.f2{fill:#2b8a3e}.f3{fill:#9c36b5}"
    ".f4{fill:#0b7285}.f5{fill:#c2255c}.f6{fill:#846358}.f7{fill:#5c940d}";

oct_status oct_plot_escape(struct oct_buf *out, const char *text)
{
    static const struct {
        char c;
        const char *as;
    } names[] = {{'&', "&amp;"}, {'<', "&lt;"}, {'>', "&gt;"}, {'"', "&quot;"}, {'\'', "&#39;"}};
    for (const char *s = text; *s; s++) {
        const char *as = (unsigned char)*s < 0x20 || *s == 0x7f ? "?" : NULL;
        for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
            as = *s == names[i].c ? names[i].as : as;
        }
        OCT_TRY(as ? oct_buf_append(out, as, strlen(as)) : oct_buf_append(out, s, 1));
    }
    return OCT_OK;
}

/* ---- axes ---- */

struct axis {
    bool log;
    double min, max;
    double from, to; /* pixels */
    double ticks[MAX_TICKS];
    int n_ticks;
};

/* Figures of a measurement are in this range by far; a file may hold any. */
static bool fits(const struct axis *a, double v)
{
    return isfinite(v) && fabs(v) <= 1e15 && (!a->log || v >= 1e-9);
}

static double place(const struct axis *a, double v)
{
    const double span = a->log ? log(a->max / a->min) : a->max - a->min;
    const double at = a->log ? log(v / a->min) : v - a->min;
    return a->from + (span > 0 ? (a->to - a->from) * at / span : 0);
}

static void add_tick(struct axis *a, double v)
{
    if (a->n_ticks < MAX_TICKS && v >= a->min * (1 - 1e-9) && v <= a->max * (1 + 1e-9)) {
        a->ticks[a->n_ticks++] = v;
    }
}

static void linear_axis(struct axis *a)
{
    a->min = a->min < 0 ? a->min : 0;
    a->max = a->max > a->min ? a->max : a->min + 1;
    double step = pow(10, floor(log10((a->max - a->min) / 5)));
    const double wish = (a->max - a->min) / 5 / step;
    step *= wish <= 1 ? 1 : wish <= 2 ? 2 : wish <= 5 ? 5 : 10;
    a->max = ceil(a->max / step - 1e-9) * step;
    for (double v = ceil(a->min / step) * step; v <= a->max + step / 2; v += step) {
        add_tick(a, v);
    }
}

/* Ends at 1, 2 or 5 times a power of ten; ticks there, or at powers of ten if those are many. */
static void log_axis(struct axis *a)
{
    static const double parts[] = {1, 2, 5};
    const double low = a->min, high = a->max;
    a->max = 0;
    for (double decade = pow(10, floor(log10(low))); a->max == 0; decade *= 10) {
        for (int i = 0; i < 3 && a->max == 0; i++) {
            const double v = decade * parts[i];
            a->min = v <= low * (1 + 1e-9) ? v : a->min;
            a->max = v >= high * (1 - 1e-9) && v > a->min ? v : 0;
        }
    }
    const bool dense = log10(a->max / a->min) <= 3.1;
    for (double decade = pow(10, floor(log10(a->min) + 1e-9)); decade <= a->max * (1 + 1e-9);
         decade *= 10) {
        for (int i = 0; i < (dense ? 3 : 1); i++) {
            add_tick(a, decade * parts[i]);
        }
    }
}

static void find_range(const struct oct_plot *p, bool of_x, struct axis *a)
{
    bool any = false;
    for (size_t l = 0; l < p->n_lines; l++) {
        for (size_t i = 0; i < p->lines[l].n; i++) {
            const double v = of_x ? p->lines[l].x[i] : p->lines[l].y[i];
            if (fits(a, v)) {
                a->min = any && a->min < v ? a->min : v;
                a->max = any && a->max > v ? a->max : v;
                any = true;
            }
        }
    }
    if (!any) {
        a->min = 1;
        a->max = 10;
    }
}

/* Each x of the lines once, as far as there is room. */
static void ticks_at_points(const struct oct_plot *p, struct axis *a)
{
    a->n_ticks = 0;
    for (size_t l = 0; l < p->n_lines; l++) {
        for (size_t i = 0; i < p->lines[l].n; i++) {
            const double v = p->lines[l].x[i];
            bool free = fits(a, v);
            for (int k = 0; k < a->n_ticks; k++) {
                free = free && fabs(place(a, a->ticks[k]) - place(a, v)) >= LABEL_GAP;
            }
            if (free) {
                add_tick(a, v);
            }
        }
    }
}

static void make_x(const struct oct_plot *p, struct axis *a)
{
    *a = (struct axis){.log = p->log_x, .from = LEFT, .to = WIDTH - RIGHT};
    find_range(p, true, a);
    if (p->ticks_at_x && a->max > a->min) { /* from the first to the last */
        const double room = a->log ? pow(a->max / a->min, 0.03) : (a->max - a->min) * 0.03;
        a->min = a->log ? a->min / room : a->min - room;
        a->max = a->log ? a->max * room : a->max + room;
        ticks_at_points(p, a);
    } else if (p->ticks_at_x) {
        const double only = a->min;
        a->min = only > 0 ? only / 2 : only - 1;
        a->max = only > 0 ? only * 2 : only + 1;
        add_tick(a, only);
    } else if (a->log) {
        log_axis(a);
    } else {
        linear_axis(a);
    }
}

static void make_y(const struct oct_plot *p, struct axis *a)
{
    *a = (struct axis){.log = p->log_y, .from = HEIGHT - BOTTOM, .to = TOP};
    find_range(p, false, a);
    if (p->y_max > 0) {
        a->max = p->y_max;
    }
    if (a->log) {
        log_axis(a);
    } else {
        linear_axis(a);
    }
}

/* ---- drawing ---- */

static oct_status draw_text(struct oct_buf *out, const char *class, double x, double y,
                            const char *anchor, const char *text)
{
    OCT_TRY(oct_buf_printf(out, "<text class=\"%s\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">",
                           class, x, y, anchor));
    OCT_TRY(oct_plot_escape(out, text));
    return oct_buf_printf(out, "</text>\n");
}

static oct_status draw_frame(const struct oct_plot *p, const struct axis *x, const struct axis *y,
                             struct oct_buf *out)
{
    char label[32];
    OCT_TRY(draw_text(out, "title", LEFT, 20, "start", p->title));
    for (int i = 0; i < y->n_ticks; i++) {
        const double at = place(y, y->ticks[i]);
        (void)snprintf(label, sizeof label, "%.6g", y->ticks[i]);
        OCT_TRY(oct_buf_printf(
            out, "<line class=\"grid\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>\n",
            x->from, x->to, at, at));
        OCT_TRY(draw_text(out, "soft", LEFT - 8, at + 4, "end", label));
    }
    OCT_TRY(oct_buf_printf(
        out, "<line class=\"axis\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>\n", x->from,
        x->to, y->from, y->from));
    for (int i = 0; i < x->n_ticks; i++) {
        const double at = place(x, x->ticks[i]);
        (void)snprintf(label, sizeof label, "%.6g", x->ticks[i]);
        OCT_TRY(oct_buf_printf(
            out, "<line class=\"axis\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>\n", at, at,
            y->from, y->from + 4));
        OCT_TRY(draw_text(out, "soft", at, y->from + 18, "middle", label));
    }
    OCT_TRY(draw_text(out, "soft", (x->from + x->to) / 2, y->from + 38, "middle", p->x_label));
    OCT_TRY(oct_buf_printf(out,
                           "<text class=\"soft\" transform=\"translate(14 %.1f) rotate(-90)\" "
                           "text-anchor=\"middle\">",
                           (y->from + y->to) / 2));
    OCT_TRY(oct_plot_escape(out, p->y_label));
    return oct_buf_printf(out, "</text>\n");
}

static oct_status draw_line(const struct oct_plot_line *l, const struct axis *x,
                            const struct axis *y, struct oct_buf *out)
{
    const int colour = l->colour % OCT_PLOT_COLOURS;
    bool any = false;
    OCT_TRY(oct_buf_printf(out, "<polyline class=\"line s%d%s\" points=\"", colour,
                           l->dashed ? " dash" : ""));
    for (size_t i = 0; i < l->n; i++) {
        if (fits(x, l->x[i]) && fits(y, l->y[i])) {
            OCT_TRY(oct_buf_printf(out, "%s%.1f,%.1f", any ? " " : "", place(x, l->x[i]),
                                   place(y, l->y[i])));
            any = true;
        }
    }
    OCT_TRY(oct_buf_printf(out, "\"/>\n"));
    for (size_t i = 0; l->marks && i < l->n; i++) {
        if (fits(x, l->x[i]) && fits(y, l->y[i])) {
            OCT_TRY(oct_buf_printf(
                out, "<circle class=\"f%d\" cx=\"%.1f\" cy=\"%.1f\" r=\"%s\"><title>", colour,
                place(x, l->x[i]), place(y, l->y[i]), l->dashed ? "2.5" : "3.5"));
            OCT_TRY(oct_plot_escape(out, l->name ? l->name : ""));
            OCT_TRY(oct_buf_printf(out, " at %.6g: %.6g</title></circle>\n", l->x[i], l->y[i]));
        }
    }
    return OCT_OK;
}

static oct_status draw_legend(const struct oct_plot *p, struct oct_buf *out)
{
    int n = 0;
    for (size_t i = 0; i < p->n_lines; i++) {
        const struct oct_plot_line *l = &p->lines[i];
        if (!l->name) {
            continue;
        }
        const double x = LEFT + (n % LEGEND_COLUMNS) * ((WIDTH - LEFT) / LEGEND_COLUMNS);
        const double y = HEIGHT + (n / LEGEND_COLUMNS) * LEGEND_ROW + 6.0;
        char name[40];
        const size_t len = strlen(l->name);
        (void)snprintf(name, sizeof name, "%s", l->name);
        if (len >= sizeof name) { /* cut before a character, not in it */
            size_t end = sizeof name - 4;
            while (end > 0 && ((unsigned char)l->name[end] & 0xc0) == 0x80) {
                end--;
            }
            (void)snprintf(name + end, sizeof name - end, "...");
        }
        OCT_TRY(oct_buf_printf(
            out, "<line class=\"line s%d%s\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>\n",
            l->colour % OCT_PLOT_COLOURS, l->dashed ? " dash" : "", x, x + 28, y, y));
        OCT_TRY(draw_text(out, "", x + 36, y + 4, "start", name));
        n++;
    }
    return OCT_OK;
}

oct_status oct_plot_svg(const struct oct_plot *p, bool standalone, struct oct_buf *out)
{
    struct axis x, y;
    size_t n_named = 0;
    for (size_t i = 0; i < p->n_lines; i++) {
        n_named += p->lines[i].name != NULL;
    }
    const size_t rows = (n_named + LEGEND_COLUMNS - 1) / LEGEND_COLUMNS;
    const int height = HEIGHT + (int)rows * LEGEND_ROW;
    make_x(p, &x);
    make_y(p, &y);
    OCT_TRY(oct_buf_printf(out,
                           "<svg class=\"plot\" id=\"plot-%s\" viewBox=\"0 0 %d %d\" role=\"img\"",
                           p->id, WIDTH, height));
    if (standalone) {
        OCT_TRY(oct_buf_printf(out,
                               " xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" "
                               "height=\"%d\"><style>%s</style>\n"
                               "<rect width=\"%d\" height=\"%d\" fill=\"#fff\"/>\n",
                               WIDTH, height, alone_css, WIDTH, height));
    } else {
        OCT_TRY(oct_buf_printf(out, ">\n"));
    }
    OCT_TRY(draw_frame(p, &x, &y, out));
    for (size_t i = 0; i < p->n_lines; i++) {
        OCT_TRY(draw_line(&p->lines[i], &x, &y, out));
    }
    OCT_TRY(draw_legend(p, out));
    return oct_buf_printf(out, "</svg>\n");
}
