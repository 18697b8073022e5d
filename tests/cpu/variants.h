/* SPDX-License-Identifier: Apache-2.0
 *
 * variants.h - every way this machine can run the large ops: the instruction sets of levels.h, and
 * the widest with and without products of bf16 pairs. */
#ifndef OCT_TEST_CPU_VARIANTS_H
#define OCT_TEST_CPU_VARIANTS_H

#include "cpu/levels.h"

#include <string.h>

static const struct variant {
    const char *name;
    int level;
    bool pairs;
} variants[] = {{"base", 0, false}, {"v3", 1, false}, {"v4", 2, false}, {"v4+bf16", 2, true}};
enum { N_VARIANTS = sizeof variants / sizeof *variants };

/* NULL if this machine cannot. */
static inline struct oct_device *open_variant(int v, int n_threads)
{
    struct oct_device *d = open_level(variants[v].level, n_threads);
    struct oct_cpu *cpu = (struct oct_cpu *)(void *)d;
    if (!d || (variants[v].pairs && !cpu->has_bf16_pairs)) {
        oct_dev_close(d);
        return NULL;
    }
    cpu->has_bf16_pairs = variants[v].pairs;
    return d;
}

static inline k_ptr addr(const void *p)
{
    return (k_ptr)(uintptr_t)p;
}

/* n elements of dtype, all NaN. Freed with free(). */
static inline void *nans(int64_t n, int32_t dtype)
{
    void *p = malloc((size_t)(n * k_dtype_bytes(dtype)));
    cr_assert_not_null(p);
    memset(p, 0xff, (size_t)(n * k_dtype_bytes(dtype)));
    return p;
}

/* Half a unit in the last place of 1: what one rounding to dtype may be off, relatively. */
static inline double half_ulp(int32_t dtype)
{
    return dtype == K_BF16 ? 0x1p-8 : 0x1p-24;
}

#endif
