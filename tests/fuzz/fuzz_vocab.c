/* SPDX-License-Identifier: Apache-2.0
 *
 * Bytes as the vocabulary keys of a GGUF file: the first byte chooses model and pre-tokeniser, then
 * come strings with a length byte each; a string of a length over 127 is a merge. Seeds:
 * corpus/vocab. */
#include "text/tokenizer.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum { MAX = 512 };
    static const char *const pres[] = {NULL,    "gpt-2",        "smollm",
                                       "qwen2", "deepseek-llm", "llama-bpe"};
    const char *tokens[MAX], *merges[MAX];
    size_t token_lens[MAX], merge_lens[MAX];
    int32_t types[MAX];
    float scores[MAX];
    if (size < 2) {
        return 0;
    }
    struct oct_tokenizer_gguf g = {.model = data[0] & 1 ? "llama" : "gpt2",
                                   .pre = pres[data[0] / 2 % 6],
                                   .tokens = tokens,
                                   .token_lens = token_lens,
                                   .types = types,
                                   .scores = scores,
                                   .merges = merges,
                                   .merge_lens = merge_lens,
                                   .bos = (int8_t)data[1],
                                   .eos = -1,
                                   .unk = 0,
                                   .pad = -1,
                                   .add_bos = data[1] % 3 - 1,
                                   .add_eos = -1,
                                   .add_space_prefix = data[0] % 3 - 1};
    for (size_t at = 2; at + 1 < size && g.n_tokens < MAX && g.n_merges < MAX;) {
        const uint8_t head = data[at++];
        size_t len = head & 31;
        len = len < size - at ? len : size - at;
        if (head & 128) {
            merges[g.n_merges] = (const char *)data + at;
            merge_lens[g.n_merges++] = len;
        } else {
            types[g.n_tokens] = head / 32 == 0 ? 1 : head / 32 * 2;
            scores[g.n_tokens] = (float)(at % 7) - (float)len;
            tokens[g.n_tokens] = (const char *)data + at;
            token_lens[g.n_tokens++] = len;
        }
        at += len;
    }
    struct oct_tokenizer *t = NULL;
    if (oct_tokenizer_from_gguf(&g, &t) != OCT_OK) {
        OCT_ASSERT(!t && oct_last_error()[0]);
        return 0;
    }
    struct oct_ids ids = {0};
    struct oct_buf out = {0};
    OCT_ASSERT(oct_tokenizer_encode(t, (const char *)data, size, 3, &ids) == OCT_OK);
    OCT_ASSERT(oct_tokenizer_decode(t, ids.data, ids.len, false, &out) == OCT_OK);
    oct_buf_free(&out);
    oct_ids_free(&ids);
    oct_tokenizer_destroy(t);
    return 0;
}
