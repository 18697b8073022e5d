/* SPDX-License-Identifier: Apache-2.0 */
#include "cpu/levels.h"

#include <string.h>

static void check(int32_t n, int64_t page_bytes, int threads)
{
    const size_t page = (size_t)page_bytes, bytes = (size_t)(3 * n) * page;
    unsigned char *pool = malloc(bytes), *before = malloc(bytes);
    struct k_kv_copy_pair *pairs = malloc((size_t)n * sizeof *pairs);
    struct oct_device *d = NULL;
    cr_assert_eq(oct_cpu_open(threads, &d), OCT_OK, "%s", oct_last_error());
    for (size_t i = 0; i < bytes; i++) {
        before[i] = pool[i] = (unsigned char)(i * 2654435761u >> 9);
    }
    /* From any page of the first third, one of them more than once, to the others out of order. */
    for (int32_t i = 0; i < n; i++) {
        pairs[i] = (struct k_kv_copy_pair){i / 2, n + (i * 7 + 3) % (2 * n)};
    }
    const struct k_kv_copy_args a = {.pool = (k_ptr)(uintptr_t)pool,
                                     .pairs = (k_ptr)(uintptr_t)pairs,
                                     .page_bytes = page_bytes,
                                     .n_pairs = n};
    cr_assert_eq(oct_dev_kv_copy(d, &a), OCT_OK);
    cr_assert_eq(oct_dev_sync(d), OCT_OK);
    for (int32_t i = 0; i < n; i++) { /* done in `before` too, one after the other */
        memcpy(before + (size_t)pairs[i].to * page, before + (size_t)pairs[i].from * page, page);
    }
    cr_assert(memcmp(pool, before, bytes) == 0, "%d pages of %lld bytes on %d threads", n,
              (long long)page_bytes, threads);
    oct_dev_close(d);
    free(pool);
    free(before);
    free(pairs);
}

Test(kv_copy, copies_the_pages_asked_for_and_touches_no_other)
{
    static const struct {
        int32_t n;
        int64_t page_bytes;
    } cases[] = {{1, 16}, {2, 48}, {9, 4096}, {40, 65552}, {3, 1 << 20}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (int threads = 1; threads <= 3; threads++) {
            check(cases[i].n, cases[i].page_bytes, threads);
        }
    }
}
