/* SPDX-License-Identifier: Apache-2.0
 *
 * template.c - octavo template: a conversation as a chat template renders it. */
#include "serve/command.h"

#include "base/json.h"
#include "serve/chat_template.h"
#include "serve/model_files.h"
#include "serve/terminal.h"
#include "text/chat.h"

#include <string.h>

/* What is read before the model is. */
struct inputs {
    struct oct_chat_template given;
    struct oct_buf messages, vars;
};

static oct_status slurp_file(const char *path, struct oct_buf *out)
{
    struct oct_file f = {0};
    char *text = NULL;
    size_t len;
    OCT_TRY(oct_file_open(path, &f));
    oct_status st = oct_file_slurp(&f, OCT_INPUT_MAX_BYTES, &text, &len);
    if (st == OCT_OK) {
        st = oct_buf_append(out, text, len);
    }
    oct_file_close(&f);
    oct_free(text);
    return st;
}

static oct_status read_inputs(const struct oct_params *p, struct inputs *in)
{
    const char *vars = oct_param_str(p, OCT_P_VARS, NULL);
    OCT_TRY(oct_chat_template_read(p, &in->given));
    if (vars) {
        OCT_TRY(vars[0] == '@' ? slurp_file(vars + 1, &in->vars)
                               : oct_buf_append(&in->vars, vars, strlen(vars)));
    }
    OCT_TRY(oct_input_slurp(0, &in->messages));
    if (in->messages.len == 0) {
        return OCT_FAIL(OCT_E_ARG, "standard input is empty; give the messages there, as "
                                   "[{\"role\": \"user\", \"content\": \"Hello\"}]");
    }
    return OCT_OK;
}

/* The variables that transformers gives a template; those of --vars win. */
static oct_status make_vars(const struct inputs *in, const struct oct_model_chat *m, json_t **out)
{
    json_t *messages = NULL, *extra = NULL, *vars = json_object();
    oct_status st;
    OCT_TRY_GOTO(oct_json_parse(in->messages.data, in->messages.len, "the messages",
                                OCT_JSON_MAX_DEPTH, OCT_JSON_NUL, &messages),
                 st, done);
    if (!json_is_array(messages)) {
        st = OCT_FAIL(OCT_E_ARG, "the messages must be a JSON list; other variables belong to "
                                 "--vars");
        goto done;
    }
    if (in->vars.len > 0) {
        OCT_TRY_GOTO(oct_json_parse(in->vars.data, in->vars.len, "--vars", OCT_JSON_MAX_DEPTH,
                                    OCT_JSON_NUL, &extra),
                     st, done);
        if (!json_is_object(extra)) {
            st = OCT_FAIL(OCT_E_ARG, "--vars: must be a JSON object");
            goto done;
        }
    }
    bool ok = vars && json_object_set(vars, "messages", messages) == 0 &&
              json_object_set_new(vars, "tools", json_null()) == 0 &&
              json_object_set_new(vars, "documents", json_null()) == 0 &&
              json_object_set_new(vars, "add_generation_prompt", json_false()) == 0;
    if (ok && m->bos_text) {
        ok = json_object_set_new(vars, "bos_token", json_string(m->bos_text)) == 0;
    }
    if (ok && m->eos_text) {
        ok = json_object_set_new(vars, "eos_token", json_string(m->eos_text)) == 0;
    }
    ok = ok && (!extra || json_object_update(vars, extra) == 0);
    st = ok ? OCT_OK : oct_no_memory("the template's variables", 1);
done:
    json_decref(messages);
    json_decref(extra);
    if (st != OCT_OK) {
        json_decref(vars);
        return st;
    }
    *out = vars;
    return OCT_OK;
}

static oct_status render(const struct inputs *in, const struct oct_model_chat *m,
                         const json_t *vars, struct oct_buf *out)
{
    const json_t *tools = json_object_get(vars, "tools");
    const char *text = in->given.text;
    if (!text) {
        const int i = oct_templates_pick(&m->templates, in->given.name, !json_is_null(tools));
        if (i < 0) {
            return oct_templates_not_found(&m->templates, in->given.name);
        }
        text = m->templates.item[i].text;
    }
    struct oct_template *t;
    OCT_TRY(oct_template_compile(text, strlen(text), &t));
    const oct_status st = oct_template_render(t, vars, -1, out);
    oct_template_destroy(t);
    return st;
}

static oct_status print(struct oct_output *out, bool as_json, const struct oct_buf *text)
{
    const char *s = text->data ? text->data : "";
    if (as_json) {
        json_t *o = json_pack("{s:s%}", "text", s, text->len);
        if (!o) {
            return oct_no_memory("JSON output", text->len);
        }
        const oct_status st = oct_output_json(out, o, false);
        json_decref(o);
        return st;
    }
    OCT_TRY(oct_output_text(out, s, text->len));
    return out->is_terminal && out->last_byte != '\n' ? oct_output_write(out, "\n", 1) : OCT_OK;
}

enum oct_exit oct_command_template(const struct oct_params *p)
{
    const char *path = NULL;
    size_t next;
    struct oct_output out;
    struct inputs in = {0};
    struct oct_model_chat m = {0};
    struct oct_buf text = {0};
    json_t *vars = NULL;
    oct_status st;
    oct_output_init(&out, 1);
    const bool has_model = p->n_args > 0 || oct_param_is_set(p, OCT_P_MODEL);
    OCT_TRY_GOTO(read_inputs(p, &in), st, done);
    if (has_model || !in.given.text) {
        OCT_TRY_GOTO(oct_command_model(p, &path, &next), st, done);
    }
    oct_command_sandbox(p, path ? path : "", NULL);
    if (path) {
        OCT_TRY_GOTO(oct_model_chat_open(path, &m), st, done);
    }
    OCT_TRY_GOTO(make_vars(&in, &m, &vars), st, done);
    OCT_TRY_GOTO(render(&in, &m, vars, &text), st, done);
    st = print(&out, oct_param_bool(p, OCT_P_JSON), &text);
done:
    json_decref(vars);
    oct_buf_free(&text);
    oct_model_chat_close(&m);
    oct_chat_template_free(&in.given);
    oct_buf_free(&in.messages);
    oct_buf_free(&in.vars);
    return oct_output_finish(&out, st);
}
