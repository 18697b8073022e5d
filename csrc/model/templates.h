/* SPDX-License-Identifier: Apache-2.0
 *
 * templates.h - the chat templates of a model: one, or several with names, of which a request gets
 * the one that transformers would take. */
#ifndef OCT_MODEL_TEMPLATES_H
#define OCT_MODEL_TEMPLATES_H

#include "model/gguf.h"

#include <jansson.h>

enum {
    OCT_TEMPLATES_MAX = 64,
    OCT_TEMPLATE_MAX_BYTES = 1 << 20,
    OCT_TEMPLATE_MAX_NAME = 128, /* bytes */
};

struct oct_templates {
    struct oct_named_template {
        char *name, *text; /* owned; UTF-8 */
    } * item;              /* [n]; owned; names are distinct */
    size_t n, cap;
};

/* Hugging Face: chat_template.jinja ("default") and additional_chat_templates/NAME.jinja of the
 * directory; where there is neither, "chat_template" of tokenizer_config.json (may be NULL): a
 * string, or a list of {"name", "template"}. A single template counts as "default". */
OCT_CHECKED oct_status oct_templates_load_hf(const char *dir, const json_t *tokenizer_config,
                                             struct oct_templates *out);
/* tokenizer.chat_template ("default") and tokenizer.chat_template.NAME. path: for sentences. */
OCT_CHECKED oct_status oct_templates_load_gguf(const char *path, const struct oct_gguf *g,
                                               struct oct_templates *out);
void oct_templates_deinit(struct oct_templates *t);

/* The index of the template for a conversation: that of this name; without a name "tool_use" where
 * there is one and tools are given, else "default". -1: none. */
int oct_templates_pick(const struct oct_templates *t, const char *name, bool has_tools);
/* OCT_E_NOTFOUND with a sentence that lists the names there are. */
oct_status oct_templates_not_found(const struct oct_templates *t, const char *name);

#endif
