// SPDX-License-Identifier: Apache-2.0
//
// nccl_shm.c - the clique: POSIX shared memory that all ranks map, and who is still alive.
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "nccl_impl.h"

static long timeout_ms(void)
{
    const char *text = getenv("VGPU_NCCL_TIMEOUT_MS");
    return text != NULL && atol(text) > 0 ? atol(text) : 30000;
}

ncclResult_t nc_clique_open(const char *name, int n_ranks, int rank, struct nc_clique **out)
{
    int fd = shm_open(name, O_CREAT | O_RDWR, 0600);
    if (fd < 0 || ftruncate(fd, sizeof(struct nc_clique)) != 0) {
        fprintf(stderr, "vgpu: shared memory %s: %m\n", name);
        if (fd >= 0) {
            close(fd);
        }
        return ncclSystemError;
    }
    struct nc_clique *c = mmap(NULL, sizeof *c, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (c == MAP_FAILED) {
        return ncclSystemError;
    }
    char text[200];
    uint32_t expected = 0;
    if (!atomic_compare_exchange_strong(&c->n_ranks, &expected, (uint32_t)n_ranks) &&
        expected != (uint32_t)n_ranks) {
        snprintf(text, sizeof text,
                 "ncclCommInitRank: rank %d says %d ranks, another rank of the same id said %u",
                 rank, n_ranks, expected);
        nc_driver()->vgpu_report("api", text);
        munmap(c, sizeof *c);
        return ncclInvalidUsage;
    }
    uint32_t absent = NC_ABSENT;
    atomic_store(&c->slot[rank].pid, (int32_t)getpid());
    if (!atomic_compare_exchange_strong(&c->slot[rank].state, &absent, NC_JOINED)) {
        snprintf(text, sizeof text, "ncclCommInitRank: two callers say that they are rank %d",
                 rank);
        nc_driver()->vgpu_report("api", text);
        munmap(c, sizeof *c);
        return ncclInvalidUsage;
    }
    atomic_fetch_add(&c->n_joined, 1);
    *out = c;
    return ncclSuccess;
}

void nc_clique_close(struct nc_clique *c, int rank, enum nc_state why)
{
    atomic_store(&c->slot[rank].state, why);
    munmap(c, sizeof *c);
}

void nc_clique_unlink(const char *name)
{
    shm_unlink(name);
}

// A process that was killed stays a zombie until its parent looks.
static bool process_alive(int32_t pid)
{
    if (pid == (int32_t)getpid()) {
        return true;
    }
    if (kill(pid, 0) != 0 && errno == ESRCH) {
        return false;
    }
    char path[40], stat[256] = "";
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *f = fopen(path, "r");
    if (f == NULL) {
        return false;
    }
    size_t n = fread(stat, 1, sizeof stat - 1, f);
    fclose(f);
    stat[n] = 0;
    const char *end = strrchr(stat, ')');
    return end == NULL || (end[2] != 'Z' && end[2] != 'X');
}

int nc_clique_dead(struct nc_clique *c, int n_ranks, int self)
{
    for (int r = 0; r < n_ranks; r++) {
        uint32_t state = atomic_load(&c->slot[r].state);
        if (r != self && state != NC_ABSENT &&
            (state != NC_JOINED || !process_alive(atomic_load(&c->slot[r].pid)))) {
            return r;
        }
    }
    return -1;
}

ncclResult_t nc_clique_wait(struct nc_clique *c, int n_ranks)
{
    struct timespec nap = {.tv_nsec = 1000000};
    for (long ms = 0; ms < timeout_ms(); ms++) {
        if (atomic_load(&c->n_joined) >= (uint32_t)n_ranks) {
            return ncclSuccess;
        }
        if (ms % 50 == 49 && nc_clique_dead(c, n_ranks, -1) >= 0) {
            return ncclRemoteError;
        }
        nanosleep(&nap, NULL);
    }
    char text[400] = "ncclCommInitRank: these ranks never came:";
    for (int r = 0; r < n_ranks; r++) {
        if (atomic_load(&c->slot[r].state) == NC_ABSENT) {
            size_t used = strlen(text);
            snprintf(text + used, sizeof text - used, " %d", r);
        }
    }
    nc_driver()->vgpu_report("deadlock", text);
    return ncclSystemError;
}
