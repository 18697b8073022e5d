/* SPDX-License-Identifier: Apache-2.0 */
#include "api/openai.h"

#include "base/json.h"
#include "base/param.h"

#include <stdlib.h>
#include <string.h>

enum {
    MAX_MESSAGES = 4096,
    MAX_STOPS = 16,
    MAX_LIST = 1 << 20, /* token ids of a prompt */
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
static oct_status f_max_tokens(request *r, const char *f, const json_t *v)
{
    return to_i32(f, v, 1, INT32_MAX, &r->sampling.max_tokens);
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
    const json_t *usage = json_object_get(v, "include_usage");
    if (!json_is_object(v)) {
        return wrong(f, "an object");
    }
    return usage ? to_bool("stream_options.include_usage", usage, &r->include_usage) : OCT_OK;
}
static oct_status f_priority(request *r, const char *f, const json_t *v)
{
    return to_i32(f, v, -8, 8, &r->priority);
}
static oct_status f_cache_salt(request *r, const char *f, const json_t *v)
{
    return to_string(f, v, &r->cache_salt);
}
static oct_status f_one(request *r, const char *f, const json_t *v)
{
    int64_t n;
    (void)r;
    OCT_TRY(to_int(f, v, 1, 128, &n));
    return n == 1 ? OCT_OK
                  : OCT_FAIL(OCT_E_UNSUPPORTED,
                             "%s is %lld; only 1 is supported: send the request several times", f,
                             (long long)n);
}
static oct_status f_no(request *r, const char *f, const json_t *v)
{
    bool on = false;
    (void)r;
    OCT_TRY(to_bool(f, v, &on));
    return on ? OCT_FAIL(OCT_E_UNSUPPORTED, "%s is not supported yet; leave it out", f) : OCT_OK;
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
    if (!json_is_array(v)) {
        return wrong(f, "a list of tools");
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

static oct_status f_messages(request *r, const char *f, const json_t *v)
{
    const size_t n = json_array_size(v);
    if (!json_is_array(v) || n == 0 || n > MAX_MESSAGES) {
        return wrong(f, "a list of 1 to 4096 messages");
    }
    r->messages = json_array();
    if (!r->messages) {
        return oct_no_memory(f, n);
    }
    for (size_t i = 0; i < n; i++) {
        const json_t *m = json_array_get(v, i);
        const json_t *content = json_object_get(m, "content");
        if (!json_is_object(m) || !json_is_string(json_object_get(m, "role"))) {
            return OCT_FAIL(OCT_E_ARG, "messages[%zu] must be an object with a string \"role\"", i);
        }
        if (content && !json_is_string(content) && !json_is_null(content) &&
            !json_is_array(content)) {
            return OCT_FAIL(OCT_E_ARG, "messages[%zu].content must be a string or a list of parts",
                            i);
        }
        json_t *copy = json_copy((json_t *)(uintptr_t)m);
        if (!copy || json_array_append_new(r->messages, copy) != 0) {
            return oct_no_memory(f, n);
        }
        if (json_is_array(content)) {
            OCT_TRY(flatten(copy, content));
        }
    }
    return OCT_OK;
}

static oct_status f_prompt(request *r, const char *f, const json_t *v)
{
    const json_t *only = json_array_get(v, 0);
    if (json_is_array(v) && json_array_size(v) == 1 && !json_is_integer(only)) {
        v = only; /* a list of one prompt */
    }
    if (json_is_string(v)) {
        r->text = json_string_value(v);
        r->text_len = json_string_length(v);
        return OCT_OK;
    }
    if (json_is_array(v) && json_array_size(v) > 1 && !json_is_integer(json_array_get(v, 0))) {
        return OCT_FAIL(OCT_E_UNSUPPORTED, "%s is a list of prompts; send one request for each", f);
    }
    return to_ids(r, f, v, &r->ids, &r->n_ids);
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
    {"max_completion_tokens", CHAT, f_max_tokens},
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
    {"n", BOTH, f_one},
    {"best_of", TEXT, f_one},
    {"echo", TEXT, f_no},
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
    if (r->kind == OCT_OPENAI_COMPLETION && !r->text && r->n_ids == 0) {
        return OCT_FAIL(OCT_E_ARG, "prompt is missing or empty");
    }
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

oct_status oct_openai_prompt(const oct_engine *e, const struct oct_openai_request *r, int32_t **ids,
                             size_t *n)
{
    if (r->kind == OCT_OPENAI_CHAT) {
        struct oct_buf messages = {0}, vars = {0};
        oct_status st = oct_json_append(&messages, r->messages, JSON_COMPACT);
        st = st == OCT_OK ? oct_json_append(&vars, r->vars, JSON_COMPACT) : st;
        st = st == OCT_OK ? oct_engine_chat_tokens(e, messages.data, vars.data, ids, n) : st;
        oct_buf_free(&messages);
        oct_buf_free(&vars);
        return st;
    }
    if (r->text) {
        return oct_engine_tokenize(e, r->text, r->text_len,
                                   OCT_TOKENIZE_SPECIAL | OCT_TOKENIZE_BOS_EOS, ids, n);
    }
    int32_t *copy = oct_malloc(r->n_ids * sizeof *copy);
    if (!copy) {
        return oct_no_memory("a prompt", r->n_ids * sizeof *copy);
    }
    memcpy(copy, r->ids, r->n_ids * sizeof *copy);
    *ids = copy;
    *n = r->n_ids;
    return OCT_OK;
}
