/* SPDX-License-Identifier: Apache-2.0
 *
 * jinja_filter_text.c - filters of text and numbers. */
#include "text/jinja_filter.h"
#include "text/jinja_num.h"
#include "text/jinja_str.h"
#include "text/jinja_utf8.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define FILTER(name) \
    oct_status name(struct oct_jr *r, const struct oct_jv *v, const struct oct_jv *p, \
                    struct oct_jv *out)

/* ---- case and space ---- */

static oct_status case_filter(struct oct_jr *r, const struct oct_jv *v, enum oct_jstr_case how,
                              struct oct_jv *out)
{
    struct oct_jv s;
    OCT_TRY(oct_jv_str(r, v, &s));
    return oct_jstr_case(r, &s, how, out);
}

FILTER(oct_jf_upper)
{
    (void)p;
    return case_filter(r, v, OCT_JSTR_UPPER, out);
}

FILTER(oct_jf_lower)
{
    (void)p;
    return case_filter(r, v, OCT_JSTR_LOWER, out);
}

FILTER(oct_jf_capitalize)
{
    (void)p;
    return case_filter(r, v, OCT_JSTR_CAPITALIZE, out);
}

/* Jinja's own idea of words: they begin behind runs of -, space and ( { [ <. */
static bool between_words(uint32_t cp)
{
    return cp == '-' || cp == '(' || cp == '{' || cp == '[' || cp == '<' || oct_ju_is_space(cp);
}

FILTER(oct_jf_title)
{
    (void)p;
    struct oct_jv s;
    OCT_TRY(oct_jv_str(r, v, &s));
    const size_t mark = r->out.len;
    uint32_t n;
    for (size_t i = 0; i < s.len;) {
        const bool gap = between_words(oct_ju_next(s.u.s + i, &n));
        size_t end = i + n;
        while (end < s.len) {
            uint32_t k;
            if (between_words(oct_ju_next(s.u.s + end, &k)) != gap) {
                break;
            }
            end += k;
        }
        OCT_TRY(oct_jstr_put_case(r, s.u.s + i, n, OCT_JSTR_UPPER));
        OCT_TRY(oct_jstr_put_case(r, s.u.s + i + n, end - i - n, OCT_JSTR_LOWER));
        OCT_TRY(oct_jr_charge(r, 1));
        i = end;
    }
    return oct_jr_take(r, mark, out);
}

FILTER(oct_jf_trim)
{
    struct oct_jv s;
    OCT_TRY(oct_jv_str(r, v, &s));
    return oct_jstr_strip(r, &s, &p[0], OCT_JSTR_BOTH, out);
}

FILTER(oct_jf_center)
{
    struct oct_jv s;
    int64_t width;
    OCT_TRY(oct_jarg_int(r, &p[0], 80, &width));
    OCT_TRY(oct_jv_str(r, v, &s));
    return oct_jstr_pad(r, &s, width, ' ', OCT_JSTR_BOTH, out);
}

FILTER(oct_jf_string)
{
    (void)p;
    return oct_jv_str(r, v, out);
}

FILTER(oct_jf_safe)
{
    (void)p;
    OCT_TRY(oct_jv_str(r, v, out));
    out->flags = OCT_JV_MARKUP;
    return OCT_OK;
}

FILTER(oct_jf_escape)
{
    (void)p;
    return oct_jv_escape(r, v, out);
}

FILTER(oct_jf_forceescape)
{
    (void)p;
    struct oct_jv s;
    OCT_TRY(oct_jv_str(r, v, &s));
    s.flags = 0;
    return oct_jv_escape(r, &s, out);
}

FILTER(oct_jf_replace)
{
    struct oct_jv s, old, new;
    int64_t count;
    OCT_TRY(p[2].type == OCT_JV_NONE ? OCT_OK : oct_jarg_int(r, &p[2], -1, &count));
    count = p[2].type == OCT_JV_NONE || count < 0 ? -1 : count;
    OCT_TRY(oct_jv_str(r, v, &s));
    OCT_TRY(oct_jv_str(r, &p[0], &old));
    OCT_TRY(oct_jv_str(r, &p[1], &new));
    s.flags = 0;
    return oct_jstr_replace(r, &s, &old, &new, count, out);
}

FILTER(oct_jf_indent)
{
    struct oct_jv s = *v, lines, by = p[0];
    const bool first = oct_jv_truth(&p[1]), blank = oct_jv_truth(&p[2]);
    int64_t width;
    if (s.type == OCT_JV_UNDEF) {
        return oct_jr_fail_undef(r, v);
    }
    if (s.type != OCT_JV_STR) {
        return oct_jr_fail(r, OCT_E_FORMAT, "only a string can be indented, not %s",
                           oct_jv_type_name(v));
    }
    if (by.type != OCT_JV_STR) {
        OCT_TRY(oct_jarg_int(r, &by, 4, &width));
        const struct oct_jv space = oct_jv_strn(" ", 1), times = oct_jv_int(width);
        OCT_TRY(oct_jv_binary(r, OCT_JOP_MUL, &space, &times, &by));
    }
    const struct oct_jv newline = oct_jv_strn("\n", 1);
    const uint8_t flags = s.flags;
    s.flags = 0;
    const struct oct_jv body = s;
    OCT_TRY(oct_jv_concat(r, &body, &newline, &s)); /* so that a last empty line counts */
    OCT_TRY(oct_jstr_splitlines(r, &s, false, &lines));
    const size_t mark = r->out.len;
    for (uint32_t i = 0; i < lines.u.list->n; i++) {
        const struct oct_jv *line = &lines.u.list->items[i];
        OCT_TRY(i ? oct_jr_put(r, "\n", 1) : OCT_OK);
        if (i == 0 ? first : blank || line->len) {
            OCT_TRY(oct_jr_put(r, by.u.s, by.len));
        }
        OCT_TRY(oct_jr_put(r, line->u.s, line->len));
    }
    OCT_TRY(oct_jr_take(r, mark, out));
    out->flags = flags;
    return OCT_OK;
}

FILTER(oct_jf_truncate)
{
    struct oct_jv end = oct_jv_strn("...", 3);
    int64_t length, leeway, len, end_len;
    OCT_TRY(oct_jarg_int(r, &p[0], 255, &length));
    OCT_TRY(p[3].type == OCT_JV_NONE ? OCT_OK : oct_jarg_int(r, &p[3], 5, &leeway));
    leeway = p[3].type == OCT_JV_NONE ? 5 : leeway;
    end = p[2].type == OCT_JV_MISSING ? end : p[2];
    OCT_TRY(oct_jv_len(r, v, &len));
    OCT_TRY(oct_jv_len(r, &end, &end_len));
    if (len < 0 || end_len < 0) {
        return oct_jr_fail(r, OCT_E_FORMAT, "truncate needs something that has a length");
    }
    if (length < end_len || leeway < 0) {
        return oct_jr_fail(r, OCT_E_FORMAT, "truncate needs a length of at least that of its end");
    }
    if (leeway >= INT64_MAX - length || len <= length + leeway) {
        *out = *v;
        return OCT_OK;
    }
    if (v->type != OCT_JV_STR || end.type != OCT_JV_STR ||
        ((v->flags | end.flags) & OCT_JV_MARKUP)) {
        return oct_jr_fail(r, OCT_E_UNSUPPORTED, "truncate cuts strings only");
    }
    struct oct_jv cut = *v;
    cut.len = (uint32_t)oct_ju_offset(v->u.s, v->len, (size_t)(length - end_len));
    if (!oct_jv_truth(&p[1])) {
        const char *space = memrchr(cut.u.s, ' ', cut.len);
        cut.len = space ? (uint32_t)(space - cut.u.s) : cut.len;
    }
    return oct_jv_concat(r, &cut, &end, out);
}

FILTER(oct_jf_wordcount)
{
    (void)p;
    struct oct_jv s;
    int64_t n = 0;
    bool in_word = false;
    uint32_t k;
    OCT_TRY(oct_jv_str(r, v, &s));
    OCT_TRY(oct_jr_charge(r, s.len / 8));
    for (size_t i = 0; i < s.len; i += k) {
        const bool word = oct_ju_is_word(oct_ju_next(s.u.s + i, &k));
        n += word && !in_word;
        in_word = word;
    }
    *out = oct_jv_int(n);
    return OCT_OK;
}

static oct_status put_quoted(struct oct_jr *r, const struct oct_jv *v, bool query)
{
    struct oct_jv s;
    OCT_TRY(oct_jv_str(r, v, &s));
    for (uint32_t i = 0; i < s.len; i++) {
        const unsigned char c = (unsigned char)s.u.s[i];
        const bool plain = (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') ||
                           c == '_' || c == '.' || c == '-' || c == '~' || (c == '/' && !query);
        char text[8];
        const int n = snprintf(text, sizeof text,
                               plain               ? "%c"
                               : query && c == ' ' ? "+"
                                                   : "%%%02X",
                               c);
        OCT_TRY(oct_jr_put(r, text, (size_t)n));
    }
    return oct_jr_charge(r, s.len / 8);
}

FILTER(oct_jf_urlencode)
{
    (void)p;
    const size_t mark = r->out.len;
    if (v->type == OCT_JV_STR || !oct_jv_iterable(v)) {
        OCT_TRY(put_quoted(r, v, false));
        return oct_jr_take(r, mark, out);
    }
    struct oct_jv pairs = *v, pair, both;
    if (v->type == OCT_JV_DICT) {
        pairs = (struct oct_jv){.type = OCT_JV_VIEW, .sub = OCT_JV_ITEMS, .u.dict = v->u.dict};
    }
    struct oct_jit it;
    bool more;
    OCT_TRY(oct_jit_init(r, &pairs, &it));
    for (bool first = true;; first = false) {
        OCT_TRY(oct_jit_next(r, &it, &pair, &more));
        if (!more) {
            return oct_jr_take(r, mark, out);
        }
        OCT_TRY(oct_jv_to_list(r, OCT_JV_TUPLE, &pair, &both));
        if (both.u.list->n != 2) {
            return oct_jr_fail(r, OCT_E_FORMAT, "urlencode needs pairs");
        }
        OCT_TRY(first ? OCT_OK : oct_jr_put(r, "&", 1));
        OCT_TRY(put_quoted(r, &both.u.list->items[0], true));
        OCT_TRY(oct_jr_put(r, "=", 1));
        OCT_TRY(put_quoted(r, &both.u.list->items[1], true));
    }
}

oct_status oct_jf_format(struct oct_jr *r, const struct oct_jv *v, const struct oct_jargs *args,
                         struct oct_jv *out)
{
    struct oct_jv s, values;
    if (args->n_pos && args->n_kw) {
        return oct_jr_fail(r, OCT_E_FORMAT, "format takes positions or keywords, not both");
    }
    OCT_TRY(oct_jv_str(r, v, &s));
    if (args->n_kw) {
        struct oct_jdict *d;
        OCT_TRY(oct_jdict_new(r, args->n_kw, &d));
        for (uint32_t i = 0; i < args->n_kw; i++) {
            OCT_TRY(oct_jdict_set(r, d, &args->names[i], &args->kw[i]));
        }
        values = (struct oct_jv){.type = OCT_JV_DICT, .u.dict = d};
    } else {
        OCT_TRY(oct_jv_new_list(r, OCT_JV_TUPLE, args->n_pos, &values));
        if (args->n_pos) {
            memcpy(values.u.list->items, args->pos, args->n_pos * sizeof *args->pos);
        }
    }
    return oct_jv_percent(r, &s, &values, out);
}

/* ---- JSON ---- */

static oct_status json_separators(struct oct_jr *r, const struct oct_jv *v, struct oct_jjson *how)
{
    if (v->type == OCT_JV_MISSING || v->type == OCT_JV_NONE) {
        how->item_sep = how->indented ? oct_jv_strn(",", 1) : oct_jv_strn(", ", 2);
        how->key_sep = oct_jv_strn(": ", 2);
        return OCT_OK;
    }
    struct oct_jv both;
    OCT_TRY(oct_jv_to_list(r, OCT_JV_TUPLE, v, &both));
    if (both.u.list->n != 2 || both.u.list->items[0].type != OCT_JV_STR ||
        both.u.list->items[1].type != OCT_JV_STR) {
        return oct_jr_fail(r, OCT_E_FORMAT, "tojson needs two strings as separators");
    }
    how->item_sep = both.u.list->items[0];
    how->key_sep = both.u.list->items[1];
    return OCT_OK;
}

FILTER(oct_jf_tojson)
{
    struct oct_jjson how = {.ascii = oct_jv_truth(&p[0]), .sort_keys = oct_jv_truth(&p[3])};
    const struct oct_jv *indent = &p[1];
    how.indented = indent->type != OCT_JV_MISSING && indent->type != OCT_JV_NONE;
    how.indent = *indent;
    if (how.indented && indent->type != OCT_JV_STR) {
        int64_t width;
        OCT_TRY(oct_jarg_int(r, indent, 0, &width));
        const struct oct_jv space = oct_jv_strn(" ", 1), times = oct_jv_int(width);
        OCT_TRY(oct_jv_binary(r, OCT_JOP_MUL, &space, &times, &how.indent));
    }
    OCT_TRY(json_separators(r, &p[2], &how));
    const size_t mark = r->out.len;
    OCT_TRY(oct_jv_write_json(r, v, &how, 0));
    return oct_jr_take(r, mark, out);
}

/* ---- numbers ---- */

FILTER(oct_jf_abs)
{
    (void)p;
    int64_t i;
    if (oct_jv_is_int(v, &i)) {
        const struct oct_jv n = oct_jv_int(i);
        return oct_jv_negate(r, &n, i < 0, out);
    }
    if (v->type == OCT_JV_FLOAT) {
        *out = oct_jv_float(fabs(v->u.f));
        return OCT_OK;
    }
    if (v->type == OCT_JV_UNDEF) {
        return oct_jr_fail_undef(r, v);
    }
    return oct_jr_fail(r, OCT_E_FORMAT, "a %s has no absolute value", oct_jv_type_name(v));
}

static oct_status float_to_int(struct oct_jr *r, double f, struct oct_jv *out)
{
    if (!(f > -9.2e18 && f < 9.2e18)) {
        return oct_jr_fail(r, OCT_E_LIMIT, "an integer over 64 bits");
    }
    *out = oct_jv_int((int64_t)f);
    return OCT_OK;
}

FILTER(oct_jf_int)
{
    const struct oct_jv fallback = p[0].type == OCT_JV_MISSING ? oct_jv_int(0) : p[0];
    int64_t i, base;
    double f;
    if (v->type == OCT_JV_UNDEF) {
        return oct_jr_fail_undef(r, v);
    }
    if (oct_jv_is_int(v, &i)) {
        *out = oct_jv_int(i);
        return OCT_OK;
    }
    if (v->type == OCT_JV_FLOAT) {
        *out = fallback;
        return isnan(v->u.f) ? OCT_OK : float_to_int(r, v->u.f, out);
    }
    *out = fallback;
    if (v->type != OCT_JV_STR) {
        return OCT_OK;
    }
    OCT_TRY(oct_jarg_int(r, &p[1], 10, &base));
    OCT_TRY(oct_jr_charge_bytes(r, v->len));
    switch (oct_jnum_parse_int(v->u.s, v->len, base, &i)) {
    case OCT_JNUM_OK:
        *out = oct_jv_int(i);
        return OCT_OK;
    case OCT_JNUM_BIG:
        return oct_jr_fail(r, OCT_E_LIMIT, "an integer over 64 bits");
    case OCT_JNUM_BAD:
        break;
    }
    if (oct_jnum_parse_float(v->u.s, v->len, &f) && isfinite(f)) {
        return float_to_int(r, f, out);
    }
    return OCT_OK;
}

FILTER(oct_jf_float)
{
    double f;
    if (v->type == OCT_JV_UNDEF) {
        return oct_jr_fail_undef(r, v);
    }
    if (oct_jv_is_num(v)) {
        *out = oct_jv_float(oct_jv_num(v));
    } else if (v->type == OCT_JV_STR && oct_jnum_parse_float(v->u.s, v->len, &f)) {
        *out = oct_jv_float(f);
    } else {
        *out = p[0].type == OCT_JV_MISSING ? oct_jv_float(0.0) : p[0];
    }
    return OCT_OK;
}

/* round(i, digits) of an integer: only digits before the point matter; ties to even. */
static oct_status round_int(struct oct_jr *r, int64_t i, int64_t digits, struct oct_jv *out)
{
    __int128 unit = 1;
    for (; digits < 0 && unit < (__int128)INT64_MAX * 100; digits++) {
        unit *= 10;
    }
    const __int128 down = i - ((i % unit) + unit) % unit, rest = i - down;
    const bool odd = (down / unit) % 2 != 0;
    const __int128 to = rest * 2 > unit || (rest * 2 == unit && odd) ? down + unit : down;
    if (to > INT64_MAX || to < INT64_MIN) {
        return oct_jr_fail(r, OCT_E_LIMIT, "an integer over 64 bits");
    }
    *out = oct_jv_int((int64_t)to);
    return OCT_OK;
}

/* func(value * 10**precision) / 10**precision, with Python's types on the way. */
static oct_status round_away(struct oct_jr *r, const struct oct_jv *v, int64_t precision,
                             bool ceiling, struct oct_jv *out)
{
    const struct oct_jv ten = oct_jv_int(10), digits = oct_jv_int(precision);
    struct oct_jv scale, scaled, whole;
    OCT_TRY(oct_jv_binary(r, OCT_JOP_POW, &ten, &digits, &scale));
    OCT_TRY(oct_jv_binary(r, OCT_JOP_MUL, v, &scale, &scaled));
    whole = scaled;
    if (scaled.type == OCT_JV_FLOAT) {
        OCT_TRY(float_to_int(r, ceiling ? ceil(scaled.u.f) : floor(scaled.u.f), &whole));
    }
    return oct_jv_binary(r, OCT_JOP_DIV, &whole, &scale, out);
}

FILTER(oct_jf_round)
{
    const struct oct_jv method = p[1].type == OCT_JV_MISSING ? oct_jv_strn("common", 6) : p[1];
    int64_t precision, i;
    const bool common = oct_jv_is_word(&method, "common");
    if (!common && !oct_jv_is_word(&method, "ceil") && !oct_jv_is_word(&method, "floor")) {
        return oct_jr_fail(r, OCT_E_FORMAT, "round knows common, ceil and floor");
    }
    if (v->type == OCT_JV_UNDEF) {
        return oct_jr_fail_undef(r, v);
    }
    if (!oct_jv_is_num(v)) {
        return oct_jr_fail(r, OCT_E_FORMAT, "a %s cannot be rounded", oct_jv_type_name(v));
    }
    if (p[0].type == OCT_JV_NONE && common) { /* round(x, None) gives an integer */
        double f;
        if (oct_jv_is_int(v, &i)) {
            *out = oct_jv_int(i);
            return OCT_OK;
        }
        return oct_jnum_round(v->u.f, 0, &f) && isfinite(f)
                   ? float_to_int(r, f, out)
                   : oct_jr_fail(r, OCT_E_FORMAT, "it cannot be rounded to an integer");
    }
    OCT_TRY(oct_jarg_int(r, &p[0], 0, &precision));
    if (!common) {
        return round_away(r, v, precision, oct_jv_is_word(&method, "ceil"), out);
    }
    if (oct_jv_is_int(v, &i)) {
        return round_int(r, i, precision, out);
    }
    *out = oct_jv_float(0.0);
    return oct_jnum_round(v->u.f, precision, &out->u.f)
               ? OCT_OK
               : oct_jr_fail(r, OCT_E_FORMAT, "the result is too large");
}
