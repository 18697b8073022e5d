/* SPDX-License-Identifier: Apache-2.0
 *
 * bench_model.c - how fast a model reads a prompt (pp512) and writes (tg128), alone and in batches,
 * through the engine as a program uses it; and where the time of a step goes. */
#include "serve/bench.h"
#include "serve/open_engine.h"
#include "serve/progress.h"

#include "engine/plan.h"
#include "model/source.h"
#include "paging.h"

#include "base/clock.h"
#include "base/rng.h"

#include <stdio.h>
#include <string.h>

enum {
    PROMPT_TOKENS = 512,
    OUTPUT_TOKENS = 128,
    SHORT_PROMPT = 8, /* of those that write */
    MAX_BATCH = 64,
    N_RESULTS = 8,
};

struct result {
    char name[32];
    int32_t rows;
    double tokens_per_s;
    double step_us, schedule_us, forward_us, sample_us, deliver_us; /* per step */
};

struct bench {
    oct_engine *engine;
    int32_t n_vocab;
    int rounds;
    int32_t prompt[PROMPT_TOKENS];
    int n_started; /* requests whose first token has come */
    int n_ended;
    oct_status failed;
    char error[512];
    struct result result[N_RESULTS];
    int n_results;
};

static void on_event(void *user, const struct oct_event *ev)
{
    struct bench *b = user;
    b->n_started += ev->n_output_tokens == 1 && ev->token >= 0;
    b->n_ended += ev->finish != OCT_FINISH_NONE;
    if (ev->finish == OCT_FINISH_ERROR && b->failed == OCT_OK) {
        b->failed = ev->status;
        (void)snprintf(b->error, sizeof b->error, "%s", ev->error);
    }
}

/* Random ids of plain tokens: what they mean does not change the work. */
static void make_prompt(struct bench *b, uint64_t seed)
{
    for (int i = 0; i < PROMPT_TOKENS; i += 4) {
        uint32_t w[4];
        oct_rng_philox(seed, (uint64_t)i, 0, w);
        for (int k = 0; k < 4; k++) {
            b->prompt[i + k] = (int32_t)(w[k] % (uint32_t)b->n_vocab);
        }
    }
}

static oct_status submit(struct bench *b, int32_t n_prompt, int32_t n_output)
{
    struct oct_sampling s = OCT_SAMPLING_INIT;
    struct oct_request q = OCT_REQUEST_INIT;
    uint64_t id;
    s.temperature = 0;
    s.max_tokens = n_output;
    s.ignore_eos = true;
    q.prompt = b->prompt;
    q.n_prompt = (size_t)n_prompt;
    q.sampling = &s;
    q.on_event = on_event;
    q.user = b;
    return oct_engine_submit(b->engine, &q, &id);
}

static oct_status step(struct bench *b)
{
    size_t n_active;
    OCT_TRY(oct_engine_step(b->engine, &n_active));
    return b->failed == OCT_OK ? OCT_OK : OCT_FAIL(b->failed, "%s", b->error);
}

static struct oct_engine_stats stats_of(const struct bench *b)
{
    struct oct_engine_stats s = {.size = sizeof s};
    oct_engine_get_stats(b->engine, &s);
    return s;
}

/* The stats are those of the last turn that took mail: one more turn, with nothing to do, brings
 * them up to date. */
static oct_status drain(struct bench *b, int n)
{
    while (b->n_ended < n) {
        OCT_TRY(step(b));
    }
    return step(b);
}

/* Time from one event to another, split over the steps between. */
static void put(struct result *r, int64_t us, double tokens, const struct oct_engine_stats *a,
                const struct oct_engine_stats *z)
{
    const double steps = (double)(z->n_steps - a->n_steps);
    r->tokens_per_s = us > 0 ? tokens * 1e6 / (double)us : 0;
    r->step_us = steps > 0 ? (double)us / steps : 0;
    r->schedule_us = steps > 0 ? (double)(z->schedule_us - a->schedule_us) / steps : 0;
    r->forward_us = steps > 0 ? (double)(z->forward_us - a->forward_us) / steps : 0;
    r->sample_us = steps > 0 ? (double)(z->sample_us - a->sample_us) / steps : 0;
    r->deliver_us = steps > 0 ? (double)(z->deliver_us - a->deliver_us) / steps : 0;
}

static oct_status read_prompt(struct bench *b, uint64_t seed, struct result *r)
{
    b->n_started = b->n_ended = 0;
    make_prompt(b, seed);
    const struct oct_engine_stats a = stats_of(b);
    const int64_t start = oct_clock_us();
    OCT_TRY(submit(b, PROMPT_TOKENS, 1));
    while (b->n_ended < 1) {
        OCT_TRY(step(b));
    }
    const int64_t us = oct_clock_us() - start;
    OCT_TRY(step(b));
    const struct oct_engine_stats z = stats_of(b);
    put(r, us, PROMPT_TOKENS, &a, &z);
    return OCT_OK;
}

/* n requests write together; timed from when all of them have begun. */
static oct_status write_together(struct bench *b, uint64_t seed, int n, struct result *r)
{
    b->n_started = b->n_ended = 0;
    for (int i = 0; i < n; i++) {
        make_prompt(b, seed + (uint64_t)i);
        OCT_TRY(submit(b, SHORT_PROMPT, OUTPUT_TOKENS + n)); /* the first may start n steps early */
    }
    while (b->n_started < n) {
        OCT_TRY(step(b));
    }
    const struct oct_engine_stats a = stats_of(b);
    const int64_t start = oct_clock_us();
    for (int i = 0; i < OUTPUT_TOKENS && b->n_ended == 0; i++) {
        OCT_TRY(step(b));
    }
    const int64_t us = oct_clock_us() - start;
    const struct oct_engine_stats z = stats_of(b);
    put(r, us, (double)n * (double)(z.n_steps - a.n_steps), &a, &z);
    return drain(b, n);
}

static int by_speed(const struct result *a, const struct result *b)
{
    return (a->tokens_per_s > b->tokens_per_s) - (a->tokens_per_s < b->tokens_per_s);
}

/* The round of median speed. */
static oct_status measure(struct bench *b, const char *name, int n)
{
    struct result all[OCT_BENCH_MAX_ROUNDS];
    for (int i = 0; i < b->rounds; i++) {
        struct result r = {.rows = n};
        (void)snprintf(r.name, sizeof r.name, "%s", name);
        const uint64_t seed = (uint64_t)(i + 1) << 32;
        OCT_TRY(n == 0 ? read_prompt(b, seed, &r) : write_together(b, seed, n, &r));
        int at = i;
        for (; at > 0 && by_speed(&all[at - 1], &r) > 0; at--) {
            all[at] = all[at - 1];
        }
        all[at] = r;
    }
    b->result[b->n_results++] = all[b->rounds / 2];
    return OCT_OK;
}

static oct_status measure_all(struct bench *b)
{
    OCT_TRY(measure(b, "pp512", 0));
    for (int n = 1; n <= MAX_BATCH; n *= 2) {
        char name[32];
        (void)snprintf(name, sizeof name, n == 1 ? "tg128" : "tg128 x %d", n);
        if (oct_terminal_has_style(2)) {
            oct_progress_draw_bar((double)b->n_results / N_RESULTS, name);
        }
        OCT_TRY(measure(b, name, n));
    }
    return OCT_OK;
}

/* ---- results ---- */

static oct_status print_table(struct oct_output *out, const struct bench *b)
{
    char line[160];
    int n = snprintf(line, sizeof line, "%-12s %10s %12s %12s %12s %12s %12s\n", "", "tokens/s",
                     "step us", "schedule us", "forward us", "sample us", "deliver us");
    OCT_TRY(oct_output_write(out, line, (size_t)n));
    for (int i = 0; i < b->n_results; i++) {
        const struct result *r = &b->result[i];
        n = snprintf(line, sizeof line, "%-12s %10.1f %12.0f %12.1f %12.0f %12.1f %12.1f\n",
                     r->name, r->tokens_per_s, r->step_us, r->schedule_us, r->forward_us,
                     r->sample_us, r->deliver_us);
        OCT_TRY(oct_output_write(out, line, (size_t)n));
    }
    return OCT_OK;
}

static oct_status print_json(struct oct_output *out, const struct bench *b)
{
    json_t *rows = json_array();
    bool ok = rows != NULL;
    for (int i = 0; ok && i < b->n_results; i++) {
        const struct result *r = &b->result[i];
        ok = json_array_append_new(rows, json_pack("{s:s, s:i, s:f, s:f, s:f, s:f, s:f, s:f}",
                                                   "name", r->name, "batch", r->rows,
                                                   "tokens_per_s", r->tokens_per_s, "step_us",
                                                   r->step_us, "schedule_us", r->schedule_us,
                                                   "forward_us", r->forward_us, "sample_us",
                                                   r->sample_us, "deliver_us", r->deliver_us)) == 0;
    }
    struct oct_engine_info info = {.size = sizeof info};
    oct_engine_get_info(b->engine, &info);
    json_t *o = ok ? json_pack("{s:s, s:s, s:s, s:i, s:O}", "suite", "model", "architecture",
                               info.architecture, "dtype", info.dtype, "threads", info.n_threads,
                               "results", rows)
                   : NULL;
    json_decref(rows);
    const oct_status st = o ? oct_output_json(out, o, false) : oct_no_memory("JSON output", 1);
    json_decref(o);
    return st;
}

/* Room for the largest batch, whatever the default: nobody is preempted here. */
static oct_status size_cache(const char *path, struct oct_engine_options *o)
{
    struct oct_source *source = NULL;
    struct oct_model_config config;
    struct oct_plan plan;
    oct_status st;
    OCT_TRY(oct_source_open(path, &source));
    OCT_TRY_GOTO(oct_config_load(source, &config), st, done);
    o->max_model_len =
        config.max_positions < o->max_model_len ? config.max_positions : o->max_model_len;
    OCT_TRY_GOTO(oct_plan_make(&config, o, NULL, false, &plan), st, done);
    o->kv_cache_bytes = (int64_t)((uint64_t)plan.kv_bytes_per_token * K_PAGE_TOKENS *
                                  (uint64_t)plan.blocks_per_seq * MAX_BATCH);
done:
    oct_source_close(source);
    return st;
}

static oct_status open_engine(const struct oct_params *p, const char *path, oct_engine **out)
{
    struct oct_engine_options o = oct_command_options(p, path);
    o.max_model_len = PROMPT_TOKENS + OUTPUT_TOKENS;
    o.max_num_seqs = MAX_BATCH;
    o.max_num_batched_tokens = PROMPT_TOKENS;
    o.prefix_cache = OCT_SWITCH_OFF; /* each round does the whole work */
    o.manual = 1;
    OCT_TRY(size_cache(path, &o));
    return oct_command_open(&o, out);
}

oct_status oct_bench_model(const struct oct_params *p, const char *path, struct oct_output *out)
{
    struct bench b = {.rounds = (int)oct_param_int(p, OCT_P_REPEAT, 5)};
    oct_status st;
    if (!path) {
        return OCT_FAIL(OCT_E_ARG,
                        "no model is given; name a Hugging Face directory or a .gguf file");
    }
    oct_command_sandbox(p, path, NULL);
    OCT_TRY(open_engine(p, path, &b.engine));
    struct oct_engine_info info = {.size = sizeof info};
    oct_engine_get_info(b.engine, &info);
    b.n_vocab = info.vocab_size;
    if (info.max_model_len < PROMPT_TOKENS + OUTPUT_TOKENS) {
        oct_engine_close(b.engine);
        return OCT_FAIL(OCT_E_UNSUPPORTED, "the model's context is %d tokens; this suite needs %d",
                        info.max_model_len, PROMPT_TOKENS + OUTPUT_TOKENS);
    }
    st = measure_all(&b);
    if (oct_terminal_has_style(2)) {
        oct_progress_erase_bar();
    }
    if (st == OCT_OK) {
        st = oct_param_bool(p, OCT_P_JSON) ? print_json(out, &b) : print_table(out, &b);
    }
    oct_engine_close(b.engine);
    return st;
}
