/* SPDX-License-Identifier: Apache-2.0 */
#include "support/fake_runner.h"

#include "base/clock.h"
#include "support/tiny.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct slot {
    int32_t token, position, group; /* token -1: never written */
    int32_t first;                  /* token of its sequence */
    uint64_t chain;
};

struct fake_runner {
    struct fake_options o;
    struct oct_batch batch;
    struct slot *slots; /* [n_pages, K_PAGE_TOKENS] */
    struct k_sample_out *out;
    struct k_sample_top *top;
    bool launched, hangs;
    struct fake_counts counts;
};

/* ---- the model ---- */

static uint64_t mix(uint64_t h, uint64_t x)
{
    h = (h ^ x) * 0x9e3779b97f4a7c15;
    return h ^ h >> 29;
}

static uint64_t chain_of(uint64_t before, int32_t token, int32_t position)
{
    return mix(before, (uint64_t)(uint32_t)token << 32 | (uint32_t)position);
}

static int32_t token_of(uint64_t h)
{
    const int32_t t = (int32_t)(mix(h, 17) % FAKE_N_TOKENS);
    return t == FAKE_STOP_TOKEN ? t + 1 : t;
}

float fake_logprob(int32_t token)
{
    return -(float)(token + 1) / 64.0f;
}

static int32_t first_visible(int32_t position, int32_t window)
{
    return window == 0 || position < window ? 0 : position - window + 1;
}

void fake_answer(const struct fake_options *o, const int32_t *prompt, int32_t n_prompt,
                 int32_t *out, int32_t n_out)
{
    const int32_t n_groups = o->n_groups ? o->n_groups : 1;
    uint64_t *chain = oct_calloc((size_t)(n_prompt + n_out), sizeof *chain);
    OCT_ASSERT(chain);
    for (int32_t i = 0; i < n_prompt + n_out - 1; i++) {
        const int32_t token = i < n_prompt ? prompt[i] : out[i - n_prompt];
        chain[i] = chain_of(i ? chain[i - 1] : 0, token, i);
        if (i < n_prompt - 1) {
            continue;
        }
        uint64_t h = 0;
        for (int32_t g = 0; g < n_groups; g++) {
            const int32_t first = o->quick ? i : first_visible(i, o->windows[g]);
            for (int32_t k = first; k <= i; k++) {
                h = mix(h, chain[k]);
            }
        }
        out[i - n_prompt + 1] = token_of(h);
    }
    oct_free(chain);
}

/* ---- the runner ---- */

static struct slot *slot_at(const struct fake_runner *f, int32_t group, int32_t seq,
                            int32_t position)
{
    const struct oct_batch *b = &f->batch;
    const int32_t page =
        b->page_table[group * b->group_stride + seq * b->table_stride + position / K_PAGE_TOKENS];
    OCT_ASSERT(page >= 0 && page < f->o.n_pages); /* -1: a page that is needed is not there */
    return &f->slots[(int64_t)page * K_PAGE_TOKENS + position % K_PAGE_TOKENS];
}

/* What stands at a position; it must have been written there, by this group. */
static const struct slot *read_slot(const struct fake_runner *f, int32_t group, int32_t seq,
                                    int32_t position)
{
    const struct slot *s = slot_at(f, group, seq, position);
    OCT_ASSERT(s->token >= 0 && s->position == position && s->group == group);
    return s;
}

static void write_row(struct fake_runner *f, int32_t row)
{
    const struct oct_batch *b = &f->batch;
    const int32_t token = b->ids[row], position = b->positions[row], seq = b->row_seq[row];
    OCT_ASSERT(token >= 0 && token < FAKE_N_TOKENS && seq >= 0 && seq < b->n_seqs);
    for (int32_t g = 0; g < b->n_groups; g++) {
        const struct slot *before = position ? read_slot(f, g, seq, position - 1) : NULL;
        *slot_at(f, g, seq, position) =
            (struct slot){.token = token,
                          .position = position,
                          .group = g,
                          .first = before ? before->first : token,
                          .chain = chain_of(before ? before->chain : 0, token, position)};
    }
}

static bool is_nan(const struct fake_runner *f, int32_t seq, int32_t position)
{
    return f->o.nan_first_token && position >= f->o.nan_position &&
           read_slot(f, 0, seq, position)->first == f->o.nan_first_token;
}

static void sample_row(struct fake_runner *f, int32_t k)
{
    const struct oct_batch *b = &f->batch;
    const int32_t row = b->out_rows[k], seq = b->row_seq[row], position = b->positions[row];
    uint64_t h = 0;
    for (int32_t g = 0; g < b->n_groups; g++) {
        const int32_t first = f->o.quick ? position : first_visible(position, f->o.windows[g]);
        for (int32_t p = first; p <= position; p++) {
            h = mix(h, read_slot(f, g, seq, p)->chain);
        }
    }
    const int32_t token = token_of(h);
    const int32_t chosen = b->rows[k].given ? b->rows[k].given - 1 : token;
    b->out[k].token = is_nan(f, seq, position) ? K_SAMPLE_NOT_A_NUMBER : chosen;
    b->out[k].logprob = fake_logprob(chosen);
    for (int32_t i = 0; i < b->rows[k].n_top; i++) {
        b->top[(int64_t)k * K_SAMPLE_MAX_TOP + i] =
            (struct k_sample_top){.token = token, .logprob = fake_logprob(token)};
    }
}

static struct oct_batch *get_batch(void *self)
{
    return &((struct fake_runner *)self)->batch;
}

static oct_status launch(void *self)
{
    struct fake_runner *f = self;
    OCT_ASSERT(!f->launched && f->batch.n_rows >= 1 &&
               f->batch.n_rows <= f->o.max_num_batched_tokens &&
               f->batch.n_seqs <= f->o.max_num_seqs && f->batch.n_sample <= f->batch.n_rows);
    f->launched = true;
    f->counts.n_steps++;
    if (f->counts.n_steps == f->o.fail_launch) {
        return OCT_FAIL(OCT_E_DEVICE, "the fake device refused step %d", f->o.fail_launch);
    }
    return OCT_OK;
}

static void run(struct fake_runner *f)
{
    const struct oct_batch *b = &f->batch;
    for (int32_t i = 0; i < b->n_rows; i++) {
        write_row(f, i);
    }
    for (int32_t k = 0; k < b->n_sample; k++) {
        sample_row(f, k);
    }
    f->counts.n_rows += b->n_rows;
}

static oct_status wait(void *self)
{
    struct fake_runner *f = self;
    OCT_ASSERT(f->launched);
    f->launched = false;
    const int64_t begin_us = oct_clock_us();
    if (f->counts.n_steps == f->o.fail_wait) {
        return OCT_FAIL(OCT_E_DEVICE, "the fake device failed in step %d", f->o.fail_wait);
    }
    if (f->counts.n_steps == f->o.hang) {
        f->hangs = true;
        return OCT_FAIL(OCT_E_DEADLINE, "the fake device takes too long");
    }
    if (f->o.delay_us > 0) {
        const struct timespec t = {.tv_sec = (time_t)(f->o.delay_us / 1000000),
                                   .tv_nsec = (long)(f->o.delay_us % 1000000 * 1000)};
        (void)nanosleep(&t, NULL);
    }
    run(f);
    f->batch.forward_us = oct_clock_us() - begin_us;
    f->batch.sample_us = 0;
    return OCT_OK;
}

/* The step that was given up comes to its end after all: what its rows point to is still there. */
static void come_back(struct fake_runner *f)
{
    const struct oct_batch *b = &f->batch;
    run(f);
    for (int32_t k = 0; k < b->n_sample; k++) {
        const struct k_sample_row *r = &b->rows[k];
        const struct k_sample_count *counts = (const void *)(uintptr_t)r->counts;
        for (int32_t i = 0; i < r->n_counts; i++) {
            OCT_ASSERT(counts[i].token >= 0 && counts[i].token < FAKE_N_TOKENS);
        }
    }
}

static bool close_runner(void *self)
{
    struct fake_runner *f = self;
    struct oct_batch *b = &f->batch;
    if (f->hangs && f->o.never_ends) {
        return false;
    }
    if (f->hangs) {
        come_back(f);
    }
    oct_free(b->ids);
    oct_free(b->positions);
    oct_free(b->row_seq);
    oct_free(b->page_table);
    oct_free(b->out_rows);
    oct_free(b->rows);
    oct_free(b->out);
    oct_free(b->top);
    oct_free(f->slots);
    oct_free(f);
    return true;
}

static oct_status runner_new(const struct fake_options *o, struct fake_runner **out)
{
    struct fake_runner *f = oct_calloc(1, sizeof *f);
    if (!f) {
        return oct_no_memory("the fake runner", sizeof *f);
    }
    const size_t rows = (size_t)o->max_num_batched_tokens, seqs = (size_t)o->max_num_seqs;
    const size_t n_slots = (size_t)o->n_pages * K_PAGE_TOKENS;
    struct oct_batch *b = &f->batch;
    f->o = *o;
    b->n_groups = o->n_groups;
    b->table_stride = o->max_model_len / K_PAGE_TOKENS + 1;
    b->group_stride = (int64_t)seqs * b->table_stride;
    b->ids = oct_calloc(rows, sizeof *b->ids);
    b->positions = oct_calloc(rows, sizeof *b->positions);
    b->row_seq = oct_calloc(rows, sizeof *b->row_seq);
    b->page_table = oct_calloc((size_t)(b->group_stride * b->n_groups), sizeof *b->page_table);
    b->out_rows = oct_calloc(rows, sizeof *b->out_rows);
    b->rows = oct_calloc(rows, sizeof *b->rows);
    b->out = oct_calloc(rows, sizeof *b->out);
    b->top = oct_calloc(rows * K_SAMPLE_MAX_TOP, sizeof *b->top);
    f->slots = oct_malloc(n_slots * sizeof *f->slots);
    if (!b->ids || !b->positions || !b->row_seq || !b->page_table || !b->out_rows || !b->rows ||
        !b->out || !b->top || !f->slots) {
        (void)close_runner(f);
        return oct_no_memory("the fake runner", n_slots * sizeof *f->slots);
    }
    memset(f->slots, 0xff, n_slots * sizeof *f->slots);
    *out = f;
    return OCT_OK;
}

/* ---- the engine ---- */

/* Made once: what writes test files does not survive a lack of memory. */
static const struct oct_buf *tokenizer_json(void)
{
    static struct oct_buf json;
    if (!json.data) {
        const struct oct_tiny t = oct_tiny_default(OCT_ARCH_LLAMA);
        oct_tiny_tokenizer_json(&t, &json);
    }
    return &json;
}

static oct_status vocab_new(struct oct_vocab **out)
{
    const struct oct_buf *json = tokenizer_json();
    struct oct_vocab *v = oct_calloc(1, sizeof *v);
    if (!v) {
        return oct_no_memory("a vocabulary", sizeof *v);
    }
    const oct_status st = oct_tokenizer_from_json(json->data, json->len, NULL, 0, &v->tokenizer);
    if (st != OCT_OK) {
        oct_vocab_destroy(v);
        return st;
    }
    v->stop_tokens[0] = FAKE_STOP_TOKEN;
    v->n_stop_tokens = 1;
    *out = v;
    return OCT_OK;
}

static int32_t or_else(int32_t value, int32_t fallback)
{
    return value ? value : fallback;
}

oct_status fake_try_open(const struct fake_options *options, struct fake *out)
{
    struct fake f = {0};
    struct fake_options o = *options;
    o.n_pages = or_else(o.n_pages, 64);
    o.n_groups = or_else(o.n_groups, 1);
    o.max_num_seqs = or_else(o.max_num_seqs, 8);
    o.max_num_batched_tokens = or_else(o.max_num_batched_tokens, 64);
    o.max_model_len = or_else(o.max_model_len, 512);
    const struct oct_model_config cfg = {.vocab_size = FAKE_N_TOKENS,
                                         .max_positions = o.max_model_len,
                                         .temperature = NAN,
                                         .top_p = NAN,
                                         .min_p = NAN,
                                         .repetition_penalty = NAN,
                                         .top_k = -1};
    struct oct_engine_parts parts = {
        .cfg = &cfg,
        .n_vocab = FAKE_N_TOKENS,
        .max_model_len = o.max_model_len,
        .sched = {.n_pages = o.n_pages,
                  .n_groups = o.n_groups,
                  .max_num_seqs = o.max_num_seqs,
                  .max_num_batched_tokens = o.max_num_batched_tokens,
                  .max_waiting = or_else(o.max_waiting, 1000),
                  .prefix_cache = !o.no_prefix_cache,
                  .hash_key_lo = 1,
                  .hash_key_hi = 2},
        .manual = o.manual,
        .on_events = o.on_events,
        .events_user = o.events_user,
    };
    memcpy(parts.sched.windows, o.windows, sizeof parts.sched.windows);
    OCT_TRY(vocab_new(&f.vocab));
    parts.vocab = f.vocab;
    oct_status st = runner_new(&o, &f.runner);
    if (st == OCT_OK) {
        const struct oct_runner runner = {.self = f.runner,
                                          .batch = get_batch,
                                          .launch = launch,
                                          .wait = wait,
                                          .close = close_runner};
        st = oct_engine_open_with(&parts, &runner, &f.e);
    }
    if (st != OCT_OK) {
        oct_vocab_destroy(f.vocab);
        return st;
    }
    *out = f;
    return OCT_OK;
}

void fake_open(const struct fake_options *o, struct fake *out)
{
    if (fake_try_open(o, out) != OCT_OK) {
        (void)fprintf(stderr, "fake_open: %s\n", oct_last_error());
        abort();
    }
}

void fake_close(struct fake *f)
{
    oct_engine_close(f->e);
    fake_free(f);
}

void fake_free(struct fake *f)
{
    oct_vocab_destroy(f->vocab);
    *f = (struct fake){0};
}

struct fake_counts fake_get_counts(const struct fake *f)
{
    return f->runner->counts;
}
