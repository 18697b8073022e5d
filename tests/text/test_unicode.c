/* SPDX-License-Identifier: Apache-2.0 */
#include "text/unicode.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

static uint64_t state = 7;
static uint32_t below(uint32_t n)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((state >> 33) % n);
}

Test(unicode, every_character_is_written_and_read)
{
    for (uint32_t c = 0; c < 0x110000; c++) {
        unsigned char s[4];
        size_t step;
        const size_t n = oct_utf8_put(c, s);
        cr_assert_eq(oct_utf8_get(s, &step), c);
        cr_assert_eq(step, n, "U+%04X", c);
        cr_assert_eq(oct_utf8_step(s[0]), n);
        const bool surrogate = c >= 0xd800 && c < 0xe000;
        cr_assert_eq(oct_utf8_check(s, n), surrogate ? -1 : (int)n, "U+%04X", c);
        for (size_t k = 1; k < n && !surrogate; k++) {
            cr_assert_eq(oct_utf8_check(s, k), 0, "U+%04X cut to %zu", c, k);
        }
    }
}

/* The definition of the Unicode Standard (table 3-7) for whole sequences, by decoding them. */
static bool is_sequence(const unsigned char *s, size_t n)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    uint32_t c = n == 1 ? s[0] : n == 2 ? s[0] & 31u : n == 3 ? s[0] & 15u : s[0] & 7u;
    if (n == 1) {
        return s[0] < 0x80;
    }
    if ((n == 2 && s[0] >> 5 != 6) || (n == 3 && s[0] >> 4 != 14) || (n == 4 && s[0] >> 3 != 30)) {
        return false;
    }
    for (size_t i = 1; i < n; i++) {
        if (s[i] >> 6 != 2) {
            return false;
        }
        c = c << 6 | (s[i] & 63u);
    }
    return c >= least[n] && c < 0x110000 && !(c >= 0xd800 && c < 0xe000);
}

Test(unicode, broken_sequences_are_found_and_repaired)
{
    for (int k = 0; k < 400000; k++) {
        static const unsigned char telling[] = {0x00, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0,
                                                0xbf, 0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xe2, 0xed,
                                                0xef, 0xf0, 0xf3, 0xf4, 0xf5, 0xff};
        unsigned char s[24];
        const size_t n = 1 + below(24);
        for (size_t i = 0; i < n; i++) {
            s[i] = below(4) ? telling[below(sizeof telling)] : (unsigned char)below(256);
        }
        size_t good = 0;
        for (size_t len = 1; good < n; good += len) {
            for (len = 1; len <= 4 && (len > n - good || !is_sequence(s + good, len)); len++) {
            }
            if (len > 4) {
                break;
            }
        }
        cr_assert_eq(oct_utf8_valid_prefix(s, n), good);
        struct oct_buf out = {0};
        cr_assert_eq(oct_utf8_repair(s, n, &out), OCT_OK);
        cr_assert_eq(oct_utf8_valid_prefix((unsigned char *)out.data, out.len), out.len);
        cr_assert_geq(out.len, good);
        cr_assert_eq(memcmp(out.data, s, good), 0);
        oct_buf_free(&out);
    }
    /* The replacements of the Unicode Standard's own example (table 3-8): one for each part. */
    static const char broken[] = "a\xf1\x80\x80\xe1\x80\xc2"
                                 "b\x80"
                                 "c\x80\xbf"
                                 "d\xe2\x82";
    static const char want[] = "a\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"
                               "b\xef\xbf\xbd"
                               "c\xef\xbf\xbd\xef\xbf\xbd"
                               "d\xef\xbf\xbd";
    struct oct_buf out = {0};
    cr_assert_eq(oct_utf8_repair((const unsigned char *)broken, sizeof broken - 1, &out), OCT_OK);
    cr_assert_str_eq(out.data, want);
    oct_buf_free(&out);
}

Test(unicode, classes_of_known_characters)
{
    static const struct {
        uint32_t c;
        unsigned class;
    } row[] = {
        {'a', OCT_UNI_LETTER | OCT_UNI_LOWER | OCT_UNI_WORD},
        {'Z', OCT_UNI_LETTER | OCT_UNI_UPPER | OCT_UNI_WORD},
        {'_', OCT_UNI_PUNCT | OCT_UNI_WORD},
        {'$', OCT_UNI_PUNCT},
        {'7', OCT_UNI_NUMBER | OCT_UNI_WORD},
        {' ', OCT_UNI_SPACE},
        {0x85, OCT_UNI_SPACE},
        {0x180e, 0},
        {0x301, OCT_UNI_MARK | OCT_UNI_UPPER | OCT_UNI_LOWER | OCT_UNI_WORD},
        {0x4e2d, OCT_UNI_LETTER | OCT_UNI_UPPER | OCT_UNI_LOWER | OCT_UNI_WORD},
        {0x1c5, OCT_UNI_LETTER | OCT_UNI_UPPER | OCT_UNI_WORD},
        {0xb2, OCT_UNI_NUMBER},
        {0x200d, OCT_UNI_WORD},
        {0x1f44d, OCT_UNI_PUNCT},
        {0x2ebf0, OCT_UNI_LETTER | OCT_UNI_UPPER | OCT_UNI_LOWER | OCT_UNI_WORD}, /* Unicode 15.1 */
        {0x10d40, OCT_UNI_NUMBER | OCT_UNI_WORD},                                 /* Unicode 16 */
        {0x378, 0},
        {0x10ffff, 0},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        cr_expect_eq(oct_uni_class(row[i].c), row[i].class, "U+%04X: %u, want %u", row[i].c,
                     oct_uni_class(row[i].c), row[i].class);
    }
    for (uint32_t c = 0; c < 128; c++) { /* scanners skip the index for ASCII */
        cr_assert_eq(oct_uni_class_block[c], oct_uni_class(c));
    }
    cr_expect(oct_uni_is_numeric(0x11de0) && !(oct_uni_class(0x11de0) & OCT_UNI_NUMBER));
    cr_expect(oct_uni_is_numeric(0xbd) && !oct_uni_is_numeric('a'));
}

static size_t nfc(const unsigned char *s, size_t n, char *dst)
{
    struct oct_buf out = {0};
    cr_assert_eq(oct_nfc(s, n, &out), OCT_OK);
    memcpy(dst, out.data ? out.data : "", out.len);
    const size_t len = out.len;
    oct_buf_free(&out);
    return len;
}

/* utf8proc over the whole text is the slow twin. It knows later Unicode versions than the
 * reference: characters that play a part in NFC since then are left out here and looked at below.
 */
Test(unicode, nfc_of_random_text_is_that_of_utf8proc, .timeout = 120)
{
    static const uint32_t telling[] = {
        'e',    'a',  0x301, 0x323, 0x302,  0x345,  0x1e9b, 0x212b, 0x958, 0x1100, 0x1161, 0x11a8,
        0xac00, 0xe9, 0x344, 0x334, 0x1f82, 0xf900, 0x9c7,  0x9be,  0x5d0, 0x5bc,  0x4e2d, ' '};
    size_t n_changed = 0;
    for (int k = 0; k < 60000; k++) {
        unsigned char s[160];
        char got[1024];
        size_t n = 0;
        const uint32_t n_chars = 1 + below(30);
        for (uint32_t i = 0; i < n_chars; i++) {
            uint32_t c = telling[below(sizeof telling / sizeof *telling)];
            if (below(3) == 0) {
                do {
                    c = below(below(2) ? 0x3200 : 0x20000);
                    /* utf8proc 2.8 takes U+11A7 for a Hangul final, which it is not, and drops it
                     */
                } while (c == 0x11a7 || (c >= 0xd800 && c < 0xe000) ||
                         (oct_uni_nfc(c) & OCT_UNI_NFC_YOUNG));
            }
            n += oct_utf8_put(c, s + n);
        }
        utf8proc_uint8_t *want = NULL;
        const utf8proc_ssize_t len =
            utf8proc_map(s, (utf8proc_ssize_t)n, &want, UTF8PROC_STABLE | UTF8PROC_COMPOSE);
        cr_assert_geq(len, 0);
        const size_t got_len = nfc(s, n, got);
        cr_assert(got_len == (size_t)len && memcmp(got, want, got_len) == 0, "text %d: %.*s", k,
                  (int)n, s);
        const bool same = got_len == n && memcmp(got, s, n) == 0;
        cr_assert(same || !oct_nfc_is_plain(s, n));
        n_changed += !same;
        free(want);
    }
    cr_assert_gt(n_changed, 20000u, "%zu", n_changed);
}

Test(unicode, nfc_treats_young_marks_as_the_reference_does)
{
    /* U+0898 came with Unicode 14 and has combining class 230: it stays before U+0323 (220), and
     * U+0301 does not compose over it. */
    static const char young[] = "e\xe0\xa2\x98\xcc\xa3\xcc\x81";
    char got[64];
    const size_t n = nfc((const unsigned char *)young, sizeof young - 1, got);
    cr_assert(n == sizeof young - 1 && memcmp(got, young, n) == 0);
}

Test(unicode, nfc_of_a_million_marks_is_linear, .timeout = 60)
{
    enum { N = 1000000 };
    unsigned char *s = oct_malloc(2 * N + 1);
    cr_assert_not_null(s);
    s[0] = 'q';
    for (size_t i = 0; i < N; i++) {
        memcpy(s + 1 + 2 * i, i % 2 ? "\xcc\xa3" : "\xcc\x81", 2);
    }
    struct oct_buf out = {0};
    cr_assert_eq(oct_nfc(s, 2 * N + 1, &out), OCT_OK, "%s", oct_last_error());
    cr_assert_eq(out.len, 2u * N + 1);
    cr_assert_eq(memcmp(out.data + 1, "\xcc\xa3\xcc\xa3", 4), 0);
    cr_assert_eq(memcmp(out.data + 2 * N - 3, "\xcc\x81\xcc\x81", 4), 0);
    oct_buf_free(&out);
    oct_free(s);
}
