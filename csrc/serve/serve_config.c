/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/serve_config.h"

#include "serve/terminal.h"

#include "base/io.h"

#include <stdio.h>
#include <string.h>

enum { KEY_FILE_BYTES = 1 << 20, MAX_NAME_BYTES = 256, MAX_ORIGINS = 256 };

static int64_t seconds(const struct oct_params *p, enum oct_param_id id)
{
    return (int64_t)(oct_param_float(p, id, 0) * 1e6);
}

/* ---- keys ---- */

struct keys {
    const char **list; /* [OCT_SERVE_MAX_KEYS], in the arena */
    size_t n;
};

/* A key goes into a header: printable, no spaces. The sentence never shows it. */
static oct_status add_key(struct keys *k, const char *key, const char *where, size_t number)
{
    const size_t len = strlen(key);
    if (len == 0 || len > OCT_SERVE_MAX_KEY_BYTES) {
        return OCT_FAIL(OCT_E_ARG, "%s: key %zu has %zu bytes; a key has 1 to %d", where, number,
                        len, OCT_SERVE_MAX_KEY_BYTES);
    }
    for (const char *c = key; *c; c++) {
        if (*c <= ' ' || *c > '~') {
            return OCT_FAIL(OCT_E_ARG, "%s: key %zu holds a space or a character that is not ASCII",
                            where, number);
        }
    }
    if (k->n == OCT_SERVE_MAX_KEYS) {
        return OCT_FAIL(OCT_E_LIMIT, "%s: more than %d keys", where, OCT_SERVE_MAX_KEYS);
    }
    k->list[k->n++] = key;
    return OCT_OK;
}

/* Lines of the file; empty ones and those that begin with # are left out. */
static oct_status add_lines(struct oct_arena *arena, struct keys *k, const char *path, char *text,
                            size_t len)
{
    size_t number = 0;
    if (memchr(text, '\0', len)) {
        return OCT_FAIL(OCT_E_FORMAT, "%s: has a NUL byte inside; it is no file of keys", path);
    }
    for (char *rest = text, *line; (line = strsep(&rest, "\n"));) {
        line += strspn(line, " \t\r");
        size_t n = strlen(line);
        while (n > 0 && strchr(" \t\r", line[n - 1])) {
            n--;
        }
        number++;
        if (n == 0 || *line == '#') {
            continue;
        }
        const char *key = oct_arena_strndup(arena, line, n);
        if (!key) {
            return oct_no_memory("the keys", n);
        }
        OCT_TRY(add_key(k, key, path, number));
    }
    return OCT_OK;
}

static oct_status add_file(struct oct_arena *arena, struct keys *k, const char *path)
{
    struct oct_file f;
    char *text = NULL;
    size_t len;
    oct_status st;
    OCT_TRY(oct_file_open(path, &f));
    OCT_TRY_GOTO(oct_file_slurp(&f, KEY_FILE_BYTES, &text, &len), st, done);
    const size_t before = k->n;
    OCT_TRY_GOTO(add_lines(arena, k, path, text, len), st, done);
    if (k->n == before) { /* else a server that was meant to be closed would be open */
        st = OCT_FAIL(OCT_E_ARG, "--api-key-file: %s holds no key", path);
    }
done:
    if (text) {
        explicit_bzero(text, len);
    }
    oct_free(text);
    oct_file_close(&f);
    return st;
}

static oct_status read_keys(const struct oct_params *p, struct oct_serve_config *c)
{
    const struct oct_param_value *v = &p->values[OCT_P_API_KEY];
    const char *path = oct_param_str(p, OCT_P_API_KEY_FILE, NULL);
    struct keys k = {0};
    if (v->n_list == 0 && !path) {
        return OCT_OK;
    }
    k.list = oct_arena_alloc(&c->arena, OCT_SERVE_MAX_KEYS * sizeof *k.list);
    if (!k.list) {
        return oct_no_memory("the keys", OCT_SERVE_MAX_KEYS * sizeof *k.list);
    }
    for (size_t i = 0; i < v->n_list; i++) {
        OCT_TRY(add_key(&k, v->list[i], "--api-key", i + 1));
    }
    if (path) {
        OCT_TRY(add_file(&c->arena, &k, path));
    }
    c->api.api_keys = k.list;
    c->api.n_api_keys = k.n;
    return OCT_OK;
}

/* ---- names ---- */

/* The last part of the model's path, slashes at its end left out. */
static const char *name_of_path(struct oct_arena *arena, const char *path)
{
    size_t end = strlen(path);
    while (end > 1 && path[end - 1] == '/') {
        end--;
    }
    size_t begin = end;
    while (begin > 0 && path[begin - 1] != '/') {
        begin--;
    }
    char *name = oct_arena_strndup(arena, path + begin, end - begin);
    char *clean = name ? oct_arena_alloc(arena, MAX_NAME_BYTES) : NULL;
    if (clean) {
        (void)oct_error_quote(clean, MAX_NAME_BYTES, *name ? name : "model",
                              strlen(*name ? name : "model"));
    }
    return clean;
}

static oct_status read_names(const struct oct_params *p, struct oct_serve_config *c)
{
    const struct oct_param_value *v = &p->values[OCT_P_SERVED_MODEL_NAME];
    if (v->n_list == 0) {
        const char **one = oct_arena_alloc(&c->arena, sizeof *one);
        if (!one || !(*one = name_of_path(&c->arena, c->model_path))) {
            return oct_no_memory("the model's name", MAX_NAME_BYTES);
        }
        c->api.model_names = one;
        c->api.n_model_names = 1;
        return OCT_OK;
    }
    if (v->n_list > OCT_SERVE_MAX_NAMES) {
        return OCT_FAIL(OCT_E_LIMIT, "--served-model-name: more than %d names",
                        OCT_SERVE_MAX_NAMES);
    }
    for (size_t i = 0; i < v->n_list; i++) {
        const size_t len = strlen(v->list[i]);
        if (len == 0 || len >= MAX_NAME_BYTES) {
            return OCT_FAIL(OCT_E_ARG, "--served-model-name: a name has 1 to %d bytes, not %zu",
                            MAX_NAME_BYTES - 1, len);
        }
        for (const char *s = v->list[i]; *s; s++) {
            if ((unsigned char)*s < 0x20 || *s == 0x7f) {
                return OCT_FAIL(OCT_E_ARG,
                                "--served-model-name: name %zu holds a control character", i + 1);
            }
        }
        OCT_TRY(oct_input_check_utf8("--served-model-name", v->list[i], len));
    }
    c->api.model_names = v->list;
    c->api.n_model_names = v->n_list;
    return OCT_OK;
}

static oct_status read_origins(const struct oct_params *p, struct oct_serve_config *c)
{
    const struct oct_param_value *v = &p->values[OCT_P_ALLOWED_ORIGINS];
    if (v->n_list > MAX_ORIGINS) {
        return OCT_FAIL(OCT_E_LIMIT, "--allowed-origins: more than %d origins", MAX_ORIGINS);
    }
    for (size_t i = 0; i < v->n_list; i++) {
        const char *o = v->list[i];
        const char *colon = strstr(o, "://");
        char shown[200];
        bool ok = !strcmp(o, "*") || (colon && colon > o && colon[3] && !strchr(colon + 3, '/'));
        for (const char *s = o; *s; s++) {
            ok = ok && *s > ' ' && *s <= '~';
        }
        if (!ok) {
            return OCT_FAIL(OCT_E_ARG,
                            "--allowed-origins: \"%s\" is no origin; write it as browsers do, "
                            "https://example.org or http://localhost:3000, or * for all",
                            oct_error_quote(shown, sizeof shown, o, strlen(o)));
        }
    }
    c->api.allowed_origins = v->list;
    c->api.n_allowed_origins = v->n_list;
    return OCT_OK;
}

/* ---- where ---- */

static bool is_loopback(const char *host)
{
    return !strncmp(host, "127.", 4) || !strcmp(host, "::1") || !strcmp(host, "localhost");
}

static oct_status read_place(const struct oct_params *p, struct oct_serve_config *c)
{
    c->host = oct_param_str(p, OCT_P_HOST, NULL);
    c->port = (uint16_t)oct_param_int(p, OCT_P_PORT, 0);
    c->uds = oct_param_str(p, OCT_P_UDS, NULL);
    c->cert_path = oct_param_str(p, OCT_P_SSL_CERTFILE, NULL);
    c->key_path = oct_param_str(p, OCT_P_SSL_KEYFILE, NULL);
    c->is_loopback = c->uds || is_loopback(c->host);
    if ((c->cert_path != NULL) != (c->key_path != NULL)) {
        return OCT_FAIL(OCT_E_ARG, "--ssl-certfile and --ssl-keyfile come together; %s is missing",
                        c->cert_path ? "--ssl-keyfile" : "--ssl-certfile");
    }
    if (c->uds && c->cert_path) {
        return OCT_FAIL(OCT_E_ARG,
                        "--uds and --ssl-certfile do not go together: a Unix socket does "
                        "not leave the machine");
    }
    return OCT_OK;
}

oct_status oct_serve_config_read(const struct oct_params *p, struct oct_serve_config *out)
{
    struct oct_serve_config c = {0};
    size_t next;
    oct_status st;
    c.http.n_connections = (int32_t)oct_param_int(p, OCT_P_MAX_CONNECTIONS, 0);
    c.http.body_bytes = (size_t)oct_param_int(p, OCT_P_MAX_BODY_BYTES, 0);
    c.http.keep_alive_us = seconds(p, OCT_P_TIMEOUT_KEEP_ALIVE);
    c.shutdown_us = seconds(p, OCT_P_SHUTDOWN_TIMEOUT);
    c.exit_on_device_failure = oct_param_bool(p, OCT_P_EXIT_ON_DEVICE_FAILURE);
    c.self_test_us = (int64_t)(oct_param_float(p, OCT_P_SELF_TEST_INTERVAL, 0) * 60e6);
    c.json_log = !strcmp(oct_param_str(p, OCT_P_LOG_FORMAT, "text"), "json");
    c.api.max_queued_requests = (int32_t)oct_param_int(p, OCT_P_MAX_QUEUED_REQUESTS, 0);
    c.api.watchdog_us = seconds(p, OCT_P_WATCHDOG_TIMEOUT);
    c.api.reasoning_parser = oct_param_str(p, OCT_P_REASONING_PARSER, NULL);
    c.api.log_requests = oct_param_bool(p, OCT_P_ENABLE_LOG_REQUESTS);
    OCT_TRY_GOTO(oct_command_model(p, &c.model_path, &next), st, fail);
    c.api.model_path = c.model_path;
    OCT_TRY_GOTO(read_place(p, &c), st, fail);
    OCT_TRY_GOTO(read_names(p, &c), st, fail);
    OCT_TRY_GOTO(read_origins(p, &c), st, fail);
    OCT_TRY_GOTO(read_keys(p, &c), st, fail);
    *out = c;
    return OCT_OK;
fail:
    oct_serve_config_deinit(&c);
    return st;
}

void oct_serve_config_deinit(struct oct_serve_config *c)
{
    oct_arena_free(&c->arena);
    *c = (struct oct_serve_config){0};
}
