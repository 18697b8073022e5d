// SPDX-License-Identifier: Apache-2.0
//
// nccl_task.c - one collective, send or receive of one rank, as a machine that is stepped until it
// is done. Calls of one group in one stream are stepped together.
#include <stdlib.h>
#include <time.h>

#include "nccl_impl.h"

enum phase { START, WRITE, READ, FINISHED };

struct nc_task {
    struct ncclComm *comm;
    struct nc_call call;
    const void *send;
    void *recv;
    bool captured; // its turn is given when it runs, else at the call
    uint64_t ticket;
    // of the run under way
    enum phase phase;
    uint64_t at;          // elements of the block done (collectives), bytes (send, receive)
    uint64_t piece;       // of this round
    uint8_t *bounce;      // piece to read or write device memory through
    int64_t asked_ns;     // when the peers' health was last looked at
    struct nc_task *next; // all of the communicator
};

struct group {
    struct nc_task **tasks;
    unsigned n;
    char what[96];
    struct group *next; // all ever made: the words of `what` outlive the work
};

static struct group *groups;

const char *nc_op_name(uint32_t op)
{
    static const char *const names[] = {
        "ncclAllReduce", "ncclReduce", "ncclBroadcast", "ncclReduceScatter", "ncclAllGather",
        "ncclAlltoAll",  "ncclGather", "ncclScatter",   "ncclSend",          "ncclRecv"};
    return op < sizeof names / sizeof names[0] ? names[op] : "?";
}

static const char *red_name(uint32_t red)
{
    static const char *const names[] = {"sum", "prod", "max", "min", "avg"};
    return red < 5 ? names[red] : "?";
}

static void describe(const struct nc_call *c, char *text, size_t n)
{
    snprintf(text, n, "%s(count %llu, %s, %s, root %u)", nc_op_name(c->op),
             (unsigned long long)c->count, nc_type_name(c->type), red_name(c->red), c->root);
}

struct nc_task *nc_task_new(struct ncclComm *c, const struct nc_call *call, const void *send,
                            void *recv, bool captured)
{
    struct nc_task *t = calloc(1, sizeof *t);
    uint8_t *bounce = malloc(NC_SLOT_BYTES);
    if (t == NULL || bounce == NULL) {
        free(t);
        free(bounce);
        return NULL;
    }
    *t = (struct nc_task){.comm = c,
                          .call = *call,
                          .send = send,
                          .recv = recv,
                          .captured = captured,
                          .bounce = bounce};
    pthread_mutex_lock(&nc_lock);
    bool p2p = call->op == NC_SEND || call->op == NC_RECV;
    if (!captured && !p2p) {
        t->ticket = c->tickets++;
    }
    t->next = c->tasks;
    c->tasks = t;
    pthread_mutex_unlock(&nc_lock);
    return t;
}

void nc_task_free(struct nc_task *t)
{
    free(t->bounce);
    free(t);
}

struct nc_task *nc_task_next(const struct nc_task *t)
{
    return t->next;
}

struct ncclComm *nc_task_comm(const struct nc_task *t)
{
    return t->comm;
}

// ---- one step ----

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void fail(struct ncclComm *c, ncclResult_t why)
{
    int none = ncclSuccess;
    atomic_compare_exchange_strong(&c->error, &none, (int)why);
}

// Called while waiting: a dead peer becomes the communicator's asynchronous error. The task goes on
// waiting, as the real kernel would, until the program aborts the communicator.
static void look_at_peers(struct nc_task *t)
{
    int64_t now = now_ns();
    if (now - t->asked_ns > 5000000) {
        t->asked_ns = now;
        if (nc_clique_dead(t->comm->clique, t->comm->n_ranks, t->comm->rank) >= 0) {
            fail(t->comm, ncclRemoteError);
        }
    }
}

// Blocks of the send buffer, and whether this rank sends and receives at all.
static unsigned send_blocks(const struct nc_task *t)
{
    uint32_t op = t->call.op;
    bool root = (uint32_t)t->comm->rank == t->call.root;
    if ((op == NC_BROADCAST || op == NC_SCATTER) && !root) {
        return 0;
    }
    return op == NC_REDUCE_SCATTER || op == NC_ALL_TO_ALL || op == NC_SCATTER
               ? (unsigned)t->comm->n_ranks
               : 1;
}

static unsigned recv_blocks(const struct nc_task *t)
{
    uint32_t op = t->call.op;
    bool root = (uint32_t)t->comm->rank == t->call.root;
    if ((op == NC_REDUCE || op == NC_GATHER) && !root) {
        return 0;
    }
    return op == NC_ALL_GATHER || op == NC_ALL_TO_ALL || op == NC_GATHER
               ? (unsigned)t->comm->n_ranks
               : 1;
}

static void use_after_free(const struct nc_task *t, const void *p)
{
    char text[200];
    snprintf(text, sizeof text, "%s of rank %d uses 0x%llx, which is not allocated any more",
             nc_op_name(t->call.op), t->comm->rank, (unsigned long long)(uintptr_t)p);
    nc_driver()->vgpu_report("stream-order", text);
    fail(t->comm, ncclUnhandledCudaError);
}

// This rank's piece of every block it sends, block after block.
static bool write_piece(struct nc_task *t, uint64_t esz)
{
    struct nc_slot *s = &t->comm->clique->slot[t->comm->rank];
    bool any = false;
    for (unsigned b = 0; b < send_blocks(t); b++) {
        uint64_t from = (uint64_t)(uintptr_t)t->send + (b * t->call.count + t->at) * esz;
        bool uninit = false;
        if (!nc_driver()->vgpu_read(s->data + b * t->piece * esz, from, t->piece * esz, &uninit)) {
            use_after_free(t, t->send);
            return false;
        }
        any |= uninit;
    }
    if (any) {
        char text[160];
        snprintf(text, sizeof text, "%s of rank %d sends bytes that nothing wrote",
                 nc_op_name(t->call.op), t->comm->rank);
        nc_driver()->vgpu_report("uninitialised", text);
    }
    return true;
}

// One block of what this rank receives.
static void compute(const struct nc_task *t, unsigned block, uint64_t esz, uint8_t *out)
{
    const struct nc_clique *q = t->comm->clique;
    uint64_t bytes = t->piece * esz;
    unsigned n = (unsigned)t->comm->n_ranks, me = (unsigned)t->comm->rank;
    switch (t->call.op) {
    case NC_BROADCAST:
        memcpy(out, q->slot[t->call.root].data, bytes);
        return;
    case NC_SCATTER:
        memcpy(out, q->slot[t->call.root].data + me * bytes, bytes);
        return;
    case NC_ALL_GATHER:
    case NC_GATHER:
        memcpy(out, q->slot[block].data, bytes);
        return;
    case NC_ALL_TO_ALL:
        memcpy(out, q->slot[block].data + me * bytes, bytes);
        return;
    default:
        break;
    }
    // Reductions. Where the ring begins depends on the seed, so that nobody relies on the order;
    // all ranks begin at the same place, and give the same bits.
    uint64_t part = t->call.op == NC_REDUCE_SCATTER ? me * bytes : 0;
    unsigned first = (unsigned)((nc_driver()->vgpu_seed() + t->comm->number) % n);
    memcpy(out, q->slot[first].data + part, bytes);
    for (unsigned i = 1; i < n; i++) {
        nc_reduce(t->call.type, t->call.red, out, q->slot[(first + i) % n].data + part, t->piece);
    }
    if (t->call.red == ncclAvg) {
        nc_average(t->call.type, out, t->piece, n);
    }
}

static bool same_call(struct nc_task *t)
{
    struct ncclComm *c = t->comm;
    for (int r = 0; r < c->n_ranks; r++) {
        const struct nc_slot *s = &c->clique->slot[r];
        if (memcmp(&s->call, &t->call, sizeof t->call) != 0) {
            char mine[120], theirs[120], text[400];
            describe(&t->call, mine, sizeof mine);
            describe(&s->call, theirs, sizeof theirs);
            snprintf(text, sizeof text,
                     "collective %llu of the communicator: rank %d calls %s, rank %d calls %s",
                     (unsigned long long)c->number, c->rank, mine, r, theirs);
            nc_driver()->vgpu_report("api", text);
            fail(c, ncclInvalidUsage);
            return false;
        }
    }
    return true;
}

static bool all_at(struct nc_clique *q, int n, uint64_t round, bool consumed)
{
    for (int r = 0; r < n; r++) {
        uint64_t at =
            consumed ? atomic_load(&q->slot[r].consumed) : atomic_load(&q->slot[r].written);
        if (at < round) {
            return false;
        }
    }
    return true;
}

static void finish(struct nc_task *t)
{
    t->phase = FINISHED;
    t->comm->turn++;
    t->comm->number++;
}

// true: something moved.
static bool step_collective(struct nc_task *t)
{
    struct ncclComm *c = t->comm;
    struct nc_slot *mine = &c->clique->slot[c->rank];
    uint64_t esz = nc_type_bytes(t->call.type);
    if (t->phase == START) {
        if (t->captured && t->ticket == UINT64_MAX) {
            t->ticket = c->tickets++;
        }
        if (t->ticket != c->turn) {
            return false; // an earlier call of this communicator is not done
        }
        t->at = 0;
        t->phase = WRITE;
    }
    unsigned blocks =
        t->call.op == NC_REDUCE_SCATTER || t->call.op == NC_ALL_TO_ALL || t->call.op == NC_SCATTER
            ? (unsigned)c->n_ranks
            : 1;
    if (t->phase == WRITE) {
        if (!all_at(c->clique, c->n_ranks, c->rounds, true)) {
            return false;
        }
        uint64_t most = NC_SLOT_BYTES / (esz * blocks), left = t->call.count - t->at;
        t->piece = left < most ? left : most;
        if (!write_piece(t, esz)) {
            finish(t);
            return true;
        }
        bool whole = t->piece == t->call.count;
        for (unsigned b = 0; whole && b < recv_blocks(t); b++) {
            nc_driver()->vgpu_poison((uint64_t)(uintptr_t)t->recv + b * t->call.count * esz,
                                     t->call.count * esz);
        }
        mine->call = t->call;
        mine->number = c->number;
        atomic_store(&mine->written, ++c->rounds);
        t->phase = READ;
    }
    if (!all_at(c->clique, c->n_ranks, c->rounds, false)) {
        return false;
    }
    if (!same_call(t)) {
        atomic_store(&mine->consumed, c->rounds);
        finish(t);
        return true;
    }
    for (unsigned b = 0; b < recv_blocks(t); b++) {
        compute(t, b, esz, t->bounce);
        uint64_t to = (uint64_t)(uintptr_t)t->recv + (b * t->call.count + t->at) * esz;
        if (!nc_driver()->vgpu_write(to, t->bounce, t->piece * esz)) {
            use_after_free(t, t->recv);
            break;
        }
    }
    t->at += t->piece;
    atomic_store(&mine->consumed, c->rounds);
    if (t->at >= t->call.count) {
        finish(t);
    } else {
        t->phase = WRITE;
    }
    return true;
}

static bool step_send(struct nc_task *t)
{
    struct ncclComm *c = t->comm;
    uint32_t to = t->call.root;
    struct nc_mail *m = &c->clique->mail[c->rank][to];
    uint64_t total = t->call.count * nc_type_bytes(t->call.type);
    if (t->phase == START) {
        t->at = 0;
        t->phase = WRITE;
    }
    if (atomic_load(&m->received) != c->mail_sent[to]) {
        return false; // the box is full
    }
    if (t->at == total && t->phase == READ) {
        t->phase = FINISHED; // the last piece was taken
        return true;
    }
    uint64_t n = total - t->at < NC_MAIL_BYTES ? total - t->at : NC_MAIL_BYTES;
    bool uninit = false;
    if (n > 0 &&
        !nc_driver()->vgpu_read(m->data, (uint64_t)(uintptr_t)t->send + t->at, n, &uninit)) {
        use_after_free(t, t->send);
        t->phase = FINISHED;
        return true;
    }
    m->bytes = n;
    m->total = total;
    m->type = t->call.type;
    t->at += n;
    t->phase = t->at == total ? READ : WRITE;
    atomic_store(&m->sent, ++c->mail_sent[to]);
    return true;
}

static bool step_recv(struct nc_task *t)
{
    struct ncclComm *c = t->comm;
    uint32_t from = t->call.root;
    struct nc_mail *m = &c->clique->mail[from][c->rank];
    uint64_t total = t->call.count * nc_type_bytes(t->call.type);
    if (t->phase == START) {
        t->at = 0;
        t->phase = READ;
        nc_driver()->vgpu_poison((uint64_t)(uintptr_t)t->recv, total);
    }
    if (atomic_load(&m->sent) == c->mail_received[from]) {
        return false;
    }
    if (m->total != total || m->type != t->call.type) {
        char text[300];
        snprintf(text, sizeof text,
                 "rank %u sends %llu bytes of %s to rank %d, which receives %llu bytes of %s", from,
                 (unsigned long long)m->total, nc_type_name(m->type), c->rank,
                 (unsigned long long)total, nc_type_name(t->call.type));
        nc_driver()->vgpu_report("api", text);
        fail(c, ncclInvalidUsage);
        t->phase = FINISHED;
    } else if (!nc_driver()->vgpu_write((uint64_t)(uintptr_t)t->recv + t->at, m->data, m->bytes) &&
               m->bytes > 0) {
        use_after_free(t, t->recv);
        t->phase = FINISHED;
    } else {
        t->at += m->bytes;
        t->phase = t->at == total ? FINISHED : READ;
    }
    atomic_store(&m->received, ++c->mail_received[from]);
    return true;
}

static bool step(struct nc_task *t)
{
    return t->call.op == NC_SEND   ? step_send(t)
           : t->call.op == NC_RECV ? step_recv(t)
                                   : step_collective(t);
}

// ---- what the driver calls ----

static void release(struct ncclComm *c)
{
    pthread_mutex_lock(&nc_lock);
    c->refs--;
    pthread_mutex_unlock(&nc_lock);
}

static int run_group(void *arg, bool cancel)
{
    struct group *g = arg;
    unsigned n_done = 0;
    bool moved = true;
    while (moved && n_done < g->n) {
        moved = false;
        n_done = 0;
        for (unsigned i = 0; i < g->n; i++) {
            struct nc_task *t = g->tasks[i];
            if (cancel || atomic_load(&t->comm->aborted)) {
                t->phase = FINISHED;
            } else if (t->phase != FINISHED) {
                moved |= step(t);
                if (t->phase != FINISHED) {
                    look_at_peers(t);
                }
            }
            n_done += t->phase == FINISHED;
        }
    }
    if (n_done < g->n) {
        return 1;
    }
    // Ready to run again, should a graph do so. An instance that is launched again keeps the task.
    bool again = false;
    for (unsigned i = 0; i < g->n; i++) {
        struct nc_task *t = g->tasks[i];
        t->phase = START;
        again |= t->captured;
        t->ticket = t->captured ? UINT64_MAX : t->ticket;
        if (!t->captured) {
            release(t->comm);
        }
    }
    if (!again) {
        free(g->tasks);
        g->tasks = NULL; // g itself holds the words that messages use, and stays
        g->n = 0;
    }
    return 0;
}

ncclResult_t nc_tasks_enqueue(struct nc_task **tasks, unsigned n, void *stream)
{
    struct group *g = calloc(1, sizeof *g);
    struct nc_task **copy = calloc(n, sizeof(struct nc_task *));
    if (g == NULL || copy == NULL) {
        free(g);
        free(copy);
        return ncclSystemError;
    }
    memcpy(copy, tasks, n * sizeof(struct nc_task *));
    g->tasks = copy;
    g->n = n;
    snprintf(g->what, sizeof g->what, "%s of rank %d of %d%s", nc_op_name(tasks[0]->call.op),
             tasks[0]->comm->rank, tasks[0]->comm->n_ranks, n > 1 ? " and its group" : "");
    pthread_mutex_lock(&nc_lock);
    g->next = groups;
    groups = g;
    for (unsigned i = 0; i < n; i++) {
        tasks[i]->ticket = tasks[i]->captured ? UINT64_MAX : tasks[i]->ticket;
        tasks[i]->comm->refs += !tasks[i]->captured;
    }
    pthread_mutex_unlock(&nc_lock);
    const struct vg_lib_driver *d = nc_driver();
    if (d->cuCtxPushCurrent_v2(tasks[0]->comm->ctx) != CUDA_SUCCESS) {
        return ncclUnhandledCudaError;
    }
    int r = d->vgpu_enqueue(stream, run_group, g, g->what);
    d->cuCtxPopCurrent_v2(NULL);
    return r == 0 ? ncclSuccess : ncclUnhandledCudaError;
}
