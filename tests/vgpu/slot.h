// SPDX-License-Identifier: Apache-2.0
// slot.h - storage of a running CTA: warps, rows, shared memory. Slots of a cluster form a list.
#ifndef VG_SLOT_H
#define VG_SLOT_H

#include "cta.h"

struct vg_slot {
    struct vg_cta cta;
    struct vg_slot *next;      // next CTA of the cluster
    struct vg_cluster cluster; // of the first one
    void *rows, *smem;
    unsigned block[3]; // what it was made for
    uint32_t smem_bytes;
    struct vg_slot *free_next;
};

void vg_window_open(void);
void vg_slots_free(struct vg_slot *list); // of a program's free list

// The CTAs of a unit (a cluster, or one CTA) ready to run.
struct vg_slot *vg_slot_open(struct vg_grid *g, unsigned unit, struct vg_counts *counts,
                             uint64_t *progress);
void vg_slot_close(struct vg_grid *g, struct vg_slot *s);

#endif
