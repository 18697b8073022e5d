/* SPDX-License-Identifier: Apache-2.0 */
#include "base/status.h"

#include "base/utf8.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ERROR_BYTES = 1024 };

static _Thread_local char error_text[ERROR_BYTES];

const char *oct_status_text(oct_status st)
{
    switch (st) {
#define STATUS_TEXT(name, value, text) \
    case name: \
        return text;
        OCT_STATUS_MAP(STATUS_TEXT)
#undef STATUS_TEXT
    }
    return "unknown status";
}

const char *oct_last_error(void)
{
    return error_text;
}

const char *oct_version(void)
{
    return OCT_VERSION;
}

oct_status oct_fail_(oct_status st, const char *file, int line, const char *fmt, ...)
{
    (void)file; /* kept in the signature: a debugger at this line knows where the failure began */
    (void)line;
    char text[ERROR_BYTES]; /* arguments may point into error_text */
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    memcpy(error_text, text, sizeof error_text);
    return st;
}

void oct_error_prefix(const char *fmt, ...)
{
    char text[ERROR_BYTES];
    va_list ap;
    va_start(ap, fmt);
    const int n = vsnprintf(text, sizeof text / 2, fmt, ap);
    va_end(ap);
    size_t used = n < 0 ? 0 : (size_t)n < sizeof text / 2 ? (size_t)n : sizeof text / 2 - 1;
    text[used++] = ':';
    text[used++] = ' ';
    const size_t len = strnlen(error_text, sizeof error_text - used - 1);
    memcpy(text + used, error_text, len);
    text[used + len] = '\0';
    memcpy(error_text, text, used + len + 1);
}

void oct_error_clear(void)
{
    error_text[0] = '\0';
}

const char *oct_error_quote(char *dst, size_t size, const char *text, size_t len)
{
    OCT_ASSERT(size >= 8);
    const unsigned char *s = (const unsigned char *)text;
    size_t at = 0;
    for (size_t i = 0; i < len;) {
        size_t n = oct_utf8_len(text + i, len - i);
        if (at + (n ? n : 1) + 4 > size) { /* room for "..." and the end */
            memcpy(dst + at, "...", 3);
            at += 3;
            break;
        }
        if (n == 0 || s[i] < 0x20 || s[i] == 0x7f) {
            dst[at++] = '?';
            i++;
            continue;
        }
        memcpy(dst + at, s + i, n);
        at += n;
        i += n;
    }
    dst[at] = '\0';
    return dst;
}

void oct_assert_failed_(const char *cond, const char *file, int line)
{
    (void)fprintf(stderr, "octavo: assertion failed: %s (%s:%d)\n", cond, file, line);
    abort();
}
