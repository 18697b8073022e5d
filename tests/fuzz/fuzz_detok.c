/* SPDX-License-Identifier: Apache-2.0
 *
 * Any ids and stop strings: streaming gives what decoding at once gives, cut at the first stop
 * string. Bytes: which of two vocabularies, up to three stop strings with a length byte each, ids
 * of one byte. Seeds: corpus/detok. */
#include "text/detok_twin.h"
#include "text/unicode.h"

#include <stdio.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* 256 byte tokens and a few longer ones, byte-level or with byte fallback. */
static struct oct_tokenizer *build(bool spm)
{
    static const char *const words[] = {"<s>",  " the",  "the ",         " ",
                                        "stop", "END\n", "\xe6\xbc\xa2", " st"};
    static char text[300][8];
    const char *tokens[300];
    size_t lens[300];
    int32_t types[300];
    float scores[300] = {0};
    uint32_t n = 0;
    for (; n < 8; n++) {
        tokens[n] = words[n];
        lens[n] = strlen(words[n]);
        types[n] = n == 0 ? 3 : 4; /* control, user-defined: their text as it is */
    }
    for (unsigned byte = 0; byte < 248; byte++, n++) {
        const unsigned char place[] = {(unsigned char)(byte < 128 ? byte : byte + 8)};
        const uint32_t c = place[0];
        const uint32_t shown = (c >= 33 && c <= 126) || (c >= 161 && c != 173) ? c
                               : c <= 32                                       ? 256 + c
                               : c == 173                                      ? 323
                                                                               : 289 + c - 127;
        lens[n] = spm ? (size_t)snprintf(text[n], 8, "<0x%02X>", c)
                      : oct_utf8_put(shown, (unsigned char *)text[n]);
        tokens[n] = text[n];
        types[n] = spm ? 6 : 1;
    }
    const struct oct_tokenizer_gguf g = {.model = spm ? "llama" : "gpt2",
                                         .pre = "gpt-2",
                                         .n_tokens = n,
                                         .tokens = tokens,
                                         .token_lens = lens,
                                         .types = types,
                                         .scores = scores,
                                         .bos = -1,
                                         .eos = -1,
                                         .unk = -1,
                                         .pad = -1,
                                         .add_bos = -1,
                                         .add_eos = -1,
                                         .add_space_prefix = -1};
    struct oct_tokenizer *t = NULL;
    OCT_ASSERT(oct_tokenizer_from_gguf(&g, &t) == OCT_OK);
    return t;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct oct_tokenizer *made[2];
    char text[3][33];
    const char *stops[3];
    size_t n_stops = 0, at = 1, cut;
    int32_t ids[256];
    if (size < 2 || size > 256) {
        return 0;
    }
    if (!made[data[0] & 1]) {
        made[data[0] & 1] = build(data[0] & 1);
    }
    const struct oct_tokenizer *t = made[data[0] & 1];
    for (unsigned i = 0; i < (data[0] / 2u) % 4 && at < size; i++) {
        size_t len = data[at++] & 31;
        len = len < size - at ? len : size - at;
        memcpy(text[n_stops], data + at, len);
        text[n_stops][len] = '\0';
        at += len;
        const size_t stop_len = strlen(text[n_stops]); /* a stop string is UTF-8 and not empty */
        if (stop_len &&
            oct_utf8_valid_prefix((unsigned char *)text[n_stops], stop_len) == stop_len) {
            stops[n_stops] = text[n_stops];
            n_stops++;
        }
    }
    const size_t n = size - at;
    struct oct_buf whole = {0}, got = {0};
    struct oct_detok d;
    oct_detok_init(&d, t, stops, n_stops, data[0] & 64);
    for (size_t i = 0; i < n; i++) {
        ids[i] = data[at + i];
    }
    OCT_ASSERT(oct_tokenizer_decode(t, ids, n, data[0] & 64, &whole) == OCT_OK);
    const int want = detok_twin(whole.data ? whole.data : "", whole.len, stops, n_stops, &cut);
    for (size_t i = 0; i < n; i++) {
        OCT_ASSERT(oct_detok_add(&d, ids[i], &got) == OCT_OK);
        OCT_ASSERT(got.len <= cut);
        OCT_ASSERT(oct_utf8_valid_prefix((unsigned char *)got.data, got.len) == got.len);
    }
    OCT_ASSERT(oct_detok_finish(&d, &got) == OCT_OK);
    OCT_ASSERT((want >= 0) == (d.stopped >= 0) && got.len == cut);
    OCT_ASSERT(cut == 0 || memcmp(got.data, whole.data, cut) == 0);
    oct_detok_deinit(&d);
    oct_buf_free(&whole);
    oct_buf_free(&got);
    return 0;
}
