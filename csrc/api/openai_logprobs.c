/* SPDX-License-Identifier: Apache-2.0 */
#include "api/json_text.h"
#include "api/openai.h"

#include <string.h>

typedef struct oct_buf buf;

static oct_status put(buf *out, const char *s)
{
    return oct_buf_append(out, s, strlen(s));
}

/* ---- chat ---- */

/* "token", "logprob", "bytes" */
static oct_status chat_members(const oct_engine *e, int32_t token, float logprob, buf *out)
{
    char *text;
    size_t len;
    OCT_TRY(oct_engine_detokenize(e, &token, 1, true, &text, &len));
    oct_status st = put(out, "\"token\":");
    st = st == OCT_OK ? oct_json_text(out, text, len) : st;
    st = st == OCT_OK ? put(out, ",\"logprob\":") : st;
    st = st == OCT_OK ? oct_json_logprob(out, logprob) : st;
    st = st == OCT_OK ? put(out, ",\"bytes\":[") : st;
    for (size_t i = 0; st == OCT_OK && i < len; i++) {
        st = oct_buf_printf(out, i ? ",%d" : "%d", (unsigned char)text[i]);
    }
    oct_buffer_free(text);
    return st == OCT_OK ? put(out, "]") : st;
}

/* {"content": [{..., "top_logprobs": [...]}, ...]} */
static oct_status chat_logprobs(const oct_engine *e, const struct oct_openai_answer *a, buf *out)
{
    size_t at = 0;
    OCT_TRY(put(out, "{\"content\":["));
    for (size_t i = 0; i < a->n_tokens; i++) {
        OCT_TRY(put(out, i ? ",{" : "{"));
        OCT_TRY(chat_members(e, a->tokens[i].token, a->tokens[i].logprob, out));
        OCT_TRY(put(out, ",\"top_logprobs\":["));
        for (int32_t t = 0; t < a->tokens[i].n_top; t++, at++) {
            OCT_TRY(put(out, t ? ",{" : "{"));
            OCT_TRY(chat_members(e, a->top[at].token, a->top[at].logprob, out));
            OCT_TRY(put(out, "}"));
        }
        OCT_TRY(put(out, "]}"));
    }
    return put(out, "]}");
}

/* ---- completions ---- */

/* The four lists, each in a buffer of its own. */
struct lists {
    const oct_engine *e;
    buf tokens, logprobs, top, offsets;
    size_t n;
};

/* Members of one object may not have the same name; different tokens may have the same text. */

struct members {
    buf names; /* as JSON, each with a NUL behind it */
    size_t n;
};

static bool is_member(const struct members *m, const char *name)
{
    const char *at = m->names.data;
    for (size_t i = 0; i < m->n; i++, at += strlen(at) + 1) {
        if (!strcmp(at, name)) {
            return true;
        }
    }
    return false;
}

static oct_status add_member(const oct_engine *e, struct members *m, int32_t token, float logprob,
                             buf *out)
{
    char *text;
    size_t len;
    buf name = {0};
    OCT_TRY(oct_engine_detokenize(e, &token, 1, true, &text, &len));
    oct_status st = oct_json_text(&name, text, len);
    oct_buffer_free(text);
    if (st == OCT_OK && !is_member(m, name.data)) {
        st = put(out, m->n ? "," : "");
        st = st == OCT_OK ? oct_buf_append(out, name.data, name.len) : st;
        st = st == OCT_OK ? put(out, ":") : st;
        st = st == OCT_OK ? oct_json_logprob(out, logprob) : st;
        st = st == OCT_OK ? oct_buf_append(&m->names, name.data, name.len + 1) : st;
        m->n++;
    }
    oct_buf_free(&name);
    return st;
}

/* {text: logprob, ...}: the most likely, and the token itself if it is none of them. */
static oct_status add_top(struct lists *l, const struct oct_token_logprob *top, int32_t n,
                          int32_t token, float logprob)
{
    struct members m = {0};
    oct_status st = put(&l->top, l->n ? ",{" : "{");
    bool is_there = false;
    for (int32_t i = 0; st == OCT_OK && i < n; i++) {
        st = add_member(l->e, &m, top[i].token, top[i].logprob, &l->top);
        is_there = is_there || top[i].token == token;
    }
    if (st == OCT_OK && !is_there) {
        st = add_member(l->e, &m, token, logprob, &l->top);
    }
    oct_buf_free(&m.names);
    return st == OCT_OK ? put(&l->top, "}") : st;
}

/* One token; its text has *chars characters. top NULL: the first of all, of which nothing is known.
 */
static oct_status add_token(struct lists *l, int32_t token, float logprob,
                            const struct oct_token_logprob *top, int32_t n_top, bool is_first,
                            size_t offset, size_t *chars)
{
    char *text;
    size_t len;
    OCT_TRY(oct_engine_detokenize(l->e, &token, 1, true, &text, &len));
    *chars = oct_utf8_chars(text, len);
    oct_status st = put(&l->tokens, l->n ? "," : "");
    st = st == OCT_OK ? oct_json_text(&l->tokens, text, len) : st;
    oct_buffer_free(text);
    OCT_TRY(st);
    OCT_TRY(oct_buf_printf(&l->offsets, l->n ? ",%zu" : "%zu", offset));
    OCT_TRY(put(&l->logprobs, l->n ? "," : ""));
    OCT_TRY(is_first ? put(&l->logprobs, "null") : oct_json_logprob(&l->logprobs, logprob));
    OCT_TRY(is_first ? put(&l->top, l->n ? ",null" : "null")
                     : add_top(l, top, n_top, token, logprob));
    l->n++;
    return OCT_OK;
}

static oct_status add_prompt(struct lists *l, const struct oct_openai_answer *a)
{
    size_t offset = 0, chars;
    for (int32_t i = 0; a->prompt && i < a->n_prompt; i++) {
        const struct oct_token_logprob *top =
            a->n_prompt_top > 0 ? a->prompt_top + (size_t)i * (size_t)a->n_prompt_top : NULL;
        OCT_TRY(add_token(l, a->prompt[i].token, a->prompt[i].logprob, top, a->n_prompt_top, i == 0,
                          offset, &chars));
        offset += chars;
    }
    return OCT_OK;
}

static oct_status add_answer(struct lists *l, const struct oct_openai_answer *a, size_t offset)
{
    size_t at = 0, bytes = 0, chars;
    for (size_t i = 0; i < a->n_tokens; i++) {
        const int32_t n_top = a->tokens[i].n_top;
        OCT_TRY(add_token(l, a->tokens[i].token, a->tokens[i].logprob, a->top + at, n_top, false,
                          offset, &chars));
        at += (size_t)n_top;
        offset += oct_utf8_chars(a->text.data + bytes, a->tokens[i].text_end - bytes);
        bytes = a->tokens[i].text_end;
    }
    return OCT_OK;
}

static oct_status join(const struct lists *l, buf *out)
{
    const struct {
        const char *name;
        const buf *list;
    } parts[] = {{"{\"text_offset\":[", &l->offsets},
                 {"],\"token_logprobs\":[", &l->logprobs},
                 {"],\"tokens\":[", &l->tokens},
                 {"],\"top_logprobs\":[", &l->top}};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        OCT_TRY(put(out, parts[i].name));
        OCT_TRY(oct_buf_append(out, parts[i].list->data, parts[i].list->len));
    }
    return put(out, "]}");
}

static oct_status text_logprobs(const oct_engine *e, const struct oct_openai_choice *c, buf *out)
{
    struct lists l = {.e = e};
    oct_status st = c->echo ? add_prompt(&l, c->echo) : OCT_OK;
    st = st == OCT_OK ? add_answer(&l, c->answer, c->n_chars_before) : st;
    st = st == OCT_OK ? join(&l, out) : st;
    oct_buf_free(&l.tokens);
    oct_buf_free(&l.logprobs);
    oct_buf_free(&l.top);
    oct_buf_free(&l.offsets);
    return st;
}

oct_status oct_openai_write_logprobs(const oct_engine *e, bool is_chat,
                                     const struct oct_openai_choice *c, struct oct_buf *out)
{
    if (!c->logprobs) {
        return put(out, "null");
    }
    return is_chat ? chat_logprobs(e, c->answer, out) : text_logprobs(e, c, out);
}
