/* SPDX-License-Identifier: Apache-2.0
 *
 * api.h - the service: an engine behind HTTP. Routes, keys, the life of a call, and what happens at
 * start and stop. http/ speaks the protocol, octavo.h runs the model; this room knows both.
 *
 * Threads: the loop's (http.h) owns all calls and writes all answers. A few workers parse JSON,
 * render templates and tokenize, so that no request holds up another's tokens. The engine's thread
 * drops events into one inbox, once a step, and wakes the loop. */
#ifndef OCT_API_API_H
#define OCT_API_API_H

#include "api/metrics.h"
#include "http/http.h"
#include "octavo.h"

struct oct_api;

enum oct_api_state {
    OCT_API_LOADING, /* no engine yet: /ready says no, everything that needs one is 503 */
    OCT_API_READY,
    OCT_API_DRAINING, /* new requests are 503, those that run go on */
    OCT_API_DEAD,     /* the device failed: /health says so, every request is 503 */
};

/* Strings are borrowed as long as the service lives. Zero means the stated default. */
struct oct_api_config {
    const char *const
        *model_names; /* [n_model_names], at least one: the first is shown, all are accepted;
                         "--served-model-name" */
    size_t n_model_names;
    const char *model_path;      /* for /v1/models and /api/show */
    const char *const *api_keys; /* [n_api_keys]; none: no key is asked for */
    size_t n_api_keys;
    const char *const *allowed_origins; /* [n]; "*" for all: browsers' pages that may call; none:
                                           only the server's own page */
    size_t n_allowed_origins;
    int32_t n_workers;           /* 1..16; 0: 2 */
    int32_t max_queued_requests; /* calls waiting for a worker or for the engine; 0: 4096; more are
                                    told 429 with Retry-After */
    /* Entries of prompts' log probabilities that all calls together may hold, each a token and its
     * alternatives; 0: 16 Mi, some 270 MB. What is over it is told 429. */
    uint64_t max_prompt_logprobs;
    int64_t watchdog_us; /* work exists and no step has finished for so long: /health is 503;
                            0: 60 s */
    const char *reasoning_parser; /* "auto" (NULL), "none", "think" */
    bool log_requests; /* a line a request: id, route, status, tokens, times; never text */
    void (*log)(void *user, const char *line); /* NULL: none */
    void *log_user;
};

/* The service without an engine (LOADING). Its handler goes to oct_http_create. */
OCT_CHECKED oct_status oct_api_create(const struct oct_api_config *config, struct oct_api **out);
struct oct_http_handler oct_api_handler(struct oct_api *a);
/* Starts the workers. Before it there is no thread: what binds a thread and its children (the
 * sandbox) comes between create and start. */
OCT_CHECKED oct_status oct_api_start(struct oct_api *a);
/* Options for oct_engine_open that carry the engine's events to this service: on_events. Before
 * oct_http_run. */
void oct_api_prepare_engine(struct oct_api *a, struct oct_http *h, struct oct_engine_options *o);
/* The engine is there: READY. From the loop's thread. Borrowed: closed by the caller, see
 * oct_api_stop. */
void oct_api_set_engine(struct oct_api *a, oct_engine *e);
/* From the loop's thread: how much of the weights is there, 0..1, for /ready; and once a second, so
 * that /health knows since when nothing moves. */
void oct_api_set_progress(struct oct_api *a, double part);
void oct_api_tick(struct oct_api *a);
/* Work exists and no step has finished for watchdog_us, as of the last tick. */
bool oct_api_is_stuck(const struct oct_api *a);
/* Opening failed: DEAD with this sentence. */
void oct_api_set_failed(struct oct_api *a, oct_status st, const char *sentence);

/* The device gives wrong results: DEAD with this sentence, and every call ends with it. */
void oct_api_fail(struct oct_api *a, const char *sentence);
/* For /metrics: what the self-test has found; borrowed, NULL: there is none. */
void oct_api_set_self_test(struct oct_api *a, const struct oct_metrics_self_test *t);

/* DRAINING from now on: calls that have not begun end with 503, those that run go on. */
void oct_api_drain(struct oct_api *a);
/* Calls that have not had the end of their answer. */
size_t oct_api_n_calls(const struct oct_api *a);
/* Every call that still runs ends with this error, a streamed one with an error event; the engine's
 * requests are cancelled. */
void oct_api_end_calls(struct oct_api *a, oct_status why, const char *sentence);
enum oct_api_state oct_api_state(const struct oct_api *a);
const char *oct_api_dead_sentence(const struct oct_api *a); /* DEAD: why; as long as a */
/* The end begins: stops the workers; nothing wakes the loop from now on. The order is oct_api_stop,
 * oct_http_destroy (cuts what is not answered), oct_engine_close, oct_api_destroy. To let answers
 * finish, run the loop until oct_api_n_calls is 0 before. */
void oct_api_stop(struct oct_api *a);
/* Frees. NULL is fine; so is a service whose oct_api_stop was not called, if no call is left. */
void oct_api_destroy(struct oct_api *a);

/* What must be equal when nothing runs; asserted by oct_api_destroy, shown by /metrics. */
struct oct_api_counts {
    uint64_t n_accepted;               /* calls that were given to the engine */
    uint64_t n_done, n_failed, n_left; /* ended: whole; with an error that was told; client gone */
    uint64_t n_refused;                /* told so before the engine saw them */
};
void oct_api_get_counts(const struct oct_api *a, struct oct_api_counts *out);

#endif
