/* SPDX-License-Identifier: Apache-2.0
 *
 * jinja_tests.c - what may stand behind `is`: one table. To add a test: a function, a row. */
#include "text/jinja_str.h"

#include <string.h>

/* p: the one parameter, missing where the test has none. */
typedef oct_status (*test_fn)(struct oct_jr *r, const struct oct_jv *v, const struct oct_jv *p,
                              bool *yes);

#define TEST(name) \
    static oct_status name(struct oct_jr *r, const struct oct_jv *v, const struct oct_jv *p, \
                           bool *yes)
/* A test that only looks at the value. */
#define SIMPLE_TEST(name, condition) \
    TEST(name) \
    { \
        (void)r; \
        (void)p; \
        *yes = (condition); \
        return OCT_OK; \
    }

SIMPLE_TEST(is_defined, v->type != OCT_JV_UNDEF)
SIMPLE_TEST(is_undefined, v->type == OCT_JV_UNDEF)
SIMPLE_TEST(is_none, v->type == OCT_JV_NONE)
SIMPLE_TEST(is_boolean, v->type == OCT_JV_BOOL)
SIMPLE_TEST(is_true, v->type == OCT_JV_BOOL && v->u.b)
SIMPLE_TEST(is_false, v->type == OCT_JV_BOOL && !v->u.b)
SIMPLE_TEST(is_integer, v->type == OCT_JV_INT)
SIMPLE_TEST(is_float, v->type == OCT_JV_FLOAT)
SIMPLE_TEST(is_number, oct_jv_is_num(v))
SIMPLE_TEST(is_string, v->type == OCT_JV_STR)
SIMPLE_TEST(is_mapping, v->type == OCT_JV_DICT)
SIMPLE_TEST(is_iterable, oct_jv_iterable(v))
SIMPLE_TEST(is_escaped, v->type == OCT_JV_STR && (v->flags & OCT_JV_MARKUP))
SIMPLE_TEST(is_sequence, v->type == OCT_JV_STR || v->type == OCT_JV_LIST ||
                             v->type == OCT_JV_TUPLE || v->type == OCT_JV_DICT ||
                             v->type == OCT_JV_RANGE || v->type == OCT_JV_UNDEF)
SIMPLE_TEST(is_callable, v->type == OCT_JV_MACRO || v->type == OCT_JV_METHOD ||
                             v->type == OCT_JV_GLOBAL || v->type == OCT_JV_JOINER ||
                             v->type == OCT_JV_LOOP || v->type == OCT_JV_UNDEF)

static oct_status rest_is(struct oct_jr *r, const struct oct_jv *v, const struct oct_jv *by,
                          int64_t want, bool *yes)
{
    const struct oct_jv expected = oct_jv_int(want);
    struct oct_jv rest;
    OCT_TRY(oct_jv_binary(r, OCT_JOP_MOD, v, by, &rest));
    return oct_jv_eq(r, &rest, &expected, yes);
}

TEST(is_odd)
{
    (void)p;
    const struct oct_jv two = oct_jv_int(2);
    return rest_is(r, v, &two, 1, yes);
}

TEST(is_even)
{
    (void)p;
    const struct oct_jv two = oct_jv_int(2);
    return rest_is(r, v, &two, 0, yes);
}

TEST(is_divisibleby)
{
    return rest_is(r, v, p, 0, yes);
}

static oct_status case_test(struct oct_jr *r, const struct oct_jv *v, enum oct_jstr_case how,
                            bool *yes)
{
    struct oct_jv s;
    OCT_TRY(oct_jv_str(r, v, &s));
    OCT_TRY(oct_jr_charge(r, s.len / 8));
    *yes = oct_jstr_is_case(&s, how);
    return OCT_OK;
}

TEST(is_lower)
{
    (void)p;
    return case_test(r, v, OCT_JSTR_LOWER, yes);
}

TEST(is_upper)
{
    (void)p;
    return case_test(r, v, OCT_JSTR_UPPER, yes);
}

/* Whether a filter or a test of that name exists. */
SIMPLE_TEST(is_filter, v->type == OCT_JV_STR && oct_jfilter_find(v->u.s, v->len) >= 0)
SIMPLE_TEST(is_test, v->type == OCT_JV_STR && oct_jtest_find(v->u.s, v->len) >= 0)

TEST(is_sameas)
{
    (void)r;
    *yes = false;
    if (v->type != p->type) {
        return OCT_OK;
    }
    switch (v->type) {
    case OCT_JV_NONE:
        *yes = true;
        break;
    case OCT_JV_BOOL:
        *yes = v->u.b == p->u.b;
        break;
    case OCT_JV_INT:
    case OCT_JV_FLOAT:
    case OCT_JV_STR: /* whether equal numbers and strings are one object is CPython's affair */
        return oct_jv_eq(r, v, p, yes);
    default:
        *yes = v->u.list == p->u.list;
    }
    return OCT_OK;
}

TEST(is_in)
{
    return oct_jv_contains(r, p, v, yes);
}

TEST(is_eq)
{
    return oct_jv_eq(r, v, p, yes);
}

TEST(is_ne)
{
    OCT_TRY(oct_jv_eq(r, v, p, yes));
    *yes = !*yes;
    return OCT_OK;
}

TEST(is_lt)
{
    return oct_jv_order(r, OCT_JOP_LT, v, p, yes);
}

TEST(is_le)
{
    return oct_jv_order(r, OCT_JOP_LE, v, p, yes);
}

TEST(is_gt)
{
    return oct_jv_order(r, OCT_JOP_GT, v, p, yes);
}

TEST(is_ge)
{
    return oct_jv_order(r, OCT_JOP_GE, v, p, yes);
}

// clang-format off
static const struct {
    const char *name;
    const char *param; /* "": none; one is always required */
    test_fn fn;
} row[] = {
    {"odd", "", is_odd}, {"even", "", is_even}, {"divisibleby", "num", is_divisibleby},
    {"defined", "", is_defined}, {"undefined", "", is_undefined}, {"filter", "", is_filter},
    {"test", "", is_test}, {"none", "", is_none}, {"boolean", "", is_boolean},
    {"false", "", is_false}, {"true", "", is_true}, {"integer", "", is_integer},
    {"float", "", is_float}, {"lower", "", is_lower}, {"upper", "", is_upper},
    {"string", "", is_string}, {"mapping", "", is_mapping}, {"number", "", is_number},
    {"sequence", "", is_sequence}, {"iterable", "", is_iterable}, {"callable", "", is_callable},
    {"sameas", "other", is_sameas}, {"escaped", "", is_escaped}, {"in", "seq", is_in},
    {"==", "b", is_eq}, {"eq", "b", is_eq}, {"equalto", "b", is_eq},
    {"!=", "b", is_ne}, {"ne", "b", is_ne},
    {">", "b", is_gt}, {"gt", "b", is_gt}, {"greaterthan", "b", is_gt},
    {"ge", "b", is_ge}, {">=", "b", is_ge},
    {"<", "b", is_lt}, {"lt", "b", is_lt}, {"lessthan", "b", is_lt},
    {"<=", "b", is_le}, {"le", "b", is_le},
};
// clang-format on

int32_t oct_jtest_find(const char *name, size_t len)
{
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        if (strlen(row[i].name) == len && memcmp(row[i].name, name, len) == 0) {
            return (int32_t)i;
        }
    }
    return -1;
}

oct_status oct_jtest_apply(struct oct_jr *r, int32_t fn, const struct oct_jv *v,
                           const struct oct_jargs *args, struct oct_jv *out)
{
    struct oct_jv p = {0};
    bool yes = false;
    OCT_TRY(oct_jr_charge(r, 1));
    OCT_TRY(oct_jargs_bind(r, args, row[fn].name, row[fn].param, row[fn].param[0] != '\0', 0, &p));
    OCT_TRY(row[fn].fn(r, v, &p, &yes));
    *out = oct_jv_bool(yes);
    return OCT_OK;
}
