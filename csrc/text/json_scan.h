/* SPDX-License-Identifier: Apache-2.0
 *
 * json_scan.h - walks over JSON that somebody else will parse or complain about, many bytes at a
 * time where the machine can: tokenizer.json has megabytes of small strings. */
#ifndef OCT_TEXT_JSON_SCAN_H
#define OCT_TEXT_JSON_SCAN_H

#include <stddef.h>
#include <stdint.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

/* Past the closing quote of a string, from past its opening one; NULL if it does not end. */
const char *oct_json_past_string(const char *p, const char *end);

/* Past the bracket that closes the one at p; NULL if there is none. *n_strings: how many strings
 * stand between. Brackets of either kind close each other. */
const char *oct_json_past_nested(const char *p, const char *end, size_t *n_strings);

/* The first byte from p on that is not plain text of a string: '"', '\\' or a control character;
 * `end` if all is plain. */
static inline const char *oct_json_past_plain(const char *p, const char *end)
{
#if defined(__SSE2__)
    for (; end - p >= 16; p += 16) {
        const __m128i x = _mm_loadu_si128((const __m128i *)(const void *)p);
        const __m128i control =
            _mm_cmpeq_epi8(_mm_max_epu8(x, _mm_set1_epi8(0x1f)), _mm_set1_epi8(0x1f));
        const __m128i quote = _mm_cmpeq_epi8(x, _mm_set1_epi8('"'));
        const __m128i escape = _mm_cmpeq_epi8(x, _mm_set1_epi8('\\'));
        const int stops = _mm_movemask_epi8(_mm_or_si128(control, _mm_or_si128(quote, escape)));
        if (stops) {
            return p + __builtin_ctz((unsigned)stops);
        }
    }
#endif
    while (p < end && *p != '"' && *p != '\\' && (unsigned char)*p >= 0x20) {
        p++;
    }
    return p;
}

/* The first byte from p on that is no white space of JSON; `end` if there is none. */
static inline const char *oct_json_past_space(const char *p, const char *end)
{
    if (p < end && (unsigned char)*p > ' ') {
        return p;
    }
#if defined(__SSE2__)
    for (; end - p >= 16; p += 16) { /* indented files have runs of it */
        const __m128i x = _mm_loadu_si128((const __m128i *)(const void *)p);
        const __m128i blank = _mm_or_si128(_mm_cmpeq_epi8(x, _mm_set1_epi8(' ')),
                                           _mm_cmpeq_epi8(x, _mm_set1_epi8('\n')));
        const __m128i other = _mm_or_si128(_mm_cmpeq_epi8(x, _mm_set1_epi8('\r')),
                                           _mm_cmpeq_epi8(x, _mm_set1_epi8('\t')));
        const int spaces = _mm_movemask_epi8(_mm_or_si128(blank, other));
        if (spaces != 0xffff) {
            return p + __builtin_ctz(~(unsigned)spaces);
        }
    }
#endif
    while (p < end && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t')) {
        p++;
    }
    return p;
}

#endif
