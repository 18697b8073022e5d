/* SPDX-License-Identifier: Apache-2.0
 *
 * config_case.h - a configuration from a right one and a patch, for the tests of config.c. */
#ifndef OCT_TEST_CONFIG_CASE_H
#define OCT_TEST_CONFIG_CASE_H

#include "model/config.h"

#include <criterion/criterion.h>
#include <string.h>

static const char llama_json[] =
    "{\"architectures\":[\"LlamaForCausalLM\"],\"model_type\":\"llama\",\"hidden_act\":\"silu\","
    "\"hidden_size\":96,\"intermediate_size\":200,\"num_hidden_layers\":4,"
    "\"num_attention_heads\":6,\"num_key_value_heads\":2,\"vocab_size\":320,"
    "\"max_position_embeddings\":2048,\"rms_norm_eps\":1e-05,\"rope_theta\":500000.0,"
    "\"rope_scaling\":null,\"tie_word_embeddings\":false,\"torch_dtype\":\"bfloat16\","
    "\"bos_token_id\":1,\"eos_token_id\":2}";

/* base with every key of `patch` set; the value "DROP" removes the key. New reference. */
static inline json_t *patched(const char *base, const char *patch)
{
    json_t *obj = json_loads(base, 0, NULL), *p = json_loads(patch, 0, NULL), *v;
    const char *key;
    cr_assert(obj && p, "patch %s", patch);
    json_object_foreach(p, key, v)
    {
        const bool drop = json_is_string(v) && !strcmp(json_string_value(v), "DROP");
        cr_assert(!(drop ? json_object_del(obj, key) : json_object_set(obj, key, v)), "%s", key);
    }
    json_decref(p);
    return obj;
}

/* Loads base + patch with these tensors (sorted by name) and generation_config (NULL: none). */
static inline oct_status load_patched(const char *base, const char *patch, const char *generation,
                                      struct oct_tensor *tensors, uint32_t n_tensors,
                                      struct oct_model_config *out)
{
    char path[] = "dir";
    struct oct_source s = {.kind = OCT_SOURCE_HF,
                           .path = path,
                           .tensors = tensors,
                           .n_tensors = n_tensors,
                           .config = patched(base, patch)};
    if (generation) {
        s.generation_config = json_loads(generation, JSON_DECODE_ANY, NULL);
        cr_assert(s.generation_config, "generation_config %s", generation);
    }
    const oct_status st = oct_config_load(&s, out);
    json_decref(s.config);
    json_decref(s.generation_config);
    return st;
}

#endif
