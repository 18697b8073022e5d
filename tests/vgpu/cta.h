// SPDX-License-Identifier: Apache-2.0
// cta.h - one running CTA, its cluster and its grid; the shared-memory address map.
//
// A 32-bit shared address: 0x400 + offset in the CTA's own window; (rank + 1) << 24 | 0x400 +
// offset for the CTA of that rank in the cluster (mapa). Generic: vg_window + shared address; local
// memory follows at vg_window + VG_WINDOW_LOCAL. The window is reserved, so no pointer of the host
// is in it.
#ifndef VG_CTA_H
#define VG_CTA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "count.h"

struct vg_warp;
struct vg_cluster;
struct vg_grid;
struct vg_chk_cta;  // V3
struct vg_chk_grid; // V3
struct vg_async;    // V3: transfers in flight, mbarriers
struct vg_program;
struct vg_rows;
struct vg_launch;

enum { VG_SMEM_BASE = 0x400, VG_MAX_WARPS = 32, VG_MAX_CLUSTER = 16, VG_BARRIERS = 16 };
#define VG_WINDOW_LOCAL 0x40000000ull
#define VG_WINDOW_BYTES 0x80000000ull
extern uint64_t vg_window; // host address of the reserved window

struct vg_barrier {
    unsigned expected;                  // threads; 0: nobody has arrived yet
    unsigned arrived;                   // threads
    uint64_t ticket;                    // completed phases
    uint32_t warps, waiting;            // bit per warp: has arrived, will go on at completion
    bool has_count;                     // expected was given by the instruction
    uint32_t red_popc, red_and, red_or; // of the running phase
    uint32_t out_popc, out_and, out_or; // of the completed one
};

struct vg_cta {
    struct vg_grid *grid;
    struct vg_cluster *cluster; // NULL: launched without clusters
    unsigned id[3], linear, rank;
    uint8_t *smem;       // offset 0 is shared address VG_SMEM_BASE
    uint32_t smem_bytes; // static, padding and dynamic together
    uint32_t dyn_offset; // of dynamic shared memory
    uint32_t dyn_bytes;
    struct vg_warp *warps;
    unsigned n_warps, n_live; // warps with a live lane
    unsigned live_threads;
    struct vg_barrier bar[VG_BARRIERS];
    struct vg_counts *counts; // of the executing host thread
    struct vg_chk_cta *chk;
    struct vg_async *async;
    uint64_t rng;
    uint64_t *progress; // of the executing host thread, see vg_progress
};

struct vg_cluster {
    struct vg_cta *cta[VG_MAX_CLUSTER];
    unsigned n, id[3];
    unsigned arrived; // threads at barrier.cluster in this phase
    uint64_t phase;   // completed phases
};

struct vg_grid {
    const struct vg_launch *launch;
    struct vg_program *program;
    uint64_t id; // unique per launch in the process
    unsigned n_ctas, grid[3], block[3], cluster[3], cluster_ctas;
    unsigned threads_per_cta, warps_per_cta;
    uint32_t param_stride, local_stride; // bytes per lane
    const uint8_t *params;               // kernel parameters
    uint64_t params_addr;                // their generic address, 0: not in device memory
    uint64_t workspace;                  // of cooperative groups, 0: no cooperative launch
    const struct vg_rows *rows;
    struct vg_chk_grid *chk;
    bool fault; // some thread faulted: everybody stops (atomic accesses)
};

// CTA and offset of a 32-bit shared address as seen from `c`; NULL: no such window.
static inline struct vg_cta *vg_shared_target(struct vg_cta *c, uint32_t addr, uint32_t *offset)
{
    uint32_t rank = addr >> 24;
    *offset = (addr & 0xffffff) - VG_SMEM_BASE;
    if (rank == 0) {
        return c;
    }
    if (!c->cluster) {
        return rank == 1 ? c : NULL;
    }
    return rank <= c->cluster->n ? c->cluster->cta[rank - 1] : NULL;
}
// 32-bit shared::cluster address of offset in the CTA of a rank.
static inline uint32_t vg_shared_cluster_addr(unsigned rank, uint32_t offset)
{
    return (rank + 1) << 24 | (VG_SMEM_BASE + offset);
}
static inline bool vg_is_shared(uint64_t generic)
{
    return generic - vg_window < VG_WINDOW_LOCAL;
}
static inline bool vg_is_local(uint64_t generic)
{
    return generic - vg_window - VG_WINDOW_LOCAL < VG_WINDOW_BYTES - VG_WINDOW_LOCAL;
}
// Pseudo-random numbers (splitmix64): every warp and CTA has its own stream of the launch's seed.
static inline uint64_t vg_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15ull;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return z ^ z >> 31;
}
// A thread of the CTA has exited: barriers may be complete now.
void vg_barriers_exit(struct vg_cta *c);
// Something happened that waiting warps may look for (arrival, delivery, store).
static inline void vg_progress(struct vg_cta *c)
{
    (*c->progress)++;
}

#endif
