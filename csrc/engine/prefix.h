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

#include "arch/kv_layout.h"
#include "base/hash.h"
#include "engine/pages.h"
#include "paging.h"

struct oct_prefix; /* opaque */

/* pages: borrowed until destroy; its `forget` is the cache's from now on. The pool bounds the
 * number of blocks, for each has at least one page. windows[n_groups]: 0: full attention. */
OCT_CHECKED oct_status oct_prefix_create(struct oct_pages *pages, int32_t n_groups,
                                         const int32_t *windows, uint64_t key_lo, uint64_t key_hi,
                                         struct oct_prefix **out);
void oct_prefix_destroy(struct oct_prefix *c); /* NULL is fine */

/* The first block that a row at `position` or later can see through `window` (0: full: 0). */
static inline int32_t oct_first_visible_block(int32_t position, int32_t window)
{
    return window == 0 || position < window ? 0 : (position - window + 1) / K_PAGE_TOKENS;
}

/* The start of a chain: a tenant's salt (len 0: none). This and oct_prefix_extend read the key
 * alone: any thread may call them. */
struct oct_hash oct_prefix_salt(const struct oct_prefix *c, const void *salt, size_t len);
/* One more block of K_PAGE_TOKENS tokens. */
struct oct_hash oct_prefix_extend(const struct oct_prefix *c, struct oct_hash before,
                                  const int32_t *tokens);

/* The longest hit: the largest n <= n_blocks such that tokens [0, n * K_PAGE_TOKENS) need not be
 * computed again: every full group has the pages of blocks 0..n-1, every windowed group those a row
 * at position n * K_PAGE_TOKENS or later can still see. hashes[n_blocks], tokens as hashed. Holds
 * (oct_pages_hold) those pages and writes them to pages[group * stride + block], whose entries are
 * all -1 before; the others stay -1. Cost: O(n) with a full group, else O(n_blocks). */
int32_t oct_prefix_match(struct oct_prefix *c, const struct oct_hash *hashes, const int32_t *tokens,
                         int32_t n_blocks, int32_t *pages, int64_t stride);

/* Makes a computed block known; the caller holds its pages. page[g * stride]: its page in each
 * group, -1: none there. A page that the cache has already for this block and group stays; the new
 * one is then not cached. */
void oct_prefix_insert(struct oct_prefix *c, struct oct_hash hash, const int32_t *tokens,
                       const int32_t *page, int64_t stride);
/* Forgets a block in every group, whoever made it known: its values are not to be trusted. */
void oct_prefix_forget(struct oct_prefix *c, struct oct_hash hash, const int32_t *tokens);

/* Asserts every invariant: for tests. O(pages). */
void oct_prefix_check(const struct oct_prefix *c);

#endif
