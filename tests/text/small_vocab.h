/* SPDX-License-Identifier: Apache-2.0
 *
 * small_vocab.h - tokenizers from the small vocabularies of tests/golden, with members replaced. */
#ifndef OCT_TESTS_TEXT_SMALL_VOCAB_H
#define OCT_TESTS_TEXT_SMALL_VOCAB_H

#include "vocab_file.h"

/* The file's JSON with members (a JSON object) put over it; "model" is merged, the others replaced.
 * Given away: free(). */
char *small_vocab_json(const char *file, const json_t *members);
/* Builds it; a failure fails the test. config: tokenizer_config.json, or NULL. */
struct oct_tokenizer *small_vocab(const char *file, const char *members);
struct oct_tokenizer *small_vocab_config(const char *file, const char *members, const char *config);

#endif
