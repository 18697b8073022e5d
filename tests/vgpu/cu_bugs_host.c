// SPDX-License-Identifier: Apache-2.0
// cu_bugs_host.c - bugs of the host side: what the host reads and writes too early, and memory that
// goes away.
#include "cu_bugs.h"

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

// ---- the table ----

const struct cu_bug cu_bugs_host[] = {
    CU_BUG(read_without_a_wait, "data", ""),
    CU_BUG(read_after_the_wrong_wait, "data", ""),
    CU_BUG(read_after_an_early_event, "data", ""),
    CU_BUG(mapped_memory_without_a_wait, "data", ""),
    CU_BUG(source_reused, "stream-order", "host changed pinned memory"),
    CU_BUG(source_reused_after_the_wrong_wait, "stream-order", "host changed pinned memory"),
    CU_BUG(unwritten_bytes_copied_out, "uninitialised", "nothing wrote"),
    CU_BUG(copy_leaves_its_allocation, "api", "leaves its allocation"),
    CU_BUG(driver_call_in_a_host_function, "api", "host function"),
    CU_BUG(freed_under_a_kernel, "stream-order", "still queued"),
    CU_BUG(freed_under_a_copy, "stream-order", "still queued"),
    CU_BUG(pinned_freed_under_a_copy, "stream-order", "still queued"),
    CU_BUG(unloaded_under_a_kernel, "stream-order", "cuModuleUnload"),
    CU_BUG(used_after_free, "use-after-free", ""),
    CU_BUG(freed_twice, "api", "freed before"),
    CU_BUG(async_used_before_its_allocation, "stream-order", "nothing orders them"),
    CU_BUG(async_freed_too_early, "stream-order", "nothing orders them"),
    CU_BUG(async_used_after_its_free, "stream-order", "after cuMemFreeAsync"),
    CU_BUG(async_freed_twice, "api", "freed before"),
};
const size_t cu_n_bugs_host = sizeof cu_bugs_host / sizeof cu_bugs_host[0];
