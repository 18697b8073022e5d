/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/chat_template.h"

#include "model/templates.h"

#include <string.h>

static oct_status read_file(const char *path, char **out)
{
    struct oct_file f = {0};
    char *text;
    size_t len;
    OCT_TRY(oct_file_open(path, &f));
    const oct_status st = oct_file_slurp(&f, OCT_TEMPLATE_MAX_BYTES, &text, &len);
    oct_file_close(&f);
    OCT_TRY(st);
    if (memchr(text, '\0', len)) {
        oct_free(text);
        return OCT_FAIL(OCT_E_FORMAT, "%s: has a NUL byte inside; it is no chat template", path);
    }
    *out = text;
    return OCT_OK;
}

oct_status oct_chat_template_read(const struct oct_params *p, struct oct_chat_template *out)
{
    static const char of_a_name[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.";
    const char *value = oct_param_str(p, OCT_P_CHAT_TEMPLATE, NULL);
    struct oct_chat_template t = {0};
    bool is_dir;
    if (!value) {
        *out = t;
        return OCT_OK;
    }
    if (strstr(value, "{{") || strstr(value, "{%")) {
        t.text = oct_strdup(value);
        if (!t.text) {
            return oct_no_memory("a chat template", strlen(value) + 1);
        }
    } else if (oct_path_kind(value, &is_dir) == OCT_OK) {
        OCT_TRY(read_file(value, &t.text));
    } else if (*value && strspn(value, of_a_name) == strlen(value)) {
        oct_error_clear();
        t.name = value;
    } else {
        char shown[200];
        return OCT_FAIL(OCT_E_NOTFOUND,
                        "--chat-template: there is no file \"%s\", and it is no name of a template",
                        oct_error_quote(shown, sizeof shown, value, strlen(value)));
    }
    *out = t;
    return OCT_OK;
}

void oct_chat_template_free(struct oct_chat_template *t)
{
    oct_free(t->text);
    *t = (struct oct_chat_template){0};
}
