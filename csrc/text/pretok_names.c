/* SPDX-License-Identifier: Apache-2.0
 *
 * What the names of tokenizer.ggml.pre stand for: GGUF carries no expressions. */
#include "text/pretok.h"

#include <string.h>

enum { MAX_STAGES = 6 };

/* Stands for the reference's "Digits" instead of an expression; found by its address. */
static const char digits[] = "Digits";

/* Of DeepSeek-LLM and DeepSeek-Coder; spelled in numbers, since an editor may normalise letters. */
// clang-format off
#define HAN_AND_HANGUL "[\\x{4e00}-\\x{9fa5}\\x{800}-\\x{4e00}\\x{ac00}-\\x{d7ff}]+"
#define CASED_LETTERS \
    "A-Za-z\\x{b5}\\x{c0}-\\x{d6}\\x{d8}-\\x{f6}\\x{f8}-\\x{1ba}\\x{1bc}-\\x{1bf}" \
    "\\x{1c4}-\\x{293}\\x{295}-\\x{2af}\\x{370}-\\x{373}\\x{376}\\x{377}\\x{37b}-\\x{37d}" \
    "\\x{37f}\\x{386}\\x{388}-\\x{38a}\\x{38c}\\x{38e}-\\x{3a1}\\x{3a3}-\\x{3f5}" \
    "\\x{3f7}-\\x{481}\\x{48a}-\\x{52f}\\x{531}-\\x{556}\\x{10a0}-\\x{10c5}" \
    "\\x{13a0}-\\x{13f5}\\x{13f8}-\\x{13fd}\\x{1c90}-\\x{1cba}\\x{1cbd}-\\x{1cbf}" \
    "\\x{1d00}-\\x{1d2b}\\x{1d6b}-\\x{1d77}\\x{1d79}-\\x{1d9a}\\x{1e00}-\\x{1f15}" \
    "\\x{1f18}-\\x{1f1d}\\x{1f20}-\\x{1f45}\\x{1f48}-\\x{1f4d}\\x{1f50}-\\x{1f57}\\x{1f59}" \
    "\\x{1f5b}\\x{1f5d}\\x{1f5f}-\\x{1f7d}\\x{1f80}-\\x{1fb4}\\x{1fb6}-\\x{1fbc}\\x{1fbe}" \
    "\\x{1fc2}-\\x{1fc4}\\x{1fc6}-\\x{1fcc}\\x{1fd0}-\\x{1fd3}\\x{1fd6}-\\x{1fdb}" \
    "\\x{1fe0}-\\x{1fec}\\x{1ff2}-\\x{1ff4}\\x{1ff6}-\\x{1ffc}\\x{2102}\\x{2107}" \
    "\\x{210a}-\\x{2113}\\x{2115}\\x{2119}-\\x{211d}\\x{2124}\\x{2126}\\x{2128}" \
    "\\x{212a}-\\x{212d}\\x{212f}-\\x{2134}\\x{2139}\\x{213c}-\\x{213f}\\x{2145}-\\x{2149}" \
    "\\x{214e}\\x{2183}\\x{2184}\\x{2c00}-\\x{2c7b}\\x{2c7e}-\\x{2ce4}\\x{2ceb}-\\x{2cee}" \
    "\\x{2cf2}\\x{2cf3}\\x{a640}-\\x{a66d}\\x{a680}-\\x{a69b}\\x{a722}-\\x{a76f}" \
    "\\x{a771}-\\x{a787}\\x{a78b}-\\x{a78e}\\x{ab70}-\\x{abbf}\\x{fb00}-\\x{fb06}" \
    "\\x{fb13}-\\x{fb17}\\x{ff21}-\\x{ff3a}\\x{ff41}-\\x{ff5a}\\x{10400}-\\x{1044f}" \
    "\\x{104b0}-\\x{104d3}\\x{104d8}-\\x{104fb}\\x{10c80}-\\x{10cb2}\\x{10cc0}-\\x{10cf2}" \
    "\\x{118a0}-\\x{118df}\\x{1e900}-\\x{1e943}"

static const struct {
    const char *name;
    const char *stages[MAX_STAGES]; /* expressions in order; NULL ends them */
    struct oct_pre_traits traits;
} names[] = {
    {"default", {"[\\p{P}\\$\\+<=>\\^~\\|]+", oct_pretok_gpt2, oct_pretok_numbers, "[0-9][0-9][0-9]"}, {0}},
    {"gpt-2", {oct_pretok_gpt2}, {0}},
    {"phi-2", {oct_pretok_gpt2}, {0}},
    {"roberta-bpe", {oct_pretok_gpt2}, {0}},
    {"mpt", {oct_pretok_gpt2}, {0}},
    {"olmo", {oct_pretok_gpt2}, {0}},
    {"jais", {oct_pretok_gpt2}, {0}},
    {"gigachat", {oct_pretok_gpt2}, {0}},
    {"smollm", {digits, oct_pretok_gpt2}, {0}},
    {"starcoder", {digits, oct_pretok_gpt2}, {0}},
    {"refact", {digits, oct_pretok_gpt2}, {0}},
    {"command-r", {digits, oct_pretok_gpt2}, {0}},
    {"codeshell", {digits, oct_pretok_gpt2}, {0}},
    {"exaone", {digits, oct_pretok_gpt2}, {0}},
    {"minerva-7b", {digits, oct_pretok_gpt2}, {0}},
    {"llama-bpe", {oct_pretok_llama3}, {.ignore_merges = true, .add_bos = true}},
    {"llama3", {oct_pretok_llama3}, {.ignore_merges = true, .add_bos = true}},
    {"llama-v3", {oct_pretok_llama3}, {.ignore_merges = true, .add_bos = true}},
    {"falcon3", {oct_pretok_llama3}, {.ignore_merges = true, .add_bos = true}},
    {"dbrx", {oct_pretok_llama3}, {0}},
    {"smaug-bpe", {oct_pretok_llama3}, {0}},
    {"chatglm-bpe", {oct_pretok_llama3}, {0}},
    {"qwen2", {oct_pretok_qwen2}, {.nfc = true}},
    {"deepseek-r1-qwen", {oct_pretok_qwen2}, {.nfc = true}},
    {"qwen35", {oct_pretok_qwen35}, {.nfc = true}},
    {"megrez", {oct_pretok_qwen2}, {.nfc = true}},
    {"stablelm2", {oct_pretok_qwen2}, {.nfc = true}},
    {"deepseek-v3", {oct_pretok_three_digits, oct_pretok_cjk, oct_pretok_deepseek_v3}, {0}},
    {"deepseek-llm", {"[\\r\\n]", "\\s?[" CASED_LETTERS "]+", "\\s?[!-/:-~\\x{ff01}-\\x{ff0f}\\x{ff1a}-\\x{ff5e}\\x{2018}-\\x{201f}\\x{3000}-\\x{3002}]+", oct_pretok_line_end,
                      HAN_AND_HANGUL, oct_pretok_numbers}, {0}},
    {"deepseek-coder", {"[\\r\\n]", "\\s?\\p{L}+", "\\s?\\p{P}+", HAN_AND_HANGUL, oct_pretok_number}, {0}},
    {"falcon", {"[\\p{P}\\$\\+<=>\\^~\\|`]+", oct_pretok_gpt2, "[0-9][0-9][0-9]"}, {0}},
    {"gpt-4o", {oct_pretok_o200k}, {.ignore_merges = true}},
    {"llama4", {oct_pretok_o200k}, {.ignore_merges = true, .add_bos = true}},
    {"tekken", {oct_pretok_tekken}, {.ignore_merges = true, .add_bos = true}},
};
// clang-format on

oct_status oct_pretok_add_named(struct oct_pretok *p, const char *name,
                                struct oct_pre_traits *traits)
{
    name = name ? name : "default";
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(names[i].name, name) != 0) {
            continue;
        }
        for (size_t k = 0; k < MAX_STAGES && names[i].stages[k]; k++) {
            const char *stage = names[i].stages[k];
            OCT_TRY(stage == digits
                        ? oct_pretok_add_digits(p, true)
                        : oct_pretok_add_regex(p, stage, strlen(stage), OCT_SPLIT_ISOLATED, false));
        }
        *traits = names[i].traits;
        return OCT_OK;
    }
    char quoted[100];
    return OCT_FAIL(OCT_E_UNSUPPORTED,
                    "tokenizer.ggml.pre is \"%s\", a pre-tokeniser that octavo does not know; load "
                    "the model from its Hugging Face directory",
                    oct_error_quote(quoted, sizeof quoted, name, strlen(name)));
}
