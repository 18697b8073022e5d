/* SPDX-License-Identifier: Apache-2.0 */
#include "api/ollama.h"

#include "base/param.h"

#include <string.h>

/* A body on its way to OpenAI's. */
struct translation {
    struct oct_ollama_request *r;
    json_t *to;
    int32_t context;
    int64_t repeat_last_n; /* -1: all, also if it was not said */
    const json_t *prompt, *system;
};
typedef struct translation tr;

static oct_status wrong(const char *field, const char *what)
{
    return OCT_FAIL(OCT_E_ARG, "%s must be %s", field, what);
}

static json_t *borrowed(const json_t *v)
{
    return (json_t *)(uintptr_t)v; /* jansson counts references in what it is given to keep */
}

static oct_status put(tr *t, const char *name, json_t *value) /* given away */
{
    return json_object_set_new(t->to, name, value) == 0 ? OCT_OK : oct_no_memory(name, 1);
}

/* ---- one function a field or option ---- */

/* OpenAI's field has the same name and meaning, and is checked there. */
static oct_status f_pass(tr *t, const char *f, const json_t *v)
{
    return put(t, f, json_incref(borrowed(v)));
}

/* Steers the machine, not the answer. */
static oct_status f_ignored(tr *t, const char *f, const json_t *v)
{
    (void)t;
    return json_is_array(v) || json_is_object(v) ? wrong(f, "a number, a string or true or false")
                                                 : OCT_OK;
}

static oct_status f_model(tr *t, const char *f, const json_t *v)
{
    if (!json_is_string(v) || json_string_length(v) == 0 ||
        strlen(json_string_value(v)) != json_string_length(v)) {
        return wrong(f, "a name");
    }
    t->r->model = json_string_value(v);
    return OCT_OK;
}

static oct_status f_prompt(tr *t, const char *f, const json_t *v)
{
    t->prompt = v;
    return json_is_string(v) ? OCT_OK : wrong(f, "a string");
}
static oct_status f_system(tr *t, const char *f, const json_t *v)
{
    t->system = v;
    return json_is_string(v) ? OCT_OK : wrong(f, "a string");
}

/* Fine as long as there is nothing in it. */
static oct_status f_empty(tr *t, const char *f, const json_t *v)
{
    (void)t;
    static const struct {
        const char *field, *why;
    } whys[] = {
        {"suffix", "the model only continues texts"},
        {"images", "the model reads text only"},
        {"format", "the form of an answer cannot be prescribed yet"},
        {"template", "the model's own template is used; \"raw\" takes a prompt without one"},
        {"context", "send the conversation to /api/chat; what was computed before is found again"},
    };
    const bool is_empty = (json_is_string(v) && json_string_length(v) == 0) ||
                          (json_is_array(v) && json_array_size(v) == 0);
    for (size_t i = 0; !is_empty && i < sizeof whys / sizeof *whys; i++) {
        if (!strcmp(f, whys[i].field)) {
            return OCT_FAIL(OCT_E_UNSUPPORTED, "%s: %s", f, whys[i].why);
        }
    }
    return is_empty ? OCT_OK : wrong(f, "empty");
}

static oct_status f_stream(tr *t, const char *f, const json_t *v)
{
    t->r->stream = json_is_true(v);
    return json_is_boolean(v) ? OCT_OK : wrong(f, "true or false");
}
static oct_status f_raw(tr *t, const char *f, const json_t *v)
{
    t->r->is_raw = json_is_true(v);
    return json_is_boolean(v) ? OCT_OK : wrong(f, "true or false");
}
static oct_status f_flag(tr *t, const char *f, const json_t *v)
{
    (void)t;
    return json_is_boolean(v) ? OCT_OK : wrong(f, "true or false");
}

/* A switch that templates know, or a strength that some know. */
static oct_status f_think(tr *t, const char *f, const json_t *v)
{
    const char *level = json_string_value(v);
    if (!json_is_boolean(v) &&
        (!level || (strcmp(level, "low") && strcmp(level, "medium") && strcmp(level, "high")))) {
        return wrong(f, "true, false, \"low\", \"medium\" or \"high\"");
    }
    if (level) {
        OCT_TRY(put(t, "reasoning_effort", json_incref(borrowed(v))));
    }
    json_t *vars = json_object();
    OCT_TRY(put(t, "chat_template_kwargs", vars));
    return json_object_set_new(vars, "enable_thinking", json_boolean(level || json_is_true(v))) == 0
               ? OCT_OK
               : oct_no_memory(f, 1);
}

static oct_status f_top_logprobs(tr *t, const char *f, const json_t *v)
{
    /* beside "logprobs" only, as there */
    return json_is_true(json_object_get(t->r->body, "logprobs")) ? f_pass(t, f, v) : OCT_OK;
}

/* {role, content, thinking, images, tool_calls, tool_name} as OpenAI writes it. */
static oct_status message(const json_t *m, size_t i, json_t *list)
{
    const json_t *images = json_object_get(m, "images");
    if (!json_is_object(m)) {
        return OCT_FAIL(OCT_E_ARG, "messages[%zu] must be an object", i);
    }
    if (images && !json_is_null(images) && json_array_size(images) + !json_is_array(images) > 0) {
        return OCT_FAIL(OCT_E_UNSUPPORTED, "messages[%zu].images: the model reads text only", i);
    }
    json_t *to = json_object();
    if (!to || json_array_append_new(list, to) != 0) {
        return oct_no_memory("a message", 1);
    }
    const char *key;
    json_t *value;
    /* one by one: json_copy() does not say that memory ran out in the middle */
    json_object_foreach(borrowed(m), key, value)
    {
        const char *name = !strcmp(key, "thinking")    ? "reasoning_content"
                           : !strcmp(key, "tool_name") ? "name"
                                                       : key;
        const bool is_dropped = !strcmp(key, "images") || json_is_null(value);
        if (!is_dropped && json_object_set(to, name, value) != 0) {
            return oct_no_memory("a message", 1);
        }
    }
    if (!json_object_get(to, "content") &&
        json_object_set_new(to, "content", json_string("")) != 0) {
        return oct_no_memory("a message", 1);
    }
    return OCT_OK;
}

static oct_status f_messages(tr *t, const char *f, const json_t *v)
{
    if (!json_is_array(v)) {
        return wrong(f, "a list of messages");
    }
    json_t *list = json_array();
    oct_status st = list ? OCT_OK : oct_no_memory(f, 1);
    for (size_t i = 0; st == OCT_OK && i < json_array_size(v); i++) {
        st = message(json_array_get(v, i), i, list);
    }
    if (st != OCT_OK || json_array_size(v) == 0) { /* none: is_empty */
        json_decref(list);
        return st;
    }
    return put(t, f, list);
}

/* ---- options ---- */

static oct_status o_seed(tr *t, const char *f, const json_t *v)
{
    return json_is_integer(v) && json_integer_value(v) == -1 ? OCT_OK /* a random one */
                                                             : f_pass(t, f, v);
}

static oct_status o_num_predict(tr *t, const char *f, const json_t *v)
{
    const json_int_t n = json_integer_value(v);
    if (!json_is_integer(v) || n < -2 || n > INT32_MAX) {
        return wrong(f, "a number of tokens, or -1 for as many as fit");
    }
    return n > 0 ? put(t, "max_tokens", json_integer(n)) : OCT_OK;
}

static oct_status o_num_ctx(tr *t, const char *f, const json_t *v)
{
    const json_int_t n = json_integer_value(v);
    if (!json_is_integer(v) || n < 1) {
        return wrong(f, "a number of tokens");
    }
    return n <= t->context
               ? OCT_OK
               : OCT_FAIL(OCT_E_ARG,
                          "%s is %lld; the server runs the model with a context of %d tokens", f,
                          (long long)n, t->context);
}

static oct_status o_repeat_penalty(tr *t, const char *f, const json_t *v)
{
    return json_is_number(v) && json_number_value(v) > 0 && json_number_value(v) <= 10
               ? put(t, "repetition_penalty", json_incref(borrowed(v)))
               : wrong(f, "a number over 0, at most 10");
}

static oct_status o_repeat_last_n(tr *t, const char *f, const json_t *v)
{
    t->repeat_last_n = json_integer_value(v);
    return json_is_integer(v) && t->repeat_last_n >= -1
               ? OCT_OK
               : wrong(f, "a number of tokens, 0 for none or -1 for all");
}

/* Samplers that we do not have, at the value that switches them off. */
static oct_status neutral(const char *f, const json_t *v, double off)
{
    return json_is_number(v) && json_number_value(v) >= off && json_number_value(v) <= off
               ? OCT_OK
               : OCT_FAIL(OCT_E_UNSUPPORTED,
                          "%s: this way of sampling is not supported; leave it "
                          "out or set it to %g",
                          f, off);
}
static oct_status o_off_at_one(tr *t, const char *f, const json_t *v)
{
    (void)t;
    return neutral(f, v, 1);
}
static oct_status o_off_at_zero(tr *t, const char *f, const json_t *v)
{
    (void)t;
    return neutral(f, v, 0);
}
static oct_status o_penalize_newline(tr *t, const char *f, const json_t *v)
{
    (void)t;
    return json_is_true(v)
               ? OCT_OK
               : OCT_FAIL(OCT_E_UNSUPPORTED, "%s: penalties are for all tokens alike", f);
}

struct field {
    const char *name; /* options: without "options." */
    int kinds;
    oct_status (*take)(tr *t, const char *field, const json_t *value);
};
enum { GENERATE = 1, CHAT = 2, BOTH = 3 };

static const struct field options[] = {
    {"temperature", BOTH, f_pass},
    {"top_k", BOTH, f_pass},
    {"top_p", BOTH, f_pass},
    {"min_p", BOTH, f_pass},
    {"seed", BOTH, o_seed},
    {"num_predict", BOTH, o_num_predict},
    {"num_ctx", BOTH, o_num_ctx},
    {"stop", BOTH, f_pass},
    {"repeat_penalty", BOTH, o_repeat_penalty},
    {"repeat_last_n", BOTH, o_repeat_last_n},
    {"presence_penalty", BOTH, f_pass},
    {"frequency_penalty", BOTH, f_pass},
    {"penalize_newline", BOTH, o_penalize_newline},
    {"typical_p", BOTH, o_off_at_one},
    {"tfs_z", BOTH, o_off_at_one},
    {"mirostat", BOTH, o_off_at_zero},
    {"mirostat_tau", BOTH, f_ignored},
    {"mirostat_eta", BOTH, f_ignored},
    {"num_keep", BOTH, f_ignored},
    {"num_batch", BOTH, f_ignored},
    {"num_gpu", BOTH, f_ignored},
    {"main_gpu", BOTH, f_ignored},
    {"num_thread", BOTH, f_ignored},
    {"numa", BOTH, f_ignored},
    {"low_vram", BOTH, f_ignored},
    {"f16_kv", BOTH, f_ignored},
    {"use_mmap", BOTH, f_ignored},
    {"use_mlock", BOTH, f_ignored},
    {"logits_all", BOTH, f_ignored},
    {"vocab_only", BOTH, f_ignored},
    {"embedding_only", BOTH, f_ignored},
};

static oct_status take_fields(tr *t, int kind, const json_t *from, const struct field *table,
                              size_t n);

static oct_status f_options(tr *t, const char *f, const json_t *v)
{
    return json_is_object(v) ? take_fields(t, BOTH, v, options, sizeof options / sizeof *options)
                             : wrong(f, "an object");
}

static const struct field fields[] = {
    {"model", BOTH, f_model},
    {"prompt", GENERATE, f_prompt},
    {"messages", CHAT, f_messages},
    {"system", GENERATE, f_system},
    {"options", BOTH, f_options},
    {"stream", BOTH, f_stream},
    {"raw", GENERATE, f_raw},
    {"think", BOTH, f_think},
    {"tools", CHAT, f_pass},
    {"logprobs", BOTH, f_pass},
    {"top_logprobs", BOTH, f_top_logprobs},
    {"suffix", GENERATE, f_empty},
    {"images", GENERATE, f_empty},
    {"format", BOTH, f_empty},
    {"template", GENERATE, f_empty},
    {"context", GENERATE, f_empty},
    {"keep_alive", BOTH, f_ignored},
    {"truncate", BOTH, f_flag}, /* a prompt that is too long is refused either way */
    {"shift", BOTH, f_flag},    /* an answer ends where the context does */
};
enum { N_FIELDS = sizeof fields / sizeof *fields, N_OPTIONS = sizeof options / sizeof *options };

static oct_status no_such(const char *key, const struct field *table, size_t n, int kind)
{
    const char *names[N_FIELDS > N_OPTIONS ? N_FIELDS : N_OPTIONS];
    size_t n_names = 0;
    char shown[96];
    for (size_t i = 0; i < n; i++) {
        if (table[i].kinds & kind) {
            names[n_names++] = table[i].name;
        }
    }
    const char *near = oct_param_nearest(key, names, n_names);
    oct_error_quote(shown, sizeof shown, key, strlen(key));
    return OCT_FAIL(OCT_E_ARG, "there is no %s \"%s\"%s%s", table == options ? "option" : "field",
                    shown, near ? "; did you mean " : "", near ? near : "");
}

static oct_status take_fields(tr *t, int kind, const json_t *from, const struct field *table,
                              size_t n)
{
    const char *key;
    json_t *value;
    json_object_foreach(borrowed(from), key, value)
    {
        bool known = false;
        for (size_t i = 0; !known && i < n; i++) {
            if ((table[i].kinds & kind) && !strcmp(key, table[i].name)) {
                known = true;
                OCT_TRY(json_is_null(value) ? OCT_OK : table[i].take(t, table[i].name, value));
            }
        }
        if (!known && !json_is_null(value)) {
            return no_such(key, table, n, kind);
        }
    }
    return OCT_OK;
}

/* Our penalties look at the whole text. */
static oct_status check_penalties(tr *t)
{
    static const struct {
        const char *name;
        double off;
    } penalties[] = {{"repetition_penalty", 1}, {"presence_penalty", 0}, {"frequency_penalty", 0}};
    if (t->repeat_last_n < 0 || t->repeat_last_n >= t->context) {
        return OCT_OK;
    }
    for (size_t i = 0; i < sizeof penalties / sizeof *penalties; i++) {
        const json_t *v = json_object_get(t->to, penalties[i].name);
        if (v && t->repeat_last_n > 0 &&
            (json_number_value(v) < penalties[i].off || json_number_value(v) > penalties[i].off)) {
            return OCT_FAIL(OCT_E_UNSUPPORTED,
                            "options.repeat_last_n is %lld; penalties are for the whole text (-1) "
                            "or for none of it (0)",
                            (long long)t->repeat_last_n);
        }
        if (v) {
            (void)json_object_del(t->to, penalties[i].name);
        }
    }
    return OCT_OK;
}

/* json_pack() leaks when memory runs out: by hand. */
static oct_status add_turn(json_t *list, const char *role, const json_t *content)
{
    json_t *m = json_object();
    return json_array_append_new(list, m) == 0 &&
                   json_object_set_new(m, "role", json_string(role)) == 0 &&
                   json_object_set(m, "content", borrowed(content)) == 0
               ? OCT_OK
               : oct_no_memory("a message", 1);
}

/* What /api/generate has, as a prompt or a conversation of one turn. */
static oct_status put_prompt(tr *t)
{
    struct oct_ollama_request *r = t->r;
    r->is_empty = json_string_length(t->prompt) == 0;
    if (r->is_empty) {
        return OCT_OK;
    }
    if (r->is_raw) {
        if (t->system && json_string_length(t->system) > 0) {
            return OCT_FAIL(OCT_E_ARG, "raw: a prompt that is taken as it is has no \"system\"");
        }
        (void)json_object_del(t->to, "chat_template_kwargs");
        (void)json_object_del(t->to, "reasoning_effort");
        return f_pass(t, "prompt", t->prompt);
    }
    json_t *list = json_array();
    OCT_TRY(put(t, "messages", list));
    if (t->system && json_string_length(t->system) > 0) {
        OCT_TRY(add_turn(list, "system", t->system));
    }
    return add_turn(list, "user", t->prompt);
}

static oct_status translate(tr *t)
{
    struct oct_ollama_request *r = t->r;
    if (!r->model) {
        return OCT_FAIL(OCT_E_ARG, "model is missing");
    }
    OCT_TRY(check_penalties(t));
    if (r->is_chat) {
        r->is_empty = !json_object_get(t->to, "messages");
    } else {
        OCT_TRY(put_prompt(t));
    }
    if (r->is_empty) {
        return OCT_OK;
    }
    const bool is_text = r->is_raw && !r->is_chat;
    if (is_text && json_object_get(t->to, "logprobs")) {
        /* completions count alternatives there */
        const json_t *top = json_object_get(t->to, "top_logprobs");
        const bool wanted = json_is_true(json_object_get(t->to, "logprobs"));
        json_t *n = !wanted ? json_null() : top ? json_incref(borrowed(top)) : json_integer(0);
        OCT_TRY(put(t, "logprobs", n));
        (void)json_object_del(t->to, "top_logprobs");
    }
    return oct_openai_parse(is_text ? OCT_OPENAI_COMPLETION : OCT_OPENAI_CHAT, t->to, &r->openai);
}

oct_status oct_ollama_parse(bool is_chat, json_t *body, int32_t context,
                            struct oct_ollama_request *out)
{
    struct oct_ollama_request r = {.is_chat = is_chat, .stream = true, .body = json_incref(body)};
    tr t = {.r = &r, .to = json_object(), .context = context, .repeat_last_n = -1};
    oct_status st = t.to ? OCT_OK : oct_no_memory("a request", 1);
    if (st == OCT_OK) {
        st = take_fields(&t, is_chat ? CHAT : GENERATE, body, fields, N_FIELDS);
    }
    if (st == OCT_OK) {
        st = translate(&t);
    }
    json_decref(t.to);
    if (st != OCT_OK) {
        oct_ollama_request_deinit(&r);
        return st;
    }
    *out = r;
    return OCT_OK;
}

void oct_ollama_request_deinit(struct oct_ollama_request *r)
{
    if (r->openai.body) {
        oct_openai_request_deinit(&r->openai);
    }
    json_decref(r->body);
    *r = (struct oct_ollama_request){0};
}
