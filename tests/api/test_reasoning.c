/* SPDX-License-Identifier: Apache-2.0 */
#include "api/reasoning.h"

#include "api/service.h"
#include "support/tiny.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    enum oct_reasoning_state begin;
    const char *text, *thought, *answer;
} row[] = {
    {OCT_REASONING_MAYBE, "<think>a b</think>c d", "a b", "c d"},
    {OCT_REASONING_MAYBE, "\n <think>\na b\n</think>\n\nc d\n", "a b\n", "c d\n"},
    {OCT_REASONING_MAYBE, "<think></think>", "", ""},
    {OCT_REASONING_MAYBE, "<think>never closed </thin", "never closed </thin", ""},
    {OCT_REASONING_MAYBE, "<think>1 < 2 <</think</think><think>x</think>", "1 < 2 <</think",
     "<think>x</think>"},
    {OCT_REASONING_MAYBE, "plain <think>x</think>", "", "plain <think>x</think>"},
    {OCT_REASONING_MAYBE, "  plain", "", "  plain"},
    {OCT_REASONING_MAYBE, "<thin", "", "<thin"},
    {OCT_REASONING_MAYBE, "<<think>", "", "<<think>"},
    {OCT_REASONING_MAYBE, " ", "", " "},
    {OCT_REASONING_MAYBE, "", "", ""},
    {OCT_REASONING_INSIDE, "a</think>b", "a", "b"},
    {OCT_REASONING_INSIDE, "\n\na</think>\nb</think>c", "a", "b</think>c"},
    {OCT_REASONING_INSIDE, "<think>\na</think>b", "a", "b"},
    {OCT_REASONING_INSIDE, "a<think>b</think>c", "a<think>b", "c"},
    {OCT_REASONING_INSIDE, "<thi</think>c", "<thi", "c"},
    {OCT_REASONING_INSIDE, "</think>c", "", "c"},
    {OCT_REASONING_INSIDE, "no end", "no end", ""},
    {OCT_REASONING_AFTER, "\n\nc <think>d", "", "c <think>d"},
    {OCT_REASONING_NONE, "\n<think>a</think>b", "", "\n<think>a</think>b"},
};

static void split(struct oct_reasoning *r, const char *text, size_t len, bool last,
                  struct oct_buf *thought, struct oct_buf *answer)
{
    cr_assert_eq(oct_reasoning_split(r, text, len, last, thought, answer), OCT_OK);
}

static void expect(size_t i, size_t a, size_t b, struct oct_buf *thought, struct oct_buf *answer)
{
    const char *t = thought->data ? thought->data : "", *w = answer->data ? answer->data : "";
    cr_assert(!strcmp(t, row[i].thought) && !strcmp(w, row[i].answer),
              "row %zu cut at %zu and %zu: \"%s\" and \"%s\"", i, a, b, t, w);
    oct_buf_clear(thought);
    oct_buf_clear(answer);
}

/* Cut anywhere in three pieces; and byte by byte. */
Test(reasoning, pieces_give_what_the_whole_gives)
{
    struct oct_buf thought = {0}, answer = {0};
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        const char *text = row[i].text;
        const size_t n = strlen(text);
        for (size_t a = 0; a <= n; a++) {
            for (size_t b = a; b <= n; b++) {
                struct oct_reasoning r = {.state = row[i].begin};
                split(&r, text, a, false, &thought, &answer);
                split(&r, text + a, b - a, false, &thought, &answer);
                split(&r, text + b, n - b, true, &thought, &answer);
                expect(i, a, b, &thought, &answer);
            }
        }
        struct oct_reasoning r = {.state = row[i].begin};
        for (size_t a = 0; a < n; a++) {
            split(&r, text + a, 1, false, &thought, &answer);
        }
        split(&r, NULL, 0, true, &thought, &answer);
        expect(i, n, n, &thought, &answer);
    }
    oct_buf_free(&thought);
    oct_buf_free(&answer);
}

/* White space that may stand before a tag is held back, but not without end. */
Test(reasoning, much_white_space_is_an_answer)
{
    struct oct_buf thought = {0}, answer = {0};
    struct oct_reasoning r = {.state = OCT_REASONING_MAYBE};
    char spaces[200];
    memset(spaces, ' ', sizeof spaces);
    split(&r, spaces, sizeof spaces, false, &thought, &answer);
    split(&r, "<think>x", 8, true, &thought, &answer);
    cr_assert(answer.len == 208 && thought.len == 0, "%zu %zu", answer.len, thought.len);
    oct_buf_free(&thought);
    oct_buf_free(&answer);
}

/* Where the answer begins: as the end of the prompt and the service's own setting say. A tiny model
 * says no tags, so all of its answer is in one part. */
Test(reasoning, begins_as_the_prompt_ends)
{
    const struct oct_tiny tiny = oct_tiny_default(OCT_ARCH_LLAMA);
    char *dir = oct_test_make_dir(), model[512];
    oct_tiny_write_gguf(&tiny, dir, "tiny");
    (void)snprintf(model, sizeof model, "%s/tiny.gguf", dir);
    static const struct {
        const char *parser, *end;
        bool is_thought;
    } cases[] = {
        {"auto", "", false},           {"auto", "<think>\n", true},
        {"auto", "<think>", true},     {"auto", "<think>\n\n</think>\n\n", false},
        {"none", "<think>\n", false},  {"think", "", true},
        {"think", "<think>\n", true},  {"think", "<think></think>", false},
        {NULL, "<think> text", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[256];
        (void)snprintf(text, sizeof text,
                       "{%% for m in messages %%}{{ m.content }}{%% endfor %%}%s", cases[i].end);
        struct service s = {
            .config.reasoning_parser = cases[i].parser, .chat_template = text, .model_path = model};
        service_start(&s);
        const char *body = "{\"messages\":[{\"role\":\"user\",\"content\":\"abc\"}],"
                           "\"max_tokens\":40,\"ignore_eos\":true}";
        json_t *j = service_post_json(&s, "/v1/chat/completions", body);
        const char *thought = str_at(j, "choices.0.message.reasoning_content");
        const char *answer = str_at(j, "choices.0.message.content");
        cr_assert(cases[i].is_thought ? thought && *thought && !*answer : !thought && *answer,
                  "case %zu: thought \"%s\", answer \"%s\"", i, thought ? thought : "(none)",
                  answer);
        if (thought) {
            cr_assert_str_eq(thought, str_at(j, "choices.0.message.reasoning"));
        }
        struct answer a = service_post(&s, "/v1/chat/completions",
                                       "{\"messages\":[{\"role\":\"user\",\"content\":\"abc\"}],"
                                       "\"max_tokens\":40,\"ignore_eos\":true,"
                                       "\"stream\":true}");
        struct events ev = events_of(&a);
        struct oct_buf b = {0};
        for (size_t k = 1; k < ev.n; k++) {
            const char *t =
                str_at(ev.item[k], cases[i].is_thought ? "choices.0.delta.reasoning_content"
                                                       : "choices.0.delta.content");
            cr_assert_eq(oct_buf_append(&b, t ? t : "", t ? strlen(t) : 0), OCT_OK);
        }
        cr_assert_str_eq(b.data, thought ? thought : answer, "case %zu", i);
        oct_buf_free(&b);
        events_free(&ev);
        answer_free(&a);
        json_decref(j);
        if (thought) {
            json_t *hidden = service_post_json(&s, "/v1/chat/completions",
                                               "{\"messages\":[{\"role\":\"user\",\"content\":"
                                               "\"abc\"}],\"max_tokens\":4,"
                                               "\"include_reasoning\":false}");
            cr_assert_null(at(hidden, "choices.0.message.reasoning_content"));
            json_decref(hidden);
        }
        service_stop(&s);
    }
    oct_test_remove_dir(dir);
}
