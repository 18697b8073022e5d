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

/* A text, or token ids. */
struct oct_openai_prompt {
    const char *text; /* [len], or NULL */
    size_t len;
    int32_t *ids; /* [n_ids] */
    size_t n_ids;
};

enum { OCT_OPENAI_MAX_PROMPTS = 64, OCT_OPENAI_MAX_N = 16 };

struct oct_openai_request {
    enum oct_openai_kind kind;
    const char *model; /* as the client wrote it; NULL: not said */
    struct oct_sampling sampling;
    bool has_max_tokens;
    bool no_tokens; /* "max_tokens": 0 beside "echo": nothing is generated (sampling has 1) */
    int32_t n_top;  /* alternatives to show for each token; -1: no logprobs */
    int32_t n;      /* answers to each prompt */
    bool stream, include_usage, continuous_usage;
    bool echo;              /* COMPLETION: the prompt stands before the answer */
    bool include_reasoning; /* CHAT: what is thought is shown; true unless said otherwise */
    int32_t priority;
    int64_t timeout_us;                /* 0: none */
    const char *cache_salt;            /* NULL: none */
    json_t *messages;                  /* CHAT; content parts of text made one string */
    json_t *vars;                      /* CHAT: what the template gets beside the messages */
    unsigned tokenize_flags;           /* of texts */
    struct oct_openai_prompt *prompts; /* COMPLETION: [n_prompts]; CHAT: NULL and 1 */
    size_t n_prompts;
    struct oct_arena arena; /* of the lists */
    json_t *body;           /* a reference: the strings above point into it */
};

/* On failure nothing stays allocated: OCT_E_ARG or OCT_E_UNSUPPORTED name the field. */
OCT_CHECKED oct_status oct_openai_parse(enum oct_openai_kind kind, json_t *body,
                                        struct oct_openai_request *out);
void oct_openai_request_deinit(struct oct_openai_request *r);

/* The ids of prompt i, given away (oct_buffer_free). Safe from any thread. */
OCT_CHECKED oct_status oct_openai_prompt(const oct_engine *e, const struct oct_openai_request *r,
                                         size_t i, int32_t **ids, size_t *n);

/* A list of messages as clients write them (content a string or a list of text parts, arguments of
 * tool calls as JSON in a string) as templates read them. *out is given away. */
OCT_CHECKED oct_status oct_openai_messages(const char *field, const json_t *list, json_t **out);

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
    /* of the prompt, if its logprobs were asked for: [n_prompt], [n_prompt, n_prompt_top]; owned */
    struct oct_token_logprob *prompt, *prompt_top;
    int32_t n_prompt_top;
    oct_finish finish;
    oct_status status; /* of an answer that failed, and its sentence */
    char error[512];
    int32_t n_prompt, n_output;
};
/* Allocates as the answer grows; a failure is kept in status and error. */
void oct_openai_take(struct oct_openai_answer *a, const struct oct_event *ev, bool logprobs);
/* Forgets text and tokens, which were sent; returns how many characters that text had. */
size_t oct_openai_answer_flush(struct oct_openai_answer *a);
void oct_openai_answer_deinit(struct oct_openai_answer *a);

/* What a response says at its beginning and end. */
struct oct_openai_head {
    bool is_chat;
    const char *id; /* "chatcmpl-...", "cmpl-..." */
    int64_t created_s;
    const char *model;
    int64_t n_prompt, n_output;
    int64_t n_cached; /* of the prompt's tokens: found in the prefix cache; -1: not told */
};

/* One choice, or what one has got since it was told of the last time. */
struct oct_openai_choice {
    int32_t index;
    const struct oct_openai_answer *answer;
    const char *text; /* [len], of this choice: without what was thought */
    size_t len;
    const char *thought; /* CHAT: [thought_len]; NULL: none */
    size_t thought_len;
    bool logprobs;
    size_t n_chars_before; /* COMPLETION: characters of the text before this piece */
    /* COMPLETION: the prompt's own logprobs come first; NULL: no */
    const struct oct_openai_answer *echo;
};

/* The whole response of finished answers, as JSON. */
OCT_CHECKED oct_status oct_openai_write(const oct_engine *e, const struct oct_openai_head *h,
                                        const struct oct_openai_choice *choices, size_t n,
                                        struct oct_buf *out);
/* One event of a stream: `data: {...}` and an empty line. begin: the first one of a chat's choice,
 * which says who speaks. usage: 0 no word of it, 1 null, 2 the numbers. Without choice: the last
 * one, with the usage alone. */
OCT_CHECKED oct_status oct_openai_write_chunk(const oct_engine *e, const struct oct_openai_head *h,
                                              const struct oct_openai_choice *choice, bool begin,
                                              int usage, struct oct_buf *out);
/* "logprobs" of a choice: null, or the object of its API. */
OCT_CHECKED oct_status oct_openai_write_logprobs(const oct_engine *e, bool is_chat,
                                                 const struct oct_openai_choice *c,
                                                 struct oct_buf *out);

/* The whole response to one request, for a batch. */
OCT_CHECKED oct_status oct_openai_response(const oct_engine *e, const struct oct_openai_request *r,
                                           const struct oct_openai_answer *a, const char *model,
                                           const char *id, int64_t created_s, json_t **out);

/* The HTTP status that tells of `st`: 400, 404, 429, 499, 500, 501, 503, 504. */
int oct_openai_http_code(oct_status st);
/* {"error": {"message", "type", "param": null, "code"}} */
OCT_CHECKED oct_status oct_openai_error(oct_status st, const char *message, json_t **out);
OCT_CHECKED oct_status oct_openai_write_error(int http_status, const char *message,
                                              struct oct_buf *out);

#endif
