/* SPDX-License-Identifier: Apache-2.0
 *
 * Weights from the host's rows to a product through the table: the handle becomes the packed
 * address, the fused op gives the bits of its halves. Operands are whole numbers: sums are exact.
 */
#include "device/virtual_gpu.h"

#include <signal.h>

enum { K = 584, N = 208, M = 5, PAD = 16 };

static uint16_t whole(uint32_t i)
{
    static const uint16_t bf16[] = {0xc040, 0xc000, 0xbf80, 0, 0x3f80, 0x4000, 0x4040}; /* -3..3 */
    return bf16[(i * 2654435761u >> 16) % 7];
}

static int value(uint16_t bf16)
{
    uint32_t bits = (uint32_t)bf16 << 16;
    float f;
    memcpy(&f, &bits, sizeof f);
    return (int)f;
}

struct rig {
    struct oct_device *d;
    uint16_t weight[N * K], in[PAD * K];
    k_ptr plain, gate_up; /* matrices */
    k_ptr din, dout, dact, dact2;
};

static void open_rig(struct rig *r)
{
    struct k_limits limits = small_limits();
    limits.n_gemms = 1;
    limits.gemms[0].n = N;
    limits.gemms[0].k = K;
    r->d = open_gpu();
    for (uint32_t i = 0; i < N * K; i++) {
        r->weight[i] = whole(i + 1);
    }
    for (uint32_t i = 0; i < PAD * K; i++) {
        r->in[i] = i < M * K ? whole(i * 7 + 3) : 0x7fc0; /* NaN in the rows of the padding */
    }
    const struct oct_matrix_desc plain = {N, K, K_BF16, r->weight, false, NULL};
    const struct oct_matrix_desc pair = {N, K, K_BF16, r->weight, true, NULL};
    const uint64_t matrix = r->d->table->matrix_bytes(r->d, N, K, K_BF16);
    DONE(oct_dev_reserve(r->d, oct_dev_work_bytes(r->d, &limits) + 2 * matrix + (1 << 18)));
    DONE(oct_dev_matrix_create(r->d, &plain, &r->plain));
    DONE(oct_dev_matrix_create(r->d, &pair, &r->gate_up));
    DONE(oct_dev_alloc(r->d, sizeof r->in, &r->din));
    DONE(oct_dev_alloc(r->d, PAD * N * 4, &r->dout));
    DONE(oct_dev_alloc(r->d, PAD * N / 2 * 2, &r->dact));
    DONE(oct_dev_alloc(r->d, PAD * N / 2 * 2, &r->dact2));
    DONE(oct_dev_upload(r->d, r->din, r->in, sizeof r->in));
    DONE(oct_dev_prepare(r->d, &limits));
}

static struct k_gemm_args product(const struct rig *r, k_ptr weight, int32_t out_dtype)
{
    return (struct k_gemm_args){.out = r->dout,
                                .in = r->din,
                                .weight = weight,
                                .out_stride = N,
                                .in_stride = K,
                                .m = M,
                                .n = N,
                                .k = K,
                                .dtype = K_BF16,
                                .out_dtype = out_dtype};
}

static void multiplies(const char *arch)
{
    static struct rig r;
    static float out[M * N];
    static uint16_t fused[M * N / 2], halves[M * N / 2];
    use_gpu(arch, NULL);
    open_rig(&r);
    struct k_gemm_args a = product(&r, r.plain, K_F32);
    DONE(oct_dev_gemm(r.d, &a));
    DONE(oct_dev_download(r.d, out, r.dout, sizeof out));
    for (int m = 0; m < M; m++) {
        for (int n = 0; n < N; n++) {
            int want = 0;
            for (int k = 0; k < K; k++) {
                want += value(r.in[m * K + k]) * value(r.weight[n * K + k]);
            }
            cr_assert_eq(out[m * N + n], (float)want, "%s: [%d, %d] is %g, not %d", arch, m, n,
                         (double)out[m * N + n], want);
        }
    }
    a = product(&r, r.plain, K_BF16);
    struct k_silu_mul_args act = {
        .out = r.dact, .in = r.dout, .rows = M, .dim = N / 2, .dtype = K_BF16};
    DONE(oct_dev_gemm(r.d, &a));
    DONE(oct_dev_silu_mul(r.d, &act));
    DONE(oct_dev_download(r.d, halves, r.dact, sizeof halves));
    act.out = r.dact2;
    const struct k_gemm_silu_args both = {product(&r, r.gate_up, K_BF16), act};
    DONE(oct_dev_gemm_silu(r.d, &both));
    DONE(oct_dev_download(r.d, fused, r.dact2, sizeof fused));
    cr_assert_arr_eq(fused, halves, sizeof fused, "%s", arch);
    oct_dev_matrix_destroy(r.d, r.plain);
    oct_dev_matrix_destroy(r.d, r.gate_up);
    oct_dev_close(r.d);
    no_findings();
}

Test(cuda_gemm_run, a_weight_multiplies_by_its_handle_a100)
{
    multiplies("a100");
}

Test(cuda_gemm_run, a_weight_multiplies_by_its_handle_h100)
{
    multiplies("h100");
}

/* Our own bugs, not the world's. */
Test(cuda_gemm_run, a_handle_of_another_shape_is_a_bug, .signal = SIGABRT)
{
    static struct rig r;
    use_gpu("h100", NULL);
    open_rig(&r);
    struct k_gemm_args a = product(&r, r.plain, K_F32);
    a.n = N - 8;
    (void)!oct_dev_gemm(r.d, &a);
}

Test(cuda_gemm_run, a_pair_multiplied_as_if_it_were_none_is_a_bug, .signal = SIGABRT)
{
    static struct rig r;
    use_gpu("h100", NULL);
    open_rig(&r);
    const struct k_gemm_args a = product(&r, r.gate_up, K_F32);
    (void)!oct_dev_gemm(r.d, &a);
}
