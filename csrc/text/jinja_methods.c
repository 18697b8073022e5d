/* SPDX-License-Identifier: Apache-2.0
 *
 * jinja_methods.c - the methods of strings, dicts, lists, ...: one table of names. A row without a
 * function is a method that Python has and this interpreter does not; it is refused when called. */
#include "text/jinja_str.h"
#include "text/jinja_utf8.h"

#include <math.h>
#include <string.h>

typedef oct_status (*method_fn)(struct oct_jr *r, const struct oct_jv *self,
                                const struct oct_jargs *args, struct oct_jv *out);

enum { MAX_PARAMS = 4 };

#define BIND(names, required, pos_only) \
    struct oct_jv p[MAX_PARAMS]; \
    OCT_TRY(oct_jargs_bind(r, args, "the method", (names), (required), (pos_only), p))

static oct_status need_string(struct oct_jr *r, const struct oct_jv *v)
{
    return v->type == OCT_JV_STR
               ? OCT_OK
               : oct_jr_fail(r, OCT_E_FORMAT, "a string is needed, not %s", oct_jv_type_name(v));
}

/* ---- strings ---- */

#define CASE_METHOD(name, how) \
    static oct_status name(struct oct_jr *r, const struct oct_jv *self, \
                           const struct oct_jargs *args, struct oct_jv *out) \
    { \
        BIND("", 0, 0); \
        (void)p; \
        return oct_jstr_case(r, self, (how), out); \
    }
CASE_METHOD(str_upper, OCT_JSTR_UPPER)
CASE_METHOD(str_lower, OCT_JSTR_LOWER)
CASE_METHOD(str_title, OCT_JSTR_TITLE)
CASE_METHOD(str_capitalize, OCT_JSTR_CAPITALIZE)
CASE_METHOD(str_swapcase, OCT_JSTR_SWAP)

#define STRIP_METHOD(name, sides) \
    static oct_status name(struct oct_jr *r, const struct oct_jv *self, \
                           const struct oct_jargs *args, struct oct_jv *out) \
    { \
        BIND("chars", 0, 1); \
        return oct_jstr_strip(r, self, &p[0], (sides), out); \
    }
STRIP_METHOD(str_strip, OCT_JSTR_BOTH)
STRIP_METHOD(str_lstrip, OCT_JSTR_LEFT)
STRIP_METHOD(str_rstrip, OCT_JSTR_RIGHT)

static oct_status split(struct oct_jr *r, const struct oct_jv *self, const struct oct_jargs *args,
                        bool from_right, struct oct_jv *out)
{
    BIND("sep,maxsplit", 0, 0);
    int64_t max;
    OCT_TRY(oct_jarg_int(r, &p[1], -1, &max));
    return oct_jstr_split(r, self, &p[0], max < 0 ? -1 : max, from_right, out);
}

static oct_status str_split(struct oct_jr *r, const struct oct_jv *self,
                            const struct oct_jargs *args, struct oct_jv *out)
{
    return split(r, self, args, false, out);
}

static oct_status str_rsplit(struct oct_jr *r, const struct oct_jv *self,
                             const struct oct_jargs *args, struct oct_jv *out)
{
    return split(r, self, args, true, out);
}

static oct_status str_splitlines(struct oct_jr *r, const struct oct_jv *self,
                                 const struct oct_jargs *args, struct oct_jv *out)
{
    BIND("keepends", 0, 0);
    int64_t keep;
    OCT_TRY(oct_jarg_int(r, &p[0], 0, &keep));
    return oct_jstr_splitlines(r, self, keep != 0, out);
}

static oct_status str_replace(struct oct_jr *r, const struct oct_jv *self,
                              const struct oct_jargs *args, struct oct_jv *out)
{
    BIND("old,new,count", 2, 3);
    int64_t count;
    OCT_TRY(need_string(r, &p[0]));
    OCT_TRY(need_string(r, &p[1]));
    OCT_TRY(oct_jarg_int(r, &p[2], -1, &count));
    struct oct_jv new = p[1];
    if (self->flags & OCT_JV_MARKUP) {
        OCT_TRY(oct_jv_escape(r, &p[1], &new));
    }
    return oct_jstr_replace(r, self, &p[0], &new, count < 0 ? -1 : count, out);
}

/* Bytes of s[start:end], given as code points. False: start lies behind the end of s. */
static oct_status range_of(struct oct_jr *r, const struct oct_jv *s, const struct oct_jv *start,
                           const struct oct_jv *end, size_t *from, size_t *to, bool *inside)
{
    int64_t n, a = 0, b = INT64_MAX;
    OCT_TRY(oct_jv_len(r, s, &n));
    if (start->type != OCT_JV_NONE) {
        OCT_TRY(oct_jarg_int(r, start, 0, &a));
    }
    if (end->type != OCT_JV_NONE) {
        OCT_TRY(oct_jarg_int(r, end, INT64_MAX, &b));
    }
    a += a < 0 ? n : 0;
    b += b < 0 ? n : 0;
    a = a < 0 ? 0 : a;
    b = b < 0 ? 0 : b > n ? n : b;
    *inside = a <= n;
    a = a > n ? n : a;
    const bool ascii = n == s->len;
    *from = ascii ? (size_t)a : oct_ju_offset(s->u.s, s->len, (size_t)a);
    *to = ascii ? (size_t)b : oct_ju_offset(s->u.s, s->len, (size_t)b);
    return oct_jr_charge_bytes(r, s->len);
}

static oct_status find(struct oct_jr *r, const struct oct_jv *self, const struct oct_jargs *args,
                       bool last, bool must, struct oct_jv *out)
{
    BIND("sub,start,end", 1, 3);
    size_t from, to;
    bool inside;
    OCT_TRY(need_string(r, &p[0]));
    OCT_TRY(range_of(r, self, &p[1], &p[2], &from, &to, &inside));
    OCT_TRY(oct_jr_charge(r, oct_jstr_find_steps(self, &p[0], last)));
    const size_t at = inside ? oct_jstr_find(self, &p[0], from, to, last) : SIZE_MAX;
    if (at == SIZE_MAX) {
        *out = oct_jv_int(-1);
        return must ? oct_jr_fail(r, OCT_E_FORMAT, "the substring was not found") : OCT_OK;
    }
    *out = oct_jv_int((int64_t)oct_ju_count(self->u.s, at));
    return OCT_OK;
}

#define FIND_METHOD(name, last, must) \
    static oct_status name(struct oct_jr *r, const struct oct_jv *self, \
                           const struct oct_jargs *args, struct oct_jv *out) \
    { \
        return find(r, self, args, (last), (must), out); \
    }
FIND_METHOD(str_find, false, false)
FIND_METHOD(str_rfind, true, false)
FIND_METHOD(str_index, false, true)
FIND_METHOD(str_rindex, true, true)

static oct_status str_count(struct oct_jr *r, const struct oct_jv *self,
                            const struct oct_jargs *args, struct oct_jv *out)
{
    BIND("sub,start,end", 1, 3);
    size_t from, to;
    bool inside;
    int64_t n = 0;
    OCT_TRY(need_string(r, &p[0]));
    OCT_TRY(range_of(r, self, &p[1], &p[2], &from, &to, &inside));
    if (p[0].len == 0) {
        n = inside && from <= to ? (int64_t)oct_ju_count(self->u.s + from, to - from) + 1 : 0;
    } else {
        size_t at;
        while (inside && (at = oct_jstr_find(self, &p[0], from, to, false)) != SIZE_MAX) {
            OCT_TRY(oct_jr_charge(r, 1));
            from = at + p[0].len;
            n++;
        }
    }
    *out = oct_jv_int(n);
    return OCT_OK;
}

static bool begins(const struct oct_jv *s, const struct oct_jv *with, size_t from, size_t to,
                   bool at_end)
{
    return to >= from && to - from >= with->len &&
           memcmp(s->u.s + (at_end ? to - with->len : from), with->u.s, with->len) == 0;
}

static oct_status starts(struct oct_jr *r, const struct oct_jv *self, const struct oct_jargs *args,
                         bool at_end, struct oct_jv *out)
{
    BIND("prefix,start,end", 1, 3);
    size_t from, to;
    bool inside, yes = false;
    OCT_TRY(range_of(r, self, &p[1], &p[2], &from, &to, &inside));
    if (p[0].type == OCT_JV_TUPLE) {
        for (uint32_t i = 0; i < p[0].u.list->n && !yes; i++) {
            OCT_TRY(need_string(r, &p[0].u.list->items[i]));
            OCT_TRY(oct_jr_charge_bytes(r, p[0].u.list->items[i].len));
            yes = inside && begins(self, &p[0].u.list->items[i], from, to, at_end);
        }
    } else {
        OCT_TRY(need_string(r, &p[0]));
        yes = inside && begins(self, &p[0], from, to, at_end);
    }
    *out = oct_jv_bool(yes);
    return OCT_OK;
}

static oct_status str_startswith(struct oct_jr *r, const struct oct_jv *self,
                                 const struct oct_jargs *args, struct oct_jv *out)
{
    return starts(r, self, args, false, out);
}

static oct_status str_endswith(struct oct_jr *r, const struct oct_jv *self,
                               const struct oct_jargs *args, struct oct_jv *out)
{
    return starts(r, self, args, true, out);
}

static oct_status str_removeprefix(struct oct_jr *r, const struct oct_jv *self,
                                   const struct oct_jargs *args, struct oct_jv *out)
{
    BIND("prefix", 1, 1);
    OCT_TRY(need_string(r, &p[0]));
    *out = *self;
    if (begins(self, &p[0], 0, self->len, false)) {
        out->u.s += p[0].len;
        out->len -= p[0].len;
    }
    return OCT_OK;
}

static oct_status str_removesuffix(struct oct_jr *r, const struct oct_jv *self,
                                   const struct oct_jargs *args, struct oct_jv *out)
{
    BIND("suffix", 1, 1);
    OCT_TRY(need_string(r, &p[0]));
    *out = *self;
    out->len -= begins(self, &p[0], 0, self->len, true) ? p[0].len : 0;
    return OCT_OK;
}

static oct_status partition(struct oct_jr *r, const struct oct_jv *self,
                            const struct oct_jargs *args, bool last, struct oct_jv *out)
{
    BIND("sep", 1, 1);
    OCT_TRY(need_string(r, &p[0]));
    if (p[0].len == 0) {
        return oct_jr_fail(r, OCT_E_FORMAT, "the separator is empty");
    }
    OCT_TRY(oct_jr_charge(r, oct_jstr_find_steps(self, &p[0], last)));
    const size_t at = oct_jstr_find(self, &p[0], 0, self->len, last);
    OCT_TRY(oct_jv_new_list(r, OCT_JV_TUPLE, 3, out));
    struct oct_jv *item = out->u.list->items;
    item[0] = item[1] = item[2] = oct_jv_strn("", 0);
    if (at == SIZE_MAX) {
        item[last ? 2 : 0] = *self;
    } else {
        item[0] = oct_jv_strn(self->u.s, at);
        item[1] = oct_jv_strn(self->u.s + at, p[0].len);
        item[2] = oct_jv_strn(self->u.s + at + p[0].len, self->len - at - p[0].len);
    }
    for (int i = 0; i < 3; i++) {
        item[i].flags = self->flags;
    }
    return OCT_OK;
}

static oct_status str_partition(struct oct_jr *r, const struct oct_jv *self,
                                const struct oct_jargs *args, struct oct_jv *out)
{
    return partition(r, self, args, false, out);
}

static oct_status str_rpartition(struct oct_jr *r, const struct oct_jv *self,
                                 const struct oct_jargs *args, struct oct_jv *out)
{
    return partition(r, self, args, true, out);
}

static oct_status str_join(struct oct_jr *r, const struct oct_jv *self,
                           const struct oct_jargs *args, struct oct_jv *out)
{
    BIND("iterable", 1, 1);
    const size_t mark = r->out.len;
    const uint8_t flags = self->flags;
    struct oct_jit it;
    struct oct_jv item;
    bool more;
    OCT_TRY(oct_jit_init(r, &p[0], &it));
    for (bool first = true;; first = false) {
        OCT_TRY(oct_jit_next(r, &it, &item, &more));
        if (!more) {
            break;
        }
        if (flags & OCT_JV_MARKUP) {
            const struct oct_jv plain = item;
            OCT_TRY(oct_jv_escape(r, &plain, &item));
        }
        OCT_TRY(need_string(r, &item));
        OCT_TRY(first ? OCT_OK : oct_jr_put(r, self->u.s, self->len));
        OCT_TRY(oct_jr_put(r, item.u.s, item.len));
    }
    OCT_TRY(oct_jr_take(r, mark, out));
    out->flags = flags;
    return OCT_OK;
}

static oct_status pad(struct oct_jr *r, const struct oct_jv *self, const struct oct_jargs *args,
                      unsigned sides, struct oct_jv *out)
{
    BIND("width,fillchar", 1, 2);
    int64_t width;
    uint32_t fill = ' ', n = 1;
    OCT_TRY(oct_jarg_int(r, &p[0], 0, &width));
    if (p[1].type != OCT_JV_MISSING) {
        OCT_TRY(need_string(r, &p[1]));
        if (p[1].len > 0) {
            fill = oct_ju_next(p[1].u.s, &n);
        }
        if (p[1].len != n || /* a marked string would escape it first */
            ((self->flags & OCT_JV_MARKUP) && fill < 0x80 && strchr("&<>'\"", (int)fill))) {
            return oct_jr_fail(r, OCT_E_FORMAT, "the fill character must be one character");
        }
    }
    return oct_jstr_pad(r, self, width, fill, sides, out);
}

#define PAD_METHOD(name, sides) \
    static oct_status name(struct oct_jr *r, const struct oct_jv *self, \
                           const struct oct_jargs *args, struct oct_jv *out) \
    { \
        return pad(r, self, args, (sides), out); \
    }
PAD_METHOD(str_ljust, OCT_JSTR_RIGHT)
PAD_METHOD(str_rjust, OCT_JSTR_LEFT)
PAD_METHOD(str_center, OCT_JSTR_BOTH)

static oct_status str_zfill(struct oct_jr *r, const struct oct_jv *self,
                            const struct oct_jargs *args, struct oct_jv *out)
{
    BIND("width", 1, 1);
    int64_t width;
    OCT_TRY(oct_jarg_int(r, &p[0], 0, &width));
    const bool sign = self->len && (self->u.s[0] == '+' || self->u.s[0] == '-');
    struct oct_jv body = *self, padded;
    body.u.s += sign;
    body.len -= sign;
    OCT_TRY(oct_jstr_pad(r, &body, width < sign ? 0 : width - sign, '0', OCT_JSTR_LEFT, &padded));
    const struct oct_jv head = oct_jv_strn(self->u.s, sign);
    const uint8_t flags = self->flags;
    OCT_TRY(oct_jv_concat(r, &head, &padded, out));
    out->flags = flags;
    return OCT_OK;
}

enum is_kind { IS_ALPHA, IS_DIGIT, IS_ALNUM, IS_SPACE, IS_DECIMAL, IS_ASCII, IS_PRINTABLE };

static bool is_one(enum is_kind kind, uint32_t cp)
{
    switch (kind) {
    case IS_ALPHA:
        return oct_ju_is_alpha(cp);
    case IS_DIGIT:
        return oct_ju_is_digit(cp);
    case IS_ALNUM:
        return oct_ju_is_alnum(cp);
    case IS_SPACE:
        return oct_ju_is_space(cp);
    case IS_DECIMAL:
        return oct_ju_is_decimal(cp);
    case IS_ASCII:
        return cp < 0x80;
    case IS_PRINTABLE:
        break;
    }
    return oct_ju_is_printable(cp);
}

#define IS_METHOD(name, kind) \
    static oct_status name(struct oct_jr *r, const struct oct_jv *self, \
                           const struct oct_jargs *args, struct oct_jv *out) \
    { \
        BIND("", 0, 0); \
        (void)p; \
        bool yes = self->len > 0 || (kind) == IS_ASCII || (kind) == IS_PRINTABLE; \
        uint32_t n; \
        OCT_TRY(oct_jr_charge(r, self->len / 8)); \
        for (size_t i = 0; i < self->len && yes; i += n) { \
            yes = is_one((kind), oct_ju_next(self->u.s + i, &n)); \
        } \
        *out = oct_jv_bool(yes); \
        return OCT_OK; \
    }
IS_METHOD(str_isalpha, IS_ALPHA)
IS_METHOD(str_isdigit, IS_DIGIT)
IS_METHOD(str_isalnum, IS_ALNUM)
IS_METHOD(str_isspace, IS_SPACE)
IS_METHOD(str_isdecimal, IS_DECIMAL)
IS_METHOD(str_isascii, IS_ASCII)
IS_METHOD(str_isprintable, IS_PRINTABLE)

/* isupper, islower, istitle: some cased character, and all of them so. */
bool oct_jstr_is_case(const struct oct_jv *s, enum oct_jstr_case how)
{
    bool cased = false, after_cased = false;
    uint32_t n;
    for (size_t i = 0; i < s->len; i += n) {
        const uint32_t cp = oct_ju_next(s->u.s + i, &n);
        const bool title = oct_ju_is_title(cp), up = oct_ju_is_upper(cp), low = oct_ju_is_lower(cp);
        const bool wrong = how == OCT_JSTR_UPPER ? low || title
                           : how == OCT_JSTR_LOWER
                               ? up || title
                               : (up || title ? after_cased : low && !after_cased);
        if (wrong) {
            return false;
        }
        after_cased = up || low || title;
        cased |= how == OCT_JSTR_UPPER ? up : how == OCT_JSTR_LOWER ? low : after_cased;
    }
    return cased;
}

#define IS_CASE_METHOD(name, how) \
    static oct_status name(struct oct_jr *r, const struct oct_jv *self, \
                           const struct oct_jargs *args, struct oct_jv *out) \
    { \
        BIND("", 0, 0); \
        (void)p; \
        OCT_TRY(oct_jr_charge(r, self->len / 8)); \
        *out = oct_jv_bool(oct_jstr_is_case(self, (how))); \
        return OCT_OK; \
    }
IS_CASE_METHOD(str_isupper, OCT_JSTR_UPPER)
IS_CASE_METHOD(str_islower, OCT_JSTR_LOWER)
IS_CASE_METHOD(str_istitle, OCT_JSTR_TITLE)

static oct_status str_format(struct oct_jr *r, const struct oct_jv *self,
                             const struct oct_jargs *args, struct oct_jv *out)
{
    return oct_jv_format(r, self, args, out);
}

/* ---- dicts ---- */

static oct_status view(struct oct_jr *r, const struct oct_jv *self, const struct oct_jargs *args,
                       enum oct_jv_view which, struct oct_jv *out)
{
    BIND("", 0, 0);
    (void)p;
    *out = (struct oct_jv){.type = OCT_JV_VIEW, .sub = (uint16_t)which, .u.dict = self->u.dict};
    return OCT_OK;
}

static oct_status dict_items(struct oct_jr *r, const struct oct_jv *self,
                             const struct oct_jargs *args, struct oct_jv *out)
{
    return view(r, self, args, OCT_JV_ITEMS, out);
}

static oct_status dict_keys(struct oct_jr *r, const struct oct_jv *self,
                            const struct oct_jargs *args, struct oct_jv *out)
{
    return view(r, self, args, OCT_JV_KEYS, out);
}

static oct_status dict_values(struct oct_jr *r, const struct oct_jv *self,
                              const struct oct_jargs *args, struct oct_jv *out)
{
    return view(r, self, args, OCT_JV_VALUES, out);
}

static oct_status dict_get(struct oct_jr *r, const struct oct_jv *self,
                           const struct oct_jargs *args, struct oct_jv *out)
{
    BIND("key,default", 1, 2);
    struct oct_jv *val;
    OCT_TRY(oct_jdict_get(r, self->u.dict, &p[0], &val));
    *out = val ? *val : p[1].type == OCT_JV_MISSING ? oct_jv_none() : p[1];
    return OCT_OK;
}

/* Copies cannot be told from the original: nothing changes them. */
static oct_status self_copy(struct oct_jr *r, const struct oct_jv *self,
                            const struct oct_jargs *args, struct oct_jv *out)
{
    BIND("", 0, 0);
    (void)p;
    *out = *self;
    return OCT_OK;
}

/* ---- lists, tuples, ranges ---- */

static oct_status seq_count(struct oct_jr *r, const struct oct_jv *self,
                            const struct oct_jargs *args, struct oct_jv *out)
{
    BIND("value", 1, 1);
    struct oct_jit it;
    struct oct_jv item;
    int64_t n = 0;
    bool more, same;
    OCT_TRY(oct_jit_init(r, self, &it));
    for (;;) {
        OCT_TRY(oct_jit_next(r, &it, &item, &more));
        if (!more) {
            break;
        }
        OCT_TRY(oct_jv_eq(r, &item, &p[0], &same));
        n += same;
    }
    *out = oct_jv_int(n);
    return OCT_OK;
}

static oct_status seq_index(struct oct_jr *r, const struct oct_jv *self,
                            const struct oct_jargs *args, struct oct_jv *out)
{
    BIND("value,start,stop", 1, 3);
    struct oct_jit it;
    struct oct_jv item;
    int64_t len, start, stop;
    bool more, same;
    OCT_TRY(oct_jv_len(r, self, &len));
    OCT_TRY(oct_jarg_int(r, &p[1], 0, &start));
    OCT_TRY(oct_jarg_int(r, &p[2], INT64_MAX, &stop));
    start += start < 0 ? len : 0;
    stop += stop < 0 ? len : 0;
    OCT_TRY(oct_jit_init(r, self, &it));
    for (int64_t i = 0;; i++) {
        OCT_TRY(oct_jit_next(r, &it, &item, &more));
        if (!more) {
            return oct_jr_fail(r, OCT_E_FORMAT, "the value is not in the sequence");
        }
        if (i < start || i >= stop) {
            continue;
        }
        OCT_TRY(oct_jv_eq(r, &item, &p[0], &same));
        if (same) {
            *out = oct_jv_int(i);
            return OCT_OK;
        }
    }
}

static oct_status float_is_integer(struct oct_jr *r, const struct oct_jv *self,
                                   const struct oct_jargs *args, struct oct_jv *out)
{
    BIND("", 0, 0);
    (void)p;
    *out = oct_jv_bool(isfinite(self->u.f) && floor(self->u.f) == self->u.f);
    return OCT_OK;
}

/* ---- loop, cycler ---- */

static oct_status loop_cycle(struct oct_jr *r, const struct oct_jv *self,
                             const struct oct_jargs *args, struct oct_jv *out)
{
    return oct_jloop_cycle(r, self->u.loop, args, out);
}

static oct_status loop_changed(struct oct_jr *r, const struct oct_jv *self,
                               const struct oct_jargs *args, struct oct_jv *out)
{
    return oct_jloop_changed(r, self->u.loop, args, out);
}

static oct_status cycler_next(struct oct_jr *r, const struct oct_jv *self,
                              const struct oct_jargs *args, struct oct_jv *out)
{
    BIND("", 0, 0);
    (void)p;
    struct oct_jcycler *c = self->u.cycler;
    *out = c->items[c->pos];
    c->pos = (c->pos + 1) % c->n;
    return OCT_OK;
}

static oct_status cycler_reset(struct oct_jr *r, const struct oct_jv *self,
                               const struct oct_jargs *args, struct oct_jv *out)
{
    BIND("", 0, 0);
    (void)p;
    self->u.cycler->pos = 0;
    *out = oct_jv_none();
    return OCT_OK;
}

/* ---- the table ---- */

static oct_status refused(struct oct_jr *r, const struct oct_jv *self, const struct oct_jargs *args,
                          struct oct_jv *out)
{
    (void)self;
    (void)args;
    (void)out;
    return oct_jr_fail(r, OCT_E_FORMAT, "this method is not safe in a template");
}

// clang-format off
static const struct {
    uint8_t type;
    const char *name;
    method_fn fn; /* NULL: Python has it, this interpreter does not */
} row[] = {
    {OCT_JV_DICT, "items", dict_items}, {OCT_JV_DICT, "keys", dict_keys},
    {OCT_JV_DICT, "values", dict_values}, {OCT_JV_DICT, "get", dict_get},
    {OCT_JV_DICT, "copy", self_copy}, {OCT_JV_DICT, "fromkeys", NULL},
    {OCT_JV_DICT, "clear", refused}, {OCT_JV_DICT, "pop", refused},
    {OCT_JV_DICT, "popitem", refused}, {OCT_JV_DICT, "setdefault", refused},
    {OCT_JV_DICT, "update", refused},
    {OCT_JV_STR, "split", str_split}, {OCT_JV_STR, "strip", str_strip},
    {OCT_JV_STR, "lstrip", str_lstrip}, {OCT_JV_STR, "rstrip", str_rstrip},
    {OCT_JV_STR, "startswith", str_startswith}, {OCT_JV_STR, "endswith", str_endswith},
    {OCT_JV_STR, "replace", str_replace}, {OCT_JV_STR, "upper", str_upper},
    {OCT_JV_STR, "lower", str_lower}, {OCT_JV_STR, "title", str_title},
    {OCT_JV_STR, "capitalize", str_capitalize}, {OCT_JV_STR, "find", str_find},
    {OCT_JV_STR, "rfind", str_rfind}, {OCT_JV_STR, "index", str_index},
    {OCT_JV_STR, "rindex", str_rindex}, {OCT_JV_STR, "count", str_count},
    {OCT_JV_STR, "join", str_join}, {OCT_JV_STR, "rsplit", str_rsplit},
    {OCT_JV_STR, "splitlines", str_splitlines}, {OCT_JV_STR, "format", str_format},
    {OCT_JV_STR, "removeprefix", str_removeprefix}, {OCT_JV_STR, "removesuffix", str_removesuffix},
    {OCT_JV_STR, "partition", str_partition}, {OCT_JV_STR, "rpartition", str_rpartition},
    {OCT_JV_STR, "swapcase", str_swapcase}, {OCT_JV_STR, "zfill", str_zfill},
    {OCT_JV_STR, "ljust", str_ljust}, {OCT_JV_STR, "rjust", str_rjust},
    {OCT_JV_STR, "center", str_center}, {OCT_JV_STR, "isalpha", str_isalpha},
    {OCT_JV_STR, "isdigit", str_isdigit}, {OCT_JV_STR, "isalnum", str_isalnum},
    {OCT_JV_STR, "isspace", str_isspace}, {OCT_JV_STR, "isdecimal", str_isdecimal},
    {OCT_JV_STR, "isascii", str_isascii}, {OCT_JV_STR, "isprintable", str_isprintable},
    {OCT_JV_STR, "isupper", str_isupper}, {OCT_JV_STR, "islower", str_islower},
    {OCT_JV_STR, "istitle", str_istitle}, {OCT_JV_STR, "isnumeric", NULL},
    {OCT_JV_STR, "isidentifier", NULL}, {OCT_JV_STR, "casefold", NULL},
    {OCT_JV_STR, "encode", NULL}, {OCT_JV_STR, "expandtabs", NULL},
    {OCT_JV_STR, "format_map", NULL}, {OCT_JV_STR, "maketrans", NULL},
    {OCT_JV_STR, "translate", NULL},
    {OCT_JV_LIST, "count", seq_count}, {OCT_JV_LIST, "index", seq_index},
    {OCT_JV_LIST, "copy", self_copy}, {OCT_JV_LIST, "append", refused},
    {OCT_JV_LIST, "clear", refused}, {OCT_JV_LIST, "pop", refused},
    {OCT_JV_LIST, "reverse", refused}, {OCT_JV_LIST, "insert", refused},
    {OCT_JV_LIST, "sort", refused}, {OCT_JV_LIST, "extend", refused},
    {OCT_JV_LIST, "remove", refused},
    {OCT_JV_TUPLE, "count", seq_count}, {OCT_JV_TUPLE, "index", seq_index},
    {OCT_JV_RANGE, "count", seq_count}, {OCT_JV_RANGE, "index", seq_index},
    {OCT_JV_INT, "bit_length", NULL}, {OCT_JV_INT, "bit_count", NULL},
    {OCT_JV_INT, "conjugate", NULL}, {OCT_JV_INT, "to_bytes", NULL},
    {OCT_JV_INT, "from_bytes", NULL}, {OCT_JV_INT, "as_integer_ratio", NULL},
    {OCT_JV_BOOL, "bit_length", NULL}, {OCT_JV_BOOL, "bit_count", NULL},
    {OCT_JV_BOOL, "conjugate", NULL}, {OCT_JV_BOOL, "to_bytes", NULL},
    {OCT_JV_BOOL, "from_bytes", NULL}, {OCT_JV_BOOL, "as_integer_ratio", NULL},
    {OCT_JV_FLOAT, "is_integer", float_is_integer}, {OCT_JV_FLOAT, "hex", NULL},
    {OCT_JV_FLOAT, "fromhex", NULL}, {OCT_JV_FLOAT, "conjugate", NULL},
    {OCT_JV_FLOAT, "as_integer_ratio", NULL},
    {OCT_JV_LOOP, "cycle", loop_cycle}, {OCT_JV_LOOP, "changed", loop_changed},
    {OCT_JV_CYCLER, "next", cycler_next}, {OCT_JV_CYCLER, "reset", cycler_reset},
};
// clang-format on

int oct_jmethod_find(const struct oct_jv *self, const struct oct_jv *name)
{
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        if (row[i].type == self->type && row[i].name[0] == (name->len ? name->u.s[0] : 0) &&
            strlen(row[i].name) == name->len && memcmp(row[i].name, name->u.s, name->len) == 0) {
            return row[i].fn == refused ? -2 : (int)i;
        }
    }
    return -1;
}

oct_status oct_jmethod_call(struct oct_jr *r, const struct oct_jv *method,
                            const struct oct_jargs *args, struct oct_jv *out)
{
    if (!row[method->sub].fn) {
        return oct_jr_fail(r, OCT_E_UNSUPPORTED, "the method '%s' is not supported",
                           row[method->sub].name);
    }
    return row[method->sub].fn(r, method->u.self, args, out);
}
