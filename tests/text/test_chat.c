/* SPDX-License-Identifier: Apache-2.0
 *
 * Chat templates against jinja2 as Hugging Face configures it: the golden sample
 * (tests/golden/templates.json, made by scripts/diff_template.py --golden), the 203 cases of real
 * models where they are at hand, and what the interface promises besides. */
#include "base/clock.h"
#include "base/fault.h"
#include "base/mem.h"
#include "text/chat.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

static oct_status render(const char *template, size_t len, const json_t *vars, int64_t now_s,
                         struct oct_buf *out)
{
    struct oct_template *t = NULL;
    oct_status st = oct_template_compile(template, len, &t);
    if (st == OCT_OK) {
        st = oct_template_render(t, vars, now_s, out);
    }
    oct_template_destroy(t);
    return st;
}

static json_t *load(const char *path)
{
    json_error_t error;
    json_t *j = json_load_file(path, JSON_ALLOW_NUL, &error);
    cr_assert_not_null(j, "%s: %s", path, error.text);
    return j;
}

static void check(const char *name, const json_t *template, const json_t *vars, int64_t now_s,
                  const json_t *want)
{
    struct oct_buf out = {0};
    const char *source = json_string_value(template);
    oct_error_clear();
    const oct_status st = render(source, json_string_length(template), vars, now_s, &out);
    if (json_is_null(want)) {
        cr_assert_neq(st, OCT_OK, "%s\n%s\nmust fail, gave '%s'", name, source, out.data);
        cr_assert(oct_last_error()[0] != '\0', "%s\n%s", name, source);
    } else {
        const size_t len = json_string_length(want);
        cr_assert_eq(st, OCT_OK, "%s\n%s\n%s", name, source, oct_last_error());
        cr_assert(out.len == len &&
                      (len == 0 || memcmp(out.data, json_string_value(want), len) == 0),
                  "%s\n%s\nwant '%s'\ngot  '%s'", name, source, json_string_value(want),
                  out.data ? out.data : "");
    }
    oct_buf_free(&out);
}

Test(chat, snippets_are_rendered_as_jinja2_renders_them, .timeout = 120)
{
    json_t *golden = load(OCT_SOURCE_DIR "/tests/golden/templates.json");
    const json_t *vars = json_object_get(golden, "vars"), *snippet;
    const int64_t now_s = json_integer_value(json_object_get(golden, "now_s"));
    size_t i;
    json_array_foreach(json_object_get(golden, "snippets"), i, snippet)
    {
        check("snippet", json_object_get(snippet, "template"), vars, now_s,
              json_object_get(snippet, "text"));
    }
    cr_assert_geq(i, 500u);
    json_decref(golden);
}

Test(chat, qwen_and_the_demo_model_are_rendered_as_hugging_face_does)
{
    json_t *golden = load(OCT_SOURCE_DIR "/tests/golden/templates.json");
    const json_t *model, *c;
    size_t i, k, n = 0;
    json_array_foreach(json_object_get(golden, "models"), i, model)
    {
        json_array_foreach(json_object_get(model, "cases"), k, c)
        {
            check(json_string_value(json_object_get(model, "name")),
                  json_object_get(model, "template"), json_object_get(c, "vars"), 0,
                  json_object_get(c, "text"));
            n++;
        }
    }
    cr_assert_eq(n, 30u);
    json_decref(golden);
}

Test(chat, the_203_cases_of_15_models_are_rendered_as_recorded, .timeout = 120)
{
    static const char path[] = OCT_SOURCE_DIR "/../shared/data/chat_templates.json";
    json_t *models = json_load_file(path, 0, NULL), *model, *c;
    const char *name;
    size_t k, n = 0;
    if (!models) {
        cr_skip_test("chat_templates.json is not beside the source");
    }
    json_object_foreach(models, name, model)
    {
        json_array_foreach(json_object_get(model, "cases"), k, c)
        {
            json_t *vars = json_copy(json_object_get(model, "special_tokens"));
            json_t *tools = json_object_get(c, "tools");
            cr_assert_eq(json_object_set(vars, "messages", json_object_get(c, "messages")), 0);
            cr_assert_eq(json_object_set(vars, "add_generation_prompt",
                                         json_object_get(c, "add_generation_prompt")),
                         0);
            cr_assert_eq(json_object_set(vars, "tools", tools ? tools : json_null()), 0);
            check(name, json_object_get(model, "template"), vars, 1765929600, /* 2025-12-17 */
                  json_object_get(c, "expected"));
            json_decref(vars);
            n++;
        }
    }
    cr_assert_eq(n, 203u);
    json_decref(models);
}

/* A status, and words that the sentence must hold. */
Test(chat, an_error_names_line_and_expression)
{
    static const struct {
        const char *template;
        oct_status st;
        const char *words[3];
    } row[] = {
        {"a\nb {{ x.y.z }}", OCT_E_FORMAT, {"line 2", "x.y", "'x' is undefined"}},
        {"{{ messages[0].role.foo.bar }}",
         OCT_E_FORMAT,
         {"line 1", "role.foo", "no attribute 'foo'"}},
        {"{% for m in messages %}\n{{ m.content + 1 }}\n{% endfor %}",
         OCT_E_FORMAT,
         {"line 2", "m.content + 1", "str and int"}},
        {"\n\n{{ 1 / 0 }}", OCT_E_FORMAT, {"line 3", "1 / 0", "division by zero"}},
        {"x\n{% if %}", OCT_E_FORMAT, {"line 2", "expected an expression", ""}},
        {"{% if 1 %}\nx", OCT_E_FORMAT, {"line 2", "ends", "endif"}},
        {"{{ 'abc }}", OCT_E_FORMAT, {"line 1", "string", "no end"}},
        {"{{ 1 | nonsense }}", OCT_E_FORMAT, {"line 1", "no filter", "nonsense"}},
        {"{{ 1 is nonsense }}", OCT_E_FORMAT, {"line 1", "no test", "nonsense"}},
        {"\n{{ raise_exception('only\nuser') }}", OCT_E_ARG, {"line 2", "refuses", "only?user"}},
        {"{{ raise_exception('a ' ~ messages|length) }}", OCT_E_ARG, {"a 1", "", ""}},
        {"{{ range(1000000) }}", OCT_E_LIMIT, {"range(1000000)", "100000", ""}},
        {"{{ 'x'|urlize }}", OCT_E_UNSUPPORTED, {"urlize", "not supported", ""}},
        {"{% include 'x' %}", OCT_E_UNSUPPORTED, {"include", "not supported", ""}},
        {"{{ messages.append(1) }}", OCT_E_FORMAT, {"append", "not safe", ""}},
        {"{% macro m(a) %}{% endmacro %}\n{{ m(b=1) }}", OCT_E_FORMAT, {"line 2", "m(b=1)", "'b'"}},
        {"\xff", OCT_E_FORMAT, {"UTF-8", "", ""}},
        {"{{ '\\ud800' }}", OCT_E_FORMAT, {"U+D800", "", ""}},
    };
    json_t *vars =
        json_loads("{\"messages\": [{\"role\": \"user\", \"content\": \"hi\"}]}", 0, NULL);
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct oct_buf out = {0};
        cr_assert_eq(oct_buf_append(&out, "kept", 4), OCT_OK);
        oct_error_clear();
        const oct_status st = render(row[i].template, strlen(row[i].template), vars, 0, &out);
        cr_assert_eq(st, row[i].st, "%s: status %d, %s", row[i].template, (int)st,
                     oct_last_error());
        for (int k = 0; k < 3; k++) {
            cr_assert(strstr(oct_last_error(), row[i].words[k]), "%s: '%s' lacks '%s'",
                      row[i].template, oct_last_error(), row[i].words[k]);
        }
        cr_assert_eq(out.len, 4u, "%s: out was changed", row[i].template);
        oct_buf_free(&out);
    }
    json_decref(vars);
}

Test(chat, text_is_appended_and_variables_must_be_an_object)
{
    static const char source[] = "{{ x }}";
    struct oct_template *t = NULL;
    struct oct_buf out = {0};
    json_t *vars = json_loads("{\"x\": \"1\"}", 0, NULL), *list = json_array();
    cr_assert_eq(oct_template_compile(source, sizeof source - 1, &t), OCT_OK);
    cr_assert_eq(oct_template_render(t, vars, 0, &out), OCT_OK);
    cr_assert_eq(oct_template_render(t, vars, 0, &out), OCT_OK);
    cr_assert_eq(oct_template_render(t, list, 0, &out), OCT_E_ARG);
    cr_assert_eq(out.len, 2u);
    cr_assert_str_eq(out.data, "11");
    oct_buf_free(&out);
    out.max_bytes = 1; /* the caller's own limit */
    cr_assert_eq(oct_template_render(t, vars, 0, &out), OCT_OK);
    cr_assert_eq(oct_template_render(t, vars, 0, &out), OCT_E_LIMIT);
    cr_assert_eq(out.len, 1u);
    oct_template_destroy(t);
    oct_template_destroy(NULL);
    oct_buf_free(&out);
    json_decref(vars);
    json_decref(list);
}

Test(chat, a_negative_time_is_the_wall_clock)
{
    static const char source[] = "{{ strftime_now('%Y-%m-%d') }}";
    json_t *vars = json_object();
    struct oct_buf out = {0};
    char want[16];
    struct tm tm;
    const time_t before = (time_t)oct_clock_wall_s();
    cr_assert_eq(render(source, sizeof source - 1, vars, -1, &out), OCT_OK);
    const time_t after = (time_t)oct_clock_wall_s();
    (void)strftime(want, sizeof want, "%Y-%m-%d", gmtime_r(&before, &tm));
    if (strcmp(out.data, want) != 0) { /* midnight passed */
        (void)strftime(want, sizeof want, "%Y-%m-%d", gmtime_r(&after, &tm));
    }
    cr_assert_str_eq(out.data, want);
    oct_buf_free(&out);
    json_decref(vars);
}

/* One compiled template, several threads. */
struct renderer {
    const struct oct_template *t;
    const json_t *vars;
    struct oct_buf out;
    oct_status st;
};

static void *render_often(void *arg)
{
    struct renderer *r = arg;
    for (int i = 0; i < 50 && r->st == OCT_OK; i++) {
        oct_buf_clear(&r->out);
        r->st = oct_template_render(r->t, r->vars, 0, &r->out);
    }
    return NULL;
}

/* Qwen2.5's template with tools and with a chat of n messages. */
static json_t *long_chat(json_t *golden, size_t n, struct oct_template **t)
{
    const json_t *model = json_array_get(json_object_get(golden, "models"), 0);
    const json_t *template = json_object_get(model, "template");
    cr_assert_eq(oct_template_compile(json_string_value(template), json_string_length(template), t),
                 OCT_OK);
    json_t *messages = json_array();
    for (size_t i = 0; i < n; i++) {
        json_t *m = json_pack("{s:s, s:s}", "role", i % 2 ? "assistant" : "user", "content",
                              "Some text of an ordinary length, as people write it in a chat, "
                              "with a second sentence. And a third one.");
        cr_assert_eq(json_array_append_new(messages, m), 0);
    }
    json_t *tool = json_loads(
        "{\"type\": \"function\", \"function\": {\"name\": \"get_weather\", \"description\": \"The "
        "weather of a city\", \"parameters\": {\"type\": \"object\", \"properties\": {\"city\": "
        "{\"type\": \"string\"}, \"days\": {\"type\": \"integer\"}}, \"required\": [\"city\"]}}}",
        0, NULL);
    json_t *vars = json_pack("{s:o, s:[o], s:b}", "messages", messages, "tools", tool,
                             "add_generation_prompt", 1);
    cr_assert_not_null(vars);
    return vars;
}

Test(chat, threads_share_a_template)
{
    json_t *golden = load(OCT_SOURCE_DIR "/tests/golden/templates.json");
    struct oct_template *t = NULL;
    json_t *vars = long_chat(golden, 10, &t);
    struct renderer r[4];
    pthread_t thread[4];
    for (int i = 0; i < 4; i++) {
        r[i] = (struct renderer){.t = t, .vars = vars};
        cr_assert_eq(pthread_create(&thread[i], NULL, render_often, &r[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        cr_assert_eq(pthread_join(thread[i], NULL), 0);
    }
    for (int i = 0; i < 4; i++) {
        cr_assert_eq(r[i].st, OCT_OK);
        cr_assert_eq(r[i].out.len, r[0].out.len);
        cr_assert_str_eq(r[i].out.data, r[0].out.data);
    }
    for (int i = 0; i < 4; i++) {
        oct_buf_free(&r[i].out);
    }
    oct_template_destroy(t);
    json_decref(vars);
    json_decref(golden);
}

/* The goal is 200 us for ten messages; sanitizers cost about ten times as much. The best of many
 * rounds counts, so that a busy machine does not fail the test. */
Test(chat, ten_messages_take_200_us)
{
    json_t *golden = load(OCT_SOURCE_DIR "/tests/golden/templates.json");
    struct oct_template *t = NULL;
    json_t *vars = long_chat(golden, 10, &t);
    struct oct_buf out = {0};
    int64_t best = INT64_MAX;
    for (int i = 0; i < 200; i++) {
        oct_buf_clear(&out);
        const int64_t start = oct_clock_us();
        cr_assert_eq(oct_template_render(t, vars, 0, &out), OCT_OK);
        const int64_t us = oct_clock_us() - start;
        best = us < best ? us : best;
    }
    cr_log_info("ten messages: %d us", (int)best);
    cr_assert_lt(best, OCT_FAULTS ? 4000 : 200, "%d us", (int)best);
    oct_buf_free(&out);
    oct_template_destroy(t);
    json_decref(vars);
    json_decref(golden);
}

#if OCT_FAULTS
/* Something of everything that allocates. */
static const char rich_template[] =
    "{% macro m(a, b={'k': 1}) %}{{ a }}{{ varargs }}{{ kwargs }}{{ caller(1) if caller }}"
    "{% endmacro %}{% set ns = namespace(s='', l=[]) %}"
    "{% for x in messages if x.role != 'none' %}{% set ns.s = ns.s + x.content|trim + '\\u00e9' ~ "
    "loop.index %}"
    "{{ loop.last }}{{ loop.length }}{{ loop.cycle('a', 'b') }}{% endfor %}{{ ns.s }}"
    "{% call(z) m(1, 2, 3, y=4) %}{{ z }}{% endcall %}{% filter upper %}x{{ tools|tojson(indent=2, "
    "sort_keys=true) }}{% endfilter %}"
    "{% set b %}{{ messages|map(attribute='role')|unique|list }}{% endset %}{{ b|replace('u', "
    "'UU') }}"
    "{{ 'a,b c'.split(',')|join('-')|title }}{{ messages|groupby('role')|list|length }}{{ '%5d|%s' "
    "% (1, [2]) }}"
    "{{ '{:>5} {!r}'.format(1, 'x') }}{{ range(20)|batch(3)|list }}{{ dict(a=1, **{'b': 2}) }}"
    "{{ messages|selectattr('role', 'equalto', 'user')|list|length }}{{ [3, 1, "
    "2]|sort|reverse|list }}"
    "{% generation %}{{ strftime_now('%Y') }}{% endgeneration %}{% with q = messages[::-1] %}{{ "
    "q|length }}{% endwith %}"
    "{% for n in [1, [2]] recursive %}{{ loop(n) if n is iterable else n }}{% endfor %}{{ '<a>'|e "
    "}}{{ 'abc'[::-1] }}"
    "{{ {'a': 1, 'b': 2, 'c': 3, 'd': 4, 'e': 5, 'f': 6, 'g': 7, 'h': 8, 'i': 9}|dictsort }}{{ 'x' "
    "* 40000 }}";

Test(chat, every_allocation_may_fail, .timeout = 300)
{
    json_t *vars =
        json_loads("{\"messages\": [{\"role\": \"user\", \"content\": \" hi \"}, {\"role\": "
                   "\"assistant\", \"content\": \"yo\"}], \"tools\": [{\"b\": 1, \"a\": [1.5, "
                   "null, true]}]}",
                   0, NULL);
    struct oct_buf want = {0};
    cr_assert_eq(render(rich_template, sizeof rich_template - 1, vars, 0, &want), OCT_OK, "%s",
                 oct_last_error());
    for (int forever = 0; forever <= 1; forever++) {
        uint64_t k = 1;
        for (bool failed = true; failed; k++) {
            struct oct_buf out = {0};
            oct_fault_reset();
            oct_fault_arm(OCT_FAULT_MEM, k, forever, OCT_FAULT_FAIL);
            const oct_status st = render(rich_template, sizeof rich_template - 1, vars, 0, &out);
            failed = oct_fault_count(OCT_FAULT_MEM) >= k;
            oct_fault_reset();
            if (failed) {
                cr_assert_eq(st, OCT_E_MEM, "allocation %d: %s", (int)k, oct_last_error());
                cr_assert_eq(out.len, 0u, "allocation %d", (int)k);
            } else {
                cr_assert_eq(st, OCT_OK, "allocation %d: %s", (int)k, oct_last_error());
                cr_assert_str_eq(out.data, want.data);
            }
            oct_buf_free(&out);
        }
        cr_assert_gt(k, 20u, "only %d allocations", (int)k);
    }
    oct_buf_free(&want);
    json_decref(vars);
}
#endif
