/* SPDX-License-Identifier: Apache-2.0
 *
 * llama2c.h - makes a GGUF file of a model in llama2.c's legacy format, so that a small model that
 * was really trained can be loaded: stories260K of ../shared/data.
 *
 * The format: seven int32 (dim, hidden dim, layers, heads, kv heads, vocabulary, positions), then
 * fp32 tensors, each for all layers at once: token embedding, attention norms, wq, wk, wv, wo, ffn
 * norms, w1 (gate), w2 (down), w3 (up), final norm, two tables of rotary values (computed here, so
 * skipped), and the head if the vocabulary is written as a negative number. Rows of wq and wk lie
 * in the order of interleaved pairs, as in GGUF's llama. The tokenizer: int32 longest token, then
 * per token its score (fp32), length (int32) and bytes; 0..2 are unknown, BOS and EOS, 3..258
 * bytes. */
#ifndef OCT_TEST_LLAMA2C_H
#define OCT_TEST_LLAMA2C_H

#include "support/writer.h"

#define OCT_STORIES_BIN OCT_SOURCE_DIR "/../shared/data/stories260K.bin"
#define OCT_STORIES_TOK OCT_SOURCE_DIR "/../shared/data/tok512.bin"

/* False where the shared data is absent: the test then says that it is skipped. */
bool oct_stories_available(void);

/* Appends the GGUF file to out. The files are trusted: a broken one is an assertion. */
void oct_llama2c_gguf(const char *model_path, const char *tokenizer_path, struct oct_buf *out);

#endif
