/* SPDX-License-Identifier: Apache-2.0
 *
 * terminal.h - what is written to and read from the user: whole writes, terminals kept safe from
 * the bytes of a model, lines read so that Ctrl-C is seen. */
#ifndef OCT_SERVE_TERMINAL_H
#define OCT_SERVE_TERMINAL_H

#include "serve/command.h"

#include "base/json.h"

struct oct_output {
    int fd;
    bool is_terminal;
    bool failed;    /* a write failed; all the program can do is end */
    bool closed;    /* because the reader has gone */
    char last_byte; /* of all that was written; '\n' before the first */
    struct oct_buf safe;
};

void oct_output_init(struct oct_output *o, int fd);
void oct_output_deinit(struct oct_output *o);

/* Writes all of data as it is. OCT_E_IO, with o->closed set if nobody reads any more. */
OCT_CHECKED oct_status oct_output_write(struct oct_output *o, const char *data, size_t len);

/* The same for UTF-8 text out of a model or a file: on a terminal, control characters other than
 * newline and tab are shown as pictures (U+2400 + c), so that no escape sequence gets through. */
OCT_CHECKED oct_status oct_output_text(struct oct_output *o, const char *text, size_t len);

/* One JSON value and a newline; control characters never come out of it raw. */
OCT_CHECKED oct_status oct_output_json(struct oct_output *o, const json_t *value, bool indented);

/* Ends a command that has only printed: frees o; the exit code of st, after its sentence. Silent if
 * the reader has gone. */
enum oct_exit oct_output_finish(struct oct_output *o, oct_status st);

/* One line on standard error. What does not fit in 2,000 bytes is cut. */
__attribute__((format(printf, 1, 2))) void oct_note(const char *fmt, ...);

/* Columns of the terminal at fd; `fallback` if it is none. */
int oct_terminal_width(int fd, int fallback);
/* fd is a terminal that may be sent escape sequences: TERM is not dumb, NO_COLOR is not set. */
bool oct_terminal_has_style(int fd);

enum { OCT_INPUT_MAX_BYTES = 64 << 20 };

/* Reads fd to its end, appending to out. OCT_E_LIMIT over OCT_INPUT_MAX_BYTES. */
OCT_CHECKED oct_status oct_input_slurp(int fd, struct oct_buf *out);

/* Appends s[len] with each byte that is no UTF-8 as U+FFFD. */
OCT_CHECKED oct_status oct_input_make_utf8(const char *s, size_t len, struct oct_buf *out);

/* A text that is UTF-8, or a sentence that says at which byte it is not. `what`: "the prompt". */
OCT_CHECKED oct_status oct_input_check_utf8(const char *what, const char *text, size_t len);

#endif
