/* SPDX-License-Identifier: Apache-2.0 */
#include "text/tokenizer_bpe.h"

#include "text/unicode.h"

#include <string.h>

enum {
    SHORT_WORD = 48,     /* symbols; up to here a plain search for the lowest rank is fastest */
    SEEN_SLOTS = 8192,   /* words remembered; 256 KiB, which stays in the second-level cache */
    SEEN_KEY_BYTES = 24, /* the last one holds the length */
    CUT_CHAR = 0x2581,   /* the sign that SentencePiece writes for a space */
};

struct oct_bpe_symbol {
    uint32_t id;
    int32_t prev,
        next; /* -1: none; a symbol merged into its left neighbour has prev == next == -2 */
};
struct oct_bpe_seen {
    uint64_t key[3];   /* the word's bytes, zeros, and its length in the last byte; 0: free */
    uint32_t first, n; /* its ids: out->data[first .. first+n) */
};

uint32_t oct_byte_char(unsigned char byte)
{
    if ((byte >= 33 && byte <= 126) || (byte >= 161 && byte != 173)) {
        return byte;
    }
    if (byte <= 32) {
        return 256u + byte;
    }
    return byte == 173 ? 323 : 256u + 33u + (byte - 127u);
}

int oct_char_byte(uint32_t c)
{
    if (c < 256) {
        return oct_byte_char((unsigned char)c) == c ? (int)c : -1;
    }
    if (c <= 288) {
        return (int)c - 256;
    }
    return c <= 322 ? (int)c - 289 + 127 : c == 323 ? 173 : -1;
}

oct_status oct_ids_push(struct oct_ids *ids, uint32_t id)
{
    if (ids->len == ids->cap) {
        const size_t cap = ids->cap ? ids->cap * 2 : 64;
        int32_t *data = oct_realloc_array(ids->data, cap, sizeof *data);
        if (!data) {
            return oct_no_memory("token ids", cap * sizeof *data);
        }
        ids->data = data;
        ids->cap = cap;
    }
    ids->data[ids->len++] = (int32_t)id;
    return OCT_OK;
}

static oct_status reserve_ids(struct oct_ids *ids, size_t extra)
{
    if (ids->cap - ids->len >= extra) {
        return OCT_OK;
    }
    const size_t cap = ids->cap * 2 > ids->len + extra ? ids->cap * 2 : ids->len + extra;
    int32_t *data = oct_realloc_array(ids->data, cap, sizeof *data);
    if (!data) {
        return oct_no_memory("token ids", cap * sizeof *data);
    }
    ids->data = data;
    ids->cap = cap;
    return OCT_OK;
}

/* ---- the fixed part ---- */

static int32_t find_model_token(const struct oct_bpe *b, const unsigned char *text, size_t len)
{
    const int32_t id = oct_tokens_find(b->tokens, (const char *)text, len);
    return id >= 0 && (b->tokens->flags[id] & OCT_TOKEN_MODEL) ? id : -1;
}

static oct_status index_chars(struct oct_bpe *b)
{
    uint32_t n = 0;
    for (int pass = 0; pass < 2; pass++) {
        for (uint32_t id = 0; id < b->tokens->n_ids; id++) {
            size_t len, step;
            if (!(b->tokens->flags[id] & OCT_TOKEN_MODEL)) {
                continue;
            }
            const char *text = oct_tokens_text(b->tokens, id, &len);
            b->longest = len > b->longest ? len : b->longest;
            if (len == 0 || len > 4 || oct_utf8_step((unsigned char)text[0]) != len) {
                continue;
            }
            n++;
            if (pass == 1) {
                const uint32_t code = oct_utf8_get((const unsigned char *)text, &step);
                uint32_t at = (uint32_t)oct_hash_u64(code, b->tokens->seed);
                while (b->chars[at & (b->n_chars - 1)].code_plus_1) {
                    at++;
                }
                b->chars[at & (b->n_chars - 1)] = (struct oct_char_slot){code + 1, id};
            }
        }
        if (pass == 0) {
            for (b->n_chars = 16; b->n_chars < 2 * n; b->n_chars *= 2) {
            }
            b->chars = oct_calloc(b->n_chars, sizeof *b->chars);
            if (!b->chars) {
                return oct_no_memory("a vocabulary", b->n_chars * sizeof *b->chars);
            }
        }
    }
    return OCT_OK;
}

static int32_t find_char(const struct oct_bpe *b, uint32_t code)
{
    uint32_t at = (uint32_t)oct_hash_u64(code, b->tokens->seed);
    for (;; at++) {
        const struct oct_char_slot *slot = &b->chars[at & (b->n_chars - 1)];
        if (slot->code_plus_1 == code + 1) {
            return (int32_t)slot->id;
        }
        if (!slot->code_plus_1) {
            return -1;
        }
    }
}

bool oct_bpe_joins(const char *left, size_t left_len, const char *right, size_t right_len)
{
    static const char cut[] = "\xe2\x96\x81";
    if (right_len < 3 || memcmp(right, cut, 3) != 0) {
        return false;
    }
    return left_len < 3 || memcmp(left + left_len - 3, cut, 3) != 0;
}

oct_status oct_bpe_finish(struct oct_bpe *b)
{
    OCT_TRY(index_chars(b));
    static const char hex[] = "0123456789ABCDEF";
    for (unsigned i = 0; i < 256; i++) {
        const unsigned char name[6] = {
            '<', '0', 'x', (unsigned char)hex[i >> 4], (unsigned char)hex[i & 15], '>'};
        b->byte_ids[i] = find_char(b, oct_byte_char((unsigned char)i));
        b->fallback[i] = find_model_token(b, name, sizeof name);
    }
    if (b->byte_level || b->ignore_merges || find_char(b, CUT_CHAR) < 0) {
        b->cut = 0;
    }
    return OCT_OK;
}

void oct_bpe_deinit(struct oct_bpe *b)
{
    oct_pairs_deinit(&b->pairs);
    oct_free(b->chars);
    *b = (struct oct_bpe){0};
}

/* ---- a word's first symbols ---- */

/* Adds the symbols of characters that the vocabulary may lack. The reference's order is kept, also
 * where it is odd: an unknown run that waits to be fused comes after bytes that follow it. */
struct opening {
    const struct oct_bpe *b;
    uint32_t *ids;
    size_t n;
    bool unknown_waits;
};

static oct_status open_char(struct opening *o, uint32_t code)
{
    const struct oct_bpe *b = o->b;
    const int32_t id = find_char(b, code);
    if (id >= 0) {
        if (o->unknown_waits) {
            o->ids[o->n++] = (uint32_t)b->unk;
            o->unknown_waits = false;
        }
        o->ids[o->n++] = (uint32_t)id;
        return OCT_OK;
    }
    if (b->byte_fallback) {
        unsigned char bytes[4];
        const size_t len = oct_utf8_put(code, bytes);
        bool all = true;
        for (size_t i = 0; i < len; i++) {
            all = all && b->fallback[bytes[i]] >= 0;
        }
        for (size_t i = 0; all && i < len; i++) {
            o->ids[o->n++] = (uint32_t)b->fallback[bytes[i]];
        }
        if (all) {
            return OCT_OK;
        }
    }
    if (b->unk_missing) {
        return OCT_FAIL(OCT_E_FORMAT,
                        "model.unk_token is not in the vocabulary, but the text has a character "
                        "(U+%04X) that needs it",
                        code);
    }
    if (b->unk >= 0) {
        if (o->unknown_waits && !b->fuse_unk) {
            o->ids[o->n++] = (uint32_t)b->unk;
        }
        o->unknown_waits = true;
    }
    return OCT_OK;
}

/* ids has room for `len` symbols (twice as many for byte_level with fallback); *n: how many came.
 */
static oct_status open_word(const struct oct_bpe *b, const unsigned char *word, size_t len,
                            uint32_t *ids, size_t *n)
{
    struct opening o = {.b = b, .ids = ids};
    if (b->byte_level) {
        for (size_t i = 0; i < len; i++) {
            const int32_t id = b->byte_ids[word[i]];
            if (id >= 0 && !o.unknown_waits) {
                ids[o.n++] = (uint32_t)id;
            } else {
                OCT_TRY(open_char(&o, oct_byte_char(word[i])));
            }
        }
    } else {
        for (size_t i = 0; i < len;) {
            size_t step;
            OCT_TRY(open_char(&o, oct_utf8_get(word + i, &step)));
            i += step;
        }
    }
    if (o.unknown_waits) {
        ids[o.n++] = (uint32_t)b->unk;
    }
    *n = o.n;
    return OCT_OK;
}

/* ---- short words: look for the lowest rank each time ---- */

static size_t merge_short(const struct oct_pairs *pairs, uint32_t *ids, size_t n)
{
    /* rank[i], result[i]: of the pair (i, i+1) */
    uint32_t rank[2 * SHORT_WORD], result[2 * SHORT_WORD];
    for (size_t i = 0; i + 1 < n; i++) {
        const struct oct_pair *p = oct_pairs_get(pairs, ids[i], ids[i + 1]);
        rank[i] = p ? p->rank : UINT32_MAX;
        result[i] = p ? p->result : 0;
    }
    while (n > 1) {
        size_t best = 0;
        for (size_t i = 1; i + 1 < n; i++) {
            best = rank[i] < rank[best] ? i : best;
        }
        if (rank[best] == UINT32_MAX) {
            break;
        }
        ids[best] = result[best];
        n--;
        for (size_t i = best + 1; i < n; i++) {
            ids[i] = ids[i + 1];
        }
        for (size_t i = best; i + 1 < n; i++) {
            rank[i] = rank[i + 1];
            result[i] = result[i + 1];
        }
        for (size_t i = best ? best - 1 : 0; i <= best && i + 1 < n; i++) {
            const struct oct_pair *p = oct_pairs_get(pairs, ids[i], ids[i + 1]);
            rank[i] = p ? p->rank : UINT32_MAX;
            result[i] = p ? p->result : 0;
        }
    }
    return n;
}

/* ---- long words: a heap of merges, stale ones dropped when they come up ----
 *
 * A merge is rank << 32 | place of its left symbol: the smallest is the one to do next. The eight
 * children of a node fill a cache line, since a word of megabytes has a heap that no cache holds:
 * the root is heap[7], the children of i begin at 8 * (i - 6), and heap is aligned to 64. */

enum { HEAP_ROOT = 7, HEAP_ALIGN = 64, CHILDREN = 8 };

static void heap_up(uint64_t *heap, size_t at, uint64_t m)
{
    for (size_t up; at > HEAP_ROOT && m < heap[up = at / CHILDREN + 6]; at = up) {
        heap[at] = heap[up];
    }
    heap[at] = m;
}

static oct_status heap_push(struct oct_bpe_run *r, uint64_t m)
{
    if (r->end_heap >= r->cap_heap) {
        const size_t cap = r->cap_heap + r->cap_heap / 2 + 64;
        uint64_t *heap = oct_aligned_alloc(HEAP_ALIGN, cap * sizeof *heap);
        if (!heap) {
            return oct_no_memory("merging a long word", cap * sizeof *heap);
        }
        if (r->heap) {
            memcpy(heap, r->heap, r->end_heap * sizeof *heap);
        }
        oct_free(r->heap);
        r->heap = heap;
        r->cap_heap = cap;
    }
    heap_up(r->heap, r->end_heap++, m);
    return OCT_OK;
}

/* The smallest; the symbol of the one after it is on its way to the cache. */
static uint64_t heap_pop(struct oct_bpe_run *r)
{
    uint64_t *heap = r->heap;
    const uint64_t top = heap[HEAP_ROOT], moved = heap[--r->end_heap];
    const size_t end = r->end_heap;
    size_t at = HEAP_ROOT;
    for (size_t child; (child = CHILDREN * (at - 6)) < end;) {
        size_t best = child;
        const size_t last = end - child < CHILDREN ? end : child + CHILDREN;
        for (size_t i = child + 1; i < last; i++) {
            best = heap[i] < heap[best] ? i : best;
        }
        if (moved <= heap[best]) {
            break;
        }
        heap[at] = heap[best];
        if (at == HEAP_ROOT) {
            __builtin_prefetch(&r->symbols[(uint32_t)heap[at]], 1);
        }
        at = best;
    }
    heap[at] = moved;
    return top;
}

static oct_status push_pair(struct oct_bpe_run *r, int32_t at, int32_t next)
{
    if (at < 0 || next < 0) {
        return OCT_OK;
    }
    const struct oct_pair *p =
        oct_pairs_get(&r->bpe->pairs, r->symbols[at].id, r->symbols[next].id);
    return p ? heap_push(r, (uint64_t)p->rank << 32 | (uint32_t)at) : OCT_OK;
}

static oct_status merge_long(struct oct_bpe_run *r, size_t n)
{
    struct oct_bpe_symbol *s = r->symbols;
    r->end_heap = HEAP_ROOT;
    for (size_t i = 0; i + 1 < n; i++) {
        OCT_TRY(push_pair(r, (int32_t)i, (int32_t)i + 1));
    }
    while (r->end_heap > HEAP_ROOT) {
        const uint64_t top = heap_pop(r);
        const uint32_t at = (uint32_t)top;
        struct oct_bpe_symbol *left = &s[at];
        if (left->next < 0) { /* the last symbol, or one that is gone */
            continue;
        }
        struct oct_bpe_symbol *right = &s[left->next];
        const struct oct_pair *p = oct_pairs_get(&r->bpe->pairs, left->id, right->id);
        if (!p || p->rank != top >> 32) { /* one of the two has grown since */
            continue;
        }
        left->id = p->result;
        left->next = right->next;
        right->prev = right->next = -2;
        if (left->next >= 0) {
            s[left->next].prev = (int32_t)at;
        }
        OCT_TRY(push_pair(r, left->prev, (int32_t)at));
        OCT_TRY(push_pair(r, (int32_t)at, left->next));
    }
    return OCT_OK;
}

static oct_status long_word(struct oct_bpe_run *r, const unsigned char *word, size_t len)
{
    const size_t cap = 2 * len; /* a byte of a byte-level word may fall back to two */
    if (r->cap_symbols < cap) {
        oct_free(r->symbols);
        r->cap_symbols = 0;
        r->symbols = oct_calloc(cap, sizeof *r->symbols);
        if (!r->symbols) {
            return oct_no_memory("merging a long word", cap * sizeof *r->symbols);
        }
        r->cap_symbols = cap;
    }
    /* The ids are opened straight into the output and copied from there. */
    struct oct_ids *out = r->out;
    OCT_TRY(reserve_ids(out, cap));
    uint32_t *ids = (uint32_t *)(out->data + out->len);
    size_t n;
    OCT_TRY(open_word(r->bpe, word, len, ids, &n));
    for (size_t i = 0; i < n; i++) {
        r->symbols[i] =
            (struct oct_bpe_symbol){ids[i], (int32_t)i - 1, i + 1 < n ? (int32_t)i + 1 : -1};
    }
    OCT_TRY(merge_long(r, n));
    for (int32_t i = n ? 0 : -1; i >= 0; i = r->symbols[i].next) {
        out->data[out->len++] = (int32_t)r->symbols[i].id;
    }
    return OCT_OK;
}

static oct_status short_word(struct oct_bpe_run *r, const unsigned char *word, size_t len)
{
    uint32_t ids[2 * SHORT_WORD];
    size_t n;
    OCT_TRY(open_word(r->bpe, word, len, ids, &n));
    if (n == 0) {
        return OCT_OK; /* characters that the vocabulary lacks, and no unk_token */
    }
    n = merge_short(&r->bpe->pairs, ids, n);
    OCT_TRY(reserve_ids(r->out, n));
    memcpy(r->out->data + r->out->len, ids, n * sizeof *ids);
    r->out->len += n;
    return OCT_OK;
}

/* ---- words ---- */

oct_status oct_bpe_remember(struct oct_bpe_run *r)
{
    if (!r->seen) {
        r->seen = oct_calloc(SEEN_SLOTS, sizeof *r->seen);
        if (!r->seen) {
            return oct_no_memory("remembering words", SEEN_SLOTS * sizeof *r->seen);
        }
    }
    return OCT_OK;
}

void oct_bpe_run_deinit(struct oct_bpe_run *r)
{
    oct_free(r->symbols);
    oct_free(r->heap);
    oct_free(r->seen);
    *r = (struct oct_bpe_run){0};
}

/* The whole word as one token, for ignore_merges; *id -1 if it is none. */
static oct_status whole_word(const struct oct_bpe *b, const unsigned char *word, size_t len,
                             int32_t *id)
{
    unsigned char text[2 * 64] = {0};
    *id = -1;
    if (len > b->longest) {
        return OCT_OK;
    }
    if (!b->byte_level) {
        *id = find_model_token(b, word, len);
        return OCT_OK;
    }
    unsigned char *spelled = len > sizeof text / 2 ? oct_malloc(2 * len) : text;
    if (!spelled) {
        return oct_no_memory("a long word", 2 * len);
    }
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        n += oct_utf8_put(oct_byte_char(word[i]), spelled + n);
    }
    *id = find_model_token(b, spelled, n);
    if (spelled != text) {
        oct_free(spelled);
    }
    return OCT_OK;
}

static oct_status fresh_word(struct oct_bpe_run *r, const unsigned char *word, size_t len)
{
    if (r->bpe->ignore_merges) {
        int32_t id;
        OCT_TRY(whole_word(r->bpe, word, len, &id));
        if (id >= 0) {
            return oct_ids_push(r->out, (uint32_t)id);
        }
    }
    return len <= SHORT_WORD ? short_word(r, word, len) : long_word(r, word, len);
}

static oct_status seen_word(struct oct_bpe_run *r, const unsigned char *word, size_t len)
{
    if (!r->seen || len >= SEEN_KEY_BYTES) {
        return fresh_word(r, word, len);
    }
    uint64_t key[3] = {0, 0, (uint64_t)len << 56};
    unsigned char *bytes = (unsigned char *)key;
    for (size_t i = 0; i < len; i++) {
        bytes[i] = word[i];
    }
    const uint64_t hash =
        oct_mix(key[0] ^ key[1] << 1 ^ 0x9e3779b97f4a7c15u, key[1] ^ key[2] ^ 0xe7037ed1a0b428dbu);
    struct oct_bpe_seen *slot = &r->seen[hash & (SEEN_SLOTS - 1)];
    struct oct_ids *out = r->out;
    if (slot->key[0] == key[0] && slot->key[1] == key[1] && slot->key[2] == key[2]) {
        OCT_TRY(reserve_ids(out, slot->n));
        for (uint32_t i = 0; i < slot->n; i++) {
            out->data[out->len++] = out->data[slot->first + i];
        }
        return OCT_OK;
    }
    const size_t first = out->len;
    OCT_TRY(fresh_word(r, word, len));
    if (first <= UINT32_MAX) {
        *slot = (struct oct_bpe_seen){
            {key[0], key[1], key[2]}, (uint32_t)first, (uint32_t)(out->len - first)};
    }
    return OCT_OK;
}

oct_status oct_bpe_word(struct oct_bpe_run *r, const unsigned char *word, size_t len)
{
    if (!r->bpe->cut) {
        return seen_word(r, word, len);
    }
    size_t start = 0;
    bool after_cut = true; /* the character before `at` is the cut character (or none) */
    for (size_t at = 0; at < len;) {
        const bool is_cut =
            word[at] == 0xe2 && len - at >= 3 && word[at + 1] == 0x96 && word[at + 2] == 0x81;
        if (is_cut && !after_cut) {
            OCT_TRY(seen_word(r, word + start, at - start));
            start = at;
        }
        after_cut = is_cut;
        at += oct_utf8_step(word[at]);
    }
    return seen_word(r, word + start, len - start);
}
