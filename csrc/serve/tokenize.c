/* SPDX-License-Identifier: Apache-2.0
 *
 * tokenize.c - octavo tokenize: the ids of a text, or the text of ids. */
#include "serve/command.h"

#include "serve/model_files.h"
#include "serve/terminal.h"

#include "base/utf8.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static oct_status push_id(struct oct_ids *ids, int32_t id)
{
    if (ids->len == ids->cap) {
        const size_t cap = ids->cap ? 2 * ids->cap : 256;
        int32_t *data = oct_realloc_array(ids->data, cap, sizeof *data);
        if (!data) {
            return oct_no_memory("token ids", cap * sizeof *data);
        }
        ids->data = data;
        ids->cap = cap;
    }
    ids->data[ids->len++] = id;
    return OCT_OK;
}

/* Ids with anything of " ,[]" and newlines between them: what this program and others print. */
static oct_status parse_ids(const char *text, int32_t n_tokens, struct oct_ids *ids)
{
    static const char between[] = " ,[]\t\r\n";
    for (const char *s = text + strspn(text, between); *s; s += strspn(s, between)) {
        char *end;
        errno = 0;
        const long long id = strtoll(s, &end, 10);
        const size_t len = strcspn(s, between);
        if (end != s + len || errno != 0 || id < 0 || id >= n_tokens) {
            char shown[64];
            oct_error_quote(shown, sizeof shown, s, len);
            return OCT_FAIL(OCT_E_ARG, "--decode: \"%s\" is not a token id of this model, 0 to %d",
                            shown, n_tokens - 1);
        }
        OCT_TRY(push_id(ids, (int32_t)id));
        s = end;
    }
    return OCT_OK;
}

static oct_status print_decoded(struct oct_output *out, const struct oct_params *p,
                                const struct oct_ids *ids, const struct oct_buf *text)
{
    if (oct_param_bool(p, OCT_P_JSON)) {
        json_t *o = json_pack("{s:s%, s:I}", "text", text->data ? text->data : "", text->len,
                              "n_tokens", (json_int_t)ids->len);
        if (!o) {
            return oct_no_memory("JSON output", text->len);
        }
        const oct_status st = oct_output_json(out, o, false);
        json_decref(o);
        return st;
    }
    OCT_TRY(oct_output_text(out, text->data ? text->data : "", text->len));
    return out->is_terminal && out->last_byte != '\n' ? oct_output_write(out, "\n", 1) : OCT_OK;
}

static oct_status decode(struct oct_output *out, const struct oct_params *p,
                         const struct oct_tokenizer *t, const char *ids_text)
{
    struct oct_ids ids = {0};
    struct oct_buf text = {0};
    oct_status st;
    OCT_TRY_GOTO(parse_ids(ids_text, oct_tokenizer_n_tokens(t), &ids), st, done);
    OCT_TRY_GOTO(
        oct_tokenizer_decode(t, ids.data, ids.len, !oct_param_bool(p, OCT_P_SPECIAL), &text), st,
        done);
    st = print_decoded(out, p, &ids, &text);
done:
    oct_ids_free(&ids);
    oct_buf_free(&text);
    return st;
}

/* Appends bytes as a C string would hold them; valid UTF-8 stays as it is. */
static oct_status append_quoted(struct oct_buf *b, const char *s, size_t len)
{
    OCT_TRY(oct_buf_append(b, "\"", 1));
    for (size_t i = 0; i < len;) {
        const unsigned char c = (unsigned char)s[i];
        const size_t n = oct_utf8_len(s + i, len - i);
        if (c == '"' || c == '\\') {
            OCT_TRY(oct_buf_printf(b, "\\%c", c));
        } else if (c == '\n') {
            OCT_TRY(oct_buf_printf(b, "\\n"));
        } else if (c == '\t') {
            OCT_TRY(oct_buf_printf(b, "\\t"));
        } else if (n == 0 || c < 0x20 || c == 0x7f) {
            OCT_TRY(oct_buf_printf(b, "\\x%02x", c));
        } else {
            OCT_TRY(oct_buf_append(b, s + i, n));
        }
        i += n ? n : 1;
    }
    return oct_buf_append(b, "\"", 1);
}

/* What decoding makes of the ids of a text. */
struct decoded {
    struct oct_buf text;
    bool same; /* it is the text again */
};

static oct_status decode_back(const struct oct_tokenizer *t, const struct oct_params *p,
                              const char *text, size_t len, const struct oct_ids *ids,
                              struct decoded *d)
{
    struct oct_ids bare = {0}; /* without what --bos puts around them */
    oct_status st = OCT_OK;
    if (oct_param_bool(p, OCT_P_BOS)) {
        st = oct_tokenizer_encode(
            t, text, len, oct_param_bool(p, OCT_P_SPECIAL) ? OCT_ENCODE_SPECIAL : 0u, &bare);
        ids = &bare;
    }
    if (st == OCT_OK) {
        st = oct_tokenizer_decode(t, ids->data, ids->len, false, &d->text);
    }
    d->same =
        st == OCT_OK && d->text.len == len && (len == 0 || memcmp(d->text.data, text, len) == 0);
    oct_ids_free(&bare);
    return st;
}

/* The counts, and in words what decoding gives. */
static oct_status note_counts(const struct oct_ids *ids, size_t n_bytes, const struct decoded *d)
{
    enum { SHOWN_BYTES = 500 };
    struct oct_buf other = {0};
    oct_status st = OCT_OK;
    if (!d->same) {
        const char *s = d->text.data ? d->text.data : "";
        size_t n = d->text.len < SHOWN_BYTES ? d->text.len : SHOWN_BYTES;
        while (n < d->text.len && n > 0 && ((unsigned char)s[n] & 0xc0) == 0x80) {
            n--;
        }
        st = append_quoted(&other, s, n);
        if (st == OCT_OK && n < d->text.len) {
            st = oct_buf_printf(&other, " and so on");
        }
    }
    if (st == OCT_OK) {
        oct_note("%zu token%s, %zu byte%s; decoding gives %s", ids->len, ids->len == 1 ? "" : "s",
                 n_bytes, n_bytes == 1 ? "" : "s", d->same ? "the same text" : other.data);
    }
    oct_buf_free(&other);
    return st;
}

static oct_status print_ids(struct oct_output *out, const struct oct_tokenizer *t,
                            const struct oct_ids *ids, size_t n_bytes, const struct decoded *d)
{
    struct oct_buf lines = {0};
    oct_status st = OCT_OK;
    for (size_t i = 0; i < ids->len; i++) {
        size_t len;
        const char *piece = oct_tokenizer_piece(t, ids->data[i], &len);
        OCT_TRY_GOTO(oct_buf_printf(&lines, "%8" PRId32 "  ", ids->data[i]), st, done);
        OCT_TRY_GOTO(append_quoted(&lines, piece, len), st, done);
        OCT_TRY_GOTO(oct_buf_append(&lines, "\n", 1), st, done);
    }
    OCT_TRY_GOTO(oct_output_text(out, lines.data ? lines.data : "", lines.len), st, done);
    st = note_counts(ids, n_bytes, d);
done:
    oct_buf_free(&lines);
    return st;
}

static oct_status print_ids_json(struct oct_output *out, const struct oct_tokenizer *t,
                                 const struct oct_ids *ids, size_t n_bytes, const struct decoded *d)
{
    json_t *id_list = json_array(), *pieces = json_array();
    struct oct_buf piece_text = {0};
    oct_status st = OCT_OK;
    bool ok = id_list && pieces;
    for (size_t i = 0; ok && i < ids->len; i++) {
        size_t len;
        const char *piece = oct_tokenizer_piece(t, ids->data[i], &len);
        oct_buf_clear(&piece_text);
        OCT_TRY_GOTO(oct_input_make_utf8(piece, len, &piece_text), st, done);
        ok = json_array_append_new(id_list, json_integer(ids->data[i])) == 0 &&
             json_array_append_new(
                 pieces, json_stringn(piece_text.data ? piece_text.data : "", piece_text.len)) == 0;
    }
    json_t *o =
        ok ? json_pack("{s:O, s:O, s:I, s:I, s:s%, s:b}", "ids", id_list, "pieces", pieces,
                       "n_tokens", (json_int_t)ids->len, "n_bytes", (json_int_t)n_bytes, "decoded",
                       d->text.data ? d->text.data : "", d->text.len, "decodes_back", d->same)
           : NULL;
    st = o ? oct_output_json(out, o, false) : oct_no_memory("JSON output", ids->len);
    json_decref(o);
done:
    json_decref(id_list);
    json_decref(pieces);
    oct_buf_free(&piece_text);
    return st;
}

static oct_status encode(struct oct_output *out, const struct oct_params *p,
                         const struct oct_tokenizer *t, const char *text, size_t len)
{
    struct oct_ids ids = {0};
    const unsigned flags = (oct_param_bool(p, OCT_P_SPECIAL) ? OCT_ENCODE_SPECIAL : 0u) |
                           (oct_param_bool(p, OCT_P_BOS) ? OCT_ENCODE_BOS_EOS : 0u);
    struct decoded d = {0};
    oct_status st = oct_tokenizer_encode(t, text, len, flags, &ids);
    if (st == OCT_OK) {
        st = decode_back(t, p, text, len, &ids, &d);
    }
    if (st == OCT_OK) {
        st = oct_param_bool(p, OCT_P_JSON) ? print_ids_json(out, t, &ids, len, &d)
                                           : print_ids(out, t, &ids, len, &d);
    }
    oct_ids_free(&ids);
    oct_buf_free(&d.text);
    return st;
}

/* What is to be worked on: the text or the ids. */
static oct_status read_input(const struct oct_params *p, const char *arg, struct oct_buf *out)
{
    const char *ids = oct_param_str(p, OCT_P_DECODE, NULL);
    if (ids && arg) {
        return OCT_FAIL(OCT_E_ARG, "--decode takes ids and no text; drop \"%.40s\"", arg);
    }
    const char *given = ids && strcmp(ids, "-") != 0 ? ids : arg;
    return given ? oct_buf_append(out, given, strlen(given)) : oct_input_slurp(0, out);
}

enum oct_exit oct_command_tokenize(const struct oct_params *p)
{
    const char *path;
    size_t next;
    struct oct_output out;
    struct oct_buf input = {0};
    struct oct_model_files m = {0};
    oct_status st;
    oct_output_init(&out, 1);
    OCT_TRY_GOTO(oct_command_model(p, &path, &next), st, done);
    OCT_TRY_GOTO(read_input(p, next < p->n_args ? p->args[next] : NULL, &input), st, done);
    oct_command_sandbox(p, path, NULL);
    OCT_TRY_GOTO(oct_model_files_open(path, &m), st, done);
    st = oct_param_is_set(p, OCT_P_DECODE)
             ? decode(&out, p, m.vocab->tokenizer, input.data ? input.data : "")
             : encode(&out, p, m.vocab->tokenizer, input.data ? input.data : "", input.len);
done:
    oct_model_files_close(&m);
    oct_buf_free(&input);
    return oct_output_finish(&out, st);
}
