/* SPDX-License-Identifier: Apache-2.0 */
#include "model/config_read.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

/* ---- JSON ---- */

const json_t *oct_json_key(const struct oct_json_keys *k, const char *key)
{
    const json_t *v = json_object_get(k->obj, key);
    return json_is_null(v) ? NULL : v;
}

/* What stands there, short enough for a sentence. */
static void describe(const json_t *v, char *text, size_t size)
{
    char quoted[64];
    switch (json_typeof(v)) {
    case JSON_STRING:
        (void)oct_error_quote(quoted, sizeof quoted, json_string_value(v), json_string_length(v));
        (void)snprintf(text, size, "the string \"%s\"", quoted);
        break;
    case JSON_INTEGER:
        (void)snprintf(text, size, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
        break;
    case JSON_REAL:
        (void)snprintf(text, size, "%.17g", json_real_value(v));
        break;
    case JSON_TRUE:
    case JSON_FALSE:
        (void)snprintf(text, size, "%s", json_is_true(v) ? "true" : "false");
        break;
    case JSON_NULL:
        (void)snprintf(text, size, "null");
        break;
    case JSON_ARRAY:
        (void)snprintf(text, size, "a list");
        break;
    case JSON_OBJECT:
        (void)snprintf(text, size, "an object");
        break;
    }
}

oct_status oct_json_wrong(const struct oct_json_keys *k, const char *key, const char *wanted)
{
    char what[128] = "absent";
    const json_t *v = json_object_get(k->obj, key);
    if (v) {
        describe(v, what, sizeof what);
    }
    return OCT_FAIL(OCT_E_FORMAT, "%s/%s: key \"%s%s\" is %s; it must be %s", k->dir, k->name,
                    k->prefix, key, what, wanted);
}

oct_status oct_json_int(const struct oct_json_keys *k, const char *key, enum oct_key_need need,
                        int64_t lo, int64_t hi, int32_t *out)
{
    const json_t *v = oct_json_key(k, key);
    if (!v && need == OCT_KEY_OPTIONAL) {
        return OCT_OK;
    }
    const int64_t n = json_integer_value(v);
    if (!json_is_integer(v) || n < lo || n > hi) {
        char wanted[96];
        (void)snprintf(wanted, sizeof wanted, "an integer from %" PRId64 " to %" PRId64, lo, hi);
        return oct_json_wrong(k, key, wanted);
    }
    *out = (int32_t)n;
    return OCT_OK;
}

oct_status oct_json_num(const struct oct_json_keys *k, const char *key, enum oct_key_need need,
                        double lo, double hi, double *out)
{
    const json_t *v = oct_json_key(k, key);
    if (!v && need == OCT_KEY_OPTIONAL) {
        return OCT_OK;
    }
    const double x = json_number_value(v);
    if (!json_is_number(v) || !(x >= lo && x <= hi)) {
        char wanted[96];
        (void)snprintf(wanted, sizeof wanted, "a number from %g to %g", lo, hi);
        return oct_json_wrong(k, key, wanted);
    }
    *out = x;
    return OCT_OK;
}

oct_status oct_json_bool(const struct oct_json_keys *k, const char *key, bool *out)
{
    const json_t *v = oct_json_key(k, key);
    if (!v) {
        return OCT_OK;
    }
    if (!json_is_boolean(v)) {
        return oct_json_wrong(k, key, "true or false");
    }
    *out = json_is_true(v);
    return OCT_OK;
}

oct_status oct_json_str(const struct oct_json_keys *k, const char *key, const char **out)
{
    const json_t *v = oct_json_key(k, key);
    if (!v) {
        return OCT_OK;
    }
    if (!json_is_string(v)) {
        return oct_json_wrong(k, key, "a string");
    }
    *out = json_string_value(v);
    return OCT_OK;
}

/* ---- GGUF ---- */

static void full_name(const struct oct_gguf_keys *k, const char *key, char *name, size_t size)
{
    const int n = snprintf(name, size, "%s%s", k->prefix, key);
    OCT_ASSERT(n > 0 && (size_t)n < size); /* prefixes are names of the architecture table */
}

static bool is_integer(enum oct_gguf_type t)
{
    switch (t) {
    case OCT_GGUF_U8:
    case OCT_GGUF_I8:
    case OCT_GGUF_U16:
    case OCT_GGUF_I16:
    case OCT_GGUF_U32:
    case OCT_GGUF_I32:
    case OCT_GGUF_U64:
    case OCT_GGUF_I64:
        return true;
    default:
        return false;
    }
}

static bool is_signed(enum oct_gguf_type t)
{
    return t == OCT_GGUF_I8 || t == OCT_GGUF_I16 || t == OCT_GGUF_I32 || t == OCT_GGUF_I64;
}

/* A list with one value per layer stands for that value if all are the same. */
static oct_status uniform(const struct oct_gguf_keys *k, const char *name,
                          const struct oct_gguf_kv *kv, int64_t *out)
{
    int64_t first = 0;
    if (!is_integer(kv->elem_type) || kv->n == 0 || kv->n > OCT_MAX_LAYERS || !kv->v.array) {
        return OCT_FAIL(OCT_E_FORMAT,
                        "%s: key \"%s\" is a list; it must be an integer, or one per layer",
                        k->path, name);
    }
    for (uint64_t i = 0; i < kv->n; i++) {
        int64_t v;
        oct_status st = oct_gguf_array_i64(kv, i, &v);
        if (st != OCT_OK) {
            oct_error_prefix("%s: key \"%s\"", k->path, name);
            return st;
        }
        if (i > 0 && v != first) {
            return OCT_FAIL(OCT_E_UNSUPPORTED,
                            "%s: key \"%s\" differs between layers (%" PRId64 " and %" PRId64
                            "); this build runs models whose layers are alike",
                            k->path, name, first, v);
        }
        first = v;
    }
    *out = first;
    return OCT_OK;
}

oct_status oct_gguf_key_int(const struct oct_gguf_keys *k, const char *key, enum oct_key_need need,
                            int64_t lo, int64_t hi, int32_t *out)
{
    char name[128];
    full_name(k, key, name, sizeof name);
    const struct oct_gguf_kv *kv = oct_gguf_find(k->g, name);
    if (!kv && need == OCT_KEY_OPTIONAL) {
        return OCT_OK;
    }
    if (!kv) {
        return OCT_FAIL(OCT_E_FORMAT,
                        "%s: key \"%s\" is absent; it must be an integer from %" PRId64
                        " to %" PRId64,
                        k->path, name, lo, hi);
    }
    int64_t v = 0;
    bool fits = true;
    if (kv->type == OCT_GGUF_ARRAY) {
        OCT_TRY(uniform(k, name, kv, &v));
    } else if (!is_integer(kv->type)) {
        return OCT_FAIL(OCT_E_FORMAT,
                        "%s: key \"%s\" is not an integer; it must be one from %" PRId64
                        " to %" PRId64,
                        k->path, name, lo, hi);
    } else if (is_signed(kv->type)) {
        v = kv->v.i;
    } else {
        fits = kv->v.u <= INT64_MAX;
        v = fits ? (int64_t)kv->v.u : INT64_MAX;
    }
    if (!fits || v < lo || v > hi) {
        return OCT_FAIL(OCT_E_FORMAT,
                        "%s: key \"%s\" is %s%" PRId64 "; it must be an integer from %" PRId64
                        " to %" PRId64,
                        k->path, name, fits ? "" : "over ", v, lo, hi);
    }
    *out = (int32_t)v;
    return OCT_OK;
}

oct_status oct_gguf_key_num(const struct oct_gguf_keys *k, const char *key, enum oct_key_need need,
                            double lo, double hi, double *out)
{
    char name[128];
    full_name(k, key, name, sizeof name);
    const struct oct_gguf_kv *kv = oct_gguf_find(k->g, name);
    if (!kv && need == OCT_KEY_OPTIONAL) {
        return OCT_OK;
    }
    double v = NAN;
    if (kv && (kv->type == OCT_GGUF_F32 || kv->type == OCT_GGUF_F64)) {
        v = kv->v.f;
    } else if (kv && is_integer(kv->type)) {
        v = is_signed(kv->type) ? (double)kv->v.i : (double)kv->v.u;
    }
    if (!(v >= lo && v <= hi)) {
        char what[64] = "absent";
        if (kv) {
            (void)snprintf(what, sizeof what, "%s", "not a number");
        }
        if (!isnan(v)) {
            (void)snprintf(what, sizeof what, "%g", v);
        }
        return OCT_FAIL(OCT_E_FORMAT, "%s: key \"%s\" is %s; it must be a number from %g to %g",
                        k->path, name, what, lo, hi);
    }
    *out = v;
    return OCT_OK;
}
