/* SPDX-License-Identifier: Apache-2.0 */
#include "base/hash.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

Test(hash, siphash_gives_what_the_reference_implementation_gives)
{
    /* Output of the authors' reference program (SipHash-2-4-128) for key 00 01 .. 0f and input
     * 00 01 .. len-1. */
    static const struct {
        size_t len;
        const char *want;
    } row[] = {
        {0, "a3817f04ba25a8e66df67214c7550293"},  {1, "da87c1d86b99af44347659119b22fc45"},
        {7, "a1f1ebbed8dbc153c0b84aa61ff08239"},  {8, "3b62a9ba6258f5610f83e264f31497b4"},
        {9, "264499060ad9baabc47f8b02bb6d71ed"},  {15, "5493e99933b0a8117e08ec0f97cfc3d9"},
        {16, "6ee2a4ca67b054bbfd3315bf85230577"}, {17, "473d06e8738db89854c066c47ae47740"},
        {31, "2939b0183223fafc1723de4f52c43d35"}, {32, "7c3956ca5eeafc3e363e9d556546eb68"},
        {47, "e61c432b720b19d18ec8d84bdc63151b"}, {63, "5150d1772f50834a503e069a973fbd7c"},
    };
    const struct oct_hash key = {.lo = 0x0706050403020100, .hi = 0x0f0e0d0c0b0a0908};
    unsigned char in[64];
    for (size_t i = 0; i < sizeof in; i++) {
        in[i] = (unsigned char)i;
    }
    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
        const struct oct_hash h = oct_siphash128(key, in, row[i].len);
        unsigned char bytes[16];
        memcpy(bytes, &h.lo, 8);
        memcpy(bytes + 8, &h.hi, 8);
        char text[33];
        for (int k = 0; k < 16; k++) {
            (void)snprintf(text + 2 * k, 3, "%02x", bytes[k]);
        }
        cr_assert_str_eq(text, row[i].want, "len %zu: %s, not %s", row[i].len, text, row[i].want);
    }
}

Test(hash, another_key_gives_another_hash)
{
    const struct oct_hash a = oct_siphash128((struct oct_hash){1, 2}, "abc", 3);
    const struct oct_hash b = oct_siphash128((struct oct_hash){1, 3}, "abc", 3);
    const struct oct_hash c = oct_siphash128((struct oct_hash){0, 2}, "abc", 3);
    cr_assert(a.lo != b.lo && a.hi != b.hi && a.lo != c.lo && a.hi != c.hi);
}
