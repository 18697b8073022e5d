/* SPDX-License-Identifier: Apache-2.0 */
#include "support/llama2c.h"

#include "base/io.h"

#include <stdio.h>
#include <string.h>

bool oct_stories_available(void)
{
    bool is_dir;
    return oct_path_kind(OCT_STORIES_BIN, &is_dir) == OCT_OK &&
           oct_path_kind(OCT_STORIES_TOK, &is_dir) == OCT_OK;
}

/* A file in memory and how far it was read. */
struct reader {
    char *data;
    size_t len, at;
};

static struct reader open_file(const char *path)
{
    struct reader r = {0};
    struct oct_file f = {0};
    oct_status st = oct_file_open(path, &f);
    OCT_ASSERT(st == OCT_OK);
    st = oct_file_slurp(&f, 256 << 20, &r.data, &r.len);
    OCT_ASSERT(st == OCT_OK);
    oct_file_close(&f);
    return r;
}

static const char *take(struct reader *r, size_t size)
{
    OCT_ASSERT(size <= r->len - r->at);
    const char *p = r->data + r->at;
    r->at += size;
    return p;
}

static int32_t take_i32(struct reader *r)
{
    int32_t v;
    memcpy(&v, take(r, sizeof v), sizeof v);
    return v;
}

/* ---- weights ---- */

/* The next tensor of the file: one per layer under "blk.<i>.<name>.weight", or a single one if
 * n_layers is 0. cols 0: a vector. */
static void add(struct oct_gw *w, struct reader *r, int32_t n_layers, const char *name,
                int32_t rows, int32_t cols)
{
    const size_t size = (size_t)rows * (size_t)(cols ? cols : 1) * sizeof(float);
    const uint64_t dims[2] = {(uint64_t)(cols ? cols : rows), (uint64_t)rows};
    for (int32_t i = 0; i < (n_layers ? n_layers : 1); i++) {
        char full[64];
        if (n_layers) {
            (void)snprintf(full, sizeof full, "blk.%d.%s.weight", i, name);
        } else {
            (void)snprintf(full, sizeof full, "%s.weight", name);
        }
        oct_gw_tensor(w, full, 0, cols ? 2 : 1, dims, take(r, size), size);
    }
}

/* ---- tokenizer ---- */

static void add_tokenizer(struct oct_gw *w, struct reader *r, int32_t n)
{
    enum { TEXT_BYTES = 64 };
    static const char *const special[] = {"<unk>", "<s>", "</s>"};
    char(*text)[TEXT_BYTES] = oct_calloc((size_t)n, sizeof *text);
    const char **tokens = oct_calloc((size_t)n, sizeof *tokens);
    int32_t *types = oct_calloc((size_t)n, sizeof *types);
    float *scores = oct_calloc((size_t)n, sizeof *scores);
    OCT_ASSERT(text && tokens && types && scores);
    (void)take_i32(r); /* the longest token */
    for (int32_t id = 0; id < n; id++) {
        memcpy(&scores[id], take(r, sizeof *scores), sizeof *scores);
        const int32_t len = take_i32(r);
        OCT_ASSERT(len >= 0);
        const char *bytes = take(r, (size_t)len);
        size_t at = 0;
        for (int32_t i = 0; i < len; i++) { /* a space was SentencePiece's U+2581 */
            OCT_ASSERT(at + 4 < TEXT_BYTES);
            if (bytes[i] == ' ') {
                memcpy(text[id] + at, "\xe2\x96\x81", 3);
                at += 3;
            } else {
                text[id][at++] = bytes[i];
            }
        }
        if (id < 3) {
            (void)snprintf(text[id], sizeof text[id], "%s", special[id]);
        }
        tokens[id] = text[id];
        types[id] = id == 0    ? 2
                    : id < 3   ? 3
                    : id < 259 ? 6
                               : 1; /* unknown, control, byte, normal */
    }
    OCT_ASSERT(r->at == r->len);
    oct_gw_str(w, "tokenizer.ggml.model", "llama");
    oct_gw_strings(w, "tokenizer.ggml.tokens", tokens, (size_t)n);
    oct_gw_f32s(w, "tokenizer.ggml.scores", scores, (size_t)n);
    oct_gw_i32s(w, "tokenizer.ggml.token_type", types, (size_t)n);
    oct_gw_u32(w, "tokenizer.ggml.bos_token_id", 1);
    oct_gw_u32(w, "tokenizer.ggml.eos_token_id", 2);
    oct_gw_u32(w, "tokenizer.ggml.unknown_token_id", 0);
    oct_gw_bool(w, "tokenizer.ggml.add_bos_token", true);
    oct_gw_bool(w, "tokenizer.ggml.add_eos_token", false);
    oct_gw_bool(w, "tokenizer.ggml.add_space_prefix", true);
    oct_free(text);
    oct_free(tokens);
    oct_free(types);
    oct_free(scores);
}

void oct_llama2c_gguf(const char *model_path, const char *tokenizer_path, struct oct_buf *out)
{
    struct oct_gw w = OCT_GW_INIT;
    struct reader r = open_file(model_path), tok = open_file(tokenizer_path);
    const int32_t dim = take_i32(&r), ff = take_i32(&r), layers = take_i32(&r);
    const int32_t heads = take_i32(&r), kv_heads = take_i32(&r);
    const int32_t vocab = take_i32(&r), positions = take_i32(&r);
    const int32_t n_vocab = vocab < 0 ? -vocab : vocab;
    OCT_ASSERT(dim > 0 && ff > 0 && layers > 0 && heads > 0 && kv_heads > 0 && n_vocab > 0);
    OCT_ASSERT(dim % heads == 0 && positions > 0);
    const int32_t head_dim = dim / heads, kv_dim = head_dim * kv_heads;

    oct_gw_str(&w, "general.architecture", "llama");
    oct_gw_u32(&w, "llama.block_count", (uint32_t)layers);
    oct_gw_u32(&w, "llama.context_length", (uint32_t)positions);
    oct_gw_u32(&w, "llama.embedding_length", (uint32_t)dim);
    oct_gw_u32(&w, "llama.feed_forward_length", (uint32_t)ff);
    oct_gw_u32(&w, "llama.attention.head_count", (uint32_t)heads);
    oct_gw_u32(&w, "llama.attention.head_count_kv", (uint32_t)kv_heads);
    oct_gw_f32(&w, "llama.attention.layer_norm_rms_epsilon", 1e-5F);
    oct_gw_u32(&w, "llama.rope.dimension_count", (uint32_t)head_dim);
    oct_gw_f32(&w, "llama.rope.freq_base", 10000.0F);
    add_tokenizer(&w, &tok, n_vocab);

    add(&w, &r, 0, "token_embd", n_vocab, dim);
    add(&w, &r, layers, "attn_norm", dim, 0);
    add(&w, &r, layers, "attn_q", dim, dim);
    add(&w, &r, layers, "attn_k", kv_dim, dim);
    add(&w, &r, layers, "attn_v", kv_dim, dim);
    add(&w, &r, layers, "attn_output", dim, dim);
    add(&w, &r, layers, "ffn_norm", dim, 0);
    add(&w, &r, layers, "ffn_gate", ff, dim);
    add(&w, &r, layers, "ffn_down", dim, ff);
    add(&w, &r, layers, "ffn_up", ff, dim);
    add(&w, &r, 0, "output_norm", dim, 0);
    (void)take(&r, (size_t)positions * (size_t)head_dim * sizeof(float)); /* cos and sin */
    if (vocab < 0) {
        add(&w, &r, 0, "output", n_vocab, dim);
    }
    OCT_ASSERT(r.at == r.len);
    oct_free(r.data);
    oct_free(tok.data);
    oct_gw_finish(&w, out);
}
