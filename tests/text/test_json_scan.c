/* SPDX-License-Identifier: Apache-2.0
 *
 * Walking over JSON many bytes at a time, against twins that read one byte after the other. */
#include "text/json_scan.h"

#include "base/mem.h"

#include <criterion/criterion.h>
#include <string.h>

static uint64_t state = 7;
static uint32_t below(uint32_t n)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((state >> 33) % n);
}

static const char *twin_string(const char *p, const char *end)
{
    for (; p < end; p++) {
        if (*p == '"') {
            return p + 1;
        }
        p += *p == '\\';
    }
    return NULL;
}

static const char *twin_nested(const char *p, const char *end, size_t *n_strings)
{
    size_t depth = 0;
    *n_strings = 0;
    while (p < end) {
        const char c = *p++;
        if (c == '"') {
            ++*n_strings;
            p = twin_string(p, end);
            if (!p) {
                return NULL;
            }
        } else if (c == '{' || c == '[') {
            depth++;
        } else if ((c == '}' || c == ']') && --depth == 0) {
            return p;
        }
    }
    return NULL;
}

static size_t twin_plain(const char *p, size_t n)
{
    size_t i = 0;
    while (i < n && p[i] != '"' && p[i] != '\\' && (unsigned char)p[i] >= 0x20) {
        i++;
    }
    return i;
}

/* Bytes in runs, with what matters often or seldom, ended exactly where the memory ends. */
static char *random_json(size_t n, bool escapes)
{
    static const char telling[] = "\"\"\"\"{}[]{}[],: \n\\";
    char *text = oct_malloc(n), c = 'x';
    cr_assert_not_null(text);
    const uint32_t rare = 2 + below(30);
    for (size_t i = 0; i < n; i++) {
        if (below(rare) == 0) {
            c = telling[below(sizeof telling - (escapes ? 1 : 2))];
        } else if (below(3) == 0) {
            c = (char)below(256);
            c = c == '\\' && !escapes ? 'y' : c;
        }
        text[i] = c;
    }
    text[0] = below(2) ? '{' : '[';
    return text;
}

Test(json_scan, walks_end_where_their_twins_end)
{
    size_t n_closed = 0;
    for (int i = 0; i < 60000; i++) {
        const size_t n = 1 + below(i % 8 ? 300 : 3000);
        char *text = random_json(n, i & 1);
        const char *end = text + n;
        size_t got_strings = 99, want_strings;
        const char *want = twin_nested(text, end, &want_strings);
        const char *got = oct_json_past_nested(text, end, &got_strings);
        cr_assert_eq(got, want, "%d: %zd, want %zd of %zu", i, got ? got - text : -1,
                     want ? want - text : -1, n);
        cr_assert(!want || got_strings == want_strings, "%d: %zu strings, want %zu", i, got_strings,
                  want_strings);
        n_closed += want != NULL;
        const size_t at = below((uint32_t)n);
        cr_assert_eq(oct_json_past_string(text + at, end), twin_string(text + at, end), "%d", i);
        cr_assert_eq((size_t)(oct_json_past_plain(text + at, end) - (text + at)),
                     twin_plain(text + at, n - at), "%d", i);
        oct_free(text);
    }
    cr_assert_gt(n_closed, 5000u, "%zu", n_closed);
}

Test(json_scan, white_space_is_that_of_json)
{
    char text[100];
    for (int i = 0; i < 20000; i++) {
        const size_t n = below(sizeof text), spaces = n ? below((uint32_t)n) : 0;
        for (size_t k = 0; k < n; k++) {
            text[k] = k < spaces ? " \n\r\t"[below(4)] : (char)below(256);
        }
        size_t want = spaces;
        while (want < n && text[want] && strchr(" \n\r\t", text[want])) {
            want++;
        }
        cr_assert_eq((size_t)(oct_json_past_space(text, text + n) - text), want, "%d", i);
    }
}
