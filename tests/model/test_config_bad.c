/* SPDX-License-Identifier: Apache-2.0
 *
 * Configurations that are wrong, absurd or ask for what this build does not compute: each must give
 * its status and a sentence that names the key. */
#include "model/config.h"

#include "model/config_case.h"

struct bad {
    const char *patch;
    oct_status st;
    const char *words; /* must be in the sentence */
};

#define F OCT_E_FORMAT
#define U OCT_E_UNSUPPORTED
#define QWEN "{\"architectures\":[\"Qwen2ForCausalLM\"],"
#define QWEN3 "{\"architectures\":[\"Qwen3ForCausalLM\"],"
#define MISTRAL "{\"architectures\":[\"MistralForCausalLM\"],"
#define ROPE(text) "{\"rope_scaling\":{" text "}}"
#define YARN(text) ROPE("\"rope_type\":\"yarn\",\"factor\":4" text)

static const struct bad cases[] = {
    /* which model */
    {"{\"architectures\":[\"GPT2LMHeadModel\"]}", U, "\"GPT2LMHeadModel\" is not supported"},
    {"{\"architectures\":[\"LlamaForSequenceClassification\"]}", U, "LlamaForCausalLM, Qwen2"},
    {"{\"architectures\":[]}", F, "\"architectures\" is a list"},
    {"{\"architectures\":\"LlamaForCausalLM\"}", F, "\"architectures\" is the string"},
    {"{\"architectures\":[7]}", F, "\"architectures\""},
    {"{\"architectures\":[\"\\u0001\\n\\u001b[31m\"]}", U, "\"???[31m\""},
    {"{\"architectures\":\"DROP\",\"model_type\":\"DROP\"}", F,
     "not the configuration of a language"},
    {"{\"architectures\":\"DROP\",\"model_type\":\"mamba\"}", U, "\"mamba\""},
    {"{\"architectures\":\"DROP\",\"model_type\":3}", F,
     "\"model_type\" is 3; it must be a string"},
    /* sizes: absent, zero, negative, too large, wrong type */
    {"{\"num_hidden_layers\":\"DROP\"}", F, "\"num_hidden_layers\" is absent"},
    {"{\"num_hidden_layers\":0}", F, "\"num_hidden_layers\" is 0; it must be an integer from 1"},
    {"{\"num_hidden_layers\":1025}", F, "\"num_hidden_layers\" is 1025"},
    {"{\"num_hidden_layers\":2147483648}", F, "\"num_hidden_layers\" is 2147483648"},
    {"{\"num_hidden_layers\":9223372036854775807}", F, "9223372036854775807"},
    {"{\"num_hidden_layers\":-9223372036854775807}", F, "-9223372036854775807"},
    {"{\"num_hidden_layers\":4.0}", F, "\"num_hidden_layers\" is 4; it must be an integer"},
    {"{\"num_hidden_layers\":\"4\"}", F, "the string \"4\""},
    {"{\"num_hidden_layers\":null}", F, "\"num_hidden_layers\" is null"},
    {"{\"num_hidden_layers\":[4]}", F, "a list"},
    {"{\"num_hidden_layers\":{}}", F, "an object"},
    {"{\"num_hidden_layers\":true}", F, "is true"},
    {"{\"hidden_size\":0}", F, "\"hidden_size\" is 0"},
    {"{\"hidden_size\":-96}", F, "\"hidden_size\" is -96"},
    {"{\"hidden_size\":65537}", F, "\"hidden_size\" is 65537"},
    {"{\"hidden_size\":97}", F, "no head size"},
    {"{\"hidden_size\":4}", F, "no head size"},
    {"{\"intermediate_size\":0}", F, "\"intermediate_size\" is 0"},
    {"{\"intermediate_size\":1048577}", F, "\"intermediate_size\""},
    {"{\"num_attention_heads\":0}", F, "\"num_attention_heads\" is 0"},
    {"{\"num_attention_heads\":1025}", F, "\"num_attention_heads\" is 1025"},
    {"{\"num_attention_heads\":5}", F, "no head size"},
    {"{\"num_key_value_heads\":0}", F, "\"num_key_value_heads\" is 0"},
    {"{\"num_key_value_heads\":4}", F, "6 attention heads cannot share 4"},
    {"{\"num_key_value_heads\":12}", F, "6 attention heads cannot share 12"},
    {QWEN "\"num_key_value_heads\":\"DROP\"}", F, "\"num_key_value_heads\" is absent"},
    {"{\"head_dim\":0}", F, "\"head_dim\" is 0"},
    {"{\"head_dim\":15}", F, "the head size 15 is odd"},
    {"{\"head_dim\":1026}", F, "\"head_dim\" is 1026"},
    {"{\"hidden_size\":65536,\"num_attention_heads\":1,\"num_key_value_heads\":1}", F,
     "no head size"},
    {"{\"hidden_size\":18}", F, "the head size 3 is odd"},
    {"{\"vocab_size\":0}", F, "\"vocab_size\" is 0"},
    {"{\"vocab_size\":\"DROP\"}", F, "\"vocab_size\" is absent"},
    {"{\"vocab_size\":16777217}", F, "\"vocab_size\""},
    {"{\"max_position_embeddings\":0}", F, "\"max_position_embeddings\" is 0"},
    {"{\"max_position_embeddings\":134217729}", F, "\"max_position_embeddings\""},
    {"{\"rms_norm_eps\":0}", F, "\"rms_norm_eps\" is 0"},
    {"{\"rms_norm_eps\":-1e-5}", F, "\"rms_norm_eps\" is -1"},
    {"{\"rms_norm_eps\":1e300}", F, "\"rms_norm_eps\""},
    {"{\"rms_norm_eps\":\"1e-5\"}", F, "\"rms_norm_eps\" is the string"},
    {"{\"tie_word_embeddings\":1}", F, "\"tie_word_embeddings\" is 1; it must be true or false"},
    {"{\"attention_bias\":\"no\"}", F, "\"attention_bias\""},
    {"{\"mlp_bias\":0}", F, "\"mlp_bias\""},
    {"{\"torch_dtype\":\"float8_e4m3fn\"}", U, "float8_e4m3fn"},
    {"{\"dtype\":16}", F, "\"dtype\" is 16"},
    /* end tokens */
    {"{\"eos_token_id\":320}", F, "disagree in vocabulary"},
    {"{\"eos_token_id\":-1}", F, "\"eos_token_id\" is -1, which is no token"},
    {"{\"eos_token_id\":[1,\"2\"]}", F, "\"eos_token_id\""},
    {"{\"eos_token_id\":2.0}", F, "\"eos_token_id\""},
    {"{\"eos_token_id\":[0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16]}", OCT_E_LIMIT, "16 end tokens"},
    /* rotary embedding */
    {"{\"rope_theta\":0}", F, "\"rope_theta\" is 0"},
    {"{\"rope_theta\":-10000.0}", F, "\"rope_theta\""},
    {"{\"rope_theta\":1e19}", F, "\"rope_theta\""},
    {"{\"rope_theta\":\"big\"}", F, "\"rope_theta\" is the string \"big\""},
    {"{\"rope_scaling\":[]}", F, "\"rope_scaling\" is a list; it must be an object"},
    {"{\"rope_parameters\":5}", F, "\"rope_parameters\" is 5"},
    {ROPE("\"type\":\"dynamic\",\"factor\":2"), U, "\"dynamic\""},
    {ROPE("\"rope_type\":\"longrope\""), U, "\"longrope\"; this build knows default, linear"},
    {ROPE("\"rope_type\":4"), F, "\"rope_scaling.rope_type\" is 4"},
    {ROPE("\"type\":\"linear\""), F, "\"rope_scaling.factor\" is absent"},
    {ROPE("\"type\":\"linear\",\"factor\":0"), F, "\"rope_scaling.factor\" is 0"},
    {ROPE("\"type\":\"linear\",\"factor\":0.5"), F, "\"rope_scaling.factor\" is 0.5"},
    {ROPE("\"type\":\"linear\",\"factor\":1e7"), F, "\"rope_scaling.factor\""},
    {ROPE("\"type\":\"default\",\"mrope_section\":[1,2]"), U, "mrope_section"},
    {ROPE("\"full_attention\":{\"rope_type\":\"default\"}"), U, "full_attention"},
    {ROPE("\"rope_type\":\"llama3\",\"factor\":8,\"high_freq_factor\":4"), F, "low_freq_factor"},
    {ROPE("\"rope_type\":\"llama3\",\"factor\":8,\"low_freq_factor\":1"), F, "high_freq_factor"},
    {ROPE("\"rope_type\":\"llama3\",\"factor\":8,\"low_freq_factor\":4,\"high_freq_factor\":4"), F,
     "must be over low_freq_factor"},
    {ROPE("\"rope_type\":\"llama3\",\"factor\":8,\"low_freq_factor\":0,\"high_freq_factor\":4"), F,
     "low_freq_factor\" is 0"},
    {ROPE("\"rope_type\":\"yarn\""), F, "\"rope_scaling.factor\" is absent"},
    {YARN(",\"original_max_position_embeddings\":0"), F, "original_max_position_embeddings\" is 0"},
    {YARN(",\"beta_fast\":1,\"beta_slow\":2"), F, "beta_fast"},
    {YARN(",\"beta_fast\":-1"), F, "\"rope_scaling.beta_fast\" is -1"},
    {YARN(",\"attention_factor\":0"), F, "\"rope_scaling.attention_factor\" is 0"},
    {YARN(",\"truncate\":1"), F, "\"rope_scaling.truncate\" is 1"},
    {YARN(",\"rope_theta\":1"), F, "theta must be over 1"},
    {"{\"partial_rotary_factor\":0}", F, "rotary embedding over 0 elements"},
    {"{\"partial_rotary_factor\":0.3,\"head_dim\":10}", F, "rotary embedding over 3 elements"},
    {"{\"partial_rotary_factor\":1.5}", F, "\"partial_rotary_factor\" is 1.5"},
    /* sliding window */
    {MISTRAL "\"sliding_window\":0}", F, "\"sliding_window\" is 0"},
    {MISTRAL "\"sliding_window\":-5}", F, "\"sliding_window\" is -5"},
    {MISTRAL "\"sliding_window\":64,\"sliding_window_pattern\":2}", U,
     "\"sliding_window_pattern\""},
    {QWEN "\"use_sliding_window\":\"yes\"}", F, "\"use_sliding_window\""},
    {QWEN "\"use_sliding_window\":true,\"max_window_layers\":-1}", F, "\"max_window_layers\""},
    {"{\"layer_types\":[\"full_attention\"]}", F, "a list of 4 strings"},
    {"{\"layer_types\":[\"full_attention\",\"linear_attention\",\"full_attention\","
     "\"full_attention\"]}",
     U, "\"layer_types\"[1] is \"linear_attention\""},
    {"{\"layer_types\":[1,2,3,4]}", U, "not a string"},
    {QWEN "\"layer_types\":[\"full_attention\",\"full_attention\",\"sliding_attention\","
          "\"sliding_attention\"]}",
     F, "contradicts itself"},
    {QWEN
     "\"use_sliding_window\":true,\"sliding_window\":64,\"layer_types\":[\"sliding_attention\","
     "\"full_attention\",\"sliding_attention\",\"full_attention\"]}",
     U, "full layer (1) after a sliding one (0)"},
    /* what would change results */
    {"{\"hidden_act\":\"gelu\"}", U, "\"hidden_act\" is \"gelu\""},
    {"{\"quantization_config\":{\"quant_method\":\"gptq\",\"bits\":4}}", U,
     "quant_method \"gptq\""},
    {"{\"quantization_config\":{}}", U, "quant_method \"unknown\""},
    {"{\"quantization_config\":\"x\"}", U, "quant_method \"unknown\""},
    {"{\"final_logit_softcapping\":30.0}", U, "\"final_logit_softcapping\""},
    {"{\"attn_logit_softcapping\":50}", U, "\"attn_logit_softcapping\""},
    {"{\"logit_scale\":0.0625}", U, "\"logit_scale\""},
    {"{\"num_local_experts\":8}", U, "\"num_local_experts\""},
    {"{\"pruned_heads\":{\"0\":[1]}}", U, "\"pruned_heads\""},
    {"{\"is_encoder_decoder\":true}", U, "\"is_encoder_decoder\""},
    {"{\"attention_multiplier\":0.5}", U, "\"attention_multiplier\""},
    {"{\"use_qk_norm\":true}", U, "use_qk_norm"},
    {QWEN3 "\"use_qk_norm\":false}", U, "use_qk_norm"},
    {MISTRAL "\"attention_bias\":true}", U, "\"attention_bias\" is true"},
    {QWEN "\"mlp_bias\":true}", U, "\"mlp_bias\" is true"},
};

/* A value no reader can have left by accident: out must stay untouched on failure. */
enum { UNTOUCHED = -7777 };

Test(config_bad, every_wrong_config_is_refused_by_a_sentence_that_names_its_key)
{
    const size_t n = sizeof cases / sizeof cases[0];
    cr_assert_geq(n, 60u);
    for (size_t i = 0; i < n; i++) {
        struct oct_model_config c = {.n_layers = UNTOUCHED};
        const oct_status st = load_patched(llama_json, cases[i].patch, NULL, NULL, 0, &c);
        cr_assert_eq(st, cases[i].st, "%s gave %d: %s", cases[i].patch, st, oct_last_error());
        const char *text = oct_last_error();
        cr_assert(strstr(text, cases[i].words), "%s: \"%s\" is not in \"%s\"", cases[i].patch,
                  cases[i].words, text);
        cr_assert(strstr(text, "dir"), "%s: no file in \"%s\"", cases[i].patch, text);
        cr_assert_eq(c.n_layers, UNTOUCHED, "%s", cases[i].patch);
    }
}

Test(config_bad, a_wrong_generation_config_is_named_as_such)
{
    static const struct bad wrong[] = {
        {"[]", F, "is not a JSON object"},
        {"{\"temperature\":-1}", F, "\"temperature\" is -1"},
        {"{\"temperature\":101}", F, "\"temperature\" is 101"},
        {"{\"temperature\":\"hot\"}", F, "\"temperature\" is the string \"hot\""},
        {"{\"top_p\":0}", F, "\"top_p\" is 0"},
        {"{\"top_p\":1.01}", F, "\"top_p\""},
        {"{\"top_k\":-1}", F, "\"top_k\" is -1"},
        {"{\"top_k\":2.5}", F, "\"top_k\" is 2.5"},
        {"{\"min_p\":2}", F, "\"min_p\" is 2"},
        {"{\"repetition_penalty\":0}", F, "\"repetition_penalty\" is 0"},
        {"{\"do_sample\":1}", F, "\"do_sample\" is 1"},
        {"{\"eos_token_id\":99999}", F, "disagree in vocabulary"},
        {"{\"eos_token_id\":{}}", F, "\"eos_token_id\" is an object"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct oct_model_config c = {.n_layers = UNTOUCHED};
        const oct_status st = load_patched(llama_json, "{}", wrong[i].patch, NULL, 0, &c);
        cr_assert_eq(st, wrong[i].st, "%s gave %d: %s", wrong[i].patch, st, oct_last_error());
        cr_assert(strstr(oct_last_error(), wrong[i].words), "%s: %s", wrong[i].patch,
                  oct_last_error());
        cr_assert(strstr(oct_last_error(), "dir/generation_config.json"), "%s", oct_last_error());
        cr_assert_eq(c.n_layers, UNTOUCHED, "%s", wrong[i].patch);
    }
}

Test(config_bad, an_embedding_that_does_not_fit_is_refused)
{
    static const struct {
        uint32_t n_dims;
        uint64_t dims[3];
        const char *words;
    } shapes[] = {
        {2, {321, 96}, "has 321 rows"},
        {2, {320, 97}, "rows of 97 elements; the configuration says 96"},
        {1, {320}, "must have two"},
        {3, {320, 96, 1}, "must have two"},
        {0, {0}, "must have two"},
        {2, {0, 96}, "must have two"},
        {2, {1ull << 40, 96}, "must have two"},
    };
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        struct oct_tensor t = {.name = "model.embed_tokens.weight", .n_dims = shapes[i].n_dims};
        memcpy(t.dims, shapes[i].dims, sizeof shapes[i].dims);
        struct oct_model_config c = {.n_layers = UNTOUCHED};
        cr_assert_eq(load_patched(llama_json, "{}", NULL, &t, 1, &c), F, "%s", shapes[i].words);
        cr_assert(strstr(oct_last_error(), shapes[i].words), "%s: %s", shapes[i].words,
                  oct_last_error());
        cr_assert_eq(c.n_layers, UNTOUCHED);
    }
}

Test(config_bad, a_config_that_is_no_object_is_refused)
{
    char path[] = "dir";
    struct oct_source s = {.kind = OCT_SOURCE_HF, .path = path, .config = json_array()};
    struct oct_model_config c;
    cr_assert_eq(oct_config_load(&s, &c), F);
    cr_assert(strstr(oct_last_error(), "dir/config.json: is not a JSON object"), "%s",
              oct_last_error());
    json_decref(s.config);
}
