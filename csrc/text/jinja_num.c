/* SPDX-License-Identifier: Apache-2.0 */
#include "text/jinja_num.h"

#include "text/jinja_utf8.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The decimal separator of the C locale in force: the library cannot know what its host set. */
static size_t separator(char dst[8])
{
    char text[16];
    const int n = snprintf(text, sizeof text, "%.1f", 0.5);
    const size_t len = n > 2 ? (size_t)n - 2 : 0;
    if (len == 0 || len >= 8) {
        dst[0] = '.';
        return 1;
    }
    memcpy(dst, text + 1, len);
    return len;
}

int oct_jnum_print(char *dst, size_t size, char conv, int precision, double f, bool alternate)
{
    char fmt[8] = {'%'};
    size_t at = 1;
    if (alternate) {
        fmt[at++] = '#';
    }
    fmt[at++] = '.';
    fmt[at++] = '*';
    fmt[at++] = conv;
    const int n = snprintf(dst, size, fmt, precision, f);
    if (n <= 0 || (size_t)n >= size) {
        return n;
    }
    char sep[8];
    const size_t sep_len = separator(sep);
    char *p = sep_len == 1 && sep[0] == '.' ? NULL : memmem(dst, (size_t)n, sep, sep_len);
    if (!p) {
        return n;
    }
    *p = '.';
    memmove(p + 1, p + sep_len, (size_t)(dst + n - (p + sep_len)) + 1);
    return n - (int)(sep_len - 1);
}

/* strtod on text that uses a point. */
static bool to_double(const char *s, size_t len, double *out)
{
    char buf[512], sep[8];
    const size_t sep_len = separator(sep);
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        if (n + sep_len + 1 >= sizeof buf) {
            return false;
        }
        if (s[i] == '.') {
            memcpy(buf + n, sep, sep_len);
            n += sep_len;
        } else {
            buf[n++] = s[i];
        }
    }
    buf[n] = '\0';
    char *end;
    *out = strtod(buf, &end);
    return n > 0 && end == buf + n;
}

size_t oct_jnum_repr(double f, char dst[OCT_JNUM_REPR_BYTES])
{
    if (isnan(f) || isinf(f)) {
        return (size_t)snprintf(dst, OCT_JNUM_REPR_BYTES, "%s",
                                isnan(f) ? "nan"
                                : f < 0  ? "-inf"
                                         : "inf");
    }
    /* d.ddddde+xx with as few digits as read back the same; 17 always do. */
    char text[40];
    for (int p = 0; p <= 16; p++) {
        double back;
        const int n = oct_jnum_print(text, sizeof text, 'e', p, f, false);
        if (p == 16 || (to_double(text, (size_t)n, &back) && back == f)) {
            break;
        }
    }
    char *e = strchr(text, 'e');
    const int exp10 = atoi(e + 1);
    *e = '\0';
    char digit[24];
    size_t n_digits = 0, at = 0;
    for (const char *p = text; *p; p++) {
        if (*p >= '0' && *p <= '9') {
            digit[n_digits++] = *p;
        }
    }
    while (n_digits > 1 && digit[n_digits - 1] == '0') {
        n_digits--;
    }
    if (text[0] == '-') {
        dst[at++] = '-';
    }
    if (exp10 < -4 || exp10 >= 16) {
        dst[at++] = digit[0];
        if (n_digits > 1) {
            dst[at++] = '.';
            memcpy(dst + at, digit + 1, n_digits - 1);
            at += n_digits - 1;
        }
        at += (size_t)snprintf(dst + at, OCT_JNUM_REPR_BYTES - at, "e%c%02d", exp10 < 0 ? '-' : '+',
                               abs(exp10));
        return at;
    }
    if (exp10 < 0) {
        dst[at++] = '0';
        dst[at++] = '.';
        for (int i = -1; i > exp10; i--) {
            dst[at++] = '0';
        }
        memcpy(dst + at, digit, n_digits);
        at += n_digits;
    } else {
        for (size_t i = 0; i <= (size_t)exp10; i++) {
            dst[at++] = i < n_digits ? digit[i] : '0';
        }
        dst[at++] = '.';
        if (n_digits <= (size_t)exp10 + 1) {
            dst[at++] = '0';
        }
        for (size_t i = (size_t)exp10 + 1; i < n_digits; i++) {
            dst[at++] = digit[i];
        }
    }
    dst[at] = '\0';
    return at;
}

/* Takes the white space off both ends. */
static void strip(const char **s, size_t *len)
{
    uint32_t n;
    while (*len > 0 && oct_ju_is_space(oct_ju_next(*s, &n))) {
        *s += n;
        *len -= n;
    }
    while (*len > 0 && oct_ju_is_space(oct_ju_prev(*s, *len, &n))) {
        *len -= n;
    }
}

bool oct_jnum_parse_float(const char *s, size_t len, double *out)
{
    static const char *const word[] = {"inf", "infinity", "nan"};
    strip(&s, &len);
    size_t sign = len > 0 && (s[0] == '+' || s[0] == '-');
    for (size_t i = 0; i < 3; i++) {
        if (len - sign == strlen(word[i]) && strncasecmp(s + sign, word[i], len - sign) == 0) {
            *out = i == 2 ? NAN : INFINITY;
            if (sign && s[0] == '-') {
                *out = -*out;
            }
            return true;
        }
    }
    char buf[400];
    size_t n = 0;
    bool digit = false;
    for (size_t i = 0; i < len; i++) {
        const char c = s[i];
        if (c == '_') { /* between digits only */
            if (!digit || i + 1 >= len || s[i + 1] < '0' || s[i + 1] > '9') {
                return false;
            }
            digit = false;
            continue;
        }
        digit = c >= '0' && c <= '9';
        if (!digit && c != '.' && c != 'e' && c != 'E' && c != '+' && c != '-') {
            return false; /* strtod would also take hexadecimal */
        }
        if (n + 1 >= sizeof buf) {
            return false;
        }
        buf[n++] = c;
    }
    return n > 0 && to_double(buf, n, out);
}

enum oct_jnum_int oct_jnum_parse_int(const char *s, size_t len, int64_t base, int64_t *out)
{
    strip(&s, &len);
    if (len == 0 || base < 0 || base == 1 || base > 36) {
        return OCT_JNUM_BAD;
    }
    const bool negative = s[0] == '-';
    size_t i = s[0] == '-' || s[0] == '+';
    bool any_zero_only = false, after_prefix = false;
    if (i + 1 < len && s[i] == '0') {
        const char c = (char)(s[i + 1] | 0x20);
        const int64_t named = c == 'x' ? 16 : c == 'o' ? 8 : c == 'b' ? 2 : 0;
        if (named && (base == 0 || base == named)) {
            base = named;
            i += 2;
            after_prefix = true;
        } else if (base == 0) {
            any_zero_only = true; /* "00" is fine, "012" is not */
        }
    }
    if (base == 0) {
        base = 10;
    }
    bool digit = after_prefix, seen = false, big = false;
    int64_t value = 0;
    for (; i < len; i++) {
        const char c = s[i];
        if (c == '_') {
            if (!digit) {
                return OCT_JNUM_BAD;
            }
            digit = false;
            continue;
        }
        const char low = (char)(c | 0x20);
        const int d = c >= '0' && c <= '9'       ? c - '0'
                      : low >= 'a' && low <= 'z' ? low - 'a' + 10
                                                 : 99;
        if (d >= base || (any_zero_only && d != 0)) {
            return OCT_JNUM_BAD;
        }
        digit = seen = true;
        big = big || __builtin_mul_overflow(value, base, &value) ||
              __builtin_sub_overflow(value, (int64_t)d, &value); /* kept negative: reaches -2^63 */
    }
    if (!seen || !digit) {
        return OCT_JNUM_BAD;
    }
    if (!negative && !big && value == INT64_MIN) {
        big = true;
    }
    if (big) {
        return OCT_JNUM_BIG;
    }
    *out = negative ? value : -value;
    return OCT_JNUM_OK;
}

bool oct_jnum_round(double f, int64_t digits, double *out)
{
    if (f == 0.0 || isnan(f) || isinf(f) || digits > 400) {
        *out = f;
        return true;
    }
    char text[400];
    const int n = oct_jnum_print(text, sizeof text, 'e', 17, f, false);
    const char *e = n > 0 ? memchr(text, 'e', (size_t)n) : NULL;
    const int64_t exp10 = e ? atoi(e + 1) : 0;
    const int64_t keep = digits < -400 ? -1 : exp10 + 1 + digits; /* significant digits that stay */
    if (keep > 17 + 1) {
        *out = f;
        return true;
    }
    if (keep < 0) {
        *out = copysign(0.0, f);
        return true;
    }
    if (keep == 0) { /* the digits decide against 5000...; a tie goes to 0, which is even */
        (void)oct_jnum_print(text, sizeof text, 'e', 60, fabs(f), false);
        const char *p = text;
        bool above = *p > '5';
        for (p++; text[0] == '5' && *p != 'e'; p++) {
            above |= *p != '0' && *p != '.';
        }
        if (!above) {
            *out = copysign(0.0, f);
            return true;
        }
        (void)snprintf(text, sizeof text, "%s1e%d", f < 0 ? "-" : "", (int)(exp10 + 1));
        return to_double(text, strlen(text), out) && !isinf(*out);
    }
    /* glibc rounds the exact binary value, ties to even: what Python's dtoa does. */
    const int len = oct_jnum_print(text, sizeof text, 'e', (int)keep - 1, f, false);
    return to_double(text, (size_t)len, out) && !isinf(*out);
}
