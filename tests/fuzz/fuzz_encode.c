/* SPDX-License-Identifier: Apache-2.0
 *
 * Any text: each scanner cuts it as PCRE2 cuts it by the same expression, and NFC and repair leave
 * valid UTF-8. Seeds: corpus/encode. */
#include "text/pretok.h"
#include "text/unicode.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct words {
    size_t ends[4096], n, total;
};
static oct_status collect(void *user, const unsigned char *word, size_t len)
{
    struct words *w = user;
    (void)word;
    OCT_ASSERT(len > 0 && w->n < 4096);
    w->total += len;
    w->ends[w->n++] = w->total;
    return OCT_OK;
}

static struct oct_pretok fast[16], slow[16];
static size_t n_patterns;

static void compile(void)
{
    for (; oct_scan_pattern(n_patterns); n_patterns++) {
        const char *p = oct_scan_pattern(n_patterns);
        OCT_ASSERT(oct_pretok_add_regex(&fast[n_patterns], p, strlen(p), OCT_SPLIT_ISOLATED,
                                        false) == OCT_OK);
        OCT_ASSERT(oct_pretok_add_slow_regex(&slow[n_patterns], p, strlen(p), OCT_SPLIT_ISOLATED,
                                             false) == OCT_OK);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct words a, b;
    struct oct_buf text = {0}, nfc = {0}, again = {0};
    if (size > 1000) {
        return 0;
    }
    if (!n_patterns) {
        compile();
    }
    OCT_ASSERT(oct_utf8_repair(data, size, &text) == OCT_OK);
    OCT_ASSERT(oct_buf_reserve(&text, 1) == OCT_OK);
    const unsigned char *s = (const unsigned char *)text.data;
    OCT_ASSERT(oct_utf8_valid_prefix(s, text.len) == text.len);
    OCT_ASSERT(oct_nfc(s, text.len, &nfc) == OCT_OK && oct_buf_reserve(&nfc, 1) == OCT_OK);
    OCT_ASSERT(oct_utf8_valid_prefix((unsigned char *)nfc.data, nfc.len) == nfc.len);
    OCT_ASSERT(!oct_nfc_is_plain(s, text.len) ||
               (nfc.len == text.len && memcmp(nfc.data, s, nfc.len) == 0));
    OCT_ASSERT(oct_nfc((unsigned char *)nfc.data, nfc.len, &again) == OCT_OK);
    OCT_ASSERT(again.len == nfc.len && (!nfc.len || memcmp(nfc.data, again.data, nfc.len) == 0));
    const bool reassigned = memmem(s, text.len, "\xca\x95", 2); /* U+0295: Ll, now Lo */
    for (size_t i = 0; i < n_patterns; i++) {
        a.n = b.n = a.total = b.total = 0;
        OCT_ASSERT(oct_pretok_run(&fast[i], s, text.len, true, collect, &a) == OCT_OK);
        OCT_ASSERT(a.total == text.len);
        OCT_ASSERT(oct_pretok_run(&slow[i], s, text.len, true, collect, &b) == OCT_OK);
        OCT_ASSERT(reassigned || (a.n == b.n && memcmp(a.ends, b.ends, a.n * sizeof *a.ends) == 0));
    }
    oct_buf_free(&text);
    oct_buf_free(&nfc);
    oct_buf_free(&again);
    return 0;
}
