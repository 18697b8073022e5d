/* SPDX-License-Identifier: Apache-2.0 */
#include "cpu/rope_simd.h"

struct op {
    const struct oct_cpu *d;
    const struct k_rope_kv_args *a;
};

static void rope_row(const struct oct_cpu *d, const struct k_rope_kv_args *a, int64_t t, float *x)
{
    const struct k_paging *kv = &a->kv;
    const int64_t es = k_dtype_bytes(kv->dtype), dim = kv->head_dim, head_bytes = dim * es;
    const int32_t n_q = a->n_heads, n_kv = kv->n_kv_heads;
    const int32_t pos = ((const int32_t *)oct_host_ptr(a->positions))[t];
    const int32_t seq = ((const int32_t *)oct_host_ptr(a->row_seq))[t];
    const int32_t *table =
        (const int32_t *)oct_host_ptr(kv->page_table) + (int64_t)seq * kv->table_stride;
    const int32_t page = table[pos / K_PAGE_TOKENS];
    const float *cos_sin = (const float *)oct_host_ptr(a->cos_sin) + (int64_t)pos * a->rot_dim;
    char *row = (char *)oct_host_ptr(a->qkv) + t * a->qkv_stride * es;

    for (int32_t h = 0; h < n_q + n_kv; h++) {
        char *src = row + h * head_bytes, *dst = src;
        const bool is_key = h >= n_q;
        if (is_key) {
            const int64_t tile = k_kv_tile(kv, page, h - n_q);
            dst = (char *)oct_host_ptr(kv->pool) + (tile + pos % K_PAGE_TOKENS * k_kv_row(kv)) * es;
            memcpy(dst + k_kv_v_offset(kv) * es, src + n_kv * head_bytes, (size_t)head_bytes);
        }
        OCT_SIMD_PICK(d->simd, oct_simd_rope_head)
        (dst, src, oct_host_ptr(is_key ? a->k_norm : a->q_norm), cos_sin, kv->head_dim, a->rot_dim,
         kv->dtype, a->eps, x);
    }
}

static void rows(void *arg, int64_t begin, int64_t end, int thread)
{
    const struct op *o = arg;
    for (int64_t t = begin; t < end; t++) {
        rope_row(o->d, o->a, t, oct_cpu_scratch(o->d, thread));
    }
}

oct_status oct_cpu_rope_kv(struct oct_cpu *d, const struct k_rope_kv_args *a)
{
    const int64_t heads = a->n_heads + 2 * (int64_t)a->kv.n_kv_heads;
    OCT_TRY(oct_cpu_scratch_reserve(d, (size_t)a->kv.head_dim * sizeof(float)));
    oct_cpu_loop(d, a->rows * heads * a->kv.head_dim, a->rows, rows, &(struct op){d, a});
    return OCT_OK;
}
