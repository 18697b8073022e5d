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

#define K_ELEMENTWISE_MODULES(X) \
    X(embed) \
    X(norm) \
    X(act) \
    X(rope) \
    X(kv_copy)

#define K_ELEMENTWISE_KERNELS(X) \
    X(embed, embed_b16, struct k_embed_args) \
    X(norm, rmsnorm_b16_v1, struct k_rmsnorm_args) \
    X(norm, rmsnorm_b16_v2, struct k_rmsnorm_args) \
    X(norm, rmsnorm_b16_v4, struct k_rmsnorm_args) \
    X(norm, rmsnorm_b16_long, struct k_rmsnorm_args) \
    X(act, silu_mul_b16, struct k_silu_mul_args) \
    X(rope, rope_kv_b16_d64, struct k_rope_kv_args) \
    X(rope, rope_kv_b16_d128, struct k_rope_kv_args) \
    X(rope, rope_kv_b16_d256, struct k_rope_kv_args) \
    X(rope, rope_kv_b16_any, struct k_rope_kv_args) \
    X(kv_copy, kv_copy_16, struct k_kv_copy_args)

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
