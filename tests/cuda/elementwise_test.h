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

/* What a kernel, run once in this process, has moved: whole sectors, the bytes that it must write
 * and at most `slack` more than those that it must read (page numbers that each warp asks for). */
static inline void check_traffic(const char *kernel, uint64_t reads, uint64_t writes, double slack)
{
    static const char *const names[] = {"global_read_sectors", "global_read_sectors_minimal",
                                        "global_write_sectors", "global_write_sectors_minimal"};
    uint64_t n[4];
    if (!kt_is_virtual()) {
        return;
    }
    for (int i = 0; i < 4; i++) {
        n[i] = kt_counter(kernel, names[i]);
    }
    cr_assert_eq(n[0], n[1], "%s: %llu sectors read, %llu would do", kernel,
                 (unsigned long long)n[0], (unsigned long long)n[1]);
    cr_assert_eq(n[2], n[3], "%s: %llu sectors written, %llu would do", kernel,
                 (unsigned long long)n[2], (unsigned long long)n[3]);
    cr_assert_eq(n[2] * 32, writes, "%s: %llu bytes written, not %llu", kernel,
                 (unsigned long long)n[2] * 32, (unsigned long long)writes);
    cr_assert_geq(n[0] * 32, reads, "%s: %llu bytes read of %llu", kernel,
                  (unsigned long long)n[0] * 32, (unsigned long long)reads);
    cr_assert_leq((double)n[0] * 32, (double)reads * (1 + slack), "%s: %llu bytes read for %llu",
                  kernel, (unsigned long long)n[0] * 32, (unsigned long long)reads);
}

#endif
