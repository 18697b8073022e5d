/* SPDX-License-Identifier: Apache-2.0
 *
 * jinja_ops.c - + - * / // % ** as Python has them, on 64-bit integers; and the stable sort. */
#include "text/jinja_run.h"

#include <math.h>
#include <string.h>

static oct_status too_big(struct oct_jr *r)
{
    return oct_jr_fail(r, OCT_E_LIMIT, "an integer over 64 bits");
}

static oct_status division_by_zero(struct oct_jr *r)
{
    return oct_jr_fail(r, OCT_E_FORMAT, "division by zero");
}

static oct_status type_error(struct oct_jr *r, enum oct_jop op, const struct oct_jv *a,
                             const struct oct_jv *b)
{
    static const char *const text[] = {"+", "-", "*", "/", "//", "%", "**"};
    if (a->type == OCT_JV_UNDEF || b->type == OCT_JV_UNDEF) {
        return oct_jr_fail_undef(r, a->type == OCT_JV_UNDEF ? a : b);
    }
    if (op == OCT_JOP_SUB && a->type == OCT_JV_VIEW) {
        return oct_jr_fail(r, OCT_E_UNSUPPORTED, "dict views cannot be subtracted here");
    }
    return oct_jr_fail(r, OCT_E_FORMAT, "'%s' does not work on %s and %s", text[op],
                       oct_jv_type_name(a), oct_jv_type_name(b));
}

static int64_t floor_div(int64_t a, int64_t b)
{
    const int64_t q = a / b;
    return q - (a % b != 0 && (a % b < 0) != (b < 0));
}

static bool fits_double(int64_t i)
{
    return i >= -(1ll << 53) && i <= 1ll << 53;
}

static oct_status int_power(struct oct_jr *r, int64_t base, int64_t exp, struct oct_jv *out)
{
    if (exp < 0) {
        if (base == 0) {
            return oct_jr_fail(r, OCT_E_FORMAT, "0 cannot be raised to a negative power");
        }
        *out = oct_jv_float(pow((double)base, (double)exp));
        return OCT_OK;
    }
    int64_t result = 1;
    for (;;) {
        if ((exp & 1) && __builtin_mul_overflow(result, base, &result)) {
            return too_big(r);
        }
        exp >>= 1;
        if (exp == 0) {
            break;
        }
        if (__builtin_mul_overflow(base, base, &base)) {
            return too_big(r);
        }
    }
    *out = oct_jv_int(result);
    return OCT_OK;
}

static oct_status int_op(struct oct_jr *r, enum oct_jop op, int64_t a, int64_t b,
                         struct oct_jv *out)
{
    int64_t v = 0;
    bool big = false;
    if (b == 0 && (op == OCT_JOP_DIV || op == OCT_JOP_FLOORDIV || op == OCT_JOP_MOD)) {
        return division_by_zero(r);
    }
    switch (op) {
    case OCT_JOP_ADD:
        big = __builtin_add_overflow(a, b, &v);
        break;
    case OCT_JOP_SUB:
        big = __builtin_sub_overflow(a, b, &v);
        break;
    case OCT_JOP_MUL:
        big = __builtin_mul_overflow(a, b, &v);
        break;
    case OCT_JOP_DIV: /* beyond 2^53 a double would round the operands already */
        *out = oct_jv_float(fits_double(a) && fits_double(b)
                                ? (double)a / (double)b
                                : (double)((long double)a / (long double)b));
        return OCT_OK;
    case OCT_JOP_FLOORDIV:
        big = a == INT64_MIN && b == -1;
        v = big ? 0 : floor_div(a, b);
        break;
    case OCT_JOP_MOD:
        v = b == -1 ? 0 : a - floor_div(a, b) * b;
        break;
    default:
        return int_power(r, a, b, out);
    }
    *out = oct_jv_int(v);
    return big ? too_big(r) : OCT_OK;
}

/* Python's float_divmod: the remainder has the divisor's sign, the quotient is exact to match. */
static void float_divmod(double a, double b, double *div, double *mod)
{
    *mod = fmod(a, b);
    double q = (a - *mod) / b;
    if (*mod != 0.0) {
        if ((b < 0) != (*mod < 0)) {
            *mod += b;
            q -= 1.0;
        }
    } else {
        *mod = copysign(0.0, b);
    }
    if (q != 0.0) {
        *div = floor(q);
        if (q - *div > 0.5) {
            *div += 1.0;
        }
    } else {
        *div = copysign(0.0, a / b);
    }
}

static oct_status float_power(struct oct_jr *r, double a, double b, struct oct_jv *out)
{
    if (a == 0.0 && b < 0) {
        return oct_jr_fail(r, OCT_E_FORMAT, "0.0 cannot be raised to a negative power");
    }
    if (a < 0 && isfinite(a) && isfinite(b) && floor(b) != b) {
        return oct_jr_fail(r, OCT_E_UNSUPPORTED, "complex numbers are not supported");
    }
    const double v = pow(a, b);
    if (isinf(v) && isfinite(a) && isfinite(b)) {
        return oct_jr_fail(r, OCT_E_FORMAT, "the result is too large");
    }
    *out = oct_jv_float(v);
    return OCT_OK;
}

static oct_status float_op(struct oct_jr *r, enum oct_jop op, double a, double b,
                           struct oct_jv *out)
{
    double div, mod;
    switch (op) {
    case OCT_JOP_ADD:
        *out = oct_jv_float(a + b);
        return OCT_OK;
    case OCT_JOP_SUB:
        *out = oct_jv_float(a - b);
        return OCT_OK;
    case OCT_JOP_MUL:
        *out = oct_jv_float(a * b);
        return OCT_OK;
    case OCT_JOP_POW:
        return float_power(r, a, b, out);
    default:
        if (b == 0.0) {
            return division_by_zero(r);
        }
        if (op == OCT_JOP_DIV) {
            *out = oct_jv_float(a / b);
        } else {
            float_divmod(a, b, &div, &mod);
            *out = oct_jv_float(op == OCT_JOP_MOD ? mod : div);
        }
        return OCT_OK;
    }
}

static oct_status add_lists(struct oct_jr *r, const struct oct_jv *a, const struct oct_jv *b,
                            struct oct_jv *out)
{
    OCT_TRY(oct_jv_load(r, a));
    OCT_TRY(oct_jv_load(r, b));
    const struct oct_jlist *x = a->u.list, *y = b->u.list;
    OCT_TRY(oct_jv_new_list(r, (enum oct_jv_type)a->type, (size_t)x->n + y->n, out));
    memcpy(out->u.list->items, x->items, x->n * sizeof *x->items);
    memcpy(out->u.list->items + x->n, y->items, y->n * sizeof *y->items);
    return OCT_OK;
}

static oct_status add_strings(struct oct_jr *r, const struct oct_jv *a, const struct oct_jv *b,
                              struct oct_jv *out)
{
    if (!((a->flags | b->flags) & OCT_JV_MARKUP)) {
        return oct_jv_concat(r, a, b, out);
    }
    struct oct_jv x, y; /* markupsafe: the plain side is escaped */
    OCT_TRY(oct_jv_escape(r, a, &x));
    OCT_TRY(oct_jv_escape(r, b, &y));
    OCT_TRY(oct_jv_concat(r, &x, &y, out));
    out->flags = OCT_JV_MARKUP;
    return OCT_OK;
}

static oct_status repeat(struct oct_jr *r, const struct oct_jv *v, int64_t times,
                         struct oct_jv *out)
{
    int64_t bytes;
    times = times < 0 ? 0 : times;
    if (v->type == OCT_JV_STR) {
        if (__builtin_mul_overflow((int64_t)v->len, times, &bytes) ||
            bytes > OCT_JINJA_MAX_STRING) {
            return oct_jr_fail(r, OCT_E_LIMIT, "a string over %d MiB", OCT_JINJA_MAX_STRING >> 20);
        }
        char *marks;
        char *s = oct_jr_alloc_string(r, (size_t)bytes, &marks);
        if (!s) {
            return oct_jr_out_of_memory(r);
        }
        OCT_TRY(oct_jr_charge(r, (uint64_t)bytes / OCT_JINJA_STEP_BYTES));
        for (int64_t i = 0; i < bytes; i += v->len) {
            memcpy(s + i, v->u.s, v->len);
            if (marks) {
                oct_jr_origin_of(r, v->u.s, v->len, marks + i);
            }
        }
        *out = oct_jv_strn(s, (size_t)bytes);
        out->flags = v->flags;
        return OCT_OK;
    }
    if (__builtin_mul_overflow((int64_t)v->u.list->n, times, &bytes) ||
        bytes > OCT_JINJA_MAX_MEMORY) {
        return oct_jr_fail(r, OCT_E_LIMIT, "the template needs over %d MiB of memory",
                           OCT_JINJA_MAX_MEMORY >> 20);
    }
    OCT_TRY(oct_jv_load(r, v));
    OCT_TRY(oct_jv_new_list(r, (enum oct_jv_type)v->type, (size_t)bytes, out));
    for (int64_t i = 0; i < bytes; i++) {
        out->u.list->items[i] = v->u.list->items[i % v->u.list->n];
    }
    return OCT_OK;
}

static bool is_sequence(const struct oct_jv *v)
{
    return v->type == OCT_JV_STR || v->type == OCT_JV_LIST || v->type == OCT_JV_TUPLE;
}

oct_status oct_jv_binary(struct oct_jr *r, enum oct_jop op, const struct oct_jv *a,
                         const struct oct_jv *b, struct oct_jv *out)
{
    int64_t i, k;
    if (oct_jv_is_int(a, &i) && oct_jv_is_int(b, &k)) {
        return int_op(r, op, i, k, out);
    }
    if (oct_jv_is_num(a) && oct_jv_is_num(b)) {
        return float_op(r, op, oct_jv_num(a), oct_jv_num(b), out);
    }
    if (op == OCT_JOP_ADD && a->type == b->type && is_sequence(a)) {
        return a->type == OCT_JV_STR ? add_strings(r, a, b, out) : add_lists(r, a, b, out);
    }
    if (op == OCT_JOP_MUL && is_sequence(a) && oct_jv_is_int(b, &i)) {
        return repeat(r, a, i, out);
    }
    if (op == OCT_JOP_MUL && is_sequence(b) && oct_jv_is_int(a, &i)) {
        return repeat(r, b, i, out);
    }
    if (op == OCT_JOP_MOD && a->type == OCT_JV_STR) {
        return oct_jv_percent(r, a, b, out);
    }
    return type_error(r, op, a, b);
}

oct_status oct_jv_negate(struct oct_jr *r, const struct oct_jv *a, bool minus, struct oct_jv *out)
{
    int64_t i;
    if (oct_jv_is_int(a, &i)) {
        if (minus && i == INT64_MIN) {
            return too_big(r);
        }
        *out = oct_jv_int(minus ? -i : i);
        return OCT_OK;
    }
    if (a->type == OCT_JV_FLOAT) {
        *out = oct_jv_float(minus ? -a->u.f : a->u.f);
        return OCT_OK;
    }
    if (a->type == OCT_JV_UNDEF) {
        return oct_jr_fail_undef(r, a);
    }
    return oct_jr_fail(r, OCT_E_FORMAT, "a %s has no sign", oct_jv_type_name(a));
}

/* Merge sort, bottom up: stable, no recursion. Python's `reverse` keeps equal items in order. */
oct_status oct_jr_sort(struct oct_jr *r, const struct oct_jv *keys, uint32_t n, bool reverse,
                       uint32_t **order)
{
    uint32_t *from = oct_jr_alloc(r, 2 * (size_t)n, sizeof *from);
    if (!from) {
        return oct_jr_out_of_memory(r);
    }
    uint32_t *to = from + n;
    for (uint32_t i = 0; i < n; i++) {
        from[i] = i;
    }
    for (uint64_t width = 1; width < n; width *= 2) {
        for (uint64_t lo = 0; lo < n; lo += 2 * width) {
            const uint64_t mid = lo + width < n ? lo + width : n;
            const uint64_t hi = lo + 2 * width < n ? lo + 2 * width : n;
            uint64_t a = lo, b = mid, at = lo;
            while (a < mid && b < hi) {
                bool later_first;
                const struct oct_jv *x = &keys[from[a]], *y = &keys[from[b]];
                OCT_TRY(reverse ? oct_jv_order(r, OCT_JOP_LT, x, y, &later_first)
                                : oct_jv_order(r, OCT_JOP_LT, y, x, &later_first));
                to[at++] = later_first ? from[b++] : from[a++];
            }
            memcpy(to + at, from + a, (mid - a) * sizeof *to);
            at += mid - a;
            memcpy(to + at, from + b, (hi - b) * sizeof *to);
        }
        uint32_t *swap = from;
        from = to;
        to = swap;
    }
    *order = from;
    return OCT_OK;
}
