/* SPDX-License-Identifier: Apache-2.0
 *
 * Ollama's bodies as requests. What a server answers is looked at by tests/clients. */
#include "api/ollama.h"

#include "base/json.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

enum { CONTEXT = 2048 };

static oct_status parse(bool is_chat, const char *text, struct oct_ollama_request *r)
{
    json_t *body = NULL;
    cr_assert_eq(oct_json_parse(text, strlen(text), "a test's body", OCT_JSON_MAX_DEPTH,
                                OCT_JSON_NUL, &body),
                 OCT_OK, "%s: %s", text, oct_last_error());
    const oct_status st = oct_ollama_parse(is_chat, body, CONTEXT, r);
    json_decref(body);
    return st;
}

Test(ollama, options_become_sampling)
{
    struct oct_ollama_request r;
    cr_assert_eq(parse(false,
                       "{\"model\":\"m:latest\",\"prompt\":\"hello\",\"stream\":false,"
                       "\"keep_alive\":\"5m\",\"options\":{\"temperature\":0.25,\"top_k\":7,"
                       "\"top_p\":0.5,\"min_p\":0.125,\"seed\":42,\"num_predict\":9,"
                       "\"repeat_penalty\":1.5,\"presence_penalty\":0.5,"
                       "\"frequency_penalty\":-0.5,\"repeat_last_n\":-1,\"num_ctx\":2048,"
                       "\"stop\":[\"a\",\"bc\"],\"mirostat\":0,\"typical_p\":1.0,"
                       "\"num_gpu\":99,\"use_mmap\":true,\"numa\":null}}",
                       &r),
                 OCT_OK, "%s", oct_last_error());
    const struct oct_sampling *s = &r.openai.sampling;
    cr_assert_str_eq(r.model, "m:latest");
    cr_assert(!r.stream && !r.is_chat && !r.is_empty && !r.is_raw);
    cr_assert(s->temperature == 0.25f && s->top_k == 7 && s->top_p == 0.5f && s->min_p == 0.125f,
              "%g %d %g %g", (double)s->temperature, s->top_k, (double)s->top_p, (double)s->min_p);
    cr_assert(s->has_seed && s->seed == 42 && s->max_tokens == 9, "%d %llu %d", s->has_seed,
              (unsigned long long)s->seed, s->max_tokens);
    cr_assert(s->repetition_penalty == 1.5f && s->presence_penalty == 0.5f &&
                  s->frequency_penalty == -0.5f,
              "%g %g %g", (double)s->repetition_penalty, (double)s->presence_penalty,
              (double)s->frequency_penalty);
    cr_assert(s->n_stop == 2 && !strcmp(s->stop[0], "a") && !strcmp(s->stop[1], "bc"));
    cr_assert_eq(s->n_logprobs, -1);
    oct_ollama_request_deinit(&r);
}

/* The messages and the template's variables that come of a body. */
Test(ollama, bodies_become_conversations)
{
    static const struct {
        bool is_chat;
        const char *body, *messages, *vars;
    } cases[] = {
        {false, "{\"model\":\"m\",\"prompt\":\"hi\"}", "[{\"role\":\"user\",\"content\":\"hi\"}]",
         "{}"},
        {false, "{\"model\":\"m\",\"prompt\":\"hi\",\"system\":\"be brief\",\"suffix\":\"\"}",
         "[{\"role\":\"system\",\"content\":\"be brief\"},{\"role\":\"user\",\"content\":\"hi\"}]",
         "{}"},
        {false, "{\"model\":\"m\",\"prompt\":\"hi\",\"system\":\"\",\"think\":false}",
         "[{\"role\":\"user\",\"content\":\"hi\"}]", "{\"enable_thinking\":false}"},
        {true,
         "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\",\"images\":null}],"
         "\"think\":true}",
         "[{\"role\":\"user\",\"content\":\"hi\"}]", "{\"enable_thinking\":true}"},
        {true,
         "{\"model\":\"m\",\"think\":\"high\",\"messages\":[{\"role\":\"user\",\"content\":\"a\"},"
         "{\"role\":\"assistant\",\"content\":\"b\",\"thinking\":\"t\"},"
         "{\"role\":\"tool\",\"content\":\"c\",\"tool_name\":\"f\",\"images\":[]},"
         "{\"role\":\"user\"}]}",
         "[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\",\"content\":\"b\","
         "\"reasoning_content\":\"t\"},{\"role\":\"tool\",\"content\":\"c\",\"name\":\"f\"},"
         "{\"role\":\"user\",\"content\":\"\"}]",
         "{\"reasoning_effort\":\"high\",\"enable_thinking\":true}"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct oct_ollama_request r;
        cr_assert_eq(parse(cases[i].is_chat, cases[i].body, &r), OCT_OK, "%s: %s", cases[i].body,
                     oct_last_error());
        json_t *messages = json_loads(cases[i].messages, 0, NULL);
        json_t *vars = json_loads(cases[i].vars, 0, NULL);
        char *got = json_dumps(r.openai.messages, JSON_COMPACT);
        cr_assert(json_equal(r.openai.messages, messages), "%s: got %s", cases[i].body, got);
        free(got);
        got = json_dumps(r.openai.vars, JSON_COMPACT);
        cr_assert(json_equal(r.openai.vars, vars), "%s: got %s", cases[i].body, got);
        free(got);
        cr_assert(r.stream, "%s: a stream unless said otherwise", cases[i].body);
        json_decref(messages);
        json_decref(vars);
        oct_ollama_request_deinit(&r);
    }
}

Test(ollama, a_raw_prompt_is_a_text_and_none_only_asks_for_the_model)
{
    struct oct_ollama_request r;
    cr_assert_eq(
        parse(false, "{\"model\":\"m\",\"prompt\":\"a b\",\"raw\":true,\"think\":true}", &r),
        OCT_OK, "%s", oct_last_error());
    cr_assert(r.is_raw && !r.is_empty && !r.openai.messages);
    cr_assert_eq(r.openai.n_prompts, 1);
    cr_assert_eq(r.openai.prompts[0].len, 3);
    cr_assert_eq(r.openai.n_top, -1);
    oct_ollama_request_deinit(&r);
    cr_assert_eq(parse(false,
                       "{\"model\":\"m\",\"prompt\":\"a\",\"raw\":true,\"logprobs\":true,"
                       "\"top_logprobs\":3}",
                       &r),
                 OCT_OK, "%s", oct_last_error());
    cr_assert_eq(r.openai.n_top, 3);
    oct_ollama_request_deinit(&r);
    cr_assert_eq(parse(true,
                       "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"a\"}],"
                       "\"logprobs\":true,\"top_logprobs\":2}",
                       &r),
                 OCT_OK, "%s", oct_last_error());
    cr_assert_eq(r.openai.n_top, 2);
    oct_ollama_request_deinit(&r);
    static const char *const empty[] = {"{\"model\":\"m\"}", "{\"model\":\"m\",\"keep_alive\":0}",
                                        "{\"model\":\"m\",\"prompt\":\"\"}"};
    for (size_t i = 0; i < 3; i++) {
        cr_assert_eq(parse(false, empty[i], &r), OCT_OK, "%s: %s", empty[i], oct_last_error());
        cr_assert(r.is_empty && !r.openai.body, "%s", empty[i]);
        oct_ollama_request_deinit(&r);
    }
    cr_assert_eq(parse(true, "{\"model\":\"m\",\"messages\":[]}", &r), OCT_OK, "%s",
                 oct_last_error());
    cr_assert(r.is_empty);
    oct_ollama_request_deinit(&r);
}

#define G "{\"model\":\"m\",\"prompt\":\"p\","
#define C "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"a\"}],"

Test(ollama, what_would_change_the_answer_is_refused_by_name)
{
    static const struct {
        bool is_chat;
        const char *body;
        oct_status st;
        const char *word; /* in the sentence */
    } cases[] = {
        {false, "{\"prompt\":\"p\"}", OCT_E_ARG, "model is missing"},
        {false, "{\"model\":7,\"prompt\":\"p\"}", OCT_E_ARG, "model"},
        {false, "{\"model\":\"\",\"prompt\":\"p\"}", OCT_E_ARG, "model"},
        {false, "{\"model\":\"a\\u0000b\",\"prompt\":\"p\"}", OCT_E_ARG, "model"},
        {false, "{\"model\":\"m\",\"prompt\":7}", OCT_E_ARG, "prompt"},
        {false, G "\"suffix\":\"x\"}", OCT_E_UNSUPPORTED, "suffix"},
        {false, G "\"images\":[\"aGk=\"]}", OCT_E_UNSUPPORTED, "images"},
        {false, G "\"format\":\"json\"}", OCT_E_UNSUPPORTED, "format"},
        {true, C "\"format\":{\"type\":\"object\"}}", OCT_E_UNSUPPORTED, "format"},
        {false, G "\"template\":\"{{ .Prompt }}\"}", OCT_E_UNSUPPORTED, "template"},
        {false, G "\"context\":[1,2]}", OCT_E_UNSUPPORTED, "context"},
        {false, G "\"stream\":1}", OCT_E_ARG, "stream"},
        {false, G "\"raw\":true,\"system\":\"s\"}", OCT_E_ARG, "raw"},
        {false, G "\"think\":\"hard\"}", OCT_E_ARG, "think"},
        {false, G "\"keep_alive\":{}}", OCT_E_ARG, "keep_alive"},
        {false, G "\"truncate\":1}", OCT_E_ARG, "truncate"},
        {false, G "\"messages\":[]}", OCT_E_ARG, "\"messages\""},
        {true, C "\"prompt\":\"p\"}", OCT_E_ARG, "\"prompt\""},
        {true, C "\"temperatur\":1}", OCT_E_ARG, "temperatur"},
        {true, C "\"tools\":{}}", OCT_E_ARG, "tools"},
        {true, "{\"model\":\"m\",\"messages\":{}}", OCT_E_ARG, "messages"},
        {true, "{\"model\":\"m\",\"messages\":[7]}", OCT_E_ARG, "messages[0]"},
        {true, "{\"model\":\"m\",\"messages\":[{\"content\":\"a\"}]}", OCT_E_ARG, "messages[0]"},
        {true,
         "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"a\","
         "\"images\":[\"aGk=\"]}]}",
         OCT_E_UNSUPPORTED, "messages[0].images"},
        {true,
         "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"a\",\"images\":7}]}",
         OCT_E_UNSUPPORTED, "messages[0].images"},
        {false, G "\"options\":7}", OCT_E_ARG, "options"},
        {false, G "\"options\":{\"temprature\":1}}", OCT_E_ARG, "did you mean temperature"},
        {false, G "\"options\":{\"temperature\":-1}}", OCT_E_ARG, "temperature"},
        {false, G "\"options\":{\"temperature\":\"hot\"}}", OCT_E_ARG, "temperature"},
        {false, G "\"options\":{\"num_predict\":-3}}", OCT_E_ARG, "num_predict"},
        {false, G "\"options\":{\"num_predict\":4294967296}}", OCT_E_ARG, "num_predict"},
        {false, G "\"options\":{\"num_predict\":1.5}}", OCT_E_ARG, "num_predict"},
        {false, G "\"options\":{\"num_ctx\":2049}}", OCT_E_ARG, "2048"},
        {false, G "\"options\":{\"num_ctx\":0}}", OCT_E_ARG, "num_ctx"},
        {false, G "\"options\":{\"seed\":1.5}}", OCT_E_ARG, "seed"},
        {false, G "\"options\":{\"stop\":7}}", OCT_E_ARG, "stop"},
        {false, G "\"options\":{\"repeat_penalty\":0}}", OCT_E_ARG, "repeat_penalty"},
        {false, G "\"options\":{\"repeat_last_n\":-2}}", OCT_E_ARG, "repeat_last_n"},
        {false, G "\"options\":{\"repeat_penalty\":1.1,\"repeat_last_n\":64}}", OCT_E_UNSUPPORTED,
         "repeat_last_n"},
        {false, G "\"options\":{\"mirostat\":2}}", OCT_E_UNSUPPORTED, "mirostat"},
        {false, G "\"options\":{\"typical_p\":0.7}}", OCT_E_UNSUPPORTED, "typical_p"},
        {false, G "\"options\":{\"penalize_newline\":false}}", OCT_E_UNSUPPORTED,
         "penalize_newline"},
        {false, G "\"options\":{\"num_gpu\":[]}}", OCT_E_ARG, "num_gpu"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct oct_ollama_request r;
        const oct_status st = parse(cases[i].is_chat, cases[i].body, &r);
        cr_assert_eq(st, cases[i].st, "%s: %s", cases[i].body,
                     st == OCT_OK ? "taken" : oct_last_error());
        cr_assert(strstr(oct_last_error(), cases[i].word), "%s: \"%s\" does not say \"%s\"",
                  cases[i].body, oct_last_error(), cases[i].word);
    }
}

Test(ollama, a_number_that_switches_something_off_is_fine)
{
    static const struct {
        const char *body;
        float repetition_penalty;
        int32_t max_tokens;
        bool has_seed;
    } cases[] = {
        {G "\"options\":{\"num_predict\":-1,\"seed\":-1}}", -1, 0, false},
        {G "\"options\":{\"num_predict\":-2,\"seed\":0}}", -1, 0, true},
        {G "\"options\":{\"num_predict\":0}}", -1, 0, false},
        {G "\"options\":{\"repeat_penalty\":1.5,\"repeat_last_n\":0}}", -1, 0, false},
        {G "\"options\":{\"repeat_penalty\":1.0,\"repeat_last_n\":64}}", -1, 0, false},
        {G "\"options\":{\"repeat_penalty\":1.5,\"repeat_last_n\":4096}}", 1.5f, 0, false},
        {G "\"options\":{\"repeat_last_n\":64,\"presence_penalty\":0}}", -1, 0, false},
        {G "\"options\":{\"tfs_z\":1,\"mirostat\":0,\"mirostat_tau\":5.0}}", -1, 0, false},
        {G "\"options\":{},\"format\":\"\",\"images\":[],\"context\":[],\"template\":\"\"}", -1, 0,
         false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct oct_ollama_request r;
        cr_assert_eq(parse(false, cases[i].body, &r), OCT_OK, "%s: %s", cases[i].body,
                     oct_last_error());
        const struct oct_sampling *s = &r.openai.sampling;
        cr_assert(s->repetition_penalty == cases[i].repetition_penalty &&
                      s->max_tokens == cases[i].max_tokens && s->has_seed == cases[i].has_seed,
                  "%s: repetition_penalty %g, max_tokens %d, has_seed %d", cases[i].body,
                  (double)s->repetition_penalty, s->max_tokens, s->has_seed);
        oct_ollama_request_deinit(&r);
    }
}

Test(ollama, an_error_is_one_object)
{
    struct oct_buf out = {0};
    cr_assert_eq(oct_ollama_write_error("no \"such\" thing", false, &out), OCT_OK);
    cr_assert_str_eq(out.data, "{\"error\":\"no \\\"such\\\" thing\"}");
    oct_buf_clear(&out);
    cr_assert_eq(oct_ollama_write_error("gone", true, &out), OCT_OK);
    cr_assert_str_eq(out.data, "{\"error\":\"gone\"}\n");
    oct_buf_free(&out);
    char at[OCT_OLLAMA_TIME_BYTES];
    cr_assert_str_eq(oct_ollama_time(1795401600, at), "2026-11-23T02:40:00Z");
}
