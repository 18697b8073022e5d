/* SPDX-License-Identifier: Apache-2.0 */
#include "api/worker.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>

enum { MAX_WORKERS = 16 };

struct oct_workers {
    pthread_mutex_t lock; /* of all below; no other lock is taken under it */
    pthread_cond_t changed;
    struct oct_call *first, **last; /* the queue */
    struct oct_http *http;
    struct oct_call *unposted; /* done after the stop */
    bool is_stopping;
    pthread_t threads[MAX_WORKERS];
    int32_t n_threads;
};

static struct oct_call *take(struct oct_workers *w)
{
    struct oct_call *c = w->first;
    w->first = c->next_job;
    if (!w->first) {
        w->last = &w->first;
    }
    c->next_job = NULL;
    return c;
}

static void *work(void *arg)
{
    struct oct_workers *w = arg;
    pthread_mutex_lock(&w->lock);
    for (;;) {
        while (!w->first && !w->is_stopping) {
            pthread_cond_wait(&w->changed, &w->lock);
        }
        if (w->is_stopping) {
            break;
        }
        struct oct_call *c = take(w);
        pthread_mutex_unlock(&w->lock);
        c->job(c);
        pthread_mutex_lock(&w->lock);
        if (w->is_stopping) {
            c->next_job = w->unposted;
            w->unposted = c;
        } else {
            oct_http_post(w->http, &c->task);
        }
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

static void set_name(pthread_t thread, int32_t i)
{
    char name[16];
    (void)snprintf(name, sizeof name, "api-%d", i + 1);
    (void)pthread_setname_np(thread, name);
}

oct_status oct_workers_create(int32_t n, struct oct_workers **out)
{
    struct oct_workers *w = oct_calloc(1, sizeof *w);
    sigset_t all, before;
    int failed = 0;
    if (!w) {
        return oct_no_memory("the workers", sizeof *w);
    }
    OCT_ASSERT(n >= 1 && n <= MAX_WORKERS);
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->changed, NULL);
    w->last = &w->first;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (w->n_threads < n && !failed) {
        failed = pthread_create(&w->threads[w->n_threads], NULL, work, w);
        if (!failed) {
            set_name(w->threads[w->n_threads], w->n_threads);
            w->n_threads++;
        }
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed) {
        oct_workers_destroy(w);
        return OCT_FAIL(OCT_E_MEM, "the system gives no more threads (%d wanted)", n);
    }
    *out = w;
    return OCT_OK;
}

void oct_workers_give(struct oct_workers *w, struct oct_http *h, struct oct_call *c,
                      void (*job)(struct oct_call *))
{
    pthread_mutex_lock(&w->lock);
    w->http = h;
    c->job = job;
    c->next_job = NULL;
    *w->last = c;
    w->last = &c->next_job;
    pthread_cond_signal(&w->changed);
    pthread_mutex_unlock(&w->lock);
}

struct oct_call *oct_workers_stop(struct oct_workers *w)
{
    pthread_mutex_lock(&w->lock);
    w->is_stopping = true;
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->lock);
    for (int32_t i = 0; i < w->n_threads; i++) {
        pthread_join(w->threads[i], NULL);
    }
    w->n_threads = 0;
    *w->last = w->unposted;
    struct oct_call *all = w->first;
    w->first = w->unposted = NULL;
    w->last = &w->first;
    return all;
}

void oct_workers_destroy(struct oct_workers *w)
{
    if (w) {
        struct oct_call *left = oct_workers_stop(w);
        OCT_ASSERT(!left);
        pthread_cond_destroy(&w->changed);
        pthread_mutex_destroy(&w->lock);
        oct_free(w);
    }
}
