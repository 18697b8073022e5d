/* SPDX-License-Identifier: Apache-2.0 */
#include "model/config.h"

#include "model/config_read.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

const char *oct_arch_text(enum oct_arch_id id)
{
    switch (id) {
    case OCT_ARCH_LLAMA:
        return "llama";
    case OCT_ARCH_QWEN2:
        return "qwen2";
    case OCT_ARCH_QWEN3:
        return "qwen3";
    case OCT_ARCH_MISTRAL:
        return "mistral";
    }
    return "unknown";
}

oct_status oct_config_add_stop(struct oct_model_config *c, int64_t id, const char *where)
{
    if (id < 0 || id >= c->vocab_size) {
        return OCT_FAIL(OCT_E_FORMAT,
                        "%s is %" PRId64 ", which is no token: the embedding has %" PRId32
                        " rows; tokenizer and weights disagree in vocabulary",
                        where, id, c->vocab_size);
    }
    for (int32_t i = 0; i < c->n_stop_tokens; i++) {
        if (c->stop_tokens[i] == id) {
            return OCT_OK;
        }
    }
    if (c->n_stop_tokens == OCT_MAX_STOP_TOKENS) {
        return OCT_FAIL(OCT_E_LIMIT, "%s: a model may have %d end tokens, this one has more", where,
                        OCT_MAX_STOP_TOKENS);
    }
    c->stop_tokens[c->n_stop_tokens++] = (int32_t)id;
    return OCT_OK;
}

oct_status oct_config_embedding_rows(const struct oct_source *s, const char *name,
                                     const struct oct_model_config *c, int32_t *rows)
{
    const struct oct_tensor *t = oct_source_find(s, name);
    if (!t) {
        *rows = 0;
        return OCT_OK;
    }
    if (t->n_dims != 2 || t->dims[0] < 1 || t->dims[0] > OCT_MAX_VOCAB) {
        return OCT_FAIL(OCT_E_FORMAT,
                        "%s: tensor %s has %" PRIu32 " dimensions and %" PRIu64
                        " rows; it must have two and from 1 to %d rows",
                        s->path, name, t->n_dims, t->n_dims ? t->dims[0] : 0, OCT_MAX_VOCAB);
    }
    if (t->dims[1] != (uint64_t)c->dim) {
        return OCT_FAIL(OCT_E_FORMAT,
                        "%s: tensor %s has rows of %" PRIu64
                        " elements; the configuration says %" PRId32,
                        s->path, name, t->dims[1], c->dim);
    }
    *rows = (int32_t)t->dims[0];
    return OCT_OK;
}

/* What must hold between the numbers, whichever file they came from. */
static oct_status check_together(const struct oct_source *s, const struct oct_model_config *c)
{
    if (c->n_heads % c->n_kv_heads != 0) {
        return OCT_FAIL(OCT_E_FORMAT,
                        "%s: %" PRId32 " attention heads cannot share %" PRId32
                        " key/value heads evenly; the configuration is wrong",
                        s->path, c->n_heads, c->n_kv_heads);
    }
    if (c->head_dim % 2 != 0) {
        return OCT_FAIL(OCT_E_FORMAT,
                        "%s: the head size %" PRId32 " is odd; rotary embedding needs pairs",
                        s->path, c->head_dim);
    }
    const struct oct_rope_config *r = &c->rope;
    if (r->rot_dim < 2 || r->rot_dim % 2 != 0 || r->rot_dim > c->head_dim) {
        return OCT_FAIL(OCT_E_FORMAT,
                        "%s: rotary embedding over %" PRId32
                        " elements of a head is not possible; it must be even and from 2 to "
                        "the head size %" PRId32,
                        s->path, r->rot_dim, c->head_dim);
    }
    if (c->rope_interleaved && r->rot_dim != c->head_dim) {
        return OCT_FAIL(OCT_E_UNSUPPORTED,
                        "%s: rotary embedding over %" PRId32 " of %" PRId32
                        " elements of a head is not supported for architecture llama in GGUF; "
                        "use the model's safetensors files",
                        s->path, r->rot_dim, c->head_dim);
    }
    if (r->kind == OCT_ROPE_LLAMA3 && !(r->high_freq_factor > r->low_freq_factor)) {
        return OCT_FAIL(OCT_E_FORMAT,
                        "%s: rotary scaling \"llama3\" has high_freq_factor %g, which must be "
                        "over low_freq_factor %g",
                        s->path, r->high_freq_factor, r->low_freq_factor);
    }
    if (r->kind == OCT_ROPE_YARN && (r->beta_fast < r->beta_slow || !(r->theta > 1.0))) {
        return OCT_FAIL(OCT_E_FORMAT,
                        "%s: rotary scaling \"yarn\" has beta_fast %g, beta_slow %g, theta %g; "
                        "beta_fast must not be under beta_slow and theta must be over 1",
                        s->path, r->beta_fast, r->beta_slow, r->theta);
    }
    return OCT_OK;
}

/* The type of the largest tensor stands for the whole file. */
static enum oct_dtype main_dtype(const struct oct_source *s)
{
    uint64_t most = 0;
    enum oct_dtype dtype = OCT_DTYPE_F32;
    for (uint32_t i = 0; i < s->n_tensors; i++) {
        if (s->tensors[i].n_elems > most) {
            most = s->tensors[i].n_elems;
            dtype = s->tensors[i].dtype;
        }
    }
    return dtype;
}

oct_status oct_config_load(const struct oct_source *s, struct oct_model_config *out)
{
    struct oct_model_config c = {
        .dtype = main_dtype(s),
        .rope = {.kind = OCT_ROPE_DEFAULT, .theta = 10000.0, .factor = 1.0, .truncate = true},
        .temperature = NAN,
        .top_p = NAN,
        .min_p = NAN,
        .repetition_penalty = NAN,
        .top_k = -1,
    };
    OCT_TRY(s->kind == OCT_SOURCE_HF ? oct_config_from_json(s, &c) : oct_config_from_gguf(s, &c));
    OCT_TRY(check_together(s, &c));
    *out = c;
    return OCT_OK;
}
