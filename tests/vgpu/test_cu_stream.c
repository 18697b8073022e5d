// SPDX-License-Identifier: Apache-2.0
//
// Streams, events, host functions: what is ordered is ordered in every seed, what is not, is not;
// and forgotten waits are found.
#include "cu_test.h"

enum { N = 256, SEEDS = 20 };

struct world {
    struct cu_kernels k;
    CUstream a, b;
    CUdeviceptr p, q;
    uint32_t *pinned;
};

static struct world world(unsigned flags)
{
    struct world w;
    cu_start();
    w.k = cu_kernels();
    OK(cu.cuStreamCreate(&w.a, flags));
    OK(cu.cuStreamCreate(&w.b, flags));
    OK(cu.cuMemAlloc(&w.p, N * 4));
    OK(cu.cuMemAlloc(&w.q, N * 4));
    OK(cu.cuMemHostAlloc((void **)&w.pinned, N * 4, 0));
    memset(w.pinned, 0, N * 4);
    OK(cu.cuMemsetD32(w.p, 0, N));
    OK(cu.cuMemsetD32(w.q, 0, N));
    OK(cu.cuCtxSynchronize());
    return w;
}

// Runs `body` in a child per seed; returns how many exited with `code`.
static int count_seeds(int (*body)(void), int code)
{
    int n = 0;
    for (int seed = 1; seed <= SEEDS; seed++) {
        char text[16];
        snprintf(text, sizeof text, "%d", seed);
        setenv("VGPU_SEED", text, 1);
        pid_t child = fork();
        if (child == 0) {
            cu_is_child = true;
            // Findings are expected in some bodies: keep them out of the log.
            if (freopen("/dev/null", "w", stderr) == NULL) {
                _exit(99);
            }
            _exit(body());
        }
        int status = -1;
        waitpid(child, &status, 0);
        cr_assert(WIFEXITED(status) && WEXITSTATUS(status) != 99, "seed %d: status %d", seed,
                  status);
        n += WEXITSTATUS(status) == code;
    }
    return n;
}

static int kernels_in_one_stream(void)
{
    struct world w = world(CU_STREAM_NON_BLOCKING);
    for (unsigned i = 1; i <= 10; i++) {
        cu_launch(i % 2 != 0 ? w.k.add : w.k.set, w.p, N, i, w.a);
    }
    cu.cuMemcpyDtoHAsync(w.pinned, w.p, N * 4, w.a);
    cu.cuStreamSynchronize(w.a);
    return w.pinned[N - 1] == 10 && cu.vgpu_findings() == 0;
}

Test(stream, one_stream_runs_in_order)
{
    cr_assert_eq(count_seeds(kernels_in_one_stream, 1), SEEDS);
}

static int event_orders(void)
{
    struct world w = world(CU_STREAM_NON_BLOCKING);
    CUevent e = NULL;
    cu.cuEventCreate(&e, CU_EVENT_DISABLE_TIMING);
    cu_launch(w.k.set, w.p, N, 5, w.a);
    cu.cuEventRecord(e, w.a);
    cu.cuStreamWaitEvent(w.b, e, 0);
    cu_launch(w.k.add, w.p, N, 2, w.b);
    cu.cuMemcpyDtoHAsync(w.pinned, w.p, N * 4, w.b);
    cu.cuStreamSynchronize(w.b);
    return w.pinned[0] == 7 && cu.vgpu_findings() == 0;
}

static int event_missing(void)
{
    struct world w = world(CU_STREAM_NON_BLOCKING);
    cu_launch(w.k.set, w.p, N, 5, w.a);
    cu_launch(w.k.add, w.p, N, 2, w.b);
    cu.cuMemcpyDtoHAsync(w.pinned, w.p, N * 4, w.b);
    cu.cuStreamSynchronize(w.b);
    return w.pinned[0] == 7;
}

Test(stream, an_event_orders_two_streams_and_its_absence_shows)
{
    cr_assert_eq(count_seeds(event_orders, 1), SEEDS);
    int right = count_seeds(event_missing, 1);
    cr_assert(right > 0 && right < SEEDS, "right by chance in %d of %d seeds", right, SEEDS);
}

static int copies_race(void)
{
    struct world w = world(CU_STREAM_NON_BLOCKING);
    cu.cuMemcpyHtoDAsync(w.p, w.pinned, N * 4, w.a);
    cu.cuMemcpyDtoDAsync(w.q, w.p, N * 4, w.b);
    cu.cuCtxSynchronize();
    return cu.vgpu_findings() > 0 && strstr(cu.vgpu_finding(0), "nothing orders them") != NULL;
}

static int copy_and_kernel_race(void)
{
    struct world w = world(CU_STREAM_NON_BLOCKING);
    cu.cuMemcpyHtoDAsync(w.p, w.pinned, N * 4, w.a);
    cu_launch(w.k.add, w.p, N, 2, w.b);
    cu.cuCtxSynchronize();
    return cu.vgpu_findings() > 0 && strstr(cu.vgpu_finding(0), "nothing orders them") != NULL;
}

static int copies_of_separate_halves(void)
{
    struct world w = world(CU_STREAM_NON_BLOCKING);
    cu.cuMemcpyHtoDAsync(w.p, w.pinned, N * 2, w.a);
    cu.cuMemcpyHtoDAsync(w.p + N * 2, w.pinned + N / 2, N * 2, w.b);
    cu.cuCtxSynchronize();
    cu.cuMemcpyDtoDAsync(w.q, w.p, N * 4, w.b);
    cu.cuCtxSynchronize();
    return cu.vgpu_findings() == 0;
}

Test(stream, unordered_use_of_one_allocation_is_found)
{
    cr_assert_eq(count_seeds(copies_race, 1), SEEDS);
    cr_assert_eq(count_seeds(copy_and_kernel_race, 1), SEEDS);
    cr_assert_eq(count_seeds(copies_of_separate_halves, 1), SEEDS);
}

static int legacy_stream_orders(void)
{
    struct world w = world(CU_STREAM_DEFAULT);
    cu_launch(w.k.set, w.p, N, 5, w.a);
    cu_launch(w.k.add, w.p, N, 2, NULL); // waits for a
    cu_launch(w.k.add, w.p, N, 3, w.b);  // waits for the legacy stream
    cu.cuMemcpyDtoHAsync(w.pinned, w.p, N * 4, w.b);
    cu.cuStreamSynchronize(w.b);
    return w.pinned[0] == 10 && cu.vgpu_findings() == 0;
}

Test(stream, the_legacy_stream_orders_blocking_streams)
{
    cr_assert_eq(count_seeds(legacy_stream_orders, 1), SEEDS);
}

static int read_too_early(void)
{
    struct world w = world(CU_STREAM_NON_BLOCKING);
    cu_launch(w.k.set, w.p, N, 5, w.a);
    cu.cuMemcpyDtoHAsync(w.pinned, w.p, N * 4, w.a);
    int early = w.pinned[0] == 0xA5A5A5A5u; // poisoned, and not what was there
    cu.cuStreamSynchronize(w.a);
    return early && w.pinned[0] == 5 && cu.vgpu_findings() == 0;
}

static int written_too_early(void)
{
    struct world w = world(CU_STREAM_NON_BLOCKING);
    cu.cuMemcpyHtoDAsync(w.p, w.pinned, N * 4, w.a);
    w.pinned[3] = 77; // the copy is still queued
    cu.cuStreamSynchronize(w.a);
    return cu.vgpu_findings() == 1 && strstr(cu.vgpu_finding(0), "host changed pinned") != NULL;
}

static int buffer_reused_properly(void)
{
    struct world w = world(CU_STREAM_NON_BLOCKING);
    for (unsigned i = 0; i < 5; i++) {
        w.pinned[0] = i;
        cu.cuMemcpyHtoDAsync(w.p, w.pinned, N * 4, w.a);
        cu_launch(w.k.add, w.p, N, 100, w.a);
        cu.cuMemcpyDtoHAsync(w.pinned, w.p, N * 4, w.a);
        cu.cuStreamSynchronize(w.a);
        if (w.pinned[0] != i + 100) {
            return 0;
        }
    }
    return cu.vgpu_findings() == 0;
}

Test(stream, pinned_memory_is_read_and_written_late)
{
    cr_assert_eq(count_seeds(read_too_early, 1), SEEDS);
    cr_assert_eq(count_seeds(written_too_early, 1), SEEDS);
    cr_assert_eq(count_seeds(buffer_reused_properly, 1), SEEDS);
}

static int freed_while_queued(void)
{
    struct world w = world(CU_STREAM_NON_BLOCKING);
    cu_launch(w.k.add, w.p, N, 2, w.a);
    cu.cuMemFree(w.p);
    return cu.vgpu_findings() == 1 && strstr(cu.vgpu_finding(0), "still queued") != NULL;
}

Test(stream, a_free_under_queued_work_is_found)
{
    cr_assert_eq(count_seeds(freed_while_queued, 1), SEEDS);
}

static void *const order_marks[3] = {(void *)1, (void *)2, (void *)3};
static int order_seen[8], n_seen;
static void note(void *arg)
{
    for (int i = 0; i < 3; i++) {
        if (arg == order_marks[i]) {
            order_seen[n_seen++] = i + 1;
        }
    }
}

static CUresult inside;
static void calls_the_driver(void *arg)
{
    CUdeviceptr p = 0;
    inside = cu.cuMemAlloc(&p, 16);
    (void)arg;
}

Test(stream, host_functions_run_in_order_and_may_not_call_the_driver)
{
    struct world w = world(CU_STREAM_NON_BLOCKING);
    for (int i = 0; i < 3; i++) {
        OK(cu.cuLaunchHostFunc(w.a, note, order_marks[i]));
    }
    cr_assert_eq(n_seen, 0, "nothing runs before a wait");
    OK(cu.cuStreamSynchronize(w.a));
    cr_assert(n_seen == 3 && order_seen[0] == 1 && order_seen[1] == 2 && order_seen[2] == 3);
    cu_clean();
    OK(cu.cuLaunchHostFunc(w.a, calls_the_driver, NULL));
    OK(cu.cuStreamSynchronize(w.a));
    cr_assert_eq(inside, CUDA_ERROR_NOT_PERMITTED, "%s", cu_name(inside));
    cu_found("api", "host function");
}

Test(stream, queries_say_not_ready_and_get_there)
{
    struct world w = world(CU_STREAM_NON_BLOCKING);
    CUevent e = NULL, f = NULL;
    OK(cu.cuEventCreate(&e, 0));
    OK(cu.cuEventCreate(&f, 0));
    OK(cu.cuEventQuery(e)); // never recorded: done
    OK(cu.cuEventRecord(f, w.a));
    for (unsigned i = 0; i < 20; i++) {
        OK(cu_launch(w.k.add, w.p, N, 1, w.a));
    }
    OK(cu.cuEventRecord(e, w.a));
    CUresult r = cu.cuEventQuery(e);
    cr_assert_eq(r, CUDA_ERROR_NOT_READY, "%s", cu_name(r));
    float ms = -1;
    FAILS(cu.cuEventElapsedTime(&ms, f, e), CUDA_ERROR_NOT_READY);
    int tries = 0;
    while ((r = cu.cuEventQuery(e)) == CUDA_ERROR_NOT_READY && tries < 10000) {
        tries++;
    }
    cr_assert_eq(r, CUDA_SUCCESS, "%s", cu_name(r));
    OK(cu.cuEventElapsedTime(&ms, f, e));
    cr_assert_geq(ms, 0, "%f", (double)ms);
    OK(cu.cuStreamQuery(w.a));
    cu_clean();
}

Test(stream, values_in_memory_hold_a_stream)
{
    struct world w = world(CU_STREAM_NON_BLOCKING);
    OK(cu.cuStreamWaitValue32(w.b, w.q, 3, CU_STREAM_WAIT_VALUE_EQ));
    OK(cu_launch(w.k.add, w.p, N, 1, w.b));
    OK(cu_launch(w.k.set, w.p, N, 40, w.a));
    OK(cu.cuStreamWriteValue32(w.a, w.q, 3, 0));
    OK(cu.cuStreamSynchronize(w.b));
    uint32_t got[N];
    OK(cu.cuMemcpyDtoH(got, w.p, sizeof got));
    cr_assert_eq(got[7], 41, "%u", got[7]);
}

Test(stream, a_fault_stays_with_its_context)
{
    struct world w = world(CU_STREAM_NON_BLOCKING);
    OK(cu_launch(w.k.add, w.p, N + 64, 1, w.a)); // 64 elements too many
    FAILS(cu.cuStreamSynchronize(w.a), CUDA_ERROR_ILLEGAL_ADDRESS);
    FAILS(cu.cuMemFree(w.p), CUDA_ERROR_ILLEGAL_ADDRESS);
    FAILS(cu_launch(w.k.add, w.p, N, 1, w.a), CUDA_ERROR_ILLEGAL_ADDRESS);
    FAILS(cu.cuCtxSynchronize(), CUDA_ERROR_ILLEGAL_ADDRESS);
    cr_assert_geq(cu.vgpu_findings(), 1);
    OK(cu.cuDevicePrimaryCtxReset(0));
    CUcontext fresh = NULL;
    OK(cu.cuDevicePrimaryCtxRetain(&fresh, 0));
    OK(cu.cuCtxSetCurrent(fresh));
    CUdeviceptr p = 0;
    OK(cu.cuMemAlloc(&p, 16));
}

Test(stream, a_planned_launch_fault_shows_at_the_sync)
{
    setenv("VGPU_FAIL", "launch:3", 1);
    struct world w = world(CU_STREAM_NON_BLOCKING);
    for (int i = 0; i < 4; i++) {
        OK(cu_launch(w.k.add, w.p, N, 1, w.a));
    }
    FAILS(cu.cuStreamSynchronize(w.a), CUDA_ERROR_LAUNCH_FAILED);
    cu_clean(); // it is the plan's doing, not the program's
}

Test(stream, devices_copy_to_each_other)
{
    setenv("VGPU_DEVICES", "2", 1);
    CUcontext c0 = cu_start(), c1 = NULL;
    int can = 0;
    OK(cu.cuDeviceCanAccessPeer(&can, 0, 1));
    cr_assert_eq(can, 1);
    OK(cu.cuDevicePrimaryCtxRetain(&c1, 1));
    OK(cu.cuCtxEnablePeerAccess(c1, 0));
    FAILS(cu.cuCtxEnablePeerAccess(c1, 0), CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED);
    FAILS(cu.cuCtxEnablePeerAccess(c0, 0), CUDA_ERROR_INVALID_DEVICE);
    CUdeviceptr p = 0, q = 0;
    OK(cu.cuMemAlloc(&p, 64));
    OK(cu.cuMemsetD8(p, 0x5A, 64));
    OK(cu.cuCtxSetCurrent(c1));
    OK(cu.cuMemAlloc(&q, 64));
    OK(cu.cuMemcpyPeer(q, c1, p, c0, 64));
    FAILS(cu.cuMemcpyPeer(q, c0, p, c0, 64), CUDA_ERROR_INVALID_VALUE);
    uint8_t got[64];
    OK(cu.cuCtxSynchronize());
    OK(cu.cuMemcpyDtoH(got, q, 64));
    cr_assert_eq(got[63], 0x5A);
    OK(cu.cuCtxSetCurrent(c0));
    OK(cu.cuCtxDisablePeerAccess(c1));
    FAILS(cu.cuCtxDisablePeerAccess(c1), CUDA_ERROR_PEER_ACCESS_NOT_ENABLED);
}
