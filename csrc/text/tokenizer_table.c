/* SPDX-License-Identifier: Apache-2.0 */
#include "text/tokenizer_table.h"

#include "base/rng.h"

#include <string.h>

/* All of text[len] is in `h` and the two words, which may overlap. */
uint32_t oct_tokens_hash(const struct oct_tokens *v, const char *text, size_t len)
{
    const uint64_t seed = v->seed;
    uint64_t h = seed ^ len, word = 0;
    if (len >= 8) {
        const char *last = text + len - 8;
        for (; text < last; text += 8) {
            memcpy(&word, text, 8);
            h = oct_mix(h ^ word, 0x9e3779b97f4a7c15u ^ seed);
        }
        memcpy(&word, last, 8);
    } else if (len >= 4) {
        uint32_t first, last;
        memcpy(&first, text, 4);
        memcpy(&last, text + len - 4, 4);
        word = (uint64_t)first << 32 | last;
    } else if (len > 0) {
        const unsigned char *s = (const unsigned char *)text;
        word = (uint64_t)s[0] << 16 | (uint64_t)s[len / 2] << 8 | s[len - 1];
    }
    return (uint32_t)(oct_hash_u64(h ^ word, seed) >> 16);
}

void oct_tokens_deinit(struct oct_tokens *v)
{
    oct_free(v->text);
    oct_free(v->entries);
    oct_free(v->flags);
    oct_free(v->slots);
    *v = (struct oct_tokens){0};
}

static oct_status grow_ids(struct oct_tokens *v, size_t want)
{
    size_t cap = v->cap_ids ? v->cap_ids : 256;
    while (cap < want) {
        cap *= 2;
    }
    struct oct_tokens_entry *entries = oct_realloc_array(v->entries, cap, sizeof *entries);
    if (!entries) {
        return oct_no_memory("a vocabulary", cap * sizeof *entries);
    }
    v->entries = entries;
    uint8_t *flags = oct_realloc(v->flags, cap);
    if (!flags) {
        return oct_no_memory("a vocabulary", cap);
    }
    memset(flags + v->cap_ids, 0, cap - v->cap_ids);
    v->flags = flags;
    v->cap_ids = (uint32_t)cap;
    return OCT_OK;
}

static oct_status grow_text(struct oct_tokens *v, size_t extra)
{
    if (extra > OCT_TOKENS_MAX_TEXT - v->text_len) {
        return OCT_FAIL(OCT_E_LIMIT, "the vocabulary has more than %d bytes of text",
                        OCT_TOKENS_MAX_TEXT);
    }
    if (v->text_cap - v->text_len >= extra) {
        return OCT_OK;
    }
    size_t cap = v->text_cap * 2 > v->text_len + extra ? v->text_cap * 2 : v->text_len + extra;
    cap = cap > 4096 ? cap : 4096;
    char *text = oct_realloc(v->text, cap);
    if (!text) {
        return oct_no_memory("a vocabulary", cap);
    }
    v->text = text;
    v->text_cap = cap;
    return OCT_OK;
}

static void put_slot(struct oct_tokens_slot *slots, uint32_t n_slots, struct oct_tokens_slot slot)
{
    uint32_t at = slot.hash & (n_slots - 1);
    while (slots[at].id_plus_1) {
        at = (at + 1) & (n_slots - 1);
    }
    slots[at] = slot;
}

static oct_status grow_slots(struct oct_tokens *v, size_t want)
{
    size_t n = v->n_slots ? v->n_slots : 512;
    while (n < 2 * want) {
        n *= 2;
    }
    struct oct_tokens_slot *slots = oct_calloc(n, sizeof *slots);
    if (!slots) {
        return oct_no_memory("a vocabulary", n * sizeof *slots);
    }
    for (uint32_t i = 0; i < v->n_slots; i++) {
        if (v->slots[i].id_plus_1) {
            put_slot(slots, (uint32_t)n, v->slots[i]);
        }
    }
    oct_free(v->slots);
    v->slots = slots;
    v->n_slots = (uint32_t)n;
    return OCT_OK;
}

oct_status oct_tokens_init(struct oct_tokens *v, size_t n_hint, size_t text_hint)
{
    oct_status st;
    *v = (struct oct_tokens){0};
    n_hint = n_hint < OCT_TOKENS_MAX_IDS ? n_hint : OCT_TOKENS_MAX_IDS;
    text_hint = text_hint < OCT_TOKENS_MAX_TEXT ? text_hint : OCT_TOKENS_MAX_TEXT;
    OCT_TRY_GOTO(oct_rng_fresh_seed(&v->seed), st, fail);
    OCT_TRY_GOTO(grow_ids(v, n_hint), st, fail);
    OCT_TRY_GOTO(grow_text(v, text_hint), st, fail);
    OCT_TRY_GOTO(grow_slots(v, n_hint), st, fail);
    return OCT_OK;
fail:
    oct_tokens_deinit(v);
    return st;
}

int32_t oct_tokens_find_hashed(const struct oct_tokens *v, const char *text, size_t len,
                               uint32_t hash)
{
    if (!v->n_slots) {
        return -1;
    }
    for (uint32_t at = hash & (v->n_slots - 1);; at = (at + 1) & (v->n_slots - 1)) {
        const struct oct_tokens_slot *slot = &v->slots[at];
        if (!slot->id_plus_1) {
            return -1;
        }
        if (slot->hash == hash && slot->text.len == len &&
            memcmp(v->text + slot->text.offset, text, len) == 0) {
            return (int32_t)(slot->id_plus_1 - 1);
        }
    }
}

int32_t oct_tokens_find(const struct oct_tokens *v, const char *text, size_t len)
{
    return oct_tokens_find_hashed(v, text, len, oct_tokens_hash(v, text, len));
}

/* The token's text is v->text[q->text] already. */
static oct_status add_queued(struct oct_tokens *v, const struct oct_queued_token *q)
{
    char quoted[100], other[100];
    const char *text = v->text + q->text.offset;
    const int32_t same = oct_tokens_find_hashed(v, text, q->text.len, q->hash);
    if (same >= 0) {
        return OCT_FAIL(OCT_E_FORMAT, "token \"%s\" is in the vocabulary twice, as %d and as %u",
                        oct_error_quote(quoted, sizeof quoted, text, q->text.len), same, q->id);
    }
    if (q->id < v->n_ids && v->flags[q->id]) {
        return OCT_FAIL(OCT_E_FORMAT, "tokens \"%s\" and \"%s\" have the same id %u",
                        oct_error_quote(other, sizeof other, v->text + v->entries[q->id].offset,
                                        v->entries[q->id].len),
                        oct_error_quote(quoted, sizeof quoted, text, q->text.len), q->id);
    }
    if (q->id >= v->cap_ids) {
        OCT_TRY(grow_ids(v, q->id + 1));
    }
    if (2 * ((uint64_t)v->n_tokens + 1) > v->n_slots) {
        OCT_TRY(grow_slots(v, (size_t)v->n_tokens + 1));
    }
    v->entries[q->id] = q->text;
    v->flags[q->id] = q->flags | OCT_TOKEN_EXISTS;
    v->n_ids = q->id >= v->n_ids ? q->id + 1 : v->n_ids;
    v->n_tokens++;
    put_slot(v->slots, v->n_slots, (struct oct_tokens_slot){q->hash, q->id + 1, q->text});
    return OCT_OK;
}

oct_status oct_token_queue_flush(struct oct_token_queue *q)
{
    const size_t n = q->n;
    q->n = 0;
    for (size_t i = 0; i < n; i++) {
        OCT_TRY(add_queued(q->tokens, &q->items[i]));
    }
    return OCT_OK;
}

oct_status oct_token_queue_put(struct oct_token_queue *q, uint64_t id, const char *text, size_t len,
                               uint8_t flags)
{
    struct oct_tokens *v = q->tokens;
    if (id >= OCT_TOKENS_MAX_IDS) {
        char quoted[100];
        return OCT_FAIL(OCT_E_FORMAT, "token \"%s\" has the id %llu; ids go up to %d",
                        oct_error_quote(quoted, sizeof quoted, text, len), (unsigned long long)id,
                        OCT_TOKENS_MAX_IDS - 1);
    }
    if (q->n == OCT_TOKENS_AT_ONCE) {
        OCT_TRY(oct_token_queue_flush(q));
    }
    OCT_TRY(grow_text(v, len));
    struct oct_queued_token *item = &q->items[q->n++];
    *item = (struct oct_queued_token){.id = (uint32_t)id,
                                      .hash = oct_tokens_hash(v, text, len),
                                      .text = {(uint32_t)v->text_len, (uint32_t)len},
                                      .flags = flags};
    if (v->n_slots) {
        oct_tokens_prefetch(v, item->hash, 1);
    }
    memcpy(v->text + v->text_len, text, len);
    v->text_len += len;
    return OCT_OK;
}

oct_status oct_tokens_add(struct oct_tokens *v, uint64_t id, const char *text, size_t len,
                          uint8_t flags)
{
    struct oct_token_queue q;
    q.tokens = v;
    q.n = 0;
    OCT_TRY(oct_token_queue_put(&q, id, text, len, flags));
    return oct_token_queue_flush(&q);
}

oct_status oct_pairs_init(struct oct_pairs *p, size_t n, uint64_t seed)
{
    uint64_t n_slots = 16;
    while (n_slots < n + n / 2 + 1) {
        n_slots *= 2;
    }
    struct oct_pair *slots = oct_malloc(n_slots * sizeof *slots);
    if (!slots) {
        return oct_no_memory("the merges of a vocabulary", n_slots * sizeof *slots);
    }
    memset(slots, 0xff, n_slots * sizeof *slots);
    *p = (struct oct_pairs){.slots = slots, .n_slots = n_slots, .seed = seed};
    return OCT_OK;
}

void oct_pairs_put(struct oct_pairs *p, uint32_t left, uint32_t right, uint32_t rank,
                   uint32_t result)
{
    uint64_t at = oct_hash_u64((uint64_t)left << 32 | right, p->seed) & (p->n_slots - 1);
    while (p->slots[at].left != UINT32_MAX &&
           (p->slots[at].left != left || p->slots[at].right != right)) {
        at = (at + 1) & (p->n_slots - 1);
    }
    if (p->slots[at].left == UINT32_MAX) {
        OCT_ASSERT(p->n_used + 1 < p->n_slots);
        p->n_used++;
    }
    p->slots[at] = (struct oct_pair){left, right, rank, result};
}
