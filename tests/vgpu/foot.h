// SPDX-License-Identifier: Apache-2.0
// foot.h - footprints: which bytes of global memory one operation (a launch, a copy) touched, and
// how. The driver compares footprints of operations that nothing orders (order.c); a launch that
// overlaps its predecessor (programmatic dependent launch) is compared while it runs.
//
// Adding is thread safe; everything else wants the operation to be over.
#ifndef VG_FOOT_H
#define VG_FOOT_H

#include <stdbool.h>
#include <stdint.h>

#include "check.h"

// Plain accesses, and those that may synchronise (atomics, volatile, relaxed, acquire, release).
enum vg_foot_plane {
    VG_FOOT_READ,
    VG_FOOT_WRITE,
    VG_FOOT_SYNC_READ,
    VG_FOOT_SYNC_WRITE,
    VG_FOOT_PLANES
};

struct vg_foot;

struct vg_foot *vg_foot_new(void);
void vg_foot_free(struct vg_foot *f);
// A range of any length. Few long ones cost no more than few short ones.
void vg_foot_range(struct vg_foot *f, uint64_t addr, uint64_t bytes, enum vg_foot_plane plane);
// The memory was freed: its addresses will mean something else.
void vg_foot_forget(struct vg_foot *f, uint64_t addr, uint64_t bytes);

struct vg_foot_meet {
    uint64_t addr;
    bool first_writes, second_writes;
};
// Whether both touched a byte and one of them wrote it: plain against plain, plain against
// synchronising. Two that also share a word by synchronising accesses may have agreed on an order:
// they do not count as meeting.
bool vg_foot_meets(const struct vg_foot *first, const struct vg_foot *second,
                   struct vg_foot_meet *out);

// ---- a launch under way ----

enum { VG_DEP_MAX = 8 };

// Who may still be running beside a launch, and what the launch did about it.
struct vg_dep {
    unsigned n_start, n_wait; // before and after griddepcontrol.wait
    struct {
        const struct vg_foot *foot;
        const char *name; // "kernel gemm"
    } start[VG_DEP_MAX], wait[VG_DEP_MAX];
    // Set by the launch (atomic): some CTA let dependents start; some warp waited; some warp let
    // them start after it had waited.
    bool triggered, waited, waited_first;
};

// Accesses by a warp, lanes of mask, of a launch that has a footprint.
// row: all 32 lanes, dense and ascending.
void vg_foot_lanes(struct vg_warp *w, const uint64_t addr[32], uint32_t mask, unsigned bytes,
                   bool row, enum vg_access kind);
void vg_foot_span(struct vg_warp *w, int lane, uint64_t addr, uint64_t bytes, enum vg_access kind);

// griddepcontrol by a warp.
void vg_dep_wait(struct vg_warp *w);
void vg_dep_trigger(struct vg_warp *w);

#endif
