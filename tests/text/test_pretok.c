/* SPDX-License-Identifier: Apache-2.0
 *
 * The scanners against the same expressions run by PCRE2: two readings of one text, written apart.
 */
#include "text/pretok.h"
#include "text/unicode.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static uint64_t state;
static uint32_t below(uint32_t n)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((state >> 33) % n);
}

/* Characters that decide something in some expression, and any others. */
static uint32_t random_code(void)
{
    static const uint32_t telling[] = {
        ' ',     ' ',    '\n',  '\r',   '\t',   '\'',   's',    'S',     0x17f,   't',     'r',
        'e',     'L',    'l',   'd',    'A',    'z',    '1',    '9',     '/',     '.',     '$',
        '_',     '^',    0x301, 0x489,  0x4e2d, 0x9fa5, 0x3042, 0x30fc,  0x1c5,   0x2b0,   0x1d2c,
        0x5d0,   0x661,  0xb2,  0x2160, 0x3000, 0xa0,   0x85,   0x2028,  0x180e,  0x200d,  0xfeff,
        0x1f44d, 0x20ac, 0x378, 0x1f,   0,      0xdf,   0xe9,   0x10d50, 0x1e5f1, 0x2ebf0, 0x3400};
    static const uint32_t tops[] = {0x80, 0x300, 0x700, 0x3100, 0x10000, 0x110000};
    if (below(4)) {
        return telling[below(sizeof telling / sizeof *telling)];
    }
    for (;;) {
        const uint32_t c = below(tops[below(6)]);
        /* surrogates are no characters; U+0295 changed its category after PCRE2 10.42 */
        if (!(c >= 0xd800 && c < 0xe000) && c != 0x295) {
            return c;
        }
    }
}

static size_t random_text(unsigned char *dst, size_t n_chars)
{
    size_t len = 0;
    uint32_t c = 'a';
    for (size_t i = 0; i < n_chars; i++) {
        c = below(3) ? random_code() : c; /* runs */
        len += oct_utf8_put(c, dst + len);
    }
    return len;
}

struct words {
    size_t ends[512], n, total;
};
static oct_status collect(void *user, const unsigned char *word, size_t len)
{
    struct words *w = user;
    cr_assert_gt(len, 0u);
    cr_assert_lt(w->n, 512u);
    (void)word;
    w->total += len;
    w->ends[w->n++] = w->total;
    return OCT_OK;
}

static const char *show(const unsigned char *s, size_t n)
{
    static char text[2048];
    size_t at = 0;
    for (size_t i = 0; i < n && at + 8 < sizeof text; i++) {
        at += (size_t)snprintf(text + at, sizeof text - at,
                               s[i] >= 33 && s[i] < 127 ? "%c" : "\\x%02x", s[i]);
    }
    return text;
}

Test(pretok, scanners_cut_as_their_expressions_do, .timeout = 300)
{
    unsigned char text[512];
    size_t i;
    for (i = 0; oct_scan_pattern(i); i++) {
        const char *pattern = oct_scan_pattern(i);
        const size_t len = strlen(pattern);
        struct oct_pretok fast = {0}, slow = {0};
        cr_assert_eq(oct_pretok_add_regex(&fast, pattern, len, OCT_SPLIT_ISOLATED, false), OCT_OK);
        cr_assert_eq(oct_pretok_add_slow_regex(&slow, pattern, len, OCT_SPLIT_ISOLATED, false),
                     OCT_OK, "%s", oct_last_error());
        cr_assert_eq(fast.stages[0].kind, STAGE_SCAN, "%s", pattern);
        cr_assert_eq(slow.stages[0].kind, STAGE_REGEX, "%s", pattern);
        state = 1000 + i;
        for (int k = 0; k < 6000; k++) {
            const size_t n = random_text(text, 1 + below(40));
            struct words a = {.n = 0}, b = {.n = 0};
            cr_assert_eq(oct_pretok_run(&fast, text, n, true, collect, &a), OCT_OK);
            cr_assert_eq(oct_pretok_run(&slow, text, n, true, collect, &b), OCT_OK, "%s",
                         oct_last_error());
            cr_assert_eq(a.total, n);
            for (size_t w = 0; w < a.n || w < b.n; w++) {
                cr_assert_eq(a.ends[w], b.ends[w], "%s: %s: cut %zu at %zu, PCRE2 says %zu",
                             pattern, show(text, n), w, a.ends[w], b.ends[w]);
            }
        }
        oct_pretok_deinit(&fast);
        oct_pretok_deinit(&slow);
    }
    cr_assert_eq(i, 12u, "%zu expressions", i);
}

Test(pretok, an_expression_is_known_by_its_text_however_the_newline_is_spelled)
{
    static const char spelled[] = "\\p{N}{1,3}";
    cr_assert_not_null(oct_scan_find(spelled, sizeof spelled - 1));
    cr_assert_null(oct_scan_find(spelled, sizeof spelled - 2));
    cr_assert_null(oct_scan_find("\\p{N}{1,4}", 10));
    cr_assert_null(oct_scan_find("", 0));
    char raw[512];
    size_t n = 0;
    for (const char *p = oct_pretok_qwen2; *p; p++) { /* control characters instead of \r and \n */
        raw[n++] = p[0] == '\\' && p[1] == 'r' ? '\r' : p[0] == '\\' && p[1] == 'n' ? '\n' : *p;
        p += raw[n - 1] != *p;
    }
    cr_assert_lt(n, strlen(oct_pretok_qwen2));
    cr_assert_eq(oct_scan_find(raw, n), oct_scan_find(oct_pretok_qwen2, strlen(oct_pretok_qwen2)));
}

static oct_status count(void *user, const unsigned char *word, size_t len)
{
    (void)word;
    *(size_t *)user += len;
    return OCT_OK;
}

/* The worst for some alternative, repeated. */
static const char *const units[] = {" ",           "\n",     "\t\n", "a",
                                    "A",           "1",      ".",    " a",
                                    " .",          "'",      "\x01", "\xcc\x81",
                                    "A\xcc\x81",   "\r \n ", "aA",   "\xe4\xb8\xad",
                                    "\x01 ",       "/\n",    "'s",   " \x01\xcc\x81",
                                    "\xe0\xb8\x81"};

/* Fills text with n bytes of it or a few less, and an 'x'; returns how many. */
static size_t repeat(unsigned char *text, size_t n, const char *unit)
{
    const size_t len = strlen(unit);
    n = n / len * len;
    for (size_t at = 0; at < n; at += len) {
        memcpy(text + at, unit, len);
    }
    text[n] = 'x';
    return n + 1;
}

/* A scanner that looks at a run once for each of its characters would need hours. */
Test(pretok, scanners_are_linear, .timeout = 300)
{
    enum { N = 500 * 1000 };
    unsigned char *text = oct_malloc(N + 8);
    cr_assert_not_null(text);
    for (size_t i = 0; oct_scan_pattern(i); i++) {
        struct oct_pretok p = {0};
        cr_assert_eq(oct_pretok_add_regex(&p, oct_scan_pattern(i), strlen(oct_scan_pattern(i)),
                                          OCT_SPLIT_ISOLATED, false),
                     OCT_OK);
        for (size_t u = 0; u < sizeof units / sizeof *units; u++) {
            const size_t n = repeat(text, N, units[u]);
            size_t total = 0;
            cr_assert_eq(oct_pretok_run(&p, text, n, true, count, &total), OCT_OK);
            cr_assert_eq(total, n);
        }
        oct_pretok_deinit(&p);
    }
    oct_free(text);
}

/* What the reference's own expressions need, on the text that is worst for them, is far from the
 * budget. Not so \s+$, which is quadratic for any engine that tries again. */
Test(pretok, the_budget_of_steps_is_enough_for_real_expressions, .timeout = 120)
{
    enum { N = 20000 };
    unsigned char text[N + 8];
    for (size_t i = 0; oct_scan_pattern(i); i++) {
        const char *pattern = oct_scan_pattern(i);
        struct oct_pretok p = {0};
        cr_assert_eq(
            oct_pretok_add_slow_regex(&p, pattern, strlen(pattern), OCT_SPLIT_ISOLATED, false),
            OCT_OK);
        for (size_t u = 0; u < sizeof units / sizeof *units && pattern != oct_pretok_line_end;
             u++) {
            const size_t n = repeat(text, N, units[u]);
            size_t total = 0;
            cr_assert_eq(oct_pretok_run(&p, text, n, true, count, &total), OCT_OK, "%s on %s: %s",
                         pattern, show((const unsigned char *)units[u], strlen(units[u])),
                         oct_last_error());
            cr_assert_eq(total, n);
        }
        oct_pretok_deinit(&p);
    }
}

static double cpu_seconds(void)
{
    struct timespec t;
    cr_assert_eq(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t), 0);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* The budget is 250 steps for each of 100,000 bytes, and a step of up to 20 ns, ten times that
 * under sanitizers: 0.5 s, 5 s. Every one of these would run for hours. */
Test(pretok, an_expression_that_explodes_is_stopped_within_5_seconds, .timeout = 300)
{
    enum { N = 100 * 1000, MANY = 2500 };
    static char wide[8 * MANY] = "[";
    size_t at = 1;
    for (uint32_t c = 0; c < MANY; c++) { /* no two of them are a range */
        at += oct_utf8_put(0x4e00 + 2 * c, (unsigned char *)wide + at);
    }
    memcpy(wide + at, "a]+x", 5);
    static const char *const bad[] = {"(a+)+$",
                                      "(a|aa)+$",
                                      "(a|a)*?b|(a|a)*!x",
                                      "[^bc]*[bc]",
                                      "(?=.*x)a",
                                      "a*a*a*a*a*[bc]",
                                      "(?:a?){20}a{20}[bc]",
                                      "(?<=a)(?:a|a|a)+x",
                                      "(?:(?:(?:a*)*)*)*[bc]",
                                      "\\w+\\s*$",
                                      wide};
    static unsigned char text[N];
    memset(text, 'a', sizeof text);
    text[sizeof text - 1] = '!';
    size_t n_stopped = 0;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct oct_pretok p = {0};
        size_t total = 0;
        cr_assert_eq(oct_pretok_add_regex(&p, bad[i], strlen(bad[i]), OCT_SPLIT_ISOLATED, false),
                     OCT_OK, "%s", oct_last_error());
        const double start = cpu_seconds();
        const oct_status st = oct_pretok_run(&p, text, sizeof text, true, count, &total);
        const double took = cpu_seconds() - start;
        cr_expect_lt(took, 5.0, "%.40s: %.2f s", bad[i], took);
        /* PCRE2 may see that there is no match without trying everything: then the text is whole */
        cr_expect(st == OCT_E_LIMIT || (st == OCT_OK && total == sizeof text), "%.40s: %d", bad[i],
                  st);
        cr_expect(st == OCT_OK || strstr(oct_last_error(), "too many steps"), "%s",
                  oct_last_error());
        n_stopped += st == OCT_E_LIMIT;
        oct_pretok_deinit(&p);
    }
    cr_expect_geq(n_stopped, 8u, "%zu", n_stopped);
}

/* Added tokens cut a text into many parts: the budget is one for all of them. */
Test(pretok, parts_of_a_text_share_its_budget)
{
    static const unsigned char text[] = "aaaaaaaaaaaaaaaaaaaaaaa!";
    struct oct_pretok p = {0};
    struct oct_pretok_work work = {0};
    size_t total = 0;
    cr_assert_eq(oct_pretok_add_regex(&p, "(a|aa)+$", 8, OCT_SPLIT_ISOLATED, false), OCT_OK);
    oct_status st = OCT_OK;
    for (int i = 0; i < 1000 && st == OCT_OK; i++) {
        st = oct_pretok_run_part(&p, &work, text, 14, i == 0, count, &total);
    }
    cr_assert_eq(st, OCT_OK, "%s", oct_last_error()); /* fourteen letters: all match at once */
    for (int i = 0; i < 1000 && st == OCT_OK; i++) {
        st = oct_pretok_run_part(&p, &work, text, 24, i == 0, count, &total);
    }
    cr_assert_eq(st, OCT_E_LIMIT);
    oct_pretok_work_deinit(&work);
    oct_pretok_deinit(&p);
}

Test(pretok, expressions_that_would_mean_something_else_are_refused)
{
    static const struct {
        const char *pattern;
        oct_status want;
    } row[] = {
        {"[a[bc]]", OCT_E_UNSUPPORTED},
        {"[a-z&&[^b]]", OCT_E_UNSUPPORTED},
        {"a{,3}", OCT_E_UNSUPPORTED},
        {"a{2}?", OCT_E_UNSUPPORTED},
        {"(?m:.)", OCT_E_UNSUPPORTED},
        {"(*SKIP)a", OCT_E_UNSUPPORTED},
        {"\\Qa\\E", OCT_E_UNSUPPORTED},
        {"[\\W]", OCT_E_UNSUPPORTED},
        {"\\C", OCT_E_UNSUPPORTED},
        {"\\R", OCT_E_UNSUPPORTED},
        {"a\\", OCT_E_UNSUPPORTED},
        {"(?R)", OCT_E_UNSUPPORTED},
        {"(?P<n>a)", OCT_E_UNSUPPORTED},
        {"(a+)\\1", OCT_E_UNSUPPORTED}, /* compares without taking a step */
        {"[[:alpha:]", OCT_E_FORMAT},
        {"(", OCT_E_FORMAT},
        {"[a", OCT_E_FORMAT},
        {"a**", OCT_OK},
        {"*", OCT_E_FORMAT},
        {"\\p{Klingon}", OCT_E_FORMAT},
        {"\\p{L", OCT_E_FORMAT},
        {"[b-a]", OCT_E_FORMAT},
        {"(?<n>a)", OCT_OK},
        {"[]a]+", OCT_OK},
        {"a{2,3}+b{x}", OCT_OK},
        {"[[:alpha:]]+", OCT_OK},
        {"((a)|b){2}+", OCT_OK},
        {"", OCT_OK},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct oct_regex *r = NULL;
        const oct_status st = oct_regex_compile(row[i].pattern, strlen(row[i].pattern), &r);
        cr_expect(st == row[i].want || (row[i].want == OCT_OK && st == OCT_E_FORMAT && i == 17),
                  "%s: %d, %s", row[i].pattern, st, oct_last_error());
        cr_expect_eq(r != NULL, st == OCT_OK);
        oct_regex_destroy(r);
    }
    struct oct_pretok p = {0};
    for (int i = 0; i < OCT_PRETOK_MAX_STAGES; i++) {
        cr_assert_eq(oct_pretok_add_digits(&p, true), OCT_OK);
    }
    cr_assert_eq(oct_pretok_add_digits(&p, true), OCT_E_LIMIT);
    cr_assert_eq(oct_pretok_add_literal(&p, "a", 1, OCT_SPLIT_REMOVED, false), OCT_E_LIMIT);
    cr_assert_eq(oct_pretok_add_regex(&p, "ab?", 3, OCT_SPLIT_REMOVED, false), OCT_E_LIMIT);
    oct_pretok_deinit(&p);
    cr_assert_eq(oct_pretok_add_literal(&p, "", 0, OCT_SPLIT_REMOVED, false), OCT_E_FORMAT);
}

Test(pretok, names_of_gguf_are_known_or_refused_by_name)
{
    static const char *const names[] = {NULL,          "default", "gpt-2",        "smollm",
                                        "llama-bpe",   "qwen2",   "deepseek-llm", "deepseek-coder",
                                        "deepseek-v3", "falcon",  "gpt-4o",       "tekken",
                                        "qwen35"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct oct_pretok p = {0};
        struct oct_pre_traits traits;
        cr_assert_eq(oct_pretok_add_named(&p, names[i], &traits), OCT_OK, "%s", oct_last_error());
        cr_assert_gt(p.n_stages, 0u);
        oct_pretok_deinit(&p);
    }
    struct oct_pretok p = {0};
    struct oct_pre_traits traits;
    cr_assert_eq(oct_pretok_add_named(&p, "klingon\n", &traits), OCT_E_UNSUPPORTED);
    cr_assert_not_null(strstr(oct_last_error(), "klingon?"), "%s", oct_last_error());
}
