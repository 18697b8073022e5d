/* SPDX-License-Identifier: Apache-2.0
 *
 * Expressions that no scanner knows, through PCRE2: JIT where the machine allows it, with limits on
 * memory and a budget of steps for the whole text. PCRE2's own match limit counts anew at each
 * place where a match may begin, and not at all while one item runs along the text; so a callout
 * before every item of the expression counts, with or without JIT the same. The pattern is first
 * rewritten where PCRE2 and the reference's engine (Oniguruma, Ruby syntax) read the same letters
 * differently. */
#include "text/pretok.h"

#include "text/unicode.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <string.h>

enum {
    MAX_PATTERN_BYTES = 16 * 1024,
    MAX_STEPS = 10 * 1000 * 1000, /* of PCRE2's own counting, from one place on */
    /* The budget. A step takes 3 to 10 ns; the expressions of real tokenizers need 1 to 51 for a
     * byte of the text that is worst for them. So the worst expression is stopped after some 2 us
     * per byte. */
    STEPS_PER_BYTE = 250,
    STEPS_AT_ONCE = 1000 * 1000,
    STEPS_PER_MATCH = 20,
    ITEMS_PER_STEP = 20, /* of a class, that one item of the expression compares while it runs
                            along the text; PCRE2 tries them one after the other */
    MAX_DEPTH = 100 * 1000,
    MAX_HEAP_KIB = 64 * 1024,
    JIT_STACK_BYTES = 1024 * 1024,
    MAX_GROUP_DEPTH = 64,
};

struct oct_regex {
    pcre2_general_context *memory;
    pcre2_match_context *limits;
    pcre2_code *code;
    size_t class_items; /* of the largest class */
    char *pattern;      /* as the file has it, for sentences */
    size_t pattern_len;
};
struct oct_regex_run {
    const struct oct_regex *regex;
    pcre2_match_context *limits;
    pcre2_jit_stack *stack; /* NULL: none to be had, the default one serves */
    pcre2_match_data *match;
    uint64_t steps_left;
    size_t at; /* where in the text the last step was taken */
};

static void *pcre_malloc(size_t size, void *unused)
{
    (void)unused;
    return oct_malloc(size);
}
static void pcre_free(void *p, void *unused)
{
    (void)unused;
    oct_free(p);
}

/* White_Space and its complement, as items of a character class. PCRE2's own \s has U+180E too. */
#define SPACE_ITEMS \
    "\\x{9}-\\x{d}\\x{20}\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}" \
    "\\x{205f}\\x{3000}"
#define NOT_SPACE_ITEMS \
    "\\x{0}-\\x{8}\\x{e}-\\x{1f}\\x{21}-\\x{84}\\x{86}-\\x{9f}\\x{a1}-\\x{167f}\\x{1681}-\\x{" \
    "1fff}" \
    "\\x{200b}-\\x{2027}\\x{202a}-\\x{202e}\\x{2030}-\\x{205e}\\x{2060}-\\x{2fff}" \
    "\\x{3001}-\\x{d7ff}\\x{e000}-\\x{10ffff}"
#define WORD_ITEMS "\\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}"
#define HEX_ITEMS "0-9A-Fa-f"

/* The items of the class that \letter stands for, if it is one that needs rewriting. */
static const char *class_items(char letter)
{
    switch (letter) {
    case 's':
        return SPACE_ITEMS;
    case 'S':
        return NOT_SPACE_ITEMS;
    case 'w':
        return WORD_ITEMS;
    case 'h':
        return HEX_ITEMS;
    default:
        return NULL;
    }
}

/* Writes an expression as PCRE2 must see it. */
struct rewriter {
    const char *p; /* the expression as the file has it */
    size_t len, at;
    struct oct_buf *out;
    size_t atom; /* where in `out` the item begins that a quantifier belongs to */
    size_t groups[MAX_GROUP_DEPTH]; /* the same of groups that are open */
    unsigned depth;
    size_t class_items; /* of the largest class so far */
};

/* A class of so many items, and of what was written for some of them since out->len was `start`. */
static void note_class(struct rewriter *w, size_t n_items, size_t start)
{
    enum { BYTES_PER_RANGE = 12 }; /* \x{10d50}-\x{10d65} has more */
    n_items += (w->out->len - start) / BYTES_PER_RANGE;
    w->class_items = n_items > w->class_items ? n_items : w->class_items;
}

static oct_status refuse(const struct rewriter *w, const char *what)
{
    char quoted[200];
    return OCT_FAIL(OCT_E_UNSUPPORTED,
                    "pre_tokenizer: the expression \"%s\" uses %s at byte %zu, which octavo does "
                    "not read as the reference does; use a tokenizer without it",
                    oct_error_quote(quoted, sizeof quoted, w->p, w->len), what, w->at);
}

static char peek(const struct rewriter *w, size_t ahead)
{
    return ahead < w->len - w->at ? w->p[w->at + ahead] : '\0';
}

static oct_status copy(struct rewriter *w, size_t n)
{
    n = n < w->len - w->at ? n : w->len - w->at;
    OCT_TRY(oct_buf_append(w->out, w->p + w->at, n));
    w->at += n;
    return OCT_OK;
}

/* At \\p{Name} or \\P{Name} of n bytes: the category as today's Unicode has it, not as PCRE2's. */
static oct_status rewrite_category(struct rewriter *w, size_t n, bool in_class)
{
    const bool negative = (peek(w, 1) == 'P') != (peek(w, 3) == '^');
    const size_t skip = peek(w, 3) == '^' ? 4 : 3;
    const char *name = w->p + w->at + skip;
    const size_t name_len = n > skip ? n - skip - 1 : 0;
    const struct oct_uni_young *y = oct_uni_young;
    while (y->category &&
           (strlen(y->category) != name_len || memcmp(y->category, name, name_len))) {
        y++;
    }
    if (!y->category || (negative && in_class)) {
        return copy(w, n);
    }
    w->at += n;
    return oct_buf_printf(w->out, in_class ? "%s\\p{%s}%s%s" : "[%s\\p{%s}%s%s",
                          negative ? "^" : "", y->category, y->items, in_class ? "" : "]");
}

/* At a backslash. */
static oct_status rewrite_escape(struct rewriter *w, bool in_class)
{
    const char c = peek(w, 1);
    const char *items = class_items(c);
    if (items) {
        w->at += 2;
        return oct_buf_printf(w->out, in_class ? "%s" : "[%s]", items);
    }
    if (c == 'W' || c == 'H') {
        if (in_class) {
            return refuse(w, "\\W or \\H inside a class");
        }
        w->at += 2;
        return oct_buf_printf(w->out, "[^%s]", c == 'W' ? WORD_ITEMS : HEX_ITEMS);
    }
    if (c == '\0' || strchr("RXCQENKkgGo", c) || (!in_class && c >= '1' && c <= '9')) {
        return refuse(w, "an escape");
    }
    size_t n = 2;
    if ((c == 'p' || c == 'P' || c == 'x') && peek(w, 2) == '{') {
        while (n < w->len - w->at && peek(w, n) != '}') {
            n++;
        }
        n++;
        if (c != 'x' && n <= w->len - w->at) {
            return rewrite_category(w, n, in_class);
        }
    }
    return copy(w, n);
}

/* At '['. */
static oct_status rewrite_class(struct rewriter *w)
{
    const size_t start = w->out->len;
    size_t n_items = 0;
    OCT_TRY(copy(w, peek(w, 1) == '^' ? 2 : 1));
    if (peek(w, 0) == ']') { /* ']' first is a member */
        w->at++;
        OCT_TRY(oct_buf_append(w->out, "\\]", 2));
    }
    for (; w->at < w->len && w->p[w->at] != ']'; n_items++) {
        const char c = w->p[w->at];
        if (c == '\\') {
            OCT_TRY(rewrite_escape(w, true));
        } else if (c == '[' && peek(w, 1) == ':') { /* a POSIX name: [:alpha:] */
            const char *close = memmem(w->p + w->at, w->len - w->at, ":]", 2);
            if (!close) {
                return refuse(w, "an open POSIX class");
            }
            OCT_TRY(copy(w, (size_t)(close + 2 - (w->p + w->at))));
        } else if (c == '[') {
            return refuse(w, "a class inside a class");
        } else if (c == '&' && peek(w, 1) == '&') {
            return refuse(w, "an intersection of classes");
        } else {
            OCT_TRY(copy(w, 1));
        }
    }
    note_class(w, n_items, start);
    return copy(w, 1);
}

/* At '{'. An interval with '+' behind it is repeated by the reference; PCRE2 would make it
 * possessive, so it gets a group of its own. */
static oct_status rewrite_interval(struct rewriter *w)
{
    size_t n = 1;
    bool comma = false;
    for (char c = peek(w, n); (c >= '0' && c <= '9') || c == ','; c = peek(w, ++n)) {
        comma = comma || c == ',';
    }
    if (peek(w, n) != '}' || n == 1) {
        w->atom = w->out->len;
        return copy(w, 1); /* not an interval: a brace */
    }
    if (peek(w, 1) == ',' || (!comma && peek(w, n + 1) == '?')) {
        return refuse(w, "an interval of a kind");
    }
    const bool repeated = peek(w, n + 1) == '+';
    OCT_TRY(copy(w, n + 1));
    if (!repeated) {
        return OCT_OK;
    }
    OCT_TRY(oct_buf_reserve(w->out, 5));
    memmove(w->out->data + w->atom + 3, w->out->data + w->atom, w->out->len - w->atom);
    memcpy(w->out->data + w->atom, "(?:", 3);
    w->out->len += 3;
    w->at++;
    return oct_buf_append(w->out, ")+", 2);
}

static oct_status rewrite(const char *p, size_t len, struct oct_buf *out, size_t *class_items)
{
    struct rewriter w = {.p = p, .len = len, .out = out};
    while (w.at < len) {
        const char c = p[w.at];
        const bool quantifier = c == '{' || c == '+' || c == '*' || c == '?';
        if (!quantifier && c != ')') {
            w.atom = out->len;
        }
        if (c == '\\') {
            const size_t start = out->len;
            OCT_TRY(rewrite_escape(&w, false));
            note_class(&w, 1, start);
        } else if (c == '[') {
            OCT_TRY(rewrite_class(&w));
        } else if (c == '{') {
            OCT_TRY(rewrite_interval(&w));
        } else if (c == '(') {
            const char kind = peek(&w, 1) == '?' ? peek(&w, 2) : '\0';
            if (peek(&w, 1) == '*' || (kind && !strchr(":=!<>i-#", kind))) {
                return refuse(&w, "a group of a kind");
            }
            if (w.depth == MAX_GROUP_DEPTH) {
                return refuse(&w, "groups nested too deep");
            }
            w.groups[w.depth++] = out->len;
            OCT_TRY(copy(&w, kind ? 2 : 1)); /* the '?' is no quantifier */
        } else {
            if (c == ')' && w.depth > 0) {
                w.atom = w.groups[--w.depth];
            }
            OCT_TRY(copy(&w, oct_utf8_step((unsigned char)c)));
        }
    }
    *class_items = w.class_items;
    return OCT_OK;
}

void oct_regex_destroy(struct oct_regex *r)
{
    if (!r) {
        return;
    }
    pcre2_code_free(r->code);
    pcre2_match_context_free(r->limits);
    pcre2_general_context_free(r->memory);
    oct_free(r->pattern);
    oct_free(r);
}

oct_status oct_regex_compile(const char *pattern, size_t len, struct oct_regex **out)
{
    if (len > MAX_PATTERN_BYTES) {
        return OCT_FAIL(OCT_E_LIMIT, "pre_tokenizer: an expression of %zu bytes; at most %d", len,
                        MAX_PATTERN_BYTES);
    }
    oct_status st = OCT_OK;
    struct oct_buf text = {0};
    pcre2_compile_context *how = NULL;
    struct oct_regex *r = oct_calloc(1, sizeof *r);
    if (!r) {
        return oct_no_memory("an expression", sizeof *r);
    }
    r->memory = pcre2_general_context_create(pcre_malloc, pcre_free, NULL);
    r->limits = r->memory ? pcre2_match_context_create(r->memory) : NULL;
    how = r->memory ? pcre2_compile_context_create(r->memory) : NULL;
    r->pattern = oct_strndup(pattern, len);
    r->pattern_len = len;
    if (!r->limits || !how || !r->pattern) {
        st = oct_no_memory("an expression", len);
        goto fail;
    }
    (void)pcre2_set_match_limit(r->limits, MAX_STEPS);
    (void)pcre2_set_depth_limit(r->limits, MAX_DEPTH);
    (void)pcre2_set_heap_limit(r->limits, MAX_HEAP_KIB);
    (void)pcre2_set_newline(how, PCRE2_NEWLINE_LF);
    (void)pcre2_set_parens_nest_limit(how, 2 * MAX_GROUP_DEPTH);
    OCT_TRY_GOTO(rewrite(pattern, len, &text, &r->class_items), st, fail);
    int error;
    size_t at;
    r->code = pcre2_compile((PCRE2_SPTR)(text.data ? text.data : ""), text.len,
                            PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C |
                                PCRE2_AUTO_CALLOUT,
                            &error, &at, how);
    if (!r->code) {
        char quoted[200];
        PCRE2_UCHAR why[120];
        (void)pcre2_get_error_message(error, why, sizeof why);
        st = error == PCRE2_ERROR_HEAP_FAILED
                 ? oct_no_memory("an expression", len)
                 : OCT_FAIL(OCT_E_FORMAT, "pre_tokenizer: the expression \"%s\" is wrong: %s",
                            oct_error_quote(quoted, sizeof quoted, pattern, len), (char *)why);
        goto fail;
    }
    /* Without JIT (no executable memory here) matching is slower and gives the same. */
    (void)pcre2_jit_compile(r->code, PCRE2_JIT_COMPLETE);
    pcre2_compile_context_free(how);
    oct_buf_free(&text);
    *out = r;
    return OCT_OK;
fail:
    pcre2_compile_context_free(how);
    oct_buf_free(&text);
    oct_regex_destroy(r);
    return st;
}

void oct_regex_run_destroy(struct oct_regex_run *m)
{
    if (m) {
        pcre2_match_data_free(m->match);
        pcre2_jit_stack_free(m->stack);
        pcre2_match_context_free(m->limits);
        oct_free(m);
    }
}

static bool take_steps(struct oct_regex_run *m, uint64_t steps)
{
    const bool enough = steps <= m->steps_left;
    m->steps_left = enough ? m->steps_left - steps : 0;
    return enough;
}

/* Called before each item of the expression. The item before may have run along the text. */
static int count_step(pcre2_callout_block *block, void *user)
{
    struct oct_regex_run *m = user;
    const size_t at = block->current_position, moved = at > m->at ? at - m->at : m->at - at;
    m->at = at;
    return take_steps(m, 1 + moved * (1 + m->regex->class_items) / ITEMS_PER_STEP)
               ? 0
               : PCRE2_ERROR_CALLOUT; /* ends the match */
}

void oct_regex_run_allow(struct oct_regex_run *m, size_t len)
{
    m->steps_left += (uint64_t)len * STEPS_PER_BYTE;
}

oct_status oct_regex_run_create(const struct oct_regex *r, struct oct_regex_run **out)
{
    struct oct_regex_run *m = oct_calloc(1, sizeof *m);
    if (m) {
        m->regex = r;
        m->limits = pcre2_match_context_copy(r->limits);
        m->match = pcre2_match_data_create_from_pattern(r->code, r->memory);
        m->stack = pcre2_jit_stack_create(32 * 1024, JIT_STACK_BYTES, r->memory);
    }
    if (!m || !m->limits || !m->match) {
        oct_regex_run_destroy(m);
        return oct_no_memory("matching an expression", 4096);
    }
    if (m->stack) {
        pcre2_jit_stack_assign(m->limits, NULL, m->stack);
    }
    m->steps_left = STEPS_AT_ONCE;
    (void)pcre2_set_callout(m->limits, count_step, m);
    *out = m;
    return OCT_OK;
}

oct_status oct_regex_find(struct oct_regex_run *m, const unsigned char *s, size_t n, size_t pos,
                          size_t *start, size_t *end, bool *found)
{
    m->at = pos;
    const int rc =
        take_steps(m, STEPS_PER_MATCH)
            ? pcre2_match(m->regex->code, s, n, pos, PCRE2_NO_UTF_CHECK, m->match, m->limits)
            : PCRE2_ERROR_CALLOUT;
    if (rc == PCRE2_ERROR_NOMATCH) {
        *found = false;
        return OCT_OK;
    }
    if (rc == PCRE2_ERROR_NOMEMORY) {
        return oct_no_memory("matching an expression", MAX_HEAP_KIB);
    }
    if (rc < 0) {
        char quoted[200];
        return OCT_FAIL(
            OCT_E_LIMIT,
            "pre_tokenizer: the expression \"%s\" takes too many steps on this text, more than "
            "%d for each byte (PCRE2 error %d)",
            oct_error_quote(quoted, sizeof quoted, m->regex->pattern, m->regex->pattern_len),
            STEPS_PER_BYTE, rc);
    }
    const PCRE2_SIZE *at = pcre2_get_ovector_pointer(m->match);
    *start = at[0];
    *end = at[1] < at[0] ? at[0] : at[1]; /* \K cannot occur; a lookbehind may not end before */
    *found = true;
    return OCT_OK;
}
