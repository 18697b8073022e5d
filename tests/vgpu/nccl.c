// SPDX-License-Identifier: Apache-2.0
//
// nccl.c - the API of the stand-in libnccl.so.2: communicators, groups, checks of arguments.
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "nccl_impl.h"

#define NC_MAGIC UINT64_C(0x4F63746176436F6D)
#define NC_ID_MAGIC "vgpu-nccl"

enum { NC_MAX_GROUP = 1024 };

pthread_mutex_t nc_lock = PTHREAD_MUTEX_INITIALIZER;

struct queued {
    struct nc_task *task;
    void *stream;
};

// A communicator under construction: joined in the first half of a group's end, waited for in the
// second, so that one thread can make all ranks.
struct pending {
    ncclComm_t *out;
    struct ncclComm *comm;
    // ncclCommSplit
    struct ncclComm *parent;
    int color, key;
};

static _Thread_local struct {
    unsigned depth, n, n_pending;
    struct queued queue[NC_MAX_GROUP];
    struct pending pending[64];
    ncclResult_t error; // first of the group
} group;

static struct vg_lib_driver driver;
static bool driver_ok;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static _Thread_local char last_error[256];

static void open_driver(void)
{
    driver_ok = vg_lib_driver_open(&driver);
}

const struct vg_lib_driver *nc_driver(void)
{
    pthread_once(&once, open_driver);
    return driver_ok ? &driver : NULL;
}

static ncclResult_t refuse(ncclResult_t r, const char *call, const char *why)
{
    snprintf(last_error, sizeof last_error, "%s: %s", call, why);
    return r;
}

// Called first by everything: driver there, injected failure.
static ncclResult_t enter(const char *name)
{
    if (nc_driver() == NULL) {
        return refuse(ncclSystemError, name, "no virtual GPU driver");
    }
    unsigned code = driver.vgpu_fault(name, ncclSystemError);
    return code == 0 ? ncclSuccess : refuse((ncclResult_t)code, name, "planned by VGPU_FAIL");
}

static bool comm_ok(const struct ncclComm *c)
{
    return c != NULL && c->magic == NC_MAGIC;
}

// ---- texts ----

ncclResult_t ncclGetVersion(int *version)
{
    if (version == NULL) {
        return ncclInvalidArgument;
    }
    *version = NCCL_VERSION_CODE;
    return ncclSuccess;
}

const char *ncclGetErrorString(ncclResult_t result)
{
    static const char *const text[] = {"no error",
                                       "unhandled cuda error",
                                       "unhandled system error",
                                       "internal error",
                                       "invalid argument",
                                       "invalid usage",
                                       "remote process exited or there was a network error",
                                       "NCCL operation in progress"};
    return (unsigned)result < sizeof text / sizeof text[0] ? text[result] : "unknown result code";
}

const char *ncclGetLastError(ncclComm_t comm)
{
    (void)comm;
    return last_error;
}

// ---- communicators ----

ncclResult_t ncclGetUniqueId(ncclUniqueId *uniqueId)
{
    ncclResult_t r = enter("ncclGetUniqueId");
    if (r != ncclSuccess) {
        return r;
    }
    if (uniqueId == NULL) {
        return ncclInvalidArgument;
    }
    static _Atomic unsigned n;
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    memset(uniqueId, 0, sizeof *uniqueId);
    snprintf(uniqueId->internal, sizeof uniqueId->internal, NC_ID_MAGIC "/vgpu-nccl-%d-%llx-%u",
             (int)getpid(), (unsigned long long)t.tv_sec * 1000000000u + (unsigned long)t.tv_nsec,
             atomic_fetch_add(&n, 1));
    return ncclSuccess;
}

static ncclResult_t comm_join(const char *name, int n_ranks, int rank, struct ncclComm **out)
{
    CUcontext ctx = NULL;
    if (driver.cuCtxGetCurrent(&ctx) != CUDA_SUCCESS || ctx == NULL) {
        return refuse(ncclUnhandledCudaError, "ncclCommInitRank", "no current context");
    }
    struct ncclComm *c = calloc(1, sizeof *c);
    if (c == NULL) {
        return ncclSystemError;
    }
    c->magic = NC_MAGIC;
    c->rank = rank;
    c->n_ranks = n_ranks;
    c->ctx = ctx;
    c->device = driver.vgpu_current_device();
    c->refs = 1;
    snprintf(c->name, sizeof c->name, "%s", name);
    ncclResult_t r = nc_clique_open(name, n_ranks, rank, &c->clique);
    if (r != ncclSuccess) {
        free(c);
        return r;
    }
    *out = c;
    return ncclSuccess;
}

static ncclResult_t comm_wait(struct ncclComm *c)
{
    ncclResult_t r = nc_clique_wait(c->clique, c->n_ranks);
    if (c->rank == 0 || r != ncclSuccess) {
        nc_clique_unlink(c->name); // all have mapped it
    }
    return r;
}

static void comm_drop(struct ncclComm *c, enum nc_state why)
{
    nc_clique_close(c->clique, c->rank, why);
    c->clique = NULL;
    c->magic = 0;
    for (struct nc_task *t = c->tasks, *next; t != NULL; t = next) {
        next = nc_task_next(t);
        nc_task_free(t);
    }
    free(c);
}

static ncclResult_t init_rank(const char *call, ncclComm_t *comm, int n_ranks,
                              const ncclUniqueId *id, int rank)
{
    ncclResult_t r = enter(call);
    if (r != ncclSuccess) {
        return r;
    }
    size_t magic = strlen(NC_ID_MAGIC);
    if (comm == NULL || n_ranks < 1 || n_ranks > NC_MAX_RANKS || rank < 0 || rank >= n_ranks) {
        return refuse(ncclInvalidArgument, call, "rank or number of ranks");
    }
    if (memcmp(id->internal, NC_ID_MAGIC, magic) != 0) {
        return refuse(ncclInvalidArgument, call, "the unique id is not of ncclGetUniqueId");
    }
    struct ncclComm *c = NULL;
    r = comm_join(id->internal + magic, n_ranks, rank, &c);
    if (r != ncclSuccess) {
        return r;
    }
    if (group.depth > 0 && group.n_pending < sizeof group.pending / sizeof group.pending[0]) {
        group.pending[group.n_pending++] = (struct pending){.out = comm, .comm = c};
        return ncclSuccess;
    }
    r = comm_wait(c);
    if (r != ncclSuccess) {
        comm_drop(c, NC_GONE);
        return r;
    }
    *comm = c;
    return ncclSuccess;
}

ncclResult_t ncclCommInitRank(ncclComm_t *comm, int nranks, ncclUniqueId commId, int rank)
{
    return init_rank("ncclCommInitRank", comm, nranks, &commId, rank);
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t *comm, int nranks, ncclUniqueId commId, int rank,
                                    ncclConfig_t *config)
{
    if (config != NULL && config->magic != 0xcafebeef) {
        return refuse(ncclInvalidArgument, "ncclCommInitRankConfig",
                      "the config was not made with NCCL_CONFIG_INITIALIZER");
    }
    return init_rank("ncclCommInitRankConfig", comm, nranks, &commId, rank);
}

static CUresult make_current(int device, CUcontext *ctx)
{
    // The retain is given back when the process ends, as NCCL's is.
    CUresult r = driver.cuDevicePrimaryCtxRetain(ctx, device);
    return r == CUDA_SUCCESS ? driver.cuCtxPushCurrent_v2(*ctx) : r;
}

ncclResult_t ncclCommInitAll(ncclComm_t *comm, int ndev, const int *devlist)
{
    if (comm == NULL || ndev < 1 || ndev > NC_MAX_RANKS) {
        return ncclInvalidArgument;
    }
    ncclUniqueId id;
    ncclResult_t r = ncclGetUniqueId(&id);
    if (r != ncclSuccess) {
        return r;
    }
    ncclGroupStart();
    for (int i = 0; i < ndev && r == ncclSuccess; i++) {
        CUcontext ctx = NULL;
        if (make_current(devlist != NULL ? devlist[i] : i, &ctx) != CUDA_SUCCESS) {
            r = refuse(ncclInvalidArgument, "ncclCommInitAll", "no such device");
            break;
        }
        r = init_rank("ncclCommInitRank", &comm[i], ndev, &id, i);
        driver.cuCtxPopCurrent_v2(NULL);
    }
    if (r != ncclSuccess) {
        group.error = r;
    }
    return ncclGroupEnd();
}

static ncclResult_t split_publish(struct pending *p)
{
    struct nc_slot *s = &p->parent->clique->slot[p->parent->rank];
    s->color = p->color;
    s->key = p->key;
    atomic_store(&s->split_round, ++p->parent->splits);
    return ncclSuccess;
}

// Ranks of one colour, ordered by key and then by old rank.
static ncclResult_t split_finish(struct pending *p)
{
    struct ncclComm *c = p->parent;
    struct nc_clique *q = c->clique;
    struct timespec nap = {.tv_nsec = 1000000};
    for (int r = 0; r < c->n_ranks; r++) {
        for (int ms = 0; atomic_load(&q->slot[r].split_round) < c->splits; ms++) {
            if (ms > 30000 || (ms % 50 == 49 && nc_clique_dead(q, c->n_ranks, c->rank) >= 0)) {
                return ncclRemoteError;
            }
            nanosleep(&nap, NULL);
        }
    }
    if (p->color == NCCL_SPLIT_NOCOLOR) {
        *p->out = NULL;
        return ncclSuccess;
    }
    int rank = 0, n = 0;
    for (int r = 0; r < c->n_ranks; r++) {
        const struct nc_slot *s = &q->slot[r];
        if (s->color != p->color) {
            continue;
        }
        n++;
        rank += s->key < p->key || (s->key == p->key && r < c->rank);
    }
    char name[64];
    snprintf(name, sizeof name, "%.40s-%llu-%d", c->name, (unsigned long long)c->splits, p->color);
    driver.cuCtxPushCurrent_v2(c->ctx);
    ncclResult_t r = comm_join(name, n, rank, &p->comm);
    driver.cuCtxPopCurrent_v2(NULL);
    return r;
}

ncclResult_t ncclCommSplit(ncclComm_t comm, int color, int key, ncclComm_t *newcomm,
                           ncclConfig_t *config)
{
    (void)config;
    ncclResult_t r = enter("ncclCommSplit");
    if (r != ncclSuccess) {
        return r;
    }
    if (!comm_ok(comm) || newcomm == NULL || (color < 0 && color != NCCL_SPLIT_NOCOLOR)) {
        return refuse(ncclInvalidArgument, "ncclCommSplit", "communicator or colour");
    }
    struct pending p = {.out = newcomm, .parent = comm, .color = color, .key = key};
    if (group.depth > 0) {
        group.pending[group.n_pending++] = p;
        return ncclSuccess;
    }
    r = split_publish(&p);
    r = r == ncclSuccess ? split_finish(&p) : r;
    if (r == ncclSuccess && p.comm != NULL) {
        r = comm_wait(p.comm);
        *newcomm = p.comm;
    }
    return r;
}

ncclResult_t ncclCommFinalize(ncclComm_t comm)
{
    ncclResult_t r = enter("ncclCommFinalize");
    if (r == ncclSuccess && !comm_ok(comm)) {
        r = ncclInvalidArgument;
    }
    if (r == ncclSuccess) {
        atomic_store(&comm->finalized, true);
    }
    return r;
}

ncclResult_t ncclCommDestroy(ncclComm_t comm)
{
    ncclResult_t r = enter("ncclCommDestroy");
    if (r != ncclSuccess || comm == NULL) {
        return r;
    }
    if (!comm_ok(comm)) {
        return refuse(ncclInvalidArgument, "ncclCommDestroy", "no communicator");
    }
    pthread_mutex_lock(&nc_lock);
    unsigned refs = comm->refs;
    pthread_mutex_unlock(&nc_lock);
    if (refs > 1) {
        char text[160];
        snprintf(text, sizeof text,
                 "ncclCommDestroy of rank %d while %u of its calls are still queued", comm->rank,
                 refs - 1);
        driver.vgpu_report("stream-order", text);
        return refuse(ncclInvalidUsage, "ncclCommDestroy", "calls are still queued");
    }
    comm_drop(comm, NC_GONE);
    return ncclSuccess;
}

// The queued calls end without doing anything; the memory stays, for they still refer to it.
ncclResult_t ncclCommAbort(ncclComm_t comm)
{
    ncclResult_t r = enter("ncclCommAbort");
    if (r != ncclSuccess || comm == NULL) {
        return r;
    }
    if (!comm_ok(comm)) {
        return refuse(ncclInvalidArgument, "ncclCommAbort", "no communicator");
    }
    atomic_store(&comm->aborted, true);
    atomic_store(&comm->clique->slot[comm->rank].state, NC_ABORTED);
    return ncclSuccess;
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t *asyncError)
{
    if (!comm_ok(comm) || asyncError == NULL) {
        return ncclInvalidArgument;
    }
    *asyncError = (ncclResult_t)atomic_load(&comm->error);
    return ncclSuccess;
}

ncclResult_t ncclCommCount(const ncclComm_t comm, int *count)
{
    if (!comm_ok(comm) || count == NULL) {
        return ncclInvalidArgument;
    }
    *count = comm->n_ranks;
    return ncclSuccess;
}

ncclResult_t ncclCommCuDevice(const ncclComm_t comm, int *device)
{
    if (!comm_ok(comm) || device == NULL) {
        return ncclInvalidArgument;
    }
    *device = comm->device;
    return ncclSuccess;
}

ncclResult_t ncclCommUserRank(const ncclComm_t comm, int *rank)
{
    if (!comm_ok(comm) || rank == NULL) {
        return ncclInvalidArgument;
    }
    *rank = comm->rank;
    return ncclSuccess;
}

// ---- memory ----

ncclResult_t ncclMemAlloc(void **ptr, size_t size)
{
    ncclResult_t r = enter("ncclMemAlloc");
    CUdeviceptr p = 0;
    if (r != ncclSuccess) {
        return r;
    }
    if (ptr == NULL || driver.cuMemAlloc_v2(&p, size) != CUDA_SUCCESS) {
        return ncclUnhandledCudaError;
    }
    *ptr = (void *)(uintptr_t)p;
    return ncclSuccess;
}

ncclResult_t ncclMemFree(void *ptr)
{
    ncclResult_t r = enter("ncclMemFree");
    if (r != ncclSuccess) {
        return r;
    }
    return driver.cuMemFree_v2((CUdeviceptr)(uintptr_t)ptr) == CUDA_SUCCESS
               ? ncclSuccess
               : ncclUnhandledCudaError;
}

ncclResult_t ncclCommRegister(const ncclComm_t comm, void *buff, size_t size, void **handle)
{
    ncclResult_t r = enter("ncclCommRegister");
    if (r != ncclSuccess) {
        return r;
    }
    if (!comm_ok(comm) || handle == NULL ||
        !driver.vgpu_owns((uint64_t)(uintptr_t)buff, size, NULL)) {
        return ncclInvalidArgument;
    }
    *handle = buff;
    return ncclSuccess;
}

ncclResult_t ncclCommDeregister(const ncclComm_t comm, void *handle)
{
    return comm_ok(comm) && handle != NULL ? ncclSuccess : ncclInvalidArgument;
}

// ---- groups ----

ncclResult_t ncclGroupStart(void)
{
    group.depth++;
    return ncclSuccess;
}

static ncclResult_t end_pending(void)
{
    ncclResult_t r = group.error;
    for (unsigned i = 0; i < group.n_pending && r == ncclSuccess; i++) {
        r = group.pending[i].parent != NULL ? split_publish(&group.pending[i]) : ncclSuccess;
    }
    for (unsigned i = 0; i < group.n_pending && r == ncclSuccess; i++) {
        r = group.pending[i].parent != NULL ? split_finish(&group.pending[i]) : ncclSuccess;
    }
    for (unsigned i = 0; i < group.n_pending; i++) {
        struct pending *p = &group.pending[i];
        if (p->comm == NULL) {
            continue;
        }
        r = r == ncclSuccess ? comm_wait(p->comm) : r;
        if (r == ncclSuccess) {
            *p->out = p->comm;
        } else {
            comm_drop(p->comm, NC_GONE);
        }
    }
    group.n_pending = 0;
    return r;
}

// One function per stream holds all calls that the group has for it, so that sends and receives can
// pass each other.
static ncclResult_t end_queue(void)
{
    ncclResult_t r = ncclSuccess;
    struct nc_task *tasks[NC_MAX_GROUP];
    for (unsigned i = 0; i < group.n && r == ncclSuccess; i++) {
        if (group.queue[i].task == NULL) {
            continue;
        }
        unsigned n = 0;
        void *stream = group.queue[i].stream;
        void *ctx = nc_task_comm(group.queue[i].task)->ctx;
        for (unsigned k = i; k < group.n; k++) {
            struct queued *q = &group.queue[k];
            if (q->task != NULL && q->stream == stream && nc_task_comm(q->task)->ctx == ctx) {
                tasks[n++] = q->task;
                q->task = NULL;
            }
        }
        r = nc_tasks_enqueue(tasks, n, stream);
    }
    group.n = 0;
    return r;
}

ncclResult_t ncclGroupEnd(void)
{
    if (group.depth == 0) {
        return refuse(ncclInvalidUsage, "ncclGroupEnd", "no group was started");
    }
    if (--group.depth > 0) {
        return ncclSuccess;
    }
    ncclResult_t r = end_pending();
    if (r == ncclSuccess) {
        r = end_queue();
    }
    group.n = 0;
    group.error = ncclSuccess;
    return r;
}

// ---- calls ----

static bool device_memory(const struct ncclComm *c, const void *p, uint64_t bytes)
{
    int device = -1;
    return bytes == 0 ||
           (driver.vgpu_owns((uint64_t)(uintptr_t)p, bytes, &device) && device == c->device);
}

static bool overlap_ok(const struct ncclComm *c, const struct nc_call *k, const void *send,
                       uint64_t send_bytes, const void *recv, uint64_t recv_bytes)
{
    uint64_t s = (uint64_t)(uintptr_t)send, r = (uint64_t)(uintptr_t)recv;
    if (s >= r + recv_bytes || r >= s + send_bytes) {
        return true;
    }
    uint64_t block = k->count * nc_type_bytes(k->type), mine = (uint64_t)c->rank * block;
    switch (k->op) {
    case NC_ALL_GATHER:
    case NC_GATHER:
        return s == r + mine;
    case NC_REDUCE_SCATTER:
    case NC_SCATTER:
        return r == s + mine;
    case NC_ALL_TO_ALL:
        return false;
    default:
        return s == r;
    }
}

static ncclResult_t check(struct ncclComm *c, const struct nc_call *k, const void *send,
                          const void *recv)
{
    const char *name = nc_op_name(k->op);
    uint64_t n = (uint64_t)c->n_ranks, block = k->count * nc_type_bytes(k->type);
    bool root = (uint32_t)c->rank == k->root;
    uint64_t in = 0, out = 0;
    if (nc_type_bytes(k->type) == 0 || k->red >= ncclNumOps) {
        return refuse(ncclInvalidArgument, name, "data type or operation");
    }
    if (k->root >= n) {
        return refuse(ncclInvalidArgument, name, "root or peer");
    }
    if (k->count > (UINT64_C(1) << 40)) {
        return refuse(ncclInvalidArgument, name, "count");
    }
    switch (k->op) {
    case NC_ALL_REDUCE:
        in = out = block;
        break;
    case NC_REDUCE:
        in = block;
        out = root ? block : 0;
        break;
    case NC_BROADCAST:
        in = root ? block : 0;
        out = block;
        break;
    case NC_REDUCE_SCATTER:
        in = n * block;
        out = block;
        break;
    case NC_ALL_GATHER:
        in = block;
        out = n * block;
        break;
    case NC_ALL_TO_ALL:
        in = out = n * block;
        break;
    case NC_GATHER:
        in = block;
        out = root ? n * block : 0;
        break;
    case NC_SCATTER:
        in = root ? n * block : 0;
        out = block;
        break;
    case NC_SEND:
        in = block;
        break;
    default:
        out = block;
        break;
    }
    if (!device_memory(c, send, in) || !device_memory(c, recv, out)) {
        return refuse(ncclInvalidArgument, name,
                      "a buffer is not device memory of this communicator's device, or too small");
    }
    if (in > 0 && out > 0 && !overlap_ok(c, k, send, in, recv, out)) {
        char text[160];
        snprintf(text, sizeof text, "%s of rank %d: the buffers overlap, but not in place", name,
                 c->rank);
        driver.vgpu_report("api", text);
        return refuse(ncclInvalidUsage, name, "the buffers overlap, but not in place");
    }
    return ncclSuccess;
}

static ncclResult_t call(enum nc_op op, const void *send, void *recv, size_t count,
                         ncclDataType_t type, ncclRedOp_t red, int root, ncclComm_t c,
                         cudaStream_t stream)
{
    ncclResult_t r = enter(nc_op_name(op));
    if (r != ncclSuccess) {
        return r;
    }
    if (!comm_ok(c)) {
        return refuse(ncclInvalidArgument, nc_op_name(op), "no communicator");
    }
    if (atomic_load(&c->aborted) || atomic_load(&c->finalized)) {
        return refuse(ncclInvalidUsage, nc_op_name(op),
                      "the communicator was finalized or aborted");
    }
    struct nc_call k = {.op = op,
                        .type = (uint32_t)type,
                        .red = (uint32_t)red,
                        .root = (uint32_t)root,
                        .count = count};
    r = check(c, &k, send, recv);
    if (r != ncclSuccess) {
        group.error = group.depth > 0 ? r : group.error;
        return r;
    }
    if (count == 0) {
        return ncclSuccess;
    }
    driver.cuCtxPushCurrent_v2(c->ctx);
    CUstreamCaptureStatus status = CU_STREAM_CAPTURE_STATUS_NONE;
    CUresult cr = driver.cuStreamIsCapturing((CUstream)stream, &status);
    driver.cuCtxPopCurrent_v2(NULL);
    if (cr != CUDA_SUCCESS) {
        return refuse(ncclUnhandledCudaError, nc_op_name(op), "the stream");
    }
    struct nc_task *t = nc_task_new(c, &k, send, recv, status != CU_STREAM_CAPTURE_STATUS_NONE);
    if (t == NULL) {
        return ncclSystemError;
    }
    if (group.depth == 0) {
        return nc_tasks_enqueue(&t, 1, stream);
    }
    if (group.n == NC_MAX_GROUP) {
        return refuse(ncclInternalError, nc_op_name(op), "too many calls in one group");
    }
    group.queue[group.n++] = (struct queued){t, stream};
    return ncclSuccess;
}

ncclResult_t ncclAllReduce(const void *sendbuff, void *recvbuff, size_t count,
                           ncclDataType_t datatype, ncclRedOp_t op, ncclComm_t comm,
                           cudaStream_t stream)
{
    return call(NC_ALL_REDUCE, sendbuff, recvbuff, count, datatype, op, 0, comm, stream);
}

ncclResult_t ncclReduce(const void *sendbuff, void *recvbuff, size_t count, ncclDataType_t datatype,
                        ncclRedOp_t op, int root, ncclComm_t comm, cudaStream_t stream)
{
    return call(NC_REDUCE, sendbuff, recvbuff, count, datatype, op, root, comm, stream);
}

ncclResult_t ncclBroadcast(const void *sendbuff, void *recvbuff, size_t count,
                           ncclDataType_t datatype, int root, ncclComm_t comm, cudaStream_t stream)
{
    return call(NC_BROADCAST, sendbuff, recvbuff, count, datatype, ncclSum, root, comm, stream);
}

ncclResult_t ncclBcast(void *buff, size_t count, ncclDataType_t datatype, int root, ncclComm_t comm,
                       cudaStream_t stream)
{
    return call(NC_BROADCAST, buff, buff, count, datatype, ncclSum, root, comm, stream);
}

ncclResult_t ncclReduceScatter(const void *sendbuff, void *recvbuff, size_t recvcount,
                               ncclDataType_t datatype, ncclRedOp_t op, ncclComm_t comm,
                               cudaStream_t stream)
{
    return call(NC_REDUCE_SCATTER, sendbuff, recvbuff, recvcount, datatype, op, 0, comm, stream);
}

ncclResult_t ncclAllGather(const void *sendbuff, void *recvbuff, size_t sendcount,
                           ncclDataType_t datatype, ncclComm_t comm, cudaStream_t stream)
{
    return call(NC_ALL_GATHER, sendbuff, recvbuff, sendcount, datatype, ncclSum, 0, comm, stream);
}

ncclResult_t ncclAlltoAll(const void *sendbuff, void *recvbuff, size_t count,
                          ncclDataType_t datatype, ncclComm_t comm, cudaStream_t stream)
{
    return call(NC_ALL_TO_ALL, sendbuff, recvbuff, count, datatype, ncclSum, 0, comm, stream);
}

ncclResult_t ncclGather(const void *sendbuff, void *recvbuff, size_t count, ncclDataType_t datatype,
                        int root, ncclComm_t comm, cudaStream_t stream)
{
    return call(NC_GATHER, sendbuff, recvbuff, count, datatype, ncclSum, root, comm, stream);
}

ncclResult_t ncclScatter(const void *sendbuff, void *recvbuff, size_t count,
                         ncclDataType_t datatype, int root, ncclComm_t comm, cudaStream_t stream)
{
    return call(NC_SCATTER, sendbuff, recvbuff, count, datatype, ncclSum, root, comm, stream);
}

ncclResult_t ncclSend(const void *sendbuff, size_t count, ncclDataType_t datatype, int peer,
                      ncclComm_t comm, cudaStream_t stream)
{
    return call(NC_SEND, sendbuff, NULL, count, datatype, ncclSum, peer, comm, stream);
}

ncclResult_t ncclRecv(void *recvbuff, size_t count, ncclDataType_t datatype, int peer,
                      ncclComm_t comm, cudaStream_t stream)
{
    return call(NC_RECV, NULL, recvbuff, count, datatype, ncclSum, peer, comm, stream);
}
