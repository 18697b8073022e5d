/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels.h"

int k_plan_embed(const struct k_facts *f, const struct k_work *w, const struct k_embed_args *a,
                 struct k_launch out[K_MAX_LAUNCHES])
{
    enum { ROWS = 4, STRETCH = 1024 };
    (void)f;
    (void)w;
    if (a->dtype != K_BF16) {
        return 0;
    }
    const uint64_t bytes = (uint64_t)a->rows * (uint64_t)a->dim * 2;
    out[0] = (struct k_launch){
        .kernel = K_KERNEL_embed_b16,
        .grid = {(uint32_t)((a->rows + ROWS - 1) / ROWS),
                 (uint32_t)((a->dim + STRETCH - 1) / STRETCH), 1},
        .block = {32 * ROWS, 1, 1},
        .pdl = 1,
        .cost = {.read_bytes = bytes + 4 * (uint64_t)a->rows, .write_bytes = bytes},
    };
    K_LAUNCH_ARGS(&out[0], *a);
    return 1;
}
