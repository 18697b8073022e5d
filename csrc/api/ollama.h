/* SPDX-License-Identifier: Apache-2.0
 *
 * ollama.h - Ollama's API over the one model that is served: /api/generate and /api/chat are
 * formats (call.h), the rest says what there is. A body is written anew as OpenAI's and goes its
 * way (openai.h): limits and sentences are the same there. What would change the answer and is not
 * supported is refused by name; what only steers a machine (num_gpu, keep_alive) is taken and has
 * no effect. */
#ifndef OCT_API_OLLAMA_H
#define OCT_API_OLLAMA_H

#include "api/openai.h"

struct oct_api;
struct oct_format;
struct oct_http_exchange;

/* A body of /api/generate or /api/chat. */
struct oct_ollama_request {
    bool is_chat, stream;
    bool is_empty;                    /* no prompt: the client only wants the model to be there */
    bool is_raw;                      /* the prompt is a text for the model as it is */
    const char *model;                /* as the client wrote it; never NULL */
    struct oct_openai_request openai; /* {0} if is_empty */
    json_t *body;                     /* a reference: model points into it */
};

/* context: the most tokens num_ctx may ask for. On failure nothing stays allocated. */
OCT_CHECKED oct_status oct_ollama_parse(bool is_chat, json_t *body, int32_t context,
                                        struct oct_ollama_request *out);
void oct_ollama_request_deinit(struct oct_ollama_request *r);

/* Whether `name`, or what stands before its ":latest", is served. */
OCT_CHECKED oct_status oct_ollama_check_model(const struct oct_api *a, const char *name);
/* "2026-11-23T02:40:00Z" of seconds since 1970. */
enum { OCT_OLLAMA_TIME_BYTES = 40 };
const char *oct_ollama_time(int64_t wall_s, char dst[OCT_OLLAMA_TIME_BYTES]);
/* {"error": sentence}; for every format here. */
OCT_CHECKED oct_status oct_ollama_write_error(const char *sentence, bool in_stream,
                                              struct oct_buf *out);

/* POST; for the table of routes. show and pull make a call too: they read a body. */
extern const struct oct_format oct_format_ollama_chat, oct_format_ollama_generate,
    oct_format_ollama_show, oct_format_ollama_pull;
/* GET */
void oct_ollama_tags(struct oct_api *a, struct oct_http_exchange *x);
void oct_ollama_ps(struct oct_api *a, struct oct_http_exchange *x);
void oct_ollama_version(struct oct_api *a, struct oct_http_exchange *x);
/* Anything else under /api/: not here, and why. */
void oct_ollama_refuse(struct oct_api *a, struct oct_http_exchange *x);

#endif
