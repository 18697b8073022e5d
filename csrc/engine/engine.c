/* SPDX-License-Identifier: Apache-2.0
 *
 * engine.c - octavo.h from behind: opening, submitting, waiting, stepping, closing. Any thread may
 * be here; what is not its own it asks the mailbox for. */
#include "engine/engine.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/rng.h"
#include "device/cuda.h"
#include "engine/pick_device.h"
#include "engine/sized.h"
#include "engine/thread.h"

#include <sched.h>
#include <stddef.h>
#include <string.h>

enum { FIRST_OPTIONS_SIZE = offsetof(struct oct_engine_options, progress_user) + sizeof(void *) };

#define MAX_STEP_TIMEOUT_US ((int64_t)24 * 3600 * 1000000)

/* ---- open ---- */

static void *engine_thread(void *arg)
{
    struct oct_engine *e = arg;
    bool closing = false;
    oct_mailbox_set_owner(&e->core.mail, true);
    while (!closing) {
        const oct_status st = oct_core_turn(&e->core, true, &closing);
        (void)st; /* the requests were told; a dead engine sleeps here until it is closed */
    }
    oct_core_end_all(&e->core, OCT_FINISH_CANCELLED, OCT_E_CANCELLED, "the engine was closed");
    oct_mailbox_set_owner(&e->core.mail, false);
    return NULL;
}

/* cfg, vocab, n_vocab, plan.max_model_len and manual are set. Takes the runner. */
static oct_status begin(struct oct_engine *e, const struct oct_core_config *config,
                        const struct oct_runner *runner)
{
    OCT_TRY(oct_core_init(&e->core, config, runner));
    e->context = (struct oct_req_context){
        .cfg = &e->cfg,
        .vocab = e->vocab,
        .sched = e->core.sched,
        .n_vocab = e->n_vocab,
        .max_model_len = e->plan.max_model_len,
        .has_on_events = config->on_events != NULL,
    };
    if (!e->manual) {
        OCT_TRY(oct_thread_start(&e->thread, "octavo-engine", engine_thread, e));
        e->has_thread = true;
    }
    return OCT_OK;
}

static oct_status load(struct oct_engine *e, const struct oct_engine_options *o)
{
    struct oct_source *src = NULL;
    oct_status st;
    OCT_TRY_GOTO(oct_source_open(o->model_path, &src), st, done);
    OCT_TRY_GOTO(oct_config_load(src, &e->cfg), st, done);
    OCT_TRY_GOTO(oct_vocab_load(src, &e->cfg, &e->own_vocab), st, done);
    e->vocab = e->own_vocab;
    OCT_TRY_GOTO(oct_chat_init(&e->chat, e->vocab, o->chat_template, o->chat_template_name), st,
                 done);
    OCT_TRY_GOTO(oct_device_pick(o->device, o->n_threads, &e->dev), st, done);
    OCT_TRY_GOTO(oct_device_gemm_provider(e->dev, o->gemm_provider), st, done);
    oct_cuda_wait_each(e->dev, o->sync_kernels != 0);
    OCT_TRY_GOTO(oct_plan_make(&e->cfg, o, e->dev, true, &e->plan), st, done);
    OCT_TRY_GOTO(oct_dev_reserve(e->dev, e->plan.total_bytes), st, done);
    e->n_vocab = oct_tokenizer_n_tokens(e->vocab->tokenizer);
    e->n_vocab = e->n_vocab > e->cfg.vocab_size ? e->cfg.vocab_size : e->n_vocab;
    OCT_TRY_GOTO(oct_model_load(src, &e->cfg, e->dev, e->plan.dtype, e->plan.max_model_len,
                                o->progress, o->progress_user, &e->model),
                 st, done);
done:
    oct_source_close(src);
    return st;
}

/* A GPU runs the longest step in a second or two. On a CPU the chunk of a large model's prompt may
 * take minutes, and a thread that computes does not hang. */
static int64_t default_step_timeout_us(const struct oct_device *d)
{
    return d->host_memory ? 0 : 60 * 1000 * 1000;
}

static oct_status begin_model(struct oct_engine *e, const struct oct_engine_options *o)
{
    const struct oct_kv_layout *kv = &e->model->kv;
    struct oct_sched_config sched = {
        .n_pages = e->plan.n_pages,
        .n_groups = kv->n_groups,
        .max_num_seqs = e->plan.max_num_seqs,
        .max_num_batched_tokens = e->plan.max_num_batched_tokens,
        .max_waiting = e->plan.max_waiting,
        .prefix_cache = o->prefix_cache != OCT_SWITCH_OFF,
    };
    memcpy(sched.windows, kv->windows, sizeof sched.windows);
    OCT_TRY(oct_rng_fresh_seed(&sched.hash_key_lo));
    OCT_TRY(oct_rng_fresh_seed(&sched.hash_key_hi));
    const struct oct_exec_config exec = {
        .n_vocab = e->n_vocab,
        .threaded = !e->manual,
        .enforce_eager = o->enforce_eager != 0,
        .step_timeout_us = o->step_timeout_us > 0    ? o->step_timeout_us
                           : o->step_timeout_us == 0 ? default_step_timeout_us(e->dev)
                                                     : 0,
    };
    OCT_TRY(oct_dev_prepare(e->dev, &e->plan.limits));
    OCT_TRY(oct_exec_open(e->model, &e->plan, &exec, &e->exec));
    const struct oct_runner runner = oct_exec_runner(e->exec);
    const struct oct_core_config config = {
        .sched = &sched, .on_events = o->on_events, .events_user = o->events_user};
    return begin(e, &config, &runner);
}

static oct_status check_options(const struct oct_engine_options *o)
{
    if (!o->model_path || !o->model_path[0]) {
        return OCT_FAIL(OCT_E_ARG, "no model path; give a model directory or a .gguf file");
    }
    if (o->n_threads < 0 || o->n_threads > 4096) {
        return OCT_FAIL(OCT_E_ARG, "n_threads is %d; it must be between 0 and 4096", o->n_threads);
    }
    if (o->prefix_cache < OCT_SWITCH_DEFAULT || o->prefix_cache > OCT_SWITCH_OFF) {
        return OCT_FAIL(OCT_E_ARG, "prefix_cache is %d; it must be one of enum oct_switch, 0 to 2",
                        o->prefix_cache);
    }
    if (o->manual != 0 && o->manual != 1) {
        return OCT_FAIL(OCT_E_ARG, "manual is %d; it must be 0 or 1", o->manual);
    }
    if (o->enforce_eager != 0 && o->enforce_eager != 1) {
        return OCT_FAIL(OCT_E_ARG, "enforce_eager is %d; it must be 0 or 1", o->enforce_eager);
    }
    if (o->sync_kernels != 0 && o->sync_kernels != 1) {
        return OCT_FAIL(OCT_E_ARG, "sync_kernels is %d; it must be 0 or 1", o->sync_kernels);
    }
    if (o->step_timeout_us < -1 || o->step_timeout_us > MAX_STEP_TIMEOUT_US) {
        return OCT_FAIL(OCT_E_ARG, "step_timeout_us is %lld; it must be between -1 and a day",
                        (long long)o->step_timeout_us);
    }
    return OCT_OK;
}

oct_status oct_engine_open(const struct oct_engine_options *caller, oct_engine **out)
{
    struct oct_engine_options o = OCT_ENGINE_OPTIONS_INIT;
    if (!caller || !out) {
        return OCT_FAIL(OCT_E_ARG, "oct_engine_open needs options and a place for the engine");
    }
    OCT_TRY(oct_sized_read(&o, sizeof o, FIRST_OPTIONS_SIZE, caller, "oct_engine_options",
                           "OCT_ENGINE_OPTIONS_INIT"));
    OCT_TRY(check_options(&o));
    const int64_t start_us = oct_clock_us();
    struct oct_engine *e = oct_calloc(1, sizeof *e);
    if (!e) {
        return oct_no_memory("an engine", sizeof *e);
    }
    e->manual = o.manual;
    e->n_threads = o.n_threads;
    if (e->n_threads == 0) {
        cpu_set_t cpus;
        e->n_threads = sched_getaffinity(0, sizeof cpus, &cpus) == 0 ? CPU_COUNT(&cpus) : 1;
    }
    oct_status st = load(e, &o);
    if (st == OCT_OK) {
        st = begin_model(e, &o);
    }
    if (st != OCT_OK) {
        oct_engine_close(e);
        return st;
    }
    e->load_us = oct_clock_us() - start_us;
    *out = e;
    return OCT_OK;
}

oct_status oct_engine_open_with(const struct oct_engine_parts *p, const struct oct_runner *runner,
                                oct_engine **out)
{
    struct oct_engine *e = oct_calloc(1, sizeof *e);
    if (!e) {
        (void)runner->close(runner->self);
        return oct_no_memory("an engine", sizeof *e);
    }
    const struct oct_core_config config = {
        .sched = &p->sched, .on_events = p->on_events, .events_user = p->events_user};
    e->cfg = *p->cfg;
    e->vocab = p->vocab;
    e->n_vocab = p->n_vocab;
    e->manual = p->manual;
    e->n_threads = 1;
    e->plan = (struct oct_plan){.max_model_len = p->max_model_len,
                                .max_num_seqs = p->sched.max_num_seqs,
                                .max_num_batched_tokens = p->sched.max_num_batched_tokens,
                                .max_waiting = p->sched.max_waiting,
                                .n_pages = p->sched.n_pages};
    const oct_status st = begin(e, &config, runner);
    if (st != OCT_OK) {
        oct_engine_close(e);
        return st;
    }
    *out = e;
    return OCT_OK;
}

/* ---- close ---- */

static void end_here(struct oct_engine *e)
{
    oct_mailbox_set_owner(&e->core.mail, true); /* asserts that this is not a callback */
    oct_core_end_all(&e->core, OCT_FINISH_CANCELLED, OCT_E_CANCELLED, "the engine was closed");
    oct_mailbox_set_owner(&e->core.mail, false);
}

void oct_engine_close(oct_engine *e)
{
    if (!e) {
        return;
    }
    if (e->core.mail.has_lock) {
        OCT_ASSERT(!oct_mailbox_is_owner(&e->core.mail)); /* octavo.h: not from a callback */
        oct_mailbox_close(&e->core.mail);
        if (e->has_thread) {
            const int failed = pthread_join(e->thread, NULL);
            OCT_ASSERT(failed == 0);
        } else {
            end_here(e);
        }
        oct_mailbox_await_leave(&e->core.mail);
        if (!oct_core_deinit(&e->core)) {
            if (e->exec) {
                e->exec->left_behind = e; /* where who looks for leaks finds it */
            }
            return;
        }
    }
    oct_model_destroy(e->model);
    oct_dev_close(e->dev);
    oct_chat_deinit(&e->chat);
    oct_vocab_destroy(e->own_vocab);
    oct_free(e);
}

/* ---- facts ---- */

void oct_engine_get_info(const oct_engine *e, struct oct_engine_info *out)
{
    const struct oct_engine_info info = {
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
        .architecture = e->model ? e->model->arch->name : "none",
        .dtype = e->plan.dtype == K_F32 ? "float32" : "bfloat16",
        .device = e->dev && e->dev->about[0] ? e->dev->about : "cpu",
        .device_memory_bytes = e->dev ? e->dev->memory_bytes : 0,
        .device_others_bytes =
            e->dev && e->dev->free_bytes && e->dev->free_bytes < e->dev->memory_bytes
                ? e->dev->memory_bytes - e->dev->free_bytes
                : 0,
    };
    oct_sized_write(out, &info, sizeof info);
}

void oct_engine_get_stats(oct_engine *e, struct oct_engine_stats *out)
{
    struct oct_engine_stats stats;
    oct_mailbox_get_stats(&e->core.mail, &stats);
    oct_sized_write(out, &stats, sizeof stats);
}

void oct_engine_on_logits(struct oct_engine *e, oct_logits_fn fn, void *user)
{
    OCT_ASSERT(e->exec && !e->core.in_flight);
    e->exec->on_logits = fn;
    e->exec->on_logits_user = user;
    e->exec->step_ids = e->core.step_ids;
    e->core.every_row = fn != NULL;
    /* There is room for the logits of max_num_seqs rows. */
    e->core.row_limit = fn ? e->plan.max_num_seqs : 0;
}

/* ---- requests ---- */

oct_status oct_engine_submit(oct_engine *e, const struct oct_request *q, uint64_t *id)
{
    if (!q || !id) {
        return OCT_FAIL(OCT_E_ARG, "oct_engine_submit needs a request and a place for its id");
    }
    OCT_TRY(oct_mailbox_enter(&e->core.mail));
    struct oct_req *r;
    oct_status st = oct_req_create(q, &e->context, &r);
    if (st != OCT_OK) {
        oct_mailbox_leave(&e->core.mail);
        return st;
    }
    st = oct_mailbox_post(&e->core.mail, r, id);
    if (st != OCT_OK) {
        oct_req_destroy(r);
    }
    return st;
}

oct_status oct_engine_cancel(oct_engine *e, uint64_t id)
{
    return oct_mailbox_cancel(&e->core.mail, id);
}

/* ---- waiting and stepping ---- */

static oct_status turn(struct oct_engine *e)
{
    bool closing;
    oct_mailbox_set_owner(&e->core.mail, true); /* asserts that no other thread steps */
    const oct_status st = oct_core_turn(&e->core, false, &closing);
    oct_mailbox_set_owner(&e->core.mail, false);
    return st;
}

oct_status oct_engine_step(oct_engine *e, size_t *n_active)
{
    if (!e->manual) {
        return OCT_FAIL(OCT_E_ARG, "this engine steps by itself; oct_engine_step is for engines "
                                   "opened with manual = 1");
    }
    OCT_TRY(turn(e));
    if (n_active) {
        *n_active = oct_mailbox_n_live(&e->core.mail);
    }
    return OCT_OK;
}

static oct_status wait_for(oct_engine *e, uint64_t id, int64_t timeout_us)
{
    if (oct_mailbox_is_owner(&e->core.mail)) {
        return OCT_FAIL(OCT_E_ARG, "a callback cannot wait: what it waits for comes after it");
    }
    if (timeout_us < -1) {
        return OCT_FAIL(OCT_E_ARG, "timeout_us is %lld; it must be -1 (for ever), 0 or more",
                        (long long)timeout_us);
    }
    if (!e->manual) {
        return oct_mailbox_wait(&e->core.mail, id, timeout_us);
    }
    const int64_t begin_us = oct_clock_us();
    for (;;) {
        const oct_status st = oct_mailbox_wait(&e->core.mail, id, 0);
        if (st != OCT_E_DEADLINE || (timeout_us >= 0 && oct_clock_us() - begin_us >= timeout_us)) {
            return st;
        }
        OCT_TRY(turn(e));
    }
}

oct_status oct_engine_wait(oct_engine *e, uint64_t id, int64_t timeout_us)
{
    if (id == 0) {
        return OCT_FAIL(OCT_E_NOTFOUND, "there is no request 0");
    }
    return wait_for(e, id, timeout_us);
}

oct_status oct_engine_drain(oct_engine *e, int64_t timeout_us)
{
    return wait_for(e, 0, timeout_us);
}
