/* SPDX-License-Identifier: Apache-2.0
 *
 * hash.h - a keyed hash: who does not know the key cannot construct two inputs that meet. */
#ifndef OCT_BASE_HASH_H
#define OCT_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

struct oct_hash {
    uint64_t lo, hi;
};

/* SipHash-2-4 with 128 bits of output (Aumasson, Bernstein: "SipHash: a fast short-input PRF",
 * 2012). lo holds the first eight bytes of the reference's output, little-endian, hi the others. */
struct oct_hash oct_siphash128(struct oct_hash key, const void *data, size_t len);

#endif
