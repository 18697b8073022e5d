/* SPDX-License-Identifier: Apache-2.0
 *
 * ollama_models.c - the part of Ollama's API that tells what models there are: the one that is
 * served, under each of its names. */
#include "api/ollama.h"

#include "api/call.h"
#include "base/clock.h"
#include "base/json.h"
#include "engine/engine.h"

#include <ctype.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* The version of Ollama whose API this is; clients ask for it and look whether it is new enough. */
static const char api_version[] = "0.12.11";

static const char tag[] = ":latest";
enum { TAG_LEN = sizeof tag - 1, NAME_BYTES = 512 };

oct_status oct_ollama_check_model(const struct oct_api *a, const char *name)
{
    const char *served;
    char shorter[NAME_BYTES];
    const oct_status st = oct_call_check_model(a, name, &served);
    const size_t len = strlen(name);
    if (st != OCT_E_NOTFOUND || len <= TAG_LEN || len >= sizeof shorter ||
        strcmp(name + len - TAG_LEN, tag) != 0) {
        return st;
    }
    (void)snprintf(shorter, sizeof shorter, "%.*s", (int)(len - TAG_LEN), name);
    return oct_call_check_model(a, shorter, &served);
}

/* "llama" is shown as "llama:latest": a name has a tag there. */
static const char *tagged(const char *name, char dst[NAME_BYTES])
{
    const char *last = strrchr(name, '/');
    (void)snprintf(dst, NAME_BYTES, "%s%s", name, strchr(last ? last : name, ':') ? "" : tag);
    return dst;
}

/* ---- facts ---- */

/* "134.52M", "7.62B". */
static const char *parameter_size(uint64_t n, char dst[32])
{
    (void)snprintf(dst, 32, n >= 1000000000 ? "%.2fB" : "%.2fM",
                   (double)n / (n >= 1000000000 ? 1e9 : 1e6));
    return dst;
}

static bool is_gguf(const char *path)
{
    const size_t len = path ? strlen(path) : 0;
    return len > 5 && strcmp(path + len - 5, ".gguf") == 0;
}

/* The weights are used as `dtype`, whatever the file has. */
static json_t *details(const struct oct_api *a)
{
    char size[32], level[16];
    size_t n = 0;
    const char *dtype = strcmp(a->info.dtype, "bfloat16") == 0  ? "bf16"
                        : strcmp(a->info.dtype, "float32") == 0 ? "f32"
                                                                : a->info.dtype;
    for (; dtype[n] && n + 1 < sizeof level; n++) {
        level[n] = (char)toupper((unsigned char)dtype[n]);
    }
    level[n] = '\0';
    return json_pack("{s:s, s:s, s:s, s:[s], s:s, s:s}", "parent_model", "", "format",
                     is_gguf(a->config.model_path) ? "gguf" : "safetensors", "family",
                     a->info.architecture, "families", a->info.architecture, "parameter_size",
                     parameter_size(a->info.n_params, size), "quantization_level", level);
}

/* Tells one model from another, in the form clients expect; not a hash of the weights. */
static const char *digest(const struct oct_api *a, char dst[65])
{
    char facts[1024];
    unsigned char sum[32];
    const int n =
        snprintf(facts, sizeof facts, "%s %s %s %llu %llu", a->config.model_names[0],
                 a->info.architecture, a->info.dtype, (unsigned long long)a->info.n_params,
                 (unsigned long long)a->info.weight_bytes);
    const size_t len = n < 0 ? 0 : (size_t)n < sizeof facts ? (size_t)n : sizeof facts - 1;
    if (!EVP_Digest(facts, len, sum, NULL, EVP_sha256(), NULL)) {
        memset(sum, 0, sizeof sum); /* no memory: a digest of nothing */
    }
    for (size_t i = 0; i < sizeof sum; i++) {
        (void)snprintf(dst + 2 * i, 3, "%02x", sum[i]);
    }
    return dst;
}

static const char *modified_at(const struct oct_api *a, char dst[OCT_OLLAMA_TIME_BYTES])
{
    struct stat st;
    const bool is_known = a->config.model_path && stat(a->config.model_path, &st) == 0;
    return oct_ollama_time(is_known ? (int64_t)st.st_mtime : 0, dst);
}

/* One entry of tags and ps. */
static json_t *entry(const struct oct_api *a, const char *served)
{
    char name[NAME_BYTES], hex[65];
    tagged(served, name);
    return json_pack("{s:s, s:s, s:I, s:s, s:o}", "name", name, "model", name, "size",
                     (json_int_t)a->info.weight_bytes, "digest", digest(a, hex), "details",
                     details(a));
}

/* ---- what answers at once ---- */

static void send_list(struct oct_api *a, struct oct_http_exchange *x,
                      bool (*add)(const struct oct_api *a, json_t *one))
{
    json_t *list = json_array();
    for (size_t i = 0; list && i < a->config.n_model_names; i++) {
        json_t *one = entry(a, a->config.model_names[i]);
        if (!one || !add(a, one) || json_array_append(list, one) != 0) {
            json_decref(list);
            list = NULL;
        }
        json_decref(one);
    }
    oct_api_send_json(a, x, 200, list ? json_pack("{s:o}", "models", list) : NULL);
}

static bool add_modified(const struct oct_api *a, json_t *one)
{
    char at[OCT_OLLAMA_TIME_BYTES];
    return json_object_set_new(one, "modified_at", json_string(modified_at(a, at))) == 0;
}

void oct_ollama_tags(struct oct_api *a, struct oct_http_exchange *x)
{
    send_list(a, x, add_modified);
}

/* It is never unloaded: that is a long way off. */
static bool add_running(const struct oct_api *a, json_t *one)
{
    const int64_t century_s = (int64_t)100 * 365 * 86400;
    const bool on_device = strcmp(a->info.device, "cpu") != 0;
    char at[OCT_OLLAMA_TIME_BYTES];
    oct_ollama_time(oct_clock_wall_s() + century_s, at);
    return json_object_set_new(one, "expires_at", json_string(at)) == 0 &&
           json_object_set_new(one, "size_vram",
                               json_integer(on_device ? (json_int_t)a->info.weight_bytes : 0)) ==
               0 &&
           json_object_set_new(one, "context_length", json_integer(a->info.max_model_len)) == 0;
}

void oct_ollama_ps(struct oct_api *a, struct oct_http_exchange *x)
{
    send_list(a, x, add_running);
}

void oct_ollama_version(struct oct_api *a, struct oct_http_exchange *x)
{
    oct_api_send_json(a, x, 200,
                      json_pack("{s:s, s:s}", "version", api_version, "octavo", oct_version()));
}

void oct_ollama_refuse(struct oct_api *a, struct oct_http_exchange *x)
{
    static const struct {
        const char *path, *sentence;
    } known[] = {
        {"/api/embed", "this server makes no embeddings"},
        {"/api/embeddings", "this server makes no embeddings"},
    };
    const char *sentence = "this server serves the one model it was started with; models are not "
                           "created, copied, pushed or deleted here";
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        sentence = strcmp(oct_http_path(x), known[i].path) == 0 ? known[i].sentence : sentence;
    }
    oct_api_send_error(a, x, 501, sentence);
}

/* ---- show and pull: calls that the engine sees nothing of ---- */

/* "model", which older clients call "name". */
static oct_status parse_name(const struct oct_api *a, const json_t *body, const char **out)
{
    const json_t *v = json_object_get(body, "model");
    v = v ? v : json_object_get(body, "name");
    if (!json_is_string(v) || strlen(json_string_value(v)) != json_string_length(v)) {
        return OCT_FAIL(OCT_E_ARG, "model must be a name");
    }
    OCT_TRY(oct_ollama_check_model(a, json_string_value(v)));
    *out = json_string_value(v);
    return OCT_OK;
}

/* Whether the chat template has a word for thoughts: it opens them, or is asked not to. */
static bool can_think(const struct oct_api *a)
{
    static const char hello[] = "[{\"role\":\"user\",\"content\":\"hello\"}]";
    char *with = NULL, *without = NULL;
    size_t n;
    bool can = false;
    if (oct_engine_chat_prompt(a->engine, hello, NULL, &with, &n) == OCT_OK &&
        oct_engine_chat_prompt(a->engine, hello, "{\"enable_thinking\":false}", &without, &n) ==
            OCT_OK) {
        can = strcmp(with, without) != 0 || strstr(with, "<think>");
    }
    oct_buffer_free(with);
    oct_buffer_free(without);
    return can;
}

static json_t *model_info(const struct oct_api *a)
{
    const char *arch = a->info.architecture;
    const struct {
        const char *key;
        json_int_t value;
    } rows[] = {
        {"block_count", a->info.n_layers},
        {"context_length", a->info.max_model_len},
        {"vocab_size", a->info.vocab_size},
    };
    json_t *o = json_pack("{s:s, s:I}", "general.architecture", arch, "general.parameter_count",
                          (json_int_t)a->info.n_params);
    for (size_t i = 0; o && i < sizeof rows / sizeof *rows; i++) {
        char key[64];
        (void)snprintf(key, sizeof key, "%s.%s", arch, rows[i].key);
        if (json_object_set_new(o, key, json_integer(rows[i].value)) != 0) {
            json_decref(o);
            return NULL;
        }
    }
    return o;
}

static oct_status parse_show(struct oct_call *c, json_t *body)
{
    const struct oct_api *a = c->api;
    const char *name;
    const char *chat = a->engine->chat.given ? NULL : a->engine->vocab->chat_template;
    char at[OCT_OLLAMA_TIME_BYTES], parameters[64];
    OCT_TRY(parse_name(a, body, &name));
    (void)snprintf(parameters, sizeof parameters, "num_ctx %d", a->info.max_model_len);
    json_t *o =
        json_pack("{s:s, s:s, s:s, s:s, s:o, s:o, s:s}", "license", "", "modelfile", "",
                  "parameters", parameters, "template", chat ? chat : "", "details", details(a),
                  "model_info", model_info(a), "modified_at", modified_at(a, at));
    json_t *capabilities = can_think(a) ? json_pack("[s, s]", "completion", "thinking")
                                        : json_pack("[s]", "completion");
    if (!o || json_object_set_new(o, "capabilities", capabilities) != 0) {
        json_decref(o);
        return oct_no_memory("what is known of the model", 1);
    }
    const oct_status st = oct_json_append(&c->reply, o, JSON_COMPACT);
    json_decref(o);
    return st;
}

/* What is to be fetched is here already, or is not to be had. */
static oct_status parse_pull(struct oct_call *c, json_t *body)
{
    const char *name;
    static const char done[] = "{\"status\":\"success\"}\n";
    OCT_TRY(parse_name(c->api, body, &name));
    return oct_buf_append(&c->reply, done, sizeof done - 1);
}

static oct_status error(const struct oct_call *c, int http_status, const char *sentence,
                        bool in_stream, struct oct_buf *out)
{
    (void)c, (void)http_status;
    return oct_ollama_write_error(sentence, in_stream, out);
}

const struct oct_format oct_format_ollama_show = {
    .whole_type = "application/json; charset=utf-8",
    .id_prefix = "ollama-",
    .parse = parse_show,
    .error = error,
};

const struct oct_format oct_format_ollama_pull = {
    .whole_type = "application/x-ndjson",
    .id_prefix = "ollama-",
    .parse = parse_pull,
    .error = error,
};
