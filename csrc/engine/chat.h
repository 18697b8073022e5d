/* SPDX-License-Identifier: Apache-2.0
 *
 * chat.h - which chat template a conversation gets, and the prompt it becomes. */
#ifndef OCT_ENGINE_CHAT_H
#define OCT_ENGINE_CHAT_H

#include "model/vocab.h"
#include "text/chat.h"

struct oct_chat {
    const struct oct_vocab *vocab; /* borrowed */
    struct oct_template *given;    /* the user's own, in place of the model's; owned, NULL */
    char *name;                    /* of the model's template to use always; owned, NULL */
    struct oct_chat_compiled {
        struct oct_template *t; /* NULL: it is broken; st and why say how, when it is used */
        oct_status st;
        char *why;
    } * compiled; /* [vocab->templates.n], owned */
};

/* Compiles every template once. text: a template in place of the model's, or NULL; name: the
 * model's template to use whatever the conversation, or NULL. A template that would be used and
 * cannot be compiled is the failure; another one's is kept for who asks for it. {0} before. */
OCT_CHECKED oct_status oct_chat_init(struct oct_chat *c, const struct oct_vocab *vocab,
                                     const char *text, const char *name);
void oct_chat_deinit(struct oct_chat *c);

#endif
