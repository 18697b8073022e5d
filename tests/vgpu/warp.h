// SPDX-License-Identifier: Apache-2.0
// warp.h - the state of one warp: rows of registers, a pc per lane, who waits. Handlers read and
// write registers through vg_r / vg_d / vg_p.
#ifndef VG_WARP_H
#define VG_WARP_H

#include <string.h>

#include "cta.h"
#include "decode.h"
#include "report.h"

struct vg_chk_warp;   // V3
struct vg_async_warp; // V3

struct vg_warp {
    // Rows of the running group's frame. row i, lane l: r[i * 32 + l].
    uint32_t *r;
    uint64_t *d;
    uint32_t *p;
    const struct vg_op *ops;
    uint32_t pc;     // of the running group
    uint32_t active; // lanes of the running group
    uint32_t limit;  // pc at which the group may meet another one
    uint32_t depth;  // call depth of the running group
    uint32_t stirs;  // regroupings so far: now and then a random group runs first

    struct vg_cta *cta;
    unsigned id;      // in the CTA
    uint32_t live;    // lanes that have not exited
    uint32_t blocked; // live lanes whose op answered BLOCK (or wait for a collective)
    uint32_t lane_pc[32];
    uint32_t lane_depth[32];
    uint32_t budget; // ops until the next voluntary yield
    uint64_t n_ops;  // executed, for %clock
    uint32_t polls;  // reads that may wait for somebody: strong loads, atomics, yields
    // Blocked for one event: not polled while *wait_on == wait_value. NULL: poll.
    const uint64_t *wait_on;
    uint64_t wait_value;
    uint32_t cc;             // condition code of add.cc ..., one bit per lane
    uint32_t bar_lanes;      // lanes that have arrived at a CTA barrier and wait for its end
    uint64_t bar_ticket[32]; // phase they wait for
    uint64_t cluster_phase;  // barrier.cluster phases this warp has arrived at
    uint32_t tid[3][32];

    // Watch over rows in flight (wgmma): while not NULL, vg_watch_touch is called before every op.
    void *watch;
    struct vg_chk_warp *chk;
    uint32_t dep_clock; // clock at griddepcontrol.wait, 0: has not waited
    bool dep_after;     // what it does now comes after one (foot.c)
    struct vg_async_warp *async;
    uint64_t rng;

    // Storage behind r, d, p of depth 0.
    uint32_t *r0;
    uint64_t *d0;
    uint32_t *p0;
    uint8_t *param0, *local0; // per lane blocks: lane * cta->grid->param_stride, local_stride
    uint8_t *local_shadow;    // init bits of local memory, same layout
    uint32_t *def_r, *def_d, *def_p; // defined lanes per row (depth 0 first), rows as r0, d0, p0
    uint32_t (*ret_pc)[32];          // [depth][lane]
};

static inline uint32_t *vg_r(const struct vg_warp *w, uint32_t row)
{
    return w->r + (size_t)row * 32;
}
static inline uint64_t *vg_d(const struct vg_warp *w, uint32_t row)
{
    return w->d + (size_t)row * 32;
}
static inline uint32_t vg_p(const struct vg_warp *w, uint32_t row)
{
    return w->p[row];
}
static inline void vg_p_set(struct vg_warp *w, uint32_t row, uint32_t value, uint32_t mask)
{
    w->p[row] = (w->p[row] & ~mask) | (value & mask);
}
static inline unsigned vg_first(uint32_t mask) // lowest lane of a non-empty mask
{
    return (unsigned)__builtin_ctz(mask);
}

// Lane addresses of an address operand. Lanes outside mask are computed too (harmless).
static inline void vg_lane_addrs(const struct vg_warp *w, struct vg_addr a, uint64_t out[32])
{
    if (a.wide) {
        const uint64_t *s = vg_d(w, a.row);
        for (int l = 0; l < 32; l++) {
            out[l] = s[l] + (uint64_t)a.offset;
        }
    } else {
        const uint32_t *s = vg_r(w, a.row);
        for (int l = 0; l < 32; l++) {
            out[l] = (uint32_t)(s[l] + (uint32_t)a.offset);
        }
    }
}
static inline uint64_t vg_lane_addr(const struct vg_warp *w, struct vg_addr a, unsigned lane)
{
    return a.wide ? vg_d(w, a.row)[lane] + (uint64_t)a.offset
                  : (uint32_t)(vg_r(w, a.row)[lane] + (uint32_t)a.offset);
}

// Notes the running group's pc and depth in its lanes; afterwards no group runs (active 0).
void vg_park(struct vg_warp *w);
// Rows of the frame at w->depth.
void vg_set_frame(struct vg_warp *w);
uint8_t *vg_param_ptr(const struct vg_warp *w, unsigned lane, uint32_t depth);
// Fills the constant rows of a function's frame at a depth, for these lanes.
void vg_fill_consts(struct vg_warp *w, const struct vg_code *code, uint32_t depth, uint32_t mask);
// Host pointer of generic address [addr, addr + bytes) as lane sees it, NULL: not addressable.
uint8_t *vg_host_ptr(struct vg_warp *w, uint64_t addr, uint64_t bytes, unsigned lane);

// Local address offset of the running group's frame (0 in the kernel itself).
uint32_t vg_local_base(const struct vg_warp *w);

// Where the running op stands, for a finding. lane -1: the whole warp.
void vg_where_now(const struct vg_warp *w, int lane, struct vg_where *out);

// V3: the running op touches registers while w->watch is set. False: fault.
bool vg_watch_touch(struct vg_warp *w, const struct vg_op *op, uint32_t mask);

#endif
