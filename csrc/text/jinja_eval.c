/* SPDX-License-Identifier: Apache-2.0
 *
 * jinja_eval.c - expressions, and calls. */
#include "text/jinja_run.h"

#include <string.h>

/* ---- leaves ---- */

static oct_status load_name(const struct oct_jr *r, const struct oct_jn *n, struct oct_jv *out)
{
    const struct oct_jenv *env = r->env;
    for (uint32_t i = 0; i < n->ref.hops; i++) {
        env = env->parent;
    }
    *out = env->slot[n->ref.slot];
    if (out->type == OCT_JV_MISSING) {
        *out = (struct oct_jv){
            .type = OCT_JV_UNDEF, .sub = OCT_JV_U_NAME, .len = n->value.len, .u.s = n->value.u.s};
    }
    return OCT_OK;
}

static oct_status eval_items(struct oct_jr *r, const struct oct_jn *n, struct oct_jv *out)
{
    struct oct_jv list;
    OCT_TRY(
        oct_jv_new_list(r, n->kind == OCT_JN_TUPLE ? OCT_JV_TUPLE : OCT_JV_LIST, n->n_kids, &list));
    for (uint32_t i = 0; i < n->n_kids; i++) {
        OCT_TRY(oct_jr_eval(r, n->kids[i], &list.u.list->items[i]));
    }
    *out = list;
    return OCT_OK;
}

static oct_status eval_dict(struct oct_jr *r, const struct oct_jn *n, struct oct_jv *out)
{
    struct oct_jdict *d;
    OCT_TRY(oct_jdict_new(r, n->n_kids / 2, &d));
    for (uint32_t i = 0; i < n->n_kids; i += 2) {
        struct oct_jv key, val;
        OCT_TRY(oct_jr_eval(r, n->kids[i], &key));
        OCT_TRY(oct_jr_eval(r, n->kids[i + 1], &val));
        r->cur = n;
        OCT_TRY(oct_jdict_set(r, d, &key, &val));
    }
    *out = (struct oct_jv){.type = OCT_JV_DICT, .u.dict = d};
    return OCT_OK;
}

/* ---- operators ---- */

static oct_status eval_cond(struct oct_jr *r, const struct oct_jn *n, struct oct_jv *out)
{
    OCT_TRY(oct_jr_eval(r, n->a, out));
    if (oct_jv_truth(out)) {
        return oct_jr_eval(r, n->b, out);
    }
    if (n->c) {
        return oct_jr_eval(r, n->c, out);
    }
    *out = oct_jv_hint("the inline if-expression was false and has no else part");
    return OCT_OK;
}

static oct_status eval_logic(struct oct_jr *r, const struct oct_jn *n, struct oct_jv *out)
{
    for (uint32_t i = 0; i < n->n_kids; i++) {
        OCT_TRY(oct_jr_eval(r, n->kids[i], out));
        if (oct_jv_truth(out) == (n->kind == OCT_JN_OR)) {
            break;
        }
    }
    return OCT_OK;
}

static oct_status compare_one(struct oct_jr *r, enum oct_jop op, const struct oct_jv *a,
                              const struct oct_jv *b, bool *yes)
{
    switch (op) {
    case OCT_JOP_EQ:
        return oct_jv_eq(r, a, b, yes);
    case OCT_JOP_NE:
        OCT_TRY(oct_jv_eq(r, a, b, yes));
        *yes = !*yes;
        return OCT_OK;
    case OCT_JOP_IN:
        return oct_jv_contains(r, b, a, yes);
    case OCT_JOP_NOTIN:
        OCT_TRY(oct_jv_contains(r, b, a, yes));
        *yes = !*yes;
        return OCT_OK;
    default:
        return oct_jv_order(r, op, a, b, yes);
    }
}

static oct_status eval_compare(struct oct_jr *r, const struct oct_jn *n, struct oct_jv *out)
{
    struct oct_jv left, right;
    bool yes = true;
    OCT_TRY(oct_jr_eval(r, n->a, &left));
    for (uint32_t i = 0; i < n->n_kids && yes; i++) {
        OCT_TRY(oct_jr_eval(r, n->kids[i]->a, &right));
        r->cur = n;
        OCT_TRY(compare_one(r, (enum oct_jop)n->kids[i]->op, &left, &right, &yes));
        left = right;
    }
    *out = oct_jv_bool(yes);
    return OCT_OK;
}

static oct_status eval_binary(struct oct_jr *r, const struct oct_jn *n, struct oct_jv *out)
{
    struct oct_jv left, right;
    OCT_TRY(oct_jr_eval(r, n->a, out));
    for (uint32_t i = 0; i < n->n_kids; i++) {
        left = *out;
        OCT_TRY(oct_jr_eval(r, n->kids[i]->a, &right));
        r->cur = n;
        OCT_TRY(oct_jv_binary(r, (enum oct_jop)n->kids[i]->op, &left, &right, out));
    }
    return OCT_OK;
}

static oct_status eval_concat(struct oct_jr *r, const struct oct_jn *n, struct oct_jv *out)
{
    struct oct_jv left, right;
    *out = oct_jv_strn("", 0);
    for (uint32_t i = 0; i < n->n_kids; i++) {
        OCT_TRY(oct_jr_eval(r, n->kids[i], &left));
        r->cur = n;
        OCT_TRY(oct_jv_str(r, &left, &right));
        left = *out;
        OCT_TRY(oct_jv_concat(r, &left, &right, out));
        out->flags = 0; /* str() of Markup is plain */
    }
    return OCT_OK;
}

/* ---- reaching into values ---- */

static oct_status eval_attr(struct oct_jr *r, const struct oct_jn *n, struct oct_jv *out)
{
    struct oct_jv obj;
    OCT_TRY(oct_jr_eval(r, n->a, &obj));
    r->cur = n;
    return oct_jv_getattr(r, &obj, &n->value, out);
}

static oct_status eval_item(struct oct_jr *r, const struct oct_jn *n, struct oct_jv *out)
{
    struct oct_jv obj, key;
    OCT_TRY(oct_jr_eval(r, n->a, &obj));
    OCT_TRY(oct_jr_eval(r, n->b, &key));
    r->cur = n;
    return oct_jv_getitem(r, &obj, &key, out);
}

static oct_status eval_slice(struct oct_jr *r, const struct oct_jn *n, struct oct_jv *out)
{
    struct oct_jv obj, bound[3];
    OCT_TRY(oct_jr_eval(r, n->a, &obj));
    for (int i = 0; i < 3; i++) {
        bound[i] = oct_jv_none();
        if (n->kids[i]) {
            OCT_TRY(oct_jr_eval(r, n->kids[i], &bound[i]));
        }
    }
    r->cur = n;
    return oct_jv_slice(r, &obj, bound, out);
}

/* ---- calls ---- */

/* What *b and **c add, behind what is written out. */
static oct_status eval_spread(struct oct_jr *r, const struct oct_jn *n, struct oct_jargs *args)
{
    struct oct_jv v, list;
    if (n->b) {
        OCT_TRY(oct_jr_eval(r, n->b, &v));
        r->cur = n;
        OCT_TRY(oct_jv_to_list(r, OCT_JV_LIST, &v, &list));
        struct oct_jv *pos = oct_jr_alloc(r, (size_t)args->n_pos + list.u.list->n, sizeof *pos);
        if (!pos) {
            return oct_jr_out_of_memory(r);
        }
        memcpy(pos, args->pos, args->n_pos * sizeof *pos);
        memcpy(pos + args->n_pos, list.u.list->items, list.u.list->n * sizeof *pos);
        args->pos = pos;
        args->n_pos += list.u.list->n;
    }
    if (n->c) {
        OCT_TRY(oct_jr_eval(r, n->c, &v));
        r->cur = n;
        if (v.type != OCT_JV_DICT) {
            return oct_jr_fail(r, OCT_E_FORMAT, "** needs a dict, not %s", oct_jv_type_name(&v));
        }
        OCT_TRY(oct_jv_load(r, &v));
        const struct oct_jdict *d = v.u.dict;
        struct oct_jv *names = oct_jr_alloc(r, 2 * ((size_t)args->n_kw + d->n), sizeof *names);
        if (!names) {
            return oct_jr_out_of_memory(r);
        }
        struct oct_jv *kw = names + args->n_kw + d->n;
        memcpy(names, args->names, args->n_kw * sizeof *names);
        memcpy(kw, args->kw, args->n_kw * sizeof *kw);
        for (uint32_t i = 0; i < d->n; i++) {
            if (d->e[i].key.type != OCT_JV_STR) {
                return oct_jr_fail(r, OCT_E_FORMAT, "keywords must be strings");
            }
            names[args->n_kw] = d->e[i].key;
            kw[args->n_kw++] = d->e[i].val;
        }
        args->names = names;
        args->kw = kw;
    }
    return OCT_OK;
}

oct_status oct_jr_eval_args(struct oct_jr *r, const struct oct_jn *n, const struct oct_jv *caller,
                            struct oct_jargs *args)
{
    *args = (struct oct_jargs){.n_pos = n->n_pos};
    const uint32_t n_kw = n->n_kids - n->n_pos + (caller != NULL);
    const size_t total = (size_t)n->n_pos + 2 * (size_t)n_kw;
    if (total == 0 && !n->b && !n->c) {
        return OCT_OK;
    }
    args->pos = oct_jr_alloc(r, total, sizeof *args->pos);
    if (!args->pos) {
        return oct_jr_out_of_memory(r);
    }
    args->names = args->pos + n->n_pos;
    args->kw = args->names + n_kw;
    for (uint32_t i = 0; i < n->n_pos; i++) {
        OCT_TRY(oct_jr_eval(r, n->kids[i], &args->pos[i]));
    }
    for (uint32_t i = n->n_pos; i < n->n_kids; i++) {
        args->names[args->n_kw] = n->kids[i]->value;
        OCT_TRY(oct_jr_eval(r, n->kids[i]->a, &args->kw[args->n_kw]));
        args->n_kw++;
    }
    if (caller) {
        args->names[args->n_kw] = oct_jv_strn("caller", 6);
        args->kw[args->n_kw++] = *caller;
    }
    OCT_TRY(eval_spread(r, n, args));
    for (uint32_t i = 0; i < args->n_kw; i++) {
        OCT_TRY(oct_jr_charge(r, i / 8));
        for (uint32_t k = 0; k < i; k++) {
            if (args->names[i].len == args->names[k].len &&
                memcmp(args->names[i].u.s, args->names[k].u.s, args->names[i].len) == 0) {
                r->cur = n;
                return oct_jr_fail(r, OCT_E_FORMAT, "the keyword '%s' is given twice",
                                   oct_jr_quote(r, args->names[i].u.s, args->names[i].len));
            }
        }
    }
    return OCT_OK;
}

oct_status oct_jr_call(struct oct_jr *r, const struct oct_jv *callee, const struct oct_jargs *args,
                       struct oct_jv *out)
{
    switch (callee->type) {
    case OCT_JV_MACRO:
        return oct_jr_call_macro(r, callee, args, out);
    case OCT_JV_METHOD:
        return oct_jmethod_call(r, callee, args, out);
    case OCT_JV_GLOBAL:
    case OCT_JV_JOINER:
        return oct_jglobal_call(r, callee, args, out);
    case OCT_JV_LOOP:
        return oct_jloop_call(r, callee->u.loop, args, out);
    case OCT_JV_UNDEF:
        return oct_jr_fail_undef(r, callee);
    default:
        return oct_jr_fail(r, OCT_E_FORMAT, "a %s cannot be called", oct_jv_type_name(callee));
    }
}

static oct_status eval_call(struct oct_jr *r, const struct oct_jn *n, struct oct_jv *out)
{
    struct oct_jv callee;
    struct oct_jargs args;
    OCT_TRY(oct_jr_eval(r, n->a, &callee));
    OCT_TRY(oct_jr_eval_args(r, n, NULL, &args));
    r->cur = n;
    return oct_jr_call(r, &callee, &args, out);
}

static oct_status eval_filter(struct oct_jr *r, const struct oct_jn *n, struct oct_jv *out)
{
    struct oct_jv v = r->block_text; /* of a filter block, read before anything can change it */
    struct oct_jargs args;
    if (n->a) {
        OCT_TRY(oct_jr_eval(r, n->a, &v));
    }
    OCT_TRY(oct_jr_eval_args(r, n, NULL, &args));
    r->cur = n;
    if (n->fn < 0) {
        return oct_jr_fail(r, OCT_E_FORMAT, "there is no filter named '%s'",
                           oct_jr_quote(r, n->value.u.s, n->value.len));
    }
    return oct_jfilter_apply(r, n->fn, &v, &args, out);
}

static oct_status eval_test(struct oct_jr *r, const struct oct_jn *n, struct oct_jv *out)
{
    struct oct_jv v;
    struct oct_jargs args;
    OCT_TRY(oct_jr_eval(r, n->a, &v));
    OCT_TRY(oct_jr_eval_args(r, n, NULL, &args));
    r->cur = n;
    if (n->fn < 0) {
        return oct_jr_fail(r, OCT_E_FORMAT, "there is no test named '%s'",
                           oct_jr_quote(r, n->value.u.s, n->value.len));
    }
    return oct_jtest_apply(r, n->fn, &v, &args, out);
}

static oct_status eval_node(struct oct_jr *r, const struct oct_jn *n, struct oct_jv *out)
{
    switch (n->kind) {
    case OCT_JN_TUPLE:
    case OCT_JN_LIST:
        return eval_items(r, n, out);
    case OCT_JN_DICT:
        return eval_dict(r, n, out);
    case OCT_JN_COND:
        return eval_cond(r, n, out);
    case OCT_JN_OR:
    case OCT_JN_AND:
        return eval_logic(r, n, out);
    case OCT_JN_NOT:
        OCT_TRY(oct_jr_eval(r, n->a, out));
        *out = oct_jv_bool(!oct_jv_truth(out));
        return OCT_OK;
    case OCT_JN_NEG:
    case OCT_JN_POS: {
        struct oct_jv v;
        OCT_TRY(oct_jr_eval(r, n->a, &v));
        r->cur = n;
        return oct_jv_negate(r, &v, n->kind == OCT_JN_NEG, out);
    }
    case OCT_JN_COMPARE:
        return eval_compare(r, n, out);
    case OCT_JN_BIN:
        return eval_binary(r, n, out);
    case OCT_JN_CONCAT:
        return eval_concat(r, n, out);
    case OCT_JN_ATTR:
        return eval_attr(r, n, out);
    case OCT_JN_ITEM:
        return eval_item(r, n, out);
    case OCT_JN_SLICE:
        return eval_slice(r, n, out);
    case OCT_JN_CALL:
        return eval_call(r, n, out);
    case OCT_JN_FILTER:
        return eval_filter(r, n, out);
    case OCT_JN_TEST:
        return eval_test(r, n, out);
    default:
        return oct_jr_fail(r, OCT_E_FORMAT, "no expression");
    }
}

oct_status oct_jr_eval(struct oct_jr *r, const struct oct_jn *n, struct oct_jv *out)
{
    OCT_TRY(oct_jr_charge(r, 1));
    if (n->kind == OCT_JN_CONST) {
        *out = n->value;
        return OCT_OK;
    }
    if (n->kind == OCT_JN_NAME) {
        return load_name(r, n, out);
    }
    OCT_TRY(oct_jr_enter(r));
    const oct_status st = eval_node(r, n, out);
    oct_jr_leave(r);
    return st;
}

/* ---- binding ---- */

/* Item number i of "a,b,c"; its length, 0 behind the last. */
static uint32_t name_at(const char *names, uint32_t i, const char **at)
{
    for (; i > 0 && *names; names++) {
        i -= *names == ',';
    }
    *at = names;
    return (uint32_t)strcspn(names, ",");
}

oct_status oct_jargs_bind(struct oct_jr *r, const struct oct_jargs *args, const char *what,
                          const char *names, uint32_t n_required, uint32_t n_pos_only,
                          struct oct_jv *params)
{
    const char *name;
    uint32_t n = 0;
    while (name_at(names, n, &name) > 0) {
        params[n++] = (struct oct_jv){0};
    }
    if (args->n_pos > n) {
        return oct_jr_fail(r, OCT_E_FORMAT, "%s takes at most %u arguments, got %u", what, n,
                           args->n_pos);
    }
    for (uint32_t i = 0; i < args->n_pos; i++) {
        params[i] = args->pos[i];
    }
    for (uint32_t k = 0; k < args->n_kw; k++) {
        uint32_t i = n_pos_only;
        for (; i < n; i++) {
            const uint32_t len = name_at(names, i, &name);
            if (len == args->names[k].len && memcmp(name, args->names[k].u.s, len) == 0) {
                break;
            }
        }
        if (i == n || params[i].type != OCT_JV_MISSING) {
            return oct_jr_fail(r, OCT_E_FORMAT, "%s got an unexpected keyword '%s'", what,
                               oct_jr_quote(r, args->names[k].u.s, args->names[k].len));
        }
        params[i] = args->kw[k];
    }
    for (uint32_t i = 0; i < n_required; i++) {
        if (params[i].type == OCT_JV_MISSING) {
            const uint32_t len = name_at(names, i, &name);
            return oct_jr_fail(r, OCT_E_FORMAT, "%s needs the argument '%.*s'", what, (int)len,
                               name);
        }
    }
    return OCT_OK;
}

oct_status oct_jarg_int(struct oct_jr *r, const struct oct_jv *v, int64_t if_missing, int64_t *out)
{
    if (v->type == OCT_JV_MISSING) {
        *out = if_missing;
        return OCT_OK;
    }
    if (!oct_jv_is_int(v, out)) {
        return oct_jr_fail(r, OCT_E_FORMAT, "an integer is needed, not %s", oct_jv_type_name(v));
    }
    return OCT_OK;
}
