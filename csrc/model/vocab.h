/* SPDX-License-Identifier: Apache-2.0
 *
 * vocab.h - the text side of a checkpoint: its tokenizer, its chat template, the tokens that end an
 * answer. Built from the files of a source; immutable afterwards. */
#ifndef OCT_MODEL_VOCAB_H
#define OCT_MODEL_VOCAB_H

#include "model/config.h"
#include "model/templates.h"
#include "text/tokenizer.h"

struct oct_vocab {
    struct oct_tokenizer *tokenizer; /* owned */
    struct oct_templates templates;
    const char *chat_template; /* the one a conversation without tools gets; NULL: none. Borrowed
                                  from templates */
    char *bos_text, *eos_text; /* owned; what the template sees as bos_token and eos_token; NULL */
    int32_t stop_tokens[OCT_MAX_STOP_TOKENS * 2]; /* distinct; each < the tokenizer's n */
    int32_t n_stop_tokens;
};

/* Hugging Face: tokenizer.json, tokenizer_config.json and the templates (templates.h). GGUF:
 * tokenizer.ggml.* and tokenizer.chat_template. A tokenizer with more ids than the embedding has
 * rows is OCT_E_FORMAT. */
OCT_CHECKED oct_status oct_vocab_load(const struct oct_source *s, const struct oct_model_config *c,
                                      struct oct_vocab **out);
/* "bos_token" or "eos_token" of a tokenizer_config.json: a string, an object with "content", or
 * null. *said: the key is there. dir: for sentences. *out, freed and replaced if there is a text,
 * belongs to the caller. */
OCT_CHECKED oct_status oct_vocab_token_text(const char *dir, const json_t *tokenizer_config,
                                            const char *key, char **out, bool *said);
void oct_vocab_destroy(struct oct_vocab *v); /* NULL is fine */

#endif
