/* SPDX-License-Identifier: Apache-2.0
 *
 * cuda_matrix.c - weights: packed by the host's threads straight into pinned memory, panel by
 * panel, while what was packed before is on its way. */
#include "device/cuda_device.h"
#include "gemm_pack.h"

#include "base/mem.h"

struct pack {
    const struct oct_matrix_desc *m;
    char *dst;
    uint64_t panel_bytes;
    int32_t first; /* panel at dst */
};

static void pack_panels(void *arg, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    const struct pack *p = arg;
    k_gemm_pack(p->m->rows, p->m->n, p->m->k, p->m->gate_up, p->first + (int32_t)begin,
                (int32_t)(end - begin), p->dst + (uint64_t)begin * p->panel_bytes);
}

static oct_status upload_packed(struct oct_cuda *c, const struct oct_matrix_desc *m, k_ptr dst)
{
    const uint64_t panel_bytes = k_gemm_panel_bytes(m->k);
    const int32_t n_panels = k_gemm_n_panels(m->n);
    for (int32_t at = 0; at < n_panels;) {
        void *buffer;
        size_t room;
        OCT_TRY(oct_cuda_stage(c, panel_bytes, &buffer, &room));
        const uint64_t fit = room / panel_bytes, left = (uint64_t)(n_panels - at);
        const uint64_t n = fit < left ? fit : left;
        oct_pool_run(c->dev.pool, INT32_MAX, (int64_t)n, 1, pack_panels,
                     &(struct pack){m, buffer, panel_bytes, at});
        OCT_TRY(oct_cuda_send(c, dst + (uint64_t)at * panel_bytes, n * panel_bytes));
        at += (int32_t)n;
    }
    return OCT_OK;
}

static oct_status fill_packed(struct oct_cuda *c, const struct oct_matrix_desc *m,
                              struct oct_cuda_matrix *x)
{
    OCT_TRY(oct_cuda_take(c, k_gemm_packed_bytes(m->n, m->k), &x->packed));
    return upload_packed(c, m, x->packed);
}

oct_status oct_cuda_matrix_create(struct oct_device *d, const struct oct_matrix_desc *m, k_ptr *out)
{
    struct oct_cuda *c = oct_cuda_of(d);
    OCT_ASSERT(m->n >= 1 && m->k >= 1 && !(m->gate_up && m->n % 2));
    OCT_TRY(oct_cuda_enter(c));
    if (m->dtype != K_BF16) {
        return OCT_FAIL(OCT_E_UNSUPPORTED,
                        "cuda:%d: weights of %d x %d are not bfloat16, the only type its kernels "
                        "multiply; use --dtype bfloat16",
                        c->ordinal, m->n, m->k);
    }
    if (!c->lt && !k_gemm_packed_bytes(m->n, m->k)) {
        return OCT_FAIL(OCT_E_UNSUPPORTED, "cuda:%d: no layout for a weight of %d x %d", c->ordinal,
                        m->n, m->k);
    }
    struct oct_cuda_matrix *x = oct_malloc(sizeof *x);
    if (!x) {
        return oct_no_memory("a matrix", sizeof *x);
    }
    *x = (struct oct_cuda_matrix){.n = m->n, .k = m->k, .gate_up = m->gate_up};
    const oct_status st = c->lt ? oct_cuda_lt_matrix_fill(c, m, x) : fill_packed(c, m, x);
    if (st != OCT_OK) {
        oct_cuda_matrix_destroy(d, (k_ptr)(uintptr_t)x);
        return st;
    }
    *out = (k_ptr)(uintptr_t)x;
    return OCT_OK;
}

void oct_cuda_matrix_destroy(struct oct_device *d, k_ptr m)
{
    struct oct_cuda_matrix *x = (void *)(uintptr_t)m;
    const k_ptr blocks[] = {x->packed, x->bias};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) {
        if (blocks[i]) {
            oct_cuda_free(d, blocks[i]);
        }
    }
    oct_free(x);
}

uint64_t oct_cuda_matrix_bytes(struct oct_device *d, int32_t n, int32_t k, int32_t dtype)
{
    (void)dtype; /* there is but one */
    return oct_cuda_of(d)->lt ? oct_cuda_lt_matrix_bytes(n, k) : k_gemm_packed_bytes(n, k);
}
