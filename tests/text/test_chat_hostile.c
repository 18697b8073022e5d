/* SPDX-License-Identifier: Apache-2.0
 *
 * Templates out of untrusted files: hostile ones are refused or stopped within 200 ms of CPU time
 * and on a small stack, and every budget lets through what is just inside it. */
#include "base/mem.h"
#include "text/chat.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* The promise holds for the release build; sanitizers cost about ten times as much. */
enum { LIMIT_MS = OCT_FAULTS ? 2000 : 200 };
/* What the deepest recursion may use, of a stack of 8 MiB and of the 1 MiB of a small thread. */
enum { STACK_BYTES = OCT_FAULTS ? 1 << 20 : 384 << 10 };

/* marks: NULL, or who wrote which byte is asked for too, as for a conversation to be answered. */
static oct_status render_marked(const char *template, size_t len, const char *vars,
                                struct oct_buf *out, struct oct_buf *marks)
{
    struct oct_template *t = NULL;
    json_t *v = json_loads(vars, 0, NULL);
    oct_status st = oct_template_compile(template, len, &t);
    if (st == OCT_OK) {
        st = marks ? oct_template_render_marked(t, v, NULL, 0, out, marks)
                   : oct_template_render(t, v, 0, out);
    }
    oct_template_destroy(t);
    json_decref(v);
    return st;
}

static oct_status render(const char *template, size_t len, const char *vars, struct oct_buf *out)
{
    return render_marked(template, len, vars, out, NULL);
}

/* head, open times n, middle, close times n, tail */
struct hostile {
    const char *name, *head, *open;
    int n;
    const char *middle, *close, *tail;
};

static void build(const struct hostile *h, struct oct_buf *b)
{
    cr_assert_eq(oct_buf_append(b, h->head, strlen(h->head)), OCT_OK);
    for (int i = 0; i < h->n; i++) {
        cr_assert_eq(oct_buf_append(b, h->open, strlen(h->open)), OCT_OK);
    }
    cr_assert_eq(oct_buf_append(b, h->middle, strlen(h->middle)), OCT_OK);
    for (int i = 0; i < h->n; i++) {
        cr_assert_eq(oct_buf_append(b, h->close, strlen(h->close)), OCT_OK);
    }
    cr_assert_eq(oct_buf_append(b, h->tail, strlen(h->tail)), OCT_OK);
}

#define MB "{% set ns = namespace(s='a' * 1000000) %}"
#define LOOP(body) "{% for i in range(100000) %}" body "{% endfor %}"

// clang-format off
static const struct hostile hostile[] = {
    /* the seven of docs on reliability: ranges, nested ranges, recursion, nesting, doubling */
    {"range", "{% for i in range(1000000000) %}x{% endfor %}", "", 0, "", "", ""},
    {"nested ranges", LOOP(LOOP(LOOP("x"))), "", 0, "", "", ""},
    {"recursive macro", "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "", 0, "", "", ""},
    {"nested parentheses", "{{ ", "(", 100000, "1", ")", " }}"},
    {"doubling strings", "{% set x = 'aaaaaaaa' %}", "{% set x = x ~ x %}", 64, "", "", "{{ x }}"},
    {"doubling lists", "{% set x = [1] %}", "{% set x = x + x %}", 64, "", "", "{{ x|length }}"},
    {"repeated string", "{{ 'a' * 1000000000000 }}", "", 0, "", "", ""},
    /* nesting */
    {"nested lists", "{{ ", "[", 100000, "1", "]", " }}"},
    {"nested dicts", "{{ ", "{1:", 100000, "1", "}", " }}"},
    {"nested ifs", "", "{% if 1 %}", 50000, "x", "{% endif %}", ""},
    {"nested fors", "", "{% for i in [1, 2] %}", 100, "x", "{% endfor %}", ""},
    {"nested macros", "", "{% macro m() %}", 10000, "x", "{% endmacro %}", ""},
    {"nested set blocks", "", "{% set x %}", 10000, "x", "{% endset %}", ""},
    {"nested filter blocks", "", "{% filter upper %}", 10000, "x", "{% endfilter %}", ""},
    {"nested withs", "", "{% with a = 1 %}", 10000, "x", "{% endwith %}", ""},
    {"nested calls", "{{ ", "range(", 10000, "1", ")", " }}"},
    {"nested arguments", "{{ ", "1|default(", 10000, "1", ")", " }}"},
    {"nested indices", "{{ ", "a[", 10000, "1", "]", " }}"},
    {"not not not", "{{ ", "not ", 100000, "1", "", " }}"},
    {"minus minus", "{{ ", "-", 100000, "1", "", " }}"},
    {"if else if else", "{{ ", "1 if 0 else ", 50000, "1", "", " }}"},
    {"long attribute chain", "{{ x", ".a", 100000, "", "", " }}"},
    {"long filter chain", "{{ x", "|string", 100000, "", "", " }}"},
    {"long index chain", "{{ x", "[0]", 100000, "", "", " }}"},
    {"long call chain", "{{ x", "()", 100000, "", "", " }}"},
    {"long test chain", "{{ x", " is defined", 50000, "", "", " }}"},
    {"nested targets", "{% set ", "(", 10000, "a,", ")", " = 1 %}"},
    /* size */
    {"too long", "", "aaaaaaaaaaaaaaaa", 70000, "", "", ""},
    {"too many tokens", "{{ 1", "+1", 500000, "", "", " }}"},
    {"too many tags", "", "{{1}}", 200000, "", "", "{% endif %}"},
    {"too many names", "{% macro m(", "a,", 300, "b", "", ") %}{% endmacro %}"},
    {"open tags", "", "{{", 400000, "", "", ""},
    {"open blocks", "", "{% ", 300000, "", "", ""},
    {"raw without end", "{% raw %}", "{% endraw ", 100000, "", "", ""},
    {"comment without end", "{# ", "#", 1000000, "", "", ""},
    {"string without end", "{{ '", "\\\\", 500000, "", "", ""},
    {"white space without end", "{% ", "        ", 120000, "", "", ""},
    {"a number of a million digits", "{{ ", "9", 1000000, "", "", " }}"},
    {"a float of a million digits", "{{ 0.", "9", 1000000, "", "", " }}"},
    /* recursion at run time */
    {"two macros", "{% macro a() %}{{ b() }}{% endmacro %}{% macro b() %}{{ a() }}{% endmacro %}{{ a() }}", "", 0, "", "", ""},
    {"macro in its own default", "{% macro m(a=m()) %}{% endmacro %}{{ m() }}", "", 0, "", "", ""},
    {"macro through a namespace", "{% set ns = namespace() %}{% macro m() %}{% for i in [1, 2] %}{{ ns.m() }}{% endfor %}{% endmacro %}{% set ns.m = m %}{{ m() }}", "", 0, "", "", ""},
    {"branching macro", "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(60) }}", "", 0, "", "", ""},
    {"caller", "{% macro m() %}{% call m() %}{{ caller() }}{% endcall %}{% endmacro %}{% call m() %}x{% endcall %}", "", 0, "", "", ""},
    {"recursive loop", "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}", "", 0, "", "", ""},
    {"map of map", "{{ [[[[1]]]]|map('map'", ", 'map'", 100000, "", "", ")|list }}"},
    {"a list in itself, shown", "{% set ns = namespace(x=[]) %}" LOOP("{% set ns.x = [ns.x] %}") "{{ ns.x }}", "", 0, "", "", ""},
    {"a list in itself, as JSON", "{% set ns = namespace(x=[]) %}" LOOP("{% set ns.x = [ns.x] %}") "{{ ns.x|tojson }}", "", 0, "", "", ""},
    {"lists in themselves, compared", "{% set ns = namespace(x=[], y=[]) %}" LOOP("{% set ns.x = [ns.x] %}{% set ns.y = [ns.y] %}") "{{ ns.x == ns.y }}", "", 0, "", "", ""},
    {"a namespace in itself", "{% set ns = namespace() %}{% set ns.x = ns %}{{ ns }}", "", 0, "", "", ""},
    {"a tree that shares, shown", "{% set ns = namespace(x=[]) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x }}", "", 0, "", "", ""},
    {"trees that share, compared", "{% set ns = namespace(x=[], y=[]) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% set ns.y = [ns.y, ns.y] %}{% endfor %}{{ ns.x == ns.y }}{{ ns.x < ns.y }}", "", 0, "", "", ""},
    /* much from little */
    {"join", "{{ range(100000)|join('x' * 1000) }}", "", 0, "", "", ""},
    {"replace", "{{ ('a' * 100000)|replace('a', 'b' * 1000) }}", "", 0, "", "", ""},
    {"replace nothing", "{{ ('a' * 100000)|replace('', 'b' * 1000) }}", "", 0, "", "", ""},
    {"center", "{{ 'a'|center(10000000000) }}", "", 0, "", "", ""},
    {"ljust and zfill", "{{ 'a'.ljust(10000000000) }}{{ 'a'.zfill(10000000000) }}", "", 0, "", "", ""},
    {"indent", "{{ ('\\nx' * 100000)|indent(100000) }}", "", 0, "", "", ""},
    {"width of %", "{{ '%10000000000d' % 1 }}", "", 0, "", "", ""},
    {"width of format", "{{ '{:>10000000000}'.format(1) }}", "", 0, "", "", ""},
    {"JSON indent", "{{ [[[[1]]]]|tojson(indent=1000000000) }}", "", 0, "", "", ""},
    {"JSON separators", "{{ range(100000)|list|tojson(separators=('x' * 100000, '')) }}", "", 0, "", "", ""},
    {"repeated list", "{{ ([1] * 1000000000000)|length }}", "", 0, "", "", ""},
    {"batch", "{{ [1]|batch(1000000000, 1)|list }}", "", 0, "", "", ""},
    {"slice", "{{ [1]|slice(1000000000)|list }}", "", 0, "", "", ""},
    {"output", "{% set x = 'a' * 1000000 %}{{ x }}{{ x }}{{ x }}{{ x }}{{ x }}", "", 0, "", "", ""},
    {"set blocks that double", "{% set x = 'aaaaaaaa' %}", "{% set x %}{{ x }}{{ x }}{% endset %}", 64, "", "", "{{ x }}"},
    {"strings to lists", LOOP("{% set x = 'abcdefgh' * 10000 | list %}{% set y = ('ab' * 100000)|list %}"), "", 0, "", "", ""},
    {"power", "{{ 9 ** 9 ** 9 }}", "", 0, "", "", ""},
    {"squares", "{% set ns = namespace(x=3) %}" LOOP("{% set ns.x = ns.x * ns.x %}"), "", 0, "", "", ""},
    {"dates", "{{ strftime_now('%c' * 100000) }}", "", 0, "", "", ""},
    /* long work on long values, again and again */
    {"upper", MB LOOP("{% set x = ns.s|upper %}"), "", 0, "", "", ""},
    {"length", MB LOOP("{% set x = ns.s|length %}"), "", 0, "", "", ""},
    {"count", MB LOOP("{% set x = ns.s.count('b') %}"), "", 0, "", "", ""},
    {"find backwards", MB "{% set y = 'a' * 500000 %}" LOOP("{% set x = ns.s.rfind('b' ~ y) %}"), "", 0, "", "", ""},
    {"find backwards, late", MB "{{ ns.s.rfind('a' * 400000 ~ 'b') }}{{ ns.s.rsplit('a' * 400000 ~ 'b') }}", "", 0, "", "", ""},
    {"split", MB LOOP("{% set x = ns.s.split('a') %}"), "", 0, "", "", ""},
    {"splitlines", MB LOOP("{% set x = ns.s.splitlines() %}"), "", 0, "", "", ""},
    {"strip", MB "{% set y = 'b' * 900000 ~ 'a' %}{{ ns.s.strip(y) }}", "", 0, "", "", ""},
    {"reverse", MB LOOP("{% set x = ns.s[::-1] %}"), "", 0, "", "", ""},
    {"slices", MB LOOP("{% set x = ('é' ~ ns.s)[500000:600000] %}"), "", 0, "", "", ""},
    {"index", MB "{% set y = 'é' ~ ns.s[1:] %}" LOOP("{% set x = y[500000] %}"), "", 0, "", "", ""},
    {"compare strings", MB "{% set y = 'a' * 999999 ~ 'b' %}" LOOP("{% set x = ns.s == y or ns.s < y %}"), "", 0, "", "", ""},
    {"keys", MB "{% set d = {ns.s: 1} %}" LOOP("{% set x = d[ns.s] %}"), "", 0, "", "", ""},
    {"escape", MB LOOP("{% set x = ns.s|e %}"), "", 0, "", "", ""},
    {"tojson", MB LOOP("{% set x = ns.s|tojson %}"), "", 0, "", "", ""},
    {"int", MB LOOP("{% set x = ns.s|int %}"), "", 0, "", "", ""},
    {"wordcount", MB LOOP("{% set x = ns.s|wordcount %}"), "", 0, "", "", ""},
    {"isalpha", MB LOOP("{% set x = ns.s.isalpha() or ns.s is lower %}"), "", 0, "", "", ""},
    {"final sigma", "{{ ((\"'\" * 1000 ~ 'Σ') * 900)|lower }}", "", 0, "", "", ""},
    {"in a list", "{% set x = range(100000)|list %}" LOOP("{{ -1 in x }}"), "", 0, "", "", ""},
    {"sort", "{% set x = range(100000)|list %}" LOOP("{% set y = x|sort %}"), "", 0, "", "", ""},
    {"unique", "{% set x = range(100000)|list %}" LOOP("{% set y = x|unique|list %}"), "", 0, "", "", ""},
    {"groupby", "{% set x = range(100000)|map('batch', 2)|list %}", "", 0, "", "", "{{ range(100000)|groupby('real')|length }}" LOOP("{{ x|map('list')|list|length }}")},
    {"sum", "{% set x = range(100000)|list %}" LOOP("{{ x|sum }}"), "", 0, "", "", ""},
    {"map", "{% set x = range(100000)|list %}" LOOP("{{ x|map('string')|list|length }}"), "", 0, "", "", ""},
    {"list of range", LOOP("{% set x = range(100000)|list %}"), "", 0, "", "", ""},
    {"add lists", "{% set x = range(100000)|list %}" LOOP("{% set y = x + x %}"), "", 0, "", "", ""},
    {"calls that pass much", "{% macro m() %}{{ varargs|length }}{% endmacro %}{% set x = range(100000)|list %}" LOOP("{{ m(*x) }}"), "", 0, "", "", ""},
    {"loop.length of loops", LOOP("{{ loop.length }}{% for j in range(100000) if j > 99998 %}{{ loop.last }}{% endfor %}"), "", 0, "", "", ""},
    {"a filter that asks the loop", "{% for i in range(100000) %}{% for j in range(100000) if loop.nextitem %}{% endfor %}{% endfor %}", "", 0, "", "", ""},
    /* what a template has no business with */
    {"include", "{% include '/etc/passwd' %}", "", 0, "", "", ""},
    {"import", "{% import 'os' as os %}", "", 0, "", "", ""},
    {"extends", "{% extends 'x' %}", "", 0, "", "", ""},
    {"classes", "{{ ''.__class__.__mro__[1].__subclasses__() }}", "", 0, "", "", ""},
    {"globals of a function", "{{ range.__globals__['os'].system('id') }}", "", 0, "", "", ""},
    {"change the input", "{{ messages.append(1) }}", "", 0, "", "", ""},
    {"lipsum", "{{ lipsum(1000000) }}", "", 0, "", "", ""},
};
// clang-format on

static double cpu_ms(void)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
    return (double)ts.tv_sec * 1e3 + (double)ts.tv_nsec / 1e6;
}

/* What one template did, noted in the thread and judged outside of it. */
struct outcome {
    struct oct_buf source, out, marks;
    oct_status st, marked_st;
    double ms, marked_ms;
    char error[200];
};
enum { N_HOSTILE = sizeof hostile / sizeof *hostile };

static void *run_hostile(void *arg)
{
    struct outcome *o = arg;
    for (size_t i = 0; i < N_HOSTILE; i++) {
        oct_error_clear();
        const double start = cpu_ms();
        o[i].st = render(o[i].source.data, o[i].source.len, "{\"messages\": [1, 2, 3]}", &o[i].out);
        o[i].ms = cpu_ms() - start;
        (void)snprintf(o[i].error, sizeof o[i].error, "%s", oct_last_error());
        const double again = cpu_ms();
        o[i].marked_st = render_marked(o[i].source.data, o[i].source.len,
                                       "{\"messages\": [1, 2, 3]}", &o[i].out, &o[i].marks);
        o[i].marked_ms = cpu_ms() - again;
    }
    return NULL;
}

/* All of them in a thread whose stack is what the deepest recursion may use. */
Test(chat_hostile, all_are_stopped_in_time_and_on_a_small_stack, .timeout = 600)
{
    static struct outcome outcome[N_HOSTILE];
    pthread_attr_t attr;
    pthread_t thread;
    size_t worst = 0;
    cr_assert_geq((int)N_HOSTILE, 57);
    for (size_t i = 0; i < N_HOSTILE; i++) {
        build(&hostile[i], &outcome[i].source);
    }
    cr_assert_eq(pthread_attr_init(&attr), 0);
    cr_assert_eq(pthread_attr_setstacksize(&attr, STACK_BYTES), 0);
    cr_assert_eq(pthread_create(&thread, &attr, run_hostile, outcome), 0);
    cr_assert_eq(pthread_join(thread, NULL), 0);
    (void)pthread_attr_destroy(&attr);
    for (size_t i = 0; i < N_HOSTILE; i++) {
        struct outcome *o = &outcome[i];
        const char *name = hostile[i].name;
        cr_assert_neq(o->st, OCT_OK, "%s: it was rendered, %zu bytes", name, o->out.len);
        cr_assert_neq(o->st, OCT_E_MEM, "%s: %s", name, o->error);
        cr_assert(strstr(o->error, "template"), "%s: '%s'", name, o->error);
        cr_assert_eq(o->out.len, 0u, "%s: %zu bytes were left", name, o->out.len);
        cr_assert_lt(o->ms, LIMIT_MS, "%s: %.0f ms, %s", name, o->ms, o->error);
        cr_assert(o->marked_st != OCT_OK && o->marked_st != OCT_E_MEM && o->marks.len == 0,
                  "%s: %d with marks", name, o->marked_st);
        cr_assert_lt(o->marked_ms, LIMIT_MS, "%s: %.0f ms with marks", name, o->marked_ms);
        o->ms = o->marked_ms > o->ms ? o->marked_ms : o->ms;
        worst = o->ms > outcome[worst].ms ? i : worst;
        oct_buf_free(&o->source);
        oct_buf_free(&o->out);
        oct_buf_free(&o->marks);
    }
    (void)fprintf(stderr, "%d templates, worst: %s, %.0f ms of CPU\n", (int)N_HOSTILE,
                  hostile[worst].name, outcome[worst].ms);
}

/* Just inside each budget, and just outside of it. */
Test(chat_hostile, budgets_have_two_sides, .timeout = 120)
{
    // clang-format off
    static const struct {
        struct hostile h;
        oct_status want;
        size_t len;
    } row[] = {
        {{"range", "{{ range(100000)|length }}", "", 0, "", "", ""}, OCT_OK, 6},
        {{"range+", "{{ range(100001)|length }}", "", 0, "", "", ""}, OCT_E_LIMIT, 0},
        {{"string", "{{ ('a' * 1048576)|length }}", "", 0, "", "", ""}, OCT_OK, 7},
        {{"string+", "{{ ('a' * 1048577)|length }}", "", 0, "", "", ""}, OCT_E_LIMIT, 0},
        {{"output", "{% set x = 'a' * 1048576 %}{{ x }}{{ x }}{{ x }}{{ x }}", "", 0, "", "", ""}, OCT_OK, 4194304},
        {{"output+", "{% set x = 'a' * 1048576 %}{{ x }}{{ x }}{{ x }}{{ x }}b", "", 0, "", "", ""}, OCT_E_LIMIT, 0},
        {{"calls", "{% macro m(n) %}x{% if n > 1 %}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(64) }}", "", 0, "", "", ""}, OCT_OK, 64},
        {{"calls+", "{% macro m(n) %}x{% if n > 1 %}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(65) }}", "", 0, "", "", ""}, OCT_E_LIMIT, 0},
        {{"source", "", "a", 1048576, "", "", ""}, OCT_OK, 1048576},
        {{"source+", "", "a", 1048577, "", "", ""}, OCT_E_LIMIT, 0},
        {{"parentheses", "{{ ", "(", 127, "1", ")", " }}"}, OCT_OK, 1},
        {{"parentheses+", "{{ ", "(", 128, "1", ")", " }}"}, OCT_E_LIMIT, 0},
        {{"blocks", "", "{% if 1 %}", 127, "x", "{% endif %}", ""}, OCT_OK, 1},
        {{"blocks+", "", "{% if 1 %}", 129, "x", "{% endif %}", ""}, OCT_E_LIMIT, 0},
        {{"steps", LOOP("{% set x = 1 %}{% set x = 1 %}"), "", 0, "", "", ""}, OCT_OK, 0},
        {{"steps+", LOOP("{% set x = 1 %}{% set x = 1 %}{% set x = 1 %}{% set x = 1 %}{% set x = 1 %}"), "", 0, "", "", ""}, OCT_E_LIMIT, 0},
        {{"a long sum is not deep", "{{ 1", " + 1", 10000, "", "", " }}"}, OCT_OK, 5},
        {{"growing a string in a loop", "{% set ns = namespace(s='') %}{% for i in range(50000) %}{% set ns.s = ns.s + 'abcdefghij' %}{% endfor %}{{ ns.s }}", "", 0, "", "", ""}, OCT_OK, 500000},
        {{"growing with ~ too", "{% set ns = namespace(s='') %}{% for i in range(50000) %}{% set ns.s = ns.s ~ 'abcdefghi' ~ 1 %}{% endfor %}{{ ns.s }}", "", 0, "", "", ""}, OCT_OK, 500000},
    };
    // clang-format on
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct oct_buf source = {0}, out = {0};
        build(&row[i].h, &source);
        oct_error_clear();
        const oct_status st = render(source.data, source.len, "{}", &out);
        cr_assert_eq(st, row[i].want, "%s: status %d, %s", row[i].h.name, (int)st,
                     oct_last_error());
        cr_assert_eq(out.len, row[i].len, "%s: %zu bytes", row[i].h.name, out.len);
        oct_buf_free(&source);
        oct_buf_free(&out);
    }
}

/* Input that is deep or large, under a harmless template. */
Test(chat_hostile, input_is_bounded_too, .timeout = 120)
{
    struct oct_buf vars = {0}, out = {0};
    cr_assert_eq(oct_buf_append(&vars, "{\"x\": ", 6), OCT_OK);
    for (int i = 0; i < 2000; i++) {
        cr_assert_eq(oct_buf_append(&vars, "[", 1), OCT_OK);
    }
    for (int i = 0; i < 2000; i++) {
        cr_assert_eq(oct_buf_append(&vars, "]", 1), OCT_OK);
    }
    cr_assert_eq(oct_buf_append(&vars, "}", 1), OCT_OK);
    static const char show[] = "{{ x }}", json[] = "{{ x|tojson }}", same[] = "{{ x == [x] }}";
    cr_assert_eq(render(show, sizeof show - 1, vars.data, &out), OCT_E_LIMIT);
    cr_assert_eq(render(json, sizeof json - 1, vars.data, &out), OCT_E_LIMIT);
    cr_assert_eq(render(same, sizeof same - 1, vars.data, &out), OCT_E_LIMIT);
    cr_assert_eq(out.len, 0u);
    oct_buf_free(&vars);

    cr_assert_eq(oct_buf_append(&vars, "{\"x\": \"", 7), OCT_OK);
    for (int i = 0; i < 4194304 / 16; i++) {
        cr_assert_eq(oct_buf_append(&vars, "0123456789abcdef", 16), OCT_OK);
    }
    cr_assert_eq(oct_buf_append(&vars, "\"}", 2), OCT_OK);
    static const char trim[] = "{{ x|trim }}";
    cr_assert_eq(render(trim, sizeof trim - 1, vars.data, &out), OCT_OK, "%s", oct_last_error());
    cr_assert_eq(out.len, 4194304u, "a long message is shown whole: %zu", out.len);
    oct_buf_free(&vars);
    oct_buf_free(&out);
}
