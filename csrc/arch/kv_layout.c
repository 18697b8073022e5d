/* SPDX-License-Identifier: Apache-2.0 */
#include "arch/kv_layout.h"

#include "ops.h"

/* Layers that have one window in common. */
struct kind {
    int32_t window, n_layers;
    int32_t first_group; /* they fill this one and those after it */
    int32_t n_placed;
};

static int32_t gcd(int32_t a, int32_t b)
{
    while (b) {
        const int32_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/* Groups that `kinds` need when a page has room for `slots` layers of each. */
static int32_t count_groups(const struct kind *kinds, int32_t n_kinds, int32_t slots)
{
    int32_t n = 0;
    for (int32_t i = 0; i < n_kinds; i++) {
        n += (kinds[i].n_layers + slots - 1) / slots;
    }
    return n;
}

/* The greatest common divisor leaves no slot unused. Where it is so small that there were too many
 * groups, unused slots are the lesser evil: from the smallest count on, the first that will do. */
static int32_t pick_slots(const struct kind *kinds, int32_t n_kinds)
{
    int32_t slots = 0, least = OCT_KV_MAX_LAYERS;
    for (int32_t i = 0; i < n_kinds; i++) {
        slots = gcd(kinds[i].n_layers, slots);
        least = kinds[i].n_layers < least ? kinds[i].n_layers : least;
    }
    if (count_groups(kinds, n_kinds, slots) > OCT_KV_MAX_GROUPS) {
        slots = least;
        while (count_groups(kinds, n_kinds, slots) > OCT_KV_MAX_GROUPS) {
            slots++; /* ends: there is one group for each kind, or fewer, at the largest count */
        }
    }
    return slots;
}

oct_status oct_kv_layout_of(const int32_t *windows, int32_t n_layers, int64_t layer_elems,
                            struct oct_kv_layout *out)
{
    struct kind kinds[OCT_KV_MAX_GROUPS];
    uint8_t kind_of[OCT_KV_MAX_LAYERS];
    int32_t n_kinds = 0;
    OCT_ASSERT(n_layers >= 1 && n_layers <= OCT_KV_MAX_LAYERS && layer_elems >= 1);
    for (int32_t i = 0; i < n_layers; i++) {
        int32_t k = 0;
        while (k < n_kinds && kinds[k].window != windows[i]) {
            k++;
        }
        if (k == OCT_KV_MAX_GROUPS) {
            return OCT_FAIL(OCT_E_UNSUPPORTED,
                            "the model's layers have more than %d different attention windows; "
                            "this version keeps the KV cache of at most that many apart",
                            (int)OCT_KV_MAX_GROUPS);
        }
        if (k == n_kinds) {
            kinds[n_kinds++] = (struct kind){.window = windows[i]};
        }
        kinds[k].n_layers++;
        kind_of[i] = (uint8_t)k;
    }

    const int32_t slots = pick_slots(kinds, n_kinds);
    struct oct_kv_layout l = {.layers_per_page = slots, .page_elems = slots * layer_elems};
    for (int32_t k = 0; k < n_kinds; k++) {
        kinds[k].first_group = l.n_groups;
        for (int32_t left = kinds[k].n_layers; left > 0; left -= slots) {
            l.windows[l.n_groups++] = kinds[k].window;
        }
    }
    for (int32_t i = 0; i < n_layers; i++) {
        struct kind *k = &kinds[kind_of[i]];
        l.layer[i].group = (uint16_t)(k->first_group + k->n_placed / slots);
        l.layer[i].slot = (uint16_t)(k->n_placed % slots);
        k->n_placed++;
    }
    *out = l;
    return OCT_OK;
}

oct_status oct_kv_layout_make(const struct oct_model_config *c, struct oct_kv_layout *out)
{
    int32_t windows[OCT_KV_MAX_LAYERS];
    for (int32_t i = 0; i < c->n_layers; i++) {
        windows[i] = oct_layer_window(c, i);
    }
    return oct_kv_layout_of(windows, c->n_layers,
                            2 * (int64_t)c->n_kv_heads * K_PAGE_TOKENS * k_row_stride(c->head_dim),
                            out);
}
