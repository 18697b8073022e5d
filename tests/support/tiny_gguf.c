/* SPDX-License-Identifier: Apache-2.0
 *
 * tiny_gguf.c - a tiny model as converters write it to GGUF: their keys, their names, rows of q and
 * k interleaved for llama and mistral, llama3 RoPE scaling as a tensor. */
#include "support/tiny_parts.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { GGML_F32 = 0, GGML_F16 = 1, GGML_Q8_0 = 8, GGML_BF16 = 30 };

static const char *arch_key(const struct oct_tiny *t, const char *rest)
{
    static const char *const names[] = {"llama", "qwen2", "qwen3", "llama"};
    static char key[96]; /* tests are single-threaded here; used before the next call */
    (void)snprintf(key, sizeof key, "%s%s", names[t->arch], rest);
    return key;
}

static void add_rope(const struct oct_tiny *t, struct oct_gw *w)
{
    const struct oct_rope_config *r = &t->rope;
    oct_gw_f32(w, arch_key(t, ".rope.freq_base"), (float)r->theta);
    if (r->kind == OCT_ROPE_LINEAR || r->kind == OCT_ROPE_YARN) {
        oct_gw_str(w, arch_key(t, ".rope.scaling.type"),
                   r->kind == OCT_ROPE_YARN ? "yarn" : "linear");
        oct_gw_f32(w, arch_key(t, ".rope.scaling.factor"), (float)r->factor);
    }
    if (r->kind == OCT_ROPE_YARN) {
        oct_gw_u32(w, arch_key(t, ".rope.scaling.original_context_length"),
                   (uint32_t)r->original_max_positions);
        oct_gw_f32(w, arch_key(t, ".rope.scaling.yarn_beta_fast"), (float)r->beta_fast);
        oct_gw_f32(w, arch_key(t, ".rope.scaling.yarn_beta_slow"), (float)r->beta_slow);
        if (r->attention_factor > 0) {
            oct_gw_f32(w, arch_key(t, ".rope.scaling.attn_factor"), (float)r->attention_factor);
        }
    }
}

/* rope_freqs.weight: what the converter of Llama 3.1 divides each frequency by. */
static void add_rope_freqs(const struct oct_tiny *t, struct oct_gw *w)
{
    const struct oct_rope_config *r = &t->rope;
    const int32_t D = oct_tiny_head_dim(t);
    float *f = oct_malloc((size_t)D / 2 * sizeof *f);
    OCT_ASSERT(f);
    for (int32_t i = 0; i < D / 2; i++) {
        const double freq = 1.0 / pow(r->theta, 2.0 * i / D);
        const double wavelen = 2.0 * 3.14159265358979323846 / freq;
        const double low = r->original_max_positions / r->low_freq_factor;
        const double high = r->original_max_positions / r->high_freq_factor;
        if (wavelen < high) {
            f[i] = 1.0f;
        } else if (wavelen > low) {
            f[i] = (float)r->factor;
        } else {
            const double smooth = (r->original_max_positions / wavelen - r->low_freq_factor) /
                                  (r->high_freq_factor - r->low_freq_factor);
            f[i] = (float)(1.0 / ((1.0 - smooth) / r->factor + smooth));
        }
    }
    const uint64_t dim = (uint64_t)D / 2;
    oct_gw_tensor(w, "rope_freqs.weight", GGML_F32, 1, &dim, f, (size_t)dim * sizeof *f);
    oct_free(f);
}

static void add_tokenizer(const struct oct_tiny *t, struct oct_gw *w)
{
    const size_t n = (size_t)t->vocab_size;
    char(*text)[16] = oct_calloc(n, sizeof *text);
    const char **tokens = oct_calloc(n, sizeof *tokens);
    int32_t *types = oct_calloc(n, sizeof *types);
    OCT_ASSERT(text && tokens && types);
    for (int32_t id = 0; id < t->vocab_size; id++) {
        if (id < OCT_TINY_N_TOKENS) {
            oct_tiny_token(id, text[id]);
        } else {
            (void)snprintf(text[id], sizeof text[id], "[PAD%d]", id);
        }
        tokens[id] = text[id];
        types[id] = id < 3 ? 3 : id < OCT_TINY_N_TOKENS ? 1 : 5; /* control, normal, unused */
    }
    char merges[6][16];
    const char *merge_list[6];
    for (int i = 0; i < 6; i++) {
        (void)snprintf(merges[i], sizeof merges[i], "%s %s", oct_tiny_merges[i][0],
                       oct_tiny_merges[i][1]);
        merge_list[i] = merges[i];
    }
    oct_gw_str(w, "tokenizer.ggml.model", "gpt2");
    oct_gw_str(w, "tokenizer.ggml.pre", "qwen2");
    oct_gw_strings(w, "tokenizer.ggml.tokens", tokens, n);
    oct_gw_i32s(w, "tokenizer.ggml.token_type", types, n);
    oct_gw_strings(w, "tokenizer.ggml.merges", merge_list, 6);
    oct_gw_u32(w, "tokenizer.ggml.bos_token_id", 0);
    oct_gw_u32(w, "tokenizer.ggml.eos_token_id", 2);
    oct_gw_u32(w, "tokenizer.ggml.padding_token_id", 0);
    oct_gw_bool(w, "tokenizer.ggml.add_bos_token", false);
    oct_gw_str(w, "tokenizer.chat_template",
               t->chat_template ? t->chat_template : oct_tiny_template);
    oct_free(text);
    oct_free(tokens);
    oct_free(types);
}

static void add_keys(const struct oct_tiny *t, struct oct_gw *w)
{
    const uint32_t D = (uint32_t)oct_tiny_head_dim(t);
    const uint32_t file_type = t->dtype == OCT_DTYPE_F16    ? 1
                               : t->dtype == OCT_DTYPE_Q8_0 ? 7
                               : t->dtype == OCT_DTYPE_BF16 ? 32
                                                            : 0;
    oct_gw_str(w, "general.architecture", arch_key(t, ""));
    oct_gw_str(w, "general.type", "model");
    oct_gw_str(w, "general.name", "Tiny");
    oct_gw_u32(w, arch_key(t, ".block_count"), (uint32_t)t->n_layers);
    oct_gw_u32(w, arch_key(t, ".context_length"), (uint32_t)t->max_positions);
    oct_gw_u32(w, arch_key(t, ".embedding_length"), (uint32_t)t->dim);
    oct_gw_u32(w, arch_key(t, ".feed_forward_length"), (uint32_t)t->ff_dim);
    oct_gw_u32(w, arch_key(t, ".attention.head_count"), (uint32_t)t->n_heads);
    oct_gw_u32(w, arch_key(t, ".attention.head_count_kv"), (uint32_t)t->n_kv_heads);
    add_rope(t, w);
    oct_gw_f32(w, arch_key(t, ".attention.layer_norm_rms_epsilon"), t->norm_eps);
    if (t->head_dim) {
        oct_gw_u32(w, arch_key(t, ".attention.key_length"), D);
        oct_gw_u32(w, arch_key(t, ".attention.value_length"), D);
    }
    if (t->window) {
        oct_gw_u32(w, arch_key(t, ".attention.sliding_window"), (uint32_t)t->window);
    }
    oct_gw_u32(w, "general.file_type", file_type);
    if (t->arch == OCT_ARCH_LLAMA || t->arch == OCT_ARCH_MISTRAL) {
        oct_gw_u32(w, arch_key(t, ".vocab_size"), (uint32_t)t->vocab_size);
        oct_gw_u32(w, arch_key(t, ".rope.dimension_count"), D);
    }
    oct_gw_u32(w, "general.quantization_version", 2);
    if (t->vocab_size >= OCT_TINY_N_TOKENS) {
        add_tokenizer(t, w);
    }
}

/* Row j * 2 + s of a head is row s * D/2 + j of the Hugging Face tensor. */
static void interleave_rows(const struct oct_tiny_tensor *x, float *v)
{
    const size_t cols = (size_t)(x->cols ? x->cols : 1);
    const size_t n = (size_t)x->rows * cols, D = (size_t)(x->rows / x->permute_heads);
    float *from = oct_malloc(n * sizeof *from);
    OCT_ASSERT(from);
    memcpy(from, v, n * sizeof *v);
    for (size_t r = 0; r < (size_t)x->rows; r++) {
        const size_t head = r / D, j = r % D / 2, s = r % 2;
        memcpy(v + r * cols, from + (head * D + s * (D / 2) + j) * cols, cols * sizeof *v);
    }
    oct_free(from);
}

static void q8_0_block(const float *v, uint8_t *dst)
{
    float max = 0.0f;
    for (int i = 0; i < 32; i++) {
        max = fmaxf(max, fabsf(v[i]));
    }
    const float d = max / 127.0f;
    const float inverse = d != 0.0f ? 1.0f / d : 0.0f;
    const uint16_t h = oct_test_f32_to_f16(d);
    memcpy(dst, &h, sizeof h);
    for (int i = 0; i < 32; i++) {
        const float q = v[i] * inverse;
        dst[2 + i] = (uint8_t)(int8_t)roundf(q);
    }
}

static void add_tensor(const struct oct_tiny *t, const struct oct_tiny_tensor *x, struct oct_gw *w)
{
    size_t n;
    float *v = oct_tiny_tensor_values(t, x, &n);
    if (x->permute_heads) {
        interleave_rows(x, v);
    }
    const uint64_t dims[2] = {(uint64_t)(x->cols ? x->cols : x->rows), (uint64_t)x->rows};
    enum oct_dtype dtype = x->cols ? t->dtype : OCT_DTYPE_F32;
    if (dtype == OCT_DTYPE_Q8_0 && x->cols % 32) {
        dtype = OCT_DTYPE_F16; /* what quantisers fall back to */
    }
    const struct oct_dtype_info *info = oct_dtype_info(dtype);
    const size_t size = n / info->block_elems * info->block_bytes;
    uint8_t *bytes = oct_malloc(size);
    OCT_ASSERT(bytes);
    uint32_t type = GGML_F32;
    if (dtype == OCT_DTYPE_F32) {
        memcpy(bytes, v, size);
    } else if (dtype == OCT_DTYPE_Q8_0) {
        type = GGML_Q8_0;
        for (size_t b = 0; b < n / 32; b++) {
            q8_0_block(v + 32 * b, bytes + 34 * b);
        }
    } else {
        OCT_ASSERT(dtype == OCT_DTYPE_F16 || dtype == OCT_DTYPE_BF16);
        type = dtype == OCT_DTYPE_F16 ? GGML_F16 : GGML_BF16;
        for (size_t i = 0; i < n; i++) {
            const uint16_t h =
                dtype == OCT_DTYPE_F16 ? oct_test_f32_to_f16(v[i]) : oct_test_f32_to_bf16(v[i]);
            memcpy(bytes + 2 * i, &h, sizeof h);
        }
    }
    oct_gw_tensor(w, x->gguf, type, x->cols ? 2 : 1, dims, bytes, size);
    oct_free(bytes);
    oct_free(v);
}

void oct_tiny_gguf(const struct oct_tiny *t, uint32_t shard, struct oct_buf *out)
{
    struct oct_gw w = OCT_GW_INIT;
    struct oct_tiny_tensor *list;
    const size_t n = oct_tiny_list(t, &list);
    const bool freqs = t->rope.kind == OCT_ROPE_LLAMA3;
    if (shard == 0) {
        add_keys(t, &w);
    }
    if (t->n_shards > 1) {
        oct_gw_u16(&w, "split.no", (uint16_t)shard);
        oct_gw_u16(&w, "split.count", (uint16_t)t->n_shards);
        oct_gw_i32(&w, "split.tensors.count", (int32_t)n + freqs);
    }
    if (shard == 0 && freqs) {
        add_rope_freqs(t, &w);
    }
    for (size_t i = 0; i < n; i++) {
        if (i * t->n_shards / n == shard) {
            add_tensor(t, &list[i], &w);
        }
    }
    oct_free(list);
    oct_gw_finish(&w, out);
}

void oct_tiny_write_gguf(const struct oct_tiny *t, const char *dir, const char *name)
{
    struct oct_buf b = {0};
    char file[160];
    for (uint32_t s = 0; s < t->n_shards; s++) {
        if (t->n_shards == 1) {
            (void)snprintf(file, sizeof file, "%s.gguf", name);
        } else {
            (void)snprintf(file, sizeof file, "%s-%05u-of-%05u.gguf", name, s + 1, t->n_shards);
        }
        oct_tiny_gguf(t, s, &b);
        oct_test_write_file(dir, file, b.data, b.len);
        oct_buf_clear(&b);
    }
    oct_buf_free(&b);
}
