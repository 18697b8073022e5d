/* SPDX-License-Identifier: Apache-2.0 */
#include "model/config.h"

#include "base/mem.h"
#include "model/config_case.h"
#include "support/golden.h"

#include <math.h>

static struct oct_model_config load(const char *patch)
{
    struct oct_model_config c;
    const oct_status st = load_patched(llama_json, patch, NULL, NULL, 0, &c);
    cr_assert_eq(st, OCT_OK, "%s: %s", patch, oct_last_error());
    return c;
}

Test(config, a_llama_config_of_transformers_4_is_read_key_by_key)
{
    const struct oct_model_config c = load("{}");
    cr_assert_eq(c.arch, OCT_ARCH_LLAMA);
    cr_assert_str_eq(c.arch_name, "LlamaForCausalLM");
    cr_assert_str_eq(oct_arch_text(c.arch), "llama");
    cr_assert_eq(c.n_layers, 4);
    cr_assert_eq(c.dim, 96);
    cr_assert_eq(c.ff_dim, 200);
    cr_assert_eq(c.n_heads, 6);
    cr_assert_eq(c.n_kv_heads, 2);
    cr_assert_eq(c.head_dim, 16);
    cr_assert_eq(c.vocab_size, 320);
    cr_assert_eq(c.max_positions, 2048);
    cr_assert_eq(c.window, 0);
    cr_assert(!c.tied && !c.qkv_bias && !c.o_bias && !c.mlp_bias && !c.qk_norm);
    cr_assert(!c.rope_interleaved);
    cr_assert_eq(c.norm_eps, 1e-5F);
    cr_assert_eq(c.dtype, OCT_DTYPE_BF16);
    cr_assert_eq(c.rope.kind, OCT_ROPE_DEFAULT);
    cr_assert_eq(c.rope.theta, 500000.0);
    cr_assert_eq(c.rope.rot_dim, 16);
    cr_assert_eq(c.n_stop_tokens, 1);
    cr_assert_eq(c.stop_tokens[0], 2);
    cr_assert(isnan(c.temperature) && isnan(c.top_p) && isnan(c.min_p));
    cr_assert(isnan(c.repetition_penalty));
    cr_assert_eq(c.top_k, -1);
}

/* Everything but arch_name, dtype and what only one spelling can say. */
static void same(const struct oct_model_config *a, const struct oct_model_config *b,
                 const char *name)
{
#define SAME(field) \
    cr_assert_eq(a->field, b->field, "%s: " #field " %g and %g", name, (double)a->field, \
                 (double)b->field)
    SAME(arch);
    SAME(n_layers);
    SAME(dim);
    SAME(ff_dim);
    SAME(n_heads);
    SAME(n_kv_heads);
    SAME(head_dim);
    SAME(vocab_size);
    SAME(max_positions);
    SAME(window);
    SAME(window_from_layer);
    SAME(tied);
    SAME(qkv_bias);
    SAME(o_bias);
    SAME(mlp_bias);
    SAME(qk_norm);
    SAME(norm_eps);
    SAME(dtype);
    SAME(rope.kind);
    SAME(rope.theta);
    SAME(rope.factor);
    SAME(rope.low_freq_factor);
    SAME(rope.high_freq_factor);
    SAME(rope.beta_fast);
    SAME(rope.beta_slow);
    SAME(rope.attention_factor);
    SAME(rope.mscale);
    SAME(rope.mscale_all_dim);
    SAME(rope.truncate);
    SAME(rope.original_max_positions);
    SAME(rope.rot_dim);
    SAME(n_stop_tokens);
    SAME(stop_tokens[0]);
#undef SAME
}

Test(config, what_transformers_5_saves_means_what_the_old_spelling_says)
{
    char path[] = "dir";
    for (int i = 0; oct_golden_names[i]; i++) {
        const char *name = oct_golden_names[i];
        struct oct_golden *g = oct_golden_load(name);
        struct oct_source s = {
            .kind = OCT_SOURCE_HF, .path = path, .config = json_copy((json_t *)g->config)};
        struct oct_model_config saved, spelled;
        cr_assert_eq(oct_config_load(&s, &saved), OCT_OK, "%s: %s", name, oct_last_error());
        json_decref(s.config);
        for (int v5 = 0; v5 < 2; v5++) {
            struct oct_buf text = {0};
            g->tiny.v5 = v5;
            oct_tiny_config_json(&g->tiny, &text);
            s.config = json_loads(text.data, 0, NULL);
            cr_assert_eq(oct_config_load(&s, &spelled), OCT_OK, "%s: %s", name, oct_last_error());
            same(&saved, &spelled, name);
            json_decref(s.config);
            oct_buf_free(&text);
        }
        cr_assert_eq(saved.arch, g->tiny.arch);
        cr_assert_eq(saved.window, g->tiny.window, "%s", name);
        cr_assert_eq(saved.tied, g->tiny.tied, "%s", name);
        cr_assert_eq(saved.rope.kind, g->tiny.rope.kind, "%s", name);
        oct_golden_close(g);
    }
}

Test(config, each_family_has_the_biases_and_norms_of_its_class)
{
    static const struct {
        const char *patch;
        enum oct_arch_id arch;
        int32_t head_dim;
        bool qkv, o, mlp, norm;
    } cases[] = {
        {"{\"attention_bias\":true,\"mlp_bias\":true}", OCT_ARCH_LLAMA, 16, true, true, true,
         false},
        {"{\"architectures\":[\"Qwen2ForCausalLM\"],\"attention_bias\":false}", OCT_ARCH_QWEN2, 16,
         true, false, false, false},
        {"{\"architectures\":[\"Qwen3ForCausalLM\"]}", OCT_ARCH_QWEN3, 128, false, false, false,
         true},
        {"{\"architectures\":[\"Qwen3ForCausalLM\"],\"attention_bias\":true,\"head_dim\":32}",
         OCT_ARCH_QWEN3, 32, true, true, false, true},
        {"{\"architectures\":[\"MistralForCausalLM\"],\"head_dim\":20}", OCT_ARCH_MISTRAL, 20,
         false, false, false, false},
        {"{\"architectures\":\"DROP\",\"model_type\":\"qwen2\"}", OCT_ARCH_QWEN2, 16, true, false,
         false, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct oct_model_config c = load(cases[i].patch);
        cr_assert_eq(c.arch, cases[i].arch, "%s", cases[i].patch);
        cr_assert_eq(c.head_dim, cases[i].head_dim, "%s: %d", cases[i].patch, c.head_dim);
        cr_assert_eq(c.qkv_bias, cases[i].qkv, "%s", cases[i].patch);
        cr_assert_eq(c.o_bias, cases[i].o, "%s", cases[i].patch);
        cr_assert_eq(c.mlp_bias, cases[i].mlp, "%s", cases[i].patch);
        cr_assert_eq(c.qk_norm, cases[i].norm, "%s", cases[i].patch);
    }
}

Test(config, the_window_is_where_the_family_says)
{
#define QWEN "{\"architectures\":[\"Qwen2ForCausalLM\"]"
#define MISTRAL "{\"architectures\":[\"MistralForCausalLM\"]"
#define FULL "\"full_attention\""
#define SLIDE "\"sliding_attention\""
    static const struct {
        const char *patch;
        int32_t window, from;
    } cases[] = {
        {"{\"sliding_window\":64}", 0, 0}, /* llama has none, whatever the key says */
        {MISTRAL "}", 4096, 0},            /* the default of the class */
        {MISTRAL ",\"sliding_window\":null}", 0, 0},
        {MISTRAL ",\"sliding_window\":64}", 64, 0},
        {MISTRAL ",\"sliding_window\":64,\"sliding_window_pattern\":1}", 64, 0},
        {QWEN "}", 0, 0},
        {QWEN ",\"sliding_window\":64,\"max_window_layers\":1}", 0, 0},
        {QWEN ",\"sliding_window\":64,\"max_window_layers\":1,\"use_sliding_window\":true}", 64, 1},
        {QWEN ",\"sliding_window\":64,\"max_window_layers\":0,\"use_sliding_window\":true}", 64, 0},
        {QWEN ",\"sliding_window\":64,\"max_window_layers\":4,\"use_sliding_window\":true}", 0, 0},
        {QWEN ",\"sliding_window\":64,\"use_sliding_window\":true}", 0, 0}, /* 28 layers are full */
        {QWEN ",\"sliding_window\":null,\"max_window_layers\":0,\"use_sliding_window\":true}", 0,
         0},
        {QWEN ",\"sliding_window\":64,\"max_window_layers\":9,\"use_sliding_window\":true,"
              "\"layer_types\":[" FULL "," FULL "," SLIDE "," SLIDE "]}",
         64, 2},
        {QWEN ",\"layer_types\":[" FULL "," FULL "," FULL "," FULL "]}", 0, 0},
        {"{\"layer_types\":[" FULL "," FULL "," FULL "," FULL "]}", 0, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct oct_model_config c = load(cases[i].patch);
        cr_assert_eq(c.window, cases[i].window, "%s: %d", cases[i].patch, c.window);
        cr_assert_eq(c.window_from_layer, cases[i].from, "%s: %d", cases[i].patch,
                     c.window_from_layer);
    }
}

Test(config, rotary_keys_are_found_in_every_place_they_were_ever_written)
{
    struct oct_model_config c = load("{\"rope_theta\":\"DROP\"}");
    cr_assert_eq(c.rope.theta, 10000.0);
    c = load("{\"rope_scaling\":{\"type\":\"linear\",\"factor\":2}}");
    cr_assert_eq(c.rope.kind, OCT_ROPE_LINEAR);
    cr_assert_eq(c.rope.factor, 2.0);
    cr_assert_eq(c.rope.theta, 500000.0);
    /* rope_type wins over type, the theta inside over the one outside */
    c = load("{\"rope_parameters\":{\"type\":\"linear\",\"rope_type\":\"yarn\",\"factor\":4.0,"
             "\"rope_theta\":1000000}}");
    cr_assert_eq(c.rope.kind, OCT_ROPE_YARN);
    cr_assert_eq(c.rope.theta, 1e6);
    cr_assert_eq(c.rope.original_max_positions, 2048); /* max_position_embeddings */
    cr_assert_eq(c.rope.beta_fast, 32.0);
    cr_assert_eq(c.rope.beta_slow, 1.0);
    cr_assert(c.rope.truncate);
    cr_assert_eq(c.rope.attention_factor, 0.0);
    /* rope_scaling wins over rope_parameters unless it is empty */
    c = load("{\"rope_scaling\":{},\"rope_parameters\":{\"rope_type\":\"linear\",\"factor\":3}}");
    cr_assert_eq(c.rope.factor, 3.0);
    c = load("{\"rope_scaling\":{\"type\":\"default\"},\"rope_parameters\":{\"rope_type\":"
             "\"linear\",\"factor\":3}}");
    cr_assert_eq(c.rope.kind, OCT_ROPE_DEFAULT);
    c = load("{\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8.0,\"low_freq_factor\":1.0,"
             "\"high_freq_factor\":4.0,\"original_max_position_embeddings\":1024}}");
    cr_assert_eq(c.rope.kind, OCT_ROPE_LLAMA3);
    cr_assert_eq(c.rope.low_freq_factor, 1.0);
    cr_assert_eq(c.rope.high_freq_factor, 4.0);
    cr_assert_eq(c.rope.original_max_positions, 1024);
    /* the key at the top has priority, a null factor is the ratio of the lengths */
    c = load("{\"original_max_position_embeddings\":512,\"rope_scaling\":{\"rope_type\":\"yarn\","
             "\"factor\":null,\"original_max_position_embeddings\":1024,\"truncate\":false,"
             "\"mscale\":0.7,\"mscale_all_dim\":0.5,\"attention_factor\":1.5,\"beta_fast\":16,"
             "\"beta_slow\":2}}");
    cr_assert_eq(c.rope.original_max_positions, 512);
    cr_assert_eq(c.rope.factor, 4.0);
    cr_assert(!c.rope.truncate);
    cr_assert_eq(c.rope.mscale, 0.7);
    cr_assert_eq(c.rope.mscale_all_dim, 0.5);
    cr_assert_eq(c.rope.attention_factor, 1.5);
    cr_assert_eq(c.rope.beta_fast, 16.0);
    cr_assert_eq(c.rope.beta_slow, 2.0);
    c = load("{\"partial_rotary_factor\":0.5}");
    cr_assert_eq(c.rope.rot_dim, 8);
    c = load("{\"rope_parameters\":{\"rope_type\":\"default\",\"partial_rotary_factor\":0.25}}");
    cr_assert_eq(c.rope.rot_dim, 4);
}

Test(config, the_generation_config_decides_over_end_tokens_and_sampling)
{
    struct oct_model_config c;
    cr_assert_eq(load_patched(llama_json, "{\"eos_token_id\":[5,6,5]}", NULL, NULL, 0, &c), OCT_OK);
    cr_assert_eq(c.n_stop_tokens, 2);
    cr_assert(c.stop_tokens[0] == 5 && c.stop_tokens[1] == 6);
    cr_assert_eq(load_patched(llama_json, "{}",
                              "{\"eos_token_id\":[301,308,309],\"temperature\":0.6,\"top_p\":0.9,"
                              "\"top_k\":20,\"min_p\":0.05,\"repetition_penalty\":1.05,"
                              "\"do_sample\":true}",
                              NULL, 0, &c),
                 OCT_OK, "%s", oct_last_error());
    cr_assert_eq(c.n_stop_tokens, 3);
    cr_assert(c.stop_tokens[0] == 301 && c.stop_tokens[1] == 308 && c.stop_tokens[2] == 309);
    cr_assert_eq(c.temperature, 0.6F);
    cr_assert_eq(c.top_p, 0.9F);
    cr_assert_eq(c.top_k, 20);
    cr_assert_eq(c.min_p, 0.05F);
    cr_assert_eq(c.repetition_penalty, 1.05F);
    /* no end token there: the model's own; do_sample false: greedy */
    cr_assert_eq(
        load_patched(llama_json, "{}", "{\"do_sample\":false,\"temperature\":0.7}", NULL, 0, &c),
        OCT_OK);
    cr_assert_eq(c.n_stop_tokens, 1);
    cr_assert_eq(c.stop_tokens[0], 2);
    cr_assert_eq(c.temperature, 0.0F);
    cr_assert_eq(load_patched(llama_json, "{\"eos_token_id\":null}", NULL, NULL, 0, &c), OCT_OK);
    cr_assert_eq(c.n_stop_tokens, 0);
}

static struct oct_tensor matrix(const char *name, enum oct_dtype dtype, uint64_t rows,
                                uint64_t cols)
{
    return (struct oct_tensor){
        .name = name, .dtype = dtype, .n_dims = 2, .dims = {rows, cols}, .n_elems = rows * cols};
}

Test(config, the_tensors_decide_over_tying_and_fill_in_what_is_not_said)
{
    struct oct_tensor t[] = {matrix("lm_head.weight", OCT_DTYPE_F32, 320, 96),
                             matrix("model.embed_tokens.weight", OCT_DTYPE_F16, 320, 96)};
    struct oct_model_config c;
    /* both are there: not tied, as the reference does when they differ */
    cr_assert_eq(load_patched(llama_json, "{\"tie_word_embeddings\":true}", NULL, t, 2, &c),
                 OCT_OK);
    cr_assert(!c.tied);
    cr_assert_eq(load_patched(llama_json, "{\"tie_word_embeddings\":false}", NULL, t + 1, 1, &c),
                 OCT_OK);
    cr_assert(c.tied);
    cr_assert_eq(load_patched(llama_json, "{\"vocab_size\":\"DROP\",\"torch_dtype\":\"DROP\"}",
                              NULL, t + 1, 1, &c),
                 OCT_OK);
    cr_assert_eq(c.vocab_size, 320);
    cr_assert_eq(c.dtype, OCT_DTYPE_F16);
    cr_assert_eq(load("{\"tie_word_embeddings\":true}").tied, true);
    cr_assert_eq(load("{\"torch_dtype\":\"DROP\",\"dtype\":\"float16\"}").dtype, OCT_DTYPE_F16);
}

Test(config, every_number_may_stand_at_the_ends_of_its_range)
{
    static const char *const patches[] = {
        "{\"num_hidden_layers\":1}",
        "{\"num_hidden_layers\":1024}",
        "{\"hidden_size\":65536,\"num_attention_heads\":1024,\"num_key_value_heads\":1024}",
        "{\"hidden_size\":1,\"head_dim\":2}",
        "{\"intermediate_size\":1}",
        "{\"intermediate_size\":1048576}",
        "{\"num_attention_heads\":1024,\"num_key_value_heads\":1,\"head_dim\":1024}",
        "{\"vocab_size\":16777216}",
        "{\"max_position_embeddings\":1}",
        "{\"max_position_embeddings\":134217728}",
        "{\"rms_norm_eps\":1}",
        "{\"rope_theta\":1}",
        "{\"eos_token_id\":319}",
        "{\"eos_token_id\":[0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15]}",
        "{\"hidden_act\":\"swish\",\"pretraining_tp\":4,\"quantization_config\":null}",
        "{\"final_logit_softcapping\":null,\"attn_logit_softcapping\":0.0,\"logit_scale\":1}",
    };
    for (size_t i = 0; i < sizeof patches / sizeof patches[0]; i++) {
        (void)load(patches[i]);
    }
}

Test(config, reading_it_allocates_nothing_that_could_fail)
{
    char path[] = "dir";
    struct oct_source s = {
        .kind = OCT_SOURCE_HF, .path = path, .config = patched(llama_json, "{}")};
    struct oct_model_config c;
    const struct oct_mem_stats before = oct_mem_stats();
    cr_assert_eq(oct_config_load(&s, &c), OCT_OK);
    cr_assert_eq(oct_mem_stats().n_allocs, before.n_allocs);
    json_decref(s.config);
}
