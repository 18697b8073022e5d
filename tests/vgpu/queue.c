// SPDX-License-Identifier: Apache-2.0
//
// queue.c - operations as a partial order, run lazily. Nothing that was submitted runs before some
// call waits; then what is ready runs in an order drawn from the seed: sometimes only what the
// waiting call needs (so that forgotten waits read stale data), sometimes anything that may run,
// but for what the host would see of it.
//
// An op depends on ops, not on streams: its predecessor in the stream, what its event wait refers
// to, and what the legacy default stream implies. Each op has a vector clock over timelines (one
// per stream, one per chain of a graph), which says what is ordered before it even after that is
// done.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "driver.h"
#include "order.h"

static struct vg_op **ready;
static unsigned n_ready, max_ready;
static struct vg_op *pending_first, *pending_last;
static unsigned n_running;
static uint64_t progress = 1; // bumped whenever something was submitted or finished
static uint64_t n_marks, host_learnt;
static uint32_t *host_clock, *ticks;
static uint32_t *done_clock; // everything that has run
static unsigned n_timelines, max_timelines;
static uint32_t *spare;
static unsigned n_spare, max_spare;

// ---- small things ----

uint64_t vg_random(uint64_t below)
{
    static uint64_t n;
    uint64_t z = vg_driver.seed * UINT64_C(0xD1342543DE82EF95) + ++n * UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    z ^= z >> 31;
    return below > 0 ? z % below : z;
}

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void *grow(void *p, unsigned *max, unsigned want, size_t item)
{
    if (want <= *max) {
        return p;
    }
    unsigned more = *max ? *max * 2 : 8;
    while (more < want) {
        more *= 2;
    }
    p = realloc(p, more * item);
    if (p == NULL) {
        fprintf(stderr, "vgpu: out of host memory\n");
        abort();
    }
    *max = more;
    return p;
}

// ---- timelines ----

uint32_t vg_timeline_new(void)
{
    if (n_spare > 0) {
        return spare[--n_spare];
    }
    unsigned max = max_timelines, max_done = max_timelines;
    host_clock = grow(host_clock, &max, n_timelines + 1, sizeof *host_clock);
    done_clock = grow(done_clock, &max_done, n_timelines + 1, sizeof *done_clock);
    ticks = grow(ticks, &max_timelines, n_timelines + 1, sizeof *ticks);
    host_clock[n_timelines] = 0;
    done_clock[n_timelines] = 0;
    ticks[n_timelines] = 0;
    return n_timelines++;
}

// Ticks of a timeline only ever grow, so a later owner is simply taken to come after the earlier.
void vg_timeline_give_back(uint32_t t)
{
    spare = grow(spare, &max_spare, n_spare + 1, sizeof *spare);
    spare[n_spare++] = t;
}

static void join(uint32_t **clock, unsigned *n, const uint32_t *other, unsigned n_other)
{
    if (n_other > *n) {
        uint32_t *more = realloc(*clock, n_other * sizeof *more);
        if (more == NULL) {
            abort();
        }
        memset(more + *n, 0, (n_other - *n) * sizeof *more);
        *clock = more;
        *n = n_other;
    }
    for (unsigned i = 0; i < n_other; i++) {
        if ((*clock)[i] < other[i]) {
            (*clock)[i] = other[i];
        }
    }
}

uint64_t vg_host_knowledge(void)
{
    return host_learnt;
}

void vg_host_saw(const struct vg_op *op)
{
    for (unsigned i = 0; i < op->n_clock; i++) {
        if (host_clock[i] < op->clock[i]) {
            host_learnt++;
            host_clock[i] = op->clock[i];
        }
    }
}

bool vg_op_knows(const struct vg_op *after, uint32_t timeline, uint32_t tick)
{
    return timeline < after->n_clock && after->clock[timeline] >= tick;
}

bool vg_op_ordered(const struct vg_op *before, const struct vg_op *after)
{
    return vg_op_knows(after, before->timeline, before->tick);
}

bool vg_settled(uint32_t timeline, uint32_t tick)
{
    if (host_clock[timeline] < tick) {
        return false;
    }
    for (const struct vg_op *o = pending_first; o != NULL; o = o->next) {
        if (!vg_op_knows(o, timeline, tick)) {
            return false;
        }
    }
    return true;
}

void vg_op_depends(struct vg_op *op, struct vg_op *pred)
{
    // A predecessor of which the host knows that it is over cannot be overlapped.
    if (op->work.kind != VG_WORK_KERNEL || !op->work.kernel.pdl || pred == NULL ||
        pred->work.kind != VG_WORK_KERNEL || host_clock[pred->timeline] >= pred->tick) {
        return;
    }
    vg_order_watch();
    op->dep_pred = vg_op_ref(pred);
}

// The op waited for something that no edge tells of: a value in memory, other ranks, the program
// itself. What has run by now may be what it waited for.
static void learn(struct vg_op *op)
{
    join(&op->clock, &op->n_clock, done_clock, n_timelines);
    for (struct vg_op *o = pending_first; o != NULL; o = o->next) {
        if (o != op && vg_op_ordered(op, o)) {
            join(&o->clock, &o->n_clock, done_clock, n_timelines);
        }
    }
}

// ---- operations ----

struct vg_op *vg_op_new(struct vg_work *w)
{
    struct vg_op *op = calloc(1, sizeof *op);
    if (op == NULL) {
        vg_work_free(w);
        return NULL;
    }
    op->refs = 1;
    op->work = *w;
    op->number = ++vg_driver.n_ops;
    op->n_wait = 1; // let go by vg_op_commit
    join(&op->clock, &op->n_clock, host_clock, n_timelines);
    return op;
}

struct vg_op *vg_op_ref(struct vg_op *op)
{
    if (op != NULL) {
        op->refs++;
    }
    return op;
}

void vg_op_unref(struct vg_op *op)
{
    if (op == NULL || --op->refs > 0) {
        return;
    }
    vg_order_gone(op);
    vg_work_free(&op->work);
    free(op->preds);
    free(op->succs);
    free(op->clock);
    free(op);
}

void vg_op_after(struct vg_op *op, struct vg_op *pred)
{
    if (pred == NULL || pred == op) {
        return;
    }
    join(&op->clock, &op->n_clock, pred->clock, pred->n_clock);
    if (pred->done) {
        return;
    }
    for (unsigned i = 0; i < op->n_preds; i++) {
        if (op->preds[i] == pred) {
            return;
        }
    }
    op->preds = grow(op->preds, &op->max_preds, op->n_preds + 1, sizeof(struct vg_op *));
    op->preds[op->n_preds++] = vg_op_ref(pred);
    pred->succs = grow(pred->succs, &pred->max_succs, pred->n_succs + 1, sizeof(struct vg_op *));
    pred->succs[pred->n_succs++] = vg_op_ref(op);
    op->n_wait++;
}

static void let_go(struct vg_op *op)
{
    if (--op->n_wait == 0) {
        ready = grow(ready, &max_ready, n_ready + 1, sizeof(struct vg_op *));
        ready[n_ready++] = op;
        op->ready_at = n_ready;
    }
}

static void take_from_ready(struct vg_op *op)
{
    unsigned at = op->ready_at - 1;
    ready[at] = ready[--n_ready];
    ready[at]->ready_at = at + 1;
    op->ready_at = 0;
}

void vg_op_commit(struct vg_op *op, uint32_t timeline)
{
    op->timeline = timeline;
    op->tick = ++ticks[timeline];
    if (op->n_clock <= timeline) {
        join(&op->clock, &op->n_clock, host_clock, n_timelines);
    }
    op->clock[timeline] = op->tick;
    op->refs++; // of the pending list
    op->prev = pending_last;
    if (pending_last != NULL) {
        pending_last->next = op;
    } else {
        pending_first = op;
    }
    pending_last = op;
    vg_work_submitted(op);
    vg_order_submitted(op);
    vg_pool_submitted(op);
    let_go(op);
    progress++;
    pthread_cond_broadcast(&vg_cond);
}

static bool waits_outside(const struct vg_work *w)
{
    return w->kind == VG_WORK_WAIT_VALUE || w->kind == VG_WORK_HOST ||
           (w->kind == VG_WORK_CALL && strncmp(w->call.what, "cublasLt", 8) != 0);
}

static void finish(struct vg_op *op)
{
    op->done = true;
    op->running = false;
    op->done_ns = now_ns();
    for (unsigned i = 0; i < op->n_clock; i++) {
        if (done_clock[i] < op->clock[i]) {
            done_clock[i] = op->clock[i];
        }
    }
    if (waits_outside(&op->work)) {
        learn(op);
        if (op->work.kind == VG_WORK_HOST) {
            vg_host_saw(op); // the function is part of the program
        }
    }
    if (op->prev != NULL) {
        op->prev->next = op->next;
    } else {
        pending_first = op->next;
    }
    if (op->next != NULL) {
        op->next->prev = op->prev;
    } else {
        pending_last = op->prev;
    }
    op->next = op->prev = NULL;
    for (unsigned i = 0; i < op->n_succs; i++) {
        let_go(op->succs[i]);
        vg_op_unref(op->succs[i]);
    }
    op->n_succs = 0;
    for (unsigned i = 0; i < op->n_preds; i++) {
        vg_op_unref(op->preds[i]);
    }
    op->n_preds = 0;
    progress++;
    pthread_cond_broadcast(&vg_cond);
    vg_op_unref(op);
}

struct vg_op *vg_pending(void)
{
    return pending_first;
}

// ---- streams ----

void vg_op_after_stream(struct vg_op *op, CUstream s)
{
    vg_op_after(op, s->tail);
    if (s->legacy) {
        for (CUstream o = s->ctx->streams; o != NULL; o = o->next) {
            if ((o->flags & CU_STREAM_NON_BLOCKING) == 0) {
                vg_op_after(op, o->tail);
            }
        }
    } else if ((s->flags & CU_STREAM_NON_BLOCKING) == 0) {
        vg_op_after(op, s->ctx->legacy->tail);
    }
}

void vg_stream_set_tail(CUstream s, struct vg_op *op)
{
    struct vg_op *old = s->tail;
    s->tail = vg_op_ref(op);
    vg_op_unref(old);
}

// The second stream that is put to use makes footprints worth their time.
static void note_use(CUstream s)
{
    static unsigned n_used;
    if (!s->used) {
        s->used = true;
        if (++n_used > 1) {
            vg_order_watch();
        }
    }
}

CUresult vg_submit(CUstream s, struct vg_work *w, struct vg_op **out)
{
    if (s->legacy) {
        CUresult r = vg_capture_check_legacy(s->ctx, vg_work_name(w));
        if (r != CUDA_SUCCESS) {
            vg_work_free(w);
            return r;
        }
    }
    if (s->capture != NULL) {
        return vg_capture_submit(s, w);
    }
    struct vg_op *op = vg_op_new(w);
    if (op == NULL) {
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    op->stream_id = s->id;
    note_use(s);
    vg_op_depends(op, s->tail);
    vg_op_after_stream(op, s);
    vg_op_commit(op, s->timeline);
    vg_stream_set_tail(s, op);
    if (out != NULL) {
        *out = op;
    } else {
        vg_op_unref(op);
    }
    return CUDA_SUCCESS;
}

// ---- running ----

// Everything that `op` waits for, with it.
static void mark_wanted(struct vg_op *op, uint64_t mark)
{
    unsigned n = 0, max = 0;
    struct vg_op **todo = grow(NULL, &max, 1, sizeof(struct vg_op *));
    op->mark = mark;
    todo[n++] = op;
    while (n > 0) {
        struct vg_op *o = todo[--n];
        for (unsigned i = 0; i < o->n_preds; i++) {
            struct vg_op *p = o->preds[i];
            if (!p->done && p->mark != mark) {
                p->mark = mark;
                todo = grow(todo, &max, n + 1, sizeof(struct vg_op *));
                todo[n++] = p;
            }
        }
    }
    free(todo);
}

// Work that the host could see the effect of: pinned memory is read or written. A program that
// forgets to wait for it is caught by leaving it undone until somebody does wait for it.
static bool shows(const struct vg_work *w)
{
    if (w->kind == VG_WORK_COPY) {
        return w->copy.src_place == VG_PLACE_PINNED || w->copy.dst_place == VG_PLACE_PINNED;
    }
    if (w->kind == VG_WORK_FILL) {
        return vg_mem_device(w->fill.dst) == VG_HOST_DEVICE;
    }
    for (size_t i = 0; w->kind == VG_WORK_KERNEL && i + 8 <= w->kernel.param_bytes; i += 8) {
        uint64_t v;
        memcpy(&v, w->kernel.params + i, 8);
        if (vg_mem_device(v) == VG_HOST_DEVICE) {
            return true;
        }
    }
    return false;
}

enum choice { ONLY_MARKED, MARKED_OR_HIDDEN, ANYTHING };

static bool eligible(const struct vg_op *o, uint64_t mark, enum choice c)
{
    // Ops that said "again" since something last moved are left alone.
    return o->polled != progress &&
           (c == ANYTHING || o->mark == mark || (c == MARKED_OR_HIDDEN && !shows(&o->work)));
}

static struct vg_op *pick(uint64_t mark, enum choice c)
{
    unsigned n = 0;
    for (unsigned i = 0; i < n_ready; i++) {
        n += eligible(ready[i], mark, c);
    }
    if (n == 0) {
        return NULL;
    }
    uint64_t k = vg_random(n);
    for (unsigned i = 0; i < n_ready; i++) {
        if (eligible(ready[i], mark, c) && k-- == 0) {
            return ready[i];
        }
    }
    return NULL;
}

struct outcome {
    struct vg_op *op;
    enum vg_call_step step;
    CUresult code;
};

static void begin(struct vg_op *op)
{
    vg_order_begin(op);
    take_from_ready(op);
    op->running = true;
    n_running++;
}

static void end(struct outcome *o)
{
    n_running--;
    o->op->running = false;
    if (o->step == VG_CALL_AGAIN) {
        o->op->polled = progress;
        o->op->n_wait = 1;
        let_go(o->op);
        return;
    }
    if (o->step == VG_CALL_FAILED) {
        vg_context_fail(o->op->work.ctx, o->code);
    }
    vg_order_ran(o->op);
    finish(o->op);
}

static void *run_beside(void *arg)
{
    struct outcome *o = arg;
    o->step = vg_execute(o->op, &o->code);
    return NULL;
}

// Kernels of devices that see each other's memory may wait for each other: they start together.
static unsigned companions(const struct vg_op *op, struct outcome out[VG_MAX_DEVICES])
{
    if (op->work.kind != VG_WORK_KERNEL || op->work.ctx->peers == 0) {
        return 0;
    }
    unsigned n = 0, seen = 1u << op->work.ctx->device;
    for (unsigned i = 0; i < n_ready && n < VG_MAX_DEVICES - 1; i++) {
        struct vg_op *o = ready[i];
        if (o->work.kind == VG_WORK_KERNEL && o->work.ctx->peers != 0 &&
            (seen >> o->work.ctx->device & 1) == 0 && o->work.ctx->sticky == CUDA_SUCCESS) {
            seen |= 1u << o->work.ctx->device;
            out[n++] = (struct outcome){.op = o};
        }
    }
    return n;
}

static void run_one(struct vg_op *op)
{
    if (op->work.ctx->sticky != CUDA_SUCCESS || op->work.ctx->dead) {
        begin(op);
        n_running--;
        vg_op_ref(op);
        if (op->work.kind == VG_WORK_CALL || op->work.kind == VG_WORK_HOST) {
            CUresult ignored = CUDA_SUCCESS;
            pthread_mutex_unlock(&vg_lock);
            vg_execute(op, &ignored); // it sees the sticky error and only cancels
            pthread_mutex_lock(&vg_lock);
        }
        finish(op);
        vg_op_unref(op);
        return;
    }
    struct outcome first = {.op = op}, beside[VG_MAX_DEVICES];
    unsigned n = companions(op, beside);
    pthread_t threads[VG_MAX_DEVICES];
    begin(op);
    for (unsigned i = 0; i < n; i++) {
        begin(beside[i].op);
    }
    pthread_mutex_unlock(&vg_lock);
    unsigned started = 0;
    while (started < n &&
           pthread_create(&threads[started], NULL, run_beside, &beside[started]) == 0) {
        started++;
    }
    first.step = vg_execute(op, &first.code);
    for (unsigned i = 0; i < n; i++) {
        if (i < started) {
            pthread_join(threads[i], NULL);
        } else {
            run_beside(&beside[i]);
        }
    }
    pthread_mutex_lock(&vg_lock);
    end(&first);
    for (unsigned i = 0; i < n; i++) {
        end(&beside[i]);
    }
}

// Nothing to do for this thread: somebody else runs what it wants, or an op waits for the outside.
static void rest(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    t.tv_nsec += 1000000;
    if (t.tv_nsec >= 1000000000) {
        t.tv_nsec -= 1000000000;
        t.tv_sec++;
    }
    if (pthread_cond_timedwait(&vg_cond, &vg_lock, &t) == ETIMEDOUT && n_running == 0) {
        progress++; // ask again those that said "again"
    }
}

static int64_t hang_ns(void)
{
    const char *text = getenv("VGPU_HANG_MS");
    return (text != NULL && atol(text) > 0 ? atol(text) : 60000) * INT64_C(1000000);
}

static void report_hang(CUcontext ctx, const struct vg_op *target)
{
    char list[600] = "";
    size_t used = 0;
    for (unsigned i = 0; i < n_ready && used + 100 < sizeof list; i++) {
        used += (size_t)snprintf(list + used, sizeof list - used, "%s%.60s (device %d, stream %u)",
                                 i > 0 ? ", " : "", vg_work_name(&ready[i]->work),
                                 ready[i]->work.ctx->device, ready[i]->stream_id);
    }
    vg_host_finding(VG_DEADLOCK, "a synchronising call waits for %s forever; what could run: %s",
                    vg_work_name(&target->work), list[0] != 0 ? list : "nothing");
    vg_context_fail(ctx, CUDA_ERROR_LAUNCH_TIMEOUT);
}

CUresult vg_run_until(CUcontext ctx, struct vg_op *op)
{
    if (op == NULL) {
        return ctx->sticky;
    }
    vg_op_ref(op);
    uint64_t mark = ++n_marks;
    mark_wanted(op, mark);
    enum choice choice = vg_random(2) == 0 ? ONLY_MARKED : MARKED_OR_HIDDEN;
    int64_t moved = now_ns();
    uint64_t seen = vg_driver.n_ops + (uint64_t)n_running;
    while (!op->done) {
        struct vg_op *o = pick(mark, choice);
        if (o == NULL && n_running == 0) {
            o = pick(mark, ANYTHING); // the other side of a rendezvous
        }
        if (o != NULL) {
            bool was_call = o->work.kind == VG_WORK_CALL || o->work.kind == VG_WORK_WAIT_VALUE;
            vg_op_ref(o);
            run_one(o);
            if (!was_call || o->done) {
                moved = now_ns();
            }
            vg_op_unref(o);
            continue;
        }
        rest();
        uint64_t seen_now = vg_driver.n_ops + (uint64_t)n_running;
        if (n_running > 0 || seen_now != seen) {
            moved = now_ns();
            seen = seen_now;
        } else if (now_ns() - moved > hang_ns()) {
            report_hang(ctx, op);
            moved = now_ns();
            choice = ANYTHING;
        }
    }
    vg_host_saw(op);
    vg_op_unref(op);
    return ctx->sticky;
}

CUresult vg_run_stream(CUstream s)
{
    CUcontext ctx = s->ctx;
    // The legacy stream's sync waits for what its next op would wait for.
    if (s->legacy) {
        for (CUstream o = ctx->streams; o != NULL; o = o->next) {
            if ((o->flags & CU_STREAM_NON_BLOCKING) == 0) {
                vg_run_until(ctx, o->tail);
            }
        }
    }
    return vg_run_until(ctx, s->tail);
}

CUresult vg_run_context(CUcontext ctx)
{
    // Streams may come and go while the lock is away: take the newest pending op of the context
    // again and again.
    for (;;) {
        struct vg_op *last = NULL;
        for (struct vg_op *o = pending_first; o != NULL; o = o->next) {
            if (o->work.ctx == ctx) {
                last = o;
            }
        }
        if (last == NULL) {
            break;
        }
        vg_run_until(ctx, last);
    }
    // All that was done before is seen too, also where nothing is pending any more.
    for (CUstream o = ctx->streams; o != NULL; o = o->next) {
        if (o->tail != NULL) {
            vg_host_saw(o->tail);
        }
    }
    if (ctx->legacy->tail != NULL) {
        vg_host_saw(ctx->legacy->tail);
    }
    return ctx->sticky;
}

void vg_run_some(void)
{
    if (vg_random(2) != 0) {
        return;
    }
    struct vg_op *o = pick(0, ANYTHING);
    if (o != NULL) {
        run_one(o);
    } else {
        progress++; // so that the next query asks again
    }
}

// ---- progress without a sync ----

static void *progress_main(void *arg)
{
    long ms = (long)(intptr_t)arg;
    uint64_t calls = 0;
    for (;;) {
        struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
        nanosleep(&t, NULL);
        pthread_mutex_lock(&vg_lock);
        if (vg_driver.n_calls == calls && vg_driver.init) {
            struct vg_op *o = pick(0, ANYTHING);
            while (o != NULL && vg_driver.n_calls == calls) {
                run_one(o);
                o = pick(0, ANYTHING);
            }
            progress++;
        }
        calls = vg_driver.n_calls;
        pthread_mutex_unlock(&vg_lock);
    }
    return NULL;
}

void vg_progress_start(int ms)
{
    pthread_t t;
    if (ms > 0 && pthread_create(&t, NULL, progress_main, (void *)(intptr_t)ms) == 0) {
        pthread_detach(t);
    }
}
