/* SPDX-License-Identifier: Apache-2.0
 *
 * jinja_value.c - what every part of a render stands on: failing, charging, allocating; and making,
 * comparing and looking up values. */
#include "text/jinja_run.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- failing, charging, allocating ---- */

oct_status oct_jr_fail(struct oct_jr *r, oct_status st, const char *fmt, ...)
{
    char why[512], quoted[80];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(why, sizeof why, fmt, ap);
    va_end(ap);
    if (!r->cur) {
        return OCT_FAIL(st, "chat template: %s", why);
    }
    return OCT_FAIL(st, "chat template, line %u, '%s': %s", r->cur->line,
                    oct_jinja_snippet(r->t, r->cur->at, r->cur->end, quoted), why);
}

const char *oct_jr_quote(struct oct_jr *r, const char *s, size_t len)
{
    char *dst = r->quoted[r->n_quoted++ % 2];
    return oct_error_quote(dst, sizeof r->quoted[0], s, len);
}

oct_status oct_jr_fail_undef(struct oct_jr *r, const struct oct_jv *v)
{
    const struct oct_jv of = {.type = v->flags};
    switch ((enum oct_jv_undef)v->sub) {
    case OCT_JV_U_NAME:
        return oct_jr_fail(r, OCT_E_FORMAT, "'%s' is undefined", oct_jr_quote(r, v->u.s, v->len));
    case OCT_JV_U_ATTR:
        return oct_jr_fail(r, OCT_E_FORMAT, "'%s object' has no attribute '%s'",
                           oct_jv_type_name(&of), oct_jr_quote(r, v->u.s, v->len));
    case OCT_JV_U_ITEM:
        return oct_jr_fail(r, OCT_E_FORMAT, "the %s has no such element", oct_jv_type_name(&of));
    case OCT_JV_U_UNSAFE:
        return oct_jr_fail(r, OCT_E_FORMAT, "the attribute '%s' is not safe in a template",
                           oct_jr_quote(r, v->u.s, v->len));
    case OCT_JV_U_HINT:
        break;
    }
    return oct_jr_fail(r, OCT_E_FORMAT, "%s", v->u.s);
}

oct_status oct_jr_charge(struct oct_jr *r, uint64_t steps)
{
    if (steps > OCT_JINJA_MAX_STEPS - r->steps) {
        return oct_jr_fail(r, OCT_E_LIMIT, "the template takes over %d steps", OCT_JINJA_MAX_STEPS);
    }
    r->steps += (uint32_t)steps;
    return OCT_OK;
}

oct_status oct_jr_enter(struct oct_jr *r)
{
    if (r->depth == OCT_JINJA_MAX_DEPTH) {
        return oct_jr_fail(r, OCT_E_LIMIT, "values or calls nested over %d levels deep",
                           OCT_JINJA_MAX_DEPTH);
    }
    r->depth++;
    return OCT_OK;
}

void *oct_jr_alloc(struct oct_jr *r, size_t n, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(n, size, &bytes) || bytes > OCT_JINJA_MAX_MEMORY ||
        r->arena.used_bytes > OCT_JINJA_MAX_MEMORY - bytes) {
        r->alloc_st = oct_jr_fail(r, OCT_E_LIMIT, "the template needs over %d MiB of memory",
                                  OCT_JINJA_MAX_MEMORY >> 20);
        return NULL;
    }
    void *p = oct_arena_alloc(&r->arena, bytes);
    if (!p) {
        r->alloc_st = oct_no_memory("rendering a chat template", bytes);
    }
    return p;
}

oct_status oct_jr_put(struct oct_jr *r, const void *s, size_t len)
{
    OCT_TRY(oct_jr_charge_bytes(r, len));
    if (len > OCT_JINJA_MAX_OUTPUT - r->out.len) {
        return oct_jr_fail(r, OCT_E_LIMIT, "the template writes over %d MiB",
                           OCT_JINJA_MAX_OUTPUT >> 20);
    }
    OCT_TRY(oct_buf_append(&r->out, s, len));
    return r->origin ? oct_jr_origin_put(r, s, len) : OCT_OK;
}

oct_status oct_jr_take(struct oct_jr *r, size_t mark, struct oct_jv *out)
{
    const size_t len = r->out.len - mark;
    if (len > OCT_JINJA_MAX_STRING) {
        return oct_jr_fail(r, OCT_E_LIMIT, "a string over %d MiB", OCT_JINJA_MAX_STRING >> 20);
    }
    char *marks;
    char *s = oct_jr_alloc_string(r, len, &marks);
    if (!s) {
        return oct_jr_out_of_memory(r);
    }
    OCT_TRY(oct_jr_charge_bytes(r, len));
    if (len) {
        memcpy(s, r->out.data + mark, len);
    }
    if (len && marks) {
        memcpy(marks, r->origin->out.data + mark, len);
    }
    r->out.len = mark;
    *out = oct_jv_strn(s, len);
    return OCT_OK;
}

/* ---- making ---- */

const char *oct_jv_type_name(const struct oct_jv *v)
{
    static const char *const name[OCT_JV_N_TYPES] = {
        [OCT_JV_MISSING] = "missing", [OCT_JV_UNDEF] = "Undefined", [OCT_JV_NONE] = "None",
        [OCT_JV_BOOL] = "bool",       [OCT_JV_INT] = "int",         [OCT_JV_FLOAT] = "float",
        [OCT_JV_STR] = "str",         [OCT_JV_LIST] = "list",       [OCT_JV_TUPLE] = "tuple",
        [OCT_JV_DICT] = "dict",       [OCT_JV_RANGE] = "range",     [OCT_JV_VIEW] = "dict view",
        [OCT_JV_ITER] = "generator",  [OCT_JV_NS] = "namespace",    [OCT_JV_MACRO] = "macro",
        [OCT_JV_METHOD] = "method",   [OCT_JV_GLOBAL] = "function", [OCT_JV_LOOP] = "loop",
        [OCT_JV_CYCLER] = "cycler",   [OCT_JV_JOINER] = "joiner",
    };
    return v->type < OCT_JV_N_TYPES ? name[v->type] : "?";
}

oct_status oct_jv_new_list(struct oct_jr *r, enum oct_jv_type type, size_t n, struct oct_jv *out)
{
    struct oct_jlist *l = oct_jr_alloc(r, 1, sizeof *l);
    if (!l) {
        return oct_jr_out_of_memory(r);
    }
    OCT_TRY(oct_jr_charge(r, n / 4));
    l->items = oct_jr_alloc(r, n, sizeof *l->items);
    if (!l->items) {
        return oct_jr_out_of_memory(r);
    }
    l->n = (uint32_t)n; /* fits: the items fit the memory limit */
    *out = (struct oct_jv){.type = (uint8_t)type, .u.list = l};
    return OCT_OK;
}

oct_status oct_jv_from_json(struct oct_jr *r, const json_t *j, struct oct_jv *out)
{
    switch (json_typeof(j)) {
    case JSON_OBJECT:
    case JSON_ARRAY: {
        const bool list = json_is_array(j);
        const size_t n = list ? json_array_size(j) : json_object_size(j);
        if (n > OCT_JINJA_MAX_MEMORY / sizeof(struct oct_jv)) {
            return oct_jr_fail(r, OCT_E_LIMIT, "a JSON value with %zu elements", n);
        }
        struct oct_jlist *l = list ? oct_jr_alloc(r, 1, sizeof *l) : NULL;
        struct oct_jdict *d = list ? NULL : oct_jr_alloc(r, 1, sizeof *d);
        if (l) {
            *l = (struct oct_jlist){.n = (uint32_t)n, .src = j};
            *out = (struct oct_jv){.type = OCT_JV_LIST, .u.list = l};
        } else if (d) {
            *d = (struct oct_jdict){.n = (uint32_t)n, .src = j};
            *out = (struct oct_jv){.type = OCT_JV_DICT, .u.dict = d};
        } else {
            return oct_jr_out_of_memory(r);
        }
        return OCT_OK;
    }
    case JSON_STRING: {
        const size_t len = json_string_length(j);
        if (len > OCT_JINJA_MAX_OUTPUT) {
            return oct_jr_fail(r, OCT_E_LIMIT,
                               "an input string of %zu bytes; at most %d can be shown", len,
                               OCT_JINJA_MAX_OUTPUT);
        }
        *out = oct_jv_strn(json_string_value(j), len);
        return OCT_OK;
    }
    case JSON_INTEGER:
        *out = oct_jv_int(json_integer_value(j));
        return OCT_OK;
    case JSON_REAL:
        *out = oct_jv_float(json_real_value(j));
        return OCT_OK;
    case JSON_TRUE:
    case JSON_FALSE:
        *out = oct_jv_bool(json_is_true(j));
        return OCT_OK;
    case JSON_NULL:
        break;
    }
    *out = oct_jv_none();
    return OCT_OK;
}

static oct_status load_list(struct oct_jr *r, struct oct_jlist *l)
{
    OCT_TRY(oct_jr_charge(r, l->n / 4));
    struct oct_jv *items = oct_jr_alloc(r, l->n, sizeof *items);
    if (!items) {
        return oct_jr_out_of_memory(r);
    }
    for (uint32_t i = 0; i < l->n; i++) {
        OCT_TRY(oct_jv_from_json(r, json_array_get(l->src, i), &items[i]));
    }
    l->items = items;
    return OCT_OK;
}

/* Roles as all templates know them. Some write '<|' + message['role'] + '|>', so that these words
 * count as the template's own; any other role is text. */
static bool is_role(const struct oct_jv *key, const struct oct_jv *v)
{
    static const char *const role[] = {"system", "user",     "assistant", "tool",       "developer",
                                       "model",  "function", "ipython",   "observation"};
    bool known = false;
    for (size_t i = 0; i < sizeof role / sizeof *role && oct_jv_is_word(key, "role"); i++) {
        known = known || (v->type == OCT_JV_STR && v->len == strlen(role[i]) &&
                          memcmp(v->u.s, role[i], v->len) == 0);
    }
    return known;
}

static oct_status load_dict(struct oct_jr *r, struct oct_jdict *d)
{
    struct oct_jdict *full = NULL;
    OCT_TRY(oct_jdict_new(r, d->n, &full));
    const char *key;
    json_t *val;
    json_object_foreach((json_t *)(uintptr_t)d->src, key, val) /* reads only */
    {
        struct oct_jv v;
        const struct oct_jv k = oct_jv_strn(key, strlen(key));
        OCT_TRY(oct_jv_from_json(r, val, &v));
        if (r->origin && is_role(&k, &v)) {
            OCT_TRY(oct_jr_origin_own(r, &v));
        }
        OCT_TRY(oct_jdict_set(r, full, &k, &v));
    }
    *d = *full;
    return OCT_OK;
}

oct_status oct_jv_load(struct oct_jr *r, const struct oct_jv *v)
{
    if ((v->type == OCT_JV_LIST || v->type == OCT_JV_TUPLE) && !v->u.list->items) {
        return load_list(r, v->u.list);
    }
    if ((v->type == OCT_JV_DICT || v->type == OCT_JV_VIEW) && !v->u.dict->e) {
        return load_dict(r, v->u.dict);
    }
    return OCT_OK;
}

/* A string that grows by + in a loop is extended in place while nothing else was made after it;
 * the shorter strings before keep their length and do not see the new bytes. */
oct_status oct_jv_concat(struct oct_jr *r, const struct oct_jv *a, const struct oct_jv *b,
                         struct oct_jv *out)
{
    const size_t len = (size_t)a->len + b->len;
    if (len > OCT_JINJA_MAX_STRING) {
        return oct_jr_fail(r, OCT_E_LIMIT, "a string over %d MiB", OCT_JINJA_MAX_STRING >> 20);
    }
    if (b->len == 0 || a->len == 0) {
        *out = b->len == 0 ? *a : *b;
        return OCT_OK;
    }
    const bool grows = r->cat && a->u.s == r->cat && a->len == r->cat_len;
    OCT_TRY(oct_jr_charge_bytes(r, grows ? b->len : len));
    if (!grows || len > r->cat_cap) {
        const size_t cap = grows ? 2 * len : len + len / 2;
        char *marks;
        char *s = oct_jr_alloc_string(r, cap, &marks);
        if (!s) {
            return oct_jr_out_of_memory(r);
        }
        memcpy(s, a->u.s, a->len);
        if (marks) {
            oct_jr_origin_of(r, a->u.s, a->len, marks);
        }
        r->cat = s;
        r->cat_marks = marks;
        r->cat_cap = cap;
    }
    memcpy(r->cat + a->len, b->u.s, b->len);
    if (r->cat_marks) {
        oct_jr_origin_of(r, b->u.s, b->len, r->cat_marks + a->len);
    }
    r->cat_len = len;
    *out = oct_jv_strn(r->cat, len);
    return OCT_OK;
}

/* ---- truth, equality, order ---- */

bool oct_jv_truth(const struct oct_jv *v)
{
    switch (v->type) {
    case OCT_JV_MISSING:
    case OCT_JV_UNDEF:
    case OCT_JV_NONE:
        return false;
    case OCT_JV_BOOL:
        return v->u.b;
    case OCT_JV_INT:
        return v->u.i != 0;
    case OCT_JV_FLOAT:
        return v->u.f != 0.0;
    case OCT_JV_STR:
        return v->len != 0;
    case OCT_JV_LIST:
    case OCT_JV_TUPLE:
        return v->u.list->n != 0;
    case OCT_JV_DICT:
    case OCT_JV_VIEW:
        return v->u.dict->n != 0;
    case OCT_JV_RANGE:
        return v->u.range->n != 0;
    default:
        return true;
    }
}

/* -1, 0, 1, or 2 if one is no number (NaN). int against float is exact: long double holds both. */
static int compare_numbers(const struct oct_jv *a, const struct oct_jv *b)
{
    int64_t i, k;
    if (oct_jv_is_int(a, &i) && oct_jv_is_int(b, &k)) {
        return i < k ? -1 : i > k;
    }
    const long double x = oct_jv_is_int(a, &i) ? (long double)i : (long double)a->u.f;
    const long double y = oct_jv_is_int(b, &i) ? (long double)i : (long double)b->u.f;
    return x < y ? -1 : x > y ? 1 : x == y ? 0 : 2;
}

static oct_status eq_items(struct oct_jr *r, const struct oct_jv *a, const struct oct_jv *b,
                           bool *out)
{
    *out = a->u.list->n == b->u.list->n;
    OCT_TRY(oct_jv_load(r, a));
    OCT_TRY(oct_jv_load(r, b));
    for (uint32_t i = 0; *out && i < a->u.list->n; i++) {
        OCT_TRY(oct_jv_eq(r, &a->u.list->items[i], &b->u.list->items[i], out));
    }
    return OCT_OK;
}

static oct_status eq_dicts(struct oct_jr *r, const struct oct_jv *a, const struct oct_jv *b,
                           bool *out)
{
    *out = a->u.dict->n == b->u.dict->n;
    OCT_TRY(oct_jv_load(r, a));
    OCT_TRY(oct_jv_load(r, b));
    for (uint32_t i = 0; *out && i < a->u.dict->n; i++) {
        struct oct_jv *other;
        OCT_TRY(oct_jdict_get(r, b->u.dict, &a->u.dict->e[i].key, &other));
        *out = other != NULL;
        if (other) {
            OCT_TRY(oct_jv_eq(r, &a->u.dict->e[i].val, other, out));
        }
    }
    return OCT_OK;
}

static bool eq_ranges(const struct oct_jrange *a, const struct oct_jrange *b)
{
    return a->n == b->n &&
           (a->n == 0 || (a->start == b->start && (a->n == 1 || a->step == b->step)));
}

oct_status oct_jv_eq(struct oct_jr *r, const struct oct_jv *a, const struct oct_jv *b, bool *out)
{
    OCT_TRY(oct_jr_charge(r, 1));
    if (oct_jv_is_num(a) && oct_jv_is_num(b)) {
        *out = compare_numbers(a, b) == 0;
        return OCT_OK;
    }
    *out = false;
    if (a->type != b->type) {
        return OCT_OK;
    }
    oct_status st = OCT_OK;
    switch (a->type) {
    case OCT_JV_UNDEF:
    case OCT_JV_NONE:
        *out = true;
        return OCT_OK;
    case OCT_JV_STR:
        *out = a->len == b->len && memcmp(a->u.s, b->u.s, a->len) == 0;
        return oct_jr_charge_bytes(r, a->len == b->len ? a->len : 0);
    case OCT_JV_LIST:
    case OCT_JV_TUPLE:
    case OCT_JV_DICT:
        if (a->u.list == b->u.list) {
            *out = true;
            return OCT_OK;
        }
        OCT_TRY(oct_jr_enter(r));
        st = a->type == OCT_JV_DICT ? eq_dicts(r, a, b, out) : eq_items(r, a, b, out);
        oct_jr_leave(r);
        return st;
    case OCT_JV_RANGE:
        *out = eq_ranges(a->u.range, b->u.range);
        return OCT_OK;
    case OCT_JV_VIEW:
        *out = a->u.dict == b->u.dict && a->sub == b->sub;
        if (!*out && a->sub != OCT_JV_VALUES && b->sub != OCT_JV_VALUES) {
            return oct_jr_fail(r, OCT_E_UNSUPPORTED, "dict views cannot be compared here");
        }
        return OCT_OK;
    case OCT_JV_GLOBAL:
        *out = a->sub == b->sub;
        return OCT_OK;
    default:
        *out = a->u.list == b->u.list; /* whatever it points to: the same object */
        return OCT_OK;
    }
}

static bool order_holds(enum oct_jop op, int cmp)
{
    return op == OCT_JOP_LT   ? cmp == -1
           : op == OCT_JOP_LE ? cmp == -1 || cmp == 0
           : op == OCT_JOP_GT ? cmp == 1
                              : cmp == 1 || cmp == 0;
}

static oct_status order_items(struct oct_jr *r, enum oct_jop op, const struct oct_jv *a,
                              const struct oct_jv *b, bool *out)
{
    OCT_TRY(oct_jv_load(r, a));
    OCT_TRY(oct_jv_load(r, b));
    const struct oct_jlist *x = a->u.list, *y = b->u.list;
    for (uint32_t i = 0; i < x->n && i < y->n; i++) {
        bool same;
        OCT_TRY(oct_jv_eq(r, &x->items[i], &y->items[i], &same));
        if (!same) {
            return oct_jv_order(r, op, &x->items[i], &y->items[i], out);
        }
    }
    *out = order_holds(op, x->n < y->n ? -1 : x->n > y->n);
    return OCT_OK;
}

oct_status oct_jv_order(struct oct_jr *r, enum oct_jop op, const struct oct_jv *a,
                        const struct oct_jv *b, bool *out)
{
    static const char *const text[] = {"<", "<=", ">", ">="};
    OCT_TRY(oct_jr_charge(r, 1));
    if (oct_jv_is_num(a) && oct_jv_is_num(b)) {
        *out = order_holds(op, compare_numbers(a, b));
        return OCT_OK;
    }
    if (a->type == OCT_JV_STR && b->type == OCT_JV_STR) { /* UTF-8 sorts as code points do */
        const uint32_t n = a->len < b->len ? a->len : b->len;
        const int c = memcmp(a->u.s, b->u.s, n);
        *out = order_holds(op, c ? (c < 0 ? -1 : 1) : a->len < b->len ? -1 : a->len > b->len);
        return oct_jr_charge_bytes(r, n);
    }
    if (a->type == b->type && (a->type == OCT_JV_LIST || a->type == OCT_JV_TUPLE)) {
        OCT_TRY(oct_jr_enter(r));
        const oct_status st = order_items(r, op, a, b, out);
        oct_jr_leave(r);
        return st;
    }
    if (a->type == OCT_JV_UNDEF || b->type == OCT_JV_UNDEF) {
        return oct_jr_fail_undef(r, a->type == OCT_JV_UNDEF ? a : b);
    }
    if (a->type == OCT_JV_VIEW && b->type == OCT_JV_VIEW) {
        return oct_jr_fail(r, OCT_E_UNSUPPORTED, "dict views cannot be compared here");
    }
    return oct_jr_fail(r, OCT_E_FORMAT, "'%s' is not supported between %s and %s",
                       text[op - OCT_JOP_LT], oct_jv_type_name(a), oct_jv_type_name(b));
}

/* ---- dicts ---- */

bool oct_jv_hashable(const struct oct_jv *v)
{
    if (v->type == OCT_JV_TUPLE) {
        for (uint32_t i = 0; i < v->u.list->n; i++) { /* tuples are never out of JSON */
            const struct oct_jv *item = &v->u.list->items[i];
            if (item->type == OCT_JV_TUPLE || !oct_jv_hashable(item)) {
                return false; /* tuples inside tuples as keys: not needed, and no recursion */
            }
        }
        return true;
    }
    return v->type != OCT_JV_LIST && v->type != OCT_JV_DICT && v->type != OCT_JV_VIEW;
}

static uint32_t mix(uint64_t x)
{
    x ^= x >> 33;
    x *= 0xff51afd7ed558ccdull;
    x ^= x >> 33;
    return (uint32_t)x;
}

static uint32_t hash_one(const struct oct_jv *v)
{
    int64_t i;
    if (oct_jv_is_int(v, &i)) {
        return mix((uint64_t)i);
    }
    if (v->type == OCT_JV_FLOAT) { /* 1.0 is the key 1 */
        if (v->u.f >= -9e18 && v->u.f <= 9e18 && (double)(int64_t)v->u.f == v->u.f) {
            return mix((uint64_t)(int64_t)v->u.f);
        }
        uint64_t bits;
        memcpy(&bits, &v->u.f, sizeof bits);
        return mix(bits);
    }
    if (v->type == OCT_JV_STR) {
        uint64_t h = 1469598103934665603ull;
        for (uint32_t k = 0; k < v->len; k++) {
            h = (h ^ (unsigned char)v->u.s[k]) * 1099511628211ull;
        }
        return mix(h);
    }
    return v->type;
}

static uint32_t hash_value(const struct oct_jv *v)
{
    if (v->type != OCT_JV_TUPLE) {
        return hash_one(v);
    }
    uint32_t h = v->u.list->n;
    for (uint32_t i = 0; i < v->u.list->n; i++) {
        h = mix((uint64_t)h << 32 | hash_one(&v->u.list->items[i]));
    }
    return h;
}

oct_status oct_jdict_new(struct oct_jr *r, size_t cap, struct oct_jdict **out)
{
    struct oct_jdict *d = oct_jr_alloc(r, 1, sizeof *d);
    if (!d) {
        return oct_jr_out_of_memory(r);
    }
    cap = cap < 4 ? 4 : cap;
    d->e = oct_jr_alloc(r, cap, sizeof *d->e);
    if (!d->e) {
        return oct_jr_out_of_memory(r);
    }
    d->cap = (uint32_t)cap;
    *out = d;
    return OCT_OK;
}

enum { SMALL_DICT = 8 }; /* up to here a walk over the keys beats an index */

static oct_status find_entry(struct oct_jr *r, const struct oct_jdict *d, const struct oct_jv *key,
                             uint32_t hash, uint32_t *at, bool *found)
{
    *found = false;
    if (!d->index) {
        for (*at = 0; *at < d->n; ++*at) {
            const struct oct_jentry *e = &d->e[*at];
            if (e->hash == hash) {
                OCT_TRY(oct_jv_eq(r, &e->key, key, found));
                if (*found) {
                    return OCT_OK;
                }
            }
        }
        return OCT_OK;
    }
    for (uint32_t slot = hash & d->mask; d->index[slot]; slot = (slot + 1) & d->mask) {
        *at = d->index[slot] - 1;
        OCT_TRY(oct_jr_charge(r, 1)); /* keys made to collide cost steps */
        if (d->e[*at].hash == hash) {
            OCT_TRY(oct_jv_eq(r, &d->e[*at].key, key, found));
            if (*found) {
                return OCT_OK;
            }
        }
    }
    return OCT_OK;
}

static void index_entry(struct oct_jdict *d, uint32_t at)
{
    uint32_t slot = d->e[at].hash & d->mask;
    while (d->index[slot]) {
        slot = (slot + 1) & d->mask;
    }
    d->index[slot] = at + 1;
}

static oct_status make_room(struct oct_jr *r, struct oct_jdict *d)
{
    if (d->n == d->cap) {
        const size_t cap = 2 * (size_t)d->cap;
        OCT_TRY(oct_jr_charge(r, d->n));
        struct oct_jentry *e = oct_jr_alloc(r, cap, sizeof *e);
        if (!e) {
            return oct_jr_out_of_memory(r);
        }
        memcpy(e, d->e, d->n * sizeof *e);
        d->e = e;
        d->cap = (uint32_t)cap;
    }
    if (d->n + 1 > SMALL_DICT && (!d->index || d->n + 1 > d->mask / 2)) {
        uint32_t size = 32;
        while (size < 4 * (d->n + 1)) {
            size *= 2;
        }
        d->index = oct_jr_alloc(r, size, sizeof *d->index);
        if (!d->index) {
            return oct_jr_out_of_memory(r);
        }
        d->mask = size - 1;
        for (uint32_t i = 0; i < d->n; i++) {
            index_entry(d, i);
        }
    }
    return OCT_OK;
}

oct_status oct_jdict_get(struct oct_jr *r, struct oct_jdict *d, const struct oct_jv *key,
                         struct oct_jv **val)
{
    *val = NULL;
    if (!d->e) {
        const struct oct_jv v = {.type = OCT_JV_DICT, .u.dict = d};
        OCT_TRY(oct_jv_load(r, &v));
    }
    if (!oct_jv_hashable(key)) {
        return oct_jr_fail(r, OCT_E_FORMAT, "a %s cannot be the key of a dict",
                           oct_jv_type_name(key));
    }
    uint32_t at;
    bool found;
    OCT_TRY(find_entry(r, d, key, hash_value(key), &at, &found));
    if (found) {
        *val = &d->e[at].val;
    }
    return OCT_OK;
}

oct_status oct_jdict_set(struct oct_jr *r, struct oct_jdict *d, const struct oct_jv *key,
                         const struct oct_jv *val)
{
    if (!oct_jv_hashable(key)) {
        return oct_jr_fail(r, OCT_E_FORMAT, "a %s cannot be the key of a dict",
                           oct_jv_type_name(key));
    }
    const uint32_t hash = hash_value(key);
    uint32_t at;
    bool found;
    OCT_TRY(find_entry(r, d, key, hash, &at, &found));
    if (found) {
        d->e[at].val = *val;
        return OCT_OK;
    }
    OCT_TRY(make_room(r, d));
    d->e[d->n] = (struct oct_jentry){.key = *key, .val = *val, .hash = hash};
    d->n++;
    if (d->index) {
        index_entry(d, d->n - 1);
    }
    return OCT_OK;
}
