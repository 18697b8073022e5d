/* SPDX-License-Identifier: Apache-2.0
 *
 * jinja_exec.c - statements and macros; loops are in jinja_loop.c. */
#include "text/jinja_run.h"

#include <string.h>

/* ---- variables ---- */

static struct oct_jenv *env_at(const struct oct_jr *r, uint32_t hops)
{
    struct oct_jenv *env = r->env;
    for (; hops > 0; hops--) {
        env = env->parent;
    }
    return env;
}

/* A name of the caller's variables or a global. */
static oct_status resolve(struct oct_jr *r, uint32_t name, struct oct_jv *out)
{
    struct oct_jv *have = &r->resolved[name];
    if (have->type == OCT_JV_MISSING && !have->sub) {
        const struct oct_jname *n = &r->t->names[name];
        char key[256];
        const json_t *j = NULL;
        if (n->len < sizeof key) { /* no caller uses longer ones */
            memcpy(key, n->s, n->len);
            key[n->len] = '\0';
            j = json_object_get(r->vars, key);
        }
        const int global = j ? -1 : oct_jglobal_find(n->s, n->len);
        if (j) {
            OCT_TRY(oct_jv_from_json(r, j, have));
            if (r->origin && have->type == OCT_JV_STR &&
                json_object_get(r->origin->own, key) == j) {
                OCT_TRY(oct_jr_origin_own(r, have));
            }
        } else if (global >= 0) {
            *have = (struct oct_jv){.type = OCT_JV_GLOBAL, .sub = (uint16_t)global};
        } else {
            have->sub = 1;
        }
    }
    *out = *have;
    return OCT_OK;
}

oct_status oct_jr_enter_scope(struct oct_jr *r, const struct oct_jscope *s)
{
    OCT_TRY(oct_jr_charge(r, s->n_loads / 4));
    for (uint32_t i = 0; i < s->n_loads; i++) {
        const struct oct_jload *l = &s->loads[i];
        struct oct_jv *slot = &r->env->slot[l->slot];
        switch (l->how) {
        case OCT_JLOAD_RESOLVE:
            OCT_TRY(resolve(r, l->name, slot));
            break;
        case OCT_JLOAD_ALIAS:
            *slot = env_at(r, l->from.hops)->slot[l->from.slot];
            break;
        default:
            *slot = (struct oct_jv){0};
        }
    }
    return OCT_OK;
}

struct oct_jenv *oct_jr_new_env(struct oct_jr *r, struct oct_jenv *parent,
                                const struct oct_jfunc *f)
{
    struct oct_jenv *env = oct_jr_alloc(r, 1, sizeof *env + f->n_slots * sizeof env->slot[0]);
    if (env) {
        env->parent = parent;
    }
    return env;
}

static oct_status unpack(struct oct_jr *r, const struct oct_jn *target, const struct oct_jv *v)
{
    struct oct_jv list;
    r->cur = target;
    OCT_TRY(oct_jv_to_list(r, OCT_JV_LIST, v, &list));
    if (list.u.list->n != target->n_kids) {
        return oct_jr_fail(r, OCT_E_FORMAT, "%u values cannot be assigned to %u names",
                           list.u.list->n, target->n_kids);
    }
    for (uint32_t i = 0; i < target->n_kids; i++) {
        OCT_TRY(oct_jr_assign(r, target->kids[i], &list.u.list->items[i]));
    }
    return OCT_OK;
}

oct_status oct_jr_assign(struct oct_jr *r, const struct oct_jn *target, const struct oct_jv *v)
{
    if (target->kind == OCT_JN_TUPLE) { /* no deeper than the parser went */
        return unpack(r, target, v);
    }
    struct oct_jv *slot = &env_at(r, target->ref.hops)->slot[target->ref.slot];
    if (target->kind == OCT_JN_NAME) {
        *slot = *v;
        return OCT_OK;
    }
    r->cur = target;
    if (slot->type != OCT_JV_NS) {
        return oct_jr_fail(r, OCT_E_FORMAT, "only a namespace's attributes can be assigned to");
    }
    if (target->value.u.s[0] == '_') {
        return oct_jr_fail(r, OCT_E_FORMAT, "names in a namespace cannot begin with '_'");
    }
    return oct_jdict_set(r, slot->u.dict, &target->value, v);
}

/* ---- macros ---- */

static bool name_is(const struct oct_jv *name, const struct oct_jv *other)
{
    return name->len == other->len && memcmp(name->u.s, other->u.s, name->len) == 0;
}

/* Fills the slots of the parameters; what is not given stays missing. `rest` counts the keywords
 * nobody took; taken[] marks the others. */
static oct_status bind_params(struct oct_jr *r, const struct oct_jn *n,
                              const struct oct_jargs *args, struct oct_jenv *env, bool *taken,
                              bool *caller_bound)
{
    const uint32_t n_pos = args->n_pos < n->n_pos ? args->n_pos : n->n_pos;
    for (uint32_t i = 0; i < n_pos; i++) {
        env->slot[i] = args->pos[i];
    }
    *caller_bound = n_pos == n->n_pos && n->func->explicit_caller;
    OCT_TRY(oct_jr_charge(r, (uint64_t)(n->n_pos - n_pos) * args->n_kw / 8));
    for (uint32_t i = n_pos; i < n->n_pos; i++) {
        *caller_bound |= oct_jv_is_word(&n->kids[i]->value, "caller");
        for (uint32_t k = 0; k < args->n_kw; k++) {
            if (name_is(&args->names[k], &n->kids[i]->value)) {
                env->slot[i] = args->kw[k];
                taken[k] = true;
            }
        }
    }
    return OCT_OK;
}

/* caller, kwargs and varargs, and complaints about arguments that have no place. */
static oct_status bind_rest(struct oct_jr *r, const struct oct_jn *n, const struct oct_jargs *args,
                            struct oct_jenv *env, bool *taken, bool caller_bound)
{
    const struct oct_jfunc *f = n->func;
    const bool has_caller = f->caller_slot != OCT_JSLOT_NONE || f->explicit_caller;
    if (has_caller && !caller_bound) {
        struct oct_jv caller = oct_jv_hint("No caller defined");
        for (uint32_t k = 0; k < args->n_kw; k++) {
            if (oct_jv_is_word(&args->names[k], "caller")) {
                taken[k] = true;
                caller = args->kw[k].type == OCT_JV_NONE ? caller : args->kw[k];
            }
        }
        if (f->caller_slot != OCT_JSLOT_NONE) {
            env->slot[f->caller_slot] = caller;
        }
    }
    struct oct_jdict *rest = NULL;
    if (f->kwargs_slot != OCT_JSLOT_NONE) {
        OCT_TRY(oct_jdict_new(r, args->n_kw, &rest));
        env->slot[f->kwargs_slot] = (struct oct_jv){.type = OCT_JV_DICT, .u.dict = rest};
    }
    for (uint32_t k = 0; k < args->n_kw; k++) {
        if (taken[k]) {
            continue;
        }
        if (!rest) {
            return oct_jr_fail(r, OCT_E_FORMAT, "the macro takes no keyword argument '%s'",
                               oct_jr_quote(r, args->names[k].u.s, args->names[k].len));
        }
        OCT_TRY(oct_jdict_set(r, rest, &args->names[k], &args->kw[k]));
    }
    const uint32_t extra = args->n_pos > n->n_pos ? args->n_pos - n->n_pos : 0;
    if (f->varargs_slot != OCT_JSLOT_NONE) {
        struct oct_jv *varargs = &env->slot[f->varargs_slot];
        OCT_TRY(oct_jv_new_list(r, OCT_JV_TUPLE, extra, varargs));
        if (extra) {
            memcpy(varargs->u.list->items, args->pos + n->n_pos,
                   extra * sizeof *varargs->u.list->items);
        }
        return OCT_OK;
    }
    return extra ? oct_jr_fail(r, OCT_E_FORMAT, "the macro takes not more than %u arguments",
                               n->n_pos)
                 : OCT_OK;
}

static oct_status set_defaults(struct oct_jr *r, const struct oct_jn *n)
{
    const uint32_t n_defaults = n->n_kids - n->n_pos;
    for (uint32_t i = 0; i < n->n_pos; i++) {
        if (r->env->slot[i].type != OCT_JV_MISSING) {
            continue;
        }
        if (i + n_defaults < n->n_pos) {
            r->env->slot[i] = (struct oct_jv){.type = OCT_JV_UNDEF,
                                              .sub = OCT_JV_U_NAME,
                                              .len = n->kids[i]->value.len,
                                              .u.s = n->kids[i]->value.u.s};
        } else {
            struct oct_jv v;
            OCT_TRY(oct_jr_eval(r, n->kids[i + n_defaults], &v));
            r->env->slot[i] = v;
        }
    }
    return OCT_OK;
}

/* Runs the body in r->env and takes what it writes. */
static oct_status run_body(struct oct_jr *r, const struct oct_jn *n, struct oct_jv *out)
{
    const size_t mark = r->out.len;
    OCT_TRY(oct_jr_enter_scope(r, n->scope));
    OCT_TRY(set_defaults(r, n));
    OCT_TRY(oct_jr_exec(r, n->body));
    return oct_jr_take(r, mark, out);
}

oct_status oct_jr_call_macro(struct oct_jr *r, const struct oct_jv *macro,
                             const struct oct_jargs *args, struct oct_jv *out)
{
    const struct oct_jn *n = macro->u.macro->node, *cur = r->cur;
    if (r->calls == OCT_JINJA_MAX_CALLS) {
        return oct_jr_fail(r, OCT_E_LIMIT, "macros call each other over %d levels deep",
                           OCT_JINJA_MAX_CALLS);
    }
    bool caller_bound;
    bool *taken = oct_jr_alloc(r, args->n_kw, sizeof *taken);
    struct oct_jenv *env = taken ? oct_jr_new_env(r, macro->u.macro->env, n->func) : NULL,
                    *outer = r->env;
    if (!env) {
        return oct_jr_out_of_memory(r);
    }
    OCT_TRY(oct_jr_charge(r, 1 + n->func->n_slots / 8));
    OCT_TRY(bind_params(r, n, args, env, taken, &caller_bound));
    OCT_TRY(bind_rest(r, n, args, env, taken, caller_bound));
    r->calls++;
    r->env = env;
    OCT_TRY(run_body(r, n, out)); /* after a failure nothing of r is used again but its out */
    r->env = outer;
    r->calls--;
    r->cur = cur;
    return OCT_OK;
}

static oct_status new_macro(struct oct_jr *r, const struct oct_jn *n, struct oct_jv *out)
{
    struct oct_jmacro *m = oct_jr_alloc(r, 1, sizeof *m);
    if (!m) {
        return oct_jr_out_of_memory(r);
    }
    *m = (struct oct_jmacro){.node = n, .env = r->env};
    *out = (struct oct_jv){.type = OCT_JV_MACRO, .u.macro = m};
    return OCT_OK;
}

/* Call and filter blocks write a string or nothing. */
oct_status oct_jr_put_block(struct oct_jr *r, const struct oct_jv *v)
{
    if (v->type != OCT_JV_STR) {
        return oct_jr_fail(r, OCT_E_FORMAT, "the block gives a %s, not a string",
                           oct_jv_type_name(v));
    }
    return oct_jr_put(r, v->u.s, v->len);
}

static oct_status exec_call_block(struct oct_jr *r, const struct oct_jn *n)
{
    struct oct_jv caller, callee, v;
    struct oct_jargs args;
    OCT_TRY(new_macro(r, n, &caller));
    OCT_TRY(oct_jr_eval(r, n->b->a, &callee));
    OCT_TRY(oct_jr_eval_args(r, n->b, &caller, &args));
    r->cur = n->b;
    OCT_TRY(oct_jr_call(r, &callee, &args, &v));
    return oct_jr_put_block(r, &v);
}

static oct_status exec_generation(struct oct_jr *r, const struct oct_jn *n)
{
    struct oct_jv body, v;
    const struct oct_jargs none = {0};
    r->cur = n;
    OCT_TRY(new_macro(r, n, &body));
    OCT_TRY(oct_jr_call_macro(r, &body, &none, &v));
    return oct_jr_put_block(r, &v);
}

/* ---- other statements ---- */

static oct_status exec_output(struct oct_jr *r, const struct oct_jn *n)
{
    for (uint32_t i = 0; i < n->n_kids; i++) {
        struct oct_jv v;
        OCT_TRY(oct_jr_eval(r, n->kids[i], &v));
        r->cur = n->kids[i];
        OCT_TRY(oct_jv_write_str(r, &v));
    }
    return OCT_OK;
}

static oct_status exec_if(struct oct_jr *r, const struct oct_jn *n)
{
    for (uint32_t i = 0; i < n->n_kids; i += 2) {
        struct oct_jv test;
        OCT_TRY(oct_jr_eval(r, n->kids[i], &test));
        if (oct_jv_truth(&test)) {
            return oct_jr_exec(r, n->kids[i + 1]);
        }
    }
    return n->orelse ? oct_jr_exec(r, n->orelse) : OCT_OK;
}

/* The body of a block assignment or filter block, through its filters. *done: it ended in a break
 * or continue, and what it wrote is dropped. */
static oct_status captured(struct oct_jr *r, const struct oct_jn *n, struct oct_jv *out, bool *done)
{
    const size_t mark = r->out.len;
    OCT_TRY(oct_jr_enter_scope(r, n->scope));
    OCT_TRY(oct_jr_exec(r, n->body));
    *done = r->flow != OCT_JFLOW_NEXT;
    if (*done) {
        r->out.len = mark;
        return OCT_OK;
    }
    r->cur = n;
    OCT_TRY(oct_jr_take(r, mark, out));
    if (n->b) {
        r->block_text = *out;
        return oct_jr_eval(r, n->b, out);
    }
    return OCT_OK;
}

static oct_status exec_capture(struct oct_jr *r, const struct oct_jn *n)
{
    struct oct_jv v;
    bool done;
    OCT_TRY(captured(r, n, &v, &done));
    if (done) {
        return OCT_OK;
    }
    return n->kind == OCT_JN_SETBLOCK ? oct_jr_assign(r, n->a, &v) : oct_jr_put_block(r, &v);
}

static oct_status exec_with(struct oct_jr *r, const struct oct_jn *n)
{
    OCT_TRY(oct_jr_enter_scope(r, n->scope));
    for (uint32_t i = 0; i < n->n_kids; i += 2) {
        struct oct_jv v;
        OCT_TRY(oct_jr_eval(r, n->kids[i + 1], &v));
        OCT_TRY(oct_jr_assign(r, n->kids[i], &v));
    }
    return oct_jr_exec(r, n->body);
}

static oct_status exec_set(struct oct_jr *r, const struct oct_jn *n)
{
    struct oct_jv v;
    OCT_TRY(oct_jr_eval(r, n->b, &v));
    return oct_jr_assign(r, n->a, &v);
}

static oct_status exec_statement(struct oct_jr *r, const struct oct_jn *n)
{
    switch (n->kind) {
    case OCT_JN_OUTPUT:
        return exec_output(r, n);
    case OCT_JN_IF:
        return exec_if(r, n);
    case OCT_JN_FOR:
        return oct_jr_exec_for(r, n);
    case OCT_JN_SET:
        return exec_set(r, n);
    case OCT_JN_SETBLOCK:
    case OCT_JN_FILTERBLOCK:
        return exec_capture(r, n);
    case OCT_JN_MACRO:
        return new_macro(r, n, &env_at(r, n->ref.hops)->slot[n->ref.slot]);
    case OCT_JN_CALLBLOCK:
        return exec_call_block(r, n);
    case OCT_JN_GENERATION:
        return exec_generation(r, n);
    case OCT_JN_WITH:
        return exec_with(r, n);
    case OCT_JN_BREAK:
        r->flow = OCT_JFLOW_BREAK;
        return OCT_OK;
    case OCT_JN_CONTINUE:
        r->flow = OCT_JFLOW_CONTINUE;
        return OCT_OK;
    default:
        return oct_jr_fail(r, OCT_E_FORMAT, "no statement");
    }
}

oct_status oct_jr_exec(struct oct_jr *r, const struct oct_jn *block)
{
    OCT_TRY(oct_jr_enter(r));
    for (uint32_t i = 0; i < block->n_kids && r->flow == OCT_JFLOW_NEXT; i++) {
        OCT_TRY(oct_jr_charge(r, 1));
        OCT_TRY(exec_statement(r, block->kids[i]));
    }
    oct_jr_leave(r);
    return OCT_OK;
}

oct_status oct_jr_run_root(struct oct_jr *r)
{
    r->env = oct_jr_new_env(r, NULL, r->t->root_func);
    if (!r->env) {
        return oct_jr_out_of_memory(r);
    }
    OCT_TRY(oct_jr_enter_scope(r, r->t->root_scope));
    return oct_jr_exec(r, r->t->root);
}
