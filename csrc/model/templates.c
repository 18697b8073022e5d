/* SPDX-License-Identifier: Apache-2.0 */
#include "model/templates.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char default_name[] = "default";

void oct_templates_deinit(struct oct_templates *t)
{
    for (size_t i = 0; i < t->n; i++) {
        oct_free(t->item[i].name);
        oct_free(t->item[i].text);
    }
    oct_free(t->item);
    *t = (struct oct_templates){0};
}

static int find(const struct oct_templates *t, const char *name)
{
    for (size_t i = 0; i < t->n; i++) {
        if (!strcmp(t->item[i].name, name)) {
            return (int)i;
        }
    }
    return -1;
}

int oct_templates_pick(const struct oct_templates *t, const char *name, bool has_tools)
{
    if (name) {
        return find(t, name);
    }
    const int tool_use = has_tools ? find(t, "tool_use") : -1;
    return tool_use >= 0 ? tool_use : find(t, default_name);
}

oct_status oct_templates_not_found(const struct oct_templates *t, const char *name)
{
    char list[600] = "", quoted[100];
    size_t at = 0;
    for (size_t i = 0; i < t->n && at < sizeof list - 100; i++) {
        char one[80];
        oct_error_quote(one, sizeof one, t->item[i].name, strlen(t->item[i].name));
        at += (size_t)snprintf(list + at, sizeof list - at, "%s%s", i ? ", " : "", one);
    }
    if (t->n == 0) {
        return OCT_FAIL(OCT_E_NOTFOUND, "the model has no chat template%s%s",
                        name ? ", and there is no file " : "",
                        name ? oct_error_quote(quoted, sizeof quoted, name, strlen(name)) : "");
    }
    return OCT_FAIL(OCT_E_NOTFOUND, "the model has no chat template called \"%s\"; it has %s",
                    oct_error_quote(quoted, sizeof quoted, name ? name : default_name,
                                    strlen(name ? name : default_name)),
                    list);
}

/* ---- adding one ---- */

static oct_status check(const char *path, const char *where, const char *text, size_t len)
{
    if (len > OCT_TEMPLATE_MAX_BYTES) {
        return OCT_FAIL(OCT_E_LIMIT, "%s: %s has %zu bytes; a chat template may have %d", path,
                        where, len, OCT_TEMPLATE_MAX_BYTES);
    }
    if (memchr(text, '\0', len)) { /* it is handed on as a C string */
        return OCT_FAIL(OCT_E_FORMAT, "%s: %s has a NUL byte inside; it is no chat template", path,
                        where);
    }
    return OCT_OK;
}

/* A later one replaces an earlier one of the same name, as in a dict. */
static oct_status add(struct oct_templates *t, const char *path, const char *where,
                      const char *name, size_t name_len, const char *text, size_t len)
{
    OCT_TRY(check(path, where, text, len));
    if (name_len == 0 || name_len > OCT_TEMPLATE_MAX_NAME || memchr(name, '\0', name_len)) {
        return OCT_FAIL(OCT_E_FORMAT,
                        "%s: %s names a template with %zu bytes; 1 to %d, without NUL, are allowed",
                        path, where, name_len, OCT_TEMPLATE_MAX_NAME);
    }
    if (t->n == t->cap) {
        if (t->n == OCT_TEMPLATES_MAX) {
            return OCT_FAIL(OCT_E_LIMIT, "%s: over %d chat templates", path, OCT_TEMPLATES_MAX);
        }
        const size_t cap = t->cap ? 2 * t->cap : 4;
        struct oct_named_template *item = oct_realloc_array(t->item, cap, sizeof *item);
        if (!item) {
            return oct_no_memory("chat templates", cap * sizeof *item);
        }
        t->item = item;
        t->cap = cap;
    }
    struct oct_named_template fresh = {oct_strndup(name, name_len), oct_strndup(text, len)};
    if (!fresh.name || !fresh.text) {
        oct_free(fresh.name);
        oct_free(fresh.text);
        return oct_no_memory("a chat template", name_len + len + 2);
    }
    const int old = find(t, fresh.name);
    if (old >= 0) {
        oct_free(t->item[old].name);
        oct_free(t->item[old].text);
        t->item[old] = fresh;
    } else {
        t->item[t->n++] = fresh;
    }
    return OCT_OK;
}

/* ---- Hugging Face ---- */

/* The file dir/file as template `name`; nothing happens if there is none. */
static oct_status add_file(struct oct_templates *t, const char *dir, const char *file,
                           const char *name, size_t name_len)
{
    struct oct_file f = {0};
    char *text = NULL, quoted[160];
    size_t len;
    oct_status st = oct_file_open_in(dir, file, &f);
    if (st == OCT_E_NOTFOUND) {
        oct_error_clear();
        return OCT_OK;
    }
    OCT_TRY(st);
    st = oct_file_slurp(&f, OCT_TEMPLATE_MAX_BYTES, &text, &len);
    if (st == OCT_OK) {
        st = add(t, dir, oct_error_quote(quoted, sizeof quoted, file, strlen(file)), name, name_len,
                 text, len);
    }
    oct_file_close(&f);
    oct_free(text);
    return st;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static bool is_template(const struct dirent *e, size_t *name_len)
{
    static const char suffix[] = ".jinja";
    const size_t len = strlen(e->d_name), n = sizeof suffix - 1;
    *name_len = len - n;
    return len > n && e->d_name[0] != '.' && !strcmp(e->d_name + len - n, suffix);
}

/* Every NAME.jinja of dir, in order of names. */
static oct_status add_directory(struct oct_templates *t, const char *dir)
{
    const char *names[OCT_TEMPLATES_MAX];
    size_t n = 0, len;
    struct oct_arena arena = {0};
    oct_status st = OCT_OK;
    DIR *d = opendir(dir);
    if (!d) {
        return errno == ENOENT || errno == ENOTDIR
                   ? OCT_OK
                   : OCT_FAIL(OCT_E_IO, "%s: cannot be listed: %s", dir, strerror(errno));
    }
    for (const struct dirent *e; (e = readdir(d)) && st == OCT_OK;) {
        if (!is_template(e, &len)) {
            continue;
        }
        if (n == OCT_TEMPLATES_MAX) {
            st = OCT_FAIL(OCT_E_LIMIT, "%s: over %d chat templates", dir, OCT_TEMPLATES_MAX);
        } else if (!(names[n++] = oct_arena_strndup(&arena, e->d_name, strlen(e->d_name)))) {
            st = oct_no_memory("names of chat templates", len);
        }
    }
    (void)closedir(d);
    if (st == OCT_OK) {
        qsort(names, n, sizeof *names, by_name);
    }
    for (size_t i = 0; i < n && st == OCT_OK; i++) {
        st = add_file(t, dir, names[i], names[i], strlen(names[i]) - strlen(".jinja"));
    }
    oct_arena_free(&arena);
    return st;
}

static oct_status wrong_key(const char *dir, const char *wanted)
{
    return OCT_FAIL(OCT_E_FORMAT, "%s/tokenizer_config.json: key \"chat_template\" is not %s", dir,
                    wanted);
}

static oct_status add_config(struct oct_templates *t, const char *dir, const json_t *config)
{
    static const char where[] = "\"chat_template\" in tokenizer_config.json";
    const json_t *v = json_object_get(config, "chat_template");
    if (!v || json_is_null(v)) {
        return OCT_OK;
    }
    if (json_is_string(v)) {
        return add(t, dir, where, default_name, strlen(default_name), json_string_value(v),
                   json_string_length(v));
    }
    if (!json_is_array(v)) {
        return wrong_key(dir, "a string or a list of named templates");
    }
    for (size_t i = 0; i < json_array_size(v); i++) {
        const json_t *one = json_array_get(v, i);
        const json_t *name = json_object_get(one, "name"), *text = json_object_get(one, "template");
        if (!json_is_string(name) || !json_is_string(text)) {
            return wrong_key(dir, "a list of objects with \"name\" and \"template\"");
        }
        OCT_TRY(add(t, dir, where, json_string_value(name), json_string_length(name),
                    json_string_value(text), json_string_length(text)));
    }
    return OCT_OK;
}

oct_status oct_templates_load_hf(const char *dir, const json_t *tokenizer_config,
                                 struct oct_templates *out)
{
    struct oct_templates t = {0};
    struct oct_buf more = {0};
    oct_status st;
    OCT_TRY_GOTO(add_file(&t, dir, "chat_template.jinja", default_name, strlen(default_name)), st,
                 done);
    OCT_TRY_GOTO(oct_buf_printf(&more, "%s/additional_chat_templates", dir), st, done);
    OCT_TRY_GOTO(add_directory(&t, more.data), st, done);
    if (t.n == 0) { /* files replace what the configuration says, all of it */
        OCT_TRY_GOTO(add_config(&t, dir, tokenizer_config), st, done);
    }
    *out = t;
    t = (struct oct_templates){0};
done:
    oct_buf_free(&more);
    oct_templates_deinit(&t);
    return st;
}

/* ---- GGUF ---- */

oct_status oct_templates_load_gguf(const char *path, const struct oct_gguf *g,
                                   struct oct_templates *out)
{
    static const char key[] = "tokenizer.chat_template";
    const size_t key_len = sizeof key - 1;
    struct oct_templates t = {0};
    for (uint64_t i = 0; i < g->n_kvs; i++) {
        const struct oct_gguf_kv *kv = &g->kvs[i];
        const char *rest = kv->key.data + key_len;
        if (kv->key.len < key_len || memcmp(kv->key.data, key, key_len) != 0 ||
            (*rest != '\0' && *rest != '.')) {
            continue; /* tokenizer.chat_templates lists the names; the keys say them too */
        }
        char quoted[160], where[170];
        (void)snprintf(where, sizeof where, "\"%s\"",
                       oct_error_quote(quoted, sizeof quoted, kv->key.data, kv->key.len));
        oct_status st = OCT_OK;
        if (kv->type != OCT_GGUF_STRING) {
            st = OCT_FAIL(OCT_E_FORMAT, "%s: key %s is not a string", path, where);
        } else if (kv->v.s.len > 0) {
            const bool named = *rest == '.';
            st = add(&t, path, where, named ? rest + 1 : default_name,
                     named ? kv->key.len - key_len - 1 : strlen(default_name), kv->v.s.data,
                     kv->v.s.len);
        }
        if (st != OCT_OK) {
            oct_templates_deinit(&t);
            return st;
        }
    }
    *out = t;
    return OCT_OK;
}
