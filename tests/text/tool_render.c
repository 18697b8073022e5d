/* SPDX-License-Identifier: Apache-2.0
 *
 * tool_render - renders templates for scripts/diff_template.py: JSON lines {"template", "vars",
 * "now_s", "own"} on stdin, a JSON line {"text"} or {"status", "error"} each on stdout. With "own",
 * a list of names of variables that count as the template's, "own" in the answer has a 1 for each
 * byte of the text that is the template's and a 0 for each other. */
#include "text/chat.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static json_t *render(const json_t *request)
{
    const json_t *source = json_object_get(request, "template");
    const json_t *vars = json_object_get(request, "vars"), *now = json_object_get(request, "now_s");
    const json_t *names = json_object_get(request, "own"), *name;
    json_t *own = names ? json_object() : NULL;
    size_t k;
    json_array_foreach(names, k, name)
    {
        (void)json_object_set(own, json_string_value(name),
                              json_object_get(vars, json_string_value(name)));
    }
    struct oct_buf out = {0}, marks = {0};
    struct oct_template *t = NULL;
    oct_status st = oct_template_compile(json_string_value(source), json_string_length(source), &t);
    if (st == OCT_OK) {
        const int64_t now_s = now ? json_integer_value(now) : 0;
        st = own ? oct_template_render_marked(t, vars, own, now_s, &out, &marks)
                 : oct_template_render(t, vars, now_s, &out);
    }
    for (size_t i = 0; i < marks.len; i++) {
        marks.data[i] = marks.data[i] ? '1' : '0';
    }
    json_t *answer =
        st == OCT_OK ? json_pack("{s:o}", "text", json_stringn(out.data ? out.data : "", out.len))
                     : json_pack("{s:s, s:o}", "status", oct_status_text(st), "error",
                                 json_string(oct_last_error()));
    if (answer && own && st == OCT_OK) {
        (void)json_object_set_new(answer, "own",
                                  json_stringn(marks.data ? marks.data : "", marks.len));
    }
    oct_template_destroy(t);
    oct_buf_free(&out);
    oct_buf_free(&marks);
    json_decref(own);
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
