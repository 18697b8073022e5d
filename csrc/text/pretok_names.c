/* SPDX-License-Identifier: Apache-2.0
 *
 * What the names of tokenizer.ggml.pre stand for: GGUF carries no expressions. */
#include "text/pretok.h"

#include <string.h>

enum { MAX_STAGES = 6 };

/* Stands for the reference's "Digits" instead of an expression; found by its address. */
static const char digits[] = "Digits";

// clang-format off
#define CASED_LETTERS \
    "A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝ" \
    "Ὗ-ώᾀ-ᾴᾶ-ᾼιῂ-ῄῆ-ῌῐ-ΐῖ-Ίῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤΩℨK-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿ" \
    "ﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃"

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
    {"megrez", {oct_pretok_qwen2}, {.nfc = true}},
    {"stablelm2", {oct_pretok_qwen2}, {.nfc = true}},
    {"deepseek-v3", {oct_pretok_three_digits, oct_pretok_cjk, oct_pretok_deepseek_v3}, {0}},
    {"deepseek-llm", {"[\\r\\n]", "\\s?[" CASED_LETTERS "]+", "\\s?[!-/:-~！-／：-～‘-‟　-。]+", "\\s+$",
                      "[一-龥ࠀ-一가-퟿]+", oct_pretok_numbers}, {0}},
    {"deepseek-coder", {"[\\r\\n]", "\\s?\\p{L}+", "\\s?\\p{P}+", "[一-龥ࠀ-一가-퟿]+", oct_pretok_number}, {0}},
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
            OCT_TRY(stage == digits ? oct_pretok_add_digits(p, true)
                                    : oct_pretok_add_regex(p, stage, strlen(stage),
                                                           OCT_SPLIT_ISOLATED, false));
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
