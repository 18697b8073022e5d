/* SPDX-License-Identifier: Apache-2.0
 *
 * gguf_tensors.c - the tensor infos of a GGUF file, one by one and then all together. */
#include "model/gguf_reader.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    MAX_DIMS = 4,                         /* the format's own */
    MIN_TENSOR_BYTES = 8 + 1 + 4 + 4 + 8, /* the shortest tensor info */
};

#define BAD(r, ...) oct_gr_bad((r), OCT_E_FORMAT, __VA_ARGS__)

/* ggml's type numbers; those absent were removed from the format or are not known here. */
static const struct {
    uint32_t ggml;
    enum oct_dtype dtype;
} ggml_types[] = {
    {0, OCT_DTYPE_F32},     {1, OCT_DTYPE_F16},      {2, OCT_DTYPE_Q4_0},
    {3, OCT_DTYPE_Q4_1},    {6, OCT_DTYPE_Q5_0},     {7, OCT_DTYPE_Q5_1},
    {8, OCT_DTYPE_Q8_0},    {9, OCT_DTYPE_Q8_1},     {10, OCT_DTYPE_Q2_K},
    {11, OCT_DTYPE_Q3_K},   {12, OCT_DTYPE_Q4_K},    {13, OCT_DTYPE_Q5_K},
    {14, OCT_DTYPE_Q6_K},   {15, OCT_DTYPE_Q8_K},    {16, OCT_DTYPE_IQ2_XXS},
    {17, OCT_DTYPE_IQ2_XS}, {18, OCT_DTYPE_IQ3_XXS}, {19, OCT_DTYPE_IQ1_S},
    {20, OCT_DTYPE_IQ4_NL}, {21, OCT_DTYPE_IQ3_S},   {22, OCT_DTYPE_IQ2_S},
    {23, OCT_DTYPE_IQ4_XS}, {24, OCT_DTYPE_I8},      {25, OCT_DTYPE_I16},
    {26, OCT_DTYPE_I32},    {27, OCT_DTYPE_I64},     {28, OCT_DTYPE_F64},
    {29, OCT_DTYPE_IQ1_M},  {30, OCT_DTYPE_BF16},    {34, OCT_DTYPE_TQ1_0},
    {35, OCT_DTYPE_TQ2_0},  {39, OCT_DTYPE_MXFP4},
};

static oct_status take_dtype(struct oct_gguf_reader *r, enum oct_dtype *out)
{
    uint32_t type;
    OCT_TRY(oct_gr_u32(r, &type));
    for (size_t i = 0; i < sizeof ggml_types / sizeof *ggml_types; i++) {
        if (ggml_types[i].ggml == type) {
            *out = ggml_types[i].dtype;
            return OCT_OK;
        }
    }
    return oct_gr_bad(r, OCT_E_UNSUPPORTED,
                      "has ggml type %" PRIu32
                      ", which this build does not know; convert the model to "
                      "another type (Q8_0, say)",
                      type);
}

/* Reads one info. t->offset is relative to the data until place_tensors. */
static oct_status read_tensor(struct oct_gguf_reader *r, uint64_t index, struct oct_tensor *t)
{
    struct oct_gguf_str name;
    uint64_t dims[MAX_DIMS];
    OCT_TRY(oct_gr_name(r, "tensor", index, OCT_TENSOR_MAX_NAME, &name));
    t->name = name.data;
    OCT_TRY(oct_gr_u32(r, &t->n_dims));
    if (t->n_dims > MAX_DIMS) {
        return BAD(r, "has %" PRIu32 " dimensions; GGUF has at most %d", t->n_dims, MAX_DIMS);
    }
    t->n_elems = 1;
    for (uint32_t i = 0; i < t->n_dims; i++) {
        OCT_TRY(oct_gr_u64(r, &dims[i]));
        if (dims[i] > INT64_MAX || !oct_u64_mul(t->n_elems, dims[i], &t->n_elems)) {
            return BAD(r, "has dimensions whose product overflows (%" PRIu64 " and others)",
                       dims[i]);
        }
    }
    for (uint32_t i = 0; i < t->n_dims; i++) { /* GGUF's fastest dimension comes first */
        t->dims[t->n_dims - 1 - i] = dims[i];
    }
    OCT_TRY(take_dtype(r, &t->dtype));
    const struct oct_dtype_info *info = oct_dtype_info(t->dtype);
    const uint64_t row = t->n_dims ? dims[0] : 1;
    if (row % info->block_elems != 0) {
        return BAD(r,
                   "has rows of %" PRIu64 " elements, not a multiple of the %" PRIu32
                   " in a block of %s",
                   row, info->block_elems, info->name);
    }
    if (!oct_u64_mul(t->n_elems / info->block_elems, info->block_bytes, &t->size_bytes)) {
        return BAD(r, "has a size in bytes that overflows");
    }
    OCT_TRY(oct_gr_u64(r, &t->offset));
    if (t->offset % r->g->alignment != 0) {
        return BAD(r, "starts at offset %" PRIu64 ", misaligned: it must be a multiple of %" PRIu64,
                   t->offset, r->g->alignment);
    }
    return OCT_OK;
}

static int by_offset(const void *a, const void *b)
{
    const struct oct_tensor *x = *(const struct oct_tensor *const *)a;
    const struct oct_tensor *y = *(const struct oct_tensor *const *)b;
    if (x->offset != y->offset) {
        return x->offset < y->offset ? -1 : 1;
    }
    return (x->size_bytes > y->size_bytes) - (x->size_bytes < y->size_bytes);
}

static int by_name(const void *a, const void *b)
{
    const struct oct_tensor *x = *(const struct oct_tensor *const *)a;
    const struct oct_tensor *y = *(const struct oct_tensor *const *)b;
    return strcmp(x->name, y->name);
}

static void name_tensor(struct oct_gguf_reader *r, const struct oct_tensor *t)
{
    oct_gr_what(r, "tensor", (struct oct_gguf_str){t->name, strlen(t->name)});
}

/* Rounds up to the alignment; false if that passes 2^64. */
static bool align_up(const struct oct_gguf *g, uint64_t v, uint64_t *out)
{
    if (!oct_u64_add(v, g->alignment - 1, &v)) {
        return false;
    }
    *out = v & ~(g->alignment - 1);
    return true;
}

/* One behind the other with no hole but padding, inside the file, up to its end. */
static oct_status check_places(struct oct_gguf_reader *r, struct oct_tensor *const *sorted)
{
    struct oct_gguf *g = r->g;
    uint64_t end = 0, next = 0; /* of the tensor before; where this one must start */
    for (uint64_t i = 0; i < g->n_tensors; i++) {
        const struct oct_tensor *t = sorted[i];
        if (t->offset != next) {
            name_tensor(r, t);
            return t->offset < next
                       ? BAD(r,
                             "starts at offset %" PRIu64 " and overlaps the tensor before it, "
                             "which ends at %" PRIu64,
                             t->offset, end)
                       : BAD(r,
                             "starts at offset %" PRIu64 ", which leaves a hole behind the "
                             "tensor before it; %" PRIu64 " was expected",
                             t->offset, next);
        }
        uint64_t file_end;
        if (!oct_u64_add(t->offset, t->size_bytes, &end) || !align_up(g, end, &next) ||
            !oct_u64_add(g->data_offset, end, &file_end) || file_end > r->f->size_bytes) {
            name_tensor(r, t);
            return BAD(r,
                       "has %" PRIu64 " bytes at byte %" PRIu64 " + %" PRIu64
                       ", but the file ends at byte %" PRIu64 "; it was cut short or is damaged",
                       t->size_bytes, g->data_offset, t->offset, r->f->size_bytes);
        }
    }
    if (r->f->size_bytes - g->data_offset > next) {
        return OCT_FAIL(OCT_E_FORMAT,
                        "%s: %" PRIu64 " bytes follow the last tensor; the file is longer than its "
                        "header says (trailing data)",
                        r->f->path, r->f->size_bytes - g->data_offset - end);
    }
    return OCT_OK;
}

static oct_status place_tensors(struct oct_gguf_reader *r)
{
    struct oct_gguf *g = r->g;
    if (!align_up(g, r->pos, &g->data_offset) || g->data_offset > r->f->size_bytes) {
        if (g->n_tensors == 0) { /* a vocabulary alone need not be padded */
            g->data_offset = r->f->size_bytes;
        } else {
            return OCT_FAIL(OCT_E_FORMAT,
                            "%s: the file ends at byte %" PRIu64 ", where its header ends; it was "
                            "cut short",
                            r->f->path, r->f->size_bytes);
        }
    }
    const size_t n = (size_t)g->n_tensors;
    struct oct_tensor **sorted = oct_malloc(n * sizeof *sorted);
    if (!sorted) {
        return oct_no_memory("a list of tensors", n * sizeof *sorted);
    }
    for (size_t i = 0; i < n; i++) {
        sorted[i] = &g->tensors[i];
    }
    qsort(sorted, n, sizeof *sorted, by_name);
    oct_status st = OCT_OK;
    for (size_t i = 1; i < n && st == OCT_OK; i++) {
        if (!strcmp(sorted[i - 1]->name, sorted[i]->name)) {
            name_tensor(r, sorted[i]);
            st = BAD(r, "is there twice (duplicate name)");
        }
    }
    if (st == OCT_OK) {
        qsort(sorted, n, sizeof *sorted, by_offset);
        st = check_places(r, sorted);
    }
    oct_free(sorted);
    for (size_t i = 0; i < n && st == OCT_OK; i++) {
        g->tensors[i].offset += g->data_offset; /* check_places saw that it fits */
    }
    return st;
}

oct_status oct_gr_tensors(struct oct_gguf_reader *r)
{
    struct oct_gguf *g = r->g;
    if (g->n_tensors > oct_gr_left(r) / MIN_TENSOR_BYTES) {
        (void)snprintf(r->what, sizeof r->what, "the header");
        return BAD(r, "claims %" PRIu64 " tensors, but %" PRIu64 " bytes remain after its keys",
                   g->n_tensors, oct_gr_left(r));
    }
    g->tensors = oct_gr_alloc(r, (size_t)g->n_tensors * sizeof *g->tensors);
    if (!g->tensors) {
        return oct_no_memory("a list of tensors", (size_t)g->n_tensors * sizeof *g->tensors);
    }
    for (uint64_t i = 0; i < g->n_tensors; i++) {
        OCT_TRY(read_tensor(r, i, &g->tensors[i]));
    }
    return place_tensors(r);
}
