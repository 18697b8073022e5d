/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"

#include <stddef.h>
#include <time.h>

#if OCT_FAULTS
static int64_t (*test_now_us)(void *);
static void *test_arg;

void oct_clock_set_test(int64_t (*now_us)(void *), void *arg)
{
    test_now_us = now_us;
    test_arg = arg;
}
#endif

int64_t oct_clock_us(void)
{
#if OCT_FAULTS
    if (test_now_us) {
        return test_now_us(test_arg);
    }
#endif
    struct timespec ts;
    (void)clock_gettime(CLOCK_MONOTONIC, &ts); /* cannot fail for this clock */
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

int64_t oct_clock_wall_s(void)
{
#if OCT_FAULTS
    if (test_now_us) {
        return test_now_us(test_arg) / 1000000;
    }
#endif
    return (int64_t)time(NULL);
}
