/* SPDX-License-Identifier: Apache-2.0
 *
 * Any bytes as a chat template, compiled and rendered with a small conversation: a status, never a
 * crash, and what is rendered is UTF-8 within the limit of the output. */
#include "base/mem.h"
#include "text/chat.h"
#include "text/jinja_utf8.h"

#include <string.h>

static const char conversation[] =
    "{\"messages\": [{\"role\": \"system\", \"content\": \"s\"}, {\"role\": \"user\", \"content\": "
    "\" h\\u00e9 <b> \"}, {\"role\": \"assistant\", \"content\": \"<think>a</think>b\", "
    "\"tool_calls\": "
    "[{\"function\": {\"name\": \"f\", \"arguments\": {\"x\": 1.5, \"y\": [null, true]}}}]}], "
    "\"tools\": [{\"type\": \"function\", \"function\": {\"name\": \"f\"}}], \"n\": 7, \"f\": 2.5, "
    "\"s\": \"Text to Split\", \"l\": [3, 1, 2], \"ls\": [\"b\", \"A\", \"c\"], \"d\": {\"b\": 1, "
    "\"a\": 2}, \"lo\": [{\"a\": 1, \"b\": \"x\"}, {\"a\": 2}], \"e\": [], \"t\": true, \"none\": "
    "null, "
    "\"add_generation_prompt\": true, \"bos_token\": \"<s>\", \"eos_token\": \"</s>\"}";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Marking who wrote which byte changes no byte; a budget of memory may end it earlier. */
static void check_marked(const struct oct_template *t, const json_t *vars,
                         const struct oct_buf *want)
{
    struct oct_buf out = {0}, marks = {0};
    if (oct_template_render_marked(t, vars, vars, 0, &out, &marks) == OCT_OK) {
        OCT_ASSERT(out.len == want->len && marks.len == out.len);
        OCT_ASSERT(out.len == 0 || memcmp(out.data, want->data, out.len) == 0);
        for (size_t i = 0; i < marks.len; i++) {
            OCT_ASSERT(marks.data[i] == 0 || marks.data[i] == 1);
        }
    } else {
        OCT_ASSERT(out.len == 0 && marks.len == 0);
    }
    oct_buf_free(&out);
    oct_buf_free(&marks);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static json_t *vars;
    if (!vars) {
        vars = json_loads(conversation, 0, NULL);
        OCT_ASSERT(vars);
    }
    struct oct_template *t = NULL;
    if (oct_template_compile((const char *)data, size, &t) != OCT_OK) {
        OCT_ASSERT(!t && oct_last_error()[0]);
        return 0;
    }
    struct oct_buf out = {0};
    if (oct_template_render(t, vars, 0, &out) == OCT_OK) {
        OCT_ASSERT(out.len <= 4 << 20);
        OCT_ASSERT(out.len == 0 || oct_ju_valid(out.data, out.len));
    } else {
        OCT_ASSERT(out.len == 0 && oct_last_error()[0]);
    }
    check_marked(t, vars, &out);
    oct_buf_free(&out);
    oct_template_destroy(t);
    return 0;
}
