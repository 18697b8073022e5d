/* SPDX-License-Identifier: Apache-2.0
 *
 * ollama_models.c - the part of Ollama's API that tells what models there are: the one that is
 * served, under each of its names. */
#include "api/ollama.h"

#include "api/call.h"
#include "api/json_text.h"
#include "base/clock.h"
#include "engine/engine.h"

#include <ctype.h>
#include <inttypes.h>
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

/* What stands before it, and a string with its quotes. */
static oct_status put(struct oct_buf *out, const char *before, const char *text)
{
    OCT_TRY(oct_buf_append(out, before, strlen(before)));
    return oct_json_text(out, text, strlen(text));
}

/* The weights are used as `dtype`, whatever the file has. */
static oct_status put_details(const struct oct_api *a, struct oct_buf *out)
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
    OCT_TRY(put(out, ",\"details\":{\"parent_model\":\"\",\"format\":",
                is_gguf(a->config.model_path) ? "gguf" : "safetensors"));
    OCT_TRY(put(out, ",\"family\":", a->info.architecture));
    OCT_TRY(put(out, ",\"families\":[", a->info.architecture));
    OCT_TRY(put(out, "],\"parameter_size\":", parameter_size(a->info.n_params, size)));
    OCT_TRY(put(out, ",\"quantization_level\":", level));
    return oct_buf_append(out, "}", 1);
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

/* ---- what answers at once ---- */

/* One entry of tags and ps; the object stays open. */
static oct_status put_entry(const struct oct_api *a, const char *served, struct oct_buf *out)
{
    char name[NAME_BYTES], hex[65];
    tagged(served, name);
    OCT_TRY(put(out, "{\"name\":", name));
    OCT_TRY(put(out, ",\"model\":", name));
    OCT_TRY(put(out, ",\"digest\":", digest(a, hex)));
    OCT_TRY(oct_buf_printf(out, ",\"size\":%" PRIu64, a->info.weight_bytes));
    return put_details(a, out);
}

static oct_status put_modified(const struct oct_api *a, struct oct_buf *out)
{
    char at[OCT_OLLAMA_TIME_BYTES];
    return put(out, ",\"modified_at\":", modified_at(a, at));
}

/* It is never unloaded: that is a long way off. */
static oct_status put_running(const struct oct_api *a, struct oct_buf *out)
{
    const int64_t century_s = (int64_t)100 * 365 * 86400;
    const bool on_device = strcmp(a->info.device, "cpu") != 0;
    char at[OCT_OLLAMA_TIME_BYTES];
    OCT_TRY(put(out, ",\"expires_at\":", oct_ollama_time(oct_clock_wall_s() + century_s, at)));
    return oct_buf_printf(out, ",\"size_vram\":%" PRIu64 ",\"context_length\":%d",
                          on_device ? a->info.weight_bytes : 0, a->info.max_model_len);
}

static oct_status put_list(const struct oct_api *a,
                           oct_status (*more)(const struct oct_api *a, struct oct_buf *out),
                           struct oct_buf *out)
{
    static const char begin[] = "{\"models\":[", end[] = "]}";
    OCT_TRY(oct_buf_append(out, begin, sizeof begin - 1));
    for (size_t i = 0; i < a->config.n_model_names; i++) {
        OCT_TRY(oct_buf_append(out, ",", i ? 1 : 0));
        OCT_TRY(put_entry(a, a->config.model_names[i], out));
        OCT_TRY(more(a, out));
        OCT_TRY(oct_buf_append(out, "}", 1));
    }
    return oct_buf_append(out, end, sizeof end - 1);
}

static void send_list(struct oct_api *a, struct oct_http_exchange *x,
                      oct_status (*more)(const struct oct_api *a, struct oct_buf *out))
{
    struct oct_buf out = {0};
    if (put_list(a, more, &out) == OCT_OK) {
        oct_http_respond(x, 200, "application/json; charset=utf-8", out.data, out.len);
    } else {
        oct_api_send_error(a, x, 503, oct_last_error());
    }
    oct_buf_free(&out);
}

void oct_ollama_tags(struct oct_api *a, struct oct_http_exchange *x)
{
    send_list(a, x, put_modified);
}

void oct_ollama_ps(struct oct_api *a, struct oct_http_exchange *x)
{
    send_list(a, x, put_running);
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

/* Whether the chat template has a word for thoughts: it opens them, or is asked not to. A model
 * without a template that works for this has not. */
static oct_status can_think(const struct oct_api *a, bool *out)
{
    static const char hello[] = "[{\"role\":\"user\",\"content\":\"hello\"}]";
    char *with = NULL, *without = NULL;
    size_t n;
    oct_status st = oct_engine_chat_prompt(a->engine, hello, NULL, &with, &n);
    if (st == OCT_OK) {
        st = oct_engine_chat_prompt(a->engine, hello, "{\"enable_thinking\":false}", &without, &n);
    }
    *out = st == OCT_OK && (strcmp(with, without) != 0 || strstr(with, "<think>"));
    oct_buffer_free(with);
    oct_buffer_free(without);
    return st == OCT_E_MEM ? st : OCT_OK;
}

static oct_status put_model_info(const struct oct_api *a, struct oct_buf *out)
{
    const char *arch = a->info.architecture; /* a name of ours: no quotes in it */
    OCT_TRY(put(out, ",\"model_info\":{\"general.architecture\":", arch));
    return oct_buf_printf(out,
                          ",\"general.parameter_count\":%" PRIu64 ",\"%s.block_count\":%d,"
                          "\"%s.context_length\":%d,\"%s.vocab_size\":%d}",
                          a->info.n_params, arch, a->info.n_layers, arch, a->info.max_model_len,
                          arch, a->info.vocab_size);
}

static oct_status parse_show(struct oct_call *c, json_t *body)
{
    const struct oct_api *a = c->api;
    struct oct_buf *out = &c->reply;
    const char *name;
    const char *chat = a->engine->chat.given ? NULL : a->engine->vocab->chat_template;
    bool thinks;
    OCT_TRY(parse_name(a, body, &name));
    OCT_TRY(can_think(a, &thinks));
    OCT_TRY(put(out, "{\"license\":\"\",\"modelfile\":\"\",\"template\":", chat ? chat : ""));
    OCT_TRY(oct_buf_printf(out, ",\"parameters\":\"num_ctx %d\"", a->info.max_model_len));
    OCT_TRY(put_modified(a, out));
    OCT_TRY(put_details(a, out));
    OCT_TRY(put_model_info(a, out));
    return oct_buf_printf(out, ",\"capabilities\":[\"completion\"%s]}",
                          thinks ? ",\"thinking\"" : "");
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
