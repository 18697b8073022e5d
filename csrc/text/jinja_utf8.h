/* SPDX-License-Identifier: Apache-2.0
 *
 * jinja_utf8.h - text as Python sees it: code points, its notions of space, letters, case and what
 * repr() shows as it is. All input is valid UTF-8. */
#ifndef OCT_TEXT_JINJA_UTF8_H
#define OCT_TEXT_JINJA_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* True if s[len] is UTF-8 without surrogates, as RFC 3629 has it. */
bool oct_ju_valid(const char *s, size_t len);

/* Code point at s; *n gets its length in bytes. */
static inline uint32_t oct_ju_next(const char *s, uint32_t *n)
{
    const unsigned char *p = (const unsigned char *)s;
    if (p[0] < 0x80) {
        *n = 1;
        return p[0];
    }
    if (p[0] < 0xe0) {
        *n = 2;
        return (p[0] & 0x1fu) << 6 | (p[1] & 0x3fu);
    }
    if (p[0] < 0xf0) {
        *n = 3;
        return (p[0] & 0x0fu) << 12 | (p[1] & 0x3fu) << 6 | (p[2] & 0x3fu);
    }
    *n = 4;
    return (p[0] & 0x07u) << 18 | (p[1] & 0x3fu) << 12 | (p[2] & 0x3fu) << 6 | (p[3] & 0x3fu);
}

/* Code point that ends before s[at], at > 0. */
static inline uint32_t oct_ju_prev(const char *s, size_t at, uint32_t *n)
{
    size_t i = at - 1;
    while (i > 0 && ((unsigned char)s[i] & 0xc0) == 0x80) {
        i--;
    }
    return oct_ju_next(s + i, n);
}

/* Writes cp, returns 1..4 bytes. */
uint32_t oct_ju_put(char *dst, uint32_t cp);

/* Number of code points. */
size_t oct_ju_count(const char *s, size_t len);
/* Byte offset of code point number n (n <= count). */
size_t oct_ju_offset(const char *s, size_t len, size_t n);

bool oct_ju_is_space(uint32_t cp);      /* str.isspace, \s */
bool oct_ju_is_line_break(uint32_t cp); /* where str.splitlines cuts */
bool oct_ju_is_printable(uint32_t cp);  /* what repr() leaves alone */
bool oct_ju_is_alpha(uint32_t cp);
bool oct_ju_is_decimal(uint32_t cp);
bool oct_ju_is_digit(uint32_t cp);
bool oct_ju_is_alnum(uint32_t cp);
bool oct_ju_is_upper(uint32_t cp);
bool oct_ju_is_lower(uint32_t cp);
bool oct_ju_is_title(uint32_t cp);
bool oct_ju_is_word(uint32_t cp); /* \w */

enum oct_ju_case { OCT_JU_UPPER, OCT_JU_LOWER, OCT_JU_TITLE };
/* Full case mapping: 1 to 3 code points into dst; returns how many. The final sigma is the
 * caller's (oct_ju_is_final_sigma). */
unsigned oct_ju_map(enum oct_ju_case how, uint32_t cp, uint32_t dst[3]);
/* For the capital sigma at byte `at` of s[len]: whether it ends a word and becomes U+03C2. */
bool oct_ju_is_final_sigma(const char *s, size_t len, size_t at);

#endif
