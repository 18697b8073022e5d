/* SPDX-License-Identifier: Apache-2.0 */
#include "cpu/act_simd.h"
#include "cpu/cpu_ops.h"

oct_status oct_cpu_silu_mul(struct oct_cpu *d, const struct k_silu_mul_args *a)
{
    const int32_t n = a->dim;
    /* An exponential is worth some ten plain operations. */
    const int n_threads = oct_cpu_threads(d, 8 * (int64_t)a->rows * n);
#pragma omp parallel for num_threads(n_threads) schedule(static) if (n_threads > 1)
    for (int32_t r = 0; r < a->rows; r++) {
        const int64_t out = (int64_t)r * n, gate = 2 * out;
        if (a->dtype == K_BF16) {
            const uint16_t *in = (const uint16_t *)oct_host_ptr(a->in) + gate;
            OCT_SIMD_PICK(d->simd, oct_simd_silu_mul_bf16)
            ((uint16_t *)oct_host_ptr(a->out) + out, in, in + n, n);
        } else {
            const float *in = (const float *)oct_host_ptr(a->in) + gate;
            OCT_SIMD_PICK(d->simd, oct_simd_silu_mul_f32)
            ((float *)oct_host_ptr(a->out) + out, in, in + n, n);
        }
    }
    return OCT_OK;
}
