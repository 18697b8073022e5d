/* SPDX-License-Identifier: Apache-2.0
 *
 * attn_plan.h - kernels and plans of attention over the paged cache. */
#ifndef K_ATTN_PLAN_H
#define K_ATTN_PLAN_H

#include "attn.h"
#include "fused.h"
#include "launch.h"

#define K_ATTN_MODULES(X)
#define K_ATTN_KERNELS(X)

int k_plan_attn(const struct k_facts *f, const struct k_work *w, const struct k_attn_args *a,
                struct k_launch out[K_MAX_LAUNCHES]);
int k_plan_rope_attn(const struct k_facts *f, const struct k_work *w,
                     const struct k_rope_attn_args *a, struct k_launch out[K_MAX_LAUNCHES]);
/* Bytes of workspace past the tickets. */
uint64_t k_attn_work_bytes(const struct k_facts *f, const struct k_limits *l);

#endif
