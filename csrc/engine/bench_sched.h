/* SPDX-License-Identifier: Apache-2.0
 *
 * bench_sched.h - what a scheduling step costs by itself: no model, no device. */
#ifndef OCT_ENGINE_BENCH_SCHED_H
#define OCT_ENGINE_BENCH_SCHED_H

#include "base/status.h"

struct oct_bench_sched {
    int32_t n_running;                /* decode requests in each step */
    int32_t n_finished;               /* requests that ran and ended before */
    int32_t n_steps;                  /* measured */
    double median_us, p90_us, max_us; /* one pick and its dones */
};

/* Measures n_steps steps with n_running requests that generate one token each, in one group of
 * full attention, after n_finished others have come and gone and left the prefix cache full. Every
 * 64th step of a request takes a page and offers a block to the cache. */
OCT_CHECKED oct_status oct_bench_sched(int32_t n_running, int32_t n_finished, int32_t n_steps,
                                       struct oct_bench_sched *out);

#endif
