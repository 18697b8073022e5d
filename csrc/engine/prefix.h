/* SPDX-License-Identifier: Apache-2.0
 *
 * prefix.h - the prefix cache: which pages hold the keys and values of which tokens. A block is
 * K_PAGE_TOKENS consecutive tokens with all that comes before them; it has one page for each group
 * of layers (kv_layout.h), any of which may be gone: a windowed layer gives pages back, and pages
 * that nobody holds are reused, each on its own.
 *
 * A block is found by a 128-bit keyed hash (SipHash) chained from the tenant's salt through every
 * block before it; its own tokens are compared as well. The key is drawn at start, so that nobody
 * can construct two prefixes that meet. One thread owns the cache; no call allocates. */
#ifndef OCT_ENGINE_PREFIX_H
#define OCT_ENGINE_PREFIX_H

#include "engine/pages.h"

enum { OCT_MAX_KV_GROUPS = 16 /* as kv_layout.h */ };

struct oct_hash {
    uint64_t lo, hi;
};

struct oct_prefix; /* opaque */

/* n_pages pages in the pool bound the number of blocks. windows[n_groups]: 0: full attention. */
OCT_CHECKED oct_status oct_prefix_create(struct oct_pages *pages, int32_t n_groups,
                                         const int32_t *windows, uint64_t key_lo, uint64_t key_hi,
                                         struct oct_prefix **out);
void oct_prefix_destroy(struct oct_prefix *c); /* NULL is fine */

/* The start of a chain: a tenant's salt (len 0: none). */
struct oct_hash oct_prefix_salt(const struct oct_prefix *c, const void *salt, size_t len);
/* One more block of K_PAGE_TOKENS tokens. */
struct oct_hash oct_prefix_extend(const struct oct_prefix *c, struct oct_hash before,
                                  const int32_t *tokens);

/* The longest hit: the largest n <= n_blocks such that tokens [0, n * K_PAGE_TOKENS) need not be
 * computed again: every full group has the pages of blocks 0..n-1, every windowed group those a row
 * at position n * K_PAGE_TOKENS or later can still see. hashes[n_blocks], tokens as hashed. Holds
 * (oct_pages_hold) those pages and writes them to pages[group * stride + block], -1 where a
 * windowed group needs none. Cost: O(n_blocks). */
int32_t oct_prefix_match(struct oct_prefix *c, const struct oct_hash *hashes, const int32_t *tokens,
                         int32_t n_blocks, int32_t *pages, int64_t stride);

/* Makes a computed block known. page[g * stride]: its page in each group, -1: none there. A page
 * that the cache has already for this block and group stays; the new one is then not cached. */
void oct_prefix_insert(struct oct_prefix *c, struct oct_hash hash, const int32_t *tokens,
                       const int32_t *page, int64_t stride);
/* Forgets what these pages hold, whoever made them known: their contents are not to be trusted. */
void oct_prefix_forget(struct oct_prefix *c, int32_t page);

/* Asserts every invariant: for tests. O(pages). */
void oct_prefix_check(const struct oct_prefix *c);

#endif
