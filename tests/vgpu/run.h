// SPDX-License-Identifier: Apache-2.0
// run.h - between the warp loop (exec.c) and the scheduler (sched.c).
#ifndef VG_RUN_H
#define VG_RUN_H

#include "warp.h"

struct vg_kernel;
enum vg_run {
    VG_RUN_YIELD,   // has done something, can go on
    VG_RUN_BLOCKED, // every lane waits, nothing was done
    VG_RUN_DONE,    // no lane lives
    VG_RUN_FAULT
};
enum vg_run vg_warp_run(struct vg_warp *w, struct vg_counts *counts);

void vg_where_at(const struct vg_warp *w, uint32_t pc, int lane, struct vg_where *out);
// Text of a .file index of the module; NULL: none.
const char *vg_module_file(const struct vg_module *m, uint32_t index);

struct vg_program *vg_kernel_program(const struct vg_kernel *k, char *err, size_t err_bytes);

// deadlock.c: one finding that says who waits where.
void vg_report_deadlock(struct vg_cta *const cta[], unsigned n, const char *why);

#endif
