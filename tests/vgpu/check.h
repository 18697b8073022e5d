// SPDX-License-Identifier: Apache-2.0
// check.h - the checks that the interpreter calls for every memory access and synchronisation.
// State hangs on the grid, the CTA and the warp: vg_chk_grid, vg_chk_cta (shared-memory shadow,
// race records), vg_chk_warp (vector clock). All hooks are cheap when their check is off.
//
// Life: vg_chk_grid_create at launch; vg_chk_cta_create when a CTA becomes resident;
// vg_chk_cta_exit when all its threads are gone (reports transfers in flight); vg_chk_cta_destroy;
// vg_chk_grid_destroy. CTAs of one cluster are executed by one host thread; other CTAs may run on
// other threads.
#ifndef VG_CHECK_H
#define VG_CHECK_H

#include "count.h"
#include "mem.h"
#include "report.h"

struct vg_warp; // V1: warp.h
struct vg_cta;  // V1: cta.h
struct vg_chk_grid;
struct vg_chk_cta;

enum vg_access {
    VG_LOAD,
    VG_STORE,
    VG_ATOMIC,  // read-modify-write, or a "strong" (relaxed, acquire, release, volatile) load or
                // store
    VG_LOAD_NC, // ld.global.nc
    VG_LOAD_STRONG,
    VG_STORE_STRONG
};

enum vg_scope { VG_SCOPE_CTA, VG_SCOPE_CLUSTER, VG_SCOPE_GPU, VG_SCOPE_SYS };

struct vg_chk_grid_desc {
    unsigned checks; // VG_CHECK_*
    int device;
    unsigned n_ctas, cluster_ctas, warps_per_cta; // cluster_ctas >= 1
    uint64_t seed;
};
struct vg_chk_grid *vg_chk_grid_create(const struct vg_chk_grid_desc *d);
void vg_chk_grid_destroy(struct vg_chk_grid *g);

// smem: the CTA's shared memory (the caller fills it with VG_FRESH_BYTE), offset 0 is its first
// byte. cluster: the chk states of the cluster's CTAs by rank are linked with vg_chk_cta_link
// afterwards.
struct vg_chk_cta *vg_chk_cta_create(struct vg_chk_grid *g, unsigned cta_linear,
                                     unsigned cluster_rank, uint32_t smem_bytes);
void vg_chk_cta_link(struct vg_chk_cta *const cta[], unsigned n); // all CTAs of one cluster
void vg_chk_cta_destroy(struct vg_chk_cta *c);
uint8_t *vg_chk_cta_shadow(struct vg_chk_cta *c); // [smem_bytes], VG_SH_* bits

// ---- accesses. false: fault, the access must not be done (the finding is already reported). ----
// addr/off per lane, only lanes of mask are looked at. bytes: 1..16 (whole vector of a lane), 32
// too. Alignment: addr % bytes. Stores mark the bytes initialised.
bool vg_check_global(struct vg_warp *w, const uint64_t addr[32], uint32_t mask, unsigned bytes,
                     enum vg_access kind);
// off: offsets in the shared memory of `target`, which is w's CTA or one of its cluster.
bool vg_check_shared(struct vg_warp *w, struct vg_cta *target, const uint32_t off[32],
                     uint32_t mask, unsigned bytes, enum vg_access kind);

// ---- synchronisation ----
// A CTA barrier completed (bar.sync, bar.red; bar.arrive counts as participant too): every warp of
// the bit mask has arrived and those of wait_mask continue.
void vg_sync_barrier(struct vg_cta *c, unsigned n_arrived, const unsigned *arrived_warps,
                     unsigned n_waiting, const unsigned *waiting_warps);
void vg_sync_warp(struct vg_warp *w, uint32_t lanes); // bar.warp.sync
// barrier.cluster completed: all warps of all n CTAs (arrive = release, wait = acquire).
void vg_sync_cluster(struct vg_cta *const cta[], unsigned n);
// fence / membar, of any semantics but proxy.
void vg_sync_fence(struct vg_warp *w, uint32_t mask, enum vg_scope scope);
void vg_sync_fence_proxy_async(struct vg_warp *w,
                               uint32_t mask); // fence.proxy.async[.global|.shared*]
void vg_sync_fence_mbarrier_init(struct vg_warp *w, uint32_t mask);
void vg_sync_fence_proxy_tensormap(struct vg_warp *w, uint32_t mask, uint64_t addr, bool acquire);
// Atomic or strong access done at an address (call after vg_check_*, before or after the access
// itself). acquire/release: of the instruction (.acquire, .release, .acq_rel); relaxed ones pass
// false, false.
void vg_sync_atomic_global(struct vg_warp *w, const uint64_t addr[32], uint32_t mask, bool reads,
                           bool writes, bool acquire, bool release);
void vg_sync_atomic_shared(struct vg_warp *w, struct vg_cta *target, const uint32_t off[32],
                           uint32_t mask, bool reads, bool writes, bool acquire, bool release);

#endif
