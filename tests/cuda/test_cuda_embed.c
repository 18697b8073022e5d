/* SPDX-License-Identifier: Apache-2.0
 *
 * The embedding kernel against its definition: a copy, so every byte counts. */
#include "cuda/kernel_test.h"

#include <stdlib.h>
#include <string.h>

static const struct {
    int32_t rows, dim, vocab;
} shapes[] = {{1, 8, 1}, {1, 576, 300}, {5, 33, 7}, {64, 1032, 11}, {3, 4096, 5}, {130, 96, 40}};

static void check(const char *arch)
{
    kt_open(arch, 1);
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        const int32_t rows = shapes[i].rows, dim = shapes[i].dim, vocab = shapes[i].vocab;
        const size_t n_table = (size_t)vocab * (size_t)dim, n_out = (size_t)rows * (size_t)dim;
        uint16_t *table = malloc(n_table * 2), *out = malloc(n_out * 2);
        int32_t *ids = malloc((size_t)rows * sizeof *ids);
        for (size_t j = 0; j < n_table; j++) {
            table[j] = (uint16_t)(j * 40503 >> 3);
        }
        for (int32_t r = 0; r < rows; r++) {
            ids[r] = (int32_t)((uint32_t)r * 2654435761u % (uint32_t)vocab);
        }
        const struct k_embed_args a = {.out = kt_room(n_out * 2),
                                       .ids = kt_put(ids, (size_t)rows * sizeof *ids),
                                       .table = kt_put(table, n_table * 2),
                                       .rows = rows,
                                       .dim = dim,
                                       .dtype = K_BF16,
                                       .vocab = vocab};
        kt_run(K_OP_embed, &a);
        kt_get(out, a.out, n_out * 2);
        for (int32_t r = 0; r < rows; r++) {
            cr_assert_arr_eq(out + (size_t)r * (size_t)dim, table + (size_t)ids[r] * (size_t)dim,
                             (size_t)dim * 2, "%s, row %d of %d x %d", arch, r, rows, dim);
        }
        free(table);
        free(out);
        free(ids);
    }
}

Test(embed, copies_rows_a100)
{
    check("a100");
}

Test(embed, copies_rows_h100)
{
    check("h100");
}
