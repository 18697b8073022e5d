/* SPDX-License-Identifier: Apache-2.0
 *
 * tokenizer_bpe.h - one word to ids: characters (or bytes) first, then the pair of lowest rank,
 * leftmost on ties, merged again and again. O(n log n) for long words. */
#ifndef OCT_TEXT_TOKENIZER_BPE_H
#define OCT_TEXT_TOKENIZER_BPE_H

#include "text/tokenizer.h"
#include "text/tokenizer_table.h"

struct oct_bpe {
    const struct oct_tokens *tokens; /* borrowed */
    struct oct_pairs pairs;          /* owned */
    struct oct_char_slot {
        uint32_t code_plus_1, id;
    } * chars;             /* owned; ids of tokens of one character. Open addressing */
    uint32_t n_chars;      /* a power of two */
    int32_t byte_ids[256]; /* byte_level: the token of each byte, or -1 */
    int32_t fallback[256]; /* <0xNN>, or -1 */
    int32_t unk;           /* -1: none */
    bool unk_missing;      /* the file names one that is not in the vocabulary */
    bool byte_level, byte_fallback, fuse_unk, ignore_merges;
    size_t longest; /* bytes of the longest token of the model */
    uint32_t cut;   /* a character no merge reaches from the left (U+2581): words may be cut before
                       each of its runs without changing any id; 0: none */
};

/* Finds single characters, bytes and `cut`; call it when tokens, flags and pairs are complete. */
OCT_CHECKED oct_status oct_bpe_finish(struct oct_bpe *b);
void oct_bpe_deinit(struct oct_bpe *b);

/* Whether the merge of the two texts could join x and the character `cut`; see struct oct_bpe. */
bool oct_bpe_joins(const char *left, size_t left_len, const char *right, size_t right_len);

/* One call's memory: long words, and the words seen before. {0} is fine; not shared. */
struct oct_bpe_run {
    const struct oct_bpe *bpe; /* borrowed */
    struct oct_ids *out;       /* borrowed; ids of earlier words stay where they are */
    struct oct_bpe_symbol *symbols;
    size_t cap_symbols;
    uint64_t *heap;
    size_t end_heap, cap_heap;
    struct oct_bpe_seen *seen; /* NULL: remember nothing */
};
/* From now on words are remembered; worth it for texts of some kilobytes. */
OCT_CHECKED oct_status oct_bpe_remember(struct oct_bpe_run *r);
/* Appends the ids of a word (valid UTF-8, not empty). */
OCT_CHECKED oct_status oct_bpe_word(struct oct_bpe_run *r, const unsigned char *word, size_t len);
void oct_bpe_run_deinit(struct oct_bpe_run *r);

OCT_CHECKED oct_status oct_ids_push(struct oct_ids *ids, uint32_t id);

/* GPT-2's alphabet: the character that stands for a byte, and back (-1: none). */
uint32_t oct_byte_char(unsigned char byte);
int oct_char_byte(uint32_t c);

#endif
