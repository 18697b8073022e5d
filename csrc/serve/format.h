/* SPDX-License-Identifier: Apache-2.0
 *
 * format.h - numbers as people read them. All return dst. */
#ifndef OCT_SERVE_FORMAT_H
#define OCT_SERVE_FORMAT_H

#include <stdint.h>

enum { OCT_FORMAT_BYTES = 32 };

/* "312 B", "94.1 MB", "1.20 GB": decimal units, three digits. */
const char *oct_format_size(char dst[OCT_FORMAT_BYTES], uint64_t bytes);
/* "135 M", "7.62 B" (thousand million), "980". */
const char *oct_format_count(char dst[OCT_FORMAT_BYTES], uint64_t n);
/* "134,515,008". */
const char *oct_format_exact(char dst[OCT_FORMAT_BYTES], uint64_t n);

#endif
