/* SPDX-License-Identifier: Apache-2.0 */
#include "cpu/cpu_ops.h"

static void rows(void *arg, int64_t begin, int64_t end, int thread)
{
    const struct k_embed_args *a = arg;
    const int32_t *ids = oct_host_ptr(a->ids);
    const char *table = oct_host_ptr(a->table);
    char *out = oct_host_ptr(a->out);
    const size_t row_bytes = (size_t)(a->dim * k_dtype_bytes(a->dtype));
    (void)thread;
    for (int64_t r = begin; r < end; r++) {
        memcpy(out + (size_t)r * row_bytes, table + (size_t)ids[r] * row_bytes, row_bytes);
    }
}

oct_status oct_cpu_embed(struct oct_cpu *d, const struct k_embed_args *a)
{
    struct k_embed_args args = *a;
    oct_cpu_loop(d, (int64_t)a->rows * a->dim, a->rows, rows, &args);
    return OCT_OK;
}
