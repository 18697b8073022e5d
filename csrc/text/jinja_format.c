/* SPDX-License-Identifier: Apache-2.0
 *
 * jinja_format.c - "..." % values and "...".format(values). What Python can and this cannot is
 * refused as unsupported, never written differently. */
#include "text/jinja_num.h"
#include "text/jinja_run.h"
#include "text/jinja_utf8.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* One conversion, whichever way it was written. */
struct spec {
    uint32_t fill; /* code point */
    char align;    /* '<' '>' '^' '=', 0: not given */
    char sign;     /* '+', ' ', 0 */
    bool alt;
    char group;               /* ',' or '_' */
    int64_t width, precision; /* -1: not given */
    char type;                /* 0: not given */
};

enum { MAX_WIDTH = 100000, MAX_PRECISION = 300, NUMBER_BYTES = 1100 };

static oct_status bad_format(struct oct_jr *r, const char *why)
{
    return oct_jr_fail(r, OCT_E_FORMAT, "a format string is wrong: %s", why);
}

static oct_status unsupported(struct oct_jr *r)
{
    return oct_jr_fail(r, OCT_E_UNSUPPORTED, "this format conversion is not supported");
}

static oct_status put_fill(struct oct_jr *r, uint32_t cp, int64_t n)
{
    char text[4];
    const uint32_t len = oct_ju_put(text, cp);
    OCT_TRY(oct_jr_charge(r, n > 0 ? (uint64_t)n / 8 : 0));
    for (int64_t i = 0; i < n; i++) {
        OCT_TRY(oct_jr_put(r, text, len));
    }
    return OCT_OK;
}

/* head (sign and prefix) and body, padded; fill goes between them for '='. */
static oct_status put_padded(struct oct_jr *r, const struct spec *s, const char *head,
                             const char *body, size_t body_len, char default_align)
{
    const char align = s->align ? s->align : default_align;
    const int64_t len = (int64_t)strlen(head) + (int64_t)oct_ju_count(body, body_len);
    const int64_t pad = s->width > len ? s->width - len : 0;
    const int64_t left = align == '>' ? pad : align == '^' ? pad / 2 : 0;
    OCT_TRY(oct_jr_charge_bytes(r, body_len));
    OCT_TRY(put_fill(r, s->fill, left));
    OCT_TRY(oct_jr_put(r, head, strlen(head)));
    OCT_TRY(put_fill(r, s->fill, align == '=' ? pad : 0));
    OCT_TRY(oct_jr_put(r, body, body_len));
    return put_fill(r, s->fill, align == '<' || align == '^' ? pad - left : 0);
}

static oct_status put_string(struct oct_jr *r, const struct spec *s, const char *text, size_t len)
{
    if (s->precision >= 0) {
        len = oct_ju_offset(text, len, (size_t)s->precision);
    }
    return put_padded(r, s, "", text, len, '<');
}

/* Puts commas or underscores into the leading digits of body. */
static oct_status group_digits(struct oct_jr *r, char group, unsigned every, char *body,
                               size_t size)
{
    char copy[NUMBER_BYTES];
    const size_t len = strlen(body);
    size_t digits = 0, at = 0;
    while (digits < len && body[digits] != '.' && body[digits] != 'e' && body[digits] != '%') {
        digits++;
    }
    if (len + digits / every + 1 >= size) {
        return unsupported(r);
    }
    for (size_t i = 0; i < len; i++) {
        if (i > 0 && i < digits && (digits - i) % every == 0) {
            copy[at++] = group;
        }
        copy[at++] = body[i];
    }
    memcpy(body, copy, at);
    body[at] = '\0';
    return OCT_OK;
}

static void sign_of(const struct spec *s, bool negative, char *head)
{
    const char c = negative ? '-' : s->sign;
    head[0] = c;
    head[c != 0] = '\0';
}

static oct_status put_int(struct oct_jr *r, const struct spec *s, int64_t i, bool percent_style)
{
    char body[NUMBER_BYTES], head[8];
    const char type = s->type ? s->type : 'd';
    const uint64_t u = i < 0 ? 0 - (uint64_t)i : (uint64_t)i;
    size_t n = 0;
    sign_of(s, i < 0, head);
    if (type == 'b') {
        int top = 63;
        while (top > 0 && !(u >> top & 1)) {
            top--;
        }
        for (; top >= 0; top--) {
            body[n++] = (char)('0' + (u >> top & 1));
        }
        body[n] = '\0';
    } else {
        n = (size_t)snprintf(body, sizeof body,
                             type == 'x'   ? "%" PRIx64
                             : type == 'X' ? "%" PRIX64
                             : type == 'o' ? "%" PRIo64
                                           : "%" PRIu64,
                             u);
    }
    if (s->alt && type != 'd') {
        const size_t at = strlen(head);
        head[at] = '0';
        head[at + 1] = type;
        head[at + 2] = '\0';
    }
    if (percent_style && s->precision > (int64_t)n) { /* %.5d: zeros in front of the digits */
        if (s->precision >= NUMBER_BYTES) {
            return unsupported(r);
        }
        const size_t zeros = (size_t)s->precision - n;
        memmove(body + zeros, body, n + 1);
        memset(body, '0', zeros);
    }
    if (s->group) {
        if (s->fill == '0' && s->align == '=') { /* the zeros would be grouped too */
            return unsupported(r);
        }
        OCT_TRY(group_digits(r, s->group, type == 'd' ? 3 : 4, body, sizeof body));
    }
    return put_padded(r, s, head, body, strlen(body), '>');
}

static oct_status put_float(struct oct_jr *r, const struct spec *s, double f)
{
    char body[NUMBER_BYTES], head[8];
    char type = s->type;
    const bool upper = type == 'E' || type == 'F' || type == 'G', percent = type == '%';
    sign_of(s, signbit(f) && !isnan(f), head);
    const double v = percent ? fabs(f) * 100 : fabs(f);
    if (type == 0) { /* str() with a sign and padding */
        if (s->precision >= 0) {
            return unsupported(r);
        }
        (void)oct_jnum_repr(v, body);
    } else if (!isfinite(v)) {
        (void)snprintf(body, sizeof body, "%s%s",
                       isnan(v) ? (upper ? "NAN" : "nan") : (upper ? "INF" : "inf"),
                       percent ? "%" : "");
    } else {
        const int64_t precision = s->precision < 0 ? 6 : s->precision;
        if (precision > MAX_PRECISION) {
            return unsupported(r);
        }
        const char conv = percent ? 'f' : type == 'F' ? 'f' : type;
        const int n = oct_jnum_print(body, sizeof body - 1, conv, (int)precision, v, s->alt);
        if (n < 0 || (size_t)n >= sizeof body - 1) {
            return unsupported(r);
        }
        if (percent) {
            body[n] = '%';
            body[n + 1] = '\0';
        }
    }
    if (s->group && isfinite(v)) {
        if (s->fill == '0' && s->align == '=') {
            return unsupported(r);
        }
        OCT_TRY(group_digits(r, s->group, 3, body, sizeof body));
    }
    return put_padded(r, s, head, body, strlen(body), '>');
}

/* ---- % ---- */

struct percent {
    const struct oct_jv *args;
    uint32_t used, n; /* of a tuple; a single value counts as one */
    bool mapping;     /* nothing complains about what was not used */
};

static oct_status next_arg(struct oct_jr *r, struct percent *p, const struct oct_jv **out)
{
    if (p->used >= p->n) {
        return bad_format(r, "not enough arguments");
    }
    *out = p->args->type == OCT_JV_TUPLE ? &p->args->u.list->items[p->used] : p->args;
    p->used++;
    return OCT_OK;
}

/* Digits or * at *at. */
static oct_status percent_number(struct oct_jr *r, struct percent *p, const struct oct_jv *f,
                                 uint32_t *at, int64_t *out)
{
    if (*at < f->len && f->u.s[*at] == '*') {
        const struct oct_jv *arg = NULL;
        ++*at;
        OCT_TRY(next_arg(r, p, &arg));
        if (!oct_jv_is_int(arg, out)) {
            return bad_format(r, "* needs an integer");
        }
        if (*out > MAX_WIDTH || *out < -MAX_WIDTH) {
            return bad_format(r, "a width over 100000");
        }
        return OCT_OK;
    }
    for (; *at < f->len && f->u.s[*at] >= '0' && f->u.s[*at] <= '9'; ++*at) {
        *out = (*out < 0 ? 0 : *out) * 10 + (f->u.s[*at] - '0');
        if (*out > MAX_WIDTH) {
            return bad_format(r, "a width over 100000");
        }
    }
    return OCT_OK;
}

/* Reads the flags, width and precision behind a '%'. */
static oct_status percent_spec(struct oct_jr *r, struct percent *p, const struct oct_jv *f,
                               uint32_t *at, struct spec *s)
{
    *s = (struct spec){.fill = ' ', .align = '>', .width = -1, .precision = -1};
    bool left = false, zero = false;
    for (; *at < f->len && f->u.s[*at] && strchr("-+ #0", f->u.s[*at]); ++*at) {
        const char c = f->u.s[*at];
        left |= c == '-';
        zero |= c == '0';
        s->alt |= c == '#';
        s->sign = c == '+' || (c == ' ' && s->sign == 0) ? c : s->sign;
    }
    OCT_TRY(percent_number(r, p, f, at, &s->width));
    if (s->width < -1) {
        left = true;
        s->width = -s->width;
    }
    if (*at < f->len && f->u.s[*at] == '.') {
        ++*at;
        s->precision = 0;
        OCT_TRY(percent_number(r, p, f, at, &s->precision));
        s->precision = s->precision < 0 ? 0 : s->precision;
    }
    while (*at < f->len && strchr("hlL", f->u.s[*at]) && f->u.s[*at]) {
        ++*at;
    }
    s->align = left ? '<' : '>';
    if (zero && !left) {
        s->fill = '0';
        s->align = '=';
    }
    return OCT_OK;
}

static oct_status percent_text(struct oct_jr *r, const struct spec *s, const struct oct_jv *arg)
{
    struct spec t = *s;
    t.fill = ' ';
    t.align = t.align == '=' ? '>' : t.align;
    const size_t mark = r->out.len;
    struct oct_jv text;
    OCT_TRY(s->type == 'r' ? oct_jv_write_repr(r, arg) : oct_jv_write_str(r, arg));
    OCT_TRY(oct_jr_take(r, mark, &text));
    return put_string(r, &t, text.u.s, text.len);
}

static oct_status percent_char(struct oct_jr *r, struct spec *s, const struct oct_jv *arg)
{
    char text[4];
    int64_t cp;
    uint32_t n = 0;
    if (oct_jv_is_int(arg, &cp)) {
        if (cp < 0 || cp > 0x10ffff || (cp >= 0xd800 && cp < 0xe000)) {
            return bad_format(r, "%c needs a character");
        }
        n = oct_ju_put(text, (uint32_t)cp);
    } else if (arg->type == OCT_JV_STR && arg->len > 0 && oct_ju_count(arg->u.s, arg->len) == 1) {
        n = arg->len;
        memcpy(text, arg->u.s, n);
    } else {
        return bad_format(r, "%c needs a character");
    }
    s->fill = ' ';
    s->align = s->align == '=' ? '>' : s->align;
    return put_padded(r, s, "", text, n, '>');
}

static oct_status percent_one(struct oct_jr *r, struct spec *s, const struct oct_jv *arg)
{
    int64_t i;
    switch (s->type) {
    case 's':
    case 'r':
        return percent_text(r, s, arg);
    case 'c':
        return percent_char(r, s, arg);
    case 'd':
    case 'i':
    case 'u':
        s->type = 'd';
        if (arg->type == OCT_JV_FLOAT && isfinite(arg->u.f) && fabs(arg->u.f) >= 9e18) {
            return oct_jr_fail(r, OCT_E_LIMIT, "an integer over 64 bits");
        }
        if (arg->type == OCT_JV_FLOAT && fabs(arg->u.f) < 9e18) {
            return put_int(r, s, (int64_t)arg->u.f, true);
        }
        __attribute__((fallthrough));
    case 'x':
    case 'X':
    case 'o':
        if (!oct_jv_is_int(arg, &i)) {
            return bad_format(r, "a number is required");
        }
        return put_int(r, s, i, true);
    case 'e':
    case 'E':
    case 'f':
    case 'F':
    case 'g':
    case 'G':
        if (!oct_jv_is_num(arg)) {
            return bad_format(r, "a number is required");
        }
        return put_float(r, s, oct_jv_num(arg));
    default:
        return unsupported(r);
    }
}

static oct_status percent_all(struct oct_jr *r, const struct oct_jv *f, struct percent *p)
{
    uint32_t from = 0, at = 0;
    while (at < f->len) {
        if (f->u.s[at] != '%') {
            at++;
            continue;
        }
        OCT_TRY(oct_jr_put(r, f->u.s + from, at - from));
        OCT_TRY(oct_jr_charge(r, 1));
        at++;
        struct oct_jv keyed;
        const struct oct_jv *arg = NULL;
        if (at < f->len && f->u.s[at] == '(') {
            const char *end = memchr(f->u.s + at, ')', f->len - at);
            if (!end || p->args->type != OCT_JV_DICT) {
                return bad_format(r, "a named value needs a dict");
            }
            const struct oct_jv key =
                oct_jv_strn(f->u.s + at + 1, (size_t)(end - (f->u.s + at + 1)));
            struct oct_jv *val;
            OCT_TRY(oct_jdict_get(r, p->args->u.dict, &key, &val));
            if (!val) {
                return bad_format(r, "a named value that is not there");
            }
            keyed = *val;
            arg = &keyed;
            at = (uint32_t)(end - f->u.s) + 1;
        }
        struct spec s;
        OCT_TRY(percent_spec(r, p, f, &at, &s));
        if (at >= f->len) {
            return bad_format(r, "it ends behind %");
        }
        s.type = f->u.s[at++];
        from = at;
        if (s.type == '%') {
            OCT_TRY(oct_jr_put(r, "%", 1));
            continue;
        }
        OCT_TRY(arg ? OCT_OK : next_arg(r, p, &arg));
        OCT_TRY(percent_one(r, &s, arg));
    }
    return oct_jr_put(r, f->u.s + from, f->len - from);
}

oct_status oct_jv_percent(struct oct_jr *r, const struct oct_jv *fmt, const struct oct_jv *args,
                          struct oct_jv *out)
{
    if (fmt->flags & OCT_JV_MARKUP) {
        return unsupported(r);
    }
    struct percent p = {.args = args, .n = 1};
    OCT_TRY(oct_jv_load(r, args));
    p.n = args->type == OCT_JV_TUPLE ? args->u.list->n : 1;
    p.mapping = args->type == OCT_JV_DICT || args->type == OCT_JV_LIST ||
                args->type == OCT_JV_RANGE || args->type == OCT_JV_UNDEF;
    const size_t mark = r->out.len;
    OCT_TRY(percent_all(r, fmt, &p));
    if (p.used < p.n && !p.mapping) {
        return bad_format(r, "not all arguments were used");
    }
    return oct_jr_take(r, mark, out);
}

/* ---- format ---- */

/* [[fill]align][sign][#][0][width][,][.precision][type] */
static oct_status parse_spec(struct oct_jr *r, const char *text, uint32_t len, struct spec *s)
{
    uint32_t at = 0, n = 1;
    *s = (struct spec){.fill = ' ', .width = -1, .precision = -1};
    if (len) {
        (void)oct_ju_next(text, &n);
    }
    if (n < len && strchr("<>^=", text[n]) && text[n]) {
        s->fill = oct_ju_next(text, &n);
        s->align = text[n];
        at = n + 1;
    } else if (len && text[0] && strchr("<>^=", text[0])) {
        s->align = text[0];
        at = 1;
    }
    if (at < len && (text[at] == '+' || text[at] == '-' || text[at] == ' ')) {
        s->sign = text[at] == '-' ? 0 : text[at];
        at++;
    }
    if (at < len && text[at] == '#') {
        s->alt = true;
        at++;
    }
    if (at < len && text[at] == '0') {
        if (!s->align) {
            s->fill = '0';
            s->align = '=';
        } else if (s->fill == ' ') {
            s->fill = '0';
        }
        at++;
    }
    for (; at < len && text[at] >= '0' && text[at] <= '9'; at++) {
        s->width = (s->width < 0 ? 0 : s->width) * 10 + (text[at] - '0');
        if (s->width > MAX_WIDTH) {
            return bad_format(r, "a width over 100000");
        }
    }
    if (at < len && (text[at] == ',' || text[at] == '_')) {
        s->group = text[at++];
    }
    if (at < len && text[at] == '.') {
        const uint32_t from = ++at;
        s->precision = 0;
        for (; at < len && text[at] >= '0' && text[at] <= '9'; at++) {
            s->precision = s->precision * 10 + (text[at] - '0');
            if (s->precision > MAX_WIDTH) {
                return bad_format(r, "a precision over 100000");
            }
        }
        if (at == from) {
            return bad_format(r, "a precision is missing");
        }
    }
    if (at < len) {
        s->type = text[at++];
    }
    return at < len ? bad_format(r, "an invalid format specifier") : OCT_OK;
}

static oct_status format_value(struct oct_jr *r, const struct oct_jv *v, const char *text,
                               uint32_t len)
{
    struct spec s;
    int64_t i;
    if (len == 0) {
        return oct_jv_write_str(r, v);
    }
    OCT_TRY(parse_spec(r, text, len, &s));
    if (v->type == OCT_JV_STR) {
        if ((s.type && s.type != 's') || s.sign || s.group || s.alt ||
            (s.align == '=' && s.fill != '0')) {
            return bad_format(r, "a specifier that does not fit a string");
        }
        if (s.align == '=') {
            s.align = '<'; /* "05" pads a string with zeros on its right */
        }
        return put_string(r, &s, v->u.s, v->len);
    }
    if (oct_jv_is_int(v, &i) && (s.type == 0 || strchr("dxXob", s.type))) {
        if (s.precision >= 0) {
            return bad_format(r, "no precision for integers");
        }
        if (s.group == ',' && s.type && s.type != 'd') {
            return bad_format(r, "no ',' with this type");
        }
        return put_int(r, &s, i, false);
    }
    if (oct_jv_is_num(v) && (s.type == 0 || strchr("eEfFgG%", s.type))) {
        return put_float(r, &s, oct_jv_num(v));
    }
    if (oct_jv_is_num(v) && (s.type == 'n' || s.type == 'c')) {
        return unsupported(r);
    }
    return bad_format(r, "a specifier that does not fit the value");
}

struct fields {
    const struct oct_jargs *args;
    uint32_t next; /* automatic number */
    bool automatic, manual;
};

/* The value of "name.attr[item]". */
static oct_status field_value(struct oct_jr *r, struct fields *fl, const char *s, uint32_t len,
                              struct oct_jv *out)
{
    uint32_t at = 0;
    int64_t index = 0;
    bool digits = true;
    while (at < len && s[at] != '.' && s[at] != '[') {
        digits = digits && s[at] >= '0' && s[at] <= '9' && at < 6;
        index = digits ? index * 10 + (s[at] - '0') : 0;
        at++;
    }
    if (at == 0 || digits) {
        *(at == 0 ? &fl->automatic : &fl->manual) = true;
        if (fl->automatic && fl->manual) {
            return bad_format(r, "automatic and manual field numbers");
        }
        const uint32_t i = at == 0 ? fl->next++ : (uint32_t)index;
        if (i >= fl->args->n_pos) {
            return bad_format(r, "a field number out of range");
        }
        *out = fl->args->pos[i];
    } else {
        const struct oct_jv name = oct_jv_strn(s, at);
        uint32_t i = 0;
        while (i < fl->args->n_kw &&
               (fl->args->names[i].len != name.len || memcmp(fl->args->names[i].u.s, s, at) != 0)) {
            i++;
        }
        if (i == fl->args->n_kw) {
            return bad_format(r, "a field that was not given");
        }
        *out = fl->args->kw[i];
    }
    while (at < len) {
        const bool item = s[at++] == '[';
        const uint32_t from = at;
        while (at < len && (item ? s[at] != ']' : s[at] != '.' && s[at] != '[')) {
            at++;
        }
        const struct oct_jv obj = *out;
        struct oct_jv key = oct_jv_strn(s + from, at - from);
        if (at == from || (item && at == len)) {
            return bad_format(r, "an empty attribute");
        }
        if (item) {
            int64_t i;
            if (key.u.s[0] >= '0' && key.u.s[0] <= '9' &&
                oct_jnum_parse_int(key.u.s, key.len, 10, &i) == OCT_JNUM_OK) {
                key = oct_jv_int(i);
            }
            at++;
            if (at < len && s[at] != '.' && s[at] != '[') {
                return bad_format(r, "something behind ']'");
            }
        }
        OCT_TRY(item ? oct_jv_getitem(r, &obj, &key, out) : oct_jv_getattr(r, &obj, &key, out));
    }
    return OCT_OK;
}

static oct_status format_field(struct oct_jr *r, struct fields *fl, const char *s, uint32_t len)
{
    uint32_t name = 0;
    bool in_item = false;
    while (name < len && (in_item || (s[name] != '!' && s[name] != ':'))) {
        in_item = s[name] == '[' || (in_item && s[name] != ']');
        name++;
    }
    struct oct_jv v;
    OCT_TRY(field_value(r, fl, s, name, &v));
    uint32_t at = name;
    if (at < len && s[at] == '!') {
        if (at + 1 >= len || (s[at + 1] != 's' && s[at + 1] != 'r') ||
            (at + 2 < len && s[at + 2] != ':')) {
            return at + 1 < len && s[at + 1] == 'a' ? unsupported(r)
                                                    : bad_format(r, "an unknown conversion");
        }
        const size_t mark = r->out.len;
        const struct oct_jv from = v;
        OCT_TRY(s[at + 1] == 'r' ? oct_jv_write_repr(r, &from) : oct_jv_write_str(r, &from));
        OCT_TRY(oct_jr_take(r, mark, &v));
        at += 2;
    }
    at += at < len; /* ':' */
    return format_value(r, &v, s + at, len - at);
}

oct_status oct_jv_format(struct oct_jr *r, const struct oct_jv *fmt, const struct oct_jargs *args,
                         struct oct_jv *out)
{
    if (fmt->flags & OCT_JV_MARKUP) {
        return unsupported(r);
    }
    const size_t mark = r->out.len;
    const char *s = fmt->u.s;
    struct fields fl = {.args = args};
    for (uint32_t at = 0; at < fmt->len; at++) {
        const char c = s[at];
        const bool doubled = at + 1 < fmt->len && s[at + 1] == c;
        if (c != '{' && c != '}') {
            uint32_t end = at;
            while (end < fmt->len && s[end] != '{' && s[end] != '}') {
                end++;
            }
            OCT_TRY(oct_jr_put(r, s + at, end - at));
            at = end - 1;
            continue;
        }
        if (doubled) {
            OCT_TRY(oct_jr_put(r, &c, 1));
            at++;
            continue;
        }
        const uint32_t from = at + 1;
        uint32_t end = from;
        while (end < fmt->len && s[end] != '}' && s[end] != '{') {
            end++;
        }
        if (c == '}' || end == fmt->len) {
            return bad_format(r, "a single brace");
        }
        if (s[end] == '{') { /* a field inside a specifier */
            return unsupported(r);
        }
        OCT_TRY(oct_jr_charge(r, 1));
        OCT_TRY(format_field(r, &fl, s + from, end - from));
        at = end;
    }
    return oct_jr_take(r, mark, out);
}
