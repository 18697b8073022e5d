/* SPDX-License-Identifier: Apache-2.0
 *
 * source_gguf.c - a GGUF file, alone or with the other parts of its set: any part may be named, the
 * others lie beside it as <name>-00001-of-0000N.gguf. */
#include "model/source_parts.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Length of "-00001-of-00002.gguf". */
enum { SUFFIX_BYTES = 20 };

/* Reads five digits. */
static bool five_digits(const char *s, uint32_t *out)
{
    uint32_t v = 0;
    for (int i = 0; i < 5; i++) {
        if (s[i] < '0' || s[i] > '9') {
            return false;
        }
        v = v * 10 + (uint32_t)(s[i] - '0');
    }
    *out = v;
    return true;
}

/* True if the path ends like a part of a set: number *no (from 1) of *count. */
static bool is_part_name(const char *path, uint32_t *no, uint32_t *count)
{
    const size_t len = strlen(path);
    if (len <= SUFFIX_BYTES) {
        return false;
    }
    const char *s = path + len - SUFFIX_BYTES;
    return s[0] == '-' && five_digits(s + 1, no) && !memcmp(s + 6, "-of-", 4) &&
           five_digits(s + 10, count) && !strcmp(s + 15, ".gguf") && *no >= 1 && *no <= *count;
}

/* split.count, split.no and split.tensors.count; a file without them is alone. */
struct split {
    uint64_t no, count, n_tensors;
};

static oct_status read_split(const struct oct_file *f, const struct oct_gguf *g, struct split *out)
{
    struct split sp = {.no = 0, .count = 1, .n_tensors = g->n_tensors};
    oct_status st = oct_gguf_u64(g, "split.count", &sp.count);
    if (st == OCT_E_NOTFOUND) {
        *out = sp;
        return OCT_OK;
    }
    if (st == OCT_OK && sp.count > 1) {
        st = oct_gguf_u64(g, "split.no", &sp.no);
        if (st == OCT_OK) {
            st = oct_gguf_u64(g, "split.tensors.count", &sp.n_tensors);
        }
    }
    if (st != OCT_OK) {
        oct_error_prefix("%s", f->path);
        return OCT_E_FORMAT; /* also if a key of the three is absent */
    }
    if (sp.count == 0 || sp.count > OCT_SOURCE_MAX_FILES || sp.no >= sp.count) {
        return OCT_FAIL(OCT_E_FORMAT,
                        "%s: says that it is part %" PRIu64 " (from 0) of %" PRIu64
                        " (split.no, split.count); that cannot be, or is over the limit of %d",
                        f->path, sp.no, sp.count, OCT_SOURCE_MAX_FILES);
    }
    *out = sp;
    return OCT_OK;
}

/* Appends g's tensors as those of file number `file`; names are copied. */
static oct_status append(struct oct_source *s, const struct oct_gguf *g, uint32_t file,
                         struct oct_tensor_list *list)
{
    OCT_TRY(oct_tensor_list_reserve(list, g->n_tensors));
    for (uint64_t i = 0; i < g->n_tensors; i++) {
        struct oct_tensor t = g->tensors[i];
        const size_t len = strlen(t.name);
        t.name = oct_arena_strndup(&s->arena, t.name, len);
        if (!t.name) {
            return oct_no_memory("the name of a tensor", len + 1);
        }
        t.file = file;
        list->at[list->n++] = t;
    }
    return OCT_OK;
}

/* Opens part i of the set and appends its tensors; the first part's metadata stays. */
static oct_status open_part(struct oct_source *s, const char *dir, const char *stem, uint32_t i,
                            const struct split *set, struct oct_tensor_list *list)
{
    char name[512];
    const int len = snprintf(name, sizeof name, "%s-%05" PRIu32 "-of-%05" PRIu64 ".gguf", stem,
                             i + 1, set->count);
    if (len < 0 || (size_t)len >= sizeof name) {
        return OCT_FAIL(OCT_E_ARG, "%s: the name is too long", s->path);
    }
    oct_status st = oct_file_open_in(dir, name, &s->files[i]);
    if (st == OCT_E_NOTFOUND) {
        return OCT_FAIL(OCT_E_NOTFOUND, "%s: %s, another part of this model, is missing beside it",
                        s->path, name);
    }
    OCT_TRY(st);
    struct oct_gguf *g;
    struct split sp;
    OCT_TRY(oct_gguf_open(&s->files[i], &g));
    st = read_split(&s->files[i], g, &sp);
    if (st == OCT_OK && (sp.no != i || sp.count != set->count || sp.n_tensors != set->n_tensors)) {
        st = OCT_FAIL(OCT_E_FORMAT,
                      "%s: its split keys say part %" PRIu64 " (from 0) of %" PRIu64
                      " with %" PRIu64 " tensors; its name and its neighbour say part %" PRIu32
                      " of %" PRIu64 " with %" PRIu64 ", so the parts do not belong together",
                      s->files[i].path, sp.no, sp.count, sp.n_tensors, i, set->count,
                      set->n_tensors);
    }
    if (st == OCT_OK) {
        st = append(s, g, i, list);
    }
    if (st != OCT_OK || i > 0) {
        oct_gguf_close(g);
    } else {
        s->gguf = g;
    }
    return st;
}

/* The set that the file s->path belongs to. */
static oct_status open_set(struct oct_source *s, const struct split *named,
                           struct oct_tensor_list *list)
{
    uint32_t no, count;
    if (!is_part_name(s->path, &no, &count) || count != named->count || no != named->no + 1) {
        return OCT_FAIL(OCT_E_FORMAT,
                        "%s: is part %" PRIu64 " of %" PRIu64 " of a model (split.no, "
                        "split.count), but its name does not end in -%05" PRIu64 "-of-%05" PRIu64
                        ".gguf; give the parts their names back",
                        s->path, named->no + 1, named->count, named->no + 1, named->count);
    }
    const char *slash = strrchr(s->path, '/');
    const char *base = slash ? slash + 1 : s->path;
    oct_status st = OCT_OK;
    char *dir = slash == s->path ? oct_strdup("/")
                : slash          ? oct_strndup(s->path, (size_t)(slash - s->path))
                                 : oct_strdup(".");
    char *stem = oct_strndup(base, strlen(base) - SUFFIX_BYTES);
    if (!dir || !stem) {
        st = oct_no_memory("a path", strlen(s->path) + 1);
    }
    if (st == OCT_OK) {
        st = oct_source_alloc_files(s, count);
    }
    for (uint32_t i = 0; i < count && st == OCT_OK; i++) {
        st = open_part(s, dir, stem, i, named, list);
    }
    if (st == OCT_OK && list->n != named->n_tensors) {
        st = OCT_FAIL(OCT_E_FORMAT,
                      "%s: the parts hold %" PRIu32 " tensors, split.tensors.count says %" PRIu64,
                      s->path, list->n, named->n_tensors);
    }
    if (st == OCT_OK) {
        char *first = oct_strdup(s->files[0].path);
        st = first ? OCT_OK : oct_no_memory("a path", strlen(s->files[0].path) + 1);
        if (first) {
            oct_free(s->path);
            s->path = first;
        }
    }
    oct_free(stem);
    oct_free(dir);
    return st;
}

static bool ends_with(const char *s, const char *end)
{
    const size_t a = strlen(s), b = strlen(end);
    return a >= b && !strcmp(s + a - b, end);
}

/* A file that is no GGUF file and was named by mistake. */
static oct_status refuse_others(const struct oct_file *f)
{
    const char *path = f->path;
    char magic[4];
    if (f->size_bytes >= sizeof magic) {
        OCT_TRY(oct_file_read(f, 0, magic, sizeof magic));
        if (!memcmp(magic, "GGUF", sizeof magic)) {
            return OCT_OK;
        }
    }
    if (ends_with(path, ".safetensors") || ends_with(path, ".json")) {
        return OCT_FAIL(OCT_E_ARG,
                        "%s: is one file of a Hugging Face checkpoint; name the directory that "
                        "holds it and config.json",
                        path);
    }
    static const char *const pickles[] = {".bin", ".pt", ".pth", ".ckpt", ".pkl"};
    for (size_t i = 0; i < sizeof pickles / sizeof *pickles; i++) {
        if (ends_with(path, pickles[i])) {
            return OCT_FAIL(OCT_E_UNSUPPORTED,
                            "%s: looks like pickled PyTorch weights, which can run code when they "
                            "are read and are never read here; convert the model to safetensors "
                            "or GGUF",
                            path);
        }
    }
    return OCT_OK;
}

oct_status oct_source_open_gguf(struct oct_source *s, struct oct_tensor_list *list)
{
    struct oct_file f = {0};
    struct oct_gguf *g = NULL;
    struct split sp;
    oct_status st;
    OCT_TRY(oct_file_open(s->path, &f));
    OCT_TRY_GOTO(refuse_others(&f), st, done);
    OCT_TRY_GOTO(oct_gguf_open(&f, &g), st, done);
    OCT_TRY_GOTO(read_split(&f, g, &sp), st, done);
    if (sp.count > 1) {
        st = open_set(s, &sp, list);
        goto done;
    }
    OCT_TRY_GOTO(oct_source_alloc_files(s, 1), st, done);
    s->files[0] = f;
    f = (struct oct_file){0};
    OCT_TRY_GOTO(append(s, g, 0, list), st, done);
    s->gguf = g;
    g = NULL;
done:
    oct_gguf_close(g);
    oct_file_close(&f);
    return st;
}
