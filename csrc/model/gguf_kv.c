/* SPDX-License-Identifier: Apache-2.0
 *
 * gguf_kv.c - metadata of a GGUF file by key and type. Sentences name the key; the caller, who
 * knows the file, puts its name in front. */
#include "model/gguf.h"

#include <string.h>

static const char *const type_names[] = {"u8",   "i8",     "u16",   "i16", "u32", "i32", "f32",
                                         "bool", "string", "array", "u64", "i64", "f64"};

const struct oct_gguf_kv *oct_gguf_find(const struct oct_gguf *g, const char *key)
{
    const size_t len = strlen(key);
    for (uint64_t i = 0; i < g->n_kvs; i++) {
        const struct oct_gguf_kv *kv = &g->kvs[i];
        if (kv->key.len == len && !memcmp(kv->key.data, key, len)) {
            return kv;
        }
    }
    return NULL;
}

static oct_status absent(const char *key)
{
    return OCT_FAIL(OCT_E_NOTFOUND, "key \"%s\" is absent", key);
}

static oct_status wrong(const char *key, const struct oct_gguf_kv *kv, const char *wanted)
{
    return OCT_FAIL(OCT_E_FORMAT, "key \"%s\" has type %s; %s is needed", key, type_names[kv->type],
                    wanted);
}

static bool is_unsigned(enum oct_gguf_type t)
{
    return t == OCT_GGUF_U8 || t == OCT_GGUF_U16 || t == OCT_GGUF_U32 || t == OCT_GGUF_U64;
}

static bool is_signed(enum oct_gguf_type t)
{
    return t == OCT_GGUF_I8 || t == OCT_GGUF_I16 || t == OCT_GGUF_I32 || t == OCT_GGUF_I64;
}

oct_status oct_gguf_u64(const struct oct_gguf *g, const char *key, uint64_t *out)
{
    const struct oct_gguf_kv *kv = oct_gguf_find(g, key);
    if (!kv) {
        return absent(key);
    }
    if (is_signed(kv->type)) {
        if (kv->v.i < 0) {
            return OCT_FAIL(OCT_E_FORMAT, "key \"%s\" is negative (%lld)", key, (long long)kv->v.i);
        }
        *out = (uint64_t)kv->v.i;
        return OCT_OK;
    }
    if (!is_unsigned(kv->type)) {
        return wrong(key, kv, "an integer");
    }
    *out = kv->v.u;
    return OCT_OK;
}

oct_status oct_gguf_f64(const struct oct_gguf *g, const char *key, double *out)
{
    const struct oct_gguf_kv *kv = oct_gguf_find(g, key);
    if (!kv) {
        return absent(key);
    }
    if (kv->type != OCT_GGUF_F32 && kv->type != OCT_GGUF_F64) {
        return wrong(key, kv, "a float");
    }
    *out = kv->v.f;
    return OCT_OK;
}

oct_status oct_gguf_bool(const struct oct_gguf *g, const char *key, bool *out)
{
    const struct oct_gguf_kv *kv = oct_gguf_find(g, key);
    if (!kv) {
        return absent(key);
    }
    if (kv->type != OCT_GGUF_BOOL) {
        return wrong(key, kv, "a bool");
    }
    *out = kv->v.u != 0;
    return OCT_OK;
}

oct_status oct_gguf_str(const struct oct_gguf *g, const char *key, struct oct_gguf_str *out)
{
    const struct oct_gguf_kv *kv = oct_gguf_find(g, key);
    if (!kv) {
        return absent(key);
    }
    if (kv->type != OCT_GGUF_STRING) {
        return wrong(key, kv, "a string");
    }
    *out = kv->v.s;
    return OCT_OK;
}

static oct_status wrong_array(const struct oct_gguf_kv *kv, const char *wanted)
{
    char quoted[128];
    return OCT_FAIL(OCT_E_FORMAT, "key \"%s\" is %s%s; an array of %s is needed",
                    oct_error_quote(quoted, sizeof quoted, kv->key.data, kv->key.len),
                    kv->type == OCT_GGUF_ARRAY ? "an array of " : "of type ",
                    type_names[kv->type == OCT_GGUF_ARRAY ? kv->elem_type : kv->type], wanted);
}

oct_status oct_gguf_array_i64(const struct oct_gguf_kv *kv, uint64_t i, int64_t *out)
{
    union {
        uint8_t u8;
        int8_t i8;
        uint16_t u16;
        int16_t i16;
        uint32_t u32;
        int32_t i32;
        uint64_t u64;
        int64_t i64;
    } x;
    if (kv->type != OCT_GGUF_ARRAY || !(is_unsigned(kv->elem_type) || is_signed(kv->elem_type))) {
        return wrong_array(kv, "integers");
    }
    OCT_ASSERT(i < kv->n);
    const char *at = kv->v.array;
    switch (kv->elem_type) {
    case OCT_GGUF_U8:
        memcpy(&x, at + i, 1);
        *out = x.u8;
        break;
    case OCT_GGUF_I8:
        memcpy(&x, at + i, 1);
        *out = x.i8;
        break;
    case OCT_GGUF_U16:
        memcpy(&x, at + 2 * i, 2);
        *out = x.u16;
        break;
    case OCT_GGUF_I16:
        memcpy(&x, at + 2 * i, 2);
        *out = x.i16;
        break;
    case OCT_GGUF_U32:
        memcpy(&x, at + 4 * i, 4);
        *out = x.u32;
        break;
    case OCT_GGUF_I32:
        memcpy(&x, at + 4 * i, 4);
        *out = x.i32;
        break;
    case OCT_GGUF_U64:
        memcpy(&x, at + 8 * i, 8);
        if (x.u64 > INT64_MAX) {
            return OCT_FAIL(OCT_E_FORMAT, "an array holds %llu, which is out of range",
                            (unsigned long long)x.u64);
        }
        *out = (int64_t)x.u64;
        break;
    default:
        memcpy(&x, at + 8 * i, 8);
        *out = x.i64;
        break;
    }
    return OCT_OK;
}

oct_status oct_gguf_array_f64(const struct oct_gguf_kv *kv, uint64_t i, double *out)
{
    if (kv->type != OCT_GGUF_ARRAY ||
        (kv->elem_type != OCT_GGUF_F32 && kv->elem_type != OCT_GGUF_F64)) {
        return wrong_array(kv, "floats");
    }
    OCT_ASSERT(i < kv->n);
    const char *at = kv->v.array;
    if (kv->elem_type == OCT_GGUF_F32) {
        float f;
        memcpy(&f, at + 4 * i, 4);
        *out = (double)f;
    } else {
        memcpy(out, at + 8 * i, 8);
    }
    return OCT_OK;
}
