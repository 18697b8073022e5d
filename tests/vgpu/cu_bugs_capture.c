// SPDX-License-Identifier: Apache-2.0
// cu_bugs_capture.c - bugs of the host side: calls that a capture forbids, and two devices.
#include "cu_bugs.h"

// ---- capture ----

static void begin_capture(void)
{
    OK(cu.cuStreamBeginCapture(w.a, CU_STREAM_CAPTURE_MODE_GLOBAL));
    set(w.p, 1, w.a);
}

static void end_capture(void)
{
    CUgraph g = NULL;
    cu.cuStreamEndCapture(w.a, &g);
    sync_all();
}

static void capture_and_stream_sync(void)
{
    begin_capture();
    if (w.bug) {
        cu.cuStreamSynchronize(w.a);
    }
    end_capture();
}

static void capture_and_context_sync(void)
{
    begin_capture();
    if (w.bug) {
        cu.cuCtxSynchronize();
    }
    end_capture();
}

static void capture_and_query(void)
{
    begin_capture();
    if (w.bug) {
        cu.cuStreamQuery(w.a);
    }
    end_capture();
}

static void capture_and_alloc(void)
{
    CUdeviceptr d = 0;
    begin_capture();
    if (w.bug) {
        cu.cuMemAlloc(&d, 64);
    }
    end_capture();
}

static void capture_and_synchronous_copy(void)
{
    uint32_t got = 0;
    begin_capture();
    if (w.bug) {
        cu.cuMemcpyDtoH(&got, w.q, 4);
    }
    end_capture();
}

static void capture_of_pageable_memory(void)
{
    static uint32_t pageable[N];
    begin_capture();
    cu.cuMemcpyHtoDAsync(w.p, w.bug ? pageable : w.host, N * 4, w.a);
    end_capture();
}

static void capture_not_joined(void)
{
    begin_capture();
    a_then_b(true);
    set(w.q, 1, w.b);
    if (!w.bug) {
        OK(cu.cuEventRecord(w.e, w.b));
        OK(cu.cuStreamWaitEvent(w.a, w.e, 0));
    }
    end_capture();
}

static void capture_waits_for_the_outside(void)
{
    if (w.bug) {
        OK(cu.cuEventRecord(w.e, w.b));
    }
    begin_capture();
    cu.cuStreamWaitEvent(w.a, w.e, 0);
    end_capture();
}

static void captured_event_synchronised(void)
{
    begin_capture();
    OK(cu.cuEventRecord(w.e, w.a));
    end_capture();
    if (w.bug) {
        cu.cuEventSynchronize(w.e);
    }
}

static void captured_stream_destroyed(void)
{
    begin_capture();
    a_then_b(true);
    if (w.bug) {
        cu.cuStreamDestroy(w.b);
    }
    end_capture();
}

static void capture_ended_by_another_stream(void)
{
    CUgraph g = NULL;
    begin_capture();
    a_then_b(true);
    if (w.bug) {
        cu.cuStreamEndCapture(w.b, &g);
    }
    end_capture();
}

// ---- two devices ----

static CUdeviceptr far_memory(CUcontext *other)
{
    CUdeviceptr d = 0;
    OK(cu.cuDevicePrimaryCtxRetain(other, 1));
    OK(cu.cuCtxSetCurrent(*other));
    OK(cu.cuMemAlloc(&d, N * 4));
    OK(cu.cuMemsetD32(d, 4, N));
    OK(cu.cuCtxSynchronize());
    OK(cu.cuCtxSetCurrent(w.ctx));
    return d;
}

static void no_peer_access(void)
{
    CUcontext other = NULL;
    CUdeviceptr d = far_memory(&other);
    if (!w.bug) {
        OK(cu.cuCtxEnablePeerAccess(other, 0));
    }
    copy(w.p, d, w.a);
    sync_all();
}

static void peer_access_the_wrong_way(void)
{
    CUcontext other = NULL;
    CUdeviceptr d = far_memory(&other);
    OK(cu.cuCtxSetCurrent(w.bug ? other : w.ctx));
    OK(cu.cuCtxEnablePeerAccess(w.bug ? w.ctx : other, 0));
    OK(cu.cuCtxSetCurrent(w.ctx));
    set(d, 1, w.a);
    sync_all();
}

static void peers_without_an_event(void)
{
    CUcontext other = NULL;
    CUdeviceptr d = far_memory(&other);
    CUstream far = NULL;
    CUevent done = NULL;
    OK(cu.cuCtxEnablePeerAccess(other, 0));
    OK(cu.cuCtxSetCurrent(other));
    OK(cu.cuStreamCreate(&far, CU_STREAM_NON_BLOCKING));
    OK(cu.cuEventCreate(&done, CU_EVENT_DISABLE_TIMING));
    OK(cu.cuMemsetD32Async(d, 9, N, far));
    OK(cu.cuEventRecord(done, far));
    OK(cu.cuCtxSetCurrent(w.ctx));
    if (!w.bug) {
        OK(cu.cuStreamWaitEvent(w.a, done, 0));
    }
    copy(w.p, d, w.a);
    OK(cu.cuCtxSynchronize());
    OK(cu.cuCtxSetCurrent(other));
    sync_all();
}

// Two devices exchange a word inside their kernels, as a one-shot all-reduce does. The kernels are
// not ordered by any event; their flags order them.
static void peers_exchange(void)
{
    CUcontext other = NULL;
    CUdeviceptr far = far_memory(&other), flags = w.q, far_flags = far + N * 2;
    CUmodule m = NULL;
    CUfunction far_meet = NULL;
    CUstream far_stream = NULL;
    unsigned wait = w.bug ? 0 : 1;
    OK(cu.cuMemsetD32(flags, 0, 1));
    OK(cu.cuCtxEnablePeerAccess(other, 0));
    OK(cu.cuCtxSynchronize());
    OK(cu.cuCtxSetCurrent(other));
    OK(cu.cuMemsetD32(far_flags, 0, 1));
    OK(cu.cuCtxEnablePeerAccess(w.ctx, 0));
    OK(cu.cuModuleLoadData(&m, cu_bugs_ptx));
    OK(cu.cuModuleGetFunction(&far_meet, m, "meet"));
    OK(cu.cuStreamCreate(&far_stream, CU_STREAM_NON_BLOCKING));
    OK(cu.cuCtxSynchronize());
    void *theirs[] = {&far, &w.p, &far_flags, &flags, &wait};
    OK(cu.cuLaunchKernel(far_meet, 1, 1, 1, 1, 1, 1, 0, far_stream, theirs, NULL));
    OK(cu.cuCtxSetCurrent(w.ctx));
    void *ours[] = {&w.p, &far, &flags, &far_flags, &wait};
    OK(cu.cuLaunchKernel(w.meet, 1, 1, 1, 1, 1, 1, 0, w.a, ours, NULL));
    sync_all();
    OK(cu.cuCtxSetCurrent(other));
    sync_all();
}

// ---- the table ----

const struct cu_bug cu_bugs_capture[] = {
    CU_BUG(capture_and_stream_sync, "capture", "cuStreamSynchronize"),
    CU_BUG(capture_and_context_sync, "capture", "cuCtxSynchronize"),
    CU_BUG(capture_and_query, "capture", "cuStreamQuery"),
    CU_BUG(capture_and_alloc, "capture", "cuMemAlloc"),
    CU_BUG(capture_and_synchronous_copy, "capture", "synchronous copy"),
    CU_BUG(capture_of_pageable_memory, "capture", "pageable"),
    CU_BUG(capture_not_joined, "capture", "not joined"),
    CU_BUG(capture_waits_for_the_outside, "capture", "outside"),
    CU_BUG(captured_event_synchronised, "capture", "cuEventSynchronize"),
    CU_BUG(captured_stream_destroyed, "capture", "cuStreamDestroy"),
    CU_BUG(capture_ended_by_another_stream, "capture", "did not begin it"),
    CU_BUG(no_peer_access, "out-of-bounds", "cuCtxEnablePeerAccess"),
    CU_BUG(peer_access_the_wrong_way, "out-of-bounds", "cuCtxEnablePeerAccess"),
    CU_BUG(peers_without_an_event, CU_UNORDERED),
    CU_BUG(peers_exchange, CU_UNORDERED),
};
const size_t cu_n_bugs_capture = sizeof cu_bugs_capture / sizeof cu_bugs_capture[0];
