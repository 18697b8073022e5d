/* SPDX-License-Identifier: Apache-2.0
 *
 * tokenizer_int.h - what a tokenizer is made of; for the files tokenizer*.c and detok.c only.
 *
 * The path of a text: added tokens that want the raw text are cut out (added[0]); what is between
 * is normalised; added tokens that want that are cut out (added[1]); the rest is cut into words
 * (pretok) and each word goes through BPE. */
#ifndef OCT_TEXT_TOKENIZER_INT_H
#define OCT_TEXT_TOKENIZER_INT_H

#include "text/pretok.h"
#include "text/tokenizer.h"
#include "text/tokenizer_added.h"
#include "text/tokenizer_bpe.h"
#include "text/tokenizer_table.h"

#include <jansson.h>

enum {
    OCT_TOKENIZER_MAX_STEPS = 16,             /* of a normaliser */
    OCT_TOKENIZER_MAX_AROUND = 8,             /* ids before or after a prompt */
    OCT_TOKENIZER_MAX_FILE = 256 << 20,       /* bytes of tokenizer.json */
    OCT_TOKENIZER_MAX_TEXT_BYTES = 256 << 20, /* of one call to encode */
};

struct oct_normal_step {
    enum { NORMAL_NFC, NORMAL_PREPEND, NORMAL_REPLACE } kind;
    char *text; /* PREPEND: what; REPLACE: by what; owned */
    size_t text_len;
    char *pattern; /* REPLACE; owned, never empty */
    size_t pattern_len;
};

struct oct_around {
    int32_t ids[OCT_TOKENIZER_MAX_AROUND];
    size_t n;
};

/* How ids become text. */
struct oct_decoder {
    enum {
        DECODE_JOINED, /* no decoder: token texts with a space between */
        DECODE_BYTES,  /* byte-level: pieces are bytes, broken ones are repaired at the end */
        DECODE_PIECES, /* token texts after some replacing */
    } kind;
    bool byte_fallback;    /* <0xNN> are bytes; a run of them that is no UTF-8 is U+FFFD per byte */
    bool strip_left;       /* one space at the beginning of the whole text goes */
    bool first_drops_mark; /* Metaspace: the first token loses every `mark` */
    char mark[8];          /* NUL-terminated */
};

struct oct_tokenizer {
    struct oct_tokens tokens;
    struct oct_bpe bpe;
    struct oct_normal_step normal[OCT_TOKENIZER_MAX_STEPS];
    unsigned n_normal;
    struct oct_pretok pretok;
    struct oct_added_set added[2]; /* on the raw text, on the normalised text */
    struct oct_around before, after;
    int32_t bos, eos;
    struct oct_decoder decoder;
    char *pieces;       /* owned; what ids stand for, back to back in order of ids */
    uint32_t *piece_at; /* [n_ids + 1]; owned */
};

OCT_CHECKED oct_status oct_tokenizer_new(struct oct_tokenizer **out);
/* Appends the normalised form of s[n] (valid UTF-8). */
OCT_CHECKED oct_status oct_normalize(const struct oct_tokenizer *t, const unsigned char *s,
                                     size_t n, struct oct_buf *out);
/* oct_normalize with marks: *out_own gets one byte for each byte of *out. What two bytes are
 * replaced by is marked if both were; what the normaliser itself puts in is marked. */
OCT_CHECKED oct_status oct_normalize_marked(const struct oct_tokenizer *t, const unsigned char *s,
                                            size_t n, const char *own, struct oct_buf *out,
                                            struct oct_buf *out_own);
OCT_CHECKED oct_status oct_normal_add(struct oct_tokenizer *t, int kind, const char *pattern,
                                      size_t pattern_len, const char *text, size_t text_len);
/* Makes id an added token: flags it, finds it in text from now on. `normalized` as in
 * tokenizer.json: it is looked for, and decoded, in its normalised form. */
OCT_CHECKED oct_status oct_tokenizer_add(struct oct_tokenizer *t, const struct oct_added *token,
                                         bool normalized);
/* Computes pieces; replace[from] -> to is done in every token's text first (n_replace may be 0). */
struct oct_replace {
    const char *from, *to;
    size_t from_len, to_len;
};
OCT_CHECKED oct_status oct_tokenizer_finish(struct oct_tokenizer *t,
                                            const struct oct_replace *replace, size_t n_replace);
/* Puts a token before (after) every prompt, or takes it away: -1 leaves it as it is. */
void oct_tokenizer_set_around(struct oct_tokenizer *t, int add_bos, int add_eos);

/* Where the two large members of tokenizer.json lie. */
struct oct_skim {
    const char *vocab, *merges; /* the '{' and the '[' */
    size_t vocab_len, merges_len;
    size_t n_tokens, n_merge_texts; /* strings in the two; the second: one or two for a merge */
    struct oct_buf rest;            /* the file with {} and [] in their places; owned */
};
/* Cuts json[len] (valid UTF-8) apart; only as strict as that needs, the parts are parsed later. */
OCT_CHECKED oct_status oct_skim_json(const char *json, size_t len, struct oct_skim *out);
OCT_CHECKED oct_status oct_skim_vocab(const struct oct_skim *s, struct oct_tokens *tokens);
OCT_CHECKED oct_status oct_skim_merges(const struct oct_skim *s, struct oct_bpe *bpe);

/* Merges on their way into the table, some at a time, because looking one up means to wait for
 * memory six times. {.bpe = ...} is empty. */
enum { OCT_MERGES_AT_ONCE = 32 };
struct oct_merge_queue {
    struct oct_bpe *bpe; /* borrowed */
    struct oct_buf text; /* both texts of each, back to back; owned */
    struct oct_queued_merge {
        size_t offset, left_len, right_len;
        uint32_t hash[3]; /* of the left, of the right, of both together */
        uint32_t rank;    /* its place in the list */
        int32_t result;   /* what they make, if it was guessed; or -1 */
    } merges[OCT_MERGES_AT_ONCE];
    size_t n;
    uint32_t guess; /* tokens are numbered as merges make them, in most vocabularies: the next merge
                       makes this one, or the one after it */
};
OCT_CHECKED oct_status oct_merge_queue_put(struct oct_merge_queue *q, const char *left,
                                           size_t left_len, const char *right, size_t right_len,
                                           uint32_t rank);
OCT_CHECKED oct_status oct_merge_queue_flush(struct oct_merge_queue *q);

#endif
