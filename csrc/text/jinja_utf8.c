/* SPDX-License-Identifier: Apache-2.0 */
#include "text/jinja_utf8.h"

#include <string.h>
#include <utf8proc.h>

#include "text/jinja_case.h"

bool oct_ju_valid(const char *s, size_t len)
{
    const unsigned char *p = (const unsigned char *)s;
    for (size_t i = 0; i < len;) {
        if (p[i] < 0x80) {
            i++;
            continue;
        }
        const size_t n = p[i] >= 0xf0 ? 4 : p[i] >= 0xe0 ? 3 : 2;
        if (p[i] < 0xc2 || p[i] > 0xf4 || len - i < n) {
            return false;
        }
        for (size_t k = 1; k < n; k++) {
            if ((p[i + k] & 0xc0) != 0x80) {
                return false;
            }
        }
        uint32_t used;
        const uint32_t cp = oct_ju_next(s + i, &used);
        if ((n == 3 && cp < 0x800) || (n == 4 && cp < 0x10000) || cp > 0x10ffff ||
            (cp >= 0xd800 && cp < 0xe000)) {
            return false;
        }
        i += n;
    }
    return true;
}

uint32_t oct_ju_put(char *dst, uint32_t cp)
{
    if (cp < 0x80) {
        dst[0] = (char)cp;
        return 1;
    }
    if (cp < 0x800) {
        dst[0] = (char)(0xc0 | cp >> 6);
        dst[1] = (char)(0x80 | (cp & 0x3f));
        return 2;
    }
    if (cp < 0x10000) {
        dst[0] = (char)(0xe0 | cp >> 12);
        dst[1] = (char)(0x80 | (cp >> 6 & 0x3f));
        dst[2] = (char)(0x80 | (cp & 0x3f));
        return 3;
    }
    dst[0] = (char)(0xf0 | cp >> 18);
    dst[1] = (char)(0x80 | (cp >> 12 & 0x3f));
    dst[2] = (char)(0x80 | (cp >> 6 & 0x3f));
    dst[3] = (char)(0x80 | (cp & 0x3f));
    return 4;
}

size_t oct_ju_count(const char *s, size_t len)
{
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        n += ((unsigned char)s[i] & 0xc0) != 0x80;
    }
    return n;
}

size_t oct_ju_offset(const char *s, size_t len, size_t n)
{
    size_t i = 0;
    while (n > 0 && i < len) {
        i++;
        while (i < len && ((unsigned char)s[i] & 0xc0) == 0x80) {
            i++;
        }
        n--;
    }
    return i;
}

bool oct_ju_is_space(uint32_t cp)
{
    if (cp < 0x80) {
        return cp == ' ' || (cp >= 0x09 && cp <= 0x0d) || (cp >= 0x1c && cp <= 0x1f);
    }
    return cp == 0x85 || cp == 0xa0 || cp == 0x1680 || (cp >= 0x2000 && cp <= 0x200a) ||
           cp == 0x2028 || cp == 0x2029 || cp == 0x202f || cp == 0x205f || cp == 0x3000;
}

bool oct_ju_is_line_break(uint32_t cp)
{
    return (cp >= 0x0a && cp <= 0x0d) || (cp >= 0x1c && cp <= 0x1e) || cp == 0x85 || cp == 0x2028 ||
           cp == 0x2029;
}

static bool in_ranges(const struct cp_range *r, size_t n, uint32_t cp)
{
    size_t lo = 0, hi = n;
    while (lo < hi) {
        const size_t mid = (lo + hi) / 2;
        if (cp > r[mid].hi) {
            lo = mid + 1;
        } else if (cp < r[mid].lo) {
            hi = mid;
        } else {
            return true;
        }
    }
    return false;
}
#define IN(table, cp) in_ranges((table), sizeof(table) / sizeof *(table), (cp))

static utf8proc_category_t category(uint32_t cp)
{
    return utf8proc_category((utf8proc_int32_t)cp);
}

bool oct_ju_is_printable(uint32_t cp)
{
    if (cp < 0x7f) {
        return cp >= 0x20;
    }
    switch (category(cp)) {
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_ZS:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
        return false;
    default:
        return true;
    }
}

bool oct_ju_is_alpha(uint32_t cp)
{
    if (cp < 0x80) {
        return (cp | 0x20) >= 'a' && (cp | 0x20) <= 'z';
    }
    const utf8proc_category_t c = category(cp);
    return c >= UTF8PROC_CATEGORY_LU && c <= UTF8PROC_CATEGORY_LO;
}

bool oct_ju_is_decimal(uint32_t cp)
{
    return cp < 0x80 ? cp >= '0' && cp <= '9' : category(cp) == UTF8PROC_CATEGORY_ND;
}

bool oct_ju_is_digit(uint32_t cp)
{
    return oct_ju_is_decimal(cp) || IN(other_digit, cp);
}

bool oct_ju_is_alnum(uint32_t cp)
{
    if (oct_ju_is_alpha(cp)) {
        return true;
    }
    const utf8proc_category_t c = category(cp);
    return c >= UTF8PROC_CATEGORY_ND && c <= UTF8PROC_CATEGORY_NO;
}

bool oct_ju_is_word(uint32_t cp)
{
    return cp == '_' || oct_ju_is_alnum(cp);
}

bool oct_ju_is_upper(uint32_t cp)
{
    if (cp < 0x80) {
        return cp >= 'A' && cp <= 'Z';
    }
    return category(cp) == UTF8PROC_CATEGORY_LU || IN(other_upper, cp);
}

bool oct_ju_is_lower(uint32_t cp)
{
    if (cp < 0x80) {
        return cp >= 'a' && cp <= 'z';
    }
    return category(cp) == UTF8PROC_CATEGORY_LL || IN(other_lower, cp);
}

bool oct_ju_is_title(uint32_t cp)
{
    return cp >= 0x80 && category(cp) == UTF8PROC_CATEGORY_LT;
}

static const struct case_row *find_row(const struct case_row *rows, size_t n, uint32_t cp)
{
    size_t lo = 0, hi = n;
    while (lo < hi) {
        const size_t mid = (lo + hi) / 2;
        if (rows[mid].cp < cp) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return lo < n && rows[lo].cp == cp ? &rows[lo] : NULL;
}
#define ROW(table, cp) find_row((table), sizeof(table) / sizeof *(table), (cp))

unsigned oct_ju_map(enum oct_ju_case how, uint32_t cp, uint32_t dst[3])
{
    if (cp < 0x80) {
        const bool lower = cp >= 'a' && cp <= 'z', upper = cp >= 'A' && cp <= 'Z';
        dst[0] = how == OCT_JU_LOWER ? (upper ? cp + 32 : cp) : lower ? cp - 32 : cp;
        return 1;
    }
    const struct case_row *row = how == OCT_JU_UPPER   ? ROW(upper_rows, cp)
                                 : how == OCT_JU_LOWER ? ROW(lower_rows, cp)
                                                       : ROW(title_rows, cp);
    if (row) {
        memcpy(dst, row->to, sizeof row->to);
        return row->n;
    }
    const utf8proc_int32_t c = (utf8proc_int32_t)cp;
    dst[0] = (uint32_t)(how == OCT_JU_UPPER   ? utf8proc_toupper(c)
                        : how == OCT_JU_LOWER ? utf8proc_tolower(c)
                                              : utf8proc_totitle(c));
    return 1;
}

static bool is_cased(uint32_t cp)
{
    return oct_ju_is_lower(cp) || oct_ju_is_upper(cp) || oct_ju_is_title(cp);
}

bool oct_ju_is_final_sigma(const char *s, size_t len, size_t at)
{
    uint32_t n, cp = 0;
    size_t i = at;
    bool found = false;
    while (i > 0 && !found) {
        cp = oct_ju_prev(s, i, &n);
        i -= n;
        found = !IN(case_ignorable, cp);
    }
    if (!found || !is_cased(cp)) {
        return false;
    }
    (void)oct_ju_next(s + at, &n);
    for (i = at + n; i < len; i += n) {
        cp = oct_ju_next(s + i, &n);
        if (!IN(case_ignorable, cp)) {
            return !is_cased(cp);
        }
    }
    return true;
}
