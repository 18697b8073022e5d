// SPDX-License-Identifier: Apache-2.0
//
// cublaslt_mm.h - D = alpha * A B + beta * C + bias on the CPU, for cublaslt.c.
#ifndef VG_CUBLASLT_MM_H
#define VG_CUBLASLT_MM_H

#include <stdbool.h>
#include <stdint.h>

#include "nccl_driver.h"

struct mm_order {
    int64_t row, col, batch; // steps in elements
};

struct mm {
    int64_t m, n, k;
    int32_t batch;
    int in_type, out_type, bias_type; // cudaDataType
    struct mm_order a_order, b_order, c_order, d_order;
    int64_t bias_stride;
    float alpha, beta;
    bool use_c;
    const void *a, *b, *c, *bias; // host copies
    void *d;
};

unsigned mm_type_bytes(int type);
struct mm_order mm_order(bool row_major, int64_t ld, int64_t stride);
void mm_transpose(struct mm_order *o);
bool mm_run(struct mm *m);
// Findings for elements of A, B and C (not the gaps between columns) that nothing wrote.
void mm_check_read(const struct vg_lib_driver *d, const struct mm *m, uint64_t a, uint64_t b,
                   uint64_t c);
// Writes the elements of D (not the gaps) to the device.
bool mm_store(const struct vg_lib_driver *d, const struct mm *m, uint64_t addr);

#endif
