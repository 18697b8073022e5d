/* SPDX-License-Identifier: Apache-2.0 */
#include "text/json_scan.h"

#include <stdbool.h>

const char *oct_json_past_string(const char *p, const char *end)
{
    while (p < end) {
        p = oct_json_past_plain(p, end);
        if (p == end) {
            break;
        }
        if (*p == '"') {
            return p + 1;
        }
        p += *p == '\\' && end - p > 1 ? 2 : 1;
    }
    return NULL;
}

struct walk {
    const char *p, *end;
    size_t depth, n_strings;
    bool in_string;
};

/* Byte by byte until p is at `until`, or one past that behind an escape, or all brackets are
 * closed, which it answers. */
static bool walk_bytes(struct walk *w, const char *until)
{
    while (w->p < until) {
        const char c = *w->p++;
        if (w->in_string) {
            w->p += c == '\\' && w->p < w->end;
            w->in_string = c != '"';
        } else if (c == '"') {
            w->in_string = true;
            w->n_strings++;
        } else if (c == '{' || c == '[') {
            w->depth++;
        } else if ((c == '}' || c == ']') && --w->depth == 0) {
            return true;
        }
    }
    return false;
}

#if defined(__SSE2__)
enum { BLOCK = 64 };

/* Which of the 64 bytes at p, with `fold` or-ed to each, are c. */
static inline uint64_t bits_of(const __m128i x[4], char fold, char c)
{
    uint64_t bits = 0;
    for (int i = 0; i < 4; i++) {
        const __m128i folded = _mm_or_si128(x[i], _mm_set1_epi8(fold));
        const int part = _mm_movemask_epi8(_mm_cmpeq_epi8(folded, _mm_set1_epi8(c)));
        bits |= (uint64_t)(unsigned)part << 16 * i;
    }
    return bits;
}

static inline size_t count_bits(uint64_t x)
{
    x -= x >> 1 & 0x5555555555555555u;
    x = (x & 0x3333333333333333u) + (x >> 2 & 0x3333333333333333u);
    x = (x + (x >> 4)) & 0x0f0f0f0f0f0f0f0fu;
    return (size_t)(x * 0x0101010101010101u >> 56);
}

/* The block at w->p, if it has no escape and cannot close the last bracket; false: not done. */
static bool walk_block(struct walk *w)
{
    __m128i x[4];
    for (int i = 0; i < 4; i++) {
        x[i] = _mm_loadu_si128((const __m128i *)(const void *)(w->p + 16 * i));
    }
    const uint64_t quotes = bits_of(x, 0, '"');
    if (bits_of(x, 0, '\\')) {
        return false;
    }
    uint64_t inside =
        quotes; /* bit i: an odd number of quotes up to byte i, so it is in a string */
    for (int shift = 1; shift < BLOCK; shift *= 2) {
        inside ^= inside << shift;
    }
    inside ^= w->in_string ? UINT64_MAX : 0;
    const uint64_t open = bits_of(x, 0x20, '{') & ~inside; /* '[' and '{' differ in that bit */
    const uint64_t close = bits_of(x, 0x20, '}') & ~inside;
    if (open | close) {
        const size_t n_close = count_bits(close);
        if (n_close >= w->depth) {
            return false;
        }
        w->depth = w->depth + count_bits(open) - n_close;
    }
    w->n_strings += count_bits(quotes & inside);
    w->in_string = inside >> 63;
    w->p += BLOCK;
    return true;
}
#endif

const char *oct_json_past_nested(const char *p, const char *end, size_t *n_strings)
{
    struct walk w = {.p = p, .end = end};
    bool closed = false;
#if defined(__SSE2__)
    while (!closed && w.p < end && end - w.p >= BLOCK) {
        if (!walk_block(&w)) {
            closed = walk_bytes(&w, w.p + BLOCK);
        }
    }
#endif
    closed = closed || walk_bytes(&w, end);
    *n_strings = w.n_strings;
    return closed ? w.p : NULL;
}
