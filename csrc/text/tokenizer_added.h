/* SPDX-License-Identifier: Apache-2.0
 *
 * tokenizer_added.h - finds added tokens in a text before anything else touches it: leftmost, then
 * longest, by a trie. */
#ifndef OCT_TEXT_TOKENIZER_ADDED_H
#define OCT_TEXT_TOKENIZER_ADDED_H

#include "base/mem.h"

enum { OCT_ADDED_MAX_BYTES = 1024 }; /* of one added token; bounds the work per byte of text */

struct oct_added {
    uint32_t id;
    bool special, single_word, lstrip, rstrip;
    bool control; /* set by oct_added_insert: special, or spelled like one: <|...|>, <｜...｜>.
                     DeepSeek has <｜User｜> and <｜Assistant｜> as tokens that are not special */
};
struct oct_added_set {
    struct oct_added *tokens; /* owned, as all below */
    uint32_t n_tokens, cap_tokens;
    struct oct_added_edge {
        uint64_t key; /* node << 8 | byte, plus 1; 0: free */
        uint32_t child;
    } * edges;
    uint64_t n_edges, n_slots; /* n_slots: a power of two */
    uint32_t *ends;            /* [n_nodes] token that ends at a node, plus 1; 0: none */
    uint32_t n_nodes, cap_nodes;
    uint32_t first[256]; /* child of the root; 0: none */
    uint64_t seed;
};

/* pattern[len]: what to look for. OCT_E_FORMAT if it is there already, or empty;
 * OCT_E_LIMIT if it is too long. {.seed = ...} is an empty set. */
OCT_CHECKED oct_status oct_added_insert(struct oct_added_set *set, const char *pattern, size_t len,
                                        const struct oct_added *token);
void oct_added_deinit(struct oct_added_set *set);

/* A part of a text: an added token, or what stands between two. */
struct oct_added_part {
    size_t start, end;
    const struct oct_added *token; /* NULL: text */
};
typedef oct_status (*oct_added_fn)(void *user, const struct oct_added_part *part);
/* Which special tokens are found. */
struct oct_added_special {
    bool found;      /* false: they all stay text */
    const char *own; /* [len of the text] NULL, or marks: a control token is found only where all
                        its bytes are marked with 1 */
};
/* Calls `part` for each part of text[len] (valid UTF-8), in the order of the reference. */
OCT_CHECKED oct_status oct_added_split(const struct oct_added_set *set, const unsigned char *text,
                                       size_t len, const struct oct_added_special *special,
                                       oct_added_fn part, void *user);

#endif
