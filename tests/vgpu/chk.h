// SPDX-License-Identifier: Apache-2.0
// chk.h - inside of the checks: vector clocks, shared-memory records. For check.c, race.c, grace.c
// and the async engine only.
//
// Agents: each warp of each CTA of a cluster, and per CTA one agent that stands for its
// asynchronous copies. An agent's clock moves on when it releases; everything it did at clock c is
// ordered before whoever knows a clock >= c of it. A vector has several views, one after the other:
// what is known in general; what of that has passed a proxy fence on the way, by kind of fence.
#ifndef VG_CHK_H
#define VG_CHK_H

#include <pthread.h>

#include "check.h"
#include "exec.h"
#include "warp.h"

// Clocks of a CTA (of a cluster) are drawn from one counter, so a clock is also a time: whatever
// happened before a warp's `floor` is ordered before it, whoever did it. Most accesses are found in
// order by that alone, from the latest times of their block of words.
//
// Write record of a 4-byte word of shared memory: its clock (0: none), and who: agent << 16 | lane
// << 8 | flags. Lane 63: all lanes together.
enum { VG_W_ATOMIC = 1, VG_W_ASYNC = 4 };
// Read record, one per agent and word: clock << 8 | flags | lane. 0: none.
enum { VG_R_MULTI = 32, VG_R_STRONG = 128, VG_R_LANE = 31 };
// Instead of a clock or a read record: there are records for each byte.
enum { VG_SPLIT = 0x7FFFFFFF };
enum { VG_CLOCK_MAX = (1 << 23) - 16, VG_RBLOCK_WORDS = 64 };
#define VG_RMASK_FAR (UINT64_C(1) << 63) // read by an agent of another CTA, or the async agent

enum {
    VG_VIEW_ALL,
    VG_VIEW_GLOBAL,                // fence.proxy.async of global memory
    VG_VIEW_MAP,                   // fence.proxy.tensormap::generic.release
    VG_FAR_VIEWS,                  // those above are kept of other clusters, too
    VG_VIEW_SHARED = VG_FAR_VIEWS, // fence.proxy.async of shared memory
    VG_VIEWS
};

struct vg_vc {     // a sync object: what its releases have published
    uint32_t *vc;  // [VG_VIEWS][n_agents]; NULL: nothing yet
    uint32_t *far; // [VG_FAR_VIEWS][n_far]; NULL: nothing from other clusters
};

struct vg_chk_warp {
    unsigned agent, far_agent;
    uint32_t *vc;  // [VG_VIEWS][n_agents]; own entry of the first view: the running clock
    uint32_t *far; // [VG_FAR_VIEWS][n_far] of other clusters' warps; NULL: knows nothing of them
    uint32_t prev; // clock before the last tick
    uint32_t full_sync; // clock at the last synchronisation of all lanes
    uint32_t floor;     // records of this clock and older ones are ordered before this warp
    bool floor_stale;   // it may be higher by now
    // [lane][other]: the lane knows what the other did before this clock. NULL: full_sync for all.
    uint32_t (*pair)[32];
    bool has_pair;
    struct vg_vc fence;   // published by a relaxed write: as of the last fence
    struct vg_vc pending; // met by a relaxed read: known after the next fence
    bool has_fence, has_pending;
};

struct vg_chk_cta {
    struct vg_chk_grid *grid;
    struct vg_cta *cta;
    uint32_t smem_bytes, n_words;
    unsigned agent0, async_agent;
    uint32_t base;         // clocks of this CTA start here; older records are history
    uint8_t *shadow;       // [smem_bytes + 64]
    uint32_t *wclk, *wwho; // [n_words]
    uint32_t **rrec;       // [n_agents] of [n_words], NULL until the agent has read
    uint64_t *wbyte;       // [smem_bytes] records of split words, clock << 32 | who; NULL: none yet
    uint32_t **rbyte;      // [n_agents] of [smem_bytes]
    struct vg_block {      // of VG_RBLOCK_WORDS words
        uint32_t wtop, rtop; // latest write, latest read
        uint64_t rmask;      // local warps that have read
    } * block;
    struct vg_chk_warp *warps;
    uint32_t async_clock, async_prev; // of the last asynchronous write; of the one before
    uint32_t *now, own_now;           // the counter: of the cluster's first CTA, or the own one
    struct vg_word_sync {             // words of shared memory that were accessed atomically
        uint32_t off;
        struct vg_vc vc;
    } * sync;
    unsigned n_sync, cap_sync;
    struct vg_vc *cluster_sync[2]; // of the cluster's barrier, even and odd phases; owned by rank 0
    uint64_t cluster_arrived[VG_MAX_WARPS], cluster_waited[VG_MAX_WARPS];
    struct vg_map_fence {     // fence.proxy.tensormap acquire of this CTA, the last ones
        uint64_t addr, state; // what had been written to the map by then
    } map_fence[8];
    unsigned n_map_fences;
    struct vg_chk_cta *next_free;
};

struct vg_chk_grid {
    struct vg_grid *grid;
    unsigned checks, n_warps, n_agents, cluster_ctas;
    uint32_t launch; // id in global records
    uint16_t epoch;  // id in marks of sectors
    unsigned n_far;  // 0: the grid is too large for exact clocks between CTAs
    bool race, bounds, count, one_cluster;
    pthread_mutex_t lock; // guards free_ctas and the table below
    struct vg_chk_cta *free_ctas;
    struct vg_gsync { // words of global memory that were accessed atomically
        uint64_t addr;
        struct vg_vc vc;
        struct vg_gsync *next;
    } * *gsync;
    unsigned n_gsync_buckets;
    bool gsync_used; // some warp has published something
};

static inline uint32_t *vg_view(const struct vg_chk_grid *g, const uint32_t *vc, unsigned view)
{
    return (uint32_t *)(uintptr_t)(vc + (size_t)view * g->n_agents);
}
static inline uint32_t *vg_far_view(const struct vg_chk_grid *g, const uint32_t *far, unsigned view)
{
    return (uint32_t *)(uintptr_t)(far + (size_t)view * g->n_far);
}

// A finding at the running instruction. lane -1: the whole warp.
#define VG_FIND(w, lane_, kind_, ...) \
    do { \
        struct vg_where where_; \
        vg_where_now((w), (lane_), &where_); \
        vg_finding((kind_), &where_, __VA_ARGS__); \
    } while (0)

void *vg_chk_alloc(size_t n, size_t size); // zeroed; aborts when out of memory

// ---- vector clocks (clock.c) ----
void vg_vc_init(struct vg_vc *v);
void vg_vc_free(struct vg_vc *v);
void vg_vc_clear(struct vg_chk_grid *g, struct vg_vc *v); // forgets what was published
// Publishes what the warp knows, then moves its clock on.
void vg_vc_release(struct vg_warp *w, struct vg_vc *v);
void vg_vc_acquire(struct vg_warp *w, const struct vg_vc *v);
// Publishes an asynchronous write of CTA c at this clock (already in generic order for acquirers).
void vg_vc_async(struct vg_chk_cta *c, struct vg_vc *v, uint32_t clock);
void vg_vc_join(const struct vg_chk_grid *g, struct vg_vc *to, const struct vg_vc *from);
void vg_clock_tick(struct vg_warp *w);
uint32_t vg_clock_floor(struct vg_warp *w);

// ---- shared-memory records (race.c); nothing happens when races are off ----
// words of lane: [off, off + bytes). Findings are reported; the access goes on.
void vg_race_shared(struct vg_warp *w, struct vg_cta *target, const uint32_t off[32], uint32_t mask,
                    unsigned bytes, enum vg_access kind);
// One range by one lane: lane -1: all lanes of the warp together.
void vg_race_range(struct vg_warp *w, struct vg_cta *target, uint32_t off, uint32_t bytes, int lane,
                   enum vg_access kind);
// Check only, of a write to come (TMA at issue): leaves no record.
void vg_race_range_check_write(struct vg_warp *w, struct vg_cta *target, uint32_t off,
                               uint32_t bytes, int lane);
// The same of lanes of a warp.
void vg_race_check_write(struct vg_warp *w, struct vg_cta *target, const uint32_t off[32],
                         uint32_t mask, unsigned bytes);
// Asynchronous write delivered to [off, off + bytes) at the clock of vg_async_tick.
// cp.async is asynchronous but of the generic proxy.
void vg_race_async_write(struct vg_chk_cta *c, uint32_t off, uint32_t bytes, uint32_t clock,
                         bool async_proxy);
uint32_t vg_async_tick(struct vg_chk_cta *c);
// The asynchronous proxy is about to read the range on behalf of w: ordered, and fenced? `what`
// names the reader in findings. One finding at most. Leaves a read record.
void vg_race_async_read(struct vg_warp *w, struct vg_cta *target, uint32_t off, uint32_t bytes,
                        const char *what);
void vg_sync_fence_proxy(struct vg_warp *w, unsigned views); // bits by VG_VIEW_; clock.c

// ---- global records (grace.c) ----
void vg_race_global(struct vg_warp *w, const uint64_t addr[32], uint32_t mask, unsigned bytes,
                    enum vg_access kind);
void vg_race_global_range(struct vg_warp *w, uint64_t addr, uint64_t bytes, int lane,
                          enum vg_access kind);
uint32_t vg_race_launch_id(void);
// A tensor copy reads the map at addr. fence: an acquire fence of the tensor map's proxy does.
void vg_race_map_use(struct vg_warp *w, uint64_t addr, int lane);
void vg_race_map_fence(struct vg_warp *w, uint64_t addr);

// ---- counters of global memory (traffic.c) ----
uint16_t vg_traffic_epoch(void); // of a new launch, in marks of sectors
void vg_count_global(struct vg_warp *w, const uint64_t addr[32], uint32_t mask, unsigned bytes,
                     bool reads, bool writes);
void vg_count_global_range(struct vg_warp *w, uint64_t addr, uint64_t bytes, bool reads,
                           bool writes);

// ---- shadow of ranges (check.c) ----
// false: not all addressable; the finding is reported. what: "cp.async source".
bool vg_range_global(struct vg_warp *w, int lane, uint64_t addr, uint64_t bytes, bool write,
                     const char *what);
bool vg_range_shared(struct vg_warp *w, int lane, struct vg_cta *t, uint32_t off, uint32_t bytes,
                     bool write, const char *what);
// n chunks of 16 bytes may be read: quick, and reports nothing; false: ask vg_range_shared.
bool vg_chunks_fine(const struct vg_cta *cta, const uint32_t *off, unsigned n);
uint8_t *vg_shadow_global(uint64_t addr);                   // NULL: no arena
void vg_shadow_pending(uint8_t *s, uint32_t bytes);         // sets PENDING
void vg_shadow_delivered(uint8_t *s, uint32_t bytes);       // clears PENDING, sets INIT
void vg_shadow_reader(uint8_t *s, uint32_t bytes, int add); // +1 or -1 on the reader count

// ---- async engine's part of the life cycle (async.c) ----
void vg_async_open(struct vg_cta *c);
void vg_async_exit(struct vg_cta *c);
void vg_async_close(struct vg_cta *c);
void vg_async_describe(struct vg_cta *c, char *buf, size_t n);

#endif
