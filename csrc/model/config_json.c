/* SPDX-License-Identifier: Apache-2.0
 *
 * config.json and generation_config.json of a Hugging Face checkpoint, in the spelling of every
 * transformers version up to 5. Where a key is absent, the reference's default for the class
 * holds; a key that would change results in a way this build does not compute is refused. */
#include "model/config_read.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* The defaults of transformers' configuration classes that are not the same for all. */
struct family {
    const char *class_name, *model_type;
    enum oct_arch_id arch;
    int32_t head_dim; /* 0: dim / n_heads */
};
static const struct family families[] = {
    {"LlamaForCausalLM", "llama", OCT_ARCH_LLAMA, 0},
    {"Qwen2ForCausalLM", "qwen2", OCT_ARCH_QWEN2, 0},
    {"Qwen3ForCausalLM", "qwen3", OCT_ARCH_QWEN3, 128},
    {"MistralForCausalLM", "mistral", OCT_ARCH_MISTRAL, 0},
};
enum { N_FAMILIES = sizeof families / sizeof families[0] };
enum { DEFAULT_WINDOW = 4096, DEFAULT_WINDOW_LAYERS = 28 };

/* ---- which model ---- */

/* "architectures" decides; only where it is absent, "model_type" does. */
static oct_status find_family(const struct oct_json_keys *k, const struct family **out,
                              char *arch_name, size_t size)
{
    const json_t *list = oct_json_key(k, "architectures");
    const char *name = NULL;
    if (list) {
        name = json_string_value(json_array_get(list, 0));
        if (!name) {
            return oct_json_wrong(k, "architectures", "a list with the name of a class");
        }
    } else {
        OCT_TRY(oct_json_str(k, "model_type", &name));
        if (!name) {
            return OCT_FAIL(OCT_E_FORMAT,
                            "%s/%s: has neither \"architectures\" nor \"model_type\"; this is not "
                            "the configuration of a language model",
                            k->dir, k->name);
        }
    }
    char quoted[64];
    (void)oct_error_quote(quoted, sizeof quoted, name, strlen(name));
    for (size_t i = 0; i < N_FAMILIES; i++) {
        if (!strcmp(name, list ? families[i].class_name : families[i].model_type)) {
            (void)snprintf(arch_name, size, "%s", quoted);
            *out = &families[i];
            return OCT_OK;
        }
    }
    return OCT_FAIL(OCT_E_UNSUPPORTED,
                    "%s/%s: architecture \"%s\" is not supported; this build knows "
                    "LlamaForCausalLM, Qwen2ForCausalLM, Qwen3ForCausalLM and MistralForCausalLM",
                    k->dir, k->name, quoted);
}

/* ---- what is refused ---- */

enum refuse_when { ANY_VALUE, NOT_FALSE, NOT_ONE, NOT_ZERO, NOT_EMPTY };

/* Keys that other models, or forks of these, use to compute something else. */
static const struct {
    const char *key;
    enum refuse_when when;
} refused[] = {
    {"attn_logit_softcapping", NOT_ZERO},
    {"final_logit_softcapping", NOT_ZERO},
    {"attention_logit_cap", NOT_ZERO},
    {"query_pre_attn_scalar", ANY_VALUE},
    {"attention_multiplier", ANY_VALUE},
    {"embedding_multiplier", NOT_ONE},
    {"residual_multiplier", NOT_ONE},
    {"logits_scaling", NOT_ONE},
    {"logit_scale", NOT_ONE},
    {"scale_emb", NOT_ONE},
    {"scale_depth", ANY_VALUE},
    {"use_parallel_residual", NOT_FALSE},
    {"parallel_attn", NOT_FALSE},
    {"alibi", NOT_FALSE},
    {"is_encoder_decoder", NOT_FALSE},
    {"add_cross_attention", NOT_FALSE},
    {"use_bidirectional_attention", NOT_FALSE},
    {"attention_chunk_size", ANY_VALUE},
    {"no_rope_layers", NOT_EMPTY},
    {"no_rope_layer_interval", NOT_ZERO},
    {"attn_temperature_tuning", NOT_FALSE},
    {"num_experts", NOT_ZERO},
    {"num_local_experts", NOT_ZERO},
    {"n_routed_experts", NOT_ZERO},
    {"pruned_heads", NOT_EMPTY},
    {"compression_config", ANY_VALUE},
};

static bool refuses(enum refuse_when when, const json_t *v)
{
    switch (when) {
    case ANY_VALUE:
        return true;
    case NOT_FALSE:
        return !json_is_false(v);
    case NOT_ONE:
        return !json_is_number(v) || json_number_value(v) != 1.0;
    case NOT_ZERO:
        return !json_is_false(v) && (!json_is_number(v) || json_number_value(v) != 0.0);
    case NOT_EMPTY:
        return !(json_is_array(v) && json_array_size(v) == 0) &&
               !(json_is_object(v) && json_object_size(v) == 0);
    }
    return true;
}

static oct_status refuse_unknown(const struct oct_json_keys *k, const struct family *f)
{
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        const json_t *v = oct_json_key(k, refused[i].key);
        if (v && refuses(refused[i].when, v)) {
            return OCT_FAIL(OCT_E_UNSUPPORTED,
                            "%s/%s: key \"%s\" asks for a computation that this build does not "
                            "know for %s; the results would be wrong",
                            k->dir, k->name, refused[i].key, f->class_name);
        }
    }
    const json_t *q = oct_json_key(k, "quantization_config");
    if (q) {
        char quoted[64] = "unknown";
        const json_t *method = json_object_get(q, "quant_method");
        if (json_is_string(method)) {
            (void)oct_error_quote(quoted, sizeof quoted, json_string_value(method),
                                  json_string_length(method));
        }
        return OCT_FAIL(OCT_E_UNSUPPORTED,
                        "%s/%s: \"quantization_config\" with quant_method \"%s\" is not supported; "
                        "use the unquantised checkpoint or a GGUF file",
                        k->dir, k->name, quoted);
    }
    const char *act = "silu";
    OCT_TRY(oct_json_str(k, "hidden_act", &act));
    if (strcmp(act, "silu") != 0 && strcmp(act, "swish") != 0) {
        char quoted[64];
        return OCT_FAIL(OCT_E_UNSUPPORTED,
                        "%s/%s: \"hidden_act\" is \"%s\"; this build knows \"silu\"", k->dir,
                        k->name, oct_error_quote(quoted, sizeof quoted, act, strlen(act)));
    }
    return OCT_OK;
}

/* ---- sizes ---- */

static oct_status read_sizes(const struct oct_json_keys *k, const struct family *f,
                             struct oct_model_config *c)
{
    OCT_TRY(
        oct_json_int(k, "num_hidden_layers", OCT_KEY_REQUIRED, 1, OCT_MAX_LAYERS, &c->n_layers));
    OCT_TRY(oct_json_int(k, "hidden_size", OCT_KEY_REQUIRED, 1, OCT_MAX_DIM, &c->dim));
    OCT_TRY(oct_json_int(k, "intermediate_size", OCT_KEY_REQUIRED, 1, OCT_MAX_FF_DIM, &c->ff_dim));
    OCT_TRY(
        oct_json_int(k, "num_attention_heads", OCT_KEY_REQUIRED, 1, OCT_MAX_HEADS, &c->n_heads));
    /* null means as many as heads; absent does so for llama only: the other classes fall back to
     * the number of one particular model, which nobody can mean. */
    const bool said = json_object_get(k->obj, "num_key_value_heads") != NULL;
    c->n_kv_heads = c->n_heads;
    OCT_TRY(oct_json_int(k, "num_key_value_heads",
                         said || f->arch == OCT_ARCH_LLAMA ? OCT_KEY_OPTIONAL : OCT_KEY_REQUIRED, 1,
                         OCT_MAX_HEADS, &c->n_kv_heads));
    c->head_dim = f->head_dim;
    OCT_TRY(oct_json_int(k, "head_dim", OCT_KEY_OPTIONAL, 2, OCT_MAX_HEAD_DIM, &c->head_dim));
    if (c->head_dim == 0) {
        c->head_dim = c->dim / c->n_heads;
        if (c->dim % c->n_heads != 0 || c->head_dim > OCT_MAX_HEAD_DIM) {
            return OCT_FAIL(OCT_E_FORMAT,
                            "%s/%s: \"hidden_size\" %" PRId32
                            " over \"num_attention_heads\" %" PRId32
                            " gives no head size from 2 to %d; the configuration is wrong or "
                            "needs \"head_dim\"",
                            k->dir, k->name, c->dim, c->n_heads, OCT_MAX_HEAD_DIM);
        }
    }
    OCT_TRY(oct_json_int(k, "max_position_embeddings", OCT_KEY_REQUIRED, 1, OCT_MAX_POSITIONS,
                         &c->max_positions));
    double eps = 1e-6;
    OCT_TRY(oct_json_num(k, "rms_norm_eps", OCT_KEY_OPTIONAL, 1e-20, 1.0, &eps));
    c->norm_eps = (float)eps;
    return OCT_OK;
}

static oct_status read_vocab(const struct oct_source *s, const struct oct_json_keys *k,
                             struct oct_model_config *c)
{
    int32_t rows;
    OCT_TRY(oct_config_embedding_rows(s, "model.embed_tokens.weight", c, &rows));
    c->vocab_size = rows;
    OCT_TRY(oct_json_int(k, "vocab_size", rows ? OCT_KEY_OPTIONAL : OCT_KEY_REQUIRED, 1,
                         OCT_MAX_VOCAB, &c->vocab_size));
    if (rows && rows != c->vocab_size) {
        return OCT_FAIL(OCT_E_FORMAT,
                        "%s/%s: \"vocab_size\" is %" PRId32
                        " but tensor model.embed_tokens.weight has %" PRId32
                        " rows; config.json does not belong to these weights",
                        k->dir, k->name, c->vocab_size, rows);
    }
    /* The reference ties the head only if the files do not hold one of their own. */
    OCT_TRY(oct_json_bool(k, "tie_word_embeddings", &c->tied));
    if (rows) {
        c->tied = oct_source_find(s, "lm_head.weight") == NULL;
    }
    return OCT_OK;
}

static oct_status read_biases(const struct oct_json_keys *k, const struct family *f,
                              struct oct_model_config *c)
{
    bool attention = false, mlp = false;
    OCT_TRY(oct_json_bool(k, "attention_bias", &attention));
    OCT_TRY(oct_json_bool(k, "mlp_bias", &mlp));
    c->qk_norm = f->arch == OCT_ARCH_QWEN3;
    if (f->arch == OCT_ARCH_QWEN2) { /* fixed in the class, whatever the key says */
        c->qkv_bias = true;
    } else {
        c->qkv_bias = attention;
        c->o_bias = attention;
    }
    c->mlp_bias = mlp;
    if ((f->arch == OCT_ARCH_MISTRAL && attention) || (f->arch != OCT_ARCH_LLAMA && mlp)) {
        return OCT_FAIL(OCT_E_UNSUPPORTED, "%s/%s: \"%s\" is true, which %s does not know", k->dir,
                        k->name, mlp ? "mlp_bias" : "attention_bias", f->class_name);
    }
    bool qk_norm = c->qk_norm;
    OCT_TRY(oct_json_bool(k, "use_qk_norm", &qk_norm));
    OCT_TRY(oct_json_bool(k, "qk_layernorm", &qk_norm));
    if (qk_norm != c->qk_norm) {
        return OCT_FAIL(OCT_E_UNSUPPORTED,
                        "%s/%s: \"use_qk_norm\" or \"qk_layernorm\" is %s, which %s does not know",
                        k->dir, k->name, qk_norm ? "true" : "false", f->class_name);
    }
    return OCT_OK;
}

static oct_status read_dtype(const struct oct_json_keys *k, struct oct_model_config *c)
{
    static const struct {
        const char *name;
        enum oct_dtype dtype;
    } names[] = {
        {"float32", OCT_DTYPE_F32}, {"bfloat16", OCT_DTYPE_BF16}, {"float16", OCT_DTYPE_F16}};
    const char *name = NULL;
    OCT_TRY(oct_json_str(k, "torch_dtype", &name)); /* the name before transformers 5 */
    OCT_TRY(oct_json_str(k, "dtype", &name));
    if (!name || !strcmp(name, "auto")) {
        return OCT_OK;
    }
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (!strcmp(name, names[i].name)) {
            c->dtype = names[i].dtype;
            return OCT_OK;
        }
    }
    char quoted[64];
    return OCT_FAIL(OCT_E_UNSUPPORTED,
                    "%s/%s: \"dtype\" is \"%s\"; this build knows float32, bfloat16 and float16",
                    k->dir, k->name, oct_error_quote(quoted, sizeof quoted, name, strlen(name)));
}

/* ---- sliding window ---- */

/* Reads "layer_types": *first_sliding is the layer from which all slide, n_layers if none does, -1
 * if the key is absent. */
static oct_status read_layer_types(const struct oct_json_keys *k, int32_t n_layers,
                                   int32_t *first_sliding)
{
    const json_t *list = oct_json_key(k, "layer_types");
    *first_sliding = -1;
    if (!list) {
        return OCT_OK;
    }
    if (!json_is_array(list) || json_array_size(list) != (size_t)n_layers) {
        char wanted[64];
        (void)snprintf(wanted, sizeof wanted, "a list of %" PRId32 " strings, one per layer",
                       n_layers);
        return oct_json_wrong(k, "layer_types", wanted);
    }
    int32_t first = n_layers;
    for (int32_t i = 0; i < n_layers; i++) {
        const char *type = json_string_value(json_array_get(list, (size_t)i));
        const bool slides = type && !strcmp(type, "sliding_attention");
        if (!slides && (!type || strcmp(type, "full_attention") != 0)) {
            char quoted[64] = "not a string";
            if (type) {
                (void)oct_error_quote(quoted, sizeof quoted, type, strlen(type));
            }
            return OCT_FAIL(OCT_E_UNSUPPORTED,
                            "%s/%s: \"layer_types\"[%" PRId32
                            "] is \"%s\"; this build knows full_attention and sliding_attention",
                            k->dir, k->name, i, quoted);
        }
        if (slides && first == n_layers) {
            first = i;
        } else if (!slides && first < n_layers) {
            return OCT_FAIL(OCT_E_UNSUPPORTED,
                            "%s/%s: \"layer_types\" has a full layer (%" PRId32
                            ") after a sliding one (%" PRId32
                            "); this build knows full layers first, then sliding ones",
                            k->dir, k->name, i, first);
        }
    }
    *first_sliding = first;
    return OCT_OK;
}

static oct_status read_window(const struct oct_json_keys *k, const struct family *f,
                              struct oct_model_config *c)
{
    int32_t window = json_object_get(k->obj, "sliding_window") ? 0 : DEFAULT_WINDOW;
    int32_t from = 0, by_type, pattern = 1;
    bool use = false;
    OCT_TRY(oct_json_int(k, "sliding_window", OCT_KEY_OPTIONAL, 1, OCT_MAX_POSITIONS, &window));
    OCT_TRY(
        oct_json_int(k, "sliding_window_pattern", OCT_KEY_OPTIONAL, 1, OCT_MAX_LAYERS, &pattern));
    OCT_TRY(read_layer_types(k, c->n_layers, &by_type));
    switch (f->arch) {
    case OCT_ARCH_LLAMA: /* the class knows no window and reads no such key */
        window = 0;
        break;
    case OCT_ARCH_MISTRAL: /* every layer */
        break;
    case OCT_ARCH_QWEN2:
    case OCT_ARCH_QWEN3:
        from = DEFAULT_WINDOW_LAYERS;
        OCT_TRY(oct_json_bool(k, "use_sliding_window", &use));
        OCT_TRY(
            oct_json_int(k, "max_window_layers", OCT_KEY_OPTIONAL, 0, OCT_MAX_POSITIONS, &from));
        window = use ? window : 0;
        from = by_type >= 0 ? by_type : from;
        break;
    }
    if (window == 0 || from >= c->n_layers) {
        window = 0;
        from = c->n_layers;
    }
    if (by_type >= 0 && by_type != from) {
        return OCT_FAIL(OCT_E_FORMAT,
                        "%s/%s: \"layer_types\" lets layers slide from %" PRId32 " of %" PRId32
                        ", the other keys from %" PRId32 "; the configuration contradicts itself",
                        k->dir, k->name, by_type, c->n_layers, from);
    }
    if (window && pattern != 1) {
        return OCT_FAIL(OCT_E_UNSUPPORTED,
                        "%s/%s: \"sliding_window_pattern\" is %" PRId32
                        "; this build knows models whose last layers all slide",
                        k->dir, k->name, pattern);
    }
    c->window = window;
    c->window_from_layer = window ? from : 0;
    return OCT_OK;
}

/* ---- generation_config.json and end tokens ---- */

/* "eos_token_id": an integer or a list of them. *found: the key says something. */
static oct_status read_eos(const struct oct_json_keys *k, struct oct_model_config *c, bool *found)
{
    const json_t *v = oct_json_key(k, "eos_token_id");
    char where[512];
    (void)snprintf(where, sizeof where, "%s/%s: \"eos_token_id\"", k->dir, k->name);
    *found = v != NULL;
    if (!v) {
        return OCT_OK;
    }
    const size_t n = json_is_array(v) ? json_array_size(v) : 1;
    for (size_t i = 0; i < n; i++) {
        const json_t *id = json_is_array(v) ? json_array_get(v, i) : v;
        if (!json_is_integer(id)) {
            return oct_json_wrong(k, "eos_token_id", "an integer or a list of integers");
        }
        OCT_TRY(oct_config_add_stop(c, json_integer_value(id), where));
    }
    return OCT_OK;
}

static oct_status read_float(const struct oct_json_keys *k, const char *key, double lo, double hi,
                             float *out)
{
    double v = (double)*out;
    OCT_TRY(oct_json_num(k, key, OCT_KEY_OPTIONAL, lo, hi, &v));
    *out = (float)v;
    return OCT_OK;
}

static oct_status read_generation(const struct oct_source *s, const struct oct_json_keys *model,
                                  struct oct_model_config *c)
{
    bool found = false;
    if (s->generation_config) {
        const struct oct_json_keys k = {s->generation_config, s->path, "generation_config.json",
                                        ""};
        if (!json_is_object(k.obj)) {
            return OCT_FAIL(OCT_E_FORMAT, "%s/%s: is not a JSON object", k.dir, k.name);
        }
        OCT_TRY(read_eos(&k, c, &found));
        OCT_TRY(read_float(&k, "temperature", 0.0, 100.0, &c->temperature));
        OCT_TRY(read_float(&k, "top_p", 1e-9, 1.0, &c->top_p));
        OCT_TRY(read_float(&k, "min_p", 0.0, 1.0, &c->min_p));
        OCT_TRY(read_float(&k, "repetition_penalty", 1e-9, 10.0, &c->repetition_penalty));
        OCT_TRY(oct_json_int(&k, "top_k", OCT_KEY_OPTIONAL, 0, INT32_MAX, &c->top_k));
        bool sample = true;
        OCT_TRY(oct_json_bool(&k, "do_sample", &sample));
        if (!sample) { /* its authors say: greedy, whatever else the file holds */
            c->temperature = 0.0F;
        }
    }
    return found ? OCT_OK : read_eos(model, c, &found);
}

oct_status oct_config_from_json(const struct oct_source *s, struct oct_model_config *c)
{
    const struct oct_json_keys k = {s->config, s->path, "config.json", ""};
    if (!json_is_object(k.obj)) {
        return OCT_FAIL(OCT_E_FORMAT, "%s/%s: is not a JSON object", k.dir, k.name);
    }
    const struct family *f = NULL;
    OCT_TRY(find_family(&k, &f, c->arch_name, sizeof c->arch_name));
    c->arch = f->arch;
    OCT_TRY(refuse_unknown(&k, f));
    OCT_TRY(read_sizes(&k, f, c));
    OCT_TRY(read_vocab(s, &k, c));
    OCT_TRY(read_biases(&k, f, c));
    OCT_TRY(read_dtype(&k, c));
    OCT_TRY(read_window(&k, f, c));
    OCT_TRY(oct_config_rope_json(&k, c));
    return read_generation(s, &k, c);
}
