/* SPDX-License-Identifier: Apache-2.0
 *
 * sample_plan.h - kernels and plan of sampling. */
#ifndef K_SAMPLE_PLAN_H
#define K_SAMPLE_PLAN_H

#include "launch.h"
#include "sample.h"

#define K_SAMPLE_MODULES(X)
#define K_SAMPLE_KERNELS(X)

int k_plan_sample(const struct k_facts *f, const struct k_work *w, const struct k_sample_args *a,
                  struct k_launch out[K_MAX_LAUNCHES]);
/* Bytes of workspace past the tickets. */
uint64_t k_sample_work_bytes(const struct k_facts *f, const struct k_limits *l);

#endif
