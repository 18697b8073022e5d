/* SPDX-License-Identifier: Apache-2.0
 *
 * Bytes that begin with "GGUF" are a file whose metadata is read; others are config.json, and after
 * a NUL byte generation_config.json. What loads must hold what config.h promises. */
#include "model/config.h"

#include "base/json.h"
#include "support/writer.h"

#include <math.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct oct_model_config *c)
{
    OCT_ASSERT(c->n_layers >= 1 && c->n_layers <= 1024);
    OCT_ASSERT(c->dim >= 1 && c->dim <= 65536);
    OCT_ASSERT(c->ff_dim >= 1 && c->ff_dim <= 1 << 20);
    OCT_ASSERT(c->n_heads >= 1 && c->n_heads <= 1024 && c->n_kv_heads >= 1);
    OCT_ASSERT(c->n_heads % c->n_kv_heads == 0);
    OCT_ASSERT(c->head_dim >= 2 && c->head_dim <= 1024 && c->head_dim % 2 == 0);
    OCT_ASSERT(c->vocab_size >= 1 && c->vocab_size <= 1 << 24);
    OCT_ASSERT(c->max_positions >= 1 && c->max_positions <= 1 << 27);
    OCT_ASSERT(c->window >= 0 && c->window_from_layer >= 0 && c->window_from_layer < c->n_layers);
    OCT_ASSERT(c->norm_eps > 0 && c->norm_eps <= 1);
    OCT_ASSERT(c->n_stop_tokens >= 0 && c->n_stop_tokens <= OCT_MAX_STOP_TOKENS);
    for (int32_t i = 0; i < c->n_stop_tokens; i++) {
        OCT_ASSERT(c->stop_tokens[i] >= 0 && c->stop_tokens[i] < c->vocab_size);
    }
    OCT_ASSERT(isnan(c->temperature) || (c->temperature >= 0 && c->temperature <= 100));
    OCT_ASSERT(isnan(c->top_p) || (c->top_p > 0 && c->top_p <= 1));
    OCT_ASSERT(isnan(c->min_p) || (c->min_p >= 0 && c->min_p <= 1));
    OCT_ASSERT(isnan(c->repetition_penalty) ||
               (c->repetition_penalty > 0 && c->repetition_penalty <= 10));
    OCT_ASSERT(c->top_k >= -1 && memchr(c->arch_name, '\0', sizeof c->arch_name));
    const int32_t rot = c->rope.rot_dim;
    float inv_freq[512], factor;
    OCT_ASSERT(rot >= 2 && rot % 2 == 0 && rot <= c->head_dim);
    oct_rope_frequencies(&c->rope, inv_freq, &factor);
    OCT_ASSERT(isfinite(factor) && factor > 0);
    for (int32_t i = 0; i < rot / 2; i++) {
        OCT_ASSERT(isfinite(inv_freq[i]) && inv_freq[i] >= 0 && inv_freq[i] <= 1.00001F);
    }
}

static void check_gguf(const uint8_t *data, size_t size)
{
    char path[32];
    struct oct_source *s = NULL;
    struct oct_model_config c;
    const int fd = oct_test_memory_file(data, size, path);
    if (oct_source_open(path, &s) == OCT_OK && oct_config_load(s, &c) == OCT_OK) {
        check(&c);
    }
    oct_source_close(s);
    close(fd);
}

static void check_json(const char *text, size_t size)
{
    char path[] = "dir";
    struct oct_source s = {.kind = OCT_SOURCE_HF, .path = path};
    struct oct_model_config c;
    const char *end = memchr(text, '\0', size);
    const size_t len = end ? (size_t)(end - text) : size;
    if (oct_json_parse(text, len, "config.json", OCT_JSON_MAX_DEPTH, 0, &s.config) != OCT_OK) {
        return;
    }
    if (end && oct_json_parse(end + 1, size - len - 1, "generation_config.json", OCT_JSON_MAX_DEPTH,
                              0, &s.generation_config) != OCT_OK) {
        s.generation_config = NULL;
    }
    if (oct_config_load(&s, &c) == OCT_OK) {
        check(&c);
    }
    json_decref(s.config);
    json_decref(s.generation_config);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t empty[1];
    data = size ? data : empty;
    if (size >= 4 && !memcmp(data, "GGUF", 4)) {
        check_gguf(data, size);
    } else {
        check_json((const char *)data, size);
    }
    return 0;
}
