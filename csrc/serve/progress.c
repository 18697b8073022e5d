/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/progress.h"

#include "serve/format.h"
#include "serve/terminal.h"

#include "base/clock.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
    QUIET_US = 100 * 1000, /* a load this quick shows nothing */
    REDRAW_US = 50 * 1000,
    MAX_COLUMNS = 100,
    BAR_MAX = 40,
};

void oct_progress_init(struct oct_progress *p)
{
    *p = (struct oct_progress){.enabled = oct_terminal_has_style(2), .start_us = oct_clock_us()};
}

size_t oct_progress_line(char *dst, size_t size, int columns, uint64_t done_bytes,
                         uint64_t total_bytes, int64_t elapsed_us)
{
    char done[OCT_FORMAT_BYTES], total[OCT_FORMAT_BYTES], rate[OCT_FORMAT_BYTES], tail[128];
    done_bytes = done_bytes < total_bytes ? done_bytes : total_bytes;
    const double part = total_bytes ? (double)done_bytes / (double)total_bytes : 1;
    const double per_s = elapsed_us > 0 ? (double)done_bytes * 1e6 / (double)elapsed_us : 0;
    (void)snprintf(tail, sizeof tail, " %3d %%  %s of %s  %s/s", (int)(100 * part),
                   oct_format_size(done, done_bytes), oct_format_size(total, total_bytes),
                   oct_format_size(rate, (uint64_t)per_s));

    static const char head[] = "loading ";
    columns = columns < MAX_COLUMNS ? columns : MAX_COLUMNS;
    int width = columns - 1 - (int)(sizeof head - 1) - (int)strlen(tail) - 2;
    width = width < BAR_MAX ? width : BAR_MAX;
    char bar[BAR_MAX + 1] = "";
    for (int i = 0; i < width; i++) {
        bar[i] = i < (int)(part * width) ? '#' : '.';
    }
    const int n = width >= 8 ? snprintf(dst, size, "%s[%.*s]%s", head, width, bar, tail)
                             : snprintf(dst, size, "%s%d %%", head, (int)(100 * part));
    return n < 0 ? 0 : (size_t)n < size ? (size_t)n : size - 1;
}

static void draw(const char *text, size_t len)
{
    char line[256];
    const int n = snprintf(line, sizeof line, "\r%.*s\x1b[K", (int)len, text);
    const ssize_t ignored = write(2, line, (size_t)n); /* the next redraw mends it */
    (void)ignored;
}

void oct_progress_update(struct oct_progress *p, uint64_t done_bytes, uint64_t total_bytes)
{
    const int64_t now = oct_clock_us();
    if (!p->enabled || now - p->start_us < QUIET_US || now - p->drawn_us < REDRAW_US) {
        return;
    }
    char text[160];
    const size_t len = oct_progress_line(text, sizeof text, oct_terminal_width(2, 80), done_bytes,
                                         total_bytes, now - p->start_us);
    draw(text, len);
    p->drawn_us = now;
    p->shown = true;
}

void oct_progress_finish(struct oct_progress *p)
{
    if (p->shown) {
        draw("", 0);
        p->shown = false;
    }
}

void oct_progress_draw_bar(double part, const char *text)
{
    enum { WIDTH = 16 };
    char line[200], bar[WIDTH + 1] = "";
    for (int i = 0; i < WIDTH; i++) {
        bar[i] = i < (int)(part * WIDTH) ? '#' : '.';
    }
    const int n = snprintf(line, sizeof line, "[%s] %s", bar, text);
    const int columns = oct_terminal_width(2, 80) - 1;
    draw(line, (size_t)(n < columns ? n : columns));
}

void oct_progress_erase_bar(void)
{
    draw("", 0);
}
