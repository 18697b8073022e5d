/* SPDX-License-Identifier: Apache-2.0
 *
 * Ids and texts against Hugging Face `tokenizers` 0.23.3 (tests/golden/tokenizer_*.json, made by
 * scripts/golden_tokenizer.py). The vocabularies of real models are not in this repository: those
 * tests skip, visibly, where they are absent. */
#include "small_vocab.h"

#include "base/mem.h"
#include "text/detok.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The bytes of a case: "text", or "hex" where they are no UTF-8. */
static size_t case_text(const json_t *c, char *dst, size_t size)
{
    const char *hex = json_string_value(json_object_get(c, "hex"));
    if (!hex) {
        const json_t *text = json_object_get(c, "text");
        cr_assert_lt(json_string_length(text), size);
        memcpy(dst, json_string_value(text), json_string_length(text));
        return json_string_length(text);
    }
    const size_t n = strlen(hex) / 2;
    cr_assert_lt(n, size);
    for (size_t i = 0; i < n; i++) {
        const char byte[3] = {hex[2 * i], hex[2 * i + 1], '\0'};
        dst[i] = (char)strtol(byte, NULL, 16);
    }
    return n;
}

static size_t case_ids(const json_t *c, int32_t *dst, size_t size)
{
    const json_t *ids = json_object_get(c, "ids");
    const size_t n = json_array_size(ids);
    cr_assert_lt(n, size);
    for (size_t i = 0; i < n; i++) {
        dst[i] = (int32_t)json_integer_value(json_array_get(ids, i));
    }
    return n;
}

/* All cases of a vocabulary; returns how many there were. */
static size_t check_cases(const char *name, const struct oct_tokenizer *t, const json_t *golden)
{
    static char text[65536];
    static int32_t want[65536];
    const json_t *c;
    size_t i;
    json_array_foreach(json_object_get(golden, "encode"), i, c)
    {
        struct oct_ids ids = {0};
        const size_t len = case_text(c, text, sizeof text), n = case_ids(c, want, 65536);
        const unsigned flags = (unsigned)json_integer_value(json_object_get(c, "flags"));
        cr_assert_eq(oct_tokenizer_encode(t, text, len, flags, &ids), OCT_OK, "%s text %zu: %s",
                     name, i, oct_last_error());
        for (size_t k = 0; k < n && k < ids.len; k++) {
            cr_assert_eq(ids.data[k], want[k], "%s text %zu, id %zu: %d, want %d", name, i, k,
                         ids.data[k], want[k]);
        }
        cr_assert_eq(ids.len, n, "%s text %zu: %zu ids, want %zu", name, i, ids.len, n);
        oct_ids_free(&ids);
    }
    size_t n_cases = i;
    json_array_foreach(json_object_get(golden, "decode"), i, c)
    {
        struct oct_buf out = {0};
        const size_t n = case_ids(c, want, 65536), len = case_text(c, text, sizeof text);
        const bool skip = json_is_true(json_object_get(c, "skip"));
        cr_assert_eq(oct_tokenizer_decode(t, want, n, skip, &out), OCT_OK, "%s ids %zu: %s", name,
                     i, oct_last_error());
        cr_assert(out.len == len && (len == 0 || memcmp(out.data, text, len) == 0),
                  "%s ids %zu: \"%s\", want \"%.*s\"", name, i, out.data ? out.data : "", (int)len,
                  text);
        oct_buf_free(&out);
    }
    return n_cases + i;
}

Test(tokenizer_golden, small_vocabularies_give_the_ids_and_texts_of_the_reference)
{
    json_t *golden = golden_json("tokenizer_small.json");
    const json_t *variant;
    size_t i, n = 0;
    json_array_foreach(golden, i, variant)
    {
        const char *name = json_string_value(json_object_get(variant, "name"));
        const char *base = json_string_value(json_object_get(variant, "base"));
        char file[64];
        (void)snprintf(file, sizeof file, "tokenizer_%s.json", base);
        char *json = small_vocab_json(file, json_object_get(variant, "members"));
        struct oct_tokenizer *t = NULL;
        cr_assert_eq(oct_tokenizer_from_json(json, strlen(json), NULL, 0, &t), OCT_OK, "%s: %s",
                     name, oct_last_error());
        free(json);
        n += check_cases(name, t, variant);
        oct_tokenizer_destroy(t);
    }
    cr_assert_geq(i, 35u, "%zu variants", i);
    cr_assert_geq(n, 200u, "%zu cases", n);
    json_decref(golden);
}

/* The row of tokenizer_real.json, and the tokenizer of its vocabulary. */
static void check_real(const char *name, const char *path, const char *config)
{
    if (access(path, R_OK) != 0) {
        cr_skip_test("no vocabulary at %s", path);
    }
    struct oct_tokenizer *t = NULL;
    cr_assert_eq(vocab_file_open(path, config, &t), OCT_OK, "%s: %s", path, oct_last_error());
    json_t *golden = golden_json("tokenizer_real.json");
    const json_t *row;
    size_t i, n = 0;
    json_array_foreach(golden, i, row)
    {
        if (strcmp(json_string_value(json_object_get(row, "name")), name) == 0) {
            n = check_cases(name, t, row);
        }
    }
    cr_assert_geq(n, 30u, "%s: %zu cases", name, n);
    json_decref(golden);
    oct_tokenizer_destroy(t);
}

#define SHARED OCT_SOURCE_DIR "/../shared/data/tokenizers/"

Test(tokenizer_golden, qwen3_is_as_in_the_reference, .timeout = 120)
{
    check_real("qwen3", SHARED "qwen3.json.xz", NULL);
}
Test(tokenizer_golden, mistral_is_as_in_the_reference, .timeout = 120)
{
    check_real("mistral", SHARED "mistral.json.xz", NULL);
}
Test(tokenizer_golden, deepseek_v3_is_as_in_the_reference, .timeout = 120)
{
    check_real("deepseek_v3", SHARED "deepseek_v3.json.xz", NULL);
}
Test(tokenizer_golden, gpt_oss_is_as_in_the_reference, .timeout = 120)
{
    check_real("gptoss", SHARED "gptoss.json.xz", NULL);
}
Test(tokenizer_golden, the_demo_model_is_as_in_the_reference, .timeout = 120)
{
    char path[4096];
    const char *given = getenv("OCTAVO_DEMO_MODEL"), *cache = getenv("OCTAVO_CACHE");
    const char *home = getenv("HOME");
    if (given) {
        (void)snprintf(path, sizeof path, "%s", given);
    } else {
        (void)snprintf(path, sizeof path, "%s%s/SmolLM2-135M-Instruct.Q4_1.gguf",
                       cache  ? cache
                       : home ? home
                              : "",
                       cache ? "" : "/.cache/octavo");
    }
    check_real("demo", path, NULL);
}

/* What the file and its configuration say of beginnings and ends. */
Test(tokenizer_golden, real_configurations_give_bos_and_eos, .timeout = 240)
{
    static const struct {
        const char *name;
        int32_t bos, eos;
        bool adds_bos;
        int32_t n_tokens;
    } row[] = {
        {"qwen3", -1, 151645, false, 151669},
        {"mistral", 1, 2, true, 32000},
        {"deepseek_v3", 0, 1, true, 128815},
        {"gptoss", 199998, 200002, false, 200019},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        char path[512], config[512];
        (void)snprintf(path, sizeof path, SHARED "%s.json.xz", row[i].name);
        (void)snprintf(config, sizeof config, SHARED "%s.config.json", row[i].name);
        if (access(path, R_OK) != 0) {
            cr_skip_test("no vocabulary at %s", path);
        }
        struct oct_tokenizer *t = NULL;
        cr_assert_eq(vocab_file_open(path, config, &t), OCT_OK, "%s: %s", path, oct_last_error());
        cr_expect_eq(oct_tokenizer_bos(t), row[i].bos, "%s: bos %d", path, oct_tokenizer_bos(t));
        cr_expect_eq(oct_tokenizer_eos(t), row[i].eos, "%s: eos %d", path, oct_tokenizer_eos(t));
        cr_expect_eq(oct_tokenizer_adds_bos(t), row[i].adds_bos, "%s", path);
        cr_expect_eq(oct_tokenizer_n_tokens(t), row[i].n_tokens, "%s: %d tokens", path,
                     oct_tokenizer_n_tokens(t));
        struct oct_ids ids = {0};
        cr_assert_eq(oct_tokenizer_encode(t, "x", 1, OCT_ENCODE_BOS_EOS, &ids), OCT_OK);
        cr_expect_eq(ids.len, row[i].adds_bos ? 2u : 1u, "%s: %zu ids", path, ids.len);
        oct_ids_free(&ids);
        oct_tokenizer_destroy(t);
    }
}
