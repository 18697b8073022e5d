/* SPDX-License-Identifier: Apache-2.0
 *
 * tokenizer_table.h - tokens by text and by id, in flat arrays and one open-addressing table.
 * Tables are keyed with a secret seed, so that no file can be made to collide in them. */
#ifndef OCT_TEXT_TOKENIZER_TABLE_H
#define OCT_TEXT_TOKENIZER_TABLE_H

#include "base/mem.h"

enum {
    OCT_TOKENS_MAX_IDS = 1 << 21,
    OCT_TOKENS_MAX_TEXT = 256 << 20, /* bytes of all tokens together */
};
/* What is known of an id. */
enum {
    OCT_TOKEN_EXISTS = 1,
    OCT_TOKEN_MODEL = 2,       /* in the model's own vocabulary: BPE may produce it */
    OCT_TOKEN_SPECIAL = 4,     /* left out by skip_special; not matched in a user's text */
    OCT_TOKEN_ADDED = 8,       /* cut out of the text before everything else */
    OCT_TOKEN_BYTE = 16,       /* stands for one byte (<0x0A>) */
    OCT_TOKEN_PLAIN = 32,      /* its text is its piece: no decoding of a byte alphabet */
    OCT_TOKEN_NORMALIZED = 64, /* an added token that is looked for in its normalised form */
};

struct oct_tokens {
    char *text; /* every token's text, back to back; owned, as all below */
    size_t text_len, text_cap;
    struct oct_tokens_entry {
        uint32_t offset, len;
    } * entries;    /* [cap_ids]; of ids that exist */
    uint8_t *flags; /* [cap_ids] OCT_TOKEN_*; 0: a hole */
    uint32_t n_ids, cap_ids;
    struct oct_tokens_slot {
        uint32_t hash, id_plus_1; /* 0: free */
        struct oct_tokens_entry text;
    } * slots;
    uint32_t n_slots; /* a power of two, at least twice n_tokens */
    uint32_t n_tokens;
    uint64_t seed;
};

/* {0} is an empty vocabulary; n_hint and text_hint: how much will come, for one allocation each. */
OCT_CHECKED oct_status oct_tokens_init(struct oct_tokens *v, size_t n_hint, size_t text_hint);
void oct_tokens_deinit(struct oct_tokens *v);
/* OCT_E_FORMAT if the id or the text is taken, or the id is out of range. */
OCT_CHECKED oct_status oct_tokens_add(struct oct_tokens *v, uint64_t id, const char *text,
                                      size_t len, uint8_t flags);
int32_t oct_tokens_find(const struct oct_tokens *v, const char *text, size_t len); /* or -1 */

/* Tokens on their way into the table, some at a time, because a table that no cache holds makes
 * each wait for memory. {.tokens = ...} is empty; what is not flushed is not in the table. */
enum { OCT_TOKENS_AT_ONCE = 32 };
struct oct_token_queue {
    struct oct_tokens *tokens; /* borrowed */
    struct oct_queued_token {
        uint32_t id, hash;
        struct oct_tokens_entry text; /* in tokens->text already */
        uint8_t flags;
    } items[OCT_TOKENS_AT_ONCE];
    size_t n;
};
/* As oct_tokens_add; what is wrong with a token may be said by a later call. */
OCT_CHECKED oct_status oct_token_queue_put(struct oct_token_queue *q, uint64_t id, const char *text,
                                           size_t len, uint8_t flags);
OCT_CHECKED oct_status oct_token_queue_flush(struct oct_token_queue *q);

/* oct_tokens_find in three steps, for many at a time: the memory that step 1 asks for arrives while
 * others are hashed, and that of step 2 while others are looked up. */
uint32_t oct_tokens_hash(const struct oct_tokens *v, const char *text, size_t len);
static inline void oct_tokens_prefetch(const struct oct_tokens *v, uint32_t hash, int step)
{
    const struct oct_tokens_slot *slot = &v->slots[hash & (v->n_slots - 1)];
    if (step == 1) {
        __builtin_prefetch(slot, 1);
    } else if (slot->id_plus_1) {
        __builtin_prefetch(v->text + slot->text.offset);
    }
}
int32_t oct_tokens_find_hashed(const struct oct_tokens *v, const char *text, size_t len,
                               uint32_t hash);
static inline const char *oct_tokens_text(const struct oct_tokens *v, uint32_t id, size_t *len)
{
    *len = v->entries[id].len;
    return v->text + v->entries[id].offset;
}

/* A hash of bytes and one of a number, hard to predict without the seed. */
static inline uint64_t oct_mix(uint64_t a, uint64_t b)
{
    const unsigned __int128 p = (unsigned __int128)a * b;
    return (uint64_t)p ^ (uint64_t)(p >> 64);
}
static inline uint64_t oct_hash_u64(uint64_t x, uint64_t seed)
{
    return oct_mix(oct_mix(x ^ seed, 0x9e3779b97f4a7c15u) ^ seed, 0xe7037ed1a0b428dbu);
}

/* Pairs of ids that merge: (left, right) -> (rank, result). */
struct oct_pairs {
    struct oct_pair {
        uint32_t left, right; /* left UINT32_MAX: free */
        uint32_t rank, result;
    } * slots;        /* owned */
    uint64_t n_slots; /* a power of two; 0: no pairs at all */
    uint64_t n_used;
    uint64_t seed;
};
OCT_CHECKED oct_status oct_pairs_init(struct oct_pairs *p, size_t n, uint64_t seed);
/* A pair that is there already takes the new values: the last one counts, as in the reference. At
 * most as many different ones as oct_pairs_init was told. */
void oct_pairs_put(struct oct_pairs *p, uint32_t left, uint32_t right, uint32_t rank,
                   uint32_t result);
static inline const struct oct_pair *oct_pairs_get(const struct oct_pairs *p, uint32_t left,
                                                   uint32_t right)
{
    uint64_t at = oct_hash_u64((uint64_t)left << 32 | right, p->seed);
    for (;; at++) {
        const struct oct_pair *slot = &p->slots[at & (p->n_slots - 1)];
        if (slot->left == left && slot->right == right) {
            return slot;
        }
        if (slot->left == UINT32_MAX) {
            return NULL;
        }
    }
}
static inline void oct_pairs_prefetch(const struct oct_pairs *p, uint32_t left, uint32_t right)
{
    __builtin_prefetch(
        &p->slots[oct_hash_u64((uint64_t)left << 32 | right, p->seed) & (p->n_slots - 1)], 1);
}
static inline void oct_pairs_deinit(struct oct_pairs *p)
{
    oct_free(p->slots);
    *p = (struct oct_pairs){0};
}

#endif
