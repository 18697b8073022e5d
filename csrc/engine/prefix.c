/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/prefix.h"

#include "base/mem.h"

#include <string.h>

/* One block. Its pages are in oct_prefix.pages; a block without any is unused. */
struct block {
    struct oct_hash hash;
    int32_t next;    /* in its bucket, or among the unused; -1: end */
    int32_t n_pages; /* groups that have a page of it; 0: unused */
    int32_t tokens[K_PAGE_TOKENS];
};

struct oct_prefix {
    struct oct_pages *pool; /* borrowed */
    struct oct_hash key;
    int32_t n_groups;
    int32_t windows[OCT_KV_MAX_GROUPS];
    bool has_full;
    int32_t n_blocks, unused; /* as many as pages; head of the unused */
    struct block *blocks;     /* [n_blocks], owned */
    int32_t *pages;           /* [n_blocks, n_groups], owned; -1: none */
    int32_t *buckets;         /* [mask + 1], owned; -1: empty */
    uint64_t mask;
};

static int32_t *block_pages(const struct oct_prefix *c, int32_t block)
{
    return c->pages + (int64_t)block * c->n_groups;
}

static int32_t *bucket_of(const struct oct_prefix *c, struct oct_hash hash)
{
    return &c->buckets[hash.lo & c->mask];
}

static int32_t find(const struct oct_prefix *c, struct oct_hash hash, const int32_t *tokens)
{
    for (int32_t b = *bucket_of(c, hash); b >= 0; b = c->blocks[b].next) {
        const struct block *k = &c->blocks[b];
        if (k->hash.lo == hash.lo && k->hash.hi == hash.hi &&
            memcmp(k->tokens, tokens, sizeof k->tokens) == 0) {
            return b;
        }
    }
    return -1;
}

/* Takes `page` out of the block that knows it; the block goes with its last page. */
static void leave_block(struct oct_prefix *c, int32_t page)
{
    const int32_t b = c->pool->page[page].block;
    OCT_ASSERT(b >= 0 && b < c->n_blocks);
    int32_t *own = block_pages(c, b);
    int32_t g = 0;
    while (g < c->n_groups && own[g] != page) {
        g++;
    }
    OCT_ASSERT(g < c->n_groups);
    own[g] = -1;
    struct block *k = &c->blocks[b];
    if (--k->n_pages > 0) {
        return;
    }
    int32_t *at = bucket_of(c, k->hash);
    while (*at != b) {
        at = &c->blocks[*at].next;
    }
    *at = k->next;
    k->next = c->unused;
    c->unused = b;
}

static void on_reuse(void *user, int32_t page)
{
    leave_block(user, page);
}

oct_status oct_prefix_create(struct oct_pages *pages, int32_t n_groups, const int32_t *windows,
                             uint64_t key_lo, uint64_t key_hi, struct oct_prefix **out)
{
    OCT_ASSERT(n_groups >= 1 && n_groups <= OCT_KV_MAX_GROUPS);
    const size_t n = (size_t)pages->n;
    size_t n_buckets = 16;
    while (n_buckets < n) { /* n < 2^31 */
        n_buckets *= 2;
    }
    struct oct_prefix *c = oct_calloc(1, sizeof *c);
    if (!c) {
        return oct_no_memory("the prefix cache", sizeof *c);
    }
    c->blocks = oct_calloc(n, sizeof *c->blocks);
    c->pages = oct_calloc(n * (size_t)n_groups, sizeof *c->pages); /* < 2^31 * 16 */
    c->buckets = oct_calloc(n_buckets, sizeof *c->buckets);
    if (!c->blocks || !c->pages || !c->buckets) {
        oct_prefix_destroy(c);
        return oct_no_memory("the prefix cache", n * sizeof *c->blocks);
    }
    c->pool = pages;
    c->key = (struct oct_hash){.lo = key_lo, .hi = key_hi};
    c->n_groups = n_groups;
    for (int32_t g = 0; g < n_groups; g++) {
        c->windows[g] = windows[g];
        c->has_full = c->has_full || windows[g] == 0;
    }
    c->n_blocks = pages->n;
    c->mask = n_buckets - 1;
    memset(c->buckets, 0xff, n_buckets * sizeof *c->buckets);
    memset(c->pages, 0xff, n * (size_t)n_groups * sizeof *c->pages);
    for (int32_t b = 0; b < c->n_blocks; b++) {
        c->blocks[b].next = b + 1 < c->n_blocks ? b + 1 : -1;
    }
    pages->forget = on_reuse;
    pages->forget_user = c;
    *out = c;
    return OCT_OK;
}

void oct_prefix_destroy(struct oct_prefix *c)
{
    if (c) {
        oct_free(c->blocks);
        oct_free(c->pages);
        oct_free(c->buckets);
        oct_free(c);
    }
}

struct oct_hash oct_prefix_salt(const struct oct_prefix *c, const void *salt, size_t len)
{
    /* Another key than the blocks': no salt can be written that equals a block's input. */
    const struct oct_hash key = {.lo = c->key.lo, .hi = ~c->key.hi};
    return oct_siphash128(key, salt, len);
}

struct oct_hash oct_prefix_extend(const struct oct_prefix *c, struct oct_hash before,
                                  const int32_t *tokens)
{
    struct {
        struct oct_hash before;
        int32_t tokens[K_PAGE_TOKENS];
    } in = {.before = before};
    memcpy(in.tokens, tokens, sizeof in.tokens);
    return oct_siphash128(c->key, &in, sizeof in);
}

int32_t oct_prefix_match(struct oct_prefix *c, const struct oct_hash *hashes, const int32_t *tokens,
                         int32_t n_blocks, int32_t *pages, int64_t stride)
{
    /* First pass: how far. start[g]: where the unbroken run of blocks with a page in group g that
     * ends at the block at hand begins. The blocks found are kept in the answer's first row. */
    int32_t start[OCT_KV_MAX_GROUPS] = {0};
    int32_t hit = 0, seen = 0;
    for (; seen < n_blocks; seen++) {
        const int32_t b = find(c, hashes[seen], tokens + (int64_t)seen * K_PAGE_TOKENS);
        pages[seen] = b;
        if (b < 0 && c->has_full) {
            break;
        }
        bool enough = true, broken = false;
        for (int32_t g = 0; g < c->n_groups; g++) {
            if (b < 0 || block_pages(c, b)[g] < 0) {
                start[g] = seen + 1;
                broken = broken || c->windows[g] == 0;
            }
            const int32_t end = (seen + 1) * K_PAGE_TOKENS;
            enough = enough && start[g] <= oct_first_visible_block(end, c->windows[g]);
        }
        if (enough) {
            hit = seen + 1;
        }
        if (broken) {
            break;
        }
    }
    /* Second pass: hold them; last row first, because the first row is what we read. */
    const int32_t n_touched = seen < n_blocks ? seen + 1 : seen;
    for (int32_t g = c->n_groups - 1; g >= 0; g--) {
        const int32_t first = oct_first_visible_block(hit * K_PAGE_TOKENS, c->windows[g]);
        for (int32_t i = 0; i < n_touched; i++) {
            const bool wanted = i >= first && i < hit;
            const int32_t page = wanted ? block_pages(c, pages[i])[g] : -1;
            if (wanted) {
                oct_pages_hold(c->pool, page);
            }
            pages[g * stride + i] = page;
        }
    }
    return hit;
}

void oct_prefix_insert(struct oct_prefix *c, struct oct_hash hash, const int32_t *tokens,
                       const int32_t *page, int64_t stride)
{
    int32_t b = find(c, hash, tokens);
    for (int32_t g = 0; g < c->n_groups; g++) {
        const int32_t p = page[g * stride];
        if (p < 0 || (b >= 0 && block_pages(c, b)[g] >= 0)) {
            continue;
        }
        if (b < 0) { /* there is one: each of the others has a page that is not p */
            b = c->unused;
            OCT_ASSERT(b >= 0);
            struct block *k = &c->blocks[b];
            c->unused = k->next;
            k->hash = hash;
            memcpy(k->tokens, tokens, sizeof k->tokens);
            int32_t *at = bucket_of(c, hash);
            k->next = *at;
            *at = b;
        }
        oct_pages_set_block(c->pool, p, b);
        block_pages(c, b)[g] = p;
        c->blocks[b].n_pages++;
    }
}

void oct_prefix_forget(struct oct_prefix *c, struct oct_hash hash, const int32_t *tokens)
{
    const int32_t b = find(c, hash, tokens);
    for (int32_t g = 0; b >= 0 && g < c->n_groups; g++) {
        const int32_t page = block_pages(c, b)[g];
        if (page >= 0) {
            leave_block(c, page);
            oct_pages_set_block(c->pool, page, -1);
        }
    }
}

void oct_prefix_check(const struct oct_prefix *c)
{
    int32_t n_used = 0, n_unused = 0, n_known = 0, n_pool_known = 0;
    for (uint64_t i = 0; i <= c->mask; i++) {
        for (int32_t b = c->buckets[i]; b >= 0; b = c->blocks[b].next) {
            const struct block *k = &c->blocks[b];
            OCT_ASSERT(++n_used <= c->n_blocks); /* no cycle */
            OCT_ASSERT((k->hash.lo & c->mask) == i);
            OCT_ASSERT(find(c, k->hash, k->tokens) == b); /* no second of its kind */
            int32_t n = 0;
            for (int32_t g = 0; g < c->n_groups; g++) {
                const int32_t p = block_pages(c, b)[g];
                OCT_ASSERT(p < c->pool->n && (p < 0 || c->pool->page[p].block == b));
                n += p >= 0;
            }
            OCT_ASSERT(n > 0 && n == k->n_pages);
            n_known += n;
        }
    }
    for (int32_t b = c->unused; b >= 0; b = c->blocks[b].next) {
        OCT_ASSERT(++n_unused <= c->n_blocks);
        OCT_ASSERT(c->blocks[b].n_pages == 0);
    }
    OCT_ASSERT(n_used + n_unused == c->n_blocks);
    for (int32_t p = 0; p < c->pool->n; p++) {
        n_pool_known += c->pool->page[p].block >= 0;
    }
    OCT_ASSERT(n_known == n_pool_known);
}
