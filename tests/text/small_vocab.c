/* SPDX-License-Identifier: Apache-2.0 */
#include "small_vocab.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

char *small_vocab_json(const char *file, const json_t *members)
{
    json_t *root = golden_json(file), *model = json_object_get(root, "model");
    cr_assert_not_null(model, "%s", file);
    json_t *source = (json_t *)(uintptr_t)members; /* the iterators take no const */
    for (void *i = json_object_iter(source); i; i = json_object_iter_next(source, i)) {
        const char *key = json_object_iter_key(i);
        json_t *value = json_object_iter_value(i);
        cr_assert_eq(strcmp(key, "model") == 0 ? json_object_update(model, value)
                                               : json_object_set(root, key, value),
                     0);
    }
    char *json = json_dumps(root, JSON_COMPACT);
    cr_assert_not_null(json);
    json_decref(root);
    return json;
}

struct oct_tokenizer *small_vocab_config(const char *file, const char *members, const char *config)
{
    json_t *o = json_loads(members, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
    cr_assert_not_null(o, "%s", members);
    char *json = small_vocab_json(file, o);
    struct oct_tokenizer *t = NULL;
    cr_assert_eq(
        oct_tokenizer_from_json(json, strlen(json), config, config ? strlen(config) : 0, &t),
        OCT_OK, "%s: %s", members, oct_last_error());
    free(json);
    json_decref(o);
    return t;
}

struct oct_tokenizer *small_vocab(const char *file, const char *members)
{
    return small_vocab_config(file, members, NULL);
}
