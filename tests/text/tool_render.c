/* SPDX-License-Identifier: Apache-2.0
 *
 * tool_render - renders templates for scripts/diff_template.py: JSON lines {"template", "vars",
 * "now_s"} on stdin, a JSON line {"text"} or {"status", "error"} each on stdout. */
#include "text/chat.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static json_t *render(const json_t *request)
{
    const json_t *source = json_object_get(request, "template");
    const json_t *vars = json_object_get(request, "vars"), *now = json_object_get(request, "now_s");
    struct oct_buf out = {0};
    struct oct_template *t = NULL;
    oct_status st = oct_template_compile(json_string_value(source), json_string_length(source), &t);
    if (st == OCT_OK) {
        st = oct_template_render(t, vars, now ? json_integer_value(now) : 0, &out);
    }
    json_t *answer =
        st == OCT_OK ? json_pack("{s:o}", "text", json_stringn(out.data ? out.data : "", out.len))
                     : json_pack("{s:s, s:o}", "status", oct_status_text(st), "error",
                                 json_string(oct_last_error()));
    oct_template_destroy(t);
    oct_buf_free(&out);
    return answer;
}

int main(void)
{
    char *line = NULL;
    size_t cap = 0;
    ssize_t n;
    while ((n = getline(&line, &cap, stdin)) > 0) {
        json_error_t error;
        json_t *request = json_loadb(line, (size_t)n, JSON_ALLOW_NUL, &error);
        json_t *answer = request && json_is_string(json_object_get(request, "template"))
                             ? render(request)
                             : json_pack("{s:s}", "status", "bad request");
        char *text = answer ? json_dumps(answer, JSON_COMPACT) : NULL;
        if (!text || puts(text) < 0 || fflush(stdout) != 0) {
            return EXIT_FAILURE;
        }
        free(text); /* jansson's own memory */
        json_decref(answer);
        json_decref(request);
    }
    free(line); /* getline's */
    return EXIT_SUCCESS;
}
