// SPDX-License-Identifier: Apache-2.0
//
// cu_event.c - events. An event refers to the operation of its last record; a wait copies that
// reference, so recording again later does not move it.
#include <stdlib.h>

#include "driver.h"
#include "graph.h"

CUresult CUDAAPI cuEventCreate(CUevent *phEvent, unsigned int Flags)
{
    VG_ENTER(VG_NEED_CTX);
    VG_WANT(phEvent != NULL && Flags < 8);
    // Events between processes must not be timed; and nothing here crosses processes.
    if ((Flags & CU_EVENT_INTERPROCESS) != 0) {
        return (Flags & CU_EVENT_DISABLE_TIMING) != 0 ? CUDA_ERROR_NOT_SUPPORTED
                                                      : CUDA_ERROR_INVALID_VALUE;
    }
    CUevent e = vg_handle_new(VG_H_EVENT, sizeof *e);
    if (e == NULL) {
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    e->ctx = call.ctx;
    e->flags = Flags;
    *phEvent = e;
    return CUDA_SUCCESS;
}

static CUresult event_find(CUevent h)
{
    if (!vg_handle_is(h, VG_H_EVENT)) {
        return CUDA_ERROR_INVALID_HANDLE;
    }
    return h->ctx->dead ? CUDA_ERROR_CONTEXT_IS_DESTROYED : CUDA_SUCCESS;
}

CUresult CUDAAPI cuEventDestroy_v2(CUevent hEvent)
{
    VG_ENTER(VG_ANY_CTX);
    if (!vg_handle_is(hEvent, VG_H_EVENT)) {
        return CUDA_ERROR_INVALID_HANDLE;
    }
    vg_op_unref(hEvent->op);
    hEvent->op = NULL;
    free(hEvent->deps);
    hEvent->deps = NULL;
    vg_handle_kill(hEvent);
    return CUDA_SUCCESS;
}

static CUresult record(CUcontext ctx, CUevent e, CUstream h, unsigned flags)
{
    CUresult r = event_find(e);
    CUstream s = NULL;
    if (r == CUDA_SUCCESS) {
        r = vg_stream_find(ctx, h, &s);
    }
    if (r != CUDA_SUCCESS) {
        return r;
    }
    if (e->ctx != s->ctx) {
        return CUDA_ERROR_INVALID_HANDLE; // event and stream must be of one context
    }
    bool external = (flags & CU_EVENT_RECORD_EXTERNAL) != 0;
    if (s->capture != NULL && !external) {
        return vg_capture_record(s, e);
    }
    if (external && s->capture == NULL) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    struct vg_work w = {
        .kind = VG_WORK_RECORD, .ctx = s->ctx, .record = {.event = e, .external = external}};
    struct vg_op *op = NULL;
    r = vg_submit(s, &w, &op);
    if (r == CUDA_SUCCESS && !external) {
        vg_op_unref(e->op);
        e->op = op;
        e->capture = NULL;
    }
    return r;
}

CUresult CUDAAPI cuEventRecord(CUevent hEvent, CUstream hStream)
{
    VG_ENTER(VG_NEED_CTX);
    return record(call.ctx, hEvent, hStream, 0);
}

CUresult CUDAAPI cuEventRecordWithFlags(CUevent hEvent, CUstream hStream, unsigned int flags)
{
    VG_ENTER(VG_NEED_CTX);
    VG_WANT(flags <= CU_EVENT_RECORD_EXTERNAL);
    return record(call.ctx, hEvent, hStream, flags);
}

CUresult CUDAAPI cuStreamWaitEvent(CUstream hStream, CUevent hEvent, unsigned int Flags)
{
    VG_ENTER(VG_NEED_CTX);
    VG_WANT(Flags <= CU_EVENT_WAIT_EXTERNAL);
    CUresult r = event_find(hEvent);
    CUstream s = NULL;
    if (r == CUDA_SUCCESS) {
        r = vg_stream_find(call.ctx, hStream, &s);
    }
    if (r != CUDA_SUCCESS) {
        return r;
    }
    if (s->capture != NULL || hEvent->capture != NULL) {
        return vg_capture_wait(s, hEvent);
    }
    if (hEvent->op == NULL) {
        return CUDA_SUCCESS; // never recorded: nothing to wait for
    }
    struct vg_work w = {.kind = VG_WORK_EMPTY, .ctx = s->ctx};
    struct vg_op *op = vg_op_new(&w);
    if (op == NULL) {
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    op->stream_id = s->id;
    vg_op_after_stream(op, s);
    vg_op_after(op, hEvent->op);
    vg_op_commit(op, s->timeline);
    vg_stream_set_tail(s, op);
    vg_op_unref(op);
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuEventQuery(CUevent hEvent)
{
    VG_ENTER(VG_NEED_CTX);
    CUresult r = event_find(hEvent);
    if (r != CUDA_SUCCESS) {
        return r;
    }
    if (hEvent->capture != NULL) {
        vg_host_finding(VG_CAPTURE, "cuEventQuery of an event that was recorded in a capture");
        return CUDA_ERROR_CAPTURED_EVENT;
    }
    r = vg_capture_check_unsafe("cuEventQuery");
    if (r != CUDA_SUCCESS) {
        return r;
    }
    vg_run_some();
    if (hEvent->ctx->sticky != CUDA_SUCCESS) {
        return hEvent->ctx->sticky;
    }
    if (hEvent->op != NULL && !hEvent->op->done) {
        return CUDA_ERROR_NOT_READY;
    }
    if (hEvent->op != NULL) {
        vg_host_saw(hEvent->op);
    }
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuEventSynchronize(CUevent hEvent)
{
    VG_ENTER(VG_NEED_CTX);
    CUresult r = event_find(hEvent);
    if (r != CUDA_SUCCESS) {
        return r;
    }
    if (hEvent->capture != NULL) {
        vg_host_finding(VG_CAPTURE,
                        "cuEventSynchronize of an event that was recorded in a capture");
        return CUDA_ERROR_CAPTURED_EVENT;
    }
    r = vg_capture_check_unsafe("cuEventSynchronize");
    return r == CUDA_SUCCESS ? vg_run_until(hEvent->ctx, hEvent->op) : r;
}

CUresult CUDAAPI cuEventElapsedTime_v2(float *pMilliseconds, CUevent hStart, CUevent hEnd)
{
    VG_ENTER(VG_NEED_CTX);
    VG_WANT(pMilliseconds != NULL);
    CUresult r = event_find(hStart);
    if (r == CUDA_SUCCESS) {
        r = event_find(hEnd);
    }
    if (r != CUDA_SUCCESS) {
        return r;
    }
    if (((hStart->flags | hEnd->flags) & CU_EVENT_DISABLE_TIMING) != 0 || hStart->op == NULL ||
        hEnd->op == NULL || hStart->ctx != hEnd->ctx) {
        return CUDA_ERROR_INVALID_HANDLE;
    }
    if (!hStart->op->done || !hEnd->op->done) {
        return CUDA_ERROR_NOT_READY;
    }
    // Time of the emulation: says nothing about a GPU, but never runs backwards.
    *pMilliseconds = (float)((double)(hEnd->op->done_ns - hStart->op->done_ns) * 1e-6);
    return CUDA_SUCCESS;
}
