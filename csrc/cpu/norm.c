/* SPDX-License-Identifier: Apache-2.0 */
#include "cpu/cpu_ops.h"
#include "cpu/norm_simd.h"

struct op {
    const struct oct_cpu *d;
    const struct k_rmsnorm_args *a;
};

static void rows(void *arg, int64_t begin, int64_t end, int thread)
{
    const struct op *o = arg;
    const struct k_rmsnorm_args *a = o->a;
    const int32_t *row_ids = oct_host_ptr(a->row_ids);
    const size_t row_bytes = (size_t)(a->dim * k_dtype_bytes(a->dtype));
    (void)thread;
    for (int64_t r = begin; r < end; r++) {
        const size_t from = (size_t)(row_ids ? row_ids[r] : r) * row_bytes;
        const size_t to = (size_t)r * row_bytes;
        OCT_SIMD_PICK(o->d->simd, oct_simd_rmsnorm_row)
        ((char *)oct_host_ptr(a->out) + to, (char *)oct_host_ptr(a->x) + from,
         a->add ? (const char *)oct_host_ptr(a->add) + from : NULL, oct_host_ptr(a->weight), a->dim,
         a->dtype, a->eps);
    }
}

oct_status oct_cpu_rmsnorm(struct oct_cpu *d, const struct k_rmsnorm_args *a)
{
    OCT_ASSERT(!a->row_ids || !a->add); /* x is updated row by row, not by choice of rows */
    oct_cpu_loop(d, 2 * (int64_t)a->rows * a->dim, a->rows, rows, &(struct op){d, a});
    return OCT_OK;
}
