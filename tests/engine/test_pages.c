/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/pages.h"

#include <criterion/criterion.h>

static int32_t forgotten[16], n_forgotten;

static void forget(void *user, int32_t page)
{
    struct oct_pages *p = user;
    cr_assert(p->page[page].block >= 0, "page %d: nobody knows it", page);
    forgotten[n_forgotten++] = page;
}

static void make(struct oct_pages *p, int32_t n)
{
    cr_assert_eq(oct_pages_init(p, n), OCT_OK);
    p->forget = forget;
    p->forget_user = p;
    n_forgotten = 0;
}

Test(pages, every_page_is_given_once_and_then_none)
{
    struct oct_pages p;
    make(&p, 5);
    for (int32_t i = 0; i < 5; i++) {
        cr_assert_eq(oct_pages_available(&p), 5 - i);
        cr_assert_eq(oct_pages_take(&p), i, "low pages first");
    }
    cr_assert_eq(oct_pages_take(&p), -1);
    oct_pages_drop(&p, 3);
    cr_assert_eq(oct_pages_take(&p), 3);
    cr_assert_eq(oct_pages_take(&p), -1);
    cr_assert_eq(n_forgotten, 0);
    oct_pages_deinit(&p);
}

Test(pages, a_shared_page_survives_the_first_owner)
{
    struct oct_pages p;
    make(&p, 2);
    const int32_t a = oct_pages_take(&p);
    oct_pages_hold(&p, a);
    oct_pages_drop(&p, a);
    cr_assert_eq(oct_pages_available(&p), 1);
    oct_pages_drop(&p, a);
    cr_assert_eq(oct_pages_available(&p), 2);
    oct_pages_deinit(&p);
}

Test(pages, cached_pages_are_reused_the_longest_unused_first_and_after_the_free_ones)
{
    struct oct_pages p;
    make(&p, 5);
    for (int32_t i = 0; i < 4; i++) {
        cr_assert_eq(oct_pages_take(&p), i);
        oct_pages_set_block(&p, i, 10 + i);
    }
    oct_pages_drop(&p, 2);
    oct_pages_drop(&p, 0);
    oct_pages_drop(&p, 3);
    oct_pages_drop(&p, 1);
    cr_assert_eq(p.n_cached, 4);
    oct_pages_hold(&p, 2); /* used again: the newest when it is dropped */
    oct_pages_drop(&p, 2);
    static const int32_t order[] = {4, 0, 3, 1, 2};
    for (int32_t i = 0; i < 5; i++) {
        const int32_t got = oct_pages_take(&p);
        cr_assert_eq(got, order[i], "take %d gave %d, not %d", i, got, order[i]);
        cr_assert_eq(p.page[got].block, -1);
    }
    cr_assert_eq(n_forgotten, 4);
    for (int32_t i = 0; i < 4; i++) {
        cr_assert_eq(forgotten[i], order[i + 1]);
    }
    oct_pages_deinit(&p);
}

Test(pages, a_page_no_longer_known_is_free)
{
    struct oct_pages p;
    make(&p, 3);
    for (int32_t i = 0; i < 3; i++) {
        oct_pages_set_block(&p, oct_pages_take(&p), i);
        oct_pages_drop(&p, i);
    }
    oct_pages_set_block(&p, 1, -1); /* out of the middle of the list */
    cr_assert_eq(p.n_free, 1);
    cr_assert_eq(p.n_cached, 2);
    oct_pages_hold(&p, 0);
    oct_pages_set_block(&p, 0, -1); /* while it is held */
    cr_assert_eq(p.n_free, 1);
    oct_pages_drop(&p, 0);
    cr_assert_eq(p.n_free, 2);
    cr_assert_eq(oct_pages_take(&p), 0);
    cr_assert_eq(oct_pages_take(&p), 1);
    cr_assert_eq(n_forgotten, 0);
    cr_assert_eq(oct_pages_take(&p), 2);
    cr_assert_eq(n_forgotten, 1);
    oct_pages_deinit(&p);
}
