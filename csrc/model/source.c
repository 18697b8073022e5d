/* SPDX-License-Identifier: Apache-2.0 */
#include "model/source_parts.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static int by_name(const void *a, const void *b)
{
    const struct oct_tensor *x = a, *y = b;
    return strcmp(x->name, y->name);
}

/* Sorts by name; a name that is there twice is an error. */
static oct_status sort_tensors(struct oct_source *s)
{
    if (s->n_tensors) {
        qsort(s->tensors, s->n_tensors, sizeof *s->tensors, by_name);
    }
    for (uint32_t i = 1; i < s->n_tensors; i++) {
        const struct oct_tensor *a = &s->tensors[i - 1], *b = &s->tensors[i];
        if (!strcmp(a->name, b->name)) {
            char quoted[128];
            return OCT_FAIL(OCT_E_FORMAT, "%s: tensor \"%s\" is also in %s (duplicate name)",
                            s->files[a->file].path,
                            oct_error_quote(quoted, sizeof quoted, a->name, strlen(a->name)),
                            s->files[b->file].path);
        }
    }
    return OCT_OK;
}

static oct_status open_into(struct oct_source *s, struct oct_tensor_list *list)
{
    bool is_dir;
    oct_status st = oct_path_kind(s->path, &is_dir);
    if (st == OCT_E_NOTFOUND) {
        return OCT_FAIL(OCT_E_NOTFOUND,
                        "%s: no such file or directory; a model is a Hugging Face directory "
                        "(config.json and *.safetensors) or a .gguf file",
                        s->path);
    }
    OCT_TRY(st);
    if (is_dir) {
        s->kind = OCT_SOURCE_HF;
        OCT_TRY(oct_source_open_hf(s, list));
    } else {
        s->kind = OCT_SOURCE_GGUF;
        OCT_TRY(oct_source_open_gguf(s, list));
    }
    s->tensors = list->at;
    s->n_tensors = list->n;
    *list = (struct oct_tensor_list){0};
    return sort_tensors(s);
}

oct_status oct_source_alloc_files(struct oct_source *s, uint32_t n)
{
    s->files = oct_calloc(n, sizeof *s->files);
    if (!s->files) {
        return oct_no_memory("a list of files", n * sizeof *s->files);
    }
    s->n_files = n;
    return OCT_OK;
}

oct_status oct_source_open(const char *path, struct oct_source **out)
{
    struct oct_source *s = oct_calloc(1, sizeof *s);
    struct oct_tensor_list list = {0};
    if (!s) {
        return oct_no_memory("a checkpoint", sizeof *s);
    }
    s->path = oct_strdup(path);
    oct_status st = s->path ? open_into(s, &list) : oct_no_memory("a path", strlen(path) + 1);
    if (st != OCT_OK) {
        oct_free(list.at);
        oct_source_close(s);
        return st;
    }
    *out = s;
    return OCT_OK;
}

void oct_source_close(struct oct_source *s)
{
    if (!s) {
        return;
    }
    for (uint32_t i = 0; i < s->n_files; i++) {
        oct_file_close(&s->files[i]);
    }
    json_decref(s->config);
    json_decref(s->generation_config);
    json_decref(s->tokenizer_config);
    oct_gguf_close(s->gguf);
    oct_arena_free(&s->arena);
    oct_free(s->tensors);
    oct_free(s->files);
    oct_free(s->path);
    oct_free(s);
}

const struct oct_tensor *oct_source_find(const struct oct_source *s, const char *name)
{
    const struct oct_tensor key = {.name = name};
    return s->n_tensors ? bsearch(&key, s->tensors, s->n_tensors, sizeof *s->tensors, by_name)
                        : NULL;
}

static oct_status out_of_range(const struct oct_source *s, const struct oct_tensor *t,
                               uint64_t first, uint64_t n, const char *unit)
{
    char quoted[128];
    return OCT_FAIL(OCT_E_ARG,
                    "%s: tensor \"%s\": %" PRIu64 " %s from %" PRIu64 " on were asked for; they "
                    "are not all there",
                    s->files[t->file].path,
                    oct_error_quote(quoted, sizeof quoted, t->name, strlen(t->name)), n, unit,
                    first);
}

oct_status oct_source_read(const struct oct_source *s, const struct oct_tensor *t, uint64_t offset,
                           void *dst, size_t size)
{
    if (offset > t->size_bytes || size > t->size_bytes - offset) {
        return out_of_range(s, t, offset, size, "bytes");
    }
    if (size == 0) {
        return OCT_OK;
    }
    return oct_file_read(&s->files[t->file], t->offset + offset, dst, size);
}

oct_status oct_source_read_f32(const struct oct_source *s, const struct oct_tensor *t,
                               uint64_t first, float *dst, size_t n)
{
    const struct oct_dtype_info *info = oct_dtype_info(t->dtype);
    char quoted[128];
    if (!info->used) {
        return OCT_FAIL(OCT_E_UNSUPPORTED,
                        "%s: tensor \"%s\" has dtype %s, which this build cannot read as a weight; "
                        "convert the model to BF16 or Q8_0",
                        s->files[t->file].path,
                        oct_error_quote(quoted, sizeof quoted, t->name, strlen(t->name)),
                        info->name);
    }
    if (first > t->n_elems || n > t->n_elems - first || first % info->block_elems ||
        n % info->block_elems) {
        return out_of_range(s, t, first, n, "elements");
    }
    uint64_t at = first / info->block_elems * info->block_bytes;
    if (t->dtype == OCT_DTYPE_F32) {
        return oct_source_read(s, t, at, dst, n * sizeof *dst);
    }
    char chunk[32 << 10]; /* stays in the first two levels of cache */
    const size_t per_chunk = sizeof chunk / info->block_bytes;
    for (size_t left = n / info->block_elems; left;) {
        const size_t blocks = left < per_chunk ? left : per_chunk;
        const size_t bytes = blocks * info->block_bytes, elems = blocks * info->block_elems;
        OCT_TRY(oct_source_read(s, t, at, chunk, bytes));
        oct_dequant(t->dtype, chunk, dst, elems);
        dst += elems;
        at += bytes;
        left -= blocks;
    }
    return OCT_OK;
}
