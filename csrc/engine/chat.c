/* SPDX-License-Identifier: Apache-2.0
 *
 * chat.c - the chat calls of octavo.h. They touch only what is immutable once the engine is open,
 * so any thread may call them. */
#include "engine/engine.h"

#include "base/json.h"
#include "base/mem.h"

#include <string.h>

/* ---- templates ---- */

static oct_status compile(const char *name, const char *text, struct oct_template **out)
{
    const oct_status st = oct_template_compile(text, strlen(text), out);
    if (st != OCT_OK && strcmp(name, "default") != 0) {
        char quoted[100];
        oct_error_prefix("chat template \"%s\"",
                         oct_error_quote(quoted, sizeof quoted, name, strlen(name)));
    }
    return st;
}

static oct_status compile_all(struct oct_chat *c)
{
    const struct oct_templates *t = &c->vocab->templates;
    c->compiled = oct_calloc(t->n, sizeof *c->compiled);
    if (!c->compiled) {
        return oct_no_memory("chat templates", t->n * sizeof *c->compiled);
    }
    for (size_t i = 0; i < t->n; i++) {
        struct oct_chat_compiled *one = &c->compiled[i];
        one->st = compile(t->item[i].name, t->item[i].text, &one->t);
        if (one->st == OCT_E_MEM) {
            return one->st;
        }
        if (one->st != OCT_OK) {
            const char *why = oct_last_error();
            one->why = oct_strdup(why);
            if (!one->why) {
                return oct_no_memory("the sentence of a failure", strlen(why) + 1);
            }
        }
    }
    return OCT_OK;
}

/* The template for a conversation, NULL if there is none. */
static oct_status pick(const struct oct_chat *c, bool has_tools, const struct oct_template **out)
{
    *out = c->given;
    const int i = c->given ? -1 : oct_templates_pick(&c->vocab->templates, c->name, has_tools);
    if (i >= 0) {
        const struct oct_chat_compiled *one = &c->compiled[i];
        if (!one->t) {
            return OCT_FAIL(one->st, "%s", one->why);
        }
        *out = one->t;
    }
    return OCT_OK;
}

oct_status oct_chat_init(struct oct_chat *c, const struct oct_vocab *vocab, const char *text,
                         const char *name)
{
    const struct oct_template *t;
    c->vocab = vocab;
    if (text) {
        return compile("default", text, &c->given);
    }
    if (name && oct_templates_pick(&vocab->templates, name, false) < 0) {
        return oct_templates_not_found(&vocab->templates, name);
    }
    if (name && !(c->name = oct_strdup(name))) {
        return oct_no_memory("the name of a chat template", strlen(name) + 1);
    }
    OCT_TRY(compile_all(c));
    return pick(c, false, &t);
}

void oct_chat_deinit(struct oct_chat *c)
{
    for (size_t i = 0; c->compiled && i < c->vocab->templates.n; i++) {
        oct_template_destroy(c->compiled[i].t);
        oct_free(c->compiled[i].why);
    }
    oct_free(c->compiled);
    oct_template_destroy(c->given);
    oct_free(c->name);
    *c = (struct oct_chat){0};
}

/* ---- prompts ---- */

/* A JSON text of a request; *out is the caller's. */
static oct_status parse(const char *what, const char *text, bool list, json_t **out)
{
    json_t *j;
    const oct_status st =
        oct_json_parse(text, strlen(text), what, OCT_JSON_MAX_DEPTH, OCT_JSON_NUL, &j);
    if (st != OCT_OK) {
        return st == OCT_E_FORMAT ? OCT_FAIL(OCT_E_ARG, "%s", oct_last_error()) : st;
    }
    if (list ? !json_is_array(j) : !json_is_object(j)) {
        json_decref(j);
        return OCT_FAIL(OCT_E_ARG, "%s: must be a JSON %s", what, list ? "list" : "object");
    }
    *out = j;
    return OCT_OK;
}

/* A conversation on its way to a prompt. */
struct conversation {
    json_t *messages, *extra; /* as given; extra may be NULL */
    json_t *own;              /* what the model's files say: bos_token, eos_token */
    json_t *vars;             /* all together, the caller's over the others */
};

static void drop(struct conversation *c)
{
    json_decref(c->messages);
    json_decref(c->extra);
    json_decref(c->own);
    json_decref(c->vars);
}

static bool set_text(json_t *object, const char *key, const char *text)
{
    return !text || json_object_set_new(object, key, json_string(text)) == 0;
}

/* What transformers puts into a template's context. */
static oct_status fill(const struct oct_chat *chat, struct conversation *c)
{
    c->own = json_object();
    c->vars = json_object();
    const bool ok = c->own && c->vars && set_text(c->own, "bos_token", chat->vocab->bos_text) &&
                    set_text(c->own, "eos_token", chat->vocab->eos_text) &&
                    json_object_update(c->vars, c->own) == 0 &&
                    json_object_set(c->vars, "messages", c->messages) == 0 &&
                    json_object_set_new(c->vars, "tools", json_null()) == 0 &&
                    json_object_set_new(c->vars, "documents", json_null()) == 0 &&
                    json_object_set_new(c->vars, "add_generation_prompt", json_true()) == 0 &&
                    (!c->extra || json_object_update(c->vars, c->extra) == 0);
    return ok ? OCT_OK : oct_no_memory("the template's variables", 0);
}

static oct_status render(const oct_engine *e, const char *messages_json, const char *vars_json,
                         struct oct_buf *out, struct oct_buf *own_bytes)
{
    oct_status st;
    struct conversation c = {0};
    const struct oct_template *t;
    OCT_TRY_GOTO(parse("messages", messages_json, true, &c.messages), st, done);
    if (vars_json) {
        OCT_TRY_GOTO(parse("template variables", vars_json, false, &c.extra), st, done);
    }
    const json_t *tools = json_object_get(c.extra, "tools");
    OCT_TRY_GOTO(pick(&e->chat, tools && !json_is_null(tools), &t), st, done);
    if (!t) {
        st = e->vocab->templates.n > 0
                 ? oct_templates_not_found(&e->vocab->templates, NULL)
                 : OCT_FAIL(OCT_E_UNSUPPORTED, "the model has no chat template; send it plain text "
                                               "instead (--raw), or give one (--chat-template)");
        goto done;
    }
    OCT_TRY_GOTO(fill(&e->chat, &c), st, done);
    st = own_bytes ? oct_template_render_marked(t, c.vars, c.own, -1, out, own_bytes)
                   : oct_template_render(t, c.vars, -1, out);
done:
    drop(&c);
    return st;
}

oct_status oct_engine_chat_prompt(const oct_engine *e, const char *messages_json,
                                  const char *vars_json, char **prompt, size_t *len)
{
    struct oct_buf b = {0};
    oct_status st = render(e, messages_json, vars_json, &b, NULL);
    if (st == OCT_OK) {
        st = oct_buf_reserve(&b, 0); /* an empty text is a buffer too */
    }
    if (st != OCT_OK) {
        oct_buf_free(&b);
        return st;
    }
    *prompt = b.data;
    *len = b.len;
    return OCT_OK;
}

oct_status oct_engine_chat_tokens(const oct_engine *e, const char *messages_json,
                                  const char *vars_json, int32_t **ids, size_t *n)
{
    struct oct_buf text = {0}, own_bytes = {0};
    struct oct_ids list = {0};
    oct_status st = render(e, messages_json, vars_json, &text, &own_bytes);
    if (st == OCT_OK && text.len > 0) {
        st = oct_tokenizer_encode_marked(e->vocab->tokenizer, text.data, text.len, own_bytes.data,
                                         &list);
    }
    if (st == OCT_OK && !list.data && !(list.data = oct_malloc(0))) {
        st = oct_no_memory("token ids", 0);
    }
    oct_buf_free(&text);
    oct_buf_free(&own_bytes);
    if (st != OCT_OK) {
        oct_ids_free(&list);
        return st;
    }
    *ids = list.data;
    *n = list.len;
    return OCT_OK;
}
