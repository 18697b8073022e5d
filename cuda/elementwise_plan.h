/* SPDX-License-Identifier: Apache-2.0
 *
 * elementwise_plan.h - kernels and plans of the ops whose time is the bytes they move: embed,
 * rmsnorm, silu_mul, rope_kv, kv_copy. */
#ifndef K_ELEMENTWISE_PLAN_H
#define K_ELEMENTWISE_PLAN_H

#include "act.h"
#include "embed.h"
#include "kv_copy.h"
#include "launch.h"
#include "norm.h"
#include "rope.h"

#define K_ELEMENTWISE_MODULES(X) X(embed)

#define K_ELEMENTWISE_KERNELS(X) X(embed, embed_b16, struct k_embed_args)

int k_plan_embed(const struct k_facts *f, const struct k_work *w, const struct k_embed_args *a,
                 struct k_launch out[K_MAX_LAUNCHES]);
int k_plan_rmsnorm(const struct k_facts *f, const struct k_work *w, const struct k_rmsnorm_args *a,
                   struct k_launch out[K_MAX_LAUNCHES]);
int k_plan_silu_mul(const struct k_facts *f, const struct k_work *w,
                    const struct k_silu_mul_args *a, struct k_launch out[K_MAX_LAUNCHES]);
int k_plan_rope_kv(const struct k_facts *f, const struct k_work *w, const struct k_rope_kv_args *a,
                   struct k_launch out[K_MAX_LAUNCHES]);
int k_plan_kv_copy(const struct k_facts *f, const struct k_work *w, const struct k_kv_copy_args *a,
                   struct k_launch out[K_MAX_LAUNCHES]);

#endif
