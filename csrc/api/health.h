/* SPDX-License-Identifier: Apache-2.0
 *
 * health.h - whether the engine gets on with its work, told by its finished steps and not by a
 * thread that is alive. */
#ifndef OCT_API_HEALTH_H
#define OCT_API_HEALTH_H

#include "octavo.h"

/* {0} at first. */
struct oct_health {
    double load_part; /* of the weights, 0..1 */
    uint64_t n_steps; /* at the last look */
    int64_t looked_us;
    int64_t since_us; /* no later than this there was no work, or a step had finished */
};

/* To be asked every second or so (oct_api_tick) and before the next. Looks that are further apart
 * than OCT_HEALTH_GAP_US begin anew: nobody knows when the work came. */
enum { OCT_HEALTH_GAP_US = 5 * 1000 * 1000 };
void oct_health_look(struct oct_health *h, const struct oct_engine_stats *s, int64_t now_us);
/* For so long there has been work and no step has finished. */
int64_t oct_health_stuck_us(const struct oct_health *h);

#endif
