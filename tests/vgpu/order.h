// SPDX-License-Identifier: Apache-2.0
//
// order.h - see order.c. All under the driver's lock, but for vg_order_note.
#ifndef VG_ORDER_H
#define VG_ORDER_H

#include "driver.h"
#include "foot.h"

// What is known of an operation that has run, while others may still be unordered with it.
struct vg_seen {
    unsigned refs;
    char name[160];
    struct vg_foot *foot;
    struct vg_dep dep;
    struct vg_seen *start[VG_DEP_MAX], *wait[VG_DEP_MAX]; // references behind dep.start, dep.wait
    uint32_t timeline, tick;
    unsigned stream_id;
    bool kernel; // or a call: more than a copy
};

// Work for a second stream, or work that may overlap, was seen: from now on footprints are taken.
void vg_order_watch(void);
void vg_order_submitted(struct vg_op *op);
void vg_order_begin(struct vg_op *op); // is about to run: op->seen, or NULL
void vg_order_ran(struct vg_op *op);   // has run
void vg_order_gone(struct vg_op *op);  // is about to be freed
// Memory was freed, or came to life again.
void vg_order_forget(uint64_t addr, uint64_t bytes);
// The running vgpu_enqueue'd function touches memory of its own device.
void vg_order_note(uint64_t addr, uint64_t bytes, bool writes);
void vg_order_calling(struct vg_op *op); // NULL: no longer
// Uses of stream-ordered memory before its allocation or after its free (cu_pool.c).
void vg_pool_submitted(struct vg_op *op);

#endif
