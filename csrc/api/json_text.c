/* SPDX-License-Identifier: Apache-2.0 */
#include "api/json_text.h"

#include "base/utf8.h"

#include <math.h>
#include <string.h>

static oct_status escape(struct oct_buf *out, unsigned char c)
{
    switch (c) {
    case '"':
        return oct_buf_append(out, "\\\"", 2);
    case '\\':
        return oct_buf_append(out, "\\\\", 2);
    case '\n':
        return oct_buf_append(out, "\\n", 2);
    case '\r':
        return oct_buf_append(out, "\\r", 2);
    case '\t':
        return oct_buf_append(out, "\\t", 2);
    default:
        return oct_buf_printf(out, "\\u%04x", c);
    }
}

oct_status oct_json_text(struct oct_buf *out, const char *text, size_t len)
{
    const unsigned char *s = (const unsigned char *)text;
    OCT_TRY(oct_buf_reserve(out, len + 2));
    OCT_TRY(oct_buf_append(out, "\"", 1));
    size_t from = 0, i = 0;
    while (i < len) {
        const size_t n = oct_utf8_len(text + i, len - i);
        if (n > 1 || (n == 1 && s[i] >= 0x20 && s[i] != '"' && s[i] != '\\' && s[i] != 0x7f)) {
            i += n;
            continue;
        }
        OCT_TRY(oct_buf_append(out, text + from, i - from));
        OCT_TRY(n == 0 ? oct_buf_append(out, "\xef\xbf\xbd", 3) : escape(out, s[i]));
        from = ++i;
    }
    OCT_TRY(oct_buf_append(out, text + from, len - from));
    return oct_buf_append(out, "\"", 1);
}

oct_status oct_json_logprob(struct oct_buf *out, float x)
{
    return isfinite(x) ? oct_buf_printf(out, "%.9g", (double)x) : oct_buf_append(out, "-9999", 5);
}

size_t oct_utf8_chars(const char *s, size_t len)
{
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        n += ((unsigned char)s[i] & 0xc0) != 0x80;
    }
    return n;
}
