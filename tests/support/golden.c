/* SPDX-License-Identifier: Apache-2.0 */
#include "support/golden.h"

#include "base/io.h"
#include "base/mem.h"

#include <stdio.h>
#include <string.h>

const char *const oct_golden_names[] = {"llama",   "llama_llama3", "llama_yarn", "llama_linear",
                                        "qwen2",   "qwen2_window", "qwen3",      "qwen3_yarn",
                                        "mistral", "mistral_full", NULL};

static void slurp(const char *name, char **data, size_t *len)
{
    char path[1024];
    struct oct_file f = {0};
    (void)snprintf(path, sizeof path, OCT_SOURCE_DIR "/tests/golden/%s", name);
    oct_status st = oct_file_open(path, &f);
    OCT_ASSERT(st == OCT_OK);
    st = oct_file_slurp(&f, 16 << 20, data, len);
    OCT_ASSERT(st == OCT_OK);
    oct_file_close(&f);
}

json_t *oct_golden_json(const char *name)
{
    char *text;
    size_t len;
    slurp(name, &text, &len);
    json_t *j = json_loadb(text, len, 0, NULL);
    OCT_ASSERT(json_is_object(j));
    oct_free(text);
    return j;
}

int32_t *oct_golden_ints(const json_t *list, int32_t *n)
{
    OCT_ASSERT(json_is_array(list));
    *n = (int32_t)json_array_size(list);
    int32_t *v = oct_malloc((size_t)*n * sizeof *v);
    OCT_ASSERT(v);
    for (int32_t i = 0; i < *n; i++) {
        const json_t *x = json_array_get(list, (size_t)i);
        OCT_ASSERT(json_is_integer(x));
        v[i] = (int32_t)json_integer_value(x);
    }
    return v;
}

float *oct_golden_floats(const json_t *list, int32_t *n)
{
    OCT_ASSERT(json_is_array(list));
    *n = (int32_t)json_array_size(list);
    float *v = oct_malloc((size_t)*n * sizeof *v);
    OCT_ASSERT(v);
    for (int32_t i = 0; i < *n; i++) {
        const json_t *x = json_array_get(list, (size_t)i);
        OCT_ASSERT(json_is_number(x));
        v[i] = (float)json_number_value(x);
    }
    return v;
}

/* 0 where the key is absent. */
static double num(const json_t *obj, const char *key)
{
    return json_number_value(json_object_get(obj, key));
}

static int32_t integer(const json_t *obj, const char *key)
{
    const json_t *v = json_object_get(obj, key);
    OCT_ASSERT(json_is_integer(v));
    return (int32_t)json_integer_value(v);
}

static bool boolean(const json_t *obj, const char *key)
{
    const json_t *v = json_object_get(obj, key);
    OCT_ASSERT(json_is_boolean(v));
    return json_is_true(v);
}

/* golden.py writes one of these names and no other. */
static int choose(const char *name, const char *const *names, int n)
{
    int i = 0;
    while (i < n && (!name || strcmp(name, names[i]) != 0)) {
        i++;
    }
    OCT_ASSERT(i < n);
    return i;
}

void oct_golden_rope(const json_t *obj, struct oct_rope_config *out)
{
    static const char *const kinds[] = {"default", "linear", "llama3", "yarn"};
    const json_t *rot_dim = json_object_get(obj, "rot_dim");
    *out = (struct oct_rope_config){
        .kind =
            (enum oct_rope_kind)choose(json_string_value(json_object_get(obj, "kind")), kinds, 4),
        .theta = num(obj, "theta"),
        .factor = num(obj, "factor"),
        .low_freq_factor = num(obj, "low_freq_factor"),
        .high_freq_factor = num(obj, "high_freq_factor"),
        .beta_fast = num(obj, "beta_fast"),
        .beta_slow = num(obj, "beta_slow"),
        .attention_factor = num(obj, "attention_factor"),
        .mscale = num(obj, "mscale"),
        .mscale_all_dim = num(obj, "mscale_all_dim"),
        .truncate = json_is_true(json_object_get(obj, "truncate")),
        .original_max_positions = (int32_t)num(obj, "original_max_positions"),
        .rot_dim = rot_dim ? (int32_t)json_integer_value(rot_dim) : 0,
    };
}

static void read_tiny(const json_t *obj, struct oct_tiny *t)
{
    static const char *const archs[] = {"llama", "qwen2", "qwen3", "mistral"};
    *t = (struct oct_tiny){
        .arch = (enum oct_arch_id)choose(json_string_value(json_object_get(obj, "arch")), archs, 4),
        .seed = (uint64_t)integer(obj, "seed"),
        .n_layers = integer(obj, "n_layers"),
        .dim = integer(obj, "dim"),
        .ff_dim = integer(obj, "ff_dim"),
        .n_heads = integer(obj, "n_heads"),
        .n_kv_heads = integer(obj, "n_kv_heads"),
        .head_dim = integer(obj, "head_dim"),
        .vocab_size = integer(obj, "vocab_size"),
        .max_positions = integer(obj, "max_positions"),
        .window = integer(obj, "window"),
        .window_from_layer = integer(obj, "window_from_layer"),
        .tied = boolean(obj, "tied"),
        .attention_bias = boolean(obj, "attention_bias"),
        .mlp_bias = boolean(obj, "mlp_bias"),
        .norm_eps = (float)num(obj, "norm_eps"),
        .v5 = boolean(obj, "v5"),
        .dtype = OCT_DTYPE_F32,
        .n_shards = 1,
    };
    oct_golden_rope(json_object_get(obj, "rope"), &t->rope);
}

struct oct_golden *oct_golden_load(const char *name)
{
    char file[128];
    int32_t n;
    struct oct_golden *g = oct_calloc(1, sizeof *g);
    OCT_ASSERT(g);
    (void)snprintf(file, sizeof file, "arch/%s.json", name);
    g->root = oct_golden_json(file);
    g->config = json_object_get(g->root, "config");
    read_tiny(json_object_get(g->root, "tiny"), &g->tiny);
    g->ids = oct_golden_ints(json_object_get(g->root, "ids"), &g->n_positions);
    g->columns = oct_golden_ints(json_object_get(g->root, "columns"), &g->n_columns);
    g->argmax = oct_golden_ints(json_object_get(g->root, "argmax"), &n);
    OCT_ASSERT(n == g->n_positions);
    g->gap = oct_golden_floats(json_object_get(g->root, "gap"), &n);
    OCT_ASSERT(n == g->n_positions);
    g->fp32_error = num(g->root, "fp32_error");
    g->max_abs_logit = num(g->root, "max_abs_logit");

    size_t len;
    char *data;
    (void)snprintf(file, sizeof file, "arch/%s.f32", name);
    slurp(file, &data, &len);
    const size_t n_logits = (size_t)g->n_positions * (size_t)g->n_columns;
    OCT_ASSERT(len == (n_logits + (size_t)g->n_positions) * sizeof(float));
    g->logits = (float *)(void *)data; /* little-endian, as is every machine we run on */
    g->logsumexp = g->logits + n_logits;
    return g;
}

void oct_golden_close(struct oct_golden *g)
{
    json_decref(g->root);
    oct_free(g->ids);
    oct_free(g->columns);
    oct_free(g->argmax);
    oct_free(g->gap);
    oct_free(g->logits);
    oct_free(g);
}
