/* SPDX-License-Identifier: Apache-2.0
 *
 * info.c - octavo info: what a model is and how much memory it will take. */
#include "serve/command.h"

#include "serve/format.h"
#include "serve/model_files.h"
#include "serve/open_engine.h"
#include "serve/terminal.h"

#include "arch/arch.h"
#include "engine/pick_device.h"
#include "engine/plan.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

struct dtype_use {
    uint64_t n_tensors, n_bytes;
};

/* All that is shown, gathered once; both printers read it. */
struct info {
    const char *path;
    struct oct_model_files files;
    struct dtype_use use[OCT_N_DTYPES];
    struct dtype_use all;
    uint64_t file_bytes;
    struct oct_plan plan;
    char device[128];       /* what computes */
    uint64_t memory_bytes;  /* of it; 0: unknown */
    uint64_t free_bytes;    /* of a CUDA device, now */
    char does_not_fit[512]; /* empty if it does */
};

static const char *const rope_names[] = {[OCT_ROPE_DEFAULT] = "default",
                                         [OCT_ROPE_LINEAR] = "linear",
                                         [OCT_ROPE_LLAMA3] = "llama3",
                                         [OCT_ROPE_YARN] = "yarn"};

static oct_status make_plan(const struct oct_params *p, struct info *i)
{
    struct oct_engine_options o = oct_command_options(p, i->path);
    struct oct_device *device;
    OCT_TRY(oct_device_pick(o.device, 1, &device));
    oct_status st = oct_device_gemm_provider(device, o.gemm_provider);
    if (st != OCT_OK) {
        oct_dev_close(device);
        return st;
    }
    oct_command_note_products(&o);
    o.max_num_seqs = (int32_t)oct_param_int(p, OCT_P_MAX_NUM_SEQS, device->host_memory ? 1 : 0);
    i->memory_bytes = device->memory_bytes;
    i->free_bytes = device->host_memory ? 0 : device->free_bytes;
    (void)snprintf(i->device, sizeof i->device, "%s",
                   device->host_memory ? "the CPU" : device->about);
    st = oct_plan_make(&i->files.config, &o, device, true, &i->plan);
    if (st == OCT_E_MEM) { /* too large for this device: worth knowing, and by how much */
        (void)snprintf(i->does_not_fit, sizeof i->does_not_fit, "%s", oct_last_error());
        st = oct_plan_make(&i->files.config, &o, device, false, &i->plan);
    }
    oct_dev_close(device);
    return st;
}

static oct_status gather(const struct oct_params *p, const char *path, struct info *out)
{
    struct info *i = out;
    i->path = path;
    OCT_TRY(oct_model_files_open(path, &i->files));
    const struct oct_source *s = i->files.source;
    for (uint32_t t = 0; t < s->n_tensors; t++) {
        const struct oct_tensor *x = &s->tensors[t];
        i->use[x->dtype].n_tensors++;
        i->use[x->dtype].n_bytes += x->size_bytes;
        i->all.n_tensors++;
        i->all.n_bytes += x->size_bytes;
    }
    for (uint32_t f = 0; f < s->n_files; f++) {
        i->file_bytes += s->files[f].size_bytes;
    }
    return make_plan(p, i);
}

/* ---- pieces of text ---- */

/* "gpt2 smollm" of a GGUF file, "Qwen2Tokenizer" of a Hugging Face directory, as they say it. */
static void tokenizer_kind(const struct oct_source *s, char *dst, size_t size)
{
    struct oct_gguf_str model = {0}, pre = {0};
    dst[0] = '\0';
    if (s->gguf) {
        if (oct_gguf_str(s->gguf, "tokenizer.ggml.model", &model) != OCT_OK) {
            return;
        }
        oct_error_quote(dst, size, model.data, model.len);
        const size_t used = strlen(dst);
        if (oct_gguf_str(s->gguf, "tokenizer.ggml.pre", &pre) == OCT_OK && used + 16 < size) {
            dst[used] = ' ';
            oct_error_quote(dst + used + 1, size - used - 1, pre.data, pre.len);
        }
        return;
    }
    const json_t *name = json_object_get(s->tokenizer_config, "tokenizer_class");
    if (json_is_string(name)) {
        oct_error_quote(dst, size, json_string_value(name), json_string_length(name));
    }
}

static oct_status append_piece(struct oct_buf *b, const struct oct_tokenizer *t, int32_t id)
{
    char shown[64];
    size_t len;
    const char *piece = oct_tokenizer_piece(t, id, &len);
    oct_error_quote(shown, sizeof shown, piece, len);
    return oct_buf_printf(b, "%" PRId32 " \"%s\"", id, shown);
}

static oct_status append_rope(struct oct_buf *b, const struct oct_rope_config *r)
{
    OCT_TRY(oct_buf_printf(b, "%s, theta %g", rope_names[r->kind], r->theta));
    if (r->kind != OCT_ROPE_DEFAULT) {
        OCT_TRY(oct_buf_printf(b, ", factor %g", r->factor));
    }
    if (r->kind == OCT_ROPE_LLAMA3 || r->kind == OCT_ROPE_YARN) {
        OCT_TRY(oct_buf_printf(b, " over %d tokens", r->original_max_positions));
    }
    if (r->kind == OCT_ROPE_LLAMA3) {
        OCT_TRY(oct_buf_printf(b, ", frequency factors %g to %g", r->low_freq_factor,
                               r->high_freq_factor));
    }
    if (r->kind == OCT_ROPE_YARN) {
        OCT_TRY(oct_buf_printf(b, ", beta %g to %g", r->beta_slow, r->beta_fast));
    }
    return OCT_OK;
}

static oct_status append_recommended(struct oct_buf *b, const struct oct_model_config *c)
{
    const struct {
        const char *name;
        double value;
        bool said;
    } rows[] = {
        {"temperature", (double)c->temperature, !isnan(c->temperature)},
        {"top-p", (double)c->top_p, !isnan(c->top_p)},
        {"min-p", (double)c->min_p, !isnan(c->min_p)},
        {"top-k", c->top_k, c->top_k >= 0},
        {"repetition penalty", (double)c->repetition_penalty, !isnan(c->repetition_penalty)}};
    const char *comma = "";
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (rows[i].said) {
            OCT_TRY(oct_buf_printf(b, "%s%s %g", comma, rows[i].name, rows[i].value));
            comma = ", ";
        }
    }
    return *comma ? OCT_OK : oct_buf_printf(b, "not said");
}

/* ---- as text ---- */

#define ROW(name, ...) \
    do { \
        OCT_TRY(oct_buf_printf(b, "%-16s", name)); \
        OCT_TRY(oct_buf_printf(b, __VA_ARGS__)); \
        OCT_TRY(oct_buf_append(b, "\n", 1)); \
    } while (0)

static oct_status append_shape(struct oct_buf *b, const struct info *i)
{
    const struct oct_model_config *c = &i->files.config;
    char count[OCT_FORMAT_BYTES], exact[OCT_FORMAT_BYTES], name[64];
    oct_error_quote(name, sizeof name, c->arch_name, strlen(c->arch_name));
    ROW("architecture", "%s (%s)", oct_arch_text(c->arch), name);
    ROW("parameters", "%s (%s)", oct_format_count(count, i->plan.n_params),
        oct_format_exact(exact, i->plan.n_params));
    ROW("layers", "%d", c->n_layers);
    ROW("width", "%d, feed-forward %d", c->dim, c->ff_dim);
    ROW("heads", "%d, key/value heads %d, each %d wide%s%s", c->n_heads, c->n_kv_heads, c->head_dim,
        c->qkv_bias ? ", with bias" : "", c->qk_norm ? ", with q and k norm" : "");
    ROW("vocabulary", "%s, %s", oct_format_exact(exact, (uint64_t)c->vocab_size),
        c->tied ? "the head is the embedding" : "a head of its own");
    ROW("context", "%s tokens", oct_format_exact(exact, (uint64_t)c->max_positions));
    OCT_TRY(oct_buf_printf(b, "%-16s", "rope"));
    OCT_TRY(append_rope(b, &c->rope));
    OCT_TRY(oct_buf_append(b, "\n", 1));
    if (c->window > 0 && c->window_from_layer > 0) {
        ROW("window", "%d tokens from layer %d on", c->window, c->window_from_layer);
    } else if (c->window > 0) {
        ROW("window", "%d tokens", c->window);
    } else {
        ROW("window", "none");
    }
    return OCT_OK;
}

static oct_status append_tensors(struct oct_buf *b, const struct info *i)
{
    char size[OCT_FORMAT_BYTES];
    const char *comma = "";
    OCT_TRY(oct_buf_printf(b, "%-16s%" PRIu64 " (", "tensors", i->all.n_tensors));
    for (int t = 0; t < OCT_N_DTYPES; t++) {
        const struct dtype_use *u = &i->use[t];
        if (u->n_tensors > 0) {
            OCT_TRY(oct_buf_printf(b, "%s%" PRIu64 " %s %s", comma, u->n_tensors,
                                   oct_dtype_info((enum oct_dtype)t)->name,
                                   oct_format_size(size, u->n_bytes)));
            comma = ", ";
        }
    }
    return oct_buf_printf(b, ")\n");
}

static oct_status append_vocab(struct oct_buf *b, const struct info *i)
{
    const struct oct_vocab *v = i->files.vocab;
    const struct oct_tokenizer *t = v->tokenizer;
    char exact[OCT_FORMAT_BYTES], kind[96];
    tokenizer_kind(i->files.source, kind, sizeof kind);
    OCT_TRY(oct_buf_printf(b, "%-16s%s%s%s tokens", "tokenizer", kind, *kind ? ", " : "",
                           oct_format_exact(exact, (uint64_t)oct_tokenizer_n_tokens(t))));
    if (oct_tokenizer_bos(t) >= 0) {
        OCT_TRY(oct_buf_printf(b, ", begins with "));
        OCT_TRY(append_piece(b, t, oct_tokenizer_bos(t)));
        OCT_TRY(oct_buf_printf(b, "%s", oct_tokenizer_adds_bos(t) ? "" : " if asked to"));
    }
    OCT_TRY(oct_buf_printf(b, "\n%-16s%s\n%-16s", "chat template", v->chat_template ? "yes" : "no",
                           "stop tokens"));
    for (int32_t s = 0; s < v->n_stop_tokens; s++) {
        OCT_TRY(oct_buf_printf(b, "%s", s ? ", " : ""));
        OCT_TRY(append_piece(b, t, v->stop_tokens[s]));
    }
    OCT_TRY(oct_buf_printf(b, "%s\n%-16s", v->n_stop_tokens ? "" : "none", "recommended"));
    OCT_TRY(append_recommended(b, &i->files.config));
    return oct_buf_append(b, "\n", 1);
}

static const char *plan_dtype(const struct oct_plan *p)
{
    return p->dtype == K_F32 ? "float32" : "bfloat16";
}

static oct_status append_plan(struct oct_buf *b, const struct info *i)
{
    const struct oct_plan *p = &i->plan;
    char size[OCT_FORMAT_BYTES], each[OCT_FORMAT_BYTES], n[OCT_FORMAT_BYTES];
    OCT_TRY(oct_buf_printf(b, "\nmemory on %s in %s, %d request%s of up to %s tokens\n", i->device,
                           plan_dtype(p), p->max_num_seqs, p->max_num_seqs == 1 ? "" : "s",
                           oct_format_exact(n, (uint64_t)p->max_model_len)));
    ROW("  weights", "%s", oct_format_size(size, p->weight_bytes));
    ROW("  KV cache", "%s for %s tokens, %s each", oct_format_size(size, p->kv_cache_bytes),
        oct_format_exact(n, p->kv_cache_bytes / p->kv_bytes_per_token),
        oct_format_size(each, p->kv_bytes_per_token));
    ROW("  workspace", "%s", oct_format_size(size, p->workspace_bytes));
    OCT_TRY(oct_buf_printf(b, "%-16s%s", "  total", oct_format_size(size, p->total_bytes)));
    if (i->memory_bytes) {
        OCT_TRY(oct_buf_printf(b, " of %s", oct_format_size(size, i->memory_bytes)));
    }
    if (i->free_bytes) {
        OCT_TRY(oct_buf_printf(b, ", %s of them free", oct_format_size(size, i->free_bytes)));
    }
    return *i->does_not_fit ? oct_buf_printf(b, "\ndoes not fit: %s\n", i->does_not_fit)
                            : oct_buf_append(b, "\n", 1);
}

static oct_status append_text(struct oct_buf *b, const struct info *i)
{
    const struct oct_source *s = i->files.source;
    char size[OCT_FORMAT_BYTES];
    ROW("model", "%s", i->path);
    if (s->kind == OCT_SOURCE_GGUF) {
        ROW("format", "GGUF version %" PRIu32 ", %" PRIu32 " file%s, %s", s->gguf->version,
            s->n_files, s->n_files == 1 ? "" : "s", oct_format_size(size, i->file_bytes));
    } else {
        ROW("format", "safetensors, %" PRIu32 " file%s, %s", s->n_files, s->n_files == 1 ? "" : "s",
            oct_format_size(size, i->file_bytes));
    }
    OCT_TRY(append_shape(b, i));
    OCT_TRY(append_tensors(b, i));
    OCT_TRY(append_vocab(b, i));
    return append_plan(b, i);
}

/* ---- as JSON ---- */

static json_t *number_or_null(float v)
{
    return isnan(v) ? json_null() : json_real((double)v);
}

static json_t *rope_json(const struct oct_rope_config *r)
{
    json_t *o = json_pack("{s:s, s:f, s:i}", "kind", rope_names[r->kind], "theta", r->theta,
                          "rot_dim", r->rot_dim);
    bool ok = o != NULL;
    if (ok && r->kind != OCT_ROPE_DEFAULT) {
        ok = json_object_set_new(o, "factor", json_real(r->factor)) == 0;
    }
    if (ok && (r->kind == OCT_ROPE_LLAMA3 || r->kind == OCT_ROPE_YARN)) {
        ok = json_object_set_new(o, "original_context_length",
                                 json_integer(r->original_max_positions)) == 0;
    }
    if (ok && r->kind == OCT_ROPE_LLAMA3) {
        ok = json_object_set_new(o, "low_freq_factor", json_real(r->low_freq_factor)) == 0 &&
             json_object_set_new(o, "high_freq_factor", json_real(r->high_freq_factor)) == 0;
    }
    if (ok && r->kind == OCT_ROPE_YARN) {
        ok = json_object_set_new(o, "beta_fast", json_real(r->beta_fast)) == 0 &&
             json_object_set_new(o, "beta_slow", json_real(r->beta_slow)) == 0;
    }
    if (!ok) {
        json_decref(o);
        return NULL;
    }
    return o;
}

static json_t *dtypes_json(const struct info *i)
{
    json_t *list = json_array();
    for (int t = 0; list && t < OCT_N_DTYPES; t++) {
        const struct dtype_use *u = &i->use[t];
        if (u->n_tensors > 0 &&
            json_array_append_new(list, json_pack("{s:s, s:I, s:I}", "dtype",
                                                  oct_dtype_info((enum oct_dtype)t)->name,
                                                  "tensors", (json_int_t)u->n_tensors, "bytes",
                                                  (json_int_t)u->n_bytes)) != 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

static json_t *stop_tokens_json(const struct oct_vocab *v)
{
    json_t *list = json_array();
    for (int32_t s = 0; list && s < v->n_stop_tokens; s++) {
        char shown[64];
        size_t len;
        const char *piece = oct_tokenizer_piece(v->tokenizer, v->stop_tokens[s], &len);
        oct_error_quote(shown, sizeof shown, piece, len);
        if (json_array_append_new(
                list, json_pack("{s:i, s:s}", "id", v->stop_tokens[s], "text", shown)) != 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

static json_t *model_json(const struct info *i)
{
    const struct oct_source *s = i->files.source;
    const struct oct_model_config *c = &i->files.config;
    char name[64];
    oct_error_quote(name, sizeof name, c->arch_name, strlen(c->arch_name));
    return json_pack(
        "{s:s, s:I, s:I, s:s, s:s, s:I, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:b, s:b, s:b, s:i, "
        "s:i, s:i, s:o, s:o}",
        "format", s->kind == OCT_SOURCE_GGUF ? "gguf" : "safetensors", "files",
        (json_int_t)s->n_files, "file_bytes", (json_int_t)i->file_bytes, "architecture",
        oct_arch_text(c->arch), "architecture_name", name, "parameters",
        (json_int_t)i->plan.n_params, "layers", c->n_layers, "dim", c->dim, "ff_dim", c->ff_dim,
        "heads", c->n_heads, "kv_heads", c->n_kv_heads, "head_dim", c->head_dim, "vocab_size",
        c->vocab_size, "tied_embeddings", c->tied, "qkv_bias", c->qkv_bias, "qk_norm", c->qk_norm,
        "context_length", c->max_positions, "sliding_window", c->window, "window_from_layer",
        c->window_from_layer, "rope", rope_json(&c->rope), "dtypes", dtypes_json(i));
}

static json_t *vocab_json(const struct info *i)
{
    const struct oct_vocab *v = i->files.vocab;
    char kind[96];
    tokenizer_kind(i->files.source, kind, sizeof kind);
    return json_pack("{s:{s:s, s:i, s:i, s:i, s:b}, s:b, s:o}", "tokenizer", "kind", kind,
                     "n_tokens", oct_tokenizer_n_tokens(v->tokenizer), "bos",
                     oct_tokenizer_bos(v->tokenizer), "eos", oct_tokenizer_eos(v->tokenizer),
                     "adds_bos", oct_tokenizer_adds_bos(v->tokenizer), "chat_template",
                     v->chat_template != NULL, "stop_tokens", stop_tokens_json(v));
}

static json_t *plan_json(const struct info *i)
{
    const struct oct_model_config *c = &i->files.config;
    const struct oct_plan *p = &i->plan;
    return json_pack(
        "{s:{s:o, s:o, s:o, s:i, s:o}, s:{s:s, s:i, s:i, s:i, s:I, s:I, s:I, s:I, s:I, s:I, s:b, "
        "s:s}}",
        "recommended", "temperature", number_or_null(c->temperature), "top_p",
        number_or_null(c->top_p), "min_p", number_or_null(c->min_p), "top_k", c->top_k,
        "repetition_penalty", number_or_null(c->repetition_penalty), "memory_plan", "dtype",
        plan_dtype(p), "max_model_len", p->max_model_len, "max_num_seqs", p->max_num_seqs,
        "max_num_batched_tokens", p->max_num_batched_tokens, "weight_bytes",
        (json_int_t)p->weight_bytes, "kv_bytes_per_token", (json_int_t)p->kv_bytes_per_token,
        "kv_cache_bytes", (json_int_t)p->kv_cache_bytes, "workspace_bytes",
        (json_int_t)p->workspace_bytes, "total_bytes", (json_int_t)p->total_bytes, "machine_bytes",
        (json_int_t)i->memory_bytes, "fits", *i->does_not_fit == '\0', "device", i->device);
}

static oct_status print_json(struct oct_output *out, const struct info *i)
{
    json_t *parts[] = {model_json(i), vocab_json(i), plan_json(i)};
    json_t *all = json_object();
    bool ok = all != NULL;
    for (size_t p = 0; p < sizeof parts / sizeof *parts; p++) {
        ok = ok && json_object_update(all, parts[p]) == 0;
        json_decref(parts[p]);
    }
    const oct_status st = ok ? oct_output_json(out, all, true) : oct_no_memory("JSON output", 1);
    json_decref(all);
    return st;
}

static oct_status print_text(struct oct_output *out, const struct info *i)
{
    struct oct_buf text = {0};
    oct_status st = append_text(&text, i);
    if (st == OCT_OK) {
        st = oct_output_text(out, text.data, text.len);
    }
    oct_buf_free(&text);
    return st;
}

enum oct_exit oct_command_info(const struct oct_params *p)
{
    const char *path;
    size_t next;
    struct oct_output out;
    struct info i = {0};
    oct_status st;
    oct_output_init(&out, 1);
    OCT_TRY_GOTO(oct_command_model(p, &path, &next), st, done);
    oct_command_sandbox(p, path, NULL);
    OCT_TRY_GOTO(gather(p, path, &i), st, done);
    st = oct_param_bool(p, OCT_P_JSON) ? print_json(&out, &i) : print_text(&out, &i);
done:
    oct_model_files_close(&i.files);
    return oct_output_finish(&out, st);
}
