/* SPDX-License-Identifier: Apache-2.0 */
#include "model/safetensors.h"

#include "base/json.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    LENGTH_BYTES = 8,
    MAX_DEPTH = 3,            /* the object, a tensor's object, its arrays */
    MAX_ALL_TENSORS = 1 << 20 /* of all shards */
};

oct_status oct_tensor_list_reserve(struct oct_tensor_list *list, uint64_t n)
{
    const uint64_t want = list->n + n;
    if (n > MAX_ALL_TENSORS || want > MAX_ALL_TENSORS) {
        return OCT_FAIL(OCT_E_LIMIT, "a checkpoint of %" PRIu64 " tensors; at most %d are read",
                        want, MAX_ALL_TENSORS);
    }
    if (want <= list->cap) {
        return OCT_OK;
    }
    const uint32_t cap = want < 2ull * list->cap ? 2 * list->cap : (uint32_t)want;
    struct oct_tensor *at = oct_realloc_array(list->at, cap, sizeof *at);
    if (!at) {
        return oct_no_memory("a list of tensors", cap * sizeof *at);
    }
    list->at = at;
    list->cap = cap;
    return OCT_OK;
}

/* A tensor being read: for sentences. */
struct where {
    const struct oct_file *f;
    char name[128]; /* quoted */
};

#define BAD(w, ...) bad((w), OCT_E_FORMAT, __VA_ARGS__)

/* "<file>: tensor "<name>" <text>" */
__attribute__((format(printf, 3, 4))) static oct_status bad(const struct where *w, oct_status st,
                                                            const char *fmt, ...)
{
    char text[400];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return OCT_FAIL(st, "%s: tensor \"%s\" %s", w->f->path, w->name, text);
}

/* A number of the header: a JSON integer that is not negative. */
static bool as_u64(const json_t *v, uint64_t *out)
{
    if (!json_is_integer(v) || json_integer_value(v) < 0) {
        return false;
    }
    *out = (uint64_t)json_integer_value(v);
    return true;
}

static oct_status read_dtype(const struct where *w, const json_t *entry, enum oct_dtype *out)
{
    const json_t *v = json_object_get(entry, "dtype");
    if (!json_is_string(v)) {
        return BAD(w, "has no dtype, or one that is not a string");
    }
    for (int t = 0; t <= OCT_DTYPE_F6_E3M2; t++) { /* those after it are GGUF's */
        if (!strcmp(oct_dtype_info((enum oct_dtype)t)->name, json_string_value(v))) {
            *out = (enum oct_dtype)t;
            return OCT_OK;
        }
    }
    char quoted[64];
    return bad(w, OCT_E_UNSUPPORTED, "has unknown dtype \"%s\"",
               oct_error_quote(quoted, sizeof quoted, json_string_value(v), json_string_length(v)));
}

/* Dimensions and number of elements. */
static oct_status read_shape(const struct where *w, const json_t *entry, struct oct_tensor *t)
{
    const json_t *shape = json_object_get(entry, "shape");
    if (!json_is_array(shape)) {
        return BAD(w, "has no shape, or one that is not an array");
    }
    const size_t n = json_array_size(shape);
    if (n > OCT_TENSOR_MAX_DIMS) {
        return bad(w, OCT_E_LIMIT, "has %zu dimensions; at most %d are read", n,
                   OCT_TENSOR_MAX_DIMS);
    }
    t->n_dims = (uint32_t)n;
    t->n_elems = 1;
    for (size_t i = 0; i < n; i++) {
        if (!as_u64(json_array_get(shape, i), &t->dims[i])) {
            return BAD(w, "has a shape whose number %zu is not a non-negative integer", i + 1);
        }
        if (!oct_u64_mul(t->n_elems, t->dims[i], &t->n_elems)) {
            return BAD(w, "has dimensions whose product overflows (%" PRIu64 " and others)",
                       t->dims[i]);
        }
    }
    return OCT_OK;
}

/* t->offset becomes relative to the data. */
static oct_status read_place(const struct where *w, const json_t *entry, struct oct_tensor *t)
{
    const json_t *offsets = json_object_get(entry, "data_offsets");
    uint64_t begin, end, size;
    if (!json_is_array(offsets) || json_array_size(offsets) != 2 ||
        !as_u64(json_array_get(offsets, 0), &begin) || !as_u64(json_array_get(offsets, 1), &end)) {
        return BAD(w, "has no data_offsets of two non-negative integers");
    }
    if (begin > end) {
        return BAD(w, "begins at offset %" PRIu64 " and ends before that, at %" PRIu64, begin, end);
    }
    const struct oct_dtype_info *info = oct_dtype_info(t->dtype);
    if (t->n_elems % info->block_elems != 0) {
        return BAD(w, "has %" PRIu64 " elements of %s, which do not end on a byte", t->n_elems,
                   info->name);
    }
    if (!oct_u64_mul(t->n_elems / info->block_elems, info->block_bytes, &size)) {
        return BAD(w, "has a size in bytes that overflows");
    }
    if (end - begin != size) {
        return BAD(w,
                   "has the wrong size: its shape and dtype %s make %" PRIu64
                   " bytes, its data_offsets %" PRIu64,
                   info->name, size, end - begin);
    }
    t->offset = begin;
    t->size_bytes = size;
    return OCT_OK;
}

static oct_status read_tensor(const struct oct_file *f, const char *name, size_t len,
                              const json_t *entry, struct oct_arena *names, struct oct_tensor *t)
{
    struct where w = {.f = f};
    (void)oct_error_quote(w.name, sizeof w.name, name, len);
    if (len == 0) {
        return BAD(&w, "has an empty name");
    }
    if (len > OCT_TENSOR_MAX_NAME) {
        return bad(&w, OCT_E_LIMIT, "has a name of %zu bytes; at most %d are read", len,
                   OCT_TENSOR_MAX_NAME);
    }
    if (!json_is_object(entry)) {
        return BAD(&w, "is not described by a JSON object");
    }
    OCT_TRY(read_dtype(&w, entry, &t->dtype));
    OCT_TRY(read_shape(&w, entry, t));
    OCT_TRY(read_place(&w, entry, t));
    t->name = oct_arena_strndup(names, name, len);
    return t->name ? OCT_OK : oct_no_memory("the name of a tensor", len + 1);
}

static oct_status check_metadata(const struct oct_file *f, const json_t *meta)
{
    const char *key;
    json_t *value;
    if (!json_is_object(meta)) {
        return OCT_FAIL(OCT_E_FORMAT, "%s: __metadata__ is not a JSON object", f->path);
    }
    json_object_foreach((json_t *)(uintptr_t)meta, key, value)
    {
        if (!json_is_string(value)) {
            char quoted[64];
            return OCT_FAIL(OCT_E_FORMAT, "%s: __metadata__ key \"%s\" is not a string", f->path,
                            oct_error_quote(quoted, sizeof quoted, key, strlen(key)));
        }
    }
    return OCT_OK;
}

static int by_offset(const void *a, const void *b)
{
    const struct oct_tensor *x = a, *y = b;
    if (x->offset != y->offset) {
        return x->offset < y->offset ? -1 : 1;
    }
    return (x->size_bytes > y->size_bytes) - (x->size_bytes < y->size_bytes);
}

/* Contiguous from 0 to the end of the file, no hole, no overlap. */
static oct_status check_places(const struct oct_file *f, const struct oct_tensor *t, uint32_t n,
                               uint64_t data_bytes)
{
    uint64_t end = 0;
    for (uint32_t i = 0; i < n; i++) {
        struct where w = {.f = f};
        (void)oct_error_quote(w.name, sizeof w.name, t[i].name, strlen(t[i].name));
        if (t[i].offset < end) {
            return BAD(&w,
                       "begins at offset %" PRIu64
                       " and overlaps the tensor before it, which ends at %" PRIu64,
                       t[i].offset, end);
        }
        if (t[i].offset > end) {
            return BAD(&w,
                       "begins at offset %" PRIu64
                       ", which leaves a hole behind the tensor before it, which ends at %" PRIu64,
                       t[i].offset, end);
        }
        end = t[i].offset + t[i].size_bytes; /* its end offset, read as 63 bits */
        if (end > data_bytes) {
            return BAD(&w,
                       "ends at byte %" PRIu64 " of the data, but the file has only %" PRIu64
                       "; it was cut short or is damaged",
                       end, data_bytes);
        }
    }
    if (end != data_bytes) {
        return OCT_FAIL(OCT_E_FORMAT,
                        "%s: %" PRIu64 " bytes follow the last tensor; the file is longer than its "
                        "header says (trailing data)",
                        f->path, data_bytes - end);
    }
    return OCT_OK;
}

static oct_status read_entries(const struct oct_file *f, uint32_t file, uint64_t data_at,
                               json_t *root, struct oct_arena *names, struct oct_tensor_list *list)
{
    const char *key;
    json_t *entry;
    const uint32_t first = list->n;
    if (json_object_size(root) > OCT_SAFETENSORS_MAX_TENSORS + 1) {
        return OCT_FAIL(OCT_E_LIMIT, "%s: has %zu tensors; at most %d are read from one file",
                        f->path, json_object_size(root), OCT_SAFETENSORS_MAX_TENSORS);
    }
    OCT_TRY(oct_tensor_list_reserve(list, json_object_size(root) + 1)); /* so list->at is no NULL */
    json_object_foreach(root, key, entry)
    {
        if (!strcmp(key, "__metadata__")) {
            OCT_TRY(check_metadata(f, entry));
            continue;
        }
        struct oct_tensor t = {.file = file};
        OCT_TRY(read_tensor(f, key, strlen(key), entry, names, &t));
        list->at[list->n++] = t;
    }
    struct oct_tensor *mine = list->at + first;
    const uint32_t n = list->n - first;
    if (n) {
        qsort(mine, n, sizeof *mine, by_offset);
    }
    OCT_TRY(check_places(f, mine, n, f->size_bytes - data_at));
    for (uint32_t i = 0; i < n; i++) {
        mine[i].offset += data_at; /* at most the size of the file */
    }
    return OCT_OK;
}

oct_status oct_safetensors_read(const struct oct_file *f, uint32_t file, struct oct_arena *names,
                                struct oct_tensor_list *list)
{
    uint64_t len;
    if (f->size_bytes < LENGTH_BYTES) {
        return OCT_FAIL(OCT_E_FORMAT,
                        "%s: has %" PRIu64 " bytes, too few for a safetensors file; it was cut "
                        "short",
                        f->path, f->size_bytes);
    }
    OCT_TRY(oct_file_read(f, 0, &len, sizeof len));
    if (len > OCT_SAFETENSORS_MAX_HEADER) {
        return OCT_FAIL(OCT_E_FORMAT,
                        "%s: claims a header of %" PRIu64 " bytes; the format allows %d, so this "
                        "is no safetensors file or a damaged one",
                        f->path, len, OCT_SAFETENSORS_MAX_HEADER);
    }
    if (len > f->size_bytes - LENGTH_BYTES) {
        return OCT_FAIL(OCT_E_FORMAT,
                        "%s: its header needs %" PRIu64 " bytes, but the file ends at byte %" PRIu64
                        "; it was cut short",
                        f->path, len, f->size_bytes);
    }
    char *text = oct_malloc((size_t)len + 1);
    if (!text) {
        return oct_no_memory("a file's header", (size_t)len + 1);
    }
    struct oct_buf where = {0};
    json_t *root = NULL;
    oct_status st;
    OCT_TRY_GOTO(oct_file_read(f, LENGTH_BYTES, text, (size_t)len), st, done);
    if (len == 0 || text[0] != '{') {
        st = OCT_FAIL(OCT_E_FORMAT,
                      "%s: its header does not begin with '{'; this is no safetensors file",
                      f->path);
        goto done;
    }
    OCT_TRY_GOTO(oct_buf_printf(&where, "%s: the header", f->path), st, done);
    OCT_TRY_GOTO(oct_json_parse(text, (size_t)len, where.data, MAX_DEPTH, 0, &root), st, done);
    oct_free(text);
    text = NULL;
    st = read_entries(f, file, LENGTH_BYTES + len, root, names, list);
done:
    json_decref(root);
    oct_buf_free(&where);
    oct_free(text);
    return st;
}
