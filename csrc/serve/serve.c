/* SPDX-License-Identifier: Apache-2.0
 *
 * serve.c - octavo serve: the life of the server, from the flags to the exit code.
 *
 *   main thread   config, sockets, sandbox; then the loop, which owns everything here
 *   octavo-load   opens the engine, then ends
 *   octavo-log    writes standard error (serve_log.h)
 *   octavo-close  closes the engine at the end; a step that does not end holds up nothing else
 *
 * RUNS -> DRAINS (a signal: what runs may finish) -> ENDS (the last bytes go out) -> the loop
 * stops. A second signal, the end of --shutdown-timeout and a device that failed go to ENDS at
 * once. */
#include "serve/chat_template.h"
#include "serve/open_engine.h"
#include "serve/sandbox.h"
#include "serve/self_test.h"
#include "serve/serve_config.h"
#include "serve/serve_log.h"
#include "serve/serve_signal.h"
#include "serve/serve_socket.h"

#include "base/clock.h"
#include "engine/thread.h"

#include <event2/event.h>
#include <malloc.h>
#include <stddef.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum {
    DEFAULT_SEQS = 32,
    SPARE_FILES = OCT_SANDBOX_FILES, /* beside connections: the model's above all */
    TICK_US = 250 * 1000,            /* while it runs */
    QUICK_TICK_US = 10 * 1000,       /* while it ends */
    END_US = 700 * 1000,   /* for the last bytes of answers, and for a step that runs to end */
    DEAD_US = 1000 * 1000, /* the same when the device has failed: /health is asked too */
    CLOSE_US = 10 * 1000 * 1000, /* for the engine to let go of the device */
    HANGS_US = 200 * 1000,       /* the same if it has not answered within END_US */
    FLUSH_US = 500 * 1000,       /* for the log */
    TELL_LOADING_US = 10 * 1000 * 1000,
    TRIM_REQUESTS = 256,
    SELF_TEST_AGAIN_US = 5 * 1000 * 1000,
};

enum phase { RUNS, DRAINS, ENDS };

struct server {
    const struct oct_params *params;
    struct oct_serve_config config;
    struct oct_chat_template chat;
    struct oct_http *http;
    struct oct_http_tls *tls;
    struct oct_api *api;
    oct_engine *engine;
    char where[300]; /* "http://127.0.0.1:8000" */
    struct event *signal_event, *tick_event;
    enum phase phase;
    int n_signals;    /* seen by the loop */
    int64_t until_us; /* the end of this phase */
    enum oct_exit code;
    int64_t begin_us, told_us;
    bool is_stuck, is_dead; /* it was told */
    uint64_t n_trimmed;     /* requests there had been when memory was last given back */
    bool hangs;             /* requests that were cancelled have not ended */

    struct oct_self_test self_test; /* has_self_test: the engine is open and it is wanted */
    bool has_self_test;
    struct oct_metrics_self_test self_test_counts;
    int64_t self_test_at_us; /* when the next run is due; a run is under way: when it began */

    pthread_t loader;
    bool has_loader;
    struct oct_engine_options options;
    struct oct_http_task loaded; /* the loader's last word */
    pthread_mutex_t lock;        /* of the next two: between loader and loop */
    double load_part;
    bool gives_up;
    /* The loader's until it has posted: */
    oct_engine *new_engine;
    oct_status load_status;
    char load_sentence[1024];
};

/* ---- the end ---- */

static void set_tick(struct server *s, int64_t us)
{
    const struct timeval t = {.tv_sec = us / 1000000, .tv_usec = us % 1000000};
    (void)event_add(s->tick_event, &t);
}

/* Everything that can be said has been, or is said now; the bytes get `grace_us` to leave. */
static void end(struct server *s, int64_t grace_us)
{
    s->phase = ENDS;
    s->until_us = oct_clock_us() + grace_us;
    set_tick(s, QUICK_TICK_US);
}

static void end_calls(struct server *s, const char *sentence)
{
    const size_t n = oct_api_n_calls(s->api);
    if (n > 0) {
        oct_log(OCT_LOG_WARNING, "%zu requests are ended: %s", n, sentence);
    }
    oct_api_end_calls(s->api, OCT_E_CANCELLED, sentence);
    end(s, END_US);
}

static void stop_listening(struct server *s)
{
    oct_api_drain(s->api);
    oct_http_close_listeners(s->http);
    pthread_mutex_lock(&s->lock);
    s->gives_up = true; /* the loader, if it still loads */
    pthread_mutex_unlock(&s->lock);
}

static void drain(struct server *s)
{
    stop_listening(s);
    s->phase = DRAINS;
    s->until_us = oct_clock_us() + s->config.shutdown_us;
    oct_log(OCT_LOG_INFO,
            "stopping: %zu requests may finish within %.0f s; a second signal ends them",
            oct_api_n_calls(s->api), (double)s->config.shutdown_us * 1e-6);
    set_tick(s, QUICK_TICK_US);
}

static void on_signal(evutil_socket_t fd, short what, void *arg)
{
    struct server *s = arg;
    (void)what;
    const int n = oct_serve_signal_take((int)fd);
    for (int i = 0; i < n; i++) {
        s->n_signals++;
        if (s->phase == RUNS) {
            drain(s);
        } else if (s->phase == DRAINS) {
            end_calls(s, "the server was told twice to stop");
        }
    }
}

static void look_at_device(struct server *s)
{
    if (oct_api_state(s->api) == OCT_API_DEAD && !s->is_dead) {
        s->is_dead = true;
        oct_log(OCT_LOG_ERROR, "the device has failed: %s; every request is told so%s",
                oct_api_dead_sentence(s->api),
                s->config.exit_on_device_failure ? ", and the server ends" : "");
        if (s->config.exit_on_device_failure) {
            s->code = OCT_EXIT_DEVICE;
            end(s, DEAD_US); /* still listening: who asks is told why */
        }
    }
    const bool stuck = oct_api_is_stuck(s->api);
    if (stuck != s->is_stuck && !s->is_dead) {
        s->is_stuck = stuck;
        struct oct_engine_stats e = {.size = sizeof e};
        oct_engine_get_stats(s->engine, &e);
        oct_log(stuck ? OCT_LOG_ERROR : OCT_LOG_INFO,
                "%s: step %llu was %.1f s ago, %d requests run, %d wait, %d of %d pages are used",
                stuck ? "no step finishes" : "steps finish again", (unsigned long long)e.n_steps,
                (double)e.last_step_age_us * 1e-6, e.n_running, e.n_waiting, e.n_pages_used,
                e.n_pages);
    }
}

/* ---- the self-test ---- */

static void begin_self_tests(struct server *s)
{
    if (s->config.self_test_us == 0) {
        return;
    }
    if (s->options.gemm_provider && !strcmp(s->options.gemm_provider, "cublaslt")) {
        oct_log(OCT_LOG_INFO, "no self-test: by cuBLASLt the same request may have other bits");
        return;
    }
    oct_self_test_init(&s->self_test, s->engine);
    s->has_self_test = true;
    s->self_test_counts = (struct oct_metrics_self_test){.interval_us = s->config.self_test_us,
                                                         .digest = s->self_test.digest};
    s->self_test_at_us = oct_clock_us();
    oct_api_set_self_test(s->api, &s->self_test_counts);
}

static void take_self_test(struct server *s, const struct oct_self_test_result *r)
{
    struct oct_metrics_self_test *n = &s->self_test_counts;
    const bool is_first = r->verdict == OCT_SELF_TEST_FIRST;
    char sentence[512];
    /* The first run is followed by another at once: then there is something to rely on. */
    s->self_test_at_us = is_first ? oct_clock_us() : s->self_test_at_us + s->config.self_test_us;
    if (r->verdict == OCT_SELF_TEST_NOT_RUN) {
        oct_log(OCT_LOG_WARNING, "the self-test did not come to its end: %s", r->text);
        return;
    }
    n->n_runs++;
    if (is_first) {
        return;
    }
    if (r->verdict == OCT_SELF_TEST_SAME) {
        if (n->last_success_s == 0) {
            oct_log(OCT_LOG_INFO, "self-test: two runs agree, digest %s", r->digest);
        }
        n->last_success_s = oct_clock_wall_s();
        return;
    }
    if (r->verdict == OCT_SELF_TEST_NUMERIC && !*s->self_test.digest) {
        oct_log(OCT_LOG_WARNING, "no self-test with this model: %s", r->text);
        s->has_self_test = false;
        oct_api_set_self_test(s->api, NULL);
        return;
    }
    n->n_failures++;
    (void)snprintf(sentence, sizeof sentence,
                   "the self-test gave other results than before (digest %s, now %s): the device "
                   "or its memory is not sound",
                   s->self_test.digest, *r->digest ? r->digest : "none");
    oct_log(OCT_LOG_ERROR, "self-test failed: %s", r->text);
    oct_api_fail(s->api, sentence);
}

static void look_at_self_test(struct server *s, int64_t now_us)
{
    struct oct_self_test_result r;
    if (!s->has_self_test || oct_api_state(s->api) != OCT_API_READY) {
        return;
    }
    if (oct_self_test_take(&s->self_test, &r)) {
        take_self_test(s, &r);
    }
    if (s->has_self_test && !s->self_test.is_running && now_us >= s->self_test_at_us &&
        oct_api_state(s->api) == OCT_API_READY) {
        s->self_test_at_us = now_us;
        if (oct_self_test_begin(&s->self_test, s->engine, NULL) != OCT_OK) {
            s->self_test_at_us = now_us + SELF_TEST_AGAIN_US; /* a full queue, say */
        }
    }
}

static void look_at_loader(struct server *s, int64_t now_us)
{
    pthread_mutex_lock(&s->lock);
    const double part = s->load_part;
    pthread_mutex_unlock(&s->lock);
    oct_api_set_progress(s->api, part);
    if (now_us - s->told_us >= TELL_LOADING_US) {
        s->told_us = now_us;
        oct_log(OCT_LOG_INFO, "loading: %.0f %%", 100 * part);
    }
}

/* Requests of a crowd leave the heap full of holes: 25 MB of which 1 are in use. In the first pause
 * after it they go back to the system. */
static void give_memory_back(struct server *s, size_t n_calls)
{
    struct oct_http_stats http;
    oct_http_get_stats(s->http, &http);
    if (n_calls == 0 && http.n_requests - s->n_trimmed >= TRIM_REQUESTS) {
        s->n_trimmed = http.n_requests;
#ifdef __GLIBC__
        (void)malloc_trim(0);
#endif
    }
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
    struct server *s = arg;
    const int64_t now_us = oct_clock_us();
    struct oct_http_stats http;
    (void)fd;
    (void)what;
    oct_api_tick(s->api);
    if (s->engine) {
        look_at_self_test(s, now_us);
        look_at_device(s);
    }
    const size_t n_calls = oct_api_n_calls(s->api);
    switch (s->phase) {
    case RUNS:
        if (!s->engine) {
            look_at_loader(s, now_us);
        }
        give_memory_back(s, n_calls);
        set_tick(s, TICK_US);
        return;
    case DRAINS:
        if (n_calls == 0) {
            end(s, END_US);
        } else if (now_us >= s->until_us) {
            end_calls(s, "the server stops, and --shutdown-timeout has passed");
        }
        break;
    case ENDS:
        oct_http_get_stats(s->http, &http);
        if ((n_calls == 0 && http.n_exchanges == 0 && !s->is_dead) || now_us >= s->until_us) {
            s->hangs = n_calls > 0;
            oct_http_stop(s->http);
            return;
        }
        break;
    }
    set_tick(s, QUICK_TICK_US);
}

/* ---- loading ---- */

static bool on_progress(void *user, uint64_t done_bytes, uint64_t total_bytes)
{
    struct server *s = user;
    pthread_mutex_lock(&s->lock);
    s->load_part = total_bytes ? (double)done_bytes / (double)total_bytes : 1;
    const bool gives_up = s->gives_up;
    pthread_mutex_unlock(&s->lock);
    return !gives_up;
}

static void *load(void *arg)
{
    struct server *s = arg;
    s->load_status = oct_engine_open(&s->options, &s->new_engine);
    if (s->load_status != OCT_OK) {
        (void)snprintf(s->load_sentence, sizeof s->load_sentence, "%s", oct_last_error());
    }
    oct_http_post(s->http, &s->loaded);
    return NULL;
}

static void tell_ready(const struct server *s)
{
    struct oct_engine_info info = {.size = sizeof info};
    oct_engine_get_info(s->engine, &info);
    oct_log(
        OCT_LOG_INFO,
        "ready in %.1f s: %s, %s on %s (%d threads), %s, context %d tokens, %d requests at once",
        (double)(oct_clock_us() - s->begin_us) * 1e-6, s->where, s->config.api.model_names[0],
        info.device, info.n_threads, info.dtype, info.max_model_len, info.max_num_seqs);
}

static void on_loaded(struct oct_http_task *t)
{
    struct server *s = (struct server *)((char *)t - offsetof(struct server, loaded));
    (void)pthread_join(s->loader, NULL);
    s->has_loader = false;
    s->engine = s->new_engine;
    if (s->load_status == OCT_OK) {
        if (s->phase == RUNS) {
            oct_api_set_engine(s->api, s->engine);
            tell_ready(s);
            begin_self_tests(s);
        }
    } else if (s->phase == RUNS) {
        s->code = oct_command_exit(s->load_status);
        oct_log(OCT_LOG_ERROR, "%s",
                *s->load_sentence ? s->load_sentence : oct_status_text(s->load_status));
        oct_api_set_failed(s->api, s->load_status, s->load_sentence);
        oct_http_close_listeners(s->http);
        end(s, 0);
    }
}

static oct_status start_loading(struct server *s)
{
    struct oct_engine_options *o = &s->options;
    *o = oct_command_options(s->params, s->config.model_path);
    o->max_num_seqs = (int32_t)oct_param_int(s->params, OCT_P_MAX_NUM_SEQS, DEFAULT_SEQS);
    o->prefix_cache =
        oct_param_bool(s->params, OCT_P_PREFIX_CACHING) ? OCT_SWITCH_ON : OCT_SWITCH_OFF;
    o->chat_template = s->chat.text;
    o->chat_template_name = s->chat.name;
    o->progress = on_progress;
    o->progress_user = s;
    s->loaded.run = on_loaded;
    s->told_us = oct_clock_us();
    oct_command_note_products(o);
    oct_api_prepare_engine(s->api, s->http, o);
    OCT_TRY(oct_thread_start(&s->loader, "octavo-load", load, s));
    s->has_loader = true;
    return OCT_OK;
}

/* ---- the beginning ---- */

static void on_log(void *user, const char *line)
{
    (void)user;
    oct_log(OCT_LOG_INFO, "%s", line);
}

/* As many files as the connections want and the process may have. Returns how many it may. */
static uint64_t raise_file_limit(int32_t n_connections)
{
    struct rlimit r;
    const rlim_t want = (rlim_t)(n_connections ? n_connections : 10000) + SPARE_FILES;
    if (getrlimit(RLIMIT_NOFILE, &r) != 0) {
        return want;
    }
    if (r.rlim_cur < want) {
        r.rlim_cur = want < r.rlim_max ? want : r.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &r);
    }
    return want;
}

static oct_status listen_there(struct server *s)
{
    const struct oct_serve_config *c = &s->config;
    uint16_t port;
    if (c->uds) {
        OCT_TRY(oct_http_listen_unix(s->http, c->uds));
        oct_serve_socket_remove_later(c->uds);
        (void)snprintf(s->where, sizeof s->where, "unix:%s", c->uds);
        return OCT_OK;
    }
    if (c->cert_path) {
        OCT_TRY(oct_http_tls_create(c->cert_path, c->key_path, &s->tls));
    }
    OCT_TRY(oct_http_listen(s->http, c->host, c->port, s->tls, &port));
    const bool brackets = strchr(c->host, ':') != NULL; /* an IPv6 address in a URL */
    (void)snprintf(s->where, sizeof s->where, "%s://%s%s%s:%u", s->tls ? "https" : "http",
                   brackets ? "[" : "", *c->host ? c->host : "0.0.0.0", brackets ? "]" : "", port);
    if (!c->is_loopback && c->api.n_api_keys == 0) {
        oct_log(OCT_LOG_WARNING,
                "whoever reaches %s may use the model: --api-key or --api-key-file asks for a key",
                s->where);
    }
    return OCT_OK;
}

static oct_status add_events(struct server *s)
{
    int fd;
    struct event_base *base = oct_http_base(s->http);
    OCT_TRY(oct_serve_signal_install(&fd));
    s->signal_event = event_new(base, fd, EV_READ | EV_PERSIST, on_signal, s);
    s->tick_event = event_new(base, -1, 0, on_tick, s);
    if (!s->signal_event || !s->tick_event || event_add(s->signal_event, NULL) != 0) {
        return oct_no_memory("the server's events", sizeof *s);
    }
    set_tick(s, TICK_US);
    return OCT_OK;
}

/* Up to the loop. Threads come after the sandbox, so that it holds for them. */
static oct_status start(struct server *s)
{
    struct oct_serve_config *c = &s->config;
    OCT_TRY(oct_serve_config_read(s->params, c));
    oct_log_init(c->json_log);
    c->api.log = on_log;
    OCT_TRY(oct_chat_template_read(s->params, &s->chat));
    const uint64_t n_files = raise_file_limit(c->http.n_connections);
    OCT_TRY(oct_api_create(&c->api, &s->api));
    const struct oct_http_handler handler = oct_api_handler(s->api);
    OCT_TRY(oct_http_create(&c->http, &handler, &s->http));
    OCT_TRY(listen_there(s));
    OCT_TRY(add_events(s));
    const struct oct_sandbox_needs needs = {.accepts = true, .n_files = n_files};
    oct_command_sandbox(s->params, c->model_path, &needs);
    OCT_TRY(oct_log_start());
    OCT_TRY(oct_api_start(s->api));
    return start_loading(s);
}

/* ---- tidying up ---- */

static void *close_engine(void *arg)
{
    oct_engine_close(arg);
    return NULL;
}

/* False: it does not come back. */
static bool join_soon(pthread_t t, int64_t wait_us)
{
    const struct timespec until = oct_clock_after(wait_us);
    return pthread_clockjoin_np(t, NULL, CLOCK_MONOTONIC, &until) == 0;
}

/* False if a thread of the engine hangs: then nothing of it may be freed. */
static bool stop_engine(struct server *s)
{
    pthread_t closer;
    struct oct_engine_stats e = {.size = sizeof e};
    if (!s->engine) {
        return true;
    }
    oct_engine_get_stats(s->engine, &e);
    if (e.device_hangs) {
        return false;
    }
    return oct_thread_start(&closer, "octavo-close", close_engine, s->engine) == OCT_OK &&
           join_soon(closer, s->hangs ? HANGS_US : CLOSE_US);
}

static void free_events(struct server *s)
{
    if (s->signal_event) {
        event_free(s->signal_event);
    }
    if (s->tick_event) {
        event_free(s->tick_event);
    }
    oct_serve_signal_remove();
}

/* In the order of api.h. False if a thread does not come back. */
static bool tidy_up(struct server *s)
{
    if (s->has_loader) {
        if (!join_soon(s->loader, END_US)) {
            return false;
        }
        s->engine = s->new_engine;
    }
    if (s->api) {
        oct_api_stop(s->api);
    }
    free_events(s);
    oct_http_destroy(s->http);
    if (!stop_engine(s)) {
        return false;
    }
    if (s->has_self_test) {
        oct_self_test_deinit(&s->self_test);
    }
    oct_api_destroy(s->api);
    oct_http_tls_destroy(s->tls);
    oct_chat_template_free(&s->chat);
    oct_serve_config_deinit(&s->config);
    pthread_mutex_destroy(&s->lock);
    return true;
}

enum oct_exit oct_command_serve(const struct oct_params *p)
{
    struct server s = {.params = p, .begin_us = oct_clock_us(), .code = OCT_EXIT_OK};
#ifdef M_ARENA_MAX
    /* What one thread allocates another frees. With a heap for each of them glibc keeps the peak of
     * every one. */
    (void)mallopt(M_ARENA_MAX, 2);
#endif
    pthread_mutex_init(&s.lock, NULL);
    oct_status st = start(&s);
    if (st == OCT_OK) {
        st = oct_http_run(s.http);
    }
    if (st != OCT_OK) {
        const char *sentence = oct_last_error();
        oct_log(OCT_LOG_ERROR, "%s", *sentence ? sentence : oct_status_text(st));
        /* an address that is taken is the operator's to change, as a wrong flag is */
        s.code = st == OCT_E_BUSY ? OCT_EXIT_INPUT : oct_command_exit(st);
    }
    if (!tidy_up(&s)) {
        oct_log(OCT_LOG_ERROR, "the engine does not come back; the process ends without it");
        oct_log_flush(FLUSH_US);
        _exit((int)s.code);
    }
    if (s.n_signals > 0) {
        oct_log(OCT_LOG_INFO, "stopped");
    }
    oct_log_flush(FLUSH_US);
    return s.code;
}
