/* SPDX-License-Identifier: Apache-2.0
 *
 * tiny.c - what a tiny model consists of: tensors, values, config.json, tokenizer, files. The GGUF
 * side is in tiny_gguf.c. */
#include "support/tiny.h"

#include "support/tiny_parts.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

struct oct_tiny oct_tiny_default(enum oct_arch_id arch)
{
    return (struct oct_tiny){
        .arch = arch,
        .seed = 1,
        .n_layers = 2,
        .dim = 64,
        .ff_dim = 160,
        .n_heads = 4,
        .n_kv_heads = 2,
        .vocab_size = 300,
        .max_positions = 256,
        .norm_eps = 1e-5f,
        .rope = {.kind = OCT_ROPE_DEFAULT, .theta = 10000.0},
        .dtype = OCT_DTYPE_F32,
        .n_shards = 1,
    };
}

/* ---- values ---- */

static uint64_t fnv1a64(const char *s)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (; *s; s++) {
        h = (h ^ (uint8_t)*s) * 0x100000001b3u;
    }
    return h;
}

static uint64_t splitmix64(uint64_t x)
{
    uint64_t z = x + 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

static bool ends_with(const char *s, const char *end)
{
    const size_t a = strlen(s), b = strlen(end);
    return a >= b && !strcmp(s + a - b, end);
}

void oct_tiny_values(uint64_t seed, const char *hf_name, int32_t in, uint64_t first, float *dst,
                     size_t n)
{
    const bool is_norm = ends_with(hf_name, "norm.weight");
    float scale = 0.1f;
    if (!strcmp(hf_name, "model.embed_tokens.weight")) {
        scale = 0.5f;
    } else if (!is_norm && !ends_with(hf_name, ".bias")) {
        const float root = sqrtf((float)in);
        scale = 1.0f / root;
    }
    const uint64_t start = seed ^ fnv1a64(hf_name);
    for (size_t i = 0; i < n; i++) {
        const uint64_t z = splitmix64(start + (first + i) * 0x9E3779B97F4A7C15u);
        const float u = (float)(z >> 40) * 0x1p-24f;
        float v = 2.0f * u - 1.0f;
        v = scale * v;
        dst[i] = is_norm ? 1.0f + v : v;
    }
}

/* ---- tensors ---- */

int32_t oct_tiny_head_dim(const struct oct_tiny *t)
{
    return t->head_dim ? t->head_dim : t->dim / t->n_heads;
}

struct list {
    struct oct_tiny_tensor *at;
    size_t n;
};

__attribute__((format(printf, 6, 7))) static void add(struct list *l, const char *gguf,
                                                      int32_t rows, int32_t cols,
                                                      int32_t permute_heads, const char *fmt, ...)
{
    struct oct_tiny_tensor *t = &l->at[l->n++];
    *t = (struct oct_tiny_tensor){.rows = rows, .cols = cols, .permute_heads = permute_heads};
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(t->hf, sizeof t->hf, fmt, ap);
    va_end(ap);
    (void)snprintf(t->gguf, sizeof t->gguf, "%s%s", gguf, strrchr(t->hf, '.'));
}

static void add_linear(struct list *l, int layer, const char *gguf, const char *hf, int32_t rows,
                       int32_t cols, int32_t permute_heads, bool bias)
{
    char name[64];
    (void)snprintf(name, sizeof name, "blk.%d.%s", layer, gguf);
    add(l, name, rows, cols, permute_heads, "model.layers.%d.%s.weight", layer, hf);
    if (bias) {
        add(l, name, rows, 0, permute_heads, "model.layers.%d.%s.bias", layer, hf);
    }
}

size_t oct_tiny_list(const struct oct_tiny *t, struct oct_tiny_tensor **out)
{
    struct list l = {.at = oct_calloc((size_t)t->n_layers * 18 + 3, sizeof *l.at)};
    OCT_ASSERT(l.at);
    const int32_t D = oct_tiny_head_dim(t), H = t->n_heads, G = t->n_kv_heads, C = t->dim;
    const bool llama = t->arch == OCT_ARCH_LLAMA;
    const bool interleave = llama || t->arch == OCT_ARCH_MISTRAL;
    const bool qkv_bias = t->arch == OCT_ARCH_QWEN2 || (llama && t->attention_bias);
    const bool mlp_bias = llama && t->mlp_bias;
    add(&l, "token_embd", t->vocab_size, C, 0, "model.embed_tokens.weight");
    for (int i = 0; i < t->n_layers; i++) {
        add_linear(&l, i, "attn_norm", "input_layernorm", C, 0, 0, false);
        add_linear(&l, i, "attn_q", "self_attn.q_proj", H * D, C, interleave ? H : 0, qkv_bias);
        add_linear(&l, i, "attn_k", "self_attn.k_proj", G * D, C, interleave ? G : 0, qkv_bias);
        add_linear(&l, i, "attn_v", "self_attn.v_proj", G * D, C, 0, qkv_bias);
        add_linear(&l, i, "attn_output", "self_attn.o_proj", C, H * D, 0, llama && qkv_bias);
        if (t->arch == OCT_ARCH_QWEN3) {
            add_linear(&l, i, "attn_q_norm", "self_attn.q_norm", D, 0, 0, false);
            add_linear(&l, i, "attn_k_norm", "self_attn.k_norm", D, 0, 0, false);
        }
        add_linear(&l, i, "ffn_norm", "post_attention_layernorm", C, 0, 0, false);
        add_linear(&l, i, "ffn_gate", "mlp.gate_proj", t->ff_dim, C, 0, mlp_bias);
        add_linear(&l, i, "ffn_up", "mlp.up_proj", t->ff_dim, C, 0, mlp_bias);
        add_linear(&l, i, "ffn_down", "mlp.down_proj", C, t->ff_dim, 0, mlp_bias);
    }
    add(&l, "output_norm", C, 0, 0, "model.norm.weight");
    if (!t->tied) {
        add(&l, "output", t->vocab_size, C, 0, "lm_head.weight");
    }
    *out = l.at;
    return l.n;
}

float *oct_tiny_tensor_values(const struct oct_tiny *t, const struct oct_tiny_tensor *x, size_t *n)
{
    *n = (size_t)x->rows * (size_t)(x->cols ? x->cols : 1);
    float *v = oct_malloc(*n * sizeof *v);
    OCT_ASSERT(v);
    oct_tiny_values(t->seed, x->hf, x->cols, 0, v, *n);
    return v;
}

/* ---- JSON ---- */

#define PRINT(...) \
    do { \
        oct_status st_ = oct_buf_printf(__VA_ARGS__); \
        OCT_ASSERT(st_ == OCT_OK); \
    } while (0)

static void print_rope(const struct oct_tiny *t, struct oct_buf *out)
{
    static const char *const kinds[] = {"default", "linear", "llama3", "yarn"};
    const struct oct_rope_config *r = &t->rope;
    PRINT(out, "{\"rope_type\":\"%s\"", kinds[r->kind]);
    if (t->v5) {
        PRINT(out, ",\"rope_theta\":%.17g", r->theta);
    }
    if (r->kind != OCT_ROPE_DEFAULT) {
        PRINT(out, ",\"factor\":%.17g", r->factor);
    }
    if (r->kind == OCT_ROPE_LLAMA3) {
        PRINT(out, ",\"low_freq_factor\":%.17g,\"high_freq_factor\":%.17g", r->low_freq_factor,
              r->high_freq_factor);
    }
    if (r->kind == OCT_ROPE_YARN) {
        PRINT(out, ",\"beta_fast\":%.17g,\"beta_slow\":%.17g", r->beta_fast, r->beta_slow);
        if (r->attention_factor > 0) {
            PRINT(out, ",\"attention_factor\":%.17g", r->attention_factor);
        }
        if (r->mscale > 0) {
            PRINT(out, ",\"mscale\":%.17g,\"mscale_all_dim\":%.17g", r->mscale, r->mscale_all_dim);
        }
        PRINT(out, ",\"truncate\":%s", r->truncate ? "true" : "false");
    }
    if (r->kind == OCT_ROPE_LLAMA3 || r->kind == OCT_ROPE_YARN) {
        PRINT(out, ",\"original_max_position_embeddings\":%d", r->original_max_positions);
    }
    PRINT(out, "}");
}

void oct_tiny_config_json(const struct oct_tiny *t, struct oct_buf *out)
{
    static const char *const types[] = {"llama", "qwen2", "qwen3", "mistral"};
    static const char *const classes[] = {"Llama", "Qwen2", "Qwen3", "Mistral"};
    const char *dtype = t->dtype == OCT_DTYPE_BF16  ? "bfloat16"
                        : t->dtype == OCT_DTYPE_F16 ? "float16"
                                                    : "float32";
    PRINT(out,
          "{\"architectures\":[\"%sForCausalLM\"],\"model_type\":\"%s\",\"hidden_act\":\"silu\","
          "\"hidden_size\":%d,\"intermediate_size\":%d,\"num_hidden_layers\":%d,"
          "\"num_attention_heads\":%d,\"num_key_value_heads\":%d,\"vocab_size\":%d,"
          "\"max_position_embeddings\":%d,\"rms_norm_eps\":%.9g,\"tie_word_embeddings\":%s,"
          "\"initializer_range\":0.02,\"use_cache\":true,\"%s\":\"%s\",\"bos_token_id\":0,"
          "\"eos_token_id\":2,\"transformers_version\":\"%s\"",
          classes[t->arch], types[t->arch], t->dim, t->ff_dim, t->n_layers, t->n_heads,
          t->n_kv_heads, t->vocab_size, t->max_positions, (double)t->norm_eps,
          t->tied ? "true" : "false", t->v5 ? "dtype" : "torch_dtype", dtype,
          t->v5 ? "5.0.0" : "4.46.0");
    if (t->head_dim) {
        PRINT(out, ",\"head_dim\":%d", t->head_dim);
    }
    if (t->arch == OCT_ARCH_LLAMA) {
        PRINT(out, ",\"attention_bias\":%s,\"mlp_bias\":%s", t->attention_bias ? "true" : "false",
              t->mlp_bias ? "true" : "false");
    }
    if (t->arch == OCT_ARCH_QWEN2 || t->arch == OCT_ARCH_QWEN3) {
        PRINT(out, ",\"use_sliding_window\":%s,\"max_window_layers\":%d",
              t->window ? "true" : "false", t->window_from_layer);
    }
    if (t->window) {
        PRINT(out, ",\"sliding_window\":%d", t->window);
    } else if (t->arch != OCT_ARCH_LLAMA) {
        PRINT(out, ",\"sliding_window\":null");
    }
    if (t->v5) {
        PRINT(out, ",\"rope_parameters\":");
        print_rope(t, out);
    } else {
        PRINT(out, ",\"rope_theta\":%.17g,\"rope_scaling\":", t->rope.theta);
        if (t->rope.kind == OCT_ROPE_DEFAULT) {
            PRINT(out, "null");
        } else {
            print_rope(t, out);
        }
    }
    PRINT(out, "}\n");
}

/* ---- tokenizer ---- */

const char *const oct_tiny_specials[3] = {"<|endoftext|>", "<|im_start|>", "<|im_end|>"};

/* Left and right halves, spelled in the byte-level alphabet; U+0120 stands for a space. */
const char *const oct_tiny_merges[6][2] = {{"h", "e"}, {"\xc4\xa0", "t"},   {"i", "n"},
                                           {"r", "e"}, {"\xc4\xa0t", "he"}, {"a", "n"}};

const char oct_tiny_template[] =
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] "
    "+ '<|im_end|>' + '\\n'}}{% endfor %}{% if add_generation_prompt %}{{ "
    "'<|im_start|>assistant\\n' }}{% endif %}";

void oct_tiny_token(int32_t id, char text[16])
{
    if (id < 3) {
        (void)snprintf(text, 16, "%s", oct_tiny_specials[id]);
        return;
    }
    if (id >= 3 + 256) {
        const int m = id - 3 - 256;
        (void)snprintf(text, 16, "%s%s", oct_tiny_merges[m][0], oct_tiny_merges[m][1]);
        return;
    }
    /* GPT-2's alphabet: printable Latin-1 is itself, the others count up from U+0100. */
    unsigned code = 0, extra = 0x100;
    for (unsigned b = 0; b <= (unsigned)id - 3; b++) {
        const bool plain = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
        code = plain ? b : extra++;
    }
    if (code < 0x80) {
        (void)snprintf(text, 16, "%c", (char)code);
    } else {
        (void)snprintf(text, 16, "%c%c", (char)(0xc0 | code >> 6), (char)(0x80 | (code & 0x3f)));
    }
}

static void print_json_text(struct oct_buf *out, const char *s)
{
    PRINT(out, "\"");
    for (; *s; s++) {
        PRINT(out, *s == '"' || *s == '\\' ? "\\%c" : "%c", *s);
    }
    PRINT(out, "\"");
}

void oct_tiny_tokenizer_json(const struct oct_tiny *t, struct oct_buf *out)
{
    OCT_ASSERT(t->vocab_size >= OCT_TINY_N_TOKENS);
    PRINT(out, "{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,\"added_tokens\":[");
    for (int i = 0; i < 3; i++) {
        PRINT(out,
              "%s{\"id\":%d,\"content\":\"%s\",\"single_word\":false,\"lstrip\":false,"
              "\"rstrip\":false,\"normalized\":false,\"special\":true}",
              i ? "," : "", i, oct_tiny_specials[i]);
    }
    PRINT(out, "],\"normalizer\":null,\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":["
               "{\"type\":\"Split\",\"pattern\":{\"Regex\":");
    print_json_text(out, "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| "
                         "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+");
    PRINT(out, "},\"behavior\":\"Isolated\",\"invert\":false},"
               "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"trim_offsets\":true,"
               "\"use_regex\":false}]},\"post_processor\":null,\"decoder\":{\"type\":\"ByteLevel\","
               "\"add_prefix_space\":true,\"trim_offsets\":true,\"use_regex\":true},\"model\":{"
               "\"type\":\"BPE\",\"dropout\":null,\"unk_token\":null,\"continuing_subword_prefix\":"
               "null,\"end_of_word_suffix\":null,\"fuse_unk\":false,\"byte_fallback\":false,"
               "\"ignore_merges\":false,\"vocab\":{");
    for (int32_t id = 0; id < OCT_TINY_N_TOKENS; id++) {
        char text[16];
        oct_tiny_token(id, text);
        PRINT(out, "%s", id ? "," : "");
        print_json_text(out, text);
        PRINT(out, ":%d", id);
    }
    PRINT(out, "},\"merges\":[");
    for (int i = 0; i < 6; i++) {
        PRINT(out, "%s[\"%s\",\"%s\"]", i ? "," : "", oct_tiny_merges[i][0], oct_tiny_merges[i][1]);
    }
    PRINT(out, "]}}\n");
}

void oct_tiny_tokenizer_config_json(const struct oct_tiny *t, struct oct_buf *out)
{
    PRINT(out, "{\"added_tokens_decoder\":{");
    for (int i = 0; i < 3; i++) {
        PRINT(out,
              "%s\"%d\":{\"content\":\"%s\",\"lstrip\":false,\"normalized\":false,"
              "\"rstrip\":false,\"single_word\":false,\"special\":true}",
              i ? "," : "", i, oct_tiny_specials[i]);
    }
    PRINT(out,
          "},\"bos_token\":null,\"eos_token\":\"<|im_end|>\",\"pad_token\":\"<|endoftext|>\","
          "\"unk_token\":null,\"add_prefix_space\":false,\"clean_up_tokenization_spaces\":false,"
          "\"model_max_length\":%d,\"tokenizer_class\":\"PreTrainedTokenizerFast\","
          "\"chat_template\":",
          t->max_positions);
    print_json_text(out, t->chat_template ? t->chat_template : oct_tiny_template);
    PRINT(out, "}\n");
}

/* ---- safetensors ---- */

void oct_tiny_safetensors(const struct oct_tiny *t, uint32_t shard, struct oct_buf *out)
{
    OCT_ASSERT(t->dtype == OCT_DTYPE_F32 || t->dtype == OCT_DTYPE_BF16 ||
               t->dtype == OCT_DTYPE_F16);
    struct oct_sw w = {0};
    oct_sw_entry(&w, "\"__metadata__\":{\"format\":\"pt\"}");
    struct oct_tiny_tensor *list;
    const size_t n = oct_tiny_list(t, &list);
    for (size_t i = 0; i < n; i++) {
        if (i % t->n_shards != shard) {
            continue;
        }
        const struct oct_tiny_tensor *x = &list[i];
        const uint64_t dims[2] = {(uint64_t)x->rows, (uint64_t)x->cols};
        size_t n_elems;
        float *v = oct_tiny_tensor_values(t, x, &n_elems);
        uint16_t *half = (uint16_t *)(void *)v; /* narrowed in place, front to back */
        for (size_t j = 0; t->dtype != OCT_DTYPE_F32 && j < n_elems; j++) {
            const float value = v[j];
            const uint16_t h = t->dtype == OCT_DTYPE_BF16 ? oct_test_f32_to_bf16(value)
                                                          : oct_test_f32_to_f16(value);
            memcpy((char *)half + 2 * j, &h, sizeof h);
        }
        oct_sw_tensor(&w, x->hf, oct_dtype_info(t->dtype)->name, x->cols ? 2 : 1, dims, v,
                      n_elems * oct_dtype_info(t->dtype)->block_bytes);
        oct_free(v);
    }
    oct_free(list);
    oct_sw_finish(&w, out);
}

static void shard_name(const struct oct_tiny *t, uint32_t shard, char name[64])
{
    if (t->n_shards == 1) {
        (void)snprintf(name, 64, "model.safetensors");
    } else {
        (void)snprintf(name, 64, "model-%05u-of-%05u.safetensors", shard + 1, t->n_shards);
    }
}

static void write_and_clear(const char *dir, const char *name, struct oct_buf *b)
{
    oct_test_write_file(dir, name, b->data, b->len);
    oct_buf_clear(b);
}

void oct_tiny_write_hf(const struct oct_tiny *t, const char *dir)
{
    struct oct_buf b = {0};
    char name[64];
    oct_tiny_config_json(t, &b);
    write_and_clear(dir, "config.json", &b);
    PRINT(&b, "{\"bos_token_id\":0,\"eos_token_id\":[2],\"pad_token_id\":0}\n");
    write_and_clear(dir, "generation_config.json", &b);
    if (t->vocab_size >= OCT_TINY_N_TOKENS) {
        oct_tiny_tokenizer_json(t, &b);
        write_and_clear(dir, "tokenizer.json", &b);
        oct_tiny_tokenizer_config_json(t, &b);
        write_and_clear(dir, "tokenizer_config.json", &b);
    }
    for (uint32_t s = 0; s < t->n_shards; s++) {
        oct_tiny_safetensors(t, s, &b);
        shard_name(t, s, name);
        write_and_clear(dir, name, &b);
    }
    if (t->n_shards > 1) {
        struct oct_tiny_tensor *list;
        const size_t n = oct_tiny_list(t, &list);
        PRINT(&b, "{\"metadata\":{},\"weight_map\":{");
        for (size_t i = 0; i < n; i++) {
            shard_name(t, (uint32_t)i % t->n_shards, name);
            PRINT(&b, "%s\"%s\":\"%s\"", i ? "," : "", list[i].hf, name);
        }
        PRINT(&b, "}}\n");
        write_and_clear(dir, "model.safetensors.index.json", &b);
        oct_free(list);
    }
    oct_buf_free(&b);
}
