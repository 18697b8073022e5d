/* SPDX-License-Identifier: Apache-2.0
 *
 * jinja_num.h - numbers as Python writes and reads them, whatever the process's locale is. */
#ifndef OCT_TEXT_JINJA_NUM_H
#define OCT_TEXT_JINJA_NUM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { OCT_JNUM_REPR_BYTES = 40 };
/* repr(f): the shortest digits that read back as f. Returns the length; dst gets a NUL. */
size_t oct_jnum_repr(double f, char dst[OCT_JNUM_REPR_BYTES]);

/* float(text): white space around it, underscores between digits, inf and nan. */
bool oct_jnum_parse_float(const char *s, size_t len, double *out);

enum oct_jnum_int { OCT_JNUM_OK, OCT_JNUM_BAD, OCT_JNUM_BIG };
/* int(text, base): white space around it, sign, underscores, prefix of the base (0: any). BIG: a
 * number, but over 64 bits. */
enum oct_jnum_int oct_jnum_parse_int(const char *s, size_t len, int64_t base, int64_t *out);

/* round(f, digits) as Python has it: to nearest, exact ties to even. False: out of range. */
bool oct_jnum_round(double f, int64_t digits, double *out);

/* printf of one double with a point as decimal separator, whatever the locale: conv is e, f or g.
 * Returns the length, as snprintf does. */
int oct_jnum_print(char *dst, size_t size, char conv, int precision, double f, bool alternate);

#endif
