/* SPDX-License-Identifier: Apache-2.0
 *
 * model_files.h - a model without its weights: what `info`, `tokenize` and `template` need. */
#ifndef OCT_SERVE_MODEL_FILES_H
#define OCT_SERVE_MODEL_FILES_H

#include "model/vocab.h"

struct oct_model_files {
    struct oct_source *source; /* owned */
    struct oct_model_config config;
    struct oct_vocab *vocab; /* owned */
};

/* On failure nothing stays open. */
OCT_CHECKED oct_status oct_model_files_open(const char *path, struct oct_model_files *out);
void oct_model_files_close(struct oct_model_files *m);

/* What a conversation needs of a model: its templates and what they see as bos_token, eos_token. */
struct oct_model_chat {
    struct oct_templates templates;
    char *bos_text, *eos_text; /* owned; NULL: none */
};

/* Reads templates and tokenizer_config.json (GGUF: the header) and nothing else. On failure nothing
 * stays open. */
OCT_CHECKED oct_status oct_model_chat_open(const char *path, struct oct_model_chat *out);
void oct_model_chat_close(struct oct_model_chat *m);

#endif
