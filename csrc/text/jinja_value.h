/* SPDX-License-Identifier: Apache-2.0
 *
 * jinja_value.h - the values a chat template computes with: Python's, as far as JSON and Jinja need
 * them. Strings are borrowed byte ranges (UTF-8), containers live in the arena of one render and
 * never change, except namespaces, cyclers, joiners and iterators. */
#ifndef OCT_TEXT_JINJA_VALUE_H
#define OCT_TEXT_JINJA_VALUE_H

#include "base/mem.h"

#include <jansson.h>

enum oct_jv_type {
    OCT_JV_MISSING, /* no value at all: an unset slot, an argument not given */
    OCT_JV_UNDEF,   /* Jinja's Undefined; .s[len] is the name that was not found */
    OCT_JV_NONE,
    OCT_JV_BOOL,
    OCT_JV_INT,
    OCT_JV_FLOAT,
    OCT_JV_STR,
    OCT_JV_LIST,
    OCT_JV_TUPLE,
    OCT_JV_DICT,
    OCT_JV_RANGE,
    OCT_JV_VIEW,   /* dict.keys(), .values(), .items(); sub = enum oct_jv_view */
    OCT_JV_ITER,   /* what Python calls a generator or iterator: can be walked once */
    OCT_JV_NS,     /* namespace(): a dict that {% set ns.x = ... %} changes */
    OCT_JV_MACRO,  /* a macro or a caller */
    OCT_JV_METHOD, /* x.strip, not called yet; sub = enum oct_jm */
    OCT_JV_GLOBAL, /* range, namespace, ...; sub = enum oct_jg */
    OCT_JV_LOOP,
    OCT_JV_CYCLER,
    OCT_JV_JOINER,
    OCT_JV_N_TYPES
};

enum oct_jv_flags {
    OCT_JV_MARKUP = 1, /* a string marked safe (markupsafe.Markup) */
    OCT_JV_GROUP = 2,  /* a tuple out of groupby: has .grouper and .list */
};

enum oct_jv_view { OCT_JV_KEYS, OCT_JV_VALUES, OCT_JV_ITEMS };

/* How an undefined value came to be, in `sub`; the words of its error follow from it. */
enum oct_jv_undef {
    OCT_JV_U_NAME,  /* 'x' is undefined */
    OCT_JV_U_ATTR,  /* '<type in flags> object' has no attribute 'x' */
    OCT_JV_U_ITEM,  /* <type> object has no element */
    OCT_JV_U_HINT,  /* .s is the sentence itself */
    OCT_JV_U_UNSAFE /* the sandbox refuses the attribute .s */
};

struct oct_jlist;
struct oct_jdict;
struct oct_jrange;
struct oct_jiter;
struct oct_jmacro;
struct oct_jloop;
struct oct_jcycler;

struct oct_jv {
    uint8_t type, flags;
    uint16_t sub;
    uint32_t len; /* bytes of a string or name */
    union {
        bool b;
        int64_t i;
        double f;
        const char *s;
        struct oct_jlist *list; /* lists and tuples */
        struct oct_jdict *dict; /* dicts, views, namespaces */
        struct oct_jrange *range;
        struct oct_jiter *iter;
        struct oct_jmacro *macro;
        struct oct_jloop *loop;
        struct oct_jcycler *cycler; /* cyclers and joiners */
        struct oct_jv *self;        /* of a method */
    } u;
};

/* A container out of the caller's JSON is filled when it is first looked into: src is set and
 * items/entries are NULL until then (oct_jv_load). n is always right. */
struct oct_jlist {
    uint32_t n;
    const json_t *src;
    struct oct_jv *items;
};

struct oct_jentry {
    struct oct_jv key, val;
    uint32_t hash;
};

struct oct_jdict {
    uint32_t n, cap;
    const json_t *src;
    struct oct_jentry *e; /* in insertion order */
    uint32_t *index;      /* open addressing: entry + 1; NULL while small */
    uint32_t mask;
};

struct oct_jrange {
    int64_t start, stop, step;
    uint32_t n;
};

/* Items computed ahead. A failure while computing item n stays here until the walk reaches it, as
 * a generator of Python's would raise it only then. */
struct oct_jiter {
    struct oct_jv *items;
    uint32_t n, pos;
    oct_status st;
    const char *why;  /* the sentence that goes with st */
    const char *kind; /* "generator", ... for error messages */
};

struct oct_jcycler { /* cycler: items and position; joiner: one item and whether it was used */
    struct oct_jv *items;
    uint32_t n, pos;
};

static inline struct oct_jv oct_jv_none(void)
{
    return (struct oct_jv){.type = OCT_JV_NONE};
}
static inline struct oct_jv oct_jv_bool(bool b)
{
    return (struct oct_jv){.type = OCT_JV_BOOL, .u.b = b};
}
static inline struct oct_jv oct_jv_int(int64_t i)
{
    return (struct oct_jv){.type = OCT_JV_INT, .u.i = i};
}
static inline struct oct_jv oct_jv_float(double f)
{
    return (struct oct_jv){.type = OCT_JV_FLOAT, .u.f = f};
}
/* len fits: no string is longer than a render's memory limit. */
static inline struct oct_jv oct_jv_strn(const char *s, size_t len)
{
    return (struct oct_jv){.type = OCT_JV_STR, .len = (uint32_t)len, .u.s = s};
}
/* The sentence must live as long as the value (a literal). */
static inline struct oct_jv oct_jv_hint(const char *why)
{
    return (struct oct_jv){.type = OCT_JV_UNDEF, .sub = OCT_JV_U_HINT, .u.s = why};
}
/* int and bool are both integers to Python. */
static inline bool oct_jv_is_int(const struct oct_jv *v, int64_t *i)
{
    if (v->type == OCT_JV_INT || v->type == OCT_JV_BOOL) {
        *i = v->type == OCT_JV_INT ? v->u.i : v->u.b;
        return true;
    }
    return false;
}
static inline bool oct_jv_is_num(const struct oct_jv *v)
{
    return v->type == OCT_JV_INT || v->type == OCT_JV_BOOL || v->type == OCT_JV_FLOAT;
}
static inline double oct_jv_num(const struct oct_jv *v)
{
    return v->type == OCT_JV_FLOAT ? v->u.f : v->type == OCT_JV_BOOL ? v->u.b : (double)v->u.i;
}

#endif
