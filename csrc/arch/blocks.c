/* SPDX-License-Identifier: Apache-2.0 */
#include "arch/blocks.h"

#include <math.h>

/* A product of whole rows, one behind the other on both sides, as norms and activations have them.
 * (A CUDA device loads 16 bytes at a time: there dim and ff_dim are multiples of K_ROW_ALIGN.) */
static struct k_gemm_args product(const struct oct_model *m, int32_t rows, k_ptr in, k_ptr weight,
                                  k_ptr bias, int64_t k, int64_t n, k_ptr out)
{
    return (struct k_gemm_args){.out = out,
                                .in = in,
                                .weight = weight,
                                .bias = bias,
                                .out_stride = n,
                                .in_stride = k,
                                .m = rows,
                                .n = (int32_t)n,
                                .k = (int32_t)k,
                                .dtype = m->dtype,
                                .out_dtype = m->dtype};
}

/* x += in weight + bias; rows of `in` are in_stride elements apart. */
static oct_status add_product(const struct oct_model *m, const struct oct_step *s, k_ptr in,
                              int64_t in_stride, k_ptr weight, k_ptr bias, int64_t k)
{
    struct k_gemm_args a = product(m, s->rows, in, weight, bias, k, m->cfg.dim, s->x);
    a.in_stride = in_stride;
    a.residual = s->x;
    return oct_dev_gemm(m->dev, &a);
}

static int64_t qkv_dim(const struct oct_model_config *c)
{
    return (int64_t)(c->n_heads + 2 * c->n_kv_heads) * c->head_dim;
}

oct_status oct_block_embed(const struct oct_model *m, const struct oct_step *s)
{
    return oct_dev_embed(m->dev, &(struct k_embed_args){.out = s->x,
                                                        .ids = s->ids,
                                                        .table = m->embed,
                                                        .rows = s->rows,
                                                        .dim = m->cfg.dim,
                                                        .dtype = m->dtype,
                                                        .vocab = m->cfg.vocab_size});
}

oct_status oct_block_norm(const struct oct_model *m, const struct oct_step *s, k_ptr weight)
{
    return oct_dev_rmsnorm(m->dev, &(struct k_rmsnorm_args){.out = s->h,
                                                            .x = s->x,
                                                            .weight = weight,
                                                            .rows = s->rows,
                                                            .dim = m->cfg.dim,
                                                            .dtype = m->dtype,
                                                            .eps = m->cfg.norm_eps});
}

static struct k_paging paging(const struct oct_model *m, const struct oct_step *s, int layer)
{
    const struct oct_model_config *c = &m->cfg;
    const int64_t group = m->kv.layer[layer].group, slot = m->kv.layer[layer].slot;
    return (struct k_paging){
        .pool = s->kv_pool,
        .page_table = s->page_table + (k_ptr)(group * s->group_stride) * sizeof(int32_t),
        .page_stride = m->kv.page_elems,
        .layer_offset = slot * 2 * c->n_kv_heads * K_PAGE_TOKENS * k_row_stride(c->head_dim),
        .table_stride = s->table_stride,
        .n_kv_heads = c->n_kv_heads,
        .head_dim = c->head_dim,
        .dtype = m->dtype,
    };
}

oct_status oct_block_attention(const struct oct_model *m, const struct oct_step *s, int layer)
{
    const struct oct_model_config *c = &m->cfg;
    const struct oct_layer *w = &m->layers[layer];
    const struct k_paging kv = paging(m, s, layer);
    const int64_t n_qkv = qkv_dim(c), n_q = (int64_t)c->n_heads * c->head_dim;

    struct k_gemm_args qkv = product(m, s->rows, s->h, w->qkv, w->qkv_bias, c->dim, n_qkv, s->qkv);
    qkv.out_stride = k_row_stride(n_qkv); /* heads of any width start where 16-byte loads may */
    OCT_TRY(oct_dev_gemm(m->dev, &qkv));
    const struct k_rope_attn_args a = {.rope = {.qkv = s->qkv,
                                                .q_norm = w->q_norm,
                                                .k_norm = w->k_norm,
                                                .cos_sin = m->cos_sin,
                                                .positions = s->positions,
                                                .row_seq = s->row_seq,
                                                .kv = kv,
                                                .qkv_stride = qkv.out_stride,
                                                .rows = s->rows,
                                                .n_heads = c->n_heads,
                                                .rot_dim = c->rope.rot_dim,
                                                .max_positions = m->max_positions,
                                                .eps = c->norm_eps},
                                       .attn = {.out = s->attn,
                                                .q = s->qkv,
                                                .positions = s->positions,
                                                .row_seq = s->row_seq,
                                                .seqs = s->seqs,
                                                .kv = kv,
                                                .q_stride = qkv.out_stride,
                                                .out_stride = k_row_stride(n_q),
                                                .rows = s->rows,
                                                .n_heads = c->n_heads,
                                                .n_seqs = s->n_seqs,
                                                .max_rows = s->max_rows,
                                                .max_keys = s->max_keys,
                                                .window = w->window,
                                                .scale = 1.0f / sqrtf((float)c->head_dim)}};
    OCT_TRY(oct_dev_rope_attn(m->dev, &a));
    return add_product(m, s, s->attn, a.attn.out_stride, w->o, w->o_bias, n_q);
}

oct_status oct_block_mlp(const struct oct_model *m, const struct oct_step *s, int layer)
{
    const struct oct_model_config *c = &m->cfg;
    const struct oct_layer *w = &m->layers[layer];
    const struct k_gemm_silu_args up = {
        .gemm = product(m, s->rows, s->h, w->gate_up, w->gate_up_bias, c->dim,
                        2 * (int64_t)c->ff_dim, s->gate_up),
        .act =
            {.out = s->act, .in = s->gate_up, .rows = s->rows, .dim = c->ff_dim, .dtype = m->dtype},
    };
    OCT_TRY(oct_dev_gemm_silu(m->dev, &up));
    return add_product(m, s, s->act, c->ff_dim, w->down, w->down_bias, c->ff_dim);
}

oct_status oct_block_head(const struct oct_model *m, const struct oct_step *s)
{
    const struct oct_model_config *c = &m->cfg;
    if (s->n_out == 0) {
        return OCT_OK;
    }
    OCT_TRY(oct_dev_rmsnorm(m->dev, &(struct k_rmsnorm_args){.out = s->h,
                                                             .x = s->x,
                                                             .weight = m->final_norm,
                                                             .row_ids = s->out_rows,
                                                             .rows = s->n_out,
                                                             .dim = c->dim,
                                                             .dtype = m->dtype,
                                                             .eps = c->norm_eps}));
    struct k_gemm_args a = product(m, s->n_out, s->h, m->head, 0, c->dim, c->vocab_size, s->logits);
    a.out_dtype = K_F32;
    return oct_dev_gemm(m->dev, &a);
}

oct_status oct_forward_dense(const struct oct_model *m, const struct oct_step *s)
{
    OCT_TRY(oct_block_embed(m, s));
    for (int i = 0; i < m->cfg.n_layers; i++) {
        const struct oct_layer *w = &m->layers[i];
        OCT_TRY(oct_block_norm(m, s, w->attn_norm));
        OCT_TRY(oct_block_attention(m, s, i));
        OCT_TRY(oct_block_norm(m, s, w->mlp_norm));
        OCT_TRY(oct_block_mlp(m, s, i));
    }
    return oct_block_head(m, s);
}
