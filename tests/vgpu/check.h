// SPDX-License-Identifier: Apache-2.0
// check.h - the checks that the interpreter calls for every memory access and synchronisation.
// State hangs on the grid (chk), the CTA (chk: shared-memory shadow and race records) and the warp
// (chk: vector clock). All hooks are cheap when their check is off.
//
// Life: vg_chk_grid_create at launch; vg_chk_cta_open when a CTA has become resident (ids, smem and
// warps are set), vg_chk_cluster_open once after the CTAs of a cluster are open; vg_chk_cta_close
// when it leaves (of a cluster: when all its CTAs are done); vg_chk_grid_destroy. CTAs of one
// cluster are executed by one host thread; other CTAs may run on other threads.
#ifndef VG_CHECK_H
#define VG_CHECK_H

#include "count.h"
#include "mem.h"
#include "report.h"

struct vg_warp;
struct vg_cta;
struct vg_cluster;
struct vg_grid;
struct vg_chk_grid;

enum vg_access {
    VG_LOAD,
    VG_STORE,
    VG_ATOMIC,                  // atom, red
    VG_LOAD_NC,                 // ld.global.nc
    VG_LOAD_STRONG,             // ld.volatile, .relaxed, .acquire
    VG_STORE_STRONG,            // st.volatile, .relaxed, .release
    VG_ACCESS_LOCAL_ORDER = 16, // or'ed in: no race check (the caller does it)
    VG_ACCESS_ASYNC = 32,       // or'ed in: by the async proxy (vg_race_global_range only)
    VG_ACCESS_MATRIX = 64       // or'ed in: ldmatrix, stmatrix; for counters (vg_check_shared only)
};

enum vg_scope { VG_SCOPE_CTA, VG_SCOPE_CLUSTER, VG_SCOPE_GPU, VG_SCOPE_SYS };

void vg_chk_grid_create(struct vg_grid *g); // sets g->chk; launch, n_ctas, warps_per_cta are set
void vg_chk_grid_destroy(struct vg_grid *g);
void vg_chk_cta_open(struct vg_cta *c); // sets c->chk, c->async, warps[].chk, .async
void vg_chk_cluster_open(struct vg_cluster *cl);
void vg_chk_cta_exit(struct vg_cta *c); // all threads have exited: reports transfers in flight
void vg_chk_cta_close(struct vg_cta *c);
// One line per mbarrier and per transfer in flight, for deadlock reports.
void vg_chk_cta_describe(struct vg_cta *c, char *buf, size_t n);

// ---- accesses. false: fault, the access must not be done (the finding is already reported). ----
// addr/off per lane, only lanes of mask are looked at. bytes: what a lane moves, 1..16 or 32, a
// power of two; must be naturally aligned. Stores mark the bytes initialised. Counters are
// included.
bool vg_check_global(struct vg_warp *w, const uint64_t addr[32], uint32_t mask, unsigned bytes,
                     enum vg_access kind);
// off: offsets in the shared memory of `target`, which is w's CTA or one of its cluster.
bool vg_check_shared(struct vg_warp *w, struct vg_cta *target, const uint32_t off[32],
                     uint32_t mask, unsigned bytes, enum vg_access kind);

// ---- synchronisation ----
// A CTA barrier completed: `arrived` is the bit mask of warps that arrived at it, `waiting` those
// that go on (bar.arrive is in the first only).
void vg_sync_barrier(struct vg_cta *c, uint32_t arrived, uint32_t waiting);
void vg_sync_warp(struct vg_warp *w, uint32_t lanes); // bar.warp.sync done
// These lanes have waited for others (mbarrier): they know what their warp did so far.
void vg_sync_waited(struct vg_warp *w, uint32_t lanes);
// barrier.cluster.arrive.release by a warp (all lanes), and the completed wait by a warp.
void vg_sync_cluster_arrive(struct vg_warp *w);
void vg_sync_cluster_wait(struct vg_warp *w);
// fence / membar other than proxy fences.
void vg_sync_fence(struct vg_warp *w, uint32_t mask, enum vg_scope scope);
// Atomic or strong access at these addresses (call before vg_check_*). reads: it returns or waits
// for a value; writes: it changes it. acquire/release: of the instruction; relaxed ones pass false,
// false. True: it released; call vg_clock_tick() when the access is recorded.
bool vg_sync_atomic_global(struct vg_warp *w, const uint64_t addr[32], uint32_t mask, bool reads,
                           bool writes, bool acquire, bool release);
void vg_sync_atomic_shared(struct vg_warp *w, struct vg_cta *target, const uint32_t off[32],
                           uint32_t mask, bool reads, bool writes, bool acquire, bool release);

#endif
