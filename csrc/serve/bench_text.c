/* SPDX-License-Identifier: Apache-2.0
 *
 * bench_text.c - how fast text becomes tokens and back, and how fast a conversation becomes a
 * prompt; beside Hugging Face's own tools where Python has them. */
#include "serve/bench.h"
#include "serve/format.h"
#include "serve/model_files.h"

#include "base/clock.h"
#include "base/io.h"
#include "text/chat.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum {
    CHUNK_BYTES = 64 << 10, /* one document; both sides get the same ones */
    TEXT_BYTES = 4 << 20,
    MAX_TOKENIZER_BYTES = 128 << 20,
    N_MESSAGES = 10,
    MESSAGE_BYTES = 300,
    RENDERS = 100, /* a round */
};

struct subject {
    const char *path;
    bool is_tokenizer_file; /* a tokenizer.json alone */
    struct oct_model_files m;
    struct oct_tokenizer *own; /* of such a file */
    const struct oct_tokenizer *tokenizer;
    struct oct_template *chat; /* NULL: none */
    char *tokenizer_json;      /* its path; NULL: the model has none */
};

struct figures {
    int64_t load_us, encode_us, decode_us, render_us_x100;
    uint64_t n_ids, ids_hash;
};

static void close_subject(struct subject *s)
{
    oct_template_destroy(s->chat);
    oct_tokenizer_destroy(s->own);
    oct_model_files_close(&s->m);
    oct_free(s->tokenizer_json);
    *s = (struct subject){0};
}

static oct_status load_file(const char *path, struct oct_tokenizer **out)
{
    struct oct_file f = {0};
    char *text = NULL;
    size_t len;
    oct_status st;
    OCT_TRY(oct_file_open(path, &f));
    OCT_TRY_GOTO(oct_file_slurp(&f, MAX_TOKENIZER_BYTES, &text, &len), st, done);
    st = oct_tokenizer_from_json(text, len, NULL, 0, out);
done:
    oct_free(text);
    oct_file_close(&f);
    return st;
}

/* Opens it `rounds` times; the last one stays. */
static oct_status open_subject(const char *path, int rounds, struct subject *out, int64_t *load_us)
{
    int64_t us[OCT_BENCH_MAX_ROUNDS];
    struct subject s = {.path = path};
    const size_t len = strlen(path);
    oct_status st = OCT_OK;
    s.is_tokenizer_file = len > 5 && !strcmp(path + len - 5, ".json");
    if (!s.is_tokenizer_file) {
        OCT_TRY(oct_source_open(path, &s.m.source));
        OCT_TRY_GOTO(oct_config_load(s.m.source, &s.m.config), st, fail);
    }
    for (int i = 0; i < rounds; i++) {
        oct_tokenizer_destroy(s.own);
        oct_vocab_destroy(s.m.vocab);
        s.own = NULL;
        s.m.vocab = NULL;
        const int64_t start = oct_clock_us();
        OCT_TRY_GOTO(s.is_tokenizer_file ? load_file(path, &s.own)
                                         : oct_vocab_load(s.m.source, &s.m.config, &s.m.vocab),
                     st, fail);
        us[i] = oct_clock_us() - start;
    }
    s.tokenizer = s.is_tokenizer_file ? s.own : s.m.vocab->tokenizer;
    const char *source = s.m.vocab ? s.m.vocab->chat_template : NULL;
    if (source) {
        OCT_TRY_GOTO(oct_template_compile(source, strlen(source), &s.chat), st, fail);
    }
    if (s.is_tokenizer_file || s.m.source->kind == OCT_SOURCE_HF) {
        struct oct_buf b = {0};
        st = s.is_tokenizer_file ? oct_buf_append(&b, path, len)
                                 : oct_buf_printf(&b, "%s/tokenizer.json", path);
        s.tokenizer_json = b.data;
        if (st != OCT_OK) {
            goto fail;
        }
    }
    *load_us = oct_bench_median(us, rounds);
    *out = s;
    return OCT_OK;
fail:
    close_subject(&s);
    return st;
}

static void hash_ids(const struct oct_ids *ids, uint64_t *h)
{
    for (size_t i = 0; i < ids->len; i++) {
        for (int b = 0; b < 32; b += 8) {
            *h = (*h ^ (((uint32_t)ids->data[i] >> b) & 0xff)) * 0x100000001b3ull;
        }
    }
}

static oct_status encode_all(const struct oct_tokenizer *t, const struct oct_buf *text,
                             struct oct_ids *docs)
{
    for (size_t i = 0, d = 0; i < text->len; i += CHUNK_BYTES, d++) {
        const size_t n = text->len - i < CHUNK_BYTES ? text->len - i : CHUNK_BYTES;
        docs[d].len = 0;
        OCT_TRY(oct_tokenizer_encode(t, text->data + i, n, 0, &docs[d]));
    }
    return OCT_OK;
}

static oct_status measure_text(const struct subject *s, const struct oct_buf *text, int rounds,
                               struct figures *f)
{
    int64_t encode_us[OCT_BENCH_MAX_ROUNDS], decode_us[OCT_BENCH_MAX_ROUNDS];
    const size_t n_docs = (text->len + CHUNK_BYTES - 1) / CHUNK_BYTES;
    struct oct_buf back = {0};
    oct_status st = OCT_OK;
    struct oct_ids *docs = oct_calloc(n_docs ? n_docs : 1, sizeof *docs);
    if (!docs) {
        return oct_no_memory("documents", n_docs * sizeof *docs);
    }
    for (int r = 0; r < rounds; r++) {
        int64_t start = oct_clock_us();
        OCT_TRY_GOTO(encode_all(s->tokenizer, text, docs), st, done);
        encode_us[r] = oct_clock_us() - start;
        start = oct_clock_us();
        for (size_t d = 0; d < n_docs; d++) {
            oct_buf_clear(&back);
            OCT_TRY_GOTO(oct_tokenizer_decode(s->tokenizer, docs[d].data, docs[d].len, true, &back),
                         st, done);
        }
        decode_us[r] = oct_clock_us() - start;
    }
    f->encode_us = oct_bench_median(encode_us, rounds);
    f->decode_us = oct_bench_median(decode_us, rounds);
    f->n_ids = 0;
    f->ids_hash = 0xcbf29ce484222325ull;
    for (size_t d = 0; d < n_docs; d++) {
        f->n_ids += docs[d].len;
        hash_ids(&docs[d], &f->ids_hash);
    }
done:
    for (size_t d = 0; d < n_docs; d++) {
        oct_ids_free(&docs[d]);
    }
    oct_free(docs);
    oct_buf_free(&back);
    return st;
}

/* A conversation of N_MESSAGES turns as the variables of a template. */
static oct_status conversation(const struct subject *s, json_t **out)
{
    json_t *messages = json_array();
    struct oct_buf text = {0};
    oct_status st = OCT_OK;
    bool ok = messages != NULL;
    for (int i = 0; ok && i < N_MESSAGES; i++) {
        oct_buf_clear(&text);
        OCT_TRY_GOTO(oct_bench_prose((uint64_t)i, MESSAGE_BYTES, &text), st, done);
        ok = json_array_append_new(messages,
                                   json_pack("{s:s, s:s}", "role", i % 2 ? "assistant" : "user",
                                             "content", text.data)) == 0;
    }
    const char *bos = s->m.vocab->bos_text, *eos = s->m.vocab->eos_text;
    json_t *o =
        ok ? json_pack("{s:O, s:b, s:s, s:s}", "messages", messages, "add_generation_prompt", 1,
                       "bos_token", bos ? bos : "", "eos_token", eos ? eos : "")
           : NULL;
    if (!o) {
        st = oct_no_memory("a conversation", N_MESSAGES * MESSAGE_BYTES);
        goto done;
    }
    *out = o;
done:
    json_decref(messages);
    oct_buf_free(&text);
    return st;
}

static oct_status measure_render(const struct oct_template *t, const json_t *vars, int rounds,
                                 struct figures *f)
{
    int64_t us[OCT_BENCH_MAX_ROUNDS];
    struct oct_buf b = {0};
    oct_status st = OCT_OK;
    for (int r = 0; st == OCT_OK && r < rounds; r++) {
        const int64_t start = oct_clock_us();
        for (int i = 0; st == OCT_OK && i < RENDERS; i++) {
            oct_buf_clear(&b);
            st = oct_template_render(t, vars, 0, &b);
        }
        us[r] = oct_clock_us() - start;
    }
    f->render_us_x100 = st == OCT_OK ? oct_bench_median(us, rounds) : 0;
    oct_buf_free(&b);
    return st;
}

static oct_status ask_peer(const struct oct_params *p, const struct subject *s,
                           const struct oct_buf *text, const json_t *vars, int rounds,
                           struct oct_bench_peer *peer)
{
    struct oct_buf vars_json = {0};
    if (vars) {
        OCT_TRY(oct_json_append(&vars_json, vars, 0));
    }
    const struct oct_bench_peer_job job = {
        .python = oct_param_str(p, OCT_P_PYTHON, "python3"),
        .tokenizer_json = s->tokenizer_json,
        .text = text->data,
        .len = text->len,
        .chunk_bytes = CHUNK_BYTES,
        .chat_template = vars ? s->m.vocab->chat_template : NULL,
        .vars_json = vars_json.data,
        .rounds = rounds,
    };
    oct_status st = oct_bench_peer_run(&job, peer);
    oct_buf_free(&vars_json);
    if (st == OCT_E_NOTFOUND && !oct_param_is_set(p, OCT_P_PYTHON)) {
        oct_note("octavo: no comparison: %s", oct_last_error());
        *peer = (struct oct_bench_peer){0};
        return OCT_OK;
    }
    if (st == OCT_OK && s->tokenizer_json && !peer->has_tokenizers) {
        oct_note("octavo: no comparison: %s has no package \"tokenizers\"; see --python",
                 job.python);
    }
    return st;
}

/* ---- results ---- */

static double mb_per_s(size_t bytes, double us)
{
    return us > 0 ? (double)bytes / us : 0;
}

static oct_status row(struct oct_output *out, const char *what, const char *unit, int digits,
                      double ours, bool has_peer, double peers)
{
    char line[160], theirs[48] = "";
    if (has_peer) {
        (void)snprintf(theirs, sizeof theirs, "%12.*f %s", digits, peers, unit);
    }
    const int n =
        snprintf(line, sizeof line, "%-26s %12.*f %-5s %s\n", what, digits, ours, unit, theirs);
    return oct_output_write(out, line, (size_t)n);
}

static oct_status print_table(struct oct_output *out, const struct figures *f, size_t bytes,
                              bool has_render, const struct oct_bench_peer *peer)
{
    char line[160], name[64] = "";
    const bool t = peer->has_tokenizers;
    if (t) {
        (void)snprintf(name, sizeof name, "tokenizers %s", peer->tokenizers_version);
    }
    int n = snprintf(line, sizeof line, "%-26s %12s %-5s %18s\n", "one thread", "octavo", "", name);
    OCT_TRY(oct_output_write(out, line, (size_t)n));
    OCT_TRY(row(out, "tokenizer ready", "ms", 1, (double)f->load_us / 1e3, t, peer->load_us / 1e3));
    OCT_TRY(row(out, "encode", "MB/s", 1, mb_per_s(bytes, (double)f->encode_us), t,
                mb_per_s(bytes, peer->encode_us)));
    OCT_TRY(row(out, "decode", "MB/s", 1, mb_per_s(bytes, (double)f->decode_us), t,
                mb_per_s(bytes, peer->decode_us)));
    if (has_render) {
        OCT_TRY(row(out, "render 10 messages", "us", 1, (double)f->render_us_x100 / RENDERS,
                    peer->has_jinja, peer->render_us));
    }
    char exact[OCT_FORMAT_BYTES];
    n = snprintf(line, sizeof line, "%s tokens%s\n", oct_format_exact(exact, f->n_ids),
                 !t                              ? ""
                 : peer->ids_hash == f->ids_hash ? ", the same ids on both sides"
                                                 : "; the other side's ids DIFFER");
    return oct_output_write(out, line, (size_t)n);
}

static oct_status print_json(struct oct_output *out, const struct figures *f, size_t bytes,
                             bool has_render, const struct oct_bench_peer *peer)
{
    json_t *o =
        json_pack("{s:s, s:I, s:I, s:f, s:f, s:f}", "suite", "text", "text_bytes",
                  (json_int_t)bytes, "tokens", (json_int_t)f->n_ids, "load_us", (double)f->load_us,
                  "encode_mb_per_s", mb_per_s(bytes, (double)f->encode_us), "decode_mb_per_s",
                  mb_per_s(bytes, (double)f->decode_us));
    bool ok = o != NULL;
    if (ok && has_render) {
        ok = json_object_set_new(o, "render_us", json_real((double)f->render_us_x100 / RENDERS)) ==
             0;
    }
    if (ok && peer->has_tokenizers) {
        ok = json_object_set_new(o, "tokenizers",
                                 json_pack("{s:s, s:f, s:f, s:f, s:b}", "version",
                                           peer->tokenizers_version, "load_us", peer->load_us,
                                           "encode_mb_per_s", mb_per_s(bytes, peer->encode_us),
                                           "decode_mb_per_s", mb_per_s(bytes, peer->decode_us),
                                           "same_ids", peer->ids_hash == f->ids_hash)) == 0;
    }
    if (ok && peer->has_jinja) {
        ok = json_object_set_new(o, "jinja2",
                                 json_pack("{s:s, s:f}", "version", peer->jinja_version,
                                           "render_us", peer->render_us)) == 0;
    }
    const oct_status st = ok ? oct_output_json(out, o, false) : oct_no_memory("JSON output", 1);
    json_decref(o);
    return st;
}

static oct_status read_text(const struct oct_params *p, struct oct_buf *text)
{
    const char *path = oct_param_str(p, OCT_P_INPUT, NULL);
    if (!path) {
        return oct_bench_prose(1, TEXT_BYTES, text);
    }
    struct oct_file f = {0};
    char *data = NULL;
    size_t len;
    OCT_TRY(oct_file_open(path, &f));
    oct_status st = oct_file_slurp(&f, OCT_INPUT_MAX_BYTES, &data, &len);
    oct_file_close(&f);
    OCT_TRY(st);
    st = len ? oct_input_make_utf8(data, len, text)
             : OCT_FAIL(OCT_E_ARG, "%s is empty; there is nothing to measure with", path);
    oct_free(data);
    return st;
}

oct_status oct_bench_text(const struct oct_params *p, const char *path, struct oct_output *out)
{
    const int rounds = (int)oct_param_int(p, OCT_P_REPEAT, 5);
    struct oct_buf text = {0};
    struct subject s = {0};
    struct figures f = {0};
    struct oct_bench_peer peer = {0};
    json_t *vars = NULL;
    oct_status st;
    if (!path) {
        return OCT_FAIL(OCT_E_ARG, "no model is given; name a Hugging Face directory, a .gguf file "
                                   "or a tokenizer.json");
    }
    OCT_TRY_GOTO(read_text(p, &text), st, done);
    OCT_TRY_GOTO(open_subject(path, rounds, &s, &f.load_us), st, done);
    OCT_TRY_GOTO(measure_text(&s, &text, rounds, &f), st, done);
    if (s.chat) {
        OCT_TRY_GOTO(conversation(&s, &vars), st, done);
        OCT_TRY_GOTO(measure_render(s.chat, vars, rounds, &f), st, done);
    }
    OCT_TRY_GOTO(ask_peer(p, &s, &text, vars, rounds, &peer), st, done);
    st = oct_param_bool(p, OCT_P_JSON) ? print_json(out, &f, text.len, s.chat != NULL, &peer)
                                       : print_table(out, &f, text.len, s.chat != NULL, &peer);
done:
    json_decref(vars);
    close_subject(&s);
    oct_buf_free(&text);
    return st;
}
