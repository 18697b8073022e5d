// SPDX-License-Identifier: Apache-2.0
//
// The corpus of injected bugs of the host side: each program runs in two versions, with the bug and
// without, in many seeds. The bug must be caught in every seed, the right version must be without a
// finding in the same seeds.
//
// Caught: a finding of the row's kind that holds the row's text; for rows of kind "data", where the
// host reads memory and no tool can look on, a result that is wrong for certain.
#include "cu_test.h"

#ifdef __SANITIZE_ADDRESS__
enum { SEEDS = 8 };
#else
enum { SEEDS = 100 };
#endif
enum { N = 256, WRONG = 3 };

// clang-format off
// Kernels over n elements; every thread has its element's offset in %rd3, those beyond n leave.
#define REGS "    .reg .pred %p<2>; .reg .b32 %r<10>; .reg .b64 %rd<8>;\n"
#define INDEX \
    "    mov.u32 %r3, %ctaid.x; mov.u32 %r4, %ntid.x; mov.u32 %r5, %tid.x;\n" \
    "    mad.lo.s32 %r6, %r3, %r4, %r5;\n" \
    "    setp.ge.u32 %p1, %r6, %r1;\n" \
    "    mul.wide.u32 %rd3, %r6, 4;\n"
// name(dst, src, n): dst[i] = src[i]
#define COPY_KERNEL(name, before) \
    ".visible .entry " name "(.param .u64 d, .param .u64 s, .param .u32 n)\n{\n" REGS \
    "    ld.param.u64 %rd1, [d]; ld.param.u64 %rd2, [s]; ld.param.u32 %r1, [n];\n" INDEX before \
    "    @%p1 bra DONE;\n" \
    "    add.s64 %rd4, %rd1, %rd3; add.s64 %rd5, %rd2, %rd3;\n" \
    "    ld.global.u32 %r7, [%rd5]; st.global.u32 [%rd4], %r7;\n" \
    "DONE:\n    ret;\n}\n"
// name(dst, n, v): dst[i] = v
#define SET_KERNEL(name, before) \
    ".visible .entry " name "(.param .u64 d, .param .u32 n, .param .u32 v)\n{\n" REGS \
    "    ld.param.u64 %rd1, [d]; ld.param.u32 %r1, [n]; ld.param.u32 %r2, [v];\n" INDEX before \
    "    @%p1 bra DONE;\n" \
    "    add.s64 %rd4, %rd1, %rd3; st.global.u32 [%rd4], %r2;\n" \
    "DONE:\n    ret;\n}\n"
#define TRIGGER "    griddepcontrol.launch_dependents;\n"
#define WAIT "    griddepcontrol.wait;\n"
static const char ptx[] =
    ".version 8.0\n.target sm_90\n.address_size 64\n"
    COPY_KERNEL("copy", "")
    COPY_KERNEL("early", TRIGGER)
    COPY_KERNEL("late", WAIT)
    SET_KERNEL("trigger", TRIGGER)
    SET_KERNEL("waits", WAIT TRIGGER)
    SET_KERNEL("deaf", TRIGGER)
    // Warp 0 waits, the others meet it at a barrier.
    COPY_KERNEL("relay",
    "    setp.ge.u32 %p0, %r5, 32;\n"
    "    @%p0 bra MEET;\n"
    WAIT
    "MEET:\n"
    "    bar.sync 0;\n")
    // bump(p): atomic p[0] += 1
    ".visible .entry bump(.param .u64 d)\n{\n" REGS
    "    ld.param.u64 %rd1, [d]; red.global.add.u32 [%rd1], 1;\n    ret;\n}\n"
    // meet(mine, theirs, my_flag, their_flag, wait): one of two devices that exchange a word
    ".visible .entry meet(.param .u64 d, .param .u64 s, .param .u64 f, .param .u64 g,\n"
    "    .param .u32 n)\n{\n" REGS
    "    ld.param.u64 %rd1, [d]; ld.param.u64 %rd2, [s]; ld.param.u64 %rd3, [f];\n"
    "    ld.param.u64 %rd4, [g]; ld.param.u32 %r1, [n];\n"
    "    st.global.u32 [%rd1], 7;\n"
    "    setp.eq.u32 %p0, %r1, 0;\n"
    "    @%p0 bra READ;\n"
    "    mov.u32 %r2, 1;\n"
    "    st.release.sys.global.u32 [%rd4], %r2;\n"
    "WAIT:\n"
    "    ld.acquire.sys.global.u32 %r3, [%rd3];\n"
    "    setp.eq.u32 %p1, %r3, 0;\n"
    "    @%p1 bra WAIT;\n"
    "READ:\n"
    "    ld.global.u32 %r4, [%rd2];\n"
    "    st.global.u32 [%rd1+4], %r4;\n"
    "    ret;\n}\n";
// clang-format on

static struct {
    CUcontext ctx;
    CUmodule module;
    CUfunction set, add, copy, early, late, trigger, waits, deaf, relay, bump, meet;
    CUstream a, b;
    CUdeviceptr p, q, r;
    uint32_t *host;
    CUevent e;
    bool bug;
} w;

static void open_world(void)
{
    OK(cu.cuInit(0));
    OK(cu.cuDevicePrimaryCtxRetain(&w.ctx, 0));
    OK(cu.cuCtxSetCurrent(w.ctx));
    struct cu_kernels k = cu_kernels();
    w.set = k.set;
    w.add = k.add;
    OK(cu.cuModuleLoadData(&w.module, ptx));
    const struct {
        CUfunction *f;
        const char *name;
    } name[] = {{&w.copy, "copy"},       {&w.early, "early"}, {&w.late, "late"},
                {&w.trigger, "trigger"}, {&w.waits, "waits"}, {&w.deaf, "deaf"},
                {&w.relay, "relay"},     {&w.bump, "bump"},   {&w.meet, "meet"}};
    for (size_t i = 0; i < sizeof name / sizeof name[0]; i++) {
        OK(cu.cuModuleGetFunction(name[i].f, w.module, name[i].name));
    }
    OK(cu.cuStreamCreate(&w.a, CU_STREAM_NON_BLOCKING));
    OK(cu.cuStreamCreate(&w.b, CU_STREAM_NON_BLOCKING));
    OK(cu.cuEventCreate(&w.e, CU_EVENT_DISABLE_TIMING));
    OK(cu.cuMemAlloc(&w.p, N * 4));
    OK(cu.cuMemAlloc(&w.q, N * 4));
    OK(cu.cuMemAlloc(&w.r, N * 4));
    OK(cu.cuMemHostAlloc((void **)&w.host, N * 4, 0));
    memset(w.host, 0, N * 4);
    OK(cu.cuMemsetD32(w.p, 1, N));
    OK(cu.cuMemsetD32(w.q, 2, N));
    OK(cu.cuMemsetD32(w.r, 3, N));
    OK(cu.cuCtxSynchronize());
}

static void set(CUdeviceptr p, unsigned v, CUstream s)
{
    OK(cu_launch(w.set, p, N, v, s));
}

static void add(CUdeviceptr p, unsigned v, CUstream s)
{
    OK(cu_launch(w.add, p, N, v, s));
}

static void copy(CUdeviceptr dst, CUdeviceptr src, CUstream s)
{
    unsigned n = N;
    void *params[] = {&dst, &src, &n};
    OK(cu.cuLaunchKernel(w.copy, N / 128, 1, 1, 128, 1, 1, 0, s, params, NULL));
}

// b comes after a, unless the bug is in.
static void a_then_b(bool really)
{
    if (really) {
        OK(cu.cuEventRecord(w.e, w.a));
        OK(cu.cuStreamWaitEvent(w.b, w.e, 0));
    }
}

static void sync_all(void)
{
    cu.cuCtxSynchronize(); // fails where the bug is a fault
}

// ---- kernel and kernel ----

static void write_read(void)
{
    set(w.p, 5, w.a);
    a_then_b(!w.bug);
    copy(w.q, w.p, w.b);
    sync_all();
}

static void read_write(void)
{
    copy(w.q, w.p, w.a);
    a_then_b(!w.bug);
    set(w.p, 5, w.b);
    sync_all();
}

static void write_write(void)
{
    set(w.p, 5, w.a);
    a_then_b(!w.bug);
    set(w.p, 6, w.b);
    sync_all();
}

static void two_readers_one_writer(void)
{
    copy(w.q, w.p, w.a);
    copy(w.r, w.p, w.b);
    a_then_b(!w.bug);
    set(w.p, 9, w.b);
    sync_all();
}

static void part_of_a_buffer(void) // neither kernel gets the address at which they meet
{
    OK(cu_launch(w.set, w.p, N / 2 + (w.bug ? 1 : 0), 5, w.a));
    OK(cu_launch(w.set, w.p + N * 2, N / 2, 6, w.b));
    sync_all();
}

static void event_too_early(void)
{
    if (w.bug) {
        OK(cu.cuEventRecord(w.e, w.a));
    }
    set(w.p, 5, w.a);
    if (!w.bug) {
        OK(cu.cuEventRecord(w.e, w.a));
    }
    OK(cu.cuStreamWaitEvent(w.b, w.e, 0));
    copy(w.q, w.p, w.b);
    sync_all();
}

static void wait_before_record(void)
{
    set(w.p, 5, w.a);
    if (w.bug) {
        OK(cu.cuStreamWaitEvent(w.b, w.e, 0)); // never recorded: no wait at all
    }
    OK(cu.cuEventRecord(w.e, w.a));
    if (!w.bug) {
        OK(cu.cuStreamWaitEvent(w.b, w.e, 0));
    }
    copy(w.q, w.p, w.b);
    sync_all();
}

static void wait_by_the_wrong_stream(void)
{
    CUstream c = NULL;
    OK(cu.cuStreamCreate(&c, CU_STREAM_NON_BLOCKING));
    set(w.p, 5, w.a);
    OK(cu.cuEventRecord(w.e, w.a));
    OK(cu.cuStreamWaitEvent(w.bug ? c : w.b, w.e, 0));
    copy(w.q, w.p, w.b);
    sync_all();
}

static void sync_of_the_wrong_stream(void)
{
    set(w.p, 5, w.a);
    OK(cu.cuStreamSynchronize(w.bug ? w.b : w.a));
    copy(w.q, w.p, w.b);
    sync_all();
}

static void the_way_back(void) // a ring of buffers: who writes again must wait for the readers
{
    for (unsigned i = 0; i < 3; i++) {
        set(w.p, i, w.a);
        a_then_b(true);
        copy(w.q, w.p, w.b);
        if (!w.bug) {
            OK(cu.cuEventRecord(w.e, w.b));
            OK(cu.cuStreamWaitEvent(w.a, w.e, 0));
        }
    }
    sync_all();
}

static void legacy_and_non_blocking(void)
{
    set(w.p, 5, NULL);
    if (!w.bug) {
        OK(cu.cuEventRecord(w.e, NULL));
        OK(cu.cuStreamWaitEvent(w.b, w.e, 0));
    }
    copy(w.q, w.p, w.b);
    sync_all();
}

static void atomics_and_a_plain_read(void) // atomics of two streams are fine, a plain read is not
{
    void *params[] = {&w.p};
    OK(cu.cuLaunchKernel(w.bump, 1, 1, 1, 32, 1, 1, 0, w.a, params, NULL));
    OK(cu.cuLaunchKernel(w.bump, 1, 1, 1, 32, 1, 1, 0, w.b, params, NULL));
    if (!w.bug) {
        sync_all();
    }
    copy(w.q, w.p, w.b);
    sync_all();
}

// ---- kernel and copy ----

static void copy_in_and_kernel(void)
{
    OK(cu.cuMemcpyHtoDAsync(w.p + N, w.host, N, w.a)); // not where the kernel's pointer points
    a_then_b(!w.bug);
    copy(w.q, w.p, w.b);
    sync_all();
}

static void kernel_and_copy_out(void)
{
    set(w.p, 5, w.a);
    a_then_b(!w.bug);
    OK(cu.cuMemcpyDtoHAsync(w.host, w.p + N, N, w.b));
    sync_all();
}

static void kernel_reads_what_a_copy_replaces(void)
{
    copy(w.q, w.p, w.a);
    a_then_b(!w.bug);
    OK(cu.cuMemcpyDtoDAsync(w.p, w.r, N * 4, w.b));
    sync_all();
}

static void memset_and_kernel(void)
{
    OK(cu.cuMemsetD32Async(w.p, 0, N, w.a));
    a_then_b(!w.bug);
    add(w.p, 1, w.b);
    sync_all();
}

static void synchronous_memset_and_kernel(void) // cuMemsetD32 does not wait, whatever its name
{
    OK(cu.cuMemsetD32(w.p, 0, N));
    if (!w.bug) {
        OK(cu.cuStreamSynchronize(NULL));
    }
    add(w.p, 1, w.a);
    sync_all();
}

static void copy_and_copy(void)
{
    OK(cu.cuMemcpyHtoDAsync(w.p, w.host, N * 4, w.a));
    a_then_b(!w.bug);
    OK(cu.cuMemcpyDtoDAsync(w.q, w.p, N * 4, w.b));
    sync_all();
}

// ---- graphs ----

static CUgraphExec captured(bool ordered_branches)
{
    CUgraph g = NULL;
    CUgraphExec x = NULL;
    CUevent join = NULL;
    OK(cu.cuEventCreate(&join, CU_EVENT_DISABLE_TIMING));
    OK(cu.cuStreamBeginCapture(w.a, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
    set(w.r, 1, w.a);
    OK(cu.cuEventRecord(w.e, w.a));
    OK(cu.cuStreamWaitEvent(w.b, w.e, 0));
    set(w.p, 5, w.a);
    a_then_b(ordered_branches);
    copy(w.q, w.p, w.b);
    OK(cu.cuEventRecord(join, w.b));
    OK(cu.cuStreamWaitEvent(w.a, join, 0));
    OK(cu.cuStreamEndCapture(w.a, &g));
    OK(cu.cuGraphInstantiate(&x, g, 0));
    return x;
}

static void branches_of_a_graph(void)
{
    CUgraphExec x = captured(!w.bug);
    for (int i = 0; i < 2; i++) {
        OK(cu.cuGraphLaunch(x, w.a));
    }
    sync_all();
}

static void graph_and_kernel(void)
{
    CUgraphExec x = captured(true);
    OK(cu.cuGraphLaunch(x, w.a));
    a_then_b(!w.bug);
    set(w.p, 6, w.b);
    sync_all();
}

// ---- programmatic dependent launch ----

static void launch_dependent(CUfunction f, void **params)
{
    CUlaunchAttribute attr = {.id = CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION};
    attr.value.programmaticStreamSerializationAllowed = 1;
    CUlaunchConfig c = {.gridDimX = N / 128,
                        .gridDimY = 1,
                        .gridDimZ = 1,
                        .blockDimX = 128,
                        .blockDimY = 1,
                        .blockDimZ = 1,
                        .hStream = w.a,
                        .attrs = &attr,
                        .numAttrs = 1};
    OK(cu.cuLaunchKernelEx(&c, f, params, NULL));
}

static void dependent_copy(CUfunction f, CUdeviceptr dst, CUdeviceptr src)
{
    unsigned n = N;
    void *params[] = {&dst, &src, &n};
    launch_dependent(f, params);
}

static void dependent_set(CUfunction f, CUdeviceptr p, unsigned v)
{
    unsigned n = N;
    void *params[] = {&p, &n, &v};
    launch_dependent(f, params);
}

static void dependent_reads_early(void)
{
    OK(cu_launch(w.trigger, w.p, N, 5, w.a));
    dependent_copy(w.bug ? w.early : w.late, w.q, w.p);
    sync_all();
}

static void dependent_relays_its_wait(void)
{
    OK(cu_launch(w.trigger, w.p, N, 5, w.a));
    dependent_copy(w.bug ? w.copy : w.relay, w.q, w.p);
    sync_all();
}

static void dependent_writes_early(void)
{
    dependent_copy(w.early, w.q, w.p);
    dependent_set(w.bug ? w.trigger : w.waits, w.p, 5);
    sync_all();
}

static void dependent_without_a_trigger(void) // nobody starts early, so nobody need wait
{
    OK(cu_launch(w.bug ? w.trigger : w.set, w.p, N, 5, w.a));
    dependent_copy(w.copy, w.q, w.p);
    sync_all();
}

static void the_one_between_does_not_wait(void)
{
    OK(cu_launch(w.trigger, w.p, N, 5, w.a));
    dependent_set(w.bug ? w.deaf : w.waits, w.r, 7);
    dependent_copy(w.late, w.q, w.p);
    sync_all();
}

static void dependent_in_a_graph(void)
{
    CUgraph g = NULL;
    CUgraphExec x = NULL;
    OK(cu.cuStreamBeginCapture(w.a, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
    OK(cu_launch(w.trigger, w.p, N, 5, w.a));
    dependent_copy(w.bug ? w.early : w.late, w.q, w.p);
    OK(cu.cuStreamEndCapture(w.a, &g));
    OK(cu.cuGraphInstantiate(&x, g, 0));
    OK(cu.cuGraphLaunch(x, w.a));
    sync_all();
}

// ---- the host ----

static void expect(uint32_t v)
{
    for (int i = 0; i < N; i++) {
        if (w.host[i] != v) {
            _exit(WRONG);
        }
    }
}

static void read_without_a_wait(void)
{
    set(w.p, 5, w.a);
    OK(cu.cuMemcpyDtoHAsync(w.host, w.p, N * 4, w.a));
    if (!w.bug) {
        OK(cu.cuStreamSynchronize(w.a));
    }
    expect(5);
}

static void read_after_the_wrong_wait(void)
{
    set(w.p, 5, w.a);
    OK(cu.cuMemcpyDtoHAsync(w.host, w.p, N * 4, w.a));
    set(w.q, 5, w.b);
    OK(cu.cuStreamSynchronize(w.bug ? w.b : w.a));
    expect(5);
}

static void read_after_an_early_event(void)
{
    set(w.p, 5, w.a);
    if (w.bug) {
        OK(cu.cuEventRecord(w.e, w.a));
    }
    OK(cu.cuMemcpyDtoHAsync(w.host, w.p, N * 4, w.a));
    if (!w.bug) {
        OK(cu.cuEventRecord(w.e, w.a));
    }
    OK(cu.cuEventSynchronize(w.e));
    expect(5);
}

static void mapped_memory_without_a_wait(void)
{
    CUdeviceptr d = 0;
    OK(cu.cuMemHostGetDevicePointer(&d, w.host, 0));
    set(d, 5, w.a);
    OK(cu.cuStreamSynchronize(w.bug ? w.b : w.a));
    expect(5);
}

static void source_reused(void)
{
    OK(cu.cuMemcpyHtoDAsync(w.p, w.host, N * 4, w.a));
    if (!w.bug) {
        OK(cu.cuStreamSynchronize(w.a));
    }
    w.host[7] = 77;
    sync_all();
}

static void source_reused_after_the_wrong_wait(void)
{
    OK(cu.cuMemcpyHtoDAsync(w.p, w.host, N * 4, w.a));
    add(w.q, 1, w.b);
    OK(cu.cuStreamSynchronize(w.bug ? w.b : w.a));
    w.host[7] = 77;
    sync_all();
}

static void unwritten_bytes_copied_out(void)
{
    CUdeviceptr d = 0;
    uint32_t got[N];
    OK(cu.cuMemAlloc(&d, N * 4));
    OK(cu_launch(w.set, d, w.bug ? N - 1 : N, 5, NULL));
    OK(cu.cuMemcpyDtoH(got, d, sizeof got));
}

static void copy_leaves_its_allocation(void)
{
    cu.cuMemcpyDtoDAsync(w.p, w.q, N * 4 + (w.bug ? 4 : 0), w.a);
    sync_all();
}

static void calls_the_driver(void *arg)
{
    CUdeviceptr d = 0;
    if (w.bug) {
        cu.cuMemAlloc(&d, 16);
    }
    (void)arg;
}

static void driver_call_in_a_host_function(void)
{
    OK(cu.cuLaunchHostFunc(w.a, calls_the_driver, NULL));
    sync_all();
}

// ---- memory that goes away ----

static void freed_under_a_kernel(void)
{
    add(w.p, 1, w.a);
    if (!w.bug) {
        sync_all();
    }
    cu.cuMemFree(w.p);
    sync_all();
}

static void freed_under_a_copy(void)
{
    OK(cu.cuMemcpyHtoDAsync(w.p, w.host, N * 4, w.a));
    if (!w.bug) {
        sync_all();
    }
    cu.cuMemFree(w.p);
    sync_all();
}

static void pinned_freed_under_a_copy(void)
{
    OK(cu.cuMemcpyHtoDAsync(w.p, w.host, N * 4, w.a));
    if (!w.bug) {
        sync_all();
    }
    cu.cuMemFreeHost(w.host);
    sync_all();
}

static void unloaded_under_a_kernel(void)
{
    copy(w.q, w.p, w.a);
    if (!w.bug) {
        sync_all();
    }
    cu.cuModuleUnload(w.module);
    sync_all();
}

static void used_after_free(void)
{
    OK(cu.cuMemFree(w.q));
    copy(w.bug ? w.q : w.r, w.p, w.a);
    sync_all();
}

static void freed_twice(void)
{
    OK(cu.cuMemFree(w.q));
    if (w.bug) {
        cu.cuMemFree(w.q);
    }
}

static CUdeviceptr fresh(CUstream s)
{
    CUdeviceptr d = 0;
    OK(cu.cuMemAllocAsync(&d, N * 4, s));
    return d;
}

static void async_used_before_its_allocation(void)
{
    CUdeviceptr d = fresh(w.a);
    a_then_b(!w.bug);
    set(d, 1, w.b);
    sync_all();
}

static void async_freed_too_early(void)
{
    CUdeviceptr d = fresh(w.a);
    set(d, 1, w.a);
    a_then_b(!w.bug);
    OK(cu.cuMemFreeAsync(d, w.b));
    sync_all();
}

static void async_used_after_its_free(void)
{
    CUdeviceptr d = fresh(w.a);
    set(d, 1, w.a);
    if (w.bug) {
        OK(cu.cuMemFreeAsync(d, w.a));
    }
    cu_launch(w.add, d, N, 1, w.a);
    if (!w.bug) {
        OK(cu.cuMemFreeAsync(d, w.a));
    }
    sync_all();
}

static void async_freed_twice(void)
{
    CUdeviceptr d = fresh(w.a);
    OK(cu.cuMemFreeAsync(d, w.a));
    if (w.bug) {
        cu.cuMemFreeAsync(d, w.a);
    }
    sync_all();
}

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
    OK(cu.cuModuleLoadData(&m, ptx));
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

#define UNORDERED "stream-order", "nothing orders them"
static const struct row {
    void (*body)(void);
    const char *name, *kind, *text;
} row[] = {
#define ROW(f, ...) \
    { \
        f, #f, __VA_ARGS__ \
    }
    ROW(write_read, UNORDERED),
    ROW(read_write, UNORDERED),
    ROW(write_write, UNORDERED),
    ROW(two_readers_one_writer, UNORDERED),
    ROW(part_of_a_buffer, UNORDERED),
    ROW(event_too_early, UNORDERED),
    ROW(wait_before_record, UNORDERED),
    ROW(wait_by_the_wrong_stream, UNORDERED),
    ROW(sync_of_the_wrong_stream, UNORDERED),
    ROW(the_way_back, UNORDERED),
    ROW(legacy_and_non_blocking, UNORDERED),
    ROW(atomics_and_a_plain_read, UNORDERED),
    ROW(copy_in_and_kernel, UNORDERED),
    ROW(kernel_and_copy_out, UNORDERED),
    ROW(kernel_reads_what_a_copy_replaces, UNORDERED),
    ROW(memset_and_kernel, UNORDERED),
    ROW(synchronous_memset_and_kernel, UNORDERED),
    ROW(copy_and_copy, UNORDERED),
    ROW(branches_of_a_graph, UNORDERED),
    ROW(graph_and_kernel, UNORDERED),
    ROW(dependent_reads_early, "stream-order", "before griddepcontrol.wait"),
    ROW(dependent_relays_its_wait, "stream-order", "before griddepcontrol.wait"),
    ROW(dependent_writes_early, "stream-order", "before griddepcontrol.wait"),
    ROW(dependent_without_a_trigger, "stream-order", "before griddepcontrol.wait"),
    ROW(the_one_between_does_not_wait, "stream-order", "between the two did not wait"),
    ROW(dependent_in_a_graph, "stream-order", "before griddepcontrol.wait"),
    ROW(read_without_a_wait, "data", ""),
    ROW(read_after_the_wrong_wait, "data", ""),
    ROW(read_after_an_early_event, "data", ""),
    ROW(mapped_memory_without_a_wait, "data", ""),
    ROW(source_reused, "stream-order", "host changed pinned memory"),
    ROW(source_reused_after_the_wrong_wait, "stream-order", "host changed pinned memory"),
    ROW(unwritten_bytes_copied_out, "uninitialised", "nothing wrote"),
    ROW(copy_leaves_its_allocation, "api", "leaves its allocation"),
    ROW(driver_call_in_a_host_function, "api", "host function"),
    ROW(freed_under_a_kernel, "stream-order", "still queued"),
    ROW(freed_under_a_copy, "stream-order", "still queued"),
    ROW(pinned_freed_under_a_copy, "stream-order", "still queued"),
    ROW(unloaded_under_a_kernel, "stream-order", "cuModuleUnload"),
    ROW(used_after_free, "use-after-free", ""),
    ROW(freed_twice, "api", "freed before"),
    ROW(async_used_before_its_allocation, "stream-order", "nothing orders them"),
    ROW(async_freed_too_early, "stream-order", "nothing orders them"),
    ROW(async_used_after_its_free, "stream-order", "after cuMemFreeAsync"),
    ROW(async_freed_twice, "api", "freed before"),
    ROW(capture_and_stream_sync, "capture", "cuStreamSynchronize"),
    ROW(capture_and_context_sync, "capture", "cuCtxSynchronize"),
    ROW(capture_and_query, "capture", "cuStreamQuery"),
    ROW(capture_and_alloc, "capture", "cuMemAlloc"),
    ROW(capture_and_synchronous_copy, "capture", "synchronous copy"),
    ROW(capture_of_pageable_memory, "capture", "pageable"),
    ROW(capture_not_joined, "capture", "not joined"),
    ROW(capture_waits_for_the_outside, "capture", "outside"),
    ROW(captured_event_synchronised, "capture", "cuEventSynchronize"),
    ROW(captured_stream_destroyed, "capture", "cuStreamDestroy"),
    ROW(capture_ended_by_another_stream, "capture", "did not begin it"),
    ROW(no_peer_access, "out-of-bounds", "cuCtxEnablePeerAccess"),
    ROW(peer_access_the_wrong_way, "out-of-bounds", "cuCtxEnablePeerAccess"),
    ROW(peers_without_an_event, UNORDERED),
    ROW(peers_exchange, UNORDERED),
#undef ROW
};

// In a child: 0 clean, 2 caught, WRONG, 4 another finding; all else: it broke.
static int run(const struct row *r, bool bug, int seed)
{
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        cu_is_child = true;
        char text[16];
        snprintf(text, sizeof text, "%d", seed);
        setenv("VGPU_SEED", text, 1);
        if (getenv("VGT_ONLY") == NULL && freopen("/dev/null", "w", stderr) == NULL) {
            _exit(99);
        }
        open_world();
        w.bug = bug;
        r->body();
        unsigned n = cu.vgpu_findings();
        for (unsigned i = 0; i < n; i++) {
            const char *f = cu.vgpu_finding(i);
            if (strncmp(f, r->kind, strlen(r->kind)) == 0 && strstr(f, r->text) != NULL) {
                _exit(2);
            }
        }
        _exit(n == 0 ? 0 : 4);
    }
    int status = -1;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void run_rows(size_t part, size_t parts)
{
    const char *only = getenv("VGT_ONLY");
    setenv("VGPU_ARCH", "h100", 1);
    setenv("VGPU_DEVICES", "2", 1);
    setenv("VGPU_THREADS", "1", 1);
    setenv("VGPU_MEM", "16M", 1);
    setenv("VGPU_PINNED", "4M", 1);
    cu_open();
    for (size_t i = part; i < sizeof row / sizeof row[0]; i += parts) {
        if (only != NULL && strcmp(only, row[i].name) != 0) {
            continue;
        }
        int caught = 0, clean = 0, last_bug = 0, last_clean = 0;
        int want = strcmp(row[i].kind, "data") == 0 ? WRONG : 2;
        for (int seed = 1; seed <= SEEDS; seed++) {
            int got = run(&row[i], true, seed);
            caught += got == want;
            last_bug = got == want ? last_bug : got;
            got = run(&row[i], false, seed);
            clean += got == 0;
            last_clean = got == 0 ? last_clean : got;
        }
        cr_expect(caught == SEEDS, "%s: the bug is caught in %d of %d seeds (else: %d)",
                  row[i].name, caught, SEEDS, last_bug);
        cr_expect(clean == SEEDS, "%s: the right version is clean in %d of %d seeds (else: %d)",
                  row[i].name, clean, SEEDS, last_clean);
    }
}

// Two tests, because Criterion runs tests beside each other.
Test(cu_bugs, every_bug_is_caught_in_every_seed_and_its_twin_is_clean, .timeout = 300)
{
    run_rows(0, 2);
}

Test(cu_bugs, the_other_half, .timeout = 300)
{
    run_rows(1, 2);
}
