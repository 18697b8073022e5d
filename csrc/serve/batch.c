/* SPDX-License-Identifier: Apache-2.0
 *
 * batch.c - octavo batch: a file of requests answered, as many at once as the engine runs.
 *
 * This thread reads, tokenizes, submits and writes; the engine's thread collects the answers. The
 * jobs between reading and writing stand in one list in the order of the input. */
#include "serve/batch_file.h"
#include "serve/chat_template.h"
#include "serve/format.h"
#include "serve/interrupt.h"
#include "serve/open_engine.h"
#include "api/openai.h"
#include "serve/progress.h"
#include "serve/terminal.h"

#include "base/clock.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    DEFAULT_SEQS = 32,
    JOBS_PER_SEQ = 4,        /* read ahead, so that the engine never waits for this thread */
    JOBS_PER_SEQ_ORDER = 16, /* answers wait for slower ones before them */
    LOOK_US = 100 * 1000,
    REDRAW_US = 200 * 1000,
    TELL_US = 10 * 1000 * 1000, /* where no terminal shows a bar */
};

struct batch;

struct job {
    struct job *next;
    struct batch *batch;
    uint64_t line; /* of the input */
    char *custom_id;
    struct oct_openai_request request;
    struct oct_openai_answer answer;
    bool done; /* under the batch's lock once submitted */
};

struct batch {
    oct_engine *engine;
    const char *model;
    struct oct_lines in;
    struct oct_batch_results out;
    json_t *ids;
    struct job *first, **last;
    size_t n_jobs, max_jobs;
    bool in_order, end_of_input;
    size_t n_total, n_before, n_done, n_failed;
    uint64_t n_prompt_tokens, n_output_tokens; /* of what is done */
    int64_t start_us, drawn_us;
    bool bar;
    pthread_mutex_t lock;
    pthread_cond_t changed;
};

/* ---- jobs ---- */

static void on_event(void *user, const struct oct_event *ev)
{
    struct job *j = user;
    oct_openai_take(&j->answer, ev, j->request.n_top >= 0);
    if (ev->finish != OCT_FINISH_NONE) {
        pthread_mutex_lock(&j->batch->lock);
        j->done = true;
        pthread_cond_signal(&j->batch->changed);
        pthread_mutex_unlock(&j->batch->lock);
    }
}

static void free_job(struct job *j)
{
    oct_openai_request_deinit(&j->request);
    oct_openai_answer_deinit(&j->answer);
    oct_free(j->custom_id);
    oct_free(j);
}

/* A failure that says something of the request and will be the same next time; others end the run
 * and leave the request to the next one. */
static bool is_final(oct_status st)
{
    switch (st) {
    case OCT_OK:
    case OCT_E_ARG:
    case OCT_E_FORMAT:
    case OCT_E_UNSUPPORTED:
    case OCT_E_LIMIT:
    case OCT_E_DEADLINE:
    case OCT_E_NUMERIC:
        return true;
    case OCT_E_MEM:
    case OCT_E_IO:
    case OCT_E_NOTFOUND:
    case OCT_E_BUSY:
    case OCT_E_CANCELLED:
    case OCT_E_DEVICE:
        break;
    }
    return false;
}

static oct_status submit(struct batch *b, struct job *j, json_t *body, bool chat)
{
    int32_t *ids = NULL;
    size_t n;
    uint64_t id;
    oct_status st;
    OCT_TRY(oct_openai_parse(chat ? OCT_OPENAI_CHAT : OCT_OPENAI_COMPLETION, body, &j->request));
    if (j->request.stream) {
        return OCT_FAIL(OCT_E_ARG, "stream makes no sense in a batch; leave it out");
    }
    if (j->request.n > 1) {
        return OCT_FAIL(OCT_E_UNSUPPORTED, "n is %d; a line of a batch has one answer",
                        j->request.n);
    }
    if (j->request.n_prompts > 1 || j->request.echo) {
        return OCT_FAIL(OCT_E_UNSUPPORTED, "%s: not in a batch; send one request for each prompt",
                        j->request.echo ? "echo" : "prompt is a list of prompts");
    }
    OCT_TRY(oct_openai_prompt(b->engine, &j->request, 0, &ids, &n));
    struct oct_request q = OCT_REQUEST_INIT;
    q.prompt = ids;
    q.n_prompt = n;
    q.sampling = &j->request.sampling;
    q.priority = j->request.priority;
    q.cache_salt = j->request.cache_salt;
    q.cache_salt_len = j->request.cache_salt ? strlen(j->request.cache_salt) : 0;
    q.timeout_us = j->request.timeout_us;
    q.on_event = on_event;
    q.user = j;
    st = oct_engine_submit(b->engine, &q, &id);
    oct_buffer_free(ids);
    return st;
}

/* The next request of the input that has no result yet becomes a job. */
static oct_status start_one(struct batch *b)
{
    struct oct_batch_line l = {0};
    struct job *j = NULL;
    bool found;
    oct_status st;
    do {
        oct_batch_line_deinit(&l);
        OCT_TRY(oct_batch_read(&b->in, &l, &found));
    } while (found && json_is_true(json_object_get(b->ids, l.custom_id)));
    if (!found) {
        b->end_of_input = true;
        return OCT_OK;
    }
    if (!json_object_get(b->ids, l.custom_id)) {
        st = OCT_FAIL(OCT_E_IO, "%s line %llu was not there before: the file is being changed",
                      b->in.path, (unsigned long long)b->in.number);
        goto done;
    }
    j = oct_calloc(1, sizeof *j);
    if (!j || !(j->custom_id = oct_strdup(l.custom_id))) {
        OCT_TRY_GOTO(oct_no_memory("a request", sizeof *j), st, done);
    }
    j->batch = b;
    j->line = b->in.number;
    st = submit(b, j, l.body, l.chat);
    if (st != OCT_OK) {
        if (!is_final(st)) {
            goto done;
        }
        j->answer.finish = OCT_FINISH_ERROR;
        j->answer.status = st;
        (void)snprintf(j->answer.error, sizeof j->answer.error, "%s", oct_last_error());
        j->done = true;
        st = OCT_OK;
    }
    *b->last = j;
    b->last = &j->next;
    b->n_jobs++;
    j = NULL;
done:
    oct_batch_line_deinit(&l);
    if (j) {
        free_job(j);
    }
    return st;
}

/* ---- results ---- */

static oct_status response_of(struct batch *b, struct job *j, json_t **body)
{
    char id[64];
    if (j->answer.status != OCT_OK) {
        return oct_openai_error(j->answer.status, j->answer.error, body);
    }
    (void)snprintf(id, sizeof id, "%s-%llu",
                   j->request.kind == OCT_OPENAI_CHAT ? "chatcmpl" : "cmpl",
                   (unsigned long long)j->line);
    return oct_openai_response(b->engine, &j->request, &j->answer,
                               j->request.model ? j->request.model : b->model, id,
                               oct_clock_wall_s(), body);
}

static oct_status write_result(struct batch *b, struct job *j)
{
    const int code = oct_openai_http_code(j->answer.status);
    json_t *body = NULL;
    char id[64], request_id[64];
    OCT_TRY(response_of(b, j, &body));
    (void)snprintf(id, sizeof id, OCT_BATCH_RESULT_ID "%llu", (unsigned long long)j->line);
    (void)snprintf(request_id, sizeof request_id, "req_%llu", (unsigned long long)j->line);
    json_t *error = code == 200 ? json_null()
                                : json_pack("{s:i, s:s}", "code", code, "message", j->answer.error);
    json_t *o = json_pack("{s:s, s:s, s:{s:i, s:s, s:O}, s:o}", "id", id, "custom_id", j->custom_id,
                          "response", "status_code", code, "request_id", request_id, "body", body,
                          "error", error);
    json_decref(body);
    const oct_status st =
        o ? oct_batch_results_add(&b->out, o) : oct_no_memory("a result", j->answer.text.len);
    json_decref(o);
    OCT_TRY(st);
    b->n_done++;
    b->n_failed += code == 200 ? 0 : 1;
    b->n_prompt_tokens += (uint64_t)j->answer.n_prompt;
    b->n_output_tokens += (uint64_t)j->answer.n_output;
    return OCT_OK;
}

/* Writes what is done; in order: up to the first that is not. */
static oct_status write_done(struct batch *b)
{
    struct job **at = &b->first;
    while (*at) {
        struct job *j = *at;
        pthread_mutex_lock(&b->lock);
        const bool done = j->done;
        pthread_mutex_unlock(&b->lock);
        if (!done) {
            if (b->in_order) {
                return OCT_OK;
            }
            at = &j->next;
            continue;
        }
        if (!is_final(j->answer.status)) {
            return OCT_FAIL(j->answer.status, "%s", j->answer.error);
        }
        OCT_TRY(write_result(b, j));
        *at = j->next;
        if (!j->next) {
            b->last = at;
        }
        b->n_jobs--;
        free_job(j);
    }
    return OCT_OK;
}

static bool any_done(const struct batch *b)
{
    for (const struct job *j = b->first; j; j = j->next) {
        if (j->done || b->in_order) {
            return j->done;
        }
    }
    return false;
}

/* Until a result can be written, or LOOK_US have passed: Ctrl-C and the bar want a look. */
static void wait_for_result(struct batch *b)
{
    const struct timespec until = oct_clock_after(LOOK_US);
    pthread_mutex_lock(&b->lock);
    while (!any_done(b) && !oct_interrupt_pending()) {
        if (pthread_cond_timedwait(&b->changed, &b->lock, &until) != 0) {
            break;
        }
    }
    pthread_mutex_unlock(&b->lock);
}

/* ---- what the user sees ---- */

static const char *duration(char dst[32], double seconds)
{
    const long s = (long)(seconds + 0.5);
    (void)(s >= 3600 ? snprintf(dst, 32, "%ldh%02ldm", s / 3600, s / 60 % 60)
           : s >= 60 ? snprintf(dst, 32, "%ldm%02lds", s / 60, s % 60)
                     : snprintf(dst, 32, "%lds", s));
    return dst;
}

static void show(struct batch *b)
{
    const int64_t now = oct_clock_us();
    if (now - b->drawn_us < (b->bar ? REDRAW_US : TELL_US)) {
        return;
    }
    b->drawn_us = now;
    struct oct_engine_stats s = {.size = sizeof s};
    oct_engine_get_stats(b->engine, &s);
    const double elapsed = (double)(now - b->start_us) * 1e-6;
    const size_t done = b->n_before + b->n_done;
    char eta[32] = "?", text[160];
    if (b->n_done > 0) {
        (void)duration(eta, elapsed / (double)b->n_done * (double)(b->n_total - done));
    }
    (void)snprintf(text, sizeof text,
                   "%zu of %zu requests  %d running  %.0f tokens/s  %zu failed  ETA %s", done,
                   b->n_total, s.n_running, elapsed > 0 ? (double)s.n_output_tokens / elapsed : 0,
                   b->n_failed, eta);
    if (b->bar) {
        oct_progress_draw_bar(b->n_total ? (double)done / (double)b->n_total : 1, text);
    } else {
        oct_note("octavo: %s", text);
    }
}

static void tell_end(const struct batch *b, bool complete)
{
    char took[32];
    const double s = (double)(oct_clock_us() - b->start_us) * 1e-6;
    oct_note("octavo: %s: %zu of %zu requests have results, %zu of them failed; %zu done now: %llu "
             "prompt and %llu output tokens in %s, %.1f output tokens/s%s",
             complete ? "complete" : "stopped", b->n_before + b->n_done, b->n_total, b->n_failed,
             b->n_done, (unsigned long long)b->n_prompt_tokens,
             (unsigned long long)b->n_output_tokens, duration(took, s),
             s > 0 ? (double)b->n_output_tokens / s : 0,
             complete ? "" : "; the same command goes on from here");
}

/* ---- the run ---- */

static oct_status run(struct batch *b)
{
    b->start_us = b->drawn_us = oct_clock_us();
    while (!oct_interrupt_pending()) {
        while (!b->end_of_input && b->n_jobs < b->max_jobs && !oct_interrupt_pending()) {
            OCT_TRY(start_one(b));
        }
        OCT_TRY(write_done(b));
        if (b->end_of_input && b->n_jobs == 0) {
            return oct_batch_results_sync(&b->out);
        }
        wait_for_result(b);
        OCT_TRY(oct_batch_results_sync_if_due(&b->out)); /* also while none comes */
        show(b);
    }
    OCT_TRY(write_done(b));
    return oct_batch_results_sync(&b->out);
}

static oct_status open_engine(const struct oct_params *p, const char *path,
                              const struct oct_chat_template *chat, oct_engine **out)
{
    struct oct_engine_options o = oct_command_options(p, path);
    o.max_num_seqs = (int32_t)oct_param_int(p, OCT_P_MAX_NUM_SEQS, DEFAULT_SEQS);
    o.chat_template = chat->text;
    o.chat_template_name = chat->name;
    return oct_command_open(&o, out);
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash && slash[1] ? slash + 1 : path;
}

static oct_status open_files(const struct oct_params *p, struct batch *b)
{
    const char *in = oct_param_str(p, OCT_P_INPUT, NULL);
    const char *out = oct_param_str(p, OCT_P_OUTPUT, NULL);
    if (!in || !out) {
        return OCT_FAIL(OCT_E_ARG, "%s is missing", in ? "-o RESULTS.jsonl" : "-i REQUESTS.jsonl");
    }
    OCT_TRY(oct_lines_open(in, &b->in));
    OCT_TRY(oct_batch_scan(&b->in, &b->ids));
    b->n_total = json_object_size(b->ids);
    if (b->n_total == 0) {
        return OCT_FAIL(OCT_E_ARG, "%s holds no requests", in);
    }
    OCT_TRY(oct_batch_results_open(out, oct_param_bool(p, OCT_P_OVERWRITE), b->ids, &b->n_before,
                                   &b->n_failed, &b->out));
    if (b->out.cut_bytes > 0) {
        oct_note("octavo: %llu bytes at the end of %s were not whole results and are cut off",
                 (unsigned long long)b->out.cut_bytes, out);
    }
    if (b->n_before > 0) {
        oct_note("octavo: %zu of %zu requests have results in %s already", b->n_before, b->n_total,
                 out);
    }
    return OCT_OK;
}

static void init_lock(struct batch *b)
{
    pthread_condattr_t a;
    pthread_condattr_init(&a);
    pthread_condattr_setclock(&a, CLOCK_MONOTONIC);
    pthread_mutex_init(&b->lock, NULL);
    pthread_cond_init(&b->changed, &a);
    pthread_condattr_destroy(&a);
}

static void deinit(struct batch *b)
{
    oct_engine_close(b->engine); /* ends the jobs that still run: their callbacks are called */
    while (b->first) {
        struct job *j = b->first;
        b->first = j->next;
        free_job(j);
    }
    oct_lines_close(&b->in);
    oct_batch_results_close(&b->out);
    json_decref(b->ids);
    pthread_cond_destroy(&b->changed);
    pthread_mutex_destroy(&b->lock);
}

/* Everything between the flags and the results. */
static oct_status answer_all(const struct oct_params *p, struct batch *b)
{
    const char *path;
    size_t next;
    struct oct_chat_template chat = {0};
    oct_status st;
    OCT_TRY(oct_command_model(p, &path, &next));
    OCT_TRY(oct_chat_template_read(p, &chat));
    OCT_TRY_GOTO(open_files(p, b), st, done);
    oct_command_sandbox(p, path, NULL);
    if (b->n_before < b->n_total) {
        OCT_TRY_GOTO(open_engine(p, path, &chat, &b->engine), st, done);
        struct oct_engine_info info = {.size = sizeof info};
        oct_engine_get_info(b->engine, &info);
        b->max_jobs = (size_t)info.max_num_seqs * (b->in_order ? JOBS_PER_SEQ_ORDER : JOBS_PER_SEQ);
        b->model = base_name(path);
        st = run(b);
        if (b->bar) {
            oct_progress_erase_bar();
        }
    }
done:
    oct_chat_template_free(&chat);
    return st;
}

enum oct_exit oct_command_batch(const struct oct_params *p)
{
    struct batch b = {.in_order = !strcmp(oct_param_str(p, OCT_P_ORDER, "finished"), "input"),
                      .bar = oct_terminal_has_style(2)};
    b.last = &b.first;
    init_lock(&b);
    oct_interrupt_install(2);
    const oct_status st = answer_all(p, &b);
    const bool complete = st == OCT_OK && b.n_before + b.n_done == b.n_total;
    enum oct_exit code = complete ? OCT_EXIT_OK : OCT_EXIT_INTERRUPTED;
    if (st != OCT_OK && !(st == OCT_E_CANCELLED && oct_interrupt_pending())) {
        code = oct_command_failed(st);
    }
    if (b.start_us > 0) { /* else all had results before, as was told */
        tell_end(&b, complete);
    }
    deinit(&b);
    return code;
}
