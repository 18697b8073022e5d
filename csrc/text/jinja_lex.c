/* SPDX-License-Identifier: Apache-2.0
 *
 * jinja_lex.c - a template's source to tokens, with the whitespace control of trim_blocks and
 * lstrip_blocks. Linear in the source. */
#include "text/jinja_ast.h"
#include "text/jinja_num.h"
#include "text/jinja_utf8.h"

#include <string.h>

struct lexer {
    struct oct_template *t;
    const char *s; /* normalised source */
    uint32_t len, pos, line;
    struct oct_jtok *tok;
    uint32_t n, cap;
    bool line_starting; /* the last match ended with a newline, or nothing was matched yet */
};

/* \r\n and \r become \n, one newline at the very end is dropped: as Jinja reads a file. */
static oct_status normalise(struct oct_template *t, const char *source, size_t len)
{
    if (len > OCT_JINJA_MAX_SOURCE) {
        return OCT_FAIL(OCT_E_LIMIT, "the chat template has %zu bytes; at most %d are allowed", len,
                        OCT_JINJA_MAX_SOURCE);
    }
    if (!oct_ju_valid(source, len)) {
        return OCT_FAIL(OCT_E_FORMAT, "the chat template is not valid UTF-8");
    }
    t->text_size = 7 * len + 1; /* oct_jinja_alloc_text says why */
    t->text = oct_jinja_alloc(t, t->text_size);
    if (!t->text) {
        return OCT_E_MEM;
    }
    char *s = oct_jinja_alloc_text(t, len + 1);
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        if (source[i] == '\r') {
            s[n++] = '\n';
            i += i + 1 < len && source[i + 1] == '\n';
        } else {
            s[n++] = source[i];
        }
    }
    if (n > 0 && s[n - 1] == '\n') {
        n--;
    }
    s[n] = '\0';
    t->source = s;
    t->source_len = (uint32_t)n;
    return OCT_OK;
}

static oct_status push(struct lexer *l, enum oct_jtok_type type, uint32_t at, uint32_t end,
                       struct oct_jv value)
{
    if (l->n == l->cap) { /* the old array stays in the arena: at most as much again */
        const uint32_t cap = l->cap ? l->cap * 2 : 256;
        struct oct_jtok *tok = oct_jinja_alloc(l->t, (size_t)cap * sizeof *tok);
        if (!tok) {
            return OCT_E_MEM;
        }
        if (l->n) {
            memcpy(tok, l->tok, (size_t)l->n * sizeof *tok);
        }
        l->tok = tok;
        l->cap = cap;
    }
    l->tok[l->n++] = (struct oct_jtok){
        .type = (uint8_t)type, .line = l->line, .at = at, .end = end, .value = value};
    return OCT_OK;
}

static oct_status push_text(struct lexer *l, uint32_t at, uint32_t end)
{
    return at == end ? OCT_OK
                     : push(l, OCT_JT_DATA, at, end, oct_jv_strn(l->s + at, (size_t)(end - at)));
}

/* Bytes of white space at pos. */
static uint32_t skip_space(const struct lexer *l, uint32_t pos)
{
    uint32_t n;
    while (pos < l->len && oct_ju_is_space(oct_ju_next(l->s + pos, &n))) {
        pos += n;
    }
    return pos;
}

static void count_lines(struct lexer *l, uint32_t from, uint32_t to)
{
    for (uint32_t i = from; i < to; i++) {
        l->line += l->s[i] == '\n';
    }
}

static bool looking_at(const struct lexer *l, uint32_t pos, const char *word)
{
    const size_t n = strlen(word);
    return l->len - pos >= n && memcmp(l->s + pos, word, n) == 0;
}

/* End of a tag at pos: "-%}" with the white space behind it, "%}" with one newline (trim), "+%}".
 * Returns the position behind it, or 0 if there is none. */
static uint32_t tag_end(const struct lexer *l, uint32_t pos, const char *close, bool plus,
                        bool trim)
{
    if (pos < l->len && l->s[pos] == '-' && looking_at(l, pos + 1, close)) {
        return skip_space(l, pos + 3);
    }
    if (plus && pos < l->len && l->s[pos] == '+' && looking_at(l, pos + 1, close)) {
        return pos + 3;
    }
    if (looking_at(l, pos, close)) {
        pos += 2;
        return pos + (trim && pos < l->len && l->s[pos] == '\n');
    }
    return 0;
}

/* Where text before a tag ends once "{%-" or lstrip_blocks took its share. */
static uint32_t strip_before(const struct lexer *l, uint32_t at, uint32_t end, char sign,
                             bool is_variable)
{
    uint32_t n;
    if (sign == '-') {
        while (end > at && oct_ju_is_space(oct_ju_prev(l->s + at, end - at, &n))) {
            end -= n;
        }
        return end;
    }
    if (sign == '+' || is_variable) {
        return end;
    }
    uint32_t line = end;
    while (line > at && l->s[line - 1] != '\n') {
        line--;
    }
    if ((line > at || l->line_starting) && skip_space(l, line) >= end) {
        return line;
    }
    return end;
}

static void matched_to(struct lexer *l, uint32_t pos)
{
    l->line_starting = pos > 0 && l->s[pos - 1] == '\n';
    l->pos = pos;
}

static char sign_at(const struct lexer *l, uint32_t pos)
{
    return pos < l->len && (l->s[pos] == '-' || l->s[pos] == '+') ? l->s[pos] : '\0';
}

/* "{% raw %}" at pos: the position behind it, or 0. */
static uint32_t raw_begin(const struct lexer *l, uint32_t pos)
{
    if (!looking_at(l, pos, "{%")) {
        return 0;
    }
    pos += 2;
    pos += sign_at(l, pos) != '\0';
    pos = skip_space(l, pos);
    if (!looking_at(l, pos, "raw")) {
        return 0;
    }
    return tag_end(l, skip_space(l, pos + 3), "%}", false, false);
}

static oct_status lex_raw(struct lexer *l)
{
    const uint32_t at = l->pos;
    if (at == l->len) { /* Jinja forgives it at the very end, as it does a comment */
        return OCT_OK;
    }
    for (uint32_t i = at; i < l->len; i++) {
        if (!looking_at(l, i, "{%")) {
            continue;
        }
        const char sign = sign_at(l, i + 2);
        uint32_t pos = skip_space(l, i + 2 + (sign != '\0'));
        if (!looking_at(l, pos, "endraw")) {
            i = pos - 1; /* only white space was skipped */
            continue;
        }
        const uint32_t end = tag_end(l, skip_space(l, pos + 6), "%}", true, true);
        if (end == 0) {
            continue;
        }
        OCT_TRY(push_text(l, at, strip_before(l, at, i, sign, false)));
        count_lines(l, at, end);
        matched_to(l, end);
        return OCT_OK;
    }
    return oct_jinja_fail(l->t, l->line, at, at, "{%% raw %%} has no {%% endraw %%}");
}

static oct_status lex_comment(struct lexer *l)
{
    if (l->pos == l->len) {
        return OCT_OK;
    }
    for (uint32_t i = l->pos; i < l->len; i++) {
        const uint32_t end = tag_end(l, i, "#}", true, true);
        if (end) {
            count_lines(l, l->pos, end);
            matched_to(l, end);
            return OCT_OK;
        }
    }
    return oct_jinja_fail(l->t, l->line, l->pos, l->pos, "a comment {# has no end #}");
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'                     ? c - '0'
           : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10
                                                    : -1;
}

/* Python's unicode-escape, after its detour over ASCII: a backslash before a character that is not
 * ASCII gives that character's own escape as text. out has room for at least 3 bytes a byte. */
static oct_status unescape(struct lexer *l, uint32_t at, uint32_t end, char *out, uint32_t *out_len)
{
    static const char plain[] = "\\'\"abfnrtv", value[] = "\\'\"\a\b\f\n\r\t\v";
    uint32_t n = 0;
    for (uint32_t i = at; i < end;) {
        const char c = l->s[i];
        if (c != '\\') {
            out[n++] = c;
            i++;
            continue;
        }
        const char e = l->s[++i]; /* the lexer saw to it that something follows */
        const char *simple = e ? strchr(plain, e) : NULL;
        if (simple) {
            out[n++] = value[simple - plain];
            i++;
        } else if (e == '\n') {
            i++;
        } else if (e >= '0' && e <= '7') {
            uint32_t cp = 0;
            for (int k = 0; k < 3 && i < end && l->s[i] >= '0' && l->s[i] <= '7'; k++) {
                cp = cp * 8 + (uint32_t)(l->s[i++] - '0');
            }
            n += oct_ju_put(out + n, cp);
        } else if (e == 'x' || e == 'u' || e == 'U') {
            const int digits = e == 'x' ? 2 : e == 'u' ? 4 : 8;
            uint32_t cp = 0;
            i++;
            for (int k = 0; k < digits; k++, i++) {
                const int h = i < end ? hex_digit(l->s[i]) : -1;
                if (h < 0 || cp > 0x10ffff) {
                    return oct_jinja_fail(l->t, l->line, at, end, "a broken \\%c escape", e);
                }
                cp = cp * 16 + (uint32_t)h;
            }
            if (cp > 0x10ffff || (cp >= 0xd800 && cp < 0xe000)) {
                return oct_jinja_fail(l->t, l->line, at, end,
                                      "the escape of U+%04X, which is no character", cp);
            }
            n += oct_ju_put(out + n, cp);
        } else if (e == 'N') {
            return oct_jinja_fail(l->t, l->line, at, end,
                                  "\\N{...} escapes are not supported; write the character");
        } else if ((unsigned char)e < 0x80) { /* unknown: the backslash stays */
            out[n++] = '\\';
            out[n++] = e;
            i++;
        } else {
            static const char hex[] = "0123456789abcdef";
            uint32_t used;
            const uint32_t cp = oct_ju_next(l->s + i, &used);
            const int digits = cp < 0x100 ? 2 : cp < 0x10000 ? 4 : 8;
            out[n++] = '\\';
            out[n++] = digits == 2 ? 'x' : digits == 4 ? 'u' : 'U';
            for (int k = digits - 1; k >= 0; k--) {
                out[n++] = hex[cp >> (4 * k) & 15];
            }
            i += used;
        }
    }
    *out_len = n;
    return OCT_OK;
}

static oct_status lex_string(struct lexer *l)
{
    const char quote = l->s[l->pos];
    const uint32_t at = l->pos + 1;
    uint32_t i = at;
    bool escapes = false;
    while (i < l->len && l->s[i] != quote) {
        escapes |= l->s[i] == '\\';
        i += l->s[i] == '\\' ? 2 : 1;
    }
    if (i >= l->len) {
        return oct_jinja_fail(l->t, l->line, l->pos, l->len, "a string has no end");
    }
    struct oct_jv v = oct_jv_strn(l->s + at, (size_t)(i - at));
    if (escapes) {
        /* "\é" grows from 3 bytes to 5, "\U+10000 character" from 5 to 10: 3 a byte is enough. */
        char *text = oct_jinja_alloc_text(l->t, (size_t)(i - at) * 3);
        OCT_TRY(unescape(l, at, i, text, &v.len));
        v.u.s = text;
    }
    OCT_TRY(push(l, OCT_JT_STRING, l->pos, i + 1, v));
    count_lines(l, l->pos, i + 1);
    l->pos = i + 1;
    return OCT_OK;
}

/* Digits with single underscores between them: the position behind. */
static uint32_t digits(const struct lexer *l, uint32_t pos)
{
    while (pos < l->len && ((l->s[pos] >= '0' && l->s[pos] <= '9') ||
                            (l->s[pos] == '_' && pos + 1 < l->len && l->s[pos - 1] != '_' &&
                             l->s[pos + 1] >= '0' && l->s[pos + 1] <= '9'))) {
        pos++;
    }
    return pos;
}

static bool is_digit_at(const struct lexer *l, uint32_t pos)
{
    return pos < l->len && l->s[pos] >= '0' && l->s[pos] <= '9';
}

static uint32_t float_end(const struct lexer *l)
{
    if (l->pos > 0 && l->s[l->pos - 1] == '.') {
        return 0;
    }
    uint32_t pos = digits(l, l->pos);
    bool is_float = false;
    if (pos < l->len && l->s[pos] == '.' && is_digit_at(l, pos + 1)) {
        pos = digits(l, pos + 1);
        is_float = true;
    }
    if (pos < l->len && (l->s[pos] == 'e' || l->s[pos] == 'E')) {
        uint32_t p = pos + 1;
        p += p < l->len && (l->s[p] == '+' || l->s[p] == '-');
        if (is_digit_at(l, p)) {
            pos = digits(l, p);
            is_float = true;
        }
    }
    return is_float ? pos : 0;
}

static uint32_t int_end(const struct lexer *l, unsigned *base)
{
    const uint32_t at = l->pos;
    if (l->s[at] == '0' && at + 1 < l->len) {
        const char c = (char)(l->s[at + 1] | 0x20);
        *base = c == 'x' ? 16 : c == 'o' ? 8 : c == 'b' ? 2 : 0;
        uint32_t pos = at + 2;
        while (*base && pos < l->len) {
            const uint32_t d = pos + (l->s[pos] == '_');
            const int h = d < l->len ? hex_digit(l->s[d]) : -1;
            if (h < 0 || h >= (int)*base) {
                break;
            }
            pos = d + 1;
        }
        if (*base && pos > at + 2) {
            return pos;
        }
    }
    *base = 10;
    if (l->s[at] != '0') {
        return digits(l, at);
    }
    uint32_t pos = at + 1; /* zeros only */
    while (pos < l->len) {
        const uint32_t d = pos + (l->s[pos] == '_');
        if (d >= l->len || l->s[d] != '0') {
            break;
        }
        pos = d + 1;
    }
    return pos;
}

static oct_status lex_number(struct lexer *l)
{
    const uint32_t at = l->pos;
    uint32_t end = float_end(l);
    struct oct_jv v;
    enum oct_jtok_type type = OCT_JT_FLOAT;
    if (end) {
        double f;
        if (!oct_jnum_parse_float(l->s + at, end - at, &f)) {
            return oct_jinja_fail(l->t, l->line, at, end, "a number that cannot be read");
        }
        v = oct_jv_float(f);
    } else {
        unsigned base;
        end = int_end(l, &base);
        int64_t i = 0;
        for (uint32_t p = base == 10 ? at : at + 2; p < end; p++) {
            if (l->s[p] != '_' && (__builtin_mul_overflow(i, (int64_t)base, &i) ||
                                   __builtin_add_overflow(i, hex_digit(l->s[p]), &i))) {
                return oct_jinja_fail(l->t, l->line, at, end, "an integer over 64 bits");
            }
        }
        v = oct_jv_int(i);
        type = OCT_JT_INT;
    }
    OCT_TRY(push(l, type, at, end, v));
    l->pos = end;
    return OCT_OK;
}

static oct_status lex_name(struct lexer *l)
{
    const uint32_t at = l->pos;
    uint32_t n, end = at;
    while (end < l->len && oct_ju_is_word(oct_ju_next(l->s + end, &n))) {
        end += n;
    }
    OCT_TRY(push(l, OCT_JT_NAME, at, end, oct_jv_strn(l->s + at, (size_t)(end - at))));
    l->pos = end;
    return OCT_OK;
}

static enum oct_jtok_type operator_at(const char *s, uint32_t *len)
{
    static const struct {
        char text[3];
        uint8_t type;
    } op[] = {
        {"**", OCT_JT_POW},     {"//", OCT_JT_FLOORDIV}, {"==", OCT_JT_EQ},    {"!=", OCT_JT_NE},
        {">=", OCT_JT_GE},      {"<=", OCT_JT_LE},       {"+", OCT_JT_ADD},    {"-", OCT_JT_SUB},
        {"/", OCT_JT_DIV},      {"*", OCT_JT_MUL},       {"%", OCT_JT_MOD},    {"~", OCT_JT_TILDE},
        {"[", OCT_JT_LBRACKET}, {"]", OCT_JT_RBRACKET},  {"(", OCT_JT_LPAREN}, {")", OCT_JT_RPAREN},
        {"{", OCT_JT_LBRACE},   {"}", OCT_JT_RBRACE},    {">", OCT_JT_GT},     {"<", OCT_JT_LT},
        {"=", OCT_JT_ASSIGN},   {".", OCT_JT_DOT},       {":", OCT_JT_COLON},  {"|", OCT_JT_PIPE},
        {",", OCT_JT_COMMA},    {";", OCT_JT_SEMICOLON},
    };
    for (size_t i = 0; i < sizeof op / sizeof *op; i++) {
        const size_t n = strlen(op[i].text);
        if (strncmp(s, op[i].text, n) == 0) { /* the source ends with NUL */
            *len = (uint32_t)n;
            return (enum oct_jtok_type)op[i].type;
        }
    }
    return OCT_JT_EOF;
}

/* Tracks open brackets in `open` (a stack as deep as the parser would accept). */
static oct_status lex_operator(struct lexer *l, char *open, uint32_t *n_open)
{
    uint32_t len = 0;
    const uint32_t at = l->pos;
    const enum oct_jtok_type type = operator_at(l->s + at, &len);
    switch (type) {
    case OCT_JT_EOF:
        return oct_jinja_fail(l->t, l->line, at, at + 1, "an unexpected character");
    case OCT_JT_LPAREN:
    case OCT_JT_LBRACKET:
    case OCT_JT_LBRACE:
        if (*n_open == OCT_JINJA_MAX_PARSE_DEPTH) {
            return OCT_FAIL(OCT_E_LIMIT,
                            "chat template, line %u: more than %d brackets inside each other",
                            l->line, OCT_JINJA_MAX_PARSE_DEPTH);
        }
        open[(*n_open)++] = type == OCT_JT_LPAREN ? ')' : type == OCT_JT_LBRACKET ? ']' : '}';
        break;
    case OCT_JT_RPAREN:
    case OCT_JT_RBRACKET:
    case OCT_JT_RBRACE:
        if (*n_open == 0) {
            return oct_jinja_fail(l->t, l->line, at, at + 1, "a bracket that was never opened");
        }
        if (open[--*n_open] != l->s[at]) {
            return oct_jinja_fail(l->t, l->line, at, at + 1, "expected '%c'", open[*n_open]);
        }
        break;
    default:
        break;
    }
    OCT_TRY(push(l, type, at, at + len, (struct oct_jv){0}));
    l->pos += len;
    return OCT_OK;
}

static oct_status lex_tag(struct lexer *l, bool is_variable)
{
    char open[OCT_JINJA_MAX_PARSE_DEPTH];
    uint32_t n_open = 0;
    const uint32_t begin = l->pos - 2, begin_line = l->line;
    while (l->pos < l->len) {
        if (n_open == 0) {
            const uint32_t end = is_variable ? tag_end(l, l->pos, "}}", false, false)
                                             : tag_end(l, l->pos, "%}", true, true);
            if (end) {
                OCT_TRY(push(l, is_variable ? OCT_JT_VAR_END : OCT_JT_BLOCK_END, l->pos, end,
                             (struct oct_jv){0}));
                count_lines(l, l->pos, end);
                matched_to(l, end);
                return OCT_OK;
            }
        }
        const uint32_t space = skip_space(l, l->pos);
        if (space > l->pos) {
            count_lines(l, l->pos, space);
            l->pos = space;
            continue;
        }
        const char c = l->s[l->pos];
        uint32_t n;
        if (c >= '0' && c <= '9') {
            OCT_TRY(lex_number(l));
        } else if (oct_ju_is_word(oct_ju_next(l->s + l->pos, &n))) {
            OCT_TRY(lex_name(l));
        } else if (c == '\'' || c == '"') {
            OCT_TRY(lex_string(l));
        } else {
            OCT_TRY(lex_operator(l, open, &n_open));
        }
    }
    return oct_jinja_fail(l->t, begin_line, begin, l->len, "a tag that is not closed with %s",
                          is_variable ? "}}" : "%}");
}

static oct_status lex_all(struct lexer *l)
{
    while (l->pos < l->len) {
        const uint32_t at = l->pos;
        uint32_t i = at;
        while (i < l->len && !(l->s[i] == '{' && i + 1 < l->len &&
                               (l->s[i + 1] == '%' || l->s[i + 1] == '{' || l->s[i + 1] == '#'))) {
            i++;
        }
        if (i == l->len) {
            OCT_TRY(push_text(l, at, i));
            l->pos = i;
            break;
        }
        const char kind = l->s[i + 1], sign = sign_at(l, i + 2);
        OCT_TRY(push_text(l, at, strip_before(l, at, i, sign, kind == '{')));
        count_lines(l, at, i);
        const uint32_t raw = raw_begin(l, i);
        if (raw) {
            count_lines(l, i, raw);
            matched_to(l, raw);
            OCT_TRY(lex_raw(l));
            continue;
        }
        matched_to(l, i + 2 + (sign != '\0'));
        if (kind == '#') {
            OCT_TRY(lex_comment(l));
            continue;
        }
        OCT_TRY(push(l, kind == '{' ? OCT_JT_VAR_BEGIN : OCT_JT_BLOCK_BEGIN, i, l->pos,
                     (struct oct_jv){0}));
        OCT_TRY(lex_tag(l, kind == '{'));
    }
    return push(l, OCT_JT_EOF, l->len, l->len, (struct oct_jv){0});
}

oct_status oct_jinja_lex(struct oct_template *t, const char *source, size_t len,
                         struct oct_jtok **tokens, uint32_t *n_tokens)
{
    OCT_TRY(normalise(t, source, len));
    struct lexer l = {
        .t = t, .s = t->source, .len = t->source_len, .line = 1, .line_starting = true};
    OCT_TRY(lex_all(&l));
    *tokens = l.tok;
    *n_tokens = l.n;
    return OCT_OK;
}
