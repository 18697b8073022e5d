/* SPDX-License-Identifier: Apache-2.0 */
#include "text/unicode.h"

#include <string.h>
#include <utf8proc.h>

size_t oct_utf8_put(uint32_t c, unsigned char *dst)
{
    if (c < 0x80) {
        dst[0] = (unsigned char)c;
        return 1;
    }
    if (c < 0x800) {
        dst[0] = (unsigned char)(0xc0 | c >> 6);
        dst[1] = (unsigned char)(0x80 | (c & 63));
        return 2;
    }
    if (c < 0x10000) {
        dst[0] = (unsigned char)(0xe0 | c >> 12);
        dst[1] = (unsigned char)(0x80 | (c >> 6 & 63));
        dst[2] = (unsigned char)(0x80 | (c & 63));
        return 3;
    }
    dst[0] = (unsigned char)(0xf0 | c >> 18);
    dst[1] = (unsigned char)(0x80 | (c >> 12 & 63));
    dst[2] = (unsigned char)(0x80 | (c >> 6 & 63));
    dst[3] = (unsigned char)(0x80 | (c & 63));
    return 4;
}

int oct_utf8_check(const unsigned char *s, size_t n)
{
    const unsigned lead = s[0];
    if (lead < 0x80) {
        return 1;
    }
    if (lead < 0xc2 || lead > 0xf4) {
        return -1;
    }
    /* The second byte's range says which sequences are overlong, surrogates or past U+10FFFF. */
    const unsigned low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
    const unsigned high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
    const int len = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    for (int i = 1; i < len; i++) {
        if ((size_t)i >= n) {
            return 0;
        }
        if (s[i] < (i == 1 ? low : 0x80) || s[i] > (i == 1 ? high : 0xbf)) {
            return -i;
        }
    }
    return len;
}

size_t oct_utf8_valid_prefix(const unsigned char *s, size_t n)
{
    size_t at = 0;
    while (at < n) {
        uint64_t word;
        while (n - at >= 8 && (memcpy(&word, s + at, 8), !(word & 0x8080808080808080u))) {
            at += 8;
        }
        while (at < n && s[at] < 0x80) {
            at++;
        }
        while (at < n && s[at] >= 0x80) {
            if (n - at >= 2 && s[at] >= 0xc2 && s[at] < 0xe0 && (s[at + 1] & 0xc0) == 0x80) {
                at += 2;
                continue;
            }
            const int len = oct_utf8_check(s + at, n - at);
            if (len <= 0) {
                return at;
            }
            at += (size_t)len;
        }
    }
    return at;
}

oct_status oct_utf8_repair(const unsigned char *s, size_t n, struct oct_buf *out)
{
    size_t at = 0;
    while (at < n) {
        const size_t good = oct_utf8_valid_prefix(s + at, n - at);
        OCT_TRY(oct_buf_append(out, s + at, good));
        at += good;
        if (at < n) {
            const int bad = oct_utf8_check(s + at, n - at);
            OCT_TRY(oct_buf_append(out, "\xef\xbf\xbd", 3));
            at = bad == 0 ? n : at + (size_t)-bad;
        }
    }
    return OCT_OK;
}

bool oct_uni_is_numeric(uint32_t c)
{
    return (oct_uni_class(c) & OCT_UNI_NUMBER) || (c >= 0x11de0 && c <= 0x11de9) ||
           (c >= 0x16ff4 && c <= 0x16ff6); /* the last two ranges came with Unicode 17 */
}

/* ---- NFC ---- */

bool oct_nfc_is_plain(const unsigned char *s, size_t n)
{
    for (size_t at = 0; at < n;) {
        if (s[at] < 0xcc) { /* U+0300 is cc 80; nothing before it changes under NFC */
            at += s[at] < 0x80 ? 1 : 2;
            continue;
        }
        size_t step;
        if (oct_uni_nfc(oct_utf8_get(s + at, &step)) & OCT_UNI_NFC_SUSPECT) {
            return false;
        }
        at += step;
    }
    return true;
}

static int combining_class(utf8proc_int32_t c)
{
    return utf8proc_get_property(c)->combining_class;
}

/* Sorts a run of marks by combining class, equal ones in their order. Counting, because utf8proc's
 * own reordering is quadratic in the length of the run. */
static oct_status sort_marks(utf8proc_int32_t *c, size_t n)
{
    if (n < 2) {
        return OCT_OK;
    }
    if (n < 32) {
        for (size_t i = 1; i < n; i++) {
            const utf8proc_int32_t mark = c[i];
            const int class = combining_class(mark);
            size_t j = i;
            for (; j > 0 && combining_class(c[j - 1]) > class; j--) {
                c[j] = c[j - 1];
            }
            c[j] = mark;
        }
        return OCT_OK;
    }
    size_t first[257] = {0};
    for (size_t i = 0; i < n; i++) {
        first[combining_class(c[i]) + 1]++;
    }
    for (size_t i = 1; i < 257; i++) {
        first[i] += first[i - 1];
    }
    utf8proc_int32_t *sorted = oct_malloc(n * sizeof *sorted); /* c itself is as large */
    if (!sorted) {
        return oct_no_memory("sorting combining marks", n * sizeof *sorted);
    }
    for (size_t i = 0; i < n; i++) {
        sorted[first[combining_class(c[i])]++] = c[i];
    }
    memcpy(c, sorted, n * sizeof *c);
    oct_free(sorted);
    return OCT_OK;
}

/* NFC of a stretch of characters that may interact with each other and with nothing around them. */
static oct_status compose(const unsigned char *s, size_t n, struct oct_buf *out)
{
    enum { MAX_EXPANSION = 4 }; /* longest canonical decomposition: U+0390 and U+1F82 give 3 or 4 */
    uint64_t cap;
    if (!oct_u64_mul(n, MAX_EXPANSION * sizeof(utf8proc_int32_t), &cap)) {
        return oct_no_memory("NFC", n);
    }
    utf8proc_int32_t *c = oct_malloc(cap);
    if (!c) {
        return oct_no_memory("NFC", cap);
    }
    oct_status st = OCT_OK;
    size_t len = 0;
    const size_t cap_codes = cap / sizeof *c;
    for (size_t at = 0; at < n;) {
        size_t step;
        const uint32_t code = oct_utf8_get(s + at, &step);
        at += step;
        int boundary = 0;
        const utf8proc_ssize_t got = utf8proc_decompose_char(
            (utf8proc_int32_t)code, c + len, (utf8proc_ssize_t)(cap_codes - len),
            UTF8PROC_STABLE | UTF8PROC_COMPOSE, &boundary);
        OCT_ASSERT(got >= 0 && (size_t)got <= cap_codes - len);
        len += (size_t)got;
    }
    for (size_t i = 0; i < len;) {
        size_t end = i;
        while (end < len && combining_class(c[end]) != 0) {
            end++;
        }
        OCT_TRY_GOTO(sort_marks(c + i, end - i), st, done);
        i = end + 1;
    }
    const utf8proc_ssize_t n_composed =
        utf8proc_normalize_utf32(c, (utf8proc_ssize_t)len, UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    OCT_ASSERT(n_composed >= 0);
    for (utf8proc_ssize_t i = 0; i < n_composed; i++) {
        unsigned char bytes[4];
        OCT_TRY_GOTO(oct_buf_append(out, bytes, oct_utf8_put((uint32_t)c[i], bytes)), st, done);
    }
done:
    oct_free(c);
    return st;
}

oct_status oct_nfc(const unsigned char *s, size_t n, struct oct_buf *out)
{
    size_t copied = 0, at = 0, before = 0;
    bool has_before = false; /* s[before]: the character before `at`, if it may take a mark */
    while (at < n) {
        size_t step;
        const unsigned flags = oct_uni_nfc(oct_utf8_get(s + at, &step));
        if (!(flags & OCT_UNI_NFC_SUSPECT)) {
            has_before = !(flags & OCT_UNI_NFC_YOUNG);
            before = at;
            at += step;
            continue;
        }
        const size_t start = has_before ? before : at;
        size_t end = at + step;
        while (end < n && (oct_uni_nfc(oct_utf8_get(s + end, &step)) & OCT_UNI_NFC_SUSPECT)) {
            end += step;
        }
        OCT_TRY(oct_buf_append(out, s + copied, start - copied));
        OCT_TRY(compose(s + start, end - start, out));
        copied = at = end;
        has_before = false; /* the next character is plain or the text ends */
    }
    return oct_buf_append(out, s + copied, n - copied);
}
