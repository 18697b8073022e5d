/* SPDX-License-Identifier: Apache-2.0
 *
 * openai.h - OpenAI's JSON for completions and chat completions: a body becomes a prompt and
 * sampling parameters, an answer becomes a body. No network here; `batch` and a server share it.
 *
 * Fields are those of OpenAI's API and the extensions that vLLM made common (top_k, min_p,
 * repetition_penalty, min_tokens, ignore_eos, stop_token_ids, chat_template_kwargs, priority,
 * cache_salt). A field of the wrong type or out of range is refused by name, as is one we do not
 * know: nothing is ignored that could change the answer. */
#ifndef OCT_API_OPENAI_H
#define OCT_API_OPENAI_H

#include "base/mem.h"
#include "octavo.h"

#include <jansson.h>

enum oct_openai_kind { OCT_OPENAI_CHAT, OCT_OPENAI_COMPLETION };

struct oct_openai_request {
    enum oct_openai_kind kind;
    const char *model; /* as the client wrote it; NULL: not said */
    struct oct_sampling sampling;
    int32_t n_top; /* alternatives to show for each token; -1: no logprobs */
    bool stream, include_usage;
    int32_t priority;
    const char *cache_salt; /* NULL: none */
    json_t *messages;       /* CHAT; content parts of text made one string */
    json_t *vars;           /* CHAT: what the template gets beside the messages */
    const char *text;       /* COMPLETION: a text of `text_len` bytes, or NULL: ids */
    size_t text_len;
    int32_t *ids; /* [n_ids] */
    size_t n_ids;
    struct oct_arena arena; /* of the lists */
    json_t *body;           /* a reference: the strings above point into it */
};

/* On failure nothing stays allocated: OCT_E_ARG or OCT_E_UNSUPPORTED name the field. */
OCT_CHECKED oct_status oct_openai_parse(enum oct_openai_kind kind, json_t *body,
                                        struct oct_openai_request *out);
void oct_openai_request_deinit(struct oct_openai_request *r);

/* The prompt's ids, given away (oct_buffer_free). Safe from any thread. */
OCT_CHECKED oct_status oct_openai_prompt(const oct_engine *e, const struct oct_openai_request *r,
                                         int32_t **ids, size_t *n);

/* ---- the answer ---- */

/* One request's answer as its events bring it. {0} at first; take every event. */
struct oct_openai_answer {
    struct oct_buf text;
    struct {
        int32_t token, n_top;
        float logprob;
        size_t text_end;           /* bytes of text once the token was taken */
    } * tokens;                    /* [n_tokens], owned; kept only with logprobs */
    struct oct_token_logprob *top; /* all tokens' alternatives behind each other, owned */
    size_t n_tokens, cap_tokens, n_tops, cap_tops;
    oct_finish finish;
    oct_status status; /* of an answer that failed, and its sentence */
    char error[512];
    int32_t n_prompt, n_output;
};
/* Allocates as the answer grows; a failure is kept in status and error. */
void oct_openai_take(struct oct_openai_answer *a, const struct oct_event *ev, bool logprobs);
void oct_openai_answer_deinit(struct oct_openai_answer *a);

/* The whole response of a finished answer. id: "chatcmpl-..." or "cmpl-..."; created_s: seconds
 * since 1970. */
OCT_CHECKED oct_status oct_openai_response(const oct_engine *e, const struct oct_openai_request *r,
                                           const struct oct_openai_answer *a, const char *model,
                                           const char *id, int64_t created_s, json_t **out);

/* The HTTP status that tells of `st`: 400, 404, 429, 499, 500, 501, 503, 504. */
int oct_openai_http_code(oct_status st);
/* {"error": {"message", "type", "param": null, "code"}} */
OCT_CHECKED oct_status oct_openai_error(oct_status st, const char *message, json_t **out);

#endif
