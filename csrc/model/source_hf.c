/* SPDX-License-Identifier: Apache-2.0
 *
 * source_hf.c - a Hugging Face directory: its JSON files and one or many safetensors files. */
#include "base/json.h"
#include "model/source_parts.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_INDEX_BYTES = 64 << 20 };

static const char single_name[] = "model.safetensors";
static const char index_name[] = "model.safetensors.index.json";

/* *out stays NULL if there is no such file. */
static oct_status load_optional(const char *dir, const char *name, json_t **out)
{
    const oct_status st = oct_json_load(dir, name, OCT_JSON_MAX_CONFIG_BYTES, out);
    return st == OCT_E_NOTFOUND ? OCT_OK : st;
}

static oct_status load_configs(struct oct_source *s)
{
    oct_status st = oct_json_load(s->path, "config.json", OCT_JSON_MAX_CONFIG_BYTES, &s->config);
    if (st == OCT_E_NOTFOUND) {
        return OCT_FAIL(OCT_E_NOTFOUND,
                        "%s: holds no config.json; a model is a Hugging Face directory "
                        "(config.json and *.safetensors) or a .gguf file, named itself",
                        s->path);
    }
    OCT_TRY(st);
    OCT_TRY(load_optional(s->path, "generation_config.json", &s->generation_config));
    return load_optional(s->path, "tokenizer_config.json", &s->tokenizer_config);
}

/* What to say when neither an index nor model.safetensors is there. */
static oct_status no_weights(const struct oct_source *s)
{
    static const char *const pickles[] = {"pytorch_model.bin", "pytorch_model.bin.index.json",
                                          "consolidated.00.pth"};
    for (size_t i = 0; i < sizeof pickles / sizeof *pickles; i++) {
        struct oct_file f;
        if (oct_file_open_in(s->path, pickles[i], &f) == OCT_OK) {
            oct_file_close(&f);
            return OCT_FAIL(OCT_E_UNSUPPORTED,
                            "%s: holds its weights as pickled Python objects (%s), which can run "
                            "code when they are read and are never read here; get the model's "
                            "safetensors files, or convert it: save_pretrained(..., "
                            "safe_serialization=True)",
                            s->path, pickles[i]);
        }
    }
    return OCT_FAIL(OCT_E_NOTFOUND,
                    "%s: holds no weights; looked for %s and %s (was the download complete?)",
                    s->path, index_name, single_name);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The different values of weight_map, sorted; *out is given away, its strings stay the map's. */
static oct_status shard_names(const struct oct_source *s, json_t *map, const char ***out,
                              uint32_t *n_out)
{
    const char *key;
    json_t *value;
    size_t n = 0;
    const char **names = oct_calloc(json_object_size(map), sizeof *names);
    if (!names) {
        return oct_no_memory("a list of files", json_object_size(map) * sizeof *names);
    }
    json_object_foreach(map, key, value)
    {
        if (!json_is_string(value)) {
            char quoted[128];
            (void)oct_error_quote(quoted, sizeof quoted, key, strlen(key));
            oct_free(names);
            return OCT_FAIL(OCT_E_FORMAT, "%s/%s: weight_map key \"%s\" is not a file name",
                            s->path, index_name, quoted);
        }
        names[n++] = json_string_value(value);
    }
    qsort(names, n, sizeof *names, by_text);
    uint32_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        if (kept && !strcmp(names[kept - 1], names[i])) {
            continue;
        }
        if (kept == OCT_SOURCE_MAX_FILES) {
            oct_free(names);
            return OCT_FAIL(OCT_E_LIMIT, "%s/%s: weight_map names more than %d files", s->path,
                            index_name, OCT_SOURCE_MAX_FILES);
        }
        names[kept++] = names[i];
    }
    *out = names;
    *n_out = kept;
    return OCT_OK;
}

static oct_status open_shards(struct oct_source *s, const char *const *names, uint32_t n,
                              struct oct_tensor_list *list)
{
    OCT_TRY(oct_source_alloc_files(s, n));
    for (uint32_t i = 0; i < n; i++) {
        const oct_status st = oct_file_open_in(s->path, names[i], &s->files[i]);
        if (st == OCT_E_NOTFOUND) {
            char quoted[128];
            return OCT_FAIL(OCT_E_NOTFOUND,
                            "%s: file \"%s\", which %s names, is missing; get it again", s->path,
                            oct_error_quote(quoted, sizeof quoted, names[i], strlen(names[i])),
                            index_name);
        }
        OCT_TRY(st);
        OCT_TRY(oct_safetensors_read(&s->files[i], i, &s->arena, list));
    }
    return OCT_OK;
}

struct found {
    const char *name;
    uint32_t file;
};

static int by_found_name(const void *a, const void *b)
{
    return strcmp(((const struct found *)a)->name, ((const struct found *)b)->name);
}

/* Every tensor that the index lists lies in the shard it names. (One in two shards is found by
 * oct_source_open; one that is not listed does no harm.) */
static oct_status check_map(const struct oct_source *s, json_t *map, const char *const *names,
                            uint32_t n_names, const struct oct_tensor_list *list)
{
    struct found *sorted = oct_calloc(list->n, sizeof *sorted);
    if (!sorted) {
        return oct_no_memory("a list of tensors", list->n * sizeof *sorted);
    }
    for (uint32_t i = 0; i < list->n; i++) {
        sorted[i] = (struct found){.name = list->at[i].name, .file = list->at[i].file};
    }
    qsort(sorted, list->n, sizeof *sorted, by_found_name);
    oct_status st = OCT_OK;
    const char *key;
    json_t *value;
    json_object_foreach(map, key, value)
    {
        const char *shard = json_string_value(value);
        const struct found want = {.name = key};
        const char *const *at = bsearch(&shard, names, n_names, sizeof *names, by_text);
        const struct found *f = bsearch(&want, sorted, list->n, sizeof *sorted, by_found_name);
        OCT_ASSERT(at); /* names are the values of this map */
        /* In two shards: the search may meet either; both lie side by side. */
        for (; f && f > sorted && !strcmp(f[-1].name, key); f--) {
        }
        bool there = false;
        for (; f && f < sorted + list->n && !strcmp(f->name, key) && !there; f++) {
            there = f->file == (uint32_t)(at - names);
        }
        if (!there) {
            char quoted[128], file[128];
            st = OCT_FAIL(OCT_E_FORMAT,
                          "%s/%s: tensor \"%s\" is listed as being in %s, but it is absent there; "
                          "the files do not belong together",
                          s->path, index_name,
                          oct_error_quote(quoted, sizeof quoted, key, strlen(key)),
                          oct_error_quote(file, sizeof file, shard, strlen(shard)));
            break;
        }
    }
    oct_free(sorted);
    return st;
}

static oct_status open_indexed(struct oct_source *s, json_t *index, struct oct_tensor_list *list)
{
    json_t *map = json_object_get(index, "weight_map");
    const char **names = NULL;
    uint32_t n = 0;
    if (!json_is_object(map) || json_object_size(map) == 0) {
        return OCT_FAIL(OCT_E_FORMAT, "%s/%s: has no weight_map, or an empty one", s->path,
                        index_name);
    }
    OCT_TRY(shard_names(s, map, &names, &n));
    oct_status st = open_shards(s, names, n, list);
    if (st == OCT_OK) {
        st = check_map(s, map, names, n, list);
    }
    oct_free(names);
    return st;
}

oct_status oct_source_open_hf(struct oct_source *s, struct oct_tensor_list *list)
{
    json_t *index = NULL;
    OCT_TRY(load_configs(s));
    oct_status st = oct_json_load(s->path, index_name, MAX_INDEX_BYTES, &index);
    if (st == OCT_OK) {
        st = open_indexed(s, index, list);
        json_decref(index);
        return st;
    }
    if (st != OCT_E_NOTFOUND) {
        return st;
    }
    OCT_TRY(oct_source_alloc_files(s, 1));
    st = oct_file_open_in(s->path, single_name, &s->files[0]);
    if (st == OCT_E_NOTFOUND) {
        return no_weights(s);
    }
    OCT_TRY(st);
    return oct_safetensors_read(&s->files[0], 0, &s->arena, list);
}
