/* SPDX-License-Identifier: Apache-2.0 */
#include "model/config.h"

#include "support/golden.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

/* One key of the metadata: DROP leaves it out, ALL gives a list with the number once per layer, MIX
 * such a list whose last one is higher by 1. */
enum kind { DROP, INT, NEG, REAL, TEXT, FLAG, ALL, MIX };

struct key {
    const char *name;
    enum kind kind;
    double number;
    const char *text;
};

enum { N_LAYERS = 3, N_TOKENS = 12, N_ROWS = 16, DIM = 8 };

static const struct key base[] = {
    {"general.architecture", TEXT, 0, "llama"},
    {"llama.block_count", INT, N_LAYERS, NULL},
    {"llama.context_length", INT, 512, NULL},
    {"llama.embedding_length", INT, DIM, NULL},
    {"llama.feed_forward_length", INT, 20, NULL},
    {"llama.attention.head_count", INT, 4, NULL},
    {"llama.attention.head_count_kv", INT, 2, NULL},
    {"llama.attention.layer_norm_rms_epsilon", REAL, 1e-5, NULL},
    {"llama.rope.freq_base", REAL, 50000, NULL},
    {"llama.vocab_size", INT, N_ROWS, NULL},
    {"tokenizer.ggml.eos_token_id", INT, 2, NULL},
};

static void write_key(struct oct_gw *w, const struct key *k)
{
    int32_t list[N_LAYERS];
    for (int i = 0; i < N_LAYERS; i++) {
        list[i] = (int32_t)k->number + (k->kind == MIX && i == N_LAYERS - 1);
    }
    switch (k->kind) {
    case DROP:
        break;
    case INT:
        oct_gw_u64(w, k->name, (uint64_t)k->number);
        break;
    case NEG:
        oct_gw_i32(w, k->name, (int32_t)k->number);
        break;
    case REAL:
        oct_gw_f32(w, k->name, (float)k->number);
        break;
    case TEXT:
        oct_gw_str(w, k->name, k->text);
        break;
    case FLAG:
        oct_gw_bool(w, k->name, k->number != 0);
        break;
    case ALL:
    case MIX:
        oct_gw_i32s(w, k->name, list, N_LAYERS);
        break;
    }
}

/* The base with up to two keys changed or added, an embedding of N_ROWS (0 rows: none) and a list
 * of n_tokens tokens. */
struct file {
    struct key change[2];
    uint64_t rows, n_tokens;
    const char *bias; /* one more tensor of that name */
};

static oct_status load(const struct file *f, struct oct_model_config *out)
{
    struct oct_gw w = OCT_GW_INIT;
    struct oct_buf b = {0};
    static const float data[N_ROWS * 2 * DIM] = {0};
    static const char *const words[2 * N_ROWS] = {
        "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p",
        "A", "B", "C", "D", "E", "F", "G", "H", "I", "J", "K", "L", "M", "N", "O", "P"};
    char path[32];
    struct oct_source *s = NULL;
    for (size_t i = 0; i < sizeof base / sizeof base[0]; i++) {
        const struct key *k = &base[i];
        for (int c = 0; c < 2; c++) {
            k = f->change[c].name && !strcmp(f->change[c].name, base[i].name) ? &f->change[c] : k;
        }
        write_key(&w, k);
    }
    for (int c = 0; c < 2; c++) {
        bool is_new = f->change[c].name != NULL;
        for (size_t i = 0; i < sizeof base / sizeof base[0]; i++) {
            is_new = is_new && strcmp(f->change[c].name, base[i].name) != 0;
        }
        if (is_new) {
            write_key(&w, &f->change[c]);
        }
    }
    if (f->n_tokens) {
        oct_gw_strings(&w, "tokenizer.ggml.tokens", words, f->n_tokens);
    }
    const uint64_t dims[2] = {DIM, f->rows};
    if (f->rows) {
        oct_gw_tensor(&w, "token_embd.weight", 0, 2, dims, data, f->rows * DIM * sizeof *data);
    }
    if (f->bias) {
        oct_gw_tensor(&w, f->bias, 0, 1, dims, data, DIM * sizeof *data);
    }
    oct_gw_finish(&w, &b);
    const int fd = oct_test_memory_file(b.data, b.len, path);
    oct_status st = oct_source_open(path, &s);
    cr_assert_eq(st, OCT_OK, "%s", oct_last_error());
    st = oct_config_load(s, out);
    oct_source_close(s);
    close(fd);
    oct_buf_free(&b);
    return st;
}

static struct oct_model_config good(struct file f)
{
    struct oct_model_config c;
    f.rows = f.rows ? f.rows : N_ROWS;
    f.n_tokens = f.n_tokens ? f.n_tokens : N_TOKENS;
    const oct_status st = load(&f, &c);
    cr_assert_eq(st, OCT_OK, "%s", oct_last_error());
    return c;
}

Test(config_gguf, a_llama_file_is_read_key_by_key)
{
    const struct oct_model_config c = good((struct file){0});
    cr_assert_eq(c.arch, OCT_ARCH_LLAMA);
    cr_assert_str_eq(c.arch_name, "llama");
    cr_assert_eq(c.n_layers, N_LAYERS);
    cr_assert_eq(c.dim, DIM);
    cr_assert_eq(c.ff_dim, 20);
    cr_assert(c.n_heads == 4 && c.n_kv_heads == 2 && c.head_dim == 2);
    cr_assert_eq(c.vocab_size, N_ROWS); /* rows above the tokens are fine */
    cr_assert_eq(c.max_positions, 512);
    cr_assert_eq(c.norm_eps, 1e-5F);
    cr_assert(c.tied && !c.qkv_bias && !c.o_bias && !c.mlp_bias && !c.qk_norm);
    cr_assert(c.rope_interleaved);
    cr_assert_eq(c.rope.kind, OCT_ROPE_DEFAULT);
    cr_assert_eq(c.rope.theta, 50000.0);
    cr_assert_eq(c.rope.rot_dim, 2);
    cr_assert_eq(c.dtype, OCT_DTYPE_F32);
    cr_assert_eq(c.n_stop_tokens, 1);
    cr_assert_eq(c.stop_tokens[0], 2);
    cr_assert(isnan(c.temperature) && c.top_k == -1);
}

Test(config_gguf, variants_of_keys_mean_the_same)
{
    /* one number per layer, where all agree; absent: as many as heads */
    cr_assert_eq(
        good((struct file){.change = {{"llama.attention.head_count_kv", ALL, 2, NULL}}}).n_kv_heads,
        2);
    cr_assert_eq(good((struct file){.change = {{"llama.attention.head_count_kv", DROP, 0, NULL}}})
                     .n_kv_heads,
                 4);
    cr_assert_eq(
        good((struct file){.change = {{"llama.feed_forward_length", ALL, 20, NULL}}}).ff_dim, 20);
    struct oct_model_config c =
        good((struct file){.change = {{"llama.attention.key_length", INT, 6, NULL},
                                      {"llama.attention.value_length", INT, 6, NULL}}});
    cr_assert(c.head_dim == 6 && c.rope.rot_dim == 6);
    c = good((struct file){.change = {{"llama.attention.sliding_window", INT, 64, NULL}}});
    cr_assert(c.window == 64 && c.window_from_layer == 0);
    /* a window that the context never fills is none */
    cr_assert_eq(
        good((struct file){.change = {{"llama.attention.sliding_window", INT, 512, NULL}}}).window,
        0);
    cr_assert_eq(good((struct file){.bias = "output.weight"}).tied, false);
    cr_assert_eq(good((struct file){.bias = "blk.0.attn_q.bias"}).qkv_bias, true);
    cr_assert_eq(good((struct file){.bias = "blk.0.attn_output.bias"}).o_bias, true);
    cr_assert_eq(good((struct file){.bias = "blk.0.ffn_down.bias"}).mlp_bias, true);
    /* without an embedding the tokens count, without these the key */
    struct file f = {.n_tokens = N_TOKENS};
    cr_assert_eq(load(&f, &c), OCT_OK);
    cr_assert_eq(c.vocab_size, N_TOKENS);
    f.n_tokens = 0;
    cr_assert_eq(load(&f, &c), OCT_OK);
    cr_assert_eq(c.vocab_size, N_ROWS);
}

Test(config_gguf, end_tokens_and_sampling_come_from_their_keys)
{
    struct oct_model_config c =
        good((struct file){.change = {{"tokenizer.ggml.eot_token_id", INT, 5, NULL},
                                      {"tokenizer.ggml.eom_token_id", INT, 6, NULL}}});
    cr_assert_eq(c.n_stop_tokens, 3);
    cr_assert(c.stop_tokens[0] == 2 && c.stop_tokens[1] == 5 && c.stop_tokens[2] == 6);
    c = good((struct file){.change = {{"tokenizer.ggml.eos_token_ids", ALL, 7, NULL}}});
    cr_assert_eq(c.n_stop_tokens, 2);
    cr_assert_eq(c.stop_tokens[1], 7);
    c = good((struct file){.change = {{"general.sampling.temp", REAL, 0.5, NULL},
                                      {"general.sampling.top_k", INT, 40, NULL}}});
    cr_assert_eq(c.temperature, 0.5F);
    cr_assert_eq(c.top_k, 40);
}

Test(config_gguf, rotary_scaling_is_read_as_llama_cpp_reads_it)
{
    struct oct_model_config c =
        good((struct file){.change = {{"llama.rope.scaling.factor", REAL, 4, NULL}}});
    cr_assert(c.rope.kind == OCT_ROPE_LINEAR && c.rope.factor == 4.0); /* no type: linear */
    c = good((struct file){.change = {{"llama.rope.scale_linear", REAL, 2, NULL}}});
    cr_assert(c.rope.kind == OCT_ROPE_LINEAR && c.rope.factor == 2.0);
    c = good((struct file){.change = {{"llama.rope.scaling.type", TEXT, 0, "none"},
                                      {"llama.rope.scaling.factor", REAL, 4, NULL}}});
    cr_assert_eq(c.rope.kind, OCT_ROPE_DEFAULT);
    c = good((struct file){.change = {{"llama.rope.scaling.type", TEXT, 0, "linear"}}});
    cr_assert_eq(c.rope.kind, OCT_ROPE_DEFAULT);
    c = good((struct file){.change = {{"llama.rope.scaling.type", TEXT, 0, "yarn"},
                                      {"llama.rope.scaling.factor", REAL, 4, NULL}}});
    cr_assert(c.rope.kind == OCT_ROPE_YARN && c.rope.factor == 4.0);
    cr_assert(c.rope.beta_fast == 32.0 && c.rope.beta_slow == 1.0 && c.rope.truncate);
    cr_assert_eq(c.rope.original_max_positions, 512);
    cr_assert_eq(c.rope.mscale, 0.0);
}

Test(config_gguf, a_tiny_model_has_the_same_configuration_in_both_formats)
{
    for (int i = 0; oct_golden_names[i]; i++) {
        const char *name = oct_golden_names[i];
        struct oct_golden *g = oct_golden_load(name);
        /* GGUF has no word for Qwen's layers with a window */
        const bool qwen_window = g->tiny.window && g->tiny.arch == OCT_ARCH_QWEN2;
        char *dir = oct_test_make_dir(), path[256];
        struct oct_source *s = NULL;
        struct oct_model_config hf, gguf;
        oct_tiny_write_hf(&g->tiny, dir);
        oct_tiny_write_gguf(&g->tiny, dir, "m");
        cr_assert_eq(oct_source_open(dir, &s), OCT_OK, "%s", oct_last_error());
        cr_assert_eq(oct_config_load(s, &hf), OCT_OK, "%s: %s", name, oct_last_error());
        oct_source_close(s);
        (void)snprintf(path, sizeof path, "%s/m.gguf", dir);
        cr_assert_eq(oct_source_open(path, &s), OCT_OK, "%s", oct_last_error());
        const oct_status st = oct_config_load(s, &gguf);
        oct_source_close(s);
        oct_test_remove_dir(dir);
        if (qwen_window) {
            cr_assert_eq(st, OCT_E_UNSUPPORTED, "%s", name);
            cr_assert(strstr(oct_last_error(), "sliding_window"), "%s", oct_last_error());
            oct_golden_close(g);
            continue;
        }
        cr_assert_eq(st, OCT_OK, "%s: %s", name, oct_last_error());
        const enum oct_arch_id arch = hf.arch == OCT_ARCH_MISTRAL ? OCT_ARCH_LLAMA : hf.arch;
        cr_assert_eq(gguf.arch, arch, "%s", name);
        cr_assert_eq(gguf.rope_interleaved, arch == OCT_ARCH_LLAMA, "%s", name);
#define SAME(field) \
    cr_assert_eq(hf.field, gguf.field, "%s: " #field " %g and %g", name, (double)hf.field, \
                 (double)gguf.field)
        SAME(n_layers);
        SAME(dim);
        SAME(ff_dim);
        SAME(n_heads);
        SAME(n_kv_heads);
        SAME(head_dim);
        SAME(vocab_size);
        SAME(max_positions);
        SAME(window);
        SAME(tied);
        SAME(qkv_bias);
        SAME(o_bias);
        SAME(mlp_bias);
        SAME(qk_norm);
        SAME(norm_eps);
        SAME(dtype);
        SAME(n_stop_tokens);
        SAME(stop_tokens[0]);
        SAME(rope.theta);
        SAME(rope.rot_dim);
        if (hf.rope.kind == OCT_ROPE_LLAMA3) { /* there it is the tensor rope_freqs.weight */
            cr_assert_eq(gguf.rope.kind, OCT_ROPE_DEFAULT);
        } else {
            SAME(rope.kind);
            SAME(rope.factor);
            SAME(rope.original_max_positions);
            SAME(rope.beta_fast);
            SAME(rope.beta_slow);
        }
#undef SAME
        oct_golden_close(g);
    }
}

#define F OCT_E_FORMAT
#define U OCT_E_UNSUPPORTED

static const struct {
    struct key change[2];
    oct_status st;
    const char *words;
} bad[] = {
    {{{"general.architecture", DROP, 0, NULL}}, F, "\"general.architecture\" is absent"},
    {{{"general.architecture", INT, 1, NULL}}, F, "\"general.architecture\""},
    {{{"general.architecture", TEXT, 0, "gpt2"}}, U, "\"gpt2\" is not supported"},
    {{{"general.architecture", TEXT, 0, "llama4"}}, U, "llama (also Mistral), qwen2 and qwen3"},
    {{{"general.architecture", TEXT, 0, "qwen2"}}, F, "\"qwen2.block_count\" is absent"},
    {{{"llama.block_count", DROP, 0, NULL}}, F, "\"llama.block_count\" is absent"},
    {{{"llama.block_count", INT, 0, NULL}}, F, "\"llama.block_count\" is 0; it must be an integer"},
    {{{"llama.block_count", INT, 1025, NULL}}, F, "\"llama.block_count\" is 1025"},
    {{{"llama.block_count", INT, 9.3e18, NULL}}, F, "is over 9223372036854775807"},
    {{{"llama.block_count", NEG, -1, NULL}}, F, "\"llama.block_count\" is -1"},
    {{{"llama.block_count", REAL, 3, NULL}}, F, "\"llama.block_count\" is not an integer"},
    {{{"llama.block_count", TEXT, 0, "3"}}, F, "\"llama.block_count\" is not an integer"},
    {{{"llama.block_count", FLAG, 1, NULL}}, F, "\"llama.block_count\" is not an integer"},
    {{{"llama.embedding_length", INT, 0, NULL}}, F, "\"llama.embedding_length\" is 0"},
    {{{"llama.embedding_length", INT, 65537, NULL}}, F, "\"llama.embedding_length\" is 65537"},
    {{{"llama.embedding_length", INT, 16, NULL}},
     F,
     "rows of 8 elements; the configuration says 16"},
    {{{"llama.embedding_length", INT, 9, NULL}}, F, "no head size"},
    {{{"llama.feed_forward_length", DROP, 0, NULL}}, F, "\"llama.feed_forward_length\" is absent"},
    {{{"llama.feed_forward_length", MIX, 20, NULL}}, U, "differs between layers (20 and 21)"},
    {{{"llama.attention.head_count", INT, 0, NULL}}, F, "\"llama.attention.head_count\" is 0"},
    {{{"llama.attention.head_count", INT, 3, NULL}}, F, "no head size"},
    {{{"llama.attention.head_count", INT, 8, NULL}}, F, "the head size 1 is odd"},
    {{{"llama.attention.head_count_kv", INT, 0, NULL}}, F, "head_count_kv\" is 0"},
    {{{"llama.attention.head_count_kv", INT, 3, NULL}}, F, "4 attention heads cannot share 3"},
    {{{"llama.attention.head_count_kv", MIX, 1, NULL}}, U, "differs between layers (1 and 2)"},
    {{{"llama.attention.key_length", INT, 5, NULL}, {"llama.attention.value_length", INT, 5, NULL}},
     F,
     "the head size 5 is odd"},
    {{{"llama.attention.key_length", INT, 6, NULL}, {"llama.attention.value_length", INT, 4, NULL}},
     U,
     "heads of one size"},
    {{{"llama.context_length", INT, 0, NULL}}, F, "\"llama.context_length\" is 0"},
    {{{"llama.attention.layer_norm_rms_epsilon", DROP, 0, NULL}}, F, "epsilon\" is absent"},
    {{{"llama.attention.layer_norm_rms_epsilon", REAL, 0, NULL}}, F, "epsilon\" is 0"},
    {{{"llama.attention.layer_norm_rms_epsilon", REAL, (double)NAN, NULL}}, F, "not a number"},
    {{{"llama.attention.layer_norm_rms_epsilon", TEXT, 0, "x"}}, F, "epsilon\" is not a number"},
    {{{"llama.vocab_size", INT, 15, NULL}}, F, "disagree in vocabulary"},
    {{{"llama.vocab_size", INT, 4294967296.0, NULL}}, F, "\"llama.vocab_size\" is 4294967296"},
    {{{"tokenizer.ggml.eos_token_id", INT, 16, NULL}},
     F,
     "eos_token_id\" is 16, which is no token"},
    {{{"tokenizer.ggml.eot_token_id", INT, 4294967295.0, NULL}}, F, "eot_token_id\" is 4294967295"},
    {{{"tokenizer.ggml.eos_token_ids", ALL, -4, NULL}}, F, "eos_token_ids\" is -4"},
    {{{"llama.rope.freq_base", REAL, 0, NULL}}, F, "\"llama.rope.freq_base\" is 0"},
    {{{"llama.rope.freq_base", REAL, (double)INFINITY, NULL}},
     F,
     "\"llama.rope.freq_base\" is inf"},
    {{{"llama.rope.dimension_count", INT, 3, NULL}}, F, "rotary embedding over 3 elements"},
    {{{"llama.rope.dimension_count", INT, 4, NULL}}, F, "rotary embedding over 4 elements"},
    {{{"llama.rope.dimension_count", INT, 2, NULL}, {"llama.attention.key_length", INT, 4, NULL}},
     U,
     "rotary embedding over 2 of 4"},
    {{{"llama.rope.scaling.type", TEXT, 0, "longrope"}}, U, "\"longrope\"; this build knows none"},
    {{{"llama.rope.scaling.type", INT, 2, NULL}}, F, "\"llama.rope.scaling.type\""},
    {{{"llama.rope.scaling.type", TEXT, 0, "yarn"}}, F, "\"llama.rope.scaling.factor\" is 0"},
    {{{"llama.rope.scaling.factor", REAL, 0.5, NULL}}, F, "\"llama.rope.scaling.factor\" is 0.5"},
    {{{"llama.rope.scaling.factor", REAL, -2, NULL}}, F, "\"llama.rope.scaling.factor\" is -2"},
    {{{"llama.rope.scaling.attn_factor", REAL, 1.2, NULL}}, U, "scaling.attn_factor"},
    {{{"llama.attention.sliding_window", NEG, -1, NULL}}, F, "sliding_window\" is -1"},
    {{{"llama.attention.sliding_window", INT, 64, NULL},
      {"llama.attention.sliding_window_pattern", INT, 2, NULL}},
     U,
     "sliding_window_pattern\" is 2"},
    {{{"llama.expert_count", INT, 8, NULL}}, U, "\"llama.expert_count\""},
    {{{"llama.final_logit_softcapping", REAL, 30, NULL}}, U, "final_logit_softcapping"},
    {{{"llama.logit_scale", REAL, 0.5, NULL}}, U, "logit_scale"},
    {{{"llama.attention.causal", FLAG, 0, NULL}}, U, "attention.causal"},
    {{{"llama.use_parallel_residual", FLAG, 1, NULL}}, U, "use_parallel_residual"},
    {{{"llama.rope.dimension_sections", ALL, 1, NULL}}, U, "rope.dimension_sections"},
    {{{"general.sampling.temp", REAL, -1, NULL}}, F, "\"general.sampling.temp\" is -1"},
    {{{"general.sampling.top_k", NEG, -1, NULL}}, F, "\"general.sampling.top_k\" is -1"},
};

Test(config_gguf, every_wrong_file_is_refused_by_a_sentence_that_names_its_key)
{
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct file f = {.rows = N_ROWS, .n_tokens = N_TOKENS};
        memcpy(f.change, bad[i].change, sizeof f.change);
        struct oct_model_config c = {.n_layers = -7777};
        const oct_status st = load(&f, &c);
        cr_assert_eq(st, bad[i].st, "case %zu (%s) gave %d: %s", i, bad[i].change[0].name, st,
                     oct_last_error());
        cr_assert(strstr(oct_last_error(), bad[i].words), "case %zu: \"%s\" is not in \"%s\"", i,
                  bad[i].words, oct_last_error());
        cr_assert(strstr(oct_last_error(), "/proc/self/fd/"), "case %zu: no file in \"%s\"", i,
                  oct_last_error());
        cr_assert_eq(c.n_layers, -7777, "case %zu", i);
    }
}

Test(config_gguf, more_tokens_than_rows_and_no_vocabulary_at_all_are_refused)
{
    struct oct_model_config c;
    struct file f = {.rows = N_ROWS, .n_tokens = N_ROWS + 1};
    cr_assert_eq(load(&f, &c), F);
    cr_assert(strstr(oct_last_error(), "disagree in vocabulary"), "%s", oct_last_error());
    f = (struct file){.change = {{"llama.vocab_size", DROP, 0, NULL}}};
    cr_assert_eq(load(&f, &c), F);
    cr_assert(strstr(oct_last_error(), "the size of the vocabulary is unknown"), "%s",
              oct_last_error());
}
