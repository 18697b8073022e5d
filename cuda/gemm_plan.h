/* SPDX-License-Identifier: Apache-2.0
 *
 * gemm_plan.h - kernels and plans of the matrix product. */
#ifndef K_GEMM_PLAN_H
#define K_GEMM_PLAN_H

#include "fused.h"
#include "gemm.h"
#include "gemm_pack.h"
#include "launch.h"

#define K_GEMM_MODULES(X)
#define K_GEMM_KERNELS(X)

int k_plan_gemm(const struct k_facts *f, const struct k_work *w, const struct k_gemm_args *a,
                struct k_launch out[K_MAX_LAUNCHES]);
int k_plan_gemm_silu(const struct k_facts *f, const struct k_work *w,
                     const struct k_gemm_silu_args *a, struct k_launch out[K_MAX_LAUNCHES]);
/* Bytes of workspace past the tickets. */
uint64_t k_gemm_work_bytes(const struct k_facts *f, const struct k_limits *l);

#endif
