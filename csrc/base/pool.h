/* SPDX-License-Identifier: Apache-2.0
 *
 * pool.h - threads that share a loop. The calling thread works too, so a pool of n is n - 1
 * workers; they sleep between loops, after a short wait for the next one.
 *
 *     struct scale { float *x, by; };
 *     static void scale(void *arg, int64_t begin, int64_t end, int thread) { ... }
 *
 *     oct_pool_run(pool, 4, n, 1000, scale, &(struct scale){x, 2.0f});
 *
 * The loop is cut into pieces, and whoever is free takes the next: a thread that gets no core is
 * not waited for. What a loop computes must therefore not depend on who does which piece. One
 * thread at a time may run a pool, and not from within a loop of the same pool. */
#ifndef OCT_BASE_POOL_H
#define OCT_BASE_POOL_H

#include "base/status.h"

struct oct_pool;

/* Does items [begin, end). `thread` is 0..n_threads-1 and nobody else's at the same time. */
typedef void oct_pool_fn(void *arg, int64_t begin, int64_t end, int thread);

/* n_threads >= 1, the caller of oct_pool_run() included. Workers are called NAME-1, NAME-2 ...
 * (name: at most 9 characters), block all signals and run where the system puts them. */
OCT_CHECKED oct_status oct_pool_create(int n_threads, const char *name, struct oct_pool **out);
void oct_pool_destroy(struct oct_pool *p); /* NULL is fine */

int oct_pool_threads(const struct oct_pool *p);

/* Calls fn for all of [0, n), in pieces of at most `piece` items (>= 1), on at most `most` threads;
 * returns when all are done. All that the caller wrote before is seen by fn, all that fn wrote by
 * the caller. With one thread, one piece or no pool (NULL) it is one plain call. */
void oct_pool_run(struct oct_pool *p, int most, int64_t n, int64_t piece, oct_pool_fn *fn,
                  void *arg);

#endif
