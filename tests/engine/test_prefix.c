/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/prefix.h"

#include <criterion/criterion.h>
#include <string.h>

enum { K = K_PAGE_TOKENS, BLOCKS = 8, MAX_GROUPS = 3 };

struct rig {
    struct oct_pages pool;
    struct oct_prefix *cache;
    int32_t n_groups;
    int32_t tokens[BLOCKS * K];
    struct oct_hash hashes[BLOCKS];
    int32_t held[MAX_GROUPS * BLOCKS]; /* what match wrote */
};

static void fill(struct rig *r, const char *salt, int32_t seed)
{
    for (int32_t i = 0; i < BLOCKS * K; i++) {
        r->tokens[i] = seed * 1000 + i % 7;
    }
    struct oct_hash h = oct_prefix_salt(r->cache, salt, strlen(salt));
    for (int32_t b = 0; b < BLOCKS; b++) {
        h = oct_prefix_extend(r->cache, h, r->tokens + b * K);
        r->hashes[b] = h;
    }
}

static void make(struct rig *r, int32_t n_pages, int32_t n_groups, const int32_t *windows)
{
    memset(r, 0, sizeof *r);
    r->n_groups = n_groups;
    cr_assert_eq(oct_pages_init(&r->pool, n_pages), OCT_OK);
    cr_assert_eq(oct_prefix_create(&r->pool, n_groups, windows, 11, 22, &r->cache), OCT_OK);
    fill(r, "", 1);
}

static void unmake(struct rig *r)
{
    oct_prefix_check(r->cache);
    oct_prefix_destroy(r->cache);
    oct_pages_deinit(&r->pool);
}

/* Computes block b: a page in each group of `groups`, made known, dropped. */
static void compute(struct rig *r, int32_t b, unsigned groups)
{
    int32_t page[MAX_GROUPS];
    for (int32_t g = 0; g < r->n_groups; g++) {
        page[g] = groups & 1u << g ? oct_pages_take(&r->pool) : -1;
        cr_assert(page[g] >= 0 || !(groups & 1u << g));
    }
    oct_prefix_insert(r->cache, r->hashes[b], r->tokens + b * K, page, 1);
    for (int32_t g = 0; g < r->n_groups; g++) {
        if (page[g] >= 0) {
            oct_pages_drop(&r->pool, page[g]);
        }
    }
    oct_prefix_check(r->cache);
}

static int32_t match(struct rig *r, int32_t n)
{
    memset(r->held, 0xff, sizeof r->held);
    const int32_t hit = oct_prefix_match(r->cache, r->hashes, r->tokens, n, r->held, BLOCKS);
    oct_prefix_check(r->cache);
    for (int32_t g = 0; g < r->n_groups; g++) {
        for (int32_t b = hit; b < BLOCKS; b++) {
            cr_assert_eq(r->held[g * BLOCKS + b], -1, "group %d block %d past the hit", g, b);
        }
    }
    return hit;
}

static void release(struct rig *r)
{
    for (int32_t i = 0; i < MAX_GROUPS * BLOCKS; i++) {
        if (r->held[i] >= 0) {
            oct_pages_drop(&r->pool, r->held[i]);
        }
    }
}

static const int32_t full[] = {0};

Test(prefix, a_full_group_hits_the_leading_blocks_it_has)
{
    struct rig r;
    make(&r, 16, 1, full);
    cr_assert_eq(match(&r, BLOCKS), 0);
    static const int32_t order[] = {0, 1, 3, 4};
    for (size_t i = 0; i < 4; i++) {
        compute(&r, order[i], 1);
    }
    cr_assert_eq(match(&r, BLOCKS), 2);
    cr_assert_eq(oct_pages_available(&r.pool), 14);
    cr_assert_neq(r.held[0], r.held[1]);
    release(&r);
    cr_assert_eq(match(&r, 1), 1, "no more than asked for");
    release(&r);
    compute(&r, 2, 1);
    cr_assert_eq(match(&r, BLOCKS), 5);
    release(&r);
    cr_assert_eq(oct_pages_available(&r.pool), 16);
    unmake(&r);
}

Test(prefix, other_tokens_another_salt_and_another_beginning_do_not_hit)
{
    struct rig r;
    make(&r, 16, 1, full);
    for (int32_t b = 0; b < 3; b++) {
        compute(&r, b, 1);
    }
    fill(&r, "tenant", 1);
    cr_assert_eq(match(&r, BLOCKS), 0);
    fill(&r, "", 2);
    cr_assert_eq(match(&r, BLOCKS), 0);
    fill(&r, "", 1);
    cr_assert_eq(match(&r, BLOCKS), 3);
    release(&r);
    /* Block 1 alone, with its own tokens but behind another block 0. */
    struct oct_hash h = oct_prefix_salt(r.cache, "", 0);
    r.tokens[5]++;
    h = oct_prefix_extend(r.cache, h, r.tokens);
    h = oct_prefix_extend(r.cache, h, r.tokens + K);
    cr_assert(h.lo != r.hashes[1].lo && h.hi != r.hashes[1].hi);
    unmake(&r);
}

Test(prefix, tokens_are_compared_even_if_hashes_agree)
{
    struct rig r;
    make(&r, 16, 1, full);
    compute(&r, 0, 1);
    r.tokens[K - 1]++; /* the hash stays: as if two hashes had met */
    cr_assert_eq(match(&r, 1), 0);
    compute(&r, 0, 1); /* both can be known */
    cr_assert_eq(match(&r, 1), 1);
    release(&r);
    r.tokens[K - 1]--;
    cr_assert_eq(match(&r, 1), 1);
    release(&r);
    cr_assert_eq(r.pool.n_cached, 2);
    unmake(&r);
}

Test(prefix, a_windowed_group_needs_only_what_a_later_row_can_see)
{
    /* first: the first block needed for a hit of `hit` blocks. A row at hit*64 sees the window - 1
     * tokens before it. */
    static const struct {
        int32_t window, hit, first;
    } row[] = {
        {1, 4, 4},   {2, 4, 3},   {64, 4, 3},   {65, 4, 3},        {66, 4, 2},  {128, 4, 2},
        {129, 4, 2}, {130, 4, 1}, {193, 4, 1},  {194, 4, 0},       {256, 4, 0}, {257, 4, 0},
        {64, 1, 0},  {1, 1, 1},   {1000, 1, 0}, {INT32_MAX, 4, 0},
    };
    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
        struct rig r;
        const int32_t windows[] = {0, row[i].window};
        make(&r, 32, 2, windows);
        for (int32_t b = 0; b < row[i].hit; b++) {
            compute(&r, b, b >= row[i].first ? 3 : 1);
        }
        cr_assert_eq(match(&r, BLOCKS), row[i].hit, "window %d", row[i].window);
        for (int32_t b = 0; b < row[i].hit; b++) {
            cr_assert(r.held[b] >= 0);
            cr_assert_eq(r.held[BLOCKS + b] >= 0, b >= row[i].first, "window %d block %d",
                         row[i].window, b);
        }
        release(&r);
        if (row[i].first < row[i].hit) { /* one page less than needed */
            oct_prefix_forget(r.cache, r.hashes[row[i].first], r.tokens + row[i].first * K);
            compute(&r, row[i].first, 1);
            const int32_t hit = match(&r, BLOCKS);
            cr_assert_lt(hit, row[i].hit, "window %d: %d", row[i].window, hit);
            release(&r);
        }
        unmake(&r);
    }
}

Test(prefix, without_a_full_group_the_beginning_may_be_gone)
{
    struct rig r;
    const int32_t windows[] = {65, 100};
    make(&r, 32, 2, windows);
    compute(&r, 4, 2);
    compute(&r, 5, 3);
    cr_assert_eq(match(&r, BLOCKS), 6); /* 65: block 5; 100: blocks 4 and 5 */
    cr_assert_eq(r.held[4], -1);
    cr_assert(r.held[5] >= 0 && r.held[BLOCKS + 4] >= 0 && r.held[BLOCKS + 5] >= 0);
    cr_assert_eq(oct_pages_available(&r.pool), 29);
    release(&r);
    compute(&r, 7, 3); /* block 6 is missing: the hit is still 6 */
    cr_assert_eq(match(&r, BLOCKS), 6);
    release(&r);
    cr_assert_eq(match(&r, 5), 0);
    unmake(&r);
}

Test(prefix, the_page_known_first_stays)
{
    struct rig r;
    make(&r, 4, 1, full);
    const int32_t a = oct_pages_take(&r.pool), b = oct_pages_take(&r.pool);
    oct_prefix_insert(r.cache, r.hashes[0], r.tokens, &a, 1);
    oct_prefix_insert(r.cache, r.hashes[0], r.tokens, &b, 1);
    oct_prefix_insert(r.cache, r.hashes[0], r.tokens, &a, 1);
    oct_pages_drop(&r.pool, b);
    cr_assert_eq(r.pool.n_cached, 0);
    cr_assert_eq(r.pool.n_free, 3);
    cr_assert_eq(match(&r, 1), 1); /* while a is held */
    cr_assert_eq(r.held[0], a);
    release(&r);
    oct_pages_drop(&r.pool, a);
    cr_assert_eq(r.pool.n_cached, 1);
    unmake(&r);
}

Test(prefix, a_block_gets_a_page_back_group_by_group)
{
    struct rig r;
    const int32_t windows[] = {0, 64};
    make(&r, 8, 2, windows);
    compute(&r, 0, 1);
    cr_assert_eq(match(&r, 1), 0);
    compute(&r, 0, 2);
    cr_assert_eq(match(&r, 1), 1);
    release(&r);
    cr_assert_eq(r.pool.n_cached, 2);
    unmake(&r);
}

Test(prefix, reuse_of_pages_takes_blocks_away_and_gives_their_places_back)
{
    struct rig r;
    const int32_t windows[] = {0, 0};
    make(&r, 4, 2, windows);
    for (int32_t round = 0; round < 50; round++) { /* more blocks than there is room for */
        compute(&r, round % BLOCKS, 3);
    }
    cr_assert_eq(r.pool.n_cached, 4);
    int32_t page[4];
    for (int32_t i = 0; i < 4; i++) {
        page[i] = oct_pages_take(&r.pool);
        oct_prefix_check(r.cache);
    }
    cr_assert_eq(match(&r, BLOCKS), 0);
    for (int32_t i = 0; i < 4; i++) {
        oct_pages_drop(&r.pool, page[i]);
    }
    cr_assert_eq(r.pool.n_free, 4);
    unmake(&r);
}

Test(prefix, a_forgotten_block_is_free_or_free_when_dropped)
{
    struct rig r;
    const int32_t windows[] = {0, 64};
    make(&r, 8, 2, windows);
    compute(&r, 0, 3);
    compute(&r, 1, 3);
    cr_assert_eq(match(&r, 1), 1);
    oct_prefix_forget(r.cache, r.hashes[0], r.tokens);
    oct_prefix_forget(r.cache, r.hashes[0], r.tokens); /* nothing to forget */
    oct_prefix_forget(r.cache, r.hashes[1], r.tokens + K);
    cr_assert_eq(r.pool.n_cached, 0);
    cr_assert_eq(r.pool.n_free, 6);
    release(&r);
    cr_assert_eq(r.pool.n_free, 8);
    cr_assert_eq(match(&r, 2), 0);
    unmake(&r);
}
