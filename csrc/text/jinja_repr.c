/* SPDX-License-Identifier: Apache-2.0
 *
 * jinja_repr.c - values as text: str(), repr(), json.dumps(), HTML escaping. */
#include "text/jinja_num.h"
#include "text/jinja_run.h"
#include "text/jinja_utf8.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static oct_status put_text(struct oct_jr *r, const char *s)
{
    return oct_jr_put(r, s, strlen(s));
}

static oct_status put_int(struct oct_jr *r, int64_t i)
{
    char text[24];
    const int n = snprintf(text, sizeof text, "%" PRId64, i);
    return oct_jr_put(r, text, (size_t)n);
}

static oct_status put_float(struct oct_jr *r, double f)
{
    char text[OCT_JNUM_REPR_BYTES];
    return oct_jr_put(r, text, oct_jnum_repr(f, text));
}

/* ---- repr ---- */

static oct_status put_hex_escape(struct oct_jr *r, uint32_t cp)
{
    char text[16];
    const int n = cp < 0x100     ? snprintf(text, sizeof text, "\\x%02x", cp)
                  : cp < 0x10000 ? snprintf(text, sizeof text, "\\u%04x", cp)
                                 : snprintf(text, sizeof text, "\\U%08x", cp);
    return oct_jr_put(r, text, (size_t)n);
}

static oct_status repr_string(struct oct_jr *r, const char *s, uint32_t len)
{
    const char quote = memchr(s, '\'', len) && !memchr(s, '"', len) ? '"' : '\'';
    OCT_TRY(oct_jr_put(r, &quote, 1));
    uint32_t from = 0, n;
    for (uint32_t i = 0; i < len; i += n) {
        const uint32_t cp = oct_ju_next(s + i, &n);
        const char *simple = cp == '\n'                   ? "\\n"
                             : cp == '\r'                 ? "\\r"
                             : cp == '\t'                 ? "\\t"
                             : cp == '\\'                 ? "\\\\"
                             : cp == (unsigned char)quote ? (quote == '"' ? "\\\"" : "\\'")
                                                          : NULL;
        if (!simple && oct_ju_is_printable(cp)) {
            continue;
        }
        OCT_TRY(oct_jr_put(r, s + from, i - from));
        OCT_TRY(simple ? oct_jr_put(r, simple, 2) : put_hex_escape(r, cp));
        from = i + n;
    }
    OCT_TRY(oct_jr_put(r, s + from, len - from));
    OCT_TRY(oct_jr_charge_bytes(r, len));
    return oct_jr_put(r, &quote, 1);
}

static oct_status repr_items(struct oct_jr *r, const struct oct_jv *v)
{
    const bool tuple = v->type == OCT_JV_TUPLE;
    OCT_TRY(oct_jv_load(r, v));
    OCT_TRY(put_text(r, tuple ? "(" : "["));
    for (uint32_t i = 0; i < v->u.list->n; i++) {
        OCT_TRY(i ? put_text(r, ", ") : OCT_OK);
        OCT_TRY(oct_jv_write_repr(r, &v->u.list->items[i]));
    }
    return put_text(r, !tuple ? "]" : v->u.list->n == 1 ? ",)" : ")");
}

static oct_status repr_dict(struct oct_jr *r, const struct oct_jv *v)
{
    OCT_TRY(oct_jv_load(r, v));
    OCT_TRY(put_text(r, "{"));
    for (uint32_t i = 0; i < v->u.dict->n; i++) {
        OCT_TRY(i ? put_text(r, ", ") : OCT_OK);
        OCT_TRY(oct_jv_write_repr(r, &v->u.dict->e[i].key));
        OCT_TRY(put_text(r, ": "));
        OCT_TRY(oct_jv_write_repr(r, &v->u.dict->e[i].val));
    }
    return put_text(r, "}");
}

static oct_status repr_view(struct oct_jr *r, const struct oct_jv *v)
{
    static const char *const head[] = {"dict_keys([", "dict_values([", "dict_items([("};
    OCT_TRY(oct_jv_load(r, v));
    const struct oct_jdict *d = v->u.dict;
    OCT_TRY(put_text(r, v->sub == OCT_JV_ITEMS && d->n == 0 ? "dict_items([" : head[v->sub]));
    for (uint32_t i = 0; i < d->n; i++) {
        if (v->sub != OCT_JV_VALUES) {
            OCT_TRY(oct_jv_write_repr(r, &d->e[i].key));
        }
        OCT_TRY(v->sub == OCT_JV_ITEMS ? put_text(r, ", ") : OCT_OK);
        if (v->sub != OCT_JV_KEYS) {
            OCT_TRY(oct_jv_write_repr(r, &d->e[i].val));
        }
        const bool last = i + 1 == d->n;
        OCT_TRY(v->sub == OCT_JV_ITEMS ? put_text(r, last ? ")" : "), (")
                                       : put_text(r, last ? "" : ", "));
    }
    return put_text(r, "])");
}

static oct_status repr_range(struct oct_jr *r, const struct oct_jrange *g)
{
    OCT_TRY(put_text(r, "range("));
    OCT_TRY(put_int(r, g->start));
    OCT_TRY(put_text(r, ", "));
    OCT_TRY(put_int(r, g->stop));
    if (g->step != 1) {
        OCT_TRY(put_text(r, ", "));
        OCT_TRY(put_int(r, g->step));
    }
    return put_text(r, ")");
}

static oct_status repr_macro(struct oct_jr *r, const struct oct_jmacro *m)
{
    if (m->node->kind != OCT_JN_MACRO) {
        return put_text(r, "<Macro anonymous>");
    }
    OCT_TRY(put_text(r, "<Macro "));
    OCT_TRY(repr_string(r, m->node->value.u.s, m->node->value.len));
    return put_text(r, ">");
}

static oct_status repr_loop(struct oct_jr *r, const struct oct_jv *v)
{
    static const char name[] = "index";
    const struct oct_jv key = oct_jv_strn(name, sizeof name - 1);
    struct oct_jv index;
    int64_t len;
    OCT_TRY(oct_jv_len(r, v, &len));
    OCT_TRY(oct_jloop_attr(r, v->u.loop, &key, &index));
    OCT_TRY(put_text(r, "<LoopContext "));
    OCT_TRY(put_int(r, index.u.i));
    OCT_TRY(put_text(r, "/"));
    OCT_TRY(put_int(r, len));
    return put_text(r, ">");
}

static oct_status repr_any(struct oct_jr *r, const struct oct_jv *v)
{
    switch (v->type) {
    case OCT_JV_UNDEF:
        return put_text(r, "Undefined");
    case OCT_JV_NONE:
        return put_text(r, "None");
    case OCT_JV_BOOL:
        return put_text(r, v->u.b ? "True" : "False");
    case OCT_JV_INT:
        return put_int(r, v->u.i);
    case OCT_JV_FLOAT:
        return put_float(r, v->u.f);
    case OCT_JV_STR:
        OCT_TRY(v->flags & OCT_JV_MARKUP ? put_text(r, "Markup(") : OCT_OK);
        OCT_TRY(repr_string(r, v->u.s, v->len));
        return v->flags & OCT_JV_MARKUP ? put_text(r, ")") : OCT_OK;
    case OCT_JV_LIST:
    case OCT_JV_TUPLE:
        return repr_items(r, v);
    case OCT_JV_DICT:
        return repr_dict(r, v);
    case OCT_JV_VIEW:
        return repr_view(r, v);
    case OCT_JV_RANGE:
        return repr_range(r, v->u.range);
    case OCT_JV_NS:
        OCT_TRY(put_text(r, "<Namespace "));
        OCT_TRY(repr_dict(r, v));
        return put_text(r, ">");
    case OCT_JV_MACRO:
        return repr_macro(r, v->u.macro);
    case OCT_JV_LOOP:
        return repr_loop(r, v);
    default: /* Python shows an address */
        return oct_jr_fail(r, OCT_E_UNSUPPORTED, "a %s cannot be shown as text",
                           oct_jv_type_name(v));
    }
}

oct_status oct_jv_write_repr(struct oct_jr *r, const struct oct_jv *v)
{
    OCT_TRY(oct_jr_charge(r, 1));
    OCT_TRY(oct_jr_enter(r));
    const oct_status st = repr_any(r, v);
    oct_jr_leave(r);
    return st;
}

oct_status oct_jv_write_str(struct oct_jr *r, const struct oct_jv *v)
{
    if (v->type == OCT_JV_STR) {
        return oct_jr_put(r, v->u.s, v->len);
    }
    return v->type == OCT_JV_UNDEF ? OCT_OK : oct_jv_write_repr(r, v);
}

oct_status oct_jv_str(struct oct_jr *r, const struct oct_jv *v, struct oct_jv *out)
{
    if (v->type == OCT_JV_STR) {
        *out = *v;
        return OCT_OK;
    }
    const size_t mark = r->out.len;
    OCT_TRY(oct_jv_write_str(r, v));
    return oct_jr_take(r, mark, out);
}

/* ---- json.dumps ---- */

static oct_status dump_string(struct oct_jr *r, const char *s, uint32_t len, bool ascii)
{
    static const char escaped[] = "\b\f\n\r\t", letter[] = "bfnrt";
    OCT_TRY(put_text(r, "\""));
    uint32_t from = 0, n;
    for (uint32_t i = 0; i < len; i += n) {
        const uint32_t cp = oct_ju_next(s + i, &n);
        if (cp >= 0x20 && cp != '"' && cp != '\\' && (cp < 0x7f || !ascii)) {
            continue;
        }
        char text[16];
        const char *p = cp ? memchr(escaped, (int)cp, cp < 0x20 ? sizeof escaped - 1 : 0) : NULL;
        int k;
        if (cp == '"' || cp == '\\' || p) {
            k = snprintf(text, sizeof text, "\\%c", p ? letter[p - escaped] : (char)cp);
        } else if (cp < 0x10000) {
            k = snprintf(text, sizeof text, "\\u%04x", cp);
        } else {
            k = snprintf(text, sizeof text, "\\u%04x\\u%04x", 0xd800 + ((cp - 0x10000) >> 10),
                         0xdc00 + ((cp - 0x10000) & 0x3ff));
        }
        OCT_TRY(oct_jr_put(r, s + from, i - from));
        OCT_TRY(oct_jr_put(r, text, (size_t)k));
        from = i + n;
    }
    OCT_TRY(oct_jr_put(r, s + from, len - from));
    OCT_TRY(oct_jr_charge(r, len / 32));
    return put_text(r, "\"");
}

static oct_status dump_float(struct oct_jr *r, double f)
{
    return isnan(f)   ? put_text(r, "NaN")
           : isinf(f) ? put_text(r, f < 0 ? "-Infinity" : "Infinity")
                      : put_float(r, f);
}

static oct_status dump_newline(struct oct_jr *r, const struct oct_jjson *how, uint32_t level)
{
    if (!how->indented) {
        return OCT_OK;
    }
    OCT_TRY(put_text(r, "\n"));
    for (uint32_t i = 0; i < level; i++) {
        OCT_TRY(oct_jr_put(r, how->indent.u.s, how->indent.len));
    }
    return oct_jr_charge(r, level);
}

static oct_status dump_key(struct oct_jr *r, const struct oct_jv *key, const struct oct_jjson *how)
{
    if (key->type == OCT_JV_STR) {
        return dump_string(r, key->u.s, key->len, how->ascii);
    }
    if (!oct_jv_is_num(key) && key->type != OCT_JV_NONE) {
        return oct_jr_fail(r, OCT_E_FORMAT, "a %s cannot be a key in JSON", oct_jv_type_name(key));
    }
    OCT_TRY(put_text(r, "\""));
    OCT_TRY(oct_jv_write_json(r, key, how, 0));
    return put_text(r, "\"");
}

static oct_status dump_items(struct oct_jr *r, const struct oct_jv *v, const struct oct_jjson *how,
                             uint32_t level)
{
    const struct oct_jlist *l = v->u.list;
    OCT_TRY(oct_jv_load(r, v));
    OCT_TRY(put_text(r, "["));
    for (uint32_t i = 0; i < l->n; i++) {
        OCT_TRY(i ? oct_jr_put(r, how->item_sep.u.s, how->item_sep.len) : OCT_OK);
        OCT_TRY(dump_newline(r, how, level + 1));
        OCT_TRY(oct_jv_write_json(r, &l->items[i], how, level + 1));
    }
    OCT_TRY(l->n ? dump_newline(r, how, level) : OCT_OK);
    return put_text(r, "]");
}

static oct_status dump_dict(struct oct_jr *r, const struct oct_jv *v, const struct oct_jjson *how,
                            uint32_t level)
{
    const struct oct_jdict *d = v->u.dict;
    uint32_t *order = NULL;
    OCT_TRY(oct_jv_load(r, v));
    if (how->sort_keys && d->n) {
        struct oct_jv *keys = oct_jr_alloc(r, d->n, sizeof *keys);
        if (!keys) {
            return oct_jr_out_of_memory(r);
        }
        for (uint32_t i = 0; i < d->n; i++) {
            keys[i] = d->e[i].key;
        }
        OCT_TRY(oct_jr_sort(r, keys, d->n, false, &order));
    }
    OCT_TRY(put_text(r, "{"));
    for (uint32_t i = 0; i < d->n; i++) {
        const struct oct_jentry *e = &d->e[order ? order[i] : i];
        OCT_TRY(i ? oct_jr_put(r, how->item_sep.u.s, how->item_sep.len) : OCT_OK);
        OCT_TRY(dump_newline(r, how, level + 1));
        OCT_TRY(dump_key(r, &e->key, how));
        OCT_TRY(oct_jr_put(r, how->key_sep.u.s, how->key_sep.len));
        OCT_TRY(oct_jv_write_json(r, &e->val, how, level + 1));
    }
    OCT_TRY(d->n ? dump_newline(r, how, level) : OCT_OK);
    return put_text(r, "}");
}

static oct_status dump_any(struct oct_jr *r, const struct oct_jv *v, const struct oct_jjson *how,
                           uint32_t level)
{
    switch (v->type) {
    case OCT_JV_NONE:
        return put_text(r, "null");
    case OCT_JV_BOOL:
        return put_text(r, v->u.b ? "true" : "false");
    case OCT_JV_INT:
        return put_int(r, v->u.i);
    case OCT_JV_FLOAT:
        return dump_float(r, v->u.f);
    case OCT_JV_STR:
        return dump_string(r, v->u.s, v->len, how->ascii);
    case OCT_JV_LIST:
    case OCT_JV_TUPLE:
        return dump_items(r, v, how, level);
    case OCT_JV_DICT:
        return dump_dict(r, v, how, level);
    default:
        return oct_jr_fail(r, OCT_E_FORMAT, "a value of type %s cannot be written as JSON",
                           oct_jv_type_name(v));
    }
}

oct_status oct_jv_write_json(struct oct_jr *r, const struct oct_jv *v, const struct oct_jjson *how,
                             uint32_t level)
{
    OCT_TRY(oct_jr_charge(r, 1));
    OCT_TRY(oct_jr_enter(r));
    const oct_status st = dump_any(r, v, how, level);
    oct_jr_leave(r);
    return st;
}

/* ---- HTML ---- */

oct_status oct_jv_write_escaped(struct oct_jr *r, const char *s, size_t len)
{
    size_t from = 0;
    for (size_t i = 0; i < len; i++) {
        const char *to = s[i] == '&'    ? "&amp;"
                         : s[i] == '<'  ? "&lt;"
                         : s[i] == '>'  ? "&gt;"
                         : s[i] == '\'' ? "&#39;"
                         : s[i] == '"'  ? "&#34;"
                                        : NULL;
        if (to) {
            OCT_TRY(oct_jr_put(r, s + from, i - from));
            OCT_TRY(put_text(r, to));
            from = i + 1;
        }
    }
    OCT_TRY(oct_jr_charge_bytes(r, len));
    return oct_jr_put(r, s + from, len - from);
}

oct_status oct_jv_escape(struct oct_jr *r, const struct oct_jv *v, struct oct_jv *out)
{
    if (v->type == OCT_JV_STR && (v->flags & OCT_JV_MARKUP)) {
        *out = *v;
        return OCT_OK;
    }
    struct oct_jv text;
    OCT_TRY(oct_jv_str(r, v, &text));
    const size_t mark = r->out.len;
    OCT_TRY(oct_jv_write_escaped(r, text.u.s, text.len));
    OCT_TRY(oct_jr_take(r, mark, out));
    out->flags = OCT_JV_MARKUP;
    return OCT_OK;
}
