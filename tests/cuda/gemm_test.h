/* SPDX-License-Identifier: Apache-2.0
 *
 * gemm_test.h - operands of a matrix product on the device and on the CPU, runs of its plans, and
 * comparisons. What must not be read is NaN, what must not be written is checked. */
#ifndef OCT_TESTS_CUDA_GEMM_TEST_H
#define OCT_TESTS_CUDA_GEMM_TEST_H

#include "cuda/kernel_test.h"

struct gt_case {
    int32_t n, k, m_max;
    bool whole_numbers; /* small ones: every sum is exact, so every order gives the same bits */
    bool bias, residual, f32;

    /* Made by gt_make(). Rows past m_max up to the row padding, and what lies between rows, is NaN.
     */
    int64_t in_stride, out_stride;
    uint16_t *in, *weight, *add; /* add: the residual, in the place of out */
    float *b;
    k_ptr d_in, d_bias, d_weight, d_weight_silu; /* packed; as gate/up where n % 16 == 0 */
    void *oracle;                                /* [m_max, n] bf16 or fp32 */
    float *magnitude;                            /* [m_max, n] sum of |in weight| + |bias| */
    void *out, *kept; /* [rows, out_stride] of the last run; of one kept */
};

uint32_t gt_random(void);
float gt_float(uint16_t bf16);
uint16_t gt_bf16(float f);

void gt_make(struct gt_case *c);
void gt_drop(struct gt_case *c);
void gt_oracle(struct gt_case *c);

struct gt_how {
    int32_t kernel; /* of the family; -1: the plan's choice */
    int32_t n_sms;  /* planned for so many; 0: what the device has */
    uint64_t seed;
};
/* The first m rows. Afterwards c->out; rows past m and columns past n were not touched, or the test
 * fails. */
void gt_run(struct gt_case *c, int32_t m, const struct gt_how *how);
/* gemm_silu: [m, n / 2], the caller's to free. */
uint16_t *gt_run_silu(struct gt_case *c, int32_t m, const struct gt_how *how);
int gt_launches(const struct k_launch **out); /* of the last run */

void gt_compare_with_oracle(const struct gt_case *c, const char *what);
void gt_keep(struct gt_case *c);
void gt_compare_with_kept(const struct gt_case *c, int32_t m, const struct gt_how *how,
                          const char *what);
/* gt_run_silu's rows against the op silu_mul of the kept rows, bit for bit, if it has a kernel. */
void gt_compare_with_act(const struct gt_case *c, const uint16_t *out, int32_t m, const char *what);

#endif
