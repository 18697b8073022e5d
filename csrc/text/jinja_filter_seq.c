/* SPDX-License-Identifier: Apache-2.0
 *
 * jinja_filter_seq.c - filters of sequences and mappings. What is a generator in Python is computed
 * at once here; an error in item k waits until somebody asks for item k. */
#include "text/jinja_filter.h"
#include "text/jinja_str.h"

#include <string.h>

#define FILTER(name) \
    oct_status name(struct oct_jr *r, const struct oct_jv *v, const struct oct_jv *p, \
                    struct oct_jv *out)

static struct oct_jv or_none(const struct oct_jv *v)
{
    return v->type == OCT_JV_MISSING ? oct_jv_none() : *v;
}

/* The generator over g. st: what stopped it, which only the budgets make final at once. */
static oct_status generator(struct oct_jr *r, struct oct_jgather *g, oct_status st, size_t mark,
                            uint32_t depth, struct oct_jv *out)
{
    if (st == OCT_E_LIMIT || st == OCT_E_MEM) {
        return st;
    }
    OCT_TRY(oct_jv_new_iter(r, "generator", g->items, g->n, out));
    if (st != OCT_OK) {
        const char *why = oct_last_error();
        const size_t len = strlen(why);
        char *copy = oct_jr_alloc(r, len + 1, 1);
        if (!copy) {
            return oct_jr_out_of_memory(r);
        }
        memcpy(copy, why, len + 1);
        out->u.iter->st = st;
        out->u.iter->why = copy;
        r->out.len = mark; /* the failure left its work behind */
        r->depth = depth;
    }
    return OCT_OK;
}

/* ---- simple ones ---- */

FILTER(oct_jf_default)
{
    (void)r;
    *out = v->type == OCT_JV_UNDEF || (oct_jv_truth(&p[1]) && !oct_jv_truth(v))
               ? (p[0].type == OCT_JV_MISSING ? oct_jv_strn("", 0) : p[0])
               : *v;
    return OCT_OK;
}

FILTER(oct_jf_length)
{
    (void)p;
    int64_t n;
    OCT_TRY(oct_jv_len(r, v, &n));
    if (n < 0) {
        return oct_jr_fail(r, OCT_E_FORMAT, "a %s has no length", oct_jv_type_name(v));
    }
    *out = oct_jv_int(n);
    return OCT_OK;
}

FILTER(oct_jf_list)
{
    (void)p;
    return oct_jv_to_list(r, OCT_JV_LIST, v, out);
}

FILTER(oct_jf_first)
{
    (void)p;
    struct oct_jit it;
    bool more;
    OCT_TRY(oct_jit_init(r, v, &it));
    OCT_TRY(oct_jit_next(r, &it, out, &more));
    if (!more) {
        *out = oct_jv_hint("No first item, sequence was empty.");
    }
    return OCT_OK;
}

FILTER(oct_jf_last)
{
    (void)p;
    struct oct_jv list;
    if (v->type == OCT_JV_ITER || !oct_jv_iterable(v)) {
        return oct_jr_fail(r, OCT_E_FORMAT, "a %s has no last item", oct_jv_type_name(v));
    }
    OCT_TRY(oct_jv_to_list(r, OCT_JV_LIST, v, &list));
    *out = list.u.list->n ? list.u.list->items[list.u.list->n - 1]
                          : oct_jv_hint("No last item, sequence was empty.");
    return OCT_OK;
}

FILTER(oct_jf_reverse)
{
    (void)p;
    if (v->type == OCT_JV_STR) {
        const struct oct_jv bound[3] = {oct_jv_none(), oct_jv_none(), oct_jv_int(-1)};
        return oct_jv_slice(r, v, bound, out);
    }
    struct oct_jv list;
    OCT_TRY(oct_jv_to_list(r, OCT_JV_LIST, v, &list));
    struct oct_jv *items = list.u.list->items;
    const uint32_t n = list.u.list->n;
    for (uint32_t i = 0; i < n / 2; i++) {
        const struct oct_jv swap = items[i];
        items[i] = items[n - 1 - i];
        items[n - 1 - i] = swap;
    }
    if (v->type == OCT_JV_ITER) { /* what cannot be walked backwards becomes a list */
        *out = list;
        return OCT_OK;
    }
    return oct_jv_new_iter(r, "reversed iterator", items, n, out);
}

FILTER(oct_jf_items)
{
    (void)p;
    struct oct_jgather g = {0};
    const size_t mark = r->out.len;
    const uint32_t depth = r->depth;
    struct oct_jv list;
    if (v->type == OCT_JV_UNDEF) {
        return generator(r, &g, OCT_OK, mark, depth, out);
    }
    if (v->type != OCT_JV_DICT) {
        const oct_status st =
            oct_jr_fail(r, OCT_E_FORMAT, "only a mapping has items, not %s", oct_jv_type_name(v));
        return generator(r, &g, st, mark, depth, out);
    }
    const struct oct_jv view = {.type = OCT_JV_VIEW, .sub = OCT_JV_ITEMS, .u.dict = v->u.dict};
    OCT_TRY(oct_jv_to_list(r, OCT_JV_LIST, &view, &list));
    return oct_jv_new_iter(r, "generator", list.u.list->items, list.u.list->n, out);
}

FILTER(oct_jf_attr)
{
    if (p[0].type != OCT_JV_STR) {
        return oct_jr_fail(r, OCT_E_FORMAT, "attr needs the name of an attribute");
    }
    OCT_TRY(oct_jv_attr_only(r, v, &p[0], out));
    if (out->type == OCT_JV_MISSING) {
        *out = (struct oct_jv){.type = OCT_JV_UNDEF,
                               .flags = v->type,
                               .sub = OCT_JV_U_ATTR,
                               .len = p[0].len,
                               .u.s = p[0].u.s};
    }
    return OCT_OK;
}

/* ---- walking with an attribute ---- */

/* Attribute of an item, in lower case where case does not matter. */
struct getter {
    struct oct_jpath path;
    struct oct_jv fallback; /* none: no fallback */
    bool fold;
};

static oct_status getter_init(struct oct_jr *r, const struct oct_jv *attribute,
                              const struct oct_jv *fallback, bool fold, struct getter *g)
{
    *g = (struct getter){.fallback = fallback ? or_none(fallback) : oct_jv_none(), .fold = fold};
    return oct_jpath_init(r, attribute, &g->path);
}

static oct_status get(struct oct_jr *r, const struct getter *g, const struct oct_jv *item,
                      struct oct_jv *out)
{
    OCT_TRY(oct_jpath_get(r, &g->path, item, g->fallback.type == OCT_JV_NONE ? NULL : &g->fallback,
                          out));
    if (g->fold && out->type == OCT_JV_STR) {
        const struct oct_jv s = *out;
        OCT_TRY(oct_jstr_case(r, &s, OCT_JSTR_LOWER, out));
    }
    return OCT_OK;
}

FILTER(oct_jf_join)
{
    struct oct_jv d = oct_jv_strn("", 0), item;
    struct getter g;
    struct oct_jit it;
    bool more;
    if (p[0].type != OCT_JV_MISSING) {
        OCT_TRY(oct_jv_str(r, &p[0], &d));
    }
    OCT_TRY(getter_init(r, &p[1], NULL, false, &g));
    OCT_TRY(oct_jit_init(r, v, &it));
    const size_t mark = r->out.len;
    for (bool first = true;; first = false) {
        OCT_TRY(oct_jit_next(r, &it, &item, &more));
        if (!more) {
            return oct_jr_take(r, mark, out);
        }
        struct oct_jv part;
        OCT_TRY(get(r, &g, &item, &part));
        OCT_TRY(first ? OCT_OK : oct_jr_put(r, d.u.s, d.len));
        OCT_TRY(oct_jv_write_str(r, &part));
    }
}

FILTER(oct_jf_sum)
{
    struct oct_jv total = p[1].type == OCT_JV_MISSING ? oct_jv_int(0) : p[1], item, part;
    struct getter g;
    struct oct_jit it;
    bool more;
    if (total.type == OCT_JV_STR) {
        return oct_jr_fail(r, OCT_E_FORMAT, "strings cannot be summed; use join");
    }
    OCT_TRY(getter_init(r, &p[0], NULL, false, &g));
    OCT_TRY(oct_jit_init(r, v, &it));
    for (;;) {
        OCT_TRY(oct_jit_next(r, &it, &item, &more));
        if (!more) {
            *out = total;
            return OCT_OK;
        }
        OCT_TRY(get(r, &g, &item, &part));
        const struct oct_jv so_far = total;
        OCT_TRY(oct_jv_binary(r, OCT_JOP_ADD, &so_far, &part, &total));
    }
}

static oct_status extreme(struct oct_jr *r, const struct oct_jv *v, const struct oct_jv *p,
                          enum oct_jop better, struct oct_jv *out)
{
    struct oct_jv item, key, best_key = {0};
    struct getter g;
    struct oct_jit it;
    bool more, yes;
    OCT_TRY(getter_init(r, &p[1], NULL, !oct_jv_truth(&p[0]), &g));
    OCT_TRY(oct_jit_init(r, v, &it));
    *out = oct_jv_hint("No aggregated item, sequence was empty.");
    for (bool first = true;; first = false) {
        OCT_TRY(oct_jit_next(r, &it, &item, &more));
        if (!more) {
            return OCT_OK;
        }
        OCT_TRY(get(r, &g, &item, &key));
        yes = first;
        if (!first) {
            OCT_TRY(oct_jv_order(r, better, &key, &best_key, &yes));
        }
        if (yes) {
            *out = item;
            best_key = key;
        }
    }
}

FILTER(oct_jf_min)
{
    return extreme(r, v, p, OCT_JOP_LT, out);
}

FILTER(oct_jf_max)
{
    return extreme(r, v, p, OCT_JOP_GT, out);
}

/* ---- sorting ---- */

/* Items of list in the order of keys. */
static oct_status take_order(struct oct_jr *r, const struct oct_jv *list, const struct oct_jv *keys,
                             bool reverse, struct oct_jv *out)
{
    uint32_t *order;
    const uint32_t n = list->u.list->n;
    OCT_TRY(oct_jr_sort(r, keys, n, reverse, &order));
    OCT_TRY(oct_jv_new_list(r, OCT_JV_LIST, n, out));
    for (uint32_t i = 0; i < n; i++) {
        out->u.list->items[i] = list->u.list->items[order[i]];
    }
    return OCT_OK;
}

/* "a,b.c": one getter each; anything but a string is one attribute. */
static oct_status split_getters(struct oct_jr *r, const struct oct_jv *attribute, bool fold,
                                struct getter **out, uint32_t *n)
{
    const struct oct_jv comma = oct_jv_strn(",", 1);
    struct oct_jv parts;
    if (attribute->type == OCT_JV_STR) {
        OCT_TRY(oct_jstr_split(r, attribute, &comma, -1, false, &parts));
    } else {
        OCT_TRY(oct_jv_new_list(r, OCT_JV_LIST, 1, &parts));
        parts.u.list->items[0] = *attribute;
    }
    *n = parts.u.list->n;
    *out = oct_jr_alloc(r, *n, sizeof **out);
    if (!*out) {
        return oct_jr_out_of_memory(r);
    }
    for (uint32_t i = 0; i < *n; i++) {
        OCT_TRY(getter_init(r, &parts.u.list->items[i], NULL, fold, &(*out)[i]));
    }
    return OCT_OK;
}

FILTER(oct_jf_sort)
{
    struct oct_jv list, keys;
    struct getter *g;
    uint32_t n_getters;
    OCT_TRY(split_getters(r, &p[2], !oct_jv_truth(&p[1]), &g, &n_getters));
    OCT_TRY(oct_jv_to_list(r, OCT_JV_LIST, v, &list));
    OCT_TRY(oct_jv_new_list(r, OCT_JV_LIST, list.u.list->n, &keys));
    for (uint32_t i = 0; i < list.u.list->n; i++) { /* keys are lists, as Jinja has them */
        struct oct_jv *key = &keys.u.list->items[i];
        OCT_TRY(oct_jv_new_list(r, OCT_JV_LIST, n_getters, key));
        for (uint32_t k = 0; k < n_getters; k++) {
            OCT_TRY(get(r, &g[k], &list.u.list->items[i], &key->u.list->items[k]));
        }
    }
    return take_order(r, &list, keys.u.list->items, oct_jv_truth(&p[0]), out);
}

FILTER(oct_jf_dictsort)
{
    struct oct_jv list, keys;
    const bool by_value = oct_jv_is_word(&p[1], "value");
    if (p[1].type != OCT_JV_MISSING && !by_value && !oct_jv_is_word(&p[1], "key")) {
        return oct_jr_fail(r, OCT_E_FORMAT, "dictsort sorts by key or by value");
    }
    if (v->type != OCT_JV_DICT) {
        return v->type == OCT_JV_UNDEF
                   ? oct_jr_fail_undef(r, v)
                   : oct_jr_fail(r, OCT_E_FORMAT, "dictsort needs a dict, not %s",
                                 oct_jv_type_name(v));
    }
    const struct oct_jv view = {.type = OCT_JV_VIEW, .sub = OCT_JV_ITEMS, .u.dict = v->u.dict};
    OCT_TRY(oct_jv_to_list(r, OCT_JV_LIST, &view, &list));
    OCT_TRY(oct_jv_new_list(r, OCT_JV_LIST, list.u.list->n, &keys));
    const struct getter whole = {.fallback = oct_jv_none(), .fold = !oct_jv_truth(&p[0])};
    for (uint32_t i = 0; i < list.u.list->n; i++) {
        OCT_TRY(
            get(r, &whole, &list.u.list->items[i].u.list->items[by_value], &keys.u.list->items[i]));
    }
    return take_order(r, &list, keys.u.list->items, oct_jv_truth(&p[2]), out);
}

static oct_status new_group(struct oct_jr *r, const struct oct_jv *sorted, uint32_t from,
                            uint32_t to, const struct oct_jv *key, struct oct_jv *out)
{
    struct oct_jv members;
    OCT_TRY(oct_jv_new_list(r, OCT_JV_LIST, to - from, &members));
    memcpy(members.u.list->items, sorted->u.list->items + from, (to - from) * sizeof *sorted);
    OCT_TRY(oct_jv_new_list(r, OCT_JV_TUPLE, 2, out));
    out->flags = OCT_JV_GROUP;
    out->u.list->items[0] = *key;
    out->u.list->items[1] = members;
    return OCT_OK;
}

FILTER(oct_jf_groupby)
{
    const bool fold = !oct_jv_truth(&p[2]);
    struct oct_jv list, keys, sorted, key;
    struct getter g, plain;
    struct oct_jgather groups = {0};
    OCT_TRY(getter_init(r, &p[0], &p[1], fold, &g));
    OCT_TRY(getter_init(r, &p[0], &p[1], false, &plain));
    OCT_TRY(oct_jv_to_list(r, OCT_JV_LIST, v, &list));
    const uint32_t n = list.u.list->n;
    OCT_TRY(oct_jv_new_list(r, OCT_JV_LIST, n, &keys));
    for (uint32_t i = 0; i < n; i++) {
        OCT_TRY(get(r, &g, &list.u.list->items[i], &keys.u.list->items[i]));
    }
    OCT_TRY(take_order(r, &list, keys.u.list->items, false, &sorted));
    for (uint32_t from = 0, to; from < n; from = to) {
        struct oct_jv first, next, group;
        bool same = true;
        OCT_TRY(get(r, &g, &sorted.u.list->items[from], &first));
        for (to = from + 1; to < n; to++) {
            OCT_TRY(get(r, &g, &sorted.u.list->items[to], &next));
            OCT_TRY(oct_jv_eq(r, &first, &next, &same));
            if (!same) {
                break;
            }
        }
        OCT_TRY(get(r, &plain, &sorted.u.list->items[from], &key));
        OCT_TRY(new_group(r, &sorted, from, to, &key, &group));
        OCT_TRY(oct_jgather_add(r, &groups, &group));
    }
    return oct_jgather_list(r, &groups, out);
}

/* ---- generators ---- */

static oct_status unique_items(struct oct_jr *r, const struct oct_jv *v, const struct getter *g,
                               struct oct_jgather *found)
{
    const struct oct_jv yes = oct_jv_bool(true);
    struct oct_jdict *seen;
    struct oct_jit it;
    OCT_TRY(oct_jdict_new(r, 0, &seen));
    OCT_TRY(oct_jit_init(r, v, &it));
    for (;;) {
        struct oct_jv item, key, *have;
        bool more;
        OCT_TRY(oct_jit_next(r, &it, &item, &more));
        if (!more) {
            return OCT_OK;
        }
        OCT_TRY(get(r, g, &item, &key));
        OCT_TRY(oct_jdict_get(r, seen, &key, &have));
        if (!have) {
            OCT_TRY(oct_jdict_set(r, seen, &key, &yes));
            OCT_TRY(oct_jgather_add(r, found, &item));
        }
    }
}

FILTER(oct_jf_unique)
{
    struct oct_jgather found = {0};
    struct getter g;
    const size_t mark = r->out.len;
    const uint32_t depth = r->depth;
    OCT_TRY(getter_init(r, &p[1], NULL, !oct_jv_truth(&p[0]), &g));
    const oct_status st = unique_items(r, v, &g, &found);
    return generator(r, &found, st, mark, depth, out);
}

static oct_status batches(struct oct_jr *r, const struct oct_jv *v, const struct oct_jv *p,
                          struct oct_jgather *found)
{
    struct oct_jgather row = {0};
    struct oct_jit it;
    struct oct_jv item, list;
    int64_t per_row;
    bool more;
    const bool fills = or_none(&p[1]).type != OCT_JV_NONE;
    if (!oct_jv_is_int(&p[0],
                       &per_row)) { /* Python only compares it with a length, unless it fills */
        if (fills) {
            return oct_jr_fail(r, OCT_E_FORMAT, "batch needs an integer to fill up to");
        }
        const double f = p[0].type == OCT_JV_FLOAT ? p[0].u.f : -1.0;
        per_row = f >= 0 && f < 1e9 && (double)(int64_t)f == f ? (int64_t)f : -1;
    }
    OCT_TRY(oct_jit_init(r, v, &it));
    for (;;) {
        OCT_TRY(oct_jit_next(r, &it, &item, &more));
        if (!more) {
            break;
        }
        if (row.n == per_row) {
            OCT_TRY(oct_jgather_list(r, &row, &list));
            OCT_TRY(oct_jgather_add(r, found, &list));
            row = (struct oct_jgather){0};
        }
        OCT_TRY(oct_jgather_add(r, &row, &item));
    }
    if (row.n == 0) {
        return OCT_OK;
    }
    while (fills && row.n < per_row) {
        OCT_TRY(oct_jgather_add(r, &row, &p[1]));
    }
    OCT_TRY(oct_jgather_list(r, &row, &list));
    return oct_jgather_add(r, found, &list);
}

FILTER(oct_jf_batch)
{
    struct oct_jgather found = {0};
    const size_t mark = r->out.len;
    const uint32_t depth = r->depth;
    const oct_status st = batches(r, v, p, &found);
    return generator(r, &found, st, mark, depth, out);
}

static oct_status slices(struct oct_jr *r, const struct oct_jv *v, const struct oct_jv *p,
                         struct oct_jgather *found)
{
    struct oct_jv list, part;
    int64_t n_slices;
    OCT_TRY(oct_jarg_int(r, &p[0], 0, &n_slices));
    OCT_TRY(oct_jv_to_list(r, OCT_JV_LIST, v, &list));
    if (n_slices == 0) {
        return oct_jr_fail(r, OCT_E_FORMAT, "slice needs a number over 0");
    }
    const int64_t n = list.u.list->n, each = n / n_slices, extra = n % n_slices;
    int64_t at = 0;
    for (int64_t i = 0; i < n_slices; i++) {
        const int64_t len = each + (i < extra);
        struct oct_jgather row = {0};
        for (int64_t k = 0; k < len; k++) {
            OCT_TRY(oct_jgather_add(r, &row, &list.u.list->items[at++]));
        }
        if (or_none(&p[1]).type != OCT_JV_NONE && i >= extra) {
            OCT_TRY(oct_jgather_add(r, &row, &p[1]));
        }
        OCT_TRY(oct_jgather_list(r, &row, &part));
        OCT_TRY(oct_jgather_add(r, found, &part));
    }
    return OCT_OK;
}

FILTER(oct_jf_slice)
{
    struct oct_jgather found = {0};
    const size_t mark = r->out.len;
    const uint32_t depth = r->depth;
    const oct_status st = slices(r, v, p, &found);
    return generator(r, &found, st, mark, depth, out);
}

/* The table's row that the first of args names; the others are its own arguments. */
static oct_status named_row(struct oct_jr *r, bool filter, const struct oct_jargs *args,
                            uint32_t at, int32_t *fn, struct oct_jargs *rest)
{
    const struct oct_jv *name = &args->pos[at];
    *fn = -1;
    if (name->type == OCT_JV_STR) {
        *fn =
            filter ? oct_jfilter_find(name->u.s, name->len) : oct_jtest_find(name->u.s, name->len);
    }
    if (*fn < 0) {
        return oct_jr_fail(r, OCT_E_FORMAT, "there is no %s named '%s'", filter ? "filter" : "test",
                           name->type == OCT_JV_STR ? oct_jr_quote(r, name->u.s, name->len)
                                                    : oct_jv_type_name(name));
    }
    *rest = *args;
    rest->pos += at + 1;
    rest->n_pos -= at + 1;
    return OCT_OK;
}

static oct_status map_attribute(struct oct_jr *r, const struct oct_jargs *args, struct getter *g)
{
    struct oct_jv p[2];
    OCT_TRY(oct_jargs_bind(r, args, "map", "attribute,default", 1, 0, p));
    return getter_init(r, &p[0], &p[1], false, g);
}

static oct_status map_items(struct oct_jr *r, const struct oct_jv *v, const struct oct_jargs *args,
                            struct oct_jgather *found)
{
    struct getter g;
    struct oct_jargs rest;
    struct oct_jit it;
    int32_t fn = -1;
    bool by_attribute = false;
    if (!oct_jv_truth(v)) {
        return OCT_OK;
    }
    for (uint32_t i = 0; i < args->n_kw && args->n_pos == 0; i++) {
        by_attribute |= oct_jv_is_word(&args->names[i], "attribute");
    }
    if (by_attribute) {
        OCT_TRY(map_attribute(r, args, &g));
    } else if (args->n_pos == 0) {
        return oct_jr_fail(r, OCT_E_FORMAT, "map needs the name of a filter");
    }
    OCT_TRY(oct_jit_init(r, v, &it));
    for (;;) {
        struct oct_jv item, result;
        bool more;
        OCT_TRY(oct_jit_next(r, &it, &item, &more));
        if (!more) {
            return OCT_OK;
        }
        if (by_attribute) {
            OCT_TRY(get(r, &g, &item, &result));
        } else {
            OCT_TRY(fn < 0 ? named_row(r, true, args, 0, &fn, &rest) : OCT_OK);
            OCT_TRY(oct_jfilter_apply(r, fn, &item, &rest, &result));
        }
        OCT_TRY(oct_jgather_add(r, found, &result));
    }
}

oct_status oct_jf_map(struct oct_jr *r, const struct oct_jv *v, const struct oct_jargs *args,
                      struct oct_jv *out)
{
    struct oct_jgather found = {0};
    const size_t mark = r->out.len;
    const uint32_t depth = r->depth;
    const oct_status st = map_items(r, v, args, &found);
    return generator(r, &found, st, mark, depth, out);
}

static oct_status select_items(struct oct_jr *r, const struct oct_jv *v,
                               const struct oct_jargs *args, bool by_attribute, bool want,
                               struct oct_jgather *found)
{
    struct getter g = {.fallback = oct_jv_none()};
    struct oct_jargs rest;
    struct oct_jit it;
    int32_t fn = -1;
    if (!oct_jv_truth(v)) {
        return OCT_OK;
    }
    if (by_attribute) {
        if (args->n_pos == 0) {
            return oct_jr_fail(r, OCT_E_FORMAT, "the name of the attribute is missing");
        }
        OCT_TRY(getter_init(r, &args->pos[0], NULL, false, &g));
    }
    const bool has_test = args->n_pos > by_attribute;
    OCT_TRY(oct_jit_init(r, v, &it));
    for (;;) {
        struct oct_jv item, value, result;
        bool more;
        OCT_TRY(oct_jit_next(r, &it, &item, &more));
        if (!more) {
            return OCT_OK;
        }
        OCT_TRY(get(r, &g, &item, &value));
        result = value;
        if (has_test) {
            OCT_TRY(fn < 0 ? named_row(r, false, args, by_attribute, &fn, &rest) : OCT_OK);
            OCT_TRY(oct_jtest_apply(r, fn, &value, &rest, &result));
        }
        if (oct_jv_truth(&result) == want) {
            OCT_TRY(oct_jgather_add(r, found, &item));
        }
    }
}

static oct_status select_filter(struct oct_jr *r, const struct oct_jv *v,
                                const struct oct_jargs *args, bool by_attribute, bool want,
                                struct oct_jv *out)
{
    struct oct_jgather found = {0};
    const size_t mark = r->out.len;
    const uint32_t depth = r->depth;
    const oct_status st = select_items(r, v, args, by_attribute, want, &found);
    return generator(r, &found, st, mark, depth, out);
}

#define SELECT_FILTER(name, by_attribute, want) \
    oct_status name(struct oct_jr *r, const struct oct_jv *v, const struct oct_jargs *args, \
                    struct oct_jv *out) \
    { \
        return select_filter(r, v, args, (by_attribute), (want), out); \
    }
SELECT_FILTER(oct_jf_select, false, true)
SELECT_FILTER(oct_jf_reject, false, false)
SELECT_FILTER(oct_jf_selectattr, true, true)
SELECT_FILTER(oct_jf_rejectattr, true, false)
