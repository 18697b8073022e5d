/* SPDX-License-Identifier: Apache-2.0 */
#include "cpu/cpu_ops.h"
#include "cpu/norm_simd.h"

oct_status oct_cpu_rmsnorm(struct oct_cpu *d, const struct k_rmsnorm_args *a)
{
    const int32_t *row_ids = oct_host_ptr(a->row_ids);
    const size_t row_bytes = (size_t)(a->dim * k_dtype_bytes(a->dtype));
    OCT_ASSERT(!row_ids || !a->add); /* x is updated row by row, not by choice of rows */
    const int n_threads = oct_cpu_threads(d, 2 * (int64_t)a->rows * a->dim);
#pragma omp parallel for num_threads(n_threads) schedule(static) if (n_threads > 1)
    for (int32_t r = 0; r < a->rows; r++) {
        const size_t from = (size_t)(row_ids ? row_ids[r] : r) * row_bytes;
        const size_t to = (size_t)r * row_bytes;
        OCT_SIMD_PICK(d->simd, oct_simd_rmsnorm_row)
        ((char *)oct_host_ptr(a->out) + to, (char *)oct_host_ptr(a->x) + from,
         a->add ? (const char *)oct_host_ptr(a->add) + from : NULL, oct_host_ptr(a->weight), a->dim,
         a->dtype, a->eps);
    }
    return OCT_OK;
}
