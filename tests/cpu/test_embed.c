/* SPDX-License-Identifier: Apache-2.0 */
#include "cpu/levels.h"

#include <string.h>

Test(embed, rows_are_copied_whole_in_order_and_nothing_else_is_written)
{
    static const int32_t dims[] = {1, 3, 8, 64, 577};
    struct rng rng = {1};
    for (int i = 0; i < 10; i++) {
        const int32_t dtype = i % 2 ? K_BF16 : K_F32, dim = dims[i / 2], vocab = 97;
        for (int32_t rows = 1; rows < 3000; rows = rows * 7 + 3) {
            const size_t row = (size_t)(dim * k_dtype_bytes(dtype)), guard = 64;
            unsigned char *table = malloc((size_t)vocab * row);
            unsigned char *out = malloc((size_t)rows * row + 2 * guard);
            int32_t *ids = malloc((size_t)rows * sizeof *ids);
            for (size_t b = 0; b < (size_t)vocab * row; b++) {
                table[b] = (unsigned char)rng_u64(&rng);
            }
            for (int32_t r = 0; r < rows; r++) {
                ids[r] = r == 0 ? vocab - 1 : r == 1 ? 0 : rng_below(&rng, vocab);
            }
            memset(out, 0x5a, (size_t)rows * row + 2 * guard);
            struct oct_device *d = open_level((int)oct_simd_level(), 2);
            const struct k_embed_args a = {.out = (k_ptr)(out + guard),
                                           .ids = (k_ptr)ids,
                                           .table = (k_ptr)table,
                                           .rows = rows,
                                           .dim = dim,
                                           .dtype = dtype,
                                           .vocab = vocab};
            cr_assert_eq(oct_dev_embed(d, &a), OCT_OK);
            cr_assert_eq(oct_dev_sync(d), OCT_OK);
            for (int32_t r = 0; r < rows; r++) {
                cr_assert_arr_eq(out + guard + (size_t)r * row, table + (size_t)ids[r] * row, row,
                                 "dim %d rows %d row %d", dim, rows, r);
            }
            for (size_t g = 0; g < guard; g++) {
                cr_assert_eq(out[g], 0x5a, "before, dim %d rows %d", dim, rows);
                cr_assert_eq(out[guard + (size_t)rows * row + g], 0x5a, "after, dim %d rows %d",
                             dim, rows);
            }
            oct_dev_close(d);
            free(table);
            free(out);
            free(ids);
        }
    }
}
