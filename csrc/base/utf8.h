/* SPDX-License-Identifier: Apache-2.0
 *
 * utf8.h - where a UTF-8 sequence ends. */
#ifndef OCT_BASE_UTF8_H
#define OCT_BASE_UTF8_H

#include <stddef.h>

/* Bytes of the valid UTF-8 sequence at s, n >= 1 bytes left; 0 if there is none: overlong forms,
 * surrogates and what is over U+10FFFF are not valid (Unicode 15, table 3-7). */
static inline size_t oct_utf8_len(const char *s, size_t n)
{
    const unsigned char *u = (const unsigned char *)s;
    if (u[0] < 0x80) {
        return 1;
    }
    const size_t len = u[0] >= 0xf0 ? 4 : u[0] >= 0xe0 ? 3 : 2;
    if (u[0] < 0xc2 || u[0] > 0xf4 || n < len) {
        return 0;
    }
    const unsigned char low = u[0] == 0xe0 ? 0xa0 : u[0] == 0xf0 ? 0x90 : 0x80;
    const unsigned char high = u[0] == 0xed ? 0x9f : u[0] == 0xf4 ? 0x8f : 0xbf;
    if (u[1] < low || u[1] > high) {
        return 0;
    }
    for (size_t i = 2; i < len; i++) {
        if ((u[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    return len;
}

#endif
