/* SPDX-License-Identifier: Apache-2.0 */
#include "text/tokenizer_added.h"

#include "text/tokenizer_table.h"
#include "text/unicode.h"

#include <string.h>

void oct_added_deinit(struct oct_added_set *set)
{
    oct_free(set->tokens);
    oct_free(set->edges);
    oct_free(set->ends);
    *set = (struct oct_added_set){0};
}

/* ---- the trie ---- */

static uint32_t find_child(const struct oct_added_set *set, uint32_t node, unsigned char byte)
{
    if (!set->n_slots) {
        return 0;
    }
    const uint64_t key = ((uint64_t)node << 8 | byte) + 1;
    for (uint64_t at = oct_hash_u64(key, set->seed);; at++) {
        const struct oct_added_edge *e = &set->edges[at & (set->n_slots - 1)];
        if (e->key == key) {
            return e->child;
        }
        if (!e->key) {
            return 0;
        }
    }
}

static void put_edge(struct oct_added_edge *edges, uint64_t n_slots, uint64_t seed,
                     struct oct_added_edge edge)
{
    uint64_t at = oct_hash_u64(edge.key, seed);
    while (edges[at & (n_slots - 1)].key) {
        at++;
    }
    edges[at & (n_slots - 1)] = edge;
}

/* Room for `len` more nodes and edges and one more token. */
static oct_status make_room(struct oct_added_set *set, size_t len)
{
    if (set->n_tokens == set->cap_tokens) {
        const uint32_t cap = set->cap_tokens ? set->cap_tokens * 2 : 16;
        struct oct_added *tokens = oct_realloc_array(set->tokens, cap, sizeof *tokens);
        if (!tokens) {
            return oct_no_memory("added tokens", cap * sizeof *tokens);
        }
        set->tokens = tokens;
        set->cap_tokens = cap;
    }
    if (set->n_nodes + len + 1 > set->cap_nodes) {
        const size_t cap = 2 * (set->n_nodes + len + 1);
        if (cap > UINT32_MAX) {
            return OCT_FAIL(OCT_E_LIMIT, "added_tokens: too much text in them");
        }
        uint32_t *ends = oct_realloc_array(set->ends, cap, sizeof *ends);
        if (!ends) {
            return oct_no_memory("added tokens", cap * sizeof *ends);
        }
        memset(ends + set->cap_nodes, 0, (cap - set->cap_nodes) * sizeof *ends);
        set->ends = ends;
        set->cap_nodes = (uint32_t)cap;
    }
    if (2 * (set->n_edges + len) > set->n_slots) {
        uint64_t n = set->n_slots ? set->n_slots : 64;
        while (n < 2 * (set->n_edges + len)) {
            n *= 2;
        }
        struct oct_added_edge *edges = oct_calloc(n, sizeof *edges);
        if (!edges) {
            return oct_no_memory("added tokens", n * sizeof *edges);
        }
        for (uint64_t i = 0; i < set->n_slots; i++) {
            if (set->edges[i].key) {
                put_edge(edges, n, set->seed, set->edges[i]);
            }
        }
        oct_free(set->edges);
        set->edges = edges;
        set->n_slots = n;
    }
    return OCT_OK;
}

static bool looks_special(const char *s, size_t len)
{
    static const struct {
        const char *head, *tail;
    } shape[] = {{"<|", "|>"}, {"<\xef\xbd\x9c", "\xef\xbd\x9c>"}};
    for (size_t i = 0; i < sizeof shape / sizeof *shape; i++) {
        const size_t head = strlen(shape[i].head), tail = strlen(shape[i].tail);
        if (len >= head + tail && memcmp(s, shape[i].head, head) == 0 &&
            memcmp(s + len - tail, shape[i].tail, tail) == 0) {
            return true;
        }
    }
    return false;
}

oct_status oct_added_insert(struct oct_added_set *set, const char *pattern, size_t len,
                            const struct oct_added *token)
{
    char quoted[100];
    if (len == 0) {
        return OCT_FAIL(OCT_E_FORMAT, "added_tokens: token %u has no text", token->id);
    }
    if (len > OCT_ADDED_MAX_BYTES) {
        return OCT_FAIL(OCT_E_LIMIT, "added_tokens: \"%s\" has %zu bytes; at most %d",
                        oct_error_quote(quoted, sizeof quoted, pattern, len), len,
                        OCT_ADDED_MAX_BYTES);
    }
    OCT_TRY(make_room(set, len));
    if (set->n_nodes == 0) {
        set->n_nodes = 1; /* the root */
    }
    uint32_t node = 0;
    for (size_t i = 0; i < len; i++) {
        const unsigned char byte = (unsigned char)pattern[i];
        uint32_t child = find_child(set, node, byte);
        if (!child) {
            child = set->n_nodes++;
            put_edge(set->edges, set->n_slots, set->seed,
                     (struct oct_added_edge){((uint64_t)node << 8 | byte) + 1, child});
            set->n_edges++;
            if (node == 0) {
                set->first[byte] = child;
            }
        }
        node = child;
    }
    if (set->ends[node]) {
        return OCT_FAIL(OCT_E_FORMAT, "added_tokens: \"%s\" is there twice",
                        oct_error_quote(quoted, sizeof quoted, pattern, len));
    }
    set->tokens[set->n_tokens] = *token;
    set->tokens[set->n_tokens++].control = token->special || looks_special(pattern, len);
    set->ends[node] = set->n_tokens;
    return OCT_OK;
}

/* The token may be one here: the text, or this part of it, is free to name it. */
static bool allowed(const struct oct_added_special *special, const struct oct_added *token,
                    size_t pos, size_t end)
{
    if (special->own) {
        return !token->control || !memchr(special->own + pos, 0, end - pos);
    }
    return !token->special || special->found;
}

/* The longest token that starts at text[pos], or NULL; with `only`, of those allowed there. */
static const struct oct_added *longest(const struct oct_added_set *set, const unsigned char *text,
                                       size_t pos, size_t len, const struct oct_added_special *only,
                                       size_t *end)
{
    const struct oct_added *found = NULL;
    uint32_t node = set->first[text[pos]];
    for (size_t at = pos + 1; node; at++) {
        const struct oct_added *token = set->ends[node] ? &set->tokens[set->ends[node] - 1] : NULL;
        if (token && (!only || allowed(only, token, pos, at))) {
            found = token;
            *end = at;
        }
        node = at < len ? find_child(set, node, text[at]) : 0;
    }
    return found;
}

/* ---- the words around a token ---- */

static unsigned class_before(const unsigned char *text, size_t pos, size_t *start)
{
    size_t step;
    do {
        pos--;
    } while ((text[pos] & 0xc0) == 0x80);
    *start = pos;
    return oct_uni_class(oct_utf8_get(text + pos, &step));
}

static bool in_a_word(const unsigned char *text, size_t len, size_t start, size_t end)
{
    size_t at;
    return (start > 0 && (class_before(text, start, &at) & OCT_UNI_WORD)) ||
           (end < len && (oct_uni_class(oct_utf8_get(text + end, &at)) & OCT_UNI_WORD));
}

static size_t spaces_before(const unsigned char *text, size_t pos)
{
    size_t at;
    while (pos > 0 && (class_before(text, pos, &at) & OCT_UNI_SPACE)) {
        pos = at;
    }
    return pos;
}

static size_t spaces_after(const unsigned char *text, size_t pos, size_t len)
{
    size_t step;
    while (pos < len && (oct_uni_class(oct_utf8_get(text + pos, &step)) & OCT_UNI_SPACE)) {
        pos += step;
    }
    return pos;
}

/* spaces_before() of a run of spaces with many tokens in it would look at the run for each of them:
 * it stops where the part before ended. */
static size_t strip_left(const unsigned char *text, size_t pos, size_t floor)
{
    return pos > floor ? floor + spaces_before(text + floor, pos - floor) : pos;
}

/* A special token that begins in one writer's text and ends in the other's is none. What it hides
 * may be one, so the search goes on in it; a token that is all of one writer's text is passed over
 * whole, as the reference does with special tokens off. */
static bool is_mixed(const struct oct_added_special *special, size_t pos, size_t end)
{
    return special->own && memchr(special->own + pos, 1, end - pos) &&
           memchr(special->own + pos, 0, end - pos);
}

oct_status oct_added_split(const struct oct_added_set *set, const unsigned char *text, size_t len,
                           const struct oct_added_special *special, oct_added_fn part, void *user)
{
    size_t done = 0;
    size_t run_start = 0, run_end = 0; /* spaces that rstrip walked over: not walked again */
    for (size_t pos = 0; pos < len && set->n_tokens;) {
        if (!set->first[text[pos]]) {
            pos++;
            continue;
        }
        size_t start = pos, end = pos;
        const struct oct_added *token = longest(set, text, pos, len, NULL, &end);
        if (token && !allowed(special, token, pos, end) && is_mixed(special, pos, end)) {
            token = longest(set, text, pos, len, special, &end);
        }
        if (!token) {
            pos++;
            continue;
        }
        const bool taken = allowed(special, token, pos, end);
        pos = end; /* what follows is looked for after the match, even if the match is not taken */
        if (!taken || (token->single_word && in_a_word(text, len, start, end))) {
            continue;
        }
        if (token->lstrip) {
            const size_t stripped = strip_left(text, start, done);
            start = stripped > done ? stripped : done;
        }
        if (token->rstrip) {
            if (end < run_start || end > run_end) {
                run_start = end;
                run_end = spaces_after(text, end, len);
            }
            end = run_end;
        }
        if (done < start) {
            OCT_TRY(part(user, &(struct oct_added_part){done, start, NULL}));
        }
        OCT_TRY(part(user, &(struct oct_added_part){start, end, token}));
        done = end;
    }
    return done < len ? part(user, &(struct oct_added_part){done, len, NULL}) : OCT_OK;
}
