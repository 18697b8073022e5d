/* SPDX-License-Identifier: Apache-2.0
 *
 * Copying pages against the CPU: all bytes of the pool. */
#include "cuda/elementwise_test.h"

static const struct {
    int32_t n_pairs;
    int64_t page_bytes;
} shapes[] = {{1, 16}, {3, 8192}, {5, 8208}, {2, 3 * 8192 - 16}, {1, 100 * 1024}, {20, 48}};

enum { FIRST_PAGE = 2147480000 }; /* numbers that need 64-bit offsets */

static void check_shape(struct oct_device *d, int32_t n, int64_t page_bytes, const char *arch)
{
    const size_t bytes = (size_t)(2 * n + 1) * (size_t)page_bytes;
    uint8_t *pool = malloc(bytes), *want = malloc(bytes), *got = malloc(bytes);
    struct k_kv_copy_pair *pairs = malloc((size_t)n * sizeof *pairs);
    for (size_t i = 0; i < bytes; i++) {
        pool[i] = (uint8_t)((i * 2654435761u) >> 11);
    }
    memcpy(want, pool, bytes);
    for (int32_t i = 0; i < n; i++) {
        pairs[i] = (struct k_kv_copy_pair){2 * i, i % 2 ? 2 * i - 1 : 2 * i + 3};
        if (pairs[i].to > 2 * n) {
            pairs[i].to = 2 * i + 1;
        }
    }
    struct k_kv_copy_args a = {
        .pool = host(want), .pairs = host(pairs), .page_bytes = page_bytes, .n_pairs = n};
    cr_assert_eq(oct_dev_kv_copy(d, &a), OCT_OK);
    for (int32_t i = 0; i < n; i++) {
        pairs[i].from += FIRST_PAGE;
        pairs[i].to += FIRST_PAGE;
    }
    const k_ptr room = kt_put(pool, bytes);
    a.pool = room - (k_ptr)FIRST_PAGE * (k_ptr)page_bytes;
    a.pairs = kt_put(pairs, (size_t)n * sizeof *pairs);
    for (uint64_t seed = 1; seed <= N_SEEDS; seed++) {
        kt_seed(seed);
        kt_write(room, pool, bytes);
        kt_run(K_OP_kv_copy, &a);
        kt_get(got, room, bytes);
        cr_assert_arr_eq(got, want, bytes, "%s: %d pages of %lld bytes", arch, n,
                         (long long)page_bytes);
    }
    kt_free(room);
    kt_free(a.pairs);
    free(pool);
    free(want);
    free(got);
    free(pairs);
}

static void check(const char *arch)
{
    kt_open(arch, 1);
    struct oct_device *d = open_oracle();
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        check_shape(d, shapes[i].n_pairs, shapes[i].page_bytes, arch);
    }
    oct_dev_close(d);
}

Test(kv_copy, agrees_with_the_cpu_a100)
{
    check("a100");
}

Test(kv_copy, agrees_with_the_cpu_h100)
{
    check("h100");
}

/* The pair is read once a warp: twice 32 bytes beside 2 KB. */
Test(kv_copy, moves_no_more_than_it_must)
{
    enum { PAGE = 64 * 1024 };
    kt_open("h100", 1);
    uint8_t *pool = calloc(2, PAGE);
    const struct k_kv_copy_pair pair = {0, 1};
    const struct k_kv_copy_args a = {.pool = kt_put(pool, 2 * PAGE),
                                     .pairs = kt_put(&pair, sizeof pair),
                                     .page_bytes = PAGE,
                                     .n_pairs = 1};
    kt_run(K_OP_kv_copy, &a);
    check_traffic("kv_copy_16", 1.032);
    free(pool);
}
