/* SPDX-License-Identifier: Apache-2.0
 *
 * unicode.h - what tokenisers ask about characters: classes (Unicode 16, as the reference's regular
 * expressions see them), UTF-8 checked and read, NFC as the reference composes. */
#ifndef OCT_TEXT_UNICODE_H
#define OCT_TEXT_UNICODE_H

#include "base/mem.h"

/* Bits of a character's class. */
enum {
    OCT_UNI_LETTER = 1, /* \p{L} */
    OCT_UNI_NUMBER = 2, /* \p{N} */
    OCT_UNI_MARK = 4,   /* \p{M} */
    OCT_UNI_PUNCT = 8,  /* [\p{P}\p{S}] */
    OCT_UNI_SPACE = 16, /* White_Space, which is \s of the reference */
    OCT_UNI_UPPER = 32, /* [\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}] */
    OCT_UNI_LOWER = 64, /* [\p{Ll}\p{Lm}\p{Lo}\p{M}] */
    OCT_UNI_WORD = 128, /* \w: Alphabetic, marks, decimal digits, connectors, joiners */
};
/* Bits of a character's part in NFC. */
enum {
    OCT_UNI_NFC_SUSPECT = 1, /* may change, move or compose with what stands before it */
    OCT_UNI_NFC_YOUNG = 2, /* composes or moves in today's Unicode, not in the reference's (9.0) */
};

extern const uint8_t oct_uni_class_index[8704];
extern const uint8_t oct_uni_class_block[32128];
extern const uint8_t oct_uni_nfc_index[8704];
extern const uint8_t oct_uni_nfc_block[14848];

/* Characters of a general category that PCRE2's older tables lack, as items of a character class in
 * an expression. The last row has no name. */
struct oct_uni_young {
    const char *category, *items;
};
extern const struct oct_uni_young oct_uni_young[];

static inline unsigned oct_uni_class(uint32_t c)
{
    return oct_uni_class_block[(uint32_t)oct_uni_class_index[c >> 7] << 7 | (c & 127)];
}
static inline unsigned oct_uni_nfc(uint32_t c)
{
    return oct_uni_nfc_block[(uint32_t)oct_uni_nfc_index[c >> 7] << 7 | (c & 127)];
}

/* Bytes of the sequence that starts with this byte; only for valid UTF-8. */
static inline size_t oct_utf8_step(unsigned char lead)
{
    return lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
}
/* The character at s of valid UTF-8; *n: its bytes. */
static inline uint32_t oct_utf8_get(const unsigned char *s, size_t *n)
{
    if (s[0] < 0x80) {
        *n = 1;
        return s[0];
    }
    if (s[0] < 0xe0) {
        *n = 2;
        return (uint32_t)(s[0] & 31) << 6 | (s[1] & 63);
    }
    if (s[0] < 0xf0) {
        *n = 3;
        return (uint32_t)(s[0] & 15) << 12 | (uint32_t)(s[1] & 63) << 6 | (s[2] & 63);
    }
    *n = 4;
    return (uint32_t)(s[0] & 7) << 18 | (uint32_t)(s[1] & 63) << 12 | (uint32_t)(s[2] & 63) << 6 |
           (s[3] & 63);
}
/* Writes c (a scalar value) at dst[4]; the number of bytes. */
size_t oct_utf8_put(uint32_t c, unsigned char *dst);

/* At s[n], n > 0: the length of a whole valid sequence; 0 if s is the beginning of one that only
 * needs more bytes; else minus the length of the broken part, which the reference (like Python and
 * Rust) replaces by one U+FFFD. */
int oct_utf8_check(const unsigned char *s, size_t n);
/* Bytes of s[n] up to the first broken or incomplete sequence; n if all is valid. */
size_t oct_utf8_valid_prefix(const unsigned char *s, size_t n);
/* Appends s[n] with every broken part (an incomplete end too) written as U+FFFD. */
OCT_CHECKED oct_status oct_utf8_repair(const unsigned char *s, size_t n, struct oct_buf *out);

/* True if NFC leaves s[n] (valid UTF-8) as it is, found by a quick look: false only means maybe. */
bool oct_nfc_is_plain(const unsigned char *s, size_t n);
/* Appends the NFC form of s[n] (valid UTF-8), in linear time. */
OCT_CHECKED oct_status oct_nfc(const unsigned char *s, size_t n, struct oct_buf *out);

/* char::is_numeric of Rust 1.90 (Unicode 17), which the reference's "Digits" asks. */
bool oct_uni_is_numeric(uint32_t c);

#endif
