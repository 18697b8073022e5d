/* SPDX-License-Identifier: Apache-2.0
 *
 * metrics.c - what is observed: histograms with vLLM's bounds, and the last minute in finer ones.
 * metrics_text.c writes it down. */
#include "api/metrics_int.h"

#include "base/clock.h"
#include "cpu/machine.h"

#include <string.h>

enum {
    SLOT_US =
        10 * 1000 * 1000, /* the last minute: OCT_RECENT_SLOTS of these, the last one filling */
};

/* vLLM's bounds (vllm/v1/metrics/loggers.py), in microseconds. */
// clang-format off
static const int64_t first_token_us[] = {
    1000, 5000, 10000, 20000, 40000, 60000, 80000, 100000, 250000, 500000, 750000, 1000000, 2500000,
    5000000, 7500000, 10000000, 20000000, 40000000, 80000000, 160000000, 640000000, 2560000000};
static const int64_t per_token_us[] = {
    10000, 25000, 50000, 75000, 100000, 150000, 200000, 300000, 400000, 500000, 750000, 1000000,
    2500000, 5000000, 7500000, 10000000, 20000000, 40000000, 80000000};
static const int64_t request_us[] = {
    300000, 500000, 800000, 1000000, 1500000, 2000000, 2500000, 5000000, 10000000, 15000000,
    20000000, 30000000, 40000000, 50000000, 60000000, 120000000, 240000000, 480000000, 960000000,
    1920000000, 7680000000};
/* 1, 2, 5, 10, ... as far as the model's context goes. */
static const int64_t tokens[] = {
    1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000, 50000, 100000, 200000,
    500000, 1000000, 2000000, 5000000, 10000000, 20000000, 50000000, 100000000};
/* Ours. */
static const int64_t answer_us[] = {
    1000, 5000, 10000, 25000, 50000, 100000, 250000, 500000, 1000000, 2500000, 5000000, 10000000,
    30000000, 60000000, 120000000, 300000000};
// clang-format on

#define BOUNDS(list) \
    { \
        list, sizeof(list) / sizeof *(list) \
    }
static const struct oct_bounds bounds[OCT_N_BOUNDS] = {
    [OCT_BOUNDS_FIRST_TOKEN] = BOUNDS(first_token_us),
    [OCT_BOUNDS_PER_TOKEN] = BOUNDS(per_token_us),
    [OCT_BOUNDS_REQUEST] = BOUNDS(request_us),
    [OCT_BOUNDS_TOKENS] = BOUNDS(tokens),
    [OCT_BOUNDS_ANSWER] = BOUNDS(answer_us),
};
_Static_assert(sizeof tokens / sizeof *tokens == OCT_METRICS_MAX_BOUNDS, "the longest list");

const struct oct_bounds *oct_metrics_bounds(enum oct_metrics_bounds b)
{
    return &bounds[b];
}

static const enum oct_metrics_bounds bounds_of[OCT_N_HISTS] = {
#define HIST_BOUNDS(id, b, name, help) [OCT_HIST_##id] = OCT_BOUNDS_##b,
    OCT_METRICS_HISTS(HIST_BOUNDS)
#undef HIST_BOUNDS
};

static void observe(struct oct_histogram *h, enum oct_metrics_bounds which, int64_t v)
{
    const struct oct_bounds *b = &bounds[which];
    v = v < 0 ? 0 : v;
    size_t i = 0;
    while (i < b->n && v > b->at[i]) {
        i++;
    }
    h->counts[i]++;
    h->n++;
    h->sum += (uint64_t)v;
}

static void observe_hist(struct oct_metrics *m, enum oct_metrics_hist_id id, int64_t v)
{
    observe(&m->hists[id], bounds_of[id], v);
}

/* ---- the last minute ---- */

/* Eight cells for each power of two, one a value below 16. */
static size_t cell_of(int64_t us)
{
    const uint64_t v = us < 0 ? 0 : (uint64_t)us;
    if (v < 16) {
        return (size_t)v;
    }
    const unsigned e = 63u - (unsigned)__builtin_clzll(v);
    const size_t cell = 8u * (e - 2u) + (size_t)(v >> (e - 3u) & 7u);
    return cell < OCT_RECENT_CELLS ? cell : OCT_RECENT_CELLS - 1;
}

static double cell_begin(size_t cell)
{
    return cell < 16 ? (double)cell : (double)((uint64_t)(8 + cell % 8) << (cell / 8 - 1));
}

static void observe_recent(struct oct_metrics *m, enum oct_metrics_hist h, int64_t us)
{
    const int64_t slot_number = oct_clock_us() / SLOT_US;
    struct oct_recent_slot *s = &m->recent[h][slot_number % OCT_RECENT_SLOTS];
    if (s->number != slot_number) {
        memset(s, 0, sizeof *s);
        s->number = slot_number;
    }
    s->counts[cell_of(us)]++;
}

double oct_metrics_quantile_s(const struct oct_metrics *m, enum oct_metrics_hist h, double q)
{
    uint64_t sums[OCT_RECENT_CELLS] = {0}, n = 0;
    const int64_t now = oct_clock_us() / SLOT_US;
    for (int i = 0; i < OCT_RECENT_SLOTS; i++) {
        const struct oct_recent_slot *s = &m->recent[h][i];
        if (now - s->number >= OCT_RECENT_SLOTS) {
            continue;
        }
        for (size_t c = 0; c < OCT_RECENT_CELLS; c++) {
            sums[c] += s->counts[c];
            n += s->counts[c];
        }
    }
    if (n == 0) {
        return -1;
    }
    const double rank = q * (double)n;
    uint64_t below = 0;
    size_t c = 0;
    while (c + 1 < OCT_RECENT_CELLS && (double)(below + sums[c]) < rank) {
        below += sums[c++];
    }
    const double part = sums[c] ? (rank - (double)below) / (double)sums[c] : 0;
    return (cell_begin(c) + part * (cell_begin(c + 1) - cell_begin(c))) * 1e-6;
}

/* ---- what the service tells ---- */

oct_status oct_metrics_create(struct oct_metrics **out)
{
    struct oct_metrics *m = oct_calloc(1, sizeof *m);
    if (!m) {
        return oct_no_memory("the metrics", sizeof *m);
    }
    for (int h = 0; h < OCT_N_RECENT; h++) {
        for (int i = 0; i < OCT_RECENT_SLOTS; i++) {
            m->recent[h][i].number = INT64_MIN / 2; /* long ago */
        }
    }
    m->routes[0].name = "other";
    m->n_routes = 1;
    m->start_wall_s = oct_clock_wall_s();
    m->memory_bytes = oct_machine_memory();
    *out = m;
    return OCT_OK;
}

void oct_metrics_destroy(struct oct_metrics *m)
{
    oct_free(m);
}

void oct_metrics_first_token(struct oct_metrics *m, int64_t ttft_us)
{
    observe_hist(m, OCT_HIST_TTFT, ttft_us);
    observe_recent(m, OCT_METRICS_TTFT, ttft_us);
}

void oct_metrics_next_token(struct oct_metrics *m, int64_t itl_us)
{
    observe_hist(m, OCT_HIST_ITL, itl_us);
    observe_recent(m, OCT_METRICS_ITL, itl_us);
}

static enum oct_metrics_end end_of(oct_finish f)
{
    switch (f) {
    case OCT_FINISH_STOP:
        return OCT_END_STOP;
    case OCT_FINISH_LENGTH:
        return OCT_END_LENGTH;
    case OCT_FINISH_CANCELLED:
        return OCT_END_ABORT;
    case OCT_FINISH_NONE:
    case OCT_FINISH_ERROR:
        break;
    }
    return OCT_END_ERROR;
}

void oct_metrics_request(struct oct_metrics *m, const struct oct_metrics_request *r)
{
    m->ends[end_of(r->finish)]++;
    observe_hist(m, OCT_HIST_E2E, r->e2e_us);
    observe_recent(m, OCT_METRICS_E2E, r->e2e_us);
    observe_hist(m, OCT_HIST_PROMPT_TOKENS, r->n_prompt_tokens);
    observe_hist(m, OCT_HIST_GENERATION_TOKENS, r->n_output_tokens);
    if (r->max_tokens > 0) {
        observe_hist(m, OCT_HIST_MAX_TOKENS, r->max_tokens);
    }
    if (r->queue_us >= 0) {
        observe_hist(m, OCT_HIST_QUEUE, r->queue_us);
    }
    if (r->prefill_us >= 0) {
        observe_hist(m, OCT_HIST_PREFILL, r->prefill_us);
        observe_hist(m, OCT_HIST_INFERENCE, r->prefill_us + (r->decode_us > 0 ? r->decode_us : 0));
    }
    if (r->decode_us >= 0) {
        observe_hist(m, OCT_HIST_DECODE, r->decode_us);
        if (r->n_output_tokens > 1) {
            observe_hist(m, OCT_HIST_TPOT, r->decode_us / (r->n_output_tokens - 1));
        }
    }
}

void oct_metrics_http(struct oct_metrics *m, const char *route, int status, int64_t us)
{
    int at = 0;
    while (at < m->n_routes && strcmp(m->routes[at].name, route) != 0) {
        at++;
    }
    if (at == m->n_routes) {
        if (at == OCT_METRICS_ROUTES) {
            at = 0; /* "other" */
        } else {
            m->routes[at].name = route;
            m->n_routes++;
        }
    }
    struct oct_route *r = &m->routes[at];
    observe(&r->time, OCT_BOUNDS_ANSWER, us);
    int c = 0;
    while (c < OCT_ROUTE_CODES - 1 && r->codes[c].n > 0 && r->codes[c].status != status) {
        c++;
    }
    /* The last place counts what has none of its own, as status 0. */
    if (r->codes[c].n == 0) {
        r->codes[c].status = c == OCT_ROUTE_CODES - 1 ? 0 : status;
    }
    r->codes[c].n++;
}
