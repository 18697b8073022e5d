/* SPDX-License-Identifier: Apache-2.0 */
#include "arch/blocks.h"

#include <math.h>

static oct_status gemm(const struct oct_model *m, int32_t rows, k_ptr in, k_ptr weight, k_ptr bias,
                       int64_t k, int64_t n, k_ptr out, int32_t out_dtype)
{
    return oct_dev_gemm(m->dev, &(struct k_gemm_args){.out = out,
                                                      .in = in,
                                                      .weight = weight,
                                                      .bias = bias,
                                                      .out_stride = n,
                                                      .in_stride = k,
                                                      .m = rows,
                                                      .n = (int32_t)n,
                                                      .k = (int32_t)k,
                                                      .dtype = m->dtype,
                                                      .out_dtype = out_dtype});
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

oct_status oct_block_norm(const struct oct_model *m, const struct oct_step *s, k_ptr weight,
                          bool first)
{
    return oct_dev_rmsnorm(m->dev, &(struct k_rmsnorm_args){.out = s->h,
                                                            .x = s->x,
                                                            .add = first ? 0 : s->add,
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
        .layer_offset = slot * 2 * c->n_kv_heads * K_PAGE_TOKENS * c->head_dim,
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

    OCT_TRY(gemm(m, s->rows, s->h, w->qkv, w->qkv_bias, c->dim, n_qkv, s->qkv, m->dtype));
    OCT_TRY(oct_dev_rope_kv(m->dev, &(struct k_rope_kv_args){.qkv = s->qkv,
                                                             .q_norm = w->q_norm,
                                                             .k_norm = w->k_norm,
                                                             .cos_sin = m->cos_sin,
                                                             .positions = s->positions,
                                                             .row_seq = s->row_seq,
                                                             .kv = kv,
                                                             .qkv_stride = n_qkv,
                                                             .rows = s->rows,
                                                             .n_heads = c->n_heads,
                                                             .rot_dim = c->rope.rot_dim,
                                                             .max_positions = m->max_positions,
                                                             .eps = c->norm_eps}));
    OCT_TRY(oct_dev_attn(m->dev, &(struct k_attn_args){.out = s->attn,
                                                       .q = s->qkv,
                                                       .positions = s->positions,
                                                       .row_seq = s->row_seq,
                                                       .kv = kv,
                                                       .q_stride = n_qkv,
                                                       .rows = s->rows,
                                                       .n_heads = c->n_heads,
                                                       .window = w->window,
                                                       .scale = 1.0f / sqrtf((float)c->head_dim)}));
    return gemm(m, s->rows, s->attn, w->o, w->o_bias, n_q, c->dim, s->add, m->dtype);
}

oct_status oct_block_mlp(const struct oct_model *m, const struct oct_step *s, int layer)
{
    const struct oct_model_config *c = &m->cfg;
    const struct oct_layer *w = &m->layers[layer];
    OCT_TRY(gemm(m, s->rows, s->h, w->gate_up, w->gate_up_bias, c->dim, 2 * (int64_t)c->ff_dim,
                 s->gate_up, m->dtype));
    OCT_TRY(oct_dev_silu_mul(m->dev, &(struct k_silu_mul_args){.out = s->act,
                                                               .in = s->gate_up,
                                                               .rows = s->rows,
                                                               .dim = c->ff_dim,
                                                               .dtype = m->dtype}));
    return gemm(m, s->rows, s->act, w->down, w->down_bias, c->ff_dim, c->dim, s->add, m->dtype);
}

oct_status oct_block_head(const struct oct_model *m, const struct oct_step *s)
{
    const struct oct_model_config *c = &m->cfg;
    OCT_TRY(oct_block_norm(m, s, m->final_norm, false)); /* puts the last block's output into x */
    if (s->n_out == 0) {
        return OCT_OK;
    }
    /* The wanted rows, packed: normed again out of x, which costs less than a gather op would. */
    OCT_TRY(oct_dev_rmsnorm(m->dev, &(struct k_rmsnorm_args){.out = s->h,
                                                             .x = s->x,
                                                             .weight = m->final_norm,
                                                             .row_ids = s->out_rows,
                                                             .rows = s->n_out,
                                                             .dim = c->dim,
                                                             .dtype = m->dtype,
                                                             .eps = c->norm_eps}));
    return gemm(m, s->n_out, s->h, m->head, 0, c->dim, c->vocab_size, s->logits, K_F32);
}

oct_status oct_forward_dense(const struct oct_model *m, const struct oct_step *s)
{
    OCT_TRY(oct_block_embed(m, s));
    for (int i = 0; i < m->cfg.n_layers; i++) {
        const struct oct_layer *w = &m->layers[i];
        OCT_TRY(oct_block_norm(m, s, w->attn_norm, i == 0));
        OCT_TRY(oct_block_attention(m, s, i));
        OCT_TRY(oct_block_norm(m, s, w->mlp_norm, false));
        OCT_TRY(oct_block_mlp(m, s, i));
    }
    return oct_block_head(m, s);
}
