/* SPDX-License-Identifier: Apache-2.0
 *
 * kernel_plans - what the plans launch, for scripts/kernels.py: a line for each kernel, level and
 * block
 *
 *     kernel  sm  threads  dynamic shared memory, the most that occurs
 *
 * over the ops with shapes of models from SmolLM2-135M to Llama-3.1-70B, one row to 8192, and a few
 * odd ones. No device is needed. Ends with an error if a kernel of the list was never planned. */
#include "kernels.h"
#include "ops.h"

#include <stdio.h>
#include <stdlib.h>

static const struct shape {
    int32_t width, hidden, heads, kv_heads, head_dim, rot, vocab;
} models[] = {
    {576, 1536, 9, 3, 64, 64, 49152},       /* SmolLM2-135M */
    {1024, 3072, 16, 8, 128, 128, 151936},  /* Qwen3-0.6B */
    {4096, 14336, 32, 8, 128, 128, 128256}, /* Llama-3.1-8B */
    {8192, 28672, 64, 8, 128, 128, 128256}, /* Llama-3.1-70B */
    {2048, 16384, 8, 1, 256, 256, 256000},  /* Gemma-2B */
    {3072, 8192, 32, 32, 96, 96, 32064},    /* Phi-3-mini */
    {20480, 20480, 32, 8, 80, 32, 50304},   /* wide, in part rotated */
    {64, 96, 4, 2, 18, 18, 300},            /* tiny */
};
static const int32_t row_counts[] = {1, 2, 8, 16, 17, 32, 48, 64, 100, 128, 256, 1024, 8192};
enum { N_MODELS = sizeof models / sizeof *models, N_ROWS = sizeof row_counts / sizeof *row_counts };

static const struct k_facts facts[2] = {K_FACTS_A100, K_FACTS_H100};

/* Each kernel may be launched with blocks of several sizes. */
enum { MAX_SIZES = 64 };
static struct {
    uint32_t threads[MAX_SIZES], smem[MAX_SIZES];
    int n;
} seen[2][K_N_KERNELS];

static void note(int level, const struct k_launch *l)
{
    const uint32_t threads = l->block[0] * l->block[1] * l->block[2];
    int i = 0;
    while (i < seen[level][l->kernel].n && seen[level][l->kernel].threads[i] != threads) {
        i++;
    }
    if (i == MAX_SIZES) {
        fprintf(stderr, "kernel_plans: more than %d sizes of %s\n", MAX_SIZES,
                k_kernel_table[l->kernel].name);
        exit(1);
    }
    if (i == seen[level][l->kernel].n) {
        seen[level][l->kernel].n++;
        seen[level][l->kernel].threads[i] = threads;
    }
    if (l->smem_bytes > seen[level][l->kernel].smem[i]) {
        seen[level][l->kernel].smem[i] = l->smem_bytes;
    }
}

static void plan(int32_t op, const void *args)
{
    const struct k_work work = {.base = (k_ptr)1 << 40, .bytes = (uint64_t)1 << 36};
    struct k_launch l[K_MAX_LAUNCHES];
    for (int level = 0; level < 2; level++) {
        const int n = k_plan((int32_t)op, &facts[level], &work, args, l);
        for (int i = 0; i < n; i++) {
            note(level, &l[i]);
        }
    }
}

/* An address; nothing is read from it. */
enum { AT = 1 << 20 };

static struct k_paging cache(const struct shape *m)
{
    const int64_t layer = 2 * (int64_t)m->kv_heads * K_PAGE_TOKENS * k_row_stride(m->head_dim);
    return (struct k_paging){.pool = AT,
                             .page_table = AT,
                             .page_stride = 2 * layer,
                             .layer_offset = layer,
                             .table_stride = 2048,
                             .n_kv_heads = m->kv_heads,
                             .head_dim = m->head_dim,
                             .dtype = K_BF16};
}

static void plan_elementwise(const struct shape *m, int32_t rows)
{
    const struct k_embed_args embed = {.out = AT,
                                       .ids = AT,
                                       .table = AT,
                                       .rows = rows,
                                       .dim = m->width,
                                       .dtype = K_BF16,
                                       .vocab = m->vocab};
    const struct k_rmsnorm_args norm = {.out = AT,
                                        .x = AT,
                                        .add = AT,
                                        .weight = AT,
                                        .rows = rows,
                                        .dim = m->width,
                                        .dtype = K_BF16,
                                        .eps = 1e-5f};
    const struct k_silu_mul_args act = {
        .out = AT, .in = AT, .rows = rows, .dim = m->hidden, .dtype = K_BF16};
    const struct k_kv_copy_args copy = {
        .pool = AT, .pairs = AT, .page_bytes = 1 << 20, .n_pairs = rows};
    plan(K_OP_embed, &embed);
    plan(K_OP_rmsnorm, &norm);
    plan(K_OP_silu_mul, &act);
    plan(K_OP_kv_copy, &copy);
}

static void plan_gemms(const struct shape *m, int32_t rows)
{
    const int32_t qkv = (m->heads + 2 * m->kv_heads) * m->head_dim;
    const struct {
        int32_t n, k, dtype;
        bool residual;
    } gemms[] = {{qkv, m->width, K_BF16, false},
                 {m->width, m->heads * m->head_dim, K_BF16, true},
                 {m->width, m->hidden, K_BF16, true},
                 {m->vocab, m->width, K_F32, false}};
    for (size_t i = 0; i < sizeof gemms / sizeof *gemms; i++) {
        const struct k_gemm_args a = {.out = AT,
                                      .in = AT,
                                      .weight = AT,
                                      .residual = gemms[i].residual ? AT : 0,
                                      .out_stride = k_row_stride(gemms[i].n),
                                      .in_stride = k_row_stride(gemms[i].k),
                                      .m = rows,
                                      .n = gemms[i].n,
                                      .k = gemms[i].k,
                                      .dtype = K_BF16,
                                      .out_dtype = gemms[i].dtype};
        plan(K_OP_gemm, &a);
    }
    const struct k_gemm_silu_args silu = {
        .gemm = {.out = AT,
                 .in = AT,
                 .weight = AT,
                 .out_stride = 2 * (int64_t)m->hidden,
                 .in_stride = k_row_stride(m->width),
                 .m = rows,
                 .n = 2 * m->hidden,
                 .k = m->width,
                 .dtype = K_BF16,
                 .out_dtype = K_BF16},
        .act = {.out = AT, .in = AT, .rows = rows, .dim = m->hidden, .dtype = K_BF16}};
    plan(K_OP_gemm_silu, &silu);
}

/* rows of n_seqs sequences, max_rows of them of one. */
static void plan_attention(const struct shape *m, int32_t rows, int32_t n_seqs, int32_t max_rows,
                           float softcap)
{
    const int64_t stride = k_row_stride((m->heads + 2 * m->kv_heads) * m->head_dim);
    const struct k_rope_kv_args rope = {.qkv = AT,
                                        .q_norm = AT,
                                        .k_norm = AT,
                                        .cos_sin = AT,
                                        .positions = AT,
                                        .row_seq = AT,
                                        .kv = cache(m),
                                        .qkv_stride = stride,
                                        .rows = rows,
                                        .n_heads = m->heads,
                                        .rot_dim = m->rot,
                                        .max_positions = 131072,
                                        .eps = 1e-5f};
    const struct k_attn_args attn = {.out = AT,
                                     .q = AT,
                                     .positions = AT,
                                     .row_seq = AT,
                                     .seqs = AT,
                                     .kv = cache(m),
                                     .q_stride = stride,
                                     .out_stride = k_row_stride(m->heads * m->head_dim),
                                     .rows = rows,
                                     .n_heads = m->heads,
                                     .n_seqs = n_seqs,
                                     .max_rows = max_rows,
                                     .max_keys = 8192,
                                     .scale = 0.1f,
                                     .softcap = softcap};
    const struct k_rope_attn_args both = {.rope = rope, .attn = attn};
    plan(K_OP_rope_kv, &rope);
    plan(K_OP_attn, &attn);
    plan(K_OP_rope_attn, &both);
}

static void plan_sampling(const struct shape *m, int32_t rows)
{
    const struct k_sample_args a = {.logits = AT,
                                    .rows = AT,
                                    .out = AT,
                                    .top = AT,
                                    .logits_stride = m->vocab,
                                    .n_rows = rows,
                                    .vocab = m->vocab,
                                    .max_top = 5};
    plan(K_OP_sample, &a);
}

int main(void)
{
    int missing = 0;
    for (size_t i = 0; i < N_MODELS; i++) {
        for (size_t j = 0; j < N_ROWS; j++) {
            const int32_t rows = row_counts[j];
            plan_elementwise(&models[i], rows);
            plan_gemms(&models[i], rows);
            for (int capped = 0; capped < 2; capped++) {
                plan_attention(&models[i], rows, rows, 1, (float)(capped * 30));
                plan_attention(&models[i], rows, 1, rows, (float)(capped * 30));
            }
            if (rows <= 256) {
                plan_sampling(&models[i], rows);
            }
        }
    }
    for (int level = 0; level < 2; level++) {
        for (int k = 0; k < K_N_KERNELS; k++) {
            for (int i = 0; i < seen[level][k].n; i++) {
                printf("%s\t%d\t%u\t%u\n", k_kernel_table[k].name, facts[level].sm,
                       seen[level][k].threads[i], seen[level][k].smem[i]);
            }
            if (seen[level][k].n == 0) {
                fprintf(stderr, "kernel_plans: no shape here uses %s on sm_%d\n",
                        k_kernel_table[k].name, facts[level].sm);
                missing++;
            }
        }
    }
    return missing > 0;
}
