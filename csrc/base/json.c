/* SPDX-License-Identifier: Apache-2.0 */
#include "base/json.h"

#include "base/mem.h"
#include "base/utf8.h"

#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct parser {
    const char *at, *end, *start;
    const char *where;
    int depth, max_depth;
    bool nul_is_fine;
    size_t n_values;
    struct oct_buf text; /* the string being read, decoded */
};

static oct_status wrong(const struct parser *p, const char *what)
{
    size_t line = 1, column = 1;
    for (const char *c = p->start; c < p->at; c++) {
        column = *c == '\n' ? 1 : column + 1;
        line += *c == '\n';
    }
    return OCT_FAIL(OCT_E_FORMAT, "%s is not valid JSON at line %zu, column %zu: %s", p->where,
                    line, column, what);
}

static oct_status no_memory(const struct parser *p)
{
    return oct_no_memory(p->where, (size_t)(p->end - p->start));
}

static void skip_space(struct parser *p)
{
    while (p->at < p->end &&
           (*p->at == ' ' || *p->at == '\t' || *p->at == '\n' || *p->at == '\r')) {
        p->at++;
    }
}

/* The next character, 0 at the end (a NUL in the text is no JSON either). */
static char peek(const struct parser *p)
{
    return p->at < p->end ? *p->at : '\0';
}

/* ---- strings ---- */

/* Four hexadecimal digits, or -1. */
static int32_t take_hex(struct parser *p)
{
    int32_t v = 0;
    if (p->end - p->at < 4) {
        return -1;
    }
    for (int i = 0; i < 4; i++, p->at++) {
        const char c = *p->at;
        const int digit = c >= '0' && c <= '9'   ? c - '0'
                          : c >= 'a' && c <= 'f' ? c - 'a' + 10
                          : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                                 : -1;
        if (digit < 0) {
            return -1;
        }
        v = v * 16 + digit;
    }
    return v;
}

static oct_status put_code_point(struct parser *p, uint32_t c)
{
    char s[4];
    size_t n = 0;
    if (c < 0x80) {
        s[n++] = (char)c;
    } else {
        if (c < 0x800) {
            s[n++] = (char)(0xc0 | c >> 6);
        } else {
            if (c < 0x10000) {
                s[n++] = (char)(0xe0 | c >> 12);
            } else {
                s[n++] = (char)(0xf0 | c >> 18);
                s[n++] = (char)(0x80 | (c >> 12 & 0x3f));
            }
            s[n++] = (char)(0x80 | (c >> 6 & 0x3f));
        }
        s[n++] = (char)(0x80 | (c & 0x3f));
    }
    return oct_buf_append(&p->text, s, n);
}

/* Behind "\u". */
static oct_status take_unicode(struct parser *p)
{
    const int32_t a = take_hex(p);
    if (a < 0) {
        return wrong(p, "\\u needs four hexadecimal digits");
    }
    if (a == 0 && !p->nul_is_fine) {
        return wrong(p, "a string holds \\u0000, which is refused here");
    }
    if (a < 0xd800 || a > 0xdfff) {
        return put_code_point(p, (uint32_t)a);
    }
    if (a <= 0xdbff && p->end - p->at >= 6 && p->at[0] == '\\' && p->at[1] == 'u') {
        p->at += 2;
        const int32_t b = take_hex(p);
        if (b >= 0xdc00 && b <= 0xdfff) {
            return put_code_point(p, 0x10000u + ((uint32_t)(a - 0xd800) << 10) +
                                         (uint32_t)(b - 0xdc00));
        }
    }
    return wrong(p, "half of a surrogate pair in a string");
}

static oct_status take_escape(struct parser *p)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    const char c = peek(p);
    const char *found = c ? strchr(from, c) : NULL;
    if (found) {
        p->at++;
        return oct_buf_append(&p->text, to + (found - from), 1);
    }
    if (c != 'u') {
        return wrong(p, "unknown escape in a string");
    }
    p->at++;
    return take_unicode(p);
}

/* At the opening quote; the decoded string is left in p->text. */
static oct_status take_string(struct parser *p)
{
    oct_buf_clear(&p->text);
    OCT_TRY(oct_buf_reserve(&p->text, 0)); /* data is not NULL even for "" */
    p->at++;
    while (p->at < p->end && *p->at != '"') {
        if (*p->at == '\\') {
            p->at++;
            OCT_TRY(take_escape(p));
            continue;
        }
        const char *run = p->at; /* up to the next quote or escape */
        while (p->at < p->end && *p->at != '"' && *p->at != '\\') {
            const size_t n = oct_utf8_len(p->at, (size_t)(p->end - p->at));
            if (n == 0) {
                return wrong(p, "invalid UTF-8 in a string");
            }
            if ((unsigned char)*p->at < 0x20) {
                return wrong(p, "control character in a string");
            }
            p->at += n;
        }
        OCT_TRY(oct_buf_append(&p->text, run, (size_t)(p->at - run)));
    }
    if (p->at >= p->end) {
        return wrong(p, "the text ends inside a string; it was cut short");
    }
    p->at++;
    return OCT_OK;
}

/* ---- numbers ---- */

static size_t skip_digits(struct parser *p)
{
    const char *from = p->at;
    while (peek(p) >= '0' && peek(p) <= '9') {
        p->at++;
    }
    return (size_t)(p->at - from);
}

/* The text of a number as the grammar has it; *is_real if it has a fraction or an exponent. */
static oct_status scan_number(struct parser *p, bool *is_real)
{
    if (peek(p) == '-') {
        p->at++;
    }
    const char first = peek(p);
    const size_t n = skip_digits(p);
    if (n == 0 || (n > 1 && first == '0')) {
        return wrong(p, "a value was expected");
    }
    *is_real = false;
    if (peek(p) == '.') {
        p->at++;
        *is_real = true;
        if (skip_digits(p) == 0) {
            return wrong(p, "digits were expected behind the point");
        }
    }
    if (peek(p) == 'e' || peek(p) == 'E') {
        p->at++;
        *is_real = true;
        if (peek(p) == '+' || peek(p) == '-') {
            p->at++;
        }
        if (skip_digits(p) == 0) {
            return wrong(p, "digits were expected in the exponent");
        }
    }
    return OCT_OK;
}

static oct_status take_number(struct parser *p, json_t **out)
{
    const char *from = p->at;
    bool is_real;
    OCT_TRY(scan_number(p, &is_real));
    oct_buf_clear(&p->text);
    OCT_TRY(oct_buf_append(&p->text, from, (size_t)(p->at - from)));
    if (!is_real) {
        errno = 0;
        const long long v = strtoll(p->text.data, NULL, 10);
        if (errno == 0) {
            *out = json_integer(v);
            return *out ? OCT_OK : no_memory(p);
        }
    }
    /* Whatever locale the program runs in, the point is a point. glibc's "C" is static. */
    const locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (!c) {
        return no_memory(p);
    }
    const double v = strtod_l(p->text.data, NULL, c);
    freelocale(c);
    if (!isfinite(v)) {
        return wrong(p, "a number is out of range");
    }
    *out = json_real(v);
    return *out ? OCT_OK : no_memory(p);
}

/* ---- values ---- */

static oct_status take_value(struct parser *p, json_t **out);

static oct_status enter(struct parser *p)
{
    p->at++;
    if (++p->depth > p->max_depth) {
        return OCT_FAIL(OCT_E_LIMIT, "%s is nested more than %d deep (at byte %zu of the JSON)",
                        p->where, p->max_depth, (size_t)(p->at - p->start));
    }
    skip_space(p);
    return OCT_OK;
}

/* After an element: true at a comma, which is passed; otherwise *st says whether the end is there.
 */
static bool more(struct parser *p, char end, oct_status *st)
{
    skip_space(p);
    if (peek(p) == ',') {
        p->at++;
        skip_space(p);
        return true;
    }
    *st = OCT_OK;
    if (peek(p) != end) {
        *st = wrong(p, p->at >= p->end ? "the text ends inside an object or array; it was cut short"
                       : end == '}'    ? "',' or '}' was expected"
                                       : "',' or ']' was expected");
    }
    return false;
}

/* "key": value, put into the object. */
static oct_status take_member(struct parser *p, json_t *object)
{
    if (peek(p) != '"') {
        return wrong(p, "a key in quotes was expected");
    }
    OCT_TRY(take_string(p));
    if (strlen(p->text.data) != p->text.len) {
        return wrong(p, "a key holds \\u0000");
    }
    if (json_object_get(object, p->text.data)) {
        char quoted[96], text[160];
        (void)snprintf(text, sizeof text, "duplicate key \"%s\"",
                       oct_error_quote(quoted, sizeof quoted, p->text.data, p->text.len));
        return wrong(p, text);
    }
    char *key = oct_strndup(p->text.data, p->text.len);
    if (!key) {
        return no_memory(p);
    }
    json_t *value = NULL;
    skip_space(p);
    oct_status st = OCT_OK;
    if (peek(p) != ':') {
        st = wrong(p, "':' was expected");
    } else {
        p->at++;
        skip_space(p);
        st = take_value(p, &value);
    }
    if (st == OCT_OK && json_object_set_new_nocheck(object, key, value) != 0) {
        st = no_memory(p); /* the value was taken all the same */
    }
    oct_free(key);
    return st;
}

static oct_status take_object(struct parser *p, json_t **out)
{
    OCT_TRY(enter(p));
    json_t *object = json_object();
    oct_status st = object ? OCT_OK : no_memory(p);
    if (st == OCT_OK && peek(p) != '}') {
        do {
            st = take_member(p, object);
        } while (st == OCT_OK && more(p, '}', &st));
    }
    if (st != OCT_OK) {
        json_decref(object);
        return st;
    }
    p->at++;
    p->depth--;
    *out = object;
    return OCT_OK;
}

static oct_status take_array(struct parser *p, json_t **out)
{
    OCT_TRY(enter(p));
    json_t *array = json_array();
    oct_status st = array ? OCT_OK : no_memory(p);
    if (st == OCT_OK && peek(p) != ']') {
        do {
            json_t *value = NULL;
            st = take_value(p, &value);
            if (st == OCT_OK && json_array_append_new(array, value) != 0) {
                st = no_memory(p);
            }
        } while (st == OCT_OK && more(p, ']', &st));
    }
    if (st != OCT_OK) {
        json_decref(array);
        return st;
    }
    p->at++;
    p->depth--;
    *out = array;
    return OCT_OK;
}

static bool take_word(struct parser *p, const char *word)
{
    const size_t n = strlen(word);
    if ((size_t)(p->end - p->at) < n || memcmp(p->at, word, n) != 0) {
        return false;
    }
    p->at += n;
    return true;
}

/* Recursion is bounded by max_depth. */
static oct_status take_value(struct parser *p, json_t **out)
{
    if (++p->n_values > OCT_JSON_MAX_VALUES) {
        return OCT_FAIL(OCT_E_LIMIT, "%s has more than %d JSON values", p->where,
                        OCT_JSON_MAX_VALUES);
    }
    switch (peek(p)) {
    case '{':
        return take_object(p, out);
    case '[':
        return take_array(p, out);
    case '"':
        OCT_TRY(take_string(p));
        *out = json_stringn_nocheck(p->text.data, p->text.len);
        return *out ? OCT_OK : no_memory(p);
    case 't':
    case 'f':
    case 'n':
        *out = take_word(p, "true")    ? json_true()
               : take_word(p, "false") ? json_false()
               : take_word(p, "null")  ? json_null()
                                       : NULL;
        return *out ? OCT_OK : wrong(p, "a value was expected");
    default:
        return take_number(p, out);
    }
}

oct_status oct_json_parse(const char *text, size_t len, const char *where, int max_depth,
                          unsigned flags, json_t **out)
{
    struct parser p = {.at = text,
                       .end = text + len,
                       .start = text,
                       .where = where,
                       .max_depth = max_depth,
                       .nul_is_fine = (flags & OCT_JSON_NUL) != 0};
    OCT_ASSERT(max_depth <= OCT_JSON_MAX_DEPTH);
    json_t *root = NULL;
    skip_space(&p);
    oct_status st = peek(&p) == '{' || peek(&p) == '[' ? take_value(&p, &root)
                                                       : wrong(&p, "an object was expected");
    skip_space(&p);
    if (st == OCT_OK && p.at < p.end) {
        st = wrong(&p, "text follows the end of the object");
    }
    oct_buf_free(&p.text);
    if (st != OCT_OK) {
        json_decref(root);
        return st;
    }
    *out = root;
    return OCT_OK;
}

oct_status oct_json_read(const char *path, size_t max_bytes, json_t **out)
{
    struct oct_file f;
    char *text;
    size_t len;
    OCT_TRY(oct_file_open(path, &f));
    oct_status st = oct_file_slurp(&f, max_bytes, &text, &len);
    oct_file_close(&f);
    if (st == OCT_OK) {
        st = oct_json_parse(text, len, path, OCT_JSON_MAX_DEPTH, OCT_JSON_NUL, out);
        oct_free(text);
    }
    return st;
}

oct_status oct_json_load(const char *dir, const char *name, size_t max_bytes, json_t **out)
{
    struct oct_file f;
    char *text;
    size_t len;
    OCT_TRY(oct_file_open_in(dir, name, &f));
    oct_status st = oct_file_slurp(&f, max_bytes, &text, &len);
    if (st == OCT_OK) {
        json_t *root = NULL;
        st = oct_json_parse(text, len, f.path, OCT_JSON_MAX_DEPTH, 0, &root);
        oct_free(text);
        if (st == OCT_OK && !json_is_object(root)) {
            json_decref(root);
            st = OCT_FAIL(OCT_E_FORMAT, "%s is a JSON list; an object is needed", f.path);
        } else if (st == OCT_OK) {
            *out = root;
        }
    }
    oct_file_close(&f);
    return st;
}

struct json_sink {
    struct oct_buf *out;
    bool failed;
};

/* jansson goes on after a callback that failed at a key: once failed, always failed. */
static int append_json(const char *data, size_t len, void *user)
{
    struct json_sink *sink = user;
    sink->failed = sink->failed || oct_buf_append(sink->out, data, len) != OCT_OK;
    return sink->failed ? -1 : 0;
}

oct_status oct_json_append(struct oct_buf *out, const json_t *value, size_t flags)
{
    struct json_sink sink = {.out = out};
    const int failed = json_dump_callback(value, append_json, &sink, flags);
    return failed || sink.failed ? oct_no_memory("JSON output", out->len) : OCT_OK;
}
