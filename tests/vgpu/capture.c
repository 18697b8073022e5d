// SPDX-License-Identifier: Apache-2.0
//
// capture.c - stream capture. While a stream captures, what is submitted to it becomes a node of a
// graph; events carry the capture to other streams and must bring them back. Every call that a
// capture forbids is a finding, returns the driver's error and makes the capture invalid.
#include <stdlib.h>
#include <string.h>

#include "driver.h"
#include "graph.h"

static struct vg_capture *captures;

static void invalidate(struct vg_capture *c)
{
    c->status = CU_STREAM_CAPTURE_STATUS_INVALIDATED;
}

void vg_capture_break(CUstream s, const char *call)
{
    vg_host_finding(VG_CAPTURE, "%s while stream %u is captured", call, s->id);
    invalidate(s->capture);
}

void vg_capture_forget_stream(CUstream s)
{
    struct vg_capture *c = s->capture;
    if (c != NULL && c->origin == s) {
        c->origin = NULL;
    }
    s->capture = NULL;
    s->n_deps = 0;
}

static _Thread_local CUstreamCaptureMode thread_mode = CU_STREAM_CAPTURE_MODE_GLOBAL;

CUresult vg_capture_check_unsafe(const char *call)
{
    if (thread_mode == CU_STREAM_CAPTURE_MODE_RELAXED) {
        return CUDA_SUCCESS;
    }
    for (struct vg_capture *c = captures; c != NULL; c = c->next) {
        bool mine = pthread_equal(c->thread, pthread_self()) != 0;
        if (c->mode == CU_STREAM_CAPTURE_MODE_RELAXED || c->origin == NULL ||
            (!mine && (c->mode == CU_STREAM_CAPTURE_MODE_THREAD_LOCAL ||
                       thread_mode == CU_STREAM_CAPTURE_MODE_THREAD_LOCAL))) {
            continue;
        }
        vg_host_finding(VG_CAPTURE, "%s while stream %u is captured (mode %s)", call, c->origin->id,
                        c->mode == CU_STREAM_CAPTURE_MODE_GLOBAL ? "global" : "thread local");
        invalidate(c);
        return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    }
    return CUDA_SUCCESS;
}

CUresult vg_capture_check_sync(CUcontext ctx, const char *call)
{
    for (CUstream s = ctx->streams; s != NULL; s = s->next) {
        if (s->capture != NULL) {
            vg_capture_break(s, call);
            return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
        }
    }
    return CUDA_SUCCESS;
}

CUresult vg_capture_check_legacy(CUcontext ctx, const char *call)
{
    for (CUstream s = ctx->streams; s != NULL; s = s->next) {
        if (s->capture != NULL && (s->flags & CU_STREAM_NON_BLOCKING) == 0) {
            vg_host_finding(VG_CAPTURE,
                            "%s goes to the legacy stream, which would have to wait for the "
                            "captured stream %u",
                            call, s->id);
            invalidate(s->capture);
            return CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
        }
    }
    return CUDA_SUCCESS;
}

// ---- the next node's dependencies ----

static bool set_deps(CUgraphNode **deps, unsigned *n, unsigned *max, const CUgraphNode *from,
                     size_t n_from)
{
    if (n_from > *max) {
        CUgraphNode *p = realloc(*deps, n_from * sizeof *p);
        if (p == NULL) {
            return false;
        }
        *deps = p;
        *max = (unsigned)n_from;
    }
    if (n_from > 0) {
        memmove(*deps, from, n_from * sizeof *from);
    }
    *n = (unsigned)n_from;
    return true;
}

static bool add_dep(CUstream s, CUgraphNode node)
{
    for (unsigned i = 0; i < s->n_deps; i++) {
        if (s->deps[i] == node) {
            return true;
        }
    }
    if (s->n_deps == s->max_deps) {
        unsigned more = s->max_deps ? 2 * s->max_deps : 4;
        CUgraphNode *p = realloc(s->deps, more * sizeof *p);
        if (p == NULL) {
            return false;
        }
        s->deps = p;
        s->max_deps = more;
    }
    s->deps[s->n_deps++] = node;
    return true;
}

CUresult vg_capture_submit(CUstream s, struct vg_work *w)
{
    if (s->capture->status != CU_STREAM_CAPTURE_STATUS_ACTIVE) {
        vg_work_free(w);
        return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    }
    CUgraphNode node = NULL;
    CUresult r = vg_graph_add(s->capture->graph, s->deps, s->n_deps, w, &node);
    if (r == CUDA_SUCCESS && node->work.kind == VG_WORK_KERNEL && node->work.kernel.pdl &&
        node->n_deps == 1 && node->deps[0]->work.kind == VG_WORK_KERNEL) {
        node->programmatic = true;
    }
    if (r == CUDA_SUCCESS && !set_deps(&s->deps, &s->n_deps, &s->max_deps, &node, 1)) {
        r = CUDA_ERROR_OUT_OF_MEMORY;
    }
    return r;
}

CUresult vg_capture_record(CUstream s, CUevent e)
{
    if (s->capture->status != CU_STREAM_CAPTURE_STATUS_ACTIVE) {
        return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    }
    unsigned max = e->n_deps;
    if (!set_deps(&e->deps, &e->n_deps, &max, s->deps, s->n_deps)) {
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    e->capture = s->capture;
    e->capture_id = s->capture->id;
    return CUDA_SUCCESS;
}

static bool alive(const struct vg_capture *c, uint64_t id)
{
    for (const struct vg_capture *o = captures; o != NULL; o = o->next) {
        if (o == c && o->id == id) {
            return true;
        }
    }
    return false;
}

CUresult vg_capture_wait(CUstream s, CUevent e)
{
    struct vg_capture *c = e->capture;
    if (c != NULL && !alive(c, e->capture_id)) {
        vg_host_finding(VG_CAPTURE,
                        "stream %u waits for an event that was last recorded in a capture which "
                        "has ended",
                        s->id);
        return CUDA_ERROR_CAPTURED_EVENT;
    }
    if (c == NULL) { // the stream captures, the event is from outside
        if (e->op == NULL) {
            return CUDA_SUCCESS;
        }
        vg_host_finding(VG_CAPTURE,
                        "captured stream %u waits for an event that was recorded outside the "
                        "capture",
                        s->id);
        invalidate(s->capture);
        return CUDA_ERROR_STREAM_CAPTURE_ISOLATION;
    }
    if (c->status != CU_STREAM_CAPTURE_STATUS_ACTIVE) {
        return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    }
    if (s->legacy) {
        vg_host_finding(VG_CAPTURE, "the legacy stream cannot join a capture");
        invalidate(c);
        return CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
    }
    if (s->capture != NULL && s->capture != c) {
        vg_host_finding(VG_CAPTURE, "an event wait would merge two captures in stream %u", s->id);
        invalidate(c);
        invalidate(s->capture);
        return CUDA_ERROR_STREAM_CAPTURE_MERGE;
    }
    if (s->capture == NULL) {
        s->capture = c;
        s->n_deps = 0;
    }
    for (unsigned i = 0; i < e->n_deps; i++) {
        if (!add_dep(s, e->deps[i])) {
            return CUDA_ERROR_OUT_OF_MEMORY;
        }
    }
    return CUDA_SUCCESS;
}

// ---- API ----

static CUresult begin(CUcontext ctx, CUstream h, CUgraph to, const CUgraphNode *deps, size_t n,
                      CUstreamCaptureMode mode)
{
    CUstream s = NULL;
    CUresult r = vg_stream_find(ctx, h, &s);
    if (r != CUDA_SUCCESS) {
        return r;
    }
    if (mode > CU_STREAM_CAPTURE_MODE_RELAXED) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    if (s->legacy) {
        vg_host_finding(VG_CAPTURE, "the legacy stream cannot be captured");
        return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    }
    if (s->capture != NULL) {
        vg_capture_break(s, "cuStreamBeginCapture");
        return CUDA_ERROR_ILLEGAL_STATE;
    }
    static uint64_t ids;
    struct vg_capture *c = calloc(1, sizeof *c);
    CUgraph g = to != NULL ? to : vg_graph_new(ctx);
    if (c == NULL || g == NULL || !set_deps(&s->deps, &s->n_deps, &s->max_deps, deps, n)) {
        free(c);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    *c = (struct vg_capture){.graph = g,
                             .origin = s,
                             .mode = mode,
                             .thread = pthread_self(),
                             .id = ++ids,
                             .status = CU_STREAM_CAPTURE_STATUS_ACTIVE,
                             .borrowed_graph = to != NULL,
                             .next = captures};
    captures = c;
    s->capture = c;
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuStreamBeginCapture_v2(CUstream hStream, CUstreamCaptureMode mode)
{
    VG_ENTER(VG_NEED_CTX);
    return begin(call.ctx, hStream, NULL, NULL, 0, mode);
}

CUresult CUDAAPI cuStreamBeginCaptureToGraph(CUstream hStream, CUgraph hGraph,
                                             const CUgraphNode *dependencies,
                                             const CUgraphEdgeData *dependencyData,
                                             size_t numDependencies, CUstreamCaptureMode mode)
{
    VG_ENTER(VG_NEED_CTX);
    (void)dependencyData;
    VG_WANT(vg_handle_is(hGraph, VG_H_GRAPH) && (numDependencies == 0 || dependencies != NULL));
    for (size_t i = 0; i < numDependencies; i++) {
        VG_WANT(vg_handle_is(dependencies[i], VG_H_NODE) && dependencies[i]->graph == hGraph);
    }
    return begin(call.ctx, hStream, hGraph, dependencies, numDependencies, mode);
}

// Whether `node` is among what leads to the end of the origin stream.
static void mark_leading(CUgraph g, const CUgraphNode *from, size_t n)
{
    for (size_t i = 0; i < g->n_nodes; i++) {
        g->nodes[i]->mark = 0;
    }
    for (size_t i = 0; i < n; i++) {
        from[i]->mark = 1;
    }
    // Dependencies always come earlier in the list of a captured graph.
    for (size_t i = g->n_nodes; i-- > 0;) {
        CUgraphNode node = g->nodes[i];
        for (size_t k = 0; node->mark != 0 && k < node->n_deps; k++) {
            node->deps[k]->mark = 1;
        }
    }
}

static bool all_joined(const struct vg_capture *c, CUcontext ctx, CUstream *stray)
{
    mark_leading(c->graph, c->origin->deps, c->origin->n_deps);
    for (CUstream s = ctx->streams; s != NULL; s = s->next) {
        if (s->capture != c || s == c->origin) {
            continue;
        }
        for (unsigned i = 0; i < s->n_deps; i++) {
            if (s->deps[i]->mark == 0) {
                *stray = s;
                return false;
            }
        }
    }
    return true;
}

CUresult CUDAAPI cuStreamEndCapture(CUstream hStream, CUgraph *phGraph)
{
    VG_ENTER(VG_NEED_CTX);
    VG_WANT(phGraph != NULL);
    CUstream s = NULL;
    CUresult r = vg_stream_find(call.ctx, hStream, &s);
    if (r != CUDA_SUCCESS) {
        return r;
    }
    struct vg_capture *c = s->capture;
    if (c == NULL) {
        return CUDA_ERROR_ILLEGAL_STATE;
    }
    if (c->origin != s) {
        vg_host_finding(VG_CAPTURE, "cuStreamEndCapture of stream %u, which did not begin it",
                        s->id);
        invalidate(c);
        return CUDA_ERROR_STREAM_CAPTURE_UNMATCHED;
    }
    if (c->mode != CU_STREAM_CAPTURE_MODE_RELAXED &&
        pthread_equal(c->thread, pthread_self()) == 0) {
        vg_host_finding(VG_CAPTURE, "cuStreamEndCapture by another thread than began the capture");
        return CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD;
    }
    CUstream stray = NULL;
    if (c->status != CU_STREAM_CAPTURE_STATUS_ACTIVE) {
        r = CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    } else if (!all_joined(c, s->ctx, &stray)) {
        vg_host_finding(VG_CAPTURE, "captured stream %u was not joined before the capture's end",
                        stray->id);
        r = CUDA_ERROR_STREAM_CAPTURE_UNJOINED;
    }
    for (int d = 0; d < vg_driver.n_devices; d++) {
        CUcontext other = vg_driver.device[d].primary;
        for (CUstream o = other != NULL ? other->streams : NULL; o != NULL; o = o->next) {
            if (o->capture == c) {
                vg_capture_forget_stream(o);
            }
        }
    }
    for (CUstream o = s->ctx->streams; o != NULL; o = o->next) {
        if (o->capture == c) {
            vg_capture_forget_stream(o);
        }
    }
    for (struct vg_capture **at = &captures; *at != NULL; at = &(*at)->next) {
        if (*at == c) {
            *at = c->next;
            break;
        }
    }
    if (r == CUDA_SUCCESS) {
        *phGraph = c->graph;
    } else {
        *phGraph = NULL;
        if (!c->borrowed_graph) {
            vg_graph_close(c->graph);
        }
    }
    free(c);
    return r;
}

CUresult CUDAAPI cuStreamIsCapturing(CUstream hStream, CUstreamCaptureStatus *captureStatus)
{
    VG_ENTER(VG_NEED_CTX);
    VG_WANT(captureStatus != NULL);
    CUstream s = NULL;
    CUresult r = vg_stream_find(call.ctx, hStream, &s);
    if (r != CUDA_SUCCESS) {
        return r;
    }
    if (s->legacy) {
        r = vg_capture_check_legacy(s->ctx, "cuStreamIsCapturing of the legacy stream");
        if (r != CUDA_SUCCESS) {
            return r;
        }
    }
    *captureStatus = s->capture != NULL ? s->capture->status : CU_STREAM_CAPTURE_STATUS_NONE;
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuStreamGetCaptureInfo_v3(CUstream hStream,
                                           CUstreamCaptureStatus *captureStatus_out,
                                           cuuint64_t *id_out, CUgraph *graph_out,
                                           const CUgraphNode **dependencies_out,
                                           const CUgraphEdgeData **edgeData_out,
                                           size_t *numDependencies_out)
{
    VG_ENTER(VG_NEED_CTX);
    VG_WANT(captureStatus_out != NULL);
    CUstream s = NULL;
    CUresult r = vg_stream_find(call.ctx, hStream, &s);
    if (r != CUDA_SUCCESS) {
        return r;
    }
    const struct vg_capture *c = s->capture;
    *captureStatus_out = c != NULL ? c->status : CU_STREAM_CAPTURE_STATUS_NONE;
    if (c == NULL) {
        return CUDA_SUCCESS;
    }
    if (id_out != NULL) {
        *id_out = c->id;
    }
    if (graph_out != NULL) {
        *graph_out = c->graph;
    }
    if (dependencies_out != NULL) {
        *dependencies_out = s->deps;
    }
    if (edgeData_out != NULL) {
        *edgeData_out = NULL; // all edges are ordinary
    }
    if (numDependencies_out != NULL) {
        *numDependencies_out = s->n_deps;
    }
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuStreamUpdateCaptureDependencies_v2(CUstream hStream, CUgraphNode *dependencies,
                                                      const CUgraphEdgeData *dependencyData,
                                                      size_t numDependencies, unsigned int flags)
{
    VG_ENTER(VG_NEED_CTX);
    (void)dependencyData;
    CUstream s = NULL;
    CUresult r = vg_stream_find(call.ctx, hStream, &s);
    if (r != CUDA_SUCCESS) {
        return r;
    }
    if (s->capture == NULL) {
        return CUDA_ERROR_ILLEGAL_STATE;
    }
    VG_WANT(flags <= CU_STREAM_SET_CAPTURE_DEPENDENCIES &&
            (numDependencies == 0 || dependencies != NULL));
    for (size_t i = 0; i < numDependencies; i++) {
        VG_WANT(vg_handle_is(dependencies[i], VG_H_NODE) &&
                dependencies[i]->graph == s->capture->graph);
    }
    if (flags == CU_STREAM_SET_CAPTURE_DEPENDENCIES) {
        s->n_deps = 0;
    }
    for (size_t i = 0; i < numDependencies; i++) {
        if (!add_dep(s, dependencies[i])) {
            return CUDA_ERROR_OUT_OF_MEMORY;
        }
    }
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuThreadExchangeStreamCaptureMode(CUstreamCaptureMode *mode)
{
    VG_ENTER(VG_NEED_INIT);
    VG_WANT(mode != NULL && *mode <= CU_STREAM_CAPTURE_MODE_RELAXED);
    CUstreamCaptureMode old = thread_mode;
    thread_mode = *mode;
    *mode = old;
    return CUDA_SUCCESS;
}
