/* SPDX-License-Identifier: Apache-2.0
 *
 * gguf.c - the header of one GGUF file: a bounds-checked cursor over a small window of it, then the
 * checks that hold for the whole file. Counts and lengths are compared with their limit and with
 * the bytes that remain before anything is allocated: memory stays within twice the header's size
 * and 20 MB for the longest list of tensors. */
#include "model/gguf_reader.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "GGUF is little-endian");

enum {
    MAX_KEYS = 1 << 16,
    MAX_TENSORS = 1 << 17,
    MAX_KEY_BYTES = 65535, /* the format's own */
    MAX_STRING_BYTES = 64 << 20,
    MAX_ARRAY = 1 << 28,
    MAX_NESTING = 4, /* arrays in arrays */
    MAX_ALIGNMENT = 1 << 20,
    DEFAULT_ALIGNMENT = 32,
    MIN_KEY_BYTES = 8 + 1 + 4 + 1, /* the shortest key with its value */
};

#define BAD(r, ...) oct_gr_bad((r), OCT_E_FORMAT, __VA_ARGS__)

static const uint8_t type_bytes[] = {
    [OCT_GGUF_U8] = 1,  [OCT_GGUF_I8] = 1,  [OCT_GGUF_U16] = 2,    [OCT_GGUF_I16] = 2,
    [OCT_GGUF_U32] = 4, [OCT_GGUF_I32] = 4, [OCT_GGUF_F32] = 4,    [OCT_GGUF_BOOL] = 1,
    [OCT_GGUF_U64] = 8, [OCT_GGUF_I64] = 8, [OCT_GGUF_STRING] = 0, [OCT_GGUF_ARRAY] = 0,
    [OCT_GGUF_F64] = 8,
};

static oct_status take_type(struct oct_gguf_reader *r, enum oct_gguf_type *out)
{
    uint32_t type;
    OCT_TRY(oct_gr_u32(r, &type));
    if (type >= sizeof type_bytes) {
        return BAD(r, "has a value of unknown type %" PRIu32 " (0 to 12 are known)", type);
    }
    *out = (enum oct_gguf_type)type;
    return OCT_OK;
}

/* Element type and count of an array; the count is checked against the bytes that remain. */
static oct_status take_array_head(struct oct_gguf_reader *r, enum oct_gguf_type *type, uint64_t *n)
{
    OCT_TRY(take_type(r, type));
    OCT_TRY(oct_gr_u64(r, n));
    if (*n > MAX_ARRAY) {
        return oct_gr_bad(r, OCT_E_LIMIT,
                          "has an array of %" PRIu64 " elements; at most %d are read", *n,
                          MAX_ARRAY);
    }
    const uint64_t least = *type == OCT_GGUF_STRING  ? 8  /* a length */
                           : *type == OCT_GGUF_ARRAY ? 12 /* a type and a count */
                                                     : type_bytes[*type];
    return oct_gr_need(r, *n * least); /* below 2^32 */
}

/* An array inside an array: checked and passed over. */
static oct_status skip_array(struct oct_gguf_reader *r, int depth)
{
    enum oct_gguf_type type;
    uint64_t n;
    if (depth > MAX_NESTING) {
        return oct_gr_bad(r, OCT_E_LIMIT, "has arrays nested more than %d deep", MAX_NESTING);
    }
    OCT_TRY(take_array_head(r, &type, &n));
    if (type_bytes[type]) {
        r->pos += n * type_bytes[type]; /* take_array_head saw that they are there */
        return OCT_OK;
    }
    for (uint64_t i = 0; i < n; i++) {
        if (type == OCT_GGUF_ARRAY) {
            OCT_TRY(skip_array(r, depth + 1));
            continue;
        }
        uint64_t len;
        OCT_TRY(oct_gr_u64(r, &len));
        OCT_TRY(oct_gr_need(r, len));
        r->pos += len;
    }
    return OCT_OK;
}

static oct_status check_bools(const struct oct_gguf_reader *r, const uint8_t *v, uint64_t n)
{
    for (uint64_t i = 0; i < n; i++) {
        if (v[i] > 1) {
            return BAD(r, "has a bool of value %d; only 0 and 1 exist", v[i]);
        }
    }
    return OCT_OK;
}

static oct_status take_array(struct oct_gguf_reader *r, struct oct_gguf_kv *kv)
{
    OCT_TRY(take_array_head(r, &kv->elem_type, &kv->n));
    const size_t n = (size_t)kv->n;
    if (kv->elem_type == OCT_GGUF_ARRAY) {
        for (size_t i = 0; i < n; i++) {
            OCT_TRY(skip_array(r, 2));
        }
        return OCT_OK;
    }
    if (kv->elem_type == OCT_GGUF_STRING) {
        struct oct_gguf_str *strings = oct_gr_alloc(r, n * sizeof *strings);
        if (!strings) {
            return oct_no_memory("a file's header", n * sizeof *strings);
        }
        for (size_t i = 0; i < n; i++) {
            OCT_TRY(oct_gr_string(r, MAX_STRING_BYTES, &strings[i]));
        }
        kv->v.strings = strings;
        return OCT_OK;
    }
    const size_t bytes = n * type_bytes[kv->elem_type];
    void *array = oct_gr_alloc(r, bytes);
    if (!array) {
        return oct_no_memory("a file's header", bytes);
    }
    OCT_TRY(oct_gr_take(r, array, bytes));
    kv->v.array = array;
    return kv->elem_type == OCT_GGUF_BOOL ? check_bools(r, array, kv->n) : OCT_OK;
}

static oct_status take_value(struct oct_gguf_reader *r, struct oct_gguf_kv *kv)
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
        float f32;
        double f64;
    } x;
    kv->n = 1;
    if (type_bytes[kv->type]) {
        OCT_TRY(oct_gr_take(r, &x, type_bytes[kv->type]));
    }
    switch (kv->type) {
    case OCT_GGUF_BOOL:
        OCT_TRY(check_bools(r, &x.u8, 1));
        kv->v.u = x.u8;
        break;
    case OCT_GGUF_U8:
        kv->v.u = x.u8;
        break;
    case OCT_GGUF_U16:
        kv->v.u = x.u16;
        break;
    case OCT_GGUF_U32:
        kv->v.u = x.u32;
        break;
    case OCT_GGUF_U64:
        kv->v.u = x.u64;
        break;
    case OCT_GGUF_I8:
        kv->v.i = x.i8;
        break;
    case OCT_GGUF_I16:
        kv->v.i = x.i16;
        break;
    case OCT_GGUF_I32:
        kv->v.i = x.i32;
        break;
    case OCT_GGUF_I64:
        kv->v.i = x.i64;
        break;
    case OCT_GGUF_F32:
        kv->v.f = (double)x.f32;
        break;
    case OCT_GGUF_F64:
        kv->v.f = x.f64;
        break;
    case OCT_GGUF_STRING:
        return oct_gr_string(r, MAX_STRING_BYTES, &kv->v.s);
    case OCT_GGUF_ARRAY:
        return take_array(r, kv);
    }
    return OCT_OK;
}

static int by_key(const void *a, const void *b)
{
    const struct oct_gguf_kv *x = *(const struct oct_gguf_kv *const *)a;
    const struct oct_gguf_kv *y = *(const struct oct_gguf_kv *const *)b;
    return strcmp(x->key.data, y->key.data); /* keys hold no NUL */
}

static oct_status check_unique_keys(struct oct_gguf_reader *r)
{
    const size_t n = (size_t)r->g->n_kvs;
    const struct oct_gguf_kv **sorted = oct_malloc(n * sizeof *sorted);
    if (!sorted) {
        return oct_no_memory("a file's header", n * sizeof *sorted);
    }
    for (size_t i = 0; i < n; i++) {
        sorted[i] = &r->g->kvs[i];
    }
    qsort(sorted, n, sizeof *sorted, by_key);
    oct_status st = OCT_OK;
    for (size_t i = 1; i < n && st == OCT_OK; i++) {
        if (!strcmp(sorted[i - 1]->key.data, sorted[i]->key.data)) {
            oct_gr_what(r, "key", sorted[i]->key);
            st = BAD(r, "is there twice (duplicate key)");
        }
    }
    oct_free(sorted);
    return st;
}

static oct_status read_keys(struct oct_gguf_reader *r)
{
    struct oct_gguf *g = r->g;
    g->kvs = oct_gr_alloc(r, (size_t)g->n_kvs * sizeof *g->kvs);
    if (!g->kvs) {
        return oct_no_memory("a file's header", (size_t)g->n_kvs * sizeof *g->kvs);
    }
    for (uint64_t i = 0; i < g->n_kvs; i++) {
        struct oct_gguf_kv *kv = &g->kvs[i];
        OCT_TRY(oct_gr_name(r, "key", i, MAX_KEY_BYTES, &kv->key));
        OCT_TRY(take_type(r, &kv->type));
        OCT_TRY(take_value(r, kv));
    }
    OCT_TRY(check_unique_keys(r));
    g->alignment = DEFAULT_ALIGNMENT;
    const struct oct_gguf_kv *kv = oct_gguf_find(g, "general.alignment");
    if (kv) {
        oct_gr_what(r, "key", kv->key);
        if (kv->type != OCT_GGUF_U32 || kv->v.u == 0 || (kv->v.u & (kv->v.u - 1)) != 0 ||
            kv->v.u > MAX_ALIGNMENT) {
            return BAD(r, "must be a u32 power of two up to %d", MAX_ALIGNMENT);
        }
        g->alignment = kv->v.u;
    }
    return OCT_OK;
}

/* ---- the file ---- */

static oct_status read_counts(struct oct_gguf_reader *r)
{
    struct oct_gguf *g = r->g;
    char magic[4];
    (void)snprintf(r->what, sizeof r->what, "the header");
    OCT_TRY(oct_gr_take(r, magic, sizeof magic));
    if (memcmp(magic, "GGUF", 4) != 0) {
        return OCT_FAIL(OCT_E_FORMAT, "%s: is no GGUF file: it does not begin with \"GGUF\"",
                        r->f->path);
    }
    OCT_TRY(oct_gr_u32(r, &g->version));
    if (g->version != 2 && g->version != 3) {
        if (g->version == 1) {
            return OCT_FAIL(OCT_E_UNSUPPORTED,
                            "%s: is GGUF version 1; versions 2 and 3 are read, so convert the "
                            "model again",
                            r->f->path);
        }
        if (g->version && (g->version & 0xffffu) == 0) {
            return OCT_FAIL(OCT_E_UNSUPPORTED,
                            "%s: is a big-endian GGUF file; convert the model again for "
                            "little-endian machines",
                            r->f->path);
        }
        return OCT_FAIL(OCT_E_UNSUPPORTED,
                        "%s: is GGUF version %" PRIu32 "; versions 2 and 3 are read", r->f->path,
                        g->version);
    }
    OCT_TRY(oct_gr_u64(r, &g->n_tensors));
    OCT_TRY(oct_gr_u64(r, &g->n_kvs));
    if (g->n_kvs > MAX_KEYS || g->n_kvs > oct_gr_left(r) / MIN_KEY_BYTES) {
        return oct_gr_bad(r, g->n_kvs > MAX_KEYS ? OCT_E_LIMIT : OCT_E_FORMAT,
                          "claims %" PRIu64 " keys; at most %d are read, and %" PRIu64
                          " bytes of the file remain",
                          g->n_kvs, MAX_KEYS, oct_gr_left(r));
    }
    if (g->n_tensors > MAX_TENSORS) {
        return oct_gr_bad(r, OCT_E_LIMIT, "claims %" PRIu64 " tensors; at most %d are read",
                          g->n_tensors, MAX_TENSORS);
    }
    return OCT_OK;
}

static oct_status read_all(struct oct_gguf_reader *r)
{
    OCT_TRY(read_counts(r));
    OCT_TRY(read_keys(r));
    return oct_gr_tensors(r);
}

oct_status oct_gguf_open(const struct oct_file *f, struct oct_gguf **out)
{
    struct oct_gguf *g = oct_calloc(1, sizeof *g);
    if (!g) {
        return oct_no_memory("a file's header", sizeof *g);
    }
    struct oct_gguf_reader r = {.f = f, .g = g};
    oct_status st = read_all(&r);
    oct_free(r.window);
    if (st != OCT_OK) {
        oct_gguf_close(g);
        return st;
    }
    *out = g;
    return OCT_OK;
}

void oct_gguf_close(struct oct_gguf *g)
{
    if (g) {
        oct_arena_free(&g->arena);
        oct_free(g);
    }
}
