/* SPDX-License-Identifier: Apache-2.0
 *
 * server_workers.c - workers without threads: a job waits until the simulation says so. */
#include "sim/server_sim.h"

#include "api/worker.h"

struct oct_workers {
    struct oct_call *first, **last;
    struct oct_http *http;
    size_t n;
};

static struct oct_workers *only; /* there is one service at a time */

oct_status oct_workers_create(int32_t n, struct oct_workers **out)
{
    struct oct_workers *w = oct_calloc(1, sizeof *w);
    (void)n;
    if (!w) {
        return oct_no_memory("the workers", sizeof *w);
    }
    w->last = &w->first;
    *out = only = w;
    return OCT_OK;
}

void oct_workers_give(struct oct_workers *w, struct oct_http *h, struct oct_call *c,
                      void (*job)(struct oct_call *))
{
    w->http = h;
    c->job = job;
    c->next_job = NULL;
    *w->last = c;
    w->last = &c->next_job;
    w->n++;
}

bool srv_work(void)
{
    struct oct_call *c = only ? only->first : NULL;
    if (!c) {
        return false;
    }
    only->first = c->next_job;
    only->last = only->first ? only->last : &only->first;
    only->n--;
    c->next_job = NULL;
    c->job(c);
    oct_http_post(only->http, &c->task);
    return true;
}

size_t srv_n_jobs(void)
{
    return only ? only->n : 0;
}

struct oct_call *oct_workers_stop(struct oct_workers *w)
{
    struct oct_call *all = w->first;
    w->first = NULL;
    w->last = &w->first;
    w->n = 0;
    return all;
}

void oct_workers_destroy(struct oct_workers *w)
{
    only = NULL;
    oct_free(w);
}
