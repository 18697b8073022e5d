/* SPDX-License-Identifier: Apache-2.0
 *
 * cuda_graph.c - stretches of ops recorded once and replayed: CUDA graphs, captured from the
 * stream. Dependent launches become edges of the graph. Whatever goes wrong while recording,
 * nothing has run yet, so the caller runs the ops once more and recording stays off; a device that
 * is really broken says so then, and one whose stream cannot be got out of recording at once. */
#include "device/cuda_device.h"
#include "device/nvtx.h"

static struct oct_cuda_graph *find(struct oct_cuda_graphs *g, uint64_t key)
{
    for (int i = 0; i < g->n; i++) {
        if (g->kept[i].key == key) {
            return &g->kept[i];
        }
    }
    return NULL;
}

oct_status oct_cuda_record_begin(struct oct_device *d, uint64_t key, enum oct_record *out)
{
    struct oct_cuda *c = oct_cuda_of(d);
    struct oct_cuda_graphs *g = &c->graphs;
    OCT_ASSERT(!g->recording && c->work.base);
    OCT_TRY(oct_cuda_enter(c));
    if (g->off || c->wait_each) {
        *out = OCT_RECORD_NO;
        return OCT_OK;
    }
    struct oct_cuda_graph *known = find(g, key);
    if (known) {
        known->last_used = ++g->clock;
        oct_nvtx_push("replay");
        const oct_cu_result r = c->cu->graph_launch(known->exec, c->stream);
        oct_nvtx_pop();
        if (r != OCT_CU_OK) {
            return oct_cuda_die(c, r, "cuGraphLaunch");
        }
        c->counts.replays++;
        *out = OCT_RECORD_REPLAY;
        return OCT_OK;
    }
    if (c->cu->stream_begin_capture(c->stream, OCT_CU_CAPTURE_THREAD_LOCAL) != OCT_CU_OK) {
        g->off = c->counts.records_off = true;
        *out = OCT_RECORD_NO;
        return OCT_OK;
    }
    g->recording = g->capturing = true;
    g->broken = g->later = false;
    g->key = key;
    *out = OCT_RECORD_ON;
    return OCT_OK;
}

/* From now on the stream runs what it is given; else the device is dead. *graph: what was captured,
 * or NULL. Also on a device that died meanwhile, because only the thread that began a capture may
 * end it. */
static oct_status end_capture(struct oct_cuda *c, oct_cu_graph *graph)
{
    (void)c->cu->ctx_set_current(c->context);
    oct_cu_result r = c->cu->stream_end_capture(c->stream, graph);
    c->graphs.capturing = false;
    if (r == OCT_CU_OK) {
        return OCT_OK;
    }
    /* An invalid capture has ended, and then there is none to be ended. */
    r = c->cu->stream_end_capture(c->stream, graph);
    if (r == OCT_CU_OK) {
        (void)c->cu->graph_destroy(*graph);
    } else if (r != OCT_CU_ILLEGAL_STATE) {
        c->graphs.capturing = true;
        return oct_cuda_die(c, r, "cuStreamEndCapture");
    }
    *graph = NULL;
    return OCT_OK;
}

/* Where the next graph goes: the place of the one not used for longest if all are taken. */
static struct oct_cuda_graph *make_room(struct oct_cuda *c)
{
    struct oct_cuda_graphs *g = &c->graphs;
    if (g->n < OCT_CUDA_MAX_GRAPHS) {
        return &g->kept[g->n++];
    }
    struct oct_cuda_graph *oldest = g->kept;
    for (int i = 1; i < g->n; i++) {
        oldest = g->kept[i].last_used < oldest->last_used ? &g->kept[i] : oldest;
    }
    (void)c->cu->stream_synchronize(c->stream); /* it may be running */
    (void)c->cu->graph_exec_destroy(oldest->exec);
    return oldest;
}

/* Makes a captured graph executable and launches it; it is the caller's no more. */
static bool finish(struct oct_cuda *c, oct_cu_graph graph)
{
    oct_cu_graph_exec exec = NULL;
    oct_cu_result r = c->cu->graph_instantiate(&exec, graph, 0);
    if (r == OCT_CU_OK) {
        r = c->cu->graph_launch(exec, c->stream);
    }
    (void)c->cu->graph_destroy(graph);
    if (r == OCT_CU_OK) {
        *make_room(c) = (struct oct_cuda_graph){
            .key = c->graphs.key, .last_used = ++c->graphs.clock, .exec = exec};
        return true;
    }
    if (exec) {
        (void)c->cu->graph_exec_destroy(exec);
    }
    return false;
}

oct_status oct_cuda_record_end(struct oct_device *d, bool *again)
{
    struct oct_cuda *c = oct_cuda_of(d);
    OCT_ASSERT(c->graphs.recording);
    c->graphs.recording = false;
    oct_cu_graph graph = NULL;
    bool done = false;
    OCT_TRY(end_capture(c, &graph));
    const oct_status st = oct_cuda_enter(c);
    const bool wait = graph && c->graphs.later;
    if (st == OCT_OK && graph && !c->graphs.broken && !wait) {
        done = finish(c, graph);
    } else if (graph) {
        (void)c->cu->graph_destroy(graph);
    }
    OCT_TRY(st);
    if (done) {
        c->counts.records++;
    } else if (!wait) {
        c->graphs.off = c->counts.records_off = true;
    }
    *again = !done;
    return OCT_OK;
}

void oct_cuda_graphs_close(struct oct_cuda *c)
{
    for (int i = 0; i < c->graphs.n; i++) {
        (void)c->cu->graph_exec_destroy(c->graphs.kept[i].exec);
    }
}
