/* SPDX-License-Identifier: Apache-2.0
 *
 * jinja_loop.c - for loops, and the variable `loop`. */
#include "text/jinja_run.h"

#include <string.h>

/* One run of a for loop, and the variable `loop`. */
struct oct_jloop {
    const struct oct_jn *node;
    struct oct_jenv *env;   /* of the function the loop runs in */
    struct oct_jenv *outer; /* recursive loops: where loop(...) starts anew */
    struct oct_jv iterable;
    struct oct_jit it;
    struct oct_jv after, current, before; /* missing: none; `after` was fetched ahead */
    struct oct_jv changed;
    int64_t index0, depth0;
    int64_t length; /* -1: not known yet */
    bool filtered;  /* `it` walks what already passed the filter */
};

/* The next item that passes the loop's filter. */
static oct_status loop_pull(struct oct_jr *r, struct oct_jloop *l, struct oct_jv *out, bool *more)
{
    const struct oct_jn *n = l->node;
    for (;;) {
        OCT_TRY(oct_jit_next(r, &l->it, out, more));
        if (!*more || !n->c || l->filtered) {
            return OCT_OK;
        }
        struct oct_jv test;
        struct oct_jenv *env = r->env; /* loop.last may be asked for in a macro */
        const struct oct_jn *cur = r->cur;
        r->env = l->env;
        OCT_TRY(oct_jr_assign(r, n->kids[0], out));
        OCT_TRY(oct_jr_eval(r, n->c, &test));
        r->env = env;
        r->cur = cur;
        if (oct_jv_truth(&test)) {
            return OCT_OK;
        }
    }
}

static oct_status loop_peek(struct oct_jr *r, struct oct_jloop *l, bool *more)
{
    *more = true;
    if (l->after.type == OCT_JV_MISSING) {
        OCT_TRY(oct_jr_enter(r)); /* a filter may ask the loop around for its end, and so on */
        OCT_TRY(loop_pull(r, l, &l->after, more));
        oct_jr_leave(r);
        if (!*more) {
            l->after = (struct oct_jv){0};
        }
    }
    return OCT_OK;
}

static oct_status loop_next(struct oct_jr *r, struct oct_jloop *l, struct oct_jv *out, bool *more)
{
    if (l->after.type != OCT_JV_MISSING) {
        *out = l->after;
        *more = true;
        l->after = (struct oct_jv){0};
    } else {
        OCT_TRY(loop_pull(r, l, out, more));
    }
    if (*more) {
        l->index0++;
        l->before = l->current;
        l->current = *out;
    }
    return OCT_OK;
}

static oct_status loop_length(struct oct_jr *r, struct oct_jloop *l)
{
    if (l->length >= 0) {
        return OCT_OK;
    }
    if (!l->node->c) {
        OCT_TRY(oct_jv_len(r, &l->iterable, &l->length));
        if (l->length >= 0) {
            return OCT_OK;
        }
    }
    struct oct_jv *items = NULL; /* walk the rest ahead */
    size_t n = 0, cap = 0;
    for (;;) {
        struct oct_jv item;
        bool more;
        OCT_TRY(loop_pull(r, l, &item, &more));
        if (!more) {
            break;
        }
        if (n == cap) {
            cap = cap ? 2 * cap : 16;
            struct oct_jv *grown = oct_jr_alloc(r, cap, sizeof *grown);
            if (!grown) {
                return oct_jr_out_of_memory(r);
            }
            if (n) {
                memcpy(grown, items, n * sizeof *grown);
            }
            items = grown;
        }
        items[n++] = item;
    }
    struct oct_jv rest;
    OCT_TRY(oct_jv_new_list(r, OCT_JV_LIST, n, &rest));
    if (n) {
        memcpy(rest.u.list->items, items, n * sizeof *items);
    }
    l->length = (int64_t)n + l->index0 + 1 + (l->after.type != OCT_JV_MISSING);
    l->filtered = true;
    return oct_jit_init(r, &rest, &l->it);
}

oct_status oct_jloop_attr(struct oct_jr *r, struct oct_jloop *l, const struct oct_jv *name,
                          struct oct_jv *out)
{
    static const char *const attr[] = {"index",    "index0",   "first",     "last",
                                       "length",   "revindex", "revindex0", "previtem",
                                       "nextitem", "depth",    "depth0"};
    size_t i = 0;
    bool more;
    while (i < sizeof attr / sizeof *attr && !oct_jv_is_word(name, attr[i])) {
        i++;
    }
    switch (i) {
    case 0:
        *out = oct_jv_int(l->index0 + 1);
        return OCT_OK;
    case 1:
        *out = oct_jv_int(l->index0);
        return OCT_OK;
    case 2:
        *out = oct_jv_bool(l->index0 == 0);
        return OCT_OK;
    case 3:
        OCT_TRY(loop_peek(r, l, &more));
        *out = oct_jv_bool(!more);
        return OCT_OK;
    case 4:
    case 5:
    case 6:
        OCT_TRY(loop_length(r, l));
        *out = oct_jv_int(i == 4   ? l->length
                          : i == 5 ? l->length - l->index0
                                   : l->length - l->index0 - 1);
        return OCT_OK;
    case 7:
        *out = l->index0 == 0 ? oct_jv_hint("there is no previous item") : l->before;
        return OCT_OK;
    case 8:
        OCT_TRY(loop_peek(r, l, &more));
        *out = more ? l->after : oct_jv_hint("there is no next item");
        return OCT_OK;
    case 9:
    case 10:
        *out = oct_jv_int(l->depth0 + (i == 9));
        return OCT_OK;
    default: {
        const struct oct_jv self = {.type = OCT_JV_LOOP, .u.loop = l};
        const int method = oct_jmethod_find(&self, name);
        *out = (struct oct_jv){0};
        if (method >= 0) {
            struct oct_jv *copy = oct_jr_alloc(r, 1, sizeof *copy);
            if (!copy) {
                return oct_jr_out_of_memory(r);
            }
            *copy = self;
            *out = (struct oct_jv){.type = OCT_JV_METHOD, .sub = (uint16_t)method, .u.self = copy};
        }
        return OCT_OK;
    }
    }
}

oct_status oct_jloop_cycle(struct oct_jr *r, const struct oct_jloop *l,
                           const struct oct_jargs *args, struct oct_jv *out)
{
    if (args->n_pos == 0 || args->n_kw) {
        return oct_jr_fail(r, OCT_E_FORMAT, "loop.cycle needs items");
    }
    *out = args->pos[l->index0 % args->n_pos];
    return OCT_OK;
}

oct_status oct_jloop_changed(struct oct_jr *r, struct oct_jloop *l, const struct oct_jargs *args,
                             struct oct_jv *out)
{
    struct oct_jv now;
    bool same = false;
    OCT_TRY(oct_jv_new_list(r, OCT_JV_TUPLE, args->n_pos, &now));
    if (args->n_pos) {
        memcpy(now.u.list->items, args->pos, args->n_pos * sizeof *args->pos);
    }
    if (l->changed.type != OCT_JV_MISSING) {
        OCT_TRY(oct_jv_eq(r, &l->changed, &now, &same));
    }
    l->changed = now;
    *out = oct_jv_bool(!same);
    return OCT_OK;
}

/* The turns of a loop in r->env. */
static oct_status run_loop(struct oct_jr *r, struct oct_jloop *l)
{
    const struct oct_jn *n = l->node;
    bool finished_a_turn = false;
    OCT_TRY(oct_jit_init(r, &l->iterable, &l->it));
    OCT_TRY(n->c ? oct_jr_enter_scope(r, n->scope2) : OCT_OK);
    for (;;) {
        struct oct_jv item;
        bool more;
        r->cur = n->b;
        OCT_TRY(loop_next(r, l, &item, &more));
        if (!more) {
            break;
        }
        OCT_TRY(oct_jr_assign(r, n->a, &item));
        if (n->scope->loop_slot != OCT_JSLOT_NONE) {
            r->env->slot[n->scope->loop_slot] = (struct oct_jv){.type = OCT_JV_LOOP, .u.loop = l};
        }
        OCT_TRY(oct_jr_enter_scope(r, n->scope));
        OCT_TRY(oct_jr_exec(r, n->body));
        const enum oct_jflow flow = r->flow;
        r->flow = OCT_JFLOW_NEXT;
        if (flow == OCT_JFLOW_BREAK) {
            break;
        }
        finished_a_turn |= flow == OCT_JFLOW_NEXT;
    }
    if (n->orelse && !finished_a_turn) { /* a turn left by continue or break does not count */
        OCT_TRY(oct_jr_enter_scope(r, n->scope3));
        return oct_jr_exec(r, n->orelse);
    }
    return OCT_OK;
}

static oct_status new_loop(struct oct_jr *r, const struct oct_jn *n, const struct oct_jv *iterable,
                           struct oct_jloop **out)
{
    struct oct_jloop *l = oct_jr_alloc(r, 1, sizeof *l);
    if (!l) {
        return oct_jr_out_of_memory(r);
    }
    *l = (struct oct_jloop){
        .node = n, .env = r->env, .iterable = *iterable, .index0 = -1, .length = -1};
    *out = l;
    return OCT_OK;
}

/* A recursive loop is a function that writes its turns. */
static oct_status call_loop(struct oct_jr *r, const struct oct_jn *n, struct oct_jenv *outer,
                            const struct oct_jv *iterable, int64_t depth0, struct oct_jv *out)
{
    struct oct_jloop *l;
    struct oct_jenv *env = oct_jr_new_env(r, outer, n->func), *back = r->env;
    if (!env) {
        return oct_jr_out_of_memory(r);
    }
    if (r->calls == OCT_JINJA_MAX_CALLS) {
        return oct_jr_fail(r, OCT_E_LIMIT, "a loop calls itself over %d levels deep",
                           OCT_JINJA_MAX_CALLS);
    }
    const struct oct_jn *cur = r->cur;
    const size_t mark = r->out.len;
    r->calls++;
    r->env = env;
    OCT_TRY(new_loop(r, n, iterable, &l));
    l->outer = outer;
    l->depth0 = depth0;
    OCT_TRY(run_loop(r, l));
    OCT_TRY(oct_jr_take(r, mark, out));
    r->env = back;
    r->calls--;
    r->cur = cur;
    return OCT_OK;
}

oct_status oct_jloop_call(struct oct_jr *r, struct oct_jloop *l, const struct oct_jargs *args,
                          struct oct_jv *out)
{
    struct oct_jv iterable;
    if (!l->node->func) {
        return oct_jr_fail(r, OCT_E_FORMAT, "only a recursive loop can be called");
    }
    OCT_TRY(oct_jargs_bind(r, args, "loop", "iterable", 1, 0, &iterable));
    return call_loop(r, l->node, l->outer, &iterable, l->depth0 + 1, out);
}

oct_status oct_jr_exec_for(struct oct_jr *r, const struct oct_jn *n)
{
    struct oct_jv iterable, text;
    struct oct_jloop *l;
    OCT_TRY(oct_jr_eval(r, n->b, &iterable));
    r->cur = n->b;
    if (n->func) {
        OCT_TRY(call_loop(r, n, r->env, &iterable, 0, &text));
        return oct_jr_put_block(r, &text);
    }
    OCT_TRY(new_loop(r, n, &iterable, &l));
    return run_loop(r, l);
}
