/* SPDX-License-Identifier: Apache-2.0
 *
 * Ollama's endpoints and the page as a client sees them. What the ollama client itself makes of
 * them is tests/clients/test_ollama.py's matter. */
#include "api/page.h"
#include "api/service.h"
#include "support/tiny.h"
#include "support/writer.h"

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

/* Lines of JSON; the last has "done": true, the others false. */
static struct events lines_of(const struct answer *a)
{
    struct events ev = {0};
    cr_assert_eq(a->status, 200, "%s", a->body.data);
    cr_assert(a->is_whole && a->body.len > 0 && a->body.data[a->body.len - 1] == '\n');
    for (const char *p = a->body.data; *p;) {
        const char *end = strchr(p, '\n');
        ev.item = realloc(ev.item, (ev.n + 1) * sizeof *ev.item);
        ev.item[ev.n] = json_loadb(p, (size_t)(end - p), 0, NULL);
        cr_assert(ev.item[ev.n], "%.*s", (int)(end - p), p);
        cr_assert_eq(json_is_true(at(ev.item[ev.n], "done")), end[1] == '\0', "%s", a->body.data);
        cr_assert_not_null(str_at(ev.item[ev.n], "created_at"));
        ev.n++;
        p = end + 1;
    }
    return ev;
}

static char *joined(const struct events *ev, const char *member)
{
    struct oct_buf b = {0};
    for (size_t i = 0; i < ev->n; i++) {
        const char *text = str_at(ev->item[i], member);
        cr_assert_eq(oct_buf_append(&b, text ? text : "", text ? strlen(text) : 0), OCT_OK);
    }
    char *out = strdup(b.data ? b.data : "");
    oct_buf_free(&b);
    return out;
}

static void expect_end(const json_t *j, const char *reason, int n_prompt, int n_output)
{
    cr_assert(json_is_true(at(j, "done")));
    cr_assert_str_eq(str_at(j, "done_reason"), reason);
    cr_assert_eq(int_at(j, "prompt_eval_count"), n_prompt);
    cr_assert_eq(int_at(j, "eval_count"), n_output);
    cr_assert_eq(int_at(j, "load_duration"), 0);
    cr_assert_gt(int_at(j, "eval_duration"), 0);
    cr_assert_gt(int_at(j, "prompt_eval_duration"), 0);
    cr_assert_geq(int_at(j, "total_duration"), int_at(j, "eval_duration"));
}

Test(ollama_calls, whole_and_streamed_answers_are_the_engines)
{
    struct service s = {0};
    service_start(&s);
    char *want = direct(&s, PROMPT, 40);
    json_t *j =
        service_post_json(&s, "/api/generate",
                          "{\"model\":\"alias:latest\",\"prompt\":\"" PROMPT
                          "\",\"raw\":true,\"stream\":false,\"options\":{\"num_predict\":40}}");
    cr_assert_str_eq(str_at(j, "response"), want);
    cr_assert_str_eq(str_at(j, "model"), "alias:latest");
    cr_assert_null(at(j, "thinking"));
    expect_end(j, "length", 7, 40);
    json_decref(j);
    struct answer a = service_post(&s, "/api/generate",
                                   "{\"model\":\"fake\",\"prompt\":\"" PROMPT
                                   "\",\"raw\":true,\"options\":{\"num_predict\":40}}");
    char type[256];
    cr_assert_str_eq(answer_header(&a, "content-type", type), "application/x-ndjson");
    struct events ev = lines_of(&a);
    char *text = joined(&ev, "response");
    cr_assert_str_eq(text, want);
    expect_end(ev.item[ev.n - 1], "length", 7, 40);
    free(text);
    free(want);
    events_free(&ev);
    answer_free(&a);
    /* the template around it: what /v1/chat/completions says to the same */
    static const char *const same[][2] = {
        {"/api/generate",
         "{\"model\":\"fake\",\"system\":\"S\",\"prompt\":\"abc\",\"stream\":false,"
         "\"options\":{\"num_predict\":12}}"},
        {"/api/chat", "{\"model\":\"fake\",\"messages\":[{\"role\":\"system\",\"content\":\"S\"},"
                      "{\"role\":\"user\",\"content\":\"abc\"}],\"stream\":false,"
                      "\"options\":{\"num_predict\":12}}"},
    };
    j = service_post_json(&s, "/v1/chat/completions",
                          "{\"messages\":[{\"role\":\"system\",\"content\":\"S\"},"
                          "{\"role\":\"user\",\"content\":\"abc\"}],\"max_tokens\":12}");
    for (int i = 0; i < 2; i++) {
        json_t *o = service_post_json(&s, same[i][0], same[i][1]);
        cr_assert_str_eq(str_at(o, i ? "message.content" : "response"),
                         str_at(j, "choices.0.message.content"), "%s", same[i][0]);
        cr_assert_eq(int_at(o, "prompt_eval_count"), int_at(j, "usage.prompt_tokens"));
        json_decref(o);
    }
    json_decref(j);
    service_stop(&s);
}

Test(ollama_calls, log_probabilities_come_with_every_token)
{
    struct service s = {0};
    service_start(&s);
    for (int stream = 0; stream < 2; stream++) {
        char body[256];
        (void)snprintf(
            body, sizeof body,
            "{\"model\":\"fake\",\"prompt\":\"%s\",\"raw\":true,\"stream\":%s,\"logprobs\":"
            "true,\"top_logprobs\":2,\"options\":{\"num_predict\":10}}",
            PROMPT, stream ? "true" : "false");
        struct answer a = service_post(&s, "/api/generate", body);
        size_t n = 0;
        struct events ev = {0};
        if (stream) {
            ev = lines_of(&a);
        } else {
            ev.item = malloc(sizeof *ev.item);
            ev.item[0] = answer_json(&a);
            ev.n = 1;
        }
        for (size_t i = 0; i < ev.n; i++) {
            const json_t *list = at(ev.item[i], "logprobs");
            for (size_t k = 0; k < json_array_size(list); k++, n++) {
                const json_t *t = json_array_get(list, k);
                const json_t *top = at(t, "top_logprobs");
                cr_assert_eq(json_array_size(top), 2);
                cr_assert(json_is_string(at(t, "token")) && json_is_array(at(t, "bytes")));
                cr_assert_leq(json_number_value(at(t, "logprob")), 0);
                cr_assert_str_eq(str_at(top, "0.token"), str_at(t, "token"));
            }
        }
        cr_assert_eq(n, 10, "%zu log probabilities, stream %d: %s", n, stream, a.body.data);
        events_free(&ev);
        answer_free(&a);
    }
    service_stop(&s);
}

/* A tiny model says no tags: its answer is one thought, or none of it is. */
Test(ollama_calls, thoughts_have_a_field_of_their_own)
{
    const struct oct_tiny tiny = oct_tiny_default(OCT_ARCH_LLAMA);
    char *dir = oct_test_make_dir(), model[512];
    oct_tiny_write_gguf(&tiny, dir, "tiny");
    (void)snprintf(model, sizeof model, "%s/tiny.gguf", dir);
    static const struct {
        const char *end;
        bool is_thought, can_think;
    } cases[] = {
        {"<think>", true, true},
        {"{% if enable_thinking is defined and not enable_thinking %}<think></think>{% endif %}",
         false, true},
        {"", false, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[256];
        (void)snprintf(text, sizeof text,
                       "{%% for m in messages %%}{{ m.content }}{%% endfor %%}%s", cases[i].end);
        struct service s = {.chat_template = text, .model_path = model};
        service_start(&s);
        for (int stream = 0; stream < 2; stream++) {
            char body[256];
            (void)snprintf(
                body, sizeof body,
                "{\"model\":\"fake\",\"messages\":[{\"role\":\"user\",\"content\":\"abc\"}],"
                "\"options\":{\"num_predict\":20},\"stream\":%s}",
                stream ? "true" : "false");
            struct answer a = service_post(&s, "/api/chat", body);
            struct events ev = {0};
            if (stream) {
                ev = lines_of(&a);
            } else {
                ev.item = malloc(sizeof *ev.item);
                ev.item[0] = answer_json(&a);
                ev.n = 1;
            }
            char *thought = joined(&ev, "message.thinking"), *said = joined(&ev, "message.content");
            cr_assert(cases[i].is_thought ? *thought && !*said : !*thought && *said,
                      "case %zu: thought \"%s\", said \"%s\"", i, thought, said);
            free(thought);
            free(said);
            events_free(&ev);
            answer_free(&a);
        }
        json_t *show = service_post_json(&s, "/api/show", "{\"model\":\"fake\"}");
        cr_assert_eq(str_at(show, "capabilities.1") != NULL, cases[i].can_think, "case %zu", i);
        json_decref(show);
        service_stop(&s);
    }
    oct_test_remove_dir(dir);
}

Test(ollama_calls, what_there_is_can_be_asked_for)
{
    struct service s = {.config.model_path = "/models/some.gguf"};
    service_start(&s);
    static const char *const lists[] = {"/api/tags", "/api/ps"};
    for (int i = 0; i < 2; i++) {
        struct answer a = service_ask(&s, "GET", lists[i], "", NULL);
        json_t *j = answer_json(&a);
        cr_assert_eq(json_array_size(at(j, "models")), 2, "%s", a.body.data);
        cr_assert_str_eq(str_at(j, "models.0.name"), "fake:latest");
        cr_assert_str_eq(str_at(j, "models.1.model"), "alias:latest");
        cr_assert_eq(strlen(str_at(j, "models.0.digest")), 64);
        cr_assert_str_eq(str_at(j, "models.0.details.format"), "gguf");
        cr_assert_not_null(at(j, i ? "models.0.context_length" : "models.0.modified_at"));
        json_decref(j);
        answer_free(&a);
    }
    static const char *const names[] = {"{\"model\":\"fake\"}", "{\"name\":\"alias\"}",
                                        "{\"model\":\"fake:latest\",\"verbose\":true}"};
    for (size_t i = 0; i < 3; i++) {
        json_t *j = service_post_json(&s, "/api/show", names[i]);
        const json_t *info = at(j, "model_info");
        cr_assert_str_eq(json_string_value(json_object_get(info, "general.architecture")),
                         str_at(j, "details.family"));
        cr_assert_str_eq(str_at(j, "capabilities.0"), "completion");
        cr_assert_str_eq(str_at(j, "template"), ""); /* it was given, not the model's */
        json_decref(j);
        j = service_post_json(&s, "/api/pull", names[i]);
        cr_assert_str_eq(str_at(j, "status"), "success");
        json_decref(j);
    }
    static const char *const loads[][2] = {{"/api/generate", "{\"model\":\"fake\"}"},
                                           {"/api/chat", "{\"model\":\"fake\",\"messages\":[]}"}};
    for (int i = 0; i < 2; i++) {
        json_t *j = service_post_json(&s, loads[i][0], loads[i][1]);
        cr_assert_str_eq(str_at(j, "done_reason"), "load");
        cr_assert_str_eq(str_at(j, i ? "message.content" : "response"), "");
        json_decref(j);
    }
    service_stop(&s);
}

Test(ollama_calls, an_error_is_a_sentence)
{
    struct service s = {0};
    service_start(&s);
    static const struct {
        const char *method, *path, *body;
        int status;
        const char *word;
    } cases[] = {
        {"POST", "/api/chat", "{\"model\":\"gpt\",\"messages\":[]}", 404, "fake"},
        {"POST", "/api/chat", "{\"model\":\":latest\",\"messages\":[]}", 404, "fake"},
        {"POST", "/api/generate", "{\"model\":\"fake:7b\",\"prompt\":\"x\"}", 404, "fake"},
        {"POST", "/api/generate", "{\"prompt\":\"x\"}", 400, "model"},
        {"POST", "/api/generate", "{\"model\":\"fake\",\"prompt\":\"x\",\"format\":\"json\"}", 400,
         "format"},
        {"POST", "/api/generate", "{\"model\":\"fake\",\"prompt\":\"x\",\"options\":{\"top_p\":7}}",
         400, "top_p"},
        {"POST", "/api/generate", "{\"model\":", 400, "body"},
        {"POST", "/api/generate", "[]", 400, "object"},
        {"POST", "/api/generate", "", 400, "body"},
        {"POST", "/api/show", "{}", 400, "model"},
        {"POST", "/api/show", "{\"model\":\"gpt\"}", 404, "gpt"},
        {"POST", "/api/pull", "{\"model\":\"gpt\"}", 404, "gpt"},
        {"POST", "/api/embed", "{\"model\":\"fake\",\"input\":\"x\"}", 501, "embeddings"},
        {"POST", "/api/create", "{\"model\":\"x\"}", 501, "one model"},
        {"DELETE", "/api/delete", "{\"model\":\"fake\"}", 501, "one model"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct answer a = service_ask(&s, cases[i].method, cases[i].path,
                                      "Content-Type: application/json\r\n", cases[i].body);
        json_t *j = answer_json(&a);
        const char *sentence = str_at(j, "error");
        cr_assert_eq(a.status, cases[i].status, "%s %s: %d %s", cases[i].path, cases[i].body,
                     a.status, a.body.data);
        cr_assert(sentence && strstr(sentence, cases[i].word), "%s %s: %s", cases[i].path,
                  cases[i].body, a.body.data);
        json_decref(j);
        answer_free(&a);
    }
    service_stop(&s);
}

Test(page, comes_to_browsers_with_a_policy)
{
    struct service s = {0};
    service_start(&s);
    size_t len;
    const char *html = oct_page_html(&len);
    char policy[OCT_PAGE_POLICY_BYTES], got[512];
    cr_assert_eq(oct_page_policy(policy, sizeof policy), OCT_OK);
    cr_assert(len > 10000 && len < 60000 && html[len] == '\0' && strlen(html) == len, "%zu", len);
    struct answer a = service_ask(&s, "GET", "/", "Accept: text/html,*/*;q=0.8\r\n", NULL);
    cr_assert_eq(a.status, 200);
    cr_assert(a.body.len == len && !memcmp(a.body.data, html, len));
    const char *found = strstr(a.head, policy);
    cr_assert(found, "%s", a.head);
    cr_assert_str_eq(answer_header(&a, "content-type", got), "text/html; charset=utf-8");
    answer_free(&a);
    static const char *const others[] = {"", "Accept: */*\r\n", "Accept: application/json\r\n"};
    for (size_t i = 0; i < 3; i++) {
        a = service_ask(&s, "GET", "/", others[i], NULL);
        cr_assert_str_eq(a.body.data, "Ollama is running");
        answer_free(&a);
    }
    /* The hashes are those of the text between the tags, which a browser computes. */
    cr_assert(strstr(policy, "script-src 'sha256-") && strstr(policy, "style-src 'sha256-"));
    cr_assert(!strstr(policy, "unsafe"), "%s", policy);
    service_stop(&s);
}
