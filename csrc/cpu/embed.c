/* SPDX-License-Identifier: Apache-2.0 */
#include "cpu/cpu_ops.h"

oct_status oct_cpu_embed(struct oct_cpu *d, const struct k_embed_args *a)
{
    const int32_t *ids = oct_host_ptr(a->ids);
    const char *table = oct_host_ptr(a->table);
    char *out = oct_host_ptr(a->out);
    const size_t row_bytes = (size_t)(a->dim * k_dtype_bytes(a->dtype));
    const int n_threads = oct_cpu_threads(d, (int64_t)a->rows * a->dim);
#pragma omp parallel for num_threads(n_threads) schedule(static) if (n_threads > 1)
    for (int32_t r = 0; r < a->rows; r++) {
        memcpy(out + (size_t)r * row_bytes, table + (size_t)ids[r] * row_bytes, row_bytes);
    }
    return OCT_OK;
}
