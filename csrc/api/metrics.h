/* SPDX-License-Identifier: Apache-2.0
 *
 * metrics.h - what /metrics says: counters and histograms in Prometheus' text format. Names are
 * vLLM's ("vllm:time_to_first_token_seconds") where the meaning is the same, so that dashboards and
 * gateways work as they are; what only we have is "octavo_...", about the process "process_...".
 * Loop's thread only; observing allocates nothing, and what is rendered has a bounded size. */
#ifndef OCT_API_METRICS_H
#define OCT_API_METRICS_H

#include "base/mem.h"
#include "octavo.h"

struct oct_metrics;
OCT_CHECKED oct_status oct_metrics_create(struct oct_metrics **out);
void oct_metrics_destroy(struct oct_metrics *m);

/* One token of one request reached the service: the first (since its submission), or a later one
 * (since the one before it). */
void oct_metrics_first_token(struct oct_metrics *m, int64_t ttft_us);
void oct_metrics_next_token(struct oct_metrics *m, int64_t itl_us);

/* One engine request has ended. */
struct oct_metrics_request {
    oct_finish finish;
    int32_t n_prompt_tokens, n_cached_tokens, n_output_tokens, max_tokens;
    int64_t queue_us;   /* submitted to first scheduled; -1: never was */
    int64_t prefill_us; /* first scheduled to first token; -1 */
    int64_t decode_us;  /* first token to last; -1 */
    int64_t e2e_us;     /* submitted to the end */
};
void oct_metrics_request(struct oct_metrics *m, const struct oct_metrics_request *r);

/* One HTTP answer: its route's pattern ("/v1/chat/completions", or "other"), static. Of more than
 * OCT_METRICS_ROUTES routes the later ones are counted as "other". us: from the request's first
 * byte to the end of the answer. */
enum { OCT_METRICS_ROUTES = 40 };
void oct_metrics_http(struct oct_metrics *m, const char *route, int status, int64_t us);

/* What the self-test has found so far. */
struct oct_metrics_self_test {
    uint64_t n_runs, n_failures;
    int64_t last_success_s; /* since 1970; 0: none */
    int64_t interval_us;
    const char *digest; /* "": not known yet */
};

/* What stands beside the histograms. NULL pointers leave their lines out; without engine and info
 * no vllm: line is written. */
struct oct_metrics_view {
    const char *model_name; /* label model_name of every vllm: line; escaped here */
    const struct oct_engine_stats *engine;
    const struct oct_engine_info *info;
    const struct oct_http_stats *http;
    const struct oct_api_counts *counts;
    int state;        /* enum oct_api_state */
    bool plain_names; /* vllm_... instead of vllm:..., which linters and some gateways refuse */
    const struct oct_metrics_self_test *self_test;
};
struct oct_http_stats;
struct oct_api_counts;
OCT_CHECKED oct_status oct_metrics_render(const struct oct_metrics *m,
                                          const struct oct_metrics_view *view, struct oct_buf *out);

/* The value under which a share q of the last minute's observations lie (0.5, 0.99), in seconds, to
 * about a tenth of itself; -1: there were none. For people who look; /metrics has the histograms of
 * all time. */
enum oct_metrics_hist { OCT_METRICS_TTFT, OCT_METRICS_ITL, OCT_METRICS_E2E };
double oct_metrics_quantile_s(const struct oct_metrics *m, enum oct_metrics_hist h, double q);

#endif
