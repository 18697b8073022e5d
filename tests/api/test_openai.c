/* SPDX-License-Identifier: Apache-2.0
 *
 * OpenAI's endpoints as a client sees them: what comes out is what the engine itself says, whole or
 * as a stream. */
#include "api/service.h"
#include "support/tiny.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PROMPT "abc ddd"

static char *direct(struct service *s, const char *prompt, int32_t max_tokens)
{
    struct oct_sampling sampling = OCT_SAMPLING_INIT;
    size_t len;
    sampling.max_tokens = max_tokens;
    return service_direct(s, prompt, &sampling, &len);
}

/* All text of choice `index` of a stream; *finish gets its finish_reason. */
static char *joined(const struct events *ev, long long index, const char *member,
                    const char **finish)
{
    struct oct_buf b = {0};
    *finish = NULL;
    for (size_t i = 0; i < ev->n; i++) {
        const json_t *choices = at(ev->item[i], "choices");
        for (size_t c = 0; c < json_array_size(choices); c++) {
            const json_t *choice = json_array_get(choices, c);
            if (int_at(choice, "index") != index) {
                continue;
            }
            const char *text = str_at(choice, member);
            cr_assert_null(*finish, "a piece after the end");
            *finish = str_at(choice, "finish_reason");
            cr_assert_eq(oct_buf_append(&b, text ? text : "", text ? strlen(text) : 0), OCT_OK);
        }
    }
    char *out = strdup(b.data ? b.data : "");
    oct_buf_free(&b);
    return out;
}

/* ---- completions ---- */

Test(completions, whole_and_streamed_answers_are_the_engines)
{
    struct service s = {0};
    service_start(&s);
    char *want = direct(&s, PROMPT, 40);
    json_t *j = service_post_json(
        &s, "/v1/completions", "{\"model\":\"alias\",\"prompt\":\"" PROMPT "\",\"max_tokens\":40}");
    cr_assert_str_eq(str_at(j, "choices.0.text"), want);
    cr_assert_str_eq(str_at(j, "choices.0.finish_reason"), "length");
    cr_assert_str_eq(str_at(j, "object"), "text_completion");
    cr_assert_str_eq(str_at(j, "model"), "alias");
    cr_assert(!strncmp(str_at(j, "id"), "cmpl-", 5) && int_at(j, "created") > 1600000000);
    cr_assert(json_is_null(at(j, "choices.0.logprobs")) && int_at(j, "choices.0.index") == 0);
    cr_assert_eq(int_at(j, "usage.prompt_tokens"), 7);
    cr_assert_eq(int_at(j, "usage.completion_tokens"), 40);
    cr_assert_eq(int_at(j, "usage.total_tokens"), 47);
    cr_assert_geq(int_at(j, "usage.prompt_tokens_details.cached_tokens"), 0);
    json_decref(j);
    struct answer a = service_post(&s, "/v1/completions",
                                   "{\"prompt\":\"" PROMPT "\",\"max_tokens\":40,\"stream\":true,"
                                   "\"stream_options\":{\"include_usage\":true}}");
    char type[256];
    cr_assert_eq(a.status, 200, "%s", a.body.data);
    cr_assert(a.is_whole);
    cr_assert_str_eq(answer_header(&a, "content-type", type), "text/event-stream");
    struct events ev = events_of(&a);
    const char *finish;
    char *text = joined(&ev, 0, "text", &finish);
    cr_assert_str_eq(text, want);
    cr_assert_str_eq(finish, "length");
    const json_t *last = ev.item[ev.n - 1];
    cr_assert_eq(json_array_size(at(last, "choices")), 0);
    cr_assert_eq(int_at(last, "usage.total_tokens"), 47);
    for (size_t i = 0; i + 1 < ev.n; i++) {
        cr_assert(json_is_null(at(ev.item[i], "usage")));
        cr_assert_str_eq(str_at(ev.item[i], "id"), str_at(last, "id"));
    }
    free(text);
    free(want);
    events_free(&ev);
    answer_free(&a);
    service_stop(&s);
}

Test(completions, without_max_tokens_there_are_sixteen)
{
    struct service s = {0};
    service_start(&s);
    json_t *j = service_post_json(&s, "/v1/completions", "{\"prompt\":[70,71,72]}");
    cr_assert_eq(int_at(j, "usage.completion_tokens"), 16);
    json_decref(j);
    service_stop(&s);
}

/* Texts, ids, lists of both; n of each: choice = prompt * n + i. */
Test(completions, lists_of_prompts_and_n_have_a_choice_each)
{
    struct service s = {.fake_options.delay_us = 500};
    service_start(&s);
    static const char *const bodies[] = {
        "{\"prompt\":[\"" PROMPT "\",\"xyz\"],\"max_tokens\":20,\"n\":3",
        "{\"prompt\":[[100,101,102,35,103,103,103],[123,124,125]],\"max_tokens\":20,\"n\":3",
    };
    char *want[2] = {direct(&s, PROMPT, 20), direct(&s, "xyz", 20)};
    for (size_t b = 0; b < sizeof bodies / sizeof *bodies; b++) {
        char body[256];
        (void)snprintf(body, sizeof body, "%s}", bodies[b]);
        json_t *j = service_post_json(&s, "/v1/completions", body);
        cr_assert_eq(json_array_size(at(j, "choices")), 6);
        for (int i = 0; i < 6; i++) {
            char path[64];
            (void)snprintf(path, sizeof path, "choices.%d.index", i);
            cr_assert_eq(int_at(j, path), i);
            (void)snprintf(path, sizeof path, "choices.%d.text", i);
            cr_assert_str_eq(str_at(j, path), want[i / 3], "body %zu choice %d", b, i);
        }
        cr_assert_eq(int_at(j, "usage.prompt_tokens"), 10);
        cr_assert_eq(int_at(j, "usage.completion_tokens"), 120);
        json_decref(j);
        (void)snprintf(body, sizeof body,
                       "%s,\"stream\":true,\"stream_options\":{\"continuous_usage_stats\":true}}",
                       bodies[b]);
        struct answer a = service_post(&s, "/v1/completions", body);
        struct events ev = events_of(&a);
        for (int i = 0; i < 6; i++) {
            const char *finish;
            char *text = joined(&ev, i, "text", &finish);
            cr_assert_str_eq(text, want[i / 3], "body %zu choice %d", b, i);
            cr_assert_str_eq(finish, "length");
            free(text);
        }
        cr_assert_eq(int_at(ev.item[ev.n - 1], "usage.completion_tokens"), 120);
        cr_assert_lt(int_at(ev.item[0], "usage.completion_tokens"), 20);
        events_free(&ev);
        answer_free(&a);
    }
    free(want[0]);
    free(want[1]);
    service_stop(&s);
}

Test(completions, echo_puts_the_prompt_and_its_logprobs_first)
{
    struct service s = {0};
    service_start(&s);
    char *want = direct(&s, PROMPT, 5), text[256];
    (void)snprintf(text, sizeof text, PROMPT "%s", want);
    for (int streamed = 0; streamed < 2; streamed++) {
        char body[256];
        (void)snprintf(body, sizeof body,
                       "{\"prompt\":\"" PROMPT "\",\"max_tokens\":5,\"echo\":true,\"logprobs\":1,"
                       "\"n\":2,\"stream\":%s}",
                       streamed ? "true" : "false");
        struct answer a = service_post(&s, "/v1/completions", body);
        cr_assert_eq(a.status, 200, "%s", a.body.data);
        struct events ev = {0};
        json_t *whole = streamed ? NULL : answer_json(&a);
        if (streamed) {
            ev = events_of(&a);
        } else {
            ev.item = malloc(sizeof *ev.item);
            ev.item[ev.n++] = whole;
        }
        for (int c = 0; c < 2; c++) {
            size_t n = 0;
            const char *finish;
            char *got = joined(&ev, c, "text", &finish);
            cr_assert_str_eq(got, text, "streamed %d choice %d", streamed, c);
            free(got);
            for (size_t i = 0; i < ev.n; i++) {
                for (size_t k = 0; k < json_array_size(at(ev.item[i], "choices")); k++) {
                    const json_t *choice = json_array_get(at(ev.item[i], "choices"), k);
                    const json_t *l = at(choice, "logprobs");
                    if (int_at(choice, "index") != c) {
                        continue;
                    }
                    for (size_t t = 0; t < json_array_size(at(l, "tokens")); t++, n++) {
                        const json_t *lp = json_array_get(at(l, "token_logprobs"), t);
                        const json_t *top = json_array_get(at(l, "top_logprobs"), t);
                        const json_t *off = json_array_get(at(l, "text_offset"), t);
                        cr_assert(n == 0 ? json_is_null(lp) && json_is_null(top)
                                         : json_is_number(lp) && json_object_size(top) >= 1,
                                  "token %zu of choice %d", n, c);
                        cr_assert(n >= 7 || json_integer_value(off) == (json_int_t)n,
                                  "offset of %zu is %lld", n, json_integer_value(off));
                    }
                }
            }
            cr_assert_eq(n, 7 + 5, "%zu logprobs in choice %d", n, c);
        }
        events_free(&ev);
        answer_free(&a);
    }
    free(want);
    service_stop(&s);
}

Test(completions, echo_without_tokens_is_the_prompt_alone)
{
    struct service s = {0};
    service_start(&s);
    json_t *j = service_post_json(&s, "/v1/completions",
                                  "{\"prompt\":[100,101,102],\"max_tokens\":0,\"echo\":true,"
                                  "\"logprobs\":0}");
    cr_assert_str_eq(str_at(j, "choices.0.text"), "abc");
    cr_assert_eq(json_array_size(at(j, "choices.0.logprobs.tokens")), 3);
    cr_assert_eq(int_at(j, "usage.completion_tokens"), 0);
    cr_assert_str_eq(str_at(j, "choices.0.finish_reason"), "length");
    json_decref(j);
    struct answer a = service_post(&s, "/v1/completions", "{\"prompt\":\"x\",\"max_tokens\":0}");
    answer_expect_error(&a, 400, "max_tokens");
    answer_free(&a);
    service_stop(&s);
}

/* The logprobs of a token are the fake device's own. */
Test(completions, logprobs_are_those_of_the_tokens)
{
    struct service s = {0};
    service_start(&s);
    json_t *j = service_post_json(&s, "/v1/completions",
                                  "{\"prompt\":\"" PROMPT "\",\"max_tokens\":9,\"logprobs\":3}");
    const int32_t prompt[] = {100, 101, 102, 35, 103, 103, 103};
    int32_t out[9];
    fake_answer(&s.fake_options, prompt, 7, out, 9);
    cr_assert_eq(json_array_size(at(j, "choices.0.logprobs.token_logprobs")), 9);
    for (size_t i = 0; i < 9; i++) {
        const double got =
            json_number_value(json_array_get(at(j, "choices.0.logprobs.token_logprobs"), i));
        cr_assert_eq((float)got, fake_logprob(out[i]), "token %zu: %g", i, got);
    }
    json_decref(j);
    service_stop(&s);
}

/* ---- chat ---- */

#define HELLO "\"messages\":[{\"role\":\"user\",\"content\":\"" PROMPT "\"}]"
#define HELLO_TEXT "<|im_start|>user\n" PROMPT "<|im_end|>\n<|im_start|>bot\n"

Test(chat, whole_and_streamed_answers_are_the_engines)
{
    struct service s = {0};
    service_start(&s);
    char *want = direct(&s, HELLO_TEXT, 30);
    json_t *j = service_post_json(&s, "/v1/chat/completions",
                                  "{" HELLO ",\"max_completion_tokens\":30,\"logprobs\":true,"
                                  "\"top_logprobs\":2}");
    cr_assert_str_eq(str_at(j, "choices.0.message.content"), want);
    cr_assert_str_eq(str_at(j, "choices.0.message.role"), "assistant");
    cr_assert_str_eq(str_at(j, "object"), "chat.completion");
    cr_assert_eq(json_array_size(at(j, "choices.0.logprobs.content")), 30);
    cr_assert_eq(json_array_size(at(j, "choices.0.logprobs.content.0.top_logprobs")), 2);
    cr_assert(str_at(j, "choices.0.logprobs.content.0.token") &&
              json_is_number(at(j, "choices.0.logprobs.content.0.logprob")) &&
              json_is_array(at(j, "choices.0.logprobs.content.0.bytes")));
    json_decref(j);
    struct answer a = service_post(&s, "/v1/chat/completions",
                                   "{" HELLO ",\"max_tokens\":30,\"stream\":true,\"n\":2,"
                                   "\"logprobs\":true}");
    struct events ev = events_of(&a);
    for (int c = 0; c < 2; c++) {
        const char *finish, *role;
        char *text = joined(&ev, c, "delta.content", &finish);
        cr_assert_str_eq(text, want);
        cr_assert_str_eq(finish, "length");
        free(text);
        text = joined(&ev, c, "delta.role", &role);
        cr_assert_str_eq(text, "assistant", "choice %d says who speaks %s", c, text);
        free(text);
    }
    cr_assert_str_eq(str_at(ev.item[0], "object"), "chat.completion.chunk");
    cr_assert_str_eq(str_at(ev.item[0], "choices.0.delta.role"), "assistant");
    size_t n = 0;
    for (size_t i = 0; i < ev.n; i++) {
        cr_assert_null(at(ev.item[i], "usage"));
        n += json_array_size(at(ev.item[i], "choices.0.logprobs.content"));
    }
    cr_assert_eq(n, 60);
    free(want);
    events_free(&ev);
    answer_free(&a);
    service_stop(&s);
}

/* What of a conversation reaches the template: here the template says it as the prompt, and
 * /tokenize shows that. */
Test(chat, tools_and_variables_reach_the_template)
{
    struct service s = {
        .chat_template =
            "{% for m in messages %}{{ m.role }}:{{ m.content }}"
            "{% if m.tool_calls %}{{ m.tool_calls[0].function.arguments.x }}{% endif %}"
            ";{% endfor %}{% if tools %}T{{ tools[0].function.name }}{% endif %}"
            "{% if enable_thinking is defined %}E{{ enable_thinking }}{% endif %}"
            "{% if add_generation_prompt %}G{% endif %}"};
    service_start(&s);
#define TOOL "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"look\"}}]"
    static const struct {
        const char *body, *want;
    } row[] = {
        {HELLO, "user:" PROMPT ";G"},
        {HELLO ",\"add_generation_prompt\":false", "user:" PROMPT ";"},
        {HELLO "," TOOL, "user:" PROMPT ";TlookG"},
        {HELLO ",\"chat_template_kwargs\":{\"enable_thinking\":false}", "user:" PROMPT ";EFalseG"},
        {"\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\"},"
         "{\"type\":\"text\",\"text\":\"b\"}]}]",
         "user:a\nb;G"},
        {"\"messages\":[{\"role\":\"bot\",\"content\":\"\",\"tool_calls\":[{\"id\":\"1\","
         "\"type\":\"function\",\"function\":{\"name\":\"look\",\"arguments\":\"{\\\"x\\\": "
         "7}\"}}]},"
         "{\"role\":\"tool\",\"tool_call_id\":\"1\",\"content\":\"y\"}]",
         "bot:7;tool:y;G"},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct oct_buf body = {0}, ids = {0};
        cr_assert_eq(oct_buf_printf(&body, "{%s}", row[i].body), OCT_OK);
        json_t *j = service_post_json(&s, "/tokenize", body.data);
        char *list = json_dumps(at(j, "tokens"), JSON_COMPACT);
        cr_assert_eq((size_t)int_at(j, "count"), json_array_size(at(j, "tokens")));
        cr_assert_eq(int_at(j, "max_model_len"), 512);
        cr_assert_eq(oct_buf_printf(&ids, "{\"tokens\":%s}", list), OCT_OK);
        json_t *back = service_post_json(&s, "/detokenize", ids.data);
        cr_assert_str_eq(str_at(back, "prompt"), row[i].want, "row %zu", i);
        json_decref(back);
        json_decref(j);
        oct_free(list);
        oct_buf_free(&body);
        oct_buf_free(&ids);
    }
    /* "none": the model is not told of the tools */
    json_t *with =
        service_post_json(&s, "/v1/chat/completions", "{" HELLO "," TOOL ",\"max_tokens\":1}");
    json_t *none =
        service_post_json(&s, "/v1/chat/completions",
                          "{" HELLO "," TOOL ",\"tool_choice\":\"none\",\"max_tokens\":1}");
    cr_assert_eq(int_at(with, "usage.prompt_tokens"), int_at(none, "usage.prompt_tokens") + 5);
    json_decref(with);
    json_decref(none);
    service_stop(&s);
}

/* ---- the small ones ---- */

Test(models, are_listed_and_found_by_name)
{
    struct service s = {.config.model_path = "some/where"};
    service_start(&s);
    struct answer a = service_ask(&s, "GET", "/v1/models", "", NULL);
    json_t *j = answer_json(&a);
    cr_assert_eq(json_array_size(at(j, "data")), 2);
    cr_assert_str_eq(str_at(j, "data.0.id"), "fake");
    cr_assert_eq(int_at(j, "data.0.max_model_len"), 512);
    json_decref(j);
    answer_free(&a);
    a = service_ask(&s, "GET", "/v1/models/al%69as", "", NULL);
    j = answer_json(&a);
    cr_assert_str_eq(str_at(j, "id"), "alias");
    json_decref(j);
    answer_free(&a);
    a = service_ask(&s, "HEAD", "/v1/models", "", NULL);
    cr_assert(a.status == 200 && a.body.len == 0);
    answer_free(&a);
    a = service_ask(&s, "GET", "/v1/models/other", "", NULL);
    answer_expect_error(&a, 404, "there is no model \"other\"; there is fake, alias");
    answer_free(&a);
    a = service_ask(&s, "GET", "/v1/models/%zz", "", NULL);
    answer_expect_error(&a, 400, "hexadecimal");
    answer_free(&a);
    a = service_post(&s, "/v1/completions", "{\"model\":\"gpt\",\"prompt\":\"x\"}");
    answer_expect_error(&a, 404, "there is no model \"gpt\"; there is fake, alias");
    answer_free(&a);
    service_stop(&s);
}

Test(tokenize, takes_texts_and_gives_them_back)
{
    struct service s = {0};
    service_start(&s);
    json_t *j = service_post_json(
        &s, "/tokenize", "{\"model\":\"fake\",\"prompt\":\"abc\",\"return_token_strs\":true}");
    char *list = json_dumps(at(j, "tokens"), JSON_COMPACT);
    cr_assert_str_eq(list, "[100,101,102]");
    cr_assert_str_eq(str_at(j, "token_strs.1"), "b");
    oct_free(list);
    json_decref(j);
    static const struct {
        const char *path, *body, *part;
        int status;
    } bad[] = {
        {"/tokenize", "{\"prompt\":1}", "prompt", 400},
        {"/tokenize", "{\"prompt\":\"x\",\"model\":\"y\"}", "no model", 404},
        {"/tokenize", "{\"prompt\":\"x\",\"odd\":1}", "odd", 400},
        {"/tokenize", "{\"messages\":[]}", "messages", 400},
        {"/detokenize", "{\"tokens\":[256]}", "tokens[0]", 400},
        {"/detokenize", "{\"tokens\":[-1]}", "tokens[0]", 400},
        {"/detokenize", "{\"tokens\":\"x\"}", "tokens", 400},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct answer a = service_post(&s, bad[i].path, bad[i].body);
        answer_expect_error(&a, bad[i].status, bad[i].part);
        answer_free(&a);
    }
    service_stop(&s);
}

/* ---- a model that samples ---- */

static char *text_of(struct service *s, const char *more, int choice)
{
    char body[512], path[64];
    (void)snprintf(body, sizeof body,
                   "{\"prompt\":\"abc\",\"max_tokens\":24,\"ignore_eos\":true,\"temperature\":1%s}",
                   more);
    (void)snprintf(path, sizeof path, "choices.%d.text", choice);
    json_t *j = service_post_json(s, "/v1/completions", body);
    const json_t *t = at(j, path);
    char *text = malloc(json_string_length(t) + 1);
    memcpy(text, json_string_value(t), json_string_length(t) + 1);
    json_decref(j);
    return text;
}

Test(sampling, fields_reach_the_sampler)
{
    const struct oct_tiny tiny = oct_tiny_default(OCT_ARCH_LLAMA);
    char *dir = oct_test_make_dir(), model[512], more[256];
    oct_tiny_write_gguf(&tiny, dir, "tiny");
    (void)snprintf(model, sizeof model, "%s/tiny.gguf", dir);
    struct service s = {.model_path = model};
    service_start(&s);
    /* choice i of n has seed + i */
    char *alone[3];
    for (int i = 0; i < 3; i++) {
        (void)snprintf(more, sizeof more, ",\"seed\":%d", 41 + i);
        alone[i] = text_of(&s, more, 0);
        char *one_of_three = text_of(&s, ",\"seed\":41,\"n\":3", i);
        cr_assert_str_eq(alone[i], one_of_three, "choice %d", i);
        free(one_of_three);
    }
    cr_assert(strcmp(alone[0], alone[1]) != 0 && strcmp(alone[1], alone[2]) != 0);
    /* without a seed answers differ */
    char *a = text_of(&s, "", 0), *b = text_of(&s, "", 0);
    cr_assert_str_neq(a, b);
    free(a);
    free(b);
    /* token 3 + 'z' outweighs all others; it is left out of text that ends before it */
    a = text_of(&s, ",\"logit_bias\":{\"125\":100}", 0);
    cr_assert_str_eq(a, "zzzzzzzzzzzzzzzzzzzzzzzz");
    free(a);
    a = text_of(&s, ",\"logit_bias\":{\"125\":100},\"stop\":[\"zz\"]", 0);
    cr_assert_str_eq(a, "");
    free(a);
    a = text_of(&s, ",\"logit_bias\":{\"125\":100},\"stop_token_ids\":[125],\"min_tokens\":3", 0);
    cr_assert(strlen(a) > 0 && !strchr(a, 'z'), "%s", a); /* banned until 3 are there */
    free(a);
    /* top_k 1 is greedy whatever the temperature */
    a = text_of(&s, ",\"top_k\":1", 0);
    b = text_of(&s, ",\"top_p\":0.0001", 0);
    cr_assert_str_eq(a, b);
    for (int i = 0; i < 3; i++) {
        free(alone[i]);
    }
    free(a);
    free(b);
    service_stop(&s);
    oct_test_remove_dir(dir);
}

/* The others of a prompt come once the first has a token: its whole pages are in the cache. */
Test(sampling, choices_of_a_prompt_share_it)
{
    struct service s = {0};
    struct oct_buf body = {0};
    service_start(&s);
    cr_assert_eq(oct_buf_printf(&body, "{\"max_tokens\":4,\"n\":4,\"prompt\":[70"), OCT_OK);
    for (int i = 1; i < 300; i++) {
        cr_assert_eq(oct_buf_printf(&body, ",%d", 70 + i % 90), OCT_OK);
    }
    cr_assert_eq(oct_buf_printf(&body, "]}"), OCT_OK);
    json_decref(service_post_json(&s, "/v1/completions", body.data));
    const struct oct_engine_stats st = service_stats(&s);
    const uint64_t pages = 299 / K_PAGE_TOKENS;
    cr_assert_eq(st.n_prefix_hit_tokens, 3 * pages * K_PAGE_TOKENS, "%llu hit",
                 (unsigned long long)st.n_prefix_hit_tokens);
    oct_buf_free(&body);
    service_stop(&s);
}

/* ---- what is logged ---- */

static char logged[8192];

static void keep_line(void *user, const char *line)
{
    const size_t n = strlen(logged);
    (void)user;
    (void)snprintf(logged + n, sizeof logged - n, "%s\n", line);
}

/* R25: neither what was asked nor what was answered, nor a key. */
Test(log, has_no_text_and_no_keys)
{
    static const char *const keys[] = {"secret-key"};
    struct service s = {
        .config = {.log_requests = true, .log = keep_line, .api_keys = keys, .n_api_keys = 1}};
    service_start(&s);
    static const struct {
        const char *headers, *body;
    } row[] = {
        {"x-api-key: secret-key\r\nx-request-id: mine\r\n",
         "{\"prompt\":\"zyxwv\",\"max_tokens\":4,\"stop\":\"qqq\"}"},
        {"x-api-key: secret-key\r\n", "{\"prompt\":\"zyxwv\",\"qqq\":1}"},
        {"x-api-key: secret-kez\r\n", "{\"prompt\":\"zyxwv\"}"},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct answer a = service_ask(&s, "POST", "/v1/completions", row[i].headers, row[i].body);
        answer_free(&a);
    }
    service_stop(&s);
    cr_assert(strstr(logged, "cmpl-mine /v1/completions done status=200 choices=1 prompt_tokens=5 "
                             "output_tokens=4 "),
              "%s", logged);
    cr_assert(strstr(logged, "failed status=400"), "%s", logged);
    cr_assert(!strstr(logged, "zyxwv") && !strstr(logged, "qqq") && !strstr(logged, "secret"), "%s",
              logged);
}
