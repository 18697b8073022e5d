/* SPDX-License-Identifier: Apache-2.0
 *
 * kv_layout.h - how the layers share pages. Layers of one window form groups of equally many
 * layers; a page holds K_PAGE_TOKENS tokens of the layers of one group, so that all pages are equal
 * and a windowed layer's pages go back to the pool on their own. Pure arithmetic. */
#ifndef OCT_ARCH_KV_LAYOUT_H
#define OCT_ARCH_KV_LAYOUT_H

#include "model/config.h"

enum { OCT_KV_MAX_GROUPS = 16, OCT_KV_MAX_LAYERS = 1024 };

struct oct_kv_layout {
    int32_t n_groups;
    int32_t layers_per_page;            /* slots in a page; a group may leave some unused */
    int32_t windows[OCT_KV_MAX_GROUPS]; /* 0: full attention */
    int64_t page_elems;                 /* elements of the storage dtype in a page */
    struct {
        uint16_t group, slot;
    } layer[OCT_KV_MAX_LAYERS];
};

/* OCT_E_UNSUPPORTED if the layers' windows need more than OCT_KV_MAX_GROUPS groups. */
OCT_CHECKED oct_status oct_kv_layout_make(const struct oct_model_config *c,
                                          struct oct_kv_layout *out);

/* The same of a list: each layer's window, and the elements that one layer needs in a page. */
OCT_CHECKED oct_status oct_kv_layout_of(const int32_t *windows, int32_t n_layers,
                                        int64_t layer_elems, struct oct_kv_layout *out);

/* Window of a layer; 0: full attention. */
static inline int32_t oct_layer_window(const struct oct_model_config *c, int32_t layer)
{
    return layer >= c->window_from_layer ? c->window : 0;
}

#endif
