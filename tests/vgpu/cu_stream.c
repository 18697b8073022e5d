// SPDX-License-Identifier: Apache-2.0
//
// cu_stream.c - streams and host functions in them.
#include <stdlib.h>

#include "driver.h"
#include "graph.h"

CUstream vg_stream_create(CUcontext ctx, unsigned flags, int priority, bool legacy)
{
    CUstream s = vg_handle_new(VG_H_STREAM, sizeof *s);
    if (s == NULL) {
        return NULL;
    }
    s->ctx = ctx;
    s->flags = flags;
    s->priority = priority;
    s->id = vg_driver.n_stream_ids++;
    s->legacy = legacy;
    s->timeline = vg_timeline_new();
    if (!legacy) {
        s->next = ctx->streams;
        ctx->streams = s;
    }
    return s;
}

CUresult vg_stream_find(CUcontext ctx, CUstream h, CUstream *out)
{
    if (h == NULL || h == CU_STREAM_LEGACY) {
        *out = ctx->legacy;
        return CUDA_SUCCESS;
    }
    if (h == CU_STREAM_PER_THREAD) {
        // One for all threads: more order than promised, never less than the program may rely on.
        if (ctx->per_thread == NULL) {
            ctx->per_thread = vg_stream_create(ctx, 0, 0, false);
        }
        *out = ctx->per_thread;
        return *out != NULL ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
    }
    if (!vg_handle_is(h, VG_H_STREAM)) {
        return CUDA_ERROR_INVALID_HANDLE;
    }
    if (h->ctx != ctx) {
        if (h->ctx->dead) {
            return CUDA_ERROR_CONTEXT_IS_DESTROYED;
        }
        // A stream of another device: work of this context cannot go there.
        if (h->ctx->device != ctx->device) {
            return CUDA_ERROR_INVALID_HANDLE;
        }
    }
    *out = h;
    return CUDA_SUCCESS;
}

// A stream of any living context: waits and queries may come from elsewhere.
static CUresult find_any(CUcontext ctx, CUstream h, CUstream *out)
{
    if (h != NULL && h != CU_STREAM_LEGACY && h != CU_STREAM_PER_THREAD &&
        vg_handle_is(h, VG_H_STREAM) && !h->ctx->dead) {
        *out = h;
        return CUDA_SUCCESS;
    }
    return vg_stream_find(ctx, h, out);
}

static CUresult create(CUcontext ctx, CUstream *out, unsigned flags, int priority)
{
    VG_WANT(out != NULL && flags <= CU_STREAM_NON_BLOCKING);
    // Out of range is clamped, as the documentation says.
    priority = priority > 0 ? 0 : priority < -5 ? -5 : priority;
    CUstream s = vg_stream_create(ctx, flags, priority, false);
    if (s == NULL) {
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    *out = s;
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuStreamCreate(CUstream *phStream, unsigned int Flags)
{
    VG_ENTER(VG_NEED_CTX);
    return create(call.ctx, phStream, Flags, 0);
}

CUresult CUDAAPI cuStreamCreateWithPriority(CUstream *phStream, unsigned int flags, int priority)
{
    VG_ENTER(VG_NEED_CTX);
    return create(call.ctx, phStream, flags, priority);
}

CUresult CUDAAPI cuStreamDestroy_v2(CUstream hStream)
{
    VG_ENTER(VG_ANY_CTX);
    if (!vg_handle_is(hStream, VG_H_STREAM) || hStream->legacy) {
        return CUDA_ERROR_INVALID_HANDLE;
    }
    if (hStream->capture != NULL) {
        vg_capture_break(hStream, "cuStreamDestroy");
        vg_capture_forget_stream(hStream);
    }
    // What is queued still runs; the stream only loses its name. Work of the legacy stream keeps
    // its order after it through the legacy stream's next operation.
    CUcontext ctx = hStream->ctx;
    for (CUstream *at = &ctx->streams; *at != NULL; at = &(*at)->next) {
        if (*at == hStream) {
            *at = hStream->next;
            break;
        }
    }
    if (hStream->tail != NULL && !hStream->tail->done &&
        (hStream->flags & CU_STREAM_NON_BLOCKING) == 0) {
        struct vg_work w = {.kind = VG_WORK_EMPTY, .ctx = ctx};
        struct vg_op *op = vg_op_new(&w);
        if (op != NULL) {
            vg_op_after(op, hStream->tail);
            vg_op_after(op, ctx->legacy->tail);
            vg_op_commit(op, ctx->legacy->timeline);
            vg_stream_set_tail(ctx->legacy, op);
            vg_op_unref(op);
        }
    }
    vg_stream_set_tail(hStream, NULL);
    vg_timeline_give_back(hStream->timeline);
    free(hStream->deps);
    hStream->deps = NULL;
    vg_handle_kill(hStream);
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuStreamSynchronize(CUstream hStream)
{
    VG_ENTER(VG_NEED_CTX);
    CUstream s = NULL;
    CUresult r = find_any(call.ctx, hStream, &s);
    if (r != CUDA_SUCCESS) {
        return r;
    }
    if (s->capture != NULL) {
        vg_capture_break(s, "cuStreamSynchronize");
        return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    }
    if (s->legacy) {
        r = vg_capture_check_legacy(s->ctx, "cuStreamSynchronize of the legacy stream");
    }
    if (r == CUDA_SUCCESS) {
        r = vg_capture_check_unsafe("cuStreamSynchronize");
    }
    return r == CUDA_SUCCESS ? vg_run_stream(s) : r;
}

CUresult CUDAAPI cuStreamQuery(CUstream hStream)
{
    VG_ENTER(VG_NEED_CTX);
    CUstream s = NULL;
    CUresult r = find_any(call.ctx, hStream, &s);
    if (r != CUDA_SUCCESS) {
        return r;
    }
    if (s->capture != NULL) {
        vg_capture_break(s, "cuStreamQuery");
        return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    }
    r = vg_capture_check_unsafe("cuStreamQuery");
    if (r != CUDA_SUCCESS) {
        return r;
    }
    vg_run_some();
    if (s->ctx->sticky != CUDA_SUCCESS) {
        return s->ctx->sticky;
    }
    if (s->tail != NULL && !s->tail->done) {
        return CUDA_ERROR_NOT_READY;
    }
    if (s->tail != NULL) {
        vg_host_saw(s->tail);
    }
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuStreamGetPriority(CUstream hStream, int *priority)
{
    VG_ENTER(VG_NEED_CTX);
    VG_WANT(priority != NULL);
    CUstream s = NULL;
    CUresult r = find_any(call.ctx, hStream, &s);
    if (r == CUDA_SUCCESS) {
        *priority = s->priority;
    }
    return r;
}

CUresult CUDAAPI cuStreamGetFlags(CUstream hStream, unsigned int *flags)
{
    VG_ENTER(VG_NEED_CTX);
    VG_WANT(flags != NULL);
    CUstream s = NULL;
    CUresult r = find_any(call.ctx, hStream, &s);
    if (r == CUDA_SUCCESS) {
        *flags = s->flags;
    }
    return r;
}

CUresult CUDAAPI cuStreamGetId(CUstream hStream, unsigned long long *streamId)
{
    VG_ENTER(VG_NEED_CTX);
    VG_WANT(streamId != NULL);
    CUstream s = NULL;
    CUresult r = find_any(call.ctx, hStream, &s);
    if (r == CUDA_SUCCESS) {
        *streamId = s->id;
    }
    return r;
}

CUresult CUDAAPI cuStreamGetCtx(CUstream hStream, CUcontext *pctx)
{
    VG_ENTER(VG_NEED_CTX);
    VG_WANT(pctx != NULL);
    CUstream s = NULL;
    CUresult r = find_any(call.ctx, hStream, &s);
    if (r == CUDA_SUCCESS) {
        *pctx = s->ctx;
    }
    return r;
}

CUresult CUDAAPI cuStreamGetDevice(CUstream hStream, CUdevice *device)
{
    VG_ENTER(VG_NEED_CTX);
    VG_WANT(device != NULL);
    CUstream s = NULL;
    CUresult r = find_any(call.ctx, hStream, &s);
    if (r == CUDA_SUCCESS) {
        *device = s->ctx->device;
    }
    return r;
}

// ---- host functions ----

static CUresult host_work(CUcontext ctx, CUstream h, struct vg_work *w)
{
    CUstream s = NULL;
    CUresult r = vg_stream_find(ctx, h, &s);
    return r == CUDA_SUCCESS ? vg_submit(s, w, NULL) : r;
}

CUresult CUDAAPI cuLaunchHostFunc(CUstream hStream, CUhostFn fn, void *userData)
{
    VG_ENTER(VG_NEED_CTX);
    VG_WANT(fn != NULL);
    struct vg_work w = {.kind = VG_WORK_HOST, .ctx = call.ctx, .host = {.fn = fn, .arg = userData}};
    return host_work(call.ctx, hStream, &w);
}

CUresult CUDAAPI cuStreamAddCallback(CUstream hStream, CUstreamCallback callback, void *userData,
                                     unsigned int flags)
{
    VG_ENTER(VG_NEED_CTX);
    VG_WANT(callback != NULL && flags == 0);
    CUstream s = NULL;
    CUresult r = vg_stream_find(call.ctx, hStream, &s);
    if (r != CUDA_SUCCESS) {
        return r;
    }
    if (s->capture != NULL) {
        vg_capture_break(s, "cuStreamAddCallback");
        return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    }
    struct vg_work w = {.kind = VG_WORK_HOST,
                        .ctx = call.ctx,
                        .host = {.callback = callback, .arg = userData, .stream = hStream}};
    return vg_submit(s, &w, NULL);
}
