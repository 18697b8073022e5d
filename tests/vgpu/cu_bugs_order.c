// SPDX-License-Identifier: Apache-2.0
// cu_bugs_order.c - bugs of the host side: kernels and copies in several streams, graphs, dependent
// launches.
#include "cu_bugs.h"

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

// ---- the table ----

const struct cu_bug cu_bugs_order[] = {
    CU_BUG(write_read, CU_UNORDERED),
    CU_BUG(read_write, CU_UNORDERED),
    CU_BUG(write_write, CU_UNORDERED),
    CU_BUG(two_readers_one_writer, CU_UNORDERED),
    CU_BUG(part_of_a_buffer, CU_UNORDERED),
    CU_BUG(event_too_early, CU_UNORDERED),
    CU_BUG(wait_before_record, CU_UNORDERED),
    CU_BUG(wait_by_the_wrong_stream, CU_UNORDERED),
    CU_BUG(sync_of_the_wrong_stream, CU_UNORDERED),
    CU_BUG(the_way_back, CU_UNORDERED),
    CU_BUG(legacy_and_non_blocking, CU_UNORDERED),
    CU_BUG(atomics_and_a_plain_read, CU_UNORDERED),
    CU_BUG(copy_in_and_kernel, CU_UNORDERED),
    CU_BUG(kernel_and_copy_out, CU_UNORDERED),
    CU_BUG(kernel_reads_what_a_copy_replaces, CU_UNORDERED),
    CU_BUG(memset_and_kernel, CU_UNORDERED),
    CU_BUG(synchronous_memset_and_kernel, CU_UNORDERED),
    CU_BUG(copy_and_copy, CU_UNORDERED),
    CU_BUG(branches_of_a_graph, CU_UNORDERED),
    CU_BUG(graph_and_kernel, CU_UNORDERED),
    CU_BUG(dependent_reads_early, "stream-order", "before griddepcontrol.wait"),
    CU_BUG(dependent_relays_its_wait, "stream-order", "before griddepcontrol.wait"),
    CU_BUG(dependent_writes_early, "stream-order", "before griddepcontrol.wait"),
    CU_BUG(dependent_without_a_trigger, "stream-order", "before griddepcontrol.wait"),
    CU_BUG(the_one_between_does_not_wait, "stream-order", "between the two did not wait"),
    CU_BUG(dependent_in_a_graph, "stream-order", "before griddepcontrol.wait"),
};
const size_t cu_n_bugs_order = sizeof cu_bugs_order / sizeof cu_bugs_order[0];
