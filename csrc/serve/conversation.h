/* SPDX-License-Identifier: Apache-2.0
 *
 * conversation.h - the messages of a chat, and the prompt the model's template makes of them. */
#ifndef OCT_SERVE_CONVERSATION_H
#define OCT_SERVE_CONVERSATION_H

#include "base/mem.h"

#include <jansson.h>

struct oct_conversation {
    json_t *messages; /* owned; a list of {role, content} */
};

/* system may be NULL. Ends a conversation that c held before. */
OCT_CHECKED oct_status oct_conversation_begin(struct oct_conversation *c, const char *system);
void oct_conversation_deinit(struct oct_conversation *c);

/* role: "user", "assistant". The content is UTF-8. */
OCT_CHECKED oct_status oct_conversation_add(struct oct_conversation *c, const char *role,
                                            const char *content, size_t len);
/* Forgets the last message. */
void oct_conversation_drop(struct oct_conversation *c);
/* The system message, or NULL; borrowed until the next call. */
const char *oct_conversation_system(const struct oct_conversation *c);

/* The ids to answer; given away (oct_buffer_free). */
OCT_CHECKED oct_status oct_conversation_prompt(const struct oct_conversation *c,
                                               const oct_engine *e, int32_t **ids, size_t *n);

#endif
