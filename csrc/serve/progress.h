/* SPDX-License-Identifier: Apache-2.0
 *
 * progress.h - the line that shows how far loading is, on a terminal only; erased at the end. */
#ifndef OCT_SERVE_PROGRESS_H
#define OCT_SERVE_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct oct_progress {
    bool enabled;
    bool shown;
    int64_t start_us, drawn_us;
};

void oct_progress_init(struct oct_progress *p); /* enabled if standard error is a terminal */
void oct_progress_update(struct oct_progress *p, uint64_t done_bytes, uint64_t total_bytes);
void oct_progress_finish(struct oct_progress *p);

/* The line's text for a terminal of `columns`, NUL-terminated, for at most size - 1 bytes; returns
 * its length. */
size_t oct_progress_line(char *dst, size_t size, int columns, uint64_t done_bytes,
                         uint64_t total_bytes, int64_t elapsed_us);

/* Another bar on the last line of the terminal: part 0..1, and the text behind it. */
void oct_progress_draw_bar(double part, const char *text);
void oct_progress_erase_bar(void);

#endif
