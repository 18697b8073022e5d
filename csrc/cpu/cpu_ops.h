/* SPDX-License-Identifier: Apache-2.0
 *
 * cpu_ops.h - inside this room: the device, one function per op, threads, scratch, bf16.
 *
 * An op is `oct_status oct_cpu_<op>(struct oct_cpu *d, const struct k_<op>_args *a)` in the file of
 * its family. It trusts its arguments as its contract in cuda/ states them, computes with at most
 * d->n_threads threads, and returns when it is done. Loops go over the device's pool (base/pool.h):
 *
 *     OCT_TRY(oct_cpu_scratch_reserve(d, bytes));     before the loop, if scratch is needed
 *     oct_cpu_loop(d, work, n, some_rows, &(struct op){d, a});
 *
 *     static void some_rows(void *arg, int64_t begin, int64_t end, int thread)
 *     { const struct op *o = arg; void *mine = oct_cpu_scratch(o->d, thread); ... }
 *
 * A row's bits must not depend on how rows are spread over threads or blocks. Inner loops that
 * matter go into a file compiled for several instruction sets: simd.h. */
#ifndef OCT_CPU_CPU_OPS_H
#define OCT_CPU_CPU_OPS_H

#include "base/bf16.h"
#include "base/pool.h"
#include "cpu/cpu.h"
#include "cpu/simd.h"

#include <stddef.h>
#include <string.h>

struct oct_cpu {
    struct oct_device dev; /* first: the caller's pointer is this one; its pool is owned */
    int n_threads;         /* >= 1 */
    enum oct_simd_level simd;
    bool has_bf16_pairs;  /* AVX512_BF16: products of bf16 pairs in one instruction */
    char *scratch;        /* owned: n_threads blocks of scratch_bytes, aligned to 256 */
    size_t scratch_bytes; /* of one thread, a multiple of 256 */
    char *shared;         /* owned: one block for all threads, aligned to 256 */
    size_t shared_bytes;
    struct oct_cpu_slab *slabs; /* owned; slab.h */
};

/* ---- one line per op of ops.h: oct_cpu_embed(), oct_cpu_rmsnorm(), ... ---- */
#define OCT_CPU_OP(name, type) \
    OCT_CHECKED oct_status oct_cpu_##name(struct oct_cpu *d, const type *args);
K_OPS(OCT_CPU_OP)
#undef OCT_CPU_OP

/* ---- gemm.c, for the table in cpu.c ---- */
OCT_CHECKED oct_status oct_cpu_matrix_create(struct oct_cpu *d, const struct oct_matrix_desc *m,
                                             k_ptr *out);
void oct_cpu_matrix_destroy(struct oct_cpu *d, k_ptr m);
uint64_t oct_cpu_matrix_bytes(struct oct_cpu *d, int32_t n, int32_t k, int32_t dtype);

/* ---- threads and scratch ---- */

/* Every thread gets at least `bytes` of scratch, contents undefined. Allocates only when it grows,
 * so that a step in steady state allocates nothing. Never inside a loop. */
OCT_CHECKED oct_status oct_cpu_scratch_reserve(struct oct_cpu *d, size_t bytes);
/* The same for d->shared, which all threads of an op see. */
OCT_CHECKED oct_status oct_cpu_shared_reserve(struct oct_cpu *d, size_t bytes);

/* The block of a thread of the loop, aligned to 256; d->scratch_bytes long. */
static inline void *oct_cpu_scratch(const struct oct_cpu *d, int thread)
{
    return d->scratch + (size_t)thread * d->scratch_bytes;
}

/* How many threads are worth waking for `work` operations (elements touched, or FLOP / 8): waking
 * one costs a few microseconds, in which one thread does some 20,000 such operations. */
static inline int oct_cpu_threads(const struct oct_cpu *d, int64_t work)
{
    const int64_t worth = work / 20000 + 1;
    return worth < d->n_threads ? (int)worth : d->n_threads;
}

/* A loop over n items of equal cost, `work` operations together. Two pieces for each thread: one
 * that starts late has less to do. */
static inline void oct_cpu_loop(const struct oct_cpu *d, int64_t work, int64_t n, oct_pool_fn *fn,
                                void *arg)
{
    const int threads = oct_cpu_threads(d, work);
    oct_pool_run(d->dev.pool, threads, n, (n + 2 * threads - 1) / (2 * threads), fn, arg);
}

/* ---- addresses and numbers ---- */

static inline void *oct_host_ptr(k_ptr p)
{
    return (void *)(uintptr_t)p;
}

/* `f` rounded to what `dtype` can hold: the contracts' store(), kept in fp32. */
static inline float oct_round_to(float f, int32_t dtype)
{
    return dtype == K_BF16 ? oct_bf16_to_f32(oct_f32_to_bf16(f)) : f;
}

#endif
