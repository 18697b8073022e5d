/* SPDX-License-Identifier: Apache-2.0 */
#include "base/hash.h"

#include <string.h>

struct sip {
    uint64_t v0, v1, v2, v3;
};

static inline uint64_t rotate(uint64_t x, int n)
{
    return x << n | x >> (64 - n);
}

static inline void rounds(struct sip *s, int n)
{
    for (int i = 0; i < n; i++) {
        s->v0 += s->v1;
        s->v2 += s->v3;
        s->v1 = rotate(s->v1, 13) ^ s->v0;
        s->v3 = rotate(s->v3, 16) ^ s->v2;
        s->v0 = rotate(s->v0, 32);
        s->v2 += s->v1;
        s->v0 += s->v3;
        s->v1 = rotate(s->v1, 17) ^ s->v2;
        s->v3 = rotate(s->v3, 21) ^ s->v0;
        s->v2 = rotate(s->v2, 32);
    }
}

static inline void word(struct sip *s, uint64_t m)
{
    s->v3 ^= m;
    rounds(s, 2);
    s->v0 ^= m;
}

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "words are read as they stand");

struct oct_hash oct_siphash128(struct oct_hash key, const void *data, size_t len)
{
    struct sip s = {
        .v0 = 0x736f6d6570736575 ^ key.lo, /* "somepseudorandomlygeneratedbytes" */
        .v1 = 0x646f72616e646f6d ^ key.hi ^ 0xee,
        .v2 = 0x6c7967656e657261 ^ key.lo,
        .v3 = 0x7465646279746573 ^ key.hi,
    };
    const unsigned char *at = data;
    uint64_t m;
    size_t left = len;
    for (; left >= sizeof m; left -= sizeof m, at += sizeof m) {
        memcpy(&m, at, sizeof m);
        word(&s, m);
    }
    m = (uint64_t)len << 56; /* the last word: the bytes left, and the length */
    for (size_t i = 0; i < left; i++) {
        m |= (uint64_t)at[i] << 8 * i;
    }
    word(&s, m);
    s.v2 ^= 0xee;
    rounds(&s, 4);
    struct oct_hash out = {.lo = s.v0 ^ s.v1 ^ s.v2 ^ s.v3};
    s.v1 ^= 0xdd;
    rounds(&s, 4);
    out.hi = s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
    return out;
}
