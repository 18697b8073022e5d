/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/format.h"

#include <stdio.h>
#include <string.h>

static const char *with_unit(char *dst, uint64_t n, const char *const *units, int n_units)
{
    double v = (double)n;
    int unit = 0;
    while (v >= 999.5 && unit + 1 < n_units) {
        v /= 1000;
        unit++;
    }
    const int digits = unit == 0 || v >= 99.95 ? 0 : v >= 9.995 ? 1 : 2;
    const char *space = *units[unit] ? " " : "";
    (void)snprintf(dst, OCT_FORMAT_BYTES, "%.*f%s%s", digits, v, space, units[unit]);
    return dst;
}

const char *oct_format_size(char dst[OCT_FORMAT_BYTES], uint64_t bytes)
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
    return with_unit(dst, bytes, units, 7);
}

const char *oct_format_count(char dst[OCT_FORMAT_BYTES], uint64_t n)
{
    static const char *const units[] = {"", "k", "M", "B", "T"};
    return with_unit(dst, n, units, 5);
}

const char *oct_format_exact(char dst[OCT_FORMAT_BYTES], uint64_t n)
{
    char digits[24];
    const int len = snprintf(digits, sizeof digits, "%llu", (unsigned long long)n);
    char *out = dst;
    for (int i = 0; i < len; i++) {
        if (i > 0 && (len - i) % 3 == 0) {
            *out++ = ',';
        }
        *out++ = digits[i];
    }
    *out = '\0';
    return dst;
}
