/* SPDX-License-Identifier: Apache-2.0 */
#include "cpu/cpu_ops.h"

static void pages(void *arg, int64_t begin, int64_t end, int thread)
{
    const struct k_kv_copy_args *a = arg;
    const struct k_kv_copy_pair *pairs = oct_host_ptr(a->pairs);
    char *pool = oct_host_ptr(a->pool);
    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        memcpy(pool + pairs[i].to * a->page_bytes, pool + pairs[i].from * a->page_bytes,
               (size_t)a->page_bytes);
    }
}

oct_status oct_cpu_kv_copy(struct oct_cpu *d, const struct k_kv_copy_args *a)
{
    struct k_kv_copy_args args = *a;
    oct_cpu_loop(d, a->n_pairs * a->page_bytes / 4, a->n_pairs, pages, &args);
    return OCT_OK;
}
