/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/line_input.h"

#include "serve/interrupt.h"
#include "serve/terminal.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

enum {
    TERMINAL_MAX_LINE = 4095, /* the kernel's line discipline drops what is typed beyond */
    PASTE_GAP_MS = 20,        /* nobody types the next line this soon */
};

void oct_line_input_init(struct oct_line_input *in, int fd)
{
    *in = (struct oct_line_input){.fd = fd};
}

void oct_line_input_deinit(struct oct_line_input *in)
{
    oct_buf_free(&in->pending);
}

static void show(const char *text)
{
    const ssize_t ignored = write(2, text, strlen(text)); /* a prompt that fails says nothing */
    (void)ignored;
}

static bool more_waits(const struct oct_line_input *in, int timeout_ms)
{
    struct pollfd p = {.fd = in->fd, .events = POLLIN};
    return in->pending.len > 0 || (poll(&p, 1, timeout_ms) == 1 && (p.revents & POLLIN));
}

/* Appends one line without its newline. */
static oct_status read_one(struct oct_line_input *in, struct oct_buf *line,
                           enum oct_line_result *result)
{
    for (;;) {
        char *end = in->pending.len ? memchr(in->pending.data, '\n', in->pending.len) : NULL;
        if (end) {
            const size_t len = (size_t)(end - in->pending.data);
            OCT_TRY(oct_buf_append(line, in->pending.data, len));
            in->pending.len -= len + 1;
            memmove(in->pending.data, end + 1, in->pending.len);
            if (len == TERMINAL_MAX_LINE && isatty(in->fd)) {
                oct_note("octavo: the terminal cuts lines at %d bytes, so the end of this one may "
                         "be missing; longer texts go through a file: octavo run MODEL < FILE",
                         TERMINAL_MAX_LINE);
            }
            *result = OCT_LINE_OK;
            return OCT_OK;
        }
        OCT_TRY(oct_buf_reserve(&in->pending, TERMINAL_MAX_LINE + 1));
        const ssize_t n = oct_interrupt_pending() ? -1
                                                  : read(in->fd, in->pending.data + in->pending.len,
                                                         TERMINAL_MAX_LINE + 1);
        if (oct_interrupt_take()) {
            oct_buf_clear(&in->pending);
            *result = OCT_LINE_INTERRUPTED;
            return OCT_OK;
        }
        if (n < 0 && errno == EINTR) { /* a stop and a continue, a resized window */
            continue;
        }
        if (n > 0) {
            in->pending.len += (size_t)n;
            continue;
        }
        /* An end in the middle of a line ends the line first; EIO is a terminal that has gone. */
        *result = in->pending.len > 0 && n == 0 ? OCT_LINE_OK : OCT_LINE_END;
        OCT_TRY(oct_buf_append(line, in->pending.data, in->pending.len));
        oct_buf_clear(&in->pending);
        return OCT_OK;
    }
}

static bool drop_backslash(struct oct_buf *line)
{
    if (line->len == 0 || line->data[line->len - 1] != '\\') {
        return false;
    }
    line->data[--line->len] = '\0';
    return true;
}

oct_status oct_line_input_read(struct oct_line_input *in, const char *prompt, struct oct_buf *line,
                               enum oct_line_result *result)
{
    oct_buf_clear(line);
    /* What was typed while an answer ran comes line by line: it is not a paste. */
    const bool typed_ahead = more_waits(in, 0);
    show(prompt);
    OCT_TRY(read_one(in, line, result));
    while (*result == OCT_LINE_OK) {
        const bool continued = drop_backslash(line);
        if (!continued && (typed_ahead || !more_waits(in, PASTE_GAP_MS))) {
            break;
        }
        if (continued && !more_waits(in, PASTE_GAP_MS)) {
            show(". ");
        }
        const size_t before = line->len;
        OCT_TRY(oct_buf_append(line, "\n", 1));
        OCT_TRY(read_one(in, line, result));
        if (*result == OCT_LINE_END) { /* the end shows again at the next reading */
            line->len = before;
            line->data[before] = '\0';
            *result = OCT_LINE_OK;
            break;
        }
    }
    return OCT_OK;
}
