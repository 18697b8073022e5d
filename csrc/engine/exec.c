/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/exec.h"

#include "base/mem.h"
#include "engine/thread.h"

#include <stdio.h>

/* ---- the device thread ---- */

static void lock(struct oct_exec *x)
{
    const int failed = pthread_mutex_lock(&x->lock);
    OCT_ASSERT(failed == 0);
}

static void unlock(struct oct_exec *x)
{
    const int failed = pthread_mutex_unlock(&x->lock);
    OCT_ASSERT(failed == 0);
}

static void *device_thread(void *arg)
{
    struct oct_exec *x = arg;
    lock(x);
    for (;;) {
        while (!x->wanted && !x->stop) {
            (void)pthread_cond_wait(&x->go, &x->lock);
        }
        if (x->stop) {
            break;
        }
        unlock(x);
        const oct_status st = oct_exec_step(x);
        lock(x);
        x->st = st;
        if (st != OCT_OK) {
            (void)snprintf(x->error, sizeof x->error, "%s", oct_last_error());
        }
        x->wanted = false;
        (void)pthread_cond_signal(&x->done);
    }
    unlock(x);
    return NULL;
}

static oct_status start_thread(struct oct_exec *x)
{
    /* These allocate nothing on Linux: they cannot fail for a reason of the world. */
    int failed = pthread_mutex_init(&x->lock, NULL);
    failed += pthread_cond_init(&x->go, NULL);
    failed += pthread_cond_init(&x->done, NULL);
    OCT_ASSERT(failed == 0);
    const oct_status st = oct_thread_start(&x->thread, "octavo-device", device_thread, x);
    x->has_thread = st == OCT_OK;
    return st;
}

static void stop_thread(struct oct_exec *x)
{
    lock(x);
    x->stop = true;
    (void)pthread_cond_signal(&x->go);
    unlock(x);
    const int failed = pthread_join(x->thread, NULL);
    OCT_ASSERT(failed == 0);
    (void)pthread_mutex_destroy(&x->lock);
    (void)pthread_cond_destroy(&x->go);
    (void)pthread_cond_destroy(&x->done);
}

/* ---- the runner ---- */

static struct oct_batch *get_batch(void *self)
{
    return &((struct oct_exec *)self)->batch;
}

static oct_status launch(void *self)
{
    struct oct_exec *x = self;
    OCT_ASSERT(!x->launched);
    x->launched = true;
    if (x->has_thread) {
        lock(x);
        x->wanted = true;
        (void)pthread_cond_signal(&x->go);
        unlock(x);
    }
    return OCT_OK;
}

static oct_status wait(void *self)
{
    struct oct_exec *x = self;
    OCT_ASSERT(x->launched);
    x->launched = false;
    if (!x->has_thread) {
        return oct_exec_step(x);
    }
    lock(x);
    while (x->wanted) {
        (void)pthread_cond_wait(&x->done, &x->lock);
    }
    const oct_status st = x->st;
    unlock(x);
    return st == OCT_OK ? OCT_OK : OCT_FAIL(st, "%s", x->error);
}

static void close_runner(void *self)
{
    oct_exec_close(self);
}

struct oct_runner oct_exec_runner(struct oct_exec *x)
{
    return (struct oct_runner){
        .self = x, .batch = get_batch, .launch = launch, .wait = wait, .close = close_runner};
}

/* ---- life ---- */

oct_status oct_exec_open(struct oct_model *m, const struct oct_plan *plan,
                         const struct oct_exec_config *config, struct oct_exec **out)
{
    struct oct_exec *x = oct_calloc(1, sizeof *x);
    if (!x) {
        return oct_no_memory("the step", sizeof *x);
    }
    x->model = m;
    x->config = *config;
    oct_status st;
    OCT_TRY_GOTO(oct_exec_allocate(x, plan), st, fail);
    OCT_TRY_GOTO(oct_exec_sampler_open(x, plan), st, fail);
    if (config->threaded) {
        OCT_TRY_GOTO(start_thread(x), st, fail);
    }
    *out = x;
    return OCT_OK;
fail:
    oct_exec_close(x);
    return st;
}

void oct_exec_close(struct oct_exec *x)
{
    if (!x) {
        return;
    }
    if (x->has_thread) {
        stop_thread(x);
    }
    oct_exec_sampler_close(x);
    oct_exec_release(x);
    oct_free(x);
}
