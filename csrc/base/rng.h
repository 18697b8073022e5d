/* SPDX-License-Identifier: Apache-2.0
 *
 * rng.h - random numbers as a pure function of (seed, counter): no state, so that a request draws
 * the same numbers whatever runs beside it. */
#ifndef OCT_BASE_RNG_H
#define OCT_BASE_RNG_H

#include "base/status.h"

/* Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011): four
 * 32-bit words for one 64-bit key and one 128-bit counter (lo, hi). */
void oct_rng_philox(uint64_t key, uint64_t counter_lo, uint64_t counter_hi, uint32_t out[4]);

/* A seed nobody can guess, from the system. OCT_E_IO if it gives none. */
OCT_CHECKED oct_status oct_rng_fresh_seed(uint64_t *seed);

#endif
