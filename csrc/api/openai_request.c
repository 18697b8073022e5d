/* SPDX-License-Identifier: Apache-2.0 */
#include "api/openai.h"

#include "base/json.h"
#include "base/param.h"

#include <stdlib.h>
#include <string.h>

enum {
    MAX_MESSAGES = 4096,
    MAX_STOPS = 16,
    MAX_TOOLS = 128,
    MAX_LIST = 1 << 20, /* token ids of a prompt */
    MAX_TIMEOUT_S = 86400,
    ARGUMENTS_DEPTH = 32, /* of a tool call's arguments */
};

typedef struct oct_openai_request request;

static oct_status wrong(const char *field, const char *what)
{
    return OCT_FAIL(OCT_E_ARG, "%s must be %s", field, what);
}

/* ---- one function a type; null is an absent field ---- */

static oct_status to_float(const char *field, const json_t *v, float *out)
{
    if (!json_is_number(v)) {
        return wrong(field, "a number");
    }
    *out = (float)json_number_value(v);
    return OCT_OK;
}

/* -1 stands for "not said" in struct oct_sampling: it must not come from outside. */
static oct_status to_positive_float(const char *field, const json_t *v, float *out)
{
    OCT_TRY(to_float(field, v, out));
    return *out >= 0
               ? OCT_OK
               : OCT_FAIL(OCT_E_ARG, "%s is %g; it must not be negative", field, (double)*out);
}

static oct_status to_int(const char *field, const json_t *v, int64_t min, int64_t max, int64_t *out)
{
    if (!json_is_integer(v)) {
        return wrong(field, "a whole number");
    }
    const int64_t i = json_integer_value(v);
    if (i < min || i > max) {
        return OCT_FAIL(OCT_E_ARG, "%s is %lld; it must be between %lld and %lld", field,
                        (long long)i, (long long)min, (long long)max);
    }
    *out = i;
    return OCT_OK;
}

static oct_status to_i32(const char *field, const json_t *v, int64_t min, int64_t max, int32_t *out)
{
    int64_t i;
    OCT_TRY(to_int(field, v, min, max, &i));
    *out = (int32_t)i;
    return OCT_OK;
}

static oct_status to_bool(const char *field, const json_t *v, bool *out)
{
    if (!json_is_boolean(v)) {
        return wrong(field, "true or false");
    }
    *out = json_is_true(v);
    return OCT_OK;
}

static oct_status to_string(const char *field, const json_t *v, const char **out)
{
    if (!json_is_string(v)) {
        return wrong(field, "a string");
    }
    if (strlen(json_string_value(v)) != json_string_length(v)) {
        return OCT_FAIL(OCT_E_ARG, "%s holds a NUL character", field);
    }
    *out = json_string_value(v);
    return OCT_OK;
}

static oct_status to_ids(request *r, const char *field, const json_t *v, int32_t **out, size_t *n)
{
    const size_t count = json_array_size(v);
    if (!json_is_array(v) || count > MAX_LIST) {
        return wrong(field, "a list of token ids");
    }
    int32_t *ids = oct_arena_alloc(&r->arena, (count ? count : 1) * sizeof *ids);
    if (!ids) {
        return oct_no_memory(field, count * sizeof *ids);
    }
    for (size_t i = 0; i < count; i++) {
        OCT_TRY(to_i32(field, json_array_get(v, i), 0, INT32_MAX, &ids[i]));
    }
    *out = ids;
    *n = count;
    return OCT_OK;
}

/* ---- fields ---- */

static oct_status f_model(request *r, const char *f, const json_t *v)
{
    return to_string(f, v, &r->model);
}
static oct_status f_temperature(request *r, const char *f, const json_t *v)
{
    return to_positive_float(f, v, &r->sampling.temperature);
}
static oct_status f_top_p(request *r, const char *f, const json_t *v)
{
    return to_positive_float(f, v, &r->sampling.top_p);
}
static oct_status f_min_p(request *r, const char *f, const json_t *v)
{
    return to_positive_float(f, v, &r->sampling.min_p);
}
static oct_status f_top_k(request *r, const char *f, const json_t *v)
{
    OCT_TRY(to_i32(f, v, -1, INT32_MAX, &r->sampling.top_k)); /* vLLM's -1: all, which is our 0 */
    r->sampling.top_k = r->sampling.top_k < 0 ? 0 : r->sampling.top_k;
    return OCT_OK;
}
static oct_status f_repetition_penalty(request *r, const char *f, const json_t *v)
{
    return to_positive_float(f, v, &r->sampling.repetition_penalty);
}
static oct_status f_presence_penalty(request *r, const char *f, const json_t *v)
{
    return to_float(f, v, &r->sampling.presence_penalty);
}
static oct_status f_frequency_penalty(request *r, const char *f, const json_t *v)
{
    return to_float(f, v, &r->sampling.frequency_penalty);
}
static oct_status f_seed(request *r, const char *f, const json_t *v)
{
    int64_t seed;
    OCT_TRY(to_int(f, v, INT64_MIN, INT64_MAX, &seed));
    r->sampling.has_seed = true;
    r->sampling.seed = (uint64_t)seed;
    return OCT_OK;
}
/* 0 stands for "no limit" in struct oct_sampling, so one token is asked for and not shown. */
static oct_status f_max_tokens(request *r, const char *f, const json_t *v)
{
    const bool none_is_fine =
        r->kind == OCT_OPENAI_COMPLETION && json_is_true(json_object_get(r->body, "echo"));
    OCT_TRY(to_i32(f, v, none_is_fine ? 0 : 1, INT32_MAX, &r->sampling.max_tokens));
    r->has_max_tokens = true;
    r->no_tokens = r->sampling.max_tokens == 0;
    r->sampling.max_tokens += r->no_tokens ? 1 : 0;
    return OCT_OK;
}
static oct_status f_min_tokens(request *r, const char *f, const json_t *v)
{
    return to_i32(f, v, 0, INT32_MAX, &r->sampling.min_tokens);
}
static oct_status f_ignore_eos(request *r, const char *f, const json_t *v)
{
    return to_bool(f, v, &r->sampling.ignore_eos);
}
static oct_status f_skip_special_tokens(request *r, const char *f, const json_t *v)
{
    bool skip;
    OCT_TRY(to_bool(f, v, &skip));
    r->sampling.keep_special = !skip;
    return OCT_OK;
}
static oct_status f_stop(request *r, const char *f, const json_t *v)
{
    const size_t n = json_is_string(v) ? 1 : json_array_size(v);
    if ((!json_is_string(v) && !json_is_array(v)) || n > MAX_STOPS) {
        return wrong(f, "a string or a list of at most 16 strings");
    }
    const char **list = oct_arena_alloc(&r->arena, (n + 1) * sizeof *list);
    if (!list) {
        return oct_no_memory(f, n * sizeof *list);
    }
    for (size_t i = 0; i < n; i++) {
        OCT_TRY(to_string(f, json_is_string(v) ? v : json_array_get(v, i), &list[i]));
    }
    r->sampling.stop = list;
    r->sampling.n_stop = n;
    return OCT_OK;
}
static oct_status f_stop_token_ids(request *r, const char *f, const json_t *v)
{
    int32_t *ids;
    OCT_TRY(to_ids(r, f, v, &ids, &r->sampling.n_stop_token_ids));
    r->sampling.stop_token_ids = ids;
    return OCT_OK;
}
static oct_status f_logit_bias(request *r, const char *f, const json_t *v)
{
    if (!json_is_object(v)) {
        return wrong(f, "an object of token ids and numbers");
    }
    struct oct_logit_bias *list =
        oct_arena_alloc(&r->arena, (json_object_size(v) + 1) * sizeof *list);
    if (!list) {
        return oct_no_memory(f, json_object_size(v) * sizeof *list);
    }
    size_t n = 0;
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)v, key, value)
    {
        char *end;
        const long long id = strtoll(key, &end, 10);
        if (*key < '0' || *key > '9' || *end != '\0' || id > INT32_MAX) {
            return wrong("a key of logit_bias", "a token id");
        }
        list[n].token = (int32_t)id;
        OCT_TRY(to_float("a value of logit_bias", value, &list[n].bias));
        n++;
    }
    r->sampling.logit_bias = list;
    r->sampling.n_logit_bias = n;
    return OCT_OK;
}
static oct_status f_logprobs(request *r, const char *f, const json_t *v)
{
    if (r->kind == OCT_OPENAI_COMPLETION) { /* the number of alternatives */
        return to_i32(f, v, 0, 20, &r->n_top);
    }
    bool on = false;
    OCT_TRY(to_bool(f, v, &on));
    r->n_top = !on ? -1 : r->n_top < 0 ? 0 : r->n_top;
    return OCT_OK;
}
static oct_status f_top_logprobs(request *r, const char *f, const json_t *v)
{
    int32_t n;
    OCT_TRY(to_i32(f, v, 0, 20, &n));
    if (n > 0 && !json_is_true(json_object_get(r->body, "logprobs"))) {
        return OCT_FAIL(OCT_E_ARG, "top_logprobs needs \"logprobs\": true beside it");
    }
    r->n_top = json_is_true(json_object_get(r->body, "logprobs")) ? n : -1;
    return OCT_OK;
}
static oct_status f_stream(request *r, const char *f, const json_t *v)
{
    return to_bool(f, v, &r->stream);
}
static oct_status f_stream_options(request *r, const char *f, const json_t *v)
{
    const char *key;
    json_t *value;
    if (!json_is_object(v)) {
        return wrong(f, "an object");
    }
    json_object_foreach((json_t *)(uintptr_t)v, key, value)
    {
        bool ignored;
        if (!strcmp(key, "include_usage")) {
            OCT_TRY(to_bool("stream_options.include_usage", value, &r->include_usage));
        } else if (!strcmp(key, "continuous_usage_stats")) {
            OCT_TRY(to_bool("stream_options.continuous_usage_stats", value, &r->continuous_usage));
        } else if (!strcmp(key, "include_obfuscation")) { /* padding, which we do not send */
            OCT_TRY(to_bool("stream_options.include_obfuscation", value, &ignored));
        } else {
            char shown[96];
            oct_error_quote(shown, sizeof shown, key, strlen(key));
            return OCT_FAIL(OCT_E_ARG, "there is no field stream_options.%s", shown);
        }
    }
    return OCT_OK;
}
static oct_status f_priority(request *r, const char *f, const json_t *v)
{
    return to_i32(f, v, -8, 8, &r->priority);
}
static oct_status f_cache_salt(request *r, const char *f, const json_t *v)
{
    return to_string(f, v, &r->cache_salt);
}
static oct_status f_n(request *r, const char *f, const json_t *v)
{
    return to_i32(f, v, 1, OCT_OPENAI_MAX_N, &r->n);
}
static oct_status f_best_of(request *r, const char *f, const json_t *v)
{
    int64_t n;
    OCT_TRY(to_int(f, v, 1, OCT_OPENAI_MAX_N, &n));
    return n == r->n ? OCT_OK
                     : OCT_FAIL(OCT_E_UNSUPPORTED,
                                "%s is %lld; it must be n (%d): answers are not ranked", f,
                                (long long)n, r->n);
}
static oct_status f_echo(request *r, const char *f, const json_t *v)
{
    return to_bool(f, v, &r->echo);
}
static oct_status f_include_reasoning(request *r, const char *f, const json_t *v)
{
    return to_bool(f, v, &r->include_reasoning);
}
static oct_status f_add_special_tokens(request *r, const char *f, const json_t *v)
{
    bool on = false;
    OCT_TRY(to_bool(f, v, &on));
    r->tokenize_flags &= on ? ~0u : ~(unsigned)OCT_TOKENIZE_BOS_EOS;
    return OCT_OK;
}
static oct_status f_timeout(request *r, const char *f, const json_t *v)
{
    const double s = json_number_value(v);
    if (!json_is_number(v) || !(s > 0 && s <= MAX_TIMEOUT_S)) {
        return OCT_FAIL(OCT_E_ARG, "%s must be a number of seconds over 0, at most %d", f,
                        MAX_TIMEOUT_S);
    }
    r->timeout_us = (int64_t)(s * 1e6) + 1;
    return OCT_OK;
}
static oct_status f_no(request *r, const char *f, const json_t *v)
{
    bool on = false;
    (void)r;
    OCT_TRY(to_bool(f, v, &on));
    return on ? OCT_FAIL(OCT_E_UNSUPPORTED, "%s is not supported yet; leave it out", f) : OCT_OK;
}
static oct_status f_suffix(request *r, const char *f, const json_t *v)
{
    (void)r, (void)v;
    return OCT_FAIL(OCT_E_UNSUPPORTED, "%s is not supported; leave it out", f);
}
static oct_status f_response_format(request *r, const char *f, const json_t *v)
{
    const char *type = json_string_value(json_object_get(v, "type"));
    (void)r;
    if (!type) {
        return wrong(f, "an object with \"type\"");
    }
    return !strcmp(type, "text")
               ? OCT_OK
               : OCT_FAIL(OCT_E_UNSUPPORTED,
                          "%s of type \"%.40s\" is not supported yet; only text is", f, type);
}
/* What says nothing about the answer. */
static oct_status f_ignored(request *r, const char *f, const json_t *v)
{
    (void)r, (void)f, (void)v;
    return OCT_OK;
}

static oct_status set_var(request *r, const char *name, json_t *value)
{
    return json_object_set(r->vars, name, value) == 0 ? OCT_OK : oct_no_memory(name, 1);
}
static oct_status f_tools(request *r, const char *f, const json_t *v)
{
    const size_t n = json_array_size(v);
    if (!json_is_array(v) || n > MAX_TOOLS) {
        return wrong(f, "a list of at most 128 tools");
    }
    for (size_t i = 0; i < n; i++) {
        const json_t *function = json_object_get(json_array_get(v, i), "function");
        const char *type = json_string_value(json_object_get(json_array_get(v, i), "type"));
        if (!type || strcmp(type, "function") != 0 ||
            !json_is_string(json_object_get(function, "name"))) {
            return OCT_FAIL(OCT_E_ARG,
                            "%s[%zu] must be {\"type\": \"function\", \"function\": {\"name\": "
                            "...}}",
                            f, i);
        }
    }
    const char *choice = json_string_value(json_object_get(r->body, "tool_choice"));
    const bool none = json_array_size(v) == 0 || (choice && !strcmp(choice, "none"));
    return none ? OCT_OK : set_var(r, "tools", (json_t *)(uintptr_t)v);
}
static oct_status f_tool_choice(request *r, const char *f, const json_t *v)
{
    const char *s = json_string_value(v);
    (void)r;
    return s && (!strcmp(s, "none") || !strcmp(s, "auto"))
               ? OCT_OK
               : OCT_FAIL(OCT_E_UNSUPPORTED,
                          "%s must be \"none\" or \"auto\": a call cannot be forced yet", f);
}
static oct_status f_documents(request *r, const char *f, const json_t *v)
{
    return json_is_array(v) ? set_var(r, f, (json_t *)(uintptr_t)v) : wrong(f, "a list");
}
static oct_status f_flag_var(request *r, const char *f, const json_t *v)
{
    return json_is_boolean(v) ? set_var(r, f, (json_t *)(uintptr_t)v) : wrong(f, "true or false");
}
static oct_status f_reasoning_effort(request *r, const char *f, const json_t *v)
{
    return json_is_string(v) ? set_var(r, f, (json_t *)(uintptr_t)v) : wrong(f, "a string");
}
/* Scalars only, and no name that the engine sets itself (reliability R6). */
static oct_status f_chat_template_kwargs(request *r, const char *f, const json_t *v)
{
    static const char *const reserved[] = {"messages",  "tools",     "documents", "bos_token",
                                           "eos_token", "pad_token", "unk_token"};
    const char *key;
    json_t *value;
    if (!json_is_object(v)) {
        return wrong(f, "an object");
    }
    json_object_foreach((json_t *)(uintptr_t)v, key, value)
    {
        bool taken = false;
        for (size_t i = 0; i < sizeof reserved / sizeof *reserved; i++) {
            taken = taken || !strcmp(key, reserved[i]);
        }
        if (taken || json_is_array(value) || json_is_object(value)) {
            char shown[96];
            oct_error_quote(shown, sizeof shown, key, strlen(key));
            return OCT_FAIL(OCT_E_ARG, "%s: \"%s\" %s", f, shown,
                            taken ? "is set by the engine" : "must be a string, number or boolean");
        }
        OCT_TRY(set_var(r, key, value));
    }
    return OCT_OK;
}

/* The text of a content: a string, or the text parts of a list joined by newlines. */
static oct_status flatten(json_t *message, const json_t *parts)
{
    struct oct_buf text = {0};
    oct_status st = OCT_OK;
    for (size_t i = 0; st == OCT_OK && i < json_array_size(parts); i++) {
        const json_t *part = json_array_get(parts, i);
        const char *type = json_string_value(json_object_get(part, "type"));
        const json_t *s = json_object_get(part, "text");
        if (!type || (!strcmp(type, "text") && !json_is_string(s))) {
            st = wrong("a part of messages[].content", "an object with \"type\" and \"text\"");
        } else if (strcmp(type, "text") != 0) {
            st = OCT_FAIL(OCT_E_UNSUPPORTED,
                          "a part of type \"%.40s\" in messages[].content: the "
                          "engine reads text only",
                          type);
        } else if (i > 0) {
            st = oct_buf_append(&text, "\n", 1);
        }
        if (st == OCT_OK) {
            st = oct_buf_append(&text, json_string_value(s), json_string_length(s));
        }
    }
    if (st == OCT_OK && json_object_set_new(message, "content",
                                            json_stringn(text.data ? text.data : "", text.len))) {
        st = oct_no_memory("a message", text.len);
    }
    oct_buf_free(&text);
    return st;
}

/* Templates read the arguments of a tool call as an object; clients send the text of one. jansson's
 * copies leave out, without a word, what there was no memory for. */
static oct_status parse_arguments(json_t *message)
{
    json_t *calls = json_deep_copy(json_object_get(message, "tool_calls"));
    const bool is_whole = json_equal(calls, json_object_get(message, "tool_calls"));
    if (json_object_set_new(message, "tool_calls", calls) != 0 || !is_whole) {
        return oct_no_memory("a message", 1);
    }
    for (size_t i = 0; i < json_array_size(calls); i++) {
        json_t *function = json_object_get(json_array_get(calls, i), "function");
        const json_t *text = json_object_get(function, "arguments");
        json_t *arguments = NULL;
        if (!json_is_string(text)) {
            continue;
        }
        OCT_TRY(oct_json_parse(json_string_value(text), json_string_length(text),
                               "tool_calls[].function.arguments", ARGUMENTS_DEPTH, OCT_JSON_NUL,
                               &arguments));
        if (json_object_set_new(function, "arguments", arguments) != 0) {
            return oct_no_memory("a message", 1);
        }
    }
    return OCT_OK;
}

static oct_status add_message(json_t *list, const char *field, size_t i, const json_t *m)
{
    const json_t *content = json_object_get(m, "content");
    const json_t *calls = json_object_get(m, "tool_calls");
    if (!json_is_object(m) || !json_is_string(json_object_get(m, "role"))) {
        return OCT_FAIL(OCT_E_ARG, "%s[%zu] must be an object with a string \"role\"", field, i);
    }
    if (content && !json_is_string(content) && !json_is_null(content) && !json_is_array(content)) {
        return OCT_FAIL(OCT_E_ARG, "%s[%zu].content must be a string or a list of parts", field, i);
    }
    if (calls && !json_is_array(calls) && !json_is_null(calls)) {
        return OCT_FAIL(OCT_E_ARG, "%s[%zu].tool_calls must be a list", field, i);
    }
    json_t *copy = json_copy((json_t *)(uintptr_t)m);
    if (!copy || json_array_append_new(list, copy) != 0 ||
        json_object_size(copy) != json_object_size(m)) {
        return oct_no_memory(field, i);
    }
    OCT_TRY(json_is_array(calls) ? parse_arguments(copy) : OCT_OK);
    return json_is_array(content) ? flatten(copy, content) : OCT_OK;
}

oct_status oct_openai_messages(const char *field, const json_t *list, json_t **out)
{
    const size_t n = json_array_size(list);
    if (!json_is_array(list) || n == 0 || n > MAX_MESSAGES) {
        return wrong(field, "a list of 1 to 4096 messages");
    }
    json_t *messages = json_array();
    oct_status st = messages ? OCT_OK : oct_no_memory(field, n);
    for (size_t i = 0; st == OCT_OK && i < n; i++) {
        st = add_message(messages, field, i, json_array_get(list, i));
    }
    if (st != OCT_OK) {
        json_decref(messages);
        return st;
    }
    *out = messages;
    return OCT_OK;
}

static oct_status f_messages(request *r, const char *f, const json_t *v)
{
    return oct_openai_messages(f, v, &r->messages);
}

static oct_status to_prompt(request *r, const char *f, const json_t *v,
                            struct oct_openai_prompt *out)
{
    if (json_is_string(v)) {
        out->text = json_string_value(v);
        out->len = json_string_length(v);
        return OCT_OK;
    }
    if (!json_is_array(v) || json_array_size(v) == 0) {
        return wrong(f, "a text, a list of token ids, or a list of either");
    }
    return to_ids(r, f, v, &out->ids, &out->n_ids);
}

static oct_status f_prompt(request *r, const char *f, const json_t *v)
{
    const json_t *first = json_array_get(v, 0);
    const bool is_list = json_is_string(first) || json_is_array(first);
    const size_t n = is_list ? json_array_size(v) : 1;
    if (n > OCT_OPENAI_MAX_PROMPTS) {
        return OCT_FAIL(OCT_E_ARG, "%s has %zu prompts; a request may have %d", f, n,
                        OCT_OPENAI_MAX_PROMPTS);
    }
    r->prompts = oct_arena_alloc(&r->arena, n * sizeof *r->prompts);
    if (!r->prompts) {
        return oct_no_memory(f, n * sizeof *r->prompts);
    }
    for (size_t i = 0; i < n; i++) {
        OCT_TRY(to_prompt(r, f, is_list ? json_array_get(v, i) : v, &r->prompts[i]));
    }
    r->n_prompts = n;
    return OCT_OK;
}

enum { CHAT = 1 << OCT_OPENAI_CHAT, TEXT = 1 << OCT_OPENAI_COMPLETION, BOTH = CHAT | TEXT };

/* In this order; the order matters for top_logprobs (after logprobs) and max_completion_tokens
 * (wins over max_tokens). */
static const struct field {
    const char *name;
    int kinds;
    oct_status (*take)(request *r, const char *field, const json_t *value);
} fields[] = {
    {"model", BOTH, f_model},
    {"messages", CHAT, f_messages},
    {"prompt", TEXT, f_prompt},
    {"temperature", BOTH, f_temperature},
    {"top_p", BOTH, f_top_p},
    {"top_k", BOTH, f_top_k},
    {"min_p", BOTH, f_min_p},
    {"repetition_penalty", BOTH, f_repetition_penalty},
    {"presence_penalty", BOTH, f_presence_penalty},
    {"frequency_penalty", BOTH, f_frequency_penalty},
    {"seed", BOTH, f_seed},
    {"max_tokens", BOTH, f_max_tokens},
    {"max_completion_tokens", BOTH, f_max_tokens},
    {"min_tokens", BOTH, f_min_tokens},
    {"ignore_eos", BOTH, f_ignore_eos},
    {"stop", BOTH, f_stop},
    {"stop_token_ids", BOTH, f_stop_token_ids},
    {"skip_special_tokens", BOTH, f_skip_special_tokens},
    {"logit_bias", BOTH, f_logit_bias},
    {"logprobs", BOTH, f_logprobs},
    {"top_logprobs", CHAT, f_top_logprobs},
    {"stream", BOTH, f_stream},
    {"stream_options", BOTH, f_stream_options},
    {"n", BOTH, f_n},
    {"best_of", TEXT, f_best_of},
    {"echo", TEXT, f_echo},
    {"suffix", TEXT, f_suffix},
    {"add_special_tokens", TEXT, f_add_special_tokens},
    {"timeout", BOTH, f_timeout},
    {"include_reasoning", CHAT, f_include_reasoning},
    {"response_format", BOTH, f_response_format},
    {"tools", CHAT, f_tools},
    {"tool_choice", CHAT, f_tool_choice},
    {"documents", CHAT, f_documents},
    {"add_generation_prompt", CHAT, f_flag_var},
    {"continue_final_message", CHAT, f_no},
    {"reasoning_effort", CHAT, f_reasoning_effort},
    {"chat_template_kwargs", CHAT, f_chat_template_kwargs},
    {"priority", BOTH, f_priority},
    {"cache_salt", BOTH, f_cache_salt},
    {"user", BOTH, f_ignored},
    {"metadata", BOTH, f_ignored},
    {"store", BOTH, f_ignored},
    {"service_tier", BOTH, f_ignored},
    {"safety_identifier", BOTH, f_ignored},
    {"prompt_cache_key", BOTH, f_ignored},
    {"parallel_tool_calls", CHAT, f_ignored},
};
enum { N_FIELDS = sizeof fields / sizeof *fields };

static oct_status refuse_unknown(const request *r)
{
    const char *key;
    json_t *value;
    json_object_foreach(r->body, key, value)
    {
        const char *names[N_FIELDS];
        size_t n = 0;
        bool known = false;
        for (size_t i = 0; i < N_FIELDS; i++) {
            if (fields[i].kinds & (1 << r->kind)) {
                known = known || !strcmp(key, fields[i].name);
                names[n++] = fields[i].name;
            }
        }
        if (!known && !json_is_null(value)) {
            char shown[96];
            const char *near = oct_param_nearest(key, names, n);
            oct_error_quote(shown, sizeof shown, key, strlen(key));
            return OCT_FAIL(OCT_E_ARG, "there is no field \"%s\"%s%s", shown,
                            near ? "; did you mean " : "", near ? near : "");
        }
    }
    return OCT_OK;
}

static oct_status parse(request *r)
{
    OCT_TRY(refuse_unknown(r));
    for (size_t i = 0; i < N_FIELDS; i++) {
        const json_t *v = json_object_get(r->body, fields[i].name);
        if (v && !json_is_null(v) && (fields[i].kinds & (1 << r->kind))) {
            OCT_TRY(fields[i].take(r, fields[i].name, v));
        }
    }
    if (r->kind == OCT_OPENAI_CHAT && !r->messages) {
        return OCT_FAIL(OCT_E_ARG, "messages is missing");
    }
    if (r->kind == OCT_OPENAI_COMPLETION && !r->prompts) {
        return OCT_FAIL(OCT_E_ARG, "prompt is missing");
    }
    r->n_prompts = r->kind == OCT_OPENAI_CHAT ? 1 : r->n_prompts;
    r->sampling.n_logprobs = r->n_top;
    return OCT_OK;
}

oct_status oct_openai_parse(enum oct_openai_kind kind, json_t *body, struct oct_openai_request *out)
{
    if (!json_is_object(body)) {
        return OCT_FAIL(OCT_E_ARG, "the request's body must be a JSON object");
    }
    request r = {.kind = kind,
                 .sampling = OCT_SAMPLING_INIT,
                 .n_top = -1,
                 .n = 1,
                 .include_reasoning = true,
                 .tokenize_flags = OCT_TOKENIZE_SPECIAL | OCT_TOKENIZE_BOS_EOS,
                 .body = json_incref(body),
                 .vars = json_object()};
    const oct_status st = r.vars ? parse(&r) : oct_no_memory("a request", 1);
    if (st != OCT_OK) {
        oct_openai_request_deinit(&r);
        return st;
    }
    *out = r;
    return OCT_OK;
}

void oct_openai_request_deinit(struct oct_openai_request *r)
{
    json_decref(r->messages);
    json_decref(r->vars);
    json_decref(r->body);
    oct_arena_free(&r->arena);
    *r = (struct oct_openai_request){0};
}

static oct_status chat_prompt(const oct_engine *e, const struct oct_openai_request *r,
                              int32_t **ids, size_t *n)
{
    struct oct_buf messages = {0}, vars = {0};
    oct_status st = oct_json_append(&messages, r->messages, JSON_COMPACT);
    st = st == OCT_OK ? oct_json_append(&vars, r->vars, JSON_COMPACT) : st;
    st = st == OCT_OK ? oct_engine_chat_tokens(e, messages.data, vars.data, ids, n) : st;
    oct_buf_free(&messages);
    oct_buf_free(&vars);
    return st;
}

oct_status oct_openai_prompt(const oct_engine *e, const struct oct_openai_request *r, size_t i,
                             int32_t **ids, size_t *n)
{
    OCT_ASSERT(i < r->n_prompts);
    if (r->kind == OCT_OPENAI_CHAT) {
        return chat_prompt(e, r, ids, n);
    }
    const struct oct_openai_prompt *p = &r->prompts[i];
    if (p->text) {
        return oct_engine_tokenize(e, p->text, p->len, r->tokenize_flags, ids, n);
    }
    int32_t *copy = oct_malloc(p->n_ids * sizeof *copy);
    if (!copy) {
        return oct_no_memory("a prompt", p->n_ids * sizeof *copy);
    }
    memcpy(copy, p->ids, p->n_ids * sizeof *copy);
    *ids = copy;
    *n = p->n_ids;
    return OCT_OK;
}
