// SPDX-License-Identifier: Apache-2.0
// async_impl.h - state of the asynchronous engine: mbarriers of a CTA, transfers on their way into
// its shared memory, and per warp the queues of cp.async, bulk stores and wgmma.
//
// Rule: a destination is destroyed and marked pending at issue and delivered at the last legal
// moment: a load when somebody looks for its phase of the mbarrier, a cp.async in the lane's wait,
// a store in the wait of its group or at exit. Sources are copied at issue and compared at
// delivery.
#ifndef VG_ASYNC_IMPL_H
#define VG_ASYNC_IMPL_H

#include "tensor_impl.h"
#include "tma.h"

struct vg_tile { // a box of a tensor map at coordinates
    struct vg_tensormap map;
    int32_t at[5];
};

// A load into shared memory that will complete on an mbarrier.
struct vg_xfer {
    struct vg_xfer *next;
    struct vg_cta *dst;
    uint32_t dst_off, bytes; // of shared memory, padding of narrow boxes included
    uint32_t tx;             // bytes that complete
    uint8_t *data;           // snapshot, in the order of shared memory
    bool from_tile, from_shared;
    struct vg_tile tile;
    uint64_t src; // global address, or offset in src_cta's shared memory
    struct vg_cta *src_cta;
    bool done_at_issue;    // nothing to copy any more
    struct vg_where where; // text borrowed from the module
};

struct vg_late_arrive { // cp.async.mbarrier.arrive
    struct vg_warp *w;
    uint32_t lane;
    uint64_t seq; // entries below it must be delivered first
    bool inc;     // the form without .noinc
};

struct vg_bar { // one mbarrier object
    uint32_t off;
    struct vg_cta *cta;
    bool live;
    uint32_t expected; // arrivals of the coming phases
    int64_t pending;   // arrivals that this phase still lacks
    int64_t tx;        // bytes this phase still lacks
    uint64_t phase;    // completed phases
    uint64_t cookie;
    uint64_t events;        // bumped by whatever a waiter may look for
    unsigned polls;         // failed looks since
    struct vg_vc cur, done; // published in this phase; in all completed ones
    unsigned init_agent, init_warp;
    uint32_t init_clock;
    bool fenced;                 // fence.mbarrier_init since
    uint64_t seen[VG_MAX_WARPS]; // per local warp: 1 + phase at its last use, 0: never
    struct vg_xfer *xfers;
    struct vg_late_arrive *late;
    unsigned n_late, cap_late;
};

struct vg_async { // of a CTA
    struct vg_cta *cta;
    struct vg_bar **bar;
    unsigned n_bar, cap_bar, last;
    uint64_t rng;
    bool eager; // data arrives at once (pending stays set); else as late as allowed
};

struct vg_cpa { // one cp.async instruction of a warp
    uint64_t seq;
    uint32_t mask; // lanes not yet delivered
    uint32_t bytes;
    bool whole; // all 32 lanes copy 16 bytes
    bool quads; // and read them as quad.h says
    uint32_t off[32];
    uint64_t src[32];
    uint32_t src_bytes[32];
    uint32_t group[32];
    uint8_t data[32][16];
    uint32_t pc; // of the instruction
};

enum vg_red {
    VG_RED_NONE,
    VG_RED_ADD,
    VG_RED_MIN,
    VG_RED_MAX,
    VG_RED_INC,
    VG_RED_DEC,
    VG_RED_AND,
    VG_RED_OR,
    VG_RED_XOR
};

struct vg_put { // a store or reduction of a bulk group
    struct vg_put *next;
    unsigned lane;
    uint32_t group;
    uint32_t src_off, bytes;
    uint8_t *data;
    bool read_done, is_tile;
    struct vg_tile tile;
    uint64_t dst;
    enum vg_red red;
    enum ptx_type type;
    uint16_t byte_mask; // of every 16 bytes; 0xFFFF: all
    struct vg_where where;
};

struct vg_wg; // wgmma.c

struct vg_async_warp {
    struct vg_cpa *cpa; // ring
    unsigned first, n_cpa, cap_cpa;
    uint64_t seq;
    uint32_t commits[32];
    struct vg_put *puts, **puts_end;
    uint32_t bulk_commits[32];
    struct vg_wg *wg;
};

void *vg_async_alloc(size_t n);
uint32_t vg_async_random(struct vg_async *a);

// ---- mbar.c ----
// The live barrier at an offset, with a finding when there is none or its 8 bytes were overwritten.
struct vg_bar *vg_bar_at(struct vg_warp *w, int lane, struct vg_cta *t, uint32_t off,
                         const char *what);
// A copy names this barrier for its completion: is its initialisation visible to the async proxy?
void vg_bar_async_use(struct vg_warp *w, int lane, struct vg_bar *b);
void vg_bar_add_xfer(struct vg_bar *b, struct vg_xfer *x);
void vg_bar_late(struct vg_bar *b); // a late arrival was queued
void vg_bar_free(struct vg_bar *b);
enum vg_decoded vg_mbar_decode(struct vg_dec *dc, const struct ptx_inst *in, struct vg_op *op);

// ---- cp_async.c ----
enum vg_decoded vg_cp_async_decode(struct vg_dec *dc, const struct ptx_inst *in, struct vg_op *op);
// Delivers entries of the lanes with seq < below; b: for the waiters of this barrier.
void vg_cpa_deliver(struct vg_warp *w, uint32_t lanes, uint64_t below, struct vg_bar *b);
uint64_t vg_cpa_seq(const struct vg_warp *w);
// Lanes of copies in flight; the oldest one's place.
unsigned vg_cpa_waiting(const struct vg_warp *w, struct vg_where *where);

// ---- bulk.c, tma.c ----
enum vg_decoded vg_bulk_decode(struct vg_dec *dc, const struct ptx_inst *in, struct vg_op *op);
enum vg_decoded vg_tma_decode(struct vg_dec *dc, const struct ptx_inst *in, struct vg_op *op);
struct vg_xfer *vg_xfer_new(struct vg_warp *w, int lane, struct vg_cta *dst, uint32_t off,
                            uint32_t bytes);
// Checks the destination, destroys it, queues the copy on the barrier.
void vg_xfer_issue(struct vg_warp *w, int lane, struct vg_bar *b, struct vg_xfer *x);
void vg_xfer_deliver(struct vg_bar *b, struct vg_xfer *x);
void vg_xfer_free(struct vg_xfer *x);
struct vg_put *vg_put_new(struct vg_warp *w, unsigned lane, uint32_t off, uint32_t bytes);
void vg_put_issue(struct vg_warp *w, struct vg_put *p);
void vg_put_read(struct vg_warp *w, struct vg_put *p);    // the source has been read
void vg_put_deliver(struct vg_warp *w, struct vg_put *p); // all of it is done
void vg_put_free(struct vg_put *p);
// Applies the reduction to n bytes at a global address.
void vg_red_apply(enum vg_red red, enum ptx_type type, uint64_t dst, const uint8_t *src,
                  uint32_t bytes);
bool vg_red_allowed(enum vg_red red, enum ptx_type type);
enum vg_red vg_red_named(const struct ptx_inst *in);
unsigned vg_red_bytes(enum ptx_type t);

// Calls fn for every row of the box: smem order offset (without swizzle), global address, elements
// inside the tensor [lo, hi) of the row's n. Returns bytes of the box.
uint32_t vg_tile_bytes(const struct vg_tensormap *m);
// Bytes of shared memory that the box takes: a row narrower than the swizzle takes its full width.
uint32_t vg_tile_span(const struct vg_tensormap *m);
// Calls fn for each 16-byte piece of the box (pad: of its padding) in shared memory.
typedef bool (*vg_tile_piece)(void *ctx, uint32_t off); // false: stop
bool vg_tile_pieces(const struct vg_tile *t, uint32_t smem_addr, bool pad, vg_tile_piece fn,
                    void *ctx);
// Reads the box (shared-memory order, swizzled as at address `smem_addr`); out of bounds filled.
void vg_tile_gather(const struct vg_tile *t, uint32_t smem_addr, uint8_t *out);
typedef bool (*vg_tile_run)(void *ctx, uint64_t addr, uint32_t bytes); // false: stop
bool vg_tile_runs(const struct vg_tile *t, vg_tile_run fn, void *ctx); // in-bounds global runs
void vg_tile_scatter(const struct vg_tile *t, uint32_t smem_addr, const uint8_t *data,
                     enum vg_red red, enum ptx_type type);

// ---- wgmma.c ----
void vg_wg_exit(struct vg_warp *w);
void vg_wg_free(struct vg_warp *w);

#endif
