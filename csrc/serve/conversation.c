/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/conversation.h"

#include "serve/terminal.h"

#include <string.h>

oct_status oct_conversation_begin(struct oct_conversation *c, const char *system)
{
    struct oct_conversation fresh = {.messages = json_array()};
    if (!fresh.messages) {
        return oct_no_memory("the conversation", 1);
    }
    if (system) {
        const oct_status st = oct_conversation_add(&fresh, "system", system, strlen(system));
        if (st != OCT_OK) {
            oct_conversation_deinit(&fresh);
            return st;
        }
    }
    oct_conversation_deinit(c);
    *c = fresh;
    return OCT_OK;
}

void oct_conversation_deinit(struct oct_conversation *c)
{
    json_decref(c->messages);
    c->messages = NULL;
}

oct_status oct_conversation_add(struct oct_conversation *c, const char *role, const char *content,
                                size_t len)
{
    json_t *message = json_pack("{s:s, s:s%}", "role", role, "content", content, len);
    if (!message || json_array_append_new(c->messages, message) != 0) {
        return oct_no_memory("the conversation", len);
    }
    return OCT_OK;
}

void oct_conversation_drop(struct oct_conversation *c)
{
    const size_t n = json_array_size(c->messages);
    OCT_ASSERT(n > 0);
    (void)json_array_remove(c->messages, n - 1);
}

const char *oct_conversation_system(const struct oct_conversation *c)
{
    const json_t *first = json_array_get(c->messages, 0);
    const char *role = json_string_value(json_object_get(first, "role"));
    return role && !strcmp(role, "system") ? json_string_value(json_object_get(first, "content"))
                                           : NULL;
}

oct_status oct_conversation_prompt(const struct oct_conversation *c, const oct_engine *e,
                                   int32_t **ids, size_t *n)
{
    struct oct_buf messages = {0};
    oct_status st = oct_json_append(&messages, c->messages, JSON_COMPACT);
    if (st == OCT_OK) {
        st = oct_engine_chat_tokens(e, messages.data, NULL, ids, n);
    }
    oct_buf_free(&messages);
    return st;
}
