/* SPDX-License-Identifier: Apache-2.0
 *
 * bench_plot.h - lines over two axes as SVG, for a page of ours or as a file by itself. */
#ifndef OCT_SERVE_BENCH_PLOT_H
#define OCT_SERVE_BENCH_PLOT_H

#include "base/mem.h"

struct oct_plot_line {
    const char *name; /* in the legend; NULL: not there */
    int colour;       /* any number; those that are equal modulo OCT_PLOT_COLOURS look alike */
    bool dashed;
    bool marks;          /* a dot at each point that tells its numbers */
    const double *x, *y; /* [n]; what is not finite is left out, as is <= 0 on a log axis */
    size_t n;
};
struct oct_plot {
    const char *id; /* a word, for file names */
    const char *title, *x_label, *y_label;
    bool log_x, log_y;
    bool ticks_at_x; /* x has few values: name each */
    double y_max;    /* the axis ends there; 0: where the lines do */
    struct oct_plot_line *lines;
    size_t n_lines;
};
enum { OCT_PLOT_COLOURS = 8 };

/* Appends the <svg>. standalone: with its own style, in light colours; otherwise classes for
 * oct_plot_css. */
OCT_CHECKED oct_status oct_plot_svg(const struct oct_plot *p, bool standalone, struct oct_buf *out);
extern const char oct_plot_css[]; /* light and dark */

/* Appends text as XML has it; what XML forbids becomes '?'. */
OCT_CHECKED oct_status oct_plot_escape(struct oct_buf *out, const char *text);

#endif
