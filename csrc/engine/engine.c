/* SPDX-License-Identifier: Apache-2.0
 *
 * engine.c - opening, submitting, stepping, closing. One thread at a time owns an engine. */
#include "engine/engine.h"

#include "base/clock.h"
#include "base/mem.h"
#include "cpu/cpu.h"

#include <omp.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

enum { MAX_WAITING = 65536 };

/* ---- open and close ---- */

static oct_status load(struct oct_engine *e, const struct oct_engine_options *o)
{
    struct oct_source *src = NULL;
    oct_status st;
    OCT_TRY_GOTO(oct_source_open(o->model_path, &src), st, done);
    OCT_TRY_GOTO(oct_config_load(src, &e->cfg), st, done);
    OCT_TRY_GOTO(oct_vocab_load(src, &e->cfg, &e->vocab), st, done);
    OCT_TRY_GOTO(oct_chat_init(&e->chat, e->vocab, o->chat_template, o->chat_template_name), st,
                 done);
    OCT_TRY_GOTO(oct_cpu_open(o->n_threads, &e->dev), st, done);
    OCT_TRY_GOTO(oct_plan_make(&e->cfg, o, e->dev->memory_bytes, &e->plan), st, done);
    e->n_vocab = oct_tokenizer_n_tokens(e->vocab->tokenizer);
    e->n_vocab = e->n_vocab > e->cfg.vocab_size ? e->cfg.vocab_size : e->n_vocab;
    OCT_TRY_GOTO(oct_model_load(src, &e->cfg, e->dev, e->plan.dtype, e->plan.max_model_len,
                                o->progress, o->progress_user, &e->model),
                 st, done);
    OCT_TRY_GOTO(oct_exec_init(&e->exec, e->model, &e->plan, e->n_vocab), st, done);
    OCT_TRY_GOTO(oct_kv_pool_init(&e->kv, e->plan.n_pages), st, done);
    e->running = oct_calloc((size_t)e->plan.max_num_seqs, sizeof *e->running);
    if (!e->running) {
        st = oct_no_memory("running requests", (size_t)e->plan.max_num_seqs * sizeof *e->running);
    }
done:
    oct_source_close(src);
    return st;
}

oct_status oct_engine_open(const struct oct_engine_options *o, oct_engine **out)
{
    if (!o || !out || o->size != sizeof *o) {
        return OCT_FAIL(OCT_E_ARG, "struct oct_engine_options is not this library's; fill it with "
                                   "OCT_ENGINE_OPTIONS_INIT");
    }
    if (!o->model_path || !o->model_path[0]) {
        return OCT_FAIL(OCT_E_ARG, "no model path; give a model directory or a .gguf file");
    }
    if (o->n_threads < 0 || o->n_threads > 4096) {
        return OCT_FAIL(OCT_E_ARG, "n_threads is %d; it must be between 0 and 4096", o->n_threads);
    }
    const int64_t start_us = oct_clock_us();
    struct oct_engine *e = oct_calloc(1, sizeof *e);
    if (!e) {
        return oct_no_memory("an engine", sizeof *e);
    }
    e->next_id = 1;
    e->n_threads = o->n_threads;
    if (e->n_threads == 0) {
        cpu_set_t cpus;
        e->n_threads = sched_getaffinity(0, sizeof cpus, &cpus) == 0 ? CPU_COUNT(&cpus) : 1;
    }
    const int before = omp_get_max_threads(); /* of this thread alone: give the caller's back */
    omp_set_num_threads(e->n_threads);
    const oct_status st = load(e, o);
    omp_set_num_threads(before);
    if (st != OCT_OK) {
        oct_engine_close(e);
        return st;
    }
    e->load_us = oct_clock_us() - start_us;
    *out = e;
    return OCT_OK;
}

/* The request's one last event; frees it. */
static void end(struct oct_req *r, oct_finish how, oct_status status, const char *error,
                int32_t token, float logprob, const struct k_sample_top *top, int32_t n_top)
{
    oct_req_send(r, how, status, error, token, logprob, top, n_top, oct_clock_us());
    oct_req_destroy(r);
}

/* Ends running request i: its place becomes empty before the callback, which may submit and cancel,
 * is called. compact() closes the gaps. */
static void end_running(struct oct_engine *e, int32_t i, oct_finish how, oct_status status,
                        const char *error, int32_t token, float logprob,
                        const struct k_sample_top *top, int32_t n_top)
{
    struct oct_req *r = e->running[i];
    e->running[i] = NULL;
    oct_kv_release(&e->kv, r->pages, r->n_pages, r->max_pages - r->n_pages);
    if (token < 0) {
        oct_buf_clear(&r->text);
    }
    end(r, how, status, error, token, logprob, top, n_top);
}

static void compact(struct oct_engine *e)
{
    int32_t kept = 0;
    for (int32_t i = 0; i < e->n_running; i++) {
        if (e->running[i]) {
            e->running[kept++] = e->running[i];
        }
    }
    e->n_running = kept;
}

/* Ends every request, running and waiting. */
static void finish_all(struct oct_engine *e, oct_finish how, oct_status status, const char *error)
{
    for (int32_t i = 0; i < e->n_running; i++) {
        if (e->running[i]) {
            end_running(e, i, how, status, error, -1, 0, NULL, 0);
        }
    }
    e->n_running = 0;
    while (e->waiting_head) {
        struct oct_req *r = e->waiting_head;
        e->waiting_head = r->next;
        e->n_waiting--;
        end(r, how, status, error, -1, 0, NULL, 0);
    }
    e->waiting_tail = NULL;
}

void oct_engine_close(oct_engine *e)
{
    if (!e) {
        return;
    }
    OCT_ASSERT(!e->in_step);
    e->dead = OCT_E_CANCELLED; /* callbacks that submit are refused */
    (void)snprintf(e->dead_text, sizeof e->dead_text, "the engine was closed");
    finish_all(e, OCT_FINISH_CANCELLED, OCT_E_CANCELLED, "the engine was closed");
    oct_free(e->running);
    oct_kv_pool_deinit(&e->kv);
    oct_exec_deinit(&e->exec);
    oct_model_destroy(e->model);
    oct_dev_close(e->dev);
    oct_chat_deinit(&e->chat);
    oct_vocab_destroy(e->vocab);
    oct_free(e);
}

void oct_engine_get_info(const oct_engine *e, struct oct_engine_info *out)
{
    const struct oct_engine_info info = {
        .size = out->size,
        .vocab_size = e->n_vocab,
        .max_model_len = e->plan.max_model_len,
        .n_layers = e->cfg.n_layers,
        .n_threads = e->n_threads,
        .max_num_seqs = e->plan.max_num_seqs,
        .max_num_batched_tokens = e->plan.max_num_batched_tokens,
        .n_params = e->plan.n_params,
        .weight_bytes = e->plan.weight_bytes,
        .kv_cache_bytes = e->plan.kv_cache_bytes,
        .workspace_bytes = e->plan.workspace_bytes,
        .load_us = e->load_us,
        .architecture = e->model->arch->name,
        .dtype = e->plan.dtype == K_F32 ? "float32" : "bfloat16",
    };
    memcpy(out, &info, out->size < sizeof info ? out->size : sizeof info);
}

void oct_engine_on_logits(struct oct_engine *e, oct_logits_fn fn, void *user)
{
    e->on_logits = fn;
    e->on_logits_user = user;
}

/* ---- requests ---- */

static oct_status dead(const struct oct_engine *e)
{
    return OCT_FAIL(e->dead, "%s", e->dead_text);
}

oct_status oct_engine_submit(oct_engine *e, const struct oct_request *q, uint64_t *id)
{
    if (e->dead != OCT_OK) {
        return dead(e);
    }
    if (e->n_waiting >= MAX_WAITING) {
        return OCT_FAIL(OCT_E_BUSY, "%d requests wait already; try again later", e->n_waiting);
    }
    struct oct_req *r;
    OCT_TRY(oct_req_create(q, &e->cfg, e->vocab, e->n_vocab, e->plan.max_model_len, &r));
    r->id = e->next_id++;
    if (e->waiting_tail) {
        e->waiting_tail->next = r;
    } else {
        e->waiting_head = r;
    }
    e->waiting_tail = r;
    e->n_waiting++;
    *id = r->id;
    return OCT_OK;
}

oct_status oct_engine_cancel(oct_engine *e, uint64_t id)
{
    for (int32_t i = 0; i < e->n_running; i++) {
        if (e->running[i] && e->running[i]->id == id) {
            e->running[i]->cancelled = true;
            return OCT_OK;
        }
    }
    for (struct oct_req *r = e->waiting_head; r; r = r->next) {
        if (r->id == id) {
            r->cancelled = true;
            return OCT_OK;
        }
    }
    return OCT_FAIL(OCT_E_NOTFOUND, "request %llu does not run; it may have ended",
                    (unsigned long long)id);
}

/* ---- a step ---- */

static void drop_cancelled(struct oct_engine *e)
{
    static const char why[] = "cancelled";
    for (int32_t i = 0; i < e->n_running; i++) {
        if (e->running[i]->cancelled) {
            end_running(e, i, OCT_FINISH_CANCELLED, OCT_E_CANCELLED, why, -1, 0, NULL, 0);
        }
    }
    compact(e);
    /* Unlink first, call back afterwards: a callback may add to the list. */
    struct oct_req *gone = NULL, *last = NULL;
    for (struct oct_req **at = &e->waiting_head; *at;) {
        struct oct_req *r = *at;
        if (r->cancelled) {
            *at = r->next;
            r->next = gone;
            gone = r;
            e->n_waiting--;
        } else {
            last = r;
            at = &r->next;
        }
    }
    e->waiting_tail = last;
    while (gone) {
        struct oct_req *r = gone;
        gone = r->next;
        end(r, OCT_FINISH_CANCELLED, OCT_E_CANCELLED, why, -1, 0, NULL, 0);
    }
}

/* Takes the token the step chose for running request i: text, stop conditions, event. */
static void advance(struct oct_engine *e, int32_t i, int64_t now_us)
{
    struct oct_req *r = e->running[i];
    const struct k_sample_out *o = &e->exec.out[r->step_out];
    const struct k_sample_top *top = &e->exec.top[(int64_t)r->step_out * K_SAMPLE_MAX_TOP];
    const int32_t n_top = r->sampler.row.n_top > 0 ? r->sampler.row.n_top : 0;
    oct_buf_clear(&r->text);
    if (o->token == K_SAMPLE_NOT_A_NUMBER) {
        end_running(e, i, OCT_FINISH_ERROR, OCT_E_NUMERIC,
                    "the model's output is not a number here; the weights may be damaged, or the "
                    "token mask forbids every token",
                    -1, 0, NULL, 0);
        return;
    }
    const int32_t token = o->token;
    if (r->first_token_us == 0) {
        r->first_token_us = now_us;
    }
    r->tokens[r->n_tokens++] = token;
    oct_sampler_add(&r->sampler, token);

    oct_finish how = OCT_FINISH_NONE;
    oct_status st = OCT_OK;
    if (oct_sampler_is_stop(&r->sampler, token)) {
        how = OCT_FINISH_STOP;
    } else {
        st = oct_detok_add(&r->detok, token, &r->text);
        if (r->detok.stopped >= 0) {
            how = OCT_FINISH_STOP;
        } else if (oct_req_n_output(r) >= r->sampler.max_tokens) {
            how = OCT_FINISH_LENGTH;
        }
    }
    if (st == OCT_OK && how != OCT_FINISH_NONE && r->detok.stopped < 0) {
        st = oct_detok_finish(&r->detok, &r->text);
    }
    if (st != OCT_OK) {
        char why[256];
        (void)snprintf(why, sizeof why, "%s", oct_last_error());
        end_running(e, i, OCT_FINISH_ERROR, st, why, token, o->logprob, top, n_top);
    } else if (how != OCT_FINISH_NONE) {
        end_running(e, i, how, OCT_OK, NULL, token, o->logprob, top, n_top);
    } else {
        oct_req_send(r, OCT_FINISH_NONE, OCT_OK, NULL, token, o->logprob, top, n_top, now_us);
    }
}

/* The hook sees every row: out_rows lists the sampled rows first, the others behind them. */
static void want_all_logits(struct oct_engine *e)
{
    struct oct_exec *x = &e->exec;
    for (int32_t row = 0; row < x->n_rows; row++) {
        bool listed = false;
        for (int32_t i = 0; i < x->n_sample; i++) {
            listed = listed || x->out_rows[i] == row;
        }
        if (!listed) {
            x->out_rows[x->n_out++] = row;
        }
    }
}

static void show_logits(struct oct_engine *e, const uint64_t *seq_ids)
{
    const struct oct_exec *x = &e->exec;
    for (int32_t i = 0; i < x->n_out; i++) {
        const int32_t row = x->out_rows[i];
        e->on_logits(e->on_logits_user, seq_ids[x->row_seq[row]], x->positions[row],
                     oct_exec_logits(x, i), e->cfg.vocab_size);
    }
}

static oct_status run_device(struct oct_engine *e)
{
    if (e->on_logits) {
        want_all_logits(e);
    }
    OCT_TRY(oct_exec_forward(&e->exec));
    if (e->on_logits) {
        uint64_t ids[1024]; /* plan.c: max_num_seqs <= 1024 */
        int32_t seq = 0;
        for (int32_t i = 0; i < e->n_running; i++) {
            if (e->running[i]->step_rows > 0) {
                ids[seq++] = e->running[i]->id;
            }
        }
        show_logits(e, ids);
    }
    return oct_exec_sample(&e->exec);
}

/* Puts the picked requests into the step; those whose token mask gives up leave. */
static void fill(struct oct_engine *e)
{
    oct_exec_begin(&e->exec);
    for (int32_t i = 0; i < e->n_running; i++) {
        if (e->running[i]->step_rows > 0 && !oct_exec_add(&e->exec, e->running[i])) {
            end_running(e, i, OCT_FINISH_ERROR, OCT_E_ARG, "the request's token mask gave up", -1,
                        0, NULL, 0);
        }
    }
    compact(e);
}

static oct_status step(struct oct_engine *e)
{
    drop_cancelled(e);
    oct_fcfs_admit(e);
    if (e->n_running == 0 || oct_fcfs_pick(e) == 0) {
        return OCT_OK;
    }
    fill(e);
    if (e->exec.n_rows == 0) {
        return OCT_OK;
    }
    const oct_status st = run_device(e);
    if (st != OCT_OK) {
        e->dead = st;
        (void)snprintf(e->dead_text, sizeof e->dead_text, "%s", oct_last_error());
        finish_all(e, OCT_FINISH_ERROR, st, e->dead_text);
        return dead(e);
    }
    const int64_t now_us = oct_clock_us();
    for (int32_t i = 0; i < e->n_running; i++) {
        struct oct_req *r = e->running[i];
        r->n_computed += r->step_rows;
        if (r->step_rows > 0 && r->step_out >= 0) {
            advance(e, i, now_us);
        }
    }
    compact(e);
    return OCT_OK;
}

oct_status oct_engine_step(oct_engine *e, size_t *n_active)
{
    if (e->dead != OCT_OK) {
        return dead(e);
    }
    OCT_ASSERT(!e->in_step); /* octavo.h: a callback may not step */
    e->in_step = true;
    const int before = omp_get_max_threads();
    omp_set_num_threads(e->n_threads);
    const oct_status st = step(e);
    omp_set_num_threads(before);
    e->in_step = false;
    if (st == OCT_OK && n_active) {
        *n_active = (size_t)e->n_running + (size_t)e->n_waiting;
    }
    return st;
}
