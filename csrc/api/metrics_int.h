/* SPDX-License-Identifier: Apache-2.0
 *
 * metrics_int.h - what metrics.c counts and metrics_text.c writes; for these two. */
#ifndef OCT_API_METRICS_INT_H
#define OCT_API_METRICS_INT_H

#include "api/metrics.h"

/* id, bounds, name, help: one row a histogram of vLLM's. */
// clang-format off
#define OCT_METRICS_HISTS(X)                                                                      \
    X(TTFT, FIRST_TOKEN, "vllm:time_to_first_token_seconds",                                      \
      "Time from a request's arrival to its first token.")                                        \
    X(ITL, PER_TOKEN, "vllm:inter_token_latency_seconds",                                         \
      "Time from one token of a request to its next.")                                            \
    X(TPOT, PER_TOKEN, "vllm:request_time_per_output_token_seconds",                              \
      "Mean time per output token after the first, of each finished request.")                    \
    X(E2E, REQUEST, "vllm:e2e_request_latency_seconds",                                           \
      "Time from a request's arrival to its end.")                                                \
    X(QUEUE, REQUEST, "vllm:request_queue_time_seconds",                                          \
      "Time a request waited before its first step.")                                             \
    X(INFERENCE, REQUEST, "vllm:request_inference_time_seconds",                                  \
      "Time from a request's first step to its last token.")                                      \
    X(PREFILL, REQUEST, "vllm:request_prefill_time_seconds",                                      \
      "Time from a request's first step to its first token.")                                     \
    X(DECODE, REQUEST, "vllm:request_decode_time_seconds",                                        \
      "Time from a request's first token to its last.")                                           \
    X(PROMPT_TOKENS, TOKENS, "vllm:request_prompt_tokens",                                        \
      "Prompt tokens of each finished request.")                                                  \
    X(GENERATION_TOKENS, TOKENS, "vllm:request_generation_tokens",                                \
      "Generated tokens of each finished request.")                                               \
    X(MAX_TOKENS, TOKENS, "vllm:request_params_max_tokens",                                       \
      "The max_tokens of each finished request.")
// clang-format on

enum oct_metrics_hist_id {
#define OCT_HIST_ENUM(id, ...) OCT_HIST_##id,
    OCT_METRICS_HISTS(OCT_HIST_ENUM)
#undef OCT_HIST_ENUM
        OCT_N_HISTS
};

enum oct_metrics_bounds {
    OCT_BOUNDS_FIRST_TOKEN, /* of microseconds, as all but TOKENS; printed as seconds */
    OCT_BOUNDS_PER_TOKEN,
    OCT_BOUNDS_REQUEST,
    OCT_BOUNDS_TOKENS,
    OCT_BOUNDS_ANSWER,
    OCT_N_BOUNDS
};
enum { OCT_METRICS_MAX_BOUNDS = 25 };
struct oct_bounds {
    const int64_t *at; /* [n], ascending; a value equal to a bound is below it */
    size_t n;
};
const struct oct_bounds *oct_metrics_bounds(enum oct_metrics_bounds b); /* static */

struct oct_histogram {
    uint64_t counts[OCT_METRICS_MAX_BOUNDS + 1]; /* the last: over all bounds */
    uint64_t n, sum;
};

enum {
    OCT_N_RECENT = OCT_METRICS_E2E + 1,
    OCT_RECENT_SLOTS = 6,
    OCT_RECENT_CELLS = 272, /* up to 2^35 us, nine hours */
    OCT_ROUTE_CODES = 16,
};

struct oct_recent_slot {
    int64_t number; /* of its ten seconds, since the clock's zero */
    uint32_t counts[OCT_RECENT_CELLS];
};

enum oct_metrics_end { OCT_END_STOP, OCT_END_LENGTH, OCT_END_ABORT, OCT_END_ERROR, OCT_N_ENDS };

struct oct_route {
    const char *name; /* static */
    struct oct_histogram time;
    struct {
        int status;
        uint64_t n; /* 0: this place and those after it are free */
    } codes[OCT_ROUTE_CODES];
};

struct oct_metrics {
    struct oct_histogram hists[OCT_N_HISTS];
    uint64_t ends[OCT_N_ENDS];
    struct oct_recent_slot recent[OCT_N_RECENT][OCT_RECENT_SLOTS];
    struct oct_route routes[OCT_METRICS_ROUTES];
    int n_routes;
    int64_t start_wall_s;
    uint64_t memory_bytes; /* of the machine; 0: unknown */
};

#endif
