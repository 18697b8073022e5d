/* SPDX-License-Identifier: Apache-2.0
 *
 * jinja_iter.c - walking over values, and reaching into them: items, attributes, slices. */
#include "text/jinja_run.h"
#include "text/jinja_utf8.h"

#include <string.h>

/* ---- walking ---- */

bool oct_jv_iterable(const struct oct_jv *v)
{
    switch (v->type) {
    case OCT_JV_UNDEF:
    case OCT_JV_STR:
    case OCT_JV_LIST:
    case OCT_JV_TUPLE:
    case OCT_JV_DICT:
    case OCT_JV_RANGE:
    case OCT_JV_VIEW:
    case OCT_JV_ITER:
    case OCT_JV_LOOP:
        return true;
    default:
        return false;
    }
}

oct_status oct_jit_init(struct oct_jr *r, const struct oct_jv *v, struct oct_jit *it)
{
    *it = (struct oct_jit){.v = *v};
    OCT_TRY(oct_jv_load(r, v));
    switch (v->type) {
    case OCT_JV_UNDEF:
    case OCT_JV_ITER:
        return OCT_OK;
    case OCT_JV_STR:
        it->n = v->len;
        return OCT_OK;
    case OCT_JV_LIST:
    case OCT_JV_TUPLE:
        it->items = v->u.list->items;
        it->n = v->u.list->n;
        return OCT_OK;
    case OCT_JV_DICT:
    case OCT_JV_VIEW:
        it->n = v->u.dict->n;
        return OCT_OK;
    case OCT_JV_RANGE:
        it->n = v->u.range->n;
        return OCT_OK;
    case OCT_JV_LOOP:
        return oct_jr_fail(r, OCT_E_UNSUPPORTED, "the loop itself cannot be walked over");
    default:
        return oct_jr_fail(r, OCT_E_FORMAT, "a %s cannot be walked over", oct_jv_type_name(v));
    }
}

static oct_status item_pair(struct oct_jr *r, const struct oct_jentry *e, struct oct_jv *out)
{
    OCT_TRY(oct_jv_new_list(r, OCT_JV_TUPLE, 2, out));
    out->u.list->items[0] = e->key;
    out->u.list->items[1] = e->val;
    return OCT_OK;
}

static oct_status iter_next(struct oct_jr *r, struct oct_jiter *it, struct oct_jv *out, bool *more)
{
    if (it->pos < it->n) {
        *out = it->items[it->pos++];
        *more = true;
        return OCT_OK;
    }
    *more = false;
    if (it->st != OCT_OK) {
        const oct_status st = it->st;
        it->st = OCT_OK;
        (void)r;
        return OCT_FAIL(st, "%s", it->why);
    }
    return OCT_OK;
}

oct_status oct_jit_next(struct oct_jr *r, struct oct_jit *it, struct oct_jv *out, bool *more)
{
    OCT_TRY(oct_jr_charge(r, 1));
    if (it->v.type == OCT_JV_ITER) {
        return iter_next(r, it->v.u.iter, out, more);
    }
    *more = it->pos < it->n;
    if (!*more) {
        return OCT_OK;
    }
    const uint32_t at = it->pos++;
    switch (it->v.type) {
    case OCT_JV_STR: {
        uint32_t n;
        (void)oct_ju_next(it->v.u.s + at, &n);
        *out = oct_jv_strn(it->v.u.s + at, n);
        out->flags = 0; /* Python walks the plain characters of Markup */
        it->pos = at + n;
        return OCT_OK;
    }
    case OCT_JV_LIST:
    case OCT_JV_TUPLE:
        *out = it->items[at];
        return OCT_OK;
    case OCT_JV_RANGE:
        *out = oct_jv_int(it->v.u.range->start + (int64_t)at * it->v.u.range->step);
        return OCT_OK;
    case OCT_JV_DICT:
        *out = it->v.u.dict->e[at].key;
        return OCT_OK;
    case OCT_JV_VIEW: {
        const struct oct_jentry *e = &it->v.u.dict->e[at];
        if (it->v.sub == OCT_JV_ITEMS) {
            return item_pair(r, e, out);
        }
        *out = it->v.sub == OCT_JV_KEYS ? e->key : e->val;
        return OCT_OK;
    }
    default:
        *more = false;
        return OCT_OK;
    }
}

oct_status oct_jv_new_iter(struct oct_jr *r, const char *kind, struct oct_jv *items, size_t n,
                           struct oct_jv *out)
{
    struct oct_jiter *it = oct_jr_alloc(r, 1, sizeof *it);
    if (!it) {
        return oct_jr_out_of_memory(r);
    }
    *it = (struct oct_jiter){.items = items, .n = (uint32_t)n, .kind = kind};
    *out = (struct oct_jv){.type = OCT_JV_ITER, .u.iter = it};
    return OCT_OK;
}

oct_status oct_jv_to_list(struct oct_jr *r, enum oct_jv_type type, const struct oct_jv *v,
                          struct oct_jv *out)
{
    struct oct_jit it;
    int64_t n;
    OCT_TRY(oct_jit_init(r, v, &it));
    OCT_TRY(oct_jv_len(r, v, &n));
    if (v->type == OCT_JV_ITER) {
        n = v->u.iter->n - v->u.iter->pos;
    }
    OCT_TRY(oct_jv_new_list(r, type, n > 0 ? (size_t)n : 0, out));
    for (int64_t i = 0;; i++) {
        struct oct_jv item;
        bool more;
        OCT_TRY(oct_jit_next(r, &it, &item, &more));
        if (!more) {
            return OCT_OK;
        }
        OCT_ASSERT(i < n);
        out->u.list->items[i] = item;
    }
}

oct_status oct_jv_len(struct oct_jr *r, const struct oct_jv *v, int64_t *n)
{
    switch (v->type) {
    case OCT_JV_UNDEF:
        *n = 0;
        return OCT_OK;
    case OCT_JV_STR:
        *n = (int64_t)oct_ju_count(v->u.s, v->len);
        return oct_jr_charge_bytes(r, v->len);
    case OCT_JV_LIST:
    case OCT_JV_TUPLE:
        *n = v->u.list->n;
        return OCT_OK;
    case OCT_JV_DICT:
    case OCT_JV_VIEW:
        *n = v->u.dict->n;
        return OCT_OK;
    case OCT_JV_RANGE:
        *n = v->u.range->n;
        return OCT_OK;
    case OCT_JV_LOOP: {
        static const char name[] = "length";
        const struct oct_jv key = oct_jv_strn(name, sizeof name - 1);
        struct oct_jv len;
        OCT_TRY(oct_jloop_attr(r, v->u.loop, &key, &len));
        *n = len.u.i;
        return OCT_OK;
    }
    default:
        *n = -1;
        return OCT_OK;
    }
}

/* ---- in ---- */

static oct_status contains_by_walk(struct oct_jr *r, const struct oct_jv *in,
                                   const struct oct_jv *what, bool *out)
{
    struct oct_jit it;
    OCT_TRY(oct_jit_init(r, in, &it));
    *out = false;
    while (!*out) {
        struct oct_jv item;
        bool more;
        OCT_TRY(oct_jit_next(r, &it, &item, &more));
        if (!more) {
            break;
        }
        OCT_TRY(oct_jv_eq(r, &item, what, out));
    }
    return OCT_OK;
}

oct_status oct_jv_contains(struct oct_jr *r, const struct oct_jv *in, const struct oct_jv *what,
                           bool *out)
{
    struct oct_jv *val;
    int64_t i;
    switch (in->type) {
    case OCT_JV_STR:
        if (what->type != OCT_JV_STR) {
            return oct_jr_fail(r, OCT_E_FORMAT, "'in <string>' needs a string on its left, not %s",
                               oct_jv_type_name(what));
        }
        *out = what->len == 0 || memmem(in->u.s, in->len, what->u.s, what->len) != NULL;
        return oct_jr_charge_bytes(r, (uint64_t)in->len + what->len);
    case OCT_JV_DICT:
        OCT_TRY(oct_jdict_get(r, in->u.dict, what, &val));
        *out = val != NULL;
        return OCT_OK;
    case OCT_JV_RANGE:
        if (oct_jv_is_int(what, &i)) {
            const struct oct_jrange *g = in->u.range;
            const __int128 d = (__int128)i - g->start;
            *out = g->n > 0 && d % g->step == 0 && d / g->step >= 0 && d / g->step < g->n;
            return OCT_OK;
        }
        return contains_by_walk(r, in, what, out);
    default:
        return contains_by_walk(r, in, what, out);
    }
}

/* ---- attributes and items ---- */

static struct oct_jv undefined(enum oct_jv_undef how, const struct oct_jv *obj,
                               const struct oct_jv *name)
{
    struct oct_jv u = {.type = OCT_JV_UNDEF, .flags = obj->type, .sub = (uint16_t)how, .u.s = ""};
    if (name->type == OCT_JV_STR) {
        u.len = name->len;
        u.u.s = name->u.s;
    }
    return u;
}

static oct_status macro_attr(struct oct_jr *r, const struct oct_jmacro *m,
                             const struct oct_jv *name, struct oct_jv *out)
{
    const struct oct_jn *n = m->node;
    if (oct_jv_is_word(name, "name")) {
        *out = n->kind == OCT_JN_MACRO ? n->value : oct_jv_none();
    } else if (oct_jv_is_word(name, "arguments")) {
        OCT_TRY(oct_jv_new_list(r, OCT_JV_TUPLE, n->n_pos, out));
        for (uint32_t i = 0; i < n->n_pos; i++) {
            out->u.list->items[i] = n->kids[i]->value;
        }
    } else if (oct_jv_is_word(name, "catch_kwargs")) {
        *out = oct_jv_bool(n->func->kwargs_slot != OCT_JSLOT_NONE);
    } else if (oct_jv_is_word(name, "catch_varargs")) {
        *out = oct_jv_bool(n->func->varargs_slot != OCT_JSLOT_NONE);
    } else if (oct_jv_is_word(name, "caller")) {
        *out = oct_jv_bool(n->func->caller_slot != OCT_JSLOT_NONE || n->func->explicit_caller);
    }
    return OCT_OK;
}

/* What numbers and ranges have besides methods. */
static void plain_attr(const struct oct_jv *obj, const struct oct_jv *name, struct oct_jv *out)
{
    int64_t i;
    if (obj->type == OCT_JV_RANGE) {
        const struct oct_jrange *g = obj->u.range;
        if (oct_jv_is_word(name, "start")) {
            *out = oct_jv_int(g->start);
        } else if (oct_jv_is_word(name, "stop")) {
            *out = oct_jv_int(g->stop);
        } else if (oct_jv_is_word(name, "step")) {
            *out = oct_jv_int(g->step);
        }
    } else if (oct_jv_is_int(obj, &i)) {
        if (oct_jv_is_word(name, "real") || oct_jv_is_word(name, "numerator")) {
            *out = oct_jv_int(i);
        } else if (oct_jv_is_word(name, "imag")) {
            *out = oct_jv_int(0);
        } else if (oct_jv_is_word(name, "denominator")) {
            *out = oct_jv_int(1);
        }
    } else if (obj->type == OCT_JV_FLOAT) {
        if (oct_jv_is_word(name, "real")) {
            *out = *obj;
        } else if (oct_jv_is_word(name, "imag")) {
            *out = oct_jv_float(0.0);
        }
    } else if (obj->type == OCT_JV_CYCLER) {
        if (oct_jv_is_word(name, "current")) {
            *out = obj->u.cycler->items[obj->u.cycler->pos];
        }
    } else if (obj->type == OCT_JV_TUPLE && (obj->flags & OCT_JV_GROUP)) {
        if (oct_jv_is_word(name, "grouper")) {
            *out = obj->u.list->items[0];
        } else if (oct_jv_is_word(name, "list")) {
            *out = obj->u.list->items[1];
        }
    }
}

oct_status oct_jv_attr_only(struct oct_jr *r, const struct oct_jv *obj, const struct oct_jv *name,
                            struct oct_jv *out)
{
    *out = (struct oct_jv){0};
    switch (obj->type) {
    case OCT_JV_UNDEF:
        return oct_jr_fail_undef(r, obj);
    case OCT_JV_NS: {
        struct oct_jv *val;
        OCT_TRY(oct_jdict_get(r, obj->u.dict, name, &val));
        if (val) {
            *out = *val;
        }
        break;
    }
    case OCT_JV_LOOP:
        OCT_TRY(oct_jloop_attr(r, obj->u.loop, name, out));
        break;
    case OCT_JV_MACRO:
        OCT_TRY(macro_attr(r, obj->u.macro, name, out));
        break;
    default: {
        const int method = oct_jmethod_find(obj, name);
        if (method == -2) {
            *out = undefined(OCT_JV_U_UNSAFE, obj, name);
        } else if (method >= 0) {
            struct oct_jv *self = oct_jr_alloc(r, 1, sizeof *self);
            if (!self) {
                return oct_jr_out_of_memory(r);
            }
            *self = *obj;
            *out = (struct oct_jv){.type = OCT_JV_METHOD, .sub = (uint16_t)method, .u.self = self};
        } else {
            plain_attr(obj, name, out);
        }
    }
    }
    /* Every Python object has attributes of this form; the sandbox hides them all. */
    if (out->type == OCT_JV_MISSING && name->len > 4 && memcmp(name->u.s, "__", 2) == 0 &&
        memcmp(name->u.s + name->len - 2, "__", 2) == 0) {
        *out = undefined(OCT_JV_U_UNSAFE, obj, name);
    }
    return OCT_OK;
}

oct_status oct_jv_getattr(struct oct_jr *r, const struct oct_jv *obj, const struct oct_jv *name,
                          struct oct_jv *out)
{
    OCT_TRY(oct_jv_attr_only(r, obj, name, out));
    if (out->type != OCT_JV_MISSING) {
        return OCT_OK;
    }
    if (obj->type == OCT_JV_DICT) {
        struct oct_jv *val;
        OCT_TRY(oct_jdict_get(r, obj->u.dict, name, &val));
        if (val) {
            *out = *val;
            return OCT_OK;
        }
    }
    *out = undefined(OCT_JV_U_ATTR, obj, name);
    return OCT_OK;
}

/* v[i] of a sequence; missing if it is out of range. */
static oct_status sequence_item(struct oct_jr *r, const struct oct_jv *v, int64_t i,
                                struct oct_jv *out)
{
    int64_t n;
    OCT_TRY(oct_jv_load(r, v));
    OCT_TRY(oct_jv_len(r, v, &n));
    i += i < 0 ? n : 0;
    if (i < 0 || i >= n) {
        return OCT_OK;
    }
    if (v->type == OCT_JV_STR) {
        const size_t at =
            (size_t)n == v->len ? (size_t)i : oct_ju_offset(v->u.s, v->len, (size_t)i);
        uint32_t len;
        (void)oct_ju_next(v->u.s + at, &len);
        *out = oct_jv_strn(v->u.s + at, len);
        out->flags = v->flags;
    } else if (v->type == OCT_JV_RANGE) {
        *out = oct_jv_int(v->u.range->start + i * v->u.range->step);
    } else {
        *out = v->u.list->items[i];
    }
    return OCT_OK;
}

oct_status oct_jv_getitem(struct oct_jr *r, const struct oct_jv *obj, const struct oct_jv *key,
                          struct oct_jv *out)
{
    int64_t i;
    *out = (struct oct_jv){0};
    switch (obj->type) {
    case OCT_JV_UNDEF:
        return oct_jr_fail_undef(r, obj);
    case OCT_JV_DICT:
        if (oct_jv_hashable(key)) {
            struct oct_jv *val;
            OCT_TRY(oct_jdict_get(r, obj->u.dict, key, &val));
            if (val) {
                *out = *val;
                return OCT_OK;
            }
        }
        break;
    case OCT_JV_LIST:
    case OCT_JV_TUPLE:
    case OCT_JV_STR:
    case OCT_JV_RANGE:
        if (oct_jv_is_int(key, &i)) {
            OCT_TRY(sequence_item(r, obj, i, out));
        }
        break;
    default:
        break;
    }
    if (out->type == OCT_JV_MISSING && key->type == OCT_JV_STR) {
        OCT_TRY(oct_jv_attr_only(r, obj, key, out));
    }
    if (out->type == OCT_JV_MISSING) {
        *out = undefined(key->type == OCT_JV_STR ? OCT_JV_U_ATTR : OCT_JV_U_ITEM, obj, key);
    }
    return OCT_OK;
}

/* ---- slices ---- */

/* Python's PySlice_AdjustIndices: start and stop clamped, the number of items. */
static oct_status slice_range(struct oct_jr *r, int64_t n, const struct oct_jv bound[3],
                              int64_t *start, int64_t *stop, int64_t *step, int64_t *count)
{
    int64_t v[3];
    for (int i = 0; i < 3; i++) {
        if (bound[i].type != OCT_JV_NONE && !oct_jv_is_int(&bound[i], &v[i])) {
            return oct_jr_fail(r, OCT_E_FORMAT, "the bounds of a slice must be integers, not %s",
                               oct_jv_type_name(&bound[i]));
        }
    }
    *step = bound[2].type == OCT_JV_NONE ? 1 : v[2];
    if (*step == 0) {
        return oct_jr_fail(r, OCT_E_FORMAT, "the step of a slice cannot be zero");
    }
    if (*step == INT64_MIN) {
        *step = -INT64_MAX;
    }
    const int64_t low = *step < 0 ? -1 : 0, high = *step < 0 ? n - 1 : n;
    *start = bound[0].type == OCT_JV_NONE ? (*step < 0 ? high : low)
             : v[0] < 0                   ? (v[0] + n < low ? low : v[0] + n)
                                          : (v[0] > high ? high : v[0]);
    *stop = bound[1].type == OCT_JV_NONE ? (*step < 0 ? low : high)
            : v[1] < 0                   ? (v[1] + n < low ? low : v[1] + n)
                                         : (v[1] > high ? high : v[1]);
    *count = 0;
    if (*step < 0 && *stop < *start) {
        *count = (*start - *stop - 1) / -*step + 1;
    } else if (*step > 0 && *start < *stop) {
        *count = (*stop - *start - 1) / *step + 1;
    }
    return OCT_OK;
}

static oct_status slice_string(struct oct_jr *r, const struct oct_jv *v, int64_t start,
                               int64_t step, int64_t count, int64_t n, struct oct_jv *out)
{
    OCT_TRY(oct_jr_charge_bytes(r, v->len));
    const bool ascii = n == v->len;
    if (step == 1 || count <= 1) {
        const size_t from = ascii ? (size_t)start : oct_ju_offset(v->u.s, v->len, (size_t)start);
        const size_t len =
            ascii ? (size_t)count : oct_ju_offset(v->u.s + from, v->len - from, (size_t)count);
        *out = oct_jv_strn(v->u.s + (count ? from : 0), count ? len : 0);
        out->flags = v->flags;
        return OCT_OK;
    }
    OCT_TRY(oct_jr_charge(r, (uint64_t)n / 4)); /* character by character */
    const size_t mark = r->out.len;
    size_t at = ascii ? (size_t)start : oct_ju_offset(v->u.s, v->len, (size_t)start);
    for (int64_t i = 0; i < count; i++) {
        uint32_t len;
        (void)oct_ju_next(v->u.s + at, &len);
        OCT_TRY(oct_jr_put(r, v->u.s + at, len));
        if (i + 1 == count) {
            break;
        }
        for (int64_t k = 0; k < step; k++) {
            (void)oct_ju_next(v->u.s + at, &len);
            at += len;
        }
        for (int64_t k = 0; k > step; k--) {
            (void)oct_ju_prev(v->u.s, at, &len);
            at -= len;
        }
    }
    OCT_TRY(oct_jr_take(r, mark, out));
    out->flags = v->flags;
    return OCT_OK;
}

oct_status oct_jv_slice(struct oct_jr *r, const struct oct_jv *obj, const struct oct_jv bound[3],
                        struct oct_jv *out)
{
    int64_t n, start = 0, stop = 0, step = 1, count = 0;
    if (obj->type == OCT_JV_UNDEF) {
        return oct_jr_fail_undef(r, obj);
    }
    if (obj->type != OCT_JV_STR && obj->type != OCT_JV_LIST && obj->type != OCT_JV_TUPLE &&
        obj->type != OCT_JV_RANGE) {
        return oct_jr_fail(r, OCT_E_FORMAT, "a %s cannot be sliced", oct_jv_type_name(obj));
    }
    OCT_TRY(oct_jv_load(r, obj));
    OCT_TRY(oct_jv_len(r, obj, &n));
    OCT_TRY(slice_range(r, n, bound, &start, &stop, &step, &count));
    if (obj->type == OCT_JV_STR) {
        return slice_string(r, obj, start, step, count, n, out);
    }
    if (obj->type == OCT_JV_RANGE) {
        const struct oct_jrange *g = obj->u.range;
        struct oct_jrange *s = oct_jr_alloc(r, 1, sizeof *s);
        if (!s) {
            return oct_jr_out_of_memory(r);
        }
        if (__builtin_mul_overflow(g->step, step, &s->step) ||
            __builtin_mul_overflow(start, g->step, &s->start) ||
            __builtin_add_overflow(s->start, g->start, &s->start) ||
            __builtin_mul_overflow(stop, g->step, &s->stop) ||
            __builtin_add_overflow(s->stop, g->start, &s->stop)) {
            return oct_jr_fail(r, OCT_E_LIMIT, "an integer over 64 bits");
        }
        s->n = (uint32_t)count;
        *out = (struct oct_jv){.type = OCT_JV_RANGE, .u.range = s};
        return OCT_OK;
    }
    OCT_TRY(oct_jv_new_list(r, (enum oct_jv_type)obj->type, (size_t)count, out));
    for (int64_t i = 0; i < count; i++) {
        out->u.list->items[i] = obj->u.list->items[start + i * step];
    }
    return OCT_OK;
}

/* ---- attribute paths ---- */

oct_status oct_jpath_init(struct oct_jr *r, const struct oct_jv *attribute, struct oct_jpath *path)
{
    *path = (struct oct_jpath){0};
    if (attribute->type == OCT_JV_NONE || attribute->type == OCT_JV_MISSING) {
        return OCT_OK;
    }
    if (attribute->type != OCT_JV_STR) {
        path->part = oct_jr_alloc(r, 1, sizeof *path->part);
        if (!path->part) {
            return oct_jr_out_of_memory(r);
        }
        path->part[path->n++] = *attribute;
        return OCT_OK;
    }
    uint32_t dots = 0;
    for (uint32_t i = 0; i < attribute->len; i++) {
        dots += attribute->u.s[i] == '.';
    }
    path->part = oct_jr_alloc(r, dots + 1, sizeof *path->part);
    if (!path->part) {
        return oct_jr_out_of_memory(r);
    }
    for (uint32_t at = 0; path->n <= dots; at++) {
        const uint32_t from = at;
        bool digits = true;
        int64_t i = 0;
        for (; at < attribute->len && attribute->u.s[at] != '.'; at++) {
            const char c = attribute->u.s[at];
            digits = digits && c >= '0' && c <= '9' && i < INT64_MAX / 10 - 1;
            i = digits ? i * 10 + (c - '0') : 0;
        }
        path->part[path->n++] = digits && at > from
                                    ? oct_jv_int(i)
                                    : oct_jv_strn(attribute->u.s + from, (size_t)(at - from));
    }
    return OCT_OK;
}

oct_status oct_jpath_get(struct oct_jr *r, const struct oct_jpath *path, const struct oct_jv *item,
                         const struct oct_jv *fallback, struct oct_jv *out)
{
    *out = *item;
    for (uint32_t i = 0; i < path->n; i++) {
        const struct oct_jv from = *out;
        OCT_TRY(oct_jv_getitem(r, &from, &path->part[i], out));
        if (fallback && out->type == OCT_JV_UNDEF) {
            *out = *fallback;
        }
    }
    return oct_jr_charge(r, path->n);
}
