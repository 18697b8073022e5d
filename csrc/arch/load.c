/* SPDX-License-Identifier: Apache-2.0
 *
 * load.c - weights from a checkpoint onto the device: read, converted, stacked, handed over one
 * matrix at a time, so that host memory holds one matrix more than the model. */
#include "arch/blocks.h"

#include "base/mem.h"

#include <limits.h>
#include <math.h>

static enum oct_storage storage(const struct oct_model *m)
{
    return m->dtype == K_F32 ? OCT_STORE_F32 : OCT_STORE_BF16;
}

/* Copies host data to fresh device memory. */
static oct_status place(struct oct_device *dev, const void *data, size_t bytes, k_ptr *out)
{
    k_ptr p;
    OCT_TRY(oct_dev_alloc(dev, bytes, &p));
    const oct_status st = oct_dev_upload(dev, p, data, bytes);
    if (st != OCT_OK) {
        oct_dev_free(dev, p);
        return st;
    }
    *out = p;
    return OCT_OK;
}

oct_status oct_load_vector(struct oct_model *m, const struct oct_source *s, enum oct_role role,
                           int layer, int64_t n, bool as_f32, k_ptr *out)
{
    const struct oct_tensor *t;
    OCT_TRY(oct_weights_find(s, role, layer, n, 0, &t));
    const enum oct_storage store = as_f32 ? OCT_STORE_F32 : storage(m);
    const size_t bytes = (size_t)n * (store == OCT_STORE_F32 ? 4 : 2);
    void *host = oct_malloc(bytes);
    if (!host) {
        return oct_no_memory(t->name, bytes);
    }
    oct_status st = oct_weights_read(s, t, n, 1, 0, store, m->dev->pool, host);
    if (st == OCT_OK) {
        st = place(m->dev, host, bytes, out);
    }
    oct_free(host);
    return st;
}

static oct_status read_stack(const struct oct_model *m, const struct oct_source *s, int layer,
                             const struct oct_stack *parts, int n_parts, int64_t cols, char *rows,
                             float *bias)
{
    const int64_t row_bytes = cols * k_dtype_bytes(m->dtype);
    int64_t at = 0;
    for (int i = 0; i < n_parts; i++) {
        const struct oct_tensor *t;
        const int32_t heads =
            parts[i].rotary_heads && m->cfg.rope_interleaved ? m->cfg.head_dim : 0;
        OCT_TRY(oct_weights_find(s, parts[i].role, layer, parts[i].rows, cols, &t));
        OCT_TRY(oct_weights_read(s, t, parts[i].rows, cols, heads, storage(m), m->dev->pool,
                                 rows + at * row_bytes));
        if (bias) {
            OCT_TRY(oct_weights_find(s, parts[i].bias_role, layer, parts[i].rows, 0, &t));
            OCT_TRY(oct_weights_read(s, t, parts[i].rows, 1, heads, OCT_STORE_F32, m->dev->pool,
                                     bias + at));
        }
        at += parts[i].rows;
    }
    return OCT_OK;
}

oct_status oct_load_stack(struct oct_model *m, const struct oct_source *s, int layer,
                          const struct oct_stack *parts, int n_parts, int64_t cols, bool bias,
                          k_ptr *matrix, k_ptr *bias_out)
{
    int64_t n = 0;
    for (int i = 0; i < n_parts; i++) {
        n += parts[i].rows;
    }
    /* config.h bounds n and cols to 2^24 and 2^21: the product fits */
    const size_t bytes = (size_t)(n * cols * k_dtype_bytes(m->dtype));
    char *rows = oct_malloc(bytes);
    float *b = bias ? oct_malloc((size_t)n * sizeof *b) : NULL;
    oct_status st = rows && (b || !bias) ? OCT_OK : oct_no_memory("a weight matrix", bytes);
    if (st == OCT_OK) {
        st = read_stack(m, s, layer, parts, n_parts, cols, rows, b);
    }
    if (st == OCT_OK) {
        st = oct_dev_matrix_create(
            m->dev,
            &(struct oct_matrix_desc){.n = (int32_t)n,
                                      .k = (int32_t)cols,
                                      .dtype = m->dtype,
                                      .gate_up = parts[0].role == OCT_ROLE_GATE,
                                      .rows = rows,
                                      .bias = b},
            matrix);
    }
    if (st == OCT_OK && bias) {
        st = place(m->dev, b, (size_t)n * sizeof *b, bias_out);
    }
    oct_free(b);
    oct_free(rows);
    return st;
}

oct_status oct_load_dense_layer(struct oct_model *m, const struct oct_source *s, int layer)
{
    const struct oct_model_config *c = &m->cfg;
    struct oct_layer *w = &m->layers[layer];
    const int64_t nq = (int64_t)c->n_heads * c->head_dim,
                  nkv = (int64_t)c->n_kv_heads * c->head_dim;
    const struct oct_stack qkv[] = {{OCT_ROLE_Q, OCT_ROLE_Q_BIAS, nq, true},
                                    {OCT_ROLE_K, OCT_ROLE_K_BIAS, nkv, true},
                                    {OCT_ROLE_V, OCT_ROLE_V_BIAS, nkv, false}};
    const struct oct_stack o[] = {{OCT_ROLE_O, OCT_ROLE_O_BIAS, c->dim, false}};
    const struct oct_stack gate_up[] = {{OCT_ROLE_GATE, OCT_ROLE_GATE_BIAS, c->ff_dim, false},
                                        {OCT_ROLE_UP, OCT_ROLE_UP_BIAS, c->ff_dim, false}};
    const struct oct_stack down[] = {{OCT_ROLE_DOWN, OCT_ROLE_DOWN_BIAS, c->dim, false}};

    OCT_TRY(oct_load_vector(m, s, OCT_ROLE_ATTN_NORM, layer, c->dim, false, &w->attn_norm));
    OCT_TRY(oct_load_stack(m, s, layer, qkv, 3, c->dim, c->qkv_bias, &w->qkv, &w->qkv_bias));
    OCT_TRY(oct_load_stack(m, s, layer, o, 1, nq, c->o_bias, &w->o, &w->o_bias));
    OCT_TRY(oct_load_vector(m, s, OCT_ROLE_MLP_NORM, layer, c->dim, false, &w->mlp_norm));
    OCT_TRY(oct_load_stack(m, s, layer, gate_up, 2, c->dim, c->mlp_bias, &w->gate_up,
                           &w->gate_up_bias));
    OCT_TRY(oct_load_stack(m, s, layer, down, 1, c->ff_dim, c->mlp_bias, &w->down, &w->down_bias));
    w->window = oct_layer_window(c, layer);
    return OCT_OK;
}

/* ---- the whole model ---- */

/* The embedding as a plain table, and as the head's matrix unless the head is a tensor of its own.
 */
static oct_status load_ends(struct oct_model *m, const struct oct_source *s)
{
    const struct oct_model_config *c = &m->cfg;
    const struct oct_tensor *t;
    const size_t bytes = (size_t)((int64_t)c->vocab_size * c->dim * k_dtype_bytes(m->dtype));
    void *rows = oct_malloc(bytes);
    if (!rows) {
        return oct_no_memory("the embedding", bytes);
    }
    oct_status st;
    OCT_TRY_GOTO(oct_weights_find(s, OCT_ROLE_EMBED, 0, c->vocab_size, c->dim, &t), st, done);
    OCT_TRY_GOTO(oct_weights_read(s, t, c->vocab_size, c->dim, 0, storage(m), m->dev->pool, rows),
                 st, done);
    OCT_TRY_GOTO(place(m->dev, rows, bytes, &m->embed), st, done);
    if (!c->tied) {
        OCT_TRY_GOTO(oct_weights_find(s, OCT_ROLE_HEAD, 0, c->vocab_size, c->dim, &t), st, done);
        OCT_TRY_GOTO(
            oct_weights_read(s, t, c->vocab_size, c->dim, 0, storage(m), m->dev->pool, rows), st,
            done);
    }
    st = oct_dev_matrix_create(
        m->dev,
        &(struct oct_matrix_desc){.n = c->vocab_size, .k = c->dim, .dtype = m->dtype, .rows = rows},
        &m->head);
done:
    oct_free(rows);
    return st;
}

struct rotary {
    float *table;
    const float *inv_freq;
    int32_t half;
    float factor;
};

static void fill_rotary(void *arg, int64_t begin, int64_t end, int thread)
{
    const struct rotary *r = arg;
    (void)thread;
    for (int64_t p = begin; p < end; p++) {
        float *cos_row = r->table + p * 2 * r->half, *sin_row = cos_row + r->half;
        for (int32_t i = 0; i < r->half; i++) {
            const float angle = (float)p * r->inv_freq[i];
            cos_row[i] = cosf(angle) * r->factor;
            sin_row[i] = sinf(angle) * r->factor;
        }
    }
}

/* cos and sin of every position, in fp32 as transformers computes them: position * inv_freq rounded
 * to fp32, then the function. */
static oct_status load_rotary(struct oct_model *m, const struct oct_source *s)
{
    const int32_t half = m->cfg.rope.rot_dim / 2;
    float inv_freq[512], divisor[512], factor; /* head_dim <= 1024 (config.h) */
    OCT_ASSERT(half >= 1 && half <= 512);
    oct_rope_frequencies(&m->cfg.rope, inv_freq, &factor);
    if (oct_weights_has(s, OCT_ROLE_ROPE_FREQS, 0)) { /* GGUF: llama3 scaling as divisors */
        const struct oct_tensor *t;
        OCT_TRY(oct_weights_find(s, OCT_ROLE_ROPE_FREQS, 0, half, 0, &t));
        OCT_TRY(oct_weights_read(s, t, half, 1, 0, OCT_STORE_F32, NULL, divisor));
        for (int32_t i = 0; i < half; i++) {
            if (!(divisor[i] > 0.0f)) {
                return OCT_FAIL(OCT_E_FORMAT,
                                "%s: tensor rope_freqs.weight has a divisor of %g; "
                                "it must be positive",
                                s->path, (double)divisor[i]);
            }
            inv_freq[i] /= divisor[i];
        }
    }
    const size_t bytes = (size_t)m->max_positions * 2 * (size_t)half * sizeof(float);
    float *table = oct_malloc(bytes);
    if (!table) {
        return oct_no_memory("the rotary table", bytes);
    }
    oct_pool_run(m->dev->pool, INT_MAX, m->max_positions, 256, fill_rotary,
                 &(struct rotary){table, inv_freq, half, factor});
    const oct_status st = place(m->dev, table, bytes, &m->cos_sin);
    oct_free(table);
    return st;
}

oct_status oct_model_load(const struct oct_source *s, const struct oct_model_config *c,
                          struct oct_device *dev, int32_t dtype, int32_t max_positions,
                          oct_load_progress_fn progress, void *user, struct oct_model **out)
{
    oct_status st;
    struct oct_model *m = oct_calloc(1, sizeof *m);
    if (!m) {
        return oct_no_memory("a model", sizeof *m);
    }
    *m = (struct oct_model){.cfg = *c,
                            .dev = dev,
                            .arch = oct_arch_get(c->arch),
                            .dtype = dtype,
                            .max_positions = max_positions};
    OCT_TRY_GOTO(oct_kv_layout_make(c, &m->kv), st, fail);
    m->layers = oct_calloc((size_t)c->n_layers, sizeof *m->layers);
    if (!m->layers) {
        OCT_TRY_GOTO(oct_no_memory("layers", (size_t)c->n_layers * sizeof *m->layers), st, fail);
    }
    /* Progress counts the ends as layers by their share of elements. */
    const uint64_t width = (uint64_t)k_dtype_bytes(dtype);
    const uint64_t ends = (uint64_t)c->vocab_size * (uint64_t)c->dim * width * 2;
    const uint64_t per_layer =
        width * (uint64_t)c->dim *
        ((uint64_t)(2 * c->n_heads + 2 * c->n_kv_heads) * (uint64_t)c->head_dim +
         3 * (uint64_t)c->ff_dim);
    const uint64_t total = ends + per_layer * (uint64_t)c->n_layers;

    OCT_TRY_GOTO(load_rotary(m, s), st, fail);
    OCT_TRY_GOTO(load_ends(m, s), st, fail);
    OCT_TRY_GOTO(oct_load_vector(m, s, OCT_ROLE_FINAL_NORM, 0, c->dim, false, &m->final_norm), st,
                 fail);
    for (int layer = 0; layer < c->n_layers; layer++) {
        if (progress && !progress(user, ends + per_layer * (uint64_t)layer, total)) {
            OCT_TRY_GOTO(OCT_FAIL(OCT_E_CANCELLED, "loading was stopped"), st, fail);
        }
        OCT_TRY_GOTO(m->arch->load_layer(m, s, layer), st, fail);
    }
    if (progress) {
        (void)progress(user, total, total);
    }
    *out = m;
    return OCT_OK;
fail:
    oct_model_destroy(m);
    return st;
}

void oct_model_destroy(struct oct_model *m)
{
    if (!m) {
        return;
    }
    for (int i = 0; m->layers && i < m->cfg.n_layers; i++) {
        const struct oct_layer *w = &m->layers[i];
        const k_ptr vectors[] = {w->attn_norm, w->qkv_bias, w->q_norm,       w->k_norm,
                                 w->o_bias,    w->mlp_norm, w->gate_up_bias, w->down_bias};
        const k_ptr matrices[] = {w->qkv, w->o, w->gate_up, w->down};
        for (size_t j = 0; j < sizeof vectors / sizeof *vectors; j++) {
            oct_dev_free(m->dev, vectors[j]);
        }
        for (size_t j = 0; j < sizeof matrices / sizeof *matrices; j++) {
            oct_dev_matrix_destroy(m->dev, matrices[j]);
        }
    }
    oct_dev_free(m->dev, m->embed);
    oct_dev_free(m->dev, m->final_norm);
    oct_dev_free(m->dev, m->cos_sin);
    oct_dev_matrix_destroy(m->dev, m->head);
    oct_free(m->layers);
    oct_free(m);
}
