/* SPDX-License-Identifier: Apache-2.0
 *
 * routes.c - what there is to ask for. One row an endpoint. */
#include "api/routes.h"

#include "api/ollama.h"

#include <stdio.h>
#include <string.h>

enum { OPEN = OCT_ROUTE_OPEN, ENGINE = OCT_ROUTE_ENGINE };

#define OPENAI &oct_format_chat /* for errors */
#define OLLAMA &oct_format_ollama_chat

// clang-format off
const struct oct_route oct_routes[] = {
    {OCT_HTTP_GET, "/", OPEN, OPENAI, oct_api_page},
    {OCT_HTTP_GET, "/health", OPEN, OPENAI, oct_api_health},
    {OCT_HTTP_GET, "/ping", OPEN, OPENAI, oct_api_health},
    {OCT_HTTP_POST, "/ping", OPEN, OPENAI, oct_api_health},
    {OCT_HTTP_GET, "/ready", OPEN, OPENAI, oct_api_ready},
    {OCT_HTTP_GET, "/version", OPEN, OPENAI, oct_api_version},
    {OCT_HTTP_GET, "/metrics", 0, OPENAI, oct_api_metrics},
    {OCT_HTTP_GET, "/v1/models", 0, OPENAI, oct_api_models},
    {OCT_HTTP_GET, "/v1/models/{id}", 0, OPENAI, oct_api_model},
    {OCT_HTTP_POST, "/v1/chat/completions", ENGINE, &oct_format_chat, NULL},
    {OCT_HTTP_POST, "/v1/completions", ENGINE, &oct_format_completions, NULL},
    {OCT_HTTP_POST, "/tokenize", ENGINE, &oct_format_tokenize, NULL},
    {OCT_HTTP_POST, "/detokenize", ENGINE, &oct_format_detokenize, NULL},
    {OCT_HTTP_GET, "/tokenizer_info", ENGINE, OPENAI, oct_api_tokenizer_info},
    {OCT_HTTP_POST, "/api/generate", ENGINE, &oct_format_ollama_generate, NULL},
    {OCT_HTTP_POST, "/api/chat", ENGINE, &oct_format_ollama_chat, NULL},
    {OCT_HTTP_POST, "/api/show", ENGINE, &oct_format_ollama_show, NULL},
    {OCT_HTTP_POST, "/api/pull", ENGINE, &oct_format_ollama_pull, NULL},
    {OCT_HTTP_GET, "/api/tags", ENGINE, OLLAMA, oct_ollama_tags},
    {OCT_HTTP_GET, "/api/ps", ENGINE, OLLAMA, oct_ollama_ps},
    {OCT_HTTP_GET, "/api/version", 0, OLLAMA, oct_ollama_version},
    {OCT_HTTP_POST, "/api/embed", 0, OLLAMA, oct_ollama_refuse},
    {OCT_HTTP_POST, "/api/embeddings", 0, OLLAMA, oct_ollama_refuse},
    {OCT_HTTP_POST, "/api/create", 0, OLLAMA, oct_ollama_refuse},
    {OCT_HTTP_POST, "/api/copy", 0, OLLAMA, oct_ollama_refuse},
    {OCT_HTTP_POST, "/api/push", 0, OLLAMA, oct_ollama_refuse},
    {OCT_HTTP_DELETE, "/api/delete", 0, OLLAMA, oct_ollama_refuse},
};
// clang-format on
const size_t oct_n_routes = sizeof oct_routes / sizeof *oct_routes;

static const char ID[] = "{id}";

/* The length of what stands before {id}; the whole path if there is none. */
static size_t fixed_len(const struct oct_route *r)
{
    const char *id = strstr(r->path, ID);
    return id ? (size_t)(id - r->path) : strlen(r->path);
}

static bool matches(const struct oct_route *r, const char *path)
{
    const size_t n = fixed_len(r);
    return r->path[n] == '\0' ? !strcmp(path, r->path)
                              : !strncmp(path, r->path, n) && path[n] != '\0';
}

static bool answers(const struct oct_route *r, enum oct_http_method m)
{
    return r->method == m || (r->method == OCT_HTTP_GET && m == OCT_HTTP_HEAD);
}

const struct oct_route *oct_route_find(const char *path, enum oct_http_method m,
                                       const struct oct_route **other)
{
    *other = NULL;
    for (size_t i = 0; i < oct_n_routes; i++) {
        if (matches(&oct_routes[i], path)) {
            if (answers(&oct_routes[i], m)) {
                return &oct_routes[i];
            }
            *other = &oct_routes[i];
        }
    }
    return NULL;
}

static int hex(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

oct_status oct_route_rest(const struct oct_route *r, const struct oct_http_exchange *x, char *dst,
                          size_t size)
{
    const char *s = oct_http_path(x) + fixed_len(r);
    size_t n = 0;
    for (; *s; s++) {
        int c = (unsigned char)*s;
        if (c == '%') {
            const int high = hex(s[1]), low = high < 0 ? -1 : hex(s[2]);
            if (low < 0) {
                return OCT_FAIL(OCT_E_ARG, "the path has a %% without two hexadecimal digits");
            }
            c = high * 16 + low;
            s += 2;
        }
        if (c < 0x20 || c == 0x7f || n + 1 >= size) {
            return OCT_FAIL(OCT_E_ARG, "the end of the path is no name");
        }
        dst[n++] = (char)c;
    }
    dst[n] = '\0';
    return OCT_OK;
}

/* ---- models ---- */

static json_t *model_object(const struct oct_api *a, const char *name)
{
    json_t *o = json_pack("{s:s, s:s, s:I, s:s, s:s?, s:n}", "id", name, "object", "model",
                          "created", (json_int_t)a->created_s, "owned_by", "octavo", "root",
                          a->config.model_path, "parent");
    if (o && a->engine &&
        json_object_set_new(o, "max_model_len", json_integer(a->info.max_model_len)) != 0) {
        json_decref(o);
        return NULL;
    }
    return o;
}

void oct_api_models(struct oct_api *a, struct oct_http_exchange *x)
{
    json_t *list = json_array();
    for (size_t i = 0; list && i < a->config.n_model_names; i++) {
        if (json_array_append_new(list, model_object(a, a->config.model_names[i])) != 0) {
            json_decref(list);
            list = NULL;
        }
    }
    oct_api_send_json(a, x, 200,
                      list ? json_pack("{s:s, s:o}", "object", "list", "data", list) : NULL);
}

void oct_api_model(struct oct_api *a, struct oct_http_exchange *x)
{
    const struct oct_route *other;
    const struct oct_route *r = oct_route_find(oct_http_path(x), OCT_HTTP_GET, &other);
    char name[512];
    const char *found;
    if (oct_route_rest(r, x, name, sizeof name) != OCT_OK) {
        oct_api_send_error(a, x, 400, oct_last_error());
    } else if (oct_call_check_model(a, name, &found) != OCT_OK) {
        oct_api_send_error(a, x, 404, oct_last_error());
    } else {
        oct_api_send_json(a, x, 200, model_object(a, found));
    }
}
