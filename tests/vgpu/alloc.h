// SPDX-License-Identifier: Apache-2.0
//
// alloc.h - allocations that the program made (modules allocate too, but never free by address).
#ifndef VG_ALLOC_H
#define VG_ALLOC_H

#include "driver.h"

struct vg_alloc {
    uint64_t base, bytes, id;
    int device; // VG_HOST_DEVICE: pinned
    unsigned flags;
    CUcontext ctx;
    CUmemoryPool pool;      // of cuMemAllocAsync; else NULL
    struct vg_op *alloc_op; // of cuMemAllocAsync: uses must come after it
    struct vg_op *free_op;  // of cuMemFreeAsync: uses must come before it
    CUgraph graph;          // memory of a captured cuMemAllocAsync lives with its graph
};

struct vg_alloc *vg_alloc_of(uint64_t addr);
struct vg_alloc *vg_alloc_at(size_t i); // NULL: no more
CUresult vg_alloc_new(CUcontext ctx, int device, uint64_t bytes, const char *what,
                      struct vg_alloc **out);
void vg_alloc_drop(struct vg_alloc *a);

#endif
