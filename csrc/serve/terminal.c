/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/terminal.h"

#include "base/utf8.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

void oct_output_init(struct oct_output *o, int fd)
{
    *o = (struct oct_output){.fd = fd, .is_terminal = isatty(fd), .last_byte = '\n'};
}

void oct_output_deinit(struct oct_output *o)
{
    oct_buf_free(&o->safe);
}

/* Waits until a descriptor that somebody set non-blocking takes bytes again. */
static void wait_writable(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    (void)poll(&p, 1, 1000);
}

oct_status oct_output_write(struct oct_output *o, const char *data, size_t len)
{
    for (size_t done = 0; done < len;) {
        const ssize_t n = write(o->fd, data + done, len - done);
        if (n >= 0) {
            done += (size_t)n;
        } else if (errno == EAGAIN) {
            wait_writable(o->fd);
        } else if (errno != EINTR) {
            o->failed = true;
            o->closed = errno == EPIPE;
            return OCT_FAIL(OCT_E_IO, "the output cannot be written: %s", strerror(errno));
        }
    }
    if (len > 0) {
        o->last_byte = data[len - 1];
    }
    return OCT_OK;
}

oct_status oct_output_text(struct oct_output *o, const char *text, size_t len)
{
    if (!o->is_terminal) {
        return oct_output_write(o, text, len);
    }
    oct_buf_clear(&o->safe);
    size_t plain = 0; /* start of the bytes not copied yet */
    for (size_t i = 0; i < len; i++) {
        const unsigned char c = (unsigned char)text[i];
        const bool c0 = (c < 0x20 && c != '\n' && c != '\t') || c == 0x7f;
        const bool c1 = c == 0xc2 && i + 1 < len && (unsigned char)text[i + 1] < 0xa0;
        if (!c0 && !c1) {
            continue;
        }
        OCT_TRY(oct_buf_append(&o->safe, text + plain, i - plain));
        /* U+2400 is E2 90 80; U+2421 stands for 7F, U+FFFD for the second control block */
        char picture[3] = {'\xe2', '\x90', (char)(0x80 + (c == 0x7f ? 0x21 : c))};
        if (c1) {
            memcpy(picture, "\xef\xbf\xbd", 3);
        }
        OCT_TRY(oct_buf_append(&o->safe, picture, 3));
        i += c1;
        plain = i + 1;
    }
    if (plain == 0) {
        return oct_output_write(o, text, len);
    }
    OCT_TRY(oct_buf_append(&o->safe, text + plain, len - plain));
    return oct_output_write(o, o->safe.data, o->safe.len);
}

oct_status oct_output_json(struct oct_output *o, const json_t *value, bool indented)
{
    struct oct_buf text = {0};
    const size_t flags = JSON_REAL_PRECISION(7) | JSON_ENCODE_ANY | (indented ? JSON_INDENT(2) : 0);
    oct_status st;
    OCT_TRY_GOTO(oct_json_append(&text, value, flags), st, done);
    OCT_TRY_GOTO(oct_buf_append(&text, "\n", 1), st, done);
    st = oct_output_text(o, text.data, text.len);
done:
    oct_buf_free(&text);
    return st;
}

enum oct_exit oct_output_finish(struct oct_output *o, oct_status st)
{
    oct_output_deinit(o);
    if (st == OCT_OK) {
        return OCT_EXIT_OK;
    }
    if (o->closed) {
        return OCT_EXIT_PIPE;
    }
    const enum oct_exit code = oct_command_failed(st);
    return o->failed ? OCT_EXIT_OTHER : code;
}

void oct_note(const char *fmt, ...)
{
    char line[2048];
    va_list ap;
    va_start(ap, fmt);
    const int n = vsnprintf(line, sizeof line - 1, fmt, ap);
    va_end(ap);
    size_t len = n < 0 ? 0 : (size_t)n < sizeof line - 1 ? (size_t)n : sizeof line - 2;
    line[len++] = '\n';
    for (size_t done = 0; done < len;) { /* nobody to tell if this fails */
        const ssize_t written = write(2, line + done, len - done);
        if (written < 0 && errno != EINTR) {
            return;
        }
        done += written > 0 ? (size_t)written : 0;
    }
}

int oct_terminal_width(int fd, int fallback)
{
    struct winsize size;
    if (isatty(fd) && ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) {
        return size.ws_col;
    }
    return fallback;
}

bool oct_terminal_has_style(int fd)
{
    const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");
    return isatty(fd) && !(no_color && *no_color) && term && *term && strcmp(term, "dumb") != 0;
}

oct_status oct_input_slurp(int fd, struct oct_buf *out)
{
    for (;;) {
        OCT_TRY(oct_buf_reserve(out, 65536));
        const ssize_t n = read(fd, out->data + out->len, 65536);
        if (n == 0) {
            return OCT_OK;
        }
        if (n < 0) {
            return OCT_FAIL(errno == EINTR ? OCT_E_CANCELLED : OCT_E_IO,
                            "standard input cannot be read: %s", strerror(errno));
        }
        out->len += (size_t)n;
        out->data[out->len] = '\0';
        if (out->len > OCT_INPUT_MAX_BYTES) {
            return OCT_FAIL(OCT_E_LIMIT, "standard input holds more than %d MiB; give less text",
                            OCT_INPUT_MAX_BYTES >> 20);
        }
    }
}

oct_status oct_input_make_utf8(const char *s, size_t len, struct oct_buf *out)
{
    for (size_t at = 0; at < len;) {
        const size_t n = oct_utf8_len(s + at, len - at);
        OCT_TRY(n ? oct_buf_append(out, s + at, n) : oct_buf_append(out, "\xef\xbf\xbd", 3));
        at += n ? n : 1;
    }
    return OCT_OK;
}

oct_status oct_input_check_utf8(const char *what, const char *text, size_t len)
{
    for (size_t at = 0; at < len;) {
        const size_t n = oct_utf8_len(text + at, len - at);
        if (n == 0) {
            return OCT_FAIL(OCT_E_ARG, "%s is not UTF-8 at byte %zu (0x%02x); convert it first",
                            what, at, (unsigned)(unsigned char)text[at]);
        }
        at += n;
    }
    return OCT_OK;
}
