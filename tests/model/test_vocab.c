/* SPDX-License-Identifier: Apache-2.0 */
#include "model/vocab.h"

#include "base/fault.h"
#include "support/llama2c.h"
#include "support/tiny.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char *const specials[] = {"<|endoftext|>", "<|im_start|>", "<|im_end|>"};

/* Opens path, loads configuration and vocabulary. *v is NULL on failure. */
static oct_status load(const char *path, struct oct_vocab **v)
{
    struct oct_source *s = NULL;
    struct oct_model_config c;
    *v = NULL;
    cr_assert_eq(oct_source_open(path, &s), OCT_OK, "%s", oct_last_error());
    cr_assert_eq(oct_config_load(s, &c), OCT_OK, "%s", oct_last_error());
    const oct_status st = oct_vocab_load(s, &c, v);
    oct_source_close(s);
    return st;
}

static void check_tiny(const struct oct_vocab *v, const char *what)
{
    for (int32_t id = 0; id < 3; id++) {
        cr_assert_eq(oct_tokenizer_find(v->tokenizer, specials[id], strlen(specials[id])), id, "%s",
                     what);
    }
    cr_assert(v->chat_template && strstr(v->chat_template, "<|im_start|>assistant"), "%s", what);
    cr_assert_str_eq(v->eos_text, "<|im_end|>", "%s", what);
    cr_assert_eq(v->n_stop_tokens, 1, "%s: %d", what, v->n_stop_tokens);
    cr_assert_eq(v->stop_tokens[0], 2, "%s", what);
    struct oct_ids ids = {0};
    cr_assert_eq(oct_tokenizer_encode(v->tokenizer, "the in", 6, 0, &ids), OCT_OK, "%s",
                 oct_last_error());
    cr_assert(ids.len > 0 && ids.len < 6, "%s: %zu ids", what, ids.len); /* something merged */
    oct_ids_free(&ids);
}

Test(vocab, a_tiny_model_has_the_same_vocabulary_in_both_formats)
{
    const struct oct_tiny t = oct_tiny_default(OCT_ARCH_QWEN2);
    char *dir = oct_test_make_dir(), path[256];
    struct oct_vocab *hf, *gguf;
    oct_tiny_write_hf(&t, dir);
    oct_tiny_write_gguf(&t, dir, "m");
    (void)snprintf(path, sizeof path, "%s/m.gguf", dir);
    cr_assert_eq(load(dir, &hf), OCT_OK, "%s", oct_last_error());
    cr_assert_eq(load(path, &gguf), OCT_OK, "%s", oct_last_error());
    check_tiny(hf, "HF");
    check_tiny(gguf, "GGUF");
    cr_assert_null(hf->bos_text); /* null in tokenizer_config.json */
    cr_assert_str_eq(gguf->bos_text, "<|endoftext|>");
    cr_assert_eq(oct_tokenizer_n_tokens(hf->tokenizer), (int32_t)OCT_TINY_N_TOKENS);
    cr_assert_str_eq(hf->chat_template, gguf->chat_template);
    oct_vocab_destroy(hf);
    oct_vocab_destroy(gguf);
    oct_test_remove_dir(dir);
}

/* Loads a tiny model whose files in dir are replaced by these (NULL: as they are). */
static oct_status load_with(const char *name, const char *text, const char *name2,
                            const char *text2, struct oct_vocab **v)
{
    const struct oct_tiny t = oct_tiny_default(OCT_ARCH_LLAMA);
    char *dir = oct_test_make_dir();
    oct_tiny_write_hf(&t, dir);
    if (name) {
        oct_test_write_file(dir, name, text, strlen(text));
    }
    if (name2) {
        oct_test_write_file(dir, name2, text2, strlen(text2));
    }
    const oct_status st = load(dir, v);
    oct_test_remove_dir(dir);
    return st;
}

#define CONFIG "tokenizer_config.json"

Test(vocab, the_chat_template_is_found_where_it_may_stand)
{
    static const struct {
        const char *config, *jinja, *want;
    } cases[] = {
        {"{\"chat_template\":\"one\"}", NULL, "one"},
        {"{\"chat_template\":\"one\"}", "two", "two"}, /* the file wins */
        {"{}", "two", "two"},
        {"{}", NULL, NULL},
        {"{\"chat_template\":null}", NULL, NULL},
        {"{\"chat_template\":[{\"name\":\"tool_use\",\"template\":\"a\"},"
         "{\"name\":\"default\",\"template\":\"b\"}]}",
         NULL, "b"},
        {"{\"chat_template\":[{\"name\":\"x\",\"template\":\"a\"}]}", NULL, NULL},
        {"{\"chat_template\":[{\"name\":\"x\",\"template\":\"a\"},"
         "{\"name\":\"y\",\"template\":\"b\"}]}",
         NULL, NULL},
        {"{\"chat_template\":[]}", NULL, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct oct_vocab *v;
        cr_assert_eq(load_with(CONFIG, cases[i].config,
                               cases[i].jinja ? "chat_template.jinja" : NULL, cases[i].jinja, &v),
                     OCT_OK, "case %zu: %s", i, oct_last_error());
        if (cases[i].want) {
            cr_assert(v->chat_template && !strcmp(v->chat_template, cases[i].want),
                      "case %zu: \"%s\", not \"%s\"", i, v->chat_template, cases[i].want);
        } else {
            cr_assert_null(v->chat_template, "case %zu", i);
        }
        oct_vocab_destroy(v);
    }
}

Test(vocab, bos_and_eos_may_be_strings_objects_or_null)
{
    struct oct_vocab *v;
    cr_assert_eq(load_with(CONFIG,
                           "{\"bos_token\":{\"content\":\"<|im_start|>\",\"special\":true},"
                           "\"eos_token\":\"<|endoftext|>\"}",
                           NULL, NULL, &v),
                 OCT_OK, "%s", oct_last_error());
    cr_assert_str_eq(v->bos_text, "<|im_start|>");
    cr_assert_str_eq(v->eos_text, "<|endoftext|>");
    /* the end token of generation_config.json and that of the tokenizer */
    cr_assert_eq(v->n_stop_tokens, 2);
    cr_assert(v->stop_tokens[0] == 2 && v->stop_tokens[1] == 0);
    oct_vocab_destroy(v);
    cr_assert_eq(load_with(CONFIG, "{\"bos_token\":null,\"eos_token\":null}", NULL, NULL, &v),
                 OCT_OK, "%s", oct_last_error());
    cr_assert(!v->bos_text && !v->eos_text);
    oct_vocab_destroy(v);
}

Test(vocab, a_turn_end_counts_only_if_the_template_writes_it)
{
    static const struct {
        const char *jinja;
        int32_t n; /* 0 is the model's own */
    } cases[] = {{"{{ 'x' }}", 1},
                 {"{{ m }}<|im_end|>", 2},
                 {"{{ m }}<|im_end|><|eot_id|></s>", 2}, /* no such tokens here */
                 {"{{ m }}<|endoftext|>", 1}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct oct_tiny t = oct_tiny_default(OCT_ARCH_LLAMA);
        char *dir = oct_test_make_dir();
        struct oct_vocab *v;
        oct_tiny_write_hf(&t, dir);
        oct_test_write_file(dir, "generation_config.json", "{\"eos_token_id\":0}", 18);
        oct_test_write_file(dir, CONFIG, "{\"eos_token\":\"<|endoftext|>\"}", 29);
        oct_test_write_file(dir, "chat_template.jinja", cases[i].jinja, strlen(cases[i].jinja));
        cr_assert_eq(load(dir, &v), OCT_OK, "%s", oct_last_error());
        cr_assert_eq(v->n_stop_tokens, cases[i].n, "%s: %d", cases[i].jinja, v->n_stop_tokens);
        cr_assert_eq(v->stop_tokens[0], 0);
        cr_assert(v->n_stop_tokens == 1 || v->stop_tokens[1] == 2, "%s", cases[i].jinja);
        oct_vocab_destroy(v);
        oct_test_remove_dir(dir);
    }
}

Test(vocab, wrong_files_are_refused_by_name)
{
    static const struct {
        const char *name, *text, *words;
        oct_status st;
    } cases[] = {
        {CONFIG, "{\"chat_template\":5}", "\"chat_template\" is not a string", OCT_E_FORMAT},
        {CONFIG, "{\"chat_template\":[1]}", "\"name\" and \"template\"", OCT_E_FORMAT},
        {CONFIG, "{\"chat_template\":[{\"name\":\"default\"}]}", "\"name\" and \"template\"",
         OCT_E_FORMAT},
        {CONFIG, "{\"bos_token\":7}", "\"bos_token\"", OCT_E_FORMAT},
        {CONFIG, "{\"eos_token\":{\"contents\":\"x\"}}", "\"eos_token\"", OCT_E_FORMAT},
        {"tokenizer.json", "", "tokenizer.json", OCT_E_FORMAT},
        {"tokenizer.json", "{\"model\":", "tokenizer.json", OCT_E_FORMAT},
        {"tokenizer.json", "[]", "tokenizer.json", OCT_E_FORMAT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct oct_vocab *v;
        const oct_status st = load_with(cases[i].name, cases[i].text, NULL, NULL, &v);
        cr_assert_eq(st, cases[i].st, "case %zu gave %d: %s", i, st, oct_last_error());
        cr_assert_null(v);
        cr_assert(strstr(oct_last_error(), cases[i].words), "case %zu: %s", i, oct_last_error());
    }
}

Test(vocab, a_template_with_a_nul_or_over_a_mebibyte_is_refused)
{
    const struct oct_tiny t = oct_tiny_default(OCT_ARCH_LLAMA);
    char *dir = oct_test_make_dir();
    struct oct_vocab *v;
    oct_tiny_write_hf(&t, dir);
    oct_test_write_file(dir, "chat_template.jinja", "a\0b", 3);
    cr_assert_eq(load(dir, &v), OCT_E_FORMAT);
    cr_assert(strstr(oct_last_error(), "NUL"), "%s", oct_last_error());
    char *big = oct_calloc(1, (1 << 20) + 1);
    memset(big, 'x', (1 << 20) + 1);
    oct_test_write_file(dir, "chat_template.jinja", big, 1 << 20);
    cr_assert_eq(load(dir, &v), OCT_OK, "%s", oct_last_error());
    oct_vocab_destroy(v);
    oct_test_write_file(dir, "chat_template.jinja", big, (1 << 20) + 1);
    cr_assert_eq(load(dir, &v), OCT_E_FORMAT);
    cr_assert(strstr(oct_last_error(), "chat_template.jinja"), "%s", oct_last_error());
    oct_free(big);
    oct_test_remove_dir(dir);
}

Test(vocab, a_tokenizer_that_is_absent_or_larger_than_the_embedding_is_refused)
{
    struct oct_tiny t = oct_tiny_default(OCT_ARCH_LLAMA);
    char *dir = oct_test_make_dir(), path[256];
    struct oct_vocab *v;
    struct oct_buf tokenizer = {0};
    oct_tiny_tokenizer_json(&t, &tokenizer);
    t.vocab_size = OCT_TINY_N_TOKENS - 1; /* the writer then leaves the tokenizer out */
    oct_tiny_write_hf(&t, dir);
    cr_assert_eq(load(dir, &v), OCT_E_NOTFOUND);
    cr_assert(strstr(oct_last_error(), "has no tokenizer.json"), "%s", oct_last_error());
    oct_test_write_file(dir, "tokenizer.json", tokenizer.data, tokenizer.len);
    cr_assert_eq(load(dir, &v), OCT_E_FORMAT);
    cr_assert(strstr(oct_last_error(), "tokenizer and weights disagree in vocabulary"), "%s",
              oct_last_error());
    oct_tiny_write_gguf(&t, dir, "m");
    (void)snprintf(path, sizeof path, "%s/m.gguf", dir);
    cr_assert_eq(load(path, &v), OCT_E_FORMAT);
    cr_assert(strstr(oct_last_error(), "tokenizer.ggml.model"), "%s", oct_last_error());
    oct_buf_free(&tokenizer);
    oct_test_remove_dir(dir);
}

/* ---- GGUF keys ---- */

/* A small file with byte-level tokens and one more key, written last. */
struct gguf_case {
    const char *key;
    int n; /* over 0: a list of that many numbers; 0: a number; -1: a text */
    uint32_t number;
    const char *words; /* NULL: loads */
};

static oct_status load_gguf(const struct gguf_case *k, struct oct_vocab **v)
{
    static const char *const tokens[] = {"<|im_end|>", "a", "b", "c", "ab"};
    static const char *const merges[] = {"a b"};
    static const float embedding[5 * 8] = {0};
    const int32_t types[5] = {3, 1, 1, 1, 1}, list[8] = {1, 1, 1, 1, 1, 1, 1, 1};
    const uint64_t dims[2] = {8, 5};
    struct oct_gw w = OCT_GW_INIT;
    struct oct_buf b = {0};
    char path[32];
    oct_gw_str(&w, "general.architecture", "llama");
    oct_gw_u32(&w, "llama.block_count", 1);
    oct_gw_u32(&w, "llama.context_length", 64);
    oct_gw_u32(&w, "llama.embedding_length", 8);
    oct_gw_u32(&w, "llama.feed_forward_length", 8);
    oct_gw_u32(&w, "llama.attention.head_count", 2);
    oct_gw_f32(&w, "llama.attention.layer_norm_rms_epsilon", 1e-5F);
    if (strcmp(k->key, "tokenizer.ggml.model") != 0) {
        oct_gw_str(&w, "tokenizer.ggml.model", "gpt2");
    }
    if (strcmp(k->key, "tokenizer.ggml.tokens") != 0) {
        oct_gw_strings(&w, "tokenizer.ggml.tokens", tokens, 5);
    }
    if (strcmp(k->key, "tokenizer.ggml.merges") != 0) {
        oct_gw_strings(&w, "tokenizer.ggml.merges", merges, 1);
    }
    if (strcmp(k->key, "tokenizer.ggml.token_type") != 0) {
        oct_gw_i32s(&w, "tokenizer.ggml.token_type", types, 5);
    }
    if (k->n > 0) {
        oct_gw_i32s(&w, k->key, list, (size_t)k->n);
    } else if (k->n == 0) {
        oct_gw_u32(&w, k->key, k->number);
    } else {
        oct_gw_str(&w, k->key, "x");
    }
    oct_gw_tensor(&w, "token_embd.weight", 0, 2, dims, embedding, sizeof embedding);
    oct_gw_finish(&w, &b);
    const int fd = oct_test_memory_file(b.data, b.len, path);
    const oct_status st = load(path, v);
    close(fd);
    oct_buf_free(&b);
    return st;
}

Test(vocab, wrong_gguf_keys_are_refused_by_name)
{
    static const struct gguf_case cases[] = {
        {"general.note", -1, 0, NULL},
        {"tokenizer.ggml.padding_token_id", 0, 4, NULL},
        {"tokenizer.ggml.padding_token_id", 0, 5, "\"tokenizer.ggml.padding_token_id\" is 5"},
        {"tokenizer.ggml.bos_token_id", 0, 4294967295u, "\"tokenizer.ggml.bos_token_id\" is 42949"},
        {"tokenizer.ggml.unknown_token_id", -1, 0, "\"tokenizer.ggml.unknown_token_id\""},
        {"tokenizer.ggml.model", 0, 1, "\"tokenizer.ggml.model\""},
        {"tokenizer.ggml.model", -1, 0, "x"}, /* no such kind of tokenizer */
        {"tokenizer.ggml.tokens", 0, 1, "\"tokenizer.ggml.tokens\" is not a list of strings"},
        {"tokenizer.ggml.tokens", 5, 0, "\"tokenizer.ggml.tokens\" is not a list of strings"},
        {"tokenizer.ggml.merges", 2, 0, "\"tokenizer.ggml.merges\" is not a list of strings"},
        {"tokenizer.ggml.token_type", 4, 0, "\"tokenizer.ggml.token_type\""},
        {"tokenizer.ggml.token_type", -1, 0, "\"tokenizer.ggml.token_type\""},
        {"tokenizer.ggml.scores", 5, 0, "\"tokenizer.ggml.scores\" is not a list of float32"},
        {"tokenizer.ggml.add_bos_token", 0, 1, "\"tokenizer.ggml.add_bos_token\""},
        {"tokenizer.chat_template", 0, 1, "\"tokenizer.chat_template\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct oct_vocab *v;
        const oct_status st = load_gguf(&cases[i], &v);
        if (!cases[i].words) {
            cr_assert_eq(st, OCT_OK, "case %zu: %s", i, oct_last_error());
            oct_vocab_destroy(v);
            continue;
        }
        cr_assert(st == OCT_E_FORMAT || st == OCT_E_UNSUPPORTED, "case %zu gave %d: %s", i, st,
                  oct_last_error());
        cr_assert_null(v);
        cr_assert(strstr(oct_last_error(), cases[i].words), "case %zu: %s", i, oct_last_error());
        cr_assert(strstr(oct_last_error(), "/proc/self/fd/"), "case %zu: %s", i, oct_last_error());
    }
}

Test(vocab, stories260k_has_the_tokens_of_its_file)
{
    if (!oct_stories_available()) {
        cr_skip_test("skipped: %s is not here", OCT_STORIES_TOK);
    }
    struct oct_buf b = {0}, text = {0};
    char path[32];
    struct oct_vocab *v;
    oct_llama2c_gguf(OCT_STORIES_BIN, OCT_STORIES_TOK, &b);
    const int fd = oct_test_memory_file(b.data, b.len, path);
    cr_assert_eq(load(path, &v), OCT_OK, "%s", oct_last_error());
    cr_assert_eq(oct_tokenizer_n_tokens(v->tokenizer), 512);
    cr_assert(oct_tokenizer_bos(v->tokenizer) == 1 && oct_tokenizer_eos(v->tokenizer) == 2);
    cr_assert(oct_tokenizer_adds_bos(v->tokenizer));
    cr_assert_null(v->chat_template);
    struct oct_ids ids = {0};
    cr_assert_eq(oct_tokenizer_encode(v->tokenizer, "Once upon a time, Lily\xc3\xa9", 24,
                                      OCT_ENCODE_BOS_EOS, &ids),
                 OCT_OK, "%s", oct_last_error());
    cr_assert(ids.len > 1 && ids.data[0] == 1);
    cr_assert_eq(oct_tokenizer_decode(v->tokenizer, ids.data, ids.len, true, &text), OCT_OK);
    cr_assert_str_eq(text.data, "Once upon a time, Lily\xc3\xa9");
    oct_buf_free(&text);
    oct_ids_free(&ids);
    oct_vocab_destroy(v);
    close(fd);
    oct_buf_free(&b);
}

#if OCT_FAULTS
/* Fails the k-th call at `site` for every k until the load passes untouched. */
static void fail_each(const char *path, enum oct_fault_site site, oct_status want)
{
    struct oct_source *s = NULL;
    struct oct_model_config c;
    cr_assert_eq(oct_source_open(path, &s), OCT_OK, "%s", oct_last_error());
    cr_assert_eq(oct_config_load(s, &c), OCT_OK, "%s", oct_last_error());
    for (uint64_t k = 1;; k++) {
        struct oct_vocab *v = NULL;
        const size_t before = oct_test_live_bytes();
        oct_fault_reset();
        oct_fault_arm(site, k, false, OCT_FAULT_FAIL);
        const oct_status st = oct_vocab_load(s, &c, &v);
        const bool reached = oct_fault_count(site) >= k;
        oct_fault_reset();
        if (st == OCT_OK) {
            cr_assert_not(reached, "call %d failed and the load did not", (int)k);
            cr_assert_gt(k, 1u);
            oct_vocab_destroy(v);
            break;
        }
        cr_assert_eq(st, want, "call %d gave %d: %s", (int)k, st, oct_last_error());
        cr_assert_null(v);
        cr_assert_eq(oct_test_live_bytes(), before, "call %d leaks", (int)k);
    }
    oct_source_close(s);
}

Test(vocab, every_allocation_open_and_read_may_fail, .timeout = 300)
{
    struct oct_tiny t = oct_tiny_default(OCT_ARCH_QWEN2);
    char *dir = oct_test_make_dir(), path[256];
    t.n_layers = 1;
    oct_tiny_write_hf(&t, dir);
    oct_test_write_file(dir, "chat_template.jinja", "x", 1);
    oct_tiny_write_gguf(&t, dir, "m");
    (void)snprintf(path, sizeof path, "%s/m.gguf", dir);
    fail_each(dir, OCT_FAULT_MEM, OCT_E_MEM);
    fail_each(dir, OCT_FAULT_OPEN, OCT_E_IO);
    fail_each(dir, OCT_FAULT_READ, OCT_E_IO);
    fail_each(path, OCT_FAULT_MEM, OCT_E_MEM);
    oct_test_remove_dir(dir);
}
#endif
