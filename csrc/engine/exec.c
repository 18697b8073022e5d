/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/exec.h"

#include "base/clock.h"
#include "base/mem.h"
#include "engine/thread.h"

#include <stdio.h>

enum { COMES_BACK_US = 250 * 1000 }; /* so long close waits for a device that hangs */

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
    pthread_condattr_t monotonic;
    int failed = pthread_condattr_init(&monotonic);
    failed += pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    failed += pthread_mutex_init(&x->lock, NULL);
    failed += pthread_cond_init(&x->go, NULL);
    failed += pthread_cond_init(&x->done, &monotonic);
    failed += pthread_condattr_destroy(&monotonic);
    OCT_ASSERT(failed == 0);
    const oct_status st = oct_thread_start(&x->thread, "octavo-device", device_thread, x);
    x->has_thread = st == OCT_OK;
    return st;
}

/* False: it is in a step that hangs, and is left there. */
static bool stop_thread(struct oct_exec *x)
{
    lock(x);
    x->stop = true;
    (void)pthread_cond_signal(&x->go);
    unlock(x);
    const struct timespec until = oct_clock_after(COMES_BACK_US);
    const int failed = x->hangs ? pthread_clockjoin_np(x->thread, NULL, CLOCK_MONOTONIC, &until)
                                : pthread_join(x->thread, NULL);
    if (failed && x->hangs) {
        (void)pthread_detach(x->thread);
        return false;
    }
    OCT_ASSERT(failed == 0);
    (void)pthread_mutex_destroy(&x->lock);
    (void)pthread_cond_destroy(&x->go);
    (void)pthread_cond_destroy(&x->done);
    return true;
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
        x->until = oct_clock_after(x->config.step_timeout_us);
        lock(x);
        x->wanted = true;
        (void)pthread_cond_signal(&x->go);
        unlock(x);
    }
    return OCT_OK;
}

/* The device thread is inside the step: of the batch only what the engine has filled is read. */
static oct_status hangs(struct oct_exec *x)
{
    const struct oct_batch *b = &x->batch;
    const char *last = atomic_load_explicit(&x->model->dev->last_launch, memory_order_relaxed);
    x->hangs = true;
    return OCT_FAIL(OCT_E_DEADLINE,
                    "%s, rows %d, sequences %d, is not done after %.1f s; launched last: %s",
                    b->n_rows == b->n_seqs ? "decode" : "prefill", b->n_rows, b->n_seqs,
                    (double)x->config.step_timeout_us * 1e-6, last ? last : "nothing");
}

static oct_status wait(void *self)
{
    struct oct_exec *x = self;
    OCT_ASSERT(x->launched);
    x->launched = false;
    if (!x->has_thread) {
        return oct_exec_step(x);
    }
    const bool bounded = x->config.step_timeout_us > 0;
    int failed = 0;
    lock(x);
    while (x->wanted && !failed) {
        failed = bounded ? pthread_cond_timedwait(&x->done, &x->lock, &x->until)
                         : pthread_cond_wait(&x->done, &x->lock);
    }
    const bool in_time = !x->wanted;
    const oct_status st = x->st;
    unlock(x);
    if (!in_time) {
        return hangs(x);
    }
    return st == OCT_OK ? OCT_OK : OCT_FAIL(st, "%s", x->error);
}

static bool close_runner(void *self)
{
    return oct_exec_close(self);
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
    (void)oct_exec_close(x);
    return st;
}

bool oct_exec_close(struct oct_exec *x)
{
    if (!x) {
        return true;
    }
    if (x->has_thread && !stop_thread(x)) {
        return false;
    }
    oct_exec_sampler_close(x);
    oct_exec_release(x);
    oct_free(x);
    return true;
}
