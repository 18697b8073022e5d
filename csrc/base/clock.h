/* SPDX-License-Identifier: Apache-2.0
 *
 * clock.h - time, monotonic only. Tests may set a clock of their own. */
#ifndef OCT_BASE_CLOCK_H
#define OCT_BASE_CLOCK_H

#include <stdint.h>

/* Microseconds of CLOCK_MONOTONIC; never goes back, its zero means nothing. */
int64_t oct_clock_us(void);

/* Seconds since 1970 (wall clock), for dates shown to people and for nothing else. */
int64_t oct_clock_wall_s(void);

#if OCT_FAULTS
/* From now on both clocks return what `now_us` returns; NULL gives the real ones back. */
void oct_clock_set_test(int64_t (*now_us)(void *), void *arg);
#endif

#endif
