/* SPDX-License-Identifier: Apache-2.0 */
#include "arch/kv_layout.h"

#include "ops.h"

#include <criterion/criterion.h>
#include <string.h>

enum { LAYER_ELEMS = 1000 };

/* What every layout must keep: each layer has a slot of its own in a group of its window, groups
 * are not empty, a page has the room it says. */
static void check(const struct oct_kv_layout *l, const int32_t *windows, int32_t n,
                  const char *name)
{
    static uint8_t taken[OCT_KV_MAX_GROUPS][OCT_KV_MAX_LAYERS];
    int32_t used[OCT_KV_MAX_GROUPS] = {0};
    memset(taken, 0, sizeof taken);
    cr_assert(l->n_groups >= 1 && l->n_groups <= OCT_KV_MAX_GROUPS, "%s: %d groups", name,
              l->n_groups);
    cr_assert_eq(l->page_elems, (int64_t)l->layers_per_page * LAYER_ELEMS, "%s: %lld elements",
                 name, (long long)l->page_elems);
    for (int32_t i = 0; i < n; i++) {
        const int32_t g = l->layer[i].group, s = l->layer[i].slot;
        cr_assert(g < l->n_groups && s < l->layers_per_page, "%s: layer %d is in %d, %d", name, i,
                  g, s);
        cr_assert_eq(l->windows[g], windows[i], "%s: layer %d of window %d is in a group of %d",
                     name, i, windows[i], l->windows[g]);
        cr_assert_eq(taken[g][s]++, 0, "%s: layer %d shares slot %d, %d", name, i, g, s);
        used[g]++;
    }
    for (int32_t g = 0; g < l->n_groups; g++) {
        cr_assert(used[g] > 0, "%s: group %d of %d is empty", name, g, l->n_groups);
    }
}

static struct oct_kv_layout make(const int32_t *windows, int32_t n, const char *name)
{
    struct oct_kv_layout l;
    memset(&l, 0xff, sizeof l);
    cr_assert_eq(oct_kv_layout_of(windows, n, LAYER_ELEMS, &l), OCT_OK, "%s: %s", name,
                 oct_last_error());
    check(&l, windows, n, name);
    return l;
}

Test(kv_layout, layers_of_a_window_are_cut_into_equal_groups)
{
    /* n layers, of which every `period`-th, from `phase` on, is full, the others slide */
    static const struct {
        const char *name;
        int32_t n, period, phase;
        int32_t n_groups, layers_per_page;
    } cases[] = {
        {"all full", 30, 1, 0, 1, 30},
        {"one layer", 1, 1, 0, 1, 1},
        {"all sliding", 32, 2000, 1999, 1, 32},
        {"every second", 24, 2, 1, 2, 12},
        {"5 to 1", 48, 6, 5, 6, 8},
        {"5 to 1, cut off: 22 and 4", 26, 6, 5, 13, 2},
        {"5 to 1, cut off: 29 and 5 have no common divisor", 34, 6, 5, 7, 5},
        {"1024 layers", 1024, 1024, 7, 16, 69},
        {"15 and 1", 16, 16, 3, 16, 1},
        {"16 and 1 would be 17 groups", 17, 17, 3, 9, 2},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int32_t windows[OCT_KV_MAX_LAYERS];
        for (int32_t j = 0; j < cases[i].n; j++) {
            windows[j] = j % cases[i].period == cases[i].phase ? 0 : 1024;
        }
        const struct oct_kv_layout l = make(windows, cases[i].n, cases[i].name);
        cr_assert_eq(l.n_groups, cases[i].n_groups, "%s: %d groups, not %d", cases[i].name,
                     l.n_groups, cases[i].n_groups);
        cr_assert_eq(l.layers_per_page, cases[i].layers_per_page, "%s: %d layers per page, not %d",
                     cases[i].name, l.layers_per_page, cases[i].layers_per_page);
    }
}

Test(kv_layout, holds_for_every_pattern_of_few_windows)
{
    uint64_t x = 88172645463325252u; /* xorshift64 */
    for (int round = 0; round < 3000; round++) {
        int32_t windows[OCT_KV_MAX_LAYERS];
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        const int32_t n = 1 + (int32_t)(x % (round % 10 ? 80 : OCT_KV_MAX_LAYERS));
        const int32_t kinds = 1 + (int32_t)((x >> 33) % OCT_KV_MAX_GROUPS);
        for (int32_t i = 0; i < n; i++) {
            x ^= x << 13, x ^= x >> 7, x ^= x << 17;
            windows[i] = (int32_t)((x >> 20) % (uint32_t)kinds) * 128;
        }
        (void)make(windows, n, "random");
    }
}

Test(kv_layout, too_many_windows_are_refused)
{
    int32_t windows[OCT_KV_MAX_GROUPS + 1];
    for (int32_t i = 0; i <= OCT_KV_MAX_GROUPS; i++) {
        windows[i] = i;
    }
    (void)make(windows, OCT_KV_MAX_GROUPS, "as many as can be");
    struct oct_kv_layout l = {.n_groups = 77};
    cr_assert_eq(oct_kv_layout_of(windows, OCT_KV_MAX_GROUPS + 1, LAYER_ELEMS, &l),
                 OCT_E_UNSUPPORTED);
    cr_assert_eq(l.n_groups, 77);
    cr_assert(strstr(oct_last_error(), "16"), "%s", oct_last_error());
}

Test(kv_layout, follows_the_configuration)
{
    struct oct_model_config c = {.n_layers = 28, .n_kv_heads = 2, .head_dim = 128};
    struct oct_kv_layout l;
    cr_assert_eq(oct_kv_layout_make(&c, &l), OCT_OK);
    cr_assert_eq(l.n_groups, 1);
    cr_assert_eq(l.page_elems, 28 * 2 * 2 * K_PAGE_TOKENS * 128);

    c.window = 4096; /* Qwen2's max_window_layers: 21 full layers, then 7 that slide */
    c.window_from_layer = 21;
    cr_assert_eq(oct_kv_layout_make(&c, &l), OCT_OK);
    cr_assert(l.n_groups == 4 && l.layers_per_page == 7, "%d groups of %d", l.n_groups,
              l.layers_per_page);
    for (int32_t i = 0; i < 28; i++) {
        cr_assert_eq(l.windows[l.layer[i].group], i < 21 ? 0 : 4096, "layer %d", i);
        cr_assert_eq(oct_layer_window(&c, i), i < 21 ? 0 : 4096, "layer %d", i);
    }
}
