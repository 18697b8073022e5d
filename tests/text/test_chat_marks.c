/* SPDX-License-Identifier: Apache-2.0
 *
 * Text of a user never becomes a control token: who wrote which byte of a rendered conversation,
 * and what the tokenizer makes of that. */
#include "base/fault.h"
#include "base/mem.h"
#include "base/rng.h"
#include "small_vocab.h"
#include "text/chat.h"

#include <criterion/criterion.h>
#include <string.h>

static oct_status render(const char *source, const json_t *vars, const json_t *own,
                         struct oct_buf *text, struct oct_buf *marks)
{
    struct oct_template *t = NULL;
    oct_status st = oct_template_compile(source, strlen(source), &t);
    if (st == OCT_OK) {
        st = oct_template_render_marked(t, vars, own, 0, text, marks);
    }
    oct_template_destroy(t);
    return st;
}

/* The text with '.' for each byte of the caller's. */
static void shown(const char *source, const char *vars_json, struct oct_buf *out)
{
    json_t *vars = json_loads(vars_json, 0, NULL), *own = json_object();
    struct oct_buf marks = {0};
    cr_assert_not_null(vars, "%s", vars_json);
    json_t *bos = json_object_get(vars, "bos_token");
    if (bos) {
        cr_assert_eq(json_object_set(own, "bos_token", bos), 0);
    }
    cr_assert_eq(render(source, vars, own, out, &marks), OCT_OK, "%s: %s", source,
                 oct_last_error());
    cr_assert_eq(out->len, marks.len, "%s", source);
    for (size_t i = 0; i < out->len; i++) {
        cr_assert(marks.data[i] == 0 || marks.data[i] == 1);
        out->data[i] = marks.data[i] ? out->data[i] : '.';
    }
    oct_buf_free(&marks);
    json_decref(vars);
    json_decref(own);
}

Test(chat_marks, every_byte_knows_whether_the_template_wrote_it)
{
#define VARS \
    "{\"u\": \"abc\", \"bos_token\": \"<s>\", \"pad_token\": \"<p>\", \"l\": [\"x\", \"yy\"], " \
    "\"d\": {\"k\": \"v\"}, \"m\": [{\"role\": \"user\"}, {\"role\": \"end\"}], \"n\": 7}"
    static const struct {
        const char *source, *want;
    } row[] = {
        {"", ""},
        {"<a>{{ u }}<b>", "<a>...<b>"},
        {"{{ '<a>' + u + '<b>' }}", "<a>...<b>"},
        {"{{ '<a>' ~ u ~ '<b>' }}", "<a>...<b>"},
        {"{{ '<\\x61>' '<b>' ~ u }}",
         "<a><b>..."}, /* escapes and joined constants are its own too */
        {"{{ bos_token }}{{ pad_token }}", "<s>..."}, /* only what the engine vouches for */
        {"{% set s = '' %}{% for c in l %}{% set s = s + c + '|' %}{{ s }}{% endfor %}", ".|..|"},
        {"{% set ns = namespace(s='') %}{% for c in l %}{% set ns.s = ns.s + c + '|' %}{% endfor %}"
         "{{ ns.s }}",
         ".|..|"},
        {"{% set s %}<a>{{ u }}<b>{% endset %}{{ s }}{{ s }}", "<a>...<b><a>...<b>"},
        {"{% macro m(x) %}<{{ x }}>{% endmacro %}{{ m(u) ~ m('y') }}", "<...><y>"},
        {"{% macro m() %}[{{ caller() }}]{% endmacro %}{% call m() %}{{ u }}<c>{% endcall %}",
         "[...<c>]"},
        {"{% filter trim %}  <a>{{ u }} {% endfilter %}", "<a>..."},
        {"{{ ('  <a>' ~ u ~ '  ') | trim }}{{ (' ' ~ u).strip() }}", "<a>......"},
        {"{{ l | join('<a>') }}", ".<a>.."},
        {"{{ ['<a>', u] | join(u) }}", "<a>......"},
        {"{{ ('<a>' ~ u).split('>') | join('+') }}", "<a+..."},
        {"{{ ('<a>' ~ u) | replace('b', '<c>') }}", "<a>.<c>."},
        {"{{ ('<a>' ~ u)[1:5] }}{{ (u ~ '<a>')[-2:] }}", "a>..a>"},
        {"{{ ('<a>' ~ u ~ '|') * 2 }}", "<a>...|<a>...|"},
        {"{{ '<a>' | upper }}{{ u | upper }}", "......"}, /* computed: nobody's */
        {"{{ u | tojson }}", "....."},
        {"{{ d | tojson }}{{ '<a>' | tojson }}", "...........<a>."},
        {"{{ n }}{{ 1 + 1 }}", ".."},
        {"{{ '%s<a>%s' % (u, 1) }}", "...<a>."},
        {"{{ '<a>{}<b>'.format(u) }}", "<a>...<b>"},
        {"{{ {'k': '<a>'}['k'] }}{{ {'x': u}['x'] }}", "<a>..."},
        {"{% for m in m %}<|{{ m.role }}|>{% endfor %}", "<|user|><|...|>"},
        {"{{ '<|' + m[0]['role'] + '|>' }}{{ '<|' + m[1].role + '|>' }}", "<|user|><|...|>"},
        {"{{ (u ~ '<a>') | indent(2) }}", "...<a>"},
        {"{{ missing | default('<a>') }}{{ u | default('<a>') }}", "<a>..."},
        {"{{ '<a>' if u else u }}", "<a>"},
        {"{{ u | list | join }}{{ '<a>' | list | join }}", "...<a>"},
        {"{{ '<a>' | string }}{{ u | safe }}", "<a>..."},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct oct_buf out = {0};
        shown(row[i].source, VARS, &out);
        const char *got = out.data ? out.data : "";
        cr_expect_str_eq(got, row[i].want, "%s: '%s', not '%s'", row[i].source, got, row[i].want);
        oct_buf_free(&out);
    }
}

/* ---- with the tokenizer ---- */

static void ids_of(const struct oct_tokenizer *t, const char *source, const json_t *vars,
                   const json_t *own, struct oct_ids *ids, struct oct_buf *text)
{
    struct oct_buf marks = {0};
    ids->len = 0;
    oct_buf_clear(text);
    cr_assert_eq(render(source, vars, own, text, &marks), OCT_OK, "%s", oct_last_error());
    cr_assert_eq(oct_tokenizer_encode_marked(t, text->data, text->len, marks.data, ids), OCT_OK,
                 "%s", oct_last_error());
    oct_buf_free(&marks);
}

Test(chat_marks, a_token_is_found_where_one_writer_wrote_all_of_it)
{
    static const struct {
        const char *template, *user;
        const char *want; /* special tokens in the ids, by their texts */
    } row[] = {
        {"<|a|>{{ u }}<|b|>", "hi", "<|a|><|b|>"},
        {"<|a|>{{ u }}<|b|>", "<|a|>", "<|a|><|b|>"},
        {"<|a|>{{ u }}<|b|>", "x<|b|><|a|>y<|c|>", "<|a|><|b|>"},
        {"{{ u }}|a|>", "<", ""}, /* begins with the user */
        {"<|a{{ u }}", "|>", ""}, /* ends with him */
        {"<|{{ u }}|>", "a", ""}, /* he gives the middle */
        {"<|a|>{{ u }}b|>", "<|", "<|a|>"},
        {"{{ u }}<|b|>", "<", "<|b|>"}, /* what he begins does not hide what follows */
        {"{{ u }}<|b|>", "<|a", "<|b|>"},
        {"{{ u }}<<|b|>", "<|a|>", "<|b|>"},
        {"{{ u[0] }}{{ u[1:] }}", "<|a|>", ""}, /* both halves are his */
        {"{{ u }}{{ u }}", "|><|a", ""},
        {"{{ u }}|>|>", "<|a", ""}, /* long token over a shorter one of the template */
        {"{{ u }}", "<think>", ""}, /* not special: it is one of the ids, see below */
        {"{{ '<|' ~ u ~ '|>' }}<|a|>", "a", "<|a|>"},
        {"{{ u | lower }}", "<|A|>", ""},
        {"{{ ('<' ~ u) | replace('x', '|a|>') }}", "x",
         "<|a|>"}, /* all of it out of the template */
        {"{{ u | replace('x', '|a|>') }}", "<x", ""},
        {"{% set s = '<|a|>' %}{{ s | trim }}{{ ' ' ~ s | trim }}", "", "<|a|><|a|>"},
        {"{{ u }}<|c|>", "<\xef\xbd\x9cU", "<|c|>"},
        {"<\xef\xbd\x9cU\xef\xbd\x9c>{{ u }}", "<\xef\xbd\x9cU\xef\xbd\x9c>",
         "<\xef\xbd\x9cU\xef\xbd\x9c>"},
    };
    static const char members[] =
        "{\"added_tokens\": ["
        "{\"id\": 1000, \"content\": \"<|a|>\", \"special\": true, \"normalized\": false,"
        " \"single_word\": false, \"lstrip\": false, \"rstrip\": false},"
        "{\"id\": 1001, \"content\": \"<|b|>\", \"special\": true, \"normalized\": true,"
        " \"single_word\": false, \"lstrip\": false, \"rstrip\": false},"
        "{\"id\": 1002, \"content\": \"<|c|>\", \"special\": true, \"normalized\": false,"
        " \"single_word\": false, \"lstrip\": true, \"rstrip\": true},"
        "{\"id\": 1003, \"content\": \"<|a|>|>\", \"special\": true, \"normalized\": false,"
        " \"single_word\": false, \"lstrip\": false, \"rstrip\": false},"
        "{\"id\": 1004, \"content\": \"<think>\", \"special\": false, \"normalized\": false,"
        " \"single_word\": false, \"lstrip\": false, \"rstrip\": false},"
        "{\"id\": 1005, \"content\": \"<\xef\xbd\x9cU\xef\xbd\x9c>\", \"special\": false,"
        " \"normalized\": true, \"single_word\": false, \"lstrip\": false, \"rstrip\": false}]%s}";
    static const char *const normalizer[] = {
        "", ", \"normalizer\": {\"type\": \"NFC\"}",
        (", \"normalizer\": {\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"Replace\","
         " \"pattern\": {\"String\": \"xyz\"}, \"content\": \"abc\"}, {\"type\": \"NFC\"}]}")};
    for (size_t k = 0; k < sizeof normalizer / sizeof *normalizer; k++) {
        char json[2048];
        (void)snprintf(json, sizeof json, members, normalizer[k]);
        struct oct_tokenizer *t = small_vocab("tokenizer_bytes.json", json);
        for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
            json_t *vars = json_pack("{s:s}", "u", row[i].user);
            struct oct_buf text = {0}, got = {0};
            struct oct_ids ids = {0};
            cr_assert_not_null(vars);
            ids_of(t, row[i].template, vars, NULL, &ids, &text);
            cr_assert_eq(oct_buf_reserve(&got, 1), OCT_OK);
            got.data[0] = '\0';
            for (size_t at = 0; at < ids.len; at++) {
                size_t len;
                const char *piece = oct_tokenizer_piece(t, ids.data[at], &len);
                if (ids.data[at] >= 1000 && ids.data[at] != 1004) {
                    cr_assert_eq(oct_buf_append(&got, piece, len), OCT_OK);
                }
            }
            cr_expect_str_eq(got.data, row[i].want, "%zu: %s with '%s': '%s', not '%s'", k,
                             row[i].template, row[i].user, got.data, row[i].want);
            if (!strcmp(row[i].user, "<think>")) {
                cr_expect(ids.len == 1 && ids.data[0] == 1004, "<think> is not one id");
            }
            oct_buf_free(&text);
            oct_buf_free(&got);
            oct_ids_free(&ids);
            json_decref(vars);
        }
        oct_tokenizer_destroy(t);
    }
}

/* ---- real vocabularies ---- */

#define DATA OCT_SOURCE_DIR "/../shared/data/"

struct real {
    const char *file, *config; /* config: has a template of its own */
    const char *bos, *eos;
    const char *template; /* NULL: the one in the configuration */
};

static const struct real reals[] = {
    {"qwen3", "qwen3", NULL, "<|im_end|>", NULL},
    {"deepseek_v3", "deepseek_v3",
     "<\xef\xbd\x9c"
     "begin\xe2\x96\x81of\xe2\x96\x81sentence\xef\xbd\x9c>",
     "<\xef\xbd\x9c"
     "end\xe2\x96\x81of\xe2\x96\x81sentence\xef\xbd\x9c>",
     NULL},
    {"gptoss", "gptoss", "<|startoftext|>", "<|return|>",
     "{% for m in messages %}<|start|>{{ m.role }}<|channel|>final<|message|>{{ m.content }}<|end|>"
     "{% endfor %}{% if tools %}<|start|>developer<|message|>{{ tools | tojson }}<|end|>{% endif %}"
     "<|start|>assistant"},
    {"mistral", "mistral", "<s>", "</s>",
     "{{ bos_token }}{% for m in messages %}{% if m.role == 'assistant' %}{{ ' ' + m.content | "
     "trim "
     "+ eos_token }}{% else %}{{ ' [INST] ' + m.content + ' [/INST]' }}{% endif %}{% endfor %}"
     "{% for t in tools or [] %}<{{ t.function.name }}>{{ t | tojson }}</{{ t.function.name }}>"
     "{% endfor %}"},
};

struct model {
    struct oct_tokenizer *t;
    char *template;
    json_t *own;
    bool *control; /* [n_tokens] */
    int32_t *list; /* [n_list] the control tokens */
    size_t n_list;
};

static bool is_control(const struct oct_tokenizer *t, int32_t id)
{
    size_t len;
    const char *p = oct_tokenizer_piece(t, id, &len);
    /* all that these four have and that is not flagged */
    return oct_tokenizer_is_special(t, id) || (len > 6 && memcmp(p, "<\xef\xbd\x9c", 4) == 0 &&
                                               memcmp(p + len - 4, "\xef\xbd\x9c>", 4) == 0);
}

static bool open_model(const struct real *r, struct model *m)
{
    char path[512], config[512], *text = NULL;
    size_t len;
    (void)snprintf(path, sizeof path, DATA "tokenizers/%s.json.xz", r->file);
    (void)snprintf(config, sizeof config, DATA "tokenizers/%s.config.json", r->config);
    *m = (struct model){0};
    if (vocab_file_read(config, &text, &len) != OCT_OK) {
        return false;
    }
    cr_assert_eq(vocab_file_open(path, config, &m->t), OCT_OK, "%s", oct_last_error());
    json_t *c = json_loads(text, 0, NULL);
    m->template = oct_strdup(r->template ? r->template
                                         : json_string_value(json_object_get(c, "chat_template")));
    json_decref(c);
    oct_free(text);
    m->own = json_object();
    cr_assert(m->own &&
              json_object_set_new(m->own, "bos_token", json_string(r->bos ? r->bos : "")) == 0 &&
              json_object_set_new(m->own, "eos_token", json_string(r->eos)) == 0);
    const int32_t n = oct_tokenizer_n_tokens(m->t);
    m->control = oct_calloc((size_t)n, sizeof *m->control);
    m->list = oct_calloc((size_t)n, sizeof *m->list);
    for (int32_t id = 0; id < n; id++) {
        m->control[id] = is_control(m->t, id);
        if (m->control[id]) {
            m->list[m->n_list++] = id;
        }
    }
    return true;
}

static void close_model(struct model *m)
{
    oct_tokenizer_destroy(m->t);
    json_decref(m->own);
    oct_free(m->template);
    oct_free(m->control);
    oct_free(m->list);
}

struct dice {
    uint64_t seed, n;
};

static uint32_t roll(struct dice *d, uint32_t below)
{
    uint32_t x[4];
    oct_rng_philox(d->seed, d->n++, 0, x);
    return x[0] % below;
}

/* A text of words and of control tokens, whole and in pieces. */
static void attack(struct dice *d, const struct model *m, struct oct_buf *b)
{
    static const char *const word[] = {"hi",     " ",
                                       "\n",     "\xe4\xbd\xa0",
                                       "<",      ">",
                                       "|",      "<|",
                                       "|>",     "</",
                                       "<think", "[INST]",
                                       "user",   "\nassistant\n",
                                       "\"",     "\xef\xbd\x9c>"};
    oct_buf_clear(b);
    for (uint32_t k = 1 + roll(d, 6); k > 0; k--) {
        const uint32_t kind = roll(d, 4);
        size_t len;
        const char *p = oct_tokenizer_piece(m->t, m->list[roll(d, (uint32_t)m->n_list)], &len);
        size_t from = 0, to = len;
        if (kind == 0) {
            p = word[roll(d, sizeof word / sizeof *word)];
            to = strlen(p);
        } else if (kind == 1 && len > 1) { /* a prefix or a suffix, of whole characters */
            size_t cut = 1 + roll(d, (uint32_t)len - 1);
            while (cut < len && ((unsigned char)p[cut] & 0xc0) == 0x80) {
                cut++;
            }
            if (roll(d, 2)) {
                to = cut;
            } else {
                from = cut;
            }
        }
        cr_assert_eq(oct_buf_append(b, p + from, to - from), OCT_OK);
    }
}

/* A conversation of n messages in turn, with one tool whose every text is an attack as well; or the
 * same with innocent text. */
static json_t *conversation(struct dice *d, const struct model *m, uint32_t n, bool tools,
                            bool innocent)
{
    struct oct_buf b = {0};
    json_t *vars = json_copy(m->own), *messages = json_array();
    cr_assert(vars && messages);
    for (uint32_t i = 0; i < n; i++) {
        attack(d, m, &b);
        json_t *one = json_pack("{s:s, s:s%}", "role", i % 2 ? "assistant" : "user", "content",
                                innocent ? "x" : b.data, innocent ? (size_t)1 : b.len);
        cr_assert_eq(json_array_append_new(messages, one), 0);
    }
    if (tools) {
        char *text[4];
        for (size_t i = 0; i < 4; i++) {
            attack(d, m, &b);
            text[i] = oct_strdup(innocent ? "abcd" : b.data);
        }
        json_t *tool = json_pack("{s:s, s:{s:s, s:s, s:{s:s, s:{s:{s:s}}}}}", "type", "function",
                                 "function", "name", text[0], "description", text[1], "parameters",
                                 "type", "object", "properties", text[2], "description", text[3]);
        json_t *list = json_array();
        cr_assert(tool && list && json_array_append_new(list, tool) == 0);
        cr_assert_eq(json_object_set_new(vars, "tools", list), 0);
        for (size_t i = 0; i < 4; i++) {
            oct_free(text[i]);
        }
    }
    cr_assert_eq(json_object_set_new(vars, "messages", messages), 0);
    cr_assert_eq(json_object_set_new(vars, "add_generation_prompt", json_true()), 0);
    oct_buf_free(&b);
    return vars;
}

/* Keeps control tokens alone. */
static void keep_control(const struct model *m, struct oct_ids *ids)
{
    size_t n = 0;
    for (size_t i = 0; i < ids->len; i++) {
        if (m->control[ids->data[i]]) {
            ids->data[n++] = ids->data[i];
        }
    }
    ids->len = n;
}

/* True if the attack would have worked without marks. */
static bool check_random(const struct real *r, const struct model *m, const char *template,
                         struct dice *d, bool tools)
{
    struct oct_ids ids = {0}, plain = {0}, want = {0};
    struct oct_buf text = {0}, back = {0}, innocent = {0};
    const uint64_t seed = d->seed, at = d->n;
    const uint32_t n = 1 + roll(d, 4);
    json_t *bad = conversation(d, m, n, tools, false), *good = conversation(d, m, n, tools, true);
    ids_of(m->t, template, bad, m->own, &ids, &text);
    ids_of(m->t, template, good, m->own, &want, &innocent);
    /* innocent text: not one id is other than the reference's */
    cr_assert_eq(
        oct_tokenizer_encode(m->t, innocent.data, innocent.len, OCT_ENCODE_SPECIAL, &plain),
        OCT_OK);
    cr_assert(plain.len == want.len &&
                  memcmp(plain.data, want.data, plain.len * sizeof *plain.data) == 0,
              "%s: ids of an innocent conversation changed: %s", r->file, innocent.data);
    /* nothing of the text is lost */
    cr_assert_eq(oct_tokenizer_decode(m->t, ids.data, ids.len, false, &back), OCT_OK);
    cr_assert(r->bos && !strcmp(r->bos, "<s>") ? back.len > 0 : !strcmp(back.data, text.data),
              "%s, %llu/%llu: '%s' became '%s'", r->file, (unsigned long long)seed,
              (unsigned long long)at, text.data, back.data);
    keep_control(m, &ids);
    keep_control(m, &want);
    cr_assert(ids.len == want.len && memcmp(ids.data, want.data, ids.len * sizeof *ids.data) == 0,
              "%s, %llu/%llu: %zu control tokens, not %zu, in\n%s", r->file,
              (unsigned long long)seed, (unsigned long long)at, ids.len, want.len, text.data);
    plain.len = 0;
    cr_assert_eq(oct_tokenizer_encode(m->t, text.data, text.len, OCT_ENCODE_SPECIAL, &plain),
                 OCT_OK);
    keep_control(m, &plain);
    const bool worked = plain.len != want.len;
    oct_ids_free(&ids);
    oct_ids_free(&plain);
    oct_ids_free(&want);
    oct_buf_free(&text);
    oct_buf_free(&back);
    oct_buf_free(&innocent);
    json_decref(bad);
    json_decref(good);
    return worked;
}

/* Control tokens of a conversation are those of the same conversation with innocent text. */
Test(chat_marks, random_attacks_add_no_control_token_to_four_real_vocabularies, .timeout = 600)
{
    enum { ROUNDS = OCT_FAULTS ? 150 : 1000 };
    json_t *models = json_load_file(DATA "chat_templates.json", 0, NULL);
    if (!models) {
        cr_skip_test("the data of real models is not beside the source");
    }
    for (size_t i = 0; i < sizeof reals / sizeof *reals; i++) {
        struct model m;
        struct dice d = {.seed = 20 + i};
        if (!open_model(&reals[i], &m)) {
            cr_skip_test("%s is not beside the source", reals[i].file);
        }
        int worked = 0;
        for (int k = 0; k < ROUNDS; k++) {
            worked += check_random(&reals[i], &m, m.template, &d, i != 1 && k % 2);
        }
        cr_assert_gt(worked, ROUNDS / 2, "%s: only %d attacks were any", reals[i].file, worked);
        /* the other templates that this vocabulary has the tokens of */
        static const char *const more[] = {"Qwen/Qwen2.5-3B-Instruct",
                                           "Qwen/Qwen3-Coder-30B-A3B-Instruct",
                                           "HuggingFaceTB/SmolLM3-3B", "Qwen/Qwen3-VL-4B-Thinking"};
        for (size_t k = 0; i == 0 && k < sizeof more / sizeof *more; k++) {
            const char *template =
                json_string_value(json_object_get(json_object_get(models, more[k]), "template"));
            cr_assert_not_null(template, "%s", more[k]);
            for (int at = 0; at < ROUNDS / 5; at++) {
                (void)check_random(&reals[i], &m, template, &d, at % 2);
            }
        }
        close_model(&m);
    }
    json_decref(models);
}

#if OCT_FAULTS
Test(chat_marks, every_allocation_may_fail)
{
    json_t *vars = json_loads("{\"u\": \"<|a|>\", \"m\": [{\"role\": \"user\"}]}", 0, NULL);
    static const char source[] =
        "<|a|>{{ u ~ '<b>' ~ u }}{% set s %}{{ u }}{% endset %}{{ s * 3000 }}"
        "{% for x in m %}{{ x.role | trim }}{% endfor %}";
    struct oct_tokenizer *t = small_vocab("tokenizer_bytes.json", "{}");
    for (uint64_t k = 1;; k++) {
        struct oct_buf text = {0}, marks = {0};
        struct oct_ids ids = {0};
        oct_fault_reset();
        oct_fault_arm(OCT_FAULT_MEM, k, false, OCT_FAULT_FAIL);
        oct_status st = render(source, vars, NULL, &text, &marks);
        if (st == OCT_OK) {
            st = oct_tokenizer_encode_marked(t, text.data, text.len, marks.data, &ids);
        } else {
            cr_assert(text.len == 0 && marks.len == 0, "call %d left something", (int)k);
        }
        const bool reached = oct_fault_count(OCT_FAULT_MEM) >= k;
        oct_fault_reset();
        oct_buf_free(&text);
        oct_buf_free(&marks);
        oct_ids_free(&ids);
        if (st == OCT_OK) {
            cr_assert_not(reached, "call %d failed and nobody noticed", (int)k);
            cr_assert_gt(k, 5u);
            break;
        }
        cr_assert_eq(st, OCT_E_MEM, "call %d: %s", (int)k, oct_last_error());
    }
    oct_tokenizer_destroy(t);
    json_decref(vars);
}
#endif
