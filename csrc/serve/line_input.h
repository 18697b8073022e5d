/* SPDX-License-Identifier: Apache-2.0
 *
 * line_input.h - what somebody types at a prompt: a line, or several when lines end in a backslash
 * or were pasted together. The terminal itself does the editing. */
#ifndef OCT_SERVE_LINE_INPUT_H
#define OCT_SERVE_LINE_INPUT_H

#include "base/mem.h"

struct oct_line_input {
    int fd;
    struct oct_buf pending; /* read, but past the end of the last line */
};

enum oct_line_result {
    OCT_LINE_OK,
    OCT_LINE_END,         /* Ctrl-D, or the terminal has gone */
    OCT_LINE_INTERRUPTED, /* Ctrl-C: what was typed is forgotten */
};

void oct_line_input_init(struct oct_line_input *in, int fd);
void oct_line_input_deinit(struct oct_line_input *in);

/* Prints `prompt` on standard error and reads what is typed into `line`, without the last newline.
 * Lines that arrive together after the prompt was shown are one text: a paste. */
OCT_CHECKED oct_status oct_line_input_read(struct oct_line_input *in, const char *prompt,
                                           struct oct_buf *line, enum oct_line_result *result);

#endif
