/* SPDX-License-Identifier: Apache-2.0
 *
 * call.h - inside the service: a call is one request for tokens, from on_request to on_end,
 * whatever API it speaks. What differs between APIs is a format: how a body becomes prompts, and
 * how tokens become an answer. Everything else (workers, engine, slow readers, clients that leave,
 * deadlines, drain, counting) is written once, in call.c.
 *
 *   on_request   body taken; call queued                                    loop
 *   parse        JSON, checks, template, tokens: prompts[] and sampling     a worker
 *   submit       n choices a prompt go to the engine                        loop
 *   events       copied on the engine's thread into one inbox, taken out    engine, loop
 *   stream       begin once, piece for each choice that got text, end       loop
 *   or whole     when the last choice has ended                             a worker
 *   or error     instead of whole, or within a stream: always the last word loop
 *   on_end       the client has it, or has left: all that runs is cancelled loop
 *
 * A call is freed when on_end was there, no worker has it and every choice has had its last event.
 * A field belongs to the loop unless it says otherwise; while a worker has the call (parse, whole)
 * the format may use all of them but those marked "loop". */
#ifndef OCT_API_CALL_H
#define OCT_API_CALL_H

#include "api/api.h"
#include "api/health.h"
#include "api/openai.h"
#include "api/reasoning.h"

struct oct_call;
struct oct_choice;

/* ---- a format ---- */

/* Functions that return a status may fail (memory, above all): the call then ends with that error.
 * `out` collects bytes to send; what is in it already stays. */
struct oct_format {
    const char *whole_type;  /* "application/json" */
    const char *stream_type; /* "text/event-stream" */
    const char *id_prefix;   /* "chatcmpl-"; of call->id */
    /* Worker. body: the JSON object; keep what is needed of it (json_incref). Fills call->ask; the
     * lists of ask.sampling may live in call->arena. Without prompts, call->reply must hold the
     * whole answer: it is sent with status 200 and the engine sees nothing. A sentence names the
     * field that was wrong. */
    oct_status (*parse)(struct oct_call *c, json_t *body);
    /* Stream: before the first piece; the head of the answer goes out with it. May write nothing.
     */
    oct_status (*begin)(struct oct_call *c, struct oct_buf *out);
    /* Stream: what ch->answer got since the last piece (text, and tokens with logprobs), one token
     * or, for a slow reader, many; emptied afterwards. Called with ch->answer.finish set once, the
     * last time. May write nothing. */
    oct_status (*piece)(struct oct_call *c, struct oct_choice *ch, struct oct_buf *out);
    /* Stream: after the last piece of the last choice. */
    oct_status (*end)(struct oct_call *c, struct oct_buf *out);
    /* Worker. Not a stream: the whole body, of all choices' answers. */
    oct_status (*whole)(struct oct_call *c, struct oct_buf *out);
    /* An error as a body (in_stream false) or as the last words of a stream. c: NULL if there is no
     * call (a wrong key, an unknown path). */
    oct_status (*error)(const struct oct_call *c, int http_status, const char *sentence,
                        bool in_stream, struct oct_buf *out);
    /* Frees call->state, which may be NULL (parse failed or was not called). May be NULL itself. */
    void (*free)(struct oct_call *c);
};

extern const struct oct_format oct_format_chat, oct_format_completions, oct_format_tokenize,
    oct_format_detokenize;

/* ---- a call ---- */

struct oct_prompt {
    int32_t *ids; /* owned: oct_buffer_free */
    size_t n;
};

/* What parse finds in the body. {0} but for what is said here. */
struct oct_ask {
    struct oct_prompt *prompts; /* [n_prompts], owned: oct_free */
    size_t n_prompts;           /* at most OCT_CALL_MAX_PROMPTS */
    int32_t n;                  /* choices a prompt, 1..OCT_CALL_MAX_N; 1 */
    /* OCT_SAMPLING_INIT; checked by the engine as well. Choice i of a prompt gets seed + i, and the
     * first one alone the prompt's logprobs. */
    struct oct_sampling sampling;
    bool stream;
    bool drop_output;   /* only the prompt is of interest: what is generated is not kept */
    bool keep_logprobs; /* ch->answer.tokens is filled */
    enum oct_reasoning_state thinking; /* how each ch->split begins; oct_reasoning_begin */
    int32_t priority;                  /* -8..8 */
    int64_t timeout_us;                /* from on_request; 0: none */
    const char *cache_salt;            /* NULL: none */
};

enum { OCT_CALL_MAX_PROMPTS = 64, OCT_CALL_MAX_N = 16, OCT_CALL_MAX_HELD_BYTES = 1 << 20 };

enum oct_choice_state {
    OCT_CHOICE_WAITS, /* not submitted: comes once the first of its prompt has a token */
    OCT_CHOICE_RUNS,
    OCT_CHOICE_ENDED, /* it has had its last event, or will never run */
};

/* One answer to one prompt; choice index = prompt * n + i, as OpenAI numbers them. */
struct oct_choice {
    struct oct_call *call;
    int32_t index;
    enum oct_choice_state state;
    uint64_t id; /* the engine's */
    /* Stream: since the last piece. Whole: all. finish, status, n_prompt and n_output are always
     * the newest. */
    struct oct_openai_answer answer;
    /* For the format: oct_reasoning_split; the characters of text in earlier pieces; whether there
     * was one. */
    struct oct_reasoning split;
    size_t n_text_before;
    bool has_begun;
    int32_t n_cached_tokens;                          /* of the prompt */
    int64_t submit_us, started_us, first_us, last_us; /* monotonic; 0: has not happened */
    /* loop */
    bool is_fresh;  /* is in call->fresh */
    bool has_piece; /* there may be something to write */
    bool is_told;   /* its last piece was written */
    struct oct_choice *next_fresh;
    /* The engine's thread, under the inbox's lock: an event that there was no memory for. */
    bool is_lost, is_lost_end;
    struct oct_choice *next_lost;
};

struct oct_call {
    struct oct_api *api;
    const struct oct_route *route;
    const struct oct_format *format;
    char id[96];       /* "chatcmpl-" and the client's x-request-id, or random digits */
    int64_t created_s; /* since 1970 */
    int64_t begin_us;  /* of on_request */
    const char *model; /* the name to answer with */
    char *body;        /* owned; NULL once parsed */
    size_t body_len;
    struct oct_arena arena; /* lives as long as the call */
    void *state;            /* the format's */
    struct oct_ask ask;
    struct oct_choice *choices; /* [n_choices], owned */
    size_t n_choices;           /* 0 until parse has come back: the loop may look at any time */
    struct oct_buf reply;       /* worker: the whole answer */

    /* loop */
    struct oct_http_exchange *x; /* NULL after on_end */
    bool has_worker;
    bool is_accepted;            /* the engine took a choice of it */
    bool is_streaming;           /* the head of the stream has gone out */
    bool is_answered;            /* the last byte was handed to http/, or x is NULL */
    bool is_error;               /* that answer was an error */
    size_t n_waiting, n_running; /* choices in state WAITS, RUNS */
    uint64_t n_prompt_logprobs;  /* entries taken out of what all calls may hold */
    size_t n_told;               /* choices whose last piece was written */
    struct oct_choice *fresh;    /* by next_fresh: had an event in this turn */
    struct oct_call *next_fresh;
    oct_status status; /* of the worker's job; and its sentence */
    char sentence[1024];
    struct oct_http_task task; /* a worker is done with it */
    /* the workers', under their lock */
    void (*job)(struct oct_call *);
    struct oct_call *next_job;
    struct oct_call *next, *prev; /* of all calls */
};

/* For a format's parse: room for n prompts. */
OCT_CHECKED oct_status oct_call_alloc_prompts(struct oct_call *c, size_t n);
/* Whether a model of that name is served; NULL is the first. OCT_E_NOTFOUND names those there are;
 * *out: the name to answer with. Any thread. */
OCT_CHECKED oct_status oct_call_check_model(const struct oct_api *a, const char *name,
                                            const char **out);
/* OCT_E_ARG with both numbers if the prompt (and one token more) is over the model's limit. */
OCT_CHECKED oct_status oct_call_check_prompt(const struct oct_api *a, size_t n_tokens);
/* How the answer to that prompt begins: as --reasoning-parser says, and the prompt's own end. */
OCT_CHECKED oct_status oct_reasoning_begin(const struct oct_api *a, const int32_t *prompt, size_t n,
                                           enum oct_reasoning_state *out);

/* ---- the service ---- */

struct oct_workers;
struct oct_inbox;

struct oct_api {
    struct oct_api_config config; /* with the defaults filled in */
    struct oct_http *http;        /* NULL before oct_api_prepare_engine and after oct_api_stop */
    oct_engine *engine;           /* NULL while LOADING */
    struct oct_engine_info info;  /* of the engine */
    enum oct_api_state state;
    oct_status dead_status; /* DEAD: why */
    char dead_sentence[512];
    int64_t begin_us, created_s; /* when it was created: monotonic, and since 1970 */
    struct oct_metrics *metrics;
    const struct oct_metrics_self_test *self_test; /* borrowed; NULL: none */
    struct oct_health health;                      /* health.c */
    struct oct_workers *workers;
    struct oct_inbox *inbox;
    struct oct_call *calls; /* all of them, by next */
    struct oct_call *fresh; /* by next_fresh */
    size_t n_calls;
    uint64_t n_prompt_logprobs; /* entries that the calls hold, or will */
    uint64_t id_seed, n_ids;    /* of random ids */
    struct oct_api_counts counts;
    struct oct_buf out; /* what a format writes into, on the loop */
};

/* ---- routes ---- */

enum oct_route_flags {
    OCT_ROUTE_OPEN = 1,   /* needs no key: says nothing that is not public */
    OCT_ROUTE_ENGINE = 2, /* 503 while there is no engine to ask; while draining too if a call */
};

struct oct_route {
    enum oct_http_method method; /* GET answers HEAD as well */
    /* "/v1/models/{id}": {id} is the rest of the path, one segment or more. Static: the label of
     * its metrics. */
    const char *path;
    unsigned flags;
    const struct oct_format *format; /* of its calls and of its errors */
    /* Answers at once, on the loop. NULL: it makes a call. */
    void (*answer)(struct oct_api *a, struct oct_http_exchange *x);
};

/* The one table, in routes.c: one row an endpoint. */
extern const struct oct_route oct_routes[];
extern const size_t oct_n_routes;

/* For handlers: what {id} stands for in this request, percent-decoded into dst. OCT_E_ARG if it
 * does not fit or holds a control character. */
OCT_CHECKED oct_status oct_route_rest(const struct oct_route *r, const struct oct_http_exchange *x,
                                      char *dst, size_t size);
/* For handlers: sends a JSON value (given away; NULL: out of memory is told), and an error in the
 * style of the path's format. */
void oct_api_send_json(struct oct_api *a, struct oct_http_exchange *x, int status, json_t *value);
void oct_api_send_error(struct oct_api *a, struct oct_http_exchange *x, int status,
                        const char *sentence);

void oct_api_models(struct oct_api *a, struct oct_http_exchange *x);
void oct_api_model(struct oct_api *a, struct oct_http_exchange *x);
/* health.c */
void oct_api_health(struct oct_api *a, struct oct_http_exchange *x);
void oct_api_ready(struct oct_api *a, struct oct_http_exchange *x);
void oct_api_metrics(struct oct_api *a, struct oct_http_exchange *x);
void oct_api_version(struct oct_api *a, struct oct_http_exchange *x);
/* tokenizer_info.c */
void oct_api_tokenizer_info(struct oct_api *a, struct oct_http_exchange *x);
/* page.c */
void oct_api_page(struct oct_api *a, struct oct_http_exchange *x);

/* ---- call.c, for the service ---- */

void oct_call_begin(struct oct_api *a, const struct oct_route *r, struct oct_http_exchange *x);
/* What the engine's thread left: pieces are written, calls end. */
void oct_call_take_events(struct oct_api *a);
/* The workers have stopped: none has it any more. Frees it if nothing else holds it. */
void oct_call_worker_is_gone(struct oct_call *c);
/* The client's x-request-id, or NULL if there is none or it is not 1 to 64 harmless characters. */
const char *oct_request_id(const struct oct_http_exchange *x);
void oct_call_on_room(struct oct_call *c);
void oct_call_on_end(struct oct_call *c, enum oct_http_end how);
/* Its last word is this error; what runs is cancelled. */
void oct_call_fail(struct oct_call *c, oct_status st, const char *sentence);

#endif
