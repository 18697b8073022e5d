// SPDX-License-Identifier: Apache-2.0
//
// The stand-in NCCL: ranks of one process and of several, right sums, and mistakes by name.
#include "cu_test.h"

#include <nccl.h>
#include <signal.h>

#include "half.h"

#define VG_NCCL_MAP(X) \
    X(ncclGetVersion) \
    X(ncclGetUniqueId) \
    X(ncclGetErrorString) \
    X(ncclGetLastError) \
    X(ncclCommInitRank) \
    X(ncclCommInitAll) \
    X(ncclCommSplit) \
    X(ncclCommDestroy) \
    X(ncclCommAbort) \
    X(ncclCommGetAsyncError) \
    X(ncclCommCount) \
    X(ncclCommUserRank) \
    X(ncclCommCuDevice) \
    X(ncclGroupStart) \
    X(ncclGroupEnd) \
    X(ncclAllReduce) \
    X(ncclReduce) \
    X(ncclBroadcast) \
    X(ncclReduceScatter) \
    X(ncclAllGather) \
    X(ncclAlltoAll) \
    X(ncclSend) \
    X(ncclRecv)

static struct {
    VG_NCCL_MAP(VG_PTR)
} nc;

static void nccl_open(void)
{
    void *lib = dlopen("libnccl.so.2", RTLD_NOW | RTLD_LOCAL);
    cr_assert_not_null(lib, "dlopen: %s", dlerror());
#define VG_LOAD_NCCL(name) \
    do { \
        void *p = dlsym(lib, #name); \
        cr_assert_not_null(p, "no %s in libnccl", #name); \
        memcpy(&nc.name, &p, sizeof p); \
    } while (0);
    VG_NCCL_MAP(VG_LOAD_NCCL)
}

#define NOK(call) \
    do { \
        ncclResult_t r_ = (call); \
        cr_assert_eq(r_, ncclSuccess, "%s: %s (%s)", #call, nc.ncclGetErrorString(r_), \
                     nc.ncclGetLastError(NULL)); \
    } while (0)

enum { RANKS = 4, N = 1000 };

struct world {
    CUcontext ctx[RANKS];
    CUstream stream[RANKS];
    ncclComm_t comm[RANKS];
    CUdeviceptr send[RANKS], recv[RANKS];
};

static struct world world(size_t bytes)
{
    struct world w;
    setenv("VGPU_DEVICES", "4", 1);
    cu_start();
    nccl_open();
    for (int i = 0; i < RANKS; i++) {
        OK(cu.cuDevicePrimaryCtxRetain(&w.ctx[i], i));
        OK(cu.cuCtxSetCurrent(w.ctx[i]));
        OK(cu.cuStreamCreate(&w.stream[i], CU_STREAM_NON_BLOCKING));
        OK(cu.cuMemAlloc(&w.send[i], bytes * RANKS));
        OK(cu.cuMemAlloc(&w.recv[i], bytes * RANKS));
    }
    NOK(nc.ncclCommInitAll(w.comm, RANKS, NULL));
    return w;
}

static void put(const struct world *w, int rank, const void *data, size_t bytes)
{
    OK(cu.cuCtxSetCurrent(w->ctx[rank]));
    OK(cu.cuMemcpyHtoD(w->send[rank], data, bytes));
    OK(cu.cuCtxSynchronize());
}

static void get(const struct world *w, int rank, void *data, size_t bytes)
{
    OK(cu.cuCtxSetCurrent(w->ctx[rank]));
    OK(cu.cuStreamSynchronize(w->stream[rank]));
    OK(cu.cuMemcpyDtoH(data, w->recv[rank], bytes));
}

#define PTR(p) ((void *)(uintptr_t)(p))
#define STREAM(i) ((cudaStream_t)w.stream[i])

Test(nccl, one_thread_runs_all_ranks)
{
    struct world w = world(N * 4);
    int32_t v[RANKS * N], got[RANKS * N];
    for (int r = 0; r < RANKS; r++) {
        for (int i = 0; i < RANKS * N; i++) {
            v[i] = i + 1000000 * r;
        }
        put(&w, r, v, sizeof v);
        int n = 0, me = -1, dev = -1;
        NOK(nc.ncclCommCount(w.comm[r], &n));
        NOK(nc.ncclCommUserRank(w.comm[r], &me));
        NOK(nc.ncclCommCuDevice(w.comm[r], &dev));
        cr_assert(n == RANKS && me == r && dev == r, "%d %d %d", n, me, dev);
    }
    NOK(nc.ncclGroupStart());
    for (int r = 0; r < RANKS; r++) {
        NOK(nc.ncclAllReduce(PTR(w.send[r]), PTR(w.recv[r]), N, ncclInt32, ncclSum, w.comm[r],
                             STREAM(r)));
    }
    NOK(nc.ncclGroupEnd());
    for (int r = 0; r < RANKS; r++) {
        get(&w, r, got, N * 4);
        for (int i = 0; i < N; i++) {
            cr_assert_eq(got[i], 4 * i + 6000000, "rank %d element %d: %d", r, i, got[i]);
        }
    }
    for (int r = 0; r < RANKS; r++) {
        NOK(nc.ncclReduceScatter(PTR(w.send[r]), PTR(w.recv[r]), N, ncclInt32, ncclMax, w.comm[r],
                                 STREAM(r)));
    }
    for (int r = 0; r < RANKS; r++) {
        get(&w, r, got, N * 4);
        cr_assert_eq(got[5], r * N + 5 + 3000000, "rank %d: %d", r, got[5]);
    }
    for (int r = 0; r < RANKS; r++) {
        NOK(nc.ncclAllGather(PTR(w.send[r]), PTR(w.recv[r]), N, ncclInt32, w.comm[r], STREAM(r)));
    }
    for (int r = 0; r < RANKS; r++) {
        get(&w, r, got, sizeof got);
        for (int k = 0; k < RANKS; k++) {
            cr_assert_eq(got[k * N + 9], 9 + 1000000 * k, "rank %d part %d: %d", r, k,
                         got[k * N + 9]);
        }
    }
    for (int r = 0; r < RANKS; r++) {
        NOK(nc.ncclAlltoAll(PTR(w.send[r]), PTR(w.recv[r]), N, ncclInt32, w.comm[r], STREAM(r)));
    }
    for (int r = 0; r < RANKS; r++) {
        get(&w, r, got, sizeof got);
        for (int k = 0; k < RANKS; k++) {
            cr_assert_eq(got[k * N + 9], r * N + 9 + 1000000 * k, "rank %d part %d: %d", r, k,
                         got[k * N + 9]);
        }
    }
    for (int r = 0; r < RANKS; r++) {
        NOK(nc.ncclBroadcast(PTR(w.send[r]), PTR(w.recv[r]), N, ncclInt32, 2, w.comm[r],
                             STREAM(r)));
    }
    for (int r = 0; r < RANKS; r++) {
        get(&w, r, got, N * 4);
        cr_assert_eq(got[7], 2000007, "rank %d: %d", r, got[7]);
    }
    for (int r = 0; r < RANKS; r++) {
        OK(cu.cuCtxSetCurrent(w.ctx[r]));
        OK(cu.cuCtxSynchronize());
        NOK(nc.ncclCommDestroy(w.comm[r]));
    }
    cu_clean();
}

Test(nccl, floats_are_rounded_to_their_type)
{
    struct world w = world(N * 2);
    uint16_t v[N], got[N];
    for (int r = 0; r < RANKS; r++) {
        for (int i = 0; i < N; i++) {
            v[i] = vg_float_bf16((float)(i % 16) + (float)r * 0.5f);
        }
        put(&w, r, v, sizeof v);
    }
    for (int r = 0; r < RANKS; r++) {
        NOK(nc.ncclAllReduce(PTR(w.send[r]), PTR(w.recv[r]), N, ncclBfloat16, ncclSum, w.comm[r],
                             STREAM(r)));
    }
    for (int r = 0; r < RANKS; r++) {
        get(&w, r, got, sizeof got);
        for (int i = 0; i < N; i++) {
            // All partial sums have at most 8 bits: exact in any order.
            float want = 4 * (float)(i % 16) + 3;
            cr_assert_eq(vg_bf16_float(got[i]), want, "rank %d element %d: %g", r, i,
                         (double)vg_bf16_float(got[i]));
        }
    }
    for (int r = 0; r < RANKS; r++) {
        NOK(nc.ncclAllReduce(PTR(w.recv[r]), PTR(w.recv[r]), N, ncclBfloat16, ncclAvg, w.comm[r],
                             STREAM(r)));
    }
    for (int r = 0; r < RANKS; r++) {
        get(&w, r, got, sizeof got);
        cr_assert_eq(vg_bf16_float(got[3]), 15.0f, "rank %d: %g", r, (double)vg_bf16_float(got[3]));
    }
    cu_clean();
}

Test(nccl, long_messages_go_in_pieces)
{
    enum { LONG = 700001 };
    struct world w = world(LONG * 4);
    float *v = calloc(LONG, sizeof *v), *got = calloc(LONG, sizeof *got);
    for (int r = 0; r < RANKS; r++) {
        for (int i = 0; i < LONG; i++) {
            v[i] = (float)(i % 1000 + r);
        }
        put(&w, r, v, LONG * 4);
    }
    for (int r = 0; r < RANKS; r++) {
        NOK(nc.ncclAllReduce(PTR(w.send[r]), PTR(w.recv[r]), LONG, ncclFloat32, ncclSum, w.comm[r],
                             STREAM(r)));
    }
    for (int r = 0; r < RANKS; r++) {
        get(&w, r, got, LONG * 4);
        for (int i = 0; i < LONG; i++) {
            cr_assert_eq(got[i], (float)(4 * (i % 1000) + 6), "rank %d element %d: %g", r, i,
                         (double)got[i]);
        }
    }
    free(v);
    free(got);
    cu_clean();
}

Test(nccl, sends_and_receives_pass_each_other_in_a_group)
{
    struct world w = world(N * 4);
    int32_t v[N], got[N];
    for (int r = 0; r < RANKS; r++) {
        for (int i = 0; i < N; i++) {
            v[i] = 100 * r + i % 100;
        }
        put(&w, r, v, sizeof v);
    }
    for (int r = 0; r < RANKS; r++) { // a ring: all send and receive at once
        NOK(nc.ncclGroupStart());
        NOK(nc.ncclSend(PTR(w.send[r]), N, ncclInt32, (r + 1) % RANKS, w.comm[r], STREAM(r)));
        NOK(nc.ncclRecv(PTR(w.recv[r]), N, ncclInt32, (r + RANKS - 1) % RANKS, w.comm[r],
                        STREAM(r)));
        NOK(nc.ncclGroupEnd());
    }
    for (int r = 0; r < RANKS; r++) {
        get(&w, r, got, sizeof got);
        cr_assert_eq(got[42], 100 * ((r + RANKS - 1) % RANKS) + 42, "rank %d: %d", r, got[42]);
    }
    cu_clean();
    NOK(nc.ncclSend(PTR(w.send[0]), N, ncclInt32, 1, w.comm[0], STREAM(0)));
    NOK(nc.ncclRecv(PTR(w.recv[1]), N / 2, ncclInt32, 0, w.comm[1], STREAM(1)));
    OK(cu.cuCtxSetCurrent(w.ctx[1]));
    OK(cu.cuStreamSynchronize(w.stream[1]));
    cu_found("api", "rank 0 sends 4000 bytes of int32 to rank 1, which receives 2000 bytes");
}

Test(nccl, ranks_that_disagree_are_named)
{
    struct world w = world(N * 4);
    int32_t v[N] = {0};
    for (int r = 0; r < RANKS; r++) {
        put(&w, r, v, sizeof v);
    }
    for (int r = 0; r < RANKS; r++) {
        NOK(nc.ncclAllReduce(PTR(w.send[r]), PTR(w.recv[r]), r == 2 ? N - 1 : N, ncclInt32, ncclSum,
                             w.comm[r], STREAM(r)));
    }
    for (int r = 0; r < RANKS; r++) {
        OK(cu.cuCtxSetCurrent(w.ctx[r]));
        OK(cu.cuStreamSynchronize(w.stream[r]));
    }
    cu_found("api", "rank 2 calls ncclAllReduce(count 999");
    ncclResult_t e = ncclSuccess;
    NOK(nc.ncclCommGetAsyncError(w.comm[0], &e));
    cr_assert_eq(e, ncclInvalidUsage, "%s", nc.ncclGetErrorString(e));
}

Test(nccl, arguments_are_checked)
{
    struct world w = world(N * 4);
    int host[4];
    ncclComm_t c = w.comm[0];
    void *s = PTR(w.send[0]), *r = PTR(w.recv[0]);
    cr_assert_eq(nc.ncclAllReduce(host, r, 4, ncclInt32, ncclSum, c, STREAM(0)),
                 ncclInvalidArgument);
    cr_assert_eq(nc.ncclAllReduce(PTR(w.send[1]), r, 4, ncclInt32, ncclSum, c, STREAM(0)),
                 ncclInvalidArgument, "memory of another device");
    cr_assert_eq(nc.ncclAllReduce(s, r, 4 * N + 1, ncclInt32, ncclSum, c, STREAM(0)),
                 ncclInvalidArgument);
    cr_assert_eq(nc.ncclAllReduce(s, r, N, (ncclDataType_t)77, ncclSum, c, STREAM(0)),
                 ncclInvalidArgument);
    cr_assert_eq(nc.ncclBroadcast(s, r, N, ncclInt32, 4, c, STREAM(0)), ncclInvalidArgument);
    cr_assert_eq(nc.ncclAllReduce(s, r, N, ncclInt32, ncclSum, NULL, STREAM(0)),
                 ncclInvalidArgument);
    cu_clean();
    cr_assert_eq(nc.ncclAllReduce(s, (char *)s + 4, N, ncclInt32, ncclSum, c, STREAM(0)),
                 ncclInvalidUsage);
    cu_found("api", "overlap");
}

Test(nccl, a_communicator_splits)
{
    struct world w = world(N * 4);
    ncclComm_t half[RANKS];
    NOK(nc.ncclGroupStart());
    for (int r = 0; r < RANKS; r++) {
        NOK(nc.ncclCommSplit(w.comm[r], r % 2, -r, &half[r], NULL));
    }
    NOK(nc.ncclGroupEnd());
    int32_t v[N], got[N];
    for (int r = 0; r < RANKS; r++) {
        int n = 0, me = 0;
        NOK(nc.ncclCommCount(half[r], &n));
        NOK(nc.ncclCommUserRank(half[r], &me));
        cr_assert(n == 2 && me == (r < 2), "rank %d is %d of %d", r, me, n); // keys fall
        for (int i = 0; i < N; i++) {
            v[i] = 1 << r;
        }
        put(&w, r, v, sizeof v);
    }
    for (int r = 0; r < RANKS; r++) {
        NOK(nc.ncclAllReduce(PTR(w.send[r]), PTR(w.recv[r]), N, ncclInt32, ncclSum, half[r],
                             STREAM(r)));
    }
    for (int r = 0; r < RANKS; r++) {
        get(&w, r, got, sizeof got);
        cr_assert_eq(got[1], r % 2 ? 10 : 5, "rank %d: %d", r, got[1]);
    }
    cu_clean();
}

Test(nccl, a_captured_collective_runs_at_every_launch)
{
    struct world w = world(N * 4);
    int32_t v[N], got[N];
    CUgraphExec e[RANKS];
    for (int r = 0; r < RANKS; r++) {
        for (int i = 0; i < N; i++) {
            v[i] = 1;
        }
        put(&w, r, v, sizeof v);
        CUgraph g = NULL;
        OK(cu.cuStreamBeginCapture(w.stream[r], CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
        NOK(nc.ncclAllReduce(PTR(w.send[r]), PTR(w.send[r]), N, ncclInt32, ncclSum, w.comm[r],
                             STREAM(r)));
        OK(cu.cuMemcpyDtoDAsync(w.recv[r], w.send[r], N * 4, w.stream[r]));
        OK(cu.cuStreamEndCapture(w.stream[r], &g));
        OK(cu.cuGraphInstantiate(&e[r], g, 0));
    }
    for (int k = 1; k <= 3; k++) {
        for (int r = 0; r < RANKS; r++) {
            OK(cu.cuCtxSetCurrent(w.ctx[r]));
            OK(cu.cuGraphLaunch(e[r], w.stream[r]));
        }
        for (int r = 0; r < RANKS; r++) {
            get(&w, r, got, sizeof got);
            cr_assert_eq(got[8], 1 << (2 * k), "launch %d rank %d: %d", k, r, got[8]);
        }
    }
    cu_clean();
}

// ---- several processes ----

static int one_rank(ncclUniqueId id, int rank, int die_at)
{
    cu_start();
    nccl_open();
    ncclComm_t comm = NULL;
    if (nc.ncclCommInitRank(&comm, 2, id, rank) != ncclSuccess) {
        return 10;
    }
    CUdeviceptr p = 0;
    CUstream s = NULL;
    float v[N], got[N];
    OK(cu.cuMemAlloc(&p, N * 4));
    OK(cu.cuStreamCreate(&s, CU_STREAM_NON_BLOCKING));
    for (int step = 0; step < 5; step++) {
        if (step == die_at && rank == 1) {
            raise(SIGKILL);
        }
        for (int i = 0; i < N; i++) {
            v[i] = (float)(i + rank + step);
        }
        OK(cu.cuMemcpyHtoD(p, v, N * 4));
        OK(cu.cuCtxSynchronize());
        if (nc.ncclAllReduce(PTR(p), PTR(p), N, ncclFloat32, ncclSum, comm, (cudaStream_t)s) !=
            ncclSuccess) {
            return 11;
        }
        // As a product waits: by polling, with an eye on the communicator.
        CUresult r;
        while ((r = cu.cuStreamQuery(s)) == CUDA_ERROR_NOT_READY) {
            ncclResult_t e = ncclSuccess;
            nc.ncclCommGetAsyncError(comm, &e);
            if (e != ncclSuccess) {
                nc.ncclCommAbort(comm);
                return cu.cuStreamSynchronize(s) == CUDA_SUCCESS && e == ncclRemoteError ? 42 : 12;
            }
        }
        OK(cu.cuMemcpyDtoH(got, p, N * 4));
        for (int i = 0; i < N; i++) {
            if (got[i] != (float)(2 * (i + step) + 1)) {
                return 13;
            }
        }
    }
    return nc.ncclCommDestroy(comm) == ncclSuccess && cu.vgpu_findings() == 0 ? 0 : 14;
}

// Waits for the children together, so that a killed one stays a zombie as little as it likes.
static void two_processes(int die_at, int want[2])
{
    nccl_open();
    ncclUniqueId id;
    NOK(nc.ncclGetUniqueId(&id));
    pid_t child[2];
    for (int r = 0; r < 2; r++) {
        child[r] = fork();
        if (child[r] == 0) {
            cu_is_child = true;
            _exit(one_rank(id, r, die_at));
        }
    }
    for (int r = 0; r < 2; r++) {
        int status = 0;
        waitpid(child[r], &status, 0);
        int code = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
        cr_assert_eq(code, want[r], "rank %d ends with %d", r, code);
    }
}

Test(nccl, two_processes_sum, .timeout = 60)
{
    two_processes(-1, (int[]){0, 0});
}

Test(nccl, a_dead_peer_is_an_asynchronous_error, .timeout = 60)
{
    two_processes(3, (int[]){42, -SIGKILL});
}

Test(nccl, a_rank_that_never_comes_is_reported, .timeout = 60)
{
    setenv("VGPU_NCCL_TIMEOUT_MS", "100", 1);
    cu_start();
    nccl_open();
    ncclUniqueId id;
    NOK(nc.ncclGetUniqueId(&id));
    ncclComm_t c = NULL;
    cr_assert_eq(nc.ncclCommInitRank(&c, 3, id, 1), ncclSystemError);
    cu_found("deadlock", "never came: 0 2");
}

Test(nccl, calls_fail_as_planned)
{
    setenv("VGPU_FAIL", "ncclAllReduce:2=6", 1);
    struct world w = world(64);
    int32_t v[16] = {0};
    put(&w, 0, v, sizeof v);
    NOK(nc.ncclAllReduce(PTR(w.send[0]), PTR(w.recv[0]), 16, ncclInt32, ncclSum, w.comm[0],
                         STREAM(0)));
    cr_assert_eq(nc.ncclAllReduce(PTR(w.send[0]), PTR(w.recv[0]), 16, ncclInt32, ncclSum, w.comm[0],
                                  STREAM(0)),
                 ncclRemoteError);
}
