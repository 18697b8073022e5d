// SPDX-License-Identifier: Apache-2.0
// exec.h - modules and launches: what the driver stand-in calls.
#ifndef VG_EXEC_H
#define VG_EXEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vg_counts;
struct vg_dep;
struct vg_foot;
struct vg_module;
struct vg_kernel;

enum vg_result {
    VG_OK,
    VG_FAULT,       // finding reported; the context is lost
    VG_UNSUPPORTED, // an instruction is not known; vg_launch_stats.err names it
    VG_BAD_LAUNCH   // dimensions, parameters or shared memory do not fit; err says why
};

// Parses PTX and places .global and .const variables through vg_mem_alloc. NULL: err says why, with
// the PTX line.
struct vg_module *vg_module_load(const char *ptx, size_t bytes, int device, char *err,
                                 size_t err_bytes);
void vg_module_free(struct vg_module *m);
unsigned vg_module_kernels(const struct vg_module *m);
const struct vg_kernel *vg_module_kernel_at(const struct vg_module *m, unsigned i);
const struct vg_kernel *vg_module_kernel(const struct vg_module *m, const char *name);
bool vg_module_global(const struct vg_module *m, const char *name, uint64_t *addr, uint64_t *bytes);
uint32_t vg_module_sm(const struct vg_module *m); // .target sm_NN
// What ptxas said of a kernel of the module.
void vg_module_measured(struct vg_module *m, unsigned i, uint32_t regs, uint32_t local_bytes);

struct vg_kernel {
    const char *name;
    struct vg_module *module;
    uint32_t n_params;
    const uint32_t *param_offset, *param_bytes;  // [n_params]
    uint32_t params_bytes;                       // size of the parameter block
    uint32_t shared_bytes;                       // static
    uint32_t const_bytes, local_bytes;           // of the module; per thread
    uint32_t regs;                               // per thread: ptxas' number, else an estimate
    uint32_t maxntid[3], reqntid[3], cluster[3]; // 0: not given
    uint32_t max_threads;                        // per CTA, by maxntid or 1024
    uint32_t sm;
    bool talks; // CTAs may wait for each other
};

struct vg_launch {
    const struct vg_kernel *kernel;
    int device;
    unsigned grid[3], block[3], cluster[3]; // cluster 0,0,0: none (the kernel's own counts)
    uint32_t dynamic_smem_bytes;
    bool cooperative, pdl;
    const void *params; // the parameter block, as param_offset says
    size_t param_bytes;
    uint64_t seed;
    unsigned checks;      // VG_CHECK_*
    uint32_t hidden;      // bit d: memory of arena d is out of reach (no peer access)
    struct vg_foot *foot; // takes down what the launch touches; NULL: nobody asks
    struct vg_dep *dep;   // launches that may still be running (foot.h); NULL: none
};

struct vg_launch_stats {
    char err[256];
    uint64_t warp_ops, thread_ops;
    double seconds;
};

// Runs to completion. Threads may launch at the same time (different streams).
enum vg_result vg_launch_run(const struct vg_launch *l, struct vg_launch_stats *stats);

// CTAs of this shape that one multiprocessor holds at once (by threads, shared memory, registers).
unsigned vg_resident_ctas(const struct vg_kernel *k, unsigned threads, uint32_t dynamic_smem_bytes);
// What launches want to know of the devices, all alike; an H100 unless told otherwise.
void vg_device_shape(unsigned sms, uint32_t smem_per_sm);
unsigned vg_sm_count(int device);

#endif
