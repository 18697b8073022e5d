/* SPDX-License-Identifier: Apache-2.0
 *
 * levels.h - what tests of small ops share: a CPU device at a chosen instruction set, and seeded
 * numbers. */
#ifndef OCT_TEST_CPU_LEVELS_H
#define OCT_TEST_CPU_LEVELS_H

#include "base/bf16.h"
#include "cpu/cpu_ops.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

static const char *const level_names[] = {"base", "v3", "v4"};
enum { N_LEVELS = 3 };

/* NULL if this machine has no such level. */
static inline struct oct_device *open_level(int level, int n_threads)
{
    if ((int)oct_simd_level() < level) {
        return NULL;
    }
    struct oct_device *d = NULL;
    cr_assert_eq(oct_cpu_open(n_threads, &d), OCT_OK, "%s", oct_last_error());
    ((struct oct_cpu *)(void *)d)->simd = (enum oct_simd_level)level;
    return d;
}

struct rng {
    uint64_t state; /* not 0 */
};

static inline uint64_t rng_u64(struct rng *r) /* xorshift64*, Vigna, arXiv:1402.6246 */
{
    r->state ^= r->state >> 12;
    r->state ^= r->state << 25;
    r->state ^= r->state >> 27;
    return r->state * 0x2545F4914F6CDD1Du;
}

static inline int32_t rng_below(struct rng *r, int32_t n)
{
    return (int32_t)(rng_u64(r) >> 33) % n;
}

static inline double rng_uniform(struct rng *r) /* (0, 1) */
{
    return ((double)(rng_u64(r) >> 12) + 0.5) * 0x1p-52;
}

static inline float rng_normal(struct rng *r)
{
    const double u = rng_uniform(r), v = rng_uniform(r);
    return (float)(sqrt(-2 * log(u)) * cos(6.283185307179586 * v));
}

/* An array of n elements of dtype, and element i as fp32. */
static inline void put(void *p, int64_t i, float v, int32_t dtype)
{
    if (dtype == K_BF16) {
        ((uint16_t *)p)[i] = oct_f32_to_bf16(v);
    } else {
        ((float *)p)[i] = v;
    }
}

static inline float get(const void *p, int64_t i, int32_t dtype)
{
    return dtype == K_BF16 ? oct_bf16_to_f32(((const uint16_t *)p)[i]) : ((const float *)p)[i];
}

#endif
