/* SPDX-License-Identifier: Apache-2.0
 *
 * jinja_scope.c - gives every name of a template its slot, by Jinja's rules, which are decided when
 * a template is compiled: a scope (template, macro, loop body, with, block assignment) first learns
 * all names that occur directly in it; a name assigned in it is its own, starting as a copy of an
 * outer variable of that name if there is one; any other name is the nearest outer scope's, or
 * looked up in the caller's variables when the scope is entered. `if` is no scope. */
#include "text/jinja_ast.h"

#include <string.h>

struct function {
    struct oct_jfunc *func;
    uint32_t depth;
};

struct scope;

/* A name as one scope knows it. */
struct binding {
    struct binding *shadowed;      /* the same name in outer scopes */
    struct binding *next_in_scope; /* for leaving the scope */
    const struct scope *scope;
    const struct function *fn;
    uint32_t name, slot;
    int how;               /* enum oct_jload_how; PARAM: set by whoever enters the scope */
    struct oct_jref alias; /* how == OCT_JLOAD_ALIAS */
};
enum { PARAM = -1 };

struct scope {
    const struct function *fn;
    struct binding *bindings;
    uint32_t n_ifs; /* `if`s around what is being looked at, inside this scope */
};

/* Names that mean something to Jinja. */
enum special { LOOP, CALLER, KWARGS, VARARGS, N_SPECIAL };
static const char *const special_name[] = {"loop", "caller", "kwargs", "varargs"};

struct resolver {
    struct oct_template *t;
    struct binding **top;        /* [n_names] the innermost binding of each name */
    uint32_t n_fors;             /* loops around the current node */
    uint32_t special[N_SPECIAL]; /* their ids; UINT32_MAX: the template has no such name */
};

static oct_status visit_block(struct resolver *r, struct scope *s, struct oct_jn *n, bool soft);

/* ---- scopes and names ---- */

static struct oct_jref ref_of(const struct scope *s, const struct binding *b)
{
    return (struct oct_jref){.hops = s->fn->depth - b->fn->depth, .slot = b->slot};
}

static oct_status define(struct resolver *r, struct scope *s, uint32_t name, int how,
                         struct binding **out)
{
    struct binding *b = r->top[name];
    if (!b || b->scope != s) {
        b = oct_jinja_alloc(r->t, sizeof *b);
        if (!b) {
            return OCT_E_MEM;
        }
        b->shadowed = r->top[name];
        b->scope = s;
        b->fn = s->fn;
        b->name = name;
        b->slot = s->fn->func->n_slots++;
        b->next_in_scope = s->bindings;
        s->bindings = b;
        r->top[name] = b;
    }
    b->how = how;
    if (out) {
        *out = b;
    }
    return OCT_OK;
}

static oct_status see_load(struct resolver *r, struct scope *s, uint32_t name)
{
    return r->top[name] ? OCT_OK : define(r, s, name, OCT_JLOAD_RESOLVE, NULL);
}

/* Where the first assignment is under an `if`, the name may be read without it: then it is what it
 * would be outside. */
static oct_status see_store(struct resolver *r, struct scope *s, uint32_t name)
{
    const struct binding *outer = r->top[name];
    struct binding *b;
    if (outer && outer->scope == s) {
        return OCT_OK;
    }
    if (outer) {
        const struct oct_jref from = ref_of(s, outer);
        OCT_TRY(define(r, s, name, OCT_JLOAD_ALIAS, &b));
        b->alias = from;
        return OCT_OK;
    }
    return define(r, s, name, s->n_ifs ? OCT_JLOAD_RESOLVE : OCT_JLOAD_UNSET, NULL);
}

static oct_status declare_params(struct resolver *r, struct scope *s, const struct oct_jn *target)
{
    if (target->kind == OCT_JN_NAME) {
        return define(r, s, target->name, PARAM, NULL);
    }
    for (uint32_t i = 0; i < target->n_kids; i++) {
        OCT_TRY(declare_params(r, s, target->kids[i]));
    }
    return OCT_OK;
}

/* ---- what occurs directly in a scope ---- */

static oct_status see_expr(struct resolver *r, struct scope *s, const struct oct_jn *n)
{
    if (!n) {
        return OCT_OK;
    }
    if (n->kind == OCT_JN_NAME || n->kind == OCT_JN_NSREF) {
        return n->kind == OCT_JN_NAME && n->flags != OCT_JN_LOAD ? see_store(r, s, n->name)
                                                                 : see_load(r, s, n->name);
    }
    OCT_TRY(see_expr(r, s, n->a));
    OCT_TRY(see_expr(r, s, n->b));
    OCT_TRY(see_expr(r, s, n->c));
    for (uint32_t i = 0; i < n->n_kids; i++) {
        OCT_TRY(see_expr(r, s, n->kids[i]));
    }
    return OCT_OK;
}

static oct_status see_block(struct resolver *r, struct scope *s, const struct oct_jn *block);

static oct_status see_statement(struct resolver *r, struct scope *s, const struct oct_jn *n)
{
    switch (n->kind) {
    case OCT_JN_IF:
        s->n_ifs++;
        for (uint32_t i = 0; i < n->n_kids; i += 2) {
            OCT_TRY(see_expr(r, s, n->kids[i]));
            OCT_TRY(see_block(r, s, n->kids[i + 1]));
        }
        OCT_TRY(see_block(r, s, n->orelse));
        s->n_ifs--;
        return OCT_OK;
    case OCT_JN_FOR:
    case OCT_JN_CALLBLOCK:
    case OCT_JN_FILTERBLOCK:
        return see_expr(r, s, n->b);
    case OCT_JN_SET:
        OCT_TRY(see_expr(r, s, n->b));
        return see_expr(r, s, n->a);
    case OCT_JN_SETBLOCK:
        return see_expr(r, s, n->a);
    case OCT_JN_MACRO:
        return see_store(r, s, n->name);
    case OCT_JN_WITH:
        for (uint32_t i = 1; i < n->n_kids; i += 2) {
            OCT_TRY(see_expr(r, s, n->kids[i]));
        }
        return OCT_OK;
    case OCT_JN_OUTPUT:
        return see_expr(r, s, n);
    default:
        return OCT_OK;
    }
}

static oct_status see_block(struct resolver *r, struct scope *s, const struct oct_jn *block)
{
    for (uint32_t i = 0; block && i < block->n_kids; i++) {
        OCT_TRY(see_statement(r, s, block->kids[i]));
    }
    return OCT_OK;
}

/* ---- is `caller`, `loop`, ... read before it is assigned to? ---- */

struct search {
    uint32_t name;
    bool found, hidden;
};

static void search(struct search *q, const struct oct_jn *n);

static void search_kids(struct search *q, const struct oct_jn *n, uint32_t from, uint32_t step)
{
    for (uint32_t i = from; i < n->n_kids; i += step) {
        search(q, n->kids[i]);
    }
}

static void search(struct search *q, const struct oct_jn *n)
{
    if (!n || q->found || q->hidden) {
        return;
    }
    switch (n->kind) {
    case OCT_JN_NAME:
        if (n->name == q->name) {
            *(n->flags == OCT_JN_LOAD ? &q->found : &q->hidden) = true;
        }
        return;
    case OCT_JN_FOR:
        search(q, n->a);
        search(q, n->b);
        search(q, n->body);
        search(q, n->orelse);
        search(q, n->c);
        return;
    case OCT_JN_CALLBLOCK:
        search(q, n->b);
        search_kids(q, n, 0, 1);
        search(q, n->body);
        return;
    case OCT_JN_FILTERBLOCK:
        search(q, n->body);
        search(q, n->b);
        return;
    case OCT_JN_WITH:
        search_kids(q, n, 0, 2);
        search_kids(q, n, 1, 2);
        search(q, n->body);
        return;
    default:
        search(q, n->a);
        search_kids(q, n, 0, 1);
        search(q, n->b);
        search(q, n->c);
        search(q, n->body);
        search(q, n->orelse);
    }
}

static bool reads(const struct resolver *r, const struct oct_jn *body, enum special what)
{
    struct search q = {.name = r->special[what]};
    if (q.name != UINT32_MAX) {
        search(&q, body);
    }
    return q.found;
}

/* ---- annotating ---- */

static oct_status visit_expr(struct resolver *r, struct scope *s, struct oct_jn *n, bool soft)
{
    if (!n) {
        return OCT_OK;
    }
    if (n->kind == OCT_JN_NAME || n->kind == OCT_JN_NSREF) {
        OCT_ASSERT(r->top[n->name]);
        n->ref = ref_of(s, r->top[n->name]);
        if (n->flags == OCT_JN_STORE && r->n_fors && n->name == r->special[LOOP]) {
            return oct_jinja_fail(r->t, n->line, n->at, n->end,
                                  "inside a for loop this name cannot be assigned to");
        }
        return OCT_OK;
    }
    soft |= n->kind == OCT_JN_COND;
    if ((n->kind == OCT_JN_FILTER || n->kind == OCT_JN_TEST) && n->fn < 0 && !soft) {
        char name[80];
        return oct_jinja_fail(r->t, n->line, n->at, n->end, "there is no %s named '%s'",
                              n->kind == OCT_JN_FILTER ? "filter" : "test",
                              oct_error_quote(name, sizeof name, n->value.u.s, n->value.len));
    }
    OCT_TRY(visit_expr(r, s, n->a, soft));
    OCT_TRY(visit_expr(r, s, n->b, soft));
    OCT_TRY(visit_expr(r, s, n->c, soft));
    for (uint32_t i = 0; i < n->n_kids; i++) {
        OCT_TRY(visit_expr(r, s, n->kids[i], soft));
    }
    return OCT_OK;
}

/* The loads of a scope whose names are all known. */
static oct_status finish_scope(struct resolver *r, const struct scope *s, struct oct_jscope **out)
{
    struct oct_jscope *sc = oct_jinja_alloc(r->t, sizeof *sc);
    if (!sc) {
        return OCT_E_MEM;
    }
    sc->loop_slot = OCT_JSLOT_NONE;
    for (const struct binding *b = s->bindings; b; b = b->next_in_scope) {
        sc->n_loads += b->how != PARAM;
    }
    sc->loads = oct_jinja_alloc(r->t, sc->n_loads * sizeof *sc->loads);
    if (!sc->loads) {
        return OCT_E_MEM;
    }
    struct oct_jload *l = sc->loads;
    for (const struct binding *b = s->bindings; b; b = b->next_in_scope) {
        if (b->how != PARAM) {
            *l++ = (struct oct_jload){
                .how = (uint8_t)b->how, .slot = b->slot, .name = b->name, .from = b->alias};
        }
    }
    *out = sc;
    return OCT_OK;
}

static void leave_scope(struct resolver *r, const struct scope *s)
{
    for (const struct binding *b = s->bindings; b; b = b->next_in_scope) {
        r->top[b->name] = b->shadowed;
    }
}

static oct_status declare_special(struct resolver *r, struct scope *s, const struct oct_jn *n,
                                  enum special what, uint32_t *slot)
{
    struct binding *b;
    *slot = OCT_JSLOT_NONE;
    if (!reads(r, n->body, what)) {
        return OCT_OK;
    }
    const uint32_t id = r->special[what];
    for (uint32_t i = 0; i < n->n_pos; i++) {
        if (n->kids[i]->name != id) {
            continue;
        }
        if (what == CALLER) {
            if (n->n_kids - n->n_pos < n->n_pos - i) {
                return oct_jinja_fail(r->t, n->line, n->kids[i]->at, n->kids[i]->end,
                                      "a parameter of this name needs a default");
            }
            n->func->explicit_caller = true;
        }
        return OCT_OK; /* an ordinary parameter */
    }
    OCT_TRY(define(r, s, id, PARAM, &b));
    *slot = b->slot;
    return OCT_OK;
}

/* The body of a macro, call or generation block: a function of its own. */
static oct_status visit_function(struct resolver *r, const struct scope *outer, struct oct_jn *n)
{
    const struct function fn = {.func = n->func, .depth = outer->fn->depth + 1};
    struct scope s = {.fn = &fn};
    const bool generation = n->kind == OCT_JN_GENERATION;
    n->func->caller_slot = n->func->kwargs_slot = n->func->varargs_slot = OCT_JSLOT_NONE;
    for (uint32_t i = 0; i < n->n_pos; i++) { /* parameters are the first slots, in order */
        OCT_TRY(define(r, &s, n->kids[i]->name, PARAM, NULL));
        n->kids[i]->ref.slot = i;
    }
    if (!generation) {
        OCT_TRY(declare_special(r, &s, n, CALLER, &n->func->caller_slot));
        OCT_TRY(declare_special(r, &s, n, KWARGS, &n->func->kwargs_slot));
        OCT_TRY(declare_special(r, &s, n, VARARGS, &n->func->varargs_slot));
    }
    for (uint32_t i = n->n_pos; i < n->n_kids; i++) {
        OCT_TRY(see_expr(r, &s, n->kids[i]));
    }
    OCT_TRY(see_block(r, &s, n->body));
    OCT_TRY(finish_scope(r, &s, &n->scope));
    for (uint32_t i = n->n_pos; i < n->n_kids; i++) {
        OCT_TRY(visit_expr(r, &s, n->kids[i], false));
    }
    OCT_TRY(visit_block(r, &s, n->body, false));
    leave_scope(r, &s);
    return OCT_OK;
}

static oct_status copy_target(struct resolver *r, const struct oct_jn *n, struct oct_jn **out)
{
    struct oct_jn *c = oct_jinja_alloc(r->t, sizeof *c);
    if (!c) {
        return OCT_E_MEM;
    }
    *c = *n;
    if (n->n_kids) {
        c->kids = oct_jinja_alloc(r->t, n->n_kids * sizeof *c->kids);
        if (!c->kids) {
            return OCT_E_MEM;
        }
        for (uint32_t i = 0; i < n->n_kids; i++) {
            OCT_TRY(copy_target(r, n->kids[i], &c->kids[i]));
        }
    }
    *out = c;
    return OCT_OK;
}

/* The filter of a loop sees the targets as variables of its own: kids[0] is their copy. */
static oct_status visit_for_test(struct resolver *r, const struct function *fn, struct oct_jn *n)
{
    struct scope s = {.fn = fn};
    n->kids = oct_jinja_alloc(r->t, sizeof *n->kids);
    if (!n->kids) {
        return OCT_E_MEM;
    }
    n->n_kids = 1;
    OCT_TRY(copy_target(r, n->a, &n->kids[0]));
    OCT_TRY(declare_params(r, &s, n->a));
    OCT_TRY(see_expr(r, &s, n->c));
    OCT_TRY(finish_scope(r, &s, &n->scope2));
    OCT_TRY(visit_expr(r, &s, n->kids[0], false));
    OCT_TRY(visit_expr(r, &s, n->c, false));
    leave_scope(r, &s);
    return OCT_OK;
}

static oct_status visit_for(struct resolver *r, const struct scope *outer, struct oct_jn *n)
{
    struct function fn = *outer->fn;
    if (n->func) {
        fn = (struct function){.func = n->func, .depth = outer->fn->depth + 1};
    }
    r->n_fors++;
    if (n->c) {
        OCT_TRY(visit_for_test(r, &fn, n));
    }
    struct scope s = {.fn = &fn};
    uint32_t loop_slot = OCT_JSLOT_NONE;
    if (reads(r, n->body, LOOP)) {
        struct binding *b;
        OCT_TRY(define(r, &s, r->special[LOOP], PARAM, &b));
        loop_slot = b->slot;
    }
    OCT_TRY(declare_params(r, &s, n->a));
    OCT_TRY(see_block(r, &s, n->body));
    OCT_TRY(finish_scope(r, &s, &n->scope));
    n->scope->loop_slot = loop_slot;
    OCT_TRY(visit_expr(r, &s, n->a, false));
    OCT_TRY(visit_block(r, &s, n->body, false));
    leave_scope(r, &s);
    if (n->orelse) {
        struct scope e = {.fn = &fn};
        OCT_TRY(see_block(r, &e, n->orelse));
        OCT_TRY(finish_scope(r, &e, &n->scope3));
        OCT_TRY(visit_block(r, &e, n->orelse, false));
        leave_scope(r, &e);
    }
    r->n_fors--;
    return OCT_OK;
}

/* with, filter blocks and block assignments: a scope inside the same function. */
static oct_status visit_inner(struct resolver *r, const struct scope *outer, struct oct_jn *n)
{
    struct scope s = {.fn = outer->fn};
    if (n->kind == OCT_JN_WITH) {
        for (uint32_t i = 0; i < n->n_kids; i += 2) {
            OCT_TRY(declare_params(r, &s, n->kids[i]));
        }
    } else {
        OCT_TRY(see_expr(r, &s, n->b));
    }
    OCT_TRY(see_block(r, &s, n->body));
    OCT_TRY(finish_scope(r, &s, &n->scope));
    if (n->kind == OCT_JN_WITH) {
        const uint32_t n_fors = r->n_fors;
        r->n_fors = 0; /* `loop` may be a target here */
        for (uint32_t i = 0; i < n->n_kids; i += 2) {
            OCT_TRY(visit_expr(r, &s, n->kids[i], false));
        }
        r->n_fors = n_fors;
    } else {
        OCT_TRY(visit_expr(r, &s, n->b, false));
    }
    OCT_TRY(visit_block(r, &s, n->body, false));
    leave_scope(r, &s);
    return OCT_OK;
}

static oct_status visit_statement(struct resolver *r, struct scope *s, struct oct_jn *n, bool soft)
{
    switch (n->kind) {
    case OCT_JN_IF:
        for (uint32_t i = 0; i < n->n_kids; i += 2) {
            OCT_TRY(visit_expr(r, s, n->kids[i], true));
            OCT_TRY(visit_block(r, s, n->kids[i + 1], true));
        }
        return visit_block(r, s, n->orelse, true);
    case OCT_JN_FOR:
        OCT_TRY(visit_expr(r, s, n->b, soft));
        return visit_for(r, s, n);
    case OCT_JN_SET:
        OCT_TRY(visit_expr(r, s, n->b, soft));
        return visit_expr(r, s, n->a, soft);
    case OCT_JN_SETBLOCK:
        OCT_TRY(visit_inner(r, s, n));
        return visit_expr(r, s, n->a, soft);
    case OCT_JN_FILTERBLOCK:
        return visit_inner(r, s, n);
    case OCT_JN_WITH:
        for (uint32_t i = 1; i < n->n_kids; i += 2) {
            OCT_TRY(visit_expr(r, s, n->kids[i], soft));
        }
        return visit_inner(r, s, n);
    case OCT_JN_MACRO:
        OCT_TRY(visit_function(r, s, n));
        n->ref = ref_of(s, r->top[n->name]);
        return OCT_OK;
    case OCT_JN_CALLBLOCK:
        OCT_TRY(visit_expr(r, s, n->b, soft));
        return visit_function(r, s, n);
    case OCT_JN_GENERATION:
        return visit_function(r, s, n);
    case OCT_JN_OUTPUT:
        return visit_expr(r, s, n, soft);
    default:
        return OCT_OK;
    }
}

static oct_status visit_block(struct resolver *r, struct scope *s, struct oct_jn *n, bool soft)
{
    for (uint32_t i = 0; n && i < n->n_kids; i++) {
        OCT_TRY(visit_statement(r, s, n->kids[i], soft));
    }
    return OCT_OK;
}

oct_status oct_jinja_resolve(struct oct_template *t)
{
    struct resolver r = {.t = t};
    t->root_func = oct_jinja_alloc(t, sizeof *t->root_func);
    r.top = oct_calloc(t->n_names, sizeof *r.top);
    if (!t->root_func || !r.top) {
        oct_free(r.top);
        return oct_no_memory("a chat template", t->n_names * sizeof *r.top);
    }
    for (int k = 0; k < N_SPECIAL; k++) {
        r.special[k] = UINT32_MAX;
        for (uint32_t i = 0; i < t->n_names; i++) {
            if (t->names[i].len == strlen(special_name[k]) &&
                memcmp(t->names[i].s, special_name[k], t->names[i].len) == 0) {
                r.special[k] = i;
            }
        }
    }
    const struct function fn = {.func = t->root_func};
    struct scope s = {.fn = &fn};
    oct_status st;
    OCT_TRY_GOTO(see_block(&r, &s, t->root), st, done);
    OCT_TRY_GOTO(finish_scope(&r, &s, &t->root_scope), st, done);
    OCT_TRY_GOTO(visit_block(&r, &s, t->root, false), st, done);
done:
    oct_free(r.top);
    return st;
}
