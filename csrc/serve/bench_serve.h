/* SPDX-License-Identifier: Apache-2.0
 *
 * bench_serve.h - the parts of `octavo bench serve`: what is sent (bench_serve_load.c), when
 * (bench_serve_run.c), what is made of the answers (bench_serve_result.c). */
#ifndef OCT_SERVE_BENCH_SERVE_H
#define OCT_SERVE_BENCH_SERVE_H

#include "serve/bench_client.h"
#include "serve/terminal.h"

#include <jansson.h>

/* ---- what is sent ---- */

enum oct_load_kind { OCT_LOAD_SHAREGPT, OCT_LOAD_RANDOM, OCT_LOAD_FILE };

/* Lengths of the prompts and answers of OCT_LOAD_SHAREGPT: log-normal, cut to the range. Medians
 * and sigmas are chosen so that the means, 191 and 203 tokens, are near those of vLLM's sample of
 * ShareGPT (about 215 and 200). */
#define OCT_SHAREGPT_PROMPT_MEDIAN 75.0
#define OCT_SHAREGPT_PROMPT_SIGMA 1.6
#define OCT_SHAREGPT_OUTPUT_MEDIAN 125.0
#define OCT_SHAREGPT_OUTPUT_SIGMA 1.05
enum { OCT_SHAREGPT_MIN = 4, OCT_SHAREGPT_MAX = 1024 };

struct oct_load {
    enum oct_load_kind kind;
    uint64_t seed;
    int32_t n_input, n_output; /* RANDOM; FILE: n_output of lines that do not say */
    int32_t n_prefix;          /* words that all prompts begin with */
    double range_ratio;
    bool chat, ignore_eos;
    double temperature;
    const char *model;   /* borrowed */
    const json_t *extra; /* an object put into each body, or NULL; borrowed */
    json_t **lines;      /* FILE: [n_lines], owned */
    size_t n_lines;
};

/* Reads the prompts of a file of JSON lines: {"prompt": text} or {"messages": [...]}, with
 * "max_tokens" or "output_tokens" if the line wants to say; or OpenAI's batch lines, whose "body"
 * is that. */
OCT_CHECKED oct_status oct_load_read(struct oct_load *l, const char *path);
void oct_load_deinit(struct oct_load *l);

/* How long prompt and answer number i are to be, in tokens; -1: not known. */
void oct_load_lengths(const struct oct_load *l, size_t i, int32_t *n_input, int32_t *n_output);
/* Replaces out by the JSON of request i. Its words are a function of (seed, round, i): another
 * round has other words of the same lengths, so that a prefix cache has not seen them. */
OCT_CHECKED oct_status oct_load_body(const struct oct_load *l, uint32_t round, size_t i,
                                     struct oct_buf *out);
/* When n requests arrive, in microseconds from the start, ascending: gaps of a gamma distribution
 * of shape `burstiness` (1: a Poisson process), scaled so that the last one arrives at n / rate
 * seconds, as vLLM does. */
void oct_load_arrivals(uint64_t seed, double rate, double burstiness, size_t n, int64_t *us);

/* ---- one point: n requests at one concurrency or rate ---- */

struct oct_bench_request {
    struct oct_call call;
    int64_t planned_us; /* when it was to be sent: what latencies count from */
    int64_t start_us;   /* when the client began to send it; 0: never */
    bool ended;
    bool differs; /* from the oracle's answer */
};

struct oct_bench_point {
    /* given */
    int32_t max_concurrency; /* 0: no bound */
    double rate;             /* requests/s; 0: all at once */
    double burstiness;
    uint32_t round;
    size_t n; /* requests */
    const char *endpoint;
    int64_t timeout_us;
    bool keep_text;
    char *const *oracle; /* [n] texts that answers must equal, or NULL */
    const char *title;   /* of the progress line */
    /* came out */
    struct oct_bench_request *requests; /* [n], owned */
    int64_t start_us, duration_us;
    bool stopped;                  /* by Ctrl-C */
    double cpu_share;              /* of one core, the client's own */
    double lag_max_ms, lag_p99_ms; /* of a timer of 10 ms: how late the client was */
    struct oct_client_stats connections;
};
OCT_CHECKED oct_status oct_bench_point_run(struct oct_bench_point *p, const struct oct_load *load,
                                           const struct oct_target *target, const char *api_key);
void oct_bench_point_deinit(struct oct_bench_point *p);

/* One request by itself, such as a GET (body NULL). */
OCT_CHECKED oct_status oct_bench_ask(const struct oct_target *target, const char *api_key,
                                     const char *path, const struct oct_buf *body,
                                     int64_t timeout_us, struct oct_call *out);

/* ---- results ---- */

enum oct_metric {
    OCT_METRIC_TTFT,
    OCT_METRIC_TPOT,
    OCT_METRIC_ITL,
    OCT_METRIC_E2EL,
    OCT_N_METRICS
};
const char *oct_metric_name(enum oct_metric m); /* "ttft" */

enum { OCT_MAX_PERCENTILES = 16 };
struct oct_result_options {
    bool shown[OCT_N_METRICS];
    double percentiles[OCT_MAX_PERCENTILES];
    int n_percentiles;
    double goodput_ms[OCT_N_METRICS]; /* 0: no bound; not for ITL */
    bool has_goodput;
};
OCT_CHECKED oct_status oct_result_options_parse(const char *metrics, const char *percentiles,
                                                const char *const *goodput, size_t n_goodput,
                                                struct oct_result_options *out);

struct oct_summary { /* milliseconds */
    size_t n;
    double mean, median, std;
    double percentiles[OCT_MAX_PERCENTILES];
    double quantiles[101]; /* 0 to 100 % */
};
struct oct_bench_result {
    size_t ends[OCT_N_CALL_ENDS];
    size_t n_never_sent;       /* Ctrl-C came first */
    size_t n_different;        /* from the oracle */
    size_t n_counted;          /* answers whose tokens the client counted as events */
    int64_t n_input, n_output; /* tokens */
    double duration_s;
    double request_rate, output_rate, total_rate, goodput; /* per second */
    double peak_output_rate;                               /* tokens in the best second */
    size_t peak_concurrency;
    struct oct_summary metric[OCT_N_METRICS];
    struct oct_summary wait; /* from planned to sent */
};
OCT_CHECKED oct_status oct_result_make(const struct oct_bench_point *p, const struct oct_load *load,
                                       const struct oct_result_options *o,
                                       struct oct_bench_result *out);
/* Requests without an end that says what became of them. */
size_t oct_result_lost(const struct oct_bench_result *r);

/* vLLM's block. */
OCT_CHECKED oct_status oct_result_print(const struct oct_bench_point *p,
                                        const struct oct_bench_result *r,
                                        const struct oct_result_options *o, struct oct_output *out);
/* vLLM's names; detailed: also one entry a request in arrays. */
OCT_CHECKED oct_status oct_result_json(const struct oct_bench_point *p,
                                       const struct oct_bench_result *r,
                                       const struct oct_result_options *o, bool detailed,
                                       json_t **out);

/* The q-th quantile, 0 <= q <= 1, of sorted v[n], n > 0, as numpy has it (linear). */
double oct_quantile(const double *v, size_t n, double q);

/* ---- reports ---- */

/* A page with the plots and tables of results[n], as oct_bench_serve saves them; each may hold
 * several points. names: where they came from, for sentences. plots: also writes its plots beside
 * it, PATH without .html and then -NAME.svg and, where there is an rsvg-convert, -NAME.png. */
OCT_CHECKED oct_status oct_report_write(json_t *const *results, const char *const *names, size_t n,
                                        const char *path, bool plots);

#endif
