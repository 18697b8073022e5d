/* SPDX-License-Identifier: Apache-2.0
 *
 * jinja_run.h - one render: its state and budgets, and the operations on values that the evaluator,
 * filters, tests and methods share.
 *
 * Everything a render makes lives in its arena. Every loop over data charges steps, so that the
 * budget bounds time whatever a template does; every recursion counts depth, so that it bounds the
 * stack. Strings are built at the end of r->out and taken from there. */
#ifndef OCT_TEXT_JINJA_RUN_H
#define OCT_TEXT_JINJA_RUN_H

#include "text/jinja_ast.h"

/* Budgets of reliability rule R6, at render. */
enum {
    OCT_JINJA_MAX_STEPS = 1000000,
    OCT_JINJA_STEP_BYTES = 64, /* one step for so many bytes looked at or copied */
    OCT_JINJA_MAX_OUTPUT = 4 << 20,
    OCT_JINJA_MAX_STRING = 1 << 20, /* a string that the template makes; input may be longer */
    OCT_JINJA_MAX_RANGE = 100000,
    OCT_JINJA_MAX_MEMORY = 64 << 20,
    OCT_JINJA_MAX_CALLS = 64,  /* macros inside each other */
    OCT_JINJA_MAX_DEPTH = 640, /* recursion of the evaluator, of ==, of str() */
};

struct oct_jenv {
    struct oct_jenv *parent; /* of the function around */
    struct oct_jv slot[];
};

/* Who wrote which byte (jinja_origin.c): 1 the template or the engine, 0 the caller. Strings that a
 * render makes then lie in chunks, each followed by the marks of its bytes. */
enum { OCT_JORIGIN_MAX_CHUNKS = 256 };
struct oct_jorigin {
    const json_t *own;  /* variables whose text counts as the template's; borrowed, NULL: none */
    struct oct_buf out; /* marks of r->out */
    struct oct_arena arena; /* the chunks */
    struct oct_jorigin_chunk {
        char *text, *marks;
        size_t size;
    } chunk[OCT_JORIGIN_MAX_CHUNKS]; /* by address */
    uint32_t n_chunks;
    char *text, *marks; /* what is free of the newest chunk */
    size_t left, next_size;
};

enum oct_jflow { OCT_JFLOW_NEXT, OCT_JFLOW_BREAK, OCT_JFLOW_CONTINUE };

struct oct_jr {
    const struct oct_template *t;
    const json_t *vars; /* borrowed: an object */
    int64_t now_s;
    struct oct_arena arena;
    struct oct_buf out;
    struct oct_jenv *env;
    struct oct_jv *resolved; /* [t->n_names]: outer variables; sub = 1 once looked up */
    const struct oct_jn *cur;
    uint32_t steps, depth, calls;
    enum oct_jflow flow;
    oct_status alloc_st;
    struct oct_jv block_text; /* what a filter block wrote, for its first filter */
    /* The newest string made by +: if it is extended again, it grows in place. */
    char *cat;
    char *cat_marks;
    size_t cat_len, cat_cap;
    struct oct_jorigin *origin; /* NULL: nobody asks; borrowed */
    char quoted[2][80];         /* of oct_jr_quote */
    unsigned n_quoted;
};

/* Arguments of a call as written: positions, then keywords. */
struct oct_jargs {
    struct oct_jv *pos;
    uint32_t n_pos;
    struct oct_jv *names; /* [n_kw] strings */
    struct oct_jv *kw;    /* [n_kw] */
    uint32_t n_kw;
};

/* ---- failing, charging, allocating (jinja_value.c) ---- */

/* Fails with line and expression of r->cur in front. */
__attribute__((format(printf, 3, 4))) oct_status oct_jr_fail(struct oct_jr *r, oct_status st,
                                                             const char *fmt, ...);
/* Fails because the undefined value v was used. */
oct_status oct_jr_fail_undef(struct oct_jr *r, const struct oct_jv *v);
/* A string value for a sentence; good for the next two calls. */
const char *oct_jr_quote(struct oct_jr *r, const char *s, size_t len);
OCT_CHECKED oct_status oct_jr_charge(struct oct_jr *r, uint64_t steps);
static inline oct_status oct_jr_charge_bytes(struct oct_jr *r, uint64_t bytes)
{
    return oct_jr_charge(r, bytes / OCT_JINJA_STEP_BYTES);
}
OCT_CHECKED oct_status oct_jr_enter(struct oct_jr *r);
static inline void oct_jr_leave(struct oct_jr *r)
{
    r->depth--;
}
/* Zeroed; NULL: the error is set. */
void *oct_jr_alloc(struct oct_jr *r, size_t n, size_t size);
/* What to return when oct_jr_alloc gave NULL. */
static inline oct_status oct_jr_out_of_memory(const struct oct_jr *r)
{
    return r->alloc_st;
}

/* Memory for the bytes of a string; *marks is set if origins are kept, else NULL. NULL: the error
 * is set (jinja_origin.c, as the next three). */
char *oct_jr_alloc_string(struct oct_jr *r, size_t size, char **marks);
/* The marks of s[len], wherever that lies. */
void oct_jr_origin_of(const struct oct_jr *r, const char *s, size_t len, char *marks);
/* Marks what was just appended to r->out from s. */
OCT_CHECKED oct_status oct_jr_origin_put(struct oct_jr *r, const char *s, size_t len);
/* Makes v, a string of the caller's, the template's own. */
OCT_CHECKED oct_status oct_jr_origin_own(struct oct_jr *r, struct oct_jv *v);

/* Appends to r->out. */
OCT_CHECKED oct_status oct_jr_put(struct oct_jr *r, const void *s, size_t len);
/* The bytes of r->out behind `mark` become a string and leave the buffer. */
OCT_CHECKED oct_status oct_jr_take(struct oct_jr *r, size_t mark, struct oct_jv *out);

/* ---- values (jinja_value.c) ---- */

OCT_CHECKED oct_status oct_jv_from_json(struct oct_jr *r, const json_t *j, struct oct_jv *out);
/* Fills a list or dict that still hangs on JSON. Other types are fine. */
OCT_CHECKED oct_status oct_jv_load(struct oct_jr *r, const struct oct_jv *v);
const char *oct_jv_type_name(const struct oct_jv *v);
bool oct_jv_truth(const struct oct_jv *v);
OCT_CHECKED oct_status oct_jv_eq(struct oct_jr *r, const struct oct_jv *a, const struct oct_jv *b,
                                 bool *out);
/* op: OCT_JOP_LT..OCT_JOP_GE. */
OCT_CHECKED oct_status oct_jv_order(struct oct_jr *r, enum oct_jop op, const struct oct_jv *a,
                                    const struct oct_jv *b, bool *out);
/* A list or tuple of n missing items to fill in. */
OCT_CHECKED oct_status oct_jv_new_list(struct oct_jr *r, enum oct_jv_type type, size_t n,
                                       struct oct_jv *out);
OCT_CHECKED oct_status oct_jv_concat(struct oct_jr *r, const struct oct_jv *a,
                                     const struct oct_jv *b, struct oct_jv *out);

OCT_CHECKED oct_status oct_jdict_new(struct oct_jr *r, size_t cap, struct oct_jdict **out);
/* *val: NULL if the key is absent. */
OCT_CHECKED oct_status oct_jdict_get(struct oct_jr *r, struct oct_jdict *d,
                                     const struct oct_jv *key, struct oct_jv **val);
OCT_CHECKED oct_status oct_jdict_set(struct oct_jr *r, struct oct_jdict *d,
                                     const struct oct_jv *key, const struct oct_jv *val);
/* False: TypeError, unhashable. */
bool oct_jv_hashable(const struct oct_jv *v);

static inline bool oct_jv_is_word(const struct oct_jv *v, const char *word)
{
    return v->type == OCT_JV_STR && v->len == __builtin_strlen(word) &&
           __builtin_memcmp(v->u.s, word, v->len) == 0;
}

/* ---- walking and indexing (jinja_iter.c) ---- */

struct oct_jit {
    struct oct_jv v;
    uint32_t pos, n;
    const struct oct_jv *items; /* lists and tuples */
};
OCT_CHECKED oct_status oct_jit_init(struct oct_jr *r, const struct oct_jv *v, struct oct_jit *it);
/* *more: false at the end. */
OCT_CHECKED oct_status oct_jit_next(struct oct_jr *r, struct oct_jit *it, struct oct_jv *out,
                                    bool *more);
bool oct_jv_iterable(const struct oct_jv *v);
/* list(v), or tuple(v). */
OCT_CHECKED oct_status oct_jv_to_list(struct oct_jr *r, enum oct_jv_type type,
                                      const struct oct_jv *v, struct oct_jv *out);
/* A one-shot iterator over the items of a list that nobody else holds. */
OCT_CHECKED oct_status oct_jv_new_iter(struct oct_jr *r, const char *kind, struct oct_jv *items,
                                       size_t n, struct oct_jv *out);
/* len(v); *n = -1 if v has no length. */
OCT_CHECKED oct_status oct_jv_len(struct oct_jr *r, const struct oct_jv *v, int64_t *n);
OCT_CHECKED oct_status oct_jv_contains(struct oct_jr *r, const struct oct_jv *in,
                                       const struct oct_jv *what, bool *out);
/* obj.name and obj[key] as the sandbox does them. */
OCT_CHECKED oct_status oct_jv_getattr(struct oct_jr *r, const struct oct_jv *obj,
                                      const struct oct_jv *name, struct oct_jv *out);
OCT_CHECKED oct_status oct_jv_getitem(struct oct_jr *r, const struct oct_jv *obj,
                                      const struct oct_jv *key, struct oct_jv *out);
/* The attribute proper, without falling back to an item; missing if there is none. */
OCT_CHECKED oct_status oct_jv_attr_only(struct oct_jr *r, const struct oct_jv *obj,
                                        const struct oct_jv *name, struct oct_jv *out);
/* Bounds are none or integers. */
OCT_CHECKED oct_status oct_jv_slice(struct oct_jr *r, const struct oct_jv *obj,
                                    const struct oct_jv bound[3], struct oct_jv *out);
/* "a.b.0" of map(attribute=...) and its like, split once. */
struct oct_jpath {
    struct oct_jv *part;
    uint32_t n;
};
OCT_CHECKED oct_status oct_jpath_init(struct oct_jr *r, const struct oct_jv *attribute,
                                      struct oct_jpath *path);
/* fallback: NULL or the value of what is not there. */
OCT_CHECKED oct_status oct_jpath_get(struct oct_jr *r, const struct oct_jpath *path,
                                     const struct oct_jv *item, const struct oct_jv *fallback,
                                     struct oct_jv *out);

/* ---- text of values (jinja_repr.c); all append to r->out ---- */

OCT_CHECKED oct_status oct_jv_write_str(struct oct_jr *r, const struct oct_jv *v);
OCT_CHECKED oct_status oct_jv_write_repr(struct oct_jr *r, const struct oct_jv *v);
/* str(v); a string stays itself. */
OCT_CHECKED oct_status oct_jv_str(struct oct_jr *r, const struct oct_jv *v, struct oct_jv *out);
struct oct_jjson {
    bool ascii, sort_keys, indented;
    struct oct_jv indent, item_sep, key_sep; /* strings */
};
OCT_CHECKED oct_status oct_jv_write_json(struct oct_jr *r, const struct oct_jv *v,
                                         const struct oct_jjson *how, uint32_t level);
/* HTML escaping of s; appends. */
OCT_CHECKED oct_status oct_jv_write_escaped(struct oct_jr *r, const char *s, size_t len);
/* markupsafe.escape(v): a marked string. */
OCT_CHECKED oct_status oct_jv_escape(struct oct_jr *r, const struct oct_jv *v, struct oct_jv *out);

/* ---- operators (jinja_ops.c) ---- */

OCT_CHECKED oct_status oct_jv_binary(struct oct_jr *r, enum oct_jop op, const struct oct_jv *a,
                                     const struct oct_jv *b, struct oct_jv *out);
OCT_CHECKED oct_status oct_jv_negate(struct oct_jr *r, const struct oct_jv *a, bool minus,
                                     struct oct_jv *out);
/* A stable sort by keys[n]: *order[i] is where item i of the result stands now. Reversed, equal
 * items keep their order too, as Python's sorted(reverse=True) leaves them. */
OCT_CHECKED oct_status oct_jr_sort(struct oct_jr *r, const struct oct_jv *keys, uint32_t n,
                                   bool reverse, uint32_t **order);
/* "..." % args (jinja_format.c). */
OCT_CHECKED oct_status oct_jv_percent(struct oct_jr *r, const struct oct_jv *fmt,
                                      const struct oct_jv *args, struct oct_jv *out);
/* "...".format(...) */
OCT_CHECKED oct_status oct_jv_format(struct oct_jr *r, const struct oct_jv *fmt,
                                     const struct oct_jargs *args, struct oct_jv *out);

/* ---- calls ---- */

/* Puts arguments into params[n]: names are "a,b,c"; what is not given is missing. `what` names the
 * callee in errors. The first n_required must be given; the first n_pos_only not by keyword. */
OCT_CHECKED oct_status oct_jargs_bind(struct oct_jr *r, const struct oct_jargs *args,
                                      const char *what, const char *names, uint32_t n_required,
                                      uint32_t n_pos_only, struct oct_jv *params);
/* An integer argument: given, or the default. */
OCT_CHECKED oct_status oct_jarg_int(struct oct_jr *r, const struct oct_jv *v, int64_t if_missing,
                                    int64_t *out);

OCT_CHECKED oct_status oct_jr_call(struct oct_jr *r, const struct oct_jv *callee,
                                   const struct oct_jargs *args, struct oct_jv *out);

/* Rows of the tables; -1: no such name. */
int32_t oct_jfilter_find(const char *name, size_t len);
int32_t oct_jtest_find(const char *name, size_t len);
OCT_CHECKED oct_status oct_jfilter_apply(struct oct_jr *r, int32_t fn, const struct oct_jv *v,
                                         const struct oct_jargs *args, struct oct_jv *out);
OCT_CHECKED oct_status oct_jtest_apply(struct oct_jr *r, int32_t fn, const struct oct_jv *v,
                                       const struct oct_jargs *args, struct oct_jv *out);

/* Methods of strings, dicts, lists, ... (jinja_methods.c). -1: Python has no such public attribute
 * on this type; -2: it has, and the sandbox refuses it. */
int oct_jmethod_find(const struct oct_jv *self, const struct oct_jv *name);
OCT_CHECKED oct_status oct_jmethod_call(struct oct_jr *r, const struct oct_jv *method,
                                        const struct oct_jargs *args, struct oct_jv *out);

/* range, namespace, ... (jinja_globals.c). -1: none of that name. */
int oct_jglobal_find(const char *name, size_t len);
OCT_CHECKED oct_status oct_jglobal_call(struct oct_jr *r, const struct oct_jv *global,
                                        const struct oct_jargs *args, struct oct_jv *out);

/* ---- statements (jinja_exec.c) ---- */

OCT_CHECKED oct_status oct_jr_eval(struct oct_jr *r, const struct oct_jn *n, struct oct_jv *out);
OCT_CHECKED oct_status oct_jr_exec(struct oct_jr *r, const struct oct_jn *block);
OCT_CHECKED oct_status oct_jr_call_macro(struct oct_jr *r, const struct oct_jv *macro,
                                         const struct oct_jargs *args, struct oct_jv *out);
/* The arguments of a CALL, FILTER or TEST node. caller: NULL or one more keyword. */
OCT_CHECKED oct_status oct_jr_eval_args(struct oct_jr *r, const struct oct_jn *n,
                                        const struct oct_jv *caller, struct oct_jargs *args);
/* Parts of statements that jinja_exec.c and jinja_loop.c share. */
OCT_CHECKED oct_status oct_jr_enter_scope(struct oct_jr *r, const struct oct_jscope *s);
struct oct_jenv *oct_jr_new_env(struct oct_jr *r, struct oct_jenv *parent,
                                const struct oct_jfunc *f); /* NULL: the error is set */
OCT_CHECKED oct_status oct_jr_assign(struct oct_jr *r, const struct oct_jn *target,
                                     const struct oct_jv *v);
/* Writes what a call or filter block gave; only strings. */
OCT_CHECKED oct_status oct_jr_put_block(struct oct_jr *r, const struct oct_jv *v);
OCT_CHECKED oct_status oct_jr_exec_for(struct oct_jr *r, const struct oct_jn *n);
/* The whole template, into r->out. */
OCT_CHECKED oct_status oct_jr_run_root(struct oct_jr *r);
OCT_CHECKED oct_status oct_jloop_attr(struct oct_jr *r, struct oct_jloop *l,
                                      const struct oct_jv *name, struct oct_jv *out);
OCT_CHECKED oct_status oct_jloop_call(struct oct_jr *r, struct oct_jloop *l,
                                      const struct oct_jargs *args, struct oct_jv *out);

OCT_CHECKED oct_status oct_jloop_cycle(struct oct_jr *r, const struct oct_jloop *l,
                                       const struct oct_jargs *args, struct oct_jv *out);
OCT_CHECKED oct_status oct_jloop_changed(struct oct_jr *r, struct oct_jloop *l,
                                         const struct oct_jargs *args, struct oct_jv *out);

struct oct_jmacro {
    const struct oct_jn *node; /* MACRO, CALLBLOCK or GENERATION */
    struct oct_jenv *env;      /* where it was defined */
};

#endif
