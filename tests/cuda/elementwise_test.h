/* SPDX-License-Identifier: Apache-2.0
 *
 * elementwise_test.h - what the tests of the memory-bound kernels share. */
#ifndef OCT_TESTS_CUDA_ELEMENTWISE_TEST_H
#define OCT_TESTS_CUDA_ELEMENTWISE_TEST_H

#include "cpu/levels.h"
#include "cuda/kernel_test.h"

#include <string.h>

#if defined(__SANITIZE_ADDRESS__)
enum { N_SEEDS = 1, SANITIZED = 1 };
#else
enum { N_SEEDS = 3, SANITIZED = 0 };
#endif

/* n bf16 numbers of a normal distribution around `mean`. */
static inline uint16_t *normal_bf16(struct rng *r, int64_t n, float mean, float sigma)
{
    uint16_t *p = malloc((size_t)n * 2 + 1);
    cr_assert_not_null(p);
    for (int64_t i = 0; i < n; i++) {
        put(p, i, mean + sigma * rng_normal(r), K_BF16);
    }
    return p;
}

static inline k_ptr host(const void *p)
{
    return (k_ptr)(uintptr_t)p;
}

static inline struct oct_device *open_oracle(void)
{
    struct oct_device *d = NULL;
    cr_assert_eq(oct_cpu_open(1, &d), OCT_OK, "%s", oct_last_error());
    return d;
}

/* What a kernel, run once in this process, has moved: whole sectors; of memory no more than the
 * plan says, to a sector for each of its buffers (rows of a table may coincide); with what is read
 * again, out of a cache, `again` times that. */
static inline void check_traffic(const char *kernel, double again)
{
    enum { BUFFERS = 8 * 32 };
    static const char *const names[] = {"global_read_sectors", "global_read_sectors_minimal",
                                        "global_read_sectors_unique", "global_write_sectors",
                                        "global_write_sectors_minimal"};
    unsigned long long n[5];
    const struct k_launch *l;
    cr_assert_eq(kt_launches(&l), 1);
    cr_assert_str_eq(k_kernel_table[l->kernel].name, kernel);
    if (!kt_is_virtual()) {
        return;
    }
    for (int i = 0; i < 5; i++) {
        n[i] = 32 * kt_counter(kernel, names[i]);
    }
    const unsigned long long reads = l->cost.read_bytes, writes = l->cost.write_bytes;
    cr_assert_eq(n[0], n[1], "%s: sectors of %llu bytes read for %llu", kernel, n[0], n[1]);
    cr_assert_eq(n[3], n[4], "%s: sectors of %llu bytes written for %llu", kernel, n[3], n[4]);
    cr_assert_eq(n[3], writes, "%s: %llu bytes written, not %llu", kernel, n[3], writes);
    cr_assert(n[2] >= reads - reads / 20 && n[2] <= reads + BUFFERS,
              "%s: %llu bytes read, not %llu", kernel, n[2], reads);
    cr_assert_leq((double)n[0], again * (double)reads, "%s: %llu bytes read, some again, of %llu",
                  kernel, n[0], reads);
}

#endif
