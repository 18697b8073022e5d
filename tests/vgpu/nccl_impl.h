// SPDX-License-Identifier: Apache-2.0
//
// nccl_impl.h - the stand-in libnccl.so.2: collectives as functions in streams, over shared memory,
// the same way for ranks of one process and of several.
//
// A clique is one communicator's shared memory: per rank a slot with what it calls now and a piece
// of its data, per pair of ranks a mailbox. A collective goes in rounds: everybody writes its
// piece, everybody reads all pieces, and only when all have read is the next piece written. The
// functions never block: the driver calls them again until they are done, so that one thread can
// run all ranks.
#ifndef VG_NCCL_IMPL_H
#define VG_NCCL_IMPL_H

#pragma GCC visibility push(default)
#include <nccl.h>
#pragma GCC visibility pop

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "nccl_driver.h"

enum {
    NC_MAX_RANKS = 16,
    NC_SLOT_BYTES = 1 << 20,
    NC_MAIL_BYTES = 1 << 16,
};

enum nc_op {
    NC_ALL_REDUCE,
    NC_REDUCE,
    NC_BROADCAST,
    NC_REDUCE_SCATTER,
    NC_ALL_GATHER,
    NC_ALL_TO_ALL,
    NC_GATHER,
    NC_SCATTER,
    NC_SEND,
    NC_RECV,
};

// What a rank calls: ranks compare these.
struct nc_call {
    uint32_t op, type, red, root; // root: also the peer of send and receive
    uint64_t count;               // elements of one rank's block
};

enum nc_state { NC_ABSENT, NC_JOINED, NC_GONE, NC_ABORTED };

struct nc_slot {
    _Atomic uint32_t state;
    _Atomic int32_t pid;
    _Atomic uint64_t written, consumed; // rounds so far
    struct nc_call call;                // of the round `written`
    uint64_t number;                    // of the collective
    // ncclCommSplit
    _Atomic uint64_t split_round;
    int32_t color, key;
    uint8_t data[NC_SLOT_BYTES];
};

struct nc_mail {
    _Atomic uint64_t sent, received; // pieces
    uint64_t bytes, total;           // of the piece, of the message
    uint32_t type;
    uint8_t data[NC_MAIL_BYTES];
};

struct nc_clique {
    _Atomic uint32_t n_ranks;
    _Atomic uint32_t n_joined;
    struct nc_slot slot[NC_MAX_RANKS];
    struct nc_mail mail[NC_MAX_RANKS][NC_MAX_RANKS]; // [from][to]
};

struct nc_task; // one call of one communicator

struct ncclComm {
    uint64_t magic;
    char name[64]; // of the shared memory
    struct nc_clique *clique;
    int rank, n_ranks, device;
    void *ctx;         // CUcontext
    _Atomic int error; // ncclResult_t, asynchronous
    _Atomic bool aborted, finalized;
    unsigned refs;           // handle and queued tasks; guarded by nc_lock
    uint64_t tickets, turn;  // collectives run in the order of the calls
    uint64_t rounds, number; // of this rank in the clique
    uint64_t mail_sent[NC_MAX_RANKS], mail_received[NC_MAX_RANKS];
    uint64_t splits;
    struct nc_task *tasks; // all ever made: graphs may run them again
};

// nccl.h declares them without their parameters.
ncclResult_t ncclGroupStart(void);
ncclResult_t ncclGroupEnd(void);

// ---- shared memory (nccl_shm.c) ----

ncclResult_t nc_clique_open(const char *name, int n_ranks, int rank, struct nc_clique **out);
void nc_clique_close(struct nc_clique *c, int rank, enum nc_state why);
void nc_clique_unlink(const char *name);
ncclResult_t nc_clique_wait(struct nc_clique *c, int n_ranks); // until all have joined
// The first rank that died, left or aborted; -1: none.
int nc_clique_dead(struct nc_clique *c, int n_ranks, int self);

// ---- tasks (nccl_task.c) ----

struct nc_task *nc_task_new(struct ncclComm *c, const struct nc_call *call, const void *send,
                            void *recv, bool captured);
void nc_task_free(struct nc_task *t);
struct nc_task *nc_task_next(const struct nc_task *t);
struct ncclComm *nc_task_comm(const struct nc_task *t);
ncclResult_t nc_tasks_enqueue(struct nc_task **tasks, unsigned n, void *stream);
const char *nc_op_name(uint32_t op);

// ---- arithmetic (nccl_reduce.c) ----

unsigned nc_type_bytes(uint32_t type); // 0: no such type
const char *nc_type_name(uint32_t type);
// acc[i] = acc[i] op x[i], rounded to the type after each step, as a ring does.
void nc_reduce(uint32_t type, uint32_t red, void *acc, const void *x, uint64_t count);
void nc_average(uint32_t type, void *acc, uint64_t count, unsigned n); // acc[i] /= n

extern pthread_mutex_t nc_lock;
const struct vg_lib_driver *nc_driver(void); // NULL: no virtual GPU

#endif
