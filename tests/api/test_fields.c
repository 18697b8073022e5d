/* SPDX-License-Identifier: Apache-2.0
 *
 * Every field of a request, at, below and above its limits, and of the wrong type: what is wrong is
 * told with 400 and the field's name, what is right is taken, null is as if it were not there. */
#include "api/service.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHAT = 1, TEXT = 2, BOTH = 3 };

/* Values apart by '|'. */
static const struct {
    int kinds;
    const char *field, *good, *bad;
    const char *beside; /* other members that it needs */
    const char *says;   /* in the sentence; NULL: the field's name */
} row[] = {
    {BOTH, "temperature", "0|0.0|1|100", "-1|-0.001|100.001|1e300|1e999|\"1\"|true|[]|{}", NULL,
     NULL},
    {BOTH, "top_p", "0.001|1", "0|-1|1.001|\"x\"|[1]", NULL, NULL},
    {BOTH, "min_p", "0|1", "-1|-0.1|1.1|false", NULL, NULL},
    {BOTH, "top_k", "-1|0|1|2147483647", "-2|2147483648|1.5|\"4\"", NULL, NULL},
    {BOTH, "repetition_penalty", "0.001|10", "0|-1|10.01|{}", NULL, NULL},
    {BOTH, "presence_penalty", "-2|2|-1", "-2.01|2.01|\"\"", NULL, NULL},
    {BOTH, "frequency_penalty", "-2|2|-1", "-2.01|2.01|[]", NULL, NULL},
    {BOTH, "seed", "-9223372036854775808|0|9223372036854775807",
     "9223372036854775808|-9223372036854775809|1.0|\"1\"|true", NULL, NULL},
    {BOTH, "max_tokens", "1|20", "0|-1|10000|2147483648|1.0|\"5\"|true", NULL, NULL},
    {BOTH, "max_completion_tokens", "1|20", "0|-1|10000|2147483648|1.0|\"5\"", NULL, "max_"},
    {BOTH, "min_tokens", "0|4", "-1|5|2147483648|0.5|\"0\"", ",\"max_tokens\":4", NULL},
    {BOTH, "ignore_eos", "true|false", "0|1|\"true\"|[]", NULL, NULL},
    {BOTH, "skip_special_tokens", "true|false", "0|1|\"true\"", NULL, NULL},
    {BOTH, "stop", "\"x\"|[]|[\"a\",\"b\"]", "1|true|{}|[1]|\"\"|[\"\"]|\"a\\u0000b\"|[\"a\",null]",
     NULL, "stop"},
    {BOTH, "stop_token_ids", "[]|[0,255]", "[-1]|[256]|[2147483648]|[1.0]|\"1\"|1|{}", NULL, NULL},
    {BOTH, "logit_bias", "{}|{\"0\":-100,\"255\":100}|{\"7\":-1}",
     "{\"256\":1}|{\"-1\":1}|{\"x\":1}|{\"1 \":1}|{\"99999999999\":1}|{\"1\":100.1}|{\"1\":"
     "-100.1}|{\"1\":\"x\"}|{\"7\":1,\"07\":2}|[]|1",
     NULL, NULL},
    {TEXT, "logprobs", "0|5|20", "-1|21|true|1.5|\"1\"", NULL, NULL},
    {CHAT, "logprobs", "true|false", "0|1|\"true\"", NULL, NULL},
    {CHAT, "top_logprobs", "0|20", "-1|21|true|1.5", ",\"logprobs\":true", NULL},
    {CHAT, "top_logprobs", "0", "1", NULL, NULL},
    {BOTH, "n", "1|2|16", "0|-1|17|1.0|\"1\"|true|2147483648", NULL, "n "},
    {TEXT, "best_of", "1", "2|0|17|\"1\"", NULL, NULL},
    {TEXT, "echo", "true|false", "0|\"true\"", NULL, NULL},
    {TEXT, "suffix", "null", "\"x\"|\"\"", NULL, NULL},
    {TEXT, "add_special_tokens", "true|false", "1|\"x\"", NULL, NULL},
    {CHAT, "include_reasoning", "true|false", "1|\"x\"", NULL, NULL},
    {BOTH, "timeout", "0.5|86400|60", "0|-1|86401|\"1\"|true|1e999", NULL, NULL},
    {BOTH, "stream", "true|false", "0|1|\"true\"", NULL, NULL},
    {BOTH, "stream_options",
     "{}|{\"include_usage\":true}|{\"include_usage\":false,\"continuous_usage_stats\":true,"
     "\"include_obfuscation\":false}",
     "1|[]|{\"include_usage\":1}|{\"continuous_usage_stats\":\"x\"}|{\"other\":true}",
     ",\"stream\":true", NULL},
    {BOTH, "stream_options", "null", "{\"include_usage\":true}", NULL, NULL},
    {BOTH, "response_format", "{\"type\":\"text\"}",
     "{\"type\":\"json_object\"}|{\"type\":\"json_schema\"}|{}|\"text\"|1|{\"type\":1}", NULL,
     NULL},
    {CHAT, "tools", "[]|[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}]",
     "{}|\"x\"|[1]|[{}]|[{\"type\":\"function\"}]|[{\"type\":\"x\",\"function\":{\"name\":\"f\"}}]",
     NULL, NULL},
    {CHAT, "tool_choice", "\"none\"|\"auto\"", "\"required\"|{}|1|{\"type\":\"function\"}", NULL,
     NULL},
    {CHAT, "documents", "[]", "{}|1|\"x\"", NULL, NULL},
    {CHAT, "add_generation_prompt", "true|false", "1|\"x\"", NULL, NULL},
    {CHAT, "continue_final_message", "false", "true|1|\"x\"", NULL, NULL},
    {CHAT, "reasoning_effort", "\"low\"", "1|{}|[]", NULL, NULL},
    {CHAT, "chat_template_kwargs", "{}|{\"a\":1,\"b\":\"x\",\"c\":true}",
     "[]|1|{\"messages\":1}|{\"tools\":1}|{\"bos_token\":\"x\"}|{\"a\":[]}|{\"a\":{}}", NULL, NULL},
    {BOTH, "priority", "-8|0|8", "-9|9|1.0|\"1\"", NULL, NULL},
    {BOTH, "cache_salt", "\"\"|\"x\"", "1|[]|\"a\\u0000\"", NULL, NULL},
    {BOTH, "model", "\"fake\"|\"alias\"", "1|[]|true", NULL, NULL},
    {BOTH, "user", "\"x\"|1", "", NULL, NULL},
    {BOTH, "no_such_field", "null", "1|false|\"x\"", NULL, NULL},
    {BOTH, "max_token", "null", "1", NULL, "max_tokens"},
};

static void ask(struct service *s, int kind, const char *field, const char *value,
                const char *beside, bool good, const char *says)
{
    char body[1024], path[64];
    (void)snprintf(body, sizeof body, "{%s%s,\"%s\":%s}",
                   kind == CHAT ? "\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]"
                                : "\"prompt\":\"x\"",
                   beside ? beside : "", field, value);
    if (!strstr(body, "\"max_") && good) { /* short answers */
        (void)snprintf(body + strlen(body) - 1, 32, ",\"max_tokens\":4}");
    }
    (void)snprintf(path, sizeof path, "/v1/%s", kind == CHAT ? "chat/completions" : "completions");
    struct answer a = service_post(s, path, body);
    if (good) {
        cr_expect(a.status == 200 && a.is_whole, "%s %s: %d %s", path, body, a.status, a.body.data);
    } else {
        cr_expect(a.status == 400 && a.is_whole && strstr(a.body.data, says), "%s %s: %d %s", path,
                  body, a.status, a.body.data);
    }
    answer_free(&a);
}

static void ask_each(struct service *s, size_t i, const char *values, bool good)
{
    char *copy = strdup(values), *save, *says = strdup(row[i].says ? row[i].says : row[i].field);
    for (char *v = strtok_r(copy, "|", &save); v; v = strtok_r(NULL, "|", &save)) {
        for (int kind = CHAT; kind <= TEXT; kind++) {
            if (row[i].kinds & kind) {
                ask(s, kind, row[i].field, v, row[i].beside, good, strstr(v, "1e999") ? "" : says);
            }
        }
    }
    free(copy);
    free(says);
}

/* No JSON: the sentence says where. */
static void ask_nan(struct service *s, size_t i)
{
    static const char *const values[] = {"NaN", "-Infinity", "nan", "01", "+1", "'x'"};
    for (size_t v = 0; v < sizeof values / sizeof *values; v++) {
        ask(s, row[i].kinds & CHAT ? CHAT : TEXT, row[i].field, values[v], NULL, false,
            "not valid JSON at line 1, column");
    }
}

/* Lists at and over their longest. */
static char *list_of(const char *item, int n, char open, char close)
{
    struct oct_buf b = {0};
    cr_assert_eq(oct_buf_printf(&b, "%c", open), OCT_OK);
    for (int i = 0; i < n; i++) {
        cr_assert_eq(oct_buf_printf(&b, i ? "," : ""), OCT_OK);
        cr_assert_eq(oct_buf_printf(&b, item, i, i), OCT_OK);
    }
    cr_assert_eq(oct_buf_printf(&b, "%c", close), OCT_OK);
    return b.data;
}

static void ask_list(struct service *s, int kind, const char *field, const char *item, int longest,
                     char open, char close, const char *says)
{
    for (int over = 0; over < 2; over++) {
        char *list = list_of(item, longest + over, open, close);
        struct oct_buf body = {0};
        cr_assert_eq(oct_buf_printf(&body, "{%s\"%s\":%s,\"max_tokens\":1}",
                                    !strcmp(field, "prompt") || !strcmp(field, "messages") ? ""
                                    : kind == CHAT
                                        ? "\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],"
                                        : "\"prompt\":\"x\",",
                                    field, list),
                     OCT_OK);
        struct answer a =
            service_post(s, kind == CHAT ? "/v1/chat/completions" : "/v1/completions", body.data);
        cr_expect(a.status == (over ? 400 : 200) && (!over || strstr(a.body.data, says)),
                  "%s of %d: %d %.300s", field, longest + over, a.status, a.body.data);
        answer_free(&a);
        oct_buf_free(&body);
        oct_free(list);
    }
}

Test(fields, lists_have_their_longest)
{
    struct service s = {.fake_options = {.n_pages = 4096, .max_model_len = 65536}};
    service_start(&s);
    ask_list(&s, TEXT, "prompt", "\"x\"", 64, '[', ']', "prompt");
    ask_list(&s, TEXT, "prompt", "[%d]", 64, '[', ']', "prompt");
    ask_list(&s, TEXT, "stop", "\"stop %d\"", 16, '[', ']', "stop");
    ask_list(&s, TEXT, "stop_token_ids", "%d", 64, '[', ']', "stop_token_ids");
    ask_list(&s, TEXT, "logit_bias", "\"%d\":1", 256, '{', '}', "logit_bias");
    ask_list(&s, CHAT, "tools", "{\"type\":\"function\",\"function\":{\"name\":\"f%d\"}}", 128, '[',
             ']', "tools");
    ask_list(&s, CHAT, "messages", "{\"role\":\"u\",\"content\":\"x\"}", 4096, '[', ']',
             "messages");
    service_stop(&s);
}

/* A prompt may fill the context but for one token, and is told both numbers over that. */
Test(fields, prompts_fit_the_context)
{
    struct service s = {0};
    service_start(&s);
    for (int n = 510; n <= 513; n++) {
        struct oct_buf body = {0};
        cr_assert_eq(oct_buf_printf(&body, "{\"prompt\":[70"), OCT_OK);
        for (int i = 1; i < n; i++) {
            cr_assert_eq(oct_buf_printf(&body, ",%d", 70 + i % 100), OCT_OK);
        }
        cr_assert_eq(oct_buf_printf(&body, "]}"), OCT_OK);
        struct answer a = service_post(&s, "/v1/completions", body.data);
        if (n < 512) {
            json_t *j = answer_json(&a);
            cr_assert_eq(int_at(j, "usage.completion_tokens"), 512 - n, "%s", a.body.data);
            json_decref(j);
        } else {
            char says[64];
            (void)snprintf(says, sizeof says, "has %d tokens; the context holds 512", n);
            answer_expect_error(&a, 400, says);
        }
        answer_free(&a);
        oct_buf_free(&body);
    }
    struct answer a =
        service_post(&s, "/v1/completions", "{\"prompt\":[70,71],\"max_tokens\":511}");
    answer_expect_error(&a, 400,
                        "max_tokens is 511; the prompt has 2 tokens and the context holds 512");
    answer_free(&a);
    a = service_post(&s, "/v1/completions", "{\"prompt\":\"\"}");
    answer_expect_error(&a, 400, "the prompt is empty");
    answer_free(&a);
    service_stop(&s);
}

/* Prompts, and messages, that are none. */
Test(fields, prompts_and_messages_have_their_shapes)
{
    static const struct {
        const char *path, *body, *says;
    } bad[] = {
        {"/v1/completions", "{}", "prompt is missing"},
        {"/v1/completions", "{\"prompt\":null}", "prompt is missing"},
        {"/v1/completions", "{\"prompt\":1}", "prompt"},
        {"/v1/completions", "{\"prompt\":{}}", "prompt"},
        {"/v1/completions", "{\"prompt\":[]}", "prompt"},
        {"/v1/completions", "{\"prompt\":[[]]}", "prompt"},
        {"/v1/completions", "{\"prompt\":[1,\"x\"]}", "prompt"},
        {"/v1/completions", "{\"prompt\":[\"x\",1]}", "prompt"},
        {"/v1/completions", "{\"prompt\":[[1],[\"x\"]]}", "prompt"},
        {"/v1/completions", "{\"prompt\":[256]}", "prompt token 0 is 256"},
        {"/v1/completions", "{\"prompt\":[-1]}", "prompt"},
        {"/v1/completions", "{\"prompt\":[1.5]}", "prompt"},
        {"/v1/completions", "{\"prompt\":[null]}", "prompt"},
        {"/v1/completions", "[]", "must be a JSON object"},
        {"/v1/completions", "[{\"prompt\":\"x\"}]", "must be a JSON object"},
        {"/v1/chat/completions", "{}", "messages is missing"},
        {"/v1/chat/completions", "{\"messages\":[]}", "messages"},
        {"/v1/chat/completions", "{\"messages\":\"x\"}", "messages"},
        {"/v1/chat/completions", "{\"messages\":[1]}", "messages[0]"},
        {"/v1/chat/completions", "{\"messages\":[{}]}", "messages[0]"},
        {"/v1/chat/completions", "{\"messages\":[{\"role\":1}]}", "messages[0]"},
        {"/v1/chat/completions", "{\"messages\":[{\"role\":\"u\",\"content\":1}]}",
         "messages[0].content"},
        {"/v1/chat/completions", "{\"messages\":[{\"role\":\"u\",\"content\":[1]}]}", "content"},
        {"/v1/chat/completions",
         "{\"messages\":[{\"role\":\"u\",\"content\":[{\"type\":\"image_url\"}]}]}", "image_url"},
        {"/v1/chat/completions",
         "{\"messages\":[{\"role\":\"u\",\"content\":\"x\",\"tool_calls\":1}]}", "tool_calls"},
        {"/v1/chat/completions",
         "{\"messages\":[{\"role\":\"u\",\"content\":\"x\",\"tool_calls\":[{\"function\":"
         "{\"arguments\":\"{\"}}]}]}",
         "arguments"},
    };
    struct service s = {0};
    service_start(&s);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct answer a = service_post(&s, bad[i].path, bad[i].body);
        answer_expect_error(&a, 400, bad[i].says);
        answer_free(&a);
    }
    service_stop(&s);
}

Test(fields, are_checked_at_their_limits)
{
    struct service s = {0};
    service_start(&s);
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        ask_each(&s, i, row[i].good, true);
        ask_each(&s, i, "null", true);
        ask_each(&s, i, row[i].bad, false);
        ask_nan(&s, i);
    }
    service_stop(&s);
}
