/* SPDX-License-Identifier: Apache-2.0 */
#include "cpu/act_simd.h"
#include "cpu/cpu_ops.h"

struct op {
    const struct oct_cpu *d;
    const struct k_silu_mul_args *a;
};

static void rows(void *arg, int64_t begin, int64_t end, int thread)
{
    const struct op *o = arg;
    const struct k_silu_mul_args *a = o->a;
    const int32_t n = a->dim;
    (void)thread;
    for (int64_t r = begin; r < end; r++) {
        const int64_t out = r * n, gate = 2 * out;
        if (a->dtype == K_BF16) {
            const uint16_t *in = (const uint16_t *)oct_host_ptr(a->in) + gate;
            OCT_SIMD_PICK(o->d->simd, oct_simd_silu_mul_bf16)
            ((uint16_t *)oct_host_ptr(a->out) + out, in, in + n, n);
        } else {
            const float *in = (const float *)oct_host_ptr(a->in) + gate;
            OCT_SIMD_PICK(o->d->simd, oct_simd_silu_mul_f32)
            ((float *)oct_host_ptr(a->out) + out, in, in + n, n);
        }
    }
}

oct_status oct_cpu_silu_mul(struct oct_cpu *d, const struct k_silu_mul_args *a)
{
    /* An exponential is worth some ten plain operations. */
    oct_cpu_loop(d, 8 * (int64_t)a->rows * a->dim, a->rows, rows, &(struct op){d, a});
    return OCT_OK;
}
