/* SPDX-License-Identifier: Apache-2.0
 *
 * clock.h - time, monotonic only. Tests may set a clock of their own. */
#ifndef OCT_BASE_CLOCK_H
#define OCT_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

/* Microseconds of CLOCK_MONOTONIC; never goes back, its zero means nothing. */
int64_t oct_clock_us(void);

/* So long from now, for a wait by CLOCK_MONOTONIC; a year at most, which is as good as for ever.
 * Not by the clock of a test: the kernel waits. us >= 0. */
static inline struct timespec oct_clock_after(int64_t us)
{
    const int64_t year_us = (int64_t)365 * 24 * 3600 * 1000000;
    us = us < year_us ? us : year_us;
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    const int64_t ns = t.tv_nsec + us % 1000000 * 1000;
    t.tv_sec += (time_t)(us / 1000000 + ns / 1000000000);
    t.tv_nsec = (long)(ns % 1000000000);
    return t;
}

/* Seconds since 1970 (wall clock), for dates shown to people and for nothing else. */
int64_t oct_clock_wall_s(void);

#if OCT_FAULTS
/* From now on both clocks return what `now_us` returns; NULL gives the real ones back. */
void oct_clock_set_test(int64_t (*now_us)(void *), void *arg);
#endif

#endif
